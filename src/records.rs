//! The truth of the gateway: instances, what is owed of them, attempts, exceptions, and the ledger of it all, in one file.
//!
//! [`Records`] is one concrete type whatever holds the rows. A method is one commit or one question in domain words; none gives
//! out a transaction, a row or a closure. Commands go over a bounded queue to one writer, which commits what has queued as one
//! group and then answers; a caller who goes away never cancels a commit. Questions are answered on blocking threads.
//!
//! After [`RecordsError::Poisoned`] it is not known whether the change is durable: whoever brought new bytes must keep them, the
//! next start finds out.

mod arrival;
mod asking;
mod catalogue;
mod cross_reference;
mod doubt;
mod error;
mod housekeeping;
mod judging;
mod kicks;
mod leases;
mod locations;
mod order;
mod placed;
mod prefetch;
mod proof;
mod pulls;
mod questions;
mod refusals;
mod rejections;
mod retrieval;
mod routing;
mod sharing;
mod sqlite;
mod story;
mod verification;
mod views;
mod work;

pub use crate::peers::Chosen;
pub use arrival::{
    Arrival, Became, BlobId, BlobRef, ExceptionId, InstanceId, Kept, Recorded, Requested, SourceFacts, Unowed,
};
pub use asking::{Inquiry, Question};
pub use catalogue::{KnownPatient, SeriesRow, StudyRow, StudySize, Walk};
pub use cross_reference::{Learned, MOST_STATEMENTS, Merge, Sought, Statement};
pub use error::RecordsError;
pub use housekeeping::{Candidate, FileUse, KeptStudy, PurgeRule, Purged, Purging, ScrubPass, StudyState};
pub use judging::{Digested, Judged, Resolution, Undigested};
pub use locations::{Holder, SeenStudy};
pub use order::{Holding, Order, Ordered, Wanted};
pub use placed::{Heard, PlacedOrder, ToldMessage};
pub use prefetch::{Acquired, MOST_OPEN, Prefetch, PrefetchCause, PrefetchRow};
pub use proof::{EntryLine, Report, hex};
pub use pulls::{HeldInstance, PullEnded, PullRow};
pub use refusals::Refusals;
pub use rejections::{NamedInstance, NoteRead, RejectionView, Standing, Unread};
pub use retrieval::{
    Copies, Entered, Expected, Extent, MOST_EXPECTED, Picked, Resource, Retrievable, RetrievalBegan, RetrievalEnded,
};
pub use sharing::Elsewhere;
pub use story::{Accessed, Event, Rejected, Taken, What};
pub use verification::{AllUnlike, Unlike, Verification, Verified};
pub use views::{
    BlobCounts, Cursor, DestinationView, EndedBy, ExceptionView, FindInstances, FoundInstance, InstanceView,
    LedgerHead, MOST_NAMED, Paused, Summary, Texts, TransferFilter, TransferSums, TransferView, Unasked, Unsupported,
    Warned,
};
pub use work::{
    Acted, AttemptId, AttemptSummary, Batch, BatchKind, LeaseLimits, Leased, Routable, Selection, Settled, Verb,
};

use crate::ledger::breaker::Probing;
use crate::ledger::outcome::Outcome;
use crate::ledger::step::Patience;
use crate::ledger::transfer::TransferId;
use crate::peers::{Destination, Registry};
use kicks::Kicks;
use sqlite::acts::{Act, Matching, PAGE};
#[cfg(test)]
use sqlite::inline::committed::{Committed, committed};
use sqlite::readers::Readers;
use sqlite::rows::Fault;
use sqlite::tally::Tally;
use sqlite::tx::Tx;
use sqlite::writer::{Command, Message, Writer};
use sqlite::{acts, log, order as orders, pause, profile as profiles, record, recover, schema, settle};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tokio::sync::{mpsc, oneshot, watch};

/// How the records are kept.
#[derive(Debug, Clone)]
pub struct RecordsOptions {
    /// How long a transfer is tried.
    pub patience: Patience,
    /// How a destination that is down is probed.
    pub probing: Probing,
    /// A transfer whose sending was interrupted so often by our own end goes alone from then on (REL-24).
    pub isolate_after: u32,
    /// A transfer whose sending was interrupted so often is held for a person.
    pub hold_after: u32,
    /// The most commands of one commit.
    pub group: usize,
    /// The most commands that may wait; more callers wait for a place.
    pub queue: usize,
    /// The most questions that are answered at once.
    pub readers: usize,
    /// The writer's page cache in bytes.
    pub cache_bytes: u64,
    /// The version of this program, for the ledger.
    pub software: String,
}

