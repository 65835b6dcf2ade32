//! STOW-RS in: each part of the body goes to intake as it streams; the answer names every part (PS3.18 section 10.5).

use super::http::{Caller, WebFace, problem};
use crate::dicom::part10::{Found, MetaParser};
use crate::dicom::uid::{InstanceUid, SopClassUid, StudyUid};
use crate::dicomweb::media_type;
use crate::dicomweb::multipart::{Event, Limits, Parser};
use crate::dicomweb::stow::{Failed, Referenced, StoreResponse};
use crate::intake::{Arrived, Claimed, Receipt, Reception, Refusal, Source};
use crate::peers::Origin;
use crate::records::Kept;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// So much of a refused body is read, in bytes, and for so long, before the answer.
const FORGOTTEN_BYTES: usize = 4 << 20;
const FORGETTING: Duration = Duration::from_secs(2);

/// Seconds after which a sender whom we had to turn away may try again.
const RETRY_AFTER_SECONDS: &str = "30";

/// The same while we stop: who stops is most often started again at once.
const RETRY_AFTER_STOP_SECONDS: &str = "5";

pub(super) async fn store(face: State<WebFace>, caller: Extension<Caller>, headers: HeaderMap, body: Body) -> Response {
    receive(face.0, caller.0, None, &headers, body).await
}

pub(super) async fn store_study(
    face: State<WebFace>,
    caller: Extension<Caller>,
    Path(study): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match StudyUid::parse(&study) {
        Ok(study) => receive(face.0, caller.0, Some(study), &headers, body).await,
        Err(error) => problem(StatusCode::BAD_REQUEST, &format!("the study in the path: {error}")),
    }
}

async fn receive(face: WebFace, caller: Caller, study: Option<StudyUid>, headers: &HeaderMap, body: Body) -> Response {
    let (source, framing) = match admit(&face, caller, headers).await {
        Ok(admitted) => admitted,
        Err(refused) => return refuse(headers, body, *refused).await,
    };
    let mut request = Request {
        face,
        source: Arc::new(source),
        study,
        parts: VecDeque::new(),
        committing_bytes: 0,
        done: Vec::new(),
        current: Current::None,
    };
    let ended = request.read(body.into_data_stream(), framing).await;
    request.answer(ended).await
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
    face.intake.room(length.unwrap_or(0)).map_err(|refusal| Box::new(turned_away(&refusal)))?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    Ok((source, Framing::of(content_type, face)?))
}

