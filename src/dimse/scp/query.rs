//! C-FIND, C-GET and C-MOVE as an acceptor answers them: pending answers, cancels, sub-operations on the same association.

use super::{DataSet, Scp};
use crate::dimse::association::{Association, Incoming, Lost};
use crate::dimse::channel::Patience;
use crate::dimse::message::{CommandSet, element, field};
use crate::dimse::presentation::AcceptedContext;
use crate::dimse::scu::{Sent, Source, StoreCommand, StoreFailure, StoreResponse};
use crate::dimse::scu::{answered, belied, request, send_store};
use crate::dimse::status::Status;
use crate::dimse::timers::Phase;
use std::future::ready;
use std::time::Duration;
use tokio::time::Instant;

/// The longest identifier that is taken, in bytes; lists of thousands of UIDs fit.
pub const MAX_IDENTIFIER_BYTES: usize = 512 * 1024;

/// A requester that waits for answers need say nothing for so long.
const SILENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The SOP classes of Query/Retrieve begin so (PS3.4 section C.3).
const QUERY_RETRIEVE: &str = "1.2.840.10008.5.1.4.1.2.";

/// Whether a context is one on which anything can be asked for; on others these operations are not recognised.
pub(super) fn is_asked_on(context: &AcceptedContext) -> bool {
    context.abstract_syntax.starts_with(QUERY_RETRIEVE)
}

/// Which of the three operations is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// C-FIND.
    Find,
    /// C-GET.
    Get,
    /// C-MOVE.
    Move,
}

impl Operation {
    /// The operation of a request's Command Field.
    pub(super) fn of(field: u16) -> Option<Self> {
        match field {
            field::C_FIND_RQ => Some(Self::Find),
            field::C_GET_RQ => Some(Self::Get),
            field::C_MOVE_RQ => Some(Self::Move),
            _ => None,
        }
    }
}

/// A C-FIND-RQ, C-GET-RQ or C-MOVE-RQ with its identifier (PS3.7 sections 9.1.2 to 9.1.4).
#[derive(Clone, PartialEq, Eq)]
pub struct QueryRequest {
    /// Which.
    pub operation: Operation,
    /// Message ID.
    pub message_id: u16,
    /// The context's abstract syntax, which is the SOP class.
    pub abstract_syntax: String,
    /// The context's transfer syntax: that of identifiers both ways.
    pub transfer_syntax: String,
    /// The identifier, encoded; at most [`MAX_IDENTIFIER_BYTES`].
    pub identifier: Vec<u8>,
    /// Move Destination, without padding; empty if it was missing.
    pub destination: String,
}

impl std::fmt::Debug for QueryRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QueryRequest({:?}, {} bytes)", self.operation, self.identifier.len())
    }
}

/// How many sub-operations stand where; on the wire each is at most 65,535 (DIM-085).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not begun; absent from final answers that are not a cancel (DIM-084).
    pub remaining: Option<u64>,
    /// Done.
    pub completed: u64,
    /// Not done.
    pub failed: u64,
    /// Done, with a warning.
    pub warning: u64,
}

/// The final answer.
#[derive(Clone, PartialEq, Eq)]
pub struct QueryAnswer {
    /// Status (0000,0900).
    pub status: Status,
    /// Error Comment: at most 64 characters, no patient data; the rest is cut.
    pub comment: Option<String>,
    /// Offending Element: a tag, group in the high half.
    pub offending: Option<u32>,
    /// The counts, for a retrieve.
    pub counts: Option<Counts>,
    /// The identifier, encoded: the instances that failed.
    pub identifier: Option<Vec<u8>>,
}

impl From<Status> for QueryAnswer {
    fn from(status: Status) -> Self {
        Self { status, comment: None, offending: None, counts: None, identifier: None }
    }
}

impl std::fmt::Debug for QueryAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QueryAnswer({}, {:?}, {:?})", self.status, self.comment, self.counts)
    }
}

/// The association while a request is answered: takes pending answers, and hears the requester's cancel.
pub struct Dialogue<'a> {
    association: &'a mut Association,
    context: u8,
    command: &'a CommandSet,
    message_id: u16,
    sub_operation: u16,
    cancelled: bool,
    over: Option<Lost>,
    told: Instant,
}

impl<'a> Dialogue<'a> {
    fn new(association: &'a mut Association, context: u8, command: &'a CommandSet) -> Self {
        let message_id = command.u16(element::MESSAGE_ID).unwrap_or_default();
        Self {
            association,
            context,
            command,
            message_id,
            sub_operation: 0,
            cancelled: false,
            over: None,
            told: Instant::now(),
        }
    }

