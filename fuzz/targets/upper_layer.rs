//! What comes from the network before there is an association, and on it: framing, association PDUs, command sets.

use super::cutting::same_for_any_cutting;
use std::net::{Ipv4Addr, SocketAddr};
use weybridge::dimse::message::assembly::{Assembly, Part};
use weybridge::dimse::message::{CommandSet, MAX_COMMAND_BYTES, element};
use weybridge::dimse::pdata::{Machine, Step, Violation};
use weybridge::dimse::presentation::{self, Answer, Refusal, Roles, Terms};
use weybridge::dimse::{ContextAnswer, Offer, Proposal, ProposedContext, Status, pdu};

/// What a stream of PDUs held; fragments that follow one another are told as one.
#[derive(Debug, PartialEq)]
enum Told {
    Pdu(u8, Vec<u8>),
    Fragment { context: u8, command: bool, bytes: Vec<u8>, last: bool },
    Command(u8, CommandSet),
}

/// Input: the low bits of the first byte choose the maximum length and the accepted contexts; the rest is the stream.
pub fn pdata(input: &[u8]) {
    let Some((&choice, stream)) = input.split_first() else { return };
    let limit = [0, 4, 64, 16_384][usize::from(choice & 3)];
    let accepted = move |context: u8| context % 2 == 1 && (choice & 4 == 0 || context < 8);
    let read = |pieces: &[&[u8]]| frames(pieces, limit, accepted);
    let (told, end) = same_for_any_cutting(stream, read, |told| format!("{told:?}"));
    let held: usize = told.iter().map(|one| if let Told::Fragment { bytes, .. } = one { bytes.len() } else { 0 }).sum();
    assert!(held <= stream.len(), "more bytes of fragments than came");
    if let Err(violation) = end {
        assert!(matches!(violation.abort_codes(), (2, 1 | 2 | 4 | 5 | 6) | (0, 0)), "{violation}");
    }
}

/// Feeds the pieces as a connection would: what was not used stands before what comes next.
fn frames(pieces: &[&[u8]], limit: u32, accepted: impl Fn(u8) -> bool + Copy) -> (Vec<Told>, Result<u64, Violation>) {
    let (mut machine, mut assembly, mut told) = (Machine::new(limit), Assembly::default(), Vec::new());
    let (mut held, mut skip, mut kind): (Vec<u8>, usize, u8) = (Vec::new(), 0, 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        let mut from = 0;
        loop {
            if skip > 0 {
                let take = skip.min(held.len() - from);
                pdu_bytes(&mut told, kind, &held[from..from + take]);
                (from, skip) = (from + take, skip - take);
                if skip > 0 {
                    break;
                }
            }
            let input = &held[from..];
            let before = machine.left();
            let (used, step) = machine.step(input);
            assert!(used <= input.len() && machine.left() <= before.max(u64::from(u32::MAX)), "used {used}");
            from += used;
            match step {
                Ok(Step::More) => break,
                Ok(Step::Pdu { kind: found, length }) => {
                    (kind, skip) = (found, length as usize);
                    told.push(Told::Pdu(kind, Vec::new()));
                    if length > pdu::longest_body(kind) {
                        return (told, Err(Violation::PduTooLong { length, limit: pdu::longest_body(kind) }));
                    }
                }
                Ok(Step::Piece(piece)) => {
                    let bytes = &input[piece.bytes.clone()];
                    match assembly.accept(&piece, bytes, accepted) {
                        Ok(Part::Command(context, command)) => told.push(Told::Command(context, command)),
                        Ok(Part::Data { last }) => fragment(&mut told, piece.context, piece.command, bytes, last),
                        Ok(Part::Partial) => {}
                        Err(violation) => return (told, Err(violation)),
                    }
                }
                Err(violation) => return (told, Err(violation)),
            }
        }
        held.drain(..from);
        assert!(held.len() < 6 || skip > 0, "{} bytes are not consumed", held.len());
    }
    (told, Ok(machine.left() + skip as u64))
}

