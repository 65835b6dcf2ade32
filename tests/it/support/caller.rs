//! An association item by item and PDU by PDU on a bare socket: what no well-behaved toolkit would send, and exactly what
//! comes back.

use std::collections::BTreeMap;
use std::io::{self, Error, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

pub const VERIFICATION: &str = "1.2.840.10008.1.1";
pub const IMPLICIT_LE: &str = "1.2.840.10008.1.2";
pub const APPLICATION_CONTEXT: &[u8] = b"1.2.840.10008.3.1.1.1";

/// An A-ASSOCIATE-RQ, as wrong as a test wants it.
#[derive(Clone)]
pub struct Request {
    pub version: u16,
    /// 16 bytes each, on the wire as they stand here.
    pub called: Vec<u8>,
    pub calling: Vec<u8>,
    pub application: Vec<u8>,
    pub contexts: Vec<(u8, String, Vec<String>)>,
    /// User information sub-items.
    pub user: Vec<(u8, Vec<u8>)>,
}

impl Request {
    pub fn new(calling: &str, called: &str) -> Self {
        Self {
            version: 1,
            called: format!("{called:16}").into_bytes(),
            calling: format!("{calling:16}").into_bytes(),
            application: APPLICATION_CONTEXT.to_vec(),
            contexts: Vec::new(),
            user: vec![(0x51, 16384_u32.to_be_bytes().to_vec()), (0x52, b"2.25.7000000000000".to_vec())],
        }
    }

    pub fn context(mut self, id: u8, class: &str, syntaxes: &[&str]) -> Self {
        self.contexts.push((id, class.to_owned(), syntaxes.iter().map(|s| (*s).to_owned()).collect()));
        self
    }

    pub fn item(mut self, kind: u8, value: &[u8]) -> Self {
        self.user.push((kind, value.to_vec()));
        self
    }

    /// Announces another maximum length.
    pub fn maximum(mut self, bytes: u32) -> Self {
        self.user[0].1 = bytes.to_be_bytes().to_vec();
        self
    }

    pub fn pdu(&self) -> Vec<u8> {
        let mut body = [&self.version.to_be_bytes()[..], &[0, 0], &self.called, &self.calling, &[0; 32]].concat();
        body.extend(item(0x10, &self.application));
        for (id, class, syntaxes) in &self.contexts {
            let mut context = vec![*id, 0, 0, 0];
            context.extend(item(0x30, class.as_bytes()));
            syntaxes.iter().for_each(|syntax| context.extend(item(0x40, syntax.as_bytes())));
            body.extend(item(0x20, &context));
        }
        let user: Vec<u8> = self.user.iter().flat_map(|(kind, value)| item(*kind, value)).collect();
        body.extend(item(0x50, &user));
        pdu(1, &body)
    }
}

/// What an A-ASSOCIATE-AC says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// Result and transfer syntax of each context, by its number.
    pub contexts: BTreeMap<u8, (u8, String)>,
    /// User information sub-items in their order.
    pub user: Vec<(u8, Vec<u8>)>,
    /// How many results there were, also of one number.
    pub results: usize,
}

impl Accept {
    pub fn item(&self, kind: u8) -> Option<&[u8]> {
        self.user.iter().find(|(found, _)| *found == kind).map(|(_, value)| &value[..])
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pdu {
    Accept(Accept),
    /// Result, source, reason.
    Reject(u8, u8, u8),
    /// The body of a P-DATA-TF.
    Data(Vec<u8>),
    ReleaseRequest,
    ReleaseReply,
    /// Source, reason.
    Abort(u8, u8),
}

/// The answer to one C-STORE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub comment: Option<String>,
    /// Group and element.
    pub offending: Option<(u16, u16)>,
    /// Affected SOP Instance UID, as it came.
    pub instance: Option<String>,
    /// Message ID Being Responded To.
    pub message: u16,
    /// The longest P-DATA-TF in which it came.
    pub longest_pdu: usize,
}

pub struct Caller<S = TcpStream> {
    pub stream: S,
}

impl Caller {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(120))).unwrap();
        Self { stream }
    }

    /// Whether the other side, on this machine, has taken from the connection all that was sent.
    pub fn is_heard(&self) -> bool {
        let [ours, theirs] = [self.stream.local_addr(), self.stream.peer_addr()].map(|address| address.unwrap().port());
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let empty = |from: u16, to: u16| {
            sockets.lines().any(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let at = |n: usize, port: u16| fields[n].ends_with(&format!(":{port:04X}"));
                fields.len() > 4 && at(1, from) && at(2, to) && fields[4] == "00000000:00000000"
            })
        };
        // Nothing of ours is on its way, and nothing lies there unread.
        empty(ours, theirs) && empty(theirs, ours)
    }

    /// Connects and asks; what the other side says to it.
    pub fn ask(port: u16, request: &Request) -> (Self, io::Result<Pdu>) {
        let mut caller = Self::connect(port);
        let answer = caller.send(&request.pdu()).and_then(|()| caller.read());
        (caller, answer)
    }

    /// An association that must come about.
    pub fn accepted(port: u16, request: &Request) -> (Self, Accept) {
        match Self::ask(port, request) {
            (caller, Ok(Pdu::Accept(accept))) => (caller, accept),
            (_, other) => panic!("not accepted: {other:?}"),
        }
    }
}

