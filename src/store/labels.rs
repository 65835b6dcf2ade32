//! The labels on disk: what the blobs say of themselves, without the records.

use super::buffers::{PAGE, PAGE_BYTES};
use super::label::{LABEL, Label};
use super::place::{file_name, parse_file_name};
use super::{Core, Digest, Place, StoreError, StoreReader, finish_job};
use crate::dicom::uid::TransferSyntaxUid;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A blob as its label describes it.
pub type Labelled = (Place, Digest, TransferSyntaxUid);

impl StoreReader {
    /// The files of the store in the order in which they were begun: number, and whether many blobs share it.
    pub async fn files(&self) -> Result<Vec<(u64, bool)>, StoreError> {
        let job = self.core.start(|core| {
            let read = || -> io::Result<Vec<(u64, bool)>> {
                let names = fs::read_dir(&core.disk.dir)?.collect::<io::Result<Vec<_>>>()?;
                let mut files: Vec<_> =
                    names.iter().filter_map(|entry| parse_file_name(entry.file_name().to_str()?)).collect();
                files.sort_unstable();
                Ok(files)
            };
            read().map_err(|source| StoreError::Io { path: core.disk.dir.clone(), source })
        });
        finish_job(job.await).await
    }

    /// Every blob that a file of the store says it holds, by its labels alone. What was being written in a crash has none.
    pub async fn labelled(&self, number: u64, shared: bool) -> Result<Vec<Labelled>, StoreError> {
        finish_job(self.core.start(move |core| read_labels(core, number, shared)).await).await
    }
}

fn read_labels(core: &Arc<Core>, number: u64, shared: bool) -> Result<Vec<Labelled>, StoreError> {
    let path = core.disk.path(&file_name(number, shared));
    let mut found = Vec::new();
    let mut read = || -> io::Result<()> {
        let file = File::open(&path)?;
        if shared {
            let keep = |label: &Label| {
                found.push((label.place, label.digest, label.transfer_syntax.clone()));
                true
            };
            labels(&file, core, number, keep)?;
            return Ok(());
        }
        let length = file.metadata()?.len();
        let mut last = [0; LABEL];
        if length >= PAGE_BYTES && length.is_multiple_of(PAGE_BYTES) {
            file.read_exact_at(&mut last, length - LABEL as u64)?;
        }
        let label = Label::decode(&last, &core.identity.store);
        found.extend(
            label
                .filter(|label| label.place.file == number)
                .map(|label| (label.place, label.digest, label.transfer_syntax)),
        );
        Ok(())
    };
    read().map_err(|source| StoreError::Io { path: path.clone(), source })?;
    Ok(found)
}

/// Shows every label of a segment to `look` until that says no; whether it never did. Holes are passed over.
pub(super) fn labels(file: &File, core: &Core, number: u64, mut look: impl FnMut(&Label) -> bool) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let mut page = vec![0u8; 64 * PAGE];
    let mut at = 0;
    while at < length {
        at = match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data / PAGE_BYTES * PAGE_BYTES,
            // Nothing but a hole follows.
            Err(rustix::io::Errno::NXIO) => return Ok(true),
            // The file system knows no holes: everything is read.
            Err(rustix::io::Errno::INVAL) => at,
            Err(errno) => return Err(errno.into()),
        };
        let read = file.read_at(&mut page, at)?;
        if read == 0 {
            return Ok(true);
        }
        for end in (PAGE..=read).step_by(PAGE) {
            let label = Label::decode(&page[end - LABEL..end], &core.identity.store);
            // A label that stands elsewhere than it says was copied here as part of an object.
            let here = |label: &Label| label.place.file == number && label.place.end() == at + end as u64;
            if label.as_ref().is_some_and(|label| here(label) && !look(label)) {
                return Ok(false);
            }
        }
        at += (read as u64).next_multiple_of(PAGE_BYTES);
    }
    Ok(true)
}
