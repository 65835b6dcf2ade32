//! PDUs on a wire: one receive buffer, one timer at a time, the state table, A-ABORT (PS3.8 section 9).

mod inbox;
mod patience;
mod sending;

pub(super) use inbox::{Buffers, SMALL_BYTES};
pub(super) use patience::Patience;

use super::association::Lost;
use super::pdata::{Machine, PDU_HEADER, Piece, Step, Violation};
use super::pdu;
use super::state::{Action, Event, Role, State, transition};
use super::timers::{Phase, Timers};
use super::wire::Wire;
use inbox::Inbox;
use std::ops::Range;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

/// What came in, where the state table says that it may.
#[derive(Debug)]
pub(super) enum Signal {
    /// Bytes of a fragment; [`Channel::bytes`] shows them until the next call.
    Piece(Piece),
    /// Another PDU, and what the table says of it.
    Pdu(Action, Vec<u8>),
}

/// One end of an association, below its messages.
#[derive(Debug)]
pub(super) struct Channel {
    wire: Wire,
    inbox: Inbox,
    machine: Machine,
    state: State,
    role: Role,
    timers: Timers,
    /// The codes of an A-ABORT that is still to be sent.
    doom: Option<(u8, u8)>,
    /// Bytes of a PDU other than P-DATA-TF that are still to come.
    unread: u64,
    /// Such a PDU whose header was read: its kind, its length, and as much of its body as has come.
    begun: Option<(u8, u32, Vec<u8>)>,
    /// Bytes that the wire has taken.
    sent: u64,
    /// The wire has taken a part of what was to be sent, and perhaps of a PDU.
    torn: bool,
}

impl Channel {
    /// The side that was connected to: waits for A-ASSOCIATE-RQ.
    pub(super) fn acceptor(wire: Wire, limit: u32, timers: Timers) -> Self {
        Self::new(wire, limit, timers, Role::Acceptor, State::Sta2)
    }

    /// The side that connected: sends A-ASSOCIATE-RQ next.
    pub(super) fn requestor(wire: Wire, limit: u32, timers: Timers) -> Self {
        Self::new(wire, limit, timers, Role::Requestor, State::Sta5)
    }

    fn new(wire: Wire, limit: u32, timers: Timers, role: Role, state: State) -> Self {
        Self {
            wire,
            inbox: Inbox::default(),
            machine: Machine::new(limit),
            state,
            role,
            timers,
            doom: None,
            unread: 0,
            begun: None,
            sent: 0,
            torn: false,
        }
    }

    pub(super) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Takes a large receive buffer, if one is to be had.
    pub(super) fn enlarge(&mut self, buffers: &Buffers) {
        self.inbox.enlarge(buffers);
    }

    /// Bytes that the wire has taken from us, in all.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Something was received and is not consumed yet.
    pub(super) fn has_input(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether we asked for the association.
    pub(super) fn is_requestor(&self) -> bool {
        self.role == Role::Requestor
    }

    /// Gives a large receive buffer back.
    pub(super) fn shrink(&mut self) {
        self.inbox.shrink();
    }

    /// The bytes of the piece that was signalled last.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.inbox.at(range)
    }

    /// Waits for the next thing that the state table allows; everything else ends the association.
    ///
    /// A piece's range is one for [`Self::bytes`]. If the future is dropped before it is done, nothing is lost: the next
    /// call goes on where it stopped.
    pub(super) async fn next(&mut self, patience: &mut Patience) -> Result<Signal, Lost> {
        loop {
            if self.begun.is_some() {
                return self.whole(patience).await;
            }
            let origin = self.inbox.origin();
            let (used, step) = self.machine.step(self.inbox.filled());
            self.inbox.consume(used);
            match step {
                Err(violation) => return Err(self.refuse(Event::InvalidPdu, violation)),
                Ok(Step::More) => self.fill(patience).await?,
                Ok(Step::Piece(mut piece)) => {
                    let unexpected = Violation::UnexpectedPdu { kind: super::pdata::P_DATA_TF, state: self.state };
                    if let Action::Dt2 = self.take(Event::DataPdu, unexpected)? {
                        piece.bytes = origin + piece.bytes.start..origin + piece.bytes.end;
                        return Ok(Signal::Piece(piece));
                    }
                }
                Ok(Step::Pdu { kind, length }) => {
                    self.unread = u64::from(length);
                    self.expected(kind, length)?;
                    self.begun = Some((kind, length, Vec::new()));
                }
            }
        }
    }

