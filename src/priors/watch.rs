//! A pull that several follow: what the site lists, what has come, what will not come, and how it ended (DIM-083, UIX-12).

use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::dicomweb::client::{InPart, Listed, Listing};
use crate::records::InstanceId;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What is wanted of a study.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// All of it.
    pub whole: bool,
    /// These series.
    pub series: BTreeSet<SeriesUid>,
    /// These instances.
    pub instances: BTreeSet<InstanceUid>,
}

impl Wanted {
    /// Whether an instance is wanted.
    pub fn covers(&self, instance: &InstanceUid, series: &SeriesUid) -> bool {
        self.whole || self.series.contains(series) || self.instances.contains(instance)
    }

    fn is_nothing(&self) -> bool {
        !self.whole && self.series.is_empty() && self.instances.is_empty()
    }

    fn widen(&mut self, more: Wanted) {
        self.whole |= more.whole;
        self.series.extend(more.series);
        self.instances.extend(more.instances);
    }
}

/// What a site said when it was asked what it has of a study.
#[derive(Debug, Clone)]
pub enum Told {
    /// These instances; none if it has no such study.
    Listed(Arc<Listing>),
    /// These instances, and it may have more: an archive of that site does not answer it, not all that it lists can be read, or it lists fewer
    /// than it has.
    InPart(Arc<Listing>, InPart),
    /// Nothing, and why, for people.
    Silent(Arc<str>),
}

/// Why an instance does not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The site has it no longer (FLT-083).
    Withdrawn,
    /// It came, and cannot be used.
    Unusable(String),
    /// The site did not give it in time.
    NotGiven(String),
    /// The site refuses to give it.
    Refused {
        /// The status of its answer.
        status: u16,
        /// The site.
        site: String,
    },
    /// This site could not take it.
    NotTaken(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Withdrawn => f.write_str("withdrawn: the site has it no longer"),
            Self::Unusable(why) => write!(f, "what came of it cannot be used: {why}"),
            Self::NotGiven(why) => write!(f, "the site did not give it: {why}"),
            // Where people read it there is room for 64 characters.
            Self::Refused { status, site } => write!(f, "{status} from {site}: that site refuses to give it"),
            Self::NotTaken(why) => write!(f, "it could not be stored here: {why}"),
        }
    }
}

/// What became of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It is durable here.
    Here(InstanceUid, InstanceId),
    /// It does not come.
    Lost(InstanceUid, Lost),
}

/// How far a pull has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Instances that are to come.
    pub awaited: u64,
    /// Instances that came.
    pub came: u64,
    /// Instances that will not come.
    pub lost: u64,
    /// Bytes of those that came.
    pub bytes: u64,
    /// Since it began.
    pub elapsed: Duration,
    /// How it ended, if it has.
    pub ended: Option<&'static str>,
}

impl Progress {
    /// How long the rest will take if it goes on as it went; none before anything came.
    pub fn left(&self) -> Option<Duration> {
        let rest = self.awaited.saturating_sub(self.came + self.lost);
        let each = self.elapsed.checked_div(u32::try_from(self.came).ok()?)?;
        Some(each.saturating_mul(u32::try_from(rest).ok()?))
    }
}

/// So many of those for whom one pull is are named.
const MOST_NAMED: usize = 16;

/// What the one who pulls and those who follow share.
pub(super) struct Pull {
    pub(super) site: String,
    pub(super) study: StudyUid,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

struct State {
    told: Option<Told>,
    /// For whom it is, each once; first whom the site was told.
    behalves: Vec<OnBehalf>,
    /// The site files the study under another patient than the copies here.
    refiled: bool,
    wanted: Wanted,
    /// Rises whenever more is wanted.
    widened: u64,
    log: Vec<Came>,
    progress: Progress,
    began: Instant,
    followers: usize,
    /// Followers that have not said yet what they want.
    undecided: usize,
}

/// When a pull may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Now.
    Now,
    /// If nobody follows it.
    Abandoned,
    /// If nothing more was wanted since this was so often wanted, and nobody is about to want more.
    Wanted(u64),
}

impl Pull {
    /// A pull that begins, and its first follower.
    pub(super) fn begin(site: String, study: StudyUid) -> (Arc<Self>, Follower) {
        let state = State {
            told: None,
            behalves: Vec::new(),
            refiled: false,
            wanted: Wanted::default(),
            widened: 0,
            log: Vec::new(),
            progress: Progress::default(),
            began: Instant::now(),
            followers: 1,
            undecided: 1,
        };
        let pull = Arc::new(Self { site, study, state: Mutex::new(state), changed: watch::Sender::new(()) });
        let follower = pull.follower();
        (pull, follower)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more follower; none once it has ended.
    pub(super) fn follow(self: &Arc<Self>) -> Option<Follower> {
        let mut state = self.state();
        if state.progress.ended.is_some() {
            return None;
        }
        state.followers += 1;
        state.undecided += 1;
        Some(self.follower())
    }

    fn follower(self: &Arc<Self>) -> Follower {
        Follower { pull: Arc::clone(self), at: 0, changed: self.changed.subscribe(), decided: false }
    }

    /// For whom it is, first whom the site was told.
    pub(super) fn behalves(&self) -> Vec<OnBehalf> {
        self.state().behalves.clone()
    }

    /// Nobody waits for it any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.state().followers == 0
    }

