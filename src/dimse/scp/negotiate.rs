//! From a connection to an association: request, admission, answer.

use super::{Scp, ScpOptions};
use crate::dimse::association::{Association, Lost};
use crate::dimse::channel::{Buffers, Channel, Patience, Signal};
use crate::dimse::listener::{Place, Seat, Seats};
use crate::dimse::pdata::Violation;
use crate::dimse::pdu;
use crate::dimse::presentation::answer;
use crate::dimse::presentation::{Answer, ContextAnswer, Proposal, ProposedContext, Refusal, Rejection, Roles, Terms};
use crate::dimse::state::{Action, Event, State};
use crate::dimse::timers::Phase;
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// What a negotiation needs besides the connection.
pub(in crate::dimse) struct Admission<'a, S> {
    pub scp: &'a S,
    pub options: &'a ScpOptions,
    pub seats: &'a Seats,
    pub buffers: &'a Buffers,
    pub address: SocketAddr,
    pub certificate: Option<Vec<u8>>,
    pub stop: &'a CancellationToken,
    /// It came after the stop: it is told that we are busy, others are only closed.
    pub late: bool,
    /// There are too few descriptors for another association: it is told that we are busy (FLT-026).
    pub crowded: bool,
    /// Its place in the lobby, until its request is answered.
    pub place: Option<Place>,
}

/// An association that stands.
pub(in crate::dimse) struct Agreed<C> {
    pub association: Association,
    pub caller: C,
    /// The AE titles; the rest of the proposal is not kept.
    pub calling: String,
    pub called: String,
    /// Its place among the associations, until it has ended.
    pub seat: Seat,
}

