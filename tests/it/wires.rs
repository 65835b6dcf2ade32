//! The wire between two sites fails at any byte of a request and of its answer: nothing is lost, torn, believed wrongly, or
//! sent twice without need (REL-33, WEB-040, WEB-066, WEB-067).

use crate::support::files::{Names, data_set, digest, names};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::key_holder::KeyHolder;
use crate::support::ledger;
use crate::support::load::send_one;
use crate::support::many_wires::{ManyWires, PIXELS};
use crate::support::one_fault::{Fault, Harm};
use crate::support::proxy::Proxy;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use serde_json::Value;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Short waits, so that a fault costs little, and a stalled request is given up soon.
const HASTY: &str = "[courier]\nretry_first = \"50ms\"\nretry_longest = \"200ms\"\noutage_probe = \"200ms\"\n\
                     progress_time = \"2s\"\n\n[timers]\ntls_handshake = \"2s\"\nresponse = \"2s\"";

/// A and B with something between them at this port; what A must see is `verify`.
fn sites(stage: &Stage, verify: &str, settings: &str, between: impl FnOnce(u16) -> u16) -> (Gateway, Gateway) {
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let url = format!("https://127.0.0.1:{}/dicom-web", between(b.config.web_port));
    let a = Gateway::start(&stage.path().join("a"), stage.site_a_verifying(&url, verify).with(settings));
    (a, b)
}

fn all() -> bool {
    std::env::var("WEYBRIDGE_WIRES").is_ok_and(|wanted| wanted == "all")
}

/// The faults of one run: cut and half closed at every byte by `WEYBRIDGE_WIRES=all`, else at some; and a few of those that take long.
fn faults((up, down): (u64, u64)) -> Vec<Fault> {
    let spread = |most: u64, count: u64| (0..count).map(move |n| n * most / count);
    let mut faults = Vec::new();
    for (up, most) in [(true, up), (false, down)] {
        for (harm, few, many) in
            [(Harm::Cut, 16, most), (Harm::HalfClose, 4, most), (Harm::Trickle, 2, 40), (Harm::Stall, 3, 400)]
        {
            let count = if all() { many.min(most) } else { few };
            faults.extend(spread(most, count).map(|at| Fault { up, at, harm }));
        }
    }
    faults
}

/// What is wrong of what A acknowledged, at A or at B.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wrong {
    lost: Vec<u64>,
    torn: Vec<u64>,
    believed: Vec<u64>,
    twice: Vec<u64>,
}

impl Wrong {
    /// All that is wrong after instances of these numbers, each in a study of its own, were sent; and how many arrivals were
    /// repetitions that were needed, since B had said that it had nothing.
    fn of(a: &Gateway, b: &Gateway, story: u64, numbers: Range<u64>) -> (Self, usize) {
        let (needless, again) = ledger::needless(ledger::arrivals(b), &ledger::absences(a, |_| true));
        let (wrong, rest) = (Mutex::new(Self::default()), Mutex::new(numbers));
        let look = || {
            while let Some(number) = { rest.lock().unwrap().next() } {
                let names = names(story, number, number);
                let sites = [a, b].map(|site| row(site, &names));
                let mut wrong = wrong.lock().unwrap();
                wrong.judge(number, &digest(&data_set(&names, PIXELS, story << 40 | number)), &sites);
                if needless.contains_key(&names.instance) {
                    wrong.twice.push(number);
                }
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(look))));
        (wrong.into_inner().unwrap(), again)
    }

    fn judge(&mut self, number: u64, sent: &str, [here, there]: &[Option<Value>; 2]) {
        let verified = here.as_ref().is_some_and(|row| row["transfers"][0]["state"] == "verified");
        match (here, there) {
            (Some(here), Some(there)) => {
                if here["sha256"] != sent || there["sha256"] != sent {
                    self.torn.push(number);
                }
            }
            (Some(_), None) if verified => self.believed.push(number),
            _ => self.lost.push(number),
        }
    }
}

/// What a site says of an instance, if it has it.
fn row(site: &Gateway, names: &Names) -> Option<Value> {
    let answer = site.cli(&["study", &names.study, "--json"]);
    // Not held as a whole.
    let rows = if answer.code == Some(1) { String::new() } else { answer.ok("study") };
    let rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.into_iter().find(|row| row["sop_instance_uid"] == names.instance.as_str())
}

#[test]
fn a_wire_that_fails_at_any_byte_loses_and_invents_nothing() {
    const STORY: u64 = 701;
    let wires = ManyWires::start(STORY, if all() { 16 } else { 8 }, HASTY);
    // All names are as long as each other, so that each connection carries as much.
    let first = 100_000;
    let next = AtomicU64::new(first);
    let carry = |wire, fault| wires.carry(wire, next.fetch_add(1, Ordering::SeqCst), fault);
    wires.each(|wire| assert!(!carry(wire, None)));
    let most = wires.most();
    let faults = faults(most);
    let count = faults.len();
    let began = Instant::now();
    // A connection carries a little more or less each time: what is near its end is tried again.
    let rest = Mutex::new(faults.into_iter().map(|fault| (fault, 1)).collect::<VecDeque<_>>());
    let (fired, missed) = (AtomicU64::new(0), Mutex::new(BTreeSet::new()));
    wires.each(|wire| {
        while let Some((fault, tries)) = { rest.lock().unwrap().pop_front() } {
            if carry(wire, Some(fault)) {
                fired.fetch_add(1, Ordering::SeqCst);
            } else if tries < 4 {
                rest.lock().unwrap().push_back((fault, tries + 1));
            } else {
                missed.lock().unwrap().insert((fault.up, fault.at));
            }
        }
    });
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let (fired, missed, next) = (fired.into_inner(), missed.into_inner().unwrap(), next.into_inner());
    let (wrong, again) = Wrong::of(&wires.a, &wires.b, STORY, first..next);
    println!(
        "summary: {fired} faults fired of {count} at bytes of {} up and {} down; the others lie beyond the end; {rate:.1} a \
         second; {} acknowledged; {} lost; {} torn; {} falsely verified; {} needlessly sent twice; {again} sent again since \
         they were found absent",
        most.0,
        most.1,
        next - first,
        wrong.lost.len(),
        wrong.torn.len(),
        wrong.believed.len(),
        wrong.twice.len()
    );
    assert_eq!(wrong, Wrong::default());
    let near = |(up, at): &(bool, u64)| at + 40 > if *up { most.0 } else { most.1 };
    assert!(missed.iter().all(near), "what is missed lies near the end: {missed:?}");
    wires.a.verify_ledger(true);
    wires.b.verify_ledger(true);
    note_fired(fired as usize);
}

