//! The words of the way out: leases of work, what came of them, and what people do to transfers.

use super::arrival::InstanceId;
use super::{Retrievable, Standing};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::head::Head;
use crate::dicom::uid::StudyUid;
use crate::ledger::breaker::{Asking, Showing};
use crate::ledger::transfer::{Cause, State, TransferId};
use crate::peers::{Destination, Origin, Verify};
use std::collections::BTreeSet;

/// The number of an attempt. It is the fencing token of its lease (INV-07).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId(pub i64);

/// How much one lease may take. At least one instance is always leased if any is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseLimits {
    /// The most instances (WEB-071: 200); at most 10,000 are taken.
    pub instances: usize,
    /// The most bytes of data sets together (WEB-071: 64 MB).
    pub bytes: u64,
    /// Whether several batches of one study may be on their way to the destination at once. Most archives take that badly, so
    /// that only other Weybridges get it (docs/decisions/0008-turns.md).
    pub together: bool,
}

/// What is to be done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchKind {
    /// Send it.
    Send,
    /// Ask the destination whether it has it; send nothing.
    Check,
}

impl BatchKind {
    /// The word that records and the command line use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Check => "check",
        }
    }
}

/// Transfers of one study to one destination, leased together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The attempt. Every outcome is reported with it.
    pub attempt: AttemptId,
    /// What is to be done.
    pub kind: BatchKind,
    /// Where to.
    pub destination: Destination,
    /// Of which study.
    pub study: StudyUid,
    /// The name of the routes that are in force; none before any were put in force.
    pub routes: Option<String>,
    /// The transfers, the oldest first.
    pub items: Vec<Leased>,
    /// SOP classes that the destination does not take; what is of one of them is not sent (WEB-063).
    pub unsupported: BTreeSet<String>,
    /// Whether the destination may be asked just now what it holds: it did not tell us to wait with that, nor refuse it lately.
    pub may_ask: bool,
    /// Nothing else was due to be sent there when it was leased. Of what is to be asked about it says nothing.
    pub last: bool,
}

/// One leased transfer, with all that sending it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// The transfer.
    pub transfer: TransferId,
    /// The instance version, and where its bytes are.
    pub copy: Retrievable,
    /// Its state before a check: [`State::Unknown`] or [`State::Accepted`]; [`State::Leased`] when it is to be sent.
    pub state: State,
    /// The destination said that it has it already: what it shows is read back and compared before it counts (WEB-055, FLT-056).
    pub claimed: bool,
    /// Another version of its UID was sent there: what is shown under the UID may be that one, and is compared before it counts.
    pub rival: bool,
    /// It was never sent there as far as these records know, but they come from a backup, and may not know all. Who refuses to be asked
    /// gets it, once more perhaps: better twice than never.
    pub unsent: bool,
    /// How often in a row it was tried or asked about, and nothing was said of it.
    pub unanswered: u32,
    /// What must be seen before it is done.
    pub verify: Verify,
    /// How often it was sent, this time included.
    pub attempts: u32,
    /// The destination has said before of its SOP class, and of each other of the batch, that it does not take it; a try finds out whether it
    /// still does not (WEB-063).
    pub class_refused: bool,
    /// Why it is owed.
    pub cause: Cause,
    /// The first route that chose the destination, if one did.
    pub route: Option<String>,
    /// It was owed before the routes in force were: whether they send it there too is to be asked (INV-15).
    pub before_routes: bool,
    /// Why it was held for a person who has released it since, in the words of each hold.
    pub released: Vec<String>,
    /// Where it stands as a rejection note; none if it is no Key Object Selection.
    pub note: Option<Standing>,
    /// Why it is not honoured as one, in plain words.
    pub not_honoured: Option<String>,
}

impl std::ops::Deref for Leased {
    type Target = Retrievable;

    fn deref(&self) -> &Retrievable {
        &self.copy
    }
}

/// What routes decide by about one instance.
#[derive(Debug, Clone)]
pub struct Routable {
    /// The number of the instance version.
    pub instance: InstanceId,
    /// What it is, with the indexed attributes as the records keep them, in UTF-8.
    pub head: Head,
    /// From whom it came, and by which AE title of ours, each once; the latest 64.
    pub arrivals: Vec<(Origin, Option<AeTitle>)>,
}

/// What is to be remembered of an attempt as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttemptSummary {
    /// In plain words, for `why`: for example `STOW-RS 200 after 1.2 s`. Without patient data; cut at 1,000 characters.
    pub detail: String,
    /// How the destination let itself be asked; `None` if it was not.
    pub asking: Option<Asking>,
    /// What it warned of, by Warning Reason or status.
    pub warnings: Vec<(TransferId, u16)>,
}

/// What the records made of reported outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// The transfers whose outcome was taken, and where they stand now.
    pub applied: Vec<(TransferId, State)>,
    /// The transfers that this attempt no longer held: noted as late evidence, nothing changed (REL-09).
    pub late: Vec<TransferId>,
    /// Whether the attempt has ended: nothing is in hand any more.
    pub ended: bool,
    /// What the outcomes showed of the destination, without what was a single instance's; `None` if nothing.
    pub showing: Option<Showing>,
    /// SOP classes that the destination said not to take, and was not known not to (WEB-063).
    pub refused_classes: Vec<String>,
}

/// What a person does to transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Try again now, also what was given up.
    Retry,
    /// Do not try until released.
    Hold,
    /// Try what was held.
    Release,
    /// Never try again.
    Cancel,
    /// Ask the destination again, and send what it lacks, although it was done.
    Reopen,
    /// Ask the destination first: it may have been sent by what came after a backup.
    Doubt,
    /// Serve it before others: it is urgent from now on.
    Expedite,
}

impl Verb {
    /// The word that records and the command line use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Cancel => "cancel",
            Self::Reopen => "reopen",
            Self::Doubt => "doubt",
            Self::Expedite => "expedite",
        }
    }

    /// Every verb that a person has; doubt is for records that come from a backup.
    pub const ALL: [Self; 6] = [Self::Retry, Self::Hold, Self::Release, Self::Cancel, Self::Reopen, Self::Expedite];
}

/// Which transfers a person means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Transfers(Vec<TransferId>),
    /// All of a study, or of a destination, or of both, or in a state; at least one must be given.
    Matching {
        /// Of this study.
        study: Option<StudyUid>,
        /// To this destination.
        destination: Option<Destination>,
        /// In this state.
        state: Option<State>,
    },
}

/// What an act changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acted {
    /// So many transfers were changed.
    pub changed: u64,
    /// Transfers that were named but left alone, with the reason in words; at most 1,000 are listed.
    pub skipped: Vec<(TransferId, String)>,
}
