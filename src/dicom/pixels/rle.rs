//! RLE decoding (PS3.5 annex G): each byte of the composite pixel is a plane of its own, packed by PackBits.

use super::{DecodeError, Image};

/// Bytes of the header, behind which the first segment begins (PS3.5 section G.5).
pub(super) const HEADER_BYTES: usize = 64;
const MAX_SEGMENTS: usize = 15;

/// Decodes one frame: segments from the most significant byte of the first sample to the least of the last (PS3.5
/// section G.2).
pub(super) fn decode(image: &Image, codestream: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (cell, samples, pixels) = (image.cell_bytes()?, usize::from(image.samples), image.pixels());
    let header = codestream.get(..HEADER_BYTES).ok_or(DecodeError::Truncated)?;
    let word = |at: usize| header[at * 4..at * 4 + 4].iter().rev().fold(0u32, |all, byte| all << 8 | u32::from(*byte));
    let count = samples * cell;
    if count > MAX_SEGMENTS || word(0) as usize != count {
        return Err(DecodeError::Disagree("number of RLE segments"));
    }
    let mut bytes = vec![0; image.frame_bytes()?];
    for segment in 0..count {
        let start = word(segment + 1) as usize;
        let end = if segment + 1 < count { word(segment + 2) as usize } else { codestream.len() };
        let packed = codestream.get(start..end).filter(|_| start >= HEADER_BYTES).ok_or(DecodeError::Truncated)?;
        let (sample, high) = (segment / cell, segment % cell);
        let first = sample * cell + (cell - 1 - high);
        unpack(packed, pixels, |pixel, byte| bytes[pixel * count + first] = byte)?;
    }
    Ok(bytes)
}

/// Undoes PackBits (PS3.5 section G.3.2) until the plane is full.
fn unpack(packed: &[u8], pixels: usize, mut put: impl FnMut(usize, u8)) -> Result<(), DecodeError> {
    let mut input = packed.iter().copied();
    let mut at = 0;
    while at < pixels {
        match input.next().ok_or(DecodeError::Truncated)? {
            literal @ 0..=127 => {
                for _ in 0..=literal {
                    let byte = input.next().ok_or(DecodeError::Truncated)?;
                    // What a run has beyond the last pixel is padding.
                    if at < pixels {
                        put(at, byte);
                    }
                    at += 1;
                }
            }
            128 => {}
            repeated => {
                let byte = input.next().ok_or(DecodeError::Truncated)?;
                for pixel in at..(at + 257 - usize::from(repeated)).min(pixels) {
                    put(pixel, byte);
                }
                at += 257 - usize::from(repeated);
            }
        }
    }
    Ok(())
}
