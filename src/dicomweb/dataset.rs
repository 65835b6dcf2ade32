//! A simple tree of attributes: what DICOM JSON and the Native DICOM Model can say.

use crate::dicom::tag::Tag;
use std::collections::BTreeMap;
use std::fmt;

mod members;
mod number;
mod stored;

pub use ::dicom::core::VR;
pub(in crate::dicomweb) use members::{Members, Raw};
pub use number::Number;
pub(in crate::dicomweb) use stored::stored;

/// A set of attributes in ascending tag order, as one item of a sequence or one match of a query.
///
/// `Debug` prints the number of attributes only, for the values may be a patient's (SEC-010).
#[derive(Clone, Default, PartialEq)]
pub struct Dataset {
    elements: BTreeMap<Tag, Element>,
}

/// One attribute: its value representation and value.
#[derive(Clone, PartialEq)]
pub struct Element {
    /// The value representation (PS3.5 section 6.2).
    pub vr: VR,
    /// The value.
    pub value: Value,
}

/// An attribute's value. `None` stands for an empty value among several (PS3.18 F.2.5).
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Present without a value.
    Empty,
    /// Character strings; AT values are eight upper-case hexadecimal digits.
    Text(Vec<Option<String>>),
    /// Person names.
    Names(Vec<Option<PersonName>>),
    /// Numbers, of a binary VR or of DS and IS.
    Numbers(Vec<Option<Number>>),
    /// Items of a sequence.
    Items(Vec<Dataset>),
    /// The bytes of a binary VR in little-endian order.
    Inline(Vec<u8>),
    /// Where the bytes can be had.
    BulkData(String),
}

/// The component groups of a person name (PS3.5 section 6.2.1.1).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PersonName {
    /// Single-byte group.
    pub alphabetic: String,
    /// Ideographic group.
    pub ideographic: String,
    /// Phonetic group.
    pub phonetic: String,
}

impl PersonName {
    /// Splits a DICOM value at its equals signs; what follows a third one is dropped.
    pub fn parse(text: &str) -> Self {
        let mut groups = text.split('=').map(|group| group.trim_end_matches(' ').to_owned());
        let mut next = || groups.next().unwrap_or_default();
        Self { alphabetic: next(), ideographic: next(), phonetic: next() }
    }

    /// True when no group holds anything.
    pub fn is_empty(&self) -> bool {
        self.alphabetic.is_empty() && self.ideographic.is_empty() && self.phonetic.is_empty()
    }
}

/// How the values of a VR are written (PS3.18 table F.2.3-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Strings, several of them joined by backslashes in the data set.
    Text,
    /// One string, in which a backslash is a character.
    LongText,
    /// Person names.
    Name,
    /// DS and IS: numbers kept as text in the data set.
    Decimal,
    /// Numbers of a fixed binary length.
    Binary,
    /// Attribute tags.
    Tags,
    /// Sequence of items.
    Sequence,
    /// Bytes.
    Bytes,
}

/// The kind of a value representation.
pub fn kind(vr: VR) -> Kind {
    match vr {
        VR::AE | VR::AS | VR::CS | VR::DA | VR::DT | VR::LO | VR::SH | VR::TM | VR::UC | VR::UI => Kind::Text,
        VR::LT | VR::ST | VR::UT | VR::UR => Kind::LongText,
        VR::PN => Kind::Name,
        VR::DS | VR::IS => Kind::Decimal,
        VR::FL | VR::FD | VR::SL | VR::SS | VR::SV | VR::UL | VR::US | VR::UV => Kind::Binary,
        VR::AT => Kind::Tags,
        VR::SQ => Kind::Sequence,
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN => Kind::Bytes,
    }
}

impl Element {
    /// An attribute without a value.
    pub fn empty(vr: VR) -> Self {
        Self { vr, value: Value::Empty }
    }

    /// An attribute out of decoded text as it stands in a data set: backslashes between values, padding at their ends.
    ///
    /// A number that cannot be written as one stays text, which PS3.18 table F.2.3-1 allows.
    pub fn text(vr: VR, text: &str) -> Self {
        let padding: &[char] = &[' ', '\0'];
        let filled = |s: &str| if s.is_empty() { None } else { Some(s.to_owned()) };
        let value = match kind(vr) {
            Kind::LongText => Value::Text(vec![filled(text.trim_end_matches(padding))]),
            Kind::Name => Value::Names(
                text.trim_end_matches(padding)
                    .split('\\')
                    .map(|name| Some(PersonName::parse(name)).filter(|name| !name.is_empty()))
                    .collect(),
            ),
            Kind::Decimal | Kind::Binary => numbers(text.trim_matches(padding)),
            _ => Value::Text(text.split('\\').map(|part| filled(part.trim_matches(padding))).collect()),
        };
        Self { vr, value: value.or_empty() }
    }

