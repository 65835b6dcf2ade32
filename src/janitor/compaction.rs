//! Segments that hold little or nothing any more: what lives in them is moved, then they go (FLT-014).

use super::{Janitor, JanitorError};
use crate::records::FileUse;
use crate::store::{Emptied, Place};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// A segment of which less than a quarter lives is emptied.
const MOSTLY_DEAD: u64 = 4;

/// Blobs take whole pages of so many bytes.
const PAGE_BYTES: u64 = 4096;

impl Janitor {
    /// Removes every empty segment, and empties the deadest one that is mostly dead: one a round.
    pub(super) async fn compact(&self) -> Result<(), JanitorError> {
        let used: HashMap<u64, FileUse> =
            self.inner.records.segments().await?.into_iter().map(|used| (used.file, used)).collect();
        let mut deadest: Option<FileUse> = None;
        for file in self.inner.store.sealed_segments().await? {
            match used.get(&file) {
                None => {
                    let _hands = self.inner.hands.lock().await;
                    if !self.is_paused() {
                        self.remove(file, Vec::new()).await?;
                    }
                }
                Some(used) if used.others == 0 && self.is_mostly_dead(used) => {
                    deadest = deadest.filter(|other| other.live_bytes <= used.live_bytes).or(Some(*used));
                }
                Some(_) => {}
            }
        }
        match deadest {
            Some(used) => self.empty(used.file).await,
            None => Ok(()),
        }
    }

    fn is_mostly_dead(&self, used: &FileUse) -> bool {
        // A blob ends within a page, which is not dead.
        let live = used.live_bytes.saturating_add(used.live.saturating_mul(PAGE_BYTES));
        live < self.inner.store.file_bytes(used.file, true).unwrap_or(0) / MOSTLY_DEAD
    }

    /// Moves what lives in a segment to the one that is being written, and removes it.
    async fn empty(&self, file: u64) -> Result<(), JanitorError> {
        let _hands = self.inner.hands.lock().await;
        if self.is_paused() {
            return Ok(());
        }
        let (records, store) = (&self.inner.records, &self.inner.store);
        let mut gone = Vec::new();
        for (blob, digest, place) in records.blobs_in(file).await? {
            let began = Instant::now();
            let copied = match store.copy(place, digest).await {
                Ok(copied) => copied,
                Err(error) if error.is_damage() => {
                    // It is set aside, and so is the segment.
                    self.examine(blob, digest, place).await?;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            if records.moved(blob, place, copied).await? {
                store.note_moved(place, copied);
                gone.push(place);
            } else {
                // It was purged or set aside meanwhile.
                store.free(copied).await?;
            }
            let due = Duration::from_secs_f64(place.length as f64 / self.inner.options.scrub_bytes.max(1) as f64);
            tokio::time::sleep_until(began + due).await;
        }
        self.remove(file, gone).await
    }

    async fn remove(&self, file: u64, gone: Vec<Place>) -> Result<(), JanitorError> {
        let moved = gone.len();
        match self.inner.store.remove_segment(file, gone).await? {
            Emptied::Gone(bytes) => tracing::info!(file, moved, bytes, "a segment that was mostly dead is gone"),
            Emptied::Active | Emptied::Inhabited => tracing::debug!(file, "a segment still holds something"),
        }
        Ok(())
    }
}
