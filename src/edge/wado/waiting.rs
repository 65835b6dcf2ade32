//! Bytes that were made for a reader and wait for it: so many at once, whoever reads.

use bytes::Bytes;
use std::io;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Room for decoded frames and for pictures, in KiB: 256 MiB, the longest frame there is.
pub(super) static ROOM: Room = Room::new(256 << 10);

/// So long is waited for room; then the readers in front are too slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// Too much waits for its readers as it is; the answer is 503.
#[derive(Debug, thiserror::Error)]
#[error("too much is being retrieved from this site just now")]
pub(super) struct Full;

/// Room for so much.
pub(super) struct Room {
    most: u32,
    free: Semaphore,
}

impl Room {
    const fn new(kib: u32) -> Self {
        Self { most: kib, free: Semaphore::const_new(kib as usize) }
    }

    /// Takes room for so many bytes before they are made; for what is longer than all there is, all of it. [`Full`] if none gets free
    /// in time.
    pub(super) async fn take(&'static self, bytes: u64) -> io::Result<Taken> {
        self.take_within(bytes, PATIENCE).await
    }

    async fn take_within(&'static self, bytes: u64, patience: Duration) -> io::Result<Taken> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(self.most);
        let free = timeout(patience, self.free.acquire_many(kib)).await.map_err(|_| io::Error::other(Full))?;
        Ok(Taken(free.map_err(io::Error::other)?))
    }
}

/// Room that was taken; free again when dropped.
pub(super) struct Taken(SemaphorePermit<'static>);

impl Taken {
    /// The bytes that take the room, until the last of them was given away.
    pub(super) fn hold(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Held { bytes, _room: self.0 })
    }
}

struct Held {
    bytes: Vec<u8>,
    _room: SemaphorePermit<'static>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// REL-25: what waits for slow readers takes room until they have it all, and others are not given more than there is.
    #[tokio::test]
    async fn what_waits_for_a_slow_reader_takes_room_until_it_is_read() {
        static SMALL: Room = Room::new(4);
        let take = |bytes| SMALL.take_within(bytes, Duration::from_millis(10));
        let mut slow = take(3000).await.unwrap().hold(vec![1; 3000]);
        let other = take(1024).await.unwrap().hold(vec![2; 1024]);
        let full = take(1).await.err().unwrap();
        assert!(full.get_ref().unwrap().is::<Full>());
        let first = slow.split_to(2000);
        drop((other, slow));
        assert!(take(2048).await.is_err(), "a part of it is still to be read");
        drop(first);
        let longest = take(1 << 40).await.unwrap().hold(Vec::new());
        assert!(take(1).await.is_err());
        drop(longest);
        take(4096).await.unwrap();
    }
}
