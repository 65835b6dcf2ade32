//! Where the pixels of a stored data set are, so that one frame can be read without the others (PS3.5 sections 8 and A.4).
//!
//! The head of the data set passes through [`Surveyor`] until Pixel Data begins. Native cells lie side by side from there on; of
//! fragments [`index`] finds which begin a frame.

pub mod index;
#[cfg(test)]
mod tests;

use super::contents::{Contents, Part, StructureError};
use super::pixels::{Image, MAX_FRAME_BYTES, Photometric};
use super::tag::{PIXEL_DATA, Tag};
use super::transfer_syntax::{Encoding, GE_PRIVATE_IMPLICIT_VR, encoding};
use super::uid::TransferSyntaxUid;
use super::vr::Vr;

const FLOAT_PIXEL_DATA: Tag = Tag::new(0x7FE0, 0x0008);
const DOUBLE_FLOAT_PIXEL_DATA: Tag = Tag::new(0x7FE0, 0x0009);
const EXTENDED_OFFSET_TABLE: Tag = Tag::new(0x7FE0, 0x0001);
const PHOTOMETRIC_INTERPRETATION: Tag = Tag::new(0x0028, 0x0004);
const NUMBER_OF_FRAMES: Tag = Tag::new(0x0028, 0x0008);
const PLANAR_CONFIGURATION: Tag = Tag::new(0x0028, 0x0006);

/// The longest value of an attribute that is looked at.
const LONGEST: u32 = 64;
/// The longest offset table that is believed: a million frames.
const LONGEST_TABLE: u32 = 8 << 20;

/// Where the pixels begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pixels {
    /// Native cells, from this byte of the data set on, so many bytes; and the bytes of one word that are to be turned round to
    /// become little endian, 1 for none.
    Native {
        /// The first byte.
        at: u64,
        /// Bytes.
        length: u64,
        /// Bytes of a word.
        word: usize,
    },
    /// Fragments: where the item of the first of them, the Basic Offset Table, begins; and the Extended Offset Table, if any.
    Fragments {
        /// The first byte.
        at: u64,
        /// The table's bytes.
        table: Vec<u8>,
    },
}

/// An image, and where its pixels are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What the attributes say.
    pub image: Image,
    /// Whether native samples lie plane by plane (Planar Configuration 1).
    pub planar: bool,
    /// Whether the cells are floating point numbers.
    pub float: bool,
    /// Where they are.
    pub pixels: Pixels,
}

/// A frame's place among native cells, in bits from the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cells {
    /// The first bit.
    pub at: u64,
    /// Bits.
    pub length: u64,
}

impl Layout {
    /// Where a native frame is, from 1; none if the attributes promise no such frame, or one that is not all there. One that begins or ends
    /// within a byte must be shifted, and is no longer than [`MAX_FRAME_BYTES`]; any other is read piece by piece, however long.
    pub fn cells(&self, frame: u32) -> Option<Cells> {
        let Pixels::Native { length, .. } = self.pixels else { return None };
        let pixels = self.image.pixels() as u64;
        let samples = match (self.image.photometric, self.image.samples) {
            // Two pixels share their chroma, also where nothing is compressed (PS3.3 section C.7.6.3.1.2).
            (Photometric::YbrFull422, 3) => pixels * 2,
            (_, samples) => pixels * u64::from(samples),
        };
        let bits = samples.checked_mul(self.image.bits_allocated.into())?;
        let at = bits.checked_mul(u64::from(frame.checked_sub(1)?))?;
        let all_there = at.checked_add(bits)? <= length.checked_mul(8)?;
        let readable = (at | bits).is_multiple_of(8) || bits / 8 <= MAX_FRAME_BYTES as u64;
        (frame <= self.image.frames && bits > 0 && readable && all_there).then_some(Cells { at, length: bits })
    }
}

/// Reads the head of a data set as it is stored, whatever its syntax; a deflated one as it was inflated.
#[derive(Debug)]
pub struct Surveyor {
    contents: Contents,
    big: bool,
    ge: bool,
    image: Image,
    planar: bool,
    float: bool,
    table: Vec<u8>,
    depth: u32,
    hand: Option<(Tag, Vec<u8>)>,
}

impl Surveyor {
    /// For a data set in this syntax.
    pub fn new(syntax: &TransferSyntaxUid) -> Self {
        Self {
            contents: Contents::stored(syntax).passing_sequences(),
            big: encoding(syntax) == Encoding::ExplicitBig,
            ge: syntax.as_str() == GE_PRIVATE_IMPLICIT_VR,
            image: Image::unknown(),
            planar: false,
            float: false,
            table: Vec::new(),
            depth: 0,
            hand: None,
        }
    }

    /// Takes the next bytes; gives the layout once Pixel Data begins.
    pub fn push(&mut self, mut input: &[u8]) -> Result<Option<Layout>, StructureError> {
        while let Some(part) = self.contents.next(&mut input)? {
            match part {
                Part::Leaf(tag, vr, length) if self.depth == 0 => {
                    if let PIXEL_DATA | FLOAT_PIXEL_DATA | DOUBLE_FLOAT_PIXEL_DATA = tag {
                        let word = self.word(tag, vr);
                        self.float = tag != PIXEL_DATA;
                        let at = self.contents.position();
                        return Ok(Some(self.found(Pixels::Native { at, length: length.into(), word })));
                    }
                    let table = tag == EXTENDED_OFFSET_TABLE;
                    let read = Image::reads(tag) || tag == PLANAR_CONFIGURATION || table;
                    let fits = length <= if table { LONGEST_TABLE } else { LONGEST };
                    self.hand = (read && fits).then(|| (tag, Vec::new()));
                }
                Part::Bytes(slice) => {
                    if let Some((_, value)) = &mut self.hand {
                        value.extend_from_slice(slice);
                    }
                }
                Part::End => self.end(),
                Part::Fragments(PIXEL_DATA, _) if self.depth == 0 => {
                    let (at, table) = (self.contents.position(), std::mem::take(&mut self.table));
                    return Ok(Some(self.found(Pixels::Fragments { at, table })));
                }
                Part::Fragments(..) | Part::Sequence(_) => self.depth += 1,
                Part::SequenceEnd => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(None)
    }

    fn end(&mut self) {
        let Some((tag, mut value)) = self.hand.take() else { return };
        let text = matches!(tag, PHOTOMETRIC_INTERPRETATION | NUMBER_OF_FRAMES | EXTENDED_OFFSET_TABLE);
        if self.big && !text {
            value.reverse();
        }
        match tag {
            EXTENDED_OFFSET_TABLE => self.table = value,
            PLANAR_CONFIGURATION => self.planar = value == [1, 0],
            _ => self.image.read(tag, &value),
        }
    }

    fn found(&self, pixels: Pixels) -> Layout {
        let mut image = self.image;
        if let Pixels::Native { length, .. } = pixels
            && (image.photometric, image.samples) == (Photometric::YbrFull422, 3)
            && image.native_bytes().is_ok_and(|all| length >= all)
        {
            // Each pixel has chroma of its own, whatever the attribute says: decompressed, and called as before.
            image.photometric = Photometric::YbrFull;
        }
        Layout { image, planar: self.planar, float: self.float, pixels }
    }

    /// As the transcoder has it: bytes are turned round by the words of the representation (PS3.5 section 7.3).
    fn word(&self, tag: Tag, vr: Vr) -> usize {
        match () {
            () if self.ge && tag == PIXEL_DATA => 1 + usize::from(self.image.bits_allocated > 8),
            () if self.big => vr.word(),
            () => 1,
        }
    }
}
