//! Whether a destination lets itself be asked what it holds: a breaker of its own, so that one that refuses questions is sent to all the same.

use super::rows::{Fault, micros, small, time};
use super::tx::Tx;
use crate::ledger::breaker::{Asking, Breaker, Reach};
use crate::records::Unasked;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

/// Notes how a destination let itself be asked.
pub(in crate::records) fn note(
    tx: &Tx<'_>,
    destination: i64,
    asking: &Asking,
    now: SystemTime,
    seed: u64,
) -> Result<(), Fault> {
    let mut find =
        tx.conn.prepare_cached("SELECT unasked, unasked_failures, ask_not_before FROM destinations WHERE id = ?1")?;
    let before = find.query_row([destination], |row| {
        let (since, not_before): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(2)?);
        let reach = if since.is_some() { Reach::Down } else { Reach::Up };
        Ok(Breaker { reach, since: since.map(time), failures: row.get(1)?, not_before: not_before.map(time) })
    })?;
    let words = match asking {
        Asking::Answered if before.reach == Reach::Up => return Ok(()),
        Asking::Answered => None,
        Asking::Not { why, .. } => Some(tx.words(why)?.0),
    };
    let after = before.after(asking.showing(), now, &tx.fixed.options.probing, seed);
    if after == before {
        return Ok(());
    }
    let mut update = tx.conn.prepare_cached(
        "UPDATE destinations SET unasked = ?2, unasked_failures = ?3, ask_not_before = ?4, unasked_words = ?5 WHERE id = ?1",
    )?;
    let since = after.since.filter(|_| after.reach != Reach::Up).map(micros);
    update.execute(params![destination, since, after.failures, after.not_before.map(micros), words])?;
    Ok(())
}

/// Whether it may be asked now: not while it told us to wait, or a refusal is fresh.
pub(in crate::records) fn may_ask(conn: &Connection, destination: i64, at: i64) -> Result<bool, Fault> {
    let mut find = conn.prepare_cached("SELECT coalesce(ask_not_before, 0) <= ?2 FROM destinations WHERE id = ?1")?;
    Ok(find.query_row(params![destination, at], |row| row.get(0))?)
}

/// From when on a check may be leased, in microseconds, 0 for at once; `None` while one is on its way to a destination that refused the
/// last: one question at a time.
pub(in crate::records) fn checks_from(conn: &Connection, destination: i64) -> Result<Option<i64>, Fault> {
    let mut find =
        conn.prepare_cached("SELECT unasked IS NOT NULL, coalesce(ask_not_before, 0) FROM destinations WHERE id = ?1")?;
    let (refuses, from): (bool, i64) = find.query_row([destination], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if !refuses {
        return Ok(Some(from));
    }
    let mut find = conn
        .prepare_cached("SELECT 1 FROM attempts WHERE ended IS NULL AND destination = ?1 AND kind = 'check' LIMIT 1")?;
    Ok((!find.exists([destination])?).then_some(from))
}

/// How it refuses to be asked, if it does.
pub(in crate::records) fn unasked(conn: &Connection, destination: i64) -> Result<Option<Unasked>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT d.unasked, d.unasked_failures, d.ask_not_before, w.text FROM destinations d \
         LEFT JOIN words w ON w.id = d.unasked_words WHERE d.id = ?1 AND d.unasked IS NOT NULL",
    )?;
    let found = find.query_row([destination], |row| {
        let not_before: Option<i64> = row.get(2)?;
        let (since, failures) = (time(row.get(0)?), small(row.get(1)?));
        Ok(Unasked { since, failures, not_before: not_before.map(time), why: row.get(3)? })
    });
    Ok(found.optional()?)
}
