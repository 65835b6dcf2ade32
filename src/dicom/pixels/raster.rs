//! The cells of one frame while it is decoded.

use super::{DecodeError, Image};

/// Cells of Bits Allocated, little endian, the samples of a pixel side by side.
pub(super) struct Raster {
    bytes: Vec<u8>,
    cell: usize,
    samples: usize,
    /// Bits of a value that count.
    precision: u32,
    /// Whether the highest of them is a sign, and is extended over the cell.
    signed: bool,
}

impl Raster {
    /// Room for one frame whose codestream has values of `precision` bits.
    pub(super) fn new(image: &Image, precision: u32) -> Result<Self, DecodeError> {
        if precision == 0 || precision > u32::from(image.bits_allocated) || precision > 32 {
            return Err(DecodeError::Disagree("bits of a sample"));
        }
        let bytes = vec![0; image.frame_bytes()?];
        let (cell, samples) = (image.cell_bytes()?, usize::from(image.samples));
        Ok(Self { bytes, cell, samples, precision, signed: image.signed })
    }

    /// Puts one sample of one pixel: the low bits of `value`, as many as the precision.
    pub(super) fn put(&mut self, pixel: usize, sample: usize, value: i32) {
        let spare = 64 - self.precision;
        let shifted = i64::from(value) << spare;
        let whole = if self.signed { shifted >> spare } else { ((shifted as u64) >> spare) as i64 };
        let at = (pixel * self.samples + sample) * self.cell;
        if let Some(cell) = self.bytes.get_mut(at..at + self.cell) {
            cell.copy_from_slice(&whole.to_le_bytes()[..self.cell]);
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
