//! Rows of studies and series for queries; what holds no stored instance is not shown.

use super::rows::{Fault, WORD, count, damaged, origin, parsed, with_word};
use super::sharing::Look;
use super::study::texts;
use super::tally::Asked;
use crate::dicom::attributes::{MODALITY, PATIENT_BIRTH_DATE, PATIENT_ID, PATIENT_NAME, PATIENT_SEX};
use crate::dicom::nhs_number::NhsNumber;
use crate::dicom::patient::Patient;
use crate::dicom::query::narrow::Narrow;
use crate::dicom::uid::{SeriesUid, SopClassUid, StudyUid};
use crate::peers::Hidden;
use crate::records::{KnownPatient, SeriesRow, StudyRow, StudySize, Texts, Walk};
use rusqlite::{Connection, OptionalExtension, Statement, ToSql, params};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of a page.
const PAGE: i64 = 500;

/// Candidates that are looked at together.
const TOGETHER: usize = 500;

/// Candidates up to which an index is followed and sorted; where there are more, all rows are walked in their order.
const FEW: usize = if cfg!(test) { 8 } else { 5000 };

/// The one stored instance that stands for the origin of a study; a study without any is not shown.
fn of_study(look: &Look) -> String {
    let kept = look.kept();
    format!(
        "JOIN instances f ON f.id = (SELECT i.id FROM instances i WHERE i.study = s.id AND {kept} LIMIT 1) \
         JOIN arrivals a ON a.instance = f.id AND a.n = 1"
    )
}

/// Conditions that narrow a walk over studies; each parameter is used once, so that an index can be.
fn narrowed(walk: &Walk) -> String {
    let given = |is: bool, condition: &'static str, without: &'static str| if is { condition } else { without };
    format!(
        "{} AND {} AND {}",
        given(!walk.studies.is_empty(), "s.uid IN (SELECT value FROM json_each(?2))", "?2 IS NOT NULL"),
        given(!walk.patient_ids.is_empty(), "s.patient_id IN (SELECT value FROM json_each(?3))", "?3 IS NOT NULL"),
        given(walk.accession_number.is_some(), "s.accession_number = ?4", "?4 IS NULL"),
    )
}

const DAYS: &str = "(s.day BETWEEN ?11 AND ?12 OR s.day = '?')";
const NAME: &str = "(s.name >= ?13 AND s.name < ?13 || '\u{7f}' AND s.name GLOB ?14 OR s.name = '?')";

/// Conditions for days and names that are checked row by row.
fn narrower(narrow: &Narrow) -> String {
    let given = [(narrow.name.is_some(), NAME), (narrow.days.is_some(), DAYS)];
    let conditions = given.into_iter().filter(|(is, _)| *is).map(|(_, condition)| condition.replace("s.", "+s."));
    std::iter::once("TRUE".to_owned()).chain(conditions).collect::<Vec<_>>().join(" AND ")
}

/// Binds the parameters of [`DAYS`] and [`NAME`], which stand behind all others.
fn bind(statement: &mut Statement<'_>, narrow: &Narrow) -> Result<(), Fault> {
    let (days, name) = (narrow.days.as_ref(), narrow.name.as_ref());
    let values = [
        (11, days.map(|days| &days.0)),
        (12, days.map(|days| &days.1)),
        (13, name.map(|name| &name.begins)),
        (14, name.map(|name| &name.pattern)),
    ];
    for (at, value) in values {
        if let Some(value) = value.filter(|_| at <= statement.parameter_count()) {
            statement.raw_bind_parameter(at, value)?;
        }
    }
    Ok(())
}

/// See [`crate::records::Records::candidates`].
pub(in crate::records) fn candidates(conn: &Connection, narrow: &Narrow) -> Result<Option<Arc<[i64]>>, Fault> {
    // In two parts, each of which is answered by the index alone.
    let parts = [
        (narrow.name.is_some(), "name >= ?13 AND name < ?13 || '\u{7f}' AND name GLOB ?14", "name = '?'"),
        (narrow.days.is_some(), "day BETWEEN ?11 AND ?12", "day = '?'"),
    ];
    for (given, such, odd) in parts {
        if !given {
            continue;
        }
        let mut find = conn.prepare_cached(&format!(
            "SELECT id FROM studies WHERE {such} UNION ALL SELECT id FROM studies WHERE {odd} LIMIT {}",
            FEW + 1
        ))?;
        bind(&mut find, narrow)?;
        let (mut rows, mut found) = (find.raw_query(), Vec::new());
        while let Some(row) = rows.next()? {
            found.push(row.get::<_, i64>(0)?);
        }
        if found.len() <= FEW {
            found.sort_unstable();
            return Ok(Some(found.into()));
        }
    }
    Ok(None)
}

