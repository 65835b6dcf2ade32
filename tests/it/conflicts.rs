//! The same UID with other content, through the front door: judged, shown side by side, decided by a person (IDY-020, UIX-09).

use crate::canon::written;
use crate::support::caller::{Caller, Request};
use crate::support::dcmtk::{StoreScp, dcmsend, storescu};
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names};
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::pacs::{Association, Status};
use crate::support::process::finish;
use crate::support::proxy::Proxy;
use crate::support::tools::{demo_study, tool};
use crate::support::two_sites::{Stage, TwoSites};
use crate::support::wait::{seconds, until};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const OTHER_PATIENT: &str = "X7777777";

/// An image, and the same with other values.
struct Slice {
    folder: tempfile::TempDir,
    file: PathBuf,
    instance: String,
    study: String,
}

impl Slice {
    fn new() -> Self {
        Self::of(demo_study("ct")[0].clone())
    }

    fn of(file: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let told = finish(
            Command::new(tool("dcmdump")).args(["-q", "+P", "0008,0018", "+P", "0020,000D"]).arg(&file),
            seconds(30),
        );
        let told = told.ok("dcmdump");
        let uids: Vec<String> = told.split(['[', ']']).skip(1).step_by(2).map(str::to_owned).collect();
        Self { folder, file, instance: uids[0].clone(), study: uids[1].clone() }
    }

