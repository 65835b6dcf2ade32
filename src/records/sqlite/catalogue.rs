//! Rows of studies and series for queries; what holds no stored instance is not shown.

use super::rows::{Fault, count, parsed};
use super::study::texts;
use crate::dicom::attributes::MODALITY;
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::records::{SeriesRow, StudyRow, StudySize, Texts, Walk};
use rusqlite::{Connection, params};

/// Rows of a page.
const PAGE: i64 = 500;

/// See [`crate::records::Records::walk_studies`].
pub(in crate::records) fn studies(conn: &Connection, walk: &Walk) -> Result<Vec<StudyRow>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT s.id, s.uid, s.attributes FROM studies s WHERE s.id > ?1 AND (?2 IS NULL OR s.uid = ?2) \
         AND (?3 IS NULL OR s.patient_id = ?3) AND (?4 IS NULL OR s.accession_number = ?4) \
         AND EXISTS (SELECT 1 FROM instances i WHERE i.study = s.id AND i.state = 'stored') ORDER BY s.id LIMIT ?5",
    )?;
    let study = walk.study.as_ref().map(StudyUid::as_str);
    let mut rows = find.query(params![walk.after, study, walk.patient_id, walk.accession_number, PAGE])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(StudyRow {
            row: row.get(0)?,
            study: parsed(&row.get::<_, String>(1)?, "Study Instance UID", StudyUid::parse)?,
            attributes: Texts(texts(&row.get::<_, String>(2)?)?),
        });
    }
    Ok(list)
}

/// See [`crate::records::Records::walk_series`].
pub(in crate::records) fn series(conn: &Connection, walk: &Walk) -> Result<Vec<SeriesRow>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT r.id, s.uid, r.uid, s.attributes, r.attributes, \
         (SELECT count(*) FROM instances i WHERE i.study = s.id AND i.series = r.id AND i.state = 'stored') AS kept \
         FROM series r JOIN studies s ON s.id = r.study WHERE r.id > ?1 AND (?2 IS NULL OR s.uid = ?2) \
         AND (?3 IS NULL OR r.uid = ?3) AND (?4 IS NULL OR s.patient_id = ?4) AND (?5 IS NULL OR s.accession_number = ?5) \
         AND kept > 0 ORDER BY r.id LIMIT ?6",
    )?;
    let study = walk.study.as_ref().map(StudyUid::as_str);
    let series = walk.series.as_ref().map(SeriesUid::as_str);
    let mut rows = find.query(params![walk.after, study, series, walk.patient_id, walk.accession_number, PAGE])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |n: usize| row.get::<_, String>(n);
        let mut attributes = texts(&text(3)?)?;
        attributes.extend(texts(&text(4)?)?);
        list.push(SeriesRow {
            row: row.get(0)?,
            study: parsed(&text(1)?, "Study Instance UID", StudyUid::parse)?,
            series: parsed(&text(2)?, "Series Instance UID", SeriesUid::parse)?,
            attributes: Texts(attributes),
            instances: count(row.get(5)?),
        });
    }
    Ok(list)
}

/// See [`crate::records::Records::study_size`].
pub(in crate::records) fn size(conn: &Connection, study: i64) -> Result<StudySize, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT r.attributes, count(*) FROM instances i JOIN series r ON r.id = i.series \
         WHERE i.study = ?1 AND i.state = 'stored' GROUP BY r.id ORDER BY r.id",
    )?;
    let mut rows = find.query([study])?;
    let mut size = StudySize::default();
    while let Some(row) = rows.next()? {
        size.series += 1;
        size.instances += count(row.get(1)?);
        let modality = texts(&row.get::<_, String>(0)?)?.remove(&MODALITY);
        if let Some(modality) = modality.filter(|modality| !size.modalities.contains(modality)) {
            size.modalities.push(modality);
        }
    }
    Ok(size)
}
