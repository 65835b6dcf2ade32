//! The way out with real bytes: each instance is read from the store as the real carriers read it, before the simulated network takes it.

use super::destination::Network;
use crate::clock::Clock;
use crate::courier::body::{Fault, Plan};
use crate::courier::carrier::{Carrier, Report};
use crate::courier::data_set::DataSet;
use crate::courier::foreign::Policy;
use crate::courier::reading::Reading;
use crate::courier::sender::{Foreigners, Sender};
use crate::courier::{Courier, LaneSpec};
use crate::dicom::transfer_syntax::IMPLICIT_VR_LE;
use crate::dimse::{Source, SourceError, StoreCommand, StoreFailure, StoreResponse, Stores};
use crate::peers::{Foreign, Verify};
use crate::records::{Batch, Leased, Records};
use crate::router::Routes;
use crate::store::{Ahead, Digest, Store, simulated};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// So long an answer to a question is waited for.
const UNANSWERED: Duration = Duration::from_secs(600);

/// What is longer is sent as it is stored: of it more than one chunk is read, and a damaged one might be found to be no data set before it is
/// found to be damaged.
const ONE_CHUNK: u64 = 32 << 10;

/// The digest of an instance as it is to be re-encoded, by its own.
pub(crate) type ReEncoded = fn(&Digest) -> Option<Digest>;

/// A courier that goes by this clock.
pub(crate) fn courier<C: Carrier>(
    records: &Records,
    clock: Clock,
    routes: watch::Receiver<Arc<Routes>>,
    lanes: Vec<LaneSpec<C>>,
) -> Courier {
    let courier = Courier::idle(records, clock, routes, &CancellationToken::new());
    courier.replace(lanes);
    courier
}

/// The carrier to one destination: by C-STORE to a node, by STOW-RS to a peer, as far as bytes are concerned.
pub(crate) struct Sending {
    network: Network,
    store: Store,
    node: Option<Sender>,
    /// Set for a node that takes Implicit VR Little Endian alone.
    re_encoded: Option<ReEncoded>,
    /// Looks at everything.
    look: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Sending {
    pub(crate) fn new(
        network: Network,
        (store, records): (Store, Records),
        (verify, re_encoded): (Verify, Option<ReEncoded>),
        look: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        let policy = Policy { mode: Foreign::AsIs, ..Policy::default() };
        let (issuers, nhs_nodes) = Default::default();
        let foreigners = Foreigners { policy, site: "here".into(), issuers, records, nhs_nodes };
        let node = (verify == Verify::Accepted).then(|| Sender::new(store.clone(), foreigners));
        let re_encoded = re_encoded.filter(|_| node.is_some());
        Self { network, store, node, re_encoded, look }
    }

    async fn read(&self, item: &Leased, ahead: Ahead) -> Result<Vec<u8>, Fault> {
        let Some(sender) = &self.node else {
            let plan = Plan::for_the_web(&self.store, item).await.map_err(|error| error.fault())?;
            let mut data = DataSet::open_on(&self.store, item, &plan, ahead).await.map_err(|error| error.fault())?;
            let mut bytes = Vec::new();
            while let Some(more) = data.next().await.map_err(|error| error.fault())? {
                bytes.extend(more);
            }
            return Ok(bytes);
        };
        let mut taking = Taking { implicit: self.re_encodes(item).is_some(), bytes: Vec::new() };
        let mut reading = Reading::from(ahead);
        let (context, plan, length) = sender.plan(&taking, (item, &mut reading), &[], false).await?;
        let sent = sender.send_as(&mut taking, (item, reading), context, plan, length, None).await;
        match sent.map_err(|unsent| unsent.fault) {
            Ok(_) => Ok(taking.bytes),
            Err(Some(fault)) => Err(fault),
            Err(None) => panic!("this association never fails"),
        }
    }

    fn re_encodes(&self, item: &Leased) -> Option<ReEncoded> {
        self.re_encoded.filter(|_| item.length <= ONE_CHUNK)
    }

    /// What is sent is what came in; what is re-encoded is the same bytes each time (INV-16).
    fn is_right(&self, item: &Leased, sent: &[u8]) -> bool {
        let must_be = match self.re_encodes(item) {
            None => Some(item.digest),
            Some(re_encoded) => {
                self.network.world.lock().unwrap().re_encoded(item.digest);
                re_encoded(&item.digest)
            }
        };
        must_be == Some(Digest::of(sent))
    }
}

impl Carrier for Sending {
    async fn carry(&self, batch: &Batch) -> Report {
        (self.look)("leased");
        let (mut report, mut whole) = (Report::default(), Vec::new());
        let mut ahead = Ahead::default();
        for (n, item) in batch.items.iter().enumerate() {
            let next = batch.items.get(n + 1).map(|next| self.store.ahead(next.place, next.digest));
            match self.read(item, std::mem::replace(&mut ahead, next.unwrap_or_default())).await {
                Ok(bytes) if self.is_right(item, &bytes) => whole.push(item.clone()),
                Ok(_) => self.network.wrong(format!("other bytes were sent of {}", item.sop_instance)),
                Err(fault) => report.fault(item, fault),
            }
        }
        if simulated::is_dead() {
            // Who has died sends nothing more.
            return std::future::pending().await;
        }
        if !whole.is_empty() {
            let sent = self.network.carry(&Batch { items: whole, ..batch.clone() }).await;
            patience(&sent).await;
            report.outcomes.extend(sent.outcomes);
            (report.detail, report.unusable) = (sent.detail, sent.unusable);
        }
        (self.look)("carried");
        // How it lets itself be asked has a breaker of its own, of which the model says nothing.
        Report { asking: None, ..report }
    }

    async fn check(&self, batch: &Batch) -> Report {
        (self.look)("to be checked");
        if simulated::is_dead() {
            return std::future::pending().await;
        }
        let report = self.network.check(batch).await;
        patience(&report).await;
        (self.look)("checked");
        Report { asking: None, ..report }
    }

    fn together(&self) -> bool {
        self.network.together()
    }
}

/// A question without an answer takes long: there is nothing else that makes the next one wait.
async fn patience(report: &Report) {
    if report.refuses_questions() {
        tokio::time::sleep(UNANSWERED).await;
    }
}

/// An association with a node that takes everything, or everything that is in Implicit VR Little Endian.
struct Taking {
    implicit: bool,
    bytes: Vec<u8>,
}

impl Stores for Taking {
    fn context_for(&self, _class: &str, syntax: &str) -> Option<u8> {
        (!self.implicit || syntax == IMPLICIT_VR_LE).then_some(1)
    }

    async fn store(
        &mut self,
        _command: StoreCommand,
        length: Option<u64>,
        source: &mut (impl Source + Sync),
    ) -> Result<StoreResponse, StoreFailure> {
        while let Some(bytes) = source.next().await.map_err(|error: SourceError| StoreFailure::Source(error))? {
            self.bytes.extend(bytes);
        }
        assert!(length.is_none_or(|length| length == self.bytes.len() as u64));
        Ok(StoreResponse { status: crate::dimse::Status::SUCCESS, comment: None, offending: None })
    }
}
