//! Tests of what is withheld from whom: by all that was ever said of a study and its series, not by what came first ("Sharing limits").

use super::support::*;
use crate::dicom::attributes::{ACCESSION_NUMBER, ISSUER_OF_PATIENT_ID, MODALITY, PATIENT_ID, by_name};
use crate::dicom::condition::Condition;
use crate::dicom::pattern::Pattern;
use crate::dicom::tag::Tag;
use crate::dicom::uid::SeriesUid;
use crate::peers::{Hidden, PatientList, Registry, Withhold};
use crate::records::{Arrival, BlobId, What};
use std::sync::Arc;
use tokio::sync::watch;

/// What an instance says.
type Says = &'static [(Tag, &'static str)];

const R1: Says = &[(PATIENT_ID, "R1")];
const R7: Says = &[(PATIENT_ID, "R7")];

/// A rule about what kent is shown.
fn rule(when: Option<(&str, &str)>, patients: Option<&str>) -> Withhold {
    let condition = |(name, pattern): (&str, &str)| Condition {
        attribute: by_name(name).unwrap(),
        any_of: vec![Pattern::new(pattern)],
    };
    Withhold {
        name: "objections".into(),
        from: vec![],
        to: vec![destination("kent")],
        when: when.into_iter().map(condition).collect(),
        patients: patients.map(|list| Arc::new(PatientList::parse(list).unwrap())),
    }
}

fn govern(site: &Site, rule: Withhold) {
    let (_, registry) = watch::channel(Arc::new(Registry::default().withholding(vec![rule])));
    site.records.govern(registry);
}

/// Instance `n` of study 1, which says this, from a node whose numbers the Royal issues.
fn saying(n: u32, says: Says) -> Arrival {
    let mut arrival = push(n);
    arrival.source.issuer = Some("Royal".into());
    for (tag, text) in says {
        arrival.head.attributes.values.insert(*tag, text.as_bytes().into());
    }
    arrival
}

async fn hidden(site: &Site) -> Hidden {
    site.records.hidden("kent", &study(1)).await.unwrap()
}

/// SEC-022: a study is withheld if anything that was said of it is reason to, whichever instance came first, also after a restart.
#[tokio::test]
async fn a_study_is_withheld_by_what_any_of_its_instances_says() {
    let rows: [(&str, Withhold, Says, Says, bool); 9] = [
        ("another number", rule(None, Some("Royal,R7")), R1, R7, true),
        ("a number where none was said", rule(None, Some("Royal,R7")), &[(PATIENT_ID, "")], R7, true),
        (
            "another issuer",
            rule(None, Some("Kent,R7")),
            R7,
            &[(PATIENT_ID, "R7"), (ISSUER_OF_PATIENT_ID, "Kent")],
            true,
        ),
        ("an NHS number", rule(None, Some("4000000004")), R1, &[(PATIENT_ID, "4000000004")], true),
        (
            "another order",
            rule(Some(("accession_number", "STAFF*")), None),
            &[(ACCESSION_NUMBER, "A1")],
            &[(ACCESSION_NUMBER, "STAFF1")],
            true,
        ),
        (
            "an order where none was said",
            rule(Some(("accession_number", "STAFF*")), None),
            R1,
            &[(ACCESSION_NUMBER, "STAFF1")],
            true,
        ),
        (
            "an order of the same patient",
            rule(Some(("accession_number", "STAFF*")), Some("Royal,R1")),
            R1,
            &[(PATIENT_ID, "R1"), (ACCESSION_NUMBER, "STAFF1")],
            true,
        ),
        ("neither of both", rule(None, Some("Royal,R9")), R1, R7, false),
        (
            "the number of one with the issuer of the other",
            rule(None, Some("Kent,R1")),
            R1,
            &[(PATIENT_ID, "R7"), (ISSUER_OF_PATIENT_ID, "Kent")],
            false,
        ),
    ];
    for (name, rule, one, other, want) in rows {
        for (first, later) in [(one, other), (other, one)] {
            let site = Site::new();
            govern(&site, rule.clone());
            site.stored(saying(1, first)).await;
            site.stored(saying(2, later)).await;
            site.stored(saying(3, first)).await;
            assert_eq!(hidden(&site).await.study.is_some(), want, "{name}");
            let (site, _) = site.restart();
            govern(&site, rule.clone());
            assert_eq!(hidden(&site).await.study.is_some(), want, "{name}, after a restart");
            site.verify().await;
        }
    }
}

