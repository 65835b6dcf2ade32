//! The pace at which blobs are read again (REL-07).

use super::*;

/// REL-07: the rate bounds a long blob while it is read, not only once it has been.
#[tokio::test]
async fn within_a_long_blob_the_scrub_rests_too() {
    const LONG: usize = 12 << 20;
    let house = House::new(JanitorOptions { scrub_bytes: 4 << 20, ..options() }).await;
    house.keep(1, LONG, DAY, true).await;
    house.keep(2, 200_000, DAY, true).await;
    tokio::time::pause();
    // Reading takes no time by this clock, and what is left of the last piece is rested for by whoever has it read.
    for (n, length, rests) in [(1, LONG, 2), (2, 200_000, 0)] {
        let digest = Digest::of(&bytes(n, length));
        let (blob, place) = house.records.blob_of(&digest).await.unwrap().unwrap();
        let began = Instant::now();
        assert!(!house.janitor.read_again(blob, digest, place).await.unwrap(), "it is whole");
        let rested = began.elapsed();
        let (least, most) = (Duration::from_secs(rests), Duration::from_millis(rests * 1000 + 500));
        assert!((least..=most).contains(&rested), "{length} bytes at 4 MiB a second: {rested:?}");
    }
}
