//! Worklists that are asked for what is scheduled: priors come before the patient does, and what a worklist does oddly hides nothing else.

use crate::support::gateway::Gateway;
use crate::support::neighbours::*;
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use crate::support::worklist::{OddWorklist, Scheduled, Wlmscpfs, day};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const STUDY: &str = "2.25.70000000098.1";
/// An NHS number that is none of those for tests.
const NUMBER: &str = "4000000004";

/// A node that has a worklist, and how it is asked.
fn worklist(port: u16, lines: &str) -> String {
    format!(
        "[[node]]\nae_title = \"RIS\"\naddress = \"127.0.0.1:{port}\"\n\
         [[worklist]]\nnode = \"RIS\"\n{lines}\n"
    )
}

/// What orders have had pulled, the first first: the order, and how that stands.
fn ordered(site: &Gateway) -> Vec<(String, String)> {
    let mut rows = site.ask(&["priors", "list", "--json"]);
    rows.retain(|row| row["prefetch"].is_number());
    rows.reverse();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert!(rows.iter().all(|row| row["cause"] == "order"), "{rows:?}");
    rows.iter().map(|row| (text(&row["of"]), text(&row["how"]))).collect()
}

fn status(site: &Gateway) -> Value {
    site.ask(&["status", "--json"])[0]["worklists"][0].clone()
}

/// Asks now; the answer, and the exit code.
fn poll(site: &Gateway) -> (Value, Option<i32>) {
    let done = site.cli(&["nodes", "poll", "RIS", "--json"]);
    (serde_json::from_str(done.stdout.trim()).unwrap_or_else(|_| panic!("{done:?}")), done.code)
}

/// A site alone, with a worklist that misbehaves.
fn alone(stage: &Stage, tables: &str) -> Gateway {
    Gateway::start(&stage.path().join("a"), asking(stage, &[], tables))
}

/// DIM-120: an order in DCMTK's worklist makes the prior arrive from the neighbour before anybody asks; once, however often it is listed,
/// also after a restart. What is cancelled, for another day, or of another modality causes nothing; nobody is named in the log.
#[test]
fn an_order_in_a_worklist_makes_the_prior_arrive_once() {
    let stage = Stage::new();
    let ris = Wlmscpfs::start(&stage.path().join("ris"));
    let b = holding(&stage, "b", "");
    let tables = worklist(ris.port, "every = \"1s\"\ndays = 1\nmodality = [\"CT\"]\nstation = [\"SCANNER\"]");
    let rule = "[priors]\nkeep = \"2d\"\nprefetch_retry = \"1s\"\n[[prefetch]]\nname = \"ct\"\narrived = [\"CT\"]\n";
    let a = asking(&stage, &[Neighbour::new("b", &b.url())], &format!("{tables}{rule}"));
    let b = Gateway::start(&stage.path().join("b"), b);
    let prior = json!([{ "uid": 1, "PatientID": NUMBER, "PatientName": "Prior^Ann", "StudyDate": "20240102", "Modality": "CT",
        "BodyPartExamined": "CHEST" }]);
    give(&stage, &b, "PACS", &prior);
    let mut a = Gateway::start(&stage.path().join("a"), a);
    let (today, later) = (day(0), day(5));
    let ct = Scheduled {
        accession: "A1",
        procedure: "RP1",
        patient: NUMBER,
        issuer: "NHS",
        modality: "CT",
        day: &today,
        status: "SCHEDULED",
    };
    ris.put(&Scheduled { accession: "A2", modality: "MR", ..ct });
    ris.put(&Scheduled { accession: "A3", day: &later, ..ct });
    ris.put(&Scheduled { accession: "A4", status: "DISCONTINUED", ..ct });
    ris.put(&ct);

    until(seconds(60), "the prior is here", || (a.holds(STUDY) == 1).then_some(()));
    let ended = |of: &str| ordered(&a).iter().any(|(order, how)| order == of && how.contains("1 studies chosen"));
    until(seconds(30), "it has ended", || ended("worklist RIS A1 RP1").then_some(()));
    let told = b.cli(&["why", STUDY]).ok("why");
    assert!(told.contains("for worklist RIS of a, purpose prefetch"), "the holder knows what for: {told}");
    let polled = status(&a)["last_poll"].clone();
    until(seconds(30), "it is asked again and again", || {
        let now = status(&a);
        (now["last_poll"] != polled && now["new"] == 0 && now["orders"] == 2).then_some(())
    });

    a.stop();
    a.up();
    ris.put(&Scheduled { accession: "A5", procedure: "RP5", ..ct });
    until(seconds(60), "the next order is known", || (ordered(&a).len() > 1).then_some(()));
    until(seconds(60), "both have ended", || {
        ordered(&a).iter().all(|(_, how)| how.contains("1 studies chosen")).then_some(())
    });
    let causes: Vec<String> = ordered(&a).into_iter().map(|(order, _)| order).collect();
    assert_eq!(causes, ["worklist RIS A1 RP1", "worklist RIS A5 RP5"]);
    for secret in [NUMBER, "SECRET", "19700101"] {
        assert!(!a.log().contains(secret), "{}", a.log());
    }
    let asked = ris.log();
    assert!(asked.contains("FINDModalityWorklistInformationModel") && !asked.contains("PatientName"), "{asked}");
    a.verify_ledger(false);
}

