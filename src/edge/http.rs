//! The face towards peers: HTTP/1.1 over mutual TLS, one task per connection, DICOMweb below `/dicom-web`.

use super::{qido, stow};
use crate::intake::Intake;
use crate::peers::{Peer, Registry};
use crate::records::{Records, SourceFacts};
use axum::Router;
use axum::extract::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The limits of the web face.
#[derive(Debug, Clone)]
pub struct WebOptions {
    /// Connections at once; more wait in the listen queue.
    pub connections: usize,
    /// The TLS handshake must end within this time (DIM-021, FLT-040).
    pub handshake: Duration,
    /// The request's head must arrive within this time.
    pub head: Duration,
    /// A body that brings nothing for this long is cut (FLT-040).
    pub body_idle: Duration,
    /// Largest request body in bytes (WEB-032).
    pub request_bytes: u64,
    /// Most parts in a request.
    pub parts: u32,
    /// Instances of one request that may be between arrival and commit, in bytes.
    pub commit_bytes: u64,
}

/// What the handlers work with.
#[derive(Clone)]
pub struct WebFace {
    /// Where instances go.
    pub intake: Intake,
    /// Where queries are answered from, and refusals recorded.
    pub records: Records,
    /// Who may call.
    pub registry: watch::Receiver<Arc<Registry>>,
    /// The limits.
    pub options: WebOptions,
}

/// The peer at the other end of a connection, as its certificate says; `None` if no peer of ours.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) peer: Option<Arc<Peer>>,
    pub(super) facts: SourceFacts,
}

/// Accepts connections until `stop`, then lets requests in hand finish; who waits decides for how long.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    face: WebFace,
    stop: CancellationToken,
) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(face.options.connections));
    let tasks = TaskTracker::new();
    let router = router(face.clone());
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = Arc::clone(&permits).acquire_owned() => permit.map_err(io::Error::other)?,
        };
        let (stream, address) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, say (FLT-026): what is open goes on, and we try again.
                    tracing::warn!(error = %error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        // Asked anew each time, so that a reload of the certificates needs no restart.
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
        let connection = connection(stream, address, acceptor, face.clone(), router.clone(), stop.clone());
        tasks.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    face: WebFace,
    router: Router,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(face.options.handshake, acceptor.accept(stream)).await;
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::warn!(%address, error = %error, "TLS handshake refused");
            face.records.refused("tls", &format!("{}: {error}", address.ip())).await;
            return;
        }
        Err(_) => return tracing::warn!(%address, "TLS handshake took too long"),
    };
    let caller = caller(&stream, address, &face).await;
    let service = TowerToHyperService::new(router.layer(Extension(caller)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(face.options.head).max_buf_size(64 << 10);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, error = %error, "connection ended early");
    }
}

async fn caller(stream: &tokio_rustls::server::TlsStream<TcpStream>, address: SocketAddr, face: &WebFace) -> Caller {
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let mut facts = SourceFacts { address: Some(address.ip()), ..SourceFacts::default() };
    let Some(certificate) = certificate else { return Caller { peer: None, facts } };
    let registry = Arc::clone(&face.registry.borrow());
    match registry.peer_for(certificate) {
        Ok(peer) => {
            facts.certificate = Some(peer.identity.clone());
            Caller { peer: Some(Arc::new(peer.clone())), facts }
        }
        Err(refused) => {
            tracing::warn!(%address, reason = %refused, "a valid certificate, but no peer of ours");
            face.records.refused("peer", &format!("{}: {refused}", address.ip())).await;
            Caller { peer: None, facts }
        }
    }
}

fn router(face: WebFace) -> Router {
    let dicom_web = Router::new()
        .route("/studies", post(stow::store))
        .route("/studies/{study}", post(stow::store_study))
        .route("/studies/{study}/instances", get(qido::study_instances))
        .route("/instances", get(qido::instances))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(face);
    Router::new()
        .nest("/dicom-web", dicom_web)
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is no such resource here") })
}

/// An error answer that says why and what to do (RFC 9457; WEB-009).
pub(super) fn problem(status: StatusCode, detail: &str) -> Response {
    let body = serde_json::json!({
        "title": status.canonical_reason().unwrap_or("error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}
