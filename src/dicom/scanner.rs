//! The scanner: reads the head of a data set as it streams past, and proves that it is whole to its last byte.
//!
//! It collects the attributes of [`INDEXED`] and passes over everything else by its length, so that its cost does not
//! grow with pixel data and its memory not with anything.
//!
//! What a data set loses when it is cut exactly between two elements of its top level, or between two fragments of
//! encapsulated pixel data, no reader can miss: the encoding has no end mark. Every other cut is an error, but for the
//! first one to seven bytes of an element when they are all zero, which count as padding.

#[cfg(test)]
mod tests;

use super::attributes::{
    INDEXED, OTHER_PATIENT_IDS, REQUEST_ATTRIBUTES, SERIES_INSTANCE_UID, SOP_CLASS_UID, SOP_INSTANCE_UID,
    SPECIFIC_CHARACTER_SET, STUDY_INSTANCE_UID,
};
use super::charset::Charset;
use super::head::{Attributes, Head};
use super::inflate::{InflateError, Inflater};
use super::other_ids::Gatherer;
use super::requests;
use super::tag::Tag;
use super::transfer_syntax::{Encoding, encoding};
use super::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid, UidError};
use super::vr::Vr;
pub use super::walk::StructureError;
use super::walk::{Element, Event, Syntax, Walker, within};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What a data set may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sequences within one another.
    pub depth: u32,
    /// Bytes of one indexed value. One that only describes and is longer is not indexed.
    pub value_bytes: usize,
    /// Elements and items that are walked; those inside a sequence of defined length are not.
    pub elements: u64,
    /// Bytes that a deflated data set may have when inflated. Deflate makes at most about 1,000 bytes of one, so that
    /// one push costs at most 1,000 times its length.
    pub inflated_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 64, value_bytes: 16 * 1024, elements: 100_000_000, inflated_bytes: 8 << 30 }
    }
}

/// Why a data set is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The bytes end inside an element, an item, a sequence or the deflated stream.
    #[error("the data set is cut short{}", within(.tag))]
    Truncated {
        /// The last element whose header was whole.
        tag: Option<Tag>,
    },
    /// The bytes are not a data set in the transfer syntax.
    #[error("the data set is malformed{}: {why}", within(.tag))]
    Malformed {
        /// The last element whose header was whole.
        tag: Option<Tag>,
        /// What is wrong, for people.
        why: &'static str,
    },
    /// Sequences are nested deeper than [`Limits::depth`].
    #[error("sequences are nested too deeply{}", within(.tag))]
    TooDeep {
        /// The sequence that went too deep.
        tag: Option<Tag>,
    },
    /// A value that identifies, the number of elements, or the inflated data set is larger than [`Limits`] allows.
    #[error("the data set goes over a limit{}: {what}", within(.tag))]
    TooLarge {
        /// The element at which it was.
        tag: Option<Tag>,
        /// Which limit, for people.
        what: &'static str,
    },
    /// A UID without which an instance has no identity or place is absent, empty, or no UID (PS3.4 section B.2.3).
    #[error("the data set has no usable {tag}")]
    Missing {
        /// SOP Class, SOP Instance, Study Instance or Series Instance UID.
        tag: Tag,
    },
}

impl ScanError {
    /// The element to name in Offending Element (0000,0901).
    pub fn tag(&self) -> Option<Tag> {
        match *self {
            Self::Truncated { tag }
            | Self::Malformed { tag, .. }
            | Self::TooDeep { tag }
            | Self::TooLarge { tag, .. } => tag,
            Self::Missing { tag } => Some(tag),
        }
    }
}

impl From<StructureError> for ScanError {
    fn from(error: StructureError) -> Self {
        match error {
            StructureError::Truncated { tag } => Self::Truncated { tag },
            StructureError::Malformed { tag, why } => Self::Malformed { tag, why },
            StructureError::TooDeep { tag } => Self::TooDeep { tag },
            StructureError::TooManyElements { tag } => Self::TooLarge { tag, what: "number of elements" },
        }
    }
}

