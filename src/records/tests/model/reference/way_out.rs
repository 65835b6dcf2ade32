//! The way out of the model: leases, what outcomes make of transfers and destinations, and what a restart finds.

use super::{Attempt, Far, Model, Time, Transfer, micros};
use crate::ledger::breaker::{Reach, Showing, showing};
use crate::ledger::outcome::{Charge, Outcome, Refusal};
use crate::ledger::step::Patience;
use crate::ledger::transfer::State::{self, *};
use std::time::Duration;

/// How things stand when an outcome comes in.
#[derive(Clone, Copy)]
struct How {
    check: bool,
    answering: bool,
    /// The destination took something else since it last refused this one.
    own: bool,
    /// It alone was refused, again.
    again: bool,
    twin: bool,
    choosy: bool,
}

/// What an outcome makes of a transfer: its next state, the wait, and whether that is charged to it.
fn said(t: &Transfer, outcome: &Outcome, how: How, patience: &Patience) -> (State, Time, bool) {
    let How { check, answering, own, again, twin, choosy } = how;
    let stay = |to| if check { t.state } else { to };
    let asked = |after: &Option<Duration>| micros(after.unwrap_or_default().min(patience.longest_wait));
    match outcome {
        Outcome::Accepted { .. } => (Accepted, 0, false),
        Outcome::Verified { .. } | Outcome::Uncompared { .. } => (Verified, 0, false),
        Outcome::Held { .. } => (Held, 0, false),
        Outcome::Dead { .. } => (Dead, 0, false),
        Outcome::Unsupported { said: false, .. } if !choosy => (stay(Deferred), 0, false),
        Outcome::Parked { .. } | Outcome::Unsupported { .. } => (stay(Parked), 0, false),
        Outcome::Refused { refusal: Refusal::Forbidden, .. } if !own && !again => (stay(Parked), 0, false),
        Outcome::Refused { refusal: Refusal::Forbidden, after, .. } if !own && !answering => {
            (stay(Parked), asked(after), false)
        }
        Outcome::Refused { refusal, after, .. } => (stay(Deferred), asked(after), own || *refusal == Refusal::Instance),
        Outcome::Unknown { .. } | Outcome::Claimed { .. } => (stay(Unknown), 0, false),
        Outcome::Absent { .. } if twin && check => (t.state, 0, false),
        Outcome::Absent { .. } if t.state == Accepted && t.failures < patience.late_looks => (Accepted, 0, true),
        Outcome::Absent { .. } if !answering => (Deferred, 0, false),
        Outcome::Absent { .. } if t.failures == 0 => (Pending, 0, false),
        Outcome::Absent { .. } => (Deferred, 0, true),
        Outcome::Deferred { charge: Charge::Destination, .. } => (stay(Deferred), 0, false),
        Outcome::Deferred { charge: Charge::Us, after, .. } => (stay(Deferred), asked(after), false),
        Outcome::Deferred { charge: Charge::Instance, after, .. } => (stay(Deferred), asked(after), true),
    }
}

impl Model {
    /// Takes note of a lease; what is wrong with it, if anything.
    pub(crate) fn lease(
        &mut self,
        (to, check, most, together): (&str, bool, usize, bool),
        at: Time,
        got: Option<(usize, Vec<usize>)>,
    ) -> Result<(), String> {
        let due = self.due(to, check, together, at);
        // What is out gets what waits before what is parked for its class.
        let out = self.far.get(to).is_some_and(|far| far.reach != Reach::Up);
        let waits = out && !due.is_empty();
        if !waits && let Some(probe) = self.probed(to, check, together, at) {
            return match got {
                Some((attempt, items)) if attempt == self.attempts.len() && items == [probe] => {
                    self.begin((to, check), items, at);
                    Ok(())
                }
                got => Err(format!("{probe} is to be tried for its class, and {got:?} was leased")),
            };
        }
        let Some((attempt, items)) = got else {
            return if due.is_empty() { Ok(()) } else { Err(format!("{due:?} are due and none was leased")) };
        };
        if attempt != self.attempts.len() || items.is_empty() || items.len() > most {
            return Err(format!("attempt {attempt} of {items:?}"));
        }
        let study = self.versions[self.transfers[items[0]].version].study;
        let of_study: Vec<usize> =
            due.into_iter().filter(|id| self.versions[self.transfers[*id].version].study == study).collect();
        if !items.iter().all(|id| of_study.contains(id)) {
            return Err(format!("{items:?} were leased, but of the study only {of_study:?} are due"));
        }
        let apart = |id: &usize| self.transfers[*id].interruptions >= self.options.isolate_after;
        if items.iter().any(apart) && items.len() > 1 {
            return Err("one that was interrupted again and again is not alone".into());
        }
        if !of_study.iter().any(apart) && items.len() < of_study.len().min(most) {
            return Err(format!("only {items:?} of {of_study:?}"));
        }
        self.begin((to, check), items, at);
        Ok(())
    }

