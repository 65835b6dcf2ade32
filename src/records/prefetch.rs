//! What is pulled ahead of its being asked for: once for each cause, tried again until it is done or given up, also after a restart.

use super::sqlite::prefetch;
use super::{InstanceId, Records, RecordsError};
use crate::dicom::uid::StudyUid;
use crate::peers::Origin;
use std::fmt;
use std::time::{Duration, SystemTime};

/// Prefetches that may be open at once; what comes beyond is refused or waits.
pub const MOST_OPEN: usize = 10_000;

/// Why something is pulled ahead. The words of `who` and `cause` hold nothing of a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrefetchCause {
    /// A node sent a new study.
    Study(StudyUid),
    /// An order was placed: its source and number there.
    Order(String),
    /// Somebody asked: who, and an id that they use once; see [`PrefetchCause::request`].
    Request(String),
}

impl PrefetchCause {
    /// The request of somebody under an id of theirs. Two who use the same id are told apart, whatever their names hold: the first space
    /// ends the name.
    pub fn request(who: &str, id: &str) -> Self {
        Self::Request(format!("{} {id}", who.replace('%', "%25").replace(' ', "%20")))
    }

    /// The word of the kind, as answers show it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Study(_) => "study",
            Self::Order(_) => "order",
            Self::Request(_) => "request",
        }
    }

    /// The study, the order or the request.
    pub fn name(&self) -> &str {
        match self {
            Self::Study(study) => study.as_str(),
            Self::Order(name) | Self::Request(name) => name,
        }
    }
}

/// What is to be pulled ahead: for whom, and why. `Debug` prints nothing of the patient.
#[derive(Clone, PartialEq, Eq)]
pub struct Prefetch {
    /// Why. Each cause counts once, a study once for each modality, an order again for a later day.
    pub cause: PrefetchCause,
    /// For whom other sites are asked: `node CT1`, `user jo`.
    pub who: String,
    /// Patient ID.
    pub patient_id: String,
    /// Who issued it; never empty.
    pub issuer: String,
    /// The NHS number, if the Patient ID is one; else empty.
    pub nhs: String,
    /// The patient's birth date as YYYYMMDD; empty if it is not known.
    pub birth_date: String,
    /// Modalities of what has arrived or is ordered.
    pub modalities: Vec<String>,
}

impl Prefetch {
    /// Whether it is for the same patient as another: of the same NHS number, or of the same number by the same issuer.
    pub fn is_for_the_patient_of(&self, other: &Self) -> bool {
        let same_nhs = !self.nhs.is_empty() && self.nhs == other.nhs;
        same_nhs || (&self.patient_id, &self.issuer) == (&other.patient_id, &other.issuer)
    }
}

impl fmt::Debug for Prefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefetch({:?})", self.cause)
    }
}

/// A prefetch as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefetchRow {
    /// Its number.
    pub id: i64,
    /// What is pulled, and why.
    pub what: Prefetch,
    /// When it was caused, by the latest of its modalities.
    pub at: SystemTime,
    /// How often it was tried and is to be tried again.
    pub tries: u32,
    /// When it is tried next; `None` once it has ended.
    pub due: Option<SystemTime>,
    /// How it stands, or how it ended, for people.
    pub how: String,
}

/// A series of a study that is new here: a node of this site sent the first of it. `Debug` prints nothing of the patient.
#[derive(Clone)]
pub struct Acquired {
    /// The number of its first instance; they rise.
    pub first: InstanceId,
    /// The study.
    pub study: StudyUid,
    /// Who sent it.
    pub origin: Origin,
    /// Patient ID as it was received.
    pub patient_id: String,
    /// Issuer of Patient ID as it was received; may be empty.
    pub issuer: String,
    /// Patient's Birth Date as it was received; may be empty.
    pub birth_date: String,
    /// The modality of the series; may be empty.
    pub modality: String,
}

