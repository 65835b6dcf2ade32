//! Answers: their headers, and their bodies up to a bound and at no less than the least pace.

use super::pace::Pace;
use super::{PeerClient, counted::Gauge};
use crate::dicomweb::media_type::MediaType;
use crate::dicomweb::retry_after;
use crate::dicomweb::stow::StoreResponse;
use bytes::{Bytes, BytesMut};
use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER, WARNING};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::MissedTickBehavior;

/// What a peer answered to a STOW-RS request. Judging it is the caller's business (WEB-040 to WEB-065).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreAnswer {
    /// The HTTP status.
    pub status: u16,
    /// What the peer asks us to wait, clamped (WEB-075).
    pub retry_after: Option<Duration>,
    /// The texts of its Warning headers (WEB-010), sixteen at most.
    pub warnings: Vec<String>,
    /// The content type of the answer.
    pub content_type: Option<String>,
    /// The module; `Ok(None)` if the answer has no body; an error, for people, if the body cannot be read.
    pub module: Result<Option<StoreResponse>, String>,
    /// The answer is a page of a server in front of the peer that does not accept our certificate: nginx says so with 400.
    pub refuses_us: bool,
    /// The answer says that there is no room for so much (WEB-064).
    pub no_room: bool,
    /// True if the whole request had been handed over when the answer had been read.
    pub body_sent: bool,
    /// Bytes of the request's body that were handed over.
    pub sent: u64,
}

impl StoreAnswer {
    /// Whether the answer is a web page, and not that of a DICOM service.
    pub fn is_page(&self) -> bool {
        self.content_type.as_deref().is_some_and(|kind| is_of(kind, "text/html"))
    }

    /// Whether the answer says what is wrong as a service says it. What stands before a service says so in a page, or in a line.
    pub fn is_problem(&self) -> bool {
        self.content_type.as_deref().is_some_and(|kind| is_of(kind, PROBLEM))
    }
}

impl PeerClient {
    pub(super) async fn store_answer(&self, response: Response, gauge: &Gauge) -> StoreAnswer {
        let status = response.status().as_u16();
        let content_type = header(&response, CONTENT_TYPE);
        let retry_after = retry_after(&response);
        let warnings = response.headers().get_all(WARNING).iter().take(16);
        let warnings = warnings.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        let body = self.read_body(response, || gauge.handed()).await;
        let refuses_us =
            body.as_ref().is_ok_and(|body| status == 400 && is_about_certificates(content_type.as_deref(), body));
        let said = body.as_ref().ok().and_then(|body| detail_of_a_problem(content_type.as_deref(), body));
        let no_room = said.as_ref().is_some_and(|said| said.contains(NO_ROOM));
        let module = match said {
            Some(said) => Err(said),
            None => body.and_then(|body| StoreResponse::from_body(content_type.as_deref(), &body)),
        };
        let (body_sent, sent) = (gauge.finished(), gauge.handed());
        StoreAnswer { status, retry_after, warnings, content_type, module, refuses_us, no_room, body_sent, sent }
    }

    /// Reads a body to its end; errors are for people. What moves elsewhere for this answer counts as progress, too:
    /// a success may begin before its request has ended.
    pub(super) async fn read_body(&self, response: Response, elsewhere: impl Fn() -> u64) -> Result<Bytes, String> {
        let mut body = BytesMut::new();
        let keep = |chunk: Bytes| {
            body.extend_from_slice(&chunk);
            Ok(())
        };
        self.stream_body(response, self.answer_bytes as u64, elsewhere, keep).await?;
        Ok(body.freeze())
    }

    /// Hands a body of at most so many bytes over, chunk by chunk; `take` may end it with an error.
    pub(super) async fn stream_body(
        &self,
        mut response: Response,
        bound: u64,
        elsewhere: impl Fn() -> u64,
        mut take: impl FnMut(Bytes) -> Result<(), String>,
    ) -> Result<(), String> {
        let too_long = || format!("the answer is longer than {bound} bytes");
        if response.content_length().is_some_and(|length| length > bound) {
            return Err(too_long());
        }
        let coding = coding(&response);
        let mut read = 0u64;
        let mut pace = Pace::new(self.timing.window, self.timing.least_rate, Instant::now());
        let mut tick = tokio::time::interval(pace.tick());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                chunk = response.chunk() => match chunk {
                    Ok(Some(_)) if coding.is_some() => return Err(coding.unwrap_or_default()),
                    Ok(Some(chunk)) if chunk.len() as u64 > bound - read => return Err(too_long()),
                    Ok(Some(chunk)) => {
                        read += chunk.len() as u64;
                        take(chunk)?;
                    }
                    Ok(None) => return Ok(()),
                    Err(error) => {
                        let why = super::failure::chain(&error.without_url());
                        return Err(format!("the answer broke off after {read} bytes: {why}"));
                    }
                },
                _ = tick.tick() => if pace.too_slow(Instant::now(), read + elsewhere()) {
                    return Err(format!("the answer came too slowly and was given up after {read} bytes"));
                },
            }
        }
    }
}

