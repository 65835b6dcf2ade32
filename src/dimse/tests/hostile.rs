//! Peers that breach the protocol, trickle, or vanish: each ends with the A-ABORT that PS3.8 asks for, and nothing
//! stored.

use super::message::{CommandSet, element, field};
use super::*;
use std::time::Duration;

fn store_command() -> Vec<u8> {
    CommandSet::new(field::C_STORE_RQ, true)
        .with_uid(element::AFFECTED_SOP_CLASS_UID, CT)
        .with_uid(element::AFFECTED_SOP_INSTANCE_UID, "1.2")
        .with_u16(element::MESSAGE_ID, 1)
        .encode()
}

/// What follows the association's own answer, if anything, when the peer sends `bytes` and then closes its side.
async fn reaction(scp: &Arc<Shelf>, bytes: &[u8]) -> Option<(u8, Vec<u8>)> {
    let (mut wire, task) = established(scp, ScpOptions { max_pdu_length: 4096, ..options() }).await;
    wire.write_all(bytes).await.unwrap();
    wire.shutdown().await.unwrap();
    let mut rest = Vec::new();
    wire.read_to_end(&mut rest).await.unwrap();
    task.await.unwrap().unwrap();
    (!rest.is_empty()).then(|| (rest[0], rest[6..].to_vec()))
}

#[tokio::test]
async fn each_breach_has_its_abort_and_stores_nothing() {
    let store = fragment(3, true, true, &store_command());
    let part = fragment(3, false, false, &[7; 100]);
    let long = fragment(3, false, true, &[7; 4091]);
    let refused = fragment(5, true, true, &store_command());
    let no_id = CommandSet::new(field::C_ECHO_RQ, false).with_uid(element::AFFECTED_SOP_CLASS_UID, VERIFICATION);
    // With all that a request has, so that nothing but its field makes it a response.
    let response = CommandSet::new(field::C_ECHO_RSP, false)
        .with_uid(element::AFFECTED_SOP_CLASS_UID, VERIFICATION)
        .with_u16(element::MESSAGE_ID, 1)
        .with_u16(element::STATUS, 0);
    let release = vec![5, 0, 0, 0, 0, 4, 0, 0, 0, 0];
    let rows: Vec<(&str, Vec<u8>, (u8, u8))> = vec![
        ("unknown PDU type", vec![0x47, b'E', b'T', b' ', b'/', b' '], (2, 1)),
        ("second request", request_pdu(), (2, 2)),
        ("acceptance", vec![2, 0, 0, 0, 0, 0], (2, 2)),
        ("rejection", vec![3, 0, 0, 0, 0, 4, 0, 1, 1, 1], (2, 2)),
        ("release reply", vec![6, 0, 0, 0, 0, 4, 0, 0, 0, 0], (2, 2)),
        ("P-DATA of 4 GiB", vec![4, 0, 255, 255, 255, 255], (2, 6)),
        ("release of 4 GiB", vec![5, 0, 255, 255, 255, 255], (2, 6)),
        ("P-DATA over our maximum", [store.clone(), long].concat(), (2, 6)),
        ("PDV behind its PDU", vec![4, 0, 0, 0, 0, 8, 0, 0, 0, 7, 3, 3, 0, 0], (2, 6)),
        ("context that was refused", refused, (2, 6)),
        ("context that was not proposed", fragment(99, true, true, &store_command()), (2, 6)),
        ("even context", fragment(2, true, true, &store_command()), (2, 6)),
        ("data without a command", part.clone(), (2, 5)),
        ("command within the data", [store.clone(), part.clone(), store.clone()].concat(), (2, 5)),
        ("command set of noise", fragment(3, true, true, b"not a command set"), (2, 6)),
        ("release within the data", [store.clone(), part.clone(), release].concat(), (2, 2)),
        ("request without an ID", fragment(1, true, true, &no_id.encode()), (0, 0)),
        ("response to nothing", fragment(1, true, true, &response.encode()), (0, 0)),
    ];
    for (name, bytes, (by, reason)) in rows {
        let scp = Arc::new(Shelf::default());
        assert_eq!(reaction(&scp, &bytes).await, Some((7, vec![0, 0, by, reason])), "{name}");
        assert!(scp.stored.lock().unwrap().is_empty(), "{name}");
        let ended = scp.ended.lock().unwrap()[0].clone();
        assert!(matches!(ended.lost, Some(Lost::Violation(_))), "{name}: {ended:?}");
    }
}

#[tokio::test]
async fn fragments_after_the_last_come_too_late_to_change_what_was_stored() {
    let scp = Arc::new(Shelf::default());
    let (mut wire, task) = established(&scp, options()).await;
    let bytes = [
        fragment(3, true, true, &store_command()),
        fragment(3, false, true, b"abcd"),
        fragment(3, false, true, b"efgh"),
    ];
    wire.write_all(&bytes.concat()).await.unwrap();
    assert_eq!(pdu(&mut wire).await.0, 4, "the C-STORE-RSP of what was whole");
    assert_eq!(pdu(&mut wire).await, (7, vec![0, 0, 2, 5]));
    drop(wire);
    assert_eq!(task.await.unwrap().unwrap().stored, 1);
    assert_eq!(scp.stored.lock().unwrap()[0].2, b"abcd");
}

