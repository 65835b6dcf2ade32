//! Random histories beside a reference model, with deaths anywhere (REL-32; INV-02 to INV-04, INV-06 to INV-08, INV-10 to INV-14, INV-20).

pub(crate) mod picture;
pub(crate) mod reference;
mod rules;

use super::support::*;
use crate::dicom::ae_title::AeTitle;
use crate::ledger::backoff::Backoff;
use crate::ledger::breaker::Probing;
use crate::ledger::outcome::{Charge, Outcome, Refusal};
use crate::ledger::step::Patience;
use crate::ledger::transfer::{State, TransferId};
use crate::peers::{Origin, Priority, Verify};
use crate::records::*;
use picture::{Picture, never_seen, picture, picture_of, words};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use reference::{Coming, Model, Time, study_of};
use rules::Rules;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

/// The destinations, and whether their word is enough. The PACS sends, too.
const DESTINATIONS: [(&str, bool); 3] = [("surrey", false), ("kent", false), ("PACS", true)];
pub(crate) const UIDS: u32 = 5;

#[derive(Debug, Clone)]
enum Op {
    /// A commit that needs no answer to be foreseen.
    One(Act),
    /// Several at once, in one group.
    Together(Vec<Act>),
    Lease {
        to: usize,
        check: bool,
        most: usize,
        together: bool,
    },
    /// The process dies while it does something: so many steps after it began.
    Die {
        during: Act,
        steps: usize,
    },
    /// The clock goes on, or is set back.
    Wait {
        minutes: i32,
    },
}

#[derive(Debug, Clone)]
enum Act {
    Arrive {
        uid: u32,
        content: u32,
        from: usize,
        chosen: u8,
        by_hand: bool,
        known: bool,
    },
    Settle {
        attempt: usize,
        part: usize,
        outcomes: Vec<u8>,
    },
    Interrupt {
        attempt: usize,
    },
    Person {
        verb: usize,
        transfer: usize,
    },
    Pause {
        to: usize,
        paused: bool,
    },
    Damage {
        version: usize,
    },
    Purge {
        version: usize,
        by_age: bool,
    },
    /// What is condemned has been freed.
    Free,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..=UIDS, 0..10u32, 0..5usize, 0..8u8, prop::bool::weighted(0.2), any::<bool>()).prop_map(
            |(uid, content, from, chosen, by_hand, known)| Act::Arrive { uid, content, from, chosen, by_hand, known }
        ),
        8 => (0..4usize, 1..5usize, prop::collection::vec(0..20u8, 4)).prop_map(|(attempt, part, outcomes)| {
            Act::Settle { attempt, part, outcomes }
        }),
        2 => (0..4usize).prop_map(|attempt| Act::Interrupt { attempt }),
        3 => (0..5usize, 0..16usize).prop_map(|(verb, transfer)| Act::Person { verb, transfer }),
        1 => (0..3usize, any::<bool>()).prop_map(|(to, paused)| Act::Pause { to, paused }),
        1 => (0..6usize).prop_map(|version| Act::Damage { version }),
        2 => (0..6usize, any::<bool>()).prop_map(|(version, by_age)| Act::Purge { version, by_age }),
        1 => Just(Act::Free),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => act().prop_map(Op::One),
        2 => prop::collection::vec(act(), 2..5).prop_map(Op::Together),
        9 => (0..3usize, any::<bool>(), 1..4usize, any::<bool>()).prop_map(|(to, check, most, together)| {
            Op::Lease { to, check, most, together }
        }),
        2 => (act(), 0..4usize).prop_map(|(during, steps)| Op::Die { during, steps }),
        2 => (-1500..3000i32).prop_map(|minutes| Op::Wait { minutes }),
    ]
}

