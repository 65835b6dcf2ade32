//! WADO-RS in: what is kept of studies, series and instances, in every form of PS3.18 section 10.4; streamed, and never complete if
//! damaged.

mod all_bulk;
mod archived;
mod body;
mod bulk;
mod comparing;
mod data_set;
mod elements;
mod elsewhere;
mod frames;
mod instances;
mod metadata;
mod pixels;
mod refill;
mod rendered;
mod seats;
mod span;
mod waiting;

pub use pixels::Known;
pub use seats::Seats;

use super::http::{Asker, Base, Caller, Target, WebFace, problem};
use crate::dicom::contents::StructureError;
use crate::dicom::layout::index::IndexError;
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::pixels::{DecodeError, FragmentError, ImageError};
use crate::dicom::render::{EncodeError, RenderError};
use crate::dicom::transcode::TranscodeError;
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::wado;
use crate::priors::fetch::Held;
use crate::records::{Question, RecordsError, Resource, Retrievable};
use archived::{Awaited, Missing};
use axum::body::Body;
use axum::extract::{Extension, FromRequestParts, RawQuery};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use seats::Seat;
use std::io;
use std::time::SystemTime;

/// Seconds after which who was turned away may ask again.
const RETRY_AFTER_SECONDS: &str = "5";

type Answered = Result<Response, Box<Response>>;

fn refuse<T>(status: StatusCode, detail: &str) -> Result<T, Box<Response>> {
    Err(Box::new(problem(status, detail)))
}

fn unreadable(error: RecordsError) -> Box<Response> {
    tracing::error!(error = %error, "a retrieval could not be answered");
    Box::new(problem(StatusCode::SERVICE_UNAVAILABLE, "the records cannot be read now"))
}

/// What is kept cannot be read, or cannot be made into what was asked for.
fn unread(error: &io::Error) -> Box<Response> {
    refused(error, "")
}

fn refused(error: &io::Error, advice: &str) -> Box<Response> {
    let cause = error.get_ref();
    if cause.is_some_and(|cause| cause.is::<waiting::Full>()) {
        return Box::new(busy());
    }
    if let Some(RenderError::Region) = cause.and_then(|cause| cause.downcast_ref()) {
        // The request is at fault, whatever form is accepted (PS3.18 section 8.3.5.1.3).
        return Box::new(problem(StatusCode::BAD_REQUEST, &format!("it cannot be shown so: {error}")));
    }
    let ours = !formless(error);
    Box::new(match ours {
        true => problem(StatusCode::INTERNAL_SERVER_ERROR, "what this site holds of it cannot be read"),
        false => {
            let detail = format!("it cannot be given in such a form: {error}{advice}");
            problem(StatusCode::NOT_ACCEPTABLE, &detail)
        }
    })
}

/// Whether it is what is kept that has no such form, and not the store that failed.
fn formless(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| {
        let transcoding = cause.is::<TranscodeError>() || cause.is::<StructureError>() || cause.is::<pixels::Missing>();
        let decoding = cause.is::<DecodeError>() || cause.is::<FragmentError>() || cause.is::<ImageError>();
        let rendering = cause.is::<RenderError>() || cause.is::<EncodeError>();
        transcoding || decoding || rendering || cause.is::<IndexError>()
    })
}

/// One request by somebody who may retrieve.
pub(super) struct Asked {
    face: WebFace,
    base: Base,
    asker: Asker,
    /// For whom it asks, as far as it says.
    behalf: OnBehalf,
    resource: Resource,
    /// What the path names below the instance: frames, or an attribute.
    below: Option<String>,
    /// What is accepted: by the query parameter, which counts more, or by the header (PS3.18 section 8.3.3.1).
    accept: Option<String>,
    query: String,
    headers: HeaderMap,
    /// Copies that are not flushed before the answer has gone out.
    copies: Option<Held>,
}

