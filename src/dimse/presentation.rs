//! Negotiation of an association: what is proposed, what is answered (PS3.8 section 7.1, PS3.7 annex D.3.3). Pure.

mod answer;
mod offer;
mod proposal;

pub use answer::{Answer, STORAGE_EXTENDED, Terms, answer};
pub use offer::{Accepted, Offer, accepted, request};
pub use proposal::Refusal;

use dicom_ul::pdu::PresentationContextResultReason;
use std::fmt;
use std::net::SocketAddr;

/// The application context name of DICOM (PS3.7 annex A).
pub const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// The root of the Storage SOP classes of the standard (PS3.4 section B.5).
pub const STORAGE_ROOT: &str = "1.2.840.10008.5.1.4.1.1.";
/// Implicit VR Little Endian, the default transfer syntax (PS3.5 section 10.1).
pub const IMPLICIT_VR_LE: &str = "1.2.840.10008.1.2";
/// The Verification SOP class (PS3.4 annex A).
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
/// The maximum length taken for a peer that names none.
pub const MAX_LENGTH_UNSAID: u32 = 16_384;

/// One proposed presentation context (PS3.8 section 9.3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedContext {
    /// Odd, 1 to 255, unique in its association.
    pub id: u8,
    /// The abstract syntax: as a rule a SOP class. Not checked further; empty if it was no UID.
    pub abstract_syntax: String,
    /// The transfer syntaxes, in the peer's order; may be empty.
    pub transfer_syntaxes: Vec<String>,
}

/// The answer to one proposed context (PS3.8 section 9.3.3.2; DIM-004).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextAnswer {
    /// Accepted with the transfer syntax at this place of the proposal; a place that does not exist is answered as
    /// `TransferSyntaxesNotSupported`.
    Accept(usize),
    /// Result 1.
    UserRejection,
    /// Result 2.
    NoReason,
    /// Result 3.
    AbstractSyntaxNotSupported,
    /// Result 4; never for all contexts of an abstract syntax if the default syntax was offered (DIM-006).
    TransferSyntaxesNotSupported,
}

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedContext {
    /// Its ID.
    pub id: u8,
    /// Its abstract syntax.
    pub abstract_syntax: String,
    /// The transfer syntax of every data set on it.
    pub transfer_syntax: String,
}

/// The accepted contexts of one association.
#[derive(Debug, Clone, Default)]
pub struct Contexts {
    mask: u128,
    list: Vec<AcceptedContext>,
}

impl Contexts {
    fn insert(&mut self, context: AcceptedContext) {
        self.mask |= 1 << (context.id / 2);
        self.list.push(context);
    }

    /// Tells whether a context with this ID was accepted.
    pub fn contains(&self, id: u8) -> bool {
        id % 2 == 1 && self.mask >> (id / 2) & 1 == 1
    }

    /// The context with this ID.
    pub fn get(&self, id: u8) -> Option<&AcceptedContext> {
        self.list.iter().find(|c| c.id == id)
    }

    /// Whether a response on context `on` may answer a request on context `asked`: they are of one abstract syntax. What it answers is told
    /// by its Message ID Being Responded To alone (PS3.7 section 9.3), and some peers, odil among them, answer on whichever of their contexts
    /// has the SOP class.
    pub fn may_answer(&self, on: u8, asked: u8) -> bool {
        let class = |id| self.get(id).map(|context| &context.abstract_syntax);
        on == asked || class(on).is_some_and(|class_on| class(asked) == Some(class_on))
    }

    /// All of them, in order of proposal.
    pub fn iter(&self) -> impl Iterator<Item = &AcceptedContext> {
        self.list.iter()
    }
}

/// SCP/SCU roles of the requestor for one SOP class (PS3.7 section D.3.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// The requestor is SCU.
    pub scu: bool,
    /// The requestor is SCP.
    pub scp: bool,
}

/// A SOP class common extended negotiation sub-item: a class that says which service it belongs to (PS3.7 section
/// D.3.3.6; DIM-018, DIM-033).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommonExtended {
    /// The SOP class.
    pub sop_class: String,
    /// Its service class; Storage is 1.2.840.10008.4.2.
    pub service_class: String,
    /// The general SOP classes that it is related to.
    pub related: Vec<String>,
}

