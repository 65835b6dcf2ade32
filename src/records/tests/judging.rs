//! Tests of verdicts and decisions about other content under a known UID (IDY-007, IDY-010, IDY-020, INV-12, UIX-09).

use super::support::*;
use crate::dicom::canon::{Content, Pixels, VERSION};
use crate::ledger::entry::{Entry, Fact, Kind};
use crate::ledger::judgement::Verdict;
use crate::ledger::outcome::Charge;
use crate::ledger::transfer::State;
use crate::records::*;
use std::time::Duration;

const FIRST: InstanceId = InstanceId(1);
const SECOND: InstanceId = InstanceId(2);
const CONFLICT: ExceptionId = ExceptionId(1);

fn content(n: u8) -> Content {
    Content { canon: [n; 32], core: [n; 32], pixels: Pixels::Lossless([n; 32]), patient: Some([n; 32]) }
}

fn verdict_of(verdict: Verdict, now: std::time::SystemTime) -> Judged {
    let digested = |instance, n| Digested { instance, profile: "1".into(), content: Some(content(n)) };
    Judged {
        exception: CONFLICT,
        against: FIRST,
        verdict,
        digests: vec![digested(FIRST, 1), digested(SECOND, 1)],
        resend_after: DAY,
        now,
    }
}

impl Site {
    /// Version 1, delivered to surrey; then version 2, held.
    async fn conflict(&self) {
        self.stored(push(1)).await;
        self.send("surrey", verified(), noon()).await;
        let kept = self.record(push_other(1, 10)).await.kept;
        assert_eq!(kept, Kept::Differs { instance: SECOND, exception: CONFLICT });
    }

    async fn judged(&self, verdict: Verdict) -> bool {
        self.records.judged(verdict_of(verdict, noon())).await.unwrap()
    }

    async fn resolve(&self, resolution: Resolution) -> u64 {
        self.records.resolve(CONFLICT, resolution, "jo", "asked the ward", noon()).await.unwrap()
    }

    async fn versions(&self) -> Vec<(String, Option<InstanceId>, bool)> {
        let versions = self.records.instance(&uid(1), noon()).await.unwrap();
        versions.into_iter().map(|version| (version.state, version.behind, version.in_conflict)).collect()
    }

    async fn open(&self) -> Vec<ExceptionView> {
        self.records.exceptions(true, ExceptionId(0), 0).await.unwrap()
    }

    async fn shown(&self) -> usize {
        self.records.find_instances(FindInstances::default()).await.unwrap().len()
    }

    async fn last_entry(&self) -> Entry {
        let lines = self.records.ledger_page(0).await.unwrap();
        Entry::parse(&lines.last().unwrap().bytes).unwrap()
    }
}

/// "No destination": a copy of another's that is pushed to us in other bytes is ours to keep, and is told as what no route chose.
#[tokio::test]
async fn a_copy_that_is_pushed_in_other_bytes_is_ours() {
    use crate::peers::Origin;
    for again in [false, true] {
        let site = Site::new();
        site.stored(Arrival { origin: Origin::Pulled("surrey".into()), chosen: Vec::new(), ..push(1) }).await;
        let kept = site.record(Arrival { chosen: Vec::new(), ..push_other(1, 10) }).await.kept;
        assert_eq!(kept, Kept::Differs { instance: SECOND, exception: CONFLICT });
        assert!(site.judged(Verdict::Same).await);
        let first = || async { site.records.instance(&uid(1), noon()).await.unwrap().remove(0) };
        assert_eq!(site.versions().await, [("stored".into(), None, false), ("stored".into(), Some(FIRST), false)]);
        assert!(first().await.unrouted, "it is told");
        let routable = site.records.routable(vec![FIRST]).await.unwrap();
        assert_eq!(routable[0].arrivals.len(), 2, "a route that chooses either chooses what is owed for both");
        assert_eq!(site.condemn(FIRST, by_age()).await.instances, 0, "what no route chose is not purged by age");
        if again {
            // Now a route chooses somebody for the same bytes.
            site.record(Arrival { chosen: vec![to("kent")], ..push_other(1, 10) }).await;
            assert!(!first().await.unrouted);
            assert_eq!(site.lease("kent", noon()).await.unwrap().items.len(), 1);
        }
        site.verify().await;
    }
}

