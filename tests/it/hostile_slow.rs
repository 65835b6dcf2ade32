//! Callers that take their time, in every phase: each is cut off by the timer of its phase, and the sender beside goes on
//! (DIM-021, FLT-040).

use crate::support::beside::Beside;
use crate::support::caller::{
    Caller, IMPLICIT_LE, Pdu, Request, VERIFICATION, echo_command, fragment, pdv, release_request,
};
use crate::support::caller::{pdu, store_command};
use crate::support::config::free_port;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, names};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::two_sites::Stage;
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn usual() -> Request {
    Request::new("SENDER", "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE]).context(
        3,
        VERIFICATION,
        &[IMPLICIT_LE],
    )
}

/// Sends `drip` piece by piece, one each tenth of a second, until the other side closes; what it sent, and how long it took.
fn drip(mut caller: Caller, pieces: impl Iterator<Item = Vec<u8>>) -> (Vec<u8>, Duration) {
    let began = Instant::now();
    let mut writer = caller.stream.try_clone().unwrap();
    caller.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (mut pieces, mut got) = (pieces.fuse(), Vec::new());
    loop {
        let mut some = [0; 64];
        match std::io::Read::read(&mut caller.stream, &mut some) {
            Ok(0) => return (got, began.elapsed()),
            Ok(size) => got.extend_from_slice(&some[..size]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                if let Some(piece) = pieces.next() {
                    let _ = std::io::Write::write_all(&mut writer, &piece);
                }
            }
            Err(_) => return (got, began.elapsed()),
        }
        assert!(began.elapsed() < Duration::from_secs(90), "it is never cut off");
    }
}

