//! The digest of the pixels: of decoded frames where nothing was lost, of the bitstreams where something was (IDY-005, IDY-006).

use super::Hash;
use crate::dicom::pixels::{self, Ends, Frames, Image, Photometric};
use crate::dicom::tag::Tag;
use crate::dicom::transfer_syntax::{Encoding, encoding};
use crate::dicom::uid::TransferSyntaxUid;
use crate::dicom::walk::{Element, Event, PIXEL_DATA};
use sha2::{Digest as _, Sha256};

const EXTENDED_OFFSET_TABLE: Tag = Tag::new(0x7FE0, 0x0001);
const PLANAR_CONFIGURATION: Tag = Tag::new(0x0028, 0x0006);
const PHOTOMETRIC_INTERPRETATION: Tag = Tag::new(0x0028, 0x0004);

/// The longest value of an attribute that is looked at, and of an offset table: a million frames.
const LONGEST: u32 = 64;
const LONGEST_TABLE: u32 = 8 << 20;
/// Bytes of a fragment by which it is told whether it begins a codestream.
const START: usize = 12;
/// The most native bytes of all frames that are decoded: twice what a native value can have. Without a limit a few bytes a frame
/// would keep everything else from being read for hours.
const MOST_DECODED: u64 = 8 << 30;

/// What an instance shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    /// It has no pixels.
    Absent,
    /// The digest of its native cells: it was not compressed, or without loss.
    Lossless(Hash),
    /// The digest of its bitstreams: it was compressed with loss, or may have been.
    Lossy(Hash),
    /// They cannot be read; they are equal to no others.
    Unknown,
}

/// The longest value of an attribute that is worth gathering.
pub(super) fn longest(tag: Tag) -> u32 {
    if tag == EXTENDED_OFFSET_TABLE { LONGEST_TABLE } else { LONGEST }
}

enum State {
    /// No pixels yet.
    Before,
    /// Their native cells pass.
    Native(Native),
    /// Their fragments pass, and are hashed as they are; the first is the offset table, which begins so. So many of them were whole.
    Bitstream { hasher: Sha256, whole: u64, table: Vec<u8> },
    /// Their fragments pass, and their frames are decoded.
    Decoded { hasher: Sha256, frames: Option<Frames>, decoded: u64 },
    /// They are passed over.
    Unread,
    /// All were seen.
    Done(Pixels),
}

/// The pixels of one data set, and the attributes that describe them.
pub(super) struct PixelDigester {
    syntax: TransferSyntaxUid,
    image: Image,
    /// Photometric Interpretation as written, without padding.
    photometric: Vec<u8>,
    planar: bool,
    table: Vec<u8>,
    state: State,
    /// The element in hand is one of the pixels.
    taking: bool,
}

impl PixelDigester {
    pub(super) fn new(syntax: &TransferSyntaxUid) -> Self {
        Self {
            syntax: syntax.clone(),
            image: Image::unknown(),
            photometric: Vec::new(),
            planar: false,
            table: Vec::new(),
            state: State::Before,
            taking: false,
        }
    }

    /// Whether an attribute of the data set describes the pixels.
    pub(super) fn looks_at(tag: Tag) -> bool {
        Image::reads(tag) || matches!(tag, EXTENDED_OFFSET_TABLE | PLANAR_CONFIGURATION)
    }

    /// An attribute that [`Self::looks_at`].
    pub(super) fn attribute(&mut self, tag: Tag, value: Vec<u8>) {
        match tag {
            EXTENDED_OFFSET_TABLE => self.table = value,
            PLANAR_CONFIGURATION => self.planar = value == [1, 0],
            PHOTOMETRIC_INTERPRETATION => {
                self.image.read(tag, &value);
                self.photometric = value_without_padding(&value);
            }
            _ => self.image.read(tag, &value),
        }
    }

    /// Whether the element in hand is not for the canon.
    pub(super) fn takes(&self) -> bool {
        self.taking
    }

