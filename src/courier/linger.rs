//! The association that stays open for a moment after a batch, so that the next batch of the same study need not open
//! another: many nodes take an association for an arrival of its own.

use super::turns::Taken;
use crate::dicom::uid::StudyUid;
use crate::dimse::{Offer, Scu};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// At most one association that nobody uses, with the turn that it has at the node.
pub(super) struct Linger {
    time: Duration,
    kept: Arc<Mutex<Option<Kept>>>,
    number: Mutex<u64>,
}

struct Kept {
    number: u64,
    study: StudyUid,
    stayed: Stayed,
    turn: Taken,
}

/// An association that stayed open, and the contexts for which it was opened.
pub(super) struct Stayed {
    pub(super) offers: Vec<Offer>,
    pub(super) association: Scu,
}

impl Stayed {
    /// Ends it.
    pub(super) async fn release(self) {
        // What it was for has its answers; a node that mishandles the release changes nothing of them.
        let _ = self.association.release().await;
    }
}

impl Linger {
    /// Associations stay for `time`; zero closes them at once.
    pub(super) fn new(time: Duration) -> Self {
        Self { time, kept: Arc::default(), number: Mutex::default() }
    }

    /// The association that stayed, if it is of this study, with its turn; any other is released, so that a node never sees more of them
    /// than it is configured for.
    pub(super) async fn take(&self, study: &StudyUid) -> Option<(Stayed, Taken)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        if kept.study == *study {
            return Some((kept.stayed, kept.turn));
        }
        kept.stayed.release().await;
        None
    }

    /// Leaves an association open until its time is over, somebody takes it, or somebody else waits for the turn.
    pub(super) async fn leave(&self, study: &StudyUid, stayed: Stayed, turn: Taken) {
        if self.time.is_zero() || turn.is_wanted() {
            stayed.release().await;
            return;
        }
        let number = {
            let mut number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
            *number += 1;
            *number
        };
        let wanted = turn.wanted();
        let new = Kept { number, study: study.clone(), stayed, turn };
        let old = self.kept.lock().unwrap_or_else(PoisonError::into_inner).replace(new);
        let (kept, time) = (Arc::clone(&self.kept), self.time);
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = wanted => {}
            }
            let over = |kept: &mut Kept| kept.number == number;
            let mine = kept.lock().unwrap_or_else(PoisonError::into_inner).take_if(over);
            if let Some(Kept { stayed, turn, .. }) = mine {
                stayed.release().await;
                drop(turn);
            }
        });
        if let Some(old) = old {
            old.stayed.release().await;
        }
    }
}
