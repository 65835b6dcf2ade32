//! What the transcoder writes, against the same data set written by the tests' own encoder.

#![allow(clippy::unwrap_used)]

mod decoding;
mod pydicom;
mod quirks;

use super::*;
use crate::dicom::fired::note_fired;
use crate::dicom::sample::{
    BIG, DELIMITED, EXPLICIT, Form, IMPLICIT, Node, cuts, encode, instance, nodes, pieces, sequence, value,
};
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_LE};
use proptest::prelude::*;

fn transcode(from: &str, input: &[&[u8]]) -> Result<(Vec<u8>, Report), TranscodeError> {
    let mut transcoder = Transcoder::new(&TransferSyntaxUid::parse(from).unwrap()).unwrap();
    let mut out = Vec::new();
    for piece in input {
        transcoder.push(piece, &mut out)?;
    }
    let report = transcoder.finish(&mut out)?;
    assert_eq!(report.bytes, out.len() as u64);
    Ok((out, report))
}

fn written(from: &str, form: Form, nodes: &[Node]) -> Vec<u8> {
    transcode(from, &[&encode(nodes, form)]).unwrap().0
}

#[test]
fn an_instance_becomes_explicit_little_endian() {
    let want = encode(&instance(), DELIMITED);
    for (from, form) in [(IMPLICIT_VR_LE, IMPLICIT), (EXPLICIT_VR_BE, BIG)] {
        let (out, report) = transcode(from, &[&encode(&instance(), form)]).unwrap();
        assert_eq!(out, want, "{from}");
        assert_eq!((report.un_elements, report.left_out, report.wide_cells), (2, 0, false));
    }
}

#[test]
fn the_output_is_what_pydicom_writes() {
    let bytes = |hex: &str| -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    for (from, hex) in [(IMPLICIT_VR_LE, pydicom::IMPLICIT), (EXPLICIT_VR_BE, pydicom::BIG)] {
        let (out, report) = transcode(from, &[&bytes(hex)]).unwrap();
        assert_eq!(out, bytes(pydicom::EXPLICIT), "{from}");
        assert_eq!(report.un_elements, 1);
    }
}

#[test]
fn only_what_may_not_travel_is_re_encoded() {
    for (uid, re_encoded) in [
        (IMPLICIT_VR_LE, true),
        (EXPLICIT_VR_BE, true),
        (GE_PRIVATE_IMPLICIT_VR, true),
        (EXPLICIT_VR_LE, false),
        (DEFLATED_EXPLICIT_VR_LE, false),
        ("1.2.840.10008.1.2.4.70", false),
        ("1.2.3", false),
    ] {
        let uid = TransferSyntaxUid::parse(uid).unwrap();
        assert_eq!(Transcoder::new(&uid).is_some(), re_encoded, "{uid}");
        assert_eq!(super::super::transfer_syntax::allowed_on_the_web(&uid), !re_encoded, "{uid}");
    }
}

/// The representation that a lone element of an implicit data set gets after `before`.
fn representation(before: &[Node], tag: u32, bytes: &[u8]) -> Vr {
    let out = written(IMPLICIT_VR_LE, IMPLICIT, &[before, &[value(tag, Vr::UN, bytes)]].concat());
    let skip = encode(before, DELIMITED).len();
    Vr([out[skip + 4], out[skip + 5]])
}

