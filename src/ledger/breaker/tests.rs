//! Tests of the circuit breaker.

use super::*;
use Refusal::{Forbidden, Instance, Scarce};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn deferred(charge: Charge, after: Option<u64>) -> Outcome {
    Outcome::Deferred { why: String::new(), charge, after: after.map(Duration::from_secs) }
}

#[test]
fn outcomes_are_summed_up() {
    let accepted = || Outcome::Accepted { evidence: String::new() };
    let unknown = || Outcome::Unknown { why: String::new() };
    let claimed = || Outcome::Claimed { why: String::new() };
    let dead = || Outcome::Dead { why: String::new() };
    let parked = || Outcome::Parked { why: String::new() };
    let refused = |refusal| Outcome::Refused {
        why: String::new(),
        after: Some(Duration::from_secs(3)).filter(|_| refusal == Scarce),
        refusal,
    };
    let unsupported = |said| Outcome::Unsupported { why: String::new(), said };
    let silent = |after: Option<u64>, progress| Showing::Silent { after: after.map(Duration::from_secs), progress };
    let rows = [
        (vec![], None),
        (vec![deferred(Charge::Us, None)], None),
        (vec![accepted()], Some(Showing::Answered)),
        (vec![dead()], Some(Showing::Answered)),
        (vec![deferred(Charge::Instance, None)], Some(Showing::Answered)),
        (vec![refused(Scarce), refused(Instance)], Some(Showing::Answered)),
        (vec![refused(Scarce), accepted()], Some(Showing::Answered)),
        (vec![refused(Scarce), unknown()], Some(silent(Some(3), false))),
        (vec![refused(Forbidden)], Some(Showing::Refused)),
        (vec![refused(Forbidden), refused(Scarce), refused(Instance), dead()], Some(Showing::Refused)),
        (vec![refused(Forbidden), accepted()], Some(Showing::Answered)),
        (vec![accepted(), refused(Forbidden), refused(Scarce)], Some(Showing::Answered)),
        (vec![unsupported(true)], Some(Showing::Answered)),
        (vec![unsupported(false)], None),
        (vec![unknown()], Some(Showing::Doubtful)),
        (vec![claimed()], Some(Showing::Answered)),
        (vec![unknown(), accepted()], Some(Showing::Answered)),
        (vec![deferred(Charge::Destination, None)], Some(silent(None, false))),
        (
            vec![deferred(Charge::Destination, Some(9)), deferred(Charge::Destination, Some(20))],
            Some(silent(Some(20), false)),
        ),
        (vec![accepted(), deferred(Charge::Destination, None)], Some(silent(None, true))),
        (vec![accepted(), parked(), deferred(Charge::Destination, None)], Some(Showing::Refused)),
    ];
    for (outcomes, want) in rows {
        let sent = outcomes.iter().map(|outcome| (State::Leased, outcome));
        assert_eq!(showing(sent), want, "{outcomes:?}");
    }
}

/// Of whether a destination takes what it is sent, a question says nothing, with an answer or without: but that it has what nobody knew
/// of (WEB-062).
#[test]
fn questions_tell_of_asking_only() {
    let unknown = || Outcome::Unknown { why: String::new() };
    let claimed = || Outcome::Claimed { why: String::new() };
    let absent = || Outcome::Absent { why: String::new() };
    let verified = || Outcome::Verified { evidence: String::new() };
    let dead = || Outcome::Dead { why: String::new() };
    let rows = [
        (vec![(State::Unknown, unknown()), (State::Unknown, claimed())], None),
        (vec![(State::Unknown, absent()), (State::Unknown, unknown())], None),
        (vec![(State::Accepted, absent())], None),
        (vec![(State::Accepted, verified())], None),
        (vec![(State::Unknown, dead())], None),
        (vec![(State::Unknown, absent()), (State::Unknown, verified())], Some(Showing::Answered)),
    ];
    for (outcomes, want) in rows {
        assert_eq!(showing(outcomes.iter().map(|(state, outcome)| (*state, outcome))), want, "{outcomes:?}");
    }
    let not = |seconds: Option<u64>| Asking::Not { why: String::new(), after: seconds.map(Duration::from_secs) };
    let answered = || Some(Asking::Answered);
    assert_eq!(Asking::and(None, answered()), answered());
    assert_eq!(Asking::and(answered(), None), answered());
    assert_eq!(Asking::and(answered(), Some(not(None))), Some(not(None)));
    assert_eq!(Asking::and(Some(not(Some(9))), answered()), Some(not(Some(9))));
    assert_eq!(Asking::and(Some(not(None)), Some(not(Some(9)))), Some(not(Some(9))));
    assert_eq!(not(Some(9)).showing(), Showing::Silent { after: Some(Duration::from_secs(9)), progress: false });
}

