//! What an HL7 message means for the records: orders, statements of the cross-reference, and numbers that were merged.

#[cfg(test)]
mod tests;

use crate::dicom::cross_reference::{LocalId, Said, birth_date};
use crate::dicom::nhs_number::{NhsNumber, is_issuer};
use crate::dicom::uid::StudyUid;
use crate::hl7::acknowledgement::{Fault, Refusal};
use crate::hl7::message::{Header, Message};
use crate::hl7::order::{Placed, orders};
use crate::hl7::patient::{MOST_NUMBERS, PatientNumber, Person, people};
use crate::records::{MOST_STATEMENTS, PlacedOrder, ToldMessage};
use crate::store::Digest;
use std::collections::BTreeSet;

/// How numbers in messages are meant, and which messages are.
pub struct Terms {
    /// Who issued numbers of which the message does not say.
    pub issuer: String,
    /// Assigning authorities that mean this issuer.
    pub authorities: Vec<String>,
    /// What of MSH-11 is taken.
    pub processing: Vec<String>,
}

impl Terms {
    /// Who issued a number: `NHS` for an NHS number, whatever else stands there; this site, where nothing does or a name of its own.
    fn issuer<'a>(&'a self, authority: &'a str, universal: &'a str) -> &'a str {
        let said = [authority, universal];
        if said.iter().any(|name| is_issuer(name)) {
            return "NHS";
        }
        match said.into_iter().find(|name| !name.is_empty()) {
            Some(name) if !said.iter().any(|name| self.authorities.iter().any(|own| own == name)) => name,
            _ => &self.issuer,
        }
    }
}

/// Kinds of message that are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// ORM^O01, OMI^O23.
    Order,
    /// ADT^A01, A04, A05, A08, A28, A31: what is said of a patient, whatever is done with it.
    Update,
    /// ADT^A40, A34, A18: two patients were one; A47: a number was changed.
    Merge,
    /// Any other event of ADT: a visit, a bed, an account. Nothing of it is used.
    Passing,
}

impl Kind {
    /// By the type and the event of a message; `None` if it is not taken here.
    fn of(kind: &str, event: &str) -> Option<Self> {
        Some(match (kind, event) {
            // Version 2.1 knows no event of an order.
            ("ORM", "O01" | "") | ("OMI", "O23") => Self::Order,
            ("ADT", "A01" | "A04" | "A05" | "A08" | "A28" | "A31") => Self::Update,
            ("ADT", "A18" | "A34" | "A40" | "A47") => Self::Merge,
            // These say that numbers are another's from now on, in ways that are not followed: AA would say that they are.
            ("ADT", "A24" | "A30" | "A36" | "A37" | "A43") => return None,
            ("ADT", event) if is_event(event) => Self::Passing,
            _ => return None,
        })
    }
}

/// A letter and two digits, `A02` (HL7 table 0003).
fn is_event(text: &str) -> bool {
    matches!(text.as_bytes(), [b'A', tens, ones] if tens.is_ascii_digit() && ones.is_ascii_digit())
}

/// The longest number of an order with its namespace, in characters: as long as an EI may be.
const LONGEST_NUMBER: usize = 427;

const NO_PATIENT: &str = "the message names no patient in PID-3";

/// Types of number (HL7 table 0203) that are not a patient's own: of an account, a visit, a guarantor or a paper. Who issues them may
/// give the same number to another patient.
const OTHERS: [&str; 10] = ["AN", "ANC", "AND", "ANT", "VN", "GI", "GN", "DL", "PPN", "SS"];

/// The numbers of a field by which a patient is known (IDY-040).
fn known_by(numbers: &[PatientNumber]) -> impl Iterator<Item = &PatientNumber> {
    numbers.iter().filter(|number| !OTHERS.iter().any(|other| number.kind.eq_ignore_ascii_case(other)))
}

