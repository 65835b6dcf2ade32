//! The words and commits of keeping house: what may be purged, what was, what is damaged, what lies where.

use super::arrival::{BlobId, ExceptionId, InstanceId};
use super::judging::signed;
use super::sqlite::acts::PAGE;
#[cfg(test)]
use super::sqlite::inline::committed::{Committed, committed};
use super::sqlite::{backup, began, blobs, heal, jump, purge, scrub, seen, stuck, unlike};
use super::{Cursor, Records, RecordsError};
use crate::dicom::uid::StudyUid;
use crate::ledger::generation::Stays;
use crate::store::{Digest, Place};
use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

/// Why bytes were purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeRule {
    /// They were kept for as long as they are kept at most.
    Age,
    /// The disk was short of room, and they had been kept for as long as they are kept at least.
    Room,
    /// A person dropped them.
    Dropped,
}

impl PurgeRule {
    /// The word that ledger and answers use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Room => "room",
            Self::Dropped => "dropped",
        }
    }

    /// The rule that a word names.
    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Age, Self::Room, Self::Dropped].into_iter().find(|rule| rule.word() == word)
    }
}

impl fmt::Display for PurgeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A purge that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purging {
    /// By which rule.
    pub rule: PurgeRule,
    /// Only what neither arrived nor was done anywhere after this; `None` when a person has decided, who may also drop what
    /// no route chose.
    pub before: Option<SystemTime>,
    /// The person.
    pub who: Option<String>,
    /// Why, in the person's words.
    pub reason: Option<String>,
}

impl Purging {
    /// By a rule of retention.
    pub fn by_rule(rule: PurgeRule, before: SystemTime) -> Self {
        Self { rule, before: Some(before), who: None, reason: None }
    }

    /// The same, at once because a person asked for it, who must give a name and may give a reason.
    pub fn asked_by(self, who: &str, reason: &str) -> Result<Self, RecordsError> {
        if who.trim().is_empty() {
            return Err(RecordsError::Refused("to purge needs a name".into()));
        }
        let reason = Some(reason.to_owned()).filter(|reason| !reason.trim().is_empty());
        Ok(Self { who: Some(who.to_owned()), reason, ..self })
    }

    /// By a person, who must give a name and a reason.
    pub fn by(who: &str, reason: &str) -> Result<Self, RecordsError> {
        if who.trim().is_empty() || reason.trim().is_empty() {
            return Err(RecordsError::Refused("to drop bytes needs a name and a reason".into()));
        }
        let (who, reason) = (Some(who.to_owned()), Some(reason.to_owned()));
        Ok(Self { rule: PurgeRule::Dropped, before: None, who, reason })
    }
}

/// An instance whose bytes may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub instance: InstanceId,
    /// Bytes of its data set.
    pub bytes: u64,
    /// When it last arrived or was done somewhere.
    pub done: SystemTime,
}

/// What a purge came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purged {
    /// Instances whose bytes are gone for this site.
    pub instances: u64,
    /// Bytes that become free.
    pub bytes: u64,
    /// Generations to free now, after the commit.
    pub blobs: Vec<(BlobId, Place)>,
    /// What was left, and why.
    pub kept: Vec<(InstanceId, Stays)>,
}

/// One reading of all blobs, under way or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubPass {
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: Option<SystemTime>,
    /// The last generation that was read.
    pub after: BlobId,
    /// Blobs read.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Blobs that were set aside.
    pub damaged: u64,
}

impl ScrubPass {
    /// A pass that begins.
    pub fn begin(now: SystemTime) -> Self {
        Self { began: now, ended: None, after: BlobId(0), blobs: 0, bytes: 0, damaged: 0 }
    }
}

/// What lies in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileUse {
    /// Its number.
    pub file: u64,
    /// Live blobs.
    pub live: u64,
    /// Their bytes, without labels and padding.
    pub live_bytes: u64,
    /// Blobs that are condemned or set aside.
    pub others: u64,
}

