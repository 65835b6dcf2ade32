//! The acceptor's side: what an application is asked, and one association from request to end.

mod converse;
mod negotiate;
mod query;

pub(super) use converse::Session;
pub(super) use negotiate::{Admission, NotAgreed, negotiate};
pub use query::{Counts, Dialogue, MAX_IDENTIFIER_BYTES, Operation, QueryAnswer, QueryRequest};

use super::association::{Association, Lost};
use super::channel::Patience;
use super::presentation::{ContextAnswer, Proposal, ProposedContext, Rejection, Roles, STORAGE_EXTENDED, STORAGE_ROOT};
use super::status::Status;
use super::timers::{Phase, Timers};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

/// The application behind an acceptor. Its futures run within the association's task, one message at a time.
pub trait Scp: Send + Sync + 'static {
    /// What admission decided about this association.
    type Caller: Send + Sync + 'static;

    /// Decides whether this caller may have an association. Under the negotiation timer; too late is 2/3/1.
    fn admit(&self, proposal: &Proposal) -> impl Future<Output = Result<Self::Caller, Rejection>> + Send;

    /// How many associations this caller may have at once, instead of [`ScpOptions::max_associations_per_caller`];
    /// counted by calling AE title.
    fn most_associations(&self, caller: &Self::Caller) -> Option<usize> {
        let _ = caller;
        None
    }

    /// Accepts or refuses one context. Not asked for contexts without a syntax.
    fn choose(&self, caller: &Self::Caller, context: &ProposedContext) -> ContextAnswer;

    /// Answers a role selection (DIM-017). The default grants the requestor to be SCU and never SCP.
    fn roles(&self, caller: &Self::Caller, sop_class: &str, proposed: Roles) -> Roles {
        let _ = (caller, sop_class);
        Roles { scu: proposed.scu, scp: false }
    }

    /// Answers an extended negotiation of an accepted class. The default answers for storage classes of the standard
    /// (DIM-037).
    fn extended(&self, caller: &Self::Caller, sop_class: &str, proposed: &[u8]) -> Option<Vec<u8>> {
        let _ = (caller, proposed);
        sop_class.starts_with(STORAGE_ROOT).then(|| STORAGE_EXTENDED.to_vec())
    }

    /// The server response to a user identity that asked for one. The default gives none: "not authenticated"
    /// (DIM-019).
    fn identity_response(&self, caller: &Self::Caller) -> Option<Vec<u8>> {
        let _ = caller;
        None
    }

    /// Answers C-ECHO.
    fn echo(&self, caller: &Self::Caller) -> Status {
        let _ = caller;
        Status::SUCCESS
    }

    /// Stores one instance. What `data` still holds on return is read and forgotten, then the answer is sent (DIM-031).
    /// A [`Lost`] from `data` ends the association whatever this returns.
    fn store(
        &self,
        caller: &Self::Caller,
        request: StoreRequest,
        data: &mut DataSet<'_>,
    ) -> impl Future<Output = StoreAnswer> + Send;

    /// Answers C-FIND, C-GET or C-MOVE on a context that was accepted; pending answers go into the dialogue. If that is lost,
    /// nobody hears the answer. The default offers none of them.
    fn query(
        &self,
        caller: &Self::Caller,
        request: QueryRequest,
        dialogue: &mut Dialogue<'_>,
    ) -> impl Future<Output = QueryAnswer> + Send {
        let _ = (caller, request, dialogue);
        std::future::ready(Status::UNRECOGNISED_OPERATION.into())
    }

    /// A request was rejected before it could be put to [`Self::admit`]: it has no title, say, or is of another version. The default does
    /// nothing.
    fn rejected(&self, address: SocketAddr, rejection: Rejection) -> impl Future<Output = ()> + Send {
        let _ = (address, rejection);
        async {}
    }

    /// A caller failed the TLS handshake: it asked for nothing yet, and is told nothing but TLS's own alert. Not called
    /// for those that just go away.
    fn handshake_failed(&self, address: SocketAddr, error: &rustls::Error) -> impl Future<Output = ()> + Send {
        let _ = (address, error);
        async {}
    }

    /// The association is over.
    fn ended(&self, caller: &Self::Caller, ended: Ended) {
        let _ = (caller, ended);
    }
}