#[tokio::test]
async fn what_says_the_same_is_released_and_sent_to_nobody_twice() {
    let site = Site::new();
    site.conflict().await;
    assert_eq!(site.records.unjudged(ExceptionId(0)).await.unwrap().len(), 1);
    assert!(site.judged(Verdict::Same).await);
    assert!(!site.judged(Verdict::Same).await, "it is judged once");
    assert_eq!((site.open().await.len(), site.records.unjudged(ExceptionId(0)).await.unwrap().len()), (0, 0));
    assert_eq!(site.versions().await, [("stored".into(), None, false), ("stored".into(), Some(FIRST), false)]);
    assert_eq!(site.states(1).await, [State::Verified, State::Cancelled]);
    assert!(site.lease("surrey", noon()).await.is_none());
    assert_eq!(site.shown().await, 1, "whoever asks is shown one of the two");
    let resource = Resource { study: study(1), series: None, instance: None };
    let given = site.records.retrievable(&resource, InstanceId(0)).await.unwrap();
    assert_eq!(
        given.iter().map(|item| item.instance).collect::<Vec<_>>(),
        [FIRST],
        "whoever retrieves is given that one"
    );
    let picked = Picked { studies: vec![study(1)], ..Picked::default() };
    assert_eq!(site.records.expected(picked).await.unwrap().instances.len(), 1);
    let entry = site.last_entry().await;
    let text = |name: &str| entry.facts.get(name).and_then(Fact::text);
    assert_eq!((entry.kind, text("verdict")), (Kind::Judged, Some("same")));
    assert!(entry.facts.contains_key("digests") && !format!("{:?}", entry.facts).contains("patient"));
    // The same bytes again are the same, and owed to whom the content has not reached, in the bytes that stand in front.
    let again = |to: Vec<crate::peers::Chosen>| Arrival { chosen: to, ..push_other(1, 10) };
    assert_eq!(site.record(again(vec![to("surrey")])).await.kept, Kept::Same { instance: SECOND, owed_again: 0 });
    let kept = site.record(again(vec![to("surrey"), to("kent")])).await.kept;
    assert_eq!(kept, Kept::Same { instance: SECOND, owed_again: 1 });
    assert_eq!(site.lease("kent", noon()).await.unwrap().items[0].instance, FIRST);
    site.verify().await;
    let (site, _) = site.restart();
    assert_eq!(site.versions().await[1], ("stored".into(), Some(FIRST), false));
    site.verify().await;
}

/// IDY-007: a duplicate is still owed to a destination that has not got it.
#[tokio::test]
async fn a_duplicate_in_other_bytes_is_owed_where_the_first_is_not_done() {
    let site = Site::new();
    let all = || vec![to("done"), to("dead"), to("busy"), to("off")];
    site.stored(Arrival { chosen: all(), ..push(1) }).await;
    site.send("done", verified(), noon()).await;
    site.send("dead", dead(), noon()).await;
    let busy = site.lease("busy", noon()).await.unwrap();
    let off = site.transfers(1).await[3].transfer;
    site.act(Verb::Cancel, &[off]).await;
    let mut chosen = all();
    chosen.push(to("new"));
    site.record(Arrival { chosen, ..push_other(1, 10) }).await;
    let conflict = site.open().await.into_iter().find(|x| x.kind == "conflict").unwrap().exception;
    let judged = Judged { exception: conflict, ..verdict_of(Verdict::Same, noon()) };
    assert!(site.records.judged(judged).await.unwrap());
    use State::{Cancelled, Leased, Pending, Verified};
    let views = site.records.instance(&uid(1), noon()).await.unwrap();
    let states = |at: usize| views[at].transfers.iter().map(|t| t.state).collect::<Vec<_>>();
    assert_eq!(states(0), [Verified, Pending, Leased, Cancelled, Pending], "the last is the new destination's");
    assert_eq!(states(1), [Cancelled; 5]);
    assert_eq!(site.open().await, [], "the dead one is tried again");
    site.settle(&busy, verified(), noon()).await;
    site.verify().await;
}