    fn begin(&mut self, (to, check): (&str, bool), items: Vec<usize>, at: Time) {
        let (attempt, study) = (self.attempts.len(), self.versions[self.transfers[items[0]].version].study);
        self.attempts.push(Attempt { check, to: to.to_owned(), study, left: items.len() });
        for id in items {
            let t = &mut self.transfers[id];
            t.hand = Some(attempt);
            if !check {
                t.go(Leased, at);
                t.attempts += 1;
            }
        }
    }

    /// The transfer by which it is to be tried whether a destination takes the class by now, if it is time for that.
    fn probed(&mut self, to: &str, check: bool, together: bool, at: Time) -> Option<usize> {
        let between = micros(self.options.probing.steady);
        let due = |probe: Time| probe.abs() <= at || probe.abs() > at + between;
        if check || self.is_left_alone(to, at) || !self.far.get(to)?.choosy.is_some_and(due) {
            return None;
        }
        let parked = |(_, t): &(usize, &Transfer)| t.to == to && t.class;
        let may = |(_, t): &(usize, &Transfer)| together || !self.is_under_way(to, self.versions[t.version].study);
        let of_class = || self.transfers.iter().enumerate().filter(parked);
        let found = of_class().filter(may).min_by_key(|(id, t)| (t.attempts, *id)).map(|(id, _)| id);
        if found.is_some() || of_class().next().is_none() {
            let later = at + between;
            self.far(to).choosy =
                self.far(to).choosy.map(|probe| if found.is_some() || probe >= 0 { later } else { -later });
        }
        found
    }

    /// Whether something is parked for its class at a destination to which anything might be sent just now.
    pub(crate) fn waits_for_its_class(&self, to: &str, at: Time) -> bool {
        let parked = |(id, t): (usize, &Transfer)| t.to == to && t.class && !self.is_under_way(to, self.study(id));
        let up = self.far.get(to).is_some_and(|far| far.reach == Reach::Up);
        up && !self.is_left_alone(to, at) && self.transfers.iter().enumerate().any(parked)
    }

    /// The study of a transfer.
    pub(crate) fn study(&self, transfer: usize) -> u32 {
        self.versions[self.transfers[transfer].version].study
    }

    fn is_under_way(&self, to: &str, study: u32) -> bool {
        self.attempts.iter().any(|a| !a.check && a.left > 0 && a.to == to && a.study == study)
    }

    /// Whether a destination is paused, waited for, or being probed.
    fn is_left_alone(&self, to: &str, at: Time) -> bool {
        let Some(far) = self.far.get(to) else { return true };
        let probing = far.reach != Reach::Up && self.transfers.iter().any(|t| t.to == to && t.hand.is_some());
        far.paused || far.not_before.is_some_and(|time| time > at) || probing
    }

    /// What may be leased for a destination.
    pub(crate) fn due(&mut self, to: &str, check: bool, together: bool, at: Time) -> Vec<usize> {
        let Some(far) = self.far.get_mut(to) else { return vec![] };
        // A clock that was set back makes nothing wait longer than the longest wait, and nothing at all if that can be seen.
        let longest = micros(self.options.patience.longest_wait.max(self.options.probing.longest_asked));
        let set_back = far.since.is_some_and(|since| since > at + micros(Duration::from_secs(60)));
        far.since = if set_back { Some(at) } else { far.since };
        let furthest = if set_back { at } else { at + longest };
        far.not_before = far.not_before.map(|time| time.min(furthest));
        let lanes = |t: &&mut Transfer| t.to == to && t.hand.is_none() && !t.class && !matches!(t.state, Held | Dead);
        self.transfers.iter_mut().filter(lanes).for_each(|t| t.due = t.due.min(furthest));
        if self.is_left_alone(to, at) {
            return vec![];
        }
        let may = |t: &Transfer| match check {
            true => t.waits_to_be_asked(at),
            false => t.waits_to_go(at) && (together || !self.is_under_way(to, self.versions[t.version].study)),
        };
        (0..self.transfers.len()).filter(|id| self.transfers[*id].to == to && may(&self.transfers[*id])).collect()
    }

