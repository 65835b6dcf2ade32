//! The circuit breaker of one destination: when it is left alone, and when one probe is let through (REL-20, REL-22). Pure.

use super::backoff::Backoff;
use super::outcome::{Charge, Outcome, Refusal};
use super::transfer::State;
use std::time::{Duration, SystemTime};

/// How a destination stands as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It answers, or has not been tried yet.
    Up,
    /// It does not answer, or asked us to wait.
    Down,
    /// It cannot be used until something is put right: configuration, certificate, refusal.
    Parked,
}

impl Reach {
    /// The word that records and the command line use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Parked => "parked",
        }
    }

    /// The standing that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Up, Self::Down, Self::Parked].into_iter().find(|reach| reach.word() == word)
    }
}

/// What the outcomes of one batch show of the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Showing {
    /// It answered for at least one instance, well or badly.
    Answered,
    /// It did not answer, or asked us to wait. `progress` tells whether it had answered for others in the same batch.
    Silent {
        /// What it asked us to wait, if it did.
        after: Option<Duration>,
        /// Whether others in the batch were answered.
        progress: bool,
    },
    /// Only ambiguous answers: it may have taken everything, and may be gone.
    Doubtful,
    /// It cannot be used.
    Refused,
}

/// How a destination let itself be asked what it holds, in the course of one batch. Whether it may be sent to is another matter: many
/// take what they are sent and answer no question, or none just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asking {
    /// It answered.
    Answered,
    /// It refused, or did not answer.
    Not {
        /// What happened, in plain words.
        why: String,
        /// What it asked us to wait before we ask again.
        after: Option<Duration>,
    },
}

impl Asking {
    /// What both show together: a refusal outlasts an answer.
    pub fn and(before: Option<Self>, then: Option<Self>) -> Option<Self> {
        match (before, then) {
            (Some(Self::Not { why, after }), Some(Self::Not { after: later, .. })) => {
                Some(Self::Not { why, after: after.max(later) })
            }
            (Some(not @ Self::Not { .. }), _) => Some(not),
            (before, then) => then.or(before),
        }
    }

    /// As a batch of nothing but questions shows it.
    pub fn showing(&self) -> Showing {
        match self {
            Self::Answered => Showing::Answered,
            Self::Not { after, .. } => Showing::Silent { after: *after, progress: false },
        }
    }
}

/// Sums up the outcomes of one batch, each with the state in which the transfer was carried or asked about; `None` if they say nothing
/// of whether the destination takes what it is sent: all were our own failures, or answers to questions. Those say nothing of it, well
/// or badly, but one: what was sent without a clear answer and is there was taken (WEB-062). Who takes one instance neither is full nor
/// refuses us, whatever it says of another (REL-24).
pub fn showing<'a>(outcomes: impl IntoIterator<Item = (State, &'a Outcome)>) -> Option<Showing> {
    let (mut answered, mut doubtful, mut silent, mut scarce, mut wait) = (false, false, false, false, None);
    let (mut forbidden, mut took) = (false, false);
    for (state, outcome) in outcomes {
        took |= outcome.took(state);
        match outcome {
            Outcome::Parked { .. } => return Some(Showing::Refused),
            Outcome::Deferred { charge: Charge::Destination, after, .. } => {
                silent = true;
                wait = wait.max(*after);
            }
            Outcome::Verified { .. } if state == State::Unknown => answered = true,
            _ if state != State::Leased => {}
            Outcome::Refused { refusal: Refusal::Scarce, after, .. } => {
                scarce = true;
                wait = wait.max(*after);
            }
            Outcome::Refused { refusal: Refusal::Forbidden, .. } => forbidden = true,
            Outcome::Deferred { charge: Charge::Us, .. }
            | Outcome::Held { .. }
            | Outcome::Unsupported { said: false, .. } => {}
            Outcome::Unknown { .. } => doubtful = true,
            Outcome::Accepted { .. }
            | Outcome::Verified { .. }
            | Outcome::Uncompared { .. }
            | Outcome::Claimed { .. }
            | Outcome::Absent { .. }
            | Outcome::Deferred { charge: Charge::Instance, .. }
            | Outcome::Refused { refusal: Refusal::Instance, .. }
            | Outcome::Unsupported { said: true, .. }
            | Outcome::Dead { .. } => answered = true,
        }
    }
    if forbidden && !took {
        return Some(Showing::Refused);
    }
    match (silent, answered, doubtful) {
        (true, progress, _) => Some(Showing::Silent { after: wait, progress }),
        (_, true, _) => Some(Showing::Answered),
        // Out of resources for all that it was offered: left alone like one that is silent (DIM-054).
        _ if scarce => Some(Showing::Silent { after: wait, progress: false }),
        (_, _, true) => Some(Showing::Doubtful),
        _ => None,
    }
}

