//! C-FIND with answers without end: cancelled, left, or interrupted.

use super::message::{CommandSet, element, field};
use super::requestor::accepted;
use super::scu::connect_over;
use super::*;
use std::ops::ControlFlow;
use std::time::Duration;

/// Study Root, FIND.
const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";

/// Answers a query until nobody wants more.
#[derive(Default)]
struct Endless {
    /// How each query ended: cancelled, lost.
    ends: Mutex<Vec<(bool, bool)>>,
}

impl Scp for Endless {
    type Caller = ();

    async fn admit(&self, _: &Proposal) -> Result<(), Rejection> {
        Ok(())
    }

    fn choose(&self, (): &(), _: &ProposedContext) -> ContextAnswer {
        ContextAnswer::Accept(0)
    }

    async fn store(&self, (): &(), _: StoreRequest, _: &mut DataSet<'_>) -> StoreAnswer {
        Status::SUCCESS.into()
    }

    async fn query(&self, (): &(), request: QueryRequest, dialogue: &mut Dialogue<'_>) -> QueryAnswer {
        assert_eq!((request.operation, request.identifier.as_slice()), (Operation::Find, &b"key!"[..]));
        while !dialogue.is_over().await {
            let _ = dialogue.pending(Status::PENDING, None, Some(b"answer")).await;
        }
        self.ends.lock().unwrap().push((dialogue.is_cancelled(), dialogue.is_lost()));
        Status::CANCEL.into()
    }
}

fn find() -> Vec<u8> {
    let command = CommandSet::new(field::C_FIND_RQ, true)
        .with_uid(element::AFFECTED_SOP_CLASS_UID, FIND)
        .with_u16(element::MESSAGE_ID, 9);
    [fragment(3, true, true, &command.encode()), fragment(3, false, true, b"key!")].concat()
}

/// What a requestor asks, if its peer may be silent for so long.
fn inquiry(quiet: Duration) -> Inquiry<'static> {
    Inquiry { context_id: 3, operation: Operation::Find, identifier: b"key!", destination: None, quiet }
}

fn cancel(message: u16) -> Vec<u8> {
    let command = CommandSet::new(field::C_CANCEL_RQ, false).with_u16(element::MESSAGE_ID_RESPONDED_TO, message);
    fragment(3, true, true, &command.encode())
}

/// An association with a query that has begun to be answered.
async fn asked(scp: &Arc<Endless>) -> (DuplexStream, JoinHandle<Option<Ended>>) {
    let (mut wire, theirs) = tokio::io::duplex(64 * 1024);
    let task = tokio::spawn(serve_wire(Wire::Memory(theirs), peer(), scp.clone(), options(), CancellationToken::new()));
    let mut offers = offers();
    offers[1].abstract_syntax = FIND.to_owned();
    wire.write_all(&request_for(&offers)).await.unwrap();
    assert_eq!(pdu(&mut wire).await.0, 2);
    wire.write_all(&find()).await.unwrap();
    assert_eq!(status(&pdu(&mut wire).await.1), Some(0xFF00));
    (wire, task)
}

/// The status of a PDU that begins a response.
fn status(body: &[u8]) -> Option<u16> {
    (body[5] == 3).then(|| CommandSet::decode(&body[6..]).ok()?.u16(element::STATUS)).flatten()
}

/// DIM-071: a cancel that comes in pieces, after one of another message, ends the answers with FE00.
#[tokio::test]
async fn a_cancel_ends_the_answers_and_the_association_goes_on() {
    let scp = Arc::new(Endless::default());
    let (mut wire, task) = asked(&scp).await;
    let bytes = [cancel(8), cancel(9)].concat();
    for piece in bytes.chunks(7) {
        wire.write_all(piece).await.unwrap();
        pdu(&mut wire).await;
    }
    let ended = async { while status(&pdu(&mut wire).await.1) != Some(0xFE00) {} };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("FE00 comes");
    assert_eq!(*scp.ends.lock().unwrap(), [(true, false)]);
    wire.write_all(&find()).await.unwrap();
    assert_eq!(status(&pdu(&mut wire).await.1), Some(0xFF00), "the next query is answered");
    drop(wire);
    assert!(task.await.unwrap().unwrap().lost.is_some());
}

