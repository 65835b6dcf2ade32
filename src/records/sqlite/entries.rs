//! Reading the ledger in pages of bounded size, for export.

use super::rows::{Fault, count, damaged};
use crate::ledger::entry::Entry;
use crate::records::EntryLine;
use rusqlite::{Connection, params};

/// The most entries of one page.
const MOST: usize = 1000;
/// A page ends once its entries have so many bytes.
const MOST_BYTES: usize = 1 << 20;

/// The entries after a position, in order: as many as fit a page.
pub(in crate::records) fn page(conn: &Connection, after: u64) -> Result<Vec<EntryLine>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT position, kind, at, bytes, leaf, chain FROM entries WHERE position > ?1 ORDER BY position LIMIT ?2",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = find.query(params![after, MOST as i64])?;
    let (mut lines, mut size) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let hash = |n: usize| row.get::<_, Vec<u8>>(n)?.try_into().map_err(|_| damaged("hash"));
        let bytes: Vec<u8> = row.get(3)?;
        size += bytes.len();
        lines.push(EntryLine {
            position: count(row.get(0)?),
            id: Entry::parse(&bytes).map(|entry| entry.id.to_string()).unwrap_or_default(),
            kind: row.get(1)?,
            at: row.get(2)?,
            leaf: hash(4)?,
            chain: hash(5)?,
            bytes,
        });
        if size >= MOST_BYTES {
            break;
        }
    }
    Ok(lines)
}

/// Whether the entry at a position is there, and the chain up to it is this one. Before the first nothing can differ.
pub(in crate::records) fn chain_at(conn: &Connection, position: u64, chain: &[u8; 32]) -> Result<bool, Fault> {
    let mut find = conn.prepare_cached("SELECT 1 FROM entries WHERE position = ?1 AND chain = ?2")?;
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    Ok(position == 0 || find.exists(params![position, chain])?)
}
