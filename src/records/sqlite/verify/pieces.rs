//! A verification in pieces, beside the work (LED-006): each looks at one moment of the records, and not for long, so that the log can
//! be copied back between two.
//!
//! Every piece first walks what was entered since the last one, so that rows and entries of one moment are compared. Pages and
//! references are looked at table by table; which pages belong to no table is left to a verification by hand.

use super::{Compared, Found, Rebuilt, Walk, Walked, end, layout, pages, references, report};
use crate::ledger::check::Checker;
use crate::records::sqlite::readers::{Readers, in_one_view};
use crate::records::sqlite::rebuild::Place;
use crate::records::sqlite::rows::Fault;
use crate::records::{RecordsError, Report};
use rusqlite::{Connection, ErrorCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Entries or rows of one piece.
pub(in crate::records) const PIECE: u32 = 2000;

/// No piece looks at one moment for longer. A table that takes longer is not looked at.
const LONGEST: Duration = Duration::from_secs(120);

/// So many steps of SQLite lie between two looks at the time.
const STEPS: i32 = 1000;

/// Ends a piece that is no longer wanted, or takes too long.
#[derive(Default)]
pub(in crate::records) struct Brake {
    pulled: AtomicBool,
    until: Mutex<Option<Instant>>,
}

impl Brake {
    /// Ends the piece that is being done, and every other.
    pub(in crate::records) fn pull(&self) {
        self.pulled.store(true, Ordering::Relaxed);
    }

    fn begin(&self, longest: Duration) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(longest);
    }

    fn is_on(&self) -> bool {
        let until = || *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        self.pulled.load(Ordering::Relaxed) || until().is_some_and(|until| Instant::now() > until)
    }
}

/// What comes next.
enum Next {
    Entries,
    Rows(Place),
    Layout,
    /// These tables are still to be looked at, the last first.
    File(Vec<String>),
}

/// A verification under way.
pub(in crate::records) struct Pieces {
    checker: Checker,
    rebuilt: Rebuilt,
    found: Found,
    compared: Compared,
    walked: Walked,
    next: Next,
    unread: Vec<String>,
    most: u32,
    longest: Duration,
    brake: Arc<Brake>,
}

impl Pieces {
    /// One that has not begun, of so many entries or rows a piece.
    pub(in crate::records) fn new(most: u32, brake: Arc<Brake>) -> Result<Self, RecordsError> {
        Ok(Self {
            checker: Checker::new(),
            rebuilt: Rebuilt::new()?,
            found: Found::default(),
            compared: Compared::default(),
            walked: Walked::Part,
            next: Next::Entries,
            unread: Vec::new(),
            most,
            longest: LONGEST,
            brake,
        })
    }

    /// Has the brake work on a connection.
    pub(in crate::records) fn attach(conn: &mut Connection, brake: &Arc<Brake>) -> Result<(), RecordsError> {
        let brake = Arc::clone(brake);
        Ok(conn.progress_handler(STEPS, Some(move || brake.is_on())).map_err(Fault::from)?)
    }

    /// Does the next piece; whether that was the last.
    pub(in crate::records) fn go_on(&mut self, conn: &Connection) -> Result<bool, RecordsError> {
        self.brake.begin(self.longest);
        in_one_view(conn, |conn| self.piece(conn))
    }

    /// What it came to, once the last piece is done.
    pub(in crate::records) fn report(self) -> Report {
        Report { unread: self.unread, ..report(&self.checker, self.compared, self.found) }
    }

