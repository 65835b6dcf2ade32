//! The headers of one part.

use crate::dicomweb::media_type::MediaType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The headers of one part that matter to DICOMweb.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartHeaders {
    /// Content-Type, if present and well-formed.
    pub content_type: Option<MediaType>,
    /// Content-Length, if present and a number. Many peers leave it out; the boundary alone ends a part.
    pub content_length: Option<u64>,
    /// Content-Location as given; not checked.
    pub content_location: Option<String>,
    /// A Content-Encoding or Content-Transfer-Encoding other than none: the data are not the representation's bytes.
    pub encoding: Option<String>,
    /// The SHA-256 of the part's bytes, if Repr-Digest or Content-Digest gives it (RFC 9530).
    pub digest: Option<[u8; 32]>,
    /// The SHA-256 of the data set in the part, if [`DATA_SET_DIGEST`] gives it.
    pub data_set_digest: Option<[u8; 32]>,
}

/// A header of a part by which one gateway tells another the SHA-256 of the data set, without the file meta information, which
/// is written anew on every way out; its value is as that of Repr-Digest (RFC 9530 section 3).
pub const DATA_SET_DIGEST: &str = "Weybridge-Data-Set-Digest";

/// The SHA-256 in the value of such a header; `None` if there is none, or none that can be read.
pub fn sha256(value: &str) -> Option<[u8; 32]> {
    let member = value.split(',').find_map(|member| member.trim().strip_prefix("sha-256=:"))?;
    BASE64.decode(member.split(':').next()?).ok()?.try_into().ok()
}

/// The value of such a header.
pub fn digest_field(sha256: &[u8; 32]) -> String {
    format!("sha-256=:{}:", BASE64.encode(sha256))
}

impl PartHeaders {
    /// The `transfer-syntax` parameter of the content type (PS3.18 section 8.7.3.5.2).
    pub fn transfer_syntax(&self) -> Option<&str> {
        self.content_type.as_ref()?.parameter("transfer-syntax")
    }
}

/// Parses a header block that ends with its blank line; what is not well-formed in a single line or value counts as absent, so that
/// it concerns this part alone.
pub(super) fn parse_headers(block: &[u8]) -> PartHeaders {
    let block = unfolded(block);
    let mut part = PartHeaders::default();
    for line in block.split_inclusive(|byte| *byte == b'\n') {
        let line = [line, b"\r\n"].concat();
        let mut storage = [httparse::EMPTY_HEADER; 1];
        let parsed = httparse::parse_headers(&line, &mut storage);
        let Ok(httparse::Status::Complete((_, [header]))) = parsed else { continue };
        let Ok(value) = std::str::from_utf8(header.value).map(str::trim) else { continue };
        match header.name.to_ascii_lowercase().as_str() {
            "content-type" => part.content_type = MediaType::parse(value).ok(),
            "content-length" => part.content_length = value.parse().ok(),
            "repr-digest" | "content-digest" => part.digest = sha256(value).or(part.digest),
            name if name.eq_ignore_ascii_case(DATA_SET_DIGEST) => part.data_set_digest = sha256(value),
            "content-location" => part.content_location = Some(value.to_owned()),
            "content-encoding" | "content-transfer-encoding" => {
                let plain = ["identity", "binary", "8bit", "7bit"].iter().any(|none| value.eq_ignore_ascii_case(none));
                part.encoding = (!plain).then(|| value.to_owned()).or(part.encoding);
            }
            _ => {}
        }
    }
    part
}

/// Joins header lines that go on in the next one, which begins with a blank (RFC 5322 section 2.2.3).
fn unfolded(block: &[u8]) -> Vec<u8> {
    let mut lines = block.to_vec();
    for at in 0..lines.len().saturating_sub(1) {
        if lines[at] == b'\n' && at > 1 && matches!(lines[at + 1], b' ' | b'\t') {
            lines[at] = b' ';
            if lines[at - 1] == b'\r' {
                lines[at - 1] = b' ';
            }
        }
    }
    lines
}
