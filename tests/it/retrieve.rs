//! C-MOVE and C-GET as workstations ask: everything arrives as it is held, and the counts are right whatever the destination does.

use crate::support::bare_node::{BareNode, Manner, When};
use crate::support::config::{SiteConfig, free_port};
use crate::support::dcmtk::StoreScp;
use crate::support::files::{data_set_digest, names, read_part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::load::send_all;
use crate::support::odd_node::OddNode;
use crate::support::process::finish;
use crate::support::python;
use crate::support::radiology::{ROOT, Radiology, last, last_time, longest_gap, statuses};
use crate::support::tools::tool;
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// A workstation that may move to the node OUT at a port, and another node to which it may not.
fn nodes(port: u16) -> String {
    format!(
        "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\nmove_to = [\"OUT\"]\n\
         [[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{port}\"\nmay = [\"receive\"]\n\
         [[node]]\nae_title = \"ELSEWHERE\"\naddress = \"127.0.0.1:9\"\nmay = [\"receive\"]\n"
    )
}

fn study(number: u32) -> String {
    format!("{ROOT}.{number}")
}

fn move_study(number: u32) -> Value {
    json!({ "op": "move", "to": "OUT", "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study(number) } })
}

/// Completed, failed and warning of an answer.
fn counts(answer: &Value) -> [Option<u64>; 3] {
    ["completed", "failed", "warning"].map(|name| answer[name].as_u64())
}

fn digests(files: &[PathBuf]) -> BTreeMap<String, String> {
    let one = |path: &PathBuf| (read_part10(&std::fs::read(path).unwrap()).unwrap().instance, data_set_digest(path));
    files.iter().map(one).collect()
}

/// What was sent of a study, with digests.
fn sent(site: &Radiology, number: u32) -> BTreeMap<String, String> {
    let mine = site.files.iter().filter(|file| file["study"] == study(number).as_str());
    digests(&mine.map(|file| PathBuf::from(file["path"].as_str().unwrap())).collect::<Vec<_>>())
}

fn dcmtk(program: &str, site: &Radiology, more: &[&str]) {
    let mut command = Command::new(tool(program));
    command.args(["-v", "-S", "-aet", "RADIOLOGY", "-aec", "WB_A"]).args(more);
    command.args(["-k", "0008,0052=STUDY", "-k", &format!("0020,000d={ROOT}.1")]);
    command.args(["127.0.0.1", &site.site.config.dicom_port.to_string()]);
    let done = finish(&mut command, seconds(60));
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
}

/// UIX-13, DIM-082, DIM-090: DCMTK's `movescu` and `getscu` work as they are, and every instance is bit for bit what was stored.
#[test]
fn movescu_and_getscu_give_every_instance_as_it_was_stored() {
    let stage = Stage::new();
    let node = StoreScp::start(&stage.path().join("out"), "OUT");
    let site = Radiology::start(1, &nodes(node.port));
    dcmtk("movescu", &site, &["-aem", "OUT"]);
    assert_eq!(digests(&node.files()), sent(&site, 1));
    // Who would rather have it compressed offers, in the one context of the class, native syntaxes as well.
    for preferring in [&[][..], &["+xs"], &["+xv"], &["+xt"], &["+xr"], &["+xd"]] {
        let got = stage.path().join(format!("got{}", preferring.concat()));
        std::fs::create_dir_all(&got).unwrap();
        dcmtk("getscu", &site, &[preferring, &["+B", "-od", got.to_str().unwrap()]].concat());
        let files: Vec<PathBuf> = std::fs::read_dir(&got).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(digests(&files), sent(&site, 1), "{preferring:?}");
    }
    site.site.verify_ledger(true);
}

/// DIM-080, DIM-081, DIM-084: what can be asked for at each level, and how the rest is refused.
#[test]
fn each_level_can_be_moved_and_what_cannot_be_is_refused() {
    let stage = Stage::new();
    let node = StoreScp::start(&stage.path().join("out"), "OUT");
    let site = Radiology::start(1, &nodes(node.port));
    let (one, two) = (study(1), study(2));
    let series = format!("{one}.1");
    let ask = |keys: Value| json!({ "op": "move", "to": "OUT", "keys": keys });
    let to = |to: &str| json!({ "op": "move", "to": to, "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": one } });
    let rows = [
        (ask(json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": [one, two] })), 0, Some(4)),
        (
            ask(json!({ "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": one, "SeriesInstanceUID": series })),
            0,
            Some(2),
        ),
        (
            ask(json!({ "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": one, "SeriesInstanceUID": series,
                "SOPInstanceUID": [format!("{series}.2"), "1.2.3"] })),
            0,
            Some(1),
        ),
        (
            json!({ "op": "move", "to": "OUT", "model": "patient", "keys": { "QueryRetrieveLevel": "PATIENT", "PatientID": "P1" } }),
            0,
            Some(4),
        ),
        (
            json!({ "op": "move", "to": "OUT", "model": "patient",
                "keys": { "QueryRetrieveLevel": "STUDY", "PatientID": "P2", "StudyInstanceUID": one } }),
            0,
            Some(0),
        ),
        // Not here, and no other site is asked for priors.
        (ask(json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.3" })), 0, Some(0)),
        (ask(json!({ "QueryRetrieveLevel": "STUDY" })), 0xA900, None),
        (ask(json!({ "QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": series })), 0xA900, None),
        (to("NOBODY"), 0xA801, None),
        (to("ELSEWHERE"), 0x0124, None),
        (to("SENDER"), 0x0124, None),
        (
            json!({ "op": "move", "to": "OUT", "calling": "STRANGER", "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": one } }),
            0x0124,
            None,
        ),
    ];
    let requests: Vec<Value> = rows.iter().map(|(request, ..)| request.clone()).collect();
    for ((request, status, completed), said) in rows.iter().zip(site.ask(&requests)) {
        let answer = last(&said);
        assert_eq!(
            (answer["status"].as_u64(), answer["completed"].as_u64()),
            (Some(*status), *completed),
            "{request}: {answer}"
        );
        // pynetdicom shows an empty identifier where none came with a failure.
        let named = answer["identifier"].as_object().is_some_and(|keys| !keys.is_empty());
        assert!(answer.get("remaining").is_none() && !named, "{request}: {answer}");
    }
}

/// A node that behaves as told, and a site with six instances for it.
fn six(stage: &Stage, options: &[&str]) -> (OddNode, Radiology) {
    let node = OddNode::start(stage.path(), options);
    let site = Radiology::start(6, &nodes(node.port));
    (node, site)
}

/// DIM-082: a destination that lets go of the association after each instance gets the next over another.
#[test]
fn a_destination_that_releases_after_each_instance_gets_them_all() {
    let node = BareNode::start(|_, _, _| Manner { when: When::AtTheEndAndReleases, ..Manner::default() });
    let site = Radiology::start(6, &nodes(node.port));
    let said = &site.ask(&[move_study(2)])[0];
    let answer = last(said);
    assert_eq!((answer["status"].as_u64(), counts(answer)), (Some(0), [Some(6), Some(0), Some(0)]), "{said}");
    assert!(sent(&site, 2).keys().all(|instance| node.got(instance).len() == 1));
}

fn statuses_file(folder: &Path, rows: &Value) -> String {
    let path = folder.join("statuses.json");
    std::fs::write(&path, rows.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// DIM-052, DIM-083, DIM-084, INV-17: one is refused and one is taken with a warning.
#[test]
fn what_the_destination_refuses_is_counted_and_named() {
    let stage = Stage::new();
    let refused = format!("{}.1.2", study(2));
    let told = statuses_file(stage.path(), &json!({ &refused: [0xA700], format!("{}.1.4", study(2)): [0xB000] }));
    let (node, site) = six(&stage, &["--statuses", &told]);
    let said = &site.ask(&[move_study(2)])[0];
    let answer = last(said);
    assert_eq!((answer["status"].as_u64(), counts(answer)), (Some(0xB000), [Some(4), Some(1), Some(1)]), "{said}");
    assert_eq!(answer["identifier"], json!({ "FailedSOPInstanceUIDList": refused }));
    let pending: Vec<u64> = said["answers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|a| a["status"] == 0xFF00)
        .map(|a| a["remaining"].as_u64().unwrap() + counts(a).iter().map(|n| n.unwrap()).sum::<u64>())
        .collect();
    assert!(pending.len() >= 2 && pending.iter().all(|sum| *sum == 6), "each pending answer adds up: {said}");
    let stores = node.seen("store");
    assert!(
        stores.len() == 6 && stores.iter().all(|store| store["originator"] == json!(["RADIOLOGY", 7])),
        "{stores:?}"
    );
    assert_eq!(site.retrieved("done")["failed"], 1);
}

/// FLT-080, INV-17: the destination aborts in the middle, or is not there at all.
#[test]
fn a_destination_that_dies_leaves_right_counts() {
    let stage = Stage::new();
    // One that is there again gets it over another association.
    let (_node, site) = six(&stage, &["--abort-after", "3"]);
    let answer = last(&site.ask(&[move_study(2)])[0]).clone();
    assert_eq!((answer["status"].as_u64(), counts(&answer)), (Some(0), [Some(6), Some(0), Some(0)]), "{answer}");
    note_fired(1);
    let fatal = format!("{}.1.2", study(2));
    let uid = fatal.clone();
    let node = BareNode::start(move |_, instance, _| match instance == uid {
        true => Manner { when: When::AbortsEarly, ..Manner::default() },
        false => Manner::default(),
    });
    let site = Radiology::start(6, &nodes(node.port));
    let answer = last(&site.ask(&[move_study(2)])[0]).clone();
    assert_eq!((answer["status"].as_u64(), counts(&answer)), (Some(0xB000), [Some(5), Some(1), Some(0)]), "{answer}");
    assert_eq!(answer["identifier"], json!({ "FailedSOPInstanceUIDList": fatal }));
    note_fired(1);
    let nobody = Radiology::start(6, &nodes(free_port()));
    let answer = last(&nobody.ask(&[move_study(2)])[0]).clone();
    assert_eq!((answer["status"].as_u64(), counts(&answer)), (Some(0xA702), [Some(0), Some(6), Some(0)]), "{answer}");
    assert!(answer["comment"].as_str().is_some_and(|said| said.starts_with("cannot connect to 127.0.0.1")), "{answer}");
    let list = answer["identifier"]["FailedSOPInstanceUIDList"].as_str().unwrap();
    assert_eq!(list.split('\\').count(), 6);
    note_fired(1);
}

/// DIM-082, DIM-084: what the destination takes no context for has failed and is named; the rest is given.
#[test]
fn a_context_that_the_destination_refuses_is_a_failure() {
    let stage = Stage::new();
    for (refused, status, want) in
        [(&[CAPTURE][..], 0xB000, [Some(2), Some(1), Some(0)]), (&[CAPTURE, CT], 0xA702, [Some(0), Some(3), Some(0)])]
    {
        let options: Vec<&str> = refused.iter().flat_map(|class| ["--refuse", class]).collect();
        let node = OddNode::start(stage.path(), &options);
        let site = Radiology::start(1, &nodes(node.port));
        let said = &site.ask(&[move_study(1)])[0];
        let answer = last(said);
        assert_eq!((answer["status"].as_u64(), counts(answer)), (Some(status), want), "{said}");
        let list = answer["identifier"]["FailedSOPInstanceUIDList"].as_str().unwrap();
        let failed = list.split('\\').filter(|uid| uid.starts_with(&study(1))).count() as u64;
        assert_eq!(Some(failed), want[1], "{answer}");
        assert!(list.split('\\').any(|uid| uid == format!("{}.2.1", study(1))), "{answer}");
        assert_eq!(Some(node.seen("store").len() as u64), want[0]);
    }
}

/// DIM-083: who asked hears from us every 10 seconds, also while a destination is slow to take an instance, and then to end its association.
#[test]
fn a_slow_destination_keeps_nobody_without_a_sign_of_life() {
    let stage = Stage::new();
    let node = OddNode::start(stage.path(), &["--slow", "7", "--slow-release", "20"]);
    let site = Radiology::start(1, &nodes(node.port));
    let said = &site.ask(&[move_study(3)])[0];
    let answer = last(said);
    assert_eq!((answer["status"].as_u64(), counts(answer)), (Some(0), [Some(1), Some(0), Some(0)]), "{said}");
    assert!(last_time(said) > 11.0, "it took long enough: {said}");
    assert!(longest_gap(said) <= 14.0, "{said}");
}

/// DIM-012: a destination that says that it is busy just now is asked again.
#[test]
fn a_destination_that_is_busy_for_a_moment_gets_everything() {
    let stage = Stage::new();
    let (node, site) = six(&stage, &["--busy", "2"]);
    let answer = last(&site.ask(&[move_study(2)])[0]).clone();
    assert_eq!((answer["status"].as_u64(), counts(&answer)), (Some(0), [Some(6), Some(0), Some(0)]), "{answer}");
    assert_eq!((node.seen("rejected").len(), node.seen("store").len()), (2, 6));
}

/// DIM-086, DIM-087, FLT-081, INV-17: after a cancel, or when whoever asked is gone, nothing more begins.
#[test]
fn a_cancel_or_a_lost_originator_starts_nothing_more() {
    let stage = Stage::new();
    let (node, site) = six(&stage, &["--slow", "0.7"]);
    let mut request = move_study(2);
    request["cancel"] = json!(2);
    let answer = last(&site.ask(&[request])[0]).clone();
    let remaining = answer["remaining"].as_u64().unwrap();
    let sum = remaining + counts(&answer).iter().map(|n| n.unwrap()).sum::<u64>();
    assert_eq!((answer["status"].as_u64(), sum), (Some(0xFE00), 6), "{answer}");
    assert!(remaining >= 2, "{answer}");
    assert_eq!(node.seen("store").len() as u64, 6 - remaining, "what was begun was finished, and nothing else begun");
    note_fired(1);
    let mut request = move_study(2);
    request["drop"] = json!(2);
    site.ask(&[request]);
    let facts = site.retrieved("originator_lost");
    let number = |name: &str| facts[name].as_u64().unwrap();
    assert_eq!(number("completed") + number("remaining") + number("failed"), 6, "{facts}");
    assert!(number("remaining") >= 2, "{facts}");
    assert_eq!(node.seen("store").len() as u64, 6 - remaining + number("completed") + number("failed"));
    note_fired(1);
}

/// FLT-082: of more instances than the counts of an answer can say, 65535 are said to remain, from the first answer to the last.
#[test]
fn counts_of_more_instances_than_an_answer_can_say_are_clamped() {
    const COUNT: &str = "72000";
    let stage = Stage::new();
    let node = OddNode::start(stage.path(), &[]);
    let config = SiteConfig::new("a", stage.identity_of_a())
        .node("SENDER", None)
        .with(&nodes(node.port))
        .with("[retention]\npurge = false\n[store]\nscrub_rate = \"64 KiB\"");
    let mut site = Gateway::start(&stage.path().join("a"), config);
    send_all(880, 0..1, site.config.dicom_port, "WB_A");
    site.stop();
    let data = site.data_dir();
    python::run("many_instances", [data.to_str().unwrap(), COUNT, "0", COUNT], seconds(300)).ok("many instances");
    site.up();
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": names(880, 0, 0).study + ".1" });
    let list = stage.path().join("requests.jsonl");
    std::fs::write(&list, json!({ "op": "move", "to": "OUT", "keys": keys, "cancel": 2 }).to_string()).unwrap();
    let port = site.config.dicom_port.to_string();
    let said = python::lines("query", [port.as_str(), "WB_A", list.to_str().unwrap()]).remove(0);
    let remaining: Vec<u64> =
        said["answers"].as_array().unwrap().iter().filter_map(|answer| answer["remaining"].as_u64()).collect();
    assert_eq!(statuses(&said).last(), Some(&0xFE00), "{:?}", last(&said));
    assert!(remaining.len() > 2 && remaining.iter().all(|count| *count == 65535), "{remaining:?}");
    note_fired(remaining.len());
}

/// DIM-090, DIM-084: C-GET gives what the requester is SCP of, and names the rest; it takes answers on any context of the class.
#[test]
fn a_get_brings_what_the_requester_takes_and_names_the_rest() {
    let site = Radiology::start(6, &nodes(free_port()));
    let get = |number: u32, more: Value| {
        let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study(number) });
        let mut request = json!({ "op": "get", "keys": keys, "classes": [CT, MR] });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let refused = format!("{}.1.5", study(2));
    let said = site.ask(&[
        get(2, json!({})),
        get(2, json!({ "refuse": [refused] })),
        get(1, json!({})),
        get(2, json!({ "cancel": 2 })),
        get(2, json!({ "classes": [] })),
        get(2, json!({ "calling": "STRANGER" })),
        get(2, json!({ "astray": true })),
    ]);
    assert_eq!(
        (statuses(&said[0]).last(), counts(last(&said[0]))),
        (Some(&0), [Some(6), Some(0), Some(0)]),
        "{}",
        said[0]
    );
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    // The last answers each instance on another context of its class.
    for got in [&said[0], &said[6]] {
        let pairs = got["got"].as_array().unwrap().iter();
        let got: BTreeMap<String, String> = pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
        assert_eq!(got, sent(&site, 2), "bit for bit");
    }
    assert_eq!((last(&said[6])["status"].as_u64(), counts(last(&said[6]))), (Some(0), [Some(6), Some(0), Some(0)]));
    for (at, want, list) in
        [(1, [Some(5), Some(1), Some(0)], refused), (2, [Some(2), Some(1), Some(0)], format!("{}.2.1", study(1)))]
    {
        let answer = last(&said[at]);
        assert_eq!((answer["status"].as_u64(), counts(answer)), (Some(0xB000), want), "{answer}");
        assert_eq!(answer["identifier"]["FailedSOPInstanceUIDList"], list.as_str());
    }
    let answer = last(&said[3]);
    let sum = answer["remaining"].as_u64().unwrap_or(0) + counts(answer).iter().map(|n| n.unwrap()).sum::<u64>();
    assert!(sum == 6 && (answer["status"] == 0xFE00 || answer["status"] == 0), "{answer}");
    assert_eq!(
        (last(&said[4])["status"].as_u64(), counts(last(&said[4]))),
        (Some(0xA702), [Some(0), Some(6), Some(0)])
    );
    assert_eq!(last(&said[5])["status"], 0x0124);
}

/// "Foreign patients" in docs/ARCHITECTURE.md, IDY-040: found and moved by the number that the objects carry when they come.
#[test]
fn a_node_sees_other_sites_patients_as_the_objects_will_carry_them() {
    let stage = Stage::new();
    let node = StoreScp::start(&stage.path().join("out"), "OUT");
    let site = Radiology::start(1, &nodes(node.port));
    let foreign = names(460, 1, 1);
    site.push_as_peer(&foreign);
    let find = |patient: &str| json!({ "keys": { "QueryRetrieveLevel": "STUDY", "PatientID": patient, "StudyInstanceUID": "" } });
    let take = |patient: &str| json!({ "op": "move", "to": "OUT", "model": "patient", "keys": { "QueryRetrieveLevel": "PATIENT", "PatientID": patient } });
    let said = site.ask(&[find("b:T0000001"), find("T0000001"), take("T0000001"), take("b:T0000001")]);
    assert_eq!(statuses(&said[0]), [0xFF00, 0], "{}", said[0]);
    let shown = &said[0]["answers"][0]["identifier"];
    assert_eq!(
        (shown["PatientID"].as_str(), shown["StudyInstanceUID"].as_str()),
        (Some("b:T0000001"), Some(&*foreign.study))
    );
    assert_eq!(statuses(&said[1]), [0], "nobody here has that number: {}", said[1]);
    assert_eq!(last(&said[2])["completed"], 0);
    assert_eq!(last(&said[3])["completed"], 1, "{}", said[3]);
    let text = finish(Command::new(tool("dcmdump")).arg("+L").arg(&node.files()[0]), seconds(20)).ok("dcmdump");
    assert!(text.contains("(0010,0020) LO [b:T0000001]"), "{text}");
}

/// "Freshness", DIM-082: a lane and a move that give a node the same study do so one after the other, each over an association of its own:
/// many nodes cannot file one study from two at once.
#[test]
fn a_lane_and_a_move_give_a_node_one_study_one_after_the_other() {
    let stage = Stage::new();
    let node = OddNode::start(stage.path(), &["--slow", "0.4"]);
    let route = "[[route]]\nname = \"all to the node\"\nfrom = [\"SENDER\"]\nto = [\"OUT\"]\n";
    let site = Radiology::start(12, &(nodes(node.port) + route));
    let of_study = |store: &Value| store["sop_instance"].as_str().unwrap().starts_with(&format!("{}.", study(2)));
    let seen = || node.seen("store").into_iter().filter(of_study).collect::<Vec<_>>();
    until(seconds(60), "the lane is at it", || (!seen().is_empty()).then_some(()));
    let answer = last(&site.ask(&[move_study(2)])[0]).clone();
    assert_eq!((answer["status"].as_u64(), counts(&answer)), (Some(0), [Some(12), Some(0), Some(0)]), "{answer}");
    site.site.all_become("OUT", "accepted", 16, seconds(60));
    let stores = seen();
    let moved: Vec<bool> = stores.iter().map(|store| store["originator"][0] == "RADIOLOGY").collect();
    assert!(!moved[0] && moved.iter().filter(|moved| **moved).count() == 12 && moved.len() == 24, "{stores:?}");
    let mut associations: Vec<u64> = stores.iter().map(|store| store["association"].as_u64().unwrap()).collect();
    let turns = associations.chunk_by(|one, other| one == other).count();
    associations.sort_unstable();
    associations.dedup();
    assert_eq!(turns, associations.len(), "none was used again after another had its turn: {stores:?}");
    assert!(turns >= 2);
}
