//! Entries of worklists: what they mean, what they cannot mean, and that nobody becomes somebody else.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::dicom::charset::Charset;
use crate::dicom::query::nested::write;

/// Values that stand in an entry instead of its own.
type More<'a> = &'a [(Tag, Key)];

fn value(text: &str) -> Key {
    Key::Value(text.into())
}

fn step(day: &str, modality: &str, more: &[(Tag, &str)]) -> BTreeMap<Tag, Key> {
    let mut step =
        BTreeMap::from([(MODALITY, value(modality)), (START_DATE, value(day)), (STATION, value("CT1\\CT2"))]);
    step.extend(more.iter().map(|(tag, text)| (*tag, value(text))));
    step
}

/// An entry with one step; `more` replaces or adds values.
fn entry(step: BTreeMap<Tag, Key>, more: More<'_>) -> BTreeMap<Tag, Key> {
    let mut entry = BTreeMap::from([
        (ACCESSION_NUMBER, value("A1")),
        (PROCEDURE, value("RP1")),
        (PATIENT_ID, value("R7")),
        (PATIENT_BIRTH_DATE, value("19600229")),
        (STEPS, Key::Item(step)),
    ]);
    entry.extend(more.iter().cloned());
    entry
}

fn scope() -> Scope {
    let day = |day| Date::new(2026, 11, day).unwrap();
    let stations = vec![AeTitle::parse("CT2").unwrap()];
    Scope { from: day(28), to: day(29), modalities: vec!["CT".into(), "PT".into()], stations }
}

fn set(keys: &BTreeMap<Tag, Key>) -> Set {
    Set::read(&write(keys, true), true, &Charset::default()).unwrap()
}

fn listed(more: More<'_>) -> Result<Option<Listed>, Refused> {
    read(&set(&entry(step("20261128", "CT", &[(START_TIME, "0915")]), more)), "ZZ001", &scope())
}

fn good(more: More<'_>) -> Listed {
    listed(more).unwrap().unwrap()
}

fn qualifiers(entity: &str) -> (Tag, Key) {
    (ISSUER_QUALIFIERS, Key::Item([(UNIVERSAL_ENTITY, value(entity))].into()))
}

/// DIM-120: an entry is an order under the number of its request and procedure; every value that is kept is where it belongs.
#[test]
fn an_entry_is_an_order() {
    let code = Key::Item([(CODE, value("CTCHEST"))].into());
    let order =
        good(&[(DESCRIPTION, value("Chest")), (PROCEDURE_CODES, code), (STUDY_INSTANCE_UID, value("1.2.3"))]).order;
    let said = [&order.filler, &order.placer, &order.accession, &order.modality, &order.scheduled, &order.control];
    assert_eq!(said, ["A1 RP1", "", "A1", "CT", "202611280915", "NW"]);
    let said = [&order.procedure, &order.description, &order.birth_date, &order.patient.issuer, &order.patient.id];
    assert_eq!(said, ["CTCHEST", "Chest", "19600229", "ZZ001", "R7"]);
    assert_eq!(order.study.unwrap().as_str(), "1.2.3");
    let number = |more: More<'_>| good(more).order.filler;
    let none = || (ACCESSION_NUMBER, value(""));
    assert_eq!(number(&[none(), (FILLER, value("F 1")), (PLACER, value("P1"))]), "F 1 RP1");
    assert_eq!(number(&[none(), (PLACER, value("P1"))]), "P1 RP1");
    assert_eq!(number(&[none()]), "RP1");
    assert_eq!(number(&[(PROCEDURE, value(""))]), "A1");
    let ended = read(&set(&entry(step("20261129", "PT", &[(STEP_STATUS, "DISCONTINUED")]), &[])), "ZZ001", &scope());
    assert_eq!(ended.unwrap().unwrap().order.control, "CA");
}

