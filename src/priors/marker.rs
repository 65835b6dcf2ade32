//! The marker study: what a node is shown in place of the answer of a site that does not give one ("A silent site is visible").

use super::search::Outcome;
use crate::dicom::part10::IMPLEMENTATION_CLASS_UID;
use crate::dicom::uid::StudyUid;
use sha2::{Digest as _, Sha256};

/// What is told of sites whose answer is missing. Sites that were not asked are told together, each other one by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// A site did not answer, or not to the end.
    NotAnswering(String),
    /// A site answered with what means somebody else, or with numbers of which nothing says who issued them.
    Unusable(String),
    /// These sites were not asked, since nothing is known by which they know the patient.
    NotAsked(String),
    /// A site answered with studies that this node is not shown before a person has decided.
    HeldBack(String),
}

impl Silence {
    /// What is to be told of how sites' answers ended, in the order of their names.
    pub fn of(outcomes: &[(String, Outcome)]) -> Vec<Self> {
        let named = |matching: fn(&Outcome) -> bool| {
            let mut sites: Vec<&str> =
                outcomes.iter().filter(|(_, outcome)| matching(outcome)).map(|(site, _)| site.as_str()).collect();
            sites.sort_unstable();
            sites.dedup();
            sites
        };
        let silent = named(|outcome| matches!(outcome, Outcome::NotAnswering(_)));
        let unusable = named(|outcome| matches!(outcome, Outcome::Answered { .. }) && !outcome.is_whole());
        let not_asked = named(|outcome| matches!(outcome, Outcome::NotAsked(_)));
        let mut all: Vec<Self> = silent.into_iter().map(|site| Self::NotAnswering(site.to_owned())).collect();
        all.extend(unusable.into_iter().map(|site| Self::Unusable(site.to_owned())));
        let held_back = named(|outcome| matches!(outcome, Outcome::HeldBack));
        all.extend(held_back.into_iter().map(|site| Self::HeldBack(site.to_owned())));
        if !not_asked.is_empty() {
            all.push(Self::NotAsked(not_asked.join(", ")));
        }
        all
    }

    /// The site, or the sites with commas between.
    pub fn sites(&self) -> &str {
        let (Self::NotAnswering(sites) | Self::Unusable(sites) | Self::NotAsked(sites) | Self::HeldBack(sites)) = self;
        sites
    }

    /// What stands in the marker's description, in at most 64 characters: the site, what is the matter, and since when that is told.
    pub fn description(&self, time: &str) -> String {
        let what = match self {
            Self::NotAnswering(_) => "NOT ANSWERING",
            Self::Unusable(_) => "ANSWER NOT USABLE",
            Self::NotAsked(_) => "NOT ASKED",
            Self::HeldBack(_) => "HELD BACK",
        };
        let rest = format!(" {what} {time}");
        let room = LONGEST_DESCRIPTION.saturating_sub(rest.trim_end().chars().count());
        let sites = self.sites().to_uppercase();
        let sites = match sites.chars().count() > room {
            true => sites.chars().take(room.saturating_sub(2)).chain("..".chars()).collect(),
            false => sites,
        };
        format!("{sites}{}", rest.trim_end())
    }
}

/// The longest value of LO, in characters.
const LONGEST_DESCRIPTION: usize = 64;

/// The arc below our root in which markers lie.
const ARC: &str = ".4.";

/// Digits behind the arc: as many as a UID of 64 characters has room for.
const DIGITS: u64 = 10_u64.pow(16);

/// Whether a study is a marker: it holds nothing, and moving it does nothing.
pub fn is_marker(study: &StudyUid) -> bool {
    study.as_str().strip_prefix(IMPLEMENTATION_CLASS_UID).is_some_and(|rest| rest.starts_with(ARC))
}

/// The UID of the marker of a site for a patient on a day: the same all day, another for everybody else. `key` is what only this
/// gateway knows, so that the UID does not tell the patient to whoever finds it in a log.
pub fn uid(key: &[u8], site: &str, patient: &str, day: i64) -> Option<StudyUid> {
    let mut hash = Sha256::new();
    for part in [key, site.as_bytes(), patient.as_bytes(), &day.to_be_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let number = digest[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) % DIGITS;
    StudyUid::parse(&format!("{IMPLEMENTATION_CLASS_UID}{ARC}{}", number + DIGITS / 10)).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::priors::whom::NotAsked;

    /// UIX-12: whoever did not answer in full is named, and whoever did is not.
    #[test]
    fn silence_is_told_of_everybody_whose_answer_is_missing() {
        let answered = |others, untold| Outcome::Answered { found: 1, namesakes: 1, others, untold };
        let outcomes = [
            ("kent".to_owned(), Outcome::NotAsked(NotAsked::NoNumber)),
            ("surrey".to_owned(), Outcome::NotAnswering("no answer within 5000 ms".into())),
            ("dorset".to_owned(), Outcome::NotAsked(NotAsked::NoNumber)),
            ("devon".to_owned(), answered(0, 0)),
            ("essex".to_owned(), answered(1, 0)),
            ("wales".to_owned(), answered(0, 1)),
        ];
        let told: Vec<String> = Silence::of(&outcomes).iter().map(|silence| silence.description("14:02")).collect();
        let want = [
            "SURREY NOT ANSWERING 14:02",
            "ESSEX ANSWER NOT USABLE 14:02",
            "WALES ANSWER NOT USABLE 14:02",
            "DORSET, KENT NOT ASKED 14:02",
        ];
        assert_eq!(told, want);
        let long = Silence::NotAsked("abcdefghij, ".repeat(20)).description("14:02");
        assert!(long.chars().count() == 64 && long.ends_with(".. NOT ASKED 14:02"), "{long}");
        assert_eq!(Silence::of(&outcomes[3..4]), []);
    }

    #[test]
    fn a_marker_is_known_by_its_uid_and_differs_for_everybody() {
        let marker = uid(b"key", "surrey", "P1", 20_000).unwrap();
        assert!(is_marker(&marker) && marker.as_str().len() <= 64, "{marker}");
        assert_eq!(uid(b"key", "surrey", "P1", 20_000).unwrap(), marker);
        let others = [
            uid(b"yek", "surrey", "P1", 20_000),
            uid(b"key", "kent", "P1", 20_000),
            uid(b"key", "surrey", "P2", 20_000),
            uid(b"key", "surrey", "P1", 20_001),
            uid(b"key", "surreyP", "1", 20_000),
        ];
        assert!(others.into_iter().all(|other| other.unwrap() != marker));
        for no_marker in [IMPLEMENTATION_CLASS_UID, "1.2.3.4.5", &format!("{IMPLEMENTATION_CLASS_UID}.5.1")] {
            assert!(!is_marker(&StudyUid::parse(no_marker).unwrap()), "{no_marker}");
        }
    }
}
