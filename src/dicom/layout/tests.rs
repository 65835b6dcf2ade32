//! Layouts of small images, native and in fragments, with and without tables.
#![allow(clippy::unwrap_used)]

use super::index::{Index, IndexError, Indexer, Next, Unwrapper};
use super::*;
use crate::dicom::contents::tests::{item, long, short};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
const RLE: &str = "1.2.840.10008.1.2.5";
const UNCOMPRESSED: &str = "1.2.840.10008.1.2.1.98";
const JPEG_XL: &str = "1.2.840.10008.1.2.4.110";

fn image(frames: &str, bits: u8) -> Vec<u8> {
    let nested = item(&short(0x0028_0010, b"US", &[9, 0]));
    [
        long(0x0008_1140, b"SQ", nested.len() as u32, &nested),
        short(0x0028_0002, b"US", &[1, 0]),
        short(0x0028_0004, b"CS", b"MONOCHROME2 "),
        short(0x0028_0008, b"IS", frames.as_bytes()),
        short(0x0028_0010, b"US", &[2, 0]),
        short(0x0028_0011, b"US", &[3, 0]),
        short(0x0028_0100, b"US", &[bits, 0]),
    ]
    .concat()
}

fn survey(syntax: &str, set: &[u8], step: usize) -> Option<Layout> {
    let mut surveyor = Surveyor::new(&TransferSyntaxUid::parse(syntax).unwrap());
    set.chunks(step).find_map(|piece| surveyor.push(piece).unwrap())
}

#[test]
fn native_frames_lie_side_by_side() {
    let head = image("3 ", 16);
    let set = [head.clone(), long(0x7FE0_0010, b"OW", 36, &[0; 36])].concat();
    for step in [1, 7, set.len()] {
        let layout = survey(EXPLICIT, &set, step).unwrap();
        let at = head.len() as u64 + 12;
        assert_eq!(layout.pixels, Pixels::Native { at, length: 36, word: 1 }, "{step}");
        assert_eq!((layout.image.rows, layout.image.columns, layout.image.frames), (2, 3, 3));
        assert_eq!(layout.cells(2), Some(Cells { at: 96, length: 96 }));
        assert_eq!([layout.cells(0), layout.cells(4)], [None, None]);
    }
    assert_eq!(survey(EXPLICIT, &head, 9), None, "no pixels");
}

/// FLT-087: what is wrong inside a sequence that has a length is not the image's.
#[test]
fn a_broken_sequence_of_a_length_does_not_hide_the_frames() {
    let mut item = item(&[0; 8]);
    item[4] = 64;
    for inside in [item, short(0x0028_0010, b"US", &[9, 0])] {
        let broken = long(0x0008_1140, b"SQ", inside.len() as u32, &inside);
        let set = [broken, image("3 ", 16), long(0x7FE0_0010, b"OW", 36, &[0; 36])].concat();
        for step in [1, 7, set.len()] {
            let layout = survey(EXPLICIT, &set, step).unwrap();
            assert_eq!((layout.image.rows, layout.cells(2)), (2, Some(Cells { at: 96, length: 96 })), "{step}");
        }
    }
}

#[test]
fn what_is_promised_and_not_there_is_no_frame() {
    let set = [image("3 ", 16), long(0x7FE0_0010, b"OW", 30, &[0; 30])].concat();
    let layout = survey(EXPLICIT, &set, 50).unwrap();
    assert!(layout.cells(2).is_some() && layout.cells(3).is_none());
    let bits = [image("3 ", 1), long(0x7FE0_0010, b"OB", 4, &[0; 4])].concat();
    assert_eq!(survey(EXPLICIT, &bits, 50).unwrap().cells(2), Some(Cells { at: 6, length: 6 }), "packed bits");
}

/// Hops over the fragments of a data set that begins with them.
fn hop(frames: u32, uid: &str, extended: Vec<u8>, bytes: &[u8]) -> Result<Index, IndexError> {
    let image = Image { frames, rows: 1, columns: 3, bits_allocated: 8, ..Image::unknown() };
    let mut indexer = Indexer::new(&image, &TransferSyntaxUid::parse(uid).unwrap(), 0, extended);
    let mut range = indexer.wants();
    for _ in 0..100 {
        let at = |n: u64| usize::try_from(n).unwrap().min(bytes.len());
        match indexer.shown(&bytes[at(range.start)..at(range.end)])? {
            Next::Show(next) => range = next,
            Next::Done(index) => return Ok(index),
        }
    }
    Err(IndexError::Malformed)
}

const END: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];

