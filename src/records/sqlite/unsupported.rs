//! SOP classes that a destination does not take: noted when it says so, parked without asking again, lifted by a person, or when one
//! instance that is tried now and then is taken (WEB-063).

use super::rows::{Fault, damaged, span, time};
use super::tx::{Noted, Transfer, Tx, lane};
use crate::dicom::uid::SopClassUid;
use crate::ledger::entry::EntryId;
use crate::ledger::transfer::{State, TransferId};
use crate::records::Unsupported;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use std::time::Duration;

/// So many transfers are let go in one commit, so that nothing that arrives waits for long.
pub(super) const PAGE: usize = 1000;

/// What a transfer is parked for, beside the destination as a whole.
pub(in crate::records) const CLASS: &str = "class";

/// Notes that a destination does not take the class of an instance. It is tried again after a while.
pub(in crate::records) fn note(tx: &Tx<'_>, destination: i64, instance: i64, words: i64, at: i64) -> Result<(), Fault> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO unsupported (destination, sop_class, since, words, probe) \
         SELECT ?1, sop_class, ?3, ?4, ?5 FROM instances WHERE id = ?2 \
         ON CONFLICT (destination, sop_class) DO UPDATE SET since = iif(probe IS NULL, excluded.since, since), \
         words = excluded.words, probe = excluded.probe",
    )?;
    let probe = at.saturating_add(between(tx));
    insert.execute(params![destination, instance, at, words, probe])?;
    Ok(())
}

/// The time between two tries of a class, in microseconds.
fn between(tx: &Tx<'_>) -> i64 {
    span(tx.fixed.options.probing.steady.max(Duration::from_micros(1)))
}

/// One transfer that is parked for a class of which one is to be tried again, and that class: of those that were tried least often the
/// first, so that one that is always refused hides no other. The next is tried a while later, whatever comes of this one, or if there is none
/// to try. Without `together` none of a study of which a batch is being sent there already: it goes when that has ended.
pub(in crate::records) fn to_probe(
    tx: &Tx<'_>,
    destination: i64,
    together: bool,
    at: i64,
) -> Result<Option<(TransferId, String)>, Fault> {
    // A time further ahead than the wait was told by a clock that has been set back since (FLT-070).
    let mut due = tx.conn.prepare_cached(
        "SELECT sop_class FROM unsupported WHERE destination = ?1 AND (abs(probe) <= ?2 OR abs(probe) > ?2 + ?3) \
         ORDER BY abs(probe), sop_class",
    )?;
    let classes = due.query_map(params![destination, at, between(tx)], |row| row.get(0))?;
    let classes: Vec<String> = classes.collect::<Result<_, _>>()?;
    let mut parked = tx.conn.prepare_cached(
        "SELECT t.id FROM transfers t JOIN instances i ON i.id = t.instance WHERE t.destination = ?1 AND t.lane = ?2 \
         AND t.state = 'parked' AND t.resume = ?3 AND i.sop_class = ?4 AND (?5 OR NOT EXISTS (SELECT 1 FROM attempts a \
         WHERE a.ended IS NULL AND a.destination = ?1 AND a.study = t.study AND a.kind = 'send')) ORDER BY t.attempts, t.id LIMIT 1",
    )?;
    let mut one = |class: &str, together: bool| {
        let of = params![destination, lane::PERSON, CLASS, class, together];
        parked.query_row(of, |row| row.get(0).map(TransferId)).optional()
    };
    // Where there is none to try, what a person has one tried of stays so.
    let mut later = tx.conn.prepare_cached(
        "UPDATE unsupported SET probe = iif(?4 OR probe >= 0, ?3, -?3) WHERE destination = ?1 AND sop_class = ?2",
    )?;
    for class in classes {
        let found = one(&class, together)?;
        if found.is_some() || together || one(&class, true)?.is_none() {
            later.execute(params![destination, class, at.saturating_add(between(tx)), found.is_some()])?;
        }
        if let Some(id) = found {
            return Ok(Some((id, class)));
        }
    }
    Ok(None)
}

/// The class of an instance.
pub(in crate::records) fn class_of(conn: &Connection, instance: i64) -> Result<String, Fault> {
    let mut find = conn.prepare_cached("SELECT sop_class FROM instances WHERE id = ?1")?;
    Ok(find.query_row([instance], |row| row.get(0))?)
}

