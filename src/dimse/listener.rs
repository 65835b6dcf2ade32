//! Takes connections, bounded at every step, and lets each become an association; drains when told to stop (DIM-014,
//! DIM-022).

mod closing;
mod descriptors;
mod lobby;
mod seats;

pub use descriptors::crowded;
pub use lobby::{Lobby, Place};
pub(super) use seats::{Seat, Seats};

use super::association::{Association, Lost};
use super::channel::{Buffers, Channel};
use super::scp::{Admission, Ended, NotAgreed, Scp, ScpOptions, Session, negotiate};
use super::wire::{self, Wire};
use closing::Closing;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Where the TLS configuration for the next handshake comes from; asked each time, so that a reload needs no restart.
pub type TlsSource = Arc<dyn Fn() -> Arc<rustls::ServerConfig> + Send + Sync>;

/// An acceptor: several listeners may share one, and with it its limits and its buffers.
pub struct Server<S> {
    inner: Arc<Inner<S>>,
}

struct Inner<S> {
    scp: Arc<S>,
    options: ScpOptions,
    seats: Seats,
    lobby: Lobby,
    closing: Closing,
    buffers: Buffers,
}

impl<S> Clone for Server<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

/// Serves one listener; see [`Server::serve`].
pub async fn serve<S: Scp>(
    listener: TcpListener,
    tls: Option<TlsSource>,
    scp: Arc<S>,
    options: ScpOptions,
    stop: CancellationToken,
) -> io::Result<()> {
    Server::new(scp, options).serve(listener, tls, stop).await
}

/// Serves one connection; see [`Server::serve_wire`].
pub async fn serve_wire<S: Scp>(
    wire: Wire,
    peer: SocketAddr,
    scp: Arc<S>,
    options: ScpOptions,
    stop: CancellationToken,
) -> Option<Ended> {
    Server::new(scp, options).serve_wire(wire, peer, &stop).await
}

impl<S: Scp> Server<S> {
    /// An acceptor for this application.
    pub fn new(scp: Arc<S>, options: ScpOptions) -> Self {
        let seats = Seats::new(options.max_associations);
        let lobby = Lobby::new(options.max_pending);
        let closing = Closing::new(options.max_closing);
        let buffers = Buffers::new(options.large_buffers, options.large_buffer_bytes);
        Self { inner: Arc::new(Inner { scp, options, seats, lobby, closing, buffers }) }
    }

