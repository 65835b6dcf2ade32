//! Blobs: the bytes of data sets exactly as received, on disk, known by their SHA-256.
//!
//! Small objects are appended to segments: preallocated files, written past the page cache from page-aligned buffers by
//! one thread, which syncs once for all that queued. Objects above about 1 MiB get a file of their own. Measured against
//! a file for each object, this is three times as fast at a quarter of the CPU time.
//!
//! The way of a blob: [`Store::receive`], [`Receiving::write`], [`Receiving::finish`], then [`Store::settle`], which
//! returns its [`Place`] when it is durable. Only when the records have committed that place may anybody be told that
//! the object is safe (REL-01). A place that the records never learn of is garbage, and the next start frees it.

mod ahead;
mod buffers;
mod compact;
mod copy_out;
mod digest;
mod disk;
mod error;
mod free;
mod identity;
mod jobs;
mod label;
mod labels;
mod lock;
mod own;
mod place;
mod read;
mod reader;
mod receive;
mod recover;
mod segment;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod simulated;
mod space;
#[cfg(test)]
mod tests;
mod trouble;

pub use ahead::Ahead;
pub use compact::Emptied;
pub use digest::Digest;
pub use error::StoreError;
pub use identity::Noted;
pub use labels::Labelled;
pub use lock::{lock_holder, take_lock};
pub use place::{Place, file_name};
pub use read::BlobReader;
pub use reader::StoreReader;
pub use receive::{Receiving, Spooled};
pub use recover::{Recovered, Standing};
pub use trouble::{Trouble, TurnedAway};

use ahead::Aheads;
use buffers::{Budget, PAGE_BYTES};
use compact::Moved;
use disk::Disk;
use identity::Identity;
use jobs::{Job, finish_job};
use receive::Body;
use segment::{Append, Appended, Appender};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Disk jobs that run at one time; more wait without a thread.
const SLOTS: usize = 16;

/// How the store works. All sizes are bytes.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The directory of the blobs; made if it is not there. One process at a time may use it, which the caller sees to.
    pub dir: PathBuf,
    /// What new work must leave free on the disk (REL-06). Default: 2 GiB, or a twentieth of the file system if that is
    /// less, so that a small disk is of use.
    pub reserve_bytes: Option<u64>,
    /// Size of a segment. Default 256 MiB; at least what a few small objects need.
    pub segment_bytes: u64,
    /// Objects longer than this get a file of their own. Default 1 MiB.
    pub small_object_bytes: u64,
    /// The longest object that is taken. Default 64 GiB.
    pub object_bytes: u64,
    /// What all buffers together may take: three quarters for what comes in, one for what goes out. Default 32 MiB.
    pub buffer_budget_bytes: usize,
    /// The largest single buffer. Default 256 KiB.
    pub chunk_bytes: usize,
    /// Write past the page cache (O_DIRECT) where the file system lets us. Default true.
    pub direct: bool,
}

impl StoreOptions {
    /// The defaults, for a directory.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            reserve_bytes: None,
            segment_bytes: 256 << 20,
            small_object_bytes: 1 << 20,
            object_bytes: 64 << 30,
            buffer_budget_bytes: 32 << 20,
            chunk_bytes: 256 << 10,
            direct: true,
        }
    }

    /// The smallest segment that is worth making: room for four of the largest small objects, which may exceed
    /// `small_object_bytes` by the buffer that was being filled.
    fn least_segment(&self) -> u64 {
        let largest = place::extent(self.small_object_bytes).saturating_add(self.chunk_bytes as u64);
        largest.saturating_mul(4).next_multiple_of(PAGE_BYTES)
    }
}

/// What the store holds and uses, for metrics and `weybridge store stats`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Live blobs.
    pub blobs: u64,
    /// Their bytes, without labels and padding.
    pub bytes: u64,
    /// Bytes free on the file system; 0 if it did not say.
    pub free_bytes: u64,
    /// Bytes of the file system; 0 if it did not say.
    pub disk_bytes: u64,
    /// Bytes that new work must leave free (REL-06).
    pub reserve_bytes: u64,
    /// Whether new work is refused for want of room, until a quarter more than the reserve is free.
    pub refusing: bool,
    /// Bytes of buffers lent to streams coming in.
    pub buffers_in: u64,
    /// Bytes of buffers lent to streams going out.
    pub buffers_out: u64,
    /// Syncs of blobs since the start; with group commit fewer than blobs.
    pub syncs: u64,
    /// Whether files are written and read past the page cache.
    pub direct: bool,
}

/// The blobs of one site. Clones share everything; the last one dropped ends the append thread.
#[derive(Clone)]
pub struct Store {
    core: Arc<Core>,
    appender: Arc<Appender>,
}

