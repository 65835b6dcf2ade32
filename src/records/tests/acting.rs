//! Tests of what people do to transfers: retry, hold, release, cancel.

use super::support::*;
use crate::dicom::fired::note_fired;
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::transfer::{State, TransferId};
use crate::records::*;

/// A site whose one transfer stands at a state.
async fn standing(state: State) -> (Site, TransferId) {
    let site = Site::new();
    site.stored(push(1)).await;
    let outcome = match state {
        State::Pending | State::Held | State::Cancelled | State::Leased => None,
        State::Deferred => Some(deferred(Charge::Instance, Some(HOUR))),
        State::Unknown => Some(unknown()),
        State::Accepted => Some(accepted()),
        State::Verified => Some(verified()),
        State::Parked => Some(parked()),
        State::Dead => Some(dead()),
    };
    if let Some(outcome) = outcome {
        site.send("surrey", outcome, noon()).await;
    }
    let transfer = site.transfers(1).await[0].transfer;
    match state {
        State::Held => drop(site.act(Verb::Hold, &[transfer]).await),
        State::Cancelled => drop(site.act(Verb::Cancel, &[transfer]).await),
        State::Leased => drop(site.lease("surrey", noon()).await),
        _ => {}
    }
    assert_eq!(site.states(1).await, [state]);
    (site, transfer)
}

/// INV-08: records that come from a backup do not know what was sent since. What rests in them goes on by a question, and so does
/// for a week what arrives, since senders repeat what came after the backup; afterwards not.
#[tokio::test]
async fn what_doubted_records_owe_is_asked_about_first() {
    for (state, verb) in [(State::Held, Verb::Release), (State::Dead, Verb::Retry)] {
        let (site, transfer) = standing(state).await;
        site.records.doubt("jo", "restored from a backup", noon()).await.unwrap();
        assert_eq!(site.states(1).await, [state], "a person decided, or has to");
        site.act(verb, &[transfer]).await;
        assert_eq!(site.states(1).await, [State::Unknown], "{verb:?}");
        site.verify().await;
        note_fired(1);
    }
    let site = Site::new();
    site.stored(push(1)).await;
    site.records.doubt("jo", "restored from a backup", noon()).await.unwrap();
    for (n, days, state) in [(2, 0, State::Unknown), (3, 6, State::Unknown), (4, 8, State::Pending)] {
        site.stored(Arrival { received_at: noon() + days * DAY, ..push(n) }).await;
        assert_eq!(site.states(n).await, [state], "after {days} days");
    }
    assert_eq!(site.states(1).await, [State::Unknown]);
    site.verify().await;
    // What was made afterwards is known: it goes on as ever.
    let fresh = site.transfers(4).await[0].transfer;
    site.act(Verb::Hold, &[fresh]).await;
    site.act(Verb::Release, &[fresh]).await;
    assert_eq!(site.states(4).await, [State::Pending]);
}

#[tokio::test]
async fn each_verb_does_to_each_state_what_the_table_says() {
    use State::{Accepted, Cancelled, Dead, Deferred, Held, Leased, Parked, Pending, Unknown, Verified};
    let rows = [
        (Verb::Retry, Pending, None),
        (Verb::Retry, Leased, None),
        (Verb::Retry, Deferred, Some(Pending)),
        (Verb::Retry, Unknown, Some(Unknown)),
        (Verb::Retry, Accepted, Some(Accepted)),
        (Verb::Retry, Verified, None),
        (Verb::Retry, Parked, Some(Pending)),
        (Verb::Retry, Held, None),
        (Verb::Retry, Dead, Some(Pending)),
        (Verb::Retry, Cancelled, None),
        (Verb::Hold, Pending, Some(Held)),
        (Verb::Hold, Leased, None),
        (Verb::Hold, Deferred, Some(Held)),
        (Verb::Hold, Unknown, Some(Held)),
        (Verb::Hold, Parked, Some(Held)),
        (Verb::Hold, Held, None),
        (Verb::Hold, Verified, None),
        (Verb::Release, Held, Some(Pending)),
        (Verb::Release, Pending, None),
        (Verb::Release, Dead, None),
        (Verb::Cancel, Pending, Some(Cancelled)),
        (Verb::Cancel, Leased, None),
        (Verb::Cancel, Deferred, Some(Cancelled)),
        (Verb::Cancel, Unknown, Some(Cancelled)),
        (Verb::Cancel, Parked, Some(Cancelled)),
        (Verb::Cancel, Held, Some(Cancelled)),
        (Verb::Cancel, Dead, Some(Cancelled)),
        (Verb::Cancel, Verified, None),
        (Verb::Cancel, Cancelled, None),
    ];
    for (verb, from, to) in rows {
        let (site, transfer) = standing(from).await;
        let acted = site.act(verb, &[transfer]).await;
        assert_eq!(acted.changed, u64::from(to.is_some()), "{verb:?} {from}");
        assert_eq!(acted.skipped.len(), usize::from(to.is_none()), "{verb:?} {from}");
        assert_eq!(site.states(1).await, [to.unwrap_or(from)], "{verb:?} {from}");
        site.verify().await;
        // The answer came first.
        if verb == Verb::Cancel && to.is_none() {
            note_fired(1);
        }
    }
}