    /// Whether an association PDU may come now, and so long; asked before it is read.
    fn expected(&mut self, kind: u8, length: u32) -> Result<(), Lost> {
        let event = Event::of_pdu(kind);
        if let Some((Action::Aa1 | Action::Aa8, _)) | None = transition(self.state, event, self.role) {
            return Err(self.refuse(event, self.unexpected(kind)));
        }
        let limit = pdu::longest_body(kind);
        if length > limit {
            return Err(self.refuse(Event::InvalidPdu, Violation::PduTooLong { length, limit }));
        }
        Ok(())
    }

    fn unexpected(&self, kind: u8) -> Violation {
        match Event::of_pdu(kind) {
            Event::InvalidPdu => Violation::UnrecognisedPdu { kind },
            _ => Violation::UnexpectedPdu { kind, state: self.state },
        }
    }

    /// An association PDU whose header was read.
    async fn whole(&mut self, patience: &mut Patience) -> Result<Signal, Lost> {
        while !self.gather() {
            self.fill(patience).await?;
        }
        let (kind, _, body) = self.begun.take().unwrap_or_default();
        let event = Event::of_pdu(kind);
        let unexpected = self.unexpected(kind);
        if event == Event::AbortPdu {
            self.state = State::Sta1;
            let (by, reason) = pdu::read_abort(&body);
            return Err(Lost::Aborted { by, reason });
        }
        Ok(Signal::Pdu(self.take(event, unexpected)?, body))
    }

    /// Takes what has come of the body; tells whether it is whole. Memory grows with what arrives, not with what was announced.
    fn gather(&mut self) -> bool {
        let Some((_, length, body)) = &mut self.begun else { return true };
        let filled = self.inbox.filled();
        let take = filled.len().min(*length as usize - body.len());
        body.extend_from_slice(filled.get(..take).unwrap_or_default());
        let whole = body.len() == *length as usize;
        self.inbox.consume(take);
        self.unread -= take as u64;
        whole
    }

    /// Reads once, under the timer.
    async fn fill(&mut self, patience: &mut Patience) -> Result<(), Lost> {
        let began = Instant::now();
        let read = timeout(patience.left(), self.wire.read(self.inbox.space())).await;
        match read {
            Ok(Ok(0)) => Err(self.closed(Lost::Closed)),
            Ok(Ok(bytes)) => {
                self.inbox.advance(bytes);
                patience.spend(began.elapsed(), bytes as u64);
                Ok(())
            }
            Ok(Err(error)) => Err(self.closed(Lost::of_io(&error))),
            Err(_) => Err(self.expire(patience.phase())),
        }
    }

    /// Applies the table to an event that it allows; a violation where it does not.
    pub(super) fn take(&mut self, event: Event, otherwise: Violation) -> Result<Action, Lost> {
        match transition(self.state, event, self.role) {
            Some((Action::Aa1 | Action::Aa8, _)) | None => Err(self.refuse(event, otherwise)),
            Some((action, next)) => {
                self.state = next;
                Ok(action)
            }
        }
    }

    /// The peer breached the protocol: an A-ABORT is owed, as AA-1 (service user) or AA-8 (service provider) says.
    fn refuse(&mut self, event: Event, violation: Violation) -> Lost {
        let codes = match transition(self.state, event, self.role) {
            Some((Action::Aa1, _)) => (0, 0),
            _ => violation.abort_codes(),
        };
        self.doom.get_or_insert(codes);
        Lost::Violation(violation)
    }

