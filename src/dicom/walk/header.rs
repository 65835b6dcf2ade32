//! How one header is read: tag, value representation and length of an element, or an item's tag and length.

use super::super::dictionary::{self, Representation};
use super::super::tag::Tag;
use super::super::vr::Vr;

/// How headers are written in one stretch of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dicom) struct Syntax {
    /// Whether elements carry their value representation.
    pub(in crate::dicom) explicit: bool,
    /// Whether numbers have their most significant byte first.
    pub(in crate::dicom) big: bool,
}

impl Syntax {
    /// What is inside a UN element of undefined length, whatever is outside (PS3.5 section 6.2.2, CP-246).
    pub(in crate::dicom) const IMPLICIT_LITTLE: Self = Self { explicit: false, big: false };

    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// The bytes of a header: eight, or twelve for the long explicit form (PS3.5 section 7.1).
pub(in crate::dicom) const SHORT: usize = 8;
/// See [`SHORT`].
pub(super) const LONG: usize = 12;

/// One header, its bytes gathered from as many pieces as they came in.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::dicom) struct Header {
    bytes: [u8; LONG],
    filled: usize,
}

/// The form of an element's header in an explicit stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Two letters and a length of 16 bits.
    Short,
    /// Two letters, two reserved bytes, and a length of 32 bits.
    Long,
    /// No letters: a writer that lapsed into implicit encoding.
    Implicit,
}

impl Header {
    /// Takes bytes from `input` until `size` are there; tells whether they are.
    pub(in crate::dicom) fn fill(&mut self, input: &mut &[u8], size: usize) -> bool {
        let take = size.saturating_sub(self.filled).min(input.len());
        let (head, rest) = input.split_at(take);
        self.bytes[self.filled..self.filled + take].copy_from_slice(head);
        self.filled += take;
        *input = rest;
        self.filled >= size
    }

    pub(in crate::dicom) fn filled(&self) -> usize {
        self.filled
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    pub(super) fn is_zero(&self) -> bool {
        self.as_bytes().iter().all(|&b| b == 0)
    }

    /// The tag; four bytes must be there.
    pub(in crate::dicom) fn tag(&self, syntax: Syntax) -> Tag {
        let [a, b, c, d, ..] = self.bytes;
        Tag::new(syntax.u16([a, b]), syntax.u16([c, d]))
    }

    /// The two bytes where an explicit header has its letters; six bytes must be there.
    pub(super) fn letters(&self) -> Vr {
        Vr([self.bytes[4], self.bytes[5]])
    }

    /// The 32-bit length of an item, a delimiter or an implicit element; eight bytes must be there.
    pub(super) fn plain_length(&self, syntax: Syntax) -> u32 {
        let [_, _, _, _, a, b, c, d, ..] = self.bytes;
        syntax.u32([a, b, c, d])
    }

    /// The bytes that an element's header has altogether; eight must be there.
    pub(in crate::dicom) fn element_size(&self, syntax: Syntax) -> usize {
        if syntax.explicit && self.form(syntax) == Form::Long { LONG } else { SHORT }
    }

    /// Which form the letters call for.
    ///
    /// Letters of no edition: representations to come shall have the long form (PS3.5 section 6.2), with zeros in the
    /// reserved bytes; where those hold something it can only be a short length. Printable rubbish such as `??` is
    /// known from writers that used the short form. Two zeros may be the low half of an implicit length, which then is a multiple of 64 KiB;
    /// where the attribute has a short form, so that no value of it is that long, they stand for letters that somebody did not know.
    /// Anything else is the low half of an implicit length.
    fn form(&self, syntax: Syntax) -> Form {
        let letters = self.letters();
        if letters.is_known() {
            return if letters.has_long_length() { Form::Long } else { Form::Short };
        }
        if letters.is_letters() {
            return if self.bytes[6..8] == [0, 0] { Form::Long } else { Form::Short };
        }
        let printable = letters.0.iter().all(|b| (0x20..0x7F).contains(b));
        if printable || self.is_short_without_letters(syntax) { Form::Short } else { Form::Implicit }
    }

    /// Two zeros where the letters of a short form should be, and a length behind them.
    fn is_short_without_letters(&self, syntax: Syntax) -> bool {
        let zeros = self.bytes[4..6] == [0, 0] && self.bytes[6..8] != [0, 0];
        zeros
            && matches!(dictionary::representation(self.tag(syntax)), Representation::Exactly(vr) if !vr.has_long_length())
    }

    /// The representation (none if it was not written) and the length of an element; [`Self::element_size`] bytes must
    /// be there.
    pub(in crate::dicom) fn element(&self, syntax: Syntax) -> (Option<Vr>, u32) {
        if !syntax.explicit {
            return (None, self.plain_length(syntax));
        }
        match self.form(syntax) {
            Form::Implicit => (None, self.plain_length(syntax)),
            Form::Short => (Some(self.letters()), u32::from(syntax.u16([self.bytes[6], self.bytes[7]]))),
            Form::Long => {
                let [_, _, _, _, _, _, _, _, a, b, c, d] = self.bytes;
                (Some(self.letters()), syntax.u32([a, b, c, d]))
            }
        }
    }
}
