//! The seam between a lane and the protocol that carries its batches.

use super::store_scu::StoreScu;
use super::stow::StowCarrier;
use crate::ledger::outcome::Outcome;
use crate::ledger::transfer::TransferId;
use crate::records::Batch;
use std::future::Future;
use std::time::Duration;

/// What came of carrying or checking one batch.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// One outcome for every transfer of the batch.
    pub outcomes: Vec<(TransferId, Outcome)>,
    /// What the other side said as a whole, in its own words, for the ledger.
    pub detail: String,
    /// Set when the destination as a whole failed: the lane pauses.
    pub pause: Option<Pause>,
}

/// Why a lane should leave its destination alone for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// What happened and whose side it is on.
    pub why: String,
    /// How long the other side asked us to wait, if it did.
    pub after: Option<Duration>,
    /// The destination cannot be used until something is put right; it is still probed.
    pub parked: bool,
}

/// Takes batches to one destination.
pub trait Carrier: Send + Sync + 'static {
    /// Sends a batch of one study and reports what became of each transfer. Never panics, always ends: every wait has a
    /// limit of its own.
    fn carry(&self, batch: &Batch) -> impl Future<Output = Report> + Send;

    /// Asks the destination which instances of a batch it shows, without sending any.
    fn check(&self, batch: &Batch) -> impl Future<Output = Report> + Send;
}

/// The real carriers.
pub enum Carriers {
    /// To a peer by STOW-RS.
    Stow(StowCarrier),
    /// To a node by C-STORE.
    Store(StoreScu),
}

impl Carrier for Carriers {
    async fn carry(&self, batch: &Batch) -> Report {
        match self {
            Self::Stow(carrier) => carrier.carry(batch).await,
            Self::Store(carrier) => carrier.carry(batch).await,
        }
    }

    async fn check(&self, batch: &Batch) -> Report {
        match self {
            Self::Stow(carrier) => carrier.check(batch).await,
            Self::Store(carrier) => carrier.check(batch),
        }
    }
}
