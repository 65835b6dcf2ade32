//! Orthanc as the place we send to and as the place we get from; dicomweb-client as a third voice.

use crate::support::dcmtk::{StoreScp, storescu};
use crate::support::gateway::Gateway;
use crate::support::neighbours::{self, *};
use crate::support::orthanc::Orthanc;
use crate::support::python;
use crate::support::radiology::last;
use crate::support::store_answer;
use crate::support::tools::demo_study;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;

const STUDIES: [&str; 6] = ["ct", "mr", "us", "rt", "sr", "pdf"];
const ORTHANC_IDENTITY: &str = "orthanc.weybridge.test";

fn all_files() -> Vec<PathBuf> {
    STUDIES.iter().flat_map(|study| demo_study(study)).collect()
}

/// Sends the demo studies to a DICOM port, whatever their syntax.
fn push(port: u16, called: &str) {
    storescu(port, called, &["-R", "-xe"], &[demo_study("ct"), demo_study("sr"), demo_study("pdf")].concat())
        .ok("storescu, explicit");
    storescu(port, called, &["-R", "-xi"], &[demo_study("mr"), demo_study("rt")].concat()).ok("storescu, implicit");
    storescu(port, called, &["-R", "-xy"], &demo_study("us")).ok("storescu, JPEG");
}

#[test]
fn orthanc_takes_what_we_send_and_repeats_are_no_ops() {
    let stage = Stage::new();
    let identity = stage.authority.issue(B_IDENTITY);
    let orthanc = Orthanc::start(&stage.path().join("orthanc"), &identity, "https://127.0.0.1:1/dicom-web");
    let a = Gateway::start(&stage.path().join("a"), stage.site_a(&orthanc.url()));
    let count = all_files().len() as u64;
    for _ in 0..2 {
        push(a.config.dicom_port, "WB_A");
        a.all_become("b", "verified", count, seconds(120));
        assert_eq!(orthanc.instances(), count);
    }
    let stored = orthanc.get("/changes?limit=10000")["Changes"].as_array().unwrap().clone();
    let arrivals = stored.iter().filter(|change| change["ChangeType"] == "NewInstance").count() as u64;
    assert_eq!(arrivals, count, "each instance was new to Orthanc once");
    a.verify_ledger(true);
}

/// WEB-045: explicit, implicit and JPEG; Orthanc gives back what it was sent.
#[test]
fn what_orthanc_gives_back_is_what_we_sent() {
    let stage = Stage::new();
    let identity = stage.authority.issue(B_IDENTITY);
    let orthanc = Orthanc::start(&stage.path().join("orthanc"), &identity, "https://127.0.0.1:1/dicom-web");
    let a = Gateway::start(&stage.path().join("a"), stage.site_a_verifying(&orthanc.url(), "readback"));
    push(a.config.dicom_port, "WB_A");
    a.all_become("b", "verified", all_files().len() as u64, seconds(120));
    let lines = a.ask(&["transfers", "list", "--json"]);
    for study in lines.iter().map(|line| line["study_instance_uid"].as_str().unwrap()) {
        for line in a.study(study) {
            let evidence = line["transfers"][0]["evidence"].as_str().unwrap_or_default();
            assert!(evidence.contains("read back by WADO-RS and the same"), "{line}");
        }
    }
    a.verify_ledger(true);
}

#[test]
fn what_orthanc_sends_goes_on_to_the_next_site() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let nobody = "https://127.0.0.1:1/dicom-web";
    let config = stage.site_a(&b.config.url()).peer("orthanc", nobody, ORTHANC_IDENTITY, "present").route(
        "from Orthanc to b",
        "b",
        "from = [\"orthanc\"]",
    );
    let a = Gateway::start(&stage.path().join("a"), config);
    let identity = stage.authority.issue(ORTHANC_IDENTITY);
    let orthanc = Orthanc::start(&stage.path().join("orthanc"), &identity, &a.config.url());
    push(orthanc.dicom_port, "ORTHANC");
    let count = all_files().len() as u64;
    assert_eq!(orthanc.instances(), count);
    for _ in 0..2 {
        let studies = orthanc.get("/studies");
        let job =
            orthanc.post("/dicom-web/servers/gateway/stow", &json!({ "Resources": studies, "Synchronous": true }));
        assert!(job.is_object(), "Orthanc's answer to its STOW: {job}");
        a.all_become("b", "verified", count, seconds(120));
    }
    b.verify_ledger(true);
}