/// Answers without using the body. A little of it is read and forgotten first: closing on a sender in mid-sentence resets
/// the connection, and many senders then never see the answer (FLT-066). One who asked before sending gets it at once.
async fn refuse(headers: &HeaderMap, body: Body, answer: Response) -> Response {
    if headers.contains_key(header::EXPECT) {
        return answer;
    }
    let mut body = body.into_data_stream();
    let forget = async {
        let mut left = FORGOTTEN_BYTES;
        while let Some(Ok(chunk)) = body.next().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // Too slow or too long: the answer goes out all the same.
    let _ = tokio::time::timeout(FORGETTING, forget).await;
    answer
}

async fn source(face: &WebFace, caller: Caller) -> Result<Source, Box<Response>> {
    let Some(peer) = caller.peer else {
        return Err(Box::new(problem(
            StatusCode::FORBIDDEN,
            "your certificate names no peer of this site; ask its administrator",
        )));
    };
    if !peer.may.store {
        face.records.refused("store", &format!("peer {} may not store here", peer.name)).await;
        return Err(Box::new(problem(
            StatusCode::FORBIDDEN,
            "this site does not let yours store; ask its administrator",
        )));
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
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(seconds));
    response
}

/// How instances are laid out in the body.
enum Framing {
    Multipart(Box<Parser>),
    /// One instance is the whole body; required of servers until PS3.18 2020c, still sent (WEB-021).
    Single,
}

impl Framing {
    fn of(content_type: &str, face: &WebFace) -> Result<Self, Box<Response>> {
        let refuse = |detail: &str| Box::new(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        let media = media_type::MediaType::parse(content_type).map_err(|_| {
            refuse("the Content-Type cannot be read; send multipart/related; type=\"application/dicom\"")
        })?;
        if media.essence() == "application/dicom" {
            return Ok(Self::Single);
        }
        if media.essence() != "multipart/related" {
            return Err(refuse("send multipart/related; type=\"application/dicom\""));
        }
        if media.parameter("type").is_some_and(|kind| !kind.eq_ignore_ascii_case("application/dicom")) {
            return Err(refuse("this service takes application/dicom parts; metadata with bulk data is not supported"));
        }
        let boundary = media.parameter("boundary").unwrap_or("");
        let limits = Limits { parts: face.options.parts, ..Limits::default() };
        let parser = Parser::new(boundary, limits).map_err(|error| {
            Box::new(problem(StatusCode::BAD_REQUEST, &format!("the boundary of the body: {error}")))
        })?;
        Ok(Self::Multipart(Box::new(parser)))
    }
}

/// The part that is being read.
enum Current {
    None,
    /// Its file meta information is not complete yet.
    Meta(MetaParser),
    /// Its data set is on its way to the store.
    Data(Box<Reception>, Named),
    /// Judged already; the rest of it is passed over.
    Passed,
}

/// What a part said of itself before its data set.
#[derive(Clone, Default)]
struct Named {
    sop_class: Option<SopClassUid>,
    sop_instance: Option<InstanceUid>,
}

/// What became of one part.
enum Part {
    Kept(Receipt),
    Refused(Named, Refusal),
}

struct Request {
    face: WebFace,
    source: Arc<Source>,
    study: Option<StudyUid>,
    /// Commits under way, oldest first, with the bytes that each holds.
    parts: VecDeque<(u64, JoinHandle<Part>)>,
    committing_bytes: u64,
    done: Vec<Part>,
    current: Current,
}

impl Request {
    /// Reads the body to its end; `Err` says why the rest of it could not be read.
    async fn read(&mut self, mut body: BodyDataStream, framing: Framing) -> Result<(), String> {
        let mut total = 0u64;
        let mut parser = match framing {
            Framing::Multipart(parser) => Some(parser),
            Framing::Single => {
                self.start();
                None
            }
        };
        let idle = self.face.options.body_idle;
        loop {
            let next =
                tokio::time::timeout(idle, body.next()).await.map_err(|_| "the body stopped coming".to_owned())?;
            let Some(chunk) = next else { break };
            let chunk = chunk.map_err(|_| "the connection broke within the body".to_owned())?;
            total += chunk.len() as u64;
            if total > self.face.options.request_bytes {
                return Err(format!("a request may have {} bytes", self.face.options.request_bytes));
            }
            match &mut parser {
                None => self.data(&chunk).await,
                Some(parser) => {
                    parser.push(chunk);
                    if self.events(parser).await? {
                        return Ok(());
                    }
                }
            }
        }
        match parser {
            None => {
                self.end().await;
                Ok(())
            }
            Some(_) => {
                self.current = Current::None;
                Err("the body ended before its closing boundary".to_owned())
            }
        }
    }

    /// Works off what the parser has; `true` at the closing boundary.
    async fn events(&mut self, parser: &mut Parser) -> Result<bool, String> {
        loop {
            match parser.next().map_err(|error| error.to_string())? {
                Event::NeedMore => return Ok(false),
                Event::PartStart(headers) => match headers.content_type {
                    Some(media) if media.essence() != "application/dicom" => {
                        let why = "a part that is not application/dicom".to_owned();
                        self.refuse(Named::default(), Refusal::Malformed { why, tag: None });
                    }
                    _ => self.start(),
                },
                Event::Data(bytes) => self.data(&bytes).await,
                Event::PartEnd => self.end().await,
                Event::End => return Ok(true),
            }
        }
    }

    fn start(&mut self) {
        self.current = Current::Meta(MetaParser::new());
    }

    fn refuse(&mut self, named: Named, refusal: Refusal) {
        self.current = Current::Passed;
        self.done.push(Part::Refused(named, refusal));
    }

    async fn data(&mut self, bytes: &Bytes) {
        match std::mem::replace(&mut self.current, Current::Passed) {
            Current::Meta(mut parser) => match parser.push(bytes) {
                Ok(None) => self.current = Current::Meta(parser),
                Ok(Some(Found { meta, early, used })) => {
                    let named = Named { sop_class: meta.sop_class.clone(), sop_instance: meta.sop_instance.clone() };
                    let claimed = Claimed {
                        sop_class: meta.sop_class,
                        sop_instance: meta.sop_instance,
                        study: self.study.clone(),
                        transfer_syntax: meta.transfer_syntax,
                    };
                    match self.face.intake.receive(claimed, None).await {
                        Ok(reception) => {
                            self.current = Current::Data(Box::new(reception), named);
                            self.more(&early).await;
                            self.more(&bytes[used..]).await;
                        }
                        Err(refusal) => self.refuse(named, refusal),
                    }
                }
                Err(error) => {
                    self.refuse(Named::default(), Refusal::Malformed { why: error.to_string(), tag: None });
                }
            },
            Current::Data(reception, named) => self.write(reception, named, bytes).await,
            other => self.current = other,
        }
    }

    /// Bytes of the data set that is being received, if it has not been refused meanwhile.
    async fn more(&mut self, bytes: &[u8]) {
        match std::mem::replace(&mut self.current, Current::Passed) {
            Current::Data(reception, named) => self.write(reception, named, bytes).await,
            other => self.current = other,
        }
    }

    async fn write(&mut self, mut reception: Box<Reception>, named: Named, bytes: &[u8]) {
        match reception.write(bytes).await {
            Ok(()) => self.current = Current::Data(reception, named),
            Err(refusal) => self.refuse(named, refusal),
        }
    }

    /// The part is complete: its commit starts, and the next part is read meanwhile, within the limit.
    async fn end(&mut self) {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::Data(reception, named) => match reception.finish().await {
                Ok(arrived) => self.commit(arrived, named).await,
                Err(refusal) => self.done.push(Part::Refused(named, refusal)),
            },
            Current::Meta(_) => {
                let why = "the part ended within its file meta information".to_owned();
                self.done.push(Part::Refused(Named::default(), Refusal::Malformed { why, tag: None }));
            }
            Current::Passed | Current::None => {}
        }
    }

    async fn commit(&mut self, arrived: Arrived, named: Named) {
        let bytes = arrived.length();
        while !self.parts.is_empty() && self.committing_bytes + bytes > self.face.options.commit_bytes {
            self.reap().await;
        }
        self.committing_bytes += bytes;
        let (intake, source) = (self.face.intake.clone(), Arc::clone(&self.source));
        let commit = tokio::spawn(async move {
            match intake.commit(source, arrived).await {
                Ok(receipt) => Part::Kept(receipt),
                Err(refusal) => Part::Refused(named, refusal),
            }
        });
        self.parts.push_back((bytes, commit));
    }

    async fn reap(&mut self) {
        if let Some((bytes, oldest)) = self.parts.pop_front() {
            self.committing_bytes -= bytes;
            let failed = || Refusal::Poisoned("the commit of this instance failed unexpectedly".into());
            self.done.push(oldest.await.unwrap_or_else(|_| Part::Refused(Named::default(), failed())));
        }
    }

    /// Waits for every commit and names each part exactly once (WEB-026).
    async fn answer(mut self, ended: Result<(), String>) -> Response {
        while !self.parts.is_empty() {
            self.reap().await;
        }
        if let Err(why) = &ended {
            tracing::warn!(from = self.source.origin.name(), why = %why, "a STOW-RS request could not be read to its end");
        }
        let mut module = StoreResponse::default();
        let mut turned = None;
        for part in self.done {
            match part {
                Part::Kept(receipt) => kept(&mut module, receipt),
                Part::Refused(named, refusal) => {
                    tracing::warn!(from = self.source.origin.name(), reason = %refusal, "instance not stored");
                    failed(&mut module, named, &refusal);
                    turned = turned.or(Some(refusal));
                }
            }
        }
        let stored = !module.referenced.is_empty();
        let refused = !module.failed.is_empty() || !module.other_failures.is_empty();
        let status = match (stored, refused, &ended) {
            (true, false, Ok(())) => StatusCode::OK,
            (true, _, _) => StatusCode::ACCEPTED,
            (false, true, Ok(())) => match turned {
                Some(refusal @ (Refusal::NoRoom | Refusal::Stopping | Refusal::Poisoned(_))) => {
                    return turned_away(&refusal);
                }
                _ => StatusCode::CONFLICT,
            },
            (false, _, Err(why)) => return problem(StatusCode::BAD_REQUEST, why),
            (false, false, Ok(())) => return problem(StatusCode::BAD_REQUEST, "the body holds no instance"),
        };
        (status, [(header::CONTENT_TYPE, "application/dicom+json")], module.to_json()).into_response()
    }
}

fn kept(module: &mut StoreResponse, receipt: Receipt) {
    let (class, instance) = (Some(receipt.sop_class), receipt.sop_instance);
    if matches!(receipt.kept, Kept::Differs { .. }) {
        // Kept and held, but never said to be stored (WEB-031, IDY-020).
        module.failed.push(Failed { sop_class: class, sop_instance: instance, failure_reason: 0xC010 });
    } else {
        module.referenced.push(Referenced {
            sop_class: class,
            sop_instance: instance,
            retrieve_url: None,
            warning_reason: None,
        });
    }
}

/// A part that was not stored: by its name if it told one, else among the others (WEB-026, WEB-027).
fn failed(module: &mut StoreResponse, named: Named, refusal: &Refusal) {
    let reason = match refusal {
        Refusal::NoRoom | Refusal::Stopping | Refusal::TooLarge { .. } => 0xA700,
        Refusal::Poisoned(_) => 0x0110,
        Refusal::Malformed { .. } => 0xC000,
        Refusal::OtherClass => 0xA900,
        Refusal::OtherInstance | Refusal::OtherStudy => 0xA901,
        Refusal::MissingIdentity { .. } => 0xA902,
    };
    match named.sop_instance {
        Some(instance) => {
            module.failed.push(Failed { sop_class: named.sop_class, sop_instance: instance, failure_reason: reason })
        }
        None => module.other_failures.push(reason),
    }
}