/// An entry as the odd worklist gives it, for today; `other` replaces or adds values.
fn entry(accession: &str, patient: &str, other: Value) -> Value {
    let mut entry = json!({ "AccessionNumber": accession, "RequestedProcedureID": "RP", "PatientID": patient,
        "PatientName": "SECRET^NAME", "PatientBirthDate": "19600229", "PatientSex": "F",
        "ScheduledProcedureStepSequence": [step(&day(0), "CT")] });
    entry.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    entry
}

fn step(day: &str, modality: &str) -> Value {
    json!({ "ScheduledProcedureStepStartDate": day, "ScheduledProcedureStepStartTime": "090000", "Modality": modality,
        "ScheduledStationAETitle": "SCANNER" })
}

/// DIM-120, IDY-041: what cannot be used of a worklist is refused entry by entry with its reason, and the rest is used: here what stands
/// beside a local number feeds the cross-reference. What was not asked for is passed over, whatever the worklist makes of the keys.
#[test]
fn what_a_worklist_lists_oddly_is_refused_one_by_one() {
    let stage = Stage::new();
    let nhs = json!({ "OtherPatientIDsSequence": [{ "PatientID": NUMBER, "IssuerOfPatientID": "NHS" }] });
    let odd = OddWorklist::start(
        stage.path(),
        &json!({ "entries": [
            entry("A0", "R0", json!({ "SpecificCharacterSet": "ISO_IR 999" })),
            entry("A1", "", json!({})),
            entry("A2", "R2", json!({})),
            entry("A3", "R2", json!({ "PatientBirthDate": "19610101" })),
            entry("A4", "R\u{dc}4", json!({ "SpecificCharacterSet": "ISO_IR 999" })),
            entry("A5", "R5", json!({ "PatientBirthDate": "19601399" })),
            entry("A6", "R6", json!({ "ScheduledProcedureStepSequence": [step("2026", "CT")] })),
            entry("A7", "R7", json!({ "ScheduledProcedureStepSequence": [] })),
            entry("", "R8", json!({ "RequestedProcedureID": "" })),
            entry("A9", "R9", json!({ "ScheduledProcedureStepSequence": [step(&day(-3), "CT")] })),
            entry("A10", "R10", json!({ "ScheduledProcedureStepSequence": [step(&day(0), "MR")] })),
            entry("A11", "R11", nhs),
            entry("A12", "R12", json!({ "ScheduledProcedureStepSequence": [step(&day(0), "CT"), step(&day(1), "CT")] })),
        ] }),
    );
    let site = alone(&stage, &worklist(odd.port, "every = \"1h\"\ndays = 1\nmodality = [\"CT\"]"));
    let (found, code) = poll(&site);
    let refused: BTreeMap<String, u64> = serde_json::from_value(found["refused"].clone()).unwrap();
    let want = [
        ("no Patient ID", 1),
        ("two patients with one number", 2),
        ("a number in a character set that is not known, or is not kept to", 1),
        ("a Patient's Birth Date that is no date", 1),
        ("a Scheduled Procedure Step Start Date that is no date", 1),
        ("no Scheduled Procedure Step", 1),
        ("no number by which the order is known again", 1),
    ];
    assert_eq!(refused, want.map(|(why, count)| (why.to_owned(), count)).into(), "{found}");
    assert_eq!((&found["entries"], &found["orders"], &found["not_asked_for"]), (&json!(13), &json!(3), &json!(2)));
    assert_eq!(code, Some(1), "not all could be used");
    let known = site.ask(&["patients", "show", NUMBER, "--json"]);
    let said: Vec<_> = known.iter().map(|one| (&one["issuer"], &one["patient_id"], &one["source"])).collect();
    assert_eq!(said, [(&json!("ZZ001"), &json!("R11"), &json!("worklist RIS"))]);
    let told = site.cli(&["status"]).ok("status");
    assert!(told.contains("! worklist RIS: 2 entries cannot be used: two patients with one number"), "{told}");
    assert!(!site.log().contains("R2") && !site.log().contains("SECRET"), "{}", site.log());
    assert!(site.log().contains("entries of a worklist cannot be used"), "{}", site.log());
    let contexts: Vec<Value> = odd.seen("association").into_iter().map(|one| one["contexts"].clone()).collect();
    assert!(
        contexts.iter().all(|one| *one == json!(["1.2.840.10008.5.1.4.31"])),
        "for the worklist alone: {contexts:?}"
    );
    let keywords = odd.seen("find")[0]["keywords"].to_string();
    assert!(!keywords.contains("PatientName") && keywords.contains("PatientBirthDate"), "{keywords}");
    site.verify_ledger(false);
}

