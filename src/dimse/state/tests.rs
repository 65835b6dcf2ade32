//! Table 9-10 of PS3.8 as printed, against the function: every pair of state and event.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

/// One row an event, one column a state: action and next state; `-` is a blank cell.
const TABLE_9_10: &str = "
Evt1   AE-1>4 -       -       -      -       -       -       -       -       -       -       -       -
Evt2   -      -       -       AE-2>5 -       -       -       -       -       -       -       -       -
Evt3   -      AA-1>13 AA-8>13 -      AE-3>6  AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-6>13
Evt4   -      AA-1>13 AA-8>13 -      AE-4>1  AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-6>13
Evt5   AE-5>2 -       -       -      -       -       -       -       -       -       -       -       -
Evt6   -      AE-6>3  AA-8>13 -      AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-7>13
Evt7   -      -       AE-7>6  -      -       -       -       -       -       -       -       -       -
Evt8   -      -       AE-8>13 -      -       -       -       -       -       -       -       -       -
Evt9   -      -       -       -      -       DT-1>6  -       AR-7>8  -       -       -       -       -
Evt10  -      AA-1>13 AA-8>13 -      AA-8>13 DT-2>6  AR-6>7  AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-6>13
Evt11  -      -       -       -      -       AR-1>7  -       -       -       -       -       -       -
Evt12  -      AA-1>13 AA-8>13 -      AA-8>13 AR-2>8  AR-8>9  AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-6>13
Evt13  -      AA-1>13 AA-8>13 -      AA-8>13 AA-8>13 AR-3>1  AA-8>13 AA-8>13 AR-10>12 AR-3>1 AA-8>13 AA-6>13
Evt14  -      -       -       -      -       -       -       AR-4>13 AR-9>11 -       -       AR-4>13 -
Evt15  -      -       AA-1>13 AA-2>1 AA-1>13 AA-1>13 AA-1>13 AA-1>13 AA-1>13 AA-1>13 AA-1>13 AA-1>13 -
Evt16  -      AA-2>1  AA-3>1  -      AA-3>1  AA-3>1  AA-3>1  AA-3>1  AA-3>1  AA-3>1  AA-3>1  AA-3>1  AA-2>1
Evt17  -      AA-5>1  AA-4>1  AA-4>1 AA-4>1  AA-4>1  AA-4>1  AA-4>1  AA-4>1  AA-4>1  AA-4>1  AA-4>1  AR-5>1
Evt18  -      AA-2>1  -       -      -       -       -       -       -       -       -       -       AA-2>1
Evt19  -      AA-1>13 AA-8>13 -      AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-8>13 AA-7>13
";

const STATES: [State; 13] = {
    use State::*;
    [Sta1, Sta2, Sta3, Sta4, Sta5, Sta6, Sta7, Sta8, Sta9, Sta10, Sta11, Sta12, Sta13]
};

const EVENTS: [Event; 19] = [
    Event::AssociateRequest,
    Event::Connected,
    Event::AcceptPdu,
    Event::RejectPdu,
    Event::Incoming,
    Event::RequestPdu,
    Event::Accept,
    Event::Reject,
    Event::Data,
    Event::DataPdu,
    Event::Release,
    Event::ReleaseRequestPdu,
    Event::ReleaseReplyPdu,
    Event::ReleaseAnswer,
    Event::Abort,
    Event::AbortPdu,
    Event::Closed,
    Event::ArtimExpired,
    Event::InvalidPdu,
];

fn cell(found: Option<(Action, State)>) -> String {
    match found {
        None => "-".to_owned(),
        Some((action, state)) => {
            let name = format!("{action:?}");
            let (family, number) = name.split_at(2);
            format!("{}-{number}>{}", family.to_uppercase(), state as u8)
        }
    }
}

#[test]
fn every_pair_of_state_and_event_is_as_table_9_10_says() {
    let rows: Vec<Vec<&str>> =
        TABLE_9_10.lines().filter(|l| !l.is_empty()).map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), EVENTS.len());
    for (row, event) in rows.iter().zip(EVENTS) {
        assert_eq!(row[0], format!("Evt{}", event as u8));
        assert_eq!(row.len(), 1 + STATES.len(), "{}", row[0]);
        for (want, state) in row[1..].iter().zip(STATES) {
            assert_eq!(cell(transition(state, event, Role::Requestor)), *want, "{event:?} in {state:?}");
            let want = if (event, state) == (Event::ReleaseRequestPdu, State::Sta7) { "AR-8>10" } else { want };
            assert_eq!(cell(transition(state, event, Role::Acceptor)), want, "{event:?} in {state:?}, acceptor");
        }
    }
}

#[test]
fn pdu_types_are_events() {
    let types: Vec<Event> = (0..=8).map(Event::of_pdu).collect();
    assert_eq!(types[0], Event::InvalidPdu);
    assert_eq!(types[1], Event::RequestPdu);
    assert_eq!(types[7], Event::AbortPdu);
    assert_eq!(types[8], Event::InvalidPdu);
}
