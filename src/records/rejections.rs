//! The words and commits of rejection notes: what is to be read, what was found, what is hidden, and what a person undoes (WEB-105).

use super::arrival::InstanceId;
use super::sqlite::rejections::{self, apply};
use super::{Records, RecordsError};
use crate::dicom::rejection::{Named, Reason};
use crate::dicom::uid::{InstanceUid, StudyUid, TransferSyntaxUid};
use crate::peers::Origin;
use crate::store::{Digest, Place};
use std::time::SystemTime;

/// What a note names is committed so many at a time, so that an intake never waits long.
const PAGE: usize = 1000;

/// Where a Key Object Selection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was not read yet: whether it rejects anything is not known.
    Unread,
    /// It rejects nothing.
    Ordinary,
    /// What it names, and its sender may reject, is hidden.
    InForce,
    /// It hides nothing, and goes nowhere without a person.
    NotHonoured,
    /// A person has undone it.
    Lifted,
}

impl Standing {
    const ALL: [Self; 5] = [Self::Unread, Self::Ordinary, Self::InForce, Self::NotHonoured, Self::Lifted];

    /// The word that records and the command line use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Ordinary => "ordinary",
            Self::InForce => "in force",
            Self::NotHonoured => "not honoured",
            Self::Lifted => "lifted",
        }
    }

    /// The standing that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.word() == word)
    }
}

/// A note that is to be read, or whose names are to be looked through.
#[derive(Debug, Clone)]
pub struct Unread {
    /// Which.
    pub instance: InstanceId,
    /// Whether its bytes are to be read; else only [`Records::apply_rejection`] is asked for.
    pub is_unread: bool,
    /// For [`Records::apply_rejection`].
    pub turn: i64,
    /// The syntax in which its bytes are encoded.
    pub transfer_syntax: TransferSyntaxUid,
    /// The SHA-256 of its data set.
    pub sha256: Digest,
    /// Where its bytes are.
    pub place: Place,
    /// The length of its data set, in bytes.
    pub length: u64,
}

/// What was read of a Key Object Selection.
#[derive(Debug, Clone)]
pub enum NoteRead {
    /// It rejects nothing.
    Ordinary,
    /// It cannot be read, or is past a limit: it is not honoured. Why, in plain words.
    Unusable(String),
    /// It is a rejection note.
    Rejects {
        /// Why.
        reason: Reason,
        /// What.
        named: Vec<Named>,
    },
}

/// A rejection note as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionView {
    /// The note's SOP Instance UID.
    pub note: InstanceUid,
    /// The note's study.
    pub study: StudyUid,
    /// Who sent the note first.
    pub source: Origin,
    /// Where it stands.
    pub standing: Standing,
    /// Whether a later note rejects it.
    pub is_rejected: bool,
    /// Why instances are rejected; none if it could not be read.
    pub reason: Option<Reason>,
    /// How many instances it names.
    pub named: u64,
    /// How many it hides here now.
    pub hides: u64,
    /// When it was read; none if it was not.
    pub decided: Option<SystemTime>,
    /// Why it is not honoured, in plain words.
    pub words: Option<String>,
    /// By whom it was undone, if it was.
    pub lifted_by: Option<String>,
    /// Why, in that person's words.
    pub lifted_words: Option<String>,
}

/// An instance that a note names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedInstance {
    /// SOP Instance UID.
    pub instance: InstanceUid,
    /// Its study, as the note says.
    pub study: StudyUid,
    /// Whether it was ever here.
    pub is_known: bool,
    /// Whether it is hidden.
    pub is_hidden: bool,
}

impl Records {
    /// Notes that are to be read or looked through, after one of them; at most 16.
    pub async fn unread_notes(&self, after: InstanceId) -> Result<Vec<Unread>, RecordsError> {
        self.inner.readers.ask(move |conn| rejections::unread(conn, after)).await
    }

    /// Records what was read of a note, with its entry; gives where it stands now. What it hides is hidden by
    /// [`Records::apply_rejection`], which is asked for in the same commit.
    pub async fn note_read(&self, note: InstanceId, read: NoteRead, now: SystemTime) -> Result<Standing, RecordsError> {
        if let NoteRead::Rejects { named, .. } = &read {
            for page in named.chunks(PAGE) {
                let page = page.to_vec();
                self.commit(move |tx| rejections::name(tx, note, &page)).await?;
            }
        }
        self.commit(move |tx| rejections::read(tx, note, &read, now)).await
    }

    /// Hides or shows what a note names, as all notes now say, in as many commits as it takes; the same again goes on where it ended.
    /// What is owed of what is hidden is cancelled, and the note is owed to whoever has it. How many were hidden or shown.
    pub async fn apply_rejection(&self, note: InstanceId, turn: i64, now: SystemTime) -> Result<u64, RecordsError> {
        let (mut changed, mut after) = (0, String::new());
        loop {
            let (from, so_far) = (std::mem::take(&mut after), changed);
            let (more, next) = self.commit(move |tx| apply::page(tx, note, &from, turn, now)).await?;
            changed = so_far + more;
            match next {
                Some(next) => after = next,
                None => return Ok(changed),
            }
        }
    }

    /// Every rejection note, the latest first, after one of them; at most `limit` and 1,000.
    pub async fn rejections(&self, offset: u64, limit: usize) -> Result<Vec<RejectionView>, RecordsError> {
        self.inner.readers.ask(move |conn| rejections::list(conn, None, offset, limit)).await
    }

    /// The versions of one rejection note; empty if it is none.
    pub async fn rejection(&self, note: &InstanceUid) -> Result<Vec<RejectionView>, RecordsError> {
        let note = note.clone();
        self.inner.readers.ask(move |conn| rejections::list(conn, Some(&note), 0, usize::MAX)).await
    }

    /// What a rejection note names, in order; at most 1,000 after `after`.
    pub async fn named_by(&self, note: &InstanceUid, after: String) -> Result<Vec<NamedInstance>, RecordsError> {
        let note = note.clone();
        self.inner.readers.ask(move |conn| rejections::named(conn, &note, &after)).await
    }

    /// Undoes a rejection note: what it alone hides is shown again, and owed again where it was stopped. `who` is a person's name.
    pub async fn lift_rejection(
        &self,
        note: &InstanceUid,
        who: &str,
        reason: &str,
        now: SystemTime,
    ) -> Result<(), RecordsError> {
        if who.trim().is_empty() || reason.trim().is_empty() {
            return Err(RecordsError::Refused("to undo a rejection needs a name and a reason".into()));
        }
        let (note, who, reason) = (note.clone(), who.trim().to_owned(), reason.trim().to_owned());
        self.commit(move |tx| rejections::lift(tx, &note, (&who, &reason), now)).await
    }
}
