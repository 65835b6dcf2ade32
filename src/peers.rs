//! Nodes and peers: who they are and what each may do.

mod archive;
mod priority;
mod registry;
mod storage;
#[cfg(test)]
mod tests;
mod user;
mod withhold;

pub use archive::Archive;
pub use priority::Priority;
pub use registry::{Party, Refused, Registry};
pub use storage::{StorageClasses, UnknownClasses};
pub use user::User;
pub use withhold::{Hidden, PatientList, StudyFacts, Withhold};

use crate::dicom::ae_title::AeTitle;
use crate::dicom::tag::Tag;
use crate::tls::Identity;
use ipnet::IpNet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The name of a destination: a peer's name or a node's AE title; one name space, kept apart by the configuration check.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination(pub String);

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an instance came to us ("Origins and loops" in docs/ARCHITECTURE.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Pushed by a local node over DIMSE.
    Node(AeTitle),
    /// Pushed by a peer site over DICOMweb.
    Peer(String),
    /// Given by an operator on this machine (`weybridge send`).
    Operator(String),
    /// Pulled by us from a peer site, because somebody asked for it.
    Pulled(String),
    /// Fetched by us from a local archive, because somebody asked for it.
    Archive(AeTitle),
}

impl Origin {
    /// The name of the party at the other end, as routes and destinations write it.
    pub fn name(&self) -> &str {
        match self {
            Self::Node(title) | Self::Archive(title) => title.as_str(),
            Self::Peer(name) | Self::Operator(name) | Self::Pulled(name) => name,
        }
    }

    /// The peer site that it came from, whether pushed by it or pulled: its patients are foreign here.
    pub fn site(&self) -> Option<&str> {
        match self {
            Self::Peer(name) | Self::Pulled(name) => Some(name),
            Self::Node(_) | Self::Operator(_) | Self::Archive(_) => None,
        }
    }

    /// Whether it came because somebody asked for it: then it goes to who asked, fires no route and is kept by another.
    pub fn is_asked_for(&self) -> bool {
        matches!(self, Self::Pulled(_) | Self::Archive(_))
    }
}

/// What must be seen before a transfer counts as done ("What counts as done"; INV-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// The destination's own answer named the instance.
    Accepted,
    /// A query at the destination showed the instance.
    Present,
    /// The destination gave the instance back, and it says and shows what was sent.
    Readback,
}

impl Verify {
    /// Every policy, the weakest first.
    pub const ALL: [Self; 3] = [Self::Accepted, Self::Present, Self::Readback];

    /// The word that the configuration, the records and the command line use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Present => "present",
            Self::Readback => "readback",
        }
    }
}

/// A destination that the routes chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Where the instance goes.
    pub destination: Destination,
    /// The first route that chose it.
    pub route: String,
    /// Whether any route that chose it counts for storage commitment.
    pub mandatory: bool,
    /// What counts as done.
    pub verify: Verify,
    /// The highest priority of the routes that chose it.
    pub priority: Priority,
}

/// What a node or peer may do here. Nothing by default (DIM-020); C-ECHO is always answered to whoever may call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct May {
    /// Send instances to us.
    pub store: bool,
    /// A node: query by C-FIND.
    pub find: bool,
    /// A node: retrieve by C-MOVE or C-GET.
    pub r#move: bool,
    /// A node: be given instances, by a route, a move or an operator.
    pub receive: bool,
    /// Ask for storage commitment.
    pub commit: bool,
    /// A peer: query by QIDO-RS.
    pub query: bool,
    /// A peer: retrieve by WADO-RS.
    pub retrieve: bool,
}

impl May {
    /// Tells whether any of it needs the other side to call us.
    pub fn calls(&self) -> bool {
        self.store || self.find || self.r#move || self.commit || self.query || self.retrieve
    }
}

/// What becomes of another site's patients' identifiers on the way to a node ("Foreign patients" in docs/ARCHITECTURE.md).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Foreign {
    /// Patient ID becomes ISSUER:ID; Accession Number and other numbers are emptied.
    #[default]
    Prefix,
    /// Issuer of Patient ID is filled where it is empty.
    Issuer,
    /// A person decides about each.
    Hold,
    /// Instances go as they came; the site accepts that two trusts give one number to two people.
    AsIs,
}

/// How a node is shown that another site does not answer, or was not asked ("A silent site is visible").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Silent {
    /// A study among the answers that names the site and holds nothing.
    #[default]
    Marker,
    /// The query ends with a failure, after the answers of those that did answer.
    Failure,
}

