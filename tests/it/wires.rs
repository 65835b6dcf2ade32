//! The wire between two sites fails at any byte of a request and of its answer: nothing is lost, torn, believed wrongly, or
//! sent twice without need (REL-33, WEB-040, WEB-066, WEB-067).

use crate::support::files::{data_set, digest, names};
use crate::support::gateway::Gateway;
use crate::support::key_holder::KeyHolder;
use crate::support::ledger;
use crate::support::load::send_one;
use crate::support::one_fault::{Fault, Harm, OneFault};
use crate::support::proxy::Proxy;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::seconds;
use std::collections::BTreeSet;

const PIXELS: u32 = 600;

/// Short waits, so that a fault costs little, and a stalled request is given up soon.
const HASTY: &str = "[courier]\nretry_first = \"50ms\"\nretry_longest = \"200ms\"\noutage_probe = \"200ms\"\n\
                     progress_time = \"2s\"\n\n[timers]\ntls_handshake = \"2s\"\nresponse = \"2s\"";

/// A and B with something between them at this port.
fn sites(stage: &Stage, settings: &str, between: impl FnOnce(u16) -> u16) -> (Gateway, Gateway) {
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let url = format!("https://127.0.0.1:{}/dicom-web", between(b.config.web_port));
    let a = Gateway::start(&stage.path().join("a"), stage.site_a(&url).with(settings));
    (a, b)
}

/// The faults of one run: every byte by `WEYBRIDGE_WIRES=all`, else a sample; and a few of those that take long.
fn faults((up, down): (u64, u64)) -> Vec<Fault> {
    let all = std::env::var("WEYBRIDGE_WIRES").is_ok_and(|wanted| wanted == "all");
    let spread = |most: u64, count: u64| (0..count).map(move |n| n * most / count);
    let mut faults = Vec::new();
    for (up, most) in [(true, up), (false, down)] {
        let count = if all { most } else { 16 };
        faults.extend(spread(most, count).map(|at| Fault { up, at, harm: Harm::Cut }));
        for (harm, few) in [(Harm::HalfClose, 4), (Harm::Trickle, 2), (Harm::Stall, 3)] {
            let count = if all { few * 20 } else { few };
            faults.extend(spread(most, count).map(|at| Fault { up, at, harm }));
        }
    }
    faults
}

/// What B has of what A acknowledged.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wrong {
    lost: Vec<u64>,
    torn: Vec<u64>,
    believed: Vec<u64>,
    twice: Vec<u64>,
}

impl Wrong {
    /// All that is wrong after instances of these numbers, each in a study of its own, were sent.
    fn of(a: &Gateway, b: &Gateway, story: u64, numbers: std::ops::Range<u64>) -> Self {
        let (absent, arrivals) = (ledger::found_absent(a, "b"), ledger::arrivals(b));
        let mut wrong = Self::default();
        for number in numbers {
            let names = names(story, number, number);
            let sent = digest(&data_set(&names, PIXELS, story << 40 | number));
            let at = |site: &Gateway| {
                let rows = if site.holds(&names.study) > 0 { site.study(&names.study) } else { Vec::new() };
                rows.into_iter().find(|row| row["sop_instance_uid"] == names.instance.as_str())
            };
            let (here, there) = (at(a), at(b));
            let verified = here.as_ref().is_some_and(|row| row["transfers"][0]["state"] == "verified");
            match (&here, &there) {
                (Some(here), Some(there)) => {
                    if here["sha256"] != sent.as_str() || there["sha256"] != sent.as_str() {
                        wrong.torn.push(number);
                    }
                }
                (Some(_), None) if verified => wrong.believed.push(number),
                _ => wrong.lost.push(number),
            }
            let times = arrivals.get(&names.instance).copied().unwrap_or(0);
            if times > 1 && !absent.contains(&names.instance) {
                wrong.twice.push(number);
            }
        }
        wrong
    }
}

