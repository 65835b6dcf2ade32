//! Lanes through the front door: a black hole and a peer that never answers beside a healthy one, a peer that reads slowly, and
//! a person who pauses a peer (REL-20, REL-22, REL-25).

use crate::support::gateway::Gateway;
use crate::support::ledger::export;
use crate::support::load::{send_all, send_one};
use crate::support::proxy::Proxy;
use crate::support::scripted_peer::{ScriptedPeer, Step};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use crate::support::web::request;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

/// How long each transfer to a destination took from arrival to done, in the order of arrival, by the ledger.
fn waits(site: &Gateway, destination: &str) -> Vec<Duration> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (mut received, mut waits) = (BTreeMap::new(), Vec::new());
    for entry in export(site) {
        let at = entry["at"].as_i64().unwrap();
        for made in list(&entry["facts"]["made"]).iter().filter(|made| made["destination"] == destination) {
            received.insert(made["id"].as_i64().unwrap(), (waits.len(), at));
            waits.push(None);
        }
        for step in list(&entry["facts"]["steps"]).iter().filter(|step| step["to"] == "verified") {
            let done = list(&step["transfers"]);
            for (place, began) in done.iter().filter_map(Value::as_i64).filter_map(|id| received.remove(&id)) {
                waits[place] = Some(Duration::from_micros(u64::try_from(at - began).unwrap()));
            }
        }
    }
    waits.into_iter().map(|wait| wait.expect("it is done")).collect()
}

/// Three peers that are of no use, each behind a proxy: one with which connections are made and that never says a word, one that takes
/// all and says nothing, one that takes 20 kB a second.
struct Useless {
    peers: [(&'static str, Proxy); 3],
    _those_behind: (TcpListener, [ScriptedPeer; 2]),
}

impl Useless {
    fn start(stage: &Stage) -> Self {
        let hole = TcpListener::bind("127.0.0.1:0").unwrap();
        let [mute, slow] = ["mute", "trickle"].map(|name| ScriptedPeer::start(&stage.authority.issue(&identity(name))));
        mute.always(Some(Step::Hang));
        let ports = [("hole", hole.local_addr().unwrap().port()), ("mute", mute.port), ("trickle", slow.port)];
        let peers = ports.map(|(name, port)| (name, Proxy::to(port)));
        peers[2].1.throttle(20_000);
        Self { peers, _those_behind: (hole, [mute, slow]) }
    }

    /// From now on a site is owed to them all and busy with each; or leaves them alone, with the same owed.
    fn bother(&self, a: &Gateway, yes: bool) {
        for (name, proxy) in &self.peers {
            proxy.refuse(!yes);
            match yes {
                true => drop(a.cli(&["peers", "resume", name]).ok("resume")),
                false => {
                    a.cli(&["peers", "pause", name, "--reason", "a quiet round"]).ok("pause");
                    proxy.cut_now();
                }
            }
        }
    }

    fn are_busy(&self) {
        for (name, proxy) in &self.peers {
            until(seconds(30), &format!("{name} is called"), || (proxy.connections() > 0).then_some(()));
        }
    }
}

fn identity(name: &str) -> String {
    format!("{name}.weybridge.test")
}

/// The time within which so many of a hundred are done.
fn percentile(waits: &[Duration], of_a_hundred: usize) -> Duration {
    let mut sorted = waits.to_vec();
    sorted.sort();
    sorted[(sorted.len() * of_a_hundred).div_ceil(100) - 1]
}

/// REL-22: rounds with three useless peers at work take turns with rounds in which they are left alone; at the healthy one nothing of them
/// shows, neither in the median nor in the last of a hundred.
#[test]
fn a_black_hole_a_mute_and_a_trickling_peer_leave_the_healthy_one_alone() {
    const COUNT: u64 = 200;
    const ROUNDS: u64 = 10;
    let stage = Stage::new();
    let healthy = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let useless = Useless::start(&stage);
    let mut config = stage.site_a(&healthy.url());
    for (name, proxy) in &useless.peers {
        let url = format!("https://127.0.0.1:{}/dicom-web", proxy.port);
        config = config.peer(name, &url, &identity(name), "present").route(name, name, "");
    }
    let courier = "[courier]\nretry_first = \"100ms\"\nretry_longest = \"200ms\"\noutage_probe = \"200ms\"";
    let a = Gateway::start(&stage.path().join("a"), config.with(courier));
    for round in 0..ROUNDS {
        let crowded = round % 2 == 1;
        useless.bother(&a, crowded);
        if crowded {
            useless.are_busy();
        }
        send_all(301, round * COUNT..(round + 1) * COUNT, a.config.dicom_port, "WB_A");
        a.all_become("b", "verified", (round + 1) * COUNT, seconds(120));
    }
    for name in ["hole", "mute"] {
        assert_eq!(a.transfers(name, "verified"), (ROUNDS * COUNT, 0), "{name}");
    }
    let (owed, done) = a.transfers("trickle", "verified");
    assert!(owed == ROUNDS * COUNT && done < COUNT, "it trickles: {done} of {owed}");

    let waits = waits(&a, "b");
    let rounds: Vec<&[Duration]> = waits.chunks_exact(usize::try_from(COUNT).unwrap()).collect();
    assert_eq!(rounds.len() as u64, ROUNDS);
    for (of_a_hundred, jitter) in [(50, 50), (99, 150)] {
        let of = |first| rounds.iter().skip(first).step_by(2).map(|round| percentile(round, of_a_hundred)).collect();
        let (quiet, crowded): (Vec<Duration>, Vec<Duration>) = (of(0), of(1));
        println!(
            "summary: {of_a_hundred} of 100 are done within {quiet:.0?} in quiet rounds, {crowded:.0?} beside three useless peers"
        );
        let (quiet, crowded) = (percentile(&quiet, 50), percentile(&crowded, 50));
        assert!(
            crowded <= quiet * 2 + Duration::from_millis(jitter),
            "{of_a_hundred} of 100: {crowded:?} against {quiet:?}"
        );
    }
}

#[test]
fn a_peer_that_reads_slowly_slows_its_sender_and_fills_no_memory() {
    const COUNT: u64 = 8;
    const BYTES: u32 = 16 << 20;
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let proxy = Proxy::to(b.config.web_port);
    proxy.throttle(16 << 20);
    let url = format!("https://127.0.0.1:{}/dicom-web", proxy.port);
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&url));
    let port = a.config.dicom_port;
    for number in 0..COUNT {
        send_one(303, number, BYTES, port, "WB_A");
    }
    a.all_become("b", "verified", COUNT, seconds(240));
    let peak = a.peak_memory();
    println!("summary: {COUNT} x 16 MiB through 16 MiB/s: peak resident memory {} MB at A", peak / 1_000_000);
    assert!(peak <= 100_000_000, "A held {peak} bytes");
}

