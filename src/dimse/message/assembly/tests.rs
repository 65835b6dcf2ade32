//! The order of fragments as a table, and the property that no fragmentation changes a message.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::type_complexity)]

use super::*;
use crate::dimse::message::{element, field};
use crate::dimse::pdata::{Machine, Step, fragment_header};
use proptest::prelude::*;

/// A stream of one fragment a PDU: (context, control, payload).
fn stream(fragments: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (context, control, payload) in fragments {
        bytes.extend(fragment_header(*context, control & 1 != 0, control & 2 != 0, payload.len() as u32));
        bytes.extend(*payload);
    }
    bytes
}

/// The messages of a stream, when it arrives in slices of these sizes; contexts 1 and 3 are accepted.
fn messages(bytes: &[u8], cuts: &[usize]) -> Result<Vec<(u8, CommandSet, Vec<u8>)>, Violation> {
    let (mut machine, mut assembly) = (Machine::new(0), Assembly::default());
    let (mut pending, mut done, mut data) = (Vec::new(), Vec::new(), Vec::new());
    let (mut at, mut cuts) = (0, cuts.iter().copied().cycle());
    while at < bytes.len() {
        let end = (at + cuts.next().unwrap_or(1).max(1)).min(bytes.len());
        pending.extend_from_slice(&bytes[at..end]);
        at = end;
        loop {
            let (used, step) = machine.step(&pending);
            let step = step?;
            let more = matches!(step, Step::More);
            if let Step::Piece(piece) = step {
                let slice = &pending[piece.bytes.clone()];
                match assembly.accept(&piece, slice, |id| id == 1 || id == 3)? {
                    Part::Partial => {}
                    Part::Command(context, command) => done.push((context, command, Vec::new())),
                    Part::Data { last } => {
                        data.extend_from_slice(slice);
                        if last {
                            done.last_mut().unwrap().2 = std::mem::take(&mut data);
                        }
                    }
                }
            }
            pending.drain(..used);
            if more {
                break;
            }
        }
    }
    Ok(done)
}

fn store() -> Vec<u8> {
    CommandSet::new(field::C_STORE_RQ, true).with_u16(element::MESSAGE_ID, 1).encode()
}

fn echo() -> Vec<u8> {
    CommandSet::new(field::C_ECHO_RQ, false).with_u16(element::MESSAGE_ID, 1).encode()
}

#[test]
fn fragments_out_of_order_are_violations() {
    let (store, echo) = (store(), echo());
    let too_long = vec![0u8; 40_000];
    let rows: Vec<(&str, Vec<(u8, u8, &[u8])>, (u8, u8))> = vec![
        ("data first", vec![(1, 2, b"ab")], (2, 5)),
        ("data after a command without one", vec![(1, 3, &echo), (1, 2, b"ab")], (2, 5)),
        ("data after the last fragment", vec![(1, 3, &store), (1, 2, b"ab"), (1, 2, b"cd")], (2, 5)),
        ("command within the data set", vec![(1, 3, &store), (1, 0, b"ab"), (1, 3, &echo)], (2, 5)),
        ("data within the command", vec![(1, 1, &store[..10]), (1, 0, b"ab")], (2, 5)),
        ("another context within the command", vec![(1, 1, &store[..10]), (3, 3, &store[10..])], (2, 5)),
        ("another context within the message", vec![(1, 3, &store), (3, 2, b"ab")], (2, 5)),
        ("context not accepted", vec![(5, 3, &store)], (2, 6)),
        ("context not accepted, data", vec![(1, 3, &store), (2, 2, b"ab")], (2, 6)),
        ("command that is no command", vec![(1, 3, b"abcdefgh")], (2, 6)),
        ("empty command", vec![(1, 3, b"")], (2, 6)),
        ("endless command", vec![(1, 1, &too_long), (1, 1, &too_long)], (2, 6)),
    ];
    for (name, fragments, codes) in rows {
        let bytes = stream(&fragments);
        for cuts in [[1], [7], [usize::MAX / 2]] {
            assert_eq!(messages(&bytes, &cuts).unwrap_err().abort_codes(), codes, "{name}");
        }
    }
}

