//! SOP classes that a destination does not take, and destinations that are out of resources (WEB-063, DIM-054).

use super::support::*;
use crate::ledger::breaker::{Probing, Reach};
use crate::ledger::outcome::{Charge, Outcome, Refusal};
use crate::ledger::transfer::State;
use crate::peers::Priority;
use crate::records::*;
use std::time::SystemTime;

pub(super) fn unsupported(said: bool) -> Outcome {
    Outcome::Unsupported { why: "HTTP 501".into(), said }
}

fn scarce() -> Outcome {
    Outcome::Refused { why: "A700".into(), after: None, refusal: Refusal::Scarce }
}

fn forbidden() -> Outcome {
    Outcome::Refused { why: "0124".into(), after: None, refusal: Refusal::Forbidden }
}

/// Settles so many transfers with one outcome, a batch after the other.
async fn send_all(site: &Site, count: u32, outcome: Outcome, at: SystemTime) {
    let mut sent = 0;
    while sent < count as usize {
        let more = site.send("surrey", outcome.clone(), at).await;
        assert!(more > 0, "nothing is due after {sent} of {count}");
        sent += more;
    }
}

pub(super) async fn view(site: &Site) -> DestinationView {
    site.records.summary().await.unwrap().destinations.remove(0)
}

#[tokio::test]
async fn a_class_that_is_refused_is_parked_beside_a_destination_that_is_up() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", unsupported(true), noon()).await;
    assert_eq!(site.states(1).await, [State::Parked]);
    let seen = view(&site).await;
    assert_eq!((seen.reach, seen.unsupported.len()), (Reach::Up, 1));
    assert_eq!(seen.unsupported[0].why.as_deref(), Some("HTTP 501"));
    // Neither a success of another class, nor a restart, lets it go.
    let (site, _) = site.restart();
    let (soon, later) = (noon() + MINUTE, noon() + 2 * MINUTE);
    assert!(site.lease("surrey", soon).await.is_none());
    let mut other = push(2);
    other.head.sop_class = crate::dicom::uid::SopClassUid::parse("1.2.840.10008.5.1.4.1.1.4").unwrap();
    site.stored(other).await;
    site.stored(push(3)).await;
    let batch = site.lease("surrey", soon).await.unwrap();
    assert_eq!(batch.unsupported.len(), 1, "the lane is told");
    let one =
        |item: &Leased| (item.transfer, if item.sop_instance == uid(2) { verified() } else { unsupported(false) });
    let outcomes = batch.items.iter().map(one).collect();
    site.records.settle(batch.attempt, outcomes, AttemptSummary::default(), soon).await.unwrap();
    let states = [site.states(1).await, site.states(2).await, site.states(3).await].concat();
    assert_eq!(states, [State::Parked, State::Verified, State::Parked]);
    assert!(site.lease("surrey", later).await.is_none());
    site.verify().await;

    // Resuming lifts it, although nothing was paused; once.
    let to = destination("surrey");
    assert!(site.records.pause(&to, false, "jo", "they take it now", later).await.unwrap());
    assert!(!site.records.pause(&to, false, "jo", "again", later).await.unwrap());
    assert_eq!(site.send("surrey", verified(), later).await, 2);
    assert_eq!((site.states(1).await, view(&site).await.unsupported), (vec![State::Verified], Vec::new()));
    site.verify().await;
}

/// REL-20: what is urgent, and parked for its class, still waits: for a person, who is to be told.
#[tokio::test]
async fn an_urgent_transfer_that_is_parked_for_its_class_still_waits() {
    let site = Site::new();
    site.stored(push(1)).await;
    let id = site.transfers(1).await[0].transfer;
    assert_eq!(site.act(Verb::Expedite, &[id]).await.changed, 1);
    site.send("surrey", unsupported(true), noon()).await;
    assert_eq!((site.states(1).await, view(&site).await.urgent), (vec![State::Parked], Some(noon())));
    assert!(site.records.pause(&destination("surrey"), false, "jo", "they take it now", noon()).await.unwrap());
    site.send("surrey", verified(), noon()).await;
    assert_eq!((site.states(1).await, view(&site).await.urgent), (vec![State::Verified], None));
}

