//! Our own A-ASSOCIATE-RQ, and what the peer's A-ASSOCIATE-AC makes of it.

use super::{AcceptedContext, Contexts, MAX_LENGTH_UNSAID, Terms};
use dicom_ul::pdu::{AssociationAC, AssociationRQ, PresentationContextProposed, PresentationContextResultReason};
use dicom_ul::pdu::{UserIdentity, UserIdentityType, UserVariableItem};

/// One context to offer: an abstract syntax and its transfer syntaxes in our order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The abstract syntax.
    pub abstract_syntax: String,
    /// The transfer syntaxes; one at least.
    pub transfer_syntaxes: Vec<String>,
}

/// Builds the request. Contexts get the IDs 1, 3, 5 and so on; `None` if there are none, more than 128 (DIM-003), or a
/// name that is no UID.
///
/// The asynchronous operations window is never offered (DIM-016).
pub fn request(
    calling: &str,
    called: &str,
    terms: &Terms,
    offers: &[Offer],
    identity: Option<&super::UserIdentity>,
) -> Option<AssociationRQ> {
    let plain = |uid: &str| (1..=64).contains(&uid.len()) && uid.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let well_formed = |offer: &Offer| {
        plain(&offer.abstract_syntax)
            && !offer.transfer_syntaxes.is_empty()
            && offer.transfer_syntaxes.iter().all(|uid| plain(uid))
    };
    if offers.is_empty() || offers.len() > 128 || !offers.iter().all(well_formed) {
        return None;
    }
    let contexts = (1..=255u8).step_by(2).zip(offers).map(|(id, offer)| PresentationContextProposed {
        id,
        abstract_syntax: offer.abstract_syntax.clone(),
        transfer_syntaxes: offer.transfer_syntaxes.clone(),
    });
    let mut user_variables = terms.items();
    if let Some(identity) = identity {
        // The fields have 16-bit lengths, and the item too.
        if identity.primary.len() + identity.secondary.len() > 60_000 {
            return None;
        }
        let kind = match identity.kind {
            1 => UserIdentityType::Username,
            2 => UserIdentityType::UsernamePassword,
            3 => UserIdentityType::KerberosServiceTicket,
            4 => UserIdentityType::SamlAssertion,
            _ => UserIdentityType::Jwt,
        };
        let (primary, secondary) = (identity.primary.clone(), identity.secondary.clone());
        let item = UserIdentity::new(identity.response_requested, kind, primary, secondary);
        user_variables.push(UserVariableItem::UserIdentityItem(item));
    }
    Some(AssociationRQ {
        protocol_version: 1,
        calling_ae_title: calling.to_owned(),
        called_ae_title: called.to_owned(),
        application_context_name: super::APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: contexts.collect(),
        user_variables,
    })
}

/// What the peer accepted: the contexts, and what it said of itself.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The usable contexts.
    pub contexts: Contexts,
    /// The abstract syntaxes of those that it refused, and why (PS3.8 table 9-18).
    pub refused: Vec<(String, &'static str)>,
    /// The longest P-DATA-TF that the peer takes; 0 is no limit.
    pub max_pdu_length: u32,
    /// Its Implementation Class UID.
    pub implementation_class: Option<String>,
    /// Its Implementation Version Name.
    pub implementation_version: Option<String>,
    /// It answered our user identity (59H); else it may have ignored it (DIM-019).
    pub identity_answered: bool,
    /// Its answers to SOP class extended negotiation (56H), by class.
    pub extended: Vec<(String, Vec<u8>)>,
}

/// Reads the peer's answer to `request`. A result that names a context or a transfer syntax that we did not offer
/// makes that context
/// unusable, not the association; of two results for one context the first counts.
pub fn accepted(request: &AssociationRQ, accept: &AssociationAC) -> Accepted {
    let (mut contexts, mut refused) = (Contexts::default(), Vec::new());
    let mut answered = std::collections::BTreeSet::new();
    for result in &accept.presentation_contexts {
        let offered = request.presentation_contexts.iter().find(|offered| offered.id == result.id);
        let (Some(offered), true) = (offered, answered.insert(result.id)) else {
            continue;
        };
        let known = offered.transfer_syntaxes.contains(&result.transfer_syntax);
        if result.reason == PresentationContextResultReason::Acceptance && known {
            contexts.insert(AcceptedContext {
                id: result.id,
                abstract_syntax: offered.abstract_syntax.clone(),
                transfer_syntax: result.transfer_syntax.clone(),
            });
        } else {
            refused.push((offered.abstract_syntax.clone(), why(&result.reason)));
        }
    }
    let mut accepted = Accepted {
        contexts,
        refused,
        max_pdu_length: MAX_LENGTH_UNSAID,
        implementation_class: None,
        implementation_version: None,
        identity_answered: false,
        extended: Vec::new(),
    };
    for item in &accept.user_variables {
        match item {
            UserVariableItem::MaxLength(length) => accepted.max_pdu_length = *length,
            UserVariableItem::ImplementationClassUID(uid) => accepted.implementation_class = Some(uid.clone()),
            UserVariableItem::ImplementationVersionName(name) => accepted.implementation_version = Some(name.clone()),
            UserVariableItem::Unknown(0x59, _) => accepted.identity_answered = true,
            UserVariableItem::SopClassExtendedNegotiationSubItem(class, information) => {
                accepted.extended.push((class.trim_end_matches('\0').to_owned(), information.clone()));
            }
            _ => {}
        }
    }
    accepted
}

/// What a result says (PS3.8 table 9-18).
fn why(result: &PresentationContextResultReason) -> &'static str {
    use PresentationContextResultReason as R;
    match result {
        R::Acceptance => "accepted in a transfer syntax that was not offered",
        R::UserRejection => "user rejection",
        R::NoReason => "no reason given",
        R::AbstractSyntaxNotSupported => "abstract syntax not supported",
        R::TransferSyntaxesNotSupported => "transfer syntaxes not supported",
    }
}
