//! What an exported ledger says, for the stories that count what really happened.

use super::gateway::Gateway;
use serde_json::Value;
use std::collections::BTreeMap;

/// The exported ledger of a site, entry by entry in order.
pub fn export(gateway: &Gateway) -> Vec<Value> {
    gateway.ask(&["ledger", "export"])
}

/// How often each SOP Instance UID arrived whole, by the ledger of the receiver.
pub fn arrivals(gateway: &Gateway) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in export(gateway).iter().filter(|entry| entry["kind"] == "received") {
        let uid = entry["facts"]["sop_instance_uid"].as_str().unwrap_or_else(|| panic!("no UID in {entry}"));
        *counts.entry(uid.to_owned()).or_default() += 1;
    }
    counts
}

/// The instances whose transfer to `destination` was once unknown and then, being checked, absent.
pub fn found_absent(gateway: &Gateway, destination: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for entry in export(gateway).iter().filter(|entry| entry["kind"] == "outcome") {
        let facts = &entry["facts"];
        if facts["destination"] != destination {
            continue;
        }
        let outcomes = facts["transfers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let absent = outcomes.iter().filter(|outcome| outcome["outcome"] == "absent");
        found.extend(absent.filter_map(|outcome| outcome["sop_instance_uid"].as_str().map(str::to_owned)));
    }
    found.sort();
    found.dedup();
    found
}
