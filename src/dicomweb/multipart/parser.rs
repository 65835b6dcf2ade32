//! The parser: bytes in at any fragmentation, events out, at most one chunk and one header block kept (WEB-005, WEB-006).

use super::headers::{PartHeaders, parse_headers};
use super::{MultipartError, check_boundary};
use crate::dicomweb::media_type::in_apostrophes;
use bytes::{Bytes, BytesMut};
use memchr::memchr;
use memchr::memmem::Finder;

/// The byte order mark of UTF-8, with which some writers of text begin; before a boundary it would hide the first part.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// What the parser keeps and accepts at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one part's headers.
    pub header_bytes: usize,
    /// Bytes before the first boundary.
    pub preamble_bytes: usize,
    /// Parts in one body.
    pub parts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header_bytes: 16 << 10, preamble_bytes: 64 << 10, parts: 100_000 }
    }
}

/// What the parser found next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Nothing more in what was pushed.
    NeedMore,
    /// A part begins.
    PartStart(PartHeaders),
    /// Bytes of the current part, never empty.
    Data(Bytes),
    /// The current part is whole: its closing delimiter was seen.
    PartEnd,
    /// The closing boundary was seen; what follows is ignored.
    End,
}

/// What follows the characters of a boundary.
enum Tail {
    /// A delimiter line of so many bytes; true if it ends in CRLF, false if in LF alone.
    Delimiter(usize, bool),
    Close,
    Other,
    NeedMore,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    Headers,
    Data,
    PartClosed,
    Ended,
    Failed(MultipartError),
}

/// A parser of one body.
///
/// Line ends: the first delimiter line decides whether delimiters of this body begin with CRLF or with LF alone,
/// so that a data set whose last byte is 0D is never shortened. A boundary that is only the beginning of a longer word is data.
/// Apostrophes may be part of a boundary, and some senders mean them for quotation marks: that is decided there too.
pub struct Parser {
    limits: Limits,
    dash_boundary: Vec<u8>,
    /// The same without the apostrophes around the boundary, if it has them.
    bare: Option<Vec<u8>>,
    delimiter: Finder<'static>,
    held: Bytes,
    state: State,
    /// In the preamble: the next byte begins a line. In data: no byte of the part was seen yet.
    at_start: bool,
    /// Headers: how far the search for the blank line has come. Preamble: bytes skipped.
    scanned: usize,
    parts: u32,
    last: bool,
}

impl Parser {
    /// A parser for bodies with this boundary (as from [`super::boundary_of`]). Errors: [`MultipartError::BadBoundary`].
    pub fn new(boundary: &str, limits: Limits) -> Result<Self, MultipartError> {
        check_boundary(boundary)?;
        let dash_boundary = dashed(boundary);
        let bare = in_apostrophes(boundary).filter(|bare| check_boundary(bare).is_ok()).map(dashed);
        let delimiter = finder(&dash_boundary, true);
        Ok(Self {
            limits,
            dash_boundary,
            bare,
            delimiter,
            held: Bytes::new(),
            state: State::Preamble,
            at_start: true,
            scanned: 0,
            parts: 0,
            last: false,
        })
    }

