//! Within which instances a node broke off: one that it stumbles over each time must neither keep the others of its study waiting nor make
//! the node seem to be down (REL-21, REL-24).

use crate::ledger::transfer::TransferId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Most instances that are remembered; beyond them all are forgotten.
const MOST: usize = 1_000;

/// Each, since this program started, with whether the node has taken another since.
#[derive(Default)]
pub(super) struct Stumbles(Mutex<HashMap<TransferId, bool>>);

impl Stumbles {
    /// Whether the node has broken off within it: then it goes behind the others.
    pub(super) fn is_known(&self, transfer: TransferId) -> bool {
        self.with(|known| known.contains_key(&transfer))
    }

    /// The node broke off within it. Says whether that is a matter of the instance: it did so before, and has taken another since. Else the
    /// node may be in trouble, whatever it stumbled over before.
    pub(super) fn again(&self, transfer: TransferId) -> bool {
        self.with(|known| {
            if known.get(&transfer) == Some(&true) {
                return true;
            }
            if known.len() >= MOST {
                known.clear();
            }
            known.values_mut().for_each(|others| *others = false);
            known.insert(transfer, false);
            false
        })
    }

    /// The node took it.
    pub(super) fn taken(&self, transfer: TransferId) {
        self.with(|known| {
            known.remove(&transfer);
            known.values_mut().for_each(|others| *others = true);
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<TransferId, bool>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_blamed_once_others_were_taken_and_the_node_broke_off_again() {
        let (stumbles, one, other, third) = (Stumbles::default(), TransferId(1), TransferId(2), TransferId(3));
        assert!(!stumbles.is_known(one));
        assert_eq!([stumbles.again(one), stumbles.again(one)], [false; 2], "nothing else was taken");
        assert!(stumbles.is_known(one) && !stumbles.is_known(other));
        stumbles.taken(other);
        assert_eq!([stumbles.again(one), stumbles.again(one)], [true; 2]);
        // A node that breaks off within anything is in trouble.
        assert_eq!([stumbles.again(third), stumbles.again(one)], [false; 2]);
        stumbles.taken(other);
        assert_eq!([stumbles.again(third), stumbles.again(one)], [true; 2], "both are what it stumbles over");
        stumbles.taken(one);
        assert!(!stumbles.is_known(one) && !stumbles.again(one));
    }
}
