//! A peer that takes nothing that it is sent, and answers every question all the same, is out as far as sending goes: what waits for it waits.
//! And a peer that a proxy calls busy is asked what it took, if it can be asked.

use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::scripted_peer::{Said, ScriptedPeer, Step};
use crate::support::store_answer::{self, Item};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until, until_or_tell};
use crate::verdicts::{Instance, answerer, instances, push, states, store};
use serde_json::Value;
use std::sync::Arc;

/// A transfer that wears out by its own failures does so after some ten tries.
const COURIER: &str =
    "[courier]\nretry_first = \"50ms\"\nretry_longest = \"100ms\"\ngive_up_after = \"500ms\"\nrefusals = 4";

/// How the one destination stands.
fn destination(site: &Gateway) -> Value {
    site.ask(&["status", "--json"])[0]["destinations"][0].clone()
}

fn all_are(site: &Gateway, studies: &[Vec<Instance>], end: &str) {
    let done = || {
        let states = |pair: &Vec<Instance>| states(site, &pair[0].names.study);
        studies.iter().all(|pair| states(pair).values().all(|state| state == end)).then_some(())
    };
    until_or_tell(seconds(60), done, || format!("not all are {end}\n{}", site.cli(&["transfers", "list"]).stdout));
}

/// REL-20, REL-21, WEB-062: three requests in doubt are an outage, whatever its queries say; it is probed, nothing is given up for it, and
/// all goes on by itself.
#[test]
fn a_peer_that_stores_nothing_and_answers_queries_is_down_and_wears_nothing_out() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
    peer.always(Some(Step::Refuse(500, None)));
    let studies: Vec<Vec<Instance>> = (60..63).map(|story| instances(story, "A B")).collect();
    studies.iter().for_each(|pair| store(&site, pair));
    let told = || format!("{}", destination(&site));
    let is_down = || (destination(&site)["contact"] == "down").then_some(());
    until_or_tell(seconds(30), is_down, told);
    let trouble = destination(&site)["trouble"].as_str().unwrap_or_default().to_owned();
    assert!(trouble.contains("HTTP 500"), "{trouble}");
    // More probes than the three studies together have tries of their own.
    let tried = || (peer.seen().0 >= 100).then_some(());
    until_or_tell(seconds(60), tried, || format!("{} requests\n{}", peer.seen().0, told()));
    assert_eq!(destination(&site)["contact"], "down", "questions that are answered do not call it up: {}", told());
    assert_eq!(destination(&site)["dead"], 0, "nothing is given up meanwhile: {}", told());

    peer.always(None);
    all_are(&site, &studies, "verified");
    until(seconds(30), "it is up", || (destination(&site)["contact"] == "up").then_some(()));
    let arrivals = peer.arrivals();
    assert!(studies.iter().flatten().all(|one| arrivals[&one.names.instance] == 1), "{arrivals:?}");
    site.verify_ledger(false);
}

/// WEB-062: a peer that stores all and says 500 all the same is asked, has it, and is not out.
#[test]
fn a_peer_that_stores_all_and_says_500_is_not_out() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
    peer.always(Some(Step::Say(answerer("500+ html", &Default::default()))));
    let studies: Vec<Vec<Instance>> = (64..70).map(|story| instances(story, "A B")).collect();
    for pair in &studies {
        store(&site, pair);
        all_are(&site, std::slice::from_ref(pair), "verified");
    }
    assert_eq!(destination(&site)["contact"], "up", "{}", destination(&site));
    let arrivals = peer.arrivals();
    assert!(studies.iter().flatten().all(|one| arrivals[&one.names.instance] == 1), "{arrivals:?}");
}

