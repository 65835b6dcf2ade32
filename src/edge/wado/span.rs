//! Which part of a representation is given: all of it, what Range asks for, or nothing that is had already (RFC 9110 sections 13
//! and 14; WEB-103).

use super::listed;
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
    /// error is the answer 304, 412 or 416; what is asked for first counts most (RFC 9110 section 13.2.2).
    pub(super) fn of(headers: &HeaderMap, tag: &str, total: u64, ranges: bool) -> Result<Self, Box<Response>> {
        let given = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let tags = |name: HeaderName| listed(headers, &name);
        if headers.contains_key(header::IF_MATCH) && !tags(header::IF_MATCH).is_some_and(|list| wado::takes(&list, tag))
        {
            let mut refused = problem(StatusCode::PRECONDITION_FAILED, "what is held is not what If-Match names");
            put(&mut refused, header::ETAG, tag);
            return Err(Box::new(refused));
        }
        if wado::names(tags(header::IF_NONE_MATCH).as_deref(), tag) {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// RFC 9110 section 13: If-Match before If-None-Match before Range, with If-Range.
    #[test]
    fn conditions_are_looked_at_in_their_order() {
        let rows: [(&[(&str, &str)], u16); 14] = [
            (&[], 200),
            (&[("if-match", "*")], 200),
            (&[("if-match", "\"a\"")], 200),
            (&[("if-match", "\"b\", \"a\"")], 200),
            // Lines of a list are one list.
            (&[("if-match", "\"b\""), ("if-match", "\"a\"")], 200),
            (&[("if-match", "\"b\"")], 412),
            (&[("if-match", "W/\"a\"")], 412),
            (&[("if-match", "\"b\""), ("range", "bytes=0-1")], 412),
            (&[("if-match", "\"a\""), ("range", "bytes=0-1")], 206),
            (&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], 412),
            (&[("if-match", "\"a\""), ("if-none-match", "\"a\"")], 304),
            (&[("if-none-match", "\"b\""), ("if-none-match", "W/\"a\"")], 304),
            (&[("if-range", "\"b\""), ("range", "bytes=0-1")], 200),
            (&[("range", "bytes=9-")], 416),
        ];
        for (fields, want) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            let got = match Span::of(&headers, "\"a\"", 9, true) {
                Ok(span) => span.status,
                Err(refused) => refused.status(),
            };
            assert_eq!(got.as_u16(), want, "{fields:?}");
        }
    }
}