/// A narrower choice of studies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StudyState {
    /// With instances that no route chose.
    Unrouted,
    /// With instances whose bytes were purged.
    Purged,
    /// With instances whose bytes are damaged or missing.
    Damaged,
}

/// What is kept of a study. No patient data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptStudy {
    /// Where the next page starts.
    pub number: i64,
    /// Its UID.
    pub study_instance_uid: StudyUid,
    /// Instances, every version.
    pub instances: u64,
    /// Of which the bytes are here.
    pub kept: u64,
    /// Those bytes.
    pub kept_bytes: u64,
    /// Of which the bytes were purged.
    pub purged: u64,
    /// Of which the bytes are damaged or missing.
    pub damaged: u64,
    /// Of which no route chose a destination.
    pub unrouted: u64,
    /// When the first arrived.
    pub first_received: SystemTime,
    /// When the last arrived.
    pub last_received: SystemTime,
}

impl Records {
    /// When these records were begun, until a person says that this was meant.
    pub async fn began(&self) -> Result<Option<SystemTime>, RecordsError> {
        self.inner.readers.ask(began::find).await
    }

    /// A person says that these records were meant to be begun, with a name and perhaps a reason, which is entered; whether that was still
    /// to be said.
    pub async fn beginning_was_meant(&self, who: &str, reason: &str, now: SystemTime) -> Result<bool, RecordsError> {
        if who.trim().is_empty() {
            return Err(RecordsError::Refused("to say that this was meant needs a name".into()));
        }
        let (who, reason) = (who.to_owned(), reason.to_owned());
        self.commit(move |tx| began::forget(tx, (&who, &reason), now)).await
    }

    /// A person says that these records are the right ones for the blobs beside them, with a name, which is entered.
    pub async fn were_accepted(&self, who: &str, now: SystemTime) -> Result<(), RecordsError> {
        if who.trim().is_empty() {
            return Err(RecordsError::Refused("to accept these records needs a name".into()));
        }
        let who = who.to_owned();
        self.commit(move |tx| began::enter(tx, "accepted", (&who, ""), now)).await
    }

    /// Instances whose bytes may go if nothing happened to them since `before`, the first received first, after a place in that
    /// order, and where to go on if there may be more. `limit` is how many are looked at; 0 means 1,000, which is also the most.
    pub async fn purgeable(
        &self,
        before: SystemTime,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Candidate>, Option<Cursor>), RecordsError> {
        let after = after.unwrap_or(Cursor(i64::MIN, 0));
        self.inner.readers.ask(move |conn| purge::candidates(conn, before, after, limit)).await
    }

    /// Records that the bytes of instances are to be deleted, where the rules allow it at this very moment (INV-06), at most
    /// 1,000 of them. Gives the generations to free afterwards.
    pub async fn condemn(
        &self,
        instances: Vec<InstanceId>,
        purging: Purging,
        now: SystemTime,
    ) -> Result<Purged, RecordsError> {
        if instances.len() > PAGE {
            return Err(RecordsError::Refused(format!("more than {PAGE} instances at once")));
        }
        self.commit(move |tx| {
            let purged = purge::condemn(tx, &instances, &purging, now)?;
            #[cfg(test)]
            committed(|| Committed::Condemned {
                instances: instances.clone(),
                purging: purging.clone(),
                purged: purged.clone(),
            });
            Ok(purged)
        })
        .await
    }

    /// Notes that condemned generations have been freed; nothing of them is on disk any more.
    pub async fn freed(&self, blobs: Vec<BlobId>) -> Result<(), RecordsError> {
        self.commit(move |tx| {
            purge::freed(tx, &blobs)?;
            #[cfg(test)]
            committed(|| Committed::Freed(blobs.clone()));
            Ok(())
        })
        .await
    }

