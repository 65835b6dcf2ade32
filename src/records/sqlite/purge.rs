//! Which bytes may go, and the one commit that lets them go: `condemned` before anything is freed (INV-06, IDY-009, LED-030).

use super::rows::{Fault, count, micros, place, time};
use super::tx::Tx;
use crate::ledger::entry::{Fact, Facts, Kind, facts};
use crate::ledger::generation::{self, Standing};
use crate::records::{BlobId, Candidate, Cursor, InstanceId, PurgeRule, Purged, Purging};
use crate::store::Place;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

/// What decides about one instance; `?1` is its number. What stands behind another version needs no transfer of its own.
const STANDING: &str = "SELECT i.state, i.unrouted, \
    (i.behind IS NOT NULL) + (SELECT count(*) FROM transfers t WHERE t.study = i.study \
     AND t.destination IN (SELECT id FROM destinations) AND t.instance = i.id), \
    (SELECT count(*) FROM transfers t WHERE t.study = i.study AND t.destination IN (SELECT id FROM destinations) \
     AND t.instance = i.id AND t.lane IS NOT NULL) + iif(i.borrowed > 0, (SELECT count(*) FROM pulls p \
     WHERE p.study = (SELECT s.uid FROM studies s WHERE s.id = i.study) AND p.ended IS NULL), 0), \
    (SELECT count(*) FROM instances v JOIN exceptions x ON x.instance = v.id WHERE v.sop_uid = i.sop_uid \
     AND x.closed IS NULL AND NOT (x.kind = 'corrupt' AND v.state = 'purged')), \
    max((SELECT max(a.at) FROM arrivals a WHERE a.instance = i.id), \
    coalesce((SELECT max(x.closed) FROM exceptions x WHERE x.instance = i.id AND x.decision = 'rejected'), 0), \
    coalesce((SELECT max(t.done) FROM transfers t \
     WHERE t.study = i.study AND t.destination IN (SELECT id FROM destinations) AND t.instance = i.id), 0), \
     iif(i.borrowed > 0, coalesce((SELECT max(p.used) FROM pulls p \
     WHERE p.study = (SELECT s.uid FROM studies s WHERE s.id = i.study)), 0), 0)), \
    i.length, i.received, i.id, i.borrowed > 0, i.state = 'held' AND EXISTS (SELECT 1 FROM exceptions x \
    WHERE x.instance = i.id AND x.decision = 'rejected') FROM instances i";

/// What a purge looks through: what is kept and was owed, and what a person rejected.
const KEPT: [&str; 2] = [
    "i.state = 'stored' AND i.unrouted = 0",
    "i.state = 'held' AND i.id IN (SELECT x.instance FROM exceptions x WHERE x.decision = 'rejected')",
];

fn standing(row: &rusqlite::Row<'_>) -> rusqlite::Result<Standing> {
    let state: String = row.get(0)?;
    Ok(Standing {
        stored: state == "stored",
        unrouted: row.get(1)?,
        borrowed: row.get(9)?,
        rejected: row.get(10)?,
        transfers: count(row.get(2)?),
        open: count(row.get(3)?),
        exceptions: count(row.get(4)?),
        since: row.get(5)?,
    })
}

/// The instances whose bytes may go if nothing happened to them since `before`, oldest arrivals first, after a place in that
/// order; and the place after the last that was looked at, if there may be more.
pub(in crate::records) fn candidates(
    conn: &Connection,
    before: SystemTime,
    after: Cursor,
    limit: usize,
) -> Result<(Vec<Candidate>, Option<Cursor>), Fault> {
    let before = micros(before);
    let half = |kept: &str| {
        format!(
            "SELECT * FROM ({STANDING} WHERE {kept} AND (i.received, i.id) > (?1, ?2) AND i.received <= ?3 \
             ORDER BY i.received, i.id LIMIT ?4)"
        )
    };
    // Each half by its own index; no row stands in both.
    let halves = KEPT.map(half).join(" UNION ALL ");
    let mut find = conn.prepare_cached(&format!("{halves} ORDER BY 8, 9 LIMIT ?4"))?;
    let limit = super::lists::at_most(limit);
    let mut rows = find.query(params![after.0, after.1, before, limit as i64])?;
    let (mut found, mut last, mut seen) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        let standing = standing(row)?;
        let id: i64 = row.get(8)?;
        last = Some(Cursor(row.get(7)?, id));
        seen += 1;
        if generation::may_go(&standing, Some(before)).is_ok() {
            found.push(Candidate { instance: InstanceId(id), bytes: count(row.get(6)?), done: time(standing.since) });
        }
    }
    Ok((found, if seen == limit { last } else { None }))
}

