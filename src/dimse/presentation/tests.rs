//! Negotiation as tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::proposal::Refusal;
use super::*;
use crate::dimse::pdata::Violation;
use dicom_ul::pdu::{AssociationRQ, PresentationContextProposed, RequestorRoles, UserVariableItem};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

fn context(id: u8, transfer_syntaxes: &[&str]) -> PresentationContextProposed {
    PresentationContextProposed {
        id,
        abstract_syntax: CT.to_owned(),
        transfer_syntaxes: transfer_syntaxes.iter().map(|t| (*t).to_owned()).collect(),
    }
}

fn rq() -> AssociationRQ {
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: "CALLING".to_owned(),
        called_ae_title: "CALLED".to_owned(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: vec![context(1, &[IMPLICIT_VR_LE])],
        user_variables: vec![],
    }
}

fn read(request: AssociationRQ) -> Result<Proposal, Refusal> {
    Proposal::of_request(request, "127.0.0.1:1".parse().unwrap(), None)
}

fn terms() -> Terms {
    Terms {
        max_pdu_length: 131_072,
        implementation_class: "2.25.1".to_owned(),
        implementation_version: "A_NAME_OF_MORE_THAN_16".to_owned(),
    }
}

/// Takes the last transfer syntax of each context; grants every role; answers ten bytes of extended negotiation and an
/// identity.
struct Generous;

impl Answer for Generous {
    fn context(&mut self, context: &ProposedContext) -> ContextAnswer {
        ContextAnswer::Accept(context.transfer_syntaxes.len() - 1)
    }
    fn roles(&mut self, _: &str, _: Roles) -> Roles {
        Roles { scu: true, scp: true }
    }
    fn extended(&mut self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
        Some(vec![2, 0, 3, 0, 0, 0, 7, 7, 7, 7])
    }
    fn identity(&mut self) -> Option<Vec<u8>> {
        Some(b"ok".to_vec())
    }
}

#[test]
fn requests_that_are_no_proposal_are_refused_with_their_reason() {
    type Change = fn(&mut AssociationRQ);
    let reject = Refusal::Reject;
    let abort = |why| Refusal::Abort(Violation::MalformedPdu(why));
    let rows: Vec<(Change, Refusal)> = vec![
        (|r| r.protocol_version = 2, reject(Rejection::ProtocolVersionNotSupported)),
        (|r| r.application_context_name = "1.2".to_owned(), reject(Rejection::ApplicationContextNotSupported)),
        (|r| r.called_ae_title = "   ".to_owned(), reject(Rejection::CalledNotRecognised)),
        (|r| r.called_ae_title = "A\\B".to_owned(), reject(Rejection::CalledNotRecognised)),
        (|r| r.calling_ae_title = String::new(), reject(Rejection::CallingNotRecognised)),
        (|r| r.calling_ae_title = "A\u{1}".to_owned(), reject(Rejection::CallingNotRecognised)),
        (|r| r.user_variables.push(UserVariableItem::MaxLength(7)), reject(Rejection::NoReason)),
        (|r| r.user_variables.push(UserVariableItem::MaxLength(4)), reject(Rejection::NoReason)),
        (|r| r.presentation_contexts.clear(), abort("no presentation context is proposed")),
        (|r| r.presentation_contexts[0].id = 2, abort("a presentation context ID is even")),
        (|r| r.presentation_contexts[0].id = 0, abort("a presentation context ID is even")),
        (|r| r.presentation_contexts.push(context(1, &["1.2"])), abort("a presentation context ID is used twice")),
    ];
    for (number, (change, want)) in rows.into_iter().enumerate() {
        let mut request = rq();
        change(&mut request);
        assert_eq!(read(request).unwrap_err(), want, "row {number}");
    }
}

#[test]
fn only_bit_0_of_the_version_counts_and_padding_does_not() {
    let mut request = rq();
    request.protocol_version = 0xFFFF;
    request.calling_ae_title = " GW1\0".to_owned();
    request.user_variables.push(UserVariableItem::MaxLength(8));
    let proposal = read(request).unwrap();
    assert_eq!((proposal.calling.as_str(), proposal.max_pdu_length), ("GW1", 8));
    assert_eq!(read(rq()).unwrap().max_pdu_length, MAX_LENGTH_UNSAID);
}

