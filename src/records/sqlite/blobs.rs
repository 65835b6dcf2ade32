//! The rows of blobs: which generation is live, where all live bytes are, what is to be deleted, what is damaged (INV-06, INV-09).

use super::rows::{Fault, count, micros, place, refuse, whole};
use super::tx::{Noted, Transfer, Tx};
use crate::ledger::change::{self, Opened};
use crate::ledger::entry::{EntryId, Fact, Facts, Kind, facts};
use crate::ledger::transfer::{State, TransferId};
use crate::records::{BlobCounts, BlobId, FileUse, InstanceId};
use crate::store::{Digest, Place};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

/// Whether any blob was ever kept here: the row of each stays.
pub(in crate::records) fn ever(conn: &Connection) -> Result<bool, Fault> {
    Ok(conn.prepare_cached("SELECT 1 FROM blobs LIMIT 1")?.exists([])?)
}

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

/// The digest and place of a generation that is live or set aside.
pub(in crate::records) fn at(conn: &Connection, BlobId(blob): BlobId) -> Result<Option<(Digest, Place)>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT digest, file, shared, offset, length FROM blobs WHERE id = ?1 AND state IN ('live', 'corrupt')",
    )?;
    Ok(find.query_row([blob], |row| Ok((Digest(row.get(0)?), place(row, 1)?))).optional()?)
}

/// Every place that holds bytes which must not be touched, in one pass: a start waits for it.
pub(in crate::records) fn places(conn: &Connection) -> Result<Vec<Place>, Fault> {
    let mut find =
        conn.prepare_cached("SELECT file, shared, offset, length FROM blobs WHERE state IN ('live', 'corrupt')")?;
    let rows = find.query_map([], |row| place(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Counts of blobs and their bytes.
pub(in crate::records) fn counts(conn: &Connection) -> Result<BlobCounts, Fault> {
    let mut find =
        conn.prepare_cached("SELECT state, count(*), sum(length) FROM blobs WHERE state <> 'freed' GROUP BY state")?;
    let mut rows = find.query([])?;
    let mut counts = BlobCounts::default();
    while let Some(row) = rows.next()? {
        match row.get::<_, String>(0)?.as_str() {
            "live" => (counts.live, counts.live_bytes) = (count(row.get(1)?), count(row.get(2)?)),
            "condemned" => counts.condemned = count(row.get(1)?),
            "corrupt" => counts.corrupt = count(row.get(1)?),
            _ => {}
        }
    }
    Ok(counts)
}

/// How many blobs are set aside as damaged whose instances are not here otherwise.
pub(in crate::records) fn unhealed(conn: &Connection) -> Result<u64, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT count(*) FROM blobs b WHERE b.state = 'corrupt' \
         AND EXISTS (SELECT 1 FROM instances i WHERE i.blob = b.id AND i.state = 'corrupt')",
    )?;
    Ok(count(find.query_row([], |row| row.get(0))?))
}

/// Sets the generation of an instance aside, if its bytes lie where they were read and no longer agree with their digest: it is never
/// used again and never deleted. The open transfers of its instances wait for a person, or for the same instance to arrive anew.
pub(in crate::records) fn corrupt(
    tx: &mut Tx<'_>,
    (InstanceId(instance), at): (InstanceId, Place),
    why: &str,
    now: SystemTime,
) -> Result<bool, Fault> {
    let mut find = tx.conn.prepare_cached("SELECT blob FROM instances WHERE id = ?1")?;
    let blob: Option<i64> = find.query_row([instance], |row| row.get(0)).optional()?;
    drop(find);
    let Some(blob) = blob else { return refuse(format!("there is no instance {instance}")) };
    damaged_at(tx, (BlobId(blob), at), why, now)
}

/// Where the bytes of an instance lie now, whatever became of them.
#[cfg(test)]
pub(in crate::records) fn place_of(tx: &Tx<'_>, InstanceId(instance): InstanceId) -> Result<Place, Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT b.file, b.shared, b.offset, b.length FROM instances i JOIN blobs b ON b.id = i.blob WHERE i.id = ?1",
    )?;
    let mut rows = find.query([instance])?;
    match rows.next()? {
        Some(row) => Ok(super::rows::place(row, 0)?),
        None => refuse(format!("there is no instance {instance}")),
    }
}

