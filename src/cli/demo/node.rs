//! The demo's PACS at site B: receives by C-STORE and remembers the digest of what it got.

use super::super::Failure;
use crate::dimse::{
    self, ContextAnswer, DataSet, Proposal, ProposedContext, Rejection, Scp, ScpOptions, Status, StoreAnswer,
    StoreRequest,
};
use crate::store::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A running PACS; it stops when dropped.
pub(super) struct DemoNode {
    address: SocketAddr,
    received: Arc<Received>,
    stop: CancellationToken,
}

impl DemoNode {
    pub(super) async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Failure::some)?;
        let address = listener.local_addr().map_err(Failure::some)?;
        let received = Arc::new(Received::default());
        let stop = CancellationToken::new();
        tokio::spawn(dimse::serve(listener, None, Arc::clone(&received), ScpOptions::default(), stop.clone()));
        Ok(Self { address, received, stop })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells whether it received an instance with exactly these bytes.
    pub(super) fn holds(&self, instance: &str, digest: &Digest) -> bool {
        self.received.digests.lock().unwrap_or_else(PoisonError::into_inner).get(instance) == Some(digest)
    }
}

impl Drop for DemoNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Default)]
struct Received {
    digests: Mutex<HashMap<String, Digest>>,
}

impl Scp for Received {
    type Caller = ();

    async fn admit(&self, _proposal: &Proposal) -> Result<(), Rejection> {
        Ok(())
    }

    fn choose(&self, _caller: &(), _context: &ProposedContext) -> ContextAnswer {
        ContextAnswer::Accept(0)
    }

    async fn store(&self, _caller: &(), request: StoreRequest, data: &mut DataSet<'_>) -> StoreAnswer {
        let mut hash = Sha256::new();
        loop {
            match data.chunk().await {
                Ok(Some(bytes)) => hash.update(bytes),
                Ok(None) => break,
                Err(_) => return StoreAnswer { status: Status::CANNOT_UNDERSTAND, comment: None, offending: None },
            }
        }
        let digest = Digest(hash.finalize().into());
        let instance = request.sop_instance.trim_end_matches(['\0', ' ']).to_owned();
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).insert(instance, digest);
        StoreAnswer { status: Status::SUCCESS, comment: None, offending: None }
    }
}
