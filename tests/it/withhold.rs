//! `[[withhold]]`: what a rule withholds is absent from every way out, and what is owed all the same waits, visibly.

use crate::support::archive::{Dcmqrscp, Prepared};
use crate::support::dcmtk::{StoreScp, storescu};
use crate::support::ledger;
use crate::support::radiology::{ROOT, Radiology, last};
use crate::support::two_sites::B_IDENTITY;
use crate::support::wait::{seconds, until};
use crate::support::wire::{Reply, Wire};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

/// The second patient objects to sharing; series of modality OT are kept from the peer and from the workstation.
fn tables(list: &TempDir, port: u16) -> String {
    let file = list.path().join("objections.txt");
    fs::write(&file, "# who objects\nZZ001,P2\n600 000 0006\n").unwrap();
    format!(
        "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\nmove_to = [\"OUT\"]\n\
         [[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{port}\"\nmay = [\"receive\"]\n\
         [[withhold]]\nname = \"objections\"\npatients = \"{}\"\n\
         [[withhold]]\nname = \"no others\"\nwhen = {{ modality = [\"OT\"] }}\nto = [\"b\", \"RADIOLOGY\"]\n",
        file.display()
    )
}

fn start() -> (Radiology, StoreScp, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let node = StoreScp::start(&folder.path().join("out"), "OUT");
    let site = Radiology::start(1, &tables(&folder, node.port));
    (site, node, folder)
}

fn retrieve(site: &Radiology, path: &str) -> Reply {
    let mut wire = Wire::open(&site.stage.authority.issue(B_IDENTITY), site.site.config.web_port);
    let accept = "Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    wire.head(&format!("GET /dicom-web/{path}"), &[accept]).unwrap();
    wire.answer().unwrap()
}

fn parts(reply: &Reply) -> usize {
    memchr::memmem::find_iter(&reply.body, b"Content-Type: application/dicom").count()
}

/// The values of an attribute over all results.
fn values(results: &[Value], tag: &str) -> Vec<Value> {
    let mut all: Vec<Value> = results.iter().map(|one| one[tag]["Value"][0].clone()).collect();
    all.sort_by_key(Value::to_string);
    all
}

/// "Sharing limits" over QIDO-RS and WADO-RS: to the peer it is as if it were not there, also in numbers, and it is entered.
#[test]
fn to_a_peer_it_is_as_if_it_were_not_there() {
    let (site, _node, _list) = start();
    assert_eq!(site.search("studies?PatientID=P2"), Vec::<Value>::new());
    let found = site.search("studies?PatientID=P*&includefield=all");
    assert_eq!(values(&found, "0020000D"), [json!(format!("{ROOT}.1")), json!(format!("{ROOT}.2"))]);
    let first = found.iter().find(|one| one["0020000D"]["Value"][0] == format!("{ROOT}.1")).unwrap();
    assert_eq!((&first["00201206"]["Value"][0], &first["00201208"]["Value"][0]), (&json!(1), &json!(2)));
    assert_eq!(first["00080061"]["Value"], json!(["CT"]), "nor is its modality told");
    assert_eq!(site.search("studies?PatientID=P*&ModalitiesInStudy=OT"), Vec::<Value>::new());
    assert_eq!(values(&site.search(&format!("studies/{ROOT}.1/series")), "0020000E"), [json!(format!("{ROOT}.1.1"))]);
    assert_eq!(site.search(&format!("studies/{ROOT}.1/instances")).len(), 2);
    assert_eq!(site.search("series?PatientID=P2"), Vec::<Value>::new());
    for hidden in ["1.2.1", "3.1.1"] {
        assert_eq!(site.search(&format!("instances?SOPInstanceUID={ROOT}.{hidden}")), Vec::<Value>::new(), "{hidden}");
    }
    assert_eq!(site.search(&format!("studies/{ROOT}.3/instances")), Vec::<Value>::new());
    let unknown = retrieve(&site, "studies/1.2.3");
    let series = format!("studies/{ROOT}.1/series/{ROOT}.1.2");
    let rows = [format!("studies/{ROOT}.3"), series.clone(), format!("{series}/instances/{ROOT}.1.2.1")];
    for path in rows {
        let reply = retrieve(&site, &path);
        assert_eq!(
            (reply.status, reply.text()),
            (404, unknown.text()),
            "{path}: the words are those for what was never here"
        );
    }
    let rest = retrieve(&site, &format!("studies/{ROOT}.1"));
    assert_eq!((rest.status, parts(&rest)), (200, 2), "no word of what is missing");
    assert_eq!(rest.header("warning"), None);
    let entries = ledger::export(&site.site);
    let withheld: Vec<_> =
        entries.iter().filter(|entry| entry["kind"] == "withheld").map(|entry| entry["facts"].clone()).collect();
    let study = |number: u32| format!("{ROOT}.{number}");
    for (rule, number) in [("objections", 3), ("no others", 1)] {
        let one = |facts: &&Value| facts["rule"] == rule && facts["study"] == study(number) && facts["from"] == "b";
        assert!(withheld.iter().any(|facts| one(&facts)), "{rule}: {withheld:?}");
    }
    let why = site.site.cli(&["why", &study(3)]).ok("why");
    assert!(why.contains("withheld from b by rule \"objections\""), "{why}");
    let now = "now: the study is withheld from every peer by rule \"objections\" of the configuration file: \
               what its first image said, or who brought one of its images, is reason enough";
    assert!(why.contains(now), "{why}");
    site.site.verify_ledger(true);
}

