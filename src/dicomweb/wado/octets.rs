//! In which forms bulk data and frames are wanted, by Accept: bytes, or the codestreams as they are (PS3.18 sections 8.7.3.3 and
//! 8.7.3.5).

use super::{Syntax, Wrapper};
use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
use crate::dicomweb::media_type::{self, MULTIPART_RELATED, MediaType, OCTET_STREAM};

/// One form that would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Octets {
    /// The wrapper.
    pub wrapper: Wrapper,
    /// The media type of the value, or of each part.
    pub media: String,
    /// The transfer syntax. A type of codestreams without a parameter takes them as they are.
    pub syntax: Syntax,
}

/// The media type of codestreams in a transfer syntax (PS3.18 tables 8.7.3-4 and 8.7.3-5); none if it has none but bytes.
pub fn codestream(syntax: &str) -> Option<&'static str> {
    Some(match syntax {
        "1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51" | "1.2.840.10008.1.2.4.57" | "1.2.840.10008.1.2.4.70" => {
            "image/jpeg"
        }
        "1.2.840.10008.1.2.4.80" | "1.2.840.10008.1.2.4.81" => "image/jls",
        "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => "image/jp2",
        "1.2.840.10008.1.2.4.92" | "1.2.840.10008.1.2.4.93" => "image/jpx",
        "1.2.840.10008.1.2.4.201" | "1.2.840.10008.1.2.4.202" | "1.2.840.10008.1.2.4.203" => "image/jphc",
        "1.2.840.10008.1.2.5" => "image/dicom-rle",
        _ => return None,
    })
}

/// The forms that an Accept header asks for, the best first; empty if it asks for none. No header asks for the default: bytes of
/// Explicit VR Little Endian in parts.
pub fn octets(accept: Option<&str>) -> Vec<Octets> {
    let default = Octets {
        wrapper: Wrapper::Multipart,
        media: OCTET_STREAM.to_owned(),
        syntax: Syntax::Only(EXPLICIT_VR_LE.to_owned()),
    };
    match accept.filter(|accept| !accept.trim().is_empty()) {
        None => vec![default],
        Some(accept) => media_type::members(accept).iter().filter_map(|media| wanted(media, &default)).collect(),
    }
}

fn wanted(given: &MediaType, default: &Octets) -> Option<Octets> {
    let typed = given.parameter("type").map(str::to_ascii_lowercase);
    let (wrapper, media) = match (given.essence(), typed) {
        ("*/*" | "application/*" | "multipart/*", _) | (MULTIPART_RELATED, None) => {
            (Wrapper::Multipart, OCTET_STREAM.to_owned())
        }
        // So dicomweb-client says that it takes any parts.
        (MULTIPART_RELATED, Some(any)) if any == "*/*" || any == "application/*" => {
            (Wrapper::Multipart, OCTET_STREAM.to_owned())
        }
        (MULTIPART_RELATED, Some(typed)) => (Wrapper::Multipart, typed),
        (single, _) => (Wrapper::Single, single.to_owned()),
    };
    let bytes = media == OCTET_STREAM;
    let codestreams = ["image/jpeg", "image/jls", "image/jp2", "image/jpx", "image/jphc", "image/dicom-rle"];
    if !bytes && !codestreams.contains(&media.as_str()) {
        return None;
    }
    let syntax = match given.parameter("transfer-syntax") {
        Some("*") => Syntax::AsStored,
        Some(uid) => Syntax::Only(uid.to_owned()),
        None if bytes => default.syntax.clone(),
        None => Syntax::AsStored,
    };
    Some(Octets { wrapper, media, syntax })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_says_wrapper_type_and_syntax() {
        let native = || Syntax::Only(EXPLICIT_VR_LE.to_owned());
        use Wrapper::{Multipart, Single};
        let rows = [
            (None, Some((Multipart, OCTET_STREAM, native()))),
            (Some("*/*"), Some((Multipart, OCTET_STREAM, native()))),
            (Some("multipart/related; type=\"*/*\""), Some((Multipart, OCTET_STREAM, native()))),
            (Some("application/octet-stream"), Some((Single, OCTET_STREAM, native()))),
            (
                Some("multipart/related; type=application/octet-stream; transfer-syntax=*"),
                Some((Multipart, OCTET_STREAM, Syntax::AsStored)),
            ),
            (Some("multipart/related; type=\"image/jls\""), Some((Multipart, "image/jls", Syntax::AsStored))),
            (
                Some("image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90"),
                Some((Single, "image/jp2", Syntax::Only("1.2.840.10008.1.2.4.90".into()))),
            ),
            (Some("image/png"), None),
            (Some("multipart/related; type=\"application/dicom\""), None),
            (Some("application/octet-stream;q=0"), None),
        ];
        for (accept, want) in rows {
            let first = octets(accept).into_iter().next();
            let got = first.as_ref().map(|o| (o.wrapper, o.media.as_str(), o.syntax.clone()));
            assert_eq!(got, want, "{accept:?}");
        }
    }
}