impl<S: Read + Write> Caller<S> {
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn read(&mut self) -> io::Result<Pdu> {
        read_pdu(&mut self.stream)
    }

    /// One fragment in a P-DATA-TF of its own.
    pub fn fragment(&mut self, context: u8, command: bool, last: bool, bytes: &[u8]) -> io::Result<()> {
        self.send(&fragment(context, command, last, bytes))
    }

    /// A command set and a data set; what comes back, as a C-STORE answer.
    pub fn store(&mut self, context: u8, class: &str, instance: &str, data: &[u8]) -> io::Result<Answer> {
        self.fragment(context, true, true, &store_command(class, instance, 7))?;
        let pieces = data.chunks(65536).count();
        for (number, piece) in data.chunks(65536).enumerate() {
            self.fragment(context, false, number + 1 == pieces, piece)?;
        }
        self.answer()
    }

    pub fn answer(&mut self) -> io::Result<Answer> {
        let (mut command, mut longest) = (Vec::new(), 0);
        loop {
            let body = match self.read()? {
                Pdu::Data(body) => body,
                other => return Err(Error::other(format!("no answer but {other:?}"))),
            };
            longest = longest.max(body.len());
            let mut rest = &body[..];
            let mut last = false;
            while rest.len() >= 6 {
                let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
                last |= rest[5] & 2 == 2;
                command.extend_from_slice(&rest[6..4 + length]);
                rest = &rest[4 + length..];
            }
            if last {
                return read_answer(&command, longest).ok_or_else(|| Error::other("the answer holds no status"));
            }
        }
    }

    /// The answers to a query: how many were pending, and the last one. Their identifiers are passed over.
    pub fn answers(&mut self) -> io::Result<(usize, Answer)> {
        let (mut command, mut pending) = (Vec::new(), 0);
        loop {
            let body = match self.read()? {
                Pdu::Data(body) => body,
                other => return Err(Error::other(format!("no answer but {other:?}"))),
            };
            let mut rest = &body[..];
            while rest.len() >= 6 {
                let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
                let (flags, value) = (rest[5], &rest[6..4 + length]);
                rest = &rest[4 + length..];
                if flags & 1 == 0 {
                    continue;
                }
                command.extend_from_slice(value);
                if flags & 2 == 2 {
                    let answer = read_answer(&std::mem::take(&mut command), body.len());
                    let answer = answer.ok_or_else(|| Error::other("the answer holds no status"))?;
                    if answer.status & 0xFF00 != 0xFF00 {
                        return Ok((pending, answer));
                    }
                    pending += 1;
                }
            }
        }
    }

    /// Releases, and waits for the reply.
    pub fn release(mut self) {
        self.send(&release_request()).unwrap();
        assert_eq!(self.read().unwrap(), Pdu::ReleaseReply);
    }

    /// Waits until the other side closes the connection; what it still sent.
    pub fn until_closed(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }
}

/// A node that accepts one association for Verification after a while, with these further user items; it answers one C-ECHO
/// and the release.
pub fn verification_node(listener: &TcpListener, more: &[u8], after: Duration) {
    let (mut stream, _) = listener.accept().unwrap();
    let request = read_request(&mut stream).unwrap();
    std::thread::sleep(after);
    let result = [&[1, 0, 0, 0][..], &item(0x40, IMPLICIT_LE.as_bytes())].concat();
    let user = item(0x50, &[&item(0x51, &[0; 4]), more].concat());
    let accept = [&request[..68], &item(0x10, APPLICATION_CONTEXT), &item(0x21, &result), &user].concat();
    let mut caller = Caller { stream };
    caller.send(&pdu(2, &accept)).unwrap();
    let Ok(Pdu::Data(_)) = caller.read() else { return };
    let zero = [0, 0];
    let field = [0x30, 0x80];
    let elements: [(u16, &[u8]); 5] =
        [(0x0002, VERIFICATION.as_bytes()), (0x0100, &field), (0x0120, &[1, 0]), (0x0800, &[1, 1]), (0x0900, &zero)];
    caller.fragment(1, true, true, &command(&elements)).unwrap();
    if let Ok(Pdu::ReleaseRequest) = caller.read() {
        caller.send(&pdu(6, &[0; 4])).unwrap();
    }
}

/// Reads the body of the PDU that comes next, whatever it is: an A-ASSOCIATE-RQ.
pub fn read_request(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    Ok(read_any(stream)?.1)
}

/// Type and body of the PDU that comes next.
fn read_any(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 6];
    stream.read_exact(&mut head)?;
    let mut body = vec![0; u32::from_be_bytes(head[2..].try_into().unwrap()) as usize];
    stream.read_exact(&mut body)?;
    Ok((head[0], body))
}