/// Why no association came of a connection.
#[derive(Debug, thiserror::Error)]
pub(in crate::dimse) enum NotAgreed {
    /// We sent A-ASSOCIATE-RJ.
    #[error("rejected: {0}")]
    Rejected(Rejection),
    /// The connection did not come to an answer.
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// Takes the request and answers it. On error the connection is concluded.
pub(in crate::dimse) async fn negotiate<S: Scp>(
    mut channel: Channel,
    admission: Admission<'_, S>,
) -> Result<Agreed<S::Caller>, NotAgreed> {
    let agreed = agree(&mut channel, &admission).await;
    match agreed {
        Ok((proposal, caller, seat, contexts)) => {
            let maximum = proposal.max_pdu_length;
            let association = Association::new(channel, contexts, maximum, Some(admission.buffers.clone()));
            let Proposal { calling, called, .. } = proposal;
            Ok(Agreed { association, caller, calling, called, seat })
        }
        Err(why) => {
            tokio::select! {
                () = channel.conclude() => {}
                () = shown_out(admission.place.as_ref()) => {}
            }
            Err(why)
        }
    }
}

type Outcome<C> = (Proposal, C, Seat, crate::dimse::presentation::Contexts);

async fn agree<S: Scp>(channel: &mut Channel, admission: &Admission<'_, S>) -> Result<Outcome<S::Caller>, NotAgreed> {
    let body = request(channel, admission).await?;
    let certificate = admission.certificate.clone();
    let read = pdu::read_request(&body).map_err(Refusal::Abort);
    drop(body);
    let proposal = match read.and_then(|request| Proposal::of_request(request, admission.address, certificate)) {
        Ok(proposal) => proposal,
        Err(Refusal::Reject(rejection)) => {
            let told = admission.scp.rejected(admission.address, rejection);
            // However long that takes, the caller waits no longer than for an admission.
            let _ = tokio::time::timeout(admission.options.timers.negotiation, told).await;
            return Err(reject(channel, rejection).await);
        }
        // The request is an invalid PDU in Sta2: AA-1, service user.
        Err(Refusal::Abort(violation)) => {
            channel.give_up();
            return Err(Lost::Violation(violation).into());
        }
    };
    let (caller, seat) = match admit(admission, &proposal).await {
        Ok(admitted) => admitted,
        Err(rejection) => return Err(reject(channel, rejection).await),
    };
    let options = admission.options;
    let terms = Terms {
        max_pdu_length: options.max_pdu_length,
        implementation_class: options.implementation_class.clone(),
        implementation_version: options.implementation_version.clone(),
    };
    let (accept, contexts) = answer(&proposal, &terms, &mut By { scp: admission.scp, caller: &caller });
    let bytes = pdu::write_accept(accept).map_err(|v| channel.violate(v))?;
    channel.take(Event::Accept, Violation::Dimse("an acceptance without a request"))?;
    let mut patience = Patience::until(options.timers.negotiation, Phase::Negotiation);
    channel.send_pdu(&bytes, &mut patience).await?;
    Ok((proposal, caller, seat, contexts))
}

/// Waits for A-ASSOCIATE-RQ under ARTIM (DIM-013), until we stop, or until others need the room.
async fn request<S>(channel: &mut Channel, admission: &Admission<'_, S>) -> Result<Vec<u8>, Lost> {
    let mut patience = Patience::until(channel.timers().artim, Phase::Request);
    let signal = tokio::select! {
        signal = channel.next(&mut patience) => signal?,
        () = admission.stop.cancelled(), if !admission.late => return Err(Lost::Stopped),
        () = shown_out(admission.place.as_ref()) => return Err(Lost::Stopped),
    };
    match signal {
        Signal::Pdu(Action::Ae6, body) => Ok(body),
        _ => Err(channel.violate(Violation::UnexpectedPdu { kind: 0, state: State::Sta2 })),
    }
}

/// Others need the room.
async fn shown_out(place: Option<&Place>) {
    match place {
        Some(place) => place.shown_out().await,
        None => std::future::pending().await,
    }
}

/// Room, then the application, then its own share of the room.
async fn admit<S: Scp>(admission: &Admission<'_, S>, proposal: &Proposal) -> Result<(S::Caller, Seat), Rejection> {
    if admission.stop.is_cancelled() || admission.crowded {
        return Err(Rejection::TemporaryCongestion);
    }
    let mut seat = admission.seats.take().ok_or(Rejection::LocalLimitExceeded)?;
    let limit = admission.options.timers.negotiation;
    let caller = match tokio::time::timeout(limit, admission.scp.admit(proposal)).await {
        Ok(admitted) => admitted?,
        Err(_) => return Err(Rejection::TemporaryCongestion),
    };
    let most = admission.scp.most_associations(&caller).unwrap_or(admission.options.max_associations_per_caller);
    match seat.name(&proposal.calling, most) {
        true => Ok((caller, seat)),
        false => Err(Rejection::LocalLimitExceeded),
    }
}

/// Sends A-ASSOCIATE-RJ (AE-8); the caller then concludes.
async fn reject(channel: &mut Channel, rejection: Rejection) -> NotAgreed {
    let bytes = match pdu::write_reject(rejection) {
        Ok(bytes) => bytes,
        Err(violation) => return channel.violate(violation).into(),
    };
    let mut patience = Patience::until(channel.timers().negotiation, Phase::Negotiation);
    if let Err(lost) = channel.send_pdu(&bytes, &mut patience).await {
        return lost.into();
    }
    match channel.take(Event::Reject, Violation::Dimse("a rejection without a request")) {
        Ok(_) => NotAgreed::Rejected(rejection),
        Err(lost) => lost.into(),
    }
}

/// The application's answers, for one caller.
struct By<'a, S: Scp> {
    scp: &'a S,
    caller: &'a S::Caller,
}

impl<S: Scp> Answer for By<'_, S> {
    fn context(&mut self, context: &ProposedContext) -> ContextAnswer {
        self.scp.choose(self.caller, context)
    }

    fn roles(&mut self, sop_class: &str, proposed: Roles) -> Roles {
        self.scp.roles(self.caller, sop_class, proposed)
    }

    fn extended(&mut self, sop_class: &str, proposed: &[u8]) -> Option<Vec<u8>> {
        self.scp.extended(self.caller, sop_class, proposed)
    }

    fn identity(&mut self) -> Option<Vec<u8>> {
        self.scp.identity_response(self.caller)
    }
}