/// DIM-002: a title that was written as a C string ends with its NUL.
#[test]
fn what_stands_behind_the_nul_of_a_title_means_nothing() {
    let rows = [("GW1\0\0\0", "GW1"), ("GW1\0\u{8f}\u{1}\\", "GW1"), ("GW1 \0SECOND", "GW1"), ("\0 GW1", "GW1")];
    for (sent, want) in rows {
        let mut request = rq();
        (request.calling_ae_title, request.called_ae_title) = (sent.to_owned(), sent.to_owned());
        let proposal = read(request).unwrap();
        assert_eq!((proposal.calling.as_str(), proposal.called.as_str()), (want, want), "{sent:?}");
    }
    let mut request = rq();
    request.calling_ae_title = "G\u{1}W\u{0}1".to_owned();
    assert_eq!(read(request).unwrap_err(), Refusal::Reject(Rejection::CallingNotRecognised));
}

#[test]
fn every_context_is_answered_once_and_in_order() {
    let mut request = rq();
    request.presentation_contexts =
        (1..=255).step_by(2).map(|id| context(id, if id % 3 == 0 { &[] } else { &["1.2", "1.3"] })).collect();
    request.presentation_contexts[1].abstract_syntax = String::new();
    let (accept, contexts) = answer(&read(request).unwrap(), &terms(), &mut Generous);
    let ids: Vec<u8> = accept.presentation_contexts.iter().map(|c| c.id).collect();
    assert_eq!(ids, (1..=255).step_by(2).collect::<Vec<u8>>());
    for result in accept.presentation_contexts {
        let want = match result.id {
            3 => 3,
            id if id % 3 == 0 => 4,
            _ => 0,
        };
        assert_eq!(result.reason.clone() as u8, want, "{}", result.id);
        assert_eq!(contexts.contains(result.id), want == 0);
        assert_eq!(contexts.get(result.id).map(|c| c.transfer_syntax.as_str()), (want == 0).then_some("1.3"));
    }
    assert!(!contexts.contains(0) && !contexts.contains(2));
}

#[test]
fn a_place_that_was_not_proposed_is_not_accepted() {
    struct Wild;
    impl Answer for Wild {
        fn context(&mut self, _: &ProposedContext) -> ContextAnswer {
            ContextAnswer::Accept(9)
        }
        fn roles(&mut self, _: &str, proposed: Roles) -> Roles {
            proposed
        }
        fn extended(&mut self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
            None
        }
        fn identity(&mut self) -> Option<Vec<u8>> {
            None
        }
    }
    let (accept, contexts) = answer(&read(rq()).unwrap(), &terms(), &mut Wild);
    assert_eq!(accept.presentation_contexts[0].reason.clone() as u8, 4);
    assert!(!contexts.contains(1));
}

#[test]
fn what_is_not_asked_is_not_answered() {
    let (accept, _) = answer(&read(rq()).unwrap(), &terms(), &mut Generous);
    let want = vec![
        UserVariableItem::MaxLength(131_072),
        UserVariableItem::ImplementationClassUID("2.25.1".to_owned()),
        UserVariableItem::ImplementationVersionName("A_NAME_OF_MORE_T".to_owned()),
    ];
    assert_eq!(accept.user_variables, want);
}

#[test]
fn roles_are_granted_only_if_proposed() {
    for (scu, scp) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut request = rq();
        let roles = RequestorRoles { scu, scp };
        request.user_variables = vec![
            UserVariableItem::ScuScpRoleSelectionSubItem(CT.to_owned(), roles),
            UserVariableItem::ScuScpRoleSelectionSubItem("1.2.9".to_owned(), roles),
        ];
        let (accept, _) = answer(&read(request).unwrap(), &terms(), &mut Generous);
        assert_eq!(accept.user_variables[3..], [UserVariableItem::ScuScpRoleSelectionSubItem(CT.to_owned(), roles)]);
    }
}

#[test]
fn extended_negotiation_is_answered_with_no_more_bytes_than_were_sent() {
    for length in [1, 3, 5, 6, 7, 300] {
        let mut request = rq();
        let item = UserVariableItem::SopClassExtendedNegotiationSubItem(CT.to_owned(), vec![0; length]);
        request.user_variables = vec![
            item.clone(),
            item,
            UserVariableItem::SopClassExtendedNegotiationSubItem("1.2.9".to_owned(), vec![0; 6]),
        ];
        let (accept, _) = answer(&read(request).unwrap(), &terms(), &mut Generous);
        let want = [2, 0, 3, 0, 0, 0, 7, 7, 7, 7][..length.min(10)].to_vec();
        let want = UserVariableItem::SopClassExtendedNegotiationSubItem(CT.to_owned(), want);
        assert_eq!(accept.user_variables[3..], [want]);
    }
}

