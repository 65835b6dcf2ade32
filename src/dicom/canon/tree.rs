//! The elements of a data set, level by level: each becomes a digest, and each level the digest of its elements.

use super::outline::{Line, Outline, preview};
use super::{CanonError, Hash, values};
use crate::dicom::attributes::SPECIFIC_CHARACTER_SET;
use crate::dicom::charset::Charset;
use crate::dicom::dictionary::{self, Representation};
use crate::dicom::scanner::Limits;
use crate::dicom::tag::Tag;
use crate::dicom::vr::Vr;
use crate::dicom::walk::{Element, Event, Syntax, Walker};
use sha2::{Digest as _, Sha256};

const TRAILING_PADDING: Tag = Tag::new(0xFFFC, 0xFFFC);
/// Values that are normalised, or looked into, are at most so long; longer ones count as their bytes.
const LONGEST_GATHERED: u32 = 1 << 20;
/// Digests that are kept at once: those of the levels that are open.
const MOST_ELEMENTS: usize = 1 << 17;
/// Sequences within the bytes of unknown elements are looked for so deep.
const DEEPEST_GUESS: u32 = 8;
/// The first bytes of a value that are kept to be shown.
const SHOWN: usize = 64;
/// Lines that are noted.
const MOST_LINES: usize = 20_000;
/// An item's tag in little endian.
const ITEM: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];

/// What an element counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Sequence,
    /// Text in the declared character set; a name has delimiters of its own.
    Text {
        name: bool,
    },
    /// Text of the default repertoire.
    Plain,
    /// Numbers and bytes.
    Bytes,
    /// What the dictionary does not know.
    Unknown,
}

fn class(element: &Element) -> (Class, Vr) {
    let written = element.vr.unwrap_or(Vr::UN);
    let known = match dictionary::representation(element.tag) {
        Representation::Exactly(vr) => vr,
        Representation::Unknown if written == Vr::SQ => Vr::SQ,
        Representation::Unknown => return (Class::Unknown, written),
        _ => return (Class::Bytes, written),
    };
    let class = match known {
        Vr::SQ => Class::Sequence,
        Vr::PN => Class::Text { name: true },
        vr if vr.is_text() => Class::Text { name: false },
        Vr::AE | Vr::AS | Vr::CS | Vr::DA | Vr::DS | Vr::DT | Vr::IS | Vr::TM | Vr::UI | Vr::UR => Class::Plain,
        _ => Class::Bytes,
    };
    (class, known)
}

/// The data set or an item.
struct Level {
    charset: Charset,
    /// Text was met that another character set would make another text.
    texts: bool,
    elements: Vec<(Tag, Hash)>,
}

enum Frame {
    Level(Level),
    Sequence {
        tag: Tag,
        hasher: Sha256,
        items: u64,
        /// The dictionary knows it.
        known: bool,
        left_out: bool,
    },
    Fragments {
        tag: Tag,
        hasher: Sha256,
        length: u64,
    },
}

enum Value {
    LeftOut,
    /// It is hashed as it passes.
    Passing {
        hasher: Sha256,
        length: u64,
        head: Vec<u8>,
        /// It is, or may be, text in the declared character set; and what has been seen of it.
        text: bool,
        looks: Looks,
    },
    /// It is gathered, since it is normalised or looked into.
    Gathered {
        class: Class,
        bytes: Vec<u8>,
    },
    Charset(Vec<u8>),
}

/// The levels that are open, and the element in hand.
pub(super) struct Tree {
    left_out: Vec<Tag>,
    frames: Vec<Frame>,
    current: (Tag, Vr),
    value: Value,
    kept: usize,
    /// The first element is read as a sequence.
    forced: bool,
    guesses: u32,
    outline: Option<Outline>,
}

fn start(tag: Tag, kind: u8) -> Sha256 {
    Sha256::new().chain_update(tag.0.to_be_bytes()).chain_update([kind])
}

fn end(hasher: Sha256, length: u64) -> Hash {
    hasher.chain_update(length.to_be_bytes()).finalize().into()
}

fn whole(tag: Tag, kind: u8, bytes: &[u8]) -> Hash {
    end(start(tag, kind).chain_update(bytes), bytes.len() as u64)
}

/// What bytes look like that may be text: no character set has control characters but for these few (PS3.5 section 6.1.3).
#[derive(Default, Clone, Copy)]
struct Looks {
    high: bool,
    padded: bool,
    binary: bool,
}

