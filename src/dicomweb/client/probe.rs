//! What a peer's service tells of itself: its capabilities by OPTIONS, and its clock; and whether anybody listens there at all.

use super::answer::header;
use super::{Form, PeerClient, SendFailure, Service};
use crate::dicom::uid::StudyUid;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, DATE};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// So long at most a connection is waited for that is made only to see whether it comes about.
const LISTENING: Duration = Duration::from_secs(5);

/// A resource below a study that PS3.18 does not know.
const NOWHERE: &str = "weybridge-test-of-what-is-not-there";

/// An answer to a request for capabilities (PS3.18 section 8.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The HTTP status; 200 where the service tells its capabilities.
    pub status: u16,
    /// In which form.
    pub content_type: Option<String>,
    /// How many seconds the peer's clock is ahead of ours, by its Date header.
    pub skew: Option<i64>,
}

impl PeerClient {
    /// Asks for the capabilities of the service. The body is not read.
    pub async fn capabilities(&self) -> Result<Offered, SendFailure> {
        let accept = "application/json, application/vnd.sun.wadl+xml;q=0.9";
        let response = self.ask(Method::OPTIONS, self.url(""), accept).await?;
        let date = header(&response, DATE).and_then(|text| httpdate::parse_http_date(&text).ok());
        Ok(Offered {
            status: response.status().as_u16(),
            content_type: header(&response, CONTENT_TYPE),
            skew: date.map(|theirs| seconds(theirs) - seconds(SystemTime::now())),
        })
    }

    /// Whether a TCP connection with the peer comes about (UIX-06). Of a request that failed as it connected this tells whether the TLS
    /// handshake is to blame: connection and handshake have one limit, and who closes within a handshake need not say a word of TLS.
    pub async fn is_listening(&self) -> bool {
        let (Some(host), Some(port)) = (self.base.host_str(), self.base.port_or_known_default()) else { return false };
        let dialled = TcpStream::connect((host.trim_matches(['[', ']']), port));
        matches!(timeout(self.timing.connect.min(LISTENING), dialled).await, Ok(Ok(_)))
    }

    /// Whether the peer answers with a success what no service has: then its success to a request to store says nothing (UIX-06). Nothing is
    /// sent but the request itself.
    pub async fn takes_anything(&self, study: &StudyUid) -> bool {
        let url = self.url(&format!("studies/{study}/{NOWHERE}"));
        let answered = self.ask(Method::POST, url, self.form().media_type()).await;
        answered.is_ok_and(|response| response.status().is_success())
    }

    /// The form in which answers to queries are asked for.
    pub fn query_form(&self) -> Form {
        self.form_of(Service::Query)
    }

    /// Asks for answers to queries in this form from now on.
    pub fn ask_queries_in(&self, form: Form) {
        self.ask_of(Service::Query, form);
    }
}

fn seconds(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
