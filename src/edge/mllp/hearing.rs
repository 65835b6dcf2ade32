//! What was heard of order systems since the start: counted for `status`, with nothing of a patient.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Counts what is heard. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hearing(Arc<Mutex<Counts>>);

/// What was heard so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that were answered AA.
    pub taken: u64,
    /// When the last of them was.
    pub last: Option<SystemTime>,
    /// Messages that were answered AE or AR, what was no message, and callers who may not call.
    pub refused: u64,
    /// When the last of these was, who that was and why.
    pub last_refusal: Option<(SystemTime, String)>,
}

impl Hearing {
    /// The counts as they stand.
    pub fn so_far(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn taken(&self, now: SystemTime) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.taken += 1;
        counts.last = Some(now);
    }

    pub(super) fn refused(&self, now: SystemTime, why: String) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.refused += 1;
        counts.last_refusal = Some((now, why));
    }
}
