//! The verification of the records by themselves, beside the work (LED-006): in pieces, and what the last one came to.

use super::proof::Report;
use super::sqlite::verify::pieces::{Apart, Brake};
#[cfg(test)]
use super::sqlite::verify::pieces::{PIECE, Pieces};
use super::sqlite::{also_said, unlike, verified};
use super::{BlobId, InstanceId, Records, RecordsError};
use crate::dicom::head::Head;
use crate::dicom::uid::{InstanceUid, TransferSyntaxUid};
use std::sync::Arc;
use std::time::SystemTime;

/// What a verification came to. No patient data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// Entries that were walked.
    pub entries: u64,
    /// How much was wrong.
    pub problems: u64,
    /// The first entry that is wrong, if one is.
    pub first_bad: Option<u64>,
    /// The first of what was wrong, in words.
    pub first: Option<String>,
    /// When the last ended that found nothing wrong.
    pub sound: Option<SystemTime>,
}

impl Verified {
    /// What a report says; `last` is what the verification before came to.
    pub fn of(report: &Report, began: SystemTime, ended: SystemTime, last: Option<&Self>) -> Self {
        let sound = if report.is_sound() { Some(ended) } else { last.and_then(|last| last.sound) };
        Self {
            began,
            ended,
            entries: report.head.size,
            problems: report.problems.len() as u64 + report.more,
            first_bad: report.first_bad,
            first: report.problems.first().cloned(),
            sound,
        }
    }

    /// Whether nothing was wrong.
    pub fn is_sound(&self) -> bool {
        self.problems == 0
    }
}

/// An instance of which the catalogue says something else than its data set (FLT-025). No patient data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike {
    /// Its bytes.
    pub blob: BlobId,
    /// Its number.
    pub instance: InstanceId,
    /// Its SOP Instance UID.
    pub uid: InstanceUid,
    /// The attributes that differ, by their keywords.
    pub what: String,
}

impl Unlike {
    /// What differs where the transfer syntax in the catalogue is none.
    pub const SYNTAX: &'static str = "TransferSyntaxUID";
}

/// All that was found to differ and is not known to be right again (FLT-025).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllUnlike {
    /// 100 instances at most.
    pub noted: Vec<Unlike>,
    /// More were found than are noted. So until all blobs were read again and no more were found.
    pub more: bool,
}

/// A verification under way. Dropped, it ends.
pub struct Verification {
    records: Records,
    brake: Arc<Brake>,
    /// `None` before the first piece, and once it has ended.
    work: Option<Apart>,
    /// The same in a simulation, through the writer's connection.
    #[cfg(test)]
    inline: Option<Pieces>,
}

impl Drop for Verification {
    fn drop(&mut self) {
        self.brake.pull();
    }
}

impl Verification {
    /// Does the next piece: some thousand entries or rows, or a table. The report, if that was the last. After it, and after an error, it
    /// begins anew.
    ///
    /// Errors say that it could not be verified, not that anything is wrong.
    pub async fn go_on(&mut self) -> Result<Option<Report>, RecordsError> {
        #[cfg(test)]
        if let Some(inline) = self.records.inner.readers.inline() {
            let begun = self.inline.take();
            let mut pieces = begun.map_or_else(|| Pieces::new(PIECE, Arc::clone(&self.brake)), Ok)?;
            let ended = inline.look(|conn| pieces.go_on(conn)).await?;
            if ended {
                return Ok(Some(pieces.report()));
            }
            self.inline = Some(pieces);
            return Ok(None);
        }
        let (readers, brake, work) = (self.records.inner.readers.clone(), Arc::clone(&self.brake), self.work.take());
        let piece = move || work.map_or_else(|| Apart::new(&readers, &brake), Ok)?.go_on();
        match tokio::task::spawn_blocking(piece).await {
            Ok(Ok(Ok(work))) => {
                self.work = Some(work);
                Ok(None)
            }
            Ok(Ok(Err(report))) => Ok(Some(report)),
            Ok(Err(error)) => Err(error),
            Err(died) => Err(RecordsError::Database(format!("the verification ended early: {died}"))),
        }
    }
}

impl Records {
    /// A verification in pieces (LED-006), each of which looks at one moment of the records, and not for long: what
    /// [`Self::verify_ledger`] looks at, but for pages that belong to no table. Rows are compared as they stand when it comes to them.
    pub fn verification(&self) -> Verification {
        Verification {
            records: self.clone(),
            brake: Arc::default(),
            work: None,
            #[cfg(test)]
            inline: None,
        }
    }

    /// What the last verification came to; `None` if there was none, or if the note of it cannot be read.
    pub async fn verified(&self) -> Result<Option<Verified>, RecordsError> {
        self.inner.readers.ask(verified::find).await
    }

    /// Notes what a verification came to.
    pub async fn note_verified(&self, verified: Verified) -> Result<(), RecordsError> {
        self.commit(move |tx| verified::note(tx, &verified)).await
    }

    /// The transfer syntax in which a blob is to be read, or that the catalogue names none; `None` if it is no instance's.
    pub async fn syntax_of(&self, blob: BlobId) -> Result<Option<Result<TransferSyntaxUid, Unlike>>, RecordsError> {
        self.inner.readers.ask(move |conn| unlike::syntax(conn, blob)).await
    }

    /// Compares what the catalogue says of the instances of a blob with the head of its data set, and of their study and series where
    /// that is what these were taken from (FLT-025). Gives those that differ. What the head says that the first of the study or series did
    /// not is kept, if the instance came before such was kept (SEC-022).
    pub async fn compare_with(&self, blob: BlobId, head: Head) -> Result<Vec<Unlike>, RecordsError> {
        let (found, missed) = self
            .inner
            .readers
            .ask(move |conn| Ok((unlike::compare(conn, blob, &head)?, also_said::missed(conn, blob, &head)?)))
            .await?;
        if !missed.is_empty() {
            let keep = self.commit(move |tx| {
                missed.iter().try_for_each(|(study, series, said)| also_said::keep(tx, *study, *series, said))
            });
            keep.await?;
        }
        Ok(found)
    }

    /// What was found to differ and is not known to be right again.
    pub async fn unlike(&self) -> Result<AllUnlike, RecordsError> {
        self.inner.readers.ask(unlike::noted).await
    }

    /// Notes what was found of a blob, in place of what was noted of it before.
    pub async fn note_unlike(&self, blob: BlobId, found: Vec<Unlike>) -> Result<(), RecordsError> {
        self.commit(move |tx| unlike::note(tx, blob, &found)).await
    }
}
