//! Tests of what may be purged, what was, what is damaged, and what lies where (INV-06, IDY-009, LED-030, REL-07, FLT-012).

use super::support::*;
use crate::dicom::fired::note_fired;
use crate::ledger::entry::{Entry, Fact, Kind};
use crate::ledger::generation::Stays;
use crate::ledger::transfer::State;
use crate::records::*;
use crate::store::Place;

async fn purgeable(site: &Site, before: std::time::SystemTime) -> Vec<InstanceId> {
    let (found, next) = site.records.purgeable(before, None, 0).await.unwrap();
    assert_eq!(next, None);
    found.into_iter().map(|candidate| candidate.instance).collect()
}

#[tokio::test]
async fn bytes_are_due_when_all_is_done_and_the_time_has_passed() {
    let site = Site::new();
    let one = site.stored(push(1)).await;
    let two = site.stored(Arrival { chosen: vec![to("surrey"), to("kent")], ..push(2) }).await;
    site.stored(Arrival { chosen: vec![], ..push(3) }).await;
    assert_eq!(purgeable(&site, noon() + DAY).await, [], "all is owed, or to nobody");
    site.send("surrey", verified(), noon() + MINUTE).await;
    assert_eq!(purgeable(&site, noon()).await, [], "done after that");
    assert_eq!(purgeable(&site, noon() + MINUTE).await, [one], "the other is owed to kent as well");
    site.send("kent", accepted(), noon() + HOUR).await;
    assert_eq!(purgeable(&site, noon() + HOUR).await, [one], "accepted, and not verified as policy asks");
    let batch = site.check("kent", noon() + HOUR).await.unwrap();
    site.settle(&batch, verified(), noon() + 2 * HOUR).await;
    assert_eq!(purgeable(&site, noon() + 2 * HOUR).await, [one, two]);
    // The same again begins a new time, whether anything is owed for it or not.
    site.record(Arrival { received_at: noon() + 3 * HOUR, ..push(1) }).await;
    assert_eq!(purgeable(&site, noon() + 2 * HOUR).await, [two]);
    assert_eq!(purgeable(&site, noon() + 3 * HOUR).await, [one, two]);
    let late = site.condemn(one, by_age()).await;
    assert_eq!((late.instances, late.kept), (0, vec![(one, Stays::Young)]), "looked at again in the commit");
    // Page by page, each instance is looked at once.
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let (page, next) = site.records.purgeable(noon() + DAY, after, 1).await.unwrap();
        all.extend(page.into_iter().map(|candidate| candidate.instance));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(all, [one, two]);
}

#[tokio::test]
async fn both_versions_stay_while_a_person_compares_them() {
    let site = Site::new();
    let first = site.stored(push(1)).await;
    site.send("surrey", verified(), noon()).await;
    assert_eq!(purgeable(&site, noon()).await, [first]);
    site.record(push_other(1, 77)).await;
    assert_eq!(purgeable(&site, noon() + DAY).await, []);
    let kept = site.condemn(first, Purging::by("jo", "room").unwrap()).await.kept;
    assert_eq!(kept, [(first, Stays::Excepted)]);
}

/// LED-030, INV-12: a version that a person rejected is kept for its time and goes, also if it was never owed to anybody. It is nobody's then
/// either: not shown, not in front, and rejected again if it comes again.
#[tokio::test]
async fn what_a_person_rejected_goes_after_its_time() {
    for chosen in [vec![to("surrey")], vec![]] {
        let site = Site::new();
        let first = site.stored(push(1)).await;
        site.send("surrey", verified(), noon()).await;
        let other = || Arrival { chosen: chosen.clone(), ..push_other(1, 77) };
        let Kept::Differs { instance: second, exception } = site.record(other()).await.kept else { panic!() };
        assert_eq!(purgeable(&site, noon() + DAY).await, []);
        let by_jo = || Purging::by("jo", "room").unwrap();
        assert_eq!(site.condemn(second, by_jo()).await.instances, 0, "not while it waits for a person");
        site.records.resolve(exception, Resolution::Reject, "jo", "a phantom", noon() + HOUR).await.unwrap();
        assert_eq!(site.records.summary().await.unwrap().unrouted, 0, "decided");
        assert_eq!(purgeable(&site, noon() + MINUTE).await, [first], "its time begins with the decision");
        let (page, next) = site.records.purgeable(noon() + HOUR, None, 1).await.unwrap();
        assert_eq!(page.iter().map(|one| one.instance).collect::<Vec<_>>(), [first]);
        let (page, _) = site.records.purgeable(noon() + HOUR, next, 1).await.unwrap();
        assert_eq!(page.iter().map(|one| one.instance).collect::<Vec<_>>(), [second]);
        let purged = site.condemn(second, Purging::by_rule(PurgeRule::Age, noon() + HOUR)).await;
        assert_eq!((purged.instances, purged.blobs.len()), (1, 1), "{:?}", purged.kept);
        assert_eq!(purgeable(&site, noon() + DAY).await, [first]);
        let shown = site.records.find_instances(FindInstances::default()).await.unwrap();
        assert_eq!(shown.len(), 1, "the first, as before");
        // And again: kept, rejected still, owed to nobody.
        let again = Arrival { received_at: noon() + 2 * HOUR, blob: BlobRef::New(new_place(90)), ..other() };
        assert_eq!(site.record(again).await.kept, Kept::Differs { instance: second, exception });
        let versions = site.records.instance(&uid(1), noon()).await.unwrap();
        assert_eq!((versions[1].state.as_str(), versions[1].in_conflict), ("held", true));
        assert!(site.lease("surrey", noon() + 3 * HOUR).await.is_none());
        assert_eq!(purgeable(&site, noon() + HOUR).await, [first], "its time begins again");
        assert_eq!(site.condemn(second, by_jo()).await.instances, 1, "a person need not wait");
        site.verify().await;
    }
}

