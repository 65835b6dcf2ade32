//! What a peer was found to do, kept as it was told (WEB-073).

use super::rows::{Fault, micros, time};
use super::tx::Tx;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

/// Keeps the profile of a peer in place of the last.
pub(in crate::records) fn keep(tx: &mut Tx<'_>, name: &str, profile: &str, now: SystemTime) -> Result<(), Fault> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO profiles (name, at, profile) VALUES (?1, ?2, ?3) \
         ON CONFLICT (name) DO UPDATE SET at = excluded.at, profile = excluded.profile",
    )?;
    insert.execute(params![name, micros(now), profile])?;
    Ok(())
}

/// The last profile of a peer, and when it was taken.
pub(in crate::records) fn find(conn: &Connection, name: &str) -> Result<Option<(SystemTime, String)>, Fault> {
    let mut find = conn.prepare_cached("SELECT at, profile FROM profiles WHERE name = ?1")?;
    Ok(find.query_row([name], |row| Ok((time(row.get(0)?), row.get(1)?))).optional()?)
}
