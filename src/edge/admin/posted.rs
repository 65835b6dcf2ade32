//! What is posted to the administrator's face: one JSON object of a limited size, and a problem that says what is wrong with it.

use super::problem;
use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::Response;
use serde::de::DeserializeOwned;

/// The most bytes of it: a page of a table of patients is the longest.
const MOST: usize = 16 << 20;

/// The body of a request, read as JSON whatever its Content-Type says.
pub(super) struct Posted<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Posted<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let Ok(bytes) = to_bytes(request.into_body(), MOST).await else {
            let why = format!("the body did not come whole, or is longer than {MOST} bytes");
            return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, &why));
        };
        let read = serde_json::from_slice(&bytes).map(Self);
        read.map_err(|error| {
            problem(StatusCode::BAD_REQUEST, &format!("the body is not what is asked for here: {error}"))
        })
    }
}