/// IDY-009: the bytes of a version that was purged are here all the same if another version keeps them; when it comes again it is stored.
#[tokio::test]
async fn a_purged_version_whose_bytes_another_keeps_is_stored_when_it_comes_again() {
    let site = Site::new();
    let first = site.stored(push(1)).await;
    site.send("surrey", verified(), noon()).await;
    let mut other = push(1);
    other.head.transfer_syntax = crate::dicom::uid::TransferSyntaxUid::parse("1.2.840.10008.1.2").unwrap();
    let Kept::Differs { exception, .. } = site.record(other).await.kept else { panic!() };
    site.records.resolve(exception, Resolution::Reject, "jo", "a phantom", noon()).await.unwrap();
    assert_eq!(site.condemn(first, by_age()).await.blobs, []);
    let (blob, _) = site.records.blob_of(&digest(1)).await.unwrap().unwrap();
    site.record(Arrival { blob: BlobRef::Known(blob), ..push(1) }).await;
    let versions = site.records.instance(&uid(1), noon()).await.unwrap();
    assert_eq!(versions.iter().map(|one| one.state.as_str()).collect::<Vec<_>>(), ["stored", "held"]);
    site.verify().await;
}

#[tokio::test]
async fn one_blob_of_two_versions_goes_with_the_last() {
    let site = Site::new();
    let first = site.stored(push(1)).await;
    let mut other = push(1);
    other.head.transfer_syntax = crate::dicom::uid::TransferSyntaxUid::parse("1.2.840.10008.1.2").unwrap();
    let Kept::Differs { instance: second, .. } = site.record(other).await.kept else { panic!() };
    site.records
        .commit(|tx| {
            Ok(tx.conn.execute_batch("UPDATE exceptions SET closed = 1; UPDATE instances SET state = 'stored'")?)
        })
        .await
        .unwrap();
    let transfers: Vec<_> = site.transfers(1).await.iter().map(|transfer| transfer.transfer).collect();
    site.act(Verb::Cancel, &transfers).await;
    let purged = site.condemn(first, Purging::by("jo", "room").unwrap()).await;
    assert_eq!((purged.instances, purged.blobs), (1, vec![]), "the other version still needs the bytes");
    let purged = site.condemn(second, Purging::by("jo", "room").unwrap()).await;
    assert_eq!(purged.blobs.len(), 1);
}

#[tokio::test]
async fn the_story_says_when_and_by_which_rule_bytes_went() {
    let site = Site::new();
    let one = site.stored(push(1)).await;
    site.send("surrey", verified(), noon()).await;
    assert_eq!(site.condemn(one, by_age()).await.instances, 1);
    assert_eq!(site.condemn(one, by_age()).await.kept, [(one, Stays::NotStored)], "once");
    site.record(push(1)).await;
    assert_eq!(site.condemn(one, Purging::by("jo", "asked by the archive").unwrap()).await.instances, 1);
    let purges: Vec<What> =
        site.records.why_instance(&uid(1), noon()).await.unwrap().into_iter().map(|e| e.what).collect();
    let purges: Vec<_> = purges.into_iter().filter(|what| matches!(what, What::Purged { .. })).collect();
    let by_jo =
        What::Purged { rule: PurgeRule::Dropped, who: Some("jo".into()), words: Some("asked by the archive".into()) };
    assert_eq!(purges, [What::Purged { rule: PurgeRule::Age, who: None, words: None }, by_jo]);
    let view = site.records.instance(&uid(1), noon()).await.unwrap().remove(0);
    assert_eq!((view.state.as_str(), view.transfers.len()), ("purged", 1), "its records stay");
    assert!(Purging::by("jo", " ").is_err() && Purging::by("", "x").is_err(), "a person has a name and a reason");
    site.verify().await;
}

