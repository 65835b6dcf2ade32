//! Hostile HTTP over real TLS: what is wrong gets its answer or its end, memory stays small, and the caller beside it notices nothing.

use crate::support::certs::Identity;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use crate::support::wire::{Reply, Wire};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;

/// The most that the gateway may hold at any time (SEC-021).
const MOST_MEMORY: u64 = 100_000_000;

/// A gateway with short patience, and a peer that may do everything.
struct Site {
    gateway: Gateway,
    peer: Identity,
    story: u64,
    healthy: Cell<u64>,
    _stage: Stage,
}

impl Site {
    fn start(story: u64, more: &str) -> Self {
        let stage = Stage::new();
        let config = stage.site_a("https://127.0.0.1:9/dicom-web").with(more);
        let gateway = Gateway::start(&stage.path().join("site"), config);
        let peer = stage.authority.issue(B_IDENTITY);
        Self { gateway, peer, story, healthy: Cell::new(0), _stage: stage }
    }

    fn wire(&self) -> Wire {
        Wire::open(&self.peer, self.gateway.config.web_port)
    }

    /// Posts a body under a content type on a connection of its own.
    fn post(&self, content_type: &str, body: &[u8]) -> Reply {
        let mut wire = self.wire();
        wire.request("POST /dicom-web/studies", &[&format!("Content-Type: {content_type}")], body).unwrap();
        wire.answer().expect("an answer")
    }

    /// Somebody who does nothing wrong is served as ever.
    fn serves_others(&self) {
        self.healthy.set(self.healthy.get() + 1);
        let names = names(self.story, 9, self.healthy.get());
        let reply = self.post(&related("b"), &multipart("b", &[file(&names, 4000)]));
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    fn unharmed(mut self) {
        self.serves_others();
        let peak = self.gateway.peak_memory();
        println!("summary: peak resident memory {} MB", peak / 1_000_000);
        assert!(peak < MOST_MEMORY, "the gateway held {peak} bytes");
        self.gateway.verify_ledger(true);
    }
}

fn related(boundary: &str) -> String {
    format!("multipart/related; type=\"application/dicom\"; boundary=\"{boundary}\"")
}

fn file(names: &Names, pixel_bytes: u32) -> Vec<u8> {
    part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(names, pixel_bytes, names.instance.len() as u64))
}

fn part(boundary: &str, headers: &str, bytes: &[u8]) -> Vec<u8> {
    [format!("--{boundary}\r\n{headers}\r\n").as_bytes(), bytes, b"\r\n"].concat()
}

fn multipart(boundary: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> =
        parts.iter().map(|bytes| part(boundary, "Content-Type: application/dicom\r\n", bytes)).collect();
    [parts.concat(), format!("--{boundary}--\r\n").into_bytes()].concat()
}

/// Stored, failed and other failures in an answer.
fn counts(reply: &Reply) -> (usize, usize, usize) {
    if reply.header("content-type") != Some("application/dicom+json") {
        return (0, 0, 0);
    }
    let module = reply.json();
    let count = |tag: &str| module[tag]["Value"].as_array().map_or(0, Vec::len);
    (count("00081199"), count("00081198"), count("0008119A"))
}

/// A file whose pixels hold these bytes.
fn holding(names: &Names, inside: &[u8]) -> Vec<u8> {
    let mut bytes = file(names, 4000);
    let at = bytes.len() - 2000;
    bytes[at..at + inside.len()].copy_from_slice(inside);
    bytes
}

