//! What comes by HTTP: multipart bodies, DICOM JSON, the Native DICOM Model, and single headers.

use super::cutting::same_for_any_cutting;
use bytes::Bytes;
use std::time::{Duration, SystemTime};
use weybridge::dicom::tag::Tag;
use weybridge::dicomweb::dataset::{Dataset, Element, Value};
use weybridge::dicomweb::json::{self, Limits};
use weybridge::dicomweb::media_type::{MediaType, preferred};
use weybridge::dicomweb::multipart::{self, Event, MultipartError, Parser};
use weybridge::dicomweb::stow::StoreResponse;
use weybridge::dicomweb::{qido, retry_after, xml};

const MULTIPART: multipart::Limits = multipart::Limits { header_bytes: 512, preamble_bytes: 1024, parts: 20 };
const MODEL: Limits = Limits { depth: 8, values: 2000 };

/// The parts as (content type, bytes, closed), and how it ended.
type Parts = (Vec<(Option<String>, Vec<u8>, bool)>, Result<(), MultipartError>);

/// Input: a boundary up to the first line end, then the body.
pub fn multipart(input: &[u8]) {
    let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return };
    let (Ok(boundary), body) = (std::str::from_utf8(&input[..end]), &input[end + 1..]) else { return };
    if Parser::new(boundary, MULTIPART).is_err() {
        return;
    }
    let read = |pieces: &[&[u8]]| parts(boundary, pieces);
    let (found, end) = same_for_any_cutting(body, read, |told| format!("{} parts, {:?}", told.0.len(), told.1));
    assert!(found.len() <= MULTIPART.parts as usize, "too many parts");
    let bytes: usize = found.iter().map(|(_, bytes, _)| bytes.len()).sum();
    assert!(bytes <= body.len(), "more bytes than came");
    if end.is_ok() {
        assert!(found.iter().all(|(_, _, closed)| *closed), "a whole body with an open part");
        let delimiter = [b"\r\n--", boundary.as_bytes(), b"\r\n"].concat();
        let hidden = |part: &[u8]| part.windows(delimiter.len()).any(|window| window == delimiter);
        let crlf = body.starts_with(&delimiter[2..]);
        assert!(!crlf || !found.iter().any(|(_, part, _)| hidden(part)), "a delimiter inside a part");
    }
}

fn parts(boundary: &str, pieces: &[&[u8]]) -> Parts {
    let mut parser = Parser::new(boundary, MULTIPART).expect("a good boundary");
    let mut parts: Vec<(Option<String>, Vec<u8>, bool)> = Vec::new();
    for piece in pieces {
        parser.push(Bytes::copy_from_slice(piece));
        loop {
            match parser.next() {
                Ok(Event::NeedMore | Event::End) => break,
                Ok(Event::PartStart(headers)) => {
                    assert!(parts.last().is_none_or(|(_, _, closed)| *closed), "a part inside a part");
                    parts.push((headers.content_type.map(|media| media.essence().to_owned()), Vec::new(), false));
                }
                Ok(Event::Data(bytes)) => {
                    let (_, part, closed) = parts.last_mut().expect("data outside a part");
                    assert!(!bytes.is_empty() && !*closed, "data outside a part");
                    part.extend_from_slice(&bytes);
                }
                Ok(Event::PartEnd) => parts.last_mut().expect("an end without a start").2 = true,
                Err(error) => {
                    assert_eq!(parser.next(), Err(error), "an error stays");
                    return (parts, Err(error));
                }
            }
        }
    }
    (parts, parser.finish())
}

/// Input: DICOM JSON. What was read is written and read again, and read as the answer to a store request.
pub fn json(input: &[u8]) {
    if let Ok(response) = StoreResponse::from_json(input) {
        assert_eq!(StoreResponse::from_json(&response.to_json()).as_ref(), Ok(&response));
    }
    let sets = match json::read(input, MODEL) {
        Ok(sets) => sets,
        Err(error) => return assert!(error.to_string().starts_with("not DICOM JSON: "), "{error}"),
    };
    let shapes: Vec<String> = sets.iter().map(shape).collect();
    assert!(read_back(&json::write_list(&sets)) == shapes, "something is lost");
}

/// What we write, we read, and then write the same for ever. (The first time a number may lose its trailing zeros.)
fn read_back(written: &[u8]) -> Vec<String> {
    let once = json::read(written, Limits::default()).expect("what we write, we read");
    let again = json::write_list(&once);
    let twice = json::read(&again, Limits::default()).expect("what we write, we read");
    assert!(json::write_list(&twice) == again, "writing is not stable");
    once.iter().map(shape).collect()
}

/// The attributes of a data set that are written (no group lengths, commands or file meta information), each with the
/// kind and number of its values.
fn shape(set: &Dataset) -> String {
    let written = set.iter().filter(|(tag, _)| tag.element() != 0 && tag.group() > 2);
    let one = |(tag, element): (Tag, &Element)| {
        let value = match &element.value {
            Value::Empty => String::new(),
            Value::Text(values) => format!("text {}", values.len()),
            Value::Names(values) => format!("names {}", values.len()),
            Value::Numbers(values) => format!("numbers {}", values.len()),
            Value::Items(items) => items.iter().map(shape).collect(),
            Value::Inline(bytes) => format!("bytes {}", bytes.len()),
            Value::BulkData(uri) => format!("at {uri}"),
        };
        format!("{tag} {} {value};", element.vr)
    };
    format!("[{}]", written.map(one).collect::<String>())
}

/// Input: a data set in XML. What was read is written as JSON and read again.
pub fn xml(input: &[u8]) {
    let _ = StoreResponse::from_xml(input);
    let Ok(set) = xml::read(input, MODEL) else { return };
    assert!(read_back(&json::write_one(&set)) == [shape(&set)], "something is lost");
}

/// Input: the first byte chooses what the rest is: a query, a media type, a list of them, a time to wait.
pub fn headers(input: &[u8]) {
    let Some((&choice, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match choice % 4 {
        0 => {
            let limits = qido::Limits { bytes: 2048, parameters: 16, values: 32 };
            if let Ok(query) = qido::parse(text, limits) {
                assert!(text.len() <= limits.bytes && query.matches.len() <= limits.parameters);
                let values: usize = query.matches.iter().map(|one| one.values.len()).sum();
                assert!(values <= limits.values, "{values} values");
            }
        }
        1 => {
            if let Ok(media) = MediaType::parse(text) {
                assert_eq!(media.essence(), media.essence().to_ascii_lowercase(), "types know no case");
                assert!(!(media.is_json() && media.is_xml()));
            }
            if let Ok(related) = multipart::boundary_of(text) {
                assert!(Parser::new(&related.boundary, MULTIPART).is_ok(), "a boundary that was taken can be used");
            }
        }
        2 => {
            let offered = ["application/dicom+json", "application/dicom+xml"];
            let chosen = preferred(Some(text), &offered);
            assert!(chosen.is_none_or(|chosen| offered.contains(&chosen)));
        }
        _ => {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let wait = retry_after::parse(text, now);
            let fits = |wait: Duration| (retry_after::SHORTEST..=retry_after::LONGEST).contains(&wait);
            assert!(wait.is_none_or(fits), "{wait:?}");
        }
    }
}
