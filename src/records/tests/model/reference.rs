//! What the records are meant to be: instances, transfers, leases, exceptions, retention, in memory and without a file.
//!
//! It states the rules a second time, in the plainest way, and shares nothing with the records but their words. Waits are exact,
//! because the histories run with a back-off of nothing. Times are microseconds.

use crate::ledger::breaker::Reach;
use crate::ledger::transfer::State::{self, *};
use crate::records::{RecordsOptions, Verb};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod way_out;

pub(crate) type Time = i64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytes {
    Live,
    Condemned,
    Freed,
    Corrupt,
}

#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) uid: u32,
    pub(crate) number: u32,
    pub(crate) study: u32,
    pub(crate) content: u32,
    /// `stored`, `held`, `purged` or `corrupt`.
    pub(crate) state: &'static str,
    pub(crate) blob: usize,
    pub(crate) from: BTreeSet<String>,
    pub(crate) arrivals: u64,
    pub(crate) unrouted: bool,
    last: Time,
}

#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    pub(crate) version: usize,
    pub(crate) to: String,
    pub(crate) cause: String,
    /// Whether the word of the destination is enough.
    pub(crate) trusting: bool,
    pub(crate) state: State,
    pub(crate) attempts: u32,
    pub(crate) evidence: bool,
    hand: Option<usize>,
    failures: u32,
    interruptions: u32,
    spent: Time,
    due: Time,
    resume: State,
    /// Held because its bytes were damaged.
    damaged: bool,
    /// Parked because the destination does not take its class.
    pub(crate) class: bool,
    done: Option<Time>,
    /// What its destination had taken when it last refused it as it may refuse everything.
    refused: Option<u32>,
}

impl Transfer {
    fn is_done(&self) -> bool {
        matches!(self.state, Verified | Cancelled) || self.state == Accepted && self.trusting
    }

    /// Whether the destination may have it: what rests may have been sent, but for what it refused.
    fn may_be_there(&self) -> bool {
        self.state != Dead && (!matches!(self.state, Held | Cancelled) || self.attempts > 0)
    }

    fn go(&mut self, to: State, at: Time) {
        self.state = to;
        self.class = false;
        self.done = if self.is_done() { self.done.or(Some(at)) } else { None };
    }

    fn afresh(&mut self) {
        (self.failures, self.interruptions, self.spent, self.due, self.refused) = (0, 0, 0, 0, None);
    }

    fn waits_to_go(&self, at: Time) -> bool {
        self.state == Pending || matches!(self.state, Deferred | Parked) && !self.class && self.due <= at
    }

    fn waits_to_be_asked(&self, at: Time) -> bool {
        let open = self.state == Unknown || self.state == Accepted && !self.trusting;
        open && self.hand.is_none() && self.due <= at
    }
}

#[derive(Debug, Clone)]
struct Attempt {
    check: bool,
    to: String,
    study: u32,
    left: usize,
}

/// What waits for a person: kind, version, transfer.
pub(crate) type Exception = (&'static str, usize, Option<usize>);

#[derive(Debug, Clone)]
pub(crate) struct Far {
    pub(crate) reach: Reach,
    pub(crate) failures: u32,
    pub(crate) not_before: Option<Time>,
    pub(crate) paused: bool,
    /// When the one class that there is, which it does not take, is tried again; below 0, and the same time, while a person has one
    /// tried.
    pub(crate) choosy: Option<Time>,
    since: Option<Time>,
    /// The study of the last doubt.
    doubted: Option<u32>,
    /// So many batches it took something of.
    taken: u32,
    /// Who alone was refused last as everything may be.
    refused: Option<usize>,
}

/// An arrival: which instance, of which content, from whom, for whom.
#[derive(Debug, Clone)]
pub(crate) struct Coming {
    pub(crate) uid: u32,
    pub(crate) content: u32,
    pub(crate) from: (&'static str, &'static str),
    pub(crate) chosen: Vec<(&'static str, bool)>,
    pub(crate) requested: Option<&'static str>,
    /// The generation that it names, if it brings no bytes.
    pub(crate) named: Option<usize>,
}

#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) versions: Vec<Version>,
    pub(crate) blobs: Vec<(u32, Bytes)>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) exceptions: BTreeSet<Exception>,
    pub(crate) far: BTreeMap<String, Far>,
    attempts: Vec<Attempt>,
    options: RecordsOptions,
}

