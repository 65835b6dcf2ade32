//! C-FIND as workstations ask: by every level and kind of key, in their character sets, and with the same matches as QIDO-RS.

use crate::support::process::finish;
use crate::support::radiology::{ROOT, Radiology, last, statuses};
use crate::support::tools::tool;
use crate::support::wait::seconds;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;

const WORKSTATION: &str =
    "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\n";

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";

fn study(keys: Value) -> Value {
    let mut keys = keys;
    keys["QueryRetrieveLevel"] = json!("STUDY");
    json!({ "keys": keys })
}

/// The last components of the UIDs that were found, and whether the query ended well.
fn found(said: &Value, keyword: &str) -> BTreeSet<String> {
    assert_eq!(last(said)["status"], 0, "{said}");
    let answers = said["answers"].as_array().unwrap().iter().filter(|answer| answer["identifier"].is_object());
    answers.map(|answer| answer["identifier"][keyword].as_str().unwrap().replace(&format!("{ROOT}."), "")).collect()
}

fn set(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// DIM-062 to DIM-066: one table of matches, the same over C-FIND and QIDO-RS.
#[test]
fn both_faces_find_the_same_studies() {
    let site = Radiology::start(1, WORKSTATION);
    let rows: &[(Value, &str, &[&str])] = &[
        (json!({ "PatientID": "P1" }), "PatientID=P1", &["1", "2"]),
        (json!({ "PatientID": "p1" }), "PatientID=p1", &[]),
        (json!({ "PatientID": "P?" }), "PatientID=P%3F", &["1", "2", "3"]),
        (json!({ "PatientID": "P*", "AccessionNumber": "A*" }), "PatientID=P*&AccessionNumber=A*", &["1", "2"]),
        // What is held without a value matches no value (docs/conformance.md).
        (json!({ "PatientID": "P2", "AccessionNumber": "A1" }), "PatientID=P2&AccessionNumber=A1", &[]),
        (json!({ "PatientID": "P2", "AccessionNumber": "" }), "PatientID=P2&AccessionNumber=", &["3"]),
        (json!({ "StudyDate": "20250310" }), "StudyDate=20250310", &["1"]),
        (json!({ "StudyDate": "20250311-" }), "StudyDate=20250311-", &["2", "3"]),
        (json!({ "StudyDate": "-20250311" }), "StudyDate=-20250311", &["1", "2"]),
        (json!({ "PatientID": "P1", "StudyTime": "223000" }), "PatientID=P1&StudyTime=223000", &["1"]),
        (json!({ "PatientID": "P1", "StudyTime": "0400-0600" }), "PatientID=P1&StudyTime=0400-0600", &["2"]),
        (json!({ "PatientID": "P1", "ModalitiesInStudy": "CT" }), "PatientID=P1&ModalitiesInStudy=CT", &["1"]),
        (
            json!({ "PatientID": "P*", "ModalitiesInStudy": "CT\\MR" }),
            "PatientID=P*&ModalitiesInStudy=CT%5CMR",
            &["1", "2", "3"],
        ),
        (
            json!({ "StudyInstanceUID": format!("{ROOT}.1\\{ROOT}.3") }),
            "StudyInstanceUID=2.25.70000000098.1,2.25.70000000098.3",
            &["1", "3"],
        ),
        (
            json!({ "PatientName": "MÜLLER^*", "SpecificCharacterSet": "ISO_IR 192" }),
            "PatientName=M%C3%9CLLER%5E*",
            &["1", "2"],
        ),
        (
            json!({ "PatientName": "Müller^Jörg^*", "SpecificCharacterSet": "ISO_IR 192" }),
            "PatientName=M%C3%BCller%5EJ%C3%B6rg%5E*",
            &["1", "2"],
        ),
        (json!({ "PatientID": "P1", "StudyID": "S2" }), "PatientID=P1&StudyID=S2", &["2"]),
        (json!({ "StudyID": "S?" }), "StudyID=S%3F", &["1", "2", "3"]),
        (
            json!({ "PatientID": "P*", "ReferringPhysicianName": "REFERRER^P2" }),
            "PatientID=P*&ReferringPhysicianName=REFERRER%5EP2",
            &["3"],
        ),
        (json!({ "PatientBirthDate": "19500102" }), "PatientBirthDate=19500102", &["1", "2"]),
        (json!({ "PatientBirthDate": "19500103-" }), "PatientBirthDate=19500103-", &[]),
        (json!({ "StudyDate": "2025.03.10\\20250401" }), "StudyDate=2025.03.10%5C20250401", &["1", "3"]),
        (
            json!({ "PatientName": "山田*", "SpecificCharacterSet": "ISO_IR 192" }),
            "PatientName=%E5%B1%B1%E7%94%B0*",
            &["3"],
        ),
    ];
    let requests: Vec<Value> = rows
        .iter()
        .map(|(keys, ..)| {
            let mut request = study(keys.clone());
            if request["keys"]["StudyInstanceUID"].is_null() {
                request["keys"]["StudyInstanceUID"] = json!("");
            }
            request
        })
        .collect();
    for ((keys, query, want), said) in rows.iter().zip(site.ask(&requests)) {
        assert_eq!(found(&said, "StudyInstanceUID"), set(want), "C-FIND {keys}");
        let results = site.search(&format!("studies?{query}"));
        let uids = results.iter().map(|result| result["0020000D"]["Value"][0].as_str().unwrap());
        let same: BTreeSet<String> = uids.map(|uid| uid.replace(&format!("{ROOT}."), "")).collect();
        assert_eq!(same, set(want), "QIDO-RS {query}");
    }
}

/// DIM-061 to DIM-064, WEB-095: the same below a study, for series and for instances.
#[test]
fn both_faces_find_the_same_series_and_images() {
    let site = Radiology::start(3, WORKSTATION);
    let (series, image) = (SeriesOf("1"), ImagesOf("1", "1"));
    let rows: Vec<Row> = vec![
        series.row(json!({ "SeriesNumber": "2" }), "SeriesNumber=2", &["1.2"]),
        series.row(json!({ "SeriesNumber": "02" }), "SeriesNumber=02", &["1.2"]),
        series.row(json!({ "SeriesNumber": "3" }), "SeriesNumber=3", &[]),
        series.row(json!({ "Modality": "CT" }), "Modality=CT", &["1.1"]),
        series.row(json!({ "Modality": "?T" }), "Modality=%3FT", &["1.1", "1.2"]),
        series.row(json!({ "Modality": "US" }), "Modality=US", &[]),
        series.row(
            json!({ "PerformedProcedureStepStartDate": "20250310", "PerformedProcedureStepStartTime": "0800-0859" }),
            "PerformedProcedureStepStartDate=20250310&PerformedProcedureStepStartTime=0800-0859",
            &["1.1"],
        ),
        series.row(
            json!({ "PerformedProcedureStepStartDate": "-20250309" }),
            "PerformedProcedureStepStartDate=-20250309",
            &[],
        ),
        series.row(
            json!({ "PerformedProcedureStepStartTime": "0900-" }),
            "PerformedProcedureStepStartTime=0900-",
            &["1.2"],
        ),
        image.row(json!({ "InstanceNumber": "2" }), "InstanceNumber=2", &["1.1.2"]),
        image.row(json!({ "InstanceNumber": "3" }), "InstanceNumber=3", &[]),
        image.row(json!({ "SOPClassUID": CT }), &format!("SOPClassUID={CT}"), &["1.1.1", "1.1.2"]),
        image.row(json!({ "SOPClassUID": MR }), &format!("SOPClassUID={MR}"), &[]),
        image.row(
            json!({ "SOPClassUID": format!("{MR}\\{CT}"), "InstanceNumber": "1" }),
            &format!("SOPClassUID={MR},{CT}&InstanceNumber=1"),
            &["1.1.1"],
        ),
        ImagesOf("2", "1").row(json!({ "InstanceNumber": "3" }), "InstanceNumber=3", &["2.1.3"]),
    ];
    let requests: Vec<Value> = rows.iter().map(|row| row.request.clone()).collect();
    for (row, said) in rows.iter().zip(site.ask(&requests)) {
        let (keyword, tag) = row.unique;
        assert_eq!(found(&said, keyword), row.want, "C-FIND {}", row.request);
        let results = site.search(&row.resource);
        let uids = results.iter().map(|result| result[tag]["Value"][0].as_str().unwrap());
        let same: BTreeSet<String> = uids.map(|uid| uid.replace(&format!("{ROOT}."), "")).collect();
        assert_eq!(same, row.want, "QIDO-RS {}", row.resource);
    }
}

/// What both faces are asked below a study, the unique key of the level, and what is found.
struct Row {
    request: Value,
    resource: String,
    unique: (&'static str, &'static str),
    want: BTreeSet<String>,
}

/// The series of a study.
struct SeriesOf(&'static str);

/// The instances of a series.
struct ImagesOf(&'static str, &'static str);

impl SeriesOf {
    fn row(&self, mut keys: Value, query: &str, want: &[&str]) -> Row {
        let study = format!("{ROOT}.{}", self.0);
        let resource = format!("studies/{study}/series?{query}");
        let unique = ("SeriesInstanceUID", "0020000E");
        keys["QueryRetrieveLevel"] = json!("SERIES");
        keys["StudyInstanceUID"] = json!(study);
        keys[unique.0] = json!("");
        Row { request: json!({ "keys": keys }), resource, unique, want: set(want) }
    }
}

impl ImagesOf {
    fn row(&self, mut keys: Value, query: &str, want: &[&str]) -> Row {
        let study = format!("{ROOT}.{}", self.0);
        let series = format!("{study}.{}", self.1);
        let resource = format!("studies/{study}/series/{series}/instances?{query}");
        let unique = ("SOPInstanceUID", "00080018");
        keys["QueryRetrieveLevel"] = json!("IMAGE");
        keys["StudyInstanceUID"] = json!(study);
        keys["SeriesInstanceUID"] = json!(series);
        keys[unique.0] = json!("");
        Row { request: json!({ "keys": keys }), resource, unique, want: set(want) }
    }
}

/// DIM-060, DIM-061, DIM-069, DIM-071: what each level gives back, and the statuses of what it does not support.
#[test]
fn each_level_gives_what_was_asked_and_nothing_else() {
    let site = Radiology::start(3, WORKSTATION);
    let (one, series) = (format!("{ROOT}.1"), format!("{ROOT}.1.1"));
    let said = site.ask(&[
        json!({ "model": "patient", "keys": { "QueryRetrieveLevel": "PATIENT", "PatientID": "", "PatientName": "" } }),
        json!({ "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": one, "StudyDescription": "", "AccessionNumber": "",
            "ModalitiesInStudy": "", "SOPClassesInStudy": "", "NumberOfStudyRelatedSeries": "",
            "NumberOfStudyRelatedInstances": "", "InstanceAvailability": "" } }),
        json!({ "keys": { "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": one, "SeriesInstanceUID": "", "Modality": "",
            "SeriesNumber": "", "NumberOfSeriesRelatedInstances": "" }, "syntax": "1.2.840.10008.1.2" }),
        json!({ "keys": { "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": one, "SeriesInstanceUID": series,
            "SOPInstanceUID": "", "SOPClassUID": "", "InstanceNumber": "2" } }),
        json!({ "keys": { "QueryRetrieveLevel": "STUDY", "PatientID": "P1", "PatientComments": "", "Modality": "CT" } }),
        study(json!({ "PatientID": "nobody" })),
        json!({ "keys": { "QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": "" } }),
        study(json!({ "PatientID": "P1", "StudyDate": "yesterday" })),
        json!({ "calling": "STRANGER", "keys": { "QueryRetrieveLevel": "STUDY", "PatientID": "P1" } }),
    ]);
    assert_eq!(found(&said[0], "PatientID"), set(&["P1", "P2"]));
    assert_eq!(statuses(&said[0]).len(), 3, "each patient once: {}", said[0]);
    let study = &said[1]["answers"][0];
    assert_eq!(study["status"], 0xFF00, "{study}");
    let held = json!({ "QueryRetrieveLevel": "STUDY", "RetrieveAETitle": "WB_A", "InstanceAvailability": "ONLINE",
        "StudyInstanceUID": one, "StudyDescription": study["identifier"]["StudyDescription"], "AccessionNumber": "A1",
        "ModalitiesInStudy": "CT\\OT", "NumberOfStudyRelatedSeries": "2", "NumberOfStudyRelatedInstances": "3",
        "SOPClassesInStudy": "1.2.840.10008.5.1.4.1.1.2\\1.2.840.10008.5.1.4.1.1.7" });
    assert_eq!(study["identifier"], held);
    assert_eq!(found(&said[2], "SeriesInstanceUID"), set(&["1.1", "1.2"]));
    assert_eq!(said[2]["answers"][0]["identifier"]["NumberOfSeriesRelatedInstances"], "2");
    assert_eq!(found(&said[3], "SOPInstanceUID"), set(&["1.1.2"]));
    assert_eq!(statuses(&said[4]), [0xFF01, 0xFF01, 0], "a key that is not supported is named by the status");
    let answer = &said[4]["answers"][0]["identifier"];
    assert!(answer.get("PatientComments").is_none() && answer.get("Modality").is_none(), "and is absent: {answer}");
    assert_eq!(said[5]["answers"], json!([{ "status": 0 }]), "no match is one answer without an identifier");
    for (at, status, offending) in
        [(6, 0xA900, Some("(0020,000d)")), (7, 0xA900, Some("(0008,0020)")), (8, 0x0124, None)]
    {
        let answer = last(&said[at]);
        assert_eq!(
            (answer["status"].as_u64(), answer["offending"].as_str().map(str::to_lowercase).as_deref()),
            (Some(status), offending),
            "{answer}"
        );
        assert!(!answer["comment"].as_str().unwrap().contains("yesterday"));
    }
    let refusals = site.site.cli(&["ledger", "export"]).ok("export");
    assert!(refusals.contains("refused"), "who may not query is in the ledger");
}

/// DIM-064, DIM-067, DIM-072, WEB-092: date and time are one key by C-FIND where that was negotiated, nothing else is; by QIDO-RS always.
#[test]
fn a_night_shift_is_one_range_where_it_was_negotiated() {
    let site = Radiology::start(1, WORKSTATION);
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", "StudyDate": "20250310-20250311",
        "StudyTime": "2200-0600" });
    let said = site.ask(&[
        json!({ "keys": keys }),
        json!({ "keys": keys, "extended": [1, 1, 1, 1, 1, 1, 1] }),
        json!({ "keys": keys, "extended": [1] }),
        json!({ "keys": keys, "extended": [0, 0, 1] }),
    ]);
    assert_eq!(found(&said[0], "StudyInstanceUID"), set(&[]), "a range of times does not cross midnight");
    assert_eq!(found(&said[1], "StudyInstanceUID"), set(&["1", "2"]));
    let results = site.search("studies?StudyDate=20250310-20250311&StudyTime=2200-0600");
    let uids = results.iter().map(|result| result["0020000D"]["Value"][0].as_str().unwrap());
    let shift: BTreeSet<String> = uids.map(|uid| uid.replace(&format!("{ROOT}."), "")).collect();
    assert_eq!(shift, set(&["1", "2"]), "by QIDO-RS one range");
    let answered: Vec<&Value> = said.iter().map(|said| &said["extended"]).collect();
    assert_eq!(answered, [&json!([]), &json!([[0, 1, 0, 0, 0, 0, 0]]), &json!([[0]]), &json!([[0, 0, 0]])]);
}

