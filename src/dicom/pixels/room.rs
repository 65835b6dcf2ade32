//! Memory for decoding: so much for one frame, and no more for all that are decoded at one time.

use super::DecodeError;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The most memory that decoding may take, in bytes, beside codestreams and finished frames: 1.25 GiB. A frame that would need more is not
/// decoded; of several at one time the later wait. It does for 70 million pixels of 16 bits in JPEG 2000, which takes the most by far:
/// the largest computed radiographs have 60 million.
pub const MAX_DECODING_BYTES: u64 = 1280 * 1024 * 1024;

static ROOM: Room = Room { taken: Mutex::new(0), freed: Condvar::new() };

struct Room {
    taken: Mutex<u64>,
    freed: Condvar,
}

/// Memory that is spoken for until it is dropped.
pub(super) struct Taken(u64);

/// Waits until there is room for so many bytes; an error if there never is. Who has some asks for no more.
pub(super) fn take(bytes: u64) -> Result<Taken, DecodeError> {
    if bytes > MAX_DECODING_BYTES {
        return Err(DecodeError::TooMuch(bytes));
    }
    let mut taken = ROOM.lock();
    while *taken + bytes > MAX_DECODING_BYTES {
        taken = ROOM.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
    }
    *taken += bytes;
    Ok(Taken(bytes))
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        *ROOM.lock() -= self.0;
        ROOM.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// SEC-021: however many frames are decoded at one time, what they take together is bounded, and each has its turn.
    #[test]
    fn what_is_taken_at_one_time_is_bounded() {
        const PART: u64 = MAX_DECODING_BYTES / 3;
        assert_eq!(take(MAX_DECODING_BYTES + 1).err(), Some(DecodeError::TooMuch(MAX_DECODING_BYTES + 1)));
        let (held, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let taken = take(PART).unwrap();
                        let now = held.fetch_add(PART, Ordering::SeqCst) + PART;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        held.fetch_sub(PART, Ordering::SeqCst);
                        drop(taken);
                    }
                });
            }
        });
        assert!(most.into_inner() <= MAX_DECODING_BYTES);
        drop(take(MAX_DECODING_BYTES).unwrap());
    }
}
