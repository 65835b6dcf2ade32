//! The store without threads, on a machine whose process and power can fail at any call, for simulations.
//!
//! On a thread that simulates, jobs of the store run where they are asked for, so that a seed decides all. Each call that changes the
//! disk is counted: before any of them the process may die. What the disk then holds is put into another directory: all that was
//! written, or after a power cut only what was synced for sure, and of the rest what chance leaves. One store at a time on a thread.

use super::Store;
use std::cell::{Cell, RefCell};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

const PAGE: usize = 4096;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    /// The end that is to come after so many more calls.
    static DEATH: RefCell<Option<(u64, Death)>> = const { RefCell::new(None) };
    /// What was changed and not synced since.
    static CHANGES: RefCell<Vec<Change>> = const { RefCell::new(Vec::new()) };
    static DEAD: Cell<bool> = const { Cell::new(false) };
}

/// How a process ends.
pub(crate) struct Death {
    /// Where the disk goes on as it was at that moment.
    pub(crate) to: PathBuf,
    /// Where chance for what was not synced comes from; none if only the process dies.
    pub(crate) cut: Option<Box<dyn FnMut() -> bool>>,
    /// What else ends at that moment.
    pub(crate) then: Box<dyn FnOnce()>,
}

/// What a power cut may undo.
enum Change {
    Wrote { path: PathBuf, from: u64, to: u64 },
    Cut { path: PathBuf, was: u64 },
    Punched { path: PathBuf, offset: u64, bytes: Vec<u8> },
    Made { path: PathBuf },
    Removed { path: PathBuf, bytes: Vec<u8> },
}

/// From now on stores of this thread are simulated, and a process begins: nothing is unsynced.
pub(crate) fn begin() {
    ON.set(true);
    DEAD.set(false);
    DEATH.take();
    CHANGES.take();
}

/// Stores of this thread are as everywhere again.
pub(crate) fn end() {
    ON.set(false);
}

pub(crate) fn is_on() -> bool {
    ON.get()
}

/// Whether the process has died: what it still does counts for nothing.
pub(crate) fn is_dead() -> bool {
    DEAD.get()
}

/// The process dies before the call after so many others.
pub(crate) fn die_after(calls: u64, death: Death) {
    DEATH.replace(Some((calls, death)));
}

/// The process dies now.
pub(crate) fn die(dir: &Path, death: Death) {
    DEATH.take();
    end_with(dir, death);
}

/// Nobody dies.
pub(crate) fn live_on() -> Option<Death> {
    DEATH.take().map(|(_, death)| death)
}

fn end_with(dir: &Path, Death { to, mut cut, then }: Death) {
    DEAD.set(true);
    copy(dir, &to);
    if let Some(chance) = &mut cut {
        CHANGES.take().iter().rev().for_each(|change| change.undo(&to, chance));
    }
    then();
}

fn copy(dir: &Path, to: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name();
        let bytes = fs::read(dir.join(&name)).unwrap();
        let file = fs::File::create(to.join(&name)).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        // Holes stay holes.
        for (n, page) in bytes.chunks(PAGE).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0)) {
            file.write_all_at(page, (n * PAGE) as u64).unwrap();
        }
    }
}

impl Change {
    /// Undoes it, or a part of it, or not.
    fn undo(&self, dir: &Path, chance: &mut impl FnMut() -> bool) {
        let here = |path: &Path| dir.join(path.file_name().unwrap());
        let open = |path: &Path| OpenOptions::new().write(true).open(here(path)).ok();
        match self {
            Self::Wrote { path, from, to } => {
                let Some(file) = open(path) else { return };
                for at in (*from..*to).step_by(PAGE).filter(|_| chance()) {
                    file.write_all_at(&[0; PAGE], at).unwrap();
                }
            }
            Self::Cut { path, was } => {
                if let Some(file) = open(path).filter(|_| chance()) {
                    let now = file.metadata().unwrap().len();
                    file.set_len(now.max(*was)).unwrap();
                }
            }
            Self::Punched { path, offset, bytes } => {
                if let Some(file) = open(path).filter(|_| chance()) {
                    file.write_all_at(bytes, *offset).unwrap();
                }
            }
            Self::Made { path } if chance() => drop(fs::remove_file(here(path))),
            Self::Removed { path, bytes } if chance() => fs::write(here(path), bytes).unwrap(),
            Self::Made { .. } | Self::Removed { .. } => {}
        }
    }
}

fn note(change: impl FnOnce() -> Change) {
    if is_on() && !is_dead() {
        let change = change();
        CHANGES.with_borrow_mut(|changes| changes.push(change));
    }
}

/// A call that changes the disk is to come.
pub(super) fn step(dir: &Path) {
    if !is_on() || is_dead() {
        return;
    }
    let now = DEATH.with_borrow_mut(|death| match death {
        Some((0, _)) => death.take(),
        Some((left, _)) => {
            *left -= 1;
            None
        }
        None => None,
    });
    if let Some((_, death)) = now {
        end_with(dir, death);
    }
}

pub(super) fn wrote(path: &Path, from: u64, to: u64) {
    note(|| Change::Wrote { path: path.into(), from, to });
}

pub(super) fn cuts(path: &Path) {
    note(|| Change::Cut { path: path.into(), was: fs::metadata(path).map_or(0, |found| found.len()) });
}

pub(super) fn punches(path: &Path, offset: u64, length: u64) {
    note(|| {
        let bytes = fs::read(path).unwrap();
        let end = bytes.len().min((offset + length) as usize);
        let bytes = bytes.get(offset as usize..end).unwrap_or_default().to_vec();
        Change::Punched { path: path.into(), offset, bytes }
    });
}

pub(super) fn made(path: &Path) {
    note(|| Change::Made { path: path.into() });
}

pub(super) fn removes(path: &Path) {
    if let Ok(bytes) = fs::read(path) {
        note(|| Change::Removed { path: path.into(), bytes });
    }
}

/// Bytes, length and holes of a file are on the disk.
pub(super) fn synced(synced: &Path) {
    if is_on() && !is_dead() {
        CHANGES.with_borrow_mut(|changes| {
            changes.retain(|change| match change {
                Change::Wrote { path, .. } | Change::Cut { path, .. } | Change::Punched { path, .. } => path != synced,
                Change::Made { .. } | Change::Removed { .. } => true,
            });
        });
    }
}

/// The names are on the disk.
pub(super) fn synced_dir() {
    if is_on() && !is_dead() {
        CHANGES.with_borrow_mut(|changes| {
            changes.retain(|change| !matches!(change, Change::Made { .. } | Change::Removed { .. }));
        });
    }
}

impl Store {
    /// The write, or the sync, after so many others fails with this error.
    pub(crate) fn fail_after(&self, sync: bool, calls: u64, errno: i32) {
        let faults = &self.core.disk.faults;
        let fault = if sync { &faults.sync } else { &faults.write };
        fault.spare.store(calls, Ordering::SeqCst);
        fault.errno.store(errno, Ordering::SeqCst);
    }

    /// Where the blobs lie.
    pub(crate) fn dir(&self) -> &Path {
        &self.core.options.dir
    }
}