    /// Takes outcomes; those that came too late.
    pub(crate) fn settle(&mut self, attempt: usize, outcomes: &[(usize, Outcome)], at: Time) -> Vec<usize> {
        let (mine, late): (Vec<_>, Vec<_>) =
            outcomes.iter().partition(|(id, _)| self.transfers[*id].hand == Some(attempt));
        let to = self.attempts[attempt].to.clone();
        let check = self.attempts[attempt].check;
        let kind = (check, self.far(&to).reach == Reach::Up);
        let took =
            |(id, outcome): &(usize, Outcome)| outcome.took(if check { self.transfers[*id].state } else { Leased });
        let took = outcomes.iter().any(took);
        let alone = (outcomes.len() == 1).then(|| outcomes[0].0);
        // Who else was refused, and nothing was taken since: it is the destination that refuses.
        let far = self.far[&to].clone();
        let since = |id: usize| took || self.transfers[id].refused.is_some_and(|before| before < far.taken);
        let again = |id: usize| alone == Some(id) && far.refused == Some(id);
        let whole = |outcome: &Outcome| {
            matches!(outcome, Outcome::Refused { refusal: Refusal::Scarce | Refusal::Forbidden, .. })
        };
        let shows = |id: usize, outcome: &Outcome| !whole(outcome) || !since(id) && !again(id);
        let telling: Vec<_> = mine.iter().filter(|(id, outcome)| shows(*id, outcome)).collect();
        let showing = showing(telling.iter().map(|(id, outcome)| (self.transfers[*id].state, outcome)));
        let refused = alone.filter(|_| telling.iter().any(|(_, outcome)| whole(outcome)));
        let own: Vec<(bool, bool)> = mine.iter().map(|(id, _)| (since(*id), again(*id))).collect();
        let choosy = self.far(&to).choosy.is_some();
        self.far(&to).taken += u32::from(took);
        for ((id, outcome), own) in mine.iter().zip(own) {
            self.one(*id, outcome, kind, own, at);
        }
        let taken = |(_, outcome): &&&(usize, Outcome)| {
            matches!(outcome, Outcome::Accepted { .. } | Outcome::Verified { .. } | Outcome::Uncompared { .. })
        };
        let unsupported = |(id, outcome): &&&(usize, Outcome)| {
            matches!(outcome, Outcome::Unsupported { said: true, .. }) && self.transfers[*id].state == Parked
        };
        if choosy && !kind.0 && mine.iter().any(|one| taken(&one)) && !mine.iter().any(|one| unsupported(&one)) {
            // It takes the class after all.
            self.far(&to).choosy = None;
            let parked = self.transfers.iter_mut().filter(|t| t.to == to && t.class);
            parked.for_each(|t| (t.state, t.class, t.due) = (Pending, false, 0));
        }
        self.attempts[attempt].left -= mine.len();
        if let Some(showing) = showing {
            let study = self.attempts[attempt].study;
            if self.shows(&to, study, showing, at) {
                let far = self.far(&to);
                far.refused = refused.or(far.refused);
            }
        }
        late.into_iter().map(|(id, _)| *id).collect()
    }