    /// Gives the parser the next bytes of the body, best after [`Event::NeedMore`]: what is left over is copied in front of them.
    pub fn push(&mut self, chunk: Bytes) {
        if self.held.is_empty() {
            self.held = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.held.len() + chunk.len());
            joined.extend_from_slice(&self.held);
            joined.extend_from_slice(&chunk);
            self.held = joined.freeze();
        }
    }

    /// The next event. After an error the same error is given for ever.
    #[expect(clippy::should_implement_trait, reason = "it never ends by itself, and it fails")]
    pub fn next(&mut self) -> Result<Event, MultipartError> {
        let event = match self.state {
            State::Preamble => self.preamble(),
            State::Headers => self.headers(),
            State::Data => self.data(),
            State::PartClosed if self.last => {
                self.state = State::Ended;
                Ok(Event::End)
            }
            State::PartClosed => self.next_part(),
            State::Ended => {
                self.held = Bytes::new();
                Ok(Event::End)
            }
            State::Failed(error) => Err(error),
        };
        event.inspect_err(|error| self.state = State::Failed(*error))
    }

    /// To be called when the body ends: [`MultipartError::Truncated`] unless the closing boundary was seen.
    pub fn finish(&self) -> Result<(), MultipartError> {
        match self.state {
            State::Ended => Ok(()),
            State::PartClosed if self.last => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(MultipartError::Truncated),
        }
    }

    fn preamble(&mut self) -> Result<Event, MultipartError> {
        if self.scanned == 0 && self.held.starts_with(MARK) {
            self.take(MARK.len());
            self.scanned = MARK.len();
        } else if self.scanned == 0 && MARK.starts_with(&self.held) {
            return Ok(Event::NeedMore);
        }
        loop {
            if self.at_start {
                match self.first_line() {
                    Tail::NeedMore => return Ok(Event::NeedMore),
                    Tail::Close => {
                        self.state = State::Ended;
                        return Ok(Event::End);
                    }
                    Tail::Delimiter(length, crlf) => {
                        self.delimiter = finder(&self.dash_boundary, crlf);
                        self.take(self.dash_boundary.len() + length);
                        return self.next_part();
                    }
                    Tail::Other => {}
                }
            }
            let line_end = memchr(b'\n', &self.held);
            let skipped = line_end.map_or(self.held.len(), |at| at + 1);
            self.take(skipped);
            self.at_start = line_end.is_some();
            self.scanned += skipped;
            if self.scanned > self.limits.preamble_bytes {
                return Err(MultipartError::NoStart);
            }
            if self.held.is_empty() {
                return Ok(Event::NeedMore);
            }
        }
    }

    /// What the line is that begins here. If it is a delimiter in the form without apostrophes, that is the boundary from now on.
    fn first_line(&mut self) -> Tail {
        let line = begins(&self.held, &self.dash_boundary);
        let Some(bare) = self.bare.as_ref().filter(|_| matches!(line, Tail::Other)) else { return line };
        let line = begins(&self.held, bare);
        if matches!(line, Tail::Delimiter(..)) {
            self.dash_boundary.clone_from(bare);
        }
        line
    }

    fn next_part(&mut self) -> Result<Event, MultipartError> {
        self.parts += 1;
        if self.parts > self.limits.parts {
            return Err(MultipartError::TooManyParts);
        }
        self.state = State::Headers;
        self.scanned = 0;
        self.headers()
    }

    fn headers(&mut self) -> Result<Event, MultipartError> {
        let end = self.blank_line();
        if end.unwrap_or(self.held.len()) > self.limits.header_bytes {
            return Err(MultipartError::HeadersTooLong);
        }
        let Some(end) = end else { return Ok(Event::NeedMore) };
        let block = self.take(end);
        self.state = State::Data;
        self.at_start = true;
        Ok(Event::PartStart(parse_headers(&block)))
    }

    /// Where the header block ends, its blank line included.
    fn blank_line(&mut self) -> Option<usize> {
        loop {
            // The line that begins at `scanned`: blank, not yet whole, or a header.
            let rest = &self.held[self.scanned..];
            match rest {
                [b'\n', ..] => return Some(self.scanned + 1),
                [b'\r', b'\n', ..] => return Some(self.scanned + 2),
                _ => self.scanned += memchr(b'\n', rest)? + 1,
            }
        }
    }

    fn data(&mut self) -> Result<Event, MultipartError> {
        // An empty part may lack the line end of its delimiter: the blank line's own serves.
        if self.at_start {
            if self.held.len() < self.dash_boundary.len() && self.dash_boundary.starts_with(&self.held) {
                return Ok(Event::NeedMore);
            }
            if self.held.starts_with(&self.dash_boundary) {
                match self.close(self.dash_boundary.len()) {
                    Some(event) => return Ok(event),
                    None => self.at_start = false,
                }
            }
        }
        let needle = self.delimiter.needle().len();
        let mut from = 0;
        while let Some(at) = self.delimiter.find(&self.held[from..]).map(|at| from + at) {
            match tail(&self.held[at + needle..]) {
                Tail::Other => from = at + 1,
                Tail::NeedMore if at == 0 => return Ok(Event::NeedMore),
                Tail::Delimiter(..) | Tail::Close if at == 0 => {
                    return Ok(self.close(needle).unwrap_or(Event::NeedMore));
                }
                _ => return Ok(self.emit(at)),
            }
        }
        match self.held.len() - self.undecided(from) {
            0 => Ok(Event::NeedMore),
            safe => Ok(self.emit(safe)),
        }
    }

    fn emit(&mut self, length: usize) -> Event {
        self.at_start = false;
        Event::Data(self.take(length))
    }

    /// How many bytes at the end may be the beginning of a delimiter.
    fn undecided(&self, from: usize) -> usize {
        let needle = self.delimiter.needle();
        let most = (needle.len() - 1).min(self.held.len() - from);
        (1..=most).rev().find(|&n| needle.starts_with(&self.held[self.held.len() - n..])).unwrap_or(0)
    }

    /// Ends the part at a delimiter whose characters up to the boundary's last are `length` bytes; `None` if it is data after all.
    fn close(&mut self, length: usize) -> Option<Event> {
        match tail(&self.held[length..]) {
            Tail::NeedMore => return Some(Event::NeedMore),
            Tail::Other => return None,
            Tail::Delimiter(more, _) => drop(self.take(length + more)),
            Tail::Close => {
                self.last = true;
                self.held = Bytes::new();
            }
        }
        self.state = State::PartClosed;
        Some(Event::PartEnd)
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.held.split_to(length.min(self.held.len()))
    }
}

fn dashed(boundary: &str) -> Vec<u8> {
    [b"--", boundary.as_bytes()].concat()
}

/// What a text is that may begin with a boundary.
fn begins(text: &[u8], dash_boundary: &[u8]) -> Tail {
    match text.strip_prefix(dash_boundary) {
        Some(rest) => tail(rest),
        None if dash_boundary.starts_with(text) => Tail::NeedMore,
        None => Tail::Other,
    }
}

fn finder(dash_boundary: &[u8], crlf: bool) -> Finder<'static> {
    let line_end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
    Finder::new(&[line_end, dash_boundary].concat()).into_owned()
}

/// RFC 2046 section 5.1.1: two dashes close the body; else blanks and a line end make a delimiter.
fn tail(rest: &[u8]) -> Tail {
    match rest {
        [b'-', b'-', ..] => return Tail::Close,
        [] | [b'-'] => return Tail::NeedMore,
        _ => {}
    }
    let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    match &rest[blanks..] {
        _ if blanks > 64 => Tail::Other,
        [b'\r', b'\n', ..] => Tail::Delimiter(blanks + 2, true),
        [b'\n', ..] => Tail::Delimiter(blanks + 1, false),
        [] | [b'\r'] => Tail::NeedMore,
        _ => Tail::Other,
    }
}
