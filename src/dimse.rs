//! DIMSE: associations and their messages over TCP, TLS or memory (PS3.7, PS3.8). Knows the standard and nothing of
//! ours.
//!
//! ```text
//! listener   takes connections, counts them, hands each to scp
//! scp        one accepted association: negotiation, then message by message to the application (trait Scp)
//! scu        one requested association: C-ECHO, C-STORE, release
//! association  whole messages on an established association
//! channel    PDUs on a wire: buffer, timers, the state table, A-ABORT
//! ```
//!
//! Pure, and tested as tables: [`state`], [`pdata`], [`message`], [`presentation`], [`pdu`], [`status`].

mod association;
mod channel;
pub mod listener;
pub mod message;
pub mod pdata;
pub mod pdu;
pub mod presentation;
pub mod scp;
pub mod scu;
pub mod state;
pub mod status;
pub mod timers;
pub mod wire;

pub use association::Lost;
pub use listener::{Lobby, Place, Server, TlsSource, crowded, serve, serve_wire};
pub use presentation::{ContextAnswer, Proposal, ProposedContext, Rejection};
pub use scp::{
    Counts, DataSet, Dialogue, Ended, Operation, QueryAnswer, QueryRequest, Scp, ScpOptions, StoreAnswer, StoreRequest,
};
pub use scu::{
    Inquiry, Offer, Reply, Scu, ScuError, Source, SourceError, StoreCommand, StoreFailure, StoreResponse, Stores,
    Target, connect, connect_for_queries,
};
pub use status::Status;
pub use timers::Timers;
pub use wire::Wire;

#[cfg(test)]
mod tests;
