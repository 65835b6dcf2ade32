//! What became of each part, its reason code, and the status that sums it all up (WEB-025 to WEB-028).

use super::roll::{Line, Roll};
use super::turned_away;
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid};
use crate::dicomweb::multipart::MultipartError;
use crate::dicomweb::stow::{Failed, Form, Pieces, Referenced, reason};
use crate::edge::http::{Base, last_problem, problem};
use crate::intake::{Receipt, Refusal};
use crate::records::Kept;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use std::fmt;
use std::io::ErrorKind;

/// So many failures of one request are logged one by one; the rest is counted.
const TOLD: usize = 16;

/// What a part said of itself before its data set.
#[derive(Clone, Default)]
pub(super) struct Named {
    pub(super) sop_class: Option<SopClassUid>,
    pub(super) sop_instance: Option<InstanceUid>,
}

/// Why a part was not stored.
#[derive(Debug)]
pub(super) enum Fault {
    /// Intake did not take it.
    Refused(Refusal),
    /// Other content is kept under its UID; this one is kept too, held for a person.
    Differs,
    /// Its SOP class belongs to another service than storage.
    OtherService,
    /// It never came to be an instance.
    Unusable(&'static str),
    /// The body ended or was cut within it.
    CutOff,
    /// Our own commit of it ended unexpectedly.
    Lost,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Differs => f.write_str("other content is kept under its UID; both are kept, this one is held"),
            Self::OtherService => f.write_str("its SOP class is not one of storage"),
            Self::Unusable(why) => f.write_str(why),
            Self::CutOff => f.write_str("the body was cut off within it"),
            Self::Lost => f.write_str("its commit failed unexpectedly"),
        }
    }
}

impl Fault {
    /// The Failure Reason (PS3.18 table I.2-2; our own stand in docs/conformance.md; WEB-027).
    fn reason(&self) -> u16 {
        match self {
            Self::Refused(refusal) => match refusal {
                Refusal::NoRoom | Refusal::Exhausted | Refusal::Stopping | Refusal::TooLarge { .. } => {
                    reason::OUT_OF_RESOURCES
                }
                Refusal::Poisoned(_) => reason::PROCESSING_FAILURE,
                Refusal::Malformed { .. } | Refusal::Unkept { .. } => reason::CANNOT_UNDERSTAND,
                Refusal::OtherClass => reason::DATA_SET_MISMATCH,
                Refusal::OtherInstance | Refusal::OtherStudy => reason::OTHER_THAN_ANNOUNCED,
                Refusal::MissingIdentity { .. } => reason::NO_IDENTITY,
            },
            Self::Differs => reason::DIFFERENT_CONTENT,
            Self::OtherService => reason::SOP_CLASS_NOT_SUPPORTED,
            Self::Unusable(_) => reason::CANNOT_UNDERSTAND,
            Self::CutOff | Self::Lost => reason::PROCESSING_FAILURE,
        }
    }

    /// The refusal that would meet any instance now, if this was one.
    fn turned_away(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(
                refusal @ (Refusal::NoRoom | Refusal::Exhausted | Refusal::Stopping | Refusal::Poisoned(_)),
            ) => Some(refusal),
            _ => None,
        }
    }
}

/// An instance that is kept.
pub(super) struct Stored {
    sop_class: SopClassUid,
    study: StudyUid,
    series: SeriesUid,
    instance: InstanceUid,
    /// It was not here before.
    fresh: bool,
}

impl Stored {
    /// What a receipt says. Held content is never said to be stored (WEB-031, IDY-020).
    pub(super) fn of(receipt: Receipt) -> Part {
        let Receipt { sop_class, sop_instance, study, series, kept, requested: _ } = receipt;
        match kept {
            Kept::Differs { .. } => {
                let named = Named { sop_class: Some(sop_class), sop_instance: Some(sop_instance) };
                Part::Failed(named, Fault::Differs)
            }
            kept => {
                let fresh = matches!(kept, Kept::Stored { .. });
                Part::Stored(Self { sop_class, study, series, instance: sop_instance, fresh })
            }
        }
    }

    fn write(&self, roll: &mut Roll) {
        let Self { sop_class, study, series, instance, fresh: _ } = self;
        let uids = [sop_class.as_str(), study.as_str(), series.as_str(), instance.as_str()];
        roll.push(0, uids.map(Some));
    }
}

