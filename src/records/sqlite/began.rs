//! When these records were begun, until a person says that this was meant, and that they are the right ones: a site whose disk is not mounted
//! begins anew without a word.

use super::rows::{Fault, micros, time};
use super::tx::Tx;
use crate::ledger::entry::{Kind, facts};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

/// Notes that they are begun now.
pub(in crate::records) fn note(conn: &Connection, at: i64) -> Result<(), Fault> {
    conn.execute("INSERT INTO meta (name, value) VALUES ('began', CAST(?1 AS TEXT))", [at])?;
    Ok(())
}

/// When they were begun; `None` once a person has said that this was meant, and in records of an earlier version.
pub(in crate::records) fn find(conn: &Connection) -> Result<Option<SystemTime>, Fault> {
    let find = "SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'began'";
    Ok(conn.query_row(find, [], |row| row.get(0)).optional()?.map(time))
}

/// A person says that it was meant; whether that was still to be said. What they said is an act like any other.
pub(in crate::records) fn forget(tx: &mut Tx<'_>, (who, reason): (&str, &str), now: SystemTime) -> Result<bool, Fault> {
    if tx.conn.execute("DELETE FROM meta WHERE name = 'began'", [])? == 0 {
        return Ok(false);
    }
    enter(tx, "begun", (who, reason), now)?;
    Ok(true)
}

/// Enters what a person says of these records: that they were meant to be `begun`, or are `accepted` for the blobs beside them.
pub(in crate::records) fn enter(
    tx: &mut Tx<'_>,
    verb: &str,
    (who, reason): (&str, &str),
    now: SystemTime,
) -> Result<(), Fault> {
    let at = micros(now);
    let words = if reason.is_empty() { None } else { Some(tx.words(reason)?) };
    let mut insert = tx.conn.prepare_cached("INSERT INTO acts (at, verb, who, words) VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![at, verb, who, words.as_ref().map(|(id, _)| *id)])?;
    drop(insert);
    let mut told = facts([("verb", verb.into()), ("who", who.into())]);
    told.extend(words.map(|(_, fact)| ("words".to_owned(), fact)));
    tx.append(Tx::entry_id()?, Kind::Act, at, told, Vec::new());
    Ok(())
}
