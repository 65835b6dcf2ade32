//! The course of one pull, from the site's list to its end.

use super::Inner;
use super::plan::{self, Broken};
use super::take::{Stopped, take};
use crate::dicom::uid::InstanceUid;
use crate::dicomweb::client::{Listing, Part, RetrieveFailure, StudyList};
use crate::priors::Site;
use crate::priors::watch::{Came, Ending, Lost, Pull, Told};
use crate::records::{PullEnded, SeenStudy};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The first wait after a request that failed; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// So often a single instance is asked for that the site answers, and does not give.
const TRIES: u32 = 3;
/// The whole list may take so many times as long as its beginning.
const WHOLE_LIST: u32 = 10;

/// What is known of a pull that goes on.
pub(super) struct Course<'a> {
    pub(super) inner: &'a Inner,
    pub(super) site: &'a Site,
    pub(super) pull: &'a Arc<Pull>,
    pub(super) listing: Arc<Listing>,
    /// Instances of the study that are here, and those that will not come.
    pub(super) settled: BTreeSet<InstanceUid>,
    /// Those that are counted as awaited.
    awaited: BTreeSet<InstanceUid>,
    tries: BTreeMap<InstanceUid, u32>,
    broken: Broken,
    checked: Option<SystemTime>,
}

/// Pulls until all that is wanted is here or lost, or nobody wants it any more.
pub(super) async fn run(inner: &Inner, site: &Site, pull: &Arc<Pull>) {
    let (told, checked) = match list(inner, site, pull).await {
        Ok(StudyList { instances, in_part: Some(why) }) => {
            tracing::warn!(site = %site.name, study = %pull.study, listed = instances.len(), ?why, "a site says in part what it has of a study");
            (Told::InPart(Arc::new(instances), why), None)
        }
        Ok(list) => (Told::Listed(Arc::new(list.instances)), Some(SystemTime::now())),
        Err(why) => {
            tracing::warn!(site = %site.name, study = %pull.study, why, "a site does not say what it has of a study");
            (Told::Silent(why.into()), None)
        }
    };
    pull.tell(told.clone());
    let (Told::Listed(listing) | Told::InPart(listing, _)) = told else {
        pull.end("silent", Ending::Now);
        return;
    };
    while !pull.is_wanted().await {
        // Somebody may have joined since.
        if pull.end("stopped", Ending::Abandoned) {
            return;
        }
    }
    let mut course = Course {
        inner,
        site,
        pull,
        listing,
        settled: BTreeSet::new(),
        awaited: BTreeSet::new(),
        tries: BTreeMap::new(),
        broken: Broken::default(),
        checked,
    };
    course.run().await;
}

/// What the site has of the study, or why it does not say, for people.
async fn list(inner: &Inner, site: &Site, pull: &Pull) -> Result<StudyList, String> {
    let within = inner.options.list * WHOLE_LIST;
    let asking = site.client.listing(&pull.study, inner.options.list);
    let list = match tokio::time::timeout(within, asking).await {
        Ok(answer) => answer.map_err(|failure| failure.to_string())?,
        Err(_) => return Err(format!("its list did not end within {} s", within.as_secs())),
    };
    // While the site is silent it is known by this how much it has.
    let (site, study) = (&site.name, pull.study.clone());
    let noted = match (list.instances.len(), list.in_part) {
        (0, None) => inner.records.study_not_at(site, &study).await,
        (count, in_part) => {
            let instances = Some(count as u64).filter(|_| in_part.is_none());
            inner.records.studies_seen_at(site, vec![SeenStudy { study, instances }], SystemTime::now()).await
        }
    };
    if let Err(error) = noted {
        tracing::error!(error = %error, "what a site has of a study could not be kept");
    }
    Ok(list)
}

