//! Failing calls: errors of the disk poison, a full disk does not (REL-04, FLT-020 to FLT-023).

use super::*;
use crate::dicom::fired::note_fired;
use rustix::io::Errno;

/// Objects that take each way to the disk: with a segment, with a file of their own.
const BOTH: [usize; 2] = [5000, 3 * MIB];

/// Makes the write or sync fail that comes after `spare` others.
fn fail(fault: &disk::Fault, errno: Errno, spare: u64) {
    fault.spare.store(spare, Ordering::SeqCst);
    fault.errno.store(errno.raw_os_error(), Ordering::SeqCst);
}

/// Whether the failure has come.
fn has_failed(fault: &disk::Fault) -> bool {
    fault.errno.swap(0, Ordering::SeqCst) == 0
}

/// Everything that would add to the store is refused, at once; what it holds can still be read.
async fn assert_stopped(store: &Store, kept: (Place, Digest)) {
    assert!(store.poisoned().is_some());
    assert!(matches!(store.receive().await.map(|_| ()), Err(StoreError::Poisoned(_))));
    assert!(matches!(store.room(0), Err(StoreError::Poisoned(_))));
    assert!(matches!(store.free(kept.0).await, Err(StoreError::Poisoned(_))));
    store.verify(kept.0, kept.1).await.unwrap();
}

/// The k-th write fails, for each k of storing an object in a fresh store: the store stops, and a restart finds what was
/// acknowledged.
#[tokio::test]
async fn any_failed_write_poisons() {
    for length in BOTH {
        let mut fired = 0;
        for k in 0.. {
            let Fixture { store, dir } = fixture();
            let kept = put(&store, &noise(2 * MIB, 1)).await.unwrap();
            fail(&store.core.disk.faults.write, Errno::IO, k);
            let stored = put(&store, &noise(length, 2)).await;
            if !has_failed(&store.core.disk.faults.write) {
                stored.unwrap();
                break;
            }
            fired += 1;
            assert!(matches!(stored, Err(StoreError::Poisoned(_))), "{length}, write {k}");
            assert_stopped(&store, kept).await;
            drop(store);
            let (store, recovered) = Store::open(options(&dir), [kept.0]).unwrap();
            assert_eq!((recovered.blobs, recovered.missing, recovered.damaged), (1, 0, 0));
            put(&store, &noise(length, 2)).await.unwrap();
        }
        assert!(fired >= 2, "{length}: {fired} writes failed");
    }
}

/// The k-th write meets a full disk: that object is refused or stored, nothing else changes, and the next one is taken. What is refused is
/// told, though the file system says that there is room; what is stored is not (REL-06).
#[tokio::test]
async fn any_write_may_meet_a_full_disk() {
    for length in BOTH {
        let (mut fired, mut refused) = (0, 0);
        for k in 0.. {
            let Fixture { store, dir } = fixture();
            let kept = put(&store, &noise(2 * MIB, 1)).await.unwrap();
            fail(&store.core.disk.faults.write, Errno::NOSPC, k);
            let stored = put(&store, &noise(length, 2)).await;
            if !has_failed(&store.core.disk.faults.write) {
                stored.unwrap();
                break;
            }
            fired += 1;
            match stored {
                Ok((place, digest)) => {
                    assert_eq!(store.trouble().turned_away, None, "{length}, write {k}: it was taken");
                    store.verify(place, digest).await.unwrap();
                }
                Err(StoreError::Full { .. }) => {
                    refused += 1;
                    let wanted = store.trouble().turned_away.map(|last| last.wanted);
                    assert!(wanted.is_some_and(|wanted| wanted > 0), "{length}, write {k}: the refusal is told");
                    until("the unfinished file goes", || {
                        files(&dir).iter().filter(|name| name.ends_with(".obj")).count() == 1
                    })
                    .await;
                }
                Err(other) => panic!("{length}, write {k}: {other}"),
            }
            assert_eq!((store.poisoned(), store.usage().buffers_in), (None, 0));
            let (place, digest) = put(&store, &noise(length, 3)).await.unwrap();
            store.verify(place, digest).await.unwrap();
            store.verify(kept.0, kept.1).await.unwrap();
        }
        assert!(fired >= 2 && refused >= 1, "{length}: {fired} writes failed, {refused} objects refused");
        note_fired(fired);
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
            fail(&store.core.disk.faults.sync, errno, 0);
            assert!(matches!(store.settle(spooled).await, Err(StoreError::Poisoned(_))), "{length}");
            assert_eq!(store.usage().syncs, syncs + 1);
            assert!(matches!(store.settle(waiting).await, Err(StoreError::Poisoned(_))));
            assert!(matches!(receiving.write(b"x").await, Err(StoreError::Poisoned(_))));
            assert_eq!(store.usage().syncs, syncs + 1);
            assert_stopped(&store, kept).await;
            assert_eq!(store.usage().blobs, 1);
            note_fired((store.usage().syncs - syncs) as usize);
        }
    }
}

