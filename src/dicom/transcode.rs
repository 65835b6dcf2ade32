//! The transcoder: re-encodes a data set to Explicit or Implicit VR Little Endian as it streams past, its pixels decoded
//! if they are compressed (DIM-005, DIM-007, WEB-001, WEB-002).
//!
//! Nothing is decided by looking ahead, so memory is constant but for one frame, and the output depends on the input
//! alone. The rules:
//!
//! - A value representation that the source wrote is kept; else the dictionary ([`dictionary::VERSION`]) gives it, and
//!   what it does not know becomes UN, its bytes untouched: so private sequences stay as they are, in the implicit
//!   encoding that UN allows (PS3.5 section 6.2.2). Implicit VR has no representations, and needs none.
//! - A value too long for the 16-bit length of its representation becomes UN (PS3.5 section 6.2.2).
//! - Sequences and items get undefined length and delimiters, whatever they had, but for those of length zero, and those of a length
//!   that are nested deeper than [`Limits`] says: their bytes are untouched, as UN where they are implicit.
//! - Group lengths are left out, since they would be wrong (PS3.5 section 7.2), and so are groups 0000 and 0002 and
//!   padding at the end, which are not the data set's.
//! - Bytes are turned round by the words of the representation (PS3.5 section 7.3).
//! - What has no length and is OB or OW, and is not Pixel Data, becomes SQ if it is a sequence (PS3.5 section 7.1.2); if it is in fragments,
//!   these pass untouched, into Implicit VR only where they can be read as items.
//! - A value of odd length stays so, which breaks the rule (PS3.5 section 7.1.1), unless it is asked to be padded.
//! - Native pixels under an encapsulated syntax pass, where their length and description leave no doubt.
//! - What cannot be decided without guessing is UN, or an error for pixels; never a guess.

mod decoding;
mod error;
mod headers;
mod level;
mod nested;
mod opaque;
#[cfg(test)]
mod tests;
mod words;

use super::dictionary::{self, Representation};
use super::inflate::Inflater;
use super::scanner::Limits;
use super::tag::Tag;
use super::transfer_syntax::{
    DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, GE_PRIVATE_IMPLICIT_VR, IMPLICIT_VR_LE,
    PAPYRUS_3_IMPLICIT_VR_LE,
};
use super::uid::TransferSyntaxUid;
use super::vr::Vr;
pub use super::walk::StructureError;
use super::walk::{Element, Event, PIXEL_DATA, Syntax, UNDEFINED, Walker};
use decoding::{Decoding, Treatment, Written};
pub use error::TranscodeError;
use headers::{ITEM, ITEM_END, SEQUENCE_END, write_header, write_implicit_header, write_item};
use level::Levels;
use opaque::Opaque;
use words::Words;

/// The version of these rules, for the ledger: another as soon as the same input gives other bytes (IDY-034).
pub const VERSION: u32 = 2;

/// The longest value that an explicit header with a 16-bit length can have, being even (PS3.5 section 7.1.2).
const LONGEST_SHORT: u32 = 65_534;

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
    /// Whether big-endian pixel cells of more than 16 bits were turned round word by word. That is how the standard has
    /// OW (PS3.5 table 6.2-1), but some writers order the whole cell, and then these cells were wrong for other readers
    /// before.
    pub wide_cells: bool,
    /// Frames decoded.
    pub frames: u64,
}

/// Whether a data set that should have representations begins without one, against its transfer syntax (PS3.5 section A.4).
pub fn begins_implicit(mut head: &[u8]) -> bool {
    let mut walker = Walker::new(Syntax { explicit: true, big: false }, 1, 1);
    matches!(walker.next(&mut head), Ok(Some(Event::Element(Element { vr: None, .. }))))
}

/// What the value in hand becomes.
#[derive(Debug)]
enum Value {
    /// It is left out.
    Dropped,
    /// It is written, its words turned round if they must be.
    Written(Words),
    /// It is written when it is complete, since it may change.
    Rewritten,
}