    /// Whether the pixels are passed over.
    #[cfg(test)]
    pub(super) fn is_unread(&self) -> bool {
        matches!(self.state, State::Unread)
    }

    /// An element of the data set itself begins.
    pub(super) fn element(&mut self, element: &Element) {
        self.taking = matches!(element.tag.0, 0x7FE0_0001..=0x7FE0_0003 | 0x7FE0_0008..=0x7FE0_0010);
        if matches!(element.tag.0, 0x7FE0_0008 | 0x7FE0_0009 | 0x7FE0_0010) {
            self.state = match (&self.state, element.length) {
                (State::Before, Some(length)) => self.native(element.tag, length),
                (State::Before, None) if element.tag == PIXEL_DATA => self.fragments(),
                // Two of them: nobody says which is shown.
                _ => State::Unread,
            };
        }
    }

    fn native(&self, tag: Tag, length: u32) -> State {
        if encoding(&self.syntax) == Encoding::EncapsulatedExplicitLittle {
            return State::Unread;
        }
        let hasher = self.prefix(&format!("lossless {:04X}", tag.element()), &self.photometric);
        match Native::new(
            hasher,
            &self.image,
            (tag == PIXEL_DATA) && self.image.photometric != Photometric::YbrFull422,
            length,
        ) {
            native if self.planar && self.image.samples > 1 => {
                native.in_planes(&self.image).map_or(State::Unread, State::Native)
            }
            native => State::Native(native),
        }
    }

    fn fragments(&mut self) -> State {
        if encoding(&self.syntax) != Encoding::EncapsulatedExplicitLittle {
            return State::Unread;
        }
        if pixels::is_lossy(&self.syntax) {
            return State::Bitstream { hasher: self.prefix("lossy", &self.photometric), whole: 0, table: Vec::new() };
        }
        let few = self.image.native_bytes().is_ok_and(|bytes| bytes <= MOST_DECODED);
        if !pixels::is_decodable(&self.syntax) || !few {
            return State::Unread;
        }
        let mut frames = Frames::new(&self.image, &self.syntax);
        frames.extended(&std::mem::take(&mut self.table));
        let shown = match pixels::decoded_photometric(&self.syntax, &self.image) {
            Photometric::Other => self.photometric.clone(),
            decoded => decoded.as_str().as_bytes().to_vec(),
        };
        State::Decoded { hasher: self.prefix("lossless 0010", &shown), frames: Some(frames), decoded: 0 }
    }

    /// What the cells mean, and of which kind the digest is.
    fn prefix(&self, kind: &str, photometric: &[u8]) -> Sha256 {
        let Image { rows, columns, samples, bits_allocated, bits_stored, signed, frames, .. } = self.image;
        let mut hasher = Sha256::new_with_prefix("weybridge pixels 4 ");
        hasher.update(kind);
        hasher.update([0]);
        for number in [rows, columns, samples, bits_allocated, bits_stored, u16::from(signed)] {
            hasher.update(number.to_le_bytes());
        }
        hasher.update(frames.to_le_bytes());
        hasher.update(photometric);
        hasher.update([0]);
        hasher
    }

    /// What belongs to the element in hand.
    pub(super) fn event(&mut self, event: Event<'_>) {
        let state = std::mem::replace(&mut self.state, State::Unread);
        self.state = match (state, event) {
            (State::Native(mut native), Event::Value(slice)) => {
                native.push(slice);
                State::Native(native)
            }
            (State::Native(native), Event::ValueEnd) => State::Done(native.end()),
            (State::Bitstream { mut hasher, whole, mut table }, Event::Value(slice)) => {
                if whole > 0 {
                    hasher.update(slice);
                } else {
                    table.extend_from_slice(&slice[..slice.len().min(START - table.len())]);
                }
                State::Bitstream { hasher, whole, table }
            }
            // The table is left out, and what was passed over in its place is of a frame.
            (State::Bitstream { whole: 0, table, .. }, Event::ValueEnd) if self.lacks_table(&table) => State::Unread,
            (State::Bitstream { hasher, whole, table }, Event::ValueEnd) => {
                State::Bitstream { hasher, whole: whole + 1, table }
            }
            (State::Bitstream { hasher, whole, .. }, Event::SequenceEnd { .. }) => Self::bitstream(hasher, whole),
            (State::Decoded { hasher, frames, decoded }, event) => self.decoding(hasher, frames, decoded, event),
            (state, _) => state,
        };
    }

