//! Tests of the client against small servers over real TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod query;
mod resume;
mod retrieve;
mod server;
mod store;
mod transport;

use super::*;
use crate::dicom::uid::{InstanceUid, StudyUid, TransferSyntaxUid};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use server::{Authority, Conn, Server};

/// The identity that the test servers' certificates carry; never the URL's host.
const IDENTITY: &str = "gateway.test";

fn study() -> StudyUid {
    StudyUid::parse("1.2.3").unwrap()
}

fn uid(n: usize) -> InstanceUid {
    InstanceUid::parse(&format!("1.2.3.{n}")).unwrap()
}

/// Limits short enough for tests and long enough for a busy machine.
fn timing() -> Timing {
    Timing {
        connect: Duration::from_secs(10),
        window: Duration::from_secs(10),
        answer: Duration::from_secs(10),
        ..Timing::default()
    }
}

fn options(server: &Server, authority: &Authority) -> ClientOptions {
    ClientOptions {
        identity_pin: Some(IDENTITY.into()),
        client_certificate: Some(authority.issue("site.test")),
        timing: timing(),
        ..ClientOptions::new(server.url(), authority.roots())
    }
}

fn client(server: &Server, authority: &Authority) -> PeerClient {
    PeerClient::new(options(server, authority)).unwrap()
}

fn part(data: impl futures_util::Stream<Item = Result<Bytes, SourceError>> + Send + 'static, length: usize) -> OutPart {
    let transfer_syntax = Some(TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap());
    OutPart { transfer_syntax, length: length as u64, data: data.boxed() }
}

/// One part of so many bytes, in chunks.
fn bytes_part(length: usize) -> OutPart {
    let chunk = Bytes::from(vec![0x5A; 64 << 10]);
    let chunks = (0..length).step_by(chunk.len()).map(move |at| Ok(chunk.slice(..chunk.len().min(length - at))));
    part(stream::iter(chunks), length)
}

fn body(length: usize) -> PartsBody {
    PartsBody::related(vec![bytes_part(length)]).unwrap()
}

/// Runs a script for each connection, and the client's part beside it.
async fn with_server<S, F>(script: S) -> (Server, Authority)
where
    S: Fn(Conn) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let authority = Authority::new();
    let server = Server::start(&authority, authority.issue(IDENTITY), script).await;
    (server, authority)
}
