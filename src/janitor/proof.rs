//! The records are verified by themselves, once a day (LED-006): what a running gateway believes is what its entries say.
//!
//! In pieces, with rests between, so that it takes no more than a quarter of one core and no moment of the records is looked at for
//! long. What it finds changes nothing: it is told, and stays told until a verification finds nothing. A person decides.
//!
//! The tables to compare with take room on a disk, perhaps that of the blobs: while that is short there is no verification, and what failed
//! is not begun again soon. That none has ended for long is told.

use super::{Janitor, JanitorError};
use crate::records::{Report, Verified};
use std::time::{Duration, SystemTime};

/// After a start of records that were never verified, after a failure, and after a verification that found something, it comes so soon.
const SOON: Duration = Duration::from_secs(3600);

/// The longest wait between two looks at the time, and the shortest after a failure.
const REST: Duration = Duration::from_secs(60);

/// It rests so many times as long as it works.
const SHARE: u32 = 3;

/// It is told if none has ended for so many times as long as lies between two.
const LATE: u32 = 3;

impl Janitor {
    /// Verifications without end, if any are wanted.
    pub(super) async fn prove(&self) {
        let Some(every) = self.inner.options.verify_every else { return std::future::pending().await };
        loop {
            let wait = match self.prove_next(every).await {
                Ok(wait) => wait.min(REST),
                Err(error) => {
                    let wait = every.clamp(REST, SOON);
                    tracing::error!(error = %error, again_in_seconds = wait.as_secs(), "the records could not be verified");
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Verifies the records if it is time; how long to wait for the next.
    pub(super) async fn prove_next(&self, every: Duration) -> Result<Duration, JanitorError> {
        let (records, began) = (&self.inner.records, self.inner.clock.now());
        let last = records.verified().await?;
        let wait = due_in(last.as_ref(), began, self.inner.started.elapsed(), every);
        if !wait.is_zero() {
            return Ok(wait);
        }
        let report = self.verified().await?;
        let verified = Verified::of(&report, began, self.inner.clock.now(), last.as_ref());
        tell(&report, &verified, last.is_some_and(|last| !last.is_sound()));
        let ended = verified.ended;
        records.note_verified(verified.clone()).await?;
        self.compare_again().await?;
        Ok(due_in(Some(&verified), ended, Duration::ZERO, every))
    }

    async fn verified(&self) -> Result<Report, JanitorError> {
        let mut verification = self.inner.records.verification();
        loop {
            if self.lacks_room() {
                return Err(JanitorError::NoRoom);
            }
            let began = tokio::time::Instant::now();
            if let Some(report) = verification.go_on().await? {
                return Ok(report);
            }
            tokio::time::sleep(began.elapsed() * SHARE).await;
        }
    }

    /// Whether the tables to compare with would be in the way of arrivals, or have something purged.
    fn lacks_room(&self) -> bool {
        let full = self.inner.store.usage().refusing || self.inner.records.is_full();
        full || (self.inner.options.purge && self.is_short())
    }

    /// Whether no verification has ended for too long, three times what is to lie between two; `last` is the last one.
    pub fn is_unverified(&self, last: Option<&Verified>) -> bool {
        let (now, running) = (self.inner.clock.now(), self.inner.started.elapsed());
        self.inner.options.verify_every.is_some_and(|every| is_late(last, now, running, every))
    }
}

/// Whether no verification has ended for too long. After a start there is time for one.
fn is_late(last: Option<&Verified>, now: SystemTime, running: Duration, every: Duration) -> bool {
    let passed = last.map_or(running, |last| now.duration_since(last.ended).unwrap_or_default());
    running > SOON && passed > every.max(SOON).saturating_mul(LATE)
}

/// How long until the records are to be verified: `every` after the last time that began, sooner after one that found something. Where none
/// is known, a while after the start. A clock that was set back does not keep it away.
fn due_in(last: Option<&Verified>, now: SystemTime, running: Duration, every: Duration) -> Duration {
    let soon = every.min(SOON);
    let since = |at: SystemTime| now.duration_since(at).unwrap_or(Duration::MAX);
    let (wait, passed) = match last {
        None => (soon, running),
        Some(last) if last.is_sound() => (every, since(last.began)),
        Some(last) => (soon, since(last.ended)),
    };
    wait.saturating_sub(passed)
}

/// Tells in the log what was found. No patient: tables, numbers and UIDs.
fn tell(report: &Report, verified: &Verified, was_unsound: bool) {
    for problem in &report.problems {
        tracing::error!(problem, "the records do not agree with the ledger");
    }
    if !report.unread.is_empty() {
        let tables = report.unread.join(", ");
        tracing::warn!(
            tables,
            "the pages of these tables would have taken too long beside the work; `weybridge ledger verify` reads them"
        );
    }
    let Verified { entries, problems, first_bad, .. } = verified;
    match (verified.is_sound(), was_unsound) {
        (false, _) => tracing::error!(
            entries,
            problems,
            first_bad,
            "THE RECORDS ARE NOT SOUND; nothing was changed, see `weybridge ledger verify`"
        ),
        (true, true) => tracing::warn!(entries, "the records were verified and are sound again"),
        (true, false) => tracing::info!(entries, "the records were verified: chain, tree and states agree"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn it_is_due_a_day_after_the_last_and_soon_after_a_finding() {
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let ago = |hours: u32, took: u32, problems| Verified {
            began: now - hours * HOUR,
            ended: now - (hours - took) * HOUR,
            entries: 7,
            problems,
            first_bad: None,
            first: None,
            sound: None,
        };
        let minute = Duration::from_secs(60);
        let rows = [
            (None, Duration::ZERO, DAY, HOUR),
            (None, HOUR, DAY, Duration::ZERO),
            (None, Duration::ZERO, minute, minute),
            // Just started: not due, due, long due.
            (Some(ago(5, 1, 0)), Duration::ZERO, DAY, 19 * HOUR),
            (Some(ago(24, 1, 0)), Duration::ZERO, DAY, Duration::ZERO),
            (Some(ago(240, 1, 0)), Duration::ZERO, DAY, Duration::ZERO),
            (Some(ago(2, 2, 1)), 5 * DAY, DAY, HOUR),
            (Some(ago(2, 1, 1)), Duration::ZERO, DAY, Duration::ZERO),
        ];
        for (last, running, every, want) in rows {
            assert_eq!(due_in(last.as_ref(), now, running, every), want, "{last:?}, {running:?}, {every:?}");
        }
        let ahead = Verified { began: now + DAY, ended: now + DAY, ..ago(1, 1, 0) };
        assert_eq!(due_in(Some(&ahead), now, Duration::ZERO, DAY), Duration::ZERO, "the clock was set back");
        let rows = [
            (None, 71 * HOUR, DAY, false),
            (None, 73 * HOUR, DAY, true),
            (Some(ago(72, 1, 0)), DAY, DAY, false),
            (Some(ago(74, 1, 0)), DAY, DAY, true),
            // The site stood still for long.
            (Some(ago(740, 1, 0)), minute, DAY, false),
            (Some(ago(3, 1, 0)), DAY, minute, false),
            (Some(ago(5, 1, 0)), DAY, minute, true),
        ];
        for (last, running, every, want) in rows {
            assert_eq!(is_late(last.as_ref(), now, running, every), want, "{last:?}, {running:?}, {every:?}");
        }
    }
}
