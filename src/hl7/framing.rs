//! The Minimal Lower Layer Protocol: a message between a start byte and an end byte (HL7 version 2, appendix C).

/// Begins a message.
const START: u8 = 0x0B;
/// Ends one. A carriage return follows it, or should: like all white space between frames, it is passed over.
const END: u8 = 0x1C;

/// What was found in the bytes that have come so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed {
    /// A whole message, without its frame.
    Message(Vec<u8>),
    /// More is to come.
    NeedMore,
    /// Something other than a frame, or one over the limit: the connection cannot go on.
    Broken(&'static str),
}

/// Finds messages in bytes that come in whatever pieces.
pub struct Framer {
    bytes: Vec<u8>,
    /// So many of them were looked at before, and hold no end.
    looked: usize,
    limit: usize,
}

impl Framer {
    /// `limit` is the most bytes of one message.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), looked: 0, limit }
    }

    /// Takes more bytes. No more than these and one message over the limit are ever held if [`Self::next`] is asked after each piece.
    pub fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether nothing of a message is here.
    pub fn is_idle(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Looks for the next message.
    pub fn next_message(&mut self) -> Framed {
        let space = self.bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if space > 0 {
            self.bytes.drain(..space);
        }
        match self.bytes.first() {
            None => {
                self.bytes = Vec::new();
                return Framed::NeedMore;
            }
            Some(&START) => {}
            Some(_) => return Framed::Broken("bytes that belong to no message"),
        }
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
            _ => Framed::Broken("a message over the limit"),
        }
    }
}

/// A message in its frame.
pub fn frame(message: &str) -> Vec<u8> {
    [&[START], message.as_bytes(), &[END, b'\r']].concat()
}
