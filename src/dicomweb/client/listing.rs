//! Asking a peer which instances of a study it has: all of them, page by page, within a limit (PS3.18 section 10.6).

use super::present::Page;
use super::{PeerClient, QueryFailure, SendFailure, Stage};
use crate::dicom::attributes::{SERIES_INSTANCE_UID, SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID};
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid};
use crate::dicomweb::dataset::Dataset;
use std::collections::BTreeMap;
use std::time::Duration;

/// Results asked for at a time.
const PAGE: usize = 1000;
/// The most instances of one study that are taken note of.
pub const MOST_LISTED: usize = 100_000;

/// An instance that a peer shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its series.
    pub series: SeriesUid,
    /// Its SOP class, if the peer said it.
    pub sop_class: Option<SopClassUid>,
}

/// What a peer shows of a study, by SOP Instance UID.
pub type Listing = BTreeMap<InstanceUid, Listed>;

impl PeerClient {
    /// The instances that the peer shows of a study, each once; none if it has no such study. Rows of other studies and rows
    /// without the UIDs that PS3.18 requires are passed over. `within` is how long the first page may take. Errors: [`QueryFailure`], also
    /// beyond [`MOST_LISTED`].
    pub async fn listing(&self, study: &StudyUid, within: Duration) -> Result<Listing, QueryFailure> {
        let mut listing = Listing::new();
        let mut offset = 0;
        loop {
            let query = format!("includefield=00080016&limit={PAGE}&offset={offset}");
            let path = format!("studies/{study}/instances");
            let asking = self.page(&path, &query);
            let answer = match offset {
                0 => tokio::time::timeout(within, asking).await.unwrap_or_else(|_| Err(late(within))),
                _ => asking.await,
            };
            let rows = match answer? {
                Page::Matches(rows, _) => rows,
                Page::NotLikeThis(failure) if failure.is_not_found() => return Ok(listing),
                Page::NotLikeThis(failure) => return Err(failure),
            };
            let before = listing.len();
            listing.extend(rows.iter().filter_map(|row| read(study, row)));
            if listing.len() > MOST_LISTED {
                return Err(QueryFailure::Unreadable(format!("it lists more than {MOST_LISTED} instances of a study")));
            }
            offset += rows.len();
            // The end; or a server that ignores the offset and shows the same again.
            if listing.len() == before {
                return Ok(listing);
            }
        }
    }
}

fn late(within: Duration) -> QueryFailure {
    let detail = format!("no list within {} ms", within.as_millis());
    QueryFailure::NotAnswered(SendFailure { stage: Stage::Timeout, sent: 0, detail })
}

fn read(study: &StudyUid, row: &Dataset) -> Option<(InstanceUid, Listed)> {
    let home = row.first_text(STUDY_INSTANCE_UID).and_then(|text| StudyUid::parse(text).ok());
    if home.is_some_and(|home| home != *study) {
        return None;
    }
    let instance = InstanceUid::parse(row.first_text(SOP_INSTANCE_UID)?).ok()?;
    let series = SeriesUid::parse(row.first_text(SERIES_INSTANCE_UID)?).ok()?;
    let sop_class = row.first_text(SOP_CLASS_UID).and_then(|text| SopClassUid::parse(text).ok());
    Some((instance, Listed { series, sop_class }))
}
