//! The course of one pull, from the site's list to its end.

use super::Inner;
use super::plan::{self, Broken};
use super::take::{Stopped, take};
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dicomweb::client::{InPart, Listing, Part, RetrieveFailure, StudyList};
use crate::dicomweb::dataset::Dataset;
use crate::priors::Site;
use crate::priors::search::said;
use crate::priors::watch::{Came, Ending, Lost, Pull, Told};
use crate::priors::whom::{self, filed, word_apart};
use crate::records::{HeldInstance, PullEnded, SeenStudy, Walk};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The first wait after a request that failed; it doubles up to the longest.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(250);
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(5);
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
    /// Those that the site gave in this pull, whether they were here already or not.
    pub(super) given: BTreeSet<InstanceUid>,
    /// It gave the study as a whole, and nothing that it listed is missing.
    whole: bool,
    /// Those that are counted as awaited.
    awaited: BTreeSet<InstanceUid>,
    tries: BTreeMap<InstanceUid, u32>,
    broken: Broken,
    checked: Option<SystemTime>,
    /// Who issued the patient's number by the site's word, if that is not who our configuration says.
    pub(super) word: Option<String>,
}

/// Pulls until all that is wanted is here or lost, or nobody wants it any more.
pub(super) async fn run(inner: &Inner, site: &Site, pull: &Arc<Pull>) {
    let listed = list(inner, site, pull, (&BTreeSet::new(), false)).await;
    let row = listed.as_ref().ok().and_then(|list| list.row.as_ref());
    let word = row.and_then(|row| word_apart(&said(row), site.issuer.as_deref()));
    let (told, checked) = match listed {
        Ok(StudyList { instances, in_part: Some(why), .. }) => {
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
        given: BTreeSet::new(),
        whole: false,
        awaited: BTreeSet::new(),
        tries: BTreeMap::new(),
        broken: Broken::default(),
        checked,
        word,
    };
    course.run().await;
}

/// What the site has of the study, or why it does not say, for people. These instances it has given, and whether that was all of the study.
async fn list(
    inner: &Inner,
    site: &Site,
    pull: &Arc<Pull>,
    given: (&BTreeSet<InstanceUid>, bool),
) -> Result<StudyList, String> {
    let within = inner.options.list * WHOLE_LIST;
    let asking = site.client.listing(&pull.study, inner.options.list);
    let mut list = match tokio::time::timeout(within, asking).await {
        Ok(answer) => answer.map_err(|failure| failure.to_string())?,
        Err(_) => return Err(format!("its list did not end within {} s", within.as_secs())),
    };
    if list.in_part.is_none() && !site.client.is_ours() {
        list.in_part = fewer(inner, site, &pull.study, &list, given).await.map(InPart::Fewer);
    }
    // Whether the number is that of the entry's issuer only the site's own row tells (IDY-040).
    if list.row.is_none() && site.issuer.is_some() && !list.instances.is_empty() {
        list.in_part = Some(InPart::Unfiled);
    }
    if let Some(row) = &list.row {
        let refiled = is_refiled(inner, site, &pull.study, row).await;
        inner.refiled.note(&pull.study, &site.name, refiled);
        if refiled {
            tracing::warn!(site = %site.name, study = %pull.study, "a site now files a study under another patient than the copy here");
            pull.refile();
        }
    }
    // While the site is silent it is known by this how much it has.
    let (site, study) = (&site.name, pull.study.clone());
    let noted = async {
        match (list.instances.len(), list.in_part) {
            (0, None) => inner.records.study_not_at(site, &study).await,
            (count, in_part) => {
                let instances = match in_part {
                    None => Some(count as u64),
                    Some(InPart::Fewer(all)) => Some(all),
                    Some(InPart::Said | InPart::Unreadable | InPart::Unfiled) => None,
                };
                let seen = vec![SeenStudy { study: study.clone(), instances }];
                inner.records.studies_seen_at(site, seen, SystemTime::now()).await
            }
        }
    };
    // No pull ends, and says so, where nothing is missing; the copies are as old as this list all the same ("Freshness").
    let checked = async {
        match list.in_part {
            None => inner.records.pull_checked(&study, site, SystemTime::now()).await,
            Some(_) => Ok(()),
        }
    };
    let (noted, checked) = tokio::join!(noted, checked);
    if let Err(error) = noted.and(checked) {
        tracing::error!(error = %error, "what a site has of a study could not be kept");
    }
    Ok(list)
}

/// How many the site has if it lists fewer: it has given what it does not list, or it does not say how many it has and had more before. Of what
/// it had before nothing is left to expect once it has given the whole study without it.
async fn fewer(
    inner: &Inner,
    site: &Site,
    study: &StudyUid,
    list: &StudyList,
    (given, whole): (&BTreeSet<InstanceUid>, bool),
) -> Option<u64> {
    let listed = list.instances.len() as u64;
    let besides = given.iter().filter(|uid| !list.instances.contains_key(*uid)).count() as u64;
    if besides > 0 {
        return Some(listed + besides);
    }
    if list.counted.is_some() || whole {
        return None;
    }
    let holders = inner.records.holders(study).await.unwrap_or_default();
    holders.into_iter().find(|holder| holder.peer == site.name)?.instances.filter(|known| *known > listed)
}

/// Whether copies of the study that came from the site bear another patient's number than that under which the site shows it now.
async fn is_refiled(inner: &Inner, site: &Site, study: &StudyUid, row: &Dataset) -> bool {
    let row = filed(&said(row), site.issuer.as_deref());
    let walk = Walk { studies: vec![study.clone()], ..Walk::default() };
    let copies = inner.records.walk_studies(walk).await.unwrap_or_else(|error| {
        tracing::error!(error = %error, "what is here of a study could not be looked up");
        Vec::new()
    });
    copies.iter().any(|copy| whom::is_refiled((&copy.attributes.0, copy.origin.site()), (&row, &site.name)))
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
            // What was pulled, from whichever site, and is filed under another patient at this one by now is retrieved again: what differs is
            // held for a person.
            Ok(held) => {
                let refiled = |held: &HeldInstance| {
                    held.pulled && self.pull.is_refiled() && self.listing.contains_key(&held.sop_instance)
                };
                self.settled.extend(held.into_iter().filter(|held| !refiled(held)).map(|held| held.sop_instance));
            }
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
                behalves: self.pull.behalves(),
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
            asked_again &= taken.came == 0;
            // A site that gives, and is cut off each time, is not silent; how often one instance is tried is limited.
            if let Some(progress) = taken.progress {
                (wait, since) = (FIRST_WAIT, since.max(progress));
            }
            self.whole |= part == Part::Study && taken.whole && missing.is_subset(&self.settled);
            let after = match self.judge(&part, taken.stopped, &missing) {
                Judged::Next => continue,
                Judged::Refused if since.elapsed() < self.inner.options.patience => continue,
                Judged::Refused => None,
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
            self.inner.refiled.not_given(&instance);
            self.pull.note(Came::Lost(instance, why), 0);
        }
    }

    /// Whether the site has more now, or less: what it lists no more does not come (FLT-083).
    async fn ask_again(&mut self) {
        let listed = list(self.inner, self.site, self.pull, (&self.given, self.whole)).await;
        let Ok(StudyList { instances: mut now, in_part, .. }) = listed else { return };
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
                    self.tried(part, || Lost::NotGiven("it did not come with the answer".to_owned()));
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
            // Where a whole study is not to be had so, a part of it may be.
            RetrieveFailure::Refused { status: 405 | 406 | 501, .. } if self.broken.note(part) => Judged::Next,
            // It is said of that one: of a form that it does not have, or of who may have it.
            RetrieveFailure::Refused { status: status @ (403 | 406), .. } if let Part::Instance(_, instance) = part => {
                self.lose(instance.clone(), Lost::Refused { status, site: self.site.name.clone() });
                Judged::Refused
            }
            // To ask again would change nothing.
            RetrieveFailure::Refused { status: status @ (401 | 403 | 405 | 406 | 501), .. } => {
                let site = &self.site.name;
                let refused = |uid: &InstanceUid| (uid.clone(), Lost::Refused { status, site: site.clone() });
                missing.iter().map(refused).for_each(|(uid, why)| self.lose(uid, why));
                Judged::Next
            }
            RetrieveFailure::Refused { status: 408 | 429 | 502..=504, retry_after } => Judged::Wait(retry_after),
            RetrieveFailure::NotAnswered(_) => Judged::Wait(None),
            failure => {
                if !self.broken.note(part) {
                    let site = self.site.name.clone();
                    self.tried(part, || match failure {
                        RetrieveFailure::Refused { status, .. } => Lost::Refused { status, site },
                        failure => Lost::NotGiven(failure.to_string()),
                    });
                }
                Judged::Wait(None)
            }
        }
    }

    /// Whether an instance is asked for as the whole body: another gateway has that form, any other site is asked so once it has given the
    /// instance in vain.
    pub(super) fn asks_alone(&self, instance: &InstanceUid) -> bool {
        self.site.client.is_ours() || self.tries.contains_key(instance)
    }

    /// A single instance was asked for in vain.
    fn tried(&mut self, part: &Part, why: impl FnOnce() -> Lost) {
        let Part::Instance(_, instance) = part else { return };
        if self.settled.contains(instance) {
            return;
        }
        let tries = self.tries.entry(instance.clone()).or_default();
        *tries += 1;
        if *tries >= TRIES {
            self.lose(instance.clone(), why());
        }
    }
}

enum Judged {
    /// The next request follows at once.
    Next,
    /// One instance is refused: the next request follows at once, while there is patience.
    Refused,
    /// The next one follows after a while.
    Wait(Option<Duration>),
    Ended(&'static str),
}