fn outcome(n: u8) -> Outcome {
    match n {
        0 | 1 => accepted(),
        2 | 3 => verified(),
        4 | 5 => unknown(),
        6 | 7 => absent(),
        8 => deferred(Charge::Instance, Some(HOUR / 2)),
        9 => deferred(Charge::Us, Some(3 * HOUR)),
        10 => deferred(Charge::Destination, Some(2 * HOUR)),
        11 => deferred(Charge::Destination, None),
        12 => parked(),
        13 => dead(),
        14 => Outcome::Refused { why: "0110".into(), after: None, refusal: Refusal::Instance },
        15 => Outcome::Refused { why: "A700".into(), after: Some(2 * MINUTE), refusal: Refusal::Scarce },
        16 => Outcome::Unsupported { why: "0122".into(), said: true },
        17 => Outcome::Refused { why: "0124".into(), after: None, refusal: Refusal::Forbidden },
        18 => Outcome::Unsupported { why: "not sent".into(), said: false },
        _ => Outcome::Held { why: "a person must decide".into() },
    }
}

/// Waits are exact: no jitter. Little patience, so that histories come to its end.
fn options(hold_after: u32) -> RecordsOptions {
    let none = Backoff { first: Duration::ZERO, cap: Duration::ZERO };
    RecordsOptions {
        patience: Patience { backoff: none, give_up: HOUR, longest_wait: HOUR, late_looks: 2, refusals: 2 },
        probing: Probing { backoff: none, ..Probing::default() },
        isolate_after: 1,
        hold_after,
        ..RecordsOptions::default()
    }
}

pub(crate) fn micros(at: SystemTime) -> Time {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as Time
}

/// What an act came to, in words that both sides can say.
type Answer = String;

/// An act on the records, not begun yet, and what the model makes of it.
type Prepared = (Pin<Box<dyn Future<Output = Answer>>>, Box<dyn FnOnce(&mut Model) -> Answer>);

struct Run {
    records: Records,
    options: RecordsOptions,
    model: Model,
    rules: Rules,
    /// What was leased: the attempt, and its transfers.
    leased: Vec<(usize, Vec<usize>)>,
    now: SystemTime,
    files: u64,
}

impl Run {
    fn new(hold_after: u32) -> Self {
        let options = options(hold_after);
        let (records, _) = Records::inline(Disk::new(), options.clone(), noon());
        let (model, rules) = (Model::new(options.clone()), Rules::default());
        Self { records, model, rules, options, leased: vec![], now: noon(), files: 0 }
    }

    /// The act on the records, not begun yet, and what the model makes of it.
    fn prepare(&mut self, act: &Act) -> Prepared {
        let (records, now) = (self.records.clone(), self.now);
        let at = micros(now);
        match act.clone() {
            Act::Arrive { uid: n, content, from, chosen, by_hand, known } => {
                let coming = coming(&self.model, n, content, from, chosen, by_hand, known);
                self.files += 1;
                let arrival = arrival(&coming, self.files, now);
                let real = async move { how(records.record(arrival).await.unwrap().kept).to_owned() };
                (Box::pin(real), Box::new(move |model| model.arrive(&coming, DAY.as_micros() as Time, at).to_owned()))
            }
            Act::Settle { attempt, part, outcomes } => {
                let Some((attempt, items)) = self.pick(attempt) else { return nothing() };
                let outcomes: Vec<(usize, Outcome)> =
                    items.into_iter().take(part).zip(outcomes.iter().cycle().map(|n| outcome(*n))).collect();
                let reported = outcomes.iter().map(|(id, outcome)| (number(*id), outcome.clone())).collect();
                let real = async move {
                    let attempt = AttemptId(attempt as i64 + 1);
                    let settled = records.settle(attempt, reported, AttemptSummary::default(), now).await.unwrap();
                    format!("{:?}", settled.late.iter().map(|id| id.0 as usize - 1).collect::<Vec<_>>())
                };
                (Box::pin(real), Box::new(move |model| format!("{:?}", model.settle(attempt, &outcomes, at))))
            }
            Act::Interrupt { attempt } => {
                let Some((attempt, _)) = self.pick(attempt) else { return nothing() };
                let real = async move {
                    records.interrupted(AttemptId(attempt as i64 + 1), now).await.unwrap();
                    String::new()
                };
                (
                    Box::pin(real),
                    Box::new(move |model| {
                        model.interrupt(attempt, at);
                        String::new()
                    }),
                )
            }
            Act::Person { verb, transfer } => {
                let verb = [Verb::Retry, Verb::Hold, Verb::Release, Verb::Cancel, Verb::Reopen][verb];
                let real = async move {
                    let one = Selection::Transfers(vec![number(transfer)]);
                    (records.act(verb, one, "jo", "because", now).await.unwrap().changed == 1).to_string()
                };
                (Box::pin(real), Box::new(move |model| model.act(verb, transfer, at).to_string()))
            }
            other => self.prepare_other(&other),
        }
    }

