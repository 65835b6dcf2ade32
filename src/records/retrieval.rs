//! What can be retrieved of a study, a series or an instance, and what could be once.

use super::sqlite::retrieve;
use super::{InstanceId, Records, RecordsError};
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::store::{Digest, Place};

/// A study, or a part of it. Held versions are no part of it: they are for a person to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The study.
    pub study: StudyUid,
    /// Only this series of it.
    pub series: Option<SeriesUid>,
    /// Only this instance of it.
    pub instance: Option<InstanceUid>,
}

/// How much there is of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// Instances that are kept.
    pub stored: u64,
    /// Instances whose bytes were deleted.
    pub purged: u64,
    /// Instances whose bytes are damaged.
    pub damaged: u64,
    /// The transfer syntaxes of those that are kept.
    pub syntaxes: Vec<TransferSyntaxUid>,
}

/// One instance that is kept, and where.
#[derive(Debug, Clone)]
pub struct Retrievable {
    /// Its number; lists are in this order, which new arrivals do not change.
    pub instance: InstanceId,
    /// SOP Class UID.
    pub sop_class: SopClassUid,
    /// SOP Instance UID.
    pub sop_instance: InstanceUid,
    /// Study Instance UID.
    pub study: StudyUid,
    /// Series Instance UID.
    pub series: SeriesUid,
    /// The syntax in which the bytes are encoded.
    pub transfer_syntax: TransferSyntaxUid,
    /// The SHA-256 of the data set.
    pub digest: Digest,
    /// Where the bytes are.
    pub place: Place,
    /// The length of the data set in bytes.
    pub length: u64,
}

impl Records {
    /// How much there is of a resource now.
    pub async fn extent(&self, resource: &Resource) -> Result<Extent, RecordsError> {
        let resource = resource.clone();
        self.inner.readers.ask(move |conn| retrieve::extent(conn, &resource)).await
    }

    /// A page of what is kept of a resource, after one of its instances, 256 at most; empty when there is no more.
    pub async fn retrievable(&self, resource: &Resource, after: InstanceId) -> Result<Vec<Retrievable>, RecordsError> {
        let resource = resource.clone();
        self.inner.readers.ask(move |conn| retrieve::page(conn, &resource, after)).await
    }
}
