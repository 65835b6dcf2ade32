//! Asking whether a peer holds instances (WEB-045): by QIDO-RS, in groups first, then one by one what the groups did not show.

use super::answer::{header, retry_after};
use super::{Form, PeerClient, QueryFailure, Service};
use crate::dicom::attributes::{SOP_INSTANCE_UID, STUDY_INSTANCE_UID};
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dicomweb::dataset::Dataset;
use crate::dicomweb::json::{self, Limits};
use crate::dicomweb::media_type::{DICOM_JSON, MULTIPART_RELATED, MediaType};
use crate::dicomweb::multipart::{self, Event, Parser};
use crate::dicomweb::qido::INCOMPLETE;
use crate::dicomweb::xml;
use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, WARNING};
use std::collections::BTreeSet;
use std::time::Duration;

/// UIDs in one query; with 64 characters each the URL stays below 3 KiB.
const GROUP: usize = 40;
/// Results asked for at a time.
const PAGE: usize = 100;
/// Pages of one group that are read at most; a server that ignores the UIDs shows its whole study.
const PAGES: usize = 100;

/// What a peer showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    /// Instances that it shows in the study asked for, or without saying in which.
    pub found: BTreeSet<InstanceUid>,
    /// Instances that it shows in another study.
    pub elsewhere: BTreeSet<InstanceUid>,
}

impl Presence {
    /// Notes one match if it is among those wanted; true if it was new.
    fn note(&mut self, study: &StudyUid, wanted: &BTreeSet<&InstanceUid>, set: &Dataset) -> bool {
        let uid = set.first_text(SOP_INSTANCE_UID).and_then(|text| InstanceUid::parse(text).ok());
        let Some(uid) = uid.filter(|uid| wanted.contains(uid)) else { return false };
        let home = set.first_text(STUDY_INSTANCE_UID).and_then(|text| StudyUid::parse(text).ok());
        if home.is_none_or(|home| home == *study) { self.found.insert(uid) } else { self.elsewhere.insert(uid) }
    }
}

/// One page: the matches, or that the server cannot be asked like this.
pub(super) enum Page {
    Matches(Matches),
    NotLikeThis(QueryFailure),
}

/// The matches of one page.
#[derive(Default)]
pub(super) struct Matches {
    pub(super) sets: Vec<Dataset>,
    /// The server says that there are more.
    pub(super) more: bool,
    /// The server says that it does not know all that it has: what is not here may be there all the same.
    pub(super) in_part: bool,
}

impl PeerClient {
    /// Asks which of these instances the peer holds.
    ///
    /// An instance that is in neither set of the result was asked for by itself and not shown. Errors: [`QueryFailure`];
    /// then nothing is known of those not yet asked.
    pub async fn present(&self, study: &StudyUid, instances: &[InstanceUid]) -> Result<Presence, QueryFailure> {
        let mut presence = Presence::default();
        for group in instances.chunks(GROUP) {
            self.ask_group(study, group, &mut presence).await?;
        }
        for instance in instances {
            if !presence.found.contains(instance) && !presence.elsewhere.contains(instance) {
                self.ask_one(study, instance, &mut presence).await?;
            }
        }
        Ok(presence)
    }

