//! What a peer's service tells of itself: its capabilities by OPTIONS, and its clock.

use super::answer::header;
use super::{Form, PeerClient, SendFailure, Service};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, DATE};
use std::time::{SystemTime, UNIX_EPOCH};

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