#[tokio::test]
async fn an_end_within_the_data_set_is_lost_and_not_stored() {
    let store = fragment(3, true, true, &store_command());
    let part = fragment(3, false, false, &[7; 100]);
    let abort = super::super::pdu::write_abort((0, 0)).unwrap();
    let rows: Vec<(&str, Vec<u8>, Lost)> = vec![
        ("closed between fragments", [store.clone(), part.clone()].concat(), Lost::Closed),
        ("closed within a fragment", [store.clone(), part[..50].to_vec()].concat(), Lost::Closed),
        ("closed within a header", [store.clone(), part[..3].to_vec()].concat(), Lost::Closed),
        ("aborted", [store, part, abort].concat(), Lost::Aborted { by: 0, reason: 0 }),
    ];
    for (name, bytes, want) in rows {
        let scp = Arc::new(Shelf::default());
        // Nothing is sent to a peer that is gone.
        assert_eq!(reaction(&scp, &bytes).await, None, "{name}");
        assert_eq!(*scp.lost.lock().unwrap(), std::slice::from_ref(&want), "{name}");
        assert_eq!(scp.ended.lock().unwrap()[0].lost, Some(want), "{name}");
        assert!(scp.stored.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn requests_that_are_none_are_aborted_by_the_service_user() {
    // Table 9-10, Sta2: AA-1.
    let with_id = |id: u8| {
        let mut bytes = request_pdu();
        let at = bytes.windows(4).position(|w| w == [0x20, 0, 0, 46]).unwrap();
        bytes[at + 4] = id;
        bytes
    };
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1]),
        ("data", fragment(1, true, true, b"ab")),
        ("release", vec![5, 0, 0, 0, 0, 4, 0, 0, 0, 0]),
        ("acceptance", vec![2, 0, 0, 0, 0, 4, 0, 0, 0, 0]),
        ("request of 4 GiB", vec![1, 0, 255, 255, 255, 255]),
        ("request of 257 KiB", vec![1, 0, 0, 4, 4, 0]),
        ("request of nothing", vec![1, 0, 0, 0, 0, 0]),
        ("even context", with_id(2)),
        ("context twice", with_id(3)),
    ];
    for (name, bytes) in rows {
        let scp = Arc::new(Shelf::default());
        let (mut wire, task) = accept(&scp, options(), &CancellationToken::new());
        wire.write_all(&bytes).await.unwrap();
        assert_eq!(pdu(&mut wire).await, (7, vec![0, 0, 0, 0]), "{name}");
        drop(wire);
        assert!(task.await.unwrap().is_none(), "{name}");
    }
}