    /// The same for what concerns no transfer of its own.
    fn prepare_other(&self, act: &Act) -> Prepared {
        let (records, now) = (self.records.clone(), self.now);
        let at = micros(now);
        match act.clone() {
            Act::Pause { to, paused } => {
                let to = DESTINATIONS[to].0;
                let real = async move {
                    records.pause(&destination(to), paused, "jo", "because", now).await.unwrap().to_string()
                };
                (Box::pin(real), Box::new(move |model| model.pause(to, paused).to_string()))
            }
            Act::Damage { version } => {
                let real = async move {
                    // There may be no such instance.
                    let _ = records.corrupt_here(InstanceId(version as i64 + 1), "bits", now).await;
                    String::new()
                };
                (
                    Box::pin(real),
                    Box::new(move |model| {
                        model.damage(version, at);
                        String::new()
                    }),
                )
            }
            Act::Free => {
                let known: Vec<usize> = self.model.condemned().collect();
                let condemned = known.iter().map(|blob| BlobId(*blob as i64 + 1)).collect();
                let real = async move {
                    records.freed(condemned).await.unwrap();
                    String::new()
                };
                (
                    Box::pin(real),
                    Box::new(move |model| {
                        model.free(&known);
                        String::new()
                    }),
                )
            }
            Act::Purge { version, by_age } => purge(records, version, by_age, now),
            _ => nothing(),
        }
    }

    /// One of the latest attempts.
    fn pick(&self, back: usize) -> Option<(usize, Vec<usize>)> {
        self.leased.iter().rev().nth(back % self.leased.len().max(1)).cloned()
    }

    async fn apply(&mut self, op: &Op) {
        match op {
            Op::One(act) => self.together(std::slice::from_ref(act)).await,
            Op::Together(acts) => self.together(acts).await,
            Op::Lease { to, check, most, together } => self.lease(*to, *check, *most, *together).await,
            Op::Die { during, steps } => self.die(during, *steps),
            Op::Wait { minutes } => {
                let by = minutes.unsigned_abs() * MINUTE;
                self.now = if *minutes < 0 { self.now - by } else { self.now + by };
            }
        }
        let said = |act: &Act| match act {
            Act::Settle { outcomes, .. } => outcomes.contains(&16),
            Act::Person { verb, .. } => *verb == 0,
            _ => false,
        };
        match op {
            Op::One(act) | Op::Die { during: act, .. } if said(act) => self.rules.heard(),
            Op::Together(acts) if acts.iter().any(said) => self.rules.heard(),
            _ => {}
        }
        self.rules.look(&self.model, micros(self.now));
    }

    async fn together(&mut self, acts: &[Act]) {
        let (reals, models): (Vec<_>, Vec<_>) = acts.iter().map(|act| self.prepare(act)).unzip();
        let answers = futures_util::future::join_all(reals).await;
        for ((act, answer), model) in acts.iter().zip(answers).zip(models) {
            assert_eq!(answer, model(&mut self.model), "{act:?}");
        }
    }

