//! Message by message: what is asked, who answers, how it ends.

use super::query::{self, Operation};
use super::{DataSet, Ended, Scp, StoreAnswer, StoreRequest};
use crate::dimse::association::{Association, Incoming, Lost};
use crate::dimse::channel::Patience;
use crate::dimse::message::{CommandSet, element, field};
use crate::dimse::presentation::{AcceptedContext, VERIFICATION};
use crate::dimse::status::{Class, Status};
use crate::dimse::timers::Phase;
use std::borrow::Cow;
use tokio_util::sync::CancellationToken;

/// One association in conversation.
pub(in crate::dimse) struct Session<'a, S: Scp> {
    pub association: &'a mut Association,
    pub scp: &'a S,
    pub caller: &'a S::Caller,
    /// See [`super::ScpOptions::max_discard_bytes`].
    pub max_discard: u64,
    pub ended: Ended,
}

impl<S: Scp> Session<'_, S> {
    /// Answers messages until the association ends. If it was not lost, a release is then to be answered; and it is to be concluded. A stop
    /// lets the message in hand finish, then aborts.
    pub(in crate::dimse) async fn converse(mut self, stop: &CancellationToken) -> Ended {
        loop {
            let mut patience = Patience::idle(self.association.timers());
            let incoming = tokio::select! {
                // Looked at first: a busy sender always has a next message.
                biased;
                () = stop.cancelled() => Err(self.association.give_up()),
                incoming = self.association.next_message(&mut patience) => incoming,
            };
            let step = match incoming {
                Ok(Incoming::Message(context, command)) => self.answer(context, &command).await,
                Ok(Incoming::Release) => return self.ended,
                Err(lost) => Err(lost),
            };
            if let Err(lost) = step {
                self.ended.lost = Some(lost);
                return self.ended;
            }
        }
    }

    async fn answer(&mut self, context: u8, command: &CommandSet) -> Result<(), Lost> {
        let operation = command.field();
        if operation & field::RESPONSE != 0 {
            return Err(self.association.violate("a response to nothing that we asked"));
        }
        // A request that is long over, or was never made: there is nothing to cancel, and no answer (PS3.7 section 9.3.2.3).
        if operation == field::C_CANCEL_RQ {
            return self.discard().await;
        }
        if command.u16(element::MESSAGE_ID).is_none() {
            return Err(self.association.violate("a request without a message ID"));
        }
        let Some(accepted) = self.association.contexts().get(context).cloned() else {
            return Err(self.association.violate("a request on no context"));
        };
        let class = [element::AFFECTED_SOP_CLASS_UID, element::REQUESTED_SOP_CLASS_UID];
        let named = class.iter().find_map(|uid| command.text(*uid).filter(|class| !class.is_empty()));
        // One that names none can mean none but its context's, and its answer names that.
        let completed = match &named {
            Some(_) => Cow::Borrowed(command),
            None => Cow::Owned(command.clone().with_uid(element::AFFECTED_SOP_CLASS_UID, &accepted.abstract_syntax)),
        };
        let command = &*completed;
        let class = named.unwrap_or_else(|| accepted.abstract_syntax.clone());
        // PS3.7 section 9.1.1.1.9: the SOP class must be that of the context (requirements, decision table, row 2).
        if class != accepted.abstract_syntax {
            let why = "SOP class is not that of the presentation context";
            return self.refuse(command, context, Status::SOP_CLASS_NOT_SUPPORTED, why).await;
        }
        match operation {
            field::C_ECHO_RQ => {
                self.discard().await?;
                let status = self.scp.echo(self.caller);
                self.association.send_command(context, &command.response(status, false)).await
            }
            field::C_STORE_RQ if class == VERIFICATION => {
                let why = "Verification stores nothing";
                self.refuse(command, context, Status::UNRECOGNISED_OPERATION, why).await
            }
            field::C_STORE_RQ if !command.has_data_set() => {
                self.refuse(command, context, Status::CANNOT_UNDERSTAND, "no data set").await
            }
            field::C_STORE_RQ => self.store(accepted, command).await,
            _ => match Operation::of(operation).filter(|_| query::is_asked_on(&accepted)) {
                Some(_) if !command.has_data_set() => {
                    self.refuse(command, context, Status::IDENTIFIER_MISMATCH, "no identifier").await
                }
                Some(asked) => {
                    let parties = (self.scp, self.caller);
                    query::converse(self.association, parties, accepted, command, asked, self.max_discard).await
                }
                None => {
                    let why = "this operation is not offered on this context";
                    self.refuse(command, context, Status::UNRECOGNISED_OPERATION, why).await
                }
            },
        }
    }

    async fn store(&mut self, context: AcceptedContext, command: &CommandSet) -> Result<(), Lost> {
        let id = context.id;
        let request = store_request(context, command);
        let mut data = DataSet::new(self.association);
        let answer = self.scp.store(self.caller, request, &mut data).await;
        data.finish(self.max_discard).await?;
        self.ended.bytes += self.association.streamed();
        match answer.status.class() {
            Class::Success | Class::Warning => self.ended.stored += 1,
            _ => self.ended.refused += 1,
        }
        self.association.send_command(id, &response(command, answer)).await
    }

    /// Reads and forgets the data set, then answers.
    async fn refuse(&mut self, command: &CommandSet, context: u8, status: Status, comment: &str) -> Result<(), Lost> {
        self.discard().await?;
        self.ended.refused += u64::from(command.field() == field::C_STORE_RQ);
        let answer = StoreAnswer { status, comment: Some(comment.to_owned()), offending: None };
        self.association.send_command(context, &response(command, answer)).await
    }

    async fn discard(&mut self) -> Result<(), Lost> {
        let mut patience = Patience::moving(self.association.timers(), Phase::Receiving);
        self.association.discard(&mut patience, self.max_discard).await
    }
}

fn store_request(context: AcceptedContext, command: &CommandSet) -> StoreRequest {
    let originator = command.title(element::MOVE_ORIGINATOR_AE).filter(|title| !title.is_empty());
    let originator_id = command.u16(element::MOVE_ORIGINATOR_MESSAGE_ID).unwrap_or_default();
    StoreRequest {
        message_id: command.u16(element::MESSAGE_ID).unwrap_or_default(),
        context_id: context.id,
        sop_class: context.abstract_syntax.clone(),
        abstract_syntax: context.abstract_syntax,
        transfer_syntax: context.transfer_syntax,
        sop_instance: command.text(element::AFFECTED_SOP_INSTANCE_UID).unwrap_or_default(),
        priority: command.u16(element::PRIORITY).unwrap_or_default(),
        move_originator: originator.map(|title| (title, originator_id)),
    }
}

fn response(command: &CommandSet, answer: StoreAnswer) -> CommandSet {
    let mut response = command.response(answer.status, false);
    if let Some(tag) = answer.offending {
        let (group, element) = ((tag >> 16) as u16, tag as u16);
        let value = [group.to_le_bytes(), element.to_le_bytes()].concat();
        response = response.with(element::OFFENDING_ELEMENT, &value);
    }
    if let Some(comment) = answer.comment {
        response = response.with_comment(&comment);
    }
    response
}
