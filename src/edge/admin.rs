//! The administrator's face: JSON over a Unix socket in the data directory, for the command line.

mod archived;
mod exceptions;
mod holdings;
mod instances;
mod patients;
mod posted;
mod prefetch;
mod priors;
mod rejections;
mod search;
mod status;
mod storage;
mod store;
mod verbs;
mod worklists;

pub(crate) use exceptions::{Decision, decisions, end_by_itself};
pub(crate) use holdings::{Asked, Held, Instruction};
pub(crate) use patients::{Learn, Line, Unlearn};
pub(crate) use prefetch::PrefetchAsked;
pub(crate) use priors::{CopiesDrop, PullOrder};
pub(crate) use rejections::Undo;
pub(crate) use search::Search;
pub use status::{DestinationStatus, Hl7Status, ScrubStatus, Status, VerifiedStatus};
pub(crate) use store::{By, Drop, Examine};
pub(crate) use verbs::{Pause, Request};
pub(crate) use worklists::Poll;
pub use worklists::WorklistStatus;

use super::mllp::Hearing;
use crate::courier::Courier;
use crate::intake::Intake;
use crate::janitor::Janitor;
use crate::peers::Registry;
use crate::priors::archive::Archives;
use crate::priors::fetch::Fetcher;
use crate::priors::prefetch::Prefetcher;
use crate::priors::worklist::Worklists;
use crate::records::Records;
use crate::store::Store;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The socket's name in the data directory.
pub const SOCKET: &str = "admin.sock";

/// The wait after a connection could not be accepted.
const TROUBLE: Duration = Duration::from_millis(100);

/// So long nobody called before it is seen whether the socket is still there.
const MISSED: Duration = Duration::from_secs(30);

/// Connections of the command line at once.
const CONNECTIONS: usize = 32;

/// What the administrator's face works with.
#[derive(Clone)]
pub struct AdminFace {
    /// The site's name.
    pub site: String,
    /// Questions and decisions.
    pub records: Records,
    /// Disk use.
    pub store: Store,
    /// Retention, scrub, what a person drops.
    pub janitor: Janitor,
    /// Lanes.
    pub courier: Arc<Courier>,
    /// What is not here and an archive holds.
    pub archives: Archives,
    /// Where `weybridge send` goes.
    pub intake: Intake,
    /// Who pulls from other sites.
    pub fetcher: Fetcher,
    /// Who does so before anybody asks.
    pub prefetcher: Prefetcher,
    /// Who asks worklists.
    pub worklists: Worklists,
    /// Where order systems are heard, and what was heard of them.
    pub hearing: Option<(SocketAddr, Hearing)>,
    /// Destinations by name.
    pub registry: watch::Receiver<Arc<Registry>>,
    /// Things to know about certificates and configuration.
    pub warnings: watch::Receiver<Arc<Vec<String>>>,
    /// What was done there longer ago is asked about again when it is sent again.
    pub resend_after: Duration,
    /// When this process started to serve.
    pub started: SystemTime,
}

/// Binds the socket for its owner only, replacing one that a dead process left.
pub fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    let path = data_dir.join(SOCKET);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The socket, made anew if somebody has removed its name.
fn made_anew(listener: UnixListener, path: Option<&Path>) -> UnixListener {
    let Some(data_dir) = path.filter(|path| !path.exists()).and_then(Path::parent) else { return listener };
    match bind(data_dir) {
        Ok(new) => {
            tracing::warn!("the admin socket was gone and was made anew");
            new
        }
        Err(error) => {
            tracing::warn!(%error, "the admin socket is gone and cannot be made anew");
            listener
        }
    }
}

/// Answers the command line until `stop`.
pub async fn serve(mut listener: UnixListener, face: AdminFace, stop: CancellationToken) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let router = Router::new()
        .route("/status", get(status))
        .route("/transfers/{verb}", post(verbs::decide))
        .route("/exceptions/resolve", post(exceptions::resolve))
        .route("/rejections/undo", post(rejections::undo))
        .route("/store/purge", post(store::purge))
        .route("/store/pause", post(store::pause))
        .route("/store/drop", post(store::drop_bytes))
        .route("/store/examine", post(store::examine))
        .route("/store/accept", post(store::accept))
        .route("/store/due", get(store::due))
        .route("/destinations/pause", post(verbs::pause))
        .route("/destinations/profile", post(verbs::profile))
        .route("/holdings", post(holdings::find))
        .route("/orders", post(holdings::order))
        .route("/instances", post(instances::receive))
        .route("/patients/learn", post(patients::learn))
        .route("/patients/unlearn", post(patients::unlearn))
        .route("/worklists/poll", post(worklists::poll))
        .route("/prefetch", post(prefetch::prefetch))
        .route("/priors/find", post(search::search))
        .route("/priors/pull", post(priors::pull))
        .route("/priors/drop", post(priors::drop_copies))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(face);
    let path = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.map_err(io::Error::other)?;
        let stream = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(MISSED) => {
                listener = made_anew(listener, path.as_deref());
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, say (FLT-026): it passes.
                    tracing::warn!(error = %error, "cannot accept a connection of the command line");
                    tokio::time::sleep(TROUBLE).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(router.clone());
        let stop = stop.clone();
        tokio::spawn(async move {
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = serving => {}
                () = stop.cancelled() => {}
            }
            drop(permit);
        });
    }
}

async fn status(State(face): State<AdminFace>) -> Response {
    match Status::of(&face).await {
        Ok(status) => Json(status).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn problem(status: StatusCode, detail: &str) -> Response {
    super::http::problem(status, detail)
}
