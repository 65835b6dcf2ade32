//! What one attempt came to, transfer by transfer. Pure.

use super::transfer::State;
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

/// Of what a destination speaks that refuses one instance (DIM-054).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Of the instance.
    Instance,
    /// It says that it is out of resources.
    Scarce,
    /// It says that it does not let us store.
    Forbidden,
}

impl Refusal {
    /// Whether it may be meant of the destination as a whole. In the field both are said of single instances as well.
    pub fn may_be_whole(self) -> bool {
        self != Self::Instance
    }
}

/// Whose a refusal is that may be meant of the destination as a whole (REL-21, REL-24).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The destination took something else in the same batch, or since it last refused this transfer so: it is the instance's.
    Instance,
    /// It took nothing since: it is the destination's, and costs the instance nothing.
    Destination,
    /// The same one was refused again, alone, and nothing was tried besides: it costs nobody anything.
    Nobody,
}

/// What is known when such a refusal comes in. The destination counts the batches of which it took something; no clock is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Its count when it last refused the transfer so, if it did.
    pub before: Option<i64>,
    /// Its count before this batch.
    pub taken: i64,
    /// Whether it took something of this batch.
    pub took: bool,
    /// Whether the transfer was alone in this batch, and alone as well when the destination was last refused by one.
    pub alone_again: bool,
}

impl Refused {
    /// Whose the refusal is.
    pub fn whose(self) -> Whose {
        match self.before {
            _ if self.took => Whose::Instance,
            Some(before) if before < self.taken => Whose::Instance,
            _ if self.alone_again => Whose::Nobody,
            _ => Whose::Destination,
        }
    }
}

/// What stands before the rules by which an instance was changed.
const CHANGED_BY: &str = "; changed by ";

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
        /// Of what it speaks.
        refusal: Refusal,
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

    /// The same, and by which rules the instance was changed on its way (WEB-002, IDY-034).
    pub fn changed_by(self, rules: &str) -> Self {
        match self {
            Self::Accepted { evidence } => Self::Accepted { evidence: format!("{evidence}{CHANGED_BY}{rules}") },
            other => other,
        }
    }

    /// Whether that is said.
    pub fn is_of_changed(&self) -> bool {
        self.words().contains(CHANGED_BY)
    }

    /// Who is charged, where it is tried again (REL-21).
    pub fn charge(&self, whose: Whose) -> Option<Charge> {
        match self {
            Self::Deferred { charge, .. } => Some(*charge),
            Self::Refused { refusal, .. } if refusal.may_be_whole() && whose != Whose::Instance => {
                Some(Charge::Destination)
            }
            Self::Refused { .. } => Some(Charge::Instance),
            _ => None,
        }
    }

    /// Whether it is a refusal that may be meant of the destination as a whole.
    pub fn may_be_whole(&self) -> bool {
        matches!(self, Self::Refused { refusal, .. } if refusal.may_be_whole())
    }

    /// Whether it shows that the destination took something that it was sent just now, or of which nobody knew whether it came.
    pub fn took(&self, state: State) -> bool {
        match self {
            Self::Accepted { .. } | Self::Uncompared { .. } => state == State::Leased,
            Self::Verified { .. } => matches!(state, State::Leased | State::Unknown),
            _ => false,
        }
    }
}
