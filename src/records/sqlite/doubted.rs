//! Records that may not know all that was sent: they come from a backup, from before, or were made anew from the blobs (INV-08).

use super::rows::Fault;
use super::tx::Tx;
use crate::ledger::transfer::TransferId;
use rusqlite::{Connection, params};

/// So long afterwards, in microseconds, what is owed anew may be what was sent already: senders repeat what came after the backup.
const REPEATED_FOR: i64 = 7 * 86_400 * 1_000_000;

/// Notes it: of no transfer up to here is it known whether its instance was sent since, and what arrives may have been here before.
pub(in crate::records) fn note(tx: &Tx<'_>, at: i64) -> Result<(), Fault> {
    let last: i64 = tx.conn.query_row("SELECT coalesce(max(id), 0) FROM transfers", [], |row| row.get(0))?;
    let mut put = tx.conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, CAST(?2 AS TEXT))")?;
    put.execute(params!["doubted_at", at])?;
    put.execute(params!["doubted_transfers", last])?;
    Ok(())
}

/// Whether a transfer was made before that: when it goes on, its destination is asked first.
pub(in crate::records) fn concerns(conn: &Connection, transfer: TransferId) -> Result<bool, Fault> {
    number_at_least(conn, "doubted_transfers", transfer.0)
}

/// Whether what is owed anew at this time is asked about before it is sent.
pub(in crate::records) fn concerns_new(conn: &Connection, at: i64) -> Result<bool, Fault> {
    number_at_least(conn, "doubted_at", at.saturating_sub(REPEATED_FOR))
}

fn number_at_least(conn: &Connection, name: &str, least: i64) -> Result<bool, Fault> {
    let mut find = conn.prepare_cached("SELECT 1 FROM meta WHERE name = ?1 AND CAST(value AS INTEGER) >= ?2")?;
    Ok(find.exists(params![name, least])?)
}
