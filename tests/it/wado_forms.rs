//! Real files back by WADO-RS in every form, compared with the files by pydicom: nothing is lost, nothing is invented.

use crate::support::corpus::{self, Fate};
use crate::support::files::EXPLICIT_LE;
use crate::support::python;
use crate::wado::Site;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::Path;

/// Named by the file that pydicom's own decoders do not manage, and nobody else.
const BROKEN: &str = "JPEG2000-embedded-sequence-delimiter.dcm";

fn write(path: &Path, rows: &[Value]) {
    std::fs::write(path, rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
}

/// Stores files by C-STORE as they are.
fn push(site: &Site, rows: &[Value]) {
    let list = site.folder().join("list.jsonl");
    write(&list, rows);
    let port = site.gateway.config.dicom_port.to_string();
    let answers = python::lines("send", [port.as_str(), "WB_A", list.to_str().unwrap()]);
    let refused: Vec<&Value> = answers.iter().filter(|answer| answer["status"] != 0).collect();
    assert!(refused.is_empty() && answers.len() == rows.len(), "{refused:?}");
}

/// Asks for all of them by a program, whose last argument is the folder for what comes.
fn ask(site: &Site, program: &str) -> Vec<Value> {
    let arguments: [OsString; 6] = [
        site.gateway.config.url().into(),
        site.b.certificate.clone().into(),
        site.b.key.clone().into(),
        site.b.trust.clone().into(),
        site.folder().join("list.jsonl").into(),
        site.folder().into(),
    ];
    python::lines(program, arguments)
}

// WEB-003, WEB-100, WEB-102.
#[test]
fn every_file_comes_back_as_it_is_and_its_metadata_says_what_it_says() {
    let site = Site::start("");
    let files = corpus::files().into_iter().filter(|file| file.fate == Fate::First);
    let rows: Vec<Value> = files
        .map(|file| {
            json!({ "path": file.path, "sop_class": file.sop_class, "sop_instance": file.instance, "syntax": file.syntax })
        })
        .collect();
    push(&site, &rows);
    let (mut stored, mut native, mut compared, mut followed, mut faults) = (0, 0, 0, 0, Vec::new());
    let told = ask(&site, "wado_forms");
    assert_eq!(told.len(), rows.len());
    for row in &told {
        let name = row["path"].as_str().unwrap().rsplit('/').next().unwrap();
        stored += u32::from(row["stored"] == true);
        compared += row["compared"].as_u64().unwrap_or(0);
        followed += row["followed"].as_u64().unwrap_or(0);
        let long = row["native"].is_null();
        let decodes = name != BROKEN && (long || row["native"] == 200 && row["received_as"] == EXPLICIT_LE);
        native += u32::from(row["native"] == 200);
        let refused = name == BROKEN && row["native"] == 406;
        let whole = row["stored"] != false && row["metadata"] == json!([]) && row["bulk"] == json!([]);
        if !whole || !(decodes || refused) {
            faults.push(row.to_string());
        }
    }
    println!(
        "summary: {} files, {stored} byte for byte, {native} native, {compared} attributes, {followed} links",
        told.len()
    );
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(
        stored > 100 && native > 140 && compared > 10_000 && followed > 10,
        "{stored} {native} {compared} {followed}"
    );
}

// WEB-003.
#[test]
fn what_is_compressed_comes_native_with_the_same_pixels() {
    let site = Site::start("");
    let rows = python::lines("fresh", [site.folder()]);
    push(&site, &rows);
    let told = ask(&site, "wado_forms");
    let (mut pairs, mut faults) = (Vec::new(), Vec::new());
    for (row, sent) in told.iter().zip(&rows) {
        let broken = sent["broken"] == true;
        match row["received"].as_str() {
            Some(received) if !broken => pairs.push(json!({ "sent": sent["path"], "received": received })),
            None if broken && row["native"] == 406 => {}
            _ => faults.push(row.to_string()),
        }
    }
    let list = site.folder().join("pairs.jsonl");
    write(&list, &pairs);
    for said in python::lines("same_pixels", [&list]) {
        let most = match (said["stored_as"].as_str().unwrap(), said["samples"].as_u64().unwrap()) {
            ("1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51", 3) => 3,
            ("1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51" | "1.2.840.10008.1.2.4.91", _) => 1,
            _ => 0,
        };
        if said["off"].as_u64().is_none_or(|off| off > most) || said["received_as"] != EXPLICIT_LE {
            faults.push(said.to_string());
        }
    }
    println!("summary: {} files in native form", pairs.len());
    assert!(faults.is_empty() && pairs.len() > 50, "{} faults:\n{}", faults.len(), faults.join("\n"));
}
