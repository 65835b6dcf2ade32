//! Priors of sites that answer badly: none of it is shown, nobody is held up, and each is named.

use crate::support::gateway::Gateway;
use crate::support::neighbours::*;
use crate::support::radiology::{last, statuses};
use crate::support::searched_peer::{Manner, SearchedPeer, study};
use crate::support::two_sites::Stage;
use crate::support::wait::seconds;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// UIX-12, DIM-070, SEC-010: ten sites, of which one answers well. What the others say is not shown, and each is named.
#[test]
fn what_ten_sites_answer_badly_is_not_shown_and_each_is_named() {
    let stage = Stage::new();
    let good = study("2.25.1", NHS, "NHS", 1);
    let one = |value: Value| Manner::shows(&[value]);
    let mut nameless = study("2.25.9", NHS, "NHS", 1);
    nameless["0020000D"]["Value"][0] = json!("not a uid");
    let many: Vec<Value> = (0..2_500).map(|n| study(&format!("2.25.5.{n}"), NHS, "NHS", 1)).collect();
    let rows: Vec<(&str, Manner)> = vec![
        ("good", one(good.clone())),
        ("slow", one(study("2.25.2", NHS, "NHS", 1)).after(seconds(60))),
        ("fails", Manner { status: 500, ..Manner::says("[]") }),
        ("html", Manner { content_type: "text/html", ..Manner::says("<html>Secret^Ann</html>") }),
        (
            "broken",
            Manner::says(r#"[{"0020000D":{"vr":"UI","Value":["2.25.3"]},"00100010":{"vr":"PN","Value":[{"Alpha"#),
        ),
        ("other", one(study("2.25.4", "4000000004", "NHS", 1))),
        ("mixed", Manner::shows(&[study("2.25.6", NHS, "NHS", 1), study("2.25.7", "Secret", "", 1)])),
        ("nameless", one(nameless)),
        ("untold", one(study("2.25.8", NHS, "", 1))),
        ("endless", Manner::shows(&many)),
    ];
    let sites: Vec<(&str, SearchedPeer)> =
        rows.into_iter().map(|(name, manner)| (name, SearchedPeer::start(&identity(&stage, name), manner))).collect();
    let neighbours: Vec<Neighbour> = sites.iter().map(|(name, site)| Neighbour::new(name, &site.url())).collect();
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &neighbours, "[priors]\ndeadline = \"6s\""));
    let began = Instant::now();
    let said = &ask(stage.path(), &a, &[priors_of(NHS)])[0];
    assert!(began.elapsed() < seconds(25), "{:?}", began.elapsed());
    let shown: Vec<String> =
        studies(said).into_iter().map(|(uid, ..)| uid).filter(|uid| !uid.starts_with("2.25.5.")).collect();
    assert_eq!(shown, ["2.25.1", "2.25.6"], "what means the patient, whoever else the site shows");
    let want = [
        "BROKEN NOT ANSWERING",
        "ENDLESS NOT ANSWERING",
        "FAILS NOT ANSWERING",
        "HTML NOT ANSWERING",
        "MIXED ANSWER NOT USABLE",
        "NAMELESS ANSWER NOT USABLE",
        "OTHER ANSWER NOT USABLE",
        "SLOW NOT ANSWERING",
        "UNTOLD ANSWER NOT USABLE",
    ];
    assert_eq!(markers(said), want);
    assert_eq!(last(said)["status"], 0);
    for private in [NHS, "Secret", "Elsewhere^Ann", "4000000004"] {
        assert!(!a.log().contains(private), "{private} stands in the log: {}", a.log());
    }
}

