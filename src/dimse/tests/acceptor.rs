//! The acceptor in order: echo, store, refuse, release.

use super::message::{CommandSet, element, field};
use super::*;

#[tokio::test]
async fn echo_store_and_release() {
    let scp = Arc::new(Shelf::default());
    let (wire, task) = accept(&scp, options(), &CancellationToken::new());
    let mut scu = call(wire, &target()).await.unwrap();
    let accepted: Vec<u8> = scu.accepted().map(|c| c.id).collect();
    assert_eq!(accepted, [1, 3]);
    assert_eq!(scu.peer().implementation_class.as_deref(), Some("2.25.7"));
    assert_eq!(scu.echo().await.unwrap(), Status::SUCCESS);
    let mut bytes = 0;
    for (number, length) in [2, 100, 16_378, 16_384, 300_000, 1_000_001].into_iter().enumerate() {
        let data = pattern(length);
        bytes += length as u64;
        let instance = format!("1.2.{number}");
        let length = Some(length as u64);
        let response = scu.store(store_ct(&instance), length, &mut parts(&data, 70_001)).await.unwrap();
        assert_eq!(response.status, Status::SUCCESS);
        assert!(scp.stored.lock().unwrap().last() == Some(&(instance, EXPLICIT.to_owned(), data)), "{length:?}");
    }
    scu.release().await.unwrap();
    let ended = task.await.unwrap().unwrap();
    assert_eq!(ended, Ended { lost: None, stored: 6, refused: 0, bytes });
    assert_eq!(*scp.ended.lock().unwrap(), [ended]);
}

#[tokio::test]
async fn any_maximum_length_of_the_peer_is_kept() {
    for maximum in [8, 9, 100, 4096, 131_072, 0] {
        let scp = Arc::new(Shelf::default());
        let (wire, task) = accept(&scp, ScpOptions { max_pdu_length: maximum, ..options() }, &CancellationToken::new());
        let mut scu = call(wire, &Target { max_pdu_length: maximum, ..target() }).await.unwrap();
        let data = pattern(5_000);
        // The acceptor aborts on a longer PDU than it advertised, so success says that none was sent.
        let response = scu.store(store_ct("1.2"), None, &mut parts(&data, 333)).await.unwrap();
        assert_eq!(response.status, Status::SUCCESS, "{maximum}");
        assert_eq!(scp.stored.lock().unwrap()[0].2, data);
        scu.release().await.unwrap();
        assert_eq!(task.await.unwrap().unwrap().lost, None);
    }
}

#[tokio::test]
async fn an_early_answer_reads_the_rest_and_carries_its_details() {
    let answer = StoreAnswer {
        status: Status::OUT_OF_RESOURCES,
        comment: Some("no room".to_owned()),
        offending: Some(0x0020_000D),
    };
    let scp = Arc::new(Shelf { hasty: Some(answer), ..Shelf::default() });
    let (wire, task) = accept(&scp, options(), &CancellationToken::new());
    let mut scu = call(wire, &target()).await.unwrap();
    let originator = Some(("MOVER".to_owned(), 77));
    let command = StoreCommand { move_originator: originator.clone(), priority: 1, ..store_ct("1.2.3.4") };
    for _ in 0..2 {
        let data = pattern(200_000);
        let response = scu.store(command.clone(), None, &mut parts(&data, 50_000)).await.unwrap();
        assert_eq!(response.status, Status::OUT_OF_RESOURCES);
        assert_eq!(response.comment.as_deref(), Some("no room"));
        assert_eq!(response.offending, Some(0x0020_000D));
    }
    scu.release().await.unwrap();
    assert_eq!(task.await.unwrap().unwrap().refused, 2);
    let request = scp.requests.lock().unwrap()[0].clone();
    let want = StoreRequest {
        message_id: 1,
        context_id: 3,
        abstract_syntax: CT.to_owned(),
        transfer_syntax: EXPLICIT.to_owned(),
        sop_class: CT.to_owned(),
        sop_instance: "1.2.3.4".to_owned(),
        priority: 1,
        move_originator: originator,
    };
    assert_eq!(request, want);
}

#[tokio::test]
async fn rejections_reach_the_requestor_with_their_codes() {
    let rows = [Rejection::CallingNotRecognised, Rejection::CalledNotRecognised, Rejection::TemporaryCongestion];
    for rejection in rows {
        let scp = Arc::new(Shelf { refuse: Some(rejection), ..Shelf::default() });
        let (wire, task) = accept(&scp, options(), &CancellationToken::new());
        let (result, by, reason) = rejection.codes();
        assert_eq!(call(wire, &target()).await.unwrap_err(), ScuError::Rejected { result, by, reason });
        assert!(task.await.unwrap().is_none());
    }
}

