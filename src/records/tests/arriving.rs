//! Tests of arrivals: the first, the same again, other content, blobs that have gone (IDY-001 to IDY-020, INV-02, INV-11, INV-12).

use super::support::*;
use crate::dicom::attributes::{MODALITY, PATIENT_ID, PATIENT_NAME};
use crate::dicom::fired::note_fired;
use crate::dicom::uid::TransferSyntaxUid;
use crate::ledger::outcome::Charge;
use crate::ledger::transfer::{Cause, State};
use crate::peers::{Origin, Verify};
use crate::records::*;
use crate::store::Place;

#[tokio::test]
async fn the_first_is_stored_owed_and_entered_at_once() {
    let site = Site::new();
    let recorded = site.record(Arrival { chosen: vec![to("surrey"), to_accepting("PACS2")], ..push(1) }).await;
    assert_eq!(recorded, Recorded { kept: Kept::Stored { instance: InstanceId(1) }, requested: None, redundant: None });
    let views = site.records.instance(&uid(1), noon()).await.unwrap();
    assert_eq!((views.len(), views[0].state.as_str(), views[0].arrivals, views[0].unrouted), (1, "stored", 1, false));
    assert_eq!((views[0].sha256, views[0].bytes, &views[0].source), (digest(1), 1000, &node("PACS")));
    let transfers = &views[0].transfers;
    assert_eq!(transfers.iter().map(|t| t.destination.0.as_str()).collect::<Vec<_>>(), ["surrey", "PACS2"]);
    assert!(transfers.iter().all(|t| t.state == State::Pending && t.attempts == 0 && t.cause == Cause::Route));
    assert_eq!((transfers[0].verify, transfers[1].verify), (Verify::Present, Verify::Accepted));
    assert_eq!(site.records.blob_of(&digest(1)).await.unwrap(), Some((BlobId(1), new_place(1))));
    let report = site.verify().await;
    assert_eq!((report.head.size, report.transfers, report.instances), (2, 2, 1));
}

#[tokio::test]
async fn the_same_again_adds_provenance_and_nothing_else() {
    let site = Site::new();
    let first = site.stored(push(1)).await;
    let before = site.records.instance(&uid(1), noon()).await.unwrap();
    let again = Arrival { blob: BlobRef::New(new_place(77)), ..push(1) };
    let recorded = site.record(again).await;
    assert_eq!(recorded.kept, Kept::Same { instance: first, owed_again: 0 });
    assert_eq!(recorded.redundant, Some(new_place(77)));
    let known = Arrival { blob: BlobRef::Known(BlobId(1)), ..push(1) };
    assert_eq!(
        site.record(known).await,
        Recorded { kept: Kept::Same { instance: first, owed_again: 0 }, requested: None, redundant: None }
    );
    let mut after = site.records.instance(&uid(1), noon()).await.unwrap();
    assert_eq!(after[0].arrivals, 3);
    note_fired(after[0].arrivals as usize - 1);
    after[0].arrivals = 1;
    assert_eq!(before, after);
    site.verify().await;
}

#[tokio::test]
async fn sixty_four_senders_at_once_make_one_instance_and_one_transfer_per_destination() {
    let site = Site::new();
    let send = |n: u64| {
        let records = site.records.clone();
        tokio::spawn(
            async move { records.record(Arrival { blob: BlobRef::New(new_place(n)), ..push(1) }).await.unwrap() },
        )
    };
    let sends: Vec<_> = (0..64).map(send).collect();
    let (mut stored, mut redundant) = (0, 0);
    for send in sends {
        let recorded = send.await.unwrap();
        stored += usize::from(matches!(recorded.kept, Kept::Stored { .. }));
        redundant += usize::from(recorded.redundant.is_some());
    }
    assert_eq!((stored, redundant), (1, 63));
    assert_eq!(site.states(1).await, [State::Pending]);
    assert_eq!(site.records.all_places().await.unwrap().len(), 1);
    site.verify().await;
}

