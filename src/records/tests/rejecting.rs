//! Rejection notes: whose count, what they hide and stop, what comes before and after them, and how they end (WEB-105, FLT-085).

use super::support::*;
use crate::dicom::fired::note_fired;
use crate::dicom::rejection::{KEY_OBJECT_SELECTION, Named, Reason};
use crate::dicom::uid::SopClassUid;
use crate::ledger::transfer::State;
use crate::peers::{Origin, Priority, Verify};
use crate::records::*;
use std::time::SystemTime;

/// A Key Object Selection of study 1.
fn note(n: u32) -> Arrival {
    let mut note = push(n);
    note.head.sop_class = SopClassUid::parse(KEY_OBJECT_SELECTION).unwrap();
    note
}

fn names(study_of: u32, instances: &[u32]) -> NoteRead {
    let named = instances.iter().map(|n| Named { study: study(study_of), instance: uid(*n) }).collect();
    NoteRead::Rejects { reason: Reason::Safety, named }
}

impl Site {
    /// What the reader does with everything that waits; `read` is what each note says.
    async fn read_notes(&self, read: &NoteRead) -> Vec<Standing> {
        let mut standings = Vec::new();
        loop {
            let notes = self.records.unread_notes(InstanceId(0)).await.unwrap();
            if notes.is_empty() {
                return standings;
            }
            for note in notes {
                if note.is_unread {
                    standings
                        .push(self.records.note_read(note.instance, read.clone(), SystemTime::now()).await.unwrap());
                } else {
                    self.records.apply_rejection(note.instance, note.turn, SystemTime::now()).await.unwrap();
                }
            }
        }
    }

    /// Which of these instances queries, retrieval and sums show.
    async fn in_sight(&self, instances: &[u32]) -> Vec<u32> {
        let mut shown = Vec::new();
        for n in instances {
            let query = FindInstances { instances: vec![uid(*n)], limit: 10, ..FindInstances::default() };
            let found = self.records.find_instances(query).await.unwrap().len();
            let resource = Resource { study: study(1), series: None, instance: Some(uid(*n)) };
            let given = self.records.retrievable(&resource, InstanceId(0)).await.unwrap().len();
            let extent = self.records.extent(&resource).await.unwrap();
            assert_eq!((found, extent.stored), (given, given as u64), "{n}: all faces agree");
            shown.extend((given > 0).then_some(*n));
        }
        shown
    }

    async fn hides(&self, n: u32) -> u64 {
        self.records.rejection(&uid(n)).await.unwrap()[0].hides
    }
}

fn pushed_by(origin: Origin, n: u32) -> Arrival {
    Arrival { origin, chosen: Vec::new(), ..push(n) }
}

fn noted_by(origin: Origin, n: u32) -> Arrival {
    Arrival { origin, chosen: Vec::new(), ..note(n) }
}

