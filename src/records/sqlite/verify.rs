//! `ledger verify`: walks every entry, compares chain, tree, heads and states, and says in words what is wrong (LED-006).

pub(in crate::records) mod pieces;

use super::readers::in_one_view;
use super::rebuild::{Compared, Rebuilt};
use super::recover::read_end;
use super::rows::{Fault, count};
use super::{schema, told};
use crate::ledger::check::{Checker, Stored, Wrong};
use crate::ledger::entry::Entry;
use crate::records::{LedgerHead, RecordsError, Report};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use std::sync::atomic::{AtomicU64, Ordering};

/// So many problems are told; more are counted.
const TOLD: usize = 20;

/// What has been found so far.
#[derive(Default)]
struct Found {
    first_bad: Option<u64>,
    problems: Vec<String>,
    more: u64,
}

impl Found {
    fn say(&mut self, problem: String) {
        if self.problems.len() < TOLD { self.problems.push(problem) } else { self.more += 1 }
    }

    /// How many there are.
    fn told(&self) -> u64 {
        self.problems.len() as u64 + self.more
    }

    fn at(&mut self, position: u64, problem: String) {
        self.first_bad.get_or_insert(position);
        self.say(problem);
    }
}

/// How far a walk came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walked {
    /// To the last entry.
    End,
    /// As far as it was to go; there may be more.
    Part,
    /// To a place behind which nothing can be told.
    Broken,
}

/// What an error of reading says of the file; an error that says nothing of it is one of the verification.
fn of_the_file(fault: Fault) -> Result<rusqlite::Error, Fault> {
    use ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OperationInterrupted, OutOfMemory};
    let passes = [CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OperationInterrupted, OutOfMemory];
    match fault {
        Fault::Sqlite(error) if !error.sqlite_error_code().is_some_and(|code| passes.contains(&code)) => Ok(error),
        other => Err(other),
    }
}

/// Verifies everything in one view of the records. `seen` counts the entries as they pass, for showing progress.
///
/// Takes memory that does not grow with the ledger: the rebuilt tables are in a temporary file.
pub(in crate::records) fn verify(conn: &Connection, seen: &AtomicU64) -> Result<Report, RecordsError> {
    let mut found = Found::default();
    let walked = in_one_view(conn, |conn| {
        let mut checker = Checker::new();
        let rebuilt = Rebuilt::new()?;
        let walked = walk(conn, (&mut checker, &rebuilt), None, seen, &mut found)?;
        let sound = walked == Walked::End && found.problems.is_empty();
        let mut compared = Compared::default();
        let end = end(conn, &checker, &mut found);
        let states = match sound {
            // After a damaged entry, differences of the states would only be its consequences.
            false => Ok(()),
            true => rebuilt.compare(conn, |problem| found.say(problem)).map(|rows| compared = rows),
        };
        for result in [end, states, file(conn, &mut found)] {
            if let Err(fault) = result {
                found.say(format!("the file is damaged: {}", of_the_file(fault)?));
            }
        }
        Ok((checker, compared))
    })?;
    let (checker, compared) = walked;
    Ok(report(&checker, compared, found))
}

/// What it came to.
fn report(checker: &Checker, compared: Compared, found: Found) -> Report {
    Report {
        head: LedgerHead { size: checker.size(), root: checker.edge().root(), chain: checker.chain() },
        transfers: compared.transfers,
        instances: compared.instances,
        exceptions: compared.exceptions,
        first_bad: found.first_bad,
        problems: found.problems,
        more: found.more,
        unread: Vec::new(),
    }
}

/// Walks the entries from where the last walk ended, `most` of them or all.
fn walk(
    conn: &Connection,
    (checker, rebuilt): (&mut Checker, &Rebuilt),
    most: Option<u32>,
    seen: &AtomicU64,
    found: &mut Found,
) -> Result<Walked, Fault> {
    walk_on(conn, (&mut *checker, rebuilt), most, seen, found).or_else(|fault| {
        let (error, next) = (of_the_file(fault)?, checker.size() + 1);
        found.at(next, format!("the file is damaged near entry {next}: {error}"));
        Ok(Walked::Broken)
    })
}

