//! What one outcome makes of one transfer: its next state, its wait, its counters, and when to give up (REL-20, REL-21). Pure.

use super::backoff::Backoff;
use super::outcome::{Charge, Outcome, Refusal, Whose};
use super::transfer::State;
use crate::peers::Verify;
use std::time::Duration;

/// How a transfer stands when its outcome comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// [`State::Leased`] while it was being sent; [`State::Unknown`] or [`State::Accepted`] while the destination was asked.
    pub state: State,
    /// What must be seen before it is done.
    pub verify: Verify,
    /// Failures that were charged to it, in a row.
    pub failures: u32,
    /// How often in a row the destination was asked about it in vain, or refused it as it may refuse everything: both say nothing of it. It
    /// makes the waits longer, and is no failure.
    pub unanswered: u32,
    /// The waits that its own failures have cost so far; what giving up is measured by.
    pub spent: Duration,
    /// Whether the destination was taking things when this was tried.
    pub answering: bool,
    /// Whose a refusal is that may be meant of the destination as a whole.
    pub whose: Whose,
    /// Whether the same instance is to be sent to the same destination for another cause, and waits for that or is on its way.
    pub twin: bool,
}

/// How long a transfer is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The waits between tries.
    pub backoff: Backoff,
    /// Given up when its own failures have cost so much waiting. Waiting for a destination that is down, parked or paused, or
    /// that cannot be asked what it holds, does not count, nor does a jump of the clock (FLT-070).
    pub give_up: Duration,
    /// The longest wait that is believed, whoever asked for it.
    pub longest_wait: Duration,
    /// A destination that accepted an instance may take so many looks to show it, before it is sent again.
    pub late_looks: u32,
    /// Given up when the destination has refused it so often in a row, for reasons that might have passed (DIM-054).
    pub refusals: u32,
}

impl Default for Patience {
    /// Back-off as in REL-20, five days, one hour, four looks, twelve refusals.
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            give_up: Duration::from_secs(5 * 24 * 3600),
            longest_wait: Duration::from_secs(3600),
            late_looks: 4,
            refusals: 12,
        }
    }
}

/// The step that an outcome asks for. Its target is legal from the standing's state ([`State::may_become`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The next state.
    pub to: State,
    /// How long to wait before it is tried or asked about again. A destination that is down may make it longer.
    pub wait: Duration,
    /// Failures charged to it in a row, from now on.
    pub failures: u32,
    /// Tries and questions in a row that said nothing of it, from now on.
    pub unanswered: u32,
    /// The waits that its own failures have cost, from now on.
    pub spent: Duration,
    /// Whether this step gave it up because its time was spent.
    pub given_up: bool,
}

/// The step that `outcome` asks for. `seed` chooses the jitter.
pub fn after(standing: &Standing, outcome: &Outcome, patience: &Patience, seed: u64) -> Step {
    let sending = standing.state == State::Leased;
    let stay = |to| if sending { to } else { standing.state };
    let backed_off = patience.backoff.delay(standing.failures, seed);
    let plain = |to, wait| as_it_was(standing, to, wait);
    let done = |to| Step { failures: 0, unanswered: 0, ..plain(to, Duration::ZERO) };
    // Whoever is silent when asked is asked less and less often; that says nothing of the instance, and costs no time of its own,
    // however long it lasts (REL-20, REL-21, FLT-068).
    let asked_in_vain = || {
        let wait = patience.backoff.delay(standing.failures.saturating_add(standing.unanswered), seed);
        Step { unanswered: standing.unanswered.saturating_add(1), ..plain(standing.state, wait) }
    };
    match outcome {
        Outcome::Accepted { .. } => done(State::Accepted),
        Outcome::Verified { .. } | Outcome::Uncompared { .. } => done(State::Verified),
        Outcome::Held { .. } => plain(State::Held, Duration::ZERO),
        Outcome::Dead { .. } => plain(State::Dead, Duration::ZERO),
        Outcome::Parked { .. } | Outcome::Unsupported { .. } => plain(stay(State::Parked), Duration::ZERO),
        Outcome::Refused { after, refusal, .. } if refusal.may_be_whole() && standing.whose != Whose::Instance => {
            let wait = patience.backoff.delay(standing.failures.saturating_add(standing.unanswered), seed);
            with_the_destination(standing, *refusal, after.unwrap_or(wait).min(patience.longest_wait))
        }
        Outcome::Refused { after, .. } => refused(standing, patience, after.unwrap_or(backed_off)),
        Outcome::Unknown { .. } | Outcome::Claimed { .. } if sending => plain(State::Unknown, backed_off),
        // The other cause sends it, and then this one is asked about again: once is enough (FLT-053).
        Outcome::Absent { .. } if standing.twin && !sending => asked_in_vain(),
        Outcome::Unknown { .. } | Outcome::Claimed { .. } => asked_in_vain(),
        Outcome::Absent { .. } => absent(standing, patience, backed_off),
        Outcome::Deferred { charge: Charge::Destination, .. } => plain(stay(State::Deferred), Duration::ZERO),
        Outcome::Deferred { charge: Charge::Us, after, .. } => {
            let wait = after.unwrap_or_else(|| patience.backoff.delay(0, seed));
            plain(stay(State::Deferred), wait.min(patience.longest_wait))
        }
        Outcome::Deferred { charge: Charge::Instance, after, .. } => {
            let wait = after.unwrap_or(backed_off).min(patience.longest_wait);
            charged(standing, patience, stay(State::Deferred), wait)
        }
    }
}

