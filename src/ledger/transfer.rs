//! The states of a transfer and the legal steps between them (INV-03). Pure.

use std::fmt;

/// The identity of a transfer in the records and on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(pub i64);

/// Why a transfer is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A route chose the destination; at most one such transfer per instance version and destination, ever.
    Route,
    /// An operator asked for it; the text names the request.
    Operator(String),
}

/// Where a transfer stands (docs/ARCHITECTURE.md, "A transfer").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// To be tried as soon as its lane allows.
    Pending,
    /// Being tried now.
    Leased,
    /// Waiting for its time after a failure.
    Deferred,
    /// The answer was ambiguous; the destination is asked before anything is sent again.
    Unknown,
    /// The destination's answer named it; final where policy says so.
    Accepted,
    /// The evidence that policy asks for is there. Final.
    Verified,
    /// The destination as a whole cannot be used.
    Parked,
    /// A person must decide.
    Held,
    /// Given up; alerts until a person acts.
    Dead,
    /// Cancelled by a named person. Final.
    Cancelled,
}

impl State {
    /// Every state, in the order in which reports show them.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Leased,
        Self::Deferred,
        Self::Unknown,
        Self::Accepted,
        Self::Verified,
        Self::Parked,
        Self::Held,
        Self::Dead,
        Self::Cancelled,
    ];

    /// The word that records, entries and the command line use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Leased => "leased",
            Self::Deferred => "deferred",
            Self::Unknown => "unknown",
            Self::Accepted => "accepted",
            Self::Verified => "verified",
            Self::Parked => "parked",
            Self::Held => "held",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
