//! What a data set says about how a frame shall look: rescaling, windows, lookup tables, palettes.

use super::segments::expanded;
use crate::dicom::contents::{Contents, Part, StructureError};
use crate::dicom::tag::Tag;
use crate::dicom::vr::Vr;

const SOP_CLASS_UID: Tag = Tag::new(0x0008, 0x0016);
const PIXEL_PADDING_VALUE: Tag = Tag::new(0x0028, 0x0120);
const PIXEL_PADDING_RANGE_LIMIT: Tag = Tag::new(0x0028, 0x0121);
const PIXEL_INTENSITY_RELATIONSHIP: Tag = Tag::new(0x0028, 0x1040);
const WINDOW_CENTER: Tag = Tag::new(0x0028, 0x1050);
const WINDOW_WIDTH: Tag = Tag::new(0x0028, 0x1051);
const VOI_LUT_FUNCTION: Tag = Tag::new(0x0028, 0x1056);
const RESCALE_INTERCEPT: Tag = Tag::new(0x0028, 0x1052);
const RESCALE_SLOPE: Tag = Tag::new(0x0028, 0x1053);
const BITS_STORED: Tag = Tag::new(0x0028, 0x0101);
const PIXEL_REPRESENTATION: Tag = Tag::new(0x0028, 0x0103);
const PALETTE_DESCRIPTORS: std::ops::RangeInclusive<u32> = 0x0028_1101..=0x0028_1103;
const PALETTES: std::ops::RangeInclusive<u32> = 0x0028_1201..=0x0028_1203;
const SEGMENTED_PALETTES: std::ops::RangeInclusive<u32> = 0x0028_1221..=0x0028_1223;
const LUT_DESCRIPTOR: Tag = Tag::new(0x0028, 0x3002);
const LUT_DATA: Tag = Tag::new(0x0028, 0x3006);
const MODALITY_LUT: Tag = Tag::new(0x0028, 0x3000);
const VOI_LUT: Tag = Tag::new(0x0028, 0x3010);
const FRAME_VOI_LUT: Tag = Tag::new(0x0028, 0x9132);
const PIXEL_VALUE_TRANSFORMATION: Tag = Tag::new(0x0028, 0x9145);
const SHARED: Tag = Tag::new(0x5200, 0x9229);
const PER_FRAME: Tag = Tag::new(0x5200, 0x9230);
const PIXEL_DATA_GROUP: u16 = 0x7FE0;

/// X-Ray Angiographic and X-Ray Radiofluoroscopic Image Storage.
const PROJECTIONS: [&[u8]; 2] = [b"1.2.840.10008.5.1.4.1.1.12.1", b"1.2.840.10008.5.1.4.1.1.12.2"];

/// The longest value that is looked at: a table of 65,536 entries.
const LONGEST: u32 = 128 << 10;

/// How a window maps values (PS3.3 section C.11.2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Function {
    /// LINEAR.
    #[default]
    Linear,
    /// LINEAR_EXACT.
    LinearExact,
    /// SIGMOID.
    Sigmoid,
}

/// A window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Window Center.
    pub center: f64,
    /// Window Width.
    pub width: f64,
    /// VOI LUT Function.
    pub function: Function,
}

impl Window {
    /// A window whose width makes sense for its function.
    pub fn new(center: f64, width: f64, function: Function) -> Option<Self> {
        let wide = if function == Function::Linear { width >= 1.0 } else { width > 0.0 };
        (wide && center.is_finite() && width.is_finite()).then_some(Self { center, width, function })
    }
}

/// A lookup table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lut {
    first: i64,
    /// What the highest entry may be.
    most: f64,
    entries: Vec<u16>,
}

impl Lut {
    fn of(descriptor: [u16; 3], signed: bool, data: &[u8]) -> Option<Self> {
        let (count, wide) = (Self::count(descriptor), descriptor[2] > 8);
        // Entries of 8 bits may lie in bytes or in words; how many bytes there are tells. Of wide ones some may be missing: the last that is
        // there stands for those.
        let few = wide && data.len() > count + count / 2;
        let entries: Vec<u16> = match few || data.len() >= count * 2 {
            true => data.chunks_exact(2).take(count).map(|word| u16::from_le_bytes([word[0], word[1]])).collect(),
            false => data.iter().take(count).map(|byte| u16::from(*byte)).collect(),
        };
        if few || entries.len() == count { Self::with(descriptor, signed, entries) } else { None }
    }