#[test]
fn empty_fragments_are_taken() {
    let store = store();
    let bytes = stream(&[(1, 1, b""), (1, 1, &store), (1, 3, b""), (1, 0, b"ab"), (1, 0, b""), (1, 2, b"")]);
    let got = messages(&bytes, &[3]).unwrap();
    assert_eq!((got.len(), &got[0].2[..]), (1, &b"ab"[..]));
}

/// PS3.7 section 9.3.1.2: a C-STORE-RSP has no data set, whatever its Command Data Set Type says. The next message may follow at once.
#[test]
fn a_data_set_that_a_response_can_not_have_is_neither_waited_for_nor_kept() {
    let response = |field: u16, status: u16| CommandSet::new(field, true).with_u16(element::STATUS, status).encode();
    let (stored, failed) = (response(field::C_STORE_RSP, 0), response(field::C_MOVE_RSP, 0xB000));
    let (echo, much) = (echo(), vec![0u8; 300 * 1024]);
    let rows: Vec<(&str, Vec<(u8, u8, &[u8])>, Result<usize, (u8, u8)>)> = vec![
        ("nothing of it", vec![(1, 3, &stored), (3, 3, &echo)], Ok(2)),
        ("all of it", vec![(1, 3, &stored), (1, 0, b"ab"), (1, 2, b"cd"), (1, 3, &echo)], Ok(2)),
        ("much of it", vec![(1, 3, &stored), (1, 2, &much), (1, 3, &stored), (1, 2, &much)], Ok(2)),
        ("too much of it", vec![(1, 3, &stored), (1, 0, &much), (1, 0, &much)], Err((2, 5))),
        ("a part of it", vec![(1, 3, &stored), (1, 0, b"ab"), (1, 3, &echo)], Err((2, 5))),
        ("on another context", vec![(1, 3, &stored), (3, 2, b"ab")], Err((2, 5))),
        ("another one behind it", vec![(1, 3, &stored), (1, 2, b"ab"), (1, 2, b"cd")], Err((2, 5))),
        ("one that it can have is missing", vec![(1, 3, &failed), (1, 3, &echo)], Err((2, 5))),
    ];
    for (name, fragments, want) in rows {
        let got = messages(&stream(&fragments), &[usize::MAX / 2]);
        if let Ok(got) = &got {
            assert!(got.iter().all(|(_, _, data)| data.is_empty()), "{name}");
        }
        assert_eq!(got.map(|got| got.len()).map_err(|violation| violation.abort_codes()), want, "{name}");
    }
}

proptest! {
    /// DIM-009: one message, cut into any fragments, fragments into any PDUs, PDUs into any reads.
    #[test]
    fn no_fragmentation_changes_the_message(
        data in prop::collection::vec(any::<u8>(), 0..400),
        fragments in prop::collection::vec((1usize..60, any::<bool>()), 1..12),
        cuts in prop::collection::vec(1usize..90, 1..12),
    ) {
        let command = store();
        let mut sizes = fragments.iter().copied().cycle();
        let (mut bytes, mut body) = (Vec::new(), Vec::new());
        for (control, payload) in [(1u8, &command), (0, &data)] {
            let mut rest = &payload[..];
            loop {
                let (size, join) = sizes.next().unwrap();
                let (now, later) = rest.split_at(size.min(rest.len()));
                rest = later;
                let last = rest.is_empty();
                body.extend((now.len() as u32 + 2).to_be_bytes());
                body.extend([1, control | if last { 2 } else { 0 }]);
                body.extend(now);
                if !join || (last && control == 0) {
                    bytes.extend([4, 0]);
                    bytes.extend((body.len() as u32).to_be_bytes());
                    bytes.append(&mut body);
                }
                if last { break; }
            }
        }
        let got = messages(&bytes, &cuts).unwrap();
        prop_assert_eq!(got, vec![(1, CommandSet::decode(&command).unwrap(), data)]);
    }
}
