//! Tests of the steps that outcomes ask for.

use super::*;
use crate::dicom::fired::note_fired;
use crate::ledger::outcome::Refused;

const HOUR: Duration = Duration::from_secs(3600);

fn words() -> String {
    String::new()
}

fn deferred(charge: Charge, after: Option<Duration>) -> Outcome {
    Outcome::Deferred { why: words(), charge, after }
}

fn refused(refusal: Refusal, after: Option<Duration>) -> Outcome {
    Outcome::Refused { why: words(), after, refusal }
}

fn outcomes() -> Vec<Outcome> {
    let mut all = vec![
        Outcome::Accepted { evidence: words() },
        Outcome::Verified { evidence: words() },
        Outcome::Unknown { why: words() },
        Outcome::Absent { why: words() },
        Outcome::Parked { why: words() },
        Outcome::Dead { why: words() },
        Outcome::Unsupported { why: words(), said: true },
        refused(Refusal::Scarce, None),
        refused(Refusal::Forbidden, None),
        refused(Refusal::Instance, Some(100 * HOUR)),
    ];
    for charge in [Charge::Instance, Charge::Destination, Charge::Us] {
        all.extend([deferred(charge, None), deferred(charge, Some(100 * HOUR))]);
    }
    all
}

fn standing(state: State, failures: u32) -> Standing {
    Standing {
        state,
        verify: Verify::Present,
        failures,
        unanswered: 0,
        spent: Duration::ZERO,
        answering: true,
        whose: Whose::Instance,
        twin: false,
    }
}

#[test]
fn each_outcome_leads_where_the_table_says() {
    use State::{Accepted, Dead, Deferred, Leased, Parked, Pending, Unknown, Verified};
    let rows = [
        (Leased, 3, Outcome::Accepted { evidence: words() }, Accepted, 0),
        (Leased, 3, Outcome::Verified { evidence: words() }, Verified, 0),
        (Leased, 3, Outcome::Unknown { why: words() }, Unknown, 3),
        (Leased, 0, Outcome::Absent { why: words() }, Pending, 1),
        (Leased, 3, Outcome::Absent { why: words() }, Deferred, 4),
        (Leased, 3, Outcome::Parked { why: words() }, Parked, 3),
        (Leased, 3, Outcome::Dead { why: words() }, Dead, 3),
        (Leased, 3, deferred(Charge::Instance, None), Deferred, 4),
        (Leased, 3, deferred(Charge::Destination, None), Deferred, 3),
        (Leased, 3, deferred(Charge::Us, None), Deferred, 3),
        (Leased, 3, refused(Refusal::Instance, None), Deferred, 4),
        (Leased, 11, refused(Refusal::Instance, None), Dead, 12),
        (Leased, 11, refused(Refusal::Scarce, None), Dead, 12),
        (Leased, 11, refused(Refusal::Forbidden, None), Dead, 12),
        (Leased, 3, Outcome::Unsupported { why: words(), said: true }, Parked, 3),
        (Unknown, 0, Outcome::Verified { evidence: words() }, Verified, 0),
        (Unknown, 0, Outcome::Absent { why: words() }, Pending, 1),
        (Unknown, 1, Outcome::Absent { why: words() }, Deferred, 2),
        (Unknown, 1, Outcome::Unknown { why: words() }, Unknown, 1),
        (Unknown, 1, Outcome::Claimed { why: words() }, Unknown, 1),
        (Unknown, 1, deferred(Charge::Destination, None), Unknown, 1),
        (Unknown, 1, deferred(Charge::Instance, None), Unknown, 2),
        (Unknown, 1, Outcome::Parked { why: words() }, Unknown, 1),
        (Accepted, 0, Outcome::Verified { evidence: words() }, Verified, 0),
        (Accepted, 0, Outcome::Absent { why: words() }, Accepted, 1),
        (Accepted, 3, Outcome::Absent { why: words() }, Accepted, 4),
        (Accepted, 4, Outcome::Absent { why: words() }, Deferred, 5),
        (Accepted, 2, deferred(Charge::Destination, None), Accepted, 2),
    ];
    for (state, failures, outcome, to, then) in rows {
        let step = after(&standing(state, failures), &outcome, &Patience::default(), 5);
        assert_eq!((step.to, step.failures), (to, then), "{state} with {failures}: {outcome:?}");
    }
}

