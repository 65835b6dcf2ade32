//! The words of `weybridge why`: the story of an instance or a study, in order.

use super::arrival::{ExceptionId, SourceFacts};
use super::housekeeping::PurgeRule;
use super::rejections::Standing;
use super::work::{AttemptId, BatchKind};
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::rejection::Reason;
use crate::ledger::transfer::{Cause, State};
use crate::peers::{Destination, Origin, Priority, Verify};
use std::time::SystemTime;

/// How an arrival was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The first of its UID.
    First,
    /// The same again.
    Again,
    /// Other content under the UID: held.
    Differs,
}

/// Something that happened, or is to happen, to so many instances in the same way. Versions of one instance are one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When; for several instances, when the first.
    pub at: SystemTime,
    /// When the last, if it was not at once.
    pub until: Option<SystemTime>,
    /// To how many instances.
    pub instances: u64,
    /// To which version, in the story of an instance that has several.
    pub version: Option<u32>,
    /// What.
    pub what: What,
}

/// One access to a study by somebody else, or what was asked of other sites and came of it for somebody here (SEC-023, LED-033).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accessed {
    /// `query`, `retrieve`, `C-MOVE`, `C-GET`, `withheld`, `sought` or `pulled`.
    pub what: String,
    /// The peer or node; the peers that were asked.
    pub party: String,
    /// For whom it asked, as far as it said, or was asked.
    pub behalf: OnBehalf,
    /// Where images went, or the rule that withheld them.
    pub detail: Option<String>,
    /// How many results or instances the answer had.
    pub given: u64,
}

/// What a rejection note does (WEB-105).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The note's SOP Instance UID.
    pub note: String,
    /// Whether the story is the note's own; else that of what it names.
    pub is_own: bool,
    /// Where the note stands.
    pub standing: Standing,
    /// Whether a later note rejects the note.
    pub is_rejected: bool,
    /// Why instances are rejected; none if it could not be read.
    pub reason: Option<Reason>,
    /// Whether what is told of is hidden now.
    pub hides: bool,
    /// Who undid the note, if that is what is told.
    pub undone_by: Option<String>,
    /// Why it is not honoured, or was undone, in plain words.
    pub words: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Received.
    Received {
        /// From whom.
        origin: Origin,
        /// In detail.
        source: SourceFacts,
        /// What was made of it.
        taken: Taken,
        /// Destinations that were chosen and left out, with the reason.
        withheld: Vec<(Destination, String)>,
    },
    /// No route chose a destination.
    Unrouted,
    /// Owed to a destination.
    Owed {
        /// Where to.
        destination: Destination,
        /// Why.
        cause: Cause,
        /// By which route.
        route: Option<String>,
        /// Whether it counts for commitment.
        mandatory: bool,
        /// What must be seen before it is done.
        verify: Verify,
        /// How urgent it is.
        priority: Priority,
    },
    /// An attempt had an outcome.
    Tried {
        /// The attempt.
        attempt: AttemptId,
        /// Sent, or asked about.
        kind: BatchKind,
        /// Where to.
        destination: Destination,
        /// When the attempt began.
        began: SystemTime,
        /// The word of the outcome; `interrupted` when we were stopped in the middle.
        outcome: String,
        /// Where the transfers stood afterwards.
        became: State,
        /// What the other side said, in plain words.
        words: Option<String>,
        /// What is remembered of the attempt as a whole.
        summary: Option<String>,
    },
    /// An attempt is being made now.
    Trying {
        /// The attempt.
        attempt: AttemptId,
        /// Sent, or asked about.
        kind: BatchKind,
        /// Where to.
        destination: Destination,
    },
    /// A person, an arrival or a recovery moved transfers.
    Moved {
        /// Where to.
        destination: Destination,
        /// `retry`, `hold`, `release`, `cancel`, `expedite`, `send`, `arrived again`, `owed again`, `rejected`, `resumed`, `corrupt` or `restored`.
        what: String,
        /// By whom, if by a person.
        who: Option<String>,
        /// Why, in plain words.
        words: Option<String>,
        /// Where they stood afterwards.
        became: State,
    },
    /// An exception was opened.
    Exception {
        /// Its number; of several, the first.
        exception: ExceptionId,
        /// `conflict`, `dead`, `poison` or `corrupt`.
        kind: String,
        /// When it was closed; `None` while it waits for a person.
        closed: Option<SystemTime>,
        /// Why, in plain words.
        words: Option<String>,
    },
    /// Somebody asked for the study, was given it, or was not.
    Accessed(Accessed),
    /// Something was pulled ahead of its being asked for: because of this study, or this study itself.
    Prefetch {
        /// The rule that chose this study; `None` if the study is the cause.
        rule: Option<String>,
        /// The site that showed it.
        peer: Option<String>,
        /// How it stands, or how it ended.
        how: String,
    },
    /// A rejection note was read that names it, or that it is; or a person undid it.
    Rejected(Rejected),
    /// The bytes were removed here.
    Purged {
        /// By which rule.
        rule: PurgeRule,
        /// By whom, if a person dropped them.
        who: Option<String>,
        /// Why, in plain words.
        words: Option<String>,
    },
    /// A rule withholds the study or series of it now.
    Withheld {
        /// The rule.
        rule: String,
        /// From whom; none: from every peer.
        from: Vec<Destination>,
        /// Which series; none: the whole study.
        series: Vec<String>,
        /// What the first image said is not reason for all of it: a later one said something else.
        later: bool,
    },
    /// Where transfers stand now, and what happens next.
    Now {
        /// Where to.
        destination: Destination,
        /// Their state.
        state: State,
        /// What must be seen before they are done.
        verify: Verify,
        /// When they are tried or asked about next; `None` when nothing is to come without a person.
        next: Option<SystemTime>,
        /// What is wrong with the destination as a whole, if anything.
        waiting_for: Option<String>,
    },
}
