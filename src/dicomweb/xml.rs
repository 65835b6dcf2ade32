//! The Native DICOM Model (PS3.19 Annex A): a bounded reader, for peers that answer in XML. No recursion, no entities but XML's own.

pub(in crate::dicomweb) mod creators;
pub mod write;

use crate::dicom::tag::Tag;
use crate::dicomweb::dataset::{Dataset, Element, Members, PersonName, Raw, VR};
use crate::dicomweb::json::Limits;
use creators::NoPlace;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::str::FromStr;

/// Why a text is not a data set in XML. Never holds a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Not well-formed, or it ends too early.
    #[error("the XML is not well-formed")]
    Syntax,
    /// A document type declaration or an entity of its own, which nothing in DICOM needs and attackers do.
    #[error("the XML declares or uses entities")]
    Entities,
    /// The root is not `NativeDicomModel`.
    #[error("the XML is not a Native DICOM Model")]
    OtherRoot,
    /// Sequences nest deeper than the bound.
    #[error("sequences nest too deep")]
    TooDeep,
    /// More attributes and values than the bound.
    #[error("it holds too many values")]
    TooMany,
    /// An attribute whose tag or value contradicts the model.
    #[error("an attribute is malformed: {0}")]
    Attribute(&'static str),
}

/// An element that is open, with what it has gathered.
enum Open {
    /// A data set, and beside it what names its creator, whose block may be reserved further on.
    Set(Dataset, Vec<(String, Tag, Element)>),
    /// With the creator of a private one.
    Attribute(Tag, Option<String>, Members),
    Value(u32),
    Name(u32, PersonName),
    Group(fn(&mut PersonName) -> &mut String, [String; 5]),
    Component(usize),
    Bulk(String),
    Inline,
    Other,
}

struct Walk {
    open: Vec<Open>,
    text: String,
    left: u32,
    depth: u32,
    whole: Option<Dataset>,
}

