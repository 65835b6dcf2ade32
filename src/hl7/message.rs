//! One message: its header, its segments, their fields, repetitions and components.

use crate::dicom::charset::Charset;
use std::fmt;

/// Segments of one message.
const MOST_SEGMENTS: usize = 1000;

/// Why a message cannot be read; told to the sender. Repeats nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It does not begin with a header that names its delimiters: nobody could read an answer.
    #[error("the message does not begin with a usable MSH segment")]
    Header,
    /// The character set is none that we read.
    #[error("the character set in MSH-18 is not supported; use ASCII, UNICODE UTF-8, 8859/1 to 8859/9 or 8859/15")]
    Charset,
    /// It has more than 1,000 segments.
    #[error("the message has more than 1,000 segments")]
    TooLong,
}

/// The five delimiters. One that was not named is NUL, which no text holds.
#[derive(Clone, Copy)]
pub(super) struct Delimiters {
    pub(super) field: char,
    pub(super) component: char,
    pub(super) repetition: char,
    pub(super) escape: char,
    pub(super) subcomponent: char,
}

/// What no field may hold: a delimiter that is not there.
const NONE: char = '\0';

impl Delimiters {
    fn read(text: &str) -> Option<Self> {
        let mut marks = text.strip_prefix("MSH")?.chars();
        let field = marks.next()?;
        let named: Vec<char> = marks.take_while(|c| *c != field && !c.is_control()).take(4).collect();
        let at = |n: usize| named.get(n).copied();
        let (component, repetition) = (at(0)?, at(1)?);
        let (escape, subcomponent) = (at(2).unwrap_or(NONE), at(3).unwrap_or(NONE));
        let all = [field, component, repetition, escape, subcomponent];
        let usable = |(n, c): (usize, &char)| *c == NONE || (c.is_ascii_punctuation() && !all[..n].contains(c));
        let good = field != NONE && all.iter().enumerate().all(usable);
        good.then_some(Self { field, component, repetition, escape, subcomponent })
    }
}

/// Its first segment, which says how to read the others and how to answer.
pub struct Header {
    pub(super) delimiters: Delimiters,
    text: String,
}

impl Header {
    /// Reads the header of a message without its frame.
    pub fn read(bytes: &[u8]) -> Result<Self, MessageError> {
        let first = begun(bytes).split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let text = String::from_utf8_lossy(first).into_owned();
        let delimiters = Delimiters::read(&text).ok_or(MessageError::Header)?;
        Ok(Self { delimiters, text })
    }

    pub(super) fn segment(&self) -> Segment<'_> {
        Segment { delimiters: self.delimiters, text: &self.text }
    }

    /// Its kind and event: `ORM`, `O01` (MSH-9).
    pub fn kind(&self) -> (String, String) {
        (self.segment().part(9, 1), self.segment().part(9, 2))
    }

    /// Who sent it: application and facility (MSH-3, MSH-4).
    pub fn sender(&self) -> String {
        let parts = [3, 4].map(|field| self.segment().part(field, 1));
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" at ")
    }

    /// By what its sender knows it (MSH-10), as it stands.
    pub fn control(&self) -> &str {
        self.segment().raw(10).trim()
    }

    /// `P` for what is real; `T` and `D` are for tests (MSH-11).
    pub fn processing(&self) -> String {
        self.segment().part(11, 1)
    }

    /// The version that it follows: `2.5.1` (MSH-12).
    pub fn version(&self) -> String {
        self.segment().part(12, 1)
    }

    /// Reads all of the message that begins with this header, in the character set that MSH-18 names. Where it names none, or ASCII,
    /// text that is not UTF-8 is taken for ISO 8859-1. Where it names UTF-8, what is something else is U+FFFD: in a name, which nobody
    /// reads, that costs nothing; whoever reads a number looks for it.
    pub fn message(&self, bytes: &[u8]) -> Result<Message, MessageError> {
        let text = decoded(self.segment().repetitions(18).next().unwrap_or_default(), begun(bytes))?;
        let segments = text.split(['\r', '\n']).map(str::trim_end).filter(|segment| segment.len() > 3);
        let segments: Vec<String> = segments.take(MOST_SEGMENTS + 1).map(str::to_owned).collect();
        if segments.len() > MOST_SEGMENTS {
            return Err(MessageError::TooLong);
        }
        Ok(Message { delimiters: self.delimiters, segments })
    }
}