/// Reads a message: `None` if it is sound and nothing of it is used; why it is not taken otherwise.
pub(super) fn told(header: &Header, bytes: &[u8], terms: &Terms) -> Result<Option<ToldMessage>, Refusal> {
    let (kind, event) = header.kind();
    let Some(kind) = Kind::of(&kind, &event) else {
        return Err(Refusal::rejected(Fault::Kind, "MSH^1^9", "messages of this kind are not taken here"));
    };
    let (version, processing) = (header.version(), header.processing());
    if !version.is_empty() && version != "2" && !version.starts_with("2.") {
        return Err(Refusal::rejected(Fault::Version, "MSH^1^12", "this is not version 2"));
    }
    if !processing.is_empty() && !terms.processing.contains(&processing) {
        let why = "this is no message for use in earnest (MSH-11)";
        return Err(Refusal::rejected(Fault::Processing, "MSH^1^11", why));
    }
    let unread = |error: crate::hl7::message::MessageError| Refusal::error(Fault::Unreadable, "MSH", error.to_string());
    let message = header.message(bytes).map_err(unread)?;
    if message.holds_another() {
        let why = "a frame holds one message, and this one holds the beginning of another (MSH, BHS or FHS)";
        return Err(Refusal::error(Fault::Sequence, "MSH^2", why));
    }
    if kind == Kind::Passing {
        return Ok(None);
    }
    let sender: String = header.sender().chars().filter(|c| !c.is_control()).take(60).collect();
    let mut told = ToldMessage {
        source: format!("hl7 {}", if sender.is_empty() { "unnamed" } else { &sender }),
        control: header.control().chars().take(199).collect(),
        digest: Digest::of(bytes).to_string(),
        ..ToldMessage::default()
    };
    let people = people(&message);
    if people.is_empty() {
        return Err(Refusal::error(Fault::Missing, "PID^1^3", NO_PATIENT));
    }
    for person in &people {
        told.statements.extend(said(person, terms)?);
        told.merges.extend(merged(person, kind, terms)?);
        if told.statements.len().max(told.merges.len()) > MOST_STATEMENTS {
            let why = "it says more of patients' numbers than is kept of one message";
            return Err(Refusal::error(Fault::Unreadable, "PID^1^3", why));
        }
    }
    if kind == Kind::Order {
        let [person] = &people[..] else {
            return Err(Refusal::error(Fault::Sequence, "PID^2", "a message with orders names one patient"));
        };
        told.orders = placed(&message, person, terms)?;
    }
    Ok(Some(told))
}

/// Whether not every letter of a text is known. Of a name nobody reads that matters nothing.
fn is_in_doubt(text: &str) -> bool {
    text.contains(char::REPLACEMENT_CHARACTER)
}

/// A number as it is known by: with its issuer. What cannot be kept as a number is refused, never shortened.
fn known(number: &PatientNumber, terms: &Terms) -> Result<LocalId, Refusal> {
    if [&number.id, &number.authority, &number.universal].into_iter().any(|text| is_in_doubt(text)) {
        let why = "a patient's number or its issuer is not in the character set that MSH-18 names";
        return Err(Refusal::error(Fault::Unreadable, "PID^1^3", why));
    }
    let unnamed = number.authority.is_empty() && number.universal.is_empty();
    let issuer = match unnamed && number.kind == "NH" {
        true => "NHS",
        false => terms.issuer(&number.authority, &number.universal),
    };
    let why = "a patient's number or its issuer is longer than 64 characters or no plain text";
    LocalId::new(issuer, &number.id).ok_or_else(|| Refusal::error(Fault::Unreadable, "PID^1^3", why))
}

/// Local numbers, and NHS numbers that are any. What is said to be an NHS number and is none counts for nothing.
fn sorted(numbers: &[PatientNumber], terms: &Terms) -> Result<(BTreeSet<LocalId>, BTreeSet<NhsNumber>), Refusal> {
    if numbers.len() > MOST_NUMBERS {
        let why = format!("a patient has more than {MOST_NUMBERS} numbers");
        return Err(Refusal::error(Fault::Unreadable, "PID^1^3", why));
    }
    let (mut local, mut nhs) = (BTreeSet::new(), BTreeSet::new());
    for number in known_by(numbers) {
        let id = known(number, terms)?;
        match is_issuer(&id.issuer) {
            true => nhs.extend(NhsNumber::parse(&id.id).ok().filter(|number| !number.is_test())),
            false => drop(local.insert(id)),
        }
    }
    Ok((local, nhs))
}

