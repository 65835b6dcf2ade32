//! WADO-RS in: studies, series and instances as they are kept or re-encoded, streamed, never complete if damaged (PS3.18
//! section 10.4). Metadata, bulk data, frames and rendered forms are not served.

mod archived;
mod body;
mod refill;
mod seats;

pub use seats::Seats;

use super::http::{Base, Caller, Target, WebFace, problem};
use crate::dicom::part10::IMPLEMENTATION_VERSION_NAME;
use crate::dicom::transcode::Transcoder;
use crate::dicom::transfer_syntax::allowed_on_the_web;
use crate::dicom::uid::TransferSyntaxUid;
use crate::dicomweb::media_type::DICOM;
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::wado::{self, AcceptError, Range, Syntax, Wanted, Wrapper};
use crate::priors::archive::Fetching;
use crate::records::{Extent, InstanceId, Question, RecordsError, Resource, Retrievable};
use archived::Awaited;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use body::{Instance, Related, Trimmed, seated};
use percent_encoding::percent_decode_str;
use seats::Seat;
use std::time::SystemTime;

pub(super) async fn retrieve(
    State(face): State<WebFace>,
    Extension(caller): Extension<Caller>,
    Extension(base): Extension<Base>,
    target: Target,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match answer(face, caller, base, target, query.as_deref().unwrap_or(""), &headers).await {
        Ok(response) => response,
        Err(refused) => *refused,
    }
}

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

async fn answer(
    face: WebFace,
    caller: Caller,
    base: Base,
    target: Target,
    query: &str,
    headers: &HeaderMap,
) -> Answered {
    let Some(peer) = caller.peer else {
        return refuse(StatusCode::FORBIDDEN, "your certificate names no peer of this site");
    };
    if !peer.may.retrieve {
        // The same words whether it exists or not (WEB-009).
        face.records.refused("retrieve", &format!("peer {} may not retrieve here", peer.name)).await;
        return refuse(StatusCode::FORBIDDEN, "this site does not let yours retrieve");
    }
    let Some(study) = target.study else { return refuse(StatusCode::NOT_FOUND, "there is no such resource here") };
    let resource = Resource { study, series: target.series, instance: target.instance };
    let wanted = match wado::accepted(accept(headers, query)?.as_deref()) {
        Ok(wanted) => wanted,
        Err(error @ AcceptError::Mixed) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error @ AcceptError::NotInstances) => return refuse(StatusCode::NOT_ACCEPTABLE, &error.to_string()),
    };
    let Awaited { extent, fetching, silent } = archived::awaited(&face, &resource).await?;
    if extent.stored == 0 {
        return nothing(&extent);
    }
    let Some(chosen) = wanted.into_iter().find(|wanted| fits(wanted, &resource, &extent)) else {
        let detail = "not all of it can be given in such a transfer syntax; ask with transfer-syntax=*";
        return refuse(StatusCode::NOT_ACCEPTABLE, detail);
    };
    // Held until the body has gone out, or its reader is given up.
    let Some(seat) = face.retrievals.take(&peer.name) else { return Err(Box::new(busy())) };
    tracing::info!(to = peer.name, study = %resource.study, instances = extent.stored, "a peer retrieves");
    let (peer, behalf, study) = (peer.name.clone(), caller.behalf, Some(resource.study.clone()));
    let question = Question { peer, behalf, what: "retrieve", study, told: Vec::new(), given: extent.stored };
    face.records.asked(question).await;
    match chosen.wrapper {
        Wrapper::Multipart => {
            let service = base.as_str().to_owned();
            let wanted = (resource, chosen.syntax);
            related(face, base, wanted, &extent, fetching, seat)
                .map(|response| archived::warned(response, silent, &service))
        }
        Wrapper::Single => single(face, base, &resource, &chosen.syntax, headers, seat).await,
    }
}

