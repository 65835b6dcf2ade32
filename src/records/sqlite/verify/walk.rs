//! The walk over all entries: read, looked at, and compared with the rows, in chunks; by hand on two threads, beside the work on one.

use super::{Found, of_the_file};
use crate::ledger::check::{Checker, Stored, Wrong};
use crate::ledger::entry::Entry;
use crate::ledger::merkle::Hash;
use crate::records::RecordsError;
use crate::records::sqlite::rebuild::Rebuilt;
use crate::records::sqlite::rows::{Fault, count};
use crate::records::sqlite::told;
use rusqlite::{Connection, Row, Rows, params};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

/// Entries of one chunk.
const CHUNK: usize = 250;
/// Chunks that are read before one must have been looked at.
const AHEAD: usize = 2;

/// All entries behind a position, and the head that was kept at each.
const ENTRIES: &str = "SELECT e.position, e.kind, e.at, e.bytes, e.leaf, e.chain, h.root, h.chain FROM entries e \
    LEFT JOIN heads h ON h.size = e.position WHERE e.position > ?1 ORDER BY e.position LIMIT ?2";

/// How far a walk came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walked {
    /// To the last entry.
    End,
    /// As far as it was to go; there may be more.
    Part,
    /// To a place behind which nothing can be told.
    Broken,
}

/// An entry as it stands in the records.
struct Kept {
    position: i64,
    kind: String,
    at: i64,
    bytes: Vec<u8>,
    leaf: Hash,
    chain: Hash,
    /// Root and chain of the head that was kept at its position.
    head: Option<(Vec<u8>, Vec<u8>)>,
}

/// What was found of one chunk.
#[derive(Default)]
struct Looked {
    /// Each entry that can be read or not, by its position; what is wrong with it.
    entries: Vec<(u64, Option<Entry>, Vec<String>)>,
    /// The first that is missing, and behind which nothing can be told.
    broken: Option<(u64, String)>,
}

/// Walks some or all entries behind those that the checker has seen.
pub(super) struct Walk<'a> {
    pub(super) conn: &'a Connection,
    pub(super) checker: &'a mut Checker,
    pub(super) rebuilt: &'a mut Rebuilt,
    pub(super) found: &'a mut Found,
    /// Counts the entries as they pass.
    pub(super) seen: &'a AtomicU64,
}

impl Walk<'_> {
    /// Walks at most so many entries on this thread.
    pub(super) fn some(mut self, most: u32) -> Result<Walked, Fault> {
        let walked = self.walk_some(most);
        self.broken_off(walked)
    }

    /// Walks all entries: this thread reads and compares with the rows, another hashes, reads the bytes and builds anew.
    pub(super) fn all(mut self) -> Result<Walked, Fault> {
        let walked = self.walk_all();
        self.broken_off(walked)
    }

    /// Damage to the file ends the walk, and is told.
    fn broken_off(&mut self, walked: Result<Walked, Fault>) -> Result<Walked, Fault> {
        walked.or_else(|fault| {
            let (error, next) = (of_the_file(fault)?, self.checker.size() + 1);
            self.found.at(next, format!("the file is damaged near entry {next}: {error}"));
            Ok(Walked::Broken)
        })
    }

    fn walk_some(&mut self, most: u32) -> Result<Walked, Fault> {
        let mut find = self.conn.prepare_cached(ENTRIES)?;
        let mut rows = find.query(params![after(self.checker), most])?;
        let mut left = u64::from(most);
        loop {
            let (chunk, end) = read(&mut rows);
            left = left.saturating_sub(chunk.len() as u64);
            let looked = look(chunk, self.checker, self.rebuilt)?;
            if compare(self.conn, looked, self.seen, self.found)? {
                return Ok(Walked::Broken);
            }
            if let Some(end) = end {
                return end.map(|()| if left == 0 { Walked::Part } else { Walked::End });
            }
        }
    }

    fn walk_all(&mut self) -> Result<Walked, Fault> {
        let mut find = self.conn.prepare_cached(ENTRIES)?;
        let mut rows = find.query(params![after(self.checker), -1])?;
        let (conn, seen) = (self.conn, self.seen);
        let (checker, rebuilt, found) = (&mut *self.checker, &mut *self.rebuilt, &mut *self.found);
        thread::scope(|scope| {
            let (give, given) = sync_channel(AHEAD);
            let (give_back, back) = sync_channel(AHEAD);
            scope.spawn(move || {
                for chunk in given {
                    let looked = look(chunk, checker, rebuilt);
                    if give_back.send(looked).is_err() {
                        return;
                    }
                }
            });
            let (mut away, mut end) = (0, None);
            loop {
                if end.is_none() {
                    let (chunk, ended) = read(&mut rows);
                    end = ended;
                    away += 1;
                    give.send(chunk).map_err(|_| died())?;
                }
                while away > if end.is_some() { 0 } else { AHEAD } {
                    away -= 1;
                    let looked = back.recv().map_err(|_| died())??;
                    if compare(conn, looked, seen, found)? {
                        return Ok(Walked::Broken);
                    }
                }
                if let Some(end) = end.take_if(|_| away == 0) {
                    return end.map(|()| Walked::End);
                }
            }
        })
    }
}

