//! Writes the Native DICOM Model (PS3.19 Annex A): attributes with keyword and VR, values with their numbers.

use super::creators::Creators;
use crate::dicom::tag::Tag;
use crate::dicomweb::dataset::{Dataset, Element, PersonName, VR, Value};
use ::dicom::core::dictionary::{DataDictionary, DataDictionaryEntry};
use ::dicom::dictionary_std::StandardDataDictionary;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::io::Write;

/// The beginning of a document.
pub(in crate::dicomweb) const BEGIN: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<NativeDicomModel xmlns=\"http://dicom.nema.org/PS3.19/models/NativeDICOM\" xml:space=\"preserve\">";
/// The end of a document.
pub(in crate::dicomweb) const END: &[u8] = b"</NativeDicomModel>";
/// The end of an attribute that [`open`] began.
pub(in crate::dicomweb) const CLOSE: &[u8] = b"</DicomAttribute>";

/// The attributes of a data set, without group lengths and the groups of commands and files.
pub(in crate::dicomweb) fn attributes(set: &Dataset, out: &mut Vec<u8>) {
    let mut creators = Creators::default();
    for (tag, element) in set.iter().filter(|(tag, _)| tag.element() != 0 && tag.group() > 0x0002) {
        creators.note(tag, element);
        open(tag, element.vr, &creators, out);
        values(element, out);
        out.extend_from_slice(CLOSE);
    }
}

/// A data set as a Native DICOM Model document (PS3.19 section A.1).
pub fn document(set: &Dataset) -> Vec<u8> {
    let mut out = BEGIN.to_vec();
    attributes(set, &mut out);
    out.extend_from_slice(END);
    out
}

/// The beginning of an attribute: a private one by its creator, and without its block (PS3.19 table A.1.5-2).
pub(in crate::dicomweb) fn open(tag: Tag, vr: VR, creators: &Creators, out: &mut Vec<u8>) {
    let entry = StandardDataDictionary.by_tag(::dicom::core::Tag(tag.group(), tag.element()));
    // An entry for a range of tags has no keyword of its own.
    let keyword = entry.map(|entry| entry.alias()).filter(|word| word.bytes().all(|b| b.is_ascii_alphanumeric()));
    let keyword = keyword.map(|word| format!(" keyword=\"{word}\"")).unwrap_or_default();
    let (tag, creator) = creators.written(tag);
    let creator = creator.map(|name| format!(" privateCreator=\"{}\"", escaped(name))).unwrap_or_default();
    put(out, format_args!("<DicomAttribute tag=\"{:08X}\" vr=\"{vr}\"{keyword}{creator}>", tag.0));
}

/// One item of a sequence; numbers begin with 1.
pub(in crate::dicomweb) fn item(number: usize, set: &Dataset, out: &mut Vec<u8>) {
    put(out, format_args!("<Item number=\"{number}\">"));
    attributes(set, out);
    out.extend_from_slice(b"</Item>");
}

/// The content of an attribute.
pub(in crate::dicomweb) fn values(element: &Element, out: &mut Vec<u8>) {
    match &element.value {
        Value::Empty => {}
        Value::Text(texts) => numbered(texts, out, |text, number, out| {
            put(out, format_args!("<Value number=\"{number}\">{}</Value>", escaped(text)));
        }),
        Value::Numbers(numbers) => numbered(numbers, out, |value, number, out| {
            put(out, format_args!("<Value number=\"{number}\">{}</Value>", value.as_str()));
        }),
        Value::Names(names) => numbered(names, out, |name, number, out| {
            put(out, format_args!("<PersonName number=\"{number}\">"));
            groups(name, out);
            out.extend_from_slice(b"</PersonName>");
        }),
        Value::Items(items) => {
            for (n, set) in items.iter().enumerate() {
                item(n + 1, set, out);
            }
        }
        Value::Inline(bytes) => put(out, format_args!("<InlineBinary>{}</InlineBinary>", STANDARD.encode(bytes))),
        Value::BulkData(uri) => put(out, format_args!("<BulkData uri=\"{}\"/>", escaped(uri))),
    }
}

/// Empty values are left out; the numbers of the others tell (PS3.19 A.1.5).
fn numbered<T>(values: &[Option<T>], out: &mut Vec<u8>, mut write: impl FnMut(&T, usize, &mut Vec<u8>)) {
    for (n, value) in values.iter().enumerate() {
        if let Some(value) = value {
            write(value, n + 1, out);
        }
    }
}

