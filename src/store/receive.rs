//! A data set on its way in: buffered and hashed as it streams past, spilled to a file of its own when it grows large.

use super::buffers::{Buffer, Size};
use super::label::Label;
use super::own::OwnFile;
use super::{Core, Digest, Job, StoreError, finish_job};
use crate::dicom::uid::TransferSyntaxUid;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// A data set being received. Dropping it forgets everything.
///
/// It is hashed on the caller's thread, while the bytes are warm. Up to [`super::StoreOptions::small_object_bytes`] it stays
/// in memory. Beyond, or when the budget has no buffer for it to grow, it moves to a file of its own: then one buffer fills
/// while another is written on a blocking thread. It waits for memory only while it holds none, so any number of streams
/// make progress within any budget.
///
/// A call that fails or is dropped half-way leaves the stream unusable: later calls give [`StoreError::Interrupted`].
pub struct Receiving {
    core: Arc<Core>,
    current: Option<Buffer>,
    length: u64,
    /// The hash of all bytes so far.
    hasher: Box<Sha256>,
    sink: Sink,
    torn: bool,
}

enum Sink {
    /// In memory: full buffers in order.
    Held(Vec<Buffer>),
    /// In a file, with a write under way.
    Busy(Job<Written>),
    /// In a file, at rest.
    Idle(Written),
    /// Between two states; stays only if a call was dropped.
    Moving,
}

/// A file with everything before `current` in it, and a buffer to use again.
struct Written {
    file: OwnFile,
    spare: Option<Buffer>,
}

impl Written {
    /// Appends full buffers; keeps the largest to be used again.
    fn append(&mut self, buffers: Vec<Buffer>) -> Result<(), StoreError> {
        self.file.append(&buffers)?;
        self.spare = buffers.into_iter().max_by_key(Buffer::capacity);
        if let Some(spare) = &mut self.spare {
            spare.clear();
        }
        Ok(())
    }
}

