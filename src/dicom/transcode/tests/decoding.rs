//! Compressed pixels decoded as the data set streams past, and data sets written without representations.

use super::*;
use crate::dicom::inflate::tests::deflate;
use crate::dicom::pixels::{DecodeError, FragmentError, UNCOMPRESSED};

const RLE: &str = "1.2.840.10008.1.2.5";
const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
/// Implicit, as the transcoder delimits it.
const PLAIN: Form = Form { explicit: false, big: false, delimited: true };

fn between(from: &str, to: &str, input: &[&[u8]]) -> Result<(Vec<u8>, Report), TranscodeError> {
    let mut transcoder = Transcoder::between(&TransferSyntaxUid::parse(from).unwrap(), to).unwrap();
    let mut out = Vec::new();
    for piece in input {
        transcoder.push(piece, &mut out)?;
    }
    let report = transcoder.finish(&mut out)?;
    assert_eq!(report.bytes, out.len() as u64);
    Ok((out, report))
}

/// The description of an image of 1 by 2 pixels; `planar` is left out if there is none.
fn described(frames: &[u8], samples: u8, photometric: &[u8], planar: Option<u8>) -> Vec<Node> {
    let short = |element: u16, number: u8| value(0x0028_0000 | u32::from(element), Vr::US, &[number, 0]);
    let mut nodes = vec![short(2, samples), value(0x0028_0004, Vr::CS, photometric)];
    nodes.extend(planar.map(|planar| short(6, planar)));
    nodes.push(value(0x0028_0008, Vr::IS, frames));
    nodes.extend([(0x10, 1), (0x11, 2), (0x100, 8), (0x101, 8), (0x103, 0)].map(|(element, n)| short(element, n)));
    nodes
}

/// An RLE frame of planes of two bytes each.
fn rle(planes: &[[u8; 2]]) -> Vec<u8> {
    let mut out = vec![0; 64];
    out[0] = planes.len() as u8;
    for (at, [a, b]) in planes.iter().enumerate() {
        out[4 + at * 4] = out.len() as u8;
        out.extend([1, *a, *b, 128]);
    }
    out
}

fn fragments(fragments: &[Vec<u8>]) -> Node {
    Node::Fragments { fragments: [&[Vec::new()], fragments].concat() }
}

#[test]
fn decoded_frames_stand_where_the_fragments_stood_and_are_described_rightly() {
    let frames = [rle(&[[1, 2], [3, 4], [5, 6]]), rle(&[[7, 8], [9, 10], [11, 12]])];
    let native = value(0x7FE0_0010, Vr::OB, &[1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12]);
    // Planar Configuration is corrected, or written where it is missing.
    for planar in [Some(1), Some(0), None] {
        let stored = [described(b"2 ", 3, b"RGB ", planar), vec![fragments(&frames)]].concat();
        let want = [described(b"2 ", 3, b"RGB ", Some(0)), vec![native.clone()]].concat();
        for (to, form) in [(EXPLICIT_VR_LE, DELIMITED), (IMPLICIT_VR_LE, PLAIN)] {
            let (out, report) = between(RLE, to, &[&encode(&stored, EXPLICIT)]).unwrap();
            assert_eq!(out, encode(&want, form), "{planar:?} {to}");
            assert_eq!(report.frames, 2);
        }
    }
}

/// DIM-007: a report that came under a lossy syntax is no image, and nothing is added to it.
#[test]
fn what_is_no_image_is_not_called_lossy() {
    let report = [value(0x0008_0060, Vr::CS, b"SR"), value(0x0040_A040, Vr::CS, b"CONTAINER ")];
    for (to, form) in [(EXPLICIT_VR_LE, DELIMITED), (IMPLICIT_VR_LE, PLAIN)] {
        let (out, _) = between(JPEG_BASELINE, to, &[&encode(&report, EXPLICIT)]).unwrap();
        assert_eq!(out, encode(&report, form), "{to}");
    }
}

