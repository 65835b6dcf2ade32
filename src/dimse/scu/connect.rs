//! From a name to an association: resolve, connect, shake hands, negotiate; each under its timer (DIM-021).

use super::{Scu, ScuError, Target};
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dimse::association::{Association, Lost};
use crate::dimse::channel::{Channel, Patience, Signal};
use crate::dimse::pdata::{Violation, longest_fragment};
use crate::dimse::pdu;
use crate::dimse::presentation::{self, Offer, Terms};
use crate::dimse::state::Action;
use crate::dimse::timers::Phase;
use crate::dimse::wire::{self, Wire};
use dicom_ul::pdu::{AssociationRQ, UserVariableItem};
use std::net::SocketAddr;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Asks for an association with these contexts, at most 128; they get the IDs 1, 3, 5 and so on.
///
/// Success says nothing of the contexts: look at [`Scu::accepted`].
pub async fn connect(target: &Target, offers: &[Offer]) -> Result<Scu, ScuError> {
    call(target, request(target, offers)?).await
}

async fn call(target: &Target, request: AssociationRQ) -> Result<Scu, ScuError> {
    let socket = tcp(target).await?;
    wire::tune(&socket);
    let wire = match &target.tls {
        None => Wire::Tcp(socket),
        Some((config, name)) => {
            let handshake = TlsConnector::from(config.clone()).connect(name.clone(), socket);
            let failed = |why: String, error| ScuError::Tls { address: target.address.clone(), why, error };
            match timeout(target.timers.tls_handshake, handshake).await {
                Ok(Ok(stream)) => Wire::Tls(Box::new(stream.into())),
                Ok(Err(error)) => {
                    let cause = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()).cloned();
                    return Err(failed(error.to_string(), cause));
                }
                Err(_) => return Err(Lost::Timeout(Phase::TlsHandshake).into()),
            }
        }
    };
    over(wire, target, request).await
}

/// An association for queries of one class, the ID of its context, and whether it goes in Explicit VR Little Endian; else it goes in
/// Implicit. With `relational`, relational queries are proposed; [`Scu::is_relational`] says what came of it (PS3.4 section C.5.1.1).
/// Errors: [`ScuError::ContextNotAccepted`], after the association was released, and those of [`connect`].
pub async fn connect_for_queries(target: &Target, class: &str, relational: bool) -> Result<(Scu, u8, bool), ScuError> {
    let transfer_syntaxes = vec![EXPLICIT_VR_LE.to_owned(), IMPLICIT_VR_LE.to_owned()];
    let mut request = request(target, &[Offer { abstract_syntax: class.to_owned(), transfer_syntaxes }])?;
    if relational {
        let item = UserVariableItem::SopClassExtendedNegotiationSubItem(class.to_owned(), vec![1]);
        request.user_variables.push(item);
    }
    let scu = call(target, request).await?;
    let accepted = scu.accepted().next().map(|context| (context.id, context.transfer_syntax == EXPLICIT_VR_LE));
    match accepted {
        Some((context, explicit)) => Ok((scu, context, explicit)),
        None => {
            // It is of no use, however it ends.
            let _ = scu.release().await;
            Err(ScuError::ContextNotAccepted)
        }
    }
}

/// As [`connect`], over a wire that stands already.
#[cfg(test)]
pub(in crate::dimse) async fn connect_over(wire: Wire, target: &Target, offers: &[Offer]) -> Result<Scu, ScuError> {
    over(wire, target, request(target, offers)?).await
}

fn terms(target: &Target) -> Terms {
    Terms {
        max_pdu_length: target.max_pdu_length,
        implementation_class: target.implementation_class.clone(),
        implementation_version: target.implementation_version.clone(),
    }
}

fn request(target: &Target, offers: &[Offer]) -> Result<AssociationRQ, ScuError> {
    let (calling, called) = (target.calling.as_str(), target.called.as_str());
    presentation::request(calling, called, &terms(target), offers, target.identity.as_ref()).ok_or(ScuError::Offers)
}