/// WEB-063: one instance is tried now and then, no more often than a destination that is out; when it is taken, all of its class go.
#[tokio::test]
async fn a_class_that_is_refused_is_tried_by_one_instance_now_and_then_and_heals() {
    let site = Site::new();
    for n in 1..=3 {
        site.stored(push(n)).await;
    }
    send_all(&site, 3, unsupported(true), noon()).await;
    let steady = Probing::default().steady;
    assert!(site.lease("surrey", noon() + steady / 2).await.is_none(), "not before its time");
    let first = site.lease("surrey", noon() + steady).await.unwrap();
    assert_eq!((first.items.len(), first.unsupported.len()), (1, 0), "one, and it is really sent");
    assert!(site.lease("surrey", noon() + steady).await.is_none(), "and no other");
    assert!(site.settle(&first, unsupported(true), noon() + steady).await.refused_classes.is_empty(), "no news");
    assert_eq!(view(&site).await.unsupported.len(), 1);
    // A clock that was set back does not make it wait for ever.
    let again = site.lease("surrey", noon() - DAY).await.unwrap();
    site.settle(&again, unsupported(true), noon() - DAY).await;
    let at = noon() + 2 * steady;
    // What comes of the next says nothing of the class.
    let third = site.lease("surrey", at).await.unwrap();
    site.settle(&third, deferred(Charge::Us, None), at).await;
    assert!(site.lease("surrey", at).await.is_none(), "it waits, and so do the others");
    let at = at + steady;
    let probe = site.lease("surrey", at).await.unwrap();
    assert_eq!(probe.items.len(), 1);
    site.settle(&probe, verified(), at).await;
    assert!(view(&site).await.unsupported.is_empty(), "it heals");
    send_all(&site, 2, verified(), at + steady).await;
    for n in 1..=3 {
        assert_eq!(site.states(n).await, [State::Verified], "{n}");
    }
    site.verify().await;
}

/// WEB-063: more than a page of what was parked goes by itself, too.
#[tokio::test]
async fn more_than_a_page_that_is_parked_for_a_class_goes_when_one_is_taken() {
    let site = Site::new();
    let count = 1002u32;
    for n in 1..=count {
        site.stored(push(n)).await;
    }
    send_all(&site, count, unsupported(true), noon()).await;
    let at = noon() + Probing::default().steady;
    send_all(&site, count, verified(), at).await;
    assert!(view(&site).await.open.is_empty(), "none is left parked");
    assert!(view(&site).await.unsupported.is_empty());
    site.verify().await;
}

/// WEB-063: however much is parked for a class, all of it goes, in commits for which nothing that arrives waits long.
#[tokio::test]
async fn more_than_a_page_that_is_parked_for_a_class_is_lifted_by_one_act() {
    let site = Site::new();
    let count = 1001u32;
    for n in 1..=count {
        site.stored(push(n)).await;
    }
    send_all(&site, count, unsupported(true), noon()).await;
    assert!(site.records.pause(&destination("surrey"), false, "jo", "they take it now", noon()).await.unwrap());
    let open = view(&site).await.open;
    assert_eq!(open, [("pending", u64::from(count))].into(), "none is left parked");
    site.verify().await;
}

/// REL-20, REL-25: however much was parked for a destination, all of it goes on with the first success, in commits for which nothing that
/// arrives waits long.
#[tokio::test]
async fn more_than_a_page_that_was_parked_for_a_destination_goes_on_with_the_first_success() {
    let site = Site::new();
    let count = 1002u32;
    for n in 1..=count {
        site.stored(push(n)).await;
    }
    let lease = async |instances, at| {
        let limits = LeaseLimits { instances, ..LIMITS };
        site.records.lease(&destination("surrey"), limits, at).await.unwrap().unwrap()
    };
    let all = lease(count as usize, noon()).await;
    assert_eq!(site.settle(&all, parked(), noon()).await.applied.len(), count as usize);
    let at = noon() + Probing::default().steady;
    let probe = lease(1, at).await;
    site.settle(&probe, verified(), at).await;
    assert_eq!(view(&site).await.open, [("parked", 1), ("pending", 1000)].into());
    send_all(&site, count - 1, verified(), at).await;
    assert!(view(&site).await.open.is_empty(), "none is left parked");
    site.verify().await;
}

