//! P-DATA framing: PDU header, PDV header, fragment, as a state machine over whatever bytes have arrived (PS3.8
//! section 9.3.5, annex E). No I/O.
//!
//! The machine copies nothing and allocates nothing: it names ranges of its input. Every length is checked where it is
//! read.

use super::state::State;
use std::ops::Range;

/// The bytes of a PDU header: type, reserved, length (PS3.8 section 9.3.1).
pub const PDU_HEADER: usize = 6;
/// The bytes of a PDV header: length, context, message control header (PS3.8 section 9.3.5.1, E.2).
pub const PDV_HEADER: usize = 6;
/// The type of P-DATA-TF.
pub const P_DATA_TF: u8 = 0x04;

/// A breach of protocol by the peer; each is answered with A-ABORT (DIM-015).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A PDU that the state does not allow.
    #[error("a PDU of type {kind:02X}H is not allowed in state {state:?}")]
    UnexpectedPdu {
        /// Its type.
        kind: u8,
        /// The state of table 9-10.
        state: State,
    },
    /// A PDU type that PS3.8 does not know.
    #[error("{kind:02X}H is no PDU type{}", if *kind == 0x16 { "; it looks like TLS on a plain port" } else { "" })]
    UnrecognisedPdu {
        /// Its type.
        kind: u8,
    },
    /// A PDU longer than we said, or than its type can be.
    #[error("a PDU of {length} bytes is longer than the {limit} allowed")]
    PduTooLong {
        /// Its length field.
        length: u32,
        /// What is allowed.
        limit: u32,
    },
    /// An association PDU that is not well formed.
    #[error("the PDU is malformed: {0}")]
    MalformedPdu(&'static str),
    /// A PDV whose length does not fit its PDU, or a P-DATA-TF without one.
    #[error("a PDV length of {length} does not fit the {left} bytes left of its PDU")]
    PdvLength {
        /// The PDV's length field.
        length: u32,
        /// The bytes that the PDU has left.
        left: u32,
    },
    /// A PDV on a context that was not accepted (requirements, decision table, row 1).
    #[error("presentation context {0} was not accepted")]
    ContextNotAccepted(u8),
    /// A command fragment within a data set, a data fragment without a command, or a change of context within a
    /// message.
    #[error("{0}")]
    OutOfPlace(&'static str),
    /// A command set that is too long or not well formed.
    #[error("the command set is malformed: {0}")]
    Command(#[from] super::message::CommandError),
    /// A message that is well formed but that DIMSE does not allow here (PS3.7).
    #[error("{0}")]
    Dimse(&'static str),
}

impl Violation {
    /// The source and reason of the A-ABORT that answers it (PS3.8 section 9.3.8): 2 is the service provider, 0 the
    /// user, whose reason is not significant.
    pub const fn abort_codes(&self) -> (u8, u8) {
        match self {
            Self::UnrecognisedPdu { .. } => (2, 1),
            Self::UnexpectedPdu { .. } => (2, 2),
            Self::OutOfPlace(_) => (2, 5),
            Self::PduTooLong { .. }
            | Self::MalformedPdu(_)
            | Self::PdvLength { .. }
            | Self::ContextNotAccepted(_)
            | Self::Command(_) => (2, 6),
            Self::Dimse(_) => (0, 0),
        }
    }
}

/// A piece of a fragment: as much of it as has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The presentation context.
    pub context: u8,
    /// Command set (true) or data set (false): bit 0 of the message control header.
    pub command: bool,
    /// Where the bytes lie in the input.
    pub bytes: Range<usize>,
    /// These are the last bytes of the message's command set or data set: the fragment ends here and bit 1 of its
    /// control header is set.
    pub last: bool,
}

/// What the input held next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing whole: give more bytes behind those that were not consumed (fewer than [`PDV_HEADER`]).
    More,
    /// The header of a PDU other than P-DATA-TF was consumed; its `length` bytes of body come next and are the
    /// caller's.
    Pdu {
        /// Its type.
        kind: u8,
        /// The length of its body.
        length: u32,
    },
    /// Fragment bytes.
    Piece(Piece),
}

#[derive(Debug, Clone, Copy)]
enum At {
    PduHeader,
    PdvHeader { pdu_left: u32 },
    Fragment { pdu_left: u32, left: u32, context: u8, control: u8 },
}

/// The framing of one direction of one association.
#[derive(Debug)]
pub struct Machine {
    at: At,
    limit: u32,
}

impl Machine {
    /// `limit` is the maximum length that we advertised; 0 is none. It covers the PDU's length field, not its header
    /// (PS3.8 section D.1; DIM-008).
    pub const fn new(limit: u32) -> Self {
        Self { at: At::PduHeader, limit }
    }

    /// Nothing of a PDU has been consumed.
    pub const fn between_pdus(&self) -> bool {
        matches!(self.at, At::PduHeader)
    }

    /// The bytes of the present P-DATA-TF that are still to come.
    pub const fn left(&self) -> u64 {
        match self.at {
            At::PduHeader => 0,
            At::PdvHeader { pdu_left } => pdu_left as u64,
            At::Fragment { pdu_left, left, .. } => pdu_left as u64 + left as u64,
        }
    }

    /// Takes the next step; returns how many bytes of the input are used up, and what they were.
    ///
    /// Any cut of a byte stream into inputs gives the same fragments, in more or fewer pieces. Errors as in
    /// [`Violation`]; after one
    /// only [`Self::left`] is of use.
    pub fn step(&mut self, input: &[u8]) -> (usize, Result<Step, Violation>) {
        let mut used = 0;
        let step = self.advance(input, &mut used);
        (used, step)
    }

    fn advance(&mut self, input: &[u8], used: &mut usize) -> Result<Step, Violation> {
        loop {
            let rest = input.get(*used..).unwrap_or_default();
            match self.at {
                At::PduHeader => {
                    let Some(&[kind, _, a, b, c, d]) = rest.first_chunk::<PDU_HEADER>() else {
                        return Ok(Step::More);
                    };
                    *used += PDU_HEADER;
                    let length = u32::from_be_bytes([a, b, c, d]);
                    if kind != P_DATA_TF {
                        return Ok(Step::Pdu { kind, length });
                    }
                    self.at = At::PdvHeader { pdu_left: length };
                    if self.limit != 0 && length > self.limit {
                        return Err(Violation::PduTooLong { length, limit: self.limit });
                    }
                    if length == 0 {
                        return Err(Violation::PdvLength { length: 0, left: 0 });
                    }
                }
                At::PdvHeader { pdu_left } => {
                    // A rest too short for a PDV would take its header from the next PDU.
                    if pdu_left < PDV_HEADER as u32 {
                        return Err(Violation::PdvLength { length: 0, left: pdu_left });
                    }
                    let left = pdu_left - 4;
                    let Some(&[a, b, c, d, context, control]) = rest.first_chunk::<PDV_HEADER>() else {
                        return Ok(Step::More);
                    };
                    let length = u32::from_be_bytes([a, b, c, d]);
                    if length < 2 || length > left {
                        return Err(Violation::PdvLength { length, left });
                    }
                    *used += PDV_HEADER;
                    self.at = At::Fragment { pdu_left: left - length, left: length - 2, context, control };
                }
                At::Fragment { pdu_left, left, context, control } => {
                    let take = rest.len().min(left as usize);
                    if take == 0 && left > 0 {
                        return Ok(Step::More);
                    }
                    let left = left - take as u32;
                    self.at = match (left, pdu_left) {
                        (0, 0) => At::PduHeader,
                        (0, _) => At::PdvHeader { pdu_left },
                        _ => At::Fragment { pdu_left, left, context, control },
                    };
                    let bytes = *used..*used + take;
                    *used = bytes.end;
                    let last = left == 0 && control & 0x02 != 0;
                    return Ok(Step::Piece(Piece { context, command: control & 0x01 != 0, bytes, last }));
                }
            }
        }
    }
}

/// The headers of a P-DATA-TF PDU that holds one fragment of `payload` bytes.
pub const fn fragment_header(context: u8, command: bool, last: bool, payload: u32) -> [u8; PDU_HEADER + PDV_HEADER] {
    let pdu = (payload + PDV_HEADER as u32).to_be_bytes();
    let pdv = (payload + 2).to_be_bytes();
    let control = command as u8 | (last as u8) << 1;
    [P_DATA_TF, 0, pdu[0], pdu[1], pdu[2], pdu[3], pdv[0], pdv[1], pdv[2], pdv[3], context, control]
}

/// The longest fragment that a peer takes which advertised `maximum` (0: none), never above `ours`; even, as fragments
/// must be (PS3.8 section E.1).
/// `None` if the peer's maximum leaves no room for two bytes (DIM-008).
pub fn longest_fragment(maximum: u32, ours: u32) -> Option<u32> {
    let room = match maximum {
        0 => ours,
        peer => peer.saturating_sub(PDV_HEADER as u32).min(ours),
    };
    (room >= 2).then_some(room & !1)
}

#[cfg(test)]
mod tests;
