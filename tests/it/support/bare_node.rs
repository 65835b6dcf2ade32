//! A node on a bare socket that answers a C-STORE as no toolkit would: too early, for another instance, or not at all.

use super::caller::{APPLICATION_CONTEXT, Caller, Pdu, command, elements, item, items, pdu, read_pdu, read_request};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a node does with one instance.
#[derive(Clone, Default)]
pub struct Manner {
    pub status: u16,
    /// Affected SOP Class UID and Affected SOP Instance UID of the answer; none is left out.
    pub class: Option<String>,
    pub instance: Option<String>,
    pub when: When,
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
}

impl BareNode {
    /// Starts one; what it does depends on class, instance and transfer syntax.
    pub fn start(manner: impl Fn(&str, &str, &str) -> Manner + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let (log, manner) = (Arc::clone(&got), Arc::new(manner));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, manner) = (Arc::clone(&log), Arc::clone(&manner));
                std::thread::spawn(move || converse(stream, &log, &*manner));
            }
        });
        Self { port, got }
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

fn converse(mut stream: TcpStream, log: &Mutex<Vec<Got>>, manner: &dyn Fn(&str, &str, &str) -> Manner) {
    stream.set_nodelay(true).unwrap();
    let Some(contexts) = accept(&mut stream) else { return };
    let mut node = Caller { stream };
    let (mut now, mut answered, mut message) = (Manner::default(), false, Vec::new());
    loop {
        let body = match read_pdu(&mut node.stream) {
            Ok(Pdu::Data(body)) => body,
            Ok(Pdu::ReleaseRequest) => return drop(node.send(&pdu(6, &[0; 4]))),
            _ => return,
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
        if fragment.len() % 2 == 1 || now.when == When::AbortsAtTheEnd && flags & 2 == 2 {
            return drop(node.send(&pdu(7, &[0, 0, 2, 0])));
        }
        if answered || now.when == When::AtTheEnd && flags & 2 == 0 || now.when == When::AbortsAtTheEnd {
            continue;
        }
        answered = true;
        let status = now.status.to_le_bytes();
        let mut answer: Vec<(u16, &[u8])> = vec![(0x0100, &[1, 0x80]), (0x0120, &message)];
        answer.extend([(0x0800, &[1, 1][..]), (0x0900, &status)]);
        answer.extend(now.class.as_ref().map(|class| (0x0002, class.as_bytes())));
        answer.extend(now.instance.as_ref().map(|instance| (0x1000, instance.as_bytes())));
        let _ = node.fragment(context, true, true, &command(&answer));
        match now.when {
            When::EarlyAndCloses => return,
            When::EarlyAndAborts => return drop(node.send(&pdu(7, &[0, 0, 0, 0]))),
            When::EarlyAndStopsReading => loop {
                std::thread::park();
            },
            _ => {}
        }
    }
}
