//! The requestor when things go wrong: the source, the peer's answers, the peer's silence.

use super::message::{CommandSet, element, field};
use super::*;
use crate::dicom::fired::note_fired;

/// A peer by hand that has accepted every context of [`offers`].
pub(super) async fn accepted(maximum: u32) -> (Scu, DuplexStream) {
    accepted_all(maximum, &offers(), &target()).await
}

/// The same of these contexts, for who calls it so.
pub(super) async fn accepted_all(maximum: u32, offers: &[Offer], target: &Target) -> (Scu, DuplexStream) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let by_hand = async {
        let (kind, body) = pdu(&mut theirs).await;
        assert_eq!(kind, 1);
        let request = super::super::pdu::read_request(&body).unwrap();
        let proposal = Proposal::of_request(request, peer(), None).unwrap();
        let terms = presentation::Terms {
            max_pdu_length: maximum,
            implementation_class: "2.25.9".to_owned(),
            implementation_version: String::new(),
        };
        let (accept, _) = presentation::answer(&proposal, &terms, &mut AcceptAll);
        theirs.write_all(&super::super::pdu::write_accept(accept).unwrap()).await.unwrap();
        theirs
    };
    let (scu, theirs) = tokio::join!(super::super::scu::connect_over(Wire::Memory(ours), target, offers), by_hand);
    (scu.unwrap(), theirs)
}

struct AcceptAll;

