//! The samples of a JPEG-LS scan, line by line (ITU-T T.87 annex A).

use super::super::{DecodeError, Image, Raster};
use super::bits::Bits;
use super::contexts::Contexts;
use super::header::{Interleave, Scan};

/// Bits of the length of a run, by how runs went so far (ITU-T T.87 section A.2.1).
const RUN_BITS: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// A component's line and the one before it, each with a sample more on both sides.
struct Lines {
    above: Vec<i32>,
    line: Vec<i32>,
}

/// The samples around one: left, above, above left, above right.
#[derive(Clone, Copy)]
struct Around {
    a: i32,
    b: i32,
    c: i32,
    d: i32,
}

/// Decodes a scan and tells how many bytes of `data` it took.
pub(super) fn decode(scan: &Scan, image: &Image, data: &[u8], raster: &mut Raster) -> Result<usize, DecodeError> {
    let (columns, rows) = (usize::from(image.columns), usize::from(image.rows));
    let count = scan.components.len();
    let mut bits = Bits::new(data);
    let mut contexts = Contexts::new(scan.parameters);
    let empty = || Lines { above: vec![0; columns + 2], line: vec![0; columns + 2] };
    let mut lines: Vec<Lines> = (0..count).map(|_| empty()).collect();
    // Interleaved by samples the components share their runs.
    let mut runs = vec![0usize; count];
    for row in 0..rows {
        for lines in &mut lines {
            lines.next();
        }
        if scan.interleave == Interleave::Sample {
            together(&mut bits, &mut contexts, &mut lines, columns, &mut runs[0])?;
        } else {
            for (lines, run) in lines.iter_mut().zip(&mut runs) {
                together(&mut bits, &mut contexts, std::slice::from_mut(lines), columns, run)?;
            }
        }
        for (component, lines) in scan.components.iter().zip(&lines) {
            for (column, value) in lines.line[1..=columns].iter().enumerate() {
                raster.put(row * columns + column, *component, *value);
            }
        }
    }
    Ok(bits.taken())
}

/// Decodes one line of components whose samples are interleaved; usually of one.
fn together(
    bits: &mut Bits<'_>,
    contexts: &mut Contexts,
    lines: &mut [Lines],
    columns: usize,
    run: &mut usize,
) -> Result<(), DecodeError> {
    let mut column = 1;
    while column <= columns {
        let flat = lines.iter().all(|lines| lines.around(column).gradients().iter().all(|g| contexts.is_near(*g)));
        if !flat {
            for lines in lines.iter_mut() {
                let around = lines.around(column);
                let context = contexts.context(around.gradients());
                lines.line[column] = contexts.regular(bits, context, around.median())?;
            }
            column += 1;
            continue;
        }
        let length = run_length(bits, columns + 1 - column, run)?;
        for lines in lines.iter_mut() {
            let left = lines.line[column - 1];
            lines.line[column..column + length].fill(left);
        }
        column += length;
        if column > columns {
            break;
        }
        let several = lines.len() > 1;
        for lines in lines.iter_mut() {
            let Around { a, b, .. } = lines.around(column);
            let equal = !several && contexts.is_near(a - b);
            lines.line[column] = contexts.interrupted(bits, equal, (a, b), RUN_BITS[*run])?;
        }
        *run = run.saturating_sub(1);
        column += 1;
    }
    Ok(())
}

/// The length of a run, of which `left` samples are left in the line (ITU-T T.87 section A.7.1).
fn run_length(bits: &mut Bits<'_>, left: usize, run: &mut usize) -> Result<usize, DecodeError> {
    let mut length = 0;
    while bits.bit()? {
        let whole = 1usize << RUN_BITS[*run];
        let taken = whole.min(left - length);
        length += taken;
        // A piece that the line cut short says nothing of runs.
        if taken == whole {
            *run = (*run + 1).min(31);
        }
        if length == left {
            return Ok(length);
        }
    }
    length += bits.number(RUN_BITS[*run])? as usize;
    if length >= left {
        return Err(DecodeError::Broken("a run longer than its line"));
    }
    Ok(length)
}

impl Lines {
    /// Goes to the next line.
    fn next(&mut self) {
        std::mem::swap(&mut self.above, &mut self.line);
        let last = self.above.len() - 1;
        self.above[last] = self.above[last - 1];
        self.line[0] = self.above[1];
    }

    fn around(&self, column: usize) -> Around {
        Around { a: self.line[column - 1], b: self.above[column], c: self.above[column - 1], d: self.above[column + 1] }
    }
}

impl Around {
    fn gradients(self) -> [i32; 3] {
        [self.d - self.b, self.b - self.c, self.c - self.a]
    }

    /// The median edge detector (ITU-T T.87 section A.4.1).
    fn median(self) -> i32 {
        let Self { a, b, c, .. } = self;
        if c >= a.max(b) {
            a.min(b)
        } else if c <= a.min(b) {
            a.max(b)
        } else {
            a + b - c
        }
    }
}
