//! Records without threads, files and chance, for simulations: commits and questions run where they are asked for, in memory,
//! and a process that died leaves behind what it had committed.

pub(crate) mod committed;

use super::readers::{Readers, in_one_view};
use super::rows::Fault;
use super::tally::Tally;
use super::writer::{Job, Writer};
use super::{recover, schema, verify};
use crate::ledger::backoff::mix;
use crate::records::kicks::Kicks;
use crate::records::{Inner, Records, RecordsError, RecordsOptions, Recovered, Report};
use rusqlite::Connection;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;
use tokio::sync::oneshot;

thread_local! {
    /// Where this thread's random numbers come from, if not from the system.
    static CHANCE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on the records of this thread draw their names and jitter from a seed.
pub(crate) fn seed_chance(seed: u64) {
    CHANCE.set(Some(mix(seed)));
}

/// The next bytes by the seed of this thread, if it has one.
pub(super) fn chance<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut at = CHANCE.get()?;
    for piece in bytes.chunks_mut(8) {
        at = at.wrapping_add(1);
        piece.copy_from_slice(&mix(at).to_be_bytes()[..piece.len()]);
    }
    CHANCE.set(Some(at));
    Some(bytes)
}

/// What outlives a process: all that was committed.
pub(crate) struct Disk(Connection);

impl Disk {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(schema::open_memory())
    }
}

/// The writer, until its process ends, and what waits for the next commit.
pub(in crate::records) struct Inline {
    writer: Mutex<Option<Writer>>,
    queue: Mutex<Vec<Box<dyn Job>>>,
}

impl Inline {
    /// Queues a command; whoever runs first commits all that has queued as one group. A caller may be dropped before the commit
    /// and after it, as a process may end at either moment.
    pub(in crate::records) async fn commit<T>(
        &self,
        command: Box<dyn Job>,
        answer: oneshot::Receiver<Result<T, RecordsError>>,
    ) -> Result<T, RecordsError> {
        self.queue.lock().unwrap().push(command);
        tokio::task::yield_now().await;
        let jobs = std::mem::take(&mut *self.queue.lock().unwrap());
        if !jobs.is_empty()
            && let Some(writer) = &mut *self.writer.lock().unwrap()
        {
            writer.commit(jobs);
        }
        tokio::task::yield_now().await;
        answer.await.unwrap_or(Err(RecordsError::Closed))
    }

    /// Answers a question.
    pub(in crate::records) async fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, RecordsError> {
        tokio::task::yield_now().await;
        self.ask_here(question)
    }

    /// The same at once.
    pub(in crate::records) fn ask_here<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, RecordsError> {
        match &*self.writer.lock().unwrap() {
            Some(writer) => in_one_view(&writer.conn, question),
            None => Err(RecordsError::Closed),
        }
    }

    /// Has work look through the writer's connection.
    pub(in crate::records) async fn look<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, RecordsError>,
    ) -> Result<T, RecordsError> {
        tokio::task::yield_now().await;
        match &*self.writer.lock().unwrap() {
            Some(writer) => work(&writer.conn),
            None => Err(RecordsError::Closed),
        }
    }
}

impl Records {
    /// Opens records inline, as [`Records::open`] does.
    pub(crate) fn inline(disk: Disk, options: RecordsOptions, now: SystemTime) -> (Self, Recovered) {
        let mut conn = disk.0;
        let (fixed, end, recovered) = recover::recover(&mut conn, options.clone(), now).unwrap();
        let (kicks, poison) = (Arc::new(Kicks::new()), Arc::new(OnceLock::new()));
        let full: Arc<AtomicBool> = Arc::default();
        let tally = Tally::watch(&mut conn).unwrap();
        let (kept, poisoned) = (full.clone(), poison.clone());
        let writer =
            Writer { conn, fixed, end, kicks: kicks.clone(), poison: poisoned, full: kept, tally: tally.clone() };
        let inline = Inline { writer: Mutex::new(Some(writer)), queue: Mutex::default() };
        let readers = Readers::of_inline(inline);
        let inner = Inner {
            writer: None,
            readers,
            kicks,
            poison,
            full,
            refusals: Default::default(),
            questions: Default::default(),
            inquiries: Default::default(),
            withheld: Default::default(),
            orders: Default::default(),
            registry: OnceLock::new(),
            tally,
            options,
        };
        (Self { inner: Arc::new(inner), viewers: Arc::default() }, recovered)
    }

    /// Ends the process that holds these records, at once. What had queued is lost; what was committed is on the disk.
    pub(crate) fn die(&self) -> Disk {
        let inline = self.inner.readers.inline().unwrap();
        inline.queue.lock().unwrap().clear();
        Disk(inline.writer.lock().unwrap().take().unwrap().conn)
    }

    /// Verifies the ledger of records that are kept inline.
    pub(crate) fn verify_inline(&self) -> Report {
        let inline = self.inner.readers.inline().unwrap();
        let writer = inline.writer.lock().unwrap();
        verify::verify(&writer.as_ref().unwrap().conn, None, &AtomicU64::new(0)).unwrap()
    }
}
