//! Worklists that are asked every so often for what is scheduled: each order is kept as one that came by HL7, so that priors come before
//! the patient does (PS3.4 section K; DIM-120).

mod ask;
mod entry;
mod waiting;

pub use waiting::{Polled, Standing};

use crate::dicom::ae_title::AeTitle;
use crate::dimse::Target;
use crate::records::{Heard, Records, RecordsError, ToldMessage};
use ask::Answers;
use entry::{Listed, Scope};
use jiff::{ToSpan, Zoned};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Orders, and statements, of one commit.
const AT_ONCE: usize = 500;
/// The wait after a part of this failed that should not.
const AFTER_TROUBLE: Duration = Duration::from_secs(30);

/// How a worklist is asked, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polling {
    /// The node.
    pub node: AeTitle,
    /// How often.
    pub every: Duration,
    /// Days ahead of today that are asked for.
    pub days: u32,
    /// Modalities; empty: any.
    pub modalities: Vec<String>,
    /// Scheduled Station AE Titles; empty: any.
    pub stations: Vec<AeTitle>,
    /// Entries that are read, of one poll.
    pub most: usize,
    /// How long one poll may take in all.
    pub timeout: Duration,
}

/// A worklist as it is asked.
pub struct Worklist {
    /// How it is asked.
    pub settings: Polling,
    /// The node as it is called.
    pub target: Target,
    /// Who issued the Patient IDs of which it does not say.
    pub issuer: String,
    /// The character set of text of which it declares none.
    pub charset: String,
}

/// Asks every worklist of this site. Cheap to clone.
#[derive(Clone)]
pub struct Worklists {
    inner: Arc<Inner>,
}

struct Inner {
    records: Records,
    list: watch::Receiver<Arc<Vec<Arc<Worklist>>>>,
    seen: Mutex<BTreeMap<AeTitle, Seen>>,
}

/// What is remembered of one worklist.
#[derive(Default)]
struct Seen {
    standing: Standing,
    /// When it is asked next; `None`: at once.
    due: Option<Instant>,
    /// Who holds it asks.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Worklists {
    /// Those of the list; the receiver follows the configuration.
    pub fn new(records: Records, list: watch::Receiver<Arc<Vec<Arc<Worklist>>>>) -> Self {
        Self { inner: Arc::new(Inner { records, list, seen: Mutex::default() }) }
    }

    /// Asks until `stop`. What was being asked then is asked again at the next start, and changes nothing twice.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let mut list = self.inner.list.clone();
        loop {
            let current = Arc::clone(&list.borrow_and_update());
            let known = |title: &AeTitle| current.iter().any(|one| one.settings.node == *title);
            self.seen().retain(|title, _| known(title));
            // Dropped, they end.
            let mut tasks: JoinSet<()> = current.iter().map(|one| self.clone().ask_for_ever(Arc::clone(one))).collect();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = list.changed() => if changed.is_err() { return Ok(()) },
                Some(_) = tasks.join_next() => {
                    tracing::error!("a worklist can no longer be asked for want of its task; all are begun again");
                    tokio::time::sleep(AFTER_TROUBLE).await;
                }
            }
        }
    }

    /// What is known of each worklist that is configured.
    pub fn standing(&self) -> Vec<Standing> {
        let list = Arc::clone(&self.inner.list.borrow());
        let seen = self.seen();
        let of = |one: &Arc<Worklist>| {
            let known = seen.get(&one.settings.node).map(|seen| seen.standing.clone()).unwrap_or_default();
            Standing { node: one.settings.node.to_string(), ..known }
        };
        list.iter().map(of).collect()
    }

    /// Asks one now, for a person; `None` if it is no worklist of this site.
    pub async fn ask_now(&self, title: &str) -> Option<Standing> {
        let found = self.inner.list.borrow().iter().find(|one| one.settings.node.as_str() == title).cloned()?;
        self.poll(&found).await;
        self.standing().into_iter().find(|standing| standing.node == title)
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<AeTitle, Seen>> {
        self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_for_ever(self, worklist: Arc<Worklist>) {
        loop {
            let due = self.seen().get(&worklist.settings.node).and_then(|seen| seen.due);
            // A shorter wait that was configured meanwhile counts at once.
            let longest = Instant::now() + worklist.settings.every;
            match due.map(|due| due.min(longest)).filter(|due| *due > Instant::now()) {
                Some(due) => tokio::time::sleep_until(due).await,
                None => self.poll(&worklist).await,
            }
        }
    }

    /// Asks one, one at a time, and keeps what it says; what came of it is remembered and told.
    async fn poll(&self, worklist: &Worklist) {
        let title = &worklist.settings.node;
        let turn = Arc::clone(&self.seen().entry(title.clone()).or_default().turn);
        let _turn = turn.lock().await;
        let (at, today) = (SystemTime::now(), Zoned::now().date());
        let settings = &worklist.settings;
        let scope = Scope {
            from: today,
            to: today.saturating_add(i64::from(settings.days).days()),
            modalities: settings.modalities.clone(),
            stations: settings.stations.clone(),
        };
        let (answers, failure) = ask::ask(worklist, scope).await;
        let mut polled = Polled {
            at,
            entries: answers.count as u64,
            elsewhere: answers.elsewhere,
            cut: answers.cut.clone(),
            trouble: failure.map(|failure| failure.to_string()),
            ..Polled::default()
        };
        if let Err(error) = self.keep(title, answers, &mut polled).await {
            tracing::error!(node = %title, error = %error, "what a worklist lists could not be kept; it is asked again");
            polled.trouble = Some(format!("what it lists could not be kept: {error}"));
        }
        let mut seen = self.seen();
        let seen = seen.entry(title.clone()).or_default();
        let wait = seen.standing.note(title, polled, settings.every);
        seen.due = Some(Instant::now() + wait);
    }

    /// Keeps orders and statements as one that came by HL7: what is known already changes nothing.
    async fn keep(&self, title: &AeTitle, answers: Answers, polled: &mut Polled) -> Result<(), RecordsError> {
        let (orders, contradicted) = entry::orders(answers.listed);
        polled.orders = orders.len() as u64;
        for (why, count) in answers.refused.into_iter().chain(contradicted) {
            *polled.refused.entry(why.to_owned()).or_default() += count;
        }
        let source = format!("worklist {title}");
        let mut told = ToldMessage { source: source.clone(), ..ToldMessage::default() };
        for Listed { order, statements, .. } in orders {
            if told.orders.len() == AT_ONCE || told.statements.len() + statements.len() > AT_ONCE {
                let full =
                    std::mem::replace(&mut told, ToldMessage { source: source.clone(), ..ToldMessage::default() });
                self.take(full, polled).await?;
            }
            told.orders.push(order);
            told.statements.extend(statements);
        }
        self.take(told, polled).await
    }

    async fn take(&self, told: ToldMessage, polled: &mut Polled) -> Result<(), RecordsError> {
        if told.orders.is_empty() {
            return Ok(());
        }
        if let Heard::New(count) = self.inner.records.take_message(told, SystemTime::now()).await? {
            polled.new += count as u64;
        }
        Ok(())
    }
}
