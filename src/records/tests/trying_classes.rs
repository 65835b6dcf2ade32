//! When one instance of a SOP class that a destination does not take is tried again (WEB-063, REL-24).

use super::parking::{unsupported, view};
use super::support::*;
use crate::ledger::breaker::{Probing, Reach};
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::transfer::State;
use crate::records::*;

/// REL-24, WEB-063: what is parked for its class stands before no other study while the destination is out, and is tried where nothing waits.
#[tokio::test]
async fn a_probe_of_what_is_out_goes_to_what_waits_before_what_is_parked_for_its_class() {
    let site = Site::new();
    for n in 1..=3 {
        site.stored(push(n)).await;
    }
    assert_eq!(site.send("surrey", unsupported(true), noon()).await, 3);
    let mut other = push(4);
    other.head.study = study(4);
    other.head.sop_class = crate::dicom::uid::SopClassUid::parse("1.2.840.10008.5.1.4.1.1.4").unwrap();
    site.stored(other).await;
    site.send("surrey", deferred(Charge::Destination, None), noon()).await;
    assert_eq!(view(&site).await.reach, Reach::Down);
    let mut at = noon();
    for _ in 0..2 {
        at += Probing::default().steady;
        let probe = site.lease("surrey", at).await.unwrap();
        assert_eq!(probe.study, study(4));
        assert!(!probe.items[0].class_refused);
        site.settle(&probe, deferred(Charge::Destination, None), at).await;
    }
    at += Probing::default().steady;
    site.act(Verb::Cancel, &[site.transfers(4).await[0].transfer]).await;
    let probe = site.lease("surrey", at).await.unwrap();
    assert_eq!((probe.study.clone(), probe.items.len(), probe.items[0].class_refused), (study(1), 1, true));
    site.settle(&probe, unsupported(true), at).await;
    assert_eq!(view(&site).await.reach, Reach::Up);
    site.verify().await;
}

/// WEB-063: what a person has tried may end without a word of its class, by whatever way: the others are tried all the same.
#[tokio::test]
async fn what_is_retried_by_hand_and_says_nothing_of_its_class_leaves_the_others_their_tries() {
    let held = Outcome::Held { why: "a person must decide".into() };
    for outcome in [Some(dead()), Some(held), Some(unknown()), None] {
        let site = Site::new();
        for n in 1..=2 {
            site.stored(push(n)).await;
        }
        assert_eq!(site.send("surrey", unsupported(true), noon()).await, 2);
        let transfer = site.transfers(1).await[0].transfer;
        site.act(Verb::Retry, &[transfer]).await;
        match &outcome {
            Some(outcome) => assert_eq!(site.send("surrey", outcome.clone(), noon()).await, 1),
            None => assert_eq!(site.act(Verb::Cancel, &[transfer]).await.changed, 1),
        }
        let at = noon() + Probing::default().steady;
        assert!(site.lease("surrey", at - MINUTE).await.is_none());
        let probe = site.lease("surrey", at).await.unwrap_or_else(|| panic!("{outcome:?}: none is tried"));
        assert_eq!((probe.items.len(), &probe.items[0].sop_instance), (1, &uid(2)));
        site.settle(&probe, verified(), at).await;
        assert!(view(&site).await.unsupported.is_empty());
        site.verify().await;
    }
}

/// WEB-063: a class of which nothing is parked is not looked for at each lease: it is tried no more often than any.
#[tokio::test]
async fn a_class_of_which_nothing_is_parked_has_its_try_later() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", unsupported(true), noon()).await;
    site.act(Verb::Cancel, &[site.transfers(1).await[0].transfer]).await;
    let at = noon() + Probing::default().steady;
    assert!(site.lease("surrey", at).await.is_none());
    site.stored(push(2)).await;
    site.send("surrey", unsupported(false), at).await;
    assert_eq!(site.states(2).await, [State::Parked]);
    assert!(site.lease("surrey", at + MINUTE).await.is_none(), "its time was a minute ago");
    assert!(site.lease("surrey", at + Probing::default().steady).await.is_some());
    site.verify().await;
}

/// REL-24, WEB-063: one that is refused whatever others are hides none of them for ever.
#[tokio::test]
async fn what_is_parked_for_a_class_is_tried_by_turns() {
    let site = Site::new();
    for n in 1..=3 {
        site.stored(push(n)).await;
    }
    assert_eq!(site.send("surrey", unsupported(true), noon()).await, 3);
    let mut at = noon();
    for n in [1, 2, 3, 1] {
        at += Probing::default().steady;
        let probe = site.lease("surrey", at).await.unwrap();
        assert_eq!((probe.items.len(), &probe.items[0].sop_instance), (1, &uid(n)));
        site.settle(&probe, unsupported(true), at).await;
    }
    site.verify().await;
}

/// WEB-063: what a person has tried goes, however late its turn comes.
#[tokio::test]
async fn what_is_retried_by_hand_goes_also_when_its_class_is_due() {
    let site = Site::new();
    site.stored(push(1)).await;
    assert_eq!(site.send("surrey", unsupported(true), noon()).await, 1);
    site.act(Verb::Retry, &[site.transfers(1).await[0].transfer]).await;
    let batch = site.lease("surrey", noon() + Probing::default().steady + MINUTE).await.unwrap();
    assert!(batch.unsupported.is_empty(), "it would be parked unsent");
    site.settle(&batch, verified(), noon() + HOUR).await;
    assert!(view(&site).await.unsupported.is_empty());
    site.verify().await;
}
