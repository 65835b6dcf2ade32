//! From an A-ASSOCIATE-RQ to a proposal, or to the reason why it is none.

use super::UserIdentity;
use super::{APPLICATION_CONTEXT, CommonExtended, MAX_LENGTH_UNSAID, Proposal, ProposedContext, Rejection, Roles};
use crate::dicom::ae_title::AeTitle;
use crate::dimse::pdata::{Violation, longest_fragment};
use dicom_ul::pdu::{AssociationRQ, UserIdentityType, UserVariableItem};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Why a request cannot even be put to the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Answered with A-ASSOCIATE-RJ.
    Reject(Rejection),
    /// Not well formed: answered with A-ABORT.
    Abort(Violation),
}

impl Proposal {
    /// Checks a request as the acceptor must: version, application context, titles, context IDs (PS3.8 section 9.3.2;
    /// DIM-002, DIM-003).
    pub fn of_request(
        request: AssociationRQ,
        address: SocketAddr,
        certificate: Option<Vec<u8>>,
    ) -> Result<Self, Refusal> {
        // Only bit 0 is tested (PS3.8 section 9.3.2).
        if request.protocol_version & 1 == 0 {
            return Err(Refusal::Reject(Rejection::ProtocolVersionNotSupported));
        }
        if request.application_context_name.trim_matches(['\0', ' ']) != APPLICATION_CONTEXT {
            return Err(Refusal::Reject(Rejection::ApplicationContextNotSupported));
        }
        let title = |text: &str, rejection| AeTitle::parse(until_nul(text)).map_err(|_| Refusal::Reject(rejection));
        let called = title(&request.called_ae_title, Rejection::CalledNotRecognised)?;
        let calling = title(&request.calling_ae_title, Rejection::CallingNotRecognised)?;
        let contexts = contexts(&request).map_err(Refusal::Abort)?;
        let mut proposal = Self {
            calling: calling.as_str().to_owned(),
            called: called.as_str().to_owned(),
            address,
            certificate,
            implementation_class: None,
            implementation_version: None,
            max_pdu_length: MAX_LENGTH_UNSAID,
            contexts,
            roles: Vec::new(),
            extended: Vec::new(),
            common_extended: Vec::new(),
            identity: None,
            asynchronous: false,
        };
        for item in request.user_variables {
            proposal.user_item(item);
        }
        // A peer that takes no fragment of two bytes can be sent nothing.
        if longest_fragment(proposal.max_pdu_length, u32::MAX).is_none() {
            return Err(Refusal::Reject(Rejection::NoReason));
        }
        Ok(proposal)
    }

    fn user_item(&mut self, item: UserVariableItem) {
        let proposed = |uid: &str| self.contexts.iter().any(|c| c.abstract_syntax == uid);
        match item {
            UserVariableItem::MaxLength(length) => self.max_pdu_length = length,
            UserVariableItem::ImplementationClassUID(uid) => self.implementation_class = Some(uid),
            UserVariableItem::ImplementationVersionName(name) => self.implementation_version = Some(name),
            UserVariableItem::ScuScpRoleSelectionSubItem(uid, roles) => {
                let uid = trimmed(&uid);
                if proposed(&uid) && !self.roles.iter().any(|(known, _)| *known == uid) {
                    self.roles.push((uid, Roles { scu: roles.scu, scp: roles.scp }));
                }
            }
            // Only for SOP classes that are also proposed (DIM-018).
            UserVariableItem::SopClassExtendedNegotiationSubItem(uid, information) => {
                let uid = trimmed(&uid);
                if proposed(&uid) && !self.extended.iter().any(|(known, _)| *known == uid) {
                    self.extended.push((uid, information));
                }
            }
            UserVariableItem::UserIdentityItem(identity) => {
                self.identity = Some(UserIdentity {
                    kind: match identity.identity_type() {
                        UserIdentityType::Username => 1,
                        UserIdentityType::UsernamePassword => 2,
                        UserIdentityType::KerberosServiceTicket => 3,
                        UserIdentityType::SamlAssertion => 4,
                        _ => 5,
                    },
                    response_requested: identity.positive_response_requested(),
                    primary: identity.primary_field(),
                    secondary: identity.secondary_field(),
                });
            }
            UserVariableItem::Unknown(0x53, _) => self.asynchronous = true,
            UserVariableItem::Unknown(0x57, bytes) => self.common_extended.extend(common_extended(&bytes)),
            UserVariableItem::Unknown(..) => {}
        }
    }
}

/// A title up to its NUL: some programs write a C string, and leave behind its end what was in memory. Those that read it as one, as DCMTK
/// does, never see that.
fn until_nul(title: &str) -> &str {
    title.trim_start_matches([' ', '\0']).split('\0').next().unwrap_or_default()
}

fn trimmed(uid: &str) -> String {
    uid.trim_matches(['\0', ' ']).to_owned()
}

fn contexts(request: &AssociationRQ) -> Result<Vec<ProposedContext>, Violation> {
    if request.presentation_contexts.is_empty() {
        return Err(Violation::MalformedPdu("no presentation context is proposed"));
    }
    let mut seen = BTreeSet::new();
    let mut contexts = Vec::with_capacity(request.presentation_contexts.len());
    for context in &request.presentation_contexts {
        if context.id % 2 == 0 {
            return Err(Violation::MalformedPdu("a presentation context ID is even"));
        }
        if !seen.insert(context.id) {
            return Err(Violation::MalformedPdu("a presentation context ID is used twice"));
        }
        contexts.push(ProposedContext {
            id: context.id,
            abstract_syntax: context.abstract_syntax.clone(),
            transfer_syntaxes: context.transfer_syntaxes.clone(),
        });
    }
    Ok(contexts)
}

/// Reads a 57H sub-item: SOP class, service class, list of related general classes, each with its length (PS3.7
/// section D.3.3.6.1).
fn common_extended(bytes: &[u8]) -> Option<CommonExtended> {
    fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (&[high, low], after) = rest.split_first_chunk::<2>()?;
        let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        *rest = after;
        Some(value)
    }
    let uid = |bytes: &[u8]| std::str::from_utf8(bytes).ok().filter(|uid| uid.len() <= 65).map(trimmed);
    let mut rest = bytes;
    let sop_class = uid(field(&mut rest)?)?;
    let service_class = uid(field(&mut rest)?)?;
    let mut list = field(&mut rest).unwrap_or_default();
    let mut related = Vec::new();
    while let Some(general) = field(&mut list)
        && related.len() < 128
    {
        related.extend(uid(general));
    }
    Some(CommonExtended { sop_class, service_class, related })
}