#[tokio::test]
async fn sixty_four_contents_of_one_uid_at_once_keep_the_first_and_hold_the_others() {
    let site = Site::new();
    let send = |n: u32| {
        let records = site.records.clone();
        tokio::spawn(async move { records.record(push_other(1, 100 + n)).await.unwrap().kept })
    };
    let sends: Vec<_> = (0..64).map(send).collect();
    let (mut stored, mut differs) = (0, 0);
    for send in sends {
        match send.await.unwrap() {
            Kept::Stored { .. } => stored += 1,
            Kept::Differs { .. } => differs += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((stored, differs), (1, 63));
    let views = site.records.instance(&uid(1), noon()).await.unwrap();
    assert_eq!(views.iter().filter(|v| v.state == "stored").count(), 1);
    assert!(views[1..].iter().all(|v| v.state == "held" && v.transfers[0].state == State::Held));
    assert_eq!(site.records.find_instances(FindInstances::default()).await.unwrap().len(), 1);
    site.verify().await;
    note_fired(differs);
}

#[tokio::test]
async fn the_same_again_is_owed_only_where_it_is_not_done() {
    let site = Site::new();
    let arrival = || Arrival { chosen: vec![to("done"), to("dead"), to("busy"), to("off"), to("waits")], ..push(1) };
    site.stored(arrival()).await;
    site.send("done", verified(), noon()).await;
    site.send("dead", dead(), noon()).await;
    let busy = site.lease("busy", noon()).await.unwrap();
    site.send("waits", deferred(Charge::Instance, Some(HOUR)), noon()).await;
    let off = site.transfers(1).await[3].transfer;
    site.act(Verb::Cancel, &[off]).await;
    use State::{Cancelled, Dead, Deferred, Leased, Pending, Verified};
    assert_eq!(site.states(1).await, [Verified, Dead, Leased, Cancelled, Deferred]);
    assert_eq!(site.records.exceptions(true, ExceptionId(0), 0).await.unwrap().len(), 1);
    let mut again = arrival();
    again.chosen.push(to("new"));
    let recorded = site.record(again).await;
    assert_eq!(recorded.kept, Kept::Same { instance: InstanceId(1), owed_again: 2 });
    assert_eq!(site.states(1).await, [Verified, Pending, Leased, Cancelled, Deferred, Pending]);
    assert_eq!(site.records.exceptions(true, ExceptionId(0), 0).await.unwrap(), []);
    assert!(site.settle(&busy, verified(), noon()).await.ended);
    site.verify().await;
}

#[tokio::test]
async fn what_was_done_long_ago_is_asked_about_before_it_is_sent_again() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", verified(), noon()).await;
    let later = |after| Arrival { received_at: noon() + after, ..push(1) };
    assert_eq!(site.record(later(DAY - MINUTE)).await.kept, Kept::Same { instance: InstanceId(1), owed_again: 0 });
    assert_eq!(site.record(later(DAY + MINUTE)).await.kept, Kept::Same { instance: InstanceId(1), owed_again: 1 });
    assert_eq!(site.states(1).await, [State::Unknown]);
    let now = noon() + DAY + MINUTE;
    assert!(site.lease("surrey", now).await.is_none(), "nothing is sent before it is asked");
    let check = site.check("surrey", now).await.unwrap();
    site.settle(&check, verified(), now).await;
    assert_eq!(site.transfers(1).await[0].attempts, 1);
    // A clock that was set back makes nothing older.
    assert_eq!(
        site.record(Arrival { received_at: noon() - 900 * DAY, ..push(1) }).await.kept,
        Kept::Same { instance: InstanceId(1), owed_again: 0 }
    );
    site.verify().await;
}

#[tokio::test]
async fn other_content_is_kept_held_and_waits_for_a_person() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", verified(), noon()).await;
    let mut moved = push(1);
    (moved.head.study, moved.digest) = (study(9), digest(11));
    let mut encoded = push(1);
    encoded.head.transfer_syntax = TransferSyntaxUid::parse("1.2.840.10008.1.2").unwrap();
    for (n, other) in [push_other(1, 10), moved, encoded].into_iter().enumerate() {
        let (instance, exception) = (InstanceId(n as i64 + 2), ExceptionId(n as i64 + 1));
        assert_eq!(site.record(other.clone()).await.kept, Kept::Differs { instance, exception });
        // The same as a held version is that version, and whoever sends it is told once more that it is in conflict.
        assert_eq!(site.record(other).await.kept, Kept::Differs { instance, exception });
    }
    assert_eq!(site.states(1).await, [State::Verified, State::Held, State::Held, State::Held]);
    assert!(site.lease("surrey", noon()).await.is_none());
    let exceptions = site.records.exceptions(true, ExceptionId(0), 0).await.unwrap();
    assert!(exceptions.iter().all(|x| x.kind == "conflict" && x.transfer.is_none()) && exceptions.len() == 3);
    let held = site.transfers(1).await[1].transfer;
    let acted = site.act(Verb::Release, &[held]).await;
    assert!(acted.changed == 0 && acted.skipped[0].1.contains("conflict"), "{acted:?}");
    // Neither a conflict nor its blob can be purged.
    assert_eq!(site.condemn(InstanceId(2), by_age()).await.blobs, []);
    site.verify().await;
}

