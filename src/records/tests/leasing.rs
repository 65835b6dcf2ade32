//! Tests of leases and outcomes (REL-09, REL-20, REL-21, REL-24, INV-04, INV-07, INV-08, FLT-070).

use super::support::*;
use crate::dicom::fired::note_fired;
use crate::ledger::breaker::Reach;
use crate::ledger::outcome::Charge;
use crate::ledger::step::Patience;
use crate::ledger::transfer::State;
use crate::records::*;
use std::time::Duration;

#[tokio::test]
async fn a_batch_is_of_one_study_within_its_limits_the_oldest_first() {
    let site = Site::new();
    for n in 1..=6 {
        let mut arrival = push(n);
        arrival.head.study = study(n % 2);
        site.stored(arrival).await;
    }
    let batch = site.lease("surrey", noon()).await.unwrap();
    assert_eq!(batch.items.iter().map(|i| i.sop_instance.clone()).collect::<Vec<_>>(), [1, 3, 5].map(uid));
    assert_eq!((batch.study.clone(), batch.kind, batch.items[0].attempts), (study(1), BatchKind::Send, 1));
    assert_eq!((batch.items[0].place, batch.items[0].digest), (new_place(1), digest(1)));
    let lease = |instances, bytes| {
        site.records.lease(&batch.destination, LeaseLimits { instances, bytes, together: true }, noon())
    };
    assert_eq!(lease(2, 1 << 20).await.unwrap().unwrap().items.len(), 2, "at most so many instances");
    assert_eq!(lease(9, 1).await.unwrap().unwrap().items.len(), 1, "at least one, however large");
    assert_eq!(lease(9, 9).await.unwrap(), None, "nothing is leased twice");
    assert_eq!(site.lease("nowhere", noon()).await, None);
    site.verify().await;
}

#[tokio::test]
async fn bytes_limit_a_batch() {
    let site = Site::new();
    for n in 1..=5 {
        site.stored(push(n)).await;
    }
    let limits = LeaseLimits { instances: 100, bytes: 2500, together: true };
    let batch = site.records.lease(&destination("surrey"), limits, noon()).await.unwrap().unwrap();
    assert_eq!((batch.items.len(), batch.last), (2, false));
    let rest = site.records.lease(&destination("surrey"), limits, noon()).await.unwrap().unwrap();
    assert_eq!((rest.items.len(), rest.last), (2, false));
    let rest = site.records.lease(&destination("surrey"), limits, noon()).await.unwrap().unwrap();
    assert_eq!((rest.items.len(), rest.last), (1, true), "nothing else is due");
    let mut another = push(6);
    another.head.study = study(2);
    site.stored(push(7)).await;
    site.stored(another).await;
    let first = site.records.lease(&destination("surrey"), limits, noon()).await.unwrap().unwrap();
    assert_eq!((first.items.len(), first.last), (1, false), "another study is due");
}

#[tokio::test]
async fn accepted_is_final_only_where_policy_says_so() {
    let site = Site::new();
    site.stored(Arrival { chosen: vec![to("surrey"), to_accepting("PACS2")], ..push(1) }).await;
    for name in ["surrey", "PACS2"] {
        site.send(name, accepted(), noon()).await;
    }
    assert_eq!(site.states(1).await, [State::Accepted, State::Accepted]);
    assert!(site.check("PACS2", noon()).await.is_none());
    assert!(site.lease("surrey", noon()).await.is_none());
    let check = site.check("surrey", noon()).await.unwrap();
    assert_eq!((check.kind, check.items[0].state), (BatchKind::Check, State::Accepted));
    assert_eq!(site.states(1).await, [State::Accepted, State::Accepted], "being asked about changes nothing");
    assert!(site.check("surrey", noon()).await.is_none());
    site.settle(&check, verified(), noon()).await;
    let done = site.transfers(1).await;
    assert_eq!((done[0].state, done[0].evidence.as_deref()), (State::Verified, Some("shown by QIDO-RS")));
    assert_eq!((done[0].attempts, done[0].last_outcome.as_deref()), (1, Some("verified")));
    assert!(site.records.destinations_with_work().await.unwrap().is_empty());
    site.verify().await;
}