/// A way of saying it, its content type, the body, and what must come of it: status, and parts stored, failed and other.
type Row = (&'static str, String, Vec<u8>, u16, (usize, usize, usize));

const FINE: (usize, usize, usize) = (1, 0, 0);
const NONE: (usize, usize, usize) = (0, 0, 0);

/// Files that nobody sent before.
struct Fresh(u64, Cell<u64>);

impl Fresh {
    fn names(&self) -> Names {
        self.1.set(self.1.get() + 1);
        names(self.0, 1, self.1.get())
    }

    fn whole(&self, boundary: &str) -> Vec<u8> {
        multipart(boundary, &[file(&self.names(), 4000)])
    }

    /// A part with these headers.
    fn with(&self, headers: &str) -> Vec<u8> {
        [part("b", headers, &file(&self.names(), 4000)), b"--b--".to_vec()].concat()
    }

    /// The framing without its carriage returns; the file keeps its own.
    fn line_feeds(&self) -> Vec<u8> {
        let body = self.whole("b");
        let at = memchr::memmem::find(&body, b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(body[..at].to_vec()).unwrap().replace("\r\n", "\n");
        let file = body[at..].strip_suffix(b"\r\n--b--\r\n").unwrap();
        [head.as_bytes(), file, b"\n--b--\n"].concat()
    }

    fn holding(&self, inside: &[u8]) -> Vec<u8> {
        multipart("b", &[holding(&self.names(), inside)])
    }
}

fn all_come_out(site: &Site, rows: Vec<Row>) {
    for (what, content_type, body, status, expected) in rows {
        let reply = site.post(&content_type, &body);
        assert_eq!((reply.status, counts(&reply)), (status, expected), "{what}: {reply:?}");
    }
}

#[test]
fn boundary_tricks_are_read_by_the_letter_or_refused() {
    let site = Site::start(401, "");
    let fresh = Fresh(401, Cell::new(0));
    let whole = |boundary: &str| fresh.whole(boundary);
    let (long, too_long) = ("x".repeat(200), "x".repeat(201));
    let (b, odd) = (related("b"), "a b'()+_,-./:=?");
    let unquoted = "multipart/related; type=application/dicom; boundary=b";
    let unbounded = "multipart/related; type=\"application/dicom\"";
    let before = [b"to whom it\r\nmay concern --b\r\n".to_vec(), whole("b")].concat();
    let after = [whole("b"), b"\r\n--b\r\nthe end".to_vec()].concat();
    let mut open_ended = whole("b");
    open_ended.truncate(open_ended.len() - "--b--\r\n".len());
    all_come_out(
        &site,
        vec![
            ("plain", b.clone(), whole("b"), 200, FINE),
            ("unquoted", unquoted.into(), whole("b"), 200, FINE),
            ("odd characters", related(odd), whole(odd), 200, FINE),
            ("200 characters", related(&long), whole(&long), 200, FINE),
            ("201 characters", related(&too_long), whole(&too_long), 400, NONE),
            ("no boundary", unbounded.into(), whole("b"), 400, NONE),
            ("empty boundary", related(""), whole(""), 400, NONE),
            ("another boundary", related("c"), whole("b"), 400, NONE),
            ("preamble", b.clone(), before, 200, FINE),
            ("epilogue", b.clone(), after, 200, FINE),
            ("a preamble for ever", b.clone(), vec![b'x'; 200_000], 400, NONE),
            ("line feeds alone", b.clone(), fresh.line_feeds(), 200, FINE),
            ("missing end", b.clone(), open_ended, 400, NONE),
            ("nothing but an end", b.clone(), b"--b--\r\n".to_vec(), 400, NONE),
            ("nothing", b.clone(), Vec::new(), 400, NONE),
            ("longer words in the pixels", b.clone(), fresh.holding(b"\r\n--bb\r\n\r\n--b \0"), 200, FINE),
            ("the boundary within a line", b.clone(), fresh.holding(b"x--b\r\nx--b--"), 200, FINE),
            ("the boundary in the pixels", b, fresh.holding(b"\r\n--b\r\n\r\n"), 409, (0, 1, 1)),
        ],
    );
    site.unharmed();
}

#[test]
fn tricks_in_a_part_concern_that_part_alone() {
    let site = Site::start(409, "");
    let fresh = Fresh(409, Cell::new(0));
    let b = related("b");
    let kind = "Content-Type: application/dicom\r\n";
    let with = |headers: &str| fresh.with(headers);
    let named = |more: &str| fresh.with(&format!("{kind}{more}\r\n"));
    let nested = |inner: &[u8]| {
        let kind = "Content-Type: multipart/mixed; boundary=c\r\n";
        [part("b", kind, inner), fresh.whole("b")].concat()
    };
    let empty = [b"--b\r\n\r\n\r\n".to_vec(), fresh.whole("b")].concat();
    let endless = [b"--b\r\nX: ".to_vec(), vec![b'x'; 100_000]].concat();
    let (other, two) = ((0, 0, 1), (1, 0, 1));
    all_come_out(
        &site,
        vec![
            ("an empty part", b.clone(), empty, 202, two),
            ("a part without headers", b.clone(), with(""), 200, FINE),
            ("headers without end", b.clone(), endless, 400, NONE),
            ("a nested body", b.clone(), nested(&fresh.whole("c")), 202, two),
            ("a nested body of our boundary", b.clone(), nested(b"--b--\r\n"), 409, other),
            ("a way out", b.clone(), named("Content-Location: ../../../etc/passwd"), 200, FINE),
            ("gzip in a part", b.clone(), named("Content-Encoding: gzip"), 409, other),
            ("base64 in a part", b.clone(), named("Content-Transfer-Encoding: base64"), 409, other),
            ("a length that lies", b.clone(), named("Content-Length: 99999999999999999999"), 200, FINE),
            ("a file that is called bytes", b.clone(), with("Content-Type: application/octet-stream\r\n"), 200, FINE),
            ("a line that is no header", b.clone(), named("no colon"), 200, FINE),
            ("metadata", b, with("Content-Type: application/dicom+json\r\n"), 409, other),
        ],
    );
    site.unharmed();
}

#[test]
fn heads_that_are_too_much_are_refused_before_they_are_held() {
    let site = Site::start(402, "");
    let big = "x".repeat(10_000_000);
    let many = (0..200_000).map(|n| format!("X-{n}: y")).collect::<Vec<_>>().join("\r\n");
    let rows = [
        ("a header of 10 MB", format!("GET /dicom-web/instances HTTP/1.1\r\nHost: a\r\nX: {big}\r\n\r\n"), 431),
        ("200,000 headers", format!("GET /dicom-web/instances HTTP/1.1\r\nHost: a\r\n{many}\r\n\r\n"), 431),
        ("101 headers", format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(100)), 431),
        ("an address of 10 MB", format!("GET /dicom-web/{big} HTTP/1.1\r\nHost: a\r\n\r\n"), 431),
        ("a method for ever", big.clone(), 431),
    ];
    for (what, head, status) in rows {
        let mut wire = site.wire();
        // The other side may close before all is sent; what it said before that counts.
        let _ = wire.send(head.as_bytes());
        let reply = wire.answer();
        assert!(reply.as_ref().is_none_or(|reply| [status, 414, 400].contains(&reply.status)), "{what}: {reply:?}");
        assert!(wire.ends(), "{what}: the connection is of no more use");
    }
    let mut wire = site.wire();
    wire.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(100)).as_bytes()).unwrap();
    assert_eq!(wire.answer().expect("an answer").status, 431);
    site.unharmed();
}