#[test]
fn a_narrow_wire_carries_a_request_at_its_own_pace_and_once() {
    const STORY: u64 = 702;
    let stage = Stage::new();
    let mut proxy = None;
    let (a, b) = sites(&stage, "present", "", |port| {
        let narrow = Proxy::to(port);
        narrow.throttle(64 << 10);
        proxy.insert(narrow).port
    });
    let began = Instant::now();
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
    let between = |port| holder.insert(KeyHolder::between(&caller, &callee, port, 30_000)).port;
    let (a, b) = sites(&stage, "present", "", between);
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

/// Whether a site's ledger has brought anything to one of these states so far.
fn has_reached(site: &Gateway, states: &[&str]) -> bool {
    let entries = ledger::export(site);
    let mut steps = entries.iter().filter_map(|entry| entry["facts"]["steps"].as_array()).flatten();
    steps.any(|step| step["to"].as_str().is_some_and(|to| states.contains(&to)))
}

/// WEB-045, INV-04: the same byte where it is read back: a person hears of it, it is never verified, and it is not sent again.
#[test]
fn a_byte_changed_by_a_holder_of_the_keys_is_never_verified_where_it_is_read_back() {
    const STORY: u64 = 704;
    // As many as the rows and columns say, so that pixels are compared.
    const PIXEL_BYTES: u32 = 60 << 10;
    let stage = Stage::new();
    let (caller, callee) = (stage.identity_of_a(), stage.authority.issue(B_IDENTITY));
    let mut holder = None;
    let between = |port| holder.insert(KeyHolder::between(&caller, &callee, port, 30_000)).port;
    let (a, b) = sites(&stage, "readback", HASTY, between);
    send_one(STORY, 0, PIXEL_BYTES, a.config.dicom_port, "WB_A");
    a.all_become("b", "dead", 1, seconds(60));
    assert_eq!(holder.unwrap().changed(), 1, "a byte was changed");
    assert!(!has_reached(&a, &["verified"]), "nobody has seen there what was sent");
    let names = names(STORY, 0, 0);
    let why = a.cli(&["why", &names.instance]).ok("why");
    assert!(why.contains("OTHER PIXELS") && why.contains("a person there must decide"), "{why}");
    assert_eq!(a.ask(&["exceptions", "list", "--json"]).len(), 1, "it waits for a person");
    let (here, there) = (&a.study(&names.study)[0], &b.study(&names.study)[0]);
    assert_eq!(here["sha256"], digest(&data_set(&names, PIXEL_BYTES, STORY << 40)).as_str(), "ours is what was sent");
    assert_ne!(here["sha256"], there["sha256"]);
    assert_eq!(ledger::arrivals(&b).get(&names.instance), Some(&1), "it is not sent again for it");
    a.verify_ledger(true);
    b.verify_ledger(true);
}

/// WEB-040, INV-04, INV-05: as long as somebody who holds the keys has B's answers name another instance than the one that was sent, that one
/// is neither accepted nor verified, whatever B has; once all is told as it is, it is verified, and B has one copy of it.
#[test]
fn a_uid_changed_in_the_answers_by_a_holder_of_the_keys_is_no_evidence() {
    const STORY: u64 = 705;
    let stage = Stage::new();
    let (caller, callee) = (stage.identity_of_a(), stage.authority.issue(B_IDENTITY));
    let names = names(STORY, 0, 0);
    let mut holder = None;
    let between = |port| holder.insert(KeyHolder::renaming(&caller, &callee, port, &names.instance)).port;
    let (a, b) = sites(&stage, "present", HASTY, between);
    let holder = holder.unwrap();
    send_one(STORY, 0, PIXELS, a.config.dicom_port, "WB_A");
    // The answer to what was sent, and those to both questions that follow; and all of them once more.
    until(seconds(60), "it is lied to again and again", || (holder.changed() >= 6).then_some(()));
    assert!(!has_reached(&a, &["accepted", "verified"]), "{}", a.cli(&["why", &names.instance]).stdout);
    let why = a.cli(&["why", &names.instance]).ok("why");
    assert!(why.contains("the answer names it neither stored nor failed"), "{why}");

    holder.be_honest();
    a.all_become("b", "verified", 1, seconds(60));
    let (here, there) = (&a.study(&names.study)[0], b.study(&names.study));
    assert_eq!(here["sha256"], digest(&data_set(&names, PIXELS, STORY << 40)).as_str());
    assert!(there.len() == 1 && there[0]["sha256"] == here["sha256"], "{there:?}");
    let (twice, _) = ledger::needless(ledger::arrivals(&b), &ledger::absences(&a, |name| name == "b"));
    assert!(twice.is_empty(), "sent so often without need: {twice:?}");
    a.verify_ledger(true);
    b.verify_ledger(true);
}