/// PS3.7 section 9.3.2.3: a cancel names the message that it ends, and has no data set. Some programs name it in a data set, or not at all.
#[tokio::test]
async fn a_cancel_that_names_no_message_or_announces_a_data_set_is_heard() {
    let named = CommandSet::new(field::C_CANCEL_RQ, true).with_u16(element::MESSAGE_ID_RESPONDED_TO, 9);
    let unnamed = |data_set| {
        CommandSet::new(field::C_CANCEL_RQ, data_set)
            .with_uid(element::AFFECTED_SOP_CLASS_UID, FIND)
            .with_u16(element::MESSAGE_ID, 10)
    };
    let names = fragment(3, false, true, &[0, 0, 0x20, 0x01, 2, 0, 0, 0, 9, 0]);
    let rows = [
        ("no message", unnamed(false), Vec::new()),
        ("a message in a data set", unnamed(true), names),
        ("a data set that does not come", named, Vec::new()),
    ];
    for (name, command, data) in rows {
        let scp = Arc::new(Endless::default());
        let (mut wire, task) = asked(&scp).await;
        wire.write_all(&[fragment(3, true, true, &command.encode()), data].concat()).await.unwrap();
        let ended = async { while status(&pdu(&mut wire).await.1) != Some(0xFE00) {} };
        let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
        assert!(ended.is_ok(), "{name}: FE00 does not come");
        assert_eq!(*scp.ends.lock().unwrap(), [(true, false)], "{name}");
        wire.write_all(&find()).await.unwrap();
        assert_eq!(status(&pdu(&mut wire).await.1), Some(0xFF00), "{name}: the next query is answered");
        drop(wire);
        task.await.unwrap();
    }
}

#[tokio::test]
async fn whoever_leaves_or_asks_again_too_early_ends_the_answers() {
    let abort = vec![7, 0, 0, 0, 0, 4, 0, 0, 0, 0];
    let release = vec![5, 0, 0, 0, 0, 4, 0, 0, 0, 0];
    for (name, bytes) in [("abort", abort), ("release", release), ("second request", find())] {
        let scp = Arc::new(Endless::default());
        let (mut wire, task) = asked(&scp).await;
        let (first, second) = bytes.split_at(5);
        wire.write_all(first).await.unwrap();
        pdu(&mut wire).await;
        wire.write_all(second).await.unwrap();
        let told = async { while name != "abort" && pdu(&mut wire).await.0 != 7 {} };
        tokio::time::timeout(Duration::from_secs(10), told).await.expect("a breach is answered with A-ABORT");
        drop(wire);
        let ended = tokio::time::timeout(Duration::from_secs(10), task).await.expect("it ends");
        let lost = ended.unwrap().unwrap().lost;
        let aborted = matches!(lost, Some(Lost::Aborted { .. }));
        assert!(aborted == (name == "abort") && lost.is_some(), "{name}: {lost:?}");
        assert_eq!(*scp.ends.lock().unwrap(), [(false, true)], "{name}");
    }
}