/// PS3.5 section A.4.11: what was never compressed keeps its cells, and with them its Planar Configuration.
#[test]
fn fragments_that_are_not_compressed_keep_their_planes() {
    let cells = vec![1, 2, 3, 4, 5, 6];
    let native = value(0x7FE0_0010, Vr::OB, &cells);
    for planar in [0, 1] {
        let description = described(b"1 ", 3, b"RGB ", Some(planar));
        let stored = [description.clone(), vec![fragments(std::slice::from_ref(&cells))]].concat();
        let (out, _) = between(UNCOMPRESSED, EXPLICIT_VR_LE, &[&encode(&stored, EXPLICIT)]).unwrap();
        assert_eq!(out, encode(&[description, vec![native.clone()]].concat(), DELIMITED), "{planar}");
    }
}

#[test]
fn offset_tables_go_and_an_odd_length_is_padded() {
    let mut nodes = described(b"1 ", 1, b"MONOCHROME2 ", None);
    nodes.retain(|node| !matches!(node, Node::Value { tag: Tag(0x0028_0011), .. }));
    nodes.insert(4, value(0x0028_0011, Vr::US, &[1, 0]));
    let offsets = |element: u32| value(0x7FE0_0000 | element, Vr::OV, &[0; 8]);
    let stored = [nodes.clone(), vec![offsets(1), offsets(2), fragments(&[rle(&[[9, 9]])])]].concat();
    let want = [nodes, vec![value(0x7FE0_0010, Vr::OB, &[9, 0])]].concat();
    let (out, report) = between(RLE, EXPLICIT_VR_LE, &[&encode(&stored, EXPLICIT)]).unwrap();
    assert_eq!(out, encode(&want, DELIMITED));
    assert_eq!(report.left_out, 2);
}

#[test]
fn frames_come_one_at_a_time_however_the_input_is_cut() {
    let frames: Vec<Vec<u8>> = (0..9).map(|n| rle(&[[n, n]])).collect();
    let stored = [described(b"9 ", 1, b"MONOCHROME2 ", None), vec![fragments(&frames)]].concat();
    let input = encode(&stored, EXPLICIT);
    let (whole, _) = between(RLE, IMPLICIT_VR_LE, &[&input]).unwrap();
    let cut: Vec<&[u8]> = input.chunks(7).collect();
    assert_eq!(between(RLE, IMPLICIT_VR_LE, &cut).unwrap().0, whole);
    let mut transcoder = Transcoder::between(&TransferSyntaxUid::parse(RLE).unwrap(), IMPLICIT_VR_LE).unwrap();
    let (mut rest, mut out, mut pauses) = (&input[..], Vec::new(), 0);
    while !rest.is_empty() {
        let (left, before) = (rest.len(), out.len());
        transcoder.push_some(&mut rest, &mut out).unwrap();
        assert!(rest.len() < left && out.len() <= before + 400, "a frame at most");
        pauses += 1;
    }
    transcoder.finish(&mut out).unwrap();
    assert_eq!((out == whole, pauses), (true, 9));
}

/// A grey JPEG of 8 by 8 pixels that are all 128: one block, no coefficients.
fn grey_jpeg(rows: u8, columns: u8) -> Vec<u8> {
    let mut out = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0];
    out.extend([1; 64]);
    out.extend([0xFF, 0xC0, 0, 11, 8, 0, rows, 0, columns, 1, 1, 0x11, 0]);
    for class in [0x00, 0x10] {
        out.extend([0xFF, 0xC4, 0, 20, class, 1]);
        out.extend([0; 15]);
        out.push(0);
    }
    out.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0x3F, 0xFF, 0xD9]);
    out
}

#[test]
fn what_was_lossy_still_says_so() {
    let head = |lossy: Option<&[u8]>| {
        let mut nodes = described(b"1 ", 1, b"MONOCHROME2 ", None);
        nodes.extend(lossy.map(|lossy| value(0x0028_2110, Vr::CS, lossy)));
        nodes.push(value(0x0028_2112, Vr::DS, b"10"));
        nodes
    };
    let native = value(0x7FE0_0010, Vr::OB, &[128, 128]);
    for lossy in [None, Some(&b"00"[..]), Some(b"01")] {
        let stored = [head(lossy), vec![fragments(&[grey_jpeg(1, 2)])]].concat();
        let (out, _) = between(JPEG_BASELINE, EXPLICIT_VR_LE, &[&encode(&stored, EXPLICIT)]).unwrap();
        assert_eq!(out, encode(&[head(Some(b"01")), vec![native.clone()]].concat(), DELIMITED), "{lossy:?}");
    }
    let lossless = [head(Some(b"00")), vec![fragments(&[rle(&[[128, 128]])])]].concat();
    let (out, _) = between(RLE, EXPLICIT_VR_LE, &[&encode(&lossless, EXPLICIT)]).unwrap();
    assert_eq!(out, encode(&[head(Some(b"00")), vec![native]].concat(), DELIMITED));
}

