//! A peer that says that it has an instance already, and cannot be asked, or gives nothing back, just then or ever: what it holds is
//! compared as soon as that can be, and never taken for ours because nobody looked. And a peer that refuses to be asked at all, which is
//! sent to all the same.

use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::scripted_peer::{ScriptedPeer, Seen, Step};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until, until_or_tell};
use crate::verdicts::{self, COURIER, Instance, answerer, instances, sent, states};
use std::collections::BTreeMap;

/// A site whose peer `b` holds A as it is, and other content under the UID of B, and answers both with 409.
fn refused_as_held(stage: &Stage, peer: &ScriptedPeer, story: u64) -> (Gateway, Vec<Instance>) {
    let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
    let pair = instances(story, "A B");
    pair[0].is_held_by(peer, true);
    pair[1].is_held_by(peer, false);
    peer.then([Step::Say(answerer("409 -", &BTreeMap::new()))]);
    verdicts::push(&site, &pair);
    (site, pair)
}

fn become_(site: &Gateway, pair: &[Instance], ends: [&str; 2]) {
    let want: BTreeMap<String, String> =
        pair.iter().zip(ends).map(|(one, end)| (one.names.instance.clone(), end.to_owned())).collect();
    let study = &pair[0].names.study;
    let story = || format!("{want:?}\n{}", site.cli(&["why", study]).stdout);
    until_or_tell(seconds(30), || (states(site, study) == want).then_some(()), story);
}

fn retrievals(peer: &ScriptedPeer, one: &Instance) -> usize {
    peer.log().iter().filter(|seen| matches!(seen, Seen::Retrieved(uid) if *uid == one.names.instance)).count()
}

/// WEB-055, FLT-056: the claim outlasts that the peer could not be asked, also over a restart.
#[test]
fn a_claim_is_remembered_until_the_peer_can_be_asked() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    peer.refuse_queries(Some(503));
    let (mut site, pair) = refused_as_held(&stage, &peer, 70);
    until(seconds(30), "both are in doubt", || {
        states(&site, &pair[0].names.study).values().all(|state| state == "unknown").then_some(())
    });
    site.kill();
    site.up();
    become_(&site, &pair, ["unknown", "unknown"]);
    peer.refuse_queries(None);
    become_(&site, &pair, ["verified", "dead"]);
    let log = peer.log();
    assert!(pair.iter().all(|one| sent(&log, &one.names.instance) == 1), "{log:?}");
    let why = site.cli(&["why", &pair[1].names.instance]).ok("why");
    assert!(why.contains("holds other content"), "{why}");
    site.verify_ledger(false);
    note_fired(peer.refused_queries());
}

/// WEB-055: a retrieval that fails and may be answered later decides nothing.
#[test]
fn what_cannot_be_read_back_just_now_is_compared_later() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    peer.refuse_retrievals(Some(503));
    let (site, pair) = refused_as_held(&stage, &peer, 71);
    // It has been tried again by a check, after the send.
    until(seconds(30), "a check tries again", || (retrievals(&peer, &pair[0]) >= 3).then_some(()));
    become_(&site, &pair, ["unknown", "unknown"]);
    peer.refuse_retrievals(None);
    become_(&site, &pair, ["verified", "dead"]);
    site.verify_ledger(false);
}

/// WEB-055: a peer that lets us read nothing back is believed, and that nobody looked is said wherever somebody might ask.
#[test]
fn what_can_never_be_read_back_counts_and_is_told_of() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    peer.refuse_retrievals(Some(403));
    let (site, pair) = refused_as_held(&stage, &peer, 72);
    become_(&site, &pair, ["verified", "verified"]);
    let why = site.cli(&["why", &pair[1].names.instance]).ok("why");
    assert!(why.contains("NOT compared") && why.contains("403"), "{why}");
    let status = site.cli(&["status"]).ok("status");
    assert!(status.contains("b: 2 instances were there already and could not be compared"), "{status}");
    site.verify_ledger(false);
}

/// Sends one study after the other; each is taken before the next one comes.
fn one_by_one(site: &Gateway, stories: std::ops::Range<u64>) -> Vec<Vec<Instance>> {
    let studies: Vec<Vec<Instance>> = stories.map(|story| instances(story, "A B")).collect();
    for pair in &studies {
        verdicts::store(site, pair);
        become_(site, pair, ["accepted", "accepted"]);
    }
    studies
}

/// WEB-045: a peer that takes what it is sent, and answers each query with 403, is not taken for one that is down.
#[test]
fn a_peer_that_refuses_to_be_asked_is_sent_to_all_the_same() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    peer.refuse_queries(Some(403));
    let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
    let first = one_by_one(&site, 80..81);
    until(seconds(30), "it has refused often enough for an outage", || (peer.refused_queries() > 6).then_some(()));
    let studies = one_by_one(&site, 81..84);
    let status = site.cli(&["status"]).ok("status");
    assert!(status.contains("b: cannot be asked what it holds since") && status.contains("status 403"), "{status}");
    let contact = &site.ask(&["status", "--json"])[0]["destinations"][0]["contact"];
    assert_eq!(contact, "up", "{status}");
    let why = site.cli(&["why", &first[0][0].names.instance]).ok("why");
    assert!(why.contains("it cannot be asked what it holds"), "{why}");
    peer.refuse_queries(None);
    for pair in first.iter().chain(&studies) {
        become_(&site, pair, ["verified", "verified"]);
        let log = peer.log();
        assert!(pair.iter().all(|one| sent(&log, &one.names.instance) == 1), "{log:?}");
    }
    let status = site.cli(&["status"]).ok("status");
    assert!(!status.contains("cannot be asked"), "{status}");
    site.verify_ledger(false);
}

/// WEB-061, WEB-075: what a peer asks us to wait before the next query is waited, whatever asks; sending goes on.
#[test]
fn a_query_that_is_put_off_is_not_put_again_before_its_time() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    peer.put_off_queries(429, 3600);
    let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
    let studies = one_by_one(&site, 90..94);
    assert_eq!(peer.refused_queries(), 1);
    peer.refuse_queries(None);
    // Whoever resumes it has put something right.
    site.cli(&["peers", "pause", "b", "--reason", "they mend it"]).ok("pause");
    site.cli(&["peers", "resume", "b"]).ok("resume");
    for pair in &studies {
        become_(&site, pair, ["verified", "verified"]);
    }
}
