//! Retrieving a study, a series or an instance by WADO-RS: instance after instance as the bytes come, nothing kept here but a
//! chunk (PS3.18 section 10.4; WEB-004, WEB-104).

use super::answer::{coding, header, retry_after};
use super::failure::chain;
use super::pace::Pace;
use super::resume::Again;
use super::{PeerClient, SendFailure};
use crate::dicom::part10::{Found, MetaParser, ReceivedMeta};
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::dicomweb::media_type::{DICOM, MediaType};
use crate::dicomweb::multipart::{self, DATA_SET_DIGEST, Event, Limits, MultipartError, Parser, PartHeaders, sha256};
use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode, Url};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// As the peer holds it, whatever its transfer syntax (WEB-004).
const AS_STORED: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
/// For servers that do not know the parameter.
const AS_IT_LIKES: &str = "multipart/related; type=\"application/dicom\"";

/// What is retrieved of a study.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// All of it.
    Study,
    /// A series.
    Series(SeriesUid),
    /// An instance of a series.
    Instance(SeriesUid, InstanceUid),
}

/// Why a retrieval came to nothing, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetrieveFailure {
    /// There was no answer.
    #[error(transparent)]
    NotAnswered(#[from] SendFailure),
    /// The answer was a status that means no instances.
    #[error("the peer answered the retrieval with status {status}")]
    Refused {
        /// The status.
        status: u16,
        /// What the peer asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The answer is not what was asked for, or more than it can be.
    #[error("the peer's answer to the retrieval cannot be read: {0}")]
    Unreadable(String),
    /// The answer ended before its end (WEB-104).
    #[error("the peer's answer broke off: {0}")]
    BrokeOff(String),
}

/// What comes of an answer, in order.
#[derive(Debug)]
pub enum Piece {
    /// An instance begins. What was begun before it and has not ended does not count.
    Begin {
        /// What its file meta information says.
        meta: Box<ReceivedMeta>,
        /// The SHA-256 of its data set, if the peer told it.
        digest: Option<[u8; 32]>,
    },
    /// Bytes of its data set.
    Data(Bytes),
    /// It is whole; what the peer said of its part is true.
    End,
    /// A part that is no instance, or not what the peer said of it: what is wrong. What was begun of it does not count.
    Bad(String),
}

pub(super) enum Inside {
    /// Between parts, or in one that is passed over.
    Nothing,
    Meta(Box<MetaParser>, Option<[u8; 32]>),
    Data,
}

/// An answer that is being read.
pub struct Retrieval {
    pub(super) response: Response,
    /// None if the body is the one instance.
    parser: Option<Parser>,
    pub(super) inside: Inside,
    /// The digest that the peer gives of the part as a whole, and ours so far (RFC 9530 section 3).
    pub(super) whole: Option<([u8; 32], Sha256)>,
    pub(super) ready: VecDeque<Piece>,
    pub(super) ended: bool,
    pub(super) pace: Pace,
    /// Where the clock of `pace` stands: it runs only while we wait for the peer.
    pub(super) clock: Instant,
    /// How much of the body was read; of one that is resumed, with what came before.
    pub(super) read: u64,
    /// Bytes that came, those that were given up among them.
    came: u64,
    /// How the one instance that is the body can be gone on with.
    pub(super) again: Option<Again>,
}

impl PeerClient {
    /// Asks for instances as they are stored; once more without the parameter where a server does not know it.
    pub(super) async fn instances(&self, url: Url) -> Result<Response, SendFailure> {
        let response = self.get(url.clone(), AS_STORED).await?;
        match response.status().as_u16() {
            400 | 406 => self.get(url, AS_IT_LIKES).await,
            _ => Ok(response),
        }
    }

    /// Asks for a part of a study as it is stored, and awaits the head of the answer, which may have `most` parts. Errors:
    /// [`RetrieveFailure`].
    pub async fn retrieve(&self, study: &StudyUid, part: &Part, most: u32) -> Result<Retrieval, RetrieveFailure> {
        let path = match part {
            Part::Study => format!("studies/{study}"),
            Part::Series(series) => format!("studies/{study}/series/{series}"),
            Part::Instance(series, instance) => format!("studies/{study}/series/{series}/instances/{instance}"),
        };
        let response = self.instances(self.url(&path)).await?;
        self.retrieval(response, most)
    }

    /// An answer that has begun, if it is one.
    pub(super) fn retrieval(&self, response: Response, most: u32) -> Result<Retrieval, RetrieveFailure> {
        let status = response.status().as_u16();
        if !matches!(status, 200 | 206) {
            return Err(RetrieveFailure::Refused { status, retry_after: retry_after(&response) });
        }
        if let Some(why) = coding(&response) {
            return Err(RetrieveFailure::Unreadable(why));
        }
        let unreadable = |error: MultipartError| RetrieveFailure::Unreadable(error.to_string());
        let kind = header(&response, CONTENT_TYPE).unwrap_or_default();
        let limits = Limits { parts: most, ..Limits::default() };
        let (parser, (inside, whole)) = match multipart::boundary_of(&kind) {
            Ok(related) => (Some(Parser::new(&related.boundary, limits).map_err(unreadable)?), (Inside::Nothing, None)),
            Err(MultipartError::NotRelated) if MediaType::parse(&kind).is_ok_and(|media| media.essence() == DICOM) => {
                (None, alone(&response))
            }
            Err(error) => return Err(unreadable(error)),
        };
        let clock = Instant::now();
        Ok(Retrieval {
            response,
            parser,
            inside,
            whole,
            ready: VecDeque::new(),
            ended: false,
            pace: Pace::new(self.timing.window, self.timing.least_rate, clock),
            clock,
            read: 0,
            came: 0,
            again: None,
        })
    }
}

/// How an answer begins whose body is the one instance: its digests stand in the answer's own head.
pub(super) fn alone(response: &Response) -> (Inside, Option<([u8; 32], Sha256)>) {
    let digest = |name: &str| response.headers().get(name)?.to_str().ok().and_then(sha256);
    let whole = digest("Repr-Digest").map(|digest| (digest, Sha256::new()));
    (Inside::Meta(Box::default(), digest(DATA_SET_DIGEST)), whole)
}

impl Retrieval {
    /// The next piece; `None` once the answer has come to its own end. After an error there is nothing more, and what was begun
    /// does not count.
    pub async fn next(&mut self) -> Result<Option<Piece>, RetrieveFailure> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(None);
            }
            let event = match &mut self.parser {
                Some(parser) => parser.next().map_err(|error| RetrieveFailure::Unreadable(error.to_string()))?,
                None => Event::NeedMore,
            };
            match event {
                Event::PartStart(headers) => self.begin(&headers),
                Event::Data(bytes) => self.data(bytes),
                Event::PartEnd => self.end(),
                Event::End => self.ended = true,
                Event::NeedMore => self.more().await?,
            }
        }
    }

    /// Whether the peer says itself that it does not give all that was asked for (206).
    pub fn is_in_part(&self) -> bool {
        self.response.status() == StatusCode::PARTIAL_CONTENT
    }

    /// Bytes that have come so far, those that were given up among them.
    pub fn came(&self) -> u64 {
        self.came
    }

    async fn more(&mut self) -> Result<(), RetrieveFailure> {
        match (self.chunk().await?, &mut self.parser) {
            (Some(chunk), Some(parser)) => parser.push(chunk),
            (Some(chunk), None) => self.data(chunk),
            (None, Some(parser)) => {
                parser.finish().map_err(|error| RetrieveFailure::BrokeOff(error.to_string()))?;
                self.ended = true;
            }
            (None, None) => {
                self.is_all()?;
                self.end();
                self.ended = true;
            }
        }
        Ok(())
    }

    /// The next bytes, at no less than the least pace (WEB-072).
    async fn chunk(&mut self) -> Result<Option<Bytes>, RetrieveFailure> {
        let began = Instant::now();
        let clock = self.clock;
        let mut tick = tokio::time::interval(self.pace.tick());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let chunk = loop {
            tokio::select! {
                biased;
                chunk = self.response.chunk() => break chunk,
                _ = tick.tick() => if self.pace.too_slow(clock + began.elapsed(), self.read) {
                    return Err(RetrieveFailure::BrokeOff(format!("it came too slowly, after {} bytes", self.read)));
                },
            }
        };
        self.clock = clock + began.elapsed();
        match chunk {
            Ok(Some(chunk)) => {
                self.read += chunk.len() as u64;
                self.came += chunk.len() as u64;
                Ok(Some(chunk))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                let why = chain(&error.without_url());
                Err(RetrieveFailure::BrokeOff(format!("after {} bytes: {why}", self.read)))
            }
        }
    }

    fn begin(&mut self, headers: &PartHeaders) {
        let other = headers.content_type.as_ref().is_some_and(|media| media.essence() != DICOM);
        if other || headers.encoding.is_some() {
            let why = if other { "a part is not application/dicom" } else { "a part is encoded for the journey" };
            return self.bad(why.to_owned());
        }
        self.whole = headers.digest.map(|digest| (digest, Sha256::new()));
        self.inside = Inside::Meta(Box::default(), headers.data_set_digest);
    }

    fn bad(&mut self, why: String) {
        self.inside = Inside::Nothing;
        self.ready.push_back(Piece::Bad(why));
    }

    fn data(&mut self, bytes: Bytes) {
        if let Some((_, hash)) = &mut self.whole {
            hash.update(&bytes);
        }
        match &mut self.inside {
            Inside::Nothing => {}
            Inside::Data => self.ready.push_back(Piece::Data(bytes)),
            Inside::Meta(parser, digest) => {
                let digest = *digest;
                match parser.push(&bytes) {
                    Ok(None) => {}
                    Ok(Some(Found { meta, early, used })) => {
                        self.inside = Inside::Data;
                        self.ready.push_back(Piece::Begin { meta: Box::new(meta), digest });
                        let rest = bytes.slice(used.min(bytes.len())..);
                        let data = [Bytes::from(early), rest];
                        self.ready.extend(data.into_iter().filter(|bytes| !bytes.is_empty()).map(Piece::Data));
                    }
                    Err(error) => self.bad(error.to_string()),
                }
            }
        }
    }

    fn end(&mut self) {
        let said = self.whole.take().is_none_or(|(said, ours)| ours.finalize()[..] == said[..]);
        match std::mem::replace(&mut self.inside, Inside::Nothing) {
            Inside::Nothing => {}
            Inside::Meta(..) => self.bad("a part ended within its file meta information".into()),
            Inside::Data if !said => self.bad("a part does not agree with the digest that the peer gave".into()),
            Inside::Data => self.ready.push_back(Piece::End),
        }
    }
}
