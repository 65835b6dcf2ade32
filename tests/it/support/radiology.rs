//! A site with a small catalogue, and a radiologist's workstation that asks it by DIMSE.

use super::certs::Identity;
use super::config::SiteConfig;
use super::gateway::Gateway;
use super::python;
use super::two_sites::{B_IDENTITY, Stage};
use super::web;
use serde_json::Value;
use std::path::PathBuf;

/// The root of the catalogue's UIDs; see `python/catalogue.py`.
pub const ROOT: &str = "2.25.70000000098";

pub struct Radiology {
    pub site: Gateway,
    /// One line for each instance that was sent.
    pub files: Vec<Value>,
    pub stage: Stage,
    peer: Identity,
}

impl Radiology {
    /// A site that holds the catalogue, whose second study has so many instances; `tables` go into its configuration.
    pub fn start(instances: u32, tables: &str) -> Self {
        let stage = Stage::new();
        let node = |title: &str, may: &str| {
            format!("[[node]]\nae_title = \"{title}\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [{may}]\n")
        };
        let config = SiteConfig::new("a", stage.identity_of_a())
            .node("SENDER", None)
            .peer("b", "https://127.0.0.1:9/dicom-web", B_IDENTITY, "present")
            // Nobody listens there.
            .with("priors = false")
            .with(&node("STRANGER", ""))
            .with(tables);
        let site = Gateway::start(&stage.path().join("a"), config);
        let files = stage.path().join("files");
        std::fs::create_dir_all(&files).unwrap();
        let files = python::lines("catalogue", [files.to_str().unwrap(), &instances.to_string()]);
        let peer = stage.authority.issue(B_IDENTITY);
        let radiology = Self { site, files, stage, peer };
        radiology.push();
        radiology
    }

    fn push(&self) {
        let list = self.write("push.jsonl", &self.files);
        let port = self.site.config.dicom_port.to_string();
        let said = python::lines("send", [port.as_str(), "WB_A", list.to_str().unwrap()]);
        assert!(said.len() == self.files.len() && said.iter().all(|answer| answer["status"] == 0), "{said:?}");
    }

    fn write(&self, name: &str, lines: &[Value]) -> PathBuf {
        let list = self.stage.path().join(name);
        std::fs::write(&list, lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
        list
    }

    /// Asks by DIMSE, each request on an association of its own; see `python/query.py`.
    pub fn ask(&self, requests: &[Value]) -> Vec<Value> {
        let list = self.write("requests.jsonl", requests);
        let port = self.site.config.dicom_port.to_string();
        let said = python::lines("query", [port.as_str(), "WB_A", list.to_str().unwrap()]);
        assert_eq!(said.len(), requests.len());
        said
    }

    /// What the peer is answered.
    pub fn answer(&self, resource: &str) -> web::Answer {
        let url = format!("{}/{resource}", self.site.config.url());
        web::request(Some(&self.peer), &self.peer.trust, &url, &[])
    }

    /// Asks by QIDO-RS as the peer does; no results if there are none.
    pub fn search(&self, resource: &str) -> Vec<Value> {
        let answer = self.answer(resource);
        match answer.status {
            200 => serde_json::from_str(&answer.body).unwrap(),
            204 => Vec::new(),
            _ => panic!("{resource}: {answer:?}"),
        }
    }
}

/// The statuses of all answers to a request, in order.
pub fn statuses(said: &Value) -> Vec<u64> {
    said["answers"].as_array().unwrap().iter().map(|answer| answer["status"].as_u64().unwrap()).collect()
}

/// The last answer.
pub fn last(said: &Value) -> &Value {
    said["answers"].as_array().unwrap().last().unwrap()
}

/// Requires that a comment begins so and ends with a time, and that all of it is there.
pub fn is_dated(comment: &Value, begins: &str) {
    let text = comment.as_str().unwrap_or_else(|| panic!("no comment that begins: {begins}"));
    let moment = text.strip_prefix(begins).unwrap_or_else(|| panic!("{text} does not begin: {begins}"));
    let time = moment.rsplit(' ').next().and_then(|time| time.split_once(':')).unwrap_or_else(|| panic!("{text}"));
    let whole = |digits: &str| digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    assert!(whole(time.0) && whole(time.1) && text.chars().count() <= 64, "{text}");
}

/// When each answer came, in seconds.
fn times(said: &Value) -> Vec<f64> {
    said["times"].as_array().unwrap().iter().map(|time| time.as_f64().unwrap()).collect()
}

/// When the last answer came, in seconds.
pub fn last_time(said: &Value) -> f64 {
    *times(said).last().unwrap()
}

/// The longest that was waited for an answer, in seconds.
pub fn longest_gap(said: &Value) -> f64 {
    let times = [&[0.0][..], &times(said)].concat();
    times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
}

impl Radiology {
    /// An instance of another site's patient, pushed by that site.
    pub fn push_as_peer(&self, names: &super::files::Names) {
        use super::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, part10};
        let part = part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(names, 1000, 1));
        let file = self.stage.path().join("foreign.body");
        std::fs::write(&file, super::multipart::body(&[part], true)).unwrap();
        let url = format!("{}/studies", self.site.config.url());
        let answer = web::store(&self.peer, &url, &super::multipart::content_type(), &file, &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// The ledger as it is exported, once it says this of a retrieval.
    pub fn retrieved(&self, how: &str) -> Value {
        super::wait::until(super::wait::seconds(60), how, || {
            let text = self.site.cli(&["ledger", "export"]).ok("export");
            let facts = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok().and_then(facts_of));
            facts.into_iter().find(|facts| facts["how"] == how)
        })
    }
}

/// The facts of an entry, wherever the line of the export holds it.
fn facts_of(line: Value) -> Option<Value> {
    match &line {
        Value::Object(map) if map.contains_key("facts") => Some(map["facts"].clone()),
        Value::Object(map) => map.values().find_map(|value| match value {
            Value::String(text) => facts_of(serde_json::from_str(text).ok()?),
            other => facts_of(other.clone()),
        }),
        _ => None,
    }
}
