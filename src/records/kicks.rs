//! Hints that work for a destination has become due. The records are the truth; a hint only saves waiting.

use crate::peers::Destination;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// One counter per destination, and one for all.
#[derive(Debug)]
pub(super) struct Kicks {
    each: Mutex<HashMap<Destination, watch::Sender<u64>>>,
    any: watch::Sender<u64>,
}

impl Kicks {
    pub(super) fn new() -> Self {
        Self { each: Mutex::new(HashMap::new()), any: watch::Sender::new(0) }
    }

    pub(super) fn of(&self, destination: &Destination) -> watch::Receiver<u64> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        each.entry(destination.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    pub(super) fn any(&self) -> watch::Receiver<u64> {
        self.any.subscribe()
    }

    pub(super) fn fire(&self, destinations: BTreeSet<Destination>) {
        if destinations.is_empty() {
            return;
        }
        let each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in destinations.iter().filter_map(|destination| each.get(destination)) {
            sender.send_modify(|n| *n += 1);
        }
        drop(each);
        self.any.send_modify(|n| *n += 1);
    }
}
