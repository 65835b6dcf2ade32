//! How many associations there may be at once, in all and by caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many associations each caller has.
type Counts = Arc<Mutex<HashMap<String, usize>>>;

/// One more of a caller; dropping it makes it one less.
#[derive(Debug)]
struct Counted {
    counts: Counts,
    caller: String,
}

impl Counted {
    fn new(counts: &Counts, caller: &str, most: usize) -> Option<Self> {
        let mut held = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(caller.to_owned()).or_insert(0);
        if *count >= most {
            if *count == 0 {
                held.remove(caller);
            }
            return None;
        }
        *count += 1;
        drop(held);
        Some(Self { counts: counts.clone(), caller: caller.to_owned() })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut held = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.caller);
            }
        }
    }
}

/// The associations.
#[derive(Debug)]
pub(in crate::dimse) struct Seats {
    room: Arc<Semaphore>,
    callers: Counts,
}

/// The place of one association.
#[derive(Debug)]
pub(in crate::dimse) struct Seat {
    _room: OwnedSemaphorePermit,
    callers: Counts,
    caller: Option<Counted>,
}

impl Seats {
    pub(super) fn new(most: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))), callers: Counts::default() }
    }

    /// A place, if there is one now.
    pub(in crate::dimse) fn take(&self) -> Option<Seat> {
        let room = self.room.clone().try_acquire_owned().ok()?;
        Some(Seat { _room: room, callers: self.callers.clone(), caller: None })
    }
}

impl Seat {
    /// Counts the place as this caller's; false if it has `most` already.
    pub(in crate::dimse) fn name(&mut self, caller: &str, most: usize) -> bool {
        self.caller = Counted::new(&self.callers, caller, most);
        self.caller.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_by_caller() {
        let seats = Seats::new(3);
        let mut taken = [seats.take().unwrap(), seats.take().unwrap(), seats.take().unwrap()];
        assert!(seats.take().is_none());
        assert!(taken[0].name("A", 1));
        assert!(!taken[1].name("A", 1));
        assert!(taken[1].name("A", 2));
        assert!(taken[2].name("B", 1));
        let [one, two, three] = taken;
        drop(one);
        assert!(seats.take().unwrap().name("A", 2));
        drop((two, three));
        assert!(seats.callers.lock().unwrap().is_empty());
        assert!(!seats.take().unwrap().name("A", 0));
        assert!(seats.callers.lock().unwrap().is_empty());
    }
}
