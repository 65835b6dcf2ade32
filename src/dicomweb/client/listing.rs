//! Asking a peer which instances of a study it has: all of them, page by page, within a limit (PS3.18 section 10.6).

use super::present::{Matches, Page};
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

/// All that a peer shows of a study, and whether that is all it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StudyList {
    /// The instances.
    pub instances: Listing,
    /// The peer says that it may have more: what is not listed may be there all the same.
    pub in_part: bool,
}

impl PeerClient {
    /// The instances that the peer shows of a study, each once; none if it has no such study. Rows of other studies and rows
    /// without the UIDs that PS3.18 requires are passed over. `within` is how long the first page may take. Errors: [`QueryFailure`], also
    /// beyond [`MOST_LISTED`], and where a peer that may have more lists nothing.
    pub async fn listing(&self, study: &StudyUid, within: Duration) -> Result<StudyList, QueryFailure> {
        let (mut listing, mut in_part) = (Listing::new(), false);
        let mut offset = 0;
        let ended = |instances: Listing, in_part| match in_part && instances.is_empty() {
            true => Err(QueryFailure::InPart),
            false => Ok(StudyList { instances, in_part }),
        };
        loop {
            let query = format!("includefield=00080016&limit={PAGE}&offset={offset}");
            let path = format!("studies/{study}/instances");
            let asking = self.page(&path, &query, Some(within));
            let answer = match offset {
                0 => tokio::time::timeout(within, asking).await.unwrap_or_else(|_| Err(late(within))),
                _ => asking.await,
            };
            let Matches { sets: rows, more, in_part: now } = match answer? {
                Page::Matches(matches) => matches,
                Page::NotLikeThis(failure) if failure.is_not_found() => return ended(listing, in_part),
                Page::NotLikeThis(failure) => return Err(failure),
            };
            in_part |= now;
            let before = listing.len();
            listing.extend(rows.iter().filter_map(|row| read(study, row)));
            if listing.len() > MOST_LISTED {
                return Err(QueryFailure::Unreadable(format!("it lists more than {MOST_LISTED} instances of a study")));
            }
            offset += rows.len();
            // The end, which one of ours tells; or a server that ignores the offset and shows the same again.
            if listing.len() == before || (self.is_ours() && !more) {
                return ended(listing, in_part);
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
