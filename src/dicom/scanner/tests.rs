//! What the scanner takes, what it refuses, and that neither depends on how the bytes are cut.

#![allow(clippy::unwrap_used)]

use super::super::inflate::tests::deflate;
use super::*;
use crate::dicom::attributes::{BITS_ALLOCATED, MODALITY, PATIENT_ID, PATIENT_NAME, ROWS};
use crate::dicom::fired::note_fired;
use crate::dicom::sample::{
    BIG, EXPLICIT, Form, IMPLICIT, Node, cuts, encode, instance, nodes, pieces, sequence, value,
};
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dicom::vr::Vr;
use proptest::prelude::*;

const JPEG: &str = "1.2.840.10008.1.2.4.70";
const FORMS: [(&str, Form); 4] =
    [(IMPLICIT_VR_LE, IMPLICIT), (EXPLICIT_VR_LE, EXPLICIT), (EXPLICIT_VR_BE, BIG), (JPEG, EXPLICIT)];

fn scan_with(ts: &str, pieces: &[&[u8]], limits: Limits) -> Result<Attributes, ScanError> {
    let mut scanner = Scanner::new(&TransferSyntaxUid::parse(ts).unwrap(), limits);
    for piece in pieces {
        scanner.push(piece)?;
    }
    scanner.finish().map(|head| head.attributes)
}

fn scan(ts: &str, bytes: &[u8]) -> Result<Attributes, ScanError> {
    scan_with(ts, &[bytes], Limits::default())
}

/// An instance's data set with `more` after its identity.
fn with(more: &[Node], form: Form) -> Vec<u8> {
    let mut nodes = instance();
    nodes.truncate(nodes.len() - 1);
    encode(&[&nodes, more].concat(), form)
}

#[test]
fn the_head_is_the_same_in_every_encoding() {
    for (ts, form) in FORMS {
        let uid = TransferSyntaxUid::parse(ts).unwrap();
        let mut scanner = Scanner::new(&uid, Limits::default());
        scanner.push(&encode(&instance(), form)).unwrap();
        let head = scanner.finish().unwrap();
        assert_eq!(head.sop_class.as_str(), "1.2.840.10008.5.1.4.1.1.2", "{ts}");
        assert_eq!(head.sop_instance.as_str(), "1.2.3.4.5");
        assert_eq!((head.study.as_str(), head.series.as_str()), ("1.2.3.1", "1.2.3.2"));
        assert_eq!(head.transfer_syntax, uid);
        assert_eq!(head.attributes.text(PATIENT_NAME).as_deref(), Some("Müller^Eva"));
        assert_eq!(head.attributes.text(MODALITY).as_deref(), Some("CT"));
        assert_eq!(
            head.attributes.text(BITS_ALLOCATED).as_deref(),
            Some("16"),
            "{ts}: whatever the order of its bytes"
        );
        assert_eq!(head.attributes.values.len(), 10);
    }
    let deflated = deflate(&encode(&instance(), EXPLICIT), false);
    assert_eq!(scan(DEFLATED_EXPLICIT_VR_LE, &deflated), scan(EXPLICIT_VR_LE, &encode(&instance(), EXPLICIT)));
}

/// DIM-061: a number is read as what it is declared to be; text that is none is nothing.
#[test]
fn numbers_that_are_declared_to_be_something_else_are_read_as_such() {
    let rows: [(Vr, &[u8], &str); 8] = [
        (Vr::US, b"\x00\x02", "512"),
        (Vr::UL, b"\x00\x02\x00\x00", "512"),
        (Vr::IS, b"512 ", "512"),
        (Vr::DS, b"512\\4", "512"),
        (Vr::LO, b"wide", ""),
        (Vr::UN, b"\x00\x02", "512"),
        (Vr(*b"ZZ"), b"\x00\x02", "512"),
        (Vr::FL, b"\x00\x02\x00\x00", ""),
    ];
    for (vr, bytes, want) in rows {
        for (ts, form) in [(EXPLICIT_VR_LE, EXPLICIT), (EXPLICIT_VR_BE, BIG)] {
            let read = scan(ts, &with(&[value(0x0028_0010, vr, bytes)], form)).unwrap();
            assert_eq!(read.text(ROWS).unwrap_or_default(), want, "{vr} {ts}");
        }
    }
}

