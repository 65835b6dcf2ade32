//! Parts of the upper layer: P-DATA and the commands in it.

use crate::inputs::{CT_CLASS, PIECE_BYTES, SLICE_BYTES, ct};
use crate::{Part, Run};
use std::hint::black_box;
use weybridge::dimse::Status;
use weybridge::dimse::message::assembly::{Assembly, Part as Told};
use weybridge::dimse::message::{CommandSet, element, field};
use weybridge::dimse::pdata::{Machine, PDV_HEADER, Step, fragment_header};

pub(crate) const PARTS: &[Part] = &[
    Part {
        name: "pdata-16k",
        unit: "object",
        units: 1,
        times: 2000,
        input: "C-STORE-RQ of a CT slice of 525 kB, in PDUs of 16 kB, read by 128 KiB",
        make: || store_request(16 << 10),
    },
    Part {
        name: "pdata-128k",
        unit: "object",
        units: 1,
        times: 2000,
        input: "the same in PDUs of 128 kB",
        make: || store_request(128 << 10),
    },
    Part {
        name: "store-answer",
        unit: "answer",
        units: 1,
        times: 2000,
        input: "C-STORE-RQ read, its C-STORE-RSP written",
        make: answer,
    },
];

fn command() -> CommandSet {
    CommandSet::new(field::C_STORE_RQ, true)
        .with_uid(element::AFFECTED_SOP_CLASS_UID, CT_CLASS)
        .with_uid(element::AFFECTED_SOP_INSTANCE_UID, "2.25.197478879990279617990537972772895805834")
        .with_u16(element::MESSAGE_ID, 7)
        .with_u16(element::PRIORITY, 0)
}

/// From the bytes of a connection to a command and the pieces of its data set.
fn store_request(pdu: usize) -> Run {
    let mut stream = Vec::new();
    let mut put = |command: bool, bytes: &[u8]| {
        let mut left = bytes;
        while let Some((fragment, rest)) = left.split_at_checked(left.len().min(pdu - PDV_HEADER)) {
            stream.extend(fragment_header(1, command, rest.is_empty(), fragment.len() as u32));
            stream.extend(fragment);
            left = rest;
            if left.is_empty() {
                break;
            }
        }
    };
    put(true, &command().encode());
    put(false, &ct(SLICE_BYTES));
    Box::new(move || {
        let (mut machine, mut assembly) = (Machine::new(pdu as u32), Assembly::default());
        let (mut from, mut read) = (0, 0);
        loop {
            let input = &stream[from..read];
            let (used, step) = machine.step(black_box(input));
            from += used;
            match step.unwrap() {
                Step::More if read == stream.len() => break,
                Step::More => read = stream.len().min(read + PIECE_BYTES),
                Step::Pdu { kind, .. } => panic!("a PDU of type {kind}"),
                Step::Piece(piece) => {
                    let told = assembly.accept(&piece, &input[piece.bytes.clone()], |context| context == 1).unwrap();
                    assert!(!matches!(told, Told::Partial));
                    black_box(told);
                }
            }
        }
        assert!(assembly.between_messages() && machine.between_pdus());
    })
}

fn answer() -> Run {
    let request = command().encode();
    Box::new(move || {
        let request = CommandSet::decode(black_box(&request)).unwrap();
        black_box(request.response(Status::SUCCESS, false).encode());
    })
}
