//! The catalogue as queries walk it: studies and series that are kept, page by page in the order of their first arrival.

use super::sqlite::catalogue;
use super::sqlite::lists::MOST;
use super::{Records, RecordsError, Texts};
use crate::dicom::nhs_number::NhsNumber;
use crate::dicom::patient::Patient;
use crate::dicom::query::narrow::Narrow;
use crate::dicom::uid::{SeriesUid, SopClassUid, StudyUid};
use crate::peers::Origin;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a walk begins, and what narrows it before anything is decoded.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// Only what comes after this row; 0 is the beginning.
    pub after: i64,
    /// Only these studies; empty means all.
    pub studies: Vec<StudyUid>,
    /// Only this series.
    pub series: Option<SeriesUid>,
    /// Only studies of exactly one of these Patient IDs; empty means all.
    pub patient_ids: Vec<String>,
    /// Only studies of exactly this Accession Number.
    pub accession_number: Option<String>,
    /// Only studies whose date and patient's name may be so.
    pub narrow: Narrow,
    /// What [`Records::candidates`] said of it.
    pub candidates: Option<Arc<[i64]>>,
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
    /// How an instance of it first came to us.
    pub origin: Origin,
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
    /// How an instance of it first came to us.
    pub origin: Origin,
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
    /// Their SOP classes, each once.
    pub sop_classes: Vec<SopClassUid>,
}

/// One of our own patients, as a study says that a node sent.
#[derive(Debug, Clone)]
pub struct KnownPatient {
    /// What the study says; its number is the one that was asked for.
    pub patient: Patient,
    /// Issuer of Patient ID, as the study says.
    pub issuer: Option<String>,
    /// The nodes that sent any of it.
    pub nodes: Vec<String>,
}

impl Records {
    /// Who came from our nodes with these digits as Patient ID, from 100 studies at most; whether they mean an NHS number there,
    /// issuer and nodes say.
    pub async fn patients_of(&self, number: NhsNumber) -> Result<Vec<KnownPatient>, RecordsError> {
        self.inner.readers.ask(move |conn| catalogue::patients(conn, number)).await
    }

    /// The next studies, 500 at most; empty when there are no more.
    pub async fn walk_studies(&self, walk: Walk) -> Result<Vec<StudyRow>, RecordsError> {
        self.seen(move |conn, look| catalogue::studies(conn, walk, look)).await
    }

    /// The next studies in order of Patient ID, those without one left out, after a Patient ID and a row; 500 at most, empty
    /// when there are no more.
    pub async fn walk_patients(
        &self,
        after: (String, i64),
        patient_ids: Vec<String>,
        narrow: Narrow,
    ) -> Result<Vec<StudyRow>, RecordsError> {
        self.seen(move |conn, look| catalogue::by_patient(conn, after, &patient_ids, &narrow, look)).await
    }

    /// The rows of all studies that a narrowed walk may lead to, in order; `None` if nothing is narrowed, or too little.
    pub async fn candidates(&self, narrow: Narrow) -> Result<Option<Arc<[i64]>>, RecordsError> {
        self.inner.readers.ask(move |conn| catalogue::candidates(conn, &narrow)).await
    }

    /// The row of the last of so many studies from the beginning of a walk that nothing narrows, without a look at what they are; one
    /// behind all rows if there are fewer. `None` if none are skipped, or if something may be withheld from who asks.
    pub async fn skip_studies(&self, count: u64) -> Result<Option<i64>, RecordsError> {
        let asked = self.inner.tally.ask();
        self.seen(move |conn, look| catalogue::skip(conn, count, look, &asked)).await
    }

    /// How many studies come after a row; `None` if something may be withheld from who asks.
    pub async fn studies_after(&self, row: i64) -> Result<Option<u64>, RecordsError> {
        let asked = self.inner.tally.ask();
        self.seen(move |conn, look| catalogue::after(conn, row, look, &asked)).await
    }

    /// The next series, 500 at most; empty when there are no more.
    pub async fn walk_series(&self, walk: Walk) -> Result<Vec<SeriesRow>, RecordsError> {
        self.seen(move |conn, look| catalogue::series(conn, walk, look)).await
    }

    /// What studies of [`Records::walk_studies`] hold, each by its row, all asked for at once. Their SOP classes are left empty unless
    /// `classes`. Refused for more than 1,000 rows.
    pub async fn study_sizes(&self, rows: Vec<i64>, classes: bool) -> Result<BTreeMap<i64, StudySize>, RecordsError> {
        match rows.len() {
            0 => Ok(BTreeMap::new()),
            count if count > MOST => Err(RecordsError::Refused(format!("more than {MOST} studies asked for at once"))),
            _ => self.seen(move |conn, look| catalogue::sizes(conn, &rows, classes, look)).await,
        }
    }
}