#[test]
fn a_missing_identity_is_named() {
    for tag in [SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID] {
        let changed = |bytes: Option<&[u8]>| -> Vec<Node> {
            let is_it = |node: &Node| matches!(node, Node::Value { tag: found, .. } if *found == tag);
            let nodes = instance().into_iter();
            nodes
                .filter_map(|node| if is_it(&node) { bytes.map(|b| value(tag.0, Vr::UI, b)) } else { Some(node) })
                .collect()
        };
        for bad in [None, Some(&b""[..]), Some(b"\0"), Some(b"1.2\\1.3"), Some(b"1.2.x"), Some(&[b'1'; 66])] {
            let refused = scan(EXPLICIT_VR_LE, &encode(&changed(bad), EXPLICIT));
            assert_eq!(refused, Err(ScanError::Missing { tag }), "{bad:?}");
            assert_eq!(refused.unwrap_err().tag(), Some(tag));
        }
        assert!(scan(EXPLICIT_VR_LE, &encode(&changed(Some(b"1.02 ")), EXPLICIT)).is_ok());
    }
    assert_eq!(scan(IMPLICIT_VR_LE, b""), Err(ScanError::Missing { tag: SOP_CLASS_UID }));
}

#[test]
fn a_cut_is_seen_wherever_the_encoding_lets_it_be_seen() {
    let fragments = Node::Fragments { fragments: vec![vec![], vec![1; 10], vec![2; 6]] };
    let mut encapsulated = instance();
    encapsulated.pop();
    encapsulated.push(fragments);
    for (ts, form) in FORMS {
        let nodes = if ts == JPEG { &encapsulated } else { &instance() };
        let whole = encode(nodes, form);
        // Where the encoding has no end mark: between elements of the top level, and between fragments.
        let mut seams: Vec<usize> = (0..=nodes.len()).map(|count| encode(&nodes[..count], form).len()).collect();
        if ts == JPEG {
            let end = whole.len();
            seams.extend([end - 8, end - 8 - 14]);
            seams.sort_unstable();
        }
        let series =
            nodes.iter().position(|node| matches!(node, Node::Value { tag, .. } if *tag == SERIES_INSTANCE_UID));
        for cut in 0..whole.len() {
            let seam = seams.iter().rev().find(|&&seam| seam <= cut).copied().unwrap_or(0);
            let padding = cut - seam < 8 && whole[seam..cut].iter().all(|&b| b == 0);
            match scan(ts, &whole[..cut]) {
                Ok(_) => assert!(seam == cut || padding, "{ts}: a cut at {cut} was not seen"),
                Err(ScanError::Missing { .. }) => assert!(cut < seams[series.unwrap() + 1], "{ts} {cut}"),
                Err(error) => assert!(matches!(error, ScanError::Truncated { .. }), "{ts} {cut}: {error}"),
            }
        }
    }
    let deflated = deflate(&encode(&instance(), EXPLICIT), false);
    for cut in 0..deflated.len() {
        assert_eq!(scan(DEFLATED_EXPLICIT_VR_LE, &deflated[..cut]), Err(ScanError::Truncated { tag: None }), "{cut}");
    }
}

#[test]
fn what_the_field_writes_is_taken() {
    let stray = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
    let start = || encode(&instance(), EXPLICIT);
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("padding", [start(), vec![0; 70_000]].concat()),
        ("odd padding", [start(), vec![0]].concat()),
        ("stray delimiters", [start(), stray.to_vec()].concat()),
        ("VR ??, short", [start(), b"\x10\x00\x40\x10??\x02\x00ab".to_vec()].concat()),
        ("VR of two spaces", [start(), b"\x10\x00\x40\x10  \x02\x00ab".to_vec()].concat()),
        ("VR of two zero bytes", [start(), b"\x08\x00\x3E\x10\0\0\x02\x00ab".to_vec()].concat()),
        ("VR to come, long", [start(), b"\x10\x00\x40\x10ZZ\0\0\x02\0\0\0ab".to_vec()].concat()),
        ("VR to come, short", [start(), b"\x10\x00\x40\x10ZZ\x02\x00ab".to_vec()].concat()),
        ("implicit inside explicit", [start(), b"\x10\x00\x40\x10\x02\0\0\0ab".to_vec()].concat()),
        ("odd length", [start(), b"\x10\x00\x40\x10LO\x03\x00abc".to_vec()].concat()),
        ("group 0002 in the data set", [encode(&[value(0x0002_0010, Vr::UI, b"1.2\0")], EXPLICIT), start()].concat()),
        ("elements out of order", {
            let mut nodes = instance();
            nodes.reverse();
            encode(&nodes, EXPLICIT)
        }),
        ("a description twice, the first of which counts", {
            let twice = [value(0x0008_103E, Vr::LO, b"FIRST "), value(0x0008_103E, Vr::LO, b"SECOND")];
            [start(), encode(&twice, EXPLICIT)].concat()
        }),
        ("the end of a sequence in the place of its item's", {
            let open = [0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF];
            let end = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
            let inside = encode(&[value(0x0040_1001, Vr::SH, b"1234")], EXPLICIT);
            let mut bytes = start();
            EXPLICIT.header(&mut bytes, Tag(0x0040_0275), Vr::SQ, u32::MAX);
            [bytes, open.to_vec(), inside, end.to_vec(), encode(&[value(0x0040_2016, Vr::LO, b"12")], EXPLICIT)]
                .concat()
        }),
        ("the same value twice", [start(), encode(&[value(0x0010_0020, Vr::LO, b"4711")], EXPLICIT)].concat()),
    ];
    for (what, bytes) in rows {
        let attributes = scan(EXPLICIT_VR_LE, &bytes).map_err(|error| format!("{what}: {error}")).unwrap();
        assert_eq!(attributes.text(PATIENT_ID).as_deref(), Some("4711"), "{what}");
        let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(scan_with(EXPLICIT_VR_LE, &one_by_one, Limits::default()), Ok(attributes), "{what}");
    }
}