    fn with(descriptor: [u16; 3], signed: bool, entries: Vec<u16>) -> Option<Self> {
        let [_, first, bits] = descriptor;
        let first = if signed { i64::from(first.cast_signed()) } else { i64::from(first) };
        let highest = entries.iter().copied().max()?;
        let most = f64::from(((1u32 << bits.clamp(1, 16)) - 1).max(u32::from(highest)));
        Some(Self { first, most, entries })
    }

    /// Gives the tables of a palette one scale: entries of 8 bits are called such of 16 by some, which would make all of it black, and the
    /// other way round.
    fn level(palette: &mut [Option<Self>; 3]) {
        let tables = || palette.iter().flatten();
        let narrow = tables().flat_map(|table| &table.entries).all(|entry| *entry <= 255);
        let most = if narrow { 255.0 } else { tables().map(|table| table.most).fold(1.0, f64::max) };
        palette.iter_mut().flatten().for_each(|table| table.most = most);
    }

    fn count([count, ..]: [u16; 3]) -> usize {
        if count == 0 { 65_536 } else { usize::from(count) }
    }

    /// The entry for a value; those below and above the table have its first and its last.
    fn entry(&self, value: f64) -> f64 {
        let at = (value.round() as i64).saturating_sub(self.first).clamp(0, self.entries.len() as i64 - 1);
        self.entries.get(usize::try_from(at).unwrap_or(0)).copied().map_or(0.0, f64::from)
    }

    /// The same as a share of the highest entry that there can be.
    pub(super) fn share(&self, value: f64) -> f64 {
        self.entry(value) / self.most
    }
}

/// A transformation as one place gives it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Given {
    center: Option<f64>,
    width: Option<f64>,
    function: Option<Function>,
    slope: Option<f64>,
    intercept: Option<f64>,
}

/// How a frame shall look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// By the data set itself, the shared functional groups, and those of the frame: the last that says something counts.
    given: [Given; 3],
    modality: Option<Lut>,
    pub(super) voi: Option<Lut>,
    pub(super) palette: [Option<Lut>; 3],
    /// The lowest and the highest of the stored values that stand for no part of the image.
    padding: Option<[i64; 2]>,
}

impl Look {
    /// Whether a stored value is padding, which does not count for the range of a frame (PS3.3 section C.7.5.1.1.2).
    pub(super) fn is_padding(&self, value: i64) -> bool {
        self.padding.is_some_and(|[low, high]| (low..=high).contains(&value))
    }

    /// The window, if one is given.
    pub(super) fn window(&self) -> Option<Window> {
        let window = |given: &Given| Window::new(given.center?, given.width?, given.function.unwrap_or_default());
        self.given.iter().rev().find_map(window)
    }

    /// The value after the modality transformation.
    pub(super) fn modality(&self, value: i64) -> f64 {
        if let Some(table) = &self.modality {
            return table.entry(value as f64);
        }
        let last = |of: fn(&Given) -> Option<f64>| self.given.iter().rev().find_map(of);
        value as f64 * last(|given| given.slope).unwrap_or(1.0) + last(|given| given.intercept).unwrap_or(0.0)
    }
}

/// A table as far as it was read.
#[derive(Debug, Default)]
struct Read {
    descriptor: Option<[u16; 3]>,
    /// Whether its first value is signed, where the stored representation says so.
    signed: Option<bool>,
    data: Vec<u8>,
    /// In place of the data, of palettes alone.
    segments: Vec<u8>,
}

impl Read {
    /// The table; `signed` is what its input can be, and counts where the stored representation does not say it.
    fn table(&self, signed: bool) -> Option<Lut> {
        let signed = self.signed.unwrap_or(signed);
        let descriptor = self.descriptor?;
        if self.data.is_empty() && !self.segments.is_empty() {
            let entries = expanded(&self.segments, descriptor[2], Lut::count(descriptor))?;
            return Lut::with(descriptor, signed, entries);
        }
        Lut::of(descriptor, signed, &self.data)
    }
}