/// The same by DIMSE: a rule that names no node concerns none; one that names the workstation holds for what it asks and for what it
/// has moved elsewhere.
#[test]
fn to_a_node_it_is_as_the_rule_says() {
    let (site, node, _list) = start();
    let level = |level: &str, keys: Value| {
        let mut keys = keys;
        keys["QueryRetrieveLevel"] = json!(level);
        json!({ "keys": keys })
    };
    let get = |number: u32| {
        json!({ "op": "get", "classes": ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"],
            "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": format!("{ROOT}.{number}") } })
    };
    let moved = json!({ "op": "move", "to": "OUT",
        "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": format!("{ROOT}.1") } });
    let said = site.ask(&[
        level("STUDY", json!({ "PatientID": "P2", "StudyInstanceUID": "" })),
        level("STUDY", json!({ "PatientID": "P1", "AccessionNumber": "A1", "ModalitiesInStudy": "", "NumberOfStudyRelatedInstances": "" })),
        level("SERIES", json!({ "StudyInstanceUID": format!("{ROOT}.1"), "SeriesInstanceUID": "" })),
        level("IMAGE", json!({ "StudyInstanceUID": format!("{ROOT}.1"), "SeriesInstanceUID": format!("{ROOT}.1.2"), "SOPInstanceUID": "" })),
        get(1),
        get(3),
        moved,
    ]);
    let answers = |at: usize| -> Vec<&Value> {
        let all = said[at]["answers"].as_array().unwrap().iter();
        all.map(|answer| &answer["identifier"]).filter(|identifier| identifier.is_object()).collect()
    };
    assert_eq!(answers(0).len(), 1, "the list of patients is about peers");
    assert_eq!(answers(1)[0]["ModalitiesInStudy"], "CT");
    assert_eq!(answers(1)[0]["NumberOfStudyRelatedInstances"].as_str().map(str::trim), Some("2"));
    let series: Vec<_> = answers(2).iter().map(|one| one["SeriesInstanceUID"].clone()).collect();
    assert_eq!(series, [json!(format!("{ROOT}.1.1"))]);
    assert_eq!(answers(3), Vec::<&Value>::new());
    for (at, want) in [(4, 2), (5, 1), (6, 2)] {
        assert_eq!(
            (last(&said[at])["status"].as_u64(), last(&said[at])["completed"].as_u64()),
            (Some(0), Some(want)),
            "{at}: {said:?}"
        );
    }
    assert_eq!(node.files().len(), 2, "what the workstation may not see it cannot have sent elsewhere");
    site.site.verify_ledger(true);
}

