//! What becomes of another site's patients on the way to a local node: pure policy ("Foreign patients" in docs/ARCHITECTURE.md).
//!
//! Two sites give the same number to two people, so what came from a peer must not reach a node with a bare number that the node
//! takes for its own (IDY-040, IDY-046). The stored object stays as it is; the change is made each time it leaves (IDY-034).

#[cfg(test)]
mod tests;

use crate::dicom::attributes::{ACCESSION_NUMBER, ISSUER_OF_PATIENT_ID, PATIENT_ID};
use crate::dicom::head::Attributes;
use crate::dicom::rewrite::{Edits, Found, LONGEST_LONG_STRING, date_time};
use crate::dicom::tag::Tag;
use crate::peers::Foreign;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// Instance Coercion DateTime.
const INSTANCE_COERCION_DATE_TIME: Tag = Tag::new(0x0008, 0x0015);

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

/// What is done with one instance for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It goes as it is.
    AsIs,
    /// It goes with these changes.
    Edit {
        /// The changes.
        edits: Edits,
        /// Name and version of the rule, for the ledger (IDY-034). It is raised whenever the same input gives other bytes.
        transform: &'static str,
    },
    /// It does not go until a person has decided.
    Hold(Reason),
}

/// Why a person must decide. The texts hold nothing of a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The node's configuration asks for it.
    #[error("other sites' patients wait for a person before they reach this node (foreign = \"hold\")")]
    Asked,
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

/// Decides what is done with an instance that came from the peer `source`, on its way to a node whose `foreign` is `mode`.
/// What came from a node or an operator is not foreign and goes as it is.
///
/// `found` is what the object says, of which [`Found::before`] may be none where nobody looked; then a Patient ID that this site
/// prefixed earlier, and that has come back, is prefixed again.
pub fn decide(mode: Foreign, source: Source<'_>, stamp: Stamp<'_>, found: &Found) -> Decision {
    let (values, transform) = match mode {
        Foreign::AsIs => return Decision::AsIs,
        Foreign::Hold => return Decision::Hold(Reason::Asked),
        Foreign::Prefix => (prefixed(source, found), "foreign-prefix/2"),
        Foreign::Issuer => (issued(source, &found.attributes), "foreign-issuer/2"),
    };
    let mut values = match values {
        Err(reason) => return Decision::Hold(reason),
        Ok(values) if values.is_empty() => return Decision::AsIs,
        Ok(values) => values,
    };
    // Without its issuer the previous number says little (IDY-030).
    let beside = values.contains_key(&PATIENT_ID).then_some(ISSUER_OF_PATIENT_ID);
    // When the object became other than it was received (PS3.3 section C.12.1); Instance Creation stays (IDY-031).
    values.insert(INSTANCE_COERCION_DATE_TIME, date_time(stamp.received).into_bytes().into());
    let edits = Edits {
        values,
        beside: BTreeSet::from_iter(beside),
        at: stamp.received,
        system: stamp.site.to_owned(),
        source: source.name.to_owned(),
    };
    Decision::Edit { edits, transform }
}

type Values = BTreeMap<Tag, Box<[u8]>>;

/// Patient ID becomes ISSUER:ID, Accession Number is emptied. No number stays no number: with an issuer alone all patients
/// without one would become the same.
fn prefixed(source: Source<'_>, found: &Found) -> Result<Values, Reason> {
    let attributes = &found.attributes;
    let mut values = Values::new();
    if let Some(id) = present(attributes, PATIENT_ID) {
        let issuer = issuer(source, attributes)?;
        let ours = found.before.as_ref().is_some_and(|before| joined(issuer, trimmed(&before.0)) == id);
        if !ours {
            values.insert(PATIENT_ID, with_issuer(issuer, id, attributes)?);
        }
    }
    if present(attributes, ACCESSION_NUMBER).is_some() {
        values.insert(ACCESSION_NUMBER, Box::default());
    }
    Ok(values)
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
