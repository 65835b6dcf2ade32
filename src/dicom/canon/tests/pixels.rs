//! The digest of pixels: equal in every form that loses nothing, of bitstreams where something may be lost, else unknown.

use super::*;
use crate::dicom::pixels::tests::colours::lossless;

const RLE: &str = "1.2.840.10008.1.2.5";
const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
const MPEG2: &str = "1.2.840.10008.1.2.4.100";
const HTJ2K_LOSSLESS: &str = "1.2.840.10008.1.2.4.201";
const UNCOMPRESSED: &str = "1.2.840.10008.1.2.1.98";

/// An image of 1 by 2 pixels, without its pixels.
fn described(frames: &[u8], samples: u8, bits: (u8, u8), signed: u8, planar: Option<u8>) -> Vec<Node> {
    let short = |element: u16, number: u8| value(0x0028_0000 | u32::from(element), Vr::US, &[number, 0]);
    let photometric: &[u8] = if samples == 3 { b"RGB " } else { b"MONOCHROME2 " };
    let mut nodes = vec![short(2, samples), value(0x0028_0004, Vr::CS, photometric)];
    nodes.extend(planar.map(|planar| short(6, planar)));
    nodes.push(value(0x0028_0008, Vr::IS, frames));
    let rest = [(0x10, 1), (0x11, 2), (0x100, bits.0), (0x101, bits.1), (0x103, signed)];
    nodes.extend(rest.map(|(element, number)| short(element, number)));
    nodes
}

fn grey(frames: &[u8]) -> Vec<Node> {
    described(frames, 1, (8, 8), 0, None)
}

fn fragments(table: &[u8], fragments: &[&[u8]]) -> Node {
    let fragments = fragments.iter().map(|fragment| fragment.to_vec());
    Node::Fragments { fragments: std::iter::once(table.to_vec()).chain(fragments).collect() }
}

fn pixels(syntax: &str, head: &[Node], pixels: Node) -> Pixels {
    content(syntax, &encode(&[head, &[pixels]].concat(), EXPLICIT)).pixels
}