/// Takes back that a destination does not take a class: it has taken an instance of it after all.
pub(in crate::records) fn take_back(tx: &Tx<'_>, destination: i64, class: &str) -> Result<(), Fault> {
    let mut update =
        tx.conn.prepare_cached("UPDATE unsupported SET probe = NULL WHERE destination = ?1 AND sop_class = ?2")?;
    update.execute(params![destination, class])?;
    Ok(())
}

/// Lets go a page of what was parked for classes that the destination has taken since; the rest goes with what is settled next.
pub(in crate::records) fn let_go(
    tx: &Tx<'_>,
    destination: i64,
    entry: EntryId,
    at: i64,
) -> Result<Vec<TransferId>, Fault> {
    let mut find = tx.conn.prepare_cached("SELECT 1 FROM unsupported WHERE destination = ?1 AND probe IS NULL")?;
    if !find.exists([destination])? {
        return Ok(Vec::new());
    }
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT t.id FROM transfers t JOIN instances i ON i.id = t.instance \
         JOIN unsupported u ON u.destination = t.destination AND u.sop_class = i.sop_class AND u.probe IS NULL \
         WHERE t.destination = ?1 AND t.lane = ?2 AND t.state = 'parked' AND t.resume = ?3 LIMIT {PAGE}"
    ))?;
    let parked = find.query_map(params![destination, lane::PERSON, CLASS], |row| row.get(0).map(TransferId))?;
    let parked: Vec<TransferId> = parked.collect::<Result<_, _>>()?;
    for id in &parked {
        let mut transfer = Transfer::load(tx.conn, *id)?.ok_or_else(|| damaged("transfer"))?;
        transfer.go(State::Pending, at)?;
        transfer.resume = None;
        transfer.entry = entry;
        transfer.save_step(tx.conn, &Noted { at, what: "resumed", attempt: None, act: None, words: None })?;
    }
    if parked.len() < PAGE {
        tx.conn
            .prepare_cached("DELETE FROM unsupported WHERE destination = ?1 AND probe IS NULL")?
            .execute([destination])?;
    }
    Ok(parked)
}

/// Whether it is noted that a destination does not take the class of an instance.
pub(in crate::records) fn is_noted(conn: &Connection, destination: i64, instance: i64) -> Result<bool, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT 1 FROM unsupported WHERE destination = ?1 AND probe >= 0 \
         AND sop_class = (SELECT sop_class FROM instances WHERE id = ?2)",
    )?;
    Ok(find.exists(params![destination, instance])?)
}

/// The classes that a destination was said not to take, also those of which a person has one tried.
pub(in crate::records) fn known(conn: &Connection, destination: i64) -> Result<BTreeSet<String>, Fault> {
    let mut find =
        conn.prepare_cached("SELECT sop_class FROM unsupported WHERE destination = ?1 AND probe IS NOT NULL")?;
    Ok(find.query_map([destination], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// The classes that a destination does not take.
pub(in crate::records) fn classes(conn: &Connection, destination: i64) -> Result<BTreeSet<String>, Fault> {
    let mut find = conn.prepare_cached("SELECT sop_class FROM unsupported WHERE destination = ?1 AND probe >= 0")?;
    Ok(find.query_map([destination], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// The same with what was said, for people.
pub(in crate::records) fn list(conn: &Connection, destination: i64) -> Result<Vec<Unsupported>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT u.sop_class, u.since, w.text FROM unsupported u LEFT JOIN words w ON w.id = u.words \
         WHERE u.destination = ?1 AND u.probe IS NOT NULL ORDER BY u.sop_class",
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

/// Has nothing of the class of an instance held back at a destination until one of it is tried again by itself: what is retried by hand
/// is really sent, and if it is taken the others of its class go, too.
pub(in crate::records) fn forget(tx: &Tx<'_>, destination: i64, instance: i64, at: i64) -> Result<(), Fault> {
    let mut update = tx.conn.prepare_cached(
        "UPDATE unsupported SET probe = ?3 WHERE destination = ?1 AND probe IS NOT NULL \
         AND sop_class = (SELECT sop_class FROM instances WHERE id = ?2)",
    )?;
    update.execute(params![destination, instance, -at.saturating_add(between(tx))])?;
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
