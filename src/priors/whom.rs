//! Whom to ask for whom: which identifiers of a patient mean something at another site, and whether an answer means that patient.
//! Pure ("Whom to ask for priors" in docs/ARCHITECTURE.md).

use crate::dicom::attributes::{ISSUER_OF_PATIENT_ID, PATIENT_BIRTH_DATE, PATIENT_ID};
use crate::dicom::cross_reference;
use crate::dicom::nhs_number::{NhsNumber, is_issuer};
use crate::dicom::tag::Tag;
use crate::peers::{Foreign, Node, Origin, PatientIds, Registry};
use std::collections::BTreeMap;
use std::fmt;

/// A patient as a query names one. `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Patient {
    /// The number, without an issuer before it.
    pub id: String,
    /// Who issued it; never empty.
    pub issuer: String,
    /// The NHS number, if the number is one, or if one is known for it.
    pub nhs: Option<NhsNumber>,
    /// The birth date that is known with the NHS number, as YYYYMMDD; empty if none is.
    pub birth_date: String,
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Patient")
    }
}

/// Why a site is not asked. The words hold nothing of a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NotAsked {
    /// No NHS number is known, and the site did not issue the number.
    #[error("no NHS number is known for this number, and that site did not issue it")]
    NoNumber,
}

/// What one result says of its patient. `Debug` prints nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Patient ID.
    pub id: String,
    /// Who issued it, by the object; empty if it does not say so.
    pub issuer: String,
    /// Who issued it, by the site's word; empty if it gives none.
    pub word: String,
    /// Other Patient IDs with their issuers.
    pub others: Vec<(String, String)>,
    /// Patient's Birth Date.
    pub birth_date: String,
}

impl Said {
    /// What the attributes of an object say.
    fn of(held: &BTreeMap<Tag, String>) -> Self {
        let text = |tag| held.get(&tag).cloned().unwrap_or_default();
        Self {
            id: text(PATIENT_ID),
            issuer: text(ISSUER_OF_PATIENT_ID),
            birth_date: text(PATIENT_BIRTH_DATE),
            ..Self::default()
        }
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Said")
    }
}

/// Whether a result means the patient who was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// It does.
    Yes,
    /// The number is the same, and another issued it: somebody else, as happens.
    Namesake,
    /// The number is the same, and nothing says who issued it.
    Untold,
    /// It means nobody who was asked for.
    No,
}

/// The patient whom a node names by this Patient ID and, if it gives one, this issuer; `None` if it names nobody: no value, several,
/// or a pattern.
///
/// A number is an NHS number only if its issuer says so, or the node's numbers are such ([`PatientIds::Nhs`]), and if it passes
/// every check (IDY-042). `own` is who issues the numbers of this node where it does not say (IDY-040).
pub fn named(node: &Node, own: &str, id: &str, issuer: Option<&str>) -> Option<Patient> {
    let issuer = issuer.map(str::trim).filter(|issuer| !issuer.is_empty());
    let (issuer, id) = match (issuer, id.split_once(':')) {
        (Some(issuer), _) => (Some(issuer), id),
        // As it is shown to a node for which we put the issuer before it.
        (None, Some((issuer, id))) if node.foreign == Foreign::Prefix => (Some(issuer), id),
        (None, _) => (None, id),
    };
    let declared = issuer.map_or(node.patient_ids == PatientIds::Nhs, is_issuer);
    patient(id, issuer.unwrap_or(own), declared)
}

/// The patient whom somebody of this site names by a number, its issuer, and whether that is an NHS number.
pub fn patient(id: &str, issuer: &str, nhs: bool) -> Option<Patient> {
    let id = id.trim_matches([' ', '\0']);
    let one = !id.is_empty() && !id.contains(['*', '?', '\\']) && !issuer.is_empty();
    let nhs = Some(id).filter(|_| nhs || is_issuer(issuer)).and_then(|id| NhsNumber::parse(id).ok());
    one.then(|| Patient { id: id.to_owned(), issuer: issuer.to_owned(), nhs, birth_date: String::new() })
}

