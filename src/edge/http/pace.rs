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

/// After our last word is read on until the other side ends, for so long at most; in each window those bytes must come.
const LINGERING: Duration = Duration::from_secs(30);
const LINGERING_WINDOW: Duration = Duration::from_secs(1);

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

/// Reading on after our last word.
struct Lingering {
    /// When it ends in any case.
    last: Instant,
    /// When it ends unless more comes.
    end: Pin<Box<Sleep>>,
    /// Bytes that came in this window.
    moved: u64,
}

impl Lingering {
    fn new() -> Self {
        Self { last: Instant::now() + LINGERING, end: Box::pin(tokio::time::sleep(LINGERING_WINDOW)), moved: 0 }
    }

    fn came(&mut self, bytes: u64) {
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= LEAST_BYTES {
            self.moved = 0;
            self.end.as_mut().reset((Instant::now() + LINGERING_WINDOW).min(self.last));
        }
    }
}

/// A connection that is given up when its other side does not take what we write.
pub(super) struct Paced<S> {
    stream: S,
    pace: Pace,
    /// Since when a write waits, and when it is given up.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Our side is ended.
    lingering: Option<Lingering>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, window: Duration) -> Self {
        Self { stream, pace: Pace::new(window), waiting: None, lingering: None }
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

impl<S: AsyncRead + Unpin> Paced<S> {
    /// Reads what still comes, and forgets it: who closes on a sender in mid-sentence resets the connection, and the answer that was
    /// given before may be lost with it (RFC 9112 section 9.6; FLT-066).
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let lingering = self.lingering.get_or_insert_with(Lingering::new);
        let mut scratch = [0; LEAST_BYTES as usize];
        loop {
            let mut into = ReadBuf::new(&mut scratch);
            let waits = match Pin::new(&mut self.stream).poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() => {
                    lingering.came(into.filled().len() as u64);
                    false
                }
                // The other side has ended too, in whatever way.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => true,
            };
            if lingering.end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
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
        if self.lingering.is_none() {
            let tried = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.account(tried, cx, |()| 0))?;
        }
        self.linger(cx)
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

    /// FLT-066: without that the connection would be reset, and the answer might never be seen.
    #[tokio::test(start_paused = true)]
    async fn who_still_talks_after_our_last_word_is_heard_out() {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let mut paced = Paced::new(ours, WINDOW);
        let talking = async move {
            theirs.write_all(&[0; 1 << 20]).await.unwrap();
            let mut heard = Vec::new();
            theirs.read_to_end(&mut heard).await.unwrap();
            heard
        };
        paced.write_all(b"no").await.unwrap();
        let began = Instant::now();
        let (ended, heard) = tokio::join!(paced.shutdown(), tokio::time::timeout(WINDOW, talking));
        ended.unwrap();
        assert_eq!(heard.unwrap(), b"no");
        assert_eq!(began.elapsed(), Duration::ZERO, "the other side ended, and nothing is waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_ends_is_left_in_the_end() {
        let pause = Duration::from_millis(100);
        for (pause, bytes, seconds) in [(WINDOW, 1, 1), (pause, 1, 1), (pause, 4096, 30)] {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            let mut paced = Paced::new(ours, WINDOW);
            let talking = tokio::spawn(async move {
                while theirs.write_all(&vec![0u8; bytes]).await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
            });
            let began = Instant::now();
            paced.shutdown().await.unwrap();
            assert_eq!(began.elapsed().as_secs(), seconds, "{bytes} bytes each {pause:?}");
            talking.abort();
        }
    }
}
