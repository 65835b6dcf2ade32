//! The coded character sets of PS3.3 tables C.12-2 to C.12-5, on the tables of encoding_rs.

use encoding_rs::Encoding;

/// What a defined term of (0008,0005) stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Term {
    /// ISO_IR 192.
    Utf8,
    /// GB18030, and GBK, which is a part of it.
    Gb18030,
    /// Sets for the bytes without and with the high bit; none if the term gives those no meaning.
    Sets(Left, Option<Right>),
}

/// A set for bytes without the high bit (G0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// ISO 646, ISO_IR 6.
    Ascii,
    /// JIS X 0201 romaji, ISO_IR 14.
    JisRoman,
    /// JIS X 0208 kanji, ISO_IR 87: two bytes.
    Jis0208,
    /// JIS X 0212 supplementary kanji, ISO_IR 159: two bytes.
    Jis0212,
}

/// A set for bytes with the high bit (G1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Right {
    /// A set of one byte that this encoding has in its upper half.
    Single(&'static Encoding),
    /// JIS X 0201 katakana, ISO_IR 13.
    Katakana,
    /// A set of two bytes, both with the high bit, that this encoding contains: KS X 1001 (ISO_IR 149) or GB 2312
    /// (ISO_IR 58).
    Double(&'static Encoding),
    /// A term that no edition has.
    Unknown,
}

/// Which half an escape sequence gives a set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Designated {
    /// G0.
    Left(Left),
    /// G1.
    Right(Right),
}

impl Right {
    /// ISO 8859-1, ISO_IR 100, with the printable part of Windows 1252, which much equipment writes in its name.
    pub(super) const LATIN_1: Self = Self::Single(encoding_rs::WINDOWS_1252);
    const LATIN_5: Self = Self::Single(encoding_rs::WINDOWS_1254);
    const KSX_1001: Self = Self::Double(encoding_rs::EUC_KR);
    const GB_2312: Self = Self::Double(encoding_rs::GBK);

    /// The first character of `first` and `rest`, and its bytes.
    pub(super) fn decode(self, first: u8, rest: &[u8]) -> (char, usize) {
        match (self, rest) {
            (Self::Single(encoding), _) => (one(encoding, &[first]), 1),
            (Self::Katakana, _) => {
                let offset = u32::from(first).checked_sub(0xA1).filter(|&offset| offset < 63);
                (offset.and_then(|offset| char::from_u32(0xFF61 + offset)).unwrap_or(char::REPLACEMENT_CHARACTER), 1)
            }
            (Self::Double(encoding), &[second @ 0xA1..=0xFE, ..]) if first >= 0xA1 => {
                (one(encoding, &[first, second]), 2)
            }
            (Self::Double(_) | Self::Unknown, _) => (char::REPLACEMENT_CHARACTER, 1),
        }
    }
}

impl Right {
    /// The bytes of a character, if the set has it.
    pub(super) fn encode(self, c: char) -> Option<Vec<u8>> {
        let (bytes, wide) = match self {
            Self::Single(encoding) => (bytes_of(encoding, c)?, false),
            Self::Double(encoding) => (bytes_of(encoding, c)?, true),
            Self::Katakana => {
                let offset = u32::from(c).checked_sub(0xFF61).filter(|&offset| offset < 63)?;
                (vec![0xA1 + offset as u8], false)
            }
            Self::Unknown => return None,
        };
        let right = bytes.len() == 1 + usize::from(wide) && bytes.iter().all(|&b| b >= if wide { 0xA1 } else { 0xA0 });
        right.then_some(bytes)
    }
}

fn bytes_of(encoding: &'static Encoding, c: char) -> Option<Vec<u8>> {
    let mut buffer = [0; 4];
    let (bytes, _, unmappable) = encoding.encode(c.encode_utf8(&mut buffer));
    (!unmappable).then(|| bytes.into_owned())
}

impl Left {
    /// The bytes of a character that is not ASCII, if the set has it; those of JIS X 0212 are not written.
    pub(super) fn encode(self, c: char) -> Option<Vec<u8>> {
        match (self, bytes_of(encoding_rs::EUC_JP, c)?.as_slice()) {
            (Self::Jis0208, &[first @ 0xA1..=0xFE, second @ 0xA1..=0xFE]) => Some(vec![first & 0x7F, second & 0x7F]),
            _ => None,
        }
    }