    fn one(
        &mut self,
        id: usize,
        outcome: &Outcome,
        (check, answering): (bool, bool),
        (own, again): (bool, bool),
        at: Time,
    ) {
        let patience = self.options.patience;
        let me = &self.transfers[id];
        let choosy = self.far[&me.to].choosy.is_some_and(|probe| probe >= 0);
        let taken = self.far[&me.to].taken;
        let sends = |t: &Transfer| matches!(t.state, Pending | Leased | Deferred | Parked);
        let twin = |t: &Transfer| t.version == me.version && t.to == me.to && sends(t);
        let twin = self.transfers.iter().enumerate().any(|(other, t)| other != id && twin(t));
        let how = How { check, answering, own, again, twin, choosy };
        let (mut to, wait, charged) = said(me, outcome, how, &patience);
        let t = &mut self.transfers[id];
        // Where another cause sends it, nothing is said of this one.
        let looked_for = to == Accepted;
        let not_found = matches!(outcome, Outcome::Absent { .. }) && !(twin && check) && (answering || looked_for);
        match outcome {
            Outcome::Accepted { .. } | Outcome::Verified { .. } => (t.failures, t.evidence) = (0, true),
            _ if charged || not_found => t.failures += 1,
            _ => {}
        }
        if charged {
            t.spent += wait;
            to = if t.spent >= micros(patience.give_up) { Dead } else { to };
        }
        if matches!(outcome, Outcome::Refused { .. }) && charged && t.failures >= patience.refusals {
            to = Dead;
        }
        t.refused = match outcome {
            Outcome::Refused { refusal: Refusal::Scarce | Refusal::Forbidden, .. } => Some(taken),
            _ if outcome.took(t.state) => None,
            _ => t.refused,
        };
        t.damaged = self.versions[t.version].state == "corrupt" && matches!(to, Pending | Deferred | Parked);
        to = if t.damaged { Held } else { to };
        t.resume = Pending;
        t.hand = None;
        let again = t.damaged || matches!(to, Pending | Deferred);
        let lost_again = matches!(outcome, Outcome::Absent { .. }) && again && t.failures >= self.options.isolate_after;
        t.interruptions = match check {
            true if lost_again => t.interruptions.max(self.options.isolate_after),
            true => t.interruptions,
            false => 0,
        };
        t.due = if to == Pending { 0 } else { at + wait };
        t.go(to, at);
        if let (Outcome::Unsupported { said, .. }, Parked) = (outcome, to) {
            t.class = true;
            let (name, probe) = (t.to.clone(), at + micros(self.options.probing.steady));
            if *said {
                self.far(&name).choosy = Some(probe);
            }
        }
        let t = &self.transfers[id];
        let kind = if to == Dead { "dead" } else { "held" };
        if to == Dead || matches!(outcome, Outcome::Held { .. }) {
            self.exceptions.insert((kind, t.version, Some(id)));
        }
    }

    /// What a batch showed of a destination; whether that is noted.
    fn shows(&mut self, to: &str, study: u32, showing: Showing, at: Time) -> bool {
        let probing = self.options.probing;
        let far = self.far(to);
        let out = far.since.filter(|_| far.reach != Reach::Up).map_or(0, |since| at - since);
        let wait = if out >= micros(probing.steady_after) { micros(probing.steady) } else { 0 };
        // What ends while a wait runs was begun before it, and neither ends nor shortens it.
        let running = far.not_before.filter(|time| *time > at);
        let doubted = (showing == Showing::Doubtful).then_some(study);
        if doubted.is_some() && far.reach == Reach::Up && far.doubted == doubted {
            return false;
        }
        let (reach, failures, not_before) = match showing {
            Showing::Answered if running.is_some() => return false,
            Showing::Answered => (Reach::Up, 0, None),
            Showing::Refused => (Reach::Parked, far.failures + 1, Some(at + micros(probing.steady))),
            Showing::Silent { after, progress } => {
                let wait = after.map_or(wait, |asked| micros(asked.min(probing.longest_asked)));
                (Reach::Down, if progress { 1 } else { far.failures + 1 }, Some(at + wait))
            }
            Showing::Doubtful if far.reach == Reach::Up && far.failures + 1 < probing.doubts => {
                (far.failures, far.doubted) = (far.failures + 1, doubted);
                return true;
            }
            Showing::Doubtful => (Reach::Down, far.failures + 1, Some(at + wait)),
        };
        let changed = far.reach != reach;
        let since = if changed || far.since.is_none() { Some(at) } else { far.since };
        *far = Far { reach, failures, not_before: not_before.max(running), since, doubted, ..far.clone() };
        if changed && reach == Reach::Up {
            let parked = self.transfers.iter_mut().filter(|t| t.to == to && t.state == Parked && !t.class);
            parked.for_each(|t| (t.state, t.due) = (Pending, 0));
        }
        true
    }

    /// An attempt breaks off by our own end: it may have arrived.
    pub(crate) fn interrupt(&mut self, attempt: usize, at: Time) {
        let check = self.attempts[attempt].check;
        self.attempts[attempt].left = 0;
        for (id, t) in self.transfers.iter_mut().enumerate().filter(|(_, t)| t.hand == Some(attempt)) {
            (t.hand, t.due) = (None, 0);
            if check {
                continue;
            }
            t.interruptions += 1;
            let poison = t.interruptions >= self.options.hold_after;
            t.go(if poison { Held } else { Unknown }, at);
            if poison {
                t.resume = Unknown;
                self.exceptions.insert(("poison", t.version, Some(id)));
            }
        }
    }

    /// The process dies, and the next one starts.
    pub(crate) fn restart(&mut self, at: Time) {
        for attempt in 0..self.attempts.len() {
            if self.attempts[attempt].left > 0 {
                self.interrupt(attempt, at);
            }
        }
    }
}
