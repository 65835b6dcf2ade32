//! One pull for each site and study however many ask: the site's list first, then what is missing here, then the list again
//! ("Behaviour that decides safety", freshness). Each instance is told of as soon as it is durable.

mod plan;
mod refiled;
mod run;
mod take;

use self::refiled::Refiled;
use super::watch::{Follower, Pull};
use super::{Priors, Site};
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::intake::{Intake, Source};
use crate::peers::{Origin, Registry};
use crate::records::{Inquiry, Records, RecordsError, SourceFacts};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;

/// How studies are pulled.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// How long a site may take to begin to tell what it has.
    pub list: Duration,
    /// How long a pull goes on without an instance that comes, or 64 KiB of one.
    pub patience: Duration,
    /// How long copies stay after they were last asked for.
    pub keep: Duration,
    /// Instances of one pull that may be between arrival and commit, in bytes.
    pub commit_bytes: u64,
    /// Pulls at once; of one site a quarter of them.
    pub at_once: usize,
}

impl Default for FetchOptions {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { list: seconds(2), patience: seconds(120), keep: seconds(86_400), commit_bytes: 16 << 20, at_once: 16 }
    }
}

/// So often at least it is noted that copies are in use.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// Studies of which it is remembered that use was noted just now; of what is beyond it is noted each time.
const MOST_NOTED: usize = 1_000;

/// Copies that are in use while this lives.
#[derive(Debug)]
pub struct Held {
    _task: JoinSet<()>,
}

/// Pulls studies from other sites into the store. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

struct Inner {
    priors: Priors,
    records: Records,
    intake: Intake,
    registry: watch::Receiver<Arc<Registry>>,
    options: FetchOptions,
    seats: Semaphore,
    /// The same for each site: one that hangs takes no more of them.
    of_site: Mutex<HashMap<String, Arc<Semaphore>>>,
    under_way: Mutex<HashMap<(String, StudyUid), Arc<Pull>>>,
    /// When it was last noted that copies are in use.
    noted: Mutex<HashMap<StudyUid, Instant>>,
    refiled: Refiled,
}

impl Fetcher {
    /// A fetcher that pulls from the sites that priors are asked of.
    pub fn new(
        priors: Priors,
        records: Records,
        intake: Intake,
        registry: watch::Receiver<Arc<Registry>>,
        options: FetchOptions,
    ) -> Self {
        let seats = Semaphore::new(options.at_once);
        let (of_site, under_way, noted, refiled) = Default::default();
        let inner = Inner { priors, records, intake, registry, options, seats, of_site, under_way, noted, refiled };
        Self { inner: Arc::new(inner) }
    }

    /// Who is asked for a study.
    pub fn priors(&self) -> &Priors {
        &self.inner.priors
    }

    /// The records.
    pub fn records(&self) -> &Records {
        &self.inner.records
    }

    /// Keeps the copies of studies from being flushed until what it gives is dropped, however long that takes (IDY-051).
    pub async fn hold(&self, studies: Vec<StudyUid>) -> Result<Held, RecordsError> {
        let every = (self.inner.options.keep / 4).clamp(Duration::from_millis(100), LONGEST_HOLD);
        self.note_use(&studies, every).await?;
        let (records, mut task) = (self.records().clone(), JoinSet::new());
        task.spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                if let Err(error) = records.pulls_used(studies.clone(), SystemTime::now()).await {
                    tracing::error!(error = %error, "that copies are in use could not be noted");
                }
            }
        });
        Ok(Held { _task: task })
    }

    /// Notes that copies are in use, unless that was done within `every`: a viewer asks for each frame by itself.
    async fn note_use(&self, studies: &[StudyUid], every: Duration) -> Result<(), RecordsError> {
        let (now, mut due) = (Instant::now(), studies.to_vec());
        let noted = || self.inner.noted.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut noted = noted();
            noted.retain(|_, at| now.saturating_duration_since(*at) < every);
            due.retain(|study| !noted.contains_key(study));
        }
        if due.is_empty() {
            return Ok(());
        }
        self.records().pulls_used(due.clone(), SystemTime::now()).await?;
        let mut noted = noted();
        let room = MOST_NOTED.saturating_sub(noted.len());
        noted.extend(due.into_iter().take(room).map(|study| (study, now)));
        Ok(())
    }

    /// Pulls that are under way, whoever follows them.
    pub fn under_way(&self) -> usize {
        self.inner.under_way.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether an instance that is here may be of another patient: its site was found to file the study otherwise, and has not given the
    /// instance again as it is here within the last minute (IDY-040).
    pub fn is_doubtful(&self, study: &StudyUid, instance: &InstanceUid) -> bool {
        self.inner.refiled.is_doubtful(study, instance, Instant::now())
    }

    /// Joins the pull of a study from a site, or begins one: the site is asked what it has. Nothing is retrieved before somebody
    /// wants it. The site is told of `behalf`, the first who asks; that it is asked is entered before, and with the end of the pull for whom it
    /// was (SEC-023).
    pub fn join(&self, site: &Site, study: &StudyUid, behalf: &OnBehalf) -> Follower {
        let key = (site.name.clone(), study.clone());
        let mut under_way = self.inner.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(follower) = under_way.get(&key).and_then(Pull::follow) {
            follower.serves(behalf);
            return follower;
        }
        let (pull, follower) = Pull::begin(site.name.clone(), study.clone());
        follower.serves(behalf);
        under_way.insert(key.clone(), Arc::clone(&pull));
        let (inner, site) = (Arc::clone(&self.inner), Site { client: site.client.on_behalf(behalf), ..site.clone() });
        let (peers, study, behalf) = (vec![site.name.clone()], Some(study.clone()), behalf.clone());
        let inquiry = Inquiry { peers, behalf, what: "list", study, whom: String::new() };
        tokio::spawn(async move {
            inner.records.asks(inquiry).await;
            run::run(&inner, &site, &pull).await;
            let mut under_way = inner.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            if under_way.get(&key).is_some_and(|there| Arc::ptr_eq(there, &pull)) {
                under_way.remove(&key);
            }
        });
        follower
    }
}

/// Leave to pull from a site; given back when it is dropped.
struct Seat<'a> {
    _of_site: Option<OwnedSemaphorePermit>,
    _of_all: Option<SemaphorePermit<'a>>,
}

impl Inner {
    /// Waits until one more may be pulled from a site. Who waits for a site that hangs keeps nobody from another.
    async fn seat(&self, site: &str) -> Seat<'_> {
        let of_site = {
            let mut of_site = self.of_site.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new((self.options.at_once / 4).max(1)));
            Arc::clone(of_site.entry(site.to_owned()).or_insert_with(new))
        };
        // Neither is ever closed.
        let _of_site = of_site.acquire_owned().await.ok();
        Seat { _of_site, _of_all: self.seats.acquire().await.ok() }
    }

    /// Who sends, for intake: what is pulled goes to who asked, and fires no route.
    ///
    /// `word` is who issued the patient's number by the site's word, if that is not who our configuration says.
    fn source(&self, site: &Site, word: Option<String>) -> Arc<Source> {
        let origin = Origin::Pulled(site.name.clone());
        let issuer = Some(word.clone().unwrap_or_else(|| self.registry.borrow().issuer(&origin)));
        Arc::new(Source {
            origin,
            called: None,
            facts: SourceFacts { issuer, word, ..SourceFacts::default() },
            requested: None,
        })
    }
}
