//! Which part of a representation is given: all of it, what Range asks for, or nothing that is had already (RFC 9110 sections 13
//! and 14; WEB-103).

use crate::dicomweb::wado::{self, Range};
use crate::edge::http::problem;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

/// The part that is given.
pub(super) struct Span {
    /// Its first byte.
    pub(super) first: u64,
    /// Its length.
    pub(super) bytes: u64,
    status: StatusCode,
    total: u64,
    tag: String,
    ranges: bool,
}

impl Span {
    /// Of a representation with this strong entity tag and so many bytes, of which parts are given if `ranges` says so. The
    /// error is the answer 304 or 416.
    pub(super) fn of(headers: &HeaderMap, tag: &str, total: u64, ranges: bool) -> Result<Self, Box<Response>> {
        let given = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        if wado::names(given(header::IF_NONE_MATCH), tag) {
            return Err(Box::new(with(StatusCode::NOT_MODIFIED, Body::empty(), &[(header::ETAG, tag)])));
        }
        // If-Range: what was begun is another representation, so it is given whole (RFC 9110 section 13.1.5).
        let same = given(header::IF_RANGE).is_none_or(|given| given == tag);
        let whole = Self { first: 0, bytes: total, status: StatusCode::OK, total, tag: tag.to_owned(), ranges };
        match wado::range(given(header::RANGE).filter(|_| same && ranges), total) {
            Range::Whole => Ok(whole),
            Range::Part(first, last) => {
                Ok(Self { first, bytes: last - first, status: StatusCode::PARTIAL_CONTENT, ..whole })
            }
            Range::Beyond => {
                let span = format!("bytes */{total}");
                let detail = format!("the range begins beyond its {total} bytes");
                let mut refused = problem(StatusCode::RANGE_NOT_SATISFIABLE, &detail);
                put(&mut refused, header::CONTENT_RANGE, &span);
                Err(Box::new(refused))
            }
        }
    }

    /// Whether it is less than all.
    pub(super) fn is_part(&self) -> bool {
        self.bytes < self.total
    }

    /// The answer with these bytes.
    pub(super) fn respond(self, fields: &[(HeaderName, &str)], body: Body) -> Response {
        let mut response = with(self.status, body, fields);
        let length = self.bytes.to_string();
        put(&mut response, header::CONTENT_LENGTH, &length);
        put(&mut response, header::ETAG, &self.tag);
        put(&mut response, header::ACCEPT_RANGES, if self.ranges { "bytes" } else { "none" });
        if self.status == StatusCode::PARTIAL_CONTENT {
            let last = (self.first + self.bytes).saturating_sub(1);
            put(&mut response, header::CONTENT_RANGE, &format!("bytes {}-{last}/{}", self.first, self.total));
        }
        response
    }
}

/// An answer with these headers.
pub(super) fn with(status: StatusCode, body: Body, fields: &[(HeaderName, &str)]) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, text) in fields {
        put(&mut response, name.clone(), text);
    }
    response
}

fn put(response: &mut Response, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(name, value);
    }
}
