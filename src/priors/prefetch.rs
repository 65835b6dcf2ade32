//! Priors that are pulled before anybody asks: what causes it, and who does the work.

mod course;
mod orders;
mod rule;

pub use rule::{Candidate, Rule};

use super::fetch::Fetcher;
use super::whom::Patient;
use crate::peers::{Origin, Registry};
use crate::records::{Acquired, Prefetch, PrefetchCause, PrefetchRow, RecordsError};
use jiff::civil::Date;
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What other sites are told that they are asked for (SEC-022).
pub const PURPOSE: &str = "prefetch";
/// Prefetches that are worked on at once: few of the pulls that there may be, so that whoever waits finds room.
const AT_ONCE: usize = 2;
/// Between two looks for new studies and for what is due.
const EVERY: Duration = Duration::from_secs(1);
/// The same after the records could not be read or written.
const AFTER_TROUBLE: Duration = Duration::from_secs(30);
/// A study that began to arrive longer ago is no news.
const NEWS: Duration = Duration::from_secs(86_400);
/// The longest wait for the next try.
const LONGEST_WAIT: Duration = Duration::from_secs(1800);

/// How often something is tried again while a site keeps silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The first wait; each one twice as long as the last.
    pub first: Duration,
    /// After so long since it was caused it is given up.
    pub give_up: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: Duration::from_secs(60), give_up: Duration::from_secs(4 * 3600) }
    }
}

impl Retry {
    /// The longest wait.
    fn longest(&self) -> Duration {
        LONGEST_WAIT.max(self.first)
    }

    /// When it is tried next after so many tries; `None` if it is given up. `at` is when it was caused.
    pub fn next(&self, tries: u32, at: SystemTime, now: SystemTime) -> Option<SystemTime> {
        let wait = self.first.saturating_mul(2_u32.saturating_pow(tries)).min(self.longest());
        let next = now.checked_add(wait)?;
        next.duration_since(at).is_ok_and(|age| age <= self.give_up).then_some(next)
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was taken on, under this number.
    New(i64),
    /// It was asked for already.
    Known,
    /// The cause is known, and was for another patient: nothing is pulled.
    Another,
}

/// What of the configuration concerns it.
#[derive(Debug, Clone, Default)]
pub struct Prefetching {
    /// The rules.
    pub rules: Vec<Rule>,
    /// How often something is tried again.
    pub retry: Retry,
    /// A node that got it longer ago is asked about it again.
    pub resend_after: Duration,
    /// How long a copy stays after it was last asked for.
    pub keep: Duration,
}

/// Pulls priors ahead. Cheap to clone.
#[derive(Clone)]
pub struct Prefetcher {
    inner: Arc<Inner>,
}

struct Inner {
    fetcher: Fetcher,
    registry: watch::Receiver<Arc<Registry>>,
    settings: watch::Receiver<Arc<Prefetching>>,
    seats: Arc<Semaphore>,
    /// Prefetches that are worked on.
    busy: Mutex<BTreeSet<i64>>,
    /// Pulls under way that nobody but this asked for, as far as is known.
    own: AtomicUsize,
    /// The instance up to which all was looked at, as far as this process has.
    looked_at: AtomicI64,
    /// The order up to which all were looked at.
    ordered: AtomicI64,
    /// The day up to which orders were looked at for their day.
    near: Mutex<Option<Date>>,
    hurry: Notify,
}

impl Prefetcher {
    /// One that has not begun. The receivers follow the configuration.
    pub fn new(
        fetcher: Fetcher,
        registry: watch::Receiver<Arc<Registry>>,
        settings: watch::Receiver<Arc<Prefetching>>,
    ) -> Self {
        let seats = Arc::new(Semaphore::new(AT_ONCE));
        let (busy, own, hurry) = (Mutex::default(), AtomicUsize::new(0), Notify::new());
        let (looked_at, ordered, near) = (AtomicI64::new(-1), AtomicI64::new(0), Mutex::default());
        Self {
            inner: Arc::new(Inner { fetcher, registry, settings, seats, busy, own, looked_at, ordered, near, hurry }),
        }
    }

    /// Fixes what is news: what arrives from now on, if nothing was fixed before. To be called before anything can arrive.
    pub async fn prepare(&self) -> Result<(), RecordsError> {
        match self.settings().rules.is_empty() {
            true => Ok(()),
            false => self.look().await,
        }
    }

    /// Works until `stop`. What is in hand then is taken up again at the next start.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let rounds = async {
            let mut tasks = JoinSet::new();
            loop {
                let wait = match self.round(&mut tasks).await {
                    Ok(()) => EVERY,
                    Err(error) => {
                        tracing::error!(error = %error, "what is to be pulled ahead cannot be looked up or noted; it is tried again");
                        AFTER_TROUBLE
                    }
                };
                while tasks.try_join_next().is_some() {}
                let _ = tokio::time::timeout(wait, self.inner.hurry.notified()).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = rounds => {}
        }
        Ok(())
    }

    /// The rules that concern what has these modalities, by name.
    pub fn concerned(&self, modalities: &[String]) -> Vec<String> {
        let settings = self.settings();
        settings.rules.iter().filter(|rule| rule.concerns(modalities)).map(|rule| rule.name.clone()).collect()
    }

    /// Takes on what somebody asks for.
    pub async fn ask(&self, what: Prefetch) -> Result<Taken, RecordsError> {
        let records = self.inner.fetcher.records();
        if let Some(id) = records.prefetch(what.clone(), SystemTime::now()).await? {
            self.inner.hurry.notify_one();
            return Ok(Taken::New(id));
        }
        let known = records.prefetch_of(what.cause.clone()).await?;
        let same = known.is_none_or(|known| known.what.is_for_the_patient_of(&what));
        Ok(if same { Taken::Known } else { Taken::Another })
    }

