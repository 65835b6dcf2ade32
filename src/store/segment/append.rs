//! The append thread: writes what is queued and not known yet to the segment, syncs once for all of it, and answers each.

use super::Segment;
use crate::dicom::uid::TransferSyntaxUid;
use crate::store::buffers::Buffer;
use crate::store::free::Claim;
use crate::store::label::Label;
use crate::store::place::extent;
use crate::store::{Core, Digest, Known, Place, StoreError};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Requests that may queue before [`Appender::append`] waits.
const QUEUE: usize = 1024;
/// Most blobs of one group; more wait for the next.
const GROUP: usize = 512;

/// A small object that is complete in memory.
pub(in crate::store) struct Append {
    pub(in crate::store) buffers: Vec<Buffer>,
    pub(in crate::store) digest: Digest,
    pub(in crate::store) length: u64,
    pub(in crate::store) transfer_syntax: TransferSyntaxUid,
}

struct Request {
    append: Append,
    known: Option<Known>,
    answer: oneshot::Sender<Result<Appended, StoreError>>,
}

/// What became of a request.
pub(in crate::store) enum Appended {
    /// It is durable.
    Placed(Claim),
    /// It was not wanted: the same bytes are held already.
    Known(Append),
}

/// The way to the append thread. Dropping it seals the segment and ends the thread.
pub(in crate::store) struct Appender {
    queue: Option<mpsc::Sender<Request>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The same work without a thread, in a simulation.
    #[cfg(test)]
    inline: Option<Inline>,
}

impl Appender {
    /// Starts the thread. It makes its first segment when the first blob comes.
    pub(in crate::store) fn start(core: Arc<Core>) -> Result<Self, StoreError> {
        #[cfg(test)]
        if crate::store::simulated::is_on() {
            let appending = Mutex::new(Appending { core, segment: None, group: Vec::new() });
            let inline = Some(Inline { appending, waiting: Mutex::default() });
            return Ok(Self { queue: None, thread: Mutex::default(), inline });
        }
        let (queue, requests) = mpsc::channel(QUEUE);
        let path = core.disk.dir.clone();
        let run = move || Appending { core, segment: None, group: Vec::new() }.run(requests);
        let thread = std::thread::Builder::new().name("store-append".into()).spawn(run);
        let thread = thread.map_err(|source| StoreError::Io { path, source })?;
        Ok(Self {
            queue: Some(queue),
            thread: Mutex::new(Some(thread)),
            #[cfg(test)]
            inline: None,
        })
    }

    /// Appends a blob unless it is `known`, and returns when it is durable. Dropped while it waits in line, nothing has
    /// happened; dropped later, the thread still completes the write, and the claim gives the room back.
    pub(in crate::store) async fn append(
        &self,
        core: &Core,
        append: Append,
        known: Option<Known>,
    ) -> Result<Appended, StoreError> {
        let (answer, answered) = oneshot::channel();
        let ended = || core.disk.poison("the append thread has ended");
        #[cfg(test)]
        if let Some(inline) = &self.inline {
            inline.work(Request { append, known, answer }).await;
            return answered.await.map_err(|_| ended())?;
        }
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        queue.send(Request { append, known, answer }).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// Requests in line.
    #[cfg(test)]
    pub(in crate::store) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.queue = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the append thread of the store panicked");
        }
    }
}

/// What queues in a simulation: whoever runs first appends all of it as one group.
#[cfg(test)]
struct Inline {
    appending: Mutex<Appending>,
    waiting: Mutex<Vec<Request>>,
}