    fn piece(&mut self, conn: &Connection) -> Result<bool, Fault> {
        if self.walked != Walked::Broken {
            let (seen, told) = (AtomicU64::new(0), self.found.told());
            let (checker, rebuilt, found) = (&mut self.checker, &mut self.rebuilt, &mut self.found);
            self.walked = Walk { conn, checker, rebuilt, found, seen: &seen }.some(self.most)?;
            if self.found.told() > told && matches!(self.next, Next::Rows(_)) {
                // After a damaged entry, differences of the states would only be its consequences.
                self.next = Next::Layout;
            }
            if self.walked == Walked::Part {
                return Ok(false);
            }
        }
        match &mut self.next {
            Next::Entries => {
                let ended = end(conn, &self.checker, &mut self.found);
                self.found.unless_damaged(ended)?;
                let sound = self.found.told() == 0;
                self.next = if sound { Next::Rows(Place::default()) } else { Next::Layout };
            }
            Next::Rows(place) => {
                let (place, most) = (*place, i64::from(self.most));
                let found = &mut self.found;
                let on = self.rebuilt.compare_some(conn, place, most, &mut self.compared, &mut |what| found.say(what));
                self.next = self.found.unless_damaged(on)?.flatten().map_or(Next::Layout, Next::Rows);
            }
            Next::Layout => {
                let laid_out = layout(conn, &mut self.found);
                self.found.unless_damaged(laid_out)?;
                let tables = tables(conn);
                self.next = Next::File(self.found.unless_damaged(tables)?.unwrap_or_default());
            }
            Next::File(tables) => {
                if let Some(table) = tables.pop() {
                    self.table(conn, table)?;
                }
            }
        }
        Ok(matches!(&self.next, Next::File(tables) if tables.is_empty()))
    }

    fn table(&mut self, conn: &Connection, table: String) -> Result<(), Fault> {
        let name = table.replace('\'', "''");
        let checked = pages(conn, &format!("PRAGMA integrity_check('{name}')"), &mut self.found)
            .and_then(|()| references(conn, &format!("PRAGMA foreign_key_check('{name}')"), &mut self.found));
        match checked {
            Err(Fault::Sqlite(error)) if is_too_long(&error) && !self.brake.pulled.load(Ordering::Relaxed) => {
                self.unread.push(table);
                Ok(())
            }
            other => self.found.unless_damaged(other).map(drop),
        }
    }
}

/// A verification with a connection of its own.
pub(in crate::records) struct Apart {
    conn: Connection,
    pieces: Pieces,
}

impl Apart {
    /// One that has not begun.
    pub(in crate::records) fn new(readers: &Readers, brake: &Arc<Brake>) -> Result<Self, RecordsError> {
        let mut conn = readers.separate()?;
        Pieces::attach(&mut conn, brake)?;
        Ok(Self { conn, pieces: Pieces::new(PIECE, Arc::clone(brake))? })
    }

    /// Does the next piece; the report, if that was the last.
    pub(in crate::records) fn go_on(mut self) -> Result<Result<Self, Report>, RecordsError> {
        let ended = self.pieces.go_on(&self.conn)?;
        Ok(if ended { Err(self.pieces.report()) } else { Ok(self) })
    }
}

fn is_too_long(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

fn tables(conn: &Connection) -> Result<Vec<String>, Fault> {
    let mut find = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    Ok(find.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::records::sqlite::schema;

    const WITHOUT_END: &str = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";

    fn interrupted(conn: &Connection) -> bool {
        is_too_long(&conn.query_row(WITHOUT_END, [], |row| row.get::<_, i64>(0)).unwrap_err())
    }

    #[test]
    fn the_brake_ends_what_takes_too_long_or_is_not_wanted() {
        let brake: Arc<Brake> = Arc::default();
        let mut conn = schema::open_memory();
        Pieces::attach(&mut conn, &brake).unwrap();
        brake.begin(Duration::from_millis(20));
        assert!(interrupted(&conn));
        brake.begin(Duration::from_secs(3600));
        brake.pull();
        assert!(interrupted(&conn));
    }

    #[test]
    fn a_table_that_takes_too_long_is_named_and_is_no_finding() {
        let brake: Arc<Brake> = Arc::default();
        let mut conn = schema::open_memory();
        conn.execute_batch(
            "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 50000) \
             INSERT INTO words (text, salt) SELECT 'word ' || n, x'00' FROM c",
        )
        .unwrap();
        Pieces::attach(&mut conn, &brake).unwrap();
        let mut pieces = Pieces::new(PIECE, Arc::clone(&brake)).unwrap();
        pieces.next = Next::File(vec!["words".into(), "meta".into(), "words".into()]);
        pieces.longest = Duration::ZERO;
        assert!(!pieces.go_on(&conn).unwrap());
        pieces.longest = LONGEST;
        assert!(!pieces.go_on(&conn).unwrap());
        assert!(pieces.go_on(&conn).unwrap());
        let report = pieces.report();
        assert_eq!(
            (report.unread.as_slice(), report.is_sound()),
            (["words".to_owned()].as_slice(), true),
            "{report:?}"
        );
    }
}
