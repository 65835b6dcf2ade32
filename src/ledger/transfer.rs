//! The states of a transfer and the legal steps between them (INV-03). Pure.

use crate::peers::Verify;
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

    /// Tells whether a transfer may step from this state to another (INV-03; docs/ARCHITECTURE.md, "A transfer").
    ///
    /// The loops of `unknown` and `accepted` are checks that settled nothing. `verified` leads back only to `unknown`:
    /// when the same instance arrives again long after, or a person finds it missing there, the destination is asked. What was
    /// not sent yet becomes `unknown` when the records come from a backup, and what was given up when another cause may have
    /// sent it meanwhile. Nothing leads out of `cancelled`.
    pub fn may_become(self, to: Self) -> bool {
        use State::{Accepted, Cancelled, Dead, Deferred, Held, Leased, Parked, Pending, Unknown, Verified};
        match self {
            Pending => matches!(to, Leased | Unknown | Held | Cancelled),
            Leased => matches!(to, Pending | Deferred | Unknown | Accepted | Verified | Parked | Held | Dead),
            Deferred | Parked => matches!(to, Leased | Pending | Unknown | Held | Cancelled),
            Unknown => matches!(to, Unknown | Pending | Deferred | Accepted | Verified | Held | Dead | Cancelled),
            Accepted => matches!(to, Accepted | Pending | Deferred | Unknown | Verified | Held | Dead | Cancelled),
            Verified => matches!(to, Unknown),
            Held => matches!(to, Pending | Unknown | Cancelled),
            Dead => matches!(to, Pending | Unknown | Cancelled),
            Cancelled => false,
        }
    }

    /// Tells whether nothing more is owed: verified, cancelled, or accepted where policy asks for no more (INV-04).
    pub fn is_done(self, verify: Verify) -> bool {
        match self {
            Self::Verified | Self::Cancelled => true,
            Self::Accepted => verify == Verify::Accepted,
            _ => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::State::{self, Accepted, Cancelled, Dead, Deferred, Held, Leased, Parked, Pending, Unknown, Verified};
    use crate::peers::Verify;

    #[test]
    fn only_the_drawn_steps_are_legal() {
        let legal: &[(State, &[State])] = &[
            (Pending, &[Leased, Unknown, Held, Cancelled]),
            (Leased, &[Pending, Deferred, Unknown, Accepted, Verified, Parked, Held, Dead]),
            (Deferred, &[Pending, Leased, Unknown, Held, Cancelled]),
            (Unknown, &[Pending, Deferred, Unknown, Accepted, Verified, Held, Dead, Cancelled]),
            (Accepted, &[Pending, Deferred, Unknown, Accepted, Verified, Held, Dead, Cancelled]),
            (Verified, &[Unknown]),
            (Parked, &[Pending, Leased, Unknown, Held, Cancelled]),
            (Held, &[Pending, Unknown, Cancelled]),
            (Dead, &[Pending, Unknown, Cancelled]),
            (Cancelled, &[]),
        ];
        for (from, targets) in legal {
            for to in State::ALL {
                assert_eq!(from.may_become(to), targets.contains(&to), "{from} to {to}");
            }
        }
    }

    #[test]
    fn words_are_read_back() {
        for state in State::ALL {
            assert_eq!(State::parse(state.word()), Some(state));
        }
        assert_eq!(State::parse("sent"), None);
    }

    #[test]
    fn accepted_is_done_only_where_policy_says_so() {
        assert!(Accepted.is_done(Verify::Accepted) && !Accepted.is_done(Verify::Present));
        assert!(Verified.is_done(Verify::Readback) && !Accepted.is_done(Verify::Readback));
        assert!(
            Verified.is_done(Verify::Present) && Cancelled.is_done(Verify::Present) && !Dead.is_done(Verify::Accepted)
        );
    }
}
