//! What an association runs over: TCP, TLS, or memory.

use rustix::net::sockopt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A byte stream to a peer.
#[derive(Debug)]
pub enum Wire {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS over TCP, as client or as server.
    Tls(Box<TlsStream<TcpStream>>),
    /// Both ends in this process.
    Memory(DuplexStream),
}

/// Makes a TCP connection fit for DIMSE: no Nagle delay between the small PDUs of a dialogue, and a peer whose power
/// failed is noticed within two minutes (DIM-021). An option that the system refuses is left as it is.
pub fn tune(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, Duration::from_secs(60));
    let _ = sockopt::set_tcp_keepintvl(socket, Duration::from_secs(15));
    let _ = sockopt::set_tcp_keepcnt(socket, 3);
    let _ = sockopt::set_tcp_user_timeout(socket, 105_000);
}

impl Wire {
    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Tls(stream) => Some(stream.get_ref().0),
            Self::Memory(_) => None,
        }
    }

    /// Acknowledges at once what has come. The kernel forgets it, so it is asked whenever a read has to wait: a sender that
    /// leaves Nagle on and writes a PDU in two parts else waits some 40 ms for each object. Where more is there already, reading
    /// it acknowledges what went before.
    fn acknowledge_quickly(&self) {
        if let Some(socket) = self.socket() {
            let _ = sockopt::set_tcp_quickack(socket, true);
        }
    }

    /// The certificate (DER) that the peer showed, if any.
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        match self {
            Self::Tls(stream) => stream.get_ref().1.peer_certificates()?.first().map(|c| c.as_ref().to_vec()),
            _ => None,
        }
    }
}

macro_rules! each {
    ($wire:expr, $stream:ident => $call:expr) => {
        match $wire.get_mut() {
            Wire::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Wire::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
            Wire::Memory(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let read = each!(Pin::new(&mut *wire), stream => stream.poll_read(cx, buf));
        if read.is_pending() {
            wire.acknowledge_quickly();
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::dicom::fired::note_fired;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_peer_whose_power_failed_is_noticed_within_two_minutes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tune(&socket);
        assert!(socket.nodelay().unwrap() && sockopt::socket_keepalive(&socket).unwrap());
        // Nothing under way: the probes that go unanswered. Something under way: the time that it may stay unacknowledged.
        let (idle, between) = (sockopt::tcp_keepidle(&socket).unwrap(), sockopt::tcp_keepintvl(&socket).unwrap());
        let probing = idle + between * sockopt::tcp_keepcnt(&socket).unwrap();
        let sending = Duration::from_millis(sockopt::tcp_user_timeout(&socket).unwrap().into());
        for time in [probing, sending] {
            assert!(time <= Duration::from_secs(120) && time > Duration::from_secs(60), "{time:?}");
            note_fired(1);
        }
    }

    /// DCMTK as delivered leaves Nagle's algorithm on and writes what it sends in parts: each then waits for the one before it to be
    /// acknowledged, some 40 ms if that is left to the kernel.
    #[tokio::test]
    async fn a_sender_that_waits_for_acknowledgements_is_not_kept_waiting() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        sender.set_nodelay(false).unwrap();
        let mut wire = Wire::Tcp(listener.accept().await.unwrap().0);
        let began = std::time::Instant::now();
        for _ in 0..100 {
            let sending = async {
                for part in 0..3 {
                    sender.write_all(&[part; 100]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                sender.read_exact(&mut [0]).await.unwrap();
            };
            let answering = async {
                wire.read_exact(&mut [0; 300]).await.unwrap();
                wire.write_all(&[0]).await.unwrap();
            };
            tokio::join!(sending, answering);
        }
        // Of a hundred such waits the kernel spares the first few.
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}