/// What every part of the store needs.
struct Core {
    options: StoreOptions,
    disk: Disk,
    identity: Identity,
    /// The moment of the records that `identity` on the disk notes.
    noted: Mutex<Option<Noted>>,
    numbers: AtomicU64,
    /// The segment that is being written; 0 for none. Read past the page cache only, so that no page read ahead there
    /// meets a write.
    active: AtomicU64,
    /// Where blobs lie that were moved since the start, for who still has the old place.
    moved: Moved,
    /// Buffers of what comes in. Apart from those of what goes out, so that slow receivers never stop an arrival.
    inward: Budget,
    /// Buffers of what goes out.
    outward: Budget,
    /// What of it is being read before it is asked for.
    aheads: Aheads,
    slots: Arc<Semaphore>,
    tally: Tally,
}

/// Counts of what is live.
#[derive(Default)]
struct Tally {
    blobs: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    fn added(&self, bytes: u64) {
        self.blobs.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn removed(&self, bytes: u64) {
        // What no record knew at the start was not counted, and may be freed all the same.
        let less = |count: &AtomicU64, by| {
            let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(u64::saturating_sub(now, by)));
        };
        less(&self.blobs, 1);
        less(&self.bytes, bytes);
    }
}

/// Asked before a data set is written: are the same bytes held already? May block.
pub type Known = Box<dyn FnOnce() -> bool + Send>;

/// What [`Store::settle_unless`] did.
pub enum Settled {
    /// The data set is durable at this place.
    Placed(Place),
    /// The same bytes are held already; here is the data set again.
    Known(Spooled),
}

impl Core {
    /// A file number that was never used before.
    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

impl Store {
    /// Opens the store for records that are known to be its own; see [`Self::open_for`].
    pub fn open(options: StoreOptions, live: impl IntoIterator<Item = Place>) -> Result<(Self, Recovered), StoreError> {
        Self::open_for(options, (Standing::Proven, None), live)
    }

    /// The moment of the records that the blobs in a directory noted last, see [`Self::note`]; `None` if there is none. Errors:
    /// `Io`.
    pub fn noted(dir: &Path) -> Result<Option<Noted>, StoreError> {
        Ok(identity::read(dir)?.and_then(|identity| identity.noted))
    }

    /// Whether a directory bears the name of a store, as it does from its first start on. Errors: `Io`.
    pub fn is_named(dir: &Path) -> Result<bool, StoreError> {
        Ok(identity::read(dir)?.is_some())
    }

    /// Opens the store. `live` is every place that the records know; what else a crash left in the directory is freed
    /// (see [`Recovered`]), unless the records do not hold what the blobs noted of them (`standing`). `now` is the moment at which
    /// the records are, to be noted. Blocks while it reads the directory. Errors: `Io`, `Full`, `Poisoned`.
    pub fn open_for(
        options: StoreOptions,
        (standing, now): (Standing, Option<Noted>),
        live: impl IntoIterator<Item = Place>,
    ) -> Result<(Self, Recovered), StoreError> {
        let options = within_reason(options);
        make_dir(&options.dir)?;
        let disk = Disk::open(options.dir.clone(), options.reserve_bytes, options.direct)?;
        let identity = Identity::load(&disk)?;
        let (recovered, next) = recover::recover(&disk, &identity, standing, live)?;
        // Only now: a crash in between repeats the clean-up.
        let identity = Identity { noted: now.or(next.noted), ..next };
        identity.write(&disk)?;
        let (budget, chunk) = (options.buffer_budget_bytes, options.chunk_bytes);
        let tally = Tally { blobs: recovered.blobs.into(), bytes: recovered.bytes.into() };
        let core = Arc::new(Core {
            options,
            disk,
            identity,
            noted: Mutex::new(identity.noted),
            numbers: AtomicU64::new(identity.base),
            active: AtomicU64::new(0),
            moved: Moved::default(),
            inward: Budget::new(budget - budget / 4, chunk),
            outward: Budget::new(budget / 4, chunk),
            aheads: Aheads::default(),
            slots: Arc::new(Semaphore::new(SLOTS)),
            tally,
        });
        let appender = Arc::new(Appender::start(Arc::clone(&core))?);
        Ok((Self { core, appender }, recovered))
    }

    /// Notes how far the records have come: from then on, records that do not hold this moment are taken for older than the blobs.
    /// To be called only with what is durable in the records. Durable when it returns. Errors: `Poisoned`, `Io`.
    pub async fn note(&self, noted: Noted) -> Result<(), StoreError> {
        let job = self.core.start(move |core| {
            core.disk.check()?;
            let mut last = core.noted.lock().unwrap_or_else(PoisonError::into_inner);
            if *last != Some(noted) {
                Identity { noted: Some(noted), ..core.identity }.write(&core.disk)?;
                *last = Some(noted);
            }
            Ok(())
        });
        finish_job(job.await).await
    }

