//! Multipart bodies as a test writes and reads them: whole, in memory, by the letter of RFC 2046.

use memchr::memmem;

pub const BOUNDARY: &str = "a-boundary-of-the-tests";

/// The Content-Type of a STOW-RS request with [`BOUNDARY`].
pub fn content_type() -> String {
    format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}")
}

/// A STOW-RS body; without `closed` the last delimiter is missing.
pub fn body(parts: &[Vec<u8>], closed: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n").as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    if closed {
        out.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    }
    out
}

/// The boundary that a Content-Type names.
pub fn boundary_of(content_type: &str) -> Option<String> {
    let at = content_type.find("boundary=")?;
    let rest = &content_type[at + "boundary=".len()..];
    Some(rest.split(';').next()?.trim().trim_matches('"').to_owned())
}

/// The parts of a body that are complete, that is, followed by a delimiter.
pub fn complete_parts<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let delimiter = format!("--{boundary}");
    let starts: Vec<usize> = memmem::find_iter(body, delimiter.as_bytes()).collect();
    let between = starts.windows(2).map(|pair| &body[pair[0] + delimiter.len()..pair[1]]);
    between
        .filter_map(|part| {
            let head = memmem::find(part, b"\r\n\r\n")?;
            part[head + 4..].strip_suffix(b"\r\n")
        })
        .collect()
}