#[test]
fn an_outage_is_probed_with_growing_waits_then_every_five_minutes() {
    let probing = Probing::default();
    let silent = Showing::Silent { after: None, progress: false };
    let mut breaker = Breaker::NEW;
    let mut now = at(1000);
    for round in 0..200u32 {
        breaker = breaker.after(silent, now, &probing, u64::from(round));
        assert_eq!((breaker.reach, breaker.since, breaker.failures), (Reach::Down, Some(at(1000)), round + 1));
        let wait = breaker.not_before.unwrap().duration_since(now).unwrap();
        assert!(wait <= probing.backoff.ceiling(round), "round {round}: {wait:?}");
        if now >= at(1000 + 3600) {
            assert_eq!(wait, Duration::from_secs(300));
        }
        now += wait;
    }
    let up = breaker.after(Showing::Answered, now, &probing, 0);
    assert_eq!(up, Breaker { reach: Reach::Up, since: Some(now), failures: 0, not_before: None });
}

#[test]
fn a_destination_may_ask_for_an_hour_at_most() {
    let ask = |seconds| Showing::Silent { after: Some(Duration::from_secs(seconds)), progress: false };
    let probing = Probing::default();
    assert_eq!(Breaker::NEW.after(ask(120), at(0), &probing, 0).not_before, Some(at(120)));
    assert_eq!(Breaker::NEW.after(ask(1_000_000_000), at(0), &probing, 0).not_before, Some(at(3600)));
}

/// WEB-061: what was begun before a wait was asked for, and ends while it runs, neither ends nor shortens it.
#[test]
fn a_wait_that_was_asked_for_outlasts_what_was_begun_before_it() {
    let probing = Probing::default();
    let asked = Breaker::NEW.after(
        Showing::Silent { after: Some(Duration::from_secs(600)), progress: false },
        at(1000),
        &probing,
        0,
    );
    let silent = |after: Option<u64>| Showing::Silent { after: after.map(Duration::from_secs), progress: true };
    // What ended, when, and whether the destination is left alone until 1600 s or a later time.
    let rows = [
        (Showing::Answered, 1001, Some(1600)),
        (Showing::Answered, 1599, Some(1600)),
        (Showing::Answered, 1600, None),
        (silent(None), 1001, Some(1600)),
        (silent(Some(5)), 1001, Some(1600)),
        (silent(Some(900)), 1001, Some(1901)),
        (Showing::Doubtful, 1001, Some(1600)),
        (Showing::Refused, 1001, Some(1600)),
        (Showing::Refused, 1599, Some(1899)),
    ];
    for (showing, now, until) in rows {
        let breaker = asked.after(showing, at(now), &probing, 0);
        assert_eq!(breaker.not_before, until.map(at), "{showing:?} at {now}");
        assert_eq!(breaker.reach == Reach::Up, until.is_none(), "{showing:?} at {now}");
    }
}

#[test]
fn doubt_alone_is_an_outage_only_when_it_repeats() {
    let probing = Probing::default();
    let one = Breaker::NEW.after(Showing::Doubtful, at(0), &probing, 1);
    let two = one.after(Showing::Doubtful, at(1), &probing, 1);
    assert_eq!((one.reach, two.reach, two.not_before), (Reach::Up, Reach::Up, None));
    assert_eq!(two.after(Showing::Doubtful, at(2), &probing, 1).reach, Reach::Down);
    assert_eq!(two.after(Showing::Answered, at(2), &probing, 1).failures, 0);
}

#[test]
fn a_refusal_parks_and_is_probed_every_five_minutes() {
    let parked = Breaker::NEW.after(Showing::Refused, at(50), &Probing::default(), 3);
    assert_eq!((parked.reach, parked.not_before), (Reach::Parked, Some(at(350))));
    let later = parked.after(Showing::Refused, at(360), &Probing::default(), 3);
    assert_eq!((later.since, later.not_before), (Some(at(50)), Some(at(660))));
}
