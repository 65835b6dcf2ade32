//! When these records were begun, until a person says that this was meant: a site whose disk is not mounted begins anew without a word.

use super::rows::{Fault, time};
use super::tx::Tx;
use rusqlite::{Connection, OptionalExtension};
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

/// A person says that it was meant; whether that was still to be said.
pub(in crate::records) fn forget(tx: &Tx<'_>) -> Result<bool, Fault> {
    Ok(tx.conn.execute("DELETE FROM meta WHERE name = 'began'", [])? > 0)
}
