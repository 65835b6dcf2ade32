//! Instances: the versions of one, those of a study page by page, and those that a QIDO-RS query finds.

use super::lists::{at_most, of_instance};
use super::rows::{Fault, count, damaged, digest, origin, parsed, small, source, time};
use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::records::{FindInstances, FoundInstance, InstanceId, InstanceView, Texts};
use rusqlite::{Connection, Row, params};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::SystemTime;

const VIEW: &str = "SELECT i.id, i.sop_uid, i.version, i.sop_class, s.uid, r.uid, i.transfer_syntax, i.sha256, i.length, i.state, \
    i.unrouted, a.origin_kind, a.origin_name, a.source, i.received, \
    (SELECT count(*) FROM arrivals n WHERE n.instance = i.id), i.study, i.behind, \
    EXISTS (SELECT 1 FROM exceptions x WHERE x.instance = i.id AND x.kind = 'conflict' AND (x.closed IS NULL OR x.decision = 'rejected')) \
    FROM instances i JOIN studies s ON s.id = i.study \
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
pub(in crate::records) fn find(conn: &Connection, query: &FindInstances) -> Result<Vec<FoundInstance>, Fault> {
    let named: Vec<&str> = query.instances.iter().map(InstanceUid::as_str).collect();
    let columns = "SELECT s.uid, r.uid, i.sop_uid, i.sop_class, i.transfer_syntax, i.length, s.attributes, r.attributes, \
                   i.attributes, a.origin_kind, a.origin_name FROM instances i JOIN studies s ON s.id = i.study \
                   JOIN series r ON r.id = i.series JOIN arrivals a ON a.instance = i.id AND a.n = 1";
    let by_name = "i.sop_uid IN (SELECT value FROM json_each(?3))";
    let sql = format!(
        "{columns} WHERE (?1 IS NULL OR s.uid = ?1) AND (?2 IS NULL OR r.uid = ?2) AND {} \
         AND i.state = 'stored' AND i.behind IS NULL ORDER BY i.id LIMIT ?4 OFFSET ?5",
        match (named.is_empty(), query.study.is_some()) {
            (false, _) => by_name,
            // Lets the planner start from the one study.
            (true, true) => "?3 IS NOT NULL AND i.study = (SELECT id FROM studies WHERE uid = ?1)",
            (true, false) => "?3 IS NOT NULL",
        }
    );
    let mut find = conn.prepare_cached(&sql)?;
    let study = query.study.as_ref().map(StudyUid::as_str);
    let series = query.series.as_ref().map(SeriesUid::as_str);
    let offset = i64::try_from(query.offset).unwrap_or(i64::MAX);
    let named = Value::from(named).to_string();
    let mut rows = find.query(params![study, series, named, at_most(query.limit) as i64, offset])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(found(row)?);
    }
    Ok(list)
}

fn found(row: &Row<'_>) -> Result<FoundInstance, Fault> {
    let text = |n: usize| row.get::<_, String>(n);
    let mut attributes = BTreeMap::new();
    for column in [6, 7, 8] {
        attributes.extend(texts(&text(column)?)?);
    }
    Ok(FoundInstance {
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
