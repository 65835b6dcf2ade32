//! The connections that have asked for nothing yet: so many at most, and those that only sit there make room for those
//! that come.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// For so long a connection is left alone, even if the lobby is full.
const GRACE: Duration = Duration::from_secs(1);
/// While the lobby is full of newcomers, it is looked over so often.
const LOOK: Duration = Duration::from_millis(50);

/// Who waits, in the order of arrival.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    places: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    address: IpAddr,
    since: Instant,
    out: CancellationToken,
}

/// Of the address that has the most of all, the oldest of those that may go, which are in order of arrival.
pub(super) fn oldest_of_the_busiest<T>(
    all: impl Iterator<Item = IpAddr>,
    may_go: impl Iterator<Item = (T, IpAddr)>,
) -> Option<T> {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    for address in all {
        *counts.entry(address).or_default() += 1;
    }
    let mut chosen: Option<(T, usize)> = None;
    for (one, address) in may_go {
        let count = counts.get(&address).copied().unwrap_or_default();
        if chosen.as_ref().is_none_or(|(_, most)| count > *most) {
            chosen = Some((one, count));
        }
    }
    chosen.map(|(one, _)| one)
}

/// All of them.
#[derive(Debug)]
pub struct Lobby {
    room: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
}

/// The place of one connection.
#[derive(Debug)]
pub struct Place {
    _room: Option<OwnedSemaphorePermit>,
    waiting: Arc<Mutex<Waiting>>,
    number: Option<u64>,
    out: CancellationToken,
}

impl Lobby {
    /// Room for `most` connections, one at least.
    pub fn new(most: usize) -> Self {
        let room = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        Self { room, waiting: Arc::default() }
    }

    /// Waits for room; if there is none, shows someone out who has had time enough. Cancel-safe.
    pub async fn room(&self) -> Place {
        let mut room = self.room.clone().try_acquire_owned().ok();
        while room.is_none() {
            self.show_out();
            room = timeout(LOOK, self.room.clone().acquire_owned()).await.ok().and_then(Result::ok);
        }
        Place { _room: room, waiting: self.waiting.clone(), number: None, out: CancellationToken::new() }
    }

    /// Of the address that has the most connections here, the oldest must go, unless it has only just come.
    fn show_out(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let there = || waiting.places.values().filter(|waiter| !waiter.out.is_cancelled());
        let stale = there().filter(|waiter| waiter.since.elapsed() >= GRACE).map(|waiter| (waiter, waiter.address));
        if let Some(waiter) = oldest_of_the_busiest(there().map(|waiter| waiter.address), stale) {
            tracing::info!(peer.address = %waiter.address, "a connection that asks for nothing makes room");
            waiter.out.cancel();
        }
    }
}

impl Place {
    /// The connection is there, and this is where it comes from.
    pub fn name(&mut self, address: IpAddr) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let number = waiting.next;
        waiting.next += 1;
        waiting.places.insert(number, Waiter { address, since: Instant::now(), out: self.out.clone() });
        self.number = Some(number);
    }

    /// Waits until this connection must go.
    pub async fn shown_out(&self) {
        self.out.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).places.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_of_the_busiest_address_makes_room_but_not_at_once() {
        let lobby = Lobby::new(4);
        let (here, there): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut places = Vec::new();
        for address in [there, here, here, here] {
            let mut place = lobby.room().await;
            place.name(address);
            places.push(place);
        }
        let began = Instant::now();
        let leaves = async {
            places[1].shown_out().await;
            assert!(began.elapsed() >= GRACE);
            drop(places.remove(1));
        };
        let (fifth, ()) = tokio::join!(lobby.room(), leaves);
        assert!(places.iter().all(|place| !place.out.is_cancelled()));
        drop((fifth, places));
        assert!(lobby.waiting.lock().unwrap().places.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_lobby_of_newcomers_is_waited_for() {
        let lobby = Lobby::new(1);
        let mut place = lobby.room().await;
        place.name("10.0.0.1".parse().unwrap());
        assert!(timeout(GRACE / 2, lobby.room()).await.is_err());
        assert!(!place.out.is_cancelled());
        drop(place);
        lobby.room().await;
    }
}
