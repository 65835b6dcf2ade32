//! One answer of a site, part after part into intake, commits running beside it within a limit.

use super::run::{Course, FIRST_WAIT, LONGEST_WAIT};
use crate::dicom::part10::ReceivedMeta;
use crate::dicom::sop_class::may_be_storage;
use crate::dicom::uid::InstanceUid;
use crate::dicomweb::client::{MOST_LISTED, Part, Piece, Retrieval, RetrieveFailure};
use crate::intake::{Arrived, Claimed, Reception, Refusal};
use crate::priors::watch::{Came, Lost};
use crate::records::Kept;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// So many bytes are progress: less could be made to last for ever.
pub(super) const PROGRESS: u64 = 64 << 10;

/// What an answer came to.
pub(super) struct Taken {
    /// Instances that are durable now.
    pub(super) came: u64,
    /// When there last was progress, if there was any.
    pub(super) progress: Option<Instant>,
    /// The answer was all that was asked for, by its status, and all of it could be used.
    pub(super) whole: bool,
    /// Why the answer was not read to its end, if it was not.
    pub(super) stopped: Option<Stopped>,
}

/// Why an answer is not read on.
pub(super) enum Stopped {
    /// The site.
    Theirs(RetrieveFailure),
    /// This site: no room, no descriptors, a failed disk.
    Ours(String),
    /// Nobody waits for it any more.
    Abandoned,
}

/// What became of one instance of the answer.
enum Stored {
    Here(InstanceUid),
    Lost(InstanceUid, Lost),
    Failed(String),
}

/// An instance that is being received.
struct Current {
    reception: Reception,
    named: Option<InstanceUid>,
    digest: Option<[u8; 32]>,
}

struct Taking<'c, 'a> {
    course: &'c mut Course<'a>,
    wanted: Option<InstanceUid>,
    missing: &'c BTreeSet<InstanceUid>,
    current: Option<Current>,
    room: Arc<Semaphore>,
    permits: u32,
    commits: JoinSet<Stored>,
    came: u64,
    /// Something of the answer could not be used.
    flawed: bool,
    /// The bytes that had come when there last was progress, when that was, and the next wait.
    mark: (u64, Instant, Duration),
}

/// Retrieves a part of a study and takes what is missing of it.
pub(super) async fn take(course: &mut Course<'_>, part: &Part, missing: &BTreeSet<InstanceUid>) -> Taken {
    let most = match part {
        Part::Instance(..) => 1,
        // It may have got some since it listed them, or have listed fewer than it has.
        Part::Study | Part::Series(_) => u32::try_from(MOST_LISTED).unwrap_or(u32::MAX),
    };
    let (client, study) = (&course.site.client, &course.pull.study);
    let began = match part {
        // What is one body can be resumed.
        Part::Instance(series, instance) if course.asks_alone(instance) => {
            client.retrieve_alone(study, series, instance).await
        }
        _ => client.retrieve(study, part, most).await,
    };
    let mut retrieval = match began {
        Ok(retrieval) => retrieval,
        Err(failure) => {
            let stopped = Some(Stopped::Theirs(failure));
            return Taken { came: 0, progress: None, whole: false, stopped };
        }
    };
    let permits = u32::try_from(course.inner.options.commit_bytes >> 10).unwrap_or(u32::MAX).max(1);
    let wanted = if let Part::Instance(_, instance) = part { Some(instance.clone()) } else { None };
    let mut taking = Taking {
        course,
        wanted,
        missing,
        current: None,
        room: Arc::new(Semaphore::new(permits as usize)),
        permits,
        commits: JoinSet::new(),
        came: 0,
        flawed: retrieval.is_in_part(),
        mark: (0, Instant::now(), FIRST_WAIT),
    };
    let mut stopped = taking.read(&mut retrieval).await.err();
    let bytes = retrieval.came();
    drop(retrieval);
    while let Some(done) = taking.commits.join_next().await {
        let stored = done.unwrap_or_else(|_| Stored::Failed("a commit failed unexpectedly".into()));
        if let Some(ours) = taking.settle(stored) {
            stopped = Some(Stopped::Ours(ours));
        }
    }
    // What was spent in vain on going on with an instance is spent, and not to be had once more.
    if taking.came > 0 || bytes >= taking.mark.0 + PROGRESS {
        taking.mark.1 = Instant::now();
    }
    let progress = (taking.came > 0 || bytes >= PROGRESS).then_some(taking.mark.1);
    Taken { came: taking.came, progress, whole: stopped.is_none() && !taking.flawed, stopped }
}

