//! C-FIND and C-MOVE as a requestor: one request, pending answers one by one, a cancel, the final answer (PS3.7 sections 9.1.2, 9.1.4).

use super::{Scu, ScuError};
use crate::dicom::ae_title::AeTitle;
use crate::dimse::association::{Incoming, Lost};
use crate::dimse::channel::Patience;
use crate::dimse::message::{CommandSet, element, field};
use crate::dimse::scp::{Counts, MAX_IDENTIFIER_BYTES, Operation};
use crate::dimse::status::{Class, Status};
use crate::dimse::timers::Phase;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// What to ask.
pub struct Inquiry<'a> {
    /// An accepted context; its abstract syntax is the SOP class, its transfer syntax that of identifiers both ways.
    pub context_id: u8,
    /// Find or move.
    pub operation: Operation,
    /// The identifier, encoded; not empty, of even length.
    pub identifier: &'a [u8],
    /// Where to, for a move.
    pub destination: Option<&'a AeTitle>,
    /// How long the peer may say nothing between two answers.
    pub quiet: Duration,
}

/// One answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status (0000,0900); a final one is not pending.
    pub status: Status,
    /// Error Comment, as it came.
    pub comment: Option<String>,
    /// The counts of sub-operations that it gives; they are optional, and nothing relies on them (DIM-091).
    pub counts: Counts,
    /// The identifier, encoded; at most [`MAX_IDENTIFIER_BYTES`].
    pub identifier: Option<Vec<u8>>,
}

/// `Debug` prints no patient (SEC-010).
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reply({}, {:?})", self.status, self.counts)
    }
}

/// How long a peer may go on with answers that nobody wants, once told.
const DEAF: Duration = Duration::from_secs(5);

impl Scu {
    /// Asks and waits for the final answer. Each pending answer is given to `each`; when that breaks off, or `cancel` is
    /// cancelled, the peer is sent a C-CANCEL. After `cancel` it has the response timer's time to end, as a sub-operation may be under
    /// way. After a break it has five seconds at most: many go on until all is said, and some read nothing while they have something to say.
    ///
    /// On error the association is over. Dropping the future leaves it unusable; drop it too.
    pub async fn ask(
        &mut self,
        inquiry: &Inquiry<'_>,
        cancel: &CancellationToken,
        each: impl FnMut(Reply) -> ControlFlow<()> + Send,
    ) -> Result<Reply, ScuError> {
        self.alive()?;
        let context = self.association.contexts().get(inquiry.context_id).ok_or(ScuError::ContextNotAccepted)?;
        let class = context.abstract_syntax.clone();
        let id = self.next_message_id();
        let asked = match self.put(inquiry, &class, id).await {
            Ok(()) => self.hear(inquiry, id, cancel, each).await,
            Err(lost) => Err(lost),
        };
        if asked.is_err() {
            self.association.abort_now().await;
        }
        Ok(self.note(asked)?)
    }

    /// Sends the request with its identifier.
    async fn put(&mut self, inquiry: &Inquiry<'_>, class: &str, id: u16) -> Result<(), Lost> {
        let field = match inquiry.operation {
            Operation::Find => field::C_FIND_RQ,
            Operation::Get => field::C_GET_RQ,
            Operation::Move => field::C_MOVE_RQ,
        };
        let mut command = CommandSet::new(field, true)
            .with_uid(element::AFFECTED_SOP_CLASS_UID, class)
            .with_u16(element::MESSAGE_ID, id)
            .with_u16(element::PRIORITY, 0);
        if let Some(title) = inquiry.destination {
            command = command.with_text(element::MOVE_DESTINATION, title.as_str(), 16);
        }
        let mut patience = Patience::moving(self.association.timers(), Phase::Sending);
        let mut held = self.association.begin(inquiry.context_id, &command);
        self.association.send_data(inquiry.context_id, &mut held, inquiry.identifier, true, &mut patience).await?;
        self.association.flush(&mut patience).await
    }

    async fn hear(
        &mut self,
        inquiry: &Inquiry<'_>,
        id: u16,
        cancel: &CancellationToken,
        mut each: impl FnMut(Reply) -> ControlFlow<()> + Send,
    ) -> Result<Reply, Lost> {
        let context = inquiry.context_id;
        let response = self.association.timers().response;
        // By the clock, as one who never stops talking is never waited for.
        let mut end: Option<Instant> = None;
        loop {
            let mut quiet = Patience::until(inquiry.quiet, Phase::Response);
            let incoming = tokio::select! {
                biased;
                () = cancel.cancelled(), if end.is_none() => None,
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => {
                    return Err(Lost::Timeout(Phase::Response));
                }
                // A half-read message waits in the association, so that this may be dropped at any time.
                incoming = self.association.next_message(&mut quiet) => Some(incoming?),
            };
            let Some(incoming) = incoming else {
                self.cancel(context, id).await?;
                end = Some(Instant::now() + response);
                continue;
            };
            let answer = self.answer(incoming, inquiry, id).await?;
            if answer.status.class() != Class::Pending {
                return Ok(answer);
            }
            if each(answer).is_break() && end.is_none() {
                self.cancel(context, id).await?;
                end = Some(Instant::now() + response.min(DEAF));
            }
        }
    }

    /// Names the message and nothing else (PS3.7 section 9.3.2.3).
    async fn cancel(&mut self, context: u8, id: u16) -> Result<(), Lost> {
        let command = CommandSet::new(field::C_CANCEL_RQ, false).with_u16(element::MESSAGE_ID_RESPONDED_TO, id);
        self.association.send_command(context, &command).await
    }

    /// The answer that a message is, with its identifier.
    async fn answer(&mut self, incoming: Incoming, inquiry: &Inquiry<'_>, id: u16) -> Result<Reply, Lost> {
        let Incoming::Message(on, response) = incoming else {
            let _ = self.association.answer_release().await;
            return Err(Lost::Closed);
        };
        let expected = match inquiry.operation {
            Operation::Find => field::C_FIND_RSP,
            Operation::Get => field::C_GET_RSP,
            Operation::Move => field::C_MOVE_RSP,
        };
        let due = on == inquiry.context_id
            && response.field() == expected
            && response.u16(element::MESSAGE_ID_RESPONDED_TO) == Some(id);
        let Some(status) = response.u16(element::STATUS).filter(|_| due) else {
            return Err(self.association.violate("a message that is not the answer that was due"));
        };
        // Where there can be none the next message may follow at once, whatever was announced.
        let identifier = match response.has_data_set() && !response.is_bare() {
            true => Some(self.identifier().await?),
            false => None,
        };
        let count = |element| response.u16(element).map(u64::from);
        let counts = Counts {
            remaining: count(element::REMAINING),
            completed: count(element::COMPLETED).unwrap_or_default(),
            failed: count(element::FAILED).unwrap_or_default(),
            warning: count(element::WARNING).unwrap_or_default(),
        };
        Ok(Reply { status: Status(status), comment: response.text(element::ERROR_COMMENT), counts, identifier })
    }

    async fn identifier(&mut self) -> Result<Vec<u8>, Lost> {
        let mut patience = Patience::moving(self.association.timers(), Phase::Receiving);
        let mut whole = Vec::new();
        while let Some(range) = self.association.chunk(&mut patience).await? {
            let bytes = self.association.bytes(range);
            if whole.len() + bytes.len() > MAX_IDENTIFIER_BYTES {
                return Err(self.association.violate("an identifier that is too long"));
            }
            whole.extend_from_slice(bytes);
        }
        Ok(whole)
    }
}
