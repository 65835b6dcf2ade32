//! Fetching what is missing here: asked for once, counted by what arrives, done when what was named is here, whatever the counts say (DIM-091).

use super::keys;
use super::line::{Failure, Line, Values};
use super::plan::{Listed, Move, moves};
use super::waiting::Going;
use super::{Archive, Archives, Turn};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::attributes::{Level, SERIES_INSTANCE_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID};
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dimse::{Counts, Operation, Reply, Status};
use crate::records::{RecordsError, Resource};
use futures_util::future::{join_all, select_all};
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How often what is missing is asked for before it counts as not given.
const ROUNDS: usize = 2;

/// How long what an archive says to have moved may still be on its way.
const STRAGGLING: Duration = Duration::from_secs(5);

/// How long an archive may take to say that it is done when everything is here, and to stop when it is told to.
const CONCLUDING: Duration = Duration::from_secs(10);

/// How long the judge may take over what came in other bytes.
const JUDGING: Duration = Duration::from_secs(30);

/// Instances that are named of those that did not come.
const MOST_NAMED: usize = 1000;

/// Who asks for something that is not here at all waits longer for the list of it.
const PATIENT: u32 = 5;

/// What the archives have of something, and what is done about it.
pub struct Brought {
    /// Instances that the archives hold of it, each once.
    pub listed: u64,
    /// Of those, instances that were not here when it was asked.
    pub missing: u64,
    /// Of those, some are of a series of key objects, and may be rejection notes (WEB-105).
    pub notes: bool,
    /// The fetch of those.
    pub fetching: Option<Fetching>,
    /// Archives that did not answer, or not readably: whether they hold more is not known.
    pub silent: Vec<AeTitle>,
    /// Too much is being fetched just now.
    pub busy: bool,
}

/// How a fetch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// What was asked for and is not here.
    pub missing: u64,
    /// Its names; the first 1,000.
    pub lacking: Vec<InstanceUid>,
    /// Why, where something is missing; nothing of a patient.
    pub why: String,
}

/// A fetch that goes on, whoever waits for it: from each archive what those with more of it lack.
#[derive(Clone)]
pub struct Fetching {
    going: Vec<FromOne>,
    ended: Fetched,
}

impl Fetching {
    /// Waits until something more has arrived; `None` while it goes on, else how it ended.
    pub async fn more(&mut self) -> Option<Fetched> {
        if !self.going.is_empty() {
            let (came, at, _) = select_all(self.going.iter_mut().map(|one| Box::pin(one.more()))).await;
            if let Some(fetched) = came {
                self.going.swap_remove(at);
                self.ended.add(fetched);
            }
        }
        self.going.is_empty().then(|| self.ended.clone())
    }

    /// Waits for the end.
    pub async fn end(mut self) -> Fetched {
        loop {
            if let Some(fetched) = self.more().await {
                return fetched;
            }
        }
    }
}

impl Fetched {
    fn add(&mut self, other: Self) {
        self.missing += other.missing;
        let room = MOST_NAMED.saturating_sub(self.lacking.len());
        self.lacking.extend(other.lacking.into_iter().take(room));
        if self.why.is_empty() {
            self.why = other.why;
        }
    }
}

/// The fetch from one archive.
#[derive(Clone)]
struct FromOne {
    arrivals: watch::Receiver<u64>,
    ended: watch::Receiver<Option<Fetched>>,
}

impl FromOne {
    async fn more(&mut self) -> Option<Fetched> {
        let ended = |ended: &watch::Receiver<Option<Fetched>>| ended.borrow().clone();
        if let Some(fetched) = ended(&self.ended) {
            return Some(fetched);
        }
        tokio::select! {
            biased;
            changed = self.ended.changed() => match (changed, ended(&self.ended)) {
                (_, Some(fetched)) => Some(fetched),
                (Ok(()), None) => None,
                (Err(_), None) => Some(Fetched {
                    missing: 1,
                    lacking: Vec::new(),
                    why: "the fetch was broken off".to_owned(),
                }),
            },
            Ok(()) = self.arrivals.changed() => None,
        }
    }
}

