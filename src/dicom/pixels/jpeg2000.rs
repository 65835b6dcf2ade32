//! JPEG 2000 decoding (ITU-T T.800), by hayro-jpeg2000, which is safe Rust throughout.
//!
//! The size of the image, its components and their bits are read here and compared with the attributes first, and what its headers have
//! the library ask memory for is summed up; the library then sees no codestream that asks for more.

mod demand;
mod ending;

use super::{DecodeError, Image, Raster};
use hayro_jpeg2000::{DecodeSettings, DecoderContext};

/// Start of codestream and of the SIZ marker segment (ITU-T T.800 section A.5.1).
const START: &[u8] = &[0xFF, 0x4F, 0xFF, 0x51];
/// The library counts in 32-bit floating point: integers of more bits than these would not be exact.
const MAX_PRECISION: u32 = 20;
/// A tile is at least this many pixels on average: each costs the decoder some hundred bytes.
const MIN_TILE_PIXELS: u64 = 64;

/// What the SIZ marker segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    precision: u32,
    signed: bool,
    /// Columns and rows of a tile, as far as it lies in the image.
    tile: [u64; 2],
    tiles: u64,
}

/// Bytes of memory that decoding takes.
pub(super) fn demand(image: &Image, codestream: &[u8]) -> Result<u64, DecodeError> {
    let codestream = unwrapped(codestream)?;
    demand::bytes(image, &size(image, codestream)?, codestream)
}

pub(super) fn decode(image: &Image, codestream: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let codestream = unwrapped(codestream)?;
    let Size { precision, signed, .. } = size(image, codestream)?;
    let mut raster = Raster::new(image, precision)?;
    let settings = DecodeSettings { resolve_palette_indices: false, strict: true, target_resolution: None };
    let broken = |_| DecodeError::Broken("the JPEG 2000 decoder refused it");
    let codestream = ending::ended(codestream);
    let decoder = hayro_jpeg2000::Image::new(&codestream, &settings).map_err(broken)?;
    let mut context = DecoderContext::default();
    let decoded = decoder.decode(&mut context).map_err(broken)?;
    let components = decoded.components();
    if components.len() != usize::from(image.samples) {
        return Err(DecodeError::Disagree("number of samples"));
    }
    // The library gives every value as if it were unsigned.
    let shift = if signed { 1i32 << (precision - 1) } else { 0 };
    let highest = ((1u32 << precision) - 1) as f32;
    for (sample, component) in components.iter().enumerate() {
        let values = component.samples();
        if values.len() != image.pixels() {
            return Err(DecodeError::Disagree("size of a component"));
        }
        for (pixel, value) in values.iter().enumerate() {
            raster.put(pixel, sample, value.round().clamp(0.0, highest) as i32 - shift);
        }
    }
    Ok(raster.into_bytes())
}

/// The codestream without the JP2 boxes around it, which PS3.5 section A.4.4 forbids and the field has.
fn unwrapped(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    if bytes.starts_with(START) {
        return Ok(bytes);
    }
    let mut rest = bytes;
    while let [l0, l1, l2, l3, kind @ ..] = rest {
        let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
        if kind.starts_with(b"jp2c") {
            // Length 1 means that eight bytes of length follow, 0 that the box goes to the end.
            let skip = if length == 1 { 16 } else { 8 };
            return rest.get(skip..).filter(|inner| inner.starts_with(START)).ok_or(DecodeError::Truncated);
        }
        if length < 8 {
            break;
        }
        rest = rest.get(length..).ok_or(DecodeError::Truncated)?;
    }
    Err(DecodeError::Broken("it does not begin as JPEG 2000"))
}

/// Whether the codestream mixes its first three components, so that what comes out is RGB (ITU-T T.800 table A.17).
pub(super) fn is_mixed(codestream: &[u8]) -> bool {
    let Ok(mut rest) = unwrapped(codestream) else { return false };
    rest = rest.get(2..).unwrap_or_default();
    while let [0xFF, marker @ 0x51..=0x6F, l0, l1, ..] = rest {
        if *marker == 0x52 {
            return rest.get(8) == Some(&1);
        }
        rest = rest.get(2 + usize::from(u16::from_be_bytes([*l0, *l1]))..).unwrap_or_default();
    }
    false
}

fn size(image: &Image, codestream: &[u8]) -> Result<Size, DecodeError> {
    let long = |at: usize| {
        let bytes = codestream.get(at..at + 4).ok_or(DecodeError::Truncated)?;
        Ok::<u64, DecodeError>(bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
    };
    // After the two markers, the segment's length and the capabilities: the reference grid and the tiles on it.
    let [width, height, left, top] = [long(8)?, long(12)?, long(16)?, long(20)?];
    let [tile_width, tile_height, tiles_left, tiles_top] = [long(24)?, long(28)?, long(32)?, long(36)?];
    let (columns, rows) = (width.checked_sub(left), height.checked_sub(top));
    if (columns, rows) != (Some(image.columns.into()), Some(image.rows.into())) {
        return Err(DecodeError::Disagree("rows and columns"));
    }
    if tile_width == 0 || tile_height == 0 || tiles_left > left || tiles_top > top {
        return Err(DecodeError::Broken("its tiles are not a grid"));
    }
    let tiles = (width - tiles_left).div_ceil(tile_width) * (height - tiles_top).div_ceil(tile_height);
    if tiles > 1 && tiles.saturating_mul(MIN_TILE_PIXELS) > image.pixels() as u64 {
        return Err(DecodeError::Broken("it has too many tiles for its size"));
    }
    let count = codestream.get(40..42).ok_or(DecodeError::Truncated)?;
    if u16::from_be_bytes([count[0], count[1]]) != image.samples {
        return Err(DecodeError::Disagree("number of samples"));
    }
    let components = codestream.get(42..42 + 3 * usize::from(image.samples)).ok_or(DecodeError::Truncated)?;
    let first = components.first().copied().unwrap_or(0);
    if components.chunks(3).any(|component| component[0] != first || component[1] != 1 || component[2] != 1) {
        return Err(DecodeError::Process("components of different sizes"));
    }
    let (precision, signed) = (u32::from(first & 0x7F) + 1, first & 0x80 != 0);
    if precision > MAX_PRECISION {
        return Err(DecodeError::Process("more than 20 bits a sample"));
    }
    let tile = [tile_width.min(image.columns.into()), tile_height.min(image.rows.into())];
    Ok(Size { precision, signed, tile, tiles })
}