    /// Sends a pending answer, with an identifier or without.
    pub async fn pending(
        &mut self,
        status: Status,
        counts: Option<Counts>,
        identifier: Option<&[u8]>,
    ) -> Result<(), Lost> {
        self.told = Instant::now();
        self.alive()?;
        let answer = QueryAnswer { counts, ..status.into() };
        let answer = response(self.command, &answer, identifier.is_some());
        let sent = send(self.association, self.context, &answer, identifier).await;
        self.note(sent)
    }

    /// When the requester was last told something, or tried to be: with a pending answer, at first with the request itself.
    pub fn told(&self) -> Instant {
        self.told
    }

    /// Whether the requester has cancelled, or is gone; looks at what has come, and does not wait.
    pub async fn is_over(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.heard() => {}
            () = ready(()) => {}
        }
        self.cancelled || self.over.is_some()
    }

    /// The requester has cancelled, as far as was heard.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// The association is lost, as far as was heard.
    pub fn is_lost(&self) -> bool {
        self.over.is_some()
    }

    /// Waits until the requester cancels or is gone; returns at once if it has. May be dropped at any time.
    pub async fn heard(&mut self) {
        while !self.cancelled && self.over.is_none() {
            let mut patience = Patience::until(SILENCE, Phase::Response);
            let incoming = self.association.next_message(&mut patience).await;
            let taken = match incoming {
                Ok(Incoming::Message(_, command)) => self.take(&command),
                Ok(Incoming::Release) => Err(self.association.violate("a release before the final answer")),
                Err(lost) => Err(lost),
            };
            let _ = self.note(taken);
        }
    }

    /// A message that is no answer to a sub-operation: a cancel, or a breach.
    fn take(&mut self, command: &CommandSet) -> Result<(), Lost> {
        if command.field() != field::C_CANCEL_RQ {
            return Err(self.association.violate("a request before the final answer to the last"));
        }
        // A cancel of another message comes too late, and asks nothing of us.
        self.cancelled |= command.u16(element::MESSAGE_ID_RESPONDED_TO) == Some(self.message_id);
        // One that names none can mean no other: one request at a time is answered.
        self.cancelled |= command.bytes(element::MESSAGE_ID_RESPONDED_TO).is_none();
        Ok(())
    }

    /// The accepted contexts of the association.
    pub fn contexts(&self) -> impl Iterator<Item = &AcceptedContext> {
        self.association.contexts().iter()
    }

    /// Stores one instance at the requester, which must be SCP of its class (C-GET).
    pub async fn store(
        &mut self,
        command: StoreCommand,
        length: Option<u64>,
        source: &mut impl Source,
    ) -> Result<StoreResponse, StoreFailure> {
        self.alive().map_err(|lost| StoreFailure::NotSent(lost.into()))?;
        self.sub_operation = self.sub_operation.wrapping_add(1).max(1);
        let (context, id) = (command.context_id, self.sub_operation);
        let message = (context, &request(&command, id));
        if let Sent::Refused(response) = send_store(self.association, &mut self.over, message, length, source).await? {
            return Ok(response);
        }
        let answered = self.sub_operation_answered(&command, id).await;
        self.note(answered).map_err(|lost| StoreFailure::Unanswered(lost.into()))
    }

    /// Waits for the answer to a sub-operation; a cancel may come before it.
    async fn sub_operation_answered(&mut self, command: &StoreCommand, id: u16) -> Result<StoreResponse, Lost> {
        let mut patience = Patience::until(self.association.timers().response, Phase::Response);
        loop {
            let (on, response) = match self.association.next_message(&mut patience).await? {
                Incoming::Message(on, response) => (on, response),
                Incoming::Release => return Err(self.association.violate("a release before the final answer")),
            };
            if response.field() != field::C_STORE_RSP {
                self.take(&response)?;
                continue;
            }
            let fitting = self.association.contexts().may_answer(on, command.context_id);
            let due = fitting && response.u16(element::MESSAGE_ID_RESPONDED_TO) == Some(id);
            match response.u16(element::STATUS) {
                // Its Command Data Set Type is not looked at: it has no data set (PS3.7 section 9.3.1.2).
                Some(status) if due => {
                    // A requester is heard between messages only, so that nothing can be called early here.
                    return match belied(command, &response, Status(status), false) {
                        None => Ok(answered(&response, Status(status))),
                        Some(why) => Err(self.association.violate(why)),
                    };
                }
                _ => return Err(self.association.violate("a response that is not the one that was due")),
            }
        }
    }

    fn alive(&self) -> Result<(), Lost> {
        self.over.clone().map_or(Ok(()), Err)
    }

    fn note<T>(&mut self, result: Result<T, Lost>) -> Result<T, Lost> {
        if let Err(lost) = &result {
            self.over.get_or_insert_with(|| lost.clone());
        }
        result
    }
}