impl Default for RecordsOptions {
    /// The defaults of the configuration.
    fn default() -> Self {
        Self {
            patience: Patience::default(),
            probing: Probing::default(),
            isolate_after: 3,
            hold_after: 10,
            group: 256,
            queue: 1024,
            readers: 3,
            cache_bytes: 16 << 20,
            software: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// What opening the records found left over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The number of this opening.
    pub epoch: i64,
    /// Attempts that had no end and were ended as interrupted.
    pub interrupted: usize,
    /// Transfers that were being sent and are now unknown: the destination is asked first.
    pub unknown: usize,
    /// Transfers that were interrupted too often and are now held.
    pub held: usize,
    /// When the last was entered before this opening.
    pub last_known: Option<SystemTime>,
    /// The log of an earlier run had changed on the disk, so that commits are missing which were synced (FLT-025). It is said again
    /// at each opening until [`Records::damage_noted`].
    pub log_damaged: bool,
}

/// The records of one site. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    inner: Arc<Inner>,
    /// Who looks; empty: the gateway itself.
    viewers: Arc<[String]>,
}

struct Inner {
    /// Absent when the records were opened for reading only.
    writer: Option<mpsc::Sender<Message>>,
    readers: Readers,
    kicks: Arc<Kicks>,
    poison: Arc<OnceLock<String>>,
    full: Arc<AtomicBool>,
    refusals: refusals::Window,
    questions: refusals::Window,
    inquiries: refusals::Window,
    withheld: refusals::Window,
    /// Counts the messages that brought orders.
    orders: watch::Sender<u64>,
    /// The rules that are followed.
    registry: OnceLock<watch::Receiver<Arc<Registry>>>,
    /// How many studies each block of rows shows.
    tally: Arc<Tally>,
    options: RecordsOptions,
}

impl Records {
    /// Opens the records in a directory, makes them if there are none, and recovers (INV-14). The caller holds the lock of the
    /// directory. Blocks; call it before serving.
    ///
    /// Attempts that an earlier process left without an end are ended as interrupted; what was being sent becomes unknown.
    pub fn open(dir: &Path, options: RecordsOptions) -> Result<(Self, Recovered), RecordsError> {
        let open_error = |why: std::io::Error| RecordsError::Open { path: dir.to_owned(), why: why.to_string() };
        let log_damaged = log::keep_if_damaged(dir).map_err(open_error)?;
        let mut conn = schema::open_writer(dir, options.cache_bytes, log_damaged)?;
        let (fixed, end, recovered) = recover::recover(&mut conn, options.clone(), SystemTime::now())?;
        let recovered = Recovered { log_damaged, ..recovered };
        let kicks = Arc::new(Kicks::new());
        let (poison, full) = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(false)));
        let tally = Tally::watch(&mut conn).map_err(Fault::from)?;
        let writer = Writer {
            conn,
            fixed,
            end,
            kicks: kicks.clone(),
            poison: poison.clone(),
            full: full.clone(),
            tally: tally.clone(),
        };
        let (sender, queue) = mpsc::channel(options.queue.max(1));
        let thread = std::thread::Builder::new().name("records".into());
        thread.spawn(move || writer.run(queue)).map_err(open_error)?;
        let readers = Readers::new(dir.to_owned(), options.readers, false);
        Ok((
            Self {
                inner: Arc::new(Inner {
                    writer: Some(sender),
                    readers,
                    kicks,
                    poison,
                    full,
                    refusals: Default::default(),
                    questions: Default::default(),
                    inquiries: Default::default(),
                    withheld: Default::default(),
                    orders: watch::Sender::default(),
                    registry: OnceLock::new(),
                    tally,
                    options,
                }),
                viewers: Arc::default(),
            },
            recovered,
        ))
    }

    /// Opens the records for reading only, while no gateway runs. Every commit is refused with [`RecordsError::ReadOnly`].
    pub fn open_read_only(dir: &Path) -> Result<Self, RecordsError> {
        doubt::refuse_damaged(dir)?;
        drop(schema::open_reader(dir, true)?);
        let options = RecordsOptions::default();
        let readers = Readers::new(dir.to_owned(), options.readers, true);
        let (kicks, poison) = (Arc::new(Kicks::new()), Arc::new(OnceLock::new()));
        Ok(Self {
            inner: Arc::new(Inner {
                writer: None,
                readers,
                kicks,
                poison,
                full: Arc::default(),
                refusals: Default::default(),
                questions: Default::default(),
                inquiries: Default::default(),
                withheld: Default::default(),
                orders: watch::Sender::default(),
                registry: OnceLock::new(),
                tally: Arc::default(),
                options,
            }),
            viewers: Arc::default(),
        })
    }

    /// Commits what has queued, copies the log back, closes the file. Later commits are refused with [`RecordsError::Closed`].
    pub async fn close(&self) {
        self.inner.readers.close();
        let Some(writer) = &self.inner.writer else { return };
        let (reply, stopped) = oneshot::channel();
        if writer.send(Message::Stop(reply)).await.is_ok() {
            // An error says that the writer has ended already.
            let _ = stopped.await;
        }
    }

    /// Why nothing can be committed any more, if so (REL-04).
    pub fn poisoned(&self) -> Option<String> {
        self.inner.poison.get().cloned()
    }

    /// Whether the disk was full when something was to be written last (FLT-022).
    pub fn is_full(&self) -> bool {
        self.inner.full.load(Ordering::Relaxed)
    }

    /// A counter that goes up whenever a commit made work for a destination due. Subscribe before looking for work.
    pub fn changed(&self, destination: &Destination) -> watch::Receiver<u64> {
        self.inner.kicks.of(destination)
    }

    /// A counter that goes up whenever a commit made work for any destination due.
    pub fn changed_any(&self) -> watch::Receiver<u64> {
        self.inner.kicks.any()
    }

    /// Queues a command and waits for its group's commit. Once queued it is committed, whether the caller waits or not. It may be run twice:
    /// what it did first is undone then.
    async fn commit<T: Send + 'static>(
        &self,
        run: impl Fn(&mut Tx<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, RecordsError> {
        let (reply, answer) = oneshot::channel();
        let command = Box::new(Command::new(run, reply));
        #[cfg(test)]
        if let Some(inline) = self.inner.readers.inline() {
            return inline.commit(command, answer).await;
        }
        let writer = self.inner.writer.as_ref().ok_or(RecordsError::ReadOnly)?;
        let gone = || self.poisoned().map_or(RecordsError::Closed, RecordsError::Poisoned);
        writer.send(Message::Do(command)).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Records an arrival whose bytes are durable: identity, provenance, what is owed, and the entry, in one commit (INV-01, INV-02).
    pub async fn record(&self, arrival: Arrival) -> Result<Recorded, RecordsError> {
        self.commit(move |tx| {
            let recorded = record::record(tx, &arrival)?;
            #[cfg(test)]
            committed(|| Committed::Arrived(arrival.clone().into(), recorded));
            Ok(recorded)
        })
        .await
    }

    /// Settles outcomes of an attempt, all of them or those that are known so far. What the attempt no longer holds is noted as
    /// late and not touched (REL-09). Every transfer of a batch must be settled in the end.
    pub async fn settle(
        &self,
        attempt: AttemptId,
        outcomes: Vec<(TransferId, Outcome)>,
        summary: AttemptSummary,
        now: SystemTime,
    ) -> Result<Settled, RecordsError> {
        self.commit(move |tx| {
            let settled = settle::settle(tx, attempt, &outcomes, &summary, now)?;
            #[cfg(test)]
            committed(|| Committed::Settled { attempt, outcomes: outcomes.clone(), now, settled: settled.clone() });
            Ok(settled)
        })
        .await
    }

    /// Retries, holds, releases or cancels transfers. `who` is a person's name; holding and cancelling need a reason. Long
    /// selections are worked off in several commits.
    pub async fn act(
        &self,
        verb: Verb,
        selection: Selection,
        who: &str,
        reason: &str,
        now: SystemTime,
    ) -> Result<Acted, RecordsError> {
        let needs_reason = matches!(verb, Verb::Hold | Verb::Cancel | Verb::Reopen | Verb::Doubt);
        if who.trim().is_empty() || (needs_reason && reason.trim().is_empty()) {
            return Err(RecordsError::Refused(format!("to {} needs a name and a reason", verb.word())));
        }
        let act = Act { verb, who: who.to_owned(), reason: reason.to_owned(), now };
        match selection {
            Selection::Transfers(transfers) => self.act_on(&act, transfers).await,
            Selection::Matching { study: None, destination: None, state: None } => {
                Err(RecordsError::Refused("say which transfers: a study, a destination or a state".into()))
            }
            Selection::Matching { study, destination, state } => {
                self.act_on_matching(&act, Matching { study, destination, state, after: 0 }).await
            }
        }
    }

    /// Owes what an order asks for, in as many commits as it takes (INV-02). A page that is committed is owed, whatever
    /// happens to the rest; the same order again goes on where it ended.
    pub async fn order(&self, order: Order) -> Result<Ordered, RecordsError> {
        if order.who.trim().is_empty() {
            return Err(RecordsError::Refused("to send needs a name".into()));
        }
        let (mut all, mut after) = (Ordered::default(), 0);
        loop {
            let page = order.clone();
            let (so_far, next) = self
                .commit(move |tx| {
                    let mut so_far = all;
                    let next = orders::order(tx, &page, after, &mut so_far)?;
                    Ok((so_far, next))
                })
                .await?;
            all = so_far;
            match next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }

    /// Pauses a destination, or resumes it; whether that changed anything. `who` is a person's name; pausing needs a reason.
    /// What is in hand ends; nothing is sent or asked afterwards, also not after a restart, until somebody resumes it.
    pub async fn pause(
        &self,
        destination: &Destination,
        paused: bool,
        who: &str,
        reason: &str,
        now: SystemTime,
    ) -> Result<bool, RecordsError> {
        if who.trim().is_empty() || (paused && reason.trim().is_empty()) {
            return Err(RecordsError::Refused("to pause needs a name and a reason".into()));
        }
        let mut any = false;
        loop {
            let (to, who, reason) = (destination.clone(), who.to_owned(), reason.trim().to_owned());
            let done = self
                .commit(move |tx| {
                    let done = pause::pause(tx, &to, paused, (&who, &reason), now)?;
                    #[cfg(test)]
                    committed(|| Committed::Paused { to: to.clone(), paused, changed: done.changed });
                    Ok(done)
                })
                .await?;
            any |= done.changed;
            if !done.more {
                return Ok(any);
            }
        }
    }

    /// Keeps what a peer was found to do, as JSON, in place of what was found before (WEB-073).
    pub async fn keep_profile(&self, peer: &str, profile: &str, now: SystemTime) -> Result<(), RecordsError> {
        let (peer, profile) = (peer.to_owned(), profile.to_owned());
        self.commit(move |tx| profiles::keep(tx, &peer, &profile, now)).await
    }

    /// Ends an attempt that our own end broke off, as a restart would: what was being sent is unknown and asked about first,
    /// and counts as interrupted (REL-24). Does nothing if it has ended.
    pub async fn interrupted(&self, attempt: AttemptId, now: SystemTime) -> Result<(), RecordsError> {
        self.commit(move |tx| {
            recover::interrupted(tx, attempt, now)?;
            #[cfg(test)]
            committed(|| Committed::Interrupted(attempt, now));
            Ok(())
        })
        .await
    }

    async fn act_on(&self, act: &Act, transfers: Vec<TransferId>) -> Result<Acted, RecordsError> {
        let mut all = Acted::default();
        for page in transfers.chunks(PAGE) {
            let (act, page) = (act.clone(), page.to_vec());
            let acted = self
                .commit(move |tx| {
                    let acted = acts::act(tx, &act, &page)?;
                    #[cfg(test)]
                    committed(|| Committed::Acted {
                        verb: act.verb,
                        transfers: page.clone(),
                        now: act.now,
                        acted: acted.clone(),
                    });
                    Ok(acted)
                })
                .await?;
            all.changed += acted.changed;
            let room = PAGE.saturating_sub(all.skipped.len());
            all.skipped.extend(acted.skipped.into_iter().take(room));
        }
        Ok(all)
    }

    async fn act_on_matching(&self, act: &Act, mut matching: Matching) -> Result<Acted, RecordsError> {
        let mut all = Acted::default();
        loop {
            let (wanted, verb) = (matching.clone(), act.verb);
            let page = self.inner.readers.ask(move |conn| acts::matching(conn, verb, &wanted)).await?;
            let Some(last) = page.last() else { return Ok(all) };
            matching.after = last.0;
            let acted = self.act_on(act, page).await?;
            all.changed += acted.changed;
            let room = PAGE.saturating_sub(all.skipped.len());
            all.skipped.extend(acted.skipped.into_iter().take(room));
        }
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Records")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
pub(crate) mod tests;
