//! Checks the lengths and counts of an association PDU and leaves out what is to be ignored, before the decoder sees
//! it (PS3.8 section 9.3.1; DIM-010).

use crate::dimse::pdata::Violation;

/// The fixed part of A-ASSOCIATE-RQ and -AC: version, reserved, two AE titles, reserved (PS3.8 section 9.3.2).
const FIXED: usize = 68;
/// Presentation context IDs are odd and of one byte (PS3.8 section 9.3.2.2; DIM-003).
const MAX_CONTEXTS: usize = 128;
/// Transfer syntaxes that are looked at in one context; PS3.6 lists fewer than 70.
const MAX_TRANSFER_SYNTAXES: usize = 128;
/// User information sub-items that are taken.
const MAX_USER_ITEMS: usize = 1024;
/// A UID has 64 characters at most (PS3.5 section 9.1), and perhaps a padding NUL.
const MAX_UID: usize = 65;

const APPLICATION_CONTEXT: u8 = 0x10;
const CONTEXT_PROPOSED: u8 = 0x20;
const CONTEXT_RESULT: u8 = 0x21;
const ABSTRACT_SYNTAX: u8 = 0x30;
const TRANSFER_SYNTAX: u8 = 0x40;
const USER_INFORMATION: u8 = 0x50;

/// The whole PDU, with its header, as the decoder is to read it.
pub(super) fn tidy(kind: u8, body: &[u8]) -> Result<Vec<u8>, Violation> {
    let (fixed, mut rest) =
        body.split_at_checked(FIXED).ok_or(Violation::MalformedPdu("shorter than its fixed part"))?;
    let mut out = Vec::with_capacity(6 + body.len());
    out.extend([kind, 0, 0, 0, 0, 0]);
    out.extend(fixed);
    let (mut contexts, mut users, mut named) = (0, 0, false);
    while let Some((item, value)) = next_item(&mut rest)? {
        match item {
            APPLICATION_CONTEXT => {
                named = true;
                put(&mut out, item, trim(value));
            }
            CONTEXT_PROPOSED if kind == super::A_ASSOCIATE_RQ => {
                contexts += 1;
                put(&mut out, item, &proposed(value)?);
            }
            CONTEXT_RESULT if kind == super::A_ASSOCIATE_AC => {
                contexts += 1;
                put(&mut out, item, &result(value)?);
            }
            // The decoder keeps the last one; a second one is one too many.
            USER_INFORMATION if users == 0 => {
                users += 1;
                put(&mut out, item, &user_information(value)?);
            }
            _ => {}
        }
        if contexts > MAX_CONTEXTS {
            return Err(Violation::MalformedPdu("more than 128 presentation contexts"));
        }
    }
    // Some acceptors leave it out. There is but one, and we have asked for it.
    if !named && kind == super::A_ASSOCIATE_AC {
        put(&mut out, APPLICATION_CONTEXT, super::super::presentation::APPLICATION_CONTEXT.as_bytes());
    }
    let length = (out.len() - 6) as u32;
    out[2..6].copy_from_slice(&length.to_be_bytes());
    Ok(out)
}

/// Takes one item: type, reserved, length, value; `None` at the end.
fn next_item<'a>(rest: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, Violation> {
    if rest.is_empty() {
        return Ok(None);
    }
    let too_short = Violation::MalformedPdu("an item ends behind the end");
    let Some((&[kind, _, high, low], after)) = rest.split_first_chunk::<4>() else {
        return Err(too_short);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (value, after) = after.split_at_checked(length).ok_or(too_short)?;
    *rest = after;
    Ok(Some((kind, value)))
}

/// Writes one item; `value` was cut from an item, or is shorter than one.
fn put(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.extend([kind, 0]);
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
}

/// UID items are not padded (PS3.8 section F), but the field pads them.
fn trim(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|b| !matches!(b, 0 | b' ')).map_or(0, |at| at + 1);
    value.get(..end).unwrap_or_default()
}

fn proposed(value: &[u8]) -> Result<Vec<u8>, Violation> {
    let (fixed, mut rest) =
        value.split_first_chunk::<4>().ok_or(Violation::MalformedPdu("a context shorter than its fixed part"))?;
    let mut out = fixed.to_vec();
    let (mut abstract_syntaxes, mut transfer_syntaxes) = (0, 0);
    while let Some((item, uid)) = next_item(&mut rest)? {
        match item {
            ABSTRACT_SYNTAX if abstract_syntaxes == 0 => {
                abstract_syntaxes += 1;
                // What is no UID is left empty: such a context can be answered, but not accepted.
                put(&mut out, item, if uid.len() <= MAX_UID { trim(uid) } else { &[] });
            }
            TRANSFER_SYNTAX if uid.len() <= MAX_UID && transfer_syntaxes < MAX_TRANSFER_SYNTAXES => {
                transfer_syntaxes += 1;
                put(&mut out, item, trim(uid));
            }
            _ => {}
        }
    }
    match abstract_syntaxes {
        0 => Err(Violation::MalformedPdu("a presentation context without an abstract syntax")),
        _ => Ok(out),
    }
}

/// A result with exactly one transfer syntax sub-item: some peers leave it out of a context that they reject, where it
/// has no meaning (PS3.8 section 9.3.3.2).
fn result(value: &[u8]) -> Result<Vec<u8>, Violation> {
    let (&[id, _, reason, _], mut rest) =
        value.split_first_chunk::<4>().ok_or(Violation::MalformedPdu("a context shorter than its fixed part"))?;
    // A reason that the standard does not know is a rejection without a reason (PS3.8 section 9.3.3.2).
    let mut out = vec![id, 0, if reason > 4 { 2 } else { reason }, 0];
    let mut found: &[u8] = &[];
    // In a context that was rejected it is not significant and not to be tested, whatever some peers leave there.
    while reason == 0
        && let Some((item, uid)) = next_item(&mut rest)?
    {
        if item == TRANSFER_SYNTAX && found.is_empty() && uid.len() <= MAX_UID {
            found = trim(uid);
        }
    }
    put(&mut out, TRANSFER_SYNTAX, found);
    Ok(out)
}

fn user_information(value: &[u8]) -> Result<Vec<u8>, Violation> {
    let mut rest = value;
    let mut out = Vec::with_capacity(value.len());
    let mut count = 0;
    while let Some((item, value)) = next_item(&mut rest)? {
        count += 1;
        if count > MAX_USER_ITEMS {
            return Err(Violation::MalformedPdu("too many user information items"));
        }
        match item {
            0x51 if value.len() != 4 => {
                return Err(Violation::MalformedPdu("a maximum length of other than four bytes"));
            }
            0x52 if value.len() <= MAX_UID => put(&mut out, item, trim(value)),
            0x55 if value.len() <= MAX_UID => put(&mut out, item, trim(value)),
            0x52 | 0x55 => {}
            _ if consistent(item, value) => put(&mut out, item, value),
            _ => {}
        }
    }
    Ok(out)
}

/// The inner lengths of a user information sub-item agree with its own; one that is not is left out like an unknown
/// one.
fn consistent(item: u8, value: &[u8]) -> bool {
    // Length-prefixed fields at these offsets, then so many bytes.
    let field = |at: usize| value.get(at..at + 2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])));
    match item {
        0x54 => field(0).is_some_and(|uid| uid <= MAX_UID && value.len() == uid + 4),
        0x56 => field(0).is_some_and(|uid| uid <= MAX_UID && value.len() >= uid + 2),
        0x58 => field(2)
            .is_some_and(|primary| field(4 + primary).is_some_and(|secondary| value.len() == 6 + primary + secondary)),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