impl Taking<'_, '_> {
    async fn read(&mut self, retrieval: &mut Retrieval) -> Result<(), Stopped> {
        loop {
            let piece = match retrieval.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok(()),
                Err(RetrieveFailure::BrokeOff(why)) if retrieval.can_resume() => {
                    self.resume(retrieval, why).await?;
                    continue;
                }
                Err(failure) => return Err(Stopped::Theirs(failure)),
            };
            if self.course.pull.is_abandoned() {
                return Err(Stopped::Abandoned);
            }
            match piece {
                Piece::Begin { meta, digest } => self.begin(*meta, digest).await?,
                Piece::Data(bytes) => self.data(&bytes).await?,
                Piece::End => self.end().await?,
                Piece::Bad(why) => {
                    let named = self.current.take().and_then(|current| current.named);
                    self.unusable(named, &why);
                }
            }
            while let Some(done) = self.commits.try_join_next() {
                let stored = done.unwrap_or_else(|_| Stored::Failed("a commit failed unexpectedly".into()));
                if let Some(ours) = self.settle(stored) {
                    return Err(Stopped::Ours(ours));
                }
            }
        }
    }

    /// Goes on with the instance in hand where its answer broke off; what has come of it stays in the store's unfinished object. It is
    /// given up when there was no progress for as long as the patience for a pull lasts (WEB-103).
    async fn resume(&mut self, retrieval: &mut Retrieval, why: String) -> Result<(), Stopped> {
        if retrieval.came() >= self.mark.0 + PROGRESS {
            self.mark = (retrieval.came(), Instant::now(), FIRST_WAIT);
        }
        tracing::info!(site = %self.course.site.name, study = %self.course.pull.study, why, "an instance is resumed where it broke off");
        loop {
            let (_, since, wait) = self.mark;
            if self.course.pull.is_abandoned() {
                return Err(Stopped::Abandoned);
            }
            if since.elapsed() >= self.course.inner.options.patience {
                return Err(Stopped::Theirs(RetrieveFailure::BrokeOff(why)));
            }
            self.mark.2 = (wait * 2).min(LONGEST_WAIT);
            tokio::time::sleep(wait).await;
            match retrieval.resume().await {
                Ok(()) => return Ok(()),
                Err(RetrieveFailure::NotAnswered(_)) => {}
                Err(RetrieveFailure::Refused { status: 408 | 429 | 502..=504, retry_after }) => {
                    self.mark.2 = retry_after.unwrap_or(self.mark.2).min(self.course.inner.options.patience);
                }
                Err(failure) => return Err(Stopped::Theirs(failure)),
            }
        }
    }

    /// An instance begins; what is here already is passed over.
    async fn begin(&mut self, meta: ReceivedMeta, digest: Option<[u8; 32]>) -> Result<(), Stopped> {
        self.current = None;
        let named = meta.sop_instance.clone().or_else(|| self.wanted.clone());
        if let Some(named) = named.as_ref().filter(|named| self.course.settled.contains(*named)) {
            self.course.given.insert(named.clone());
            return Ok(());
        }
        let claimed = Claimed {
            sop_class: meta.sop_class,
            // One that was asked for by its name must be that one, whatever its file says.
            sop_instance: self.wanted.clone().or(meta.sop_instance),
            study: Some(self.course.pull.study.clone()),
            transfer_syntax: meta.transfer_syntax,
        };
        match self.course.inner.intake.receive(claimed, None).await {
            Ok(reception) => self.current = Some(Current { reception, named, digest }),
            Err(refusal) => self.refused(named, &refusal)?,
        }
        Ok(())
    }

    async fn data(&mut self, bytes: &Bytes) -> Result<(), Stopped> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if let Err(refusal) = current.reception.write(bytes).await {
            let named = self.current.take().and_then(|current| current.named);
            self.refused(named, &refusal)?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Stopped> {
        let Some(Current { reception, named, digest }) = self.current.take() else { return Ok(()) };
        let arrived = match reception.finish().await {
            Ok(arrived) => arrived,
            Err(refusal) => return self.refused(named, &refusal),
        };
        if digest.is_some_and(|digest| digest != arrived.digest().0) {
            self.unusable(named, "it does not agree with the digest that the site gave");
        } else if !may_be_storage(arrived.head().sop_class.as_str()) {
            self.unusable(named, "it is no object of a storage class");
        } else {
            self.commit(arrived).await;
        }
        Ok(())
    }

    /// Commits beside the reading; each is told of as soon as it is durable.
    async fn commit(&mut self, arrived: Arrived) {
        let bytes = arrived.length();
        let permits = u32::try_from((bytes >> 10) + 1).unwrap_or(u32::MAX).min(self.permits);
        let Ok(permit) = Arc::clone(&self.room).acquire_many_owned(permits).await else { return };
        let source = self.course.inner.source(self.course.site, self.course.word.clone());
        let intake = self.course.inner.intake.clone();
        let pull = Arc::clone(self.course.pull);
        let instance = arrived.head().sop_instance.clone();
        self.commits.spawn(async move {
            let committed = intake.commit(source, arrived).await;
            drop(permit);
            match committed.map(|receipt| receipt.kept) {
                Ok(Kept::Stored { instance: id } | Kept::Same { instance: id, .. }) => {
                    pull.note(Came::Here(instance.clone(), id), bytes);
                    Stored::Here(instance)
                }
                Ok(Kept::Differs { .. }) => {
                    let why = "another content is kept here under its UID; it is held for a person".to_owned();
                    Stored::Lost(instance, Lost::NotTaken(why))
                }
                Ok(Kept::BlobGone | Kept::Rerouted) => Stored::Failed("it was not recorded".into()),
                Err(refusal) => Stored::Failed(refusal.to_string()),
            }
        });
    }

    /// What a commit came to; the words say that this site cannot go on.
    fn settle(&mut self, stored: Stored) -> Option<String> {
        match stored {
            Stored::Here(instance) => {
                self.course.given.insert(instance.clone());
                if self.course.pull.is_refiled() {
                    self.course.inner.refiled.given_again(&instance, Instant::now());
                }
                self.came += u64::from(self.course.settled.insert(instance));
                None
            }
            Stored::Lost(instance, why) => {
                self.flawed = true;
                self.course.lose(instance, why);
                None
            }
            Stored::Failed(why) => Some(why),
        }
    }

    /// What intake refused: is it the instance's fault, or ours?
    fn refused(&mut self, named: Option<InstanceUid>, refusal: &Refusal) -> Result<(), Stopped> {
        self.flawed = true;
        match refusal {
            Refusal::NoRoom | Refusal::Exhausted | Refusal::Stopping | Refusal::Poisoned(_) => {
                Err(Stopped::Ours(refusal.to_string()))
            }
            // Another study's object says nothing of the one whose name it bears.
            Refusal::OtherStudy | Refusal::OtherInstance => {
                tracing::warn!(site = %self.course.site.name, study = %self.course.pull.study, "a site gave what was not asked for");
                Ok(())
            }
            other => {
                self.unusable(named, &other.to_string());
                Ok(())
            }
        }
    }

    /// An instance that was asked for alone and cannot be used does not come; with others, it is asked for once more by itself.
    fn unusable(&mut self, named: Option<InstanceUid>, why: &str) {
        self.flawed = true;
        tracing::warn!(site = %self.course.site.name, study = %self.course.pull.study, why, "what a site gave cannot be used");
        if let (Some(_), Some(named)) = (&self.wanted, named)
            && self.missing.contains(&named)
        {
            self.course.lose(named, Lost::Unusable(why.to_owned()));
        }
    }
}
