//! THE way out: one lane per destination, none of which ever waits for another (REL-22).
//!
//! A lane leases a batch of one study's transfers from the records, hands it to its [`Carrier`], and settles what the
//! carrier reports, transfer by transfer. All state that a retry needs is in the records; a lane that is lost loses
//! nothing (REL-09). What is ambiguous is checked at the destination before it is sent again (WEB-040).

mod body;
mod carrier;
pub mod foreign;
mod lane;
mod store_scu;
mod stow;
pub mod verdict;

pub use carrier::{Carrier, Carriers, Report};
pub use lane::{LaneOptions, LaneState, LaneView};
pub use store_scu::StoreScu;
pub use stow::StowCarrier;

use crate::peers::Destination;
use crate::records::Records;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Every lane of this site, and what each is doing now.
pub struct Courier {
    lanes: BTreeMap<Destination, Arc<Mutex<LaneState>>>,
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
        let mut states = BTreeMap::new();
        for (destination, carrier, options) in lanes {
            let state = Arc::new(Mutex::new(LaneState::default()));
            states.insert(destination.clone(), Arc::clone(&state));
            for _ in 0..options.parallel.max(1) {
                let lane = lane::Lane::new(
                    records.clone(),
                    destination.clone(),
                    Arc::clone(&carrier),
                    options.clone(),
                    Arc::clone(&state),
                );
                tasks.spawn(lane.run(stop.clone()));
            }
        }
        tasks.close();
        Self { lanes: states, tasks }
    }

    /// What each lane is doing, for `weybridge status`.
    pub fn view(&self) -> Vec<LaneView> {
        self.lanes
            .iter()
            .map(|(destination, state)| state.lock().unwrap_or_else(PoisonError::into_inner).view(destination))
            .collect()
    }

    /// Lifts the pause of a destination, so that an operator's retry is tried at once.
    pub fn wake(&self, destination: &Destination) {
        if let Some(state) = self.lanes.get(destination) {
            state.lock().unwrap_or_else(PoisonError::into_inner).resume();
        }
    }

    /// The same for every destination.
    pub fn wake_all(&self) {
        self.lanes.values().for_each(|state| state.lock().unwrap_or_else(PoisonError::into_inner).resume());
    }

    /// Waits until every lane has ended; see [`Courier::start`].
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }
}
