//! What an exported ledger says, for the stories that count what really happened.

use super::gateway::Gateway;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The exported ledger of a site, entry by entry in order.
pub fn export(gateway: &Gateway) -> Vec<Value> {
    gateway.ask(&["ledger", "export"])
}

fn list<'a>(entry: &'a Value, name: &str) -> &'a [Value] {
    entry["facts"][name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// SOP Instance UID by the number of an instance's version.
fn versions(entries: &[Value]) -> BTreeMap<i64, String> {
    let made = entries.iter().flat_map(|entry| list(entry, "versions"));
    made.filter_map(|version| Some((version["id"].as_i64()?, version["uid"].as_str()?.to_owned()))).collect()
}

/// How often each SOP Instance UID arrived whole, by the ledger of the receiver.
pub fn arrivals(gateway: &Gateway) -> BTreeMap<String, usize> {
    let entries = export(gateway);
    let versions = versions(&entries);
    let mut counts = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry["kind"] == "received") {
        let version = entry["facts"]["instance"].as_i64().unwrap_or_else(|| panic!("no instance in {entry}"));
        *counts.entry(versions[&version].clone()).or_default() += 1;
    }
    counts
}

/// The instances whose transfer to `destination` was once unknown and then, being checked, absent.
pub fn found_absent(gateway: &Gateway, destination: &str) -> BTreeSet<String> {
    let entries = export(gateway);
    let versions = versions(&entries);
    let made = entries.iter().flat_map(|entry| list(entry, "made"));
    let owed: BTreeMap<i64, i64> = made
        .filter(|transfer| transfer["destination"] == destination)
        .filter_map(|transfer| Some((transfer["id"].as_i64()?, transfer["instance"].as_i64()?)))
        .collect();
    let steps = entries.iter().filter(|entry| entry["kind"] == "outcome").flat_map(|entry| list(entry, "steps"));
    let absent = steps.filter(|step| step["outcome"] == "absent");
    let transfers = absent.flat_map(|step| step["transfers"].as_array().map(Vec::as_slice).unwrap_or_default());
    transfers.filter_map(|id| owed.get(&id.as_i64()?)).map(|version| versions[version].clone()).collect()
}
