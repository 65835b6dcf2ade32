//! What becomes of another site's patients on the way to a local node: pure policy ("Foreign patients" in docs/ARCHITECTURE.md).
//!
//! Two sites give the same number to two people, so what came from a peer must not reach a node with a bare number that the node
//! takes for its own (IDY-040, IDY-046). The stored object stays as it is; the change is made each time it leaves (IDY-034).

#[cfg(test)]
mod tests;

use crate::dicom::attributes::{
    ACCESSION_NUMBER, ADMISSION_ID, ISSUER_OF_PATIENT_ID, MEDICAL_RECORD_LOCATOR, OTHER_PATIENT_NUMBERS,
    PATIENT_BIRTH_DATE, PATIENT_ID, PATIENT_NAME, PATIENT_SEX, SERVICE_EPISODE_ID,
};
use crate::dicom::head::Attributes;
use crate::dicom::nhs_number::{NhsNumber, is_issuer};
use crate::dicom::patient::{Judgement, Patient};
use crate::dicom::rewrite::{
    Cleared, Content, Edits, Found, INSTANCE_ORIGIN_STATUS, Item, LONGEST_LONG_STRING, REQUESTS, date_time, label,
};
use crate::dicom::tag::Tag;
use crate::peers::Foreign;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// Instance Coercion DateTime.
pub(super) const INSTANCE_COERCION_DATE_TIME: Tag = Tag::new(0x0008, 0x0015);

/// Contributing Equipment Sequence.
const CONTRIBUTING_EQUIPMENT: Tag = Tag::new(0x0018, 0xA001);

/// Instance Origin Status of what came from elsewhere (PS3.3 section C.12.1).
const IMPORTED: &[u8] = b"IMPORTED";

/// Stands between issuer and number. No issuer may hold it, so that two of them never make the same whole.
const SEPARATOR: u8 = b':';

/// The peer from which an instance came.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its name.
    pub name: &'a str,
    /// Issuer of the patient identifiers that it sends without one.
    pub issuer: Option<&'a str>,
}

/// When and by whom a change is made, as far as the object will say.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The name of this site.
    pub site: &'a str,
    /// When the instance was received: the same each time it is sent, so that the bytes are too (INV-16).
    pub received: SystemTime,
}

/// What a node's configuration asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy {
    /// What becomes of the patient's number.
    pub mode: Foreign,
    /// Instance Origin Status (0400,0600) becomes IMPORTED (IDY-032).
    pub mark_imported: bool,
    /// What is changed gets an item in Contributing Equipment Sequence (0018,A001) that names this gateway (IDY-033).
    pub name_equipment: bool,
    /// The node's own Patient IDs are NHS numbers, so that of a patient who is surely ours means the same there.
    pub nhs_numbers: bool,
    /// Where its own SOP class is refused, an object may go under a related general one (DIM-051).
    pub general_class: bool,
}

/// What is known of one instance beside its node's policy.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What the object says. [`Found::before`] may be none where nobody looked; then a Patient ID that this site prefixed earlier,
    /// and that has come back, is prefixed again.
    pub found: &'a Found,
    /// Whether the patient is one of ours; it matters only to nodes that hold (IDY-044).
    pub judged: Judgement,
    /// For which reasons it was held for a person who has released it since.
    pub released: &'a [String],
}

/// What is done with one instance for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It goes as it is.
    AsIs,
    /// It goes with these changes.
    Edit {
        /// The changes.
        edits: Edits,
        /// Name and version of each rule, joined by `+`, for the ledger (IDY-034). A version is raised whenever the same input
        /// gives other bytes.
        transform: String,
    },
    /// It does not go until a person has decided.
    Hold(Reason),
}

/// Why a person must decide. The texts hold nothing of a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The node's configuration asks for it, and the patient is not surely one of ours.
    #[error("other sites' patients wait for a person before they reach this node (foreign = \"hold\"); {0}")]
    Asked(Judgement),
    /// Cut to size, two patients' numbers could become one.
    #[error("with its issuer the Patient ID would have {characters} characters; a node need not keep more than 64")]
    TooLong {
        /// Characters that it would have.
        characters: usize,
    },
    /// The Patient ID has several values, or characters that it must not have.
    #[error("the Patient ID is not one plain value, so no issuer can be put before it")]
    UnusableId,
    /// The issuer has several values, a colon, or characters that the object's character set cannot hold.
    #[error("the issuer of the Patient ID cannot be put before it: it is not one plain value without a colon")]
    UnusableIssuer,
    /// Neither the object nor the peer's configuration names an issuer.
    #[error("nothing says who issued the Patient ID: the object does not, and the peer has no `issuer`")]
    NoIssuer,
}

