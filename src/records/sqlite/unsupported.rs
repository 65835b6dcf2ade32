//! SOP classes that a destination does not take: noted when it says so, parked without asking again, lifted by a person (WEB-063).

use super::rows::{Fault, time};
use super::tx::{Noted, Transfer, Tx, lane};
use crate::dicom::uid::SopClassUid;
use crate::ledger::entry::EntryId;
use crate::ledger::transfer::{State, TransferId};
use crate::records::Unsupported;
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// So many transfers are let go in one commit, so that nothing that arrives waits for long.
const PAGE: usize = 1000;

/// What a transfer is parked for, beside the destination as a whole.
pub(in crate::records) const CLASS: &str = "class";

/// Notes that a destination does not take the class of an instance.
pub(in crate::records) fn note(tx: &Tx<'_>, destination: i64, instance: i64, words: i64, at: i64) -> Result<(), Fault> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT OR IGNORE INTO unsupported (destination, sop_class, since, words) \
         SELECT ?1, sop_class, ?3, ?4 FROM instances WHERE id = ?2",
    )?;
    insert.execute(params![destination, instance, at, words])?;
    Ok(())
}

/// Whether it is noted that a destination does not take the class of an instance.
pub(in crate::records) fn is_noted(conn: &Connection, destination: i64, instance: i64) -> Result<bool, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT 1 FROM unsupported WHERE destination = ?1 AND sop_class = (SELECT sop_class FROM instances WHERE id = ?2)",
    )?;
    Ok(find.exists(params![destination, instance])?)
}

/// The classes that a destination does not take.
pub(in crate::records) fn classes(conn: &Connection, destination: i64) -> Result<BTreeSet<String>, Fault> {
    let mut find = conn.prepare_cached("SELECT sop_class FROM unsupported WHERE destination = ?1")?;
    Ok(find.query_map([destination], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// The same with what was said, for people.
pub(in crate::records) fn list(conn: &Connection, destination: i64) -> Result<Vec<Unsupported>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT u.sop_class, u.since, w.text FROM unsupported u LEFT JOIN words w ON w.id = u.words \
         WHERE u.destination = ?1 ORDER BY u.sop_class",
    )?;
    let mut rows = find.query([destination])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let class: String = row.get(0)?;
        let sop_class = super::rows::parsed(&class, "SOP Class UID", SopClassUid::parse)?;
        list.push(Unsupported { sop_class, since: time(row.get(1)?), why: row.get(2)? });
    }
    Ok(list)
}

/// Forgets the class of an instance at a destination: what is retried by hand is really sent.
pub(in crate::records) fn forget(tx: &Tx<'_>, destination: i64, instance: i64) -> Result<(), Fault> {
    let mut delete = tx.conn.prepare_cached(
        "DELETE FROM unsupported WHERE destination = ?1 AND sop_class = (SELECT sop_class FROM instances WHERE id = ?2)",
    )?;
    delete.execute(params![destination, instance])?;
    Ok(())
}

/// What was let go of a destination.
pub(in crate::records) struct Lifted {
    pub(in crate::records) transfers: Vec<TransferId>,
    /// Whether more may be parked there for a class.
    pub(in crate::records) more: bool,
}

/// Forgets all classes of a destination, and lets go what was parked for them, also for one that was forgotten before, a page of
/// it; `None` if there was nothing of either.
pub(in crate::records) fn lift(
    tx: &Tx<'_>,
    destination: i64,
    (entry, act): (EntryId, i64),
    at: i64,
) -> Result<Option<Lifted>, Fault> {
    let mut delete = tx.conn.prepare_cached("DELETE FROM unsupported WHERE destination = ?1")?;
    let known = delete.execute([destination])?;
    let columns = super::tx::TRANSFER;
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT {columns} FROM transfers WHERE destination = ?1 AND lane = ?2 AND state = 'parked' LIMIT {PAGE}"
    ))?;
    let parked = find.query_map(params![destination, lane::PERSON], Transfer::read)?.collect::<Result<Vec<_>, _>>()?;
    let mut lifted = Vec::with_capacity(parked.len());
    for transfer in parked {
        let mut transfer = transfer?;
        transfer.go(State::Pending, at)?;
        transfer.resume = None;
        transfer.entry = entry;
        transfer.save_step(tx.conn, &Noted { at, what: "resumed", attempt: None, act: Some(act), words: None })?;
        lifted.push(transfer.id);
    }
    let more = lifted.len() == PAGE;
    Ok((known > 0 || !lifted.is_empty()).then_some(Lifted { transfers: lifted, more }))
}
