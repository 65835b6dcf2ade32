//! Something that holds the keys of two sites: it takes TLS apart between them, changes one byte, and puts it together again.

use super::certs::Identity;
use super::{scripted_peer, tls};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub struct KeyHolder {
    pub port: u16,
    changed: Arc<AtomicU64>,
}

impl KeyHolder {
    /// Stands in for `callee` before a port of the loopback, and for `caller` behind; the first byte that it carries up at this
    /// place of a connection is changed.
    pub fn between(caller: &Identity, callee: &Identity, upstream: u16, at: u64) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (port, changed) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let server = tokio_rustls::TlsAcceptor::from(scripted_peer::tls(callee));
        let client = tokio_rustls::TlsConnector::from(Arc::new(tls::caller(Some(caller), &caller.trust)));
        let count = Arc::clone(&changed);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(carry(stream, server.clone(), client.clone(), upstream, at, Arc::clone(&count)));
                }
            });
        });
        Self { port, changed }
    }

    pub fn changed(&self) -> u64 {
        self.changed.load(Ordering::SeqCst)
    }
}

async fn carry(
    stream: TcpStream,
    server: tokio_rustls::TlsAcceptor,
    client: tokio_rustls::TlsConnector,
    upstream: u16,
    at: u64,
    changed: Arc<AtomicU64>,
) {
    let Ok(near) = server.accept(stream).await else { return };
    let Ok(far) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
    let Ok(far) = client.connect(ServerName::try_from("localhost").unwrap(), far).await else { return };
    let (mut near_up, mut near_down) = tokio::io::split(near);
    let (mut far_down, mut far_up) = tokio::io::split(far);
    let down = tokio::spawn(async move { tokio::io::copy(&mut far_down, &mut near_down).await });
    let (mut buffer, mut carried) = (vec![0; 16 << 10], 0u64);
    while let Ok(size @ 1..) = near_up.read(&mut buffer).await {
        let place = at.checked_sub(carried).filter(|place| *place < size as u64);
        if let Some(place) = place
            && changed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| (count == 0).then_some(1)).is_ok()
        {
            buffer[place as usize] ^= 1;
        }
        carried += size as u64;
        if far_up.write_all(&buffer[..size]).await.is_err() || far_up.flush().await.is_err() {
            break;
        }
    }
    down.abort();
}