    /// Notes, before anything is told, that the site files the study under another patient than the copies here.
    pub(super) fn refile(&self) {
        self.state().refiled = true;
    }

    /// Whether that was noted.
    pub(super) fn is_refiled(&self) -> bool {
        self.state().refiled
    }

    pub(super) fn tell(&self, told: Told) {
        self.state().told = Some(told);
        self.changed.send_replace(());
    }

    pub(super) fn note(&self, came: Came, bytes: u64) {
        let mut state = self.state();
        match came {
            Came::Here(..) => state.progress.came += 1,
            Came::Lost(..) => state.progress.lost += 1,
        }
        state.progress.bytes += bytes;
        state.log.push(came);
        drop(state);
        self.changed.send_replace(());
    }

    /// So many more are to come.
    pub(super) fn awaits(&self, more: u64) {
        self.state().progress.awaited += more;
    }

    /// What is wanted, and how often more was wanted so far.
    pub(super) fn wanted(&self) -> (Wanted, u64) {
        let state = self.state();
        (state.wanted.clone(), state.widened)
    }

    /// Waits until something is wanted; false if nobody follows any more.
    pub(super) async fn is_wanted(&self) -> bool {
        let mut changed = self.changed.subscribe();
        loop {
            {
                let state = self.state();
                if state.followers == 0 || !state.wanted.is_nothing() {
                    return state.followers > 0;
                }
            }
            if changed.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Waits until everybody who follows has said what is wanted.
    pub(super) async fn decided(&self) {
        let mut changed = self.changed.subscribe();
        while self.state().undecided > 0 {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) fn progress(&self) -> Progress {
        let state = self.state();
        Progress { elapsed: state.began.elapsed(), ..state.progress }
    }

    /// Ends it, if it may; whether it has ended. Who joins afterwards begins a new one, so that nobody follows what has ended unawares.
    pub(super) fn end(&self, how: &'static str, ending: Ending) -> bool {
        let mut state = self.state();
        let may = match ending {
            Ending::Now => true,
            Ending::Abandoned => state.followers == 0,
            Ending::Wanted(then) => then == state.widened && state.undecided == 0,
        };
        if !may {
            return false;
        }
        state.progress.ended = Some(how);
        state.progress.elapsed = state.began.elapsed();
        drop(state);
        self.changed.send_replace(());
        true
    }
}

/// Follows one pull. When the last follower is dropped, the pull ends where it is; what has come stays.
pub struct Follower {
    pull: Arc<Pull>,
    at: usize,
    changed: watch::Receiver<()>,
    /// It has said what it wants.
    decided: bool,
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.pull.state();
        state.followers -= 1;
        state.undecided -= usize::from(!self.decided);
        drop(state);
        self.pull.changed.send_replace(());
    }
}

impl Follower {
    /// The site that is pulled from.
    pub fn site(&self) -> &str {
        &self.pull.site
    }

    /// The study.
    pub fn study(&self) -> &StudyUid {
        &self.pull.study
    }

    /// Notes for whom it is followed, at most sixteen of each pull, each once.
    pub(super) fn serves(&self, behalf: &OnBehalf) {
        let mut state = self.pull.state();
        if state.behalves.len() < MOST_NAMED && !state.behalves.contains(behalf) {
            state.behalves.push(behalf.clone());
        }
    }

    /// Whether the site files the study under another patient than the copies here: then it is retrieved again.
    pub fn is_refiled(&self) -> bool {
        self.pull.is_refiled()
    }

    /// Waits for what the site says that it has.
    pub async fn told(&mut self) -> Told {
        loop {
            self.changed.borrow_and_update();
            if let Some(told) = self.pull.state().told.clone() {
                return told;
            }
            if self.pull.progress().ended.is_some() || self.changed.changed().await.is_err() {
                return Told::Silent("the pull ended early".into());
            }
        }
    }

    /// Wants more of the study; false if the pull has ended, so that nothing more comes of it.
    pub fn want(&mut self, wanted: Wanted) -> bool {
        let mut state = self.pull.state();
        if state.progress.ended.is_some() {
            return false;
        }
        state.wanted.widen(wanted);
        state.widened += 1;
        state.undecided -= usize::from(!std::mem::replace(&mut self.decided, true));
        drop(state);
        self.pull.changed.send_replace(());
        true
    }

    /// What became of the next instance, whoever wanted it; `None` at the end. Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Option<Came> {
        loop {
            self.changed.borrow_and_update();
            if let Some(came) = self.try_next() {
                return Some(came);
            }
            if self.pull.progress().ended.is_some() {
                // What came between the two looks.
                return self.try_next();
            }
            self.changed.changed().await.ok()?;
        }
    }

    /// The same without waiting.
    pub fn try_next(&mut self) -> Option<Came> {
        let came = self.pull.state().log.get(self.at).cloned()?;
        self.at += 1;
        Some(came)
    }

    /// The series and class of an instance that the site lists.
    pub fn listed(&self, instance: &InstanceUid) -> Option<Listed> {
        match &self.pull.state().told {
            Some(Told::Listed(listing) | Told::InPart(listing, _)) => listing.get(instance).cloned(),
            _ => None,
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.pull.progress()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn uid(n: u32) -> InstanceUid {
        InstanceUid::parse(&format!("1.2.{n}")).unwrap()
    }

    fn pull() -> (Arc<Pull>, Follower) {
        Pull::begin("b".into(), StudyUid::parse("1.2").unwrap())
    }

    /// UIX-12: each follower sees everything once, whenever it begins to look, and the end.
    #[tokio::test]
    async fn every_follower_sees_everything_once() {
        let (pull, mut early) = pull();
        pull.note(Came::Here(uid(1), InstanceId(1)), 10);
        let mut late = pull.follow().unwrap();
        pull.note(Came::Lost(uid(2), Lost::Withdrawn), 0);
        assert!(pull.end("in part", Ending::Now));
        for follower in [&mut early, &mut late] {
            assert_eq!(follower.next().await, Some(Came::Here(uid(1), InstanceId(1))));
            assert_eq!(follower.next().await, Some(Came::Lost(uid(2), Lost::Withdrawn)));
            assert_eq!(follower.next().await, None);
        }
        let Progress { came, lost, bytes, ended, .. } = late.progress();
        assert_eq!((came, lost, bytes, ended), (1, 1, 10, Some("in part")));
        assert!(pull.follow().is_none(), "nobody joins what has ended");
    }

    #[tokio::test]
    async fn it_ends_when_nobody_follows_and_not_while_more_is_wanted() {
        let (pull, mut one) = pull();
        let mut two = pull.follow().unwrap();
        one.want(Wanted { whole: true, ..Wanted::default() });
        assert!(pull.is_wanted().await);
        let (_, widened) = pull.wanted();
        assert!(!pull.end("done", Ending::Wanted(widened)), "somebody has not said yet what is wanted");
        two.want(Wanted { instances: [uid(1)].into(), ..Wanted::default() });
        assert!(!pull.end("done", Ending::Wanted(widened)), "somebody has wanted more since");
        pull.decided().await;
        drop(one);
        assert!(!pull.is_abandoned());
        drop(two);
        assert!(pull.is_abandoned() && !pull.is_wanted().await);
        // Somebody joins between the look and the end.
        let three = pull.follow().unwrap();
        assert!(!pull.end("stopped", Ending::Abandoned), "whoever has joined is not left with nothing");
        drop(three);
        pull.decided().await;
        assert!(pull.end("stopped", Ending::Abandoned) && pull.follow().is_none());
    }

    /// SEC-023: each for whom a pull is is named once, first whom the site was told, and no more than sixteen.
    #[test]
    fn for_whom_a_pull_is_is_kept_with_it() {
        let (pull, one) = pull();
        let two = pull.follow().unwrap();
        let behalf = |n: u32| OnBehalf { caller: format!("user {n}"), ..OnBehalf::default() };
        [(&one, 1), (&two, 2), (&two, 1)].into_iter().for_each(|(follower, n)| follower.serves(&behalf(n)));
        assert_eq!(pull.behalves(), [behalf(1), behalf(2)]);
        (0..30).for_each(|n| two.serves(&behalf(n)));
        assert_eq!((pull.behalves().len(), pull.behalves()[0].clone()), (16, behalf(1)));
    }

    #[test]
    fn the_rest_takes_as_long_as_what_came() {
        let at =
            |came, lost| Progress { awaited: 10, came, lost, elapsed: Duration::from_secs(8), ..Progress::default() };
        assert_eq!(at(0, 0).left(), None);
        assert_eq!(at(4, 0).left(), Some(Duration::from_secs(12)));
        assert_eq!(at(4, 2).left(), Some(Duration::from_secs(8)));
    }
}
