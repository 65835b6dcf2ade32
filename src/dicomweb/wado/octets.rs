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
        "1.2.840.10008.1.2.4.110" | "1.2.840.10008.1.2.4.111" | "1.2.840.10008.1.2.4.112" => "image/jxl",
        "1.2.840.10008.1.2.4.201" | "1.2.840.10008.1.2.4.202" | "1.2.840.10008.1.2.4.203" => "image/jphc",
        "1.2.840.10008.1.2.5" => "image/dicom-rle",
        _ => return None,
    })
}

/// The media type of compressed pixels, a video among them (PS3.18 section 8.7.3.5 has the names); none if they have none but bytes.
pub fn compressed(syntax: &str) -> Option<&'static str> {
    let last = syntax.strip_prefix("1.2.840.10008.1.2.4.").and_then(|last| last.split('.').next());
    match last {
        Some("100" | "101") => Some("video/mpeg"),
        Some("102" | "103" | "104" | "105" | "106") => Some("video/mp4"),
        Some("107" | "108") => Some("video/h265"),
        _ => codestream(syntax),
    }
}

/// The types of codestreams, those of whole videos last.
const CODESTREAMS: [&str; 10] = [
    "image/jpeg",
    "image/jls",
    "image/jp2",
    "image/jpx",
    "image/jxl",
    "image/jphc",
    "image/dicom-rle",
    "video/mpeg",
    "video/mp4",
    "video/h265",
];

/// A type that [`octets`] gives, as it is written.
pub fn own_name(media: &str) -> Option<&'static str> {
    std::iter::once(OCTET_STREAM).chain(CODESTREAMS).find(|own| *own == media)
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
        Some(accept) => media_type::members(accept).iter().flat_map(|media| wanted(media, &default)).collect(),
    }
}

/// The forms that one member asks for: a range of images covers whatever codestreams there are.
fn wanted(given: &MediaType, default: &Octets) -> Vec<Octets> {
    let typed = given.part_type().map(str::to_ascii_lowercase);
    let (wrapper, media) = match (given.essence(), typed.as_deref()) {
        // Bytes of Explicit VR Little Endian, or whatever there is. So dicomweb-client says that it takes any parts.
        ("*/*" | "multipart/*", _) | (MULTIPART_RELATED, Some("*/*")) => (Wrapper::Multipart, "*/*"),
        ("application/*", _) | (MULTIPART_RELATED, None | Some("application/*")) => (Wrapper::Multipart, OCTET_STREAM),
        (MULTIPART_RELATED, Some(typed)) => (Wrapper::Multipart, typed),
        (single, _) => (Wrapper::Single, single),
    };
    let media = called_now(media);
    let all = std::iter::once(OCTET_STREAM).chain(CODESTREAMS);
    let form = |media: &str| {
        let syntax = match given.transfer_syntax() {
            Some("*") => Syntax::AsStored,
            Some(uid) => Syntax::Only(uid.to_owned()),
            None if media == OCTET_STREAM => default.syntax.clone(),
            None => Syntax::AsStored,
        };
        Octets { wrapper, media: media.to_owned(), syntax }
    };
    all.filter(|one| media_type::covers(media, one)).map(form).collect()
}

/// The name of today for one of those that earlier editions of the standard had, or that the field uses.
fn called_now(media: &str) -> &str {
    match media {
        "video/mpeg2" => "video/mpeg",
        "image/dicom+jpeg" => "image/jpeg",
        "image/x-jls" | "image/dicom+jpeg-ls" => "image/jls",
        "image/dicom+jp2" | "image/x-jp2" | "image/jpeg2000" => "image/jp2",
        "image/dicom+jpx" | "image/x-jpx" => "image/jpx",
        "image/x-dicom-rle" | "image/dicom+rle" => "image/dicom-rle",
        other => other,
    }
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
            (Some("image/*"), Some((Single, "image/jpeg", Syntax::AsStored))),
            (Some("video/mpeg2"), Some((Single, "video/mpeg", Syntax::AsStored))),
            (Some("image/x-dicom-rle"), Some((Single, "image/dicom-rle", Syntax::AsStored))),
            (Some("multipart/related; type=image/dicom+jpeg-ls"), Some((Multipart, "image/jls", Syntax::AsStored))),
            (Some("multipart/related; type='image/jp2'"), Some((Multipart, "image/jp2", Syntax::AsStored))),
            (
                Some("multipart/related; type=\"application/octet-stream; transfer-syntax=*\""),
                Some((Multipart, OCTET_STREAM, Syntax::AsStored)),
            ),
            (Some("video/H265"), Some((Single, "video/h265", Syntax::AsStored))),
            (Some("image/png"), None),
            (Some("multipart/related; type=\"application/dicom\""), None),
            (Some("application/octet-stream;q=0"), None),
        ];
        assert_eq!(compressed("1.2.840.10008.1.2.4.100"), Some("video/mpeg"));
        for (accept, want) in rows {
            let first = octets(accept).into_iter().next();
            let got = first.as_ref().map(|o| (o.wrapper, o.media.as_str(), o.syntax.clone()));
            assert_eq!(got, want, "{accept:?}");
        }
    }

    /// RFC 9110 section 12.5.1: a range covers every type below it.
    #[test]
    fn a_range_of_images_covers_every_codestream() {
        for (accept, wrapper) in
            [("image/*", Wrapper::Single), ("multipart/related; type=\"image/*\"", Wrapper::Multipart)]
        {
            let forms = octets(Some(accept));
            let media: Vec<&str> = forms.iter().map(|form| form.media.as_str()).collect();
            assert_eq!(media, CODESTREAMS[..7], "{accept}");
            let alike = |form: &Octets| form.wrapper == wrapper && form.syntax == Syntax::AsStored;
            assert!(forms.iter().all(alike), "{accept}: {forms:?}");
        }
    }
}