/// A transfer that a rule withholds is held with its reason, is not lost, and a release alone does not send it. Whom the cross-reference
/// knows by a listed NHS number is withheld as soon as it does.
#[test]
fn what_is_owed_all_the_same_waits_visibly() {
    let (site, _node, list) = start();
    let study = format!("{ROOT}.3");
    let held = |why: &str| {
        let state = || site.site.study(&study)[0]["transfers"][0]["state"].clone();
        until(seconds(60), why, || (state() == "held").then_some(()));
    };
    site.site.cli(&["send", "--study", &study, "--to", "b"]).ok("send");
    held("it is held");
    let why = site.site.cli(&["why", &study]).ok("why");
    assert!(
        why.contains("withheld from b by rule \"objections\"; change the rule and release it, or cancel it"),
        "{why}"
    );
    let tried = why.matches("; now held").count();
    site.site.cli(&["transfers", "release", "--study", &study]).ok("release");
    until(seconds(60), "it is held again", || {
        let why = site.site.cli(&["why", &study]).ok("why");
        (why.matches("; now held").count() > tried).then_some(())
    });
    held("it stays held");
    assert_eq!(site.search("studies?PatientID=P1").len(), 2);
    let file = list.path().join("links.csv");
    fs::write(&file, "issuer,patient_id,nhs_number,birth_date\nZZ001,P1,6000000006,19600229\n").unwrap();
    site.site.cli(&["patients", "import", file.to_str().unwrap()]).ok("import");
    assert_eq!(site.search("studies?PatientID=P1"), Vec::<Value>::new());
    site.site.verify_ledger(true);
}

/// "Sharing limits": what an archive alone holds is withheld by the same rules at every level, before anything of it was here. That a withheld
/// series is here, and no other yet, does not hide those that only the archive has.
#[test]
fn what_an_archive_alone_holds_is_withheld_too() {
    let prepared = Prepared::new(1);
    let archive = Dcmqrscp::start(&prepared.stage.path().join("archive"), prepared.config.dicom_port);
    storescu(archive.port, "ARCHIVE", &["-xe"], &prepared.paths()).ok("the archive is filled");
    let list = prepared.stage.path().join("objections.txt");
    fs::write(&list, "ZZ002,P2\nZZ001,P2\n").unwrap();
    let rules = format!(
        "[[withhold]]\nname = \"objections\"\npatients = \"{}\"\n\
         [[withhold]]\nname = \"no others\"\nwhen = {{ modality = [\"OT\"] }}\nto = [\"a\"]\n",
        list.display()
    );
    let site = prepared.start("ARCHIVE", archive.port, &rules);
    let [one, two, three] = [1, 2, 3].map(|number| format!("{ROOT}.{number}"));
    assert_eq!(site.found("studies?PatientID=P2"), Vec::<Value>::new());
    for below in ["series", "instances"] {
        assert_eq!(site.found(&format!("studies/{three}/{below}")), Vec::<Value>::new(), "{below}");
    }
    // Before its series are known, a study of which something is withheld is not counted out.
    assert_eq!(values(&site.found("studies?PatientID=P1"), "0020000D"), [json!(two)]);
    assert_eq!(values(&site.found(&format!("studies/{one}/series")), "0020000E"), [json!(format!("{one}.1"))]);
    assert_eq!(
        values(&site.found(&format!("studies/{one}/instances")), "00080018"),
        [json!(format!("{one}.1.1")), json!(format!("{one}.1.2"))]
    );
    for path in [three.clone(), format!("{three}/series/{three}.1"), format!("{one}/series/{one}.2")] {
        assert_eq!(site.retrieve(&format!("studies/{path}")).map(|(status, _)| status), Some(404), "{path}");
    }
    // The withheld series is here now, and is all of its study that is.
    assert_eq!(
        (site.site.holds(&one), values(&site.found(&format!("studies/{one}/series")), "0020000E").len()),
        (1, 1)
    );
    let (status, came) = site.retrieve(&format!("studies/{one}")).unwrap();
    assert_eq!((status, came.len()), (200, 2), "no word of what is missing");
    assert!(!came.contains_key(&format!("{one}.2.1")));
    // Now that they are here it stays so, and the site's own workstation, whom no rule concerns, is shown everything.
    assert_eq!(values(&site.found(&format!("studies/{one}/instances")), "00080018").len(), 2);
    let level = |study: &str| json!({ "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study } });
    for said in site.ask(&[level(&one), level(&three)]) {
        assert_eq!(
            said["answers"].as_array().unwrap().iter().filter(|one| one["identifier"].is_object()).count(),
            1,
            "{said}"
        );
    }
    site.site.verify_ledger(true);
}
