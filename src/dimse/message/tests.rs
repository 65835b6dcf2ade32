//! The command set codec as tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::dimse::Status;
use proptest::prelude::*;

fn raw(elements: &[(u16, u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (group, element, value) in elements {
        bytes.extend(group.to_le_bytes());
        bytes.extend(element.to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
        bytes.extend(*value);
    }
    bytes
}

#[test]
fn an_echo_request_is_written_byte_for_byte() {
    let echo = CommandSet::new(field::C_ECHO_RQ, false)
        .with_uid(element::AFFECTED_SOP_CLASS_UID, "1.2.840.10008.1.1")
        .with_u16(element::MESSAGE_ID, 7);
    let want = raw(&[
        (0, 0x0000, &56u32.to_le_bytes()),
        (0, 0x0002, b"1.2.840.10008.1.1\0"),
        (0, 0x0100, &[0x30, 0x00]),
        (0, 0x0110, &[7, 0]),
        (0, 0x0800, &[0x01, 0x01]),
    ]);
    assert_eq!(echo.encode(), want);
    let read = CommandSet::decode(&want).unwrap();
    assert_eq!((read.field(), read.u16(element::MESSAGE_ID), read.has_data_set()), (0x30, Some(7), false));
    assert_eq!(read.text(element::AFFECTED_SOP_CLASS_UID).as_deref(), Some("1.2.840.10008.1.1"));
}

#[test]
fn what_is_not_a_command_set_is_refused() {
    let field = (0, 0x0100, &[1u8, 0][..]);
    let kind = (0, 0x0800, &[1u8, 1][..]);
    let mut long = raw(&[field, kind]);
    long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let many: Vec<_> = std::iter::repeat_n((0u16, 0x5010u16, &[][..]), 300).collect();
    let rows: Vec<(&str, Vec<u8>, CommandError)> = vec![
        ("element of 4 GiB", long, CommandError::Truncated(0x0100)),
        ("half a header", raw(&[field, kind])[..12].to_vec(), CommandError::Truncated(0xFFFF)),
        ("another group", raw(&[(8, 0x16, b"1.2 ")]), CommandError::ForeignGroup(8)),
        ("empty", vec![], CommandError::Missing(0x0100)),
        ("no command field", raw(&[kind]), CommandError::Missing(0x0100)),
        ("no data set type", raw(&[field]), CommandError::Missing(0x0800)),
        ("field of 4 bytes", raw(&[(0, 0x0100, &[1, 0, 0, 0]), kind]), CommandError::Missing(0x0100)),
        ("300 elements", raw(&many), CommandError::TooManyElements),
        ("more than 64 KiB", raw(&[(0, 0x0902, &vec![b' '; 66_000])]), CommandError::TooLong),
    ];
    for (name, bytes, want) in rows {
        assert_eq!(CommandSet::decode(&bytes).unwrap_err(), want, "{name}");
    }
}

#[test]
fn a_wrong_group_length_and_a_wrong_order_do_no_harm() {
    let bytes =
        raw(&[(0, 0x0800, &[1, 1]), (0, 0x0100, &[0x30, 0]), (0, 0x0000, &[255, 255, 255, 255]), (0, 0x0110, &[1, 0])]);
    let read = CommandSet::decode(&bytes).unwrap();
    assert_eq!((read.field(), read.u16(element::MESSAGE_ID)), (0x30, Some(1)));
}

#[test]
fn a_response_names_what_was_asked() {
    let request = CommandSet::new(field::C_STORE_RQ, true)
        .with_u16(element::MESSAGE_ID, 9)
        .with(element::AFFECTED_SOP_CLASS_UID, b"1.2.3")
        .with_uid(element::AFFECTED_SOP_INSTANCE_UID, &"9".repeat(70));
    let answer = request.response(Status::INVALID_SOP_INSTANCE, false);
    assert_eq!(answer.field(), field::C_STORE_RSP);
    assert_eq!(answer.u16(element::MESSAGE_ID_RESPONDED_TO), Some(9));
    assert_eq!(answer.u16(element::STATUS), Some(0x0117));
    assert_eq!(answer.bytes(element::AFFECTED_SOP_CLASS_UID), Some(&b"1.2.3\0"[..]), "of even length");
    assert_eq!(answer.bytes(element::AFFECTED_SOP_INSTANCE_UID), None);
    assert!(!answer.has_data_set());

    // Spaces behind a UID are no padding of the standard's.
    let rows: [(&[u8], &[u8]); 4] =
        [(b"1.2.3 ", b"1.2.3\0"), (b" 1.2\0 ", b"1.2\0"), (b"1.23  ", b"1.23"), (b" ", b"")];
    for (sent, want) in rows {
        let request = CommandSet::new(field::C_STORE_RQ, true).with(element::AFFECTED_SOP_INSTANCE_UID, sent);
        let answer = request.response(Status::SUCCESS, false);
        assert_eq!(answer.bytes(element::AFFECTED_SOP_INSTANCE_UID), Some(want), "{sent:?}");
    }

    let action = CommandSet::new(field::N_ACTION_RQ, false).with_uid(element::REQUESTED_SOP_CLASS_UID, "1.2.8");
    assert_eq!(action.response(Status::SUCCESS, false).text(element::AFFECTED_SOP_CLASS_UID).as_deref(), Some("1.2.8"));
}

#[test]
fn it_is_known_which_responses_can_have_no_data_set() {
    let rows = [
        (field::C_STORE_RSP, Some(0x0000), true),
        (field::C_STORE_RSP, Some(0xA700), true),
        (field::C_STORE_RSP, None, true),
        (field::C_ECHO_RSP, Some(0x0000), true),
        (field::C_FIND_RSP, Some(0xFF00), false),
        (field::C_FIND_RSP, Some(0xFF01), false),
        (field::C_FIND_RSP, Some(0x0000), true),
        (field::C_FIND_RSP, Some(0xFE00), true),
        (field::C_FIND_RSP, None, false),
        (field::C_MOVE_RSP, Some(0xFF00), true),
        (field::C_MOVE_RSP, Some(0x0000), true),
        (field::C_MOVE_RSP, Some(0xB000), false),
        (field::C_MOVE_RSP, Some(0xA702), false),
        (field::C_GET_RSP, Some(0xFF00), true),
        (field::C_GET_RSP, Some(0xFE00), false),
        (field::C_STORE_RQ, None, false),
        (field::C_FIND_RQ, None, false),
        (field::C_ECHO_RQ, None, true),
        (field::C_CANCEL_RQ, None, true),
        (field::N_GET_RQ | field::RESPONSE, Some(0x0000), false),
    ];
    for (field, status, want) in rows {
        let message = CommandSet::new(field, true);
        let message = status.map_or(message.clone(), |status| message.with_u16(element::STATUS, status));
        assert_eq!(message.is_bare(), want, "{field:04X}, {status:04X?}");
    }
}

/// DIM-002: a title that was written as a C string ends with its NUL, in a command set too.
#[test]
fn what_stands_behind_the_nul_of_a_title_in_a_command_set_means_nothing() {
    let rows: [(&[u8], &str); 5] =
        [(b"PACS", "PACS"), (b"PACS \0\0", "PACS"), (b" PACS\0\x8f\x01\\", "PACS"), (b"A B \0C", "A B"), (b"\0\0", "")];
    for (sent, want) in rows {
        let command = CommandSet::new(field::C_MOVE_RQ, true).with(element::MOVE_DESTINATION, sent);
        assert_eq!(command.title(element::MOVE_DESTINATION).as_deref(), Some(want), "{sent:?}");
    }
    assert_eq!(CommandSet::new(field::C_MOVE_RQ, true).title(element::MOVE_DESTINATION), None);
}

#[test]
fn comments_are_cut_and_cleaned() {
    let set = CommandSet::default().with_text(element::ERROR_COMMENT, &format!("é\\\u{7}{}", "x".repeat(100)), 64);
    assert_eq!(set.text(element::ERROR_COMMENT), Some(format!("???{}", "x".repeat(61))));
}

#[test]
fn a_comment_that_is_too_long_ends_with_a_word() {
    let rows = [
        ("the gateway is stopping".to_owned(), "the gateway is stopping".to_owned()),
        ("x".repeat(64), "x".repeat(64)),
        (format!("{} yyy", "x".repeat(61)), format!("{}...", "x".repeat(61))),
        (format!("{} yyy zzz", "x".repeat(57)), format!("{}...", "x".repeat(57))),
        ("x".repeat(65), format!("{}...", "x".repeat(61))),
        ("é".repeat(65), format!("{}...", "?".repeat(61))),
    ];
    for (comment, want) in rows {
        let set = CommandSet::default().with_comment(&comment);
        assert_eq!(set.text(element::ERROR_COMMENT), Some(want), "{comment}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(elements in prop::collection::btree_map(1u16..0x2000, prop::collection::vec(any::<u8>(), 0..20), 0..20)) {
        let mut set = CommandSet::new(field::C_STORE_RQ, true);
        for (element, value) in elements.into_iter().filter(|(e, _)| !matches!(e, 0x0100 | 0x0800)) {
            set = set.with(element, &value);
        }
        let read = CommandSet::decode(&set.encode()).unwrap();
        prop_assert_eq!(read.encode(), set.encode());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = CommandSet::decode(&bytes);
    }
}
