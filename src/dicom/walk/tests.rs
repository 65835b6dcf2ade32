//! The walk's own promises, apart from what scanner and transcoder make of it.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::dicom::sample::{BIG, EXPLICIT, Form, IMPLICIT, encode, instance, value};

fn walker(form: Form) -> Walker {
    Walker::new(Syntax { explicit: form.explicit, big: form.big }, 64, u64::MAX)
}

#[test]
fn a_value_is_one_slice_of_the_input_however_long() {
    let bytes = encode(&[value(0x7FE0_0010, Vr::OW, &vec![7; 1 << 20])], IMPLICIT);
    let mut walker = walker(IMPLICIT);
    let mut input = &bytes[..];
    let mut events = Vec::new();
    while let Some(event) = walker.next(&mut input).unwrap() {
        events.push(event);
    }
    let element = Element { tag: PIXEL_DATA, vr: None, length: Some(1 << 20), fragments: false, top: true };
    assert_eq!(events, [Event::Element(element), Event::Value(&bytes[8..]), Event::ValueEnd]);
}

#[test]
fn sequences_are_gone_through_by_length_or_by_delimiter() {
    let bytes = encode(&instance(), EXPLICIT);
    for descend in [false, true] {
        let mut walker = walker(EXPLICIT);
        let mut input = &bytes[..];
        let (mut elements, mut items, mut deepest) = (0, 0, 0);
        while let Some(event) = walker.next(&mut input).unwrap() {
            match event {
                Event::Element(element) => {
                    elements += 1;
                    if descend && element.vr == Some(Vr::SQ) && element.length.is_some() {
                        walker.descend().unwrap();
                    }
                }
                Event::Item(_) => items += 1,
                _ => {}
            }
            deepest = deepest.max(walker.depth);
        }
        walker.finish().unwrap();
        assert_eq!((elements, items, deepest), if descend { (28, 8, 2) } else { (24, 5, 2) });
        assert_eq!((walker.depth, walker.frames.len()), (0, 1));
    }
}

#[test]
fn an_error_names_the_last_element_that_was_whole() {
    let rows: [(&[u8], Option<u32>); 3] = [
        (b"\x08", None),
        (b"\x08\0\x05\0CS\x02\0I", Some(0x0008_0005)),
        (b"\x08\0\x05\0CS\x02\0IS\x08", Some(0x0008_0005)),
    ];
    for (bytes, tag) in rows {
        let mut walker = walker(EXPLICIT);
        let mut input = bytes;
        while walker.next(&mut input).unwrap().is_some() {}
        assert_eq!(walker.finish(), Err(StructureError::Truncated { tag: tag.map(Tag) }));
    }
    let error = StructureError::Truncated { tag: Some(PIXEL_DATA) };
    assert_eq!(error.to_string(), "the data set is cut short at (7FE0,0010)");
    assert_eq!(StructureError::Truncated { tag: None }.to_string(), "the data set is cut short");
}

/// An item without a length begins; the delimiters of an item and of a sequence.
const OPEN: [u8; 8] = [0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF];
const END: [u8; 8] = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0];
const LAST: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];

/// An item with its length, or a fragment.
fn part(content: &[u8]) -> Vec<u8> {
    [&OPEN[..4], &(content.len() as u32).to_le_bytes(), content].concat()
}

/// The header of an element without a length.
fn endless(form: Form, tag: u32, vr: Vr) -> Vec<u8> {
    let mut out = Vec::new();
    form.header(&mut out, Tag(tag), vr, UNDEFINED);
    out
}

/// What the walk meets, a letter each: E an element of the data set and e of an item, S a sequence up to `)`, F fragments, `[` an item up to
/// `]`, f a fragment, x a stray delimiter. What it passes on must be what there is, byte by byte, but for padding at the end.
fn told(form: Form, bytes: &[u8], piece: usize) -> Result<String, StructureError> {
    let mut walker = walker(form);
    let (mut letters, mut passed) = (String::new(), Vec::new());
    for mut input in bytes.chunks(piece) {
        while let Some(event) = walker.next(&mut input)? {
            let (letter, header) = match event {
                Event::Element(Element { length: Some(_), top, .. }) => (if top { 'E' } else { 'e' }, true),
                Event::Element(Element { fragments, .. }) => (if fragments { 'F' } else { 'S' }, true),
                Event::Item(_) => ('[', true),
                Event::ItemEnd { delimited } => (']', delimited),
                Event::Fragment(_) => ('f', true),
                Event::SequenceEnd { delimited } => (')', delimited),
                Event::Stray => ('x', true),
                Event::Value(slice) => {
                    passed.extend_from_slice(slice);
                    continue;
                }
                Event::ValueEnd => continue,
            };
            letters.push(letter);
            if header {
                passed.extend_from_slice(walker.raw_header());
            }
        }
    }
    walker.finish()?;
    let padding = bytes.strip_prefix(&passed[..]);
    assert!(padding.is_some_and(|zeros| zeros.iter().all(|byte| *byte == 0)), "{letters}: {passed:?} of {bytes:?}");
    Ok(letters)
}