#[test]
fn asynchronous_operations_are_answered_with_one_and_identity_if_asked() {
    for requested in [false, true] {
        let mut request = rq();
        let identity = dicom_ul::pdu::UserIdentity::new(
            requested,
            dicom_ul::pdu::UserIdentityType::UsernamePassword,
            b"user".to_vec(),
            b"pass".to_vec(),
        );
        request.user_variables =
            vec![UserVariableItem::Unknown(0x53, vec![0, 0, 0, 0]), UserVariableItem::UserIdentityItem(identity)];
        let proposal = read(request).unwrap();
        assert!(!format!("{proposal:?}").contains("pass"));
        let (accept, _) = answer(&proposal, &terms(), &mut Generous);
        let mut want = vec![UserVariableItem::Unknown(0x53, vec![0, 1, 0, 1])];
        if requested {
            want.push(UserVariableItem::Unknown(0x59, vec![0, 2, b'o', b'k']));
        }
        assert_eq!(accept.user_variables[3..], want);
    }
}

#[test]
fn common_extended_negotiation_is_read() {
    let field = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let related = [field(b"1.2.7"), field(b"1.2.8")].concat();
    let whole = [field(b"1.2.9"), field(b"1.2.840.10008.4.2"), field(&related)].concat();
    let want = CommonExtended {
        sop_class: "1.2.9".to_owned(),
        service_class: "1.2.840.10008.4.2".to_owned(),
        related: vec!["1.2.7".to_owned(), "1.2.8".to_owned()],
    };
    for end in 0..=whole.len() {
        let mut request = rq();
        request.user_variables = vec![UserVariableItem::Unknown(0x57, whole[..end].to_vec())];
        let read = read(request).unwrap().common_extended;
        if end == whole.len() {
            assert_eq!(read, std::slice::from_ref(&want));
        }
    }
}

#[test]
fn our_request_offers_odd_ids_and_reads_the_answer() {
    let offer = |n: usize| Offer {
        abstract_syntax: format!("1.2.{n}"),
        transfer_syntaxes: vec!["1.2.840.10008.1.2.1".to_owned(), IMPLICIT_VR_LE.to_owned()],
    };
    let offers: Vec<Offer> = (0..128).map(offer).collect();
    let request = request("A", "B", &terms(), &offers, None).unwrap();
    assert_eq!(request.presentation_contexts.last().unwrap().id, 255);
    let (mut accept, _) = answer(&read(request.clone()).unwrap(), &terms(), &mut Generous);
    accept.presentation_contexts.truncate(4);
    accept.presentation_contexts[0].reason = dicom_ul::pdu::PresentationContextResultReason::NoReason;
    accept.presentation_contexts[1].transfer_syntax = "1.9".to_owned();
    accept.presentation_contexts[2].id = 2;
    let again = accept.presentation_contexts[3].clone();
    accept.presentation_contexts.push(again);
    let got = accepted(&request, &accept);
    let ids: Vec<u8> = got.contexts.iter().map(|c| c.id).collect();
    assert_eq!((ids, got.max_pdu_length), (vec![7], 131_072));
}

#[test]
fn offers_that_cannot_be_made_are_refused() {
    let offer = |abstract_syntax: &str, ts: &[&str]| Offer {
        abstract_syntax: abstract_syntax.to_owned(),
        transfer_syntaxes: ts.iter().map(|t| (*t).to_owned()).collect(),
    };
    let many: Vec<Offer> = (0..129).map(|_| offer("1.2", &["1.2"])).collect();
    for offers in [vec![], many, vec![offer("", &["1.2"])], vec![offer("1.2", &[])], vec![offer("1.2", &["é"])]] {
        assert!(request("A", "B", &terms(), &offers, None).is_none());
    }
}

/// PS3.8 table 9-21: what a peer says is told in words, and what the table reserves is not guessed at.
#[test]
fn what_a_peer_gives_as_its_reason_has_words() {
    let rows = [
        ((1, 1), Some("no reason given")),
        ((1, 2), Some("application context name not supported")),
        ((1, 3), Some("calling AE title not recognised")),
        ((1, 7), Some("called AE title not recognised")),
        ((2, 1), Some("no reason given")),
        ((2, 2), Some("protocol version not supported")),
        ((3, 1), Some("temporary congestion")),
        ((3, 2), Some("local limit exceeded")),
        ((1, 4), None),
        ((3, 7), None),
    ];
    for ((by, reason), words) in rows {
        let given = Rejection::given(by, reason).map(|given| given.to_string());
        assert_eq!(given.as_deref(), words, "{by} {reason}");
    }
}