#[tokio::test]
async fn new_work_is_refused_below_the_reserve() {
    let Fixture { store, dir: _dir } = fixture_with(|options| options.reserve_bytes = Some(u64::MAX / 2));
    assert!(matches!(store.room(1), Err(StoreError::Full { .. })));
    // What was let in before still finishes.
    put(&store, &noise(5000, 1)).await.unwrap();
}

/// A segment is made no larger than leaves the reserve alone: the records could not grow for what may come (REL-06, FLT-022).
#[tokio::test]
async fn a_segment_takes_no_more_of_the_reserve_than_what_was_let_in_needs() {
    let (reserve, size) = (100 * MIB as u64, 32 * MIB as u64);
    // What is free above the reserve, and the size of the segment that is made.
    for (free, want) in [(32 * MIB, 32), (32 * MIB - 1, 16), (10 * MIB, 8), (5000, 8)] {
        let Fixture { store, dir: _dir } = fixture_with(|options| {
            (options.reserve_bytes, options.segment_bytes) = (Some(reserve), size);
        });
        store.core.disk.space.pretend(reserve + free as u64);
        let (place, digest) = put(&store, &noise(5000, 1)).await.unwrap();
        assert_eq!(store.file_bytes(place.file, true), Some(want * MIB as u64), "{free} bytes above the reserve");
        store.verify(place, digest).await.unwrap();
    }
}

/// One long object takes nothing of the reserve, and what is short is taken right after (REL-06, FLT-021).
#[tokio::test]
async fn a_long_object_leaves_the_reserve_alone() {
    let reserve = 100 * MIB as u64;
    let Fixture { store, dir: _dir } = fixture_with(|options| options.reserve_bytes = Some(reserve));
    // Its segment has its room before the disk is as full as is pretended.
    put(&store, &noise(1000, 1)).await.unwrap();
    let space = &store.core.disk.space;
    space.pretend(reserve + 8 * MIB as u64);
    let mut receiving = store.receive().await.unwrap();
    let (piece, mut taken) = (noise(MIB, 2), 0);
    let refused = loop {
        match receiving.write(&piece).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 32, "32 MiB were taken where 8 are spare");
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert!((6..=12).contains(&taken), "{taken} MiB were taken");
    assert!(space.free().unwrap() >= reserve);
    drop(receiving);
    store.room(0).unwrap();
    put(&store, &noise(1024, 3)).await.unwrap();
    assert!(!store.usage().refusing);
    note_fired(1);
}

/// REL-06: an object that is taken was not refused, though there is too little room to reserve ahead for it.
#[tokio::test]
async fn too_little_room_to_reserve_ahead_is_told_as_no_refusal() {
    let reserve = 100 * MIB as u64;
    let Fixture { store, dir: _dir } = fixture_with(|options| options.reserve_bytes = Some(reserve));
    let core = Arc::clone(&store.core);
    let mut file = own::OwnFile::create(&core).unwrap();
    let mut buffer = core.inward.take(buffers::Size::First).await;
    assert_eq!(buffer.push(&noise(16 * KIB, 1)), 16 * KIB);
    let piece = [buffer];
    core.disk.space.pretend(reserve + MIB as u64);
    file.append(&piece).unwrap();
    assert_eq!(store.trouble().turned_away, None);
    core.disk.space.pretend(reserve);
    assert!(matches!(file.append(&piece), Err(StoreError::Full { .. })));
    assert_eq!(store.trouble().turned_away.map(|last| last.wanted), Some(16 * KIB as u64));
}

/// REL-06: a directory in which no file can be made is told of until one can.
#[tokio::test]
async fn files_that_cannot_be_made_are_told_of_until_one_can() {
    let Fixture { store, dir } = fixture();
    let core = Arc::clone(&store.core);
    assert_eq!(store.trouble(), Trouble::default());
    // A name that is taken stands for whatever else makes it fail.
    let path = dir.path().join("taken");
    drop(core.disk.create(&path).unwrap());
    assert!(matches!(core.disk.create(&path), Err(StoreError::Io { .. })));
    let (_, why) = store.trouble().unmade.unwrap();
    assert!(why.starts_with(&format!("{}: ", dir.path().display())), "{why}");
    drop(core.disk.create(&dir.path().join("free")).unwrap());
    assert_eq!(store.trouble(), Trouble::default());
}
