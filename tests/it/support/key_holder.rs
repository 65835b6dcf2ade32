//! Something that holds the keys of two sites: it takes TLS apart between them, changes what they say, and puts it together again.

use super::certs::Identity;
use super::{scripted_peer, tls};
use memchr::memmem;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What it changes.
enum Change {
    /// The first byte that goes up at this place of a connection, once.
    UpAt(u64),
    /// The last byte before the closing quotation mark of this, wherever it comes down.
    Quoted(Vec<u8>),
}

struct State {
    change: Change,
    changed: AtomicU64,
    honest: AtomicBool,
}

pub struct KeyHolder {
    pub port: u16,
    state: Arc<State>,
}

impl KeyHolder {
    /// Stands in for `callee` before a port of the loopback, and for `caller` behind; the first byte that it carries up at this
    /// place of a connection is changed.
    pub fn between(caller: &Identity, callee: &Identity, upstream: u16, at: u64) -> Self {
        Self::start(caller, callee, upstream, Change::UpAt(at))
    }

    /// The same, where every answer that names this UID names another one: its last digit is changed, until [`Self::be_honest`].
    pub fn renaming(caller: &Identity, callee: &Identity, upstream: u16, uid: &str) -> Self {
        Self::start(caller, callee, upstream, Change::Quoted(format!("\"{uid}\"").into_bytes()))
    }

    fn start(caller: &Identity, callee: &Identity, upstream: u16, change: Change) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { change, changed: AtomicU64::new(0), honest: AtomicBool::new(false) });
        let server = tokio_rustls::TlsAcceptor::from(scripted_peer::tls(callee));
        let client = tokio_rustls::TlsConnector::from(Arc::new(tls::caller(Some(caller), &caller.trust)));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(carry(stream, server.clone(), client.clone(), upstream, Arc::clone(&shared)));
                }
            });
        });
        Self { port, state }
    }

    /// How many bytes were changed.
    pub fn changed(&self) -> u64 {
        self.state.changed.load(Ordering::SeqCst)
    }

    /// From now on all goes through as it is.
    pub fn be_honest(&self) {
        self.state.honest.store(true, Ordering::SeqCst);
    }
}

impl State {
    /// Changes what goes up, of which so many bytes went before.
    fn upward(&self, bytes: &mut [u8], carried: u64) {
        let Change::UpAt(at) = &self.change else { return };
        let place = at.checked_sub(carried).filter(|place| *place < bytes.len() as u64);
        if let Some(place) = place
            && self.changed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| (count == 0).then_some(1)).is_ok()
        {
            bytes[place as usize] ^= 1;
        }
    }

    /// Changes what comes down; so many of the last bytes may be the beginning of more that is to be changed.
    fn downward(&self, bytes: &mut [u8]) -> usize {
        let Change::Quoted(word) = &self.change else { return 0 };
        if self.honest.load(Ordering::SeqCst) {
            return 0;
        }
        let found: Vec<usize> = memmem::find_iter(&*bytes, word.as_slice()).collect();
        for at in &found {
            bytes[at + word.len() - 2] ^= 1;
            self.changed.fetch_add(1, Ordering::SeqCst);
        }
        (1..word.len()).rev().find(|length| bytes.ends_with(&word[..*length])).unwrap_or(0)
    }
}

async fn carry(
    stream: TcpStream,
    server: tokio_rustls::TlsAcceptor,
    client: tokio_rustls::TlsConnector,
    upstream: u16,
    state: Arc<State>,
) {
    let Ok(near) = server.accept(stream).await else { return };
    let Ok(far) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
    let Ok(far) = client.connect(ServerName::try_from("localhost").unwrap(), far).await else { return };
    let (mut near_up, near_down) = tokio::io::split(near);
    let (far_down, mut far_up) = tokio::io::split(far);
    let down = tokio::spawn(answer(far_down, near_down, Arc::clone(&state)));
    let (mut buffer, mut carried) = (vec![0; 16 << 10], 0u64);
    while let Ok(size @ 1..) = near_up.read(&mut buffer).await {
        state.upward(&mut buffer[..size], carried);
        carried += size as u64;
        if far_up.write_all(&buffer[..size]).await.is_err() || far_up.flush().await.is_err() {
            break;
        }
    }
    down.abort();
}

/// Carries what comes down, to its end.
async fn answer(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, state: Arc<State>) {
    let (mut buffer, mut held) = (vec![0; 16 << 10], Vec::new());
    while let Ok(size @ 1..) = from.read(&mut buffer).await {
        held.extend_from_slice(&buffer[..size]);
        let kept = state.downward(&mut held);
        let rest = held.split_off(held.len() - kept);
        if to.write_all(&held).await.is_err() || to.flush().await.is_err() {
            return;
        }
        held = rest;
    }
    let _ = to.write_all(&held).await;
    let _ = to.shutdown().await;
}
