//! The bytes of a data set on their way out: read with their digest checked, re-encoded and changed as the plan says.

use super::body::{BodyError, Plan};
use super::decoding;
use super::reading::{Chunks, Reading};
use crate::dicom::rewrite::{RewriteError, Rewriter, Survey};
use crate::dicom::transcode::{Report, Transcoder};
use crate::dicom::transfer_syntax::{self, Encoding};
use crate::records::Retrievable;
use crate::store::{Ahead, Store};
use bytes::{Buf, Bytes};

/// A data set as it leaves, chunk by chunk. The last chunk comes only after the digest agreed (REL-07).
pub(super) struct DataSet {
    chunks: Chunks,
    stages: Option<Stages>,
    /// Bytes that were read and not yet taken.
    waiting: Bytes,
    /// What re-encoding did; none before its end.
    re_encoded: Option<Report>,
}

impl DataSet {
    pub(super) async fn open(store: &Store, item: &Retrievable, plan: &Plan) -> Result<Self, BodyError> {
        Self::open_last(store, item, plan, Reading::default()).await
    }

    /// As [`Self::open`], where the beginning of the blob may have been read already.
    pub(super) async fn open_on(
        store: &Store,
        item: &Retrievable,
        plan: &Plan,
        ahead: Ahead,
    ) -> Result<Self, BodyError> {
        Self::open_last(store, item, plan, ahead.into()).await
    }

    /// As [`Self::open`], by a reading that goes on after it.
    pub(super) async fn open_in(
        store: &Store,
        item: &Retrievable,
        plan: &Plan,
        reading: &mut Reading,
    ) -> Result<Self, BodyError> {
        Ok(Self::of(Stages::of(item, plan)?, reading.again(store, item).await?))
    }

    /// As [`Self::open`], by a reading that ends with it.
    pub(super) async fn open_last(
        store: &Store,
        item: &Retrievable,
        plan: &Plan,
        reading: Reading,
    ) -> Result<Self, BodyError> {
        Ok(Self::of(Stages::of(item, plan)?, reading.last(store, item).await?))
    }

    fn of(stages: Stages, chunks: Chunks) -> Self {
        Self { chunks, stages: Some(stages), waiting: Bytes::new(), re_encoded: None }
    }

    /// What re-encoding did, once the last chunk was given; none if there was nothing to re-encode.
    pub(super) fn re_encoded(&self) -> Option<Report> {
        self.re_encoded
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        while let Some(stages) = self.stages.take() {
            if self.waiting.is_empty() {
                // Also what is taken to its end keeps its buffer, and who holds one must not wait for the next.
                self.waiting = Bytes::new();
                match self.chunks.next().await? {
                    Some(bytes) => self.waiting = bytes,
                    None => {
                        let (bytes, report) = off_thread(stages.decodes(), move || stages.finish()).await?;
                        self.re_encoded = report;
                        return Ok(Some(bytes).filter(|bytes| !bytes.is_empty()));
                    }
                }
            }
            let mut waiting = std::mem::take(&mut self.waiting);
            let pushed = off_thread(stages.decodes(), move || {
                let mut stages = stages;
                let bytes = stages.push(&mut waiting)?;
                Ok((stages, bytes, waiting))
            });
            let (stages, bytes, waiting) = match pushed.await {
                Ok(pushed) => pushed,
                Err(error) => return Err(self.or_damage(error).await),
            };
            (self.stages, self.waiting) = (Some(stages), waiting);
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// What cannot be re-encoded or changed may be a damaged copy, which only its end shows: then that is what is the matter with it (REL-07).
    pub(super) async fn or_damage(&mut self, error: BodyError) -> BodyError {
        self.waiting = Bytes::new();
        loop {
            match self.chunks.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return error,
                Err(damage) => return damage.into(),
            }
        }
    }
}

/// Runs what may take long where it delays nobody, a few at a time.
async fn off_thread<T: Send + 'static>(
    long: bool,
    work: impl FnOnce() -> Result<T, BodyError> + Send + 'static,
) -> Result<T, BodyError> {
    let done = if long { decoding::off_thread(work).await } else { Ok(work()) };
    done.unwrap_or_else(|error| Err(BodyError::Transcode(error.to_string())))
}