/// WEB-105, FLT-085: what a note names is in no answer any more; what is owed of it stops, but for what is under way, which ends as it ends
/// and goes no further; who has it, or may have it, is owed the note.
#[tokio::test]
async fn what_is_rejected_is_hidden_and_stops() {
    let site = Site::new();
    for n in 1..=4 {
        site.stored(Arrival { chosen: vec![to_accepting("surrey"), to("kent")], ..push(n) }).await;
    }
    let sent = site.lease("surrey", noon()).await.unwrap();
    let outcomes = sent.items[..2].iter().map(|item| (item.transfer, accepted())).collect();
    site.records.settle(sent.attempt, outcomes, AttemptSummary::default(), noon()).await.unwrap();
    site.stored(Arrival { chosen: Vec::new(), ..note(9) }).await;
    assert_eq!(site.read_notes(&names(1, &[1, 3, 4])).await, [Standing::InForce]);
    assert_eq!(site.in_sight(&[1, 2, 3, 4, 9]).await, [2, 9]);
    assert_eq!(site.states(1).await, [State::Accepted, State::Cancelled]);
    assert_eq!(site.states(2).await, [State::Accepted, State::Pending]);
    assert_eq!(site.states(3).await, [State::Leased, State::Cancelled], "what is under way is left alone");
    let copies = site.records.copies(vec![InstanceId(1), InstanceId(2)]).await.unwrap();
    assert_eq!(
        (copies.list.iter().map(|(copy, kept)| (copy.instance, *kept)).collect::<Vec<_>>(), copies.withheld),
        (vec![(InstanceId(2), true)], 1),
        "nor given by what began before"
    );
    let of_note = site.transfers(9).await;
    assert_eq!(
        of_note.iter().map(|t| t.destination.0.as_str()).collect::<Vec<_>>(),
        ["surrey"],
        "kent has nothing of it"
    );
    // One of those under way arrives; the other is not tried again.
    let outcomes = vec![(sent.items[2].transfer, accepted()), (sent.items[3].transfer, unknown())];
    site.records.settle(sent.attempt, outcomes, AttemptSummary::default(), noon()).await.unwrap();
    assert_eq!(site.states(3).await[0], State::Accepted);
    assert_eq!(site.states(4).await[0], State::Cancelled);
    assert!(site.check("surrey", noon() + DAY).await.is_none());
    // Nothing owes it again: neither its arrival nor a person's order.
    let again = site.record(Arrival { received_at: noon() + DAY + DAY, ..push(1) }).await;
    assert!(matches!(again.kept, Kept::Same { owed_again: 0, .. }), "{again:?}");
    assert_eq!(site.in_sight(&[1]).await, [0_u32; 0]);
    let story = site.records.why_instance(&uid(1), noon()).await.unwrap();
    assert!(
        story.iter().any(|event| matches!(&event.what, What::Rejected(told) if told.hides && !told.is_own)),
        "{story:?}"
    );
    assert!(
        story.iter().any(
            |event| matches!(&event.what, What::Moved { what, became: State::Cancelled, .. } if what == "rejected")
        )
    );
    site.verify().await;
    note_fired(1);
}

/// WEB-105, FLT-085: who may have it gets the note, though a person has stopped what was sent there; who was never sent it does not.
#[tokio::test]
async fn what_was_stopped_after_it_was_sent_is_told_to_who_may_have_it() {
    let site = Site::new();
    site.stored(Arrival { chosen: vec![to("surrey"), to("kent"), to("sussex"), to("essex")], ..push(1) }).await;
    for (to, outcome) in [("surrey", accepted()), ("kent", unknown()), ("sussex", unknown())] {
        site.send(to, outcome, noon()).await;
    }
    let of = |views: &[TransferView], name: &str| views.iter().find(|t| t.destination.0 == name).unwrap().transfer;
    let views = site.transfers(1).await;
    site.act(Verb::Hold, &[of(&views, "surrey"), of(&views, "kent"), of(&views, "essex")]).await;
    site.act(Verb::Cancel, &[of(&views, "sussex")]).await;
    site.stored(Arrival { chosen: Vec::new(), ..note(9) }).await;
    assert_eq!(site.read_notes(&names(1, &[1])).await, [Standing::InForce]);
    let mut told: Vec<String> = site.transfers(9).await.into_iter().map(|t| t.destination.0).collect();
    told.sort();
    assert_eq!(told, ["kent", "surrey", "sussex"]);
    site.verify().await;
}

/// WEB-105: a gateway that stops while what it sends is rejected asks about it no more.
#[tokio::test]
async fn what_was_under_way_at_a_stop_goes_no_further() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.lease("surrey", noon()).await.unwrap();
    site.stored(Arrival { chosen: Vec::new(), ..note(9) }).await;
    let (site, _) = site.restart();
    assert_eq!(site.states(1).await, [State::Unknown], "the note was not read yet");
    assert_eq!(site.read_notes(&names(1, &[1])).await, [Standing::InForce], "and is read after a start");
    assert_eq!(site.states(1).await, [State::Cancelled]);
    note_fired(1);
    let late = Site::new();
    late.stored(push(1)).await;
    late.lease("surrey", noon()).await.unwrap();
    late.stored(Arrival { chosen: Vec::new(), ..note(9) }).await;
    late.read_notes(&names(1, &[1])).await;
    assert_eq!(late.states(1).await, [State::Leased]);
    let (late, _) = late.restart();
    assert_eq!(late.states(1).await, [State::Cancelled]);
    note_fired(1);
    late.verify().await;
    site.verify().await;
}

