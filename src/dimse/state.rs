//! The upper layer's state machine: thirteen states, nineteen events, and what is to be done (PS3.8 section 9.2;
//! DIM-015). Pure.

/// A state of the upper layer (PS3.8 tables 9-1 to 9-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Idle: no transport connection.
    Sta1 = 1,
    /// Connected; waiting for A-ASSOCIATE-RQ, ARTIM running.
    Sta2,
    /// Request received; waiting for our own answer.
    Sta3,
    /// We asked for a transport connection.
    Sta4,
    /// Request sent; waiting for A-ASSOCIATE-AC or -RJ.
    Sta5,
    /// Established: data transfer.
    Sta6,
    /// Release asked by us; waiting for A-RELEASE-RP.
    Sta7,
    /// Release asked by the peer; waiting for our own answer.
    Sta8,
    /// Release collision, requestor: waiting for our own answer.
    Sta9,
    /// Release collision, acceptor: waiting for A-RELEASE-RP.
    Sta10,
    /// Release collision, requestor: waiting for A-RELEASE-RP.
    Sta11,
    /// Release collision, acceptor: waiting for our own answer.
    Sta12,
    /// Waiting for the peer to close the transport connection, ARTIM running.
    Sta13,
}

/// An event of table 9-10, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Event {
    /// Evt1: we ask for an association.
    AssociateRequest = 1,
    /// Evt2: the transport connection that we asked for stands.
    Connected,
    /// Evt3: A-ASSOCIATE-AC received.
    AcceptPdu,
    /// Evt4: A-ASSOCIATE-RJ received.
    RejectPdu,
    /// Evt5: a transport connection came in.
    Incoming,
    /// Evt6: A-ASSOCIATE-RQ received.
    RequestPdu,
    /// Evt7: we accept.
    Accept,
    /// Evt8: we reject.
    Reject,
    /// Evt9: we send data.
    Data,
    /// Evt10: P-DATA-TF received.
    DataPdu,
    /// Evt11: we ask for release.
    Release,
    /// Evt12: A-RELEASE-RQ received.
    ReleaseRequestPdu,
    /// Evt13: A-RELEASE-RP received.
    ReleaseReplyPdu,
    /// Evt14: we answer a release.
    ReleaseAnswer,
    /// Evt15: we abort.
    Abort,
    /// Evt16: A-ABORT received.
    AbortPdu,
    /// Evt17: the transport connection was closed.
    Closed,
    /// Evt18: ARTIM expired.
    ArtimExpired,
    /// Evt19: a PDU of unknown type, or one that is not well formed.
    InvalidPdu,
}

/// An action of tables 9-6 to 9-9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ask for a transport connection.
    Ae1,
    /// Send A-ASSOCIATE-RQ.
    Ae2,
    /// Tell the user that the association was accepted.
    Ae3,
    /// Tell the user that it was rejected; close.
    Ae4,
    /// Take the connection; start ARTIM.
    Ae5,
    /// Stop ARTIM; hand the request to the user, or send A-ASSOCIATE-RJ and start ARTIM.
    Ae6,
    /// Send A-ASSOCIATE-AC.
    Ae7,
    /// Send A-ASSOCIATE-RJ; start ARTIM.
    Ae8,
    /// Send P-DATA-TF.
    Dt1,
    /// Hand the data to the user.
    Dt2,
    /// Send A-RELEASE-RQ.
    Ar1,
    /// Tell the user that the peer asks for release.
    Ar2,
    /// Tell the user that the association is released; close.
    Ar3,
    /// Send A-RELEASE-RP; start ARTIM.
    Ar4,
    /// Stop ARTIM.
    Ar5,
    /// Hand the data to the user although a release is under way.
    Ar6,
    /// Send P-DATA-TF although a release is under way.
    Ar7,
    /// Release collision: tell the user; who requested the association answers first.
    Ar8,
    /// Send A-RELEASE-RP (requestor, after a collision).
    Ar9,
    /// Tell the user that the association is released (acceptor, after a collision).
    Ar10,
    /// Send A-ABORT (service user); start ARTIM.
    Aa1,
    /// Stop ARTIM; close.
    Aa2,
    /// Tell the user of the peer's abort; close.
    Aa3,
    /// Tell the user that the connection is gone.
    Aa4,
    /// Stop ARTIM (the connection is gone).
    Aa5,
    /// Ignore the PDU.
    Aa6,
    /// Send A-ABORT.
    Aa7,
    /// Send A-ABORT (service provider); tell the user; start ARTIM.
    Aa8,
}