/// What ends by the wrong delimiter, calls itself something else, or is no value where one should be: the rest is read, and it is not lost.
#[test]
fn sequences_that_are_written_wrongly_make_nothing_unacceptable() {
    let end = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0];
    let inner = || vec![value(0x0040_0009, Vr::SH, b"S1"), value(0x0010_0020, Vr::LO, b"INNER ")];
    let wrongly_ended = |tag: u32, vr: Vr, form: Form, defined: bool| {
        let whole = encode(&[sequence(tag, vr, defined, vec![inner()])], form);
        let mut header = Vec::new();
        form.header(&mut header, Tag(tag), vr, u32::MAX);
        let item = &whole[header.len()..whole.len() - if defined { 0 } else { 8 }];
        [&header[..], item, &end].concat()
    };
    for (ts, form) in [(EXPLICIT_VR_LE, EXPLICIT), (IMPLICIT_VR_LE, IMPLICIT)] {
        for defined in [true, false] {
            for (tag, vr) in [(0x0040_0275, Vr::SQ), (0x0040_0275, Vr::UN), (0x0009_1002, Vr::UN)] {
                if defined && vr == Vr::UN {
                    continue;
                }
                let mut identity = instance();
                let pixels = identity.pop().unwrap();
                let bytes =
                    [encode(&identity, form), wrongly_ended(tag, vr, form, defined), encode(&[pixels], form)].concat();
                let found = scan(ts, &bytes).map_err(|error| format!("{error}")).unwrap();
                assert_eq!(found.text(PATIENT_ID).as_deref(), Some("4711"), "{ts} {vr} {defined}");
                let requests: Vec<&str> = found.requests.iter().map(|request| request.step.as_str()).collect();
                assert_eq!(requests, if tag == 0x0040_0275 { vec!["S1"] } else { vec![] }, "{ts} {vr} {defined}");
                let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
                assert_eq!(scan_with(ts, &one_by_one, Limits::default()), Ok(found));
            }
        }
    }
    // What only describes is not indexed where it cannot be.
    let odd = [
        sequence(0x0018_1030, Vr::SQ, false, vec![inner()]),
        value(0x0008_1030, Vr::UT, &[b'x'; 20_000]),
        value(0x0008_103E, Vr::LO, b"Axial "),
    ];
    let found = scan(EXPLICIT_VR_LE, &with(&odd, EXPLICIT)).unwrap();
    let texts = [0x0018_1030, 0x0008_1030, 0x0008_103E].map(|tag| found.text(Tag(tag)));
    assert_eq!(texts, [None, None, Some("Axial".to_owned())]);
}

/// The delimiter behind the last fragment is left out, and the file is filled up with zeros.
#[test]
fn zeros_in_the_place_of_the_last_delimiter_are_padding() {
    let mut encapsulated = instance();
    encapsulated.pop();
    encapsulated.push(Node::Fragments { fragments: vec![vec![], vec![1; 10], vec![2; 6]] });
    let whole = encode(&encapsulated, FORMS.into_iter().find(|(ts, _)| *ts == JPEG).unwrap().1);
    let open = &whole[..whole.len() - 8];
    for zeros in [1, 7, 8, 9, 500] {
        let bytes = [open, &vec![0; zeros]].concat();
        assert!(scan(JPEG, &bytes).is_ok(), "{zeros}");
        let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
        assert!(scan_with(JPEG, &one_by_one, Limits::default()).is_ok(), "{zeros}");
        assert!(scan(JPEG, &[&bytes[..], &[1]].concat()).is_err(), "{zeros}, and something else");
    }
}

