//! What a start does with the directory: finds what the records know, frees what a crash left, cuts segments to size.

use super::identity::{self, Identity};
use super::labels;
use super::place::{file_name, parse_file_name};
use super::{Disk, Place, StoreError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;

/// What was found and done when the store was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Live blobs whose file is there and long enough.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments cut to the end of their last live blob.
    pub truncated: u64,
    /// Files without any live blob that were removed: what was not acknowledged before a crash.
    pub orphans_removed: u64,
    /// Live blobs whose file is gone (FLT-027); `Store::read` tells which.
    pub missing: u64,
    /// Live blobs that reach beyond the end of their file.
    pub damaged: u64,
    /// The places of those missing and damaged ones, to be set aside.
    pub lost: Vec<Place>,
    /// Files from earlier runs that no record knows. They were known once, so they are left for a person to see.
    pub strays: u64,
    /// The records are older than the blobs, or not theirs: nothing was removed, cut or punched, whatever they do not name.
    pub doubted: bool,
}

/// How the records that name the places stand to the blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They hold the moment that the blobs noted last.
    Proven,
    /// The blobs have noted none: they were restored, set apart, or written by an earlier version.
    Unknown,
    /// The records were made just now.
    New,
    /// They do not hold the moment that the blobs noted last: an old copy, or those of another site.
    Foreign,
}

impl Standing {
    /// Whether what such records do not name may be theirs all the same.
    fn is_doubtful(self, identity: &Identity) -> bool {
        match self {
            Self::Proven | Self::Unknown => false,
            Self::New => identity.base != 0,
            Self::Foreign => true,
        }
    }
}

/// A file of the directory.
struct Found {
    shared: bool,
    length: u64,
    blocks: u64,
}

/// What the records say of a file.
#[derive(Default)]
struct Known {
    blobs: u64,
    bytes: u64,
    end: u64,
    /// Blobs that end beyond the file's end.
    short: u64,
    /// All of its blobs, kept only while the file is not there.
    absent: Vec<Place>,
}

/// Puts the directory in order, given every place that the records know. Returns what it found, and the highest file
/// number seen.
///
/// Nothing in a segment is read. A blob that was appended but never committed to the records was never acknowledged
/// (REL-01), so it is garbage (FLT-003, FLT-005): a file of its own is removed, the tail of a segment is cut off, a gap
/// in the newest segment becomes a hole. Only files of the latest run are touched, since whatever is older was in order
/// at the last start: if the records do not know it, it is the records that are wrong (an old copy restored, say). And
/// nothing is touched if the records are seen to be older than the blobs, or not theirs.
///
/// What was removed, cut and punched is durable when this returns. It gives what it did, and what is to be written before anything new
/// is: the next block of numbers.
pub(super) fn recover(
    disk: &Disk,
    identity: &Identity,
    standing: Standing,
    live: impl IntoIterator<Item = Place>,
) -> Result<(Recovered, Identity), StoreError> {
    let doubted = standing.is_doubtful(identity);
    // Files with lower numbers are not of the latest run, or are treated so.
    let latest = if doubted { u64::MAX } else { identity.base };
    let found = list(disk)?;
    named(disk, identity, &found)?;
    let newest = found.iter().rfind(|(number, file)| file.shared && **number >= latest).map(|(number, _)| *number);
    let mut live = live.into_iter().peekable();
    if identity.base == 0 && live.peek().is_some() {
        let source = io::Error::other(
            "the records name blobs, but this directory has no file `identity`: is its disk mounted? restore the blobs, or \
             begin with new records",
        );
        return Err(StoreError::Io { path: disk.dir.clone(), source });
    }
    let mut seen = found.keys().next_back().copied().unwrap_or(0);
    let mut known: HashMap<(u64, bool), Known> = HashMap::new();
    let (mut in_newest, mut lost) = (Vec::new(), Vec::new());
    for place in live {
        seen = seen.max(place.file);
        let file = known.entry((place.file, place.shared)).or_default();
        file.blobs += 1;
        file.bytes += place.length;
        file.end = file.end.max(place.end());
        match found.get(&place.file).filter(|found| found.shared == place.shared) {
            Some(found) if found.length < place.end() => {
                file.short += 1;
                lost.push(place);
            }
            Some(_) => {}
            None => file.absent.push(place),
        }
        if place.shared && Some(place.file) == newest {
            in_newest.push((place.offset, place.end()));
        }
    }
    let mut recovered = Recovered { doubted, ..Recovered::default() };
    for (number, file) in &found {
        match known.remove(&(*number, file.shared)) {
            Some(known) => keep(disk, *number, file, (&known, *number >= latest), &mut recovered)?,
            None => drop_orphan(disk, *number, file, (latest, doubted), &mut recovered)?,
        }
    }
    recovered.missing = known.values().map(|file| file.blobs).sum();
    lost.extend(known.into_values().flat_map(|file| file.absent));
    recovered.lost = lost;
    if let Some(number) = newest {
        punch_gaps(disk, number, in_newest)?;
    }
    // What came back after the numbers moved on, since the power failed, would be nobody's for ever (REL-05).
    if recovered.orphans_removed > 0 {
        disk.sync_dir()?;
    }
    let mut next = identity.next(seen);
    // What an earlier version, a rebuild or the records before these left without a row cannot be told from garbage.
    if doubted || (standing == Standing::Unknown && identity.base != 0) {
        next.keep_below = next.base;
    }
    next.doubted |= doubted;
    Ok((recovered, next))
}

