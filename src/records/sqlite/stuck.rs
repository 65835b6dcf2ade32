//! Condemned generations whose room cannot be given back, since what lies there is not labelled as theirs: set aside once (REL-07, FLT-012).

use super::rows::{Fault, micros, whole};
use super::tx::Tx;
use crate::ledger::change::{self, Opened};
use crate::ledger::entry::{Fact, Kind, facts};
use crate::records::BlobId;
use crate::store::Place;
use rusqlite::params;
use std::time::SystemTime;

/// Sets a condemned generation aside: nobody tries to free it again, and it is never deleted. Its instances stay purged; an exception of
/// each says that bytes of it are still on the disk. `false` if it is not condemned at that place.
pub(in crate::records) fn stuck_at(
    tx: &mut Tx<'_>,
    (BlobId(blob), place): (BlobId, Place),
    why: &str,
    now: SystemTime,
) -> Result<bool, Fault> {
    let mut set = tx.conn.prepare_cached(
        "UPDATE blobs SET state = 'corrupt' WHERE id = ?1 AND state = 'condemned' AND file = ?2 AND offset = ?3",
    )?;
    if set.execute(params![blob, whole(place.file)?, whole(place.offset)?])? == 0 {
        return Ok(false);
    }
    drop(set);
    let (at, entry) = (micros(now), Tx::entry_id()?);
    let (words, words_fact) = tx.words(&format!("its bytes were to be removed, and cannot be: {why}; they stay"))?;
    let mut opened: Vec<Fact> = Vec::new();
    for instance in purged(tx, blob)? {
        let mut insert = tx
            .conn
            .prepare_cached("INSERT INTO exceptions (kind, instance, opened, words) VALUES ('corrupt', ?1, ?2, ?3)")?;
        let exception = insert.insert(params![instance, at, words])?;
        opened.push(change::opened(&Opened { exception, kind: "corrupt".into(), instance, transfer: None }));
    }
    let told = facts([("opened", Fact::List(opened)), ("words", words_fact), ("blob", blob.into())]);
    tx.append(entry, Kind::Corrupt, at, told, Vec::new());
    Ok(true)
}

/// Condemns a generation again that was set aside by [`stuck_at`], now that its label stands where it should: it can be freed. `false` if it
/// is not set aside at that place, or if an instance needs it.
pub(in crate::records) fn condemn_again(
    tx: &mut Tx<'_>,
    (BlobId(blob), place): (BlobId, Place),
    now: SystemTime,
) -> Result<bool, Fault> {
    let purged = purged(tx, blob)?;
    let mut set = tx.conn.prepare_cached(
        "UPDATE blobs SET state = 'condemned' WHERE id = ?1 AND state = 'corrupt' AND file = ?2 AND offset = ?3 \
         AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.blob = blobs.id AND i.state <> 'purged')",
    )?;
    if purged.is_empty() || set.execute(params![blob, whole(place.file)?, whole(place.offset)?])? == 0 {
        return Ok(false);
    }
    drop(set);
    let (at, entry) = (micros(now), Tx::entry_id()?);
    let mut closed: Vec<Fact> = Vec::new();
    for instance in purged {
        let mut close = tx.conn.prepare_cached(
            "UPDATE exceptions SET closed = ?2 WHERE instance = ?1 AND kind = 'corrupt' AND closed IS NULL RETURNING id",
        )?;
        let ids = close.query_map(params![instance, at], |row| row.get::<_, i64>(0))?;
        closed.extend(ids.map(|id| id.map(Fact::from)).collect::<Result<Vec<_>, _>>()?);
    }
    let told = facts([("closed", Fact::List(closed)), ("blob", blob.into()), ("sound", 1.into())]);
    tx.append(entry, Kind::Corrupt, at, told, Vec::new());
    Ok(true)
}

/// The instances of a generation whose bytes were purged.
fn purged(tx: &Tx<'_>, blob: i64) -> Result<Vec<i64>, Fault> {
    let mut find =
        tx.conn.prepare_cached("SELECT id FROM instances WHERE blob = ?1 AND state = 'purged' ORDER BY id")?;
    Ok(find.query_map([blob], |row| row.get(0))?.collect::<Result<_, _>>()?)
}