#[test]
fn un_of_undefined_length_is_implicit_inside_whatever_is_outside() {
    let nodes = |vr| vec![sequence(0x0040_0275, vr, false, vec![vec![value(0x0040_1001, Vr::SH, b"1234")], vec![]])];
    for (ts, form) in FORMS {
        // PS3.5 section 6.2.2, and a sequence that hides something like an end inside a value.
        assert!(scan(ts, &with(&nodes(Vr::UN), form)).is_ok(), "{ts}");
        assert!(scan(ts, &with(&nodes(Vr::SQ), form)).is_ok(), "{ts}");
    }
    // Writers that stayed with explicit.
    let mut explicit = with(&[], EXPLICIT);
    EXPLICIT.header(&mut explicit, Tag::new(0x0040, 0x0275), Vr::UN, u32::MAX);
    let content = encode(&nodes(Vr::SQ), EXPLICIT);
    explicit.extend(&content[12..]);
    assert!(scan(EXPLICIT_VR_LE, &explicit).is_ok());
}

#[test]
fn what_cannot_be_a_data_set_is_refused_and_located() {
    let at = |tag: u32| Some(Tag(tag));
    let item = [0xFE, 0xFF, 0x00, 0xE0];
    let header = |vr, length| {
        let mut bytes = with(&[], EXPLICIT);
        EXPLICIT.header(&mut bytes, Tag(0x0040_0275), vr, length);
        bytes
    };
    let malformed = |tag, why| ScanError::Malformed { tag, why };
    let over = "a length reaches past the end of what holds it";
    let rows: Vec<(Vec<u8>, ScanError)> = vec![
        (
            [with(&[], EXPLICIT), vec![0; (1 << 20) + 1]].concat(),
            malformed(at(0x0028_0106), "something follows the last element"),
        ),
        (
            [with(&[], EXPLICIT), vec![0; 50], vec![1]].concat(),
            malformed(at(0x0028_0106), "something follows the last element"),
        ),
        (
            [with(&[], EXPLICIT), item.to_vec(), vec![0; 4]].concat(),
            malformed(at(0x0028_0106), "an item or a delimiter where an element should be"),
        ),
        (header(Vr::OB, 0x8000_0000), ScanError::Truncated { tag: at(0x0040_0275) }),
        (header(Vr::UT, u32::MAX), malformed(at(0x0040_0275), "a text without a length")),
        (header(Vr::SQ, u32::MAX), ScanError::Truncated { tag: at(0x0040_0275) }),
        (
            [header(Vr::SQ, u32::MAX), vec![1; 8]].concat(),
            malformed(at(0x0040_0275), "something else than an item in a sequence"),
        ),
        (
            [header(Vr::SQ, u32::MAX), item.to_vec(), vec![4, 0, 0, 0], vec![8, 0, 0, 0, b'S', b'H', 0, 0]].concat(),
            malformed(at(0x0040_0275), "a header reaches past the end of what holds it"),
        ),
        (
            [header(Vr::SQ, u32::MAX), item.to_vec(), vec![8, 0, 0, 0], b"\x40\0\x01\x10SH\x02\0ab".to_vec()].concat(),
            malformed(at(0x0040_1001), over),
        ),
        (
            [header(Vr::OB, u32::MAX), item.to_vec(), vec![2, 0, 0, 0, 1, 2], item.to_vec(), vec![0xFF; 4]].concat(),
            malformed(at(0x0040_0275), "a fragment without a length"),
        ),
        (header(Vr::OB, u32::MAX), ScanError::Truncated { tag: at(0x0040_0275) }),
        (
            with(&[value(0x0010_0020, Vr::LO, b"4712")], EXPLICIT),
            malformed(at(0x0010_0020), "it is there twice, with different values"),
        ),
        (
            with(&[sequence(0x0010_0030, Vr::SQ, false, vec![])], EXPLICIT),
            malformed(at(0x0010_0030), "a sequence where a text should be"),
        ),
        (
            with(&[sequence(0x0010_0040, Vr::SQ, true, vec![])], EXPLICIT),
            malformed(at(0x0010_0040), "a sequence where a text should be"),
        ),
        (
            with(&[value(0x0010_0030, Vr::DA, &[b'1'; 16_386])], EXPLICIT),
            ScanError::TooLarge { tag: at(0x0010_0030), what: "bytes of a value" },
        ),
    ];
    for (bytes, want) in rows {
        assert_eq!(scan(EXPLICIT_VR_LE, &bytes), Err(want), "{want}");
        let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(scan_with(EXPLICIT_VR_LE, &one_by_one, Limits::default()), Err(want), "{want}");
        note_fired(1);
    }
    assert_eq!(scan(DEFLATED_EXPLICIT_VR_LE, &with(&[], EXPLICIT)), Err(malformed(None, "not a deflated stream")));
    note_fired(1);
}