    fn settings(&self) -> Arc<Prefetching> {
        Arc::clone(&self.inner.settings.borrow())
    }

    async fn round(&self, tasks: &mut JoinSet<()>) -> Result<(), RecordsError> {
        let looked = self.look_around().await;
        // Whatever came of the look, what is due is worked on: that is what makes room where there is none.
        let (now, longest) = (SystemTime::now(), self.settings().retry.longest());
        for due in self.inner.fetcher.records().prefetches_due(now, longest).await? {
            if self.inner.is_busy(due.id) {
                continue;
            }
            let Ok(seat) = Arc::clone(&self.inner.seats).try_acquire_owned() else { break };
            let busy = Busy::begin(&self.inner, due.id);
            let (inner, settings) = (Arc::clone(&self.inner), self.settings());
            tasks.spawn(async move {
                inner.work(due, &settings).await;
                drop((busy, seat));
            });
        }
        match looked {
            Err(RecordsError::Refused(why)) => {
                tracing::debug!(why, "what is new waits");
                Ok(())
            }
            looked => looked,
        }
    }

    /// Looks for what causes a prefetch.
    async fn look_around(&self) -> Result<(), RecordsError> {
        if self.settings().rules.is_empty() {
            return Ok(());
        }
        self.look().await?;
        self.look_at_orders().await
    }

    /// Looks for new studies of our own nodes.
    async fn look(&self) -> Result<(), RecordsError> {
        let now = SystemTime::now();
        let records = self.inner.fetcher.records();
        let (acquired, looked_at) = records.acquired(now.checked_sub(NEWS).unwrap_or(now)).await?;
        let new: Vec<Prefetch> = acquired.iter().filter_map(|acquired| self.caused_by(acquired)).collect();
        if self.inner.looked_at.load(Ordering::Relaxed) == looked_at.0 {
            return Ok(());
        }
        records.prefetch_acquired(new, looked_at, now).await?;
        self.inner.looked_at.store(looked_at.0, Ordering::Relaxed);
        Ok(())
    }

    /// What a new study causes; nothing if no rule concerns it, or it names no patient.
    fn caused_by(&self, acquired: &Acquired) -> Option<Prefetch> {
        let registry = self.inner.registry.borrow();
        let Origin::Node(title) = &acquired.origin else { return None };
        let modalities: Vec<String> =
            Some(acquired.modality.clone()).filter(|one| !one.is_empty()).into_iter().collect();
        if !self.settings().rules.iter().any(|rule| rule.concerns(&modalities)) {
            return None;
        }
        let issuer = Some(acquired.issuer.as_str());
        let patient =
            self.inner.fetcher.priors().named(&registry, registry.node(title)?, &acquired.patient_id, issuer)?;
        let cause = PrefetchCause::Study(acquired.study.clone());
        Some(of_patient(cause, format!("node {title}"), &patient, &acquired.birth_date, modalities))
    }
}

/// What is to be pulled ahead for a patient.
pub fn of_patient(
    cause: PrefetchCause,
    who: String,
    patient: &Patient,
    birth_date: &str,
    modalities: Vec<String>,
) -> Prefetch {
    Prefetch {
        cause,
        who,
        patient_id: patient.id.clone(),
        issuer: patient.issuer.clone(),
        nhs: patient.nhs.map(|number| number.digits()).unwrap_or_default(),
        birth_date: birth_date.to_owned(),
        modalities,
    }
}

/// A prefetch is worked on until this is dropped.
struct Busy {
    inner: Arc<Inner>,
    id: i64,
}

impl Busy {
    fn begin(inner: &Arc<Inner>, id: i64) -> Self {
        inner.busy().insert(id);
        Self { inner: Arc::clone(inner), id }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.inner.busy().remove(&self.id);
    }
}

impl Inner {
    fn busy(&self) -> std::sync::MutexGuard<'_, BTreeSet<i64>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_busy(&self, id: i64) -> bool {
        self.busy().contains(&id)
    }

    /// Works on one, and notes how that ended.
    async fn work(&self, row: PrefetchRow, settings: &Prefetching) {
        let came = course::run(self, &row, settings).await;
        let now = SystemTime::now();
        let next = came.unfinished.as_ref().and_then(|_| settings.retry.next(row.tries, row.at, now));
        let how = match (&came.unfinished, next) {
            (None, _) => came.told,
            (Some(why), Some(_)) => format!("{}; to be tried again: {why}", came.told),
            (Some(why), None) => {
                tracing::warn!(prefetch = row.id, cause = row.what.cause.kind(), why, "a prefetch is given up");
                format!("{}; given up: {why}", came.told)
            }
        };
        tracing::info!(prefetch = row.id, cause = row.what.cause.kind(), how, "prefetch tried");
        if let Err(error) = self.fetcher.records().prefetch_tried(&row, next, how, settings.keep, now).await {
            tracing::error!(error = %error, "how a prefetch ended could not be noted; it is tried again");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Waits double to half an hour, and end.
    #[test]
    fn what_is_tried_again_is_tried_less_and_less_often_and_given_up() {
        let (at, s) = (SystemTime::UNIX_EPOCH, Duration::from_secs);
        let retry = Retry { first: s(60), give_up: s(4 * 3600) };
        for (tries, wait) in [(0, 60), (1, 120), (4, 960), (5, 1800), (99, 1800)] {
            assert_eq!(retry.next(tries, at, at + s(10)), Some(at + s(10 + wait)), "{tries}");
        }
        assert_eq!(retry.next(5, at, at + s(4 * 3600 - 1800)), Some(at + s(4 * 3600)));
        assert_eq!(retry.next(5, at, at + s(4 * 3600 - 1799)), None);
    }
}
