//! One STOW-RS request as it is read: part after part into intake, commits running beside, within a limit.

use super::outcome::{Cut, Fault, Named, Part, Parts, Stored};
use super::{Framing, forget};
use crate::dicom::part10::{Found, MetaParser};
use crate::dicom::sop_class::may_be_storage;
use crate::dicom::uid::StudyUid;
use crate::dicomweb::media_type::{DICOM, MediaType, OCTET_STREAM};
use crate::dicomweb::multipart::{Event, Parser, PartHeaders};
use crate::edge::http::{Pace, WebFace};
use crate::intake::{Arrived, Claimed, Reception, Refusal, Source};
use axum::body::BodyDataStream;
use bytes::Bytes;
use futures_util::StreamExt;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

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

/// Most commits under way; more do not make it faster.
const COMMITTING: usize = 256;

/// A commit under way.
struct Committing {
    bytes: u64,
    named: Named,
    task: JoinHandle<Part>,
}

/// A request and what became of its parts so far.
pub(super) struct Request {
    face: WebFace,
    source: Arc<Source>,
    study: Option<StudyUid>,
    /// Commits under way, oldest first.
    committing: VecDeque<Committing>,
    committing_bytes: u64,
    done: Parts,
    current: Current,
}

/// Whether a part may be an instance, by its headers. Tools that know nothing of DICOM call a file `application/octet-stream`, which says
/// only that it is bytes: its file meta information tells what it is. What has an address beside it is bulk data (WEB-023).
fn may_be_instance(headers: &PartHeaders) -> bool {
    match headers.content_type.as_ref().map(MediaType::essence) {
        None | Some(DICOM) => true,
        Some(OCTET_STREAM) => headers.content_location.is_none(),
        Some(_) => false,
    }
}

impl Request {
    pub(super) fn new(face: WebFace, source: Source, study: Option<StudyUid>) -> Self {
        let done = Parts::new(source.origin.name());
        Self {
            face,
            source: Arc::new(source),
            study,
            committing: VecDeque::new(),
            committing_bytes: 0,
            done,
            current: Current::None,
        }
    }

    /// Reads the body to its end; `Err` says why the rest of it could not be read.
    pub(super) async fn read(&mut self, mut body: BodyDataStream, framing: Framing) -> Result<(), Cut> {
        let read = self.read_on(&mut body, framing).await;
        // Who still talks when the connection closes may never see the answer, which names what is stored (FLT-066).
        if matches!(read, Ok(()) | Err(Cut::TooLarge { .. } | Cut::TooMany { .. } | Cut::Multipart(_))) {
            forget(&mut body).await;
        }
        read
    }

    async fn read_on(&mut self, body: &mut BodyDataStream, framing: Framing) -> Result<(), Cut> {
        let mut parser = match framing {
            Framing::Multipart(parser) => Some(parser),
            Framing::Single => {
                self.current = Current::Meta(MetaParser::new());
                None
            }
        };
        let (limit, mut total) = (self.face.options.request_bytes, 0u64);
        let mut pace = Pace::new(self.face.options.body_idle);
        loop {
            let since = Instant::now();
            let next = tokio::time::timeout(pace.left(), body.next()).await.map_err(|_| Cut::Stalled)?;
            let Some(chunk) = next else { break };
            let chunk = chunk.map_err(|error| Cut::of(&error))?;
            pace.waited(since.elapsed(), chunk.len() as u64);
            total += chunk.len() as u64;
            if total > limit {
                return Err(Cut::TooLarge { limit });
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
            None => self.end().await,
            Some(parser) => parser.finish().map_err(Cut::Multipart)?,
        }
        Ok(())
    }

    /// Works off what the parser has; `true` at the closing boundary.
    async fn events(&mut self, parser: &mut Parser) -> Result<bool, Cut> {
        loop {
            let limit = self.face.options.parts;
            match parser.next().map_err(|error| Cut::of_parts(error, limit))? {
                Event::NeedMore => return Ok(false),
                Event::PartStart(headers) => self.start(&headers),
                Event::Data(bytes) => self.data(&bytes).await,
                Event::PartEnd => self.end().await,
                Event::End => return Ok(true),
            }
        }
    }

    fn start(&mut self, headers: &PartHeaders) {
        if !may_be_instance(headers) {
            self.fail(Named::default(), Fault::Unusable("it is not application/dicom"));
        } else if headers.encoding.is_some() {
            self.fail(Named::default(), Fault::Unusable("it is encoded for the journey, which is not taken"));
        } else {
            self.current = Current::Meta(MetaParser::new());
        }
    }

    /// The part is judged; what follows of it is passed over.
    fn fail(&mut self, named: Named, fault: Fault) {
        self.current = Current::Passed;
        self.done.take(Part::Failed(named, fault));
    }

    async fn data(&mut self, bytes: &Bytes) {
        match std::mem::replace(&mut self.current, Current::Passed) {
            Current::Meta(mut parser) => match parser.push(bytes) {
                Ok(None) => self.current = Current::Meta(parser),
                Ok(Some(found)) => self.open(found, bytes).await,
                Err(error) => {
                    let refusal = Refusal::Malformed { why: error.to_string(), tag: None };
                    self.fail(Named::default(), Fault::Refused(refusal));
                }
            },
            Current::Data(reception, named) => self.write(reception, named, bytes).await,
            other => self.current = other,
        }
    }

    /// The file meta information is whole: the data set behind it goes to intake.
    async fn open(&mut self, found: Found, bytes: &Bytes) {
        let Found { meta, early, used } = found;
        let named = Named { sop_class: meta.sop_class.clone(), sop_instance: meta.sop_instance.clone() };
        if meta.sop_class.as_ref().is_some_and(|class| !may_be_storage(class.as_str())) {
            return self.fail(named, Fault::OtherService);
        }
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
            Err(refusal) => self.fail(named, Fault::Refused(refusal)),
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
            Err(refusal) => self.fail(named, Fault::Refused(refusal)),
        }
    }

