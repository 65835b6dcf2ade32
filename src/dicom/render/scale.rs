//! Viewports: a part of a picture, turned round if asked for, as large as fits (PS3.18 section 8.3.5.1.3).

use super::{Picture, RenderError};
use std::collections::VecDeque;

/// The longest side of a viewport, in pixels.
const LONGEST: u32 = 8192;

/// At most so large; and the region that is shown, in pixels of the image: left, top, width, height. A negative width or height
/// turns it round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Viewport {
    /// Most pixels of a row, 8192.
    pub width: u32,
    /// Most rows, 8192.
    pub height: u32,
    /// The region; all of it without. A width or height without end goes to the edge.
    pub region: Option<[f64; 4]>,
}

/// The region as large as fits the viewport, and so many bytes, its proportions kept.
pub(super) fn fitted(picture: &Picture, viewport: Viewport, most: u64) -> Result<Picture, RenderError> {
    let turned;
    let region = match viewport.region {
        None => picture,
        Some(region) => {
            turned = cut(picture, region)?;
            &turned
        }
    };
    let [width, height] = [region.width as f64, region.height as f64];
    let room = (most as f64 / (width * height * region.channels as f64)).sqrt();
    let ratio = (f64::from(viewport.width) / width).min(f64::from(viewport.height) / height);
    let size = |side: usize| match side as f64 * ratio.min(room) {
        side if room < ratio => (side as usize).clamp(1, LONGEST as usize),
        side => (side.round() as usize).clamp(1, LONGEST as usize),
    };
    Ok(resized(region, size(region.width), size(region.height)))
}

fn cut(picture: &Picture, [left, top, width, height]: [f64; 4]) -> Result<Picture, RenderError> {
    let range = |from: f64, size: f64, all: usize| {
        let (first, last) = (from.round().max(0.0), (from + size.abs()).round().min(all as f64));
        (last > first).then_some(first as usize..last as usize).ok_or(RenderError::Region)
    };
    let (columns, rows) = (range(left, width, picture.width)?, range(top, height, picture.height)?);
    let n = picture.channels;
    let mut bytes = Vec::with_capacity(columns.len() * rows.len() * n);
    for at in 0..rows.len() {
        let row = if height < 0.0 { rows.end - 1 - at } else { rows.start + at };
        let line = &picture.bytes[(row * picture.width + columns.start) * n..(row * picture.width + columns.end) * n];
        match width < 0.0 {
            false => bytes.extend_from_slice(line),
            true => line.chunks_exact(n).rev().for_each(|pixel| bytes.extend_from_slice(pixel)),
        }
    }
    Ok(Picture { width: columns.len(), height: rows.len(), channels: n, bytes })
}

/// Another size, each pixel the weighted mean of those that it covers (a triangle as wide as two of the coarser pixels).
fn resized(picture: &Picture, width: usize, height: usize) -> Picture {
    let n = picture.channels;
    let columns = weights(picture.width, width);
    let narrow = |line: &[u8]| {
        let mut out = vec![0f32; width * n];
        for ((first, weights), out) in columns.iter().zip(out.chunks_exact_mut(n)) {
            for (pixel, weight) in line[first * n..].chunks_exact(n).zip(weights) {
                out.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += f32::from(*value) * weight);
            }
        }
        out
    };
    // Only the lines that a new row covers are held, each made once: the next row begins at the same line or below.
    let mut lines = picture.bytes.chunks_exact(picture.width * n);
    let (mut held, mut top) = (VecDeque::new(), 0);
    let mut bytes = Vec::with_capacity(width * height * n);
    for (first, weights) in weights(picture.height, height) {
        while top < first {
            if held.pop_front().is_none() {
                lines.next();
            }
            top += 1;
        }
        held.extend(lines.by_ref().take(weights.len().saturating_sub(held.len())).map(narrow));
        let mut sums = vec![0f32; width * n];
        for (line, weight) in held.iter().zip(&weights) {
            sums.iter_mut().zip(line).for_each(|(sum, value)| *sum += value * weight);
        }
        bytes.extend(sums.iter().map(|sum| sum.round().clamp(0.0, 255.0) as u8));
    }
    Picture { width, height, channels: n, bytes }
}

/// For each place of the new side: the first of the old places that it covers, and their weights, whose sum is one.
fn weights(old: usize, new: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = old as f64 / new as f64;
    let reach = scale.max(1.0);
    let of = |at: usize| {
        let center = (at as f64 + 0.5) * scale;
        let first = (center - reach + 0.5).max(0.0) as usize;
        let last = ((center + reach + 0.5) as usize).min(old).max(first + 1);
        let raw: Vec<f64> =
            (first..last).map(|place| (1.0 - ((place as f64 + 0.5 - center) / reach).abs()).max(0.0)).collect();
        let sum: f64 = raw.iter().sum();
        let even = 1.0 / raw.len() as f64;
        (first, raw.iter().map(|weight| if sum > 0.0 { weight / sum } else { even } as f32).collect())
    };
    (0..new).map(of).collect()
}
