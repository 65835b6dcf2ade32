//! The association over which a destination is given things (C-MOVE), and the turn that it has there: one association at a time gives a
//! node something of a study, be it ours or a lane's ("Behaviour that decides safety", freshness).

use super::archived::unless_over;
use super::given::{Given, MOST_LOST, PAGE, alongside};
use crate::courier::mover::SubOperation;
use crate::courier::turns::Taken;
use crate::dicom::uid::StudyUid;
use crate::dimse::{Offer, Scu};
use crate::records::Retrievable;
use crate::store::Ahead;
use std::future::pending;

/// Most contexts of one association (DIM-003).
const MOST_CONTEXTS: usize = 128;

/// The association, if one is open, and what it is opened for.
#[derive(Default)]
pub(super) struct Line {
    association: Option<Scu>,
    offers: Vec<Offer>,
    /// Associations that were lost one after the other.
    pub(super) lost: u32,
    turn: Option<Turn>,
}

/// The turn for a study, and how many of its instances it was used for.
struct Turn {
    study: StudyUid,
    taken: Taken,
    used: usize,
}

impl Line {
    /// Opens anew, for all that was needed so far, when something is needed that was not offered.
    pub(super) async fn prepare(&mut self, needed: &[Offer]) {
        let missing: Vec<Offer> = needed.iter().filter(|offer| !self.offers.contains(offer)).cloned().collect();
        if missing.is_empty() {
            return;
        }
        self.hang_up().await;
        self.offers.extend(missing);
        if self.offers.len() > MOST_CONTEXTS {
            self.offers = needed.to_vec();
        }
    }

    /// Releases the association; the turn stays.
    pub(super) async fn hang_up(&mut self) {
        if let Some(association) = self.association.take() {
            // What it was for has its answers; a destination that mishandles the release changes nothing of them.
            let _ = association.release().await;
        }
    }

    /// Releases the association, and gives the turn to whoever waits for it.
    pub(super) async fn give_way(&mut self) {
        self.hang_up().await;
        self.turn = None;
    }

    /// Ends once somebody waits for the turn that we have.
    pub(super) async fn wanted(&self) {
        match &self.turn {
            Some(turn) => turn.taken.wanted().await,
            None => pending().await,
        }
    }
}

impl Given<'_, '_> {
    /// Has the turn for the next instance of a study. Whoever waits for it gets it after a page of them. False if the requester cancels,
    /// or is gone, before our turn comes.
    pub(super) async fn has_turn(&mut self, line: &mut Line, study: &StudyUid) -> bool {
        if let Some(turn) = line.turn.as_mut().filter(|turn| turn.study == *study) {
            if turn.used < PAGE || !turn.taken.is_wanted() {
                turn.used += 1;
                return true;
            }
            line.give_way().await;
        }
        // Nothing else is kept from anybody while we wait.
        line.turn = None;
        let taken = match self.mover.turn_now(study) {
            Some(taken) => Some(taken),
            None => {
                line.hang_up().await;
                let Some(taken) = unless_over(self.dialogue, self.counts, self.mover.turn(study)).await else {
                    return false;
                };
                taken
            }
        };
        line.turn = taken.map(|taken| Turn { study: study.clone(), taken, used: 1 });
        true
    }

    /// One sub-operation over the association that is open, or over a new one. A destination that cannot be reached is not
    /// called again for each instance.
    pub(super) async fn move_one(
        &mut self,
        line: &mut Line,
        (item, ahead): (&Retrievable, Ahead),
        originator: &(String, u16),
    ) -> SubOperation {
        let failed = |why: String| SubOperation::Failed { why, damage: None };
        if line.association.is_none() {
            if line.lost >= MOST_LOST {
                return failed("the destination was lost".into());
            }
            let opening = self.mover.open(&line.offers);
            match alongside(self.dialogue, self.counts, opening).await {
                Ok(opened) => line.association = Some(opened),
                Err(error) => {
                    line.lost = MOST_LOST;
                    return failed(error.to_string());
                }
            }
        }
        let Some(open) = &mut line.association else { return failed("no association".into()) };
        let giving = self.mover.give(open, (item, ahead), Some(originator.clone()));
        let came = alongside(self.dialogue, self.counts, giving).await;
        match open.is_alive() {
            true => line.lost = 0,
            false => {
                line.association = None;
                line.lost += 1;
            }
        }
        came
    }
}
