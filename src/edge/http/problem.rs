//! Error answers that say what is wrong, on whose side, whether it will pass, and what to do (RFC 9457; WEB-009).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The media type of an error answer.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error answer: `detail` says what is wrong, without patient data; what to do stands in it or follows from the status.
pub(in crate::edge) fn problem(status: StatusCode, detail: &str) -> Response {
    let body = serde_json::json!({
        "title": status.canonical_reason().unwrap_or("error"),
        "status": status.as_u16(),
        "detail": detail,
        "side": if ours(status) { "this site" } else { "the caller" },
        "temporary": temporary(status),
        "advice": advice(status),
    });
    (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body.to_string()).into_response()
}

/// The same, for a request whose connection is of no more use.
pub(in crate::edge) fn last_problem(status: StatusCode, detail: &str) -> Response {
    let mut response = problem(status, detail);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Whether it is this site that fails. A version or a coding of HTTP that is not spoken here is the caller's, or a proxy's before it.
fn ours(status: StatusCode) -> bool {
    let foreign = [StatusCode::HTTP_VERSION_NOT_SUPPORTED, StatusCode::NOT_IMPLEMENTED];
    status.is_server_error() && !foreign.contains(&status)
}

/// Whether the same request may well succeed later (PS3.18 section 8.5).
fn temporary(status: StatusCode) -> bool {
    let passing = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::INSUFFICIENT_STORAGE,
    ];
    passing.contains(&status)
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => "ask the administrator of this site; the same request will be refused again",
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            "see what this service offers: OPTIONS /dicom-web, Accept: application/json"
        }
        StatusCode::GONE => "it will not come back by itself; ask the administrator of this site",
        StatusCode::PAYLOAD_TOO_LARGE => "send or ask for less at a time; the limits stand in OPTIONS /dicom-web",
        StatusCode::CONFLICT => "see the reason of each instance",
        status if temporary(status) => "send the same request again later",
        status if ours(status) => "tell the administrator of this site",
        _ => "change the request; the same one will be refused again",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn every_problem_says_whose_side_and_what_next() {
        let rows = [
            (400, "the caller", false),
            (403, "the caller", false),
            (404, "the caller", false),
            (408, "the caller", true),
            (413, "the caller", false),
            (415, "the caller", false),
            (500, "this site", false),
            (501, "the caller", false),
            (503, "this site", true),
            (505, "the caller", false),
            (507, "this site", true),
        ];
        for (status, side, passing) in rows {
            let response = problem(StatusCode::from_u16(status).unwrap(), "what is wrong");
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((body["side"].as_str(), body["temporary"].as_bool()), (Some(side), Some(passing)), "{status}");
            assert_eq!(
                (body["status"].as_u64(), body["detail"].as_str()),
                (Some(status.into()), Some("what is wrong"))
            );
            assert!(!body["title"].as_str().unwrap().is_empty() && !body["advice"].as_str().unwrap().is_empty());
        }
    }
}