fn list_of<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    Value::from_iter(texts).to_string()
}

fn list_of_rows(rows: &[i64]) -> String {
    Value::from_iter(rows.iter().copied()).to_string()
}

fn studies_of(walk: &Walk) -> String {
    list_of(walk.studies.iter().map(StudyUid::as_str))
}

fn patients_of(ids: &[String]) -> String {
    list_of(ids.iter().map(String::as_str))
}

/// See [`crate::records::Records::walk_studies`].
pub(in crate::records) fn studies(conn: &Connection, mut walk: Walk, look: &mut Look) -> Result<Vec<StudyRow>, Fault> {
    if let Some(candidates) = walk.candidates.take() {
        return of_candidates(conn, &walk, &candidates, look);
    }
    loop {
        let rows = study_page(conn, &walk, look)?;
        let Some(last) = rows.last() else { return Ok(rows) };
        walk.after = last.row;
        let shown = shown(conn, rows, look)?;
        if !shown.is_empty() {
            return Ok(shown);
        }
    }
}

/// The next of a list of rows.
fn of_candidates(conn: &Connection, walk: &Walk, all: &[i64], look: &mut Look) -> Result<Vec<StudyRow>, Fault> {
    let mut find = conn.prepare_cached(&format!(
        "SELECT s.id, s.uid, s.attributes, a.origin_kind, a.origin_name, {WORD} FROM json_each(?1) c \
         CROSS JOIN studies s ON s.id = c.value {} WHERE ?1 IS NOT NULL AND {} ORDER BY c.key",
        of_study(look),
        narrowed(walk)
    ))?;
    let left = &all[all.partition_point(|row| *row <= walk.after)..];
    for some in left.chunks(TOGETHER) {
        let given =
            params![list_of_rows(some), studies_of(walk), patients_of(&walk.patient_ids), walk.accession_number];
        let rows = study_rows(&mut find, given, &Narrow::default())?;
        let rows = shown(conn, rows, look)?;
        if !rows.is_empty() {
            return Ok(rows);
        }
    }
    Ok(Vec::new())
}

/// Those of the rows that are shown.
fn shown(conn: &Connection, mut rows: Vec<StudyRow>, look: &mut Look) -> Result<Vec<StudyRow>, Fault> {
    if !look.is_clear() {
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            if look.shows(conn, row.study.as_str())? {
                shown.push(row);
            }
        }
        rows = shown;
    }
    Ok(rows)
}

fn study_page(conn: &Connection, walk: &Walk, look: &Look) -> Result<Vec<StudyRow>, Fault> {
    let mut find = conn.prepare_cached(&format!(
        "SELECT s.id, s.uid, s.attributes, a.origin_kind, a.origin_name, {WORD} FROM studies s {} \
         WHERE s.id > ?1 AND {} AND {} ORDER BY s.id LIMIT ?5",
        of_study(look),
        narrowed(walk),
        narrower(&walk.narrow)
    ))?;
    let patients = patients_of(&walk.patient_ids);
    let given = params![walk.after, studies_of(walk), patients, walk.accession_number, PAGE];
    study_rows(&mut find, given, &walk.narrow)
}

/// See [`crate::records::Records::walk_patients`].
pub(in crate::records) fn by_patient(
    conn: &Connection,
    mut after: (String, i64),
    ids: &[String],
    narrow: &Narrow,
    look: &mut Look,
) -> Result<Vec<StudyRow>, Fault> {
    loop {
        let rows = patient_page(conn, &after, ids, narrow, look)?;
        let Some(last) = rows.last() else { return Ok(rows) };
        after = (last.attributes.0.get(&PATIENT_ID).cloned().unwrap_or_default(), last.row);
        let shown = shown(conn, rows, look)?;
        if !shown.is_empty() {
            return Ok(shown);
        }
    }
}

fn patient_page(
    conn: &Connection,
    (patient, row): &(String, i64),
    ids: &[String],
    narrow: &Narrow,
    look: &Look,
) -> Result<Vec<StudyRow>, Fault> {
    let narrowed = if ids.is_empty() { "?3 IS NOT NULL" } else { "s.patient_id IN (SELECT value FROM json_each(?3))" };
    let mut find = conn.prepare_cached(&format!(
        "SELECT s.id, s.uid, s.attributes, a.origin_kind, a.origin_name, {WORD} FROM studies s {} \
         WHERE (s.patient_id, s.id) > (?1, ?2) AND s.patient_id <> '' AND {narrowed} AND {} \
         ORDER BY s.patient_id, s.id LIMIT ?4",
        of_study(look),
        narrower(narrow)
    ))?;
    study_rows(&mut find, params![patient, row, patients_of(ids), PAGE], narrow)
}