/// A re-encoding in progress. Any cutting of the input into pushes gives the same output; an error is final.
#[derive(Debug)]
pub struct Transcoder {
    inflater: Option<Inflater>,
    walker: Walker,
    big: bool,
    ge: bool,
    /// Whether the output has explicit representations.
    explicit: bool,
    levels: Levels,
    value: Value,
    /// Open sequences and items inside UN of undefined length, whose bytes are copied; 0 outside.
    verbatim: u32,
    decoding: Option<Decoding>,
    leaves_fragments: bool,
    /// The fragments in hand, if they are not Pixel Data's.
    opaque: Option<Opaque>,
    /// Values of odd length are padded.
    evens: bool,
    /// A frame has just been written.
    paused: bool,
    report: Report,
}

impl Transcoder {
    /// A re-encoding to Explicit VR Little Endian from Implicit VR Little Endian, Explicit VR Big Endian, or GE's private
    /// mixture of the two; none for any other syntax, which either may travel on the web as it is or is not native.
    pub fn new(from: &TransferSyntaxUid) -> Option<Self> {
        matches!(from.as_str(), IMPLICIT_VR_LE | PAPYRUS_3_IMPLICIT_VR_LE | GE_PRIVATE_IMPLICIT_VR | EXPLICIT_VR_BE)
            .then(|| Self::between(from, EXPLICIT_VR_LE))
            .flatten()
    }

    /// A re-encoding from any syntax that we can read whole to `to`, which is Explicit or Implicit VR Little Endian; none
    /// if there is nothing to do or no way to do it. Deflated data sets are inflated, compressed pixels are decoded.
    pub fn between(from: &TransferSyntaxUid, to: &str) -> Option<Self> {
        (from.as_str() != to).then(|| Self::of(from, to, false)).flatten()
    }

    /// The same with every value of odd length padded (PS3.5 section 7.1.1); also where both syntaxes are one.
    pub fn evening(from: &TransferSyntaxUid, to: &str) -> Option<Self> {
        Self::of(from, to, true)
    }

    fn of(from: &TransferSyntaxUid, to: &str, evens: bool) -> Option<Self> {
        if !matches!(to, EXPLICIT_VR_LE | IMPLICIT_VR_LE) {
            return None;
        }
        let limits = Limits::default();
        let (explicit, big, ge, deflated) = match from.as_str() {
            IMPLICIT_VR_LE | PAPYRUS_3_IMPLICIT_VR_LE => (false, false, false, false),
            GE_PRIVATE_IMPLICIT_VR => (false, false, true, false),
            EXPLICIT_VR_BE => (true, true, false, false),
            EXPLICIT_VR_LE => (true, false, false, false),
            DEFLATED_EXPLICIT_VR_LE => (true, false, false, true),
            _ => (true, false, false, false),
        };
        let native = !explicit || big || deflated || from.as_str() == EXPLICIT_VR_LE;
        let decoding = if native { None } else { Some(Decoding::of(from)?) };
        Some(Self {
            inflater: deflated.then(|| Inflater::new(limits.inflated_bytes)),
            walker: Walker::new(Syntax { explicit, big }, limits.depth, limits.elements),
            big,
            ge,
            explicit: to == EXPLICIT_VR_LE,
            levels: Levels::new(),
            value: Value::Dropped,
            verbatim: 0,
            decoding,
            leaves_fragments: false,
            opaque: None,
            evens,
            paused: false,
            report: Report::default(),
        })
    }

    /// The same for a reader of the attributes alone: of what is in fragments where the transfer syntax does not allow it, the element is
    /// written without them. Such a data set is no error then.
    pub fn leaving_fragments(self) -> Self {
        Self { leaves_fragments: true, ..self }
    }

    /// Whether it decodes pixels, which takes the processor's time and a frame's memory.
    pub fn decodes(&self) -> bool {
        self.decoding.is_some()
    }

