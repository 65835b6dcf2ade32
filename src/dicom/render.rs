//! Rendering: the cells of one frame become a picture that any program can show (PS3.3 section C.11.2; PS3.18 section 8.3.5).
//!
//! Pure: values in, values out. Grayscale passes the modality transformation, then the window that was asked for, the object's
//! own first window, its VOI lookup table, or the range of the frame. No overlay and no presentation state is drawn, and no text.

mod colour;
mod encode;
mod gray;
mod look;
mod scale;
mod segments;
#[cfg(test)]
mod tests;

pub use encode::{EncodeError, Kind};
pub use look::{Function, Look, LookSurveyor, Window};
pub use scale::Viewport;

use super::layout::Layout;
use super::pixels::{Image, Photometric, UNCOMPRESSED};
use super::uid::TransferSyntaxUid;

/// The longest frame that is rendered, and the longest picture before it is a file: 64 MiB, the largest mammogram in use.
pub const MAX_BYTES: u64 = 64 << 20;

/// Why a frame cannot be rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Something of it is not known here.
    #[error("a picture cannot be made of {0}")]
    Unknown(&'static str),
    /// The cells are not as many as the attributes say.
    #[error("the cells of the frame are not as many as its attributes say")]
    Short,
    /// It is longer than [`MAX_BYTES`].
    #[error("the frame is too large to be rendered")]
    TooLarge,
    /// The region that was asked for is not on the image.
    #[error("the region of the viewport is not on the image")]
    Region,
}

/// Rows of pixels of one (gray) or three (RGB) bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes of a pixel: 1 or 3.
    pub channels: usize,
    /// The bytes, row by row.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {}, {} channels)", self.width, self.height, self.channels)
    }
}

/// What is asked of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Wish {
    /// This window instead of the object's, in the units after the modality transformation.
    pub window: Option<Window>,
    /// At most so large, and of which part.
    pub viewport: Option<Viewport>,
}

/// Where the cells of a frame come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cells {
    /// They lie as they are stored, in fragments or not.
    Native,
    /// They were packed by bytes: each is the cell that was there, and the samples of a pixel are side by side.
    Unpacked,
    /// They were decoded: the stored bits are the lowest, and the samples of a pixel are side by side.
    Decoded,
}

impl Cells {
    /// Those of a frame that comes out of fragments in this transfer syntax.
    pub fn of_fragments(syntax: &TransferSyntaxUid) -> Self {
        match syntax.as_str() {
            UNCOMPRESSED => Self::Native,
            // RLE Lossless (PS3.5 annex G).
            "1.2.840.10008.1.2.5" => Self::Unpacked,
            _ => Self::Decoded,
        }
    }
}

/// Renders one native frame. `photometric` is that of the cells, which decoding may have changed.
pub fn render(
    layout: &Layout,
    look: &Look,
    photometric: Photometric,
    come: Cells,
    cells: &[u8],
    wish: &Wish,
) -> Result<Picture, RenderError> {
    let high_bit = layout.image.high_bit.filter(|_| come != Cells::Decoded);
    let image = Image { photometric, high_bit, ..layout.image };
    let channels = if image.samples == 1 && photometric != Photometric::PaletteColor { 1 } else { 3 };
    let made = image.pixels() as u64 * channels;
    if made == 0 || made > MAX_BYTES || cells.len() as u64 > MAX_BYTES {
        return Err(RenderError::TooLarge);
    }
    let planar = layout.planar && come == Cells::Native;
    let picture = match (photometric, image.samples) {
        (Photometric::Monochrome1 | Photometric::Monochrome2, 1) => {
            gray::gray(&image, look, layout.float, cells, wish.window)?
        }
        (Photometric::PaletteColor, 1) => colour::palette(&image, look, cells)?,
        (Photometric::Rgb | Photometric::YbrFull | Photometric::YbrRct | Photometric::YbrIct, 3) => {
            colour::samples(&image, planar, cells)?
        }
        // Three whole samples a pixel, whatever they are called.
        (Photometric::YbrFull422, 3) if come != Cells::Native || cells.len() >= image.pixels() * 3 => {
            colour::samples(&Image { photometric: Photometric::YbrFull, ..image }, planar, cells)?
        }
        (Photometric::YbrFull422, 3) => colour::shared_chroma(&image, cells)?,
        _ => return Err(RenderError::Unknown("this Photometric Interpretation")),
    };
    match wish.viewport {
        Some(viewport) => scale::fitted(&picture, viewport, MAX_BYTES),
        None => Ok(picture),
    }
}

/// Bits Stored; Bits Allocated where it cannot be true.
fn stored_bits(image: &Image) -> u16 {
    match image.bits_stored {
        bits if bits == 0 || bits > image.bits_allocated => image.bits_allocated,
        bits => bits,
    }
}

/// The value of each cell of a frame of whole bytes, in order.
fn values<'a>(
    image: &Image,
    cells: &'a [u8],
    count: usize,
) -> Result<impl Iterator<Item = i64> + Clone + 'a, RenderError> {
    let width = match image.bits_allocated {
        bits @ (8 | 16 | 24 | 32) => usize::from(bits / 8),
        _ => return Err(RenderError::Unknown("cells of this size")),
    };
    let cells = count.checked_mul(width).and_then(|bytes| cells.get(..bytes)).ok_or(RenderError::Short)?;
    let stored = stored_bits(image);
    // What lies above High Bit, and below the stored bits, is not the value's: overlays, in old objects.
    let (below, spare, signed) = (image.bits_below(), 64 - u32::from(stored), image.signed);
    Ok(cells.chunks_exact(width).map(move |cell| {
        let whole = cell.iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte)) >> below << spare;
        if signed { whole.cast_signed() >> spare } else { (whole >> spare).cast_signed() }
    }))
}