/// DIM-062 to DIM-066, DIM-070: whatever a site answers is matched again, by the rules of our own catalogue.
#[test]
fn answers_of_other_sites_are_matched_again() {
    let stage = Stage::new();
    let mut mr = study("2.25.2", NHS, "NHS", 2);
    mr["00080061"]["Value"] = json!(["MR", "SR"]);
    mr["00080020"]["Value"] = json!(["20250311"]);
    mr["00100010"]["Value"][0]["Alphabetic"] = json!("Müller^Jörg");
    let all = Manner::shows(&[study("2.25.1", NHS, "NHS", 1), mr]);
    let b = SearchedPeer::start(&identity(&stage, "b"), all);
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[Neighbour::new("b", &b.url())], ""));
    let rows: &[(Value, &[&str])] = &[
        (json!({}), &["2.25.1", "2.25.2"]),
        (json!({ "StudyDate": "20250101-" }), &["2.25.2"]),
        (json!({ "StudyDate": "20240102" }), &["2.25.1"]),
        (json!({ "ModalitiesInStudy": "SR" }), &["2.25.2"]),
        (json!({ "ModalitiesInStudy": "CT\\MR" }), &["2.25.1", "2.25.2"]),
        (json!({ "ModalitiesInStudy": "US" }), &[]),
        (json!({ "PatientName": "müller*", "SpecificCharacterSet": "ISO_IR 192" }), &["2.25.2"]),
        (json!({ "StudyDescription": "Study*" }), &["2.25.1", "2.25.2"]),
        (json!({ "StudyInstanceUID": "2.25.2\\2.25.3" }), &["2.25.2"]),
        // Emptied on the way to this node, so it can match nothing.
        (json!({ "AccessionNumber": "A1" }), &[]),
    ];
    let requests: Vec<Value> = rows
        .iter()
        .map(|(keys, _)| {
            let mut request = priors_of(NHS);
            keys.as_object().unwrap().iter().for_each(|(key, value)| request["keys"][key] = value.clone());
            request
        })
        .collect();
    for ((keys, want), said) in rows.iter().zip(ask(stage.path(), &a, &requests)) {
        let found: Vec<String> = studies(&said).into_iter().map(|(uid, ..)| uid).collect();
        assert_eq!(
            (found, statuses(&said).last()),
            (want.iter().map(|uid| (*uid).to_owned()).collect(), Some(&0)),
            "{keys}: {said}"
        );
    }
    assert!(b.asked().iter().all(|target| target.contains("00100020=943")), "{:?}", b.asked());
    let before = b.asked().len();
    // A query that names nobody stays here, and says so.
    let mut request = priors_of("");
    request["keys"]["StudyDate"] = json!("20240102");
    let said = &ask(stage.path(), &a, &[request, priors_of("943*")]);
    for said in said {
        assert_eq!((identifiers(said).len(), last(said)["status"].as_u64()), (0, Some(0)));
        assert_eq!(last(said)["comment"], "other sites are asked by Patient ID or Study UID only");
    }
    // So does one for patients: what other sites hold is told study by study.
    let patient = json!({ "model": "patient", "keys": { "QueryRetrieveLevel": "PATIENT", "PatientID": NHS } });
    let said = &ask(stage.path(), &a, &[patient])[0];
    assert_eq!((identifiers(said).len(), last(said)["status"].as_u64()), (0, Some(0)));
    assert_eq!(last(said)["comment"], "patients of this site only; other sites are asked for studies");
    assert_eq!(b.asked().len(), before);
}

/// DIM-071: a cancel is heard while other sites are awaited.
#[test]
fn a_cancel_is_heard_while_sites_are_awaited() {
    let stage = Stage::new();
    let slow = Manner::shows(&[]).after(Duration::from_secs(60));
    let b = SearchedPeer::start(&identity(&stage, "b"), slow);
    let a = Gateway::start(
        &stage.path().join("a"),
        asking(&stage, &[Neighbour::new("b", &b.url())], "[priors]\ndeadline = \"50s\""),
    );
    give(&stage, &a, "PACS", &json!([{ "uid": 1, "PatientID": NHS }]));
    let mut request = priors_of(NHS);
    request["cancel"] = json!(1);
    let said = &ask(stage.path(), &a, &[request])[0];
    assert_eq!(statuses(said), [0xFF00, 0xFE00], "{said}");
    let [first, last] = [0, 1].map(|at| said["times"][at].as_f64().unwrap());
    println!("FE00 came {:.3} s after the cancel", last - first);
    assert!(last - first <= 1.0, "{said}");
}