fn died() -> Fault {
    Fault::Refused(RecordsError::Database("the verification ended early".into()))
}

/// The position behind which to go on. What stands before the first is no entry either.
fn after(checker: &Checker) -> i64 {
    if checker.size() == 0 { i64::MIN } else { checker.size() as i64 }
}

/// The next chunk; and, if it is the last, how reading ended.
fn read(rows: &mut Rows<'_>) -> (Vec<Kept>, Option<Result<(), Fault>>) {
    let mut chunk = Vec::with_capacity(CHUNK);
    while chunk.len() < CHUNK {
        let kept = match rows.next() {
            Ok(Some(row)) => kept(row),
            Ok(None) => return (chunk, Some(Ok(()))),
            Err(error) => Err(error),
        };
        match kept {
            Ok(kept) => chunk.push(kept),
            Err(error) => return (chunk, Some(Err(error.into()))),
        }
    }
    (chunk, None)
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let hash = |n: usize| -> rusqlite::Result<Hash> { Ok(row.get::<_, Vec<u8>>(n)?.try_into().unwrap_or_default()) };
    let root: Option<Vec<u8>> = row.get(6)?;
    Ok(Kept {
        position: row.get(0)?,
        kind: row.get(1)?,
        at: row.get(2)?,
        bytes: row.get(3)?,
        leaf: hash(4)?,
        chain: hash(5)?,
        head: root.map(|root| Ok::<_, rusqlite::Error>((root, row.get(7)?))).transpose()?,
    })
}

/// Looks at a chunk by itself: hashes, canonical form, columns, heads, and the rules of what it changes.
fn look(chunk: Vec<Kept>, checker: &mut Checker, rebuilt: &mut Rebuilt) -> Result<Looked, Fault> {
    let mut looked = Looked { entries: Vec::with_capacity(chunk.len()), broken: None };
    for Kept { position, kind, at, bytes, leaf, chain, head } in chunk {
        let mut wrong = Vec::new();
        let entry = match checker.push(Stored { position: count(position), bytes: &bytes, leaf, chain }) {
            Ok(entry) => Some(entry),
            Err(missing @ Wrong::Position { expected, .. }) => {
                looked.broken = Some((expected, missing.to_string()));
                return Ok(looked);
            }
            Err(why) => {
                wrong.push(why.to_string());
                None
            }
        };
        let position = checker.size();
        if let Some(entry) = &entry {
            // The columns beside the bytes are copies for finding: they must say the same.
            if kind != entry.kind.word() || at != entry.at {
                wrong.push(format!("the columns of entry {position} do not agree with its bytes"));
            }
            let rules = rebuilt.apply(entry)?.into_iter();
            wrong.extend(rules.map(|problem| format!("entry {position} breaks a rule: {problem}")));
        }
        if head.is_some_and(|(root, chain)| root != checker.edge().root() || chain != checker.chain()) {
            wrong.push(format!("the entries up to {position} do not agree with the head that was kept at that size"));
        }
        looked.entries.push((position, entry, wrong));
    }
    Ok(looked)
}

/// Compares what entries say with the rows that are shown, and says all that is wrong; whether the walk is at its end.
fn compare(conn: &Connection, looked: Looked, seen: &AtomicU64, found: &mut Found) -> Result<bool, Fault> {
    for (position, entry, wrong) in looked.entries {
        wrong.into_iter().for_each(|problem| found.at(position, problem));
        if let Some(entry) = entry {
            told::compare(conn, &entry)?.into_iter().for_each(|problem| found.say(problem));
        }
        seen.store(position, Ordering::Relaxed);
    }
    if let Some((expected, missing)) = looked.broken {
        found.at(expected, missing);
        return Ok(true);
    }
    Ok(false)
}
