//! What a JPEG 2000 codestream has the decoder ask memory for, by its headers alone (ITU-T T.800 annexes A and B).
//!
//! The library keeps a record of each code-block, precinct and layer of a tile: a hundred bytes of header can make these a thousand times
//! the image. So every header is read here first, those of tile-parts too, and the most that any of them asks for is taken for all.
//! The library passes over the lengths of some segments; one that is not as long as its fields is refused, so that both read the same.

use super::super::{DecodeError, Image};
use super::Size;

/// Bytes that the library keeps, about: the numbers are its structures', with what collections have over.
const OF_A_BLOCK: u64 = 2 * (64 + 2 * 32);
const OF_A_LAYER: u64 = 2 * 24;
const OF_A_PRECINCT: u64 = 2 * (96 + 2 * 32);
const OF_A_SEGMENT: u64 = 2 * 40;
const OF_A_TILE: u64 = 512;
const OF_A_COMPONENT: u64 = 1024;
const OF_A_TILE_PART: u64 = 256;
/// A code-block has no more segments than coding passes.
const PASSES: u64 = 256;
/// Most decomposition levels (ITU-T T.800 table A.15).
const MOST_LEVELS: u8 = 32;

/// The most that any header asks for.
struct Asked {
    /// Columns and rows of a tile.
    tile: [u64; 2],
    layers: u64,
    /// Code-blocks and precincts of one component of a tile.
    blocks: u64,
    precincts: u64,
    /// Each coding pass may be a segment of its own.
    split: bool,
    /// Packets come in several progressions, and each is remembered.
    changes: bool,
    tile_parts: u64,
}

/// Bytes that decoding takes, beside the codestream: planes, coefficients and structures. Errors: headers that cannot be read.
pub(super) fn bytes(image: &Image, size: &Size, codestream: &[u8]) -> Result<u64, DecodeError> {
    let asked = Asked::read(image, size.tile, codestream)?;
    let (samples, pixels) = (u64::from(image.samples), image.pixels() as u64);
    let of_tile = size.tile[0] * size.tile[1];
    let (blocks, precincts) = (asked.blocks.saturating_mul(samples), asked.precincts.saturating_mul(samples));
    let segments = blocks.saturating_mul(if asked.split { PASSES } else { asked.layers.min(PASSES) });
    // The library works in numbers of four bytes: a plane for each sample, and three for the tile and sample in hand.
    let planes = image.frame_bytes()? as u64 + 4 * pixels * samples + 12 * of_tile;
    let remembered = if asked.changes { precincts.saturating_mul(asked.layers).saturating_mul(96) } else { 0 };
    let structures = [
        blocks.saturating_mul(OF_A_BLOCK + asked.layers * OF_A_LAYER),
        precincts.saturating_mul(OF_A_PRECINCT),
        segments.min(2 * codestream.len() as u64).saturating_mul(OF_A_SEGMENT),
        size.tiles.saturating_mul(OF_A_TILE + samples * OF_A_COMPONENT),
        asked.tile_parts * OF_A_TILE_PART,
        remembered,
    ];
    Ok(structures.into_iter().fold(planes, u64::saturating_add))
}

impl Asked {
    fn read(image: &Image, tile: [u64; 2], codestream: &[u8]) -> Result<Self, DecodeError> {
        let (layers, blocks, precincts, tile_parts) = (0, 0, 0, 0);
        let mut asked = Self { tile, layers, blocks, precincts, split: false, changes: false, tile_parts };
        let mut walk = Walk { codestream, at: 2 };
        asked.header(&mut walk, image.samples)?;
        while walk.marker() == Some(0x90) {
            let begun = walk.at;
            let body = walk.segment()?;
            let [_, _, l0, l1, l2, l3, ..] = *body else { return Err(WRONG) };
            if body.len() != 8 {
                return Err(WRONG);
            }
            asked.tile_parts += 1;
            let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
            let end = if length == 0 { codestream.len() } else { begun.saturating_add(length) };
            asked.header(&mut walk, image.samples)?;
            if walk.at > end {
                return Err(WRONG);
            }
            walk.at = end;
        }
        if asked.layers == 0 { Err(DecodeError::Broken("it has no coding style")) } else { Ok(asked) }
    }

