//! Failing calls: errors of the disk poison, a full disk does not (REL-04, FLT-020 to FLT-023).

use super::*;
use rustix::io::Errno;

/// Objects that take each way to the disk: with a segment, with a file of their own.
const BOTH: [usize; 2] = [5000, 3 * MIB];

fn fail_write(store: &Store, errno: Errno) {
    store.core.disk.faults.write.store(errno.raw_os_error(), Ordering::SeqCst);
}

fn fail_sync(store: &Store, errno: Errno) {
    store.core.disk.faults.sync.store(errno.raw_os_error(), Ordering::SeqCst);
}

/// Everything that would add to the store is refused, at once; what it holds can still be read.
async fn assert_stopped(store: &Store, kept: (Place, Digest)) {
    assert!(store.poisoned().is_some());
    assert!(matches!(store.receive().await.map(|_| ()), Err(StoreError::Poisoned(_))));
    assert!(matches!(store.room(0), Err(StoreError::Poisoned(_))));
    assert!(matches!(store.free(kept.0).await, Err(StoreError::Poisoned(_))));
    store.verify(kept.0, kept.1).await.unwrap();
}

#[tokio::test]
async fn a_failed_write_poisons() {
    for length in BOTH {
        let Fixture { store, dir } = fixture();
        let kept = put(&store, &noise(100, 1)).await.unwrap();
        fail_write(&store, Errno::IO);
        assert!(matches!(put(&store, &noise(length, 2)).await, Err(StoreError::Poisoned(_))), "{length}");
        assert_stopped(&store, kept).await;
        drop(store);
        // A restart recovers, and finds what was kept.
        let (store, recovered) = Store::open(options(&dir), [kept.0]).unwrap();
        assert_eq!((recovered.blobs, recovered.missing, recovered.damaged), (1, 0, 0));
        put(&store, &noise(length, 2)).await.unwrap();
    }
}

#[tokio::test]
async fn a_failed_sync_poisons_and_is_not_tried_again() {
    for length in BOTH {
        for errno in [Errno::IO, Errno::NOSPC] {
            let Fixture { store, dir: _dir } = fixture();
            let kept = put(&store, &noise(100, 1)).await.unwrap();
            let spooled = spool(&store, &noise(length, 2), MIB).await.unwrap();
            let waiting = spool(&store, &noise(length, 3), MIB).await.unwrap();
            let mut receiving = store.receive().await.unwrap();
            let syncs = store.usage().syncs;
            fail_sync(&store, errno);
            assert!(matches!(store.settle(spooled).await, Err(StoreError::Poisoned(_))), "{length}");
            assert_eq!(store.usage().syncs, syncs + 1);
            assert!(matches!(store.settle(waiting).await, Err(StoreError::Poisoned(_))));
            assert!(matches!(receiving.write(b"x").await, Err(StoreError::Poisoned(_))));
            assert_eq!(store.usage().syncs, syncs + 1);
            assert_stopped(&store, kept).await;
            assert_eq!(store.usage().blobs, 1);
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    for length in BOTH {
        let Fixture { store, dir: _dir } = fixture();
        put(&store, &noise(100, 1)).await.unwrap();
        fail_write(&store, Errno::NOSPC);
        let full = put(&store, &noise(length, 2)).await;
        // A file of its own asks for room ahead first, and then for no more than it needs.
        assert_eq!(matches!(full, Err(StoreError::Full { .. })), length < MIB, "{length}");
        assert_eq!(store.poisoned(), None);
        let (place, digest) = put(&store, &noise(length, 2)).await.unwrap();
        store.verify(place, digest).await.unwrap();
    }
}

#[tokio::test]
async fn new_work_is_refused_below_the_reserve() {
    let Fixture { store, dir: _dir } = fixture_with(|options| options.reserve_bytes = u64::MAX / 2);
    assert!(matches!(store.room(1), Err(StoreError::Full { .. })));
    // What was let in before still finishes.
    put(&store, &noise(5000, 1)).await.unwrap();
}
