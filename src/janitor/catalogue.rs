//! What the catalogue says of an image against the image itself, as all blobs are read again (FLT-025).
//!
//! A difference is damage of the records, not of the blob: nothing is set aside, it is told until it agrees again, and a person decides.

use super::{Janitor, JanitorError};
use crate::dicom::head::Head;
use crate::dicom::scanner::{Limits, Scanner};
use crate::dicom::transfer_syntax::{Encoding, encoding};
use crate::records::{BlobId, Unlike};
use crate::store::{Digest, Place, StoreError};
use tokio::time::Instant;

/// Within a long blob there is a rest after so many bytes, so that none keeps the disk to itself for seconds (REL-07).
const PIECE: u64 = 4 << 20;

/// Whether the bytes were read and are whole, and what the catalogue says that they do not, if it could be compared.
type Compared = (bool, Option<Vec<Unlike>>);

impl Janitor {
    /// Reads a blob again, and compares its digest and what the catalogue says of it; whether it was set aside as damaged. A catalogue that
    /// cannot be read does not keep the bytes from being read.
    pub(super) async fn read_again(&self, blob: BlobId, digest: Digest, place: Place) -> Result<bool, JanitorError> {
        let (whole, found) = match self.compare(blob, digest, place).await {
            Ok(compared) => compared,
            Err(JanitorError::Records(error)) => {
                tracing::error!(blob = %digest, error = %error, "what the records say of a blob could not be compared with it");
                (false, None)
            }
            Err(error) => return Err(error),
        };
        if let Some(found) = found {
            self.note_unlike(blob, found).await?;
        }
        if whole { Ok(false) } else { self.look(blob, digest, place).await }
    }

    async fn compare(&self, blob: BlobId, digest: Digest, place: Place) -> Result<Compared, JanitorError> {
        let records = &self.inner.records;
        let syntax = match records.syntax_of(blob).await? {
            None => return Ok((false, None)),
            Some(Err(unlike)) => return Ok((false, Some(vec![unlike]))),
            Some(Ok(syntax)) => syntax,
        };
        // To inflate costs more than to read.
        let scanned = encoding(&syntax) != Encoding::DeflatedExplicitLittle;
        let scanner = scanned.then(|| Scanner::new(&syntax, Limits::default()));
        let head = match self.scan(digest, place, scanner).await {
            Ok(head) => head,
            Err(error) if error.is_damage() => return Ok((false, None)),
            Err(error) => return Err(error.into()),
        };
        let found = match head {
            Some(head) => records.compare_with(blob, head).await?,
            // Of what was noted only that is known to be right again.
            None => self.noted_of(blob).await?.into_iter().filter(|one| one.what != Unlike::SYNTAX).collect(),
        };
        Ok((true, Some(found)))
    }

    async fn noted_of(&self, blob: BlobId) -> Result<Vec<Unlike>, JanitorError> {
        let mut noted = self.inner.records.unlike().await?.noted;
        noted.retain(|one| one.blob == blob);
        Ok(noted)
    }

    /// Notes and tells what was found, if it is not what was noted before.
    async fn note_unlike(&self, blob: BlobId, found: Vec<Unlike>) -> Result<(), JanitorError> {
        if found == self.noted_of(blob).await? {
            return Ok(());
        }
        for one in &found {
            tracing::error!(
                attributes = one.what,
                uid = %one.uid,
                "the records do not say of an instance what its data set says"
            );
        }
        Ok(self.inner.records.note_unlike(blob, found).await?)
    }

    /// Reads a whole blob, a long one with rests; its head, if it can be told within the usual limits. The caller rests after it.
    async fn scan(
        &self,
        digest: Digest,
        place: Place,
        mut scanner: Option<Scanner>,
    ) -> Result<Option<Head>, StoreError> {
        let mut reader = self.inner.store.read(place, digest, None).await?;
        let (began, mut read, mut rested_at) = (Instant::now(), 0, 0);
        while let Some(bytes) = reader.next().await? {
            scanner = scanner.and_then(|mut scanner| scanner.push(&bytes).ok().map(|()| scanner));
            read += bytes.len() as u64;
            drop(bytes);
            if read - rested_at >= PIECE && reader.remaining() > 0 {
                rested_at = read;
                self.rest(began, read).await;
            }
        }
        Ok(scanner.and_then(|scanner| scanner.finish().ok()))
    }

    /// Looks once more at what did not agree, no faster than blobs are read: what does, or is not kept any more, is told no longer. One that
    /// cannot be looked at does not keep the others.
    pub(super) async fn compare_again(&self) -> Result<(), JanitorError> {
        let mut blobs: Vec<BlobId> = self.inner.records.unlike().await?.noted.iter().map(|one| one.blob).collect();
        blobs.dedup();
        for blob in blobs {
            if let Err(error) = self.compare_once_more(blob).await {
                tracing::error!(blob = blob.0, error = %error, "what did not agree could not be looked at once more");
            }
        }
        Ok(())
    }

    async fn compare_once_more(&self, blob: BlobId) -> Result<(), JanitorError> {
        let (records, began) = (&self.inner.records, Instant::now());
        let Some((digest, place)) = records.blob_at(blob).await? else {
            return Ok(records.note_unlike(blob, Vec::new()).await?);
        };
        let read = self.read_again(blob, digest, place).await;
        self.rest(began, place.length).await;
        read.map(drop)
    }
}
