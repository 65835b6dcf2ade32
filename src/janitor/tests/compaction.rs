//! Segments that are emptied, beside readers, after a crash, and half-way (FLT-014).

use super::*;
use crate::dicom::fired::note_fired;

const LENGTH: usize = 50_000;

/// A segment of which little lives is emptied; what lives is whole, for who knew the old place as well.
#[tokio::test]
async fn mostly_dead_segments_are_compacted_beside_readers() {
    let house = House::new(options()).await;
    for n in 1..=60 {
        house.keep(n, LENGTH, if n % 10 == 0 { DAY } else { 40 * DAY }, true).await;
    }
    let before = house.segments();
    assert!(before >= 3, "{before} segments");
    let (old, digest) = (house.place(10, LENGTH).await.unwrap(), Digest::of(&bytes(10, LENGTH)));
    let mut reader = house.store.read(old, digest, None).await.unwrap();
    assert_eq!(house.janitor.purge().await.unwrap().by_age, 54);
    for _ in 0..before {
        house.janitor.compact().await.unwrap();
    }
    assert_eq!(house.segments(), 1, "of {before}, only the one that is being written");
    assert_ne!(house.place(10, LENGTH).await.unwrap(), old);
    house.store.verify(old, digest).await.unwrap();
    let mut read = 0;
    while let Some(bytes) = reader.next().await.unwrap() {
        read += bytes.len();
    }
    assert_eq!(read, LENGTH, "who was reading read on");
    for n in (10..=60).step_by(10) {
        assert!(house.is_whole(n, LENGTH).await, "{n}");
    }
    assert_eq!(house.store.usage().blobs, 6);
    house.verify_ledger().await;
    let (house, lost) = house.restart(options()).await;
    assert_eq!((lost.len(), house.store.usage().blobs), (0, 6));
}

/// A blob that is durable and not committed yet keeps its segment (FLT-003).
#[tokio::test]
async fn a_segment_with_an_uncommitted_blob_stays() {
    let house = House::new(options()).await;
    let waiting = house.write(1000, LENGTH).await;
    for n in 1..=40 {
        house.keep(n, LENGTH, 40 * DAY, true).await;
    }
    house.janitor.purge().await.unwrap();
    for _ in 0..3 {
        house.janitor.compact().await.unwrap();
    }
    house.store.verify(waiting, Digest::of(&bytes(1000, LENGTH))).await.unwrap();
    assert_eq!(house.segments(), 2, "the one with the blob, and the one that is being written");
}

/// FLT-014: killed between the commit of the new place and the removal of the old segment, or before that commit.
#[tokio::test]
async fn a_crash_in_a_compaction_leaves_each_blob_once() {
    let house = House::new(options()).await;
    for n in 1..=40 {
        house.keep(n, LENGTH, if n <= 2 { DAY } else { 40 * DAY }, true).await;
    }
    house.janitor.purge().await.unwrap();
    let file = house.place(1, LENGTH).await.unwrap().file;
    let blobs = house.records.blobs_in(file).await.unwrap();
    assert_eq!(blobs.len(), 2);
    let (blob, digest, place) = blobs[0];
    let copied = house.store.copy(place, digest).await.unwrap();
    assert!(house.records.moved(blob, place, copied).await.unwrap());
    let abandoned = house.store.copy(blobs[1].2, blobs[1].1).await.unwrap();
    let (house, lost) = house.restart(options()).await;
    assert_eq!(lost, []);
    assert!(house.is_whole(1, LENGTH).await && house.is_whole(2, LENGTH).await);
    assert_eq!(house.place(2, LENGTH).await.unwrap(), blobs[1].2, "the old place");
    assert!(house.store.verify(abandoned, blobs[1].1).await.is_err(), "the copy that no row names is gone");
    house.verify_ledger().await;
    note_fired(1);
}

/// Forty blobs in segments of twenty or so, of which two are not purged, and lie in the first.
async fn two_of_forty() -> (House, Vec<(BlobId, Digest, Place)>) {
    let house = House::new(options()).await;
    for n in 1..=40 {
        house.keep(n, LENGTH, if n == 1 || n == 20 { DAY } else { 40 * DAY }, true).await;
    }
    house.janitor.purge().await.unwrap();
    let file = house.place(1, LENGTH).await.unwrap().file;
    let blobs = house.records.blobs_in(file).await.unwrap();
    assert_eq!(blobs.len(), 2);
    (house, blobs)
}

