//! What the elements before it say about an element's representation, at its own level and around it.

use super::{Tag, Vr};

const BITS_ALLOCATED: Tag = Tag::new(0x0028, 0x0100);
const PIXEL_REPRESENTATION: Tag = Tag::new(0x0028, 0x0103);
const WAVEFORM_BITS_ALLOCATED: Tag = Tag::new(0x5400, 0x1004);
const WAVEFORM_GROUP: u16 = 0x5400;

/// The data set, or an item.
#[derive(Debug)]
struct Level {
    /// The element in hand.
    tag: Tag,
    /// An item without elements.
    empty: bool,
    bits_allocated: Option<u16>,
    pixel_representation: Option<u16>,
    waveform_bits: Option<u16>,
}

impl Level {
    const fn new(empty: bool) -> Self {
        Self { tag: Tag(0), empty, bits_allocated: None, pixel_representation: None, waveform_bits: None }
    }
}

/// The levels that are open, from the data set inwards.
#[derive(Debug)]
pub(super) struct Levels {
    levels: Vec<Level>,
    /// The number in hand that matters, as far as it has come.
    watched: Option<Vec<u8>>,
}

impl Levels {
    pub(super) fn new() -> Self {
        Self { levels: vec![Level::new(false)], watched: None }
    }

    /// An item begins.
    pub(super) fn open(&mut self, empty: bool) {
        self.levels.push(Level::new(empty));
    }

    /// The item ends; tells whether it was empty.
    pub(super) fn close(&mut self) -> bool {
        self.levels.pop().is_some_and(|level| level.empty)
    }

    /// An element begins at the innermost level.
    pub(super) fn enter(&mut self, tag: Tag, length: Option<u32>) {
        let matters = matches!(tag, BITS_ALLOCATED | PIXEL_REPRESENTATION | WAVEFORM_BITS_ALLOCATED);
        self.watched = (matters && length == Some(2)).then(Vec::new);
        if let Some(level) = self.levels.last_mut() {
            level.tag = tag;
        }
    }

    /// Part of its value.
    pub(super) fn watch(&mut self, slice: &[u8]) {
        if let Some(value) = &mut self.watched {
            value.extend_from_slice(slice);
        }
    }

    /// Its value is complete.
    pub(super) fn watched(&mut self, big: bool) {
        let (Some(value), Some(level)) = (self.watched.take(), self.levels.last_mut()) else { return };
        let number = value.try_into().ok().map(if big { u16::from_be_bytes } else { u16::from_le_bytes });
        match level.tag {
            BITS_ALLOCATED => level.bits_allocated = number,
            PIXEL_REPRESENTATION => level.pixel_representation = number,
            _ => level.waveform_bits = number,
        }
    }

    /// Bits Allocated (0028,0100) of the innermost level.
    pub(super) fn bits_allocated(&self) -> Option<u16> {
        self.levels.last().and_then(|level| level.bits_allocated)
    }

    /// Whether `tag` is waveform data of 8 bits a sample (PS3.5 section 8.3).
    pub(super) fn is_byte_waveform(&self, tag: Tag) -> bool {
        tag.group() == WAVEFORM_GROUP && self.levels.last().is_some_and(|level| level.waveform_bits == Some(8))
    }

    /// US or SS, by the nearest Pixel Representation (0028,0103). Without any it is US, as for presentation states. If one may
    /// yet come at a level that has not reached it, the value becomes UN, for the reader to tell.
    pub(super) fn short_of_pixel(&self) -> Vr {
        for level in self.levels.iter().rev() {
            match level.pixel_representation {
                Some(0) => return Vr::US,
                Some(_) => return Vr::SS,
                None if level.tag < PIXEL_REPRESENTATION => return Vr::UN,
                None => {}
            }
        }
        Vr::US
    }
}
