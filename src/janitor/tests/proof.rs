//! When the records are verified, and what is kept of that.

use super::*;
use crate::records::Verified;

/// LED-006: the records are verified a while after the first start and then once a day, restarts or not; a finding is looked at again soon.
#[tokio::test]
async fn the_records_are_verified_when_it_is_time() {
    let house = House::new(options()).await;
    house.keep(1, 5000, DAY, false).await;
    let hour = Duration::from_secs(3600);
    let verified = |house: &House| {
        let records = house.records.clone();
        async move { records.verified().await.unwrap() }
    };
    let wait = house.janitor.prove_next(DAY).await.unwrap();
    assert!(wait > hour - Duration::from_secs(60) && wait <= hour, "{wait:?}");
    assert_eq!(verified(&house).await, None);
    tokio::time::pause();
    tokio::time::advance(hour).await;
    tokio::time::resume();
    assert!(house.janitor.prove_next(DAY).await.unwrap() > 23 * hour);
    let first = verified(&house).await.unwrap();
    assert!(first.is_sound() && first.entries >= 2 && first.sound == Some(first.ended), "{first:?}");
    let (house, _) = house.restart(options()).await;
    assert!(house.janitor.prove_next(DAY).await.unwrap() > 23 * hour, "what is noted outlasts a restart");
    assert_eq!(verified(&house).await.unwrap(), first);
    let later = |after: Duration| {
        let (records, store, judge) = (house.records.clone(), house.store.clone(), house.janitor.inner.judge.clone());
        Janitor::with_clock(Clock::of(move || SystemTime::now() + after), records, store, judge, options())
    };
    assert!(later(23 * hour).prove_next(DAY).await.unwrap() > hour - Duration::from_secs(60));
    later(25 * hour).prove_next(DAY).await.unwrap();
    let second = verified(&house).await.unwrap();
    assert!(second.is_sound() && second.began > first.ended && second.entries > first.entries, "{second:?}");
    let unsound = Verified { problems: 2, first: Some("entry 2".into()), ..second.clone() };
    house.records.note_verified(unsound.clone()).await.unwrap();
    assert!(later(25 * hour).prove_next(DAY).await.unwrap() > hour - Duration::from_secs(60));
    assert_eq!(verified(&house).await.unwrap(), unsound, "it stays until it is found sound");
    later(27 * hour).prove_next(DAY).await.unwrap();
    assert!(verified(&house).await.unwrap().is_sound());
}

/// LED-006, A700: on a disk that is short of room nothing is verified, and nothing takes more of it.
#[tokio::test]
async fn the_records_are_not_verified_while_the_disk_is_short_of_room() {
    let house = House::new(JanitorOptions { room_bytes: Some(u64::MAX), ..options() }).await;
    house.keep(1, 5000, DAY, false).await;
    let tried = house.janitor.prove_next(Duration::ZERO).await;
    assert!(matches!(tried, Err(JanitorError::NoRoom)), "{tried:?}");
    assert_eq!(house.records.verified().await.unwrap(), None);
    let (house, _) = house.restart(options()).await;
    house.janitor.prove_next(Duration::ZERO).await.unwrap();
    assert!(house.records.verified().await.unwrap().unwrap().is_sound());
}
