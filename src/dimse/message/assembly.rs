//! From fragments to messages: which fragment may come now, and when a command set or a data set is whole (PS3.8 annex
//! E, PS3.7 section 6.3). No I/O.

use super::{CommandError, CommandSet, MAX_COMMAND_BYTES};
use crate::dimse::pdata::{Piece, Violation};

/// What a piece completed.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Part of a command set, of which more follows; or of a data set that is passed over.
    Partial,
    /// A whole command set, on this context. A data set follows on the same context if it says so.
    Command(u8, CommandSet),
    /// Bytes of the data set; the last of them if so said.
    Data {
        /// The data set is whole.
        last: bool,
    },
}

/// What may come. `Unasked` is after a message that announced a data set it can not have: most often the next message follows; `passed`
/// counts the bytes of it that came nevertheless, once some did.
#[derive(Debug)]
enum Expect {
    Command,
    MoreCommand { context: u8, bytes: Vec<u8> },
    Data { context: u8 },
    Unasked { context: u8, passed: Option<usize> },
}

/// The most bytes that are passed over of a data set that a message can not have: as many as an identifier may have.
const MAX_UNASKED_BYTES: usize = 512 * 1024;

/// The order of fragments on one direction of one association: messages never interleave (DIM-009).
#[derive(Debug)]
pub struct Assembly {
    expect: Expect,
}

impl Default for Assembly {
    fn default() -> Self {
        Self { expect: Expect::Command }
    }
}

impl Assembly {
    /// No message is under way.
    pub fn between_messages(&self) -> bool {
        matches!(self.expect, Expect::Command | Expect::Unasked { passed: None, .. })
    }

    /// Takes a piece and its bytes; `accepted` tells whether a context was accepted. Data set bytes are not kept. Those of a data set that a
    /// message can not have (see [`CommandSet::is_bare`]) are passed over.
    ///
    /// Errors: a context that was not accepted, fragments out of order, a command set that is too long or malformed.
    pub fn accept(&mut self, piece: &Piece, bytes: &[u8], accepted: impl Fn(u8) -> bool) -> Result<Part, Violation> {
        if !accepted(piece.context) {
            return Err(Violation::ContextNotAccepted(piece.context));
        }
        match (&mut self.expect, piece.command) {
            (Expect::Data { context }, false) if *context == piece.context => {
                if piece.last {
                    self.expect = Expect::Command;
                }
                Ok(Part::Data { last: piece.last })
            }
            (Expect::Unasked { context, passed }, false) if *context == piece.context => {
                let total = passed.unwrap_or_default().saturating_add(bytes.len());
                if total > MAX_UNASKED_BYTES {
                    return Err(Violation::OutOfPlace("a data set that was not asked for"));
                }
                *passed = Some(total);
                if piece.last {
                    self.expect = Expect::Command;
                }
                Ok(Part::Partial)
            }
            (Expect::Command | Expect::Unasked { passed: None, .. }, true) => {
                self.expect = Expect::MoreCommand { context: piece.context, bytes: Vec::new() };
                self.command(piece, bytes)
            }
            (Expect::MoreCommand { context, .. }, true) if *context == piece.context => self.command(piece, bytes),
            (Expect::Data { .. } | Expect::Unasked { .. }, true) => {
                Err(Violation::OutOfPlace("a command fragment before the end of the data set"))
            }
            (Expect::Command, false) => Err(Violation::OutOfPlace("a data set fragment without a command")),
            (Expect::MoreCommand { .. }, false) => {
                Err(Violation::OutOfPlace("a data set fragment before the end of the command"))
            }
            _ => Err(Violation::OutOfPlace("the presentation context changes within a message")),
        }
    }

    fn command(&mut self, piece: &Piece, fragment: &[u8]) -> Result<Part, Violation> {
        let Expect::MoreCommand { context, bytes } = &mut self.expect else {
            return Ok(Part::Partial);
        };
        if bytes.len() + fragment.len() > MAX_COMMAND_BYTES {
            return Err(CommandError::TooLong.into());
        }
        bytes.extend_from_slice(fragment);
        if !piece.last {
            return Ok(Part::Partial);
        }
        let command = CommandSet::decode(bytes)?;
        let context = *context;
        self.expect = match command.has_data_set() {
            true if command.is_bare() => Expect::Unasked { context, passed: None },
            true => Expect::Data { context },
            false => Expect::Command,
        };
        Ok(Part::Command(context, command))
    }
}

#[cfg(test)]
mod tests;