#[tokio::test]
async fn what_was_not_sent_for_a_class_that_is_lifted_meanwhile_goes_at_once() {
    let site = Site::new();
    for n in 1..=2 {
        site.stored(push(n)).await;
        site.send("surrey", unsupported(true), noon()).await;
    }
    site.stored(push(3)).await;
    let batch = site.lease("surrey", noon()).await.unwrap();
    let to = destination("surrey");
    // One is retried by hand, which forgets the class; the other must not be left behind by whoever resumes.
    site.act(Verb::Retry, &[site.transfers(1).await[0].transfer]).await;
    assert!(site.records.pause(&to, false, "jo", "they take it now", noon()).await.unwrap());
    assert_eq!([site.states(1).await, site.states(2).await].concat(), [State::Pending, State::Pending]);
    site.settle(&batch, unsupported(false), noon()).await;
    assert_eq!(site.states(3).await, [State::Deferred]);
    assert_eq!(site.send("surrey", verified(), noon()).await, 3);
    assert!(!site.records.pause(&to, false, "jo", "again", noon()).await.unwrap());
    site.verify().await;
}

/// WEB-063: a person has one tried; when it is taken, the others are not left behind.
#[tokio::test]
async fn what_is_retried_by_hand_and_taken_lets_the_others_of_its_class_go() {
    let site = Site::new();
    for n in 1..=2 {
        site.stored(push(n)).await;
        site.send("surrey", unsupported(true), noon()).await;
    }
    assert_eq!(site.act(Verb::Retry, &[site.transfers(1).await[0].transfer]).await.changed, 1);
    assert_eq!(view(&site).await.unsupported.len(), 1, "one is parked still");
    let batch = site.lease("surrey", noon()).await.unwrap();
    assert_eq!((batch.items.len(), batch.unsupported.len()), (1, 0));
    site.settle(&batch, verified(), noon()).await;
    assert!(view(&site).await.unsupported.is_empty());
    assert_eq!(site.states(2).await, [State::Pending]);
    assert_eq!(site.send("surrey", verified(), noon()).await, 1);
    site.verify().await;
}

#[tokio::test]
async fn what_is_parked_for_its_class_and_retried_by_hand_is_really_sent() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", unsupported(true), noon()).await;
    let transfer = site.transfers(1).await[0].transfer;
    assert_eq!(site.act(Verb::Retry, &[transfer]).await.changed, 1);
    let batch = site.lease("surrey", noon()).await.unwrap();
    assert!(batch.unsupported.is_empty());
    site.settle(&batch, verified(), noon()).await;
    site.verify().await;
}

#[tokio::test]
async fn a_destination_without_room_is_left_alone_and_costs_no_instance_its_life() {
    let site = Site::new();
    site.stored(push(1)).await;
    let mut now = noon();
    for _ in 0..50 {
        assert_eq!(site.send("surrey", scarce(), now).await, 1);
        let seen = view(&site).await;
        assert_eq!((seen.reach, site.states(1).await), (Reach::Down, vec![State::Deferred]));
        assert!(seen.words.unwrap().contains("A700"));
        now += 20 * MINUTE;
    }
    // It takes something else each time: now it is the instance.
    let mut others = 0;
    while site.states(1).await != [State::Dead] {
        others += 1;
        assert!(others < 60, "it is never given up");
        let mut other = push(1 + others);
        other.head.study = study(1 + others);
        site.stored(other).await;
        while let Some(batch) = site.lease("surrey", now).await {
            let bad = batch.items[0].sop_instance == uid(1);
            site.settle(&batch, if bad { scarce() } else { verified() }, now).await;
        }
        now += 20 * MINUTE;
    }
    assert!((12..=18).contains(&others), "given up after the usual count, beside {others} others");
    site.verify().await;
}

