//! Bodies that stream instances out of the store: a chunk at a time, and an end only if every digest agreed (REL-07).

use super::refill::Refill;
use super::seats::Seat;
use crate::dicom::part10::{self, FileMeta};
use crate::dicom::transcode::Transcoder;
use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
use crate::dicom::uid::TransferSyntaxUid;
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::wado::Syntax;
use crate::edge::http::Base;
use crate::priors::archive::Fetching;
use crate::records::{InstanceId, Records, Resource, Retrievable};
use crate::store::{BlobReader, Store, StoreError};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use std::collections::VecDeque;
use std::io;
use std::time::SystemTime;

/// The transfer syntax in which an instance leaves.
pub(super) fn syntax(item: &Retrievable, transcode: bool) -> TransferSyntaxUid {
    let explicit = TransferSyntaxUid::parse(EXPLICIT_VR_LE).ok().filter(|_| transcode);
    explicit.unwrap_or_else(|| item.transfer_syntax.clone())
}

/// Preamble and file meta information, written anew on every way out (DIM-041).
pub(super) fn prefix(item: &Retrievable, transcode: bool) -> Bytes {
    let meta = FileMeta {
        sop_class: item.sop_class.clone(),
        sop_instance: item.sop_instance.clone(),
        transfer_syntax: syntax(item, transcode),
    };
    part10::prefix(&meta).into()
}

enum Stage {
    Prefix,
    Data(Box<BlobReader>),
    Done,
}

/// One instance as a Part 10 file.
pub(super) struct Instance {
    records: Records,
    store: Store,
    item: Retrievable,
    transcoder: Option<Transcoder>,
    stage: Stage,
}

impl Instance {
    /// With `transcode` as Explicit VR Little Endian.
    pub(super) fn new(records: Records, store: Store, item: Retrievable, transcode: bool) -> Self {
        let transcoder = transcode.then(|| Transcoder::new(&item.transfer_syntax)).flatten();
        Self { records, store, item, transcoder, stage: Stage::Prefix }
    }

