//! The canon of one object in every encoding, of objects that differ, and of texts; the digest of pixels in every form.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod pixels;

use super::*;
use crate::dicom::inflate::tests::deflate;
use crate::dicom::sample::{
    self, BIG, EXPLICIT, Form, IMPLICIT, Node, cuts, encode, instance, pieces, sequence, value,
};
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, IMPLICIT_VR_LE};
use crate::dicom::vr::Vr;
use proptest::prelude::*;

fn content_of(syntax: &str, profile: Profile, input: &[&[u8]]) -> Result<(Content, Outline), CanonError> {
    let mut digester = Digester::new(&TransferSyntaxUid::parse(syntax).unwrap(), profile)?.with_lines();
    for piece in input {
        digester.push(piece)?;
    }
    digester.finish()
}

fn content(syntax: &str, bytes: &[u8]) -> Content {
    content_of(syntax, Profile::default(), &[bytes]).unwrap_or_else(|error| panic!("{syntax}: {error}")).0
}

fn explicit(nodes: &[Node]) -> Content {
    content(EXPLICIT_VR_LE, &encode(nodes, EXPLICIT))
}

/// The same nodes in the four native syntaxes.
fn native(nodes: &[Node]) -> [(&'static str, Vec<u8>); 4] {
    [
        (EXPLICIT_VR_LE, encode(nodes, EXPLICIT)),
        (IMPLICIT_VR_LE, encode(nodes, IMPLICIT)),
        (EXPLICIT_VR_BE, encode(nodes, BIG)),
        (DEFLATED_EXPLICIT_VR_LE, deflate(&encode(nodes, EXPLICIT), false)),
    ]
}

fn without(nodes: &[Node], tag: u32) -> Vec<Node> {
    let is = |node: &Node| matches!(node, Node::Value { tag: Tag(found), .. } if *found == tag);
    nodes.iter().filter(|node| !is(node)).cloned().collect()
}

/// The nodes with one value instead of the one of its tag, or beside the others, in ascending order.
fn with(nodes: &[Node], tag: u32, vr: Vr, bytes: &[u8]) -> Vec<Node> {
    let mut nodes = without(nodes, tag);
    let tag_of = |node: &Node| match node {
        Node::Value { tag, .. } | Node::Sequence { tag, .. } => *tag,
        Node::Fragments { .. } => Tag(0x7FE0_0010),
    };
    let at = nodes.iter().position(|node| tag_of(node) > Tag(tag)).unwrap_or(nodes.len());
    nodes.insert(at, value(tag, vr, bytes));
    nodes
}

/// IDY-003: one object, four syntaxes, one canon.
#[test]
fn the_canon_does_not_depend_on_the_transfer_syntax() {
    let want = explicit(&instance());
    assert!(matches!(want.pixels, Pixels::Lossless(_)));
    for (syntax, bytes) in native(&instance()) {
        assert_eq!(content(syntax, &bytes), want, "{syntax}");
    }
    let delimited = Form { delimited: true, ..EXPLICIT };
    assert_eq!(content(EXPLICIT_VR_LE, &encode(&instance(), delimited)), want, "lengths of sequences do not count");
}

#[test]
fn any_other_value_makes_another_canon() {
    let (nodes, before) = (instance(), explicit(&instance()));
    let rows: &[(u32, Vr, &[u8])] = &[
        (0x0010_0020, Vr::LO, b"4712"),
        (0x0010_0010, Vr::PN, b"M\xFCller^Ewa"),
        (0x0020_0013, Vr::IS, b"8 "),
        (0x0009_1001, Vr::UN, b"\x01\x02\x03\x05"),
        (0x0028_0106, Vr::SS, &[0xFD, 0xFF]),
        (0x0008_0070, Vr::LO, b"Maker "),
    ];
    for (tag, vr, bytes) in rows {
        let after = explicit(&with(&nodes, *tag, *vr, bytes));
        assert_ne!(after.canon, before.canon, "{}", Tag(*tag));
        assert_eq!(after.core == before.core, RECONCILABLE.contains(&Tag(*tag)), "{}", Tag(*tag));
        assert_eq!(after.pixels, before.pixels);
    }
    assert_ne!(explicit(&without(&nodes, 0x0020_0013)).canon, before.canon);
    assert!(RECONCILABLE.is_sorted());
    // Inside a sequence, and another number of its items.
    let nested = |items: Vec<Vec<Node>>| explicit(&[sequence(0x0008_1140, Vr::SQ, true, items)]).canon;
    let item = |text: &[u8]| vec![value(0x0008_0104, Vr::LO, text)];
    let rows = [nested(vec![]), nested(vec![vec![]]), nested(vec![item(b"a ")]), nested(vec![item(b"b ")])];
    let more =
        [nested(vec![item(b"a "), vec![]]), nested(vec![vec![], item(b"a ")]), nested(vec![item(b"a "), item(b"a ")])];
    let all: std::collections::BTreeSet<Hash> = rows.into_iter().chain(more).collect();
    assert_eq!(all.len(), 7);
}

#[test]
fn what_does_not_count_does_not_count() {
    let (nodes, before) = (instance(), explicit(&instance()));
    let rows: &[(&str, Vec<Node>)] = &[
        ("group length", with(&nodes, 0x0008_0000, Vr::UL, &[9, 0, 0, 0])),
        ("padding at the end", with(&nodes, 0xFFFC_FFFC, Vr::OB, &[0; 32])),
        ("Retrieve AE Title", with(&nodes, 0x0008_0054, Vr::AE, b"ELSEWHERE ")),
        ("Instance Availability", with(&nodes, 0x0008_0056, Vr::CS, b"ONLINE")),
        ("padding of a text", with(&nodes, 0x0010_0020, Vr::LO, b"4711  ")),
        ("another padding", with(&nodes, 0x0010_0020, Vr::LO, b"4711\0\0")),
        ("padding of a UID", with(&nodes, 0x0008_0018, Vr::UI, b"1.2.3.4.5\0\0\0")),
        ("padding of a number", with(&nodes, 0x0020_0013, Vr::IS, b"7   ")),
        (
            "the order of elements",
            nodes.iter().cloned().rev().filter(|node| *node != nodes[0]).fold(
                vec![nodes[0].clone()],
                |mut all, node| {
                    all.push(node);
                    all
                },
            ),
        ),
    ];
    for (what, nodes) in rows {
        assert_eq!(explicit(nodes).canon, before.canon, "{what}");
    }
    // A volatile attribute counts for everybody else.
    let stamped = with(&nodes, 0x0008_0012, Vr::DA, b"20260101");
    assert_ne!(explicit(&stamped).canon, before.canon);
    let profile = Profile::new([Tag(0x0008_0012), Tag(0x0008_0012)]);
    assert_eq!(profile.name(), "4 00080012");
    let (content, _) = content_of(EXPLICIT_VR_LE, profile, &[&encode(&stamped, EXPLICIT)]).unwrap();
    assert_eq!(content.canon, before.canon);
}

/// "The same UID with other content": text is compared after decoding.
#[test]
fn text_counts_as_it_reads() {
    let of = |charset: &[u8], name: &[u8], about: &[u8]| {
        let nodes = with(&instance(), 0x0008_0005, Vr::CS, charset);
        explicit(&with(&with(&nodes, 0x0010_0010, Vr::PN, name), 0x0008_1030, Vr::LO, about)).canon
    };
    let latin = of(b"ISO_IR 100", b"M\xFCller^Eva", b"Sch\xE4del");
    let utf8 = of(b"ISO_IR 192", "Müller^Eva".as_bytes(), "Schädel ".as_bytes());
    assert_eq!(latin, utf8);
    assert_eq!(
        explicit(&without(&with(&instance(), 0x0010_0010, Vr::PN, b"M\xFCller^Eva"), 0x0008_0005)).canon,
        explicit(&instance()).canon,
        "undeclared is ISO_IR 100"
    );
    assert_ne!(of(b"ISO_IR 101", b"M\xFCller^Eva", b"Sch\xE4del"), of(b"ISO_IR 101", b"M\xFBller^Eva", b"Sch\xE4del"));
    // What cannot be decoded is not equal to something else that cannot.
    assert_ne!(of(b"ISO_IR 192", b"M\xFFller", b"x "), of(b"ISO_IR 192", b"M\xFEller", b"x "));
    assert_ne!(of(b"ISO_IR 192", b"M\xFFller", b"x "), of(b"ISO_IR 192", "M\u{FFFD}ller".as_bytes(), b"x "));
    let late = [value(0x0008_1030, Vr::LO, b"Sch\xE4del "), value(0x0008_0005, Vr::CS, b"ISO_IR 192")];
    assert_eq!(
        content_of(EXPLICIT_VR_LE, Profile::default(), &[&encode(&late, EXPLICIT)]),
        Err(CanonError::LateCharset)
    );
    // An item has its own, or that of what it stands in.
    let item = |charset: Option<&[u8]>, text: &[u8]| {
        let mut item: Vec<Node> = charset.iter().map(|set| value(0x0008_0005, Vr::CS, set)).collect();
        item.push(value(0x0008_0104, Vr::LO, text));
        let nodes = [value(0x0008_0005, Vr::CS, b"ISO_IR 192"), sequence(0x0008_2218, Vr::SQ, true, vec![item])];
        explicit(&nodes).canon
    };
    assert_eq!(item(None, "ää".as_bytes()), item(Some(b"ISO_IR 100"), b"\xE4\xE4"));
}

/// An attribute and its representation.
type Kind = (u32, Vr);
const NAME: Kind = (0x0010_0010, Vr::PN);
const NAMES: Kind = (0x0010_1001, Vr::PN);
const ID: Kind = (0x0010_0020, Vr::LO);
const IDS: Kind = (0x0010_1000, Vr::LO);
const SHORT: Kind = (0x0008_0050, Vr::SH);
const CODE: Kind = (0x0008_0060, Vr::CS);
const TITLE: Kind = (0x0008_0055, Vr::AE);
const NUMBER: Kind = (0x0020_0013, Vr::IS);
const DECIMAL: Kind = (0x0010_1030, Vr::DS);
const DECIMALS: Kind = (0x0028_0030, Vr::DS);
const COMMENTS: Kind = (0x0010_4000, Vr::LT);
const ADDRESS: Kind = (0x0008_0081, Vr::ST);
const LONG_CODE: Kind = (0x0008_0119, Vr::UC);
const DATE: Kind = (0x0008_0023, Vr::DA);
const LATIN: &[u8] = b"ISO_IR 100";
const UTF8: &[u8] = b"ISO_IR 192";
const GBK: &[u8] = b"GBK ";
const KANA: &[u8] = b"ISO_IR 13 ";

/// A character set, an attribute, two values, and whether they say the same.
type Way = (&'static [u8], Kind, &'static [u8], &'static [u8], bool);
const WAYS: &[Way] = &[
    (LATIN, NAME, b"A^B", b"A^B^^^", true),
    (LATIN, NAME, b"A^B", b"A^B=", true),
    (LATIN, NAME, b"A^B", b"A^B==", true),
    (LATIN, NAME, b"A^B=X", b"A^B^^=X", true),
    (LATIN, NAME, b"A^B=X", b"A^B=X^^=^", true),
    (LATIN, NAME, b"A^B", b" A ^ B ^", true),
    (LATIN, NAME, b"", b"^^^", true),
    (LATIN, NAME, b"M\xFCller^Eva", b"M\xFCller ^Eva^^^", true),
    (UTF8, NAME, "王^小東=X".as_bytes(), "王^小東^^ =X".as_bytes(), true),
    (LATIN, NAME, b"A^B", b"A^^B", false),
    (LATIN, NAME, b"A^B", b"^A^B", false),
    (LATIN, NAME, b"A=B", b"A==B", false),
    (LATIN, NAME, b"A=B", b"=A=B", false),
    (LATIN, NAME, b"A B", b"AB", false),
    (LATIN, NAME, b"A^B", b"A=B", false),
    (LATIN, NAMES, b"A^B\\C", b"A^B^\\ C^", true),
    (LATIN, NAMES, b"A\\B", b"A\\\\B", false),
    (LATIN, NAMES, b"A", b"A\\", false),
    (LATIN, SHORT, b"A1", b" A1 ", true),
    (LATIN, ID, b"4711", b"  4711", true),
    (LATIN, ID, b"47 11", b"4711", false),
    (LATIN, IDS, b"1\\2", b" 1 \\ 2", true),
    (LATIN, IDS, b"1\\2", b"1\\\\2", false),
    (LATIN, ID, b"1", b"1.0", false),
    (LATIN, ID, b"A^B", b"A^B^", false),
    (LATIN, CODE, b"CT", b" CT ", true),
    (LATIN, CODE, b"CT", b"C T ", false),
    (LATIN, TITLE, b"PACS", b"  PACS", true),
    (LATIN, NUMBER, b"7", b"+007", true),
    (LATIN, NUMBER, b"7", b"7.0", false),
    (LATIN, NUMBER, b"7", b"-7", false),
    (LATIN, NUMBER, b"7", b"7e0", false),
    (LATIN, NUMBER, b"70", b"7e1", false),
    (LATIN, DECIMAL, b"1", b"1.0 ", true),
    (LATIN, DECIMAL, b"1", b" 1.000000e+00", true),
    (LATIN, DECIMAL, b"1", b"1.0000000000000000000000001", false),
    (LATIN, DECIMAL, b"1,0", b"1", false),
    (LATIN, DECIMALS, b".5\\2", b"0.50\\20e-1", true),
    (LATIN, DECIMALS, b".5\\2", b"0.50\\\\2", false),
    (LATIN, COMMENTS, b"a", b"a  ", true),
    (LATIN, COMMENTS, b"a", b" a", false),
    (LATIN, ADDRESS, b"a\r\nb", b"a \r\nb", false),
    (LATIN, ADDRESS, b"a\\b", b"a \\ b", false),
    (LATIN, LONG_CODE, b"a\\b", b"a \\b", true),
    (LATIN, LONG_CODE, b"a\\b", b"a\\ b", false),
    (LATIN, DATE, b"20260101", b" 20260101", false),
    // 5C and 5E are parts of letters here, and the space beside them counts.
    (GBK, ID, b"\x81\x5C x", b"\x81\x5Cx", false),
    (GBK, NAME, b"A^\x81\x5E", b"A^\x81\x5E^", true),
    (GBK, NAME, b"A^\x81\x5E", b"A^\x81", false),
    (b"", ID, b"\x83\x5C x", b"\x83\x5Cx", false),
    (b"", NAME, b"A^\x83\x5E", b"A^\x83", false),
    (b"", NAME, b"A^\x83\x5E", b"A^\x83\x5E^", false),
    (b"", NAME, b"A^B", b"A^B^", true),
    (b"\\ISO 2022 IR 87", NAME, b"A=\x1B$B\x3B\x33\x1B(B^", b"A=\x1B$B\x3B\x33\x1B(B", true),
    (b"\\ISO 2022 IR 87", ID, b"\x1B$B\x25\x5C\x1B(B x", b"\x1B$B\x25\x5C\x1B(Bx", false),
    (LATIN, CODE, b"\x83\x5C A", b"\x83\x5CA", false),
    (KANA, NAME, b"\xD4\xCF^", b"\xD4\xCF", true),
];

/// PS3.5 sections 6.2 and 6.2.1: names, codes and numbers that say the same are written in several ways.
#[test]
fn values_that_say_the_same_count_the_same() {
    for (charset, (tag, vr), one, other, same) in WAYS {
        let of =
            |bytes: &[u8]| explicit(&with(&with(&instance(), 0x0008_0005, Vr::CS, charset), *tag, *vr, bytes)).canon;
        let [left, right] = [one, other].map(|bytes| String::from_utf8_lossy(bytes));
        assert_eq!(of(one) == of(other), *same, "{} {vr:?}: {left:?} and {right:?}", Tag(*tag));
    }
}

/// Bytes that are not decoded are another text in another character set: where the dictionary does not know them, or there are many.
#[test]
fn bytes_that_may_be_text_count_in_their_character_set() {
    let long = |text: &[u8]| text.repeat((1 << 20) / text.len() + 2);
    let of = |charset: &[u8], tag: u32, vr: Vr, bytes: &[u8]| {
        explicit(&with(&with(&instance(), 0x0008_0005, Vr::CS, charset), tag, vr, bytes)).canon
    };
    let rows: &[(u32, Vr, &[u8], bool)] = &[
        (0x0009_1001, Vr::UN, "Schädel ".as_bytes(), true),
        (0x0009_1001, Vr::LO, "Schädel ".as_bytes(), true),
        (0x0009_1001, Vr::UN, &long("ä".as_bytes()), true),
        (0x0040_A160, Vr::UT, &long("ä".as_bytes()), true),
        (0x0009_1001, Vr::LO, b"\x1B$B", true),
        (0x0009_1001, Vr::UN, b"Skull ", false),
        (0x0009_1001, Vr::UN, &long(b"x "), false),
        (0x0040_A160, Vr::UT, &long(b"x "), false),
        // Numbers are no text, known or not.
        (0x0009_1001, Vr::OB, &[0xFF, 1, 0xFF, 2], false),
        (0x0009_1001, Vr::UN, &[0xE4, 0, 0xE4, 0], false),
        (0x0009_1001, Vr::LO, &[0xE4, 0], true),
        (0x0028_0106, Vr::SS, &[0xFF, 0xFF], false),
        (0x0028_1201, Vr::OW, &long(&[0xFF, 0xFF]), false),
    ];
    // The name in it reads the same in each, so that nothing else differs.
    for (tag, vr, bytes, differs) in rows {
        let plain = |charset: &[u8]| {
            let nodes = with(&instance(), 0x0008_0005, Vr::CS, charset);
            explicit(&with(&with(&nodes, 0x0010_0010, Vr::PN, b"Eva "), *tag, *vr, bytes)).canon
        };
        assert_eq!(plain(b"ISO_IR 100") != plain(b"ISO_IR 192"), *differs, "{} {vr:?}", Tag(*tag));
        assert_eq!(plain(b"ISO_IR 100"), plain(b""), "undeclared is ISO_IR 100");
    }
    assert_eq!(of(b"ISO_IR 100", 0x0009_1001, Vr::UN, b"\xE4 "), of(b"ISO_IR 100", 0x0009_1001, Vr::LO, b"\xE4 "));
    let late = [value(0x0009_1001, Vr::UN, b"\xE4 "), value(0x0008_0005, Vr::CS, b"ISO_IR 192")];
    let late = content_of(EXPLICIT_VR_LE, Profile::default(), &[&encode(&late, EXPLICIT)]);
    assert_eq!(late, Err(CanonError::LateCharset));
}

/// IDY-003: what implicit encodings cannot say does not count: representations, and private sequences with a length.
#[test]
fn private_elements_count_the_same_with_and_without_representation() {
    let text = |vr| explicit(&[value(0x0009_0010, Vr::LO, b"MAKER "), value(0x0009_1001, vr, b"ab")]).canon;
    assert_eq!(text(Vr::UN), text(Vr::LO));
    assert_ne!(
        text(Vr::UN),
        explicit(&[value(0x0009_0010, Vr::LO, b"OTHER "), value(0x0009_1001, Vr::UN, b"ab")]).canon
    );
    let inner = vec![value(0x0009_1003, Vr::UN, b"ab"), value(0x0008_0104, Vr::LO, b"Head")];
    for defined in [true, false] {
        for items in [
            vec![],
            vec![vec![]],
            vec![inner.clone(), inner.clone()],
            vec![vec![sequence(0x0009_1005, Vr::SQ, defined, vec![inner.clone()])]],
        ] {
            let nodes = [sequence(0x0009_1002, Vr::SQ, defined, items)];
            let want = explicit(&nodes);
            for (syntax, bytes) in native(&nodes) {
                assert_eq!(content(syntax, &bytes), want, "{syntax} {defined} {nodes:?}");
            }
        }
    }
    // Known elements that somebody wrote as UN.
    let known = [value(0x0010_0020, Vr::LO, b"4711"), value(0x0028_0010, Vr::US, &[16, 0])];
    let unknown = [value(0x0010_0020, Vr::UN, b"4711"), value(0x0028_0010, Vr::UN, &[16, 0])];
    assert_eq!(explicit(&known), explicit(&unknown));
    // Bytes that only look like a sequence are bytes.
    let looks = |bytes: &[u8]| explicit(&[value(0x0009_1001, Vr::UN, bytes)]).canon;
    let item = b"\xFE\xFF\x00\xE0\x04\x00\x00\x00abcd";
    assert_ne!(looks(item), looks(b"\xFE\xFF\x00\xE0\x04\x00\x00\x00abce"));
}

/// What a sequence ends by and what it calls itself does not count, whatever syntax it is in; what it holds does.
#[test]
fn a_sequence_counts_the_same_however_wrongly_it_is_written() {
    let inner = |text: &[u8]| vec![value(0x0008_0104, Vr::LO, text), value(0x0049_1002, Vr::UN, &[1, 2])];
    let of =
        |tag: u32, text: &[u8]| [sequence(tag, Vr::SQ, false, vec![inner(text)]), value(0x0050_0004, Vr::CS, b"YES ")];
    let after = |form: Form| encode(&[value(0x0050_0004, Vr::CS, b"YES ")], form);
    for (syntax, form) in [(EXPLICIT_VR_LE, EXPLICIT), (IMPLICIT_VR_LE, IMPLICIT)] {
        for tag in [0x0040_A730, 0x0049_1001] {
            let [right, other] = [b"ab", b"cd"].map(|text| explicit(&of(tag, text)));
            assert_ne!(right.canon, other.canon);
            let mut wrong = encode(&of(tag, b"ab")[..1], form);
            let at = wrong.len() - 6;
            wrong[at] = 0x0D;
            assert_eq!(content(syntax, &[wrong, after(form)].concat()), right, "{syntax}");
            let mut last = encode(&of(tag, b"ab")[..1], form);
            last[at] = 0x0D;
            assert_eq!(content(syntax, &last), explicit(&of(tag, b"ab")[..1]), "{syntax}, at the end of all");
        }
    }
    let (right, mut bytes) = (explicit(&of(0x0049_1001, b"ab")), encode(&of(0x0049_1001, b"ab"), EXPLICIT));
    for vr in [b"OB", b"OW"] {
        bytes[4..6].copy_from_slice(vr);
        assert_eq!(content(EXPLICIT_VR_LE, &bytes), right, "{}", Vr(*vr));
    }
}

#[test]
fn broken_data_sets_have_no_canon() {
    let whole = encode(&instance(), EXPLICIT);
    assert!(content_of(EXPLICIT_VR_LE, Profile::default(), &[&whole[..whole.len() - 3]]).is_err());
    let jpip = Digester::new(&TransferSyntaxUid::parse("1.2.840.10008.1.2.4.95").unwrap(), Profile::default());
    assert!(matches!(jpip, Err(CanonError::Syntax)));
}

#[test]
fn an_nhs_number_is_told_from_any_other() {
    let rows: &[(&[u8], bool)] = &[
        (b"9434765919", false), // sound, but in a range that is not issued
        (b"4505577104", true),
        (b"450 557 7104", true),
        (b"4505577105", false),
        (b"4711", false),
        (b"", false),
    ];
    for (number, is) in rows {
        assert_eq!(nhs_number(number).is_some(), *is, "{}", String::from_utf8_lossy(number));
    }
    assert_eq!(nhs_number(b"4505577104"), nhs_number(b"450-557-7104 "));
    let of = |id: &[u8]| explicit(&with(&instance(), 0x0010_0020, Vr::LO, id)).patient;
    assert!(of(b"4505577104").is_some() && of(b"4711").is_none());
}

#[test]
fn lines_show_where_values_stand_and_hide_them_from_debug() {
    let (_, outline) = content_of(EXPLICIT_VR_LE, Profile::default(), &[&encode(&instance(), EXPLICIT)]).unwrap();
    let Outline { lines, cut: false } = outline else { panic!("{outline:?}") };
    let line = |path: &str| lines.iter().find(|line| line.path == path).map(Line::shown);
    assert_eq!(line("(0010,0010)").as_deref(), Some("Müller^Eva"));
    assert_eq!(line("(0008,2218)[1] > (0008,0104)").as_deref(), Some("Head"));
    assert_eq!(line("(0008,1140)[1] > (0008,2218)[1] > (0008,0100)").as_deref(), Some("T-D1100"));
    assert_eq!(line("(0028,0106)").as_deref(), Some("-2"));
    assert_eq!(line("(0009,1001)").as_deref(), Some("01 02 03 04 (4 bytes)"));
    assert!(line("(7FE0,0010)").is_none());
    assert!(!format!("{lines:?}").contains("ller"));
    let long = Line { value: "a\n".repeat(300), ..lines[0].clone() };
    assert_eq!(long.shown().chars().count(), 201);
    assert!(!long.shown().contains('\n'));
    for (number, cut) in [(20_000, false), (20_001, true)] {
        let many = encode(&vec![value(0x0009_1001, Vr::UN, b"ab"); number], EXPLICIT);
        let (_, outline) = content_of(EXPLICIT_VR_LE, Profile::default(), &[&many]).unwrap();
        assert_eq!((outline.lines.len(), outline.cut), (20_000, cut));
    }
}

proptest! {
    #[test]
    fn any_data_set_has_one_canon_in_every_encoding_however_it_is_cut(nodes in sample::nodes(), cuts in cuts()) {
        let want = content_of(EXPLICIT_VR_LE, Profile::default(), &[&encode(&nodes, EXPLICIT)]).map(|found| found.0);
        for (syntax, bytes) in native(&nodes) {
            let found = content_of(syntax, Profile::default(), &pieces(&bytes, &cuts)).map(|found| found.0);
            prop_assert_eq!(&found, &want, "{}", syntax);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), which in 0..4usize) {
        let syntaxes = [EXPLICIT_VR_LE, IMPLICIT_VR_LE, EXPLICIT_VR_BE, "1.2.840.10008.1.2.5"];
        let _ = content_of(syntaxes[which], Profile::default(), &[&bytes]);
    }
}
