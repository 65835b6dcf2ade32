//! Pixel decoding: one frame's codestream becomes native cells, little endian, row by row (PS3.5 sections 8.2 and A.4).
//!
//! Pure: values in, values out. The attributes are what counts: the codestream must agree with them before anything is
//! allocated, so that no codestream asks for memory on its own word, and a frame is at most [`MAX_FRAME_BYTES`] long. What
//! decoding it takes is known before it begins, and bounded for one frame and for all at one time ([`MAX_DECODING_BYTES`]).
//! Each decode runs in a thread of its own with a known stack: a panic in a codec is an error of that frame and of
//! nothing else. Who decodes many frames at once limits how many (the courier's `Decoding` does).

mod fragments;
mod image;
mod jpeg;
mod jpeg2000;
mod jpeg_ls;
mod raster;
mod rle;
mod room;
#[cfg(test)]
pub(in crate::dicom) mod tests;

use super::uid::TransferSyntaxUid;
pub(in crate::dicom) use fragments::Ends;
pub use fragments::{FragmentError, Frames};
pub use image::{Image, ImageError, Photometric};
use raster::Raster;
pub use room::MAX_DECODING_BYTES;

/// The longest native frame that is decoded: 256 MiB, twice the largest mammogram or whole-slide tile in use.
pub const MAX_FRAME_BYTES: usize = 256 * 1024 * 1024;
/// The stack of the thread that decodes; the decoders do not recurse by the input.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// Encapsulated Uncompressed Explicit VR Little Endian: frames in fragments, their cells as they are (PS3.5 section A.4.11).
pub const UNCOMPRESSED: &str = "1.2.840.10008.1.2.1.98";

/// One decoded frame: `rows` times `columns` times `samples` cells of Bits Allocated, the samples of a pixel side by
/// side (Planar Configuration 0), but for [`UNCOMPRESSED`].
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// The cells, little endian.
    pub bytes: Vec<u8>,
    /// Their Photometric Interpretation (0028,0004).
    pub photometric: Photometric,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({} bytes, {})", self.bytes.len(), self.photometric.as_str())
    }
}

