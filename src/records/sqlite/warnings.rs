//! What destinations warn of when they store: counted by code until a person resumes the destination (WEB-044, DIM-039).

use super::rows::{Fault, count, parsed, time};
use super::tx::Tx;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::records::Warned;
use rusqlite::{Connection, params};

/// So many codes of a destination are counted apart; there are four that mean something.
const CODES: i64 = 16;

/// Counts a warning of a destination about an instance.
pub(in crate::records) fn note(tx: &Tx<'_>, destination: i64, code: u16, instance: i64, at: i64) -> Result<(), Fault> {
    let mut add = tx
        .conn
        .prepare_cached("UPDATE warnings SET count = count + 1, instance = ?3 WHERE destination = ?1 AND code = ?2")?;
    if add.execute(params![destination, code, instance])? > 0 {
        return Ok(());
    }
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO warnings (destination, code, since, count, instance) SELECT ?1, ?2, ?4, 1, ?3 \
         WHERE (SELECT count(*) FROM warnings WHERE destination = ?1) < ?5",
    )?;
    insert.execute(params![destination, code, instance, at, CODES])?;
    Ok(())
}

/// What a destination warned of, by code.
pub(in crate::records) fn list(conn: &Connection, destination: i64) -> Result<Vec<Warned>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT w.code, w.since, w.count, i.sop_uid, s.uid FROM warnings w JOIN instances i ON i.id = w.instance \
         JOIN studies s ON s.id = i.study WHERE w.destination = ?1 ORDER BY w.code",
    )?;
    let mut rows = find.query([destination])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let (instance, study): (String, String) = (row.get(3)?, row.get(4)?);
        list.push(Warned {
            code: row.get(0)?,
            since: time(row.get(1)?),
            count: count(row.get(2)?),
            instance: parsed(&instance, "SOP Instance UID", InstanceUid::parse)?,
            study: parsed(&study, "Study Instance UID", StudyUid::parse)?,
        });
    }
    Ok(list)
}

/// Forgets what a destination warned of: a person has seen it. Whether there was anything.
pub(in crate::records) fn forget(tx: &Tx<'_>, destination: i64) -> Result<bool, Fault> {
    Ok(tx.conn.prepare_cached("DELETE FROM warnings WHERE destination = ?1")?.execute([destination])? > 0)
}
