//! The attributes that say how the cells of an image are laid out (PS3.3 section C.7.6.3).

use super::MAX_FRAME_BYTES;
use crate::dicom::tag::Tag;

const SAMPLES_PER_PIXEL: Tag = Tag::new(0x0028, 0x0002);
const PHOTOMETRIC_INTERPRETATION: Tag = Tag::new(0x0028, 0x0004);
const NUMBER_OF_FRAMES: Tag = Tag::new(0x0028, 0x0008);
const ROWS: Tag = Tag::new(0x0028, 0x0010);
const COLUMNS: Tag = Tag::new(0x0028, 0x0011);
const BITS_ALLOCATED: Tag = Tag::new(0x0028, 0x0100);
const BITS_STORED: Tag = Tag::new(0x0028, 0x0101);
const HIGH_BIT: Tag = Tag::new(0x0028, 0x0102);
const PIXEL_REPRESENTATION: Tag = Tag::new(0x0028, 0x0103);

/// Photometric Interpretation (0028,0004), as far as decoding must tell them apart (PS3.3 section C.7.6.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Photometric {
    /// MONOCHROME1.
    Monochrome1,
    /// MONOCHROME2.
    Monochrome2,
    /// PALETTE COLOR.
    PaletteColor,
    /// RGB.
    Rgb,
    /// YBR_FULL.
    YbrFull,
    /// YBR_FULL_422.
    YbrFull422,
    /// YBR_RCT: the reversible transform of JPEG 2000.
    YbrRct,
    /// YBR_ICT: the irreversible transform of JPEG 2000.
    YbrIct,
    /// Any other, retired ones included: it stays as it is.
    Other,
}

impl Photometric {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Monochrome1, "MONOCHROME1"),
        (Self::Monochrome2, "MONOCHROME2"),
        (Self::PaletteColor, "PALETTE COLOR"),
        (Self::Rgb, "RGB"),
        (Self::YbrFull, "YBR_FULL"),
        (Self::YbrFull422, "YBR_FULL_422"),
        (Self::YbrRct, "YBR_RCT"),
        (Self::YbrIct, "YBR_ICT"),
    ];

    /// By the bytes of the attribute, padding included.
    pub fn parse(value: &[u8]) -> Self {
        let value = value.trim_ascii().strip_suffix(&[0]).unwrap_or(value.trim_ascii()).trim_ascii();
        Self::ALL.iter().find(|(_, name)| name.as_bytes() == value).map_or(Self::Other, |(photometric, _)| *photometric)
    }

    /// The attribute's value; `?` for [`Photometric::Other`].
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(photometric, _)| *photometric == self).map_or("?", |(_, name)| name)
    }
}

/// What the attributes say of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Rows (0028,0010).
    pub rows: u16,
    /// Columns (0028,0011).
    pub columns: u16,
    /// Samples per Pixel (0028,0002).
    pub samples: u16,
    /// Bits Allocated (0028,0100).
    pub bits_allocated: u16,
    /// Bits Stored (0028,0101).
    pub bits_stored: u16,
    /// High Bit (0028,0102), if it is there.
    pub high_bit: Option<u16>,
    /// Whether Pixel Representation (0028,0103) says two's complement.
    pub signed: bool,
    /// Photometric Interpretation (0028,0004).
    pub photometric: Photometric,
    /// Number of Frames (0028,0008); 1 if the attribute is absent.
    pub frames: u32,
}

/// Why the attributes do not describe an image that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There are no pixels.
    #[error("the image has no rows, no columns, no samples or no frames")]
    Empty,
    /// The cells are not whole bytes, or too wide.
    #[error("Bits Allocated is {0}, and compressed cells have 8, 16, 24, 32, 40, 48, 56 or 64")]
    Cells(u16),
    /// One frame is longer than [`MAX_FRAME_BYTES`].
    #[error("one frame would have {0} bytes, more than is decoded at once")]
    TooLarge(u64),
}