impl Looks {
    fn of(bytes: &[u8]) -> Self {
        let mut looks = Self::default();
        looks.see(bytes);
        looks
    }

    fn see(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                _ if self.binary => return,
                0 => self.padded = true,
                0x01..=0x08 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F => self.binary = true,
                _ => {
                    self.binary = self.padded;
                    self.high |= !byte.is_ascii() || *byte == 0x1B;
                }
            }
        }
    }

    /// Whether another character set could make another text of it.
    fn is_governed(self) -> bool {
        self.high && !self.binary
    }
}

/// A sequence without items; where no representation says that it is one, it is an empty value.
fn no_items(tag: Tag, known: bool) -> Hash {
    if known { end(start(tag, b's'), 0) } else { whole(tag, b'u', &[]) }
}

fn without_padding(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().rposition(|b| !matches!(b, b' ' | 0)).map_or(0, |last| last + 1);
    &bytes[..length]
}

impl Tree {
    /// A tree whose data set is to be read without these.
    pub(super) fn new(left_out: Vec<Tag>) -> Self {
        let root = Level { charset: Charset::default(), texts: false, elements: Vec::new() };
        Self {
            left_out,
            frames: vec![Frame::Level(root)],
            current: (Tag(0), Vr::UN),
            value: Value::LeftOut,
            kept: 0,
            forced: false,
            guesses: 0,
            outline: None,
        }
    }

    pub(super) fn note_lines(&mut self) {
        self.outline = Some(Outline::default());
    }

    /// The elements of the data set in ascending order, and the lines that were noted.
    pub(super) fn finish(mut self) -> (Vec<(Tag, Hash)>, Outline) {
        let elements = match self.frames.drain(..).next() {
            Some(Frame::Level(level)) => sorted(level.elements),
            _ => Vec::new(),
        };
        (elements, self.outline.unwrap_or_default())
    }

    pub(super) fn event(&mut self, walker: &mut Walker, event: Event<'_>) -> Result<(), CanonError> {
        match event {
            Event::Element(element) => return self.element(walker, &element),
            Event::Value(slice) => self.slice(slice),
            Event::ValueEnd => return self.value_end(),
            Event::Item(_) => {
                let charset = self.level().map(|level| level.charset.clone()).unwrap_or_default();
                self.frames.push(Frame::Level(Level { charset, texts: false, elements: Vec::new() }));
            }
            Event::ItemEnd { .. } => self.item_end(),
            Event::SequenceEnd { .. } => return self.sequence_end(),
            Event::Fragment(_) => self.value = Value::LeftOut,
            Event::Stray => {}
        }
        Ok(())
    }

    fn level(&mut self) -> Option<&mut Level> {
        self.frames.iter_mut().rev().find_map(|frame| match frame {
            Frame::Level(level) => Some(level),
            _ => None,
        })
    }

    fn element(&mut self, walker: &mut Walker, element: &Element) -> Result<(), CanonError> {
        let tag = element.tag;
        let top = self.frames.len() == 1;
        let foreign = top && (matches!(tag.group(), 0x0000 | 0x0002) || self.left_out.contains(&tag));
        let left_out = tag.element() == 0 || tag == TRAILING_PADDING || foreign;
        let (class, vr) = match std::mem::take(&mut self.forced) {
            true => (Class::Sequence, Vr::UN),
            false => class(element),
        };
        self.current = (tag, vr);
        match element.length {
            None if element.fragments => {
                self.frames.push(Frame::Fragments { tag, hasher: start(tag, b'f'), length: 0 });
            }
            None => self.open_sequence(tag, class == Class::Sequence && vr == Vr::SQ, left_out),
            Some(length) if class == Class::Sequence && length > 0 => {
                self.open_sequence(tag, vr == Vr::SQ, left_out);
                walker.descend()?;
            }
            Some(_) if left_out => self.value = Value::LeftOut,
            Some(_) if tag == SPECIFIC_CHARACTER_SET => self.value = Value::Charset(Vec::new()),
            Some(length) if class != Class::Bytes && length <= LONGEST_GATHERED => {
                self.value = Value::Gathered { class, bytes: Vec::with_capacity(length as usize) };
            }
            Some(_) => {
                let kind = if class == Class::Unknown { b'u' } else { b'w' };
                let text = matches!(class, Class::Unknown | Class::Text { .. });
                self.value = Value::Passing {
                    hasher: start(tag, kind),
                    length: 0,
                    head: Vec::new(),
                    text,
                    looks: Looks::default(),
                };
            }
        }
        Ok(())
    }

