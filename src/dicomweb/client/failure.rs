//! Failures without an answer, told apart by what the peer may have received (WEB-066, WEB-067).

use super::resolve::Unresolved;
use crate::dicomweb::tls::{self, TlsReason};
use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// How far a request had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The peer's name could not be resolved.
    Dns,
    /// No connection: nobody listens there, or nothing leads there.
    Unreachable,
    /// No connection in time, or one that was ended before a TLS handshake came about.
    Connect,
    /// The TLS handshake failed, or the peer refused our certificate.
    Tls(TlsReason),
    /// Connected, but failed before one byte of the body was handed over.
    BeforeBody,
    /// Failed after bytes of the body were handed over: ambiguous.
    AfterFirstByte,
    /// Too slow, or no answer in time. Ambiguous if bytes of the body were handed over.
    Timeout,
    /// Our own data failed or stopped coming; the request was broken off before its end.
    Source,
}

/// A request that got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendFailure {
    /// How far it had come.
    pub stage: Stage,
    /// Bytes of the body that were handed to the connection. Not all of them need have left.
    pub sent: u64,
    /// What happened, for people.
    pub detail: String,
}

impl SendFailure {
    /// True if nothing of the body can have reached the peer, so that the request may be sent again unasked (WEB-066).
    ///
    /// False is the ambiguous case: parts may have been stored, even if the request never came to its end (WEB-067).
    pub fn surely_not_sent(&self) -> bool {
        match self.stage {
            Stage::Dns | Stage::Unreachable | Stage::Connect | Stage::Tls(_) | Stage::BeforeBody => true,
            Stage::AfterFirstByte | Stage::Timeout | Stage::Source => self.sent == 0,
        }
    }

    /// A failure out of the HTTP library's error; `sent` counts bytes of the body.
    pub(super) fn from_http(error: reqwest::Error, sent: u64) -> Self {
        let error = error.without_url();
        let tls = tls::in_chain(&error).map(tls::reason);
        let stage = if error.is_connect() {
            match tls {
                Some(reason) => Stage::Tls(reason),
                None if names(&error) => Stage::Dns,
                None if causes(&error).any(is_unreachable) => Stage::Unreachable,
                None => Stage::Connect,
            }
        } else {
            match tls {
                Some(TlsReason::OursRefused) => Stage::Tls(TlsReason::OursRefused),
                _ if sent > 0 => Stage::AfterFirstByte,
                _ => Stage::BeforeBody,
            }
        };
        Self { stage, sent, detail: chain(&error) }
    }
}

/// An error and its causes.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (**error).source())
}

fn names(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<Unresolved>())
}

/// Whether the system says that a connection cannot come about: who dials again hears the same.
fn is_unreachable(cause: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    cause.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            AddrNotAvailable | ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable
        )
    })
}

/// An error and its causes in one line; a cause that its error already spells out is not repeated.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

impl fmt::Display for SendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.stage {
            Stage::Dns => "the peer's name cannot be resolved",
            Stage::Unreachable | Stage::Connect => "the peer cannot be reached",
            Stage::Tls(TlsReason::Expired) => "the peer's certificate has expired",
            Stage::Tls(TlsReason::NotYetValid) => "the peer's certificate is not yet valid; is the clock right?",
            Stage::Tls(TlsReason::WrongName) => "the peer's certificate does not carry the configured identity",
            Stage::Tls(TlsReason::UnknownCa) => "the peer's certificate is not vouched for by a trusted certificate",
            Stage::Tls(TlsReason::OursRefused) => "the peer refuses our certificate",
            Stage::Tls(TlsReason::Other) => "the TLS handshake failed",
            Stage::BeforeBody => "the connection failed before any data were sent",
            Stage::AfterFirstByte => "the connection failed while or after data were sent",
            Stage::Timeout => "the peer was too slow",
            Stage::Source => "our own data could not be read to their end",
        };
        write!(f, "{what} ({} bytes handed over): {}", self.sent, self.detail)
    }
}

impl Error for SendFailure {}

/// Why a query has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryFailure {
    /// There was no answer.
    #[error(transparent)]
    NotAnswered(#[from] SendFailure),
    /// The answer was a status that means neither a result nor an empty one.
    #[error("the peer answered the query with status {status}")]
    Refused {
        /// The status.
        status: u16,
        /// What the peer asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The answer could not be read as DICOM JSON.
    #[error("the peer's answer to the query cannot be read: {0}")]
    Unreadable(String),
    /// The peer says that its answer is not all that it has (the header `Weybridge-Incomplete`).
    #[error("an archive of that site does not answer it; what it alone holds is not shown")]
    InPart,
    /// The peer counts more on the level above than its list shows.
    #[error("it lists {shown} of the {counted} that it counts itself")]
    Fewer {
        /// What it shows.
        shown: u64,
        /// What it counts.
        counted: u64,
    },
}

impl QueryFailure {
    /// True for status 404.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the question reached the peer, as far as can be told: a connection stood, whatever came of it.
    pub fn is_reached(&self) -> bool {
        match self {
            Self::NotAnswered(failure) => matches!(failure.stage, Stage::AfterFirstByte | Stage::Timeout),
            _ => true,
        }
    }

    /// Whether the peer lets itself not be asked like this, now or later: a status of 4xx that names no time and no haste, or 501.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { status: 400..=407 | 409..=428 | 430..=499 | 501, retry_after: None })
    }
}