#[tokio::test]
async fn what_is_unknown_is_asked_about_before_it_is_sent_again() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", unknown(), noon()).await;
    let now = noon() + MINUTE;
    assert!(site.lease("surrey", now).await.is_none());
    let check = site.check("surrey", now).await.unwrap();
    site.settle(&check, absent(), now).await;
    assert_eq!(site.states(1).await, [State::Pending]);
    let again = site.lease("surrey", now).await.unwrap();
    assert_eq!(again.items[0].attempts, 2);
    site.settle(&again, verified(), now).await;
    site.verify().await;
    note_fired(1);
}

#[tokio::test]
async fn an_accepted_instance_that_is_not_shown_yet_gets_time_before_it_is_sent_again() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", accepted(), noon()).await;
    let mut now = noon();
    let mut looks = 0;
    while site.states(1).await == [State::Accepted] {
        let check = site.check("surrey", now).await.unwrap();
        site.settle(&check, absent(), now).await;
        looks += 1;
        now += HOUR;
    }
    assert_eq!((looks, site.states(1).await), (5, vec![State::Deferred]));
    site.verify().await;
}

#[tokio::test]
async fn a_late_outcome_is_noted_and_moves_nothing() {
    let site = Site::new();
    site.stored(push(1)).await;
    let first = site.lease("surrey", noon()).await.unwrap();
    site.settle(&first, deferred(Charge::Us, Some(Duration::ZERO)), noon()).await;
    let second = site.lease("surrey", noon()).await.unwrap();
    let late = site.settle(&first, dead(), noon()).await;
    assert_eq!((late.applied.len(), late.late.len()), (0, 1));
    assert_eq!(site.states(1).await, [State::Leased]);
    site.settle(&second, verified(), noon()).await;
    site.settle(&second, dead(), noon()).await;
    assert_eq!(site.states(1).await, [State::Verified]);
    let nobody = site.records.settle(AttemptId(99), vec![], AttemptSummary::default(), noon()).await;
    assert!(matches!(nobody, Err(RecordsError::Refused(_))));
    site.verify().await;
    note_fired(late.late.len());
}

#[tokio::test]
async fn outcomes_may_come_in_parts() {
    let site = Site::new();
    for n in 1..=3 {
        site.stored(push(n)).await;
    }
    let batch = site.lease("surrey", noon()).await.unwrap();
    for (n, item) in batch.items.iter().enumerate() {
        let outcomes = vec![(item.transfer, verified())];
        let settled = site.records.settle(batch.attempt, outcomes, AttemptSummary::default(), noon()).await.unwrap();
        assert_eq!(settled.ended, n == 2);
        assert_eq!(settled.applied, [(item.transfer, State::Verified)]);
    }
    site.verify().await;
}

#[tokio::test]
async fn a_deferred_transfer_waits_for_its_time() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", deferred(Charge::Instance, Some(10 * MINUTE)), noon()).await;
    let due = site.records.next_due(&destination("surrey"), true, noon()).await.unwrap();
    assert_eq!(due, Some(noon() + 10 * MINUTE));
    assert!(site.lease("surrey", noon() + 9 * MINUTE).await.is_none());
    assert!(site.lease("surrey", noon() + 10 * MINUTE).await.is_some());
}

#[tokio::test]
async fn a_clock_that_jumps_neither_delays_nor_expires_work() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.stored(Arrival { received_at: noon() + 365 * DAY, ..push(2) }).await;
    // Set back a year: what was to wait ten minutes of that time is due now, and waits by the new time from then on.
    site.send("surrey", deferred(Charge::Instance, Some(10 * MINUTE)), noon() + 365 * DAY).await;
    assert_eq!(site.states(2).await, [State::Deferred]);
    assert_eq!(site.send("surrey", deferred(Charge::Instance, Some(10 * MINUTE)), noon()).await, 2);
    assert!(site.lease("surrey", noon()).await.is_none());
    let due = site.records.next_due(&destination("surrey"), true, noon()).await.unwrap().unwrap();
    assert!(due <= noon() + 10 * MINUTE, "{due:?}");
    assert!(site.lease("surrey", noon() + HOUR).await.is_some());
    note_fired(1);
    // Set forward ten years: nothing is given up for it.
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", deferred(Charge::Instance, None), noon()).await;
    site.send("surrey", deferred(Charge::Instance, None), noon() + 3650 * DAY).await;
    assert_eq!(site.states(1).await, [State::Deferred]);
    site.verify().await;
    note_fired(1);
}