/// Records that the bytes of instances are to be deleted, where the rules allow it. Gives the generations that no instance
/// needs any more; they are freed after this is committed.
pub(in crate::records) fn condemn(
    tx: &mut Tx<'_>,
    instances: &[InstanceId],
    purging: &Purging,
    now: SystemTime,
) -> Result<Purged, Fault> {
    let at = micros(now);
    let before = purging.before.map(micros);
    let mut purged = Purged::default();
    let mut going = Vec::new();
    for InstanceId(id) in instances {
        let mut find = tx.conn.prepare_cached(&format!("{STANDING} WHERE i.id = ?1"))?;
        let Some(standing) = find.query_row([id], standing).optional()? else { continue };
        match generation::may_go(&standing, before) {
            Ok(()) => going.push(*id),
            Err(why) => purged.kept.push((InstanceId(*id), why)),
        }
    }
    if going.is_empty() {
        return Ok(purged);
    }
    let (words, words_fact) = match &purging.reason {
        None => (None, None),
        Some(reason) => tx.words(reason).map(|(id, fact)| (Some(id), Some(fact)))?,
    };
    let mut insert = tx.conn.prepare_cached("INSERT INTO purges (at, rule, who, words) VALUES (?1, ?2, ?3, ?4)")?;
    let purge = insert.insert(params![at, purging.rule.word(), purging.who, words])?;
    drop(insert);
    let (mut versions, mut blobs): (Vec<Fact>, Vec<Fact>) = Default::default();
    for id in going {
        tx.conn.prepare_cached("UPDATE instances SET state = 'purged' WHERE id = ?1")?.execute([id])?;
        tx.conn.prepare_cached("INSERT INTO purged (instance, purge) VALUES (?1, ?2)")?.execute([id, purge])?;
        versions.push(facts([("id", id.into()), ("state", "purged".into())]).into());
        purged.instances += 1;
        if let Some((blob, place)) = release(tx, id)? {
            blobs.push(blob.0.into());
            purged.bytes += place.length;
            purged.blobs.push((blob, place));
        }
    }
    let mut told =
        facts([("versions", Fact::List(versions)), ("blobs", Fact::List(blobs)), ("rule", purging.rule.word().into())]);
    tell(&mut told, purging, words_fact);
    tx.append(Tx::entry_id()?, Kind::Condemned, at, told, Vec::new());
    Ok(purged)
}

fn tell(told: &mut Facts, purging: &Purging, words: Option<Fact>) {
    if let Some(who) = &purging.who {
        told.insert("who".into(), who.as_str().into());
    }
    if let Some(words) = words {
        told.insert("words".into(), words);
    }
}

/// Condemns the blob of an instance that has been purged, unless another version still needs it: deletion is by reference
/// count, in the same transaction (IDY-009).
fn release(tx: &Tx<'_>, instance: i64) -> Result<Option<(BlobId, Place)>, Fault> {
    let mut condemn = tx.conn.prepare_cached(
        "UPDATE blobs SET state = 'condemned' WHERE id = (SELECT blob FROM instances WHERE id = ?1) AND state = 'live' \
         AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.blob = blobs.id AND i.state IN ('stored', 'held')) \
         RETURNING id, file, shared, offset, length",
    )?;
    Ok(condemn.query_row([instance], |row| Ok((BlobId(row.get(0)?), place(row, 1)?))).optional()?)
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

/// The rule of a purge by its word.
pub(in crate::records) fn rule(word: &str) -> Result<PurgeRule, Fault> {
    PurgeRule::parse(word).ok_or_else(|| super::rows::damaged("rule of a purge"))
}
