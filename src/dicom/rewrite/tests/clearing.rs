//! Sequences of which something goes: all their items, or a text in each.

use super::*;
use crate::dicom::attributes::{OTHER_PATIENT_IDS, REQUEST_ATTRIBUTES};

fn changes() -> Edits {
    let mut edits = usual();
    let text = Cleared::Text(ACCESSION_NUMBER);
    edits.cleared = [(OTHER_PATIENT_IDS, Cleared::All), (REQUEST_ATTRIBUTES, text)].into();
    edits
}

/// Other numbers of a patient, in a sequence of this representation.
fn others(vr: Vr, defined: bool) -> Node {
    let qualifiers = sequence(0x0010_0024, vr, defined, vec![vec![value(0x0040_0032, Vr::UT, b"1.2 ")]]);
    let one = vec![value(0x0010_0020, Vr::LO, b"0815"), value(0x0010_0021, Vr::LO, b"RTX "), qualifiers];
    sequence(OTHER_PATIENT_IDS.0, vr, defined, vec![one, vec![value(0x0010_0020, Vr::LO, b"99")]])
}

/// Two requests with these accession numbers, in the second of which one stands deeper too.
fn requests(defined: bool, numbers: [&[u8]; 2]) -> Node {
    let number = |at: usize| value(0x0008_0050, Vr::SH, numbers[at]);
    let deeper = sequence(0x0040_0008, Vr::SQ, defined, vec![vec![value(0x0008_0050, Vr::SH, b"DEEP")]]);
    let items = vec![vec![number(0), value(0x0040_1001, Vr::SH, b"RP1 ")], vec![number(1), deeper], vec![]];
    sequence(REQUEST_ATTRIBUTES.0, Vr::SQ, defined, items)
}

/// IDY-030, IDY-040: the items are gone, the text is blank, nothing else of its sequence changes, and the record has both sequences whole.
#[test]
fn a_sequence_is_emptied_or_a_text_in_it_blanked_and_recorded_whole() {
    for (from, form) in NATIVE {
        for defined in [true, false] {
            let (others, was) = (others(Vr::SQ, defined), requests(defined, [b"ACC1", b"A9"]));
            let nodes = with(&instance(), vec![others.clone(), was.clone()]);
            let recorded = [previous(b"", b"4711", b""), vec![others, was]].concat();
            let changed = vec![
                value(0x0008_0050, Vr::SH, b""),
                value(0x0010_0020, Vr::LO, b"RTX:4711"),
                sequence(OTHER_PATIENT_IDS.0, Vr::SQ, true, vec![]),
                requests(defined, [b"    ", b"  "]),
                originals(vec![record(recorded)]),
            ];
            let (input, want) = (encode(&nodes, form), encode(&with(&nodes, changed), form));
            let (found, _) = survey(from, &[&input]).unwrap();
            assert_eq!(found.filled, BTreeSet::from([OTHER_PATIENT_IDS, REQUEST_ATTRIBUTES]), "{from} {defined}");
            assert_eq!(rewrite(from, &changes(), &[&input]).unwrap().0, want, "{from} {defined}");
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            assert_eq!(rewrite(from, &changes(), &bytes).unwrap().0, want, "{from} {defined}, byte by byte");
            assert_eq!(survey(from, &[&want]).unwrap().0.filled, BTreeSet::new(), "nothing is left to be cleared");
        }
    }
}

/// What some writers write as UN is taken away as well.
#[test]
fn a_sequence_of_unknown_representation_is_emptied_too() {
    for defined in [true, false] {
        let nodes = with(&instance(), vec![others(Vr::UN, defined)]);
        let input = encode(&nodes, EXPLICIT);
        assert_eq!(survey(EXPLICIT_VR_LE, &[&input]).unwrap().0.filled, BTreeSet::from([OTHER_PATIENT_IDS]));
        let (out, _) = rewrite(EXPLICIT_VR_LE, &changes(), &[&input]).unwrap();
        assert_eq!(survey(EXPLICIT_VR_LE, &[&out]).unwrap().0.filled, BTreeSet::new());
        let mut record = encode(&[others(Vr::UN, defined)], EXPLICIT);
        record.truncate(60);
        assert_eq!(out.windows(record.len()).filter(|at| *at == record).count(), 1, "it stands in the record alone");
    }
}

#[test]
fn what_is_empty_or_cannot_be_cleared_is_told() {
    let empty = |defined| sequence(OTHER_PATIENT_IDS.0, Vr::SQ, defined, vec![]);
    for nodes in [vec![empty(true)], vec![empty(false)], vec![requests(true, [b"", b"    "])], vec![]] {
        let input = encode(&with(&instance(), nodes), EXPLICIT);
        assert_eq!(survey(EXPLICIT_VR_LE, &[&input]).unwrap().0.filled, BTreeSet::new());
    }
    let long = vec![vec![value(0x0010_0020, Vr::LO, &[b'7'; 40_000])]; 2];
    for defined in [true, false] {
        let nodes = with(&instance(), vec![sequence(OTHER_PATIENT_IDS.0, Vr::SQ, defined, long.clone())]);
        let refused = rewrite(EXPLICIT_VR_LE, &changes(), &[&encode(&nodes, EXPLICIT)]).unwrap_err();
        assert_eq!(refused, RewriteError::TooLong { tag: OTHER_PATIENT_IDS });
    }
    let text = with(&instance(), vec![value(OTHER_PATIENT_IDS.0, Vr::LO, b"ab")]);
    assert!(rewrite(EXPLICIT_VR_LE, &changes(), &[&encode(&text, EXPLICIT)]).is_err());
    let mut wrong = usual();
    wrong.cleared.insert(PATIENT_ID, Cleared::All);
    assert_eq!(Rewriter::new(&ts(JPEG), wrong).err(), Some(RewriteError::Attribute { tag: PATIENT_ID }));
}

/// Several numbers without issuers are recorded as they were: the attribute may have several values.
#[test]
fn several_values_are_recorded_where_there_may_be_several() {
    let numbers = |text: &[u8]| value(0x0010_1000, Vr::LO, text);
    let nodes = with(&instance(), vec![numbers(b"0815\\99 ")]);
    let mut edits = usual();
    edits.values.insert(Tag(0x0010_1000), Box::default());
    let mut recorded = previous(b"", b"4711", b"");
    recorded.push(numbers(b"0815\\99 "));
    let changed = vec![
        value(0x0008_0050, Vr::SH, b""),
        value(0x0010_0020, Vr::LO, b"RTX:4711"),
        numbers(b""),
        originals(vec![record(recorded)]),
    ];
    let (out, _) = rewrite(EXPLICIT_VR_LE, &edits, &[&encode(&nodes, EXPLICIT)]).unwrap();
    assert_eq!(out, encode(&with(&nodes, changed), EXPLICIT));
}
