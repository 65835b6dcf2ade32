//! Who is at the other end of a connection, and what answers it: asked again for each request, since a reload may have changed both.

use super::{Caller, Services, WebFace, routes, services};
use crate::dicom::on_behalf::OnBehalf;
use crate::dimse::crowded;
use crate::peers::{Origin, Registry};
use crate::records::SourceFacts;
use axum::Router;
use axum::extract::Extension;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What a connection showed of itself, and what that comes to by the configuration in force.
pub(super) struct Standing {
    face: WebFace,
    certificate: Option<CertificateDer<'static>>,
    address: SocketAddr,
    crowded: bool,
    /// By which configuration it was let in.
    let_in: Arc<Registry>,
    /// The services as they were asked for last, and by which configuration.
    made: Mutex<Option<(Arc<Registry>, Services)>>,
}

impl Standing {
    /// A connection whose handshake is done; it began when `let_in` was in force.
    pub(super) fn new(
        stream: &TlsStream<TcpStream>,
        address: SocketAddr,
        face: WebFace,
        let_in: Arc<Registry>,
    ) -> Self {
        let (socket, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(|chain| chain.first()).cloned();
        let crowded = crowded(socket);
        Self { face, certificate, address, crowded, let_in, made: Mutex::new(None) }
    }

    /// What answers the next request: everything as this caller may see and do it now (SEC-022).
    pub(super) async fn services(&self) -> Services {
        let registry = Arc::clone(&self.face.registry.borrow());
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match made {
            Some((by, services)) if Arc::ptr_eq(&by, &registry) => services,
            _ => {
                let services = services(self.router(&registry).await);
                *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some((registry, services.clone()));
                services
            }
        }
    }

    async fn router(&self, registry: &Arc<Registry>) -> Router {
        let caller = self.caller(registry).await;
        // What is withheld from the caller is absent from everything that answers it.
        let name = caller.peer.as_ref().map(|peer| peer.name.as_str());
        let records = self.face.records.seen_by(name);
        let router = routes::router(WebFace { records, ..self.face.clone() }).layer(Extension(caller));
        match Arc::ptr_eq(registry, &self.let_in) {
            true => router,
            // Whom we believe may have changed too: with the next connection the certificate is looked at anew.
            false => router.layer(map_response(last)),
        }
    }

    async fn caller(&self, registry: &Registry) -> Caller {
        let mut facts = SourceFacts { address: Some(self.address.ip()), ..SourceFacts::default() };
        let peer = match self.certificate.as_ref().map(|certificate| registry.peer_for(certificate)) {
            None => None,
            Some(Ok(peer)) => {
                facts.certificate = Some(peer.identity.clone());
                facts.issuer = Some(registry.issuer(&Origin::Peer(peer.name.clone())));
                Some(Arc::new(peer.clone()))
            }
            Some(Err(refused)) => {
                tracing::warn!(address = %self.address, reason = %refused, "a valid certificate, but no peer of ours");
                self.face.records.refused("peer", &format!("{}: {refused}", self.address.ip())).await;
                None
            }
        };
        Caller { peer, viewer: None, viewers: None, crowded: self.crowded, facts, behalf: OnBehalf::default() }
    }
}

/// The connection ends with this answer.
async fn last(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
