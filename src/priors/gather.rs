//! What a node asks to be given, gathered from all sites that have some of it: who has what, what is missing here, and one stream of
//! what comes ("Behaviour that decides safety", below the study and freshness; DIM-089).

mod unsaid;

pub use unsaid::{Beyond, Silent, Why};

use super::Site;
use super::fetch::Fetcher;
use super::marker::is_marker;
use super::watch::{Came, Follower, Lost, Told, Wanted};
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::dicomweb::client::InPart;
use crate::records::{HeldInstance, Holder, InstanceId, Picked, PullRow, RecordsError, Resource};
use futures_util::future::{join_all, select_all};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

/// Studies of one request that other sites are asked for; the rest of a longer list is given as it is here, and the answer says so.
const MOST_STUDIES: usize = 64;

/// Studies of one request that sites are asked for at once: each asks its own records and archives for it.
const AT_ONCE: usize = 16;

/// What is known here of a study that is asked for.
struct Sought<'a> {
    study: &'a StudyUid,
    held: Vec<HeldInstance>,
    pulls: Vec<PullRow>,
    holders: Vec<Holder>,
    /// It came from nodes of this site alone. Only looked up where a site does not say what it has.
    ours: bool,
}

/// What the sites said of a study.
struct Answers<'a> {
    of: Sought<'a>,
    told: Vec<(Follower, Told)>,
    /// Sites that were not asked.
    unasked: Vec<Site>,
}

/// Where an instance is that is to come.
struct Place {
    study: Arc<StudyUid>,
    series: SeriesUid,
    /// The site that is asked for it.
    site: Arc<str>,
    /// Sites that list it too, and are asked if that one does not give it.
    others: Vec<Arc<str>>,
}

/// Where the parts of a request are that are not here.
#[derive(Default)]
pub struct Gathering {
    followers: Vec<(Follower, Wanted)>,
    /// What is to come and has not.
    awaited: BTreeSet<InstanceUid>,
    /// Where each is that was to come.
    places: BTreeMap<InstanceUid, Place>,
    /// Who asks other sites, and for whom.
    asks: Option<(Fetcher, OnBehalf)>,
    /// What is here, was awaited, or came already: nothing is given twice.
    known: BTreeSet<InstanceUid>,
    picked: Picked,
    /// Copies here that no site lists any more, which is why they are not given.
    pub withdrawn: BTreeSet<InstanceId>,
    /// Copies that are not given as they are, since their site files them under another patient by now, and that no site has given again
    /// as they are so far.
    pub stale: BTreeSet<InstanceUid>,
    /// Sites that did not say what they have, or not all.
    pub silent: Vec<Silent>,
    /// Instances that were named, are not here, and that no site which answers has, where one does not.
    pub lacking: BTreeSet<InstanceUid>,
    /// Whether any site was asked.
    pub asked: bool,
    /// Instances that came beside those that were awaited, since this was last looked at.
    pub grown: u64,
    /// Instances that are known to be missing, and whose names are not known.
    pub unnamed: u64,
    /// Those of them that came all the same, since this was last looked at.
    pub found: u64,
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
        let mut gathering =
            Gathering { picked: picked.clone(), asks: Some((self.clone(), behalf.clone())), ..Gathering::default() };
        let (mut asked, mut questions) = (0, Vec::new());
        for study in picked.studies.iter().filter(|study| !is_marker(study)) {
            let of = self.sought(study).await?;
            let mut sites = self.whom(&of);
            if let Some(named) = from {
                sites = self.priors().sites().site(named).cloned().into_iter().collect();
            }
            if !of.pulls.is_empty() {
                self.records().pull_used(study, SystemTime::now()).await?;
            }
            asked += usize::from(!sites.is_empty());
            let unasked = if asked > MOST_STUDIES { std::mem::take(&mut sites) } else { Vec::new() };
            questions.push(self.answers(of, sites, unasked, behalf).boxed());
        }
        // A silent site costs its time once for so many studies, not once for each.
        let mut answers = stream::iter(questions).buffered(AT_ONCE);
        while let Some(Answers { of, told, unasked }) = answers.try_next().await? {
            gathering.add(&of, told, &unasked);
        }
        if asked > MOST_STUDIES {
            tracing::warn!(studies = asked, "a request names more studies than other sites are asked for at once");
        }
        Ok(gathering)
    }

    /// What the sites say of a study.
    async fn answers<'a>(
        &self,
        mut of: Sought<'a>,
        sites: Vec<Site>,
        unasked: Vec<Site>,
        behalf: &OnBehalf,
    ) -> Result<Answers<'a>, RecordsError> {
        let mut followers: Vec<Follower> = sites.iter().map(|site| self.join(site, of.study, behalf)).collect();
        let told = join_all(followers.iter_mut().map(Follower::told)).await;
        if !unasked.is_empty() || told.iter().any(|told| !matches!(told, Told::Listed(_))) {
            of.ours = self.is_ours(&of).await?;
        }
        Ok(Answers { of, told: followers.into_iter().zip(told).collect(), unasked })
    }

    async fn sought<'a>(&self, study: &'a StudyUid) -> Result<Sought<'a>, RecordsError> {
        let held = self.records().held_of(study).await?;
        let pulls = self.records().pulls(Some(study.clone())).await?;
        let holders = self.records().holders(study).await?;
        Ok(Sought { study, held, pulls, holders, ours: false })
    }

    fn whom(&self, of: &Sought<'_>) -> Vec<Site> {
        let sites = self.priors().sites();
        let pulls = of.pulls.iter().map(|pull| &pull.peer);
        let names: BTreeSet<&String> = pulls.chain(of.holders.iter().map(|holder| &holder.peer)).collect();
        let known: Vec<Site> = sites.sites.iter().filter(|site| names.contains(&site.name)).cloned().collect();
        match (known.is_empty(), of.held.iter().any(|held| !held.pulled)) {
            (false, _) => known,
            (true, true) => Vec::new(),
            (true, false) => sites.sites.clone(),
        }
    }

    /// Whether what is here of a study came from nodes of this site, and no copy of it from elsewhere.
    async fn is_ours(&self, of: &Sought<'_>) -> Result<bool, RecordsError> {
        Ok(!of.held.is_empty() && !self.records().came_from_elsewhere(of.study).await?)
    }
}