#[test]
fn lengths_that_lie_break_only_their_own_request() {
    let site = Site::start(403, "");
    let names = names(403, 1, 1);
    let body = multipart("b", &[file(&names, 100_000)]);
    let kind = format!("Content-Type: {}", related("b"));
    // Too long: the body ends before its length.
    let mut wire = site.wire();
    wire.head("POST /dicom-web/studies", &[&kind, &format!("Content-Length: {}", body.len() + 9)]).unwrap();
    wire.send(&body[..body.len() - 20]).unwrap();
    wire.shut();
    assert!(wire.answer().is_none_or(|reply| reply.status == 408), "no success, and no blame");
    // Too short: what follows is no request.
    let mut wire = site.wire();
    wire.head("POST /dicom-web/studies", &[&kind, &format!("Content-Length: {}", body.len() - 1000)]).unwrap();
    wire.send(&body).unwrap();
    assert_eq!(wire.answer().expect("an answer").status, 400);
    assert!(wire.answer().is_none_or(|reply| reply.status == 400));
    assert!(wire.ends());
    // Chunks.
    let chunk = |size: &str| [format!("{size}\r\n").as_bytes(), &body[..], b"\r\n0\r\n\r\n"].concat();
    let size = format!("{:x}", body.len());
    let long_extension = format!("{size};{}", "x".repeat(1_000_000));
    let trailers = [chunk(&size)[..body.len() + size.len() + 4].to_vec(), b"0\r\n".to_vec(), vec![b'x'; 1_000_000]];
    // Where the multipart body itself came whole, its instance is stored, whatever the coding around it says after its end.
    let rows = [
        ("a size beyond all numbers", chunk("FFFFFFFFFFFFFFFFF"), false),
        ("a size as large as numbers go", chunk("FFFFFFFFFFFFFFFF"), true),
        ("a size below none", chunk("-1"), false),
        ("a size with a prefix", chunk(&format!("0x{size}")), false),
        ("no size", chunk(""), false),
        ("a size that is too small", chunk("10"), false),
        ("an extension of 1 MB", chunk(&long_extension), false),
        ("trailers of 1 MB", trailers.concat(), true),
        ("no last chunk", [format!("{size}\r\n").as_bytes(), &body[..body.len() - 20]].concat(), false),
    ];
    for (what, bytes, whole) in rows {
        let mut wire = site.wire();
        wire.head("POST /dicom-web/studies", &[&kind, "Transfer-Encoding: chunked"]).unwrap();
        let _ = wire.send(&bytes);
        wire.shut();
        let reply = wire.answer();
        let right =
            reply.as_ref().is_none_or(|reply| [400, 408].contains(&reply.status) || whole && reply.status == 200);
        assert!(right, "{what}: {reply:?}");
        assert!(wire.ends(), "{what}");
    }
    site.unharmed();
}

