//! Other sites' patients, further: changes over two hops that can be taken back, marks for a node that asks for them, a person who
//! releases what was held, and who is surely ours.

use crate::support::config::{SiteConfig, free_port};
use crate::support::dcmtk::StoreScp;
use crate::support::files::read_part10;
use crate::support::gateway::Gateway;
use crate::support::process::finish;
use crate::support::python;
use crate::support::tools::tool;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::seconds;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A site of the name, which passes everything that SENDER sends on to its peer at a URL.
fn sending(stage: &Stage, name: &str, url: &str) -> Gateway {
    let identity = stage.authority.issue(&format!("{name}.weybridge.test"));
    let config = SiteConfig::new(name, identity).node("SENDER", None).peer("next", url, B_IDENTITY, "present");
    Gateway::start(&stage.path().join(name), config.route("all on", "next", ""))
}

/// A site of the name that passes on to the node OUT what its peer sends; these lines stand in the node's entry.
fn receiving(stage: &Stage, name: &str, from: &str, port: u16, lines: &str, more: &str) -> Gateway {
    let nobody = format!("https://127.0.0.1:{}/dicom-web", free_port());
    let node =
        format!("[[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{port}\"\nmay = [\"receive\"]\n{lines}\n{more}\n");
    let config = SiteConfig::new(name, stage.authority.issue(B_IDENTITY))
        .peer(from, &nobody, &format!("{from}.weybridge.test"), "present")
        .with(&node)
        .route("on to the node", "OUT", &format!("from = [\"{from}\"]"));
    Gateway::start(&stage.path().join(name), config)
}

fn make(stage: &Stage, patients: &Value) -> Vec<Value> {
    python::lines("patients", [stage.path().as_os_str(), patients.to_string().as_ref()])
}