    /// Sets a condemned generation aside whose room cannot be given back, since what lies at that place is not labelled as its own: it is
    /// neither tried again nor deleted, and an exception says so. `false` if it is not condemned there.
    pub async fn stuck(&self, blob: BlobId, place: Place, why: &str, now: SystemTime) -> Result<bool, RecordsError> {
        let why = why.to_owned();
        self.commit(move |tx| {
            let stuck = stuck::stuck_at(tx, (blob, place), &why, now)?;
            #[cfg(test)]
            committed(|| Committed::Stuck(blob));
            Ok(stuck)
        })
        .await
    }

    /// Condemns a generation again that was set aside because it could not be freed, now that it can; `false` if it is none of these.
    pub async fn condemn_again(&self, blob: BlobId, place: Place, now: SystemTime) -> Result<bool, RecordsError> {
        self.commit(move |tx| stuck::condemn_again(tx, (blob, place), now)).await
    }

    /// Sets a generation aside whose bytes at a place are damaged or missing (REL-07, FLT-027): it is never used again, its
    /// transfers are held, and the same instance arriving anew releases them. `false` if it is not live at that place any more.
    pub async fn damaged(&self, blob: BlobId, place: Place, why: &str, now: SystemTime) -> Result<bool, RecordsError> {
        let why = why.to_owned();
        self.commit(move |tx| {
            let set_aside = blobs::damaged_at(tx, (blob, place), &why, now)?;
            #[cfg(test)]
            committed(|| Committed::Damaged { blob, now, set_aside });
            Ok(set_aside)
        })
        .await
    }

    /// Sets an instance aside whose bytes, read at a place, no longer agree with their digest (REL-07): its generation is never used
    /// again, its transfers are held, and the same instance arriving anew releases them. The bytes stay on disk. `false` if its bytes
    /// are not live there any more: what was read says nothing of those that it has now.
    pub async fn corrupt(
        &self,
        instance: InstanceId,
        place: Place,
        why: &str,
        now: SystemTime,
    ) -> Result<bool, RecordsError> {
        let why = why.to_owned();
        self.commit(move |tx| {
            let set_aside = blobs::corrupt(tx, (instance, place), &why, now)?;
            #[cfg(test)]
            if set_aside {
                committed(|| Committed::Corrupt(instance, now));
            }
            Ok(set_aside)
        })
        .await
    }

    /// As [`Self::corrupt`], where its bytes lie now.
    #[cfg(test)]
    pub(crate) async fn corrupt_here(
        &self,
        instance: InstanceId,
        why: &str,
        now: SystemTime,
    ) -> Result<bool, RecordsError> {
        let why = why.to_owned();
        self.commit(move |tx| {
            let lies = blobs::place_of(tx, instance)?;
            blobs::corrupt(tx, (instance, lies), &why, now)
        })
        .await
    }

    /// Brings back a generation that was set aside and now reads whole at that place: its instances are what they were, and what was
    /// held for the damage goes on. `false` if it is not set aside there, or the same bytes have arrived meanwhile.
    pub async fn sound(&self, blob: BlobId, place: Place, now: SystemTime) -> Result<bool, RecordsError> {
        self.commit(move |tx| {
            let sound = heal::sound_at(tx, (blob, place), now)?;
            #[cfg(test)]
            committed(|| Committed::Sound(blob));
            Ok(sound)
        })
        .await
    }

    /// Ends an exception about damaged bytes that a person has seen, who must give a name and a reason. What is owed of them stays held,
    /// and the same instance arriving anew, or reading whole again, releases it.
    pub async fn damage_seen(
        &self,
        exception: ExceptionId,
        who: &str,
        reason: &str,
        now: SystemTime,
    ) -> Result<(), RecordsError> {
        let (who, reason) = signed("have seen it", who, reason)?;
        self.commit(move |tx| seen::seen(tx, exception, (&who, &reason), now)).await
    }

