//! Instances: the versions of one, those of a study page by page, and those that a QIDO-RS query finds.

use super::lists::{at_most, of_instance};
use super::rows::{Fault, WORD, count, damaged, digest, origin, parsed, small, source, time, with_word};
use super::sharing::{self, Look};
use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::peers::Hidden;
use crate::records::{FindInstances, FoundInstance, InstanceId, InstanceView, Texts};
use rusqlite::{Connection, Row, params};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

const VIEW: &str = "SELECT i.id, i.sop_uid, i.version, i.sop_class, s.uid, r.uid, i.transfer_syntax, i.sha256, i.length, i.state, \
    i.unrouted, a.origin_kind, a.origin_name, a.source, i.received, \
    (SELECT count(*) FROM arrivals n WHERE n.instance = i.id), i.study, i.behind, \
    EXISTS (SELECT 1 FROM exceptions x WHERE x.instance = i.id AND x.kind = 'conflict' AND (x.closed IS NULL OR x.decision = 'rejected')), \
    (SELECT k.sop_uid FROM instances k WHERE k.id = i.hidden) FROM instances i JOIN studies s ON s.id = i.study \
    JOIN series r ON r.id = i.series JOIN arrivals a ON a.instance = i.id AND a.n = 1";

fn view(conn: &Connection, row: &Row<'_>, now: SystemTime) -> Result<InstanceView, Fault> {
    let text = |n: usize| row.get::<_, String>(n);
    let sha256: Vec<u8> = row.get(7)?;
    let instance: i64 = row.get(0)?;
    Ok(InstanceView {
        instance: InstanceId(instance),
        sop_instance_uid: parsed(&text(1)?, "SOP Instance UID", InstanceUid::parse)?,
        version: small(row.get(2)?),
        sop_class_uid: parsed(&text(3)?, "SOP Class UID", SopClassUid::parse)?,
        study_instance_uid: parsed(&text(4)?, "Study Instance UID", StudyUid::parse)?,
        series_instance_uid: parsed(&text(5)?, "Series Instance UID", SeriesUid::parse)?,
        transfer_syntax_uid: parsed(&text(6)?, "Transfer Syntax UID", TransferSyntaxUid::parse)?,
        sha256: digest(&sha256)?,
        bytes: count(row.get(8)?),
        state: row.get(9)?,
        unrouted: row.get(10)?,
        source: origin(&text(11)?, &text(12)?)?,
        source_facts: source(&text(13)?),
        received: time(row.get(14)?),
        arrivals: count(row.get(15)?),
        behind: row.get::<_, Option<i64>>(17)?.map(InstanceId),
        in_conflict: row.get(18)?,
        rejected_by: match row.get::<_, Option<String>>(19)? {
            Some(note) => Some(parsed(&note, "SOP Instance UID", InstanceUid::parse)?),
            None => None,
        },
        transfers: of_instance(conn, row.get(16)?, instance, now)?,
    })
}

/// Every version of an instance, the first received first.
pub(in crate::records) fn versions(
    conn: &Connection,
    uid: &InstanceUid,
    now: SystemTime,
) -> Result<Vec<InstanceView>, Fault> {
    let mut find = conn.prepare_cached(&format!("{VIEW} WHERE i.sop_uid = ?1 ORDER BY i.version"))?;
    let mut rows = find.query([uid.as_str()])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(view(conn, row, now)?);
    }
    Ok(list)
}

/// A page of the instances of a study, every version, in order of their numbers, after one of them.
pub(in crate::records) fn page(
    conn: &Connection,
    study: &StudyUid,
    after: InstanceId,
    limit: usize,
    now: SystemTime,
) -> Result<Vec<InstanceView>, Fault> {
    let mut find = conn.prepare_cached(&format!("{VIEW} WHERE s.uid = ?1 AND i.id > ?2 ORDER BY i.id LIMIT ?3"))?;
    let mut rows = find.query(params![study.as_str(), after.0, at_most(limit) as i64])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(view(conn, row, now)?);
    }
    Ok(list)
}

