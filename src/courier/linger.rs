//! The association that stays open for a moment after a batch, so that the next batch of the same study need not open
//! another: many nodes take an association for an arrival of its own.

use crate::dicom::uid::StudyUid;
use crate::dimse::{Offer, Scu};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// At most one association that nobody uses.
pub(super) struct Linger {
    time: Duration,
    kept: Arc<Mutex<Option<Kept>>>,
    turn: Mutex<u64>,
}

struct Kept {
    turn: u64,
    study: StudyUid,
    offers: Vec<Offer>,
    association: Scu,
}

impl Linger {
    /// Associations stay for `time`; zero closes them at once.
    pub(super) fn new(time: Duration) -> Self {
        Self { time, kept: Arc::default(), turn: Mutex::default() }
    }

    /// The association that stayed, if it is of this study and has all these contexts; any other is released, so that a
    /// node never sees more of them than it is configured for.
    pub(super) async fn take(&self, study: &StudyUid, offers: &[Offer]) -> Option<Scu> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        if kept.study == *study && offers.iter().all(|offer| kept.offers.contains(offer)) {
            return Some(kept.association);
        }
        // What it was for has its answers; a node that mishandles the release changes nothing of them.
        let _ = kept.association.release().await;
        None
    }

    /// Leaves an association open until its time is over or somebody takes it.
    pub(super) async fn leave(&self, study: &StudyUid, offers: &[Offer], association: Scu) {
        if self.time.is_zero() {
            let _ = association.release().await;
            return;
        }
        let turn = {
            let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            *turn += 1;
            *turn
        };
        let new = Kept { turn, study: study.clone(), offers: offers.to_vec(), association };
        let old = self.kept.lock().unwrap_or_else(PoisonError::into_inner).replace(new);
        let (kept, time) = (Arc::clone(&self.kept), self.time);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            let over = |kept: &mut Kept| kept.turn == turn;
            let mine = kept.lock().unwrap_or_else(PoisonError::into_inner).take_if(over);
            if let Some(mine) = mine {
                let _ = mine.association.release().await;
            }
        });
        if let Some(old) = old {
            let _ = old.association.release().await;
        }
    }
}
