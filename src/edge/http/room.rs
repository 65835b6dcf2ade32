//! How many connections of callers there may be at once: where all seats are taken, a stranger's goes to who is known.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The strangers that have a seat, in the order in which they came.
#[derive(Debug, Default)]
struct Strangers {
    next: u64,
    seated: BTreeMap<u64, CancellationToken>,
}

/// All seats.
#[derive(Debug)]
pub(super) struct Room {
    seats: Arc<Semaphore>,
    strangers: Arc<Mutex<Strangers>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    _seat: OwnedSemaphorePermit,
    stranger: Option<(Arc<Mutex<Strangers>>, u64)>,
    out: CancellationToken,
}

impl Room {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Self {
        Self { seats: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))), strangers: Arc::default() }
    }

    /// A seat for a caller that is known, as soon as there is one. If all are taken, the stranger that has been here longest must go.
    pub(super) async fn seat(&self) -> Option<Seat> {
        let mut seat = pin!(Arc::clone(&self.seats).acquire_owned());
        let seat = match poll_fn(|context| Poll::Ready(seat.as_mut().poll(context))).await {
            Poll::Ready(seat) => seat,
            // It stands in the line already, so that what is given up goes to no other.
            Poll::Pending => {
                self.show_out();
                seat.await
            }
        };
        let seat = seat.ok()?;
        Some(Seat { _seat: seat, stranger: None, out: CancellationToken::new() })
    }

    /// One for a stranger, if one is free and nobody waits for it.
    pub(super) fn seat_for_stranger(&self) -> Option<Seat> {
        // Whoever looks for a stranger to be shown out finds each that has a seat.
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        let seat = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        let out = CancellationToken::new();
        let number = strangers.next;
        strangers.next += 1;
        strangers.seated.insert(number, out.clone());
        drop(strangers);
        Some(Seat { _seat: seat, stranger: Some((Arc::clone(&self.strangers), number)), out })
    }

    fn show_out(&self) {
        let oldest = self.strangers.lock().unwrap_or_else(PoisonError::into_inner).seated.pop_first();
        if let Some((_, out)) = oldest {
            tracing::info!("a connection of nobody who is known makes room");
            out.cancel();
        }
    }
}

impl Seat {
    /// Waits until this connection must go; for ever if its caller is known.
    pub(super) async fn shown_out(&self) {
        self.out.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some((strangers, number)) = &self.stranger {
            strangers.lock().unwrap_or_else(PoisonError::into_inner).seated.remove(number);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicom::fired::note_fired;
    use std::time::Duration;
    use tokio::time::timeout;

    /// FLT-040: strangers with a certificate that is trusted keep nobody out who is known, however many they are, and who is known keeps
    /// its seat.
    #[tokio::test(start_paused = true)]
    async fn who_is_known_takes_the_seat_of_the_stranger_that_came_first() {
        let room = Room::new(3);
        let known = room.seat().await.unwrap();
        let (first, second) = (room.seat_for_stranger().unwrap(), room.seat_for_stranger().unwrap());
        assert!(room.seat_for_stranger().is_none(), "all seats are taken");
        let leaves = async {
            first.shown_out().await;
            assert!(room.seat_for_stranger().is_none());
            drop(first);
        };
        let at_once = async { tokio::join!(room.seat(), leaves) };
        let (another, ()) = timeout(Duration::from_secs(60), at_once).await.unwrap();
        assert!(another.is_some() && !second.out.is_cancelled() && !known.out.is_cancelled());
        drop(second);
        assert!(room.strangers.lock().unwrap().seated.is_empty());
        // Among those who are known nobody goes: the next one waits.
        let third = room.seat().await.unwrap();
        assert!(timeout(Duration::from_secs(60), room.seat()).await.is_err());
        drop(third);
        assert!(room.seat_for_stranger().is_some());
        drop((known, another));
        assert_eq!(room.seats.available_permits(), 3);
        note_fired(1);
    }
}
