//! Searching for studies, series and instances at a peer: QIDO-RS page by page, within bounds (PS3.18 section 10.6; WEB-094).

use super::as_study::AsStudy;
use super::present::{Matches, Page};
use super::{PeerClient, QueryFailure};
use crate::dicom::attributes::*;
use crate::dicom::tag::Tag;
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::dicomweb::dataset::Dataset;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

/// What stands in a value as it is: commas separate UIDs, the rest is harmless.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b',');

/// What tells whose number a study's is: asked for before nothing is where a server does not take all that is wanted (IDY-040).
const IDENTITY: [Tag; 3] = [ISSUER_OF_PATIENT_ID, ISSUER_QUALIFIERS, OTHER_PATIENT_IDS];

/// What is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// Studies.
    Studies,
    /// Series of a study.
    Series(StudyUid),
    /// Instances of a study, or of one of its series.
    Instances(StudyUid, Option<SeriesUid>),
}

impl Resource {
    fn path(&self) -> String {
        match self {
            Self::Studies => "studies".into(),
            Self::Series(study) => format!("studies/{study}/series"),
            Self::Instances(study, None) => format!("studies/{study}/instances"),
            Self::Instances(study, Some(series)) => format!("studies/{study}/series/{series}/instances"),
        }
    }

    /// What tells one result from another.
    fn unique(&self) -> Tag {
        match self {
            Self::Studies => STUDY_INSTANCE_UID,
            Self::Series(_) => SERIES_INSTANCE_UID,
            Self::Instances(..) => SOP_INSTANCE_UID,
        }
    }
}

/// A search. `Debug` prints no value.
#[derive(Clone)]
pub struct Search {
    /// What for.
    pub resource: Resource,
    /// What must match; several UIDs are joined by commas.
    pub matches: Vec<(Tag, String)>,
    /// Attributes that are wanted beyond those that every server returns.
    pub include: Vec<Tag>,
    /// Results asked for at a time.
    pub page: usize,
    /// The most results; a server that has more is not read on, and the search fails.
    pub most: usize,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Search({:?}, {} keys)", self.resource, self.matches.len())
    }
}

/// The results of a search, a page at a time, each once.
pub struct Pages<'a> {
    client: &'a PeerClient,
    search: &'a Search,
    /// Results that were read: where the next page begins.
    read: usize,
    /// Those of them that have no UID.
    unread: u64,
    /// What is asked for beyond what every server returns.
    include: Vec<Tag>,
    /// A server that fails is asked for less, as one is that refuses.
    despite_failures: bool,
    seen: BTreeSet<String>,
    ended: bool,
    in_part: bool,
    within: Option<Duration>,
}

impl PeerClient {
    /// Begins a search. Nothing is sent yet.
    pub fn search<'a>(&'a self, search: &'a Search) -> Pages<'a> {
        let (read, unread, seen) = (0, 0, BTreeSet::new());
        let (despite_failures, ended, in_part, within) = (false, false, false, None);
        let include = search.include.clone();
        Pages { client: self, search, read, unread, include, despite_failures, seen, ended, in_part, within }
    }
}

