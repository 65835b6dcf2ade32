//! The body of a STOW-RS request: parts of announced length as one stream.

use crate::dicom::uid::TransferSyntaxUid;
use crate::dicomweb::media_type::DICOM;
use crate::dicomweb::multipart::{PartHead, Writer};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};

/// Why our own data could not be given.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// One part to be sent: a Part 10 file.
pub struct OutPart {
    /// Its transfer syntax, if the peer is known to take it as a parameter (see [`PartHead::transfer_syntax`]).
    pub transfer_syntax: Option<TransferSyntaxUid>,
    /// Its exact length, file meta information included.
    pub length: u64,
    /// Its bytes. Best opened only when first polled, for the parts are sent one after the other.
    pub data: BoxStream<'static, Result<Bytes, SourceError>>,
}

/// A whole body: its content type, its exact length, and the stream of its bytes.
///
/// An error of the stream, or a stream of another length than announced, breaks the connection before the
/// body's last bytes are handed over: the peer never sees a complete body (DIM-053, FLT-024).
pub struct PartsBody {
    pub(super) content_type: String,
    pub(super) length: u64,
    pub(super) stream: BoxStream<'static, Result<Bytes, SourceError>>,
}

impl OutPart {
    fn head(&self) -> PartHead<'_> {
        PartHead { transfer_syntax: self.transfer_syntax.as_ref().map(TransferSyntaxUid::as_str), length: self.length }
    }
}

impl PartsBody {
    /// A body whose bytes are given whole, delimiters included.
    pub fn new(content_type: String, length: u64, stream: BoxStream<'static, Result<Bytes, SourceError>>) -> Self {
        Self { content_type, length, stream }
    }

    /// A multipart/related body of Part 10 files under a random boundary (WEB-005, WEB-006, WEB-074).
    ///
    /// Errors: the system gave no randomness, or the lengths exceed 2^64.
    pub fn related(parts: Vec<OutPart>) -> Result<Self, std::io::Error> {
        let writer = Writer::new(DICOM)?;
        let length = writer
            .length(parts.iter().map(OutPart::head))
            .ok_or_else(|| std::io::Error::other("the body is too long"))?;
        let content_type = writer.content_type();
        let end = writer.end();
        let framed = stream::iter(parts.into_iter().enumerate()).flat_map(move |(n, part)| {
            stream::iter([Ok(writer.head(part.head(), n == 0))]).chain(exactly(part.length, part.data))
        });
        Ok(Self { content_type, length, stream: framed.chain(stream::iter([Ok(end)])).boxed() })
    }

    /// The exact length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the data are {0} than announced")]
pub(super) struct Length(pub(super) &'static str);

/// A stream that fails unless it yields so many bytes.
fn exactly(
    length: u64,
    data: BoxStream<'static, Result<Bytes, SourceError>>,
) -> impl Stream<Item = Result<Bytes, SourceError>> + Send {
    stream::try_unfold((data, length), |(mut data, left)| async move {
        match data.next().await.transpose()? {
            Some(chunk) => match left.checked_sub(chunk.len() as u64) {
                Some(left) => Ok(Some((chunk, (data, left)))),
                None => Err(Length("longer").into()),
            },
            None if left == 0 => Ok(None),
            None => Err(Length("shorter").into()),
        }
    })
}
