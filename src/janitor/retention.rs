//! Retention: bytes that nobody needs any more go, by age and for room (LED-030, INV-06).

use super::trust::Trusted;
use super::{Janitor, JanitorError};
use crate::records::{Candidate, Cursor, PurgeRule, Purging};
use std::time::{Duration, SystemTime};

/// Instances of one commit.
const BATCH: usize = 500;
/// Copies that may not go yet are looked at again after this part of the time for which copies are kept.
const LOOKED_AT_AGAIN: u32 = 8;

/// What a purge did or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PurgeReport {
    /// Instances purged because of their age.
    pub by_age: u64,
    /// Instances purged for room.
    pub for_room: u64,
    /// Bytes that became free.
    pub bytes: u64,
    /// Something that was due stayed: a backup is being made, or the records do not go with the blobs.
    pub is_paused: bool,
}

/// What is due at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Kept for as long as anything is kept at most.
    pub by_age: SystemTime,
    /// Kept for as long as everything is kept at least.
    pub for_room: SystemTime,
}

impl Janitor {
    /// The times before which something must have been done to be due now.
    pub fn due(&self) -> Due {
        let (now, options) = (self.believed(), &self.inner.options);
        Due { by_age: before(now, options.keep_at_most), for_room: before(now, options.keep_at_least) }
    }

    /// The time by which bytes grow old.
    fn believed(&self) -> SystemTime {
        self.trusted().now(self.inner.clock.now(), tokio::time::Instant::now())
    }

    fn trusted(&self) -> std::sync::MutexGuard<'_, Trusted> {
        self.inner.trusted.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes up a jump of the clock that an earlier run has noted.
    pub(super) async fn recall_jump(&self) {
        match self.inner.records.clock_jump().await {
            Ok(Some(jump)) => self.trusted().recall(jump, self.inner.clock.now(), tokio::time::Instant::now()),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "whether the clock has jumped lately cannot be read"),
        }
    }

    /// Notes a jump of the clock for who starts next.
    pub(super) async fn note_jump(&self) -> Result<(), JanitorError> {
        self.believed();
        let jump = self.trusted().unnoted();
        if let Some((from, wall)) = jump {
            self.inner.records.note_clock_jump(from, wall).await?;
            self.trusted().noted((from, wall));
        }
        Ok(())
    }

    /// Purges what is due: by age, and if the disk is short of room also what was kept for as long as everything is kept at
    /// least, the oldest first, until there is room again.
    pub async fn purge(&self) -> Result<PurgeReport, JanitorError> {
        self.purge_for(None).await
    }

    /// The same, for a person who asks for it at once, with a name and perhaps a reason: the entries of what goes have both. A person is told
    /// when nothing may go now.
    pub async fn purge_for(&self, asked: Option<(&str, &str)>) -> Result<PurgeReport, JanitorError> {
        let purging = |rule, before| {
            let purging = Purging::by_rule(rule, before);
            match asked {
                Some((who, reason)) => purging.asked_by(who, reason),
                None => Ok(purging),
            }
        };
        let due = self.due();
        let mut report = PurgeReport::default();
        let by_age = purging(PurgeRule::Age, due.by_age)?;
        if asked.is_some() {
            let _hands = self.inner.hands.lock().await;
            self.may_drop()?;
        }
        report.by_age = self.purge_by(&by_age, due.by_age, &mut report).await?;
        if !report.is_paused && self.is_short() {
            let for_room = purging(PurgeRule::Room, due.for_room)?;
            report.for_room = self.purge_by(&for_room, due.for_room, &mut report).await?;
        }
        let PurgeReport { by_age, for_room, bytes, .. } = report;
        if by_age > 0 || for_room > 0 {
            tracing::info!(by_age, for_room, bytes, "bytes that nobody needs any more were purged");
        }
        Ok(report)
    }

    async fn purge_by(
        &self,
        purging: &Purging,
        before: SystemTime,
        report: &mut PurgeReport,
    ) -> Result<u64, JanitorError> {
        let (mut after, mut instances): (Option<Cursor>, u64) = (None, 0);
        loop {
            let (found, next) = self.inner.records.purgeable(before, after, BATCH).await?;
            let Some(gone) = self.purge_batch(purging.clone(), &found, &mut report.bytes).await? else {
                report.is_paused = true;
                return Ok(instances);
            };
            instances += gone;
            after = next;
            if after.is_none() || (purging.rule == PurgeRule::Room && !self.is_short()) {
                return Ok(instances);
            }
        }
    }

    /// One commit, and then what it condemned is freed. How many instances went; `None` if nothing may go now.
    async fn purge_batch(
        &self,
        purging: Purging,
        found: &[Candidate],
        bytes: &mut u64,
    ) -> Result<Option<u64>, JanitorError> {
        if found.is_empty() {
            return Ok(Some(0));
        }
        let instances = found.iter().map(|candidate| candidate.instance).collect();
        // What arrives later under the same UIDs is compared with these ("The same instance again").
        let instances = self.digested(instances).await?;
        let _hands = self.inner.hands.lock().await;
        if self.is_paused() {
            return Ok(None);
        }
        let purged = self.inner.records.condemn(instances, purging, self.inner.clock.now()).await?;
        *bytes += purged.bytes;
        self.free(purged.blobs).await?;
        Ok(Some(purged.instances))
    }
}

impl Janitor {
    /// Drops the copies of studies that other sites keep and nobody here has asked for lately. What is being pulled, is owed to
    /// somebody, or became ours meanwhile stays.
    pub(super) async fn flush(&self) -> Result<(), JanitorError> {
        let keep = self.inner.options.keep_copies;
        let before = before(self.believed(), keep);
        for (study, copies) in self.inner.records.to_flush(before).await? {
            let whole = copies.len() < BATCH;
            let copies = copies.into_iter().map(|instance| (instance, 0));
            let found: Vec<Candidate> =
                copies.map(|(instance, bytes)| Candidate { instance, bytes, done: before }).collect();
            let mut bytes = 0;
            let by_age = Purging::by_rule(PurgeRule::Age, before);
            // Where nothing may go now, these are looked at again like what is owed.
            let instances = self.purge_batch(by_age, &found, &mut bytes).await?.unwrap_or(0);
            if instances > 0 {
                tracing::info!(study = %study, instances, bytes, "copies of what another site keeps were dropped");
            }
            if instances < found.len() as u64 {
                // What stays is owed, or was given to somebody lately: it is looked at again after a part of the time.
                self.inner.records.pull_used(&study, before + keep / LOOKED_AT_AGAIN).await?;
            } else if whole {
                self.inner.records.flushed(&study, before, self.inner.clock.now()).await?;
            }
        }
        Ok(())
    }
}

fn before(now: SystemTime, kept: Duration) -> SystemTime {
    now.checked_sub(kept).unwrap_or(SystemTime::UNIX_EPOCH)
}