#[test]
fn what_cannot_be_decoded_rightly_is_an_error() {
    let one = |frames: &[u8]| described(frames, 1, b"MONOCHROME2 ", None);
    let frame = || rle(&[[1, 2]]);
    let short = value(0x7FE0_0010, Vr::OB, &[1, 2]);
    let icon = sequence(0x0088_0200, Vr::SQ, false, vec![vec![fragments(&[frame()])]]);
    let count = |found, promised| TranscodeError::Fragments(FragmentError::Count { found, promised });
    let rows = [
        ([one(b"2 "), vec![fragments(&[frame()])]].concat(), count(1, 2)),
        ([one(b"2 "), vec![fragments(&[frame(), frame(), frame()])]].concat(), count(3, 2)),
        ([one(b"1 "), vec![fragments(&[frame(), frame()])]].concat(), count(2, 1)),
        ([one(b""), vec![fragments(&[frame(), frame()])]].concat(), count(2, 1)),
        ([one(b"2 "), vec![short]].concat(), TranscodeError::NotEncapsulated),
        (
            [one(b"1 "), vec![fragments(&[vec![0; 64]])]].concat(),
            TranscodeError::Frame { frame: 1, why: DecodeError::Disagree("number of RLE segments") },
        ),
        (vec![icon], TranscodeError::Encapsulated { tag: PIXEL_DATA }),
    ];
    for (stored, want) in rows {
        assert_eq!(between(RLE, EXPLICIT_VR_LE, &[&encode(&stored, EXPLICIT)]), Err(want));
    }
    let huge = [value(0x0028_0008, Vr::IS, b"70000 ")];
    let image = described(b"1 ", 1, b"MONOCHROME2 ", None);
    let mut image: Vec<Node> = image
        .into_iter()
        .filter(|node| !matches!(node, Node::Value { tag: Tag(0x0028_0008 | 0x0028_0010 | 0x0028_0011), .. }))
        .collect();
    image.splice(2..2, [huge[0].clone(), value(0x0028_0010, Vr::US, &[0, 1]), value(0x0028_0011, Vr::US, &[0, 1])]);
    image.push(fragments(&[frame()]));
    let bytes = 70_000 * 256 * 256;
    assert_eq!(between(RLE, EXPLICIT_VR_LE, &[&encode(&image, EXPLICIT)]), Err(TranscodeError::TooLong { bytes }));
}

/// What describes the pixels is padded as the rest is, though it is written when it is whole (PS3.5 section 7.1.1; DIM-055).
#[test]
fn descriptions_of_odd_length_are_padded_where_that_is_asked_for() {
    let frames = [rle(&[[1, 2], [3, 4], [5, 6]]), rle(&[[7, 8], [9, 10], [11, 12]])];
    let stored = [described(b"2", 3, b"RGB", Some(0)), vec![fragments(&frames)]].concat();
    let native = value(0x7FE0_0010, Vr::OB, &[1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12]);
    let want = [described(b"2 ", 3, b"RGB ", Some(0)), vec![native]].concat();
    let mut transcoder = Transcoder::evening(&TransferSyntaxUid::parse(RLE).unwrap(), EXPLICIT_VR_LE).unwrap();
    let mut out = Vec::new();
    transcoder.push(&encode(&stored, EXPLICIT), &mut out).unwrap();
    transcoder.finish(&mut out).unwrap();
    assert_eq!(out, encode(&want, DELIMITED));
}

