//! Rows of merges: which local numbers are one patient's.

use super::rows::{Fault, damaged, time};
use super::tx::Tx;
use crate::dicom::cross_reference::LocalId;
use crate::records::Merge;
use rusqlite::{Connection, params};

/// Numbers of one patient that are followed; more of them mean nobody.
const MOST: usize = 32;
/// Rows that are looked at for one number.
const ROWS: i64 = 100;

/// Keeps one merge; how many are new, 1 or 0.
pub(in crate::records) fn keep(
    tx: &Tx<'_>,
    former: &LocalId,
    stays: &LocalId,
    source: &str,
    at: i64,
) -> Result<u64, Fault> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT OR IGNORE INTO merges (former_issuer, former, issuer, patient_id, source, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    Ok(insert.execute(params![former.issuer, former.id, stays.issuer, stays.id, source, at])? as u64)
}

/// Removes the merges that a source said of a number, on either side.
pub(in crate::records) fn forget(tx: &Tx<'_>, id: &LocalId, source: &str) -> Result<u64, Fault> {
    let mut delete = tx.conn.prepare_cached(
        "DELETE FROM merges WHERE source = ?3 AND ((former_issuer = ?1 AND former = ?2) OR (issuer = ?1 AND patient_id = ?2))",
    )?;
    Ok(delete.execute(params![id.issuer, id.id, source])? as u64)
}

/// The merges that name a number, of one issuer or of all, on either side.
pub(in crate::records) fn of(conn: &Connection, id: &str, issuer: Option<&str>) -> Result<Vec<Merge>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT former_issuer, former, issuer, patient_id, source, at FROM merges \
         WHERE (former = ?1 AND (?2 IS NULL OR former_issuer = ?2)) OR (patient_id = ?1 AND (?2 IS NULL OR issuer = ?2)) \
         ORDER BY id LIMIT ?3",
    )?;
    let mut rows = find.query(params![id, issuer, ROWS])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |n: usize| row.get::<_, String>(n);
        let number = |issuer: &str, id: &str| LocalId::new(issuer, id).ok_or_else(|| damaged("number of a patient"));
        let (former, stays) = (number(&text(0)?, &text(1)?)?, number(&text(2)?, &text(3)?)?);
        list.push(Merge { former, stays, source: text(4)?, at: time(row.get(5)?) });
    }
    Ok(list)
}

/// The numbers that are one patient's with this one, which is the first of them; and whether those are all.
pub(in crate::records) fn group(conn: &Connection, id: &LocalId) -> Result<(Vec<LocalId>, bool), Fault> {
    let mut all = vec![id.clone()];
    let mut at = 0;
    while let Some(one) = all.get(at).cloned() {
        for merge in of(conn, &one.id, Some(&one.issuer))? {
            for other in [merge.former, merge.stays] {
                if all.contains(&other) {
                    continue;
                }
                if all.len() == MOST {
                    return Ok((all, false));
                }
                all.push(other);
            }
        }
        at += 1;
    }
    Ok((all, true))
}