#[tokio::test]
async fn what_no_route_chose_goes_only_by_a_person() {
    let site = Site::new();
    let one = site.stored(Arrival { chosen: vec![], ..push(1) }).await;
    let forever = Purging::by_rule(PurgeRule::Room, noon() + 10_000 * DAY);
    assert_eq!(site.condemn(one, forever).await.kept, [(one, Stays::Unrouted)]);
    assert_eq!(site.records.oldest_unrouted().await.unwrap(), Some(noon()));
    let listed = site.records.kept_studies(Some(StudyState::Unrouted), 0, 0).await.unwrap();
    assert_eq!((listed.len(), listed[0].unrouted, listed[0].kept_bytes), (1, 1, 1000));
    assert_eq!(site.condemn(one, Purging::by("jo", "a phantom").unwrap()).await.instances, 1);
    assert_eq!(site.records.kept_studies(Some(StudyState::Unrouted), 0, 0).await.unwrap(), []);
    assert_eq!(site.records.kept_studies(Some(StudyState::Purged), 0, 0).await.unwrap()[0].purged, 1);
    assert_eq!(site.records.summary().await.unwrap().unrouted, 0, "and is no alarm any more");
    site.verify().await;
}

#[tokio::test]
async fn damage_at_a_place_says_nothing_about_another_place() {
    let site = Site::new();
    site.stored(push(1)).await;
    let elsewhere = Place { file: 99, ..new_place(1) };
    assert!(!site.records.damaged(BlobId(1), elsewhere, "flipped", noon()).await.unwrap());
    assert!(site.records.moved(BlobId(1), new_place(1), elsewhere).await.unwrap());
    assert!(!site.records.moved(BlobId(1), new_place(1), new_place(5)).await.unwrap(), "it is not there any more");
    assert!(!site.records.damaged(BlobId(1), new_place(1), "flipped", noon()).await.unwrap());
    assert_eq!(site.records.all_places().await.unwrap(), [elsewhere]);
    assert!(site.records.damaged(BlobId(1), elsewhere, "flipped", noon()).await.unwrap());
    assert_eq!(site.states(1).await, [State::Held]);
    assert_eq!(site.records.blob_counts().await.unwrap().corrupt, 1);
    assert_eq!(site.records.all_places().await.unwrap(), [elsewhere], "set aside, not deleted");
    // The same bytes heal it.
    site.record(Arrival { blob: BlobRef::New(new_place(8)), ..push(1) }).await;
    assert_eq!(site.states(1).await, [State::Pending]);
    site.verify().await;
}

#[tokio::test]
async fn the_place_of_the_scrub_outlives_a_restart() {
    let site = Site::new();
    assert_eq!(site.records.scrub_pass().await.unwrap(), None);
    let half = ScrubPass { after: BlobId(7), blobs: 7, bytes: 7000, damaged: 1, ..ScrubPass::begin(noon()) };
    site.records.note_scrub(half).await.unwrap();
    let (site, _) = site.restart();
    assert_eq!(site.records.scrub_pass().await.unwrap(), Some(half));
    let whole = ScrubPass { ended: Some(noon() + DAY), ..half };
    let before = site.records.ledger_head().await.unwrap().size;
    site.records.note_scrub(whole).await.unwrap();
    assert_eq!(site.records.scrub_pass().await.unwrap(), Some(whole));
    assert_eq!(site.records.ledger_head().await.unwrap().size, before + 1, "the end is entered");
    site.verify().await;
}

