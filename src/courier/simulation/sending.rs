//! The way out with real bytes: each instance is read from the store as the real carriers read it, before the simulated network takes it.

use super::destination::Network;
use crate::clock::Clock;
use crate::courier::body::{Fault, Plan};
use crate::courier::carrier::{Carrier, Report};
use crate::courier::data_set::DataSet;
use crate::courier::foreign::Policy;
use crate::courier::sender::{Foreigners, Sender};
use crate::courier::{Courier, LaneSpec};
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
    /// Looks at everything.
    look: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Sending {
    pub(crate) fn new(
        network: Network,
        (store, records): (Store, Records),
        verify: Verify,
        look: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        let policy = Policy { mode: Foreign::AsIs, ..Policy::default() };
        let (issuers, nhs_nodes) = Default::default();
        let foreigners = Foreigners { policy, site: "here".into(), issuers, records, nhs_nodes };
        let node = (verify == Verify::Accepted).then(|| Sender::new(store.clone(), foreigners));
        Self { network, store, node, look }
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
        let mut taking = Taking(Vec::new());
        let (context, plan, length) = sender.plan(&taking, item, &[], false).await?;
        let sent = sender.send_as(&mut taking, (item, ahead), context, plan, length, None).await;
        match sent.map_err(|unsent| unsent.fault) {
            Ok(_) => Ok(taking.0),
            Err(Some(fault)) => Err(fault),
            Err(None) => panic!("this association never fails"),
        }
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
                Ok(bytes) if Digest::of(&bytes) == item.digest => whole.push(item.clone()),
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

/// An association with a node that takes everything.
struct Taking(Vec<u8>);

impl Stores for Taking {
    fn context_for(&self, _class: &str, _syntax: &str) -> Option<u8> {
        Some(1)
    }

    async fn store(
        &mut self,
        _command: StoreCommand,
        length: Option<u64>,
        source: &mut (impl Source + Sync),
    ) -> Result<StoreResponse, StoreFailure> {
        while let Some(bytes) = source.next().await.map_err(|error: SourceError| StoreFailure::Source(error))? {
            self.0.extend(bytes);
        }
        assert!(length.is_none_or(|length| length == self.0.len() as u64));
        Ok(StoreResponse { status: crate::dimse::Status::SUCCESS, comment: None, offending: None })
    }
}
