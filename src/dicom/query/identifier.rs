//! Identifiers of C-FIND, C-GET and C-MOVE: read into their keys, written from values (PS3.4 sections C.4.1.1.3 and C.4.2.1.4).

use crate::dicom::attributes::SPECIFIC_CHARACTER_SET;
use crate::dicom::charset::Charset;
use crate::dicom::dictionary::{Representation, representation};
use crate::dicom::tag::Tag;
use crate::dicom::vr::Vr;
use crate::dicom::walk::{Event, StructureError, Syntax, Walker};
use std::collections::BTreeMap;

/// Keys and items that an identifier may have.
const MAX_ELEMENTS: u64 = 4096;
/// Sequences within one another.
const MAX_DEPTH: u32 = 8;
/// UTF-8, which holds every text.
const UNICODE: &str = "ISO_IR 192";

/// A key of an identifier. `Debug` prints no value (SEC-010).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Key {
    /// The value as it came; empty for a sequence.
    pub value: Vec<u8>,
    /// It is a sequence.
    pub sequence: bool,
    /// An item of the sequence asks for a value: not empty, and not any.
    pub wanted: bool,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({} bytes)", self.value.len())
    }
}

/// An identifier that was read: its top-level keys, and the character set of their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identifier {
    /// The keys by tag; of one that stands twice the last.
    pub keys: BTreeMap<Tag, Key>,
    /// What (0008,0005) declares; else what the values are found to be in.
    pub charset: Charset,
}

impl Identifier {
    /// Reads an identifier in little endian. Errors if it is no whole data set, or over a limit.
    pub fn read(bytes: &[u8], explicit: bool) -> Result<Self, StructureError> {
        Self::read_from(bytes, explicit, &Charset::default())
    }

    /// The same from a party whose text that declares nothing, and is not UTF-8, is in `undeclared`.
    pub fn read_from(mut bytes: &[u8], explicit: bool, undeclared: &Charset) -> Result<Self, StructureError> {
        let mut walker = Walker::new(Syntax { explicit, big: false }, MAX_DEPTH, MAX_ELEMENTS);
        let mut keys: BTreeMap<Tag, Key> = BTreeMap::new();
        let mut top = SPECIFIC_CHARACTER_SET;
        let mut asks = false;
        while let Some(event) = walker.next(&mut bytes)? {
            match event {
                Event::Element(element) => {
                    asks = can_ask(element.tag);
                    let known = representation(element.tag) == Representation::Exactly(Vr::SQ);
                    let sequence = element.length.is_none() || element.vr == Some(Vr::SQ) || known;
                    if element.top {
                        top = element.tag;
                        keys.insert(top, Key { sequence, ..Key::default() });
                    }
                    if sequence && element.length.is_some() {
                        walker.descend()?;
                    }
                }
                Event::Value(slice) => match keys.get_mut(&top) {
                    Some(key) if key.sequence => {
                        key.wanted |= asks && slice.iter().any(|byte| !b" *\0".contains(byte));
                    }
                    Some(key) => key.value.extend_from_slice(slice),
                    None => {}
                },
                _ => {}
            }
        }
        walker.finish()?;
        let declared = keys.get(&SPECIFIC_CHARACTER_SET).map(|key| Charset::declared(&key.value)).unwrap_or_default();
        let charset = if declared.terms.is_empty() { found(&keys, undeclared) } else { declared };
        Ok(Self { keys, charset })
    }

    /// The text of a key without padding, several values joined by backslashes; `None` if it is absent or a sequence.
    pub fn text(&self, tag: Tag) -> Option<String> {
        let key = self.keys.get(&tag).filter(|key| !key.sequence)?;
        let text = match vr_of(tag) {
            Vr::PN => self.charset.decode_name(&key.value),
            Vr::US => {
                let numbers = key.value.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]).to_string());
                numbers.collect::<Vec<_>>().join("\\")
            }
            vr if vr.is_text() => self.charset.decode(&key.value),
            _ => Charset::default().decode(&key.value),
        };
        Some(text.trim_matches([' ', '\0']).to_owned())
    }
}