/// The form of an error answer of a service (RFC 9457).
const PROBLEM: &str = "application/problem+json";

/// What another gateway says where there is no room for so much.
const NO_ROOM: &str = "no room";

/// So much of what a problem says is told to people.
const DETAIL_CHARS: usize = 200;

/// What an error answer by RFC 9457 says is wrong.
fn detail_of_a_problem(content_type: Option<&str>, body: &[u8]) -> Option<String> {
    content_type.filter(|kind| is_of(kind, PROBLEM))?;
    let said: serde_json::Value = serde_json::from_slice(body.get(..PAGE_BYTES.min(body.len()))?).ok()?;
    let plain = said["detail"].as_str()?.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS).collect();
    Some(plain)
}

fn is_of(content_type: &str, essence: &str) -> bool {
    MediaType::parse(content_type).is_ok_and(|kind| kind.essence() == essence)
}

/// So much of a page is looked at.
const PAGE_BYTES: usize = 4096;

/// Whether a page says that the certificate of a request was not accepted, or that there was none.
fn is_about_certificates(content_type: Option<&str>, body: &[u8]) -> bool {
    let is_page = content_type.is_some_and(|kind| is_of(kind, "text/html"));
    let begins = &body[..body.len().min(PAGE_BYTES)];
    is_page && begins.to_ascii_lowercase().windows(11).any(|word| word == b"certificate")
}

pub(super) fn header(response: &Response, name: HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// What is said of an answer that is compressed although it was asked for as it is.
pub(super) fn coding(response: &Response) -> Option<String> {
    let given = header(response, CONTENT_ENCODING)?;
    let name: String = given.chars().take(32).filter(char::is_ascii_graphic).collect();
    let plain = name.is_empty() || name.eq_ignore_ascii_case("identity");
    (!plain).then(|| format!("it came with Content-Encoding {name}, although identity was asked for"))
}

pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    retry_after::parse(&header(response, RETRY_AFTER)?, SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WEB-064: an error answer is shown to people by what it says, and no other body is taken for one.
    #[test]
    fn what_a_problem_says_is_read() {
        let json = "application/problem+json";
        let long = format!("{{\"detail\": \"{}\"}}", "x".repeat(1000));
        let rows: [(Option<&str>, &[u8], Option<String>); 6] = [
            (
                Some(json),
                b"{\"status\": 503, \"detail\": \"there is no room\\n here\"}",
                Some("there is no room here".into()),
            ),
            (Some("application/problem+json; charset=utf-8"), b"{\"detail\": \"a\"}", Some("a".into())),
            (Some(json), long.as_bytes(), Some("x".repeat(200))),
            (Some(json), b"{\"title\": \"no\"}", None),
            (Some(json), b"<html>", None),
            (Some("application/dicom+json"), b"{\"detail\": \"there is no room\"}", None),
        ];
        for (kind, body, want) in rows {
            assert_eq!(detail_of_a_problem(kind, body), want, "{kind:?}");
        }
    }

    /// WEB-064: another gateway that has no room is told from one that cannot go on by the words of its refusal.
    #[test]
    fn our_own_refusal_for_want_of_room_is_known() {
        use crate::intake::Refusal;
        assert!(Refusal::NoRoom.to_string().contains(NO_ROOM));
        assert!(!Refusal::Exhausted.to_string().contains(NO_ROOM) && !Refusal::Stopping.to_string().contains(NO_ROOM));
    }

    /// WEB-049: what nginx 1.22 answers to a certificate that it does not accept, and other pages.
    #[test]
    fn a_page_about_our_certificate_is_told_from_others() {
        let rows: [(Option<&str>, &[u8], bool); 5] = [
            (Some("text/html"), b"<html>\r\n<head><title>400 The SSL certificate error</title></head>", true),
            (Some("text/html; charset=utf-8"), b"<title>400 No required SSL certificate was sent</title>", true),
            (Some("text/html"), b"<html><head><title>400 Bad Request</title></head>", false),
            (Some("application/dicom+json"), b"{\"certificate\": 1}", false),
            (None, b"certificate", false),
        ];
        for (kind, body, want) in rows {
            assert_eq!(is_about_certificates(kind, body), want, "{kind:?}");
        }
    }
}
