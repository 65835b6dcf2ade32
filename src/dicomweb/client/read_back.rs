//! Reading an instance back by WADO-RS: what a peer really holds, as a digest of its data set; nothing of it is kept.

use super::PeerClient;
use super::answer::header;
use crate::dicom::part10::MetaParser;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid, TransferSyntaxUid};
use crate::dicomweb::media_type::{DICOM, MediaType};
use crate::dicomweb::multipart::{self, Event, Limits, MultipartError, Parser};
use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use sha2::{Digest, Sha256};

/// As the peer holds it, whatever its transfer syntax (WEB-004).
const AS_STORED: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";

/// An instance as a peer gave it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    /// The syntax of its data set.
    pub transfer_syntax: TransferSyntaxUid,
    /// The SHA-256 of its data set, without preamble and file meta information.
    pub sha256: [u8; 32],
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
    /// Retrieves one instance of at most so many bytes and gives its digest. Errors are for people.
    pub async fn read_back(
        &self,
        study: &StudyUid,
        series: &SeriesUid,
        instance: &InstanceUid,
        most: u64,
    ) -> Result<ReadBack, String> {
        let url = self.url(&format!("studies/{study}/series/{series}/instances/{instance}"));
        let response = self.get(url, AS_STORED).await.map_err(|failure| failure.to_string())?;
        if response.status().as_u16() != 200 {
            return Err(format!("the peer answered its retrieval with status {}", response.status().as_u16()));
        }
        let kind = header(&response, CONTENT_TYPE).unwrap_or_default();
        let mut parser = match multipart::boundary_of(&kind) {
            Ok(related) => Some(Parser::new(&related.boundary, Limits::default()).map_err(|error| error.to_string())?),
            Err(MultipartError::NotRelated) if MediaType::parse(&kind).is_ok_and(|media| media.essence() == DICOM) => {
                None
            }
            Err(error) => return Err(error.to_string()),
        };
        let (mut held, mut parts) = (Instance::default(), 0u32);
        let take = |chunk: Bytes| match &mut parser {
            None => held.push(&chunk),
            Some(parser) => {
                parser.push(chunk);
                unpack(parser, &mut held, &mut parts)
            }
        };
        self.stream_body(response, most, || 0, take).await?;
        if let Some(parser) = &parser {
            parser.finish().map_err(|error| error.to_string())?;
        }
        let (transfer_syntax, hash) = held.found.ok_or("the peer gave no DICOM file")?;
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