/// In words; who brought the instance, who sent the note, where that stands each time, whether the instance is hidden in the end.
type Case = (&'static str, Origin, Vec<Origin>, Vec<Standing>, bool);

/// WEB-105: only who brought an instance first may reject it, whoever else brought it later, and whichever of the two comes first.
#[tokio::test]
async fn only_who_brought_it_may_reject_it() {
    let peer = |name: &str| Origin::Peer(name.into());
    let rows: Vec<Case> = vec![
        ("the node that brought it", node("PACS"), vec![node("PACS")], vec![Standing::InForce], true),
        ("another node", node("PACS"), vec![node("CT1")], vec![Standing::NotHonoured], false),
        ("a peer", node("PACS"), vec![peer("kent")], vec![Standing::NotHonoured], false),
        ("the peer that brought it", peer("kent"), vec![peer("kent")], vec![Standing::InForce], true),
        (
            "the peer that it was pulled from",
            Origin::Pulled("kent".into()),
            vec![peer("kent")],
            vec![Standing::InForce],
            true,
        ),
        ("another peer", peer("kent"), vec![peer("surrey")], vec![Standing::NotHonoured], false),
        ("a person", node("PACS"), vec![Origin::Operator("PACS".into())], vec![Standing::NotHonoured], false),
        (
            "then the right one",
            peer("kent"),
            vec![peer("surrey"), peer("kent")],
            vec![Standing::NotHonoured, Standing::InForce],
            true,
        ),
    ];
    for (who, brought, noted, standings, hidden) in rows {
        let site = Site::new();
        site.stored(pushed_by(brought.clone(), 1)).await;
        // A copy that another has brought as well gives it no say.
        site.record(pushed_by(peer("essex"), 1)).await;
        for (origin, standing) in noted.iter().zip(standings) {
            site.record(noted_by(origin.clone(), 9)).await;
            assert_eq!(site.read_notes(&names(1, &[1])).await, [standing], "{who}");
        }
        assert_eq!(site.in_sight(&[1]).await.is_empty(), hidden, "{who}");
        site.record(noted_by(peer("essex"), 8)).await;
        assert_eq!(site.read_notes(&names(1, &[1])).await, [Standing::NotHonoured], "{who}: who has a copy");
        site.verify().await;
        let early = Site::new();
        for origin in &noted {
            early.record(noted_by(origin.clone(), 9)).await;
            early.read_notes(&names(1, &[1])).await;
        }
        early.stored(Arrival { chosen: vec![to("essex")], ..pushed_by(brought, 1) }).await;
        assert_eq!(early.in_sight(&[1]).await.is_empty(), hidden, "{who}, the note first");
        assert_eq!(early.states(1).await.is_empty(), hidden, "{who}: what comes hidden is owed to nobody");
        early.verify().await;
    }
}

/// WEB-105: a note that does not name its own study, or cannot be read, hides nothing; nor does another Key Object Selection.
#[tokio::test]
async fn what_is_no_sound_rejection_hides_nothing() {
    let rows = [
        (names(2, &[1]), Standing::NotHonoured),
        (NoteRead::Unusable("it is longer than 16 MiB".into()), Standing::NotHonoured),
        (NoteRead::Ordinary, Standing::Ordinary),
    ];
    for (read, standing) in rows {
        let site = Site::new();
        site.stored(push(1)).await;
        site.stored(note(9)).await;
        assert_eq!(site.lease("surrey", noon()).await.unwrap().items[1].note, Some(Standing::Unread));
        assert_eq!(site.read_notes(&read).await, [standing]);
        assert_eq!(site.in_sight(&[1, 9]).await, [1, 9]);
        assert_eq!(site.records.rejections(0, 10).await.unwrap().len(), usize::from(standing != Standing::Ordinary));
        site.verify().await;
    }
}

/// WEB-105: an instance is hidden only in the study in which the note names it.
#[tokio::test]
async fn a_name_in_another_study_is_another_instance() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.stored(note(9)).await;
    let read = NoteRead::Rejects {
        reason: Reason::Worklist,
        named: vec![Named { study: study(1), instance: uid(7) }, Named { study: study(2), instance: uid(1) }],
    };
    assert_eq!(site.read_notes(&read).await, [Standing::InForce]);
    assert_eq!(site.in_sight(&[1]).await, [1]);
}

