//! Segments that hold little or nothing any more: what lives in them is moved, then they go (FLT-014).

use super::{Janitor, JanitorError};
use crate::records::FileUse;
use crate::store::{Emptied, file_name};
use std::collections::{HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};
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
        let mut mostly_dead: Vec<FileUse> = Vec::new();
        for file in self.inner.store.sealed_segments().await? {
            match used.get(&file) {
                None => {
                    let _hands = self.inner.hands.lock().await;
                    if !self.is_paused() {
                        self.remove(file).await?;
                    }
                }
                Some(used) if used.others == 0 && self.is_mostly_dead(used) => mostly_dead.push(*used),
                Some(_) => {}
            }
        }
        mostly_dead.sort_by_key(|used| used.live_bytes);
        for used in mostly_dead {
            if self.empty(used.file).await? {
                break;
            }
        }
        Ok(())
    }

    fn is_mostly_dead(&self, used: &FileUse) -> bool {
        // A blob ends within a page, which is not dead.
        let live = used.live_bytes.saturating_add(used.live.saturating_mul(PAGE_BYTES));
        live < self.inner.store.file_bytes(used.file, true).unwrap_or(0) / MOSTLY_DEAD
    }

    /// Moves what lives in a segment to the one that is being written, and removes it; `false` if it would not be gone then.
    ///
    /// Whatever ends this half-way, the next round or the next start's first round goes on with it.
    async fn empty(&self, file: u64) -> Result<bool, JanitorError> {
        let _hands = self.inner.hands.lock().await;
        if self.is_paused() {
            return Ok(true);
        }
        let (records, store) = (&self.inner.records, &self.inner.store);
        let blobs = records.blobs_in(file).await?;
        if !store.holds_only(file, blobs.iter().map(|(_, _, place)| *place).collect()).await? {
            tracing::debug!(
                file = file_name(file, true),
                "a segment holds what no row names; what lives in it is not moved"
            );
            return Ok(false);
        }
        // First all are read: a damaged one stays where it is, and its segment with it, so that moving the others frees nothing.
        for (blob, digest, place) in &blobs {
            let began = Instant::now();
            if self.look(*blob, *digest, *place).await? {
                return Ok(false);
            }
            self.rest(began, place.length).await;
        }
        for (blob, digest, place) in blobs {
            let began = Instant::now();
            let copied = match store.copy(place, digest).await {
                Ok(copied) => copied,
                Err(error) if error.is_damage() => {
                    self.look(blob, digest, place).await?;
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            };
            if records.moved(blob, place, copied).await? {
                store.note_moved(place, copied);
            } else {
                // It was purged or set aside meanwhile.
                store.free(copied).await?;
            }
            self.rest(began, place.length).await;
        }
        self.remove(file).await?;
        Ok(true)
    }

    /// Keeps to the rate at which blobs are read.
    pub(super) async fn rest(&self, began: Instant, bytes: u64) {
        let due = Duration::from_secs_f64(bytes as f64 / self.inner.options.scrub_bytes.max(1) as f64);
        tokio::time::sleep_until(began + due).await;
    }

    /// Removes a segment if no row names it now; with the hands held.
    async fn remove(&self, file: u64) -> Result<(), JanitorError> {
        let kept = self.kept().contains(&file);
        if kept || self.inner.records.names_segment(file).await? {
            return Ok(());
        }
        match self.inner.store.remove_segment(file).await? {
            Emptied::Gone(bytes) => {
                tracing::info!(file = file_name(file, true), bytes, "a segment that was mostly dead is gone")
            }
            Emptied::Kept => {
                tracing::warn!(
                    file = file_name(file, true),
                    "no row names this segment, and it holds what the records may not know; it is kept"
                );
                self.kept().insert(file);
            }
            Emptied::Active | Emptied::Inhabited => {
                tracing::debug!(file = file_name(file, true), "a segment still holds something")
            }
        }
        Ok(())
    }

    /// Segments that were looked at and stay, so that they are not read every minute.
    fn kept(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