impl From<InflateError> for ScanError {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::Corrupt => Self::Malformed { tag: None, why: "not a deflated stream" },
            InflateError::TooLarge => Self::TooLarge { tag: None, what: "inflated bytes" },
            InflateError::Truncated => Self::Truncated { tag: None },
        }
    }
}

/// A scan in progress. Any cutting of the bytes into pushes gives the same result; an error is final.
#[derive(Debug)]
pub struct Scanner {
    transfer_syntax: TransferSyntaxUid,
    inflater: Option<Inflater>,
    gathering: Gathering,
}

impl Scanner {
    /// A scan of one data set, without preamble and group 0002, in the transfer syntax `ts`.
    pub fn new(ts: &TransferSyntaxUid, limits: Limits) -> Self {
        let encoding = encoding(ts);
        let inflater = (encoding == Encoding::DeflatedExplicitLittle).then(|| Inflater::new(limits.inflated_bytes));
        let syntax = Syntax { explicit: encoding != Encoding::ImplicitLittle, big: encoding == Encoding::ExplicitBig };
        let walker = Walker::new(syntax, limits.depth, limits.elements);
        let (values, others, requests) = (BTreeMap::new(), Gatherer::new(syntax), requests::Gatherer::new(syntax));
        let (limit, big) = (limits.value_bytes, syntax.big);
        let gathering = Gathering { walker, values, current: None, limit, others, requests, big };
        Self { transfer_syntax: ts.clone(), inflater, gathering }
    }

    /// Takes the next bytes of the data set.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ScanError> {
        match &mut self.inflater {
            None => self.gathering.push(bytes),
            Some(inflater) => inflater.push(bytes, |inflated| self.gathering.push(inflated)),
        }
    }

    /// Says what the data set is, once all of it was pushed; an error if it is not whole or has no identity.
    pub fn finish(self) -> Result<Head, ScanError> {
        if let Some(inflater) = &self.inflater {
            inflater.finish()?;
        }
        self.gathering.walker.finish()?;
        let values = self.gathering.values;
        let charset = values.get(&SPECIFIC_CHARACTER_SET).map(|value| Charset::declared(value)).unwrap_or_default();
        Ok(Head {
            sop_class: uid(&values, SOP_CLASS_UID, SopClassUid::from_bytes)?,
            sop_instance: uid(&values, SOP_INSTANCE_UID, InstanceUid::from_bytes)?,
            study: uid(&values, STUDY_INSTANCE_UID, StudyUid::from_bytes)?,
            series: uid(&values, SERIES_INSTANCE_UID, SeriesUid::from_bytes)?,
            transfer_syntax: self.transfer_syntax,
            attributes: Attributes {
                values,
                other_ids: self.gathering.others.finish(&charset),
                requests: self.gathering.requests.finish(&charset),
                charset,
            },
        })
    }
}

fn uid<U>(
    values: &BTreeMap<Tag, Box<[u8]>>,
    tag: Tag,
    parse: impl FnOnce(&[u8]) -> Result<U, UidError>,
) -> Result<U, ScanError> {
    let missing = ScanError::Missing { tag };
    values.get(&tag).ok_or(missing).and_then(|value| parse(value).map_err(|_| missing))
}

/// The representation of the numbers among the indexed attributes.
const NUMBER: &str = "US";

/// Whether an attribute says whose an instance is, where it belongs, or how the others are to be read.
fn identifies(tag: Tag) -> bool {
    const ACCESSION: Tag = Tag::new(0x0008, 0x0050);
    let is_uid = INDEXED.iter().any(|indexed| indexed.tag == tag && indexed.vr == "UI");
    is_uid || tag.group() == 0x0010 || tag == SPECIFIC_CHARACTER_SET || tag == ACCESSION
}