#[test]
fn representations_that_depend_on_others_are_decided() {
    let signed = |sign: u8| value(0x0028_0103, Vr::US, &[sign, 0]);
    let waveform = |bits: u8| value(0x5400_1004, Vr::US, &[bits, 0]);
    let reference = |nodes| sequence(0x0008_1140, Vr::SQ, true, vec![nodes]);
    let rows: &[(&[Node], u32, Vr)] = &[
        (&[signed(0)], 0x0028_0106, Vr::US),
        (&[signed(1)], 0x0028_0106, Vr::SS),
        (&[signed(1)], 0x0028_3002, Vr::SS),
        (&[], 0x0028_0106, Vr::US),
        (&[], 0x0018_9810, Vr::UN),
        (&[signed(1)], 0x0018_9810, Vr::SS),
        // An item's own Pixel Representation is not its parent's.
        (&[signed(1), reference(vec![signed(0)])], 0x0028_0106, Vr::SS),
        (&[], 0x0028_3006, Vr::OW),
        (&[], 0x6000_3000, Vr::OW),
        (&[], 0x5400_1010, Vr::OW),
        (&[waveform(8)], 0x5400_1010, Vr::OB),
        (&[waveform(16)], 0x5400_1010, Vr::OW),
        (&[value(0x0028_0100, Vr::US, &[8, 0])], 0x7FE0_0010, Vr::OW),
        (&[], 0x7FE0_0008, Vr::OF),
        (&[], 0x0009_0010, Vr::LO),
        (&[], 0x0009_1010, Vr::UN),
        (&[], 0x6001_3000, Vr::UN),
        (&[], 0x0008_FFF1, Vr::UN),
    ];
    for (before, tag, want) in rows {
        assert_eq!(representation(before, *tag, &[1, 2]), *want, "{} after {before:?}", Tag(*tag));
    }
}

#[test]
fn an_item_takes_the_pixel_representation_around_it() {
    let inner = |vr| vec![value(0x0028_3002, vr, &[0, 1, 0, 0, 16, 0])];
    let tree = |vr| vec![value(0x0028_0103, Vr::US, &[1, 0]), sequence(0x0028_3000, Vr::SQ, false, vec![inner(vr)])];
    assert_eq!(written(IMPLICIT_VR_LE, IMPLICIT, &tree(Vr::UN)), encode(&tree(Vr::SS), DELIMITED));
    // Before it, nobody can know.
    let early = |vr| vec![sequence(0x0008_1140, Vr::SQ, false, vec![inner(vr)]), value(0x0028_0103, Vr::US, &[1, 0])];
    assert_eq!(written(IMPLICIT_VR_LE, IMPLICIT, &early(Vr::US)), encode(&early(Vr::UN), DELIMITED));
}

#[test]
fn values_too_long_for_a_short_length_become_un() {
    for (length, vr) in [(65_534, Vr::LO), (65_536, Vr::UN), (200_000, Vr::UN)] {
        let node = |vr| vec![value(0x0010_0020, vr, &vec![b'x'; length])];
        assert_eq!(written(IMPLICIT_VR_LE, IMPLICIT, &node(Vr::LO)), encode(&node(vr), DELIMITED), "{length}");
    }
    let text = vec![value(0x0040_A160, Vr::UT, &vec![b'x'; 200_000])];
    assert_eq!(written(IMPLICIT_VR_LE, IMPLICIT, &text), encode(&text, DELIMITED));
}

#[test]
fn group_lengths_and_what_is_not_the_data_sets_are_left_out() {
    let kept = value(0x0010_0020, Vr::LO, b"4711");
    let nodes = [
        value(0x0002_0010, Vr::UI, b"1.2.840.10008.1.2\0"),
        value(0x0008_0000, Vr::UL, &[1, 0, 0, 0]),
        kept.clone(),
        value(0x0011_0000, Vr::UL, &[1, 0, 0, 0]),
    ];
    for (from, form) in [(IMPLICIT_VR_LE, IMPLICIT), (EXPLICIT_VR_BE, BIG)] {
        let bytes = [encode(&nodes, form), vec![0; 100]].concat();
        let (out, report) = transcode(from, &[&bytes]).unwrap();
        assert_eq!(out, encode(std::slice::from_ref(&kept), DELIMITED));
        assert_eq!((report.elements, report.left_out), (1, 3));
    }
}

