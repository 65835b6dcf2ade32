//! Which address leads where, and what holds for every request: its version, its Host, who may come in at all.

use super::target::{Base, SERVICE};
use super::{Caller, WebFace, capabilities, last_problem, problem};
use crate::dicomweb::on_behalf;
use crate::edge::{qido, stow, wado};
use axum::Router;
use axum::extract::{Extension, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, options, post};

/// Seconds after which who was turned away for want of descriptors may come again.
const RETRY_AFTER_SECONDS: &str = "30";

/// Everything that we answer.
pub(super) fn router(face: WebFace) -> Router {
    let services = Router::new()
        .route("/", options(capabilities::answer))
        .route("/studies", post(stow::store).get(qido::studies))
        .route("/series", get(qido::series))
        .route("/studies/{study}", post(stow::store).get(wado::retrieve))
        .route("/studies/{study}/series/{series}", get(wado::retrieve))
        .route("/studies/{study}/series/{series}/instances/{instance}", get(wado::retrieve))
        .route("/studies/{study}/metadata", get(wado::describe))
        .route("/studies/{study}/series/{series}/metadata", get(wado::describe))
        .route("/studies/{study}/series/{series}/instances/{instance}/metadata", get(wado::describe))
        .route("/studies/{study}/bulkdata", get(wado::all_bulk_data))
        .route("/studies/{study}/series/{series}/bulkdata", get(wado::all_bulk_data))
        .route("/studies/{study}/series/{series}/instances/{instance}/bulkdata", get(wado::all_bulk_data))
        .route("/studies/{study}/series/{series}/instances/{instance}/bulkdata/{*below}", get(wado::bulk_data))
        .route("/studies/{study}/series/{series}/instances/{instance}/frames/{below}", get(wado::frame_list))
        .route("/studies/{study}/rendered", get(wado::render))
        .route("/studies/{study}/series/{series}/rendered", get(wado::render))
        .route("/studies/{study}/series/{series}/instances/{instance}/rendered", get(wado::render))
        .route("/studies/{study}/series/{series}/instances/{instance}/frames/{below}/rendered", get(wado::render))
        .route("/studies/{study}/thumbnail", get(wado::thumbnail))
        .route("/studies/{study}/series/{series}/thumbnail", get(wado::thumbnail))
        .route("/studies/{study}/series/{series}/instances/{instance}/thumbnail", get(wado::thumbnail))
        .route("/studies/{study}/series/{series}/instances/{instance}/frames/{below}/thumbnail", get(wado::thumbnail))
        .route("/studies/{study}/series", get(qido::series))
        .route("/studies/{study}/series/{series}/instances", get(qido::instances))
        .route("/studies/{study}/instances", get(qido::instances))
        .route("/instances", get(qido::instances))
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(face.clone());
    Router::new()
        .nest(SERVICE, services)
        .route(&format!("{SERVICE}/"), options(capabilities::answer).with_state(face))
        .method_not_allowed_fallback(other_method)
        .fallback(nothing_here)
        .layer(middleware::from_fn(admit))
}

async fn nothing_here() -> Response {
    problem(StatusCode::NOT_FOUND, "there is no such resource here")
}

/// The Allow header beside it is the router's (WEB-009).
async fn other_method(method: Method) -> Response {
    let detail = format!("this resource does not answer {method}; the Allow header says what it answers");
    problem(StatusCode::METHOD_NOT_ALLOWED, &detail)
}

/// Whether a body can be read: what is coded besides for the journey would be taken for the body itself.
fn only_chunked(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let known = |coding: &str| coding.is_empty() || coding.eq_ignore_ascii_case("chunked");
    lines.all(|line| line.to_str().is_ok_and(|line| line.split(',').all(|coding| known(coding.trim()))))
}

/// What is asked of every request before anything looks at what it wants.
async fn admit(caller: Extension<Caller>, mut request: Request, next: Next) -> Response {
    if request.version() != Version::HTTP_11 {
        let detail = "this service speaks HTTP/1.1 (PS3.18 section 5); a proxy in front of it has to be told so \
                      (nginx: proxy_http_version 1.1)";
        return last_problem(StatusCode::HTTP_VERSION_NOT_SUPPORTED, detail);
    }
    let Some(base) = Base::of(request.uri(), request.headers(), caller.viewers) else {
        return last_problem(StatusCode::BAD_REQUEST, "a request names exactly one Host (RFC 9112 section 3.2)");
    };
    // Before the address is looked at: a stranger does not learn what there is (WEB-009). Audited with the connection.
    if caller.asker().is_none() {
        return last_problem(StatusCode::FORBIDDEN, "your certificate names no peer of this site");
    }
    if !only_chunked(request.headers()) {
        let detail = "this service knows no transfer coding but chunked (RFC 9112 section 6.1)";
        return last_problem(StatusCode::NOT_IMPLEMENTED, detail);
    }
    if caller.crowded {
        let mut response = last_problem(StatusCode::SERVICE_UNAVAILABLE, "too many files are open here just now");
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        return response;
    }
    let behalf = on_behalf::told(request.headers());
    request.extensions_mut().insert(base);
    request.extensions_mut().insert(Caller { behalf, ..caller.0 });
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = next.run(request).await;
    if chunked {
        // A Content-Length beside it is dropped on parsing, so we do not know whether there was one; if there was, RFC 9112
        // section 6.1 has us close, and then nothing that follows can be taken for a request of its own.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_chunked_or_sized_and_coded_in_no_other_way() {
        let rows: [(&[&str], bool); 8] = [
            (&[], true),
            (&["chunked"], true),
            (&["Chunked"], true),
            (&[" , chunked"], true),
            (&["gzip, chunked"], false),
            (&["gzip", "chunked"], false),
            (&["chunked;x=1"], false),
            (&["x-gzip,chunked"], false),
        ];
        for (lines, want) in rows {
            let headers = lines.iter().map(|line| (header::TRANSFER_ENCODING, line.parse().unwrap())).collect();
            assert_eq!(only_chunked(&headers), want, "{lines:?}");
        }
    }
}