/// Reads one PDU.
pub fn read_pdu(stream: &mut impl Read) -> io::Result<Pdu> {
    let (kind, body) = read_any(stream)?;
    Ok(match kind {
        2 => Pdu::Accept(read_accept(&body)),
        3 => Pdu::Reject(body[1], body[2], body[3]),
        4 => Pdu::Data(body),
        5 => Pdu::ReleaseRequest,
        6 => Pdu::ReleaseReply,
        7 => Pdu::Abort(body[2], body[3]),
        other => return Err(Error::other(format!("a PDU of type {other}"))),
    })
}

pub fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

pub fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// A field with its length before it, as in user information sub-items.
pub fn counted(value: &[u8]) -> Vec<u8> {
    [&u16::try_from(value.len()).unwrap().to_be_bytes()[..], value].concat()
}

pub fn fragment(context: u8, command: bool, last: bool, bytes: &[u8]) -> Vec<u8> {
    pdu(4, &pdv(context, command, last, bytes))
}

pub fn pdv(context: u8, command: bool, last: bool, bytes: &[u8]) -> Vec<u8> {
    let flags = u8::from(command) | u8::from(last) << 1;
    [&u32::try_from(bytes.len() + 2).unwrap().to_be_bytes()[..], &[context, flags], bytes].concat()
}

pub fn release_request() -> Vec<u8> {
    pdu(5, &[0; 4])
}

/// A command set of these elements of group 0000, with its length.
pub fn command(elements: &[(u16, &[u8])]) -> Vec<u8> {
    let mut rest = Vec::new();
    for (element, value) in elements {
        rest.extend_from_slice(&[0, 0]);
        rest.extend_from_slice(&element.to_le_bytes());
        rest.extend_from_slice(&u32::try_from(value.len().next_multiple_of(2)).unwrap().to_le_bytes());
        rest.extend_from_slice(value);
        rest.resize(rest.len() + value.len() % 2, 0);
    }
    let length = u32::try_from(rest.len()).unwrap().to_le_bytes();
    [&[0, 0, 0, 0, 4, 0, 0, 0][..], &length, &rest].concat()
}

pub fn store_command(class: &str, instance: &str, message: u16) -> Vec<u8> {
    command(&[
        (0x0002, class.as_bytes()),
        (0x0100, &[1, 0]),
        (0x0110, &message.to_le_bytes()),
        (0x0700, &[0, 0]),
        (0x0800, &[0, 0]),
        (0x1000, instance.as_bytes()),
    ])
}

pub fn find_command(class: &str, message: u16) -> Vec<u8> {
    command(&[
        (0x0002, class.as_bytes()),
        (0x0100, &[0x20, 0]),
        (0x0110, &message.to_le_bytes()),
        (0x0700, &[0, 0]),
        (0x0800, &[0, 0]),
    ])
}

pub fn echo_command(message: u16) -> Vec<u8> {
    command(&[
        (0x0002, VERIFICATION.as_bytes()),
        (0x0100, &[0x30, 0]),
        (0x0110, &message.to_le_bytes()),
        (0x0800, &[1, 1]),
    ])
}

fn read_accept(body: &[u8]) -> Accept {
    let mut accept = Accept { contexts: BTreeMap::new(), user: Vec::new(), results: 0 };
    for (kind, value) in items(body.get(68..).unwrap_or_default()) {
        match kind {
            0x21 => {
                let syntaxes = items(&value[4..]);
                assert_eq!(syntaxes.len(), 1, "a result has one transfer syntax sub-item");
                accept.results += 1;
                accept.contexts.insert(value[0], (value[2], String::from_utf8(syntaxes[0].1.to_vec()).unwrap()));
            }
            0x50 => accept.user = items(value).into_iter().map(|(kind, value)| (kind, value.to_vec())).collect(),
            _ => {}
        }
    }
    accept
}

/// The items of a PDU or of an item, each with its type.
pub fn items(mut rest: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while rest.len() >= 4 {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        found.push((rest[0], &rest[4..4 + length]));
        rest = &rest[4 + length..];
    }
    found
}

/// The values of a command set by their elements.
pub fn elements(command: &[u8]) -> Option<BTreeMap<u16, &[u8]>> {
    let (mut found, mut rest) = (BTreeMap::new(), command);
    while rest.len() >= 8 {
        let length = u32::from_le_bytes(rest[4..8].try_into().ok()?) as usize;
        found.insert(u16::from_le_bytes([rest[2], rest[3]]), rest.get(8..8 + length)?);
        rest = rest.get(8 + length..)?;
    }
    Some(found)
}

fn read_answer(command: &[u8], longest_pdu: usize) -> Option<Answer> {
    let elements = elements(command)?;
    let word = |element: u16, at: usize| {
        let bytes = elements.get(&element)?.get(at..at + 2)?;
        Some(u16::from_le_bytes([bytes[0], bytes[1]]))
    };
    let text = |element: u16| {
        let value = elements.get(&element)?;
        Some(String::from_utf8_lossy(value).trim_end_matches(['\0', ' ']).to_owned())
    };
    Some(Answer {
        status: word(0x0900, 0)?,
        comment: text(0x0902),
        offending: word(0x0901, 0).zip(word(0x0901, 2)),
        instance: text(0x1000),
        message: word(0x0120, 0)?,
        longest_pdu,
    })
}
