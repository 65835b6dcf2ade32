//! The data sets that the parts work on, the same in each process: out of the test data, or made here.

use weybridge::dicom::head::Head;
use weybridge::dicom::part10::MetaParser;
use weybridge::dicom::scanner::{Limits, Scanner};
use weybridge::dicom::tag::{PIXEL_DATA, Tag};
use weybridge::dicom::transfer_syntax::EXPLICIT_VR_LE;
use weybridge::dicom::uid::TransferSyntaxUid;
use weybridge::dicom::vr::Vr;

/// A CT slice, Explicit VR Little Endian.
const CT: &[u8] = include_bytes!("../../test-data/studies/ct/01.dcm");
/// An MR slice, Implicit VR Little Endian.
const MR: &[u8] = include_bytes!("../../test-data/studies/mr/01.dcm");

pub(crate) const CT_CLASS: &str = "1.2.840.10008.5.1.4.1.1.2";
/// Pixels of a slice of 512 x 512.
pub(crate) const SLICE_BYTES: usize = 524_288;
/// Pixels where bytes are copied, which shall not be what is counted.
pub(crate) const FEW_BYTES: usize = 1024;
/// As much as is read, or comes from the store, at once.
pub(crate) const PIECE_BYTES: usize = 128 << 10;

pub(crate) fn uid(text: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(text).unwrap()
}

/// A CT slice's data set with so many bytes of pixels.
pub(crate) fn ct(pixels: usize) -> Vec<u8> {
    let mut out = head_bytes(CT);
    long(&mut out, PIXEL_DATA, Vr::OW, pixels as u32);
    out.extend(noise(pixels));
    out
}

/// An MR slice's data set, in Implicit VR, with so many bytes of pixels.
pub(crate) fn mr(pixels: usize) -> Vec<u8> {
    let mut out = head_bytes(MR);
    tag(&mut out, PIXEL_DATA);
    out.extend((pixels as u32).to_le_bytes());
    out.extend(noise(pixels));
    out
}

/// The CT slice as an instance of so many frames: each has an item with its position, and an item in that. Sequences and items have
/// delimiters, as our own transcoder writes them, so that readers have to go into them.
pub(crate) fn enhanced(frames: usize) -> Vec<u8> {
    let mut out = head_bytes(CT);
    short(&mut out, Tag::new(0x0028, 0x0008), Vr::IS, format!("{frames:<6}").as_bytes());
    long(&mut out, Tag::new(0x5200, 0x9230), Vr::SQ, u32::MAX);
    for frame in 0..frames {
        item(&mut out, 0xE000, u32::MAX);
        long(&mut out, Tag::new(0x0020, 0x9113), Vr::SQ, u32::MAX);
        item(&mut out, 0xE000, u32::MAX);
        short(&mut out, Tag::new(0x0020, 0x0032), Vr::DS, format!("-250\\-250\\{frame:<6}").as_bytes());
        item(&mut out, 0xE00D, 0);
        item(&mut out, 0xE0DD, 0);
        item(&mut out, 0xE00D, 0);
    }
    item(&mut out, 0xE0DD, 0);
    long(&mut out, PIXEL_DATA, Vr::OW, FEW_BYTES as u32);
    out.extend(noise(FEW_BYTES));
    out
}

/// What the scanner finds in a CT slice.
pub(crate) fn ct_head() -> Head {
    let mut scanner = Scanner::new(&uid(EXPLICIT_VR_LE), Limits::default());
    scanner.push(&ct(FEW_BYTES)).unwrap();
    scanner.finish().unwrap()
}

/// Bytes without a pattern.
pub(crate) fn noise(count: usize) -> impl Iterator<Item = u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(4711), next).map(|state: u32| (state >> 24) as u8).take(count)
}

/// The data set of a file up to its pixels.
fn head_bytes(file: &[u8]) -> Vec<u8> {
    let found = MetaParser::new().push(file).unwrap().unwrap();
    let data_set = [&found.early, &file[found.used..]].concat();
    let pixels = data_set.windows(4).position(|bytes| bytes == [0xE0, 0x7F, 0x10, 0x00]).unwrap();
    data_set[..pixels].to_vec()
}

fn tag(out: &mut Vec<u8>, tag: Tag) {
    out.extend(tag.group().to_le_bytes());
    out.extend(tag.element().to_le_bytes());
}

fn short(out: &mut Vec<u8>, at: Tag, vr: Vr, value: &[u8]) {
    tag(out, at);
    out.extend(vr.0);
    out.extend((value.len() as u16).to_le_bytes());
    out.extend(value);
}

fn long(out: &mut Vec<u8>, at: Tag, vr: Vr, length: u32) {
    tag(out, at);
    out.extend(vr.0);
    out.extend([0, 0]);
    out.extend(length.to_le_bytes());
}

fn item(out: &mut Vec<u8>, element: u16, length: u32) {
    tag(out, Tag::new(0xFFFE, element));
    out.extend(length.to_le_bytes());
}
