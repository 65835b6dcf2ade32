//! Specific Character Set (0008,0005): how text values become Unicode (PS3.3 section C.12.1.1.2, PS3.5 section 6.1).
//!
//! Reading is lenient, because a wrong letter in a name is better than no name: terms are known in the spellings of the
//! field, escape sequences work whether declared or not, and text with the high bit set where nothing is declared is
//! ISO_IR 100.

mod encode;
mod sets;
#[cfg(test)]
mod tests;

use sets::{Left, Right, Term};

/// A declared character set, ready to decode values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charset {
    /// The defined terms as declared, in order; empty means the default repertoire.
    pub terms: Vec<Box<str>>,
}

/// Values of (0008,0005) that are looked at; there are no more than this many sets.
const MAX_TERMS: usize = 16;

impl Charset {
    /// The character set that a value of (0008,0005) declares. A first term that is empty stays, as it stands for
    /// ISO_IR 6, but before one that stands alone.
    pub fn declared(value: &[u8]) -> Self {
        let text: String = value.iter().map(|&b| if b.is_ascii() { char::from(b) } else { '?' }).collect();
        let mut terms: Vec<Box<str>> =
            text.split('\\').take(MAX_TERMS).map(|term| term.trim_matches([' ', '\0']).into()).collect();
        if terms.iter().all(|term| term.is_empty()) {
            terms.clear();
        }
        // `\ISO_IR 192`: a set that stands alone by the standard, behind a term that says nothing, is what was meant.
        if terms.first().is_some_and(|first| first.is_empty())
            && let Some(at) = terms.iter().position(|term| matches!(Term::named(term), Term::Utf8 | Term::Gb18030))
        {
            terms = vec![terms.swap_remove(at)];
        }
        Self { terms }
    }

    /// Decodes one value's bytes; what cannot be decoded becomes U+FFFD, never an error.
    ///
    /// The bytes may hold several values: a backslash is a delimiter, after which code extension starts afresh, and
    /// stays in the result. For person names use [`Self::decode_name`].
    pub fn decode(&self, bytes: &[u8]) -> String {
        self.decode_between(bytes, b"\\")
    }

    /// Decodes the bytes of a PN value, in which `^` and `=` are delimiters too (PS3.5 section 6.1.2.5.3).
    pub fn decode_name(&self, bytes: &[u8]) -> String {
        self.decode_between(bytes, b"\\^=")
    }

    fn decode_between(&self, bytes: &[u8], delimiters: &[u8]) -> String {
        match self.terms.first().map(|term| Term::named(term)) {
            Some(Term::Utf8) => String::from_utf8_lossy(bytes).into_owned(),
            Some(Term::Gb18030) => encoding_rs::GB18030.decode_without_bom_handling(bytes).0.into_owned(),
            Some(Term::Sets(left, right)) => self.decode_sets(bytes, delimiters, left, right),
            None => self.decode_sets(bytes, delimiters, Left::Ascii, None),
        }
    }

    /// ISO 2022 as DICOM has it: one set for the bytes with and one for those without the high bit, changed by escape
    /// sequences, and set back by delimiters and control characters (PS3.5 section 6.1.2.5).
    fn decode_sets(&self, mut bytes: &[u8], delimiters: &[u8], left: Left, right: Option<Right>) -> String {
        // Most values: nothing is designated, and each byte is its character.
        if matches!(left, Left::Ascii) && bytes.is_ascii() && !bytes.contains(&0x1B) {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        let mut text = String::with_capacity(bytes.len());
        let right = right.unwrap_or_else(|| self.undesignated());
        let (mut g0, mut g1) = (left, right);
        while let [first, rest @ ..] = bytes {
            if let Some((size, designated)) = sets::escape(bytes) {
                match designated {
                    sets::Designated::Left(set) => g0 = set,
                    sets::Designated::Right(set) => g1 = set,
                }
                bytes = &bytes[size..];
                continue;
            }
            let (c, size) = match first {
                0x1B => (char::REPLACEMENT_CHARACTER, 1),
                0x00..=0x20 | 0x7F => (char::from(*first), 1),
                0x21..=0x7E => g0.decode(*first, rest),
                0x80.. => g1.decode(*first, rest),
            };
            text.push(c);
            let delimiter = size == 1 && (delimiters.contains(first) || matches!(first, b'\t' | b'\n' | 0x0C | b'\r'));
            if delimiter {
                (g0, g1) = (left, right);
            }
            bytes = &bytes[size..];
        }
        text
    }

    /// What bytes with the high bit mean before an escape sequence where the first term says nothing: strictly nothing;
    /// in the field the one set that the other terms declare for them, else ISO_IR 100.
    fn undesignated(&self) -> Right {
        self.declared_later().unwrap_or(Right::LATIN_1)
    }

    /// The set for bytes with the high bit that another term than the first declares.
    fn declared_later(&self) -> Option<Right> {
        self.terms.iter().skip(1).find_map(|term| match Term::named(term) {
            Term::Sets(_, right) => right,
            Term::Utf8 | Term::Gb18030 => None,
        })
    }

    /// Whether ISO_IR 100 is only a guess for these bytes: nothing declares what those with the high bit mean.
    pub fn is_guessed(&self, bytes: &[u8]) -> bool {
        let first = self.terms.first().map(|term| Term::named(term));
        !bytes.is_ascii() && matches!(first, None | Some(Term::Sets(_, None))) && self.declared_later().is_none()
    }
}
