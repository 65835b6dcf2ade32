//! A holds a thousand instances while its peer is away, dies, refuses, lies or shows an expired certificate: all end verified, and nothing is sent twice without need.

use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::load::{Acknowledged, send_all};
use crate::support::proxy::Proxy;
use crate::support::scripted_peer::{ScriptedPeer, Step};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use std::collections::{BTreeMap, BTreeSet};

const COUNT: u64 = 1000;

/// Short waits, so that a story does not last as long as a real outage; many small requests, so that a fault meets some.
const COURIER: &str =
    "[courier]\nbatch_instances = 25\nretry_first = \"100ms\"\nretry_longest = \"1s\"\noutage_probe = \"1s\"";

/// A running A whose peer may be anything that listens on a port of this machine.
fn site_a(stage: &Stage, port_of_b: u16) -> Gateway {
    let config = stage.site_a(&format!("https://127.0.0.1:{port_of_b}/dicom-web")).with(COURIER);
    Gateway::start(&stage.path().join("a"), config)
}

fn fill(a: &Gateway, story: u64) -> BTreeSet<Acknowledged> {
    send_all(story, 0..COUNT, a.config.dicom_port, "WB_A")
}

/// A holds everything before its peer, behind the proxy, can be reached and does what the story wants of it.
fn held_by_a(stage: &Stage, proxy: &Proxy, story: u64) -> (Gateway, BTreeSet<Acknowledged>) {
    proxy.refuse(true);
    let a = site_a(stage, proxy.port);
    let sent = fill(&a, story);
    assert_eq!(a.transfers("b", "verified"), (COUNT, 0));
    proxy.refuse(false);
    (a, sent)
}

/// Everything that was acknowledged is verified, and arrived once as a completed part, and once more at most for each time that it was
/// unknown and then found absent by a check; those are listed and handed back.
fn all_arrived_once(
    a: &Gateway,
    sent: &BTreeSet<Acknowledged>,
    arrivals: &BTreeMap<String, usize>,
) -> BTreeSet<String> {
    assert_eq!(sent.len() as u64, COUNT);
    assert_eq!(a.transfers("b", "verified"), (COUNT, COUNT));
    let absences = ledger::absences(a, |name| name == "b");
    let again: Vec<_> = arrivals.iter().filter(|(_, times)| **times > 1).collect();
    println!("summary: {COUNT} instances; unknown, then found absent: {absences:?}; arrived more than once: {again:?}");
    let missing: Vec<_> = sent.iter().filter(|(_, instance)| !arrivals.contains_key(instance)).collect();
    assert!(missing.is_empty(), "never arrived: {missing:?}");
    let (twice, _) = ledger::needless(arrivals.clone(), &absences);
    assert!(twice.is_empty(), "sent so often without need: {twice:?}");
    assert_eq!(arrivals.len(), sent.len(), "nothing else arrived");
    a.verify_ledger(true);
    absences.into_keys().collect()
}

#[test]
fn the_peer_is_down_when_they_arrive() {
    let stage = Stage::new();
    let mut b = Gateway::prepare(&stage.path().join("b"), stage.site_b());
    let a = site_a(&stage, b.config.web_port);
    let sent = fill(&a, 101);
    assert_eq!(a.transfers("b", "verified"), (COUNT, 0));
    until(seconds(60), "A has tried in vain", || (ledger::failures(&a, "b") > 0).then_some(()));
    b.up();
    a.all_become("b", "verified", COUNT, seconds(60));
    assert!(all_arrived_once(&a, &sent, &ledger::arrivals(&b)).is_empty(), "nothing was ever unknown");
    b.verify_ledger(true);
    note_fired(ledger::failures(&a, "b"));
}

#[test]
fn the_peer_is_stopped_and_started_again() {
    peer_goes_away(102, Gateway::stop);
}

#[test]
fn the_peer_is_killed_and_started_again() {
    peer_goes_away(103, Gateway::kill);
}

