//! How many bodies are given out at once: each holds memory for as long as its reader takes, and slow readers must not hold all.

use crate::priors::fetch::Held;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bodies at once, and those of one peer among them.
const MOST: usize = 16;
const MOST_OF_ONE: usize = 8;

/// Who is being given instances just now.
#[derive(Debug, Default)]
pub struct Seats {
    taken: Mutex<HashMap<String, usize>>,
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
    /// A seat for a peer, if one is free for it.
    pub(in crate::edge) fn take(self: &Arc<Self>, peer: &str) -> Option<Seat> {
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
}