#[tokio::test]
async fn new_work_is_due_whatever_the_clock_says() {
    let site = Site::new();
    site.stored(Arrival { received_at: noon() + 365 * DAY, ..push(1) }).await;
    assert_eq!(site.records.next_due(&destination("surrey"), true, noon()).await.unwrap(), Some(noon()));
    assert!(site.lease("surrey", noon()).await.is_some());
}

#[tokio::test]
async fn its_own_failures_wear_a_transfer_out_and_open_an_exception() {
    let patience = Patience { give_up: HOUR, ..Patience::default() };
    let site = Site::with(RecordsOptions { patience, ..RecordsOptions::default() });
    site.stored(push(1)).await;
    let mut now = noon();
    for _ in 0..7 {
        assert_eq!(site.send("surrey", deferred(Charge::Instance, Some(10 * MINUTE)), now).await, 1);
        now += 10 * MINUTE;
        if site.states(1).await == [State::Dead] {
            break;
        }
    }
    assert_eq!(site.states(1).await, [State::Dead]);
    let exceptions = site.records.exceptions(true, ExceptionId(0), 0).await.unwrap();
    assert_eq!((exceptions.len(), exceptions[0].kind.as_str()), (1, "dead"));
    assert_eq!(exceptions[0].destination, Some(destination("surrey")));
    site.verify().await;
}

#[tokio::test]
async fn a_destination_that_is_down_costs_no_attempt_and_gets_one_probe_at_a_time() {
    let patience = Patience { give_up: HOUR, ..Patience::default() };
    let site = Site::with(RecordsOptions { patience, ..RecordsOptions::default() });
    for n in 1..=4 {
        let mut arrival = push(n);
        arrival.head.study = study(n);
        site.stored(arrival).await;
    }
    let (mut now, mut failed) = (noon(), 0);
    // Ten days of outage: far longer than giving up takes.
    for _ in 0..10 * 24 * 4 {
        if let Some(probe) = site.lease("surrey", now).await {
            if now > noon() {
                assert!(site.lease("surrey", now).await.is_none(), "one probe at a time");
                assert_eq!(site.records.next_due(&destination("surrey"), true, now).await.unwrap(), None);
            }
            site.settle(&probe, deferred(Charge::Destination, None), now).await;
            failed += 1;
            if now == noon() {
                let elsewhere = site.records.destinations().await.unwrap();
                assert_eq!((elsewhere[0].reach, elsewhere[0].since), (Reach::Down, Some(noon())));
            }
        }
        now += 15 * MINUTE;
    }
    for n in 1..=4 {
        assert_ne!(site.states(n).await, [State::Dead]);
    }
    let due = site.records.next_due(&destination("surrey"), true, now).await.unwrap().unwrap();
    assert!(due <= now + 5 * MINUTE);
    // It comes back: everything goes out at once.
    now = due;
    for _ in 0..4 {
        assert_eq!(site.send("surrey", verified(), now).await, 1);
    }
    assert_eq!(site.records.destinations().await.unwrap()[0].reach, Reach::Up);
    site.verify().await;
    note_fired(failed);
}

#[tokio::test]
async fn what_a_destination_asks_to_wait_is_waited() {
    let site = Site::new();
    for n in 1..=2 {
        site.stored(push(n)).await;
    }
    let limits = LeaseLimits { instances: 1, bytes: 1, together: true };
    let batch = site.records.lease(&destination("surrey"), limits, noon()).await.unwrap().unwrap();
    site.settle(&batch, deferred(Charge::Destination, Some(20 * MINUTE)), noon()).await;
    assert!(site.lease("surrey", noon() + 19 * MINUTE).await.is_none(), "the other one waits as well");
    let due = site.records.next_due(&destination("surrey"), true, noon()).await.unwrap();
    assert_eq!(due, Some(noon() + 20 * MINUTE));
    assert!(site.lease("surrey", noon() + 20 * MINUTE).await.is_some());
    note_fired(1);
}

