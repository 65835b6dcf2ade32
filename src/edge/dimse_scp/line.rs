//! The association over which a destination is given things (C-MOVE), and the turn that it has there: one association at a time gives a
//! node something of a study, be it ours or a lane's ("Behaviour that decides safety", freshness).

use super::archived::unless_over;
use super::given::{Given, MOST_LOST, PAGE, alongside};
use crate::courier::mover::SubOperation;
use crate::courier::turns::Taken;
use crate::dicom::uid::StudyUid;
use crate::dimse::{Offer, Scu, ScuError};
use crate::records::Retrievable;
use crate::store::Ahead;
use std::future::pending;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Most contexts of one association (DIM-003).
const MOST_CONTEXTS: usize = 128;

/// After so long without use, an association that turns out to be closed was closed for that.
const IDLE: Duration = Duration::from_secs(1);

/// How long a destination that cannot take an association just now is left alone, before it is asked again.
const WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// The association, if one is open, and what it is opened for.
#[derive(Default)]
pub(super) struct Line {
    association: Option<Scu>,
    offers: Vec<Offer>,
    /// Associations that were lost one after the other.
    pub(super) lost: u32,
    /// The last was ended by us, who could not complete the instance: it says nothing of the destination.
    ours: bool,
    /// When the last instance went over it.
    used: Option<Instant>,
    /// The destination has taken something over it.
    took: bool,
    /// One stood before.
    stood: bool,
    turn: Option<Turn>,
}

/// The turn for a study, and how many of its instances it was used for.
struct Turn {
    study: StudyUid,
    taken: Taken,
    used: usize,
}

impl Line {
    /// Whether the destination took something over the association that is open.
    fn has_taken(&self) -> bool {
        self.took && self.association.is_some()
    }

    /// Opens anew, for all that was needed so far, when something is needed that was not offered.
    async fn prepare(&mut self, needed: &[Offer]) {
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
    async fn hang_up(&mut self) {
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

    /// Whether an association is open that was idle for so long that the destination may have closed it.
    fn is_stale(&self) -> bool {
        self.association.is_some() && self.used.is_some_and(|used| used.elapsed() >= IDLE)
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
    /// Has the association stand for all that was needed so far, and this. One may have to be released before, which the destination may
    /// delay: the requester hears from us meanwhile (DIM-083), here as in what follows.
    pub(super) async fn prepare(&mut self, line: &mut Line, needed: &[Offer]) {
        alongside(self.dialogue, self.counts, line.prepare(needed)).await;
    }

    /// Releases the association, and gives the turn to whoever waits for it.
    pub(super) async fn give_way(&mut self, line: &mut Line) {
        alongside(self.dialogue, self.counts, line.give_way()).await;
    }

    /// Has the turn for the next instance of a study. Whoever waits for it gets it after a page of them. False if the requester cancels,
    /// or is gone, before our turn comes.
    pub(super) async fn has_turn(&mut self, line: &mut Line, study: &StudyUid) -> bool {
        if let Some(turn) = line.turn.as_mut().filter(|turn| turn.study == *study) {
            if turn.used < PAGE || !turn.taken.is_wanted() {
                turn.used += 1;
                return true;
            }
            self.give_way(line).await;
        }
        // Nothing else is kept from anybody while we wait.
        line.turn = None;
        let taken = match self.mover.turn_now(study) {
            Some(taken) => Some(taken),
            None => {
                alongside(self.dialogue, self.counts, line.hang_up()).await;
                let Some(taken) = unless_over(self.dialogue, self.counts, self.mover.turn(study)).await else {
                    return false;
                };
                taken
            }
        };
        line.turn = taken.map(|taken| Turn { study: study.clone(), taken, used: 1 });
        true
    }

    /// One sub-operation over the association that is open, or over a new one. The destination may have closed one that was idle while
    /// the instance was awaited, or closes each after what it took, which is no fault of either: it is given once more, over a new one.
    pub(super) async fn move_one(
        &mut self,
        line: &mut Line,
        (item, ahead): (&Retrievable, Ahead),
        originator: &(String, u16),
    ) -> SubOperation {
        let (over, lost) = (line.is_stale() || line.has_taken(), line.lost);
        let came = self.give_over(line, (item, ahead), originator).await;
        let closed = over && line.lost > lost && matches!(came, SubOperation::Failed { damage: None, .. });
        let came = match closed && self.goes_on().await {
            true => {
                (line.lost, line.ours) = (lost, false);
                self.give_over(line, (item, Ahead::default()), originator).await
            }
            false => came,
        };
        if std::mem::take(&mut line.ours) {
            line.lost = 0;
        }
        came
    }

    /// The same, once. A destination that cannot be reached is not called again for each instance.
    async fn give_over(
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
            match self.opened(line).await {
                Ok(opened) => (line.association, line.stood, line.took) = (Some(opened), true, false),
                Err(error) => {
                    line.lost = MOST_LOST;
                    return failed(error.to_string());
                }
            }
        }
        let Some(open) = &mut line.association else { return failed("no association".into()) };
        let giving = self.mover.give(open, (item, ahead), Some(originator.clone()));
        let came = alongside(self.dialogue, self.counts, giving).await;
        line.used = Some(Instant::now());
        line.took |= matches!(came, SubOperation::Completed | SubOperation::Warning);
        match open.is_alive() {
            true => line.lost = 0,
            // It refused the instance before its end, and is there.
            false if open.is_refused() => (line.association, line.lost) = (None, 0),
            false => {
                line.ours = open.is_ended_by_us();
                line.association = None;
                line.lost += 1;
            }
        }
        came
    }

    /// Opens the association. A destination that cannot take it just now is asked a few times more (DIM-012): it said so itself, or it
    /// took one before.
    async fn opened(&mut self, line: &Line) -> Result<Scu, ScuError> {
        let mut waits = WAITS.into_iter();
        loop {
            let opening = self.mover.open(&line.offers);
            let error = match alongside(self.dialogue, self.counts, opening).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            let Some(wait) = waits.next().filter(|_| is_passing(&error, line.stood)) else { return Err(error) };
            if !self.goes_on().await || unless_over(self.dialogue, self.counts, sleep(wait)).await.is_none() {
                return Err(error);
            }
        }
    }
}

/// Whether a destination may take an association soon that it does not take now.
fn is_passing(error: &ScuError, stood: bool) -> bool {
    match error {
        ScuError::Rejected { result, .. } => *result == 2,
        ScuError::Connect { .. } => stood,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_waited_for() {
        let rejected = |result| ScuError::Rejected { result, by: 3, reason: 2 };
        let refused = || ScuError::Connect { address: "node:104".to_owned(), why: "refused".to_owned() };
        let rows = [
            (rejected(2), false, true),
            (rejected(1), true, false),
            (refused(), true, true),
            (refused(), false, false),
            (ScuError::Offers, true, false),
        ];
        for (error, stood, want) in rows {
            assert_eq!(is_passing(&error, stood), want, "{error}, {stood}");
        }
    }
}
