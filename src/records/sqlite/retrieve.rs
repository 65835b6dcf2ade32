//! Rows for retrieval: the extent of a resource, and its kept instances page by page.

use super::rows::{Fault, WORD, count, origin, parsed, place, refuse, time};
use super::sharing::{self, Look};
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::peers::Hidden;
use crate::records::{Copies, Expected, Extent, InstanceId, MOST_EXPECTED, Picked, Resource, Retrievable};
use crate::store::Digest;
use rusqlite::{Connection, Row, params};
use serde_json::Value;

/// Instances of a page.
const PAGE: i64 = 256;

/// Names of one answer.
const NAMES: i64 = 100_000;

const OF_RESOURCE: &str = "FROM instances i JOIN series r ON r.id = i.series JOIN blobs b ON b.id = i.blob \
    WHERE i.study = (SELECT id FROM studies WHERE uid = ?1) AND (?2 IS NULL OR r.uid = ?2) AND (?3 IS NULL OR i.sop_uid = ?3)";

/// What sending an instance needs.
const COPY: &str = "FROM instances i JOIN series r ON r.id = i.series JOIN studies s ON s.id = i.study JOIN blobs b ON b.id = i.blob \
    JOIN arrivals a ON a.instance = i.id AND a.n = 1";

fn names(resource: &Resource) -> (&str, Option<&str>, Option<&str>) {
    let series = resource.series.as_ref().map(SeriesUid::as_str);
    (resource.study.as_str(), series, resource.instance.as_ref().map(InstanceUid::as_str))
}

/// See [`crate::records::Records::extent`].
pub(in crate::records) fn extent(conn: &Connection, resource: &Resource, look: &mut Look) -> Result<Extent, Fault> {
    let hidden = look.hidden(conn, resource.study.as_str())?;
    if hidden.study.is_some() {
        return Ok(Extent::default());
    }
    let mut find = conn.prepare_cached(&format!(
        "SELECT i.state, i.transfer_syntax, count(*) {OF_RESOURCE} AND {} AND r.uid NOT IN (SELECT value FROM json_each(?4)) \
         GROUP BY i.state, i.transfer_syntax",
        look.ever_kept()
    ))?;
    let (study, series, instance) = names(resource);
    let mut rows = find.query(params![study, series, instance, sharing::list(&hidden)])?;
    let mut extent = Extent::default();
    while let Some(row) = rows.next()? {
        let instances = count(row.get(2)?);
        match row.get::<_, String>(0)?.as_str() {
            "stored" => {
                extent.stored += instances;
                let syntax: String = row.get(1)?;
                let syntax = parsed(&syntax, "Transfer Syntax UID", TransferSyntaxUid::parse)?;
                extent.syntaxes.push((syntax, instances));
            }
            "purged" => extent.purged += instances,
            "corrupt" => extent.damaged += instances,
            _ => {}
        }
    }
    Ok(extent)
}

/// Whether something of a study is out of sight.
pub(in crate::records) fn is_part_hidden(conn: &Connection, study: &StudyUid, look: &mut Look) -> Result<bool, Fault> {
    if !look.hidden(conn, study.as_str())?.series.is_empty() {
        return Ok(true);
    }
    let mut find = conn.prepare_cached(&format!(
        "SELECT 1 FROM instances i WHERE i.study = (SELECT id FROM studies WHERE uid = ?1) AND ({}) LIMIT 1",
        look.out_of_sight()
    ))?;
    Ok(find.exists([study.as_str()])?)
}

/// See [`crate::records::Records::retrievable`].
pub(in crate::records) fn page(
    conn: &Connection,
    resource: &Resource,
    after: InstanceId,
    look: &mut Look,
) -> Result<Vec<Retrievable>, Fault> {
    let hidden = look.hidden(conn, resource.study.as_str())?;
    if hidden.study.is_some() {
        return Ok(Vec::new());
    }
    let mut find = conn.prepare_cached(&format!(
        "SELECT i.id, i.sop_class, i.sop_uid, r.uid, i.transfer_syntax, i.sha256, i.length, b.file, b.shared, b.offset, b.length, \
         a.origin_kind, a.origin_name, i.received, s.uid, i.state, {WORD} {COPY} \
         WHERE s.uid = ?1 AND (?2 IS NULL OR r.uid = ?2) AND (?3 IS NULL OR i.sop_uid = ?3) AND {} AND i.id > ?4 \
         AND r.uid NOT IN (SELECT value FROM json_each(?6)) ORDER BY i.id LIMIT ?5",
        look.kept()
    ))?;
    let (study, series, instance) = names(resource);
    let mut rows = find.query(params![study, series, instance, after.0, PAGE, sharing::list(&hidden)])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(copy(row)?.0);
    }
    Ok(list)
}

/// See [`crate::records::Records::kept_instances`].
pub(in crate::records) fn names_of_kept(conn: &Connection, resource: &Resource) -> Result<Vec<InstanceUid>, Fault> {
    let mut find = conn.prepare_cached(&format!(
        "SELECT DISTINCT i.sop_uid FROM instances i JOIN series r ON r.id = i.series JOIN studies s ON s.id = i.study \
         WHERE s.uid = ?1 AND (?2 IS NULL OR r.uid = ?2) AND (?3 IS NULL OR i.sop_uid = ?3) AND i.state = 'stored' LIMIT {NAMES}"
    ))?;
    let mut rows = find.query(names(resource))?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(parsed(&row.get::<_, String>(0)?, "SOP Instance UID", InstanceUid::parse)?);
    }
    Ok(list)
}

