//! Value representations: their two letters, how their length is written, and how their values are made of words.

use std::fmt;

/// A value representation, as the two letters that an explicit data set writes (PS3.5 section 6.2).
///
/// Letters that no edition defines are possible; [`Vr::is_known`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vr(pub [u8; 2]);

macro_rules! representations {
    ($($name:ident $long:literal $unit:literal;)*) => {
        impl Vr {
            $(#[doc = concat!("The value representation ", stringify!($name), ".")]
            pub const $name: Self = Self(two_letters(stringify!($name)));)*
        }

        /// Every value representation of PS3.5 table 6.2-1: whether its length has 32 bits in explicit encodings
        /// (table 7.1-1), and the bytes of one word that byte ordering turns round (section 7.3).
        const KNOWN: &[(Vr, bool, usize)] = &[$((Vr::$name, $long, $unit),)*];
    };
}

representations! {
    AE false 1; AS false 1; AT false 2; CS false 1; DA false 1; DS false 1; DT false 1; FD false 8; FL false 4; IS false 1;
    LO false 1; LT false 1; OB true 1; OD true 8; OF true 4; OL true 4; OV true 8; OW true 2; PN false 1; SH false 1;
    SL false 4; SQ true 1; SS false 2; ST false 1; SV true 8; TM false 1; UC true 1; UI false 1; UL false 4; UN true 1;
    UR true 1; US false 2; UT true 1; UV true 8;
}

const fn two_letters(name: &str) -> [u8; 2] {
    [name.as_bytes()[0], name.as_bytes()[1]]
}

impl Vr {
    /// The representation with these two letters, if PS3.5 table 6.2-1 has it.
    pub fn from_letters(letters: &str) -> Option<Self> {
        let bytes: [u8; 2] = letters.as_bytes().try_into().ok()?;
        Some(Self(bytes)).filter(|vr| vr.is_known())
    }

    fn row(self) -> Option<&'static (Self, bool, usize)> {
        KNOWN.iter().find(|row| row.0 == self)
    }

    /// Tells whether PS3.5 table 6.2-1 defines these letters.
    pub fn is_known(self) -> bool {
        self.row().is_some()
    }

    /// Tells whether both bytes are capital letters, as those of every present and future representation are.
    pub fn is_letters(self) -> bool {
        self.0.iter().all(u8::is_ascii_uppercase)
    }

    /// Tells whether explicit encodings give it two reserved bytes and a length of 32 bits (PS3.5 table 7.1-1).
    ///
    /// Representations still to come shall all have the long form (PS3.5 section 6.2), so letters that are not known
    /// count as long.
    pub fn has_long_length(self) -> bool {
        self.row().is_none_or(|row| row.1)
    }

    /// The bytes of one word of the value, which byte ordering turns round: 1, 2, 4 or 8 (PS3.5 section 7.3).
    pub fn word(self) -> usize {
        self.row().map_or(1, |row| row.2)
    }

    /// Tells whether the Specific Character Set governs values of this representation (PS3.5 section 6.1.2.3).
    pub fn is_text(self) -> bool {
        matches!(self, Self::LO | Self::LT | Self::PN | Self::SH | Self::ST | Self::UC | Self::UT)
    }

    /// What makes a value even: a space after text, NUL after a UID and after what is no text (PS3.5 section 6.2).
    pub fn padding(self) -> u8 {
        let text = [Self::AE, Self::AS, Self::CS, Self::DA, Self::DS, Self::DT, Self::IS, Self::TM, Self::UR];
        if self.is_text() || text.contains(&self) { b' ' } else { 0 }
    }

    /// The two letters, with `?` for what is not printable.
    pub fn letters(self) -> String {
        self.0.iter().map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '?' }).collect()
    }
}

impl fmt::Display for Vr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.letters())
    }
}

impl fmt::Debug for Vr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.letters())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_words_are_those_of_the_standard() {
        let rows = [
            (Vr::UI, false, 1),
            (Vr::US, false, 2),
            (Vr::AT, false, 2),
            (Vr::FD, false, 8),
            (Vr::OW, true, 2),
            (Vr::OB, true, 1),
            (Vr::UN, true, 1),
            (Vr::SQ, true, 1),
            (Vr::SV, true, 8),
            (Vr::UT, true, 1),
            (Vr(*b"ZZ"), true, 1),
        ];
        for (vr, long, word) in rows {
            assert_eq!((vr.has_long_length(), vr.word()), (long, word), "{vr}");
        }
        assert_eq!(KNOWN.len(), 34);
        assert_eq!(Vr::from_letters("OW"), Some(Vr::OW));
        assert_eq!(Vr::from_letters("ow"), None);
        assert_eq!(Vr(*b"A\0").to_string(), "A?");
    }
}
