//! The calls to the file system that make blobs durable, and the one place that decides what their failure means.

use super::buffers::{PAGE, page_start};
use super::label::LABEL;
#[cfg(test)]
use super::simulated;
use super::{StoreError, space::Space};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

/// The directory of the store, with the health of the disk below it.
///
/// After a failed write or sync the kernel may have dropped the pages and marked them clean, so that a second try
/// would report success for bytes that are gone. Hence REL-04: the first such failure poisons the store for good. A
/// full disk is no such failure: nothing was promised, and the same call may succeed later.
pub(super) struct Disk {
    pub(super) dir: PathBuf,
    pub(super) space: Space,
    handle: File,
    direct: bool,
    poison: OnceLock<Arc<str>>,
    syncs: AtomicU64,
    /// The file system cannot reserve: room is taken by writing.
    unreserved: AtomicBool,
    /// When the last file could not be made, and why, if none was made since.
    unmade: Mutex<Option<(SystemTime, String)>>,
    #[cfg(test)]
    pub(super) faults: Faults,
}

/// Which kind of call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Creating, opening, sizing, removing: the store stays sound.
    Prepare,
    /// Reserving or writing bytes.
    Write,
    /// fdatasync or fsync.
    Sync,
}

impl Disk {
    /// Opens the directory and finds out whether O_DIRECT works there, if it is wanted.
    pub(super) fn open(dir: PathBuf, reserve: Option<u64>, direct: bool) -> Result<Self, StoreError> {
        let fail = |source| StoreError::Io { path: dir.clone(), source };
        let handle = File::open(&dir).map_err(fail)?;
        let direct = direct && direct_works(&dir).map_err(fail)?;
        let space = Space::open(dir.clone(), reserve)?;
        Ok(Self {
            space,
            handle,
            direct,
            poison: OnceLock::new(),
            syncs: AtomicU64::new(0),
            unreserved: AtomicBool::new(false),
            unmade: Mutex::default(),
            #[cfg(test)]
            faults: Faults::default(),
            dir,
        })
    }

    /// The path of a file of the store.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Why the store has stopped, if it has.
    pub(super) fn poisoned(&self) -> Option<Arc<str>> {
        self.poison.get().cloned()
    }

