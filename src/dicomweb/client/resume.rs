//! One instance as the whole body: what broke off is gone on with at the byte where it broke (RFC 9110 sections 13 and 14; WEB-103).

use super::PeerClient;
use super::answer::{coding, header, retry_after};
use super::pace::Pace;
use super::retrieve::{self, Inside, Retrieval, RetrieveFailure};
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::dicomweb::media_type::{DICOM, MediaType};
use reqwest::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue};
use reqwest::{Response, Url};
use std::time::Instant;

/// As the peer holds it: the whole body if it has that form, else a part.
const ALONE: &str =
    "application/dicom; transfer-syntax=*, multipart/related; type=\"application/dicom\"; transfer-syntax=*";

/// So often one retrieval begins anew because the peer gives another object than before.
const ANEW: u32 = 3;

/// What is needed to go on with a body.
pub(super) struct Again {
    client: PeerClient,
    url: Url,
    /// The strong entity tag of what was begun.
    tag: HeaderValue,
    /// Its length, once it is known.
    total: Option<u64>,
    /// How often it was begun anew.
    anew: u32,
}

impl PeerClient {
    /// Asks for one instance as it is stored and as the whole body, which can be resumed if the peer gives it a strong entity tag; as a
    /// part where the peer does not have that form. Errors: [`RetrieveFailure`].
    pub async fn retrieve_alone(
        &self,
        study: &StudyUid,
        series: &SeriesUid,
        instance: &InstanceUid,
    ) -> Result<Retrieval, RetrieveFailure> {
        let url = self.url(&format!("studies/{study}/series/{series}/instances/{instance}"));
        let response = self.get(url.clone(), ALONE).await?;
        if matches!(response.status().as_u16(), 400 | 406) {
            return self.retrieval(self.instances(url).await?, 1);
        }
        let (tag, total) = (tag(&response), response.content_length());
        let is_whole = response.status().as_u16() == 200 && is_dicom(&response);
        let mut retrieval = self.retrieval(response, 1)?;
        let again = |tag| Again { client: self.clone(), url, tag, total, anew: 0 };
        retrieval.again = tag.filter(|_| is_whole).map(again);
        Ok(retrieval)
    }
}

impl Retrieval {
    /// Whether [`Self::resume`] can go on after [`RetrieveFailure::BrokeOff`].
    pub fn can_resume(&self) -> bool {
        self.again.is_some() && !matches!(self.inside, Inside::Nothing)
    }

    /// Asks for the rest of an instance that broke off, so that [`Self::next`] goes on where it stopped. If the peer gives all of it again,
    /// or another object by now, the instance begins once more. After an error it may be tried again, if that can pass. Errors:
    /// [`RetrieveFailure`].
    pub async fn resume(&mut self) -> Result<(), RetrieveFailure> {
        let Some(again) = &self.again else {
            return Err(RetrieveFailure::BrokeOff("it cannot be resumed".into()));
        };
        let response = again.client.rest(again.url.clone(), ALONE, self.read, &again.tag).await?;
        let (window, least) = (again.client.timing.window, again.client.timing.least_rate);
        let status = response.status().as_u16();
        if !matches!(status, 200 | 206) {
            return Err(RetrieveFailure::Refused { status, retry_after: retry_after(&response) });
        }
        if let Some(why) = coding(&response) {
            return Err(RetrieveFailure::Unreadable(why));
        }
        if !is_dicom(&response) {
            return Err(RetrieveFailure::Unreadable("the rest of an instance came in another form".into()));
        }
        match status {
            206 => self.goes_on(response)?,
            _ => self.begins_anew(response),
        }
        // A new window, and its clock with it: what was spent in between is no part of it.
        self.clock = Instant::now();
        self.pace = Pace::new(window, least, self.clock);
        Ok(())
    }

    fn goes_on(&mut self, response: Response) -> Result<(), RetrieveFailure> {
        let range = header(&response, CONTENT_RANGE).and_then(|range| span(&range));
        let Some(again) = &mut self.again else { return Ok(()) };
        let same = response.headers().get(ETAG).is_none_or(|given| *given == again.tag);
        match range {
            Some((first, total))
                if same && first == self.read && (again.total.is_none() || total.is_none() || total == again.total) =>
            {
                // Without it nobody could tell whether the end is the end of all.
                let Some(total) = again.total.or(total) else {
                    return Err(RetrieveFailure::Unreadable("the peer does not say how long the instance is".into()));
                };
                again.total = Some(total);
                self.response = response;
                Ok(())
            }
            _ => Err(RetrieveFailure::Unreadable("the peer gave another range than it was asked for".into())),
        }
    }

    /// All of it comes again. Under the same tag that is a peer that gives no ranges: it is not asked for one again.
    fn begins_anew(&mut self, response: Response) {
        let (new, total) = (tag(&response), response.content_length());
        let before = self.again.take();
        self.again = before.zip(new).and_then(|(again, tag)| {
            let goes_on = tag != again.tag && again.anew < ANEW;
            goes_on.then(|| Again { tag, total, anew: again.anew + 1, ..again })
        });
        (self.inside, self.whole) = retrieve::alone(&response);
        self.ready.clear();
        self.read = 0;
        self.response = response;
    }

    /// Whether a body that has ended is all of the instance, as far as that was said.
    pub(super) fn is_all(&self) -> Result<(), RetrieveFailure> {
        let total = self.again.as_ref().and_then(|again| again.total);
        match total {
            Some(total) if self.read < total => {
                Err(RetrieveFailure::BrokeOff(format!("after {} of {total} bytes", self.read)))
            }
            Some(total) if self.read > total => {
                Err(RetrieveFailure::Unreadable(format!("it is longer than the {total} bytes that were told")))
            }
            _ => Ok(()),
        }
    }
}

fn is_dicom(response: &Response) -> bool {
    let kind = header(response, CONTENT_TYPE).unwrap_or_default();
    MediaType::parse(&kind).is_ok_and(|media| media.essence() == DICOM)
}

/// The strong entity tag of an answer of which parts can be had, unless the peer says that none can.
fn tag(response: &Response) -> Option<HeaderValue> {
    let none = header(response, ACCEPT_RANGES).is_some_and(|units| units.trim().eq_ignore_ascii_case("none"));
    let tag = response.headers().get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"") && tag.len() > 2);
    tag.filter(|_| !none).cloned()
}

/// The first byte of a range, and the length of the whole if it is told (RFC 9110 section 14.4).
fn span(range: &str) -> Option<(u64, Option<u64>)> {
    let (span, total) = range.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}