/// SEC-021: a worklist without end is cut off at the limit and told to stop, what was read is used, and the log and `status` say so;
/// so it is with one that goes on all the same, which is left.
#[test]
fn a_worklist_without_end_is_cut_off_and_says_so() {
    for deaf in [false, true] {
        let stage = Stage::new();
        let entries: Vec<Value> = (0..40).map(|n| entry(&format!("A{n}"), &format!("R{n}"), json!({}))).collect();
        let odd = OddWorklist::start(stage.path(), &json!({ "entries": entries, "endless": true, "deaf": deaf }));
        let site = alone(&stage, &worklist(odd.port, "every = \"1h\"\nmost = 25"));
        let (found, code) = poll(&site);
        assert_eq!((&found["entries"], &found["orders"], &found["trouble"]), (&json!(25), &json!(25), &Value::Null));
        assert_eq!(code, Some(1), "not all was read");
        let told = site.cli(&["status"]).ok("status");
        assert!(told.contains("! worklist RIS: it has more than 25 entries; the rest was not read"), "{told}");
        assert!(site.log().contains("a worklist was not read to its end"), "{}", site.log());
        until(seconds(30), "it was told to stop", || {
            (deaf || odd.seen("end").iter().any(|end| end["cancelled"] == true)).then_some(())
        });
    }
}

