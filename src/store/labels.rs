//! The labels on disk: what the blobs say of themselves, without the records.

use super::buffers::{PAGE, PAGE_BYTES};
use super::label::{LABEL, Label};
use super::place::{file_name, parse_file_name};
use super::{Core, Digest, Place, StoreError, StoreReader, finish_job};
use crate::dicom::uid::TransferSyntaxUid;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
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

    /// Every blob that a file of the store says it holds, by its labels alone, and how many bytes of data no label covers: what
    /// was being written in a crash, or a blob whose label is damaged.
    pub async fn labelled(&self, number: u64, shared: bool) -> Result<(Vec<Labelled>, u64), StoreError> {
        finish_job(self.core.start(move |core| read_labels(core, number, shared)).await).await
    }
}

fn read_labels(core: &Arc<Core>, number: u64, shared: bool) -> Result<(Vec<Labelled>, u64), StoreError> {
    let path = core.disk.path(&file_name(number, shared));
    let mut found = Vec::new();
    let mut read = || -> io::Result<u64> {
        let file = File::open(&path)?;
        let ours = of(&core.identity.store);
        if shared {
            let keep = |label: &Label, ()| {
                found.push((label.place, label.digest, label.transfer_syntax.clone()));
                true
            };
            return Ok(labels(&file, ours, number, keep)?.unwrap_or(0));
        }
        match last_label(&file, ours, number)? {
            Some((label, ())) => {
                found.push((label.place, label.digest, label.transfer_syntax));
                Ok(0)
            }
            None => {
                let metadata = file.metadata()?;
                Ok(metadata.len().min(metadata.blocks() * 512))
            }
        }
    };
    let bare = read().map_err(|source| StoreError::Io { path: path.clone(), source })?;
    Ok((found, bare))
}

/// The names of stores that stand in the labels of a file, each label where it says that it stands.
pub(super) fn stores(path: &Path, number: u64, shared: bool) -> io::Result<BTreeSet<[u8; 16]>> {
    let file = File::open(path)?;
    let any = |bytes: &[u8]| {
        let store = Label::names_store(bytes)?;
        Some((Label::decode(bytes, &store)?, store))
    };
    let mut stores = BTreeSet::new();
    if shared {
        labels(&file, any, number, |_, store| {
            stores.insert(store);
            true
        })?;
    } else {
        stores.extend(last_label(&file, any, number)?.map(|(_, store)| store));
    }
    Ok(stores)
}

/// Decodes labels of one store.
pub(super) fn of(store: &[u8; 16]) -> impl Fn(&[u8]) -> Option<(Label, ())> {
    move |bytes| Label::decode(bytes, store).map(|label| (label, ()))
}

/// The label of a file that holds one blob, as `decode` reads it.
fn last_label<S>(
    file: &File,
    decode: impl Fn(&[u8]) -> Option<(Label, S)>,
    number: u64,
) -> io::Result<Option<(Label, S)>> {
    let length = file.metadata()?.len();
    let mut last = [0; LABEL];
    if length >= PAGE_BYTES && length.is_multiple_of(PAGE_BYTES) {
        file.read_exact_at(&mut last, length - LABEL as u64)?;
    }
    Ok(decode(&last).filter(|(label, _)| label.place.file == number))
}

/// Shows every label of a segment that `decode` reads to `look`, and gives how many bytes of data no label covers, in whole pages; `None` as soon as
/// `look` says no. Holes are passed over, and pages of zeros are no data.
pub(super) fn labels<S>(
    file: &File,
    decode: impl Fn(&[u8]) -> Option<(Label, S)>,
    number: u64,
    mut look: impl FnMut(&Label, S) -> bool,
) -> io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    let mut page = vec![0u8; 64 * PAGE];
    let mut at = 0;
    let mut bare = Bare::default();
    while at < length {
        at = match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data / PAGE_BYTES * PAGE_BYTES,
            // Nothing but a hole follows.
            Err(rustix::io::Errno::NXIO) => break,
            // The file system knows no holes: everything is read.
            Err(rustix::io::Errno::INVAL) => at,
            Err(errno) => return Err(errno.into()),
        };
        let read = file.read_at(&mut page, at)?;
        if read == 0 {
            break;
        }
        for end in (PAGE..=read).step_by(PAGE) {
            if page[end - PAGE..end].iter().all(|byte| *byte == 0) {
                continue;
            }
            bare.page(at + (end - PAGE) as u64);
            // A label that stands elsewhere than it says was copied here as part of an object.
            let here = |(label, _): &(Label, S)| label.place.file == number && label.place.end() == at + end as u64;
            let Some((label, store)) = decode(&page[end - LABEL..end]).filter(here) else { continue };
            bare.covered_from(label.place.offset);
            if !look(&label, store) {
                return Ok(None);
            }
        }
        at += (read as u64).next_multiple_of(PAGE_BYTES);
    }
    Ok(Some(bare.bytes()))
}

/// Runs of pages with data that no label has covered so far. A label comes behind all of its blob, and before the next.
#[derive(Default)]
struct Bare {
    runs: Vec<Range<u64>>,
}

impl Bare {
    fn page(&mut self, at: u64) {
        match self.runs.last_mut().filter(|run| run.end == at) {
            Some(run) => run.end += PAGE_BYTES,
            None => self.runs.push(at..at + PAGE_BYTES),
        }
    }

    /// All that was seen from `offset` on belongs to one blob.
    fn covered_from(&mut self, offset: u64) {
        self.runs.retain(|run| run.start < offset);
        if let Some(run) = self.runs.last_mut() {
            run.end = run.end.min(offset);
        }
    }

    fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }
}
