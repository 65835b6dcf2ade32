//! Asking a peer which instances of a study it has: all of them, page by page, within a limit (PS3.18 section 10.6).

use super::as_study::AsStudy;
use super::present::{Matches, Page};
use super::{PeerClient, QueryFailure, SendFailure, Stage};
use crate::dicom::attributes::{
    SERIES_INSTANCE_UID, SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, STUDY_RELATED_INSTANCES,
};
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid};
use crate::dicomweb::dataset::Dataset;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Results asked for at a time: Azure's DICOM service refuses to be asked for more.
const PAGE: usize = 200;
/// The same, of a program of ours.
const PAGE_OF_OURS: usize = 1000;
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
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StudyList {
    /// The instances.
    pub instances: Listing,
    /// How many it counts itself; none if it does not say.
    pub counted: Option<u64>,
    /// The study as one of the peer's studies, if it shows it.
    pub row: Option<Box<Dataset>>,
    /// Why what is not listed may be there all the same, if it may.
    pub in_part: Option<InPart>,
}

/// Why a list is not all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InPart {
    /// The peer says that it may have more.
    Said,
    /// Some of its rows name no instance, or no series of theirs; or it shows a series, and nothing in it.
    Unreadable,
    /// It lists fewer than it has: so many.
    Fewer(u64),
    /// It does not say under which number it files the study.
    Unfiled,
}

/// What the rows of several pages hold.
#[derive(Default)]
struct Rows {
    list: StudyList,
    /// Instances that are named without the series that PS3.18 requires with them.
    named: BTreeSet<InstanceUid>,
    /// Rows name no instance at all.
    unread: bool,
}

/// Part of a study whose instances are asked for.
struct Asked<'a> {
    study: &'a StudyUid,
    /// Only these, whatever series their rows say, if any.
    series: Option<&'a SeriesUid>,
    /// How long the first page may take.
    within: Duration,
}

impl PeerClient {
    /// The instances that the peer shows of a study, each once; none if it has no such study. Rows of other studies are passed over. Of a
    /// peer that does not say to which series its instances belong (PS3.18 table 10.6.3-5), each series is asked for. Of a program that is not
    /// ours the list is believed as far as its own count goes. `within` is how long each first page may take. Errors: [`QueryFailure`], also
    /// beyond [`MOST_LISTED`], and where a peer that may have more lists nothing.
    pub async fn listing(&self, study: &StudyUid, within: Duration) -> Result<StudyList, QueryFailure> {
        let asking = async {
            let asking = self.as_study(study, Some(within));
            tokio::time::timeout(within, asking).await.unwrap_or_else(|_| Err(late(within)))
        };
        let (told, list) = tokio::try_join!(asking, self.listed(study, within))?;
        let mut list = match list {
            Some(list) => list,
            // Where there is no such service everything is "not found".
            None if matches!(told, AsStudy::Absent) => StudyList::default(),
            None => return Err(QueryFailure::Refused { status: 404, retry_after: None }),
        };
        (list.counted, list.row) = match told {
            AsStudy::Shown(row) => (row.first_number(STUDY_RELATED_INSTANCES), Some(row)),
            AsStudy::Absent => (Some(0), None),
            AsStudy::Untold => (None, None),
        };
        // It may have grown between the list and the count.
        if self.counts_more(&list).is_some()
            && let Ok(Some(again)) = self.listed(study, within).await
        {
            (list.instances, list.in_part) = (again.instances, again.in_part);
        }
        list.in_part = list.in_part.or_else(|| self.counts_more(&list).map(InPart::Fewer));
        Ok(list)
    }

    /// How many instances a peer counts itself that is not ours, if it lists fewer and does not say so.
    fn counts_more(&self, list: &StudyList) -> Option<u64> {
        let counted = list.counted.filter(|counted| *counted > list.instances.len() as u64);
        counted.filter(|_| list.in_part.is_none() && !self.is_ours())
    }

    /// The list alone; `None` if it is "not found".
    async fn listed(&self, study: &StudyUid, within: Duration) -> Result<Option<StudyList>, QueryFailure> {
        let Rows { mut list, named, unread } = match self.rows(&Asked { study, series: None, within }).await {
            Ok(rows) => rows,
            Err(failure) => return self.listed_otherwise(study, within, failure).await,
        };
        // What is not found so either keeps the list one in part.
        if !named.is_empty()
            && let Ok((all, _)) = self.listing_by_series(study, within).await
        {
            let said = [list.in_part, all.in_part].contains(&Some(InPart::Said));
            let unread = unread || all.in_part == Some(InPart::Unreadable);
            list.instances.extend(all.instances);
            let lost = named.iter().any(|uid| !list.instances.contains_key(uid));
            list.in_part = match (said, unread || lost) {
                (true, _) => Some(InPart::Said),
                (false, true) => Some(InPart::Unreadable),
                (false, false) => None,
            };
            if list.instances.len() > MOST_LISTED {
                return Err(too_many());
            }
        }
        match list.in_part {
            Some(InPart::Said) if list.instances.is_empty() => Err(QueryFailure::InPart),
            Some(InPart::Unreadable) if list.instances.is_empty() => {
                Err(QueryFailure::Unreadable("no row of its list names an instance and its series".into()))
            }
            _ => Ok(Some(list)),
        }
    }