/// WEB-105: a later note that rejects a note shows again what that one hid, and a person can undo one; what a note had stopped is owed again.
/// An earlier note rejects no later one, so that no two reject each other.
#[tokio::test]
async fn what_is_no_longer_rejected_is_shown_and_owed_again() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.stored(Arrival { chosen: Vec::new(), ..note(8) }).await;
    site.read_notes(&names(1, &[1, 9])).await;
    assert_eq!((site.in_sight(&[1, 8]).await, site.states(1).await), (vec![8], vec![State::Cancelled]));
    site.stored(Arrival { chosen: Vec::new(), ..note(9) }).await;
    site.read_notes(&names(1, &[8])).await;
    assert_eq!(site.in_sight(&[1, 8, 9]).await, [1, 9]);
    assert_eq!(site.states(1).await, [State::Cancelled, State::Pending]);
    assert!(site.records.rejection(&uid(8)).await.unwrap()[0].is_rejected);
    let refused = site.records.lift_rejection(&uid(9), "jo", " ", noon()).await;
    assert!(matches!(refused, Err(RecordsError::Refused(_))), "{refused:?}");
    site.records.lift_rejection(&uid(9), "jo", "it was right", noon()).await.unwrap();
    site.read_notes(&NoteRead::Ordinary).await;
    assert_eq!((site.in_sight(&[1, 8, 9]).await, site.hides(8).await), (vec![8, 9], 1));
    assert_eq!(site.states(1).await, [State::Cancelled, State::Cancelled]);
    site.records.lift_rejection(&uid(8), "jo", "a wrong click", noon()).await.unwrap();
    let (site, _) = site.restart();
    site.read_notes(&NoteRead::Ordinary).await;
    assert_eq!(site.in_sight(&[1, 8, 9]).await, [1, 8, 9]);
    assert_eq!(site.states(1).await, [State::Cancelled, State::Cancelled, State::Pending]);
    assert!(site.records.lift_rejection(&uid(8), "jo", "again", noon()).await.is_err(), "it is undone already");
    // A note that was undone stays so when it comes again.
    site.record(Arrival { origin: node("CT1"), chosen: Vec::new(), ..note(8) }).await;
    assert_eq!((site.read_notes(&names(1, &[1])).await, site.in_sight(&[1]).await), (vec![], vec![1]));
    site.verify().await;
}

/// UIX-02: of what a person sends by hand in other bytes while a note hides it, the story does not say that anything is owed.
#[tokio::test]
async fn what_is_hidden_is_not_owed_in_the_stead_of_the_same_in_other_bytes() {
    let site = Site::new();
    let first = site.stored(push(1)).await;
    site.stored(Arrival { chosen: Vec::new(), ..note(9) }).await;
    site.read_notes(&names(1, &[1])).await;
    let by_hand = |arrival: Arrival| {
        let (destination, request) = (destination("kent"), "weybridge send by jo".to_owned());
        let (verify, priority) = (Verify::Present, Priority::Routine);
        let requested = Some(Requested { destination, request: request.clone(), verify, priority });
        Arrival { origin: Origin::Operator(request), chosen: Vec::new(), requested, ..arrival }
    };
    let same = site.record(by_hand(push(1))).await;
    assert_eq!(same.requested, Some(Became::Not(Unowed::Hidden)), "{same:?}");
    let other = site.record(by_hand(push_other(1, 10))).await;
    let Kept::Differs { instance, exception } = other.kept else { panic!("{other:?}") };
    assert_eq!(other.requested, Some(Became::Held));
    let verdict = crate::ledger::judgement::Verdict::Same;
    let judged = Judged { exception, against: first, verdict, digests: Vec::new(), resend_after: DAY, now: noon() };
    assert!(site.records.judged(judged).await.unwrap());
    let story = site.records.why_instance(&uid(1), noon()).await.unwrap();
    let moved: Vec<&str> = story
        .iter()
        .filter_map(|event| match &event.what {
            What::Moved { what, destination, .. } if destination.0 == "kent" => Some(what.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(moved, ["no conflict, but a rejection note names what was here before: nothing is owed"], "{instance}");
    assert!(site.lease("kent", noon()).await.is_none());
    site.verify().await;
}
