//! multipart/related bodies (PS3.18 section 8.6.1.2, RFC 2046, RFC 2387): a parser that does no I/O, and a writer.

mod headers;
mod parser;
mod writer;

pub use headers::{DATA_SET_DIGEST, PartHeaders, digest_field, sha256};
pub use parser::{Event, Limits, Parser};
pub use writer::{PartHead, Writer};

use crate::dicomweb::media_type::{MULTIPART_RELATED, MediaType, MediaTypeError};

/// Why a body cannot be read as multipart/related.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// The content type is another one, or no media type at all.
    #[error("the content type is not multipart/related")]
    NotRelated,
    /// A parameter of the content type is malformed.
    #[error("the content type is malformed")]
    BadContentType,
    /// The content type has no boundary.
    #[error("the content type names no boundary")]
    NoBoundary,
    /// The boundary is empty, too long, or holds characters that cannot stand in one.
    #[error("the boundary is empty, longer than 200 characters, or holds characters that cannot stand in one")]
    BadBoundary,
    /// No boundary came within the bound.
    #[error("the body does not begin with its boundary")]
    NoStart,
    /// The headers of a part are longer than the bound.
    #[error("the headers of a part are too long")]
    HeadersTooLong,
    /// More parts than the bound.
    #[error("the body has too many parts")]
    TooManyParts,
    /// The body ended without the closing boundary (FLT-086).
    #[error("the body ended before its closing boundary")]
    Truncated,
}

/// What the Content-Type of a multipart/related body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The boundary, without the leading dashes.
    pub boundary: String,
    /// The `type` parameter: the media type of the root part, in lower case.
    pub part_type: Option<String>,
}

/// Reads the Content-Type of a multipart/related body.
///
/// Errors: [`MultipartError::NotRelated`] (the answer is 415), or what is wrong with the parameters (400).
pub fn boundary_of(content_type: &str) -> Result<Related, MultipartError> {
    let media = MediaType::parse(content_type).map_err(|error| match error {
        MediaTypeError::NoType => MultipartError::NotRelated,
        MediaTypeError::Parameter => MultipartError::BadContentType,
    })?;
    if media.essence() != MULTIPART_RELATED {
        return Err(MultipartError::NotRelated);
    }
    let boundary = media.parameter("boundary").ok_or(MultipartError::NoBoundary)?;
    check_boundary(boundary)?;
    Ok(Related { boundary: boundary.to_owned(), part_type: media.parameter("type").map(str::to_ascii_lowercase) })
}

/// RFC 2046 allows 70 of few characters; some peers take more, so any printable character up to 200 is accepted.
fn check_boundary(boundary: &str) -> Result<(), MultipartError> {
    let fits = (1..=200).contains(&boundary.len());
    let printable = boundary.bytes().all(|b| (b' '..=b'~').contains(&b)) && !boundary.ends_with(' ');
    if fits && printable { Ok(()) } else { Err(MultipartError::BadBoundary) }
}

#[cfg(test)]
mod tests;
