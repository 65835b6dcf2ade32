//! Tests of the cross-reference: what arrivals and people say, and when it is believed (IDY-040, IDY-041, IDY-045).

use super::support::*;
use crate::dicom::attributes::{ISSUER_OF_PATIENT_ID, PATIENT_BIRTH_DATE, PATIENT_ID};
use crate::dicom::cross_reference::{Link, LocalId, Said, Unlinked};
use crate::dicom::nhs_number::NhsNumber;
use crate::dicom::other_ids::OtherId;
use crate::peers::Origin;
use crate::records::{Arrival, Heard, Learned, PlacedOrder, Sought, ToldMessage};

const ANN: &str = "4000000004";
const BOB: &str = "6000000006";

fn number(text: &str) -> NhsNumber {
    NhsNumber::parse(text).unwrap()
}

fn royal(id: &str) -> LocalId {
    LocalId::new("Royal", id).unwrap()
}

fn said(text: &str, birth_date: &str) -> Said {
    Said { number: number(text), birth_date: birth_date.into() }
}

/// Instance `n` of a study of its own, of a patient with this number, birth date and further numbers, from our PACS at the Royal.
fn of_patient(n: u32, id: &str, birth_date: &str, others: &[(&str, &str)]) -> Arrival {
    let mut arrival = push(n);
    arrival.head.study = study(n);
    arrival.source.issuer = Some("Royal".into());
    let attributes = &mut arrival.head.attributes;
    attributes.values.insert(PATIENT_ID, id.as_bytes().into());
    attributes.values.insert(PATIENT_BIRTH_DATE, birth_date.as_bytes().into());
    attributes.other_ids =
        others.iter().map(|(id, issuer)| OtherId { id: (*id).into(), issuer: (*issuer).into() }).collect();
    arrival
}

async fn linked(site: &Site, id: &str, birth_date: Option<&str>) -> Link {
    site.records.nhs_number_of(royal(id), birth_date.map(str::to_owned)).await.unwrap()
}

/// IDY-041: what our own nodes' objects say is known, once, also after a restart; what a peer's objects say is not.
#[tokio::test]
async fn what_our_own_objects_say_links_a_number() {
    let site = Site::new();
    site.stored(of_patient(1, "R1", "19600229", &[(ANN, "NHS")])).await;
    site.record(of_patient(1, "R1", "19600229", &[(ANN, "NHS")])).await;
    site.stored(Arrival { origin: Origin::Peer("kent".into()), ..of_patient(2, "R2", "19600229", &[(BOB, "NHS")]) })
        .await;
    let (site, _) = site.restart();
    assert_eq!(linked(&site, "R1", None).await, Link::To(number(ANN)));
    assert_eq!(linked(&site, "R1", Some("19600229")).await, Link::To(number(ANN)));
    assert_eq!(linked(&site, "R1", Some("19600228")).await, Link::Nobody(Unlinked::BirthDateDiffers));
    assert_eq!(linked(&site, "R2", None).await, Link::Nobody(Unlinked::NotKnown));
    let elsewhere = LocalId::new("Kent", "R1").unwrap();
    let link = site.records.nhs_number_of(elsewhere, Some("19600229".into())).await.unwrap();
    assert_eq!(link, Link::Nobody(Unlinked::NotKnown), "the same number of another issuer is another patient's");
    let found = site.records.statements(Sought::Id("R1".into(), None)).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].source.as_str(), &found[0].said), ("node PACS", &said(ANN, "19600229")));
    assert_eq!(site.records.statements(Sought::Number(number(ANN))).await.unwrap(), found);
    site.verify().await;
}

