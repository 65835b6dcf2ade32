//! Each call of the gateway to the kernel fails once, the k-th for each k: nothing acknowledged is missing, nothing is sent twice.

use crate::support::calls::{ACCEPT, Call, NAME, OPEN, Plan, READ, SIZE, SYNC, WRITE};
use crate::support::damage::{rounds, seed};
use crate::support::files::Noise;
use crate::support::fired::note_fired;
use crate::support::ordeal::{Day, Ordeal, Suffered};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// Which calls are met, and by what: each kind of call by each of its faults.
const FAULTS: &[(&str, &str, &[&str])] = &[
    ("open", OPEN, &["EMFILE", "EIO", "ENOSPC"]),
    ("write", WRITE, &["EIO", "ENOSPC", "SHORT"]),
    ("sync", SYNC, &["EIO", "ENOSPC"]),
    ("name", NAME, &["EIO", "ENOSPC"]),
    ("size", SIZE, &["EIO", "ENOSPC"]),
    ("read", READ, &["EIO"]),
    ("accept", ACCEPT, &["EMFILE"]),
];

/// One thing to try: a plan for one day.
#[derive(Clone, Debug)]
struct Trial {
    day: Day,
    kind: &'static str,
    plan: Plan,
    /// How many calls of the kind there were on a day on which nothing failed.
    most: usize,
}

impl Trial {
    /// How many the last ones are differs from day to day: one of them may not be reached.
    fn is_late(&self) -> bool {
        self.plan.nth * 8 > self.most * 7 || self.plan.nth + 3 > self.most
    }
}

/// What all trials came to.
#[derive(Default)]
struct Tally {
    fired: BTreeMap<String, usize>,
    missed: usize,
    acknowledged: usize,
    refused: usize,
    poisoned: usize,
    never_ready: usize,
    failures: Vec<String>,
    done: usize,
}

/// How often a trial whose call is not reached is tried.
const TRIES: usize = 3;

/// The calls of a day on which nothing fails, which also passes. Reads are noted on a day of their own: they would slow down the other.
fn watched(day: Day) -> Vec<Call> {
    let mut suffered = watch(day, &Plan::watch());
    suffered.calls.extend(watch(day, &Plan::watch_for(READ)).calls);
    let counts: Vec<String> =
        FAULTS.iter().map(|fault| format!("{} {}", fault.0, count(&suffered.calls, fault.1))).collect();
    println!("{day:?}: {} calls, {}", suffered.calls.len(), counts.join(", "));
    suffered.calls
}

fn watch(day: Day, plan: &Plan) -> Suffered {
    let mut ordeal = Ordeal::new(day);
    let suffered = ordeal.suffer(plan);
    assert!(suffered.refused == 0 && !suffered.poisoned && !suffered.never_ready, "{suffered:?}");
    ordeal.recover(&suffered);
    suffered
}

fn count(calls: &[Call], kind: &str) -> usize {
    calls.iter().filter(|call| call.is_of(kind)).count()
}

/// Every k of every kind of call, up to the last.
fn trials(day: Day) -> Vec<Trial> {
    let calls = watched(day);
    let mut all = Vec::new();
    for &(kind, names, effects) in FAULTS {
        let part = if kind == "accept" { "socket" } else { "" };
        let most = count(&calls, names);
        assert!(most > 0, "{day:?}: no call of the kind {kind}");
        for &effect in effects {
            let plan = |nth| Plan { effect, nth, calls: names.to_owned(), part: part.to_owned() };
            all.extend((1..=most).map(|nth| Trial { day, kind, plan: plan(nth), most }));
        }
    }
    all
}

/// One trial; a few more if the call is not reached.
fn attempt(trial: &Trial) -> (Suffered, usize) {
    let mut tries = 0;
    loop {
        let mut ordeal = Ordeal::new(trial.day);
        let suffered = ordeal.suffer(&trial.plan);
        let acknowledged = ordeal.acknowledged();
        ordeal.recover(&suffered);
        tries += 1;
        if suffered.fired.is_some() || tries == TRIES {
            assert!(suffered.fired.is_some() || trial.is_late(), "it never came to this call");
            return (suffered, acknowledged);
        }
    }
}

/// How many trials go on at a time: they wait more than they work.
const AT_ONCE: usize = 8;

