//! Damaged, cut and missing files are found before the last byte is handed out (REL-07, FLT-024, FLT-027).

use super::*;
use crate::dicom::fired::note_fired;
use std::os::unix::fs::FileExt;

fn open(fixture: &Fixture, place: Place) -> fs::File {
    fs::OpenOptions::new().read(true).write(true).open(fixture.dir.path().join(place.file_name())).unwrap()
}

#[tokio::test]
async fn a_flipped_bit_withholds_the_last_chunk() {
    let fixture = fixture();
    for length in [1, 5000, 525_600, 3 * MIB + 1] {
        let (place, digest) = put(&fixture.store, &noise(length, 3)).await.unwrap();
        let (neighbour, other) = put(&fixture.store, &noise(length, 4)).await.unwrap();
        for at in [0, length / 2, length - 1] {
            let file = open(&fixture, place);
            let mut byte = [0];
            file.read_exact_at(&mut byte, place.offset + at as u64).unwrap();
            file.write_all_at(&[byte[0] ^ 4], place.offset + at as u64).unwrap();
            let (before, error) = match fixture.store.read(place, digest, None).await {
                Ok(reader) => {
                    let (before, result) = read_all(reader).await;
                    (before, result.unwrap_err())
                }
                Err(error) => (0, error),
            };
            assert!(before < length, "{length}, byte {at}: {before} bytes were let out");
            assert!(matches!(error, StoreError::Corrupt { expected, found: Some(_) } if expected == digest), "{error}");
            assert!(error.is_damage());
            note_fired(1);
            file.write_all_at(&byte, place.offset + at as u64).unwrap();
            fixture.store.verify(place, digest).await.unwrap();
        }
        fixture.store.verify(neighbour, other).await.unwrap();
    }
    assert_eq!(fixture.store.poisoned(), None);
}

/// What is read ahead is read as it would be later: checked, of the blob that is asked for and no other, and its memory comes back.
#[tokio::test]
async fn what_is_read_ahead_is_checked_like_anything_else() {
    let fixture = fixture();
    let store = &fixture.store;
    for length in [0, 1, 5000, 525_600, 3 * MIB + 1] {
        let (data, other) = (noise(length, 5), noise(length + 1, 6));
        let (place, digest) = put(store, &data).await.unwrap();
        let (next, of_next) = put(store, &other).await.unwrap();
        let ahead = store.ahead(place, digest);
        assert_eq!(read_all(store.read_on(place, digest, ahead).await.unwrap()).await.1.unwrap(), data);
        let ahead = store.ahead(place, digest);
        assert_eq!(read_all(store.read_on(next, of_next, ahead).await.unwrap()).await.1.unwrap(), other);
        if length > 0 {
            let file = open(&fixture, place);
            let mut byte = [0];
            file.read_exact_at(&mut byte, place.offset).unwrap();
            file.write_all_at(&[byte[0] ^ 4], place.offset).unwrap();
            let ahead = store.ahead(place, digest);
            let (before, result) = match store.read_on(place, digest, ahead).await {
                Ok(reader) => read_all(reader).await,
                Err(error) => (0, Err(error)),
            };
            assert!(before < length && matches!(result, Err(StoreError::Corrupt { .. })), "{length}: {before}");
        }
        drop(store.ahead(next, of_next));
    }
    while store.usage().buffers_out > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_reader_that_failed_never_ends_well() {
    let fixture = fixture();
    let (place, _) = put(&fixture.store, &noise(3 * MIB, 3)).await.unwrap();
    let mut reader = fixture.store.read(place, Digest::of(b"something else"), None).await.unwrap();
    while let Ok(chunk) = reader.next().await {
        assert!(chunk.is_some());
    }
    assert!(matches!(reader.next().await, Err(StoreError::Interrupted)));
}

#[tokio::test]
async fn cut_and_missing_files_are_told_apart() {
    let fixture = fixture();
    for length in [5000, 3 * MIB] {
        let (place, digest) = put(&fixture.store, &noise(length, 3)).await.unwrap();
        open(&fixture, place).set_len(place.offset + place.length - 1).unwrap();
        let error = fixture.store.verify(place, digest).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { found: None, .. }), "{error}");
        note_fired(1);
        fs::remove_file(fixture.dir.path().join(place.file_name())).unwrap();
        let error = fixture.store.verify(place, digest).await.unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }) && error.is_damage(), "{error}");
        note_fired(1);
    }
}

#[tokio::test]
async fn labels_say_what_lies_there() {
    let fixture = fixture();
    for length in [0, 5000, MIB, 3 * MIB] {
        let (place, digest) = put(&fixture.store, &noise(length, 3)).await.unwrap();
        let mut bytes = [0; label::LABEL];
        open(&fixture, place).read_exact_at(&mut bytes, place.end() - 256).unwrap();
        let found = label::Label::decode(&bytes, &fixture.store.core.identity.store).unwrap();
        assert_eq!(found, label::Label { place, digest, transfer_syntax: syntax() });
    }
}

/// A label with a flipped bit leaves its blob unnamed, not unseen: it is counted, and no segment is taken for empty with it.
#[tokio::test]
async fn what_no_label_covers_is_counted_and_keeps_its_segment() {
    for spoilt in [None, Some(0), Some(1), Some(2)] {
        let Fixture { store, dir } = fixture();
        let mut places = vec![];
        for seed in 0..3 {
            places.push(put(&store, &noise(5000 * (seed + 1), seed as u64)).await.unwrap().0);
        }
        drop(store);
        // As after a rebuild: what no row names is kept.
        Store::set_apart(dir.path()).unwrap();
        let (store, _) = Store::open_for(options(&dir), (Standing::Unknown, None), places.clone()).unwrap();
        let fixture = Fixture { store, dir };
        let mut bare = 0;
        if let Some(place) = spoilt.map(|n: usize| places[n]) {
            let file = open(&fixture, place);
            let mut byte = [0];
            file.read_exact_at(&mut byte, place.end() - 100).unwrap();
            file.write_all_at(&[byte[0] ^ 4], place.end() - 100).unwrap();
            bare = place.extent();
        }
        let reader = StoreReader::open(fixture.dir.path()).unwrap();
        let (labelled, unlabelled) = reader.labelled(places[0].file, true).await.unwrap();
        assert_eq!((labelled.len(), unlabelled), (3 - usize::from(bare > 0), bare), "{spoilt:?}");
        assert_eq!(fixture.store.holds_only(places[0].file, places.clone()).await.unwrap(), bare == 0, "{spoilt:?}");
        places.iter().for_each(|place| fixture.store.note_moved(*place, Place { file: u64::MAX, ..*place }));
        let emptied = fixture.store.remove_segment(places[0].file).await.unwrap();
        assert_eq!(matches!(emptied, Emptied::Kept), bare > 0, "{spoilt:?}: {emptied:?}");
    }
}

#[tokio::test]
async fn a_large_object_without_a_label_is_counted() {
    let fixture = fixture();
    let (place, digest) = put(&fixture.store, &noise(3 * MIB, 1)).await.unwrap();
    let reader = StoreReader::open(fixture.dir.path()).unwrap();
    let (labelled, unlabelled) = reader.labelled(place.file, false).await.unwrap();
    assert_eq!((labelled, unlabelled), (vec![(place, digest, syntax())], 0));
    open(&fixture, place).write_all_at(&[1], place.end() - 1).unwrap();
    let (labelled, unlabelled) = reader.labelled(place.file, false).await.unwrap();
    assert_eq!((labelled.len(), unlabelled), (0, place.end()));
}
