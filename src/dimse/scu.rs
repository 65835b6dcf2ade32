//! The requestor's side: one association to one peer, C-ECHO, C-STORE, C-FIND, C-MOVE, release (PS3.7 section 9; DIM-050 to DIM-053).

mod connect;
mod query;
mod store;

#[cfg(test)]
pub(super) use connect::connect_over;
pub use connect::{connect, connect_for_queries};
pub use query::{Inquiry, Reply};
pub(super) use store::{Sent, answered, belied, request, send as send_store};
pub use store::{Source, SourceError, StoreCommand, StoreFailure, StoreResponse, Stores};

use super::association::{Association, Incoming, Lost};
use super::channel::Patience;
use super::message::{CommandSet, element, field};
use super::presentation::{Accepted, AcceptedContext, Rejection, UserIdentity, VERIFICATION};
use super::status::Status;
use super::timers::{Phase, Timers};
use crate::dicom::ae_title::AeTitle;
use rustls_pki_types::ServerName;
use std::sync::Arc;

pub use super::presentation::Offer;

/// Whom to call, and as whom.
#[derive(Clone)]
pub struct Target {
    /// `host:port`; a name is resolved at each call.
    pub address: String,
    /// TLS, and the name that the peer's certificate must carry.
    pub tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    /// Our AE title.
    pub calling: AeTitle,
    /// The peer's AE title.
    pub called: AeTitle,
    /// How long each phase may take.
    pub timers: Timers,
    /// The longest P-DATA-TF that we take; 0 is no limit.
    pub max_pdu_length: u32,
    /// Our Implementation Class UID (DIM-011).
    pub implementation_class: String,
    /// Our Implementation Version Name, at most 16 characters.
    pub implementation_version: String,
    /// A user identity to assert; if it asks for a response, its absence ends the association (DIM-019).
    pub identity: Option<UserIdentity>,
}

/// Why an association did not come about, or ended.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScuError {
    /// The name of the host could not be resolved.
    #[error("the name of {address} cannot be resolved: {why}")]
    Dns {
        /// `host:port`.
        address: String,
        /// What the resolver said.
        why: String,
    },
    /// No TCP connection.
    #[error("cannot connect to {address}: {why}")]
    Connect {
        /// `host:port`.
        address: String,
        /// What the system said.
        why: String,
    },
    /// The TLS handshake failed, or the peer refused our certificate right after it.
    #[error("TLS with {address} failed: {why}")]
    Tls {
        /// `host:port`.
        address: String,
        /// What the TLS library said.
        why: String,
        /// The TLS library's own error, if it was that.
        error: Option<rustls::Error>,
    },
    /// The peer sent A-ASSOCIATE-RJ. Result 1 is permanent: a fault of configuration; 2 is transient (DIM-012).
    #[error("the peer rejected the association: {} (result {result}, source {by}, reason {reason})", words(*by, *reason))]
    Rejected {
        /// 1 permanent, 2 transient.
        result: u8,
        /// 1 its user, 2 its provider (ACSE), 3 its provider (presentation).
        by: u8,
        /// As PS3.8 section 9.3.4 says for that source.
        reason: u8,
    },
    /// The peer did not answer the user identity that policy requires it to answer.
    #[error("the peer did not confirm our user identity")]
    IdentityIgnored,
    /// What was to be offered cannot be: no context, more than 128, or a name that is no UID.
    #[error("these presentation contexts cannot be offered")]
    Offers,
    /// The presentation context was not accepted; the association stands.
    #[error("the presentation context was not accepted")]
    ContextNotAccepted,
    /// The association ended.
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// Why an association was rejected, in the words of PS3.8 table 9-21.
fn words(by: u8, reason: u8) -> String {
    Rejection::given(by, reason)
        .map_or_else(|| "a reason that is not known".to_owned(), |rejection| rejection.to_string())
}

/// An association that we asked for. Dropping it closes the connection without a word; end it with [`Scu::release`] or
/// [`Scu::abort`].
#[derive(Debug)]
pub struct Scu {
    association: Association,
    peer: Accepted,
    message_id: u16,
    /// Why it is over, if it is.
    over: Option<Lost>,
    /// It is over because the peer refused something before its end, or gave a pending status for it.
    refused: bool,
}

impl Scu {
    fn new(association: Association, peer: Accepted) -> Self {
        Self { association, peer, message_id: 0, over: None, refused: false }
    }

