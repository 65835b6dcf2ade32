//! The marker segments of a JPEG codestream (ITU-T T.81 annex B).

use super::super::{DecodeError, Image, Photometric};
use super::Plane;
use super::entropy::Table;

/// Which process the codestream uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// Discrete cosine transform, baseline or extended.
    Sequential,
    /// Prediction (ITU-T T.81 annex H).
    Lossless,
}

/// One component of the frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Component {
    id: u8,
    /// Sampling factors, 1 to 4.
    pub(super) h: usize,
    pub(super) v: usize,
    /// Its quantization table.
    pub(super) quantization: usize,
}

/// What stands before the first scan, and the tables, which may change between scans.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) process: Process,
    /// Bits of a sample.
    pub(super) precision: u32,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) components: Vec<Component>,
    /// Whether the components are Y, Cb, Cr, known once all is read.
    pub(super) ybr: bool,
    /// Whether Adobe's segment says that there is a transform; and whether JFIF's is there.
    adobe: Option<bool>,
    jfif: bool,
    /// Quantization tables, in zigzag order.
    pub(super) quantization: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<Table>; 4],
    pub(super) ac: [Option<Table>; 4],
    /// Minimum coded units between restart markers; 0 for none.
    pub(super) restart: usize,
    /// Bytes up to the first scan's marker.
    pub(super) length: usize,
}

/// A component's part in a scan.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScanComponent {
    pub(super) index: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// The header of one scan.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) components: Vec<ScanComponent>,
    /// The first parameter: the predictor, if lossless.
    pub(super) predictor: u8,
    /// The last parameter: the point transform, if lossless.
    pub(super) point: u32,
}

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;

impl Header {
    /// Reads up to the first scan; what the frame header says must agree with the attributes.
    pub(super) fn read(image: &Image, codestream: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = codestream;
        let mut header = Self {
            process: Process::Sequential,
            precision: 0,
            rows: 0,
            columns: 0,
            components: Vec::new(),
            ybr: false,
            adobe: None,
            jfif: false,
            quantization: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart: 0,
            length: 0,
        };
        if next_marker(&mut rest)? != SOI {
            return Err(DecodeError::Broken("it does not begin as JPEG"));
        }
        loop {
            let before = rest;
            let marker = next_marker(&mut rest)?;
            if marker == SOS {
                if header.components.is_empty() {
                    return Err(DecodeError::Broken("a scan before the frame header"));
                }
                header.length = codestream.len() - before.len();
                header.ybr = header.is_ybr(image);
                return Ok(header);
            }
            header.segment(image, marker, segment(&mut rest)?)?;
        }
    }

    fn segment(&mut self, image: &Image, marker: u8, body: &[u8]) -> Result<(), DecodeError> {
        match marker {
            0xC0 | 0xC1 => self.frame(image, Process::Sequential, body),
            0xC3 => self.frame(image, Process::Lossless, body),
            0xC2 => Err(DecodeError::Process("progressive JPEG")),
            0xC5..=0xC7 => Err(DecodeError::Process("hierarchical JPEG")),
            0xC9..=0xCB | 0xCD..=0xCF => Err(DecodeError::Process("arithmetic coding")),
            SOI | EOI => Err(DecodeError::Truncated),
            0xEE if body.starts_with(b"Adobe") && body.len() >= 12 => {
                self.adobe = Some(body[11] != 0);
                Ok(())
            }
            0xE0 if body.starts_with(b"JFIF\0") => {
                self.jfif = true;
                Ok(())
            }
            _ => self.tables(marker, body),
        }
    }

    /// Adobe's segment says for certain whether there is a transform. With JFIF's there is one, whatever the attribute says (ITU-T
    /// T.871), but for components that are called R, G and B, which says otherwise; lossless files do not keep to it. Components that are
    /// smaller than the first are chroma: nobody makes green and blue smaller than red.
    fn is_ybr(&self, image: &Image) -> bool {
        let called_rgb = self.components.iter().map(|component| component.id).eq(*b"RGB");
        let first = self.components.first().map_or((1, 1), |first| (first.h, first.v));
        let chroma = self.components.iter().any(|component| component.h < first.0 || component.v < first.1);
        let jfif = self.jfif && self.process == Process::Sequential;
        self.adobe.unwrap_or(((jfif || chroma) && !called_rgb) || image.photometric != Photometric::Rgb)
    }

