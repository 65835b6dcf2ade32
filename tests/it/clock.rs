//! Time that misbehaves: a wall clock that jumps by a year and over a change of summer time, a gateway and a peer that sleep.

use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::load::{send_all, send_one};
use crate::support::pacs::Association;
use crate::support::proxy::Proxy;
use crate::support::scripted_peer::ScriptedPeer;
use crate::support::tools::tool;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const QUICK: &str = "[courier]\nretry_first = \"100ms\"\nretry_longest = \"300ms\"\noutage_probe = \"300ms\"";
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const YEAR_AND_MORE: i64 = 300 * 86_400 * 1_000_000;

/// Starts a program whose wall clock says what stands in `file`; its monotonic clock is the machine's.
fn with_clock(file: &Path) -> Command {
    assert!(Path::new(LIBRARY).exists(), "the test needs {LIBRARY}: run .ci/setup");
    let mut command = Command::new(tool("env"));
    command.arg(format!("LD_PRELOAD={LIBRARY}")).arg(format!("FAKETIME_TIMESTAMP_FILE={}", file.display()));
    command.args(["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "TZ=Europe/London"]);
    command
}

fn url(proxy: &Proxy) -> String {
    format!("https://127.0.0.1:{}/dicom-web", proxy.port)
}

fn each_once(arrivals: impl IntoIterator<Item = (String, usize)>, a: &Gateway) {
    let (twice, _) = ledger::needless(arrivals, &ledger::absences(a, |name| name == "b"));
    assert!(twice.is_empty(), "sent so often without need: {twice:?}");
}

/// FLT-070, REL-08, INV-20: nothing expires, nothing waits longer than the longest wait, nothing is tried in a loop, and the
/// ledger keeps its order.
#[test]
fn a_clock_that_jumps_a_year_changes_nothing() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let between = Proxy::to(b.port);
    let tidy = "[retention]\nevery = \"100ms\"";
    let mut a = Gateway::prepare(&stage.path().join("a"), stage.site_a(&url(&between)).with(QUICK).with(tidy));
    let clock = stage.path().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    a.launch_through(with_clock(&clock));
    let port = a.config.dicom_port;
    let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    until(seconds(30), "the gateway listens", || listens().then_some(()));
    send_all(870, 0..3, port, "WB_A");
    a.all_become("b", "verified", 3, seconds(60));
    between.refuse(true);
    between.cut_now();
    // A year forth, two back, one forth, and the hours in which summer time begins and ends.
    let jumps = ["+365d", "-365d", "+0", "@2027-03-28 00:59:58", "@2027-10-31 01:59:58"];
    for (at, jump) in (1_u64..).zip(jumps) {
        std::fs::write(&clock, jump).unwrap();
        send_all(870, 3 * at..3 * at + 3, port, "WB_A");
        let (before, began) = (ledger::failures(&a, "b"), Instant::now());
        let tries = || ledger::failures(&a, "b") - before;
        until(seconds(60), &format!("it is tried on after {jump}"), || (tries() >= 3).then_some(()));
        // Full jitter below 300 ms gives seven tries a second on the average, and never hundreds.
        let most = 10 + began.elapsed().as_secs() as usize * 40;
        assert!(tries() <= most, "{jump}: {} tries in {:?}", tries(), began.elapsed());
        assert_eq!(a.transfers("b", "dead").1, 0, "{jump}: nothing is given up");
        let kept = &a.ask(&["store", "status", "--json"])[0]["blobs"];
        assert_eq!(*kept, 3 * at + 3, "{jump}: what was verified a minute ago has not grown old");
    }
    let times: Vec<i64> = ledger::export(&a).iter().filter_map(|entry| entry["at"].as_i64()).collect();
    let fired = times.windows(2).filter(|pair| (pair[1] - pair[0]).abs() > YEAR_AND_MORE).count();
    assert!(fired >= 3, "the clock jumped {fired} times");
    between.refuse(false);
    a.all_become("b", "verified", 18, seconds(60));
    each_once(b.arrivals(), &a);
    assert_eq!(a.ask(&["status", "--json"])[0]["exceptions"], 0);
    a.verify_ledger(true);
    a.kill();
    // Records that tell of next year are opened like any others.
    std::fs::write(&clock, "-365d").unwrap();
    a.launch_through(with_clock(&clock));
    until(seconds(30), "it starts a year earlier", || listens().then_some(()));
    send_all(870, 18..20, port, "WB_A");
    a.all_become("b", "verified", 20, seconds(60));
    a.verify_ledger(true);
    a.kill();
    std::fs::write(&clock, "+730d").unwrap();
    a.launch_through(with_clock(&clock));
    until(seconds(30), "the clock is held against the ledger", || {
        a.log().contains("the clock is far ahead").then_some(())
    });
    assert_eq!(
        a.ask(&["store", "status", "--json"])[0]["blobs"],
        20,
        "nothing has grown old by a start with a wrong clock"
    );
    println!("summary: {} jumps of the clock, {fired} of them by a year; 20 verified, none expired", jumps.len());
    note_fired(fired);
}

/// FLT-071, REL-09: a gateway that slept past everybody's patience, in the middle of a request and of an instance.
#[test]
fn a_gateway_that_slept_moves_nothing_back() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let between = Proxy::to(b.port);
    let patience = "[timers]\nmessage_idle = \"2s\"\nassociation_idle = \"2s\"";
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&url(&between)).with(QUICK).with(patience));
    let port = a.config.dicom_port;
    let mut slept = 0;
    for (round, cut) in [(1, false), (2, true), (3, false)] {
        between.throttle(60_000);
        send_one(871, round, 400_000, port, "WB_A");
        let mut half = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
        let late = names(872, round, round);
        let bytes = data_set(&late, 40_000, round);
        half.begin(SECONDARY_CAPTURE, &late.instance).unwrap();
        half.data(&bytes[..20_000], false).unwrap();
        until(seconds(20), "it is being sent", || {
            let (owed, verified) = a.transfers("b", "verified");
            (verified < owed).then_some(())
        });
        a.process().freeze();
        if cut {
            between.cut_now();
        }
        between.throttle(0);
        let asleep = Instant::now();
        until(seconds(10), "all patience is over", || (asleep.elapsed() > seconds(3)).then_some(()));
        slept += 1;
        a.process().thaw();
        // The half instance was given up, or is taken if its rest comes in time; it is never there in part.
        let rest = half.data(&bytes[20_000..], true).and_then(|()| half.answer());
        let taken = a.holds(&late.study);
        assert!(taken <= 1 && (rest.is_err() || taken == 1), "{rest:?}, {taken} held");
        until(seconds(60), "all of it is verified", || {
            let (owed, verified) = a.transfers("b", "verified");
            (owed == verified && owed >= round).then_some(())
        });
    }
    each_once(b.arrivals(), &a);
    assert_eq!(a.ask(&["status", "--json"])[0]["exceptions"], 0);
    a.verify_ledger(true);
    println!("summary: slept {slept} times for 3 s; all verified, none sent twice without need");
    note_fired(slept);
}

