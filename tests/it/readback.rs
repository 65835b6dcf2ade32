//! `verify = "readback"`: what a peer named as stored is read back and compared before it counts; what it keeps otherwise is given up for a
//! person, and what it does not give back is never verified.

use crate::support::gateway::Gateway;
use crate::support::scripted_peer::{Answerer, Said, ScriptedPeer, Seen, Step};
use crate::support::store_answer::{self, Item};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until, until_or_tell};
use crate::verdicts::{COURIER, Change, Instance, instances, sent, states, store};
use std::collections::BTreeMap;
use std::sync::Arc;

fn site(stage: &Stage, peer: &ScriptedPeer) -> Gateway {
    let config = stage.site_a_verifying(&peer.url(), "readback").with(COURIER);
    Gateway::start(&stage.path().join("a"), config)
}

/// Names everything as stored, with a warning or without one, and keeps what the peer held before.
fn keeps_its_own(warning: Option<u16>) -> Answerer {
    Arc::new(move |sent: &[Item]| {
        let named: Vec<Item> = sent.iter().map(|item| Item { warning, ..item.clone() }).collect();
        let body = store_answer::write(&named).to_string().into_bytes();
        Said { status: 200, content_type: "application/dicom+json", body, keep: Vec::new() }
    })
}

fn become_(site: &Gateway, all: &[Instance], ends: &[&str]) {
    let uid = |one: &Instance| one.names.instance.clone();
    let want: BTreeMap<String, String> = all.iter().map(uid).zip(ends.iter().map(|end| (*end).to_owned())).collect();
    let study = &all[0].names.study;
    let story = || format!("{want:?}\n{}", site.cli(&["why", study]).stdout);
    until_or_tell(seconds(30), || (states(site, study) == want).then_some(()), story);
}

fn retrievals(peer: &ScriptedPeer) -> usize {
    peer.log().iter().filter(|seen| matches!(seen, Seen::Retrieved(_))).count()
}

/// WEB-045: the peer is another Weybridge.
#[test]
fn what_another_site_gives_back_is_verified() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let config = stage.site_a_verifying(&b.config.url(), "readback").with(COURIER);
    let a = Gateway::start(&stage.path().join("a"), config);
    let all = instances(50, "A B* C");
    store(&a, &all);
    become_(&a, &all, &["verified"; 3]);
    for line in a.study(&all[0].names.study) {
        let evidence = line["transfers"][0]["evidence"].as_str().unwrap_or_default();
        assert!(evidence.contains("read back by WADO-RS and the same"), "{line}");
    }
    let why = a.cli(&["why", &all[0].names.instance]).ok("why");
    assert!(why.contains("done when it gives back what was sent"), "{why}");
    a.verify_ledger(false);
}

/// WEB-045, WEB-044: the peer says stored, and what it holds is ours in another encoding, ours with another patient's name, of which it
/// warns, or not ours at all.
#[test]
fn what_a_peer_keeps_otherwise_than_it_was_sent_is_given_up_for_a_person() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let site = site(&stage, &peer);
    let all = instances(51, "A B C D");
    all[0].is_held_by(&peer, true);
    all[1].is_held_as(&peer, Change::Deflated);
    all[2].is_held_as(&peer, Change::Text("Specimen^Test", "Somebody^Else"));
    all[3].is_held_by(&peer, false);
    peer.always(Some(Step::Say(keeps_its_own(Some(0xB000)))));
    store(&site, &all);
    become_(&site, &all, &["verified", "verified", "dead", "dead"]);
    let log = peer.log();
    assert!(all.iter().all(|one| sent(&log, &one.names.instance) == 1), "{log:?}");
    for (one, words) in [(&all[2], "another patient, order or place of origin"), (&all[3], "OTHER PIXELS")] {
        let why = site.cli(&["why", &one.names.instance]).ok("why");
        assert!(why.contains(words) && why.contains("a person there must decide"), "{why}");
        assert!(!why.contains("Somebody"), "{why}");
    }
    let waiting = site.ask(&["exceptions", "list", "--json"]);
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    site.verify_ledger(false);
}

/// WEB-045: what is not given back, just now or ever, stays accepted and is asked for again.
#[test]
fn what_is_not_given_back_stays_accepted_until_it_is() {
    for status in [503, 403, 404] {
        let stage = Stage::new();
        let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
        peer.refuse_retrievals(Some(status));
        let site = site(&stage, &peer);
        let pair = instances(52, "A B");
        store(&site, &pair);
        until(seconds(30), "it is tried again and again", || (retrievals(&peer) >= 4).then_some(()));
        become_(&site, &pair, &["accepted", "accepted"]);
        let why = site.cli(&["why", &pair[0].names.instance]).ok("why");
        assert!(why.contains("not compared yet") && why.contains(&status.to_string()), "{status}: {why}");
        let told = site.cli(&["status"]).ok("status");
        // A 404 is about the instance, and 503 passes.
        assert_eq!(told.contains("cannot be asked what it holds"), status == 403, "{status}: {told}");
        peer.refuse_retrievals(None);
        become_(&site, &pair, &["verified", "verified"]);
        let log = peer.log();
        assert!(pair.iter().all(|one| sent(&log, &one.names.instance) == 1), "{log:?}");
        site.verify_ledger(false);
    }
}

/// WEB-045, WEB-055: what the peer had already must be seen as well; nobody's word is enough.
#[test]
fn what_was_there_already_and_is_not_given_back_is_not_verified() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    peer.refuse_retrievals(Some(403));
    let site = site(&stage, &peer);
    let pair = instances(53, "A B");
    pair[0].is_held_by(&peer, true);
    pair[1].is_held_by(&peer, false);
    peer.always(Some(Step::Say(crate::verdicts::answerer("409 -", &BTreeMap::new()))));
    store(&site, &pair);
    until(seconds(30), "it is tried again", || (retrievals(&peer) >= 3).then_some(()));
    become_(&site, &pair, &["unknown", "unknown"]);
    peer.refuse_retrievals(None);
    become_(&site, &pair, &["verified", "dead"]);
    site.verify_ledger(false);
}
