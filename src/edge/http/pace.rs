//! The least that the other side must move: who only trickles is cut off, in either direction (FLT-040).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes that must move in each window of waiting.
pub(in crate::edge) const LEAST_BYTES: u64 = 16 << 10;

/// So many bytes in each window. Only time spent waiting for the other side counts, so that our own slowness never cuts it off.
#[derive(Debug)]
pub(in crate::edge) struct Pace {
    window: Duration,
    left: Duration,
    moved: u64,
}

impl Pace {
    pub(in crate::edge) fn new(window: Duration) -> Self {
        Self { window, left: window, moved: 0 }
    }

    /// How long may be waited now.
    pub(in crate::edge) fn left(&self) -> Duration {
        self.left
    }

    /// So long was waited, and so much came of it.
    pub(in crate::edge) fn waited(&mut self, time: Duration, bytes: u64) {
        self.left = self.left.saturating_sub(time);
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= LEAST_BYTES {
            *self = Self::new(self.window);
        }
    }
}

/// A connection that is given up when its other side does not take what we write.
pub(super) struct Paced<S> {
    stream: S,
    pace: Pace,
    /// Since when a write waits, and when it is given up.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, window: Duration) -> Self {
        Self { stream, pace: Pace::new(window), waiting: None }
    }

    /// Accounts for one try to write: how much went, or that it waits.
    fn account<T>(
        &mut self,
        tried: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
        bytes: impl Fn(&T) -> u64,
    ) -> Poll<io::Result<T>> {
        match tried {
            Poll::Ready(Ok(done)) => {
                let waited = self.waiting.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
                self.pace.waited(waited, bytes(&done));
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let left = self.pace.left();
                let (_, end) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
                ready!(end.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the caller does not read its answer")))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.account(tried, cx, |&written| written as u64)
    }

    /// Else hyper would copy every answer into one piece first.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.account(tried, cx, |&written| written as u64)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tried = Pin::new(&mut self.stream).poll_flush(cx);
        self.account(tried, cx, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tried = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.account(tried, cx, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dicom::fired::note_fired;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn a_trickle_does_not_renew_the_window_and_progress_does() {
        let mut pace = Pace::new(WINDOW);
        pace.waited(Duration::from_secs(59), 1);
        assert_eq!(pace.left(), Duration::from_secs(1));
        pace.waited(Duration::from_secs(1), 1);
        assert_eq!(pace.left(), Duration::ZERO);
        note_fired(1);
        pace.waited(Duration::ZERO, LEAST_BYTES);
        assert_eq!(pace.left(), WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_given_up_and_who_reads_slowly_but_steadily_is_not() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let began = Instant::now();
        let mut deaf = Paced::new(ours, WINDOW);
        let given_up = deaf.write_all(&[0; 1 << 20]).await.unwrap_err();
        assert_eq!((given_up.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 60));
        note_fired(1);
        drop(theirs);

        let (ours, mut theirs) = tokio::io::duplex(4096);
        let reading = async {
            let mut taken = 0;
            let mut piece = [0; 4096];
            while taken < 1 << 20 {
                tokio::time::sleep(WINDOW / 8).await;
                taken += theirs.read(&mut piece).await.unwrap();
            }
        };
        let mut steady = Paced::new(ours, WINDOW);
        let (written, ()) = tokio::join!(steady.write_all(&[0; 1 << 20]), reading);
        written.unwrap();
    }
}