/// UIX-12: a worklist that falls silent is told in `status` and asked again, what it listed before counts, and nothing else waits for it:
/// one association at a time, and the site works on. When it answers, `status` says that too.
#[test]
fn a_silent_worklist_is_told_and_asked_again() {
    let stage = Stage::new();
    let entries = json!([entry("A1", "R1", json!({})), entry("A2", "R2", json!({}))]);
    let odd = OddWorklist::start(stage.path(), &json!({ "entries": entries, "silent": 1 }));
    let site = alone(&stage, &worklist(odd.port, "every = \"1s\"\ntimeout = \"2s\""));
    let silent = until(seconds(60), "it is told", || {
        Some(status(&site)).filter(|one| one["trouble"].is_string() && one["orders"] == 1)
    });
    assert_eq!(silent["trouble"], "it did not answer in full within 2 s");
    assert_eq!((&silent["orders"], &silent["last_answer"]), (&json!(1), &Value::Null), "what came counts: {silent}");
    assert!(silent["failing_since"].is_string() && site.log().contains("a worklist does not answer"), "{silent}");
    give(
        &stage,
        &site,
        "PACS",
        &json!([{ "uid": 1, "PatientID": "R1", "PatientName": "A^B", "StudyDate": "20240102" }]),
    );
    assert_eq!(site.holds(STUDY), 1);
    let told = site.cli(&["status"]).ok("status");
    assert!(
        told.contains("! worklist RIS: no full answer since ") && told.contains("new orders are not known"),
        "{told}"
    );

    let two = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| poll(&site)));
        both.map(|one| one.join().unwrap())
    });
    for (by_hand, code) in two {
        assert!(by_hand["trouble"].is_string() && code == Some(3), "{by_hand}");
    }
    let begun: Vec<f64> = odd.seen("association").iter().map(|one| one["at"].as_f64().unwrap()).collect();
    assert!(begun.len() > 1 && begun.windows(2).all(|two| two[1] - two[0] > 1.0), "one at a time: {begun:?}");

    odd.behave(&json!({ "entries": entries }));
    // What was being asked meanwhile may end well with the one entry.
    let well = until(seconds(60), "it answers again in full", || {
        Some(status(&site)).filter(|one| one["last_answer"].is_string() && one["orders"] == 2)
    });
    assert_eq!((&well["trouble"], &well["failing_since"]), (&Value::Null, &Value::Null), "{well}");
    assert!(site.log().contains("a worklist answers again"), "{}", site.log());
    // Nobody there at all, and a worklist that refuses.
    odd.behave(&json!({ "entries": entries, "status": 0xA700 }));
    until(seconds(60), "its refusal is told", || {
        status(&site)["trouble"].as_str().is_some_and(|why| why.contains("A700")).then_some(())
    });
    drop(odd);
    let (gone, code) = poll(&site);
    assert!(gone["trouble"].as_str().unwrap().contains("cannot connect") && code == Some(3), "{gone}");
}

/// FLT-088, DIM-113: a worklist that the configuration gains is asked at once after SIGHUP, over TLS if the node has an identity; one that
/// is taken away is asked no more.
#[test]
fn a_worklist_that_is_configured_later_is_asked_over_tls() {
    let stage = Stage::new();
    let identity = stage.authority.issue("ris.test");
    let odd = OddWorklist::start_tls(stage.path(), &json!({ "entries": [entry("A1", "R1", json!({}))] }), &identity);
    let mut site = alone(&stage, "");
    assert_eq!(site.ask(&["status", "--json"])[0]["worklists"], json!([]));
    let with = worklist(odd.port, "every = \"1s\"").replace("[[worklist]]", "identity = \"ris.test\"\n[[worklist]]");
    let plain = std::fs::read_to_string(site.config_file()).unwrap();
    std::fs::write(site.config_file(), format!("{plain}\n{with}")).unwrap();
    site.reload();
    let found = until(seconds(60), "it is asked", || Some(status(&site)).filter(|one| one["last_answer"].is_string()));
    assert_eq!(found["orders"], 1, "{found}");
    std::fs::write(site.config_file(), &plain).unwrap();
    site.reload();
    assert_eq!(site.ask(&["status", "--json"])[0]["worklists"], json!([]));
    let refused = site.cli(&["nodes", "poll", "RIS"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("is no node of this configuration"), "{refused:?}");
}
