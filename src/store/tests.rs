//! The store on real files: what goes in comes out, whatever its size and however it is cut up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod concurrency;
mod damage;
mod faults;
mod recovery;

use super::*;
use crate::dicom::uid::TransferSyntaxUid;
use proptest::prelude::*;
use std::time::Duration;
use tempfile::TempDir;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Sizes around each border: nothing, a page, the label's room, the first buffers, a small object, several chunks.
const SIZES: [usize; 19] = [
    0,
    1,
    3839,
    3840,
    3841,
    4095,
    4096,
    4097,
    16 * KIB,
    16 * KIB + 1,
    80 * KIB,
    525_600,
    MIB - 1,
    MIB,
    MIB + 1,
    MIB + 80 * KIB,
    MIB + 80 * KIB + 1,
    5 * MIB,
    5 * MIB + 77,
];

/// A store in a directory of its own, which goes when this does.
struct Fixture {
    store: Store,
    dir: TempDir,
}

fn options(dir: &TempDir) -> StoreOptions {
    StoreOptions { reserve_bytes: Some(0), segment_bytes: 8 << 20, ..StoreOptions::at(dir.path()) }
}

fn fixture() -> Fixture {
    fixture_with(|_| ())
}

fn fixture_with(change: impl FnOnce(&mut StoreOptions)) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&dir);
    change(&mut options);
    Fixture { store: Store::open(options, []).unwrap().0, dir }
}

/// Bytes that look random and differ with the seed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

fn syntax() -> TransferSyntaxUid {
    TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap()
}

async fn spool(store: &Store, data: &[u8], step: usize) -> Result<Spooled, StoreError> {
    let mut receiving = store.receive().await?;
    for piece in data.chunks(step) {
        receiving.write(piece).await?;
    }
    assert_eq!(receiving.length(), data.len() as u64);
    receiving.finish(&syntax()).await
}

async fn put(store: &Store, data: &[u8]) -> Result<(Place, Digest), StoreError> {
    let spooled = spool(store, data, 128 * KIB).await?;
    let digest = spooled.digest();
    Ok((store.settle(spooled).await?, digest))
}

async fn get(store: &Store, place: Place, expect: Digest) -> Result<Vec<u8>, StoreError> {
    read_all(store.read(place, expect, None).await?).await.1
}

/// Who waits for what is read ahead, as often as it likes, gets the same bytes, checked as well.
#[tokio::test]
async fn a_reader_that_is_held_goes_on_where_it_was() {
    let Fixture { store, .. } = &fixture();
    for length in SIZES {
        let data = noise(length, 11);
        let (place, digest) = put(store, &data).await.unwrap();
        for expect in [digest, Digest::of(b"other bytes")] {
            let mut got = Vec::new();
            let read = async {
                let mut reader = store.read(place, expect, None).await?;
                reader.hold().await?;
                while let Some(chunk) = reader.next().await? {
                    got.extend_from_slice(&chunk);
                    drop(chunk);
                    reader.hold().await?;
                    reader.hold().await?;
                }
                reader.hold().await?;
                Ok::<_, StoreError>(reader.remaining())
            };
            match read.await {
                Ok(left) => assert!(expect == digest && left == 0 && got == data, "{length}"),
                Err(error) => {
                    assert!(expect != digest && error.is_damage() && got.len() < length.max(1), "{length}: {error}")
                }
            }
        }
    }
}

/// What came before the end or the error, and which of the two it was.
async fn read_all(mut reader: BlobReader) -> (usize, Result<Vec<u8>, StoreError>) {
    let mut out = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(chunk)) => out.extend_from_slice(&chunk),
            Ok(None) => return (out.len(), Ok(out)),
            Err(error) => return (out.len(), Err(error)),
        }
    }
}

/// Waits until something is so; a minute of it not being so fails the test.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(what);
}

#[tokio::test]
async fn what_is_known_is_given_back_and_can_still_be_settled() {
    let fixture = fixture_with(|_| {});
    for (seed, length) in SIZES.into_iter().enumerate() {
        let data = noise(length, seed as u64);
        let spooled = spool(&fixture.store, &data, 128 * KIB).await.unwrap();
        let syncs = fixture.store.usage().syncs;
        let Settled::Known(again) = fixture.store.settle_unless(spooled, Box::new(|| true)).await.unwrap() else {
            panic!("{length}: written though it is known");
        };
        assert_eq!((fixture.store.usage().syncs, fixture.store.usage().blobs), (syncs, seed as u64), "{length}");
        assert_eq!((again.digest(), again.length()), (Digest::of(&data), length as u64));
        let Settled::Placed(place) = fixture.store.settle_unless(again, Box::new(|| false)).await.unwrap() else {
            panic!("{length}: not written though it is not known");
        };
        assert!(get(&fixture.store, place, Digest::of(&data)).await.unwrap() == data, "{length}");
    }
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    for direct in [true, false] {
        let fixture = fixture_with(|options| options.direct = direct);
        let mut places = vec![];
        for (seed, length) in SIZES.into_iter().enumerate() {
            let data = noise(length, seed as u64);
            let spooled = spool(&fixture.store, &data, 4097 + 1000 * seed).await.unwrap();
            assert_eq!((spooled.digest(), spooled.length()), (Digest::of(&data), length as u64), "{length}");
            let place = fixture.store.settle(spooled).await.unwrap();
            assert_eq!((place.length, place.offset % 4096), (length as u64, 0));
            assert_eq!(place.shared, length <= MIB + 80 * KIB, "{length}");
            places.push((place, data));
        }
        for (place, data) in &places {
            assert!(get(&fixture.store, *place, Digest::of(data)).await.unwrap() == *data, "{place:?}");
            fixture.store.verify(*place, Digest::of(data)).await.unwrap();
        }
        let usage = fixture.store.usage();
        assert_eq!((usage.blobs, usage.bytes), (SIZES.len() as u64, SIZES.iter().sum::<usize>() as u64));
        assert_eq!((usage.buffers_in, usage.buffers_out, usage.direct && !direct), (0, 0, false));
    }
}

