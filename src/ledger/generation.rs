//! The rules of a blob's generations: which one an arrival is committed with, and when bytes may go. Pure.
//!
//! A generation is written once, is live, and may be condemned; a condemned one is never revived, so that an arrival and a
//! purge that meet cannot hurt each other: whoever commits second sees what the first has done (INV-06, IDY-009).

use std::fmt;

/// The bytes that an arrival brings to its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// It found this generation live a moment ago, and wrote nothing.
    Named(i64),
    /// It wrote and synced the bytes anew.
    Fresh,
}

/// What the commit of an arrival does about its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// It is bound to this live generation.
    To(i64),
    /// It is bound to this live generation, and what was written anew is not needed.
    Redundant(i64),
    /// What was written anew becomes the live generation.
    New,
    /// The generation that it named is not live any more: nothing is committed, the bytes must be written again.
    Gone,
}

/// Decides in the transaction of the commit, where `live` is the live generation of the digest.
pub fn bind(brought: Brought, live: Option<i64>) -> Bound {
    match (brought, live) {
        (Brought::Named(named), Some(live)) if named == live => Bound::To(live),
        (Brought::Named(_), _) => Bound::Gone,
        (Brought::Fresh, Some(live)) => Bound::Redundant(live),
        (Brought::Fresh, None) => Bound::New,
    }
}

/// Where an instance stands when it is asked whether its bytes may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its bytes are here, whole, and not held for a person.
    pub stored: bool,
    /// A person has decided that it goes nowhere: it is held, and nothing waits for anybody.
    pub rejected: bool,
    /// No route chose a destination for it.
    pub unrouted: bool,
    /// It came only because we asked another for it, who keeps it.
    pub borrowed: bool,
    /// Transfers that it ever had.
    pub transfers: u64,
    /// Transfers that are not done, and pulls of its study that go on.
    pub open: u64,
    /// Open exceptions of any version of its UID: a person who compares two versions needs both.
    pub exceptions: u64,
    /// When it last arrived, was done somewhere, was rejected or, borrowed, was asked for, in microseconds since 1970.
    pub since: i64,
}

/// Why bytes must stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// They are not here, or are held or damaged.
    NotStored,
    /// A transfer of them is not done.
    Owed,
    /// An exception about them waits for a person.
    Excepted,
    /// They were never owed to anybody ("No destination").
    Unrouted,
    /// The time for which they are kept has not passed.
    Young,
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStored => "its bytes are not kept here, or are held or set aside",
            Self::Owed => "a transfer of it is not done, or its study is being pulled; wait for it, or cancel it",
            Self::Excepted => "an exception about it waits for a person; see `weybridge exceptions list`",
            Self::Unrouted => "no route chose a destination that may have it, so nobody else was given it",
            Self::Young => "the time for which it is kept has not passed",
        })
    }
}

/// Whether the bytes of an instance may go (INV-06, "No destination"). `before` is the latest time at which anything may have
/// happened to it; without one a person has decided, who may also drop what was never routed.
pub fn may_go(standing: &Standing, before: Option<i64>) -> Result<(), Stays> {
    let Standing { stored, rejected, unrouted, transfers, open, exceptions, since, borrowed } = *standing;
    let automatic = before.is_some();
    let decided = rejected || (!unrouted && (transfers > 0 || borrowed));
    match () {
        () if !stored && !rejected => Err(Stays::NotStored),
        () if open > 0 => Err(Stays::Owed),
        () if exceptions > 0 => Err(Stays::Excepted),
        () if automatic && !decided => Err(Stays::Unrouted),
        () if before.is_some_and(|before| since > before) => Err(Stays::Young),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_is_bound_to_what_is_live_and_to_nothing_else() {
        let rows = [
            (Brought::Named(3), Some(3), Bound::To(3)),
            (Brought::Named(3), Some(4), Bound::Gone),
            (Brought::Named(3), None, Bound::Gone),
            (Brought::Fresh, Some(4), Bound::Redundant(4)),
            (Brought::Fresh, None, Bound::New),
        ];
        for (brought, live, want) in rows {
            assert_eq!(bind(brought, live), want, "{brought:?} and {live:?}");
        }
    }

    #[test]
    fn bytes_go_only_when_everything_allows_it() {
        let done = Standing {
            stored: true,
            rejected: false,
            unrouted: false,
            borrowed: false,
            transfers: 2,
            open: 0,
            exceptions: 0,
            since: 100,
        };
        let borrowed = Standing { borrowed: true, transfers: 0, ..done };
        let rejected = Standing { stored: false, rejected: true, unrouted: true, transfers: 0, ..done };
        let rows = [
            (done, Some(100), Ok(())),
            (done, Some(99), Err(Stays::Young)),
            (done, None, Ok(())),
            (Standing { stored: false, ..done }, Some(100), Err(Stays::NotStored)),
            (Standing { stored: false, ..done }, None, Err(Stays::NotStored)),
            (Standing { open: 1, ..done }, Some(100), Err(Stays::Owed)),
            (Standing { open: 1, ..done }, None, Err(Stays::Owed)),
            (Standing { exceptions: 1, ..done }, Some(100), Err(Stays::Excepted)),
            (Standing { exceptions: 1, ..done }, None, Err(Stays::Excepted)),
            (Standing { transfers: 0, ..done }, Some(100), Err(Stays::Unrouted)),
            (borrowed, Some(100), Ok(())),
            (borrowed, Some(99), Err(Stays::Young)),
            (Standing { open: 1, ..borrowed }, Some(100), Err(Stays::Owed)),
            (Standing { exceptions: 1, ..borrowed }, Some(100), Err(Stays::Excepted)),
            (Standing { unrouted: true, ..borrowed }, Some(100), Err(Stays::Unrouted)),
            (Standing { unrouted: true, transfers: 0, ..done }, Some(i64::MAX), Err(Stays::Unrouted)),
            (Standing { unrouted: true, transfers: 0, ..done }, None, Ok(())),
            (rejected, Some(100), Ok(())),
            (rejected, Some(99), Err(Stays::Young)),
            (rejected, None, Ok(())),
            (Standing { exceptions: 1, ..rejected }, Some(100), Err(Stays::Excepted)),
            (Standing { open: 1, ..rejected }, None, Err(Stays::Owed)),
        ];
        for (standing, before, want) in rows {
            assert_eq!(may_go(&standing, before), want, "{standing:?} before {before:?}");
        }
    }
}
