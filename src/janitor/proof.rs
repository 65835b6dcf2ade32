//! The records are verified by themselves, once a day (LED-006): what a running gateway believes is what its entries say.
//!
//! In pieces, with rests between, so that it takes no more than a quarter of one core and no moment of the records is looked at for
//! long. What it finds changes nothing: it is told, and stays told until a verification finds nothing. A person decides.

use super::{Janitor, JanitorError};
use crate::records::{Report, Verified};
use std::time::{Duration, SystemTime};

/// After a start of records that were never verified, and after a verification that found something, it comes so soon.
const SOON: Duration = Duration::from_secs(3600);

/// The wait after a failure, and the longest wait between two looks at the time.
const REST: Duration = Duration::from_secs(60);

/// It rests so many times as long as it works.
const SHARE: u32 = 3;

impl Janitor {
    /// Verifications without end, if any are wanted.
    pub(super) async fn prove(&self) {
        let Some(every) = self.inner.options.verify_every else { return std::future::pending().await };
        loop {
            let wait = match self.prove_next(every).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::error!(error = %error, "the records could not be verified; it is tried again");
                    REST
                }
            };
            tokio::time::sleep(wait.min(REST)).await;
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
            let began = tokio::time::Instant::now();
            if let Some(report) = verification.go_on().await? {
                return Ok(report);
            }
            tokio::time::sleep(began.elapsed() * SHARE).await;
        }
    }
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
    }
}
