//! The one thread that writes: it takes what has queued, commits it as one group, and only then answers (REL-01, REL-03).
//!
//! Nothing ever waits for a group to fill. A command that is refused undoes nothing of the others: the group is undone and done
//! again, each command in a savepoint of its own. A commit that fails, or any input or output error, poisons the records for good (REL-04): what was
//! synced is not known then, and a second sync might claim success for pages that the first has lost.

use super::rows::Fault;
use super::schema;
use super::tally::Tally;
use super::tx::{Fixed, Group, Tx};
use crate::ledger::chain;
use crate::ledger::merkle::{self, Edge, Hash};
use crate::records::kicks::Kicks;
use crate::records::{LedgerHead, RecordsError};
use rusqlite::{Connection, ErrorCode, params};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{mpsc, oneshot};

/// Copy the log back after so many pages of 4 KiB, when nothing waits.
const CHECKPOINT_PAGES: i32 = 2000;
/// Copy the log back after so many pages even when something waits.
const CHECKPOINT_AT_ONCE: i32 = 16_000;
/// A signed head is to follow at least so often (LED-004); until then a plain one is kept.
const HEAD_EVERY: u64 = 1000;

/// A queued command.
pub(in crate::records) trait Job: Send {
    /// Does the work; once more if what it did was undone because of another command of its group.
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), Fault>;
    /// Remembers what the caller is told instead of a result.
    fn fail(&mut self, error: RecordsError);
    /// Answers the caller, who may be gone: the commit stands all the same.
    fn answer(self: Box<Self>);
}

/// A command and the way back to its caller.
pub(in crate::records) struct Command<F, T> {
    run: F,
    result: Option<Result<T, RecordsError>>,
    reply: oneshot::Sender<Result<T, RecordsError>>,
}

impl<F, T> Command<F, T> {
    pub(in crate::records) fn new(run: F, reply: oneshot::Sender<Result<T, RecordsError>>) -> Self {
        Self { run, result: None, reply }
    }
}

impl<F, T> Job for Command<F, T>
where
    F: Fn(&mut Tx<'_>) -> Result<T, Fault> + Send,
    T: Send,
{
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        self.result = Some(Ok((self.run)(tx)?));
        Ok(())
    }

    fn fail(&mut self, error: RecordsError) {
        self.result = Some(Err(error));
    }

    fn answer(self: Box<Self>) {
        // The caller may have gone away.
        let _ = self.reply.send(self.result.unwrap_or(Err(RecordsError::Closed)));
    }
}

/// What comes down the queue.
pub(in crate::records) enum Message {
    /// Do this.
    Do(Box<dyn Job>),
    /// Copy the log back, close the file, answer.
    Stop(oneshot::Sender<()>),
}

/// Why a whole group was undone.
enum Undone {
    /// Nothing was changed, and nothing is broken.
    Clean(RecordsError),
    /// What was written is not known.
    Broken(String),
}

impl From<rusqlite::Error> for Undone {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Clean(RecordsError::Full),
            // Nothing of a transaction reaches the disk before its commit: it is undone, and the next may have what it needs (FLT-026).
            Some(ErrorCode::OutOfMemory) => Self::Clean(RecordsError::Database(error.to_string())),
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// What a commit that failed means: how much of it was written before memory ran out is not known.
fn uncommitted(error: rusqlite::Error) -> Undone {
    match error.sqlite_error_code() {
        Some(ErrorCode::OutOfMemory) => Undone::Broken(error.to_string()),
        _ => error.into(),
    }
}

/// Whether an error touches only the command that met it.
fn is_contained(error: &rusqlite::Error) -> bool {
    use ErrorCode::{ApiMisuse, ConstraintViolation, ParameterOutOfRange, TooBig, TypeMismatch};
    match error.sqlite_error_code() {
        None => true,
        Some(code) => matches!(code, ConstraintViolation | TypeMismatch | TooBig | ApiMisuse | ParameterOutOfRange),
    }
}

/// The ledger's end, as far as it is committed.
#[derive(Clone)]
pub(in crate::records) struct End {
    pub(in crate::records) edge: Edge,
    pub(in crate::records) chain: Hash,
}

impl End {
    /// The head of the ledger.
    pub(in crate::records) fn head(&self) -> LedgerHead {
        LedgerHead { size: self.edge.size(), root: self.edge.root(), chain: self.chain }
    }