/// DIM-068, "Text" in docs/ARCHITECTURE.md: the asker's character set if it holds every value, else UTF-8.
#[test]
fn answers_are_in_the_askers_character_set() {
    let site = Radiology::start(1, WORKSTATION);
    let rows = [
        ("P1", "ISO_IR 100", "ISO_IR 100"),
        ("P1", "", "ISO_IR 192"),
        ("P1", "ISO_IR 144", "ISO_IR 192"),
        ("P2", "\\ISO 2022 IR 87", "\\ISO 2022 IR 87"),
        ("P2", "ISO_IR 100", "ISO_IR 192"),
    ];
    let requests: Vec<Value> = rows
        .iter()
        .map(|(patient, charset, _)| {
            let mut request = study(json!({ "PatientID": patient, "PatientName": "" }));
            if !charset.is_empty() {
                request["keys"]["SpecificCharacterSet"] = json!(charset.split('\\').collect::<Vec<_>>());
            }
            request
        })
        .collect();
    for ((patient, asked, want), said) in rows.iter().zip(site.ask(&requests)) {
        let answer = &said["answers"][0]["identifier"];
        let name = if *patient == "P1" { "Müller^Jörg" } else { "Yamada^Tarou=山田^太郎=やまだ^たろう" };
        assert_eq!(
            (answer["PatientName"].as_str(), answer["SpecificCharacterSet"].as_str()),
            (Some(name), Some(*want)),
            "{asked:?}"
        );
    }
}