/// The same of a series: the others are shown.
#[tokio::test]
async fn a_series_is_withheld_by_what_any_of_its_instances_says() {
    let site = Site::new();
    govern(&site, rule(Some(("modality", "SR")), None));
    site.stored(saying(1, &[])).await;
    let mut other = saying(2, &[]);
    other.head.series = SeriesUid::parse("1.2.1.2").unwrap();
    site.stored(other).await;
    assert!(hidden(&site).await.is_nothing());
    site.stored(saying(3, &[(MODALITY, "SR")])).await;
    let now = hidden(&site).await;
    assert_eq!((now.study.as_deref(), now.rule("1.2.1.1"), now.rule("1.2.1.2")), (None, Some("objections"), None));
    site.verify().await;
}

/// SEC-022, UIX-09: whoever asks why is told which rule withholds a study, and whether its first image is the reason or a later one, by the UID
/// of the study or of any of its instances. Nothing is entered.
#[tokio::test]
async fn why_a_study_is_withheld_is_told_with_the_image_that_is_the_reason() {
    let of_series = || rule(Some(("modality", "SR")), None);
    let rows: [(Withhold, &[&str], Option<bool>); 5] = [
        (rule(None, Some("Royal,R1")), &[], Some(false)),
        (rule(None, Some("Royal,R7")), &[], Some(true)),
        (rule(None, Some("Royal,R9")), &[], None),
        (of_series(), &["1.2.1.1"], Some(true)),
        (rule(Some(("modality", "XA")), None), &[], None),
    ];
    let site = Site::new();
    site.stored(saying(1, R1)).await;
    site.stored(saying(2, &[(PATIENT_ID, "R7"), (MODALITY, "SR")])).await;
    let before = site.records.ledger_head().await.unwrap().size;
    let uids = [study(1).to_string(), uid(1).to_string(), uid(2).to_string()];
    for (rule, series, later) in rows {
        for uid in &uids {
            let told = site.records.why_withheld(uid, vec![rule.clone()], noon()).await.unwrap();
            let want = later.map(|later| What::Withheld {
                rule: "objections".into(),
                from: vec![destination("kent")],
                series: series.iter().map(|uid| (*uid).to_owned()).collect(),
                later,
            });
            assert_eq!(told.into_iter().map(|event| event.what).collect::<Vec<_>>(), Vec::from_iter(want), "{rule:?}");
        }
    }
    assert_eq!(site.records.why_withheld("1.2.9", vec![of_series()], noon()).await.unwrap(), []);
    assert_eq!(site.records.ledger_head().await.unwrap().size, before);
    site.verify().await;
}

/// What says the same is kept once, however many instances say it, and what says what the first said is not kept at all.
#[tokio::test]
async fn what_is_said_again_is_not_kept_again() {
    let site = Site::new();
    let rows: [(u32, Says); 5] = [(1, &[]), (2, &[]), (3, R7), (4, R7), (5, &[])];
    for (n, says) in rows {
        site.stored(saying(n, says)).await;
    }
    assert_eq!(kept(&site).await, 1);
}

/// How much is kept of what was said otherwise.
async fn kept(site: &Site) -> i64 {
    let sql = "SELECT count(*) FROM also_said";
    site.records.commit(move |tx| Ok(tx.conn.query_row(sql, [], |row| row.get(0))?)).await.unwrap()
}

/// Instance `n` is read again, as all blobs are from time to time.
async fn read_again(site: &Site, n: u32, says: Says) {
    let unlike = site.records.compare_with(BlobId(i64::from(n)), saying(n, says).head).await.unwrap();
    assert!(unlike.is_empty());
}

