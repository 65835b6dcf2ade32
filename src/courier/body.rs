//! The bytes of an instance on their way out: read with their digest checked, re-encoded if they must be.

use crate::dicom::part10::{self, FileMeta};
use crate::dicom::transcode::Transcoder;
use crate::dicom::transfer_syntax;
use crate::dicom::uid::TransferSyntaxUid;
use crate::ledger::outcome::{Charge, Outcome};
use crate::records::Leased;
use crate::store::{BlobReader, Store, StoreError};
use bytes::Bytes;
use std::collections::VecDeque;

/// Why an instance could not be put on its way.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// Our copy cannot be read or is not what was received.
    #[error("our own copy cannot be sent: {0}")]
    Store(#[from] StoreError),
    /// It cannot be re-encoded for this destination.
    #[error("it cannot be re-encoded as Explicit VR Little Endian: {0}")]
    Transcode(String),
}

/// How one transfer is settled, and whether our copy is to be set aside.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// How the transfer is settled.
    pub(super) outcome: Outcome,
    /// Set when our copy itself is damaged and must be set aside (REL-07, FLT-024).
    pub(super) damage: Option<String>,
}

impl From<Outcome> for Fault {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, damage: None }
    }
}

impl BodyError {
    /// A damaged copy is set aside and may be healed by a new arrival; what cannot be re-encoded never will be; the rest passes.
    pub(super) fn fault(&self) -> Fault {
        let why = self.to_string();
        let later = Outcome::Deferred { why: why.clone(), charge: Charge::Us, after: None };
        match self {
            Self::Store(error) if error.is_damage() => Fault { outcome: later, damage: Some(why) },
            Self::Store(_) => Fault { outcome: later, damage: None },
            Self::Transcode(_) => Fault { outcome: Outcome::Dead { why }, damage: None },
        }
    }
}

/// How one instance will leave.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The transfer syntax in which it leaves.
    pub(super) transfer_syntax: TransferSyntaxUid,
    /// Whether that is another than the one in which it is stored.
    pub(super) transcode: bool,
    /// Length in bytes of the data set as it leaves.
    pub(super) length: u64,
}

impl Plan {
    /// For a web service: Implicit VR and big endian must not be used there (WEB-001).
    ///
    /// The length of a re-encoded data set is found by a dry pass; nothing is kept of it.
    pub(super) async fn for_the_web(store: &Store, item: &Leased) -> Result<Self, BodyError> {
        if transfer_syntax::allowed_on_the_web(&item.transfer_syntax) {
            return Ok(Self::as_stored(item));
        }
        let explicit = TransferSyntaxUid::parse(transfer_syntax::EXPLICIT_VR_LE);
        let explicit = explicit.map_err(|error| BodyError::Transcode(error.to_string()))?;
        let mut plan = Self { transfer_syntax: explicit, transcode: true, length: 0 };
        let mut dry = DataSet::open(store, item, &plan).await?;
        while let Some(bytes) = dry.next().await? {
            plan.length += bytes.len() as u64;
        }
        Ok(plan)
    }

    /// Exactly as it was received.
    pub(super) fn as_stored(item: &Leased) -> Self {
        Self { transfer_syntax: item.transfer_syntax.clone(), transcode: false, length: item.length }
    }

    /// Preamble, prefix and file meta information in front of the data set, written anew on every way out (DIM-041).
    pub(super) fn prefix(&self, item: &Leased) -> Vec<u8> {
        part10::prefix(&FileMeta {
            sop_class: item.sop_class.clone(),
            sop_instance: item.sop_instance.clone(),
            transfer_syntax: self.transfer_syntax.clone(),
        })
    }
}

/// A data set as it leaves, chunk by chunk. The last chunk comes only after the digest agreed (REL-07).
pub(super) struct DataSet {
    reader: BlobReader,
    transcoder: Option<Transcoder>,
    ready: VecDeque<Bytes>,
    ended: bool,
}

impl DataSet {
    pub(super) async fn open(store: &Store, item: &Leased, plan: &Plan) -> Result<Self, BodyError> {
        let transcoder = match plan.transcode {
            false => None,
            true => Some(Transcoder::new(&item.transfer_syntax).ok_or_else(|| {
                BodyError::Transcode(format!("transfer syntax {} is not one that we re-encode", item.transfer_syntax))
            })?),
        };
        let reader = store.read(item.place, item.digest, None).await?;
        Ok(Self { reader, transcoder, ready: VecDeque::new(), ended: false })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            if self.ended {
                return Ok(None);
            }
            let read = self.reader.next().await?;
            let mut out = Vec::new();
            match (read, self.transcoder.take()) {
                (Some(bytes), None) => return Ok(Some(bytes)),
                (Some(bytes), Some(mut transcoder)) => {
                    transcoder.push(&bytes, &mut out).map_err(|error| BodyError::Transcode(error.to_string()))?;
                    self.transcoder = Some(transcoder);
                }
                (None, None) => self.ended = true,
                (None, Some(transcoder)) => {
                    transcoder.finish(&mut out).map_err(|error| BodyError::Transcode(error.to_string()))?;
                    self.ended = true;
                }
            }
            if !out.is_empty() {
                self.ready.push_back(out.into());
            }
        }
    }
}