    /// A list of UIDs below the study, page by page: silent page sizes truncate (WEB-094).
    async fn ask_group(
        &self,
        study: &StudyUid,
        group: &[InstanceUid],
        presence: &mut Presence,
    ) -> Result<(), QueryFailure> {
        let wanted: BTreeSet<&InstanceUid> = group.iter().collect();
        let list = group.iter().map(InstanceUid::as_str).collect::<Vec<_>>().join(",");
        let mut shown = BTreeSet::new();
        let mut found = 0;
        for _ in 0..PAGES {
            let offset = shown.len();
            let query = format!("SOPInstanceUID={list}&limit={PAGE}&offset={offset}");
            let Page::Matches(matches) = self.page(&format!("studies/{study}/instances"), &query, None).await? else {
                // A list that the server dislikes is asked for one by one.
                return Ok(());
            };
            for set in &matches.sets {
                found += usize::from(presence.note(study, &wanted, set));
                shown.extend(set.first_text(SOP_INSTANCE_UID).map(str::to_owned));
            }
            // The end; or a server that ignores the offset and shows the same again.
            if found == wanted.len() || shown.len() == offset {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn ask_one(
        &self,
        study: &StudyUid,
        instance: &InstanceUid,
        presence: &mut Presence,
    ) -> Result<(), QueryFailure> {
        let query = format!("SOPInstanceUID={instance}");
        let across = match self.page("instances", &query, None).await {
            // A proxy that lets only studies pass, or a server that fails at relational queries, refuses in words of its own.
            Err(failure @ QueryFailure::Refused { status: 403 | 422 | 500, retry_after: None }) => {
                Page::NotLikeThis(failure)
            }
            told => told?,
        };
        let matches = match across {
            Page::Matches(matches) => matches,
            // Relational queries are optional for some servers (WEB-090); below the study they are not.
            Page::NotLikeThis(first) => match self.page(&format!("studies/{study}/instances"), &query, None).await? {
                Page::Matches(matches) => matches,
                // "No such study" counts only if it is not simply the answer to everything, of a proxy neither.
                Page::NotLikeThis(failure)
                    if failure.is_not_found() && !matches!(first, QueryFailure::Refused { status: 403 | 404, .. }) =>
                {
                    Matches::default()
                }
                Page::NotLikeThis(failure) => return Err(failure),
            },
        };
        let wanted = BTreeSet::from([instance]);
        for set in &matches.sets {
            presence.note(study, &wanted, set);
        }
        match matches.in_part && !presence.found.contains(instance) && !presence.elsewhere.contains(instance) {
            true => Err(QueryFailure::InPart),
            false => Ok(()),
        }
    }

    /// One page of results, at most so long as answers may be. The server is told how long it is waited for, if that is limited.
    pub(super) async fn page(&self, path: &str, query: &str, within: Option<Duration>) -> Result<Page, QueryFailure> {
        let mut url: Url = self.url(path);
        url.set_query(Some(query));
        let form = self.form_of(Service::Query);
        let mut response = self.query(url.clone(), accept(form), within).await?;
        if response.status().as_u16() == 406 {
            // Some servers have only one form; a question may be put twice.
            response = self.query(url, accept(form.other()), within).await?;
            if response.status().is_success() {
                self.ask_of(Service::Query, form.other());
            }
        }
        let status = response.status().as_u16();
        let refused = QueryFailure::Refused { status, retry_after: retry_after(&response) };
        let in_part = response.headers().contains_key(INCOMPLETE);
        match status {
            200 | 206 => {}
            204 => return Ok(Page::Matches(Matches { in_part, ..Matches::default() })),
            400 | 404 | 405 | 413 | 414 | 501 => return Ok(Page::NotLikeThis(refused)),
            _ => return Err(refused),
        }
        let content_type = header(&response, CONTENT_TYPE);
        let empty = content_type.is_none() && header(&response, CONTENT_LENGTH).as_deref() == Some("0");
        let mut warnings = response.headers().get_all(WARNING).iter().filter_map(|value| value.to_str().ok());
        let more = warnings.any(|text| text.contains("additional results"));
        let body = self.read_body(response, || 0).await.map_err(QueryFailure::Unreadable)?;
        // Some servers say so that there is nothing. What was to be JSON and is not there has been lost on the way.
        let sets = match empty {
            true => Vec::new(),
            false => matches(content_type.as_deref(), body).map_err(QueryFailure::Unreadable)?,
        };
        Ok(Page::Matches(Matches { sets, more, in_part }))
    }
}

/// What a query accepts: XML comes one data set to a part (PS3.18 section 8.7.3).
fn accept(form: Form) -> &'static str {
    match form {
        Form::Json => DICOM_JSON,
        Form::Xml => "multipart/related; type=\"application/dicom+xml\"",
    }
}

/// The matches in a body, by its content type; JSON if it has none.
fn matches(content_type: Option<&str>, body: Bytes) -> Result<Vec<Dataset>, String> {
    let media = content_type.and_then(|text| MediaType::parse(text).ok());
    if let (Some(media), Some(text)) = (&media, content_type)
        && media.essence() == MULTIPART_RELATED
    {
        return parts(text, body);
    }
    if media.as_ref().is_some_and(|media| !media.is_json() && !media.is_xml()) {
        return Err("it is neither DICOM JSON nor XML".into());
    }
    let told = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&body);
    let begins = told.iter().find(|byte| !byte.is_ascii_whitespace());
    match media.is_some_and(|media| media.is_xml()) {
        _ if begins.is_none() => Err("it is empty, which is no list".into()),
        // An error that is told with a success is an object too.
        false if begins != Some(&b'[') => Err("it is no array of results".into()),
        true => xml::read(&body, Limits::default()).map(|set| vec![set]).map_err(|error| error.to_string()),
        false => json::read(&body, Limits::default()).map_err(|error| error.to_string()),
    }
}

/// The matches in a multipart body of XML documents. What all of them hold together is bounded by the length of the body.
fn parts(content_type: &str, body: Bytes) -> Result<Vec<Dataset>, String> {
    let related = multipart::boundary_of(content_type).map_err(|error| error.to_string())?;
    let mut parser = Parser::new(&related.boundary, multipart::Limits::default()).map_err(|error| error.to_string())?;
    parser.push(body);
    let (mut sets, mut part) = (Vec::new(), Vec::new());
    loop {
        match parser.next().map_err(|error| error.to_string())? {
            Event::PartStart(_) => part.clear(),
            Event::Data(bytes) => part.extend_from_slice(&bytes),
            Event::PartEnd => sets.push(xml::read(&part, Limits::default()).map_err(|error| error.to_string())?),
            Event::NeedMore => return Err("it ends too early".into()),
            Event::End => return Ok(sets),
        }
    }
}
