//! C-STORE: a command, a data set from a source, one response (PS3.7 section 9.1.1; DIM-050 to DIM-053).

use super::{Scu, ScuError};
use crate::dimse::association::{Association, Lost};
use crate::dimse::channel::Patience;
use crate::dimse::message::{CommandSet, element, field};
use crate::dimse::presentation::AcceptedContext;
use crate::dimse::status::{Class, Status};
use crate::dimse::timers::Phase;
use bytes::Bytes;
use std::future::Future;

/// Where a data set comes from, part by part.
pub trait Source: Send {
    /// The next bytes, in parts of any size, altogether an even number of them (PS3.8 section E.1); `None` after the last. An error means
    /// that the data set must not be completed.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, SourceError>> + Send;
}

/// Our own data set could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("our data set cannot be read: {0}")]
pub struct SourceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What to store. The SOP class must be the abstract syntax of the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreCommand {
    /// An accepted context, whose transfer syntax is that of the data set.
    pub context_id: u8,
    /// Affected SOP Class UID.
    pub sop_class: String,
    /// Affected SOP Instance UID.
    pub sop_instance: String,
    /// Priority: 0 medium, 1 high, 2 low.
    pub priority: u16,
    /// Move Originator AE title and message ID, for a sub-operation of a C-MOVE (DIM-052).
    pub move_originator: Option<(String, u16)>,
}

/// The peer's C-STORE-RSP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreResponse {
    /// Status; see [`Status::class`].
    pub status: Status,
    /// Error Comment, as it came.
    pub comment: Option<String>,
    /// The first Offending Element, group in the high half.
    pub offending: Option<u32>,
}

/// No response came. Whether the association still stands, [`Scu::is_alive`] tells.
#[derive(Debug, thiserror::Error)]
pub enum StoreFailure {
    /// Nothing of the message was sent: the association had ended, or has no such context.
    #[error("not sent: {0}")]
    NotSent(ScuError),
    /// The message was not complete: the peer cannot have stored it.
    #[error("broken off while sending: {0}")]
    Incomplete(ScuError),
    /// The message was complete, or may have been: the peer may have stored it (FLT-042, FLT-043).
    #[error("sent, but not answered: {0}")]
    Unanswered(ScuError),
    /// The source failed; a peer that was sent a part of the message was sent A-ABORT, and never a last fragment
    /// (DIM-053). If nothing was sent, the association stands: see [`Scu::is_alive`].
    #[error(transparent)]
    Source(SourceError),
}

/// An association over which instances can be stored, whoever opened it.
pub trait Stores: Send + Sync {
    /// The accepted context for a class in a syntax, in which the other side is SCP.
    fn context_for(&self, class: &str, syntax: &str) -> Option<u8>;

    /// What the other side said of the contexts of a class that it refused, if it answered an offer of ours.
    fn refusals(&self, _class: &str) -> Vec<&'static str> {
        Vec::new()
    }

    /// Stores one instance and waits for the answer; `length` is the size of the data set, if known.
    fn store(
        &mut self,
        command: StoreCommand,
        length: Option<u64>,
        source: &mut (impl Source + Sync),
    ) -> impl Future<Output = Result<StoreResponse, StoreFailure>> + Send;
}

impl Stores for Scu {
    fn context_for(&self, class: &str, syntax: &str) -> Option<u8> {
        let fits = |context: &&AcceptedContext| context.abstract_syntax == class && context.transfer_syntax == syntax;
        self.accepted().find(fits).map(|context| context.id)
    }

    fn refusals(&self, class: &str) -> Vec<&'static str> {
        let mut said: Vec<&str> = self.peer.refused.iter().filter(|(of, _)| of == class).map(|(_, why)| *why).collect();
        said.sort_unstable();
        said.dedup();
        said
    }

    async fn store(
        &mut self,
        command: StoreCommand,
        length: Option<u64>,
        source: &mut (impl Source + Sync),
    ) -> Result<StoreResponse, StoreFailure> {
        Scu::store(self, command, length, source).await
    }
}