/// Two sources that contradict each other link nobody, until a person takes one back, with a name and a reason.
#[tokio::test]
async fn contradictions_link_nobody_and_are_shown() {
    let site = Site::new();
    site.stored(of_patient(1, "R1", "19600229", &[(ANN, "NHS")])).await;
    let learn = |list: Vec<(LocalId, Said)>| site.records.learn(list, "import", "jo", noon());
    let learned = learn(vec![(royal("R1"), said(BOB, "19600229"))]).await.unwrap();
    assert_eq!(learned, Learned { new: 1, ..Learned::default() });
    let learned = learn(vec![(royal("R1"), said(BOB, "19600229"))]).await.unwrap();
    assert_eq!(learned, Learned { known: 1, ..Learned::default() }, "the same again changes nothing");
    assert_eq!(linked(&site, "R1", None).await, Link::Nobody(Unlinked::Contradicted));
    let found = site.records.statements(Sought::Id("R1".into(), Some("Royal".into()))).await.unwrap();
    assert_eq!(found.iter().map(|one| one.source.as_str()).collect::<Vec<_>>(), ["node PACS", "import"]);
    assert!(site.records.unlearn(royal("R1"), "import", "jo", " ", noon()).await.is_err(), "a reason is needed");
    assert_eq!(site.records.unlearn(royal("R1"), "import", "jo", "a slip", noon()).await.unwrap(), 1);
    assert_eq!(linked(&site, "R1", None).await, Link::To(number(ANN)));
    site.verify().await;
}

/// The birth date comes from what our own nodes sent of this patient, or from who asks; without one nothing is confirmed.
#[tokio::test]
async fn the_birth_date_must_agree_with_what_is_held() {
    let site = Site::new();
    let list = vec![(royal("R1"), said(ANN, "19600229")), (royal("R2"), said(BOB, "20010101"))];
    site.records.learn(list, "import", "jo", noon()).await.unwrap();
    assert_eq!(linked(&site, "R1", None).await, Link::Nobody(Unlinked::NoBirthDate));
    assert_eq!(linked(&site, "R1", Some("19600229")).await, Link::To(number(ANN)));
    site.stored(of_patient(1, "R1", "19600229", &[])).await;
    assert_eq!(linked(&site, "R1", None).await, Link::To(number(ANN)));
    site.stored(of_patient(2, "R2", "20010102", &[])).await;
    assert_eq!(linked(&site, "R2", None).await, Link::Nobody(Unlinked::BirthDateDiffers));
    assert_eq!(linked(&site, "R2", Some("20010101")).await, Link::Nobody(Unlinked::BirthDateDiffers));
    let mut elsewhere = of_patient(3, "R1", "19990909", &[]);
    elsewhere.head.attributes.values.insert(ISSUER_OF_PATIENT_ID, b"Kent".as_slice().into());
    site.stored(elsewhere).await;
    assert_eq!(linked(&site, "R1", None).await, Link::To(number(ANN)), "another issuer's patient does not count");
}

/// A number whose issuer is the NHS is its own answer; so many statements of one number are kept and no more.
#[tokio::test]
async fn nhs_numbers_need_no_link_and_statements_are_bounded() {
    let site = Site::new();
    let own = |id: &str| site.records.nhs_number_of(LocalId::new("NHS", id).unwrap(), None);
    assert_eq!(own("400 000 0004").await.unwrap(), Link::To(number(ANN)));
    assert_eq!(own("9434765919").await.unwrap(), Link::Nobody(Unlinked::NotKnown), "a number for tests is nobody's");
    let many = (0..50).map(|day| (royal("R1"), said(ANN, &format!("196001{day:02}")))).collect();
    let learned = site.records.learn(many, "import", "jo", noon()).await.unwrap();
    assert_eq!(learned, Learned { new: 32, known: 0, beyond: 18 });
    let too_many = vec![(royal("R1"), said(ANN, "")); 1001];
    assert!(site.records.learn(too_many, "import", "jo", noon()).await.is_err());
}

fn order(placer: &str, control: &str) -> PlacedOrder {
    PlacedOrder {
        row: 0,
        source: String::new(),
        placer: placer.into(),
        filler: String::new(),
        accession: "A1".into(),
        study: None,
        control: control.into(),
        patient: royal("R1"),
        birth_date: "19600229".into(),
        modality: "CT".into(),
        procedure: "CTCHEST".into(),
        description: "CT of the chest".into(),
        scheduled: "20250310".into(),
        at: noon(),
    }
}

