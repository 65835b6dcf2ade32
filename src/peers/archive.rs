//! An archive behind us: a node that we ask for what it holds.

use crate::dicom::ae_title::AeTitle;
use std::time::Duration;

/// How a node is asked as an archive (DIM-091; "Moves" in docs/ARCHITECTURE.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Our AE title to which it moves what we ask it for, and nothing else.
    pub retrieve_ae: AeTitle,
    /// How long it may take to answer a query.
    pub query_timeout: Duration,
    /// How long nothing may come of what it was asked to move.
    pub fetch_timeout: Duration,
}
