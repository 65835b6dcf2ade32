//! Names from the annexes of PS3.5, and bytes that no standard allows.

#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn charset(terms: &str) -> Charset {
    Charset::declared(terms.as_bytes())
}

#[test]
fn names_of_the_standards_annexes_are_read() {
    let rows: &[(&str, &[u8], &str)] = &[
        ("", b"Wang^XiaoDong", "Wang^XiaoDong"),
        ("", b"Buc^J\xE9r\xF4me", "Buc^Jérôme"),
        ("ISO_IR 100", b"Buc^J\xE9r\xF4me", "Buc^Jérôme"),
        ("ISO_IR 101", b"W\xB3", "Wł"),
        ("ISO_IR 144", b"\xBB\xEE\xDA\x63\x65\xDC\xD1\x79\x70\xD3", "Люк\u{63}\u{65}мб\u{79}\u{70}г"),
        ("ISO_IR 126", b"\xC4\xE9\xEF\xED\xF5\xF3\xE9\xEF\xF2", "Διονυσιος"),
        ("ISO_IR 127", b"\xE2\xC8\xC7\xE6\xEA^\xE4\xE6\xD2\xC7\xD1", "قباني^لنزار"),
        ("ISO_IR 138", b"\xF9\xF8\xE5\xEF^\xE3\xE1\xE5\xF8\xE4", "שרון^דבורה"),
        ("ISO_IR 148", b"\xC7avu\xFEo\xF0lu", "Çavuşoğlu"),
        ("ISO_IR 166", b"\xA1\xD2", "กา"),
        ("ISO_IR 203", b"\xA4\xBD", "€œ"),
        ("ISO_IR 109", b"\xA1", "Ħ"),
        ("ISO_IR 110", b"\xA2", "ĸ"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东".as_bytes(), "Wang^XiaoDong=王^小东"),
        ("GB18030", b"Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB", "Wang^XiaoDong=王^小东"),
        // A trail byte that looks like a backslash (PS3.5 section J.4).
        ("GBK", b"\x81\x5C", "乗"),
        // PS3.5 section H.3.1 and H.3.2.
        (
            "\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            "ISO 2022 IR 13\\ISO 2022 IR 87",
            b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J=\x1B$B$d$^$@\x1B(J^\x1B$B$?$m$&\x1B(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        ),
        ("\\ISO 2022 IR 159", b"\x1B$(D\x30\x21\x1B(B", "丂"),
        // PS3.5 section I.2.
        (
            "\\ISO 2022 IR 149",
            b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7=\x1B$)C\xC8\xAB^\x1B$)C\xB1\xE6\xB5\xBF",
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
        // The same without the escape sequences, as some write it.
        ("\\ISO 2022 IR 149", b"Hong^Gildong=\xFB\xF3^\xD1\xCE\xD4\xD7", "Hong^Gildong=洪^吉洞"),
        // PS3.5 section K.2.
        ("\\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1B$)A\xD5\xC5^\x1B$)A\xD0\xA1\xB6\xAB=", "Zhang^XiaoDong=张^小东="),
        ("ISO 2022 IR 100\\ISO 2022 IR 144", b"\xE9^\x1B-L\xBB\\\xE9", "é^Л\\é"),
        ("ISO_IR 13", b"\\~\xB1", "\\\u{203E}ｱ"),
        // Spellings of the field.
        ("ISO-IR 100", b"\xE9", "é"),
        ("ISO 8859-1", b"\xE9", "é"),
        ("utf-8", "é".as_bytes(), "é"),
        ("ISO IR 192", "é".as_bytes(), "é"),
        ("\\ISO_IR 192", "Müller^山".as_bytes(), "Müller^山"),
        ("\\GB18030", b"\xCD\xF5", "王"),
        ("ISO_IR 100\0", b"O\x92Neill", "O’Neill"),
        // What cannot be read is seen to be so.
        ("ISO_IR 999", b"a\xE9", "a\u{FFFD}"),
        ("ISO_IR 192", b"a\xE9", "a\u{FFFD}"),
        ("ISO_IR 13", b"\xFF", "\u{FFFD}"),
        ("", b"a\x1Bb\x9B", "a\u{FFFD}b›"),
        ("ISO_IR 101", b"\x9B", "\u{FFFD}"),
        ("\\ISO 2022 IR 87", b"\x1B$B;", "\u{FFFD}"),
        ("\\ISO 2022 IR 149", b"\x1B$)C\xFB", "\u{FFFD}"),
    ];
    for (terms, bytes, want) in rows {
        assert_eq!(charset(terms).decode_name(bytes), *want, "{terms}");
    }
}

#[test]
fn delimiters_set_the_sets_back_only_where_they_are_delimiters() {
    let korean = charset("ISO 2022 IR 100\\ISO 2022 IR 149");
    let value = b"\x1B$)C\xFB\xF3^\xE9\\\xE9";
    assert_eq!(korean.decode_name(value), "洪^é\\é");
    assert_eq!(korean.decode(b"\x1B$)C\xFB\xF3^\xFB\xF3\\\xE9"), "洪^洪\\é");
    // 5C as the second byte of a kanji is no delimiter.
    assert_eq!(charset("\\ISO 2022 IR 87").decode(b"\x1B$B0\x5C0\x5C\x1B(B"), "移移");
}

#[test]
fn declarations_keep_their_order_and_their_empty_first_term() {
    assert_eq!(charset(""), Charset::default());
    assert_eq!(charset("  "), Charset::default());
    assert_eq!(charset("\\ISO 2022 IR 87 ").terms, ["".into(), "ISO 2022 IR 87".into()]);
    assert_eq!(charset("\\ISO_IR 192 ").terms, ["ISO_IR 192".into()]);
    assert_eq!(charset(&"\\".repeat(10_000)), Charset::default());
    assert_eq!(charset(&"a\\".repeat(10_000)).terms.len(), MAX_TERMS);
}

proptest! {
    #[test]
    fn any_bytes_are_read_in_bounded_space(terms in "[A-Z0-9_ \\\\]{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = charset(&terms).decode(&bytes);
        prop_assert!(text.len() <= 3 * bytes.len());
        let ascii: Vec<u8> = bytes.iter().map(|b| b & 0x3F | 0x40).filter(|&b| b != 0x7F).collect();
        prop_assert_eq!(charset("ISO_IR 100").decode(&ascii), String::from_utf8(ascii).unwrap());
    }
}
