//! The truth tables of the cross-reference.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::dicom::charset::Charset;
use crate::dicom::other_ids::OtherId;

const ANN: &str = "4000000004";
const BOB: &str = "6000000006";

fn number(text: &str) -> NhsNumber {
    NhsNumber::parse(text).unwrap()
}

fn said(text: &str, birth_date: &str) -> Said {
    Said { number: number(text), birth_date: birth_date.into() }
}

/// "Whom to ask for priors", IDY-040, IDY-045: a number is somebody's only if all that was said agrees, and the birth date with it.
#[test]
fn a_number_is_linked_only_if_all_agrees() {
    let nobody = Link::Nobody;
    let ann = Link::To(number(ANN));
    type Row<'a> = (&'a str, &'a [Said], &'a [&'a str], &'a [&'a str], Link);
    let rows: &[Row<'_>] = &[
        ("nothing said", &[], &[], &["19600229"], nobody(Unlinked::NotKnown)),
        ("all agree", &[said(ANN, "19600229")], &["19600229"], &["19600229"], ann),
        ("said twice", &[said(ANN, "19600229"), said(ANN, "")], &["19600229", ""], &["19600229", "19600229"], ann),
        (
            "two numbers",
            &[said(ANN, "19600229"), said(BOB, "19600229")],
            &[],
            &["19600229"],
            nobody(Unlinked::Contradicted),
        ),
        (
            "two birth dates said",
            &[said(ANN, "19600229"), said(ANN, "19600228")],
            &[],
            &["19600229"],
            nobody(Unlinked::Contradicted),
        ),
        (
            "the number is another's elsewhere",
            &[said(ANN, "19600229")],
            &["19600229", "20010101"],
            &["19600229"],
            nobody(Unlinked::Contradicted),
        ),
        (
            "another birth date",
            &[said(ANN, "19600229")],
            &["19600229"],
            &["19600228"],
            nobody(Unlinked::BirthDateDiffers),
        ),
        (
            "known by two",
            &[said(ANN, "19600229")],
            &["19600229"],
            &["19600229", "19600228"],
            nobody(Unlinked::BirthDateDiffers),
        ),
        ("not known by any", &[said(ANN, "19600229")], &["19600229"], &[""], nobody(Unlinked::NoBirthDate)),
        ("none was said", &[said(ANN, "")], &[""], &["19600229"], nobody(Unlinked::NoBirthDate)),
        ("written as before", &[said(ANN, "19600229")], &["1960.02.29"], &["1960.02.29", "19600229"], ann),
        ("said of the number alone", &[said(ANN, "")], &["", "19600229"], &["19600229"], ann),
    ];
    for (name, said, of_number, known, want) in rows {
        let owned = |list: &[&str]| list.iter().map(|date| (*date).to_owned()).collect::<Vec<_>>();
        assert_eq!(link(said, &owned(of_number), &owned(known)), *want, "{name}");
    }
}

#[test]
fn birth_dates_are_read_and_checked() {
    let rows = [
        ("19600229", Some("19600229")),
        ("1960-02-29", Some("19600229")),
        ("1960.02.29", Some("19600229")),
        ("1960.02-29", None),
        (" 19600229 ", Some("19600229")),
        ("29/02/1960", None),
        ("1960", None),
        ("19601301", None),
        ("19600132", None),
        ("00000000", None),
        ("1960-2-29", None),
        ("", None),
    ];
    for (text, want) in rows {
        assert_eq!(birth_date(text).as_deref(), want, "{text}");
    }
}

fn object(id: &str, issuer: &str, others: &[(&str, &str)]) -> Attributes {
    let mut attributes = Attributes::default();
    for (tag, text) in [(PATIENT_ID, id), (ISSUER_OF_PATIENT_ID, issuer), (PATIENT_BIRTH_DATE, "19600229")] {
        attributes.values.insert(tag, text.as_bytes().into());
    }
    attributes.other_ids =
        others.iter().map(|(id, issuer)| OtherId { id: (*id).into(), issuer: (*issuer).into() }).collect();
    attributes
}

/// IDY-041: what an object says links numbers of different issuers, in whichever place the NHS number stands.
#[test]
fn an_object_links_the_numbers_that_stand_in_it() {
    type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str, &'a str)]);
    let rows: &[Row<'_>] = &[
        ("R7", "", &[(ANN, "NHS")], &[("Royal", "R7", ANN)]),
        ("R7", "Kent", &[("400 000 0004", "NHS")], &[("Kent", "R7", ANN)]),
        (ANN, "NHS", &[("R7", "Royal")], &[("Royal", "R7", ANN)]),
        ("R7", "", &[(ANN, "NHS"), ("K9", "Kent")], &[("Royal", "R7", ANN), ("Kent", "K9", ANN)]),
        ("R7", "", &[(ANN, "NHS"), (BOB, "NHS")], &[("Royal", "R7", ANN), ("Royal", "R7", BOB)]),
        // Ten digits are an NHS number only where the issuer says so.
        ("R7", "", &[(ANN, "Kent"), (ANN, "")], &[]),
        ("R7", "", &[("9434765919", "NHS")], &[]),
        ("R7", "", &[("4000000005", "NHS")], &[]),
        ("", "", &[(ANN, "NHS")], &[]),
        ("R7", "", &[], &[]),
    ];
    for (id, issuer, others, want) in rows {
        let got = statements(&object(id, issuer, others), "Royal");
        let got: Vec<_> =
            got.iter().map(|(id, said)| (id.issuer.as_str(), id.id.as_str(), said.number.digits())).collect();
        let want: Vec<_> = want.iter().map(|(issuer, id, number)| (*issuer, *id, (*number).to_owned())).collect();
        assert_eq!(got, want, "{id} of {issuer:?} beside {others:?}");
    }
}

/// Two numbers of which one letter could not be read would be one: they say nothing, and the others beside them do.
#[test]
fn a_number_that_cannot_be_read_is_nobodys() {
    let mut attributes = object("R7", "", &[(ANN, "NHS"), ("K\u{FFFD}9", "Kent"), ("L3", "Leeds")]);
    let said_of = |attributes: &Attributes| {
        statements(attributes, "Royal").into_iter().map(|(id, _)| id.id).collect::<Vec<String>>()
    };
    assert_eq!(said_of(&attributes), ["R7", "L3"]);
    attributes.charset = Charset::declared(b"ISO_IR 192");
    attributes.values.insert(PATIENT_ID, Box::from(&b"R\xDC7"[..]));
    assert_eq!(said_of(&attributes), ["L3"]);
}

#[test]
fn words_and_debug_hold_nothing_of_a_patient() {
    let id = LocalId::new("Royal", "R7").unwrap();
    let text = format!("{id:?} {:?} {:?}", said(ANN, "19600229"), Link::To(number(ANN)));
    assert_eq!(text, "LocalId Said To(NhsNumber)");
    assert_eq!(LocalId::new("Royal", " "), None);
    assert_eq!(LocalId::new("", "R7"), None);
    assert_eq!(LocalId::new("Royal", "R\n7"), None);
}
