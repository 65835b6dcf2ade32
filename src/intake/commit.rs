//! The second phase: blob durable, then one transaction of the records, then the receipt.

use super::{Arrived, Intake, Refusal, Source};
use crate::dicom::head::Head;
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid};
use crate::peers::Chosen;
use crate::records::{Arrival, Became, BlobRef, Kept, Recorded, Requested};
use crate::router::{self, Routes};
use crate::store::{Digest, Settled, Spooled};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How often a commit that meets a purge of its own blob starts over before it gives up.
const ROUNDS: u32 = 4;

/// How often, and after what pause, an instance is routed again that met a change of the routes: two seconds in all.
const REROUTINGS: u32 = 200;
const REROUTING: Duration = Duration::from_millis(10);

/// The proof that an instance is kept: its bytes and its records are on disk.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The SOP class of the data set.
    pub sop_class: SopClassUid,
    /// The SOP instance of the data set.
    pub sop_instance: InstanceUid,
    /// The study of the data set.
    pub study: StudyUid,
    /// The series of the data set.
    pub series: SeriesUid,
    /// What it turned out to be.
    pub kept: Kept,
    /// What became of what an operator asked for.
    pub requested: Option<Became>,
}

impl Intake {
    /// Makes an arrived instance durable and says what it was.
    ///
    /// Runs as a task of its own: if the caller goes away, the commit still ends (FLT-006).
    pub async fn commit(&self, source: Arc<Source>, arrived: Arrived) -> Result<Receipt, Refusal> {
        let intake = self.clone();
        let task = tokio::spawn(async move { intake.commit_now(&source, arrived).await });
        task.await.unwrap_or_else(|_| Err(Refusal::Poisoned("the commit of this instance failed unexpectedly".into())))
    }

    async fn commit_now(&self, source: &Source, arrived: Arrived) -> Result<Receipt, Refusal> {
        let Arrived { head, spooled } = arrived;
        let digest = spooled.digest();
        let length = spooled.length();
        // Concurrent arrivals of the same bytes take turns, so that one blob is written for all of them (IDY-008).
        let gate = self.inner.gates.enter(digest);
        let _turn = gate.lock().await;
        let mut spooled = Some(spooled);
        let mut recorded = None;
        for _ in 0..ROUNDS {
            let blob = self.blob(&digest, &mut spooled).await?;
            let done = match self.record(source, &head, (digest, length), blob).await {
                Ok(done) => done,
                Err(refusal) => return Err(self.unkept(refusal, blob).await),
            };
            match done {
                recorded if recorded.kept == Kept::BlobGone => continue,
                done => {
                    recorded = Some(done);
                    break;
                }
            }
        }
        let recorded =
            recorded.ok_or_else(|| Refusal::Poisoned("the blob of this instance was purged again and again".into()))?;
        if let Some(place) = recorded.redundant
            && let Err(error) = self.inner.store.free(place).await
        {
            // The instance is recorded; bytes that no row names are freed at the next start.
            tracing::warn!(error = %error, "a second copy of the same bytes could not be freed");
        }
        Ok(Receipt {
            sop_class: head.sop_class,
            sop_instance: head.sop_instance,
            study: head.study,
            series: head.series,
            kept: recorded.kept,
            requested: recorded.requested,
        })
    }

    /// Frees what was written for an instance that the records did not take; after any other failure they may name it.
    async fn unkept(&self, refusal: Refusal, blob: BlobRef) -> Refusal {
        if let (Refusal::NoRoom | Refusal::Unkept { .. }, BlobRef::New(place)) = (&refusal, blob)
            && let Err(error) = self.inner.store.free(place).await
        {
            tracing::warn!(error = %error, "bytes that no record names could not be freed; they are at the next start");
        }
        refusal
    }

    /// One transaction of the records, with the destinations that the routes in force choose. A reload may put others in force
    /// meanwhile; then it is routed again, so that nothing is ever owed by routes that were over (INV-15).
    async fn record(
        &self,
        source: &Source,
        head: &Head,
        (digest, length): (Digest, u64),
        blob: BlobRef,
    ) -> Result<Recorded, Refusal> {
        for _ in 0..REROUTINGS {
            let routes = self.routes();
            let (chosen, requested) = destinations(&routes, source, head);
            let arrival = Arrival {
                origin: source.origin.clone(),
                source: source.facts.clone(),
                head: head.clone(),
                digest,
                length,
                blob,
                chosen,
                routes: requested.is_none().then(|| Arc::clone(routes.version())),
                requested,
                received_at: self.inner.clock.now(),
                resend_after: self.inner.options.resend_after,
            };
            match self.inner.records.record(arrival).await? {
                recorded if recorded.kept == Kept::Rerouted => tokio::time::sleep(REROUTING).await,
                done => return Ok(done),
            }
        }
        Err(Refusal::Poisoned("the routes changed again and again while this instance was recorded".into()))
    }

    /// A live blob with these bytes if there is one, else the arrived bytes made durable.
    async fn blob(&self, digest: &Digest, spooled: &mut Option<Spooled>) -> Result<BlobRef, Refusal> {
        let vanished = || Refusal::Poisoned("the blob of this instance vanished while it was recorded".into());
        // The records are asked by the thread that would write; what they said is told here.
        let (records, digest, told) = (self.inner.records.clone(), *digest, Arc::new(OnceLock::new()));
        let tell = Arc::clone(&told);
        let known = move || !matches!(tell.get_or_init(|| records.blob_of_here(&digest)), Ok(None));
        match self.inner.store.settle_unless(spooled.take().ok_or_else(vanished)?, Box::new(known)).await? {
            Settled::Placed(place) => Ok(BlobRef::New(place)),
            Settled::Known(again) => {
                *spooled = Some(again);
                match told.get() {
                    Some(Ok(Some(id))) => Ok(BlobRef::Known(*id)),
                    Some(Err(error)) => Err(error.clone().into()),
                    _ => Err(vanished()),
                }
            }
        }
    }
}

fn destinations(routes: &Routes, source: &Source, head: &Head) -> (Vec<Chosen>, Option<Requested>) {
    match &source.requested {
        Some(requested) => (Vec::new(), Some(requested.clone())),
        None => (router::route(routes, head, &source.origin, source.called.as_ref()), None),
    }
}

/// One gate for each digest that is being committed.
#[derive(Default)]
pub(super) struct Gates {
    open: Mutex<HashMap<Digest, std::sync::Weak<tokio::sync::Mutex<()>>>>,
}

impl Gates {
    fn enter(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = open.get(&digest).and_then(std::sync::Weak::upgrade) {
            return gate;
        }
        if open.len() >= 1024 {
            open.retain(|_, gate| gate.strong_count() > 0);
        }
        let gate = Arc::new(tokio::sync::Mutex::new(()));
        open.insert(digest, Arc::downgrade(&gate));
        gate
    }
}