impl Image {
    /// One of which nothing has been read yet.
    pub fn unknown() -> Self {
        Self {
            rows: 0,
            columns: 0,
            samples: 1,
            bits_allocated: 0,
            bits_stored: 0,
            high_bit: None,
            signed: false,
            photometric: Photometric::Other,
            frames: 1,
        }
    }

    /// Tells whether an attribute is one of those that [`Self::read`] knows.
    pub fn reads(tag: Tag) -> bool {
        matches!(
            tag,
            SAMPLES_PER_PIXEL
                | PHOTOMETRIC_INTERPRETATION
                | NUMBER_OF_FRAMES
                | ROWS
                | COLUMNS
                | BITS_ALLOCATED
                | BITS_STORED
                | HIGH_BIT
                | PIXEL_REPRESENTATION
        )
    }

    /// Takes an attribute of the data set, little endian; one that does not describe the cells changes nothing.
    pub fn read(&mut self, tag: Tag, value: &[u8]) {
        let short = || value.first_chunk::<2>().map(|short| u16::from_le_bytes(*short)).unwrap_or_default();
        match tag {
            SAMPLES_PER_PIXEL => self.samples = short(),
            PHOTOMETRIC_INTERPRETATION => self.photometric = Photometric::parse(value),
            NUMBER_OF_FRAMES => self.frames = whole_number(value),
            ROWS => self.rows = short(),
            COLUMNS => self.columns = short(),
            BITS_ALLOCATED => self.bits_allocated = short(),
            BITS_STORED => self.bits_stored = short(),
            HIGH_BIT => self.high_bit = value.first_chunk::<2>().map(|short| u16::from_le_bytes(*short)),
            PIXEL_REPRESENTATION => self.signed = short() == 1,
            _ => {}
        }
    }

    /// Bits of a native cell below the stored ones; none where High Bit cannot be true. Now it must be Bits Stored less one (PS3.5
    /// section 8.1.1), which old objects do not keep to.
    pub fn bits_below(&self) -> u16 {
        let below = self.high_bit.and_then(|high| high.checked_add(1)?.checked_sub(self.bits_stored));
        below.filter(|below| self.bits_stored > 0 && below + self.bits_stored <= self.bits_allocated).unwrap_or(0)
    }

    /// Bytes of one cell.
    pub fn cell_bytes(&self) -> Result<usize, ImageError> {
        match self.bits_allocated {
            bits @ 8..=64 if bits.is_multiple_of(8) => Ok(usize::from(bits / 8)),
            bits => Err(ImageError::Cells(bits)),
        }
    }

    /// Pixels of one frame.
    pub fn pixels(&self) -> usize {
        usize::from(self.rows) * usize::from(self.columns)
    }

    /// Bytes of one native frame, within [`MAX_FRAME_BYTES`].
    pub fn frame_bytes(&self) -> Result<usize, ImageError> {
        let cell = self.cell_bytes()?;
        // 16 bits each, and at most eight bytes: it fits.
        let bytes = self.pixels() as u64 * u64::from(self.samples) * cell as u64;
        match usize::try_from(bytes) {
            _ if bytes == 0 || self.frames == 0 => Err(ImageError::Empty),
            Ok(bytes) if bytes <= MAX_FRAME_BYTES => Ok(bytes),
            _ => Err(ImageError::TooLarge(bytes)),
        }
    }

    /// Bytes of all native frames, the padding to even length not counted.
    pub fn native_bytes(&self) -> Result<u64, ImageError> {
        Ok(self.frame_bytes()? as u64 * u64::from(self.frames))
    }
}

/// An Integer String; 0, which is no number of frames, for anything else. An empty value counts as absent, and so does the 0 that some
/// write where there is one frame.
fn whole_number(value: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(value);
    match text.trim_matches([' ', '\0']) {
        "" => 1,
        text => text.trim_start_matches('+').parse().map_or(0, |frames: u32| frames.max(1)),
    }
}