/// What is accepted: by the query parameter, which counts more, or by the header (PS3.18 section 8.3.3.1).
fn accept(headers: &HeaderMap, query: &str) -> Result<Option<String>, Box<Response>> {
    if let Some(given) = query.split('&').find_map(|pair| pair.strip_prefix("accept=")) {
        let text = percent_decode_str(given).decode_utf8();
        return match text {
            Ok(text) => Ok(Some(text.into_owned())),
            Err(_) => refuse(StatusCode::BAD_REQUEST, "the query string is not percent-encoded UTF-8"),
        };
    }
    let lines: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    Ok((!lines.is_empty()).then(|| lines.join(", ")))
}

/// Nothing is kept: was it ever (WEB-101)?
fn nothing(extent: &Extent) -> Answered {
    if extent.damaged > 0 {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "what this site holds of it is damaged");
    }
    match extent.purged {
        0 => refuse(StatusCode::NOT_FOUND, "this site holds no such resource"),
        _ => refuse(StatusCode::GONE, "this site held it and has deleted it"),
    }
}

/// Too many bodies are going out as it is (PS3.18 section 8.5).
fn busy() -> Response {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "too much is being retrieved from this site just now");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    response
}

/// Whether all of a resource can be given as wanted.
fn fits(wanted: &Wanted, resource: &Resource, extent: &Extent) -> bool {
    let wrapped = wanted.wrapper == Wrapper::Multipart || resource.instance.is_some();
    wrapped && extent.syntaxes.iter().all(|stored| leaves(stored, &wanted.syntax).is_some())
}

/// How an instance leaves: `Some(false)` as it is stored, `Some(true)` as Explicit VR Little Endian (WEB-001, WEB-003).
fn leaves(stored: &TransferSyntaxUid, wanted: &Syntax) -> Option<bool> {
    let travels = allowed_on_the_web(stored);
    match wanted {
        Syntax::AsStored if travels => Some(false),
        Syntax::Only(uid) if travels && uid == stored.as_str() => Some(false),
        _ if (*wanted == Syntax::AsStored || wanted.is_default()) && Transcoder::new(stored).is_some() => Some(true),
        _ => None,
    }
}

/// Several instances, each its own part; 206 if some are no more or are damaged. What is being fetched is waited for.
fn related(
    face: WebFace,
    base: Base,
    (resource, syntax): (Resource, Syntax),
    extent: &Extent,
    fetching: Option<Fetching>,
    seat: Seat,
) -> Answered {
    let writer =
        Writer::new(DICOM).map_err(|_| problem(StatusCode::SERVICE_UNAVAILABLE, "the system gave no randomness"));
    let writer = writer.map_err(Box::new)?;
    // What an archive holds is no more missing: the body ends well only if it came.
    let missing = if fetching.is_some() { 0 } else { extent.purged + extent.damaged };
    let status = if missing > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let kind = HeaderValue::from_str(&writer.content_type());
    let service = base.as_str().to_owned();
    let body = Related::new(face.records, face.store, resource, syntax, base, writer).awaiting(fetching);
    let mut response = Response::new(Body::from_stream(seated(body.into_stream(), seat)));
    *response.status_mut() = status;
    if let Ok(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    if missing > 0 {
        let text = format!("299 {}: {missing} instances are not given: deleted or damaged here", service);
        if let Ok(text) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(header::WARNING, text);
        }
    }
    Ok(response)
}

