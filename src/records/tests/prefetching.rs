//! Tests of what is pulled ahead: what counts as news, and each cause once.

use super::support::*;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::fired::note_fired;
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

/// A prefetch as it stands.
async fn row(site: &Site, id: i64) -> PrefetchRow {
    site.records.prefetches().await.unwrap().into_iter().find(|row| row.id == id).unwrap()
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

/// "A silent site is visible": a study is ours while nothing that is kept of it ever came from another site, whichever came first.
#[tokio::test]
async fn a_study_is_ours_while_nothing_of_it_came_from_elsewhere() {
    let site = Site::new();
    let archive = Origin::Archive(AeTitle::parse("VNA").unwrap());
    let rows = [
        (1, vec![(1, node("PACS")), (2, node("CT1")), (3, archive), (4, Origin::Operator("jo".into()))], false),
        (2, vec![(11, node("PACS")), (12, Origin::Peer("b".into()))], true),
        (3, vec![(21, node("PACS")), (22, Origin::Pulled("b".into()))], true),
        (4, vec![(31, node("PACS")), (31, Origin::Peer("b".into()))], true),
    ];
    for (of, arrivals, want) in rows {
        for (n, origin) in arrivals {
            site.record(arrival(n, of, 1, origin)).await;
        }
        assert_eq!(site.records.came_from_elsewhere(&study(of)).await.unwrap(), want, "{of}");
    }
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
    let due = site.records.prefetches_due(noon(), HOUR).await.unwrap();
    assert_eq!((due.len(), due[0].id, &due[0].what), (2, id, &first));
    let tried = row(&site, id).await;
    site.records.prefetch_tried(&tried, Some(noon() + MINUTE), "waits".into(), HOUR, noon()).await.unwrap();
    let (site, _) = site.restart();
    assert_eq!(site.records.prefetches_due(noon(), HOUR).await.unwrap().len(), 1);
    let later = site.records.prefetches_due(noon() + MINUTE, HOUR).await.unwrap();
    assert!(later.iter().any(|row| row.id == id && row.tries == 1 && row.how == "waits"), "{later:?}");
    site.records.prefetch_chose(id, &study(7), "b", "rule", "came".into(), noon()).await.unwrap();
    site.records.prefetch_tried(&tried, None, "done".into(), HOUR, noon()).await.unwrap();
    assert_eq!(site.records.prefetches_due(noon() + DAY, HOUR).await.unwrap().len(), 1);
    site.records.prefetch_acquired(vec![first], InstanceId(0), noon()).await.unwrap();
    assert_eq!(site.records.prefetches().await.unwrap().len(), 2);
    // A month later it is forgotten, with the next that ends.
    let other = site.records.prefetch(cause(3), noon() + 31 * DAY).await.unwrap().unwrap();
    let tried = row(&site, other).await;
    site.records.prefetch_tried(&tried, None, "done".into(), HOUR, noon() + 31 * DAY).await.unwrap();
    let left: Vec<i64> = site.records.prefetches().await.unwrap().iter().map(|row| row.id).collect();
    assert!(!left.contains(&id) && left.contains(&other), "{left:?}");
    assert!(!format!("{:?}", site.records.prefetches().await.unwrap()).contains("secret"), "Debug prints no patient");
    site.verify().await;
}

/// FLT-070: what a clock that was far ahead has put off waits no longer than anything does once the clock is right.
#[tokio::test]
async fn what_was_put_off_by_a_clock_that_was_ahead_comes_due_when_it_is_set_back() {
    let site = Site::new();
    let (ahead, due) = (noon() + 365 * DAY, async |now| site.records.prefetches_due(now, HOUR).await.unwrap().len());
    site.records.prefetch(cause(1), ahead).await.unwrap().unwrap();
    let id = site.records.prefetch(cause(2), ahead).await.unwrap().unwrap();
    site.records
        .prefetch_tried(&row(&site, id).await, Some(ahead + MINUTE), "waits".into(), HOUR, ahead)
        .await
        .unwrap();
    assert_eq!((due(ahead).await, due(ahead + MINUTE).await), (1, 2), "as long as it is ahead");
    assert_eq!(due(noon()).await, 2, "it is set right");
    site.records
        .prefetch_tried(&row(&site, id).await, Some(noon() + HOUR), "waits".into(), HOUR, noon())
        .await
        .unwrap();
    assert_eq!((due(noon()).await, due(noon() + HOUR).await), (1, 2), "it waits as it should again");
    note_fired(1);
}

/// A series of another modality has its study worked on again, also while that is under way; one of a modality that is known has not, and an
/// order or a request never counts again.
#[tokio::test]
async fn a_study_counts_again_with_another_modality() {
    let site = Site::new();
    let with = |modality: &str| Prefetch { modalities: vec![modality.into()], ..cause(1) };
    let id = site.records.prefetch(with("CT"), noon()).await.unwrap().unwrap();
    let tried = row(&site, id).await;
    site.records.prefetch_acquired(vec![with("PT"), with("CT"), with("T")], InstanceId(1), noon()).await.unwrap();
    assert_eq!(row(&site, id).await.what.modalities, ["CT", "PT", "T"]);
    // What was under way knew of the first alone.
    site.records.prefetch_tried(&tried, None, "done".into(), HOUR, noon()).await.unwrap();
    let due = site.records.prefetches_due(noon(), HOUR).await.unwrap();
    assert_eq!((due.len(), due[0].how.as_str()), (1, "waiting"));
    site.records.prefetch_tried(&due[0], None, "done".into(), HOUR, noon()).await.unwrap();
    assert_eq!(site.records.prefetch(with("PT"), noon()).await.unwrap(), None);
    assert!(site.records.prefetches_due(noon(), HOUR).await.unwrap().is_empty());
    assert_eq!(site.records.prefetch(with("MR"), noon() + MINUTE).await.unwrap(), Some(id));
    let again = row(&site, id).await;
    assert_eq!((again.due, again.at, again.tries), (Some(noon() + MINUTE), noon() + MINUTE, 0));
    for cause in [PrefetchCause::Order("hl7 RIS 1".into()), PrefetchCause::Request("1".into())] {
        let with = |modality: &str| Prefetch { cause: cause.clone(), ..with(modality) };
        let id = site.records.prefetch(with("CT"), noon()).await.unwrap().unwrap();
        assert_eq!(site.records.prefetch(with("PT"), noon()).await.unwrap(), None);
        assert_eq!(row(&site, id).await.what.modalities, ["CT"]);
    }
    // A series without a modality, and then one with.
    let id = site.records.prefetch(Prefetch { modalities: Vec::new(), ..cause(2) }, noon()).await.unwrap().unwrap();
    assert_eq!(site.records.prefetch(cause(2), noon()).await.unwrap(), Some(id));
    site.records.prefetch_tried(&row(&site, id).await, None, "done".into(), HOUR, noon()).await.unwrap();
    assert_eq!(row(&site, id).await.due, None);
    site.verify().await;
}

/// IDY-051: what an order had pulled for an earlier day, or while copies stayed longer, is pulled again for its day, as it is told by then:
/// once, also after a restart. What was taken on since then counts, and a study and a request never do again.
#[tokio::test]
async fn an_order_counts_again_if_what_it_had_pulled_is_gone_on_its_day() {
    let site = Site::new();
    let of = |id: &str, modality: &str| Prefetch {
        cause: PrefetchCause::Order("hl7 RIS 1".into()),
        patient_id: id.into(),
        modalities: vec![modality.into()],
        ..cause(1)
    };
    let order = |id: &str| of(id, if id == "R1" { "CT" } else { "MR" });
    let later = noon() + 3 * DAY;
    let id = site.records.prefetch_order(order("R1"), Some(noon()), noon()).await.unwrap().unwrap();
    site.records.prefetch_tried(&row(&site, id).await, None, "done".into(), HOUR, noon()).await.unwrap();
    for before in [None, Some(noon() - DAY), Some(noon())] {
        assert_eq!(site.records.prefetch_order(order("R2"), before, later).await.unwrap(), None, "{before:?}");
    }
    assert_eq!(row(&site, id).await.what, order("R1"));
    assert_eq!(site.records.prefetch_order(order("R2"), Some(later - MINUTE), later).await.unwrap(), Some(id));
    let (site, _) = site.restart();
    let again = row(&site, id).await;
    assert_eq!((again.due, again.at, again.tries, again.how.as_str()), (Some(later), later, 0, "waiting"));
    assert_eq!(again.what, order("R2"), "the patient was corrected");
    site.records.prefetch_tried(&again, None, "done".into(), HOUR, later).await.unwrap();
    assert_eq!(site.records.prefetch_order(order("R2"), Some(later - MINUTE), later + HOUR).await.unwrap(), None);
    for other in [cause(2), Prefetch { cause: PrefetchCause::Request("1".into()), ..cause(2) }] {
        assert!(site.records.prefetch(other.clone(), noon()).await.unwrap().is_some());
        assert_eq!(site.records.prefetch_order(other, Some(later), later).await.unwrap(), None);
    }
    site.verify().await;
}

/// IDY-051: where copies stay for longer than a month, what had them pulled is known for as long, and is not pulled again at each restart.
#[tokio::test]
async fn a_cause_is_remembered_while_its_copies_stay() {
    let site = Site::new();
    let id = site.records.prefetch(cause(1), noon()).await.unwrap().unwrap();
    site.records.prefetch_tried(&row(&site, id).await, None, "done".into(), HOUR, noon()).await.unwrap();
    for (of, keep, after, known) in [(2, 60_u32, 60_u32, true), (3, 60, 62, false)] {
        let now = noon() + after * DAY;
        let other = site.records.prefetch(cause(of), now).await.unwrap().unwrap();
        site.records.prefetch_tried(&row(&site, other).await, None, "done".into(), keep * DAY, now).await.unwrap();
        let found = site.records.prefetch_of(cause(1).cause).await.unwrap();
        assert_eq!(found.is_some(), known, "{after} days after");
    }
    site.verify().await;
}