    /// The next bytes; after an error there are no more, and whoever reads must see that they are not all.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match &mut self.stage {
                Stage::Prefix => {
                    // Opened before anything of it is given.
                    let opened = self.store.read(self.item.place, self.item.digest, None).await;
                    let reader = match opened {
                        Ok(reader) => reader,
                        Err(error) => return Err(self.failed(error).await),
                    };
                    self.stage = Stage::Data(Box::new(reader));
                    return Ok(Some(prefix(&self.item, self.transcoder.is_some())));
                }
                Stage::Data(reader) => match reader.next().await {
                    Ok(Some(bytes)) => {
                        // Copied, so that the buffer goes back to the store at once: deliveries wait for the same
                        // buffers, and a slow reader must not keep them.
                        let Some(transcoder) = &mut self.transcoder else {
                            return Ok(Some(Bytes::copy_from_slice(&bytes)));
                        };
                        let mut out = Vec::with_capacity(bytes.len() + 2048);
                        transcoder.push(&bytes, &mut out).map_err(io::Error::other)?;
                        if !out.is_empty() {
                            return Ok(Some(out.into()));
                        }
                    }
                    Ok(None) => {
                        self.stage = Stage::Done;
                        let mut last = Vec::new();
                        if let Some(transcoder) = self.transcoder.take() {
                            transcoder.finish(&mut last).map_err(io::Error::other)?;
                        }
                        if !last.is_empty() {
                            return Ok(Some(last.into()));
                        }
                    }
                    Err(error) => return Err(self.failed(error).await),
                },
                Stage::Done => return Ok(None),
            }
        }
    }

    /// Damage is recorded, so that the next one who asks is not served it; the connection ends without an end of the body.
    async fn failed(&mut self, error: StoreError) -> io::Error {
        self.stage = Stage::Done;
        tracing::error!(instance = %self.item.sop_instance, error = %error, "a retrieval is broken off");
        if error.is_damage() {
            let recorded = self.records.corrupt(self.item.instance, &error.to_string(), SystemTime::now()).await;
            if let Err(error) = recorded {
                tracing::error!(error = %error, "the damage could not be recorded");
            }
        }
        io::Error::other(error)
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::unfold(Some(self), |held| async move {
            let mut instance = held?;
            match instance.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(instance))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

/// A body that holds its seat for as long as it lives.
pub(super) fn seated<S: Stream + Send>(body: S, seat: Seat) -> impl Stream<Item = S::Item> + Send {
    body.map(move |piece| {
        let _held = &seat;
        piece
    })
}

/// So many bytes of an instance, after so many that are passed over.
pub(super) struct Trimmed {
    instance: Instance,
    skip: u64,
    left: u64,
}

impl Trimmed {
    pub(super) fn new(instance: Instance, skip: u64, left: u64) -> Self {
        Self { instance, skip, left }
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.left > 0 {
            let Some(mut bytes) = self.instance.next().await? else { return Ok(None) };
            let skipped = self.skip.min(bytes.len() as u64);
            self.skip -= skipped;
            // No chunk is longer than a number of this machine.
            bytes = bytes.slice(usize::try_from(skipped).unwrap_or(usize::MAX)..);
            if bytes.len() as u64 > self.left {
                bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            }
            self.left -= bytes.len() as u64;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::unfold(Some(self), |held| async move {
            let mut trimmed = held?;
            match trimmed.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(trimmed))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

/// All instances of a resource, read page by page in the order of their arrival.
pub(super) struct Related {
    records: Records,
    store: Store,
    resource: Resource,
    syntax: Syntax,
    base: Base,
    writer: Writer,
    page: VecDeque<Retrievable>,
    after: InstanceId,
    first: bool,
    current: Option<Instance>,
    ended: bool,
    awaited: Option<Refill>,
}

impl Related {
    pub(super) fn new(
        records: Records,
        store: Store,
        resource: Resource,
        syntax: Syntax,
        base: Base,
        writer: Writer,
    ) -> Self {
        let (page, after) = (VecDeque::new(), InstanceId(0));
        Self {
            records,
            store,
            resource,
            syntax,
            base,
            writer,
            page,
            after,
            first: true,
            current: None,
            ended: false,
            awaited: None,
        }
    }

    /// The same with what is being fetched: the body goes on as it arrives, and ends well only if all of it did.
    pub(super) fn awaiting(self, fetching: Option<Fetching>) -> Self {
        Self { awaited: fetching.map(Refill::new), ..self }
    }

    async fn refill(&mut self) -> io::Result<()> {
        let page = match &mut self.awaited {
            Some(awaited) => awaited.page(&self.records, &self.resource).await,
            None => self.records.retrievable(&self.resource, self.after).await,
        };
        self.page = page.map_err(io::Error::other)?.into();
        Ok(())
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(instance) = &mut self.current {
            match instance.next().await? {
                Some(bytes) => return Ok(Some(bytes)),
                None => self.current = None,
            }
        }
        if self.ended {
            return Ok(None);
        }
        if self.page.is_empty() {
            self.refill().await?;
        }
        match self.page.pop_front() {
            Some(item) => self.open(item).map(Some),
            None => {
                self.ended = true;
                let lacking = self.awaited.as_ref().map_or(0, Refill::lacking);
                if lacking > 0 {
                    // Whoever reads must see that this is not all.
                    tracing::warn!(study = %self.resource.study, lacking, "a retrieval is broken off: an archive did not give all");
                    return Err(io::Error::other("an archive did not give all that it holds"));
                }
                Ok(Some(self.writer.end()))
            }
        }
    }

    /// The head of the part of one instance, whose bytes follow.
    fn open(&mut self, item: Retrievable) -> io::Result<Bytes> {
        self.after = item.instance;
        // One that came meanwhile in a syntax that was not asked for: what is given is not all, and must not look so.
        let transcode = super::leaves(&item.transfer_syntax, &self.syntax);
        let transcode = transcode.ok_or_else(|| io::Error::other("an instance came that cannot be given as wanted"))?;
        let length = (!transcode).then(|| prefix(&item, false).len() as u64 + item.length);
        let location = self.base.instance(&item.study, &item.series, &item.sop_instance);
        let syntax = syntax(&item, transcode);
        let head = self.writer.resource_head(syntax.as_str(), length, &location, self.first);
        self.first = false;
        self.current = Some(Instance::new(self.records.clone(), self.store.clone(), item, transcode));
        Ok(head)
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::unfold(Some(self), |held| async move {
            let mut related = held?;
            match related.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(related))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}
