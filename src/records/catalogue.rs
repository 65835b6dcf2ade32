//! The catalogue as queries walk it: studies and series that are kept, page by page in the order of their first arrival.

use super::sqlite::catalogue;
use super::{Records, RecordsError, Texts};
use crate::dicom::uid::{SeriesUid, StudyUid};

/// Where a walk begins, and what narrows it before anything is decoded.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// Only what comes after this row; 0 is the beginning.
    pub after: i64,
    /// Only this study.
    pub study: Option<StudyUid>,
    /// Only this series.
    pub series: Option<SeriesUid>,
    /// Only studies of exactly this Patient ID.
    pub patient_id: Option<String>,
    /// Only studies of exactly this Accession Number.
    pub accession_number: Option<String>,
}

/// A study of which instances are kept.
#[derive(Debug, Clone)]
pub struct StudyRow {
    /// Its number, for the next page.
    pub row: i64,
    /// Study Instance UID.
    pub study: StudyUid,
    /// Attributes of patient and study.
    pub attributes: Texts,
}

/// A series of which instances are kept.
#[derive(Debug, Clone)]
pub struct SeriesRow {
    /// Its number, for the next page.
    pub row: i64,
    /// Study Instance UID.
    pub study: StudyUid,
    /// Series Instance UID.
    pub series: SeriesUid,
    /// Attributes of patient, study and series.
    pub attributes: Texts,
    /// Instances that are kept.
    pub instances: u64,
}

/// What a study holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StudySize {
    /// Series of which instances are kept.
    pub series: u64,
    /// Instances that are kept.
    pub instances: u64,
    /// Their modalities, each once.
    pub modalities: Vec<String>,
}

impl Records {
    /// The next studies, 500 at most; empty when there are no more.
    pub async fn walk_studies(&self, walk: Walk) -> Result<Vec<StudyRow>, RecordsError> {
        self.inner.readers.ask(move |conn| catalogue::studies(conn, &walk)).await
    }

    /// The next series, 500 at most; empty when there are no more.
    pub async fn walk_series(&self, walk: Walk) -> Result<Vec<SeriesRow>, RecordsError> {
        self.inner.readers.ask(move |conn| catalogue::series(conn, &walk)).await
    }

    /// What a study of [`Records::walk_studies`] holds.
    pub async fn study_size(&self, row: i64) -> Result<StudySize, RecordsError> {
        self.inner.readers.ask(move |conn| catalogue::size(conn, row)).await
    }
}
