//! Writing PDUs, with an eye on the peer: while it takes our bytes slowly it may have aborted long ago.

use super::{Channel, Patience, Piece, Signal};
use crate::dimse::association::Lost;
use crate::dimse::pdu;
use crate::dimse::state::Role;
use crate::dimse::timers::Phase;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};

/// So long a peer that has said something while we send may leave our bytes lying: it may not mean to read on.
const DEAF: Duration = Duration::from_secs(10);

impl Channel {
    /// Writes all of `bufs`. A write error is given as the peer's abort, if that is what lies behind it; what it said before goes to
    /// `hear`.
    pub(in crate::dimse) async fn send(
        &mut self,
        mut bufs: &mut [IoSlice<'_>],
        patience: &mut Patience,
        hear: &mut (impl FnMut(&Piece, &[u8]) + Send),
    ) -> Result<(), Lost> {
        // Skips empty slices, which would make a write of nothing.
        IoSlice::advance_slices(&mut bufs, 0);
        while !bufs.is_empty() {
            let began = Instant::now();
            // What a requestor says meanwhile, a C-CANCEL-RQ, is no reason to hurry.
            let may_be_deaf = self.role == Role::Requestor && self.has_input();
            let left = if may_be_deaf { patience.left().min(DEAF) } else { patience.left() };
            let wrote = timeout(left, poll_fn(|cx| self.poll_send(cx, bufs))).await;
            match wrote {
                Ok(Ok(bytes)) => {
                    IoSlice::advance_slices(&mut bufs, bytes);
                    self.sent += bytes as u64;
                    self.torn = !bufs.is_empty() && (self.torn || bytes > 0);
                    patience.spend(began.elapsed(), bytes as u64);
                }
                Ok(Err(lost)) => return Err(self.last_words(lost, hear).await),
                Err(_) => return Err(self.expire(patience.phase())),
            }
        }
        Ok(())
    }

    /// Pushes out what the wire may have kept back; TLS does. `hear` is as for [`Self::send`].
    pub(in crate::dimse) async fn flush(
        &mut self,
        patience: &mut Patience,
        hear: &mut (impl FnMut(&Piece, &[u8]) + Send),
    ) -> Result<(), Lost> {
        match timeout(patience.left(), self.wire.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let lost = Lost::of_io(&error);
                Err(self.last_words(lost, hear).await)
            }
            Err(_) => Err(self.expire(patience.phase())),
        }
    }

    /// Writes one whole PDU and flushes.
    pub(in crate::dimse) async fn send_pdu(&mut self, bytes: &[u8], patience: &mut Patience) -> Result<(), Lost> {
        self.send(&mut [IoSlice::new(bytes)], patience, &mut |_, _| {}).await?;
        self.flush(patience, &mut |_, _| {}).await
    }

    /// Writes some bytes; none if the peer takes none now and has said something instead.
    fn poll_send(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<Result<usize, Lost>> {
        let mut heard = false;
        // One look at most: what comes that is no abort stays in the buffer for the reader.
        if self.role == Role::Requestor && self.inbox.is_empty() && self.machine.between_pdus() {
            let mut room = ReadBuf::new(self.inbox.space());
            if let Poll::Ready(read) = Pin::new(&mut self.wire).poll_read(cx, &mut room) {
                let bytes = room.filled().len();
                self.inbox.advance(bytes);
                match (read, self.inbox.filled().first()) {
                    (Err(error), _) => return Poll::Ready(Err(Lost::of_io(&error))),
                    (Ok(()), None | Some(&pdu::A_ABORT)) => return Poll::Ready(Err(Lost::Closed)),
                    (Ok(()), Some(_)) => heard = true,
                }
            }
        }
        match Pin::new(&mut self.wire).poll_write_vectored(cx, bufs) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Lost::Closed)),
            Poll::Ready(Ok(bytes)) => Poll::Ready(Ok(bytes)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Lost::of_io(&error))),
            Poll::Pending if heard => Poll::Ready(Ok(0)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// After a failed write: did the peer say why? Its answer and its A-ABORT may still lie in the receive queue.
    async fn last_words(&mut self, lost: Lost, hear: &mut (impl FnMut(&Piece, &[u8]) + Send)) -> Lost {
        let mut patience = Patience::until(Duration::from_millis(250), Phase::Sending);
        loop {
            match self.next(&mut patience).await {
                Ok(Signal::Piece(piece)) => hear(&piece, self.bytes(piece.bytes.clone())),
                Err(abort @ Lost::Aborted { .. }) => return abort,
                _ => {
                    self.doom = None;
                    return self.closed(lost);
                }
            }
        }
    }
}