impl Scu {
    /// Stores one instance and waits for the answer.
    ///
    /// `length` is the size of the data set, if known: a source that gives more or less fails like one that errs.
    /// The last fragment is sent only after the source has said that nothing follows. A refusal that comes before it is the answer: the rest
    /// is not sent, and the association is over (PS3.7 section 9.3.1.3; FLT-066). So it is after a status that is pending (DIM-054).
    pub async fn store(
        &mut self,
        command: StoreCommand,
        length: Option<u64>,
        source: &mut impl Source,
    ) -> Result<StoreResponse, StoreFailure> {
        self.alive().map_err(|lost| StoreFailure::NotSent(lost.into()))?;
        let context = command.context_id;
        let accepted = self.association.contexts().get(context);
        if accepted.is_none_or(|accepted| accepted.abstract_syntax != command.sop_class) {
            return Err(StoreFailure::NotSent(ScuError::ContextNotAccepted));
        }
        if let Err(lost) = self.association.listen().await {
            end(&mut self.association, &mut self.over, &lost).await;
            return Err(StoreFailure::NotSent(lost.into()));
        }
        let message_id = self.next_message_id();
        let message = (context, &request(&command, message_id));
        let early = match send(&mut self.association, &mut self.over, message, length, source).await? {
            Sent::Refused(response) => {
                self.refused = true;
                return Ok(response);
            }
            Sent::Whole { early } => early,
        };
        let response = self.response(context, field::C_STORE_RSP, message_id).await;
        let unanswered = |lost: Lost| StoreFailure::Unanswered(lost.into());
        let (response, status) = self.note(response).map_err(unanswered)?;
        if let Some(why) = belied(&command, &response, status, early) {
            let lost = self.association.violate(why);
            self.association.abort_now().await;
            return self.note(Err(lost)).map_err(unanswered);
        }
        // It is no answer to C-STORE, and announces another one, which is not to be taken for that to what is sent next.
        if status.class() == Class::Pending {
            let lost = self.association.give_up();
            end(&mut self.association, &mut self.over, &lost).await;
            self.refused = true;
        }
        Ok(answered(&response, status))
    }
}

/// What came of sending a message.
pub(in crate::dimse) enum Sent {
    /// All of it was sent; and whether something came that nobody could say of all of it.
    Whole { early: bool },
    /// The peer refused it before its end. The association is over.
    Refused(StoreResponse),
}

/// Sends a C-STORE-RQ with its data set; `over` is set when the association can be used no longer.
pub(in crate::dimse) async fn send(
    association: &mut Association,
    over: &mut Option<Lost>,
    (context, command): (u8, &CommandSet),
    length: Option<u64>,
    source: &mut impl Source,
) -> Result<Sent, StoreFailure> {
    let mut patience = Patience::moving(association.timers(), Phase::Sending);
    let mut held = association.begin(context, command);
    let before = association.sent();
    let (mut given, mut begun) = (0, false);
    // What came last, kept until it is known whether it ends the data set. Where the length says that it does not, it leaves before the
    // next is asked for: its memory may be what the next one waits for.
    let mut kept: Option<Bytes> = None;
    loop {
        let next = match part(source, length, &mut given).await {
            Ok(next) => next,
            Err(failure) => {
                // Of the command nothing leaves before the first of the data.
                if begun {
                    let lost = association.give_up();
                    over.get_or_insert(lost);
                    association.abort_now().await;
                }
                return Err(StoreFailure::Source(failure));
            }
        };
        let ends = next.is_none();
        let surely_more = length.is_some_and(|length| given < length);
        let (now, later) = match kept.take() {
            None if surely_more => (next, None),
            None => (None, next),
            kept => (kept, next),
        };
        kept = later;
        if let Some(bytes) = now {
            begun = true;
            let mut sent = association.send_data(context, &mut held, &bytes, ends, &mut patience).await;
            if sent.is_err() || !ends {
                sent = sent.and(association.overhear().await);
                if let Some(refusal) = refusal(association, context, command) {
                    let lost = sent.err().unwrap_or_else(|| association.give_up());
                    end(association, over, &lost).await;
                    return Ok(Sent::Refused(refusal));
                }
            }
            if let Err(lost) = sent {
                end(association, over, &lost).await;
                return Err(match association.sent() == before {
                    true => StoreFailure::NotSent(lost.into()),
                    false => StoreFailure::Incomplete(lost.into()),
                });
            }
        }
        if ends {
            break;
        }
    }
    // What has come by now was said before the last fragment was there.
    let early = association.has_input();
    // Whether what could not be pushed out arrived, only the peer knows, unless it has refused it.
    if let Err(lost) = association.flush(&mut patience).await {
        end(association, over, &lost).await;
        let unanswered = StoreFailure::Unanswered(lost.into());
        return refusal(association, context, command).map(Sent::Refused).ok_or(unanswered);
    }
    Ok(Sent::Whole { early })
}