fn send(stage: &Stage, site: &Gateway, files: &[Value]) {
    let list = stage.path().join("list.jsonl");
    std::fs::write(&list, files.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
    let port = site.config.dicom_port.to_string();
    let said = python::lines("send", [&port, &site.config.ae_title, list.to_str().unwrap()]);
    assert!(said.len() == files.len() && said.iter().all(|answer| answer["status"] == 0), "{said:?}");
}

fn dump(file: &Path) -> String {
    finish(Command::new(tool("dcmdump")).arg("+L").arg(file), seconds(20)).ok("dcmdump")
}

/// IDY-030, IDY-032, IDY-033: two sites change an instance one after the other. Each leaves a record, the second's marks are there,
/// and taking both records back gives what there was at first.
#[test]
fn two_hops_leave_two_records_and_taking_them_back_gives_the_original() {
    let stage = Stage::new();
    let first = StoreScp::start(&stage.path().join("first"), "OUT");
    let second = StoreScp::start(&stage.path().join("second"), "OUT");
    let marks = "mark_imported = true\ncontributing_equipment = true";
    let b = receiving(&stage, "b", "a", first.port, "", "");
    let d = receiving(&stage, "d", "c", second.port, marks, "");
    let (a, c) = (sending(&stage, "a", &b.config.url()), sending(&stage, "c", &d.config.url()));
    let files = make(&stage, &json!([{"uid": 1, "PatientID": "4711", "AccessionNumber": "ACC1"}]));
    send(&stage, &a, &files);
    b.all_become("OUT", "accepted", 1, seconds(60));
    let mut again = files.clone();
    again[0]["path"] = first.files()[0].to_str().unwrap().into();
    send(&stage, &c, &again);
    d.all_become("OUT", "accepted", 1, seconds(60));
    let received = second.files()[0].clone();
    let text = dump(&received);
    assert!(text.contains("(0010,0020) LO [c:a:4711]"), "{text}");
    assert!(text.contains("(0400,0600) CS [IMPORTED]") && text.contains("[Modifying Equipment]"), "{text}");

    let original = PathBuf::from(files[0]["path"].as_str().unwrap());
    let undone = &python::lines("undo", [original.as_path(), &first.files()[0]])[0];
    assert_eq!((&undone["systems"], &undone["differ"]), (&json!(["b"]), &json!([])), "{undone}");
    let undone = &python::lines("undo", [&original, &received])[0];
    assert_eq!(undone["systems"], json!(["b", "d"]), "the first record stands, the second comes after it: {undone}");
    assert_eq!(undone["patient_ids"], json!(["a:4711", "4711"]));
    assert_eq!((&undone["differ"], &undone["equipment"]), (&json!([]), &json!(["Weybridge"])), "{undone}");
    // By which rules, the ledger's words say (IDY-034).
    let story = d.cli(&["why", files[0]["sop_instance"].as_str().unwrap()]).ok("why");
    assert!(story.contains("changed by foreign-prefix/3+imported/1+equipment/1"), "{story}");
    d.verify_ledger(true);
}

/// The Patient ID with which an instance arrived at a node.
fn arrived(node: &StoreScp, instance: &Value) -> Option<String> {
    let of = |path: &PathBuf| read_part10(&std::fs::read(path).unwrap()).unwrap().instance;
    let file = node.files().into_iter().find(|path| instance == of(path).as_str())?;
    let text = dump(&file);
    let line = text.lines().find(|line| line.starts_with("(0010,0020)"))?;
    Some(line.split(['[', ']']).nth(1)?.to_owned())
}

/// IDY-040, IDY-042 to IDY-044: a node that holds gets at once only who is surely ours; the others wait, each with what is known of
/// it, and go when a person has released them, distinct from all of ours.
#[test]
fn who_is_surely_ours_passes_a_node_that_holds_and_the_others_wait_for_a_person() {
    let stage = Stage::new();
    let node = StoreScp::start(&stage.path().join("out"), "OUT");
    let pacs =
        "[[node]]\nae_title = \"SENDER\"\nfrom_addresses = [\"127.0.0.1\"]\nmay = [\"store\"]\npatient_id = \"nhs\"";
    let b = receiving(&stage, "b", "a", node.port, "foreign = \"hold\"\npatient_id = \"nhs\"", pacs);
    let a = sending(&stage, "a", &b.config.url());
    let person = |uid: u32, id: &str, issuer: Option<&str>, birth_date: &str, name: &str| {
        json!({"uid": uid, "PatientID": id, "IssuerOfPatientID": issuer, "PatientBirthDate": birth_date,
               "PatientName": name, "PatientSex": "F"})
    };
    let ours = make(&stage, &json!([person(10, "400 000 0004", None, "19600229", "Müller^Ann")]));
    send(&stage, &b, &ours);
    let theirs = make(
        &stage,
        &json!([
            person(11, "4000000004", Some("NHS"), "19600229", "MULLER^ANN^M"),
            person(12, "4000000004", Some("NHS"), "19600228", "Müller^Ann"),
            person(13, "6000000006", Some("2.16.840.1.113883.2.1.4.1"), "19600229", "Müller^Ann"),
            person(14, "4000000004", None, "19600229", "Müller^Ann"),
            person(15, "4000000004", Some("RTX"), "19600229", "Müller^Ann"),
        ]),
    );
    send(&stage, &a, &theirs);
    let waits = || (b.transfers("OUT", "accepted").1, b.transfers("OUT", "held").1) == (1, 4);
    crate::support::wait::until(seconds(60), "one goes, four wait", || waits().then_some(()));
    assert_eq!(
        arrived(&node, &theirs[0]["sop_instance"]).as_deref(),
        Some("4000000004"),
        "as it is: it means the same"
    );
    let words = ["birth date differs", "no patient of this site", "no NHS number", "no NHS number"];
    for (file, words) in theirs[1..].iter().zip(words) {
        let story = b.cli(&["why", file["sop_instance"].as_str().unwrap()]).ok("why");
        assert!(story.contains("wait for a person") && story.contains(words), "{words}: {story}");
        assert!(!story.contains("Müller") && !story.contains("1960"), "{story}");
    }
    // Where the object does not say whose number it is, our own word stands in the records, and nowhere in the object.
    let study = b.ask(&["study", theirs[3]["study"].as_str().unwrap(), "--json"]);
    assert_eq!(study[0]["asserted_issuer"], "a", "{study:?}");
    let study = b.ask(&["study", ours[0]["study"].as_str().unwrap(), "--json"]);
    assert_eq!(study[0]["asserted_issuer"], "NHS", "{study:?}");

    let release = ["transfers", "release", "--study", theirs[1]["study"].as_str().unwrap(), "--reason", "seen"];
    b.cli(&release).ok("release");
    crate::support::wait::until(seconds(60), "it goes", || (b.transfers("OUT", "accepted").1 == 2).then_some(()));
    assert_eq!(arrived(&node, &theirs[1]["sop_instance"]).as_deref(), Some("NHS:4000000004"), "not taken for ours");
    assert_eq!(b.transfers("OUT", "held").1, 3, "nothing else was released");
    b.verify_ledger(true);
}
