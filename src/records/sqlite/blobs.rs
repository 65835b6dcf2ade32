//! The rows of blobs: which generation is live, where all live bytes are, what is to be deleted, what is damaged (INV-06, INV-09).

use super::rows::{Fault, count, micros, place, refuse};
use super::tx::{Noted, Transfer, Tx};
use crate::ledger::change::{self, Opened};
use crate::ledger::entry::{EntryId, Fact, Facts, Kind, facts};
use crate::ledger::transfer::{State, TransferId};
use crate::records::{BlobCounts, BlobId, InstanceId};
use crate::store::{Digest, Place};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

/// The live generation of a digest.
pub(in crate::records) fn blob_of(conn: &Connection, digest: &Digest) -> Result<Option<(BlobId, Place)>, Fault> {
    let mut find =
        conn.prepare_cached("SELECT id, file, shared, offset, length FROM blobs WHERE digest = ?1 AND state = 'live'")?;
    Ok(find.query_row([digest.0], |row| Ok((BlobId(row.get(0)?), place(row, 1)?))).optional()?)
}

/// A page of blobs in a state, in order of their numbers, after one of them.
pub(in crate::records) fn page(
    conn: &Connection,
    state: &str,
    after: BlobId,
    limit: usize,
) -> Result<Vec<(BlobId, Digest, Place)>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT id, digest, file, shared, offset, length FROM blobs WHERE id > ?1 AND state = ?2 ORDER BY id LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = find.query_map(params![after.0, state, limit], |row| {
        let digest: [u8; 32] = row.get(1)?;
        Ok((BlobId(row.get(0)?), Digest(digest), place(row, 2)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Counts of blobs and their bytes.
pub(in crate::records) fn counts(conn: &Connection) -> Result<BlobCounts, Fault> {
    let mut find = conn.prepare_cached("SELECT state, count(*), sum(length) FROM blobs GROUP BY state")?;
    let mut rows = find.query([])?;
    let mut counts = BlobCounts::default();
    while let Some(row) = rows.next()? {
        match row.get::<_, String>(0)?.as_str() {
            "live" => (counts.live, counts.live_bytes) = (count(row.get(1)?), count(row.get(2)?)),
            "condemned" => counts.condemned = count(row.get(1)?),
            _ => {}
        }
    }
    Ok(counts)
}

/// Records that the bytes of instances are to be deleted, where that is allowed: at least one transfer, all done, no exception
/// open ("Behaviour" 3). Gives the generations that no instance needs any more; they are freed after this is committed.
pub(in crate::records) fn condemn(
    tx: &mut Tx<'_>,
    instances: &[InstanceId],
    now: SystemTime,
) -> Result<Vec<(BlobId, Place)>, Fault> {
    let at = micros(now);
    let (mut versions, mut blobs, mut freed): (Vec<Fact>, Vec<Fact>, Vec<(BlobId, Place)>) = Default::default();
    for InstanceId(id) in instances {
        if !is_purgeable(tx, *id)? {
            continue;
        }
        tx.conn.prepare_cached("UPDATE instances SET state = 'purged' WHERE id = ?1")?.execute([id])?;
        versions.push(facts([("id", (*id).into()), ("state", "purged".into())]).into());
        // The UID is part of the bytes, so that only versions of the same UID can share a blob.
        let mut condemn = tx.conn.prepare_cached(
            "UPDATE blobs SET state = 'condemned' WHERE id = (SELECT blob FROM instances WHERE id = ?1) AND state = 'live' \
             AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.blob = blobs.id AND i.state IN ('stored', 'held') \
             AND i.sop_uid = (SELECT sop_uid FROM instances WHERE id = ?1)) RETURNING id, file, shared, offset, length",
        )?;
        let gone = condemn.query_row([id], |row| Ok((BlobId(row.get(0)?), place(row, 1)?))).optional()?;
        if let Some((blob, place)) = gone {
            blobs.push(blob.0.into());
            freed.push((blob, place));
        }
    }
    if !versions.is_empty() {
        let told = facts([("versions", Fact::List(versions)), ("blobs", Fact::List(blobs))]);
        tx.append(Tx::entry_id()?, Kind::Condemned, at, told, Vec::new());
    }
    Ok(freed)
}

fn is_purgeable(tx: &Tx<'_>, instance: i64) -> Result<bool, Fault> {
    let mut stored = tx.conn.prepare_cached("SELECT study FROM instances WHERE id = ?1 AND state = 'stored'")?;
    let Some(study): Option<i64> = stored.query_row([instance], |row| row.get(0)).optional()? else { return Ok(false) };
    let mut excepted = tx.conn.prepare_cached("SELECT 1 FROM exceptions WHERE instance = ?1 AND closed IS NULL")?;
    if excepted.exists([instance])? {
        return Ok(false);
    }
    let mut owed = tx.conn.prepare_cached(
        "SELECT count(*), coalesce(sum(lane IS NOT NULL), 0) FROM transfers WHERE study = ?1 AND instance = ?2",
    )?;
    let (all, open): (i64, i64) = owed.query_row([study, instance], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(all > 0 && open == 0)
}

/// Notes that condemned generations have been freed.
pub(in crate::records) fn freed(tx: &mut Tx<'_>, blobs: &[BlobId]) -> Result<(), Fault> {
    let mut update =
        tx.conn.prepare_cached("UPDATE blobs SET state = 'freed' WHERE id = ?1 AND state = 'condemned'")?;
    for blob in blobs {
        update.execute([blob.0])?;
    }
    Ok(())
}

/// Sets a generation aside whose bytes no longer agree with their digest: it is never used again and never deleted. The open
/// transfers of its instances wait for a person, or for the same instance to arrive anew.
pub(in crate::records) fn corrupt(
    tx: &mut Tx<'_>,
    InstanceId(instance): InstanceId,
    why: &str,
    now: SystemTime,
) -> Result<(), Fault> {
    let mut find = tx.conn.prepare_cached("SELECT sop_uid, blob FROM instances WHERE id = ?1")?;
    let row = find.query_row([instance], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    drop(find);
    let Some((uid, blob)): Option<(String, i64)> = row else {
        return refuse(format!("there is no instance {instance}"));
    };
    let mut set = tx.conn.prepare_cached("UPDATE blobs SET state = 'corrupt' WHERE id = ?1 AND state = 'live'")?;
    if set.execute([blob])? == 0 {
        return Ok(());
    }
    drop(set);
    let mut set = tx.conn.prepare_cached(
        "UPDATE instances SET state = 'corrupt' WHERE sop_uid = ?1 AND blob = ?2 AND state IN ('stored', 'held') \
         RETURNING id, study",
    )?;
    let affected = set.query_map(params![uid, blob], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let affected: Vec<(i64, i64)> = affected.collect::<Result<_, _>>()?;
    drop(set);
    let (at, entry) = (micros(now), Tx::entry_id()?);
    let (words, words_fact) = tx.words(why)?;
    let (mut versions, mut opened, mut held): (Vec<Fact>, Vec<Fact>, Vec<TransferId>) = Default::default();
    for (id, study) in affected {
        let mut insert = tx
            .conn
            .prepare_cached("INSERT INTO exceptions (kind, instance, opened, words) VALUES ('corrupt', ?1, ?2, ?3)")?;
        let exception = insert.insert(params![id, at, words])?;
        drop(insert);
        opened.push(change::opened(&Opened { exception, kind: "corrupt".into(), instance: id, transfer: None }));
        versions.push(Fact::Map(facts([("id", id.into()), ("state", "corrupt".into())])));
        held.extend(hold_all(tx, (study, id), words, (entry, at))?);
    }
    let mut told = facts([
        ("versions", Fact::List(versions)),
        ("opened", Fact::List(opened)),
        ("words", words_fact),
        ("blob", blob.into()),
    ]);
    if !held.is_empty() {
        told.insert("steps".into(), Fact::List(vec![change::step(State::Held, &held, Facts::new())]));
    }
    tx.append(entry, Kind::Corrupt, at, told, Vec::new());
    Ok(())
}

/// Holds the open transfers of an instance. What is in hand ends with its own outcome, see `settle`; what a person holds or must
/// decide stays with that person.
fn hold_all(
    tx: &Tx<'_>,
    (study, instance): (i64, i64),
    words: i64,
    (entry, at): (EntryId, i64),
) -> Result<Vec<TransferId>, Fault> {
    let columns = super::tx::TRANSFER;
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT {columns} FROM transfers WHERE study = ?1 AND instance = ?2 AND lane IN (0, 1, 2)"
    ))?;
    let open = find.query_map([study, instance], Transfer::read)?.collect::<Result<Vec<_>, _>>()?;
    let mut held = Vec::new();
    for transfer in open {
        let mut transfer = transfer?;
        let sent = matches!(transfer.state, State::Unknown | State::Accepted);
        transfer.resume = Some(if sent { State::Unknown } else { State::Pending }.word().to_owned());
        transfer.go(State::Held, at)?;
        (transfer.outcome, transfer.words, transfer.entry) = (Some("corrupt".into()), Some(words), entry);
        let noted = Noted { at, what: "corrupt", attempt: None, act: None, words: Some(words) };
        transfer.save_step(tx.conn, &noted)?;
        held.push(transfer.id);
    }
    Ok(held)
}

/// Whether the bytes of an instance are set aside as damaged.
pub(in crate::records) fn is_corrupt(conn: &Connection, instance: i64) -> Result<bool, Fault> {
    let mut find = conn.prepare_cached("SELECT 1 FROM instances WHERE id = ?1 AND state = 'corrupt'")?;
    Ok(find.exists([instance])?)
}