/// See [`crate::records::Records::awaits_judgement`].
pub(in crate::records) fn awaits_judgement(conn: &Connection, study: &StudyUid) -> Result<bool, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT 1 FROM exceptions x JOIN instances i ON i.id = x.instance \
         WHERE x.kind = 'conflict' AND x.closed IS NULL AND x.verdict IS NULL AND i.study = (SELECT id FROM studies WHERE uid = ?1) \
         UNION ALL \
         SELECT 1 FROM rejections n JOIN instances i ON i.id = n.instance \
         WHERE (n.standing = 'unread' OR n.pending > 0) AND i.state = 'stored' AND i.study = (SELECT id FROM studies WHERE uid = ?1)",
    )?;
    Ok(find.exists([study.as_str()])?)
}

/// A row of the columns of [`page`], and whether it is kept.
fn copy(row: &Row<'_>) -> Result<(Retrievable, bool), Fault> {
    let text = |n: usize| row.get::<_, String>(n);
    let copy = Retrievable {
        instance: InstanceId(row.get(0)?),
        sop_class: parsed(&text(1)?, "SOP Class UID", SopClassUid::parse)?,
        sop_instance: parsed(&text(2)?, "SOP Instance UID", InstanceUid::parse)?,
        study: parsed(&text(14)?, "Study Instance UID", StudyUid::parse)?,
        series: parsed(&text(3)?, "Series Instance UID", SeriesUid::parse)?,
        transfer_syntax: parsed(&text(4)?, "Transfer Syntax UID", TransferSyntaxUid::parse)?,
        digest: Digest(row.get(5)?),
        length: count(row.get(6)?),
        place: place(row, 7)?,
        origin: origin(&text(11)?, &text(12)?)?,
        received: time(row.get(13)?),
        word: row.get("word")?,
    };
    Ok((copy, text(15)? == "stored"))
}

/// See [`crate::records::Records::copies`].
pub(in crate::records) fn copies(conn: &Connection, ids: &[InstanceId], look: &mut Look) -> Result<Copies, Fault> {
    let mut find = conn.prepare_cached(&format!(
        "SELECT i.id, i.sop_class, i.sop_uid, r.uid, i.transfer_syntax, i.sha256, i.length, b.file, b.shared, b.offset, b.length, \
         a.origin_kind, a.origin_name, i.received, s.uid, i.state, {}, {WORD} {COPY} \
         WHERE i.id IN (SELECT value FROM json_each(?1)) ORDER BY i.id LIMIT ?2",
        look.out_of_sight()
    ))?;
    let ids = Value::from_iter(ids.iter().map(|id| id.0)).to_string();
    let mut rows = find.query(params![ids, PAGE])?;
    let mut copies = Copies::default();
    while let Some(row) = rows.next()? {
        let (item, kept) = copy(row)?;
        let hidden: bool = row.get(16)?;
        match hidden || !look.shows_series(conn, item.study.as_str(), item.series.as_str())? {
            true => copies.withheld += 1,
            false => copies.list.push((item, kept)),
        }
    }
    Ok(copies)
}

/// See [`crate::records::Records::expected`].
pub(in crate::records) fn expected(conn: &Connection, mut picked: Picked, look: &mut Look) -> Result<Expected, Fault> {
    let mut without = Hidden::default();
    let mut shown = Vec::with_capacity(picked.studies.len());
    for study in picked.studies {
        let hidden = look.hidden(conn, study.as_str())?;
        if hidden.study.is_none() {
            without.series.extend(hidden.series);
            shown.push(study);
        }
    }
    picked.studies = shown;
    let list = |uids: Vec<&str>| Value::from(uids).to_string();
    let studies = list(picked.studies.iter().map(StudyUid::as_str).collect());
    let series = list(picked.series.iter().map(SeriesUid::as_str).collect());
    let instances = list(picked.instances.iter().map(InstanceUid::as_str).collect());
    let given = |is: bool, condition: &'static str, without: &'static str| if is { condition } else { without };
    let mut find = conn.prepare_cached(&format!(
        "SELECT i.id, i.sop_class, i.transfer_syntax FROM instances i JOIN series r ON r.id = i.series \
         WHERE i.study IN (SELECT id FROM studies WHERE uid IN (SELECT value FROM json_each(?1))) AND {} AND {} \
         AND {} AND r.uid NOT IN (SELECT value FROM json_each(?5)) ORDER BY i.id LIMIT ?4",
        given(!picked.series.is_empty(), "r.uid IN (SELECT value FROM json_each(?2))", "?2 IS NOT NULL"),
        given(!picked.instances.is_empty(), "i.sop_uid IN (SELECT value FROM json_each(?3))", "?3 IS NOT NULL"),
        look.kept(),
    ))?;
    let mut rows =
        find.query(params![studies, series, instances, MOST_EXPECTED as i64 + 1, sharing::list(&without)])?;
    let mut expected = Expected::default();
    while let Some(row) = rows.next()? {
        if expected.instances.len() == MOST_EXPECTED {
            return refuse(format!("more than {MOST_EXPECTED} instances asked for at once"));
        }
        let kind = (
            parsed(&row.get::<_, String>(1)?, "SOP Class UID", SopClassUid::parse)?,
            parsed(&row.get::<_, String>(2)?, "Transfer Syntax UID", TransferSyntaxUid::parse)?,
        );
        let known = expected.kinds.iter().position(|other| *other == kind);
        let place = known.unwrap_or_else(|| {
            expected.kinds.push(kind);
            expected.kinds.len() - 1
        });
        expected.instances.push((InstanceId(row.get(0)?), u32::try_from(place).unwrap_or(u32::MAX)));
    }
    Ok(expected)
}