    /// Takes the next bytes of the data set and appends what they become to `out`: at most three times the
    /// length of `input`, and 2 KiB; for values, as many bytes as came; for deflated data sets at most 1,000 times as
    /// many; for compressed pixels all frames whose fragments it completes, which [`Self::push_some`] gives one by one.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        while !input.is_empty() {
            self.push_some(&mut input, out)?;
        }
        Ok(())
    }

    /// Takes bytes from the front of `input` until it is empty or a frame was decoded, and appends what they become.
    pub fn push_some(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        let before = out.len();
        self.paused = false;
        match self.inflater.take() {
            None => self.walk(input, out)?,
            Some(mut inflater) => {
                let pushed = inflater.push(std::mem::take(input), |mut bytes| self.walk(&mut bytes, out));
                self.inflater = Some(inflater);
                pushed?;
            }
        }
        self.report.bytes += (out.len() - before) as u64;
        Ok(())
    }

    fn walk(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        while !self.paused
            && let Some(event) = self.walker.next(input)?
        {
            if self.verbatim > 0 { self.copy(event, out) } else { self.convert(event, out)? }
        }
        Ok(())
    }

    /// Ends the re-encoding once all of the data set was pushed; an error if it is not whole. Appends what is left: the
    /// last frame, if the fragments end without their delimiter.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Report, TranscodeError> {
        if let Some(inflater) = &self.inflater {
            inflater.finish()?;
        }
        self.walker.finish()?;
        if let Some(decoding) = &mut self.decoding {
            let before = out.len();
            decoding.end(out)?;
            self.report.bytes += (out.len() - before) as u64;
            self.report.frames = decoding.decoded();
        }
        Ok(self.report)
    }

    fn convert(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        if self.decoding.as_ref().is_some_and(Decoding::is_in_pixels) {
            return self.decode(event, out);
        }
        match event {
            Event::Element(element) => return self.element(element, out),
            Event::Value(slice) => {
                self.levels.watch(slice);
                if let Some(decoding) = &mut self.decoding {
                    decoding.value(slice);
                }
                if let Some(opaque) = &mut self.opaque {
                    opaque.value(slice)?;
                }
                if let Value::Written(words) = &mut self.value {
                    words.push(slice, out);
                }
            }
            Event::ValueEnd => {
                self.opaque.as_mut().map_or(Ok(()), Opaque::end)?;
                self.value_end(out);
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
            Event::SequenceEnd { .. } => self.sequence_end(out),
            Event::Fragment(length) => self.fragment(length, out)?,
            Event::Stray => {}
        }
        Ok(())
    }

    fn value_end(&mut self, out: &mut Vec<u8>) {
        self.levels.watched(self.big);
        let rewritten = self.decoding.as_mut().and_then(Decoding::value_end);
        match (&mut self.value, rewritten) {
            (Value::Written(words), _) => words.end(out),
            (Value::Rewritten, Some(written)) => self.write_whole(out, &written),
            _ => {}
        }
    }

    /// Within the fragments of Pixel Data.
    fn decode(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        let Some(decoding) = &mut self.decoding else { return Err(TranscodeError::NotEncapsulated) };
        match event {
            Event::Fragment(length) => decoding.fragment(length),
            Event::Value(slice) => decoding.fragment_bytes(slice)?,
            Event::ValueEnd => self.paused = decoding.fragment_end(out)?,
            Event::SequenceEnd { .. } => {
                decoding.end(out)?;
                self.paused = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn element(&mut self, element: Element, out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        let tag = element.tag;
        self.levels.enter(tag, element.length);
        if tag.element() == 0 || matches!(tag.group(), 0x0000 | 0x0002) {
            self.report.left_out += 1;
            self.value = Value::Dropped;
            return match element.length {
                Some(_) => Ok(()),
                None => Err(malformed(tag, "a sequence where a number should be")),
            };
        }
        if element.top
            && let Some(decoding) = &mut self.decoding
        {
            let missing = decoding.before(tag);
            let treatment = decoding.element(tag, element.length);
            for written in missing {
                self.write_whole(out, &written);
            }
            match treatment {
                Treatment::Passes => {}
                Treatment::Dropped => {
                    self.report.left_out += 1;
                    self.value = Value::Dropped;
                    return Ok(());
                }
                Treatment::Rewritten => {
                    self.value = Value::Rewritten;
                    return Ok(());
                }
            }
            if tag == PIXEL_DATA {
                return self.pixel_data(element, out);
            }
        }
        let vr = self.representation(element);
        self.report.elements += 1;
        match element.length {
            None => self.container(element, vr, out),
            Some(length) if vr == Vr::SQ && length > 0 => {
                if let Some(inside) = self.walker.beyond() {
                    return self.untouched(tag, length, inside, out);
                }
                self.write_element(out, tag, Vr::SQ, UNDEFINED);
                Ok(self.walker.descend()?)
            }
            Some(length) => {
                let size = self.word(element, vr)?;
                self.value = Value::Written(self.words(size, vr));
                let length = even(length, self.evens);
                let fits = vr.has_long_length() || length <= LONGEST_SHORT || !self.explicit;
                self.write_element(out, tag, if fits { vr } else { Vr::UN }, length);
                Ok(())
            }
        }
    }

    /// The image of an encapsulated syntax.
    fn pixel_data(&mut self, element: Element, out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        let vr = self.representation(element);
        let Some(decoding) = &mut self.decoding else { return Ok(()) };
        let (vr, length) = match element.length {
            None => decoding.begin()?,
            Some(length) if decoding.is_native(even(length, self.evens)) => (vr, even(length, self.evens)),
            Some(_) => return Err(TranscodeError::NotEncapsulated),
        };
        self.value = Value::Written(self.words(1, vr));
        self.report.elements += 1;
        self.write_element(out, element.tag, vr, length);
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
            // PS3.5 section A.2: 8-bit waveforms are OB; what comes from implicit encoding is otherwise OW (section
            // A.1).
            Representation::BytesOrWords if self.levels.is_byte_waveform(element.tag) => Vr::OB,
            Representation::BytesOrWords | Representation::PixelData | Representation::LookupTable => Vr::OW,
            Representation::Unknown => Vr::UN,
        }
    }

    /// The bytes of one word of the value that are to be turned round; 1 for none.
    fn word(&mut self, element: Element, vr: Vr) -> Result<usize, TranscodeError> {
        let tag = element.tag;
        let cell = self.levels.bits_allocated();
        if self.ge && tag == PIXEL_DATA && element.top {
            return match cell {
                Some(..=8) => Ok(1),
                Some(9..=16) => Ok(2),
                _ => Err(TranscodeError::UnknownCells { tag }),
            };
        }
        if !self.big {
            return Ok(1);
        }
        self.report.wide_cells |= tag == PIXEL_DATA && vr == Vr::OW && cell.is_some_and(|bits| bits > 16);
        Ok(vr.word())
    }

    /// The words of a value, and what pads it.
    fn words(&self, size: usize, vr: Vr) -> Words {
        if self.evens { Words::of(size).padded(vr.padding()) } else { Words::of(size) }
    }

    fn write_element(&mut self, out: &mut Vec<u8>, tag: Tag, vr: Vr, length: u32) {
        self.report.un_elements += u64::from(vr == Vr::UN && self.explicit);
        match self.explicit {
            true => write_header(out, tag, vr, length),
            false => write_implicit_header(out, tag, length),
        }
    }

    /// Writes an element that is not in the input as it stands.
    fn write_whole(&mut self, out: &mut Vec<u8>, (tag, vr, value): &Written) {
        self.report.elements += 1;
        self.write_element(out, *tag, *vr, even(value.len() as u32, self.evens));
        let mut words = self.words(1, *vr);
        words.push(value, out);
        words.end(out);
    }
}

/// The length of a value, its padding counted.
fn even(length: u32, evens: bool) -> u32 {
    if evens { length + length % 2 } else { length }
}

fn malformed(tag: Tag, why: &'static str) -> TranscodeError {
    StructureError::Malformed { tag: Some(tag), why }.into()
}
