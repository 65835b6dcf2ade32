//! How one instance will leave: in which syntax, with which changes, how long; and what a fault of our own means.

use super::data_set::DataSet;
use super::reading::Reading;
use crate::dicom::dictionary;
use crate::dicom::part10::{self, FileMeta};
use crate::dicom::rewrite::Edits;
use crate::dicom::transcode::{self, Report};
use crate::dicom::transfer_syntax::{self, IMPLICIT_VR_LE};
use crate::dicom::uid::TransferSyntaxUid;
use crate::ledger::outcome::{Charge, Outcome};
use crate::records::Retrievable;
use crate::store::{Store, StoreError};

/// Why an instance could not be put on its way.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// Our copy cannot be read or is not what was received.
    #[error("our own copy cannot be sent: {0}")]
    Store(#[from] StoreError),
    /// It cannot be re-encoded for this destination.
    #[error("it cannot be re-encoded for this destination: {0}")]
    Transcode(String),
    /// What must be changed for this destination cannot be.
    #[error("the changes that this destination needs cannot be made: {0}")]
    Rewrite(String),
}

/// How one transfer is settled, and whether our copy is to be set aside.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// How the transfer is settled.
    pub(super) outcome: Outcome,
    /// Set when our copy itself is damaged and must be set aside (REL-07, FLT-024).
    pub(super) damage: Option<String>,
    /// What the destination warned of although it took it.
    pub(super) warning: Option<u16>,
}

impl From<Outcome> for Fault {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, damage: None, warning: None }
    }
}

impl BodyError {
    /// A damaged copy is set aside and may be healed by a new arrival; what cannot be re-encoded never will be; the rest passes.
    pub(super) fn fault(&self) -> Fault {
        let why = self.to_string();
        let later = Outcome::Deferred { why: why.clone(), charge: Charge::Us, after: None };
        match self {
            Self::Store(error) if error.is_damage() => Fault { damage: Some(why), ..later.into() },
            Self::Store(_) => later.into(),
            Self::Transcode(_) => Outcome::Dead { why }.into(),
            // Without its changes it must not go; with them it cannot.
            Self::Rewrite(_) => Outcome::Held { why }.into(),
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
    /// Whether values of odd length are padded as it is re-encoded.
    pub(super) evened: bool,
    /// What is changed in it for this destination.
    pub(super) edits: Option<Edits>,
    /// Only its head was read to decide that: what was read there must not stand further on.
    pub(super) guarded: bool,
    /// The SOP class under which it leaves, if that is not its own (DIM-051).
    pub(super) general: Option<&'static str>,
    /// By which rules that is.
    pub(super) transform: Option<String>,
    /// What re-encoding does, once that was measured; see [`Plan::changes`].
    pub(super) re_encoded: Option<Report>,
    /// Length in bytes of the data set as it leaves.
    pub(super) length: u64,
}

impl Plan {
    /// For a web service: Implicit VR and big endian must not be used there (WEB-001).
    pub(super) async fn for_the_web(store: &Store, item: &Retrievable) -> Result<Self, BodyError> {
        match transfer_syntax::allowed_on_the_web(&item.transfer_syntax) {
            true => Ok(Self::as_stored(item)),
            false => Self::re_encoded(item)?.measured(store, item).await,
        }
    }

    /// Exactly as it was received.
    pub(super) fn as_stored(item: &Retrievable) -> Self {
        let transfer_syntax = item.transfer_syntax.clone();
        let (edits, general, transform) = (None, None, None);
        Self {
            transfer_syntax,
            transcode: false,
            evened: false,
            edits,
            guarded: false,
            general,
            transform,
            re_encoded: None,
            length: item.length,
        }
    }

    /// As Explicit VR Little Endian, its pixels decoded if they are compressed; its length is not known yet.
    pub(super) fn re_encoded(item: &Retrievable) -> Result<Self, BodyError> {
        Self::re_encoded_to(item, transfer_syntax::EXPLICIT_VR_LE)
    }

    /// As Explicit or Implicit VR Little Endian; see [`Plan::re_encoded`].
    fn re_encoded_to(item: &Retrievable, syntax: &str) -> Result<Self, BodyError> {
        let syntax = TransferSyntaxUid::parse(syntax).map_err(|error| BodyError::Transcode(error.to_string()))?;
        let transcode = syntax != item.transfer_syntax;
        Ok(Self {
            transfer_syntax: syntax,
            transcode,
            evened: false,
            edits: None,
            guarded: false,
            general: None,
            transform: None,
            re_encoded: None,
            length: item.length,
        })
    }

    /// As Explicit or Implicit VR Little Endian for a node, which can be sent nothing of odd length: every value is made even, also where the syntax stays (PS3.5 section
    /// 7.1.1; DIM-055).
    pub(super) fn for_a_node(item: &Retrievable, syntax: &str) -> Result<Self, BodyError> {
        Ok(Self { transcode: true, evened: true, ..Self::re_encoded_to(item, syntax)? })
    }

    /// Finds the length of a changed data set by a dry pass; nothing is kept of it. What is sent unchanged has its own.
    pub(super) async fn measured(self, store: &Store, item: &Retrievable) -> Result<Self, BodyError> {
        if !self.is_changed() {
            return Ok(self);
        }
        let dry = DataSet::open(store, item, &self).await?;
        self.measured_by(dry).await
    }

    /// As [`Self::measured`], by a reading that goes on after it.
    pub(super) async fn measured_in(
        self,
        store: &Store,
        item: &Retrievable,
        reading: &mut Reading,
    ) -> Result<Self, BodyError> {
        if !self.is_changed() {
            return Ok(self);
        }
        let dry = DataSet::open_in(store, item, &self, reading).await?;
        self.measured_by(dry).await
    }

    fn is_changed(&self) -> bool {
        self.transcode || self.edits.is_some()
    }

    async fn measured_by(mut self, mut dry: DataSet) -> Result<Self, BodyError> {
        self.length = 0;
        while let Some(bytes) = dry.next().await? {
            self.length += bytes.len() as u64;
        }
        self.re_encoded = dry.re_encoded();
        Ok(self)
    }

    /// By which rules what leaves differs from what is stored, for the ledger: how it was re-encoded, if it was, with the dictionary and the
    /// number of elements that are UN, and what was changed in it (WEB-002, IDY-034).
    pub(super) fn changes(&self, re_encoded: Option<Report>) -> Option<String> {
        let rule = if self.transfer_syntax.as_str() == IMPLICIT_VR_LE { "implicit-le" } else { "explicit-le" };
        let told = re_encoded.map(|report| {
            format!("{rule}/{} ({}, {} UN)", transcode::VERSION, dictionary::VERSION, report.un_elements)
        });
        let rules: Vec<String> = told.into_iter().chain(self.transform.clone()).collect();
        (!rules.is_empty()).then(|| rules.join("+"))
    }

    /// Preamble, prefix and file meta information in front of the data set, written anew on every way out (DIM-041).
    pub(super) fn prefix(&self, item: &Retrievable) -> Vec<u8> {
        part10::prefix(&FileMeta {
            sop_class: item.sop_class.clone(),
            sop_instance: item.sop_instance.clone(),
            transfer_syntax: self.transfer_syntax.clone(),
        })
    }
}

/// What was accepted says by which rules it was changed (WEB-002, IDY-034).
pub(super) fn changed(outcome: Outcome, changes: Option<&str>) -> Outcome {
    match changes {
        Some(rules) => outcome.changed_by(rules),
        None => outcome,
    }
}
