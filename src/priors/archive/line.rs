//! One association to an archive for queries or moves, and how it fails.

use super::{Archive, keys};
use crate::dicom::attributes::QUERY_RETRIEVE_LEVEL;
use crate::dicom::charset::Charset;
use crate::dicom::query::identifier::{self, Identifier};
use crate::dicom::sop_class::STUDY_ROOT_FIND;
use crate::dicom::tag::Tag;
use crate::dimse::{self, Inquiry, Operation, Reply, Scu, ScuError, Status, status::Class};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Study Root, MOVE.
const MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";

/// Answers to one query that are read, those that repeat one another too.
const MOST_ANSWERS: usize = 200_000;
/// Bytes of values that are kept of them: some hundred of each of the most answers, and far more of each of the few.
const MOST_BYTES: usize = 64 << 20;

/// Why an archive did not do what it was asked. The text holds nothing of a patient.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Association(#[from] ScuError),
    #[error("it answered {0}")]
    Answered(Status),
    #[error("it did not answer within {} s", .0.as_secs_f32())]
    Late(Duration),
    #[error("its answer has more than {0} matches")]
    TooMuch(usize),
    #[error("its answer has more than {MOST_BYTES} bytes")]
    TooLong,
}

/// The values of an answer by tag.
pub(super) type Values = BTreeMap<Tag, String>;

/// The answers to one query so far.
#[derive(Default)]
struct Taken {
    found: Vec<Values>,
    /// The UIDs of what was found: some archives answer a series once for each of its instances.
    seen: BTreeSet<String>,
    answers: usize,
    unreadable: usize,
    /// Bytes of what was found.
    bytes: usize,
}

impl Taken {
    /// Hears one answer. One that cannot be read, or has no identifier, may be what was asked for.
    fn hear(
        &mut self,
        identifier: Option<&[u8]>,
        (explicit, charset): (bool, &Charset),
        wanted: &[Tag],
        unique: Option<Tag>,
    ) {
        self.answers += 1;
        match identifier.map(|bytes| Identifier::read_from(bytes, explicit, charset)) {
            Some(Ok(identifier)) => {
                let values = wanted.iter().filter_map(|tag| Some((*tag, identifier.text(*tag)?)));
                self.note(values.collect(), unique);
            }
            Some(Err(_)) | None => self.unreadable += 1,
        }
    }

    /// Takes an answer, each UID once. One without is no other's double.
    fn note(&mut self, values: Values, unique: Option<Tag>) {
        let uid = unique.and_then(|tag| values.get(&tag)).filter(|uid| !uid.is_empty());
        if uid.is_none_or(|uid| self.seen.insert(uid.clone())) {
            self.bytes += values.values().map(String::len).sum::<usize>();
            self.found.push(values);
        }
    }

    /// Why no more is taken, if no more is.
    fn is_too_much(&self, most: usize) -> Option<Failure> {
        if self.bytes > MOST_BYTES {
            return Some(Failure::TooLong);
        }
        (self.found.len() > most || self.answers > MOST_ANSWERS).then_some(Failure::TooMuch(most))
    }
}

/// An association for one kind of request.
pub(super) struct Line {
    scu: Scu,
    context: u8,
    explicit: bool,
    charset: Charset,
    /// The archive answers below a study without the unique keys above.
    pub(super) relational: bool,
    /// Answers that could not be read.
    pub(super) unreadable: usize,
}

impl Line {
    pub(super) async fn open(archive: &Archive, operation: Operation) -> Result<Self, Failure> {
        let class = if operation == Operation::Find { STUDY_ROOT_FIND } else { MOVE };
        let asks = operation == Operation::Find;
        let (scu, context, explicit) = dimse::connect_for_queries(&archive.target, class, asks).await?;
        let relational = asks && scu.is_relational(class);
        Ok(Self { scu, context, explicit, charset: archive.charset.clone(), relational, unreadable: 0 })
    }

