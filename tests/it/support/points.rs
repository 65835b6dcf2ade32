//! The named points of the fault matrix at which the gateway is killed, and what the row of each demands.

use super::calls::{OPEN, Plan, SYNC, WRITE};
use super::ordeal::{Day, Ordeal};
use super::scripted_peer::Seen;
use serde_json::Value;

const WAL: &str = "records.db-wal";
/// What is said to a node or a peer, and what is heard.
const SAY: &str = "sendto,writev,write";
const HEAR: &str = "recvfrom";
/// The sockets of the node that sends, and of B.
const NODE: &str = "socket:node";
const PEER: &str = "socket:peer";

/// What the row of a fault says of what is there when it was killed, and of what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The ledger knows what was acknowledged, and nothing else.
    NotTaken,
    /// The ledger knows one instance, and nobody was told: it is delivered all the same, and its repetition is a duplicate.
    TakenUntold,
    /// It was acknowledged.
    Told,
    /// An attempt was begun, and B knows nothing of it.
    Leased,
    /// B has not heard the whole request.
    UnderWay,
    /// B holds it, and the attempt has no end.
    Answered,
    /// It is accepted, and not verified.
    Accepted,
    /// What was acknowledged is there, as it must be after each.
    Housekeeping,
}

/// A point: the kill comes before the last of these calls, each the first of its kind after the one before.
pub struct Point {
    pub fault: &'static str,
    pub day: Day,
    pub found: Found,
    steps: &'static [(&'static str, &'static str)],
}

const fn point(fault: &'static str, found: Found, steps: &'static [(&'static str, &'static str)]) -> Point {
    let day = match found {
        Found::NotTaken | Found::TakenUntold | Found::Told => Day::Arrivals,
        Found::Leased | Found::UnderWay | Found::Answered | Found::Accepted => Day::Outward,
        Found::Housekeeping => Day::Housekeeping,
    };
    Point { fault, day, found, steps }
}

/// On the way out: TLS is said, heard and said again, then the head of the request, and its body in pieces of 64 KiB. What is heard next
/// is the answer, and then the question whether it is there.
pub const POINTS: &[Point] = &[
    point("FLT-001 before the first byte", Found::NotTaken, &[(OPEN, ".seg")]),
    point("FLT-002 within an instance", Found::NotTaken, &[(WRITE, ".obj"), (WRITE, ".obj")]),
    point("FLT-003 before the sync", Found::NotTaken, &[(WRITE, ".seg"), (SYNC, ".seg")]),
    point("FLT-004 before the sync of the directory", Found::NotTaken, &[(SYNC, ".obj"), (SYNC, "blobs")]),
    point("FLT-005 before the commit", Found::NotTaken, &[(WRITE, ".seg"), (SYNC, ".seg"), (WRITE, WAL)]),
    point(
        "FLT-006 before the answer",
        Found::TakenUntold,
        &[(WRITE, ".seg"), (SYNC, ".seg"), (SYNC, WAL), (SAY, NODE)],
    ),
    point("FLT-007 after the answer", Found::Told, &[(WRITE, ".seg"), (SYNC, WAL), (SAY, NODE), (HEAR, NODE)]),
    point("FLT-008 before connecting", Found::Leased, &[("connect", PEER)]),
    point(
        "FLT-009 within a request",
        Found::UnderWay,
        &[("connect", PEER), (SAY, PEER), (HEAR, PEER), (SAY, PEER), (SAY, PEER), (SAY, PEER), (SAY, PEER)],
    ),
    point(
        "FLT-010 before the answer is entered",
        Found::Answered,
        &[("connect", PEER), (SAY, PEER), (HEAR, PEER), (SAY, PEER), (HEAR, PEER), (WRITE, WAL)],
    ),
    point(
        "FLT-011 before the check",
        Found::Accepted,
        // B answers the first question by 503.
        &[
            ("connect", PEER),
            (SAY, PEER),
            (HEAR, PEER),
            (SAY, PEER),
            (HEAR, PEER),
            (SAY, PEER),
            (HEAR, PEER),
            (SYNC, WAL),
            (SAY, PEER),
        ],
    ),
    point("FLT-012 before a file is removed", Found::Housekeeping, &[("unlink", ".obj")]),
    point("FLT-012 after it", Found::Housekeeping, &[("unlink", ".obj"), (WRITE, WAL)]),
    point("FLT-014 before a segment is removed", Found::Housekeeping, &[("unlink", ".seg")]),
    point("FLT-014 after it", Found::Housekeeping, &[("unlink", ".seg"), (SYNC, "blobs")]),
];

