//! Rows of pulls from peers, and of the copies that they leave.

use super::access::{self, Access};
use super::rows::{Fault, count, micros, parsed, refuse, time, whole};
use super::tx::Tx;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::ledger::entry::{Fact, Kind, facts};
use crate::records::{HeldInstance, InstanceId, MOST_EXPECTED, PullEnded, PullRow};
use rusqlite::{Connection, params};
use std::time::SystemTime;

/// Rows of a list.
const ROWS: i64 = 1000;
/// Instances of one commit.
const BATCH: i64 = 500;

/// See [`crate::records::Records::pull_began`].
pub(in crate::records) fn began(tx: &mut Tx<'_>, study: &StudyUid, peer: &str, now: SystemTime) -> Result<(), Fault> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO pulls (study, peer, began, used) VALUES (?1, ?2, ?3, ?3) ON CONFLICT (study, peer) DO UPDATE \
         SET began = excluded.began, ended = NULL, used = max(used, excluded.used), how = NULL, flushed = NULL",
    )?;
    insert.execute(params![study.as_str(), peer, micros(now)])?;
    Ok(())
}

/// See [`crate::records::Records::pull_ended`].
pub(in crate::records) fn ended(
    tx: &mut Tx<'_>,
    study: &StudyUid,
    peer: &str,
    ended: &PullEnded,
    now: SystemTime,
) -> Result<(), Fault> {
    let at = micros(now);
    let (listed, came, missing) = (whole(ended.listed)?, whole(ended.came)?, whole(ended.missing)?);
    let mut update = tx.conn.prepare_cached(
        "UPDATE pulls SET ended = ?3, checked = coalesce(?4, checked), used = max(used, ?3), listed = ?5, came = ?6, \
         missing = ?7, how = ?8 WHERE study = ?1 AND peer = ?2",
    )?;
    let checked = ended.checked.map(micros);
    update.execute(params![study.as_str(), peer, at, checked, listed, came, missing, ended.how])?;
    drop(update);
    let mut told = facts([
        ("study", study.as_str().into()),
        ("peer", peer.into()),
        ("how", ended.how.into()),
        ("listed", listed.into()),
        ("came", came.into()),
        ("missing", missing.into()),
    ]);
    if let Some((first, others)) = ended.behalves.split_first() {
        access::say(&mut told, first);
        let one = |behalf| {
            let mut said = facts([]);
            access::say(&mut said, behalf);
            Fact::from(said)
        };
        if !others.is_empty() {
            told.insert("also".into(), others.iter().map(one).collect());
        }
    }
    tx.append(Tx::entry_id()?, Kind::Pulled, at, told, Vec::new());
    for behalf in &ended.behalves {
        let one = Access { at, what: "pulled", party: peer, behalf, detail: None, given: came };
        access::keep(tx, &[study.as_str()], &one)?;
    }
    Ok(())
}

/// See [`crate::records::Records::pull_checked`].
pub(in crate::records) fn checked(tx: &Tx<'_>, study: &StudyUid, peer: &str, now: SystemTime) -> Result<(), Fault> {
    let mut update = tx
        .conn
        .prepare_cached("UPDATE pulls SET checked = max(coalesce(checked, ?3), ?3) WHERE study = ?1 AND peer = ?2")?;
    update.execute(params![study.as_str(), peer, micros(now)])?;
    Ok(())
}

/// What an earlier process was pulling is not pulled any more.
pub(in crate::records) fn interrupted(tx: &Tx<'_>, at: i64) -> Result<(), Fault> {
    tx.conn.execute("UPDATE pulls SET ended = ?1, how = 'interrupted' WHERE ended IS NULL", [at])?;
    Ok(())
}

/// See [`crate::records::Records::pull_used`].
pub(in crate::records) fn used(tx: &mut Tx<'_>, study: &StudyUid, now: SystemTime) -> Result<(), Fault> {
    let mut update = tx.conn.prepare_cached("UPDATE pulls SET used = max(used, ?2) WHERE study = ?1")?;
    update.execute(params![study.as_str(), micros(now)])?;
    Ok(())
}

/// See [`crate::records::Records::pulls`].
pub(in crate::records) fn list(conn: &Connection, study: Option<&StudyUid>) -> Result<Vec<PullRow>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT p.study, p.peer, p.began, p.ended, p.checked, p.used, p.listed, p.came, p.missing, p.how, count(i.id), \
         coalesce(sum(i.length), 0) FROM pulls p LEFT JOIN studies s ON s.uid = p.study \
         LEFT JOIN instances i ON i.study = s.id AND i.borrowed = 1 AND i.state = 'stored' \
         WHERE ?1 IS NULL OR p.study = ?1 GROUP BY p.study, p.peer ORDER BY p.used DESC LIMIT ?2",
    )?;
    let mut rows = find.query(params![study.map(StudyUid::as_str), ROWS])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(PullRow {
            study: parsed(&row.get::<_, String>(0)?, "Study Instance UID", StudyUid::parse)?,
            peer: row.get(1)?,
            began: time(row.get(2)?),
            ended: row.get::<_, Option<i64>>(3)?.map(time),
            checked: row.get::<_, Option<i64>>(4)?.map(time),
            used: time(row.get(5)?),
            listed: count(row.get(6)?),
            came: count(row.get(7)?),
            missing: count(row.get(8)?),
            how: row.get(9)?,
            kept: count(row.get(10)?),
            kept_bytes: count(row.get(11)?),
        });
    }
    Ok(list)
}