/// Decides what is done with an instance that came from the peer `source`, on its way to a node with this policy.
/// What came from a node or an operator is not foreign and goes as it is.
///
/// What waited only because the node asks for it, and a person has released, goes as to any other node, prefixed; what cannot be
/// prefixed goes with its number as it is then, since a person has seen that it is nobody else's. A patient who is surely ours waits
/// for nobody.
pub fn decide(policy: Policy, source: Source<'_>, stamp: Stamp<'_>, case: Case<'_>) -> Decision {
    let Case { found, judged, released } = case;
    let seen = |reason: Reason| released.contains(&reason.to_string());
    let same = judged == Judgement::Same;
    let unchanged = || Ok((Changes::default(), ""));
    let changes = match policy.mode {
        Foreign::Hold if !same && !seen(Reason::Asked(judged)) => Err(Reason::Asked(judged)),
        Foreign::Hold if same && policy.nhs_numbers => unchanged(),
        Foreign::Prefix | Foreign::Hold => prefixed(source, found).map(|changes| (changes, "foreign-prefix/3")),
        Foreign::Issuer => issued(source, &found.attributes).map(|values| (values.into(), "foreign-issuer/2")),
        Foreign::AsIs => unchanged(),
    };
    match changes {
        Err(reason) if !seen(reason) => Decision::Hold(reason),
        Err(_) => edit(policy, source, stamp, found, (Changes::default(), "")),
        Ok(changes) => edit(policy, source, stamp, found, changes),
    }
}

/// What an object says of its patient. Its number counts as an NHS number only if the object or its sender says so.
pub fn patient(source: Source<'_>, found: &Found) -> Patient {
    let text = |tag| found.attributes.text(tag).unwrap_or_default();
    let issuer = Some(text(ISSUER_OF_PATIENT_ID)).filter(|issuer| !issuer.is_empty());
    let issuer = issuer.or_else(|| source.issuer.map(str::to_owned)).unwrap_or_default();
    Patient {
        number: Some(text(PATIENT_ID)).filter(|_| is_issuer(&issuer)).and_then(|id| NhsNumber::parse(&id).ok()),
        birth_date: text(PATIENT_BIRTH_DATE),
        name: text(PATIENT_NAME),
        sex: text(PATIENT_SEX),
    }
}

/// The changes together, with the record of them; none if there are none.
fn edit(
    policy: Policy,
    source: Source<'_>,
    stamp: Stamp<'_>,
    found: &Found,
    (Changes { mut values, cleared }, rule): (Changes, &'static str),
) -> Decision {
    let changes = !values.is_empty() || !cleared.is_empty();
    let mut rules: Vec<&str> = Some(rule).filter(|_| changes).into_iter().collect();
    // Without its issuer the previous number says little (IDY-030).
    let beside = values.contains_key(&PATIENT_ID).then_some(ISSUER_OF_PATIENT_ID);
    let status = found.attributes.values.get(&INSTANCE_ORIGIN_STATUS);
    let mut known = Values::new();
    if policy.mark_imported && status.is_none_or(|status| trimmed(status) != IMPORTED) {
        values.insert(INSTANCE_ORIGIN_STATUS, IMPORTED.into());
        known.extend(status.map(|status| (INSTANCE_ORIGIN_STATUS, status.clone())));
        rules.push("imported/1");
    }
    if values.is_empty() && cleared.is_empty() {
        return Decision::AsIs;
    }
    let mut items = BTreeMap::new();
    if policy.name_equipment {
        items.insert(CONTRIBUTING_EQUIPMENT, equipment(stamp));
        rules.push("equipment/1");
    }
    // When the object became other than it was received (PS3.3 section C.12.1); Instance Creation stays (IDY-031).
    values.insert(INSTANCE_COERCION_DATE_TIME, date_time(stamp.received).into_bytes().into());
    let edits = Edits {
        values,
        items,
        cleared,
        known,
        beside: BTreeSet::from_iter(beside),
        at: stamp.received,
        system: stamp.site.to_owned(),
        source: source.name.to_owned(),
    };
    Decision::Edit { edits, transform: rules.join("+") }
}

/// This gateway as equipment that modified the object (PS3.3 section C.12.1, Contributing Equipment Sequence). It names no version
/// of the program, so that a resend after an upgrade gives the same bytes (INV-16).
fn equipment(stamp: Stamp<'_>) -> Item {
    let purpose = Item::from([
        (Tag::new(0x0008, 0x0100), "109103".into()),
        (Tag::new(0x0008, 0x0102), "DCM".into()),
        (Tag::new(0x0008, 0x0104), "Modifying Equipment".into()),
    ]);
    Item::from([
        (Tag::new(0x0008, 0x0070), "Weybridge".into()),
        (Tag::new(0x0008, 0x0080), label(stamp.site).as_str().into()),
        (Tag::new(0x0008, 0x1090), "Weybridge".into()),
        (Tag::new(0x0018, 0xA002), date_time(stamp.received).as_str().into()),
        (Tag::new(0x0018, 0xA003), "Identifiers of another site's patient were made distinct".into()),
        (Tag::new(0x0040, 0xA170), Content::Items(vec![purpose])),
    ])
}

type Values = BTreeMap<Tag, Box<[u8]>>;

/// What a rule changes: values, and sequences of which something goes.
#[derive(Debug, Default)]
struct Changes {
    values: Values,
    cleared: BTreeMap<Tag, Cleared>,
}

impl From<Values> for Changes {
    fn from(values: Values) -> Self {
        Self { values, cleared: BTreeMap::new() }
    }
}

/// Other numbers by which a node may know a patient, a visit or an order of its own. They are emptied, as the Accession Number is.
const OTHER_NUMBERS: [Tag; 5] =
    [ACCESSION_NUMBER, OTHER_PATIENT_NUMBERS, MEDICAL_RECORD_LOCATOR, ADMISSION_ID, SERVICE_EPISODE_ID];

/// Patient ID becomes ISSUER:ID; Accession Number, and what else carries a number of the other site, is emptied. No number stays no
/// number: with an issuer alone all patients without one would become the same.
fn prefixed(source: Source<'_>, found: &Found) -> Result<Changes, Reason> {
    let attributes = &found.attributes;
    let mut values = Values::new();
    if let Some(id) = present(attributes, PATIENT_ID) {
        let issuer = issuer(source, attributes)?;
        let ours = found.before.as_ref().is_some_and(|before| joined(issuer, trimmed(&before.0)) == id);
        if !ours {
            values.insert(PATIENT_ID, with_issuer(issuer, id, attributes)?);
        }
    }
    let others = OTHER_NUMBERS.into_iter().filter(|tag| present(attributes, *tag).is_some());
    values.extend(others.map(|tag| (tag, Box::default())));
    let cleared = found.filled.iter().map(|tag| match REQUESTS.contains(tag) {
        true => (*tag, Cleared::Text(ACCESSION_NUMBER)),
        false => (*tag, Cleared::All),
    });
    Ok(Changes { values, cleared: cleared.collect() })
}

/// Issuer of Patient ID is filled where there is a number and no issuer.
fn issued(source: Source<'_>, attributes: &Attributes) -> Result<Values, Reason> {
    let wanted = present(attributes, PATIENT_ID).is_some() && present(attributes, ISSUER_OF_PATIENT_ID).is_none();
    if !wanted {
        return Ok(Values::new());
    }
    let issuer = source.issuer.map(str::trim).filter(|issuer| !issuer.is_empty()).ok_or(Reason::NoIssuer)?;
    let plain = issuer.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'\\');
    if plain && issuer.len() <= LONGEST_LONG_STRING {
        Ok(Values::from([(ISSUER_OF_PATIENT_ID, issuer.as_bytes().into())]))
    } else {
        Err(Reason::UnusableIssuer)
    }
}

