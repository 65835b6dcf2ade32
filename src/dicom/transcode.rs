//! The transcoder: re-encodes a native data set to Explicit VR Little Endian as it streams past (WEB-001, WEB-002).
//!
//! Nothing is decided by looking ahead, so memory is constant, and the output depends on the input alone. The rules:
//!
//! - A value representation that the source wrote is kept; else the dictionary ([`dictionary::VERSION`]) gives it, and what it does not know
//!   becomes UN, its bytes untouched: so private sequences stay as they are, in the implicit encoding that UN allows (PS3.5 section 6.2.2).
//! - A value too long for the 16-bit length of its representation becomes UN (PS3.5 section 6.2.2).
//! - Sequences and items get undefined length and delimiters, whatever they had, but for those of length zero.
//! - Group lengths are left out, since they would be wrong (PS3.5 section 7.2), and so are groups 0000 and 0002 and padding at the end,
//!   which are not the data set's.
//! - Bytes are turned round by the words of the representation (PS3.5 section 7.3).
//! - What cannot be decided without guessing at a pixel is an error, never a guess.

mod level;
#[cfg(test)]
mod tests;
mod words;

use super::dictionary::{self, Representation};
use super::scanner::Limits;
use super::tag::Tag;
use super::transfer_syntax::{EXPLICIT_VR_BE, GE_PRIVATE_IMPLICIT_VR, IMPLICIT_VR_LE, PAPYRUS_3_IMPLICIT_VR_LE};
use super::uid::TransferSyntaxUid;
use super::vr::Vr;
pub use super::walk::StructureError;
use super::walk::{Element, Event, PIXEL_DATA, Syntax, UNDEFINED, Walker};
use level::Levels;
use words::Words;

/// The longest value that an explicit header with a 16-bit length can have, being even (PS3.5 section 7.1.2).
const LONGEST_SHORT: u32 = 65_534;

/// Why a data set cannot be re-encoded. Nothing of the output may then be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TranscodeError {
    /// Its structure is broken.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// It has pixel data in fragments, which the transfer syntax does not allow.
    #[error("{tag} is in fragments, though the transfer syntax is a native one")]
    Encapsulated {
        /// The element.
        tag: Tag,
    },
    /// It has big-endian pixel cells of more than 16 bits as OW. The standard turns round each 16-bit word
    /// (PS3.5 table 6.2-1), some writers each cell; a dose must not depend on which of them this was.
    #[error("{tag} holds big-endian cells of more than 16 bits as OW, which writers order in two ways")]
    AmbiguousCells {
        /// The element.
        tag: Tag,
    },
}

impl TranscodeError {
    /// The element at which it failed.
    pub fn tag(&self) -> Option<Tag> {
        match self {
            Self::Structure(error) => error.tag(),
            Self::Encapsulated { tag } | Self::AmbiguousCells { tag } => Some(*tag),
        }
    }
}

/// What re-encoding did, for the record (WEB-002).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Elements written, those inside sequences included, those inside UN not.
    pub elements: u64,
    /// Those of them that became UN, or were.
    pub un_elements: u64,
    /// Elements left out: group lengths, and groups that are not the data set's.
    pub left_out: u64,
    /// Bytes written.
    pub bytes: u64,
}

const ITEM: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];
const ITEM_END: [u8; 4] = [0xFE, 0xFF, 0x0D, 0xE0];
const SEQUENCE_END: [u8; 4] = [0xFE, 0xFF, 0xDD, 0xE0];

/// What the value in hand becomes.
#[derive(Debug)]
enum Value {
    /// It is left out.
    Dropped,
    /// It is written, its words turned round if they must be.
    Written(Words),
}

/// A re-encoding in progress. Any cutting of the input into pushes gives the same output; an error is final.
#[derive(Debug)]
pub struct Transcoder {
    walker: Walker,
    big: bool,
    ge: bool,
    levels: Levels,
    value: Value,
    /// Open sequences and items inside UN of undefined length, whose bytes are copied; 0 outside.
    verbatim: u32,
    report: Report,
}

