//! Compaction: live blobs of a mostly dead segment are written anew elsewhere, and the segment goes (FLT-014).
//!
//! The order makes every crash harmless: the copy is durable, the records commit its place, and only when nothing in the old
//! segment is known to anybody is the file unlinked. Until then both copies are there; one that no row names goes with its
//! segment, also after a restart. Who reads from the old file goes on reading: an unlinked file stays until it is closed.

use super::buffers::PAGE_BYTES;
use super::label::Label;
use super::labels::{self, labels};
use super::place::{file_name, parse_file_name};
use super::{Core, Digest, Place, Store, StoreError, finish_job};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Old places are remembered at least so long, which is longer than any batch is in hand.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// What became of a segment that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptied {
    /// It is gone; so many bytes of the disk are free again.
    Gone(u64),
    /// It is being written to.
    Active,
    /// It holds a blob that was not moved, one that is not committed yet, say.
    Inhabited,
    /// It may hold what the records do not know, and does so for good.
    Kept,
}

/// Where moved blobs lie now: two generations, of which the older is forgotten after a day.
#[derive(Default)]
pub(super) struct Moved {
    inner: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    since: Option<Instant>,
    young: HashMap<Place, Place>,
    old: HashMap<Place, Place>,
}

impl Moved {
    /// Where a blob lies that lay at `place` when the caller learned of it.
    pub(super) fn follow(&self, place: Place) -> Place {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = place;
        // A blob moves only to a newer file, so that this ends.
        while let Some(next) = inner.young.get(&now).or_else(|| inner.old.get(&now)) {
            now = *next;
        }
        now
    }

    /// Whether a blob that lay there was moved.
    fn knows(&self, place: &Place) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.young.contains_key(place) || inner.old.contains_key(place)
    }

    fn insert(&self, from: Place, to: Place) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if inner.since.is_none_or(|since| now.duration_since(since) >= REMEMBERED) {
            inner.old = std::mem::take(&mut inner.young);
            inner.since = Some(now);
        }
        inner.young.insert(from, to);
    }
}

impl Store {
    /// The segments on disk that are no longer written to, by number.
    pub async fn sealed_segments(&self) -> Result<Vec<u64>, StoreError> {
        let job = self.core.start(|core| {
            let read = || -> io::Result<Vec<u64>> {
                let names = fs::read_dir(&core.disk.dir)?.collect::<io::Result<Vec<_>>>()?;
                let files = names.iter().filter_map(|entry| parse_file_name(entry.file_name().to_str()?));
                Ok(files.filter(|(_, shared)| *shared).map(|(number, _)| number).collect())
            };
            // Looked at first: what becomes the active segment later is not in the list yet, or is taken out here.
            let mut found = read().map_err(|source| StoreError::Io { path: core.disk.dir.clone(), source })?;
            let frontier = frontier(core);
            found.retain(|number| *number < frontier);
            found.sort_unstable();
            Ok(found)
        });
        finish_job(job.await).await
    }

    /// Writes a blob of a segment anew, in the segment that is being written, checked against its digest on the way; the old
    /// one stays. Gives its new place, which is durable. Errors: `Full` below the reserve, and those of [`Store::read`].
    pub async fn copy(&self, place: Place, digest: Digest) -> Result<Place, StoreError> {
        self.room(place.extent())?;
        let label = finish_job(self.core.start(move |core| label_of(core, place)).await).await?;
        let mut reader = self.read(place, digest, None).await?;
        let mut receiving = self.receive().await?;
        while let Some(bytes) = reader.next().await? {
            receiving.write(&bytes).await?;
        }
        let spooled = receiving.finish(&label.transfer_syntax).await?;
        self.settle(spooled).await
    }

    /// Whether the blob at a place is labelled as that blob, without which nothing is freed there. Errors: `Missing` if it is not, `Io`.
    pub async fn check_label(&self, place: Place) -> Result<(), StoreError> {
        finish_job(self.core.start(move |core| label_of(core, place).map(drop)).await).await
    }