/// Whether a value of this attribute in an item asks for something. A group length is to be ignored (PS3.5 section 7.2); a character set and a
/// private creator only say how the others are to be read (PS3.5 sections 6.1.2.3 and 7.8.1).
fn can_ask(tag: Tag) -> bool {
    let creator = tag.is_private() && (0x0010..=0x00FF).contains(&tag.element());
    tag.element() != 0 && tag != SPECIFIC_CHARACTER_SET && !creator
}

/// What values are in where nothing is declared: UTF-8, if they are beyond ASCII and all of them are whole in it, for so
/// `odil find` sends what is typed on a terminal; else `undeclared`. Of ASCII nothing is known.
fn found(keys: &BTreeMap<Tag, Key>, undeclared: &Charset) -> Charset {
    let beyond = keys.values().any(|key| !key.value.is_ascii());
    let whole = keys.values().all(|key| std::str::from_utf8(&key.value).is_ok());
    match (beyond, whole) {
        (false, _) => Charset::default(),
        (true, true) => Charset { terms: vec![UNICODE.into()] },
        // Whoever is said to send UTF-8 has sent something else: what the field writes most.
        (true, false) if undeclared.terms.iter().any(|term| &**term == UNICODE) => Charset::declared(b"ISO_IR 100"),
        (true, false) => undeclared.clone(),
    }
}

/// The value representation of an attribute in the dictionary; UN if it has none of its own.
pub fn vr_of(tag: Tag) -> Vr {
    match representation(tag) {
        Representation::Exactly(vr) => vr,
        _ => Vr::UN,
    }
}

/// Writes an identifier in little endian, in the asker's character set if that holds every value, else in UTF-8 ("Text" in
/// docs/ARCHITECTURE.md; DIM-068). (0008,0005) is written where a value needs it, and must not be among the values.
pub fn write(values: &BTreeMap<Tag, String>, asker: &Charset, explicit: bool) -> Vec<u8> {
    // Plain text declares nothing; the last always holds.
    let choices = [Charset::default(), asker.clone(), Charset { terms: vec![UNICODE.into()] }];
    let fitting = choices.into_iter().find_map(|charset| encoded(values, &charset).map(|elements| (charset, elements)));
    let (charset, mut elements) = fitting.unwrap_or_default();
    if !charset.terms.is_empty() {
        elements.insert(SPECIFIC_CHARACTER_SET, charset.terms.join("\\").into_bytes());
    }
    let mut out = Vec::new();
    for (tag, value) in elements {
        element(&mut out, tag, value, explicit);
    }
    out
}

fn encoded(values: &BTreeMap<Tag, String>, charset: &Charset) -> Option<BTreeMap<Tag, Vec<u8>>> {
    let one = |(tag, text): (&Tag, &String)| {
        let bytes = match vr_of(*tag) {
            Vr::PN => charset.encode_name(text)?,
            // What is no number has no bytes.
            Vr::US => text.split('\\').filter_map(|number| number.parse().ok()).flat_map(u16::to_le_bytes).collect(),
            vr if vr.is_text() => charset.encode(text)?,
            // Outside the reach of the character set (PS3.5 section 6.1.2.3).
            _ => text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' }).collect(),
        };
        Some((*tag, bytes))
    };
    values.iter().map(one).collect()
}

