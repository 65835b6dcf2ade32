//! A plain C-STORE user on a bare socket: fast, obedient to its test only, and able to misbehave.

use std::io::{self, Error, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const APPLICATION_CONTEXT: &[u8] = b"1.2.840.10008.3.1.1.1";

/// What became of asking for an association.
#[derive(Debug)]
pub enum Refused {
    /// A-ASSOCIATE-RJ: result, source, reason.
    Rejected(u8, u8, u8),
    /// A-ABORT or a closed connection.
    Closed,
    Io(Error),
}

/// The answer to one C-STORE.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Status(pub u16);

impl Status {
    pub const SUCCESS: Self = Self(0);
}

/// One association with one presentation context.
pub struct Association {
    stream: TcpStream,
    peer_maximum: usize,
    message: u16,
}

impl Association {
    /// Opens an association for one class in one syntax; an accepted context is part of success.
    pub fn open(port: u16, calling: &str, called: &str, class: &str, syntax: &str) -> Result<Self, Refused> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(Refused::Io)?;
        stream.set_nodelay(true).map_err(Refused::Io)?;
        stream.set_read_timeout(Some(Duration::from_secs(130))).map_err(Refused::Io)?;
        stream.write_all(&request(calling, called, class, syntax)).map_err(Refused::Io)?;
        let (kind, body) = pdu(&mut stream).map_err(|_| Refused::Closed)?;
        match kind {
            2 => {
                let (accepted, maximum) = read_acceptance(&body);
                assert!(accepted, "the context for {class} in {syntax} was not accepted");
                Ok(Self { stream, peer_maximum: maximum, message: 0 })
            }
            3 => Err(Refused::Rejected(body[1], body[2], body[3])),
            _ => Err(Refused::Closed),
        }
    }

    /// Sends a whole data set and reads the answer.
    pub fn store(&mut self, class: &str, instance: &str, data_set: &[u8]) -> io::Result<Status> {
        self.begin(class, instance)?;
        self.data(data_set, true)?;
        self.answer()
    }

    /// Sends the command set of a C-STORE.
    pub fn begin(&mut self, class: &str, instance: &str) -> io::Result<()> {
        self.message = self.message.wrapping_add(1).max(1);
        let command = store_command(class, instance, self.message);
        self.stream.write_all(&data_pdu(3, &command))
    }

    /// Sends bytes of the data set; with `last`, they are its end.
    pub fn data(&mut self, bytes: &[u8], last: bool) -> io::Result<()> {
        let room = self.peer_maximum - 6;
        let mut pieces = bytes.chunks(room).peekable();
        while let Some(piece) = pieces.next() {
            let flag = if last && pieces.peek().is_none() { 2 } else { 0 };
            let mut head = vec![4, 0];
            head.extend_from_slice(&u32::try_from(piece.len() + 6).unwrap().to_be_bytes());
            head.extend_from_slice(&u32::try_from(piece.len() + 2).unwrap().to_be_bytes());
            head.extend_from_slice(&[1, flag]);
            self.stream.write_all(&head)?;
            self.stream.write_all(piece)?;
        }
        Ok(())
    }

    /// Sends bytes as they are, PDU or not.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads one C-STORE response.
    pub fn answer(&mut self) -> io::Result<Status> {
        let mut command = Vec::new();
        loop {
            let (kind, body) = pdu(&mut self.stream)?;
            if kind != 4 {
                return Err(Error::other(format!("a PDU of type {kind} came in place of the answer")));
            }
            let mut rest = &body[..];
            let mut last = false;
            while rest.len() >= 6 {
                let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
                last |= rest[5] & 2 == 2;
                command.extend_from_slice(&rest[6..4 + length]);
                rest = &rest[4 + length..];
            }
            if last {
                return read_status(&command).ok_or_else(|| Error::other("the answer holds no status"));
            }
        }
    }

    /// Releases the association and reads the reply.
    pub fn release(mut self) {
        let _ = self.stream.write_all(&[5, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
        let _ = pdu(&mut self.stream);
    }
}

fn pdu(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 6];
    stream.read_exact(&mut head)?;
    let mut body = vec![0; u32::from_be_bytes(head[2..].try_into().unwrap()) as usize];
    stream.read_exact(&mut body)?;
    Ok((head[0], body))
}

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0];
    out.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
    out.extend_from_slice(value);
    out
}

fn request(calling: &str, called: &str, class: &str, syntax: &str) -> Vec<u8> {
    let mut body = vec![0, 1, 0, 0];
    body.extend_from_slice(format!("{called:16}{calling:16}").as_bytes());
    body.extend_from_slice(&[0; 32]);
    body.extend(item(0x10, APPLICATION_CONTEXT));
    let context = [vec![1, 0, 0, 0], item(0x30, class.as_bytes()), item(0x40, syntax.as_bytes())].concat();
    body.extend(item(0x20, &context));
    let user = [item(0x51, &16384_u32.to_be_bytes()), item(0x52, b"2.25.7000000000000")].concat();
    body.extend(item(0x50, &user));
    let mut out = vec![1, 0];
    out.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    out.extend(body);
    out
}

/// Whether context 1 was accepted, and the largest PDU the peer takes.
fn read_acceptance(body: &[u8]) -> (bool, usize) {
    let (mut accepted, mut maximum) = (false, 16384);
    let mut rest = body.get(68..).unwrap_or_default();
    while rest.len() >= 4 {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let value = &rest[4..4 + length];
        match rest[0] {
            0x21 => accepted |= value[0] == 1 && value[2] == 0,
            0x50 if value.starts_with(&[0x51, 0, 0, 4]) => {
                maximum = u32::from_be_bytes(value[4..8].try_into().unwrap()) as usize;
            }
            _ => {}
        }
        rest = &rest[4 + length..];
    }
    (accepted, if maximum == 0 { 1 << 17 } else { maximum.min(1 << 17) })
}

fn command_element(element: u16, value: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(&u32::try_from(value.len().next_multiple_of(2)).unwrap().to_le_bytes());
    out.extend_from_slice(value);
    if value.len() % 2 == 1 {
        out.push(0);
    }
    out
}

fn store_command(class: &str, instance: &str, message: u16) -> Vec<u8> {
    let rest = [
        command_element(0x0002, class.as_bytes()),
        command_element(0x0100, &[1, 0]),
        command_element(0x0110, &message.to_le_bytes()),
        command_element(0x0700, &[0, 0]),
        command_element(0x0800, &[0, 0]),
        command_element(0x1000, instance.as_bytes()),
    ]
    .concat();
    [command_element(0, &u32::try_from(rest.len()).unwrap().to_le_bytes()), rest].concat()
}

fn data_pdu(flag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![4, 0];
    out.extend_from_slice(&u32::try_from(bytes.len() + 6).unwrap().to_be_bytes());
    out.extend_from_slice(&u32::try_from(bytes.len() + 2).unwrap().to_be_bytes());
    out.extend_from_slice(&[1, flag]);
    out.extend_from_slice(bytes);
    out
}

fn read_status(command: &[u8]) -> Option<Status> {
    let mut rest = command;
    while rest.len() >= 8 {
        let length = u32::from_le_bytes(rest[4..8].try_into().ok()?) as usize;
        if rest[..4] == [0, 0, 0, 9] {
            return Some(Status(u16::from_le_bytes(rest.get(8..10)?.try_into().ok()?)));
        }
        rest = rest.get(8 + length..)?;
    }
    None
}