/// The association can be used no longer.
async fn end(association: &mut Association, over: &mut Option<Lost>, lost: &Lost) {
    over.get_or_insert_with(|| lost.clone());
    association.abort_now().await;
}

/// The refusal of this message that came before its end.
fn refusal(association: &Association, context: u8, command: &CommandSet) -> Option<StoreResponse> {
    let (on, response) = association.early()?;
    let due = response.field() == field::C_STORE_RSP
        && association.contexts().may_answer(*on, context)
        && response.u16(element::MESSAGE_ID_RESPONDED_TO) == command.u16(element::MESSAGE_ID);
    let status = Status(response.u16(element::STATUS)?);
    (due && status.class() == Class::Failure).then(|| answered(response, status))
}

/// Why an answer by which the peer has stored something does not say so of what was sent. Its UIDs may be left out (PS3.7 section 9.1.1.1,
/// table 9.1-1); it comes after the last fragment (DIM-056).
pub(in crate::dimse) fn belied(
    command: &StoreCommand,
    response: &CommandSet,
    status: Status,
    early: bool,
) -> Option<&'static str> {
    let another = |uid: u16, sent: &str| response.text(uid).is_some_and(|named| !named.is_empty() && named != sent);
    match status.class() {
        Class::Success | Class::Warning if early => Some("an answer that says stored before all was sent"),
        Class::Success | Class::Warning if another(element::AFFECTED_SOP_INSTANCE_UID, &command.sop_instance) => {
            Some("an answer that says stored of another SOP instance than was sent")
        }
        Class::Success | Class::Warning if another(element::AFFECTED_SOP_CLASS_UID, &command.sop_class) => {
            Some("an answer that says stored of another SOP class than was sent")
        }
        _ => None,
    }
}

/// What a C-STORE-RSP says.
pub(in crate::dimse) fn answered(response: &CommandSet, status: Status) -> StoreResponse {
    let offending = match response.bytes(element::OFFENDING_ELEMENT) {
        Some(&[g0, g1, e0, e1, ..]) => Some(u32::from_be_bytes([g1, g0, e1, e0])),
        _ => None,
    };
    StoreResponse { status, comment: response.text(element::ERROR_COMMENT), offending }
}

/// The next part that is not empty. Errors if the source errs, gives nothing at all, or another length than was said.
async fn part(source: &mut impl Source, length: Option<u64>, given: &mut u64) -> Result<Option<Bytes>, SourceError> {
    loop {
        match source.next().await? {
            Some(part) if part.is_empty() => {}
            Some(part) => {
                *given += part.len() as u64;
                return match length {
                    Some(length) if *given > length => Err(SourceError("longer than it should be".into())),
                    _ => Ok(Some(part)),
                };
            }
            None if *given == 0 => return Err(SourceError("empty".into())),
            None if length.is_some_and(|length| *given != length) => {
                return Err(SourceError("shorter than it should be".into()));
            }
            None => return Ok(None),
        }
    }
}

pub(in crate::dimse) fn request(command: &StoreCommand, message_id: u16) -> CommandSet {
    let mut request = CommandSet::new(field::C_STORE_RQ, true)
        .with_uid(element::AFFECTED_SOP_CLASS_UID, &command.sop_class)
        .with_u16(element::MESSAGE_ID, message_id)
        .with_u16(element::PRIORITY, command.priority)
        .with_uid(element::AFFECTED_SOP_INSTANCE_UID, &command.sop_instance);
    if let Some((title, id)) = &command.move_originator {
        request = request
            .with_text(element::MOVE_ORIGINATOR_AE, title, 16)
            .with_u16(element::MOVE_ORIGINATOR_MESSAGE_ID, *id);
    }
    request
}