/// How long the acceptor kept the connection, and the last PDU that it sent.
async fn patience(scp: &Arc<Shelf>, bytes: &[u8], trickle: Option<Vec<u8>>) -> (Duration, Vec<u8>) {
    let (mut wire, task) = accept(scp, options(), &CancellationToken::new());
    let began = tokio::time::Instant::now();
    wire.write_all(bytes).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(wire);
    let drip = async {
        for byte in trickle.iter().flatten().cycle() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut got = Vec::new();
    tokio::select! {
        () = drip => {}
        read = reader.read_to_end(&mut got) => { read.unwrap(); }
    }
    let _ = task.await.unwrap();
    (began.elapsed(), got.split_off(got.len().saturating_sub(10)))
}

#[tokio::test(start_paused = true)]
async fn each_silence_has_its_timer() {
    let abort = super::super::pdu::write_abort((0, 0)).unwrap();
    let seconds = Duration::from_secs;
    let store = [request_pdu(), fragment(3, true, true, &store_command())].concat();
    let part = fragment(3, false, false, &[7; 100]);
    let drop = part.clone();
    let within = [store.clone(), part].concat();
    let header = [request_pdu(), vec![4, 0, 0]].concat();
    // Sent, then the seconds until the abort, then whether an abort was sent; ARTIM closes without one, and is waited out after an abort.
    let rows: Vec<(&str, Vec<u8>, Option<Vec<u8>>, u64, bool)> = vec![
        ("nothing", vec![], None, 30, false),
        ("half a request", request_pdu()[..40].to_vec(), None, 30, false),
        ("a request that trickles", vec![], Some(request_pdu()), 30, false),
        ("no message", request_pdu(), None, 300 + 30, true),
        ("half a header", header, None, 60 + 30, true),
        ("no data", store.clone(), None, 60 + 30, true),
        ("no more data", within, None, 60 + 30, true),
        ("data that trickles", store, Some(drop), 60 + 30, true),
    ];
    for (name, bytes, trickle, want, aborted) in rows {
        let scp = Arc::new(Shelf::default());
        let (took, last) = patience(&scp, &bytes, trickle).await;
        let (least, most) = (seconds(want) - seconds(1), seconds(want) + seconds(1));
        assert!(least <= took && took <= most, "{name}: {took:?}");
        assert_eq!(last == abort, aborted, "{name}");
        assert!(scp.stored.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn artim_ends_the_wait_for_a_peer_that_talks_on_after_an_abort() {
    let scp = Arc::new(Shelf::default());
    let (mut wire, task) = established(&scp, options()).await;
    wire.write_all(&[9, 0, 0, 0, 0, 0]).await.unwrap();
    assert_eq!(pdu(&mut wire).await, (7, vec![0, 0, 2, 1]));
    let began = tokio::time::Instant::now();
    // Sta13: data is ignored (AA-6), a request is answered with an abort (AA-7), once.
    wire.write_all(&fragment(1, true, true, b"ab")).await.unwrap();
    for _ in 0..3 {
        wire.write_all(&request_pdu()).await.unwrap();
    }
    assert_eq!(pdu(&mut wire).await.0, 7);
    let mut rest = Vec::new();
    wire.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    assert_eq!(began.elapsed().as_secs(), 30);
    task.await.unwrap();
}

#[tokio::test]
async fn the_peers_abort_ends_the_wait_for_its_close() {
    let scp = Arc::new(Shelf::default());
    let (mut wire, task) = established(&scp, options()).await;
    wire.write_all(&[9, 0, 0, 0, 0, 3, 1, 2, 3]).await.unwrap();
    assert_eq!(pdu(&mut wire).await.0, 7);
    wire.write_all(&super::super::pdu::write_abort((0, 0)).unwrap()).await.unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn any_cut_of_the_stream_stores_the_same() {
    let data = pattern(3_000);
    let mut stream = request_pdu();
    stream.extend(fragment(3, true, true, &store_command()));
    for (number, part) in data.chunks(777).enumerate() {
        stream.extend(fragment(3, false, number == 3, part));
    }
    stream.extend(super::super::pdu::write_release_request().unwrap());
    for size in [1, 2, 5, 6, 7, 12, 13, 100, 1_000, 10_000] {
        let scp = Arc::new(Shelf::default());
        let (ours, theirs) = tokio::io::duplex(size);
        let task = serve_wire(Wire::Memory(theirs), peer(), scp.clone(), options(), CancellationToken::new());
        let task = tokio::spawn(task);
        let (mut reader, mut writer) = tokio::io::split(ours);
        let mut got = Vec::new();
        let (wrote, read) = tokio::join!(writer.write_all(&stream), async {
            while !got.ends_with(&[6, 0, 0, 0, 0, 4, 0, 0, 0, 0]) {
                reader.read_buf(&mut got).await?;
            }
            std::io::Result::Ok(())
        });
        wrote.and(read).unwrap();
        drop((reader, writer));
        assert_eq!(task.await.unwrap().unwrap().lost, None, "{size}");
        assert_eq!(scp.stored.lock().unwrap()[0].2, data, "{size}");
    }
}

/// A short conversation in order: associate, store, echo, release.
fn conversation() -> Vec<u8> {
    let echo = CommandSet::new(field::C_ECHO_RQ, false)
        .with_uid(element::AFFECTED_SOP_CLASS_UID, VERIFICATION)
        .with_u16(element::MESSAGE_ID, 2);
    let parts = [
        request_pdu(),
        fragment(3, true, true, &store_command()),
        fragment(3, false, false, &[7; 60]),
        fragment(3, false, true, &[8; 40]),
        fragment(1, true, true, &echo.encode()),
        super::super::pdu::write_release_request().unwrap(),
    ];
    parts.concat()
}

proptest::proptest! {
    /// Whatever comes, the association ends, and each C-STORE is either whole or lost.
    #[test]
    fn a_damaged_conversation_ends_and_each_store_is_whole_or_lost(
        at in 0usize..700,
        remove in 0usize..12,
        insert in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..12),
        close in proptest::prelude::any::<bool>(),
    ) {
        let mut bytes = conversation();
        let at = at.min(bytes.len());
        let (end, changed) = ((at + remove).min(bytes.len()), remove > 0 || !insert.is_empty());
        bytes.splice(at..end, insert);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let scp = Arc::new(Shelf::default());
            let (mut wire, task) = accept(&scp, options(), &CancellationToken::new());
            wire.write_all(&bytes).await.unwrap();
            if close {
                wire.shutdown().await.unwrap();
            }
            let mut answers = Vec::new();
            wire.read_to_end(&mut answers).await.unwrap();
            let ended = task.await.unwrap();
            assert!(changed || ended.as_ref().is_some_and(|ended| ended.lost.is_none() && ended.stored == 1));
            let stored = scp.stored.lock().unwrap().len() as u64;
            assert_eq!(stored + scp.lost.lock().unwrap().len() as u64, scp.requests.lock().unwrap().len() as u64);
            assert!(ended.map_or(0, |ended| ended.stored) <= stored);
        });
    }
}