/// Name resolution and connect share one timer; the addresses of the name are tried in turn.
async fn tcp(target: &Target) -> Result<TcpStream, ScuError> {
    let deadline = Instant::now() + target.timers.connect;
    let late = || Lost::Timeout(Phase::Connect);
    let found = timeout_at(deadline, lookup_host(&target.address)).await.map_err(|_| late())?;
    let found: Vec<SocketAddr> = match found {
        Ok(found) => found.take(MAX_ADDRESSES).collect(),
        Err(error) => return Err(ScuError::Dns { address: target.address.clone(), why: error.to_string() }),
    };
    dial(&target.address, &found, deadline).await
}

/// Tries addresses in turn. Each has an even share of the time that is left, so that one that does not answer at all leaves some for the
/// others.
async fn dial(address: &str, candidates: &[SocketAddr], deadline: Instant) -> Result<TcpStream, ScuError> {
    let refused = |why: String| ScuError::Connect { address: address.to_owned(), why };
    let mut failed = refused("the name has no address".to_owned());
    for (candidate, to_go) in candidates.iter().zip((1..=candidates.len() as u32).rev()) {
        let share = deadline.saturating_duration_since(Instant::now()) / to_go;
        match timeout(share, TcpStream::connect(candidate)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => failed = refused(error.to_string()),
            Err(_) => failed = Lost::Timeout(Phase::Connect).into(),
        }
    }
    Err(failed)
}

/// A-ASSOCIATE-RQ and its answer, under the negotiation timer.
async fn over(wire: Wire, target: &Target, request: AssociationRQ) -> Result<Scu, ScuError> {
    let mut channel = Channel::requestor(wire, target.max_pdu_length, target.timers.clone());
    let answered = ask(&mut channel, target, &request).await;
    let peer = match answered {
        Ok(peer) => peer,
        Err(ScuError::Lost(Lost::Tls(error))) => {
            let (address, why) = (target.address.clone(), error.to_string());
            return Err(ScuError::Tls { address, why, error: Some(error) });
        }
        Err(error) => {
            channel.send_owed_abort(target.timers.release).await;
            return Err(error);
        }
    };
    let (contexts, maximum) = (peer.contexts.clone(), peer.max_pdu_length);
    Ok(Scu::new(Association::new(channel, contexts, maximum, None), peer))
}

async fn ask(
    channel: &mut Channel,
    target: &Target,
    request: &AssociationRQ,
) -> Result<presentation::Accepted, ScuError> {
    let mut patience = Patience::until(target.timers.negotiation, Phase::Negotiation);
    let bytes = pdu::write_request(request.clone()).map_err(|_| ScuError::Offers)?;
    channel.send_pdu(&bytes, &mut patience).await?;
    let peer = match channel.next(&mut patience).await? {
        Signal::Pdu(Action::Ae3, body) => {
            let accept = pdu::read_accept(&body).map_err(|v| channel.violate(v))?;
            presentation::accepted(request, &accept)
        }
        Signal::Pdu(Action::Ae4, body) => {
            let (result, by, reason) = pdu::read_reject(&body);
            return Err(ScuError::Rejected { result, by, reason });
        }
        _ => return Err(channel.violate(Violation::Dimse("an answer that is none")).into()),
    };
    if longest_fragment(peer.max_pdu_length, u32::MAX).is_none() {
        return Err(channel.violate(Violation::MalformedPdu("a maximum length that leaves no room for data")).into());
    }
    if target.identity.as_ref().is_some_and(|identity| identity.response_requested) && !peer.identity_answered {
        channel.give_up();
        return Err(ScuError::IdentityIgnored);
    }
    Ok(peer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::net::{TcpListener, TcpSocket};

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        // A queue of connections that nobody takes: once it is full, the system drops what comes.
        let silent = TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(1).unwrap();
        let first = silent.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(socket) = timeout(Duration::from_millis(200), TcpStream::connect(first)).await {
            queued.push(socket.unwrap());
            assert!(queued.len() < 100);
        }
        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let both = [first, live.local_addr().unwrap()];
        let deadline = Instant::now() + Duration::from_secs(2);
        assert_eq!(dial("node:104", &both, deadline).await.unwrap().peer_addr().unwrap(), both[1]);
        let deadline = Instant::now() + Duration::from_millis(200);
        let late = ScuError::Lost(Lost::Timeout(Phase::Connect));
        assert_eq!(dial("node:104", &both[..1], deadline).await.unwrap_err(), late);
    }
}
