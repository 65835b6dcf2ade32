//! Which priors a rule of `[[prefetch]]` means: filters that the administrator writes, and no ranking. Pure.

use crate::dicom::pattern::Pattern;
use crate::dicom::uid::StudyUid;
use crate::peers::Destination;
use crate::priors::merge::Found;
use jiff::ToSpan;
use jiff::civil::Date;
use std::collections::BTreeMap;

/// A rule of `[[prefetch]]`. An empty list means any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, for log and answers.
    pub name: String,
    /// Modalities of what has arrived or is ordered.
    pub arrived: Vec<String>,
    /// Modalities of a prior, of which it must have one.
    pub modality: Vec<String>,
    /// Body Part Examined of a prior, in one of its series at least.
    pub body_part: Vec<Pattern>,
    /// How many days old a prior may be by its Study Date; `None`: any age, also unknown.
    pub max_age_days: Option<u32>,
    /// The most priors, those with the latest Study Date.
    pub newest: usize,
    /// Peers that are asked.
    pub sites: Vec<String>,
    /// The node that is given them; `None`: they are only held here.
    pub to: Option<Destination>,
}

/// A study that a site has shown, as far as rules look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Study Instance UID.
    pub study: StudyUid,
    /// The peer that has shown it first.
    pub site: String,
    /// Study Date as DA; empty if it was not said.
    pub date: String,
    /// Modalities in Study; empty if that was not said.
    pub modalities: Vec<String>,
}

impl Candidate {
    /// What a site has shown.
    pub fn of(found: Found) -> Self {
        let date = found.values.0.get(&crate::dicom::attributes::STUDY_DATE).cloned().unwrap_or_default();
        Self { study: found.study, site: found.site, date, modalities: found.size.modalities }
    }
}

fn any_of(wanted: &[String], given: &[String]) -> bool {
    wanted.is_empty() || given.iter().any(|one| wanted.contains(one))
}

impl Rule {
    /// Whether the rule concerns what has these modalities. Where none is known, only a rule for any does.
    pub fn concerns(&self, arrived: &[String]) -> bool {
        any_of(&self.arrived, arrived)
    }

    /// Whether a site is asked.
    pub fn asks(&self, site: &str) -> bool {
        self.sites.is_empty() || self.sites.iter().any(|one| one == site)
    }

    /// Whether a series with these body parts fits.
    pub fn fits_body_part(&self, text: &str) -> bool {
        let mut values = text.split('\\').map(str::trim);
        self.body_part.is_empty()
            || values.any(|value| self.body_part.iter().any(|pattern| pattern.matches(value, "CS")))
    }

    /// The candidates that fit but for the body part, each study once, the latest first. [`Rule::newest`] of them are meant.
    /// A study without a date comes last, and is too old for a rule that limits the age.
    pub fn fitting<'a>(&self, candidates: &'a [Candidate], today: Date) -> Vec<&'a Candidate> {
        let oldest = self.max_age_days.map(|days| {
            let first = today.checked_sub(i64::from(days).days()).unwrap_or(Date::MIN);
            first.strftime("%Y%m%d").to_string()
        });
        let fits = |one: &&Candidate| {
            self.asks(&one.site)
                && any_of(&self.modality, &one.modalities)
                && oldest.as_ref().is_none_or(|oldest| one.date >= *oldest)
        };
        let mut once = BTreeMap::new();
        for one in candidates.iter().filter(fits) {
            once.entry(&one.study).or_insert(one);
        }
        let mut all: Vec<&Candidate> = once.into_values().collect();
        all.sort_by(|a, b| b.date.cmp(&a.date).then_with(|| a.study.cmp(&b.study)));
        all
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        Rule {
            name: "r".into(),
            arrived: vec!["CT".into()],
            modality: vec!["CT".into(), "CR".into()],
            body_part: Vec::new(),
            max_age_days: Some(365),
            newest: 2,
            sites: Vec::new(),
            to: None,
        }
    }

    fn candidate(n: u32, site: &str, date: &str, modality: &str) -> Candidate {
        let study = StudyUid::parse(&format!("1.2.{n}")).unwrap();
        let modalities = modality.split_whitespace().map(str::to_owned).collect();
        Candidate { study, site: site.into(), date: date.into(), modalities }
    }

    /// Every filter by itself, at its edge: modality, age, site; a study once; the latest first.
    #[test]
    fn a_rule_means_what_its_filters_say_the_latest_first() {
        let all = [
            candidate(1, "b", "20251128", "CT"),
            candidate(2, "b", "20251127", "CT"),
            candidate(3, "b", "20261120", "SR CR"),
            candidate(4, "b", "20261121", "MR"),
            candidate(5, "b", "", "CT"),
            candidate(6, "c", "20261101", "CT"),
            candidate(3, "c", "20261120", "SR CR"),
            candidate(7, "c", "20261102", ""),
        ];
        let today = Date::new(2026, 11, 28).unwrap();
        let meant = |rule: &Rule| -> Vec<(String, String)> {
            let fitting = rule.fitting(&all, today);
            fitting.iter().map(|one| (one.study.to_string().split_off(4), one.site.clone())).collect()
        };
        let named = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(n, site)| ((*n).to_owned(), (*site).to_owned())).collect()
        };
        assert_eq!(meant(&rule()), named(&[("3", "b"), ("6", "c"), ("1", "b")]));
        let only_c = Rule { sites: vec!["c".into()], ..rule() };
        assert_eq!(meant(&only_c), named(&[("3", "c"), ("6", "c")]));
        let any_age = Rule { max_age_days: None, ..rule() };
        assert_eq!(meant(&any_age), named(&[("3", "b"), ("6", "c"), ("1", "b"), ("2", "b"), ("5", "b")]));
        let any = Rule { modality: Vec::new(), ..rule() };
        assert_eq!(meant(&any), named(&[("4", "b"), ("3", "b"), ("7", "c"), ("6", "c"), ("1", "b")]));
    }

    #[test]
    fn a_rule_concerns_what_arrives_and_body_parts_by_pattern() {
        let of = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<String>>();
        assert!(rule().concerns(&of(&["SR", "CT"])) && !rule().concerns(&of(&["MR"])) && !rule().concerns(&[]));
        assert!(Rule { arrived: Vec::new(), ..rule() }.concerns(&[]));
        let chest = Rule { body_part: vec![Pattern::new("CHEST*")], ..rule() };
        assert!(chest.fits_body_part("CHESTABDOMEN") && !chest.fits_body_part("HEAD") && !chest.fits_body_part(""));
        assert!(rule().fits_body_part(""));
    }
}