    fn lacks_table(&self, first: &[u8]) -> bool {
        Ends::of(&self.syntax, &self.image).lacks_table(first)
    }

    /// The digest of so many fragments. Where there is one, the offset table was left out, and nothing was hashed: all such would be equal.
    fn bitstream(hasher: Sha256, whole: u64) -> State {
        if whole > 1 { State::Done(Pixels::Lossy(hasher.finalize().into())) } else { State::Unread }
    }

    fn decoding(&self, mut hasher: Sha256, mut frames: Option<Frames>, mut decoded: u64, event: Event<'_>) -> State {
        let sound = match (&mut frames, event) {
            (Some(frames), Event::Fragment(length)) => {
                frames.begin(length);
                true
            }
            (Some(frames), Event::Value(slice)) => frames.push(slice).is_ok(),
            (Some(frames), Event::ValueEnd) => match frames.end() {
                Some(codestream) => self.frame(&mut hasher, &mut decoded, &codestream),
                None => true,
            },
            (_, Event::SequenceEnd { .. }) => return self.last(hasher, frames, decoded),
            _ => true,
        };
        if sound { State::Decoded { hasher, frames, decoded } } else { State::Unread }
    }

    fn last(&self, mut hasher: Sha256, frames: Option<Frames>, mut decoded: u64) -> State {
        let last = frames.and_then(|frames| frames.finish().ok());
        match last.is_some_and(|last| self.frame(&mut hasher, &mut decoded, &last)) {
            true => State::Done(Pixels::Lossless(hasher.finalize().into())),
            false => State::Unread,
        }
    }

    /// Decodes a frame and hashes its cells; whether that was possible.
    fn frame(&self, hasher: &mut Sha256, decoded: &mut u64, codestream: &[u8]) -> bool {
        *decoded += 1;
        if *decoded > u64::from(self.image.frames) {
            return false;
        }
        let expected = pixels::decoded_photometric(&self.syntax, &self.image);
        match pixels::decode(&self.syntax, &self.image, codestream) {
            Ok(mut frame) if frame.photometric == expected => {
                if let Some(sign) = Sign::of(&self.image) {
                    sign.extend(&mut frame.bytes);
                }
                hasher.update(&frame.bytes);
                true
            }
            _ => false,
        }
    }

    /// What the pixels are, once the data set is whole.
    pub(super) fn finish(&mut self) -> Pixels {
        // The field leaves the last delimiter out.
        let state = match std::mem::replace(&mut self.state, State::Unread) {
            State::Decoded { hasher, frames, decoded } => self.last(hasher, frames, decoded),
            State::Bitstream { hasher, whole, .. } => Self::bitstream(hasher, whole),
            state => state,
        };
        match state {
            State::Before => Pixels::Absent,
            State::Done(pixels) => pixels,
            _ => Pixels::Unknown,
        }
    }
}

fn value_without_padding(value: &[u8]) -> Vec<u8> {
    let length = value.iter().rposition(|b| !matches!(b, b' ' | 0)).map_or(0, |last| last + 1);
    value[..length].to_vec()
}

/// A sign that is to be extended over its cell: the bytes of the cell, and its stored bits.
#[derive(Clone, Copy)]
struct Sign {
    cell: usize,
    stored: u32,
}

impl Sign {
    /// None where there is no sign, or nothing above it, or where the stored bits are not the lowest.
    fn of(image: &Image) -> Option<Self> {
        let (allocated, stored) = (u32::from(image.bits_allocated), u32::from(image.bits_stored));
        let lowest = image.high_bit.is_none_or(|high| u32::from(high) + 1 == stored);
        let extended = image.signed && stored > 0 && stored < allocated && matches!(allocated, 8 | 16 | 32);
        (extended && lowest).then_some(Self { cell: (allocated / 8) as usize, stored })
    }

