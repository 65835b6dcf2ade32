//! The writer: delimiters and part headers of known length, so that a body's exact length is known before it is sent.

use super::headers::{DATA_SET_DIGEST, digest_field};
use bytes::Bytes;
use std::fmt::Display;

/// One part as it is announced.
#[derive(Debug, Clone, Copy)]
pub struct PartHead<'a> {
    /// Transfer syntax UID to be given as parameter of the part's content type (WEB-074).
    ///
    /// A Part 10 file names its syntax itself, and there are servers that answer 200 and store nothing when they
    /// meet the parameter (Orthanc 1.10 with DICOMweb 1.7), so it is left out for peers not known to take it.
    pub transfer_syntax: Option<&'a str>,
    /// Bytes of the part.
    pub length: u64,
}

/// Frames parts with a boundary of 128 random bits (WEB-006).
#[derive(Debug, Clone)]
pub struct Writer {
    boundary: String,
    part_type: &'static str,
}

impl Writer {
    /// A writer for parts of one media type. Errors: the system gave no randomness.
    pub fn new(part_type: &'static str) -> Result<Self, std::io::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self { boundary: format!("{:032x}", u128::from_be_bytes(random)), part_type })
    }

    /// The Content-Type of the whole body.
    pub fn content_type(&self) -> String {
        format!("multipart/related; type=\"{}\"; boundary={}", self.part_type, self.boundary)
    }

    /// What stands before a part's bytes: the delimiter, the headers, the blank line.
    pub fn head(&self, part: PartHead<'_>, first: bool) -> Bytes {
        let line_end = if first { "" } else { "\r\n" };
        let Self { boundary, part_type } = self;
        let parameter = part.transfer_syntax.map(|uid| format!("; transfer-syntax={uid}")).unwrap_or_default();
        Bytes::from(format!(
            "{line_end}--{boundary}\r\nContent-Type: {part_type}{parameter}\r\nContent-Length: {}\r\n\r\n",
            part.length
        ))
    }

    /// The same for a part that is a resource of its own, with where it is found; its length may be unknown (WEB-005).
    pub fn resource_head(&self, transfer_syntax: &str, length: Option<u64>, location: &str, first: bool) -> Bytes {
        self.located(&format!("{}; transfer-syntax={transfer_syntax}", self.part_type), length, location, first)
    }

    /// The same for a file whose data set leaves as it is stored, with the data set's SHA-256, so that who takes it can check it.
    pub fn file_head(
        &self,
        transfer_syntax: &str,
        length: u64,
        sha256: &[u8; 32],
        location: &str,
        first: bool,
    ) -> Bytes {
        let length = format!("{length}\r\n{DATA_SET_DIGEST}: {}", digest_field(sha256));
        self.located(&format!("{}; transfer-syntax={transfer_syntax}", self.part_type), Some(length), location, first)
    }

    /// The same for a resource that is in no transfer syntax.
    pub fn plain_head(&self, length: Option<u64>, location: &str, first: bool) -> Bytes {
        self.located(self.part_type, length, location, first)
    }

    /// The same for a resource of another media type than the body's.
    pub fn typed_head(&self, kind: &str, length: Option<u64>, location: &str, first: bool) -> Bytes {
        self.located(kind, length, location, first)
    }

    /// The same for a result of a search, which is nowhere else to be had.
    pub fn found_head(&self, length: u64, first: bool) -> Bytes {
        let line_end = if first { "" } else { "\r\n" };
        let head = format!(
            "{line_end}--{}\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\r\n",
            self.boundary, self.part_type
        );
        Bytes::from(head)
    }

    fn located(&self, kind: &str, length: Option<impl Display>, location: &str, first: bool) -> Bytes {
        let line_end = if first { "" } else { "\r\n" };
        let length = length.map(|bytes| format!("Content-Length: {bytes}\r\n")).unwrap_or_default();
        Bytes::from(format!(
            "{line_end}--{}\r\nContent-Type: {kind}\r\n{length}Content-Location: {location}\r\n\r\n",
            self.boundary
        ))
    }

    /// What stands after the last part's bytes: the closing boundary.
    pub fn end(&self) -> Bytes {
        Bytes::from(format!("\r\n--{}--\r\n", self.boundary))
    }

    /// The exact length of a body of these parts; `None` beyond 2^64.
    pub fn length<'a>(&self, parts: impl IntoIterator<Item = PartHead<'a>>) -> Option<u64> {
        let mut total = self.end().len() as u64;
        for (n, part) in parts.into_iter().enumerate() {
            total = total.checked_add(self.head(part, n == 0).len() as u64)?.checked_add(part.length)?;
        }
        Some(total)
    }
}
