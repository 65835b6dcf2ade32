//! Blobs whose beginning is read before it is asked for, and given up as soon as somebody waits for the memory.

use super::read::{Source, spare_buffer_for};
use super::{BlobReader, Core, Digest, Job, Place, finish_job};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The beginning of a whole blob, being read before it is asked for, so that one that is sent does not wait for the next one's disk and
/// digest. Dropped, it is forgotten. Where it could not be begun, was taken back or failed, the blob is read when it is asked for.
#[derive(Default)]
pub struct Ahead(Option<Ticket>);

/// Which of the store's reads is meant; dropped, it is forgotten.
struct Ticket {
    core: Arc<Core>,
    number: u64,
}

/// All reads that were begun and not asked for yet.
///
/// They hold buffers, and their owners wait meanwhile for others, or for their turn: so whoever must wait for a buffer first takes back
/// all of these, and none is begun until it has one. Else owners could wait for each other for ever.
#[derive(Default)]
pub(super) struct Aheads(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    begun: HashMap<u64, Begun>,
    next: u64,
    /// How many wait for a buffer.
    waiting: usize,
}

/// A read under way: of which blob, and its first chunk.
struct Begun {
    place: Place,
    digest: Digest,
    job: Job<(Source, Bytes)>,
}

/// Somebody waits for a buffer, as long as this lives.
pub(super) struct Waiting<'a>(&'a Aheads);

impl Aheads {
    /// Gives up all that was begun; nothing is begun while the answer lives.
    pub(super) fn take_back(&self) -> Waiting<'_> {
        let mut kept = self.kept();
        kept.waiting += 1;
        let begun = std::mem::take(&mut kept.begun);
        drop(kept);
        drop(begun);
        Waiting(self)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.kept().waiting -= 1;
    }
}

impl Ahead {
    /// Begins, if memory and disk have nothing better to do.
    pub(super) fn begin(core: &Arc<Core>, place: Place, expect: Digest) -> Self {
        // Held until it is listed: who begins to wait meanwhile must find it there.
        let mut kept = core.aheads.kept();
        if place.length == 0 || kept.waiting > 0 {
            return Self(None);
        }
        let Some(buffer) = spare_buffer_for(core, place.length) else { return Self(None) };
        let begun = core.try_start(buffer, move |core, buffer| {
            Source::open(core, place, expect, 0..place.length, true)?.read(buffer)
        });
        let Ok(job) = begun else { return Self(None) };
        let number = kept.next;
        kept.next += 1;
        kept.begun.insert(number, Begun { place, digest: expect, job });
        Self(Some(Ticket { core: Arc::clone(core), number }))
    }

    /// The reader of the blob that was begun, if it is this one, was not taken back, and could be read.
    pub(super) async fn into_reader(self, core: &Arc<Core>, place: Place, expect: Digest) -> Option<BlobReader> {
        let ticket = self.0?;
        let begun = ticket.core.aheads.kept().begun.remove(&ticket.number);
        let begun = begun?;
        if (begun.place, begun.digest) != (place, expect) {
            return None;
        }
        let begun = finish_job(begun.job).await.ok()?;
        Some(BlobReader::begun(Arc::clone(core), begun, place.length))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let begun = self.core.aheads.kept().begun.remove(&self.number);
        drop(begun);
    }
}
