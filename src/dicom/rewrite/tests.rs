//! What the rewriter writes, against the same data set written by the tests' own encoder.

#![allow(clippy::unwrap_used)]

mod appending;
mod clearing;
mod delimiting;
mod guarding;

use super::*;
use crate::dicom::attributes::{ACCESSION_NUMBER, ISSUER_OF_PATIENT_ID, PATIENT_ID};
use crate::dicom::sample::{EXPLICIT, Form as Sample, IMPLICIT, Node, cuts, encode, instance, nodes, pieces};
use crate::dicom::sample::{sequence, value};
use crate::dicom::transfer_syntax::{
    DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, GE_PRIVATE_IMPLICIT_VR, IMPLICIT_VR_LE,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const JPEG: &str = "1.2.840.10008.1.2.4.70";
/// Native encodings, by transfer syntax.
const NATIVE: [(&str, Sample); 2] = [(IMPLICIT_VR_LE, IMPLICIT), (EXPLICIT_VR_LE, EXPLICIT)];

fn ts(uid: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(uid).unwrap()
}

/// 2024-02-29 12:34:56.789012 UTC and a little more than DT can hold.
fn moment() -> SystemTime {
    UNIX_EPOCH + Duration::new(1_709_210_096, 789_012_345)
}

fn edits(values: &[(Tag, &[u8])]) -> Edits {
    Edits {
        values: values.iter().map(|(tag, value)| (*tag, (*value).into())).collect(),
        items: Default::default(),
        cleared: Default::default(),
        known: Default::default(),
        beside: BTreeSet::from([ISSUER_OF_PATIENT_ID]),
        at: moment(),
        system: "Hampshire".into(),
        source: "surrey".into(),
    }
}

/// The usual change: a prefix and no accession number.
fn usual() -> Edits {
    edits(&[(PATIENT_ID, b"RTX:4711"), (ACCESSION_NUMBER, b"")])
}

fn rewrite(from: &str, edits: &Edits, input: &[&[u8]]) -> Result<(Vec<u8>, Report), RewriteError> {
    let mut rewriter = Rewriter::new(&ts(from), edits.clone())?;
    let mut out = Vec::new();
    for piece in input {
        rewriter.push(piece, &mut out)?;
    }
    let report = rewriter.finish(&mut out)?;
    assert_eq!(report.bytes, out.len() as u64);
    Ok((out, report))
}

fn survey(from: &str, input: &[&[u8]]) -> Result<(Found, usize), RewriteError> {
    let mut survey = Survey::new(&ts(from), "Hampshire")?;
    let mut read = 0;
    for piece in input {
        if survey.push(piece)? {
            break;
        }
        read += piece.len();
    }
    Ok((survey.finish()?, read))
}

/// One of our items, with these previous values.
fn record(previous: Vec<Node>) -> Vec<Node> {
    record_by(b"Hampshire ", previous)
}

fn record_by(system: &[u8], previous: Vec<Node>) -> Vec<Node> {
    vec![
        sequence(0x0400_0550, Vr::SQ, true, vec![previous]),
        value(0x0400_0562, Vr::DT, b"20240229123456.789012+0000"),
        value(0x0400_0563, Vr::LO, system),
        value(0x0400_0564, Vr::LO, b"surrey"),
        value(0x0400_0565, Vr::CS, b"COERCE"),
    ]
}

fn previous(accession: &[u8], id: &[u8], issuer: &[u8]) -> Vec<Node> {
    vec![value(0x0008_0050, Vr::SH, accession), value(0x0010_0020, Vr::LO, id), value(0x0010_0021, Vr::LO, issuer)]
}

fn originals(items: Vec<Vec<Node>>) -> Node {
    sequence(0x0400_0561, Vr::SQ, true, items)
}

/// The items of a sequence.
type Items = Vec<Vec<Node>>;

fn tag_of(node: &Node) -> Tag {
    match node {
        Node::Value { tag, .. } | Node::Sequence { tag, .. } => *tag,
        Node::Fragments { .. } => Tag::new(0x7FE0, 0x0010),
    }
}

/// The data set with these nodes in their places, instead of those of the same tag.
fn with(nodes: &[Node], changes: Vec<Node>) -> Vec<Node> {
    let mut all = nodes.to_vec();
    for change in changes {
        all.retain(|node| tag_of(node) != tag_of(&change));
        let at = all.iter().position(|node| tag_of(node) > tag_of(&change)).unwrap_or(all.len());
        all.insert(at, change);
    }
    all
}

fn encapsulated() -> Vec<Node> {
    let mut nodes = instance();
    nodes.pop();
    nodes.push(Node::Fragments { fragments: vec![vec![], vec![1; 300], vec![2; 8]] });
    nodes
}

#[test]
fn what_is_to_change_changes_and_what_it_was_is_recorded() {
    let accession = |number: &[u8]| value(0x0008_0050, Vr::SH, number);
    let id = |id: &[u8]| value(0x0010_0020, Vr::LO, id);
    let issuer = value(0x0010_0021, Vr::LO, b"RTX ");
    let cases: Vec<(Vec<Node>, Vec<Node>)> = vec![
        // Present, with an issuer; present without one; absent altogether.
        (vec![accession(b"A-1 "), issuer.clone()], previous(b"A-1 ", b"4711", b"RTX ")),
        (vec![accession(b"A-1 ")], previous(b"A-1 ", b"4711", b"")),
        (vec![], previous(b"", b"4711", b"")),
        (vec![id(b"")], previous(b"", b"", b"")),
    ];
    for (before, recorded) in cases {
        for nodes in [instance(), encapsulated()] {
            for (from, form) in NATIVE.into_iter().chain([(JPEG, EXPLICIT), (GE_PRIVATE_IMPLICIT_VR, IMPLICIT)]) {
                let input = with(&nodes, before.clone());
                let changes = vec![accession(b""), id(b"RTX:4711"), originals(vec![record(recorded.clone())])];
                let want = encode(&with(&input, changes), form);
                let (out, report) = rewrite(from, &usual(), &[&encode(&input, form)]).unwrap();
                assert_eq!(out, want, "{from} {before:?}");
                assert_eq!((report.changed, report.left_out), (vec![ACCESSION_NUMBER, PATIENT_ID], 0));
            }
        }
    }
}

#[test]
fn an_odd_value_is_padded_and_a_wrong_representation_is_not_kept() {
    let input = with(&instance(), vec![value(0x0010_0020, Vr::UN, b"471")]);
    let recorded = record(previous(b"", b"471 ", b""));
    let changes =
        vec![value(0x0008_0050, Vr::SH, b""), value(0x0010_0020, Vr::LO, b"X:471 "), originals(vec![recorded])];
    let edits = edits(&[(PATIENT_ID, b"X:471"), (ACCESSION_NUMBER, b"")]);
    let (out, _) = rewrite(EXPLICIT_VR_LE, &edits, &[&encode(&input, EXPLICIT)]).unwrap();
    assert_eq!(out, encode(&with(&input, changes), EXPLICIT));
}

#[test]
fn names_that_the_character_set_may_not_hold_are_made_plain() {
    let edits = Edits { system: "Z\u{fc}rich\\1 ".into(), source: "x".repeat(70), ..usual() };
    let (out, _) = rewrite(EXPLICIT_VR_LE, &edits, &[&encode(&instance(), EXPLICIT)]).unwrap();
    for want in [&b"LO\x08\0Z?rich?1"[..], &[&b"LO\x40\0"[..], &[b'x'; 64], b"\0\x04\x65\x05"].concat()] {
        assert!(out.windows(want.len()).any(|window| window == want));
    }
}

/// Ways in which Original Attributes Sequence may be there: as SQ or UN, with and without a length. Each as its bytes, and as its
/// bytes with another item.
fn existing(form: Sample, earlier: &[Vec<Node>], appended: &[Node]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let items = |form: Sample, items: &[Vec<Node>]| {
        let mut bytes = encode(&[originals(items.to_vec())], form);
        bytes.drain(..if form.explicit { 12 } else { 8 });
        bytes
    };
    let whole = |vr, length: u32, content: &[u8], delimited: bool| {
        let mut bytes = Vec::new();
        form.header(&mut bytes, ORIGINAL_ATTRIBUTES, vr, length);
        bytes.extend(content);
        if delimited {
            bytes.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        }
        bytes
    };
    let one = [appended.to_vec()];
    [(Vr::SQ, form), (Vr::UN, IMPLICIT)]
        .into_iter()
        .flat_map(|(vr, inside)| {
            let before = items(inside, earlier);
            let after = [before.clone(), items(inside, &one)].concat();
            [false, true].map(|delimited| {
                let length = |content: &[u8]| if delimited { u32::MAX } else { content.len() as u32 };
                (whole(vr, length(&before), &before, delimited), whole(vr, length(&after), &after, delimited))
            })
        })
        .collect()
}

#[test]
fn earlier_records_stay_and_ours_comes_after_them() {
    let ours = record(previous(b"", b"4711", b""));
    let first = vec![value(0x0400_0563, Vr::LO, b"Kent"), sequence(0x0400_0550, Vr::SQ, false, vec![vec![]])];
    let head: Vec<Node> = instance().into_iter().filter(|node| tag_of(node) < ORIGINAL_ATTRIBUTES).collect();
    let tail: Vec<Node> = instance().into_iter().filter(|node| tag_of(node) > ORIGINAL_ATTRIBUTES).collect();
    let changes = vec![value(0x0008_0050, Vr::SH, b""), value(0x0010_0020, Vr::LO, b"RTX:4711")];
    for (from, form) in NATIVE {
        for earlier in [vec![], vec![first.clone()], vec![first.clone(), record(vec![])]] {
            for (before, after) in existing(form, &earlier, &ours) {
                for tail in [&tail[..], &[]] {
                    let input = [encode(&head, form), before.clone(), encode(tail, form)].concat();
                    let want =
                        [encode(&with(&head, changes.clone()), form), after.clone(), encode(tail, form)].concat();
                    assert_eq!(rewrite(from, &usual(), &[&input]).unwrap().0, want, "{from} {before:?}");
                    let bytes: Vec<&[u8]> = input.chunks(1).collect();
                    assert_eq!(rewrite(from, &usual(), &bytes).unwrap().0, want, "{from} {before:?}");
                }
            }
        }
    }
}

#[test]
fn what_would_no_longer_be_true_is_left_out() {
    let length = |group: u32| value(group << 16, Vr::UL, &[9, 0, 0, 0]);
    let kept = [length(0x0018), length(0x0028)];
    let dropped = [length(0x0008), value(0x0008_0001, Vr::UL, &[9, 0, 0, 0]), length(0x0010), length(0x0400)];
    for (from, form) in NATIVE {
        let clean = with(&instance(), kept.to_vec());
        let input = with(&clean, dropped.to_vec());
        let (out, report) = rewrite(from, &usual(), &[&encode(&input, form)]).unwrap();
        assert_eq!(out, rewrite(from, &usual(), &[&encode(&clean, form)]).unwrap().0);
        assert_eq!(report.left_out, 4);
        // Inside an item they count what does not change.
        let inner = with(&instance(), vec![sequence(0x0008_1140, Vr::SQ, true, vec![vec![length(0x0010)]])]);
        assert_eq!(rewrite(from, &usual(), &[&encode(&inner, form)]).unwrap().1.left_out, 0);
    }
}

#[test]
fn padding_and_short_data_sets_keep_their_end() {
    let head: Vec<Node> = instance().into_iter().filter(|node| tag_of(node) < Tag(0x0010_0020)).collect();
    let changes = vec![
        value(0x0008_0050, Vr::SH, b""),
        value(0x0010_0020, Vr::LO, b"RTX:4711"),
        originals(vec![record(previous(b"", b"", b""))]),
    ];
    let want = with(&head, changes);
    for (from, form) in NATIVE {
        for zeros in [0, 1, 7, 8, 9, 4096] {
            let padding = vec![0; zeros];
            let input = [encode(&head, form), padding.clone()].concat();
            let want = [encode(&want, form), padding].concat();
            assert_eq!(rewrite(from, &usual(), &[&input]).unwrap().0, want, "{zeros}");
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            assert_eq!(rewrite(from, &usual(), &bytes).unwrap().0, want, "{zeros}");
        }
    }
    // Fragments without their delimiter are kept so.
    let mut input = encode(&encapsulated(), EXPLICIT);
    input.truncate(input.len() - 8);
    let (out, _) = rewrite(JPEG, &usual(), &[&input]).unwrap();
    let (whole, _) = rewrite(JPEG, &usual(), &[&encode(&encapsulated(), EXPLICIT)]).unwrap();
    assert_eq!(out, whole[..whole.len() - 8]);
}

#[test]
fn a_previous_value_that_is_not_allowed_is_recorded_apart() {
    let set = |term: &[u8]| value(0x0008_0005, Vr::CS, term);
    let sixteen = "\u{e9}".repeat(16);
    // Character set, accession number, whether it conforms.
    let cases: [(&[u8], &[u8], bool); 6] = [
        (b"ISO_IR 100", b"1234567890123456", true),
        (b"ISO_IR 100", b"123456789012345678", false),
        (b"ISO_IR 192", sixteen.as_bytes(), true),
        (b"ISO_IR 100", sixteen.as_bytes(), false),
        (b"ISO_IR 100", b"A\\B ", false),
        (b"ISO_IR 100", b"A\nB ", false),
    ];
    for (from, form) in NATIVE {
        for (term, number, conforms) in cases {
            let input = with(&instance(), vec![set(term), value(0x0008_0050, Vr::SH, number)]);
            let mut item = record(previous(if conforms { number } else { b"" }, b"4711", b""));
            if !conforms {
                let kept = vec![value(0x0072_0026, Vr::AT, &[0x08, 0, 0x50, 0]), value(0x0400_0552, Vr::OB, number)];
                item.insert(1, sequence(0x0400_0551, Vr::SQ, true, vec![kept]));
            }
            let changes =
                vec![value(0x0008_0050, Vr::SH, b""), value(0x0010_0020, Vr::LO, b"RTX:4711"), originals(vec![item])];
            let (out, _) = rewrite(from, &usual(), &[&encode(&input, form)]).unwrap();
            assert_eq!(out, encode(&with(&input, changes), form), "{number:?}");
        }
    }
}

/// The instance with a node at the end of its head, or right at the end.
fn late(node: Node) -> Vec<Node> {
    let mut nodes = instance();
    nodes.push(node);
    nodes
}

#[test]
fn what_readers_would_read_differently_is_refused() {
    let disordered = |tag| RewriteError::Disordered { tag };
    let malformed = |tag, why| StructureError::Malformed { tag: Some(tag), why }.into();
    let twice = |node: Node| {
        let mut nodes = instance();
        let at = nodes.iter().position(|other| tag_of(other) >= tag_of(&node)).unwrap();
        nodes.splice(at..at, [node.clone(), node]);
        nodes
    };
    let accession = value(0x0008_0050, Vr::SH, b"A1");
    let issuer = value(0x0010_0021, Vr::LO, b"RTX ");
    let text = "a sequence where a text should be";
    let as_sequence = |defined| sequence(0x0010_0020, Vr::SQ, defined, vec![]);
    let wrong = value(0x0400_0561, Vr::LO, b"ab");
    let cases: Vec<(Vec<Node>, RewriteError)> = vec![
        (twice(accession.clone()), disordered(ACCESSION_NUMBER)),
        (twice(issuer.clone()), disordered(ISSUER_OF_PATIENT_ID)),
        (twice(originals(vec![])), disordered(ORIGINAL_ATTRIBUTES)),
        (late(accession), disordered(ACCESSION_NUMBER)),
        (late(issuer), disordered(ISSUER_OF_PATIENT_ID)),
        (late(originals(vec![])), disordered(ORIGINAL_ATTRIBUTES)),
        (with(&instance(), vec![as_sequence(false)]), malformed(PATIENT_ID, text)),
        (with(&instance(), vec![as_sequence(true)]), malformed(PATIENT_ID, text)),
        (with(&instance(), vec![wrong]), malformed(ORIGINAL_ATTRIBUTES, "something else than a sequence")),
        (
            with(&instance(), vec![value(0x0010_0020, Vr::LO, &[b'x'; LONGEST_VALUE + 2])]),
            RewriteError::TooLong { tag: PATIENT_ID },
        ),
    ];
    for (nodes, want) in cases {
        let error = rewrite(EXPLICIT_VR_LE, &usual(), &[&encode(&nodes, EXPLICIT)]).unwrap_err();
        assert_eq!(error, want);
        assert!(error.tag().is_some() && !format!("{error} {error:?}").contains("4711"));
    }
    // What does not matter may stand anywhere.
    assert!(rewrite(EXPLICIT_VR_LE, &usual(), &[&encode(&late(value(0x0008_0060, Vr::CS, b"CT")), EXPLICIT)]).is_ok());
    let whole = encode(&instance(), EXPLICIT);
    let cut = rewrite(EXPLICIT_VR_LE, &usual(), &[&whole[..whole.len() - 1]]).unwrap_err();
    assert_eq!(cut, StructureError::Truncated { tag: Some(Tag::new(0x7FE0, 0x0010)) }.into());
    // Fragments before their place, and no end of them.
    let open: &[u8] = b"\x08\0\x08\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0\0\0\0\0";
    assert!(matches!(rewrite(JPEG, &usual(), &[open]), Err(RewriteError::Structure(StructureError::Truncated { .. }))));
}

#[test]
fn only_what_can_be_changed_in_passing_is_taken() {
    for (uid, taken) in [
        (IMPLICIT_VR_LE, true),
        (EXPLICIT_VR_LE, true),
        (GE_PRIVATE_IMPLICIT_VR, true),
        (JPEG, true),
        ("1.2.3", true),
        (EXPLICIT_VR_BE, false),
        (DEFLATED_EXPLICIT_VR_LE, false),
    ] {
        let refused = (!taken).then(|| RewriteError::Syntax(ts(uid)));
        assert_eq!(Rewriter::new(&ts(uid), usual()).err(), refused, "{uid}");
        assert_eq!(Survey::new(&ts(uid), "x").err(), refused, "{uid}");
    }
    for (tag, taken) in [
        (0x0008_0005, false),
        (0x0008_0060, true),
        (0x0009_0010, false),
        (0x0009_1001, false),
        (0x0010_0024, false),
        (0x0010_1030, true),
        (0x0020_0013, true),
        (0x0028_0010, false),
        (0x0400_0562, false),
        (0x0010_0000, false),
    ] {
        let refused = (!taken).then_some(RewriteError::Attribute { tag: Tag(tag) });
        assert_eq!(Rewriter::new(&ts(JPEG), edits(&[(Tag(tag), b"1")])).err(), refused, "{}", Tag(tag));
    }
    let long = Rewriter::new(&ts(JPEG), edits(&[(PATIENT_ID, &[b'1'; LONGEST_VALUE + 1])])).err();
    assert_eq!(long, Some(RewriteError::TooLong { tag: PATIENT_ID }));
}

#[test]
fn nothing_of_a_patient_is_shown() {
    let rewriter = Rewriter::new(&ts(JPEG), usual()).unwrap();
    let found = survey(EXPLICIT_VR_LE, &[&encode(&instance(), EXPLICIT)]).unwrap().0;
    let shown = format!("{rewriter:?} {:?} {found:?}", usual());
    assert!(shown.contains("(0010,0020)") && !shown.contains("4711"), "{shown}");
}

#[test]
fn a_survey_reads_the_head_and_our_last_record() {
    let id = |id: &[u8]| vec![value(0x0010_0020, Vr::LO, id)];
    let ours = record(id(b"0815"));
    let cases: Vec<(Items, Option<&[u8]>)> = vec![
        (vec![ours.clone()], Some(b"0815")),
        (vec![record(id(b"1")), ours.clone()], Some(b"0815")),
        (vec![ours.clone(), record_by(b"Kent", id(b"99"))], Some(b"0815")),
        (vec![ours, record(vec![])], Some(b"0815")),
        (vec![record_by(b"Kent", id(b"99"))], None),
        (vec![record(vec![])], None),
        // A Patient ID elsewhere in an item is not a previous value.
        (vec![[id(b"1"), record(vec![sequence(0x0008_1140, Vr::SQ, false, vec![id(b"2")])])].concat()], None),
        (vec![], None),
    ];
    for (from, form) in NATIVE {
        let head: Vec<Node> = instance().into_iter().filter(|node| tag_of(node) < ORIGINAL_ATTRIBUTES).collect();
        let tail: Vec<Node> = instance().into_iter().filter(|node| tag_of(node) > ORIGINAL_ATTRIBUTES).collect();
        let head = encode(&with(&head, vec![value(0x0008_0050, Vr::SH, b"A1")]), form);
        for (items, want) in &cases {
            let items = items.clone();
            let last = items.last().cloned().unwrap_or_default();
            let earlier = &items[..items.len().saturating_sub(1)];
            for (_, sequence) in existing(form, earlier, &last) {
                let input = [&head[..], &sequence, &encode(&tail, form)].concat();
                let bytes: Vec<&[u8]> = input.chunks(1).collect();
                let (found, read) = survey(from, &bytes).unwrap();
                assert_eq!(found.before.as_ref().map(|id| &id.0[..]), *want, "{items:?}");
                assert_eq!(found.attributes.text(PATIENT_ID).unwrap(), "4711");
                assert_eq!(found.attributes.text(ACCESSION_NUMBER).unwrap(), "A1");
                assert_eq!(&*found.attributes.charset.terms, [Box::from("ISO_IR 100")]);
                assert!(read < head.len() + sequence.len() + 12, "no more than the next header");
                assert_eq!(survey(from, &[&input]).unwrap().0, found);
            }
        }
    }
}

#[test]
fn a_survey_refuses_what_it_cannot_tell() {
    let cut = encode(&instance()[..3], EXPLICIT);
    assert!(survey(EXPLICIT_VR_LE, &[&cut]).is_ok(), "the end is the end");
    assert!(survey(EXPLICIT_VR_LE, &[&cut[..cut.len() - 1]]).is_err());
    let mut twice = instance();
    twice.insert(0, value(0x0010_0020, Vr::LO, b"0815"));
    let twice = survey(EXPLICIT_VR_LE, &[&encode(&twice, EXPLICIT)]);
    assert_eq!(twice.unwrap_err(), RewriteError::Disordered { tag: PATIENT_ID });
    let long = with(&instance(), vec![value(0x0010_0020, Vr::LO, &[b'x'; LONGEST_VALUE + 2])]);
    let long = survey(EXPLICIT_VR_LE, &[&encode(&long, EXPLICIT)]);
    assert_eq!(long.unwrap_err(), RewriteError::TooLong { tag: PATIENT_ID });
}

proptest! {
    /// Whatever is around, only what is to change changes, and the cutting does not matter.
    #[test]
    fn all_else_is_kept_however_it_is_cut(mut nodes in nodes(), cuts in cuts()) {
        nodes.sort_by_key(tag_of);
        let changes = vec![
            value(0x0008_0050, Vr::SH, b""),
            value(0x0010_0020, Vr::LO, b"RTX:4711"),
            originals(vec![record(previous(b"", b"", b""))]),
        ];
        let want = with(&nodes, changes);
        for (from, form) in NATIVE {
            let input = encode(&nodes, form);
            prop_assert_eq!(rewrite(from, &usual(), &pieces(&input, &cuts)).unwrap().0, encode(&want, form));
        }
    }

    #[test]
    fn any_bytes_give_the_same_however_they_are_cut(
        bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xFE), Just(0xFF), Just(0xE0), any::<u8>()], 0..300),
        damage in 0..900usize,
        cuts in cuts(),
    ) {
        let nodes = with(&encapsulated(), vec![originals(vec![record(previous(b"", b"0815", b""))])]);
        for (from, form) in NATIVE {
            let mut damaged = encode(&nodes, form);
            let at = damage.min(damaged.len());
            let end = (at + bytes.len()).min(damaged.len());
            damaged.splice(at..end, bytes.iter().copied());
            for input in [&damaged, &bytes] {
                let once = rewrite(from, &usual(), &[input]);
                prop_assert_eq!(rewrite(from, &usual(), &pieces(input, &cuts)), once);
                let found = survey(from, &[input]).map(|(found, _)| found);
                prop_assert_eq!(survey(from, &pieces(input, &cuts)).map(|(found, _)| found), found);
            }
        }
    }
}
