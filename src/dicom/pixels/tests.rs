//! Decoding against values worked out by hand, and against attributes and codestreams that do not agree.

#![allow(clippy::unwrap_used, clippy::panic)]

pub(in crate::dicom) mod colours;

use super::*;

fn syntax(uid: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(uid).unwrap()
}

fn image(rows: u16, columns: u16, samples: u16, bits: u16) -> Image {
    let photometric = if samples == 3 { Photometric::Rgb } else { Photometric::Monochrome2 };
    let (bits_allocated, bits_stored) = (bits, bits);
    Image { rows, columns, samples, bits_allocated, bits_stored, photometric, ..Image::unknown() }
}

const RLE: &str = "1.2.840.10008.1.2.5";

/// An RLE frame of these segments.
fn rle(segments: &[&[u8]]) -> Vec<u8> {
    let mut header = vec![0u8; 64];
    let mut body = Vec::new();
    header[..4].copy_from_slice(&(segments.len() as u32).to_le_bytes());
    for (at, segment) in segments.iter().enumerate() {
        header[4 + at * 4..8 + at * 4].copy_from_slice(&(64 + body.len() as u32).to_le_bytes());
        body.extend_from_slice(segment);
    }
    [header, body].concat()
}

#[test]
fn rle_planes_become_cells_with_the_low_byte_first() {
    // Two pixels of 16 bits: 0x0102, 0x0304. Literal runs of two; then a repeated run and a no-op.
    let frame = decode(&syntax(RLE), &image(1, 2, 1, 16), &rle(&[&[1, 1, 3], &[1, 2, 4]])).unwrap();
    assert_eq!(frame.bytes, [2, 1, 4, 3]);
    let frame = decode(&syntax(RLE), &image(2, 2, 1, 8), &rle(&[&[128, 253, 7, 0, 0]])).unwrap();
    assert_eq!(frame.bytes, [7; 4]);
    let colours = decode(&syntax(RLE), &image(1, 1, 3, 8), &rle(&[&[0, 1], &[0, 2], &[0, 3]])).unwrap();
    assert_eq!((colours.bytes.as_slice(), colours.photometric), (&[1, 2, 3][..], Photometric::Rgb));
}

#[test]
fn what_does_not_agree_is_refused_before_anything_is_decoded() {
    let fine = rle(&[&[1, 1, 3], &[1, 2, 4]]);
    let rows = [
        (image(1, 2, 1, 8), DecodeError::Disagree("number of RLE segments")),
        (image(1, 3, 1, 16), DecodeError::Truncated),
        (image(0, 2, 1, 16), DecodeError::Image(ImageError::Empty)),
        (image(1, 2, 1, 12), DecodeError::Image(ImageError::Cells(12))),
        (image(65_535, 65_535, 1, 16), DecodeError::Image(ImageError::TooLarge(8_589_672_450))),
    ];
    for (image, want) in rows {
        assert_eq!(decode(&syntax(RLE), &image, &fine), Err(want));
    }
    assert_eq!(decode(&syntax("1.2.840.10008.1.2.4.100"), &image(1, 2, 1, 8), &fine), Err(DecodeError::Syntax));
    // A codestream of 100 by 100 under attributes of 4 by 4, in each codec.
    let jpeg = [0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0, 100, 0, 100, 1, 1, 0x11, 0];
    let jpeg_ls = [0xFF, 0xD8, 0xFF, 0xF7, 0, 11, 8, 0, 100, 0, 100, 1, 1, 0x11, 0];
    let mut jpeg_2000 = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
    for number in [100u32, 100, 0, 0, 100, 100, 0, 0] {
        jpeg_2000.extend(number.to_be_bytes());
    }
    for (uid, codestream) in [("50", &jpeg[..]), ("70", &jpeg), ("80", &jpeg_ls), ("90", &jpeg_2000)] {
        let got = decode(&syntax(&format!("1.2.840.10008.1.2.4.{uid}")), &image(4, 4, 1, 8), codestream);
        assert_eq!(got, Err(DecodeError::Disagree("rows and columns")), "{uid}");
    }
}

