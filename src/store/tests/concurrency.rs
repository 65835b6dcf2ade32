//! Many streams at once: within the budget, without a deadlock, one sync for all that queued; dropped at any point.

use super::*;
use futures_util::future::{join_all, poll_immediate};
use std::pin::pin;

async fn within_a_minute<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("the store has come to a standstill")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_streams_share_any_budget() {
    for (budget, length) in [(32 * MIB, 3 * MIB), (32 * MIB, 525_600), (0, 525_600), (2 * MIB, 2 * MIB)] {
        let fixture = fixture_with(|options| options.buffer_budget_bytes = budget);
        let one = |seed: u64| {
            let store = fixture.store.clone();
            tokio::spawn(async move {
                let data = noise(length, seed);
                let spooled = spool(&store, &data, 100_000).await.unwrap();
                let digest = spooled.digest();
                let place = store.settle(spooled).await.unwrap();
                assert_eq!(digest, Digest::of(&data));
                store.verify(place, digest).await.unwrap();
            })
        };
        for done in within_a_minute(join_all((0..64).map(one))).await {
            done.unwrap();
        }
        let usage = fixture.store.usage();
        assert_eq!((usage.blobs, usage.buffers_in, usage.buffers_out), (64, 0, 0));
    }
}

/// Small blobs are read while others are written beside them, in a segment in use and in sealed ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_are_read_while_the_segment_grows() {
    let fixture = fixture();
    let one = |seed: u64| {
        let store = fixture.store.clone();
        tokio::spawn(async move {
            let mut stored = vec![];
            for round in 0..100 {
                stored.push(put(&store, &noise(5000 + 100 * round, seed)).await.unwrap());
                for (place, digest) in stored.iter().rev().step_by(7).take(4) {
                    store.verify(*place, *digest).await.unwrap();
                }
            }
        })
    };
    for done in within_a_minute(join_all((0..16).map(one))).await {
        done.unwrap();
    }
    assert_eq!((fixture.store.usage().blobs, fixture.store.poisoned()), (1600, None));
}

/// Streams that stall with a buffer each leave room for others to start and to finish.
#[tokio::test]
async fn stalled_streams_do_not_stop_others() {
    let fixture = fixture_with(|options| options.buffer_budget_bytes = 32 * MIB);
    let mut stalled = vec![];
    for seed in 0..64 {
        let mut receiving = fixture.store.receive().await.unwrap();
        within_a_minute(receiving.write(&noise(2 * MIB, seed))).await.unwrap();
        stalled.push(receiving);
    }
    assert!(fixture.store.usage().buffers_in <= 24 * MIB as u64);
    within_a_minute(put(&fixture.store, &noise(525_600, 100))).await.unwrap();
    within_a_minute(put(&fixture.store, &noise(5 * MIB, 101))).await.unwrap();
}

#[tokio::test]
async fn idle_streams_hold_no_buffer() {
    let fixture = fixture();
    let mut idle = vec![];
    for _ in 0..200 {
        let mut receiving = fixture.store.receive().await.unwrap();
        receiving.write(&[]).await.unwrap();
        idle.push(receiving);
    }
    assert_eq!(fixture.store.usage().buffers_in, 0);
}

/// A reader whose chunks are not used up does not stop an arrival.
#[tokio::test]
async fn slow_readers_do_not_stop_arrivals() {
    let fixture = fixture_with(|options| options.buffer_budget_bytes = 4 * MIB);
    let (place, digest) = put(&fixture.store, &noise(5 * MIB, 1)).await.unwrap();
    let mut chunks = vec![];
    let mut reader = fixture.store.read(place, digest, None).await.unwrap();
    let mut next = Box::pin(reader.next());
    while let Ok(chunk) = tokio::time::timeout(Duration::from_millis(200), &mut next).await {
        chunks.push(chunk.unwrap().unwrap());
        drop(next);
        next = Box::pin(reader.next());
    }
    assert!(!chunks.is_empty() && chunks.len() < 20);
    within_a_minute(put(&fixture.store, &noise(5 * MIB, 2))).await.unwrap();
    // And it goes on when they are.
    chunks.clear();
    assert!(within_a_minute(next).await.unwrap().is_some());
}

