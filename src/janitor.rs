//! Keeping house: bytes go when nobody needs them, every blob is read again from time to time, and what wants a person is told.
//!
//! One pass follows another for as long as the gateway runs: a round of retention, emptied segments and alarms every minute
//! or so, and beside it the slow reading of all blobs and the verification of the records. Nothing here is in the way of an arrival or a delivery, and a round
//! that fails is repeated.

mod alarms;
mod catalogue;
mod compaction;
mod proof;
mod retention;
mod scrub;
mod trust;

pub use retention::{Due, PurgeReport};

use crate::clock::Clock;
use crate::judge::{Judge, JudgeError};
use crate::records::{BlobId, Purging, Records, RecordsError};
use crate::store::{Digest, Noted, Place, Store, StoreError};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// So often at most the blobs note how far the records have come.
const NOTED: Duration = Duration::from_secs(30);

/// Most backups at once.
const PAUSES: usize = 16;

/// How house is kept.
#[derive(Debug, Clone)]
pub struct JanitorOptions {
    /// Whether bytes are purged by age and for room.
    pub purge: bool,
    /// Never sooner than this after the last arrival and the end of the last transfer (LED-030).
    pub keep_at_least: Duration,
    /// No longer than this.
    pub keep_at_most: Duration,
    /// Copies of what other sites keep stay so long after they were last asked for.
    pub keep_copies: Duration,
    /// Below so many free bytes the disk is short of room, or below twice the reserve if that is more; `None` for a tenth of the disk, 0
    /// for never.
    pub room_bytes: Option<u64>,
    /// Between two rounds.
    pub every: Duration,
    /// Between the beginnings of two readings of all blobs.
    pub scrub_every: Duration,
    /// Most bytes a second that reading and moving blobs takes.
    pub scrub_bytes: u64,
    /// Between the beginnings of two verifications of the records; `None` for none.
    pub verify_every: Option<Duration>,
    /// The last time that an earlier run has entered, against which the clock is held.
    pub last_known: Option<SystemTime>,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum JanitorError {
    /// The records could not answer or commit.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The blobs could not be read, written or freed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The digests that later comparisons need could not be kept.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// The records are not verified while the disk is short of room.
    #[error("the disk is short of room for the tables to compare with")]
    NoRoom,
    /// A backup is being made.
    #[error("a backup is being made, and nothing is purged or dropped until it is done; ask again then")]
    Paused,
    /// Older records are in place, or another's.
    #[error(
        "the records do not go with the blobs; nothing is purged or dropped until a person has put that right: see `weybridge status`"
    )]
    Doubted,
}

/// Keeps the house of one site. Cheap to clone.
#[derive(Clone)]
pub struct Janitor {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    records: Records,
    store: Store,
    judge: Judge,
    options: JanitorOptions,
    /// Held while bytes are freed or moved; one of these at a time.
    hands: Mutex<()>,
    /// Nothing is freed or moved until the last of these: each is a backup that is being made.
    paused: std::sync::Mutex<BTreeMap<String, Instant>>,
    /// The disk was short of room, and is not yet a quarter above the mark.
    short: AtomicBool,
    alarms: alarms::Alarms,
    trusted: std::sync::Mutex<trust::Trusted>,
    /// Segments without a row that are kept.
    kept: std::sync::Mutex<HashSet<u64>>,
    /// When the blobs last noted how far the records have come.
    noted: std::sync::Mutex<Instant>,
    started: Instant,
}

impl Janitor {
    /// A janitor that has not begun.
    pub fn new(records: Records, store: Store, judge: Judge, options: JanitorOptions) -> Self {
        Self::with_clock(Clock::system(), records, store, judge, options)
    }

