//! Gives back the room of blobs that nobody refers to any more.

use super::buffers::PAGE_BYTES;
use super::label::Label;
use super::{Core, Place, StoreError};
use std::fs::OpenOptions;
use std::io;
use std::sync::Arc;

/// Frees blobs; one that is gone already is no error, so that it can be asked again after a crash (FLT-012). Returns the first
/// failure, after it has tried them all, with how many were freed or gone.
pub(super) fn free_all(core: &Core, places: &[Place]) -> (usize, Result<(), StoreError>) {
    let (mut freed, mut unlinked, mut result) = (0, false, Ok(()));
    for place in places {
        match free_one(core, *place) {
            Ok(own) => {
                freed += 1;
                unlinked |= own;
            }
            Err(error) => result = result.and(Err(error)),
        }
    }
    let synced = if unlinked { core.disk.sync_dir() } else { Ok(()) };
    (freed, synced.and(result))
}

/// Frees one blob, see [`free_all`].
pub(super) fn free(core: &Core, place: Place) -> Result<(), StoreError> {
    free_all(core, &[place]).1
}

/// The blob's own label must stand where the place says: a wrong place frees nothing. A file of its own is unlinked, which is
/// durable once the directory is synced; a range of a segment becomes a hole. A hole that a power cut undoes costs room, no
/// more. Says whether a file was unlinked.
fn free_one(core: &Core, place: Place) -> Result<bool, StoreError> {
    let disk = &core.disk;
    disk.check()?;
    let path = disk.path(&place.file_name());
    let fail = |source| StoreError::Io { path: path.clone(), source };
    let found = match disk.last_of_page(&path, place.end().saturating_sub(PAGE_BYTES)) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(fail(error)),
    };
    if found.iter().all(|byte| *byte == 0) && place.shared {
        return Ok(false);
    }
    if Label::decode(&found, &core.identity.store).is_none_or(|label| label.place != place) {
        return Err(StoreError::Missing { path });
    }
    if place.shared {
        let file = OpenOptions::new().write(true).open(&path).map_err(fail)?;
        disk.punch(&file, &path, place.offset, place.extent())?;
    } else {
        disk.remove(&path).map_err(fail)?;
    }
    core.tally.removed(place.length);
    Ok(!place.shared)
}

/// A durable blob on the way to the one who asked for it. If he is gone, its room is given back.
pub(super) struct Claim {
    core: Arc<Core>,
    place: Option<Place>,
}

impl Claim {
    /// The blob at `place` is durable, and so far nobody knows of it.
    pub(super) fn new(core: Arc<Core>, place: Place) -> Self {
        core.tally.added(place.length);
        Self { core, place: Some(place) }
    }

    /// Takes the blob over.
    pub(super) fn take(mut self) -> Option<Place> {
        self.place.take()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(place) = self.place.take()
            && let Err(error) = free(&self.core, place)
        {
            tracing::warn!(%error, "the room of a blob that nobody waited for stays in use");
        }
    }
}