fn pdu_bytes(told: &mut [Told], kind: u8, bytes: &[u8]) {
    if let Some(Told::Pdu(open, body)) = told.last_mut().filter(|_| !bytes.is_empty()) {
        assert_eq!(*open, kind);
        body.extend_from_slice(bytes);
    }
}

fn fragment(told: &mut Vec<Told>, context: u8, command: bool, bytes: &[u8], last: bool) {
    match told.last_mut() {
        Some(Told::Fragment { bytes: held, last: ended, .. }) if !*ended => {
            held.extend_from_slice(bytes);
            *ended = last;
        }
        _ => told.push(Told::Fragment { context, command, bytes: bytes.to_vec(), last }),
    }
}

/// Input: the first byte chooses the PDU type, the rest is its body. What was read is written and read again.
pub fn association(input: &[u8]) {
    let Some((&choice, body)) = input.split_first() else { return };
    match choice % 4 {
        0 => {
            let Ok(request) = pdu::read_request(body) else { return };
            assert!(request.presentation_contexts.len() <= 128, "too many contexts");
            let Ok(written) = pdu::write_request(request.clone()) else { return };
            assert!(written.len() <= body.len() + 512, "{} bytes of {}", written.len(), body.len());
            let again = pdu::read_request(&written[6..]).expect("what we write, we read");
            assert_eq!(again.presentation_contexts.len(), request.presentation_contexts.len(), "contexts were lost");
            for (read, written) in again.presentation_contexts.iter().zip(&request.presentation_contexts) {
                let uids = written.transfer_syntaxes.iter().chain([&written.abstract_syntax]);
                assert!(read == written || !uids.into_iter().all(|uid| is_uid(uid)), "a context was changed");
            }
        }
        1 => {
            let Ok(accept) = pdu::read_accept(body) else { return };
            assert!(accept.presentation_contexts.len() <= 128, "too many contexts");
            let Ok(written) = pdu::write_accept(accept.clone()) else { return };
            let again = pdu::read_accept(&written[6..]).expect("what we write, we read");
            assert_eq!(again.presentation_contexts.len(), accept.presentation_contexts.len(), "contexts were lost");
            for (read, written) in again.presentation_contexts.iter().zip(&accept.presentation_contexts) {
                assert!(read == written || !is_uid(&written.transfer_syntax), "a context was changed");
            }
        }
        2 => drop(pdu::read_reject(body)),
        _ => drop(pdu::write_abort(pdu::read_abort(body)).expect("an abort can always be written")),
    }
}

