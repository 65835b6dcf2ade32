//! Records that may not know all that was sent: what is to be done about it, once they are in place.

use super::sqlite::acts::{Act, Matching};
use super::sqlite::rows::micros;
use super::sqlite::{doubted, log, schema};
use super::{Records, RecordsError, Verb};
use std::path::Path;
use std::time::SystemTime;

impl Records {
    /// Has every destination asked first about what was not sent yet when these records were copied, since it may have been sent
    /// afterwards; how many transfers that are. What rests is asked about when it goes on, and so is what is owed anew within a
    /// week: senders repeat what came after the copy. For records that come from a backup, or were made anew.
    pub async fn doubt(&self, who: &str, reason: &str, now: SystemTime) -> Result<u64, RecordsError> {
        self.commit(move |tx| doubted::note(tx, micros(now))).await?;
        let act = Act { verb: Verb::Doubt, who: who.to_owned(), reason: reason.to_owned(), now };
        Ok(self.act_on_matching(&act, Matching::default()).await?.changed)
    }

    /// Whether the records in a directory were made by an older program, whose layout only a start or [`Self::bring_up`] changes.
    pub fn are_older(dir: &Path) -> Result<bool, RecordsError> {
        schema::is_older(dir)
    }

    /// Brings records that nobody uses, a copy say, to the layout of this program, and changes nothing else of them.
    pub fn bring_up(dir: &Path) -> Result<(), RecordsError> {
        schema::bring_up(dir)
    }

    /// What [`super::Recovered::log_damaged`] said has been noted elsewhere and durably; the copy of that log stays for who wants to look.
    pub fn damage_noted(dir: &Path) -> Result<(), RecordsError> {
        log::heeded(dir).map_err(|why| RecordsError::Open { path: dir.to_owned(), why: why.to_string() })
    }
}

/// Who only reads the records is not to take a part for the whole either: the next start looks at a damaged log, and says so.
pub(super) fn refuse_damaged(dir: &Path) -> Result<(), RecordsError> {
    match log::is_damaged_at_rest(dir) {
        true => Err(RecordsError::Open { path: dir.to_owned(), why: DAMAGED.to_owned() }),
        false => Ok(()),
    }
}

const DAMAGED: &str = "the log of the last run has changed on the disk, so that part of the records cannot be read; start the gateway, \
    which keeps that log and says what is to be done";
