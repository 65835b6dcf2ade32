//! Other sites' patients on the way to a local node: never with a bare number that could be somebody else's.

use crate::judge::judge;
use crate::support::config::{SiteConfig, free_port};
use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names, read_part10};
use crate::support::gateway::Gateway;
use crate::support::orthanc::Orthanc;
use crate::support::pacs::{Association, Status};
use crate::support::process::finish;
use crate::support::python;
use crate::support::tools::tool;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const OTHER_IDS: &str = "OtherPatientIDsSequence";

/// Site A pushes one instance to B, which passes it on to the node OUT whose entry has these lines.
fn pass_on(stage: &Stage, node: &StoreScp, lines: &str) -> (Gateway, Gateway) {
    let entry =
        format!("[[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{}\"\nmay = [\"receive\"]\n{lines}\n", node.port);
    let b = stage.site_b().with(&entry).route("from a to the node", "OUT", "from = [\"a\"]");
    let a = stage.site_a(&b.url());
    let b = Gateway::start(&stage.path().join("b"), b);
    let a = Gateway::start(&stage.path().join("a"), a);
    let names = names(70, 1, 1);
    let mut association =
        Association::open(a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let status = association.store(SECONDARY_CAPTURE, &names.instance, &data_set(&names, 4096, 1)).unwrap();
    assert_eq!(status, Status::SUCCESS);
    association.release();
    a.all_become("b", "verified", 1, seconds(60));
    (a, b)
}

fn dump(file: &Path) -> String {
    finish(Command::new(tool("dcmdump")).arg("+L").arg(file), seconds(20)).ok("dcmdump")
}

#[test]
fn the_number_gets_its_issuer_and_the_old_one_is_recorded() {
    let stage = Stage::new();
    let node = StoreScp::start(&stage.path().join("out"), "OUT");
    let (_a, b) = pass_on(&stage, &node, "");
    b.all_become("OUT", "accepted", 1, seconds(60));
    let text = dump(&node.files()[0]);
    assert!(text.contains("(0010,0020) LO [a:T0000001]"), "prefixed with the peer's name:\n{text}");
    assert!(text.contains("(0400,0561) SQ"), "the change is recorded:\n{text}");
    assert!(text.contains("[T0000001]") && text.contains("[COERCE]"), "with the old value:\n{text}");
    assert!(!dump_of_stored(&stage, &b).contains("a:T0000001"), "what is stored stays as it was received");
    let (export, out) = (stage.path().join("ledger.ndjson"), stage.path().join("out"));
    b.cli(&["ledger", "export", export.to_str().unwrap()]).ok("ledger export");
    let told = judge(&export, &["--received", out.to_str().unwrap(), "--destination", "OUT"]).ok("the judge");
    assert!(
        told.contains("0 received byte for byte, 1 not compared (another syntax, or changed), of 1 owed"),
        "{told}"
    );
}

fn dump_of_stored(stage: &Stage, b: &Gateway) -> String {
    let out = stage.path().join("stored");
    b.cli(&["store", "export", &names(70, 1, 1).study, out.to_str().unwrap()]).ok("export");
    dump(&out.join(format!("{}.dcm", names(70, 1, 1).instance)))
}

#[test]
fn a_site_may_have_a_person_decide() {
    let stage = Stage::new();
    let node = StoreScp::start(&stage.path().join("out"), "OUT");
    let (_a, b) = pass_on(&stage, &node, "foreign = \"hold\"");
    b.all_become("OUT", "held", 1, seconds(60));
    assert!(node.files().is_empty());
    let story = b.cli(&["why", &names(70, 1, 1).instance]).ok("why");
    assert!(story.contains("wait for a person"), "{story}");
    b.verify_ledger(true);
}

/// A site of the name, which passes everything on to B.
fn trust(stage: &Stage, name: &str, url_of_b: &str) -> Gateway {
    let identity = stage.authority.issue(&format!("{name}.weybridge.test"));
    let config = SiteConfig::new(name, identity).node("SENDER", None).peer("b", url_of_b, B_IDENTITY, "present").route(
        "all to b",
        "b",
        "mandatory = true",
    );
    Gateway::start(&stage.path().join(name), config)
}

/// Two trusts give one number to two people. B passes both on to its PACS, which must see two patients, and to a node that
/// takes only Implicit VR, whatever the syntax in which they came.
#[test]
fn two_people_with_one_number_stay_two_in_the_pacs() {
    let stage = Stage::new();
    let orthanc_identity = stage.authority.issue("orthanc.weybridge.test");
    let orthanc = Orthanc::start(&stage.path().join("orthanc"), &orthanc_identity, "https://127.0.0.1:1/dicom-web");
    let plain = StoreScp::start_with(&stage.path().join("plain"), "PLAIN", &["+xi"]);
    let node = |title: &str, port: u16| {
        format!("[[node]]\nae_title = \"{title}\"\naddress = \"127.0.0.1:{port}\"\nmay = [\"receive\"]\n")
    };
    let nobody = format!("https://127.0.0.1:{}/dicom-web", free_port());
    let b = stage
        .site_b()
        .peer("c", &nobody, "c.weybridge.test", "present")
        .with(&(node("ORTHANC", orthanc.dicom_port) + "verify = \"present\"\n"))
        .with(&node("PLAIN", plain.port))
        .route("to the PACS", "ORTHANC", "from = [\"a\", \"c\"]")
        .route("to the plain node", "PLAIN", "from = [\"a\", \"c\"]");
    let b = Gateway::start(&stage.path().join("b"), b);
    let trusts = [trust(&stage, "a", &b.config.url()), trust(&stage, "c", &b.config.url())];
    let files = python::lines("two_people", [stage.path()]);
    for (number, site) in (1..).zip(&trusts) {
        let mine: Vec<String> = files.iter().filter(|f| f["person"] == number).map(Value::to_string).collect();
        let list = stage.path().join(format!("people-{number}.jsonl"));
        std::fs::write(&list, mine.join("\n")).unwrap();
        let title = &site.config.ae_title;
        let said = python::lines("send", [&site.config.dicom_port.to_string(), title, list.to_str().unwrap()]);
        assert!(said.len() == 4 && said.iter().all(|answer| answer["status"] == 0), "{said:?}");
    }
    b.all_become("ORTHANC", "verified", 8, seconds(120));
    b.all_become("PLAIN", "accepted", 8, seconds(120));
    until(seconds(30), "Orthanc has indexed them", || (orthanc.instances() == 8).then_some(()));
    two_patients(&orthanc, &files);
    same_pixels(&stage, &plain, &files);
    b.verify_ledger(true);
}

/// Orthanc has two patients, and each instance says what it was before.
fn two_patients(orthanc: &Orthanc, files: &[Value]) {
    let patients = orthanc.get("/patients?expand");
    let known: BTreeMap<&str, &str> = patients
        .as_array()
        .unwrap()
        .iter()
        .map(|patient| {
            (
                patient["MainDicomTags"]["PatientID"].as_str().unwrap(),
                patient["MainDicomTags"]["PatientName"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(known, BTreeMap::from([("a:4711", "Alpha^Ann"), ("c:4711", "Beta^Bob")]));
    for instance in orthanc.get("/instances").as_array().unwrap() {
        let tags = orthanc.get(&format!("/instances/{}/tags?simplify", instance.as_str().unwrap()));
        let originals = tags["OriginalAttributesSequence"].as_array().unwrap_or_else(|| panic!("no record: {tags}"));
        let [record] = &originals[..] else { panic!("one record, not {originals:?}") };
        let before = &record["ModifiedAttributesSequence"][0];
        let number = if tags["PatientID"] == "a:4711" { 1 } else { 2 };
        assert_eq!(before["PatientID"], "4711");
        assert_eq!(before["AccessionNumber"], format!("ACC{number}"));
        assert_eq!(tags["AccessionNumber"], "", "a local number means nothing here");
        // No PACS can take the two for one by any other element (IDY-041, IDY-046); the record has each as it was (IDY-030).
        let by = |of: &Value, name: &str| of.get(name).or_else(|| of.get(format!("RETIRED_{name}"))).cloned();
        for (name, was) in [("OtherPatientIDs", "4711\\0815"), ("AdmissionID", "V1")] {
            assert_eq!((by(&tags, name), by(before, name)), (Some(json!("")), Some(json!(was))), "{name}: {tags}");
        }
        assert_eq!((&tags[OTHER_IDS], &before[OTHER_IDS][0]["PatientID"]), (&json!([]), &json!("4711")), "{tags}");
        let asked = |of: &Value| of["RequestAttributesSequence"][0].clone();
        assert_eq!(asked(&tags)["AccessionNumber"].as_str().map(str::trim), Some(""), "{tags}");
        assert_eq!(asked(&tags)["RequestedProcedureID"], "RP1", "the rest of the request stays: {tags}");
        assert_eq!(asked(before)["AccessionNumber"], format!("ACC{number}"));
        assert_eq!(record["ReasonForTheAttributeModification"], "COERCE");
        assert_eq!(record["ModifyingSystem"], "b");
        assert_eq!(record["SourceOfPreviousValues"], if number == 1 { "a" } else { "c" });
        assert!(tags["InstanceCoercionDateTime"].as_str().is_some_and(|at| at.len() == 26), "{tags}");
        let uid = tags["SOPInstanceUID"].as_str().unwrap();
        assert!(files.iter().any(|file| file["sop_instance"] == uid), "the UID is kept (IDY-035): {uid}");
    }
}

/// The node that takes only Implicit VR has every image with its pixels, prefixed and recorded too.
fn same_pixels(stage: &Stage, plain: &StoreScp, files: &[Value]) {
    let pairs: Vec<String> = plain
        .files()
        .iter()
        .map(|path| {
            let uid = read_part10(&std::fs::read(path).unwrap()).unwrap().instance;
            let text = dump(path);
            let prefixed = text.contains("(0010,0020) LO [a:4711]") || text.contains("(0010,0020) LO [c:4711]");
            let beside = text.split("(0400,0561)").next().unwrap_or_default();
            assert!(!beside.contains("[4711") && !beside.contains("[ACC"), "only the record has them: {text}");
            assert!(prefixed && text.contains("[4711]") && text.contains("(0400,0561) SQ"), "{text}");
            let sent = files.iter().find(|file| file["sop_instance"] == uid.as_str()).unwrap();
            json!({ "sent": sent["path"], "received": path }).to_string()
        })
        .collect();
    assert_eq!(pairs.len(), 8);
    let list = stage.path().join("pairs.jsonl");
    std::fs::write(&list, pairs.join("\n")).unwrap();
    for said in python::lines("same_pixels", [&list]) {
        assert!(said["off"] == 0 && said["received_as"] == "1.2.840.10008.1.2", "{said}");
    }
}