    fn open_sequence(&mut self, tag: Tag, known: bool, left_out: bool) {
        let known = known && dictionary::representation(tag) != Representation::Unknown;
        self.frames.push(Frame::Sequence { tag, hasher: start(tag, b's'), items: 0, known, left_out });
    }

    fn slice(&mut self, slice: &[u8]) {
        if let Some(Frame::Fragments { hasher, length, .. }) = self.frames.last_mut() {
            hasher.update(slice);
            *length += slice.len() as u64;
            return;
        }
        match &mut self.value {
            Value::LeftOut => {}
            Value::Passing { hasher, length, head, text, looks } => {
                hasher.update(slice);
                if *text {
                    looks.see(slice);
                }
                *length += slice.len() as u64;
                head.extend_from_slice(&slice[..slice.len().min(SHOWN - head.len())]);
            }
            Value::Gathered { bytes, .. } | Value::Charset(bytes) => bytes.extend_from_slice(slice),
        }
    }

    fn value_end(&mut self) -> Result<(), CanonError> {
        let (tag, vr) = self.current;
        match std::mem::replace(&mut self.value, Value::LeftOut) {
            Value::LeftOut => Ok(()),
            Value::Passing { mut hasher, length, head, looks, .. } => {
                if looks.is_governed() {
                    self.govern(&mut hasher);
                }
                self.add(tag, end(hasher, length), |_| preview(vr, &head, length))
            }
            Value::Charset(bytes) => {
                if self.level().is_some_and(|level| level.texts) {
                    return Err(CanonError::LateCharset);
                }
                if let Some(level) = self.level() {
                    level.charset = Charset::declared(&bytes);
                }
                Ok(())
            }
            Value::Gathered { class: Class::Text { name }, bytes } => self.text(tag, name, without_padding(&bytes)),
            Value::Gathered { class: Class::Plain, bytes } => {
                let plain = without_padding(&bytes);
                let counts = values::plain(vr, plain);
                self.add(tag, whole(tag, b'a', &counts), |_| String::from_utf8_lossy(plain).into_owned())
            }
            Value::Gathered { class: Class::Sequence, .. } => {
                let known = dictionary::representation(tag) != Representation::Unknown;
                self.add(tag, no_items(tag, known), |_| "(no items)".to_owned())
            }
            Value::Gathered { bytes, .. } => {
                let mut hasher = start(tag, b'u').chain_update(&bytes);
                if Looks::of(&bytes).is_governed() {
                    self.govern(&mut hasher);
                }
                let digest = self.guessed(tag, &bytes).unwrap_or_else(|| end(hasher, bytes.len() as u64));
                let head = &bytes[..bytes.len().min(SHOWN)];
                self.add(tag, digest, |_| preview(vr, head, bytes.len() as u64))
            }
        }
    }

    fn text(&mut self, tag: Tag, name: bool, bytes: &[u8]) -> Result<(), CanonError> {
        let mut hasher = start(tag, b'r').chain_update(bytes);
        if Looks::of(bytes).is_governed() {
            self.govern(&mut hasher);
        }
        let charset = self.level().map(|level| level.charset.clone()).unwrap_or_default();
        let decoded = if name { charset.decode_name(bytes) } else { charset.decode(bytes) };
        let text = decoded.trim_end_matches([' ', '\0']);
        let (_, vr) = self.current;
        let digest = match text.contains(char::REPLACEMENT_CHARACTER) {
            // In bytes that nobody declared a delimiter may be a part of something else.
            false if charset.is_guessed(bytes) => whole(tag, b't', text.as_bytes()),
            false => whole(tag, b't', values::text(vr, text).as_bytes()),
            // Two texts that cannot be read may look alike and differ: they count as their bytes, in their character set.
            true => end(hasher, bytes.len() as u64),
        };
        self.add(tag, digest, |_| text.to_owned())
    }

