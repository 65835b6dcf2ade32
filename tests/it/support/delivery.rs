//! What a peer has of what a site acknowledged, once the site says that all of it is verified there.

use super::gateway::Gateway;
use super::ledger;
use super::load::Sent;
use super::scripted_peer::ScriptedPeer;
use super::wait::{seconds, until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong at the peer, by SOP Instance UID.
#[derive(Debug, Default)]
pub struct Delivery {
    pub acknowledged: usize,
    /// Acknowledged, and neither there nor said to be.
    pub lost: Vec<String>,
    /// There, but other bytes than were sent, or than the site holds.
    pub torn: Vec<String>,
    /// Verified by the site's own word, and not there.
    pub believed: Vec<String>,
    /// Arrived more often than it was needed, and how often.
    pub twice: BTreeMap<String, usize>,
    /// Arrivals that were needed since the peer had said that it had nothing.
    pub again: usize,
}

impl Delivery {
    /// Waits until `a` says that all it owes to `b` is verified there, what nobody was told of included, and looks at `b` itself.
    pub fn of(a: &Gateway, b: &ScriptedPeer, sent: &Sent) -> Self {
        until(seconds(240), "all of it is verified at B", || {
            let (owed, verified) = a.transfers("b", "verified");
            (owed == verified && owed >= sent.len() as u64).then_some(())
        });
        let studies: BTreeSet<&str> = sent.keys().map(|(study, _)| study.as_str()).collect();
        let rows: BTreeMap<String, Value> = studies.into_iter().flat_map(|study| rows(a, study)).collect();
        let (twice, again) = ledger::needless(b.arrivals(), &ledger::absences(a, |name| name == "b"));
        let mut delivery = Self { acknowledged: sent.len(), twice, again, ..Self::default() };
        let digests = sent.iter().map(|((_, instance), digest)| (instance, digest.as_str()));
        let sent: BTreeMap<&String, &str> = digests.collect();
        for instance in rows.keys().chain(sent.keys().copied()).collect::<BTreeSet<_>>() {
            let here = rows.get(instance);
            let said = here.is_some_and(|row| row["transfers"][0]["state"] == "verified");
            let meant = sent.get(instance).copied().or_else(|| here?["sha256"].as_str());
            match b.digest_of(instance) {
                Some(there) if Some(there.as_str()) == meant => {}
                Some(_) => delivery.torn.push(instance.clone()),
                None if said => delivery.believed.push(instance.clone()),
                None => delivery.lost.push(instance.clone()),
            }
        }
        delivery
    }

    pub fn none(&self) -> bool {
        self.lost.is_empty() && self.torn.is_empty() && self.believed.is_empty() && self.twice.is_empty()
    }

    /// Adds what another round came to.
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost.extend(other.lost);
        self.torn.extend(other.torn);
        self.believed.extend(other.believed);
        self.twice.extend(other.twice);
        self.again += other.again;
    }

    pub fn summary(&self) -> String {
        let Self { acknowledged, lost, torn, believed, twice, again } = self;
        let [lost, torn, believed] = [lost, torn, believed].map(Vec::len);
        format!(
            "at the peer: {acknowledged} acknowledged; {lost} lost; {torn} torn; {believed} falsely verified; {} needlessly sent \
             twice; {again} sent again since they were found absent",
            twice.len()
        )
    }
}

/// What a site says of the instances of a study; nothing if it knows none.
fn rows(a: &Gateway, study: &str) -> Vec<(String, Value)> {
    let answer = a.cli(&["study", study, "--json"]);
    let rows = if answer.code == Some(1) { String::new() } else { answer.ok("study") };
    let row = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    rows.lines().map(row).map(|row| (row["sop_instance_uid"].as_str().unwrap().to_owned(), row)).collect()
}
