//! Colour: samples side by side or in planes, chroma, palettes (PS3.3 section C.7.6.3.1.2).

use super::look::Look;
use super::{Picture, RenderError, stored_bits, values};
use crate::dicom::pixels::{Image, Photometric};

/// Renders three samples a pixel.
pub(super) fn samples(image: &Image, planar: bool, cells: &[u8]) -> Result<Picture, RenderError> {
    let pixels = image.pixels();
    let shift = stored_bits(image).saturating_sub(8);
    let all = values(image, cells, pixels * 3)?.map(|value| (value >> shift) as u8);
    let ybr = image.photometric == Photometric::YbrFull;
    let mut bytes = Vec::with_capacity(pixels * 3);
    let mut push = |own: [u8; 3]| bytes.extend_from_slice(&if ybr { rgb(own) } else { own });
    if planar {
        let planes = all.clone().zip(all.clone().skip(pixels)).zip(all.skip(pixels * 2));
        planes.for_each(|((one, two), three)| push([one, two, three]));
    } else {
        let mut all = all;
        while let (Some(one), Some(two), Some(three)) = (all.next(), all.next(), all.next()) {
            push([one, two, three]);
        }
    }
    Ok(coloured(image, bytes))
}

/// Renders native YBR_FULL_422: two pixels have a luminance each, and share their chroma.
pub(super) fn shared_chroma(image: &Image, cells: &[u8]) -> Result<Picture, RenderError> {
    if image.bits_allocated != 8 || !image.columns.is_multiple_of(2) {
        return Err(RenderError::Unknown("shared chroma of this size"));
    }
    let cells = cells.get(..image.pixels() * 2).ok_or(RenderError::Short)?;
    let pairs =
        cells.chunks_exact(4).flat_map(|four| [rgb([four[0], four[2], four[3]]), rgb([four[1], four[2], four[3]])]);
    Ok(coloured(image, pairs.flatten().collect()))
}

/// Renders PALETTE COLOR.
pub(super) fn palette(image: &Image, look: &Look, cells: &[u8]) -> Result<Picture, RenderError> {
    let [Some(red), Some(green), Some(blue)] = &look.palette else {
        return Err(RenderError::Unknown("a palette that is not there, or is not one"));
    };
    let mut bytes = Vec::with_capacity(image.pixels() * 3);
    for value in values(image, cells, image.pixels())? {
        let shade = |table: &super::look::Lut| (table.share(value as f64) * 255.0).round() as u8;
        bytes.extend_from_slice(&[shade(red), shade(green), shade(blue)]);
    }
    Ok(coloured(image, bytes))
}

fn coloured(image: &Image, bytes: Vec<u8>) -> Picture {
    Picture { width: image.columns.into(), height: image.rows.into(), channels: 3, bytes }
}

/// ITU-R BT.601 over the full range (PS3.3 section C.7.6.3.1.2).
fn rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|v| v.round().clamp(0.0, 255.0) as u8)
}
