//! The judge: what was held because its UID was known is compared with what was here, and released if it is no conflict (IDY-020).
//!
//! It works beside everything else, on one version at a time, and no arrival waits for it. What it has to do is in the records:
//! conflicts without a verdict. The rules are [`crate::ledger::judgement`]; here are the bytes for them. Whatever cannot be
//! read stays held (IDY-006). The janitor has it keep the digests of what is about to go ("The same instance again" in
//! docs/ARCHITECTURE.md).

pub mod compare;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

use crate::dicom::canon::{CanonError, Content, Digester, Outline, Profile};
use crate::dicom::uid::TransferSyntaxUid;
use crate::ledger::judgement::{self, Side, Verdict};
use crate::peers::{Destination, Origin, Party, Registry};
use crate::records::{
    Digested, ExceptionId, ExceptionView, InstanceId, InstanceView, Judged, Records, RecordsError, Undigested,
};
use crate::store::{BlobReader, Digest, Store, StoreError};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between two looks for conflicts: an index that is nearly always empty.
const EVERY: Duration = Duration::from_secs(1);
/// Before a conflict that could not be judged is looked at again.
const AGAIN: Duration = Duration::from_secs(60);
/// A version is compared with so many others of its UID, the newest first.
const COMPARED: usize = 8;

/// Contents are read one at a time, by whomever: each may hold a decoded frame.
pub(crate) static READING: Semaphore = Semaphore::const_new(1);

/// Why something could not be judged now. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The records could not answer or commit.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The blobs could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread that reads contents ended.
    #[error("the reading of a content ended: {0}")]
    Ended(String),
    /// There is nothing to compare it with, or it is damaged.
    #[error("{0}")]
    NotNow(&'static str),
}

/// What came of keeping digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// Versions whose bytes may go: their digests are kept.
    pub kept: Vec<InstanceId>,
    /// Blobs that are damaged, so that no digests could be made. Whose bytes cannot be read just now stands nowhere here.
    pub damaged: Vec<Digest>,
}

/// The judge of one site. Cheap to clone.
#[derive(Clone)]
pub struct Judge {
    inner: Arc<Inner>,
}

struct Inner {
    records: Records,
    store: Store,
    registry: watch::Receiver<Arc<Registry>>,
    /// What was done somewhere longer ago than this is asked about again.
    resend_after: Duration,
}