#[tokio::test]
async fn a_new_destination_for_a_held_version_is_held_too() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.record(push_other(1, 10)).await;
    let again = Arrival { chosen: vec![to("kent")], ..push_other(1, 10) };
    let (instance, exception) = (InstanceId(2), ExceptionId(1));
    assert_eq!(site.record(again).await.kept, Kept::Differs { instance, exception });
    assert_eq!(site.states(1).await, [State::Pending, State::Held, State::Held]);
    assert!(site.lease("kent", noon()).await.is_none());
    site.verify().await;
}

#[tokio::test]
async fn what_no_route_chose_is_unrouted_until_it_is_owed() {
    let site = Site::new();
    site.stored(Arrival { chosen: vec![], ..push(1) }).await;
    assert_eq!(site.records.summary().await.unwrap().unrouted, 1);
    assert_eq!(site.condemn(InstanceId(1), by_age()).await.blobs, [], "never purged by age");
    site.record(push(1)).await;
    assert_eq!(site.records.summary().await.unwrap().unrouted, 0);
    site.verify().await;
}

#[tokio::test]
async fn a_purged_blob_is_never_revived() {
    let site = Site::new();
    let instance = site.stored(push(1)).await;
    assert_eq!(site.condemn(instance, by_age()).await.blobs, [], "still owed");
    site.send("surrey", verified(), noon()).await;
    let gone = site.condemn(instance, by_age()).await.blobs;
    assert_eq!(gone, [(BlobId(1), new_place(1))]);
    assert_eq!(site.records.condemned().await.unwrap(), gone);
    assert_eq!(site.records.blob_of(&digest(1)).await.unwrap(), None);
    // Who looked before the purge and commits after it must write the bytes again.
    let late = Arrival { blob: BlobRef::Known(BlobId(1)), ..push(1) };
    assert_eq!(site.record(late).await.kept, Kept::BlobGone);
    assert_eq!(site.records.instance(&uid(1), noon()).await.unwrap()[0].arrivals, 1);
    let anew = Arrival { blob: BlobRef::New(new_place(8)), ..push(1) };
    assert_eq!(
        site.record(anew).await,
        Recorded { kept: Kept::Same { instance, owed_again: 0 }, requested: None, redundant: None }
    );
    assert_eq!(site.records.blob_of(&digest(1)).await.unwrap(), Some((BlobId(2), new_place(8))));
    site.records.freed(vec![BlobId(1), BlobId(2)]).await.unwrap();
    assert_eq!(site.records.condemned().await.unwrap(), []);
    assert_eq!(site.records.all_places().await.unwrap(), [new_place(8)], "a live blob is not freed");
    site.verify().await;
    note_fired(gone.len());
}

