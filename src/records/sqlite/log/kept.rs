//! A damaged log beside the records: a copy of it, and the mark that a start has still to heed it (FLT-025).

use super::{Log, judge};
use crate::records::sqlite::schema::{FILE, sync_directory};
use crate::store::lock_holder;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

/// What follows the name of the records in that of their log, of a copy that is being made, of one that a start has still to heed, and of
/// those that were heeded.
const LOG: &str = "-wal";
const COPY: &str = "-wal.copy";
const DOUBTED: &str = "-wal.doubted";
const DAMAGED: &str = "-wal.damaged";
/// So many heeded copies are told apart by their names; the last one is written anew.
const HEEDED: usize = 100;

fn named(dir: &Path, rest: &str) -> PathBuf {
    dir.join(format!("{FILE}{rest}"))
}

/// What the log beside the records holds; whole if there is none.
fn look(dir: &Path) -> io::Result<Log> {
    match File::open(named(dir, LOG)) {
        Ok(log) => judge(&mut BufReader::with_capacity(1 << 16, log)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Log::Whole),
        Err(error) => Err(error),
    }
}

/// Looks at the log before SQLite does. If it is damaged, a copy is durable when this returns: SQLite drops what cannot be read, and a
/// start that crashes behind that would see nothing amiss. Where there is no room for a copy, an empty file says as much. Whether there
/// is a damaged log that no start has heeded.
pub(in crate::records) fn keep_if_damaged(dir: &Path) -> io::Result<bool> {
    let doubted = named(dir, DOUBTED);
    if let Log::Damaged { frame } = look(dir)? {
        tracing::error!(
            frame,
            "the log of the last run has changed on the disk: what stands behind this frame is lost"
        );
        if !doubted.try_exists()? {
            if let Err(error) = keep(dir) {
                tracing::error!(%error, "no copy of the damaged log can be kept");
                // There may be none.
                let _ = fs::remove_file(named(dir, COPY));
                File::create(&doubted)?.sync_all()?;
            }
            sync_directory(dir)?;
        }
    }
    doubted.try_exists()
}

fn keep(dir: &Path) -> io::Result<()> {
    let copy = named(dir, COPY);
    fs::copy(named(dir, LOG), &copy)?;
    File::open(&copy)?.sync_all()?;
    fs::rename(&copy, named(dir, DOUBTED))
}

/// The blobs have noted that these records are in doubt: the copy stays, and puts no later start in doubt.
pub(in crate::records) fn heeded(dir: &Path) -> io::Result<()> {
    let numbered = |number: usize| named(dir, &format!("{DAMAGED}.{number}"));
    let first = named(dir, DAMAGED);
    let free = match first.try_exists()? {
        false => first,
        true => (2..HEEDED).map(numbered).find(|name| !name.exists()).unwrap_or_else(|| numbered(HEEDED)),
    };
    fs::rename(named(dir, DOUBTED), free)?;
    sync_directory(dir)
}

/// Whether the log is damaged, for who only reads the records. Beside a running gateway it is being written, and not looked at.
pub(in crate::records) fn is_damaged_at_rest(dir: &Path) -> bool {
    // The lock is tried only where it matters: a start that meets it would be refused.
    let nobody_runs = || File::open(dir.join("lock")).is_ok_and(|lock| lock.try_lock_shared().is_ok());
    // The whole log is read for it: not where the system lists who runs.
    lock_holder(dir).is_none()
        && look(dir).is_ok_and(|found| found != Log::Whole)
        && nobody_runs()
        && look(dir).is_ok_and(|found| found != Log::Whole)
}