/// What the answer says of a stored instance. Its UIDs were valid when they were written, so that there is always one.
fn referenced(line: &Line, base: &Base) -> Option<Referenced> {
    let [Some(class), Some(study), Some(series), Some(instance)] = &line.uids else { return None };
    let (study, series) = (StudyUid::parse(study).ok()?, SeriesUid::parse(series).ok()?);
    let sop_instance = InstanceUid::parse(instance).ok()?;
    let sop_class = SopClassUid::parse(class).ok();
    let retrieve_url = Some(base.instance(&study, &series, &sop_instance));
    Some(Referenced { retrieve_url, sop_class, sop_instance, warning_reason: None })
}

/// The same of a failed one, whose mark is the reason.
fn refused(line: &Line) -> Option<Failed> {
    let [class, _, _, Some(instance)] = &line.uids else { return None };
    let sop_class = class.as_ref().and_then(|class| SopClassUid::parse(class).ok());
    Some(Failed { sop_class, sop_instance: InstanceUid::parse(instance).ok()?, failure_reason: line.mark })
}

/// What became of one part.
pub(super) enum Part {
    Stored(Stored),
    Failed(Named, Fault),
}

/// Why the rest of a body was not read.
#[derive(Debug)]
pub(super) enum Cut {
    /// It stopped coming, or trickled.
    Stalled,
    /// The connection ended before the body did.
    Ended,
    /// Its transfer coding is wrong.
    Broken,
    /// It is larger than a request may be.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// It holds more instances than a request may have.
    TooMany {
        /// The limit.
        limit: u32,
    },
    /// Its multipart framing is wrong.
    Multipart(MultipartError),
}

impl Cut {
    /// What an error while reading says: a coding that cannot be read, or else a connection that ended.
    pub(super) fn of(error: &axum::Error) -> Self {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = source {
            let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            if matches!(kind, Some(ErrorKind::InvalidInput | ErrorKind::InvalidData)) {
                return Self::Broken;
            }
            source = error.source();
        }
        Self::Ended
    }

    /// What an error of the multipart framing says, where a request may have so many parts.
    pub(super) fn of_parts(error: MultipartError, limit: u32) -> Self {
        match error {
            MultipartError::TooManyParts => Self::TooMany { limit },
            error => Self::Multipart(error),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            // Not 400: the instances are not at fault, and whoever hears this sends them again.
            Self::Stalled | Self::Ended => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } | Self::TooMany { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken | Self::Multipart(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled => f.write_str("the body stopped coming or came too slowly"),
            Self::Ended => f.write_str("the connection ended within the body"),
            Self::Broken => f.write_str("the transfer coding of the body is wrong"),
            Self::TooLarge { limit } => write!(f, "a request may have {limit} bytes; send fewer instances"),
            Self::TooMany { limit } => write!(f, "a request may have {limit} instances; send fewer at once"),
            Self::Multipart(error) => error.fmt(f),
        }
    }
}

/// The sum of a request: each part stands in it once.
pub(super) struct Parts {
    from: String,
    stored: Roll,
    failed: Roll,
    other: Vec<u16>,
    /// The study of all that is stored, if it is one.
    study: Option<StudyUid>,
    several: bool,
    /// Something is stored that was not here before.
    created: bool,
    /// The first refusal that was no fault of the instance.
    turned_away: Option<Refusal>,
    /// Failures because of an instance's size.
    too_large: usize,
}

/// How the answer is framed.
#[derive(Debug, PartialEq, Eq)]
enum Sum {
    /// The module with this status.
    Module(StatusCode),
    /// Nothing was stored, for a reason that passes.
    TurnedAway,
    /// Nothing was stored, and these words say why.
    Problem(StatusCode, String),
}

impl Parts {
    pub(super) fn new(from: &str) -> Self {
        Self {
            from: from.to_owned(),
            stored: Roll::default(),
            failed: Roll::default(),
            other: Vec::new(),
            study: None,
            several: false,
            created: false,
            turned_away: None,
            too_large: 0,
        }
    }

    fn failures(&self) -> usize {
        self.failed.len() + self.other.len()
    }

