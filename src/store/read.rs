//! Reading blobs: in chunks, one ahead, checked against the digest before the last byte is let out.

use super::buffers::{Buffer, PAGE, PAGE_BYTES, Size};
use super::{Core, Digest, Job, Place, StoreError, finish_job};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The bytes of a blob, or of a range of it, in order.
///
/// A whole blob is hashed as it passes, and its last chunk is withheld until the digest agrees; so a receiver never gets
/// a damaged blob complete (REL-07, DIM-053). A range cannot be checked and is not.
///
/// Chunks are lent from the budget: who keeps one keeps others waiting, and must have let go of it before asking for the next, which
/// may wait until one is free. At most one chunk is read ahead.
pub struct BlobReader {
    core: Arc<Core>,
    /// The next chunk, if it is there: the first, which was read when the blob was opened, or one that was waited for.
    first: Option<Bytes>,
    state: State,
    remaining: u64,
    /// The hash of what was handed out so far, and what it must be in the end.
    check: Option<(Sha256, Digest)>,
}

/// Bytes hashed without letting others go on: some 0.1 ms.
const HASHED_AT_ONCE: usize = 256 << 10;

enum State {
    /// A chunk is being read.
    Reading(Job<(Source, Bytes)>),
    /// Nothing is being read, and there is more.
    Paused(Source),
    /// All has been handed out.
    Done,
    /// A call failed or was dropped half-way.
    Torn,
}

/// An open file, and what is to be read of it.
pub(super) struct Source {
    file: File,
    path: PathBuf,
    begin: u64,
    position: u64,
    end: u64,
    /// Read past the page cache, in whole pages.
    direct: bool,
    /// The digest of the whole blob, if all of it is read.
    expect: Option<Digest>,
}

/// What is longer than this is read past the page cache: the cache would cost more time than the disk. For shorter
/// blobs, the system reads the neighbours ahead, which were often stored together and are asked for together.
const BUFFERED: u64 = 64 << 10;

impl BlobReader {
    /// Opens the blob and has its first chunk read.
    pub(super) async fn open(
        core: Arc<Core>,
        place: Place,
        expect: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Self, StoreError> {
        let whole = range.is_none();
        let range = range.unwrap_or(0..place.length);
        if range.start > range.end || range.end > place.length {
            return Err(StoreError::OutOfRange { length: place.length });
        }
        let remaining = range.end - range.start;
        let buffer = buffer_for(&core, remaining).await;
        let job = core
            .start(move |core| {
                let source = Source::open(core, place, expect, range, whole)?;
                source.read(buffer)
            })
            .await;
        Ok(Self::begun(core, finish_job(job).await?, remaining))
    }

    /// A reader whose first chunk is there.
    pub(super) fn begun(core: Arc<Core>, (source, first): (Source, Bytes), remaining: u64) -> Self {
        // A blob of one chunk has been checked with it.
        let check = source.expect.filter(|_| source.left() > 0).map(|expect| (Sha256::new(), expect));
        let mut reader = Self { core, first: None, state: State::Done, remaining, check };
        if remaining > 0 {
            reader.first = Some(first);
            reader.state = reader.read_ahead(source);
        }
        reader
    }

    /// Bytes not handed out yet.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether the next chunk is all of a whole blob, so that its digest has been checked.
    pub(crate) fn is_one_chunk(&self) -> bool {
        self.check.is_none() && self.first.as_ref().is_some_and(|first| first.len() as u64 == self.remaining)
    }

    /// The next chunk, at most four times [`super::StoreOptions::chunk_bytes`] long; `None` when all were handed out. Errors:
    /// `Corrupt` in place of the last chunk if the digest differs, `Io`; after an error or a dropped call, `Interrupted`.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let Some(chunk) = self.come().await? else { return Ok(None) };
        // The next chunk is read meanwhile.
        let state = std::mem::replace(&mut self.state, State::Torn);
        self.hash(&chunk).await?;
        self.state = state;
        self.remaining = self.remaining.saturating_sub(chunk.len() as u64);
        Ok(Some(chunk))
    }

    /// Waits for what is being read ahead, so that nothing is read before the next chunk is asked for: for who rests between chunks.
    /// The errors are those of [`BlobReader::next`].
    pub(crate) async fn hold(&mut self) -> Result<(), StoreError> {
        match std::mem::replace(&mut self.state, State::Torn) {
            State::Reading(job) if self.first.is_none() => {
                let (source, chunk) = finish_job(job).await?;
                self.first = Some(chunk);
                self.state = if source.left() == 0 { State::Done } else { State::Paused(source) };
            }
            state => self.state = state,
        }
        Ok(())
    }

    /// Takes a chunk into the digest; the last one only if that is right.
    async fn hash(&mut self, chunk: &Bytes) -> Result<(), StoreError> {
        let Some((hasher, _)) = &mut self.check else { return Ok(()) };
        let mut pieces = chunk.chunks(HASHED_AT_ONCE).peekable();
        while let Some(piece) = pieces.next() {
            hasher.update(piece);
            if pieces.peek().is_some() {
                tokio::task::yield_now().await;
            }
        }
        if self.remaining <= chunk.len() as u64
            && let Some((hasher, expected)) = self.check.take()
        {
            agree(hasher, expected)?;
        }
        Ok(())
    }