/// The peer goes away three times while it is receiving, and more comes for it while it is away.
fn peer_goes_away(story: u64, end: fn(&mut Gateway)) {
    const ROUND: u64 = COUNT / 4;
    let stage = Stage::new();
    let mut b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let a = site_a(&stage, b.config.web_port);
    let send = |numbers| send_all(story, numbers, a.config.dicom_port, "WB_A");
    let mut sent = BTreeSet::new();
    for first in [0, ROUND, 2 * ROUND] {
        let mut before = 0;
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| send(first..first + ROUND - 50));
            let some = || (a.transfers("b", "verified").1 >= first + 50).then_some(());
            until(seconds(60), "some have arrived", some);
            before = ledger::failures(&a, "b");
            end(&mut b);
            sent.extend(sender.join().unwrap());
        });
        sent.extend(send(first + ROUND - 50..first + ROUND));
        until(seconds(20), "A has noticed", || (ledger::failures(&a, "b") > before).then_some(()));
        b.up();
    }
    sent.extend(send(3 * ROUND..COUNT));
    a.all_become("b", "verified", COUNT, seconds(60));
    all_arrived_once(&a, &sent, &ledger::arrivals(&b));
    b.verify_ledger(true);
}

#[test]
fn the_peer_says_503_with_retry_after() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    b.then(vec![Step::Refuse(503, Some(1)); 4]);
    let (a, sent) = held_by_a(&stage, &Proxy::to(b.port), 104);
    a.all_become("b", "verified", COUNT, seconds(60));
    assert!(all_arrived_once(&a, &sent, &b.arrivals()).is_empty(), "nothing was ever unknown");
    assert!(b.seen().0 > 4, "the script was used up");
    // One request at a time while B is down, so that the four waits of a second came one after the other.
    assert!(b.turned_away() >= seconds(4), "A waits as long as it is asked to, not {:?}", b.turned_away());
    note_fired(b.fired());
}

#[test]
fn the_peer_says_200_and_names_one_as_failed() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    // A700: out of resources; the instance itself is not at fault.
    b.then([Step::FailFirst(0xA700), Step::Store, Step::FailFirst(0xA700)]);
    let (a, sent) = held_by_a(&stage, &Proxy::to(b.port), 105);
    a.all_become("b", "verified", COUNT, seconds(60));
    assert!(all_arrived_once(&a, &sent, &b.arrivals()).is_empty(), "nothing was ever unknown");
    assert_eq!(b.fired(), 2, "the script was used up");
    note_fired(b.fired());
}

#[test]
fn the_peer_shows_an_expired_certificate() {
    let stage = Stage::new();
    let mut config = stage.site_b();
    let good = config.identity.clone();
    config.identity = stage.authority.issue_expired(B_IDENTITY);
    let mut b = Gateway::prepare(&stage.path().join("b"), config);
    b.launch();
    let a = site_a(&stage, b.config.web_port);
    let sent = fill(&a, 106);
    until(seconds(60), "A says that the certificate has expired", || {
        let said = a.cli(&["why", &sent.first().unwrap().0]).stdout.to_lowercase();
        said.contains("expired").then_some(())
    });
    assert_eq!(a.transfers("b", "verified").1, 0, "nothing goes to a peer that cannot show who it is");
    b.kill();
    b.config.identity = good;
    b.write_config();
    b.up();
    a.all_become("b", "verified", COUNT, seconds(60));
    assert!(all_arrived_once(&a, &sent, &ledger::arrivals(&b)).is_empty(), "nothing was ever unknown");
    note_fired(ledger::failures(&a, "b"));
}

#[test]
fn the_answer_is_cut_off_and_nothing_is_sent_twice() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let proxy = Proxy::to(b.config.web_port);
    // Past the handshake and into the bodies: the answers to the first three requests never arrive.
    proxy.cut_answers(3, 100_000);
    let (a, sent) = held_by_a(&stage, &proxy, 107);
    a.all_become("b", "verified", COUNT, seconds(60));
    assert_eq!(proxy.fired(), 3, "three answers were cut off");
    // B answers when it holds everything, so that each check finds it.
    assert!(all_arrived_once(&a, &sent, &ledger::arrivals(&b)).is_empty(), "nothing is sent twice");
}

#[test]
fn an_empty_answer_a_reset_and_silence_after_storing_are_checked_first() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    b.then([Step::SayNothing, Step::StoreAndDrop, Step::Reset, Step::Refuse(500, None)]);
    let (a, sent) = held_by_a(&stage, &Proxy::to(b.port), 108);
    a.all_become("b", "verified", COUNT, seconds(60));
    let absent = all_arrived_once(&a, &sent, &b.arrivals());
    assert!(!absent.is_empty(), "what the reset request carried was asked for and absent");
    assert!(b.arrivals().values().all(|times| *times == 1), "what was stored without a word was asked for and found");
    assert_eq!(b.fired(), 4, "the script was used up");
    note_fired(b.fired());
}
