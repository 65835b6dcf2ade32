//! What a WADO-RS request asks for: representations by Accept, a range by Range, and whether it has it already (PS3.18 sections
//! 8.6.1, 8.7 and 10.4; RFC 9110 sections 13 and 14).

mod octets;

pub use octets::{Octets, codestream, compressed, octets, own_name};

use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
use crate::dicomweb::media_type::{self, DICOM, MULTIPART_RELATED, MediaType};

/// How instances are put into the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapper {
    /// multipart/related, a part for each instance; the default.
    Multipart,
    /// The one instance is the body.
    Single,
}

/// In which transfer syntax instances are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Syntax {
    /// As they are stored (`transfer-syntax=*`).
    AsStored,
    /// In this one. Without a parameter it is Explicit VR Little Endian (PS3.18 section 8.7.3).
    Only(String),
}

impl Syntax {
    /// Whether this asks for Explicit VR Little Endian.
    pub fn is_default(&self) -> bool {
        matches!(self, Self::Only(uid) if uid == EXPLICIT_VR_LE)
    }
}

/// One representation that would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The wrapper.
    pub wrapper: Wrapper,
    /// The transfer syntax.
    pub syntax: Syntax,
}

/// Why Accept cannot be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// DICOM and rendered media types side by side, which PS3.18 section 8.7.4 forbids; the answer is 400.
    #[error("Accept names DICOM and rendered media types side by side, which PS3.18 section 8.7.4 forbids")]
    Mixed,
    /// Nothing in it is a DICOM instance; the answer is 406.
    #[error("instances can be had as multipart/related; type=\"application/dicom\", or one as application/dicom")]
    NotInstances,
}

/// The representations of instances that an Accept header asks for, the best first. No header accepts the default.
pub fn accepted(accept: Option<&str>) -> Result<Vec<Wanted>, AcceptError> {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
        return Ok(vec![Wanted { wrapper: Wrapper::Multipart, syntax: Syntax::Only(EXPLICIT_VR_LE.to_owned()) }]);
    };
    let members = media_type::members(accept);
    const RENDERED: [&str; 5] = ["image/", "video/", "text/html", "text/plain", "application/pdf"];
    let rendered = |media: &MediaType| {
        let kind = media.essence();
        !kind.contains("dicom") && RENDERED.iter().any(|rendered| kind.starts_with(rendered))
    };
    let wanted: Vec<Wanted> = members.iter().filter_map(wanted).collect();
    let asks_for_dicom = members.iter().any(|media| media.essence().contains("dicom") || wanted_by_name(media));
    match wanted.is_empty() {
        _ if asks_for_dicom && members.iter().any(rendered) => Err(AcceptError::Mixed),
        true => Err(AcceptError::NotInstances),
        false => Ok(wanted),
    }
}

/// Whether an Accept header takes anything as it is stored.
pub fn takes_as_stored(accept: Option<&str>) -> bool {
    let members = accept.map(media_type::members).unwrap_or_default();
    members.iter().any(|media| media.transfer_syntax() == Some("*"))
}

fn wanted_by_name(media: &MediaType) -> bool {
    media.essence() == MULTIPART_RELATED && media.part_type().is_some_and(|kind| kind.eq_ignore_ascii_case(DICOM))
}

fn wanted(media: &MediaType) -> Option<Wanted> {
    let wrapper = match media.essence() {
        DICOM => Wrapper::Single,
        // dicomweb-client writes `*/*` where any parts will do.
        MULTIPART_RELATED if media.part_type().is_none_or(|kind| media_type::covers(kind, DICOM)) => Wrapper::Multipart,
        "*/*" | "application/*" | "multipart/*" => Wrapper::Multipart,
        _ => return None,
    };
    let syntax = match media.transfer_syntax() {
        Some("*") => Syntax::AsStored,
        Some(uid) => Syntax::Only(uid.to_owned()),
        None => Syntax::Only(EXPLICIT_VR_LE.to_owned()),
    };
    Some(Wanted { wrapper, syntax })
}

/// What a Range header asks of a representation of `length` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// All of it: there is no such header, or one that is not understood, or several ranges, which we need not serve.
    Whole,
    /// From the first to before the second byte.
    Part(u64, u64),
    /// Nothing of it exists; the answer is 416.
    Beyond,
}

/// Reads a Range header (RFC 9110 section 14.1.2).
pub fn range(header: Option<&str>, length: u64) -> Range {
    let read = || {
        // The name of a unit is case-insensitive (RFC 9110 section 14.1).
        let (unit, spec) = header?.split_once('=')?;
        let spec = Some(spec.trim()).filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
        let (first, last) = spec.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !digits(first) || !digits(last) {
            return None;
        }
        // A number too large for us lies beyond every representation.
        let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
        match (first, last) {
            ("", "") => None,
            ("", suffix) => match number(suffix) {
                0 => Some(Range::Beyond),
                suffix => Some(Range::Part(length.saturating_sub(suffix), length)),
            },
            (first, "") => Some(Range::Part(number(first), length)),
            (first, last) if number(first) > number(last) => None,
            (first, last) => Some(Range::Part(number(first), number(last).saturating_add(1).min(length))),
        }
    };
    match read() {
        Some(Range::Part(first, _)) if first >= length => Range::Beyond,
        Some(range) => range,
        None => Range::Whole,
    }
}

/// Whether the list of entity tags in If-None-Match names `tag`, by the weak comparison (RFC 9110 section 13.1.2): a proxy that compresses
/// has made a strong tag of ours weak.
pub fn names(list: Option<&str>, tag: &str) -> bool {
    let strong = |given: &str| given.strip_prefix("W/").unwrap_or(given) == tag;
    list.is_some_and(|list| list.split(',').map(str::trim).any(|given| given == "*" || strong(given)))
}