    /// The list of a server that has none of a whole study, which is what the failure may mean: some have one of each series only. Without
    /// an instance it is no list, and the failure stands.
    async fn listed_otherwise(
        &self,
        study: &StudyUid,
        within: Duration,
        failure: QueryFailure,
    ) -> Result<Option<StudyList>, QueryFailure> {
        let refused = matches!(failure, QueryFailure::Refused { status: 400 | 404 | 405 | 501, .. });
        let by_series = !self.is_ours() && refused;
        if by_series
            && let Ok((mut list, hollow)) = self.listing_by_series(study, within).await
            && !list.instances.is_empty()
        {
            list.in_part = list.in_part.or(hollow.then_some(InPart::Unreadable));
            return Ok(Some(list));
        }
        if failure.is_not_found() { Ok(None) } else { Err(failure) }
    }

    /// The same, series by series; and whether there is a series of which nothing is shown.
    async fn listing_by_series(&self, study: &StudyUid, within: Duration) -> Result<(StudyList, bool), QueryFailure> {
        let (mut all, mut series, mut hollow) = (StudyList::default(), BTreeSet::new(), false);
        let mut offset = 0;
        loop {
            let query = format!("limit={}&offset={offset}", self.at_a_time());
            let page = match self.page(&format!("studies/{study}/series"), &query, Some(within)).await? {
                Page::Matches(page) => page,
                Page::NotLikeThis(failure) if failure.is_not_found() && offset > 0 => break,
                Page::NotLikeThis(failure) => return Err(failure),
            };
            let before = series.len();
            for row in &page.sets {
                match row.first_text(SERIES_INSTANCE_UID).and_then(|text| SeriesUid::parse(text).ok()) {
                    Some(uid) => drop(series.insert(uid)),
                    None => all.in_part = Some(InPart::Unreadable),
                }
            }
            all.in_part = all.in_part.or(page.in_part.then_some(InPart::Said));
            offset += page.sets.len();
            if series.len() == before {
                break;
            }
        }
        for series in &series {
            let Rows { list, .. } = self.rows(&Asked { study, series: Some(series), within }).await?;
            hollow |= list.instances.is_empty();
            all.instances.extend(list.instances);
            all.in_part = all.in_part.or(list.in_part);
            if all.instances.len() > MOST_LISTED {
                return Err(too_many());
            }
        }
        Ok((all, hollow))
    }

    /// How many results are asked for at a time.
    fn at_a_time(&self) -> usize {
        if self.is_ours() { PAGE_OF_OURS } else { PAGE }
    }

    /// The instances of a study or a series, page by page.
    async fn rows(&self, asked: &Asked<'_>) -> Result<Rows, QueryFailure> {
        let (mut rows, mut offset) = (Rows::default(), 0);
        let path = match asked.series {
            None => format!("studies/{}/instances", asked.study),
            Some(series) => format!("studies/{}/series/{series}/instances", asked.study),
        };
        loop {
            let query = format!("includefield=00080016&limit={}&offset={offset}", self.at_a_time());
            let asking = self.page(&path, &query, Some(asked.within));
            let answer = match offset {
                0 => tokio::time::timeout(asked.within, asking).await.unwrap_or_else(|_| Err(late(asked.within))),
                _ => asking.await,
            };
            let Matches { sets, more, in_part } = match answer? {
                Page::Matches(matches) => matches,
                Page::NotLikeThis(failure) if failure.is_not_found() && (offset > 0 || asked.series.is_some()) => {
                    return Ok(rows);
                }
                Page::NotLikeThis(failure) => return Err(failure),
            };
            if in_part {
                rows.list.in_part = Some(InPart::Said);
            }
            let before = rows.list.instances.len();
            sets.iter().for_each(|row| rows.note(asked, row));
            if rows.list.instances.len() > MOST_LISTED {
                return Err(too_many());
            }
            offset += sets.len();
            // The end, which one of ours tells; or a server that ignores the offset and shows the same again.
            if rows.list.instances.len() == before || (self.is_ours() && !more) {
                return Ok(rows);
            }
        }
    }
}

impl Rows {
    /// Takes a row that is not of another study. What cannot be read of it makes the list no shorter than it is: it is one in part.
    fn note(&mut self, asked: &Asked<'_>, row: &Dataset) {
        let home = row.first_text(STUDY_INSTANCE_UID).and_then(|text| StudyUid::parse(text).ok());
        if home.is_some_and(|home| home != *asked.study) {
            return;
        }
        let instance = row.first_text(SOP_INSTANCE_UID).and_then(|text| InstanceUid::parse(text).ok());
        let said = row.first_text(SERIES_INSTANCE_UID);
        let series = asked.series.cloned().or_else(|| SeriesUid::parse(said?).ok());
        let (Some(instance), Some(series)) = (instance.clone(), series) else {
            self.list.in_part = self.list.in_part.or(Some(InPart::Unreadable));
            self.unread |= instance.is_none();
            self.named.extend(instance);
            return;
        };
        let sop_class = row.first_text(SOP_CLASS_UID).and_then(|text| SopClassUid::parse(text).ok());
        self.list.instances.insert(instance, Listed { series, sop_class });
    }
}

fn too_many() -> QueryFailure {
    QueryFailure::Unreadable(format!("it lists more than {MOST_LISTED} instances of a study"))
}

fn late(within: Duration) -> QueryFailure {
    let detail = format!("no list within {} ms", within.as_millis());
    QueryFailure::NotAnswered(SendFailure { stage: Stage::Timeout, sent: 0, detail })
}
