//! Which peer holds which study: written when it shows it, read when the study is asked for.

use super::rows::{Fault, micros, time};
use super::tx::Tx;
use crate::dicom::uid::StudyUid;
use crate::records::{Holder, SeenStudy};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::{Duration, SystemTime};

/// What was not shown for so long is forgotten.
const REMEMBERED: Duration = Duration::from_secs(365 * 86_400);
/// Rows that are forgotten at a time.
const FORGOTTEN_AT_ONCE: i64 = 100;

/// See [`crate::records::Records::studies_seen_at`].
pub(in crate::records) fn seen(tx: &Tx<'_>, peer: &str, studies: &[SeenStudy], now: SystemTime) -> Result<(), Fault> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO locations (study, peer, instances, seen) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (study, peer) DO UPDATE \
         SET seen = max(seen, excluded.seen), instances = coalesce(excluded.instances, instances)",
    )?;
    for seen in studies {
        let instances = seen.instances.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        insert.execute(params![seen.study.as_str(), peer, instances, micros(now)])?;
    }
    let before = now.checked_sub(REMEMBERED).map_or(0, micros);
    let mut forget = tx.conn.prepare_cached(
        "DELETE FROM locations WHERE (study, peer) IN (SELECT study, peer FROM locations WHERE seen < ?1 LIMIT ?2)",
    )?;
    forget.execute(params![before, FORGOTTEN_AT_ONCE])?;
    Ok(())
}

/// See [`crate::records::Records::study_not_at`].
pub(in crate::records) fn gone(tx: &Tx<'_>, peer: &str, study: &StudyUid) -> Result<(), Fault> {
    let mut delete = tx.conn.prepare_cached("DELETE FROM locations WHERE study = ?1 AND peer = ?2")?;
    delete.execute(params![study.as_str(), peer])?;
    Ok(())
}

/// See [`crate::records::Records::marker_key`].
pub(in crate::records) fn marker_key(tx: &Tx<'_>) -> Result<String, Fault> {
    let fresh = format!("{}{}", Tx::entry_id()?, Tx::entry_id()?);
    tx.conn.execute("INSERT OR IGNORE INTO meta (name, value) VALUES ('marker_key', ?1)", [fresh])?;
    Ok(tx.conn.query_row("SELECT value FROM meta WHERE name = 'marker_key'", [], |row| row.get(0))?)
}

/// See [`crate::records::Records::holders`].
pub(in crate::records) fn holders(conn: &Connection, study: &StudyUid) -> Result<Vec<Holder>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT peer, instances, seen FROM locations WHERE study = ?1 ORDER BY seen DESC, peer LIMIT 100",
    )?;
    let row = |row: &rusqlite::Row<'_>| {
        let instances: Option<i64> = row.get(1)?;
        Ok(Holder {
            peer: row.get(0)?,
            instances: instances.and_then(|count| u64::try_from(count).ok()),
            seen: time(row.get(2)?),
        })
    };
    Ok(find.query_map([study.as_str()], row)?.collect::<Result<_, _>>()?)
}

/// See [`crate::records::Records::last_shown`].
pub(in crate::records) fn last_shown(conn: &Connection, peer: &str) -> Result<Option<SystemTime>, Fault> {
    let mut find = conn.prepare_cached("SELECT seen FROM locations WHERE peer = ?1 ORDER BY seen DESC LIMIT 1")?;
    let seen: Option<i64> = find.query_row([peer], |row| row.get(0)).optional()?;
    Ok(seen.map(time))
}