    /// Reads a header up to the next tile-part or data.
    fn header(&mut self, walk: &mut Walk<'_>, samples: u16) -> Result<(), DecodeError> {
        let index = if samples > 256 { 2 } else { 1 };
        loop {
            match walk.marker().ok_or(DecodeError::Truncated)? {
                // The next tile-part; data; the end.
                0x90 | 0x93 | 0xD9 => return Ok(()),
                0x30..=0x3F => walk.at += 2,
                0x52 => {
                    let [style, _, l0, l1, _, rest @ ..] = walk.segment()? else { return Err(WRONG) };
                    self.layers = self.layers.max(u64::from(u16::from_be_bytes([*l0, *l1])));
                    self.coding(*style, rest)?;
                }
                0x53 => {
                    let [style, rest @ ..] = walk.segment()?.get(index..).ok_or(WRONG)? else { return Err(WRONG) };
                    self.coding(*style, rest)?;
                }
                0x5C => quantization(walk.segment()?)?,
                0x5D => quantization(walk.segment()?.get(index..).ok_or(WRONG)?)?,
                // Region of interest; the size, which was read before.
                0x5E => of_length(walk.segment()?, index + 2)?,
                0x51 => of_length(walk.segment()?, 36 + 3 * usize::from(samples))?,
                0x5F => {
                    self.changes = true;
                    walk.segment()?;
                }
                // Lengths, packet headers, registration, comments.
                0x55 | 0x57 | 0x58 | 0x60 | 0x61 | 0x63 | 0x64 => drop(walk.segment()?),
                _ => return Err(DecodeError::Process("a marker")),
            }
        }
    }

    /// The parameters of a coding style, and nothing behind them.
    fn coding(&mut self, style: u8, parameters: &[u8]) -> Result<(), DecodeError> {
        let [levels, across, down, blocks, _, precincts @ ..] = parameters else { return Err(WRONG) };
        if *levels > MOST_LEVELS {
            return Err(DecodeError::Broken("it has too many levels"));
        }
        let own = style & 1 != 0;
        if precincts.len() != if own { usize::from(*levels) + 1 } else { 0 } {
            return Err(WRONG);
        }
        self.split |= blocks & 0b101 != 0;
        let block = [across, down].map(|exponent| u32::from(*exponent) + 2);
        let (mut blocks, mut parts) = (0u64, 0u64);
        for resolution in 0..=u32::from(*levels) {
            let both = precincts.get(resolution as usize).copied().unwrap_or(0xFF);
            // A precinct of a sub-band is half as large, but in the first.
            let halved = u32::from(resolution > 0);
            let precinct = [both & 15, both >> 4].map(|exponent| u32::from(exponent).saturating_sub(halved));
            // Sub-bands halve from level to level; the first resolution has one, as large as the last three.
            let (bands, level) = if resolution == 0 { (1, *levels) } else { (3, *levels + 1 - resolution as u8) };
            let band = self.tile.map(|length| (length >> level.min(63)) + 1);
            let cells = |cell: [u32; 2]| ((band[0] >> cell[0].min(63)) + 2) * ((band[1] >> cell[1].min(63)) + 2);
            let here = bands * cells(precinct);
            // A precinct has a code-block at least, if only in name.
            blocks += here.max(bands * cells([block[0].min(precinct[0]), block[1].min(precinct[1])]));
            parts += here;
        }
        (self.blocks, self.precincts) = (self.blocks.max(blocks), self.precincts.max(parts));
        Ok(())
    }
}

const WRONG: DecodeError = DecodeError::Broken("a marker segment is not as long as it says");

fn of_length(body: &[u8], length: usize) -> Result<(), DecodeError> {
    if body.len() == length { Ok(()) } else { Err(WRONG) }
}

/// A quantization of the length that its style has.
fn quantization(body: &[u8]) -> Result<(), DecodeError> {
    let [style, steps @ ..] = body else { return Err(WRONG) };
    let fits = match style & 31 {
        1 => steps.len() == 2,
        2 => steps.len().is_multiple_of(2),
        _ => true,
    };
    if fits { Ok(()) } else { Err(WRONG) }
}

/// Where the reading of the headers has come to.
pub(super) struct Walk<'a> {
    pub(super) codestream: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Walk<'a> {
    /// The marker here, if it is one.
    pub(super) fn marker(&self) -> Option<u8> {
        match self.codestream.get(self.at..)? {
            [0xFF, marker, ..] => Some(*marker),
            _ => None,
        }
    }

    /// Goes past a marker and its segment; gives the body behind the length.
    pub(super) fn segment(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.codestream.get(self.at + 2..self.at + 4).ok_or(DecodeError::Truncated)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let body = self.codestream.get(self.at + 4..self.at + 2 + length).ok_or(DecodeError::Truncated)?;
        self.at += 2 + length;
        Ok(body)
    }
}