    /// Records that a live generation lies elsewhere now, where its bytes are durable; `false` if it is not live at the old
    /// place any more, and nothing has changed.
    pub async fn moved(&self, blob: BlobId, from: Place, to: Place) -> Result<bool, RecordsError> {
        self.commit(move |tx| {
            let moved = blobs::moved(tx, blob, from, to)?;
            #[cfg(test)]
            committed(|| Committed::Moved { to, moved });
            Ok(moved)
        })
        .await
    }

    /// Writes a copy of the records, as they stand at one moment, to a new file. Commits go on meanwhile.
    pub async fn snapshot(&self, to: PathBuf) -> Result<(), RecordsError> {
        let readers = self.inner.readers.clone();
        match tokio::task::spawn_blocking(move || backup::snapshot(&readers.separate()?, &to)).await {
            Ok(made) => made,
            Err(died) => Err(RecordsError::Database(format!("the copy ended early: {died}"))),
        }
    }

    /// The digest and place of a generation; `None` if it is neither live nor set aside.
    pub async fn blob_at(&self, blob: BlobId) -> Result<Option<(Digest, Place)>, RecordsError> {
        self.inner.readers.ask(move |conn| blobs::at(conn, blob)).await
    }

    /// A page of the generations that are set aside, in order of their numbers, after one of them.
    pub async fn corrupt_blobs(
        &self,
        after: BlobId,
        limit: usize,
    ) -> Result<Vec<(BlobId, Digest, Place)>, RecordsError> {
        self.inner.readers.ask(move |conn| blobs::page(conn, "corrupt", after, limit)).await
    }

    /// What lies in each segment that still holds something, by number.
    pub async fn segments(&self) -> Result<Vec<FileUse>, RecordsError> {
        self.inner.readers.ask(blobs::segments).await
    }

    /// Whether anything in a segment is still kept, or waits to be freed.
    pub async fn names_segment(&self, file: u64) -> Result<bool, RecordsError> {
        self.inner.readers.ask(move |conn| blobs::in_segment(conn, file)).await
    }

    /// The live generations in a file, in the order in which they lie there.
    pub async fn blobs_in(&self, file: u64) -> Result<Vec<(BlobId, Digest, Place)>, RecordsError> {
        self.inner.readers.ask(move |conn| blobs::in_file(conn, file)).await
    }

    /// The last jump ahead of the wall clock: the time as it was without it, and what the clock showed.
    pub async fn clock_jump(&self) -> Result<Option<(SystemTime, SystemTime)>, RecordsError> {
        self.inner.readers.ask(jump::find).await
    }

    /// Notes a jump ahead of the wall clock.
    pub async fn note_clock_jump(&self, from: SystemTime, wall: SystemTime) -> Result<(), RecordsError> {
        self.commit(move |tx| jump::note(tx, from, wall)).await
    }

    /// The scrub that is under way or was the last; `None` before the first.
    pub async fn scrub_pass(&self) -> Result<Option<ScrubPass>, RecordsError> {
        self.inner.readers.ask(scrub::pass).await
    }

    /// Notes how far a scrub has come; its end is entered in the ledger.
    pub async fn note_scrub(&self, pass: ScrubPass) -> Result<(), RecordsError> {
        self.commit(move |tx| {
            scrub::note(tx, &pass)?;
            if pass.ended.is_some() { unlike::all_were_read(tx) } else { Ok(()) }
        })
        .await
    }

    /// Studies with what is kept of them, in order of their numbers, after one of them. `limit` 0 means 1,000, which is also
    /// the most.
    pub async fn kept_studies(
        &self,
        only: Option<StudyState>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<KeptStudy>, RecordsError> {
        self.inner.readers.ask(move |conn| scrub::studies(conn, only, after, limit)).await
    }

    /// When the oldest instance arrived that no route chose.
    pub async fn oldest_unrouted(&self) -> Result<Option<SystemTime>, RecordsError> {
        self.inner.readers.ask(scrub::oldest_unrouted).await
    }
}