/// Reads one data set. A missing or unknown `vr` is that of the dictionary, else UN. Memory is bounded by `limits` and by the length of
/// `text`.
pub fn read(text: &[u8], limits: Limits) -> Result<Dataset, XmlError> {
    let mut reader = Reader::from_reader(text);
    let mut walk =
        Walk { open: Vec::new(), text: String::new(), left: limits.values, depth: limits.depth, whole: None };
    loop {
        match reader.read_event().map_err(|_| XmlError::Syntax)? {
            Event::Start(start) => walk.start(&start)?,
            Event::Empty(start) => {
                walk.start(&start)?;
                walk.end()?;
            }
            Event::End(_) => walk.end()?,
            Event::Text(text) => walk.text.push_str(&text.xml_content().map_err(|_| XmlError::Syntax)?),
            Event::CData(text) => walk.text.push_str(&text.xml_content().map_err(|_| XmlError::Syntax)?),
            Event::GeneralRef(entity) => {
                let character = match entity.resolve_char_ref().map_err(|_| XmlError::Syntax)? {
                    Some(character) => character,
                    None => predefined(&entity).ok_or(XmlError::Entities)?,
                };
                walk.text.push(character);
            }
            Event::DocType(_) => return Err(XmlError::Entities),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    if walk.open.is_empty() { walk.whole.ok_or(XmlError::OtherRoot) } else { Err(XmlError::Syntax) }
}

fn predefined(name: &[u8]) -> Option<char> {
    match name {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"apos" => Some('\''),
        b"quot" => Some('"'),
        _ => None,
    }
}

impl Walk {
    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), XmlError> {
        self.left = self.left.checked_sub(1).ok_or(XmlError::TooMany)?;
        self.text.clear();
        let name = start.local_name();
        let open = match (self.open.last(), name.as_ref()) {
            (None, b"NativeDicomModel") if self.whole.is_none() => Open::Set(Dataset::default(), Vec::new()),
            (None, _) => return Err(XmlError::OtherRoot),
            (Some(Open::Set(..)), b"DicomAttribute") => attribute(start)?,
            (Some(Open::Attribute(..)), b"Item") => {
                self.depth = self.depth.checked_sub(1).ok_or(XmlError::TooDeep)?;
                Open::Set(Dataset::default(), Vec::new())
            }
            (Some(Open::Attribute(..)), b"Value") => Open::Value(number(start)),
            (Some(Open::Attribute(..)), b"PersonName") => Open::Name(number(start), PersonName::default()),
            (Some(Open::Attribute(..)), b"BulkData") => Open::Bulk(given(start, b"uri").unwrap_or_default()),
            (Some(Open::Attribute(..)), b"InlineBinary") => Open::Inline,
            (Some(Open::Name(..)), b"Alphabetic") => Open::Group(|name| &mut name.alphabetic, Default::default()),
            (Some(Open::Name(..)), b"Ideographic") => Open::Group(|name| &mut name.ideographic, Default::default()),
            (Some(Open::Name(..)), b"Phonetic") => Open::Group(|name| &mut name.phonetic, Default::default()),
            (Some(Open::Group(..)), part) => component(part),
            // What is not known is passed over, its content too; a bound on the stack keeps that cheap.
            _ if self.open.len() > 512 => return Err(XmlError::TooDeep),
            _ => Open::Other,
        };
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) -> Result<(), XmlError> {
        let text = std::mem::take(&mut self.text);
        let closed = self.open.pop().ok_or(XmlError::Syntax)?;
        match (closed, self.open.last_mut()) {
            (Open::Set(set, named), None) => self.whole = Some(placed(set, named)?),
            (Open::Set(item, named), Some(Open::Attribute(.., members))) => {
                self.depth += 1;
                members.values.push(Raw::Item(placed(item, named)?));
            }
            (Open::Attribute(tag, creator, members), Some(Open::Set(set, named))) => {
                let element = members.element(tag).map_err(XmlError::Attribute)?;
                match creator {
                    Some(creator) => named.push((creator, tag, element)),
                    None if set.insert(tag, element).is_some() => return Err(TWICE),
                    None => {}
                }
            }
            (Open::Value(number), Some(Open::Attribute(.., members))) => {
                fill(members, number, &mut self.left)?;
                members.values.push(if text.is_empty() { Raw::Null } else { Raw::Text(text) });
            }
            (Open::Name(number, name), Some(Open::Attribute(.., members))) => {
                fill(members, number, &mut self.left)?;
                members.values.push(if name.is_empty() { Raw::Null } else { Raw::Name(name) });
            }
            (Open::Group(group, parts), Some(Open::Name(_, name))) => {
                *group(name) = parts.join("^").trim_end_matches('^').to_owned();
            }
            (Open::Component(n), Some(Open::Group(_, parts))) => {
                if let Some(part) = parts.get_mut(n) {
                    *part = text;
                }
            }
            (Open::Bulk(uri), Some(Open::Attribute(.., members))) => members.bulk = Some(uri),
            (Open::Inline, Some(Open::Attribute(.., members))) => {
                members.inline = Some(text.split_ascii_whitespace().collect());
            }
            _ => {}
        }
        Ok(())
    }
}

const TWICE: XmlError = XmlError::Attribute("it stands twice in a data set");

/// A data set with the private attributes that name their creators, which may stand before or behind.
fn placed(mut set: Dataset, named: Vec<(String, Tag, Element)>) -> Result<Dataset, XmlError> {
    creators::place(&mut set, named).map_err(|why| match why {
        NoPlace::Full => XmlError::Attribute("its group has no block left"),
        NoPlace::Twice => TWICE,
    })?;
    Ok(set)
}

/// Values may be left out where they are empty; their number tells (PS3.19 A.1.5).
fn fill(members: &mut Members, number: u32, left: &mut u32) -> Result<(), XmlError> {
    while members.values.len() + 1 < number as usize {
        *left = left.checked_sub(1).ok_or(XmlError::TooMany)?;
        members.values.push(Raw::Null);
    }
    Ok(())
}

fn attribute(start: &BytesStart<'_>) -> Result<Open, XmlError> {
    let tag = given(start, b"tag").filter(|tag| tag.len() == 8).and_then(|tag| u32::from_str_radix(&tag, 16).ok());
    let tag = Tag(tag.ok_or(XmlError::Attribute("its tag is not eight hexadecimal digits"))?);
    // One that nobody knows says as much as none: the dictionary tells, as for JSON.
    let vr = given(start, b"vr").and_then(|vr| VR::from_str(&vr).ok());
    // There are writers that keep the block in the tag: then it is known.
    let blockless = tag.is_private() && tag.element() <= 0xFF;
    let creator = given(start, b"privateCreator").filter(|_| blockless).map(|name| name.trim().to_owned());
    let creator = creator.filter(|name| !name.is_empty());
    Ok(Open::Attribute(tag, creator, Members { vr, ..Members::default() }))
}

fn component(name: &[u8]) -> Open {
    let names: [&[u8]; 5] = [b"FamilyName", b"GivenName", b"MiddleName", b"NamePrefix", b"NameSuffix"];
    names.iter().position(|known| *known == name).map_or(Open::Other, Open::Component)
}

fn number(start: &BytesStart<'_>) -> u32 {
    given(start, b"number").and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn given(start: &BytesStart<'_>, name: &[u8]) -> Option<String> {
    // Looking for attributes that stand twice would cost the square of their number.
    let attribute = start.attributes().with_checks(false).flatten().find(|attribute| attribute.key.as_ref() == name)?;
    attribute.unescape_value().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests;