#[tokio::test]
async fn a_blob_named_for_other_bytes_is_gone() {
    let site = Site::new();
    site.stored(push(1)).await;
    let wrong = Arrival { blob: BlobRef::Known(BlobId(1)), ..push(2) };
    assert_eq!(site.record(wrong).await.kept, Kept::BlobGone);
}

#[tokio::test]
async fn a_refused_arrival_undoes_nothing_of_its_group() {
    let site = Site::new();
    let short = Arrival { blob: BlobRef::New(Place { length: 1, ..new_place(2) }), ..push(2) };
    let sends = [push(1), short, push(3)].map(|arrival| {
        let records = site.records.clone();
        tokio::spawn(async move { records.record(arrival).await })
    });
    let mut results = Vec::new();
    for send in sends {
        results.push(send.await.unwrap());
    }
    assert!(results[0].is_ok() && results[2].is_ok());
    assert!(matches!(results[1], Err(RecordsError::Refused(_))));
    assert_eq!(site.verify().await.instances, 2);
}

#[tokio::test]
async fn what_an_operator_asks_for_is_owed_once_and_never_sent_needlessly() {
    let site = Site::new();
    let origin = Origin::Operator("jo".into());
    let ask = |name: &str| Arrival {
        origin: origin.clone(),
        chosen: vec![],
        requested: Some(Requested {
            destination: destination("surrey"),
            request: name.into(),
            verify: Verify::Present,
            priority: crate::peers::Priority::Routine,
        }),
        ..push(1)
    };
    site.stored(ask("r1")).await;
    assert_eq!(site.record(ask("r1")).await.kept, Kept::Same { instance: InstanceId(1), owed_again: 0 });
    assert_eq!(site.record(ask("r2")).await.kept, Kept::Same { instance: InstanceId(1), owed_again: 0 }, "under way");
    assert_eq!(site.states(1).await, [State::Pending]);
    site.send("surrey", verified(), noon()).await;
    assert_eq!(site.record(ask("r3")).await.kept, Kept::Same { instance: InstanceId(1), owed_again: 1 });
    assert_eq!(site.states(1).await, [State::Verified, State::Unknown], "asked for, not sent");
    assert_eq!(site.record(push(1)).await.kept, Kept::Same { instance: InstanceId(1), owed_again: 1 });
    let causes: Vec<_> = site.transfers(1).await.into_iter().map(|t| (t.cause, t.state)).collect();
    assert_eq!(causes[2], (Cause::Route, State::Unknown), "the route's own transfer, asked about first");
    site.verify().await;
}

/// What was given up and comes due again is asked about if another cause may have brought it there meanwhile (INV-08).
#[tokio::test]
async fn what_was_given_up_is_not_sent_again_where_another_cause_brought_it() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", dead(), noon()).await;
    let asked = Requested {
        destination: destination("surrey"),
        request: "r1".into(),
        verify: Verify::Present,
        priority: crate::peers::Priority::Routine,
    };
    let by_hand = Arrival { origin: Origin::Operator("jo".into()), chosen: vec![], requested: Some(asked), ..push(1) };
    site.record(by_hand).await;
    site.send("surrey", verified(), noon()).await;
    assert_eq!(site.states(1).await, [State::Dead, State::Verified]);
    assert_eq!(site.record(push(1)).await.kept, Kept::Same { instance: InstanceId(1), owed_again: 1 });
    assert_eq!(site.states(1).await, [State::Unknown, State::Verified], "asked for, not sent");
    let check = site.check("surrey", noon()).await.unwrap();
    site.settle(&check, verified(), noon()).await;
    assert_eq!(site.states(1).await, [State::Verified, State::Verified]);
    site.verify().await;
}

