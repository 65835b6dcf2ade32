//! Tests of restarts: what was interrupted, what stays as it was, who may write (INV-08, INV-14, FLT-006 to FLT-014, FLT-072).

use super::support::*;
use crate::dicom::fired::note_fired;
use crate::ledger::transfer::State;
use crate::records::*;

#[tokio::test]
async fn a_restart_changes_nothing_of_what_is_at_rest() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.stored(push(2)).await;
    site.record(push_other(2, 30)).await;
    site.send("surrey", verified(), noon()).await;
    let before = (site.transfers(1).await, site.transfers(2).await);
    let head = site.verify().await.head.size;
    let (site, recovered) = site.restart();
    assert_eq!(recovered, Recovered { epoch: 2, last_known: recovered.last_known, ..Recovered::default() });
    assert_eq!((site.transfers(1).await, site.transfers(2).await), before);
    assert_eq!(site.verify().await.head.size, head + 1, "the opening itself is entered");
}

#[tokio::test]
async fn what_was_being_sent_is_asked_about_and_what_was_asked_about_is_asked_again() {
    let site = Site::new();
    for n in 1..=2 {
        let mut arrival = push(n);
        arrival.head.study = study(n);
        site.stored(arrival).await;
    }
    let sent = site.lease("surrey", noon()).await.unwrap();
    site.settle(&sent, accepted(), noon()).await;
    let check = site.check("surrey", noon()).await.unwrap();
    let sent = site.lease("surrey", noon()).await.unwrap();
    let (site, recovered) = site.restart();
    assert_eq!(
        recovered,
        Recovered {
            epoch: 2,
            interrupted: 2,
            unknown: 1,
            held: 0,
            last_known: recovered.last_known,
            log_damaged: false
        }
    );
    assert_eq!((site.states(1).await, site.states(2).await), (vec![State::Accepted], vec![State::Unknown]));
    // Outcomes of the old process come too late.
    for old in [check, sent] {
        assert_eq!(site.settle(&old, dead(), noon()).await.late.len(), 1);
    }
    site.verify().await;
    for _ in 0..2 {
        let check = site.check("surrey", noon()).await.unwrap();
        site.settle(&check, verified(), noon()).await;
    }
    assert_eq!((site.states(1).await, site.states(2).await), (vec![State::Verified], vec![State::Verified]));
    site.verify().await;
    note_fired(recovered.interrupted);
}

#[tokio::test]
async fn an_instance_that_stops_us_again_and_again_goes_alone_and_is_then_held() {
    let mut site = Site::new();
    for n in 1..=3 {
        site.stored(push(n)).await;
    }
    let mut now = noon();
    let mut stops = vec![];
    let held = loop {
        let batch = site.lease("surrey", now).await.unwrap();
        stops.push(batch.items.len());
        let (again, recovered) = site.restart();
        site = again;
        if recovered.held == 1 {
            break batch.items[0].clone();
        }
        now += 2 * HOUR;
        while let Some(check) = site.check("surrey", now).await {
            site.settle(&check, absent(), now).await;
        }
        now += 2 * HOUR;
    };
    assert_eq!(stops[..3], [3, 3, 3], "together at first");
    assert!(stops[3..].iter().all(|size| *size == 1) && stops.len() >= 10, "alone from then on: {stops:?}");
    let exceptions = site.records.exceptions(true, ExceptionId(0), 0).await.unwrap();
    assert_eq!((exceptions.len(), exceptions[0].kind.as_str()), (1, "poison"));
    assert_eq!(exceptions[0].sop_instance_uid, held.sop_instance);
    for _ in 0..2 {
        assert_eq!(site.send("surrey", verified(), now).await, 1, "the others flow");
    }
    assert_eq!(site.act(Verb::Release, &[held.transfer]).await.changed, 1);
    let view = site.records.transfer_show(held.transfer, now).await.unwrap().unwrap();
    assert_eq!(view.state, State::Unknown, "it may have arrived");
    site.verify().await;
}

#[tokio::test]
async fn only_the_last_to_open_may_write() {
    let site = Site::new();
    site.stored(push(1)).await;
    let (newer, _) = Records::open(site.dir.path(), RecordsOptions::default()).unwrap();
    let refused = site.records.record(push(2)).await;
    assert!(matches!(refused, Err(RecordsError::Poisoned(_))), "{refused:?}");
    assert!(site.records.poisoned().unwrap().contains("another process"));
    newer.record(push(2)).await.unwrap();
    assert_eq!(newer.summary().await.unwrap().instances, 2);
    note_fired(1);
}

#[tokio::test]
async fn a_caller_who_goes_away_cancels_nothing() {
    let site = Site::new();
    {
        let mut commit = Box::pin(site.records.record(push(1)));
        let queued = futures_util::poll!(commit.as_mut());
        assert!(queued.is_pending());
    }
    // The queue keeps its order: when this is answered, the one before it is committed.
    site.record(push(2)).await;
    assert_eq!(site.states(1).await, [State::Pending]);
    site.verify().await;
    note_fired(1);
}

#[tokio::test]
async fn closed_records_refuse_and_can_be_read_without_a_gateway() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.records.close().await;
    assert_eq!(site.records.record(push(2)).await, Err(RecordsError::Closed));
    site.records.close().await;
    let files = || std::fs::read_dir(site.dir.path()).unwrap().count();
    assert_eq!(files(), 1, "the log is copied back and gone");
    let reader = Records::open_read_only(site.dir.path()).unwrap();
    assert_eq!(reader.instance(&uid(1), noon()).await.unwrap().len(), 1);
    assert_eq!(reader.record(push(2)).await, Err(RecordsError::ReadOnly));
    assert!(reader.verify_ledger(Default::default()).await.unwrap().is_sound());
    assert!(matches!(Records::open_read_only(&site.dir.path().join("none")), Err(RecordsError::Open { .. })));
}

#[tokio::test]
async fn records_are_read_after_a_crash_too() {
    let site = Site::new();
    site.stored(push(1)).await;
    // The file and its log as a crash leaves them, in another directory.
    let copy = tempfile::TempDir::new().unwrap();
    for name in ["records.db", "records.db-wal"] {
        std::fs::copy(site.dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let reader = Records::open_read_only(copy.path()).unwrap();
    assert_eq!(reader.instance(&uid(1), noon()).await.unwrap().len(), 1);
    drop(reader);
    let (records, recovered) = Records::open(copy.path(), RecordsOptions::default()).unwrap();
    assert_eq!(recovered.epoch, 2);
    assert_eq!(records.instance(&uid(1), noon()).await.unwrap().len(), 1);
}

/// Records tell by the chain over their ledger whether they were once where somebody noted them to be.
#[tokio::test]
async fn older_records_do_not_hold_what_came_later() {
    let site = Site::new();
    let old = site.records.ledger_head().await.unwrap();
    site.stored(push(1)).await;
    let head = site.records.ledger_head().await.unwrap();
    for (size, chain, held) in [
        (old.size, old.chain, true),
        (head.size, head.chain, true),
        (0, [9; 32], true),
        (old.size, head.chain, false),
        (head.size, old.chain, false),
        (head.size + 1, head.chain, false),
        (u64::MAX, head.chain, false),
    ] {
        assert_eq!(site.records.held(size, chain).await.unwrap(), held, "{size} of {}", head.size);
    }
}
