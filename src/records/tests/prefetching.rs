//! Tests of what is pulled ahead: what counts as news, and each cause once.

use super::support::*;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::peers::Origin;
use crate::records::*;

/// Instance `n` of a study and series, as it came from somebody, owed to nobody.
fn arrival(n: u32, of: u32, series: u32, origin: Origin) -> Arrival {
    let mut arrival = Arrival { origin, chosen: Vec::new(), ..push(n) };
    arrival.head.study = study(of);
    arrival.head.series = SeriesUid::parse(&format!("1.2.{of}.{series}")).unwrap();
    arrival
}

fn cause(of: u32) -> Prefetch {
    Prefetch {
        cause: PrefetchCause::Study(study(of)),
        who: "node PACS".into(),
        patient_id: "secret-id".into(),
        issuer: "ZZ001".into(),
        nhs: String::new(),
        birth_date: String::new(),
        modalities: vec!["CT".into()],
    }
}

/// Looks, and notes that it did: the studies, one for each series.
async fn look(site: &Site) -> Vec<StudyUid> {
    let (acquired, looked_at) = site.records.acquired(noon() - DAY).await.unwrap();
    site.records.prefetch_acquired(Vec::new(), looked_at, noon()).await.unwrap();
    acquired.into_iter().map(|one| one.study).collect()
}

/// "Origins and loops": news is what our nodes send of studies that were not here: each series once, also after a restart. What was here
/// before the first look, what a peer pushed, what was pulled or fetched, and what a node adds to those, is none.
#[tokio::test]
async fn only_new_studies_of_our_nodes_are_news() {
    let site = Site::new();
    site.stored(arrival(1, 1, 1, node("PACS"))).await;
    assert_eq!(look(&site).await, [], "what was here before is no news");
    let archive = Origin::Archive(AeTitle::parse("VNA").unwrap());
    let origins = [Origin::Peer("b".into()), Origin::Pulled("b".into()), archive, Origin::Operator("jo".into())];
    for (of, origin) in (2..).zip(origins) {
        site.stored(arrival(of * 10, of, 1, origin)).await;
        site.stored(arrival(of * 10 + 1, of, 2, node("PACS"))).await;
    }
    site.stored(Arrival { received_at: noon() - 2 * DAY, ..arrival(90, 9, 1, node("PACS")) }).await;
    assert_eq!(look(&site).await, []);
    site.stored(arrival(100, 10, 1, node("PACS"))).await;
    site.stored(arrival(101, 10, 1, node("PACS"))).await;
    site.stored(arrival(102, 10, 2, node("CT1"))).await;
    let (site, _) = site.restart();
    assert_eq!(look(&site).await, [study(10), study(10)], "one for each series");
    assert_eq!(look(&site).await, []);
    site.verify().await;
}

/// Each cause once, also after it has ended and after a restart; what is due is what was not ended.
#[tokio::test]
async fn a_cause_counts_once_and_is_worked_on_until_it_ends() {
    let site = Site::new();
    let (first, second) = (cause(1), Prefetch { cause: PrefetchCause::Request("1.2.1".into()), ..cause(1) });
    let id = site.records.prefetch(first.clone(), noon()).await.unwrap().unwrap();
    assert_eq!(site.records.prefetch(first.clone(), noon()).await.unwrap(), None);
    assert!(site.records.prefetch(second, noon()).await.unwrap().is_some(), "a request is another cause than a study");
    let due = site.records.prefetches_due(noon()).await.unwrap();
    assert_eq!((due.len(), due[0].id, &due[0].what), (2, id, &first));
    site.records.prefetch_tried(id, Some(noon() + MINUTE), "waits".into(), noon()).await.unwrap();
    let (site, _) = site.restart();
    assert_eq!(site.records.prefetches_due(noon()).await.unwrap().len(), 1);
    let later = site.records.prefetches_due(noon() + MINUTE).await.unwrap();
    assert!(later.iter().any(|row| row.id == id && row.tries == 1 && row.how == "waits"), "{later:?}");
    site.records.prefetch_chose(id, &study(7), "b", "rule", "came".into(), noon()).await.unwrap();
    site.records.prefetch_tried(id, None, "done".into(), noon()).await.unwrap();
    assert_eq!(site.records.prefetches_due(noon() + DAY).await.unwrap().len(), 1);
    site.records.prefetch_acquired(vec![first], InstanceId(0), noon()).await.unwrap();
    assert_eq!(site.records.prefetches().await.unwrap().len(), 2);
    // A month later it is forgotten, with the next that ends.
    let other = site.records.prefetch(cause(3), noon() + 31 * DAY).await.unwrap().unwrap();
    site.records.prefetch_tried(other, None, "done".into(), noon() + 31 * DAY).await.unwrap();
    let left: Vec<i64> = site.records.prefetches().await.unwrap().iter().map(|row| row.id).collect();
    assert!(!left.contains(&id) && left.contains(&other), "{left:?}");
    assert!(!format!("{:?}", site.records.prefetches().await.unwrap()).contains("secret"), "Debug prints no patient");
    site.verify().await;
}
