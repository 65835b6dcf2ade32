//! Tests of the locations: which site has shown which study.

use super::support::*;
use crate::dicom::uid::StudyUid;
use crate::records::{Holder, PullEnded, SeenStudy};

fn study(n: u32) -> StudyUid {
    StudyUid::parse(&format!("1.2.3.{n}")).unwrap()
}

fn seen(n: u32, instances: Option<u64>) -> SeenStudy {
    SeenStudy { study: study(n), instances }
}

/// DIM-070: who has shown a study is known also after a restart, until it says that it has it no longer.
#[tokio::test]
async fn who_holds_a_study_is_remembered() {
    let site = Site::new();
    site.records.studies_seen_at("kent", vec![seen(1, Some(3)), seen(2, None)], noon()).await.unwrap();
    site.records.studies_seen_at("surrey", vec![seen(1, Some(7))], noon() + MINUTE).await.unwrap();
    let holder = |peer: &str, instances, seen| Holder { peer: peer.into(), instances, seen };
    let both = [holder("surrey", Some(7), noon() + MINUTE), holder("kent", Some(3), noon())];
    assert_eq!(site.records.holders(&study(1)).await.unwrap(), both);
    let key = site.records.marker_key().await.unwrap();
    let (site, _) = site.restart();
    assert_eq!(site.records.marker_key().await.unwrap(), key);
    assert!(key.len() >= 32, "a secret is long");
    assert_eq!(site.records.holders(&study(1)).await.unwrap(), both);
    assert_eq!(site.records.holders(&study(2)).await.unwrap(), [holder("kent", None, noon())]);
    // Seen again, without a number: the last number stays, and an older answer does not set the time back.
    site.records.studies_seen_at("kent", vec![seen(1, None)], noon() + HOUR).await.unwrap();
    site.records.studies_seen_at("kent", vec![seen(1, None)], noon()).await.unwrap();
    assert_eq!(site.records.holders(&study(1)).await.unwrap()[0], holder("kent", Some(3), noon() + HOUR));
    site.records.study_not_at("kent", &study(1)).await.unwrap();
    assert_eq!(site.records.holders(&study(1)).await.unwrap(), both[..1]);
    // When each last showed anything at all.
    assert_eq!(site.records.last_shown("surrey").await.unwrap(), Some(noon() + MINUTE));
    assert_eq!(site.records.last_shown("kent").await.unwrap(), Some(noon()), "its other study");
    assert_eq!(site.records.last_shown("essex").await.unwrap(), None);
    // What nobody has shown for a year is forgotten with the next answer.
    site.records.studies_seen_at("kent", vec![seen(9, None)], noon() + 367 * DAY).await.unwrap();
    assert_eq!(site.records.holders(&study(1)).await.unwrap(), []);
    assert_eq!(site.records.holders(&study(9)).await.unwrap().len(), 1);
    site.verify().await;
}

/// "Freshness": when a site last told what it has of a study that was pulled is kept also where nothing more was pulled, and is not set back.
/// Of what was never pulled from it there is nothing to be kept.
#[tokio::test]
async fn a_list_that_leads_to_no_pull_is_a_check_all_the_same() {
    let site = Site::new();
    let checked = async |of: u32| {
        let rows = site.records.pulls(Some(study(of))).await.unwrap();
        rows.into_iter().map(|row| (row.peer, row.checked)).collect::<Vec<_>>()
    };
    let at = |time| vec![("kent".to_owned(), Some(time))];
    site.records.pull_checked(&study(1), "kent", noon()).await.unwrap();
    assert!(checked(1).await.is_empty());
    site.records.pull_began(&study(1), "kent", noon()).await.unwrap();
    assert_eq!(checked(1).await, [("kent".to_owned(), None)]);
    let ended = PullEnded { listed: 2, came: 2, missing: 0, checked: Some(noon()), how: "done", behalves: Vec::new() };
    site.records.pull_ended(&study(1), "kent", ended, noon() + MINUTE).await.unwrap();
    assert_eq!(checked(1).await, at(noon()));
    for (told, want) in [(noon() + HOUR, noon() + HOUR), (noon() + MINUTE, noon() + HOUR)] {
        site.records.pull_checked(&study(1), "kent", told).await.unwrap();
        site.records.pull_checked(&study(1), "surrey", told).await.unwrap();
        assert_eq!(checked(1).await, at(want));
    }
    site.verify().await;
}
