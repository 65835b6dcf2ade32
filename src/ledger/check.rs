//! Walks a ledger in order and says where it is wrong: positions, canonical bytes, leaves, chain and tree (LED-006). Pure.

use super::chain;
use super::entry::Entry;
use super::merkle::{self, Edge, Hash};

/// What is wrong with an entry of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// An entry is missing, or stands twice.
    #[error("entry {expected} is missing: entry {found} follows entry {}", expected - 1)]
    Position {
        /// The position that should come.
        expected: u64,
        /// The position that came.
        found: u64,
    },
    /// The stored leaf hash is not that of the bytes.
    #[error("the bytes of entry {0} do not agree with its leaf hash")]
    Leaf(u64),
    /// The stored chain is not that of the entries before.
    #[error("the chain is broken at entry {0}")]
    Chain(u64),
    /// The bytes are no canonical entry.
    #[error("entry {position} cannot be read: {why}")]
    Entry {
        /// Its position.
        position: u64,
        /// Why.
        why: String,
    },
}

/// One entry as it is stored or exported.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// Its position, from 1.
    pub position: u64,
    /// Its canonical bytes.
    pub bytes: &'a [u8],
    /// Its leaf hash, as stored.
    pub leaf: Hash,
    /// The chain up to it, as stored.
    pub chain: Hash,
}

/// The state of a walk; constant in size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checker {
    edge: Edge,
    chain: Hash,
}

impl Default for Checker {
    fn default() -> Self {
        Self { edge: Edge::default(), chain: chain::START }
    }
}

impl Checker {
    /// A walk that starts at the first entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of entries so far.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The tree over the entries so far.
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// The chain over the entries so far.
    pub fn chain(&self) -> Hash {
        self.chain
    }

    /// Takes the next entry and gives it back parsed.
    ///
    /// Damage to one entry does not hide the others (INV-09): after an error the walk may go on, with whichever leaf hash
    /// the stored chain confirms. Only after [`Wrong::Position`] nothing more can be told.
    pub fn push(&mut self, stored: Stored<'_>) -> Result<Entry, Wrong> {
        let position = self.edge.size() + 1;
        if stored.position != position {
            return Err(Wrong::Position { expected: position, found: stored.position });
        }
        let computed = merkle::leaf(stored.bytes);
        let confirms = |leaf| chain::next(&self.chain, leaf) == stored.chain;
        let sound = computed == stored.leaf;
        let chained = confirms(&computed);
        let leaf = if !sound && !chained && confirms(&stored.leaf) { stored.leaf } else { computed };
        self.chain = chain::next(&self.chain, &leaf);
        self.edge.push(leaf);
        if !sound {
            return Err(Wrong::Leaf(position));
        }
        if !chained {
            return Err(Wrong::Chain(position));
        }
        Entry::parse(stored.bytes).map_err(|why| Wrong::Entry { position, why: why.to_string() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ledger::entry::{EntryId, Facts, Kind};

    struct Line {
        position: u64,
        bytes: Vec<u8>,
        leaf: Hash,
        chain: Hash,
    }

    fn ledger(size: u8) -> Vec<Line> {
        let mut chain = chain::START;
        let line = |n: u8| {
            let entry = Entry {
                id: EntryId([n; 16]),
                writer: "w".into(),
                kind: Kind::Opened,
                at: 1,
                facts: Facts::new(),
                causes: vec![],
            };
            let bytes = entry.to_bytes();
            let leaf = merkle::leaf(&bytes);
            chain = chain::next(&chain, &leaf);
            Line { position: u64::from(n) + 1, bytes, leaf, chain }
        };
        (0..size).map(line).collect()
    }

    fn walk(lines: &[Line]) -> Result<Checker, Wrong> {
        let mut checker = Checker::new();
        for line in lines {
            let Line { position, bytes, leaf, chain } = line;
            checker.push(Stored { position: *position, bytes, leaf: *leaf, chain: *chain })?;
        }
        Ok(checker)
    }

    #[test]
    fn a_sound_ledger_passes() {
        assert_eq!(walk(&ledger(20)).unwrap().size(), 20);
    }

    #[test]
    fn every_flipped_byte_is_found_at_its_position() {
        let sound = ledger(3);
        for n in 0..3 {
            for at in 0..sound[n].bytes.len() + 64 {
                let mut lines = ledger(3);
                let length = lines[n].bytes.len();
                match at.checked_sub(length) {
                    None => lines[n].bytes[at] ^= 0x10,
                    Some(k) if k < 32 => lines[n].leaf[k] ^= 0x10,
                    Some(k) => lines[n].chain[k - 32] ^= 0x10,
                }
                let wrong = walk(&lines).unwrap_err();
                let position = n as u64 + 1;
                assert!(matches!(wrong, Wrong::Leaf(p) | Wrong::Chain(p) if p == position), "{at}: {wrong}");
            }
        }
    }

    #[test]
    fn damage_to_one_entry_does_not_hide_the_others() {
        let mut lines = ledger(9);
        lines[2].bytes[5] ^= 1;
        lines[4].leaf[5] ^= 1;
        lines[6].chain[5] ^= 1;
        let mut checker = Checker::new();
        let wrong: Vec<_> = lines
            .iter()
            .filter_map(|Line { position, bytes, leaf, chain }| {
                checker.push(Stored { position: *position, bytes, leaf: *leaf, chain: *chain }).err()
            })
            .collect();
        assert_eq!(wrong, [Wrong::Leaf(3), Wrong::Leaf(5), Wrong::Chain(7)]);
        assert_eq!(checker, walk(&ledger(9)).unwrap());
    }

    #[test]
    fn missing_and_swapped_entries_are_found() {
        let mut lines = ledger(5);
        lines.remove(2);
        assert_eq!(walk(&lines).unwrap_err(), Wrong::Position { expected: 3, found: 4 });
        let mut lines = ledger(5);
        lines.swap(1, 2);
        (lines[1].position, lines[2].position) = (2, 3);
        assert_eq!(walk(&lines).unwrap_err(), Wrong::Chain(2));
    }
}
