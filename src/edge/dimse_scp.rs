//! The face towards local nodes: C-ECHO, C-STORE, C-FIND, C-MOVE and C-GET, translated to the engine and back.

mod archived;
mod arrivals;
mod asked;
mod caller;
mod find;
mod given;
mod line;
mod passing;
mod retrieve;
mod shown;

pub use caller::Caller;

use crate::courier::mover::Mover;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::attributes::{SOP_CLASS_UID, SOP_INSTANCE_UID};
use crate::dicom::sop_class;
use crate::dicom::transfer_syntax::{self, Encoding};
use crate::dicom::uid::{InstanceUid, SopClassUid, TransferSyntaxUid};
use crate::dimse::presentation::{Roles, STORAGE_EXTENDED};
use crate::dimse::{
    ContextAnswer, DataSet, Dialogue, Ended, Lost, Operation, Proposal, ProposedContext, QueryAnswer, QueryRequest,
    Rejection, Scp, Status, StoreAnswer, StoreRequest,
};
use crate::intake::{Arrived, Claimed, Intake, Refusal};
use crate::peers::{Node, Refused, Registry};
use crate::priors::Priors;
use crate::priors::archive::Archives;
use crate::priors::fetch::Fetcher;
use crate::records::{Kept, Records};
use caller::{Rights, Shown};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// Who gives instances to which node, by its AE title.
pub type Movers = BTreeMap<AeTitle, Arc<Mover>>;

/// Places for as many retrievals as are answered at once.
pub fn retrievals() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(retrieve::AT_ONCE))
}

/// Which face a listener shows: what the configuration says of plain and of TLS associations differs.
#[derive(Clone)]
pub struct DimseFace {
    /// Where instances go.
    pub intake: Intake,
    /// Who may call.
    pub registry: watch::Receiver<Arc<Registry>>,
    /// What is held, and where refusals are recorded (LED-011).
    pub records: Records,
    /// The AE title under which everything here is retrieved.
    pub ae_title: AeTitle,
    /// What other sites hold.
    pub priors: Priors,
    /// The archives behind us, which move to us what we ask for.
    pub archives: Archives,
    /// Who brings it here.
    pub fetcher: Fetcher,
    /// Who gives instances to which node.
    pub movers: watch::Receiver<Arc<Movers>>,
    /// Retrievals that may begin still; see [`retrievals`].
    pub retrievals: Arc<Semaphore>,
}

impl Scp for DimseFace {
    type Caller = Caller;

    async fn admit(&self, proposal: &Proposal) -> Result<Caller, Rejection> {
        let Ok(calling) = AeTitle::parse(&proposal.calling) else { return Err(Rejection::CallingNotRecognised) };
        let Ok(called) = AeTitle::parse(&proposal.called) else { return Err(Rejection::CalledNotRecognised) };
        let shown = Shown::of(proposal, calling, called);
        let who = shown.to_string();
        let registry = Arc::clone(&self.registry.borrow());
        let caller = match Caller::admitted(shown, proposal, registry) {
            Ok(caller) => caller,
            Err(refused) => {
                tracing::warn!(caller = who, reason = %refused, "association refused");
                self.records.refused("association", &format!("{who}: {refused}")).await;
                return Err(rejection(&refused));
            }
        };
        if let Err(refusal) = self.intake.room(0) {
            tracing::warn!(calling = %caller.node(), reason = %refusal, "association turned away for now");
            return Err(Rejection::TemporaryCongestion);
        }
        Ok(caller)
    }

    fn choose(&self, caller: &Caller, context: &ProposedContext) -> ContextAnswer {
        if asked::model(&context.abstract_syntax).is_some() {
            // What a node may not do is answered on the context, where a person sees why.
            let place = uncompressed(&context.transfer_syntaxes);
            return place.map_or(ContextAnswer::TransferSyntaxesNotSupported, ContextAnswer::Accept);
        }
        let class = context.abstract_syntax.as_str();
        if class != sop_class::VERIFICATION && !caller.stores(class) && !caller.receives.contains(class) {
            return ContextAnswer::AbstractSyntaxNotSupported;
        }
        let given = caller.receives.contains(class).then(|| giving(class, &context.transfer_syntaxes)).flatten();
        match given.or_else(|| preferred(&context.transfer_syntaxes)) {
            Some(index) => ContextAnswer::Accept(index),
            None => ContextAnswer::TransferSyntaxesNotSupported,
        }
    }