impl Archives {
    /// Asks the archives what they hold of something, and begins to fetch what is not here; of a series only the instances that are
    /// named, if any are. `held` says that something of it is here: then the answer is not waited for as long.
    pub async fn bring(
        &self,
        by: Option<&AeTitle>,
        of: &Resource,
        named: &[InstanceUid],
        held: bool,
    ) -> Result<Brought, RecordsError> {
        let archives = self.asked(by);
        let asked = archives.iter().map(|archive| {
            let within = archive.query_timeout() * if held { 1 } else { PATIENT };
            self.listed(archive, of, named, within)
        });
        let answers = join_all(asked).await;
        let mut brought =
            Brought { listed: 0, missing: 0, notes: false, fetching: None, silent: Vec::new(), busy: false };
        let mut lists: Vec<(&Arc<Archive>, Listed)> = Vec::new();
        for (archive, answer) in archives.iter().zip(answers) {
            match answer {
                Ok(listed) => {
                    if listed.in_part {
                        tracing::warn!(archive = %archive.name, "what an archive lists cannot all be read");
                        brought.silent.push(archive.name.clone());
                    }
                    lists.push((archive, listed));
                }
                Err(failure) => {
                    tracing::warn!(archive = %archive.name, reason = %failure, "an archive did not say what it holds");
                    brought.silent.push(archive.name.clone());
                }
            }
        }
        // Who has most gives it; of the others comes what it lacks.
        lists.sort_by_key(|(_, listed)| std::cmp::Reverse(listed.len()));
        let (mut covered, mut going) = (HashSet::new(), Vec::new());
        for (archive, listed) in lists {
            let own: HashSet<InstanceUid> =
                listed.instances().filter(|uid| covered.insert((*uid).clone())).cloned().collect();
            brought.listed += own.len() as u64;
            let missing = self.missing(of, &own).await?;
            brought.missing += missing.len() as u64;
            brought.notes |= missing.iter().any(|uid| listed.notes.contains(uid));
            if !missing.is_empty() {
                let one = self.begin(archive, of, listed, own);
                brought.busy |= one.is_none();
                going.extend(one);
            }
        }
        if !going.is_empty() && !brought.busy {
            let ended = Fetched { missing: 0, lacking: Vec::new(), why: String::new() };
            brought.fetching = Some(Fetching { going, ended });
        }
        Ok(brought)
    }

    /// What of these is not kept here.
    async fn missing(
        &self,
        of: &Resource,
        wanted: &HashSet<InstanceUid>,
    ) -> Result<HashSet<InstanceUid>, RecordsError> {
        let mut missing = wanted.clone();
        for kept in self.inner.records.kept_instances(of).await? {
            missing.remove(&kept);
        }
        Ok(missing)
    }

    /// Starts a fetch as a task of its own: whoever asked may go away.
    fn begin(
        &self,
        archive: &Arc<Archive>,
        of: &Resource,
        listed: Listed,
        wanted: HashSet<InstanceUid>,
    ) -> Option<FromOne> {
        let seat = Arc::clone(&self.inner.fetches).try_acquire_owned().ok()?;
        let arrivals = self.inner.book.arrivals(&archive.name, &of.study);
        let (end, ended) = watch::channel(None);
        let (archives, archive, of) = (self.clone(), Arc::clone(archive), of.clone());
        tokio::spawn(async move {
            let turn = archives.turn(&archive.name, &of.study);
            let _turn = turn.lock().await;
            let fetched = archives.fetch(&archive, &of, &listed, &wanted).await;
            tracing::info!(archive = %archive.name, study = %of.study, listed = wanted.len(), missing = fetched.missing,
                reason = fetched.why, "a fetch from an archive ended");
            end.send_replace(Some(fetched));
            drop(seat);
        });
        Some(FromOne { arrivals, ended })
    }

    /// One request at a time goes to an archive for one study.
    fn turn(&self, archive: &AeTitle, study: &StudyUid) -> Arc<Turn> {
        let mut turns = self.inner.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let key = (archive.clone(), study.clone());
        if let Some(turn) = turns.get(&key).and_then(std::sync::Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::new(()));
        turns.insert(key, Arc::downgrade(&turn));
        turn
    }

    /// Asks for what is missing until it is here, twice at most. What another request has brought meanwhile is not asked for.
    async fn fetch(&self, archive: &Archive, of: &Resource, listed: &Listed, wanted: &HashSet<InstanceUid>) -> Fetched {
        let mut why = String::new();
        let fetched = self.rounds(archive, of, (listed, wanted), &mut why).await;
        let missing = match fetched {
            Ok(()) => self.missing(of, wanted).await,
            Err(error) => Err(error),
        };
        match missing {
            Ok(missing) if missing.is_empty() => Fetched { missing: 0, lacking: Vec::new(), why: String::new() },
            Ok(missing) => {
                let count = missing.len() as u64;
                Fetched { missing: count, lacking: missing.into_iter().take(MOST_NAMED).collect(), why }
            }
            Err(error) => Fetched { missing: wanted.len() as u64, lacking: Vec::new(), why: error.to_string() },
        }
    }