#[tokio::test]
async fn nothing_is_sent_to_where_the_same_came_from() {
    let site = Site::new();
    let from_surrey = Arrival { origin: crate::peers::Origin::Peer("surrey".into()), chosen: vec![], ..push(1) };
    site.stored(from_surrey).await;
    site.record(push_other(1, 10)).await;
    assert!(site.judged(Verdict::Same).await);
    assert_eq!(site.states(1).await, [State::Cancelled]);
    assert_eq!(site.records.summary().await.unwrap().unrouted, 1, "the one in front is still owed to nobody");
    site.verify().await;
}

/// What a person hands in for a destination goes there although it came from there, in the same bytes or in others.
#[tokio::test]
async fn what_a_person_asks_for_goes_to_where_the_same_came_from() {
    for by_hand in [push(1), push_other(1, 10)] {
        let site = Site::new();
        let from_surrey = Arrival { origin: crate::peers::Origin::Peer("surrey".into()), chosen: vec![], ..push(1) };
        site.stored(from_surrey).await;
        let requested = Some(Requested {
            destination: destination("surrey"),
            request: "r1".into(),
            verify: crate::peers::Verify::Present,
            priority: crate::peers::Priority::Routine,
        });
        let origin = crate::peers::Origin::Operator("jo".into());
        let kept = site.record(Arrival { origin, chosen: vec![], requested, ..by_hand }).await.kept;
        if !matches!(kept, Kept::Same { .. }) {
            assert!(site.judged(Verdict::Same).await);
        }
        let sent = site.lease("surrey", noon()).await.expect("it is owed");
        assert_eq!(sent.items[0].instance, FIRST, "the bytes that were here before");
        site.settle(&sent, verified(), noon()).await;
        site.verify().await;
    }
}

/// "The same instance again": after a purge the digests decide, and the new bytes stand in for the old.
#[tokio::test]
async fn what_says_the_same_as_what_was_purged_stands_in_for_it() {
    for (later, want) in [(DAY - MINUTE, State::Cancelled), (DAY + MINUTE, State::Unknown)] {
        let site = Site::new();
        site.stored(push(1)).await;
        site.send("surrey", verified(), noon()).await;
        let digested = |profile: &str| Digested { instance: FIRST, profile: profile.into(), content: Some(content(1)) };
        // Those of an earlier canon will not do.
        site.records.keep_digests(vec![digested("1")]).await.unwrap();
        assert_eq!(site.records.undigested(vec![FIRST]).await.unwrap().len(), 1);
        site.records.keep_digests(vec![digested(VERSION)]).await.unwrap();
        assert_eq!(site.records.undigested(vec![FIRST]).await.unwrap().len(), 0);
        assert_eq!(site.condemn(FIRST, by_age()).await.instances, 1);
        let now = noon() + later;
        site.record(Arrival { received_at: now, chosen: vec![to("surrey"), to("kent")], ..push_other(1, 10) }).await;
        assert_eq!(site.records.digests(FIRST, VERSION.into()).await.unwrap(), Some(Some(content(1))));
        assert_eq!(site.records.digests(FIRST, "another".into()).await.unwrap(), None);
        assert!(site.records.judged(verdict_of(Verdict::Same, now)).await.unwrap());
        assert_eq!(site.versions().await, [("purged".into(), Some(SECOND), false), ("stored".into(), None, false)]);
        assert_eq!(site.states(1).await, [State::Verified, want, State::Pending]);
        assert_eq!(site.lease("kent", now).await.unwrap().items[0].instance, SECOND);
        assert_eq!(site.shown().await, 1);
        // The first bytes again: the front is here, and nothing is owed anew.
        let first = Arrival { received_at: now, blob: BlobRef::New(new_place(77)), ..push(1) };
        let kept = site.record(first).await.kept;
        assert_eq!((kept, site.shown().await), (Kept::Same { instance: FIRST, owed_again: 0 }, 1));
        site.verify().await;
    }
}