/// See [`crate::records::Records::bytes_of`].
pub(in crate::records) fn bytes(conn: &Connection, study: &StudyUid) -> Result<u64, Fault> {
    let mut sum = conn.prepare_cached(
        "SELECT coalesce(sum(length), 0) FROM instances \
         WHERE study = (SELECT id FROM studies WHERE uid = ?1) AND state = 'stored' AND behind IS NULL",
    )?;
    Ok(count(sum.query_row([study.as_str()], |row| row.get(0))?))
}

/// See [`crate::records::Records::held_of`].
pub(in crate::records) fn held(conn: &Connection, study: &StudyUid) -> Result<Vec<HeldInstance>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT i.id, i.sop_uid, r.uid, i.borrowed FROM instances i JOIN series r ON r.id = i.series \
         WHERE i.study = (SELECT id FROM studies WHERE uid = ?1) AND i.state = 'stored' AND i.behind IS NULL \
         ORDER BY i.id LIMIT ?2",
    )?;
    let mut rows = find.query(params![study.as_str(), MOST_EXPECTED as i64 + 1])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        if list.len() == MOST_EXPECTED {
            return refuse(format!("the study has more than {MOST_EXPECTED} instances"));
        }
        list.push(HeldInstance {
            instance: InstanceId(row.get(0)?),
            sop_instance: parsed(&row.get::<_, String>(1)?, "SOP Instance UID", InstanceUid::parse)?,
            series: parsed(&row.get::<_, String>(2)?, "Series Instance UID", SeriesUid::parse)?,
            pulled: row.get::<_, i64>(3)? == 1,
        });
    }
    Ok(list)
}

/// See [`crate::records::Records::came_from_elsewhere`].
pub(in crate::records) fn came_from_elsewhere(conn: &Connection, study: &StudyUid) -> Result<bool, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT 1 FROM instances i JOIN arrivals a ON a.instance = i.id \
         WHERE i.study = (SELECT id FROM studies WHERE uid = ?1) AND i.state = 'stored' AND i.behind IS NULL \
         AND a.origin_kind IN ('peer', 'pulled')",
    )?;
    Ok(find.exists([study.as_str()])?)
}

/// See [`crate::records::Records::is_only_pulled`].
pub(in crate::records) fn is_only_pulled(conn: &Connection, study: &StudyUid) -> Result<bool, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT 1 FROM instances WHERE study = (SELECT id FROM studies WHERE uid = ?1) AND state = 'stored' AND behind IS NULL AND borrowed = 0",
    )?;
    Ok(!find.exists([study.as_str()])?)
}

/// See [`crate::records::Records::to_flush`].
pub(in crate::records) fn to_flush(
    conn: &Connection,
    before: SystemTime,
) -> Result<Vec<(StudyUid, Vec<InstanceId>)>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT DISTINCT study FROM pulls p WHERE flushed IS NULL AND used <= ?1 \
         AND NOT EXISTS (SELECT 1 FROM pulls o WHERE o.study = p.study AND (o.ended IS NULL OR o.used > ?1)) LIMIT ?2",
    )?;
    let mut copies = conn.prepare_cached(
        "SELECT i.id FROM instances i WHERE i.study = (SELECT id FROM studies WHERE uid = ?1) AND i.borrowed = 1 \
         AND i.state = 'stored' ORDER BY i.id LIMIT ?2",
    )?;
    let mut rows = find.query(params![micros(before), ROWS])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let study: String = row.get(0)?;
        let ids = copies.query_map(params![study, BATCH], |row| row.get(0).map(InstanceId))?;
        list.push((parsed(&study, "Study Instance UID", StudyUid::parse)?, ids.collect::<Result<_, _>>()?));
    }
    Ok(list)
}

/// See [`crate::records::Records::flushed`].
pub(in crate::records) fn flushed(
    tx: &mut Tx<'_>,
    study: &StudyUid,
    before: SystemTime,
    now: SystemTime,
) -> Result<(), Fault> {
    let mut update = tx.conn.prepare_cached("UPDATE pulls SET flushed = ?3 WHERE study = ?1 AND used <= ?2")?;
    update.execute(params![study.as_str(), micros(before), micros(now)])?;
    Ok(())
}