/// UIX-12: an answer that succeeds and holds nothing that a search may hold is no "nothing": 204 is, and so is an empty list.
#[test]
fn rubbish_with_a_success_is_not_nothing() {
    let stage = Stage::new();
    let xml = Manner { content_type: "application/dicom+xml", ..Manner::says("<NativeDicomModel/>") };
    let rows = [
        ("hollow", Manner::says("[{}]")),
        ("object", Manner::says(r#"{"message": "no such index"}"#)),
        ("blank", Manner::says("")),
        ("xml", xml),
        ("empty", Manner::says("[]")),
        ("none", Manner { status: 204, ..Manner::says("") }),
    ];
    let sites = rows.map(|(name, manner)| (name, SearchedPeer::start(&identity(&stage, name), manner)));
    let neighbours: Vec<Neighbour> = sites.iter().map(|(name, site)| Neighbour::new(name, &site.url())).collect();
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &neighbours, ""));
    let said = &ask(stage.path(), &a, &[priors_of(NHS)])[0];
    let want = ["BLANK NOT ANSWERING", "HOLLOW ANSWER NOT USABLE", "OBJECT NOT ANSWERING", "XML ANSWER NOT USABLE"];
    assert_eq!(markers(said), want);
}

/// WEB-094: a server that refuses to be asked for what it need not know is asked for what every server returns, and never for how it writes.
#[test]
fn a_site_that_refuses_part_of_a_question_is_asked_the_rest() {
    let stage = Stage::new();
    let shown = |uid: &str| Manner::shows(&[study(uid, NHS, "NHS", 1)]);
    let sites = [("b", "00080005", "2.25.1"), ("c", "includefield", "2.25.2")]
        .map(|(name, refused, uid)| (name, SearchedPeer::start(&identity(&stage, name), shown(uid).refusing(refused))));
    let neighbours: Vec<Neighbour> = sites.iter().map(|(name, site)| Neighbour::new(name, &site.url())).collect();
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &neighbours, ""));
    let said = &ask(stage.path(), &a, &[priors_of(NHS)])[0];
    let found: Vec<String> = studies(said).into_iter().map(|(uid, ..)| uid).collect();
    assert_eq!((found, markers(said)), (vec!["2.25.1".to_owned(), "2.25.2".to_owned()], Vec::new()), "{said}");
    assert!(sites[0].1.asked().iter().all(|target| target.contains("includefield")), "{:?}", sites[0].1.asked());
}

/// DIM-060, UIX-12: in the Patient Root what is below a study is told by the patient's number. Of a server that tells no number there it is
/// said that its answer cannot be used, and never that there is nothing.
#[test]
fn a_site_that_does_not_say_of_whom_it_tells_is_not_taken_for_an_empty_one() {
    let stage = Stage::new();
    let series = |patient: &str| {
        let one = |vr: &str, value: &str| json!({ "vr": vr, "Value": [value] });
        let mut set =
            json!({ "0020000D": one("UI", "2.25.1"), "0020000E": one("UI", "2.25.1.1"), "00080060": one("CS", "CT") });
        if !patient.is_empty() {
            (set["00100020"], set["00100021"]) = (one("LO", patient), one("LO", "NHS"));
        }
        Manner::shows(&[set])
    };
    let b = SearchedPeer::start(&identity(&stage, "b"), series(NHS));
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[Neighbour::new("b", &b.url())], ""));
    let request = json!({ "model": "patient", "keys": { "QueryRetrieveLevel": "SERIES", "PatientID": NHS,
        "StudyInstanceUID": "2.25.1", "SeriesInstanceUID": "" } });
    let said = &ask(stage.path(), &a, std::slice::from_ref(&request))[0];
    assert_eq!((identifiers(said).len(), &last(said)["status"]), (1, &json!(0)), "{said}");
    b.manner(series(""));
    let said = &ask(stage.path(), &a, &[request])[0];
    assert_eq!((statuses(said), last(said)["comment"].as_str()), (vec![0xC001], Some("B ANSWER NOT USABLE")), "{said}");
}
