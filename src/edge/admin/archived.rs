//! `weybridge send` of what an archive holds: found beside what is here, and fetched before it is owed.

use super::AdminFace;
use crate::dicom::attributes::{ACCESSION_NUMBER, ISSUER_OF_PATIENT_ID, PATIENT_ID, STUDY_DATE, STUDY_INSTANCE_UID};
use crate::dicom::query::Match;
use crate::dicom::uid::StudyUid;
use crate::dicom::vr::Vr;
use crate::priors::archive::Wanted as Keys;
use crate::records::{Holding, RecordsError, Resource, Wanted};
use std::collections::BTreeMap;

/// Studies that archives hold, with more than is here.
#[derive(Default)]
pub(super) struct Archived {
    /// What is in no way here.
    pub(super) holdings: Vec<Holding>,
    /// Of what is partly here, how many instances there are.
    pub(super) more: BTreeMap<StudyUid, u64>,
    /// Archives that did not answer.
    pub(super) silent: Vec<String>,
}

/// Asks the archives for what a person means; of an archive that `from` does not name, nothing.
pub(super) async fn find(face: &AdminFace, wanted: &Wanted, from: Option<&str>, held: &[Holding]) -> Archived {
    let (tag, vr, value) = match wanted {
        Wanted::Study(study) => (STUDY_INSTANCE_UID, Vr::UI, study.to_string()),
        Wanted::Accession(number) => (ACCESSION_NUMBER, Vr::SH, number.clone()),
        Wanted::Patient(id) => (PATIENT_ID, Vr::LO, id.clone()),
    };
    if value.contains(['*', '?', '\\']) {
        return Archived::default();
    }
    let matches = [Match { path: vec![tag], vr, values: vec![value] }];
    let keys = Keys { matches: &matches, combined: false, study: None, series: None };
    let found = face.archives.studies(None, keys).await;
    let silent = found.silent.iter().map(ToString::to_string).collect();
    let mut archived = Archived { silent, ..Archived::default() };
    for (row, size) in found.rows.into_iter().filter(|(row, _)| from.is_none_or(|from| from == row.origin.name())) {
        if let Some(here) = held.iter().find(|here| here.study == row.study) {
            if size.instances > here.instances {
                archived.more.insert(row.study, size.instances);
            }
            continue;
        }
        let text = |tag| row.attributes.0.get(&tag).filter(|text| !text.is_empty()).cloned();
        archived.holdings.push(Holding {
            patient_id: text(PATIENT_ID),
            issuer: text(ISSUER_OF_PATIENT_ID),
            study_date: text(STUDY_DATE),
            origins: vec![row.origin.clone()],
            instances: size.instances,
            bytes: 0,
            unsendable: 0,
            study: row.study,
        });
    }
    archived
}

/// Fetches what of a study is not here, and waits for it; how many instances an archive holds and did not give, and why. Who wants
/// only what came from somebody who is no archive is given that.
pub(super) async fn bring(
    face: &AdminFace,
    study: &StudyUid,
    from: Option<&str>,
) -> Result<(u64, String), RecordsError> {
    let of = Resource { study: study.clone(), series: None, instance: None };
    let archives = face
        .registry
        .borrow()
        .nodes()
        .any(|node| node.archive.is_some() && from.is_none_or(|from| from == node.ae_title.as_str()));
    if !archives {
        return Ok((0, String::new()));
    }
    let held = face.records.extent(&of).await?.stored > 0;
    let brought = face.archives.bring(None, &of, &[], held).await?;
    match brought.fetching {
        Some(fetching) => {
            let fetched = fetching.end().await;
            Ok((fetched.missing, fetched.why))
        }
        None if brought.busy => Ok((brought.missing, "too much is being fetched just now".to_owned())),
        None => Ok((0, String::new())),
    }
}
