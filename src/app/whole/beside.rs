//! The reference model beside the real records: it takes each step that was committed, in their order, and must come to the same.

use super::contents;
use super::plan::FROM;
use crate::ledger::transfer::TransferId;
use crate::peers::{Origin, Verify};
use crate::records::tests::model::picture::{picture, picture_of};
use crate::records::tests::model::reference::{Bytes, Coming, Model, Time, Version};
use crate::records::tests::model::{how, micros};
use crate::records::tests::support::{Committed, drain};
use crate::records::{Arrival, Batch, BlobId, BlobRef, InstanceId, Kept, Recorded, Records, RecordsOptions};
use crate::store::Place;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

/// The model, and what else is known of the truth.
pub(super) struct Beside {
    pub(super) model: Model,
    /// Generations of which a byte was changed.
    pub(super) damaged: BTreeSet<usize>,
    /// What the records made of each arrival that they took.
    pub(super) taken: BTreeMap<u32, &'static str>,
    /// Every place that a row named at any time.
    pub(super) named: HashSet<Place>,
    pub(super) wrong: Vec<String>,
    /// Commits that the model has followed.
    pub(super) commits: usize,
    /// Blobs that were moved.
    pub(super) moved: usize,
    /// What there was in the histories.
    pub(super) seen: BTreeSet<String>,
}

/// Answers a question of records that are kept inline, while nothing else goes on.
pub(super) fn here<T>(question: impl Future<Output = T>) -> T {
    let (mut question, mut context) = (pin!(question), Context::from_waker(Waker::noop()));
    for _ in 0..1_000_000 {
        if let Poll::Ready(answer) = question.as_mut().poll(&mut context) {
            return answer;
        }
    }
    panic!("a question that waits for somebody")
}

/// The number that the model has for a row.
fn back(number: i64) -> usize {
    number as usize - 1
}

impl Beside {
    pub(super) fn new(options: RecordsOptions) -> Self {
        Self {
            model: Model::new(options),
            damaged: BTreeSet::new(),
            taken: BTreeMap::new(),
            named: HashSet::new(),
            wrong: Vec::new(),
            commits: 0,
            moved: 0,
            seen: BTreeSet::new(),
        }
    }

    /// Lets the model do what was committed since it was last looked at.
    pub(super) fn follow(&mut self) {
        for commit in drain() {
            if !self.wrong.is_empty() {
                // Who has departed once says nothing any more.
                continue;
            }
            self.commits += 1;
            let told = format!("{commit:?}");
            if let Err(why) = self.one(commit) {
                self.wrong.push(format!("the model: {why}, after {told}"));
            }
        }
    }

    fn one(&mut self, commit: Committed) -> Result<(), String> {
        match commit {
            Committed::Arrived(arrival, recorded) => self.arrived(&arrival, recorded),
            Committed::Leased { to, check, limits, now, batch } => {
                let got = batch.map(|batch| (back(batch.attempt.0), items(&batch)));
                self.model.lease((&to.0, check, limits.instances, limits.together), micros(now), got)
            }
            Committed::Settled { attempt, outcomes, now, settled } => {
                let outcomes: Vec<_> = outcomes.into_iter().map(|(id, outcome)| (back(id.0), outcome)).collect();
                let late = self.model.settle(back(attempt.0), &outcomes, micros(now));
                same(&late, &numbers(&settled.late))
            }
            Committed::Interrupted(attempt, now) => {
                self.model.interrupt(back(attempt.0), micros(now));
                Ok(())
            }
            Committed::Acted { verb, transfers, now, acted } => {
                let ids = numbers(&transfers);
                let changed = ids.iter().filter(|id| self.model.act(verb, **id, micros(now))).count();
                same(&(changed as u64), &acted.changed)
            }
            Committed::Paused { to, paused, changed } => same(&self.model.pause(&to.0, paused), &changed),
            Committed::Condemned { instances, purging, purged } => {
                let before = purging.before.map(micros);
                let gone: BTreeSet<i64> = instances.iter().map(|instance| instance.0).collect();
                let kept: BTreeSet<i64> = purged.kept.iter().map(|(instance, _)| instance.0).collect();
                let mut modelled = BTreeSet::new();
                for InstanceId(instance) in instances {
                    if self.model.purge(back(instance), before) {
                        modelled.insert(instance);
                    }
                }
                same(&modelled, &gone.difference(&kept).copied().collect())
            }
            Committed::Freed(blobs) => {
                let blobs: Vec<usize> = blobs.iter().map(|blob| back(blob.0)).collect();
                let condemned: BTreeSet<usize> = self.model.condemned().collect();
                self.model.free(&blobs);
                let alive = blobs.iter().find(|blob| !condemned.contains(blob));
                alive.map_or(Ok(()), |blob| Err(format!("generation {blob} was freed and is not condemned")))
            }
            Committed::Corrupt(InstanceId(instance), now) => {
                let blob = self.model.versions[back(instance)].blob;
                self.set_aside(blob, micros(now))
            }
            Committed::Damaged { blob, now, set_aside: true } => self.set_aside(back(blob.0), micros(now)),
            Committed::Damaged { .. } | Committed::Moved { moved: false, .. } => Ok(()),
            Committed::Moved { to, .. } => {
                self.moved += 1;
                self.named.insert(to);
                Ok(())
            }
            Committed::Stuck(BlobId(blob)) => Err(format!("generation {blob} could not be freed")),
            Committed::Sound(BlobId(blob)) => Err(format!("generation {blob} was never damaged")),
        }
    }

