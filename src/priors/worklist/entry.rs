//! What an entry of a worklist means: an order and what it says of numbers, or why it cannot be used. Pure.

#[cfg(test)]
mod tests;

use crate::dicom::ae_title::AeTitle;
use crate::dicom::attributes::*;
use crate::dicom::cross_reference::{LocalId, Said, birth_date, stated};
use crate::dicom::nhs_number::{NhsNumber, is_issuer};
use crate::dicom::query::nested::{Key, NoText, Set};
use crate::dicom::tag::Tag;
use crate::dicom::uid::StudyUid;
use crate::records::PlacedOrder;
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};
use std::time::UNIX_EPOCH;

const STEPS: Tag = Tag::new(0x0040, 0x0100);
const STATION: Tag = Tag::new(0x0040, 0x0001);
const START_DATE: Tag = Tag::new(0x0040, 0x0002);
const START_TIME: Tag = Tag::new(0x0040, 0x0003);
const STEP_STATUS: Tag = Tag::new(0x0040, 0x0020);
const PROCEDURE: Tag = Tag::new(0x0040, 0x1001);
const DESCRIPTION: Tag = Tag::new(0x0032, 0x1060);
const PROCEDURE_CODES: Tag = Tag::new(0x0032, 0x1064);
const CODE: Tag = Tag::new(0x0008, 0x0100);
const PLACER: Tag = Tag::new(0x0040, 0x2016);
const FILLER: Tag = Tag::new(0x0040, 0x2017);

/// Other numbers of a patient that are looked at.
const MOST_OTHERS: usize = 16;

/// Why an entry is not used. The words hold nothing of a patient.
pub(super) type Why = &'static str;

pub(super) const UNREADABLE: Why = "its data set cannot be read";
const NO_TEXT: Why = "a number in a character set that is not known, or is not kept to";
const NO_PATIENT: Why = "no Patient ID";
const NO_PLAIN_ID: Why = "a Patient ID or its issuer of more than 64 characters, or no plain text";
const NO_NUMBER: Why = "the patient's only number is no NHS number that is any";
const NO_STEP: Why = "no Scheduled Procedure Step";
const NO_START: Why = "a Scheduled Procedure Step Start Date that is no date";
const NO_BIRTH: Why = "a Patient's Birth Date that is no date";
const NO_ORDER: Why = "no number by which the order is known again";
const TWO_PATIENTS: Why = "two patients with one number";
const TWO_OF_ORDER: Why = "one order of two patients";

impl From<NoText> for Refused {
    fn from(_: NoText) -> Self {
        Self(NO_TEXT)
    }
}

/// An entry that is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused(pub(super) Why);

/// What is asked for. An answer outside it is passed over, whatever the worklist makes of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// The first day.
    pub(super) from: Date,
    /// The last day.
    pub(super) to: Date,
    /// Modalities; empty: any.
    pub(super) modalities: Vec<String>,
    /// Scheduled Station AE Titles; empty: any.
    pub(super) stations: Vec<AeTitle>,
}

/// An entry that can be used. `Debug` is not derived: it names a patient.
#[derive(Clone)]
pub(super) struct Listed {
    pub(super) order: PlacedOrder,
    pub(super) statements: Vec<(LocalId, Said)>,
    /// `M` or `F`; empty otherwise.
    sex: String,
}

fn day(date: Date) -> String {
    date.strftime("%Y%m%d").to_string()
}

/// The keys of one request: all that is used of an answer, and no name.
pub(super) fn keys(scope: &Scope, modality: Option<&str>, station: Option<&AeTitle>) -> BTreeMap<Tag, Key> {
    let any = |tag: Tag| (tag, Key::Value(String::new()));
    let value = |tag: Tag, text: &str| (tag, Key::Value(text.to_owned()));
    let qualifiers = || (ISSUER_QUALIFIERS, Key::Item([any(UNIVERSAL_ENTITY)].into()));
    let days = if scope.from == scope.to { day(scope.from) } else { format!("{}-{}", day(scope.from), day(scope.to)) };
    let step = [
        value(MODALITY, modality.unwrap_or_default()),
        value(STATION, station.map(AeTitle::as_str).unwrap_or_default()),
        value(START_DATE, &days),
        any(START_TIME),
        any(STEP_STATUS),
    ];
    [
        any(ACCESSION_NUMBER),
        any(PATIENT_ID),
        any(ISSUER_OF_PATIENT_ID),
        qualifiers(),
        any(PATIENT_BIRTH_DATE),
        any(PATIENT_SEX),
        (OTHER_PATIENT_IDS, Key::Item([any(PATIENT_ID), any(ISSUER_OF_PATIENT_ID), qualifiers()].into())),
        any(STUDY_INSTANCE_UID),
        any(DESCRIPTION),
        (PROCEDURE_CODES, Key::Item([any(CODE)].into())),
        (STEPS, Key::Item(step.into())),
        any(PROCEDURE),
        any(PLACER),
        any(FILLER),
    ]
    .into()
}

