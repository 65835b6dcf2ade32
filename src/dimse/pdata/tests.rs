//! Framing as tables, and the property that no cut of the stream matters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use proptest::prelude::*;

fn pdu(length: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![P_DATA_TF, 0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}

fn pdv(context: u8, control: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 + 2).to_be_bytes().to_vec();
    bytes.extend([context, control]);
    bytes.extend(payload);
    bytes
}

/// Everything that a machine makes of `stream` when it arrives in slices of the given sizes: fragments joined, PDU
/// headers named.
fn frames(limit: u32, stream: &[u8], cuts: &[usize]) -> Result<Vec<String>, Violation> {
    let mut machine = Machine::new(limit);
    let (mut pending, mut seen, mut fragment) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    let mut cuts = cuts.iter().copied().cycle();
    while at < stream.len() {
        let end = (at + cuts.next().unwrap_or(stream.len()).max(1)).min(stream.len());
        pending.extend_from_slice(&stream[at..end]);
        at = end;
        loop {
            let (used, step) = machine.step(&pending);
            let step = step?;
            match &step {
                Step::Piece(piece) => {
                    fragment.extend_from_slice(&pending[piece.bytes.clone()]);
                    if piece.last {
                        seen.push(format!("{} {} {:02x?}", piece.context, piece.command, fragment));
                        fragment.clear();
                    }
                }
                Step::Pdu { kind, length } => seen.push(format!("pdu {kind} {length}")),
                Step::More => assert!(pending.len() - used < PDV_HEADER),
            }
            pending.drain(..used);
            if matches!(step, Step::More) {
                break;
            }
        }
    }
    assert!(pending.is_empty(), "{} bytes left", pending.len());
    Ok(seen)
}

#[test]
fn lengths_that_do_not_fit_are_violations() {
    let good = pdv(1, 2, b"abcd");
    let rows: Vec<(&str, Vec<u8>, Violation)> = vec![
        ("4 GiB PDU", pdu(u32::MAX, &[]), Violation::PduTooLong { length: u32::MAX, limit: 64 }),
        ("one over the limit", pdu(65, &[]), Violation::PduTooLong { length: 65, limit: 64 }),
        ("empty PDU", pdu(0, &[]), Violation::PdvLength { length: 0, left: 0 }),
        ("PDU without room for a PDV", pdu(5, &[0; 5]), Violation::PdvLength { length: 0, left: 5 }),
        ("PDV of length 0", pdu(6, &[0, 0, 0, 0, 1, 0]), Violation::PdvLength { length: 0, left: 2 }),
        ("PDV of length 1", pdu(6, &[0, 0, 0, 1, 1, 0]), Violation::PdvLength { length: 1, left: 2 }),
        ("PDV longer than its PDU", pdu(9, &pdv(1, 2, b"abcd")), Violation::PdvLength { length: 6, left: 5 }),
        ("PDV of 4 GiB", pdu(10, &[255, 255, 255, 255, 1, 0]), Violation::PdvLength { length: u32::MAX, left: 6 }),
        ("a rest of 3 bytes", pdu(13, &[good, vec![0; 3]].concat()), Violation::PdvLength { length: 0, left: 3 }),
    ];
    for (name, stream, want) in rows {
        assert_eq!(frames(64, &stream, &[1]).unwrap_err(), want, "{name}");
        assert_eq!(frames(64, &stream, &[usize::MAX / 2]).unwrap_err(), want, "{name}, at once");
        assert_eq!(want.abort_codes(), (2, 6), "{name}");
    }
}

#[test]
fn the_limit_covers_the_length_field_and_not_the_header() {
    assert!(frames(64, &pdu(64, &pdv(1, 2, &[7; 58])), &[9]).is_ok());
    assert!(frames(0, &pdu(70_000, &pdv(1, 2, &[7; 69_994])), &[4096]).is_ok());
}

#[test]
fn empty_fragments_and_several_fragments_in_a_pdu_are_taken() {
    let body = [pdv(1, 1, b"ab"), pdv(1, 1, b""), pdv(1, 3, b"cd"), pdv(1, 2, b"")].concat();
    let stream = [pdu(body.len() as u32, &body), vec![5, 0, 0, 0, 0, 4]].concat();
    let want = vec!["1 true [61, 62, 63, 64]".to_owned(), "1 false []".to_owned(), "pdu 5 4".to_owned()];
    assert_eq!(frames(0, &stream, &[1000]).unwrap(), want);
    assert_eq!(frames(0, &stream, &[1]).unwrap(), want);
}

#[test]
fn left_counts_the_rest_of_the_pdu() {
    let mut machine = Machine::new(0);
    assert!(machine.between_pdus());
    let stream = pdu(20, &pdv(3, 0, &[0; 14]));
    let (used, _) = machine.step(&stream[..16]);
    assert_eq!((used, machine.left()), (16, 10));
    assert!(!machine.between_pdus());
    let (used, _) = machine.step(&stream[16..]);
    assert_eq!((used, machine.left(), machine.between_pdus()), (10, 0, true));
}

#[test]
fn fragments_fit_the_peers_maximum() {
    let rows = [
        (0, Some(131_072)),
        (16_384, Some(16_378)),
        (4_096, Some(4_090)),
        (4_097, Some(4_090)),
        (u32::MAX, Some(131_072)),
        (8, Some(2)),
        (9, Some(2)),
        (7, None),
        (4, None),
        (1, None),
    ];
    for (maximum, want) in rows {
        assert_eq!(longest_fragment(maximum, 131_072), want, "{maximum}");
        if let (Some(payload), true) = (want, maximum > 0) {
            assert!(payload + PDV_HEADER as u32 <= maximum);
        }
    }
}

#[test]
fn our_own_header_is_read_back() {
    let mut stream = fragment_header(5, true, true, 4).to_vec();
    stream.extend(b"\x01\x02\x03\x04");
    assert_eq!(frames(10, &stream, &[100]).unwrap(), ["5 true [01, 02, 03, 04]"]);
}

proptest! {
    #[test]
    fn no_cut_of_the_stream_changes_the_fragments(
        pdvs in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 1..12),
        cuts in prop::collection::vec(1usize..50, 1..20),
    ) {
        let mut stream = Vec::new();
        let mut body = Vec::new();
        for (control, payload, ends) in &pdvs {
            body.extend(pdv(1, *control, payload));
            if *ends {
                stream.extend(pdu(body.len() as u32, &body));
                body.clear();
            }
        }
        if !body.is_empty() {
            stream.extend(pdu(body.len() as u32, &body));
        }
        let whole = frames(0, &stream, &[usize::MAX / 2]);
        prop_assert_eq!(frames(0, &stream, &cuts), whole);
    }

    #[test]
    fn no_bytes_make_it_panic(stream in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(1usize..30, 1..8)) {
        let mut machine = Machine::new(1000);
        let mut pending = Vec::new();
        let mut at = 0;
        for cut in cuts {
            let end = (at + cut).min(stream.len());
            pending.extend_from_slice(&stream[at..end]);
            at = end;
            loop {
                let (used, step) = machine.step(&pending);
                prop_assert!(used <= pending.len());
                pending.drain(..used);
                if matches!(step, Ok(Step::More) | Err(_)) { break; }
            }
        }
    }
}
