//! Out to nodes that take less than what we hold: other syntaxes, few classes, many associations, odd manners.

use crate::support::bare_node::{BareNode, Manner, When};
use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::odd_node::OddNode;
use crate::support::pacs::{Association, Status};
use crate::support::python;
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const IMPLICIT_LE: &str = "1.2.840.10008.1.2";
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
/// One site that passes everything from its node on to the node `OUT` at a port; `lines` go to `[courier]`.
fn site(stage: &Stage, port: u16, lines: &str) -> Gateway {
    let config = crate::support::config::SiteConfig::new("a", stage.identity_of_a())
        .node("SENDER", None)
        .node("OUT", Some(port))
        .route("all to the node", "OUT", "from = [\"SENDER\"]")
        .with(&format!("[courier]\nretry_first = \"1s\"\nretry_longest = \"2s\"\n{lines}"));
    Gateway::start(&stage.path().join("a"), config)
}

/// Sends files by pynetdicom as they are; each must be answered with Success.
fn push(site: &Gateway, folder: &Path, rows: &[Value]) {
    let list = folder.join("list.jsonl");
    std::fs::write(&list, rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
    let port = site.config.dicom_port.to_string();
    let answers = python::lines("send", [port.as_str(), "WB_A", list.to_str().unwrap()]);
    let refused: Vec<&Value> = answers.iter().filter(|answer| answer["status"] != 0).collect();
    assert!(refused.is_empty() && answers.len() == rows.len(), "{refused:?}");
}

fn row(path: &Path, class: &str, instance: &str, syntax: &str) -> Value {
    json!({ "path": path, "sop_class": class, "sop_instance": instance, "syntax": syntax })
}

/// Sends everything that is not plain through the gateway to a DCMTK node that takes only these syntaxes.
fn through(option: &str, expected: &str) {
    let stage = Stage::new();
    let node = StoreScp::start_with(&stage.path().join("out"), "OUT", &[option]);
    let files = python::lines("fresh", [stage.path()]);
    let syntaxes: BTreeSet<&str> = files.iter().map(|file| file["syntax"].as_str().unwrap()).collect();
    assert!(files.len() > 50 && syntaxes.len() > 9, "{} files in {syntaxes:?}", files.len());
    let site = site(&stage, node.port, "");
    push(&site, stage.path(), &files);
    let broken = files.iter().filter(|file| file["broken"] == true).count() as u64;
    until(seconds(250), "everything is settled", || {
        let (owed, done) = site.transfers("OUT", "accepted");
        (owed == files.len() as u64 && done + site.transfers("OUT", "dead").1 == owed).then_some(())
    });
    let story = || site.cli(&["transfers", "list"]).stdout;
    assert_eq!(site.transfers("OUT", "dead").1, broken, "what nobody can decode, and nothing else:\n{}", story());
    let sound = files.iter().filter(|file| file["broken"] == false).map(|file| file["sop_instance"].as_str().unwrap());
    re_encoding_is_told(&site, &sound.collect(), expected);
    let received: BTreeMap<String, PathBuf> = node.files().into_iter().map(|path| (instance_of(&path), path)).collect();
    let list = stage.path().join("pairs.jsonl");
    let pairs = files.iter().filter(|file| file["broken"] == false);
    let pairs = pairs.map(|file| {
        json!({ "sent": file["path"], "received": received[file["sop_instance"].as_str().unwrap()] }).to_string()
    });
    std::fs::write(&list, pairs.collect::<Vec<_>>().join("\n")).unwrap();
    let mut faults = Vec::new();
    for said in python::lines("same_pixels", [&list]) {
        let most = match (said["stored_as"].as_str().unwrap(), said["samples"].as_u64().unwrap()) {
            ("1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51", 3) => 3,
            ("1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51" | "1.2.840.10008.1.2.4.91", _) => 1,
            _ => 0,
        };
        let same = said["off"].as_u64().is_some_and(|off| off <= most);
        // DCMTK's own choice of uncompressed syntaxes has big endian too.
        let as_stored = option == "+x=" && said["stored_as"] == BIG_ENDIAN && said["received_as"] == BIG_ENDIAN;
        let plain = (said["received_as"] == expected || as_stored)
            && !said["photometric"][1].as_str().unwrap().starts_with("YBR_R");
        let by_pixel = said["samples"] == 1 || said["planar"] == 0 || said["stored_as"] == BIG_ENDIAN;
        let always_lossy = said["stored_as"] == "1.2.840.10008.1.2.4.50";
        let lossy = said["lossy"][1] == said["lossy"][0] || (always_lossy && said["lossy"][1] == "01");
        if !(same && plain && by_pixel && lossy && said["method"][0] == said["method"][1]) {
            faults.push(said.to_string());
        }
    }
    assert!(faults.is_empty(), "{}:\n{}", faults.len(), faults.join("\n"));
    site.verify_ledger(true);
}

/// WEB-002, IDY-034: where it was re-encoded the evidence names the rules, the dictionary, and how many elements are UN.
fn re_encoding_is_told(site: &Gateway, instances: &BTreeSet<&str>, expected: &str) {
    let rule = if expected == IMPLICIT_LE { "implicit-le/2" } else { "explicit-le/2" };
    let lines = site.ask(&["transfers", "list", "--json"]);
    let studies: BTreeSet<&str> = lines.iter().map(|line| line["study_instance_uid"].as_str().unwrap()).collect();
    let rows: Vec<Value> = studies.into_iter().flat_map(|study| site.study(study)).collect();
    let mine = rows.iter().filter(|row| instances.contains(row["sop_instance_uid"].as_str().unwrap()));
    let mut told = 0;
    for row in mine {
        let native = [IMPLICIT_LE, EXPLICIT_LE, BIG_ENDIAN].contains(&row["transfer_syntax_uid"].as_str().unwrap());
        let evidence = row["transfers"][0]["evidence"].as_str().unwrap();
        let says = evidence.contains(&format!("changed by {rule} (dicom-dictionary-std ")) && evidence.contains(" UN)");
        assert!(native || says, "{evidence}: {row}");
        told += usize::from(says);
    }
    assert!(told > 20, "{told} of {} are told of", rows.len());
}

fn instance_of(path: &Path) -> String {
    crate::support::files::read_part10(&std::fs::read(path).unwrap()).unwrap().instance
}

#[test]
fn a_node_that_takes_only_implicit_gets_every_image_decoded() {
    through("+xi", IMPLICIT_LE);
}

#[test]
fn a_node_that_takes_only_uncompressed_gets_every_image_decoded() {
    through("+x=", EXPLICIT_LE);
}

/// Made-up instances of one study: each with its class, its syntax and its number.
fn made_up(folder: &Path, kinds: &[(String, &str)]) -> Vec<Value> {
    kinds
        .iter()
        .enumerate()
        .map(|(at, (class, syntax))| {
            let mine: Names = names(91, 1, at as u64);
            let path = folder.join(format!("{at}.dcm"));
            let whole = crate::support::files::head(&mine, 0);
            // The head names the class of a secondary capture; without pixels any class and syntax will do.
            let text = String::from_utf8_lossy(&whole);
            assert!(text.contains(SECONDARY_CAPTURE));
            let body = with_class(&whole[..whole.len() - 12], class);
            std::fs::write(&path, part10(class, &mine.instance, syntax, &body)).unwrap();
            row(&path, class, &mine.instance, syntax)
        })
        .collect()
}

/// The data set with another SOP Class UID.
fn with_class(data_set: &[u8], class: &str) -> Vec<u8> {
    let old: Vec<u8> = [&[26, 0], SECONDARY_CAPTURE.as_bytes()].concat();
    let at = data_set.windows(old.len()).position(|window| window == old).unwrap();
    let mut new = class.as_bytes().to_vec();
    if new.len() % 2 == 1 {
        new.push(0);
    }
    let length = u16::try_from(new.len()).unwrap().to_le_bytes();
    let after = at + old.len() + SECONDARY_CAPTURE.len() % 2;
    [&data_set[..at], &length[..], &new, &data_set[after..]].concat()
}

#[test]
fn a_study_of_140_kinds_goes_over_two_associations() {
    let stage = Stage::new();
    let port = crate::support::config::free_port();
    let site = site(&stage, port, "");
    let kinds: Vec<(String, &str)> = (1..=70)
        .flat_map(|n| [EXPLICIT_LE, JPEG_LS].map(|syntax| (format!("1.2.840.10008.5.1.4.1.1.9999.{n}"), syntax)))
        .collect();
    push(&site, stage.path(), &made_up(stage.path(), &kinds));
    // All of it is there before the node is: one batch.
    let node = OddNode::start_on(port, stage.path(), &[]);
    site.all_become("OUT", "accepted", 140, seconds(120));
    let associations = node.seen("association");
    assert_eq!((associations.len(), node.seen("store").len()), (2, 140));
    for association in &associations {
        let contexts = association["contexts"].as_array().unwrap();
        assert!(contexts.len() <= 128, "{}", contexts.len());
        let default = |class: &Value| contexts.iter().any(|c| c[0] == *class && c[1] == json!([IMPLICIT_LE]));
        let without: Vec<&Value> = contexts.iter().map(|context| &context[0]).filter(|class| !default(class)).collect();
        assert!(without.is_empty(), "offered without the default transfer syntax: {without:?}");
    }
    let sent: BTreeSet<String> = node.seen("store").iter().map(|store| store["sop_instance"].to_string()).collect();
    assert_eq!(sent.len(), 140, "none is lost and none is sent twice");
    assert!(
        node.seen("store").iter().all(|store| store["originator"] == json!([null, null])),
        "no move asked for them"
    );
}

#[test]
fn an_instance_whose_class_is_refused_is_parked_and_the_others_arrive() {
    let stage = Stage::new();
    let class = |n| format!("1.2.840.10008.5.1.4.1.1.9999.{n}");
    let node = OddNode::start(stage.path(), &["--refuse", &class(3)]);
    let site = site(&stage, node.port, "");
    let kinds: Vec<(String, &str)> = (1..=4).map(|n| (class(n), EXPLICIT_LE)).collect();
    let rows = made_up(stage.path(), &kinds);
    push(&site, stage.path(), &rows);
    until(seconds(60), "three are accepted and one is parked", || {
        (site.transfers("OUT", "accepted").1 == 3 && site.transfers("OUT", "parked").1 == 1).then_some(())
    });
    let story = site.cli(&["why", rows[2]["sop_instance"].as_str().unwrap()]).ok("why");
    assert!(story.contains("accepts neither") && story.contains("(it says: abstract syntax not supported)"), "{story}");
    assert_eq!(node.seen("store").len(), 3);
    let told = site.cli(&["status"]).ok("status");
    assert!(told.contains(&format!("OUT: does not take SOP class {}", class(3))), "{told}");
    // DIM-050: who waits for all of it is told that one does not go.
    let study = names(91, 1, 0).study;
    let said = site.cli(&["send", "--study", &study, "--to", "OUT", "--wait"]);
    assert_eq!(said.code, Some(1), "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains("1 transfers to OUT need a person"), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("does not take SOP class {}", class(3))), "{}", said.stderr);
    let said = site.cli(&["send", "--study", &study, "--to", "OUT", "--wait", "--json"]);
    assert!(said.code == Some(1) && said.stdout.contains("\"failed\":1"), "{}{}", said.stdout, said.stderr);
}

/// WEB-063: a try of a class that the node refuses is offered alone, and nothing is accepted: that is no outage. After a start nothing is
/// known of the node but what the records keep.
#[test]
fn a_node_that_refuses_one_class_is_not_taken_for_down_when_only_that_is_tried() {
    let stage = Stage::new();
    let class = |n| format!("1.2.840.10008.5.1.4.1.1.9999.{n}");
    let node = OddNode::start(stage.path(), &["--refuse", &class(1)]);
    let mut site = site(&stage, node.port, "outage_probe = \"100ms\"\n");
    let kinds: Vec<(String, &str)> = (1..=2).map(|n| (class(n), EXPLICIT_LE)).collect();
    let rows = made_up(stage.path(), &kinds);
    push(&site, stage.path(), &rows);
    until(seconds(60), "one is accepted and one is parked", || {
        (site.transfers("OUT", "accepted").1 == 1 && site.transfers("OUT", "parked").1 == 1).then_some(())
    });
    site.stop();
    let came_to = |site: &Gateway| {
        let story = site.cli(&["why", rows[0]["sop_instance"].as_str().unwrap()]).ok("why");
        ["unsupported (", "deferred ("].map(|what| story.matches(what).count())
    };
    let [refused, deferred] = came_to(&site);
    site.up();
    let tried = until(seconds(60), "it is tried again", || {
        let tried = came_to(&site);
        (tried != [refused, deferred]).then_some(tried)
    });
    assert_eq!(tried, [refused + 1, deferred]);
}

/// DIM-050, WEB-063: a node that is up by half accepts the association and no context on it. Nothing is given up for that, and all goes once
/// it is up.
#[test]
fn a_node_that_accepts_no_context_at_all_is_left_alone_and_gets_everything_later() {
    let stage = Stage::new();
    let node = OddNode::start(stage.path(), &["--half-up", "2"]);
    let site = site(&stage, node.port, "");
    push_study(&site, 96, 0, 5);
    site.all_become("OUT", "accepted", 5, seconds(120));
    assert_eq!(node.seen("store").len(), 5);
    let story = site.cli(&["why", &names(96, 1, 0).instance]).ok("why");
    assert!(story.contains("deferred (the node accepted the association and nothing of what was offered"), "{story}");
    site.verify_ledger(true);
}

#[test]
fn an_instance_whose_class_is_refused_goes_under_a_general_one_where_that_is_asked_for() {
    // DIM-051: off by default; what is held stays as it is; the change is recorded in the object and in the ledger.
    let sr = |last: u32| format!("1.2.840.10008.5.1.4.1.1.88.{last}");
    for (lines, accepted, parked) in [("", 2, 2), ("general_class = true\n", 3, 1)] {
        let stage = Stage::new();
        let mut told = vec!["--tell", "SOPClassUID", "--tell", "OriginalSpecializedSOPClassUID"];
        told.extend(["--tell", "OriginalAttributesSequence"]);
        let ecg = ["1", "2"].map(|last| format!("1.2.840.10008.5.1.4.1.1.9.1.{last}"));
        let refused = [sr(11), sr(22), sr(33), ecg[0].clone(), ecg[1].clone()];
        told.extend(refused.iter().flat_map(|class| ["--refuse", class.as_str()]));
        let node = OddNode::start(stage.path(), &told);
        let config = crate::support::config::SiteConfig::new("a", stage.identity_of_a())
            .node("SENDER", None)
            .node("OUT", Some(node.port))
            .with(lines)
            .route("all to the node", "OUT", "from = [\"SENDER\"]")
            .with("[courier]\nretry_first = \"1s\"\nretry_longest = \"2s\"\n");
        let site = Gateway::start(&stage.path().join("a"), config);
        // A Basic Text SR may go as a Comprehensive 3D SR; of the 12-lead ECG the general one is refused too.
        let kinds = [sr(11), ecg[0].clone(), SECONDARY_CAPTURE.into(), sr(34)];
        let kinds: Vec<(String, &str)> = kinds.into_iter().map(|class| (class, EXPLICIT_LE)).collect();
        let rows = made_up(stage.path(), &kinds);
        push(&site, stage.path(), &rows);
        until(seconds(60), "all are settled", || {
            let done = (site.transfers("OUT", "accepted").1, site.transfers("OUT", "parked").1);
            (done == (accepted, parked)).then_some(())
        });
        let instance = rows[0]["sop_instance"].as_str().unwrap();
        let got = node.seen("store").into_iter().find(|store| store["sop_instance"] == instance);
        let story = site.cli(&["why", instance]).ok("why");
        match lines {
            "" => assert!(got.is_none() && story.contains("accepts neither"), "{story}"),
            _ => {
                let got = got.unwrap();
                assert_eq!(got["sop_class"], sr(34).as_str());
                assert_eq!(got["told"]["SOPClassUID"], sr(34).as_str());
                assert_eq!(got["told"]["OriginalSpecializedSOPClassUID"], sr(11).as_str());
                assert!(
                    got["told"]["OriginalAttributesSequence"].as_str().unwrap().contains("UI: Basic Text SR"),
                    "{got}"
                );
                assert!(story.contains("general-class/1"), "{story}");
            }
        }
    }
}

/// Pushes made-up instances of one study over one association, one after the other.
fn push_study(site: &Gateway, story: u64, from: u64, count: u64) {
    let mut association =
        Association::open(site.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    for at in from..from + count {
        let mine = names(story, 1, at);
        let status = association.store(SECONDARY_CAPTURE, &mine.instance, &data_set(&mine, 4096, at)).unwrap();
        assert_eq!(status, Status::SUCCESS);
    }
    association.release();
}

#[test]
fn the_next_batch_of_a_study_uses_the_association_that_lingers() {
    let stage = Stage::new();
    let node = OddNode::start(stage.path(), &[]);
    let site = site(&stage, node.port, "linger = \"60s\"");
    for round in 0..3 {
        push_study(&site, 92, round * 2, 2);
        site.all_become("OUT", "accepted", (round + 1) * 2, seconds(60));
    }
    assert_eq!(node.seen("association").len(), 1);
    // Another study has an association of its own, and the one that lingered is released first.
    push_study(&site, 93, 0, 1);
    site.all_become("OUT", "accepted", 7, seconds(60));
    assert_eq!(node.seen("association").len(), 2);
    until(seconds(20), "the first was released", || (node.seen("end").len() == 1).then_some(()));
    assert_eq!(node.seen("end")[0]["how"], "released");
}

/// FLT-042: what had been sent whole over an association that stayed open may have arrived, as over any other. What follows goes at once.
#[test]
fn what_was_whole_over_an_association_that_stayed_open_is_unknown_without_an_answer() {
    let stage = Stage::new();
    let (third, aborted) = (names(97, 1, 2).instance, std::sync::atomic::AtomicBool::new(false));
    let mine = third.clone();
    let node = BareNode::start(move |_, instance, _| {
        let aborts = instance == mine && !aborted.swap(true, std::sync::atomic::Ordering::SeqCst);
        Manner { when: if aborts { When::AbortsAtTheEnd } else { When::AtTheEnd }, ..Manner::default() }
    });
    let site = site(&stage, node.port, "linger = \"60s\"");
    push_study(&site, 97, 0, 2);
    site.all_become("OUT", "accepted", 2, seconds(60));
    push_study(&site, 97, 2, 2);
    site.all_become("OUT", "accepted", 4, seconds(60));
    let story = site.cli(&["why", &third]).ok("why");
    assert!(story.contains("unknown (sent, but not answered"), "{story}");
    assert_eq!((node.got(&third).len(), node.got(&names(97, 1, 3).instance).len()), (2, 1));
    let told = site.cli(&["why", &names(97, 1, 3).instance]).ok("why");
    assert!(!told.contains("deferred"), "the node is not blamed for an association that it had ended: {told}");
    site.verify_ledger(true);
    note_fired(1);
}

#[test]
fn without_work_the_association_is_released_after_its_time() {
    let stage = Stage::new();
    let node = OddNode::start(stage.path(), &[]);
    let site = site(&stage, node.port, "linger = \"300ms\"");
    push_study(&site, 94, 0, 2);
    site.all_become("OUT", "accepted", 2, seconds(60));
    until(seconds(20), "it was released", || node.seen("end").iter().any(|end| end["how"] == "released").then_some(()));
}

#[test]
fn a_node_that_aborts_and_takes_little_at_a_time_gets_everything_in_the_end() {
    let stage = Stage::new();
    let node = OddNode::start(stage.path(), &["--abort-after", "3", "--pdu", "128", "--slow", "0.05"]);
    let site = site(&stage, node.port, "");
    push_study(&site, 95, 0, 6);
    site.all_become("OUT", "accepted", 6, seconds(120));
    let sent: BTreeSet<String> = node.seen("store").iter().map(|store| store["sop_instance"].to_string()).collect();
    assert_eq!(sent.len(), 6);
    site.verify_ledger(true);
}