#[test]
fn frames_are_found_by_a_table_by_their_starts_or_one_each() {
    let (first, more, second) = (item(&[0xFF, 0xD8, 0xFF, 1]), item(&[5, 6]), item(&[0xFF, 0xD8, 0xFF, 2]));
    let fragments = |table: &[u8]| [item(table), first.clone(), more.clone(), second.clone(), END.to_vec()].concat();
    let table = [0u32.to_le_bytes(), 22u32.to_le_bytes()].concat();
    let extended = [0u64.to_le_bytes(), 22u64.to_le_bytes()].concat();
    assert_eq!(hop(2, JPEG, Vec::new(), &fragments(&[])).unwrap().starts, [8, 30]);
    assert_eq!(hop(2, JPEG, Vec::new(), &fragments(&table)).unwrap().starts, [16, 38]);
    assert_eq!(hop(2, JPEG, extended, &fragments(&[])).unwrap().starts, [8, 30]);
    assert_eq!(hop(3, RLE, Vec::new(), &fragments(&[])).unwrap().starts, [8, 20, 30]);
    assert_eq!(hop(1, JPEG, Vec::new(), &fragments(&[])).unwrap().starts, [8]);
    assert_eq!(hop(3, JPEG, Vec::new(), &fragments(&[])), Err(IndexError::Count { found: 2, promised: 3 }));
    assert_eq!(hop(4, JPEG, Vec::new(), &fragments(&[])), Err(IndexError::Count { found: 2, promised: 4 }));
    // A table that cannot be true is not believed.
    let wrong = [0u32.to_le_bytes(), 0u32.to_le_bytes()].concat();
    assert_eq!(hop(2, JPEG, Vec::new(), &fragments(&wrong)).unwrap().starts, [16, 38]);
    assert_eq!(hop(2, JPEG, Vec::new(), b"no fragments"), Err(IndexError::Malformed));
    assert_eq!(hop(2, JPEG, Vec::new(), &[item(&[]), vec![1; 30]].concat()), Err(IndexError::Malformed));
    let index = hop(2, JPEG, Vec::new(), &fragments(&[])).unwrap();
    assert_eq!((index.range(1, 99), index.range(2, 99)), (Some(8..30), Some(30..99)));
    assert_eq!([index.range(0, 99), index.range(3, 99)], [None, None]);
}

/// Where the table is left out, the first fragment is no table but begins the first frame.
#[test]
fn the_first_frame_is_found_without_a_table() {
    let (first, more, second) = (item(&[0xFF, 0xD8, 0xFF, 1]), item(&[5, 6]), item(&[0xFF, 0xD8, 0xFF, 2]));
    let one = [first.clone(), END.to_vec()].concat();
    let two = [first.clone(), more.clone(), second, END.to_vec()].concat();
    let extended = [0u64.to_le_bytes(), 22u64.to_le_bytes()].concat();
    assert_eq!(hop(1, JPEG, Vec::new(), &one).unwrap().starts, [0]);
    assert_eq!(hop(2, JPEG, Vec::new(), &one), Err(IndexError::Count { found: 1, promised: 2 }));
    assert_eq!(hop(2, JPEG, Vec::new(), &two).unwrap().starts, [0, 22]);
    assert_eq!(hop(2, JPEG, extended.clone(), &two).unwrap().starts, [0, 22]);
    // Where an extended one stands, it counts all the same, also for what begins otherwise.
    let halves = [first, more.clone(), more, END.to_vec()].concat();
    assert_eq!(hop(2, JPEG, extended, &halves).unwrap().starts, [0, 22]);
    assert_eq!(hop(2, JPEG, Vec::new(), &halves), Err(IndexError::Count { found: 1, promised: 2 }));
    let segment = item(&[1, 0, 0, 0, 64, 0, 0, 0, 9]);
    let segments = [segment.clone(), segment, END.to_vec()].concat();
    assert_eq!(hop(2, RLE, Vec::new(), &segments).unwrap().starts, [0, 17]);
}

/// Offsets that leave out the headers of the items, all or the last; codestreams without a known beginning; and cells that are not
/// compressed, of which a frame has three and a byte of padding.
#[test]
fn frames_are_found_beside_a_table_that_is_not_true() {
    let frames = |frame: &[u8], table: &[u32]| {
        let table: Vec<u8> = table.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        [item(&table), item(frame), item(frame), item(frame), END.to_vec()].concat()
    };
    for (uid, frame) in
        [(JPEG, [0xFF, 0xD8, 0xFF, 1]), (RLE, [0; 4]), (UNCOMPRESSED, [0; 4]), (JPEG_XL, [0xFF, 0x0A, 1, 2])]
    {
        for table in [&[0, 12, 24][..], &[0, 4, 8], &[0, 12, 20]] {
            assert_eq!(
                hop(3, uid, Vec::new(), &frames(&frame, table)).unwrap().starts,
                [20, 32, 44],
                "{uid} {table:?}"
            );
        }
        assert_eq!(hop(3, uid, Vec::new(), &frames(&frame, &[])).unwrap().starts, [8, 20, 32], "{uid}");
        let beyond = frames(&frame, &[0, 12, u32::MAX - 1]);
        assert_eq!(hop(3, uid, Vec::new(), &beyond).unwrap().starts, [20, 32, 44], "{uid}");
    }
    let halves = [item(&[]), item(&[1; 2]), item(&[2; 2]), item(&[3; 4]), END.to_vec()].concat();
    assert_eq!(hop(2, UNCOMPRESSED, Vec::new(), &halves).unwrap().starts, [8, 28]);
}

