//! One row, one test: what each answer of a destination comes to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::type_complexity)]

use super::*;
use crate::dicomweb::stow::{Failed, Referenced};
use crate::ledger::transfer::State;

const A: &str = "1.2.3.1";
const B: &str = "1.2.3.2";

fn items(uids: &[&str]) -> Vec<Item> {
    uids.iter().enumerate().map(|(n, uid)| (TransferId(n as i64 + 1), InstanceUid::parse(uid).unwrap())).collect()
}

fn module(stored: &[&str], failed: &[(&str, u16)]) -> StoreResponse {
    StoreResponse {
        referenced: stored
            .iter()
            .map(|uid| Referenced {
                sop_class: None,
                sop_instance: InstanceUid::parse(uid).unwrap(),
                retrieve_url: None,
                warning_reason: None,
            })
            .collect(),
        failed: failed
            .iter()
            .map(|(uid, reason)| Failed {
                sop_class: None,
                sop_instance: InstanceUid::parse(uid).unwrap(),
                failure_reason: *reason,
            })
            .collect(),
        ..StoreResponse::default()
    }
}

fn answer(status: u16, module: Option<StoreResponse>) -> Answer {
    Answer { status, module, remark: String::new(), retry_after: None }
}

/// The state to which an outcome leads at once.
fn state(outcome: &Outcome) -> State {
    match outcome {
        Outcome::Accepted { .. } => State::Accepted,
        Outcome::Verified { .. } => State::Verified,
        Outcome::Unknown { .. } => State::Unknown,
        Outcome::Absent { .. } => State::Pending,
        Outcome::Deferred { .. } => State::Deferred,
        Outcome::Parked { .. } => State::Parked,
        Outcome::Held { .. } => State::Held,
        Outcome::Dead { .. } => State::Dead,
    }
}

/// Status, module, and the states that two instances A and B come to; then whether the destination is left alone.
#[test]
fn each_answer_to_stow_is_judged_by_name() {
    use State::{Accepted, Dead, Deferred, Parked, Unknown};
    let both = || module(&[A, B], &[]);
    let rows: Vec<(&str, u16, Option<StoreResponse>, [State; 2], bool)> = vec![
        ("WEB-041", 200, Some(both()), [Accepted, Accepted], false),
        ("WEB-042", 200, Some(module(&[A], &[(B, 0xC000)])), [Accepted, Dead], false),
        ("WEB-043", 200, None, [Unknown, Unknown], false),
        ("WEB-043", 204, None, [Unknown, Unknown], false),
        ("WEB-044", 202, Some(module(&[A], &[(B, 0xA700)])), [Accepted, Deferred], false),
        ("WEB-044, no module", 202, None, [Unknown, Unknown], false),
        ("WEB-046", 206, Some(module(&[A], &[])), [Accepted, Unknown], false),
        ("WEB-040, empty module", 200, Some(module(&[], &[])), [Unknown, Unknown], false),
        ("FLT-051", 200, Some(module(&[A], &[])), [Accepted, Unknown], false),
        ("FLT-055, stranger", 200, Some(module(&[A, B, "9.9"], &[])), [Accepted, Accepted], false),
        ("FLT-055, both lists", 200, Some(module(&[A, B], &[(B, 0xC000)])), [Accepted, Dead], false),
        ("WEB-047", 302, None, [Parked, Parked], true),
        ("WEB-049", 401, None, [Parked, Parked], true),
        ("WEB-050", 403, None, [Parked, Parked], true),
        ("WEB-050", 407, None, [Parked, Parked], true),
        ("WEB-051", 404, None, [Parked, Parked], true),
        ("WEB-051", 405, None, [Parked, Parked], true),
        ("WEB-052", 406, None, [Unknown, Unknown], false),
        ("WEB-053", 408, None, [Deferred, Deferred], true),
        ("WEB-053", 425, None, [Deferred, Deferred], true),
        ("WEB-054", 409, Some(module(&[], &[(A, 0xC010), (B, 0x0110)])), [Dead, Deferred], false),
        ("WEB-055", 409, None, [Unknown, Unknown], false),
        ("WEB-056", 411, None, [Parked, Parked], true),
        ("WEB-058", 415, None, [Dead, Dead], false),
        ("WEB-059", 417, None, [Deferred, Deferred], true),
        ("WEB-060", 422, None, [Unknown, Unknown], false),
        ("WEB-061", 429, None, [Deferred, Deferred], true),
        ("WEB-062", 500, None, [Unknown, Unknown], true),
        ("WEB-062", 502, None, [Unknown, Unknown], true),
        ("WEB-062", 504, None, [Unknown, Unknown], true),
        ("WEB-063", 501, None, [Dead, Dead], false),
        ("WEB-064", 503, None, [Deferred, Deferred], true),
        ("WEB-065", 507, None, [Deferred, Deferred], true),
        ("unheard of", 299, None, [Unknown, Unknown], false),
        ("unheard of", 599, None, [Unknown, Unknown], true),
    ];
    for (row, status, module, want, pauses) in rows {
        let Verdict::Settle(report) = stow(&answer(status, module), &items(&[A, B])) else {
            panic!("{row}: {status} is not to be split")
        };
        let states: Vec<State> = report.outcomes.iter().map(|(_, outcome)| state(outcome)).collect();
        assert_eq!(states, want, "{row}: {status}");
        assert_eq!(report.unusable, pauses, "{row}: {status}");
    }
}