/// One instance as the body; a part of it if Range asks for one and the bytes are those on disk (WEB-103).
async fn single(
    face: WebFace,
    base: Base,
    resource: &Resource,
    syntax: &Syntax,
    headers: &HeaderMap,
    seat: Seat,
) -> Answered {
    let found = face.records.retrievable(resource, InstanceId(0)).await.map_err(unreadable)?;
    let Some(item) = found.into_iter().next() else { return refuse(StatusCode::GONE, "it was deleted just now") };
    let Some(transcode) = leaves(&item.transfer_syntax, syntax) else {
        return refuse(StatusCode::NOT_ACCEPTABLE, "it cannot be given in such a transfer syntax");
    };
    let prefix = body::prefix(&item, transcode);
    let total = prefix.len() as u64 + item.length;
    let tag = format!("\"{}.{IMPLEMENTATION_VERSION_NAME}.{}\"", item.digest, u8::from(transcode));
    let given = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if wado::names(given(header::IF_NONE_MATCH), &tag) {
        return Ok(with(StatusCode::NOT_MODIFIED, Body::empty(), &[(header::ETAG, &tag)]));
    }
    // If-Range: what was begun is another representation, so it is given whole (RFC 9110 section 13.1.5).
    let same = given(header::IF_RANGE).is_none_or(|given| given == tag);
    let range = match transcode {
        true => Range::Whole,
        false => wado::range(given(header::RANGE).filter(|_| same), total),
    };
    let kind = format!("{DICOM}; transfer-syntax={}", body::syntax(&item, transcode));
    let location = base.instance(&item.study, &item.series, &item.sop_instance);
    let mut fields = vec![
        (header::CONTENT_TYPE, kind),
        (header::ETAG, tag),
        (header::CONTENT_LOCATION, location),
        (header::ACCEPT_RANGES, if transcode { "none" } else { "bytes" }.to_owned()),
    ];
    let (status, first, last) = match range {
        Range::Beyond => {
            let span = format!("bytes */{total}");
            return Ok(with(StatusCode::RANGE_NOT_SATISFIABLE, Body::empty(), &[(header::CONTENT_RANGE, &span)]));
        }
        Range::Whole => (StatusCode::OK, 0, total),
        Range::Part(first, last) => {
            fields.push((header::CONTENT_RANGE, format!("bytes {first}-{}/{total}", last - 1)));
            (StatusCode::PARTIAL_CONTENT, first, last)
        }
    };
    if last < total {
        // The digest shows only at the end, which is not given: it is looked at first.
        whole(&face, &item).await?;
    }
    if !transcode {
        fields.push((header::CONTENT_LENGTH, (last - first).to_string()));
    }
    let instance = Instance::new(face.records, face.store, item, transcode);
    let body = match transcode {
        true => Body::from_stream(seated(instance.into_stream(), seat)),
        false => Body::from_stream(seated(Trimmed::new(instance, first, last - first).into_stream(), seat)),
    };
    let fields: Vec<(HeaderName, &str)> = fields.iter().map(|(name, text)| (name.clone(), text.as_str())).collect();
    Ok(with(status, body, &fields))
}

/// Reads a blob to its end and compares its digest; a damaged one is set aside (REL-07).
async fn whole(face: &WebFace, item: &Retrievable) -> Result<(), Box<Response>> {
    let Err(error) = face.store.verify(item.place, item.digest).await else { return Ok(()) };
    tracing::error!(instance = %item.sop_instance, error = %error, "an instance cannot be retrieved");
    if error.is_damage()
        && let Err(error) = face.records.corrupt(item.instance, &error.to_string(), SystemTime::now()).await
    {
        tracing::error!(error = %error, "the damage could not be recorded");
    }
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "what this site holds of it cannot be read")
}

fn with(status: StatusCode, body: Body, fields: &[(HeaderName, &str)]) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, text) in fields {
        if let Ok(value) = HeaderValue::from_str(text) {
            response.headers_mut().insert(name.clone(), value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_may_not_travel_is_re_encoded_and_what_cannot_be_is_not_given() {
        let (implicit, big) = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2");
        let (explicit, jpeg) = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50");
        let only = |uid: &str| Syntax::Only(uid.to_owned());
        let rows = [
            (explicit, Syntax::AsStored, Some(false)),
            (jpeg, Syntax::AsStored, Some(false)),
            (implicit, Syntax::AsStored, Some(true)),
            (big, Syntax::AsStored, Some(true)),
            (explicit, only(explicit), Some(false)),
            (implicit, only(explicit), Some(true)),
            (big, only(explicit), Some(true)),
            (jpeg, only(jpeg), Some(false)),
            (jpeg, only(explicit), None),
            (explicit, only(jpeg), None),
            (implicit, only(implicit), None),
            (big, only(big), None),
        ];
        for (stored, wanted, want) in rows {
            assert_eq!(leaves(&TransferSyntaxUid::parse(stored).unwrap(), &wanted), want, "{stored} as {wanted:?}");
        }
    }
}
