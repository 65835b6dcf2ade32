//! The scanner against every way to write the sequence, and every way to write it wrong.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::dicom::attributes::{SERIES_INSTANCE_UID, SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID};
use crate::dicom::head::Attributes;
use crate::dicom::sample::{self, Form, Node};
use crate::dicom::scanner::{Limits, Scanner};
use crate::dicom::uid::TransferSyntaxUid;
use crate::dicom::vr::Vr;

fn value(tag: Tag, vr: &[u8; 2], text: &str) -> Node {
    let mut value = text.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), if vr == b"UI" { 0 } else { b' ' });
    Node::Value { tag, vr: Vr(*vr), value }
}

fn sequence(tag: Tag, defined: bool, items: Vec<Vec<Node>>) -> Node {
    let items = items.into_iter().map(|nodes| sample::Item { defined, nodes }).collect();
    Node::Sequence { tag, vr: Vr(*b"SQ"), defined, items }
}

fn other(defined: bool, id: &str, issuer: &str, entity: Option<&str>) -> Vec<Node> {
    let mut nodes = vec![value(PATIENT_ID, b"LO", id), value(ISSUER_OF_PATIENT_ID, b"LO", issuer)];
    if let Some(entity) = entity {
        let inner = vec![value(Tag::new(0x0040, 0x0031), b"UT", "local"), value(UNIVERSAL_ENTITY, b"UT", entity)];
        nodes.push(sequence(ISSUER_QUALIFIERS, defined, vec![inner]));
    }
    nodes
}

/// A data set whose sequence of other numbers is this.
fn whole(others: Node) -> Vec<Node> {
    vec![
        value(SOP_CLASS_UID, b"UI", "1.2.840.10008.5.1.4.1.1.2"),
        value(SOP_INSTANCE_UID, b"UI", "1.2.3"),
        value(PATIENT_ID, b"LO", "R7"),
        others,
        value(STUDY_INSTANCE_UID, b"UI", "1.2.3.4"),
        value(SERIES_INSTANCE_UID, b"UI", "1.2.3.5"),
    ]
}

fn scan(bytes: &[u8], syntax: &str, piece: usize) -> Attributes {
    let mut scanner = Scanner::new(&TransferSyntaxUid::parse(syntax).unwrap(), Limits::default());
    bytes.chunks(piece).for_each(|bytes| scanner.push(bytes).unwrap());
    scanner.finish().unwrap().attributes
}

fn found(attributes: &Attributes) -> Vec<(&str, &str)> {
    attributes.other_ids.iter().map(|other| (other.id.as_str(), other.issuer.as_str())).collect()
}

/// IDY-041: the same is found however the sequence is written and however the bytes come; the patient's own number stays its own.
#[test]
fn other_numbers_are_found_with_their_issuers() {
    let rows: [(Form, &str); 4] = [
        (sample::EXPLICIT, "1.2.840.10008.1.2.1"),
        (sample::DELIMITED, "1.2.840.10008.1.2.1"),
        (sample::IMPLICIT, "1.2.840.10008.1.2"),
        (sample::BIG, "1.2.840.10008.1.2.2"),
    ];
    for (form, syntax) in rows {
        for defined in [true, false] {
            let items = vec![
                other(defined, "4000000004", "NHS", None),
                other(defined, "6000000006", "", Some(nhs_number::ISSUER_OID)),
                other(defined, "K9", "Kent", Some("1.2.3")),
                other(defined, "X", "", None),
                other(defined, "", "Kent", None),
            ];
            let bytes = sample::encode(&whole(sequence(OTHER_PATIENT_IDS, defined, items)), form);
            for piece in [1, 7, bytes.len()] {
                let attributes = scan(&bytes, syntax, piece);
                let want = [("4000000004", "NHS"), ("6000000006", "NHS"), ("K9", "Kent"), ("X", "")];
                assert_eq!(found(&attributes), want, "{form:?} defined {defined} by {piece}");
                assert_eq!(attributes.text(PATIENT_ID).unwrap(), "R7");
            }
        }
    }
}

/// What is too much is left out, and what is broken inside a sequence of defined length costs nothing but itself.
#[test]
fn it_is_bounded_and_never_refuses() {
    let many = (0..100).map(|n| other(true, &format!("N{n}"), "Kent", None)).collect();
    let bytes = sample::encode(&whole(sequence(OTHER_PATIENT_IDS, false, many)), sample::EXPLICIT);
    assert_eq!(scan(&bytes, "1.2.840.10008.1.2.1", 64).other_ids.len(), MOST);
    let long = vec![other(true, &"9".repeat(300), "Kent", None), other(true, "K", &"I".repeat(65), None)];
    let bytes = sample::encode(&whole(sequence(OTHER_PATIENT_IDS, true, long)), sample::EXPLICIT);
    assert_eq!(found(&scan(&bytes, "1.2.840.10008.1.2.1", 64)), []);
    let broken = Node::Value { tag: OTHER_PATIENT_IDS, vr: Vr(*b"SQ"), value: b"no items are in here".to_vec() };
    let bytes = sample::encode(&whole(broken), sample::EXPLICIT);
    assert_eq!(found(&scan(&bytes, "1.2.840.10008.1.2.1", 3)), []);
    let huge = (0..2000).map(|n| other(true, &format!("N{n}"), "Kent", None)).collect();
    let bytes = sample::encode(&whole(sequence(OTHER_PATIENT_IDS, true, huge)), sample::EXPLICIT);
    assert_eq!(found(&scan(&bytes, "1.2.840.10008.1.2.1", 4096)), []);
}

/// An item of another sequence that stands within is no item of this one.
#[test]
fn what_stands_deeper_is_not_taken_for_a_number() {
    for defined in [true, false] {
        let within = sequence(Tag::new(0x0010, 0x1005), defined, vec![other(defined, "WRONG", "Kent", None)]);
        let mut item = other(defined, "RIGHT", "Kent", None);
        item.push(within);
        let bytes = sample::encode(&whole(sequence(OTHER_PATIENT_IDS, defined, vec![item])), sample::EXPLICIT);
        assert_eq!(found(&scan(&bytes, "1.2.840.10008.1.2.1", 5)), [("RIGHT", "Kent")], "{defined}");
    }
}

#[test]
fn debug_says_nothing_of_a_patient() {
    let other = OtherId { id: "R7".into(), issuer: "Kent".into() };
    assert_eq!(format!("{other:?}"), "OtherId");
}