#[cfg(test)]
impl Inline {
    async fn work(&self, request: Request) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        tokio::task::yield_now().await;
        let group = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if !group.is_empty() {
            let mut appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
            group.into_iter().for_each(|request| appending.place(request));
            appending.flush();
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
impl Drop for Inline {
    fn drop(&mut self) {
        let appending = self.appending.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Who has died seals nothing.
        if let Some(segment) = appending.segment.take().filter(|_| !crate::store::simulated::is_dead()) {
            segment.seal(&appending.core);
        }
    }
}

/// What the thread works on.
struct Appending {
    core: Arc<Core>,
    segment: Option<Segment>,
    /// Placed in the segment, not yet written.
    group: Vec<(Place, Request)>,
}

impl Appending {
    /// Group commit (REL-03) that never waits for a group: takes all that queued while the last group was written and
    /// synced, and if that is one blob, writes and syncs one blob.
    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            let mut next = Some(first);
            while let Some(request) = next {
                self.place(request);
                next = if self.group.len() < GROUP { requests.try_recv().ok() } else { None };
            }
            self.flush();
        }
        if let Some(segment) = self.segment.take() {
            segment.seal(&self.core);
        }
    }

    /// Gives a blob its place behind the last one, in a new segment if it does not fit, and completes its label.
    fn place(&mut self, mut request: Request) {
        if request.known.take().is_some_and(|known| known()) {
            // Who no longer listens drops the bytes.
            let _ = request.answer.send(Ok(Appended::Known(request.append)));
            return;
        }
        let length = request.append.length;
        let offset = match self.room_for(extent(length)) {
            Ok(offset) => offset,
            Err(error) => return refuse(request, error),
        };
        let Some(segment) = &mut self.segment else { return };
        let place = Place { file: segment.number, shared: true, offset, length };
        segment.used = place.end();
        let label =
            Label { place, digest: request.append.digest, transfer_syntax: request.append.transfer_syntax.clone() };
        if let Some(last) = request.append.buffers.last_mut() {
            last.close_with(&label.encode(&self.core.identity.store));
        }
        self.group.push((place, request));
    }

    /// Where `bytes` more go. A segment that cannot take them is finished first: its group is written, synced and
    /// answered before the segment is sealed. If no new one can be made, the old one stays for smaller blobs.
    fn room_for(&mut self, bytes: u64) -> Result<u64, StoreError> {
        self.core.disk.check()?;
        if let Some(segment) = &self.segment
            && segment.fits(bytes)
        {
            return Ok(segment.used);
        }
        self.flush();
        let fresh = Segment::create(&self.core)?;
        self.core.active.store(fresh.number, Ordering::SeqCst);
        if let Some(full) = self.segment.replace(fresh) {
            full.seal(&self.core);
        }
        Ok(0)
    }

    /// Writes the group with one call, syncs it with one fdatasync, and only then answers (REL-01). If either fails,
    /// none of the group is kept: its pages stay unused, for nothing may be written over them.
    fn flush(&mut self) {
        let group = std::mem::take(&mut self.group);
        let (Some(segment), Some((first, _))) = (&self.segment, group.first()) else { return };
        let core = &self.core;
        let buffers = group.iter().flat_map(|(_, request)| &request.append.buffers);
        let written = core.disk.check().and_then(|()| segment.write(core, buffers, first.offset));
        // The bytes have left memory: their buffers go back before the sync, not after it.
        let answers: Vec<_> = group.into_iter().map(|(place, request)| (place, request.answer)).collect();
        let done = written.and_then(|()| core.disk.sync(&segment.file, &segment.path));
        for (place, answer) in answers {
            let result = match &done {
                Ok(()) => Ok(Appended::Placed(Claim::new(Arc::clone(core), place))),
                Err(error) => Err(again(error)),
            };
            // Who no longer listens drops the claim, and with it the blob.
            let _ = answer.send(result);
        }
    }
}

/// Gives the buffers back, then says no.
fn refuse(request: Request, error: StoreError) {
    let Request { append, answer, .. } = request;
    drop(append);
    let _ = answer.send(Err(error));
}

/// The failure of a group, told to each of its members.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full { free, reserve } => StoreError::Full { free: *free, reserve: *reserve },
        StoreError::Poisoned(why) => StoreError::Poisoned(Arc::clone(why)),
        other => StoreError::Io { path: "segment".into(), source: std::io::Error::other(other.to_string()) },
    }
}
