//! Which fragments begin a frame, found by hopping from one fragment to the next (PS3.5 section A.4).
//!
//! No input or output: the indexer says which bytes it would see next, and is shown them.

use super::super::pixels::{Ends, Image};
use super::super::uid::TransferSyntaxUid;

const ITEM: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];
/// What ends fragments: the delimiter of a sequence, or in its place that of an item, as the walk takes it.
const ENDS: [[u8; 4]; 2] = [[0xFE, 0xFF, 0xDD, 0xE0], [0xFE, 0xFF, 0x0D, 0xE0]];

/// The longest Basic Offset Table that is read: two million frames.
const LONGEST_TABLE: u64 = 8 << 20;
/// Most fragments that are hopped over.
const MOST_FRAGMENTS: u64 = 4_000_000;
/// Bytes of a fragment by which it is told whether it begins a codestream.
const START: u64 = 12;

/// Why the fragments are not the frames that the attributes promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// They are no fragments.
    #[error("the fragments of the pixel data are malformed")]
    Malformed,
    /// Their number is not Number of Frames (0028,0008).
    #[error("there are {found} frames in the pixel data, and Number of Frames says {promised}")]
    Count {
        /// Frames in the fragments.
        found: usize,
        /// Number of Frames (0028,0008).
        promised: u32,
    },
}

/// Where each frame begins: its first fragment's item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The places, one for each frame.
    pub starts: Vec<u64>,
}

impl Index {
    /// From where to where a frame's fragments lie, from 1; `end` is where the data set ends.
    pub fn range(&self, frame: u32, end: u64) -> Option<std::ops::Range<u64>> {
        let at = usize::try_from(frame.checked_sub(1)?).ok()?;
        let first = *self.starts.get(at)?;
        Some(first..self.starts.get(at + 1).copied().unwrap_or(end))
    }
}

/// What the indexer would do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// See these bytes of the data set; fewer if it ends before.
    Show(std::ops::Range<u64>),
    /// Nothing: it is done.
    Done(Index),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    TableHead,
    Table,
    /// Whether the table tells the truth: its second offset, then its last.
    Second,
    Last,
    Fragment,
}

/// The hopping.
#[derive(Debug)]
pub struct Indexer {
    promised: u32,
    ends: Ends,
    extended: Vec<u8>,
    stage: Stage,
    at: u64,
    /// Bytes of the Basic Offset Table.
    table: u64,
    starts: Vec<u64>,
    /// Where the items of fragments begin, as far as there are no more than frames; how many there are; and the bytes of the frame in
    /// hand.
    items: Vec<u64>,
    fragments: u64,
    gathered: u64,
    /// A fragment began as a codestream does.
    known: bool,
}

impl Indexer {
    /// For an image in this syntax whose fragments begin at a byte of the data set. The first step is [`Indexer::wants`].
    pub fn new(image: &Image, syntax: &TransferSyntaxUid, at: u64, extended: Vec<u8>) -> Self {
        Self {
            promised: image.frames,
            ends: Ends::of(syntax, image),
            extended,
            stage: Stage::TableHead,
            at,
            table: 0,
            starts: Vec::new(),
            items: Vec::new(),
            fragments: 0,
            gathered: 0,
            known: false,
        }
    }

    /// The bytes that it would see first.
    pub fn wants(&self) -> std::ops::Range<u64> {
        self.at..self.at + 8 + START
    }

    /// Is shown the bytes that it asked for.
    pub fn shown(&mut self, bytes: &[u8]) -> Result<Next, IndexError> {
        match self.stage {
            Stage::TableHead => {
                self.table = length(bytes, ITEM).ok_or(IndexError::Malformed)?;
                if self.ends.lacks_table(first(bytes, self.table)) {
                    self.table = 0;
                } else {
                    self.at += 8;
                }
                if self.table > 0 && self.table <= LONGEST_TABLE && self.extended.is_empty() {
                    self.stage = Stage::Table;
                    return Ok(Next::Show(self.at..self.at + self.table));
                }
                let extended = std::mem::take(&mut self.extended);
                self.after_table(&extended, 8)
            }
            Stage::Table => self.after_table(bytes, 4),
            Stage::Second | Stage::Last if !bytes.starts_with(&ITEM) => Ok(self.by_fragments()),
            Stage::Second => {
                self.stage = Stage::Last;
                let last = self.starts.last().copied().unwrap_or(self.at);
                Ok(Next::Show(last..last.saturating_add(8)))
            }
            Stage::Last => Ok(Next::Done(Index { starts: std::mem::take(&mut self.starts) })),
            Stage::Fragment => self.fragment(bytes),
        }
    }