/// On which side of the association we are; it decides a release collision (AR-8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We asked for the association.
    Requestor,
    /// We were asked.
    Acceptor,
}

impl Event {
    /// The event that the arrival of a PDU of this type is (PS3.8 section 9.3.1).
    pub const fn of_pdu(kind: u8) -> Self {
        match kind {
            0x01 => Self::RequestPdu,
            0x02 => Self::AcceptPdu,
            0x03 => Self::RejectPdu,
            0x04 => Self::DataPdu,
            0x05 => Self::ReleaseRequestPdu,
            0x06 => Self::ReleaseReplyPdu,
            0x07 => Self::AbortPdu,
            _ => Self::InvalidPdu,
        }
    }
}

/// Table 9-10: what is to be done when `event` happens in `state`, and the state afterwards; `None` where the table is
/// blank.
///
/// AE-6 may also end in [`State::Sta13`], by way of [`Event::Reject`].
pub const fn transition(state: State, event: Event, role: Role) -> Option<(Action, State)> {
    use Action::*;
    use Event as E;
    use State::*;
    Some(match (event, state) {
        // The events of a life without faults.
        (E::AssociateRequest, Sta1) => (Ae1, Sta4),
        (E::Connected, Sta4) => (Ae2, Sta5),
        (E::AcceptPdu, Sta5) => (Ae3, Sta6),
        (E::RejectPdu, Sta5) => (Ae4, Sta1),
        (E::Incoming, Sta1) => (Ae5, Sta2),
        (E::RequestPdu, Sta2) => (Ae6, Sta3),
        (E::Accept, Sta3) => (Ae7, Sta6),
        (E::Reject, Sta3) => (Ae8, Sta13),
        (E::Data, Sta6) => (Dt1, Sta6),
        (E::Data, Sta8) => (Ar7, Sta8),
        (E::DataPdu, Sta6) => (Dt2, Sta6),
        (E::DataPdu, Sta7) => (Ar6, Sta7),
        (E::Release, Sta6) => (Ar1, Sta7),
        (E::ReleaseRequestPdu, Sta6) => (Ar2, Sta8),
        (E::ReleaseRequestPdu, Sta7) => match role {
            Role::Requestor => (Ar8, Sta9),
            Role::Acceptor => (Ar8, Sta10),
        },
        (E::ReleaseReplyPdu, Sta7 | Sta11) => (Ar3, Sta1),
        (E::ReleaseReplyPdu, Sta10) => (Ar10, Sta12),
        (E::ReleaseAnswer, Sta8 | Sta12) => (Ar4, Sta13),
        (E::ReleaseAnswer, Sta9) => (Ar9, Sta11),
        // Endings.
        (E::Abort, Sta4) => (Aa2, Sta1),
        (E::AbortPdu, Sta2 | Sta13) => (Aa2, Sta1),
        (E::Closed, Sta2) => (Aa5, Sta1),
        (E::Closed, Sta13) => (Ar5, Sta1),
        (E::ArtimExpired, Sta2 | Sta13) => (Aa2, Sta1),
        // Blank cells: what cannot happen in that state.
        (_, Sta1) => return None,
        (E::Abort, Sta2 | Sta13) => return None,
        (E::Closed, _) => (Aa4, Sta1),
        (_, Sta4) => return None,
        (E::AbortPdu, _) => (Aa3, Sta1),
        (E::Abort, _) => (Aa1, Sta13),
        // Any other PDU is one that this state does not expect.
        (E::RequestPdu | E::InvalidPdu, Sta13) => (Aa7, Sta13),
        (E::AcceptPdu | E::RejectPdu | E::DataPdu | E::ReleaseRequestPdu | E::ReleaseReplyPdu, Sta13) => (Aa6, Sta13),
        (
            E::AcceptPdu
            | E::RejectPdu
            | E::RequestPdu
            | E::DataPdu
            | E::ReleaseRequestPdu
            | E::ReleaseReplyPdu
            | E::InvalidPdu,
            _,
        ) => match state {
            Sta2 => (Aa1, Sta13),
            _ => (Aa8, Sta13),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