    /// The peer breached the protocol above the PDUs: an A-ABORT with the violation's codes is owed.
    pub(super) fn violate(&mut self, violation: Violation) -> Lost {
        self.doom.get_or_insert(violation.abort_codes());
        Lost::Violation(violation)
    }

    /// We give up: an A-ABORT by the service user is owed (AA-1).
    pub(super) fn give_up(&mut self) {
        self.doom.get_or_insert((0, 0));
    }

    /// A timer ran out: ARTIM closes (AA-2), any other timer is ours and aborts (AA-1).
    fn expire(&mut self, phase: Phase) -> Lost {
        match transition(self.state, Event::ArtimExpired, self.role) {
            Some((_, next)) => self.state = next,
            None => self.give_up(),
        }
        Lost::Timeout(phase)
    }

    fn closed(&mut self, lost: Lost) -> Lost {
        self.state = State::Sta1;
        lost
    }

    /// Ends the connection as the state demands: sends the A-ABORT that is owed, waits in Sta13 for the peer to close
    /// under ARTIM, closes.
    ///
    /// Closing while the peer still sends would reset the connection, and our last PDU might never be read (PS3.8
    /// section 9.1.4; DIM-014).
    pub(super) async fn conclude(&mut self) {
        let deadline = Instant::now() + self.timers.artim;
        self.send_owed_abort(self.timers.artim).await;
        if self.state == State::Sta13 {
            self.await_close(deadline).await;
        }
        let _ = timeout(Duration::from_secs(1), self.wire.shutdown()).await;
        self.state = State::Sta1;
    }

    /// Sends the A-ABORT that is owed, if any, and enters Sta13. Within a PDU the peer would take it for the rest of that, so that the
    /// connection is closed instead (PS3.8 section 9.3.1; DIM-053).
    pub(super) async fn send_owed_abort(&mut self, within: Duration) {
        let Some(codes) = self.doom.take() else { return };
        if self.state == State::Sta1 || self.state == State::Sta13 {
            return;
        }
        if self.torn {
            self.state = State::Sta1;
            let _ = timeout(within, self.wire.shutdown()).await;
            return;
        }
        self.state = State::Sta13;
        if let Ok(bytes) = pdu::write_abort(codes) {
            let _ = timeout(within, self.write_plain(&bytes)).await;
        }
    }

    async fn write_plain(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.wire.write_all(bytes).await?;
        self.wire.flush().await
    }

    /// Sta13: what still comes is ignored, but the peer's A-ABORT or close ends the wait, and so does ARTIM.
    async fn await_close(&mut self, deadline: Instant) {
        let mut skip = self.machine.left() + self.unread;
        let mut answered = false;
        loop {
            let filled = self.inbox.filled();
            let drop = (filled.len() as u64).min(skip) as usize;
            self.inbox.consume(drop);
            skip -= drop as u64;
            let header = self.inbox.filled().first_chunk::<PDU_HEADER>().copied();
            if let (0, Some([kind, _, a, b, c, d])) = (skip, header) {
                self.inbox.consume(PDU_HEADER);
                skip = u64::from(u32::from_be_bytes([a, b, c, d]));
                match transition(State::Sta13, Event::of_pdu(kind), self.role) {
                    Some((Action::Aa2, _)) => return,
                    // AA-7, but once: a stream out of step is full of such "PDUs".
                    Some((Action::Aa7, _)) if !answered => {
                        answered = true;
                        if let Ok(bytes) = pdu::write_abort((2, 2)) {
                            let _ = timeout(deadline - Instant::now(), self.write_plain(&bytes)).await;
                        }
                    }
                    _ => {}
                }
                continue;
            }
            // A large buffer is of use to others.
            self.inbox.shrink();
            let left = deadline.saturating_duration_since(Instant::now());
            // Who never stops sending is never waited for, so that no wait for it would run out.
            if left.is_zero() || self.fill(&mut Patience::until(left, Phase::Release)).await.is_err() {
                return;
            }
        }
    }
}