impl fmt::Debug for Acquired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acquired({:?})", self.study)
    }
}

impl Records {
    /// Series of new studies that nodes sent, 200 at most, and the instance after which the next look begins. A study counts as new if
    /// its very first instance came from a node, and not before `since`. The first look ever finds nothing: what was here before is no news.
    pub async fn acquired(&self, since: SystemTime) -> Result<(Vec<Acquired>, InstanceId), RecordsError> {
        self.inner.readers.ask(move |conn| prefetch::acquired(conn, since)).await
    }

    /// Takes on what is to be pulled ahead, each cause once, but that a study counts again with a modality that is new of it; and notes in the
    /// same commit that all up to an instance was looked at.
    pub async fn prefetch_acquired(
        &self,
        new: Vec<Prefetch>,
        looked_at: InstanceId,
        now: SystemTime,
    ) -> Result<(), RecordsError> {
        self.commit(move |tx| {
            for one in &new {
                prefetch::take(tx, one, now)?;
            }
            prefetch::looked_at(tx, looked_at)
        })
        .await
    }

    /// Takes on one; its number, or `None` if the cause is known already. Refused beyond [`MOST_OPEN`].
    pub async fn prefetch(&self, new: Prefetch, now: SystemTime) -> Result<Option<i64>, RecordsError> {
        self.commit(move |tx| prefetch::take(tx, &new, now)).await
    }

    /// Takes on what an order causes; its number, or `None` if the order is known already and what it had pulled is here on its day. That is
    /// not so if it was taken on before `gone_if_before`: then it counts again, as it is told now (IDY-051). Refused beyond [`MOST_OPEN`].
    pub async fn prefetch_order(
        &self,
        new: Prefetch,
        gone_if_before: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<Option<i64>, RecordsError> {
        self.commit(move |tx| prefetch::take_order(tx, &new, gone_if_before, now)).await
    }

    /// What a cause is known for; `None` if it is not, or not any more.
    pub async fn prefetch_of(&self, cause: PrefetchCause) -> Result<Option<PrefetchRow>, RecordsError> {
        self.inner.readers.ask(move |conn| prefetch::of(conn, &cause)).await
    }

    /// What is due, the longest due first; 100 at most. Nothing waits for longer than `longest`, also where the clock was set back meanwhile.
    pub async fn prefetches_due(&self, now: SystemTime, longest: Duration) -> Result<Vec<PrefetchRow>, RecordsError> {
        self.inner.readers.ask(move |conn| prefetch::due(conn, now, longest)).await
    }

    /// What is open or was given up, and what ended lately, the last caused first; 1,000 at most.
    pub async fn prefetches(&self) -> Result<Vec<PrefetchRow>, RecordsError> {
        self.inner.readers.ask(prefetch::list).await
    }

    /// Notes how a try of a prefetch as it was read ended; `due` is when the next one is. If another modality came meanwhile, it is due
    /// at once instead. What ended a month ago is forgotten, a few at a time, but not while copies stay that long: `keep` (IDY-051).
    pub async fn prefetch_tried(
        &self,
        tried: &PrefetchRow,
        due: Option<SystemTime>,
        how: String,
        keep: Duration,
        now: SystemTime,
    ) -> Result<(), RecordsError> {
        let (id, modalities) = (tried.id, tried.what.modalities.clone());
        self.commit(move |tx| prefetch::tried(tx, (id, &modalities), due, &how, keep, now)).await
    }

    /// Notes that a study was chosen by a rule, or how far it came.
    pub async fn prefetch_chose(
        &self,
        id: i64,
        study: &StudyUid,
        peer: &str,
        rule: &str,
        how: String,
        now: SystemTime,
    ) -> Result<(), RecordsError> {
        let (study, peer, rule) = (study.clone(), peer.to_owned(), rule.to_owned());
        self.commit(move |tx| prefetch::chose(tx, id, (&study, &peer, &rule), &how, now)).await
    }
}
