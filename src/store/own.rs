//! The file of one large object: written as the object streams in, gone if the object is not kept.

use super::buffers::{Buffer, slices};
use super::place::file_name;
use super::{Core, Place, StoreError};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// Least and most bytes to reserve ahead of the writes, so that they neither move the file's end nor scatter it.
const AHEAD: (u64, u64) = (4 << 20, 64 << 20);

/// A file that belongs to one blob. Dropped before [`OwnFile::keep`], it is removed again.
///
/// The file has its final name from the start. REL-05's rename would add nothing: a name is a number never used before,
/// only the records make it mean something, and what they do not know is removed at the next start.
pub(super) struct OwnFile {
    core: Arc<Core>,
    file: File,
    path: PathBuf,
    number: u64,
    /// Bytes written, whole pages.
    written: u64,
    /// Bytes reserved.
    reserved: u64,
    kept: bool,
}

impl OwnFile {
    /// Creates the file, empty.
    pub(super) fn create(core: &Arc<Core>) -> Result<Self, StoreError> {
        core.disk.check()?;
        let number = core.next_number();
        let path = core.disk.path(&file_name(number, false));
        let file = core.disk.create(&path)?;
        Ok(Self { core: Arc::clone(core), file, path, number, written: 0, reserved: 0, kept: false })
    }

    /// Appends whole pages. Errors: `Full` also where they would touch the reserve (REL-06, FLT-021).
    pub(super) fn append(&mut self, buffers: &[Buffer]) -> Result<(), StoreError> {
        let disk = &self.core.disk;
        disk.check()?;
        let bytes: u64 = buffers.iter().map(|buffer| buffer.filled().len() as u64).sum();
        let end = self.written + bytes;
        if end > self.reserved {
            let ahead = end + self.reserved.clamp(AHEAD.0, AHEAD.1);
            if disk.reserve_ahead(&self.file, &self.path, self.reserved, ahead - self.reserved)? {
                self.reserved = ahead;
            } else {
                // Too little room to reserve ahead: it may still do for these bytes, and nobody was refused. A file system keeps what it
                // had given before there was no more.
                disk.cut(&self.file, &self.path, self.reserved)?;
                disk.reserve_above(&self.file, &self.path, self.reserved, end - self.reserved)?;
                self.reserved = end;
            }
        }
        disk.write(&self.file, &self.path, &mut slices(buffers), self.written)?;
        self.written = end;
        Ok(())
    }

    /// Where the object will lie if it is kept.
    pub(super) fn place(&self, length: u64) -> Place {
        Place { file: self.number, shared: false, offset: 0, length }
    }

    /// Gives back what was reserved and not written.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        self.core.disk.cut(&self.file, &self.path, self.written)
    }

    /// Puts bytes, length and name on the disk, in this order: fdatasync of the file, fsync of the directory. A crash
    /// between the two leaves a complete file or no file.
    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        self.core.disk.check()?;
        self.core.disk.sync(&self.file, &self.path)?;
        self.core.disk.sync_dir()
    }

    /// The file stays.
    pub(super) fn keep(mut self, length: u64) -> Place {
        self.kept = true;
        self.place(length)
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let path = std::mem::take(&mut self.path);
        let remove = move || {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "an unfinished file stays until the next start");
            }
        };
        #[cfg(test)]
        if super::simulated::is_on() {
            return remove();
        }
        // Removing a large file takes milliseconds: not on a thread that serves connections.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
