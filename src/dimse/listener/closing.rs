//! The connections whose association is over and that the peer has yet to close (Sta13, PS3.8 section 9.2): they hold no place among the
//! associations, and there are so many of them at most.

use super::lobby::oldest_of_the_busiest;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Who waits, in the order in which their associations ended.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    places: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    address: IpAddr,
    out: CancellationToken,
}

impl Waiting {
    /// Of the address that has the most, the oldest.
    fn first_to_go(&self) -> Option<u64> {
        let all = self.places.values().map(|waiter| waiter.address);
        oldest_of_the_busiest(all, self.places.iter().map(|(number, waiter)| (*number, waiter.address)))
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Closing {
    most: usize,
    waiting: Arc<Mutex<Waiting>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Leaving {
    waiting: Arc<Mutex<Waiting>>,
    number: u64,
    out: CancellationToken,
}

impl Closing {
    /// Room for `most` connections, one at least.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), waiting: Arc::default() }
    }

    /// One more, from this address. If there is no room for it, another is closed at once.
    pub(super) fn enter(&self, address: IpAddr) -> Leaving {
        let out = CancellationToken::new();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let number = waiting.next;
        waiting.next += 1;
        waiting.places.insert(number, Waiter { address, out: out.clone() });
        while waiting.places.len() > self.most
            && let Some(first) = waiting.first_to_go()
        {
            if let Some(waiter) = waiting.places.remove(&first) {
                tracing::debug!(peer.address = %waiter.address, "a connection that its peer does not close is closed");
                waiter.out.cancel();
            }
        }
        drop(waiting);
        Leaving { waiting: self.waiting.clone(), number, out }
    }
}

impl Leaving {
    /// Waits until this connection must be closed.
    pub(super) async fn shown_out(&self) {
        self.out.cancelled().await;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn shown_out(leaving: &[Leaving]) -> Vec<bool> {
        leaving.iter().map(|one| one.out.is_cancelled()).collect()
    }

    #[test]
    fn the_oldest_of_the_busiest_address_goes_when_one_more_comes() {
        let closing = Closing::new(3);
        let (here, there): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut leaving: Vec<Leaving> = [there, here, here].map(|address| closing.enter(address)).into();
        assert_eq!(shown_out(&leaving), [false, false, false]);
        leaving.push(closing.enter(here));
        assert_eq!(shown_out(&leaving), [false, true, false, false]);
        // Of two from each the oldest of all goes, never the one that has just come.
        leaving.push(closing.enter(there));
        assert_eq!(shown_out(&leaving), [true, true, false, false, false]);
        assert_eq!(closing.waiting.lock().unwrap().places.len(), 3);
        drop(leaving);
        assert!(closing.waiting.lock().unwrap().places.is_empty());
    }

    #[test]
    fn who_is_gone_makes_room() {
        let closing = Closing::new(1);
        let address = "10.0.0.1".parse().unwrap();
        drop(closing.enter(address));
        let one = closing.enter(address);
        assert!(!one.out.is_cancelled());
        let other = closing.enter(address);
        assert_eq!((one.out.is_cancelled(), other.out.is_cancelled()), (true, false));
    }
}
