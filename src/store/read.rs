//! Reading blobs: in chunks, one ahead, checked against the digest before the last byte is let out.

use super::buffers::Buffer;
use super::{Core, Digest, Job, Place, StoreError, finish_job};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// The bytes of a blob, or of a range of it, in order.
///
/// A whole blob is hashed as it passes, and its last chunk is withheld until the digest agrees; so a receiver never gets
/// a damaged blob complete (REL-07, DIM-053). A range cannot be checked and is not.
///
/// Chunks are lent from the budget: who keeps them, keeps others waiting. At most one chunk is read ahead.
pub struct BlobReader {
    core: Arc<Core>,
    /// The first chunk, which was read when the blob was opened.
    first: Option<Buffer>,
    state: State,
    remaining: u64,
}

enum State {
    /// A chunk is being read.
    Reading(Job<(Source, Buffer)>),
    /// Nothing is being read, and there is more.
    Paused(Source),
    /// All has been handed out.
    Done,
    /// A call failed or was dropped half-way.
    Torn,
}

/// An open file, and what is to be read of it.
struct Source {
    file: File,
    path: PathBuf,
    position: u64,
    end: u64,
    check: Option<(Sha256, Digest)>,
}

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
        let check = whole.then(|| (Sha256::new(), expect));
        let buffer = core.outward.take(core.outward.size_for(remaining)).await;
        let job = core
            .start(move |core| {
                let source = Source::open(core, place, expect, range, check)?;
                source.read(buffer)
            })
            .await;
        let (source, buffer) = finish_job(job).await?;
        let mut reader = Self { core, first: None, state: State::Done, remaining };
        if remaining > 0 {
            reader.first = Some(buffer);
            reader.state = reader.read_ahead(source);
        }
        Ok(reader)
    }

    /// Bytes not handed out yet.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next chunk, at most [`super::StoreOptions::chunk_bytes`] long; `None` when all were handed out. Errors:
    /// `Corrupt` in place of the last chunk if the digest differs, `Io`; after an error or a dropped call, `Interrupted`.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(self.hand_out(first)));
        }
        let (source, buffer) = match std::mem::replace(&mut self.state, State::Torn) {
            State::Reading(job) => finish_job(job).await?,
            State::Paused(source) => {
                let buffer = self.core.outward.take(self.core.outward.size_for(source.left())).await;
                finish_job(self.core.start(move |_| source.read(buffer)).await).await?
            }
            State::Done => {
                self.state = State::Done;
                return Ok(None);
            }
            State::Torn => return Err(StoreError::Interrupted),
        };
        self.state = self.read_ahead(source);
        Ok(Some(self.hand_out(buffer)))
    }

    fn hand_out(&mut self, buffer: Buffer) -> Bytes {
        self.remaining = self.remaining.saturating_sub(buffer.filled().len() as u64);
        Bytes::from_owner(buffer)
    }

    /// Has the next chunk read while the caller uses this one, if memory and disk have nothing better to do.
    fn read_ahead(&self, source: Source) -> State {
        if source.left() == 0 {
            return State::Done;
        }
        if self.core.outward.is_short() {
            return State::Paused(source);
        }
        match self.core.outward.grow(self.core.outward.size_for(source.left())) {
            Some(buffer) => match self.core.try_start((source, buffer), |_, (source, buffer)| source.read(buffer)) {
                Ok(job) => State::Reading(job),
                Err((source, _)) => State::Paused(source),
            },
            None => State::Paused(source),
        }
    }
}

impl Source {
    fn open(
        core: &Core,
        place: Place,
        expect: Digest,
        range: Range<u64>,
        check: Option<(Sha256, Digest)>,
    ) -> Result<Self, StoreError> {
        let path = core.disk.path(&place.file_name());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::Missing { path }),
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        let length = file.metadata().map_err(|source| StoreError::Io { path: path.clone(), source })?.len();
        if length < place.offset.saturating_add(place.length) {
            return Err(StoreError::Corrupt { expected: expect, found: None });
        }
        Ok(Self { file, path, position: place.offset + range.start, end: place.offset + range.end, check })
    }

    fn left(&self) -> u64 {
        self.end - self.position
    }

    /// Fills the buffer from where the last one ended. If these are the last bytes, they come only with the right digest.
    fn read(mut self, mut buffer: Buffer) -> Result<(Self, Buffer), StoreError> {
        let room = buffer.room(usize::try_from(self.left()).unwrap_or(usize::MAX));
        match self.file.read_exact_at(room, self.position) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let expected = self.check.map(|(_, expect)| expect);
                return Err(match expected {
                    Some(expected) => StoreError::Corrupt { expected, found: None },
                    None => StoreError::Missing { path: self.path },
                });
            }
            Err(source) => return Err(StoreError::Io { path: self.path, source }),
        }
        self.position += room.len() as u64;
        if let Some((hasher, _)) = &mut self.check {
            hasher.update(&*room);
        }
        if self.left() == 0
            && let Some((hasher, expected)) = self.check.take()
        {
            let found = Digest(hasher.finalize().into());
            if found != expected {
                return Err(StoreError::Corrupt { expected, found: Some(found) });
            }
        }
        Ok((self, buffer))
    }
}
