//! THE way out: one lane per destination, none of which ever waits for another (REL-22).
//!
//! A lane leases a batch of one study's transfers from the records, hands it to its [`Carrier`], and settles what the
//! carrier reports, transfer by transfer. All state that a retry needs is in the records; a lane that is lost loses
//! nothing (REL-09). What is ambiguous is checked at the destination before it is sent again (WEB-040).

mod body;
mod carrier;
mod lane;
mod store_scu;
mod stow;
pub mod verdict;

pub use carrier::{Carrier, Carriers, Report};
pub use lane::LaneOptions;
pub use store_scu::StoreScu;
pub use stow::StowCarrier;

use crate::peers::Destination;
use crate::records::Records;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Every lane of this site.
pub struct Courier {
    in_flight: BTreeMap<Destination, Arc<AtomicUsize>>,
    tasks: TaskTracker,
}

impl Courier {
    /// Starts a lane for each destination. They end when `stop` is cancelled, after the request in hand.
    pub fn start<C: Carrier>(
        records: &Records,
        lanes: Vec<(Destination, Arc<C>, LaneOptions)>,
        stop: &CancellationToken,
    ) -> Self {
        let tasks = TaskTracker::new();
        let mut in_flight = BTreeMap::new();
        for (destination, carrier, options) in lanes {
            let count = Arc::new(AtomicUsize::new(0));
            in_flight.insert(destination.clone(), Arc::clone(&count));
            for _ in 0..options.parallel.max(1) {
                let (carrier, count) = (Arc::clone(&carrier), Arc::clone(&count));
                let lane = lane::Lane::new(records.clone(), destination.clone(), carrier, options.clone(), count);
                tasks.spawn(lane.run(stop.clone()));
            }
        }
        tasks.close();
        Self { in_flight, tasks }
    }

    /// How many transfers each lane is carrying or checking now.
    pub fn in_flight(&self) -> impl Iterator<Item = (&Destination, usize)> {
        self.in_flight.iter().map(|(destination, count)| (destination, count.load(Ordering::Relaxed)))
    }

    /// Waits until every lane has ended; see [`Courier::start`].
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }
}
