//! Request Attributes Sequence (0040,0275): for which procedure steps a series was made, gathered as a data set passes (WEB-096).
//!
//! What is too long, too much or malformed in it is left out; it never makes a data set unacceptable.

use super::attributes::{REQUEST_ATTRIBUTES, REQUESTED_PROCEDURE_ID, SCHEDULED_STEP_ID};
use super::charset::Charset;
use super::walk::{Element, Event, Syntax, Walker};
use std::fmt;

/// Items that are kept.
const MOST: usize = 16;
/// Bytes of a sequence that is looked into.
const SEQUENCE_BYTES: usize = 16 << 10;
/// Elements that are walked in it.
const ELEMENTS: u64 = 4096;
/// Characters of a Short String (SH).
const LONGEST: usize = 16;

/// One request. `Debug` prints neither.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Scheduled Procedure Step ID; empty if there is none.
    pub step: String,
    /// Requested Procedure ID; empty if there is none.
    pub procedure: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request")
    }
}

/// The sequence as it stands, while a data set is walked.
pub(super) struct Gatherer {
    syntax: Syntax,
    /// Its bytes, header included; none that are too many.
    bytes: Vec<u8>,
    /// It has a length; else so many sequences without one are open, itself included.
    whole: bool,
    depth: u32,
}

impl Gatherer {
    pub(super) fn new(syntax: Syntax) -> Self {
        Self { syntax, bytes: Vec::new(), whole: false, depth: 0 }
    }

    /// Whether the walk is inside the sequence.
    pub(super) fn is_open(&self) -> bool {
        self.depth > 0 || self.whole
    }

    /// The sequence begins; `header` is its header as written. Of two the last counts.
    pub(super) fn begin(&mut self, element: Element, header: &[u8]) {
        self.bytes = header.to_vec();
        (self.whole, self.depth) = (element.length.is_some(), u32::from(element.length.is_none()));
    }

