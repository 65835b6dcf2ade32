//! A certificate authority and a scripted HTTP server over TLS, for tests.

use crate::dicomweb::tls::Certified;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate authority made for one test.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        Self::named("authority")
    }

    pub(super) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn issue(&self, name: &str) -> Certified {
        self.issue_between(name, 2020, 4000)
    }

    /// A certificate that is valid from the beginning of one year to that of another.
    pub(super) fn issue_between(&self, name: &str, from: i32, to: i32) -> Certified {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }
}

/// One accepted connection.
pub(super) struct Conn {
    pub(super) stream: TlsStream<TcpStream>,
    read: Vec<u8>,
    requests: Arc<AtomicUsize>,
}

/// A request's line and headers.
pub(super) struct Head(pub(super) String);

impl Head {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.0.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(super) fn target(&self) -> &str {
        self.0.split(' ').nth(1).unwrap()
    }

    pub(super) fn length(&self) -> usize {
        self.header("content-length").map_or(0, |value| value.parse().unwrap())
    }
}

impl Conn {
    /// The next request's head; `None` when the client closed.
    pub(super) async fn head(&mut self) -> Option<Head> {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect::<Vec<_>>();
                self.requests.fetch_add(1, Ordering::SeqCst);
                return Some(Head(String::from_utf8(head).unwrap()));
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).await {
                Ok(n) if n > 0 => self.read.extend_from_slice(&chunk[..n]),
                _ => return None,
            }
        }
    }

    /// Up to so many bytes of the body; fewer if the client closed before.
    pub(super) async fn body(&mut self, length: usize) -> Vec<u8> {
        let mut chunk = vec![0; 64 << 10];
        while self.read.len() < length {
            match self.stream.read(&mut chunk).await {
                Ok(n) if n > 0 => self.read.extend_from_slice(&chunk[..n]),
                _ => break,
            }
        }
        self.read.drain(..length.min(self.read.len())).collect()
    }

    /// Reads and throws away so many bytes; false if the client closed before.
    pub(super) async fn skip(&mut self, mut length: usize) -> bool {
        while length > 0 {
            let some = self.body(length.min(64 << 10)).await.len();
            if some == 0 {
                return false;
            }
            length -= some;
        }
        true
    }

    pub(super) async fn send(&mut self, text: &str) {
        // The client may be gone; the test sees that at its own end.
        let _ = self.stream.write_all(text.as_bytes()).await;
        let _ = self.stream.flush().await;
    }

    pub(super) async fn answer(&mut self, status: &str, headers: &str, body: &str) {
        self.send(&format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())).await;
    }

    /// Ends the connection with a TCP reset.
    pub(super) fn reset(self) {
        self.stream.get_ref().0.set_zero_linger().unwrap();
    }
}

/// A server that lives as long as the test.
pub(super) struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(super) async fn start<S, F>(authority: &Authority, certified: Certified, script: S) -> Self
    where
        S: Fn(Conn) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(authority.roots(), provider.clone()).build().unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(certified.0, certified.1)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        let script = Arc::new(script);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, script, requests) = (acceptor.clone(), script.clone(), counter.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        script(Conn { stream, read: Vec::new(), requests }).await;
                    }
                });
            }
        });
        Self { address, requests, task }
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}/dicom-web/", self.address)
    }

    /// Requests whose head was read.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