#[tokio::test]
async fn one_sync_covers_all_that_queued() {
    let fixture = fixture();
    let store = &fixture.store;
    put(store, &noise(100, 0)).await.unwrap();
    let before = store.usage().syncs;
    let settle = |seed: u64| {
        let store = store.clone();
        tokio::spawn(async move { put(&store, &noise(5000, seed)).await.unwrap() })
    };
    let gate = store.core.disk.faults.gate.lock();
    let first = settle(1);
    until("the first blob is being synced", || store.usage().syncs == before + 1).await;
    let others: Vec<_> = (2..52).map(settle).collect();
    until("fifty more wait in line", || store.appender.queued() == 50).await;
    drop(gate);
    for stored in join_all(others.into_iter().chain([first])).await {
        let (place, digest) = stored.unwrap();
        store.verify(place, digest).await.unwrap();
    }
    assert_eq!(store.usage().syncs, before + 2);
}

/// Dropped while its blob is being synced, a settle leaves no blob, no buffer and no room in use.
#[tokio::test]
async fn a_dropped_settle_leaves_nothing() {
    for length in [5000, 3 * MIB] {
        let fixture = fixture();
        let store = &fixture.store;
        let kept = put(store, &noise(100, 0)).await.unwrap();
        let before = store.usage();
        let spooled = spool(store, &noise(length, 1), MIB).await.unwrap();
        let gate = store.core.disk.faults.gate.lock();
        {
            let mut settle = pin!(store.settle(spooled));
            assert!(poll_immediate(&mut settle).await.is_none());
            until("the blob is being synced", || store.usage().syncs == before.syncs + 1).await;
        }
        drop(gate);
        let after = put(store, &noise(100, 2)).await.unwrap();
        until("the blob is given back", || store.usage().blobs == 2 && files(&fixture.dir).len() == 1).await;
        assert_eq!(store.usage().buffers_in, 0);
        for (place, digest) in [kept, after] {
            store.verify(place, digest).await.unwrap();
        }
    }
}

/// A write dropped half-way has taken an unknown part of its bytes: the stream must not be believed after that.
#[tokio::test]
async fn a_dropped_write_spoils_the_stream() {
    let fixture = fixture_with(|options| options.buffer_budget_bytes = 0);
    let mut first = fixture.store.receive().await.unwrap();
    assert!(poll_immediate(pin!(first.write(&noise(5 * MIB, 1)))).await.is_none());
    assert!(matches!(first.write(b"more").await, Err(StoreError::Interrupted)));
    assert!(matches!(first.finish(&syntax()).await.map(|_| ()), Err(StoreError::Interrupted)));
    until("all comes back", || fixture.store.usage().buffers_in == 0 && files(&fixture.dir).is_empty()).await;
}

/// What was read ahead holds memory while its owner may wait for more: whoever must wait takes it back.
#[tokio::test]
async fn what_is_read_ahead_keeps_nobody_waiting() {
    let fixture = fixture_with(|options| options.buffer_budget_bytes = 0);
    let store = &fixture.store;
    let data = noise(MIB, 1);
    let (place, digest) = put(store, &data).await.unwrap();
    let ahead: Vec<Ahead> = (0..8).map(|_| store.ahead(place, digest)).collect();
    let first = within_a_minute(store.read(place, digest, None)).await.unwrap();
    let second = within_a_minute(store.read(place, digest, None)).await.unwrap();
    assert!(second.remaining() > 0);
    drop((first, second));
    for ahead in ahead {
        let reader = within_a_minute(store.read_on(place, digest, ahead)).await.unwrap();
        assert!(within_a_minute(read_all(reader)).await.1.unwrap() == data);
    }
    until("all buffers are back", || store.usage().buffers_out == 0).await;
    drop(store.ahead(place, digest));
    until("a read that nobody wants gives its buffer back", || store.usage().buffers_out == 0).await;
}