    /// Gives the entries of a group their positions, leaves and chain, and stores them and the new end (LED-003).
    pub(in crate::records) fn sequence(&mut self, conn: &Connection, group: &Group) -> rusqlite::Result<()> {
        let Some(last) = group.entries.last() else { return Ok(()) };
        let before = self.edge.size();
        let mut insert = conn.prepare_cached(
            "INSERT INTO entries (position, kind, at, bytes, leaf, chain) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for entry in &group.entries {
            let leaf = merkle::leaf(&entry.bytes);
            self.chain = chain::next(&self.chain, &leaf);
            self.edge.push(leaf);
            insert.execute(params![
                self.edge.size() as i64,
                entry.kind.word(),
                entry.at,
                entry.bytes,
                leaf,
                self.chain
            ])?;
        }
        let size = self.edge.size();
        conn.prepare_cached("UPDATE edge SET size = ?1, chain = ?2, nodes = ?3 WHERE id = 1")?.execute(params![
            size as i64,
            self.chain,
            self.edge.to_bytes()
        ])?;
        if size / HEAD_EVERY != before / HEAD_EVERY {
            conn.prepare_cached("INSERT INTO heads (size, at, root, chain) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![size as i64, last.at, self.edge.root(), self.chain])?;
        }
        Ok(())
    }
}

/// Says why nothing is written any more, should the thread end by a panic.
struct LastWords(Arc<OnceLock<String>>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // An earlier reason stands.
            let _ = self.0.set("the writer ended by a fault of its own".to_owned());
        }
    }
}

/// The writer's state.
pub(in crate::records) struct Writer {
    pub(in crate::records) conn: Connection,
    pub(in crate::records) fixed: Fixed,
    pub(in crate::records) end: End,
    pub(in crate::records) kicks: Arc<Kicks>,
    pub(in crate::records) poison: Arc<OnceLock<String>>,
    /// The disk was full at the last commit that wrote something.
    pub(in crate::records) full: Arc<AtomicBool>,
    /// What is told of each change.
    pub(in crate::records) tally: Arc<Tally>,
}

