//! Whole DIMSE messages on an established association (PS3.7 section 6, PS3.8 annex E).

mod outgoing;

use super::channel::{Buffers, Channel, Patience, SMALL_BYTES, Signal};
use super::message::CommandSet;
use super::message::assembly::{Assembly, Part};
use super::pdata::{Violation, longest_fragment};
use super::pdu;
use super::presentation::Contexts;
use super::state::{Action, Event, State};
use super::timers::{Phase, Timers};
use std::io;
use std::ops::Range;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How an association ended before its time.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Lost {
    /// The peer sent A-ABORT.
    #[error("the peer aborted the association (source {by}, reason {reason})")]
    Aborted {
        /// 0 its service user, 2 its service provider (PS3.8 section 9.3.8).
        by: u8,
        /// The reason; of meaning only from a service provider.
        reason: u8,
    },
    /// The peer closed the connection without releasing the association.
    #[error("the peer closed the connection without releasing the association")]
    Closed,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(String),
    /// TLS failed after the handshake, for us or, by its alert, for the peer: with TLS 1.3 a server refuses our
    /// certificate here.
    #[error("the TLS connection failed: {0}")]
    Tls(rustls::Error),
    /// The peer let a timer run out.
    #[error("the peer took too long: {0}")]
    Timeout(Phase),
    /// The peer breached the protocol; it was sent A-ABORT.
    #[error("the peer breached the protocol: {0}")]
    Violation(Violation),
    /// We ended it, because we are stopping or because our own data could not be read.
    #[error("we ended the association")]
    Stopped,
}

impl Lost {
    /// A failed read or write; an end without a TLS close is a close.
    pub(super) fn of_io(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::Tls(tls.clone()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Io(error.to_string()),
        }
    }
}

/// What the peer sent next.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A command set on this context; its data set, if it has one, comes with [`Association::chunk`].
    Message(u8, CommandSet),
    /// A-RELEASE-RQ.
    Release,
}

/// One end of an established association.
#[derive(Debug)]
pub(super) struct Association {
    channel: Channel,
    contexts: Contexts,
    assembly: Assembly,
    /// The longest fragment that we send.
    fragment: usize,
    /// Where large receive buffers come from, if from anywhere.
    buffers: Option<Buffers>,
    /// Bytes of the present data set so far.
    streamed: u64,
    /// A command set that came while we were sending.
    early: Option<(u8, CommandSet)>,
}

/// The longest fragment that is sent to a peer without a limit of its own.
const OUR_LONGEST_FRAGMENT: u32 = 256 * 1024;

impl Association {
    /// `maximum` is the peer's maximum length; one that leaves no room was refused in negotiation.
    pub(super) fn new(channel: Channel, contexts: Contexts, maximum: u32, buffers: Option<Buffers>) -> Self {
        let fragment = longest_fragment(maximum, OUR_LONGEST_FRAGMENT).unwrap_or(2) as usize;
        Self { channel, contexts, assembly: Assembly::default(), fragment, buffers, streamed: 0, early: None }
    }

    pub(super) fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    pub(super) fn timers(&self) -> &Timers {
        self.channel.timers()
    }

    /// Bytes of the present or last data set.
    pub(super) fn streamed(&self) -> u64 {
        self.streamed
    }

    /// Waits for the next command set, or a release.
    pub(super) async fn next_message(&mut self, patience: &mut Patience) -> Result<Incoming, Lost> {
        if let Some((context, command)) = self.early.take() {
            return Ok(Incoming::Message(context, command));
        }
        self.channel.shrink();
        self.streamed = 0;
        if self.channel.has_input() {
            patience.begin();
        }
        loop {
            match self.channel.next(patience).await? {
                Signal::Piece(piece) => match self.part(&piece)? {
                    Part::Command(context, command) => return Ok(Incoming::Message(context, command)),
                    Part::Partial => {}
                    Part::Data { .. } => {
                        return Err(self.channel.violate(Violation::OutOfPlace("a data set that was not asked for")));
                    }
                },
                Signal::Pdu(Action::Ar2, _) if self.assembly.between_messages() => return Ok(Incoming::Release),
                Signal::Pdu(..) => return Err(self.early_release()),
            }
        }
    }

    fn part(&mut self, piece: &super::pdata::Piece) -> Result<Part, Lost> {
        let bytes = self.channel.bytes(piece.bytes.clone());
        let part = self.assembly.accept(piece, bytes, |id| self.contexts.contains(id));
        part.map_err(|violation| self.channel.violate(violation))
    }