    /// Whether a start found records that are older than the blobs or not theirs, and nobody has accepted them since.
    pub fn is_doubted(&self) -> bool {
        self.core.identity.doubted
    }

    /// Takes the records in place for the right ones, while no gateway runs; what they do not name stays. `false` if nobody doubted
    /// them. Errors: `Io`.
    pub fn accept(dir: impl Into<PathBuf>) -> Result<bool, StoreError> {
        let disk = Disk::open(dir.into(), Some(0), false)?;
        let identity = Identity::load(&disk)?;
        if identity.doubted {
            Identity { doubted: false, ..identity }.write(&disk)?;
        }
        Ok(identity.doubted)
    }

    /// Reads the name of a store that has lost its file `identity` from the labels of its blobs, while no gateway runs. Whether it was
    /// lost; nothing is removed from then on until [`Self::accept`] or [`Self::set_apart`]. Errors: `Io`, also if the labels disagree.
    pub fn regain_name(dir: impl Into<PathBuf>) -> Result<bool, StoreError> {
        recover::regain_name(&Disk::open(dir.into(), Some(0), false)?)
    }

    /// Begins a new block of file numbers while no gateway runs: whatever lies in the directory now is of an earlier run from
    /// then on, and no start cuts or removes it, whether records name it or not. Durable when it returns. Errors: `Io`.
    pub fn set_apart(dir: impl Into<PathBuf>) -> Result<(), StoreError> {
        let disk = Disk::open(dir.into(), Some(0), false)?;
        let identity = Identity::load(&disk)?;
        recover::set_apart(&disk, identity)
    }

    /// Whether `wanted` bytes more leave the reserve untouched (REL-06); `Full` if not. Believes the file system's
    /// answer for 100 ms; after a refusal, accepts again when a quarter more than the reserve is free.
    pub fn room(&self, wanted: u64) -> Result<(), StoreError> {
        self.core.disk.check()?;
        self.core.disk.space.room(wanted)
    }

    /// Why the store has stopped, if a write or sync has failed (REL-04). Only a restart helps.
    pub fn poisoned(&self) -> Option<String> {
        self.core.disk.poisoned().map(|why| why.to_string())
    }

    /// A new data set. It takes its first buffer with its first byte, so that an idle stream costs nothing; that is
    /// also where it waits if the memory budget is used up. Errors: `Poisoned`.
    pub async fn receive(&self) -> Result<Receiving, StoreError> {
        self.core.disk.check()?;
        Ok(Receiving::new(Arc::clone(&self.core)))
    }

    /// Makes a data set durable and says where it lies. Errors: `Full`, `Poisoned`, `Io`; nothing is kept then.
    ///
    /// If the future is dropped before it is done, the write completes or not, and its room is given back.
    pub async fn settle(&self, spooled: Spooled) -> Result<Place, StoreError> {
        match self.settle_new(spooled, None).await? {
            Settled::Placed(place) => Ok(place),
            Settled::Known(_) => Err(StoreError::Interrupted),
        }
    }

    /// As [`Self::settle`], but gives the data set back if `known` says that the same bytes are held. It is asked on the
    /// thread that would write, which costs no change of threads; it may block.
    pub async fn settle_unless(&self, spooled: Spooled, known: Known) -> Result<Settled, StoreError> {
        self.settle_new(spooled, Some(known)).await
    }

    async fn settle_new(&self, spooled: Spooled, known: Option<Known>) -> Result<Settled, StoreError> {
        self.core.disk.check()?;
        let Spooled { body, digest, length, transfer_syntax } = spooled;
        match body {
            Body::Held(buffers) => {
                let append = Append { buffers, digest, length, transfer_syntax };
                match self.appender.append(&self.core, append, known).await? {
                    Appended::Placed(claim) => claim.take().map(Settled::Placed).ok_or(StoreError::Interrupted),
                    Appended::Known(Append { buffers, digest, length, transfer_syntax }) => {
                        Ok(Settled::Known(Spooled { body: Body::Held(buffers), digest, length, transfer_syntax }))
                    }
                }
            }
            Body::Own(file) => {
                let make_durable = move |_: &Arc<Core>| match known.is_some_and(|known| known()) {
                    true => Ok((file, true)),
                    false => file.make_durable().map(|()| (file, false)),
                };
                let (file, held) = finish_job(self.core.start(make_durable).await).await?;
                if held {
                    return Ok(Settled::Known(Spooled { body: Body::Own(file), digest, length, transfer_syntax }));
                }
                self.core.tally.added(length);
                Ok(Settled::Placed(file.keep(length)))
            }
        }
    }

