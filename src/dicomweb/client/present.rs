//! Asking whether a peer holds instances (WEB-045): by QIDO-RS, in groups first, then one by one what the groups did not show.

use super::answer::{header, retry_after};
use super::{PeerClient, QueryFailure};
use crate::dicom::attributes::{SOP_INSTANCE_UID, STUDY_INSTANCE_UID};
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dicomweb::dataset::Dataset;
use crate::dicomweb::json::{self, Limits};
use crate::dicomweb::media_type::MediaType;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use std::collections::BTreeSet;

/// UIDs in one query; with 64 characters each the URL stays below 3 KiB.
const GROUP: usize = 40;
/// Results asked for at a time.
const PAGE: usize = 100;
/// Pages of one group that are read at most; a server that ignores the UIDs shows its whole study.
const PAGES: usize = 100;

/// What a peer showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    /// Instances that it shows in the study asked for, or without saying in which.
    pub found: BTreeSet<InstanceUid>,
    /// Instances that it shows in another study.
    pub elsewhere: BTreeSet<InstanceUid>,
}

impl Presence {
    /// Notes one match if it is among those wanted; true if it was new.
    fn note(&mut self, study: &StudyUid, wanted: &BTreeSet<&InstanceUid>, set: &Dataset) -> bool {
        let uid = set.first_text(SOP_INSTANCE_UID).and_then(|text| InstanceUid::parse(text).ok());
        let Some(uid) = uid.filter(|uid| wanted.contains(uid)) else { return false };
        let home = set.first_text(STUDY_INSTANCE_UID).and_then(|text| StudyUid::parse(text).ok());
        if home.is_none_or(|home| home == *study) { self.found.insert(uid) } else { self.elsewhere.insert(uid) }
    }
}

/// One page: the matches, or that the server cannot be asked like this.
enum Page {
    Matches(Vec<Dataset>),
    NotLikeThis(QueryFailure),
}

impl PeerClient {
    /// Asks which of these instances the peer holds.
    ///
    /// An instance that is in neither set of the result was asked for by itself and not shown. Errors: [`QueryFailure`];
    /// then nothing is known of those not yet asked.
    pub async fn present(&self, study: &StudyUid, instances: &[InstanceUid]) -> Result<Presence, QueryFailure> {
        let mut presence = Presence::default();
        for group in instances.chunks(GROUP) {
            self.ask_group(study, group, &mut presence).await?;
        }
        for instance in instances {
            if !presence.found.contains(instance) && !presence.elsewhere.contains(instance) {
                self.ask_one(study, instance, &mut presence).await?;
            }
        }
        Ok(presence)
    }

    /// A list of UIDs below the study, page by page: silent page sizes truncate (WEB-094).
    async fn ask_group(
        &self,
        study: &StudyUid,
        group: &[InstanceUid],
        presence: &mut Presence,
    ) -> Result<(), QueryFailure> {
        let wanted: BTreeSet<&InstanceUid> = group.iter().collect();
        let list = group.iter().map(InstanceUid::as_str).collect::<Vec<_>>().join(",");
        let mut shown = BTreeSet::new();
        let mut found = 0;
        for _ in 0..PAGES {
            let offset = shown.len();
            let query = format!("SOPInstanceUID={list}&limit={PAGE}&offset={offset}");
            let Page::Matches(matches) = self.page(&format!("studies/{study}/instances"), &query).await? else {
                // A list that the server dislikes is asked for one by one.
                return Ok(());
            };
            for set in &matches {
                found += usize::from(presence.note(study, &wanted, set));
                shown.extend(set.first_text(SOP_INSTANCE_UID).map(str::to_owned));
            }
            // The end; or a server that ignores the offset and shows the same again.
            if found == wanted.len() || shown.len() == offset {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn ask_one(
        &self,
        study: &StudyUid,
        instance: &InstanceUid,
        presence: &mut Presence,
    ) -> Result<(), QueryFailure> {
        let query = format!("SOPInstanceUID={instance}");
        let matches = match self.page("instances", &query).await? {
            Page::Matches(matches) => matches,
            // Relational queries are optional for some servers (WEB-090); below the study they are not.
            Page::NotLikeThis(first) => match self.page(&format!("studies/{study}/instances"), &query).await? {
                Page::Matches(matches) => matches,
                // "No such study" counts only if it is not simply the answer to everything.
                Page::NotLikeThis(failure) if failure.is_not_found() && !first.is_not_found() => Vec::new(),
                Page::NotLikeThis(failure) => return Err(failure),
            },
        };
        let wanted = BTreeSet::from([instance]);
        for set in &matches {
            presence.note(study, &wanted, set);
        }
        Ok(())
    }

    async fn page(&self, path: &str, query: &str) -> Result<Page, QueryFailure> {
        let mut url: Url = self.url(path);
        url.set_query(Some(query));
        let response = self.get(url).await?;
        let status = response.status().as_u16();
        let refused = QueryFailure::Refused { status, retry_after: retry_after(&response) };
        match status {
            200 | 206 => {}
            204 => return Ok(Page::Matches(Vec::new())),
            400 | 404 | 405 | 413 | 414 | 501 => return Ok(Page::NotLikeThis(refused)),
            _ => return Err(refused),
        }
        let content_type = header(&response, CONTENT_TYPE).and_then(|text| MediaType::parse(&text).ok());
        if content_type.as_ref().is_some_and(|media| !media.is_json()) {
            return Err(QueryFailure::Unreadable("it is not DICOM JSON".into()));
        }
        let body = self.read_body(response, || 0).await.map_err(QueryFailure::Unreadable)?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Page::Matches(Vec::new()));
        }
        let matches = json::read(&body, Limits::default());
        matches.map(Page::Matches).map_err(|error| QueryFailure::Unreadable(error.to_string()))
    }
}