impl Sought<'_> {
    /// What a site that does not say may have of what was picked, beyond so many instances that are here or come.
    /// `counted` is how many it has of the study, if that was said just now.
    fn beyond(&self, site: &str, picked: &Picked, have: u64, counted: Option<u64>) -> Beyond {
        let nothing = if self.ours { Beyond::Ours } else { Beyond::Nothing };
        if !picked.instances.is_empty() {
            // They are named: it is known which of them are here.
            return nothing;
        }
        let known = self.holders.iter().find(|holder| holder.peer == site).and_then(|holder| holder.instances);
        let known = counted.or(known);
        let missing = self.pulls.iter().find(|pull| pull.peer == site).map_or(0, |pull| pull.missing);
        match known {
            Some(known) if known <= have => nothing,
            // That our nodes sent it says nothing of what a site once listed and is not here.
            None if self.ours => Beyond::Ours,
            // How many of them are in the series that are asked for nobody knows.
            _ if !picked.series.is_empty() => Beyond::Unknown,
            Some(known) => Beyond::Known(known - have),
            None if missing > 0 => Beyond::Known(missing),
            None => Beyond::Unknown,
        }
    }
}

impl Gathering {
    fn add(&mut self, of: &Sought<'_>, told: Vec<(Follower, Told)>, unasked: &[Site]) {
        let stale = self.stale_of(of, &told);
        let here: BTreeSet<&InstanceUid> =
            of.held.iter().map(|held| &held.sop_instance).filter(|uid| !stale.contains(*uid)).collect();
        let mut listed_anywhere: BTreeSet<InstanceUid> = BTreeSet::new();
        let mut silent: Vec<(String, Why, Option<u64>)> =
            unasked.iter().map(|site| (site.name.clone(), Why::NotAsked, None)).collect();
        let study = Arc::new(of.study.clone());
        self.asked |= !told.is_empty();
        for (follower, told) in told {
            let listing = match told {
                Told::Listed(listing) => listing,
                // What it lists is given; what it does not list is not taken for gone.
                Told::InPart(listing, why) => {
                    let (why, counted) = match why {
                        InPart::Said => (Why::InPart, None),
                        InPart::Unreadable => (Why::Unreadable, None),
                        InPart::Fewer(counted) => (Why::Fewer, Some(counted)),
                        InPart::Unfiled => (Why::Unfiled, None),
                    };
                    silent.push((follower.site().to_owned(), why, counted));
                    listing
                }
                Told::Silent(_) => {
                    silent.push((follower.site().to_owned(), Why::NotAnswering, None));
                    continue;
                }
            };
            let site: Arc<str> = follower.site().into();
            // The first who has an instance is asked for it.
            let fresh = listing.iter().filter(|(uid, _)| !listed_anywhere.contains(*uid) && !here.contains(uid));
            let mine: BTreeMap<InstanceUid, Place> = fresh
                .filter(|(uid, listed)| self.is_picked(uid, &listed.series))
                .map(|(uid, listed)| {
                    let (study, site) = (Arc::clone(&study), Arc::clone(&site));
                    (uid.clone(), Place { study, series: listed.series.clone(), site, others: Vec::new() })
                })
                .collect();
            // The next is asked for what those before it do not give.
            for uid in listing.keys().filter(|uid| listed_anywhere.contains(*uid)) {
                if let Some(place) = self.places.get_mut(uid).filter(|place| place.study == study) {
                    place.others.push(Arc::clone(&site));
                }
            }
            let all = mine.len() == listing.len() - listing.keys().filter(|uid| here.contains(uid)).count();
            let wanted = match self.picked.series.is_empty() && self.picked.instances.is_empty() && all {
                true => Wanted { whole: true, ..Wanted::default() },
                false => Wanted { instances: mine.keys().cloned().collect(), ..Wanted::default() },
            };
            listed_anywhere.extend(listing.keys().cloned());
            if !mine.is_empty() {
                self.awaited.extend(mine.keys().cloned());
                self.places.extend(mine);
                self.followers.push((follower, wanted));
            }
        }
        let have = here.len() + listed_anywhere.iter().filter(|uid| !here.contains(*uid)).count();
        self.known.extend(here.iter().map(|uid| (*uid).clone()));
        self.known.extend(self.awaited.iter().cloned());
        if silent.is_empty() {
            let gone = of.held.iter().filter(|held| held.pulled && !listed_anywhere.contains(&held.sop_instance));
            self.withdrawn.extend(gone.map(|held| held.instance));
        }
        // They are given once the site has given them again.
        let again = of.held.iter().filter(|held| held.pulled && stale.contains(&held.sop_instance));
        self.withdrawn.extend(again.map(|held| held.instance));
        self.stale.extend(stale.iter().cloned());
        self.are_silent(of, silent, have as u64);
    }

