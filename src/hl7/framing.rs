//! The Minimal Lower Layer Protocol: a message between a start byte and an end byte (HL7 version 2, appendix C).

use super::message::Header;

/// Begins a message.
const START: u8 = 0x0B;
/// Ends one. A carriage return follows it, or should: like all white space between frames, it is passed over.
const END: u8 = 0x1C;
/// So much of a message over the limit is kept, to answer it by its header.
const HEAD: usize = 4 << 10;

/// What was found in the bytes that have come so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed {
    /// A whole message, without its frame.
    Message(Vec<u8>),
    /// The beginning of a message over the limit. It has ended, and the rest of it was passed over.
    TooLong(Vec<u8>),
    /// More is to come.
    NeedMore,
    /// Something other than a frame, or one over the limit that nobody could answer: the connection cannot go on.
    Broken(&'static str),
}

/// Finds messages in bytes that come in whatever pieces.
pub struct Framer {
    bytes: Vec<u8>,
    /// So many of them were looked at before, and hold no end.
    looked: usize,
    limit: usize,
    /// The beginning of a message over the limit, of which what still comes is passed over.
    head: Option<Vec<u8>>,
}

impl Framer {
    /// `limit` is the most bytes of one message.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), looked: 0, limit, head: None }
    }

    /// Takes more bytes. No more than these and one message over the limit are ever held if [`Self::next`] is asked after each piece.
    pub fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether nothing of a message is here.
    pub fn is_idle(&self) -> bool {
        self.bytes.is_empty() && self.head.is_none()
    }

    /// Looks for the next message.
    pub fn next_message(&mut self) -> Framed {
        if let Some(head) = self.head.take() {
            return self.pass_over(head);
        }
        // Some engines frame what is framed already: a second end ends nothing.
        let between = self.bytes.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == END).count();
        if between > 0 {
            self.bytes.drain(..between);
        }
        match self.bytes.first() {
            None => {
                self.bytes = Vec::new();
                return Framed::NeedMore;
            }
            Some(&START) => {}
            Some(_) => return Framed::Broken("bytes that belong to no message"),
        }
        // Nor does a second start begin another message, where nothing stands before it.
        let starts = self.bytes.iter().take_while(|byte| **byte == START).count();
        self.bytes.drain(1..starts);
        let from = self.looked.max(1);
        match memchr::memchr2(START, END, &self.bytes[from..]).map(|at| from + at) {
            // Half of one message must not be read with half of another.
            Some(at) if self.bytes[at] == START => Framed::Broken("a message that begins within another"),
            Some(end) if end - 1 <= self.limit => {
                let message = self.bytes[1..end].to_vec();
                self.bytes.drain(..=end);
                self.looked = 0;
                Framed::Message(message)
            }
            None if self.bytes.len() <= self.limit + 1 => {
                self.looked = self.bytes.len();
                Framed::NeedMore
            }
            end => self.too_long(end),
        }
    }

    /// Keeps the beginning of a message over the limit. Whoever gets no answer sends it again for ever, and all that waits behind it stays.
    fn too_long(&mut self, end: Option<usize>) -> Framed {
        let kept = end.unwrap_or(self.bytes.len()).min(1 + HEAD);
        let head = self.bytes[1..kept].to_vec();
        if Header::read(&head).is_err() {
            return Framed::Broken("a message over the limit");
        }
        self.bytes.drain(..1);
        self.looked = 0;
        self.pass_over(head)
    }

    /// Drops what has come of a message over the limit, to its end.
    fn pass_over(&mut self, head: Vec<u8>) -> Framed {
        match memchr::memchr2(START, END, &self.bytes) {
            Some(end) if self.bytes[end] == END => {
                self.bytes.drain(..=end);
                Framed::TooLong(head)
            }
            Some(_) => Framed::Broken("a message that begins within another"),
            None => {
                self.bytes.clear();
                self.head = Some(head);
                Framed::NeedMore
            }
        }
    }
}

/// A message in its frame.
pub fn frame(message: &str) -> Vec<u8> {
    [&[START], message.as_bytes(), &[END, b'\r']].concat()
}