#[tokio::test]
async fn damaged_bytes_are_set_aside_until_they_arrive_anew() {
    let site = Site::new();
    let instance = site.stored(Arrival { chosen: vec![to("surrey"), to("kent")], ..push(1) }).await;
    let in_hand = site.lease("surrey", noon()).await.unwrap();
    site.records.corrupt_here(instance, "SHA-256 differs", noon()).await.unwrap();
    assert_eq!(site.states(1).await, [State::Leased, State::Held]);
    site.settle(&in_hand, deferred(Charge::Us, None), noon()).await;
    assert_eq!(site.states(1).await, [State::Held, State::Held]);
    assert_eq!(site.records.blob_of(&digest(1)).await.unwrap(), None);
    assert_eq!(site.records.all_places().await.unwrap(), [new_place(1)], "set aside, never deleted");
    assert_eq!(site.records.find_instances(FindInstances::default()).await.unwrap(), [], "we do not claim to have it");
    let held = site.transfers(1).await[1].transfer;
    assert_eq!(site.act(Verb::Release, &[held]).await.changed, 0);
    site.verify().await;
    let anew = Arrival { blob: BlobRef::New(new_place(5)), chosen: vec![], ..push(1) };
    assert_eq!(site.record(anew).await.kept, Kept::Same { instance, owed_again: 2 });
    assert_eq!(site.states(1).await, [State::Pending, State::Pending]);
    assert_eq!(site.lease("kent", noon()).await.unwrap().items[0].place, new_place(5));
    assert_eq!(site.records.exceptions(true, ExceptionId(0), 0).await.unwrap(), []);
    site.verify().await;
}

#[tokio::test]
async fn instances_are_found_by_what_a_query_asks_for() {
    let site = Site::new();
    for n in 1..=5 {
        site.stored(push(n)).await;
    }
    let mut other = push(6);
    other.head.study = study(2);
    site.stored(other).await;
    let find = |query| site.records.find_instances(query);
    let all = find(FindInstances::default()).await.unwrap();
    assert_eq!(
        all.iter().map(|found| found.instance.clone()).collect::<Vec<_>>(),
        (1..=6).map(uid).collect::<Vec<_>>()
    );
    let text = |tag| all[0].attributes.0.get(&tag).map(String::as_str);
    assert_eq!(text(PATIENT_NAME), Some("SECRET^NAME"));
    assert_eq!((text(PATIENT_ID), text(MODALITY)), (Some("secret-id"), Some("CT")));
    assert!(!format!("{:?}", all[0]).contains("SECRET"));
    let of_study = FindInstances { study: Some(study(1)), after: all[0].id, limit: 3, ..FindInstances::default() };
    assert_eq!(
        find(of_study).await.unwrap().iter().map(|f| f.instance.clone()).collect::<Vec<_>>(),
        [2, 3, 4].map(uid)
    );
    let named =
        FindInstances { study: Some(study(1)), instances: vec![uid(2), uid(6), uid(99)], ..FindInstances::default() };
    assert_eq!(find(named).await.unwrap().len(), 1);
    let named = FindInstances { instances: vec![uid(2), uid(6), uid(99)], ..FindInstances::default() };
    assert_eq!(find(named).await.unwrap().len(), 2);
    let most = FindInstances { instances: vec![uid(1); MOST_NAMED], ..FindInstances::default() };
    assert_eq!(find(most).await.unwrap().len(), 1);
    let too_many = FindInstances { instances: vec![uid(1); MOST_NAMED + 1], ..FindInstances::default() };
    assert!(matches!(find(too_many).await, Err(RecordsError::Refused(_))));
}

/// What goes away between two pages moves nothing: each instance that is here all the while is found.
#[tokio::test]
async fn what_goes_away_between_two_pages_leaves_no_other_out() {
    let site = Site::new();
    let mut stored = Vec::new();
    for n in 1..=6 {
        stored.push(site.stored(push(n)).await);
    }
    let page = FindInstances { study: Some(study(1)), limit: 3, ..FindInstances::default() };
    let mut found = site.records.find_instances(page.clone()).await.unwrap();
    site.records.corrupt_here(stored[1], "SHA-256 differs", noon()).await.unwrap();
    let next = FindInstances { after: found[2].id, ..page };
    found.extend(site.records.find_instances(next).await.unwrap());
    assert_eq!(found.into_iter().map(|found| found.instance).collect::<Vec<_>>(), (1..=6).map(uid).collect::<Vec<_>>());
}