/// Works off the trials, several at a time, and adds up; one that fails does not end the others.
fn sweep(trials: Vec<Trial>) -> Tally {
    let count = trials.len();
    let (rest, tally) = (Mutex::new(trials), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(trial) = rest.lock().unwrap().pop() else { return };
                    let done = catch_unwind(AssertUnwindSafe(|| attempt(&trial)));
                    let mut tally = tally.lock().unwrap();
                    tally.done += 1;
                    if tally.done.is_multiple_of(50) {
                        println!("{} done of {count}, {} failed", tally.done, tally.failures.len());
                    }
                    match done {
                        Ok((suffered, acknowledged)) => tally.add(&trial, &suffered, acknowledged),
                        Err(panic) => {
                            let why = panic.downcast_ref::<String>().cloned();
                            let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                            println!("FAILED: {trial:?}");
                            tally.failures.push(format!("{trial:?}: {}", why.unwrap_or_default()));
                        }
                    }
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

impl Tally {
    fn add(&mut self, trial: &Trial, suffered: &Suffered, acknowledged: usize) {
        self.acknowledged += acknowledged;
        self.refused += suffered.refused;
        self.poisoned += usize::from(suffered.poisoned);
        self.never_ready += usize::from(suffered.never_ready);
        match suffered.fired {
            Some(_) => *self.fired.entry(format!("{} {}", trial.kind, trial.plan.effect)).or_default() += 1,
            None => self.missed += 1,
        }
    }

    fn report(&self, what: &str) {
        let fired: usize = self.fired.values().sum();
        let kinds: Vec<String> = self.fired.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
        println!(
            "summary: {what}; {fired} fired ({}); {} not reached; {} acknowledged before and none lost; {} refused; \
             poisoned {}; never ready {}; {} failed",
            kinds.join("; "),
            self.missed,
            self.acknowledged,
            self.refused,
            self.poisoned,
            self.never_ready,
            self.failures.len()
        );
        assert!(self.failures.is_empty(), "{}", self.failures.join("\n\n"));
        assert!(
            fired > 0 && self.missed * 4 <= fired,
            "{} of {} faults did not fire",
            self.missed,
            fired + self.missed
        );
        note_fired(fired);
    }
}

/// So many trials of each kind and effect, drawn by a seed; in a long run each `every`-th of all.
fn drawn(all: Vec<Trial>, usual: usize) -> Vec<Trial> {
    let every = rounds("WEYBRIDGE_CALLS_EVERY", 0) as usize;
    let mut noise = Noise::new(seed());
    println!("{} trials in all", all.len());
    if every > 0 {
        let from = noise.below(every as u64) as usize;
        return all.into_iter().skip(from).step_by(every).collect();
    }
    let mut kinds: BTreeMap<(&str, &str), Vec<Trial>> = BTreeMap::new();
    for trial in all {
        kinds.entry((trial.kind, trial.plan.effect)).or_default().push(trial);
    }
    let mut some = Vec::new();
    for mut kind in kinds.into_values() {
        for _ in 0..usual.min(kind.len()) {
            let at = noise.below(kind.len() as u64) as usize;
            some.push(kind.swap_remove(at));
        }
    }
    some
}

/// REL-01, REL-04, FLT-020 to FLT-024, FLT-026: whatever call fails, and however.
#[test]
fn any_failed_call_loses_nothing_and_sends_nothing_twice() {
    let mut all = trials(Day::Arrivals);
    all.extend(trials(Day::Housekeeping));
    let trials = drawn(all, 1);
    let what = format!("{} failed calls", trials.len());
    sweep(trials).report(&what);
}

/// REL-04: a sync that fails while the records are made keeps the gateway from starting. SQLite says that it keeps a log
/// before it has committed that; who stops listening there goes on without a log, whatever failed.
#[test]
fn a_sync_that_fails_while_the_records_are_made_keeps_the_gateway_from_starting() {
    for nth in 1..=8 {
        let plan = Plan { effect: "EIO", nth, calls: SYNC.to_owned(), part: String::new() };
        let (suffered, _) = attempt(&Trial { day: Day::Arrivals, kind: "sync", plan, most: 8 });
        let met = suffered.fired.expect("so many syncs there are");
        assert!(met.path == "." || met.path.starts_with("records.db"), "{met:?}");
        // SQLite does not heed a directory; the gateway syncs it once more (the last of these).
        assert!(
            suffered.never_ready || (met.path == "." && nth < 8),
            "{nth}: it goes on after a failed sync of {}",
            met.path
        );
    }
}

/// FLT-001 to FLT-014: killed before each step, and so after each step before it.
#[test]
fn a_kill_before_any_call_loses_nothing_and_sends_nothing_twice() {
    let mut all = Vec::new();
    for day in [Day::Arrivals, Day::Housekeeping] {
        let most = watch(day, &Plan::watch()).calls.len();
        all.extend((1..=most).map(|nth| Trial { day, kind: "any", plan: Plan::any("KILL", nth), most }));
    }
    let trials = drawn(all, 6);
    let what = format!("{} kills at a call", trials.len());
    sweep(trials).report(&what);
}
