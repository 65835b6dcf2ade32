//! What is written before an object is complete: it is there, it stays where it is, and nobody else's bytes suffer from it.

use super::*;

/// The first bytes of the last segment from `offset` on.
fn on_disk(dir: &TempDir, offset: u64, length: usize) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let names = files(dir);
    let name = names.iter().filter(|name| name.ends_with(".seg")).max().expect("a segment");
    let mut read = vec![0; length];
    let count = fs::File::open(dir.path().join(name)).unwrap().read_at(&mut read, offset).unwrap();
    read.truncate(count);
    read
}

/// The start of a lone stream is on the disk while the sender still sends, where its blob will lie.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_stream_is_written_ahead() {
    let fixture = fixture();
    let (first, _) = put(&fixture.store, &noise(5000, 1)).await.unwrap();
    let data = noise(800 * KIB, 2);
    let mut receiving = fixture.store.receive().await.unwrap();
    receiving.write(&data[..400 * KIB]).await.unwrap();
    until("its start is written", || on_disk(&fixture.dir, first.end(), 336 * KIB) == data[..336 * KIB]).await;
    receiving.write(&data[400 * KIB..]).await.unwrap();
    let spooled = receiving.finish(&syntax()).await.unwrap();
    let digest = spooled.digest();
    let place = fixture.store.settle(spooled).await.unwrap();
    assert_eq!((place.file, place.offset), (first.file, first.end()));
    assert!(get(&fixture.store, place, digest).await.unwrap() == data);
}

/// Who comes between takes the place, and the stream goes behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_between_takes_the_place() {
    let fixture = fixture();
    let (first, _) = put(&fixture.store, &noise(5000, 1)).await.unwrap();
    let data = noise(800 * KIB, 2);
    let mut receiving = fixture.store.receive().await.unwrap();
    receiving.write(&data[..700 * KIB]).await.unwrap();
    until("its start is written", || on_disk(&fixture.dir, first.end(), 5000) == data[..5000]).await;
    let (between, other) = put(&fixture.store, &noise(7000, 3)).await.unwrap();
    assert_eq!(between.offset, first.end());
    receiving.write(&data[700 * KIB..]).await.unwrap();
    let spooled = receiving.finish(&syntax()).await.unwrap();
    let digest = spooled.digest();
    let place = fixture.store.settle(spooled).await.unwrap();
    assert_eq!(place.offset, between.end());
    fixture.store.verify(place, digest).await.unwrap();
    fixture.store.verify(between, other).await.unwrap();
}

/// REL-04: a write ahead that fails stops the store as any other, and the object is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_ahead_that_fails_poisons() {
    let fixture = fixture();
    put(&fixture.store, &noise(5000, 1)).await.unwrap();
    let mut receiving = fixture.store.receive().await.unwrap();
    fixture.store.core.disk.faults.write.errno.store(5, Ordering::SeqCst);
    receiving.write(&noise(400 * KIB, 2)).await.unwrap();
    until("the store has stopped", || fixture.store.poisoned().is_some()).await;
    assert!(matches!(receiving.finish(&syntax()).await, Err(StoreError::Poisoned(_))));
}

/// A step of the property below, on one of three streams.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many bytes more.
    Write(usize),
    /// The rest of the bytes asked for, then settled; again if it is held, as an arrival whose blob was purged.
    Finish { held_first: bool },
    /// The sender goes away.
    Drop,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        6 => (1usize..500 * KIB).prop_map(Step::Write),
        3 => any::<bool>().prop_map(|held_first| Step::Finish { held_first }),
        1 => Just(Step::Drop),
    ];
    // Mostly one stream, so that much is written ahead.
    prop::collection::vec((prop_oneof![5 => Just(0usize), 1 => 1usize..3], step), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes, goes away, or comes between, in segments that fill up: each blob is what was sent, its label says so, and blobs
    /// follow each other without a gap.
    #[test]
    fn what_is_written_ahead_harms_nobody(steps in steps()) {
        runtime().block_on(async {
            let fixture = fixture_with(|options| options.segment_bytes = 6 << 20);
            let mut streams: [Option<(Receiving, Vec<u8>)>; 3] = [None, None, None];
            let mut placed = vec![];
            for (number, (which, step)) in steps.into_iter().enumerate() {
                let (mut receiving, mut sent) = match streams[which].take() {
                    Some(stream) => stream,
                    None => (fixture.store.receive().await.unwrap(), vec![]),
                };
                match step {
                    Step::Write(bytes) => {
                        let data = noise(bytes, number as u64);
                        receiving.write(&data).await.unwrap();
                        sent.extend(data);
                        streams[which] = Some((receiving, sent));
                    }
                    Step::Finish { held_first } => {
                        let mut spooled = receiving.finish(&syntax()).await.unwrap();
                        assert_eq!(spooled.digest(), Digest::of(&sent));
                        if held_first {
                            spooled = match fixture.store.settle_unless(spooled, Box::new(|| true)).await.unwrap() {
                                Settled::Known(again) => again,
                                Settled::Placed(_) => panic!("it is held"),
                            };
                        }
                        placed.push((fixture.store.settle(spooled).await.unwrap(), sent));
                    }
                    Step::Drop => {}
                }
            }
            drop(streams);
            let mut ends = std::collections::HashMap::new();
            for (place, sent) in &placed {
                assert!(get(&fixture.store, *place, Digest::of(sent)).await.unwrap() == *sent);
                if place.shared {
                    assert_eq!(ends.insert(place.file, place.end()).unwrap_or(0), place.offset);
                }
            }
            let reader = StoreReader::open(fixture.dir.path()).unwrap();
            let mut labelled = vec![];
            for (file, shared) in reader.files().await.unwrap() {
                labelled.extend(reader.labelled(file, shared).await.unwrap());
            }
            assert_eq!(labelled.len(), placed.len());
        });
    }
}
