//! What was pulled from peers: one row for each study and peer, what of a study is here, and which copies may be flushed.

use super::sqlite::pulls;
use super::{InstanceId, Records, RecordsError};
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use std::time::SystemTime;

/// How a pull ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullEnded {
    /// Instances that the peer listed and that were asked for.
    pub listed: u64,
    /// Of which so many came just now.
    pub came: u64,
    /// Of which so many are not here.
    pub missing: u64,
    /// When the peer told what it has; none if it did not.
    pub checked: Option<SystemTime>,
    /// `done`, `in part`, `silent`, `stopped` or what else happened, in one or two words.
    pub how: &'static str,
    /// For whom: first as the peer was told, then who else waited for it.
    pub behalves: Vec<OnBehalf>,
}

/// The last pull of a study from a peer. No patient data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRow {
    /// The study.
    pub study: StudyUid,
    /// The peer.
    pub peer: String,
    /// When it began.
    pub began: SystemTime,
    /// When it ended; none while it goes on.
    pub ended: Option<SystemTime>,
    /// When the peer last told what it has.
    pub checked: Option<SystemTime>,
    /// When the study was last asked for here.
    pub used: SystemTime,
    /// Instances that the peer listed and that were asked for.
    pub listed: u64,
    /// Instances that came.
    pub came: u64,
    /// Instances that did not come.
    pub missing: u64,
    /// How it ended.
    pub how: Option<String>,
    /// Copies of the study that are kept here and belong to others.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
}

/// An instance of a study that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldInstance {
    /// Its number.
    pub instance: InstanceId,
    /// SOP Instance UID.
    pub sop_instance: InstanceUid,
    /// Series Instance UID.
    pub series: SeriesUid,
    /// It is only a copy of what a peer keeps.
    pub pulled: bool,
}

impl Records {
    /// Notes that a pull begins. Until its end is noted no copy of the study is flushed.
    pub async fn pull_began(&self, study: &StudyUid, peer: &str, now: SystemTime) -> Result<(), RecordsError> {
        let (study, peer) = (study.clone(), peer.to_owned());
        self.commit(move |tx| pulls::began(tx, &study, &peer, now)).await
    }

    /// Notes how a pull ended, and enters it in the ledger.
    pub async fn pull_ended(
        &self,
        study: &StudyUid,
        peer: &str,
        ended: PullEnded,
        now: SystemTime,
    ) -> Result<(), RecordsError> {
        let (study, peer) = (study.clone(), peer.to_owned());
        self.commit(move |tx| pulls::ended(tx, &study, &peer, &ended, now)).await
    }

    /// Notes that a peer from which a study was pulled has told what it has of it, whether or not anything is pulled therefore.
    pub async fn pull_checked(&self, study: &StudyUid, peer: &str, now: SystemTime) -> Result<(), RecordsError> {
        let (study, peer) = (study.clone(), peer.to_owned());
        self.commit(move |tx| pulls::checked(tx, &study, &peer, now)).await
    }

    /// Notes that copies of a study are asked for: they stay for as long again.
    pub async fn pull_used(&self, study: &StudyUid, now: SystemTime) -> Result<(), RecordsError> {
        let study = study.clone();
        self.commit(move |tx| pulls::used(tx, &study, now)).await
    }

    /// The same for several studies, in one commit.
    pub async fn pulls_used(&self, studies: Vec<StudyUid>, now: SystemTime) -> Result<(), RecordsError> {
        self.commit(move |tx| studies.iter().try_for_each(|study| pulls::used(tx, study, now))).await
    }

    /// The last pulls, of one study or of all, those last asked for first; at most 1,000.
    pub async fn pulls(&self, study: Option<StudyUid>) -> Result<Vec<PullRow>, RecordsError> {
        self.inner.readers.ask(move |conn| pulls::list(conn, study.as_ref())).await
    }

    /// The instances of a study whose bytes are here; refused beyond [`super::MOST_EXPECTED`].
    pub async fn held_of(&self, study: &StudyUid) -> Result<Vec<HeldInstance>, RecordsError> {
        let study = study.clone();
        self.inner.readers.ask(move |conn| pulls::held(conn, &study)).await
    }

    /// How many bytes the instances of a study have that are here.
    pub async fn bytes_of(&self, study: &StudyUid) -> Result<u64, RecordsError> {
        let study = study.clone();
        self.inner.readers.ask(move |conn| pulls::bytes(conn, &study)).await
    }

    /// Whether any of what is kept of a study ever came from another site, be it pushed by that or pulled from it.
    pub async fn came_from_elsewhere(&self, study: &StudyUid) -> Result<bool, RecordsError> {
        let study = study.clone();
        self.inner.readers.ask(move |conn| pulls::came_from_elsewhere(conn, &study)).await
    }

    /// Whether all that is kept of a study was pulled: no node and no site has sent any of it.
    pub async fn is_only_pulled(&self, study: &StudyUid) -> Result<bool, RecordsError> {
        let study = study.clone();
        self.inner.readers.ask(move |conn| pulls::is_only_pulled(conn, &study)).await
    }

    /// Copies of studies that were not asked for since `before`: the study and as many of its instances as one commit takes.
    pub async fn to_flush(&self, before: SystemTime) -> Result<Vec<(StudyUid, Vec<InstanceId>)>, RecordsError> {
        self.inner.readers.ask(move |conn| pulls::to_flush(conn, before)).await
    }

    /// Notes that nothing of the copies of a study is left to flush, unless it was asked for since `before`.
    pub async fn flushed(&self, study: &StudyUid, before: SystemTime, now: SystemTime) -> Result<(), RecordsError> {
        let study = study.clone();
        self.commit(move |tx| pulls::flushed(tx, &study, before, now)).await
    }
}