/// What bytes pass on their way out; without any stage they pass as they are.
struct Stages {
    transcoder: Option<Transcoder>,
    /// The most bytes that are taken at once.
    step: usize,
    /// Looks for what stands too late to have been decided upon.
    guard: Option<Survey>,
    rewriter: Option<Rewriter>,
}

impl Stages {
    fn of(item: &Retrievable, plan: &Plan) -> Result<Self, BodyError> {
        let unknown =
            || BodyError::Transcode(format!("transfer syntax {} is not one that we re-encode", item.transfer_syntax));
        let (from, to) = (&item.transfer_syntax, plan.transfer_syntax.as_str());
        let transcoder = match (plan.transcode, plan.evened) {
            (true, true) => Some(Transcoder::evening(from, to).ok_or_else(unknown)?),
            (true, false) => Some(Transcoder::between(from, to).ok_or_else(unknown)?),
            (false, _) => None,
        };
        let deflated = transfer_syntax::encoding(&item.transfer_syntax) == Encoding::DeflatedExplicitLittle;
        let step = if deflated && transcoder.is_some() { decoding::DEFLATED_STEP } else { usize::MAX };
        let rewriter = plan.edits.clone().map(|edits| Rewriter::new(&plan.transfer_syntax, edits)).transpose();
        let guard = plan.guarded.then(|| Survey::new(&plan.transfer_syntax, "").map(Survey::guarding)).transpose();
        Ok(Self { transcoder, step, guard: guard.map_err(unchangeable)?, rewriter: rewriter.map_err(unchangeable)? })
    }

    /// Whether pixels are decoded.
    fn decodes(&self) -> bool {
        self.transcoder.as_ref().is_some_and(Transcoder::decodes)
    }

    /// Takes bytes from the front of `waiting`, as many as make no more than one frame.
    fn push(&mut self, waiting: &mut Bytes) -> Result<Bytes, BodyError> {
        let bytes = match &mut self.transcoder {
            None => std::mem::take(waiting),
            Some(transcoder) => {
                let mut out = Vec::new();
                let step = waiting.len().min(self.step);
                let mut left = &waiting[..step];
                transcoder.push_some(&mut left, &mut out).map_err(|error| BodyError::Transcode(error.to_string()))?;
                let taken = step - left.len();
                waiting.advance(taken);
                out.into()
            }
        };
        self.rewrite(bytes)
    }

    fn rewrite(&mut self, bytes: Bytes) -> Result<Bytes, BodyError> {
        if let Some(guard) = &mut self.guard {
            guard.push(&bytes).map_err(unchangeable)?;
        }
        let Some(rewriter) = &mut self.rewriter else { return Ok(bytes) };
        let mut out = Vec::new();
        rewriter.push(&bytes, &mut out).map_err(unchangeable)?;
        Ok(out.into())
    }

    /// What the stages still held back, and what re-encoding did.
    fn finish(mut self) -> Result<(Bytes, Option<Report>), BodyError> {
        let mut last = Vec::new();
        let finished = self.transcoder.take().map(|transcoder| transcoder.finish(&mut last)).transpose();
        let report = finished.map_err(|error| BodyError::Transcode(error.to_string()))?;
        let mut out = self.rewrite(last.into())?.to_vec();
        if let Some(rewriter) = self.rewriter {
            rewriter.finish(&mut out).map_err(unchangeable)?;
        }
        Ok((out.into(), report))
    }
}

fn unchangeable(error: RewriteError) -> BodyError {
    BodyError::Rewrite(error.to_string())
}
