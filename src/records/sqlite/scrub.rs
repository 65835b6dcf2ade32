//! Where the reading of all blobs has come to, kept over restarts (REL-07); and what is kept of each study.

use super::rows::{Fault, count, damaged, micros, parsed};
use super::tx::Tx;
use crate::dicom::uid::StudyUid;
use crate::ledger::entry::{Kind, facts};
use crate::records::{BlobId, KeptStudy, ScrubPass, StudyState};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};
use std::time::SystemTime;

const NAME: &str = "scrub";

/// The pass that is under way or was the last; `None` before the first.
pub(in crate::records) fn pass(conn: &Connection) -> Result<Option<ScrubPass>, Fault> {
    let mut find = conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let Some(text): Option<String> = find.query_row([NAME], |row| row.get(0)).optional()? else { return Ok(None) };
    let value: Value = serde_json::from_str(&text).map_err(|_| damaged("note of the scrub"))?;
    let number = |name: &str| value[name].as_i64().ok_or_else(|| damaged("note of the scrub"));
    Ok(Some(ScrubPass {
        began: super::rows::time(number("began")?),
        ended: value["ended"].as_i64().map(super::rows::time),
        after: BlobId(number("after")?),
        blobs: count(number("blobs")?),
        bytes: count(number("bytes")?),
        damaged: count(number("damaged")?),
    }))
}

/// Notes how far a pass has come. The end of a pass is entered in the ledger.
pub(in crate::records) fn note(tx: &mut Tx<'_>, pass: &ScrubPass) -> Result<(), Fault> {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (began, ended) = (micros(pass.began), pass.ended.map(micros));
    let text = json!({
        "began": began, "ended": ended, "after": pass.after.0, "blobs": whole(pass.blobs), "bytes": whole(pass.bytes),
        "damaged": whole(pass.damaged),
    });
    let mut insert = tx.conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?;
    insert.execute(params![NAME, text.to_string()])?;
    drop(insert);
    if let Some(ended) = ended {
        let told = facts([
            ("began", began.into()),
            ("blobs", whole(pass.blobs).into()),
            ("bytes", whole(pass.bytes).into()),
            ("damaged", whole(pass.damaged).into()),
        ]);
        tx.append(Tx::entry_id()?, Kind::Scrubbed, ended, told, Vec::new());
    }
    Ok(())
}

/// Studies with what is kept of them, after one of them in the order of their numbers: all, or those with instances in a state.
pub(in crate::records) fn studies(
    conn: &Connection,
    only: Option<StudyState>,
    after: i64,
    limit: usize,
) -> Result<Vec<KeptStudy>, Fault> {
    let wanted = match only {
        None => "1",
        Some(StudyState::Unrouted) => "s.id IN (SELECT study FROM instances WHERE unrouted = 1 AND state <> 'purged')",
        Some(StudyState::Purged) => "EXISTS (SELECT 1 FROM instances n WHERE n.study = s.id AND n.state = 'purged')",
        Some(StudyState::Damaged) => "EXISTS (SELECT 1 FROM instances n WHERE n.study = s.id AND n.state = 'corrupt')",
    };
    let mut find = conn.prepare_cached(&format!(
        "SELECT s.id, s.uid, count(*), coalesce(sum(i.state IN ('stored', 'held')), 0), \
         coalesce(sum(i.length) FILTER (WHERE i.state IN ('stored', 'held')), 0), coalesce(sum(i.state = 'purged'), 0), \
         coalesce(sum(i.state = 'corrupt'), 0), coalesce(sum(i.unrouted = 1 AND i.state <> 'purged'), 0), \
         min(i.received), max(i.received) FROM studies s JOIN instances i ON i.study = s.id \
         WHERE s.id > ?1 AND {wanted} GROUP BY s.id ORDER BY s.id LIMIT ?2"
    ))?;
    let mut rows = find.query(params![after, super::lists::at_most(limit) as i64])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let number = |n: usize| row.get::<_, i64>(n).map(count);
        let uid: String = row.get(1)?;
        list.push(KeptStudy {
            number: row.get(0)?,
            study_instance_uid: parsed(&uid, "Study Instance UID", StudyUid::parse)?,
            instances: number(2)?,
            kept: number(3)?,
            kept_bytes: number(4)?,
            purged: number(5)?,
            damaged: number(6)?,
            unrouted: number(7)?,
            first_received: super::rows::time(row.get(8)?),
            last_received: super::rows::time(row.get(9)?),
        });
    }
    Ok(list)
}

/// When the oldest instance arrived that no route chose and that nobody dropped.
pub(in crate::records) fn oldest_unrouted(conn: &Connection) -> Result<Option<SystemTime>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT received FROM instances WHERE unrouted = 1 AND state <> 'purged' ORDER BY id LIMIT 1",
    )?;
    Ok(find.query_row([], |row| row.get(0)).optional()?.map(super::rows::time))
}
