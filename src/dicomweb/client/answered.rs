//! Which connections have carried an answer: a question that meets one of them just closed is put once more, on a new one (RFC 9110 section
//! 9.2.2, RFC 9112 section 9.3.1; WEB-070).

use hyper::http::Extensions;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, HttpInfo};
use reqwest::Response;
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many connections are remembered, the last that answered: many more than are kept unused.
const MOST: usize = 64;

/// The connections of a client that have carried an answer, each by our own end of it.
#[derive(Default)]
pub(super) struct Answered(Mutex<VecDeque<SocketAddr>>);

impl Answered {
    fn ends(&self) -> MutexGuard<'_, VecDeque<SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer has begun.
    pub(super) fn note(&self, response: &Response) {
        if let Some(own) = response.extensions().get::<HttpInfo>().map(HttpInfo::local_addr) {
            self.keep(own);
        }
    }

    fn keep(&self, own: SocketAddr) {
        let mut ends = self.ends();
        ends.retain(|end| *end != own);
        if ends.len() == MOST {
            ends.pop_front();
        }
        ends.push_back(own);
    }

    /// Whether a request failed since the other side had closed a connection that has carried an answer: as far as can be told it read nothing
    /// of the request. What fails on a connection that is new tells of the other side, and is none of these.
    pub(super) fn met_a_closed_one(&self, error: &reqwest::Error) -> bool {
        closed(error).is_some_and(|own| self.ends().contains(&own))
    }
}

/// Our own end of the connection on which a request failed, if the other side ended that before the head of an answer had come.
fn closed(error: &reqwest::Error) -> Option<SocketAddr> {
    let (mut own, mut is_closed) = (None, false);
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(failed) = cause.downcast_ref::<legacy::Error>() {
            own = failed.connect_info().and_then(our_end);
        } else if let Some(failed) = cause.downcast_ref::<hyper::Error>() {
            is_closed |= failed.is_incomplete_message();
        } else if let Some(failed) = cause.downcast_ref::<io::Error>() {
            is_closed |= is_end(failed.kind());
        }
        next = cause.source();
    }
    own.filter(|_| is_closed)
}

/// Whether the other side has ended the connection. One on which nothing comes any more is another matter: who is silent is not asked twice.
fn is_end(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}

fn our_end(connection: &Connected) -> Option<SocketAddr> {
    let mut told = Extensions::new();
    connection.get_extras(&mut told);
    told.get::<HttpInfo>().map(HttpInfo::local_addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_connections_are_remembered() {
        let (answered, end) = (Answered::default(), |port: u16| SocketAddr::from(([127, 0, 0, 1], port)));
        for port in 1..=MOST as u16 + 1 {
            answered.keep(end(port));
            // It answers all the time.
            answered.keep(end(1));
        }
        assert_eq!(answered.ends().len(), MOST);
        for (port, kept) in [(1, true), (2, false), (3, true), (MOST as u16 + 1, true), (MOST as u16 + 2, false)] {
            assert_eq!(answered.ends().contains(&end(port)), kept, "{port}");
        }
    }

    #[test]
    fn an_end_is_told_from_silence() {
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof] {
            assert!(is_end(kind), "{kind:?}");
        }
        for kind in [io::ErrorKind::TimedOut, io::ErrorKind::InvalidData, io::ErrorKind::ConnectionRefused] {
            assert!(!is_end(kind), "{kind:?}");
        }
    }
}
