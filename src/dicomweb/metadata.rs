//! Metadata as it streams out of a data set: every attribute as DICOM JSON or in the Native DICOM Model, long values as links
//! (PS3.18 section 10.4.3.3.2; WEB-102).
//!
//! One attribute is held at a time, 64 KiB of it at most, so that memory does not grow with the data set.

mod links;

pub use links::{Linked, Links};

use crate::dicom::charset::Charset;
use crate::dicom::contents::{Contents, Part, StructureError};
use crate::dicom::tag::Tag;
use crate::dicom::vr::Vr;
use crate::dicomweb::dataset::{Element, VR, Value, stored};
use crate::dicomweb::xml::creators::Creators;
use crate::dicomweb::{json, xml};
use std::io::Write;
use std::str::FromStr;

const SPECIFIC_CHARACTER_SET: Tag = Tag::new(0x0008, 0x0005);

/// Bytes that are given inline, as Base64; what is longer is a link.
const LONGEST_BYTES: u32 = 1024;
/// Any other value: what a length of 16 bits can say.
const LONGEST_VALUE: u32 = 65_534;

/// The file's and the command's groups and group lengths are no metadata (WEB-023, WEB-097); nor is a second one of a tag.
fn is_left_out(tag: Tag, before: Option<Tag>) -> bool {
    tag.element() == 0 || tag.group() <= 0x0002 || before == Some(tag)
}

/// Whether a value is a link.
fn is_long(vr: Vr, length: u32) -> bool {
    let bytes = matches!(&vr.0, [b'O', _] | b"UN") || !vr.is_known();
    length > if bytes { LONGEST_BYTES } else { LONGEST_VALUE }
}

/// The notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// DICOM JSON (PS3.18 annex F).
    Json,
    /// The Native DICOM Model in XML (PS3.19 annex A).
    Xml,
}

/// The data set, or an item that is open.
#[derive(Debug)]
struct Level {
    /// The sequence in hand below it, and the number of its item.
    sequence: Option<(Tag, u32)>,
    charset: Charset,
    /// Who has reserved the private blocks of the group in hand.
    creators: Creators,
    /// The last attribute: the order shall be ascending, and none stands twice (PS3.5 section 7.1).
    last: Option<Tag>,
}

impl Level {
    fn of(charset: Charset) -> Self {
        Self { sequence: None, charset, creators: Creators::default(), last: None }
    }
}

/// What becomes of the value in hand.
#[derive(Debug)]
enum Hand {
    /// It is passed over.
    Nothing,
    /// It is gathered.
    Gathered(Tag, Vr, Vec<u8>),
}

/// One data set on its way into metadata. Any cutting of the input gives the same text; an error is final.
#[derive(Debug)]
pub struct Metadata {
    form: Form,
    /// Where the instance is retrieved.
    location: String,
    contents: Contents,
    levels: Vec<Level>,
    hand: Hand,
    /// Fragments are passing.
    fragments: bool,
    begun: bool,
}

impl Metadata {
    /// Metadata of the instance that is retrieved at `location`, which its links begin with.
    pub fn new(form: Form, location: String) -> Self {
        let levels = vec![Level::of(Charset::default())];
        let contents = Contents::default();
        Self { form, location, contents, levels, hand: Hand::Nothing, fragments: false, begun: false }
    }