    /// Tells those who read that a blob lies elsewhere. To be called after the records have committed it.
    pub fn note_moved(&self, from: Place, to: Place) {
        self.core.moved.insert(from, to);
    }

    /// Whether a sealed segment can be removed once the blobs at `places` are moved: it holds nothing else that anybody may know.
    /// Errors: `Io`.
    pub async fn holds_only(&self, number: u64, places: Vec<Place>) -> Result<bool, StoreError> {
        let places: HashSet<Place> = places.into_iter().collect();
        let job = self.core.start(move |core| {
            let path = core.disk.path(&file_name(number, true));
            let looked = File::open(&path).and_then(|file| dead(&file, core, number, &places));
            looked.map(|dead| dead.is_some()).map_err(|source| StoreError::Io { path, source })
        });
        finish_job(job.await).await
    }

    /// Removes a sealed segment that no row names. If nothing but the records tells what it may hold, every label in it is looked
    /// at: if it holds a blob that was not moved, it stays. Errors: `Io`, `Poisoned`.
    pub async fn remove_segment(&self, number: u64) -> Result<Emptied, StoreError> {
        finish_job(self.core.start(move |core| remove(core, number)).await).await
    }
}

/// The first file number that may still be written to as a segment.
fn frontier(core: &Core) -> u64 {
    match core.active.load(Ordering::SeqCst) {
        0 => core.identity.base,
        active => active,
    }
}

fn label_of(core: &Core, place: Place) -> Result<Label, StoreError> {
    let path = core.disk.path(&place.file_name());
    let found = core.disk.last_of_page(&path, place.end().saturating_sub(PAGE_BYTES));
    let found = found.map_err(|source| StoreError::Io { path: path.clone(), source })?;
    Label::decode(&found, &core.identity.store).filter(|label| label.place == place).ok_or(StoreError::Missing { path })
}

/// The places in a segment from which blobs were moved; `None` if it holds any that is neither one of these nor of `others`.
///
/// What an earlier run wrote is garbage without a row, if the records are known to be its own: labels of blobs that were moved before
/// a restart, or never committed, count for nothing. What this run wrote may not be committed yet. And in files that the records
/// may not know in full, data without a label may be a blob whose label is damaged.
fn dead(file: &File, core: &Core, number: u64, others: &HashSet<Place>) -> io::Result<Option<HashSet<Place>>> {
    let (keep_below, base) = (core.identity.keep_below, core.identity.base);
    let settled = number >= keep_below && number < base;
    let mut moved = HashSet::new();
    let bare = labels(file, labels::of(&core.identity.store), number, |label, ()| {
        let known = core.moved.knows(&label.place);
        if known {
            moved.insert(label.place);
        }
        known || settled || others.contains(&label.place)
    })?;
    let dead = bare.is_some_and(|bytes| bytes == 0 || number >= keep_below);
    Ok(dead.then_some(moved))
}

fn remove(core: &Core, number: u64) -> Result<Emptied, StoreError> {
    core.disk.check()?;
    if number >= frontier(core) {
        return Ok(Emptied::Active);
    }
    let path = core.disk.path(&file_name(number, true));
    let fail = |source| StoreError::Io { path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Emptied::Gone(0)),
        Err(error) => return Err(fail(error)),
    };
    let Some(moved) = dead(&file, core, number, &HashSet::new()).map_err(fail)? else {
        return Ok(if number < core.identity.base { Emptied::Kept } else { Emptied::Inhabited });
    };
    let bytes = std::os::unix::fs::MetadataExt::blocks(&file.metadata().map_err(fail)?) * 512;
    core.disk.remove(&path).map_err(fail)?;
    core.disk.sync_dir()?;
    moved.iter().for_each(|place| core.tally.removed(place.length));
    Ok(Emptied::Gone(bytes))
}