    /// An error if the store has stopped.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.poisoned().map_or(Ok(()), |why| Err(StoreError::Poisoned(why)))
    }

    /// Stops the store for good.
    pub(super) fn poison(&self, why: &str) -> StoreError {
        let why = self.poison.get_or_init(|| {
            tracing::error!(reason = why, "the store has stopped: nothing is acknowledged until a restart");
            why.into()
        });
        StoreError::Poisoned(Arc::clone(why))
    }

    /// How often blobs were synced, by fdatasync or fsync.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Whether files are written past the page cache.
    pub(super) fn is_direct(&self) -> bool {
        self.direct
    }

    /// Creates a file that must not exist yet. Its name is durable only after [`Self::sync_dir`].
    pub(super) fn create(&self, path: &Path) -> Result<File, StoreError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        if self.direct {
            options.custom_flags(direct_flag());
        }
        #[cfg(test)]
        simulated::step(&self.dir);
        let made = options.open(path).map_err(|source| {
            self.could_not_make(path, &source);
            self.failed((Step::Prepare, 0), path, source)
        })?;
        *self.unmade.lock().unwrap_or_else(PoisonError::into_inner) = None;
        #[cfg(test)]
        simulated::made(path);
        Ok(made)
    }

    /// Keeps why a file could not be made, for people, until one can; the log is told once.
    fn could_not_make(&self, path: &Path, source: &io::Error) {
        let why = match source.kind() {
            io::ErrorKind::StorageFull if !self.space.has_inodes() => "the file system has no inodes left".to_owned(),
            _ => source.to_string(),
        };
        let what = format!("{}: {why}", path.parent().unwrap_or(path).display());
        let mut unmade = self.unmade.lock().unwrap_or_else(PoisonError::into_inner);
        if unmade.is_none() {
            tracing::error!("files cannot be made in {what}; nothing is taken that needs one");
        }
        *unmade = Some((SystemTime::now(), what));
    }

    /// When the last file could not be made, and where and why, if none was made since.
    pub(super) fn unmade(&self) -> Option<(SystemTime, String)> {
        self.unmade.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens a file to read from. `direct` reads past the page cache, where that works, and asks for whole pages.
    /// Says whether it does.
    pub(super) fn open_to_read(&self, path: &Path, direct: bool) -> io::Result<(File, bool)> {
        let direct = direct && self.direct;
        let mut options = OpenOptions::new();
        options.read(true);
        if direct {
            options.custom_flags(direct_flag());
        }
        Ok((options.open(path)?, direct))
    }

    /// The last [`LABEL`] bytes of the page at `offset`; zeros if the file ends before. Read past the page cache where
    /// that works, so that nothing is cached next to where the segment is being written.
    pub(super) fn last_of_page(&self, path: &Path, offset: u64) -> io::Result<[u8; LABEL]> {
        let (file, _) = self.open_to_read(path, true)?;
        let mut memory = vec![0u8; 2 * PAGE];
        let start = page_start(&memory);
        let mut label = [0; LABEL];
        if retry(|| rustix::io::pread(&file, &mut memory[start..start + PAGE], offset))? == PAGE {
            label.copy_from_slice(&memory[start + PAGE - LABEL..start + PAGE]);
        }
        Ok(label)
    }

    /// Reserves blocks from `offset` on and makes the file that long, so that writes there neither move its end nor
    /// meet a full disk. File systems that cannot reserve only get the length.
    pub(super) fn reserve(&self, file: &File, path: &Path, offset: u64, length: u64) -> Result<(), StoreError> {
        self.take_room(file, path, (offset, length), length)
    }

    /// As [`Self::reserve_above`], where less will do: whether there was so much. That there is not is no refusal, and is not told.
    pub(super) fn reserve_ahead(&self, file: &File, path: &Path, offset: u64, length: u64) -> Result<bool, StoreError> {
        if !self.space.has(length)? {
            return Ok(false);
        }
        match self.take_room(file, path, (offset, length), 0) {
            Ok(()) => Ok(true),
            // There is less than there seemed to be.
            Err(StoreError::Full { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reserves a range; that there is no room is told as a refusal of the bytes that are `wanted`.
    fn take_room(&self, file: &File, path: &Path, (offset, length): (u64, u64), wanted: u64) -> Result<(), StoreError> {
        #[cfg(test)]
        simulated::step(&self.dir);
        let reserved = self.injected(Step::Write).and_then(|()| {
            match retry(|| fallocate(file, FallocateFlags::empty(), offset, length)) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.unreserved.store(true, Ordering::Relaxed);
                    file.set_len(offset.saturating_add(length))
                }
                Ok(()) => {
                    self.space.took(length);
                    Ok(())
                }
                Err(errno) => Err(errno.into()),
            }
        });
        reserved.map_err(|source| self.failed((Step::Write, wanted), path, source))
    }

    /// As [`Self::reserve`], for an object of any length: its room must not come out of what the records and what is in flight need to
    /// finish (REL-06). Errors: `Full` also where the reserve would be touched.
    pub(super) fn reserve_above(&self, file: &File, path: &Path, offset: u64, length: u64) -> Result<(), StoreError> {
        self.space.spares(length)?;
        self.reserve(file, path, offset, length)
    }

    /// Cuts the file to `length`, which gives back what was reserved beyond.
    pub(super) fn cut(&self, file: &File, path: &Path, length: u64) -> Result<(), StoreError> {
        #[cfg(test)]
        {
            simulated::step(&self.dir);
            simulated::cuts(path);
        }
        file.set_len(length).map_err(|source| self.failed((Step::Prepare, 0), path, source))
    }

    /// Removes a file. That is durable only after [`Self::sync_dir`].
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        {
            simulated::step(&self.dir);
            simulated::removes(path);
        }
        std::fs::remove_file(path)
    }

    /// Writes all of `slices`, one behind the other, from `offset` on. Every slice starts on a page and is whole pages
    /// long.
    pub(super) fn write(
        &self,
        file: &File,
        path: &Path,
        mut slices: &mut [IoSlice<'_>],
        mut offset: u64,
    ) -> Result<(), StoreError> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        #[cfg(test)]
        {
            simulated::step(&self.dir);
            simulated::wrote(path, offset, offset + total as u64);
        }
        while !slices.is_empty() {
            let written =
                self.injected(Step::Write).and_then(|()| Ok(retry(|| rustix::io::pwritev(file, slices, offset))?));
            // A short write may end within a page; O_DIRECT has to go on from the page's start.
            let whole = written.map_err(|source| self.failed((Step::Write, total as u64), path, source))? / PAGE * PAGE;
            if whole == 0 {
                return Err(self.failed((Step::Write, total as u64), path, io::ErrorKind::WriteZero.into()));
            }
            IoSlice::advance_slices(&mut slices, whole);
            offset += whole as u64;
        }
        if self.unreserved.load(Ordering::Relaxed) {
            self.space.took(total as u64);
        }
        Ok(())
    }

    /// fdatasync: the bytes of the file, its length and its map of blocks are on the disk when this returns.
    pub(super) fn sync(&self, file: &File, path: &Path) -> Result<(), StoreError> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        #[cfg(test)]
        simulated::step(&self.dir);
        let synced = self.injected(Step::Sync).and_then(|()| file.sync_data());
        synced.map_err(|source| self.failed((Step::Sync, 0), path, source))?;
        #[cfg(test)]
        simulated::synced(path);
        Ok(())
    }

    /// fsync of the directory: the names made or removed before are on the disk when this returns (REL-05).
    pub(super) fn sync_dir(&self) -> Result<(), StoreError> {
        #[cfg(test)]
        simulated::step(&self.dir);
        let synced = self.injected(Step::Sync).and_then(|()| self.handle.sync_all());
        synced.map_err(|source| self.failed((Step::Sync, 0), &self.dir, source))?;
        #[cfg(test)]
        simulated::synced_dir();
        Ok(())
    }

    /// Gives the blocks of a range of pages back to the file system; the range then reads as zeros. Where that is not possible,
    /// its last page is overwritten with zeros, which takes the label away; the room comes back with the segment.
    pub(super) fn punch(&self, file: &File, path: &Path, offset: u64, length: u64) -> Result<(), StoreError> {
        #[cfg(test)]
        {
            simulated::step(&self.dir);
            simulated::punches(path, offset, length);
        }
        match retry(|| fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length)) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let last = offset.saturating_add(length).saturating_sub(PAGE as u64);
                let blanked = std::os::unix::fs::FileExt::write_all_at(file, &[0; PAGE], last);
                blanked.map_err(|source| self.failed((Step::Prepare, 0), path, source))
            }
            Err(errno) => Err(self.failed((Step::Prepare, 0), path, errno.into())),
        }
    }

    /// Turns a failure of the system into one of the store, and decides whether it poisons. Bytes that were wanted, and for which the disk
    /// had no room, are told.
    fn failed(&self, (step, wanted): (Step, u64), path: &Path, source: io::Error) -> StoreError {
        let full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        match step {
            Step::Prepare | Step::Write if full => self.space.is_full(wanted),
            Step::Prepare => StoreError::Io { path: path.to_owned(), source },
            Step::Write => self.poison(&format!("writing {} failed: {source}", path.display())),
            Step::Sync => self.poison(&format!("syncing {} failed: {source}", path.display())),
        }
    }

    #[cfg(not(test))]
    fn injected(&self, _step: Step) -> io::Result<()> {
        Ok(())
    }

    /// Fails when a test asked for it.
    #[cfg(test)]
    fn injected(&self, step: Step) -> io::Result<()> {
        let fault = if step == Step::Sync { &self.faults.sync } else { &self.faults.write };
        if step == Step::Sync {
            drop(self.faults.gate.lock());
        }
        let spared = fault.spare.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        match if spared { 0 } else { fault.errno.swap(0, Ordering::SeqCst) } {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// The failures that a test asks for.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Faults {
    pub(super) write: Fault,
    pub(super) sync: Fault,
    /// Held by a test, it keeps every sync waiting.
    pub(super) gate: std::sync::Mutex<()>,
}

/// One failure to come: the error number, 0 for none, after so many calls that succeed.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Fault {
    pub(super) errno: std::sync::atomic::AtomicI32,
    pub(super) spare: AtomicU64,
}

/// Repeats a call that a signal interrupted before it did anything.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

fn direct_flag() -> i32 {
    OFlags::DIRECT.bits().cast_signed()
}

/// Tries a page with O_DIRECT. File systems refuse at open or at the first write (EINVAL), or ask for larger pages.
fn direct_works(dir: &Path) -> io::Result<bool> {
    let path = dir.join("probe");
    let opened = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(direct_flag()).open(&path);
    let refused = |error: &io::Error| matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported);
    let works = match opened {
        Ok(file) => {
            let memory = vec![0u8; 2 * PAGE];
            let start = page_start(&memory);
            match retry(|| rustix::io::pwrite(&file, &memory[start..start + PAGE], 0)) {
                Ok(_) => true,
                Err(errno) if refused(&errno.into()) => false,
                // A full disk says nothing about O_DIRECT; a later refusal would be reported as a failed write.
                Err(Errno::NOSPC | Errno::DQUOT) => false,
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(error) if refused(&error) => false,
        Err(error) => return Err(error),
    };
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(works),
    }
}
