//! How long each phase of an association may take (DIM-021).

use std::time::Duration;

/// The timers of associations; every wait on a peer is under one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timers {
    /// ARTIM: from the transport connection until A-ASSOCIATE-RQ, and while waiting for the peer to close; nothing
    /// else (PS3.8 section 9.1.5; DIM-013).
    pub artim: Duration,
    /// The answer to A-ASSOCIATE-RQ: the peer's to ours, or our own admission of the peer's.
    pub negotiation: Duration,
    /// Within a message: the time in which at least [`Self::least_progress`] bytes must move, in either direction.
    pub message_idle: Duration,
    /// The number of bytes that must move in each [`Self::message_idle`] of waiting, unless the message ends before;
    /// cuts a peer that trickles (FLT-040).
    pub least_progress: u64,
    /// Between messages on an accepted association.
    pub association_idle: Duration,
    /// The response to a request that we sent.
    pub response: Duration,
    /// The answer to A-RELEASE-RQ.
    pub release: Duration,
    /// Name resolution and TCP connect together.
    pub connect: Duration,
    /// The TLS handshake, as client or as server.
    pub tls_handshake: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            artim: Duration::from_secs(30),
            negotiation: Duration::from_secs(30),
            message_idle: Duration::from_secs(60),
            least_progress: 64 * 1024,
            association_idle: Duration::from_secs(300),
            response: Duration::from_secs(120),
            release: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            tls_handshake: Duration::from_secs(10),
        }
    }
}

/// The phase in which a timer ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waiting for A-ASSOCIATE-RQ (ARTIM).
    Request,
    /// Waiting for the answer to A-ASSOCIATE-RQ.
    Negotiation,
    /// Within a message, receiving.
    Receiving,
    /// Within a message, sending.
    Sending,
    /// Between messages.
    Idle,
    /// Waiting for a response.
    Response,
    /// Waiting for A-RELEASE-RP.
    Release,
    /// Resolving the name or connecting.
    Connect,
    /// The TLS handshake.
    TlsHandshake,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Request => "waiting for the association request",
            Self::Negotiation => "waiting for the answer to the association request",
            Self::Receiving => "receiving a message",
            Self::Sending => "sending a message",
            Self::Idle => "waiting for the next message",
            Self::Response => "waiting for the response",
            Self::Release => "waiting for the answer to the release",
            Self::Connect => "connecting",
            Self::TlsHandshake => "the TLS handshake",
        })
    }
}