/// Who issued the number: the object's own word, else the peer's configured issuer, else the peer's name.
fn issuer<'a>(source: Source<'a>, attributes: &'a Attributes) -> Result<&'a [u8], Reason> {
    let (issuer, text) = match present(attributes, ISSUER_OF_PATIENT_ID) {
        Some(issuer) => (issuer, attributes.charset.decode(issuer)),
        None => {
            let configured = source.issuer.map(str::trim).filter(|issuer| !issuer.is_empty());
            let name = configured.unwrap_or(source.name);
            // It was not written in the object's character set; what all of them share is ASCII.
            if !name.is_ascii() {
                return Err(Reason::UnusableIssuer);
            }
            (name.as_bytes(), name.to_owned())
        }
    };
    let usable = plain(&text) && !text.contains(char::from(SEPARATOR));
    if usable { Ok(issuer) } else { Err(Reason::UnusableIssuer) }
}

/// The whole, if it is one value that everybody keeps and that reads as issuer and number.
fn with_issuer(issuer: &[u8], id: &[u8], attributes: &Attributes) -> Result<Box<[u8]>, Reason> {
    let charset = &attributes.charset;
    let number = charset.decode(id);
    if !plain(&number) {
        return Err(Reason::UnusableId);
    }
    let whole = joined(issuer, id);
    let text = charset.decode(&whole);
    // An escape sequence or half a character in the issuer could change how the number reads.
    if text != format!("{}:{number}", charset.decode(issuer)) {
        return Err(Reason::UnusableIssuer);
    }
    match text.chars().count() {
        0..=LONGEST_LONG_STRING => Ok(whole.into()),
        characters => Err(Reason::TooLong { characters }),
    }
}

fn joined(issuer: &[u8], id: &[u8]) -> Vec<u8> {
    [issuer, &[SEPARATOR], id].concat()
}

/// One value, decoded whole.
fn plain(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || c == '\\' || c == char::REPLACEMENT_CHARACTER)
}

/// The value of an attribute without padding; none if it is absent or empty.
fn present(attributes: &Attributes, tag: Tag) -> Option<&[u8]> {
    attributes.values.get(&tag).map(|value| trimmed(value)).filter(|value| !value.is_empty())
}

/// Spaces around a Long String are not part of it; zeros are padding of the field's making.
fn trimmed(value: &[u8]) -> &[u8] {
    let padding = |b: &u8| matches!(b, b' ' | 0);
    let start = value.iter().position(|b| !padding(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !padding(b)).map_or(start, |at| at + 1);
    &value[start..end]
}
