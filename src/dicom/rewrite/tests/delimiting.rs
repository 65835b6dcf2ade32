//! Sequences that end by the delimiter of an item: those that change end by their own, in the record too; the others stay.

use super::*;
use crate::dicom::attributes::OTHER_PATIENT_IDS;

const END: [u8; 8] = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0];
const LAST: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];

/// The same bytes whose last delimiter is that of an item.
fn wrongly_ended(bytes: &[u8]) -> Vec<u8> {
    [bytes.strip_suffix(&LAST).unwrap(), &END].concat()
}

fn parts(nodes: &[Node], form: Sample) -> [Vec<u8>; 2] {
    let (head, tail): (Vec<Node>, Vec<Node>) =
        nodes.iter().cloned().partition(|node| tag_of(node) < ORIGINAL_ATTRIBUTES);
    [encode(&head, form), encode(&tail, form)]
}

fn check(from: &str, edits: &Edits, input: &[u8], want: &[u8]) {
    assert_eq!(rewrite(from, edits, &[input]).unwrap().0, want, "{from}");
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(rewrite(from, edits, &bytes).unwrap().0, want, "{from}, byte by byte");
}

/// IDY-030: the record goes before the end, whichever it was; what is not changed keeps its bytes.
#[test]
fn a_record_is_appended_before_a_wrong_end() {
    let ours = record(previous(b"", b"4711", b""));
    let first = vec![sequence(0x0400_0550, Vr::SQ, false, vec![vec![]]), value(0x0400_0563, Vr::LO, b"Kent")];
    let other = sequence(0x0040_A730, Vr::SQ, false, vec![vec![value(0x0008_0104, Vr::LO, b"ab")]]);
    let changes = vec![value(0x0008_0050, Vr::SH, b""), value(0x0010_0020, Vr::LO, b"RTX:4711")];
    for (from, form) in NATIVE {
        let [head, tail] = parts(&instance(), form);
        let [changed, _] = parts(&with(&instance(), changes.clone()), form);
        let other = wrongly_ended(&encode(std::slice::from_ref(&other), form));
        let delimited = |(before, after): (Vec<u8>, Vec<u8>)| before.ends_with(&LAST).then_some((before, after));
        for (before, after) in existing(form, std::slice::from_ref(&first), &ours).into_iter().filter_map(delimited) {
            let input = [&head[..], &other, &wrongly_ended(&before), &tail].concat();
            check(from, &usual(), &input, &[&changed[..], &other, &after, &tail].concat());
        }
        // The items without lengths, and at the end of all.
        let items = |all: &[Vec<Node>]| encode(&[sequence(ORIGINAL_ATTRIBUTES.0, Vr::SQ, false, all.to_vec())], form);
        let before = items(std::slice::from_ref(&first));
        let mut item = encode(&[originals(vec![ours.clone()])], form);
        item.drain(..if form.explicit { 12 } else { 8 });
        let after = [before.strip_suffix(&LAST).unwrap(), &item, &LAST].concat();
        check(from, &usual(), &[head, wrongly_ended(&before)].concat(), &[changed, after].concat());
    }
}

/// IDY-030: what is taken away stands in the record as it should have stood.
#[test]
fn the_record_of_a_sequence_has_its_own_end() {
    let others = sequence(OTHER_PATIENT_IDS.0, Vr::SQ, false, vec![vec![value(0x0010_0020, Vr::LO, b"0815")]]);
    let mut edits = usual();
    edits.cleared = [(OTHER_PATIENT_IDS, Cleared::All)].into();
    for (from, form) in NATIVE {
        let nodes = with(&instance(), vec![others.clone()]);
        let right = encode(&nodes, form);
        let (want, _) = rewrite(from, &edits, &[&right]).unwrap();
        let one = encode(std::slice::from_ref(&others), form);
        let at = right.windows(one.len()).position(|window| window == one).unwrap();
        let input = [&right[..at], &wrongly_ended(&one), &right[at + one.len()..]].concat();
        check(from, &edits, &input, &want);
    }
}