impl Writer {
    /// Runs until it is told to stop, or nobody can ask any more.
    pub(in crate::records) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let _last_words = LastWords(self.poison.clone());
        let pages = Arc::new(AtomicI32::new(0));
        let counted = pages.clone();
        let counting = self.conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, written| {
            counted.store(written, Ordering::Relaxed);
            Ok(())
        }));
        if let Err(error) = counting {
            self.break_down(error.to_string());
        }
        let mut stop = None;
        while stop.is_none()
            && let Some(message) = queue.blocking_recv()
        {
            let mut jobs = Vec::new();
            let mut next = Some(message);
            while let Some(message) = next {
                match message {
                    Message::Do(job) => jobs.push(job),
                    Message::Stop(reply) => stop = Some(reply),
                }
                let more = stop.is_none() && jobs.len() < self.fixed.options.group;
                next = if more { queue.try_recv().ok() } else { None };
            }
            self.commit(jobs);
            let written = pages.load(Ordering::Relaxed);
            if written >= CHECKPOINT_AT_ONCE || (written >= CHECKPOINT_PAGES && queue.is_empty()) {
                self.checkpoint("PASSIVE");
                pages.store(0, Ordering::Relaxed);
            }
        }
        self.checkpoint("TRUNCATE");
        if self.poison.get().is_none() {
            // All is in the file: the empty log goes with the last connection. If that cannot be had, it stays.
            let _ = schema::copy_back_at_close(&self.conn, true);
        }
        drop(self);
        if let Some(reply) = stop {
            // Whoever asked may be gone.
            let _ = reply.send(());
        }
    }

    /// Copies the log back into the file. A failed sync of the file is not to be tried again (REL-04).
    fn checkpoint(&mut self, how: &str) {
        if self.poison.get().is_some() {
            return;
        }
        let done = self.conn.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()));
        match done.as_ref().err().map(|error| (error.sqlite_error_code(), error.to_string())) {
            None | Some((Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull), _)) => {}
            Some((_, why)) => self.break_down(why),
        }
    }

    fn break_down(&self, why: String) {
        tracing::error!(why, "the records can no longer be written");
        // The first reason stands.
        let _ = self.poison.set(why);
    }

    /// Commits a group, then answers all of it.
    pub(in crate::records) fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let done = match self.poison.get() {
            Some(why) => Err(Undone::Clean(RecordsError::Poisoned(why.clone()))),
            None => self.group(&mut jobs),
        };
        match done {
            Ok(group) => self.kicks.fire(group.kicks),
            Err(undone) => {
                if !self.conn.is_autocommit() {
                    // A rollback that fails leaves the records as they were for every later reader.
                    let _ = self.conn.execute_batch("ROLLBACK");
                }
                let error = match undone {
                    Undone::Clean(error) => {
                        self.full.fetch_or(error == RecordsError::Full, Ordering::Relaxed);
                        error
                    }
                    Undone::Broken(why) => {
                        self.break_down(why.clone());
                        RecordsError::Poisoned(why)
                    }
                };
                jobs.iter_mut().for_each(|job| job.fail(error.clone()));
            }
        }
        jobs.into_iter().for_each(Job::answer);
    }

    fn group(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Group, Undone> {
        self.begin()?;
        let mut group = Group::default();
        #[cfg(test)]
        let noted = super::inline::committed::noted();
        if !self.together(jobs, &mut group)? {
            #[cfg(test)]
            super::inline::committed::undone_since(noted);
            self.conn.prepare_cached("ROLLBACK")?.execute([])?;
            self.begin()?;
            group = Group::default();
            jobs.iter_mut().try_for_each(|job| self.one(job.as_mut(), &mut group))?;
        }
        let mut end = self.end.clone();
        end.sequence(&self.conn, &group)?;
        let changing = self.tally.changing(&self.conn)?;
        self.conn.prepare_cached("COMMIT")?.execute([]).map_err(uncommitted)?;
        self.tally.changed(&changing);
        if !group.entries.is_empty() {
            self.full.store(false, Ordering::Relaxed);
        }
        self.end = end;
        Ok(group)
    }

    /// Only the process that opened the records last may write (FLT-072).
    fn fence(&self) -> Result<(), Undone> {
        let mut find = self.conn.prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'epoch'")?;
        let epoch: i64 = find.query_row([], |row| row.get(0))?;
        if epoch == self.fixed.epoch { Ok(()) } else { Err(Undone::Broken("another process has opened them".into())) }
    }

    fn begin(&self) -> Result<(), Undone> {
        self.tally.begin();
        if let Err(error) = self.conn.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([])) {
            let busy = matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
            return Err(if busy { Undone::Clean(RecordsError::Database(error.to_string())) } else { error.into() });
        }
        self.fence()
    }

    /// Every command, none in a savepoint: those copy each page that a command changes, for what is hardly ever refused. False if one of
    /// several was refused; where it is the only one, the transaction is what is rolled back.
    fn together(&self, jobs: &mut [Box<dyn Job>], group: &mut Group) -> Result<bool, Undone> {
        let alone = jobs.len() == 1;
        for job in jobs {
            if let Err(fault) = job.apply(&mut Tx { conn: &self.conn, fixed: &self.fixed, group }) {
                let error = self.refusal(fault)?;
                return if alone { Err(Undone::Clean(error)) } else { Ok(false) };
            }
            // What came after would be kept statement by statement, and without its entries.
            if self.conn.is_autocommit() {
                return Err(Undone::Broken("a command has lost its transaction".into()));
            }
        }
        Ok(true)
    }

    /// What a command is told whose changes can be taken back alone; the fault that undoes the whole group otherwise.
    fn refusal(&self, fault: Fault) -> Result<RecordsError, Undone> {
        match fault {
            Fault::Refused(error) => Ok(error),
            Fault::Sqlite(error) if is_contained(&error) && !self.conn.is_autocommit() => {
                Ok(RecordsError::Database(error.to_string()))
            }
            Fault::Sqlite(error) => Err(error.into()),
        }
    }

    /// One command of several of which one is refused, in its savepoint.
    fn one(&self, job: &mut dyn Job, group: &mut Group) -> Result<(), Undone> {
        let run = |sql: &str| self.conn.prepare_cached(sql)?.execute([]).map(drop);
        let entries = group.entries.len();
        let kicks = group.kicks.clone();
        run("SAVEPOINT one")?;
        let fault = match job.apply(&mut Tx { conn: &self.conn, fixed: &self.fixed, group }) {
            Ok(()) => return Ok(run("RELEASE one")?),
            Err(fault) => fault,
        };
        let error = self.refusal(fault)?;
        run("ROLLBACK TO one")?;
        run("RELEASE one")?;
        group.entries.truncate(entries);
        group.kicks = kicks;
        job.fail(error);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    /// FLT-022, FLT-026, REL-04: what is undone and what breaks the records, by the result code of SQLite, before a commit and in it.
    #[test]
    fn only_what_may_have_been_written_breaks_the_records() {
        let rows = [
            (ffi::SQLITE_FULL, false, false),
            (ffi::SQLITE_NOMEM, false, true),
            (ffi::SQLITE_IOERR_WRITE, true, true),
            (ffi::SQLITE_IOERR_FSYNC, true, true),
            (ffi::SQLITE_CORRUPT, true, true),
        ];
        for (code, before, within) in rows {
            let error = || rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(matches!(Undone::from(error()), Undone::Broken(_)), before, "{code}");
            assert_eq!(matches!(uncommitted(error()), Undone::Broken(_)), within, "{code} in a commit");
            crate::dicom::fired::note_fired(1);
        }
    }
}