fn message(control: &str, orders: Vec<PlacedOrder>) -> ToldMessage {
    ToldMessage {
        source: "hl7 RIS".into(),
        control: control.into(),
        digest: control.into(),
        orders,
        ..Default::default()
    }
}

/// Orders are kept with what their message says of numbers, in one commit; a change of an order comes after those told before, and
/// what was told already changes nothing, neither as the same message nor in another.
#[tokio::test]
async fn orders_are_told_in_the_order_in_which_they_came() {
    let site = Site::new();
    let mut changed = site.records.orders_changed();
    let mut first = message("1", vec![order("P1", "NW"), order("P2", "NW")]);
    first.statements = vec![(royal("R1"), said(ANN, "19600229"))];
    assert_eq!(site.records.take_message(first.clone(), noon()).await.unwrap(), Heard::New(2));
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    let kept = site.records.orders(0).await.unwrap();
    assert_eq!(kept.iter().map(|one| one.placer.as_str()).collect::<Vec<_>>(), ["P1", "P2"]);
    let cancelled = message("2", vec![order("P1", "CA")]);
    assert_eq!(site.records.take_message(cancelled, noon()).await.unwrap(), Heard::New(1));
    changed.mark_unchanged();
    let (site, _) = site.restart();
    // What was sent again because its answer was lost does not bring a cancelled order back.
    assert_eq!(site.records.take_message(first, noon()).await.unwrap(), Heard::Again);
    let same = message("3", vec![order("P2", "NW")]);
    assert_eq!(site.records.take_message(same, noon()).await.unwrap(), Heard::New(0));
    let later = site.records.orders(kept[1].row).await.unwrap();
    assert!(later.len() == 1 && later[0].placer == "P1" && later[0].is_cancelled());
    assert_eq!(site.records.orders(0).await.unwrap().len(), 2, "a change stands in place of what it changes");
    assert_eq!(linked(&site, "R1", Some("19600229")).await, Link::To(number(ANN)));
    site.verify().await;
}

/// IDY-051: orders are found by their day, however exactly their time is said, and as they were last told.
#[tokio::test]
async fn orders_are_found_by_their_day() {
    let site = Site::new();
    let on = |placer: &str, scheduled: &str| PlacedOrder { scheduled: scheduled.into(), ..order(placer, "NW") };
    let days = [("P1", "20250310"), ("P2", "202503111430+0100"), ("P3", "20250312"), ("P4", ""), ("P5", "20250313")];
    let first = message("1", days.map(|(placer, scheduled)| on(placer, scheduled)).into());
    site.records.take_message(first, noon()).await.unwrap();
    site.records.take_message(message("2", vec![on("P3", "20250401"), on("P5", "20250312")]), noon()).await.unwrap();
    let found = async |after: i64| site.records.orders_for(["20250311", "20250312"].map(str::to_owned), after).await;
    let all = found(0).await.unwrap();
    assert_eq!(all.iter().map(|one| one.placer.as_str()).collect::<Vec<_>>(), ["P2", "P5"]);
    let rest = found(all[0].row).await.unwrap();
    assert_eq!(rest.iter().map(|one| one.placer.as_str()).collect::<Vec<_>>(), ["P5"]);
    assert!(found(all[1].row).await.unwrap().is_empty());
}

