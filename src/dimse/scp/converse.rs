//! Message by message: what is asked, who answers, how it ends.

use super::{DataSet, Ended, Scp, StoreAnswer, StoreRequest};
use crate::dimse::association::{Association, Incoming, Lost};
use crate::dimse::channel::Patience;
use crate::dimse::message::{CommandSet, element, field};
use crate::dimse::status::{Class, Status};
use crate::dimse::timers::Phase;
use tokio_util::sync::CancellationToken;

/// Answers messages until the association ends, and concludes it. A stop lets the message in hand finish, then aborts.
pub(in crate::dimse) async fn converse<S: Scp>(
    association: &mut Association,
    scp: &S,
    caller: &S::Caller,
    stop: &CancellationToken,
) -> Ended {
    let mut ended = Ended { lost: None, stored: 0, refused: 0, bytes: 0 };
    loop {
        let mut patience = Patience::idle(association.timers());
        let incoming = tokio::select! {
            // Looked at first: a busy sender always has a next message.
            biased;
            () = stop.cancelled() => Err(association.give_up()),
            incoming = association.next_message(&mut patience) => incoming,
        };
        let step = match incoming {
            Ok(Incoming::Message(context, command)) => {
                answer(association, scp, caller, context, &command, &mut ended).await
            }
            Ok(Incoming::Release) => {
                let released = association.answer_release().await;
                ended.lost = released.err();
                break;
            }
            Err(lost) => Err(lost),
        };
        if let Err(lost) = step {
            ended.lost = Some(lost);
            break;
        }
    }
    ended
}

async fn answer<S: Scp>(
    association: &mut Association,
    scp: &S,
    caller: &S::Caller,
    context: u8,
    command: &CommandSet,
    ended: &mut Ended,
) -> Result<(), Lost> {
    let operation = command.field();
    if operation & field::RESPONSE != 0 {
        return Err(association.violate("a response to nothing that we asked"));
    }
    // A request that is long over, or was never made: there is nothing to cancel, and no answer (PS3.7 section 9.3.2.3).
    if operation == field::C_CANCEL_RQ {
        return discard(association).await;
    }
    if command.u16(element::MESSAGE_ID).is_none() {
        return Err(association.violate("a request without a message ID"));
    }
    let Some(accepted) = association.contexts().get(context).cloned() else {
        return Err(association.violate("a request on no context"));
    };
    let class = [element::AFFECTED_SOP_CLASS_UID, element::REQUESTED_SOP_CLASS_UID];
    let class = class.iter().find_map(|uid| command.text(*uid)).unwrap_or_default();
    // PS3.7 section 9.1.1.1.9: the SOP class must be that of the context (requirements, decision table, row 2).
    if class != accepted.abstract_syntax {
        let answer = StoreAnswer {
            status: Status::SOP_CLASS_NOT_SUPPORTED,
            comment: Some("SOP class is not that of the presentation context".to_owned()),
            offending: None,
        };
        ended.refused += u64::from(operation == field::C_STORE_RQ);
        return refuse(association, context, command, answer).await;
    }
    match operation {
        field::C_ECHO_RQ => {
            discard(association).await?;
            let status = scp.echo(caller);
            association.send_command(context, &command.response(status, false)).await
        }
        field::C_STORE_RQ if command.has_data_set() => {
            let request = store_request(context, class, accepted.transfer_syntax, command);
            let mut data = DataSet::new(association);
            let answer = scp.store(caller, request, &mut data).await;
            data.finish().await?;
            ended.bytes += association.streamed();
            match answer.status.class() {
                Class::Success | Class::Warning => ended.stored += 1,
                _ => ended.refused += 1,
            }
            association.send_command(context, &response(command, answer)).await
        }
        field::C_STORE_RQ => {
            ended.refused += 1;
            let comment = Some("no data set".to_owned());
            let answer = StoreAnswer { status: Status::CANNOT_UNDERSTAND, comment, offending: None };
            refuse(association, context, command, answer).await
        }
        _ => refuse(association, context, command, Status::UNRECOGNISED_OPERATION.into()).await,
    }
}

fn store_request(context_id: u8, class: String, transfer_syntax: String, command: &CommandSet) -> StoreRequest {
    let originator = command.text(element::MOVE_ORIGINATOR_AE).filter(|title| !title.is_empty());
    StoreRequest {
        message_id: command.u16(element::MESSAGE_ID).unwrap_or_default(),
        context_id,
        abstract_syntax: class.clone(),
        transfer_syntax,
        sop_class: class,
        sop_instance: command.text(element::AFFECTED_SOP_INSTANCE_UID).unwrap_or_default(),
        priority: command.u16(element::PRIORITY).unwrap_or_default(),
        move_originator: originator
            .map(|title| (title, command.u16(element::MOVE_ORIGINATOR_MESSAGE_ID).unwrap_or_default())),
    }
}

/// Reads and forgets the data set, then answers.
async fn refuse(
    association: &mut Association,
    context: u8,
    command: &CommandSet,
    answer: StoreAnswer,
) -> Result<(), Lost> {
    discard(association).await?;
    association.send_command(context, &response(command, answer)).await
}

async fn discard(association: &mut Association) -> Result<(), Lost> {
    let mut patience = Patience::moving(association.timers(), Phase::Receiving);
    association.discard(&mut patience).await
}

fn response(command: &CommandSet, answer: StoreAnswer) -> CommandSet {
    let mut response = command.response(answer.status, false);
    if let Some(tag) = answer.offending {
        let (group, element) = ((tag >> 16) as u16, tag as u16);
        response = response.with(element::OFFENDING_ELEMENT, &[group.to_le_bytes(), element.to_le_bytes()].concat());
    }
    if let Some(comment) = answer.comment {
        response = response.with_text(element::ERROR_COMMENT, &comment, 64);
    }
    response
}