/// Of a modality whose title was left blank the application hears too: somebody looks for the reason.
#[tokio::test]
async fn a_request_that_cannot_be_put_to_the_application_is_told_to_it() {
    let scp = Arc::new(Shelf::default());
    let (mut wire, task) = accept(&scp, options(), &CancellationToken::new());
    let mut request = request_pdu();
    // The calling title stands behind the header, the version and the called title (PS3.8 table 9-11).
    request[26..42].fill(b' ');
    wire.write_all(&request).await.unwrap();
    assert_eq!(pdu(&mut wire).await, (3, vec![0, 1, 1, 3]));
    drop(wire);
    assert!(task.await.unwrap().is_none());
    assert_eq!(*scp.turned_away.lock().unwrap(), [Rejection::CallingNotRecognised]);
}

#[tokio::test]
async fn a_peer_that_goes_on_for_ever_after_an_early_answer_is_aborted() {
    let scp = Arc::new(Shelf { hasty: Some(Status::OUT_OF_RESOURCES.into()), ..Shelf::default() });
    let few = ScpOptions { max_discard_bytes: 100_000, ..options() };
    let (wire, task) = accept(&scp, few, &CancellationToken::new());
    let mut scu = call(wire, &target()).await.unwrap();
    let data = pattern(90_000);
    let response = scu.store(store_ct("1.2"), None, &mut parts(&data, 50_000)).await.unwrap();
    assert_eq!(response.status, Status::OUT_OF_RESOURCES);
    let data = pattern(1_000_000);
    let failure = scu.store(store_ct("1.2"), None, &mut parts(&data, 50_000)).await.unwrap_err();
    let aborted = ScuError::Lost(Lost::Aborted { by: 0, reason: 0 });
    assert!(matches!(&failure, StoreFailure::Incomplete(error) if *error == aborted), "{failure}");
    drop(scu);
    assert_eq!(task.await.unwrap().unwrap().lost, Some(Lost::Stopped));
}

/// One request by hand, and the status that answers it; `None` if nothing does before the next C-ECHO is answered.
async fn answered(context: u8, command: CommandSet, data: Option<&[u8]>) -> Option<(u16, Status)> {
    let scp = Arc::new(Shelf::default());
    let (mut wire, task) = established(&scp, options()).await;
    wire.write_all(&fragment(context, true, true, &command.encode())).await.unwrap();
    if let Some(data) = data {
        wire.write_all(&fragment(context, false, true, data)).await.unwrap();
    }
    let echo = CommandSet::new(field::C_ECHO_RQ, false)
        .with_uid(element::AFFECTED_SOP_CLASS_UID, VERIFICATION)
        .with_u16(element::MESSAGE_ID, 999);
    wire.write_all(&fragment(1, true, true, &echo.encode())).await.unwrap();
    let mut found = None;
    loop {
        let (kind, body) = pdu(&mut wire).await;
        assert_eq!((kind, body[4], body[5]), (4, if found.is_none() { body[4] } else { 1 }, 3));
        let response = CommandSet::decode(&body[6..]).unwrap();
        if response.u16(element::MESSAGE_ID_RESPONDED_TO) == Some(999) {
            break;
        }
        found = Some((response.field(), Status(response.u16(element::STATUS).unwrap())));
    }
    wire.write_all(&super::super::pdu::write_release_request().unwrap()).await.unwrap();
    assert_eq!(pdu(&mut wire).await.0, 6);
    drop(wire);
    assert_eq!(task.await.unwrap().unwrap().lost, None);
    found
}

