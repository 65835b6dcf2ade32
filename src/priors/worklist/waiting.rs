//! How a worklist stands after its last poll, what of that is told, and how long it is waited until the next.

use crate::dicom::ae_title::AeTitle;
use crate::ledger::backoff::Backoff;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// The longest first wait after a failure.
const FIRST: Duration = Duration::from_secs(30);

/// What one poll came to. Nothing of a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// When it began.
    pub at: SystemTime,
    /// Entries that came.
    pub entries: u64,
    /// Orders that they are.
    pub orders: u64,
    /// Orders that were not known, or have changed.
    pub new: u64,
    /// Entries that were not asked for, and were passed over.
    pub elsewhere: u64,
    /// Entries that could not be used, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Why not all was read, if it has more than is taken.
    pub cut: Option<String>,
    /// Why it did not answer, or not in full.
    pub trouble: Option<String>,
}

impl Default for Polled {
    fn default() -> Self {
        Self {
            at: SystemTime::UNIX_EPOCH,
            entries: 0,
            orders: 0,
            new: 0,
            elsewhere: 0,
            refused: BTreeMap::new(),
            cut: None,
            trouble: None,
        }
    }
}

/// How a worklist stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its AE title.
    pub node: String,
    /// The last poll; `None` before the first.
    pub last: Option<Polled>,
    /// When it last answered in full, since the start.
    pub answered: Option<SystemTime>,
    /// Polls in a row that failed.
    pub failures: u32,
    /// When the first of these was.
    pub failing_since: Option<SystemTime>,
    /// When it is asked next.
    pub next: Option<SystemTime>,
}

impl Standing {
    /// Remembers a poll and says in the log what is new about it; how long to wait until the next.
    pub(super) fn note(&mut self, title: &AeTitle, polled: Polled, every: Duration) -> Duration {
        let before = self.last.take().unwrap_or_default();
        match &polled.trouble {
            Some(why) => {
                let since = *self.failing_since.get_or_insert(polled.at);
                let wait = patience(every, self.failures);
                self.failures = self.failures.saturating_add(1);
                if before.trouble.as_ref() != Some(why) {
                    tracing::warn!(node = %title, why, next_seconds = wait.as_secs(), since = ?utc(since), "a worklist does not answer; it is asked again");
                }
            }
            None => {
                if self.failures > 0 {
                    tracing::info!(node = %title, failures = self.failures, "a worklist answers again");
                }
                (self.failures, self.failing_since) = (0, None);
                self.answered = Some(polled.at);
            }
        }
        if let Some(cut) = polled.cut.as_ref().filter(|_| before.cut != polled.cut) {
            tracing::warn!(node = %title, why = cut, "a worklist was not read to its end");
        }
        if polled.refused != before.refused {
            for (why, count) in &polled.refused {
                tracing::warn!(node = %title, count, why, "entries of a worklist cannot be used");
            }
        }
        if polled.new > 0 {
            tracing::info!(node = %title, new = polled.new, orders = polled.orders, "a worklist lists new orders");
        }
        let wait = if polled.trouble.is_some() { patience(every, self.failures - 1) } else { every };
        self.next = SystemTime::now().checked_add(wait);
        self.last = Some(polled);
        wait
    }
}

/// The wait after so many earlier failures: it doubles, and is never longer than that between two polls.
fn patience(every: Duration, failures: u32) -> Duration {
    Backoff { first: every.min(FIRST), cap: every }.ceiling(failures)
}

fn utc(at: SystemTime) -> Option<jiff::Timestamp> {
    jiff::Timestamp::try_from(at).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A silent worklist is asked again soon, then less and less often, never more seldom than one that answers; an answer ends that.
    #[test]
    fn a_silent_worklist_is_asked_with_patience() {
        let (title, every) = (AeTitle::parse("RIS").unwrap(), Duration::from_secs(300));
        let mut standing = Standing::default();
        let silent = || Polled { trouble: Some("silent".into()), at: SystemTime::now(), ..Polled::default() };
        let waits: Vec<u64> = (0..6).map(|_| standing.note(&title, silent(), every).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 300, 300]);
        assert!(standing.failures == 6 && standing.failing_since.is_some() && standing.answered.is_none());
        assert_eq!(standing.note(&title, Polled::default(), every), every);
        assert!(standing.failures == 0 && standing.failing_since.is_none() && standing.answered.is_some());
        assert_eq!(standing.note(&title, silent(), Duration::from_secs(10)).as_secs(), 10);
    }
}