    async fn lease(&mut self, to: usize, check: bool, most: usize, together: bool) {
        let (name, limits) = (DESTINATIONS[to].0, LeaseLimits { instances: most, bytes: 1 << 30, together });
        let batch = match check {
            true => self.records.lease_checks(&destination(name), most, self.now).await.unwrap(),
            false => self.records.lease(&destination(name), limits, self.now).await.unwrap(),
        };
        let items = |batch: &Batch| batch.items.iter().map(|item| item.transfer.0 as usize - 1).collect::<Vec<_>>();
        let got = batch.map(|batch| (batch.attempt.0 as usize - 1, items(&batch)));
        self.leased.extend(got.clone());
        let what = (name, check, most, together);
        if !check && self.model.far.contains_key(name) {
            let steady = self.options.probing.steady.as_micros() as Time;
            let items = got.as_ref().map_or(&[][..], |(_, items)| items);
            self.rules.leased((&self.model, steady), (name, together), items, micros(self.now));
        }
        self.model.lease(what, micros(self.now), got).unwrap_or_else(|why| panic!("{what:?}: {why}"));
    }

    /// The process dies so many steps into an act: at none and one it has not been committed, then it has, and nobody was told.
    fn die(&mut self, during: &Act, steps: usize) {
        let (mut real, model) = self.prepare(during);
        let mut context = Context::from_waker(Waker::noop());
        let mut ended = None;
        for _ in 0..steps {
            if ended.is_none()
                && let Poll::Ready(answer) = pin!(&mut real).poll(&mut context)
            {
                ended = Some(answer);
            }
        }
        drop(real);
        let disk = self.records.die();
        if steps >= 2 {
            let answer = model(&mut self.model);
            assert!(ended.is_none_or(|ended| ended == answer));
        }
        self.model.restart(micros(self.now));
        self.records = Records::inline(disk, self.options.clone(), self.now).0;
    }

    /// The records and the model agree, in everything that can be seen of both.
    async fn compare(&self) -> Picture {
        let (seen, modelled) = (picture(&self.records, self.now).await, picture_of(&self.model, digest));
        assert_eq!(seen, modelled);
        let (sums, _) = self.records.transfers_list(TransferFilter::default(), self.now).await.unwrap();
        for s in sums {
            let parts = [s.pending, s.unknown, s.accepted, s.verified, s.parked, s.held, s.dead, s.cancelled];
            assert_eq!(parts.iter().sum::<u64>(), s.instances, "INV-10");
        }
        for version in 0..self.model.versions.len() {
            let of = |t: &&reference::Transfer| t.version == version && t.cause == "route";
            let owed: Vec<&str> = self.model.transfers.iter().filter(of).map(|t| t.to.as_str()).collect();
            assert_eq!(owed.len(), owed.iter().collect::<BTreeSet<_>>().len(), "INV-02");
        }
        for t in &self.model.transfers {
            let conflict = self.model.versions[t.version].number > 1;
            assert!(!conflict || matches!(t.state, State::Held | State::Cancelled), "INV-12: {t:?}");
            assert!(!matches!(t.state, State::Verified | State::Accepted) || t.evidence, "INV-04: {t:?}");
        }
        seen
    }
}

fn nothing() -> Prepared {
    (Box::pin(async { String::new() }), Box::new(|_| String::new()))
}

fn number(transfer: usize) -> TransferId {
    TransferId(transfer as i64 + 1)
}

/// A purge, whose bytes are freed in a commit of its own.
fn purge(records: Records, version: usize, by_age: bool, now: SystemTime) -> Prepared {
    let before = now - DAY;
    let purging = match by_age {
        true => Purging::by_rule(PurgeRule::Age, before),
        false => Purging::by("jo", "because").unwrap(),
    };
    let real = async move {
        let gone = records.condemn(vec![InstanceId(version as i64 + 1)], purging, now).await.unwrap();
        (gone.instances == 1).to_string()
    };
    let before = by_age.then(|| micros(before));
    (Box::pin(real), Box::new(move |model| model.purge(version, before).to_string()))
}