#[tokio::test]
async fn what_is_not_offered_is_answered_with_a_status_and_the_association_goes_on() {
    let request = |field, class: &str, data_set| {
        CommandSet::new(field, data_set)
            .with_uid(element::AFFECTED_SOP_CLASS_UID, class)
            .with_u16(element::MESSAGE_ID, 5)
    };
    let data = &b"\x08\x00\x05\x00"[..];
    let n_action = CommandSet::new(field::N_ACTION_RQ, true)
        .with_uid(element::REQUESTED_SOP_CLASS_UID, "1.2.840.10008.1.20.1")
        .with_u16(element::MESSAGE_ID, 5);
    let rows = [
        ("C-FIND", 3, request(field::C_FIND_RQ, CT, true), Some(data), Some((0x8020, 0x0211))),
        ("C-MOVE", 3, request(field::C_MOVE_RQ, CT, true), Some(data), Some((0x8021, 0x0211))),
        ("C-FIND of another class", 3, request(field::C_FIND_RQ, "1.2.9", true), Some(data), Some((0x8020, 0x0122))),
        ("N-ACTION", 3, n_action, Some(data), Some((0x8130, 0x0122))),
        ("no such command", 3, request(0x0777, CT, false), None, Some((0x8777, 0x0211))),
        ("C-STORE of another class", 3, request(field::C_STORE_RQ, "1.2.9", true), Some(data), Some((0x8001, 0x0122))),
        ("C-STORE on Verification", 1, request(field::C_STORE_RQ, CT, true), Some(data), Some((0x8001, 0x0122))),
        ("C-STORE without data", 3, request(field::C_STORE_RQ, CT, false), None, Some((0x8001, 0xC000))),
        (
            "C-STORE to Verification",
            1,
            request(field::C_STORE_RQ, VERIFICATION, true),
            Some(data),
            Some((0x8001, 0x0211)),
        ),
        ("C-ECHO on storage", 3, request(field::C_ECHO_RQ, VERIFICATION, false), None, Some((0x8030, 0x0122))),
        ("C-ECHO with data", 1, request(field::C_ECHO_RQ, VERIFICATION, true), Some(data), Some((0x8030, 0))),
        ("C-ECHO that says so", 1, request(field::C_ECHO_RQ, VERIFICATION, true), None, Some((0x8030, 0))),
        ("C-CANCEL of nothing", 3, request(field::C_CANCEL_RQ, CT, false), None, None),
        ("C-CANCEL with data", 3, request(field::C_CANCEL_RQ, CT, true), Some(data), None),
        ("C-CANCEL that says so", 3, request(field::C_CANCEL_RQ, CT, true), None, None),
    ];
    for (name, context, command, data, want) in rows {
        let want = want.map(|(field, status)| (field, Status(status)));
        assert_eq!(answered(context, command, data).await, want, "{name}");
    }
}

/// Some programs leave the SOP class out, which the standard requires of every request: it is that of the context, and the answer names it
/// (PS3.7 sections 9.3.1.2 and 9.3.5.2).
#[tokio::test]
async fn a_request_that_names_no_class_is_of_that_of_its_context() {
    let scp = Arc::new(Shelf::default());
    let (mut wire, task) = established(&scp, options()).await;
    let echo = CommandSet::new(field::C_ECHO_RQ, false).with_u16(element::MESSAGE_ID, 5);
    let store = CommandSet::new(field::C_STORE_RQ, true)
        .with_u16(element::MESSAGE_ID, 6)
        .with(element::AFFECTED_SOP_CLASS_UID, b"")
        .with_uid(element::AFFECTED_SOP_INSTANCE_UID, "1.2");
    for (context, command, class) in [(1, echo, VERIFICATION), (3, store, CT)] {
        let data = if command.has_data_set() { fragment(context, false, true, b"abcd") } else { Vec::new() };
        wire.write_all(&[fragment(context, true, true, &command.encode()), data].concat()).await.unwrap();
        let (_, body) = pdu(&mut wire).await;
        let response = CommandSet::decode(&body[6..]).unwrap();
        assert_eq!(response.u16(element::STATUS), Some(0), "{class}");
        assert_eq!(response.text(element::AFFECTED_SOP_CLASS_UID).as_deref(), Some(class));
    }
    assert_eq!(scp.requests.lock().unwrap()[0].sop_class, CT);
    drop(wire);
    assert_eq!(task.await.unwrap().unwrap().stored, 1);
}

#[tokio::test]
async fn a_stop_lets_the_message_in_hand_finish() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let scp = Arc::new(Shelf { gate: Some(gate.clone()), ..Shelf::default() });
    let stop = CancellationToken::new();
    let (wire, task) = accept(&scp, options(), &stop);
    let mut scu = call(wire, &target()).await.unwrap();
    let data = pattern(100_000);
    let (stored, ()) =
        tokio::join!(async { scu.store(store_ct("1.2"), None, &mut parts(&data, 9_000)).await }, async {
            while scp.requests.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            stop.cancel();
            gate.add_permits(1);
        });
    assert_eq!(stored.unwrap().status, Status::SUCCESS);
    assert_eq!(scu.echo().await.unwrap_err(), ScuError::Lost(Lost::Aborted { by: 0, reason: 0 }));
    drop(scu);
    let ended = task.await.unwrap().unwrap();
    assert_eq!((ended.lost, ended.stored), (Some(Lost::Stopped), 1));
}
