//! One scan of lossless JPEG (ITU-T T.81 annex H): each sample is predicted from its neighbours, and the error coded.

use super::super::DecodeError;
use super::Plane;
use super::entropy::{Bits, Table};
use super::markers::{Header, Scan};

pub(super) fn scan(header: &Header, scan: &Scan, rest: &mut &[u8], planes: &mut [Plane]) -> Result<(), DecodeError> {
    if !(1..=7).contains(&scan.predictor) || scan.point >= header.precision {
        return Err(DecodeError::Broken("its predictor or its point transform"));
    }
    let mut tables = Vec::new();
    for component in &scan.components {
        tables.push(header.dc[component.dc].as_ref().ok_or(DecodeError::Broken("a Huffman table is missing"))?);
    }
    if !header.restart.is_multiple_of(header.columns) {
        return Err(DecodeError::Process("restarts within a line"));
    }
    let lines_between = header.restart / header.columns;
    let first = 1 << (header.precision - scan.point - 1);
    let mut bits = Bits::new(rest);
    for row in 0..header.rows {
        let restarts = lines_between > 0 && row % lines_between == 0;
        if restarts && row > 0 {
            bits.restart()?;
        }
        let top = row == 0 || restarts;
        for column in 0..header.columns {
            for (component, table) in scan.components.iter().zip(&tables) {
                let plane = &mut planes[component.index];
                let predicted = predict(plane, scan, top.then_some(first), row, column);
                let value = predicted.wrapping_add(difference(&mut bits, table)?) as u16;
                plane.values[row * plane.width + column] = value;
            }
        }
    }
    for component in scan.components.iter().filter(|_| scan.point > 0) {
        planes[component.index].values.iter_mut().for_each(|value| *value <<= scan.point);
    }
    *rest = bits.rest();
    Ok(())
}

fn difference(bits: &mut Bits<'_>, table: &Table) -> Result<i32, DecodeError> {
    match bits.symbol(table)? {
        // It stands for itself (ITU-T T.81 section H.1.2.2).
        16 => Ok(32_768),
        length => bits.value(length.into()),
    }
}

/// The prediction (ITU-T T.81 table H.1). `top` is the first prediction, in the first line and after a restart.
fn predict(plane: &Plane, scan: &Scan, top: Option<i32>, row: usize, column: usize) -> i32 {
    let at = row * plane.width + column;
    let value = |at: usize| i32::from(plane.values[at]);
    match (top, column) {
        (Some(first), 0) => first,
        (Some(_), _) => value(at - 1),
        (None, 0) => value(at - plane.width),
        (None, _) => {
            let (a, b, c) = (value(at - 1), value(at - plane.width), value(at - plane.width - 1));
            match scan.predictor {
                1 => a,
                2 => b,
                3 => c,
                4 => a + b - c,
                5 => a + ((b - c) >> 1),
                6 => b + ((a - c) >> 1),
                _ => (a + b) >> 1,
            }
        }
    }
}
