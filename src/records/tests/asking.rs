//! Tests of a destination that refuses to be asked what it holds: that is waited for by itself, and holds up nothing that is to be sent
//! (WEB-045, WEB-061).

use super::support::*;
use crate::ledger::breaker::{Asking, Reach};
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::transfer::State;
use crate::records::*;
use std::time::{Duration, SystemTime};

async fn ended(site: &Site, batch: &Batch, outcome: Outcome, asking: Asking, now: SystemTime) {
    let outcomes = batch.items.iter().map(|item| (item.transfer, outcome.clone())).collect();
    let summary = AttemptSummary { detail: "asked".into(), asking: Some(asking), ..AttemptSummary::default() };
    site.records.settle(batch.attempt, outcomes, summary, now).await.unwrap();
}

fn refused(after: Option<Duration>) -> Asking {
    Asking::Not { why: "the peer answered the query with status 403".into(), after }
}

/// Instances of so many studies.
async fn owing(studies: u32) -> Site {
    let site = Site::new();
    for n in 1..=studies {
        let mut arrival = push(n);
        arrival.head.study = study(n);
        site.stored(arrival).await;
    }
    site
}

#[tokio::test]
async fn a_refused_question_is_put_off_as_long_as_is_asked_and_sending_goes_on() {
    let site = owing(3).await;
    let surrey = destination("surrey");
    let batch = site.lease("surrey", noon()).await.unwrap();
    assert!(batch.may_ask);
    ended(&site, &batch, accepted(), refused(Some(10 * MINUTE)), noon()).await;
    assert_eq!(site.states(1).await, [State::Accepted]);
    assert!(site.check("surrey", noon() + 9 * MINUTE).await.is_none(), "it said when");
    for n in 2..=3 {
        let batch = site.lease("surrey", noon()).await.unwrap();
        assert!(!batch.may_ask, "nor is it asked behind a send");
        site.settle(&batch, accepted(), noon()).await;
        assert_eq!(site.states(n).await, [State::Accepted]);
    }
    let until = noon() + 10 * MINUTE;
    assert_eq!(site.records.next_due(&surrey, true, noon()).await.unwrap(), Some(until));
    assert_eq!(site.transfers(1).await[0].next_attempt, Some(until));
    let view = &site.records.destinations().await.unwrap()[0];
    let unasked = view.unasked.as_ref().unwrap();
    assert_eq!((view.reach, view.not_before), (Reach::Up, None));
    assert_eq!((unasked.since, unasked.not_before, unasked.failures), (noon(), Some(until), 1));
    assert_eq!(unasked.why.as_deref(), Some("the peer answered the query with status 403"));
    // One question at a time, until one is answered.
    let check = site.check("surrey", until).await.unwrap();
    assert!(site.check("surrey", until).await.is_none());
    assert_eq!(site.records.next_due(&surrey, true, until).await.unwrap(), None);
    ended(&site, &check, verified(), Asking::Answered, until).await;
    assert!(site.records.destinations().await.unwrap()[0].unasked.is_none());
    for _ in 2..=3 {
        let check = site.check("surrey", until).await.unwrap();
        ended(&site, &check, verified(), Asking::Answered, until).await;
    }
    site.verify().await;
}

/// A node has no way to be asked: that its check asked nobody is no answer, so that its outage goes on, and its waits grow (REL-20).
#[tokio::test]
async fn a_check_that_asked_nobody_ends_no_outage() {
    let site = owing(2).await;
    let doubt = || Outcome::Unknown { why: "no answer came".into() };
    let gone = || Outcome::Deferred { why: "no answer came".into(), charge: Charge::Destination, after: None };
    let first = site.lease("surrey", noon()).await.unwrap();
    site.settle(&first, doubt(), noon()).await;
    site.send("surrey", gone(), noon()).await;
    let down = site.records.destinations().await.unwrap().remove(0);
    assert_eq!(down.reach, Reach::Down);
    let later = down.not_before.unwrap() + HOUR;
    let check = site.check("surrey", later).await.unwrap();
    let nobody =
        check.items.iter().map(|item| (item.transfer, Outcome::Absent { why: "a node cannot be asked".into() }));
    site.records.settle(check.attempt, nobody.collect(), AttemptSummary::default(), later).await.unwrap();
    let still = site.records.destinations().await.unwrap().remove(0);
    assert_eq!((still.reach, still.failures), (Reach::Down, down.failures));
    assert_eq!(site.states(1).await, [State::Deferred]);
    site.send("surrey", accepted(), later).await;
    assert_eq!(site.records.destinations().await.unwrap()[0].reach, Reach::Up);
    site.verify().await;
}

/// However often it refuses, what it says of asking is not taken for an outage; waits grow as for an outage, and a person ends them.
#[tokio::test]
async fn what_always_refuses_to_be_asked_is_up_and_asked_less_and_less() {
    let site = owing(2).await;
    site.send("surrey", accepted(), noon()).await;
    let (mut now, mut asked) = (noon(), 0);
    while now < noon() + HOUR {
        if let Some(check) = site.check("surrey", now).await {
            ended(&site, &check, unknown(), refused(None), now).await;
            asked += 1;
        }
        now += Duration::from_secs(1);
    }
    assert!((8..60).contains(&asked), "{asked}");
    let view = &site.records.destinations().await.unwrap()[0];
    assert_eq!((view.reach, view.failures, view.not_before), (Reach::Up, 0, None));
    assert_eq!(site.send("surrey", accepted(), now).await, 1, "what is to be sent goes at once");
    let transfer = site.transfers(1).await[0].transfer;
    let batch = |view: &[DestinationView]| view[0].unasked.as_ref().unwrap().not_before;
    assert!(batch(&site.records.destinations().await.unwrap()).is_some());
    site.act(Verb::Retry, &[transfer]).await;
    assert!(batch(&site.records.destinations().await.unwrap()).is_none());
    assert!(site.check("surrey", now).await.is_some());
    site.verify().await;
}