#[tokio::test]
async fn segments_are_rotated_and_sealed() {
    let fixture = fixture();
    let mut places = vec![];
    for seed in 0..20 {
        places.push(put(&fixture.store, &noise(MIB, seed)).await.unwrap());
    }
    let files: std::collections::BTreeSet<u64> = places.iter().map(|(place, _)| place.file).collect();
    assert!(files.len() >= 3, "{files:?}");
    for (place, digest) in &places {
        fixture.store.verify(*place, *digest).await.unwrap();
    }
    let Fixture { store, dir } = fixture;
    drop(store);
    for file in files {
        let end = places.iter().filter(|(p, _)| p.file == file).map(|(p, _)| p.end()).max().unwrap();
        assert_eq!(fs::metadata(dir.path().join(place::file_name(file, true))).unwrap().len(), end);
    }
}

#[tokio::test]
async fn objects_above_the_limit_are_refused() {
    let fixture = fixture_with(|options| options.object_bytes = 2 << 20);
    let mut receiving = fixture.store.receive().await.unwrap();
    receiving.write(&noise(2 * MIB, 1)).await.unwrap();
    assert!(matches!(receiving.write(&[0]).await, Err(StoreError::TooLarge { limit: 0x20_0000 })));
    assert!(matches!(receiving.write(&[]).await, Err(StoreError::Interrupted)));
    assert!(matches!(receiving.finish(&syntax()).await, Err(StoreError::Interrupted)));
    until("the file goes", || files(&fixture.dir).is_empty()).await;
}

#[tokio::test]
async fn freed_blobs_are_gone_and_others_are_not() {
    let fixture = fixture();
    let Fixture { store, dir } = &fixture;
    for length in [5000, 3 * MIB] {
        let (first, digest) = put(store, &noise(length, 1)).await.unwrap();
        let (second, other) = put(store, &noise(length, 2)).await.unwrap();
        // A place that is nearly right frees nothing.
        let wrong = Place { length: first.length - 1, ..first };
        assert!(matches!(store.free(wrong).await, Err(StoreError::Missing { .. })));
        store.verify(first, digest).await.unwrap();
        store.free(first).await.unwrap();
        store.free(first).await.unwrap();
        assert!(store.verify(first, digest).await.unwrap_err().is_damage());
        store.verify(second, other).await.unwrap();
    }
    assert_eq!((store.usage().blobs, store.usage().bytes), (2, 5000 + 3 * MIB as u64));
    assert_eq!(files(dir).iter().filter(|name| name.ends_with(".obj")).count(), 1);
}

#[tokio::test]
async fn what_is_not_settled_leaves_nothing() {
    let fixture = fixture();
    for length in [5000, 3 * MIB] {
        fixture.store.discard(spool(&fixture.store, &noise(length, 1), MIB).await.unwrap());
        let mut receiving = fixture.store.receive().await.unwrap();
        receiving.write(&noise(length, 2)).await.unwrap();
        drop(receiving);
    }
    until("files go and buffers come back", || files(&fixture.dir).is_empty() && fixture.store.usage().buffers_in == 0)
        .await;
    assert_eq!(fixture.store.usage().blobs, 0);
}

/// The blob files of the directory.
fn files(dir: &TempDir) -> Vec<String> {
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| place::parse_file_name(name).is_some()).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any size, cut up in any way, within any budget; any range of it is what it was.
    #[test]
    fn any_size_and_any_range(
        length in 0usize..3 * MIB,
        step in 1usize..400 * KIB,
        budget in 0usize..4 * MIB,
        ranges in prop::collection::vec((0.0f64..1.0, 0.0f64..1.0), 4),
    ) {
        let step = step.max(length / 500 + 1);
        runtime().block_on(async {
            let fixture = fixture_with(|options| options.buffer_budget_bytes = budget);
            let data = noise(length, step as u64);
            let spooled = spool(&fixture.store, &data, step).await.unwrap();
            let digest = spooled.digest();
            let place = fixture.store.settle(spooled).await.unwrap();
            assert!(get(&fixture.store, place, digest).await.unwrap() == data);
            for (a, b) in ranges {
                let (a, b) = ((a * length as f64) as usize, (b * length as f64) as usize);
                let range = a.min(b)..a.max(b);
                let reader = fixture.store.read(place, digest, Some(range.start as u64..range.end as u64)).await.unwrap();
                assert_eq!(reader.remaining(), range.len() as u64);
                assert!(read_all(reader).await.1.unwrap() == data[range]);
            }
            let past = fixture.store.read(place, digest, Some(0..length as u64 + 1)).await;
            assert!(matches!(past.map(|_| ()), Err(StoreError::OutOfRange { .. })));
        });
    }
}