impl Point {
    /// The plan that meets it, by the ports of the gateway and of B.
    pub fn plan(&self, (node, peer): (u16, u16)) -> Plan {
        let chain = |link: fn(&(&str, &str)) -> String| self.steps.iter().map(link).collect::<Vec<_>>().join(">");
        let part = chain(|step| step.1.to_owned());
        let part = part.replace(NODE, &format!("socket:at-{node}:")).replace(PEER, &format!(":to-{peer}:"));
        Plan { effect: "KILL", nth: 1, calls: chain(|step| step.0.to_owned()), part }
    }

    /// Looks at what the kill has left, before anything is started again.
    pub fn when_killed(&self, ordeal: &mut Ordeal) {
        let (acknowledged, entries) = (ordeal.acknowledged(), ordeal.entries());
        let taken = of_kind(&entries, "received").count();
        let (requests, queries) = ordeal.b().seen();
        let held = ordeal.b().held();
        let what = format!(
            "{}: {acknowledged} acknowledged; {taken} taken; B was sent {requests}, asked {queries}",
            self.fault
        );
        match self.found {
            Found::NotTaken => assert_eq!(taken, acknowledged, "{what}"),
            Found::TakenUntold => {
                assert_eq!((acknowledged, taken), (0, 1), "{what}");
                ordeal.delivers_by_itself(1);
            }
            Found::Told => assert!(acknowledged >= 1, "{what}"),
            Found::Leased => assert_eq!((requests, queries), (0, 0), "{what}"),
            Found::UnderWay => assert_eq!((requests, held), (0, 0), "{what}"),
            Found::Answered => assert_eq!((requests, held), (1, 1), "{what}"),
            Found::Accepted => assert_eq!((requests, held, queries), (1, 1, 0), "{what}"),
            Found::Housekeeping => {}
        }
    }

    /// Looks at what the ledger and B tell of what came of it.
    pub fn afterwards(&self, ordeal: &Ordeal) {
        let entries = ordeal.entries();
        let second = entries.iter().enumerate().filter(|(_, entry)| entry["kind"] == "opened").nth(1).unwrap().0;
        let (before, after) = entries.split_at(second);
        let log = ordeal.b().log();
        let sent = log.iter().filter(|seen| matches!(seen, Seen::Sent { .. })).count();
        match self.found {
            Found::TakenUntold => {
                let again = of_kind(after, "received").filter(|entry| entry["facts"]["how"] == "same").count();
                assert_eq!(again, 1, "{}: the repetition is a duplicate", self.fault);
            }
            Found::Leased | Found::UnderWay | Found::Answered => {
                is_asked_before_it_is_sent(self.fault, before, after);
                let stored = self.found == Found::Answered;
                assert_eq!(sent, 1, "{}: {log:?}", self.fault);
                assert!(stored || matches!(log[0], Seen::Asked(_)), "{}: {log:?}", self.fault);
            }
            Found::Accepted => {
                let accepted = of_kind(before, "outcome").any(|entry| steps(entry, "accepted").next().is_some());
                let verified = of_kind(after, "outcome").any(|entry| steps(entry, "verified").next().is_some());
                let checks = of_kind(after, "attempt").all(|entry| entry["facts"]["check"].is_array());
                assert!(accepted && verified && checks && sent == 1, "{}: {entries:#?}", self.fault);
            }
            Found::NotTaken | Found::Told | Found::Housekeeping => {}
        }
    }
}

/// FLT-008 to FLT-010: the last attempt before the kill was interrupted, what it was to send is unknown, and was asked about first.
fn is_asked_before_it_is_sent(fault: &str, before: &[Value], after: &[Value]) {
    let attempt = of_kind(before, "attempt").last().expect("an attempt was begun");
    let number = &attempt["facts"]["attempt"];
    let leased: Vec<&Value> = steps(attempt, "leased").collect();
    assert!(!leased.is_empty(), "{fault}: it was to be sent: {attempt}");
    assert!(of_kind(before, "outcome").all(|entry| entry["facts"]["attempt"] != *number), "{fault}: it has no end");
    let ended = of_kind(after, "interrupted").find(|entry| entry["facts"]["attempt"] == *number);
    let unknown: Vec<&Value> = ended.map(|entry| steps(entry, "unknown").collect()).unwrap_or_default();
    assert_eq!(leased, unknown, "{fault}: it is unknown");
    let next = of_kind(after, "attempt").next().expect("it is gone on with");
    let asked = next["facts"]["check"].as_array().unwrap_or_else(|| panic!("{fault}: it was sent unasked: {next}"));
    assert!(leased.iter().all(|transfer| asked.contains(transfer)), "{fault}: {next}");
}

fn of_kind<'a>(entries: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    entries.iter().filter(move |entry| entry["kind"] == kind)
}

/// The transfers that an entry brings to a state.
fn steps<'a>(entry: &'a Value, to: &str) -> impl Iterator<Item = &'a Value> {
    let all = entry["facts"]["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mine = all.iter().filter(move |step| step["to"] == to);
    mine.flat_map(|step| step["transfers"].as_array().map(Vec::as_slice).unwrap_or_default())
}
