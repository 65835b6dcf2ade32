//! From a proposal to an A-ASSOCIATE-AC: contexts, roles, extended negotiation, identity.

use super::{AcceptedContext, ContextAnswer, Contexts, IMPLICIT_VR_LE, Proposal, ProposedContext, Roles, reason};
use dicom_ul::pdu::{AssociationAC, PresentationContextResult, RequestorRoles, UserVariableItem};

/// The answer to extended negotiation of a storage class: level 2 (full), digital signature level 3 (bit preserving),
/// no coercion (PS3.4 section B.3.1; DIM-032, DIM-034, DIM-036, DIM-037).
pub const STORAGE_EXTENDED: [u8; 6] = [2, 0, 3, 0, 0, 0];

/// What we say of ourselves in every negotiation.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The longest P-DATA-TF that we take; 0 is no limit. It covers the length field, not the header (DIM-008).
    pub max_pdu_length: u32,
    /// Our Implementation Class UID (DIM-011).
    pub implementation_class: String,
    /// Our Implementation Version Name, at most 16 characters; more are cut.
    pub implementation_version: String,
}

impl Terms {
    /// The user information items that every RQ and AC of ours carries.
    pub(super) fn items(&self) -> Vec<UserVariableItem> {
        let version = self.implementation_version.chars().filter(|c| matches!(c, ' '..='~')).take(16).collect();
        vec![
            UserVariableItem::MaxLength(self.max_pdu_length),
            UserVariableItem::ImplementationClassUID(self.implementation_class.clone()),
            UserVariableItem::ImplementationVersionName(version),
        ]
    }
}

/// The application's part in an answer, item by item.
pub trait Answer {
    /// Accepts or refuses one context.
    fn context(&mut self, context: &ProposedContext) -> ContextAnswer;
    /// Answers a role selection; a role that was not proposed is never returned, whatever this says (DIM-017).
    fn roles(&mut self, sop_class: &str, proposed: Roles) -> Roles;
    /// Answers an extended negotiation; cut to the length of the proposal (DIM-018). `None` leaves it unanswered.
    fn extended(&mut self, sop_class: &str, proposed: &[u8]) -> Option<Vec<u8>>;
    /// The server response to a user identity that asked for one (59H); `None` sends none, which says "not
    /// authenticated".
    fn identity(&mut self) -> Option<Vec<u8>>;
}

/// Answers a proposal: one result for each context, in the order of proposal (DIM-004), and the accepted ones.
pub fn answer(proposal: &Proposal, terms: &Terms, by: &mut impl Answer) -> (AssociationAC, Contexts) {
    let mut contexts = Contexts::default();
    let mut results = Vec::with_capacity(proposal.contexts.len());
    for context in &proposal.contexts {
        let mut verdict = match (context.abstract_syntax.is_empty(), context.transfer_syntaxes.is_empty()) {
            (true, _) => ContextAnswer::AbstractSyntaxNotSupported,
            (_, true) => ContextAnswer::TransferSyntaxesNotSupported,
            _ => by.context(context),
        };
        // In a rejected context the transfer syntax means nothing, but its sub-item must be there (PS3.8 section 9.3.3.2).
        let mut transfer_syntax = IMPLICIT_VR_LE.to_owned();
        if let ContextAnswer::Accept(place) = verdict {
            match context.transfer_syntaxes.get(place) {
                Some(chosen) => {
                    transfer_syntax.clone_from(chosen);
                    contexts.insert(AcceptedContext {
                        id: context.id,
                        abstract_syntax: context.abstract_syntax.clone(),
                        transfer_syntax: chosen.clone(),
                    });
                }
                None => verdict = ContextAnswer::TransferSyntaxesNotSupported,
            }
        }
        results.push(PresentationContextResult { id: context.id, reason: reason(verdict), transfer_syntax });
    }
    let accept = AssociationAC {
        protocol_version: 1,
        // Sent back as they came; not to be tested (PS3.8 section 9.3.3).
        calling_ae_title: proposal.calling.clone(),
        called_ae_title: proposal.called.clone(),
        application_context_name: super::APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: results,
        user_variables: user_items(proposal, terms, &contexts, by),
    };
    (accept, contexts)
}

fn user_items(proposal: &Proposal, terms: &Terms, contexts: &Contexts, by: &mut impl Answer) -> Vec<UserVariableItem> {
    let mut items = terms.items();
    // What was not asked is not answered (DIM-016, DIM-017).
    if proposal.asynchronous {
        items.push(UserVariableItem::Unknown(0x53, vec![0, 1, 0, 1]));
    }
    for (sop_class, proposed) in &proposal.roles {
        let granted = by.roles(sop_class, *proposed);
        let roles = RequestorRoles { scu: granted.scu && proposed.scu, scp: granted.scp && proposed.scp };
        items.push(UserVariableItem::ScuScpRoleSelectionSubItem(sop_class.clone(), roles));
    }
    for (sop_class, proposed) in &proposal.extended {
        if !contexts.iter().any(|c| c.abstract_syntax == *sop_class) {
            continue;
        }
        if let Some(mut information) = by.extended(sop_class, proposed) {
            information.truncate(proposed.len().min(256));
            items.push(UserVariableItem::SopClassExtendedNegotiationSubItem(sop_class.clone(), information));
        }
    }
    if proposal.identity.as_ref().is_some_and(|identity| identity.response_requested)
        && let Some(mut response) = by.identity()
    {
        response.truncate(8192);
        let length = (response.len() as u16).to_be_bytes();
        items.push(UserVariableItem::Unknown(0x59, [&length[..], &response].concat()));
    }
    items
}
