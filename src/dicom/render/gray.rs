//! Grayscale: modality transformation, VOI transformation, polarity (PS3.3 sections C.11.1 and C.11.2).

use super::look::{Function, Look, Window};
use super::{Picture, RenderError, values};
use crate::dicom::pixels::{Image, Photometric};

/// Renders cells of one sample.
pub(super) fn gray(
    image: &Image,
    look: &Look,
    float: bool,
    cells: &[u8],
    asked: Option<Window>,
) -> Result<Picture, RenderError> {
    if float {
        return Err(RenderError::Unknown("floating point cells"));
    }
    let inverse = image.photometric == Photometric::Monochrome1;
    let shade = |gray: u8| if inverse { 255 - gray } else { gray };
    let (width, height) = (usize::from(image.columns), usize::from(image.rows));
    let bytes = match image.bits_allocated {
        1 => bits(cells, image.pixels())?.map(|bit| shade(if bit { 255 } else { 0 })).collect(),
        _ => {
            let stored = values(image, cells, image.pixels())?;
            let curve = Curve::of(look, asked, stored.clone());
            match image.bits_allocated {
                8 | 16 => {
                    // As many entries as there can be values: each is worked out once.
                    let (low, high) = stored.clone().fold((i64::MAX, i64::MIN), |(l, h), v| (l.min(v), h.max(v)));
                    let table: Vec<u8> = (low..=high).map(|value| shade(curve.at(look.modality(value)))).collect();
                    stored
                        .map(|value| {
                            usize::try_from(value - low).ok().and_then(|at| table.get(at)).copied().unwrap_or(0)
                        })
                        .collect()
                }
                _ => stored.map(|value| shade(curve.at(look.modality(value)))).collect(),
            }
        }
    };
    Ok(Picture { width, height, channels: 1, bytes })
}

/// Bits from the lowest of the first byte on (PS3.5 section 8.1.1).
fn bits(cells: &[u8], count: usize) -> Result<impl Iterator<Item = bool> + '_, RenderError> {
    let cells = cells.get(..count.div_ceil(8)).ok_or(RenderError::Short)?;
    Ok(cells.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).take(count))
}

/// From the value after the modality transformation to a shade.
enum Curve<'a> {
    Window(Window),
    Table(&'a super::look::Lut),
    Range(f64, f64),
}

impl<'a> Curve<'a> {
    fn of(look: &'a Look, asked: Option<Window>, stored: impl Iterator<Item = i64> + Clone) -> Self {
        match (asked.or(look.window()), &look.voi) {
            (Some(window), _) => Self::Window(window),
            (None, Some(table)) => Self::Table(table),
            (None, None) => {
                match range(look, stored.clone().filter(|value| !look.is_padding(*value))) {
                    (low, high) if low <= high => Self::Range(low, high),
                    // There is nothing but padding.
                    _ => {
                        let (low, high) = range(look, stored);
                        Self::Range(low, high)
                    }
                }
            }
        }
    }

    fn at(&self, value: f64) -> u8 {
        let share = match self {
            Self::Window(window) => share(*window, value),
            Self::Table(table) => table.share(value),
            Self::Range(low, high) if high > low => (value - low) / (high - low),
            Self::Range(..) => 0.0,
        };
        (share.clamp(0.0, 1.0) * 255.0).round() as u8
    }
}

/// The lowest and the highest of the values after the modality transformation; the other way round if there are none.
fn range(look: &Look, stored: impl Iterator<Item = i64>) -> (f64, f64) {
    let values = stored.map(|value| look.modality(value));
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// How far up the window a value is (PS3.3 sections C.11.2.1.2 and C.11.2.1.3).
fn share(Window { center, width, function }: Window, value: f64) -> f64 {
    match function {
        Function::Linear if width <= 1.0 => f64::from(value > center - 0.5),
        Function::Linear => (value - (center - 0.5)) / (width - 1.0) + 0.5,
        Function::LinearExact => (value - center) / width + 0.5,
        Function::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
    }
}
