//! Which other sites hold which studies, as far as they have shown it when they were asked ("Below the study").

use super::sqlite::locations;
use super::{Records, RecordsError};
use crate::dicom::uid::StudyUid;
use std::time::SystemTime;

/// A study that a site has just shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenStudy {
    /// Study Instance UID.
    pub study: StudyUid,
    /// How many instances it has there, if that was said.
    pub instances: Option<u64>,
}

/// A site that has shown a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The peer's name.
    pub peer: String,
    /// How many instances it had when it was last shown, if that was said.
    pub instances: Option<u64>,
    /// When it was last shown.
    pub seen: SystemTime,
}

impl Records {
    /// Keeps that a peer has shown these studies; those that are known already are seen again. What nobody has shown for a year is
    /// forgotten, a few at a time. A study that is shown without its number of instances keeps the last number.
    pub async fn studies_seen_at(&self, peer: &str, seen: Vec<SeenStudy>, now: SystemTime) -> Result<(), RecordsError> {
        if seen.is_empty() {
            return Ok(());
        }
        let peer = peer.to_owned();
        self.commit(move |tx| locations::seen(tx, &peer, &seen, now)).await
    }

    /// Forgets that a peer holds a study: it was asked for it by name, and has answered that it has none.
    pub async fn study_not_at(&self, peer: &str, study: &StudyUid) -> Result<(), RecordsError> {
        let (peer, study) = (peer.to_owned(), study.clone());
        self.commit(move |tx| locations::gone(tx, &peer, &study)).await
    }

    /// A secret of these records, made when it is first asked for: what the UIDs of marker studies are made with.
    pub async fn marker_key(&self) -> Result<String, RecordsError> {
        self.commit(|tx| locations::marker_key(tx)).await
    }

    /// The peers that have shown a study, who showed it last first; 100 at most. A peer of this list need not be configured any more.
    pub async fn holders(&self, study: &StudyUid) -> Result<Vec<Holder>, RecordsError> {
        let study = study.clone();
        self.inner.readers.ask(move |conn| locations::holders(conn, &study)).await
    }

    /// When a peer last showed any study; `None` if it never has, or not within a year.
    pub async fn last_shown(&self, peer: &str) -> Result<Option<SystemTime>, RecordsError> {
        let peer = peer.to_owned();
        self.inner.readers.ask(move |conn| locations::last_shown(conn, &peer)).await
    }
}
