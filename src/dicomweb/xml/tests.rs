//! Tests of the XML reader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::dicomweb::json::write_one;

fn model(inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><NativeDicomModel xmlns=\"http://x\" xml:space=\"preserve\">{inside}</NativeDicomModel>"
    )
}

#[test]
fn the_native_model_is_read_as_its_json_twin() {
    let rows = [
        ("", "{}"),
        (
            r#"<DicomAttribute tag="00080018" vr="UI" keyword="SOPInstanceUID"><Value number="1">1.2.3</Value></DicomAttribute>"#,
            r#"{"00080018":{"vr":"UI","Value":["1.2.3"]}}"#,
        ),
        (
            "<DicomAttribute tag=\"00081197\" vr=\"US\">\n <Value number=\"1\">272</Value>\n</DicomAttribute>",
            r#"{"00081197":{"vr":"US","Value":[272]}}"#,
        ),
        (
            r#"<DicomAttribute tag="00080008" vr="CS"><Value number="1">A</Value><Value number="3">&lt;B&#38;</Value></DicomAttribute>"#,
            r#"{"00080008":{"vr":"CS","Value":["A",null,"<B&"]}}"#,
        ),
        (
            r#"<d:DicomAttribute xmlns:d="y" tag="00081199" vr="SQ"><Item number="1"><DicomAttribute tag="00081155" vr="UI"/></Item><Item/></d:DicomAttribute>"#,
            r#"{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI"}},{}]}}"#,
        ),
        (
            r#"<DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><Alphabetic><FamilyName>Wang</FamilyName><NamePrefix>Dr</NamePrefix></Alphabetic></PersonName></DicomAttribute>"#,
            r#"{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Wang^^^Dr"}]}}"#,
        ),
        (
            r#"<DicomAttribute tag="7fe00010" vr="OW"><BulkData uri="http://a?b&amp;c"/></DicomAttribute>"#,
            r#"{"7FE00010":{"vr":"OW","BulkDataURI":"http://a?b&c"}}"#,
        ),
        (
            "<DicomAttribute tag=\"00420011\" vr=\"OB\"><InlineBinary>AP\n8=</InlineBinary><New><Deep/></New></DicomAttribute>",
            r#"{"00420011":{"vr":"OB","InlineBinary":"AP8="}}"#,
        ),
    ];
    for (xml, json) in rows {
        let set = read(model(xml).as_bytes(), Limits::default()).unwrap_or_else(|error| panic!("{xml}: {error}"));
        assert_eq!(String::from_utf8(write_one(&set)).unwrap(), json);
    }
}

/// PS3.19 table A.1.5-2: a private attribute names its creator and leaves its block out.
#[test]
fn private_attributes_come_back_into_the_blocks_of_their_creators() {
    let creator = |block: u8, name: &str| {
        format!(
            "<DicomAttribute tag=\"000900{block:02X}\" vr=\"LO\"><Value number=\"1\">{name}</Value></DicomAttribute>"
        )
    };
    let of = |tag: &str, creator: &str, value: &str| {
        format!(
            "<DicomAttribute tag=\"{tag}\" vr=\"SH\" privateCreator=\"{creator}\"><Value number=\"1\">{value}</Value></DicomAttribute>"
        )
    };
    let one = of("00090001", "A", "a");
    let two = of("00090001", "B", "b");
    let rows = [
        // Each in its own block, wherever that is reserved.
        (
            [creator(0x10, "A"), creator(0x20, "B"), one.clone(), two.clone()].concat(),
            vec![(0x1001, "a"), (0x2001, "b")],
        ),
        (
            [one.clone(), two.clone(), creator(0x20, "A"), creator(0x11, "B ")].concat(),
            vec![(0x1101, "b"), (0x2001, "a")],
        ),
        // Nobody has reserved one: the first that are free.
        ([creator(0x10, "C"), one.clone(), two.clone()].concat(), vec![(0x1101, "a"), (0x1201, "b")]),
        // The tag says the block itself.
        (of("00091501", "A", "a"), vec![(0x1501, "a")]),
        // The first of two blocks of one creator.
        ([creator(0x10, "A"), creator(0x11, "A"), one.clone()].concat(), vec![(0x1001, "a")]),
    ];
    for (inside, want) in rows {
        let set =
            read(model(&inside).as_bytes(), Limits::default()).unwrap_or_else(|error| panic!("{inside}: {error}"));
        let found: Vec<(u16, &str)> = set
            .iter()
            .filter(|(tag, _)| tag.element() > 0xFF)
            .map(|(tag, _)| (tag.element(), set.first_text(tag).unwrap()))
            .collect();
        assert_eq!(found, want, "{inside}");
        for (element, _) in found {
            assert!(element == 0x1501 || set.get(Tag::new(9, element >> 8)).is_some(), "its creator: {inside}");
        }
    }
    let twice = model(&[one.clone(), one].concat());
    assert_eq!(read(twice.as_bytes(), Limits::default()), Err(TWICE));
    let full: String = (0x10..=0xFF).map(|block| creator(block, &format!("C{block}"))).collect();
    let full = model(&[full, two].concat());
    assert_eq!(read(full.as_bytes(), Limits::default()), Err(XmlError::Attribute("its group has no block left")));
}