impl FromRequestParts<WebFace> for Asked {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, face: &WebFace) -> Result<Self, Response> {
        let target = Target::from_request_parts(parts, face).await?;
        let caller = Extension::<Caller>::from_request_parts(parts, face).await;
        let base = Extension::<Base>::from_request_parts(parts, face).await;
        let (Ok(Extension(caller)), Ok(Extension(base))) = (caller, base) else {
            return Err(problem(StatusCode::INTERNAL_SERVER_ERROR, "nobody said who asks"));
        };
        let RawQuery(query) = RawQuery::from_request_parts(parts, face).await.unwrap_or(RawQuery(None));
        let mut headers = parts.headers.clone();
        if parts.method != Method::GET {
            // Of HEAD no part can be asked for (RFC 9110 section 14.2).
            headers.remove(header::RANGE);
        }
        Self::admit(face.clone(), caller, base, target, query.unwrap_or_default(), headers)
            .await
            .map_err(|refused| *refused)
    }
}

macro_rules! resource {
    ($name:ident, $module:ident, $answer:ident) => {
        pub(super) async fn $name(asked: Asked) -> Response {
            $module::$answer(asked).await.unwrap_or_else(|refused| *refused)
        }
    };
}

resource!(retrieve, instances, answer);
resource!(describe, metadata, answer);
resource!(bulk_data, bulk, answer);
resource!(all_bulk_data, all_bulk, answer);
resource!(frame_list, frames, answer);
resource!(render, rendered, answer);
resource!(thumbnail, rendered, thumbnail);

impl Asked {
    async fn admit(
        face: WebFace,
        caller: Caller,
        base: Base,
        target: Target,
        query: String,
        headers: HeaderMap,
    ) -> Result<Self, Box<Response>> {
        let Some(asker) = caller.asker() else {
            return refuse(StatusCode::FORBIDDEN, "your certificate names no peer of this site");
        };
        if !asker.may.retrieve {
            // The same words whether it exists or not (WEB-009).
            face.records.refused("retrieve", &format!("peer {} may not retrieve here", asker.name)).await;
            return refuse(StatusCode::FORBIDDEN, "this site does not let yours retrieve");
        }
        let Some(study) = target.study else { return refuse(StatusCode::NOT_FOUND, "there is no such resource here") };
        let resource = Resource { study, series: target.series, instance: target.instance };
        let accept = accept(&headers, &query)?;
        let (behalf, below, copies) = (caller.behalf, target.below, None);
        Ok(Self { face, base, asker, behalf, resource, below, accept, query, headers, copies })
    }

    /// What is kept, what other sites give, and what an archive brings; refused if there is nothing: was there ever (WEB-101)?
    async fn held(&mut self) -> Result<Awaited, Box<Response>> {
        self.copies = self.hold().await?;
        let elsewhere = self.pulled().await?;
        let awaited = Awaited { elsewhere, ..archived::awaited(&self.face, &self.resource).await? };
        let extent = &awaited.extent;
        if awaited.elsewhere.stale > 0 {
            return Err(archived::not_given(
                "its site files it under another patient by now, and has not given it again; if what it gives differs, a person must decide",
            ));
        }
        match extent.stored {
            0 if extent.damaged > 0 => {
                refuse(StatusCode::INTERNAL_SERVER_ERROR, "what this site holds of it is damaged")
            }
            0 if !awaited.elsewhere.is_whole() => Err(archived::not_given(
                "another site did not say what it holds, or did not give it; whether there is anything is not known",
            )),
            0 if extent.purged > 0 => refuse(StatusCode::GONE, "this site held it and has deleted it"),
            0 => refuse(StatusCode::NOT_FOUND, "this site holds no such resource"),
            _ => Ok(awaited),
        }
    }

    /// A seat, held until the body has gone out or its reader is given up; with it the copies that are read. It is waited for: a viewer
    /// asks for many frames at once, and does not ask again for one that was refused.
    async fn seat(&mut self) -> Result<Seat, Box<Response>> {
        let seat = self.face.retrievals.wait(&self.asker.name).await.ok_or_else(|| Box::new(busy()))?;
        Ok(seat.keeping(self.copies.take()))
    }