    /// The part is complete: its commit starts, and the next part is read meanwhile, within the limit.
    async fn end(&mut self) {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::Data(reception, named) => match reception.finish().await {
                Ok(arrived) if !may_be_storage(arrived.head().sop_class.as_str()) => {
                    self.done.take(Part::Failed(named, Fault::OtherService));
                }
                Ok(arrived) => self.commit(arrived).await,
                Err(refusal) => self.done.take(Part::Failed(named, Fault::Refused(refusal))),
            },
            Current::Meta(_) => {
                let fault = Fault::Unusable("it ended within its file meta information");
                self.done.take(Part::Failed(Named::default(), fault));
            }
            Current::Passed | Current::None => {}
        }
    }

    async fn commit(&mut self, arrived: Arrived) {
        let bytes = arrived.length();
        let limit = self.face.options.commit_bytes;
        while let Some(first) = self.committing.front()
            && (first.task.is_finished()
                || self.committing.len() >= COMMITTING
                || self.committing_bytes + bytes > limit)
        {
            self.reap().await;
        }
        self.committing_bytes += bytes;
        let head = arrived.head();
        let named = Named { sop_class: Some(head.sop_class.clone()), sop_instance: Some(head.sop_instance.clone()) };
        let (intake, source) = (self.face.intake.clone(), Arc::clone(&self.source));
        let refused = named.clone();
        let task = tokio::spawn(async move {
            match intake.commit(source, arrived).await {
                Ok(receipt) => Stored::of(receipt),
                Err(refusal) => Part::Failed(refused, Fault::Refused(refusal)),
            }
        });
        self.committing.push_back(Committing { bytes, named, task });
    }

    async fn reap(&mut self) {
        if let Some(Committing { bytes, named, task }) = self.committing.pop_front() {
            self.committing_bytes -= bytes;
            self.done.take(task.await.unwrap_or(Part::Failed(named, Fault::Lost)));
        }
    }

    /// Waits for every commit; a part that was cut off is named too, so that every part that began is named once (WEB-026).
    pub(super) async fn ended(mut self) -> Parts {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::Data(_, named) => self.done.take(Part::Failed(named, Fault::CutOff)),
            Current::Meta(_) => self.done.take(Part::Failed(Named::default(), Fault::CutOff)),
            Current::Passed | Current::None => {}
        }
        while !self.committing.is_empty() {
            self.reap().await;
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_an_instance_unless_its_headers_say_otherwise() {
        let rows = [
            (None, None, true),
            (Some("application/dicom"), None, true),
            (Some("Application/DICOM; transfer-syntax=1.2"), Some("/studies/1"), true),
            (Some("application/octet-stream"), None, true),
            (Some("application/octet-stream"), Some("/bulk/1"), false),
            (Some("application/dicom+json"), None, false),
            (Some("image/jpeg"), None, false),
        ];
        for (kind, location, want) in rows {
            let headers = PartHeaders {
                content_type: kind.and_then(|kind| MediaType::parse(kind).ok()),
                content_location: location.map(str::to_owned),
                ..PartHeaders::default()
            };
            assert_eq!(may_be_instance(&headers), want, "{kind:?} {location:?}");
        }
    }
}
