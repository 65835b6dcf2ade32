//! Segments: preallocated files that many small blobs are appended to.

mod append;

pub(super) use append::{Append, Appended, Appender};

use super::buffers::{Buffer, PAGE_BYTES, slices};
use super::place::file_name;
use super::{Core, StoreError};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The segment that is being written. Blobs in it are never moved or written twice; what follows the last is reserved
/// room that reads as zeros.
struct Segment {
    file: File,
    path: PathBuf,
    number: u64,
    /// Bytes given to blobs, whole pages.
    used: u64,
    /// Bytes reserved.
    size: u64,
}

impl Segment {
    /// Creates a segment, reserves its room and makes both durable: fsync of the file for its length and map of
    /// blocks, then fsync of the directory for its name (REL-05). After that, an fdatasync is all that a blob needs.
    fn create(core: &Core) -> Result<Self, StoreError> {
        let disk = &core.disk;
        let number = core.next_number();
        let path = disk.path(&file_name(number, true));
        let file = disk.create(&path)?;
        let made = Self::reserve(core, &file, &path).and_then(|size| {
            disk.sync(&file, &path)?;
            disk.sync_dir()?;
            Ok(size)
        });
        match made {
            Ok(size) => Ok(Self { file, path, number, used: 0, size }),
            Err(error) => {
                // Nobody knows it yet; if it cannot be removed, the next start does it.
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Reserves the room of a segment and says how much: on a disk that is nearly full a half, a quarter, and so on. What the records and
    /// what is in flight need to finish is not taken ahead for what may come (REL-06); the smallest is made of it for what was let in.
    fn reserve(core: &Core, file: &File, path: &Path) -> Result<u64, StoreError> {
        let mut size = core.options.segment_bytes;
        loop {
            let half = (size / 2).next_multiple_of(PAGE_BYTES);
            let less = (half >= core.options.least_segment()).then_some(half);
            let Some(less) = less else { return core.disk.reserve(file, path, 0, size).map(|()| size) };
            if core.disk.reserve_ahead(file, path, 0, size)? {
                return Ok(size);
            }
            core.disk.cut(file, path, 0)?;
            size = less;
        }
    }

    /// Whether `bytes` more fit.
    fn fits(&self, bytes: u64) -> bool {
        self.size - self.used >= bytes
    }

    /// Writes buffers from `offset` on.
    fn write<'a>(
        &self,
        core: &Core,
        buffers: impl IntoIterator<Item = &'a Buffer>,
        offset: u64,
    ) -> Result<(), StoreError> {
        core.disk.write(&self.file, &self.path, &mut slices(buffers), offset)
    }

    /// Gives the unused room back. Not synced: if a crash undoes it, the next start cuts the segment again.
    fn seal(self, core: &Core) {
        let sealed = match self.used {
            0 => std::fs::remove_file(&self.path).map_err(|source| StoreError::Io { path: self.path.clone(), source }),
            used => core.disk.cut(&self.file, &self.path, used),
        };
        if let Err(error) = sealed {
            tracing::warn!(%error, "a segment keeps its unused room until the next start");
        }
    }
}
