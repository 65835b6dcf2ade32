//! Tests of the attribute tree.

use super::*;

#[test]
fn numbers_keep_their_digits() {
    let rows = [
        ("1.250", Some("1.250")),
        (" 12 ", Some("12")),
        ("+5", Some("5")),
        ("007", Some("7")),
        ("-0", Some("-0")),
        ("1e-3", Some("1e-3")),
        ("1E+22", Some("1E+22")),
        ("18446744073709551615", Some("18446744073709551615")),
        // What JSON has no literal for is the same number in another.
        (".5", Some("0.5")),
        ("-.50", Some("-0.50")),
        ("5.", Some("5")),
        ("-5.e-3", Some("-5e-3")),
        ("+1.250", Some("1.250")),
        ("-007.10E+2", Some("-7.10E+2")),
        ("000", Some("0")),
        ("00018446744073709551616.0", Some("18446744073709551616.0")),
        ("NaN", None),
        ("+-5", None),
        ("--5", None),
        (".", None),
        ("-.e5", None),
        ("1.2.3", None),
        (".5e", None),
        ("0x10", None),
        ("5 .5", None),
        ("\u{0665}", None),
        ("1,5", None),
        ("", None),
        ("1e", None),
    ];
    for (text, want) in rows {
        assert_eq!(Number::parse(text).as_ref().map(Number::as_str), want, "{text:?}");
    }
}

#[test]
fn text_becomes_the_values_of_its_vr() {
    let text = |values: &[Option<&str>]| Value::Text(values.iter().map(|v| v.map(str::to_owned)).collect());
    let rows = [
        (VR::CS, "ORIGINAL\\PRIMARY ", text(&[Some("ORIGINAL"), Some("PRIMARY")])),
        (VR::CS, "A\\\\B", text(&[Some("A"), None, Some("B")])),
        (VR::LT, " one\\two ", text(&[Some(" one\\two")])),
        (VR::UI, "1.2.3\0", text(&[Some("1.2.3")])),
        (VR::DS, "1.0\\x", text(&[Some("1.0"), Some("x")])),
        (VR::DS, ".5\\+0.5 ", Value::Numbers(vec![Number::parse("0.5"), Number::parse("0.5")])),
        (VR::LO, "  ", Value::Empty),
        (VR::IS, "", Value::Empty),
        (VR::PN, "^", Value::Names(vec![Some(PersonName { alphabetic: "^".into(), ..PersonName::default() })])),
    ];
    for (vr, given, want) in rows {
        assert!(Element::text(vr, given).value == want, "{vr} {given:?}");
    }
}

#[test]
fn debug_shows_no_values() {
    let set = Dataset::from_iter([(Tag(0x0010_0010), Element::text(VR::PN, "DOE^JANE"))]);
    assert_eq!(format!("{set:?} {:?}", set.get(Tag(0x0010_0010))), "Dataset(1 attributes) Some(Element(PN))");
}
