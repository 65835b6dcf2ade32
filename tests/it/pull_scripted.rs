//! C-MOVE of a study that another site holds, where that site answers by script: cut off, another study, more or less than it listed,
//! slowly, not at all. Every instance is counted once, and what does not come is named.

use crate::support::config::SiteConfig;
use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, digest, names, part10, read_part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::holder::{Alone, Holder, Manner};
use crate::support::odd_node::OddNode;
use crate::support::python;
use crate::support::radiology::{is_dated, longest_gap};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Site A with a workstation, a node OUT and a peer that is played.
pub struct Scene {
    pub a: Gateway,
    pub b: Holder,
    pub out: StoreScp,
    pub stage: Stage,
}

pub const PRIORS: &str = "[priors]\npatience = \"6s\"";

impl Scene {
    pub fn start(priors: &str) -> Self {
        Self::knowing(priors, "")
    }

    /// The same, with further lines in the entry of the peer.
    pub fn knowing(priors: &str, lines: &str) -> Self {
        let stage = Stage::new();
        let b = Holder::start(&stage.authority.issue(B_IDENTITY));
        let out = StoreScp::start(&stage.path().join("out"), "OUT");
        let a = site(&stage, &b, out.port, (priors, lines));
        Self { a, b, out, stage }
    }

    /// Has the peer hold so many instances of a study; gives their files by UID.
    pub fn hold(&self, story: u64, count: u64) -> BTreeMap<String, Vec<u8>> {
        (1..=count)
            .map(|n| {
                let (names, file) = instance(story, n);
                self.b.hold(&names.study, &names.series, &file);
                (names.instance, file)
            })
            .collect()
    }

    pub fn ask(&self, requests: &[Value]) -> Vec<Value> {
        let list = self.stage.path().join(format!("requests-{}.jsonl", requests.len()));
        std::fs::write(&list, requests.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
        python::lines("query", [self.a.config.dicom_port.to_string().as_str(), "WB_A", list.to_str().unwrap()])
    }

    /// Moves a study to OUT: the final answer.
    pub fn take(&self, story: u64) -> Value {
        let said = self.ask(&[move_study(story)]);
        said[0]["answers"].as_array().unwrap().last().unwrap().clone()
    }

    /// What lies at OUT, by UID with digests.
    pub fn at_out(&self) -> BTreeMap<String, String> {
        self.out.digests()
    }
}

/// Site A, where OUT is at a port.
fn site(stage: &Stage, b: &Holder, out: u16, (priors, lines): (&str, &str)) -> Gateway {
    let radiology = "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\nmove_to = [\"OUT\"]\n";
    let config = SiteConfig::new("a", stage.identity_of_a())
        .node("OUT", Some(out))
        .with(radiology)
        .peer("b", &b.url(), B_IDENTITY, "present")
        .with(lines)
        .route("all to b", "b", "")
        .with(priors);
    Gateway::start(&stage.path().join("a"), config)
}

pub fn instance(story: u64, n: u64) -> (Names, Vec<u8>) {
    let names = names(story, 1, n);
    let file = part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(&names, 4000, story * 100 + n));
    (names, file)
}

pub fn study(story: u64) -> String {
    names(story, 1, 1).study
}

