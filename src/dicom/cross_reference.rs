//! Whose NHS number a local number is: what was said of it, and when that is believed ("Whom to ask for priors"). Pure.

#[cfg(test)]
mod tests;

use super::attributes::{ISSUER_OF_PATIENT_ID, PATIENT_BIRTH_DATE, PATIENT_ID};
use super::head::Attributes;
use super::nhs_number::{NhsNumber, is_issuer};
use std::collections::BTreeSet;
use std::fmt;

/// A patient's number at one issuer: the only key by which anybody is known (IDY-040). `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalId {
    /// Who issued the number; never empty.
    pub issuer: String,
    /// The number; never empty.
    pub id: String,
}

impl LocalId {
    /// A number and its issuer, without the space around them; `None` if either is empty, longer than 64 characters, or no plain text.
    pub fn new(issuer: &str, id: &str) -> Option<Self> {
        let plain = |text: &str| {
            let text = text.trim();
            let good = !text.is_empty() && text.chars().count() <= 64 && !text.contains(|c: char| c.is_control());
            good.then(|| text.to_owned())
        };
        Some(Self { issuer: plain(issuer)?, id: plain(id)? })
    }
}

impl fmt::Debug for LocalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalId")
    }
}

/// What somebody said of a local number.
#[derive(Clone, PartialEq, Eq)]
pub struct Said {
    /// The NHS number of the same person.
    pub number: NhsNumber,
    /// That person's birth date as YYYYMMDD; empty if it was not said.
    pub birth_date: String,
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Said")
    }
}

/// Whose number a local number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// This person's.
    To(NhsNumber),
    /// Nobody's that is known for sure.
    Nobody(Unlinked),
}

/// Why a local number is linked to nobody. The words hold nothing of a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unlinked {
    /// Nothing was ever said of it.
    #[error("the cross-reference has no NHS number for this patient")]
    NotKnown,
    /// What was said cannot all be true.
    #[error("what the cross-reference says of this patient contradicts itself; see `weybridge patients show`")]
    Contradicted,
    /// A birth date is missing, in the cross-reference or of the patient: nothing confirms the number.
    #[error("no birth date confirms the NHS number that the cross-reference has for this patient")]
    NoBirthDate,
    /// The birth dates differ.
    #[error("the NHS number that the cross-reference has for this patient belongs to another birth date")]
    BirthDateDiffers,
}

/// Whether a local number is surely the number of one person.
///
/// `said` is all that was said of the local number; `of_number` are the birth dates that were ever said with the same NHS number,
/// of whatever local number; `known` are the birth dates that the patient is known by otherwise. Empty ones do not count. All of
/// them must be one and the same.
pub fn link(said: &[Said], of_number: &[String], known: &[String]) -> Link {
    let numbers: BTreeSet<NhsNumber> = said.iter().map(|said| said.number).collect();
    let Some(number) = numbers.first().copied() else { return Link::Nobody(Unlinked::NotKnown) };
    let dates = |list: &mut dyn Iterator<Item = &String>| -> BTreeSet<String> {
        list.filter(|date| !date.is_empty()).map(|date| birth_date(date).unwrap_or_else(|| date.clone())).collect()
    };
    let told = dates(&mut said.iter().map(|said| &said.birth_date).chain(of_number));
    let known = dates(&mut known.iter());
    match (told.first(), known.first()) {
        _ if numbers.len() > 1 || told.len() > 1 => Link::Nobody(Unlinked::Contradicted),
        (Some(told), Some(same)) if known.len() == 1 && told == same => Link::To(number),
        (Some(_), Some(_)) => Link::Nobody(Unlinked::BirthDateDiffers),
        _ => Link::Nobody(Unlinked::NoBirthDate),
    }
}

/// A birth date as YYYYMMDD from the forms in which people and systems write it, `YYYY-MM-DD` included, and `YYYY.MM.DD` as before the
/// third edition of the standard (PS3.5 section 6.2); `None` if it is no date.
pub fn birth_date(text: &str) -> Option<String> {
    let text = text.trim();
    let parts: Vec<&str> = text.split(if text.contains('.') { '.' } else { '-' }).collect();
    let plain = match parts[..] {
        [year, month, day] if (year.len(), month.len(), day.len()) == (4, 2, 2) => parts.concat(),
        [one] => one.to_owned(),
        _ => return None,
    };
    let number = |from: usize, to: usize| plain.get(from..to)?.parse::<u32>().ok();
    let digits = plain.len() == 8 && plain.bytes().all(|byte| byte.is_ascii_digit());
    let real = digits && matches!(number(4, 6)?, 1..=12) && matches!(number(6, 8)?, 1..=31) && number(0, 4)? >= 1800;
    real.then_some(plain)
}

/// What an object of one of our nodes says of its patient's numbers; `default_issuer` issued Patient ID where the object does not say.
///
/// It links each number of another issuer to each NHS number that stands beside it. Numbers for tests say nothing, nor do those with a
/// letter that could not be read: another patient's may look the same.
pub fn statements(attributes: &Attributes, default_issuer: &str) -> Vec<(LocalId, Said)> {
    if attributes.other_ids.is_empty() {
        return Vec::new();
    }
    let text = |tag| attributes.text(tag).unwrap_or_default();
    let issuer = Some(text(ISSUER_OF_PATIENT_ID)).filter(|issuer| !issuer.is_empty());
    let own = LocalId::new(issuer.as_deref().unwrap_or(default_issuer), &text(PATIENT_ID));
    let others = attributes.other_ids.iter().filter_map(|other| LocalId::new(&other.issuer, &other.id));
    let birth_date = birth_date(&text(PATIENT_BIRTH_DATE)).unwrap_or_default();
    let was_read = |id: &LocalId| ![&id.issuer, &id.id].iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER));
    stated(own.into_iter().chain(others).filter(was_read), &birth_date)
}

/// What numbers that stand beside one another as one patient's say: each local one belongs to each NHS number. Numbers for tests say
/// nothing. `birth_date` is that patient's, as YYYYMMDD or empty.
pub fn stated(ids: impl Iterator<Item = LocalId>, birth_date: &str) -> Vec<(LocalId, Said)> {
    let (nhs, local): (Vec<LocalId>, Vec<LocalId>) = ids.partition(|id| is_issuer(&id.issuer));
    let numbers: BTreeSet<NhsNumber> =
        nhs.iter().filter_map(|id| NhsNumber::parse(&id.id).ok()).filter(|number| !number.is_test()).collect();
    let said = |number: &NhsNumber| Said { number: *number, birth_date: birth_date.to_owned() };
    local.iter().flat_map(|id| numbers.iter().map(|number| (id.clone(), said(number)))).collect()
}
