//! A system that speaks HL7 over MLLP by a plain socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub fn connect(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

/// What comes until the frame or the connection ends.
pub fn hear(socket: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(&[0x1C, 0x0D]) && matches!(socket.read(&mut byte), Ok(1)) {
        heard.push(byte[0]);
    }
    String::from_utf8(heard).unwrap()
}

/// A message in its frame; each has a number of its own.
pub fn framed(kind: &str, control: &str, rest: &str) -> Vec<u8> {
    format!("\u{b}MSH|^~\\&|RIS|ROYAL|||20250310||{kind}|{control}|P|2.5.1\r{rest}\r\u{1c}\r").into_bytes()
}

pub fn say(socket: &mut TcpStream, kind: &str, rest: &str) -> String {
    socket.write_all(&framed(kind, "C7", rest)).unwrap();
    hear(socket)
}
