//! The words and commits of judging other content under a known UID: what waits, what was found, what a person decided (IDY-020).

use super::arrival::{ExceptionId, InstanceId};
use super::sqlite::{judge, resolve};
use super::{ExceptionView, Records, RecordsError};
use crate::dicom::canon::Content;
use crate::dicom::uid::TransferSyntaxUid;
use crate::ledger::judgement::Verdict;
use crate::peers::Origin;
use crate::store::{Digest, Place};
use std::time::{Duration, SystemTime};

/// Digests of one version, to be kept for later comparisons.
#[derive(Debug, Clone)]
pub struct Digested {
    /// Of which version.
    pub instance: InstanceId,
    /// What was left out, by [`crate::dicom::canon::Profile::name`].
    pub profile: String,
    /// The digests; none if the content cannot be told.
    pub content: Option<Content>,
}

/// What the judge found about a version that was held.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The conflict.
    pub exception: ExceptionId,
    /// The version that it was compared with.
    pub against: InstanceId,
    /// What it is to that version.
    pub verdict: Verdict,
    /// The digests that were compared.
    pub digests: Vec<Digested>,
    /// What was done somewhere longer ago than this is asked about again.
    pub resend_after: Duration,
    /// When.
    pub now: SystemTime,
}

/// What a person decides about a version in conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It is the revision of what was here: it goes where it is owed, and stands in front from now on.
    Accept,
    /// It goes nowhere and stays held.
    Reject,
}

impl Resolution {
    /// The word that records and the command line use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
        }
    }
}

/// A version whose content has no digest yet.
#[derive(Debug, Clone)]
pub struct Undigested {
    /// Which.
    pub instance: InstanceId,
    /// The syntax in which its bytes are encoded.
    pub transfer_syntax: TransferSyntaxUid,
    /// The SHA-256 of its data set.
    pub sha256: Digest,
    /// Where its bytes are.
    pub place: Place,
    /// Who sent it first.
    pub source: Origin,
}

impl Records {
    /// Conflicts that were not judged yet, after one of them; at most 100.
    pub async fn unjudged(&self, after: ExceptionId) -> Result<Vec<ExceptionView>, RecordsError> {
        self.inner.readers.ask(move |conn| judge::unjudged(conn, after)).await
    }

    /// One exception.
    pub async fn exception(&self, exception: ExceptionId) -> Result<Option<ExceptionView>, RecordsError> {
        self.inner.readers.ask(move |conn| judge::exception(conn, exception)).await
    }

    /// The digests that are kept of a version; the inner `None` says that its content could not be told.
    pub async fn digests(
        &self,
        instance: InstanceId,
        profile: String,
    ) -> Result<Option<Option<Content>>, RecordsError> {
        self.inner.readers.ask(move |conn| judge::digests(conn, instance, &profile)).await
    }

    /// Those of these versions whose bytes are here and of which no digests are kept.
    pub async fn undigested(&self, instances: Vec<InstanceId>) -> Result<Vec<Undigested>, RecordsError> {
        self.inner.readers.ask(move |conn| judge::undigested(conn, &instances)).await
    }

    /// Keeps digests of versions whose bytes are about to go ("The same instance again").
    pub async fn keep_digests(&self, digests: Vec<Digested>) -> Result<(), RecordsError> {
        self.commit(move |tx| judge::keep_all(tx, &digests)).await
    }

    /// Records a verdict with its digests and its entry, and releases the version if it is no conflict, in one commit. `false` if
    /// the conflict was judged or resolved meanwhile, and nothing has changed.
    pub async fn judged(&self, judged: Judged) -> Result<bool, RecordsError> {
        self.commit(move |tx| judge::judged(tx, &judged)).await
    }

    /// Ends a conflict by a person's decision, who must give a name and a reason; how many transfers that moved.
    pub async fn resolve(
        &self,
        exception: ExceptionId,
        resolution: Resolution,
        who: &str,
        reason: &str,
        now: SystemTime,
    ) -> Result<u64, RecordsError> {
        let (who, reason) = signed(resolution.word(), who, reason)?;
        self.commit(move |tx| resolve::resolve(tx, exception, resolution, (&who, &reason), now)).await
    }
}

/// The name and the reason of who decides.
pub(super) fn signed(deed: &str, who: &str, reason: &str) -> Result<(String, String), RecordsError> {
    if who.trim().is_empty() || reason.trim().is_empty() {
        return Err(RecordsError::Refused(format!("to {deed} needs a name and a reason")));
    }
    Ok((who.trim().to_owned(), reason.trim().to_owned()))
}