/// Writes one element, padded to even length.
pub(super) fn element(out: &mut Vec<u8>, tag: Tag, mut value: Vec<u8>, explicit: bool) {
    let vr = vr_of(tag);
    if value.len() % 2 == 1 {
        value.push(if vr == Vr::UI { 0 } else { b' ' });
    }
    out.extend(tag.group().to_le_bytes());
    out.extend(tag.element().to_le_bytes());
    match (explicit, vr.has_long_length()) {
        (false, _) => out.extend((value.len() as u32).to_le_bytes()),
        (true, true) => {
            out.extend(vr.0);
            out.extend([0, 0]);
            out.extend((value.len() as u32).to_le_bytes());
        }
        (true, false) => {
            // What no short length can say is not said in part: values of the index are far shorter.
            value.truncate(usize::from(u16::MAX) - 1);
            out.extend(vr.0);
            out.extend((value.len() as u16).to_le_bytes());
        }
    }
    out.extend(value);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicom::attributes::{COLUMNS, PATIENT_ID, PATIENT_NAME, ROWS, STUDY_INSTANCE_UID};

    /// DIM-068: the answer is in the asker's character set where that holds it, and never declares an empty one.
    #[test]
    fn identifiers_are_written_in_the_askers_character_set_or_in_utf_8() {
        let rows = [
            ("", "Smith^John", ""),
            ("ISO_IR 100", "Smith^John", ""),
            ("ISO_IR 100", "Müller^Jörg", "ISO_IR 100"),
            ("ISO_IR 100", "山田^太郎", "ISO_IR 192"),
            ("", "Müller^Jörg", "ISO_IR 192"),
            ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎", "\\ISO 2022 IR 87"),
            ("\\ISO 2022 IR 87", "Müller", "ISO_IR 192"),
        ];
        for explicit in [false, true] {
            for (asked, name, want) in rows {
                let values = BTreeMap::from([
                    (PATIENT_NAME, name.to_owned()),
                    (PATIENT_ID, "7".to_owned()),
                    (STUDY_INSTANCE_UID, "1.2.3".to_owned()),
                ]);
                let bytes = write(&values, &Charset::declared(asked.as_bytes()), explicit);
                let read = Identifier::read(&bytes, explicit).unwrap();
                assert_eq!(read.charset, Charset::declared(want.as_bytes()), "{name} for {asked:?}");
                assert_eq!(read.keys.contains_key(&SPECIFIC_CHARACTER_SET), !want.is_empty());
                assert_eq!(read.text(PATIENT_NAME).as_deref(), Some(name));
                assert_eq!(read.text(STUDY_INSTANCE_UID).as_deref(), Some("1.2.3"));
            }
        }
    }

    /// DIM-068: what a terminal in UTF-8 sends undeclared is found; what is not UTF-8 is ISO_IR 100 as ever.
    #[test]
    fn undeclared_text_is_utf_8_if_all_of_it_is() {
        let rows: [(&[u8], &[u8], &str); 5] = [
            ("Müller^Jörg".as_bytes(), b"CT", "Müller^Jörg"),
            (b"M\xfcller", b"CT", "Müller"),
            ("Müller".as_bytes(), b"M\xfcller", "MÃ¼ller"),
            ("山田".as_bytes(), b"", "山田"),
            (b"Smith", b"", "Smith"),
        ];
        for (name, id, want) in rows {
            for declared in [None, Some(b"".to_vec())] {
                let mut bytes = Vec::new();
                if let Some(declared) = declared {
                    element(&mut bytes, SPECIFIC_CHARACTER_SET, declared, false);
                }
                element(&mut bytes, PATIENT_NAME, name.to_vec(), false);
                element(&mut bytes, PATIENT_ID, id.to_vec(), false);
                assert_eq!(Identifier::read(&bytes, false).unwrap().text(PATIENT_NAME).as_deref(), Some(want));
            }
        }
        let mut bytes = Vec::new();
        element(&mut bytes, SPECIFIC_CHARACTER_SET, b"ISO_IR 144".to_vec(), false);
        element(&mut bytes, PATIENT_NAME, "Ї".as_bytes().to_vec(), false);
        assert_ne!(Identifier::read(&bytes, false).unwrap().text(PATIENT_NAME).as_deref(), Some("Ї"));
    }

    /// DIM-068: what is beyond ASCII, not UTF-8, and undeclared is in the character set of whoever sent it; what is declared is in that.
    #[test]
    fn undeclared_text_is_in_the_character_set_of_its_sender() {
        let rows: [(&str, &[u8], &str, &str); 5] = [
            ("", b"\xB8\xD2\xD0\xDD", "ISO_IR 144", "Иван"),
            ("ISO_IR 100", b"M\xfcller", "ISO_IR 100", "Müller"),
            ("", b"M\xA8\xB9ller", "GB18030", "Müller"),
            ("", "Иван".as_bytes(), "ISO_IR 192", "Иван"),
            ("", b"Ivan", "", "Ivan"),
        ];
        for (declared, name, charset, want) in rows {
            let mut bytes = Vec::new();
            element(&mut bytes, SPECIFIC_CHARACTER_SET, declared.as_bytes().to_vec(), false);
            element(&mut bytes, PATIENT_NAME, name.to_vec(), false);
            let sender = if charset == "GB18030" { charset } else { "ISO_IR 144" };
            let read = Identifier::read_from(&bytes, false, &Charset::declared(sender.as_bytes())).unwrap();
            assert_eq!(read.text(PATIENT_NAME).as_deref(), Some(want));
            assert_eq!(read.charset, Charset::declared(charset.as_bytes()), "{want}");
        }
        // Of one who is said to send UTF-8, what is none is read as ever.
        let mut bytes = Vec::new();
        element(&mut bytes, PATIENT_NAME, b"M\xfcller".to_vec(), false);
        let read = Identifier::read_from(&bytes, false, &Charset::declared(b"ISO_IR 192")).unwrap();
        assert_eq!(read.text(PATIENT_NAME).as_deref(), Some("Müller"));
    }

    /// DIM-061: a number is written and read as one, in both representations.
    #[test]
    fn numbers_are_written_and_read_as_such() {
        for explicit in [false, true] {
            let values = BTreeMap::from([(ROWS, "512".to_owned()), (COLUMNS, String::new())]);
            let bytes = write(&values, &Charset::default(), explicit);
            assert_eq!(bytes.len(), 8 + 2 + 8);
            let read = Identifier::read(&bytes, explicit).unwrap();
            assert_eq!((read.text(ROWS).as_deref(), read.text(COLUMNS).as_deref()), (Some("512"), Some("")));
        }
    }

    #[test]
    fn keys_within_sequences_are_not_taken_for_keys() {
        let mut bytes = Vec::new();
        // Request Attributes Sequence with one item that holds a Patient ID, then a Patient ID.
        bytes.extend([0x40, 0x00, 0x75, 0x02, 0x12, 0, 0, 0]);
        bytes.extend([0xFE, 0xFF, 0x00, 0xE0, 0x0A, 0, 0, 0]);
        element(&mut bytes, PATIENT_ID, b"in".to_vec(), false);
        let whole = bytes.clone();
        let read = Identifier::read(&whole, false).unwrap();
        let request = &read.keys[&Tag::new(0x0040, 0x0275)];
        assert!(request.sequence && request.wanted && request.value.is_empty());
        assert!(Identifier::read(&whole[..whole.len() - 1], false).is_err());
        assert!(Identifier::read(b"nonsense that is long enough", true).is_err());
    }

    /// DIM-066: a sequence asks for something if a value stands in one of its items, at whatever depth; what stands for any value does not.
    #[test]
    fn it_is_known_whether_a_sequence_asks_for_something() {
        let item = |bytes: &[u8]| [&[0xFE, 0xFF, 0x00, 0xE0, bytes.len() as u8, 0, 0, 0], bytes].concat();
        let sequence = |bytes: &[u8]| [&[0x40, 0x00, 0x75, 0x02, bytes.len() as u8, 0, 0, 0], bytes].concat();
        let one = |tag: Tag, value: &[u8]| {
            let mut bytes = Vec::new();
            element(&mut bytes, tag, value.to_vec(), false);
            bytes
        };
        let key = |value: &[u8]| one(PATIENT_ID, value);
        let creator = one(Tag::new(0x0041, 0x0010), b"ACME");
        let rows = [
            (item(&one(Tag::new(0x0010, 0x0000), &[8, 0, 0, 0])), false),
            (item(&one(SPECIFIC_CHARACTER_SET, b"ISO_IR 100")), false),
            (item(&[one(SPECIFIC_CHARACTER_SET, b"ISO_IR 100"), key(b"7")].concat()), true),
            (item(&creator), false),
            (item(&[creator, one(Tag::new(0x0041, 0x1010), b"7")].concat()), true),
            (vec![], false),
            (item(&[]), false),
            (item(&key(b"")), false),
            (item(&key(b"* ")), false),
            (item(&key(b"7")), true),
            ([item(&[]), item(&key(b"a*"))].concat(), true),
            (item(&sequence(&item(&key(b"")))), false),
            (item(&sequence(&item(&key(b"7")))), true),
        ];
        for (items, want) in rows {
            let read = Identifier::read(&sequence(&items), false).unwrap();
            assert_eq!(read.keys[&Tag::new(0x0040, 0x0275)].wanted, want, "{items:?}");
        }
    }
}