/// Takes the identifier, asks the application, and sends its final answer.
pub(super) async fn converse<S: Scp>(
    association: &mut Association,
    (scp, caller): (&S, &S::Caller),
    context: AcceptedContext,
    command: &CommandSet,
    operation: Operation,
    max_discard: u64,
) -> Result<(), Lost> {
    let id = context.id;
    let Some(identifier) = identifier(association, max_discard).await? else {
        let comment = Some("the identifier is longer than 512 KiB".to_owned());
        // Retrievals have no A700 (PS3.4 tables C.4-1, C.4-2 and C.4-3).
        let status = if operation == Operation::Find { Status::OUT_OF_RESOURCES } else { Status::CANNOT_COUNT };
        let answer = QueryAnswer { comment, ..status.into() };
        return conclude(association, id, command, &answer).await;
    };
    let request = QueryRequest {
        operation,
        message_id: command.u16(element::MESSAGE_ID).unwrap_or_default(),
        abstract_syntax: context.abstract_syntax,
        transfer_syntax: context.transfer_syntax,
        identifier,
        destination: command.title(element::MOVE_DESTINATION).unwrap_or_default(),
    };
    let mut dialogue = Dialogue::new(association, id, command);
    let answer = scp.query(caller, request, &mut dialogue).await;
    match dialogue.over.take() {
        Some(lost) => Err(lost),
        None => conclude(association, id, command, &answer).await,
    }
}

/// The identifier; `None` if it is too long, and then it was read and forgotten, up to so many bytes more.
async fn identifier(association: &mut Association, max_discard: u64) -> Result<Option<Vec<u8>>, Lost> {
    let mut data = DataSet::new(association);
    let mut identifier = Vec::new();
    while let Some(chunk) = data.chunk().await? {
        if identifier.len() + chunk.len() > MAX_IDENTIFIER_BYTES {
            data.finish(max_discard).await?;
            return Ok(None);
        }
        identifier.extend_from_slice(chunk);
    }
    Ok(Some(identifier))
}

async fn conclude(
    association: &mut Association,
    context: u8,
    command: &CommandSet,
    answer: &QueryAnswer,
) -> Result<(), Lost> {
    let identifier = answer.identifier.as_deref().filter(|identifier| !identifier.is_empty());
    send(association, context, &response(command, answer, identifier.is_some()), identifier).await
}

/// Sends an answer and its identifier.
async fn send(
    association: &mut Association,
    context: u8,
    answer: &CommandSet,
    identifier: Option<&[u8]>,
) -> Result<(), Lost> {
    let Some(identifier) = identifier else { return association.send_command(context, answer).await };
    let mut patience = Patience::moving(association.timers(), Phase::Sending);
    let mut held = association.begin(context, answer);
    association.send_data(context, &mut held, identifier, true, &mut patience).await?;
    association.flush(&mut patience).await
}

fn response(command: &CommandSet, answer: &QueryAnswer, data_set: bool) -> CommandSet {
    let mut response = command.response(answer.status, data_set);
    if let Some(tag) = answer.offending {
        let (group, element) = ((tag >> 16) as u16, tag as u16);
        let value = [group.to_le_bytes(), element.to_le_bytes()].concat();
        response = response.with(element::OFFENDING_ELEMENT, &value);
    }
    if let Some(comment) = &answer.comment {
        response = response.with_comment(comment);
    }
    if let Some(counts) = answer.counts {
        let clamped = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
        if let Some(remaining) = counts.remaining {
            response = response.with_u16(element::REMAINING, clamped(remaining));
        }
        response = response
            .with_u16(element::COMPLETED, clamped(counts.completed))
            .with_u16(element::FAILED, clamped(counts.failed))
            .with_u16(element::WARNING, clamped(counts.warning));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::fired::note_fired;

    #[test]
    fn counts_are_clamped_and_never_wrap() {
        let command = CommandSet::new(field::C_MOVE_RQ, true).with_u16(element::MESSAGE_ID, 7);
        let counts = Counts { remaining: Some(70_000), completed: 65_536, failed: 65_535, warning: 3 };
        let answer = QueryAnswer { counts: Some(counts), ..Status::PENDING.into() };
        let sent = response(&command, &answer, false);
        let got = [element::REMAINING, element::COMPLETED, element::FAILED, element::WARNING].map(|e| sent.u16(e));
        assert_eq!(got, [Some(65_535), Some(65_535), Some(65_535), Some(3)]);
        let told = [counts.remaining.unwrap_or(0), counts.completed, counts.failed, counts.warning];
        note_fired(told.iter().filter(|count| **count > 65_535).count());
        assert_eq!((sent.field(), sent.u16(element::MESSAGE_ID_RESPONDED_TO)), (field::C_MOVE_RSP, Some(7)));
        let last = QueryAnswer { counts: Some(Counts { remaining: None, ..counts }), ..Status::SOME_FAILED.into() };
        assert_eq!(response(&command, &last, true).u16(element::REMAINING), None, "only pending and cancel say it");
    }
}
