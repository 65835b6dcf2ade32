//! From Unicode to a declared character set, for answers in the asker's own (PS3.5 section 6.1.2.5).

use super::Charset;
use super::sets::{self, Designated, Left, Right, Term};

const TO_ASCII: &[u8] = b"\x1B(B";
const TO_ROMAN: &[u8] = b"\x1B(J";

impl Charset {
    /// The bytes of a value in this character set; `None` if it cannot hold every character. What is encoded decodes to the same.
    ///
    /// Several values may be joined by backslashes. For person names use [`Self::encode_name`].
    pub fn encode(&self, text: &str) -> Option<Vec<u8>> {
        self.encode_between(text, "\\")
    }

    /// The bytes of a PN value; see [`Self::encode`].
    pub fn encode_name(&self, text: &str) -> Option<Vec<u8>> {
        self.encode_between(text, "\\^=")
    }

    fn encode_between(&self, text: &str, delimiters: &str) -> Option<Vec<u8>> {
        let Some(first) = self.terms.first() else { return text.is_ascii().then(|| text.into()) };
        let whole = |encoding: &'static encoding_rs::Encoding| {
            let (bytes, _, unmappable) = encoding.encode(text);
            (!unmappable).then(|| bytes.into_owned())
        };
        let bytes = match Term::named(first) {
            Term::Utf8 => text.into(),
            Term::Gb18030 if first.contains("GBK") => whole(encoding_rs::GBK)?,
            Term::Gb18030 => whole(encoding_rs::GB18030)?,
            Term::Sets(left, right) => self.encode_sets(text, delimiters, left, right)?,
        };
        (self.decode_between(&bytes, delimiters.as_bytes()) == text).then_some(bytes)
    }

    fn encode_sets(&self, text: &str, delimiters: &str, left: Left, right: Option<Right>) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(text.len());
        let back: &[u8] = if left == Left::JisRoman { TO_ROMAN } else { TO_ASCII };
        let (mut g0, mut g1) = (left, right);
        for c in text.chars() {
            if c.is_ascii() {
                if g0 != left {
                    out.extend_from_slice(back);
                    g0 = left;
                }
                out.push(c as u8);
                if delimiters.contains(c) || matches!(c, '\t' | '\n' | '\x0C' | '\r') {
                    g1 = right;
                }
                continue;
            }
            let present = g1.and_then(|set| set.encode(c)).or_else(|| (g0 != left).then(|| g0.encode(c)).flatten());
            if let Some(bytes) = present {
                out.extend(bytes);
                continue;
            }
            // Code extension needs a declaration of several sets.
            let declared = self.terms.iter().filter(|_| self.terms.len() > 1).filter_map(|term| escape_of(term));
            let (escape, set, bytes) = declared.into_iter().find_map(|escape| {
                let (_, set) = sets::escape(escape)?;
                let bytes = match set {
                    Designated::Left(set) => set.encode(c),
                    Designated::Right(set) => set.encode(c),
                };
                Some((escape, set, bytes?))
            })?;
            out.extend_from_slice(escape);
            match set {
                Designated::Left(set) => g0 = set,
                Designated::Right(set) => g1 = Some(set),
            }
            out.extend(bytes);
        }
        if g0 != left {
            out.extend_from_slice(back);
        }
        Some(out)
    }
}

/// The escape sequence that designates the set of a declared term (PS3.3 tables C.12-3 and C.12-4).
fn escape_of(term: &str) -> Option<&'static [u8]> {
    let digits = term.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    Some(match digits {
        "87" => b"\x1B$B",
        "159" => b"\x1B$(D",
        "13" => b"\x1B)I",
        "149" => b"\x1B$)C",
        "58" => b"\x1B$)A",
        "100" => b"\x1B-A",
        "101" => b"\x1B-B",
        "109" => b"\x1B-C",
        "110" => b"\x1B-D",
        "126" => b"\x1B-F",
        "127" => b"\x1B-G",
        "138" => b"\x1B-H",
        "144" => b"\x1B-L",
        "148" => b"\x1B-M",
        "166" => b"\x1B-T",
        "203" => b"\x1B-b",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of PS3.5 annexes H, I and K, and plain sets.
    #[test]
    fn text_is_encoded_as_the_standard_shows_or_not_at_all() {
        let rows: &[(&str, &str, Option<&[u8]>)] = &[
            ("", "Smith", Some(b"Smith")),
            ("", "Müller", None),
            ("ISO_IR 100", "Müller", Some(b"M\xFCller")),
            ("ISO_IR 100", "€", None),
            ("ISO_IR 100", "山", None),
            ("ISO_IR 144", "Люк", Some(b"\xBB\xEE\xDA")),
            ("ISO_IR 192", "Люк", Some("Люк".as_bytes())),
            ("GB18030", "王^小东", Some(b"\xCD\xF5^\xD0\xA1\xB6\xAB")),
            ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎", Some(b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B")),
            (
                "ISO 2022 IR 13\\ISO 2022 IR 87",
                "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
                Some(b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J"),
            ),
            (
                "\\ISO 2022 IR 149",
                "Hong^Gildong=洪^吉洞",
                Some(b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7"),
            ),
            ("\\ISO 2022 IR 58", "Wang=王", Some(b"Wang=\x1B$)A\xCD\xF5")),
            ("ISO 2022 IR 100\\ISO 2022 IR 144", "Müller^Люк", Some(b"M\xFCller^\x1B-L\xBB\xEE\xDA")),
            ("\\ISO 2022 IR 149", "Müller", None),
        ];
        for (declared, text, want) in rows {
            let charset = Charset::declared(declared.as_bytes());
            let got = charset.encode_name(text);
            assert_eq!(got.as_deref(), *want, "{text} in {declared:?}");
            if let Some(bytes) = got {
                assert_eq!(charset.decode_name(&bytes), *text, "{declared:?}");
            }
        }
    }
}
