//! The last jump ahead of the wall clock, so that a restart does not forget it (FLT-070).

use super::rows::{Fault, damaged, micros, time};
use super::tx::Tx;
use rusqlite::{Connection, OptionalExtension};
use std::time::SystemTime;

/// The note of it: the time as it was without the jump, and what the wall clock showed, in microseconds.
const NAME: &str = "clock_jump";

/// Notes a jump.
pub(in crate::records) fn note(tx: &Tx<'_>, from: SystemTime, wall: SystemTime) -> Result<(), Fault> {
    let mut insert = tx.conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?;
    insert.execute([NAME, &format!("{} {}", micros(from), micros(wall))])?;
    Ok(())
}

/// The last one.
pub(in crate::records) fn find(conn: &Connection) -> Result<Option<(SystemTime, SystemTime)>, Fault> {
    let mut find = conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let Some(note): Option<String> = find.query_row([NAME], |row| row.get(0)).optional()? else { return Ok(None) };
    let both = note.split_once(' ').and_then(|(from, wall)| Some((from.parse().ok()?, wall.parse().ok()?)));
    let (from, wall) = both.ok_or_else(|| damaged("note of a jump of the clock"))?;
    Ok(Some((time(from), time(wall))))
}
