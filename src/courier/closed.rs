//! Destinations that the configuration names no longer: what is owed to them is parked where everybody sees it, and never sent
//! (INV-15).

use super::carrier::{Carrier, Report};
use super::clock::Clock;
use super::lane::{Lane, LaneOptions};
use crate::ledger::breaker::Reach;
use crate::ledger::outcome::Outcome;
use crate::ledger::transfer::State;
use crate::peers::Destination;
use crate::records::{Batch, DestinationView, LeaseLimits, Records};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// So often it is looked at whether all of it is parked.
const LOOK: Duration = Duration::from_secs(1);

/// Sends nothing, and says why.
struct Closed;

impl Carrier for Closed {
    async fn carry(&self, batch: &Batch) -> Report {
        let why = format!(
            "the configuration has no [[peer]] {0}, nor a [[node]] {0} that may \"receive\"; put it back, or cancel what it is owed",
            batch.destination
        );
        let parked = Outcome::Parked { why: why.clone() };
        let outcomes = batch.items.iter().map(|item| (item.transfer, parked.clone())).collect();
        Report { outcomes, detail: why, unusable: true, ..Report::default() }
    }

    async fn check(&self, batch: &Batch) -> Report {
        self.carry(batch).await
    }
}

/// Parks what is owed to destinations other than `open`; ends when that is done, or at `stop`. The first thing to be tried there
/// parks the whole destination, so that one attempt is enough until the configuration is read again.
pub(super) async fn park(records: Records, clock: Clock, open: BTreeSet<Destination>, stop: CancellationToken) {
    let views = match records.destinations().await {
        Ok(views) => views,
        Err(error) => {
            tracing::error!(error = %error, "what is owed to destinations that are no longer configured cannot be read");
            return;
        }
    };
    let closed = views.into_iter().filter(|view| !open.contains(&view.destination) && waits(view));
    join_all(closed.map(|view| park_one(&records, &clock, view.destination, &stop))).await;
}

async fn park_one(records: &Records, clock: &Clock, destination: Destination, stop: &CancellationToken) {
    tracing::warn!(%destination, "something is owed to a destination that is not configured; it is parked");
    let batch = LeaseLimits { instances: 200, bytes: u64::MAX, together: false };
    let options = LaneOptions { parallel: 1, batch, check_instances: 200, idle: LOOK };
    let ended = stop.child_token();
    let lane = Lane::new(
        records.clone(),
        clock.clone(),
        None,
        (destination.clone(), Arc::new(Closed), options),
        Arc::default(),
    );
    tokio::join!(lane.run(ended.clone()), parked(records, &destination, ended));
}

/// Whether anything is to be sent or asked there.
fn waits(view: &DestinationView) -> bool {
    [State::Pending, State::Deferred, State::Unknown, State::Parked]
        .iter()
        .any(|state| view.open.contains_key(state.word()))
}

/// Ends a lane once its destination is parked.
async fn parked(records: &Records, destination: &Destination, ended: CancellationToken) {
    while !ended.is_cancelled() {
        let views = records.destinations().await.unwrap_or_default();
        let done = |view: &DestinationView| view.destination == *destination && view.reach == Reach::Parked;
        if views.iter().any(done) {
            ended.cancel();
        } else {
            tokio::select! {
                () = ended.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}
