//! From fragments to frames (PS3.5 section A.4): which fragments are one frame's codestream.

use super::{Codec, Image, rle};
use crate::dicom::uid::TransferSyntaxUid;

/// The longest Basic Offset Table that is read, whatever Number of Frames says: two million frames.
const MAX_TABLE_BYTES: usize = 8 * 1024 * 1024;

/// Why the fragments are not the frames that the attributes promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// The codestream of one frame is far longer than the frame itself.
    #[error("the fragments of one frame have more bytes than any codestream of it could")]
    TooLong,
    /// Their number is not Number of Frames (0028,0008).
    #[error("there are {found} frames, and Number of Frames says {promised}")]
    Count {
        /// Frames in the fragments.
        found: u64,
        /// Number of Frames (0028,0008).
        promised: u32,
    },
}

/// Gathers the fragments of Pixel Data, one frame at a time. The first fragment is the Basic Offset Table, unless it begins as a
/// codestream does: then the table is left out.
///
/// A fragment begins a frame if it begins as a codestream does, whatever Number of Frames and the tables say: what would follow a
/// codestream in its frame, no decoder would look at. An offset table, basic or extended, may name others. In RLE the header of a frame
/// is known, since some writers cut what should be one fragment; cells that are not compressed have no beginning, and fill their frame.
/// It holds two codestreams at most: a frame is known to be whole when the next begins.
#[derive(Debug)]
pub struct Frames {
    promised: u32,
    limit: usize,
    ends: Ends,
    /// Where frames begin, counted from the first byte of the first fragment's item; empty if nobody says.
    starts: Vec<u64>,
    /// Whether the fragment in hand is the Basic Offset Table.
    table: bool,
    /// Where the item of the fragment in hand begins, and that of the next.
    at: u64,
    next: u64,
    fragment: Vec<u8>,
    frame: Vec<u8>,
    found: u64,
}

/// By what it is told that a frame is whole.
#[derive(Debug, Clone, Copy)]
pub(in crate::dicom) enum Ends {
    /// Another codestream begins.
    Start,
    /// Another header of RLE begins, of so many segments (PS3.5 section G.5). Its fragment should end as well (section A.4.2).
    Segments(u32),
    /// Its fragment ends.
    Fragment,
    /// It has so many bytes (PS3.5 section A.4.11).
    Bytes(u64),
}

impl Ends {
    /// In this transfer syntax.
    pub(in crate::dicom) fn of(syntax: &TransferSyntaxUid, image: &Image) -> Self {
        match Codec::of(syntax) {
            Some(Codec::Rle) => {
                let segments = |cell: usize| u32::from(image.samples) * cell as u32;
                image.cell_bytes().map_or(Self::Fragment, |cell| Self::Segments(segments(cell)))
            }
            Some(Codec::Uncompressed) => image.frame_bytes().map_or(Self::Fragment, |bytes| Self::Bytes(bytes as u64)),
            _ => Self::Start,
        }
    }

    /// Whether what stands in the place of the Basic Offset Table begins a frame, the table left out (against PS3.5 section A.4): no table
    /// begins as a codestream does, since its first offset is 0.
    pub(in crate::dicom) fn lacks_table(self, first: &[u8]) -> bool {
        matches!(self, Self::Start | Self::Segments(1..)) && self.begins(first, 0, false)
    }

    /// Whether a fragment that is not empty begins a frame, after `gathered` bytes of the one before; `named` if a table says so.
    pub(in crate::dicom) fn begins(self, fragment: &[u8], gathered: u64, named: bool) -> bool {
        match self {
            // SOI and the next marker; SOC and SIZ; the signature box of JP2.
            Self::Start => {
                let starts = [&[0xFF, 0xD8, 0xFF][..], &[0xFF, 0x4F, 0xFF, 0x51], b"\0\0\0\x0CjP  "];
                named || starts.iter().any(|start| fragment.starts_with(start))
            }
            // The number of segments, and where the first begins.
            Self::Segments(count) => {
                let header = [count, rle::HEADER_BYTES as u32].map(u32::to_le_bytes);
                named || fragment.starts_with(header.as_flattened())
            }
            Self::Fragment => true,
            Self::Bytes(bytes) => gathered >= bytes,
        }
    }
}

impl Frames {
    /// For an image in this transfer syntax whose Pixel Data begins.
    pub fn new(image: &Image, syntax: &TransferSyntaxUid) -> Self {
        let native = image.frame_bytes().unwrap_or(0);
        Self {
            promised: image.frames,
            // Incompressible noise grows by less than half in every codec, and a head may have comments.
            limit: native.saturating_mul(2).saturating_add(1024 * 1024),
            ends: Ends::of(syntax, image),
            starts: Vec::new(),
            table: true,
            at: 0,
            next: 0,
            fragment: Vec::new(),
            frame: Vec::new(),
            found: 0,
        }
    }

    /// Takes the value of Extended Offset Table (7FE0,0001); the basic one is then empty (PS3.5 section A.4).
    pub fn extended(&mut self, table: &[u8]) {
        self.believe(table, 8);
    }

    /// A table is believed if it can be true: as many offsets as frames, the first 0, each beyond the last.
    fn believe(&mut self, table: &[u8], width: usize) {
        let offset = |bytes: &[u8]| bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let starts: Vec<u64> = table.chunks_exact(width).map(offset).collect();
        let rising = starts.windows(2).all(|pair| pair[0] < pair[1]);
        if starts.len() as u64 == u64::from(self.promised) && starts.first() == Some(&0) && rising {
            self.starts = starts;
        }
    }

    /// A fragment of `length` bytes begins.
    pub fn begin(&mut self, length: u32) {
        self.at = self.next;
        if !self.table {
            self.next += 8 + u64::from(length);
        }
    }

    /// Bytes of the fragment in hand.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FragmentError> {
        let table = if self.table { MAX_TABLE_BYTES.min(8 * self.promised as usize) } else { 0 };
        if self.frame.len() + self.fragment.len() + bytes.len() > self.limit.max(table) {
            return Err(FragmentError::TooLong);
        }
        self.fragment.extend_from_slice(bytes);
        Ok(())
    }

    /// The fragment in hand is complete. Gives the codestream of the frame before it, if it begins another.
    pub fn end(&mut self) -> Option<Vec<u8>> {
        let fragment = std::mem::take(&mut self.fragment);
        if std::mem::take(&mut self.table) {
            if !self.ends.lacks_table(&fragment) {
                if self.starts.is_empty() {
                    self.believe(&fragment, 4);
                }
                return None;
            }
            self.next = 8 + fragment.len() as u64;
        }
        if self.found == 0 {
            self.found = 1;
            self.frame = fragment;
            return None;
        }
        let named = self.starts.binary_search(&self.at).is_ok();
        if !fragment.is_empty() && self.ends.begins(&fragment, self.frame.len() as u64, named) {
            self.found += 1;
            return Some(std::mem::replace(&mut self.frame, fragment));
        }
        self.frame.extend_from_slice(&fragment);
        None
    }

    /// Ends the gathering with the codestream of the last frame; an error if there are not as many as promised.
    pub fn finish(self) -> Result<Vec<u8>, FragmentError> {
        if self.found != u64::from(self.promised) {
            return Err(FragmentError::Count { found: self.found, promised: self.promised });
        }
        Ok(self.frame)
    }
}