    /// Takes connections until `stop`, then drains: messages in hand finish and their associations are aborted, new
    /// requests are rejected with 2/3/1, and after [`ScpOptions::drain`] what is left is cut.
    ///
    /// Errors: the listener cannot be used at all. A failed accept or handshake is logged and costs that connection
    /// only.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<TlsSource>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        listener.local_addr()?;
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(done) = sessions.join_next() => report(done),
                (accepted, place) = self.accept(&listener) => {
                    self.session(&mut sessions, accepted, place, &tls, (&stop, false)).await;
                }
            }
        }
        let deadline = tokio::time::Instant::now() + self.inner.options.drain;
        // Those that come now are only told that we are busy; the drain does not wait for them.
        let mut late = JoinSet::new();
        while !sessions.is_empty() {
            tokio::select! {
                () = sleep_until(deadline) => {
                    tracing::warn!(associations = sessions.len(), "associations cut at the end of the drain");
                    break;
                }
                Some(done) = sessions.join_next() => report(done),
                Some(done) = late.join_next() => report(done),
                (accepted, place) = self.accept(&listener) => {
                    self.session(&mut late, accepted, place, &tls, (&stop, true)).await;
                }
            }
        }
        sessions.shutdown().await;
        late.shutdown().await;
        Ok(())
    }

    /// A connection, once there is room in the lobby. Cancel-safe.
    async fn accept(&self, listener: &TcpListener) -> (io::Result<(TcpStream, SocketAddr)>, Place) {
        let place = self.inner.lobby.room().await;
        (listener.accept().await, place)
    }

    async fn session(
        &self,
        sessions: &mut JoinSet<()>,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        mut place: Place,
        tls: &Option<TlsSource>,
        (stop, late): (&CancellationToken, bool),
    ) {
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the peer is gone already: neither is helped by trying again at once.
                tracing::warn!(%error, "a connection could not be taken");
                sleep(Duration::from_millis(50)).await;
                return;
            }
        };
        place.name(peer.ip());
        let crowded = crowded(&socket);
        let (server, tls, stop) = (self.clone(), tls.clone(), stop.clone());
        sessions.spawn(async move {
            let wire = tokio::select! {
                wire = server.wire(socket, peer, tls) => wire,
                () = place.shown_out() => None,
            };
            if let Some(wire) = wire {
                server.converse(wire, peer, Some(place), (late, crowded), &stop).await;
            }
        });
    }

    /// Tunes the socket and, for TLS, shakes hands under the timer.
    async fn wire(&self, socket: TcpStream, peer: SocketAddr, tls: Option<TlsSource>) -> Option<Wire> {
        wire::tune(&socket);
        let Some(tls) = tls else {
            return Some(Wire::Tcp(socket));
        };
        let handshake = TlsAcceptor::from(tls()).accept(socket);
        match timeout(self.inner.options.timers.tls_handshake, handshake).await {
            Ok(Ok(stream)) => Some(Wire::Tls(Box::new(stream.into()))),
            Ok(Err(error)) => {
                match Lost::of_io(&error) {
                    Lost::Tls(error) => self.inner.scp.handshake_failed(peer, &error).await,
                    _ => tracing::warn!(peer.address = %peer, %error, "TLS handshake failed"),
                }
                None
            }
            Err(_) => {
                tracing::warn!(peer.address = %peer, "TLS handshake took too long");
                None
            }
        }
    }

    /// Serves one connection to its end. `None`: no association came of it.
    pub async fn serve_wire(&self, wire: Wire, peer: SocketAddr, stop: &CancellationToken) -> Option<Ended> {
        self.converse(wire, peer, None, (false, false), stop).await
    }

    async fn converse(
        &self,
        wire: Wire,
        peer: SocketAddr,
        place: Option<Place>,
        (late, crowded): (bool, bool),
        stop: &CancellationToken,
    ) -> Option<Ended> {
        let Inner { scp, options, seats, buffers, .. } = &*self.inner;
        let certificate = wire.peer_certificate();
        let channel = Channel::acceptor(wire, options.max_pdu_length, options.timers.clone());
        let admission =
            Admission { scp: &**scp, options, seats, buffers, address: peer, certificate, stop, late, crowded, place };
        let mut agreed = match negotiate(channel, admission).await {
            Ok(agreed) => agreed,
            Err(NotAgreed::Rejected(rejection)) => {
                tracing::info!(peer.address = %peer, codes = ?rejection.codes(), "association rejected: {rejection}");
                return None;
            }
            Err(NotAgreed::Lost(lost)) => {
                tracing::info!(peer.address = %peer, "no association: {lost}");
                return None;
            }
        };
        let (calling, called) = (&agreed.calling, &agreed.called);
        tracing::debug!(peer.address = %peer, calling, called, "association accepted");
        let session = Session {
            association: &mut agreed.association,
            scp: &**scp,
            caller: &agreed.caller,
            max_discard: options.max_discard_bytes,
            ended: Ended { lost: None, stored: 0, refused: 0, bytes: 0 },
        };
        let mut ended = session.converse(stop).await;
        // Before the peer hears of the end, so that the next association that it asks for finds the place free.
        drop(agreed.seat);
        self.part(&mut agreed.association, peer, calling, (&agreed.caller, &mut ended)).await;
        Some(ended)
    }

    /// The end of an association that has no place any more: answers the release, tells the application, sends the A-ABORT that is owed,
    /// and waits for the peer to close, but only as long as there is room for connections that wait.
    async fn part(
        &self,
        association: &mut Association,
        peer: SocketAddr,
        calling: &str,
        (caller, ended): (&S::Caller, &mut Ended),
    ) {
        let leaving = self.inner.closing.enter(peer.ip());
        if ended.lost.is_none() {
            ended.lost = tokio::select! {
                biased;
                answered = association.answer_release() => answered.err(),
                () = leaving.shown_out() => Some(Lost::Stopped),
            };
        }
        match &ended.lost {
            None => tracing::debug!(peer.address = %peer, calling, stored = ended.stored, "association released"),
            Some(lost) => {
                tracing::info!(peer.address = %peer, calling, stored = ended.stored, "association ended: {lost}");
            }
        }
        self.inner.scp.ended(caller, ended.clone());
        tokio::select! {
            biased;
            () = association.conclude() => {}
            () = leaving.shown_out() => {}
        }
    }
}

/// A session that panicked ended alone; it is told here, once.
fn report(done: Result<(), JoinError>) {
    if let Err(error) = done
        && error.is_panic()
    {
        tracing::error!(%error, "an association's task panicked");
    }
}
