//! OHIF's viewer in Chromium on the face towards viewers: it lists studies, also a neighbour's, opens a CT and an MR, and draws what pydicom
//! reads.
//!
//! `.ci/long viewer` installs the browser and the viewer, and runs it; the screenshots stay in target/long/viewer.

use crate::support::dcmtk::storescu;
use crate::support::gateway::Gateway;
use crate::support::neighbours::{NHS, Neighbour, holding};
use crate::support::process::finish;
use crate::support::python;
use crate::support::tools::{demo_study, root, tool};
use crate::support::two_sites::Stage;
use crate::support::wait::seconds;
use crate::viewer::{Site, TOKEN};
use crate::viewer_search::Viewed;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
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

/// Has the viewer list `patient`'s studies, or all, and open these; what it says, a line each. It must have worked, and every answer been 200.
fn opened(kept: &Path, port: u16, patient: &str, studies: &[String]) -> (String, Vec<Value>) {
    let tools = root().join("target/viewer");
    let _ = fs::remove_dir_all(kept);
    fs::create_dir_all(kept).unwrap();
    let mut command = Command::new(tool("node"));
    command.arg(root().join("tests/it/browser/ohif.mjs")).arg(&tools).args([&port.to_string(), TOKEN]).arg(kept);
    let said = finish(command.arg(patient).args(studies), seconds(280)).ok("browser/ohif.mjs");
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<&Value> = lines.iter().filter(|line| line["failed"].is_string()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let asked = lines.iter().filter(|line| line["asked"].is_string());
    let bad: Vec<&Value> = asked.filter(|line| line["status"] != 200).collect();
    assert!(bad.is_empty(), "{bad:?}");
    (said, lines)
}

/// How many requests held this.
fn count(lines: &[Value], part: &str) -> usize {
    lines.iter().filter(|line| line["asked"].as_str().is_some_and(|asked| asked.contains(part))).count()
}

/// As what the gateway was built.
fn profile() -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_weybridge")).parent().and_then(Path::file_name).unwrap();
    folder.display().to_string()
}

/// WEB-091, WEB-095, WEB-100, WEB-102: what the viewer asks for is answered, and the canvas shows each cell of two slices of each study
/// with the gray that the object's own window gives it, within rounding.
#[test]
#[ignore = "needs Chromium and OHIF: run .ci/long viewer"]
fn ohif_lists_opens_and_draws_a_ct_and_an_mr() {
    let site = Site::start("\"find\", \"move\"");
    storescu(site.gateway.config.dicom_port, "WB_A", &["-R", "-xi"], &demo_study("mr")).ok("storescu, implicit");
    let (studies, kept) = (studies(&site), root().join("target/long/viewer"));
    let (said, lines) = opened(&kept, site.port, "", &studies);
    let list = lines.iter().find_map(|line| line["list"].as_str()).expect("the list");
    for text in ["Specimen, Ada", "CT thorax", "Specimen, Bertram", "MR head"] {
        assert!(list.contains(text), "{text} is missing in {list}");
    }
    assert!(count(&lines, "/metadata") >= 2 && count(&lines, "/frames/1") >= 4, "{lines:?}");
    drawn_as_read(&kept, &said, &studies, &[demo_study("ct"), demo_study("mr")].concat());
    println!(
        "summary: a CT and an MR study listed; opened and drawn by OHIF in Chromium; {} requests all 200; 2 slices of each as pydicom \
         reads them within one level of 256; gateway built as {}",
        count(&lines, ""),
        profile()
    );
}

/// DIM-070, WEB-090, WEB-100: the list of a patient's studies holds one that lies only at the neighbour's; it is opened like one of ours,
/// and drawn as it was sent there.
#[test]
#[ignore = "needs Chromium and OHIF: run .ci/long viewer"]
fn ohif_finds_opens_and_draws_a_neighbours_ct() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), holding(&stage, "b", ""));
    let site = Viewed::start(stage, &[Neighbour::new("b", &b.config.url())], "", "");
    let files = [("ct", &b), ("mr", &site.a)].map(|(name, at)| {
        let files = of_patient(site.stage.path(), name);
        storescu(at.config.dicom_port, &at.config.ae_title, &["-R", "-aet", "PACS"], &files).ok("storescu");
        files
    });
    let found = site.shown(&format!("studies?PatientID={NHS}"));
    let uids: Vec<String> =
        found.sets.iter().map(|set| set["0020000D"]["Value"][0].as_str().unwrap().to_owned()).collect();
    let [mr, ct] = <[String; 2]>::try_from(uids).unwrap();
    assert_eq!(site.a.holds(&ct), 0, "the CT lies at the neighbour's alone");
    let (kept, studies) = (root().join("target/long/viewer-elsewhere"), [ct.clone(), mr]);
    let (said, lines) = opened(&kept, site.port, NHS, &studies);
    let list = lines.iter().find_map(|line| line["list"].as_str()).expect("the list");
    assert!(list.contains("CT thorax") && list.contains("MR head"), "{list}");
    drawn_as_read(&kept, &said, &studies, &files.concat());
    assert_eq!(site.a.holds(&ct), demo_study("ct").len(), "it was pulled");
    println!(
        "summary: a neighbour's CT found by its patient beside our MR; opened and drawn by OHIF in Chromium; {} requests all 200; gateway \
         built as {}",
        count(&lines, ""),
        profile()
    );
}

/// Copies of a study's files that bear the NHS number.
fn of_patient(folder: &Path, name: &str) -> Vec<PathBuf> {
    let folder = folder.join(name);
    fs::create_dir_all(&folder).unwrap();
    let copies: Vec<PathBuf> = demo_study(name)
        .iter()
        .map(|file| {
            let copy = folder.join(file.file_name().unwrap());
            fs::copy(file, &copy).unwrap();
            copy
        })
        .collect();
    let mut command = Command::new(tool("dcmodify"));
    let values = ["--insert", &format!("(0010,0020)={NHS}"), "--insert", "(0010,0021)=NHS"];
    command.arg("--no-backup").args(values).args(&copies);
    finish(&mut command, seconds(60)).ok("dcmodify");
    copies
}

/// The slices that were drawn are two of each study, whole, and as pydicom reads them.
fn drawn_as_read(kept: &Path, said: &str, studies: &[String], files: &[PathBuf]) {
    let drawn = kept.join("drawn.jsonl");
    fs::write(&drawn, said).unwrap();
    let slices = python::lines("canvas", [&[drawn], files].concat());
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