#[tokio::test]
async fn a_retry_is_tried_at_once_and_starts_afresh() {
    for state in [State::Deferred, State::Parked, State::Dead] {
        let (site, transfer) = standing(state).await;
        site.act(Verb::Retry, &[transfer]).await;
        assert!(site.lease("surrey", noon()).await.is_some(), "{state}");
        assert_eq!(site.records.exceptions(true, ExceptionId(0), 0).await.unwrap(), []);
    }
    let (site, transfer) = standing(State::Unknown).await;
    site.act(Verb::Retry, &[transfer]).await;
    assert!(site.check("surrey", noon()).await.is_some());
}

#[tokio::test]
async fn what_may_have_been_sent_is_asked_about_after_it_was_held() {
    let (site, transfer) = standing(State::Unknown).await;
    site.act(Verb::Hold, &[transfer]).await;
    assert!(site.check("surrey", noon() + HOUR).await.is_none());
    site.act(Verb::Release, &[transfer]).await;
    assert_eq!(site.states(1).await, [State::Unknown]);
    site.verify().await;
}

#[tokio::test]
async fn a_name_and_where_it_hurts_a_reason_are_needed() {
    let (site, transfer) = standing(State::Pending).await;
    let one = || Selection::Transfers(vec![transfer]);
    let none = || Selection::Matching { study: None, destination: None, state: None };
    let rows = [
        (Verb::Cancel, one(), "jo", ""),
        (Verb::Hold, one(), "jo", " "),
        (Verb::Retry, one(), " ", "why"),
        (Verb::Cancel, none(), "jo", "why"),
    ];
    for (verb, selection, who, why) in rows {
        let refused = site.records.act(verb, selection, who, why, noon()).await;
        assert!(matches!(refused, Err(RecordsError::Refused(_))), "{verb:?} {refused:?}");
    }
    let unheard = site.act(Verb::Cancel, &[TransferId(99)]).await;
    assert_eq!((unheard.changed, unheard.skipped.len()), (0, 1));
    assert_eq!(site.states(1).await, [State::Pending]);
}

#[tokio::test]
async fn long_selections_are_worked_off_and_only_what_matches_is_touched() {
    let site = Site::new();
    let total = 2500;
    let mut sends = vec![];
    for n in 1..=total {
        let mut arrival = Arrival { chosen: vec![to("surrey"), to("kent")], ..push(n) };
        arrival.head.study = study(1 + n % 2);
        let records = site.records.clone();
        sends.push(tokio::spawn(async move { records.record(arrival).await.unwrap() }));
    }
    for send in sends {
        send.await.unwrap();
    }
    let act = |verb, study: Option<_>, destination, state| {
        let selection = Selection::Matching { study, destination, state };
        site.records.act(verb, selection, "jo", "because", noon())
    };
    let held = act(Verb::Hold, Some(study(1)), Some(destination("kent")), None).await.unwrap();
    assert_eq!((held.changed, held.skipped.len()), (1250, 0));
    let held = act(Verb::Hold, None, Some(destination("surrey")), None).await.unwrap();
    assert_eq!(held.changed, 2500);
    let cancelled = act(Verb::Cancel, Some(study(2)), None, Some(State::Held)).await.unwrap();
    assert_eq!(cancelled.changed, 1250);
    let sums = site.records.transfers_list(TransferFilter::default(), noon()).await.unwrap().0;
    let told: Vec<_> = sums.iter().map(|s| (s.destination.0.as_str(), s.pending, s.held, s.cancelled)).collect();
    assert_eq!(sums.iter().map(|s| s.instances).sum::<u64>(), 5000);
    for row in [("surrey", 0, 1250, 0), ("kent", 0, 1250, 0), ("surrey", 0, 0, 1250), ("kent", 1250, 0, 0)] {
        assert!(told.contains(&row), "{row:?} of {told:?}");
    }
    site.verify().await;
}

#[tokio::test]
async fn the_dead_are_told_apart_from_the_given_up() {
    let (site, transfer) = standing(State::Dead).await;
    let view = site.records.transfer_show(transfer, noon()).await.unwrap().unwrap();
    assert_eq!(view.last_outcome.as_deref(), Some("dead"));
    assert_eq!((view.last_words, view.next_attempt), (Some("0xC000: cannot understand".into()), None));
    let _: Outcome = dead();
}
