//! THE way out: one lane per destination, none of which ever waits for another (REL-22).
//!
//! A lane leases a batch of one study's transfers from the records, hands it to its [`Carrier`], and settles what the
//! carrier reports, transfer by transfer. All state that a retry needs is in the records; a lane that is lost loses
//! nothing (REL-09). Several batches may be on their way to one destination, but few at first (slow start), and only one of a
//! study unless the other side is a Weybridge too. What is ambiguous is checked at the destination before it is sent again (WEB-040).

mod alerts;
mod body;
mod carrier;
mod closed;
mod data_set;
pub mod decoding;
pub mod foreign;
mod gate;
mod gathering;
mod general;
mod lane;
mod linger;
pub mod mover;
mod offers;
mod reading;
mod sender;
mod store_scu;
mod stow;
pub mod turns;
pub mod verdict;
mod window;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
pub(crate) mod simulation;

pub use carrier::{Carrier, Carriers, Report};
pub use lane::LaneOptions;
pub use sender::Foreigners;
pub use store_scu::StoreScu;
pub use stow::StowCarrier;

use crate::clock::Clock;
use crate::peers::Destination;
use crate::records::Records;
use crate::router::Routes;
use gate::Gate;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A lane to start: its destination, its carrier, its settings.
pub type LaneSpec<C> = (Destination, Arc<C>, LaneOptions);

/// Every lane of this site.
pub struct Courier {
    records: Records,
    clock: Clock,
    gate: Gate,
    stop: CancellationToken,
    tasks: TaskTracker,
    current: Mutex<Generation>,
}

/// The lanes that were started together; a reload of the configuration starts the next generation.
#[derive(Default)]
struct Generation {
    stop: CancellationToken,
    in_flight: BTreeMap<Destination, Arc<AtomicUsize>>,
}

impl Courier {
    /// Starts a lane for each destination. They end when `stop` is cancelled, after the request in hand. What was owed by earlier
    /// routes than those of `routes` is sent only if these would send it there too (INV-15).
    pub fn start<C: Carrier>(
        records: &Records,
        routes: watch::Receiver<Arc<Routes>>,
        lanes: Vec<LaneSpec<C>>,
        stop: &CancellationToken,
    ) -> Self {
        let courier = Self::idle(records, Clock::system(), routes, stop);
        courier.replace(lanes);
        courier.tasks.spawn(alerts::watch(courier.records.clone(), courier.clock.clone(), courier.stop.clone()));
        courier
    }

    /// A courier without lanes.
    fn idle(records: &Records, clock: Clock, routes: watch::Receiver<Arc<Routes>>, stop: &CancellationToken) -> Self {
        let gate = Gate::new(records.clone(), routes);
        let (records, stop, tasks) = (records.clone(), stop.clone(), TaskTracker::new());
        Self { records, clock, gate, stop, tasks, current: Mutex::default() }
    }

    /// Starts these lanes instead of the present ones, which end after the request in hand. The leases in the records
    /// keep the two from doing the same work (INV-07).
    pub fn replace<C: Carrier>(&self, lanes: Vec<LaneSpec<C>>) {
        let mut next = Generation { stop: self.stop.child_token(), in_flight: BTreeMap::new() };
        for spec in lanes {
            let count = Arc::new(AtomicUsize::new(0));
            next.in_flight.insert(spec.0.clone(), Arc::clone(&count));
            let gate = Some(self.gate.clone());
            let lane = lane::Lane::new(self.records.clone(), self.clock.clone(), gate, spec, count);
            self.tasks.spawn(lane.run(next.stop.clone()));
        }
        let open = next.in_flight.keys().cloned().collect();
        self.tasks.spawn(closed::park(self.records.clone(), self.clock.clone(), open, next.stop.clone()));
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, next).stop.cancel();
        self.gate.shut(false);
    }

    /// From now until [`Courier::replace`] or [`Courier::go_on`] nothing more is leased, so that no old lane meets new routes: what it would
    /// have sent is held then, although its destination is only no longer configured.
    pub fn pause(&self) {
        self.gate.shut(true);
    }

    /// The present lanes stay after all.
    pub fn go_on(&self) {
        self.gate.shut(false);
    }

    /// How many transfers each lane is carrying or checking now.
    pub fn in_flight(&self) -> Vec<(Destination, usize)> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = current.in_flight.iter();
        counts.map(|(destination, count)| (destination.clone(), count.load(Ordering::Relaxed))).collect()
    }

    /// Waits until every lane has ended; see [`Courier::start`].
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