#[tokio::test]
async fn a_duplicate_whose_front_was_purged_comes_to_the_front_when_it_arrives_again() {
    let site = Site::new();
    site.conflict().await;
    site.judged(Verdict::Same).await;
    for instance in [FIRST, SECOND] {
        let purged = site.condemn(instance, by_age()).await;
        assert_eq!(purged.instances, 1, "{:?}", purged.kept);
    }
    site.records.freed(vec![BlobId(1), BlobId(2)]).await.unwrap();
    let again = Arrival { blob: BlobRef::New(new_place(70)), ..push_other(1, 10) };
    assert_eq!(site.record(again).await.kept, Kept::Same { instance: SECOND, owed_again: 0 });
    assert_eq!(site.versions().await, [("purged".into(), Some(SECOND), false), ("stored".into(), None, false)]);
    assert_eq!(site.shown().await, 1);
    site.verify().await;
}

#[tokio::test]
async fn every_other_verdict_leaves_it_held() {
    for verdict in Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Same) {
        let site = Site::new();
        site.conflict().await;
        assert_eq!(site.records.summary().await.unwrap().unjudged, 1);
        assert!(site.judged(verdict).await);
        assert_eq!(site.records.summary().await.unwrap().unjudged, 0);
        assert_eq!(site.versions().await[1], ("held".into(), None, true), "{verdict:?}");
        assert_eq!(site.states(1).await, [State::Verified, State::Held]);
        let open = site.open().await;
        assert_eq!((open[0].verdict, open[0].against), (Some(verdict), Some(1)));
        assert_eq!(open[0].words.as_deref(), Some(verdict.sentence()));
        assert_eq!(site.records.unjudged(ExceptionId(0)).await.unwrap(), []);
        assert!(!site.judged(Verdict::Same).await, "a verdict stands");
        assert_eq!(site.shown().await, 1);
        site.verify().await;
    }
}

#[tokio::test]
async fn a_revision_that_a_person_accepts_goes_out_and_stands_in_front() {
    let site = Site::new();
    site.stored(Arrival { chosen: vec![to("surrey"), to("kent"), to("bath")], ..push(1) }).await;
    site.send("surrey", verified(), noon()).await;
    let in_hand = site.lease("bath", noon()).await.unwrap();
    site.record(Arrival { chosen: vec![to("surrey"), to("kent"), to("bath")], ..push_other(1, 10) }).await;
    site.judged(Verdict::Revision).await;
    assert_eq!(site.resolve(Resolution::Accept).await, 4);
    use State::{Cancelled, Leased, Pending, Verified};
    // What of the first was not sent yet to kent would arrive after its own revision.
    assert_eq!(site.states(1).await, [Verified, Cancelled, Leased, Pending, Pending, Pending]);
    let leased = site.lease("surrey", noon()).await.unwrap().items.remove(0);
    assert_eq!((leased.instance, leased.rival), (SECOND, true), "the first went there before");
    assert!(!in_hand.items[0].rival);
    site.settle(&in_hand, verified(), noon()).await;
    assert_eq!(site.versions().await, [("stored".into(), Some(SECOND), false), ("stored".into(), None, false)]);
    let found = site.records.find_instances(FindInstances::default()).await.unwrap();
    assert_eq!(found.len(), 1);
    let closed = site.records.exception(CONFLICT).await.unwrap().unwrap();
    assert_eq!((closed.closed, closed.decision.as_deref()), (Some(noon()), Some("accepted")));
    let entry = site.last_entry_of(Kind::Act).await;
    let text = |name: &str| entry.facts.get(name).and_then(Fact::text);
    assert_eq!((text("verb"), text("who")), (Some("accept"), Some("jo")));
    // The first arrives again, for a new destination: that gets the revision.
    let again = Arrival { chosen: vec![to("surrey"), to("dover")], ..push(1) };
    assert_eq!(site.record(again).await.kept, Kept::Same { instance: FIRST, owed_again: 1 });
    assert_eq!(site.lease("dover", noon()).await.unwrap().items[0].instance, SECOND);
    site.verify().await;
    let twice = site.records.resolve(CONFLICT, Resolution::Reject, "jo", "no", noon()).await;
    assert!(matches!(twice, Err(RecordsError::Refused(_))));
}

