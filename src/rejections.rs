//! The reader of rejection notes: each Key Object Selection that came is read, and what it rejects is hidden (WEB-105, FLT-085).
//!
//! It works beside everything else, on one note at a time, and no arrival waits for it. What it has to do is in the records, written in
//! the commit of the note's arrival, so that a stop between the two loses nothing. Whose note counts the records decide.

use crate::dicom::rejection::{MOST_BYTES, NoteError, NoteReader as Reader};
use crate::records::{InstanceId, NoteRead, Records, RecordsError, Standing, Unread};
use crate::store::{Store, StoreError};
use std::collections::HashMap;
use std::io;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between two looks for notes: an index that is nearly always empty.
const EVERY: Duration = Duration::from_millis(500);
/// Before a note that could not be read is looked at again.
const AGAIN: Duration = Duration::from_secs(60);

/// Why a note could not be dealt with now. It is tried again.
#[derive(Debug, thiserror::Error)]
enum NotNow {
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The reader of one site.
pub struct NoteReader {
    records: Records,
    store: Store,
}

impl NoteReader {
    /// A reader that has not begun.
    pub fn new(records: Records, store: Store) -> Self {
        Self { records, store }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let rounds = async {
            let mut later = HashMap::new();
            loop {
                while self.round(&mut later).await {}
                tokio::time::sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = rounds => {}
        }
        Ok(())
    }

    /// Deals with some notes, but for what failed a short while ago; whether there may be more to do.
    async fn round(&self, later: &mut HashMap<InstanceId, Instant>) -> bool {
        later.retain(|_, until| Instant::now() < *until);
        let (mut dealt, mut after) = (false, InstanceId(0));
        loop {
            let notes = match self.records.unread_notes(after).await {
                Ok(notes) => notes,
                Err(error) => {
                    tracing::error!(error = %error, "rejection notes could not be looked for");
                    return false;
                }
            };
            let Some(last) = notes.last() else { return dealt };
            after = last.instance;
            for note in notes.iter().filter(|note| !later.contains_key(&note.instance)).collect::<Vec<_>>() {
                let instance = note.instance;
                match self.note(note).await {
                    Ok(()) => dealt = true,
                    Err(error) => {
                        tracing::warn!(instance = instance.0, error = %error, "a rejection note waits, and is tried again");
                        later.insert(instance, Instant::now() + AGAIN);
                    }
                }
            }
        }
    }

    async fn note(&self, note: &Unread) -> Result<(), NotNow> {
        if note.is_unread {
            let read = self.read(note).await?;
            if self.records.note_read(note.instance, read, SystemTime::now()).await? == Standing::NotHonoured {
                let instance = note.instance.0;
                tracing::warn!(instance, "a rejection note is not honoured; `weybridge rejections list` says why");
            }
            return Ok(());
        }
        let changed = self.records.apply_rejection(note.instance, note.turn, SystemTime::now()).await?;
        if changed > 0 {
            tracing::info!(
                instance = note.instance.0,
                changed,
                "a rejection note: instances were hidden or shown again"
            );
        }
        Ok(())
    }

    /// Reads a note; what cannot be read is not honoured.
    async fn read(&self, note: &Unread) -> Result<NoteRead, NotNow> {
        if note.length > MOST_BYTES {
            return Ok(NoteRead::Unusable("it is longer than 16 MiB".into()));
        }
        let mut bytes = self.store.read(note.place, note.sha256, None).await?;
        let mut reader = Ok(Reader::new(&note.transfer_syntax));
        while let Some(chunk) = bytes.next().await? {
            // Also what cannot be told is read to its end: it may be damaged, which the store finds out.
            reader = reader.and_then(|mut open: Reader| open.push(&chunk).map(|()| open));
        }
        Ok(match reader.and_then(Reader::finish) {
            Ok(Some(rejection)) => NoteRead::Rejects { reason: rejection.reason, named: rejection.named },
            Ok(None) => NoteRead::Ordinary,
            Err(error @ NoteError::Structure(_)) => NoteRead::Unusable(format!("it cannot be read: {error}")),
            Err(error) => NoteRead::Unusable(error.to_string()),
        })
    }
}
