//! From components to pixels: chroma is brought to full size, Y Cb Cr becomes RGB (ITU-T T.871).

use super::super::{Image, Raster};
use super::Plane;
use super::markers::Header;

/// Puts all pixels.
pub(super) fn put(header: &Header, image: &Image, planes: &[Plane], raster: &mut Raster) {
    let columns = usize::from(image.columns);
    let convert = header.ybr && planes.len() == 3;
    let mut lines = vec![vec![0u16; columns]; planes.len()];
    for row in 0..usize::from(image.rows) {
        for ((line, plane), index) in lines.iter_mut().zip(planes).zip(0..) {
            Source::of(header, plane, index).line(row, line);
        }
        for column in 0..columns {
            let pixel = row * columns + column;
            let mut values = [0i32; 3];
            for (value, line) in values.iter_mut().zip(&lines) {
                *value = i32::from(line[column]);
            }
            if convert {
                values = rgb(values, header.precision);
            }
            for (sample, value) in values.iter().take(planes.len()).enumerate() {
                raster.put(pixel, sample, *value);
            }
        }
    }
}

/// ITU-T T.871 section 7, in units of 1/65536.
fn rgb([y, cb, cr]: [i32; 3], precision: u32) -> [i32; 3] {
    let (centre, highest) = (1 << (precision - 1), (1 << precision) - 1);
    let (cb, cr) = (i64::from(cb - centre), i64::from(cr - centre));
    let rounded = |sum: i64| (y + ((sum + 32_768) >> 16) as i32).clamp(0, highest);
    [rounded(91_881 * cr), rounded(-22_554 * cb - 46_802 * cr), rounded(116_130 * cb)]
}

/// A component, and how much smaller it is than the image.
struct Source<'a> {
    plane: &'a Plane,
    width: usize,
    height: usize,
    across: usize,
    down: usize,
}

impl<'a> Source<'a> {
    fn of(header: &Header, plane: &'a Plane, index: usize) -> Self {
        let component = &header.components[index];
        let (width, height) = header.extent(component);
        let (h, v) = header.factors();
        Self { plane, width, height, across: h / component.h, down: v / component.v }
    }

    /// One line of the image. Halved chroma is centred between the pixels (JFIF), so each pixel takes three quarters of
    /// the nearer value and one of the other; any other ratio is repeated.
    fn line(&self, row: usize, out: &mut [u16]) {
        let near = (row / self.down).min(self.height - 1);
        let far = match self.down {
            2 if row.is_multiple_of(2) => near.saturating_sub(1),
            2 => (near + 1).min(self.height - 1),
            _ => near,
        };
        let blend = self.down == 2 && self.across == 2;
        let value = |row: usize, column: usize| u32::from(self.plane.values[row * self.plane.width + column]);
        // In sixteenths if both directions are halved, else in quarters.
        let at = |column: usize| match blend {
            true => 3 * value(near, column) + value(far, column),
            false => value(near, column),
        };
        for (column, out) in out.iter_mut().enumerate() {
            let source = (column / self.across).min(self.width - 1);
            let right = !column.is_multiple_of(2);
            let other = if right { (source + 1).min(self.width - 1) } else { source.saturating_sub(1) };
            *out = match (self.across, blend) {
                (2, true) => ((3 * at(source) + at(other) + if right { 7 } else { 8 }) >> 4) as u16,
                (2, false) => ((3 * at(source) + at(other) + if right { 2 } else { 1 }) >> 2) as u16,
                _ => at(source) as u16,
            };
        }
    }
}
