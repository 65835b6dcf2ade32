//! Small made-up instances of any size, and the parts of a DICOM file that the stories compare.

use sha2::{Digest, Sha256};
use std::path::Path;

pub const EXPLICIT_LE: &str = "1.2.840.10008.1.2.1";
pub const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// The names of one made-up instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Names {
    pub study: String,
    pub series: String,
    pub instance: String,
}

/// Names below 2.25 that depend on the three numbers alone.
pub fn names(story: u64, study: u64, instance: u64) -> Names {
    let root = 7_000_000_000_000_u64 + story;
    Names {
        study: format!("2.25.{root}.{study}"),
        series: format!("2.25.{root}.{study}.1"),
        instance: format!("2.25.{root}.{study}.1.{instance}"),
    }
}

/// A secondary capture in Explicit VR Little Endian that is all head: `pixels(at)` goes on from there.
///
/// Returns the data set up to the value of Pixel Data; `pixel_bytes` (even) have to follow.
pub fn head(names: &Names, pixel_bytes: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let (columns, rows) = (1024_u16, u16::try_from(pixel_bytes / 1024 / 2).unwrap_or(u16::MAX));
    text(&mut out, 0x0008, 0x0005, b"CS", "ISO_IR 192");
    text(&mut out, 0x0008, 0x0016, b"UI", SECONDARY_CAPTURE);
    text(&mut out, 0x0008, 0x0018, b"UI", &names.instance);
    text(&mut out, 0x0008, 0x0020, b"DA", "20250310");
    text(&mut out, 0x0008, 0x0060, b"CS", "OT");
    text(&mut out, 0x0010, 0x0010, b"PN", "Specimen^Test");
    text(&mut out, 0x0010, 0x0020, b"LO", "T0000001");
    text(&mut out, 0x0020, 0x000D, b"UI", &names.study);
    text(&mut out, 0x0020, 0x000E, b"UI", &names.series);
    for (element, value) in [(0x0002, 1), (0x0010, rows), (0x0011, columns), (0x0100, 16), (0x0101, 16)] {
        element_header(&mut out, 0x0028, element, b"US");
        out.extend_from_slice(&2_u16.to_le_bytes());
        out.extend_from_slice(&u16::to_le_bytes(value));
    }
    out.extend_from_slice(&[0xE0, 0x7F, 0x10, 0x00, b'O', b'W', 0, 0]);
    out.extend_from_slice(&pixel_bytes.to_le_bytes());
    out
}

/// A whole data set with `pixel_bytes` of made-up pixels; another `seed` gives other pixels.
pub fn data_set(names: &Names, pixel_bytes: u32, seed: u64) -> Vec<u8> {
    let mut out = head(names, pixel_bytes);
    let mut noise = Noise::new(seed);
    let mut left = pixel_bytes as usize;
    while left > 0 {
        let word = noise.next().to_le_bytes();
        let take = left.min(8);
        out.extend_from_slice(&word[..take]);
        left -= take;
    }
    out
}

/// A Part 10 file around a data set.
pub fn part10(sop_class: &str, instance: &str, syntax: &str, data_set: &[u8]) -> Vec<u8> {
    let mut meta = vec![2, 0, 1, 0, b'O', b'B', 0, 0, 2, 0, 0, 0, 0, 1];
    text(&mut meta, 0x0002, 0x0002, b"UI", sop_class);
    text(&mut meta, 0x0002, 0x0003, b"UI", instance);
    text(&mut meta, 0x0002, 0x0010, b"UI", syntax);
    text(&mut meta, 0x0002, 0x0012, b"UI", "2.25.7000000000000");
    let mut out = vec![0; 128];
    out.extend_from_slice(b"DICM");
    out.extend_from_slice(&[2, 0, 0, 0, b'U', b'L', 4, 0]);
    out.extend_from_slice(&u32::try_from(meta.len()).unwrap().to_le_bytes());
    out.extend_from_slice(&meta);
    out.extend_from_slice(data_set);
    out
}

/// What the meta of a Part 10 file says, and where its data set starts.
pub struct Part10 {
    pub sop_class: String,
    pub instance: String,
    pub syntax: String,
    pub data_set_at: usize,
}

/// Reads the file meta; `None` if the bytes are no Part 10 file with a group length.
pub fn read_part10(bytes: &[u8]) -> Option<Part10> {
    let meta = bytes.get(128..)?.strip_prefix(b"DICM")?.strip_prefix(&[2, 0, 0, 0, b'U', b'L', 4, 0])?;
    let length = u32::from_le_bytes(meta.get(..4)?.try_into().ok()?) as usize;
    let mut rest = meta.get(4..4 + length)?;
    let mut found =
        Part10 { sop_class: String::new(), instance: String::new(), syntax: String::new(), data_set_at: 144 + length };
    while rest.len() >= 8 {
        let element = u16::from_le_bytes([rest[2], rest[3]]);
        let long = matches!(&rest[4..6], b"OB" | b"UN");
        let (size, start) = if long {
            (u32::from_le_bytes(rest.get(8..12)?.try_into().ok()?) as usize, 12)
        } else {
            (usize::from(u16::from_le_bytes([rest[6], rest[7]])), 8)
        };
        let value = rest.get(start..start + size)?;
        let words = String::from_utf8_lossy(value).trim_end_matches(['\0', ' ']).to_owned();
        match element {
            0x0002 => found.sop_class = words,
            0x0003 => found.instance = words,
            0x0010 => found.syntax = words,
            _ => {}
        }
        rest = &rest[start + size..];
    }
    Some(found)
}

/// SHA-256 of the data set of a Part 10 file, as lower-case hex.
pub fn data_set_digest(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap();
    let meta = read_part10(&bytes).unwrap_or_else(|| panic!("{} is no Part 10 file", file.display()));
    digest(&bytes[meta.data_set_at..])
}

pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn element_header(out: &mut Vec<u8>, group: u16, element: u16, vr: &[u8; 2]) {
    out.extend_from_slice(&group.to_le_bytes());
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(vr);
}

fn text(out: &mut Vec<u8>, group: u16, element: u16, vr: &[u8; 2], value: &str) {
    let padding = if vr == b"UI" { 0 } else { b' ' };
    element_header(out, group, element, vr);
    out.extend_from_slice(&u16::try_from(value.len().next_multiple_of(2)).unwrap().to_le_bytes());
    out.extend_from_slice(value.as_bytes());
    if value.len() % 2 == 1 {
        out.push(padding);
    }
}

/// Numbers that look random and depend on the seed alone (SplitMix64).
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