#[test]
fn depth_elements_and_inflated_bytes_are_limited() {
    // A hundred thousand sequences within one another, in every form.
    for (ts, form) in FORMS {
        let mut bomb = with(&[], form);
        for _ in 0..100_000 {
            form.header(&mut bomb, Tag(0x0040_A730), Vr::SQ, u32::MAX);
            bomb.extend(if form.big { [0xFF, 0xFE, 0xE0, 0x00] } else { [0xFE, 0xFF, 0x00, 0xE0] });
            bomb.extend([0xFF; 4]);
        }
        assert_eq!(scan(ts, &bomb), Err(ScanError::TooDeep { tag: Some(Tag(0x0040_A730)) }), "{ts}");
        note_fired(1);
    }
    let nested = |depth| {
        let mut node = value(0x0008_0104, Vr::LO, b"x ");
        for _ in 0..depth {
            node = sequence(0x0040_A730, Vr::SQ, false, vec![vec![node]]);
        }
        scan(EXPLICIT_VR_LE, &with(&[node], EXPLICIT))
    };
    assert!(nested(64).is_ok());
    assert_eq!(nested(65), Err(ScanError::TooDeep { tag: Some(Tag(0x0040_A730)) }));
    note_fired(1);

    let few = Limits { elements: 10, ..Limits::default() };
    let what = "number of elements";
    let refused = scan_with(EXPLICIT_VR_LE, &[&encode(&instance(), EXPLICIT)], few);
    assert!(matches!(refused, Err(ScanError::TooLarge { what: found, .. }) if found == what));
    note_fired(1);

    let small = Limits { inflated_bytes: 100_000, ..Limits::default() };
    let bomb = deflate(&with(&[value(0x7FE0_0010, Vr::OB, &[0; 200_000])], EXPLICIT), false);
    assert!(bomb.len() < 2_000);
    let refused = scan_with(DEFLATED_EXPLICIT_VR_LE, &[&bomb], small);
    assert_eq!(refused, Err(ScanError::TooLarge { tag: None, what: "inflated bytes" }));
    note_fired(1);
    assert!(scan(DEFLATED_EXPLICIT_VR_LE, &bomb).is_ok());
}

#[test]
fn nothing_of_a_patient_is_printed() {
    let mut scanner = Scanner::new(&TransferSyntaxUid::parse(EXPLICIT_VR_LE).unwrap(), Limits::default());
    scanner.push(&encode(&instance(), EXPLICIT)).unwrap();
    let printed = format!("{scanner:?}{:?}", scan(EXPLICIT_VR_LE, &encode(&instance(), EXPLICIT)));
    assert!(!printed.contains("4711") && !printed.contains("52, 55, 49, 49"), "{printed}");
}

proptest! {
    #[test]
    fn any_data_set_gives_the_same_head_however_it_is_cut(nodes in nodes(), cuts in cuts()) {
        for (ts, form) in FORMS {
            let bytes = encode(&[instance(), nodes.clone()].concat(), form);
            let whole = scan(ts, &bytes);
            let indexed_twice = matches!(whole, Err(ScanError::Malformed { why, .. }) if why.contains("twice"));
            prop_assert!(whole.is_ok() || indexed_twice, "{:?}", whole.err());
            prop_assert_eq!(scan_with(ts, &pieces(&bytes, &cuts), Limits::default()), whole);
        }
    }

    #[test]
    fn any_bytes_give_the_same_however_they_are_cut(
        bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xFE), Just(0xFF), Just(0xE0), any::<u8>()], 0..300),
        damage in 0..700usize,
        cuts in cuts(),
    ) {
        for (ts, form) in FORMS {
            let mut damaged = encode(&instance(), form);
            let at = damage.min(damaged.len());
            let end = (at + bytes.len()).min(damaged.len());
            damaged.splice(at..end, bytes.iter().copied());
            for input in [&damaged, &bytes] {
                prop_assert_eq!(scan_with(ts, &pieces(input, &cuts), Limits::default()), scan(ts, input));
            }
        }
        let uid = DEFLATED_EXPLICIT_VR_LE;
        let mut damaged = deflate(&encode(&instance(), EXPLICIT), false);
        let at = damage % damaged.len();
        damaged.truncate(at);
        damaged.extend(&bytes);
        prop_assert_eq!(scan_with(uid, &pieces(&damaged, &cuts), Limits::default()), scan(uid, &damaged));
    }
}