fn groups(name: &PersonName, out: &mut Vec<u8>) {
    const COMPONENTS: [&str; 5] = ["FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"];
    let groups = [("Alphabetic", &name.alphabetic), ("Ideographic", &name.ideographic), ("Phonetic", &name.phonetic)];
    for (group, text) in groups.into_iter().filter(|(_, text)| !text.is_empty()) {
        put(out, format_args!("<{group}>"));
        // What some write behind a fifth component stays in that.
        let parts = text.splitn(COMPONENTS.len(), '^');
        for (component, part) in COMPONENTS.into_iter().zip(parts).filter(|(_, part)| !part.is_empty()) {
            put(out, format_args!("<{component}>{}</{component}>", escaped(part)));
        }
        put(out, format_args!("</{group}>"));
    }
}

/// Text for content and attributes. Control characters that XML 1.0 has no way to write are left out.
fn escaped(text: &str) -> Cow<'_, str> {
    let plain = |c: char| !matches!(c, '&' | '<' | '>' | '"' | '\0'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}');
    if text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", u32::from(c))),
            c if plain(c) => out.push(c),
            _ => {}
        }
    }
    Cow::Owned(out)
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into a Vec cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dicomweb::json::Limits;

    #[test]
    fn what_is_written_is_read_back() {
        let inner = Dataset::from_iter([
            (Tag(0x0009_0020), Element::text(VR::LO, "INNER")),
            (Tag(0x0009_2001), Element::text(VR::DS, "7")),
            (Tag(0x0040_A043), Element::text(VR::LO, "inside")),
        ]);
        let set = Dataset::from_iter([
            (Tag(0x0008_0005), Element::text(VR::CS, "ISO_IR 192")),
            (Tag(0x0008_0008), Element::text(VR::CS, "ORIGINAL\\\\AXIAL")),
            (Tag(0x0008_1190), Element::text(VR::UR, "https://b/x?a=1&b=<\">")),
            (Tag(0x0010_0010), Element::text(VR::PN, "Buc^Jérôme=山田^太郎")),
            (Tag(0x0010_0020), Element::empty(VR::LO)),
            (Tag(0x0010_1001), Element::text(VR::PN, "A^^C^^E^F^^G")),
            (Tag(0x0010_4000), Element::text(VR::LT, "two\r\nlines\tand a tab")),
            (Tag(0x0018_0050), Element::text(VR::DS, "1.50")),
            (Tag(0x0028_0010), Element::number(VR::US, 512)),
            (Tag(0x0009_0010), Element::text(VR::LO, "FIELD \"TEST\"")),
            (Tag(0x0009_0011), Element::text(VR::LO, "OTHER")),
            (Tag(0x0009_0012), Element::text(VR::LO, "OTHER")),
            (Tag(0x0009_1001), Element::text(VR::LO, "of the first")),
            (Tag(0x0009_1101), Element::text(VR::LO, "of another")),
            (Tag(0x0009_1201), Element::text(VR::LO, "of his second block")),
            (Tag(0x0009_1301), Element::text(VR::LO, "of nobody")),
            (Tag(0x0040_0275), Element::items(vec![inner.clone(), Dataset::default(), inner])),
            (Tag(0x0042_0011), Element { vr: VR::OB, value: Value::Inline(vec![1, 2, 255]) }),
            (Tag(0x7FE0_0010), Element { vr: VR::OW, value: Value::BulkData("https://b/bulk".to_owned()) }),
        ]);
        let mut out = BEGIN.to_vec();
        attributes(&set, &mut out);
        out.extend_from_slice(END);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("keyword=\"RetrieveURL\"") && text.contains("<GivenName>Jérôme</GivenName>"), "{text}");
        for private in [
            "tag=\"00090001\" vr=\"LO\" privateCreator=\"FIELD &quot;TEST&quot;\">",
            "tag=\"00090001\" vr=\"LO\" privateCreator=\"OTHER\">",
            "tag=\"00090001\" vr=\"DS\" privateCreator=\"INNER\">",
            "tag=\"00091201\" vr=\"LO\">",
            "tag=\"00091301\" vr=\"LO\">",
        ] {
            assert!(text.contains(private), "{private} in {text}");
        }
        let back = crate::dicomweb::xml::read(text.as_bytes(), Limits::default()).unwrap();
        for ((tag, wrote), (read_tag, read)) in set.iter().zip(back.iter()) {
            assert!(tag == read_tag && wrote == read, "{tag}");
        }
        assert_eq!(set.iter().count(), back.iter().count());
    }

    #[test]
    fn what_xml_cannot_say_is_left_out() {
        assert_eq!(escaped("a\0b\u{1}c\u{FFFF}"), "abc");
        assert_eq!(escaped("a<b>&\"c\""), "a&lt;b&gt;&amp;&quot;c&quot;");
    }
}