/// See [`crate::records::Records::skip_studies`].
pub(in crate::records) fn skip(
    conn: &Connection,
    count: u64,
    look: &Look,
    asked: &Asked,
) -> Result<Option<i64>, Fault> {
    let Some(before) = count.checked_sub(1).filter(|_| look.is_clear()) else { return Ok(None) };
    let (from, left) = asked.pass(conn, look, before)?;
    let mut find = conn.prepare_cached(&format!(
        "SELECT s.id FROM studies s WHERE s.id >= ?1 AND EXISTS (SELECT 1 FROM instances i WHERE i.study = s.id AND {}) \
         ORDER BY s.id LIMIT 1 OFFSET ?2",
        look.kept()
    ))?;
    let left = i64::try_from(left).unwrap_or(i64::MAX);
    Ok(Some(find.query_row([from, left], |row| row.get(0)).optional()?.unwrap_or(i64::MAX)))
}

/// See [`crate::records::Records::studies_after`].
pub(in crate::records) fn after(conn: &Connection, row: i64, look: &Look, asked: &Asked) -> Result<Option<u64>, Fault> {
    if !look.is_clear() {
        return Ok(None);
    }
    asked.behind(conn, look, row).map(Some)
}

/// The rows that a statement gives whose numbered parameters are these.
fn study_rows(find: &mut Statement<'_>, given: &[&dyn ToSql], narrow: &Narrow) -> Result<Vec<StudyRow>, Fault> {
    for (at, value) in given.iter().enumerate() {
        find.raw_bind_parameter(at + 1, value)?;
    }
    bind(find, narrow)?;
    let (mut rows, mut list) = (find.raw_query(), Vec::new());
    while let Some(row) = rows.next()? {
        let mut attributes = texts(&row.get::<_, String>(2)?)?;
        with_word(row, &mut attributes)?;
        list.push(StudyRow {
            row: row.get(0)?,
            study: parsed(&row.get::<_, String>(1)?, "Study Instance UID", StudyUid::parse)?,
            attributes: Texts(attributes),
            origin: origin(&row.get::<_, String>(3)?, &row.get::<_, String>(4)?)?,
        });
    }
    Ok(list)
}

/// See [`crate::records::Records::walk_series`].
pub(in crate::records) fn series(conn: &Connection, mut walk: Walk, look: &mut Look) -> Result<Vec<SeriesRow>, Fault> {
    loop {
        let rows = series_page(conn, &walk, look)?;
        let Some(last) = rows.last().filter(|_| !look.is_clear()) else { return Ok(rows) };
        walk.after = last.row;
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            if look.shows_series(conn, row.study.as_str(), row.series.as_str())? {
                shown.push(row);
            }
        }
        if !shown.is_empty() {
            return Ok(shown);
        }
    }
}

fn series_page(conn: &Connection, walk: &Walk, look: &Look) -> Result<Vec<SeriesRow>, Fault> {
    let (kept, narrowed) = (look.kept(), narrowed(walk));
    let mut find = conn.prepare_cached(&format!(
        "SELECT r.id, s.uid, r.uid, s.attributes, r.attributes, a.origin_kind, a.origin_name, {WORD}, \
         (SELECT count(*) FROM instances i WHERE i.study = s.id AND i.series = r.id AND {kept}) AS kept \
         FROM series r JOIN studies s ON s.id = r.study JOIN instances f ON f.id = \
         (SELECT i.id FROM instances i WHERE i.study = s.id AND i.series = r.id AND {kept} LIMIT 1) \
         JOIN arrivals a ON a.instance = f.id AND a.n = 1 \
         WHERE r.id > ?1 AND {narrowed} AND (?5 IS NULL OR r.uid = ?5) ORDER BY r.id LIMIT ?6"
    ))?;
    let series = walk.series.as_ref().map(SeriesUid::as_str);
    let patients = patients_of(&walk.patient_ids);
    let mut rows = find.query(params![walk.after, studies_of(walk), patients, walk.accession_number, series, PAGE])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |n: usize| row.get::<_, String>(n);
        let mut attributes = texts(&text(3)?)?;
        attributes.extend(texts(&text(4)?)?);
        with_word(row, &mut attributes)?;
        list.push(SeriesRow {
            row: row.get(0)?,
            study: parsed(&text(1)?, "Study Instance UID", StudyUid::parse)?,
            series: parsed(&text(2)?, "Series Instance UID", SeriesUid::parse)?,
            attributes: Texts(attributes),
            origin: origin(&text(5)?, &text(6)?)?,
            instances: count(row.get("kept")?),
        });
    }
    Ok(list)
}

