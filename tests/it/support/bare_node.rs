//! A node on a bare socket that answers a C-STORE as no toolkit would: too early, for another instance, or not at all; and a release late,
//! never, or with one of its own.

use super::caller::{
    APPLICATION_CONTEXT, Caller, Pdu, command, elements, fragment, item, items, pdu, read_pdu, read_request,
    release_request,
};
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a node does with one instance.
#[derive(Clone, Default)]
pub struct Manner {
    pub status: u16,
    /// Affected SOP Class UID and Affected SOP Instance UID of the answer; none is left out.
    pub class: Option<String>,
    pub instance: Option<String>,
    pub when: When,
    /// The status of a second answer, right after the first.
    pub then: Option<u16>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum When {
    /// After the last fragment, as it should.
    #[default]
    AtTheEnd,
    /// After the first fragment, and the rest is read.
    Early,
    EarlyAndCloses,
    EarlyAndAborts,
    EarlyAndStopsReading,
    /// It aborts after the last fragment, without an answer.
    AbortsAtTheEnd,
    /// It aborts after the first fragment, without an answer.
    AbortsEarly,
    /// As it should, and asks for release with the same breath.
    AtTheEndAndReleases,
}

impl When {
    /// Whether it answers once it has all.
    fn waits(self) -> bool {
        matches!(self, Self::AtTheEnd | Self::AtTheEndAndReleases)
    }
}

/// What a node does when it is asked for release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Release {
    AtOnce,
    /// It answers after a while.
    After(Duration),
    Never,
    /// It asks for release at the same time, and answers once it has its own answer.
    Collides,
    /// It closes without an answer.
    Closes,
}

/// An instance that came, as far as it did.
#[derive(Clone, Debug)]
pub struct Got {
    pub instance: String,
    pub syntax: String,
    pub bytes: usize,
}

pub struct BareNode {
    pub port: u16,
    got: Arc<Mutex<Vec<Got>>>,
    ends: Arc<Mutex<Vec<&'static str>>>,
}

impl BareNode {
    /// Starts one; what it does depends on class, instance and transfer syntax.
    pub fn start(manner: impl Fn(&str, &str, &str) -> Manner + Send + Sync + 'static) -> Self {
        Self::start_releasing(Release::AtOnce, manner)
    }

    /// The same of one that takes a release in its own way.
    pub fn start_releasing(
        release: Release,
        manner: impl Fn(&str, &str, &str) -> Manner + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (got, ends): (Arc<Mutex<Vec<Got>>>, Arc<Mutex<Vec<_>>>) = Default::default();
        let (log, over, manner) = (Arc::clone(&got), Arc::clone(&ends), Arc::new(manner));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, over, manner) = (Arc::clone(&log), Arc::clone(&over), Arc::clone(&manner));
                std::thread::spawn(move || {
                    if let Some(mut node) = converse(stream, &log, &*manner) {
                        let end = released(&mut node, release);
                        over.lock().unwrap().push(end);
                    }
                });
            }
        });
        Self { port, got, ends }
    }

    /// How the associations ended of which it was asked to release them: with `close` or `abort` of the other side, or by its own `closing`.
    pub fn ends(&self) -> Vec<&'static str> {
        self.ends.lock().unwrap().clone()
    }

    /// What came of an instance, time by time.
    pub fn got(&self, instance: &str) -> Vec<Got> {
        self.got.lock().unwrap().iter().filter(|got| got.instance == instance).cloned().collect()
    }
}

/// Accepts every context; gives the transfer syntaxes by their numbers.
fn accept(stream: &mut TcpStream) -> Option<Vec<(u8, String)>> {
    let request = read_request(stream).ok()?;
    let mut body = [&request[..68], &item(0x10, APPLICATION_CONTEXT)].concat();
    let mut contexts = Vec::new();
    for (_, context) in items(&request[68..]).into_iter().filter(|(kind, _)| *kind == 0x20) {
        let syntax = items(&context[4..]).into_iter().find(|(kind, _)| *kind == 0x40).unwrap().1;
        body.extend(item(0x21, &[&[context[0], 0, 0, 0][..], &item(0x40, syntax)].concat()));
        contexts.push((context[0], String::from_utf8_lossy(syntax).trim_end_matches('\0').to_owned()));
    }
    body.extend(item(0x50, &item(0x51, &16_384_u32.to_be_bytes())));
    stream.write_all(&pdu(2, &body)).ok()?;
    Some(contexts)
}