/// FLT-042, FLT-071: a peer that slept past our patience with a whole request before it, and then does what it was asked long ago.
#[test]
fn a_peer_that_slept_is_asked_and_not_sent_again() {
    let stage = Stage::new();
    let mut b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let patience = "[timers]\nconnect = \"1s\"\ntls_handshake = \"1s\"\nresponse = \"2s\"";
    // The peer has its time to do what it was asked before we ask it.
    let quick =
        "[courier]\nretry_first = \"1s\"\nretry_longest = \"2s\"\noutage_probe = \"2s\"\nprogress_time = \"2s\"";
    let url = format!("https://127.0.0.1:{}/dicom-web", b.config.web_port);
    let a = Gateway::start(&stage.path().join("a"), stage.site_a(&url).with(quick).with(patience));
    let mut slept = 0;
    for round in 1..=3_u64 {
        // Over the connection that this leaves open, all of the next request is with the peer's system while the peer sleeps.
        send_one(873, 2 * round, 4_000, a.config.dicom_port, "WB_A");
        a.all_become("b", "verified", 2 * round - 1, seconds(120));
        let before = ledger::failures(&a, "b");
        b.process().freeze();
        send_one(873, 2 * round + 1, 4_000, a.config.dicom_port, "WB_A");
        until(seconds(60), "our patience is over", || (ledger::failures(&a, "b") > before).then_some(()));
        slept += 1;
        b.process().thaw();
        a.all_become("b", "verified", 2 * round, seconds(120));
    }
    let (arrivals, absences) = (ledger::arrivals(&b), ledger::absences(&a, |name| name == "b"));
    let once = arrivals.values().filter(|times| **times == 1).count();
    each_once(arrivals, &a);
    assert!(once > 3, "none that the sleeping peer had before it was found there: {absences:?}");
    a.verify_ledger(true);
    b.verify_ledger(true);
    println!(
        "summary: the peer slept {slept} times past our patience; all verified, {} found absent and sent again",
        absences.len()
    );
    note_fired(slept);
}