    fn arrived(&mut self, arrival: &Arrival, recorded: Recorded) -> Result<(), String> {
        if recorded.kept == Kept::Rerouted {
            return Err("other routes are in force than ever were".into());
        }
        let coming = coming(arrival)?;
        let modelled =
            self.model.arrive(&coming, arrival.resend_after.as_micros() as Time, micros(arrival.received_at));
        if let (BlobRef::New(place), None) = (arrival.blob, recorded.redundant) {
            self.named.insert(place);
        }
        if let (Some(IpAddr::V4(number)), true) = (arrival.source.address, recorded.kept != Kept::BlobGone) {
            self.taken.insert(number.into(), modelled);
        }
        same(&modelled, &how(recorded.kept))
    }

    /// The bytes of a generation were found damaged: they must be.
    fn set_aside(&mut self, blob: usize, at: Time) -> Result<(), String> {
        let of_it = |v: &Version| v.blob == blob && matches!(v.state, "stored" | "held");
        match self.model.versions.iter().position(of_it) {
            Some(version) => self.model.damage(version, at),
            None if self.model.blobs[blob].1 == Bytes::Live => self.model.blobs[blob].1 = Bytes::Corrupt,
            None => {}
        }
        if self.damaged.contains(&blob) { Ok(()) } else { Err(format!("generation {blob} is set aside and whole")) }
    }

    /// Another process has opened the records.
    pub(super) fn restart(&mut self, at: SystemTime) {
        self.follow();
        self.model.restart(micros(at));
    }

    /// The records are what the model says, in everything that can be seen of both.
    pub(super) fn compare(&mut self, records: &Records, now: SystemTime, what: &str) {
        self.follow();
        let (seen, modelled) = (here(picture(records, now)), picture_of(&self.model, contents::digest));
        if seen != modelled && self.wrong.is_empty() {
            self.wrong.push(format!("{what}: the records say {seen:#?}, the model {modelled:#?}"));
        }
        self.seen.extend(seen.transfers.values().map(|transfer| transfer.2.word().to_owned()));
        self.seen.extend(seen.versions.values().map(|version| format!("instance {}", version.2)));
        self.seen.extend(seen.exceptions.into_iter().map(|exception| format!("exception {}", exception.0)));
        self.seen.extend(seen.far.values().map(|far| format!("destination {}", far.0.word())));
    }

    /// What a sender was told of an arrival agrees with what was kept of it (INV-01).
    pub(super) fn told(&mut self, number: u32, taken: bool) {
        self.follow();
        match (taken, self.taken.get(&number)) {
            (true, None) => self.wrong.push(format!("arrival {number} was acknowledged and not recorded")),
            (false, Some(kept)) => self.wrong.push(format!("arrival {number} was refused, and recorded as {kept}")),
            _ => {}
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(modelled: &T, real: &T) -> Result<(), String> {
    if modelled == real { Ok(()) } else { Err(format!("it would be {modelled:?}, not {real:?}")) }
}

fn numbers(transfers: &[TransferId]) -> Vec<usize> {
    transfers.iter().map(|id| back(id.0)).collect()
}

fn items(batch: &Batch) -> Vec<usize> {
    batch.items.iter().map(|item| back(item.transfer.0)).collect()
}

fn coming(arrival: &Arrival) -> Result<Coming, String> {
    let (uid, content) = contents::of(&arrival.digest).ok_or("bytes that nobody sent")?;
    if contents::uid_of(&arrival.head.sop_instance) != Some(uid) {
        return Err("the bytes of another instance".into());
    }
    let kind = match &arrival.origin {
        Origin::Node(_) => "node",
        Origin::Peer(_) => "peer",
        _ => "operator",
    };
    let from = FROM.into_iter().find(|from| *from == (kind, arrival.origin.name())).ok_or("a stranger")?;
    let far = |name: &str| super::plan::FAR.into_iter().find(|far| far.0 == name).map(|far| far.0);
    let chosen = arrival.chosen.iter().map(|to| Some((far(&to.destination.0)?, to.verify == Verify::Accepted)));
    let requested = arrival.requested.as_ref().and_then(|requested| far(&requested.destination.0));
    let named = match arrival.blob {
        BlobRef::Known(BlobId(blob)) => Some(back(blob)),
        BlobRef::New(_) => None,
    };
    let chosen = chosen.collect::<Option<Vec<_>>>().ok_or("a strange destination")?;
    Ok(Coming { uid, content, from, chosen, requested, named })
}
