//! Our release, as nodes take it: in time, late or never, with a release of their own, with data before it, with a close or an abort.

use super::super::pdu::{write_abort, write_release_reply, write_release_request};
use super::message::{CommandSet, element, field};
use super::requestor::accepted_all;
use super::*;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What a node does, in turn, once it was asked for release.
enum Does {
    Says(Vec<u8>),
    /// Takes a PDU of this type.
    Hears(u8),
    Waits(Duration),
    Closes,
}

/// DIM-013, PS3.8 section 9.1.5: the release has a timer of its own, and ARTIM does not run.
#[tokio::test(start_paused = true)]
async fn our_release_ends_by_what_the_node_says_or_by_its_own_timer() {
    use Does::{Closes, Hears, Says, Waits};
    let reply = || Says(write_release_reply().unwrap());
    let request = || Says(write_release_request().unwrap());
    let late = CommandSet::new(field::C_STORE_RSP, false)
        .with_u16(element::MESSAGE_ID_RESPONDED_TO, 1)
        .with_u16(element::STATUS, 0);
    let late = Says(fragment(3, true, true, &late.encode()));
    let no_answer = || Err(Lost::Timeout(timers::Phase::Release));
    let rows: Vec<(&str, Vec<Does>, Result<(), Lost>, u64)> = vec![
        ("in time", vec![reply()], Ok(()), 0),
        ("late", vec![Waits(Duration::from_secs(9)), reply()], Ok(()), 9),
        ("never", vec![Hears(7)], no_answer(), 10),
        ("with a release of its own", vec![request(), Hears(6), reply()], Ok(()), 0),
        ("with a release of its own alone", vec![request(), Hears(6), Hears(7)], no_answer(), 10),
        ("after an answer that was late", vec![late, reply()], Ok(()), 0),
        ("with a close", vec![Closes], Err(Lost::Closed), 0),
        ("with an abort", vec![Says(write_abort((0, 0)).unwrap())], Err(Lost::Aborted { by: 0, reason: 0 }), 0),
    ];
    let timers = Timers { artim: Duration::from_secs(1), ..Timers::default() };
    for (name, steps, want, seconds) in rows {
        let target = Target { timers: timers.clone(), ..target() };
        let (scu, mut wire) = accepted_all(16_384, &offers(), &target).await;
        let began = Instant::now();
        let by_hand = async {
            assert_eq!(pdu(&mut wire).await.0, 5, "{name}");
            for step in steps {
                match step {
                    Says(bytes) => wire.write_all(&bytes).await.unwrap(),
                    Hears(kind) => assert_eq!(pdu(&mut wire).await.0, kind, "{name}"),
                    Waits(time) => sleep(time).await,
                    Closes => wire.shutdown().await.unwrap(),
                }
            }
            let mut rest = Vec::new();
            wire.read_to_end(&mut rest).await.unwrap();
            rest
        };
        let (released, rest) = tokio::join!(scu.release(), by_hand);
        assert_eq!(released, want.map_err(ScuError::Lost), "{name}");
        assert!(rest.is_empty(), "{name}: {rest:?}");
        assert_eq!(began.elapsed().as_secs(), seconds, "{name}");
    }
}

/// A node that goes on talking, whatever it is asked, is left by the clock: its data are always there, so that no wait for it ever runs out.
#[tokio::test]
async fn our_release_leaves_a_node_that_never_stops_talking() {
    let timers = Timers { release: Duration::from_millis(200), ..Timers::default() };
    let (scu, mut wire) = accepted_all(16_384, &offers(), &Target { timers, ..target() }).await;
    // It ends when nobody reads it.
    let talks = tokio::spawn(async move {
        let data = fragment(3, false, false, &[7; 100]).repeat(100);
        while wire.write_all(&data).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    let released = tokio::time::timeout(Duration::from_secs(60), scu.release()).await.expect("it is left");
    assert_eq!(released, Err(ScuError::Lost(Lost::Timeout(timers::Phase::Release))));
    talks.await.unwrap();
}