#[test]
fn pixel_cells_keep_their_numbers() {
    let pixels =
        |bits: u8, vr, bytes: &[u8]| vec![value(0x0028_0100, Vr::US, &[bits, 0]), value(0x7FE0_0010, vr, bytes)];
    let big = |bits, vr| written(EXPLICIT_VR_BE, BIG, &pixels(bits, vr, b"abcdefgh"));
    assert_eq!(big(16, Vr::OW), encode(&pixels(16, Vr::OW, b"abcdefgh"), DELIMITED));
    assert_eq!(big(8, Vr::OW), encode(&pixels(8, Vr::OW, b"abcdefgh"), DELIMITED));
    assert_eq!(big(8, Vr::OB), encode(&pixels(8, Vr::OB, b"abcdefgh"), DELIMITED));
    // By words, not by cells: the standard's way.
    let wide = pixels(32, Vr::OW, b"abcdefgh");
    let (out, report) = transcode(EXPLICIT_VR_BE, &[&encode(&wide, BIG)]).unwrap();
    assert_eq!((out, report.wide_cells), (encode(&wide, DELIMITED), true));

    // GE: all is little endian, but for cells of two bytes.
    let ge = |bits| transcode(GE_PRIVATE_IMPLICIT_VR, &[&encode(&pixels(bits, Vr::OW, b"abcd"), IMPLICIT)]);
    assert_eq!(ge(16).unwrap().0, encode(&pixels(16, Vr::OW, b"badc"), DELIMITED));
    assert_eq!(ge(8).unwrap().0, encode(&pixels(8, Vr::OW, b"abcd"), DELIMITED));
    assert_eq!(ge(32), Err(TranscodeError::UnknownCells { tag: PIXEL_DATA }));
}

/// As odil writes what is compressed in big endian: the rest of it can be read (WEB-102).
#[test]
fn fragments_are_left_out_for_who_reads_attributes_alone() {
    let nodes = |fragments| [value(0x0028_0010, Vr::US, &[1, 0]), Node::Fragments { fragments }];
    for (from, form) in [(IMPLICIT_VR_LE, IMPLICIT), (EXPLICIT_VR_BE, BIG)] {
        let mut input = encode(&nodes(vec![vec![], vec![1, 2]]), form);
        input.extend(encode(&[value(0xFFFC_FFFC, Vr::OB, b"12")], form));
        let mut transcoder = Transcoder::new(&TransferSyntaxUid::parse(from).unwrap()).unwrap().leaving_fragments();
        let mut out = Vec::new();
        transcoder.push(&input, &mut out).unwrap();
        transcoder.finish(&mut out).unwrap();
        let mut want = encode(&nodes(vec![]), DELIMITED);
        want.extend(encode(&[value(0xFFFC_FFFC, Vr::OB, b"12")], DELIMITED));
        // From implicit encoding, pixels are OW.
        if form == IMPLICIT {
            let vr = want.windows(2).position(|two| two == b"OB").unwrap();
            want[vr + 1] = b'W';
        }
        assert_eq!(out, want, "{from}");
    }
}

#[test]
fn what_is_no_native_data_set_is_refused() {
    let fragments = [Node::Fragments { fragments: vec![vec![], vec![1, 2]] }];
    for (from, form) in [(IMPLICIT_VR_LE, IMPLICIT), (EXPLICIT_VR_BE, BIG)] {
        let refused = transcode(from, &[&encode(&fragments, form)]);
        assert_eq!(refused, Err(TranscodeError::Encapsulated { tag: PIXEL_DATA }));
        let whole = encode(&instance(), form);
        let cut = transcode(from, &[&whole[..whole.len() - 1]]).unwrap_err();
        assert_eq!(cut, StructureError::Truncated { tag: Some(PIXEL_DATA) }.into());
        assert_eq!(cut.tag(), Some(PIXEL_DATA));
    }
    // A length that reaches past its item.
    let mut lie =
        encode(&[sequence(0x0008_1140, Vr::SQ, true, vec![vec![value(0x0008_1155, Vr::UI, b"12")]])], IMPLICIT);
    lie[20] += 2;
    lie.extend([0; 8]);
    assert!(matches!(
        transcode(IMPLICIT_VR_LE, &[&lie]),
        Err(TranscodeError::Structure(StructureError::Malformed { .. }))
    ));
}

