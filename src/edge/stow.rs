//! STOW-RS in: each part of the body goes to intake as it streams; the answer names every part (PS3.18 section 10.5).

mod outcome;
mod request;
mod roll;

use super::http::{Base, Caller, Target, WebFace, problem};
use super::wado;
use crate::dicomweb::media_type::{self, DICOM, DICOM_JSON, DICOM_XML, JSON, MULTIPART_RELATED, MediaType};
use crate::dicomweb::multipart::{Limits, Parser};
use crate::dicomweb::stow::Form;
use crate::intake::{Refusal, Source};
use crate::peers::Origin;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt;
use request::Request;
use std::time::Duration;

/// So much of a refused body is read, in bytes, and for so long, before the answer.
const FORGOTTEN_BYTES: usize = 4 << 20;
const FORGETTING: Duration = Duration::from_secs(2);

/// Seconds after which a sender whom we had to turn away may try again.
const RETRY_AFTER_SECONDS: &str = "30";

/// The same while we stop: who stops is most often started again at once.
const RETRY_AFTER_STOP_SECONDS: &str = "5";

/// What we take, as it stands in the answer to anything else.
const TAKEN: HeaderValue = HeaderValue::from_static("multipart/related; type=\"application/dicom\", application/dicom");

pub(super) async fn store(
    State(face): State<WebFace>,
    Extension(caller): Extension<Caller>,
    Extension(base): Extension<Base>,
    target: Target,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (source, framing) = match admit(&face, caller, &headers).await {
        Ok(admitted) => admitted,
        Err(refused) => return refuse(&headers, body, *refused).await,
    };
    let mut request = Request::new(face, source, target.study);
    let cut = request.read(body.into_data_stream(), framing).await.err();
    request.ended().await.answer(cut, form(&headers), &base)
}

/// The form of the answer. What we have nothing for is answered in the default form: nothing is refused for an Accept header
/// alone, since the sender would send the same instances again (RFC 9110 section 12.5.1 leaves it to us).
fn form(headers: &HeaderMap) -> Form {
    let accept = wado::listed(headers, &header::ACCEPT);
    let offered = [DICOM_JSON, JSON, DICOM_XML, "application/xml", "text/xml"];
    match media_type::preferred(accept.as_deref(), &offered) {
        Some(DICOM_JSON | JSON) | None => Form::Json,
        Some(_) => Form::Xml,
    }
}

/// What can be judged by the head of the request alone, before its body is read (WEB-032).
async fn admit(face: &WebFace, caller: Caller, headers: &HeaderMap) -> Result<(Source, Framing), Box<Response>> {
    let source = source(face, caller).await?;
    let length = content_length(headers);
    let limit = face.options.request_bytes;
    if length.is_some_and(|bytes| bytes > limit) {
        let detail = format!("a request may have {limit} bytes; send fewer instances");
        return Err(Box::new(problem(StatusCode::PAYLOAD_TOO_LARGE, &detail)));
    }
    let framing = Framing::of(headers, face)?;
    face.intake.room(length.unwrap_or(0)).map_err(|refusal| Box::new(turned_away(&refusal)))?;
    Ok((source, framing))
}

