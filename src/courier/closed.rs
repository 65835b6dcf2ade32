//! Destinations that the configuration names no longer: what is owed to them is parked where everybody sees it, and never sent
//! (INV-15).

use super::carrier::{Carrier, Report};
use super::lane::{Lane, LaneOptions};
use crate::clock::Clock;
use crate::ledger::breaker::Reach;
use crate::ledger::outcome::Outcome;
use crate::ledger::transfer::State;
use crate::peers::Destination;
use crate::records::{Batch, DestinationView, LeaseLimits, Records, RecordsError};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// So soon it is looked at first whether all of it is parked; then after twice as long each time.
const LOOK: Duration = Duration::from_secs(1);

/// So often it is looked at whether more is owed there: what was in hand when the configuration was read, or what a person released.
const AGAIN: Duration = Duration::from_secs(10);

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

/// Parks what is owed to destinations other than `open`, until `stop`. The first thing to be tried there parks the whole destination, so
/// that one attempt is enough until more is owed.
pub(super) async fn park(records: Records, clock: Clock, open: BTreeSet<Destination>, stop: CancellationToken) {
    let mut known = BTreeSet::new();
    while !stop.is_cancelled() {
        match closed(&records, &open).await {
            Ok(closed) => {
                for destination in closed.iter().filter(|destination| !known.contains(*destination)) {
                    tracing::warn!(%destination, "something is owed to a destination that is not configured; it is parked");
                }
                known.extend(closed.iter().cloned());
                join_all(closed.into_iter().map(|destination| park_one(&records, &clock, destination, &stop))).await;
            }
            Err(error) => {
                tracing::error!(error = %error, "what is owed to destinations that are no longer configured cannot be read");
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Destinations that are not open, to which something waits to be sent or asked and that can be parked. They are looked through only if
/// something is owed to such a one at all.
async fn closed(records: &Records, open: &BTreeSet<Destination>) -> Result<Vec<Destination>, RecordsError> {
    let owed: BTreeSet<Destination> = records.destinations_with_work().await?.into_iter().collect();
    if owed.is_subset(open) {
        return Ok(Vec::new());
    }
    let closed = |view: &DestinationView| {
        let is_owed = owed.contains(&view.destination) && !open.contains(&view.destination);
        is_owed && view.reach != Reach::Parked && view.paused.is_none() && waits(view)
    };
    Ok(records.destinations().await?.into_iter().filter(closed).map(|view| view.destination).collect())
}

async fn park_one(records: &Records, clock: &Clock, destination: Destination, stop: &CancellationToken) {
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

/// Ends a lane once its destination is parked; or after a while, to begin again later.
async fn parked(records: &Records, destination: &Destination, ended: CancellationToken) {
    let mut wait = LOOK;
    while !ended.is_cancelled() {
        let views = records.destinations().await.unwrap_or_default();
        let done = |view: &DestinationView| view.destination == *destination && view.reach == Reach::Parked;
        if views.iter().any(done) || wait > AGAIN {
            ended.cancel();
            return;
        }
        tokio::select! {
            () = ended.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
        wait *= 2;
    }
}