/// INV-12: what was under way or in doubt when its revision was accepted is not sent after it, and never together with it.
#[tokio::test]
async fn a_version_in_doubt_does_not_go_out_after_its_revision() {
    use State::{Cancelled, Pending, Unknown};
    let unsure = || Outcome::Unknown { why: "it went away".into() };
    let busy = || Outcome::Deferred { why: "later".into(), charge: Charge::Instance, after: None };
    let no = || Outcome::Dead { why: "no".into() };
    for after in [busy(), no(), unsure()] {
        let site = Site::new();
        site.stored(push(1)).await;
        let in_hand = site.lease("surrey", noon()).await.unwrap();
        site.record(push_other(1, 10)).await;
        site.judged(Verdict::Revision).await;
        site.resolve(Resolution::Accept).await;
        let doubt = matches!(after, Outcome::Unknown { .. });
        site.settle(&in_hand, after, noon()).await;
        assert_eq!(site.states(1).await, [if doubt { Unknown } else { Cancelled }, Pending]);
        if doubt {
            let soon = noon() + Duration::from_secs(600);
            let asked = site.check("surrey", soon).await.unwrap();
            site.settle(&asked, Outcome::Absent { why: "it does not show it".into() }, soon).await;
            assert_eq!(site.states(1).await, [Cancelled, Pending]);
        }
        let batch = site.lease("surrey", noon()).await.unwrap();
        assert_eq!(batch.items.iter().map(|item| item.instance).collect::<Vec<_>>(), [SECOND]);
        assert!(site.open().await.iter().all(|open| open.kind == "conflict"), "nobody is asked about it");
        site.verify().await;
    }
}

impl Site {
    async fn last_entry_of(&self, kind: Kind) -> Entry {
        let lines = self.records.ledger_page(0).await.unwrap();
        let mut entries = lines.iter().map(|line| Entry::parse(&line.bytes).unwrap());
        entries.rfind(|entry| entry.kind == kind).unwrap()
    }
}

#[tokio::test]
async fn a_version_that_a_person_rejects_goes_nowhere_for_good() {
    let site = Site::new();
    site.conflict().await;
    site.judged(Verdict::OtherPixels).await;
    assert_eq!(site.resolve(Resolution::Reject).await, 1);
    assert_eq!((site.states(1).await, site.open().await.len()), (vec![State::Verified, State::Cancelled], 0));
    assert_eq!(site.versions().await[1], ("held".into(), None, true));
    // Neither by arriving again, nor after its bytes were damaged and came back.
    let again = |file| Arrival { chosen: vec![to("kent")], blob: BlobRef::New(new_place(file)), ..push_other(1, 10) };
    assert_eq!(site.record(again(50)).await.kept, Kept::Differs { instance: SECOND, exception: CONFLICT });
    site.records.corrupt_here(SECOND, "SHA-256 differs", noon()).await.unwrap();
    assert_eq!(site.record(again(51)).await.kept, Kept::Differs { instance: SECOND, exception: CONFLICT });
    assert_eq!(site.versions().await[1], ("held".into(), None, true));
    assert_eq!(site.states(1).await, [State::Verified, State::Cancelled]);
    assert!(site.lease("kent", noon()).await.is_none());
    assert_eq!(site.open().await, []);
    let entry = site.last_entry_of(Kind::Act).await;
    assert_eq!(entry.facts.get("verb").and_then(Fact::text), Some("reject"));
    assert!(!format!("{:?}", entry.facts).contains("ward"), "the reason stands beside the ledger, by its hash");
    site.verify().await;
}

