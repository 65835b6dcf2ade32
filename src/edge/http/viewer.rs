//! The face towards viewers on this machine: the same DICOMweb in plain HTTP on a loopback address, for who has the token.
//!
//! What a viewer is shown is what its node is shown: by that node's rights, and by its rule for other sites' patients.

use super::{Caller, WebFace, converse, last_problem, problem, services};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::on_behalf::OnBehalf;
use crate::records::SourceFacts;
use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use sha2::{Digest, Sha256};
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a page of another origin may ask with, and may see of the answer.
const REQUEST_HEADERS: &str = "accept, authorization, content-type, if-match, if-none-match, if-range, range";
const ANSWER_HEADERS: &str =
    "accept-ranges, content-length, content-location, content-range, etag, retry-after, warning, weybridge-incomplete";

/// Who is let in.
pub struct ViewerOptions {
    /// The node by whose rights and rules everything is shown.
    pub node: AeTitle,
    /// What the caller must show.
    pub token: Token,
    /// The origins whose pages may read answers.
    pub origins: Vec<String>,
}

/// A bearer token; only its digest is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// The token with this text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Whether the one Authorization header shows it. Digests are compared, so that time tells nothing of the text.
    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(only), None) = (given.next(), given.next()) else { return false };
        let Some((scheme, text)) = only.to_str().ok().and_then(|text| text.split_once(' ')) else { return false };
        scheme.eq_ignore_ascii_case("bearer") && *self == Self::new(text.trim())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Serves until `stop`, then lets requests in hand finish.
pub async fn serve(
    listener: TcpListener,
    face: WebFace,
    options: ViewerOptions,
    stop: CancellationToken,
) -> io::Result<()> {
    let seats = Arc::new(Semaphore::new(face.options.connections));
    let tasks = TaskTracker::new();
    // What is withheld from the node is absent here too.
    let seen = WebFace { records: face.records.seen_by(Some(options.node.as_str())), ..face.clone() };
    let door = Arc::new((options, face.clone(), listener.local_addr()?.port()));
    let router = super::routes::router(seen).layer(middleware::from_fn_with_state(door, admit));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { break };
        let (stream, address) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = %error, "cannot accept a viewer's connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let (router, options, stop) = (router.clone(), face.options.clone(), stop.clone());
        tasks.spawn(async move {
            let services = services(of(router, address));
            converse(stream, address, &options, || ready(services.clone()), stop).await;
            drop(seat);
        });
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

fn of(router: Router, address: SocketAddr) -> Router {
    router.layer(Extension(address))
}

/// Lets in who shows the token, and says to browsers which pages may read the answer.
async fn admit(
    State(door): State<Arc<(ViewerOptions, WebFace, u16)>>,
    Extension(address): Extension<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let (options, face, port) = &*door;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let known = origin.filter(|origin| options.origins.iter().any(|known| known.as_bytes() == origin.as_bytes()));
    let node = face.registry.borrow().node(&options.node).cloned();
    let mut response = match () {
        () if request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) =>
        {
            preflight()
        }
        () if !options.token.is_shown(request.headers()) => {
            face.records.refused("viewer", &format!("{}: without the token", address.ip())).await;
            let mut refused = last_problem(StatusCode::UNAUTHORIZED, "show the token of [viewer] as a bearer token");
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"viewer\""));
            refused
        }
        () => match node {
            None => problem(StatusCode::SERVICE_UNAVAILABLE, "the node of [viewer] is not configured any more"),
            Some(node) => {
                let facts = SourceFacts { address: Some(address.ip()), ..SourceFacts::default() };
                let (viewer, viewers, behalf) = (Some(Arc::new(node)), Some(*port), OnBehalf::default());
                request.extensions_mut().insert(Caller { peer: None, viewer, viewers, crowded: false, facts, behalf });
                next.run(request).await
            }
        },
    };
    if let Some(origin) = known {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANSWER_HEADERS));
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

/// What a browser asks before it asks; without the header that names its origin, the answer allows nothing.
fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_shown_once_and_whole() {
        let token = Token::new("a secret of thirty-two characters");
        let shown = |values: &[&str]| {
            let headers = values.iter().map(|value| (header::AUTHORIZATION, value.parse().unwrap())).collect();
            token.is_shown(&headers)
        };
        assert!(
            shown(&["Bearer a secret of thirty-two characters"])
                && shown(&["bearer a secret of thirty-two characters"])
        );
        let good = "Bearer a secret of thirty-two characters";
        let wrong: [&[&str]; 7] = [
            &[],
            &[""],
            &["a secret of thirty-two characters"],
            &["Basic a secret of thirty-two characters"],
            &["Bearer a secret of thirty-two character"],
            &["Bearer"],
            &[good, good],
        ];
        for values in wrong {
            assert!(!shown(values), "{values:?}");
        }
        assert_eq!(format!("{token:?}"), "Token");
    }
}