/// Answers a release; what the other side does then.
fn released(node: &mut Caller, release: Release) -> &'static str {
    let reply = pdu(6, &[0; 4]);
    let sent = match release {
        Release::Closes => return "closing",
        Release::Never => Ok(()),
        Release::AtOnce => node.send(&reply),
        Release::After(wait) => {
            node.stream.set_read_timeout(Some(wait)).unwrap();
            let heard = node.stream.peek(&mut [0]).map_err(|error| error.kind());
            node.stream.set_read_timeout(None).unwrap();
            match heard {
                Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => node.send(&reply),
                Ok(0) | Err(_) => return "close before the answer",
                Ok(_) => Ok(()),
            }
        }
        Release::Collides => match node.send(&release_request()).and_then(|()| node.read()) {
            // Who asked for the association answers first (PS3.8 section 9.2, AR-8).
            Ok(Pdu::ReleaseReply) => node.send(&reply),
            _ => return "no answer",
        },
    };
    match sent.and_then(|()| node.read()) {
        Ok(Pdu::Abort(..)) => "abort",
        Ok(_) => "another PDU",
        Err(_) => "close",
    }
}

/// Answers, asks for release in the same write, and reads on until that is answered.
fn releases(node: &mut Caller, context: u8, answer: &[u8]) {
    let _ = node.send(&[fragment(context, true, true, answer), release_request()].concat());
    while matches!(node.read(), Ok(Pdu::Data(_))) {}
}

/// Takes what comes until a release is asked for; `None` if the association ends otherwise.
fn converse(
    mut stream: TcpStream,
    log: &Mutex<Vec<Got>>,
    manner: &dyn Fn(&str, &str, &str) -> Manner,
) -> Option<Caller> {
    stream.set_nodelay(true).unwrap();
    let contexts = accept(&mut stream)?;
    let mut node = Caller { stream };
    let (mut now, mut answered, mut message) = (Manner::default(), false, Vec::new());
    loop {
        let body = match read_pdu(&mut node.stream) {
            Ok(Pdu::Data(body)) => body,
            Ok(Pdu::ReleaseRequest) => return Some(node),
            _ => return None,
        };
        let (context, flags, fragment) = (body[4], body[5], &body[6..]);
        if flags & 1 == 1 {
            let said = elements(fragment).unwrap();
            let text = |element| String::from_utf8_lossy(said[element]).trim_end_matches('\0').to_owned();
            let (class, instance) = (text(&0x0002), text(&0x1000));
            let syntax = contexts.iter().find(|(id, _)| *id == context).unwrap().1.clone();
            (now, answered, message) = (manner(&class, &instance, &syntax), false, said[&0x0110].to_vec());
            log.lock().unwrap().push(Got { instance, syntax, bytes: 0 });
            continue;
        }
        log.lock().unwrap().last_mut().unwrap().bytes += fragment.len();
        // Odd fragments are taken by nobody (PS3.8 annex E).
        let aborts = now.when == When::AbortsEarly || now.when == When::AbortsAtTheEnd && flags & 2 == 2;
        if fragment.len() % 2 == 1 || aborts {
            let _ = node.send(&pdu(7, &[0, 0, 2, 0]));
            return None;
        }
        if answered || now.when.waits() && flags & 2 == 0 || now.when == When::AbortsAtTheEnd {
            continue;
        }
        answered = true;
        for status in [Some(now.status), now.then].into_iter().flatten() {
            let status = status.to_le_bytes();
            let mut answer: Vec<(u16, &[u8])> = vec![(0x0100, &[1, 0x80]), (0x0120, &message)];
            answer.extend([(0x0800, &[1, 1][..]), (0x0900, &status)]);
            answer.extend(now.class.as_ref().map(|class| (0x0002, class.as_bytes())));
            answer.extend(now.instance.as_ref().map(|instance| (0x1000, instance.as_bytes())));
            if now.when == When::AtTheEndAndReleases {
                releases(&mut node, context, &command(&answer));
                return None;
            }
            let _ = node.fragment(context, true, true, &command(&answer));
        }
        match now.when {
            When::EarlyAndCloses => return None,
            When::EarlyAndAborts => {
                let _ = node.send(&pdu(7, &[0, 0, 0, 0]));
                return None;
            }
            When::EarlyAndStopsReading => loop {
                std::thread::park();
            },
            _ => {}
        }
    }
}