impl Course<'_> {
    async fn run(&mut self) {
        let (records, study) = (&self.inner.records, &self.pull.study);
        // Before anything comes: a copy whose pull goes on is not flushed.
        let began = records.pull_began(study, &self.site.name, SystemTime::now()).await;
        let held = match began {
            Ok(()) => records.held_of(study).await,
            Err(error) => Err(error),
        };
        match held {
            Ok(held) => self.settled.extend(held.into_iter().map(|held| held.sop_instance)),
            Err(error) => {
                tracing::error!(error = %error, study = %study, "a pull could not begin");
                self.pull.end("failed here", Ending::Now);
                return;
            }
        }
        loop {
            let seat = self.inner.seat(&self.site.name).await;
            let how = self.rounds().await;
            drop(seat);
            let (wanted, widened) = self.pull.wanted();
            let wanted = self.listing.iter().filter(|(uid, listed)| wanted.covers(uid, &listed.series)).count() as u64;
            let progress = self.pull.progress();
            let ended = PullEnded {
                listed: wanted,
                came: progress.came,
                missing: progress.lost,
                checked: self.checked,
                how: if how == "done" && progress.lost > 0 { "in part" } else { how },
            };
            tracing::info!(site = %self.site.name, study = %self.pull.study, how = ended.how, listed = ended.listed,
                came = ended.came, missing = ended.missing, bytes = progress.bytes, "pull ended");
            let how = ended.how;
            let noted =
                self.inner.records.pull_ended(&self.pull.study, &self.site.name, ended, SystemTime::now()).await;
            if let Err(error) = noted {
                tracing::error!(error = %error, "the end of a pull could not be recorded");
            }
            let ending = match how {
                "done" | "in part" => Ending::Wanted(widened),
                "stopped" => Ending::Abandoned,
                _ => Ending::Now,
            };
            if self.pull.end(how, ending) {
                break;
            }
            // Somebody has joined meanwhile, and may want more.
            self.pull.decided().await;
            let again = self.inner.records.pull_began(&self.pull.study, &self.site.name, SystemTime::now()).await;
            if again.is_err() {
                self.pull.end("failed here", Ending::Now);
                break;
            }
        }
    }

    /// What is wanted, listed, and neither here nor lost.
    fn missing(&mut self) -> BTreeSet<InstanceUid> {
        let (wanted, _) = self.pull.wanted();
        let missing = self
            .listing
            .iter()
            .filter(|(uid, listed)| !self.settled.contains(*uid) && wanted.covers(uid, &listed.series));
        let missing: BTreeSet<InstanceUid> = missing.map(|(uid, _)| uid.clone()).collect();
        let before = self.awaited.len();
        self.awaited.extend(missing.iter().cloned());
        self.pull.awaits((self.awaited.len() - before) as u64);
        missing
    }

    /// Request after request until nothing is missing, the site has been silent for too long, or nobody waits.
    async fn rounds(&mut self) -> &'static str {
        let (mut wait, mut since, mut asked_again) = (FIRST_WAIT, Instant::now(), false);
        loop {
            let missing = self.missing();
            if self.pull.is_abandoned() {
                return "stopped";
            }
            let Some(part) = plan::next(&self.listing, &missing, &self.broken) else {
                if asked_again {
                    return "done";
                }
                asked_again = true;
                self.ask_again().await;
                continue;
            };
            let taken = take(self, &part, &missing).await;
            if taken.came > 0 {
                (wait, since, asked_again) = (FIRST_WAIT, Instant::now(), false);
            }
            let after = match self.judge(&part, taken.stopped, &missing) {
                Judged::Next => continue,
                Judged::Ended(how) => return how,
                Judged::Wait(after) => after,
            };
            if since.elapsed() >= self.inner.options.patience {
                let why = format!("nothing came from {} for {} s", self.site.name, since.elapsed().as_secs());
                self.missing().into_iter().for_each(|uid| self.lose(uid, Lost::NotGiven(why.clone())));
                return "silent";
            }
            tokio::time::sleep(after.unwrap_or(wait).min(self.inner.options.patience)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    pub(super) fn lose(&mut self, instance: InstanceUid, why: Lost) {
        if self.settled.insert(instance.clone()) {
            tracing::warn!(site = %self.site.name, study = %self.pull.study, instance = %instance, why = %why, "an instance does not come");
            self.pull.note(Came::Lost(instance, why), 0);
        }
    }

    /// Whether the site has more now, or less: what it lists no more does not come (FLT-083).
    async fn ask_again(&mut self) {
        let Ok(StudyList { instances: mut now, in_part }) = list(self.inner, self.site, self.pull).await else {
            return;
        };
        if let Some(why) = in_part {
            // What it does not list now is not gone.
            now.extend(self.listing.iter().map(|(uid, listed)| (uid.clone(), listed.clone())));
            self.listing = Arc::new(now);
            self.pull.tell(Told::InPart(Arc::clone(&self.listing), why));
            return;
        }
        self.checked = Some(SystemTime::now());
        let gone: Vec<InstanceUid> = self.missing().into_iter().filter(|uid| !now.contains_key(uid)).collect();
        gone.into_iter().for_each(|uid| self.lose(uid, Lost::Withdrawn));
        self.listing = Arc::new(now);
        self.pull.tell(Told::Listed(Arc::clone(&self.listing)));
    }

    /// What a request came to, and whether the next one may follow at once.
    fn judge(&mut self, part: &Part, stopped: Option<Stopped>, missing: &BTreeSet<InstanceUid>) -> Judged {
        let failure = match stopped {
            None => {
                // All of the answer came: what is missing of it is asked for in smaller parts.
                if !self.broken.note(part) {
                    self.tried(part, "it did not come with the answer");
                }
                return Judged::Next;
            }
            Some(Stopped::Abandoned) => return Judged::Ended("stopped"),
            Some(Stopped::Ours(why)) => {
                tracing::error!(study = %self.pull.study, why, "a pull cannot go on");
                let lost = |uid: &InstanceUid| self.lose(uid.clone(), Lost::NotTaken(why.clone()));
                missing.iter().for_each(lost);
                return Judged::Ended("failed here");
            }
            Some(Stopped::Theirs(failure)) => failure,
        };
        tracing::info!(site = %self.site.name, study = %self.pull.study, failure = %failure, "a retrieval failed");
        match failure {
            RetrieveFailure::Refused { status: 404 | 410, .. } => {
                if let Part::Instance(_, instance) = part {
                    self.lose(instance.clone(), Lost::Withdrawn);
                }
                self.broken.note(part);
                Judged::Next
            }
            RetrieveFailure::Refused { status: 408 | 429 | 502..=504, retry_after } => Judged::Wait(retry_after),
            RetrieveFailure::NotAnswered(_) => Judged::Wait(None),
            failure => {
                if !self.broken.note(part) {
                    self.tried(part, &failure.to_string());
                }
                Judged::Wait(None)
            }
        }
    }

    /// A single instance was asked for in vain.
    fn tried(&mut self, part: &Part, why: &str) {
        let Part::Instance(_, instance) = part else { return };
        if self.settled.contains(instance) {
            return;
        }
        let tries = self.tries.entry(instance.clone()).or_default();
        *tries += 1;
        if *tries >= TRIES {
            self.lose(instance.clone(), Lost::NotGiven(why.to_owned()));
        }
    }
}

enum Judged {
    /// The next request follows at once.
    Next,
    /// The next one follows after a while.
    Wait(Option<Duration>),
    Ended(&'static str),
}
