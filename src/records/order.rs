//! The words of `weybridge send` for what is held already: which studies are meant, and what is owed of them.

use crate::dicom::uid::StudyUid;
use crate::peers::{Destination, Origin, Priority, Verify};
use std::fmt;
use std::time::{Duration, SystemTime};

/// Which studies a person means.
#[derive(Clone, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    Study(StudyUid),
    /// Those with this Accession Number, whoever assigned it.
    Accession(String),
    /// Those with this Patient ID, whoever assigned it.
    Patient(String),
}

/// `Debug` prints no number (SEC-010).
impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Study(_) => "Wanted::Study",
            Self::Accession(_) => "Wanted::Accession",
            Self::Patient(_) => "Wanted::Patient",
        })
    }
}

/// A study that is held here, with what tells whose it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Holding {
    /// Study Instance UID.
    pub study: StudyUid,
    /// Patient ID as it was received.
    pub patient_id: Option<String>,
    /// Issuer of Patient ID as it was received.
    pub issuer: Option<String>,
    /// Study Date.
    pub study_date: Option<String>,
    /// Who first sent instances of it, each once.
    pub origins: Vec<Origin>,
    /// Instances that can be sent.
    pub instances: u64,
    /// The bytes of their data sets.
    pub bytes: u64,
    /// Versions that cannot be sent: in conflict, damaged or purged.
    pub unsendable: u64,
}

/// `Debug` prints no patient (SEC-010).
impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holding")
            .field("study", &self.study)
            .field("instances", &self.instances)
            .finish_non_exhaustive()
    }
}

/// A person's order to send what is held of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which study.
    pub study: StudyUid,
    /// Only what came from this node or peer.
    pub from: Option<String>,
    /// Where to.
    pub destination: Destination,
    /// What must be seen before it is done.
    pub verify: Verify,
    /// How urgent it is.
    pub priority: Priority,
    /// Who orders it.
    pub who: String,
    /// Why; may be empty.
    pub reason: String,
    /// Also what is done there already, and what came from there.
    pub again: bool,
    /// What was done there longer ago is asked about again without `again`.
    pub resend_after: Duration,
    /// When.
    pub now: SystemTime,
}

/// What came of an order, in instances; the counts add up to the instances that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ordered {
    /// Owed from now on; where something like it is there already, the destination is asked first.
    pub owed: u64,
    /// On their way there already, for another cause.
    pub under_way: u64,
    /// There already.
    pub done: u64,
    /// Left out because they came from there.
    pub came_from_there: u64,
    /// Left out because they cannot be sent: in conflict, damaged, purged, or held for a person.
    pub unsendable: u64,
}