    async fn rounds(
        &self,
        archive: &Archive,
        of: &Resource,
        (listed, wanted): (&Listed, &HashSet<InstanceUid>),
        why: &mut String,
    ) -> Result<(), RecordsError> {
        for _ in 0..ROUNDS {
            let missing = self.missing(of, wanted).await?;
            if missing.is_empty() {
                return Ok(());
            }
            let planned = moves(listed, &missing);
            let going = self.inner.book.begin(&archive.name, &of.study, missing);
            let arrivals = self.inner.book.arrivals(&archive.name, &of.study);
            *why = match asked(archive, &of.study, planned, &going, arrivals).await {
                Ok(said) => said,
                Err(failure) => failure.to_string(),
            };
            let all_came = going.open() == 0;
            drop(going);
            self.judged(&of.study).await?;
            if all_came {
                // What came and is not here is held for a person; to ask for it again would change nothing.
                "what came is held as a conflict".clone_into(why);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits until what an archive gave in other bytes than we had was judged: archives write anew what they are sent, and what
    /// says the same comes in place of what was purged here. Rejection notes that came are heeded by then (WEB-105).
    async fn judged(&self, study: &StudyUid) -> Result<(), RecordsError> {
        let end = Instant::now() + JUDGING;
        while Instant::now() < end && self.inner.records.awaits_judgement(study).await? {
            sleep(JUDGING / 150).await;
        }
        Ok(())
    }
}

/// Asks for each of the moves in turn; what the archive said of the last.
async fn asked(
    archive: &Archive,
    study: &StudyUid,
    planned: Vec<Move>,
    going: &Going<'_>,
    mut arrivals: watch::Receiver<u64>,
) -> Result<String, Failure> {
    // The semaphore is never closed.
    let _seat = archive.moves.acquire().await.ok();
    let mut line = Line::open(archive, Operation::Move).await?;
    let mut said = String::new();
    for one in planned {
        said = moved(archive, &mut line, &identifier(study, &one), going, &mut arrivals).await?;
    }
    line.close().await;
    // They come over another association, and the last may be behind the answer.
    let straggling = async { while going.open() > 0 && arrivals.changed().await.is_ok() {} };
    let _ = timeout(STRAGGLING, straggling).await;
    Ok(said)
}

fn identifier(study: &StudyUid, one: &Move) -> Values {
    let level = match (&one.series, one.instances.is_empty()) {
        (None, _) => Level::Study,
        (Some(_), true) => Level::Series,
        (Some(_), false) => Level::Instance,
    };
    let mut keys: Values =
        BTreeMap::from([(keys::LEVEL, keys::name(level).to_owned()), (STUDY_INSTANCE_UID, study.to_string())]);
    if let Some(series) = &one.series {
        keys.insert(SERIES_INSTANCE_UID, series.to_string());
    }
    if !one.instances.is_empty() {
        let uids: Vec<&str> = one.instances.iter().map(InstanceUid::as_str).collect();
        keys.insert(SOP_INSTANCE_UID, uids.join("\\"));
    }
    keys
}

/// One move: until the archive is done, or nothing comes any more, or everything is here. What it counts says only that it is
/// at work; what is done, the arrivals say.
async fn moved(
    archive: &Archive,
    line: &mut Line,
    keys: &Values,
    going: &Going<'_>,
    arrivals: &mut watch::Receiver<u64>,
) -> Result<String, Failure> {
    let patience = archive.settings.fetch_timeout;
    let cancel = CancellationToken::new();
    let (signs, mut sign) = watch::channel(Counts::default());
    let each = move |reply: Reply| {
        signs.send_if_modified(|counts| std::mem::replace(counts, reply.counts) != reply.counts);
        ControlFlow::Continue(())
    };
    let mut asking = pin!(line.r#move(archive, keys, &cancel, each));
    let mut until = Instant::now() + patience;
    let mut signs_end = false;
    let last = loop {
        if going.open() == 0 {
            // Everything is here: whether the archive still has something to say decides nothing.
            until = until.min(Instant::now() + CONCLUDING);
        }
        tokio::select! {
            last = &mut asking => break last?,
            Ok(()) = arrivals.changed() => until = Instant::now() + patience,
            changed = sign.changed(), if !signs_end => match changed {
                Ok(()) => until = Instant::now() + patience,
                Err(_) => signs_end = true,
            },
            () = sleep_until(until) => {
                cancel.cancel();
                let ended = timeout(CONCLUDING, &mut asking).await.is_ok_and(|last| last.is_ok());
                let late = Failure::Late(patience);
                return if ended && going.open() == 0 { Ok(String::new()) } else { Err(late) };
            }
        }
    };
    Ok(match last.status {
        Status::SUCCESS => "it says that it has moved everything".to_owned(),
        status => format!("it answered {status}"),
    })
}