/// Reads the head of a data set in Explicit VR Little Endian, for the look of one frame.
#[derive(Debug)]
pub struct LookSurveyor {
    contents: Contents,
    frame: u32,
    at: Vec<(Tag, u32)>,
    hand: Option<(Tag, Vr, Vec<u8>)>,
    /// Value representations are those that are stored, and not guessed.
    told: bool,
    signed: bool,
    bits: u16,
    given: [Given; 3],
    palette: [Read; 3],
    modality: Read,
    voi: Read,
    /// Pixel Padding Value and Pixel Padding Range Limit.
    padding: [Option<u16>; 2],
    /// A projection by X-rays; and whether its values stand for intensities as they are to be shown, and not as they were.
    projection: bool,
    shown: bool,
}

impl LookSurveyor {
    /// For a frame, from 1. `told` says that the data set as it is stored tells its value representations.
    pub fn new(frame: u32, told: bool) -> Self {
        let (contents, at, given) = (Contents::default(), Vec::new(), Default::default());
        let (palette, modality, voi) = (Default::default(), Read::default(), Read::default());
        let (hand, signed, bits, padding, projection, shown) = (None, false, 16, [None; 2], false, false);
        Self {
            contents,
            frame,
            at,
            hand,
            told,
            signed,
            bits,
            given,
            palette,
            modality,
            voi,
            padding,
            projection,
            shown,
        }
    }

    /// Takes the next bytes; tells whether all was read that comes before the pixels.
    pub fn push(&mut self, mut input: &[u8]) -> Result<bool, StructureError> {
        while let Some(part) = self.contents.next(&mut input)? {
            match part {
                Part::Leaf(tag, ..) | Part::Fragments(tag, _)
                    if self.at.is_empty() && tag.group() >= PIXEL_DATA_GROUP =>
                {
                    return Ok(true);
                }
                Part::Leaf(tag, vr, length) => {
                    let read = (tag.group() == 0x0028 || tag == SOP_CLASS_UID) && length <= LONGEST;
                    self.hand = read.then(|| (tag, vr, Vec::new()));
                }
                Part::Bytes(slice) => {
                    if let Some((.., value)) = &mut self.hand {
                        value.extend_from_slice(slice);
                    }
                }
                Part::End => {
                    if let Some((tag, vr, value)) = self.hand.take() {
                        self.value(tag, vr, value);
                    }
                }
                Part::Sequence(tag) | Part::Fragments(tag, _) => self.at.push((tag, 0)),
                Part::Item => {
                    if let Some((_, number)) = self.at.last_mut() {
                        *number += 1;
                    }
                }
                Part::SequenceEnd => drop(self.at.pop()),
                Part::ItemEnd | Part::Fragment(_) => {}
            }
        }
        Ok(false)
    }

    /// What was read.
    pub fn look(self) -> Look {
        let (extremes, padding) = (self.extremes(), self.padding());
        let mut palette = self.palette.map(|read| read.table(false));
        Lut::level(&mut palette);
        // Such a table leads back to intensities, and not to what is shown (PS3.3 section C.8.7.1.1.2).
        let modality = if self.projection && self.shown { None } else { self.modality.table(self.signed) };
        let rescaled = Look { given: self.given, modality, voi: None, palette, padding };
        // The input of the VOI table is what the modality transformation gives (PS3.3 section C.11.2.1.1).
        let negative = extremes.iter().any(|value| rescaled.modality(*value) < 0.0);
        Look { voi: self.voi.table(negative), ..rescaled }
    }

    /// The lowest and the highest value that a cell can have.
    fn extremes(&self) -> [i64; 2] {
        let bits = self.bits.clamp(1, 32);
        if self.signed { [-(1 << (bits - 1)), (1 << (bits - 1)) - 1] } else { [0, (1 << bits) - 1] }
    }

    /// The stored values that are padding: one, or all from one to the other, whichever is the lower. Of either representation the bits
    /// count that are stored, as they do of the cells.
    fn padding(&self) -> Option<[i64; 2]> {
        let [value, limit] = self.padding;
        let spare = 64 - if (1..=16).contains(&self.bits) { u32::from(self.bits) } else { 16 };
        let stored = |bits: u16| match self.signed {
            true => (u64::from(bits) << spare).cast_signed() >> spare,
            false => (u64::from(bits) << spare >> spare).cast_signed(),
        };
        let (one, other) = (stored(value?), stored(limit.or(value)?));
        Some([one.min(other), one.max(other)])
    }