/// REL-24, DIM-054: one instance is refused each time, in words that may be meant of the whole destination; everything else is taken. What
/// arrives goes at once, and the one is given up after the usual count.
#[tokio::test]
async fn one_instance_that_is_always_refused_keeps_no_other_waiting_and_is_given_up() {
    for (refusal, companions, quiet) in [
        (scarce as fn() -> Outcome, 2, 0),
        (forbidden, 2, 0),
        (scarce, 0, 0),
        (forbidden, 0, 0),
        (scarce, 0, 9),
        (forbidden, 0, 9),
    ] {
        let site = Site::new();
        let (mut now, mut tries, mut late) = (noon(), 0, 0);
        for n in 1..=1 + companions {
            site.stored(push(n)).await;
        }
        for round in 0..40 {
            // Every few minutes a study; now and then none for hours.
            let steps = if round % 10 == 5 { 3 + quiet * 10 } else { 3 };
            for _ in 0..steps {
                now += 5 * MINUTE;
                while let Some(batch) = site.lease("surrey", now).await {
                    let bad = |item: &&Leased| item.sop_instance == uid(1);
                    tries += batch.items.iter().filter(bad).count();
                    let one = |item: &Leased| (item.transfer, if bad(&item) { refusal() } else { verified() });
                    let outcomes = batch.items.iter().map(one).collect();
                    site.records.settle(batch.attempt, outcomes, AttemptSummary::default(), now).await.unwrap();
                }
            }
            let mut other = push(100 + round);
            other.head.study = study(100 + round);
            site.stored(other).await;
            // It is tried as soon as it is there, but for what a first refusal may cost.
            for _ in 0..10 {
                let Some(batch) = site.lease("surrey", now).await else { break };
                let bad = batch.items[0].sop_instance == uid(1);
                tries += usize::from(bad);
                site.settle(&batch, if bad { refusal() } else { verified() }, now).await;
            }
            late += usize::from(site.states(100 + round).await != [State::Verified]);
        }
        let (name, state) = (refusal(), site.states(1).await);
        assert!(late <= 1, "{name:?} with {companions}: {late} studies waited");
        assert_eq!((state, view(&site).await.reach), (vec![State::Dead], Reach::Up), "{name:?} after {tries}");
        let open = site.records.exceptions(true, ExceptionId(0), 0).await.unwrap();
        assert_eq!(open.len(), 1, "{open:?}");
        site.verify().await;
    }
}

/// REL-24: a probe does not meet the same study each time, however urgent that is.
#[tokio::test]
async fn probes_take_turns() {
    let site = Site::new();
    for n in 1..=3 {
        let mut one = push(n);
        one.head.study = study(n);
        one.chosen[0].priority = if n == 1 { Priority::Urgent } else { Priority::Routine };
        site.stored(one).await;
    }
    let mut now = noon();
    let mut met = Vec::new();
    for _ in 0..7 {
        let batch = site.lease("surrey", now).await.unwrap();
        met.push(batch.study.clone());
        site.settle(&batch, deferred(Charge::Destination, None), now).await;
        now += 20 * MINUTE;
    }
    for n in 1..=3 {
        assert!(met[1..4].contains(&study(n)) && met[4..].contains(&study(n)), "{met:?}");
    }
    site.verify().await;
}

/// REL-24: a node aborts the association each time at one instance of a study: the rest of the study comes before it from then on.
#[tokio::test]
async fn what_a_node_aborts_at_goes_behind_its_study() {
    let site = Site::new();
    for n in 1..=4 {
        site.stored(push(n)).await;
    }
    let (mut now, mut batches) = (noon(), 0);
    for _ in 0..20 {
        if site.states(4).await == [State::Verified] {
            break;
        }
        now += 20 * MINUTE;
        while let Some(check) = site.check("surrey", now).await {
            site.settle(&check, absent(), now).await;
        }
        let Some(batch) = site.lease("surrey", now).await else { continue };
        batches += 1;
        assert!(batches < 4, "its companions wait for it");
        let mut broken = false;
        let mut outcome = |item: &Leased| {
            let before = broken;
            broken |= item.sop_instance == uid(1);
            match (before, broken) {
                (true, _) => deferred(Charge::Destination, None),
                (_, true) => unknown(),
                _ => verified(),
            }
        };
        let outcomes = batch.items.iter().map(|item| (item.transfer, outcome(item))).collect();
        site.records.settle(batch.attempt, outcomes, AttemptSummary::default(), now).await.unwrap();
    }
    for n in 2..=4 {
        assert_eq!(site.states(n).await, [State::Verified], "{n}");
    }
    site.verify().await;
}

