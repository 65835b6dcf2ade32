//! A body on its way: counted, paused or broken off from outside, and never ended wrongly.

use super::body::{Length, PartsBody, SourceError};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, ready};

/// What is known of a body while it is sent, and the means to stop it; shared with the task that awaits the answer.
#[derive(Default)]
pub(super) struct Gauge {
    handed: AtomicU64,
    started: AtomicBool,
    finished: AtomicBool,
    starving: AtomicBool,
    paused: AtomicBool,
    aborted: AtomicBool,
    waker: AtomicWaker,
    failure: OnceLock<String>,
}

impl Gauge {
    /// Bytes handed to the connection.
    pub(super) fn handed(&self) -> u64 {
        self.handed.load(Ordering::Acquire)
    }

    /// The connection stands and has asked for the body.
    pub(super) fn started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// The last byte was handed over.
    pub(super) fn finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// The connection wants bytes and our source has none.
    pub(super) fn starving(&self) -> bool {
        self.starving.load(Ordering::Acquire)
    }

    /// Why our own data failed, if they did.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Hands nothing more over, but leaves the connection open so that the answer can be read (FLT-066).
    pub(super) fn pause(&self) {
        self.paused.store(true, Ordering::Release);
    }

    /// Breaks the connection off unless the body is finished.
    pub(super) fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// The body as the HTTP library sees it.
pub(super) struct Counted {
    // The library wants its bodies shareable, though it never shares them; a mutex that is never locked makes it so.
    stream: Mutex<BoxStream<'static, Result<Bytes, SourceError>>>,
    last: Option<Bytes>,
    left: u64,
    gauge: Arc<Gauge>,
}

#[derive(Debug, thiserror::Error)]
#[error("the request was broken off")]
struct BrokenOff;

impl Counted {
    pub(super) fn new(body: PartsBody, gauge: Arc<Gauge>) -> Self {
        Self { stream: Mutex::new(body.stream), last: None, left: body.length, gauge }
    }

    fn fail(&self, error: SourceError) -> SourceError {
        // The first failure is the one that is told.
        let _ = self.gauge.failure.set(super::failure::chain(error.as_ref()));
        error
    }

    fn hand_over(&self, chunk: Bytes) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        self.gauge.handed.fetch_add(chunk.len() as u64, Ordering::AcqRel);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = SourceError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        self.gauge.started.store(true, Ordering::Release);
        self.gauge.waker.register(cx.waker());
        if self.gauge.finished() {
            return Poll::Ready(None);
        }
        if self.gauge.aborted.load(Ordering::Acquire) || self.gauge.failure().is_some() {
            return Poll::Ready(Some(Err(BrokenOff.into())));
        }
        if self.gauge.paused.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        loop {
            let polled = match self.stream.get_mut() {
                Ok(stream) => stream.poll_next_unpin(cx),
                Err(_) => return Poll::Ready(Some(Err(BrokenOff.into()))),
            };
            self.gauge.starving.store(polled.is_pending(), Ordering::Release);
            match ready!(polled) {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => match self.left.checked_sub(chunk.len() as u64) {
                    // The last chunk waits until the stream has ended well.
                    Some(0) => {
                        self.left = 0;
                        self.last = Some(chunk);
                    }
                    Some(left) => {
                        self.left = left;
                        return self.hand_over(chunk);
                    }
                    None => return Poll::Ready(Some(Err(self.fail(Length("longer").into())))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(self.fail(error)))),
                None if self.left > 0 => return Poll::Ready(Some(Err(self.fail(Length("shorter").into())))),
                None => {
                    let last = self.last.take();
                    let handed = last.map_or(Poll::Ready(None), |chunk| self.hand_over(chunk));
                    self.gauge.finished.store(true, Ordering::Release);
                    return handed;
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left + self.last.as_ref().map_or(0, |chunk| chunk.len() as u64))
    }
}
