//! What people ask of the janitor: to let everything be while a backup is made, and to purge at once.

use super::*;
use crate::ledger::entry::{Entry, Fact, Kind};
use crate::records::What;

const MINUTE: Duration = Duration::from_secs(60);

/// REL-05: of two backups at once the one that is done first does not end the pause of the other.
#[tokio::test]
async fn each_backup_ends_its_own_pause_alone() {
    let house = House::new(options()).await;
    let one = house.keep(1, 5000, DAY, true).await;
    let drop = || house.janitor.drop_bytes(vec![one], Purging::by("jo", "a test").unwrap());
    assert!(house.janitor.pause("first", MINUTE).await && house.janitor.pause("second", MINUTE).await);
    assert!(house.janitor.pause("first", MINUTE).await, "it asks again and again");
    assert!(house.janitor.pause("first", Duration::ZERO).await);
    let dropped = drop().await;
    assert!(matches!(dropped, Err(JanitorError::Paused)), "the second is being made: {dropped:?}");
    assert!(house.janitor.pause("a third", Duration::ZERO).await, "one that is not known ends nothing");
    assert!(matches!(drop().await, Err(JanitorError::Paused)));
    assert!(house.janitor.pause("second", Duration::ZERO).await);
    assert_eq!(drop().await.unwrap().instances, 1);
}

#[tokio::test]
async fn so_many_backups_at_once_and_no_more() {
    let house = House::new(options()).await;
    for n in 0..PAUSES {
        assert!(house.janitor.pause(&format!("backup {n}"), MINUTE).await);
    }
    assert!(!house.janitor.pause("one more", MINUTE).await);
    assert!(house.janitor.pause("backup 0", MINUTE).await, "who has one keeps it");
    assert!(house.janitor.pause("backup 0", Duration::ZERO).await && house.janitor.pause("one more", MINUTE).await);
}

/// REL-05, UIX-09: a person who has due bytes purged while a backup is made is told so, and not that there was nothing to purge. The rounds
/// go on, and purge once the backup is done.
#[tokio::test]
async fn a_purge_during_a_backup_tells_that_it_is_paused() {
    let house = House::new(options()).await;
    house.keep(1, 5000, 40 * DAY, true).await;
    assert!(house.janitor.pause("a backup", MINUTE).await);
    let asked = house.janitor.purge_for(Some(("jo", "full"))).await;
    assert!(matches!(asked, Err(JanitorError::Paused)), "{asked:?}");
    assert_eq!(house.janitor.purge().await.unwrap(), PurgeReport { is_paused: true, ..Default::default() });
    assert!(house.is_whole(1, 5000).await);
    assert!(house.janitor.pause("a backup", Duration::ZERO).await);
    let report = house.janitor.purge_for(Some(("jo", "full"))).await.unwrap();
    assert_eq!(report, PurgeReport { by_age: 1, bytes: 5000, ..Default::default() });
    house.verify_ledger().await;
}

/// LED-030, UIX-09: bytes that go because a person asked for it go with a name, and a reason if there is one, and by the same rules.
#[tokio::test]
async fn a_purge_that_a_person_asked_for_has_their_name() {
    for reason in ["the disk is full", ""] {
        let house = House::new(options()).await;
        house.keep(1, 5000, 40 * DAY, true).await;
        house.keep(2, 5000, DAY, true).await;
        assert!(house.janitor.purge_for(Some((" ", reason))).await.is_err(), "a person has a name");
        assert_eq!(house.janitor.purge_for(Some(("jo", reason))).await.unwrap().by_age, 1, "what is due, and no more");
        let uid = InstanceUid::parse("1.2.3.1").unwrap();
        let story = house.records.why_instance(&uid, SystemTime::now()).await.unwrap();
        let words = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        let by_jo = What::Purged { rule: crate::records::PurgeRule::Age, who: Some("jo".into()), words: words.clone() };
        assert!(story.iter().any(|event| event.what == by_jo), "{story:#?}");
        let lines = house.records.ledger_page(0).await.unwrap();
        let mut entries = lines.iter().map(|line| Entry::parse(&line.bytes).unwrap());
        let entry = entries.rfind(|entry| entry.kind == Kind::Condemned).unwrap();
        let who = entry.facts.get("who").and_then(Fact::text);
        assert_eq!((who, entry.facts.contains_key("words")), (Some("jo"), words.is_some()));
        house.verify_ledger().await;
    }
}