pub fn move_study(story: u64) -> Value {
    json!({ "op": "move", "to": "OUT", "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study(story) } })
}

pub fn digests(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, String> {
    let data = |file: &Vec<u8>| digest(&file[read_part10(file).unwrap().data_set_at..]);
    files.iter().map(|(uid, file)| (uid.clone(), data(file))).collect()
}

/// Status, completed, failed, warning.
pub fn counts(answer: &Value) -> (u64, [u64; 3]) {
    let number = |name: &str| answer[name].as_u64().unwrap_or_else(|| panic!("{name} of {answer}"));
    (number("status"), ["completed", "failed", "warning"].map(number))
}

/// DIM-089, WEB-104: an answer that breaks off, or has no end, is gone on with; nothing that came is asked for again.
#[test]
fn a_retrieval_that_breaks_off_is_resumed_where_it_broke() {
    let scene = Scene::start(PRIORS);
    let files = scene.hold(500, 8);
    scene.b.then([Manner::Break(3), Manner::Refuse(503), Manner::NoEnd]);
    assert_eq!(counts(&scene.take(500)), (0, [8, 0, 0]));
    assert_eq!(scene.at_out(), digests(&files));
    let (_, retrievals) = scene.b.asked();
    let study = study(500);
    assert_eq!(retrievals[0], format!("studies/{study}"), "first all of it");
    assert!(retrievals[1..].iter().all(|path| path.contains("/series/")), "then what is missing: {retrievals:?}");
    assert!(scene.b.accepts().iter().all(|accept| accept.contains("transfer-syntax=*")), "WEB-004");
    assert_eq!(scene.a.holds(&study), 8);
    assert_eq!(scene.a.transfers("b", "pending"), (0, 0), "what was asked for fires no route");
    let row = &scene.a.ask(&["study", &study, "--json"])[0];
    assert!(row["source"].to_string().contains('b'), "{row}");
    scene.a.verify_ledger(true);
}

/// WEB-103: what broke off of one instance is not asked for again; a site that gives no ranges, or another object by now, gives it anew, and
/// of the first nothing is left.
#[test]
fn one_instance_is_resumed_by_range_or_begun_anew() {
    let scene = Scene::start(PRIORS);
    let file =
        |names: &Names, seed| part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(names, 300_000, seed));
    let (cut, plain) = (Some(200_000), |tag, ranges, cut| Alone { tag, ranges, cut, instead: None });
    for (story, ranges, changed) in [(505, true, false), (506, false, false), (507, true, true)] {
        let names = names(story, 1, 1);
        let (first, second) = (file(&names, 1), file(&names, 2));
        scene.b.hold(&names.study, &names.series, &first);
        let rest = match changed {
            true => Alone { instead: Some(second.clone()), ..plain("b", true, None) },
            false => plain("a", ranges, None),
        };
        let before = scene.b.ranges().len();
        // In a part at first: a site that is no gateway of ours is asked for the whole body once it broke off.
        scene.b.then([Manner::Break(0), Manner::Alone(plain("a", ranges, cut)), Manner::Alone(rest)]);
        assert_eq!(counts(&scene.take(story)), (0, [1, 0, 0]), "{story}");
        let want = if changed { second } else { first };
        let want = digests(&BTreeMap::from([(names.instance.clone(), want)]));
        assert_eq!(scene.at_out().get(&names.instance), want.get(&names.instance), "{story}");
        let asked: Vec<Option<String>> = scene.b.ranges().split_off(before);
        assert_eq!(asked, [None, None, Some("bytes=200000-".to_owned())], "{story}");
    }
    scene.a.verify_ledger(true);
}

/// DIM-089, FLT-083, INV-17: what goes between list and retrieval has failed, and is named.
#[test]
fn what_is_withdrawn_meanwhile_is_a_failed_sub_operation() {
    let scene = Scene::start(PRIORS);
    let mut files = scene.hold(510, 5);
    let gone = names(510, 1, 3).instance;
    scene.b.leaves_after_the_list(&gone);
    let answer = scene.take(510);
    assert_eq!(counts(&answer), (0xB000, [4, 1, 0]), "{answer}");
    assert_eq!(answer["identifier"]["FailedSOPInstanceUIDList"], gone.as_str());
    files.remove(&gone);
    assert_eq!(scene.at_out(), digests(&files));
    note_fired(1);
    // The next list does not have it, so that it is not expected either.
    assert_eq!(counts(&scene.take(510)), (0, [4, 0, 0]));
    // One that is here already, and that the site lists no more, is not given any more.
    scene.b.forget(&names(510, 1, 1).instance);
    assert_eq!(counts(&scene.take(510)), (0, [3, 0, 0]));
}

/// "Freshness" in docs/ARCHITECTURE.md: what a site gets while it is pulled from comes too.
#[test]
fn what_a_site_gets_meanwhile_comes_too() {
    let scene = Scene::start(PRIORS);
    let mut files = scene.hold(520, 3);
    let (late, file) = instance(520, 9);
    scene.b.gets_meanwhile(&late.study, &late.series, &file);
    let answer = scene.take(520);
    assert_eq!(counts(&answer), (0, [4, 0, 0]), "{answer}");
    files.insert(late.instance, file);
    assert_eq!(scene.at_out(), digests(&files));
}

/// DIM-089: another study in the place of the one that was asked for is not taken, and nothing of it reaches anybody.
#[test]
fn another_study_is_never_taken_for_the_one_that_was_asked_for() {
    let scene = Scene::start(PRIORS);
    let files = scene.hold(530, 3);
    let others: Vec<Vec<u8>> = (1..=3).map(|n| instance(531, n).1).collect();
    scene.b.then([Manner::Instead(others.clone())]);
    assert_eq!(counts(&scene.take(530)), (0, [3, 0, 0]), "it was asked for again, by smaller parts");
    assert_eq!(scene.at_out(), digests(&files));
    assert_eq!(scene.a.holds(&study(531)), 0);
    // One that gives nothing else fails.
    scene.hold(532, 2);
    scene.b.then((0..20).map(|_| Manner::Instead(others.clone())));
    let answer = scene.take(532);
    assert_eq!(counts(&answer), (0xA702, [0, 2, 0]), "{answer}");
    assert_eq!(scene.a.holds(&study(531)) + scene.a.holds(&study(532)), 0);
}

/// DIM-083, UIX-12: ten who ask cause one pull, and the first instance is at the workstation before the last has left its site.
#[test]
fn ten_who_ask_cause_one_pull_that_passes_on_what_has_come() {
    // The site is silent until ten interpreters have come up, which takes a busy machine long.
    let scene = Scene::start("[priors]\npatience = \"120s\"");
    let files = scene.hold(540, 4);
    scene.b.then([Manner::Told]);
    let list = scene.stage.path().join("ten.jsonl");
    std::fs::write(&list, move_study(540).to_string()).unwrap();
    let port = scene.a.config.dicom_port.to_string();
    std::thread::scope(|scope| {
        let ask = || python::lines("query", [port.as_str(), "WB_A", list.to_str().unwrap()]);
        let asking: Vec<_> = (0..10).map(|_| scope.spawn(ask)).collect();
        until(seconds(60), "something is retrieved", || (scene.b.asked().1.len() == 1).then_some(()));
        scene.b.speak(1);
        // Ten write one file, so that it is not read before they have ended.
        until(seconds(60), "the first is at the workstation", || (scene.out.files().len() == 1).then_some(()));
        assert_eq!(scene.a.holds(&study(540)), 1, "the others have not left their site");
        // All ten have joined, and been given the first, before it goes on.
        let given = || scene.out.log().matches("Received Store Request").count();
        until(seconds(100), "ten retrievals have begun", || (given() >= 10).then_some(()));
        scene.b.speak(3);
        for asked in asking {
            let said = asked.join().unwrap();
            let answers = said[0]["answers"].as_array().unwrap();
            assert_eq!(counts(answers.last().unwrap()), (0, [4, 0, 0]), "{said:?}");
            assert!(longest_gap(&said[0]) <= 14.0, "{said:?}");
        }
    });
    let (lists, retrievals) = scene.b.asked();
    assert_eq!(retrievals.len(), 1, "{retrievals:?}");
    assert_eq!(lists, 2, "once before and once after");
    assert_eq!(scene.at_out(), digests(&files));
}

/// DIM-089: what comes slowly is all given, also to a destination that does not keep an idle association open.
#[test]
fn a_destination_that_closes_idle_associations_gets_what_comes_slowly() {
    let stage = Stage::new();
    let b = Holder::start(&stage.authority.issue(B_IDENTITY));
    let node = OddNode::start(stage.path(), &["--idle", "1.5"]);
    let a = site(&stage, &b, node.port, ("[priors]\npatience = \"120s\"", ""));
    for (names, file) in (1..=3).map(|n| instance(545, n)) {
        b.hold(&names.study, &names.series, &file);
    }
    b.then([Manner::Told]);
    let list = stage.path().join("slowly.jsonl");
    std::fs::write(&list, move_study(545).to_string()).unwrap();
    let port = a.config.dicom_port.to_string();
    let closed = || node.seen("end").iter().filter(|end| end["how"] == "aborted").count();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| python::lines("query", [port.as_str(), "WB_A", list.to_str().unwrap()]));
        for n in 1..=3 {
            b.speak(1);
            until(seconds(60), "what came is given", || (node.seen("store").len() == n).then_some(()));
            until(seconds(60), "the node closes", || (n == 3 || closed() >= n).then_some(()));
        }
        let said = asking.join().unwrap();
        let answer = said[0]["answers"].as_array().unwrap().last().unwrap();
        assert_eq!(counts(answer), (0, [3, 0, 0]), "{answer}");
    });
}

