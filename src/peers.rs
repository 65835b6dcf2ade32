//! Nodes and peers: who they are and what each may do.

use crate::dicom::ae_title::AeTitle;
use std::fmt;

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
}

impl Origin {
    /// The name of the party at the other end, as routes and destinations write it.
    pub fn name(&self) -> &str {
        match self {
            Self::Node(title) => title.as_str(),
            Self::Peer(name) | Self::Operator(name) => name,
        }
    }
}

/// What must be seen before a transfer counts as done ("What counts as done"; INV-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// The destination's own answer named the instance.
    Accepted,
    /// A query at the destination showed the instance.
    Present,
}