/// Reads an entry; `None` if it was not asked for. `issuer` issued a Patient ID of which the entry does not say.
pub(super) fn read(set: &Set, issuer: &str, scope: &Scope) -> Result<Option<Listed>, Refused> {
    let Some(steps) = steps(set, scope)? else { return Ok(None) };
    let (patient, ids) = patient(set, issuer)?;
    let born = set.text(PATIENT_BIRTH_DATE);
    let born = match born.is_empty() {
        true => born,
        false => birth_date(&born).ok_or(Refused(NO_BIRTH))?,
    };
    let sex = Some(set.text(PATIENT_SEX)).filter(|sex| matches!(sex.as_str(), "M" | "F")).unwrap_or_default();
    let short = |text: String| -> String { text.chars().filter(|c| !c.is_control()).take(64).collect() };
    let codes = set.items(PROCEDURE_CODES);
    let order = PlacedOrder {
        row: 0,
        source: String::new(),
        placer: String::new(),
        filler: number(set)?,
        accession: short(set.certain(ACCESSION_NUMBER)?),
        study: StudyUid::parse(&set.text(STUDY_INSTANCE_UID)).ok(),
        control: if steps.cancelled { "CA" } else { "NW" }.into(),
        patient,
        birth_date: born.clone(),
        modality: steps.modalities.into_iter().collect::<Vec<_>>().join("\\"),
        procedure: short(codes.first().map(|code| code.text(CODE)).unwrap_or_default()),
        description: short(set.text(DESCRIPTION)),
        scheduled: steps.start,
        at: UNIX_EPOCH,
    };
    Ok(Some(Listed { order, statements: stated(ids.into_iter(), &born), sex }))
}

/// What the steps of an entry say together.
struct Steps {
    modalities: BTreeSet<String>,
    /// The earliest: YYYYMMDD, and the time as far as it was said.
    start: String,
    /// All were.
    cancelled: bool,
}

/// The steps that were asked for; `None` if none of them was.
fn steps(set: &Set, scope: &Scope) -> Result<Option<Steps>, Refused> {
    let all = set.items(STEPS);
    if all.is_empty() {
        return Err(Refused(NO_STEP));
    }
    let mut found: Option<Steps> = None;
    for step in all {
        let date = date(&step.text(START_DATE)).ok_or(Refused(NO_START))?;
        let (modality, station) = (step.text(MODALITY), step.text(STATION));
        let stations: Vec<&str> = station.split('\\').map(str::trim).collect();
        let asked = (scope.from..=scope.to).contains(&date)
            && (scope.modalities.is_empty() || scope.modalities.contains(&modality))
            && (scope.stations.is_empty() || scope.stations.iter().any(|title| stations.contains(&title.as_str())));
        if !asked {
            continue;
        }
        let digits = |text: String| text.chars().take_while(char::is_ascii_digit).take(6).collect::<String>();
        let start = format!("{}{}", day(date), digits(step.text(START_TIME)));
        let cancelled = matches!(step.text(STEP_STATUS).as_str(), "CANCELLED" | "CANCELED" | "DISCONTINUED");
        let known = found.get_or_insert(Steps { modalities: BTreeSet::new(), start: start.clone(), cancelled: true });
        known.start = known.start.clone().min(start);
        known.cancelled &= cancelled;
        let plain = !modality.is_empty() && modality.len() <= 16 && modality.bytes().all(|b| b.is_ascii_graphic());
        known.modalities.extend(Some(modality).filter(|one| plain && !one.contains('\\')));
    }
    Ok(found)
}

/// A DA value that is a day.
fn date(text: &str) -> Option<Date> {
    let digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
    let part = |from: usize, to: usize| text.get(from..to).filter(|_| digits)?.parse::<i16>().ok();
    Date::new(part(0, 4)?, part(4, 6)? as i8, part(6, 8)? as i8).ok()
}

/// By what the order is known again: the number of the request, and the procedure of it. Steps of one procedure are one order.
fn number(set: &Set) -> Result<String, Refused> {
    let of = |tag: Tag| set.certain(tag);
    let request = [of(ACCESSION_NUMBER)?, of(FILLER)?, of(PLACER)?].into_iter().find(|text| !text.is_empty());
    let procedure = of(PROCEDURE)?;
    let words =
        [request.unwrap_or_default(), procedure].map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let number = words.join(" ").trim().to_owned();
    if number.is_empty() {
        return Err(Refused(NO_ORDER));
    }
    Ok(number.chars().filter(|c| !c.is_control()).take(199).collect())
}