    /// What was pulled of a study under another patient than its site files it now: what that site lists of it, and the request wants, is
    /// retrieved again. What a node or a peer sent here is its own word.
    fn stale_of(&self, of: &Sought<'_>, told: &[(Follower, Told)]) -> BTreeSet<InstanceUid> {
        let refiled = told.iter().filter(|(follower, _)| follower.is_refiled());
        let listings: Vec<_> = refiled
            .filter_map(|(_, told)| match told {
                Told::Listed(listing) | Told::InPart(listing, _) => Some(listing),
                Told::Silent(_) => None,
            })
            .collect();
        let listed = |uid: &InstanceUid| listings.iter().find_map(|listing| listing.get(uid));
        let is_stale = |uid: &&InstanceUid| listed(uid).is_some_and(|listed| self.is_picked(uid, &listed.series));
        let pulled = of.held.iter().filter(|held| held.pulled).map(|held| &held.sop_instance);
        pulled.filter(is_stale).cloned().collect()
    }

    fn is_picked(&self, instance: &InstanceUid, series: &SeriesUid) -> bool {
        let Picked { series: only, instances, .. } = &self.picked;
        (only.is_empty() || only.contains(series)) && (instances.is_empty() || instances.contains(instance))
    }

    /// Instances that are to come.
    pub fn awaited(&self) -> u64 {
        self.awaited.len() as u64
    }

