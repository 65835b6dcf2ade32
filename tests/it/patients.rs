//! `weybridge patients`: the cross-reference by hand, and who was given what of one patient.

use crate::support::radiology::{ROOT, Radiology};
use serde_json::{Value, json};
use std::fs;

const WORKSTATION: &str =
    "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\n";

/// IDY-040, IDY-045: every bad line is told by its number and keeps the others out; the same file twice changes nothing; what contradicts
/// links nobody, is shown, and is taken back by a named person.
#[test]
fn an_import_is_whole_idempotent_and_shows_contradictions() {
    let site = Radiology::start(1, WORKSTATION);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("links.csv");
    let import = |text: &str, more: &[&str]| {
        fs::write(&file, text).unwrap();
        site.site.cli(&[&["patients", "import", file.to_str().unwrap(), "--json"], more].concat())
    };
    let head = "issuer,patient_id,nhs_number,birth_date\n";
    let (ann, bob) = ("ZZ001,P1,4000000004,1960-02-29\n", "ZZ001,P1,6000000006,1960-02-29\n");
    let bad = format!("{head}{ann}ZZ001,P2,4000000005,19600229\n");
    let refused = import(&bad, &[]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("links.csv:3: nhs_number is not an NHS number"), "{}", refused.stderr);
    assert_eq!(site.site.cli(&["patients", "show", "P1"]).code, Some(1), "nothing of it is there");
    let some = import(&bad, &["--skip-bad"]);
    let counts = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!((some.code, counts(&some.stdout)), (Some(1), json!({"new": 1, "known": 0, "beyond": 0, "bad": 1})));
    let again = import(&format!("{head}{ann}"), &[]).ok("import");
    assert_eq!(counts(&again), json!({"new": 0, "known": 1, "beyond": 0, "bad": 0}));
    let shown = site.site.ask(&["patients", "show", "4000000004", "--json"]);
    assert_eq!((&shown[0]["patient_id"], &shown[0]["source"]), (&json!("P1"), &json!("import")));
    import(&format!("{head}{bob}"), &["--source", "other"]).ok("import");
    let shown = site.site.cli(&["patients", "show", "P1", "--issuer", "ZZ001"]).ok("show");
    assert!(shown.contains("contradicts itself") && shown.contains("6000000006"), "{shown}");
    let back =
        ["patients", "unlearn", "P1", "--issuer", "ZZ001", "--source", "other", "--by", "jo", "--reason", "a slip"];
    site.site.cli(&back).ok("unlearn");
    let shown = site.site.cli(&["patients", "show", "P1"]).ok("show");
    assert!(!shown.contains("6000000006"), "{shown}");
    let exported = site.site.cli(&["ledger", "export"]).ok("export");
    assert!(exported.contains("identified") && !exported.contains("4000000004"), "the ledger names no patient");
    site.site.verify_ledger(true);
}

/// LED-033: one command tells who sent, searched for, retrieved and was given a patient's images, by local number or by NHS number.
#[test]
fn one_command_tells_who_was_given_what_of_a_patient() {
    let site = Radiology::start(1, WORKSTATION);
    assert_eq!(site.search("studies?PatientID=P1").len(), 2);
    assert_eq!(site.search(&format!("studies?StudyInstanceUID={ROOT}.3")).len(), 1);
    let get = json!({ "op": "get", "classes": ["1.2.840.10008.5.1.4.1.1.4"],
        "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": format!("{ROOT}.2") } });
    site.ask(&[get]);
    let told = site.site.cli(&["patients", "access", "P1"]).ok("access");
    for (line, times) in [
        ("received from node SENDER", 4),
        ("peer b searched and was told of it (2 results)", 2),
        ("node RADIOLOGY asked by C-GET for it to be given to RADIOLOGY (1 instances)", 1),
    ] {
        let found = told.lines().filter(|found| found.contains(line)).count();
        assert!((1..=times).contains(&found), "{line}: {found} times in\n{told}");
    }
    assert!(!told.contains(&format!("{ROOT}.3")), "another patient's study is not in it: {told}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("links.csv");
    fs::write(&file, "patient_id,nhs_number,birth_date\nP1,4000000004,1960-02-29\n").unwrap();
    site.site.cli(&["patients", "import", file.to_str().unwrap(), "--issuer", "ZZ001"]).ok("import");
    let by_number = site.site.cli(&["patients", "access", "400 000 0004"]).ok("access");
    assert_eq!(by_number, told, "the NHS number leads to the same studies");
    assert_eq!(site.site.cli(&["patients", "access", "6000000006"]).code, Some(1));
}
