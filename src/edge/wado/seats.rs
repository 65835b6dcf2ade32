//! How many bodies are given out at once: each holds memory for as long as its reader takes, and slow readers must not hold all.

use crate::priors::fetch::Held;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Bodies at once, and those of one peer among them.
const MOST: usize = 16;
const MOST_OF_ONE: usize = 8;

/// So long is waited for a seat; then the readers in front are too slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who is being given instances just now.
#[derive(Debug, Default)]
pub struct Seats {
    taken: Mutex<HashMap<String, usize>>,
    /// Told whenever a seat gets free.
    freed: Notify,
}

/// The seat of one body; free again when dropped.
#[derive(Debug)]
pub(in crate::edge) struct Seat {
    seats: Arc<Seats>,
    peer: String,
    /// Copies of other sites' instances, which stay while they are read.
    _copies: Option<Held>,
}

impl Seat {
    /// The same, which keeps these copies from being flushed for as long (IDY-051).
    pub(in crate::edge) fn keeping(mut self, copies: Option<Held>) -> Self {
        self._copies = copies;
        self
    }
}

impl Seats {
    /// A seat for a peer, as soon as one is free for it; none if that takes too long.
    pub(in crate::edge) async fn wait(self: &Arc<Self>, peer: &str) -> Option<Seat> {
        let waiting = async {
            loop {
                // Made before the look, so that it is told of a seat that gets free in between.
                let freed = self.freed.notified();
                if let Some(seat) = self.take(peer) {
                    return seat;
                }
                freed.await;
            }
        };
        timeout(PATIENCE, waiting).await.ok()
    }

    /// A seat for a peer, if one is free for it.
    fn take(self: &Arc<Self>, peer: &str) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(peer).copied().unwrap_or(0);
        if own >= MOST_OF_ONE || taken.values().sum::<usize>() >= MOST {
            return None;
        }
        taken.insert(peer.to_owned(), own + 1);
        Some(Seat { seats: Arc::clone(self), peer: peer.to_owned(), _copies: None })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.peer) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.peer)),
        }
        drop(taken);
        // All of them look: the seat may be of use to none of one peer and to the first of another.
        self.seats.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_peer_never_takes_every_seat_and_a_seat_comes_back() {
        let seats = Arc::new(Seats::default());
        let mut slow: Vec<Seat> = std::iter::from_fn(|| seats.take("slow")).collect();
        assert_eq!(slow.len(), MOST_OF_ONE);
        let other: Vec<Seat> = std::iter::from_fn(|| seats.take("other")).collect();
        assert_eq!(other.len(), MOST - MOST_OF_ONE);
        assert!(seats.take("third").is_none());
        slow.pop();
        drop(seats.take("third").unwrap());
        drop(seats.take("slow").unwrap());
        drop((slow, other));
        assert!(seats.taken.lock().unwrap().is_empty());
    }

    /// FLT-040: who comes when all seats are taken waits for one, and not without end; whoever's it is, the first that gets free is had.
    #[tokio::test(start_paused = true)]
    async fn a_seat_is_waited_for_and_not_without_end() {
        let seats = Arc::new(Seats::default());
        let mut taken: Vec<Seat> = std::iter::from_fn(|| seats.take("viewer")).collect();
        let began = tokio::time::Instant::now();
        assert!(seats.wait("viewer").await.is_none());
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
        let later = |peer: &'static str| {
            let seats = Arc::clone(&seats);
            tokio::spawn(async move { seats.wait(peer).await })
        };
        let own: Vec<_> = (0..3).map(|_| later("viewer")).collect();
        tokio::task::yield_now().await;
        let free = later("other").await.unwrap();
        assert!(free.is_some(), "who has seats left does not wait behind who has not");
        taken.truncate(MOST_OF_ONE - 3);
        for waiting in own {
            taken.push(waiting.await.unwrap().unwrap());
        }
        assert_eq!(taken.len(), MOST_OF_ONE);
    }
}
