//! Identifiers with sequences, as worklists have them: read with all their items, and written (PS3.5 section 7.5, PS3.4 section K.6.1.2).

use super::identifier::{element, vr_of};
use crate::dicom::attributes::SPECIFIC_CHARACTER_SET;
use crate::dicom::charset::Charset;
use crate::dicom::dictionary::{Representation, representation};
use crate::dicom::tag::Tag;
use crate::dicom::vr::Vr;
use crate::dicom::walk::{Element, Event, StructureError, Syntax, Walker};
use std::collections::BTreeMap;

/// Elements and items of one identifier.
const MAX_ELEMENTS: u64 = 4096;
/// Sequences within one another.
const MAX_DEPTH: u32 = 8;

/// A data set, or an item of one, with its values and items. `Debug` is not derived: it names a patient.
#[derive(Clone, Default)]
pub struct Set {
    values: BTreeMap<Tag, Vec<u8>>,
    items: BTreeMap<Tag, Vec<Set>>,
    charset: Charset,
}

/// A value that is no text in its character set, or whose character set nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoText;

impl Set {
    /// Reads an identifier in little endian; text of which no character set is declared is in `undeclared`. Errors if it is no whole
    /// data set, or over a limit: 4,096 elements, sequences 8 deep.
    pub fn read(mut bytes: &[u8], explicit: bool, undeclared: &Charset) -> Result<Self, StructureError> {
        let mut walker = Walker::new(Syntax { explicit, big: false }, MAX_DEPTH, MAX_ELEMENTS);
        let (mut above, mut open): (Vec<Set>, Vec<Tag>) = (Vec::new(), Vec::new());
        let (mut set, mut at) = (Set::default(), None);
        while let Some(event) = walker.next(&mut bytes)? {
            match event {
                Event::Element(element) => {
                    at = (!is_sequence(&element)).then_some(element.tag);
                    match at {
                        Some(tag) => drop(set.values.insert(tag, Vec::new())),
                        None => {
                            walker.descend()?;
                            open.push(element.tag);
                        }
                    }
                }
                Event::Value(slice) => {
                    if let Some(value) = at.and_then(|tag| set.values.get_mut(&tag)) {
                        value.extend_from_slice(slice);
                    }
                }
                Event::Item(_) => above.push(std::mem::take(&mut set)),
                Event::ItemEnd { .. } => {
                    let outer = above.pop().unwrap_or_default();
                    let item = std::mem::replace(&mut set, outer);
                    if let Some(tag) = open.last() {
                        set.items.entry(*tag).or_default().push(item);
                    }
                }
                Event::SequenceEnd { .. } => drop(open.pop()),
                _ => {}
            }
        }
        walker.finish()?;
        set.declare(undeclared);
        Ok(set)
    }

    /// An item is in the character set of what holds it, unless it declares one.
    fn declare(&mut self, outer: &Charset) {
        let own = self.values.get(&SPECIFIC_CHARACTER_SET).map(|value| Charset::declared(value));
        self.charset = own.filter(|own| !own.terms.is_empty()).unwrap_or_else(|| outer.clone());
        for item in self.items.values_mut().flatten() {
            item.declare(&self.charset);
        }
    }

    /// The text of a value without padding, what cannot be decoded as U+FFFD; empty if it is absent.
    pub fn text(&self, tag: Tag) -> String {
        let Some(value) = self.values.get(&tag) else { return String::new() };
        let text = match vr_of(tag) {
            vr if vr.is_text() => self.charset.decode(value),
            _ => Charset::default().decode(value),
        };
        text.trim_matches([' ', '\0']).to_owned()
    }

    /// The same of a value by which somebody or something is known: an error where a letter of it is in doubt.
    pub fn certain(&self, tag: Tag) -> Result<String, NoText> {
        let text = self.text(tag);
        if text.contains(char::REPLACEMENT_CHARACTER) { Err(NoText) } else { Ok(text) }
    }

    /// The items of a sequence; none if it is absent.
    pub fn items(&self, tag: Tag) -> &[Set] {
        self.items.get(&tag).map_or(&[], Vec::as_slice)
    }
}

/// Whether items follow; fragments, which no identifier has, are passed over as such.
fn is_sequence(element: &Element) -> bool {
    let known = representation(element.tag) == Representation::Exactly(Vr::SQ);
    element.length.is_none() || element.vr == Some(Vr::SQ) || known
}

/// A key of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A value in the default repertoire; empty asks for whatever is there.
    Value(String),
    /// A sequence with one item.
    Item(BTreeMap<Tag, Key>),
}

