//! OHIF's viewer in Chromium on the face towards viewers: it lists the studies, opens a CT and an MR, and draws what pydicom reads.
//!
//! `.ci/long viewer` installs the browser and the viewer, and runs it; the screenshots stay in target/long/viewer.

use crate::support::dcmtk::storescu;
use crate::support::process::finish;
use crate::support::python;
use crate::support::tools::{demo_study, root, tool};
use crate::support::wait::seconds;
use crate::viewer::{Site, TOKEN};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The Study Instance UIDs of the CT and the MR study.
fn studies(site: &Site) -> Vec<String> {
    let answer = site.shown("studies?limit=10");
    let found: Vec<Value> = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let with = |modality: &str| {
        let study = found.iter().find(|study| study["00080061"]["Value"][0] == modality).expect("the study is found");
        study["0020000D"]["Value"][0].as_str().unwrap().to_owned()
    };
    ["CT", "MR"].map(with).into()
}

/// WEB-091, WEB-095, WEB-100, WEB-102: what the viewer asks for is answered, and the canvas shows each cell of two slices of each study
/// with the gray that the object's own window gives it, within rounding.
#[test]
#[ignore = "needs Chromium and OHIF: run .ci/long viewer"]
fn ohif_lists_opens_and_draws_a_ct_and_an_mr() {
    let site = Site::start("\"find\", \"move\"");
    storescu(site.gateway.config.dicom_port, "WB_A", &["-R", "-xi"], &demo_study("mr")).ok("storescu, implicit");
    let (tools, kept) = (root().join("target/viewer"), root().join("target/long/viewer"));
    let _ = fs::remove_dir_all(&kept);
    fs::create_dir_all(&kept).unwrap();
    let mut command = Command::new(tool("node"));
    command.arg(root().join("tests/it/browser/ohif.mjs")).arg(&tools).args([&site.port.to_string(), TOKEN]).arg(&kept);
    let studies = studies(&site);
    let said = finish(command.args(&studies), seconds(280)).ok("browser/ohif.mjs");
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<&Value> = lines.iter().filter(|line| line["failed"].is_string()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let list = lines.iter().find_map(|line| line["list"].as_str()).expect("the list");
    for text in ["Specimen, Ada", "CT thorax", "Specimen, Bertram", "MR head"] {
        assert!(list.contains(text), "{text} is missing in {list}");
    }
    let asked: Vec<&Value> = lines.iter().filter(|line| line["asked"].is_string()).collect();
    let bad: Vec<&&Value> = asked.iter().filter(|line| line["status"] != 200).collect();
    assert!(bad.is_empty(), "{bad:?}");
    let of = |part: &str| asked.iter().filter(|line| line["asked"].as_str().unwrap().contains(part)).count();
    assert!(of("/metadata") >= 2 && of("/frames/1") >= 4, "{asked:?}");
    drawn_as_read(&kept, &said, &studies);
    let folder = Path::new(env!("CARGO_BIN_EXE_weybridge")).parent().and_then(Path::file_name).unwrap();
    println!(
        "summary: a CT and an MR study listed; opened and drawn by OHIF in Chromium; {} requests all 200; 2 slices of each as pydicom \
         reads them within one level of 256; gateway built as {}",
        asked.len(),
        folder.display()
    );
}

/// The slices that were drawn are two of each study, whole, and as pydicom reads them.
fn drawn_as_read(kept: &Path, said: &str, studies: &[String]) {
    let drawn = kept.join("drawn.jsonl");
    fs::write(&drawn, said).unwrap();
    let files = [demo_study("ct"), demo_study("mr")].concat();
    let slices = python::lines("canvas", [&[drawn], &*files].concat());
    let of: Vec<&str> = slices.iter().map(|slice| slice["study"].as_str().unwrap()).collect();
    assert_eq!(of, [&*studies[0], &*studies[0], &*studies[1], &*studies[1]]);
    let instances: BTreeSet<&str> = slices.iter().map(|slice| slice["instance"].as_str().unwrap()).collect();
    assert_eq!(instances.len(), 4, "two slices, and not one twice");
    for slice in &slices {
        let [off, levels] = ["off", "levels"].map(|name| slice[name].as_f64().unwrap());
        assert!(slice["missing"] == 0 && off <= 1.0 && levels > 20.0, "{slice}");
    }
    for study in studies {
        assert!(kept.join(format!("{study}.png")).exists());
    }
}
