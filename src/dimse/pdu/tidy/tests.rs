//! What is left out, what is refused, as tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::super::{A_ASSOCIATE_AC, A_ASSOCIATE_RQ, read_accept, read_request};
use super::*;
use dicom_ul::pdu::{PresentationContextResultReason, UserVariableItem};
use proptest::prelude::*;

pub(in crate::dimse) fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0];
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes
}

/// The body of a PDU with these items behind the fixed part and the application context.
fn body(items: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 0];
    bytes.extend(b"CALLED          CALLING         ");
    bytes.extend([0; 32]);
    bytes.extend(item(0x10, b"1.2.840.10008.3.1.1.1"));
    bytes.extend(items.concat());
    bytes
}

fn context(id: u8, subs: &[Vec<u8>]) -> Vec<u8> {
    item(0x20, &[vec![id, 0, 0, 0], subs.concat()].concat())
}

fn plain() -> Vec<u8> {
    context(1, &[item(0x30, b"1.2.840.10008.1.1\0"), item(0x40, b"1.2.840.10008.1.2 ")])
}

fn user(subs: &[Vec<u8>]) -> Vec<u8> {
    item(0x50, &subs.concat())
}

#[test]
fn unknown_items_are_left_out() {
    let with_unknown_sub = context(3, &[item(0x7F, b"x"), item(0x30, b"1.2.3"), item(0x40, b"1.2.840.10008.1.2")]);
    let users = user(&[item(0x51, &[0, 0, 64, 0]), item(0x7F, b"??"), item(0x52, b"1.9\0")]);
    let read = read_request(&body(&[item(0x7F, b"abc"), plain(), with_unknown_sub, item(0xFF, b""), users])).unwrap();
    assert_eq!(read.presentation_contexts.len(), 2);
    assert_eq!(read.presentation_contexts[0].abstract_syntax, "1.2.840.10008.1.1");
    assert_eq!(read.presentation_contexts[0].transfer_syntaxes, ["1.2.840.10008.1.2"]);
    assert!(read.user_variables.contains(&UserVariableItem::MaxLength(16384)));
    assert!(read.user_variables.contains(&UserVariableItem::ImplementationClassUID("1.9".into())));
}

#[test]
fn inconsistent_user_items_are_left_out() {
    let bad = [
        item(0x54, &[0, 9, b'1']),
        item(0x54, &[255, 255]),
        item(0x56, &[255, 255, 1, 2]),
        item(0x56, &[0]),
        item(0x58, &[1, 0, 0, 9, b'a']),
        item(0x58, &[1]),
        item(0x52, &[b'1'; 70]),
    ];
    let read = read_request(&body(&[plain(), user(&bad)])).unwrap();
    assert_eq!(read.user_variables, []);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let long = vec![item(0x40, b"1.2"); 300];
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("shorter than the fixed part", vec![0; 67]),
        ("no application context", vec![0; 68]),
        ("item behind the end", [body(&[plain()]), vec![0x20, 0, 255, 255, 1]].concat()),
        ("half an item header", [body(&[plain()]), vec![0x20, 0]].concat()),
        ("context of three bytes", body(&[item(0x20, &[1, 0, 0])])),
        ("sub-item behind the end", body(&[item(0x20, &[1, 0, 0, 0, 0x30, 0, 0, 9, b'1'])])),
        ("no abstract syntax", body(&[context(1, &[item(0x40, b"1.2")])])),
        ("maximum length of two bytes", body(&[plain(), user(&[item(0x51, &[1, 2])])])),
        ("129 contexts", body(&vec![plain(); 129])),
        ("too many user items", body(&[plain(), user(&vec![item(0x7F, b""); 2000])])),
    ];
    for (name, bytes) in rows {
        assert!(matches!(read_request(&bytes), Err(Violation::MalformedPdu(_))), "{name}");
    }
    let many = read_request(&body(&[context(1, &[vec![item(0x30, b"1.2")], long].concat())])).unwrap();
    assert_eq!(many.presentation_contexts[0].transfer_syntaxes.len(), 128);
    let long_uid = read_request(&body(&[context(1, &[item(0x30, &[b'1'; 66]), item(0x40, &[b'1'; 99])])])).unwrap();
    assert_eq!(long_uid.presentation_contexts[0].abstract_syntax, "");
    assert!(long_uid.presentation_contexts[0].transfer_syntaxes.is_empty());
}

#[test]
fn a_result_without_transfer_syntax_is_a_result() {
    let result = |id, reason, subs: &[Vec<u8>]| item(0x21, &[vec![id, 0, reason, 0], subs.concat()].concat());
    let items = [
        result(1, 3, &[]),
        result(3, 0, &[item(0x40, b"1.2.840.10008.1.2")]),
        result(5, 9, &[item(0x40, b"")]),
        result(7, 0, &[item(0x40, b"1.2"), item(0x40, b"1.3"), item(0x7F, b"")]),
        result(9, 4, &[vec![0x40, 0, 0, 99, b'1']]),
        result(11, 1, &[vec![0xCC; 3]]),
    ];
    let read = read_accept(&body(&items)).unwrap();
    let got: Vec<_> =
        read.presentation_contexts.iter().map(|c| (c.id, c.reason.clone(), c.transfer_syntax.as_str())).collect();
    use PresentationContextResultReason::*;
    let want = vec![
        (1, AbstractSyntaxNotSupported, ""),
        (3, Acceptance, "1.2.840.10008.1.2"),
        (5, NoReason, ""),
        (7, Acceptance, "1.2"),
        (9, TransferSyntaxesNotSupported, ""),
        (11, UserRejection, ""),
    ];
    assert_eq!(got, want);
    let whole = body(&items);
    let named = 4 + "1.2.840.10008.3.1.1.1".len();
    let without = [&whole[..68], &whole[68 + named..]].concat();
    assert_eq!(read_accept(&without).unwrap().application_context_name, "1.2.840.10008.3.1.1.1", "there is no other");
    let cut_short = result(1, 0, &[vec![0x40, 0, 0, 99, b'1']]);
    assert!(read_accept(&body(&[cut_short])).is_err(), "in one that was accepted it counts");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(noise in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..150) {
        let mut bytes = body(&[plain(), user(&[item(0x58, &[1, 0, 0, 0, 0, 0]), item(0x54, &[0, 1, b'1', 1, 1])])]);
        let at = at.min(bytes.len());
        bytes.splice(at..(at + noise.len() / 8).min(bytes.len()), noise.iter().copied());
        let _ = read_request(&bytes);
        let _ = read_accept(&bytes);
        for kind in [A_ASSOCIATE_RQ, A_ASSOCIATE_AC] {
            let _ = tidy(kind, &noise);
        }
    }
}
