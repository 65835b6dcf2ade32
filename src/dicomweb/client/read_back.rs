//! Reading an instance back by WADO-RS: what a peer really holds, as a digest of its data set; nothing of it is kept.

use super::answer::{header, retry_after};
use super::{PeerClient, RetrieveFailure, SendFailure};
use crate::dicom::part10::MetaParser;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid, TransferSyntaxUid};
use crate::dicomweb::media_type::{DICOM, MediaType};
use crate::dicomweb::multipart::{self, Event, Limits, MultipartError, Parser};
use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// An instance as a peer gave it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    /// The syntax of its data set.
    pub transfer_syntax: TransferSyntaxUid,
    /// The SHA-256 of its data set, without preamble and file meta information.
    pub sha256: [u8; 32],
}

/// Why an instance was not read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReadBack {
    /// There was no answer.
    #[error(transparent)]
    NotAnswered(#[from] SendFailure),
    /// The answer was another status than 200.
    #[error("the peer answered its retrieval with status {status}")]
    Refused {
        /// The status.
        status: u16,
        /// What the peer asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The answer did not come to its end, or is none to a retrieval: a proxy's page, for example.
    #[error("{0}")]
    BrokenOff(String),
    /// The answer came whole, and is not this instance as a DICOM file; or it is far longer than ours.
    #[error("{0}")]
    Unusable(String),
}

impl From<RetrieveFailure> for NotReadBack {
    fn from(failure: RetrieveFailure) -> Self {
        match failure {
            RetrieveFailure::NotAnswered(failure) => Self::NotAnswered(failure),
            RetrieveFailure::Refused { status, retry_after } => Self::Refused { status, retry_after },
            RetrieveFailure::Unreadable(why) => Self::Unusable(why),
            RetrieveFailure::BrokeOff(why) => Self::BrokenOff(why),
        }
    }
}

impl NotReadBack {
    /// Whether the peer refuses retrievals as such, and not this instance.
    pub fn of_all(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if !matches!(status, 404 | 410))
    }

    /// Whether the same request may be answered later. Else the peer lets us read nothing back, has no such service, or has it in a
    /// form that we cannot compare.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NotAnswered(_) | Self::BrokenOff(_) => true,
            Self::Refused { status, .. } => !matches!(status, 400 | 403..=406 | 410 | 415 | 501),
            Self::Unusable(_) => false,
        }
    }

    /// What the peer asked us to wait before we ask again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The envelope, then the data set of one instance.
#[derive(Default)]
struct Instance {
    meta: MetaParser,
    found: Option<(TransferSyntaxUid, Sha256)>,
}

impl Instance {
    fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some((_, hash)) = &mut self.found {
            hash.update(bytes);
            return Ok(());
        }
        if let Some(found) = self.meta.push(bytes).map_err(|error| error.to_string())? {
            let mut hash = Sha256::new();
            hash.update(&found.early);
            hash.update(bytes.get(found.used..).unwrap_or_default());
            self.found = Some((found.meta.transfer_syntax, hash));
        }
        Ok(())
    }
}

impl PeerClient {
    /// Retrieves one instance of at most so many bytes and gives its digest. Errors: [`NotReadBack`].
    pub async fn read_back(
        &self,
        study: &StudyUid,
        series: &SeriesUid,
        instance: &InstanceUid,
        most: u64,
    ) -> Result<ReadBack, NotReadBack> {
        let url = self.url(&format!("studies/{study}/series/{series}/instances/{instance}"));
        let response = self.instances(url).await?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(NotReadBack::Refused { status, retry_after: retry_after(&response) });
        }
        let kind = header(&response, CONTENT_TYPE).unwrap_or_default();
        let mut parser = match multipart::boundary_of(&kind) {
            Ok(related) => Some(
                Parser::new(&related.boundary, Limits::default())
                    .map_err(|error| NotReadBack::Unusable(error.to_string()))?,
            ),
            Err(MultipartError::NotRelated) if MediaType::parse(&kind).is_ok_and(|media| media.essence() == DICOM) => {
                None
            }
            Err(error) => return Err(NotReadBack::BrokenOff(error.to_string())),
        };
        let (mut held, mut parts, mut read) = (Instance::default(), 0u32, 0u64);
        let mut unusable = None;
        let take = |chunk: Bytes| {
            read += chunk.len() as u64;
            let taken = match &mut parser {
                _ if read > most => Err(format!("the answer is longer than {most} bytes")),
                None => held.push(&chunk),
                Some(parser) => {
                    parser.push(chunk);
                    unpack(parser, &mut held, &mut parts)
                }
            };
            taken.inspect_err(|why| unusable = Some(why.clone()))
        };
        let ended = self.stream_body(response, u64::MAX, || 0, take).await;
        if let Some(why) = unusable {
            return Err(NotReadBack::Unusable(why));
        }
        ended.map_err(NotReadBack::BrokenOff)?;
        if let Some(parser) = &parser {
            parser.finish().map_err(|error| NotReadBack::BrokenOff(error.to_string()))?;
        }
        let nothing = || NotReadBack::Unusable("the peer gave no DICOM file".into());
        let (transfer_syntax, hash) = held.found.ok_or_else(nothing)?;
        Ok(ReadBack { transfer_syntax, sha256: hash.finalize().into() })
    }
}

/// Takes what the parser has; a second part would be another instance.
fn unpack(parser: &mut Parser, held: &mut Instance, parts: &mut u32) -> Result<(), String> {
    loop {
        match parser.next().map_err(|error| error.to_string())? {
            Event::PartStart(_) => {
                *parts += 1;
                if *parts > 1 {
                    return Err("the peer gave more than the one instance".into());
                }
            }
            Event::Data(bytes) => held.push(&bytes)?,
            Event::PartEnd => {}
            Event::NeedMore | Event::End => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_lasts() {
        let refused = |status| NotReadBack::Refused { status, retry_after: None };
        for status in [202, 301, 401, 408, 409, 429, 500, 502, 503, 504, 507] {
            assert!(refused(status).may_pass(), "{status}");
        }
        for status in [400, 403, 404, 405, 406, 410, 415, 501] {
            assert!(!refused(status).may_pass(), "{status}");
        }
        for (status, of_all) in [(401, true), (403, true), (503, true), (404, false), (410, false)] {
            assert_eq!(refused(status).of_all(), of_all, "{status}");
        }
        assert!(!NotReadBack::Unusable(String::new()).of_all());
        assert!(NotReadBack::BrokenOff(String::new()).may_pass());
        assert!(!NotReadBack::Unusable(String::new()).may_pass());
    }
}
