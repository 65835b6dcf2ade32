//! Random histories against a small model, with restarts anywhere: what must always hold (INV-02, INV-03, INV-08, INV-10 to INV-14).

use super::support::*;
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::transfer::State;
use crate::records::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const DESTINATIONS: [&str; 3] = ["surrey", "kent", "PACS"];

#[derive(Debug, Clone)]
enum Op {
    Arrive { n: u32, content: u32, from: u32, chosen: u8 },
    Lease { to: usize, check: bool, most: usize },
    Settle { batch: usize, part: usize, outcomes: Vec<u8> },
    Act { verb: u8, transfer: i64 },
    Corrupt { instance: i64 },
    Condemn { instance: i64 },
    Wait { minutes: u32 },
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..6u32, 0..8u32, 0..3u32, 0..8u8).prop_map(|(n, c, from, chosen)| {
            // Most arrivals of a UID are of its own content.
            Op::Arrive { n, content: if c == 0 { 90 } else { 0 }, from, chosen }
        }),
        6 => (0..3usize, any::<bool>(), 1..4usize).prop_map(|(to, check, most)| Op::Lease { to, check, most }),
        6 => (0..4usize, 1..4usize, prop::collection::vec(0..9u8, 4)).prop_map(|(batch, part, outcomes)| {
            Op::Settle { batch, part, outcomes }
        }),
        2 => (0..4u8, 1..20i64).prop_map(|(verb, transfer)| Op::Act { verb, transfer }),
        1 => (1..8i64).prop_map(|instance| Op::Corrupt { instance }),
        1 => (1..8i64).prop_map(|instance| Op::Condemn { instance }),
        2 => (0..2000u32).prop_map(|minutes| Op::Wait { minutes }),
        1 => Just(Op::Restart),
    ]
}

fn outcome(n: u8) -> Outcome {
    match n {
        0 => accepted(),
        1 | 2 => verified(),
        3 => unknown(),
        4 => absent(),
        5 => deferred(Charge::Instance, None),
        6 => deferred(Charge::Destination, None),
        7 => parked(),
        _ => dead(),
    }
}

/// What the model knows: who must be owed what, and which bytes were acknowledged.
#[derive(Default)]
struct Model {
    /// The first content of each UID.
    first: BTreeMap<u32, u32>,
    /// Where each content of each UID came from.
    came_from: BTreeMap<(u32, u32), BTreeSet<String>>,
    /// The destinations that each content of each UID is owed to.
    owed: BTreeMap<(u32, u32), BTreeSet<String>>,
    arrivals: BTreeMap<(u32, u32), u64>,
}

struct Run {
    site: Site,
    model: Model,
    batches: Vec<Batch>,
    now: std::time::SystemTime,
    files: u64,
}

impl Run {
    async fn arrive(&mut self, n: u32, content: u32, from: u32, chosen: u8) {
        let content = if content == 0 { n } else { content + n };
        let sender = ["PACS", "CT1", "MR1"][from as usize];
        let chosen: Vec<&str> =
            DESTINATIONS.iter().enumerate().filter(|(i, _)| chosen & (1 << i) != 0).map(|(_, name)| *name).collect();
        self.files += 1;
        let arrival = Arrival {
            origin: node(sender),
            digest: digest(content),
            blob: BlobRef::New(new_place(self.files)),
            chosen: chosen.iter().map(|name| to(name)).collect(),
            received_at: self.now,
            ..push(n)
        };
        let before = self.site.records.instance(&uid(n), self.now).await.unwrap();
        let handed_back = before
            .iter()
            .flat_map(|version| &version.transfers)
            .any(|t| t.destination.0 == sender && matches!(t.state, State::Accepted | State::Verified));
        let recorded = self.site.record(arrival).await;
        let key = (n, content);
        let known = self.model.arrivals.contains_key(&key);
        match recorded.kept {
            Kept::Stored { .. } => assert!(!self.model.first.contains_key(&n)),
            Kept::Same { .. } => assert!(known),
            Kept::Differs { .. } => assert!(!known && self.model.first.contains_key(&n)),
            Kept::BlobGone | Kept::Rerouted => panic!("fresh bytes are never gone"),
        }
        self.model.first.entry(n).or_insert(content);
        *self.model.arrivals.entry(key).or_default() += 1;
        let origins = self.model.came_from.entry(key).or_default();
        origins.insert(sender.to_owned());
        if !handed_back {
            let fresh = chosen.iter().filter(|name| !origins.contains(**name)).map(|name| (*name).to_owned());
            self.model.owed.entry(key).or_default().extend(fresh);
        }
    }