    /// An attribute with one whole number.
    pub fn number(vr: VR, value: u64) -> Self {
        Self { vr, value: Value::Numbers(vec![Some(value.into())]) }
    }

    /// A sequence of items.
    pub fn items(items: Vec<Dataset>) -> Self {
        Self { vr: VR::SQ, value: Value::Items(items).or_empty() }
    }
}

/// Numbers out of joined text; plain text if one of them is not a number.
fn numbers(text: &str) -> Value {
    let parts = || text.split('\\').map(|part| part.trim_matches(' '));
    let parsed: Option<Vec<Option<Number>>> =
        parts().map(|part| if part.is_empty() { Some(None) } else { Number::parse(part).map(Some) }).collect();
    match parsed {
        Some(numbers) => Value::Numbers(numbers),
        None => Value::Text(parts().map(|part| Some(part.to_owned()).filter(|part| !part.is_empty())).collect()),
    }
}

impl Value {
    /// The value itself, or [`Value::Empty`] when it is a single empty value or no value at all.
    pub fn or_empty(self) -> Self {
        let empty = match &self {
            Self::Empty => true,
            Self::Text(values) => matches!(values.as_slice(), [] | [None]),
            Self::Names(values) => matches!(values.as_slice(), [] | [None]),
            Self::Numbers(values) => matches!(values.as_slice(), [] | [None]),
            Self::Items(items) => items.is_empty(),
            Self::Inline(bytes) => bytes.is_empty(),
            Self::BulkData(_) => false,
        };
        if empty { Self::Empty } else { self }
    }
}

impl Dataset {
    /// Sets an attribute; an earlier one under that tag is replaced and handed back.
    pub fn insert(&mut self, tag: Tag, element: Element) -> Option<Element> {
        self.elements.insert(tag, element)
    }

    /// The attribute under a tag.
    pub fn get(&self, tag: Tag) -> Option<&Element> {
        self.elements.get(&tag)
    }

    /// The attributes in ascending tag order.
    pub fn iter(&self) -> impl Iterator<Item = (Tag, &Element)> {
        self.elements.iter().map(|(tag, element)| (*tag, element))
    }

    /// The first value of an attribute, if it is a string.
    pub fn first_text(&self, tag: Tag) -> Option<&str> {
        match &self.get(tag)?.value {
            Value::Text(values) => values.first()?.as_deref(),
            _ => None,
        }
    }

    /// The values of an attribute as they stand in a data set, several joined by backslashes; `None` if it is absent, empty, or has
    /// no text, as sequences and bytes.
    pub fn text(&self, tag: Tag) -> Option<String> {
        let one = |name: &PersonName| {
            let groups = [&name.alphabetic, &name.ideographic, &name.phonetic].map(String::as_str);
            groups.join("=").trim_end_matches('=').to_owned()
        };
        let values: Vec<String> = match &self.get(tag)?.value {
            Value::Text(values) => values.iter().map(|value| value.clone().unwrap_or_default()).collect(),
            Value::Names(values) => values.iter().map(|value| value.as_ref().map(one).unwrap_or_default()).collect(),
            Value::Numbers(values) => {
                values.iter().map(|value| value.as_ref().map_or("", |n| n.as_str()).to_owned()).collect()
            }
            Value::Empty | Value::Items(_) | Value::Inline(_) | Value::BulkData(_) => return None,
        };
        Some(values.join("\\")).filter(|text| !text.is_empty())
    }

    /// The first value of an attribute as a whole number, whether it was written as number or as text.
    pub fn first_number(&self, tag: Tag) -> Option<u64> {
        match &self.get(tag)?.value {
            Value::Numbers(values) => values.first()?.as_ref()?.to_u64(),
            Value::Text(values) => values.first()?.as_deref()?.trim().parse().ok(),
            _ => None,
        }
    }

    /// The items of a sequence; none if it is absent or empty.
    pub fn sequence(&self, tag: Tag) -> &[Dataset] {
        match self.get(tag).map(|element| &element.value) {
            Some(Value::Items(items)) => items,
            _ => &[],
        }
    }
}

impl FromIterator<(Tag, Element)> for Dataset {
    fn from_iter<I: IntoIterator<Item = (Tag, Element)>>(elements: I) -> Self {
        Self { elements: elements.into_iter().collect() }
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dataset({} attributes)", self.elements.len())
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Element({})", self.vr)
    }
}

#[cfg(test)]
mod tests;