fn micros(time: Duration) -> Time {
    time.as_micros() as Time
}

pub(crate) fn study_of(uid: u32) -> u32 {
    1 + uid % 2
}

impl Model {
    pub(crate) fn new(options: RecordsOptions) -> Self {
        let (versions, blobs, transfers, attempts) = (vec![], vec![], vec![], vec![]);
        Self { versions, blobs, transfers, exceptions: BTreeSet::new(), far: BTreeMap::new(), attempts, options }
    }

    fn far(&mut self, name: &str) -> &mut Far {
        let (reach, since, doubted) = (Reach::Up, None, None);
        let (taken, refused) = (0, None);
        let new =
            Far { reach, failures: 0, not_before: None, paused: false, choosy: None, since, doubted, taken, refused };
        self.far.entry(name.to_owned()).or_insert(new)
    }

    pub(crate) fn live(&self, content: u32) -> Option<usize> {
        self.blobs.iter().position(|(of, bytes)| *of == content && *bytes == Bytes::Live)
    }

    /// What became of it: `stored`, `same`, `differs` or `gone`.
    pub(crate) fn arrive(&mut self, coming: &Coming, resend_after: Time, at: Time) -> &'static str {
        let blob = match (coming.named, self.live(coming.content)) {
            (None, Some(live)) => live,
            (None, None) => {
                self.blobs.push((coming.content, Bytes::Live));
                self.blobs.len() - 1
            }
            (Some(named), live) if live == Some(named) => named,
            (Some(_), _) => return "gone",
        };
        let of_uid: Vec<usize> = (0..self.versions.len()).filter(|v| self.versions[*v].uid == coming.uid).collect();
        let known = of_uid.iter().copied().find(|v| self.versions[*v].content == coming.content);
        let back = coming.from.0 == "node"
            && self.transfers.iter().any(|t| {
                of_uid.contains(&t.version) && t.to == coming.from.1 && matches!(t.state, Accepted | Verified)
            });
        let (version, how, restored) = match known {
            Some(version) => (version, "same", self.refill(version, blob)),
            None => (self.first(coming, blob, &of_uid), if of_uid.is_empty() { "stored" } else { "differs" }, false),
        };
        let v = &mut self.versions[version];
        // Whoever sends a version in conflict again is told again.
        let how = if v.state == "held" { "differs" } else { how };
        (v.arrivals, v.last) = (v.arrivals + 1, v.last.max(at));
        if coming.from.0 != "operator" {
            v.from.insert(coming.from.1.to_owned());
        }
        let from = v.from.clone();
        let before = self.transfers.len();
        for (to, trusting) in coming.chosen.iter().filter(|(to, _)| !from.contains(*to) && !back) {
            self.want(version, to, "route", *trusting, resend_after, at);
        }
        if let Some(to) = coming.requested {
            self.want(version, to, "by hand", false, resend_after, at);
        }
        if restored {
            self.release_damaged(version, at);
        }
        if self.transfers.len() > before {
            self.versions[version].unrouted = false;
        } else if !coming.chosen.is_empty() && !self.transfers.iter().any(|t| t.version == version) {
            // It came from all of them, or was handed back.
            self.versions[version].unrouted = true;
        }
        how
    }

    fn first(&mut self, coming: &Coming, blob: usize, of_uid: &[usize]) -> usize {
        let id = self.versions.len();
        let differs = !of_uid.is_empty();
        if differs {
            self.exceptions.insert(("conflict", id, None));
        }
        self.versions.push(Version {
            uid: coming.uid,
            number: of_uid.len() as u32 + 1,
            study: study_of(coming.uid),
            content: coming.content,
            state: if differs { "held" } else { "stored" },
            blob,
            from: BTreeSet::new(),
            arrivals: 0,
            unrouted: coming.chosen.is_empty() && coming.requested.is_none(),
            last: Time::MIN,
        });
        id
    }

    /// The bytes of a version that had gone or were damaged are here again.
    fn refill(&mut self, version: usize, blob: usize) -> bool {
        let conflict = self.exceptions.contains(&("conflict", version, None));
        let v = &mut self.versions[version];
        v.blob = blob;
        let gone = matches!(v.state, "purged" | "corrupt");
        if gone {
            v.state = if conflict { "held" } else { "stored" };
        }
        gone
    }

    fn release_damaged(&mut self, version: usize, at: Time) {
        let damaged = self.exceptions.remove(&("corrupt", version, None));
        if damaged && self.versions[version].state != "held" {
            let held = |t: &Transfer| t.version == version && t.state == Held && t.damaged;
            for id in (0..self.transfers.len()).filter(|id| held(&self.transfers[*id])).collect::<Vec<_>>() {
                let to = if self.transfers[id].resume == Unknown { Unknown } else { self.anew(id) };
                let t = &mut self.transfers[id];
                t.go(to, at);
                t.afresh();
                t.damaged = false;
            }
        }
    }

    fn want(&mut self, version: usize, to: &str, cause: &str, trusting: bool, resend_after: Time, at: Time) {
        self.far(to);
        let conflict = self.versions[version].state == "held";
        let there = |t: &&Transfer| t.version == version && t.to == to;
        if let Some(id) = self.transfers.iter().position(|t| there(&t) && t.cause == cause) {
            let anew = self.anew(id);
            let t = &mut self.transfers[id];
            if t.state == Dead && !conflict {
                t.go(anew, at);
                t.afresh();
                self.exceptions.retain(|(_, _, about)| *about != Some(id));
            } else if matches!(t.state, Accepted | Verified) && t.done.is_some_and(|done| done < at - resend_after) {
                t.go(Unknown, at);
                t.afresh();
            }
            return;
        }
        let others = || self.transfers.iter().filter(there);
        if cause != "route" && others().any(|t| !matches!(t.state, Held | Dead) && !t.is_done()) {
            return;
        }
        let seen = others().any(Transfer::may_be_there);
        let state = if conflict {
            Held
        } else if seen {
            Unknown
        } else {
            Pending
        };
        let (to, cause) = (to.to_owned(), cause.to_owned());
        let (attempts, failures, interruptions, spent, due) = (0, 0, 0, 0, 0);
        let (evidence, damaged, hand, done, resume) = (false, false, None, None, Pending);
        let t = Transfer {
            version,
            to,
            cause,
            trusting,
            state,
            attempts,
            evidence,
            hand,
            failures,
            interruptions,
            spent,
            due,
            resume,
            damaged,
            class: false,
            done,
            refused: None,
        };
        self.transfers.push(t);
    }

    /// How a transfer that rested goes on: by a question if another cause may have sent the version there.
    fn anew(&self, id: usize) -> State {
        let t = &self.transfers[id];
        let twin = |(n, o): (usize, &Transfer)| n != id && (o.version, &o.to) == (t.version, &t.to) && o.may_be_there();
        if self.transfers.iter().enumerate().any(twin) { Unknown } else { Pending }
    }

    /// A person does something to a transfer; whether that was allowed.
    pub(crate) fn act(&mut self, verb: Verb, id: usize, at: Time) -> bool {
        let Some(t) = self.transfers.get(id) else { return false };
        let version = self.versions[t.version].state;
        let free = t.hand.is_none() && (!t.is_done() || verb == Verb::Reopen);
        let to = match (verb, t.state) {
            (Verb::Retry, Unknown | Accepted) => t.state,
            (Verb::Retry, Deferred | Parked) => Pending,
            (Verb::Retry, Dead) if version != "corrupt" => self.anew(id),
            (Verb::Hold, Pending | Deferred | Parked | Unknown | Accepted) => Held,
            (Verb::Release, Held) if !matches!(version, "held" | "corrupt") => {
                if t.resume == Unknown {
                    Unknown
                } else {
                    self.anew(id)
                }
            }
            (Verb::Cancel, Pending | Deferred | Parked | Held | Dead | Unknown | Accepted) => Cancelled,
            (Verb::Reopen, Accepted | Verified) if version == "stored" => Unknown,
            _ => return false,
        };
        if !free {
            return false;
        }
        self.exceptions.retain(|(_, _, about)| *about != Some(id));
        let t = &mut self.transfers[id];
        let class = t.class;
        if to == Held {
            t.resume = if matches!(t.state, Unknown | Accepted) { Unknown } else { Pending };
        } else {
            t.afresh();
        }
        t.go(to, at);
        if verb == Verb::Retry {
            let (name, between) = (t.to.clone(), micros(self.options.probing.steady));
            let far = self.far(&name);
            far.not_before = None;
            far.choosy = far.choosy.map(|probe| if class { -(at + between) } else { probe });
        }
        true
    }

    pub(crate) fn pause(&mut self, to: &str, paused: bool) -> bool {
        let far = self.far(to);
        let mut changed = far.paused != paused;
        if changed && !paused {
            far.not_before = None;
        }
        far.paused = paused;
        if !paused {
            changed |= far.choosy.take().is_some();
            for t in self.transfers.iter_mut().filter(|t| t.to == to && t.class) {
                changed = true;
                (t.state, t.class, t.due) = (Pending, false, 0);
            }
        }
        changed
    }

    /// The bytes of a version are found damaged.
    pub(crate) fn damage(&mut self, version: usize, at: Time) {
        let Some(blob) = self.versions.get(version).map(|v| v.blob) else { return };
        if self.blobs[blob].1 != Bytes::Live {
            return;
        }
        self.blobs[blob].1 = Bytes::Corrupt;
        for id in 0..self.versions.len() {
            let v = &mut self.versions[id];
            if v.blob != blob || !matches!(v.state, "stored" | "held") {
                continue;
            }
            v.state = "corrupt";
            self.exceptions.insert(("corrupt", id, None));
            let waiting = |t: &&mut Transfer| {
                let open =
                    matches!(t.state, Pending | Deferred | Parked | Unknown) || t.state == Accepted && !t.trusting;
                t.version == id && t.hand.is_none() && open && !t.class
            };
            for t in self.transfers.iter_mut().filter(waiting) {
                t.resume = if matches!(t.state, Unknown | Accepted) { Unknown } else { Pending };
                t.damaged = true;
                t.go(Held, at);
            }
        }
    }

    /// The bytes of a version may go, by age or by a person; whether they do.
    pub(crate) fn purge(&mut self, version: usize, before: Option<Time>) -> bool {
        let Some(v) = self.versions.get(version) else { return false };
        let mine = || self.transfers.iter().filter(|t| t.version == version);
        let excepted = self.exceptions.iter().any(|(_, about, _)| self.versions[*about].uid == v.uid);
        let owed = mine().any(|t| !t.is_done());
        let nobodys = v.unrouted || mine().count() == 0;
        let last = mine().filter_map(|t| t.done).chain([v.last]).max().unwrap_or(v.last);
        let young = before.is_some_and(|before| last > before);
        if v.state != "stored" || owed || excepted || before.is_some() && nobodys || young {
            return false;
        }
        let blob = v.blob;
        self.versions[version].state = "purged";
        let needed = self.versions.iter().any(|v| v.blob == blob && matches!(v.state, "stored" | "held"));
        if !needed && self.blobs[blob].1 == Bytes::Live {
            self.blobs[blob].1 = Bytes::Condemned;
        }
        true
    }

    pub(crate) fn condemned(&self) -> impl Iterator<Item = usize> {
        let condemned = |(_, (_, bytes)): &(usize, &(u32, Bytes))| *bytes == Bytes::Condemned;
        self.blobs.iter().enumerate().filter(condemned).map(|(blob, _)| blob)
    }

    pub(crate) fn free(&mut self, blobs: &[usize]) {
        blobs.iter().for_each(|blob| self.blobs[*blob].1 = Bytes::Freed);
    }
}