    async fn apply(mut self, op: Op) -> Self {
        match op {
            Op::Arrive { n, content, from, chosen } => self.arrive(n, content, from, chosen).await,
            Op::Lease { to, check, most } => {
                let name = destination(DESTINATIONS[to]);
                let limits = LeaseLimits { instances: most, bytes: 1 << 30, together: true };
                let batch = match check {
                    true => self.site.records.lease_checks(&name, most, self.now).await.unwrap(),
                    false => self.site.records.lease(&name, limits, self.now).await.unwrap(),
                };
                self.batches.extend(batch);
            }
            Op::Settle { batch, part, outcomes } if !self.batches.is_empty() => {
                let batch = self.batches[batch % self.batches.len()].clone();
                let items = batch.items.iter().take(part).zip(outcomes.iter().cycle());
                let outcomes = items.map(|(item, n)| (item.transfer, outcome(*n))).collect();
                self.site.records.settle(batch.attempt, outcomes, AttemptSummary::default(), self.now).await.unwrap();
            }
            Op::Settle { .. } => {}
            Op::Act { verb, transfer } => {
                let verb = [Verb::Retry, Verb::Hold, Verb::Release, Verb::Cancel][usize::from(verb)];
                self.site.act(verb, &[crate::ledger::transfer::TransferId(transfer)]).await;
            }
            Op::Corrupt { instance } => {
                // There may be no such instance.
                let _ = self.site.records.corrupt(InstanceId(instance), "bits", self.now).await;
            }
            Op::Condemn { instance } => {
                let by_age = Purging::by_rule(PurgeRule::Age, self.now);
                let gone = self.site.records.condemn(vec![InstanceId(instance)], by_age, self.now).await.unwrap();
                self.site.records.freed(gone.blobs.into_iter().map(|(blob, _)| blob).collect()).await.unwrap();
            }
            Op::Wait { minutes } => self.now += minutes * MINUTE,
            Op::Restart => self.site = self.site.restart().0,
        }
        self
    }

    /// What must hold after every step.
    async fn check(&self) {
        for (n, first) in &self.model.first {
            let versions = self.site.records.instance(&uid(*n), self.now).await.unwrap();
            for version in &versions {
                let content = (0..200).find(|content| digest(*content) == version.sha256).unwrap();
                let key = (*n, content);
                assert_eq!(version.version == 1, content == *first, "the first stays the first");
                assert_eq!(Some(&version.arrivals), self.model.arrivals.get(&key));
                let owed: Vec<String> = version.transfers.iter().map(|t| t.destination.0.clone()).collect();
                let distinct: BTreeSet<String> = owed.iter().cloned().collect();
                assert_eq!(owed.len(), distinct.len(), "one transfer per destination");
                assert_eq!(Some(&distinct), self.model.owed.get(&key).or(Some(&BTreeSet::new())));
                for transfer in &version.transfers {
                    let held_version = version.version > 1;
                    assert!(!held_version || matches!(transfer.state, State::Held | State::Cancelled), "{transfer:?}");
                    let done = matches!(transfer.state, State::Verified | State::Accepted);
                    assert!(!done || transfer.evidence.is_some(), "{transfer:?}");
                }
            }
        }
        let (sums, _) = self.site.records.transfers_list(TransferFilter::default(), self.now).await.unwrap();
        for s in sums {
            let parts = [s.pending, s.unknown, s.accepted, s.verified, s.parked, s.held, s.dead, s.cancelled];
            assert_eq!(parts.iter().sum::<u64>(), s.instances);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn random_histories_keep_every_rule(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let site = Site::new();
            let mut run = Run { site, model: Model::default(), batches: vec![], now: noon(), files: 0 };
            for op in ops {
                run = run.apply(op).await;
                run.check().await;
            }
            run.site.verify().await;
        });
    }
}