/// SEC-022: what came before such was kept counts from when its blob is read again.
#[tokio::test]
async fn what_came_before_such_was_kept_counts_once_it_is_read_again() {
    let rows: [(Withhold, Says, bool); 3] = [
        (rule(None, Some("Royal,R7")), &[(PATIENT_ID, "R7")], true),
        (rule(Some(("modality", "SR")), None), &[(PATIENT_ID, "R1"), (MODALITY, "SR")], true),
        (rule(None, Some("Royal,R7")), R1, false),
    ];
    for (rule, says, want) in rows {
        let site = Site::new();
        govern(&site, rule);
        site.stored(saying(1, R1)).await;
        site.stored(saying(2, says)).await;
        change(&site.records, "DELETE FROM also_said").await;
        assert!(hidden(&site).await.is_nothing());
        for (n, says) in [(1, R1), (2, says), (2, says)] {
            read_again(&site, n, says).await;
        }
        assert_eq!(hidden(&site).await.study.is_some(), want);
        assert_eq!(kept(&site).await, i64::from(want));
        site.verify().await;
    }
}

/// LED-010: who was erased is not written down again, by the next image of the study or series nor by one that is read again.
#[tokio::test]
async fn who_was_erased_is_not_kept_again() {
    let rows: [(&str, Says); 2] = [
        ("UPDATE studies SET patient_id = NULL, attributes = '{}'", &[(PATIENT_ID, "R7"), (MODALITY, "SR")]),
        ("UPDATE series SET attributes = '{}'", &[(PATIENT_ID, "R1"), (MODALITY, "SR")]),
    ];
    for (erase, says) in rows {
        let site = Site::new();
        site.stored(saying(1, R1)).await;
        site.stored(saying(2, says)).await;
        change(&site.records, erase).await;
        change(&site.records, "DELETE FROM also_said").await;
        site.stored(saying(3, says)).await;
        for (n, says) in [(1, R1), (2, says), (3, says)] {
            read_again(&site, n, says).await;
        }
        assert_eq!(kept(&site).await, 0, "{erase}");
        site.verify().await;
    }
}

/// A row that cannot be read may have said anything: whatever rule could hold does, and everybody is answered.
#[tokio::test]
async fn what_cannot_be_read_is_withheld() {
    let from = |name: &str| Withhold { from: vec![name.into()], ..rule(None, Some("Royal,R9")) };
    let rows = [
        ("UPDATE also_said SET attributes = substr(attributes, 2)", rule(None, Some("Royal,R9")), true),
        ("UPDATE also_said SET attributes = '{\"00100020\":1}'", rule(Some(("accession_number", "X")), None), true),
        // A byte of the number that is no text any more.
        (
            "UPDATE also_said SET attributes = CAST(X'7B223030313030303230223A22FF227D' AS TEXT)",
            rule(None, Some("Royal,R9")),
            true,
        ),
        // An index reads this column: what is no JSON cannot be written there.
        ("UPDATE studies SET attributes = '{\"00100020\":1}'", rule(None, Some("Royal,R9")), true),
        ("UPDATE also_said SET attributes = substr(attributes, 2)", from("PACS"), true),
        ("UPDATE also_said SET attributes = substr(attributes, 2)", from("ELSE"), false),
        ("UPDATE also_said SET attributes = '{}'", rule(None, Some("Royal,R9")), false),
    ];
    for (damage, rule, want) in rows {
        let site = Site::new();
        govern(&site, rule);
        site.stored(saying(1, R1)).await;
        site.stored(saying(2, R7)).await;
        assert!(hidden(&site).await.is_nothing(), "{damage}");
        change(&site.records, damage).await;
        assert_eq!(hidden(&site).await.study.is_some(), want, "{damage}");
    }
}

/// The same of a series: the others are shown.
#[tokio::test]
async fn a_series_of_which_a_row_cannot_be_read_is_withheld() {
    let site = Site::new();
    govern(&site, rule(Some(("modality", "SR")), None));
    site.stored(saying(1, &[])).await;
    let mut other = saying(2, &[]);
    other.head.series = SeriesUid::parse("1.2.1.2").unwrap();
    site.stored(other).await;
    site.stored(saying(3, &[(MODALITY, "MR")])).await;
    assert!(hidden(&site).await.is_nothing());
    change(&site.records, "UPDATE also_said SET attributes = substr(attributes, 2)").await;
    let now = hidden(&site).await;
    assert_eq!((now.study.as_deref(), now.rule("1.2.1.1"), now.rule("1.2.1.2")), (None, Some("objections"), None));
}
