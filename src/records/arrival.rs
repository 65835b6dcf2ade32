//! The words of an intake: what arrived, from whom, what is owed for it, and what the records made of it.

use crate::dicom::head::Head;
use crate::peers::{Chosen, Destination, Origin, Priority, Verify};
use crate::store::{Digest, Place};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The number of one version of an instance in the records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub i64);

/// The number of one generation of a blob. It is never used for another (docs/ARCHITECTURE.md, "Store and ledger").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId(pub i64);

/// The number of an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExceptionId(pub i64);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ExceptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of the party that an instance came from (requirements section 6.1, "Who"). No patient data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceFacts {
    /// Its AE title, over DIMSE.
    pub calling: Option<String>,
    /// The AE title that it called.
    pub called: Option<String>,
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its Implementation Class UID (PS3.7 section D.3.3.2).
    pub implementation_class: Option<String>,
    /// Its Implementation Version Name.
    pub implementation_version: Option<String>,
    /// The subject of its certificate.
    pub certificate: Option<String>,
    /// Who issued its patient identifiers where the objects do not say, as our configuration said then (IDY-040).
    pub issuer: Option<String>,
    /// Who issued them by the word of the site that was asked, where that differs from what our configuration says of it (IDY-040).
    pub word: Option<String>,
}

/// The bytes of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobRef {
    /// A generation that `Records::blob_of` named. The commit checks that it is still live.
    Known(BlobId),
    /// Freshly written and synced.
    New(Place),
}

/// A destination that an operator asked for by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// Where to.
    pub destination: Destination,
    /// The name of the request; the same request never owes the same thing twice.
    pub request: String,
    /// What must be seen before it is done.
    pub verify: Verify,
    /// How urgent it is.
    pub priority: Priority,
}

/// An instance whose bytes are durable, to be entered in the records.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// How it came to us.
    pub origin: Origin,
    /// From whom, in detail.
    pub source: SourceFacts,
    /// Its identity and indexed attributes.
    pub head: Head,
    /// The SHA-256 of its data set.
    pub digest: Digest,
    /// The length of its data set in bytes.
    pub length: u64,
    /// Where its bytes are.
    pub blob: BlobRef,
    /// What the routes chose.
    pub chosen: Vec<Chosen>,
    /// The name of the routes that chose; none if no route was consulted. Others may be in force when it is recorded.
    pub routes: Option<Arc<str>>,
    /// What an operator asked for.
    pub requested: Option<Requested>,
    /// When it was received.
    pub received_at: SystemTime,
    /// A destination where it was done longer ago than this is asked again.
    pub resend_after: Duration,
}

/// What the records made of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The first of its UID.
    Stored {
        /// Its number.
        instance: InstanceId,
    },
    /// The same bytes in the same syntax are here already (IDY-020 D1).
    Same {
        /// The number of the version that was here.
        instance: InstanceId,
        /// So many transfers came due because of this arrival.
        owed_again: usize,
    },
    /// The UID is here with other content. It is kept, held, and waits for a person (IDY-010, INV-12).
    Differs {
        /// The number of the new version.
        instance: InstanceId,
        /// The exception that was opened.
        exception: ExceptionId,
    },
    /// The generation that was named is no longer live; nothing was recorded. The bytes must be written again.
    BlobGone,
    /// Other routes are in force than those that chose; nothing was recorded. It must be routed again.
    Rerouted,
}

/// What became of a transfer that was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It is owed now, anew or again.
    Owed,
    /// It was owed already, and is not done.
    UnderWay,
    /// It was done already.
    There,
    /// It is owed, and waits for a person.
    Held,
    /// It is not owed, and why.
    Not(Unowed),
}

/// Why an instance is not owed to a destination for which it was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unowed {
    /// A rejection note names it.
    Hidden,
    /// A person rejected this version.
    Rejected,
    /// A person cancelled its transfer.
    Cancelled,
}

impl Unowed {
    /// In plain words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Hidden => "a rejection note names it",
            Self::Rejected => "a person rejected this version",
            Self::Cancelled => "its transfer was cancelled, and `send --study` sends it all the same",
        }
    }
}

/// The answer to an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// What the records made of it.
    pub kept: Kept,
    /// What became of what an operator asked for.
    pub requested: Option<Became>,
    /// The freshly written bytes that are not needed, because the same were here already: to be freed by the caller.
    pub redundant: Option<Place>,
}