    fn value(&mut self, tag: Tag, vr: Vr, value: Vec<u8>) {
        let signed = if self.told { sign(vr) } else { None };
        let rank = match self.at[..] {
            [] => 0,
            [(SHARED, 1), (FRAME_VOI_LUT | PIXEL_VALUE_TRANSFORMATION, 1)] => 1,
            [(PER_FRAME, frame), (FRAME_VOI_LUT | PIXEL_VALUE_TRANSFORMATION, 1)] if frame == self.frame => 2,
            [(MODALITY_LUT, 1)] => return table(&mut self.modality, tag, signed, value),
            [(VOI_LUT, 1)] | [(SHARED, 1), (FRAME_VOI_LUT, 1), (VOI_LUT, 1)] => {
                return table(&mut self.voi, tag, signed, value);
            }
            // It comes after the shared one, and takes its place.
            [(PER_FRAME, frame), (FRAME_VOI_LUT, 1), (VOI_LUT, 1)] if frame == self.frame => {
                return table(&mut self.voi, tag, signed, value);
            }
            _ => return,
        };
        let given = &mut self.given[rank];
        match tag {
            WINDOW_CENTER => given.center = number(&value),
            WINDOW_WIDTH => given.width = number(&value),
            RESCALE_INTERCEPT => given.intercept = number(&value),
            // By a slope of 0 nothing could be told apart: it counts as absent.
            RESCALE_SLOPE => given.slope = number(&value).filter(|slope| *slope != 0.0),
            VOI_LUT_FUNCTION => given.function = function(value.trim_ascii()),
            SOP_CLASS_UID if rank == 0 => {
                self.projection = PROJECTIONS.contains(&value.strip_suffix(&[0]).unwrap_or(&value))
            }
            PIXEL_INTENSITY_RELATIONSHIP if rank == 0 => self.shown = matches!(value.trim_ascii(), b"LOG" | b"DISP"),
            PIXEL_PADDING_VALUE if rank == 0 => self.padding[0] = word(&value),
            PIXEL_PADDING_RANGE_LIMIT if rank == 0 => self.padding[1] = word(&value),
            BITS_STORED if rank == 0 => self.bits = value.first().copied().map_or(16, u16::from),
            PIXEL_REPRESENTATION if rank == 0 => self.signed = value == [1, 0],
            Tag(palette) if rank == 0 && PALETTE_DESCRIPTORS.contains(&palette) => {
                self.palette[(palette & 3) as usize - 1].descriptor = words(&value);
            }
            Tag(palette) if rank == 0 && PALETTES.contains(&palette) => {
                self.palette[(palette & 3) as usize - 1].data = value
            }
            Tag(palette) if rank == 0 && SEGMENTED_PALETTES.contains(&palette) => {
                self.palette[(palette & 3) as usize - 1].segments = value;
            }
            _ => {}
        }
    }
}

/// Whether numbers of a representation have a sign; `None` if it is not one of numbers of 16 bits.
fn sign(vr: Vr) -> Option<bool> {
    match vr {
        Vr::SS => Some(true),
        Vr::US => Some(false),
        _ => None,
    }
}

fn table(read: &mut Read, tag: Tag, signed: Option<bool>, value: Vec<u8>) {
    match tag {
        LUT_DESCRIPTOR => (read.descriptor, read.signed) = (words(&value), signed),
        LUT_DATA => read.data = value,
        _ => {}
    }
}

fn word(value: &[u8]) -> Option<u16> {
    value.first_chunk::<2>().map(|word| u16::from_le_bytes(*word))
}

fn words(value: &[u8]) -> Option<[u16; 3]> {
    let [a, b, c, d, e, f] = *value.first_chunk::<6>()?;
    Some([u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]), u16::from_le_bytes([e, f])])
}

/// The first value of a Decimal String.
fn number(value: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(value).ok()?.split('\\').next()?.trim_matches([' ', '\0']);
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn function(value: &[u8]) -> Option<Function> {
    match value {
        b"LINEAR" => Some(Function::Linear),
        b"LINEAR_EXACT" => Some(Function::LinearExact),
        b"SIGMOID" => Some(Function::Sigmoid),
        _ => None,
    }
}
