//! The blobs for reading only, beside the process that writes them.

use super::buffers::Budget;
use super::disk::Disk;
use super::identity::Identity;
use super::{BlobReader, Core, Digest, Place, SLOTS, StoreError, StoreOptions, Tally};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::Semaphore;

/// Reads blobs of a store that another process may be writing to; changes nothing. The command line's way to the bytes.
pub struct StoreReader {
    pub(super) core: Arc<Core>,
}

impl StoreReader {
    /// Opens the directory of a store. The errors are those of [`super::Store::open`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let options = StoreOptions { direct: false, ..StoreOptions::at(dir) };
        let disk = Disk::open(options.dir.clone(), Some(0), false)?;
        let identity = Identity::load(&disk)?;
        let budget = |share| Budget::new(options.buffer_budget_bytes / share, options.chunk_bytes);
        let (inward, outward) = (budget(8), budget(2));
        let core = Core {
            options,
            disk,
            identity,
            noted: Default::default(),
            numbers: AtomicU64::new(0),
            active: Default::default(),
            moved: Default::default(),
            inward,
            outward,
            aheads: Default::default(),
            slots: Arc::new(Semaphore::new(SLOTS)),
            tally: Tally::default(),
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// Whether a start found records that are older than the blobs or not theirs, and nobody has accepted them since.
    pub fn is_doubted(&self) -> bool {
        self.core.identity.doubted
    }

    /// Reads a whole blob; see [`super::Store::read`].
    pub async fn read(&self, place: Place, expect: Digest) -> Result<BlobReader, StoreError> {
        BlobReader::open(Arc::clone(&self.core), place, expect, None).await
    }
}
