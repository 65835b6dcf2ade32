//! What one attempt came to, transfer by transfer. Pure.

use std::time::Duration;

/// Who is charged with a failure (REL-21).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// The instance: it counts towards giving up.
    Instance,
    /// The destination as a whole: no instance loses an attempt.
    Destination,
    /// Ourselves (disk, restart, configuration).
    Us,
}

impl Charge {
    /// The word that entries use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Destination => "destination",
            Self::Us => "us",
        }
    }
}

/// The outcome of one attempt for one transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The destination's answer named the instance as stored. `evidence` says what was seen, in plain words.
    Accepted {
        /// For example `STOW-RS 200, named in Referenced SOP Sequence`.
        evidence: String,
    },
    /// The evidence that policy asks for was seen.
    Verified {
        /// For example `shown by QIDO-RS`.
        evidence: String,
    },
    /// Ambiguous: the destination must be asked before anything is sent again.
    Unknown {
        /// What happened, in plain words.
        why: String,
    },
    /// The destination says that it has the instance already, and it was not seen yet whether that is ours: what it shows is read
    /// back and compared before it counts (WEB-055, FLT-056).
    Claimed {
        /// What it said, and why it was not compared, in plain words.
        why: String,
    },
    /// The destination has something under this UID, and gives nothing back that could be compared, now or later: it counts, and
    /// the records remember that nobody saw whether it is the same.
    Uncompared {
        /// What was seen and what was not, in plain words.
        evidence: String,
    },
    /// A check found that the destination does not have it: to be sent again.
    Absent {
        /// What was asked and answered.
        why: String,
    },
    /// To be tried again later.
    Deferred {
        /// What happened, in plain words.
        why: String,
        /// Who is charged.
        charge: Charge,
        /// What the other side asked us to wait, if it did; else back-off decides.
        after: Option<Duration>,
    },
    /// The destination refused this instance, for a reason that may pass: tried a few times more, then given up (DIM-054).
    Refused {
        /// What the other side said, in plain words.
        why: String,
        /// What the other side asked us to wait, if it did; else back-off decides.
        after: Option<Duration>,
        /// It says that it is out of resources: if it took nothing else, it is left alone for a while, and as long as it takes
        /// nothing at all, no instance is given up for it.
        scarce: bool,
    },
    /// The destination does not take this SOP class: parked, with all others of the class, until one that is tried now and then is
    /// taken, or a person lifts it (WEB-063).
    Unsupported {
        /// What the other side said, in plain words.
        why: String,
        /// Whether the destination said so just now; else it was not even asked, because it had said so before.
        said: bool,
    },
    /// The destination cannot be used until something is put right.
    Parked {
        /// What is wrong and whose side it is on.
        why: String,
    },
    /// A person must decide before it goes to this destination.
    Held {
        /// What is to be decided.
        why: String,
    },
    /// Given up for this instance and destination.
    Dead {
        /// What the other side said, in plain words.
        why: String,
    },
}

impl Outcome {
    /// The word that records and entries use.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Verified { .. } => "verified",
            Self::Unknown { .. } => "unknown",
            Self::Claimed { .. } => "claimed",
            Self::Uncompared { .. } => "uncompared",
            Self::Absent { .. } => "absent",
            Self::Deferred { .. } => "deferred",
            Self::Refused { .. } => "refused",
            Self::Unsupported { .. } => "unsupported",
            Self::Parked { .. } => "parked",
            Self::Held { .. } => "held",
            Self::Dead { .. } => "dead",
        }
    }

    /// What was seen or said, in plain words.
    pub fn words(&self) -> &str {
        match self {
            Self::Accepted { evidence } | Self::Verified { evidence } | Self::Uncompared { evidence } => evidence,
            Self::Unknown { why }
            | Self::Claimed { why }
            | Self::Absent { why }
            | Self::Deferred { why, .. }
            | Self::Refused { why, .. }
            | Self::Unsupported { why, .. }
            | Self::Parked { why }
            | Self::Held { why }
            | Self::Dead { why } => why,
        }
    }

    /// Who is charged, where it is tried again (REL-21).
    pub fn charge(&self) -> Option<Charge> {
        match self {
            Self::Deferred { charge, .. } => Some(*charge),
            Self::Refused { .. } => Some(Charge::Instance),
            _ => None,
        }
    }
}
