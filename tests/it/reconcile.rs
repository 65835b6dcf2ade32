//! What the ledger says of a peer against what the peer shows, part by part: since a time, of studies that it does not speak of, of
//! instances that are no longer here.

use crate::support::gateway::Gateway;
use crate::support::load::send_all;
use crate::support::scripted_peer::ScriptedPeer;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use serde_json::{Value, json};

/// A site and its peer, which has what stands in `all`: study by study, the instances in order.
struct Case {
    site: Gateway,
    peer: ScriptedPeer,
    all: Vec<(String, Vec<String>)>,
    _stage: Stage,
}

impl Case {
    fn start() -> Self {
        let stage = Stage::new();
        let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
        let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()));
        Self { site, peer, all: Vec::new(), _stage: stage }
    }

    /// Sends three instances as a study of their own, and waits until the peer has them.
    fn send(&mut self, story: u64) {
        let sent = send_all(story, 0..3, self.site.config.dicom_port, "WB_A");
        let study = sent.first().unwrap().0.clone();
        self.all.push((study, sent.into_iter().map(|(_, instance)| instance).collect()));
        self.site.all_become("b", "verified", 3 * self.all.len() as u64, seconds(60));
    }

    /// One line a study: the study, how many were asked for, what is missing. And how it ended.
    fn reconcile(&self, more: &[&str]) -> (Option<i32>, Vec<(String, u64, Value)>, String) {
        let told = self.site.cli(&[&["reconcile", "b", "--json"][..], more].concat());
        let line = |line: &str| -> (String, u64, Value) {
            let line: Value = serde_json::from_str(line).unwrap();
            let study = line["study_instance_uid"].as_str().unwrap().to_owned();
            (study, line["asked"].as_u64().unwrap(), line["missing"].clone())
        };
        (told.code, told.stdout.lines().map(line).collect(), told.stderr)
    }

    fn sent_twice(&self) -> Vec<String> {
        self.peer.arrivals().into_iter().filter(|(_, times)| *times > 1).map(|(instance, _)| instance).collect()
    }
}

/// Only what was done since a time is asked for.
#[test]
fn since_a_time_only_what_was_done_since_is_asked_for() {
    let mut case = Case::start();
    case.send(891);
    let between = jiff::Timestamp::now().to_string();
    case.send(892);
    let whole = |at: usize| (case.all[at].0.clone(), 3, json!([]));
    for (since, want) in [
        (between.as_str(), vec![whole(1)]),
        ("0", vec![]),
        ("1", vec![whole(0), whole(1)]),
        ("2026-01-01", vec![whole(0), whole(1)]),
        ("2026-01-01T12:00", vec![whole(0), whole(1)]),
    ] {
        let (code, mut told, _) = case.reconcile(&["--since", since]);
        told.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!((code, told), (Some(0), want), "{since}");
    }
    for since in ["yesterday", "2d", "9999-01-01"] {
        assert_eq!(case.reconcile(&["--since", since]).0, Some(2), "{since}");
    }
    // What is missing, but was done before, is not looked at.
    case.peer.lose(&case.all[0].1[0]);
    assert_eq!(case.reconcile(&["--since", &between]).0, Some(0));
    assert_eq!(case.reconcile(&["--since", "1"]).0, Some(1));
}

/// A part of a study that is missing is owed again by itself; what the peer has is not sent again.
#[test]
fn a_part_that_is_missing_is_owed_again_and_nothing_else() {
    let mut case = Case::start();
    (893..895).for_each(|story| case.send(story));
    let lost = case.all[1].1[1].clone();
    case.peer.lose(&lost);
    let (code, told, _) = case.reconcile(&[]);
    let of = |at: usize, missing: Value| (case.all[at].0.clone(), 3, missing);
    assert_eq!((code, told), (Some(1), vec![of(0, json!([])), of(1, json!([lost]))]));
    let (code, _, told) = case.reconcile(&["--reopen", "--reason", "a disk was changed"]);
    assert_eq!(code, Some(0), "{told}");
    until(seconds(60), "it is there again", || (case.peer.held() == 6).then_some(()));
    case.site.all_become("b", "verified", 6, seconds(60));
    assert_eq!(case.sent_twice(), [lost]);
    assert_eq!(case.reconcile(&[]).0, Some(0));
    case.site.verify_ledger(true);
}

/// What a peer does not say of some studies is told as that, and hides nothing of the others; nor is it owed again.
#[test]
fn a_peer_that_is_silent_on_some_studies_is_believed_of_the_others() {
    let mut case = Case::start();
    (895..898).for_each(|story| case.send(story));
    let (silent, lost) = (case.all[1].0.clone(), case.all[2].1[0].clone());
    case.peer.be_silent_on(&silent, true);
    // Lost there, too, but nobody knows of it yet.
    let unknown = case.all[1].1[0].clone();
    case.peer.lose(&lost);
    case.peer.lose(&unknown);
    let (code, told, words) = case.reconcile(&[]);
    let of = |at: usize, missing: Value| (case.all[at].0.clone(), 3, missing);
    assert_eq!((code, told), (Some(3), vec![of(0, json!([])), of(2, json!([lost]))]), "{words}");
    assert!(words.contains("cannot be asked of 1 studies") && words.contains("1 instances are missing"), "{words}");
    let (code, _, words) = case.reconcile(&["--reopen", "--reason", "a disk was changed"]);
    assert_eq!(code, Some(3), "still not the whole: {words}");
    until(seconds(60), "what was known to be missing is there again", || {
        case.peer.digest_of(&lost).is_some().then_some(())
    });
    assert_eq!(case.sent_twice(), [lost], "and no more");
    case.peer.be_silent_on(&silent, false);
    let (code, told, _) = case.reconcile(&[]);
    assert_eq!((code, &told[1]), (Some(1), &of(1, json!([unknown]))));
    case.site.verify_ledger(true);
}

/// What was dropped here cannot be sent again: it is counted, and the rest goes.
#[test]
fn what_is_no_longer_here_cannot_be_owed_again_and_is_counted() {
    let mut case = Case::start();
    (898..900).for_each(|story| case.send(story));
    let dropped = case.all[0].0.clone();
    case.site.cli(&["store", "drop", &dropped, "--reason", "for room"]).ok("drop");
    let lost = [case.all[0].1[0].clone(), case.all[0].1[2].clone(), case.all[1].1[1].clone()];
    lost.iter().for_each(|instance| case.peer.lose(instance));
    let (code, told, words) = case.reconcile(&["--reopen", "--reason", "a disk was changed"]);
    assert_eq!(told.iter().map(|line| line.2.as_array().unwrap().len()).collect::<Vec<_>>(), [2, 1], "{told:?}");
    assert!(
        code == Some(1) && words.contains("2 cannot be sent again") && words.contains("no longer kept here"),
        "{words}"
    );
    until(seconds(60), "what is here goes", || case.peer.digest_of(&lost[2]).is_some().then_some(()));
    case.site.all_become("b", "verified", 6, seconds(60));
    assert_eq!(case.sent_twice(), [lost[2].clone()]);
    // It is missing there still, and told so the next time.
    let (code, told, _) = case.reconcile(&[]);
    assert_eq!((code, &told[0].2), (Some(1), &json!([lost[0], lost[1]])));
    case.site.verify_ledger(true);
}