    fn to(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A copy with one value instead of another.
    fn with(&self, name: &str, change: &str) -> PathBuf {
        self.changed(name, &[change])
    }

    /// The same with several.
    fn changed(&self, name: &str, changes: &[&str]) -> PathBuf {
        let copy = self.to(name);
        std::fs::copy(&self.file, &copy).unwrap();
        let mut command = Command::new(tool("dcmodify"));
        command.arg("-nb");
        for change in changes {
            command.args(["-i", change]);
        }
        finish(command.arg(&copy), seconds(30)).ok("dcmodify");
        copy
    }
}

fn send(site: &Gateway, file: &Path) {
    dcmsend(site.config.dicom_port, &site.config.ae_title, &[file.to_owned()]).ok("dcmsend");
}

fn exceptions(site: &Gateway, all: bool) -> Vec<Value> {
    site.ask(if all { &["exceptions", "list", "--all", "--json"] } else { &["exceptions", "list", "--json"] })
}

/// Waits until `count` conflicts have a verdict, and gives all.
fn judged(site: &Gateway, count: usize) -> Vec<Value> {
    until(seconds(60), "every conflict is judged", || {
        let conflicts: Vec<Value> = exceptions(site, true).into_iter().filter(|x| x["kind"] == "conflict").collect();
        (conflicts.len() == count && conflicts.iter().all(|x| !x["verdict"].is_null())).then_some(conflicts)
    })
}

/// What a store SCP was sent, by its own log.
fn received(node: &StoreScp) -> usize {
    let log = std::fs::read_to_string(node.folder.with_extension("log")).unwrap();
    log.matches("Received Store Request").count()
}

/// One site that sends everything on to a node.
fn with_node(stage: &Stage, node: &StoreScp, keys: &str) -> Gateway {
    let config = stage.site_a("https://127.0.0.1:9/dicom-web").node("OUT", Some(node.port)).route(
        "ct to the node",
        "OUT",
        "from = [\"CT1\"]",
    );
    let config = config.node("CT1", None).with(keys);
    Gateway::start(&stage.path().join("a"), config)
}

/// Sends a file as CT1, whatever its syntax.
fn send_as(site: &Gateway, title: &str, file: &Path) {
    let mut command = Command::new(tool("dcmsend"));
    command.args(["-v", "-dn", "-aet", title, "-aec", &site.config.ae_title, "127.0.0.1"]);
    finish(command.arg(site.config.dicom_port.to_string()).arg(file), seconds(60)).ok("dcmsend");
}

/// IDY-003, IDY-005, IDY-007: the same object in other syntaxes is no conflict, and reaches the peer once.
#[test]
fn the_same_in_another_syntax_is_released_and_sent_once() {
    let sites = TwoSites::start(None);
    let slice = Slice::new();
    send(&sites.a, &slice.file);
    sites.a.all_become("b", "verified", 1, seconds(60));
    let implicit = written("dcmconv", &["+ti"], &slice.file, &slice.to("implicit.dcm"));
    storescu(sites.a.config.dicom_port, "WB_A", &["-xi"], &[implicit]).ok("storescu");
    send(&sites.a, &written("dcmcjpls", &[], &slice.file, &slice.to("jpeg-ls.dcm")));
    send(&sites.a, &written("dcmcrle", &[], &slice.file, &slice.to("rle.dcm")));
    let conflicts = judged(&sites.a, 3);
    assert!(conflicts.iter().all(|x| x["verdict"] == "same" && !x["closed"].is_null()), "{conflicts:?}");
    assert_eq!(exceptions(&sites.a, false), Vec::<Value>::new());
    assert_eq!((sites.a.transfers("b", "verified").1, sites.a.transfers("b", "cancelled").1), (1, 3));
    // And again, after the verdict.
    send(&sites.a, &slice.to("jpeg-ls.dcm"));
    assert_eq!(sites.a.transfers("b", "pending").1, 0);
    assert_eq!(ledger::arrivals(&sites.b)[&slice.instance], 1, "one reached B");
    let told = ledger::export(&sites.a);
    let verdicts = told.iter().filter(|entry| entry["kind"] == "judged" && entry["facts"]["verdict"] == "same");
    assert_eq!(verdicts.count(), 3);
    sites.a.verify_ledger(true);
    sites.b.verify_ledger(true);
}

/// UIX-09: the difference is shown on the terminal and nowhere else; a person accepts, and the revision goes out.
#[test]
fn a_revision_is_shown_side_by_side_and_goes_out_when_a_person_accepts_it() {
    let (stage, out) = (Stage::new(), tempfile::tempdir().unwrap());
    let node = StoreScp::start(&out.path().join("out"), "OUT");
    let mut site = with_node(&stage, &node, "");
    let slice = Slice::new();
    send_as(&site, "CT1", &slice.file);
    site.all_become("OUT", "accepted", 1, seconds(60));
    send_as(&site, "CT1", &slice.with("revision.dcm", &format!("(0010,0020)={OTHER_PATIENT}")));
    let conflict = judged(&site, 1).remove(0);
    assert_eq!((conflict["verdict"].as_str(), conflict["closed"].is_null()), (Some("revision"), true));
    let id = conflict["exception"].to_string();
    let shown = site.cli(&["exceptions", "show", &id]).ok("show");
    let line = shown.lines().find(|line| line.trim().starts_with("(0010,0020)")).unwrap_or_else(|| panic!("{shown}"));
    for word in ["PatientID", "H0000001", OTHER_PATIENT] {
        assert!(line.contains(word), "{shown}");
    }
    assert!(shown.contains("pixels    the same") && !shown.contains("(0010,0010)"), "{shown}");
    let value = site.ask(&["exceptions", "show", &id, "--json"]).remove(0);
    assert_eq!(value["differences"][0]["second"], OTHER_PATIENT);
    assert_eq!(value["differences"].as_array().unwrap().len(), 1);
    let versions = value["versions"].as_array().unwrap();
    assert_eq!((versions.len(), &versions[1]["version"]), (2, &value["version"]), "{value}");
    assert!(versions.iter().all(|version| version["source"].is_string() && version["received"].is_string()), "{value}");
    site.stop();
    assert!(site.cli(&["exceptions", "show", &id]).ok("show while it is down").contains(OTHER_PATIENT));
    let accept = ["exceptions", "resolve", &id, "--as", "accept", "--by", "Jo Ward", "--reason", "patient was merged"];
    assert_eq!(site.cli(&accept).code, Some(3), "nobody is there to decide for");
    site.up();
    assert_eq!(received(&node), 1, "nothing of it went out while it was held");
    assert_eq!(site.cli(&accept[..7]).code, Some(2), "a decision needs a reason");
    assert_eq!(site.cli(&["exceptions", "resolve", &id, "--as", "retry", "--by", "Jo", "--reason", "x"]).code, Some(2));
    site.cli(&accept).ok("accept");
    site.all_become("OUT", "accepted", 2, seconds(60));
    assert_eq!(received(&node), 2);
    let sent = std::fs::read(&node.files()[0]).unwrap();
    assert!(
        sent.windows(OTHER_PATIENT.len()).any(|window| window == OTHER_PATIENT.as_bytes()),
        "the node has the revision"
    );
    assert_eq!(site.cli(&accept).code, Some(1), "it is decided");
    assert_eq!(exceptions(&site, false), Vec::<Value>::new());
    let acts: Vec<Value> = ledger::export(&site).into_iter().filter(|entry| entry["kind"] == "act").collect();
    assert_eq!(
        (acts[0]["facts"]["verb"].as_str(), acts[0]["facts"]["who"].as_str()),
        (Some("accept"), Some("Jo Ward"))
    );
    let story = site.cli(&["why", &slice.instance]).ok("why");
    assert!(story.contains("Jo Ward") && story.contains("patient was merged"), "{story}");
    assert!(story.contains("version 2: attempt") && story.contains("version 2: now: to OUT: accepted"), "{story}");
    assert!(!story.contains("instances:"), "one instance: {story}");
    assert!(!format!("{:?}", ledger::export(&site)).contains(OTHER_PATIENT), "nothing of the patient is in the ledger");
    assert!(!site.log().contains(OTHER_PATIENT), "nor in the log");
    site.verify_ledger(true);
}

/// IDY-020, rows D5 to D8: loss in one of two, whichever came first, another place, another class and another patient's NHS number wait for a
/// person, each with its verdict. What was there before stays, and nothing more goes out.
#[test]
fn loss_another_place_another_class_and_another_patient_wait_for_a_person() {
    let (stage, out) = (Stage::new(), tempfile::tempdir().unwrap());
    let node = StoreScp::start(&out.path().join("out"), "OUT");
    let site = with_node(&stage, &node, "");
    let (ct, us) = (Slice::new(), Slice::of(demo_study("us")[0].clone()));
    let decoded = |from: &Path, name: &str| written("dcmdjpeg", &[], from, &us.to(name));
    let lossless = decoded(&us.file, "decoded.dcm");
    let again = us.with("again.dcm", "(0008,0018)=2.25.7000000000092.1");
    let named = |name: &str, number: &str| {
        ct.changed(name, &["(0008,0018)=2.25.7000000000092.2", &format!("(0010,0020)={number}")])
    };
    let first = [ct.file.clone(), lossless, again.clone(), named("ann.dcm", "4505577104")];
    first.iter().for_each(|file| send_as(&site, "CT1", file));
    site.all_become("OUT", "accepted", 4, seconds(60));
    let second = [
        (us.file.clone(), "lossy"),
        (decoded(&again, "decoded-again.dcm"), "lossy"),
        (ct.with("series.dcm", "(0020,000E)=2.25.7000000000092.3"), "other place"),
        (ct.with("study.dcm", "(0020,000D)=2.25.7000000000092.4"), "other place"),
        (ct.with("class.dcm", "(0008,0016)=1.2.840.10008.5.1.4.1.1.4"), "other class"),
        (named("bob.dcm", "6328797966"), "other patient"),
    ];
    second.iter().for_each(|(file, _)| send_as(&site, "CT1", file));
    let conflicts = judged(&site, second.len());
    for (conflict, (file, want)) in conflicts.iter().zip(&second) {
        assert_eq!((&conflict["verdict"], conflict["closed"].is_null()), (&Value::from(*want), true), "{file:?}");
        let shown = site.ask(&["exceptions", "show", &conflict["exception"].to_string(), "--json"]).remove(0);
        let states: Vec<&Value> = shown["versions"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
        assert_eq!(states, ["stored", "held"], "{file:?}: {shown}");
    }
    assert!(conflicts[5]["words"].as_str().unwrap().contains("ANOTHER PATIENT"), "{}", conflicts[5]);
    assert_eq!((site.transfers("OUT", "held").1, site.transfers("OUT", "accepted").1), (6, 4));
    assert_eq!((received(&node), node.files().len()), (4, 4), "nothing of it went out");
    site.verify_ledger(true);
}

/// INV-12: what a person rejects goes nowhere, also when it arrives again, and after a restart.
#[test]
fn what_a_person_rejects_goes_nowhere() {
    let (stage, out) = (Stage::new(), tempfile::tempdir().unwrap());
    let node = StoreScp::start(&out.path().join("out"), "OUT");
    let mut site = with_node(&stage, &node, "");
    let slice = Slice::new();
    send_as(&site, "CT1", &slice.file);
    site.all_become("OUT", "accepted", 1, seconds(60));
    let wrong = slice.with("wrong.dcm", "(0018,0050)=9.0");
    send_as(&site, "CT1", &wrong);
    let conflict = judged(&site, 1).remove(0);
    assert_eq!(conflict["verdict"], "other content");
    let id = conflict["exception"].to_string();
    site.cli(&["exceptions", "resolve", &id, "--as", "reject", "--by", "Jo", "--reason", "test object"]).ok("reject");
    assert_eq!(exceptions(&site, false), Vec::<Value>::new());
    send_as(&site, "CT1", &wrong);
    site.kill();
    site.up();
    send_as(&site, "CT1", &wrong);
    assert_eq!((site.transfers("OUT", "accepted"), site.transfers("OUT", "cancelled").1), ((2, 1), 1));
    assert_eq!(received(&node), 1);
    assert_eq!(site.study(&slice.study).len(), 2, "both are kept");
    assert_eq!(exceptions(&site, true)[0]["decision"], "rejected");
    site.verify_ledger(true);
}

/// LED-030: a version that a person rejected leaves the disk after its time like any other, and is still rejected when it comes again.
#[test]
fn what_a_person_rejected_is_purged_and_rejected_again() {
    let (stage, out) = (Stage::new(), tempfile::tempdir().unwrap());
    let node = StoreScp::start(&out.path().join("out"), "OUT");
    let eager = "[retention]\nkeep_at_least = \"1ms\"\nkeep_at_most = \"1ms\"\nevery = \"10ms\"";
    let site = with_node(&stage, &node, eager);
    let slice = Slice::new();
    send_as(&site, "CT1", &slice.file);
    site.all_become("OUT", "accepted", 1, seconds(60));
    let wrong = slice.with("wrong.dcm", "(0018,0050)=9.0");
    send_as(&site, "CT1", &wrong);
    let id = judged(&site, 1).remove(0)["exception"].to_string();
    assert_eq!(site.study(&slice.study)[1]["state"], "held", "while it waits");
    site.cli(&["exceptions", "resolve", &id, "--as", "reject", "--by", "Jo", "--reason", "test object"]).ok("reject");
    let purged = |times: usize| {
        until(seconds(30), "its bytes leave the disk", || {
            let states: Vec<Value> = site.study(&slice.study).into_iter().map(|one| one["state"].clone()).collect();
            let entries = ledger::export(&site);
            let condemned = entries.iter().filter(|entry| entry["kind"] == "condemned");
            let went: usize = condemned.map(|entry| entry["facts"]["versions"].as_array().unwrap().len()).sum();
            (states == ["stored", "purged"] && went == times).then_some(())
        });
    };
    purged(1);
    send_as(&site, "CT1", &wrong);
    purged(2);
    assert_eq!((exceptions(&site, false).len(), received(&node)), (0, 1), "decided once, and sent nowhere");
    let story = site.cli(&["why", &slice.instance]).ok("why");
    assert!(story.contains("a person rejected this version"), "{story}");
    site.verify_ledger(true);
}

/// "The same UID with other content": what a source writes anew each time makes no conflict; for everybody else it does.
#[test]
fn a_volatile_attribute_makes_no_conflict_for_its_source() {
    let (stage, out) = (Stage::new(), tempfile::tempdir().unwrap());
    let node = StoreScp::start(&out.path().join("out"), "OUT");
    let site = with_node(&stage, &node, "volatile = [\"InstanceCreationTime\", \"00080012\"]");
    let slice = Slice::new();
    send_as(&site, "CT1", &slice.file);
    site.all_become("OUT", "accepted", 1, seconds(60));
    send_as(&site, "CT1", &slice.with("stamped.dcm", "(0008,0013)=235959"));
    assert_eq!(judged(&site, 1)[0]["verdict"], "same");
    send_as(&site, "SENDER", &slice.with("other.dcm", "(0008,0013)=111111"));
    assert_eq!(judged(&site, 2)[1]["verdict"], "other content");
    assert_eq!(received(&node), 1);
    site.verify_ledger(true);
}

/// "The same UID with other content": with C010 a node is told each time that its version is in conflict, also when it sends the same again.
#[test]
fn a_node_that_wants_to_know_is_told_of_the_conflict_every_time() {
    let stage = Stage::new();
    let strict = "[[node]]\nae_title = \"STRICT\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\"]\nconflict_status = \"C010\"";
    let site = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web").with(strict));
    let names = names(67, 1, 1);
    let store = |calling: &str, names: &Names, seed: u64| {
        let mut association =
            Association::open(site.config.dicom_port, calling, "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
        let status = association.store(SECONDARY_CAPTURE, &names.instance, &data_set(names, 8 << 10, seed)).unwrap();
        association.release();
        status
    };
    assert_eq!(store("STRICT", &names, 1), Status::SUCCESS);
    for _ in 0..2 {
        assert_eq!(store("STRICT", &names, 2).0, 0xC010);
        assert_eq!(store("SENDER", &names, 2), Status::SUCCESS, "its bytes are safe with us");
    }
    assert_eq!(judged(&site, 1)[0]["verdict"], "other pixels");
    assert_eq!(store("STRICT", &names, 2).0, 0xC010, "also after the verdict");
    assert_eq!(store("STRICT", &names, 1), Status::SUCCESS, "the first is no conflict");
}

/// FLT-022: what the records do not take leaves nothing on the disk, is no failure of the store, and holds up nobody else.
#[test]
fn content_that_is_not_kept_leaves_no_bytes() {
    const MOST: u64 = 1000;
    let stage = Stage::new();
    let site = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let named = names(81, 1, 1);
    let request = Request::new("DCMTK", &site.config.ae_title).context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE]);
    let (mut caller, _) = Caller::accepted(site.config.dicom_port, &request);
    let mut store = |seed, named: &Names, bytes| {
        caller.store(1, SECONDARY_CAPTURE, &named.instance, &data_set(named, bytes, seed)).unwrap().status
    };
    assert!((0..MOST).all(|seed| store(seed, &named, 2048) == 0));
    let on_disk = || {
        let files = std::fs::read_dir(site.data_dir().join("blobs")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum::<u64>()
    };
    let before = on_disk();
    assert!((MOST..MOST + 8).all(|seed| store(seed, &named, 4 << 20) == 0xC000));
    assert_eq!(store(7, &names(81, 1, 2), 2048), 0, "another instance");
    let left = on_disk().saturating_sub(before);
    assert!(left < 4 << 20, "what was refused is freed, but {left} bytes");
}

/// INV-12: a revision that never arrived is not taken for delivered because the peer has what was before it.
#[test]
fn a_revision_in_doubt_is_not_what_was_there_before() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let between = Proxy::to(b.config.web_port);
    let url = format!("https://127.0.0.1:{}/dicom-web", between.port);
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&url));
    let named = names(82, 1, 1);
    let push = |a: &Gateway, bytes, seed| {
        let mut association =
            Association::open(a.config.dicom_port, "SENDER", &a.config.ae_title, SECONDARY_CAPTURE, EXPLICIT_LE)
                .unwrap();
        association.store(SECONDARY_CAPTURE, &named.instance, &data_set(&named, bytes, seed)).unwrap();
        association.release();
    };
    push(&a, 2048, 1);
    a.all_become("b", "verified", 1, seconds(60));
    push(&a, 1 << 20, 2);
    let id = judged(&a, 1).remove(0)["exception"].to_string();
    between.throttle(100_000);
    a.cli(&["exceptions", "resolve", &id, "--as", "accept", "--by", "Jo", "--reason", "it is a revision"]).ok("accept");
    until(seconds(30), "it is being sent", || {
        a.cli(&["why", &named.instance]).stdout.contains("now: to b: leased").then_some(())
    });
    a.kill();
    between.cut_now();
    between.throttle(0);
    assert!(exceptions(&b, false).is_empty(), "B has seen nothing of it");
    a.up();
    let held = until(seconds(60), "B has it, and asks a person", || {
        exceptions(&b, false).into_iter().find(|exception| exception["kind"] == "conflict")
    });
    assert_eq!(held["sop_instance_uid"], named.instance.as_str());
    until(seconds(30), "A knows that B shows something else", || (a.transfers("b", "dead").1 == 1).then_some(()));
    assert_eq!(a.transfers("b", "verified").1, 1, "{}", a.cli(&["why", &named.instance]).stdout);
    a.verify_ledger(false);
}