/// Why a frame cannot be decoded. The texts hold nothing of a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is no decoder here for the transfer syntax.
    #[error("there is no decoder for this transfer syntax")]
    Syntax,
    /// The attributes do not describe an image that can be decoded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The codestream and the attributes do not agree.
    #[error("the codestream and the attributes do not agree on the {0}")]
    Disagree(&'static str),
    /// The codestream uses a process that the decoder does not know.
    #[error("the codestream uses {0}, which the decoder does not know")]
    Process(&'static str),
    /// The codestream ends before its image does.
    #[error("the codestream is cut short")]
    Truncated,
    /// The codestream is broken.
    #[error("the codestream is broken: {0}")]
    Broken(&'static str),
    /// It would take more memory than [`MAX_DECODING_BYTES`].
    #[error("decoding this frame would take {0} bytes of memory, more than is given to all frames together")]
    TooMuch(u64),
    /// The decoder itself failed.
    #[error("the decoder failed on this codestream")]
    Failed,
}

/// Which decoder a transfer syntax asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    /// JPEG with Huffman coding: baseline, extended, lossless (PS3.5 section A.4.1; ITU-T T.81).
    Jpeg,
    /// JPEG-LS (PS3.5 section A.4.3; ITU-T T.87).
    JpegLs,
    /// JPEG 2000 part 1 (PS3.5 section A.4.4; ITU-T T.800).
    Jpeg2000,
    /// RLE (PS3.5 annex G).
    Rle,
    /// Native cells in a fragment (PS3.5 section A.4.11).
    Uncompressed,
}

impl Codec {
    fn of(syntax: &TransferSyntaxUid) -> Option<Self> {
        match syntax.as_str() {
            "1.2.840.10008.1.2.4.50"
            | "1.2.840.10008.1.2.4.51"
            | "1.2.840.10008.1.2.4.57"
            | "1.2.840.10008.1.2.4.70" => Some(Self::Jpeg),
            "1.2.840.10008.1.2.4.80" | "1.2.840.10008.1.2.4.81" => Some(Self::JpegLs),
            "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => Some(Self::Jpeg2000),
            "1.2.840.10008.1.2.5" => Some(Self::Rle),
            UNCOMPRESSED => Some(Self::Uncompressed),
            _ => None,
        }
    }
}

/// Tells whether frames in this encapsulated transfer syntax can be decoded here.
pub fn is_decodable(syntax: &TransferSyntaxUid) -> bool {
    Codec::of(syntax).is_some()
}

/// Tells whether images in this transfer syntax have, or may have, undergone lossy compression (PS3.5 section 10.1,
/// PS3.6 table A-1). One that is not known does not count.
pub fn is_lossy(syntax: &TransferSyntaxUid) -> bool {
    let Some(last) = syntax.as_str().strip_prefix("1.2.840.10008.1.2.4.") else { return false };
    // JPEG baseline, extended and the retired lossy processes; JPEG-LS near-lossless; JPEG 2000; JPIP; MPEG-2, MPEG-4,
    // HEVC; JPEG XL recompressed JPEG and JPEG XL; HTJ2K; JPIP HTJ2K.
    matches!(last, "50" | "51" | "52" | "53" | "54" | "55" | "56" | "59" | "60" | "61" | "62" | "63" | "64")
        || matches!(last, "81" | "91" | "93" | "94" | "95" | "203" | "204" | "205" | "111" | "112")
        || (last.len() == 3 && last.starts_with("10"))
        || last.strip_suffix(".1").is_some_and(|last| last.len() == 3 && last.starts_with("10"))
}

/// The Photometric Interpretation (0028,0004) that the frames of an image have once they are decoded: known before the
/// first of them is.
pub fn decoded_photometric(syntax: &TransferSyntaxUid, image: &Image) -> Photometric {
    let ybr = matches!(image.photometric, Photometric::YbrFull | Photometric::YbrFull422);
    match (Codec::of(syntax), image.samples) {
        // Whatever the attribute says, the codestream tells whether there is a transform, and it is undone. But undoing it rounds:
        // what was compressed without loss stays as it was (PS3.5 section 8.2.1).
        (Some(Codec::Jpeg), 3) if is_lossy(syntax) || !ybr => Photometric::Rgb,
        (Some(Codec::Jpeg2000), 3) if image.photometric != Photometric::YbrFull => Photometric::Rgb,
        // Out of these come three whole samples a pixel, which native YBR_FULL_422 does not have (PS3.3 section C.7.6.3.1.2).
        (Some(Codec::Jpeg | Codec::Rle | Codec::JpegLs), 3) if ybr => Photometric::YbrFull,
        _ => image.photometric,
    }
}

/// Decodes one frame. `codestream` is all of its fragments together; what follows its end is padding.
///
/// The cells are what the codestream holds, in cells of Bits Allocated (0028,0100), sign-extended if Pixel
/// Representation (0028,0103) says signed. Blocks the caller for as long as it takes, and until there is memory: some seconds
/// for a large JPEG 2000 frame.
pub fn decode(syntax: &TransferSyntaxUid, image: &Image, codestream: &[u8]) -> Result<Frame, DecodeError> {
    let codec = Codec::of(syntax).ok_or(DecodeError::Syntax)?;
    let length = image.frame_bytes()?;
    let photometric = decoded_photometric(syntax, image);
    let _room = room::take(match codec {
        Codec::Jpeg => jpeg::demand(image)?,
        Codec::JpegLs => jpeg_ls::demand(image)?,
        Codec::Jpeg2000 => jpeg2000::demand(image, codestream)?,
        Codec::Rle | Codec::Uncompressed => length as u64,
    })?;
    let bytes = isolated(|| match codec {
        Codec::Jpeg => jpeg::decode(image, codestream, photometric == Photometric::YbrFull),
        Codec::JpegLs => jpeg_ls::decode(image, codestream),
        Codec::Jpeg2000 => jpeg2000::decode(image, codestream),
        Codec::Rle => rle::decode(image, codestream),
        Codec::Uncompressed => uncompressed(length, codestream),
    })?;
    if bytes.len() != length {
        return Err(DecodeError::Failed);
    }
    // Called YBR_FULL and decoded to RGB it would have the wrong colours, and so would it the other way round.
    let contradicts = match image.photometric {
        Photometric::YbrFull => jpeg2000::is_mixed(codestream),
        Photometric::YbrFull422 => !jpeg2000::is_mixed(codestream),
        _ => false,
    };
    if codec == Codec::Jpeg2000 && image.samples == 3 && contradicts {
        return Err(DecodeError::Disagree("Photometric Interpretation"));
    }
    Ok(Frame { bytes, photometric })
}

/// Cells that are not compressed, and nothing behind them but padding.
fn uncompressed(length: usize, codestream: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (cells, padding) = codestream.split_at_checked(length).ok_or(DecodeError::Truncated)?;
    match padding.iter().all(|byte| *byte == 0) {
        true => Ok(cells.to_vec()),
        false => Err(DecodeError::Disagree("bytes of a frame")),
    }
}

/// Runs a decoder where its panic reaches nobody.
fn isolated<T: Send>(decode: impl FnOnce() -> Result<T, DecodeError> + Send) -> Result<T, DecodeError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("decode".into()).stack_size(STACK_BYTES);
        let running = thread.spawn_scoped(scope, decode).map_err(|_| DecodeError::Failed)?;
        running.join().unwrap_or(Err(DecodeError::Failed))
    })
}