impl Receiving {
    /// A stream that holds no buffer yet.
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, current: None, length: 0, hasher: Box::default(), sink: Sink::Held(Vec::new()), torn: false }
    }

    /// Bytes taken so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Takes the next bytes of the data set. Waits while the memory budget is used up or the disk is behind, which is
    /// the back-pressure on the sender. Errors: `TooLarge`, `Full`, `Poisoned`, `Io`, `Interrupted`.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.torn, true) {
            return Err(StoreError::Interrupted);
        }
        self.take_in(bytes).await?;
        self.torn = false;
        Ok(())
    }

    async fn take_in(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.core.disk.check()?;
        let limit = self.core.options.object_bytes;
        if limit - self.length < bytes.len() as u64 {
            return Err(StoreError::TooLarge { limit });
        }
        while !bytes.is_empty() {
            let current = match &mut self.current {
                Some(buffer) if !buffer.is_full() => buffer,
                _ => {
                    let next = self.next_buffer().await?;
                    self.current.insert(next)
                }
            };
            let (taken, rest) = bytes.split_at(current.push(bytes));
            self.hasher.update(taken);
            self.length += taken.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// An empty buffer, after the full one has been put where it belongs.
    async fn next_buffer(&mut self) -> Result<Buffer, StoreError> {
        let Some(filled) = self.current.take() else {
            return Ok(self.core.inward.take(Size::First).await);
        };
        match std::mem::replace(&mut self.sink, Sink::Moving) {
            Sink::Held(mut full) => {
                let size = if full.is_empty() { Size::Second } else { Size::Chunk };
                full.push(filled);
                let small = self.length < self.core.options.small_object_bytes;
                if let Some(next) = small.then(|| self.core.inward.grow(size)).flatten() {
                    self.sink = Sink::Held(full);
                    return Ok(next);
                }
                self.spill(full).await
            }
            other => {
                let written = rest(other).await?;
                self.write_behind(written, filled).await
            }
        }
    }

    /// Moves what is in memory to a file of its own.
    async fn spill(&mut self, full: Vec<Buffer>) -> Result<Buffer, StoreError> {
        let next = self.core.inward.grow(Size::Large).or_else(|| self.core.inward.grow(Size::Chunk));
        let job = move |core: &Arc<Core>| {
            let mut written = Written { file: OwnFile::create(core)?, spare: None };
            written.append(full)?;
            Ok(written)
        };
        self.sink = Sink::Busy(self.core.start(job).await);
        self.buffer_or_wait(next).await
    }

    /// Hands a full buffer to a blocking thread, and goes on with another if there is one.
    async fn write_behind(&mut self, mut written: Written, filled: Buffer) -> Result<Buffer, StoreError> {
        let budget = &self.core.inward;
        let spare = written.spare.take();
        let next = match spare.as_ref().map(Buffer::size) {
            // Memory has become short: the large buffer goes back.
            Some(Size::Large) if budget.is_short() => {
                drop(spare);
                budget.grow(Size::Chunk)
            }
            Some(Size::Large) => spare,
            Some(Size::Chunk) => budget.grow(Size::Large).or(spare),
            _ => budget.grow(Size::Large).or_else(|| budget.grow(Size::Chunk)).or(spare),
        };
        let job = move |_: &Arc<Core>| {
            written.append(vec![filled])?;
            Ok(written)
        };
        self.sink = Sink::Busy(self.core.start(job).await);
        self.buffer_or_wait(next).await
    }

    /// The buffer given, or the one that comes free when the write under way is done.
    async fn buffer_or_wait(&mut self, next: Option<Buffer>) -> Result<Buffer, StoreError> {
        if let Some(next) = next {
            return Ok(next);
        }
        let mut written = rest(std::mem::replace(&mut self.sink, Sink::Moving)).await?;
        let spare = written.spare.take();
        self.sink = Sink::Idle(written);
        spare.ok_or(StoreError::Interrupted)
    }

    /// Ends the data set. `transfer_syntax` goes on its label. Nothing is durable yet: that takes
    /// [`super::Store::settle`]. Errors as in [`Self::write`].
    pub async fn finish(mut self, transfer_syntax: &TransferSyntaxUid) -> Result<Spooled, StoreError> {
        if self.torn {
            return Err(StoreError::Interrupted);
        }
        self.core.disk.check()?;
        let (length, transfer_syntax) = (self.length, transfer_syntax.clone());
        let last = match self.current.take() {
            Some(buffer) => buffer,
            None => self.core.inward.take(Size::First).await,
        };
        let digest = Digest(self.hasher.finalize().into());
        let body = match self.sink {
            Sink::Held(mut full) => {
                full.push(last);
                Body::Held(full)
            }
            other => {
                let written = rest(other).await?;
                let label =
                    Label { place: written.file.place(length), digest, transfer_syntax: transfer_syntax.clone() };
                Body::Own(finish_job(self.core.start(move |core| close(core, written, last, &label)).await).await?)
            }
        };
        Ok(Spooled { body, digest, length, transfer_syntax })
    }
}

/// Waits for the write under way, if there is one.
async fn rest(sink: Sink) -> Result<Written, StoreError> {
    match sink {
        Sink::Busy(job) => finish_job(job).await,
        Sink::Idle(written) => Ok(written),
        Sink::Held(_) | Sink::Moving => Err(StoreError::Interrupted),
    }
}

/// Writes the last buffer of a large object, with the label, and cuts the file to size.
fn close(core: &Core, mut written: Written, mut last: Buffer, label: &Label) -> Result<OwnFile, StoreError> {
    last.close_with(&label.encode(&core.identity.store));
    written.file.append(&[last])?;
    written.file.close()?;
    Ok(written.file)
}

/// A complete data set that is not durable yet, in memory or in a file of its own. Dropping it forgets it.
pub struct Spooled {
    pub(super) body: Body,
    pub(super) digest: Digest,
    pub(super) length: u64,
    pub(super) transfer_syntax: TransferSyntaxUid,
}

/// Where a complete data set waits.
pub(super) enum Body {
    /// In buffers, the last one with room for a label.
    Held(Vec<Buffer>),
    /// In a file, label included.
    Own(OwnFile),
}

impl Spooled {
    /// SHA-256 of the data set.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Length of the data set in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}
