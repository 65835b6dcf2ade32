//! Tests of the DICOM JSON reader and writer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::dicom::tag::Tag;
use crate::dicomweb::dataset::{Dataset, Element, Number, PersonName, VR, Value};
use proptest::prelude::*;

fn one(tag: u32, element: Element) -> Dataset {
    Dataset::from_iter([(Tag(tag), element)])
}

fn json(set: &Dataset) -> String {
    String::from_utf8(write_one(set)).unwrap()
}

#[test]
fn each_kind_of_value_is_written_as_annex_f_says() {
    let text = |vr, text| Element::text(vr, text);
    let name = "Wang^XiaoDong=王^小東=";
    let rows = [
        (0x0008_0060, text(VR::CS, "CT"), r#"{"00080060":{"vr":"CS","Value":["CT"]}}"#),
        (0x0008_0008, text(VR::CS, "A\\\\B"), r#"{"00080008":{"vr":"CS","Value":["A",null,"B"]}}"#),
        (0x0010_0020, text(VR::LO, ""), r#"{"00100020":{"vr":"LO"}}"#),
        (
            0x0010_0010,
            text(VR::PN, name),
            r#"{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Wang^XiaoDong","Ideographic":"王^小東"}]}}"#,
        ),
        (0x0010_0010, text(VR::PN, "=王"), r#"{"00100010":{"vr":"PN","Value":[{"Ideographic":"王"}]}}"#),
        (
            0x0010_1001,
            text(VR::PN, "A\\\\B"),
            r#"{"00101001":{"vr":"PN","Value":[{"Alphabetic":"A"},null,{"Alphabetic":"B"}]}}"#,
        ),
        (0x0020_0013, text(VR::IS, "007"), r#"{"00200013":{"vr":"IS","Value":[7]}}"#),
        (0x0028_0030, text(VR::DS, "0.50\\1.250 "), r#"{"00280030":{"vr":"DS","Value":[0.50,1.250]}}"#),
        (0x0028_0030, text(VR::DS, "1,5"), r#"{"00280030":{"vr":"DS","Value":["1,5"]}}"#),
        (0x0028_0009, text(VR::AT, "00181063"), r#"{"00280009":{"vr":"AT","Value":["00181063"]}}"#),
        (0x0008_1197, Element::number(VR::US, 272), r#"{"00081197":{"vr":"US","Value":[272]}}"#),
        (0x0008_1199, Element::items(vec![]), r#"{"00081199":{"vr":"SQ"}}"#),
        (0x0008_1199, Element::items(vec![Dataset::default()]), r#"{"00081199":{"vr":"SQ","Value":[{}]}}"#),
        (
            0x0042_0011,
            Element { vr: VR::OB, value: Value::Inline(vec![0, 255]) },
            r#"{"00420011":{"vr":"OB","InlineBinary":"AP8="}}"#,
        ),
        (
            0x7FE0_0010,
            Element { vr: VR::OW, value: Value::BulkData("https://a/b\"c".into()) },
            r#"{"7FE00010":{"vr":"OW","BulkDataURI":"https://a/b\"c"}}"#,
        ),
        (0x0008_1030, text(VR::LO, "a\"b\n\u{1}é"), r#"{"00081030":{"vr":"LO","Value":["a\"b\n\u0001é"]}}"#),
    ];
    for (tag, element, want) in rows {
        assert_eq!(json(&one(tag, element)), want);
    }
}

#[test]
fn tags_ascend_and_group_lengths_stay_out() {
    let set = Dataset::from_iter(
        [0x0020_000D, 0x0002_0010, 0x0008_0000, 0x0008_0018].map(|tag| (Tag(tag), Element::empty(VR::UI))),
    );
    assert_eq!(json(&set), r#"{"00080018":{"vr":"UI"},"0020000D":{"vr":"UI"}}"#);
    assert_eq!(
        write_list([&one(0x0008_0018, Element::empty(VR::UI)), &Dataset::default()]),
        br#"[{"00080018":{"vr":"UI"}},{}]"#
    );
}

#[test]
fn sloppy_answers_are_read() {
    let rows = [
        ("null", 0),
        ("[]", 0),
        ("{}", 1),
        (r#"[{"0008103e":{"vr":"LO","Value":"lone"}}]"#, 1),
        (r#"{"00081030":{"Value":["no vr"]},"comment":[[[]]]}"#, 1),
        (r#"{"00081197":{"Value":["272"],"vr":"US","extra":1}}"#, 1),
        (r#"{"00100010":{"vr":"PN","Value":["DOE^J"]}}"#, 1),
        (r#"{"00100010":{"vr":"PN","Value":[{"Alphabetic":null}]}}"#, 1),
        (r#"{"00700022":{"vr":"FL","Value":["NaN",1.5]}}"#, 1),
        (r#"{"00081199":{"vr":"SQ","Value":null}}"#, 1),
    ];
    for (text, sets) in rows {
        assert_eq!(
            read(text.as_bytes(), Limits::default()).map(|s| s.len()).map_err(|e| e.to_string()),
            Ok(sets),
            "{text}"
        );
    }
    let sets = read(br#"{"00081197":{"Value":["272"]},"0008103E":{"Value":"x"}}"#, Limits::default()).unwrap();
    assert_eq!((sets[0].first_number(Tag(0x0008_1197)), sets[0].first_text(Tag(0x0008_103E))), (Some(272), Some("x")));
}

/// What is not known or null says nothing; the rest of the answer is read.
#[test]
fn what_says_nothing_is_read_as_not_there() {
    let rows = [
        (r#"{"00080018":{"vr":"XX","Value":["1.2"]}}"#, r#"{"00080018":{"vr":"UI","Value":["1.2"]}}"#),
        (r#"{"00081197":{"Value":[272],"vr":null}}"#, r#"{"00081197":{"vr":"US","Value":[272]}}"#),
        (r#"{"00420011":{"vr":"OB","InlineBinary":null}}"#, r#"{"00420011":{"vr":"OB"}}"#),
        (
            r#"{"00080018":{"vr":"UI","BulkDataURI":null,"Value":["1.2"]}}"#,
            r#"{"00080018":{"vr":"UI","Value":["1.2"]}}"#,
        ),
        (r#"{"00081199":{"vr":"SQ","Value":["",null,{}]}}"#, r#"{"00081199":{"vr":"SQ","Value":[{},{},{}]}}"#),
    ];
    for (text, want) in rows {
        let sets = read(text.as_bytes(), Limits::default()).unwrap();
        assert_eq!(json(&sets[0]), want, "{text}");
    }
}

/// A number of a peer's answer that is passed on is the one that came, to its last digit.
#[test]
fn numbers_come_back_as_they_were() {
    let mut bits = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..1000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = f64::from_bits(bits);
        if number.is_finite() {
            let text = format!(r#"[{{"00189073":{{"vr":"FD","Value":[{number:?}]}}}}]"#);
            let read = read(text.as_bytes(), Limits::default()).unwrap();
            assert_eq!(String::from_utf8(write_list(&read)).unwrap(), text);
        }
    }
}

/// PS3.18 section F.2.3: what is not finite is a string, and the numbers beside it stay numbers.
#[test]
fn what_is_not_finite_is_a_string_by_itself() {
    let rows = [
        (r#"[{"00189073":{"vr":"FD","Value":[1.5,"NaN",null,"-inf"]}}]"#, r#"[1.5,"NaN",null,"-inf"]"#),
        (r#"[{"00189073":{"vr":"FD","Value":["1.5","inf"]}}]"#, r#"[1.5,"inf"]"#),
        // Another word, and a representation that has no such values: nothing is made of them.
        (r#"[{"00189073":{"vr":"FD","Value":[1.5,"much"]}}]"#, r#"["1.5","much"]"#),
        (r#"[{"00280030":{"vr":"DS","Value":[1.5,"NaN"]}}]"#, r#"["1.5","NaN"]"#),
    ];
    for (text, want) in rows {
        let back = String::from_utf8(write_list(&read(text.as_bytes(), Limits::default()).unwrap())).unwrap();
        assert!(back.contains(&format!("\"Value\":{want}}}")), "{back}");
    }
}

/// RFC 8259 section 8.1: a mark of the byte order may be passed over, and some servers write it.
#[test]
fn a_byte_order_mark_is_passed_over() {
    let text = b"\xEF\xBB\xBF[{\"00081197\":{\"vr\":\"US\",\"Value\":[272]}}]";
    let sets = read(text, Limits::default()).unwrap();
    assert_eq!(sets[0].first_number(Tag(0x0008_1197)), Some(272));
    assert!(read(b"[\xEF\xBB\xBF]", Limits::default()).is_err() && read(b"\xEF\xBB", Limits::default()).is_err());
}

#[test]
fn wrong_texts_are_refused_with_a_reason_that_quotes_nothing() {
    let deep = |n: usize| format!("{}{}", r#"{"00081199":{"vr":"SQ","Value":["#.repeat(n), "]}}".repeat(n));
    let rows = [
        (String::new(), "ends too early"),
        ("[{".into(), "ends too early"),
        ("<html>".into(), "syntax"),
        ("[{}] SECRET".into(), "syntax"),
        ("\"SECRET\"".into(), "wrong type"),
        (r#"[{"Alphabetic":"SECRET"}]"#.into(), "not an object"),
        (r#"{"00081199":{"vr":"SQ","Value":["SECRET"]}}"#.into(), "(0008,1199): a sequence"),
        (r#"{"00080018":{"vr":7}}"#.into(), "wrong type"),
        (r#"{"00080018":{"vr":"UI","Value":[{"00080018":{"vr":"UI"}}]}}"#.into(), "an object stands where"),
        (r#"{"00080018":{"vr":"UI"},"00080018":{"vr":"UI"}}"#.into(), "twice"),
        (r#"{"00420011":{"vr":"OB","InlineBinary":"SECRET!"}}"#.into(), "base64"),
        (deep(25), "too deep"),
        (deep(100_000), "too deep"),
        (format!("[{}{{}}]", "{},".repeat(300_000)), "too many"),
        (format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), "wrong type"),
    ];
    for (text, want) in rows {
        let error = read(text.as_bytes(), Limits::default()).expect_err(want).to_string();
        assert!(error.contains(want) && !error.contains("SECRET"), "{error}");
    }
    assert!(read(deep(24).as_bytes(), Limits::default()).is_ok());
}

fn any_element() -> impl Strategy<Value = Element> {
    let text = || proptest::option::of("[ -~é王]{1,12}");
    let leaf = prop_oneof![
        proptest::collection::vec(text(), 1..4).prop_map(|v| Element { vr: VR::LO, value: Value::Text(v).or_empty() }),
        proptest::collection::vec(proptest::option::of("[a-z^]{1,8}"), 1..3).prop_map(|v| Element {
            vr: VR::PN,
            value: Value::Names(
                v.into_iter().map(|n| n.map(|n| PersonName { ideographic: n, ..PersonName::default() })).collect()
            )
            .or_empty(),
        }),
        proptest::collection::vec(any::<i64>(), 1..4).prop_map(|v| Element {
            vr: VR::SV,
            value: Value::Numbers(v.into_iter().map(|n| Some(Number::from(n))).collect()),
        }),
        any::<u64>().prop_map(|n| Element::number(VR::UV, n)),
        proptest::collection::vec(any::<u8>(), 1..9).prop_map(|v| Element { vr: VR::UN, value: Value::Inline(v) }),
        "[a-z:/]{1,9}".prop_map(|uri| Element { vr: VR::OW, value: Value::BulkData(uri) }),
        Just(Element::empty(VR::DA)),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        proptest::collection::vec(proptest::collection::btree_map(0x0008_0001u32..0x0008_FFFF, inner, 0..3), 0..3)
            .prop_map(|items| {
                Element::items(items.into_iter().map(|m| m.into_iter().map(|(t, e)| (Tag(t), e)).collect()).collect())
            })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(elements in proptest::collection::btree_map(0x0008_0001u32..0x7FE0_0000, any_element(), 0..6)) {
        let set: Dataset = elements.into_iter().filter(|(tag, _)| tag & 0xFFFF != 0).map(|(t, e)| (Tag(t), e)).collect();
        let back = read(&write_list([&set]), Limits::default()).unwrap();
        prop_assert!(back == vec![set]);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]{}\",:0-9a-zA-Z ]{0,80}") {
        let _ = read(text.as_bytes(), Limits::default());
    }
}