/// The requestor's side: it takes what it wants, cancels, and the association is of use afterwards.
#[tokio::test]
async fn a_requestor_takes_as_many_answers_as_it_wants() {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let scp = Arc::new(Endless::default());
    tokio::spawn(serve_wire(Wire::Memory(theirs), peer(), scp.clone(), options(), CancellationToken::new()));
    let mut offers = offers();
    offers[1].abstract_syntax = FIND.to_owned();
    let mut scu = connect_over(Wire::Memory(ours), &target(), &offers).await.unwrap();
    let asked = inquiry(Duration::from_secs(10));
    for by_token in [false, true] {
        let (mut taken, cancel) = (0, CancellationToken::new());
        let each = |reply: Reply| {
            assert_eq!((reply.status, reply.identifier.as_deref()), (Status::PENDING, Some(&b"answer"[..])));
            taken += 1;
            if taken == 3 && by_token {
                cancel.cancel();
            }
            if taken == 3 && !by_token { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let last = scu.ask(&asked, &cancel, each).await.unwrap();
        assert_eq!(last.status, Status::CANCEL);
        assert!(taken >= 3 && scu.is_alive());
    }
    assert_eq!(*scp.ends.lock().unwrap(), [(true, false), (true, false)]);
    scu.release().await.unwrap();
}

/// A peer that goes on whatever it is told is left, by the clock: its answers are always there, so that no wait for it ever runs out.
#[tokio::test]
async fn a_requestor_leaves_who_goes_on_after_a_cancel() {
    let (mut scu, mut theirs) = accepted(16_384).await;
    let pending = CommandSet::new(field::C_FIND_RSP, true)
        .with_u16(element::MESSAGE_ID_RESPONDED_TO, 1)
        .with_u16(element::STATUS, 0xFF00);
    let answer = [fragment(3, true, true, &pending.encode()), fragment(3, false, true, b"answer")].concat();
    // It ends when nobody reads it.
    let deaf = tokio::spawn(async move {
        let answers = answer.repeat(100);
        while theirs.write_all(&answers).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    let asked = inquiry(Duration::from_secs(600));
    let mut taken = 0;
    let each = |_| {
        taken += 1;
        if taken < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let cancel = CancellationToken::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), scu.ask(&asked, &cancel, each)).await;
    let lost = ended.expect("it is left").unwrap_err();
    assert!(matches!(lost, ScuError::Lost(Lost::Timeout(_))) && !scu.is_alive(), "{lost:?}");
    drop(scu);
    deaf.await.unwrap();
}

/// PS3.7 section 9.3.2.3: a C-CANCEL names the message that it ends, and has no SOP class (DIM-071).
#[tokio::test]
async fn a_cancel_names_the_message_alone() {
    let (mut scu, mut theirs) = accepted(16_384).await;
    let asked = inquiry(Duration::from_secs(10));
    let cancel = CancellationToken::new();
    cancel.cancel();
    let by_hand = async {
        let mut commands = Vec::new();
        while commands.len() < 2 {
            let (_, body) = pdu(&mut theirs).await;
            // The first fragment of a PDU; a command with its data set may share one.
            let length = u32::from_be_bytes([body[0], body[1], body[2], body[3]]) as usize;
            if body[5] == 3 {
                commands.push(CommandSet::decode(&body[6..4 + length]).unwrap());
            }
        }
        let end = CommandSet::new(field::C_FIND_RSP, false)
            .with_u16(element::MESSAGE_ID_RESPONDED_TO, 1)
            .with_u16(element::STATUS, 0xFE00);
        theirs.write_all(&fragment(3, true, true, &end.encode())).await.unwrap();
        commands
    };
    let (answered, commands) = tokio::join!(scu.ask(&asked, &cancel, |_| ControlFlow::Continue(())), by_hand);
    assert_eq!(answered.unwrap().status, Status::CANCEL);
    let want = CommandSet::new(field::C_CANCEL_RQ, false).with_u16(element::MESSAGE_ID_RESPONDED_TO, 1);
    assert_eq!(commands[1].encode(), want.encode());
}

/// PS3.7 section 9.1.2.1: a final C-FIND-RSP has no identifier, whatever it announces. What comes nevertheless is passed over.
#[tokio::test]
async fn a_final_answer_that_announces_an_identifier_has_none() {
    for data in [None, Some(&b"answer"[..])] {
        let (mut scu, mut theirs) = accepted(16_384).await;
        for id in [1, 2] {
            let end = CommandSet::new(field::C_FIND_RSP, true)
                .with_u16(element::MESSAGE_ID_RESPONDED_TO, id)
                .with_u16(element::STATUS, 0);
            let by_hand = async {
                // The request, and its identifier.
                pdu(&mut theirs).await;
                pdu(&mut theirs).await;
                let data = data.map(|data| fragment(3, false, true, data)).unwrap_or_default();
                theirs.write_all(&[fragment(3, true, true, &end.encode()), data].concat()).await.unwrap();
            };
            let (asked, cancel) = (inquiry(Duration::from_secs(10)), CancellationToken::new());
            let (answered, ()) = tokio::join!(scu.ask(&asked, &cancel, |_| ControlFlow::Continue(())), by_hand);
            let last = answered.unwrap();
            assert_eq!((last.status, last.identifier), (Status::SUCCESS, None), "{id}, {data:?}");
        }
        assert!(scu.is_alive());
    }
}

/// What is no answer to what was asked ends the association, and an answer that does not come is not waited for without end.
#[tokio::test]
async fn a_requestor_bears_no_other_answers_and_no_silence() {
    let reply = |id: u16, field: u16| {
        CommandSet::new(field, false).with_u16(element::MESSAGE_ID_RESPONDED_TO, id).with_u16(element::STATUS, 0)
    };
    let rows = [
        ("another message", Some(reply(8, field::C_FIND_RSP))),
        ("another operation", Some(reply(1, field::C_MOVE_RSP))),
        ("no status", Some(CommandSet::new(field::C_FIND_RSP, false).with_u16(element::MESSAGE_ID_RESPONDED_TO, 1))),
        ("nothing", None),
    ];
    for (name, reply) in rows {
        let (mut scu, mut theirs) = accepted(16_384).await;
        let by_hand = async {
            pdu(&mut theirs).await;
            if let Some(reply) = reply {
                theirs.write_all(&fragment(3, true, true, &reply.encode())).await.unwrap();
            }
        };
        let asked = inquiry(Duration::from_millis(50));
        let cancel = CancellationToken::new();
        let (answered, ()) = tokio::join!(scu.ask(&asked, &cancel, |_| ControlFlow::Continue(())), by_hand);
        let (lost, alive) = (answered.unwrap_err(), scu.is_alive());
        let as_expected = match name {
            "nothing" => matches!(lost, ScuError::Lost(Lost::Timeout(_))),
            _ => matches!(lost, ScuError::Lost(Lost::Violation(_))),
        };
        assert!(as_expected && !alive, "{name}: {lost:?}");
    }
}