    fn after_table(&mut self, table: &[u8], width: usize) -> Result<Next, IndexError> {
        self.at += self.table;
        let offset = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
        let offsets: Vec<u64> = table.chunks_exact(width).map(offset).collect();
        if self.promised == 1 {
            return Ok(Next::Done(Index { starts: vec![self.at] }));
        }
        // A table can be true that has as many offsets as frames, the first 0, each beyond the last. It is believed if items are there: some
        // writers count without the items' headers.
        let rising = offsets.windows(2).all(|pair| pair[0] < pair[1]);
        if offsets.len() as u64 != u64::from(self.promised) || offsets.first() != Some(&0) || !rising {
            return Ok(self.by_fragments());
        }
        self.starts = offsets.into_iter().map(|offset| self.at.saturating_add(offset)).collect();
        self.stage = Stage::Second;
        let second = self.starts.get(1).copied().unwrap_or(self.at);
        Ok(Next::Show(second..second.saturating_add(8)))
    }

    /// No table says where frames begin.
    fn by_fragments(&mut self) -> Next {
        self.starts.clear();
        self.stage = Stage::Fragment;
        Next::Show(self.at..self.at + 8 + START)
    }

    fn fragment(&mut self, bytes: &[u8]) -> Result<Next, IndexError> {
        if ends(bytes) {
            let (starts, items, promised) =
                (std::mem::take(&mut self.starts), std::mem::take(&mut self.items), self.promised);
            // Where no codestream's beginning is known there is usually one in each fragment.
            let found = starts.len();
            let items = if self.known { Vec::new() } else { items };
            let starts = [starts, items].into_iter().find(|starts| starts.len() as u64 == u64::from(promised));
            return starts.map(|starts| Next::Done(Index { starts })).ok_or(IndexError::Count { found, promised });
        }
        let length = length(bytes, ITEM).ok_or(IndexError::Malformed)?;
        let content = bytes.get(8..).unwrap_or_default();
        let begins = length > 0 && self.ends.begins(content, self.gathered, false);
        self.known |= begins;
        if self.fragments == 0 || begins {
            self.starts.push(self.at);
            self.gathered = 0;
        }
        if self.fragments <= u64::from(self.promised) {
            self.items.push(self.at);
        }
        self.gathered += length;
        self.fragments += 1;
        if self.fragments > MOST_FRAGMENTS {
            return Err(IndexError::Malformed);
        }
        self.at += 8 + length;
        Ok(Next::Show(self.at..self.at + 8 + START))
    }
}

/// The beginning of an item's content, of which there are so many bytes.
fn first(bytes: &[u8], length: u64) -> &[u8] {
    let content = bytes.get(8..).unwrap_or_default();
    &content[..content.len().min(usize::try_from(length).unwrap_or(usize::MAX))]
}

/// Whether fragments end before what begins so. Zeros are padding where the delimiter is left out, as the walk takes them.
fn ends(head: &[u8]) -> bool {
    let padding = head.iter().take(8).all(|byte| *byte == 0);
    padding || ENDS.iter().any(|delimiter| head.starts_with(delimiter))
}

/// The length of an item with this tag.
fn length(bytes: &[u8], tag: [u8; 4]) -> Option<u64> {
    let length = bytes.strip_prefix(&tag)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*length)).filter(|length| *length != u32::MAX).map(u64::from)
}

/// Takes the contents out of the fragments of one frame as they stream past.
#[derive(Debug, Default)]
pub struct Unwrapper {
    head: Vec<u8>,
    left: u64,
    ended: bool,
}

impl Unwrapper {
    /// Takes the next bytes of the frame's range and appends the contents of its fragments.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), IndexError> {
        while !input.is_empty() && !self.ended {
            if self.left == 0 {
                let (head, rest) = input.split_at(input.len().min(8 - self.head.len()));
                self.head.extend_from_slice(head);
                input = rest;
                if self.head.len() == 8 {
                    self.ended = ends(&self.head);
                    let length = if self.ended { Some(0) } else { length(&self.head, ITEM) };
                    self.left = length.ok_or(IndexError::Malformed)?;
                    self.head.clear();
                }
                continue;
            }
            let take = input.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (content, rest) = input.split_at(take);
            out.extend_from_slice(content);
            self.left -= take as u64;
            input = rest;
        }
        Ok(())
    }

    /// Says whether the range could end here.
    pub fn finish(&self) -> Result<(), IndexError> {
        let whole = self.ended || (self.left == 0 && self.head.iter().all(|byte| *byte == 0));
        if whole { Ok(()) } else { Err(IndexError::Malformed) }
    }
}