/// Another state, and nothing said of the instance.
fn as_it_was(standing: &Standing, to: State, wait: Duration) -> Step {
    let Standing { failures, unanswered, spent, .. } = *standing;
    Step { to, wait, failures, unanswered, spent, given_up: false }
}

/// The destination was asked and does not have it.
fn absent(standing: &Standing, patience: &Patience, backed_off: Duration) -> Step {
    if standing.state == State::Accepted && standing.failures < patience.late_looks {
        return charged(standing, patience, State::Accepted, backed_off);
    }
    // While the destination takes nothing, that is no fault of the instance: it waits with the destination (REL-21), behind the
    // others of its study, since it may be what the destination stumbles over each time (REL-24).
    if !standing.answering {
        return Step { unanswered: 0, ..as_it_was(standing, State::Deferred, Duration::ZERO) };
    }
    // What was interrupted once goes out again at once; what keeps getting lost waits longer each time.
    if standing.failures == 0 {
        return Step { failures: 1, unanswered: 0, ..as_it_was(standing, State::Pending, Duration::ZERO) };
    }
    charged(standing, patience, State::Deferred, backed_off)
}

/// The destination takes nothing, as far as is known: the instance waits with it, longer each time, and loses nothing (REL-21).
fn with_the_destination(standing: &Standing, refusal: Refusal, wait: Duration) -> Step {
    let (to, wait) = match (standing.state, refusal, standing.whose) {
        (State::Leased, Refusal::Forbidden, Whose::Destination) => (State::Parked, Duration::ZERO),
        (State::Leased, Refusal::Forbidden, _) if !standing.answering => (State::Parked, wait),
        (State::Leased, ..) => (State::Deferred, wait),
        (state, ..) => (state, wait),
    };
    Step { unanswered: standing.unanswered.saturating_add(1), ..as_it_was(standing, to, wait) }
}

/// The destination refused it, for a reason that may pass. `A700` and `0124` are said in the field of anything that fails, so that
/// they count as well where the destination takes other things (DIM-054).
fn refused(standing: &Standing, patience: &Patience, wait: Duration) -> Step {
    let to = if standing.state == State::Leased { State::Deferred } else { standing.state };
    let step = charged(standing, patience, to, wait.min(patience.longest_wait));
    match step.failures >= patience.refusals {
        true => Step { to: State::Dead, given_up: true, ..step },
        false => step,
    }
}

fn charged(standing: &Standing, patience: &Patience, to: State, wait: Duration) -> Step {
    let spent = standing.spent.saturating_add(wait);
    let given_up = spent >= patience.give_up;
    let to = if given_up { State::Dead } else { to };
    Step { to, wait, failures: standing.failures.saturating_add(1), unanswered: 0, spent, given_up }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