/// Digits and dots. Other texts in the place of a UID may lose spaces and NULs at their ends when they are read again.
fn is_uid(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// An application that decides by the low bits of a number.
struct By(u8);

impl Answer for By {
    fn context(&mut self, context: &ProposedContext) -> ContextAnswer {
        match self.0.wrapping_add(context.id) & 7 {
            0 => ContextAnswer::AbstractSyntaxNotSupported,
            2 => ContextAnswer::TransferSyntaxesNotSupported,
            4 => ContextAnswer::Accept(usize::from(self.0)),
            _ => ContextAnswer::Accept(0),
        }
    }

    fn roles(&mut self, _: &str, _: Roles) -> Roles {
        Roles { scu: true, scp: self.0 & 8 != 0 }
    }

    fn extended(&mut self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
        (self.0 & 16 != 0).then(|| vec![1; 6])
    }

    fn identity(&mut self) -> Option<Vec<u8>> {
        (self.0 & 32 != 0).then(|| vec![b'k'; 9])
    }
}

fn terms() -> Terms {
    Terms {
        max_pdu_length: 65_536,
        implementation_class: "1.2.3".to_owned(),
        implementation_version: "FUZZ".to_owned(),
    }
}

/// Input: the first byte decides for the application; the rest is the body of a request, or of an answer to our own.
pub fn negotiation(input: &[u8]) {
    let Some((&choice, body)) = input.split_first() else { return };
    if choice >= 128 {
        return answered(body);
    }
    let Ok(request) = pdu::read_request(body) else { return };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 104));
    let proposal = match Proposal::of_request(request.clone(), address, None) {
        Ok(proposal) => proposal,
        Err(Refusal::Reject(rejection)) => {
            let (result, source, reason) = rejection.codes();
            let written = pdu::write_reject(rejection).expect("a rejection can always be written");
            return assert_eq!(pdu::read_reject(&written[6..]), (result, source, reason));
        }
        Err(Refusal::Abort(violation)) => return assert_eq!(violation.abort_codes(), (2, 6), "{violation}"),
    };
    let (accept, contexts) = presentation::answer(&proposal, &terms(), &mut By(choice));
    // DIM-004: one result for each proposed context, in the same order.
    let asked: Vec<u8> = proposal.contexts.iter().map(|context| context.id).collect();
    let results: Vec<u8> = accept.presentation_contexts.iter().map(|context| context.id).collect();
    assert_eq!(results, asked);
    for context in contexts.iter() {
        let proposed = proposal.contexts.iter().find(|proposed| proposed.id == context.id).expect("it was proposed");
        assert_eq!(proposed.abstract_syntax, context.abstract_syntax);
        assert!(proposed.transfer_syntaxes.contains(&context.transfer_syntax), "a syntax that nobody proposed");
    }
    assert!((1..=255u8).step_by(2).all(|id| contexts.contains(id) == contexts.get(id).is_some()));
    // What we answer is what the other side understands.
    let Ok(written) = pdu::write_accept(accept) else { return };
    let read = pdu::read_accept(&written[6..]).expect("what we write, we read");
    let understood = presentation::accepted(&request, &read);
    let list = |contexts: &presentation::Contexts| {
        contexts.iter().filter(|context| is_uid(&context.transfer_syntax)).map(|context| context.id).collect::<Vec<_>>()
    };
    assert_eq!(list(&understood.contexts), list(&contexts));
}

/// An answer of any content to a request of ours accepts nothing that was not offered.
fn answered(body: &[u8]) {
    let syntaxes = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"].map(str::to_owned);
    let offers = ["1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2"]
        .map(|class| Offer { abstract_syntax: class.to_owned(), transfer_syntaxes: syntaxes.to_vec() });
    let request = presentation::request("US", "THEM", &terms(), &offers, None).expect("a good request");
    let Ok(accept) = pdu::read_accept(body) else { return };
    let accepted = presentation::accepted(&request, &accept);
    for context in accepted.contexts.iter() {
        let offered = &offers[usize::from(context.id) / 2];
        assert!(context.id % 2 == 1 && offered.abstract_syntax == context.abstract_syntax);
        assert!(offered.transfer_syntaxes.contains(&context.transfer_syntax));
    }
}

/// Input: a command set. What was read is written and read again; an answer to it is well formed.
pub fn command(input: &[u8]) {
    let Ok(set) = CommandSet::decode(input) else { return };
    assert!(input.len() <= MAX_COMMAND_BYTES);
    let written = set.encode();
    let again = CommandSet::decode(&written);
    // What lacks its group length is written with one, and may then be too long by it.
    if written.len() <= MAX_COMMAND_BYTES {
        assert_eq!(again.expect("what we write, we read").encode(), written);
    }
    let answer = set.response(Status::SUCCESS, false);
    assert_eq!(answer.u16(element::MESSAGE_ID_RESPONDED_TO), Some(set.u16(element::MESSAGE_ID).unwrap_or_default()));
    let uids = [element::AFFECTED_SOP_CLASS_UID, element::AFFECTED_SOP_INSTANCE_UID];
    assert!(uids.iter().all(|uid| answer.bytes(*uid).is_none_or(|bytes| bytes.len() <= 64)), "a long UID is sent back");
    let read = CommandSet::decode(&answer.encode()).expect("an answer is a command set");
    assert!(!read.has_data_set() && read.u16(element::STATUS) == Some(0));
}