    /// Asks for matches of keys, and gives their values, each match once; of more than `most`, none. A match that cannot be read is counted.
    pub(super) async fn find(&mut self, keys: &Values, quiet: Duration, most: usize) -> Result<Vec<Values>, Failure> {
        let found = Arc::new(Mutex::new(Taken::default()));
        let (explicit, unique, charset) = (self.explicit, keys::unique(keys), self.charset.clone());
        let wanted: Vec<Tag> = keys.keys().copied().filter(|tag| *tag != QUERY_RETRIEVE_LEVEL).collect();
        let taken = Arc::clone(&found);
        let each = move |reply: Reply| {
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.hear(reply.identifier.as_deref(), (explicit, &charset), &wanted, unique);
            if taken.is_too_much(most).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let bytes = identifier::write(keys, &self.charset, explicit);
        let asked = Inquiry {
            context_id: self.context,
            operation: Operation::Find,
            identifier: &bytes,
            destination: None,
            quiet,
        };
        let last = self.scu.ask(&asked, &CancellationToken::new(), each).await;
        let taken = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
        self.unreadable += taken.unreadable;
        if let Some(failure) = taken.is_too_much(most) {
            return Err(failure);
        }
        let last = last?;
        match last.status.class() {
            Class::Success => Ok(taken.found),
            _ => Err(Failure::Answered(last.status)),
        }
    }

    /// Asks the archive to move what the keys name to our title for that; `each` is given the pending answers.
    pub(super) async fn r#move(
        &mut self,
        archive: &Archive,
        keys: &Values,
        cancel: &CancellationToken,
        each: impl FnMut(Reply) -> ControlFlow<()> + Send,
    ) -> Result<Reply, Failure> {
        let bytes = identifier::write(keys, &Charset::default(), self.explicit);
        let asked = Inquiry {
            context_id: self.context,
            operation: Operation::Move,
            identifier: &bytes,
            destination: Some(&archive.settings.retrieve_ae),
            // Many archives say nothing until all is moved; who waits looks at what arrives.
            quiet: LONGEST_MOVE,
        };
        Ok(self.scu.ask(&asked, cancel, each).await?)
    }

    /// Ends the association; whatever the archive answers, what was asked has its answer.
    pub(super) async fn close(self) {
        let _ = self.scu.release().await;
    }
}

/// One move of a study may take so long.
const LONGEST_MOVE: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::attributes::{STUDY_DESCRIPTION, STUDY_INSTANCE_UID};

    fn answer(study: &str, description: &str) -> Vec<u8> {
        let values = [(STUDY_INSTANCE_UID, study.to_owned()), (STUDY_DESCRIPTION, description.to_owned())];
        identifier::write(&BTreeMap::from(values), &Charset::default(), true)
    }

    fn heard(taken: &mut Taken, bytes: Option<&[u8]>) {
        taken.hear(
            bytes,
            (true, &Charset::default()),
            &[STUDY_INSTANCE_UID, STUDY_DESCRIPTION],
            Some(STUDY_INSTANCE_UID),
        );
    }

    /// Each match counts once, and what cannot be read is not passed over.
    #[test]
    fn an_answer_that_cannot_be_read_or_says_nothing_is_counted() {
        let mut taken = Taken::default();
        for bytes in [Some(answer("1.2", "a")), Some(answer("1.2", "a")), Some(vec![0x08, 0x00, 0x20]), None] {
            heard(&mut taken, bytes.as_deref());
        }
        assert_eq!((taken.answers, taken.found.len(), taken.unreadable), (4, 1, 2));
        assert_eq!(taken.is_too_much(1), None);
        heard(&mut taken, Some(&answer("1.3", "a")));
        assert_eq!(taken.is_too_much(1), Some(Failure::TooMuch(1)));
    }

    #[test]
    fn what_is_kept_of_answers_is_bounded_in_bytes() {
        let mut taken = Taken { bytes: MOST_BYTES - 6, ..Taken::default() };
        for (study, want) in [("1.2", None), ("1.2", None), ("1.3", Some(Failure::TooLong))] {
            heard(&mut taken, Some(&answer(study, "abc")));
            assert_eq!(taken.is_too_much(10), want, "{study}");
        }
    }
}
