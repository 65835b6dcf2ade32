//! One pull for each site and study however many ask: the site's list first, then what is missing here, then the list again
//! ("Behaviour that decides safety", freshness). Each instance is told of as soon as it is durable.

mod plan;
mod run;
mod take;

use super::watch::{Follower, Pull};
use super::{Priors, Site};
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::uid::StudyUid;
use crate::intake::{Intake, Source};
use crate::peers::{Origin, Registry};
use crate::records::{Records, SourceFacts};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// How studies are pulled.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// How long a site may take to begin to tell what it has.
    pub list: Duration,
    /// How long a pull goes on without an instance that comes.
    pub patience: Duration,
    /// Instances of one pull that may be between arrival and commit, in bytes.
    pub commit_bytes: u64,
    /// Pulls at once.
    pub at_once: usize,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { list: Duration::from_secs(2), patience: Duration::from_secs(120), commit_bytes: 16 << 20, at_once: 16 }
    }
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
    under_way: Mutex<HashMap<(String, StudyUid), Arc<Pull>>>,
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
        let inner = Inner { priors, records, intake, registry, options, seats, under_way: Mutex::default() };
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

    /// Joins the pull of a study from a site, or begins one: the site is asked what it has. Nothing is retrieved before somebody
    /// wants it. The site is told of `behalf`, the first who asks (SEC-023).
    pub fn join(&self, site: &Site, study: &StudyUid, behalf: &OnBehalf) -> Follower {
        let key = (site.name.clone(), study.clone());
        let mut under_way = self.inner.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(follower) = under_way.get(&key).and_then(Pull::follow) {
            return follower;
        }
        let (pull, follower) = Pull::begin(site.name.clone(), study.clone());
        under_way.insert(key.clone(), Arc::clone(&pull));
        let (inner, site) = (Arc::clone(&self.inner), Site { client: site.client.on_behalf(behalf), ..site.clone() });
        tokio::spawn(async move {
            run::run(&inner, &site, &pull).await;
            let mut under_way = inner.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            if under_way.get(&key).is_some_and(|there| Arc::ptr_eq(there, &pull)) {
                under_way.remove(&key);
            }
        });
        follower
    }
}

impl Inner {
    /// Who sends, for intake: what is pulled goes to who asked, and fires no route.
    fn source(&self, site: &Site) -> Arc<Source> {
        let origin = Origin::Pulled(site.name.clone());
        let issuer = Some(self.registry.borrow().issuer(&origin));
        Arc::new(Source {
            origin,
            called: None,
            facts: SourceFacts { issuer, ..SourceFacts::default() },
            requested: None,
        })
    }
}