/// FLT-087: a sequence of a length that lies beyond the limit passes as it is, where the output may hold it so.
#[test]
fn what_is_nested_deeper_than_the_limit_passes_by_its_length() {
    const TAG: u32 = 0x0040_A730;
    let around = |inner: Node, depth, defined| {
        (0..depth).fold(inner, |node, _| sequence(TAG, Vr::SQ, defined, vec![vec![node]]))
    };
    let nested = |depth| [around(value(0x0008_0104, Vr::LO, b"x "), depth, true)];
    let evened = |from: &str, form, to: &str| {
        let mut transcoder = Transcoder::evening(&TransferSyntaxUid::parse(from).unwrap(), to).unwrap();
        let mut out = Vec::new();
        transcoder.push(&encode(&nested(100), form), &mut out)?;
        Ok((out, transcoder.finish(&mut Vec::new())?.un_elements))
    };
    let implicit = Form { delimited: true, ..IMPLICIT };
    let rows = [
        (IMPLICIT_VR_LE, IMPLICIT, EXPLICIT_VR_LE, DELIMITED, Vr::UN, 1),
        (IMPLICIT_VR_LE, IMPLICIT, IMPLICIT_VR_LE, implicit, Vr::UN, 0),
        (EXPLICIT_VR_LE, EXPLICIT, EXPLICIT_VR_LE, DELIMITED, Vr::SQ, 0),
    ];
    for (from, form, to, written, vr, un) in rows {
        let untouched = &encode(&nested(36), form)[if form.explicit { 12 } else { 8 }..];
        let want = encode(&[around(value(TAG, vr, untouched), 64, false)], written);
        assert_eq!(evened(from, form, to), Ok((want, un)), "{from} to {to}");
    }
    let deep = TranscodeError::Structure(StructureError::TooDeep { tag: Some(Tag(TAG)) });
    assert_eq!(evened(EXPLICIT_VR_LE, EXPLICIT, IMPLICIT_VR_LE), Err(deep));
    assert_eq!(evened(EXPLICIT_VR_BE, BIG, EXPLICIT_VR_LE), Err(deep));
    note_fired(1);
}

#[test]
fn a_delimiter_too_many_inside_un_is_kept_since_lengths_count_it() {
    let mut inner = encode(&[value(0x0009_1003, Vr::UN, b"ab")], IMPLICIT);
    inner.extend([0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0]);
    let mut content = [&[0xFE, 0xFF, 0x00, 0xE0][..], &(inner.len() as u32).to_le_bytes(), &inner].concat();
    content.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    let whole = |form: Form| {
        let mut bytes = Vec::new();
        form.header(&mut bytes, Tag::new(0x0009, 0x1002), Vr::UN, UNDEFINED);
        bytes.extend(&content);
        bytes
    };
    assert_eq!(transcode(IMPLICIT_VR_LE, &[&whole(IMPLICIT)]).unwrap().0, whole(EXPLICIT));
    assert_eq!(transcode(EXPLICIT_VR_BE, &[&whole(BIG)]).unwrap().0, whole(EXPLICIT));
}