    /// The next chunk, unchecked; has the one after it read.
    async fn come(&mut self) -> Result<Option<Bytes>, StoreError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let (source, chunk) = match std::mem::replace(&mut self.state, State::Torn) {
            State::Reading(job) => finish_job(job).await?,
            State::Paused(source) => {
                let buffer = buffer_for(&self.core, source.left()).await;
                finish_job(self.core.start(move |_| source.read(buffer)).await).await?
            }
            State::Done => {
                self.state = State::Done;
                return Ok(None);
            }
            State::Torn => return Err(StoreError::Interrupted),
        };
        self.state = self.read_ahead(source);
        Ok(Some(chunk))
    }

    /// Has the next chunk read while the caller uses this one, if memory and disk have nothing better to do.
    fn read_ahead(&self, source: Source) -> State {
        if source.left() == 0 {
            return State::Done;
        }
        match spare_buffer_for(&self.core, source.left()) {
            Some(buffer) => match self.core.try_start((source, buffer), |_, (source, buffer)| source.read(buffer)) {
                Ok(job) => State::Reading(job),
                Err((source, _)) => State::Paused(source),
            },
            None => State::Paused(source),
        }
    }
}

impl Source {
    pub(super) fn open(
        core: &Core,
        place: Place,
        expect: Digest,
        range: Range<u64>,
        whole: bool,
    ) -> Result<Self, StoreError> {
        let path = core.disk.path(&place.file_name());
        let written_now = place.file == core.active.load(Ordering::Relaxed);
        let direct = written_now || range.end - range.start > BUFFERED;
        let (file, direct) = match core.disk.open_to_read(&path, direct) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::Missing { path }),
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        let length = file.metadata().map_err(|source| StoreError::Io { path: path.clone(), source })?.len();
        if length < place.offset.saturating_add(place.length) {
            return Err(StoreError::Corrupt { expected: expect, found: None });
        }
        let (position, end) = (place.offset + range.start, place.offset + range.end);
        Ok(Self { file, path, begin: position, position, end, direct, expect: whole.then_some(expect) })
    }

    fn left(&self) -> u64 {
        self.end - self.position
    }

    /// Fills the buffer from where the last one ended. If these are all bytes, they come only with the right digest: so a
    /// damaged small blob is found when it is opened.
    pub(super) fn read(mut self, mut buffer: Buffer) -> Result<(Self, Bytes), StoreError> {
        // O_DIRECT reads whole pages from the start of a page on; what stands before the range is skipped.
        let first = self.position;
        let skip = if self.direct { self.position % PAGE_BYTES } else { 0 };
        let end = usize::try_from(skip + self.left()).unwrap_or(usize::MAX).min(buffer.capacity());
        let room = if self.direct { buffer.whole_pages(end) } else { buffer.room(end) };
        if let Err(source) = fill(&self.file, room, self.position - skip, end) {
            return Err(match (source.kind(), self.expect) {
                (io::ErrorKind::UnexpectedEof, Some(expected)) => StoreError::Corrupt { expected, found: None },
                _ => StoreError::Io { path: self.path, source },
            });
        }
        let chunk = Bytes::from_owner(buffer).slice(usize::try_from(skip).unwrap_or(0)..);
        self.position += chunk.len() as u64;
        if self.left() == 0
            && let Some(expected) = self.expect.filter(|_| self.begin == first)
        {
            agree(Sha256::new_with_prefix(&chunk), expected)?;
        }
        Ok((self, chunk))
    }
}

/// Whether the digest is what it must be.
fn agree(hasher: Sha256, expected: Digest) -> Result<(), StoreError> {
    let found = Digest(hasher.finalize().into());
    if found == expected { Ok(()) } else { Err(StoreError::Corrupt { expected, found: Some(found) }) }
}

/// A buffer for the next of `left` bytes: large while there is plenty. Waits for it, and takes back for it what was read ahead for
/// others: who holds that may be waiting for a buffer too.
async fn buffer_for(core: &Core, left: u64) -> Buffer {
    if let Some(buffer) = spare_buffer_for(core, left) {
        return buffer;
    }
    let size = core.outward.size_for(left);
    if let Some(buffer) = core.outward.take_now(size) {
        return buffer;
    }
    let _none_meanwhile = core.aheads.take_back();
    core.outward.take(size).await
}

/// As [`buffer_for`], but `None` rather than wait or leave little for others.
pub(super) fn spare_buffer_for(core: &Core, left: u64) -> Option<Buffer> {
    let size = core.outward.size_for(left);
    let large = || (size == Size::Chunk).then(|| core.outward.grow(Size::Large)).flatten();
    if core.outward.is_short() { None } else { large().or_else(|| core.outward.grow(size)) }
}

/// Reads until `room` is full, or at least until it holds `count` bytes and the file ends.
fn fill(file: &File, room: &mut [u8], position: u64, count: usize) -> io::Result<()> {
    let mut have = 0;
    while have < count {
        match file.read_at(&mut room[have..], position + have as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => have += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // After a file that ends within a page, O_DIRECT has no page to go on from.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && have % PAGE != 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