#[test]
fn a_request_refused_as_a_whole_is_split_until_one_instance_is_left() {
    for status in [400, 413] {
        assert!(matches!(stow(&answer(status, None), &items(&[A, B])), Verdict::Split(_)), "{status}");
        let Verdict::Settle(report) = stow(&answer(status, None), &items(&[A])) else {
            panic!("{status}: one is left")
        };
        assert_eq!(state(&report.outcomes[0].1), State::Dead, "{status}");
    }
}

#[test]
fn retry_after_is_carried_to_the_lane_and_charged_to_nobody() {
    let wait = Duration::from_secs(7);
    let answer = Answer { retry_after: Some(wait), ..answer(503, None) };
    let Verdict::Settle(report) = stow(&answer, &items(&[A])) else { panic!("not to be split") };
    assert!(report.unusable);
    assert!(
        matches!(&report.outcomes[0].1, Outcome::Deferred { charge: Charge::Destination, after: Some(w), .. } if *w == wait)
    );
}

#[test]
fn each_failure_reason_has_its_meaning() {
    use State::{Dead, Deferred, Parked, Unknown};
    let rows = [
        (0xA700, Deferred),
        (0xA7FF, Deferred),
        (0xA900, Dead),
        (0xA901, Dead),
        (0xC000, Dead),
        (0xC010, Dead),
        (0xC122, Dead),
        (0x0110, Deferred),
        (0x0122, Dead),
        (0x0124, Parked),
        (0x0117, Dead),
        (0xB00E, Unknown),
        (0xB00F, Deferred),
        (0x1234, Deferred),
    ];
    for (reason, want) in rows {
        assert_eq!(state(&failure_reason(reason, "HTTP 202", None)), want, "{reason:04X}");
    }
}

#[test]
fn each_status_of_c_store_has_its_meaning() {
    use State::{Accepted, Dead, Deferred, Parked};
    let rows = [
        (0x0000, Accepted),
        (0x0001, Accepted),
        (0xB000, Accepted),
        (0xB006, Accepted),
        (0xB007, Accepted),
        (0x0107, Accepted),
        (0x0116, Accepted),
        (0xA700, Deferred),
        (0xA701, Deferred),
        (0xA900, Dead),
        (0xC000, Dead),
        (0xC5FE, Dead),
        (0x0110, Deferred),
        (0x0117, Dead),
        (0x0122, Dead),
        (0x0124, Parked),
        (0x0210, Deferred),
        (0x0111, Dead),
        (0xFFFF, Deferred),
    ];
    for (status, want) in rows {
        assert_eq!(state(&c_store(status, "")), want, "{status:04X}");
    }
}