/// "A silent site is visible", "Freshness": what is here is given; what may be at a silent site is a failure, and never nothing.
#[test]
fn a_silent_site_is_no_empty_site() {
    let scene = Scene::start(PRIORS);
    let files = scene.hold(550, 3);
    assert_eq!(counts(&scene.take(550)), (0, [3, 0, 0]));
    scene.hold(551, 1);
    scene.b.be_silent(true);
    let answer = scene.take(550);
    assert_eq!(counts(&answer), (0, [3, 0, 0]), "the copy, as it was when it was last checked");
    is_dated(&answer["comment"], "b does not answer; all that it last had is given; as of ");
    assert_eq!(scene.at_out(), digests(&files));
    let answer = scene.take(551);
    assert_eq!(answer["status"], 0xA702, "{answer}");
    assert!(answer["comment"].as_str().unwrap().contains("b does not answer; ask again later"), "{answer}");
    scene.b.be_silent(false);
    assert_eq!(counts(&scene.take(551)), (0, [1, 0, 0]));
    let nothing =
        json!({ "op": "move", "to": "OUT", "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "2.25.559" } });
    let said = scene.ask(&[nothing]);
    assert_eq!(
        counts(said[0]["answers"].as_array().unwrap().last().unwrap()),
        (0, [0, 0, 0]),
        "the site has said that it has none"
    );
}

/// DIM-089, "Freshness": a part of a study that is here is no success for the study while the site that has the rest is silent.
#[test]
fn a_copy_in_part_is_not_the_whole_of_a_silent_sites_study() {
    let scene = Scene::start(PRIORS);
    scene.hold(560, 2);
    let other = format!("{}.9", study(560));
    for n in 3..=5 {
        let (names, file) = instance(560, n);
        scene.b.hold(&names.study, &other, &file);
    }
    let first = names(560, 1, 1);
    let series = |uid: &str| {
        json!({ "op": "move", "to": "OUT", "keys": {
            "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": study(560), "SeriesInstanceUID": uid } })
    };
    let image = |uid: &str| {
        json!({ "op": "move", "to": "OUT", "keys": { "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": study(560),
            "SeriesInstanceUID": first.series, "SOPInstanceUID": uid } })
    };
    let end = |request: Value| {
        let said = scene.ask(&[request]);
        said[0]["answers"].as_array().unwrap().last().unwrap().clone()
    };
    assert_eq!(counts(&end(series(&first.series))), (0, [2, 0, 0]));
    scene.b.be_silent(true);
    let answer = end(move_study(560));
    assert_eq!(counts(&answer), (0xB000, [2, 3, 0]), "{answer}");
    is_dated(&answer["comment"], "b does not answer; 3 missing; last checked ");
    // Whether the series has grown nobody knows.
    let answer = end(series(&first.series));
    assert_eq!(counts(&answer), (0xB000, [2, 0, 0]), "{answer}");
    is_dated(&answer["comment"], "b does not answer; there may be more; last checked ");
    let answer = end(image(&first.instance));
    assert_eq!(counts(&answer), (0, [1, 0, 0]), "{answer}");
    let gone = names(560, 1, 4).instance;
    let answer = end(image(&format!("{}\\{gone}", first.instance)));
    assert_eq!(counts(&answer), (0xB000, [1, 1, 0]), "{answer}");
    assert_eq!(answer["identifier"]["FailedSOPInstanceUIDList"], gone);
}

/// DIM-089: of more studies than other sites are asked for at once, the rest is not called absent.
#[test]
fn studies_beyond_the_limit_are_told_of() {
    let scene = Scene::start(PRIORS);
    scene.hold(570, 1);
    let unknown: Vec<String> = (1..=64).map(|n| format!("2.25.99.{n}")).collect();
    let list = |first: usize| [&unknown[first..], &[study(570)]].concat().join("\\");
    let take = |studies: String| {
        let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": studies });
        let said = scene.ask(&[json!({ "op": "move", "to": "OUT", "keys": keys })]);
        said[0]["answers"].as_array().unwrap().last().unwrap().clone()
    };
    let answer = take(list(0));
    assert_eq!(answer["status"], 0xA702, "{answer}");
    assert_eq!(answer["comment"], "b was not asked beyond 64 studies; ask again later");
    assert_eq!(counts(&take(list(1))), (0, [1, 0, 0]));
}