/// Who issued a number by the word of the site, where that is another than its entry here names: two people of one neighbour may have one
/// number (IDY-040). Of an NHS number it does not matter, nor where the entry names nobody: then all its numbers are its own.
pub fn word_apart(said: &Said, issuer: Option<&str>) -> Option<String> {
    let word = if said.issuer.is_empty() { said.word.trim() } else { said.issuer.trim() };
    let apart = issuer.is_some_and(|issuer| issuer.trim() != word) && !word.is_empty() && !is_issuer(word);
    (apart && !said.id.trim().is_empty()).then(|| word.to_owned())
}

/// Whether two texts are one number: an NHS number may be written in several forms.
pub fn is_same_number(one: &str, other: &str) -> bool {
    let plain = |id: &str| id.trim_matches([' ', '\0']).to_owned();
    let nhs = NhsNumber::parse(&plain(one)).ok();
    plain(one) == plain(other) || (nhs.is_some() && nhs == NhsNumber::parse(&plain(other)).ok())
}

/// Whether a copy says itself that it is of the patient under whom its site shows the study now: the number is the same, and who issued it too
/// where both say so.
pub fn is_filed_alike(copy: &BTreeMap<Tag, String>, site: &BTreeMap<Tag, String>) -> bool {
    let text = |values: &BTreeMap<Tag, String>, tag| values.get(&tag).cloned().unwrap_or_default();
    let [own, theirs] = [copy, site].map(|values| text(values, PATIENT_ID));
    let [issuer, other] = [copy, site].map(|values| text(values, ISSUER_OF_PATIENT_ID));
    let issued_alike =
        issuer.is_empty() || other.is_empty() || issuer == other || (is_issuer(&issuer) && is_issuer(&other));
    !own.trim().is_empty() && is_same_number(&own, &theirs) && issued_alike
}

/// The number under which a site shows a study, and who issued it by the site's word where its entry here names another (`issuer`).
pub fn filed(said: &Said, issuer: Option<&str>) -> BTreeMap<Tag, String> {
    let by = word_apart(said, issuer).unwrap_or_else(|| said.issuer.clone());
    BTreeMap::from([(PATIENT_ID, said.id.clone()), (ISSUER_OF_PATIENT_ID, by)])
}

/// Whether a site shows a study under another patient's number than the copy of it bears that came from there: the key is number and issuer
/// (IDY-040). A copy from elsewhere, and one without a number, tell nothing of that; nor does a row without one.
pub fn is_refiled(
    (copy, from): (&BTreeMap<Tag, String>, Option<&str>),
    (row, site): (&BTreeMap<Tag, String>, &str),
) -> bool {
    let bears = |values: &BTreeMap<Tag, String>| values.get(&PATIENT_ID).is_some_and(|id| !id.trim().is_empty());
    from == Some(site) && bears(copy) && bears(row) && !is_filed_alike(copy, row)
}

/// A birth date as YYYYMMDD, in whatever form it is written; what is no date stays as it is, without the padding.
fn plain_date(text: &str) -> String {
    cross_reference::birth_date(text).unwrap_or_else(|| text.trim_matches([' ', '\0']).to_owned())
}

impl Patient {
    /// The same, with the NHS number that is known for its own number, and the birth date that stands with it.
    pub fn linked(self, nhs: NhsNumber, birth_date: &str) -> Self {
        Self { nhs: Some(nhs), birth_date: plain_date(birth_date), ..self }
    }

    /// The Patient IDs by which a site is asked, or why it is not. `issuer` is who issues its numbers; `ours` says that its gateway
    /// finds a number in whatever form it is held.
    pub fn ask(&self, site: &str, issuer: Option<&str>, ours: bool) -> Result<Vec<String>, NotAsked> {
        let mut ids = match self.nhs {
            Some(nhs) if ours => vec![nhs.digits()],
            Some(nhs) => nhs.forms().to_vec(),
            None => Vec::new(),
        };
        if self.is_of(site, issuer) && !ids.contains(&self.id) {
            ids.push(self.id.clone());
        }
        if ids.is_empty() { Err(NotAsked::NoNumber) } else { Ok(ids) }
    }