fn check(form: Form, rows: &[(&str, Vec<Vec<u8>>, &str)]) {
    for (what, parts, want) in rows {
        let bytes = parts.concat();
        for piece in [1, 3, 8, bytes.len()] {
            assert_eq!(told(form, &bytes, piece).as_deref(), Ok(*want), "{what} by {piece}");
        }
    }
}

#[test]
fn either_delimiter_may_stand_in_the_place_of_the_other() {
    let (open, end, last) = (|| OPEN.to_vec(), || END.to_vec(), || LAST.to_vec());
    let sq = || endless(EXPLICIT, 0x0008_1140, Vr::SQ);
    let e = || encode(&[value(0x0008_0104, Vr::LO, b"ab")], EXPLICIT);
    let after = || encode(&[value(0x0010_0020, Vr::LO, b"4711")], EXPLICIT);
    let counted = || part(&e());
    let within = |content: Vec<Vec<u8>>| part(&content.concat());
    let jpeg = || [endless(EXPLICIT, PIXEL_DATA.0, Vr::OB), part(&[]), part(&[1, 2])].concat();
    check(
        EXPLICIT,
        &[
            ("as it should be", vec![sq(), open(), e(), end(), last(), after()], "S[e])E"),
            ("the sequence's as an item's", vec![sq(), open(), e(), last(), after()], "S[e])E"),
            ("an item's as the sequence's", vec![sq(), open(), e(), end(), end(), after()], "S[e])E"),
            ("of no items", vec![sq(), end(), after()], "S)E"),
            ("at the end of all", vec![sq(), open(), e(), end(), end()], "S[e])"),
            ("with its own behind it", vec![sq(), open(), e(), end(), end(), last(), after()], "S[e])xE"),
            ("behind an item with a length", vec![sq(), counted(), end(), after()], "S[e])E"),
            ("there, and zeros", vec![sq(), counted(), end(), vec![0; 20]], "S[e])"),
            ("one too many there", vec![sq(), counted(), end(), last(), after()], "S[e]x)E"),
            ("and another item", vec![sq(), counted(), end(), counted(), end(), after()], "S[e]x[e])E"),
            ("one too many and the sequence's", vec![sq(), counted(), end(), end(), after()], "S[e]x)E"),
            (
                "in an item without a length",
                vec![sq(), open(), sq(), open(), e(), end(), end(), end(), end(), after()],
                "S[S[e])])E",
            ),
            (
                "in one, behind an item with a length",
                vec![sq(), open(), sq(), counted(), end(), end(), last(), after()],
                "S[S[e])])E",
            ),
            (
                "in one, with its own behind it",
                vec![sq(), open(), sq(), open(), e(), end(), end(), last(), e(), end(), last(), after()],
                "S[S[e])xe])E",
            ),
            (
                "in an item with a length",
                vec![sq(), within(vec![sq(), open(), e(), end(), end(), e()]), last(), after()],
                "S[S[e])e])E",
            ),
            (
                "at its end, behind an item with a length",
                vec![sq(), within(vec![sq(), counted(), end()]), last(), after()],
                "S[S[e])])E",
            ),
            ("none at its end", vec![sq(), within(vec![sq(), open(), e()]), last(), after()], "S[S[e])])E"),
            ("of fragments", vec![jpeg(), end(), after()], "Fff)E"),
            ("of fragments at the end of all", vec![jpeg(), end()], "Fff)"),
            ("of fragments, with its own", vec![jpeg(), end(), last(), after()], "Fff)xE"),
        ],
    );
    // Whether it ends the item or the sequence nobody can say.
    let cut = [sq(), counted(), end()].concat();
    assert_eq!(told(EXPLICIT, &cut, 8), Err(StructureError::Truncated { tag: Some(Tag(0x0008_0104)) }));
}