/// A user identity that the requestor asserts (PS3.7 section D.3.3.7). `Debug` shows its kind only.
#[derive(Clone, PartialEq, Eq)]
pub struct UserIdentity {
    /// 1 name, 2 name and passcode, 3 Kerberos, 4 SAML, 5 JWT.
    pub kind: u8,
    /// The requestor wants a positive response; its absence means "not authenticated" (DIM-019).
    pub response_requested: bool,
    /// Name, ticket, assertion or token.
    pub primary: Vec<u8>,
    /// The passcode, for kind 2.
    pub secondary: Vec<u8>,
}

impl fmt::Debug for UserIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserIdentity(kind {})", self.kind)
    }
}

/// What a peer that asks for an association says of itself and wants.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The calling AE title, without padding; syntactically valid (DIM-002). A name, not a credential (DIM-020).
    pub calling: String,
    /// The called AE title, without padding; syntactically valid.
    pub called: String,
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The peer's certificate (DER), if the wire is TLS and it showed one.
    pub certificate: Option<Vec<u8>>,
    /// Implementation Class UID (52H), without padding.
    pub implementation_class: Option<String>,
    /// Implementation Version Name (55H).
    pub implementation_version: Option<String>,
    /// The longest P-DATA-TF that the peer takes; 0 is no limit.
    pub max_pdu_length: u32,
    /// The proposed contexts, at most 128.
    pub contexts: Vec<ProposedContext>,
    /// Role selection (54H), at most one a proposed SOP class.
    pub roles: Vec<(String, Roles)>,
    /// SOP class extended negotiation (56H), at most one a proposed SOP class.
    pub extended: Vec<(String, Vec<u8>)>,
    /// SOP class common extended negotiation (57H).
    pub common_extended: Vec<CommonExtended>,
    /// User identity (58H).
    pub identity: Option<UserIdentity>,
    /// The asynchronous operations window (53H) was proposed.
    pub asynchronous: bool,
}

/// Why an association is rejected (PS3.8 section 9.3.4, PS3.7 section D.3.3.7.3; DIM-012).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// 1/1/1.
    #[error("no reason given")]
    NoReason,
    /// 1/1/2.
    #[error("application context name not supported")]
    ApplicationContextNotSupported,
    /// 1/1/3.
    #[error("calling AE title not recognised")]
    CallingNotRecognised,
    /// 1/1/7.
    #[error("called AE title not recognised")]
    CalledNotRecognised,
    /// 1/2/1: the user identity was not accepted.
    #[error("user identity refused")]
    IdentityRefused,
    /// 1/2/2.
    #[error("protocol version not supported")]
    ProtocolVersionNotSupported,
    /// 2/3/1: overload, a short while.
    #[error("temporary congestion")]
    TemporaryCongestion,
    /// 2/3/2: too many associations.
    #[error("local limit exceeded")]
    LocalLimitExceeded,
}

impl Rejection {
    /// The reason that a peer gives, by its source and its code (PS3.8 table 9-21); none for one that is reserved. Of a provider's 1 the
    /// table says no more than of a user's.
    pub const fn given(by: u8, reason: u8) -> Option<Self> {
        Some(match (by, reason) {
            (1 | 2, 1) => Self::NoReason,
            (1, 2) => Self::ApplicationContextNotSupported,
            (1, 3) => Self::CallingNotRecognised,
            (1, 7) => Self::CalledNotRecognised,
            (2, 2) => Self::ProtocolVersionNotSupported,
            (3, 1) => Self::TemporaryCongestion,
            (3, 2) => Self::LocalLimitExceeded,
            _ => return None,
        })
    }

    /// Result, source and reason, as on the wire.
    pub const fn codes(self) -> (u8, u8, u8) {
        match self {
            Self::NoReason => (1, 1, 1),
            Self::ApplicationContextNotSupported => (1, 1, 2),
            Self::CallingNotRecognised => (1, 1, 3),
            Self::CalledNotRecognised => (1, 1, 7),
            Self::IdentityRefused => (1, 2, 1),
            Self::ProtocolVersionNotSupported => (1, 2, 2),
            Self::TemporaryCongestion => (2, 3, 1),
            Self::LocalLimitExceeded => (2, 3, 2),
        }
    }
}

/// The result code of an answer.
fn reason(answer: ContextAnswer) -> PresentationContextResultReason {
    use PresentationContextResultReason as R;
    match answer {
        ContextAnswer::Accept(_) => R::Acceptance,
        ContextAnswer::UserRejection => R::UserRejection,
        ContextAnswer::NoReason => R::NoReason,
        ContextAnswer::AbstractSyntaxNotSupported => R::AbstractSyntaxNotSupported,
        ContextAnswer::TransferSyntaxesNotSupported => R::TransferSyntaxesNotSupported,
    }
}

#[cfg(test)]
mod tests;