fn native_pixels(head: &[Node], bytes: &[u8]) -> Pixels {
    pixels(EXPLICIT_VR_LE, head, value(0x7FE0_0010, Vr::OW, bytes))
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

/// IDY-005: decoded frames are what counts where nothing was lost.
#[test]
fn compressed_without_loss_is_equal_to_native() {
    let native = native_pixels(&grey(b"2 "), &[1, 2, 3, 4]);
    assert!(matches!(native, Pixels::Lossless(_)));
    let frames = [rle(&[[1, 2]]), rle(&[[3, 4]])];
    assert_eq!(pixels(RLE, &grey(b"2 "), fragments(&[], &[&frames[0], &frames[1]])), native);
    let table = [&0_u32.to_le_bytes()[..], &76_u32.to_le_bytes()].concat();
    assert_eq!(pixels(RLE, &grey(b"2 "), fragments(&table, &[&frames[0], &frames[1]])), native);
    let without_table = Node::Fragments { fragments: frames.to_vec() };
    assert_eq!(pixels(RLE, &grey(b"2 "), without_table), native);
    assert_eq!(pixels(UNCOMPRESSED, &grey(b"1 "), fragments(&[], &[&[1, 2]])), native_pixels(&grey(b"1 "), &[1, 2]));
    assert_ne!(pixels(RLE, &grey(b"2 "), fragments(&[], &[&frames[0], &frames[0]])), native);
    assert_ne!(native_pixels(&grey(b"1 "), &[1, 2]), native_pixels(&described(b"1 ", 1, (8, 7), 0, None), &[1, 2]));
}

#[test]
fn colours_are_equal_in_planes_and_side_by_side() {
    let colour = |planar| described(b"2 ", 3, (8, 8), 0, planar);
    let side_by_side = native_pixels(&colour(Some(0)), &[1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12]);
    let planes = native_pixels(&colour(Some(1)), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!(side_by_side, planes);
    let frames = [rle(&[[1, 2], [3, 4], [5, 6]]), rle(&[[7, 8], [9, 10], [11, 12]])];
    assert_eq!(pixels(RLE, &colour(Some(1)), fragments(&[], &[&frames[0], &frames[1]])), planes);
    // The description of the pixels goes with them, not with the canon.
    let of = |planar, bytes: &[u8]| explicit(&[&colour(planar)[..], &[value(0x7FE0_0010, Vr::OW, bytes)]].concat());
    let (left, right) =
        (of(Some(0), &[1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12]), of(Some(1), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]));
    assert_eq!(left, right);
    // Without pixels it is an attribute like any other.
    assert_ne!(explicit(&colour(Some(0))).canon, explicit(&colour(Some(1))).canon);
}

#[test]
fn padding_and_unextended_signs_do_not_count_and_bits_above_do() {
    let one = described(b"1 ", 1, (8, 8), 0, None);
    let mut single = one.clone();
    single.retain(|node| !matches!(node, Node::Value { tag: Tag(0x0028_0011), .. }));
    single.insert(4, value(0x0028_0011, Vr::US, &[1, 0]));
    assert_eq!(native_pixels(&single, &[9, 0]), native_pixels(&single, &[9, 7]), "a byte of padding");
    let signed = described(b"1 ", 1, (16, 12), 1, None);
    assert_eq!(native_pixels(&signed, &[0xFF, 0x0F, 1, 0]), native_pixels(&signed, &[0xFF, 0xFF, 1, 0]));
    assert_ne!(native_pixels(&signed, &[0xFF, 0x1F, 1, 0]), native_pixels(&signed, &[0xFF, 0xFF, 1, 0]), "an overlay");
    let unsigned = described(b"1 ", 1, (16, 12), 0, None);
    assert_ne!(native_pixels(&unsigned, &[0xFF, 0x0F, 1, 0]), native_pixels(&unsigned, &[0xFF, 0xFF, 1, 0]));
    assert_ne!(native_pixels(&one, &[1, 2]), native_pixels(&one, &[1, 2, 0, 0]), "more than was promised");
}

/// IDY-005: what a decoder gives is in the same form as what is native: in its colours, and with its signs.
#[test]
fn decoded_cells_are_in_the_form_of_native_ones() {
    let mut ybr = described(b"1 ", 3, (8, 8), 0, Some(0));
    ybr.retain(|node| !matches!(node, Node::Value { tag: Tag(0x0028_0004 | 0x0028_0011), .. }));
    ybr.insert(1, value(0x0028_0004, Vr::CS, b"YBR_FULL"));
    ybr.insert(5, value(0x0028_0011, Vr::US, &[1, 0]));
    let native = native_pixels(&ybr, &[128, 178, 78, 0]);
    assert!(matches!(native, Pixels::Lossless(_)));
    assert_eq!(pixels(JPEG_LOSSLESS, &ybr, fragments(&[], &[&lossless(&[])])), native);
    let signed = described(b"1 ", 1, (16, 12), 1, None);
    let native = native_pixels(&signed, &[0xFF, 0xFF, 1, 0]);
    for high in [0x0F, 0xFF] {
        let cells = [0xFF, high, 1, 0];
        assert_eq!(native_pixels(&signed, &cells), native);
        assert_eq!(pixels(RLE, &signed, fragments(&[], &[&rle(&[[high, 0], [0xFF, 1]])])), native);
        assert_eq!(pixels(UNCOMPRESSED, &signed, fragments(&[], &[&cells])), native);
    }
}

/// Where the stored bits are not the lowest, there is no sign to extend (PS3.5 section 8.1.1).
#[test]
fn signs_are_extended_only_below_high_bit() {
    let of = |high: u8, cells: &[u8]| {
        let mut signed = described(b"1 ", 1, (16, 12), 1, None);
        signed.insert(signed.len() - 1, value(0x0028_0102, Vr::US, &[high, 0]));
        native_pixels(&signed, cells)
    };
    let (short, long) = ([0xF0, 0x0F, 0, 0], [0xF0, 0xFF, 0, 0]);
    assert_eq!(of(11, &short), of(11, &long));
    assert_ne!(of(15, &short), of(15, &long));
}

/// IDY-005: what lost something is its bitstream, whatever its fragments.
#[test]
fn lossy_images_are_their_bitstreams() {
    let of = |node| pixels(JPEG_BASELINE, &grey(b"1 "), node);
    let whole = of(fragments(&[], &[&[1, 2, 3, 4, 5, 6]]));
    assert!(matches!(whole, Pixels::Lossy(_)));
    assert_eq!(of(fragments(&[0; 4], &[&[1, 2], &[3, 4, 5, 6]])), whole);
    assert_ne!(of(fragments(&[], &[&[1, 2, 3, 4, 5, 7]])), whole);
    assert_eq!(pixels(MPEG2, &grey(b"1 "), fragments(&[], &[&[1, 2, 3, 4, 5, 6]])), whole, "it need not be decodable");
    assert!(matches!(native_pixels(&grey(b"1 "), &[1, 2]), Pixels::Lossless(_)));
    // Where the table is left out the bitstream would count for it, and any two would be equal.
    let alone = |fragment: &[u8]| {
        let element = Node::Fragments { fragments: vec![fragment.to_vec()] };
        pixels(JPEG_BASELINE, &grey(b"1 "), element)
    };
    assert_eq!([alone(&[1, 2]), alone(&[3, 4])], [Pixels::Unknown; 2]);
    // So would what is in its place, where more follows.
    let several = |first: u8| {
        let element = Node::Fragments { fragments: vec![vec![0xFF, 0xD8, 0xFF, first], vec![5, 6]] };
        pixels(JPEG_BASELINE, &grey(b"1 "), element)
    };
    assert_eq!([several(1), several(2)], [Pixels::Unknown; 2]);
}

/// IDY-006: where one frame is promised, or nothing is, a second is not left out of the digest.
#[test]
fn more_frames_than_are_promised_are_unknown() {
    let [one, two] = [rle(&[[1, 2]]), rle(&[[3, 4]])];
    for frames in [&b"1 "[..], b"0 ", b""] {
        assert!(matches!(pixels(RLE, &grey(frames), fragments(&[], &[&one])), Pixels::Lossless(_)));
        assert_eq!(pixels(RLE, &grey(frames), fragments(&[], &[&one, &two])), Pixels::Unknown);
        let cells = fragments(&[], &[&[1, 2], &[3, 4]]);
        assert_eq!(pixels(UNCOMPRESSED, &grey(frames), cells), Pixels::Unknown);
        assert_eq!(pixels(UNCOMPRESSED, &grey(frames), fragments(&[], &[&[1, 2, 3, 4]])), Pixels::Unknown);
    }
    let cells = fragments(&[], &[&[1, 2], &[3, 4]]);
    assert_eq!(pixels(UNCOMPRESSED, &grey(b"2 "), cells), native_pixels(&grey(b"2 "), &[1, 2, 3, 4]));
}

/// SEC-021: fragments of some bytes do not promise frames that take hours to decode.
#[test]
fn frames_of_too_many_bytes_together_are_unknown() {
    // 65,535 by 3 cells, of which each fragment could be a frame of equal ones.
    let mut large = grey(b"50000 ");
    large.retain(|node| !matches!(node, Node::Value { tag: Tag(0x0028_0010 | 0x0028_0011), .. }));
    large.splice(3..3, [value(0x0028_0010, Vr::US, &[0xFF, 0xFF]), value(0x0028_0011, Vr::US, &[3, 0])]);
    let bytes = encode(&[&large[..], &[fragments(&[], &[&rle(&[[1, 2]])])]].concat(), EXPLICIT);
    let mut digester = Digester::new(&TransferSyntaxUid::parse(RLE).unwrap(), Profile::default()).unwrap();
    let (fragments, end) = bytes.split_at(bytes.len() - 8);
    digester.push(fragments).unwrap();
    assert!(digester.pixels.is_unread(), "at once");
    digester.push(end).unwrap();
    assert_eq!(digester.finish().unwrap().0.pixels, Pixels::Unknown);
}

/// IDY-006: what cannot be decoded has no digest.
#[test]
fn pixels_that_cannot_be_read_are_unknown() {
    let frame = rle(&[[1, 2]]);
    let rows: &[(&str, Pixels)] = &[
        ("no codec", pixels(HTJ2K_LOSSLESS, &grey(b"1 "), fragments(&[], &[&[1, 2]]))),
        ("a private syntax", pixels("1.3.6.1.4.1.99999.1", &grey(b"1 "), fragments(&[], &[&[1, 2]]))),
        ("a broken frame", pixels(RLE, &grey(b"1 "), fragments(&[], &[&frame[..60]]))),
        ("too few frames", pixels(RLE, &grey(b"3 "), fragments(&[], &[&frame, &frame]))),
        ("fragments in a native syntax", pixels(EXPLICIT_VR_LE, &grey(b"1 "), fragments(&[], &[&frame]))),
        ("native in an encapsulated one", pixels(RLE, &grey(b"1 "), value(0x7FE0_0010, Vr::OB, &[1, 2]))),
        ("planes that do not fit", native_pixels(&described(b"1 ", 3, (8, 8), 0, Some(1)), &[1, 2, 3, 4])),
    ];
    for (what, pixels) in rows {
        assert_eq!(*pixels, Pixels::Unknown, "{what}");
    }
    let two = [value(0x7FE0_0008, Vr::OF, &[0; 8]), value(0x7FE0_0010, Vr::OB, &[1, 2])];
    assert_eq!(explicit(&[&grey(b"1 ")[..], &two].concat()).pixels, Pixels::Unknown);
    assert!(matches!(explicit(&[&grey(b"1 ")[..], &two[..1]].concat()).pixels, Pixels::Lossless(_)));
    assert_eq!(explicit(&grey(b"1 ")).pixels, Pixels::Absent);
}