/// DIM-120: what cannot be used says why, and names nobody.
#[test]
fn what_cannot_be_used_says_why() {
    let long = "9".repeat(65);
    let rows: [(More<'_>, Why); 8] = [
        (&[(PATIENT_ID, value(""))], NO_PATIENT),
        (&[(PATIENT_ID, value(&long))], NO_PLAIN_ID),
        (&[(PATIENT_ID, value("R7\\R8"))], NO_PLAIN_ID),
        (&[(PATIENT_BIRTH_DATE, value("19601301"))], NO_BIRTH),
        (&[(PATIENT_ID, value("9434765919")), (ISSUER_OF_PATIENT_ID, value("NHS"))], NO_NUMBER),
        (&[(PATIENT_ID, value("4000000005")), qualifiers("2.16.840.1.113883.2.1.4.1")], NO_NUMBER),
        (&[(STEPS, value(""))], NO_STEP),
        (&[(ACCESSION_NUMBER, value("")), (PROCEDURE, value(" "))], NO_ORDER),
    ];
    for (more, want) in rows {
        assert_eq!(listed(more).err(), Some(Refused(want)), "{want}");
    }
    for start in ["", "2026", "20261131", "20260229", "today", "2026112\u{e9}"] {
        let found = read(&set(&entry(step(start, "CT", &[]), &[])), "ZZ001", &scope());
        assert_eq!(found.err(), Some(Refused(NO_START)), "{start}");
    }
}

/// DIM-120: an answer outside of what was asked for is passed over, whatever the worklist makes of the keys.
#[test]
fn what_was_not_asked_for_is_passed_over() {
    let rows = [
        ("20261127", "CT", "CT2", false),
        ("20261128", "CT", "CT2", true),
        ("20261129", "PT", "CT1\\CT2", true),
        ("20261130", "CT", "CT2", false),
        ("20261128", "MR", "CT2", false),
        ("20261128", "", "CT2", false),
        ("20261128", "CT", "CT22", false),
    ];
    for (day, modality, station, want) in rows {
        let found = read(&set(&entry(step(day, modality, &[(STATION, station)]), &[])), "ZZ001", &scope());
        assert_eq!(found.unwrap().is_some(), want, "{day} {modality} {station}");
    }
}

/// IDY-040, IDY-041, IDY-043: whose number it is, and which numbers are said to be one person's.
#[test]
fn numbers_are_known_by_their_issuer_alone() {
    let other = |id: &str, issuer: &str| {
        (OTHER_PATIENT_IDS, Key::Item([(PATIENT_ID, value(id)), (ISSUER_OF_PATIENT_ID, value(issuer))].into()))
    };
    let nhs = || (ISSUER_OF_PATIENT_ID, value("NHS"));
    let rows: [(More<'_>, &str, &[&str]); 7] = [
        (&[], "ZZ001:R7", &[]),
        (&[(ISSUER_OF_PATIENT_ID, value("ROYAL"))], "ROYAL:R7", &[]),
        (&[other("4000000004", "NHS")], "ZZ001:R7", &["ZZ001:R7=4000000004"]),
        (&[other("4000000004", "")], "ZZ001:R7", &[]),
        (&[(PATIENT_ID, value("4000000004")), nhs()], "NHS:4000000004", &[]),
        (&[(PATIENT_ID, value("4000000004")), nhs(), other("R8", "ZZ001")], "ZZ001:R8", &["ZZ001:R8=4000000004"]),
        (&[other("9434765919", "NHS")], "ZZ001:R7", &[]),
    ];
    for (more, patient, want) in rows {
        let found = good(more);
        let who = &found.order.patient;
        assert_eq!(format!("{}:{}", who.issuer, who.id), patient);
        let said = found.statements.iter();
        let said: Vec<String> =
            said.map(|(id, said)| format!("{}:{}={}", id.issuer, id.id, said.number.digits())).collect();
        assert_eq!(said, want, "{patient}");
    }
}

/// DIM-120: two patients with one number are neither of them believed, nor an order that two patients have; steps of one procedure are one
/// order, the same in whatever order they are listed.
#[test]
fn entries_that_contradict_one_another_are_not_used() {
    let one = |accession: &str, id: &str, born: &str, sex: &str| {
        let more = [(ACCESSION_NUMBER, accession), (PATIENT_ID, id), (PATIENT_BIRTH_DATE, born), (PATIENT_SEX, sex)];
        good(&more.map(|(tag, text)| (tag, value(text))))
    };
    let (all, refused) = orders(vec![
        one("A1", "R1", "19600229", "F"),
        one("A2", "R1", "", "F"),
        one("A3", "R2", "19600229", ""),
        one("A4", "R2", "19610101", ""),
        one("A5", "R3", "", "M"),
        one("A6", "R3", "", "F"),
        one("A7", "R4", "", ""),
        one("A7", "R5", "", ""),
        one("A8", "R6", "", "O"),
    ]);
    let names: Vec<&str> = all.iter().map(|one| one.order.accession.as_str()).collect();
    assert_eq!(names, ["A1", "A2", "A8"]);
    assert_eq!(refused, BTreeMap::from([(TWO_PATIENTS, 4), (TWO_OF_ORDER, 2)]));

    let of = |day: &str, modality: &str, status: &str| {
        read(&set(&entry(step(day, modality, &[(STEP_STATUS, status)]), &[])), "ZZ001", &scope()).unwrap().unwrap()
    };
    let steps = [of("20261129", "PT", "CANCELLED"), of("20261128", "CT", ""), of("20261129", "CT", "")];
    for at in 0..3 {
        let mut turned = steps.to_vec();
        turned.rotate_left(at);
        let (all, _) = orders(turned);
        let [Listed { order, .. }] = &all[..] else { unreachable!("one order") };
        assert_eq!([&order.modality, &order.scheduled, &order.control], ["CT\\PT", "20261128", "NW"]);
    }
}