/// A frame of RLE in two fragments; and fragments that end by the delimiter of an item, by zeros in the place of any, or by nothing.
#[test]
fn frames_are_found_however_they_are_cut_and_end() {
    let (r, c) = (item(&[1, 0, 0, 0, 64, 0, 0, 0, 9]), item(&[3, 3]));
    let fragments = [item(&[]), r.clone(), c.clone(), r.clone(), c.clone()].concat();
    let ends: [&[u8]; 5] = [&END, &[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0], &[0; 300], &[0; 3], &[]];
    for end in ends {
        let bytes = [&fragments[..], end].concat();
        assert_eq!(hop(2, RLE, Vec::new(), &bytes).unwrap().starts, [8, 35], "{end:?}");
        for step in [1, 3, bytes.len()] {
            let (mut unwrapper, mut out) = (Unwrapper::default(), Vec::new());
            bytes[35..].chunks(step).for_each(|piece| unwrapper.push(piece, &mut out).unwrap());
            unwrapper.finish().unwrap();
            assert_eq!(out, [1, 0, 0, 0, 64, 0, 0, 0, 9, 3, 3], "{end:?}");
        }
    }
}

#[test]
fn contents_are_taken_out_of_fragments() {
    let bytes = [item(&[1, 2, 3, 4]), item(&[]), item(&[5, 6]), END.to_vec(), vec![7; 9]].concat();
    for step in [1, 3, bytes.len()] {
        let (mut unwrapper, mut out) = (Unwrapper::default(), Vec::new());
        bytes.chunks(step).for_each(|piece| unwrapper.push(piece, &mut out).unwrap());
        unwrapper.finish().unwrap();
        assert_eq!(out, [1, 2, 3, 4, 5, 6]);
    }
    let mut cut = Unwrapper::default();
    cut.push(&bytes[..10], &mut Vec::new()).unwrap();
    assert_eq!(cut.finish(), Err(IndexError::Malformed));
    assert_eq!(Unwrapper::default().push(&[9; 8], &mut Vec::new()), Err(IndexError::Malformed));
}

#[test]
fn fragments_and_their_table_are_found() {
    let head = image("2 ", 8);
    let table = [0u64.to_le_bytes(), 22u64.to_le_bytes()].concat();
    let set = [head, long(0x7FE0_0001, b"OV", 16, &table), long(0x7FE0_0010, b"OB", u32::MAX, &item(&[]))].concat();
    let layout = survey(JPEG, &set, 11).unwrap();
    assert_eq!(layout.pixels, Pixels::Fragments { at: set.len() as u64 - 8, table });
    assert_eq!(layout.cells(1), None);
}

/// PS3.3 section C.7.6.3.1.2: what was decompressed keeps its name often, and has three whole samples a pixel; the length tells.
#[test]
fn the_length_tells_whether_two_pixels_share_their_chroma() {
    let head = |frames: &str| {
        [
            short(0x0028_0002, b"US", &[3, 0]),
            short(0x0028_0004, b"CS", b"YBR_FULL_422"),
            short(0x0028_0008, b"IS", frames.as_bytes()),
            short(0x0028_0010, b"US", &[2, 0]),
            short(0x0028_0011, b"US", &[2, 0]),
            short(0x0028_0100, b"US", &[8, 0]),
        ]
        .concat()
    };
    // Of two frames; and of one that says that it has none.
    let rows = [
        ("2 ", 16, Photometric::YbrFull422, 64),
        ("2 ", 24, Photometric::YbrFull, 96),
        ("0 ", 12, Photometric::YbrFull, 96),
        ("0 ", 8, Photometric::YbrFull422, 64),
    ];
    for (frames, length, photometric, bits) in rows {
        let set = [head(frames), long(0x7FE0_0010, b"OB", length, &vec![0; length as usize])].concat();
        let layout = survey(EXPLICIT, &set, set.len()).unwrap();
        let last = layout.image.frames;
        assert_eq!(layout.image.photometric, photometric, "{frames} {length}");
        assert_eq!(
            layout.cells(last),
            Some(Cells { at: u64::from(last - 1) * bits, length: bits }),
            "{frames} {length}"
        );
    }
}

/// WEB-100: a native frame is read piece by piece, however long; one that begins or ends within a byte is shifted in memory.
#[test]
fn a_long_native_frame_has_a_place() {
    let of = |rows: u16, columns: u16, bits_allocated: u16, length: u64| {
        let image = Image { rows, columns, bits_allocated, frames: 2, ..Image::unknown() };
        Layout { image, planar: false, float: false, pixels: Pixels::Native { at: 0, length, word: 1 } }
    };
    let bits = 8 * 20_000 * 20_000;
    assert_eq!(of(20_000, 20_000, 8, 800_000_000).cells(2), Some(Cells { at: bits, length: bits }));
    assert_eq!(of(u16::MAX, u16::MAX, 1, 1_200_000_000).cells(1), None);
}