    /// Counts a part in: by its name if it told one, else among the other failures (WEB-026).
    pub(super) fn take(&mut self, part: Part) {
        let (named, fault) = match part {
            Part::Stored(stored) => return self.keep(stored),
            Part::Failed(named, fault) => (named, fault),
        };
        if self.failures() < TOLD {
            tracing::warn!(from = self.from, reason = %fault, "instance not stored");
        }
        let failure_reason = fault.reason();
        match named.sop_instance {
            Some(sop_instance) => {
                let class = named.sop_class.as_ref().map(SopClassUid::as_str);
                self.failed.push(failure_reason, [class, None, None, Some(sop_instance.as_str())]);
            }
            None => self.other.push(failure_reason),
        }
        self.too_large += usize::from(matches!(fault, Fault::Refused(Refusal::TooLarge { .. })));
        let passing = fault.turned_away().is_some() && self.turned_away.is_none();
        if let (true, Fault::Refused(refusal)) = (passing, fault) {
            self.turned_away = Some(refusal);
        }
    }

    fn keep(&mut self, stored: Stored) {
        stored.write(&mut self.stored);
        self.created |= stored.fresh;
        self.several |= self.study.as_ref().is_some_and(|study| *study != stored.study);
        self.study.get_or_insert(stored.study);
    }

    fn sum(&self, cut: Option<&Cut>) -> Sum {
        let failures = self.failures();
        match (self.stored.is_empty(), failures, cut) {
            (false, 0, None) => Sum::Module(StatusCode::OK),
            (false, ..) => Sum::Module(StatusCode::ACCEPTED),
            (true, _, Some(cut)) => Sum::Problem(cut.status(), cut.to_string()),
            (true, 0, None) => Sum::Problem(StatusCode::BAD_REQUEST, "the body holds no instance".to_owned()),
            (true, _, None) if self.turned_away.is_some() => Sum::TurnedAway,
            (true, _, None) if self.too_large == failures => {
                let detail = "each of its instances is larger than this site takes".to_owned();
                Sum::Problem(StatusCode::PAYLOAD_TOO_LARGE, detail)
            }
            (true, _, None) => Sum::Module(StatusCode::CONFLICT),
        }
    }

    /// The answer, which names each part exactly once (PS3.18 section 10.5.3).
    pub(super) fn answer(self, cut: Option<Cut>, form: Form, base: &Base) -> Response {
        if let Some(cut) = &cut {
            tracing::warn!(from = self.from, why = %cut, "a STOW-RS request could not be read to its end");
        }
        if self.failures() > TOLD {
            tracing::warn!(
                from = self.from,
                failures = self.failures(),
                "more instances of this request were not stored"
            );
        }
        let status = match (self.sum(cut.as_ref()), &self.turned_away) {
            (Sum::Module(status), _) => status,
            (Sum::TurnedAway, Some(refusal)) => return turned_away(refusal),
            (Sum::TurnedAway, None) => return problem(StatusCode::SERVICE_UNAVAILABLE, "try again later"),
            (Sum::Problem(status, detail), _) if cut.is_some() => return last_problem(status, &detail),
            (Sum::Problem(status, detail), _) => return problem(status, &detail),
        };
        self.module(status, cut.as_ref(), form, base)
    }

    fn module(self, status: StatusCode, cut: Option<&Cut>, form: Form, base: &Base) -> Response {
        // The study's own address, where it is one study (PS3.18 sections 10.5.3.2 and 10.5.3.3).
        let only = self.study.as_ref().filter(|_| !self.several);
        let retrieve_url = only.map(|study| base.study(study));
        let location = retrieve_url.as_deref().filter(|_| self.created).and_then(|url| HeaderValue::from_str(url).ok());
        let own = base.clone();
        let stored = self.stored.into_iter().filter_map(move |line| referenced(&line, &own));
        let failed = self.failed.into_iter().filter_map(|line| refused(&line));
        let mut pieces = Pieces::new(form, retrieve_url, stored, failed, self.other).peekable();
        let first = pieces.next().unwrap_or_default();
        let body = match pieces.peek() {
            None => Body::from(first),
            // Long answers go out as they are written, so that they cost no memory.
            Some(_) => {
                let pieces = std::iter::once(first).chain(pieces).map(Ok::<_, std::io::Error>);
                Body::from_stream(futures_util::stream::iter(pieces))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
        if let Some(location) = location {
            headers.insert(header::LOCATION, location.clone());
            headers.insert(header::CONTENT_LOCATION, location);
        }
        if let Some(cut) = cut {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            // What is not named was not stored; here is why.
            let warning = format!("299 {}: The body was not read to its end: {cut}", base.as_str());
            headers.extend(HeaderValue::from_str(&warning).ok().map(|warning| (header::WARNING, warning)));
        }
        response
    }
}

#[cfg(test)]
mod tests;