#[tokio::test]
async fn a_decision_needs_a_name_and_a_reason_and_an_open_conflict() {
    let site = Site::new();
    site.conflict().await;
    for (who, reason) in [("", "because"), ("jo", " ")] {
        let refused = site.records.resolve(CONFLICT, Resolution::Accept, who, reason, noon()).await;
        assert!(matches!(refused, Err(RecordsError::Refused(_))));
    }
    let unknown = site.records.resolve(ExceptionId(9), Resolution::Accept, "jo", "because", noon()).await;
    assert!(matches!(unknown, Err(RecordsError::Refused(_))));
    site.records.corrupt_here(SECOND, "SHA-256 differs", noon()).await.unwrap();
    let damaged = site.records.resolve(CONFLICT, Resolution::Accept, "jo", "because", noon()).await;
    assert!(matches!(damaged, Err(RecordsError::Refused(why)) if why.contains("damaged")));
    assert_eq!(site.states(1).await, [State::Verified, State::Held]);
    site.verify().await;
}

/// REL-07, UIX-09: damage that nobody can mend need not alarm for ever. What it means stays, and what is owed goes on once the bytes are here.
#[tokio::test]
async fn damage_that_a_person_has_seen_alarms_no_more_and_still_heals() {
    let site = Site::new();
    let instance = site.stored(push(1)).await;
    site.records.corrupt_here(instance, "SHA-256 differs", noon()).await.unwrap();
    let (alarm, held) = (ExceptionId(1), site.transfers(1).await[0].transfer);
    let refused = site.records.damage_seen(alarm, "jo", " ", noon()).await;
    assert!(matches!(refused, Err(RecordsError::Refused(_))), "without a reason");
    site.records.damage_seen(alarm, "jo", "the scanner has it no more", noon()).await.unwrap();
    assert_eq!(site.records.exceptions(true, ExceptionId(0), 9).await.unwrap(), []);
    assert!(matches!(site.records.damage_seen(alarm, "jo", "again", noon()).await, Err(RecordsError::Refused(_))));
    assert_eq!(site.states(1).await, [State::Held]);
    assert_eq!(site.act(Verb::Release, &[held]).await.changed, 0, "its bytes are still damaged");
    let place = site.records.all_places().await.unwrap();
    assert_eq!(place, [new_place(1)], "set aside, never deleted");
    let entry = site.last_entry_of(Kind::Act).await;
    assert_eq!(entry.facts.get("verb").and_then(Fact::text), Some("seen"));
    assert!(!format!("{:?}", entry.facts).contains("scanner"), "the reason stands beside the ledger, by its hash");
    site.verify().await;
    let anew = Arrival { blob: BlobRef::New(new_place(5)), chosen: vec![], ..push(1) };
    assert_eq!(site.record(anew).await.kept, Kept::Same { instance, owed_again: 1 });
    assert_eq!(site.states(1).await, [State::Pending]);
    site.verify().await;
    let conflict = site.record(push_other(1, 77)).await;
    let Kept::Differs { exception, .. } = conflict.kept else { panic!("{conflict:?}") };
    assert!(matches!(site.records.damage_seen(exception, "jo", "no", noon()).await, Err(RecordsError::Refused(_))));
}