    /// Takes the next bytes of the data set and appends what they become.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), StructureError> {
        self.begin(out);
        while let Some(part) = self.contents.next(&mut input)? {
            match part {
                Part::Leaf(tag, vr, length) => self.leaf(tag, vr, length, out),
                Part::Bytes(slice) => {
                    if let Hand::Gathered(_, _, value) = &mut self.hand {
                        value.extend_from_slice(slice);
                    }
                }
                Part::End => self.end(out),
                Part::Sequence(tag) => self.sequence(tag, out),
                Part::Item => self.item(out),
                Part::ItemEnd => {
                    self.levels.pop();
                    self.put(out, "}", "</Item>");
                }
                Part::SequenceEnd if std::mem::take(&mut self.fragments) => {}
                Part::SequenceEnd => {
                    let empty =
                        self.levels.last_mut().and_then(|level| level.sequence.take()).is_none_or(|(_, n)| n == 0);
                    self.put(out, if empty { "}" } else { "]}" }, "</DicomAttribute>");
                }
                Part::Fragments(tag, vr) => {
                    self.fragments = true;
                    self.open(tag, out);
                    self.write(tag, &self.link(tag, vr), out);
                }
                Part::Fragment(_) => self.hand = Hand::Nothing,
            }
        }
        Ok(())
    }

    /// Ends the metadata once all of the data set was pushed; an error if it is not whole.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), StructureError> {
        self.contents.finish()?;
        self.begin(out);
        match self.form {
            Form::Json => out.push(b'}'),
            Form::Xml => out.extend_from_slice(xml::write::END),
        }
        Ok(())
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            match self.form {
                Form::Json => out.push(b'{'),
                Form::Xml => out.extend_from_slice(xml::write::BEGIN),
            }
        }
    }

    fn put(&self, out: &mut Vec<u8>, json: &str, xml: &str) {
        out.extend_from_slice(if self.form == Form::Json { json } else { xml }.as_bytes());
    }

    /// What precedes an attribute: a comma, if another stands before it.
    fn open(&mut self, tag: Tag, out: &mut Vec<u8>) {
        if self.levels.last_mut().is_some_and(|level| level.last.replace(tag).is_some()) {
            self.put(out, ",", "");
        }
    }

    fn leaf(&mut self, tag: Tag, vr: Vr, length: u32, out: &mut Vec<u8>) {
        self.hand = Hand::Nothing;
        if is_left_out(tag, self.levels.last().and_then(|level| level.last)) {
            return;
        }
        self.open(tag, out);
        match is_long(vr, length) {
            true => self.write(tag, &self.link(tag, vr), out),
            false => self.hand = Hand::Gathered(tag, vr, Vec::new()),
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let Hand::Gathered(tag, vr, value) = std::mem::replace(&mut self.hand, Hand::Nothing) else { return };
        let Some(level) = self.levels.last_mut() else { return };
        let element = match tag {
            SPECIFIC_CHARACTER_SET => {
                level.charset = Charset::declared(&value);
                // Whatever the object was written in: this is UTF-8 (PS3.18 F.2.4).
                Element::text(VR::CS, "ISO_IR 192")
            }
            _ => stored(vr, &value, &level.charset),
        };
        level.creators.note(tag, &element);
        self.write(tag, &element, out);
    }

    fn sequence(&mut self, tag: Tag, out: &mut Vec<u8>) {
        self.open(tag, out);
        self.name(tag, VR::SQ, out);
        self.put(out, "{\"vr\":\"SQ\"", "");
        if let Some(level) = self.levels.last_mut() {
            level.sequence = Some((tag, 0));
        }
    }

    fn item(&mut self, out: &mut Vec<u8>) {
        let Some(level) = self.levels.last_mut() else { return };
        let Some((_, number)) = &mut level.sequence else { return };
        *number += 1;
        let (number, charset) = (*number, level.charset.clone());
        self.levels.push(Level::of(charset));
        match self.form {
            Form::Json => out.extend_from_slice(if number == 1 { b",\"Value\":[{" } else { b",{" }),
            Form::Xml => drop(write!(out, "<Item number=\"{number}\">")),
        }
    }

    /// Where a value can be had by itself.
    fn link(&self, tag: Tag, vr: Vr) -> Element {
        let mut uri = format!("{}/bulkdata", self.location);
        for (sequence, number) in self.levels.iter().filter_map(|level| level.sequence) {
            uri.push_str(&format!("/{:08X}/{number}", sequence.0));
        }
        uri.push_str(&format!("/{:08X}", tag.0));
        Element { vr: VR::from_str(&vr.letters()).unwrap_or(VR::UN), value: Value::BulkData(uri) }
    }

    /// The tag before what an attribute holds.
    fn name(&self, tag: Tag, vr: VR, out: &mut Vec<u8>) {
        match (self.form, self.levels.last()) {
            (Form::Xml, Some(level)) => xml::write::open(tag, vr, &level.creators, out),
            // Writing into a Vec cannot fail.
            _ => drop(write!(out, "\"{:08X}\":", tag.0)),
        }
    }

    fn write(&self, tag: Tag, element: &Element, out: &mut Vec<u8>) {
        self.name(tag, element.vr, out);
        match self.form {
            Form::Json => json::element(element, out),
            Form::Xml => {
                xml::write::values(element, out);
                out.extend_from_slice(xml::write::CLOSE);
            }
        }
    }
}

#[cfg(test)]
mod tests;