impl Transcoder {
    /// A re-encoding from Implicit VR Little Endian, Explicit VR Big Endian, or GE's private mixture of the two;
    /// none for any other syntax, which either may travel as it is or is not native.
    pub fn new(from: &TransferSyntaxUid) -> Option<Self> {
        let (explicit, big, ge) = match from.as_str() {
            IMPLICIT_VR_LE | PAPYRUS_3_IMPLICIT_VR_LE => (false, false, false),
            GE_PRIVATE_IMPLICIT_VR => (false, false, true),
            EXPLICIT_VR_BE => (true, true, false),
            _ => return None,
        };
        let limits = Limits::default();
        Some(Self {
            walker: Walker::new(Syntax { explicit, big }, limits.depth, limits.elements),
            big,
            ge,
            levels: Levels::new(),
            value: Value::Dropped,
            verbatim: 0,
            report: Report::default(),
        })
    }

    /// Takes the next bytes of the data set and appends what they become to `out`: at most three times the
    /// length of `input`, and 2 KiB; for values, as many bytes as came.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        let before = out.len();
        while let Some(event) = self.walker.next(&mut input)? {
            if self.verbatim > 0 { self.copy(event, out) } else { self.convert(event, out)? }
        }
        self.report.bytes += (out.len() - before) as u64;
        Ok(())
    }

    /// Ends the re-encoding once all of the data set was pushed; an error if it is not whole.
    ///
    /// Nothing is left to append; `out` is taken so that this can change.
    pub fn finish(self, _out: &mut Vec<u8>) -> Result<Report, TranscodeError> {
        self.walker.finish()?;
        Ok(self.report)
    }

    fn convert(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        match event {
            Event::Element(element) => return self.element(element, out),
            Event::Value(slice) => {
                self.levels.watch(slice);
                if let Value::Written(words) = &mut self.value {
                    words.push(slice, out);
                }
            }
            Event::ValueEnd => {
                self.levels.watched(self.big);
                if let Value::Written(words) = &mut self.value {
                    words.end(out);
                }
            }
            Event::Item(length) => {
                let empty = length == Some(0);
                self.levels.open(empty);
                write_item(out, ITEM, if empty { 0 } else { UNDEFINED });
            }
            Event::ItemEnd { .. } => {
                let empty = self.levels.close();
                if !empty {
                    write_item(out, ITEM_END, 0);
                }
            }
            Event::SequenceEnd { .. } => write_item(out, SEQUENCE_END, 0),
            // Never seen: the element before them was refused.
            Event::Fragment(_) | Event::Stray => {}
        }
        Ok(())
    }

    fn element(&mut self, element: Element, out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        let tag = element.tag;
        self.levels.enter(tag, element.length);
        if tag.element() == 0 || tag.group() <= 0x0003 {
            self.report.left_out += 1;
            self.value = Value::Dropped;
            return match element.length {
                Some(_) => Ok(()),
                None => Err(malformed(tag, "a sequence where a number should be")),
            };
        }
        let vr = self.representation(element);
        self.report.elements += 1;
        match element.length {
            None => self.container(element, vr, out),
            Some(length) if vr == Vr::SQ && length > 0 => {
                write_header(out, tag, Vr::SQ, UNDEFINED);
                Ok(self.walker.descend()?)
            }
            Some(length) => {
                self.value = Value::Written(Words::of(self.word(element, vr)?));
                let fits = vr.has_long_length() || length <= LONGEST_SHORT;
                self.write_element(out, tag, if fits { vr } else { Vr::UN }, length);
                Ok(())
            }
        }
    }

    /// An element of undefined length.
    fn container(&mut self, element: Element, vr: Vr, out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        let tag = element.tag;
        if element.fragments {
            return Err(TranscodeError::Encapsulated { tag });
        }
        let written = element.vr.is_some_and(|vr| vr != Vr::UN);
        if vr == Vr::SQ || written {
            self.write_element(out, tag, vr, UNDEFINED);
            return Ok(());
        }
        if self.big && element.vr.is_none() {
            return Err(malformed(tag, "a sequence of no known encoding"));
        }
        self.verbatim = 1;
        self.write_element(out, tag, Vr::UN, UNDEFINED);
        Ok(())
    }

    /// The representation that an element gets.
    fn representation(&self, element: Element) -> Vr {
        if let Some(vr) = element.vr.filter(|vr| vr.is_letters()) {
            return vr;
        }
        match dictionary::representation(element.tag) {
            Representation::Exactly(vr) => vr,
            Representation::ShortOfPixel => self.levels.short_of_pixel(),
            // PS3.5 section A.2: 8-bit waveforms are OB; what comes from implicit encoding is otherwise OW (section A.1).
            Representation::BytesOrWords if self.levels.is_byte_waveform(element.tag) => Vr::OB,
            Representation::BytesOrWords | Representation::PixelData | Representation::LookupTable => Vr::OW,
            Representation::Unknown => Vr::UN,
        }
    }

    /// The bytes of one word of the value that are to be turned round; 1 for none.
    fn word(&self, element: Element, vr: Vr) -> Result<usize, TranscodeError> {
        let pixels = element.tag == PIXEL_DATA;
        let (cell, tag) = (self.levels.bits_allocated(), element.tag);
        match (self.ge, self.big) {
            (true, _) if pixels && element.top => match cell {
                Some(..=8) => Ok(1),
                Some(9..=16) => Ok(2),
                _ => Err(TranscodeError::AmbiguousCells { tag }),
            },
            (_, true) if pixels && vr == Vr::OW && cell.is_some_and(|bits| bits > 16) => {
                Err(TranscodeError::AmbiguousCells { tag })
            }
            (_, true) => Ok(vr.word()),
            (_, false) => Ok(1),
        }
    }

    fn write_element(&mut self, out: &mut Vec<u8>, tag: Tag, vr: Vr, length: u32) {
        self.report.un_elements += u64::from(vr == Vr::UN);
        write_header(out, tag, vr, length);
    }

    /// Copies what is inside UN.
    fn copy(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        let (bytes, deeper) = match event {
            Event::Element(element) => (self.walker.raw_header(), i32::from(element.length.is_none())),
            Event::Item(_) => (self.walker.raw_header(), 1),
            Event::Fragment(_) | Event::Stray => (self.walker.raw_header(), 0),
            Event::Value(slice) => (slice, 0),
            Event::ValueEnd => (&[][..], 0),
            Event::ItemEnd { delimited: true } | Event::SequenceEnd { delimited: true } => {
                (self.walker.raw_header(), -1)
            }
            Event::ItemEnd { .. } | Event::SequenceEnd { .. } => (&[][..], -1),
        };
        out.extend_from_slice(bytes);
        self.verbatim = self.verbatim.saturating_add_signed(deeper);
    }
}

fn malformed(tag: Tag, why: &'static str) -> TranscodeError {
    StructureError::Malformed { tag: Some(tag), why }.into()
}

/// Writes an element's header in Explicit VR Little Endian (PS3.5 section 7.1.2).
fn write_header(out: &mut Vec<u8>, tag: Tag, vr: Vr, length: u32) {
    out.extend_from_slice(&tag.group().to_le_bytes());
    out.extend_from_slice(&tag.element().to_le_bytes());
    out.extend_from_slice(&vr.0);
    if vr.has_long_length() {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&length.to_le_bytes());
    } else {
        out.extend_from_slice(&(length as u16).to_le_bytes());
    }
}

fn write_item(out: &mut Vec<u8>, tag: [u8; 4], length: u32) {
    out.extend_from_slice(&tag);
    out.extend_from_slice(&length.to_le_bytes());
}