    /// Records that so many instances are about to be given, whole or in part (SEC-023).
    async fn gives(&self, given: u64) {
        tracing::info!(to = self.asker.name, study = %self.resource.study, instances = given, "a peer retrieves");
        let (peer, behalf, study) = (self.asker.name.clone(), self.behalf.clone(), Some(self.resource.study.clone()));
        let question = Question { peer, behalf, what: "retrieve", study, told: Vec::new(), given };
        self.face.records.asked(question).await;
    }

    /// What else can be asked for where instances or frames cannot be given: as they are stored, unless that was asked for.
    fn advice(&self) -> &'static str {
        if wado::takes_as_stored(self.accept.as_deref()) { "" } else { "; ask with transfer-syntax=*" }
    }

    /// Instances or frames that cannot be read, or not be made into what was asked for.
    fn unmade(&self, error: &io::Error) -> Box<Response> {
        refused(error, self.advice())
    }

    /// A writer of a body of parts.
    fn writer(&self, part_type: &'static str) -> Result<Writer, Box<Response>> {
        let writer = Writer::new(part_type);
        writer.map_err(|_| Box::new(problem(StatusCode::SERVICE_UNAVAILABLE, "the system gave no randomness")))
    }
}

/// The query parameter counts more than the header.
pub(super) fn accept(headers: &HeaderMap, query: &str) -> Result<Option<String>, Box<Response>> {
    if let Some(given) = query.split('&').find_map(|pair| pair.strip_prefix("accept=")) {
        let text = percent_decode_str(given).decode_utf8();
        return match text {
            // A space behind a separator comes as `+` from whoever encodes it as forms do.
            Ok(text) => Ok(Some(text.replace(";+", "; ").replace(",+", ", "))),
            Err(_) => refuse(StatusCode::BAD_REQUEST, "the query string is not percent-encoded UTF-8"),
        };
    }
    Ok(listed(headers, &header::ACCEPT))
}

/// A header that is a list, its lines joined (RFC 9110 section 5.3); `None` if there is none that is text.
pub(super) fn listed(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// Too many bodies are going out as it is (PS3.18 section 8.5).
fn busy() -> Response {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "too much is being retrieved from this site just now");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    response
}

/// An answer of several instances; 206 if some are no more, are damaged or fit no accepted transfer syntax, or somebody who may have more keeps
/// silent. What an archive holds is no more missing: the body ends well only if it came.
fn partial(kind: &str, body: Body, missing: Missing, service: &str) -> Response {
    let Missing { missing, unfit, silent, elsewhere } = missing;
    let in_part = missing > 0 || silent || !elsewhere.is_whole();
    let status = if in_part || unfit > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = span::with(status, body, &[(header::CONTENT_TYPE, kind)]);
    if missing > 0 {
        let text = format!("299 {service}: {missing} instances are not given: deleted or damaged here");
        if let Ok(text) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(header::WARNING, text);
        }
    }
    if unfit > 0 {
        let text = format!(
            "299 {service}: what fits no accepted transfer syntax is not given; that concerns {unfit} instances kept here"
        );
        if let Ok(text) = HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, text);
        }
    }
    for text in elsewhere.warnings(service).iter().filter_map(|text| HeaderValue::from_str(text).ok()) {
        response.headers_mut().append(header::WARNING, text);
    }
    archived::warned(response, silent, service)
}

/// Reads a blob to its end and compares its digest; a damaged one is set aside (REL-07).
async fn whole(face: &WebFace, item: &Retrievable) -> Result<(), Box<Response>> {
    let Err(error) = face.store.verify(item.place, item.digest).await else { return Ok(()) };
    tracing::error!(instance = %item.sop_instance, error = %error, "an instance cannot be retrieved");
    if error.is_damage()
        && let Err(error) = face.records.corrupt(item.instance, item.place, &error.to_string(), SystemTime::now()).await
    {
        tracing::error!(error = %error, "the damage could not be recorded");
    }
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "what this site holds of it cannot be read")
}
