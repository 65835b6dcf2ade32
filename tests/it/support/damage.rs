//! What is wrong at a site with what it acknowledged, and how often a long run is to try.

use super::gateway::Gateway;
use super::load::{Acknowledged, Sent};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How often, unless a long run says otherwise.
pub fn rounds(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// A seed of its own for each run, printed, so that a run can be told again.
pub fn seed() -> u64 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = rounds("WEYBRIDGE_SEED", u64::from(clock.subsec_nanos()));
    println!("WEYBRIDGE_SEED={seed}");
    seed
}

/// What is wrong at a site with what it acknowledged.
#[derive(Debug, Default)]
pub struct Damage {
    pub acknowledged: usize,
    /// Not shown any more.
    pub lost: Vec<Acknowledged>,
    /// Shown, but other bytes than were sent.
    pub torn: Vec<Acknowledged>,
    /// Shown, and set aside as damaged: its bytes are not there.
    pub aside: Vec<Acknowledged>,
    /// Everything that `ledger verify --blobs` finds, what was not acknowledged included, but for how many are set aside.
    pub problems: Vec<String>,
}

impl Damage {
    /// Looks at a site whose gateway runs.
    pub fn of(a: &Gateway, sent: &Sent) -> Self {
        let verified = a.cli(&["ledger", "verify", "--blobs", "--json"]);
        // 5 says that something is not intact; any other code would say nothing about it.
        assert!(matches!(verified.code, Some(0 | 5)), "{verified:?}");
        let report: Value = serde_json::from_str(&verified.stdout).unwrap();
        let mut problems: Vec<String> = serde_json::from_value(report["problems"].clone()).unwrap();
        assert_eq!(verified.code == Some(0), problems.is_empty(), "{verified:?}");
        // Each of these is looked for below. What the gateway sets aside meanwhile is among them, too: it is asked afterwards.
        problems.retain(|line| !line.contains("are set aside as damaged"));
        let broken: BTreeSet<&str> = problems.iter().filter_map(|line| line.strip_prefix("blob ")?.get(..64)).collect();
        let shown = shown(a, sent);
        let mut damage = Self { acknowledged: sent.len(), ..Self::default() };
        for (instance, digest) in sent {
            match shown.get(&instance.1) {
                None => damage.lost.push(instance.clone()),
                Some((held, _)) if held != digest || broken.contains(held.as_str()) => {
                    damage.torn.push(instance.clone());
                }
                Some((_, state)) if state == "corrupt" => damage.aside.push(instance.clone()),
                Some(_) => {}
            }
        }
        damage.problems = problems;
        damage
    }

    pub fn none(&self) -> bool {
        self.lost.is_empty() && self.torn.is_empty() && self.aside.is_empty() && self.problems.is_empty()
    }

    /// Adds what another round came to.
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost.extend(other.lost);
        self.torn.extend(other.torn);
        self.aside.extend(other.aside);
        self.problems.extend(other.problems);
    }

    pub fn summary(&self) -> String {
        let Self { acknowledged, lost, torn, aside, problems } = self;
        let [lost, torn, aside] = [lost, torn, aside].map(Vec::len);
        format!("{acknowledged} acknowledged; {lost} lost; {torn} torn; {aside} set aside; {} problems", problems.len())
    }
}

/// Digest and state of each instance that the site shows of these studies.
fn shown(a: &Gateway, sent: &Sent) -> BTreeMap<String, (String, String)> {
    let studies: BTreeSet<&str> = sent.keys().map(|(study, _)| study.as_str()).collect();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = |study| match a.cli(&["study", study, "--json"]) {
        // Lost as a whole.
        answer if answer.code == Some(1) => Vec::new(),
        _ => a.study(study),
    };
    let row = |row: Value| (text(&row, "sop_instance_uid"), (text(&row, "sha256"), text(&row, "state")));
    studies.into_iter().flat_map(rows).map(row).collect()
}
