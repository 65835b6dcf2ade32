//! Which rows of the catalogue a search looks at: what names studies, series, patients and orders exactly narrows it to theirs.

use super::Asked;
use crate::dicom::attributes::{ACCESSION_NUMBER, PATIENT_ID, SERIES_INSTANCE_UID, STUDY_INSTANCE_UID};
use crate::dicom::nhs_number::NhsNumber;
use crate::dicom::query::narrow::Narrow;
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::dicomweb::qido::Query;
use crate::records::Walk;

/// The forms in which a Patient ID may be held.
pub(super) fn forms(id: &str) -> Vec<String> {
    let mut forms = vec![id.to_owned()];
    forms.extend(NhsNumber::parse(id).into_iter().flat_map(NhsNumber::forms).filter(|form| form != id));
    forms
}

/// The studies that are named: by the path, or else by the query, one or several; none means all.
fn studies(by_path: Option<&StudyUid>, query: &Query) -> Vec<StudyUid> {
    let named = query.matching(STUDY_INSTANCE_UID).map_or(&[][..], |matched| &matched.values);
    match by_path {
        Some(study) => vec![study.clone()],
        None => named.iter().filter_map(|uid| StudyUid::parse(uid).ok()).collect(),
    }
}

/// The one study, where there is but one.
pub(super) fn only(studies: &[StudyUid]) -> Option<&StudyUid> {
    match studies {
        [study] => Some(study),
        _ => None,
    }
}

impl Asked {
    /// The rows that can match; each key is matched again on every row.
    pub(super) fn walk(&self) -> Walk {
        // What stands in the path and in one exact key narrows the walk; each key is matched again on every row.
        let exact = |tag| {
            let value = self.query.matching(tag)?.values.first()?;
            (!value.is_empty() && !value.contains(['*', '?', '\\'])).then(|| value.clone())
        };
        let mut patient_ids = exact(PATIENT_ID).map(|id| forms(&id)).unwrap_or_default();
        patient_ids.extend(self.locals.iter().map(|local| local.id.clone()));
        // Another site may know the patient by the other number.
        patient_ids.extend(self.patient.iter().filter_map(|patient| patient.nhs).flat_map(|nhs| nhs.forms()));
        let series = self.one(SERIES_INSTANCE_UID).and_then(|uid| SeriesUid::parse(uid).ok());
        Walk {
            after: 0,
            studies: studies(self.target.study.as_ref(), &self.query),
            series: self.target.series.clone().or(series),
            patient_ids,
            accession_number: exact(ACCESSION_NUMBER),
            narrow: Narrow::of(&self.query.matches, false),
            candidates: None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicomweb::qido::{Limits, parse};

    /// WEB-095: a list of studies is looked up study by study, and not in the whole catalogue.
    #[test]
    fn every_study_that_is_named_narrows_the_walk() {
        let path = StudyUid::parse("1.9").unwrap();
        let rows: [(Option<&StudyUid>, &str, &[&str]); 5] = [
            (None, "StudyInstanceUID=1.2,1.3", &["1.2", "1.3"]),
            (None, "StudyInstanceUID=1.2", &["1.2"]),
            (None, "StudyInstanceUID=", &[]),
            (None, "PatientID=7", &[]),
            (Some(&path), "StudyInstanceUID=1.2,1.3", &["1.9"]),
        ];
        for (by_path, query, want) in rows {
            let found = studies(by_path, &parse(query, Limits::default()).unwrap());
            assert_eq!(found.iter().map(StudyUid::as_str).collect::<Vec<_>>(), want, "{query}");
            assert_eq!(only(&found).is_some(), want.len() == 1);
        }
    }
}
