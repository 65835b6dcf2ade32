//! What a node asks to be given, gathered from all sites that have some of it: who has what, what is missing here, and one stream of
//! what comes ("Behaviour that decides safety", below the study and freshness; DIM-089).

use super::Site;
use super::fetch::Fetcher;
use super::marker::is_marker;
use super::watch::{Came, Follower, Lost, Told, Wanted};
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::records::{HeldInstance, InstanceId, Picked, PullRow, RecordsError};
use futures_util::future::{join_all, select_all};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// Studies of one request that other sites are asked for; the rest of a longer list is given as it is here.
const MOST_STUDIES: usize = 64;

/// A site that did not say what it has of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// The site.
    pub site: String,
    /// The study.
    pub study: StudyUid,
    /// When it last said what it has, if ever.
    pub checked: Option<SystemTime>,
}

/// Where the parts of a request are that are not here.
#[derive(Default)]
pub struct Gathering {
    followers: Vec<(Follower, Wanted)>,
    /// What is to come and has not.
    awaited: BTreeSet<InstanceUid>,
    /// What is here, was awaited, or came already: nothing is given twice.
    known: BTreeSet<InstanceUid>,
    picked: Picked,
    /// Copies here that no site lists any more, which is why they are not given.
    pub withdrawn: BTreeSet<InstanceId>,
    /// Sites that did not say what they have.
    pub silent: Vec<Silent>,
    /// Instances that came beside those that were awaited, since this was last looked at.
    pub grown: u64,
    /// Instances that are known to be missing, and whose names are not known.
    pub unnamed: u64,
}

impl Fetcher {
    /// Asks who has what of the studies of a request. Nothing is retrieved before [`Gathering::start`].
    ///
    /// A study that nodes or peers sent here, and that no other site has shown, is not asked for; one that is not here at all is
    /// asked for at the sites that have shown it, or else at all; with `from`, at that site alone. `behalf` is who asks.
    pub async fn gather(
        &self,
        picked: &Picked,
        from: Option<&str>,
        behalf: &OnBehalf,
    ) -> Result<Gathering, RecordsError> {
        let mut gathering = Gathering { picked: picked.clone(), ..Gathering::default() };
        let studies: Vec<&StudyUid> = picked.studies.iter().filter(|study| !is_marker(study)).collect();
        for study in studies.iter().take(MOST_STUDIES) {
            let held = self.records().held_of(study).await?;
            let pulls = self.records().pulls(Some((*study).clone())).await?;
            let mut sites = self.whom(study, &held, &pulls).await?;
            if let Some(named) = from {
                sites = self.priors().sites().site(named).cloned().into_iter().collect();
            }
            if !pulls.is_empty() {
                self.records().pull_used(study, SystemTime::now()).await?;
            }
            let mut followers: Vec<Follower> = sites.iter().map(|site| self.join(site, study, behalf)).collect();
            let told = join_all(followers.iter_mut().map(Follower::told)).await;
            gathering.add(study, followers.into_iter().zip(told).collect(), &held, &pulls);
        }
        if studies.len() > MOST_STUDIES {
            tracing::warn!(
                studies = studies.len(),
                "a request names more studies than other sites are asked for at once"
            );
        }
        Ok(gathering)
    }

    async fn whom(
        &self,
        study: &StudyUid,
        held: &[HeldInstance],
        pulls: &[PullRow],
    ) -> Result<Vec<Site>, RecordsError> {
        let sites = self.priors().sites();
        let mut names: Vec<String> = pulls.iter().map(|pull| pull.peer.clone()).collect();
        names.extend(self.records().holders(study).await?.into_iter().map(|holder| holder.peer));
        let known: Vec<Site> = sites.sites.iter().filter(|site| names.contains(&site.name)).cloned().collect();
        Ok(match (known.is_empty(), held.iter().any(|held| !held.pulled)) {
            (false, _) => known,
            (true, true) => Vec::new(),
            (true, false) => sites.sites.clone(),
        })
    }
}