/// UIX-13: DCMTK's `findscu` works as it is.
#[test]
fn findscu_finds_a_patients_studies() {
    let site = Radiology::start(1, WORKSTATION);
    let mut command = Command::new(tool("findscu"));
    command.args(["-v", "-S", "-aet", "RADIOLOGY", "-aec", "WB_A", "-k", "0008,0052=STUDY", "-k", "0010,0020=P1"]);
    command.args(["-k", "0020,000d", "-k", "0008,0050", "127.0.0.1", &site.site.config.dicom_port.to_string()]);
    let done = finish(&mut command, seconds(60));
    let text = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(0), "{text}");
    assert!(text.contains(&format!("[{ROOT}.1]")) && text.contains(&format!("[{ROOT}.2]")), "{text}");
}

/// DIM-065: by configuration a missing value matches any, where nobody can be mistaken for somebody else; one of the patient never does.
#[test]
fn a_missing_value_matches_any_only_where_the_site_says_so() {
    let mut site = Radiology::start(1, WORKSTATION);
    let rows = [
        study(json!({ "PatientID": "P2", "AccessionNumber": "A1", "StudyInstanceUID": "" })),
        study(json!({ "PatientID": "P2", "PatientBirthDate": "19600229", "StudyInstanceUID": "" })),
        study(json!({ "PatientID": "P1", "AccessionNumber": "A1", "StudyInstanceUID": "" })),
    ];
    let all = |site: &Radiology| -> Vec<BTreeSet<String>> {
        site.ask(&rows).iter().map(|said| found(said, "StudyInstanceUID")).collect()
    };
    assert_eq!(all(&site), [set(&[]), set(&[]), set(&["1"])]);
    site.site.config.dicom = "match_unknown = true".into();
    site.site.write_config();
    site.site.reload();
    assert_eq!(all(&site), [set(&["3"]), set(&[]), set(&["1"])]);
}