/// REL-24, WEB-062: one instance at which the peer stumbles each time is no outage. Its neighbours in the study go without it, and other studies
/// are not held up.
#[test]
fn one_instance_at_which_the_peer_stumbles_holds_up_nothing_else() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let config = "[courier]\nretry_first = \"50ms\"\nretry_longest = \"100ms\"\ngive_up_after = \"1h\"";
    let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(config));
    let odd = instances(71, "A B C");
    let stumbles = odd[1].names.instance.clone();
    peer.always(Some(Step::Say(Arc::new(move |sent: &[Item]| {
        let uids: Vec<String> = sent.iter().map(|item| item.instance.clone()).collect();
        let (status, keep) = if uids.contains(&stumbles) { (500, Vec::new()) } else { (200, uids) };
        let body = if status == 200 { store_answer::write(sent).to_string().into_bytes() } else { Vec::new() };
        let content_type = if status == 200 { "application/dicom+json" } else { "" };
        Said { status, content_type, body, keep }
    }))));
    push(&site, &odd);
    let others = || {
        let states = states(&site, &odd[0].names.study);
        [0, 2].iter().all(|at: &usize| states[&odd[*at].names.instance] == "verified").then_some(())
    };
    let told = || format!("the neighbours do not arrive\n{}", site.cli(&["transfers", "list"]).stdout);
    until_or_tell(seconds(60), others, told);
    for story in 72..75 {
        let pair = instances(story, "A B");
        store(&site, &pair);
        all_are(&site, std::slice::from_ref(&pair), "verified");
        assert_eq!(destination(&site)["contact"], "up", "{}", destination(&site));
    }
    assert_ne!(states(&site, &odd[0].names.study)[&odd[1].names.instance], "verified");
    site.verify_ledger(false);
}

/// WEB-064, FLT-061: a proxy says 503 for a peer that took all of it: the peer is asked, has it, and gets nothing twice.
#[test]
fn what_a_peer_took_though_its_proxy_says_503_is_not_sent_again() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
    peer.always(Some(Step::Say(answerer("503+ html", &Default::default()))));
    let studies: Vec<Vec<Instance>> = (80..84).map(|story| instances(story, "A B")).collect();
    studies.iter().for_each(|pair| store(&site, pair));
    all_are(&site, &studies, "verified");
    let arrivals = peer.arrivals();
    assert!(studies.iter().flatten().all(|one| arrivals[&one.names.instance] == 1), "{arrivals:?}");
    site.verify_ledger(false);
    note_fired(peer.fired());
}

/// WEB-064, FLT-061: as long as the peer answers no question either, nobody knows what it took; it is asked before anything is sent again, also
/// by who was killed meanwhile.
#[test]
fn what_a_busy_peer_may_have_taken_is_asked_about_before_it_is_sent_again() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let mut site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
    let (first, pair) = (instances(84, "A B"), instances(85, "A B"));
    store(&site, &first);
    all_are(&site, std::slice::from_ref(&first), "verified");
    peer.refuse_queries(Some(503));
    peer.always(Some(Step::Say(answerer("503+ html", &Default::default()))));
    push(&site, &pair);
    all_are(&site, std::slice::from_ref(&pair), "unknown");
    peer.always(None);
    site.kill();
    let asked = peer.refused_queries();
    site.up();
    until(seconds(30), "it is asked again", || (peer.refused_queries() > asked).then_some(()));
    all_are(&site, std::slice::from_ref(&pair), "unknown");
    peer.refuse_queries(None);
    all_are(&site, std::slice::from_ref(&pair), "verified");
    let arrivals = peer.arrivals();
    assert!(first.iter().chain(&pair).all(|one| arrivals[&one.names.instance] == 1), "{arrivals:?}");
    site.verify_ledger(false);
    note_fired(peer.refused_queries());
}

/// WEB-064: a peer that cannot be asked is believed that it was busy. All goes there by itself, and nobody waits for a person.
#[test]
fn a_busy_peer_that_cannot_be_asked_gets_everything_later() {
    for refusal in [404, 503] {
        let stage = Stage::new();
        let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
        let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
        peer.refuse_queries(Some(refusal));
        peer.then(vec![Step::Refuse(503, None); 4]);
        let pair = instances(86, "A B");
        push(&site, &pair);
        all_are(&site, std::slice::from_ref(&pair), "accepted");
        assert_eq!(peer.fired(), 4, "{refusal}: the script was used up");
        let arrivals = peer.arrivals();
        assert!(pair.iter().all(|one| arrivals[&one.names.instance] == 1), "{refusal}: {arrivals:?}");
        assert_eq!(destination(&site)["dead"], 0, "{refusal}: {}", destination(&site));
        site.verify_ledger(false);
    }
}
