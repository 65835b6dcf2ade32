//! `[[withhold]]` over what is not here when a node asks for it: what another site or an archive holds is brought, and not given.

use crate::support::archive::{OddArchive, Prepared};
use crate::support::config::SiteConfig;
use crate::support::dcmtk::StoreScp;
use crate::support::files::read_part10;
use crate::support::gateway::Gateway;
use crate::support::neighbours;
use crate::support::python;
use crate::support::radiology::{ROOT, last};
use crate::support::two_sites::{B_IDENTITY, Stage};
use serde_json::{Value, json};
use std::fs;

const CLASSES: [&str; 3] = ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"];

/// Rules about the workstation: a patient who objects, and series of modality OT.
fn rules(stage: &Stage) -> String {
    let list = stage.path().join("objections.txt");
    fs::write(&list, "b,P2\nZZ001,P2\n").unwrap();
    format!(
        "[[withhold]]\nname = \"objections\"\npatients = \"{}\"\nto = [\"RADIOLOGY\"]\n\
         [[withhold]]\nname = \"no others\"\nwhen = {{ modality = [\"OT\"] }}\nto = [\"RADIOLOGY\"]\n",
        list.display()
    )
}

fn study(number: u32) -> Value {
    json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": format!("{ROOT}.{number}") })
}

fn series(number: u32, series: u32) -> Value {
    json!({ "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": format!("{ROOT}.{number}"),
        "SeriesInstanceUID": format!("{ROOT}.{number}.{series}") })
}

fn moved(keys: Value) -> Value {
    json!({ "op": "move", "to": "OUT", "keys": keys })
}

fn got(keys: Value) -> Value {
    json!({ "op": "get", "classes": CLASSES, "keys": keys })
}

/// Status, completed and failed of the last answer; nothing that was withheld is named.
fn end(said: &Value) -> [u64; 3] {
    let end = last(said);
    assert_eq!(end.get("identifier"), None, "{said}");
    ["status", "completed", "failed"].map(|name| end[name].as_u64().unwrap_or_default())
}

fn at(out: &StoreScp) -> Vec<String> {
    let one = |path: std::path::PathBuf| read_part10(&fs::read(path).unwrap()).unwrap().instance;
    let mut all: Vec<String> = out.files().into_iter().map(one).collect();
    all.sort();
    all
}

/// "Sharing limits", SEC-022, DIM-089: what only another site holds is withheld from a node like what is here, whether anything of it
/// was here before it asked or not.
#[test]
fn what_another_site_alone_holds_is_withheld_from_a_node() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b().node("SENDER", None));
    let files = stage.path().join("files");
    fs::create_dir_all(&files).unwrap();
    let files = python::lines("catalogue", [files.to_str().unwrap(), "1"]);
    let list = stage.path().join("list.jsonl");
    fs::write(&list, files.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
    let said = python::lines("send", [b.config.dicom_port.to_string().as_str(), "WB_B", list.to_str().unwrap()]);
    assert!(said.iter().all(|answer| answer["status"] == 0), "{said:?}");
    let out = StoreScp::start(&stage.path().join("out"), "OUT");
    let radiology = "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\nmove_to = [\"OUT\"]\n";
    let config = SiteConfig::new("a", stage.identity_of_a())
        .node("OUT", Some(out.port))
        .with(radiology)
        .peer("b", &b.config.url(), B_IDENTITY, "present")
        .with(&rules(&stage));
    let a = Gateway::start(&stage.path().join("a"), config);
    let ask = |request: Value| end(&neighbours::ask(stage.path(), &a, &[request])[0]);
    // The first of each meets what was never here; the others what is.
    for round in 0..2 {
        assert_eq!(ask(moved(series(1, 2))), [0, 0, 0], "round {round}");
        assert_eq!(ask(got(study(3))), [0, 0, 0], "round {round}");
        assert_eq!(ask(moved(study(3))), [0, 0, 0], "round {round}");
        assert_eq!(ask(moved(study(1))), [0, 2, 0], "round {round}");
        assert_eq!(ask(got(study(1))), [0, 2, 0], "round {round}");
    }
    assert_eq!(at(&out), [format!("{ROOT}.1.1.1"), format!("{ROOT}.1.1.2")]);
    assert_eq!(ask(moved(study(2))), [0, 1, 0], "nobody withholds it");
    let why = a.cli(&["why", &format!("{ROOT}.3")]).ok("why");
    assert!(why.contains("withheld from RADIOLOGY by rule \"objections\""), "{why}");
    a.verify_ledger(true);
}

/// The same of what an archive brings. What an archive holds of a patient who objects, and does not give, is not told of either.
#[test]
fn what_an_archive_brings_is_withheld_from_a_node() {
    let prepared = Prepared::new(1);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let rules = rules(&prepared.stage);
    let port = archive.port;
    let site = prepared.start("ARCHIVE", port, &rules);
    for round in 0..2 {
        for (request, want) in [
            (moved(study(3)), [0, 0, 0]),
            (got(study(3)), [0, 0, 0]),
            (moved(series(1, 2)), [0, 0, 0]),
            (got(study(1)), [0, 2, 0]),
        ] {
            let said = site.ask(std::slice::from_ref(&request)).remove(0);
            assert_eq!(end(&said), want, "round {round}: {request}");
        }
    }
    assert_eq!(at(&site.out), [""; 0]);
    assert_eq!(archive.seen("store").len(), 4, "it is here, and is not fetched again");
    site.site.verify_ledger(true);
}
