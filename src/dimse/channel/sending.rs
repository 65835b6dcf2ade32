//! Writing PDUs, with an eye on the peer: while it takes our bytes slowly it may have aborted long ago.

use super::{Channel, Patience, Signal};
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

impl Channel {
    /// Writes all of `bufs`. A write error is given as the peer's abort, if that is what lies behind it.
    pub(in crate::dimse) async fn send(
        &mut self,
        mut bufs: &mut [IoSlice<'_>],
        patience: &mut Patience,
    ) -> Result<(), Lost> {
        // Skips empty slices, which would make a write of nothing.
        IoSlice::advance_slices(&mut bufs, 0);
        while !bufs.is_empty() {
            let began = Instant::now();
            let wrote = timeout(patience.left(), poll_fn(|cx| self.poll_send(cx, bufs))).await;
            match wrote {
                Ok(Ok(bytes)) => {
                    IoSlice::advance_slices(&mut bufs, bytes);
                    self.sent += bytes as u64;
                    self.torn = !bufs.is_empty();
                    patience.spend(began.elapsed(), bytes as u64);
                }
                Ok(Err(lost)) => return Err(self.last_words(lost).await),
                Err(_) => return Err(self.expire(patience.phase())),
            }
        }
        Ok(())
    }

    /// Pushes out what the wire may have kept back; TLS does.
    pub(in crate::dimse) async fn flush(&mut self, patience: &mut Patience) -> Result<(), Lost> {
        match timeout(patience.left(), self.wire.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let lost = Lost::of_io(&error);
                Err(self.last_words(lost).await)
            }
            Err(_) => Err(self.expire(patience.phase())),
        }
    }

    /// Writes one whole PDU and flushes.
    pub(in crate::dimse) async fn send_pdu(&mut self, bytes: &[u8], patience: &mut Patience) -> Result<(), Lost> {
        self.send(&mut [IoSlice::new(bytes)], patience).await?;
        self.flush(patience).await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<Result<usize, Lost>> {
        // One look at most: what comes that is no abort stays in the buffer for the reader.
        if self.role == Role::Requestor && self.inbox.is_empty() && self.machine.between_pdus() {
            let mut room = ReadBuf::new(self.inbox.space());
            if let Poll::Ready(read) = Pin::new(&mut self.wire).poll_read(cx, &mut room) {
                let bytes = room.filled().len();
                self.inbox.advance(bytes);
                match (read, self.inbox.filled().first()) {
                    (Err(error), _) => return Poll::Ready(Err(Lost::of_io(&error))),
                    (Ok(()), None | Some(&pdu::A_ABORT)) => return Poll::Ready(Err(Lost::Closed)),
                    (Ok(()), Some(_)) => {}
                }
            }
        }
        match Pin::new(&mut self.wire).poll_write_vectored(cx, bufs) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Lost::Closed)),
            Poll::Ready(Ok(bytes)) => Poll::Ready(Ok(bytes)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Lost::of_io(&error))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// After a failed write: did the peer say why? Its A-ABORT may still lie in the receive queue.
    async fn last_words(&mut self, lost: Lost) -> Lost {
        let mut patience = Patience::until(Duration::from_millis(250), Phase::Sending);
        loop {
            match self.next(&mut patience).await {
                Ok(Signal::Piece(_)) => {}
                Err(abort @ Lost::Aborted { .. }) => return abort,
                _ => {
                    self.doom = None;
                    return self.closed(lost);
                }
            }
        }
    }
}
