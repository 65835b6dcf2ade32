//! Lanes through the front door: a black hole and a peer that never answers beside a healthy one, a peer that reads slowly, and
//! a person who pauses a peer (REL-20, REL-22, REL-25).

use crate::support::gateway::Gateway;
use crate::support::ledger::export;
use crate::support::load::{send_all, send_one};
use crate::support::proxy::Proxy;
use crate::support::scripted_peer::{ScriptedPeer, Step};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::seconds;
use crate::support::web::request;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

const MUTE_IDENTITY: &str = "mute.weybridge.test";
const TRICKLE_IDENTITY: &str = "trickle.weybridge.test";

/// How long each transfer to a destination took from arrival to done, the shortest first, by the ledger.
fn waits(site: &Gateway, destination: &str) -> Vec<Duration> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (mut received, mut waits) = (BTreeMap::new(), Vec::new());
    for entry in export(site) {
        let at = entry["at"].as_i64().unwrap();
        for made in list(&entry["facts"]["made"]).iter().filter(|made| made["destination"] == destination) {
            received.insert(made["id"].as_i64().unwrap(), at);
        }
        for step in list(&entry["facts"]["steps"]).iter().filter(|step| step["to"] == "verified") {
            let done = list(&step["transfers"])
                .iter()
                .filter_map(Value::as_i64)
                .filter_map(|id| received.remove(&id))
                .collect::<Vec<_>>();
            waits.extend(done.iter().map(|began| Duration::from_micros(u64::try_from(at - began).unwrap())));
        }
    }
    waits.sort();
    waits
}

/// The time within which 99 of 100 instances were done at a healthy peer, with three useless ones beside it or not: one dead,
/// one that takes all and says nothing, one that takes 20 kB a second.
fn healthy_p99(story: u64, crowded: bool) -> Duration {
    const COUNT: u64 = 400;
    let stage = Stage::new();
    let healthy = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    // Connections are made, and nobody ever says a word.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = ScriptedPeer::start(&stage.authority.issue(MUTE_IDENTITY));
    mute.then(vec![Step::Hang; 100]);
    let trickling = ScriptedPeer::start(&stage.authority.issue(TRICKLE_IDENTITY));
    let proxy = Proxy::to(trickling.port);
    proxy.throttle(20_000);
    let mut config = stage.site_a(&healthy.url());
    if crowded {
        let hole = format!("https://127.0.0.1:{}/dicom-web", hole.local_addr().unwrap().port());
        let trickle = format!("https://127.0.0.1:{}/dicom-web", proxy.port);
        let useless = [
            ("hole", hole, "hole.weybridge.test"),
            ("mute", mute.url(), MUTE_IDENTITY),
            ("trickle", trickle, TRICKLE_IDENTITY),
        ];
        for (name, url, identity) in useless {
            config = config.peer(name, &url, identity, "present").route(name, name, "");
        }
    }
    let a = Gateway::start(&stage.path().join("a"), config);
    let sent = send_all(story, 0..COUNT, a.config.dicom_port, "WB_A");
    assert_eq!(sent.len() as u64, COUNT);
    a.all_become("b", "verified", COUNT, seconds(120));
    if crowded {
        assert_eq!((a.transfers("hole", "verified"), a.transfers("mute", "verified")), ((COUNT, 0), (COUNT, 0)));
        let (owed, done) = a.transfers("trickle", "verified");
        assert!(owed == COUNT && done < COUNT, "it trickles: {done} of {owed}");
    }
    let waits = waits(&a, "b");
    assert_eq!(waits.len() as u64, COUNT);
    waits[waits.len() * 99 / 100 - 1]
}

#[test]
fn a_black_hole_a_mute_and_a_trickling_peer_leave_the_healthy_one_alone() {
    let alone = healthy_p99(301, false);
    let crowded = healthy_p99(302, true);
    println!(
        "summary: healthy p99 from arrival to done: {alone:?} alone, {crowded:?} beside a black hole, a mute and a trickling peer"
    );
    // They wait for their timers of 10 s and more; none of that may show.
    assert!(crowded < alone * 3 + seconds(2), "{crowded:?} against {alone:?}");
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