    /// Extends it in whole cells.
    fn extend(self, cells: &mut [u8]) {
        let Self { cell, stored } = self;
        for bytes in cells.chunks_exact_mut(cell) {
            let value = bytes.iter().rev().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
            // Only a cell with nothing above its stored bits: what stands there else may be an overlay.
            if value >> stored == 0 && value >> (stored - 1) == 1 {
                bytes.copy_from_slice(&(value | u32::MAX << stored).to_le_bytes()[..cell]);
            }
        }
    }
}

/// Native cells in passing, in the form that decoders give: padding at the end left out, signs extended over the cell, the
/// samples of a pixel side by side.
struct Native {
    hasher: Sha256,
    /// Bytes that are still to come, padding left out.
    left: u64,
    /// The sign to be extended, and bytes of a cell that is not whole.
    sign: Option<Sign>,
    held: Vec<u8>,
    /// Bytes of a sample's plane and of a frame, if planes are to be woven together; and the frame as far as it has come.
    planes: Option<(usize, usize, usize)>,
    frame: Vec<u8>,
}

impl Native {
    fn new(mut hasher: Sha256, image: &Image, regular: bool, length: u32) -> Self {
        let length = u64::from(length);
        let expected = image.native_bytes().ok().filter(|_| regular);
        let left = match expected {
            Some(expected) if expected == length || expected + expected % 2 == length => expected,
            // Not what the attributes promise: it is what it is.
            _ => {
                hasher.update(b"odd");
                length
            }
        };
        Self { hasher, left, sign: Sign::of(image), held: Vec::new(), planes: None, frame: Vec::new() }
    }

    /// The same in planes, which are woven together frame by frame; none if they do not fit.
    fn in_planes(mut self, image: &Image) -> Option<Self> {
        let (frame, cell) = (image.frame_bytes().ok()?, image.cell_bytes().ok()?);
        if self.left != image.native_bytes().ok()? {
            return None;
        }
        self.planes = Some((usize::from(image.samples), frame, cell));
        Some(self)
    }

    fn push(&mut self, slice: &[u8]) {
        let take = slice.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= take as u64;
        let slice = &slice[..take];
        match self.planes {
            None => self.cells(slice),
            Some((samples, frame, cell)) => {
                let mut slice = slice;
                while !slice.is_empty() {
                    let (piece, rest) = slice.split_at(slice.len().min(frame - self.frame.len()));
                    self.frame.extend_from_slice(piece);
                    slice = rest;
                    if self.frame.len() == frame {
                        let woven = woven(&std::mem::take(&mut self.frame), samples, cell);
                        self.cells(&woven);
                    }
                }
            }
        }
    }

    fn cells(&mut self, slice: &[u8]) {
        let Some(sign) = self.sign else {
            self.hasher.update(slice);
            return;
        };
        self.held.extend_from_slice(slice);
        let whole = self.held.len() - self.held.len() % sign.cell;
        let mut cells: Vec<u8> = self.held.drain(..whole).collect();
        sign.extend(&mut cells);
        self.hasher.update(&cells);
    }

    fn end(mut self) -> Pixels {
        self.hasher.update(&self.held);
        self.hasher.update(&self.frame);
        if self.left > 0 { Pixels::Unknown } else { Pixels::Lossless(self.hasher.finalize().into()) }
    }
}

/// A frame whose samples stand side by side, of one whose samples stand in planes.
fn woven(frame: &[u8], samples: usize, cell: usize) -> Vec<u8> {
    let plane = frame.len() / samples.max(1);
    let mut out = Vec::with_capacity(frame.len());
    for at in (0..plane).step_by(cell.max(1)) {
        for sample in 0..samples {
            out.extend_from_slice(frame.get(sample * plane + at..sample * plane + at + cell).unwrap_or_default());
        }
    }
    out
}