/// The patient: by a number of this issuer, else another local one, else the NHS number, as HL7 messages are read; and all numbers.
fn patient(set: &Set, issuer: &str) -> Result<(LocalId, Vec<LocalId>), Refused> {
    if set.certain(PATIENT_ID)?.is_empty() {
        return Err(Refused(NO_PATIENT));
    }
    let mut ids = Vec::new();
    for (own, one) in std::iter::once((true, set))
        .chain(set.items(OTHER_PATIENT_IDS).iter().take(MOST_OTHERS).map(|one| (false, one)))
    {
        let id = one.certain(PATIENT_ID)?;
        let said = issuer_of(one)?;
        // Nobody knows whose number another one is of which the entry does not say.
        if id.is_empty() || (!own && said.is_empty()) {
            continue;
        }
        let by = if said.is_empty() { issuer } else { &said };
        ids.push(LocalId::new(by, &id).filter(|_| !id.contains('\\')).ok_or(Refused(NO_PLAIN_ID))?);
    }
    let local = |id: &&LocalId| !is_issuer(&id.issuer);
    let own = ids.iter().find(|id| id.issuer == issuer && local(id)).or_else(|| ids.iter().find(local));
    let nhs = || ids.iter().find(|id| NhsNumber::parse(&id.id).is_ok_and(|number| !number.is_test()));
    let patient = own.or_else(nhs).cloned().ok_or(Refused(NO_NUMBER))?;
    Ok((patient, ids))
}

/// Who issued the Patient ID of an entry or of an item: `NHS` for an NHS number, whatever else stands there.
fn issuer_of(set: &Set) -> Result<String, Refused> {
    let qualifiers = set.items(ISSUER_QUALIFIERS).first();
    let entity = qualifiers.map(|item| item.certain(UNIVERSAL_ENTITY)).transpose()?.unwrap_or_default();
    let name = set.certain(ISSUER_OF_PATIENT_ID)?;
    Ok(match (is_issuer(&entity) || is_issuer(&name), name.is_empty()) {
        (true, _) => "NHS".into(),
        (false, true) => entity,
        (false, false) => name,
    })
}

/// Entries as orders, each once; and those that contradict one another, by reason: of two patients with one number neither is believed.
pub(super) fn orders(entries: Vec<Listed>) -> (Vec<Listed>, BTreeMap<Why, u64>) {
    let mut people: BTreeMap<LocalId, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    let mut whose: BTreeMap<String, BTreeSet<LocalId>> = BTreeMap::new();
    for Listed { order, sex, .. } in &entries {
        let (born, sexes) = people.entry(order.patient.clone()).or_default();
        born.extend(Some(order.birth_date.clone()).filter(|date| !date.is_empty()));
        sexes.extend(Some(sex.clone()).filter(|sex| !sex.is_empty()));
        whose.entry(order.filler.clone()).or_default().insert(order.patient.clone());
    }
    let (mut all, mut refused): (BTreeMap<String, Listed>, BTreeMap<Why, u64>) = Default::default();
    for entry in entries {
        let several = people.get(&entry.order.patient).is_some_and(|(born, sexes)| born.len() > 1 || sexes.len() > 1);
        let shared = whose.get(&entry.order.filler).is_some_and(|patients| patients.len() > 1);
        match (several, shared) {
            (true, _) => *refused.entry(TWO_PATIENTS).or_default() += 1,
            (false, true) => *refused.entry(TWO_OF_ORDER).or_default() += 1,
            (false, false) => match all.get_mut(&entry.order.filler) {
                Some(known) => known.join(entry),
                None => drop(all.insert(entry.order.filler.clone(), entry)),
            },
        }
    }
    (all.into_values().collect(), refused)
}

impl Listed {
    /// Another step of the same order.
    fn join(&mut self, other: Listed) {
        let words = |text: &str| text.split('\\').filter(|one| !one.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let (mine, theirs) = (&mut self.order, other.order);
        let modalities: BTreeSet<String> = words(&mine.modality).into_iter().chain(words(&theirs.modality)).collect();
        mine.modality = modalities.into_iter().collect::<Vec<_>>().join("\\");
        mine.scheduled = std::mem::take(&mut mine.scheduled).min(theirs.scheduled);
        if theirs.control == "NW" {
            mine.control = theirs.control;
        }
        // In whatever order the steps are listed they say the same.
        let larger = |one: &mut String, other: String| *one = std::mem::take(one).max(other);
        larger(&mut mine.birth_date, theirs.birth_date);
        larger(&mut mine.procedure, theirs.procedure);
        larger(&mut mine.description, theirs.description);
        larger(&mut mine.accession, theirs.accession);
        mine.study = mine.study.take().max(theirs.study);
        for one in other.statements {
            if !self.statements.contains(&one) {
                self.statements.push(one);
            }
        }
    }
}