/// A C-STORE-RQ (PS3.7 section 9.3.1.1). The SOP class is that of its context; the instance UID is as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRequest {
    /// Message ID.
    pub message_id: u16,
    /// The presentation context.
    pub context_id: u8,
    /// The context's abstract syntax.
    pub abstract_syntax: String,
    /// The context's transfer syntax: that of the data set.
    pub transfer_syntax: String,
    /// Affected SOP Class UID, without padding; equal to the abstract syntax.
    pub sop_class: String,
    /// Affected SOP Instance UID, without padding, not checked; empty if it was missing.
    pub sop_instance: String,
    /// Priority: 0 medium, 1 high, 2 low.
    pub priority: u16,
    /// Move Originator AE title and message ID, if this is a sub-operation of a C-MOVE.
    pub move_originator: Option<(String, u16)>,
}

/// The answer to a C-STORE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreAnswer {
    /// Status (0000,0900).
    pub status: Status,
    /// Error Comment (0000,0902): at most 64 characters, no patient data; the rest is cut.
    pub comment: Option<String>,
    /// Offending Element (0000,0901): a tag, group in the high half.
    pub offending: Option<u32>,
}

impl From<Status> for StoreAnswer {
    fn from(status: Status) -> Self {
        Self { status, comment: None, offending: None }
    }
}

/// The data set of a message, as it arrives.
pub struct DataSet<'a> {
    association: &'a mut Association,
    patience: Patience,
    lost: Option<Lost>,
}

impl<'a> DataSet<'a> {
    pub(super) fn new(association: &'a mut Association) -> Self {
        let patience = Patience::moving(association.timers(), Phase::Receiving);
        Self { association, patience, lost: None }
    }

    /// The next bytes; `None` after the last fragment. The slice lies in the receive buffer and is good until the next
    /// call.
    ///
    /// Not to be dropped half-way: after that only the end of the association follows.
    pub async fn chunk(&mut self) -> Result<Option<&[u8]>, Lost> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        match self.association.chunk(&mut self.patience).await {
            Ok(None) => Ok(None),
            Ok(Some(range)) => Ok(Some(self.association.bytes(range))),
            Err(lost) => {
                self.lost = Some(lost.clone());
                Err(lost)
            }
        }
    }

    /// The bytes given so far.
    pub fn received(&self) -> u64 {
        self.association.streamed()
    }

    /// Reads what was left, `most` bytes of it; gives the way in which the association was lost, if it was.
    pub(super) async fn finish(mut self, most: u64) -> Result<(), Lost> {
        match self.lost {
            Some(lost) => Err(lost),
            None => self.association.discard(&mut self.patience, most).await,
        }
    }
}

/// How an association ended, and what it brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// `None`: released by the peer, in order.
    pub lost: Option<Lost>,
    /// C-STOREs answered with Success or Warning.
    pub stored: u64,
    /// C-STOREs answered otherwise.
    pub refused: u64,
    /// Data set bytes received.
    pub bytes: u64,
}

/// The settings of an acceptor.
#[derive(Debug, Clone)]
pub struct ScpOptions {
    /// How long each phase may take.
    pub timers: Timers,
    /// The longest P-DATA-TF that we take, in bytes after its header; 0 is no limit (DIM-008).
    pub max_pdu_length: u32,
    /// Our Implementation Class UID (DIM-011).
    pub implementation_class: String,
    /// Our Implementation Version Name, at most 16 characters.
    pub implementation_version: String,
    /// Associations at once; one more is rejected with 2/3/2 (DIM-022).
    pub max_associations: usize,
    /// Associations at once from one calling AE title; one more is rejected with 2/3/2.
    pub max_associations_per_caller: usize,
    /// Connections at once that have not asked for an association yet. When one more comes, the oldest from the
    /// address that
    /// has the most is closed, once it has had a second; until then the newcomer waits.
    pub max_pending: usize,
    /// Connections at once whose association is over and that the peer has yet to close; such a one is none of [`Self::max_associations`].
    /// When one more comes, the oldest from the address that has the most is closed at once.
    pub max_closing: usize,
    /// Large receive buffers, for all associations together; without one a data set streams through 8 KiB.
    pub large_buffers: usize,
    /// The bytes of a large receive buffer.
    pub large_buffer_bytes: usize,
    /// What is read and forgotten of a data set that was answered early; a peer that sends more is aborted (DIM-031).
    pub max_discard_bytes: u64,
    /// How long messages in hand may take to finish once we are told to stop.
    pub drain: Duration,
}

impl Default for ScpOptions {
    fn default() -> Self {
        Self {
            timers: Timers::default(),
            max_pdu_length: 131_072,
            implementation_class: String::new(),
            implementation_version: String::new(),
            max_associations: 256,
            max_associations_per_caller: 64,
            max_pending: 128,
            max_closing: 32,
            large_buffers: 64,
            large_buffer_bytes: 128 * 1024,
            max_discard_bytes: 4 << 30,
            drain: Duration::from_secs(30),
        }
    }
}
