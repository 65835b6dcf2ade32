//! Orthanc as the place we send to and as the place we get from; dicomweb-client as a third voice.

use crate::support::dcmtk::storescu;
use crate::support::gateway::Gateway;
use crate::support::orthanc::Orthanc;
use crate::support::python;
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