impl Pages<'_> {
    /// Tells the server that a page is waited for so long.
    pub fn within(self, within: Duration) -> Self {
        Self { within: Some(within), ..self }
    }

    /// Asks a server for less, too, that fails at what is asked for.
    pub(super) fn despite_failures(self) -> Self {
        Self { despite_failures: true, ..self }
    }

    /// The next results; `None` at the end. Results without a UID are left out, and counted.
    ///
    /// A short page is no end: some servers cut every page to a size of their own and do not say so. Only what shows nothing new is
    /// (WEB-094). Errors: [`QueryFailure`]; also for more than [`Search::most`] results, and after the last results where the server
    /// says that it may have more, or counts more on the level above. A study that the server does not know has nothing below it.
    pub async fn next(&mut self) -> Result<Option<Vec<Dataset>>, QueryFailure> {
        if self.ended {
            return self.end();
        }
        let Matches { sets, more, in_part } = match self.page().await? {
            Page::Matches(matches) => matches,
            Page::NotLikeThis(failure) if failure.is_not_found() => self.not_found(failure).await?,
            Page::NotLikeThis(failure) => return Err(failure),
        };
        self.in_part |= in_part;
        self.read += sets.len();
        let unique = self.search.resource.unique();
        let (named, nameless): (Vec<Dataset>, Vec<_>) =
            sets.into_iter().partition(|set| set.first_text(unique).is_some());
        self.unread += nameless.len() as u64;
        let is_new = |set: &Dataset| set.first_text(unique).is_some_and(|uid| self.seen.insert(uid.to_owned()));
        let new: Vec<Dataset> = named.into_iter().filter(is_new).collect();
        if self.read > self.search.most {
            return Err(QueryFailure::Unreadable(format!("it has more than {} results", self.search.most)));
        }
        // One of ours says whether there are more; of another the next page is asked for until it has nothing new.
        self.ended = new.is_empty() || (self.client.is_ours() && !more);
        if !new.is_empty() {
            return Ok(Some(new));
        }
        self.compared().await?;
        self.end()
    }

    /// A page. Where a server does not take what is asked for besides, it is asked again for less: of studies for whose number it is, then for
    /// what every server returns.
    async fn page(&mut self) -> Result<Page, QueryFailure> {
        let path = self.search.resource.path();
        loop {
            let page = self.client.page(&path, &self.query(), self.within).await;
            let refused = match &page {
                Ok(Page::NotLikeThis(QueryFailure::Refused { status: 400, .. })) => true,
                Err(QueryFailure::Refused { status: 500, .. }) => self.despite_failures,
                _ => false,
            };
            if !refused || self.include.is_empty() {
                return page;
            }
            let all = self.include.len();
            let of_studies = self.search.resource == Resource::Studies;
            self.include.retain(|tag| of_studies && IDENTITY.contains(tag));
            if self.include.len() == all {
                self.include.clear();
            }
        }
    }

    /// "Not found" says that there is nothing only below a study that the server's studies do not have either: it is the answer to everything
    /// where there is no such service. Behind a page it is the end.
    async fn not_found(&self, failure: QueryFailure) -> Result<Matches, QueryFailure> {
        if self.read > 0 {
            return Ok(Matches::default());
        }
        let (Resource::Series(study) | Resource::Instances(study, _)) = &self.search.resource else {
            return Err(failure);
        };
        match self.client.as_study(study, self.within).await? {
            AsStudy::Absent => Ok(Matches::default()),
            AsStudy::Shown(_) | AsStudy::Untold => Err(failure),
        }
    }

    /// Whether the server counts no more than it has shown: some cut lists short.
    async fn compared(&self) -> Result<(), QueryFailure> {
        if self.read == 0 || self.client.is_ours() || !self.search.matches.is_empty() {
            return Ok(());
        }
        let shown = self.seen.len() as u64;
        match self.client.counted(&self.search.resource, self.within).await {
            Some(counted) if counted > shown => Err(QueryFailure::Fewer { shown, counted }),
            _ => Ok(()),
        }
    }

    /// How many results there were that have no UID.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// Whether the server has said that it may have more than it shows.
    pub fn in_part(&self) -> bool {
        self.in_part
    }

    fn end(&self) -> Result<Option<Vec<Dataset>>, QueryFailure> {
        if self.in_part { Err(QueryFailure::InPart) } else { Ok(None) }
    }

    fn query(&self) -> String {
        let mut query = String::new();
        for (tag, value) in &self.search.matches {
            let _ = write!(query, "{:08X}={}&", tag.0, utf8_percent_encode(value, ENCODED));
        }
        if !self.include.is_empty() {
            let tags: Vec<String> = self.include.iter().map(|tag| format!("{:08X}", tag.0)).collect();
            let _ = write!(query, "includefield={}&", tags.join(","));
        }
        let _ = write!(query, "limit={}&offset={}", self.search.page, self.read);
        query
    }
}