#[test]
fn what_dicomweb_client_stores_goes_on_to_the_next_site() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let config = stage
        .site_a(&b.config.url())
        .peer("client", "https://127.0.0.1:1/dicom-web", "client.weybridge.test", "present")
        .route("from the client to b", "b", "from = [\"client\"]");
    let a = Gateway::start(&stage.path().join("a"), config);
    let identity = stage.authority.issue("client.weybridge.test");
    let files = [demo_study("ct"), demo_study("sr"), demo_study("pdf"), demo_study("us")].concat();
    let url = a.config.url();
    let arguments: Vec<OsString> =
        [url.into(), identity.certificate.clone().into(), identity.key.clone().into(), identity.trust.clone().into()]
            .into_iter()
            .chain(files.iter().map(Into::into))
            .collect();
    for _ in 0..2 {
        let answer = python::lines("stow", &arguments);
        let items = store_answer::read(&answer[0].to_string());
        assert_eq!(items.len(), files.len());
        assert!(items.iter().all(|item| item.reason.is_none()), "{items:?}");
        a.all_become("b", "verified", files.len() as u64, seconds(60));
    }
    until(seconds(5), "B holds the study", || (!b.study(&study_of_ct(&a)).is_empty()).then_some(()));
}

fn study_of_ct(a: &Gateway) -> String {
    a.ask(&["transfers", "list", "--json"])[0]["study_instance_uid"].as_str().unwrap().to_owned()
}

/// UIX-13, DIM-070, DIM-089, IDY-042: Orthanc behind nginx as the neighbour whose priors a workstation asks for: found in whatever
/// character set they have, looked into, and given.
#[test]
fn orthancs_priors_are_found_and_given() {
    let stage = Stage::new();
    let orthanc =
        Orthanc::start(&stage.path().join("orthanc"), &identity(&stage, "b"), "https://127.0.0.1:1/dicom-web");
    let out = StoreScp::start(&stage.path().join("out"), "OUT");
    let nodes = format!(
        "[[node]]\nae_title = \"WS\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\npatient_id = \"nhs\"\n\
         move_to = [\"OUT\"]\n[[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{}\"\nmay = [\"receive\"]\n",
        out.port
    );
    let neighbour = Neighbour::new("b", &orthanc.url()).with("issuer = \"NHS\"");
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[neighbour], &nodes));
    let one = |n: u32, id: &str, charset: &str| json!({ "uid": n, "PatientID": id, "StudyDate": "20240102", "SpecificCharacterSet": charset });
    let people =
        json!([one(1, NHS, "ISO_IR 100"), one(2, NHS, "\\ISO 2022 IR 87"), one(3, "4000000004", "ISO_IR 100")]);
    let files = python::lines("patients", [stage.path().as_os_str(), people.to_string().as_ref()]);
    let paths: Vec<PathBuf> = files.iter().map(|file| file["path"].as_str().unwrap().into()).collect();
    storescu(orthanc.dicom_port, "ORTHANC", &[], &paths).ok("Orthanc is filled");
    let ask = |mut request: serde_json::Value| {
        request["calling"] = json!("WS");
        neighbours::ask(stage.path(), &a, &[request]).remove(0)
    };
    let uid = |n: u32| format!("2.25.70000000098.{n}");
    let said = ask(priors_of(NHS));
    let row = |n: u32| (uid(n), format!("NHS:{NHS}"), "NEARLINE".to_owned(), "1".to_owned());
    assert_eq!(studies(&said), [row(1), row(2)], "{said}");
    assert_eq!(markers(&said), [""; 0]);
    for n in [1, 2] {
        let keys = json!({ "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": uid(n), "SeriesInstanceUID": "",
            "NumberOfSeriesRelatedInstances": "" });
        let said = ask(json!({ "keys": keys }));
        let series: Vec<_> =
            identifiers(&said).iter().map(|set| set["NumberOfSeriesRelatedInstances"].clone()).collect();
        assert_eq!((series, &last(&said)["status"]), (vec![json!("1")], &json!(0)), "{said}");
        let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": uid(n) });
        let said = ask(json!({ "op": "move", "to": "OUT", "keys": keys }));
        assert_eq!((&last(&said)["status"], &last(&said)["completed"]), (&json!(0), &json!(1)), "{said}");
    }
    assert_eq!(out.files().len(), 2);
    a.verify_ledger(true);
}