/// What a message says of its patient's numbers: each local one belongs to each NHS number beside it; of those that were merged
/// into them the same, each side for itself (IDY-045).
fn said(person: &Person, terms: &Terms) -> Result<Vec<(LocalId, Said)>, Refusal> {
    let born = birth_date(&person.birth_date).unwrap_or_default();
    let mut all = Vec::new();
    for (numbers, birth_date) in [(&person.numbers, born.as_str()), (&person.merged, "")] {
        let (local, nhs) = sorted(numbers, terms)?;
        let one = |id: &LocalId, number: &NhsNumber| {
            (id.clone(), Said { number: *number, birth_date: birth_date.to_owned() })
        };
        all.extend(local.iter().flat_map(|id| nhs.iter().map(|number| one(id, number)).collect::<Vec<_>>()));
    }
    Ok(all)
}

/// Which local number is which other's from now on: former, and what stays. Nothing else than MRG says so, never a name or a birth date.
fn merged(person: &Person, kind: Kind, terms: &Terms) -> Result<Vec<(LocalId, LocalId)>, Refusal> {
    let (staying, _) = sorted(&person.numbers, terms)?;
    if kind != Kind::Merge {
        return match person.numbers.is_empty() {
            true => Err(Refusal::error(Fault::Missing, "PID^1^3", NO_PATIENT)),
            false => Ok(Vec::new()),
        };
    }
    let (former, _) = sorted(&person.merged, terms)?;
    let former: Vec<LocalId> = former.into_iter().filter(|id| !staying.contains(id)).collect();
    if former.is_empty() && known_by(&person.merged).next().is_none() {
        return Err(Refusal::error(Fault::Missing, "MRG^1^1", "the message names no number that was merged (MRG-1)"));
    }
    if staying.is_empty() {
        return Err(Refusal::error(Fault::Missing, "PID^1^3", "the message names no local number that stays (PID-3)"));
    }
    let into = |one: &LocalId| staying.iter().map(|stays| (one.clone(), stays.clone())).collect::<Vec<_>>();
    Ok(former.iter().flat_map(into).collect())
}

/// The orders of a message, each with its patient: by the first local number, else by the NHS number.
fn placed(message: &Message, person: &Person, terms: &Terms) -> Result<Vec<PlacedOrder>, Refusal> {
    let placed = orders(message);
    if placed.is_empty() {
        return Err(Refusal::error(Fault::Sequence, "ORC", "the message holds no order (ORC)"));
    }
    let ids = known_by(&person.numbers).map(|number| known(number, terms)).collect::<Result<Vec<_>, _>>()?;
    let own = ids.iter().find(|id| id.issuer == terms.issuer).or_else(|| ids.iter().find(|id| !is_issuer(&id.issuer)));
    let nhs = || ids.iter().find(|id| NhsNumber::parse(&id.id).is_ok_and(|number| !number.is_test()));
    let Some(patient) = own.or_else(nhs) else {
        return Err(Refusal::error(
            Fault::Unreadable,
            "PID^1^3",
            "the patient has no number that can be used, neither a local one nor an NHS number that is any",
        ));
    };
    let born = birth_date(&person.birth_date).unwrap_or_default();
    placed.into_iter().map(|one| order(one, patient, &born)).collect()
}

fn order(placed: Placed, patient: &LocalId, born: &str) -> Result<PlacedOrder, Refusal> {
    let missing = |place, why: &str| Err(Refusal::error(Fault::Missing, place, why));
    if placed.control.is_empty() {
        return missing("ORC^1^1", "an order does not say what is to be done with it (ORC-1)");
    }
    if placed.placer.is_empty() && placed.filler.is_empty() {
        return missing("ORC^1^2", "an order has neither a placer nor a filler number");
    }
    if [&placed.placer, &placed.filler, &placed.accession].into_iter().any(|text| is_in_doubt(text)) {
        let why = "a number of an order is not in the character set that MSH-18 names";
        return Err(Refusal::error(Fault::Unreadable, "ORC", why));
    }
    let plain = |text: String, most: usize| -> String { text.chars().filter(|c| !c.is_control()).take(most).collect() };
    let short = |text: String| plain(text, 64);
    Ok(PlacedOrder {
        row: 0,
        source: String::new(),
        placer: plain(placed.placer, LONGEST_NUMBER),
        filler: plain(placed.filler, LONGEST_NUMBER),
        accession: short(placed.accession),
        study: StudyUid::parse(&placed.study).ok(),
        control: short(placed.control),
        patient: patient.clone(),
        birth_date: born.to_owned(),
        modality: short(placed.modality),
        procedure: short(placed.procedure),
        description: short(placed.description),
        scheduled: short(placed.scheduled),
        at: std::time::UNIX_EPOCH,
    })
}