    /// Whether a site issued the number itself.
    fn is_of(&self, site: &str, issuer: Option<&str>) -> bool {
        self.issuer == issuer.unwrap_or(site) || self.issuer == site
    }

    /// Whether a result of a site, or what is held of it, means this patient. `issuer` is who issues its numbers where neither
    /// the object nor the site says so.
    pub fn is_meant(&self, said: &Said, site: &str, issuer: Option<&str>) -> Meant {
        let [known, told] = [&self.birth_date, &said.birth_date].map(|date| plain_date(date));
        if !known.is_empty() && !told.is_empty() && known != told {
            return Meant::No;
        }
        let others = said.others.iter().map(|(id, issuer)| self.same(id, issuer, false));
        let known = [said.issuer.as_str(), &said.word, issuer.unwrap_or_default()];
        let by = known.into_iter().find(|issuer| !issuer.is_empty()).unwrap_or_default();
        // A number without an issuer is shown with the site's name where none is configured.
        let by_name = said.issuer.is_empty() && self.issuer == site;
        let all: Vec<Meant> = others.chain([self.same(&said.id, by, by_name)]).collect();
        match () {
            () if all.contains(&Meant::Yes) => Meant::Yes,
            () if all.contains(&Meant::Untold) => Meant::Untold,
            () if all.contains(&Meant::Namesake) => Meant::Namesake,
            () => Meant::No,
        }
    }

    /// Whether what came from a site, or is held of it, means this patient, as far as its attributes tell. Of what came from nobody else
    /// its own number tells: whether it is the same NHS number, however it is written.
    pub fn is_told_by(&self, registry: &Registry, origin: &Origin, held: &BTreeMap<Tag, String>) -> bool {
        let said = Said::of(held);
        let Some(meant) = self.meant_by_site(registry, origin, &said) else {
            let by = Some(said.issuer.as_str()).filter(|issuer| !issuer.is_empty()).map(str::to_owned);
            let issued = is_issuer(&by.unwrap_or_else(|| registry.issuer(origin)));
            return issued && self.nhs.is_some() && self.is_meant(&said, "", Some("NHS")) == Meant::Yes;
        };
        meant == Meant::Yes
    }

    /// Whether what came from another site, or is held of it, is another's, though its number may read the same (IDY-040): its attributes or
    /// the site's entry say so. Of an NHS number of which nothing says who issued it nobody knows.
    pub fn is_anothers(&self, registry: &Registry, origin: &Origin, held: &BTreeMap<Tag, String>) -> bool {
        let meant = self.meant_by_site(registry, origin, &Said::of(held));
        matches!(meant, Some(Meant::Namesake | Meant::No))
    }

    /// Whether what a site's object says means this patient; `None` of what came from nobody else.
    fn meant_by_site(&self, registry: &Registry, origin: &Origin, said: &Said) -> Option<Meant> {
        let site = origin.site()?;
        let issuer = registry.peer(site).and_then(|peer| peer.issuer.as_deref());
        Some(self.is_meant(said, site, issuer))
    }

    /// Whether one number and its issuer are this patient's; `by_name`: the number is meant by the name of the site that gave it.
    fn same(&self, id: &str, issuer: &str, by_name: bool) -> Meant {
        let id = id.trim_matches([' ', '\0']);
        let nhs = self.nhs.is_some() && NhsNumber::parse(id).ok() == self.nhs;
        match () {
            () if nhs && is_issuer(issuer) => Meant::Yes,
            () if id == self.id && (by_name || issuer == self.issuer) => Meant::Yes,
            () if nhs && issuer.is_empty() => Meant::Untold,
            () if nhs || id == self.id => Meant::Namesake,
            () => Meant::No,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
