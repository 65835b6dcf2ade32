//! Several sites around site A, whose radiologist asks for a patient's priors.

use super::certs::Identity;
use super::config::{SiteConfig, free_port};
use super::gateway::Gateway;
use super::python;
use super::two_sites::{A_IDENTITY, Stage};
use super::web;
use serde_json::{Value, json};
use std::path::Path;

/// A valid NHS number, of those for tests.
pub const NHS: &str = "9434765919";

/// The workstation that asks, and a PACS whose numbers are NHS numbers.
const NODES: &str = "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\n\
    patient_id = \"nhs\"\n\n[[node]]\nae_title = \"PACS\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\"]\n\
    patient_id = \"nhs\"\n\n[[node]]\nae_title = \"SENDER\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\"]\n";

/// A neighbour as A knows it.
pub struct Neighbour {
    pub name: String,
    pub url: String,
    /// Further lines of its entry.
    pub lines: String,
}

impl Neighbour {
    pub fn new(name: &str, url: &str) -> Self {
        Self { name: name.into(), url: url.into(), lines: String::new() }
    }

    pub fn with(self, lines: &str) -> Self {
        Self { lines: lines.into(), ..self }
    }
}

pub fn identity(stage: &Stage, name: &str) -> Identity {
    stage.authority.issue(&format!("{name}.weybridge.test"))
}

/// Site A's configuration with these neighbours; `tables` follow.
pub fn asking(stage: &Stage, neighbours: &[Neighbour], tables: &str) -> SiteConfig {
    let mut config = SiteConfig::new("a", stage.identity_of_a()).with(NODES);
    for Neighbour { name, url, lines } in neighbours {
        config = config.peer(name, url, &format!("{name}.weybridge.test"), "present").with(lines);
    }
    config.with(tables)
}

/// A neighbour's configuration: A may ask it.
pub fn holding(stage: &Stage, name: &str, tables: &str) -> SiteConfig {
    let nobody = format!("https://127.0.0.1:{}/dicom-web", free_port());
    SiteConfig::new(name, identity(stage, name)).with(NODES).peer("a", &nobody, A_IDENTITY, "present").with(tables)
}

/// Writes an instance for each patient, see `python/patients.py`, and sends them to a site as one of its nodes.
pub fn give(stage: &Stage, site: &Gateway, node: &str, patients: &Value) -> Vec<Value> {
    let folder = stage.path().join(format!("{}-{node}", site.config.name));
    std::fs::create_dir_all(&folder).unwrap();
    let files = python::lines("patients", [folder.as_os_str(), patients.to_string().as_ref()]);
    let list = folder.join("list.jsonl");
    std::fs::write(&list, files.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
    let port = site.config.dicom_port.to_string();
    let said = python::lines("send", [&port, &site.config.ae_title, list.to_str().unwrap(), node]);
    assert!(said.len() == files.len() && said.iter().all(|answer| answer["status"] == 0), "{said:?}");
    files
}

/// Asks a site by DIMSE, see `python/query.py`.
pub fn ask(folder: &Path, site: &Gateway, requests: &[Value]) -> Vec<Value> {
    let list = folder.join("requests.jsonl");
    std::fs::write(&list, requests.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
    let port = site.config.dicom_port.to_string();
    let said = python::lines("query", [port.as_str(), &site.config.ae_title, list.to_str().unwrap()]);
    assert_eq!(said.len(), requests.len());
    said
}

/// A query at study level that asks for whatever a list of priors shows.
pub fn priors_of(patient: &str) -> Value {
    json!({ "keys": { "QueryRetrieveLevel": "STUDY", "PatientID": patient, "PatientName": "", "StudyInstanceUID": "",
        "StudyDate": "", "StudyDescription": "", "AccessionNumber": "", "ModalitiesInStudy": "",
        "NumberOfStudyRelatedInstances": "", "InstanceAvailability": "" } })
}

/// The identifiers of the answers.
pub fn identifiers(said: &Value) -> Vec<Value> {
    let answers = said["answers"].as_array().unwrap().iter().map(|answer| &answer["identifier"]);
    answers.filter(|identifier| identifier.is_object()).cloned().collect()
}

/// Study UID, Patient ID, availability and number of instances of each study that is no marker, in order of the UIDs.
pub fn studies(said: &Value) -> Vec<(String, String, String, String)> {
    let text = |set: &Value, keyword: &str| set[keyword].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = identifiers(said)
        .iter()
        .filter(|set| set["InstanceAvailability"] != "UNAVAILABLE")
        .map(|set| {
            let words = ["StudyInstanceUID", "PatientID", "InstanceAvailability", "NumberOfStudyRelatedInstances"];
            let [uid, patient, available, instances] = words.map(|keyword| text(set, keyword));
            (uid, patient, available, instances)
        })
        .collect();
    all.sort();
    all
}

/// What the markers say, without the time, in order.
pub fn markers(said: &Value) -> Vec<String> {
    let sets = identifiers(said);
    let markers = sets.iter().filter(|set| set["InstanceAvailability"] == "UNAVAILABLE");
    let mut said: Vec<String> = markers
        .map(|set| {
            let text = set["StudyDescription"].as_str().unwrap();
            text.rsplit_once(' ').unwrap().0.to_owned()
        })
        .collect();
    said.sort();
    said
}

/// Asks a site by QIDO-RS as one of its peers.
pub fn search_as(identity: &Identity, site: &Gateway, resource: &str) -> web::Answer {
    web::request(Some(identity), &identity.trust, &format!("{}/{resource}", site.config.url()), &[])
}
