//! Which JPEG components are Y, Cb and Cr, and whether they become RGB: three samples of 128, 178 and 78.

use super::*;

const STORED: [u8; 3] = [128, 178, 78];
/// The same in red, green and blue (ITU-T T.871 section 7).
const CONVERTED: [u8; 3] = [58, 146, 217];
const BASELINE: &str = "1.2.840.10008.1.2.4.50";
const JFIF: &[u8] = &[0xFF, 0xE0, 0, 16, b'J', b'F', b'I', b'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0];

fn adobe(transform: u8) -> Vec<u8> {
    [&[0xFF, 0xEE, 0, 14][..], b"Adobe", &[0, 100, 0, 0, 0, 0, transform]].concat()
}

/// One pixel of lossless JPEG; a difference of none is coded as 0, one of 32 to 63 as 10.
pub(in crate::dicom) fn lossless(segments: &[u8]) -> Vec<u8> {
    let table = [&[0xFF, 0xC4, 0, 21, 0, 1, 1][..], &[0; 14], &[0, 6]].concat();
    let frame = [0xFF, 0xC3, 0, 17, 8, 0, 1, 0, 1, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0];
    let scan = [0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0, 3, 0, 1, 0, 0, 0b0101_1001, 0b0100_0110, 0b1000_0000, 0xFF, 0xD9];
    [&[0xFF, 0xD8], segments, &table, &frame, &scan].concat()
}

/// One block of baseline JPEG for each component: nothing but a first coefficient, coded as 0, or as 10 where it is large.
fn baseline(segments: &[u8], ids: [u8; 3]) -> Vec<u8> {
    baseline_of(segments, ids, 0x11, [0x2C, 0x82, 0x37, 0xBF])
}

/// The same with these sampling factors of the first component, and these bits.
fn baseline_of(segments: &[u8], ids: [u8; 3], factors: u8, [w, x, y, z]: [u8; 4]) -> Vec<u8> {
    let [a, b, c] = ids;
    let quantization = [&[0xFF, 0xDB, 0, 67, 0][..], &[1; 64]].concat();
    let first = [&[0xFF, 0xC4, 0, 21, 0x00, 1, 1][..], &[0; 14], &[0, 9]].concat();
    let rest = [&[0xFF, 0xC4, 0, 20, 0x10, 1][..], &[0; 16]].concat();
    let frame = [0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8, 3, a, factors, 0, b, 0x11, 0, c, 0x11, 0];
    let scan = [0xFF, 0xDA, 0, 12, 3, a, 0, b, 0, c, 0, 0, 63, 0, w, x, y, z, 0xFF, 0xD9];
    [&[0xFF, 0xD8], segments, &quantization, &first, &rest, &frame, &scan].concat()
}

/// DIM-007; PS3.5 section 8.2.1: what was compressed without loss comes out as it went in.
#[test]
fn lossless_samples_are_not_converted() {
    let of = |uid: &str, photometric, segments: &[u8]| {
        let image = Image { photometric, ..image(1, 1, 3, 8) };
        decode(&syntax(uid), &image, &lossless(segments)).map(|frame| (frame.bytes, frame.photometric))
    };
    use Photometric::{Rgb, YbrFull, YbrFull422};
    for uid in ["1.2.840.10008.1.2.4.57", JPEG] {
        for segments in [&[][..], JFIF, &adobe(1)] {
            assert_eq!(of(uid, YbrFull, segments), Ok((STORED.into(), YbrFull)));
            assert_eq!(of(uid, YbrFull422, segments), Ok((STORED.into(), YbrFull)));
        }
        assert_eq!(of(uid, YbrFull, &adobe(0)), Err(DecodeError::Disagree("Photometric Interpretation")));
        for segments in [&[][..], JFIF, &adobe(0)] {
            assert_eq!(of(uid, Rgb, segments), Ok((STORED.into(), Rgb)));
        }
    }
}

/// Name, Photometric Interpretation, segments, what the components are called, and a pixel.
type Row<'a> = (&'a str, Photometric, &'a [u8], [u8; 3], [u8; 3]);

/// ITU-T T.871: with JFIF's segment three components are Y, Cb and Cr, and some writers call them RGB.
#[test]
fn what_the_codestream_says_of_its_colours_counts() {
    let rows: &[Row<'_>] = &[
        ("RGB", Photometric::Rgb, &[], [1, 2, 3], STORED),
        ("RGB in JFIF", Photometric::Rgb, JFIF, [1, 2, 3], CONVERTED),
        ("RGB in JFIF, so called", Photometric::Rgb, JFIF, *b"RGB", STORED),
        ("RGB by Adobe in JFIF", Photometric::Rgb, &[JFIF, &adobe(0)].concat(), [1, 2, 3], STORED),
        ("YBR by Adobe", Photometric::Rgb, &adobe(1), [1, 2, 3], CONVERTED),
        ("YBR", Photometric::YbrFull422, &[], [1, 2, 3], CONVERTED),
        ("YBR in JFIF", Photometric::YbrFull422, JFIF, [1, 2, 3], CONVERTED),
        ("RGB by Adobe, called YBR", Photometric::YbrFull422, &adobe(0), [1, 2, 3], STORED),
    ];
    for (name, photometric, segments, ids, want) in rows {
        let image = Image { photometric: *photometric, ..image(8, 8, 3, 8) };
        let frame = decode(&syntax(BASELINE), &image, &baseline(segments, *ids)).unwrap();
        assert_eq!((frame.bytes, frame.photometric), (want.repeat(64), Photometric::Rgb), "{name}");
    }
}

/// PS3.5 section 8.2.1: components that are smaller than the first are chroma, also where the attribute says RGB and no segment says anything.
#[test]
fn smaller_components_are_chroma_whatever_the_attribute_says() {
    let image = Image { photometric: Photometric::Rgb, ..image(8, 8, 3, 8) };
    let (nothing, by_adobe) = (Vec::new(), adobe(0));
    let rows = [
        ("nothing else", &nothing, [1, 2, 3], CONVERTED),
        ("called RGB", &nothing, *b"RGB", STORED),
        ("RGB by Adobe", &by_adobe, [1, 2, 3], STORED),
    ];
    for (name, segments, ids, want) in rows {
        // Two blocks of the first component, and one of each other.
        let codestream = baseline_of(segments, ids, 0x21, [0x0B, 0x20, 0x8D, 0xEF]);
        let frame = decode(&syntax(BASELINE), &image, &codestream).unwrap();
        assert_eq!((frame.bytes, frame.photometric), (want.repeat(64), Photometric::Rgb), "{name}");
    }
}
