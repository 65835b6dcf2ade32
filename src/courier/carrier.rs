//! The seam between a lane and the protocol that carries its batches.

use super::body::Fault;
use super::store_scu::StoreScu;
use super::stow::StowCarrier;
use crate::ledger::breaker::Asking;
use crate::ledger::outcome::Outcome;
use crate::ledger::transfer::TransferId;
use crate::records::{Batch, InstanceId, Leased};
use crate::store::Place;
use std::future::Future;

/// What came of carrying or checking one batch.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// One outcome for every transfer of the batch.
    pub outcomes: Vec<(TransferId, Outcome)>,
    /// What the other side said as a whole, in its own words, for the ledger.
    pub detail: String,
    /// Instances whose own copy here was found damaged, and where it lay: to be set aside (REL-07).
    pub damaged: Vec<(InstanceId, Place, String)>,
    /// The destination as a whole failed or wants to be left alone: nothing more of the batch is sent.
    pub unusable: bool,
    /// How it let itself be asked what it holds; `None` if it was not asked.
    pub asking: Option<Asking>,
    /// What it warned of, by Warning Reason or status: it stored, but something else than it was sent, or says so.
    pub warnings: Vec<(TransferId, u16)>,
}

impl Report {
    /// Whether it refused to be asked.
    pub(super) fn refuses_questions(&self) -> bool {
        matches!(self.asking, Some(Asking::Not { .. }))
    }

    /// Notes a fault of our own about one transfer.
    pub(super) fn fault(&mut self, item: &Leased, fault: Fault) {
        self.outcomes.push((item.transfer, fault.outcome));
        self.damaged.extend(fault.damage.map(|why| (item.instance, item.place, why)));
        self.warnings.extend(fault.warning.map(|code| (item.transfer, code)));
    }
}

/// Takes batches to one destination.
pub trait Carrier: Send + Sync + 'static {
    /// Sends a batch of one study and reports what became of each transfer. Never panics, always ends: every wait has a
    /// limit of its own.
    fn carry(&self, batch: &Batch) -> impl Future<Output = Report> + Send;

    /// Asks the destination which instances of a batch it shows, without sending any.
    fn check(&self, batch: &Batch) -> impl Future<Output = Report> + Send;

    /// Whether several batches of one study may go there at once.
    fn together(&self) -> bool {
        false
    }
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
            Self::Store(carrier) => carrier.check(batch).await,
        }
    }

    fn together(&self) -> bool {
        match self {
            Self::Stow(carrier) => carrier.together(),
            Self::Store(_) => false,
        }
    }
}
