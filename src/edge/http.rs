//! The face towards peers: HTTP/1.1 over mutual TLS, one task per connection, DICOMweb below `/dicom-web`.

mod capabilities;
mod pace;
mod problem;
mod room;
mod routes;
mod standing;
mod target;
mod viewer;

pub(super) use pace::Pace;
pub(super) use problem::{last_problem, problem};
use target::straight;
pub(super) use target::{Base, Target};
pub use viewer::{Token, ViewerOptions, serve as serve_viewers};

use super::wado::{Known, Seats};
use crate::dicom::on_behalf::OnBehalf;
use crate::dimse::Lobby;
use crate::intake::Intake;
use crate::peers::{May, Node, Peer, Registry};
use crate::priors::archive::Archives;
use crate::priors::fetch::Fetcher;
use crate::records::{Records, SourceFacts};
use crate::store::Store;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pace::Paced;
use room::{Room, Seat};
use standing::Standing;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Most bytes of a request's head, and most header lines; more is answered 431 (SEC-021).
const HEAD_BYTES: usize = 64 << 10;
const HEAD_LINES: usize = 100;

/// The limits of the web face.
#[derive(Debug, Clone)]
pub struct WebOptions {
    /// Connections of callers at once, of whom strangers make room for who is known; and as many again that have not shown who they are yet.
    pub connections: usize,
    /// The TLS handshake must end within this time (DIM-021, FLT-040).
    pub handshake: Duration,
    /// The request's head must arrive within this time.
    pub head: Duration,
    /// In so much time spent waiting, a body must bring 16 KiB, and an answer must be taken at that rate (FLT-040).
    pub body_idle: Duration,
    /// Largest request body in bytes (WEB-032).
    pub request_bytes: u64,
    /// Largest instance in bytes.
    pub instance_bytes: u64,
    /// Most parts in a request.
    pub parts: u32,
    /// Most bytes of one part's headers.
    pub part_header_bytes: usize,
    /// Instances of one request that may be between arrival and commit, in bytes.
    pub commit_bytes: u64,
    /// Metadata of which a part cannot be had come with 200 instead of 206: there are viewers that take no 206 (docs/decisions/0013).
    pub partial_metadata_as_ok: bool,
}

/// What the handlers work with.
#[derive(Clone)]
pub struct WebFace {
    /// Where instances go.
    pub intake: Intake,
    /// Where queries are answered from, and refusals recorded.
    pub records: Records,
    /// Where retrieved instances come from.
    pub store: Store,
    /// The archives behind us, which hold what we do not.
    pub archives: Archives,
    /// Who pulls what other sites hold: for viewers of this site alone, since what a peer asks for is passed on to nobody.
    pub elsewhere: Option<Fetcher>,
    /// Bodies of instances that are going out.
    pub retrievals: Arc<Seats>,
    /// Where frames are that were asked for last.
    pub known: Arc<Known>,
    /// Who may call.
    pub registry: watch::Receiver<Arc<Registry>>,
    /// The limits.
    pub options: WebOptions,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The peer, as its certificate says; `None` if no peer of ours.
    pub(super) peer: Option<Arc<Peer>>,
    /// The node by whose rights a viewer on this machine asks.
    pub(super) viewer: Option<Arc<Node>>,
    /// The port at which viewers on this machine are served, if the caller is one.
    viewers: Option<u16>,
    /// There are too few descriptors left for its work (FLT-026).
    pub(super) crowded: bool,
    pub(super) facts: SourceFacts,
    /// For whom it asks, as far as the request says.
    pub(super) behalf: OnBehalf,
}

/// Who asks for what is held, and what it may do.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    /// The peer's name, or the AE title of the viewer's node.
    pub(super) name: String,
    /// A node's C-FIND is a search, its C-MOVE or C-GET a retrieval.
    pub(super) may: May,
    /// It is on this machine, and may be shown lists at large as any node.
    pub(super) local: bool,
}