/// Takes the next block of file numbers, so that no start takes what lies there for what a crash left; and parts with the records
/// that were, since others are to come.
pub(super) fn set_apart(disk: &Disk, identity: Identity) -> Result<(), StoreError> {
    let found = list(disk)?;
    named(disk, &identity, &found)?;
    let seen = found.keys().next_back().copied().unwrap_or(0);
    let next = identity.next(seen);
    Identity { keep_below: next.base, doubted: false, noted: None, ..next }.write(disk)
}

/// Gives blobs that have lost the file `identity` their name back, which stands in each of their labels. Whatever no row names stays, and
/// nothing is removed until a person has accepted the records. Whether it was lost; errors if the labels do not agree.
pub(super) fn regain_name(disk: &Disk) -> Result<bool, StoreError> {
    let found = list(disk)?;
    if identity::read(&disk.dir)?.is_some() || found.is_empty() {
        return Ok(false);
    }
    let mut stores = BTreeSet::new();
    for (number, file) in &found {
        let path = disk.path(&file_name(*number, file.shared));
        let names = labels::stores(&path, *number, file.shared);
        stores.extend(names.map_err(|source| StoreError::Io { path, source })?);
    }
    let mut names = stores.iter();
    let (Some(store), None) = (names.next(), names.next()) else {
        let why = format!(
            "the labels of the blobs name {} stores, so that none can be believed; restore `identity`",
            stores.len()
        );
        return Err(StoreError::Io { path: disk.dir.clone(), source: io::Error::other(why) });
    };
    let seen = found.keys().next_back().copied().unwrap_or(0);
    let new = Identity { store: *store, base: 0, keep_below: 0, doubted: true, noted: None }.next(seen);
    Identity { keep_below: new.base, ..new }.write(disk)?;
    Ok(true)
}

/// Refuses blobs that have lost the name of their store: no label would be believed.
fn named(disk: &Disk, identity: &Identity, found: &BTreeMap<u64, Found>) -> Result<(), StoreError> {
    if identity.base != 0 || found.is_empty() {
        return Ok(());
    }
    let source = io::Error::other(
        "there are blobs but no file `identity`: restore it, or have `weybridge store rebuild` read the name from the blobs",
    );
    Err(StoreError::Io { path: disk.dir.clone(), source })
}

/// The store's files by number.
fn list(disk: &Disk) -> Result<BTreeMap<u64, Found>, StoreError> {
    let read = || {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&disk.dir)? {
            let entry = entry?;
            if let Some((number, shared)) = entry.file_name().to_str().and_then(parse_file_name) {
                let metadata = entry.metadata()?;
                found.insert(number, Found { shared, length: metadata.len(), blocks: metadata.blocks() });
            }
        }
        Ok(found)
    };
    read().map_err(|source| StoreError::Io { path: disk.dir.clone(), source })
}

/// A file with live blobs: cut what lies beyond the last of them, if the latest run made the file.
fn keep(
    disk: &Disk,
    number: u64,
    file: &Found,
    (known, latest): (&Known, bool),
    recovered: &mut Recovered,
) -> Result<(), StoreError> {
    recovered.blobs += known.blobs - known.short;
    recovered.bytes += known.bytes;
    recovered.damaged += known.short;
    if file.length <= known.end || !latest {
        return Ok(());
    }
    let path = disk.path(&file_name(number, file.shared));
    let open = OpenOptions::new().write(true).open(&path);
    let file = open.map_err(|source| StoreError::Io { path: path.clone(), source })?;
    disk.cut(&file, &path, known.end)?;
    disk.sync(&file, &path)?;
    recovered.truncated += 1;
    Ok(())
}

/// A file without live blobs: removed if the latest run made it, or if it is an old segment that was emptied.
fn drop_orphan(
    disk: &Disk,
    number: u64,
    file: &Found,
    (latest, doubted): (u64, bool),
    recovered: &mut Recovered,
) -> Result<(), StoreError> {
    let path = disk.path(&file_name(number, file.shared));
    let emptied = file.shared && file.blocks == 0 && !doubted;
    if number < latest && !emptied {
        tracing::warn!(path = %path.display(), "no record knows this file of an earlier run; it is left alone");
        recovered.strays += 1;
        return Ok(());
    }
    disk.remove(&path).map_err(|source| StoreError::Io { path, source })?;
    recovered.orphans_removed += 1;
    Ok(())
}

/// Makes holes between the live blobs of the segment that was being written: blobs whose commit never came.
fn punch_gaps(disk: &Disk, number: u64, mut live: Vec<(u64, u64)>) -> Result<(), StoreError> {
    if live.is_empty() {
        return Ok(());
    }
    live.sort_unstable();
    let path = disk.path(&file_name(number, true));
    let open = OpenOptions::new().write(true).open(&path);
    let file = open.map_err(|source| StoreError::Io { path: path.clone(), source })?;
    let mut end = 0;
    for (from, to) in live {
        if from > end {
            disk.punch(&file, &path, end, from - end)?;
        }
        end = end.max(to);
    }
    disk.sync(&file, &path)
}
