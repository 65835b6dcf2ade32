//! Copies of the store's files in another directory, for a backup and its way back (REL-05).

use super::identity::{self, Identity};
use super::place::file_name;
use super::{Place, StoreError, StoreReader, finish_job};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes copied at a time.
const CHUNK: usize = 1 << 20;

impl StoreReader {
    /// Copies the files that hold these places, and the store's identity, into a directory that holds none of them yet. Holes
    /// stay holes. All is durable when this returns. Nothing may be freed or moved meanwhile. Returns how many files.
    pub async fn copy_files(&self, places: &[Place], to: PathBuf) -> Result<u64, StoreError> {
        let files: BTreeSet<(u64, bool)> = places.iter().map(|place| (place.file, place.shared)).collect();
        let job = self.core.start(move |core| {
            let names = files.iter().map(|(number, shared)| file_name(*number, *shared));
            let mut copied = 0;
            for name in names {
                let from = core.disk.path(&name);
                match copy(&from, &to.join(&name)) {
                    Ok(()) => copied += 1,
                    // A blob that is set aside as missing.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Err(StoreError::Io { path: from, source }),
                }
            }
            // Read behind the files, so that no number of theirs is free in it. What it notes of the records may be later than the
            // records that go with the copy, so that is left out. A store that never held anything has no name.
            if let Some(identity) = identity::read(&core.disk.dir)? {
                let copy = Identity { doubted: false, noted: None, ..identity };
                copy.put(&to).map_err(|source| StoreError::Io { path: to.clone(), source })?;
                copied += 1;
            }
            let synced = File::open(&to).and_then(|dir| dir.sync_all());
            synced.map_err(|source| StoreError::Io { path: to.clone(), source })?;
            Ok(copied)
        });
        finish_job(job.await).await
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{SeekFrom, seek};
    let source = File::open(from)?;
    let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < length {
        at = match seek(&source, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = seek(&source, SeekFrom::Hole(at))?.min(length);
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            source.read_exact_at(&mut buffer[..want], at)?;
            target.write_all_at(&buffer[..want], at)?;
            at += want as u64;
        }
    }
    target.sync_all()
}