/// Bytes without a length are fragments where the first item has a length, and a sequence where it has none.
#[test]
fn bytes_without_a_length_may_be_a_sequence() {
    let (open, end, last) = (|| OPEN.to_vec(), || END.to_vec(), || LAST.to_vec());
    let after = || encode(&[value(0x0050_0004, Vr::CS, b"YES ")], EXPLICIT);
    let inner = |form| {
        let nested = [endless(form, 0x0008_1140, Vr::SQ), OPEN.to_vec(), END.to_vec(), LAST.to_vec()].concat();
        [encode(&[value(0x0049_0010, Vr::LO, b"GEMS"), value(0x0049_1002, Vr::UN, &[1, 2])], form), nested].concat()
    };
    for vr in [Vr::OB, Vr::OW, Vr::OF] {
        let header = || endless(EXPLICIT, 0x0049_1001, vr);
        for form in [EXPLICIT, IMPLICIT] {
            let items = |count: usize| [open(), inner(form), end()].concat().repeat(count);
            check(
                EXPLICIT,
                &[
                    ("one item", vec![header(), items(1), last(), after()], "S[eeS[])])E"),
                    ("several", vec![header(), items(2), last(), after()], "S[eeS[])][eeS[])])E"),
                    ("items with lengths", vec![header(), part(&inner(form)), last(), after()], "Ff)E"),
                ],
            );
        }
        check(
            EXPLICIT,
            &[
                ("fragments", vec![header(), part(&[]), part(&[7; 5]), last(), after()], "Fff)E"),
                ("nothing", vec![header(), last(), after()], "F)E"),
                (
                    "nothing, at the end of an item",
                    vec![endless(EXPLICIT, 0x0008_1140, Vr::SQ), part(&header()), last()],
                    "S[F)])",
                ),
            ],
        );
        for cut in 1..20 {
            let whole = [header(), open()].concat();
            let error = told(EXPLICIT, &whole[..cut], 7).unwrap_err();
            let tag = (cut >= header().len()).then_some(Tag(0x0049_1001));
            assert_eq!(error, StructureError::Truncated { tag }, "{cut}");
        }
    }
    let big = [[0xFF, 0xFE, 0xE0, 0x00, 0xFF, 0xFF, 0xFF, 0xFF], [0xFF, 0xFE, 0xE0, 0x0D, 0, 0, 0, 0]];
    let e = encode(&[value(0x0008_0104, Vr::LO, b"ab")], BIG);
    let last = [0xFF, 0xFE, 0xE0, 0xDD, 0, 0, 0, 0].to_vec();
    let sequence = vec![endless(BIG, 0x0049_1001, Vr::OB), big[0].to_vec(), e, big[1].to_vec(), last];
    check(BIG, &[("in big endian", sequence, "S[e])")]);
}

/// Some equipment keeps its private sequences explicit in an implicit data set.
#[test]
fn a_private_sequence_in_an_implicit_data_set_may_be_explicit() {
    let after = || encode(&[value(0x2050_0020, Vr::CS, b"IDENTITY")], IMPLICIT);
    let header = || endless(IMPLICIT, 0x2005_1084, Vr::SQ);
    for form in [EXPLICIT, IMPLICIT] {
        let inner = encode(&[value(0x0008_0104, Vr::LO, b"ab"), value(0x2005_1002, Vr::OB, &[1, 2])], form);
        let nested = [endless(form, 0x0008_1140, Vr::SQ), OPEN.to_vec(), inner.clone(), END.to_vec(), LAST.to_vec()];
        let item = [&OPEN[..], &inner, &nested.concat(), &END].concat();
        check(
            IMPLICIT,
            &[
                ("one item", vec![header(), item.clone(), LAST.to_vec(), after()], "S[eeS[ee])])E"),
                (
                    "items with lengths",
                    vec![header(), part(&inner), part(&inner), LAST.to_vec(), after()],
                    "S[ee][ee])E",
                ),
                ("empty items", vec![header(), part(&[]), item, LAST.to_vec(), after()], "S[][eeS[ee])])E"),
            ],
        );
    }
}
