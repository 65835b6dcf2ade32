//! The bytes of a data set on their way out: read with their digest checked, re-encoded and changed as the plan says.

use super::body::{BodyError, Plan};
use crate::dicom::rewrite::Rewriter;
use crate::dicom::transcode::Transcoder;
use crate::records::Leased;
use crate::store::{BlobReader, Store};
use bytes::Bytes;

/// A data set as it leaves, chunk by chunk. The last chunk comes only after the digest agreed (REL-07).
pub(super) struct DataSet {
    reader: BlobReader,
    stages: Option<Stages>,
}

impl DataSet {
    pub(super) async fn open(store: &Store, item: &Leased, plan: &Plan) -> Result<Self, BodyError> {
        let stages = Stages::of(item, plan)?;
        let reader = store.read(item.place, item.digest, None).await?;
        Ok(Self { reader, stages: Some(stages) })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        while let Some(stages) = &mut self.stages {
            let bytes = match self.reader.next().await? {
                Some(bytes) => stages.push(bytes)?,
                None => match self.stages.take() {
                    Some(stages) => stages.finish()?,
                    None => return Ok(None),
                },
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// What bytes pass on their way out; without any stage they pass as they are.
struct Stages {
    transcoder: Option<Transcoder>,
    rewriter: Option<Rewriter>,
}

impl Stages {
    fn of(item: &Leased, plan: &Plan) -> Result<Self, BodyError> {
        let unknown =
            || BodyError::Transcode(format!("transfer syntax {} is not one that we re-encode", item.transfer_syntax));
        let transcoder = match plan.transcode {
            true => Some(Transcoder::new(&item.transfer_syntax).ok_or_else(unknown)?),
            false => None,
        };
        let rewriter = plan.edits.clone().map(|edits| Rewriter::new(&plan.transfer_syntax, edits)).transpose();
        Ok(Self { transcoder, rewriter: rewriter.map_err(|error| BodyError::Rewrite(error.to_string()))? })
    }

    fn push(&mut self, bytes: Bytes) -> Result<Bytes, BodyError> {
        let bytes = match &mut self.transcoder {
            None => bytes,
            Some(transcoder) => {
                let mut out = Vec::new();
                transcoder.push(&bytes, &mut out).map_err(|error| BodyError::Transcode(error.to_string()))?;
                out.into()
            }
        };
        self.rewrite(bytes)
    }

    fn rewrite(&mut self, bytes: Bytes) -> Result<Bytes, BodyError> {
        let Some(rewriter) = &mut self.rewriter else { return Ok(bytes) };
        let mut out = Vec::new();
        rewriter.push(&bytes, &mut out).map_err(|error| BodyError::Rewrite(error.to_string()))?;
        Ok(out.into())
    }

    /// What the stages still held back.
    fn finish(mut self) -> Result<Bytes, BodyError> {
        let mut last = Vec::new();
        if let Some(transcoder) = self.transcoder.take() {
            transcoder.finish(&mut last).map_err(|error| BodyError::Transcode(error.to_string()))?;
        }
        let mut out = self.rewrite(last.into())?.to_vec();
        if let Some(rewriter) = self.rewriter {
            rewriter.finish(&mut out).map_err(|error| BodyError::Rewrite(error.to_string()))?;
        }
        Ok(out.into())
    }
}