    /// The segments that may also stand between scans.
    fn tables(&mut self, marker: u8, body: &[u8]) -> Result<(), DecodeError> {
        match marker {
            0xC4 => self.huffman(body),
            0xDB => self.quantization(body),
            0xDD => {
                let interval = body.first_chunk::<2>().ok_or(DecodeError::Truncated)?;
                self.restart = usize::from(u16::from_be_bytes(*interval));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn frame(&mut self, image: &Image, process: Process, body: &[u8]) -> Result<(), DecodeError> {
        let [precision, y0, y1, x0, x1, count, rest @ ..] = body else { return Err(DecodeError::Truncated) };
        if !self.components.is_empty() {
            return Err(DecodeError::Broken("a second frame header"));
        }
        let size = (u16::from_be_bytes([*y0, *y1]), u16::from_be_bytes([*x0, *x1]));
        if size != (image.rows, image.columns) {
            return Err(DecodeError::Disagree("rows and columns"));
        }
        if u16::from(*count) != image.samples || !matches!(count, 1 | 3) {
            return Err(DecodeError::Disagree("number of samples"));
        }
        let allowed =
            if process == Process::Lossless { (2..=16).contains(precision) } else { matches!(precision, 8 | 12) };
        if !allowed || u16::from(*precision) > image.bits_allocated {
            return Err(DecodeError::Disagree("bits of a sample"));
        }
        (self.process, self.precision) = (process, u32::from(*precision));
        (self.rows, self.columns) = (usize::from(image.rows), usize::from(image.columns));
        for at in 0..usize::from(*count) {
            let [id, factors, table] = *rest.get(at * 3..at * 3 + 3).ok_or(DecodeError::Truncated)? else {
                return Err(DecodeError::Truncated);
            };
            let (h, v) = (usize::from(factors >> 4), usize::from(factors & 15));
            let one = process == Process::Lossless || *count == 1;
            // A single component's factors mean nothing (ITU-T T.81 section A.2.2).
            let (h, v) = if *count == 1 { (1, 1) } else { (h, v) };
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) || (one && (h, v) != (1, 1)) {
                return Err(DecodeError::Process("these sampling factors"));
            }
            self.components.push(Component { id, h, v, quantization: usize::from(table & 3) });
        }
        let (h, v) = self.factors();
        if self.components.iter().any(|component| h % component.h != 0 || v % component.v != 0) {
            return Err(DecodeError::Process("these sampling factors"));
        }
        Ok(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Result<(), DecodeError> {
        while let [class, rest @ ..] = body {
            let counts = rest.first_chunk::<16>().ok_or(DecodeError::Truncated)?;
            let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let symbols = rest.get(16..16 + total).ok_or(DecodeError::Truncated)?;
            let tables = if class >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            tables[usize::from(class & 3)] = Some(Table::new(counts, symbols)?);
            body = &rest[16 + total..];
        }
        Ok(())
    }

    fn quantization(&mut self, mut body: &[u8]) -> Result<(), DecodeError> {
        while let [kind, rest @ ..] = body {
            let wide = kind >> 4 != 0;
            let bytes = rest.get(..if wide { 128 } else { 64 }).ok_or(DecodeError::Truncated)?;
            let mut table = [0; 64];
            for (at, entry) in table.iter_mut().enumerate() {
                *entry = match wide {
                    true => u16::from_be_bytes([bytes[2 * at], bytes[2 * at + 1]]),
                    false => u16::from(bytes[at]),
                };
            }
            self.quantization[usize::from(kind & 3)] = Some(table);
            body = &rest[bytes.len()..];
        }
        Ok(())
    }

    /// The largest sampling factors.
    pub(super) fn factors(&self) -> (usize, usize) {
        let largest = |of: fn(&Component) -> usize| self.components.iter().map(of).max().unwrap_or(1);
        (largest(|component| component.h), largest(|component| component.v))
    }

    /// Columns and rows of a component that the image needs (ITU-T T.81 section A.1.1).
    pub(super) fn extent(&self, component: &Component) -> (usize, usize) {
        let (h, v) = self.factors();
        ((self.columns * component.h).div_ceil(h), (self.rows * component.v).div_ceil(v))
    }

    /// Room for every component, whole coded units.
    pub(super) fn planes(&self, image: &Image) -> Result<Vec<Plane>, DecodeError> {
        image.frame_bytes()?;
        let (h, v) = self.factors();
        let unit = if self.process == Process::Lossless { 1 } else { 8 };
        let (across, down) = (self.columns.div_ceil(unit * h), self.rows.div_ceil(unit * v));
        let plane = |component: &Component| {
            let width = across * component.h * unit;
            Plane { values: vec![0; width * down * component.v * unit], width }
        };
        Ok(self.components.iter().map(plane).collect())
    }
}

impl Scan {
    /// Reads up to the entropy-coded data of the next scan.
    pub(super) fn read(header: &mut Header, rest: &mut &[u8]) -> Result<Self, DecodeError> {
        loop {
            match next_marker(rest)? {
                SOS => return Self::parse(header, segment(rest)?),
                EOI | SOI => return Err(DecodeError::Truncated),
                // DNL repeats the number of lines, which the frame header had.
                marker => header.tables(marker, segment(rest)?)?,
            }
        }
    }

    fn parse(header: &Header, body: &[u8]) -> Result<Self, DecodeError> {
        let [count @ 1..=4, rest @ ..] = body else { return Err(DecodeError::Broken("its scan header")) };
        let mut components = Vec::new();
        for at in 0..usize::from(*count) {
            let [id, tables] = *rest.get(at * 2..at * 2 + 2).ok_or(DecodeError::Truncated)? else {
                return Err(DecodeError::Truncated);
            };
            let index = header.components.iter().position(|component| component.id == id);
            let index = index.ok_or(DecodeError::Broken("a scan of an unknown component"))?;
            let (dc, ac) = (usize::from(tables >> 4 & 3), usize::from(tables & 3));
            components.push(ScanComponent { index, dc, ac });
        }
        let last = rest.get(2 * usize::from(*count)..).and_then(|last| last.first_chunk::<3>());
        let [predictor, _, low] = *last.ok_or(DecodeError::Truncated)?;
        Ok(Self { components, predictor, point: u32::from(low & 15) })
    }
}

/// The next marker; fill bytes before it are allowed.
fn next_marker(rest: &mut &[u8]) -> Result<u8, DecodeError> {
    loop {
        match rest {
            [0xFF, marker @ 0x01..=0xFE, after @ ..] => {
                let marker = *marker;
                *rest = after;
                // TEM and RSTn have no segment.
                if !matches!(marker, 0x01 | 0xD0..=0xD7) {
                    return Ok(marker);
                }
            }
            // Bytes that belong to nothing.
            [_, after @ ..] => *rest = after,
            [] => return Err(DecodeError::Truncated),
        }
    }
}

/// The body of a marker segment.
fn segment<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = rest.first_chunk::<2>().ok_or(DecodeError::Truncated)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length < 2 {
        return Err(DecodeError::Broken("a marker segment without room for its length"));
    }
    let (segment, after) = rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
    *rest = after;
    Ok(&segment[2..])
}
