//! `ledger verify`: walks every entry, compares chain, tree, heads and states, and says in words what is wrong (LED-006).

pub(in crate::records) mod pieces;
mod walk;

use super::readers::in_one_view;
use super::rebuild::{Compared, Rebuilt};
use super::recover::read_end;
use super::rows::Fault;
use super::{described, schema};
use crate::ledger::check::Checker;
use crate::records::{LedgerHead, RecordsError, Report};
use rusqlite::{Connection, ErrorCode};
use std::sync::atomic::AtomicU64;
use std::thread;
use walk::{Walk, Walked};

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

    /// What was found elsewhere, which is of no entry.
    fn add(&mut self, other: Self) {
        other.problems.into_iter().for_each(|problem| self.say(problem));
        self.more += other.more;
    }

    /// Takes what was read, or notes that the file is damaged where it cannot be.
    fn unless_damaged<T>(&mut self, read: Result<T, Fault>) -> Result<Option<T>, Fault> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(fault) => {
                let error = of_the_file(fault)?;
                self.say(format!("the file is damaged: {error}"));
                Ok(None)
            }
        }
    }
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

/// Verifies everything: entries and rows in one view of the records, by two threads, and meanwhile by another, `apart`, what needs no
/// entries: the pages, and what describes studies; without a connection of its own for that, afterwards. `seen` counts the entries as they
/// pass, for showing progress.
///
/// Takes memory that does not grow with the ledger: the rebuilt tables are in a temporary file.
pub(in crate::records) fn verify(
    conn: &Connection,
    apart: Option<Connection>,
    seen: &AtomicU64,
) -> Result<Report, RecordsError> {
    let (entries, by_itself) = thread::scope(|scope| {
        let other = apart.map(|apart| scope.spawn(move || in_one_view(&apart, |conn| Ok(by_itself(conn)))));
        let entries = in_one_view(conn, |conn| entries(conn, seen));
        let died = |_| Err(RecordsError::Database("the verification ended early".into()));
        let by_itself = match other {
            Some(other) => other.join().unwrap_or_else(died),
            None => in_one_view(conn, |conn| Ok(by_itself(conn))),
        };
        (entries, by_itself)
    });
    let Entries { mut found, checker, sound, compared } = entries?;
    let ByItself { described, file } = by_itself?;
    // After a damaged entry, differences of the states would only be its consequences.
    for (part, is_told) in [(described, sound), (file, true)] {
        if is_told {
            found.add(part?);
        }
    }
    Ok(report(&checker, compared, found))
}

/// What the entries say, and the rows beside them.
struct Entries {
    found: Found,
    checker: Checker,
    /// Every entry is sound, so that rows could be compared.
    sound: bool,
    compared: Compared,
}

fn entries(conn: &Connection, seen: &AtomicU64) -> Result<Entries, Fault> {
    let (mut found, mut checker, mut rebuilt) = (Found::default(), Checker::new(), Rebuilt::new()?);
    let (checked, built) = (&mut checker, &mut rebuilt);
    let walked = Walk { conn, checker: checked, rebuilt: built, found: &mut found, seen }.all()?;
    let sound = walked == Walked::End && found.problems.is_empty();
    let ended = end(conn, &checker, &mut found);
    found.unless_damaged(ended)?;
    let mut compared = Compared::default();
    if sound {
        let states = rebuilt.compare(conn, |problem| found.say(problem));
        compared = found.unless_damaged(states)?.unwrap_or_default();
    }
    Ok(Entries { found, checker, sound, compared })
}

/// What can be told without the entries.
struct ByItself {
    described: Result<Found, Fault>,
    file: Result<Found, Fault>,
}

fn by_itself(conn: &Connection) -> ByItself {
    let part = |look: &dyn Fn(&mut Found) -> Result<(), Fault>| {
        let mut found = Found::default();
        let looked = look(&mut found);
        found.unless_damaged(looked).map(|_| found)
    };
    ByItself {
        described: part(&|found| described::look_at_all(conn, |problem| found.say(problem))),
        file: part(&|found| file(conn, found)),
    }
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