/// A message without what some systems write before it: white space, the mark of UTF-8.
fn begun(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    bytes.trim_ascii_start()
}

/// Text in a character set of HL7 table 0211, or in one that goes by another of its names: `UTF8`, `ISO-8859-1`.
fn decoded(set: &str, bytes: &[u8]) -> Result<String, MessageError> {
    let name: String = set.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    let term = match name.strip_prefix("ISO").filter(|name| name.starts_with("8859")).unwrap_or(&name) {
        "" | "ASCII" | "USASCII" | "ISOIR6" => {
            let utf8 = String::from_utf8(bytes.to_vec()).ok();
            return Ok(utf8.unwrap_or_else(|| Charset::declared(b"ISO_IR 100").decode(bytes)));
        }
        "UNICODEUTF8" | "UTF8" | "UNICODE" => {
            return Ok(String::from_utf8_lossy(bytes).into_owned());
        }
        "WINDOWS1252" | "CP1252" => {
            return Ok(encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned());
        }
        "88591" | "ISOIR100" => "ISO_IR 100",
        "88592" => "ISO_IR 101",
        "88593" => "ISO_IR 109",
        "88594" => "ISO_IR 110",
        "88595" => "ISO_IR 144",
        "88596" => "ISO_IR 127",
        "88597" => "ISO_IR 126",
        "88598" => "ISO_IR 138",
        "88599" => "ISO_IR 148",
        "885915" => "ISO_IR 203",
        _ => return Err(MessageError::Charset),
    };
    Ok(Charset::declared(term.as_bytes()).decode(bytes))
}

/// A message.
pub struct Message {
    delimiters: Delimiters,
    segments: Vec<String>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} segments)", self.segments.len())
    }
}

impl Message {
    /// Every segment, in order.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.segments.iter().map(|text| Segment { delimiters: self.delimiters, text })
    }

    /// Whether another message, or a batch or file of them, begins within it, whatever its delimiters: one answer could not tell of both.
    pub fn holds_another(&self) -> bool {
        let begins = |text: &str| {
            let rest = ["MSH", "BHS", "FHS"].into_iter().find_map(|name| text.trim_start().strip_prefix(name));
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        };
        self.segments.iter().skip(1).any(|text| begins(text))
    }
}

/// One segment.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    delimiters: Delimiters,
    text: &'a str,
}

impl<'a> Segment<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.text.split(self.delimiters.field).next().unwrap_or_default()
    }

    /// A field as it stands, from 1; of MSH the first is the delimiter itself.
    pub(super) fn raw(&self, at: usize) -> &'a str {
        let at = if self.name() == "MSH" { at.saturating_sub(1) } else { at };
        self.text.split(self.delimiters.field).nth(at).unwrap_or_default()
    }

    /// The repetitions of a field.
    pub(super) fn repetitions(&self, at: usize) -> impl Iterator<Item = &'a str> {
        self.raw(at).split(self.delimiters.repetition)
    }

    /// A component of the first repetition of a field, its first subcomponent, unescaped and without space around it.
    pub fn part(&self, at: usize, component: usize) -> String {
        self.component(self.repetitions(at).next().unwrap_or_default(), component, 1)
    }

    /// A subcomponent of a repetition, from 1.
    pub(super) fn component(&self, repetition: &str, component: usize, sub: usize) -> String {
        let part = repetition.split(self.delimiters.component).nth(component.saturating_sub(1)).unwrap_or_default();
        let part = part.split(self.delimiters.subcomponent).nth(sub.saturating_sub(1)).unwrap_or_default().trim();
        // Two quotes mean that there is nothing (HL7 version 2.5.1 section 2.5.3).
        if part == "\"\"" { String::new() } else { self.unescaped(part) }
    }

    /// Delimiters in place of their escape sequences. What else is escaped stays as it is written: a number must never turn into another.
    fn unescaped(&self, text: &str) -> String {
        let Delimiters { field, component, repetition, escape, subcomponent } = self.delimiters;
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(escape) {
            let known = after.split_once(escape).and_then(|(code, rest)| {
                let mark = match code {
                    "F" => field,
                    "S" => component,
                    "R" => repetition,
                    "T" => subcomponent,
                    "E" => escape,
                    _ => return None,
                };
                Some((mark, rest))
            });
            out.push_str(before);
            let (mark, then) = known.unwrap_or((escape, after));
            out.push(mark);
            rest = then;
        }
        out.push_str(rest);
        out
    }
}
