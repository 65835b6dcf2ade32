//! How many may be here at once: connections that have asked for nothing yet, and associations, in all and by caller.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many of each name there are.
type Counts<K> = Arc<Mutex<HashMap<K, usize>>>;

/// One more of a name; dropping it makes it one less.
#[derive(Debug)]
struct Counted<K: Eq + Hash> {
    counts: Counts<K>,
    name: Option<K>,
}

impl<K: Eq + Hash + Clone> Counted<K> {
    fn new(counts: &Counts<K>, name: K, most: usize) -> Option<Self> {
        let mut held = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(name.clone()).or_insert(0);
        if *count >= most {
            if *count == 0 {
                held.remove(&name);
            }
            return None;
        }
        *count += 1;
        drop(held);
        Some(Self { counts: counts.clone(), name: Some(name) })
    }
}

impl<K: Eq + Hash> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut held = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = self.name.take()
            && let Some(count) = held.get_mut(&name)
        {
            *count -= 1;
            if *count == 0 {
                held.remove(&name);
            }
        }
    }
}

/// The associations.
#[derive(Debug)]
pub(in crate::dimse) struct Seats {
    room: Arc<Semaphore>,
    callers: Counts<String>,
}

/// The place of one association.
#[derive(Debug)]
pub(in crate::dimse) struct Seat {
    _room: OwnedSemaphorePermit,
    callers: Counts<String>,
    caller: Option<Counted<String>>,
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
        self.caller = Counted::new(&self.callers, caller.to_owned(), most);
        self.caller.is_some()
    }
}

/// The connections that have asked for nothing yet.
#[derive(Debug)]
pub(super) struct Lobby {
    room: Arc<Semaphore>,
    addresses: Counts<IpAddr>,
    most: usize,
}

/// The place of one connection.
#[derive(Debug)]
pub(in crate::dimse) struct Place {
    _room: Option<OwnedSemaphorePermit>,
    addresses: Counts<IpAddr>,
    most: usize,
    address: Option<Counted<IpAddr>>,
}

impl Lobby {
    pub(super) fn new(most: usize, most_per_address: usize) -> Self {
        let room = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        Self { room, addresses: Counts::default(), most: most_per_address }
    }

    /// Waits for room. The semaphore is never closed.
    pub(super) async fn room(&self) -> Place {
        let room = self.room.clone().acquire_owned().await.ok();
        Place { _room: room, addresses: self.addresses.clone(), most: self.most, address: None }
    }
}

impl Place {
    /// Counts the place as this address's; false if it has its share already.
    pub(super) fn name(&mut self, address: IpAddr) -> bool {
        self.address = Counted::new(&self.addresses, address, self.most);
        self.address.is_some()
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

    #[tokio::test]
    async fn an_address_has_its_share_of_the_lobby() {
        let lobby = Lobby::new(2, 1);
        let (here, there): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let (mut one, mut two) = (lobby.room().await, lobby.room().await);
        assert!(one.name(here));
        assert!(!two.name(here));
        assert!(two.name(there));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, lobby.room()).await.is_err());
        drop(one);
        assert!(lobby.room().await.name(here));
    }
}