    /// Forgets a data set that is not wanted, such as one whose digest is held already.
    pub fn discard(&self, spooled: Spooled) {
        drop(spooled);
    }

    /// Reads a blob, or the `range` of its bytes. The first chunk is read before this returns. A poisoned store can
    /// still be read. Errors: `Missing`, `Corrupt`, `OutOfRange`, `Io`.
    pub async fn read(
        &self,
        place: Place,
        expect: Digest,
        range: Option<Range<u64>>,
    ) -> Result<BlobReader, StoreError> {
        let now = self.core.moved.follow(place);
        match BlobReader::open(Arc::clone(&self.core), now, expect, range.clone()).await {
            // It was moved between the two: the old file is gone, and where it went is known before that.
            Err(StoreError::Missing { .. }) if self.core.moved.follow(place) != now => {
                BlobReader::open(Arc::clone(&self.core), self.core.moved.follow(place), expect, range).await
            }
            opened => opened,
        }
    }

    /// Has the beginning of a blob read that will be wanted soon. Never waits, and begins only while half of the memory of what
    /// goes out is free.
    pub fn ahead(&self, place: Place, expect: Digest) -> Ahead {
        Ahead::begin(&self.core, self.core.moved.follow(place), expect)
    }

    /// The most bytes of one chunk: what is longer comes in several.
    pub fn longest_chunk(&self) -> u64 {
        self.core.outward.largest()
    }

    /// Reads a whole blob, of which the beginning may have been read already. Errors as [`Self::read`].
    pub async fn read_on(&self, place: Place, expect: Digest, ahead: Ahead) -> Result<BlobReader, StoreError> {
        match ahead.into_reader(&self.core, self.core.moved.follow(place), expect).await {
            Some(reader) => Ok(reader),
            None => self.read(place, expect, None).await,
        }
    }

    /// Reads a whole blob and compares its digest (REL-07). Errors as [`Self::read`].
    pub async fn verify(&self, place: Place, expect: Digest) -> Result<(), StoreError> {
        let mut reader = self.read(place, expect, None).await?;
        while reader.next().await?.is_some() {}
        Ok(())
    }

    /// Frees a blob, after the records have committed that nobody refers to it. To free it again is no error. Errors:
    /// `Missing` if something else lies at that place, `Poisoned`, `Io`.
    pub async fn free(&self, place: Place) -> Result<(), StoreError> {
        finish_job(self.core.start(move |core| free::free(core, place)).await).await
    }

    /// Frees many blobs with one sync of the directory. Returns how many are gone, and the first failure; who failed is asked
    /// again later.
    pub async fn free_all(&self, places: Vec<Place>) -> (usize, Result<(), StoreError>) {
        let job = self.core.start(move |core| Ok(free::free_all(core, &places))).await;
        finish_job(job).await.unwrap_or_else(|error| (0, Err(error)))
    }

    /// Length in bytes of a file, `None` if it is not there.
    pub fn file_bytes(&self, file: u64, shared: bool) -> Option<u64> {
        let path = self.core.disk.path(&place::file_name(file, shared));
        fs::metadata(path).ok().map(|found| found.len())
    }

    /// What the store holds and uses.
    pub fn usage(&self) -> Usage {
        let core = &self.core;
        let marks = core.disk.space.marks();
        Usage {
            disk_bytes: marks.size,
            reserve_bytes: marks.reserve,
            refusing: marks.refusing,
            blobs: core.tally.blobs.load(Ordering::Relaxed),
            bytes: core.tally.bytes.load(Ordering::Relaxed),
            free_bytes: core.disk.space.free().unwrap_or(0),
            buffers_in: core.inward.lent() as u64,
            buffers_out: core.outward.lent() as u64,
            syncs: core.disk.syncs(),
            direct: core.disk.is_direct(),
        }
    }
}

/// Sizes that work together: a segment holds at least four of the largest small objects.
fn within_reason(mut options: StoreOptions) -> StoreOptions {
    options.small_object_bytes = options.small_object_bytes.min(1 << 30);
    options.segment_bytes = options.segment_bytes.clamp(options.least_segment(), 1 << 40).next_multiple_of(PAGE_BYTES);
    options
}

/// Makes the directory, and its name durable in its parent (REL-05).
fn make_dir(dir: &Path) -> Result<(), StoreError> {
    let make = || {
        fs::create_dir_all(dir)?;
        match fs::canonicalize(dir)?.parent() {
            Some(parent) => fs::File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    make().map_err(|source| StoreError::Io { path: dir.to_owned(), source })
}