/// PS3.5 section 7.1.1: for a node every value is made even, and the lengths around it follow (DIM-055).
#[test]
fn values_of_odd_length_are_padded_where_that_is_asked_for() {
    let rows: &[(u32, Vr, &[u8], &[u8])] = &[
        (0x0008_0008, Vr::CS, b"ORIGINAL\\P", b"ORIGINAL\\P"),
        (0x0008_0018, Vr::UI, b"1.2.3", b"1.2.3\0"),
        (0x0010_0010, Vr::PN, b"Specimen^Test", b"Specimen^Test "),
        (0x0018_1153, Vr::IS, b"7", b"7 "),
        (0x0028_0010, Vr::US, &[1, 0, 7], &[1, 0, 7, 0]),
        (0x0042_0011, Vr::OB, b"%PDF-", b"%PDF-\0"),
        (0x0040_A160, Vr::UT, b"abc", b"abc "),
        (0x7FE0_0010, Vr::OW, &[1, 2, 3], &[1, 2, 3, 0]),
    ];
    let forms = [(IMPLICIT_VR_LE, IMPLICIT), (EXPLICIT_VR_BE, BIG), (EXPLICIT_VR_LE, EXPLICIT)];
    for (tag, vr, odd, even) in rows {
        let one = |bytes: &[u8]| vec![value(*tag, *vr, bytes)];
        for defined in [true, false] {
            let nested = |bytes: &[u8]| {
                let inner = sequence(0x0008_1140, Vr::SQ, defined, vec![one(bytes)]);
                [vec![sequence(0x0008_1110, Vr::SQ, defined, vec![vec![inner]])], one(bytes)].concat()
            };
            for (from, form) in forms {
                for (to, want) in [(EXPLICIT_VR_LE, DELIMITED), (IMPLICIT_VR_LE, Form { explicit: false, ..DELIMITED })]
                {
                    let syntax = TransferSyntaxUid::parse(from).unwrap();
                    let input = encode(&nested(odd), form);
                    for piece in [1, 3, input.len()] {
                        let (mut out, mut transcoder) = (Vec::new(), Transcoder::evening(&syntax, to).unwrap());
                        input.chunks(piece).for_each(|bytes| transcoder.push(bytes, &mut out).unwrap());
                        assert_eq!(transcoder.finish(&mut out).unwrap().bytes, out.len() as u64);
                        assert_eq!(out, encode(&nested(even), want), "{} {from} {to} {defined} {piece}", Tag(*tag));
                    }
                }
            }
        }
    }
    // Nobody else's bytes change, and a length that no short one can hold makes it UN.
    let long = |vr, length| vec![value(0x0010_0020, vr, &vec![b' '; length])];
    assert_eq!(written(IMPLICIT_VR_LE, IMPLICIT, &long(Vr::LO, 5)), encode(&long(Vr::LO, 5), DELIMITED));
    let mut transcoder =
        Transcoder::evening(&TransferSyntaxUid::parse(IMPLICIT_VR_LE).unwrap(), EXPLICIT_VR_LE).unwrap();
    let mut out = Vec::new();
    transcoder.push(&encode(&long(Vr::LO, 65_535), IMPLICIT), &mut out).unwrap();
    assert_eq!(out, encode(&long(Vr::UN, 65_536), DELIMITED));
}

proptest! {
    #[test]
    fn any_data_set_is_written_as_our_own_encoder_writes_it(nodes in nodes(), cuts in cuts()) {
        let want = encode(&nodes, DELIMITED);
        for (from, form) in [(IMPLICIT_VR_LE, IMPLICIT), (EXPLICIT_VR_BE, BIG)] {
            let input = encode(&nodes, form);
            let (out, _) = transcode(from, &pieces(&input, &cuts)).unwrap();
            prop_assert_eq!(&out, &want);
            prop_assert!(out.len() <= 3 * input.len() + 2048);
        }
    }

    #[test]
    fn any_bytes_give_the_same_however_they_are_cut(
        bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xFE), Just(0xFF), Just(0xE0), any::<u8>()], 0..300),
        damage in 0..600usize,
        cuts in cuts(),
    ) {
        for (from, form) in [(IMPLICIT_VR_LE, IMPLICIT), (EXPLICIT_VR_BE, BIG), (GE_PRIVATE_IMPLICIT_VR, IMPLICIT)] {
            let mut damaged = encode(&instance(), form);
            let at = damage.min(damaged.len());
            let end = (at + bytes.len()).min(damaged.len());
            damaged.splice(at..end, bytes.iter().copied());
            for input in [&damaged, &bytes] {
                prop_assert_eq!(transcode(from, &pieces(input, &cuts)), transcode(from, &[input]));
            }
        }
    }
}