    /// An instance that was to come, as a part of its study and series.
    pub fn resource(&self, instance: &InstanceUid) -> Option<Resource> {
        let Place { study, series, .. } = self.places.get(instance)?;
        let (study, series) = (StudyUid::clone(study), Some(series.clone()));
        Some(Resource { study, series, instance: Some(instance.clone()) })
    }

    /// Instances that are known to be at sites that do not answer, and are not here.
    pub fn missing(&self) -> u64 {
        self.unnamed + self.lacking.len() as u64
    }

    /// Instances that were named, are not here and not to come, and of which nobody is known to have them.
    pub fn nowhere(&self) -> impl Iterator<Item = &InstanceUid> {
        let named = self.picked.instances.iter();
        named.filter(|uid| !self.known.contains(*uid) && !self.lacking.contains(*uid))
    }

    /// These are here by now, and are given as what is here: they are not awaited any more.
    pub fn are_here(&mut self, here: &BTreeSet<InstanceUid>) {
        let new = here.iter().filter(|uid| !self.known.contains(*uid) && !self.awaited.contains(*uid));
        self.unnamed = self.unnamed.saturating_sub(new.count() as u64);
        self.awaited.retain(|uid| !here.contains(uid));
        self.lacking.retain(|uid| !here.contains(uid));
        self.known.extend(here.iter().cloned());
        if self.awaited.is_empty() {
            // Who follows and wants nothing would keep a pull from its end.
            self.followers.clear();
        }
    }

    /// Whether an instance is to come.
    pub fn awaits(&self, instance: &InstanceUid) -> bool {
        self.awaited.contains(instance)
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
                None => {
                    let (ended, _) = self.followers.swap_remove(at);
                    self.ask_others_than(&ended);
                }
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
        let uid = match &came {
            Came::Here(uid, _) => {
                self.stale.remove(uid);
                uid
            }
            // What this site could not take from one it cannot take from another.
            Came::Lost(uid, why) => {
                let is_theirs = !matches!(why, Lost::NotTaken(_));
                let passed_on = !self.is_asked_of(uid, at) || (is_theirs && self.ask_next(uid));
                return (!passed_on && self.awaited.remove(uid)).then_some(came);
            }
        };
        if self.awaited.remove(uid) {
            return Some(came);
        }
        let grown = !self.known.contains(uid);
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
        self.is_found(at);
        Some(came)
    }

    /// Whether an instance is asked of the site that a follower follows; others may have asked another in vain.
    fn is_asked_of(&self, instance: &InstanceUid, at: usize) -> bool {
        let (Some(place), Some((follower, _))) = (self.places.get(instance), self.followers.get(at)) else {
            return false;
        };
        *place.site == *follower.site() && *place.study == *follower.study()
    }

    /// Asks the next site that lists an instance for it; false if there is none.
    fn ask_next(&mut self, instance: &InstanceUid) -> bool {
        let (Some((fetcher, behalf)), Some(place)) = (&self.asks, self.places.get_mut(instance)) else { return false };
        let sites = fetcher.priors().sites();
        while !place.others.is_empty() {
            place.site = place.others.remove(0);
            let Some(site) = sites.site(&place.site) else { continue };
            let wanted = || Wanted { instances: BTreeSet::from([instance.clone()]), ..Wanted::default() };
            let is_theirs = |follower: &Follower| *follower.site() == *place.site && *follower.study() == *place.study;
            let mut known = self.followers.iter_mut().filter(|(follower, _)| is_theirs(follower));
            if !known.any(|(follower, _)| follower.want(wanted())) {
                let mut follower = fetcher.join(site, &place.study, behalf);
                follower.want(wanted());
                self.followers.push((follower, Wanted::default()));
            }
            return true;
        }
        false
    }

    /// A pull has ended: what did not come of it is asked of the next sites.
    fn ask_others_than(&mut self, ended: &Follower) {
        let at = self.followers.iter().any(|(other, _)| other.site() == ended.site() && other.study() == ended.study());
        let is_theirs = |place: &Place| *place.site == *ended.site() && *place.study == *ended.study();
        let left = |uid: &&InstanceUid| !at && self.places.get(*uid).is_some_and(is_theirs);
        let left: Vec<InstanceUid> = self.awaited.iter().filter(left).cloned().collect();
        for instance in left {
            self.ask_next(&instance);
        }
    }
}