/// The same for a generation that was found damaged at a place; `false` if it is not live there any more: it was purged,
/// moved or set aside meanwhile, and what was read says nothing.
pub(in crate::records) fn damaged_at(
    tx: &mut Tx<'_>,
    (BlobId(blob), at): (BlobId, Place),
    why: &str,
    now: SystemTime,
) -> Result<bool, Fault> {
    let mut set = tx.conn.prepare_cached(
        "UPDATE blobs SET state = 'corrupt' WHERE id = ?1 AND state = 'live' AND file = ?2 AND offset = ?3",
    )?;
    let set = set.execute(params![blob, whole(at.file)?, whole(at.offset)?])?;
    if set > 0 {
        set_aside(tx, blob, why, now)?;
    }
    Ok(set > 0)
}

/// What a damaged generation means for its instances and their transfers.
fn set_aside(tx: &mut Tx<'_>, blob: i64, why: &str, now: SystemTime) -> Result<(), Fault> {
    let mut set = tx.conn.prepare_cached(
        "UPDATE instances SET state = 'corrupt' WHERE blob = ?1 AND state IN ('stored', 'held') RETURNING id, study",
    )?;
    let affected = set.query_map([blob], |row| Ok((row.get(0)?, row.get(1)?)))?;
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

/// Whether the bytes of an instance are here and whole.
pub(in crate::records) fn is_stored(conn: &Connection, instance: i64) -> Result<bool, Fault> {
    let mut find = conn.prepare_cached("SELECT 1 FROM instances WHERE id = ?1 AND state = 'stored'")?;
    Ok(find.exists([instance])?)
}

/// Whether the bytes of an instance are set aside as damaged.
pub(in crate::records) fn is_corrupt(conn: &Connection, instance: i64) -> Result<bool, Fault> {
    let mut find = conn.prepare_cached("SELECT 1 FROM instances WHERE id = ?1 AND state = 'corrupt'")?;
    Ok(find.exists([instance])?)
}

/// Moves a live generation to another place where the same bytes are durable; `false` if it is not live at the old one.
pub(in crate::records) fn moved(tx: &Tx<'_>, BlobId(blob): BlobId, from: Place, to: Place) -> Result<bool, Fault> {
    let mut update = tx.conn.prepare_cached(
        "UPDATE blobs SET file = ?4, shared = ?5, offset = ?6 WHERE id = ?1 AND state = 'live' AND file = ?2 AND offset = ?3",
    )?;
    let (old, new) = ((whole(from.file)?, whole(from.offset)?), (whole(to.file)?, whole(to.offset)?));
    Ok(update.execute(params![blob, old.0, old.1, new.0, to.shared, new.1])? > 0)
}

/// What lies in each segment, by its number: how many blobs that are live, their bytes, and how many others.
pub(in crate::records) fn segments(conn: &Connection) -> Result<Vec<FileUse>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT file, coalesce(sum(state = 'live'), 0), coalesce(sum(length) FILTER (WHERE state = 'live'), 0), \
         coalesce(sum(state <> 'live'), 0) FROM blobs WHERE state <> 'freed' AND shared = 1 GROUP BY file ORDER BY file",
    )?;
    let rows = find.query_map([], |row| {
        let number = |n: usize| row.get::<_, i64>(n).map(count);
        Ok(FileUse { file: number(0)?, live: number(1)?, live_bytes: number(2)?, others: number(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether any generation that is not freed lies in a segment.
pub(in crate::records) fn in_segment(conn: &Connection, file: u64) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM blobs WHERE state <> 'freed' AND file = ?1 AND shared = 1";
    Ok(conn.prepare_cached(sql)?.exists([whole(file)?])?)
}

/// The live generations that lie in a file, in the order in which they lie there.
pub(in crate::records) fn in_file(conn: &Connection, file: u64) -> Result<Vec<(BlobId, Digest, Place)>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT id, digest, file, shared, offset, length FROM blobs WHERE state <> 'freed' AND file = ?1 AND state = 'live' \
         ORDER BY offset",
    )?;
    let rows = find.query_map([whole(file)?], |row| {
        let digest: [u8; 32] = row.get(1)?;
        Ok((BlobId(row.get(0)?), Digest(digest), place(row, 2)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