/// REL-24, WEB-062: three doubts about one study are no outage; about several they are.
#[tokio::test]
async fn what_is_in_doubt_for_one_study_keeps_no_other_waiting() {
    for (studies, want) in [(1, Reach::Up), (2, Reach::Down)] {
        let site = Site::new();
        let mut now = noon();
        for n in 1..=studies {
            let mut one = push(n);
            one.head.study = study(n);
            site.stored(one).await;
        }
        for _ in 0..4 {
            for _ in 0..studies {
                site.send("surrey", unknown(), now).await;
            }
            now += 20 * MINUTE;
            while let Some(check) = site.check("surrey", now).await {
                site.settle(&check, absent(), now).await;
            }
            now += 2 * HOUR;
        }
        assert_eq!(view(&site).await.reach, want, "{studies} studies");
        site.verify().await;
    }
}

/// REL-24: what was sent three times and lost each time goes alone.
#[tokio::test]
async fn what_is_lost_again_and_again_goes_alone() {
    let site = Site::new();
    for n in 1..=3 {
        site.stored(push(n)).await;
    }
    let (mut now, mut sizes) = (noon(), Vec::new());
    for _ in 0..6 {
        now += 2 * HOUR;
        let batch = site.lease("surrey", now).await.unwrap();
        sizes.push(batch.items.len());
        site.settle(&batch, unknown(), now).await;
        now += 2 * HOUR;
        while let Some(check) = site.check("surrey", now).await {
            site.settle(&check, absent(), now).await;
        }
    }
    assert_eq!(sizes, [3, 3, 3, 1, 1, 1]);
    site.verify().await;
}

#[tokio::test]
async fn a_profile_is_kept_and_the_last_one_counts() {
    let site = Site::new();
    assert_eq!(site.records.profile("surrey").await.unwrap(), None);
    for (text, at) in [("{\"a\":1}", noon()), ("{\"a\":2}", noon() + DAY)] {
        site.records.keep_profile("surrey", text, at).await.unwrap();
    }
    let (site, _) = site.restart();
    assert_eq!(site.records.profile("surrey").await.unwrap(), Some((noon() + DAY, "{\"a\":2}".to_owned())));
}

/// WEB-044, DIM-039: what a destination stores with a warning is not passed over; nor can it fill the records.
#[tokio::test]
async fn what_a_destination_warns_of_is_counted_until_a_person_resumes_it() {
    let site = Site::new();
    for n in 1..=3 {
        site.stored(push(n)).await;
    }
    let batch = site.lease("surrey", noon()).await.unwrap();
    let ids: Vec<_> = batch.items.iter().map(|item| item.transfer).collect();
    let outcomes = ids.iter().map(|id| (*id, accepted())).collect();
    let warnings = vec![(ids[0], 0xB006), (ids[1], 0xB000), (ids[2], 0xB006)];
    let summary = AttemptSummary { warnings, ..AttemptSummary::default() };
    site.records.settle(batch.attempt, outcomes, summary.clone(), noon()).await.unwrap();
    // What came too late is nobody's.
    let late = ids.iter().map(|id| (*id, accepted())).collect();
    site.records.settle(batch.attempt, late, summary, noon() + HOUR).await.unwrap();
    let (site, _) = site.restart();
    let told: Vec<_> = view(&site).await.warned.into_iter().map(|one| (one.code, one.count, one.since)).collect();
    assert_eq!(told, [(0xB000, 1, noon()), (0xB006, 2, noon())]);
    assert_eq!(view(&site).await.warned[1].instance, batch.items[2].sop_instance);
    let to = destination("surrey");
    assert!(site.records.pause(&to, false, "jo", "they know of it", noon() + HOUR).await.unwrap());
    assert!(!site.records.pause(&to, false, "jo", "again", noon() + HOUR).await.unwrap());
    assert_eq!(view(&site).await.warned, []);

    for n in 4..=40 {
        site.stored(push(n)).await;
    }
    let batch = site.lease("surrey", noon() + DAY).await.unwrap();
    let outcomes = batch.items.iter().map(|item| (item.transfer, accepted())).collect();
    let warnings = batch.items.iter().zip(0xB100..).map(|(item, code)| (item.transfer, code)).collect();
    let summary = AttemptSummary { warnings, ..AttemptSummary::default() };
    site.records.settle(batch.attempt, outcomes, summary, noon() + DAY).await.unwrap();
    assert_eq!(view(&site).await.warned.len(), 16, "a destination that makes codes up");
    site.verify().await;
}