/// Answers without using the body. A little of it is read and forgotten first: closing on a sender in mid-sentence resets
/// the connection, and many senders then never see the answer (FLT-066). One who asked before sending gets it at once.
async fn refuse(headers: &HeaderMap, body: Body, mut answer: Response) -> Response {
    let whole = !headers.contains_key(header::EXPECT) && forget(&mut body.into_data_stream()).await;
    if !whole {
        // No other request can follow on this connection; who keeps connections, as proxies do, has to be told (RFC 9112 section 9.6).
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Reads on for a little, if there is more; tells whether that was all.
async fn forget(body: &mut BodyDataStream) -> bool {
    let forget = async {
        let mut left = FORGOTTEN_BYTES;
        while let Some(next) = body.next().await {
            match next.ok().and_then(|chunk| left.checked_sub(chunk.len())) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    };
    // Too slow or too long: the answer goes out all the same.
    tokio::time::timeout(FORGETTING, forget).await.unwrap_or(false)
}

async fn source(face: &WebFace, caller: Caller) -> Result<Source, Box<Response>> {
    if caller.viewer.is_some() {
        let detail = "this address is for search and retrieval only; a node of this site sends by C-STORE";
        return Err(Box::new(problem(StatusCode::FORBIDDEN, detail)));
    }
    let Some(peer) = caller.peer else {
        return Err(Box::new(problem(StatusCode::FORBIDDEN, "your certificate names no peer of this site")));
    };
    if !peer.may.store {
        face.records.refused("store", &format!("peer {} may not store here", peer.name)).await;
        return Err(Box::new(problem(StatusCode::FORBIDDEN, "this site does not let yours store")));
    }
    Ok(Source { origin: Origin::Peer(peer.name.clone()), called: None, facts: caller.facts, requested: None })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// No fault of the request: it may come again later (WEB-025, FLT-020).
fn turned_away(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let seconds = match refusal {
        Refusal::Stopping => RETRY_AFTER_STOP_SECONDS,
        _ => RETRY_AFTER_SECONDS,
    };
    let mut response = problem(status, &refusal.to_string());
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    response
}

/// How instances are laid out in the body.
enum Framing {
    Multipart(Box<Parser>),
    /// One instance is the whole body; required of servers until PS3.18 2020c, still sent (WEB-021).
    Single,
}

impl Framing {
    fn of(headers: &HeaderMap, face: &WebFace) -> Result<Self, Box<Response>> {
        let Some(boundary) = boundary(headers)? else { return Ok(Self::Single) };
        let limits =
            Limits { parts: face.options.parts, header_bytes: face.options.part_header_bytes, ..Limits::default() };
        let parser = Parser::new(&boundary, limits).map_err(|error| {
            Box::new(problem(StatusCode::BAD_REQUEST, &format!("the boundary of the body: {error}")))
        })?;
        Ok(Self::Multipart(Box::new(parser)))
    }
}

/// The boundary between the parts, by the head of the request; `None` if one instance is the whole body.
fn boundary(headers: &HeaderMap) -> Result<Option<String>, Box<Response>> {
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        // Who compresses a body spends our memory; and pixels are compressed already or not to be (WEB-011).
        let mut refused = other_media("send the body without Content-Encoding");
        refused.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        return Err(Box::new(refused));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let refuse = |detail: &str| Box::new(other_media(detail));
    let media = MediaType::parse(content_type)
        .map_err(|_| refuse("the Content-Type cannot be read; send multipart/related; type=\"application/dicom\""))?;
    if media.essence() == DICOM {
        return Ok(None);
    }
    let other_parts = media.part_type().is_some_and(|kind| !kind.eq_ignore_ascii_case(DICOM));
    if other_parts || media.is_json() || media.is_xml() {
        let detail = "this service takes application/dicom parts; metadata with bulk data is not supported";
        return Err(refuse(detail));
    }
    if media.essence() != MULTIPART_RELATED {
        return Err(refuse("send multipart/related; type=\"application/dicom\""));
    }
    Ok(Some(media.parameter("boundary").unwrap_or("").to_owned()))
}

/// 415 says what would have been taken (RFC 9110 section 15.5.16).
fn other_media(detail: &str) -> Response {
    let mut response = problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    response.headers_mut().insert(header::ACCEPT, TAKEN);
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// RFC 9110 section 5.3: the lines of a list are one list. Nothing is refused for it.
    #[test]
    fn the_form_of_the_answer_is_that_of_all_accept_lines() {
        let rows: [(&[&str], Form); 6] = [
            (&[], Form::Json),
            (&["application/dicom+xml"], Form::Xml),
            (&["application/dicom+json;q=0.1", "application/dicom+xml"], Form::Xml),
            (&["image/png", "application/dicom+xml"], Form::Xml),
            (&["image/png", "text/html"], Form::Json),
            (&["multipart/related"], Form::Json),
        ];
        for (lines, want) in rows {
            let headers = lines.iter().map(|line| (header::ACCEPT, line.parse().unwrap())).collect();
            assert_eq!(form(&headers), want, "{lines:?}");
        }
    }

    /// Some senders write the type in apostrophes. Those of a boundary may belong to it.
    #[test]
    fn a_type_in_apostrophes_is_taken() {
        let rows = [
            ("multipart/related; type=\"application/dicom\"; boundary=b", Ok(Some("b"))),
            ("multipart/related; type='application/dicom'; boundary=b", Ok(Some("b"))),
            ("multipart/related; type='Application/DICOM'; boundary='b'", Ok(Some("'b'"))),
            ("multipart/related; boundary=b", Ok(Some("b"))),
            ("application/dicom", Ok(None)),
            ("multipart/related; type=application/dicom; transfer-syntax=1.2; boundary=b", Ok(Some("b"))),
            ("multipart/related; type=\"application/dicom; transfer-syntax=1.2\"; boundary=b", Ok(Some("b"))),
            ("multipart/related; type=\"application/dicom;transfer-syntax=*\"; boundary=b", Ok(Some("b"))),
            ("multipart/related; type=\"\"; boundary=b", Ok(Some("b"))),
            ("multipart/related; type=\"application/dicom+json; transfer-syntax=1.2\"; boundary=b", Err(())),
            ("multipart/related; type=\"application/octet-stream;transfer-syntax=1.2\"; boundary=b", Err(())),
            ("multipart/related; type='application/dicom+json'; boundary=b", Err(())),
            ("multipart/related; type='application/dicom; boundary=b", Err(())),
            ("multipart/related; type='; boundary=b", Err(())),
        ];
        for (content_type, want) in rows {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
            let told =
                boundary(&headers).map_err(|refused| assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE));
            assert_eq!(told, want.map(|boundary| boundary.map(str::to_owned)), "{content_type}");
        }
    }

    /// RFC 9112 section 9.6: what is left of a body stands in the way of the next request, and the sender is told so.
    #[tokio::test(start_paused = true)]
    async fn a_refusal_ends_the_connection_unless_the_whole_body_was_read() {
        let endless = || Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let rows = [
            (Body::from("short"), None, false),
            (Body::empty(), None, false),
            (Body::from(vec![0u8; FORGOTTEN_BYTES + 1]), None, true),
            (endless(), None, true),
            (Body::from("short"), Some("100-continue"), true),
        ];
        for (number, (body, expect, ends)) in rows.into_iter().enumerate() {
            let headers = expect.into_iter().map(|value| (header::EXPECT, HeaderValue::from_static(value))).collect();
            let answer = refuse(&headers, body, problem(StatusCode::FORBIDDEN, "x")).await;
            assert_eq!(answer.headers().contains_key(header::CONNECTION), ends, "row {number}");
        }
    }
}
