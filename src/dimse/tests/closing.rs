//! Associations that are over while the peer has not closed its connection yet: their places are free, and of such connections there are
//! few, for a short time.

use super::super::pdu::{write_abort, write_release_request};
use super::*;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A wire to an acceptor, with room for so many bytes each way.
fn connected(server: &Server<Shelf>, room: usize) -> (DuplexStream, JoinHandle<Option<Ended>>) {
    let (ours, theirs) = tokio::io::duplex(room);
    let server = server.clone();
    let serving = async move { server.serve_wire(Wire::Memory(theirs), peer(), &CancellationToken::new()).await };
    (ours, tokio::spawn(serving))
}

/// Asks for an association; the type of the PDU that answers.
async fn asked(wire: &mut DuplexStream) -> u8 {
    wire.write_all(&request_pdu()).await.unwrap();
    pdu(wire).await.0
}

/// A node that may have one association opens the next one as soon as the first is over for it, or before.
#[tokio::test]
async fn a_place_is_free_before_the_peer_hears_of_the_end() {
    let one = || ScpOptions { max_associations: 1, ..options() };
    let one_each = || ScpOptions { max_associations_per_caller: 1, ..options() };
    // What ends it, and the type of the PDU that answers.
    let rows = [
        ("a release", write_release_request().unwrap(), Some(6)),
        ("a breach", vec![9, 0, 0, 0, 0, 0], Some(7)),
        ("an abort", write_abort((0, 0)).unwrap(), None),
    ];
    for (name, bytes, answer) in rows {
        for options in [one(), one_each()] {
            let server = Server::new(Arc::new(Shelf::default()), options);
            // Too narrow for the last PDU, which thus waits for the peer to read.
            let (mut first, _task) = connected(&server, 8);
            assert_eq!(asked(&mut first).await, 2);
            let (mut second, _task) = connected(&server, 1 << 16);
            assert_eq!(asked(&mut second).await, 3, "{name}: there is no place for two");
            first.write_all(&bytes).await.unwrap();
            let heard = timeout(Duration::from_secs(10), first.read_u8()).await.unwrap();
            assert_eq!(heard.ok(), answer, "{name}");
            let (mut third, _task) = connected(&server, 1 << 16);
            assert_eq!(asked(&mut third).await, 2, "{name}: there is a place again");
        }
    }
}

/// Sta13 ends with ARTIM (PS3.8 section 9.1.5), and before that where others wait too.
#[tokio::test(start_paused = true)]
async fn connections_that_nobody_closes_are_few_and_last_as_long_as_artim() {
    let scp = Arc::new(Shelf::default());
    let server = Server::new(scp.clone(), ScpOptions { max_associations: 1, max_closing: 2, ..options() });
    let began = Instant::now();
    let (mut wires, mut tasks) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (mut wire, task) = connected(&server, 1 << 16);
        assert_eq!(asked(&mut wire).await, 2);
        wire.write_all(&write_release_request().unwrap()).await.unwrap();
        assert_eq!(pdu(&mut wire).await.0, 6);
        wires.push(wire);
        tasks.push(task);
    }
    assert_eq!(wires[0].read(&mut [0]).await.unwrap(), 0, "the oldest makes room");
    assert_eq!(began.elapsed(), Duration::ZERO);
    for wire in &mut wires[1..] {
        assert!(timeout(Duration::from_millis(14_500), wire.read_u8()).await.is_err(), "the others are left alone");
    }
    for wire in &mut wires[1..] {
        assert_eq!(wire.read(&mut [0]).await.unwrap(), 0);
    }
    assert_eq!(began.elapsed().as_secs(), 30);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().lost, None, "each was released in order");
    }
    assert_eq!(scp.ended.lock().unwrap().len(), 3);
}