#[tokio::test]
async fn entries_hold_nothing_of_the_patient() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.record(push_other(1, 2)).await;
    let words = "said of SECRET^NAME";
    let batch = site.lease("surrey", noon()).await.unwrap();
    site.settle(&batch, crate::ledger::outcome::Outcome::Dead { why: words.into() }, noon()).await;
    let lines = site.records.ledger_page(0).await.unwrap();
    assert!(lines.len() >= 4);
    for line in lines {
        let text = String::from_utf8(line.bytes).unwrap();
        assert!(!text.contains("SECRET") && !text.contains("secret-id"), "{text}");
    }
    assert_eq!(site.transfers(1).await[0].last_words.as_deref(), Some(words));
}

/// "Origins and loops": what we asked for is owed to nobody and is not unrouted; once it is pushed to us, it is ours to keep.
#[tokio::test]
async fn what_we_asked_for_is_not_unrouted_until_somebody_pushes_it() {
    let site = Site::new();
    let archive = Origin::Archive(crate::dicom::ae_title::AeTitle::parse("PACS").unwrap());
    for (n, origin) in [(1, Origin::Pulled("surrey".into())), (2, archive)] {
        let asked_for = || Arrival { origin: origin.clone(), chosen: Vec::new(), ..push(n) };
        let instance = site.stored(asked_for()).await;
        let uid = uid(n);
        let views = site.records.instance(&uid, noon()).await.unwrap();
        assert_eq!((views[0].unrouted, &views[0].source), (false, &origin));
        // The same again, asked for again: nothing changes.
        assert_eq!(site.record(asked_for()).await.kept, Kept::Same { instance, owed_again: 0 });
        assert!(!site.records.instance(&uid, noon()).await.unwrap()[0].unrouted);
        let pushed = Arrival { origin: node("CT1"), chosen: Vec::new(), ..push(n) };
        site.record(pushed).await;
        assert!(site.records.instance(&uid, noon()).await.unwrap()[0].unrouted);
    }
    // What goes back to where it was pulled from is not owed.
    let chosen = vec![to("surrey"), to("kent")];
    site.record(Arrival { origin: node("CT1"), chosen, ..push(1) }).await;
    let owed: Vec<String> = site.transfers(1).await.into_iter().map(|transfer| transfer.destination.0).collect();
    assert_eq!(owed, ["kent"]);
    site.verify().await;
}

/// A slow reader's report comes when the bytes that it read were purged and have arrived anew (REL-07).
#[tokio::test]
async fn damage_says_nothing_of_bytes_that_lie_elsewhere() {
    let site = Site::new();
    let instance = site.stored(Arrival { chosen: vec![], ..push(1) }).await;
    assert_eq!(site.condemn(instance, Purging::by("jo", "room").unwrap()).await.instances, 1);
    let freed = site.records.condemned().await.unwrap().iter().map(|(blob, ..)| *blob).collect();
    site.records.freed(freed).await.unwrap();
    let anew = Arrival { blob: BlobRef::New(new_place(5)), chosen: vec![], ..push(1) };
    site.record(anew).await;
    assert!(!site.records.corrupt(instance, new_place(1), "SHA-256 differs", noon()).await.unwrap());
    assert!(site.records.blob_of(&digest(1)).await.unwrap().is_some(), "what came anew is whole");
    assert!(site.records.corrupt(instance, new_place(5), "SHA-256 differs", noon()).await.unwrap());
    assert_eq!(site.records.blob_of(&digest(1)).await.unwrap(), None);
    site.verify().await;
}