    /// Bytes that are not decoded count with the character set that governs them, and one that is declared after them comes too late.
    fn govern(&mut self, hasher: &mut Sha256) {
        let mut terms = String::new();
        for frame in &mut self.frames {
            if let Frame::Level(level) = frame {
                level.texts = true;
                terms = level.charset.terms.join("\\");
            }
        }
        // What is not declared is read as Latin 1.
        hasher.update([0]);
        hasher.update(if terms.is_empty() { "ISO_IR 100" } else { &terms });
    }

    /// The digest of an unknown element as a sequence, if its bytes can be read as one: implicit encodings do not say.
    fn guessed(&self, tag: Tag, bytes: &[u8]) -> Option<Hash> {
        if !bytes.starts_with(&ITEM) || self.guesses >= DEEPEST_GUESS {
            return None;
        }
        let charset = self.frames.iter().rev().find_map(|frame| match frame {
            Frame::Level(level) => Some(level.charset.clone()),
            _ => None,
        });
        let mut inner = Self::new(Vec::new());
        (inner.forced, inner.guesses) = (true, self.guesses + 1);
        if let Some(level) = inner.level() {
            level.charset = charset.unwrap_or_default();
        }
        let limits = Limits::default();
        let mut walker = Walker::new(Syntax { explicit: true, big: false }, limits.depth, limits.elements);
        let (group, element) = (tag.group().to_le_bytes(), tag.element().to_le_bytes());
        let length = u32::try_from(bytes.len()).ok()?.to_le_bytes();
        let header = [&group[..], &element, b"UN\0\0", &length].concat();
        for mut part in [&header[..], bytes] {
            while let Some(event) = walker.next(&mut part).ok()? {
                inner.event(&mut walker, event).ok()?;
            }
        }
        walker.finish().ok()?;
        match &inner.finish().0[..] {
            [(_, digest)] => Some(*digest),
            _ => None,
        }
    }

    fn item_end(&mut self) {
        let Some(Frame::Level(level)) = self.frames.pop() else { return };
        self.kept -= level.elements.len();
        let mut digest = Sha256::new_with_prefix("item");
        for (tag, element) in sorted(level.elements) {
            digest.update(tag.0.to_be_bytes());
            digest.update(element);
        }
        if let Some(Frame::Sequence { hasher, items, .. }) = self.frames.last_mut() {
            hasher.update(digest.finalize());
            *items += 1;
        }
    }

    fn sequence_end(&mut self) -> Result<(), CanonError> {
        match self.frames.pop() {
            Some(Frame::Fragments { tag, hasher, length }) => {
                self.add(tag, end(hasher, length), |_| format!("fragments of {length} bytes"))
            }
            Some(Frame::Sequence { left_out: true, .. }) => Ok(()),
            Some(Frame::Sequence { tag, items: 0, known, .. }) => {
                self.add(tag, no_items(tag, known), |_| "(no items)".to_owned())
            }
            Some(Frame::Sequence { tag, hasher, items, .. }) => self.keep(tag, end(hasher, items)),
            Some(Frame::Level(_)) | None => Ok(()),
        }
    }

    fn add(&mut self, tag: Tag, digest: Hash, shown: impl FnOnce(()) -> String) -> Result<(), CanonError> {
        let inside = self.frames.len() > 1;
        if let Some(outline) = self.outline.as_mut().filter(|outline| outline.lines.len() >= MOST_LINES) {
            outline.cut = true;
        } else if let Some(Outline { lines, .. }) = &mut self.outline {
            let mut path = String::new();
            for frame in &self.frames {
                if let Frame::Sequence { tag, items, .. } = frame {
                    path.push_str(&format!("{tag}[{}] > ", items + 1));
                }
            }
            path.push_str(&tag.to_string());
            lines.push(Line { path, tag, inside, value: shown(()), digest });
        }
        self.keep(tag, digest)
    }

    fn keep(&mut self, tag: Tag, digest: Hash) -> Result<(), CanonError> {
        if self.kept >= MOST_ELEMENTS {
            return Err(CanonError::TooManyElements);
        }
        self.kept += 1;
        if let Some(level) = self.level() {
            level.elements.push((tag, digest));
        }
        Ok(())
    }
}

/// In ascending order of tags; one that is there twice stays twice, in the order in which it came.
fn sorted(mut elements: Vec<(Tag, Hash)>) -> Vec<(Tag, Hash)> {
    if !elements.is_sorted_by_key(|(tag, _)| *tag) {
        elements.sort_by_key(|(tag, _)| *tag);
    }
    elements
}
