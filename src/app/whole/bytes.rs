//! The bytes on disk against what the records say of them, read past the store.

use super::beside::{Beside, here};
use super::contents;
use crate::records::tests::model::reference::Bytes;
use crate::records::{BlobId, Records};
use crate::store::{Digest, Place, Store, StoreReader, file_name};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The bytes at a place; fewer if the file ends there.
fn read(dir: &Path, place: Place) -> Vec<u8> {
    let mut bytes = vec![0; place.length as usize];
    let file = fs::File::open(dir.join(file_name(place.file, place.shared)));
    match file.and_then(|file| file.read_exact_at(&mut bytes, place.offset)) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

/// Every live generation is there with its digest, unless a byte of it was changed (INV-01, INV-09).
pub(super) fn check(beside: &mut Beside, records: &Records, dir: &Path, what: &str) {
    for (BlobId(blob), digest, place) in here(records.live_blobs(BlobId(0), 1000)).unwrap() {
        let whole = Digest::of(&read(dir, place)) == digest;
        if !whole && !beside.damaged.contains(&(blob as usize - 1)) {
            beside.wrong.push(format!("{what}: the bytes of generation {blob} are lost: {place:?}"));
        }
    }
}

/// Changes a byte of one of the live generations; which one, if there is any.
pub(super) fn damage(beside: &mut Beside, records: &Records, dir: &Path, pick: u64) -> Option<usize> {
    let live = here(records.live_blobs(BlobId(0), 1000)).unwrap();
    let (BlobId(blob), digest, place) = *live.get(pick as usize % live.len().max(1))?;
    let blob = blob as usize - 1;
    let (_, content) = contents::of(&digest)?;
    let at = (pick >> 8) % place.length;
    let file = fs::OpenOptions::new().write(true).open(dir.join(file_name(place.file, place.shared))).ok()?;
    file.write_all_at(&[!contents::bytes(content)[at as usize]], place.offset + at).unwrap();
    beside.damaged.insert(blob);
    Some(blob)
}

/// No blob lies there that no row ever named: what was refused or never committed is gone.
pub(super) async fn unnamed(beside: &std::sync::Mutex<Beside>, store: &Store, what: &str) {
    let reader = StoreReader::open(store.dir()).unwrap();
    for (file, shared) in reader.files().await.unwrap() {
        let (labels, _) = reader.labelled(file, shared).await.unwrap();
        let mut beside = beside.lock().unwrap();
        for (place, ..) in labels {
            if !beside.named.contains(&place) {
                beside.wrong.push(format!("{what}: nothing ever named the blob at {place:?}"));
            }
        }
    }
}

/// Nothing is left undone: no damage unseen, nothing condemned, nothing that may go by age.
pub(super) fn nothing_left(beside: &mut Beside, before: Option<i64>) {
    let unseen = |blob: &usize| beside.model.blobs[*blob].1 == Bytes::Live;
    let unseen: Vec<usize> = beside.damaged.iter().copied().filter(unseen).collect();
    if !unseen.is_empty() {
        beside.wrong.push(format!("the damage of generations {unseen:?} was never found"));
    }
    let condemned: Vec<usize> = beside.model.condemned().collect();
    if !condemned.is_empty() {
        beside.wrong.push(format!("generations {condemned:?} were never freed"));
    }
    let Some(before) = before else { return };
    for version in 0..beside.model.versions.len() {
        if beside.model.clone().purge(version, Some(before)) {
            beside.wrong.push(format!("version {version} was never purged"));
        }
    }
}
