//! How elements are written, and the item of Original Attributes Sequence that records a change (PS3.3 section C.12.1.1.9).

use super::super::charset::Charset;
use super::super::dictionary::{self, Representation};
use super::super::tag::Tag;
use super::super::vr::Vr;
use super::edits::{Content, Item};
use super::{Edits, LONGEST_LONG_STRING};
use std::time::SystemTime;

pub(super) const MODIFIED_ATTRIBUTES: Tag = Tag::new(0x0400, 0x0550);
const NONCONFORMING_ATTRIBUTES: Tag = Tag::new(0x0400, 0x0551);
const NONCONFORMING_VALUE: Tag = Tag::new(0x0400, 0x0552);
const MODIFICATION_DATE_TIME: Tag = Tag::new(0x0400, 0x0562);
pub(super) const MODIFYING_SYSTEM: Tag = Tag::new(0x0400, 0x0563);
const SOURCE_OF_PREVIOUS_VALUES: Tag = Tag::new(0x0400, 0x0564);
const REASON: Tag = Tag::new(0x0400, 0x0565);
/// Other Patient IDs, which may have several values.
const OTHER_IDS: Tag = Tag::new(0x0010, 0x1000);
const SELECTOR_ATTRIBUTE: Tag = Tag::new(0x0072, 0x0026);
const ITEM: Tag = Tag::new(0xFFFE, 0xE000);
/// The delimiter of a sequence, with its length (PS3.5 section 7.5.2).
pub(super) const SEQUENCE_END: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];

/// How elements are written: little endian, with or without their representation (PS3.5 sections 7.1.2 and 7.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) explicit: bool,
}

impl Form {
    /// Writes an element with its value, made even with the padding of its representation (PS3.5 section 6.2).
    pub(super) fn element(self, out: &mut Vec<u8>, tag: Tag, vr: Vr, value: &[u8]) {
        let length = value.len().next_multiple_of(2);
        write_tag(out, tag);
        // Every value here is far below the limits of either form; the caller holds them so.
        match (self.explicit, vr.has_long_length()) {
            (false, _) => out.extend_from_slice(&(length as u32).to_le_bytes()),
            (true, false) => {
                out.extend_from_slice(&vr.0);
                out.extend_from_slice(&(length as u16).to_le_bytes());
            }
            (true, true) => {
                out.extend_from_slice(&vr.0);
                out.extend_from_slice(&[0, 0]);
                out.extend_from_slice(&(length as u32).to_le_bytes());
            }
        }
        out.extend_from_slice(value);
        if value.len() < length {
            out.push(if matches!(vr, Vr::UI | Vr::OB) { 0 } else { b' ' });
        }
    }
}

impl Form {
    /// An item with its header. What the dictionary does not know is left out; nobody gives such.
    pub(super) fn item(self, item: &Item) -> Vec<u8> {
        let (mut content, mut out) = (Vec::new(), Vec::new());
        for (tag, element) in item {
            let Representation::Exactly(vr) = dictionary::representation(*tag) else { continue };
            match element {
                Content::Text(text) => self.element(&mut content, *tag, vr, text),
                Content::Items(items) => {
                    let items: Vec<u8> = items.iter().flat_map(|item| self.item(item)).collect();
                    self.element(&mut content, *tag, vr, &items);
                }
            }
        }
        write_item(&mut out, &content);
        out
    }
}

fn write_tag(out: &mut Vec<u8>, tag: Tag) {
    out.extend_from_slice(&tag.group().to_le_bytes());
    out.extend_from_slice(&tag.element().to_le_bytes());
}

fn write_item(out: &mut Vec<u8>, content: &[u8]) {
    write_tag(out, ITEM);
    out.extend_from_slice(&(content.len() as u32).to_le_bytes());
    out.extend_from_slice(content);
}

/// An attribute as it was.
#[derive(Clone, Copy)]
pub(super) struct Previous<'a> {
    pub(super) tag: Tag,
    pub(super) vr: Vr,
    /// Empty also if it was absent.
    pub(super) value: &'a [u8],
    /// The value is the whole element as it stood, its header included: a sequence.
    pub(super) whole: bool,
}

impl Previous<'_> {
    /// Tells whether the value may stand in the representation. Only those limits count that the field breaks: the number of
    /// characters, of values, and control characters (PS3.5 table 6.2-1). Every attribute that is changed here has one value, but for
    /// Other Patient IDs.
    fn conforms(&self, charset: &Charset) -> bool {
        let longest = match self.vr {
            Vr::SH => 16,
            Vr::LO => LONGEST_LONG_STRING,
            _ => return true,
        };
        let text = charset.decode(self.value);
        let fits = |text: &str| {
            let text = text.trim_matches([' ', '\0']);
            text.chars().count() <= longest && !text.contains(|c: char| c.is_control() || c == '\\')
        };
        if self.tag == OTHER_IDS { text.split('\\').all(fits) } else { fits(&text) }
    }
}

/// The item, header included: modification date and time, systems, reason, and the previous values. A value that its
/// representation does not allow is empty among them, and its bytes stand in Nonconforming Modified Attributes Sequence
/// (0400,0551).
pub(super) fn item<'a>(
    form: Form,
    previous: impl Iterator<Item = Previous<'a>>,
    charset: &Charset,
    edits: &Edits,
) -> Vec<u8> {
    let (mut modified, mut nonconforming) = (Vec::new(), Vec::new());
    for attribute in previous {
        let Previous { tag, vr, value, whole } = attribute;
        if whole {
            modified.extend_from_slice(value);
            continue;
        }
        if attribute.conforms(charset) {
            form.element(&mut modified, tag, vr, value);
            continue;
        }
        form.element(&mut modified, tag, vr, &[]);
        let (mut selector, mut kept) = (Vec::new(), Vec::new());
        write_tag(&mut selector, tag);
        form.element(&mut kept, SELECTOR_ATTRIBUTE, Vr::AT, &selector);
        form.element(&mut kept, NONCONFORMING_VALUE, Vr::OB, value);
        write_item(&mut nonconforming, &kept);
    }
    let (mut only, mut content, mut item) = (Vec::new(), Vec::new(), Vec::new());
    write_item(&mut only, &modified);
    form.element(&mut content, MODIFIED_ATTRIBUTES, Vr::SQ, &only);
    if !nonconforming.is_empty() {
        form.element(&mut content, NONCONFORMING_ATTRIBUTES, Vr::SQ, &nonconforming);
    }
    form.element(&mut content, MODIFICATION_DATE_TIME, Vr::DT, date_time(edits.at).as_bytes());
    form.element(&mut content, MODIFYING_SYSTEM, Vr::LO, label(&edits.system).as_bytes());
    form.element(&mut content, SOURCE_OF_PREVIOUS_VALUES, Vr::LO, label(&edits.source).as_bytes());
    form.element(&mut content, REASON, Vr::CS, b"COERCE");
    write_item(&mut item, &content);
    item
}

/// A moment as the value of a DT, in UTC and to the microsecond (PS3.5 section 6.2).
pub fn date_time(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    at.strftime("%Y%m%d%H%M%S.%6f+0000").to_string()
}

/// A name as a Long String that every character set can hold.
pub fn label(name: &str) -> String {
    let plain = |c: char| if (' '..='~').contains(&c) && c != '\\' { c } else { '?' };
    name.trim().chars().take(LONGEST_LONG_STRING).map(plain).collect()
}