#[test]
fn what_goes_for_another_cause_is_asked_about_again() {
    for (state, failures) in [(State::Unknown, 0), (State::Unknown, 3), (State::Accepted, 9)] {
        let twin = Standing { twin: true, ..standing(state, failures) };
        let step = after(&twin, &Outcome::Absent { why: words() }, &Patience::default(), 5);
        assert_eq!((step.to, step.failures, step.unanswered), (state, failures, 1));
        assert_eq!((step.spent, step.given_up), (Duration::ZERO, false));
        assert!(step.wait > Duration::ZERO);
        note_fired(1);
    }
    let sent = Standing { twin: true, ..standing(State::Leased, 0) };
    assert_eq!(after(&sent, &Outcome::Absent { why: words() }, &Patience::default(), 5).to, State::Pending);
}

#[test]
fn every_step_is_legal_and_every_wait_bounded() {
    let patience = Patience::default();
    for state in [State::Leased, State::Unknown, State::Accepted] {
        for outcome in outcomes() {
            for failures in [0, 1, 4, 9, 1000] {
                for spent in [Duration::ZERO, patience.give_up] {
                    let standing = Standing { spent, ..standing(state, failures) };
                    let step = after(&standing, &outcome, &patience, u64::from(failures));
                    assert!(state.may_become(step.to), "{state} to {} by {outcome:?}", step.to);
                    assert!(step.wait <= patience.longest_wait && step.spent >= spent);
                }
            }
        }
    }
}

#[test]
fn only_its_own_failures_wear_a_transfer_out() {
    let patience = Patience::default();
    for (charge, wears_out) in [(Charge::Instance, true), (Charge::Destination, false), (Charge::Us, false)] {
        let mut now = standing(State::Leased, 0);
        let mut tries = 0u64;
        let died = loop {
            let step = after(&now, &deferred(charge, None), &patience, tries);
            tries += 1;
            if step.to == State::Dead {
                assert!(step.given_up && step.spent >= patience.give_up);
                break true;
            }
            if tries == 10_000 {
                break false;
            }
            now = Standing { failures: step.failures, spent: step.spent, ..now };
        };
        assert_eq!(died, wears_out, "{charge:?} after {tries}");
        if died {
            // Five days in waits of 7.5 minutes on average.
            assert!((800..1200).contains(&tries), "{tries}");
        }
    }
}

#[test]
fn an_instance_that_is_asked_for_and_never_shown_is_given_up_too() {
    let patience = Patience { give_up: HOUR, ..Patience::default() };
    for outcome in [Outcome::Absent { why: words() }, deferred(Charge::Instance, None)] {
        let mut now = standing(State::Unknown, 0);
        let died = (0..100).any(|seed| {
            let step = after(&now, &outcome, &patience, seed);
            now = Standing { failures: step.failures, spent: step.spent, ..now };
            step.to == State::Dead
        });
        assert!(died, "{outcome:?}: still {now:?}");
        note_fired(1);
    }
}

/// REL-21, WEB-062: what a destination loses while it takes nothing costs the instance nothing, however often it is asked for.
#[test]
fn what_is_not_there_waits_with_a_destination_that_takes_nothing() {
    let patience = Patience { give_up: HOUR, ..Patience::default() };
    let mut now = Standing { answering: false, ..standing(State::Unknown, 3) };
    for seed in 0..10_000 {
        let step = after(&now, &Outcome::Absent { why: words() }, &patience, seed);
        assert_eq!((step.to, step.wait, step.given_up), (State::Deferred, Duration::ZERO, false));
        assert_eq!((step.failures, step.spent), (3, Duration::ZERO));
        now = Standing { failures: step.failures, spent: step.spent, ..now };
    }
    // What it took before it went down is looked for a few times first, as ever.
    let accepted = Standing { answering: false, ..standing(State::Accepted, 0) };
    assert_eq!(after(&accepted, &Outcome::Absent { why: words() }, &patience, 1).to, State::Accepted);
}