/// IDY-051: an order stays until its day however long ago it was told, and many such ones keep none that is over; one without a day that can
/// be read is over.
#[tokio::test]
async fn orders_go_when_they_are_old_and_their_day_is_over() {
    let site = Site::new();
    let on = |placer: String, scheduled: &str| PlacedOrder { scheduled: scheduled.into(), ..order(&placer, "NW") };
    // Noon is on 2027-01-15.
    let mut first: Vec<PlacedOrder> = (10..60).map(|n| on(format!("F{n}"), "202806011030")).collect();
    let over = ["20270120", "", "99999999", "2028", "NEXT YEAR", "20281301"];
    first.extend(over.into_iter().enumerate().map(|(n, day)| on(format!("P{n}"), day)));
    first.push(on("F60".into(), "20280229"));
    site.records.take_message(message("1", first), noon()).await.unwrap();
    // Each order that is told sweeps a little.
    let told = async |after: u32, name: &str| {
        let more = (0..12).map(|n| on(format!("{name}{n}"), "20270116")).collect();
        site.records.take_message(message(name, more), noon() + after * DAY).await.unwrap();
        let kept = site.records.orders(0).await.unwrap();
        ["F", "P", "N", "O", "Q"].map(|kind| kept.iter().filter(|one| one.placer.starts_with(kind)).count())
    };
    assert_eq!(told(89, "N").await, [51, 6, 12, 0, 0]);
    assert_eq!(told(91, "O").await, [51, 0, 12, 12, 0]);
    assert_eq!(told(600, "Q").await, [0, 0, 0, 0, 12], "2028-09-06");
    site.verify().await;
}

/// IDY-045: numbers that were merged are one patient's, by whatever number is asked; who contradicts is nobody's, until the merge is
/// taken back by name. The ledger tells the merge and names nobody.
#[tokio::test]
async fn merged_numbers_are_one_patient_until_the_merge_is_taken_back() {
    let site = Site::new();
    let told = |merges: &[(&str, &str)], statements: Vec<(LocalId, Said)>| ToldMessage {
        source: "hl7 PAS".into(),
        merges: merges.iter().map(|(former, stays)| (royal(former), royal(stays))).collect(),
        statements,
        ..ToldMessage::default()
    };
    let take = async |told: ToldMessage| site.records.take_message(told, noon()).await.unwrap();
    let born = Some("19600229");
    take(told(&[("R6", "R7"), ("R7", "R8")], vec![(royal("R8"), said(ANN, "19600229"))])).await;
    for id in ["R6", "R7", "R8"] {
        assert_eq!(linked(&site, id, born).await, Link::To(number(ANN)), "{id}");
        assert_eq!(linked(&site, id, Some("19600301")).await, Link::Nobody(Unlinked::BirthDateDiffers), "{id}");
    }
    assert_eq!(linked(&site, "R9", born).await, Link::Nobody(Unlinked::NotKnown));
    take(told(&[("R9", "R7")], vec![(royal("R9"), said(BOB, "19600229"))])).await;
    for id in ["R6", "R7", "R8", "R9"] {
        assert_eq!(linked(&site, id, born).await, Link::Nobody(Unlinked::Contradicted), "{id}");
    }
    let merges = site.records.merges("R7".into(), None).await.unwrap();
    assert_eq!(merges.iter().map(|one| one.former.id.as_str()).collect::<Vec<_>>(), ["R6", "R7", "R9"]);
    let gone = site.records.unlearn(royal("R9"), "hl7 PAS", "jo", "two people", noon()).await.unwrap();
    assert_eq!((gone, linked(&site, "R6", born).await), (2, Link::To(number(ANN))));
    site.verify().await;
}

/// More numbers than any one patient has are nobody's.
#[tokio::test]
async fn a_chain_of_merges_without_end_links_nobody() {
    let site = Site::new();
    let id = |n: usize| royal(&format!("R{n}"));
    let chain = |last: usize| ToldMessage {
        source: "hl7 PAS".into(),
        merges: (1..=last).map(|n| (id(n), id(n - 1))).collect(),
        statements: vec![(id(0), said(ANN, "19600229"))],
        ..ToldMessage::default()
    };
    site.records.take_message(chain(31), noon()).await.unwrap();
    assert_eq!(linked(&site, "R31", Some("19600229")).await, Link::To(number(ANN)));
    site.records.take_message(chain(32), noon()).await.unwrap();
    assert_eq!(linked(&site, "R0", Some("19600229")).await, Link::Nobody(Unlinked::Contradicted));
}
