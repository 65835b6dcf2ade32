//! The body of a STOW-RS request: parts of announced length, streamed, counted, and broken off rather than ever ended wrongly.

use crate::dicom::uid::TransferSyntaxUid;
use crate::dicomweb::media_type::DICOM;
use crate::dicomweb::multipart::{PartHead, Writer};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::task::AtomicWaker;
use futures_util::{Stream, StreamExt};
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, ready};

/// Why our own data could not be given.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// One part to be sent: a Part 10 file.
pub struct OutPart {
    /// Its transfer syntax.
    pub transfer_syntax: TransferSyntaxUid,
    /// Its exact length, file meta information included.
    pub length: u64,
    /// Its bytes. Best opened only when first polled, for the parts are sent one after the other.
    pub data: BoxStream<'static, Result<Bytes, SourceError>>,
}

/// A whole body: its content type, its exact length, and the stream of its bytes.
///
/// An error of the stream, or a stream of another length than announced, breaks the connection before the
/// body's last bytes are handed over: the peer never sees a complete body (DIM-053, FLT-024).
pub struct PartsBody {
    pub(super) content_type: String,
    pub(super) length: u64,
    pub(super) stream: BoxStream<'static, Result<Bytes, SourceError>>,
}

impl PartsBody {
    /// A body whose bytes are given whole, delimiters included.
    pub fn new(content_type: String, length: u64, stream: BoxStream<'static, Result<Bytes, SourceError>>) -> Self {
        Self { content_type, length, stream }
    }

    /// A multipart/related body of Part 10 files under a random boundary (WEB-005, WEB-006, WEB-074).
    ///
    /// Errors: the system gave no randomness, or the lengths exceed 2^64.
    pub fn related(parts: Vec<OutPart>) -> Result<Self, std::io::Error> {
        let writer = Writer::new(DICOM)?;
        let heads =
            parts.iter().map(|part| PartHead { transfer_syntax: part.transfer_syntax.as_str(), length: part.length });
        let length = writer.length(heads).ok_or_else(|| std::io::Error::other("the body is too long"))?;
        let content_type = writer.content_type();
        let end = writer.end();
        let framed = stream::iter(parts.into_iter().enumerate()).flat_map(move |(n, part)| {
            let head = PartHead { transfer_syntax: part.transfer_syntax.as_str(), length: part.length };
            stream::iter([Ok(writer.head(head, n == 0))]).chain(exactly(part.length, part.data))
        });
        Ok(Self { content_type, length, stream: framed.chain(stream::iter([Ok(end)])).boxed() })
    }

    /// The exact length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the data are {0} than announced")]
struct Length(&'static str);

/// A stream that fails unless it yields so many bytes.
fn exactly(
    length: u64,
    data: BoxStream<'static, Result<Bytes, SourceError>>,
) -> impl Stream<Item = Result<Bytes, SourceError>> + Send {
    stream::try_unfold((data, length), |(mut data, left)| async move {
        match data.next().await.transpose()? {
            Some(chunk) => match left.checked_sub(chunk.len() as u64) {
                Some(left) => Ok(Some((chunk, (data, left)))),
                None => Err(Length("longer").into()),
            },
            None if left == 0 => Ok(None),
            None => Err(Length("shorter").into()),
        }
    })
}

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
