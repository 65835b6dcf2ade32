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
        (attribute("00080018", "ZZ", ""), XmlError::Attribute("its vr is not a value representation")),
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