/// See [`crate::records::Records::study_sizes`].
pub(in crate::records) fn sizes(
    conn: &Connection,
    studies: &[i64],
    classes: bool,
    look: &mut Look,
) -> Result<BTreeMap<i64, StudySize>, Fault> {
    let (list, hidden, kept) = (list_of_rows(studies), hidden_of(conn, studies, look)?, look.kept());
    let shown = |study: i64, series: &str| hidden.get(&study).is_none_or(|hidden| hidden.rule(series).is_none());
    let mut sizes: BTreeMap<i64, StudySize> = studies.iter().map(|study| (*study, StudySize::default())).collect();
    let mut find = conn.prepare_cached(&format!(
        "SELECT i.study, r.uid, r.attributes, count(*) FROM instances i JOIN series r ON r.id = i.series \
         WHERE i.study IN (SELECT value FROM json_each(?1)) AND {kept} GROUP BY i.study, i.series ORDER BY i.study, i.series",
    ))?;
    let mut rows = find.query([&list])?;
    while let Some(row) = rows.next()? {
        let study = row.get(0)?;
        if !shown(study, &row.get::<_, String>(1)?) {
            continue;
        }
        let size = sizes.entry(study).or_default();
        size.series += 1;
        size.instances += count(row.get(3)?);
        let modality = texts(&row.get::<_, String>(2)?)?.remove(&MODALITY);
        size.modalities.extend(modality.filter(|modality| !size.modalities.contains(modality)));
    }
    if !classes {
        return Ok(sizes);
    }
    let mut find = conn.prepare_cached(&format!(
        "SELECT DISTINCT i.study, r.uid, i.sop_class FROM instances i JOIN series r ON r.id = i.series \
         WHERE i.study IN (SELECT value FROM json_each(?1)) AND {kept}",
    ))?;
    let mut rows = find.query([&list])?;
    while let Some(row) = rows.next()? {
        let study = row.get(0)?;
        if shown(study, &row.get::<_, String>(1)?) {
            let class = parsed(&row.get::<_, String>(2)?, "SOP Class UID", SopClassUid::parse)?;
            let size = sizes.entry(study).or_default();
            size.sop_classes.extend(Some(class).filter(|class| !size.sop_classes.contains(class)));
        }
    }
    Ok(sizes)
}

/// What is hidden of these studies, as far as anything is.
fn hidden_of(conn: &Connection, studies: &[i64], look: &mut Look) -> Result<BTreeMap<i64, Hidden>, Fault> {
    let mut all = BTreeMap::new();
    if look.is_clear() {
        return Ok(all);
    }
    let mut find = conn.prepare_cached("SELECT uid FROM studies WHERE id = ?1")?;
    for study in studies {
        let uid: Option<String> = find.query_row([study], |row| row.get(0)).optional()?;
        if let Some(uid) = uid {
            all.insert(*study, look.hidden(conn, &uid)?);
        }
    }
    Ok(all)
}

/// See [`crate::records::Records::patients_of`].
pub(in crate::records) fn patients(conn: &Connection, number: NhsNumber) -> Result<Vec<KnownPatient>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT s.attributes, s.issuer, json_group_array(DISTINCT a.origin_name) FROM studies s \
         JOIN instances i ON i.study = s.id JOIN arrivals a ON a.instance = i.id AND a.origin_kind IN ('node', 'archive') \
         WHERE s.patient_id IN (?1, ?2, ?3) GROUP BY s.id ORDER BY s.id DESC LIMIT 100",
    )?;
    let mut rows = find.query(number.forms())?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let mut held = texts(&row.get::<_, String>(0)?)?;
        let mut text = |tag| held.remove(&tag).unwrap_or_default();
        let patient = Patient {
            number: Some(number),
            birth_date: text(PATIENT_BIRTH_DATE),
            name: text(PATIENT_NAME),
            sex: text(PATIENT_SEX),
        };
        let nodes = serde_json::from_str(&row.get::<_, String>(2)?).map_err(|_| damaged("list of nodes"))?;
        list.push(KnownPatient { patient, issuer: row.get(1)?, nodes });
    }
    Ok(list)
}