    /// A requester may be SCP of what it gets by C-GET (DIM-017, DIM-090).
    fn roles(&self, caller: &Caller, sop_class: &str, proposed: Roles) -> Roles {
        let scp = proposed.scp && caller.receives.contains(sop_class);
        Roles { scu: proposed.scu && (caller.stores(sop_class) || !scp), scp }
    }

    /// Every accepted class but Verification and queries is storage, private ones too (DIM-037). Of what queries can be asked to
    /// do beyond the baseline, date and time as one key is done and nothing else (PS3.4 section C.5.1.1; DIM-072).
    fn extended(&self, caller: &Caller, sop_class: &str, proposed: &[u8]) -> Option<Vec<u8>> {
        if asked::model(sop_class).is_some() {
            let mut answer = vec![0; proposed.len()];
            if let Some(byte) = answer.get_mut(COMBINED).filter(|_| caller.combined.contains(sop_class)) {
                *byte = 1;
            }
            return Some(answer);
        }
        (sop_class != sop_class::VERIFICATION).then(|| STORAGE_EXTENDED.to_vec())
    }

    async fn store(&self, caller: &Caller, request: StoreRequest, data: &mut DataSet<'_>) -> StoreAnswer {
        let answer = self.take(caller, &request, data).await;
        if answer.status != Status::SUCCESS {
            tracing::warn!(node = %caller.node(), instance = %printable(&request.sop_instance), status = %answer.status,
                comment = answer.comment.as_deref().unwrap_or(""), "instance not stored");
        }
        answer
    }

    async fn query(&self, caller: &Caller, request: QueryRequest, dialogue: &mut Dialogue<'_>) -> QueryAnswer {
        let answer = self.look(caller, &request, dialogue).await;
        if !matches!(answer.status, Status::SUCCESS | Status::CANCEL) {
            tracing::warn!(node = %caller.node(), operation = ?request.operation, status = %answer.status,
                comment = answer.comment.as_deref().unwrap_or(""), "request not answered in full");
        }
        answer
    }

    fn most_associations(&self, caller: &Caller) -> Option<usize> {
        Some(caller.max_associations)
    }

    async fn rejected(&self, address: SocketAddr, rejection: Rejection) {
        tracing::warn!(%address, reason = %rejection, "association refused before it could be told whose it is");
        self.records.refused("association", &format!("{} to the DICOM listener: {rejection}", address.ip())).await;
    }

    async fn handshake_failed(&self, address: SocketAddr, error: &rustls::Error) {
        let why = crate::tls::words(error);
        tracing::warn!(%address, why, "TLS handshake failed");
        self.records.refused("tls", &format!("{} to the DICOM listener: {why}", address.ip())).await;
    }

    fn ended(&self, caller: &Caller, ended: Ended) {
        match ended.lost {
            None => {
                tracing::debug!(node = %caller.node(), stored = ended.stored, refused = ended.refused, "association released")
            }
            Some(lost) => {
                tracing::info!(node = %caller.node(), stored = ended.stored, refused = ended.refused, how = %lost, "association ended")
            }
        }
    }
}

