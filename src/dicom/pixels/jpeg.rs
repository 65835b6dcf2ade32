//! JPEG decoding (ITU-T T.81): baseline, extended of 8 and 12 bits, and lossless, all with Huffman coding.
//!
//! Our own, since no kept library has the 12-bit and lossless processes that DICOM needs. Progressive, hierarchical and
//! arithmetic coding are refused: DICOM retired them.

mod colour;
mod dct;
mod entropy;
mod lossless;
mod markers;
mod sequential;

use super::{DecodeError, Image, Raster};
use markers::{Header, Process, Scan};

/// The decoded values of one component, row by row; rows and columns may be more than the image needs.
#[derive(Debug, Clone)]
struct Plane {
    values: Vec<u16>,
    width: usize,
}

/// Bytes of memory that decoding takes: the frame, and its planes in whole coded units, which are 32 columns and rows at most.
pub(super) fn demand(image: &Image) -> Result<u64, DecodeError> {
    let [columns, rows] = [image.columns, image.rows].map(|length| u64::from(length) + 32);
    Ok(image.frame_bytes()? as u64 + 2 * columns * rows * u64::from(image.samples))
}

/// Decodes one frame. A codestream that has less data than its image is an error; what follows the last scan is not
/// looked at. With `ybr` the components are to stay Y, Cb, Cr; else they become RGB if they are that.
pub(super) fn decode(image: &Image, codestream: &[u8], ybr: bool) -> Result<Vec<u8>, DecodeError> {
    let mut header = Header::read(image, codestream)?;
    if ybr && !std::mem::replace(&mut header.ybr, false) {
        return Err(DecodeError::Disagree("Photometric Interpretation"));
    }
    let mut planes = header.planes(image)?;
    let mut missing: Vec<bool> = vec![true; planes.len()];
    let mut rest = codestream.get(header.length..).ok_or(DecodeError::Truncated)?;
    while missing.contains(&true) {
        let scan = Scan::read(&mut header, &mut rest)?;
        for component in &scan.components {
            // Sequential and lossless processes code each once (ITU-T T.81 section 4.11).
            if !std::mem::replace(&mut missing[component.index], false) {
                return Err(DecodeError::Broken("a component in two scans"));
            }
        }
        match header.process {
            Process::Sequential => sequential::scan(&header, &scan, &mut rest, &mut planes)?,
            Process::Lossless => lossless::scan(&header, &scan, &mut rest, &mut planes)?,
        }
    }
    let mut raster = Raster::new(image, header.precision)?;
    colour::put(&header, image, &planes, &mut raster);
    Ok(raster.into_bytes())
}