/// A JPEG 2000 codestream of one tile without data: its size, coding style and quantization.
fn jpeg_2000(rows: u16, columns: u16, tile: u32, coding: &[u8]) -> Vec<u8> {
    let mut codestream = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
    for number in [u32::from(columns), rows.into(), 0, 0, tile, tile, 0, 0] {
        codestream.extend(number.to_be_bytes());
    }
    codestream.extend([0, 1, 7, 1, 1, 0xFF, 0x52, 0, 2 + coding.len() as u8]);
    codestream.extend(coding);
    codestream
        .extend([0xFF, 0x5C, 0, 4, 0x40, 0x40, 0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 14, 0, 1, 0xFF, 0x93, 0xFF, 0xD9]);
    codestream
}

/// Coding styles: five levels in usual blocks of 64 by 64; 32 layers in blocks of 4 by 4; precincts of two by two.
const USUAL: &[u8] = &[0, 0, 0, 1, 0, 5, 4, 4, 0, 1];
const LAYERS: &[u8] = &[0, 0, 0, 32, 0, 0, 0, 0, 0, 1];
const PRECINCTS: &[u8] = &[1, 0, 0, 1, 0, 1, 4, 4, 0, 1, 0x11, 0x11];

/// SEC-021: headers of some hundred bytes that would have the decoder take gigabytes are refused before anything is asked for. What is usual is
/// far from that.
#[test]
fn headers_that_ask_for_too_much_memory_are_refused_at_once() {
    let j2k = syntax("1.2.840.10008.1.2.4.90");
    for (coding, what) in [(LAYERS, "layers"), (PRECINCTS, "precincts")] {
        let codestream = jpeg_2000(16_384, 16_384, 16_384, coding);
        assert!(codestream.len() < 120);
        let began = std::time::Instant::now();
        let refused = decode(&j2k, &image(16_384, 16_384, 1, 8), &codestream);
        assert!(
            matches!(refused, Err(DecodeError::TooMuch(bytes)) if bytes > MAX_DECODING_BYTES),
            "{what}: {refused:?}"
        );
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "{what}");
    }
    // The image alone: 200 million pixels, and the largest radiographs.
    let refused = decode(&j2k, &image(14_336, 14_336, 1, 8), &jpeg_2000(14_336, 14_336, 14_336, USUAL));
    assert!(matches!(refused, Err(DecodeError::TooMuch(_))), "{refused:?}");
    let radiograph = image(8_600, 7_000, 1, 16);
    let asked = jpeg2000::demand(&radiograph, &jpeg_2000(8_600, 7_000, 8_600, USUAL)).unwrap();
    assert!((900 << 20..MAX_DECODING_BYTES).contains(&asked), "{asked}");
    let tiled = jpeg2000::demand(&radiograph, &jpeg_2000(8_600, 7_000, 512, USUAL)).unwrap();
    assert!(tiled < asked / 2, "{tiled}: tile after tile");
    // A small one may be as odd as it likes.
    assert!(jpeg2000::demand(&image(64, 64, 1, 8), &jpeg_2000(64, 64, 64, LAYERS)).unwrap() < 2 << 20);
    // Other codecs.
    assert!(jpeg::demand(&image(65_535, 4_000, 1, 8)).unwrap() < MAX_DECODING_BYTES);
    assert_eq!(jpeg_ls::demand(&image(1, 60_000, 255, 8)).unwrap(), 60_000 * 255 + 8 * 60_002 * 255);
}

