//! A generation that was set aside and reads whole again comes back to life (REL-07).

use super::owe::{self, Owed, Subject};
use super::record::when_whole;
use super::rows::{Fault, micros, whole};
use super::tx::Tx;
use crate::ledger::entry::{Fact, Kind, facts};
use crate::records::BlobId;
use crate::store::Place;
use rusqlite::params;
use std::time::SystemTime;

/// Its instances are what they were, and their transfers go on, as when the same bytes arrive anew. `false` if it is not set
/// aside at that place, if the same bytes have arrived meanwhile, or if they were purged.
pub(in crate::records) fn sound_at(
    tx: &mut Tx<'_>,
    (BlobId(blob), place): (BlobId, Place),
    now: SystemTime,
) -> Result<bool, Fault> {
    let mut set = tx.conn.prepare_cached(
        "UPDATE blobs SET state = 'live' WHERE id = ?1 AND state = 'corrupt' AND file = ?2 AND offset = ?3 \
         AND NOT EXISTS (SELECT 1 FROM blobs other WHERE other.digest = blobs.digest AND other.state = 'live') \
         AND EXISTS (SELECT 1 FROM instances i WHERE i.blob = blobs.id AND i.state = 'corrupt')",
    )?;
    if set.execute(params![blob, whole(place.file)?, whole(place.offset)?])? == 0 {
        return Ok(false);
    }
    drop(set);
    let mut find = tx.conn.prepare_cached("SELECT id, study FROM instances WHERE blob = ?1 AND state = 'corrupt'")?;
    let affected = find.query_map([blob], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let affected: Vec<(i64, i64)> = affected.collect::<Result<_, _>>()?;
    drop(find);
    let (at, entry) = (micros(now), Tx::entry_id()?);
    let (mut owed, mut versions) = (Owed::default(), Vec::new());
    for (instance, study) in affected {
        let state = when_whole(tx, instance)?;
        let mut update = tx.conn.prepare_cached("UPDATE instances SET state = ?2 WHERE id = ?1")?;
        update.execute(params![instance, state])?;
        drop(update);
        versions.push(Fact::Map(facts([("id", instance.into()), ("state", state.into())])));
        owe::release_corrupt(tx, (entry, at), Subject { instance, study, state }, &mut owed)?;
    }
    let mut told = facts([("versions", Fact::List(versions)), ("blob", blob.into()), ("sound", 1.into())]);
    owed.tell(&mut told);
    tx.append(entry, Kind::Corrupt, at, told, Vec::new());
    Ok(true)
}