#[test]
fn a_destination_that_cannot_be_asked_wears_nothing_out() {
    let patience = Patience { give_up: HOUR, ..Patience::default() };
    for state in [State::Unknown, State::Accepted] {
        let mut now = standing(state, 0);
        for seed in 0..10_000 {
            let step = after(&now, &Outcome::Unknown { why: words() }, &patience, seed);
            assert_eq!((step.to, step.spent, step.given_up), (state, Duration::ZERO, false));
            assert!(step.wait <= patience.backoff.ceiling(now.unanswered));
            now = Standing { failures: step.failures, unanswered: step.unanswered, ..now };
        }
        assert_eq!(now.unanswered, 10_000, "each counts, so that the waits grow");
        assert_eq!(now.failures, 0, "and none against the instance");
        // What is refused once after that is tried again, and what is looked for is looked for as often as ever.
        let refused = after(&Standing { state: State::Leased, ..now }, &refused(Refusal::Instance, None), &patience, 1);
        assert_eq!((refused.to, refused.failures, refused.unanswered), (State::Deferred, 1, 0));
        let absent = after(&now, &Outcome::Absent { why: words() }, &patience, 1);
        let then = if state == State::Unknown { State::Pending } else { State::Accepted };
        assert_eq!((absent.to, absent.failures, absent.unanswered), (then, 1, 0));
    }
}

/// DIM-054, REL-24: `A700` and `0124` are generic failures in the field, so that they are capped for an instance where the destination
/// takes others; 0110 always.
#[test]
fn what_is_refused_again_and_again_is_given_up_unless_the_destination_takes_nothing_at_all() {
    use Refusal::{Forbidden, Instance, Scarce};
    let patience = Patience::default();
    let rows = [
        (Instance, Whose::Instance, true),
        (Instance, Whose::Destination, true),
        (Scarce, Whose::Instance, true),
        (Scarce, Whose::Destination, false),
        (Scarce, Whose::Nobody, false),
        (Forbidden, Whose::Instance, true),
        (Forbidden, Whose::Destination, false),
        (Forbidden, Whose::Nobody, false),
    ];
    for ((refusal, whose, given_up), answering) in rows.into_iter().flat_map(|row| [(row, true), (row, false)]) {
        let mut now = Standing { answering, whose, ..standing(State::Leased, 0) };
        let died = (1..=600u32).find(|tries| {
            let step = after(&now, &refused(refusal, None), &patience, u64::from(*tries));
            now = Standing { failures: step.failures, unanswered: step.unanswered, spent: step.spent, ..now };
            assert_eq!(step.to == State::Dead, step.given_up);
            step.to == State::Dead
        });
        assert_eq!(died, given_up.then_some(patience.refusals), "{refusal:?}, {whose:?}, answering {answering}");
        if died.is_none() {
            assert_eq!(
                (now.failures, now.spent, now.unanswered),
                (0, Duration::ZERO, 600),
                "it costs the instance nothing"
            );
        }
    }
    let to = |refusal, whose, answering| {
        after(&Standing { whose, answering, ..standing(State::Leased, 0) }, &refused(refusal, None), &patience, 7).to
    };
    assert_eq!(to(Scarce, Whose::Destination, true), State::Deferred);
    assert_eq!(to(Forbidden, Whose::Destination, true), State::Parked);
    assert_eq!(to(Forbidden, Whose::Nobody, true), State::Deferred, "the destination takes what else there is");
    assert_eq!(to(Forbidden, Whose::Nobody, false), State::Parked);
}

/// REL-21, REL-24: a refusal that may be meant of the whole destination is the instance's only if that took something besides.
#[test]
fn whose_a_refusal_is_shows_by_what_else_was_taken() {
    let rows = [
        (None, 0, false, false, Whose::Destination),
        (None, 9, false, false, Whose::Destination),
        (None, 9, true, false, Whose::Instance),
        (Some(8), 9, false, false, Whose::Instance),
        (Some(8), 9, false, true, Whose::Instance),
        (Some(9), 9, false, false, Whose::Destination),
        (Some(9), 9, false, true, Whose::Nobody),
        (Some(9), 9, true, true, Whose::Instance),
        (None, 9, false, true, Whose::Nobody),
    ];
    for (before, taken, took, alone_again, want) in rows {
        assert_eq!(
            Refused { before, taken, took, alone_again }.whose(),
            want,
            "{before:?} {taken} {took} {alone_again}"
        );
    }
}