    /// The first character of `first` and `rest`, and its bytes.
    pub(super) fn decode(self, first: u8, rest: &[u8]) -> (char, usize) {
        let second = rest.first().copied().filter(|b| (0x21..0x7F).contains(b));
        match (self, second) {
            (Self::JisRoman, _) if first == 0x7E => ('\u{203E}', 1),
            // The yen sign of JIS X 0201 stays a backslash: in DICOM this byte is the delimiter (PS3.5 section
            // 6.1.2.3).
            (Self::Ascii | Self::JisRoman, _) => (char::from(first), 1),
            (Self::Jis0208, Some(second)) => (one(encoding_rs::EUC_JP, &[first | 0x80, second | 0x80]), 2),
            (Self::Jis0212, Some(second)) => (one(encoding_rs::EUC_JP, &[0x8F, first | 0x80, second | 0x80]), 2),
            (Self::Jis0208 | Self::Jis0212, None) => (char::REPLACEMENT_CHARACTER, 1),
        }
    }
}

/// The one printable character that the bytes are.
fn one(encoding: &'static Encoding, bytes: &[u8]) -> char {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
    let mut chars = text.iter().flat_map(|text| text.chars());
    match (chars.next(), chars.next()) {
        (Some(c), None) if !c.is_control() => c,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// The escape sequence that `bytes` start with: its size, and what it designates (PS3.3 tables C.12-3 and C.12-4).
pub(super) fn escape(bytes: &[u8]) -> Option<(usize, Designated)> {
    use Designated::{Left as L, Right as R};
    let single = |encoding| R(Right::Single(encoding));
    Some(match bytes {
        [0x1B, b'(', b'B', ..] => (3, L(Left::Ascii)),
        [0x1B, b'(', b'J', ..] => (3, L(Left::JisRoman)),
        [0x1B, b'$', b'B', ..] => (3, L(Left::Jis0208)),
        [0x1B, b'$', b'(', b'D', ..] => (4, L(Left::Jis0212)),
        [0x1B, b')', b'I', ..] => (3, R(Right::Katakana)),
        [0x1B, b'$', b')', b'C', ..] => (4, R(Right::KSX_1001)),
        [0x1B, b'$', b')', b'A', ..] => (4, R(Right::GB_2312)),
        [0x1B, b'-', b'A', ..] => (3, R(Right::LATIN_1)),
        [0x1B, b'-', b'B', ..] => (3, single(encoding_rs::ISO_8859_2)),
        [0x1B, b'-', b'C', ..] => (3, single(encoding_rs::ISO_8859_3)),
        [0x1B, b'-', b'D', ..] => (3, single(encoding_rs::ISO_8859_4)),
        [0x1B, b'-', b'F', ..] => (3, single(encoding_rs::ISO_8859_7)),
        [0x1B, b'-', b'G', ..] => (3, single(encoding_rs::ISO_8859_6)),
        [0x1B, b'-', b'H', ..] => (3, single(encoding_rs::ISO_8859_8)),
        [0x1B, b'-', b'L', ..] => (3, single(encoding_rs::ISO_8859_5)),
        [0x1B, b'-', b'M', ..] => (3, R(Right::LATIN_5)),
        [0x1B, b'-', b'T', ..] => (3, single(encoding_rs::WINDOWS_874)),
        [0x1B, b'-', b'b', ..] => (3, single(encoding_rs::ISO_8859_15)),
        _ => return None,
    })
}

impl Term {
    /// The meaning of a defined term, with or without code extension, in the standard's spelling or one near it.
    pub(super) fn named(term: &str) -> Self {
        let plain: String = term.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
        let single = |encoding| Self::Sets(Left::Ascii, Some(Right::Single(encoding)));
        let ascii = |right| Self::Sets(Left::Ascii, Some(right));
        match plain.strip_prefix("ISO2022").unwrap_or(&plain).trim_start_matches("ISO").trim_start_matches("IR") {
            "192" | "UTF8" | "106461" => Self::Utf8,
            "GB18030" | "GBK" => Self::Gb18030,
            "" | "6" | "646" | "87" | "159" => Self::Sets(Left::Ascii, None),
            "100" | "88591" | "LATIN1" => ascii(Right::LATIN_1),
            "101" | "88592" => single(encoding_rs::ISO_8859_2),
            "109" | "88593" => single(encoding_rs::ISO_8859_3),
            "110" | "88594" => single(encoding_rs::ISO_8859_4),
            "144" | "88595" => single(encoding_rs::ISO_8859_5),
            "127" | "88596" => single(encoding_rs::ISO_8859_6),
            "126" | "88597" => single(encoding_rs::ISO_8859_7),
            "138" | "88598" => single(encoding_rs::ISO_8859_8),
            "148" | "88599" => ascii(Right::LATIN_5),
            "203" | "885915" => single(encoding_rs::ISO_8859_15),
            "166" | "TIS620" => single(encoding_rs::WINDOWS_874),
            "13" => Self::Sets(Left::JisRoman, Some(Right::Katakana)),
            "149" => ascii(Right::KSX_1001),
            "58" => ascii(Right::GB_2312),
            _ => ascii(Right::Unknown),
        }
    }
}