/// WEB-061: of two batches on their way, one is told to wait, and the other, which was leased before, ends well.
#[tokio::test]
async fn a_success_that_was_begun_before_does_not_end_a_wait() {
    let site = Site::new();
    for n in 1..=3 {
        site.stored(push(n)).await;
    }
    let one = LeaseLimits { instances: 1, bytes: 1, together: true };
    let surrey = destination("surrey");
    let lease = |now| site.records.lease(&surrey, one, now);
    let first = lease(noon()).await.unwrap().unwrap();
    let second = lease(noon()).await.unwrap().unwrap();
    site.settle(&first, deferred(Charge::Destination, Some(10 * MINUTE)), noon()).await;
    site.settle(&second, verified(), noon() + MINUTE).await;
    assert!(lease(noon() + 9 * MINUTE).await.unwrap().is_none());
    let view = &site.records.destinations().await.unwrap()[0];
    assert_eq!((view.reach, view.not_before), (Reach::Down, Some(noon() + 10 * MINUTE)));
    assert_eq!(view.words.as_deref(), Some("503: busy"), "it still says why");
    let probe = lease(noon() + 10 * MINUTE).await.unwrap().unwrap();
    site.settle(&probe, verified(), noon() + 10 * MINUTE).await;
    assert_eq!(site.records.destinations().await.unwrap()[0].reach, Reach::Up);
    site.verify().await;
}

#[tokio::test]
async fn a_parked_destination_resumes_by_itself() {
    let site = Site::new();
    for n in 1..=2 {
        let mut arrival = push(n);
        arrival.head.study = study(n);
        site.stored(arrival).await;
    }
    site.send("surrey", parked(), noon()).await;
    assert_eq!(site.states(1).await, [State::Parked]);
    let sums = site.records.transfers_list(TransferFilter::default(), noon()).await.unwrap().0;
    assert_eq!((sums[0].parked, sums[0].next_attempt), (1, Some(noon() + 5 * MINUTE)));
    assert!(site.lease("surrey", noon() + 4 * MINUTE).await.is_none());
    let mut changed = site.records.changed(&destination("surrey"));
    let mut now = noon() + 5 * MINUTE;
    while site.states(2).await != [State::Verified] {
        assert_eq!(site.send("surrey", verified(), now).await, 1);
        now += MINUTE;
    }
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    site.send("surrey", verified(), now).await;
    assert_eq!((site.states(1).await, site.states(2).await), (vec![State::Verified], vec![State::Verified]));
    site.verify().await;
    note_fired(1);
}

/// REL-20: one success lets go all that was parked while the destination could not be used, at once and not one probe after the other.
#[tokio::test]
async fn all_that_was_parked_goes_on_with_the_first_success() {
    let site = Site::new();
    for n in 1..=3 {
        site.stored(push(n)).await;
    }
    assert_eq!(site.send("surrey", parked(), noon()).await, 3);
    let now = noon() + 5 * MINUTE;
    let one = LeaseLimits { instances: 1, ..LIMITS };
    let probe = site.records.lease(&destination("surrey"), one, now).await.unwrap().unwrap();
    site.settle(&probe, verified(), now).await;
    let mut states = [site.states(1).await, site.states(2).await, site.states(3).await].concat();
    states.sort_by_key(|state| state.word());
    assert_eq!(states, [State::Pending, State::Pending, State::Verified]);
    assert_eq!(site.send("surrey", verified(), now).await, 2);
    site.verify().await;
}

#[tokio::test]
async fn commits_that_make_work_due_give_a_hint() {
    let site = Site::new();
    let mut surrey = site.records.changed(&destination("surrey"));
    let kent = site.records.changed(&destination("kent"));
    let mut any = site.records.changed_any();
    site.stored(push(1)).await;
    surrey.changed().await.unwrap();
    any.changed().await.unwrap();
    assert!(!kent.has_changed().unwrap());
    site.record(push(1)).await;
    assert!(!surrey.has_changed().unwrap(), "nothing came due");
}

#[tokio::test]
async fn old_and_new_work_both_progress() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", deferred(Charge::Instance, Some(MINUTE)), noon()).await;
    let mut other = push(2);
    other.head.study = study(2);
    site.stored(other).await;
    let now = noon() + MINUTE;
    let limits = LeaseLimits { instances: 1, bytes: 1, together: true };
    let mut seen = [0; 2];
    for _ in 0..64 {
        let batch = site.records.lease(&destination("surrey"), limits, now).await.unwrap().unwrap();
        seen[usize::from(batch.study == study(2))] += 1;
        let back = if batch.study == study(2) { absent() } else { deferred(Charge::Us, Some(Duration::ZERO)) };
        site.settle(&batch, back, now).await;
        if site.states(2).await == [State::Deferred] {
            break;
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}