/// The stored instances that a query asks for, in the order in which they were received. What is held, purged or damaged is not
/// shown: whoever asks must not take it for evidence that we have it.
pub(in crate::records) fn find(
    conn: &Connection,
    query: &FindInstances,
    look: &mut Look,
) -> Result<Vec<FoundInstance>, Fault> {
    let named: Vec<&str> = query.instances.iter().map(InstanceUid::as_str).collect();
    let (studies, series) = hidden(conn, query, look)?;
    // Who asks for an instance by its name that it has sent itself, and verifies that it arrived, is told.
    let shown = match (look.is_clear(), named.is_empty()) {
        (true, _) => "?6 IS NOT NULL AND ?7 IS NOT NULL AND ?8 IS NOT NULL",
        (_, true) => {
            "?8 IS NOT NULL AND s.uid NOT IN (SELECT value FROM json_each(?6)) AND r.uid NOT IN (SELECT value FROM json_each(?7))"
        }
        (_, false) => {
            "((s.uid NOT IN (SELECT value FROM json_each(?6)) AND r.uid NOT IN (SELECT value FROM json_each(?7))) \
            OR EXISTS (SELECT 1 FROM arrivals w WHERE w.instance = i.id AND w.origin_kind = 'peer' \
            AND w.origin_name IN (SELECT value FROM json_each(?8))))"
        }
    };
    let columns = format!(
        "SELECT s.uid, r.uid, i.sop_uid, i.sop_class, i.transfer_syntax, i.length, s.attributes, r.attributes, \
                   i.attributes, a.origin_kind, a.origin_name, i.id, {WORD} FROM instances i JOIN studies s ON s.id = i.study \
                   JOIN series r ON r.id = i.series JOIN arrivals a ON a.instance = i.id AND a.n = 1"
    );
    let by_name = "i.sop_uid IN (SELECT value FROM json_each(?3))";
    let sql = format!(
        "{columns} WHERE (?1 IS NULL OR s.uid = ?1) AND (?2 IS NULL OR r.uid = ?2) AND {} \
         AND i.id > ?5 AND {} AND {shown} ORDER BY i.id LIMIT ?4",
        match (named.is_empty(), query.study.is_some()) {
            (false, _) => by_name,
            // Lets the planner start from the one study.
            (true, true) => "?3 IS NOT NULL AND i.study = (SELECT id FROM studies WHERE uid = ?1)",
            (true, false) => "?3 IS NOT NULL",
        },
        look.kept()
    );
    let mut find = conn.prepare_cached(&sql)?;
    let study = query.study.as_ref().map(StudyUid::as_str);
    let of_series = query.series.as_ref().map(SeriesUid::as_str);
    let named = Value::from(named).to_string();
    let (limit, viewers) = (at_most(query.limit) as i64, look.viewers());
    let mut rows = find.query(params![study, of_series, named, limit, query.after.0, studies, series, viewers])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(found(row)?);
    }
    Ok(list)
}

/// The studies of instances, which are found by their names alone: who asks for some does not wait for all that was ever here.
pub(in crate::records) const OF_THESE: &str = "SELECT s.uid FROM instances i JOIN studies s ON s.id = i.study \
    WHERE i.sop_uid IN (SELECT value FROM json_each(?1))";
/// The studies of any instances.
const OF_ANY: &str =
    "SELECT s.uid FROM studies s WHERE ?1 IS NOT NULL AND EXISTS (SELECT 1 FROM instances i WHERE i.study = s.id)";

/// The studies and the series that are hidden among those that a query may find, as lists.
fn hidden(conn: &Connection, query: &FindInstances, look: &mut Look) -> Result<(String, String), Fault> {
    let (mut all, mut studies) = (Hidden::default(), Vec::new());
    let candidates: Vec<String> = match &query.study {
        _ if look.is_clear() => Vec::new(),
        Some(study) => vec![study.to_string()],
        None => {
            let named = Value::from_iter(query.instances.iter().map(InstanceUid::as_str)).to_string();
            let mut find = conn.prepare_cached(if query.instances.is_empty() { OF_ANY } else { OF_THESE })?;
            // Instances of one study are mostly asked for together.
            let found: BTreeSet<String> = find.query_map([named], |row| row.get(0))?.collect::<Result<_, _>>()?;
            found.into_iter().collect()
        }
    };
    for study in candidates {
        let hidden = look.hidden(conn, &study)?;
        match hidden.study {
            Some(_) => studies.push(study),
            None => all.series.extend(hidden.series),
        }
    }
    Ok((Value::from(studies).to_string(), sharing::list(&all)))
}

fn found(row: &Row<'_>) -> Result<FoundInstance, Fault> {
    let text = |n: usize| row.get::<_, String>(n);
    let mut attributes = BTreeMap::new();
    for column in [6, 7, 8] {
        attributes.extend(texts(&text(column)?)?);
    }
    with_word(row, &mut attributes)?;
    Ok(FoundInstance {
        id: InstanceId(row.get(11)?),
        study: parsed(&text(0)?, "Study Instance UID", StudyUid::parse)?,
        series: parsed(&text(1)?, "Series Instance UID", SeriesUid::parse)?,
        instance: parsed(&text(2)?, "SOP Instance UID", InstanceUid::parse)?,
        sop_class: parsed(&text(3)?, "SOP Class UID", SopClassUid::parse)?,
        transfer_syntax: parsed(&text(4)?, "Transfer Syntax UID", TransferSyntaxUid::parse)?,
        length: count(row.get(5)?),
        attributes: Texts(attributes),
        origin: origin(&text(9)?, &text(10)?)?,
    })
}

/// Attributes from their column.
pub(super) fn texts(column: &str) -> Result<BTreeMap<Tag, String>, Fault> {
    let map: BTreeMap<String, String> = serde_json::from_str(column).map_err(|_| damaged("list of attributes"))?;
    map.into_iter()
        .map(|(tag, text)| u32::from_str_radix(&tag, 16).map(|tag| (Tag(tag), text)).map_err(|_| damaged("tag")))
        .collect()
}