    /// What the walk met inside the sequence; `header` is that of the last event that had one.
    pub(super) fn take(&mut self, event: &Event<'_>, header: &[u8]) {
        match *event {
            Event::Value(slice) => self.keep(slice),
            Event::ValueEnd => self.whole = false,
            Event::ItemEnd { delimited: false } => {}
            Event::SequenceEnd { delimited } => {
                self.depth = self.depth.saturating_sub(1);
                if delimited {
                    self.keep(header);
                }
            }
            Event::Element(element) => {
                self.depth += u32::from(element.length.is_none());
                self.keep(header);
            }
            _ => self.keep(header),
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if !self.bytes.is_empty() && self.bytes.len() + bytes.len() <= SEQUENCE_BYTES {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.bytes.clear();
        }
    }

    /// The requests that were found, decoded; those that say nothing are left out.
    pub(super) fn finish(self, charset: &Charset) -> Vec<Request> {
        let (mut walker, mut input) = (Walker::new(self.syntax, 4, ELEMENTS), self.bytes.as_slice());
        let (mut found, mut depth, mut field) = (Vec::new(), 0_u32, None);
        while let Ok(Some(event)) = walker.next(&mut input) {
            match event {
                Event::Element(element) if element.top && element.tag == REQUEST_ATTRIBUTES => {
                    if element.length.is_some() && walker.descend().is_err() {
                        break;
                    }
                    depth = 1;
                }
                Event::Element(element) if element.length.is_none() => depth += 1,
                Event::Element(element) => field = Some((element.tag, Vec::new())).filter(|_| depth == 1),
                Event::Item(_) if depth == 1 => found.push(Request::default()),
                Event::Value(slice) => field.iter_mut().for_each(|(_, value)| value.extend_from_slice(slice)),
                Event::ValueEnd => {
                    if let (Some((tag, value)), Some(request)) = (field.take(), found.last_mut()) {
                        let place = match tag {
                            SCHEDULED_STEP_ID => &mut request.step,
                            REQUESTED_PROCEDURE_ID => &mut request.procedure,
                            _ => continue,
                        };
                        *place = read(charset, &value).unwrap_or_default();
                    }
                }
                Event::SequenceEnd { .. } => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        found.retain(|request| *request != Request::default());
        found.truncate(MOST);
        found
    }
}

/// One plain value.
fn read(charset: &Charset, bytes: &[u8]) -> Option<String> {
    let text = charset.decode(bytes);
    let text = text.trim_matches([' ', '\0']);
    let plain = text.chars().count() <= LONGEST && !text.contains(|c: char| c.is_control() || c == '\\');
    plain.then(|| text.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicom::attributes::BITS_ALLOCATED;
    use crate::dicom::head::Attributes;
    use crate::dicom::sample::{DELIMITED, EXPLICIT, Form, IMPLICIT, Node, encode, instance, sequence, value};
    use crate::dicom::scanner::{Limits, Scanner};
    use crate::dicom::uid::TransferSyntaxUid;
    use crate::dicom::vr::Vr;

    fn scan(nodes: &[Node], form: Form, piece: usize) -> Attributes {
        let mut all = instance();
        let at = all.len() - 1;
        all.splice(at..at, nodes.iter().cloned());
        let syntax = if form.explicit { "1.2.840.10008.1.2.1" } else { "1.2.840.10008.1.2" };
        let mut scanner = Scanner::new(&TransferSyntaxUid::parse(syntax).unwrap(), Limits::default());
        encode(&all, form).chunks(piece).for_each(|bytes| scanner.push(bytes).unwrap());
        scanner.finish().unwrap().attributes
    }

    /// WEB-096: the same is found however the sequence is written and the bytes come; what stands deeper, or is no plain value, is not.
    #[test]
    fn requests_are_found_with_their_numbers() {
        let text = |tag: u32, text: &[u8]| value(tag, Vr::SH, text);
        for form in [EXPLICIT, IMPLICIT, DELIMITED] {
            for defined in [true, false] {
                let deeper = sequence(0x0040_0008, Vr::SQ, defined, vec![vec![text(0x0040_0009, b"DEEP")]]);
                let items = vec![
                    vec![deeper, text(0x0040_0009, b"S1"), text(0x0040_1001, b"R1")],
                    vec![text(0x0008_0050, b"A1")],
                    vec![text(0x0040_1001, b"R\\2 ")],
                    vec![text(0x0040_1001, b"R3")],
                ];
                let request = sequence(REQUEST_ATTRIBUTES.0, Vr::SQ, defined, items);
                for piece in [1, 7, 10_000] {
                    let attributes = scan(std::slice::from_ref(&request), form, piece);
                    let found: Vec<(&str, &str)> =
                        attributes.requests.iter().map(|one| (one.step.as_str(), one.procedure.as_str())).collect();
                    assert_eq!(found, [("S1", "R1"), ("", "R3")], "{defined} {piece}");
                    assert_eq!(attributes.text(BITS_ALLOCATED).as_deref(), Some("16"));
                }
            }
        }
    }

    #[test]
    fn it_is_bounded_and_never_refuses() {
        let many = vec![vec![value(0x0040_1001, Vr::SH, b"R1")]; 40];
        assert_eq!(scan(&[sequence(REQUEST_ATTRIBUTES.0, Vr::SQ, true, many)], EXPLICIT, 4096).requests.len(), MOST);
        let long = vec![vec![value(0x0040_1001, Vr::SH, b"R1"), value(0x0040_0007, Vr::LO, &[b'x'; 20_000])]];
        for defined in [true, false] {
            let long = sequence(REQUEST_ATTRIBUTES.0, Vr::SQ, defined, long.clone());
            assert_eq!(scan(&[long], EXPLICIT, 4096).requests, []);
        }
        let odd = value(REQUEST_ATTRIBUTES.0, Vr::LO, b"no sequence at all");
        assert_eq!(scan(&[odd], EXPLICIT, 4096).requests, []);
    }
}
