//! HTTP over mutual TLS byte by byte, for requests that no HTTP library would make.

use super::certs::Identity;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// One connection, on which bytes are sent as they are.
pub struct Wire {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// What came and was not used yet.
    held: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a header, the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

impl Wire {
    /// Connects to a port of this machine as `identity`. Nothing is waited for longer than a minute.
    pub fn open(identity: &Identity, port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nodelay(true).unwrap();
        for timeout in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            timeout(&socket, Some(Duration::from_secs(60))).unwrap();
        }
        let name = "localhost".try_into().unwrap();
        let mut connection = ClientConnection::new(config(identity), name).unwrap();
        let mut socket = socket;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
        Self { stream: StreamOwned::new(connection, socket), held: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends bytes below TLS, as one who broke into the connection would.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.sock.write_all(bytes)
    }

    /// Sends a request whose last header is its body's length.
    pub fn request(&mut self, line: &str, headers: &[&str], body: &[u8]) -> io::Result<()> {
        let length = format!("Content-Length: {}", body.len());
        self.head(line, &[headers, &[&length]].concat())?;
        self.send(body)
    }

    /// Sends a head: a request line without its version, Host, and these headers.
    pub fn head(&mut self, line: &str, headers: &[&str]) -> io::Result<()> {
        self.send(format!("{line} HTTP/1.1\r\nHost: gateway.test\r\n{}\r\n\r\n", headers.join("\r\n")).as_bytes())
    }

    /// The status of the next answer, of which nothing else is read on purpose; `None` if the connection ends before that.
    pub fn status(&mut self) -> Option<u16> {
        let line = self.until(|held| memchr::memmem::find(held, b"\r\n"))?;
        String::from_utf8_lossy(&self.held[..line]).split(' ').nth(1)?.parse().ok()
    }

    /// The next answer; `None` if the connection ends before one is whole.
    pub fn answer(&mut self) -> Option<Reply> {
        let head_end = self.until(|held| memchr::memmem::find(held, b"\r\n\r\n").map(|at| at + 4))?;
        let head = String::from_utf8(self.held.drain(..head_end).collect()).unwrap();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut reply = Reply { status, head, body: Vec::new() };
        if reply.header("transfer-encoding").is_some() {
            loop {
                let line = self.until(|held| memchr::memmem::find(held, b"\r\n").map(|at| at + 2))?;
                let size: Vec<u8> = self.held.drain(..line).collect();
                let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
                let piece = self.take(size + 2)?;
                reply.body.extend_from_slice(&piece[..size]);
                if size == 0 {
                    return Some(reply);
                }
            }
        }
        let length = reply.header("content-length").map_or(0, |text| text.parse().unwrap());
        reply.body = self.take(length)?;
        Some(reply)
    }

    /// So many bytes of the body of the next answer, which has a length; `None` if the connection ends before.
    pub fn beginning(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let head = self.until(|held| memchr::memmem::find(held, b"\r\n\r\n").map(|at| at + 4))?;
        self.take(head)?;
        self.take(bytes)
    }

    /// Whether the other side ends the connection now, saying nothing more.
    pub fn ends(&mut self) -> bool {
        self.held.is_empty() && matches!(self.stream.read(&mut [0; 64]), Ok(0) | Err(_)) && !self.waits()
    }

    /// Ends our side of the connection and leaves the other open.
    pub fn shut(&mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
        let _ = self.stream.sock.shutdown(Shutdown::Write);
    }

    /// A read timed out: the connection stands.
    fn waits(&mut self) -> bool {
        let tried = self.stream.read(&mut [0; 1]);
        matches!(tried, Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        self.until(|held| (held.len() >= length).then_some(length))?;
        Some(self.held.drain(..length).collect())
    }

    fn until(&mut self, found: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        loop {
            if let Some(at) = found(&self.held) {
                return Some(at);
            }
            let mut piece = [0; 16 << 10];
            match self.stream.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(more) => self.held.extend_from_slice(&piece[..more]),
            }
        }
    }
}

fn config(identity: &Identity) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&identity.trust).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let chain = CertificateDer::pem_file_iter(&identity.certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap())
}