    /// The contexts that the peer accepted.
    pub fn accepted(&self) -> impl Iterator<Item = &AcceptedContext> {
        self.association.contexts().iter()
    }

    /// What the peer said of itself.
    pub fn peer(&self) -> &Accepted {
        &self.peer
    }

    /// Whether the peer answers relational queries of this class: the first byte of its extended negotiation.
    pub fn is_relational(&self, class: &str) -> bool {
        self.peer.extended.iter().any(|(of, information)| of == class && information.first() == Some(&1))
    }

    /// The association can still be used.
    pub fn is_alive(&self) -> bool {
        self.over.is_none()
    }

    /// The association is over because the peer refused an instance before its end, or gave a pending status for it; it is there, and
    /// answers.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// The association is over because we ended it: what was to be stored could not be completed here. The peer is there.
    pub fn is_ended_by_us(&self) -> bool {
        !self.refused && self.over == Some(Lost::Stopped)
    }

    /// C-ECHO on the Verification context.
    pub async fn echo(&mut self) -> Result<Status, ScuError> {
        let context = self.accepted().find(|c| c.abstract_syntax == VERIFICATION).map(|c| c.id);
        let context = context.ok_or(ScuError::ContextNotAccepted)?;
        self.alive()?;
        let message_id = self.next_message_id();
        let command = CommandSet::new(field::C_ECHO_RQ, false)
            .with_uid(element::AFFECTED_SOP_CLASS_UID, VERIFICATION)
            .with_u16(element::MESSAGE_ID, message_id);
        let sent = self.association.send_command(context, &command).await;
        self.note(sent)?;
        let response = self.response(context, field::C_ECHO_RSP, message_id).await;
        let (_, status) = self.note(response)?;
        Ok(status)
    }

    /// A-RELEASE; whatever the peer answers, the association is over.
    pub async fn release(mut self) -> Result<(), ScuError> {
        self.alive()?;
        match self.association.release().await {
            Ok(()) => self.association.conclude().await,
            Err(lost) => {
                self.association.abort_now().await;
                return Err(lost.into());
            }
        }
        Ok(())
    }

    /// A-ABORT, at once.
    pub async fn abort(mut self) {
        if self.over.is_none() {
            self.association.give_up();
        }
        self.association.abort_now().await;
    }

    fn alive(&self) -> Result<(), Lost> {
        self.over.clone().map_or(Ok(()), Err)
    }

    /// Remembers how the association was lost.
    fn note<T>(&mut self, result: Result<T, Lost>) -> Result<T, Lost> {
        if let Err(lost) = &result {
            self.over.get_or_insert_with(|| lost.clone());
        }
        result
    }

    fn next_message_id(&mut self) -> u16 {
        self.message_id = self.message_id.wrapping_add(1).max(1);
        self.message_id
    }

    /// Waits for the one response that is due. On error the A-ABORT that may be owed has been sent.
    async fn response(&mut self, context: u8, expected: u16, message_id: u16) -> Result<(CommandSet, Status), Lost> {
        let mut patience = Patience::until(self.association.timers().response, Phase::Response);
        let answered = match self.association.next_message(&mut patience).await {
            Ok(Incoming::Message(on, response)) => {
                let fitting = self.association.contexts().may_answer(on, context);
                self.check(fitting, response, expected, message_id)
            }
            Ok(Incoming::Release) => {
                // It does not mean to answer any more (AR-4).
                let _ = self.association.answer_release().await;
                Err(Lost::Closed)
            }
            Err(lost) => Err(lost),
        };
        if answered.is_err() {
            self.association.abort_now().await;
        }
        answered
    }

    fn check(
        &mut self,
        fitting_context: bool,
        response: CommandSet,
        expected: u16,
        message_id: u16,
    ) -> Result<(CommandSet, Status), Lost> {
        let why = match response.u16(element::STATUS) {
            _ if !fitting_context => "a response on a presentation context of another class",
            _ if response.field() != expected => "a message that is not the response that was due",
            _ if response.u16(element::MESSAGE_ID_RESPONDED_TO) != Some(message_id) => {
                "a response to another message than the one that was sent"
            }
            // Its Command Data Set Type is not looked at: it has no data set (PS3.7 sections 9.3.1.2 and 9.3.5.2).
            None => "a response without a status",
            Some(status) => return Ok((response, Status(status))),
        };
        Err(self.association.violate(why))
    }
}