impl Caller {
    /// Who asks, if it is anybody whom we know.
    pub(super) fn asker(&self) -> Option<Asker> {
        let viewer = self.viewer.as_ref().map(|node| Asker {
            name: node.ae_title.to_string(),
            may: May { query: node.may.find, retrieve: node.may.r#move, ..May::default() },
            local: true,
        });
        viewer.or_else(|| self.peer.as_ref().map(|peer| Asker { name: peer.name.clone(), may: peer.may, local: false }))
    }
}

/// Accepts connections until `stop`, then lets requests in hand finish; who waits decides for how long.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    face: WebFace,
    stop: CancellationToken,
) -> io::Result<()> {
    let room = Arc::new(Room::new(face.options.connections));
    let lobby = Lobby::new(face.options.connections);
    let tasks = TaskTracker::new();
    loop {
        let mut place = tokio::select! {
            () = stop.cancelled() => break,
            place = lobby.room() => place,
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
        place.name(address.ip());
        // Before whom we trust: a handshake that a reload overtakes must not count as one by the new configuration.
        let let_in = Arc::clone(&face.registry.borrow());
        // Asked anew each time, so that a reload of the certificates needs no restart.
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
        let (face, room, stop) = (face.clone(), Arc::clone(&room), stop.clone());
        tasks.spawn(async move {
            let entered = tokio::select! {
                entered = enter(stream, address, acceptor, &face, &room) => entered,
                () = place.shown_out() => None,
                () = stop.cancelled() => None,
            };
            if let Some((stream, seat)) = entered {
                // The caller has shown who it is: its place is free for the next.
                drop(place);
                let options = face.options.clone();
                let standing = Standing::new(&stream, address, face, let_in);
                let heard = async {
                    // A stranger is told of even if it asks for nothing.
                    standing.services().await;
                    converse(stream, address, &options, || standing.services(), stop).await;
                };
                tokio::select! {
                    () = heard => {}
                    () = seat.shown_out() => {}
                }
                drop(seat);
            }
        });
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// From the bare connection to a caller with a seat, or nothing. A stranger takes none that somebody waits for who is known (FLT-040).
async fn enter(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    face: &WebFace,
    room: &Room,
) -> Option<(TlsStream<TcpStream>, Seat)> {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(face.options.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let told = error.get_ref().and_then(|inner| inner.downcast_ref()).map(crate::tls::words);
            let why = told.unwrap_or_else(|| error.to_string());
            tracing::warn!(%address, why, "TLS handshake refused");
            face.records.refused("tls", &format!("{}: {why}", address.ip())).await;
            return None;
        }
        Err(_) => {
            tracing::warn!(%address, "TLS handshake took too long");
            return None;
        }
    };
    let known = is_known(&stream, &face.registry.borrow());
    let seat = match known {
        Ok(()) => room.seat().await,
        Err(why) => match room.seat_for_stranger() {
            None => {
                tracing::warn!(%address, why, "a valid certificate, but no peer of ours, and no room");
                face.records.refused("peer", &format!("{}: {why}", address.ip())).await;
                None
            }
            seat => seat,
        },
    };
    Some((stream, seat?))
}

/// Whether a caller is a peer of ours by its certificate; why not otherwise.
fn is_known(stream: &TlsStream<TcpStream>, registry: &Registry) -> Result<(), String> {
    let (_, session) = stream.get_ref();
    match session.peer_certificates().and_then(|chain| chain.first()) {
        None => Err("it showed no certificate".into()),
        Some(certificate) => registry.peer_for(certificate).map(drop).map_err(|refused| refused.to_string()),
    }
}

/// What answers the requests of a connection.
type Services = TowerToHyperService<Router>;

fn services(router: Router) -> Services {
    TowerToHyperService::new(router.layer(map_response(named)))
}

/// Requests and answers until either side has enough; who answers is asked for each request.
async fn converse<S, F>(
    stream: S,
    address: SocketAddr,
    options: &WebOptions,
    services: impl Fn() -> F,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Services>,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        *request.uri_mut() = straight(std::mem::take(request.uri_mut()));
        let services = services();
        async move { services.await.call(request).await }
    });
    let stream = Paced::new(stream, options.body_idle);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(options.head);
    builder.max_buf_size(HEAD_BYTES).max_headers(HEAD_LINES);
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

/// Who answers: another Weybridge may then send us several batches of a study at once (docs/decisions/0008-turns.md).
async fn named(mut response: Response) -> Response {
    let name = HeaderValue::from_static(concat!("Weybridge/", env!("CARGO_PKG_VERSION")));
    let headers = response.headers_mut();
    headers.insert(header::SERVER, name);
    // What is answered is of a patient, and for the asker alone: nobody between may keep it, and a browser only what it can ask about again
    // (RFC 9111 section 5.2.2). What is given depends on what is accepted (RFC 9110 section 12.5.5).
    let keeps = if headers.contains_key(header::ETAG) { "private, no-cache" } else { "no-store" };
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(keeps));
    headers.append(header::VARY, HeaderValue::from_static("Accept"));
    response
}