    /// A release within a message: the peer ends a data set early (DIM-031).
    fn early_release(&mut self) -> Lost {
        self.channel.violate(Violation::UnexpectedPdu { kind: pdu::A_RELEASE_RQ, state: State::Sta6 })
    }

    /// The next bytes of the data set, where [`Self::bytes`] shows them; `None` when it is whole.
    pub(super) async fn chunk(&mut self, patience: &mut Patience) -> Result<Option<Range<usize>>, Lost> {
        while !self.assembly.between_messages() {
            // A data set that the small buffer did not hold is worth a large one.
            if self.streamed >= (SMALL_BYTES / 2) as u64
                && let Some(buffers) = &self.buffers
            {
                self.channel.enlarge(buffers);
            }
            match self.channel.next(patience).await? {
                Signal::Piece(piece) => {
                    self.part(&piece)?;
                    if !piece.bytes.is_empty() {
                        self.streamed += piece.bytes.len() as u64;
                        return Ok(Some(piece.bytes));
                    }
                }
                Signal::Pdu(..) => return Err(self.early_release()),
            }
        }
        Ok(None)
    }

    /// The bytes of the last [`Self::chunk`].
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.channel.bytes(range)
    }

    /// Reads what is left of the data set and forgets it; gives up after `most` bytes.
    pub(super) async fn discard(&mut self, patience: &mut Patience, most: u64) -> Result<(), Lost> {
        let before = self.streamed;
        while self.chunk(patience).await?.is_some() {
            if self.streamed - before > most {
                return Err(self.give_up());
            }
        }
        Ok(())
    }

    /// The message is well formed, but DIMSE does not allow it here: an A-ABORT is owed.
    pub(super) fn violate(&mut self, why: &'static str) -> Lost {
        self.channel.violate(Violation::Dimse(why))
    }

    /// We give up: an A-ABORT is owed.
    pub(super) fn give_up(&mut self) -> Lost {
        self.channel.give_up();
        Lost::Stopped
    }

    /// Sends the A-ABORT that is owed, and does not wait for the peer to close.
    pub(super) async fn abort_now(&mut self) {
        let within = Duration::from_secs(1).min(self.timers().release);
        self.channel.send_owed_abort(within).await;
    }

    /// Answers the peer's A-RELEASE-RQ (AR-4).
    pub(super) async fn answer_release(&mut self) -> Result<(), Lost> {
        let violation = Violation::UnexpectedPdu { kind: pdu::A_RELEASE_RP, state: State::Sta6 };
        let bytes = pdu::write_release_reply().map_err(|v| self.channel.violate(v))?;
        let mut patience = Patience::until(self.timers().release, Phase::Release);
        self.channel.send_pdu(&bytes, &mut patience).await?;
        self.channel.take(Event::ReleaseAnswer, violation).map(|_| ())
    }

    /// Bytes that the wire has taken from us, in all.
    pub(super) fn sent(&self) -> u64 {
        self.channel.sent()
    }

    /// Asks for release and waits for the answer; a release that the peer asks for at the same time is answered first
    /// (AR-1, AR-8, AR-9, AR-3).
    pub(super) async fn release(&mut self) -> Result<(), Lost> {
        let mut patience = Patience::until(self.timers().release, Phase::Release);
        let end = Instant::now() + self.timers().release;
        let unexpected = || Violation::Dimse("a release in a state that has none");
        self.channel.take(Event::Release, unexpected())?;
        let bytes = pdu::write_release_request().map_err(|v| self.channel.violate(v))?;
        self.channel.send_pdu(&bytes, &mut patience).await?;
        loop {
            // By the clock, too, as one who never stops talking is never waited for: its data are passed over (AR-6).
            let Ok(signal) = timeout_at(end, self.channel.next(&mut patience)).await else {
                self.channel.give_up();
                return Err(Lost::Timeout(Phase::Release));
            };
            match signal? {
                Signal::Pdu(Action::Ar3, _) => return Ok(()),
                Signal::Pdu(Action::Ar8, _) => {
                    let bytes = pdu::write_release_reply().map_err(|v| self.channel.violate(v))?;
                    self.channel.send_pdu(&bytes, &mut patience).await?;
                    self.channel.take(Event::ReleaseAnswer, unexpected())?;
                }
                _ => {}
            }
        }
    }

    /// Ends the connection as its state demands; see [`Channel::conclude`].
    pub(super) async fn conclude(&mut self) {
        self.channel.conclude().await;
    }
}