fn coming(model: &Model, uid: u32, content: u32, from: usize, chosen: u8, by_hand: bool, known: bool) -> Coming {
    // Most arrivals of a UID are of its own content; one content is that of several UIDs.
    let content = match content {
        0 => 100 + uid,
        1 => 50,
        _ => uid,
    };
    let from = [("node", "PACS"), ("node", "CT1"), ("peer", "kent"), ("operator", "jo"), ("node", "MR1")][from];
    let chosen = DESTINATIONS.into_iter().enumerate().filter(|(at, _)| chosen & (1 << at) != 0).map(|(_, to)| to);
    let requested = by_hand.then_some("surrey");
    // A generation that was seen a moment ago, live or not any more.
    let named = if known { model.blobs.iter().rposition(|(of, _)| *of == content) } else { None };
    Coming { uid, content, from, chosen: chosen.collect(), requested, named }
}

fn arrival(coming: &Coming, file: u64, now: SystemTime) -> Arrival {
    let named = coming.named.map(|blob| BlobRef::Known(BlobId(blob as i64 + 1)));
    let requested = |to: &str| Requested {
        destination: destination(to),
        request: "by hand".into(),
        verify: Verify::Present,
        priority: Priority::Routine,
    };
    let mut arrival = Arrival {
        origin: match coming.from {
            ("node", title) => Origin::Node(AeTitle::parse(title).unwrap()),
            ("peer", name) => Origin::Peer(name.into()),
            (_, name) => Origin::Operator(name.into()),
        },
        digest: digest(coming.content),
        blob: named.unwrap_or(BlobRef::New(new_place(file))),
        chosen: coming.chosen.iter().map(|(name, word)| if *word { to_accepting(name) } else { to(name) }).collect(),
        requested: coming.requested.map(requested),
        received_at: now,
        ..push(coming.uid)
    };
    arrival.head.study = study(study_of(coming.uid));
    arrival
}

/// In the words of the model.
pub(crate) fn how(kept: Kept) -> &'static str {
    match kept {
        Kept::Stored { .. } => "stored",
        Kept::Same { .. } => "same",
        Kept::Differs { .. } => "differs",
        Kept::BlobGone => "gone",
        Kept::Rerouted => "rerouted",
    }
}

fn histories() -> u32 {
    std::env::var("WEYBRIDGE_HISTORIES").map_or(100, |text| text.parse().unwrap())
}

/// One history; every state and kind of exception that was seen in it.
async fn play(hold_after: u32, ops: &[Op]) -> BTreeSet<String> {
    let mut run = Run::new(hold_after);
    let mut seen = BTreeSet::new();
    for op in ops {
        run.apply(op).await;
        seen.extend(words(run.compare().await));
    }
    // Chain, tree and steps are sound, and the entries alone give the same states (INV-03, INV-08, INV-13, INV-14).
    let report = run.records.verify_inline();
    assert!(report.is_sound(), "{report:#?}");
    seen
}

/// On every push 100 histories, and as many again while they have not come to all there is; by `WEYBRIDGE_HISTORIES=n` so many. One that
/// fails is made small and printed.
#[test]
fn random_histories_keep_every_rule() {
    let failure_persistence = None;
    let config =
        ProptestConfig { cases: histories(), max_shrink_iters: 2000, failure_persistence, ..Default::default() };
    let seen = Mutex::new(BTreeSet::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stories = (1..4u32, prop::collection::vec(op(), 1..80));
    let mut rounds = 0;
    let missed = loop {
        let played = TestRunner::new(config.clone()).run(&stories, |(hold_after, ops)| {
            let of_this = runtime.block_on(play(hold_after, &ops));
            seen.lock().unwrap().extend(of_this);
            Ok(())
        });
        played.unwrap_or_else(|error| panic!("{error}"));
        rounds += 1;
        let missed = never_seen(&seen.lock().unwrap());
        if missed.is_empty() || rounds == 5 {
            break missed;
        }
    };
    let (count, seen) = (rounds * histories(), seen.into_inner().unwrap());
    println!("summary: {count} histories; seen {}", seen.iter().cloned().collect::<Vec<_>>().join(", "));
    assert!(histories() < 100 || missed.is_empty(), "{count} histories never come to {missed:?}");
}
