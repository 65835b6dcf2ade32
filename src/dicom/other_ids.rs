//! Other Patient IDs Sequence (0010,1002): the further numbers of a patient, each with its issuer, gathered as a data set passes (IDY-041).
//!
//! What is too long, too much or malformed in it is left out; it never makes a data set unacceptable.

#[cfg(test)]
mod tests;

use super::attributes::{ISSUER_OF_PATIENT_ID, ISSUER_QUALIFIERS, OTHER_PATIENT_IDS, PATIENT_ID, UNIVERSAL_ENTITY};
use super::charset::Charset;
use super::nhs_number;
use super::tag::Tag;
use super::walk::{Element, Event, Syntax, Walker};
use std::fmt;

/// Items that are kept.
const MOST: usize = 16;
/// Bytes of one value.
const VALUE_BYTES: usize = 256;
/// Bytes of a sequence of defined length that is looked into.
const SEQUENCE_BYTES: usize = 16 << 10;
/// Elements that are walked in one.
const ELEMENTS: u64 = 4096;

/// A number of a patient and who issued it. `Debug` prints neither.
#[derive(Clone, PartialEq, Eq)]
pub struct OtherId {
    /// The number.
    pub id: String,
    /// Its issuer, `NHS` where Universal Entity ID says so; empty if nothing is said.
    pub issuer: String,
}

impl fmt::Debug for OtherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OtherId")
    }
}

/// Which value of an item.
#[derive(Clone, Copy)]
enum Field {
    Id,
    Issuer,
    Entity,
}

#[derive(Default)]
struct Item {
    id: Vec<u8>,
    issuer: Vec<u8>,
    entity: Vec<u8>,
}

/// What is found while a data set is walked.
pub(super) struct Gatherer {
    syntax: Syntax,
    /// Open sequences, this one included; 0 outside it.
    depth: u32,
    in_qualifiers: bool,
    /// A sequence of defined length in hand, with its header.
    whole: Option<Vec<u8>>,
    field: Option<(Field, Vec<u8>)>,
    items: Vec<Item>,
    /// Items that were too many are passed over.
    overfull: bool,
}

impl Gatherer {
    pub(super) fn new(syntax: Syntax) -> Self {
        let (whole, field, items) = (None, None, Vec::new());
        Self { syntax, depth: 0, in_qualifiers: false, whole, field, items, overfull: false }
    }

    /// Whether the walk is inside the sequence.
    pub(super) fn is_open(&self) -> bool {
        self.depth > 0 || self.whole.is_some()
    }

    /// The sequence begins; `header` is its header as written.
    pub(super) fn begin(&mut self, element: Element, header: &[u8]) {
        match element.length {
            None => self.depth = 1,
            Some(_) => self.hold(element, header),
        }
    }

    /// Keeps a sequence of defined length, to look into it when it is complete: a fault in it must not end the walk.
    fn hold(&mut self, element: Element, header: &[u8]) {
        let short = element.length.is_some_and(|length| length as usize <= SEQUENCE_BYTES);
        self.whole = Some(if short { header.to_vec() } else { Vec::new() });
    }

    /// What the walk met inside the sequence; `header` is that of the last element.
    pub(super) fn take(&mut self, event: &Event<'_>, header: &[u8]) {
        match *event {
            Event::Value(slice) => {
                if let Some(whole) = self.whole.as_mut().filter(|whole| !whole.is_empty()) {
                    whole.extend_from_slice(slice);
                } else if let Some((_, value)) = &mut self.field {
                    value.extend_from_slice(slice);
                }
            }
            Event::ValueEnd => match self.whole.take() {
                Some(whole) => self.look_into(&whole),
                None => self.end_value(),
            },
            Event::Element(element) if element.length.is_none() => self.open(element.tag),
            Event::Element(element) if self.depth == 1 && element.tag == ISSUER_QUALIFIERS => {
                self.hold(element, header)
            }
            Event::Element(element) => self.begin_value(element),
            Event::Item(_) if self.depth == 1 => {
                self.overfull = self.items.len() == MOST;
                if !self.overfull {
                    self.items.push(Item::default());
                }
            }
            Event::SequenceEnd { .. } => {
                self.depth = self.depth.saturating_sub(1);
                self.in_qualifiers = false;
            }
            _ => {}
        }
    }

    fn open(&mut self, tag: Tag) {
        self.depth += 1;
        self.in_qualifiers = self.depth == 2 && tag == ISSUER_QUALIFIERS;
    }

    fn begin_value(&mut self, element: Element) {
        let field = match (self.depth, element.tag) {
            (1, PATIENT_ID) => Field::Id,
            (1, ISSUER_OF_PATIENT_ID) => Field::Issuer,
            (2, UNIVERSAL_ENTITY) if self.in_qualifiers => Field::Entity,
            _ => return,
        };
        let short = element.length.is_some_and(|length| length as usize <= VALUE_BYTES);
        self.field = (short && !self.overfull).then(|| (field, Vec::new()));
    }

    fn end_value(&mut self) {
        let (Some((field, value)), Some(item)) = (self.field.take(), self.items.last_mut()) else { return };
        match field {
            Field::Id => item.id = value,
            Field::Issuer => item.issuer = value,
            Field::Entity => item.entity = value,
        }
    }

    /// Walks a whole sequence by itself, as far as it can be read.
    fn look_into(&mut self, whole: &[u8]) {
        let (outside, mut input) = (self.depth, whole);
        let mut walker = Walker::new(self.syntax, 4, ELEMENTS);
        while let Ok(Some(event)) = walker.next(&mut input) {
            match event {
                Event::Element(element)
                    if element.length.is_some() && [OTHER_PATIENT_IDS, ISSUER_QUALIFIERS].contains(&element.tag) =>
                {
                    if walker.descend().is_err() {
                        break;
                    }
                    self.open(element.tag);
                }
                event => self.take(&event, walker.raw_header()),
            }
        }
        // Whatever was left open in it ends with it.
        (self.depth, self.in_qualifiers, self.field, self.whole) = (outside, false, None, None);
    }

    /// The numbers that were found, decoded; those that are empty or no text are left out.
    pub(super) fn finish(self, charset: &Charset) -> Vec<OtherId> {
        let read = |bytes: &[u8]| {
            let text = charset.decode(bytes);
            let text = text.trim_matches([' ', '\0']);
            let plain = text.chars().count() <= 64 && !text.contains(|c: char| c.is_control() || c == '\\');
            plain.then(|| text.to_owned())
        };
        let id = |item: Item| {
            let entity = read(&item.entity).unwrap_or_default();
            let issuer = if nhs_number::is_issuer(&entity) { "NHS".to_owned() } else { read(&item.issuer)? };
            let issuer = if issuer.is_empty() { entity } else { issuer };
            Some(OtherId { id: read(&item.id)?, issuer })
        };
        self.items.into_iter().filter_map(id).filter(|other| !other.id.is_empty()).collect()
    }
}
