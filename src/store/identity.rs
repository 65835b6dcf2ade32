//! The store's own random name and the numbers it may give to files, kept in one small file.

use super::{Disk, StoreError};
use std::fs::{self, File};
use std::io::{self, Write};

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
}

impl Identity {
    /// Reads the file; a store that has none yet gets a new name, with the first block still to be taken.
    pub(super) fn load(disk: &Disk) -> Result<Self, StoreError> {
        let path = disk.path(NAME);
        let fail = |source| StoreError::Io { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(text) => parse(&text).ok_or_else(|| fail(io::Error::other("this is not the identity of a store"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut store = [0; 16];
                getrandom::fill(&mut store).map_err(|e| fail(io::Error::other(e.to_string())))?;
                Ok(Self { store, base: 0 })
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// Takes the next block, above every number that was `seen`. Durable when it returns: written beside, synced,
    /// renamed, and the directory synced (REL-05).
    pub(super) fn next(self, disk: &Disk, seen: u64) -> Result<Self, StoreError> {
        let next = Self { base: self.base.saturating_add(BLOCK).max(seen.saturating_add(1)), ..self };
        let (new, path) = (disk.path(NEW), disk.path(NAME));
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(next.to_string().as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(|source| StoreError::Io { path: path.clone(), source })?;
        disk.sync_dir()?;
        Ok(next)
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("weybridge store 1\n")?;
        self.store.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        writeln!(f, "\n{}", self.base)
    }
}

fn parse(text: &str) -> Option<Identity> {
    let mut lines = text.lines();
    let (head, name, base) = (lines.next()?, lines.next()?, lines.next()?);
    if head != "weybridge store 1" || name.len() != 32 || !name.is_ascii() {
        return None;
    }
    let mut store = [0; 16];
    for (at, byte) in store.iter_mut().enumerate() {
        *byte = u8::from_str_radix(name.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Identity { store, base: base.parse().ok()? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_start_takes_higher_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path().to_owned(), Some(0), false).unwrap();
        let first = Identity::load(&disk).unwrap().next(&disk, 0).unwrap();
        let second = Identity::load(&disk).unwrap();
        assert_eq!(second, first);
        assert_eq!(second.next(&disk, 7).unwrap().base, first.base + BLOCK);
        assert_eq!(second.next(&disk, u64::MAX / 2).unwrap().base, u64::MAX / 2 + 1);
        fs::write(disk.path(NAME), "something else").unwrap();
        assert!(matches!(Identity::load(&disk), Err(StoreError::Io { .. })));
    }
}