#[test]
fn a_wire_that_fails_at_any_byte_loses_and_invents_nothing() {
    const STORY: u64 = 701;
    let stage = Stage::new();
    let mut middle = None;
    let (a, b) = sites(&stage, HASTY, |port| middle.insert(OneFault::to(port)).port);
    let middle = middle.unwrap();
    send_one(STORY, 0, PIXELS, a.config.dicom_port, "WB_A");
    a.all_become("b", "verified", 1, seconds(30));
    let most = middle.most();
    let faults = faults(most);
    let mut missed = BTreeSet::new();
    for (number, fault) in (1..).zip(&faults) {
        let before = middle.fired();
        middle.meet(Some(*fault));
        send_one(STORY, number, PIXELS, a.config.dicom_port, "WB_A");
        a.all_become("b", "verified", number + 1, seconds(60));
        if middle.fired() == before {
            missed.insert((fault.up, fault.at));
        }
    }
    middle.meet(None);
    let count = faults.len() as u64;
    let wrong = Wrong::of(&a, &b, STORY, 0..count + 1);
    println!(
        "summary: {} faults fired of {count} at bytes of {} up and {} down; {} acknowledged; {} lost; {} torn; {} falsely \
         verified; {} needlessly sent twice",
        middle.fired(),
        most.0,
        most.1,
        count + 1,
        wrong.lost.len(),
        wrong.torn.len(),
        wrong.believed.len(),
        wrong.twice.len()
    );
    assert_eq!(wrong, Wrong::default());
    // A connection carries a little more or less each time, so that the last bytes may not be reached.
    assert!(middle.fired() >= count * 9 / 10, "the faults fire: {missed:?}");
    a.verify_ledger(true);
    b.verify_ledger(true);
}

#[test]
fn a_narrow_wire_carries_a_request_at_its_own_pace_and_once() {
    const STORY: u64 = 702;
    let stage = Stage::new();
    let mut proxy = None;
    let (a, b) = sites(&stage, "", |port| {
        let narrow = Proxy::to(port);
        narrow.throttle(64 << 10);
        proxy.insert(narrow).port
    });
    let began = std::time::Instant::now();
    send_one(STORY, 0, 300_000, a.config.dicom_port, "WB_A");
    a.all_become("b", "verified", 1, seconds(60));
    assert!(began.elapsed() >= seconds(4), "the wire was narrow");
    let names = names(STORY, 0, 0);
    let row = &a.study(&names.study)[0];
    assert_eq!(row["transfers"][0]["attempts"], 1, "it went through at the first try: {row}");
    assert_eq!(ledger::arrivals(&b).get(&names.instance), Some(&1));
}

/// What `present` proves and what it does not (INV-04; docs/assurance.md): a byte that changes where TLS ends is not seen by it,
/// and is seen by whoever compares the digests.
#[test]
fn a_byte_changed_by_a_holder_of_the_keys_is_shown_by_the_digests_alone() {
    const STORY: u64 = 703;
    let stage = Stage::new();
    let (caller, callee) = (stage.identity_of_a(), stage.authority.issue(B_IDENTITY));
    let mut holder = None;
    // Well within the pixels.
    let (a, b) = sites(&stage, "", |port| holder.insert(KeyHolder::between(&caller, &callee, port, 30_000)).port);
    send_one(STORY, 0, 60_000, a.config.dicom_port, "WB_A");
    a.all_become("b", "verified", 1, seconds(60));
    assert_eq!(holder.unwrap().changed(), 1, "a byte was changed");
    let names = names(STORY, 0, 0);
    let (here, there) = (&a.study(&names.study)[0], &b.study(&names.study)[0]);
    assert_eq!(here["sop_instance_uid"], there["sop_instance_uid"]);
    assert_eq!(here["sha256"], digest(&data_set(&names, 60_000, STORY << 40)).as_str(), "ours is what was sent");
    assert_ne!(here["sha256"], there["sha256"], "the digests tell");
    let evidence = here["transfers"][0]["evidence"].as_str().unwrap();
    assert!(evidence.contains("shown by QIDO-RS") && !evidence.contains("same"), "no more is claimed: {evidence}");
}
