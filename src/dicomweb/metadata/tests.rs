//! Metadata of small data sets, pushed in pieces of every size.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::dicomweb::json::Limits;

fn header(tag: u32, vr: &[u8; 2], length: u32) -> Vec<u8> {
    let mut out = [((tag >> 16) as u16).to_le_bytes(), (tag as u16).to_le_bytes()].concat();
    out.extend_from_slice(vr);
    match Vr(*vr).has_long_length() {
        true => out.extend_from_slice(&[&[0, 0][..], &length.to_le_bytes()].concat()),
        false => out.extend_from_slice(&(length as u16).to_le_bytes()),
    }
    out
}

fn element(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    [header(tag, vr, value.len() as u32), value.to_vec()].concat()
}

fn sequence(tag: u32, items: &[Vec<u8>]) -> Vec<u8> {
    let item =
        |content: &Vec<u8>| [&[0xFE, 0xFF, 0x00, 0xE0][..], &(content.len() as u32).to_le_bytes(), content].concat();
    element(tag, b"SQ", &items.iter().map(item).collect::<Vec<_>>().concat())
}

fn metadata(form: Form, set: &[u8], step: usize) -> Result<String, StructureError> {
    let (mut metadata, mut out) = (Metadata::new(form, "https://a/i".into()), Vec::new());
    set.chunks(step).try_for_each(|piece| metadata.push(piece, &mut out))?;
    metadata.finish(&mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn sample() -> Vec<u8> {
    [
        element(0x0008_0000, b"UL", &[0; 4]),
        element(0x0008_0005, b"CS", b"ISO_IR 100"),
        sequence(
            0x0008_1140,
            &[
                [element(0x0008_0005, b"CS", b"ISO_IR 192"), element(0x0008_0104, b"LO", "é".as_bytes())].concat(),
                vec![],
                element(0x0042_0011, b"OB", &[7; 2000]),
            ],
        ),
        sequence(0x0008_1199, &[]),
        element(0x0010_0010, b"PN", b"Caf\xE9"),
        element(0x0010_0020, b"LO", b""),
        element(0x0010_4000, b"LT", b"two\r\nlines "),
        element(0x0028_0010, b"US", &[0, 2]),
        element(0x0028_1201, b"OW", &[1; 1024]),
        element(0x7FE0_0010, b"OW", &[0; 1026]),
    ]
    .concat()
}

#[test]
fn every_attribute_is_written_and_what_is_long_is_a_link() {
    let want = concat!(
        r#"{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"#,
        r#""00081140":{"vr":"SQ","Value":[{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"#,
        r#""00080104":{"vr":"LO","Value":["é"]}},{},{"00420011":{"vr":"OB","#,
        r#""BulkDataURI":"https://a/i/bulkdata/00081140/3/00420011"}}]},"#,
        r#""00081199":{"vr":"SQ"},"00100010":{"vr":"PN","Value":[{"Alphabetic":"Café"}]},"00100020":{"vr":"LO"},"#,
        r#""00104000":{"vr":"LT","Value":["two\r\nlines"]},"00280010":{"vr":"US","Value":[512]},"00281201":{"vr":"OW","InlineBinary":"#,
    );
    let link = r#""7FE00010":{"vr":"OW","BulkDataURI":"https://a/i/bulkdata/7FE00010"}}"#;
    let set = sample();
    for step in [1, 2, 13, set.len()] {
        let text = metadata(Form::Json, &set, step).unwrap();
        assert!(text.starts_with(want) && text.ends_with(link), "{step}: {text}");
        json::read(text.as_bytes(), Limits::default()).unwrap();
    }
}

/// Private attributes, with two creators of the same element, one of whom has another block in an item.
fn private() -> Vec<u8> {
    [
        element(0x0009_0010, b"LO", b"FIRST "),
        element(0x0009_0011, b"LO", b"SECOND"),
        element(0x0009_1001, b"SH", b"1 "),
        sequence(
            0x0009_1101,
            &[[element(0x0009_0030, b"LO", b"SECOND"), element(0x0009_3001, b"OB", &[1; 2000])].concat()],
        ),
        element(0x0009_1201, b"SH", b"3 "),
        element(0x0011_1001, b"SH", b"4 "),
    ]
    .concat()
}

/// PS3.19 table A.1.5-2; the link has the tag as it is.
#[test]
fn private_attributes_are_named_by_their_creators_in_xml() {
    let set = private();
    let want = concat!(
        r#"<DicomAttribute tag="00090001" vr="SH" privateCreator="FIRST"><Value number="1">1</Value></DicomAttribute>"#,
        r#"<DicomAttribute tag="00090001" vr="SQ" privateCreator="SECOND"><Item number="1">"#,
    );
    let inner = concat!(
        r#"<DicomAttribute tag="00090001" vr="OB" privateCreator="SECOND">"#,
        r#"<BulkData uri="https://a/i/bulkdata/00091101/1/00093001"/></DicomAttribute></Item></DicomAttribute>"#,
        r#"<DicomAttribute tag="00091201" vr="SH">"#,
    );
    for step in [1, 7, set.len()] {
        let text = metadata(Form::Xml, &set, step).unwrap();
        assert!(text.contains(want) && text.contains(inner), "{step}: {text}");
        assert!(text.contains(r#"<DicomAttribute tag="00111001" vr="SH">"#), "{step}: {text}");
    }
}

#[test]
fn both_forms_say_the_same() {
    let values = [1.5_f64, f64::NAN, f64::INFINITY].map(f64::to_le_bytes).concat();
    for set in [sample(), private(), element(0x0018_9073, b"FD", &values)] {
        let json = json::read(metadata(Form::Json, &set, 100).unwrap().as_bytes(), Limits::default()).unwrap();
        let xml = xml::read(metadata(Form::Xml, &set, 100).unwrap().as_bytes(), Limits::default()).unwrap();
        assert!(json.first().unwrap() == &xml, "XML and JSON differ");
    }
}

#[test]
fn fragments_are_a_link_and_what_is_cut_short_is_an_error() {
    let fragments = [
        header(0x7FE0_0010, b"OB", u32::MAX),
        vec![0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0x00, 0xE0, 2, 0, 0, 0, 9, 9],
        vec![0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0],
        element(0xFFFC_FFFC, b"OB", &[0, 0]),
    ]
    .concat();
    let want = concat!(
        r#"{"7FE00010":{"vr":"OB","BulkDataURI":"https://a/i/bulkdata/7FE00010"},"#,
        r#""FFFCFFFC":{"vr":"OB","InlineBinary":"AAA="}}"#
    );
    assert_eq!(metadata(Form::Json, &fragments, 3).unwrap(), want);
    assert_eq!(metadata(Form::Json, &[], 1).unwrap(), "{}");
    let set = sample();
    for cut in [3, 20, set.len() - 1] {
        assert!(metadata(Form::Json, &set[..cut], 100).is_err(), "{cut}");
    }
}

#[test]
fn what_stands_twice_is_written_once() {
    let set = [element(0x0010_0020, b"LO", b"1 "), element(0x0010_0020, b"LO", b"1 ")].concat();
    assert_eq!(metadata(Form::Json, &set, 5).unwrap(), r#"{"00100020":{"vr":"LO","Value":["1"]}}"#);
}
