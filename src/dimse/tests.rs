//! Associations over memory: our own requestor against our own acceptor, and bytes against either.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::type_complexity)]

mod acceptor;
mod closing;
mod hostile;
mod memory;
mod queries;
mod releases;
mod requestor;
mod server;
mod tls;

use super::pdata::fragment_header;
use super::presentation::{IMPLICIT_VR_LE, VERIFICATION};
use super::scu::ScuError;
use super::*;
use crate::dicom::ae_title::AeTitle;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

/// An application that keeps everything in memory and does as its script says.
#[derive(Default)]
struct Shelf {
    /// What arrived whole: UID, transfer syntax, data set.
    stored: Mutex<Vec<(String, String, Vec<u8>)>>,
    requests: Mutex<Vec<StoreRequest>>,
    lost: Mutex<Vec<Lost>>,
    ended: Mutex<Vec<Ended>>,
    /// Returns this without reading the data set.
    hasty: Option<StoreAnswer>,
    refuse: Option<Rejection>,
    /// What was rejected before it could be admitted.
    turned_away: Mutex<Vec<Rejection>>,
    most: Option<usize>,
    /// Lets others run so many times before it reads a data set.
    dawdle: usize,
    /// Waits here before it answers a C-STORE.
    gate: Option<Arc<tokio::sync::Semaphore>>,
}

impl Scp for Shelf {
    type Caller = String;

    async fn admit(&self, proposal: &Proposal) -> Result<String, Rejection> {
        self.refuse.map_or_else(|| Ok(proposal.calling.clone()), Err)
    }

    async fn rejected(&self, _: SocketAddr, rejection: Rejection) {
        self.turned_away.lock().unwrap().push(rejection);
    }

    fn most_associations(&self, _: &String) -> Option<usize> {
        self.most
    }

    fn choose(&self, _: &String, context: &ProposedContext) -> ContextAnswer {
        match context.abstract_syntax.as_str() {
            VERIFICATION | CT => ContextAnswer::Accept(0),
            _ => ContextAnswer::AbstractSyntaxNotSupported,
        }
    }

    async fn store(&self, _: &String, request: StoreRequest, data: &mut DataSet<'_>) -> StoreAnswer {
        self.requests.lock().unwrap().push(request.clone());
        if let Some(answer) = &self.hasty {
            return answer.clone();
        }
        for _ in 0..self.dawdle {
            tokio::task::yield_now().await;
        }
        let mut bytes = Vec::new();
        loop {
            match data.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(chunk),
                Ok(None) => break,
                Err(lost) => {
                    self.lost.lock().unwrap().push(lost);
                    return Status::SUCCESS.into();
                }
            }
        }
        assert_eq!(data.received(), bytes.len() as u64);
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.stored.lock().unwrap().push((request.sop_instance, request.transfer_syntax, bytes));
        Status::SUCCESS.into()
    }

    fn ended(&self, _: &String, ended: Ended) {
        self.ended.lock().unwrap().push(ended);
    }
}

fn peer() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}

fn options() -> ScpOptions {
    ScpOptions {
        implementation_class: "2.25.7".to_owned(),
        implementation_version: "TEST".to_owned(),
        ..ScpOptions::default()
    }
}

fn target() -> Target {
    Target {
        address: "127.0.0.1:0".to_owned(),
        tls: None,
        calling: AeTitle::parse("SCU").unwrap(),
        called: AeTitle::parse("SCP").unwrap(),
        timers: Timers::default(),
        max_pdu_length: 16_384,
        implementation_class: "2.25.8".to_owned(),
        implementation_version: "TEST".to_owned(),
        identity: None,
    }
}

fn offers() -> Vec<Offer> {
    let offer = |abstract_syntax: &str, transfer_syntax: &str| Offer {
        abstract_syntax: abstract_syntax.to_owned(),
        transfer_syntaxes: vec![transfer_syntax.to_owned()],
    };
    vec![offer(VERIFICATION, IMPLICIT_VR_LE), offer(CT, EXPLICIT), offer("1.2.3", EXPLICIT)]
}

/// A wire with an acceptor at its other end.
fn accept(
    scp: &Arc<Shelf>,
    options: ScpOptions,
    stop: &CancellationToken,
) -> (DuplexStream, JoinHandle<Option<Ended>>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    (ours, tokio::spawn(serve_wire(Wire::Memory(theirs), peer(), scp.clone(), options, stop.clone())))
}

async fn call(wire: DuplexStream, target: &Target) -> Result<Scu, ScuError> {
    super::scu::connect_over(Wire::Memory(wire), target, &offers()).await
}

/// Parts to send, one of which may be a failure.
struct Parts(std::vec::IntoIter<Result<Bytes, &'static str>>);

impl Source for Parts {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.0.next().transpose().map_err(|why| SourceError(why.into()))
    }
}

fn parts(data: &[u8], size: usize) -> Parts {
    let parts: Vec<_> = data.chunks(size).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    Parts(parts.into_iter())
}

fn store_ct(instance: &str) -> StoreCommand {
    StoreCommand {
        context_id: 3,
        sop_class: CT.to_owned(),
        sop_instance: instance.to_owned(),
        priority: 0,
        move_originator: None,
    }
}

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 / 7) as u8).collect()
}

/// One P-DATA-TF with one fragment.
fn fragment(context: u8, command: bool, last: bool, payload: &[u8]) -> Vec<u8> {
    [&fragment_header(context, command, last, payload.len() as u32)[..], payload].concat()
}

/// Reads one PDU: its type and body.
async fn pdu(wire: &mut DuplexStream) -> (u8, Vec<u8>) {
    let mut header = [0; 6];
    wire.read_exact(&mut header).await.unwrap();
    let mut body = vec![0; u32::from_be_bytes([header[2], header[3], header[4], header[5]]) as usize];
    wire.read_exact(&mut body).await.unwrap();
    (header[0], body)
}

/// Establishes an association by hand.
async fn established(scp: &Arc<Shelf>, options: ScpOptions) -> (DuplexStream, JoinHandle<Option<Ended>>) {
    let (mut wire, task) = accept(scp, options, &CancellationToken::new());
    wire.write_all(&request_pdu()).await.unwrap();
    assert_eq!(pdu(&mut wire).await.0, 2);
    (wire, task)
}

fn request_pdu() -> Vec<u8> {
    request_for(&offers())
}

fn request_for(offers: &[Offer]) -> Vec<u8> {
    let terms = presentation::Terms {
        max_pdu_length: 16_384,
        implementation_class: "2.25.8".to_owned(),
        implementation_version: "TEST".to_owned(),
    };
    super::pdu::write_request(presentation::request("SCU", "SCP", &terms, offers, None).unwrap()).unwrap()
}
