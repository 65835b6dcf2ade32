//! What later instances said of their patient, study and series, where it is not what the first said: a study is withheld by all of it.

use super::record::texts;
use super::rows::Fault;
use super::tx::Tx;
use crate::dicom::attributes::Level;
use crate::dicom::head::Head;
use crate::records::BlobId;
use rusqlite::{Connection, params};

/// In place of a series: the patient and the study.
pub(in crate::records) const OF_STUDY: i64 = 0;

/// A study, a series of it or [`OF_STUDY`], and what was said of it.
pub(in crate::records) type Said = (i64, i64, String);

/// Keeps what an instance said, once however many say the same; so there are never more of these than instances. Nothing is kept where
/// the row of the study or series reads `{}`: a person erased what it said, and it is not written down again (LED-010).
pub(in crate::records) fn keep(tx: &Tx<'_>, study: i64, series: i64, attributes: &str) -> Result<(), Fault> {
    let sql = "INSERT OR IGNORE INTO also_said (study, series, attributes) SELECT ?1, ?2, ?3 \
        WHERE NOT EXISTS (SELECT 1 FROM studies s WHERE s.id = ?1 AND s.attributes = '{}') \
        AND NOT EXISTS (SELECT 1 FROM series r WHERE r.id = ?2 AND r.attributes = '{}')";
    tx.conn.prepare_cached(sql)?.execute(params![study, series, attributes])?;
    Ok(())
}

/// What the head of a whole data set says that [`keep`] would keep and that is not kept: its instance came before such was kept.
pub(in crate::records) fn missed(conn: &Connection, blob: BlobId, head: &Head) -> Result<Vec<Said>, Fault> {
    let of_study = texts(&head.attributes, &[Level::Patient, Level::Study]);
    let of_series = texts(&head.attributes, &[Level::Series]);
    // From the blob on: a study has many instances, and each of their blobs is asked about.
    let mut find = conn.prepare_cached(
        "SELECT DISTINCT i.study, i.series, s.attributes NOT IN (?5, '{}') AND NOT EXISTS (SELECT 1 FROM also_said m \
         WHERE m.study = i.study AND m.series = 0 AND m.attributes = ?5), \
         s.attributes <> '{}' AND r.attributes NOT IN (?6, '{}') AND NOT EXISTS (SELECT 1 FROM also_said m \
         WHERE m.study = i.study AND m.series = i.series AND m.attributes = ?6) \
         FROM instances i CROSS JOIN studies s ON s.id = i.study CROSS JOIN series r ON r.id = i.series \
         WHERE i.blob = ?1 AND i.transfer_syntax = ?2 AND s.uid = ?3 AND r.uid = ?4",
    )?;
    let (syntax, study, series) = (head.transfer_syntax.as_str(), head.study.as_str(), head.series.as_str());
    let mut rows = find.query(params![blob.0, syntax, study, series, of_study, of_series])?;
    let mut missed: Vec<Said> = Vec::new();
    while let Some(row) = rows.next()? {
        let (study, series): (i64, i64) = (row.get(0)?, row.get(1)?);
        missed.extend(row.get::<_, bool>(2)?.then(|| (study, OF_STUDY, of_study.clone())));
        missed.extend(row.get::<_, bool>(3)?.then(|| (study, series, of_series.clone())));
    }
    Ok(missed)
}
