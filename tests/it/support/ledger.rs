//! What an exported ledger says, for the stories that count what really happened.

use super::gateway::Gateway;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The exported ledger of a site, entry by entry in order, each as its canonical bytes say it.
pub fn export(gateway: &Gateway) -> Vec<Value> {
    let lines = gateway.ask(&["ledger", "export"]);
    let bytes = lines.iter().map(|line| line["bytes"].as_str().unwrap_or_else(|| panic!("no bytes in {line}")));
    bytes.map(|bytes| serde_json::from_str(bytes).unwrap_or_else(|e| panic!("not JSON ({e}): {bytes}"))).collect()
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

/// The instances whose transfer to `destination` was unknown and then, being checked, absent.
pub fn found_absent(gateway: &Gateway, destination: &str) -> BTreeSet<String> {
    absences(gateway, |name| name == destination).into_keys().collect()
}

/// How often each of them was, at all destinations that are meant.
pub fn absences(gateway: &Gateway, meant: impl Fn(&str) -> bool) -> BTreeMap<String, usize> {
    let entries = export(gateway);
    let versions = versions(&entries);
    let made = entries.iter().flat_map(|entry| list(entry, "made"));
    let owed: BTreeMap<i64, i64> = made
        .filter(|transfer| transfer["destination"].as_str().is_some_and(&meant))
        .filter_map(|transfer| Some((transfer["id"].as_i64()?, transfer["instance"].as_i64()?)))
        .collect();
    let (mut unknown, mut absent) = (BTreeSet::new(), BTreeMap::new());
    for step in entries.iter().flat_map(|entry| list(entry, "steps")) {
        for transfer in list_of_ids(&step["transfers"]).filter(|id| owed.contains_key(id)) {
            if step["to"] == "unknown" {
                unknown.insert(transfer);
            } else if unknown.remove(&transfer) && step["outcome"] == "absent" {
                *absent.entry(versions[&owed[&transfer]].clone()).or_default() += 1;
            }
        }
    }
    absent
}

/// What arrived more often than it was needed, each with how often: it is sent once, and once more for each time that it was found
/// absent. And how many arrivals in all were such repetitions.
pub fn needless(
    arrivals: impl IntoIterator<Item = (String, usize)>,
    absences: &BTreeMap<String, usize>,
) -> (BTreeMap<String, usize>, usize) {
    let (mut needless, mut excused) = (BTreeMap::new(), 0);
    for (instance, times) in arrivals {
        let again = absences.get(&instance).copied().unwrap_or(0);
        excused += times.saturating_sub(1).min(again);
        if times > 1 + again {
            needless.insert(instance, times);
        }
    }
    (needless, excused)
}

/// How many attempts at `destination` came to nothing so far, in part or as a whole.
pub fn failures(gateway: &Gateway, destination: &str) -> usize {
    let failed = |step: &Value| ["unknown", "deferred", "parked"].map(Value::from).contains(&step["outcome"]);
    let entries = export(gateway);
    let ends =
        entries.iter().filter(|entry| entry["kind"] == "outcome" && entry["facts"]["destination"] == destination);
    ends.filter(|entry| list(entry, "steps").iter().any(failed)).count()
}

fn list_of_ids(value: &Value) -> impl Iterator<Item = i64> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(Value::as_i64)
}