impl House {
    /// As far as a compaction comes with one blob.
    async fn begin_to_move(&self, (blob, digest, place): (BlobId, Digest, Place)) {
        let copied = self.store.copy(place, digest).await.unwrap();
        assert!(self.records.moved(blob, place, copied).await.unwrap());
        self.store.note_moved(place, copied);
    }

    async fn compact_often(&self) {
        for _ in 0..4 {
            self.janitor.compact().await.unwrap();
        }
    }

    fn has(&self, file: u64) -> bool {
        self.dir.path().join("blobs").join(format!("{file:016x}.seg")).exists()
    }
}

/// A compaction that ended half-way, as on a full disk, is gone on with; what it had moved does not keep the segment.
#[tokio::test]
async fn a_compaction_that_ended_half_way_is_gone_on_with() {
    let (house, blobs) = two_of_forty().await;
    house.begin_to_move(blobs[0]).await;
    house.compact_often().await;
    assert!(!house.has(blobs[0].2.file));
    assert!(house.is_whole(1, LENGTH).await && house.is_whole(20, LENGTH).await);
    assert_eq!(house.store.usage().blobs, 2);
    note_fired(1);
}

/// The same when it has moved all, and when a restart has forgotten what was moved: patients' data does not stay for good.
#[tokio::test]
async fn a_segment_without_a_row_goes_after_a_restart() {
    for moved in [1, 2] {
        let (house, blobs) = two_of_forty().await;
        let file = blobs[0].2.file;
        // The segment is of an earlier run by now.
        let (house, _) = house.restart(options()).await;
        for blob in blobs.iter().take(moved) {
            house.begin_to_move(*blob).await;
        }
        let (house, _) = house.restart(options()).await;
        assert!(house.has(file), "{moved} moved");
        house.compact_often().await;
        assert!(!house.has(file), "{moved} moved");
        assert!(house.is_whole(1, LENGTH).await && house.is_whole(20, LENGTH).await);
        assert_eq!(house.store.usage().blobs, 2);
        house.verify_ledger().await;
        note_fired(1);
    }
}

/// The same segment in a store whose records may not know all of it: the labels count, and the blobs in it stay where they are.
#[tokio::test]
async fn a_segment_that_the_records_may_not_know_stays() {
    let house = House::new(options()).await;
    // Older records would not know this one.
    let unknown = house.write(1000, LENGTH).await;
    let instance = house.keep(1, LENGTH, DAY, true).await;
    for n in 2..=40 {
        house.keep(n, LENGTH, 40 * DAY, true).await;
    }
    house.janitor.purge().await.unwrap();
    let known = house.place(1, LENGTH).await.unwrap();
    assert_eq!(known.file, unknown.file);
    let House { dir, records, store, janitor } = house;
    records.close().await;
    drop((records, store, janitor));
    Store::set_apart(dir.path().join("blobs")).unwrap();
    let (house, _) = House::open_as(dir, options(), Standing::Unknown).await;
    house.compact_often().await;
    assert!(house.has(known.file));
    assert_eq!(house.place(1, LENGTH).await.unwrap(), known, "moving it would free nothing");
    house.store.verify(unknown, Digest::of(&bytes(1000, LENGTH))).await.unwrap();
    // When the last that is known has gone, the segment stays for the other.
    let purging = Purging::by("jo", "a test").unwrap();
    house.janitor.drop_bytes(vec![instance], purging).await.unwrap();
    house.compact_often().await;
    house.store.verify(unknown, Digest::of(&bytes(1000, LENGTH))).await.unwrap();
    note_fired(1);
}

/// A damaged blob keeps its segment: the others are not copied, which would leave them there twice.
#[tokio::test]
async fn beside_a_damaged_blob_nothing_is_moved() {
    let (house, blobs) = two_of_forty().await;
    house.flip(20, LENGTH).await;
    house.compact_often().await;
    assert_eq!(house.summary().await.exceptions["corrupt"], 1);
    assert_eq!(house.place(1, LENGTH).await.unwrap(), blobs[0].2);
    assert_eq!(house.store.usage().blobs, 2);
    note_fired(1);
}