/// The headers are read as the library reads them: what it would pass over, or read as something else, is refused.
#[test]
fn headers_that_are_not_as_long_as_they_say_are_refused() {
    let (one, whole) = (image(64, 64, 1, 8), jpeg_2000(64, 64, 64, USUAL));
    assert!(jpeg2000::demand(&one, &whole).is_ok());
    let cod = whole.windows(2).position(|two| two == [0xFF, 0x52]).unwrap();
    let sot = whole.windows(2).position(|two| two == [0xFF, 0x90]).unwrap();
    // Another coding style in what the length of the first covers, in the header of a tile-part, and behind a wrong length of that.
    let hidden =
        [&whole[..cod], &[0xFF, 0x52, 0, 26], USUAL, &[0xFF, 0x52, 0, 12], LAYERS, &whole[cod + 14..]].concat();
    assert!(jpeg2000::demand(&one, &hidden).is_err());
    let mut in_part = [&whole[..sot + 12], &[0xFF, 0x52, 0, 12], LAYERS, &whole[sot + 12..]].concat();
    let large = image(16_384, 16_384, 1, 8);
    in_part[8..16].copy_from_slice(&[0, 0, 64, 0, 0, 0, 64, 0]);
    in_part[24..32].copy_from_slice(&[0, 0, 64, 0, 0, 0, 64, 0]);
    in_part[sot + 9] = 14 + 14;
    assert!(matches!(jpeg2000::demand(&large, &in_part), Ok(bytes) if bytes > 10 << 30), "the tile-part's own counts");
    in_part[sot + 9] = 14;
    assert!(jpeg2000::demand(&large, &in_part).is_err(), "a tile-part that ends within its header");
    for levels in [33, 255] {
        let mut deep = whole.clone();
        deep[cod + 9] = levels;
        assert!(jpeg2000::demand(&one, &deep).is_err(), "{levels}");
    }
    for end in 0..whole.len() - 4 {
        assert!(jpeg2000::demand(&one, &whole[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_panic_in_a_decoder_is_an_error_of_its_frame() {
    assert_eq!(isolated(|| -> Result<(), _> { panic!("as a library might") }), Err(DecodeError::Failed));
}

#[test]
fn colours_that_are_mixed_are_not_called_ybr_full() {
    // SOC, SIZ with nothing in it, COD with and without the transform; also inside JP2 boxes.
    let with =
        |mixed: u8| [&[0xFF, 0x4F, 0xFF, 0x51, 0, 2, 0xFF, 0x52, 0, 12, 0, 0, 0, 1, mixed][..], &[0; 5]].concat();
    let boxed = [&[0, 0, 0, 12][..], b"jP  \r\n\x87\n", &[0, 0, 0, 0], b"jp2c", &with(1)].concat();
    for (codestream, want) in
        [(with(1), true), (with(0), false), (boxed, true), (vec![], false), (vec![0xFF; 9], false)]
    {
        assert_eq!(jpeg2000::is_mixed(&codestream), want, "{codestream:?}");
    }
}

#[test]
fn signs_are_extended_over_the_cell() {
    let mut raster = Raster::new(&Image { signed: true, ..image(1, 2, 1, 16) }, 12).unwrap();
    raster.put(0, 0, 0xFFF);
    raster.put(1, 0, 0x7FF);
    assert_eq!(raster.into_bytes(), [0xFF, 0xFF, 0xFF, 0x07]);
    let mut raster = Raster::new(&image(1, 1, 1, 16), 12).unwrap();
    raster.put(0, 0, -1);
    assert_eq!(raster.into_bytes(), [0xFF, 0x0F]);
    assert!(Raster::new(&image(1, 1, 1, 8), 9).is_err());
}

#[test]
fn syntaxes_say_whether_they_lose_and_whether_they_can_be_decoded() {
    let rows = [
        ("1.2.840.10008.1.2", false, false),
        ("1.2.840.10008.1.2.1.98", false, true),
        ("1.2.840.10008.1.2.4.50", true, true),
        ("1.2.840.10008.1.2.4.51", true, true),
        ("1.2.840.10008.1.2.4.57", false, true),
        ("1.2.840.10008.1.2.4.70", false, true),
        ("1.2.840.10008.1.2.4.80", false, true),
        ("1.2.840.10008.1.2.4.81", true, true),
        ("1.2.840.10008.1.2.4.90", false, true),
        ("1.2.840.10008.1.2.4.91", true, true),
        ("1.2.840.10008.1.2.4.92", false, false),
        ("1.2.840.10008.1.2.4.102", true, false),
        ("1.2.840.10008.1.2.4.102.1", true, false),
        ("1.2.840.10008.1.2.4.110", false, false),
        ("1.2.840.10008.1.2.4.112", true, false),
        ("1.2.840.10008.1.2.4.201", false, false),
        ("1.2.840.10008.1.2.4.203", true, false),
        ("1.2.840.10008.1.2.5", false, true),
        ("1.2.3", false, false),
    ];
    for (uid, lossy, decodable) in rows {
        assert_eq!((is_lossy(&syntax(uid)), is_decodable(&syntax(uid))), (lossy, decodable), "{uid}");
    }
}

/// The frames of these fragments of 64 cells each, the first of which is the offset table.
fn frames(uid: &str, promised: u32, extended: &[u8], fragments: &[&[u8]]) -> Result<Vec<Vec<u8>>, FragmentError> {
    let mut frames = Frames::new(&Image { frames: promised, ..image(8, 8, 1, 8) }, &syntax(uid));
    frames.extended(extended);
    let mut found = Vec::new();
    for fragment in fragments {
        frames.begin(fragment.len() as u32);
        frames.push(fragment)?;
        found.extend(frames.end());
    }
    found.push(frames.finish()?);
    Ok(found)
}

/// The beginning of a frame in RLE of one segment.
const SEGMENT: &[u8] = &[1, 0, 0, 0, 64, 0, 0, 0, 9];
const JPEG: &str = "1.2.840.10008.1.2.4.70";
const UNCOMPRESSED: &str = "1.2.840.10008.1.2.1.98";

fn whole(parts: &[&[&[u8]]]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.concat()).collect()
}

#[test]
fn fragments_become_frames() {
    let (a, b, c) = (&[0xFF, 0xD8, 0xFF, 1][..], &[0xFF, 0xD8, 0xFF, 2][..], &[3u8, 3][..]);
    // One frame takes all, whatever the table says.
    assert_eq!(frames(JPEG, 1, &[], &[&[], a, c, c]), Ok(whole(&[&[a, c, c]])));
    assert_eq!(frames(RLE, 1, &[], &[&[0, 0, 0, 0], c, &[]]), Ok(whole(&[&[c]])));
    // A table: the second frame begins with the third fragment.
    let table = [0, 0, 0, 0, 22, 0, 0, 0];
    assert_eq!(frames(JPEG, 2, &[], &[&table, a, c, b]), Ok(whole(&[&[a, c], &[b]])));
    let table = [0, 0, 0, 0, 20, 0, 0, 0];
    assert_eq!(frames(JPEG, 2, &[], &[&table, c, c, c]), Ok(whole(&[&[c, c], &[c]])), "the table counts");
    let extended = [0u64.to_le_bytes(), 20u64.to_le_bytes()].concat();
    assert_eq!(frames(JPEG, 2, &extended, &[&[], c, c, c]), Ok(whole(&[&[c, c], &[c]])));
    // No table, or one that cannot be true: a frame begins where a codestream does.
    for table in [&[][..], &[0; 8], &[9, 0, 0, 0, 1, 0, 0, 0], &[0; 4]] {
        assert_eq!(frames(JPEG, 2, &[], &[table, a, c, b, c]), Ok(whole(&[&[a, c], &[b, c]])), "{table:?}");
    }
    let r = SEGMENT;
    assert_eq!(frames(RLE, 3, &[], &[&[], r, r, r]), Ok(whole(&[&[r], &[r], &[r]])));
}

/// Against PS3.5 section A.4 the first fragment is no table: what begins as a codestream does is a frame, and is not lost.
#[test]
fn the_offset_table_may_be_left_out() {
    let (a, b, c) = (&[0xFF, 0xD8, 0xFF, 1][..], &[0xFF, 0x4F, 0xFF, 0x51][..], &[3u8, 3][..]);
    assert_eq!(frames(JPEG, 1, &[], &[a]), Ok(whole(&[&[a]])));
    assert_eq!(frames(JPEG, 1, &[], &[a, c]), Ok(whole(&[&[a, c]])));
    assert_eq!(frames(JPEG, 2, &[], &[a, c, b]), Ok(whole(&[&[a, c], &[b]])));
    assert_eq!(frames(RLE, 2, &[], &[SEGMENT, SEGMENT, c]), Ok(whole(&[&[SEGMENT], &[SEGMENT, c]])));
    assert_eq!(frames(JPEG, 2, &[], &[a]), Err(FragmentError::Count { found: 1, promised: 2 }));
    assert_eq!(frames(JPEG, 1, &[], &[a, b]), Err(FragmentError::Count { found: 2, promised: 1 }));
    // Offsets are counted from the first fragment all the same.
    let extended = [0u64.to_le_bytes(), 22u64.to_le_bytes()].concat();
    assert_eq!(frames(JPEG, 2, &extended, &[a, c, c]), Ok(whole(&[&[a, c], &[c]])));
    // Cells that are not compressed, and what begins otherwise, might be a table.
    assert_eq!(frames(UNCOMPRESSED, 1, &[], &[&[2; 64]]), Err(FragmentError::Count { found: 0, promised: 1 }));
    assert_eq!(frames(JPEG, 1, &[], &[c]), Err(FragmentError::Count { found: 0, promised: 1 }));
}

/// PS3.5 section A.4.2 has each frame of RLE in one fragment; some writers cut all pixel data into pieces of one size (dcmjs).
#[test]
fn frames_of_rle_may_be_cut_up() {
    let (r, c) = (SEGMENT, &[3u8, 3][..]);
    assert_eq!(frames(RLE, 1, &[], &[&[], r, c, c]), Ok(whole(&[&[r, c, c]])));
    assert_eq!(frames(RLE, 2, &[], &[&[], r, c, r, c]), Ok(whole(&[&[r, c], &[r, c]])));
    // A header of other segments is none of this image's; but a table names what it likes.
    let other = &[2u8, 0, 0, 0, 64, 0, 0, 0, 9][..];
    assert_eq!(frames(RLE, 2, &[], &[&[], r, other]), Err(FragmentError::Count { found: 1, promised: 2 }));
    let table = [0, 0, 0, 0, 17, 0, 0, 0];
    assert_eq!(frames(RLE, 2, &[], &[&table, r, other]), Ok(whole(&[&[r], &[other]])));
    // Cut anywhere behind its beginning it is the same frame.
    let codestream = rle(&[&[1, 1, 3], &[1, 2, 4]]);
    let image = image(1, 2, 1, 16);
    let want = decode(&syntax(RLE), &image, &codestream).unwrap();
    for cut in 8..codestream.len() {
        let mut frames = Frames::new(&image, &syntax(RLE));
        for fragment in [&[][..], &codestream[..cut], &codestream[cut..]] {
            frames.begin(fragment.len() as u32);
            frames.push(fragment).unwrap();
            assert_eq!(frames.end(), None);
        }
        assert_eq!(decode(&syntax(RLE), &image, &frames.finish().unwrap()).as_ref(), Ok(&want), "{cut}");
    }
}

/// A table that could be true and is not: its offsets leave out the items' headers.
#[test]
fn codestreams_begin_frames_whatever_a_table_says() {
    let (a, b, c) = (&[0xFF, 0xD8, 0xFF, 1][..], &[0xFF, 0x4F, 0xFF, 0x51][..], &[3u8, 3][..]);
    let table = [0, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0];
    assert_eq!(frames(JPEG, 3, &[], &[&table, a, b, a]), Ok(whole(&[&[a], &[b], &[a]])));
    assert_eq!(frames(JPEG, 3, &[], &[&table, a, c, b, c, a]), Ok(whole(&[&[a, c], &[b, c], &[a]])));
}

/// What follows a codestream in its frame is not looked at: so a second one is a second frame, also where one is promised.
#[test]
fn a_second_codestream_is_a_second_frame() {
    let a = &[0xFF, 0xD8, 0xFF, 1][..];
    let two = |promised| Err(FragmentError::Count { found: 2, promised });
    for table in [&[][..], &[0; 4]] {
        assert_eq!(frames(JPEG, 1, &[], &[table, a, a]), two(1));
        assert_eq!(frames(RLE, 1, &[], &[table, SEGMENT, SEGMENT]), two(1));
    }
    let table = [0, 0, 0, 0, 24, 0, 0, 0];
    let three = frames(JPEG, 2, &[], &[&table, a, a, a]);
    assert_eq!(three, Err(FragmentError::Count { found: 3, promised: 2 }));
}

/// PS3.5 section A.4.11: cells that are not compressed have no beginning; a frame ends when it is full.
#[test]
fn frames_without_compression_end_when_they_are_full() {
    let (half, cells) = ([1; 32], [2; 64]);
    assert_eq!(frames(UNCOMPRESSED, 2, &[], &[&[], &cells, &half, &half]), Ok(whole(&[&[&cells], &[&half, &half]])));
    let two = Err(FragmentError::Count { found: 2, promised: 1 });
    assert_eq!(frames(UNCOMPRESSED, 1, &[], &[&[], &cells, &half]), two);
    let (uncompressed, grey) = (syntax(UNCOMPRESSED), image(1, 3, 1, 8));
    assert_eq!(decode(&uncompressed, &grey, &[1, 2, 3, 0]).unwrap().bytes, [1, 2, 3]);
    let longer = decode(&uncompressed, &grey, &[1, 2, 3, 0, 1, 2, 3, 0]);
    assert_eq!(longer, Err(DecodeError::Disagree("bytes of a frame")));
}

#[test]
fn the_number_of_frames_must_be_as_promised_and_none_may_be_endless() {
    let r = SEGMENT;
    assert_eq!(frames(RLE, 3, &[], &[&[], r, r]), Err(FragmentError::Count { found: 2, promised: 3 }));
    assert_eq!(frames(RLE, 2, &[], &[&[], r, r, r]), Err(FragmentError::Count { found: 3, promised: 2 }));
    assert_eq!(frames(JPEG, 1, &[], &[&[]]), Err(FragmentError::Count { found: 0, promised: 1 }));
    assert_eq!(frames(JPEG, 1, &[], &[&[], &vec![0; 2 << 20]]), Err(FragmentError::TooLong));
    // Nor may the table be, on the word of the attributes.
    assert_eq!(frames(RLE, u32::MAX, &[], &[&vec![0; 9 << 20]]), Err(FragmentError::TooLong));
}

/// SEC-021: a scan of some bytes fills a component of any size, so no component has two.
#[test]
fn no_component_is_coded_twice() {
    // Three components of 8 by 8; each scan is one component of one value.
    let frame = |marker: u8| [0xFF, 0xD8, 0xFF, marker, 0, 17, 8, 0, 8, 0, 8, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0];
    let twice = Err(DecodeError::Broken("a component in two scans"));
    let colours = image(8, 8, 3, 8);
    // JPEG-LS: runs of ones, a bit stuffed after each 0xFF.
    let scan = |id: u8| [&[0xFF, 0xDA, 0, 8, 1, id, 0, 0, 0, 0][..], &[0xFF, 0x7F].repeat(8)].concat();
    let jpeg_ls = |ids: &[u8]| [&frame(0xF7)[..], &ids.iter().flat_map(|id| scan(*id)).collect::<Vec<u8>>()].concat();
    let uid = syntax("1.2.840.10008.1.2.4.80");
    assert_eq!(decode(&uid, &colours, &jpeg_ls(&[1, 2, 3])).unwrap().bytes, [0; 192]);
    assert_eq!(decode(&uid, &colours, &jpeg_ls(&[1, 1, 2, 3])), twice);
    // Lossless JPEG: a table whose one code, 0, is no difference.
    let table = [&[0xFF, 0xC4, 0, 20, 0, 1][..], &[0; 16]].concat();
    let scan = |id: u8| [&[0xFF, 0xDA, 0, 8, 1, id, 0, 1, 0, 0][..], &[0; 8]].concat();
    let jpeg = |ids: &[u8]| {
        let scans: Vec<u8> = ids.iter().flat_map(|id| scan(*id)).collect();
        [&frame(0xC3)[..], &table, &scans].concat()
    };
    assert_eq!(decode(&syntax(JPEG), &colours, &jpeg(&[1, 2, 3])).unwrap().bytes, [128; 192]);
    assert_eq!(decode(&syntax(JPEG), &colours, &jpeg(&[1, 2, 1, 3])), twice);
}
