//! The store's own random name, the numbers it may give to files, and which records it belongs to, kept in one small file.

use super::{Disk, StoreError};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// File numbers that one run of the gateway may use.
const BLOCK: u64 = 1 << 40;
pub(super) const NAME: &str = "identity";
const NEW: &str = "identity.new";

/// What the file `identity` says.
///
/// No number is ever used twice, also after a crash: each start takes a block of its own. The records may ask a second
/// time that a blob be freed (FLT-012); with numbers used again, that could free another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Random; inside the check of every label.
    pub(super) store: [u8; 16],
    /// First number of the block of the latest start. What has a lower number was put in order by that start.
    pub(super) base: u64,
    /// Files with lower numbers may hold blobs that the records should know and do not: what no row names there is kept.
    pub(super) keep_below: u64,
    /// A start found records that are older than the blobs or not theirs, and nobody has said since that they are right.
    pub(super) doubted: bool,
    /// The last moment of the records that was noted; none in a store that was upgraded, restored or set apart.
    pub(super) noted: Option<Noted>,
}

/// A moment of the records: the number of entries of their ledger, and the chain over them. Records that do not hold it are older
/// than the blobs, or another site's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// Entries of the ledger.
    pub entries: u64,
    /// The hash chain over them.
    pub chain: [u8; 32],
}

impl Identity {
    /// Reads the file; a store that has none yet gets a new name, with the first block still to be taken.
    pub(super) fn load(disk: &Disk) -> Result<Self, StoreError> {
        if let Some(identity) = read(&disk.dir)? {
            return Ok(identity);
        }
        let mut store = [0; 16];
        let fail = |source| StoreError::Io { path: disk.path(NAME), source };
        getrandom::fill(&mut store).map_err(|e| fail(io::Error::other(e.to_string())))?;
        Ok(Self { store, base: 0, keep_below: 0, doubted: false, noted: None })
    }

    /// The next block, above every number that was `seen`; taken once it is written.
    pub(super) fn next(self, seen: u64) -> Self {
        Self { base: self.base.saturating_add(BLOCK).max(seen.saturating_add(1)), ..self }
    }

    /// Durable when it returns: written beside, synced, renamed, and the directory synced (REL-05).
    pub(super) fn write(&self, disk: &Disk) -> Result<(), StoreError> {
        let path = disk.path(NAME);
        self.put(&disk.dir).map_err(|source| StoreError::Io { path, source })?;
        disk.sync_dir()
    }

    /// Writes the file into a directory; its name is not durable yet.
    pub(super) fn put(&self, dir: &Path) -> io::Result<()> {
        let new = dir.join(NEW);
        let mut file = File::create(&new)?;
        file.write_all(self.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, dir.join(NAME))
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("weybridge store 1\n")?;
        self.store.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        writeln!(f, "\n{}", self.base)?;
        writeln!(f, "keep {} {}", self.keep_below, if self.doubted { "doubted" } else { "sound" })?;
        let Some(noted) = self.noted else { return Ok(()) };
        write!(f, "records {} ", noted.entries)?;
        noted.chain.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        writeln!(f)
    }
}

/// The identity of the store in a directory; `None` if there is none.
pub(super) fn read(dir: &Path) -> Result<Option<Identity>, StoreError> {
    let path = dir.join(NAME);
    let fail = |source| StoreError::Io { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) => match parse(&text) {
            Some(identity) => Ok(Some(identity)),
            None => Err(fail(io::Error::other("this is not the identity of a store"))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(error)),
    }
}

fn parse(text: &str) -> Option<Identity> {
    let mut lines = text.lines();
    let (head, name, base) = (lines.next()?, lines.next()?, lines.next()?);
    if head != "weybridge store 1" {
        return None;
    }
    let mut identity =
        Identity { store: hex(name)?, base: base.parse().ok()?, keep_below: 0, doubted: false, noted: None };
    // Earlier versions wrote nothing more.
    for line in lines {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["keep", below, doubted] => {
                identity.keep_below = below.parse().ok()?;
                identity.doubted = doubted != "sound";
            }
            ["records", entries, chain] => {
                identity.noted = Some(Noted { entries: entries.parse().ok()?, chain: hex(chain)? });
            }
            _ => return None,
        }
    }
    Some(identity)
}

/// Bytes in hexadecimal digits, exactly as many as are wanted.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_start_takes_higher_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path().to_owned(), Some(0), false).unwrap();
        let mut first = Identity::load(&disk).unwrap().next(0);
        for noted in [None, Some(Noted { entries: 7, chain: [200; 32] })] {
            first = Identity { noted, doubted: noted.is_some(), keep_below: first.base, ..first };
            first.write(&disk).unwrap();
            assert_eq!(Identity::load(&disk).unwrap(), first);
        }
        let second = Identity::load(&disk).unwrap();
        assert_eq!(second.next(7).base, first.base + BLOCK);
        assert_eq!(second.next(u64::MAX / 2).base, u64::MAX / 2 + 1);
        // As an earlier version wrote it.
        fs::write(disk.path(NAME), format!("weybridge store 1\n{}\n99\n", "0a".repeat(16))).unwrap();
        let old = Identity { store: [10; 16], base: 99, keep_below: 0, doubted: false, noted: None };
        assert_eq!(Identity::load(&disk).unwrap(), old);
        fs::write(disk.path(NAME), "something else").unwrap();
        assert!(matches!(Identity::load(&disk), Err(StoreError::Io { .. })));
    }
}