/// Whose numbers a node's Patient IDs are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PatientIds {
    /// The site's own.
    #[default]
    Local,
    /// NHS numbers.
    Nhs,
}

/// A local DICOM application entity.
#[derive(Debug, Clone)]
pub struct Node {
    /// The AE title by which it calls and is called; its name in routes and as a destination.
    pub ae_title: AeTitle,
    /// What people call it.
    pub name: Option<String>,
    /// Where it listens, as host and port; `None` for one that only calls.
    pub address: Option<String>,
    /// Where it may call from; over plain TCP an address outside is refused, over TLS too if any is given.
    pub from_addresses: Vec<IpNet>,
    /// The subject alternative name that its certificate carries; set: it is spoken to over TLS only, in both directions.
    pub identity: Option<String>,
    /// Who we say that we are when we call it, besides our AE title.
    pub user: Option<User>,
    /// What it may do.
    pub may: May,
    /// What counts as done for a transfer to it.
    pub verify: Verify,
    /// Issuer of the patient identifiers that it sends without one.
    pub issuer: Option<String>,
    /// Whose numbers its Patient IDs are.
    pub patient_ids: PatientIds,
    /// What other sites are told that it asks for; `None`: as the site says.
    pub purpose: Option<String>,
    /// The character set of its text that declares none; of an archive, also that in which it is asked.
    pub charset: String,
    /// Nodes to which it may move besides itself.
    pub move_to: Vec<AeTitle>,
    /// How other sites' patients reach it.
    pub foreign: Foreign,
    /// How it is shown that a site does not answer.
    pub silent: Silent,
    /// Where another site's study lies is shown before its description (DIM-070).
    pub origin_in_description: bool,
    /// What came from another site is marked as imported on the way to it (IDY-032).
    pub mark_imported: bool,
    /// What is changed on the way to it names this gateway in Contributing Equipment Sequence (IDY-033).
    pub contributing_equipment: bool,
    /// An object whose SOP class it refuses may go to it under a related general class (DIM-051).
    pub general_class: bool,
    /// The same UID with other content is answered C010 instead of Success; it is kept and held either way.
    pub conflict_is_failure: bool,
    /// Attributes that it writes anew each time it sends an instance: they make no conflict.
    pub volatile: Vec<Tag>,
    /// Which classes it may store.
    pub storage: StorageClasses,
    /// Most associations that it may have open here at once.
    pub max_associations: usize,
    /// Most associations that we open to it at once.
    pub max_parallel: usize,
    /// How it is asked for what it holds, if it is an archive.
    pub archive: Option<Archive>,
}

impl Node {
    /// Whether it moves to this title of ours what we asked it for as an archive.
    pub fn moves_to(&self, called: &AeTitle) -> bool {
        self.archive.as_ref().is_some_and(|archive| archive.retrieve_ae == *called)
    }

    /// Its name as a destination.
    pub fn destination(&self) -> Destination {
        Destination(self.ae_title.as_str().to_owned())
    }

    /// Who issued its Patient IDs where its objects do not say: as its entry says, or the NHS where they are NHS numbers.
    pub fn numbers_of(&self) -> Option<String> {
        self.issuer.clone().or_else(|| (self.patient_ids == PatientIds::Nhs).then(|| "NHS".to_owned()))
    }
}

/// Another site's gateway.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name in routes and as a destination.
    pub name: String,
    /// Base address of its DICOMweb service, https, without a slash at the end.
    pub url: String,
    /// The subject alternative name that its certificate carries, in both directions.
    pub identity: String,
    /// What it may do.
    pub may: May,
    /// What counts as done for a transfer to it.
    pub verify: Verify,
    /// Issuer of the patient identifiers that it sends without one.
    pub issuer: Option<String>,
    /// What we show it when we call; `None`: the site's own.
    pub client: Option<Arc<Identity>>,
    /// Attributes that it writes anew each time it sends an instance: they make no conflict.
    pub volatile: Vec<Tag>,
    /// Most requests that we make to it at once.
    pub max_parallel: usize,
    /// Whether it is asked for priors.
    pub priors: bool,
    /// How long it may take to answer a query for priors; `None`: as long as all of them.
    pub query_timeout: Option<Duration>,
}

impl Peer {
    /// Its name as a destination.
    pub fn destination(&self) -> Destination {
        Destination(self.name.clone())
    }
}
