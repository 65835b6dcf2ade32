//! JPEG-LS decoding (ITU-T T.87): lossless and near-lossless, in every order of interleaving.
//!
//! Our own, since the library that is right is C++ and those in Rust are not right.

mod bits;
mod contexts;
mod header;
mod scan;

use super::{DecodeError, Image, Raster};
use header::Header;

/// Bytes of memory that decoding takes: the frame, and two lines of each component.
pub(super) fn demand(image: &Image) -> Result<u64, DecodeError> {
    Ok(image.frame_bytes()? as u64 + 8 * (u64::from(image.columns) + 2) * u64::from(image.samples))
}

/// Decodes one frame.
pub(super) fn decode(image: &Image, codestream: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut header = Header::read(image, codestream)?;
    let mut raster = Raster::new(image, header.precision)?;
    let mut missing = vec![true; usize::from(image.samples)];
    while missing.contains(&true) {
        let (scan, data) = header.next_scan(codestream)?;
        for component in &scan.components {
            // Again and again, a few bytes would take hours.
            if !std::mem::replace(&mut missing[*component], false) {
                return Err(DecodeError::Broken("a component in two scans"));
            }
        }
        let read = scan::decode(&scan, image, data, &mut raster)?;
        header.skip(read);
    }
    Ok(raster.into_bytes())
}