#[test]
fn a_person_pauses_a_peer_and_resumes_it() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.url()));
    assert_eq!(a.cli(&["peers", "pause", "b"]).code, Some(2), "pausing needs a reason");
    assert_eq!(a.cli(&["peers", "pause", "c", "--reason", "x"]).code, Some(2), "an unknown peer is wrong usage");
    a.cli(&["peers", "pause", "b", "--reason", "their archive moves"]).ok("pause");
    let sent = send_all(304, 0..20, a.config.dicom_port, "WB_A");
    let study = &sent.first().unwrap().0;
    let told = a.cli(&["status"]).ok("status");
    assert!(told.contains("PAUSED") && told.contains("their archive moves"), "{told}");
    let line = &a.ask(&["transfers", "list", "--json"])[0];
    assert_eq!(
        (line["paused"].clone(), line["next_attempt"].clone(), line["priority"].clone()),
        (true.into(), Value::Null, "routine".into())
    );
    a.cli(&["transfers", "expedite", "--study", study]).ok("expedite");
    a.stop();
    a.up();
    assert_eq!(a.transfers("b", "pending"), (20, 20));
    assert_eq!(b.seen().0, 0, "nothing was sent, also not after a restart");
    let story = a.cli(&["why", study]).ok("why");
    assert!(story.contains("paused by") && story.contains("urgent"), "{story}");
    a.cli(&["peers", "resume", "b"]).ok("resume");
    a.all_become("b", "verified", 20, seconds(60));
    a.verify_ledger(false);
}

#[test]
fn another_weybridge_is_known_by_its_answers() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let identity = stage.identity_of_a();
    let url = format!("{}/instances?limit=1", b.config.url());
    let answer = request(Some(&identity), &identity.trust, &url, &["--include"]).body.to_lowercase();
    assert!(answer.contains("server: weybridge/"), "{answer}");
}