impl presentation::Answer for AcceptAll {
    fn context(&mut self, _: &ProposedContext) -> ContextAnswer {
        ContextAnswer::Accept(0)
    }
    fn roles(&mut self, _: &str, proposed: presentation::Roles) -> presentation::Roles {
        proposed
    }
    fn extended(&mut self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn identity(&mut self) -> Option<Vec<u8>> {
        None
    }
}

/// Reads PDUs until the last fragment of a data set, or another PDU than P-DATA-TF, whose type and body it gives.
async fn until_last(wire: &mut DuplexStream) -> Option<(u8, Vec<u8>)> {
    loop {
        let (kind, body) = pdu(wire).await;
        if kind != 4 {
            return Some((kind, body));
        }
        if body[5] == 2 {
            return None;
        }
    }
}

fn response(message_id: u16) -> CommandSet {
    CommandSet::new(field::C_STORE_RSP, false)
        .with_u16(element::MESSAGE_ID_RESPONDED_TO, message_id)
        .with_u16(element::STATUS, 0)
}

#[tokio::test]
async fn a_source_that_fails_aborts_and_never_ends_the_data_set() {
    let good = || Ok(Bytes::from(pattern(40_000)));
    let rows: Vec<(&str, Option<u64>, Vec<Result<Bytes, &'static str>>)> = vec![
        ("fails in the middle", Some(80_000), vec![good(), good(), Err("digest")]),
        ("fails at the end", None, vec![good(), good(), Err("digest")]),
        ("longer than said", Some(80_001), vec![good(), good(), good()]),
        ("shorter than said", Some(80_001), vec![good(), good()]),
    ];
    for (name, length, rows) in rows {
        let (mut scu, mut wire) = accepted(16_384).await;
        let failure = scu.store(store_ct("1.2"), length, &mut Parts(rows.into_iter())).await.unwrap_err();
        assert!(matches!(failure, StoreFailure::Source(_)), "{name}: {failure}");
        assert!(!scu.is_alive());
        let end = until_last(&mut wire).await;
        assert_eq!(end, Some((7, vec![0, 0, 0, 0])), "{name}");
        assert!(matches!(scu.echo().await, Err(ScuError::Lost(Lost::Stopped))));
    }
}

#[tokio::test]
async fn a_source_that_fails_before_anything_was_sent_costs_nothing() {
    for rows in [vec![], vec![Err("gone")], vec![Ok(Bytes::from_static(b"ab")), Err("gone")]] {
        let (mut scu, mut wire) = accepted(16_384).await;
        let failure = scu.store(store_ct("1.2"), None, &mut Parts(rows.into_iter())).await.unwrap_err();
        assert!(matches!(failure, StoreFailure::Source(_)));
        assert!(scu.is_alive());
        let by_hand = async {
            let (kind, _) = pdu(&mut wire).await;
            wire.write_all(&super::super::pdu::write_release_reply().unwrap()).await.unwrap();
            kind
        };
        let (released, kind) = tokio::join!(scu.release(), by_hand);
        assert_eq!((released, kind), (Ok(()), 5));
    }
}

#[tokio::test]
async fn a_context_that_was_not_accepted_is_a_failure_and_not_a_success() {
    let scp = Arc::new(Shelf::default());
    let (wire, _task) = accept(&scp, options(), &CancellationToken::new());
    let mut scu = call(wire, &target()).await.unwrap();
    for (context_id, sop_class) in [(5, "1.2.3"), (7, CT), (2, CT), (1, CT)] {
        let command = StoreCommand { context_id, sop_class: sop_class.to_owned(), ..store_ct("1.2") };
        let failure = scu.store(command, None, &mut parts(b"abcd", 4)).await.unwrap_err();
        assert!(matches!(failure, StoreFailure::NotSent(ScuError::ContextNotAccepted)));
    }
    assert_eq!(scu.echo().await.unwrap(), Status::SUCCESS);
    scu.release().await.unwrap();
}

#[tokio::test]
async fn fragments_are_even_but_for_the_last() {
    let (mut scu, mut wire) = accepted(101).await;
    let data = pattern(1_001);
    let by_hand = async {
        let mut got = Vec::new();
        loop {
            let (kind, body) = pdu(&mut wire).await;
            assert_eq!(kind, 4);
            assert!(body.len() <= 101);
            let (control, payload) = (body[5], &body[6..]);
            assert!(!payload.is_empty());
            if control & 1 == 0 {
                got.extend_from_slice(payload);
            }
            if control == 2 {
                break;
            }
            assert!(payload.len() % 2 == 0, "an odd fragment that is not the last");
        }
        wire.write_all(&fragment(3, true, true, &response(1).encode())).await.unwrap();
        got
    };
    let mut source = parts(&data, 1);
    let (stored, got) = tokio::join!(scu.store(store_ct("1.2"), Some(1_001), &mut source), by_hand);
    assert_eq!(stored.unwrap().status, Status::SUCCESS);
    assert_eq!(got, data);
}

#[tokio::test]
async fn answers_that_are_none_abort_and_leave_the_outcome_open() {
    let no_status = CommandSet::new(field::C_STORE_RSP, false).with_u16(element::MESSAGE_ID_RESPONDED_TO, 1);
    let request = CommandSet::new(field::C_ECHO_RQ, false).with_u16(element::MESSAGE_ID, 1);
    let warned = response(1).with_u16(element::STATUS, 0xB000);
    let rows = [
        ("another message", 3, response(2)),
        ("no status", 3, no_status),
        ("a request", 3, request),
        ("a context of another class", 1, response(1)),
        ("another instance", 3, response(1).with_uid(element::AFFECTED_SOP_INSTANCE_UID, "1.3")),
        ("another class", 3, response(1).with_uid(element::AFFECTED_SOP_CLASS_UID, "1.3")),
        ("another instance, with a warning", 3, warned.with_uid(element::AFFECTED_SOP_INSTANCE_UID, "1.3")),
    ];
    for (name, context, answer) in rows {
        let (mut scu, mut wire) = accepted(16_384).await;
        let data = pattern(10_000);
        let by_hand = async {
            assert_eq!(until_last(&mut wire).await, None);
            wire.write_all(&fragment(context, true, true, &answer.encode())).await.unwrap();
        };
        let mut source = parts(&data, 10_000);
        let (stored, ()) = tokio::join!(scu.store(store_ct("1.2"), None, &mut source), by_hand);
        let failure = stored.expect_err(name);
        assert!(matches!(failure, StoreFailure::Unanswered(ScuError::Lost(Lost::Violation(_)))), "{name}: {failure}");
        assert_eq!(pdu(&mut wire).await, (7, vec![0, 0, 0, 0]), "{name}");
    }
}

/// As odil's server does (DIM-050): it finds a context for its answer by the SOP class.
#[tokio::test]
async fn an_answer_on_another_context_of_the_class_is_an_answer() {
    let mut offers = offers();
    offers.push(Offer { abstract_syntax: CT.to_owned(), transfer_syntaxes: vec![IMPLICIT_VR_LE.to_owned()] });
    let (mut scu, mut wire) = accepted_all(16_384, &offers, &target()).await;
    let data = pattern(10_000);
    let by_hand = async {
        assert_eq!(until_last(&mut wire).await, None);
        wire.write_all(&fragment(7, true, true, &response(1).encode())).await.unwrap();
    };
    let mut source = parts(&data, 10_000);
    let (stored, ()) = tokio::join!(scu.store(store_ct("1.2"), None, &mut source), by_hand);
    assert_eq!(stored.unwrap().status, Status::SUCCESS);
    assert!(scu.is_alive());
}

#[tokio::test(start_paused = true)]
async fn silence_after_the_last_fragment_is_an_open_outcome() {
    let (mut scu, mut wire) = accepted(16_384).await;
    let failure = scu.store(store_ct("1.2"), None, &mut parts(b"abcd", 4)).await.unwrap_err();
    let late = ScuError::Lost(Lost::Timeout(timers::Phase::Response));
    assert!(matches!(&failure, StoreFailure::Unanswered(error) if *error == late), "{failure}");
    assert_eq!(until_last(&mut wire).await, None);
    assert_eq!(pdu(&mut wire).await, (7, vec![0, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_reading_is_cut() {
    let (mut scu, _wire) = accepted(16_384).await;
    let data = pattern(3 << 20);
    let failure = scu.store(store_ct("1.2"), None, &mut parts(&data, 100_000)).await.unwrap_err();
    let late = ScuError::Lost(Lost::Timeout(timers::Phase::Sending));
    assert!(matches!(&failure, StoreFailure::Incomplete(error) if *error == late), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn an_abort_is_noticed_while_we_still_send() {
    let (mut scu, mut wire) = accepted(16_384).await;
    let data = pattern(3 << 20);
    let began = tokio::time::Instant::now();
    // The peer reads nothing more: only by listening while sending can we know before the timer does.
    let by_hand = async {
        assert_eq!(pdu(&mut wire).await.0, 4);
        wire.write_all(&super::super::pdu::write_abort((2, 6)).unwrap()).await.unwrap();
    };
    let mut source = parts(&data, 100_000);
    let (stored, ()) = tokio::join!(scu.store(store_ct("1.2"), None, &mut source), by_hand);
    let failure = stored.unwrap_err();
    let aborted = ScuError::Lost(Lost::Aborted { by: 2, reason: 6 });
    assert!(matches!(&failure, StoreFailure::Incomplete(error) if *error == aborted), "{failure}");
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
}

#[tokio::test]
async fn an_association_that_ended_while_idle_is_known_to_have_taken_nothing() {
    let abort = super::super::pdu::write_abort((0, 0)).unwrap();
    for last_words in [&abort[..], &[]] {
        let (mut scu, mut wire) = accepted(16_384).await;
        wire.write_all(last_words).await.unwrap();
        wire.shutdown().await.unwrap();
        let failure = scu.store(store_ct("1.2"), None, &mut parts(b"abcd", 4)).await.unwrap_err();
        assert!(matches!(failure, StoreFailure::NotSent(ScuError::Lost(_))), "{failure}");
        assert!(!scu.is_alive());
    }
}

/// AR-2, AR-4: a peer that asks for release between two instances has its answer, and the next instance is not sent to it.
#[tokio::test]
async fn a_peer_that_has_asked_for_release_is_sent_nothing_more() {
    let (mut scu, mut wire) = accepted(16_384).await;
    let release = super::super::pdu::write_release_request().unwrap();
    let by_hand = async {
        assert_eq!(until_last(&mut wire).await, None);
        wire.write_all(&[fragment(3, true, true, &response(1).encode()), release].concat()).await.unwrap();
    };
    let mut source = parts(b"abcd", 4);
    let (stored, ()) = tokio::join!(scu.store(store_ct("1.2"), None, &mut source), by_hand);
    assert_eq!(stored.unwrap().status, Status::SUCCESS);
    let failure = scu.store(store_ct("1.3"), None, &mut parts(b"abcd", 4)).await.unwrap_err();
    assert!(matches!(failure, StoreFailure::NotSent(ScuError::Lost(Lost::Closed))), "{failure}");
    assert!(!scu.is_alive());
    drop(scu);
    assert_eq!(pdu(&mut wire).await.0, 6, "its release is answered, and nothing precedes that");
}

/// The UIDs of an answer may be left out, empty or padded, and a refusal is one whatever it names (DIM-056).
#[tokio::test]
async fn an_answer_need_not_name_what_was_sent() {
    let refused = || response(1).with_u16(element::STATUS, 0xA700);
    let instance = element::AFFECTED_SOP_INSTANCE_UID;
    let rows = [
        (response(1).with_uid(instance, "1.2").with_uid(element::AFFECTED_SOP_CLASS_UID, CT), 0),
        (response(1).with(instance, b"1.2 "), 0),
        (response(1).with(instance, b""), 0),
        (refused().with_uid(instance, "1.3"), 0xA700),
    ];
    for (answer, status) in rows {
        let (mut scu, mut wire) = accepted(16_384).await;
        let by_hand = async {
            assert_eq!(until_last(&mut wire).await, None);
            wire.write_all(&fragment(3, true, true, &answer.encode())).await.unwrap();
        };
        let mut source = parts(b"abcd", 4);
        let (stored, ()) = tokio::join!(scu.store(store_ct("1.2"), None, &mut source), by_hand);
        assert_eq!(stored.unwrap().status, Status(status), "{answer:?}");
        assert!(scu.is_alive());
    }
}

/// PS3.7 section 9.3.1.2: a C-STORE-RSP has no data set, whatever its Command Data Set Type says. What comes nevertheless is passed over.
#[tokio::test]
async fn an_answer_that_announces_a_data_set_is_an_answer() {
    for data in [None, Some(&b"ab"[..])] {
        let (mut scu, mut wire) = accepted(16_384).await;
        for id in [1, 2] {
            let answer = CommandSet::new(field::C_STORE_RSP, true)
                .with_u16(element::MESSAGE_ID_RESPONDED_TO, id)
                .with_u16(element::STATUS, 0);
            let by_hand = async {
                assert_eq!(until_last(&mut wire).await, None);
                let data = data.map(|data| fragment(3, false, true, data)).unwrap_or_default();
                wire.write_all(&[fragment(3, true, true, &answer.encode()), data].concat()).await.unwrap();
            };
            let mut source = parts(b"abcd", 4);
            let (stored, ()) = tokio::join!(scu.store(store_ct("1.2"), None, &mut source), by_hand);
            assert_eq!(stored.unwrap().status, Status::SUCCESS, "{id}, {data:?}");
        }
        assert!(scu.is_alive());
    }
}

/// DIM-054: pending is no answer to C-STORE. What it announces is not taken for the answer to the next instance.
#[tokio::test]
async fn a_pending_status_is_given_as_it_came_and_ends_the_association() {
    for status in [0xFF00, 0xFF01] {
        let (mut scu, mut wire) = accepted(16_384).await;
        let both = [response(1).with_u16(element::STATUS, status), response(1)];
        let by_hand = async {
            assert_eq!(until_last(&mut wire).await, None);
            wire.write_all(&both.map(|answer| fragment(3, true, true, &answer.encode())).concat()).await.unwrap();
            pdu(&mut wire).await
        };
        let mut source = parts(b"abcd", 4);
        let (stored, end) = tokio::join!(scu.store(store_ct("1.2"), None, &mut source), by_hand);
        assert_eq!((stored.unwrap().status, end), (Status(status), (7, vec![0, 0, 0, 0])));
        assert!(!scu.is_alive() && scu.is_refused());
    }
}

/// FLT-066, PS3.7 section 9.3.1.3: the rest is not sent.
#[tokio::test]
async fn an_early_refusal_is_the_answer() {
    let (mut scu, mut wire) = accepted(16_384).await;
    let refused = response(1).with_u16(element::STATUS, 0xA700);
    wire.write_all(&fragment(3, true, true, &refused.encode())).await.unwrap();
    let data = pattern(500_000);
    let mut source = parts(&data, 100_000);
    let (stored, end) = tokio::join!(scu.store(store_ct("1.2"), None, &mut source), until_last(&mut wire));
    assert_eq!((stored.unwrap().status, end), (Status::OUT_OF_RESOURCES, Some((7, vec![0, 0, 0, 0]))));
    assert!(!scu.is_alive());
    note_fired(1);
}

/// FLT-066: also when the peer then closes, aborts or reads no more.
#[tokio::test(start_paused = true)]
async fn an_early_refusal_is_the_answer_though_the_association_is_lost() {
    let abort = super::super::pdu::write_abort((2, 0)).unwrap();
    for (name, then, closes) in [("closes", &[][..], true), ("aborts", &abort, true), ("stops reading", &[], false)] {
        let (mut scu, mut wire) = accepted(16_384).await;
        let refused = response(1).with_u16(element::STATUS, 0xC000);
        let data = pattern(3 << 20);
        let by_hand = async {
            assert_eq!(pdu(&mut wire).await.0, 4);
            wire.write_all(&[&fragment(3, true, true, &refused.encode()), then].concat()).await.unwrap();
            if closes {
                drop(wire);
                return None;
            }
            Some(wire)
        };
        let mut source = parts(&data, 3 << 20);
        let (stored, _wire) = tokio::join!(scu.store(store_ct("1.2"), None, &mut source), by_hand);
        assert_eq!(stored.unwrap().status, Status(0xC000), "{name}");
        assert!(!scu.is_alive());
        note_fired(1);
    }
}

/// DIM-056: who says that it has stored all before it had all is not believed, and is sent all of it first.
#[tokio::test]
async fn a_success_before_the_last_fragment_is_none() {
    for status in [0, 0xB000] {
        let (mut scu, mut wire) = accepted(16_384).await;
        let early = response(1).with_u16(element::STATUS, status);
        wire.write_all(&fragment(3, true, true, &early.encode())).await.unwrap();
        let data = pattern(500_000);
        let mut source = parts(&data, 100_000);
        let (stored, end) = tokio::join!(scu.store(store_ct("1.2"), None, &mut source), until_last(&mut wire));
        let failure = stored.unwrap_err();
        assert!(matches!(failure, StoreFailure::Unanswered(ScuError::Lost(Lost::Violation(_)))), "{failure}");
        assert_eq!((end, pdu(&mut wire).await), (None, (7, vec![0, 0, 0, 0])));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_the_request_is_given_up() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let error = call(ours, &target()).await.unwrap_err();
    assert_eq!(error, ScuError::Lost(Lost::Timeout(timers::Phase::Negotiation)));
    assert_eq!(pdu(&mut theirs).await.0, 1);
    assert_eq!(pdu(&mut theirs).await, (7, vec![0, 0, 0, 0]));
}

#[tokio::test]
async fn answers_to_our_request_that_are_none_are_aborted() {
    let rows: Vec<(&str, Vec<u8>, (u8, u8))> = vec![
        ("data", fragment(1, true, true, b"ab"), (2, 2)),
        ("release", vec![5, 0, 0, 0, 0, 4, 0, 0, 0, 0], (2, 2)),
        ("request", request_pdu(), (2, 2)),
        ("unknown type", vec![9, 0, 0, 0, 0, 4, 0, 0, 0, 0], (2, 1)),
        ("acceptance of 4 GiB", vec![2, 0, 255, 255, 255, 255], (2, 6)),
        ("acceptance of nothing", vec![2, 0, 0, 0, 0, 4, 0, 0, 0, 0], (2, 6)),
        ("rejection of 4 GiB", vec![3, 0, 255, 255, 255, 255], (2, 6)),
    ];
    for (name, answer, (by, reason)) in rows {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs.write_all(&answer).await.unwrap();
        let error = call(ours, &target()).await.unwrap_err();
        assert!(matches!(error, ScuError::Lost(Lost::Violation(_))), "{name}: {error}");
        assert_eq!(pdu(&mut theirs).await.0, 1);
        assert_eq!(pdu(&mut theirs).await, (7, vec![0, 0, by, reason]), "{name}");
    }
}

#[tokio::test]
async fn a_release_collision_is_resolved() {
    let (scu, mut wire) = accepted(16_384).await;
    let by_hand = async {
        assert_eq!(pdu(&mut wire).await.0, 5);
        wire.write_all(&super::super::pdu::write_release_request().unwrap()).await.unwrap();
        assert_eq!(pdu(&mut wire).await.0, 6);
        wire.write_all(&super::super::pdu::write_release_reply().unwrap()).await.unwrap();
    };
    let (released, ()) = tokio::join!(scu.release(), by_hand);
    released.unwrap();
}

#[tokio::test]
async fn a_peer_that_ignores_our_identity_is_refused_if_policy_says_so() {
    let identity = presentation::UserIdentity {
        kind: 1,
        response_requested: true,
        primary: b"user".to_vec(),
        secondary: Vec::new(),
    };
    let scp = Arc::new(Shelf::default());
    let (wire, task) = accept(&scp, options(), &CancellationToken::new());
    let error = call(wire, &Target { identity: Some(identity), ..target() }).await.unwrap_err();
    assert_eq!(error, ScuError::IdentityIgnored);
    assert_eq!(task.await.unwrap().unwrap().lost, Some(Lost::Aborted { by: 0, reason: 0 }));
}

/// An A-ABORT within a PDU would be taken for the rest of that (PS3.8 section 9.3.1; DIM-053).
#[tokio::test(start_paused = true)]
async fn a_pdu_that_was_cut_short_is_not_completed_by_our_abort() {
    let (mut scu, mut wire) = accepted(16_384).await;
    let late = target().timers.message_idle + std::time::Duration::from_millis(500);
    let storing = async move {
        let data = pattern(3 << 20);
        scu.store(store_ct("1.2"), None, &mut parts(&data, 100_000)).await.unwrap_err()
    };
    // The node reads on just after it was given up, while an A-ABORT would still wait for room.
    let by_hand = async {
        tokio::time::sleep(late).await;
        let mut rest = Vec::new();
        wire.read_to_end(&mut rest).await.unwrap();
        rest
    };
    let (failure, rest) = tokio::join!(storing, by_hand);
    assert!(matches!(failure, StoreFailure::Incomplete(_)), "{failure}");
    assert_eq!(rest.len(), 1 << 20, "something follows what the wire had room for");
}