/// The first number of a value, as text; nothing if it is none. It is read as what it is declared to be, which is not always US: in the
/// field Rows and Columns are found as text too.
fn number(value: &[u8], vr: Vr, big: bool) -> Vec<u8> {
    let pair =
        |big| value.first_chunk().map(|pair| if big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) });
    let number = match vr {
        Vr::US | Vr::SS | Vr::OW => pair(big).map(u32::from),
        Vr::UL | Vr::SL | Vr::OL => {
            value.first_chunk().map(|four| if big { u32::from_be_bytes(*four) } else { u32::from_le_bytes(*four) })
        }
        // Bytes that nobody turns round, as nobody knows what they are.
        vr if !vr.is_known() || matches!(vr, Vr::UN | Vr::OB) => pair(false).map(u32::from),
        vr if vr.word() == 1 => {
            let first = value.split(|byte| *byte == b'\\').next().and_then(|first| std::str::from_utf8(first).ok());
            first.and_then(|text| text.trim_matches([' ', '\0']).parse().ok())
        }
        _ => None,
    };
    number.map_or_else(Vec::new, |number| number.to_string().into_bytes())
}

/// The walk, and the indexed values that it met.
struct Gathering {
    walker: Walker,
    values: BTreeMap<Tag, Box<[u8]>>,
    /// The indexed value in hand, and what it is declared to be, if that is anything.
    current: Option<(Tag, Option<Vr>, Vec<u8>)>,
    limit: usize,
    /// The patient's further numbers.
    others: Gatherer,
    /// The requests for which the series was made.
    requests: requests::Gatherer,
    /// Numbers are big endian.
    big: bool,
}

impl std::fmt::Debug for Gathering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gathering({} values)", self.values.len())
    }
}

impl Gathering {
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), ScanError> {
        while let Some(event) = self.walker.next(&mut bytes)? {
            match event {
                Event::Element(element) if element.top && element.tag == OTHER_PATIENT_IDS => {
                    self.others.begin(element, self.walker.raw_header());
                }
                Event::Element(element) if element.top && element.tag == REQUEST_ATTRIBUTES => {
                    self.requests.begin(element, self.walker.raw_header());
                }
                Event::Element(element) if element.top => self.begin(element)?,
                event if self.requests.is_open() => self.requests.take(&event, self.walker.raw_header()),
                event if self.others.is_open() => self.others.take(&event, self.walker.raw_header()),
                Event::Value(slice) => {
                    if let Some((_, _, value)) = &mut self.current {
                        value.extend_from_slice(slice);
                    }
                }
                Event::ValueEnd => self.end()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, element: Element) -> Result<(), ScanError> {
        let tag = element.tag;
        if INDEXED.binary_search_by_key(&tag, |indexed| indexed.tag).is_err() {
            return Ok(());
        }
        if !identifies(tag) {
            // What only describes makes nothing unacceptable: of two the first counts, and what is no value, or too long for one, does not.
            let first = !self.values.contains_key(&tag);
            let fits = element.value_length().is_some_and(|length| length as usize <= self.limit);
            self.current = (first && fits).then(|| (tag, element.vr, Vec::new()));
            return Ok(());
        }
        let Some(length) = element.value_length() else {
            return Err(ScanError::Malformed { tag: Some(tag), why: "a sequence where a text should be" });
        };
        if length as usize > self.limit {
            return Err(ScanError::TooLarge { tag: Some(tag), what: "bytes of a value" });
        }
        self.current = Some((tag, element.vr, Vec::with_capacity(length as usize)));
        Ok(())
    }

    fn end(&mut self) -> Result<(), ScanError> {
        let Some((tag, vr, mut value)) = self.current.take() else { return Ok(()) };
        if INDEXED.iter().any(|indexed| indexed.tag == tag && indexed.vr == NUMBER) {
            value = number(&value, vr.filter(|vr| vr.is_letters()).unwrap_or(Vr::US), self.big);
        }
        // Readers differ in which of two they believe; identity must not depend on that. What only describes is taken as DCMTK takes it.
        match self.values.entry(tag) {
            Entry::Vacant(place) => {
                place.insert(value.into());
            }
            Entry::Occupied(first) if **first.get() != *value => {
                return Err(ScanError::Malformed { tag: Some(tag), why: "it is there twice, with different values" });
            }
            Entry::Occupied(_) => {}
        }
        Ok(())
    }
}