/// Writes the keys of a request in little endian; its length is even.
pub fn write(keys: &BTreeMap<Tag, Key>, explicit: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (tag, key) in keys {
        let value = match key {
            Key::Value(text) => text.clone().into_bytes(),
            Key::Item(inner) => {
                let inner = write(inner, explicit);
                let mut item = vec![0xFE, 0xFF, 0x00, 0xE0];
                item.extend((inner.len() as u32).to_le_bytes());
                item.extend(inner);
                item
            }
        };
        element(&mut out, *tag, value, explicit);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicom::attributes::{ACCESSION_NUMBER, MODALITY, PATIENT_ID};

    const STEPS: Tag = Tag::new(0x0040, 0x0100);
    const CODES: Tag = Tag::new(0x0040, 0x0008);
    const MEANING: Tag = Tag::new(0x0008, 0x0104);

    fn value(text: &str) -> Key {
        Key::Value(text.into())
    }

    /// What is written is read, in both syntaxes, items within items included.
    #[test]
    fn items_within_items_are_written_and_read() {
        let code = Key::Item(BTreeMap::from([(MEANING, value("Chest"))]));
        let step = Key::Item(BTreeMap::from([(MODALITY, value("CT")), (CODES, code)]));
        let keys = BTreeMap::from([(ACCESSION_NUMBER, value("A7")), (STEPS, step), (PATIENT_ID, value(""))]);
        for explicit in [false, true] {
            let bytes = write(&keys, explicit);
            let set = Set::read(&bytes, explicit, &Charset::default()).unwrap();
            assert_eq!((set.text(ACCESSION_NUMBER), set.text(PATIENT_ID)), ("A7".into(), String::new()));
            assert_eq!(set.items(CODES).len(), 0, "what stands deeper is not taken for the top");
            let [step] = set.items(STEPS) else { unreachable!("one item") };
            assert_eq!((step.text(MODALITY), step.text(PATIENT_ID)), ("CT".into(), String::new()));
            assert_eq!(step.items(CODES)[0].text(MEANING), "Chest");
            for cut in 1..bytes.len() {
                let _ = Set::read(&bytes[..cut], explicit, &Charset::default());
            }
            assert!(Set::read(&bytes[..bytes.len() - 1], explicit, &Charset::default()).is_err());
        }
    }

    /// Sequences and items that end by a delimiter are read like those with a length; an empty sequence has no items.
    #[test]
    fn delimiters_end_items_too() {
        let mut bytes = vec![0x40, 0x00, 0x08, 0x00, 0, 0, 0, 0];
        bytes.extend([0x40, 0x00, 0x00, 0x01, 0xFF, 0xFF, 0xFF, 0xFF]);
        for modality in [b"CT", b"MR"] {
            bytes.extend([0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
            bytes.extend([0x08, 0x00, 0x60, 0x00, 2, 0, 0, 0]);
            bytes.extend(modality);
            bytes.extend([0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0]);
        }
        bytes.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        element(&mut bytes, Tag::new(0x0040, 0x1001), b"RP1".to_vec(), false);
        let set = Set::read(&bytes, false, &Charset::default()).unwrap();
        let modalities: Vec<String> = set.items(STEPS).iter().map(|step| step.text(MODALITY)).collect();
        assert_eq!(modalities, ["CT", "MR"]);
        assert_eq!((set.text(Tag::new(0x0040, 0x1001)).as_str(), set.items(CODES).len()), ("RP1", 0));
    }

    /// A value that somebody is known by is not guessed: an unknown or wrong character set is an error where it matters.
    #[test]
    fn what_is_in_doubt_is_no_certain_text() {
        let read = |charset: &str, id: &[u8], undeclared: &str| {
            let mut bytes = Vec::new();
            element(&mut bytes, SPECIFIC_CHARACTER_SET, charset.as_bytes().to_vec(), false);
            element(&mut bytes, PATIENT_ID, id.to_vec(), false);
            let undeclared = Charset::declared(undeclared.as_bytes());
            Set::read(&bytes, false, &undeclared).unwrap().certain(PATIENT_ID)
        };
        type Row = (&'static str, &'static [u8], &'static str, Result<&'static str, NoText>);
        let rows: [Row; 7] = [
            ("", b"R7", "", Ok("R7")),
            ("ISO_IR 999", b"R7", "", Ok("R7")),
            ("ISO_IR 999", b"R\xDC7", "", Err(NoText)),
            ("ISO_IR 100", b"R\xDC7", "", Ok("R\u{dc}7")),
            ("ISO_IR 192", b"R\xDC7", "", Err(NoText)),
            ("ISO_IR 192", "R\u{dc}7".as_bytes(), "", Ok("R\u{dc}7")),
            ("", b"R\xC47", "ISO_IR 144", Ok("R\u{424}7")),
        ];
        for (charset, id, undeclared, want) in rows {
            assert_eq!(read(charset, id, undeclared), want.map(str::to_owned), "{charset}");
        }
    }
}
