//! Refusals: who was turned away and why, entered in the ledger once a caller and minute, and at most so many a minute (LED-011).

use super::Records;
use super::sqlite::rows::micros;
use super::sqlite::tx::Tx;
use crate::ledger::entry::{Kind, facts};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Entries a minute, each of another caller or another reason. What is said again, or comes beyond, is counted, and the count
/// stands in the next entry, so that a storm of refusals neither fills the disk, nor slows those who are let in, nor hides others.
const MOST_A_MINUTE: usize = 60;

/// The longest description that is kept, in characters.
const LONGEST: usize = 300;

/// The refusals of the current minute, and how many there were in all.
#[derive(Default)]
pub(super) struct Window(Mutex<Counts>);

/// What was refused since the gateway started, those included that were counted and not entered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// How many.
    pub count: u64,
    /// The last one: when, what was asked for, who asked and why not.
    pub last: Option<(SystemTime, String, String)>,
}

#[derive(Default)]
struct Counts {
    since: Option<Instant>,
    /// What was asked for, and who asked and why not: what this minute's entries say.
    entered: BTreeSet<(String, String)>,
    left_out: i64,
    all: Refusals,
}

impl Window {
    /// Whether this refusal may be entered, and how many were left out since the last.
    /// `most` are entered a minute, each `what` and `detail` once.
    pub(super) fn admit(&self, now: Instant, what: &str, detail: &str, most: usize) -> Option<i64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(60)) {
            counts.since = Some(now);
            counts.entered.clear();
        }
        let room = counts.entered.len() < most;
        if !room || !counts.entered.insert((what.to_owned(), detail.to_owned())) {
            counts.left_out += 1;
            return None;
        }
        Some(std::mem::take(&mut counts.left_out))
    }

    /// Counts one, entered or not.
    fn count(&self, at: SystemTime, what: &str, detail: &str) {
        let all = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).all;
        all.count += 1;
        all.last = Some((at, what.to_owned(), detail.to_owned()));
    }
}

impl Records {
    /// Enters a refusal: what was asked for (`association`, `store`, …), and who asked and why not, without patient data.
    ///
    /// A failure to enter it is logged only: the refusal stands whatever becomes of its record.
    pub async fn refused(&self, what: &str, detail: &str) {
        let now = SystemTime::now();
        let detail: String = detail.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        self.inner.refusals.count(now, what, &detail);
        let Some(left_out) = self.inner.refusals.admit(Instant::now(), what, &detail, MOST_A_MINUTE) else { return };
        let at = micros(now);
        let what = what.to_owned();
        let committed = self.commit(move |tx| {
            let mut told = facts([("what", what.as_str().into()), ("words", tx.words(&detail)?.1)]);
            if left_out > 0 {
                told.insert("left_out".into(), left_out.into());
            }
            tx.append(Tx::entry_id()?, Kind::Refused, at, told, Vec::new());
            Ok(())
        });
        if let Err(error) = committed.await {
            tracing::error!(error = %error, "a refusal could not be entered in the ledger");
        }
    }

    /// What was refused since the records were opened (LED-011).
    pub fn refusals(&self) -> Refusals {
        self.inner.refusals.0.lock().unwrap_or_else(PoisonError::into_inner).all.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_counted_and_not_entered() {
        let (window, now) = (Window::default(), Instant::now());
        let entered = (0..1000).filter(|n| window.admit(now, "tls", &n.to_string(), MOST_A_MINUTE).is_some()).count();
        assert_eq!(entered, MOST_A_MINUTE);
        let later = now + Duration::from_secs(61);
        assert_eq!(window.admit(later, "tls", "x", MOST_A_MINUTE), Some(1000 - MOST_A_MINUTE as i64));
    }

    #[test]
    fn one_who_comes_again_and_again_hides_no_other() {
        let (window, now) = (Window::default(), Instant::now());
        let entered = (0..1000).filter(|_| window.admit(now, "store", "peer a", MOST_A_MINUTE).is_some()).count();
        assert_eq!(entered, 1);
        assert_eq!(window.admit(now, "store", "peer b", MOST_A_MINUTE), Some(999));
        assert_eq!(window.admit(now, "query", "peer a", MOST_A_MINUTE), Some(0), "for something else");
        assert_eq!(
            window.admit(now + Duration::from_secs(61), "store", "peer a", MOST_A_MINUTE),
            Some(0),
            "once a minute"
        );
    }
}