/// PS3.5 section A.4 has them in fragments; PixelMed sends native images so, on the context of another file's syntax (DIM-007).
#[test]
fn native_pixels_under_an_encapsulated_syntax_pass_if_nothing_about_them_is_in_doubt() {
    let cells = |n: u8| value(0x7FE0_0010, Vr::OB, &(0..n).collect::<Vec<u8>>());
    let grey = described(b"2 ", 1, b"MONOCHROME2 ", None);
    let colour = |planar| described(b"1 ", 3, b"RGB ", planar);
    let with = |mut nodes: Vec<Node>, more: Vec<Node>| {
        nodes.extend(more);
        nodes
    };
    let lossy = |text: &[u8]| value(0x0028_2110, Vr::CS, text);
    let offsets = value(0x7FE0_0001, Vr::OV, &[0; 8]);
    let rows = [
        ("grey", RLE, with(grey.clone(), vec![cells(4)]), true),
        ("colour by pixel", RLE, with(colour(Some(0)), vec![cells(6)]), true),
        ("lossy, as it says", JPEG_BASELINE, with(grey.clone(), vec![lossy(b"01"), cells(4)]), true),
        ("too long", RLE, with(grey.clone(), vec![cells(6)]), false),
        ("too short", RLE, with(grey.clone(), vec![cells(2)]), false),
        ("empty", RLE, with(grey.clone(), vec![cells(0)]), false),
        ("by plane, which was corrected", RLE, with(colour(Some(1)), vec![cells(6)]), false),
        ("in an order that nobody says", RLE, with(colour(None), vec![cells(6)]), false),
        ("now called lossy", JPEG_BASELINE, with(grey.clone(), vec![lossy(b"00"), cells(4)]), false),
        (
            "no longer YBR",
            JPEG_BASELINE,
            with(described(b"1 ", 3, b"YBR_FULL", Some(0)), vec![lossy(b"01"), cells(6)]),
            false,
        ),
        ("with an offset table", RLE, with(grey, vec![offsets, cells(4)]), true),
    ];
    for (name, from, stored, passes) in rows {
        let want: Vec<Node> =
            stored.iter().filter(|node| !matches!(node, Node::Value { tag: Tag(0x7FE0_0001), .. })).cloned().collect();
        for (to, form) in [(EXPLICIT_VR_LE, DELIMITED), (IMPLICIT_VR_LE, PLAIN)] {
            let got = between(from, to, &[&encode(&stored, EXPLICIT)]).map(|(out, _)| out);
            let want = if passes { Ok(encode(&want, form)) } else { Err(TranscodeError::NotEncapsulated) };
            assert_eq!(got, want, "{name} {to}");
        }
    }
}

#[test]
fn any_native_syntax_becomes_implicit() {
    let want = encode(&instance(), PLAIN);
    for (from, input) in [
        (EXPLICIT_VR_LE, encode(&instance(), EXPLICIT)),
        (EXPLICIT_VR_BE, encode(&instance(), BIG)),
        (DEFLATED_EXPLICIT_VR_LE, deflate(&encode(&instance(), EXPLICIT), false)),
    ] {
        assert_eq!(between(from, IMPLICIT_VR_LE, &[&input]).unwrap().0, want, "{from}");
    }
    let deflated = deflate(&encode(&instance(), EXPLICIT), false);
    let explicit = encode(&instance(), DELIMITED);
    assert_eq!(between(DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_LE, &[&deflated]).unwrap().0, explicit);
    let cut = &deflated[..deflated.len() / 2];
    assert!(between(DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_LE, &[cut]).is_err());
}

#[test]
fn only_what_we_can_read_whole_is_re_encoded() {
    let possible = |from: &str, to: &str| Transcoder::between(&TransferSyntaxUid::parse(from).unwrap(), to).is_some();
    for (from, explicit, implicit) in [
        (IMPLICIT_VR_LE, true, false),
        (EXPLICIT_VR_LE, false, true),
        (EXPLICIT_VR_BE, true, true),
        (GE_PRIVATE_IMPLICIT_VR, true, true),
        (DEFLATED_EXPLICIT_VR_LE, true, true),
        (RLE, true, true),
        (JPEG_BASELINE, true, true),
        ("1.2.840.10008.1.2.4.100", false, false),
        ("1.2.3", false, false),
    ] {
        assert_eq!((possible(from, EXPLICIT_VR_LE), possible(from, IMPLICIT_VR_LE)), (explicit, implicit), "{from}");
        assert!(!possible(from, RLE), "nothing is ever compressed");
    }
}