    /// The same by another clock.
    pub(crate) fn with_clock(
        clock: Clock,
        records: Records,
        store: Store,
        judge: Judge,
        options: JanitorOptions,
    ) -> Self {
        let trusted =
            std::sync::Mutex::new(trust::Trusted::new(options.last_known, options.keep_at_least, Instant::now()));
        let inner = Inner {
            clock,
            records,
            store,
            judge,
            options,
            hands: Mutex::new(()),
            paused: Default::default(),
            short: AtomicBool::new(false),
            alarms: alarms::Alarms::default(),
            trusted,
            kept: Default::default(),
            noted: std::sync::Mutex::new(Instant::now()),
            started: Instant::now(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Works until `stop`. `lost` are the places of blobs that were missing or cut when the store was opened (FLT-027).
    pub async fn run(self, lost: Vec<Place>, stop: CancellationToken) -> io::Result<()> {
        let rounds = async {
            self.set_aside(lost).await;
            self.recall_jump().await;
            loop {
                self.round().await;
                tokio::time::sleep(self.inner.options.every).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = rounds => {}
            () = self.scrub() => {}
            () = self.prove() => {}
        }
        Ok(())
    }

    async fn round(&self) {
        self.alarms().await;
        if self.inner.store.poisoned().is_some() {
            // Nothing can be freed; what is condemned then would only wait.
            return;
        }
        let noted = self.note().await;
        if self.inner.store.is_doubted() {
            // Nothing is freed or moved.
            return noted.unwrap_or_else(|error| tracing::error!(%error, "keeping house failed; it is tried again"));
        }
        let jumped = self.note_jump().await;
        let freed = self.free_condemned().await;
        let purged = if self.inner.options.purge { self.purge().await.map(drop) } else { Ok(()) };
        let flushed = self.flush().await;
        let compacted = self.compact().await;
        for error in [noted, jumped, freed, purged, flushed, compacted].into_iter().filter_map(Result::err) {
            tracing::error!(error = %error, "keeping house failed; it is tried again");
        }
    }

    /// Notes how far the records have come, if the last time is a while ago. The start has noted it before.
    async fn note(&self) -> Result<(), JanitorError> {
        let noted = || self.inner.noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if noted().elapsed() < NOTED {
            return Ok(());
        }
        *noted() = Instant::now();
        note(&self.inner.records, &self.inner.store).await
    }

    /// Frees and moves nothing for a while from now, once what is being freed or moved is done. Whoever asks bears a name, since several
    /// may: a pause of no length ends that one's alone. False if too many ask at once, and then nothing is paused for this one.
    pub async fn pause(&self, by: &str, pause: Duration) -> bool {
        let _hands = self.inner.hands.lock().await;
        let (mut paused, now) = (self.paused(), Instant::now());
        paused.retain(|other, until| other != by && now < *until);
        if pause.is_zero() {
            return true;
        }
        if paused.len() >= PAUSES {
            return false;
        }
        paused.insert(by.to_owned(), now + pause);
        true
    }

    /// To be asked with the hands held.
    fn is_paused(&self) -> bool {
        // The newest records, put back, must find everything where they know it.
        let now = Instant::now();
        self.inner.store.is_doubted() || self.paused().values().any(|until| now < *until)
    }

    /// Why a person who asks for it cannot have bytes removed now. To be asked with the hands held.
    fn may_drop(&self) -> Result<(), JanitorError> {
        match (self.inner.store.is_doubted(), self.is_paused()) {
            (true, _) => Err(JanitorError::Doubted),
            (false, true) => Err(JanitorError::Paused),
            (false, false) => Ok(()),
        }
    }

    fn paused(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Instant>> {
        self.inner.paused.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Drops the bytes of instances because a person says so; what is owed, excepted or held stays, with the reason.
    pub async fn drop_bytes(
        &self,
        instances: Vec<crate::records::InstanceId>,
        purging: Purging,
    ) -> Result<crate::records::Purged, JanitorError> {
        let instances = self.digested(instances).await?;
        let _hands = self.inner.hands.lock().await;
        self.may_drop()?;
        let purged = self.inner.records.condemn(instances, purging, self.inner.clock.now()).await?;
        self.free(purged.blobs.clone()).await?;
        Ok(purged)
    }

    /// Looks at a blob that somebody found damaged, or whole again, and sets it aside if it is damaged: whether it was. One that was
    /// set aside and is whole is used again.
    pub async fn examine(&self, blob: BlobId, digest: Digest, place: Place) -> Result<bool, JanitorError> {
        match self.damage(digest, place).await? {
            Some(why) => self.lay_aside((blob, digest, place), &why).await,
            None => {
                self.take_back(blob, digest, place).await?;
                Ok(false)
            }
        }
    }

    /// Uses a blob again that was set aside and reads whole. What could not be removed for want of its label goes when that is whole.
    async fn take_back(&self, blob: BlobId, digest: Digest, place: Place) -> Result<(), JanitorError> {
        let (records, now) = (&self.inner.records, self.inner.clock.now());
        match self.inner.store.check_label(place).await {
            Ok(()) if records.condemn_again(blob, place, now).await? => {
                tracing::info!(blob = %digest, "a blob that could not be removed can be, and goes");
                return Ok(());
            }
            Err(error) if !error.is_damage() => return Err(error.into()),
            _ => {}
        }
        if records.sound(blob, place, now).await? {
            tracing::warn!(blob = %digest, "a blob that was set aside reads whole again and is used again; look at the disk");
        }
        Ok(())
    }

    /// Has the digests kept of instances whose bytes are to go; gives those that may go. Damage that shows on the way is set aside.
    async fn digested(
        &self,
        instances: Vec<crate::records::InstanceId>,
    ) -> Result<Vec<crate::records::InstanceId>, JanitorError> {
        let digests = self.inner.judge.keep(instances).await?;
        for digest in digests.damaged {
            if let Some((blob, place)) = self.inner.records.blob_of(&digest).await? {
                self.look(blob, digest, place).await?;
            }
        }
        Ok(digests.kept)
    }

    /// The same for a blob that is live, which is not brought back to life.
    async fn look(&self, blob: BlobId, digest: Digest, place: Place) -> Result<bool, JanitorError> {
        match self.damage(digest, place).await? {
            Some(why) => self.lay_aside((blob, digest, place), &why).await,
            None => Ok(false),
        }
    }

    /// What is wrong with a blob. Read twice, since a fault may lie on the way from the disk rather than on it.
    async fn damage(&self, digest: Digest, place: Place) -> Result<Option<StoreError>, JanitorError> {
        let mut found = None;
        for _ in 0..2 {
            match self.inner.store.verify(place, digest).await {
                Ok(()) => return Ok(None),
                Err(error) if error.is_damage() => found = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    async fn lay_aside(
        &self,
        (blob, digest, place): (BlobId, Digest, Place),
        why: &StoreError,
    ) -> Result<bool, JanitorError> {
        let set_aside = self.inner.records.damaged(blob, place, &why.to_string(), self.inner.clock.now()).await?;
        if set_aside {
            tracing::error!(blob = %digest, why = %why, "a stored blob is damaged and is set aside; the same bytes arriving again heal it");
        }
        Ok(set_aside)
    }

    /// Sets aside what was missing at the start, each after a look of its own.
    async fn set_aside(&self, lost: Vec<Place>) {
        let mut files: Vec<u64> = lost.iter().map(|place| place.file).collect();
        files.sort_unstable();
        files.dedup();
        for file in files {
            let blobs = match self.inner.records.blobs_in(file).await {
                Ok(blobs) => blobs,
                Err(error) => return tracing::error!(error = %error, "missing blobs could not be set aside"),
            };
            for (blob, digest, place) in blobs {
                if let Err(error) = self.look(blob, digest, place).await {
                    tracing::error!(error = %error, blob = %digest, "a blob that seems to be missing could not be examined");
                }
            }
        }
    }

    /// Frees generations that are condemned, and notes it. A crash in between repeats it (FLT-012).
    async fn free(&self, blobs: Vec<(BlobId, Place)>) -> Result<(), JanitorError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let places = blobs.iter().map(|(_, place)| *place).collect();
        match self.inner.store.free_all(places).await {
            (_, Ok(())) => Ok(self.inner.records.freed(blobs.into_iter().map(|(blob, _)| blob).collect()).await?),
            (_, Err(error)) if error.is_damage() => self.free_each(blobs).await,
            (_, Err(error)) => Err(error.into()),
        }
    }

    /// The same one by one. A generation where something else lies than its label says is set aside and never tried again: it may be
    /// another's place, so that nothing is deleted there.
    async fn free_each(&self, blobs: Vec<(BlobId, Place)>) -> Result<(), JanitorError> {
        let (records, now) = (&self.inner.records, self.inner.clock.now());
        for (blob, place) in blobs {
            match self.inner.store.free(place).await {
                Ok(()) => records.freed(vec![blob]).await?,
                Err(error) if error.is_damage() => {
                    if records.stuck(blob, place, &error.to_string(), now).await? {
                        tracing::error!(blob = blob.0, why = %error, "a blob that was to be removed is damaged; it stays, set aside");
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What an earlier run condemned and perhaps did not free. One that cannot be freed does not keep the others.
    async fn free_condemned(&self) -> Result<(), JanitorError> {
        let _hands = self.inner.hands.lock().await;
        if self.is_paused() {
            return Ok(());
        }
        let mut result = Ok(());
        for condemned in self.inner.records.condemned().await? {
            result = self.free(vec![condemned]).await.and(result);
        }
        result
    }

    /// Whether the disk is short of room, with hysteresis: below the mark, until a quarter more is free.
    fn is_short(&self) -> bool {
        let usage = self.inner.store.usage();
        let mark = room_mark(self.inner.options.room_bytes, usage.disk_bytes, usage.reserve_bytes);
        let short = self.inner.short.load(Ordering::Relaxed);
        let now = usage.free_bytes < if short { mark.saturating_add(mark / 4) } else { mark };
        self.inner.short.store(now, Ordering::Relaxed);
        now
    }
}

/// Below how many free bytes a disk is short of room. Room is made before the reserve is reached, where nothing new is taken, whatever was
/// asked for; 0 asks for none.
fn room_mark(asked: Option<u64>, disk: u64, reserve: u64) -> u64 {
    match asked {
        Some(0) => 0,
        asked => asked.unwrap_or(disk / 10).max(reserve.saturating_mul(2)),
    }
}

/// Has the blobs note how far the records have come, so that older records are known when they come back.
pub async fn note(records: &Records, store: &Store) -> Result<(), JanitorError> {
    let head = records.ledger_head().await?;
    Ok(store.note(Noted { entries: head.size, chain: head.chain }).await?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
