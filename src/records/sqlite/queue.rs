//! The queue of each destination: which study is to be sent next, by priority and turn (REL-22, REL-23).
//!
//! Triggers keep its rows at most as late as what waits (layout 2); here they are chosen from and put right.

use super::rows::{Fault, count};
use super::tx::Tx;
use crate::ledger::turns::{self, Turn};
use rusqlite::{Connection, OptionalExtension, params};

/// So many rows come due in one lease; the rest in the next.
const PROMOTED: i64 = 1000;
/// A study that had its turn is remembered for so many turns after its last transfer was sent.
const REMEMBERED: i64 = 1000;

/// A study whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::records) struct Waiting {
    pub(in crate::records) study: i64,
    pub(in crate::records) priority: i64,
}

/// Lets those come due whose time has come, and forgets studies that had their last turn long ago.
pub(in crate::records) fn come_due(tx: &Tx<'_>, to: i64, at: i64) -> Result<(), Fault> {
    let mut promote = tx.conn.prepare_cached(
        "UPDATE queue SET due = 0 WHERE (destination, study, priority) IN (SELECT destination, study, priority FROM queue \
         WHERE destination = ?1 AND due > 0 AND due <= ?2 ORDER BY due LIMIT ?3)",
    )?;
    promote.execute(params![to, at.max(1), PROMOTED])?;
    let mut forget = tx.conn.prepare_cached(
        "DELETE FROM queue WHERE destination = ?1 AND due IS NULL \
         AND served < (SELECT turns FROM destinations WHERE id = ?1) - ?2",
    )?;
    forget.execute(params![to, REMEMBERED])?;
    Ok(())
}

/// The study whose turn it is; without `together` none of which a batch is being sent there already. A `probe`
/// goes by turns alone.
pub(in crate::records) fn next(
    conn: &Connection,
    to: i64,
    together: bool,
    probe: bool,
) -> Result<Option<Waiting>, Fault> {
    let mut find = conn.prepare_cached("SELECT turns FROM destinations WHERE id = ?1")?;
    let number: i64 = find.query_row([to], |row| row.get(0))?;
    let sql = match turns::turn(count(number), probe) {
        Turn::Highest => {
            "SELECT q.study, q.priority FROM queue q WHERE q.destination = ?1 AND q.due = 0 AND (?2 OR NOT EXISTS \
             (SELECT 1 FROM attempts a WHERE a.ended IS NULL AND a.destination = ?1 AND a.study = q.study AND a.kind = 'send')) \
             ORDER BY q.priority, q.served, q.since DESC LIMIT 1"
        }
        Turn::Oldest => {
            "SELECT q.study, q.priority FROM queue q WHERE q.destination = ?1 AND q.due = 0 AND (?2 OR NOT EXISTS \
             (SELECT 1 FROM attempts a WHERE a.ended IS NULL AND a.destination = ?1 AND a.study = q.study AND a.kind = 'send')) \
             ORDER BY q.since LIMIT 1"
        }
        Turn::Longest => {
            "SELECT q.study, q.priority FROM queue q WHERE q.destination = ?1 AND q.due = 0 AND (?2 OR NOT EXISTS \
             (SELECT 1 FROM attempts a WHERE a.ended IS NULL AND a.destination = ?1 AND a.study = q.study AND a.kind = 'send')) \
             ORDER BY q.served, q.priority, q.since DESC LIMIT 1"
        }
    };
    let mut first = conn.prepare_cached(sql)?;
    let row = |row: &rusqlite::Row<'_>| Ok(Waiting { study: row.get(0)?, priority: row.get(1)? });
    Ok(first.query_row(params![to, together], row).optional()?)
}

/// Counts a turn of a study: it goes behind those that had theirs longer ago.
pub(in crate::records) fn served(tx: &Tx<'_>, to: i64, waiting: Waiting) -> Result<(), Fault> {
    let mut count =
        tx.conn.prepare_cached("UPDATE destinations SET turns = turns + 1 WHERE id = ?1 RETURNING turns")?;
    let turns: i64 = count.query_row([to], |row| row.get(0))?;
    let mut update = tx
        .conn
        .prepare_cached("UPDATE queue SET served = ?4 WHERE destination = ?1 AND study = ?2 AND priority = ?3")?;
    update.execute(params![to, waiting.study, waiting.priority, turns])?;
    put_right(tx, to, waiting)
}

/// Makes a row agree with what of its study still waits.
pub(in crate::records) fn put_right(tx: &Tx<'_>, to: i64, waiting: Waiting) -> Result<(), Fault> {
    let mut first = tx.conn.prepare_cached(
        "SELECT iif(lane = 0, 0, max(due, 1)), created FROM transfers WHERE destination = ?1 AND study = ?2 AND priority = ?3 \
         AND lane IN (0, 1) ORDER BY lane, due LIMIT 1",
    )?;
    let Waiting { study, priority } = waiting;
    let found: Option<(i64, i64)> =
        first.query_row(params![to, study, priority], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (due, since) = found.unzip();
    let mut update = tx.conn.prepare_cached(
        "UPDATE queue SET due = ?4, since = coalesce(?5, since) WHERE destination = ?1 AND study = ?2 AND priority = ?3",
    )?;
    update.execute(params![to, study, priority, due, since])?;
    Ok(())
}

/// When the first study that may be sent comes due, in microseconds; 0 at once.
pub(in crate::records) fn due(conn: &Connection, to: i64, together: bool) -> Result<Option<i64>, Fault> {
    if next(conn, to, together, false)?.is_some() {
        return Ok(Some(0));
    }
    let mut later =
        conn.prepare_cached("SELECT due FROM queue WHERE destination = ?1 AND due > 0 ORDER BY due LIMIT 1")?;
    Ok(later.query_row([to], |row| row.get(0)).optional()?)
}