impl DimseFace {
    /// A query or retrieve, if the node may do that now.
    async fn look(&self, caller: &Caller, request: &QueryRequest, dialogue: &mut Dialogue<'_>) -> QueryAnswer {
        let Some((root, operation)) = asked::model(&request.abstract_syntax) else {
            return Status::UNRECOGNISED_OPERATION.into();
        };
        if operation != request.operation {
            return Status::UNRECOGNISED_OPERATION.into();
        }
        let registry = Arc::clone(&self.registry.borrow());
        let (what, words) = match operation {
            Operation::Find => ("find", "this node may not query here"),
            Operation::Move | Operation::Get => ("move", "this node may not retrieve here"),
        };
        let node = caller.node_in(&registry);
        let allowed = |node: &&Node| if operation == Operation::Find { node.may.find } else { node.may.r#move };
        let Some(node) = node.ok().filter(allowed) else {
            self.records.refused(what, &format!("{}: {words}", caller.node())).await;
            return retrieve::refuse(Status::NOT_AUTHORISED, words, None);
        };
        // What is withheld from who asks, or from who would be given it, is absent from here on.
        let others = (operation == Operation::Move).then(|| request.destination.trim());
        let viewers = std::iter::once(caller.node().as_str()).chain(others);
        let face = &Self { records: self.records.seen_by(viewers), ..self.clone() };
        match operation {
            Operation::Find => find::find(face, caller, node, request, root, dialogue).await,
            _ => retrieve::retrieve(face, caller, node, request, root, dialogue).await,
        }
    }

    /// The checks of the decision table in its order; the first hit answers (docs/conformance.md, "C-STORE").
    async fn take(&self, caller: &Caller, request: &StoreRequest, data: &mut DataSet<'_>) -> StoreAnswer {
        if request.sop_class.trim_end_matches(['\0', ' ']) != request.abstract_syntax {
            return failure(Status::SOP_CLASS_NOT_SUPPORTED, "SOP class is not that of the presentation context", None);
        }
        let Ok(class) = SopClassUid::parse(&request.sop_class) else {
            return failure(Status::SOP_CLASS_NOT_SUPPORTED, "SOP class UID is not a UID", None);
        };
        if class.as_str() == sop_class::VERIFICATION {
            return failure(Status::SOP_CLASS_NOT_SUPPORTED, "Verification is not a storage class", None);
        }
        if !caller.stores(class.as_str()) {
            return failure(Status::SOP_CLASS_NOT_SUPPORTED, "this class is accepted for C-GET only", None);
        }
        let Ok(instance) = InstanceUid::parse(&request.sop_instance) else {
            return failure(Status::INVALID_SOP_INSTANCE, "SOP instance UID is not a UID", None);
        };
        // As the configuration says now: a reload may have taken the right away since the association was let in (SEC-022).
        let rights = caller.rights_in(&self.registry.borrow()).ok();
        let Some(rights) = rights.filter(|rights| rights.may_store && caller.stores_by(rights, class.as_str())) else {
            self.records.refused("store", &format!("{} may not store here", caller.node())).await;
            return failure(Status::NOT_AUTHORISED, "this node may not store here", None);
        };
        let Ok(transfer_syntax) = TransferSyntaxUid::parse(&request.transfer_syntax) else {
            return failure(Status::CANNOT_UNDERSTAND, "transfer syntax UID is not a UID", None);
        };
        let claimed = Claimed { sop_class: Some(class), sop_instance: Some(instance), study: None, transfer_syntax };
        match self.stream(caller, &rights, claimed, data).await {
            Ok(Kept::Differs { .. }) if rights.conflict_is_failure => {
                failure(Status::CONFLICT, "another content is kept under this UID; held for a person", None)
            }
            Ok(_) => StoreAnswer { status: Status::SUCCESS, comment: None, offending: None },
            Err(answer) => answer,
        }
    }

    async fn stream(
        &self,
        caller: &Caller,
        rights: &Rights,
        claimed: Claimed,
        data: &mut DataSet<'_>,
    ) -> Result<Kept, StoreAnswer> {
        let arrived = self.arrives(claimed, data).await.map_err(|refusal| refused(&refusal))?;
        let study = arrived.head().study.clone();
        if rights.moves && !self.archives.expects(caller.node(), &study) {
            self.records.refused("store", &format!("archive {} moved what was not asked for", caller.node())).await;
            return Err(failure(Status::NOT_AUTHORISED, "nothing of this study was asked for", None));
        }
        let receipt = self.intake.commit(Arc::clone(&rights.source), arrived).await;
        let receipt = receipt.map_err(|refusal| refused(&refusal))?;
        if rights.moves {
            self.archives.arrived(caller.node(), &study, &receipt.sop_instance);
        }
        Ok(receipt.kept)
    }

    async fn arrives(&self, claimed: Claimed, data: &mut DataSet<'_>) -> Result<Arrived, Refusal> {
        let mut reception = self.intake.receive(claimed, None).await?;
        while let Some(chunk) = data.chunk().await.map_err(lost)? {
            reception.write(chunk).await?;
        }
        reception.finish().await
    }
}

/// The transfer syntaxes of the standard begin so (PS3.6 table A-1).
const STANDARD: &str = "1.2.840.10008.";

/// The place in a query's extended negotiation that asks for date and time as one key (PS3.4 section C.5.1.1.1).
const COMBINED: usize = 1;

/// Which of the proposed transfer syntaxes identifiers are in: explicit before implicit, and no other.
fn uncompressed(syntaxes: &[String]) -> Option<usize> {
    let place = |wanted: &str| syntaxes.iter().position(|uid| uid == wanted);
    place(transfer_syntax::EXPLICIT_VR_LE).or_else(|| place(transfer_syntax::IMPLICIT_VR_LE))
}

/// The association is gone: whatever we answer is not heard.
fn lost(lost: Lost) -> Refusal {
    Refusal::Malformed { why: format!("the association ended before the data set did ({lost})"), tag: None }
}

fn rejection(refused: &Refused) -> Rejection {
    match refused {
        Refused::UnknownCalled => Rejection::CalledNotRecognised,
        _ => Rejection::CallingNotRecognised,
    }
}

/// Which of the proposed transfer syntaxes is taken.
///
/// The sender's first choice, so that what is compressed stays compressed; but of uncompressed ones Explicit VR Little
/// Endian before the others, since it travels onward unchanged. Any syntax is taken, private ones too: bytes are kept
/// as received (DIM-004, DIM-006). A private one only where no other is proposed, since hardly anybody else reads it.
fn preferred(syntaxes: &[String]) -> Option<usize> {
    let parsed: Vec<Option<TransferSyntaxUid>> =
        syntaxes.iter().map(|uid| TransferSyntaxUid::parse(uid).ok()).collect();
    let standard = |ts: &Option<TransferSyntaxUid>| ts.as_ref().is_some_and(|ts| ts.as_str().starts_with(STANDARD));
    let first = parsed.iter().position(standard).or_else(|| parsed.iter().position(Option::is_some))?;
    let encoding = parsed.get(first)?.as_ref().map(transfer_syntax::encoding);
    let native = matches!(encoding, Some(Encoding::ImplicitLittle | Encoding::ExplicitBig));
    let explicit = syntaxes.iter().position(|uid| uid == transfer_syntax::EXPLICIT_VR_LE);
    explicit.filter(|_| native).or(Some(first))
}

/// In which of the proposed syntaxes instances of a class are given to a requester that takes them over its own association: a context
/// has one, and what can be sent natively, whatever it is stored in, needs a native one. Of video nothing can.
fn giving(class: &str, syntaxes: &[String]) -> Option<usize> {
    if sop_class::is_video(class) {
        return None;
    }
    let place = |wanted: &str| syntaxes.iter().position(|uid| uid == wanted);
    place(transfer_syntax::EXPLICIT_VR_LE).or_else(|| place(transfer_syntax::IMPLICIT_VR_LE))
}

fn refused(refusal: &Refusal) -> StoreAnswer {
    let tag = match refusal {
        Refusal::Malformed { tag, .. } => tag.map(|t| t.0),
        Refusal::MissingIdentity { tag } => Some(tag.0),
        Refusal::OtherClass => Some(SOP_CLASS_UID.0),
        Refusal::OtherInstance => Some(SOP_INSTANCE_UID.0),
        _ => None,
    };
    let status = match refusal {
        Refusal::NoRoom | Refusal::Exhausted | Refusal::Stopping | Refusal::TooLarge { .. } => Status::OUT_OF_RESOURCES,
        Refusal::Poisoned(_) => Status::RECORDS_UNAVAILABLE,
        Refusal::Malformed { .. } | Refusal::Unkept { .. } => Status::CANNOT_UNDERSTAND,
        Refusal::OtherClass | Refusal::MissingIdentity { tag: SOP_CLASS_UID } => Status::CLASS_MISMATCH,
        Refusal::OtherInstance | Refusal::MissingIdentity { tag: SOP_INSTANCE_UID } => Status::INSTANCE_MISMATCH,
        Refusal::MissingIdentity { .. } | Refusal::OtherStudy => Status::NOT_INDEXABLE,
    };
    let comment = match refusal {
        // What comes after is cut: 64 characters have to say it.
        Refusal::Malformed { why, .. } | Refusal::Unkept { why } => why.clone(),
        Refusal::Poisoned(_) => "the gateway's storage has failed and needs its administrator".to_owned(),
        other => other.to_string(),
    };
    failure(status, &comment, tag)
}

/// An answer that is not success; the comment is cut to the 64 characters of LO (PS3.7 section C.4.2).
fn failure(status: Status, comment: &str, offending: Option<u32>) -> StoreAnswer {
    StoreAnswer { status, comment: Some(comment.chars().take(64).collect()), offending }
}

/// A UID as it came, fit for a log line.
fn printable(uid: &str) -> String {
    uid.chars().take(64).filter(|c| c.is_ascii_digit() || *c == '.').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::fired::note_fired;

    #[test]
    fn each_refusal_has_its_status_a_short_comment_and_the_element() {
        let tag = crate::dicom::attributes::STUDY_INSTANCE_UID;
        let rows = [
            (Refusal::NoRoom, 0xA700, None),
            (Refusal::Exhausted, 0xA700, None),
            (Refusal::Stopping, 0xA700, None),
            (Refusal::TooLarge { limit: u64::MAX }, 0xA700, None),
            (Refusal::Poisoned("/var/lib/weybridge/blobs: Input/output error ".repeat(9)), 0xA710, None),
            (Refusal::Malformed { why: "w".repeat(200), tag: Some(tag) }, 0xC000, Some(tag.0)),
            (Refusal::Malformed { why: "why".into(), tag: None }, 0xC000, None),
            (Refusal::Unkept { why: "too many versions".into() }, 0xC000, None),
            (Refusal::OtherClass, 0xA900, Some(0x0008_0016)),
            (Refusal::MissingIdentity { tag: SOP_CLASS_UID }, 0xA900, Some(0x0008_0016)),
            (Refusal::OtherInstance, 0xA901, Some(0x0008_0018)),
            (Refusal::MissingIdentity { tag: SOP_INSTANCE_UID }, 0xA901, Some(0x0008_0018)),
            (Refusal::MissingIdentity { tag }, 0xA902, Some(0x0020_000D)),
            (Refusal::OtherStudy, 0xA902, None),
        ];
        for (refusal, status, offending) in rows {
            let answer = refused(&refusal);
            assert_eq!((answer.status.0, answer.offending), (status, offending), "{refusal}");
            let comment = answer.comment.unwrap_or_default();
            assert!((1..=64).contains(&comment.chars().count()) && !comment.contains('/'), "{comment}");
            note_fired(1);
        }
    }

    #[test]
    fn the_senders_first_syntax_is_taken_but_explicit_before_other_uncompressed() {
        let rows: &[(&[&str], Option<usize>)] = &[
            (&["1.2.840.10008.1.2"], Some(0)),
            (&["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"], Some(1)),
            (&["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"], Some(1)),
            (&["1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.1"], Some(0)),
            (&["1.2.840.113619.5.2"], Some(0)),
            (&["1.3.6.1.4.1.99999.1"], Some(0)),
            (&["1.3.6.1.4.1.99999.1", "1.2.840.113619.5.2"], Some(0)),
            (&["1.3.6.1.4.1.99999.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"], Some(2)),
            (&["2.16.840.1.113709.1.2.2", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.1"], Some(1)),
            (&["1.2.840.10008.1.2.4.70", "2.16.840.1.113709.1.2.2"], Some(0)),
            (&["not a uid", "1.2.840.10008.1.2"], Some(1)),
            (&["not a uid"], None),
            (&[], None),
        ];
        for (syntaxes, want) in rows {
            let syntaxes: Vec<String> = syntaxes.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(preferred(&syntaxes), *want, "{syntaxes:?}");
        }
    }
}