/// FLT-066: many senders look for an answer only when all is sent; a connection that is reset before that has none for them.
#[test]
fn an_early_answer_reaches_who_sends_on() {
    let site = Site::start(410, "");
    let body = vec![b'x'; 32 << 20];
    let rows = [
        ("POST /dicom-web/nowhere", "application/dicom", 404),
        ("POST /dicom-web/instances", "application/dicom", 405),
        ("POST /dicom-web/studies/1..2", "application/dicom", 400),
        ("POST /dicom-web/studies", "text/plain", 415),
    ];
    for (line, kind, status) in rows {
        let mut wire = site.wire();
        wire.request(line, &[&format!("Content-Type: {kind}")], &body).expect("it is read to its end");
        let reply = wire.answer().expect("an answer");
        assert_eq!(reply.status, status, "{line}: {reply:?}");
        assert!(wire.ends(), "{line}");
    }
    site.unharmed();
}

#[test]
fn framing_that_contradicts_itself_smuggles_nothing() {
    let site = Site::start(404, "");
    let smuggled = "GET /dicom-web/instances?SOPInstanceUID=1.2.3 HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = |headers: &str, body: &str| {
        format!("POST /dicom-web/studies HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n{headers}\r\n\r\n{body}")
    };
    let empty = "0\r\n\r\n";
    let both = format!("{empty}{smuggled}");
    let length = both.len();
    let rows = [
        (
            "both, the length first",
            post(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"), &both),
            415,
        ),
        (
            "both, the coding first",
            post(&format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"), &both),
            415,
        ),
        ("two lengths", post(&format!("Content-Length: 0\r\nContent-Length: {}", smuggled.len()), smuggled), 400),
        ("two lengths in one", post(&format!("Content-Length: 0, {}", smuggled.len()), smuggled), 400),
        ("a signed length", post("Content-Length: +0", smuggled), 400),
        ("a coding that is none", post("Transfer-Encoding: xchunked", &both), 400),
        ("a coding besides", post("Transfer-Encoding: gzip, chunked", &both), 501),
        ("chunked, but not last", post("Transfer-Encoding: chunked, identity", &both), 400),
        ("a blank before the colon", post("Transfer-Encoding : chunked", &both), 400),
        ("a folded line", post("X: y\r\n Transfer-Encoding: chunked", &both), 400),
        ("a bare CR", post("X: y\rTransfer-Encoding: chunked", &both), 400),
        ("NUL in a header", post("X: \0", smuggled), 400),
        ("HTTP/1.0 and chunked", post("Transfer-Encoding: chunked", &both).replace("HTTP/1.1", "HTTP/1.0"), 400),
        ("HTTP/1.0", post("Content-Length: 0", "").replace("HTTP/1.1", "HTTP/1.0"), 505),
        ("HTTP/0.9", "GET /dicom-web/instances\r\n\r\n".to_owned(), 400),
        ("HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 0),
        ("no Host", "GET /dicom-web/instances HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("two Hosts", "GET /dicom-web/instances HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
    ];
    for (what, bytes, status) in rows {
        let mut wire = site.wire();
        wire.send(bytes.as_bytes()).unwrap();
        let reply = wire.answer();
        // 0: the connection ends without an answer.
        assert_eq!(reply.as_ref().map_or(0, |reply| reply.status), status, "{what}: {reply:?}");
        assert!(wire.ends(), "{what}: nothing after it is taken for a request");
    }
    site.unharmed();
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let site = Site::start(405, "");
    let names = names(405, 1, 1);
    let mut wire = site.wire();
    let ask = format!("GET /dicom-web/instances?SOPInstanceUID={} HTTP/1.1\r\nHost: a\r\n\r\n", names.instance);
    let body = multipart("b", &[file(&names, 4000)]);
    let kind = related("b");
    let post = format!(
        "POST /dicom-web/studies HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    wire.send(&[ask.as_bytes(), post.as_bytes(), &body, ask.as_bytes(), ask.as_bytes()].concat()).unwrap();
    let statuses: Vec<u16> = (0..4).map(|_| wire.answer().expect("an answer").status).collect();
    assert_eq!(statuses, [204, 200, 200, 200], "not there, stored, there, there");
    site.unharmed();
}

#[test]
fn who_trickles_is_cut_off_in_every_phase() {
    let site = Site::start(406, "[timers]\ntls_handshake = \"2 s\"\nhttp_idle = \"3 s\"");
    let port = site.gateway.config.web_port;
    let limit = seconds(60);
    // In the handshake: a byte at a time.
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut hello = [0x16, 0x03, 0x01, 0x02, 0x00].into_iter().chain(std::iter::repeat(1));
    until(limit, "the handshake is given up", || socket.write_all(&[hello.next().unwrap()]).is_err().then_some(()));
    note_fired(1);
    // In the head, and with nothing at all after a request.
    let mut wire = site.wire();
    wire.send(b"GET /dicom-web/instances HTTP/1.1\r\nHost: a\r\nX: ").unwrap();
    until(limit, "the head is given up", || wire.send(b"x").is_err().then_some(()));
    note_fired(1);
    let mut wire = site.wire();
    wire.head("GET /dicom-web/nowhere", &[]).unwrap();
    assert_eq!(wire.answer().expect("an answer").status, 404);
    assert!(wire.ends(), "a connection that asks nothing more is closed");
    note_fired(1);
    // In the body: bytes come all the time, but too few.
    let mut wire = site.wire();
    let kind = format!("Content-Type: {}", related("b"));
    wire.head("POST /dicom-web/studies", &[&kind, "Content-Length: 1000000"]).unwrap();
    until(limit, "the body is given up", || wire.send(b"x").is_err().then_some(()));
    note_fired(1);
    // The same, but waiting for the answer.
    let mut wire = site.wire();
    wire.head("POST /dicom-web/studies", &[&kind, "Content-Length: 1000000"]).unwrap();
    let reply = wire.answer().expect("an answer");
    assert_eq!((reply.status, reply.json()["temporary"].as_bool()), (408, Some(true)), "{reply:?}");
    assert!(wire.ends());
    note_fired(1);
    // While we answer: questions without end, and nothing is read.
    let mut wire = site.wire();
    let question = "OPTIONS /dicom-web HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    until(limit, "the answers are given up", || wire.send(question.as_bytes()).is_err().then_some(()));
    note_fired(1);
    site.unharmed();
}

#[test]
fn a_crowd_that_never_speaks_keeps_nobody_out() {
    let site = Site::start(407, "[timers]\ntls_handshake = \"60 s\"");
    let port = site.gateway.config.web_port;
    // As many as there is room for, and more.
    let mut crowd: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    for _ in 0..3 {
        site.serves_others();
    }
    crowd[0].set_read_timeout(Some(seconds(30))).unwrap();
    assert!(matches!(crowd[0].read(&mut [0; 8]), Ok(0) | Err(_)), "the first who came makes room");
    drop(crowd);
    site.unharmed();
}

#[test]
fn paths_and_names_that_trick_lead_nowhere() {
    let site = Site::start(408, "");
    let long = "1".repeat(65);
    let rows = [
        ("POST", "/dicom-web/studies/..%2F..%2Fetc", 400),
        ("POST", "/dicom-web/studies/%2e%2e", 400),
        ("POST", "/dicom-web/studies/1.2%00", 400),
        ("POST", "/dicom-web/studies/1.2%20", 400),
        ("POST", "/dicom-web/studies/1.2%0d%0aSet-Cookie:%20a", 400),
        ("POST", "/dicom-web/studies/%ff%fe", 400),
        ("POST", "/dicom-web/studies/%EF%BC%91.2", 400),
        ("POST", "/dicom-web/studies/1..2", 400),
        ("POST", &format!("/dicom-web/studies/{long}"), 400),
        ("GET", "/dicom-web/studies/..%2f/instances", 400),
        ("GET", "/dicom-web/instances?SOPInstanceUID=1.2%0d%0aX:y", 400),
        ("GET", "/dicom-web/instances?SOPInstanceUID=%", 400),
        ("GET", "/dicom-web/instances?SOPInstanceUID=%00", 400),
        ("POST", "/dicom-web/studies/../studies", 404),
        ("POST", "/dicom-web/./studies", 404),
        ("POST", "//dicom-web/studies", 404),
        ("POST", "/dicom-web/%73tudies%2f", 404),
        ("GET", "/", 404),
        ("GET", "/admin", 404),
        ("GET", "/etc/passwd", 404),
    ];
    for (method, path, status) in rows {
        let mut wire = site.wire();
        wire.request(&format!("{method} {path}"), &["Content-Type: application/dicom"], b"").unwrap();
        let reply = wire.answer().expect("an answer");
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{path}");
        assert!(reply.header("set-cookie").is_none(), "{path}");
    }
    for (method, path, allowed) in [
        ("DELETE", "/dicom-web/studies", "POST"),
        ("PUT", "/dicom-web/studies/1.2", "POST"),
        ("TRACE", "/dicom-web/instances", "GET"),
        ("POST", "/dicom-web/instances", "GET"),
        ("BREW", "/dicom-web", "OPTIONS"),
    ] {
        let mut wire = site.wire();
        wire.request(&format!("{method} {path}"), &[], b"").unwrap();
        let reply = wire.answer().expect("an answer");
        assert_eq!(reply.status, 405, "{method} {path}: {reply:?}");
        assert!(reply.header("allow").is_some_and(|allow| allow.contains(allowed)), "{method} {path}: {reply:?}");
        assert_eq!(reply.json()["side"], "the caller");
    }
    site.unharmed();
}