fn walk_on(
    conn: &Connection,
    (checker, rebuilt): (&mut Checker, &Rebuilt),
    most: Option<u32>,
    seen: &AtomicU64,
    found: &mut Found,
) -> Result<Walked, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT position, kind, at, bytes, leaf, chain FROM entries WHERE position > ?1 ORDER BY position LIMIT ?2",
    )?;
    let mut heads = conn.prepare_cached("SELECT root, chain FROM heads WHERE size = ?1")?;
    // What stands before the first is no entry either.
    let after = if checker.size() == 0 { i64::MIN } else { checker.size() as i64 };
    let mut rows = find.query(params![after, most.map_or(-1, i64::from)])?;
    let mut left = most;
    while let Some(row) = rows.next()? {
        left = left.map(|left| left - 1);
        let entry = match take(row, checker)? {
            Ok(entry) => Some(entry),
            Err(wrong @ Wrong::Position { expected, .. }) => {
                found.at(expected, wrong.to_string());
                return Ok(Walked::Broken);
            }
            Err(wrong) => {
                found.at(checker.size(), wrong.to_string());
                None
            }
        };
        let position = checker.size();
        if let Some(entry) = entry {
            columns(row, &entry, position, found)?;
            for problem in rebuilt.apply(&entry)? {
                found.at(position, format!("entry {position} breaks a rule: {problem}"));
            }
            told::compare(conn, &entry)?.into_iter().for_each(|problem| found.say(problem));
        }
        let head = heads.query_row([position as i64], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)));
        if head.optional()?.is_some_and(|(root, chain)| root != checker.edge().root() || chain != checker.chain()) {
            found.at(
                position,
                format!("the entries up to {position} do not agree with the head that was kept at that size"),
            );
        }
        seen.store(position, Ordering::Relaxed);
    }
    Ok(if left == Some(0) { Walked::Part } else { Walked::End })
}

fn take(row: &Row<'_>, checker: &mut Checker) -> Result<Result<Entry, Wrong>, Fault> {
    let bytes: Vec<u8> = row.get(3)?;
    let hash =
        |n: usize| -> rusqlite::Result<[u8; 32]> { Ok(row.get::<_, Vec<u8>>(n)?.try_into().unwrap_or_default()) };
    let stored = Stored { position: count(row.get(0)?), bytes: &bytes, leaf: hash(4)?, chain: hash(5)? };
    Ok(checker.push(stored))
}

/// The columns beside the bytes are copies for finding: they must say the same.
fn columns(row: &Row<'_>, entry: &Entry, position: u64, found: &mut Found) -> Result<(), Fault> {
    let (kind, at): (String, i64) = (row.get(1)?, row.get(2)?);
    if kind != entry.kind.word() || at != entry.at {
        found.at(position, format!("the columns of entry {position} do not agree with its bytes"));
    }
    Ok(())
}

/// The end of the ledger as it was committed must be the end that the entries give: nothing is cut off.
fn end(conn: &Connection, checker: &Checker, found: &mut Found) -> Result<(), Fault> {
    let end = match read_end(conn) {
        Err(Fault::Refused(error)) => {
            found.say(error.to_string());
            return Ok(());
        }
        other => other?,
    };
    let (size, kept) = (checker.size(), end.edge.size());
    if size != kept {
        let at = size.min(kept) + 1;
        found.at(at, format!("there are {size} entries, but {kept} were committed"));
    } else if end.chain != checker.chain() {
        found.say("the chain over all entries is not the one that was committed".into());
    } else if end.edge != *checker.edge() {
        found.say("the tree over all entries is not the one that was committed".into());
    }
    let beyond = "SELECT min(size) FROM heads WHERE size > ?1";
    let beyond: Option<i64> = conn.query_row(beyond, [size as i64], |row| row.get(0))?;
    if let Some(beyond) = beyond {
        found.at(size + 1, format!("a head was kept at {beyond} entries, but there are only {size}"));
    }
    Ok(())
}

/// The file itself: pages, indexes and references (INV-09).
fn file(conn: &Connection, found: &mut Found) -> Result<(), Fault> {
    pages(conn, "PRAGMA integrity_check(5)", found)?;
    layout(conn, found)?;
    references(conn, "PRAGMA foreign_key_check", found)
}

fn pages(conn: &Connection, check: &str, found: &mut Found) -> Result<(), Fault> {
    let mut check = conn.prepare(check)?;
    for line in check.query_map([], |row| row.get::<_, String>(0))? {
        let line = line?;
        if line != "ok" {
            found.say(format!("the file is damaged: {line}"));
        }
    }
    Ok(())
}

fn layout(conn: &Connection, found: &mut Found) -> Result<(), Fault> {
    if let Some(name) = schema::differs(conn)? {
        found.say(format!("the layout of the file is not the one that this program made: {name}"));
    }
    Ok(())
}

fn references(conn: &Connection, check: &str, found: &mut Found) -> Result<(), Fault> {
    let mut check = conn.prepare(check)?;
    let mut broken = check.query([])?;
    if let Some(row) = broken.next()? {
        let table: String = row.get(0)?;
        found.say(format!("a row of table {table} refers to one that does not exist"));
    }
    Ok(())
}
