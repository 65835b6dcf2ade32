//! What was committed on a thread that simulates, in order, with what was asked for and what was answered: for a model beside it.

use crate::ledger::outcome::Outcome;
use crate::ledger::transfer::TransferId;
use crate::peers::Destination;
use crate::records::{
    Acted, Arrival, AttemptId, Batch, BlobId, InstanceId, LeaseLimits, Purged, Purging, Recorded, Settled, Verb,
};
use crate::store::Place;
use std::cell::RefCell;
use std::time::SystemTime;

/// One commit.
#[derive(Debug)]
pub(crate) enum Committed {
    Arrived(Box<Arrival>, Recorded),
    Leased {
        to: Destination,
        check: bool,
        limits: LeaseLimits,
        now: SystemTime,
        batch: Option<Batch>,
    },
    Settled {
        attempt: AttemptId,
        outcomes: Vec<(TransferId, Outcome)>,
        now: SystemTime,
        settled: Settled,
    },
    Interrupted(AttemptId, SystemTime),
    Acted {
        verb: Verb,
        transfers: Vec<TransferId>,
        now: SystemTime,
        acted: Acted,
    },
    Paused {
        to: Destination,
        paused: bool,
        changed: bool,
    },
    Condemned {
        instances: Vec<InstanceId>,
        purging: Purging,
        purged: Purged,
    },
    Freed(Vec<BlobId>),
    Corrupt(InstanceId, SystemTime),
    Damaged {
        blob: BlobId,
        now: SystemTime,
        set_aside: bool,
    },
    Moved {
        to: Place,
        moved: bool,
    },
    /// What no history should come to.
    Stuck(BlobId),
    Sound(BlobId),
}

thread_local! {
    static COMMITTED: RefCell<Option<Vec<Committed>>> = const { RefCell::new(None) };
}

/// Notes a commit, if anybody on this thread listens.
pub(in crate::records) fn committed(what: impl FnOnce() -> Committed) {
    COMMITTED.with_borrow_mut(|all| all.as_mut().map(|all| all.push(what())));
}

/// How many were noted so far.
pub(in crate::records) fn noted() -> usize {
    COMMITTED.with_borrow(|all| all.as_ref().map_or(0, Vec::len))
}

/// Forgets what was noted since: it was undone.
pub(in crate::records) fn undone_since(noted: usize) {
    COMMITTED.with_borrow_mut(|all| all.iter_mut().for_each(|all| all.truncate(noted)));
}

/// What was committed on this thread since this was asked last; from the first time on it is noted.
pub(crate) fn drain() -> Vec<Committed> {
    COMMITTED.with_borrow_mut(|all| all.replace(Vec::new()).unwrap_or_default())
}
