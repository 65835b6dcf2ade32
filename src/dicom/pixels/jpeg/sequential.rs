//! One scan of sequential JPEG (ITU-T T.81 section F.2): blocks of coefficients become blocks of samples.

use super::super::DecodeError;
use super::Plane;
use super::dct;
use super::entropy::{Bits, Table};
use super::markers::{Header, Scan, ScanComponent};

/// Where each coefficient of the zigzag order stands (ITU-T T.81 figure 5).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// What decoding a component's blocks needs.
struct Blocks<'a> {
    dc: &'a Table,
    ac: &'a Table,
    quantization: &'a [u16; 64],
    /// The last DC coefficient.
    last: i32,
    precision: u32,
}

pub(super) fn scan(header: &Header, scan: &Scan, rest: &mut &[u8], planes: &mut [Plane]) -> Result<(), DecodeError> {
    let mut blocks = Vec::new();
    for component in &scan.components {
        blocks.push(Blocks::of(header, component)?);
    }
    let mut bits = Bits::new(rest);
    let alone = scan.components.len() == 1;
    let (h, v) = header.factors();
    // A component alone in its scan has the blocks that it needs; several have whole coded units (section A.2).
    let (across, down) = match scan.components.first() {
        Some(only) if alone => {
            let (width, height) = header.extent(&header.components[only.index]);
            (width.div_ceil(8), height.div_ceil(8))
        }
        _ => (header.columns.div_ceil(8 * h), header.rows.div_ceil(8 * v)),
    };
    for unit in 0..across * down {
        if header.restart > 0 && unit > 0 && unit % header.restart == 0 {
            bits.restart()?;
            blocks.iter_mut().for_each(|blocks| blocks.last = 0);
        }
        for (part, blocks) in scan.components.iter().zip(&mut blocks) {
            let component = &header.components[part.index];
            let (wide, high) = if alone { (1, 1) } else { (component.h, component.v) };
            let plane = &mut planes[part.index];
            for block in 0..wide * high {
                let column = (unit % across * wide + block % wide) * 8;
                let row = (unit / across * high + block / wide) * 8;
                let samples = blocks.next(&mut bits)?;
                for (line, samples) in samples.chunks_exact(8).enumerate() {
                    let at = (row + line) * plane.width + column;
                    plane.values[at..at + 8].copy_from_slice(samples);
                }
            }
        }
    }
    *rest = bits.rest();
    Ok(())
}

impl<'a> Blocks<'a> {
    fn of(header: &'a Header, part: &ScanComponent) -> Result<Self, DecodeError> {
        let missing = DecodeError::Broken("a table is missing");
        let quantization = header.components[part.index].quantization;
        Ok(Self {
            dc: header.dc[part.dc].as_ref().ok_or(missing)?,
            ac: header.ac[part.ac].as_ref().ok_or(missing)?,
            quantization: header.quantization[quantization].as_ref().ok_or(missing)?,
            last: 0,
            precision: header.precision,
        })
    }

    /// The next block's samples.
    fn next(&mut self, bits: &mut Bits<'_>) -> Result<[u16; 64], DecodeError> {
        let mut coefficients = [0f32; 64];
        let length = bits.symbol(self.dc)?;
        self.last = self.last.wrapping_add(bits.value(length.into())?);
        coefficients[0] = self.last as f32 * f32::from(self.quantization[0]);
        let mut at = 1;
        let mut highest = 0;
        while at < 64 {
            let symbol = bits.symbol(self.ac)?;
            let (zeros, length) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            match (zeros, length) {
                (15, 0) => at += 16,
                (_, 0) => break,
                _ => {
                    at += zeros;
                    let value = bits.value(length)? as f32;
                    let quantization = self.quantization.get(at).ok_or(DecodeError::Broken("too many coefficients"))?;
                    coefficients[usize::from(ZIGZAG[at])] = value * f32::from(*quantization);
                    highest = at;
                    at += 1;
                }
            }
        }
        Ok(dct::inverse(&coefficients, highest == 0, self.precision))
    }
}