type Pieces = Box<dyn Iterator<Item = Vec<u8>> + Send>;
/// Who it is, its connection, what it sends piece by piece, what it gets before it is cut off, and after how many seconds.
type Slow = (&'static str, Caller, Pieces, Vec<u8>, u64);

/// One for each phase.
fn slow_callers(port: u16, tls: u16) -> Vec<Slow> {
    let store = fragment(1, true, true, &store_command(SECONDARY_CAPTURE, &names(341, 1, 2).instance, 1));
    let sent = |bytes: &[u8]| {
        let mut caller = Caller::accepted(port, &usual()).0;
        caller.send(bytes).unwrap();
        caller
    };
    let none = || -> Pieces { Box::new(std::iter::empty()) };
    let bytes = |bytes: Vec<u8>| -> Pieces { Box::new(bytes.into_iter().map(|byte| vec![byte])) };
    let hello = [&[0x16, 3, 1, 1, 0x2C, 1, 0, 1, 0x28, 3, 3][..], &[7; 32], &[0]].concat();
    let (abort, reply) = (pdu(7, &[0; 4]), pdu(6, &[0; 4]));
    // The noise that follows an abort is no PDU either, and is told so once (AA-7).
    let twice = [pdu(7, &[0, 0, 2, 1]), pdu(7, &[0, 0, 2, 2])].concat();
    let half = [&store[..], &[4, 0, 0, 0, 16, 0, 0, 0, 15, 252, 1, 0]].concat();
    let tiny = fragment(1, false, false, &[7, 7]);
    vec![
        ("no TLS hello", Caller::connect(tls), none(), vec![], 2),
        ("half a TLS hello", Caller::connect(tls), bytes(hello), vec![], 2),
        ("no request", Caller::connect(port), none(), vec![], 1),
        ("a request byte by byte", Caller::connect(port), bytes(usual().pdu()), vec![], 1),
        ("no message", sent(&[]), none(), abort.clone(), 4),
        ("a header byte by byte", sent(&[]), bytes(vec![4, 0, 0]), abort.clone(), 3),
        ("a fragment that stops", sent(&half), none(), abort.clone(), 3),
        ("a message that stops", sent(&store), none(), abort.clone(), 3),
        ("a message by drops", sent(&store), Box::new(std::iter::repeat(tiny)), abort, 3),
        ("a release that is not followed by a close", sent(&release_request()), none(), reply, 1),
        ("an abort that is not followed by a close", sent(&pdu(0x47, b"")), bytes(vec![9; 500]), twice, 1),
    ]
}

#[test]
fn each_phase_has_a_timer_and_nobody_else_waits() {
    let stage = Stage::new();
    let tls = free_port();
    let mut config = stage.site_a("https://127.0.0.1:9/dicom-web");
    config.dicom = format!("tls_listen = \"127.0.0.1:{tls}\"");
    let timers = "[timers]\nartim = \"1s\"\ntls_handshake = \"2s\"\nmessage_idle = \"3s\"\nassociation_idle = \"4s\"";
    let mut site = Gateway::start(&stage.path().join("a"), config.with(timers));
    // The neighbour keeps within its own timers by going on.
    let mut beside = Beside::start_with(&site, names(341, 1, 1), 16 << 20);
    let connecting = Instant::now();
    let rows = slow_callers(site.config.dicom_port, tls);
    // What a connection was let wait before its time is taken.
    let before = connecting.elapsed();
    std::thread::scope(|scope| {
        let slow: Vec<_> = rows
            .into_iter()
            .map(|(name, caller, pieces, want, least)| {
                scope.spawn(move || {
                    let (got, took) = drip(caller, pieces);
                    assert_eq!(got, want, "{name}");
                    let least = Duration::from_secs(least);
                    assert!(
                        took + before > least / 2 && took < least + Duration::from_secs(30),
                        "{name}: cut off after {took:?}"
                    );
                })
            })
            .collect();
        while slow.iter().any(|thread| !thread.is_finished()) {
            beside.go_on(16 << 10);
            std::thread::sleep(Duration::from_millis(100));
        }
        note_fired(slow.into_iter().map(|thread| thread.join().unwrap()).count());
    });
    beside.end(&site);
    assert!(site.peak_memory() <= 100_000_000);
    site.verify_ledger(true);
}

#[test]
fn a_crowd_that_asks_for_nothing_does_not_keep_others_out() {
    let stage = Stage::new();
    let tls = free_port();
    let mut config = stage.site_a("https://127.0.0.1:9/dicom-web");
    config.dicom = format!("tls_listen = \"127.0.0.1:{tls}\"");
    let mut site = Gateway::start(&stage.path().join("a"), config);
    let port = site.config.dicom_port;
    // More than are waited for at once, on both listeners; each may take ARTIM's thirty seconds.
    let crowd: Vec<TcpStream> =
        (0..300).map(|n| TcpStream::connect(("127.0.0.1", if n % 2 == 0 { port } else { tls })).unwrap()).collect();
    let began = Instant::now();
    let (mut caller, _) = Caller::accepted(port, &usual());
    caller.fragment(3, true, true, &echo_command(1)).unwrap();
    assert_eq!(caller.answer().unwrap().status, 0);
    caller.release();
    let took = began.elapsed();
    println!("summary: among {} connections that ask for nothing, C-ECHO took {} ms", crowd.len(), took.as_millis());
    assert!(took < Duration::from_secs(20), "it waited {took:?}");
    Beside::start(&site, names(342, 1, 1)).end(&site);
    assert!(site.peak_memory() <= 100_000_000);
    drop(crowd);
}

#[test]
fn a_caller_that_reads_no_answer_is_cut_off() {
    let stage = Stage::new();
    let timers = "[timers]\nartim = \"1s\"\nmessage_idle = \"3s\"";
    let mut site = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web").with(timers));
    let (mut caller, _) = Caller::accepted(site.config.dicom_port, &usual());
    let mut beside = Beside::start_with(&site, names(343, 1, 1), 16 << 20);
    // Questions without end, and no answer is read: the answers fill the socket, then nothing more is taken.
    let many: Vec<u8> = (0..500).flat_map(|_| pdu(4, &pdv(3, true, true, &echo_command(1)))).collect();
    caller.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let (began, mut moved) = (Instant::now(), Instant::now());
    loop {
        if moved.elapsed() > Duration::from_millis(100) {
            moved = Instant::now();
            beside.go_on(128 << 10);
        }
        match caller.send(&many) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        assert!(began.elapsed() < Duration::from_secs(120), "it is never cut off");
    }
    beside.end(&site);
    assert!(site.peak_memory() <= 100_000_000);
    assert_eq!(
        Caller::ask(site.config.dicom_port, &usual()).1.map(|pdu| matches!(pdu, Pdu::Accept(_))).ok(),
        Some(true)
    );
}