/// A representation that is missing, or that nobody knows, is that of the dictionary, else UN; the rest of the answer is read (as JSON).
#[test]
fn a_representation_that_says_nothing_is_that_of_the_dictionary() {
    let rows = [
        ("00080018", "<Value number=\"1\">1.2</Value>", r#"{"00080018":{"vr":"UI","Value":["1.2"]}}"#),
        ("00081197", "<Value number=\"1\">272</Value>", r#"{"00081197":{"vr":"US","Value":[272]}}"#),
        ("00081199", "<Item number=\"1\"/>", r#"{"00081199":{"vr":"SQ","Value":[{}]}}"#),
        (
            "00100010",
            "<PersonName number=\"1\"><Alphabetic><FamilyName>Wang</FamilyName></Alphabetic></PersonName>",
            r#"{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Wang"}]}}"#,
        ),
        ("00091001", "<InlineBinary>AP8=</InlineBinary>", r#"{"00091001":{"vr":"UN","InlineBinary":"AP8="}}"#),
        ("00091001", "", r#"{"00091001":{"vr":"UN"}}"#),
    ];
    for (tag, inside, json) in rows {
        for vr in ["", " vr=\"\"", " vr=\"ZZ\"", " vr=\"OB or OW\""] {
            let xml = model(&format!("<DicomAttribute tag=\"{tag}\"{vr}>{inside}</DicomAttribute>"));
            let set = read(xml.as_bytes(), Limits::default()).unwrap_or_else(|error| panic!("{xml}: {error}"));
            assert_eq!(String::from_utf8(write_one(&set)).unwrap(), json, "{xml}");
        }
    }
}

#[test]
fn wrong_and_hostile_texts_are_refused() {
    let attribute = |tag: &str, vr: &str, inside: &str| {
        model(&format!("<DicomAttribute tag=\"{tag}\" vr=\"{vr}\">{inside}</DicomAttribute>"))
    };
    let nested = |n: usize| {
        let open = r#"<DicomAttribute tag="00081199" vr="SQ"><Item number="1">"#;
        model(&format!("{}{}", open.repeat(n), "</Item></DicomAttribute>".repeat(n)))
    };
    let bomb = format!("<!DOCTYPE x [<!ENTITY a \"aaaa\">]>{}", attribute("00080018", "UI", "<Value>&a;</Value>"));
    let twice = r#"<DicomAttribute tag="00080018" vr="UI"/>"#.repeat(2);
    let rows = [
        (String::new(), XmlError::OtherRoot),
        ("<html/>".into(), XmlError::OtherRoot),
        ("{}".into(), XmlError::OtherRoot),
        ("<NativeDicomModel>".into(), XmlError::Syntax),
        ("<NativeDicomModel></Other>".into(), XmlError::Syntax),
        (bomb, XmlError::Entities),
        (attribute("00080018", "UI", "<Value>&own;</Value>"), XmlError::Entities),
        (attribute("8", "UI", ""), XmlError::Attribute("its tag is not eight hexadecimal digits")),
        (
            attribute("00081199", "SQ", "<Value>x</Value>"),
            XmlError::Attribute("a sequence holds something else than objects"),
        ),
        (model(&twice), XmlError::Attribute("it stands twice in a data set")),
        (nested(25), XmlError::TooDeep),
        (nested(100_000), XmlError::TooDeep),
        (model(&"<x>".repeat(100_000)), XmlError::TooDeep),
        (model(&"<x/>".repeat(300_000)), XmlError::TooMany),
        (attribute("00080008", "CS", "<Value number=\"4000000000\">x</Value>"), XmlError::TooMany),
    ];
    for (text, want) in rows {
        assert_eq!(read(text.as_bytes(), Limits::default()), Err(want), "{}", &text[..text.len().min(200)]);
    }
    assert!(read(nested(24).as_bytes(), Limits::default()).is_ok());
}