impl Judge {
    /// A judge that has not begun.
    pub fn new(
        records: Records,
        store: Store,
        registry: watch::Receiver<Arc<Registry>>,
        resend_after: Duration,
    ) -> Self {
        Self { inner: Arc::new(Inner { records, store, registry, resend_after }) }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let rounds = async {
            let mut later = HashMap::new();
            loop {
                self.round(&mut later).await;
                tokio::time::sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = rounds => {}
        }
        Ok(())
    }

    /// Judges what was not judged yet, but for what failed a short while ago.
    async fn round(&self, later: &mut HashMap<ExceptionId, Instant>) {
        // Also what a person has decided meanwhile is forgotten.
        later.retain(|_, until| Instant::now() < *until);
        let mut after = ExceptionId(0);
        loop {
            let page = match self.inner.records.unjudged(after).await {
                Ok(page) if page.is_empty() => return,
                Ok(page) => page,
                Err(error) => return tracing::error!(error = %error, "what is held could not be looked through"),
            };
            for conflict in page {
                after = conflict.exception;
                if later.contains_key(&after) {
                    continue;
                }
                if let Err(error) = self.judge(&conflict).await {
                    tracing::warn!(exception = after.0, error = %error, "a conflict could not be judged; it is tried again");
                    later.insert(after, Instant::now() + AGAIN);
                }
            }
        }
    }

    /// Judges one conflict.
    async fn judge(&self, conflict: &ExceptionView) -> Result<(), JudgeError> {
        let Inner { records, registry, resend_after, .. } = &*self.inner;
        let now = SystemTime::now();
        let versions = records.instance(&conflict.sop_instance_uid, now).await?;
        let held = versions.iter().find(|version| version.version == conflict.version && version.state == "held");
        let held = held.ok_or(JudgeError::NotNow("its bytes are damaged; they must arrive again first"))?;
        let mut others: Vec<&InstanceView> = versions.iter().filter(|version| !version.in_conflict).collect();
        others.sort_by_key(|version| (version.behind.is_some(), Reverse(version.version)));
        let profile = profile(&registry.borrow(), &held.source);
        let mut found: Option<(InstanceId, Verdict)> = None;
        let mut digests: Vec<Digested> = Vec::new();
        for other in others.into_iter().take(COMPARED) {
            let mut contents = [None, None];
            if place(held) == place(other) {
                for (content, version) in contents.iter_mut().zip([other, held]) {
                    *content = self.known(version, &profile, &mut digests).await?;
                }
            }
            let verdict = judgement::judge(&side(other, contents[0].as_ref()), &side(held, contents[1].as_ref()));
            if verdict.releases() || found.is_none() {
                found = Some((other.instance, verdict));
            }
            if verdict.releases() {
                break;
            }
        }
        let (against, verdict) = found.ok_or(JudgeError::NotNow("no other version of it is here"))?;
        let exception = conflict.exception;
        let judged = Judged { exception, against, verdict, digests, resend_after: *resend_after, now };
        if records.judged(judged).await? {
            let uid = &conflict.sop_instance_uid;
            match verdict.releases() {
                true => tracing::info!(exception = exception.0, %uid, "held for no reason: it says the same; released"),
                false => tracing::warn!(exception = exception.0, %uid, "{}; a person must decide", verdict.sentence()),
            }
        }
        Ok(())
    }

    /// The content of a version, from the digests that are kept, or those at hand, or its bytes; none if it cannot be told.
    async fn known(
        &self,
        version: &InstanceView,
        profile: &Profile,
        digests: &mut Vec<Digested>,
    ) -> Result<Option<Content>, JudgeError> {
        if let Some(known) = digests.iter().find(|known| known.instance == version.instance) {
            return Ok(known.content);
        }
        let Inner { records, store, .. } = &*self.inner;
        let content = match records.digests(version.instance, profile.name()).await? {
            Some(kept) => kept,
            None => {
                let here = matches!(version.state.as_str(), "stored" | "held");
                let blob = if here { records.blob_of(&version.sha256).await? } else { None };
                let Some((_, place)) = blob else { return Ok(None) };
                let reader = store.read(place, version.sha256, None).await?;
                look(reader, &version.transfer_syntax_uid, profile.clone(), false).await?.map(|(content, _)| content)
            }
        };
        digests.push(Digested { instance: version.instance, profile: profile.name(), content });
        Ok(content)
    }

    /// Keeps the digests of versions whose bytes are to go, as far as none are kept yet.
    pub async fn keep(&self, instances: Vec<InstanceId>) -> Result<Digests, JudgeError> {
        let records = &self.inner.records;
        let mut digests = Digests { kept: instances.clone(), damaged: Vec::new() };
        for version in records.undigested(instances).await? {
            let (instance, digest) = (version.instance, version.sha256);
            let error = match self.digested(version).await {
                Ok(digested) => {
                    records.keep_digests(vec![digested]).await?;
                    continue;
                }
                Err(error) => error,
            };
            digests.kept.retain(|kept| *kept != instance);
            match error {
                JudgeError::Store(error) if error.is_damage() => digests.damaged.push(digest),
                error => {
                    tracing::warn!(instance = instance.0, error = %error, "bytes stay: their digests cannot be made");
                }
            }
        }
        Ok(digests)
    }

    async fn digested(&self, version: Undigested) -> Result<Digested, JudgeError> {
        let Undigested { instance, transfer_syntax, sha256, place, source } = version;
        let profile = profile(&self.inner.registry.borrow(), &source);
        let name = profile.name();
        let reader = self.inner.store.read(place, sha256, None).await?;
        let content = look(reader, &transfer_syntax, profile, false).await?.map(|(content, _)| content);
        Ok(Digested { instance, profile: name, content })
    }
}

fn place(version: &InstanceView) -> (&str, &str, &str) {
    let study = version.study_instance_uid.as_str();
    (study, version.series_instance_uid.as_str(), version.sop_class_uid.as_str())
}

fn side<'a>(version: &'a InstanceView, content: Option<&'a Content>) -> Side<'a> {
    let (study, series, class) = place(version);
    Side { study, series, class, content }
}

/// What does not count in what a source sends.
pub fn profile(registry: &Registry, source: &Origin) -> Profile {
    let party = registry.destination(&Destination(source.name().to_owned()));
    match (source, party) {
        (Origin::Node(_) | Origin::Archive(_), Some(Party::Node(node))) => Profile::new(node.volatile.iter().copied()),
        (Origin::Peer(_) | Origin::Pulled(_), Some(Party::Peer(peer))) => Profile::new(peer.volatile.iter().copied()),
        _ => Profile::default(),
    }
}

/// Reads a blob and says what it is, with its elements for a person if `lines` are wanted; none if that cannot be told. Holds a
/// chunk and a frame at most, and at most 20,000 lines; blobs are read one at a time.
pub async fn look(
    mut reader: BlobReader,
    syntax: &TransferSyntaxUid,
    profile: Profile,
    lines: bool,
) -> Result<Option<(Content, Outline)>, JudgeError> {
    let _one = turn().await;
    let begun = Digester::new(syntax, profile);
    let mut digester = begun.map(|digester| if lines { digester.with_lines() } else { digester });
    while let Some(chunk) = reader.next().await? {
        // Also what cannot be told is read to its end: it may be damaged, which the reader finds out.
        if let Ok(mut open) = digester {
            digester = off_thread(move || open.push(&chunk).map(|()| open)).await?;
        }
    }
    let finished = off_thread(move || digester.and_then(Digester::finish)).await?;
    Ok(finished.map_or_else(untold, Some))
}

/// Waits until nobody else reads a content.
async fn turn() -> Option<SemaphorePermit<'static>> {
    // Several stories may be told at once in one process, each of a gateway of its own: none waits in its time for what passes in another's.
    #[cfg(test)]
    if crate::store::simulated::is_on() {
        return None;
    }
    // It is never closed.
    READING.acquire().await.ok()
}

/// Runs what may take long where it delays nobody.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JudgeError> {
    #[cfg(test)]
    if crate::store::simulated::is_on() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| JudgeError::Ended(error.to_string()))
}

fn untold<T>(error: CanonError) -> Option<T> {
    tracing::debug!(error = %error, "what an instance says cannot be told");
    None
}