#[tokio::test]
async fn segments_are_told_by_what_lives_in_them() {
    let site = Site::new();
    for n in 1..=3 {
        let place = Place { file: 40 + u64::from(n / 3), offset: u64::from(n) * 4096, ..new_place(1) };
        site.stored(Arrival { blob: BlobRef::New(place), ..push(n) }).await;
    }
    site.send("surrey", verified(), noon()).await;
    site.condemn(InstanceId(1), by_age()).await;
    let used = |file, live, live_bytes, others| FileUse { file, live, live_bytes, others };
    assert_eq!(site.records.segments().await.unwrap(), [used(40, 1, 1000, 1), used(41, 1, 1000, 0)]);
    site.records.freed(vec![BlobId(1)]).await.unwrap();
    assert_eq!(site.records.segments().await.unwrap(), [used(40, 1, 1000, 0), used(41, 1, 1000, 0)]);
    assert_eq!(
        site.records.blobs_in(40).await.unwrap().iter().map(|(blob, ..)| *blob).collect::<Vec<_>>(),
        [BlobId(2)]
    );
    assert_eq!(site.records.blob_at(BlobId(1)).await.unwrap(), None);
    assert_eq!(site.records.blob_at(BlobId(3)).await.unwrap().unwrap().0, digest(3));
}

/// FLT-025: where more differ than are noted that stays told until all blobs were read again without it.
#[tokio::test]
async fn that_more_differ_than_are_noted_is_told_until_all_were_read_again() {
    let site = Site::new();
    let found = |n: i64| {
        let blob = BlobId(n);
        (blob, vec![Unlike { blob, instance: InstanceId(n), uid: uid(1), what: "PatientID".into() }])
    };
    let all_were_read = || async {
        let pass = ScrubPass::begin(noon());
        site.records.note_scrub(pass).await.unwrap();
        site.records.note_scrub(ScrubPass { ended: Some(noon()), ..pass }).await.unwrap();
    };
    let told = || async {
        let all = site.records.unlike().await.unwrap();
        (all.noted.len(), all.more)
    };
    for n in 1..=100 {
        let (blob, found) = found(n);
        site.records.note_unlike(blob, found).await.unwrap();
    }
    assert_eq!(told().await, (100, false));
    let (blob, one_more) = found(101);
    site.records.note_unlike(blob, one_more.clone()).await.unwrap();
    assert_eq!(told().await, (100, true));
    for n in 1..=100 {
        site.records.note_unlike(BlobId(n), Vec::new()).await.unwrap();
    }
    assert_eq!(told().await, (0, true), "the last is still wrong");
    all_were_read().await;
    assert_eq!(told().await, (0, true), "it was dropped in this reading");
    site.records.note_unlike(blob, one_more).await.unwrap();
    all_were_read().await;
    assert_eq!(told().await, (1, false), "the next found it");
    site.verify().await;
    note_fired(1);
}

/// UIX-09: who says that a site was meant to begin anew is named in the ledger, once.
#[tokio::test]
async fn that_a_beginning_was_meant_is_an_act_with_a_name() {
    for reason in ["a new site", ""] {
        let site = Site::new();
        assert!(site.records.began().await.unwrap().is_some());
        assert!(site.records.beginning_was_meant(" ", reason, noon()).await.is_err(), "a person has a name");
        let before = site.records.ledger_head().await.unwrap().size;
        assert!(site.records.beginning_was_meant("jo", reason, noon()).await.unwrap());
        assert_eq!(site.records.began().await.unwrap(), None);
        let last = site.records.ledger_page(before).await.unwrap().remove(0);
        let entry = Entry::parse(&last.bytes).unwrap();
        let text = |name: &str| entry.facts.get(name).and_then(Fact::text);
        assert_eq!((entry.kind, text("verb"), text("who")), (Kind::Act, Some("begun"), Some("jo")));
        assert_eq!(entry.facts.contains_key("words"), !reason.is_empty());
        assert!(!site.records.beginning_was_meant("al", reason, noon()).await.unwrap(), "it is said already");
        assert_eq!(site.records.ledger_head().await.unwrap().size, before + 1);
        site.verify().await;
    }
}

/// UIX-09: so is who says that the records in place are the right ones.
#[tokio::test]
async fn that_records_are_accepted_is_an_act_with_a_name() {
    let site = Site::new();
    let before = site.records.ledger_head().await.unwrap().size;
    assert!(site.records.were_accepted(" ", noon()).await.is_err(), "a person has a name");
    site.records.were_accepted("jo", noon()).await.unwrap();
    let entries = site.records.ledger_page(before).await.unwrap();
    let entry = Entry::parse(&entries[0].bytes).unwrap();
    let text = |name: &str| entry.facts.get(name).and_then(Fact::text);
    assert_eq!((entry.kind, text("verb"), text("who")), (Kind::Act, Some("accepted"), Some("jo")));
    assert_eq!(entries.len(), 1);
    site.verify().await;
}
