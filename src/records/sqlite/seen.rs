//! A person has seen that bytes are damaged: the exception ends, and what was held for it stays held (REL-07, UIX-09).

use super::rows::{Fault, micros, refuse};
use super::tx::Tx;
use crate::ledger::entry::{Fact, Kind, facts};
use crate::records::ExceptionId;
use rusqlite::{OptionalExtension, params};
use std::time::SystemTime;

/// Ends an exception about damaged bytes. Nothing else changes: the bytes stay set aside, what is owed stays held, and the same instance
/// arriving anew releases it as before. Errors: it is no such exception, or closed.
pub(in crate::records) fn seen(
    tx: &mut Tx<'_>,
    exception: ExceptionId,
    (who, reason): (&str, &str),
    now: SystemTime,
) -> Result<(), Fault> {
    let at = micros(now);
    let mut close = tx.conn.prepare_cached(
        "UPDATE exceptions SET closed = ?2 WHERE id = ?1 AND kind = 'corrupt' AND closed IS NULL RETURNING instance",
    )?;
    let closed: Option<i64> = close.query_row(params![exception.0, at], |row| row.get(0)).optional()?;
    drop(close);
    let Some(instance) = closed else {
        return refuse(format!("exception {exception} is not open, or not about damaged bytes"));
    };
    let (words, words_fact) = tx.words(reason)?;
    let mut insert = tx.conn.prepare_cached("INSERT INTO acts (at, verb, who, words) VALUES (?1, 'seen', ?2, ?3)")?;
    let act = insert.insert(params![at, who, words])?;
    drop(insert);
    tx.conn.prepare_cached("UPDATE exceptions SET act = ?2 WHERE id = ?1")?.execute([exception.0, act])?;
    let told = facts([
        ("verb", "seen".into()),
        ("who", who.into()),
        ("exception", exception.0.into()),
        ("instance", instance.into()),
        ("words", words_fact),
        ("closed", Fact::List(vec![exception.0.into()])),
    ]);
    tx.append(Tx::entry_id()?, Kind::Act, at, told, Vec::new());
    Ok(())
}