/// The times of the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probing {
    /// Waits between probes in the first hour of an outage.
    pub backoff: Backoff,
    /// After so long an outage the waits are all [`Self::steady`].
    pub steady_after: Duration,
    /// The wait between probes of a long outage, and of a parked destination.
    pub steady: Duration,
    /// The longest wait that a destination may ask for (WEB-061).
    pub longest_asked: Duration,
    /// So many ambiguous batches in a row count as an outage.
    pub doubts: u32,
}

impl Default for Probing {
    /// 5 s doubled up to 5 min; after 1 h every 5 min; a destination may ask for 1 h; three doubts (REL-20, WEB-061).
    fn default() -> Self {
        Self {
            backoff: Backoff { first: Duration::from_secs(5), cap: Duration::from_secs(300) },
            steady_after: Duration::from_secs(3600),
            steady: Duration::from_secs(300),
            longest_asked: Duration::from_secs(3600),
            doubts: 3,
        }
    }
}

/// The breaker of one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// How the destination stands.
    pub reach: Reach,
    /// Since when it stands so; `None` before anything was tried.
    pub since: Option<SystemTime>,
    /// Failures in a row.
    pub failures: u32,
    /// Nothing is to be tried before this time, if there is one.
    pub not_before: Option<SystemTime>,
}

impl Breaker {
    /// A destination that has not been tried yet.
    pub const NEW: Self = Self { reach: Reach::Up, since: None, failures: 0, not_before: None };

    /// The breaker after a batch showed something. Nothing is begun while a wait runs, so that whatever ends meanwhile was begun
    /// before: it neither ends the wait nor shortens it (WEB-061).
    pub fn after(self, showing: Showing, now: SystemTime, probing: &Probing, seed: u64) -> Self {
        match showing {
            Showing::Answered if self.running(now).is_some() => self,
            Showing::Answered => self.stand(Reach::Up, now, 0, None),
            Showing::Refused => self.stand(Reach::Parked, now, self.failures.saturating_add(1), Some(probing.steady)),
            Showing::Silent { after, progress } => {
                let failures = if progress { 1 } else { self.failures.saturating_add(1) };
                let wait = match after {
                    Some(asked) => asked.min(probing.longest_asked),
                    None => self.wait(failures, now, probing, seed),
                };
                self.stand(Reach::Down, now, failures, Some(wait))
            }
            Showing::Doubtful => {
                let failures = self.failures.saturating_add(1);
                if self.reach == Reach::Up && failures < probing.doubts {
                    return Self { failures, ..self };
                }
                self.stand(Reach::Down, now, failures, Some(self.wait(failures, now, probing, seed)))
            }
        }
    }

    fn wait(&self, failures: u32, now: SystemTime, probing: &Probing, seed: u64) -> Duration {
        let out_for = match (self.reach, self.since) {
            (Reach::Up, _) | (_, None) => Duration::ZERO,
            (_, Some(since)) => now.duration_since(since).unwrap_or_default(),
        };
        if out_for >= probing.steady_after { probing.steady } else { probing.backoff.delay(failures - 1, seed) }
    }

    /// The end of the wait that runs, if one does.
    fn running(&self, now: SystemTime) -> Option<SystemTime> {
        self.not_before.filter(|not_before| *not_before > now)
    }

    fn stand(self, reach: Reach, now: SystemTime, failures: u32, wait: Option<Duration>) -> Self {
        let since = if self.reach == reach && self.since.is_some() { self.since } else { Some(now) };
        let asked = wait.and_then(|wait| now.checked_add(wait));
        Self { reach, since, failures, not_before: asked.max(self.running(now)) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
