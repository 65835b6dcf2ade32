//! What a site does not show or give to whom: rules over studies and series, and lists of patients ("Sharing limits"). Pure.

#[cfg(test)]
mod tests;

use super::Destination;
use crate::dicom::attributes::{Level, MODALITY};
use crate::dicom::condition::Condition;
use crate::dicom::cross_reference::LocalId;
use crate::dicom::nhs_number::{NhsNumber, is_issuer};
use crate::dicom::tag::Tag;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A rule of `[[withhold]]`. All of its conditions must hold.
#[derive(Debug, Clone)]
pub struct Withhold {
    /// Its name, for people and the ledger.
    pub name: String,
    /// Any of a study must have come from one of these nodes or peers; empty: from anybody.
    pub from: Vec<String>,
    /// From whom it is withheld; empty: from every peer.
    pub to: Vec<Destination>,
    /// What the attributes of patient, study and series must say.
    pub when: Vec<Condition>,
    /// The patient must stand in this list.
    pub patients: Option<Arc<PatientList>>,
}

/// A list of patients, by NHS number or by issuer and number. `Debug` prints how many.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PatientList {
    ids: BTreeSet<LocalId>,
    numbers: BTreeSet<NhsNumber>,
}

impl fmt::Debug for PatientList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PatientList({} patients)", self.ids.len() + self.numbers.len())
    }
}

impl PatientList {
    /// Reads a list: a patient a line, an NHS number or `ISSUER,NUMBER`; empty lines and what follows `#` do not count, nor does a byte
    /// order mark. A number whose issuer is that of NHS numbers is one. A line with more than that, as a list with further columns has, is
    /// a mistake: it would mean nobody, and withhold nothing (SEC-022). The error says which line is wrong and why, and repeats nothing of
    /// it.
    pub fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut list = Self::default();
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                list.add(line).map_err(|why| (at + 1, why))?;
            }
        }
        Ok(list)
    }

    /// Takes the patient of one line in.
    fn add(&mut self, line: &str) -> Result<(), &'static str> {
        if line.contains('"') {
            return Err("it has a quotation mark; leave quotes out");
        }
        let Some((issuer, id)) = line.split_once(',') else {
            let number = NhsNumber::parse(line).map_err(|_| "it is neither an NHS number nor ISSUER,NUMBER")?;
            self.numbers.insert(number);
            return Ok(());
        };
        if id.contains(',') {
            return Err("it has more than ISSUER,NUMBER; leave other columns out, or put them behind a `#`");
        }
        if is_issuer(issuer) {
            let number = NhsNumber::parse(id.trim())
                .map_err(|_| "its issuer is that of NHS numbers, and its number is no NHS number")?;
            self.numbers.insert(number);
            return Ok(());
        }
        if NhsNumber::parse(issuer.trim()).is_ok() {
            return Err("an NHS number stands where the issuer belongs; write it alone, or as NHS,NUMBER");
        }
        self.ids.insert(LocalId::new(issuer, id).ok_or("an issuer and a number have 1 to 64 characters")?);
        Ok(())
    }

    /// Whether it names nobody.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.numbers.is_empty()
    }

    fn holds(&self, facts: &StudyFacts) -> bool {
        facts.ids.iter().any(|id| self.ids.contains(id))
            || facts.numbers.iter().any(|number| self.numbers.contains(number))
    }
}

/// What rules look at of a study.
#[derive(Default)]
pub struct StudyFacts {
    /// Attributes of patient and study by tag.
    pub texts: BTreeMap<Tag, String>,
    /// The nodes and peers that any of it ever came from.
    pub origins: BTreeSet<String>,
    /// The patient's number with each issuer that it may have.
    pub ids: Vec<LocalId>,
    /// The NHS numbers that the patient may have: whatever was ever said counts, since to withhold is the safe side.
    pub numbers: Vec<NhsNumber>,
}

/// What of a study is withheld from somebody, and by which rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hidden {
    /// The rule that withholds all of it, or all of its series that are known.
    pub study: Option<String>,
    /// The series that are withheld one by one, by their UIDs, and the rule of each.
    pub series: BTreeMap<String, String>,
}

impl Hidden {
    /// Whether nothing is withheld.
    pub fn is_nothing(&self) -> bool {
        self.study.is_none() && self.series.is_empty()
    }

    /// The rule that withholds a series.
    pub fn rule(&self, series: &str) -> Option<&str> {
        self.study.as_deref().or_else(|| self.series.get(series).map(String::as_str))
    }

    /// The rule that withholds all of it, or this series of it, whatever else of it others hold: that every series known here is withheld
    /// says nothing of those that are not known yet.
    pub fn certain(&self, series: Option<&str>) -> Option<&str> {
        let all = self.study.as_ref().filter(|_| self.series.is_empty());
        all.or_else(|| self.series.get(series?)).map(String::as_str)
    }

    /// The rules that withhold any of it, each once.
    pub fn rules(&self) -> BTreeSet<&str> {
        self.study.iter().chain(self.series.values()).map(String::as_str).collect()
    }
}

impl Withhold {
    /// Whether the rule is about what this party is shown and given.
    pub fn concerns(&self, party: &str, is_peer: bool) -> bool {
        if self.to.is_empty() { is_peer } else { self.to.iter().any(|to| to.0 == party) }
    }

    /// Whether the conditions on patient and study hold, as far as attributes tell; cheap, and asked first.
    pub fn may_hold(&self, texts: &BTreeMap<Tag, String>) -> bool {
        self.of_level(|level| level <= Level::Study).all(|condition| holds(condition, texts))
    }

    /// Whether all that the rule says of patient, study and origin holds.
    pub fn holds(&self, facts: &StudyFacts) -> bool {
        self.may_hold(&facts.texts)
            && (self.from.is_empty() || self.from.iter().any(|name| facts.origins.contains(name)))
            && self.patients.as_ref().is_none_or(|list| list.holds(facts))
    }

    /// Whether it is about single series.
    pub fn is_of_series(&self) -> bool {
        self.of_level(|level| level > Level::Study).next().is_some()
    }

    /// Whether the conditions on a series hold.
    pub fn holds_for(&self, series: &BTreeMap<Tag, String>) -> bool {
        self.of_level(|level| level > Level::Study).all(|condition| holds(condition, series))
    }

    /// Whether a rule about series leaves all of a study alone, as far as its modalities tell. Other attributes of a series are not known
    /// of a study as a whole: then it does not.
    pub fn leaves(&self, modalities: &[String]) -> bool {
        let alone = |condition: &Condition| {
            condition.attribute.tag == MODALITY
                && !modalities.is_empty()
                && !modalities.iter().any(|one| condition.holds_for(one))
        };
        self.of_level(|level| level > Level::Study).any(alone)
    }

    fn of_level(&self, of: impl Fn(Level) -> bool) -> impl Iterator<Item = &Condition> {
        self.when.iter().filter(move |condition| of(condition.attribute.level))
    }
}

fn holds(condition: &Condition, texts: &BTreeMap<Tag, String>) -> bool {
    condition.holds_for(texts.get(&condition.attribute.tag).map_or("", String::as_str))
}
