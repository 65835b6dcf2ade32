//! A peer that says that it has an instance already, and cannot be asked, or gives nothing back, just then or ever: what it holds is
//! compared as soon as that can be, and never taken for ours because nobody looked.

use crate::support::gateway::Gateway;
use crate::support::scripted_peer::{ScriptedPeer, Seen, Step};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
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
    let end = std::time::Instant::now() + seconds(30);
    while states(site, study) != want {
        assert!(std::time::Instant::now() < end, "{want:?}\n{}", site.cli(&["why", study]).stdout);
        std::thread::sleep(std::time::Duration::from_millis(40));
    }
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
