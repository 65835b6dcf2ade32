//! What a peer says of one study among its studies: whether it has it, how much of it, and whose it is. By this its lists below the study
//! are believed: some cut them short and do not say so, and where a service is not there everything is "not found" (WEB-094).

use super::search::{Resource, Search};
use super::{PeerClient, QueryFailure};
use crate::dicom::attributes::*;
use crate::dicom::tag::Tag;
use crate::dicom::uid::StudyUid;
use crate::dicomweb::dataset::Dataset;
use std::time::Duration;

/// What is asked for beyond what every server returns: the counts, and who issued the number.
const INCLUDED: [Tag; 4] = [STUDY_RELATED_SERIES, STUDY_RELATED_INSTANCES, ISSUER_OF_PATIENT_ID, ISSUER_QUALIFIERS];

/// Rows that are looked at; a server that ignores the UID shows others.
const ROWS: usize = 20;

/// A study as one of a peer's studies.
#[derive(Debug)]
pub(super) enum AsStudy {
    /// The peer shows it so.
    Shown(Box<Dataset>),
    /// The peer has answered without it.
    Absent,
    /// The peer cannot be asked for one study, or does not know all that it has. Under which number it files the study is not known then.
    Untold,
}

impl PeerClient {
    /// Asks a peer for one study by its UID. Errors: [`QueryFailure`], also where its studies are "not found": then its service is not there.
    pub(super) async fn as_study(&self, study: &StudyUid, within: Option<Duration>) -> Result<AsStudy, QueryFailure> {
        let search = Search {
            resource: Resource::Studies,
            matches: vec![(STUDY_INSTANCE_UID, study.to_string())],
            include: INCLUDED.to_vec(),
            page: ROWS,
            most: usize::MAX,
        };
        let mut pages = self.search(&search).despite_failures();
        if let Some(within) = within {
            pages = pages.within(within);
        }
        // Below a study this is asked for too, so that its size would not be known.
        let rows = match Box::pin(pages.next()).await {
            Ok(rows) => rows.unwrap_or_default(),
            Err(QueryFailure::InPart) => return Ok(AsStudy::Untold),
            // Some refuse or fail at this question and answer below the study all the same; who says later has said nothing.
            Err(QueryFailure::Refused { status, .. }) if !matches!(status, 404 | 408 | 429 | 502..=504) => {
                return Ok(AsStudy::Untold);
            }
            Err(failure) => return Err(failure),
        };
        if pages.unread() > 0 {
            return Err(QueryFailure::Unreadable("a row of its studies names none".into()));
        }
        let others = !rows.is_empty();
        let is = |row: &Dataset| row.first_text(STUDY_INSTANCE_UID) == Some(study.as_str());
        Ok(match rows.into_iter().find(is) {
            Some(row) => AsStudy::Shown(Box::new(row)),
            None if others || pages.in_part() => AsStudy::Untold,
            None => AsStudy::Absent,
        })
    }

    /// How many results a search has by the peer's own count on the level above; `None` if it does not tell.
    pub(super) async fn counted(&self, of: &Resource, within: Option<Duration>) -> Option<u64> {
        let (study, count) = match of {
            Resource::Series(study) => (study, STUDY_RELATED_SERIES),
            Resource::Instances(study, None) => (study, STUDY_RELATED_INSTANCES),
            Resource::Instances(study, Some(series)) => {
                let query = format!("0020000E={series}&includefield=00201209&limit={ROWS}&offset=0");
                let page = self.page(&format!("studies/{study}/series"), &query, within).await;
                let Ok(super::present::Page::Matches(matches)) = page else { return None };
                let is = |row: &&Dataset| row.first_text(SERIES_INSTANCE_UID) == Some(series.as_str());
                return matches.sets.iter().find(is)?.first_number(SERIES_RELATED_INSTANCES);
            }
            Resource::Studies => return None,
        };
        match self.as_study(study, within).await {
            Ok(AsStudy::Shown(row)) => row.first_number(count),
            _ => None,
        }
    }
}
