//! The marker segments of a JPEG-LS codestream (ITU-T T.87 annex C).

use super::super::{DecodeError, Image};
use super::contexts::Parameters;

/// How the components of a scan are interleaved (ITU-T T.87 section C.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interleave {
    /// One component.
    None,
    /// Line by line.
    Line,
    /// Sample by sample.
    Sample,
}

/// What stands before the scans, and how far the reading has come.
pub(super) struct Header {
    /// Bits of a sample.
    pub(super) precision: u32,
    components: Vec<u8>,
    /// The preset parameters, as written: zeros mean the defaults.
    preset: Option<[u16; 5]>,
    at: usize,
}

/// The header of one scan.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Places of its components in the frame.
    pub(super) components: Vec<usize>,
    pub(super) interleave: Interleave,
    pub(super) parameters: Parameters,
}

impl Header {
    /// Reads the frame header, which must agree with the attributes.
    pub(super) fn read(image: &Image, codestream: &[u8]) -> Result<Self, DecodeError> {
        if !codestream.starts_with(&[0xFF, 0xD8]) {
            return Err(DecodeError::Broken("it does not begin as JPEG-LS"));
        }
        let mut header = Self { precision: 0, components: Vec::new(), preset: None, at: 2 };
        while header.components.is_empty() {
            let (marker, body) = header.segment(codestream)?;
            match marker {
                0xF7 => header.frame(image, body)?,
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF => return Err(DecodeError::Process("JPEG, not JPEG-LS")),
                0xDA => return Err(DecodeError::Broken("a scan before the frame header")),
                _ => header.other(marker, body)?,
            }
        }
        Ok(header)
    }

    /// The next scan's header, and the bytes from its data on.
    pub(super) fn next_scan<'a>(&mut self, codestream: &'a [u8]) -> Result<(Scan, &'a [u8]), DecodeError> {
        loop {
            let (marker, body) = self.segment(codestream)?;
            if marker == 0xDA {
                return Ok((self.scan(body)?, codestream.get(self.at..).unwrap_or_default()));
            }
            self.other(marker, body)?;
        }
    }

    /// Goes past the data of a scan.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The next marker and its segment.
    fn segment<'a>(&mut self, codestream: &'a [u8]) -> Result<(u8, &'a [u8]), DecodeError> {
        loop {
            match codestream.get(self.at..) {
                None | Some([]) => return Err(DecodeError::Truncated),
                Some([0xFF, 0xD9, ..]) => return Err(DecodeError::Truncated),
                Some([0xFF, marker @ 0x80..=0xFE, l0, l1, ..]) => {
                    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
                    let body = codestream.get(self.at + 4..self.at + 2 + length).ok_or(DecodeError::Truncated)?;
                    self.at += 2 + length;
                    return Ok((*marker, body));
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn frame(&mut self, image: &Image, body: &[u8]) -> Result<(), DecodeError> {
        let [precision, y0, y1, x0, x1, count, rest @ ..] = body else { return Err(DecodeError::Truncated) };
        let size = (u16::from_be_bytes([*y0, *y1]), u16::from_be_bytes([*x0, *x1]));
        if size != (image.rows, image.columns) {
            return Err(DecodeError::Disagree("rows and columns"));
        }
        if u16::from(*count) != image.samples {
            return Err(DecodeError::Disagree("number of samples"));
        }
        if !(2..=16).contains(precision) || u16::from(*precision) > image.bits_allocated {
            return Err(DecodeError::Disagree("bits of a sample"));
        }
        self.precision = u32::from(*precision);
        for component in rest.get(..3 * usize::from(*count)).ok_or(DecodeError::Truncated)?.chunks_exact(3) {
            if component[1] != 0x11 {
                return Err(DecodeError::Process("components of different sizes"));
            }
            self.components.push(component[0]);
        }
        Ok(())
    }

    fn other(&mut self, marker: u8, body: &[u8]) -> Result<(), DecodeError> {
        match (marker, body) {
            (0xF8, [1, rest @ ..]) => {
                let rest = rest.first_chunk::<10>().ok_or(DecodeError::Truncated)?;
                self.preset = Some(std::array::from_fn(|at| u16::from_be_bytes([rest[2 * at], rest[2 * at + 1]])));
                Ok(())
            }
            (0xF8, _) => Err(DecodeError::Process("mapping tables")),
            (0xDD, interval) if interval.iter().any(|byte| *byte != 0) => Err(DecodeError::Process("restart markers")),
            // HP's colour transforms, which no standard has.
            (0xE8, [b'm', b'r', b'f', b'x', transform, ..]) if *transform != 0 => {
                Err(DecodeError::Process("a colour transform of its own"))
            }
            _ => Ok(()),
        }
    }

    fn scan(&self, body: &[u8]) -> Result<Scan, DecodeError> {
        let [count, rest @ ..] = body else { return Err(DecodeError::Truncated) };
        let (selectors, last) = rest.split_at_checked(2 * usize::from(*count)).ok_or(DecodeError::Truncated)?;
        let [near, interleave, point, ..] = *last else { return Err(DecodeError::Truncated) };
        let place = |id: u8| self.components.iter().position(|component| *component == id);
        let components: Option<Vec<usize>> = selectors.chunks_exact(2).map(|selector| place(selector[0])).collect();
        let components = components.ok_or(DecodeError::Broken("a scan of an unknown component"))?;
        if components.iter().enumerate().any(|(at, component)| components[..at].contains(component)) {
            return Err(DecodeError::Broken("a scan with a component twice"));
        }
        if selectors.chunks_exact(2).any(|selector| selector[1] != 0) {
            return Err(DecodeError::Process("mapping tables"));
        }
        if point != 0 {
            return Err(DecodeError::Process("a point transform"));
        }
        let interleave = match (interleave, components.len()) {
            (0, 1) => Interleave::None,
            (1, 1..) => Interleave::Line,
            (2, 1..) => Interleave::Sample,
            _ => return Err(DecodeError::Broken("its interleaving")),
        };
        Ok(Scan { components, interleave, parameters: self.parameters(i32::from(near))? })
    }

    /// The parameters: what the preset leaves zero has its default.
    fn parameters(&self, near: i32) -> Result<Parameters, DecodeError> {
        let [max, t1, t2, t3, reset] = self.preset.unwrap_or_default().map(i32::from);
        let highest = (1 << self.precision) - 1;
        let max = if max == 0 { highest } else { max };
        if max > highest || near > (max / 2).min(255) {
            return Err(DecodeError::Broken("its parameters"));
        }
        let mut parameters = Parameters::default_for(max, near);
        for (threshold, preset) in parameters.thresholds.iter_mut().zip([t1, t2, t3]) {
            *threshold = if preset == 0 { *threshold } else { preset };
        }
        parameters.reset = if reset == 0 { parameters.reset } else { reset };
        let [t1, t2, t3] = parameters.thresholds;
        let sound =
            near < t1 && t1 <= t2 && t2 <= t3 && t3 <= max.max(t2) && (3..=max.max(255)).contains(&parameters.reset);
        if sound { Ok(parameters) } else { Err(DecodeError::Broken("its parameters")) }
    }
}