impl Gathering {
    fn add(&mut self, study: &StudyUid, told: Vec<(Follower, Told)>, held: &[HeldInstance], pulls: &[PullRow]) {
        let here: BTreeSet<&InstanceUid> = held.iter().map(|held| &held.sop_instance).collect();
        let mut listed_anywhere: BTreeSet<InstanceUid> = BTreeSet::new();
        let mut silent = false;
        for (follower, told) in told {
            let listing = match told {
                Told::Listed(listing) => listing,
                // What it lists is given; what it does not list is not taken for gone.
                Told::InPart(listing) => {
                    silent = true;
                    self.is_silent(study, follower.site(), pulls);
                    listing
                }
                Told::Silent(_) => {
                    silent = true;
                    self.is_silent(study, follower.site(), pulls);
                    continue;
                }
            };
            // The first who has an instance is asked for it.
            let fresh = listing.iter().filter(|(uid, _)| !listed_anywhere.contains(*uid) && !here.contains(uid));
            let mine: BTreeSet<InstanceUid> =
                fresh.filter(|(uid, listed)| self.is_picked(uid, &listed.series)).map(|(uid, _)| uid.clone()).collect();
            let all = mine.len() == listing.len() - listing.keys().filter(|uid| here.contains(uid)).count();
            let wanted = match self.picked.series.is_empty() && self.picked.instances.is_empty() && all {
                true => Wanted { whole: true, ..Wanted::default() },
                false => Wanted { instances: mine.clone(), ..Wanted::default() },
            };
            listed_anywhere.extend(listing.keys().cloned());
            if !mine.is_empty() {
                self.awaited.extend(mine);
                self.followers.push((follower, wanted));
            }
        }
        self.known.extend(here.into_iter().cloned());
        self.known.extend(self.awaited.iter().cloned());
        if !silent {
            let gone = held.iter().filter(|held| held.pulled && !listed_anywhere.contains(&held.sop_instance));
            self.withdrawn.extend(gone.map(|held| held.instance));
        }
    }

    fn is_silent(&mut self, study: &StudyUid, site: &str, pulls: &[PullRow]) {
        let pull = pulls.iter().find(|pull| pull.peer == site);
        self.unnamed += pull.map_or(0, |pull| pull.missing);
        self.silent.push(Silent {
            site: site.to_owned(),
            study: study.clone(),
            checked: pull.and_then(|pull| pull.checked),
        });
    }

    fn is_picked(&self, instance: &InstanceUid, series: &SeriesUid) -> bool {
        let Picked { series: only, instances, .. } = &self.picked;
        (only.is_empty() || only.contains(series)) && (instances.is_empty() || instances.contains(instance))
    }

    /// Instances that are to come.
    pub fn awaited(&self) -> u64 {
        self.awaited.len() as u64
    }

    /// Begins to retrieve what is missing.
    pub fn start(&mut self) {
        for (follower, wanted) in &mut self.followers {
            follower.want(std::mem::take(wanted));
        }
    }

    /// Waits for nothing more: what has not come. The sites stop, unless others wait.
    pub fn give_up(&mut self) -> BTreeSet<InstanceUid> {
        self.followers.clear();
        std::mem::take(&mut self.awaited)
    }

    /// What became of the next instance of the request; `None` when all sites have ended. An instance that a site got meanwhile comes
    /// beside those that were awaited. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Came> {
        loop {
            if self.followers.is_empty() {
                let left = self.awaited.pop_first()?;
                return Some(Came::Lost(left, Lost::NotGiven("the pull ended before it came".into())));
            }
            let (came, at, _) = select_all(self.followers.iter_mut().map(|(it, _)| Box::pin(it.next()))).await;
            match came {
                None => drop(self.followers.swap_remove(at)),
                Some(came) => {
                    if let Some(came) = self.concerns_us(came, at) {
                        return Some(came);
                    }
                }
            }
        }
    }

    /// The same without waiting.
    pub fn try_next(&mut self) -> Option<Came> {
        for at in 0..self.followers.len() {
            while let Some(came) = self.followers[at].0.try_next() {
                if let Some(came) = self.concerns_us(came, at) {
                    return Some(came);
                }
            }
        }
        None
    }

    fn concerns_us(&mut self, came: Came, at: usize) -> Option<Came> {
        let (Came::Here(uid, _) | Came::Lost(uid, _)) = &came;
        if self.awaited.remove(uid) {
            return Some(came);
        }
        let grown = matches!(came, Came::Here(..)) && !self.known.contains(uid);
        let listed = self.followers[at].0.listed(uid);
        let picked = match listed {
            Some(listed) => self.is_picked(uid, &listed.series),
            None => self.picked.series.is_empty() && self.picked.instances.is_empty(),
        };
        if !grown || !picked {
            return None;
        }
        self.known.insert(uid.clone());
        self.grown += 1;
        Some(came)
    }
}