/// Whether the list of entity tags in If-Match takes `tag`, by the strong comparison (RFC 9110 section 13.1.1): one that is weak takes none.
pub fn takes(list: &str, tag: &str) -> bool {
    list.split(',').map(str::trim).any(|given| given == "*" || given == tag)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn accept_says_wrapper_and_syntax() {
        let default = || Syntax::Only(EXPLICIT_VR_LE.to_owned());
        let jpeg = || Syntax::Only("1.2.840.10008.1.2.4.50".to_owned());
        use Wrapper::{Multipart, Single};
        let rows = [
            (None, Ok(vec![(Multipart, default())])),
            (Some(""), Ok(vec![(Multipart, default())])),
            (Some("*/*"), Ok(vec![(Multipart, default())])),
            (Some("multipart/related; type=\"application/dicom\""), Ok(vec![(Multipart, default())])),
            (
                Some("multipart/related; type=application/dicom; transfer-syntax=*"),
                Ok(vec![(Multipart, Syntax::AsStored)]),
            ),
            (
                Some("multipart/related; type=\"application/dicom\"; transfer-syntax=\"*\""),
                Ok(vec![(Multipart, Syntax::AsStored)]),
            ),
            (Some("application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50"), Ok(vec![(Single, jpeg())])),
            (
                Some("application/dicom;q=0.5, application/dicom;transfer-syntax=*, image/dicom+jpeg;q=0.1"),
                Ok(vec![(Single, Syntax::AsStored), (Single, default())]),
            ),
            (Some("multipart/related; type=\"*/*\""), Ok(vec![(Multipart, default())])),
            (
                Some("multipart/related; type=\"application/*\"; transfer-syntax=*"),
                Ok(vec![(Multipart, Syntax::AsStored)]),
            ),
            (
                Some("multipart/related; type='application/dicom'; transfer-syntax=*"),
                Ok(vec![(Multipart, Syntax::AsStored)]),
            ),
            (
                Some("multipart/related; type=\"application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50\""),
                Ok(vec![(Multipart, jpeg())]),
            ),
            (Some("multipart/related; type='application/dicom', image/jpeg"), Err(AcceptError::Mixed)),
            (Some("multipart/related; type=\"image/*\""), Err(AcceptError::NotInstances)),
            (Some("application/dicom;q=0"), Err(AcceptError::NotInstances)),
            (Some("application/dicom+json"), Err(AcceptError::NotInstances)),
            (Some("image/jpeg"), Err(AcceptError::NotInstances)),
            (Some("multipart/related; type=\"application/octet-stream\""), Err(AcceptError::NotInstances)),
            (Some("application/dicom, image/jpeg"), Err(AcceptError::Mixed)),
            (Some("multipart/related; type=\"application/dicom\", video/mp4"), Err(AcceptError::Mixed)),
        ];
        for (accept, want) in rows {
            let got =
                accepted(accept).map(|all| all.into_iter().map(|one| (one.wrapper, one.syntax)).collect::<Vec<_>>());
            assert_eq!(got, want, "{accept:?}");
        }
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let rows = [
            (None, Range::Whole),
            (Some("bytes=0-99"), Range::Part(0, 100)),
            (Some("bytes=60-"), Range::Part(60, 100)),
            (Some("bytes=60-70"), Range::Part(60, 71)),
            (Some("bytes=60-1000"), Range::Part(60, 100)),
            (Some("bytes=-10"), Range::Part(90, 100)),
            (Some("bytes=-1000"), Range::Part(0, 100)),
            (Some("bytes=-0"), Range::Beyond),
            (Some("bytes=100-"), Range::Beyond),
            (Some("bytes=99999999999999999999-"), Range::Beyond),
            (Some("bytes=70-60"), Range::Whole),
            (Some("bytes=0-1,5-6"), Range::Whole),
            (Some("bytes=-"), Range::Whole),
            (Some("bytes=a-b"), Range::Whole),
            (Some("Bytes= 60-70"), Range::Part(60, 71)),
            (Some("pages=1-2"), Range::Whole),
        ];
        for (header, want) in rows {
            assert_eq!(range(header, 100), want, "{header:?}");
        }
    }

    #[test]
    fn entity_tags_are_compared_as_rfc_9110_says() {
        assert!(names(Some("\"a\", \"b\""), "\"b\"") && names(Some("*"), "\"b\""));
        assert!(names(Some("W/\"b\""), "\"b\"") && names(Some("\"x\", W/\"b\""), "\"b\""));
        assert!(!names(None, "\"b\"") && !names(Some("b"), "\"b\"") && !names(Some("w/\"b\""), "\"b\""));
        assert!(takes("*", "\"b\"") && takes("\"a\" , \"b\"", "\"b\"") && takes("W/\"b\", \"b\"", "\"b\""));
        assert!(!takes("W/\"b\"", "\"b\"") && !takes("\"a\"", "\"b\"") && !takes("b", "\"b\"") && !takes("", "\"b\""));
    }

    #[test]
    fn what_is_taken_as_stored_is_seen_in_any_member() {
        let rows = [
            (None, false),
            (Some("*/*"), false),
            (Some("multipart/related; type=\"application/dicom\"; transfer-syntax=*"), true),
            (Some("application/dicom, application/octet-stream; transfer-syntax=\"*\"; q=0.1"), true),
            (Some("multipart/related; type=\"application/dicom;transfer-syntax=*\""), true),
            (Some("application/dicom; transfer-syntax=*; q=0"), false),
            (Some("application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50"), false),
        ];
        for (accept, want) in rows {
            assert_eq!(takes_as_stored(accept), want, "{accept:?}");
        }
    }
}
