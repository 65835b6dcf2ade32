//! What the catalogue says of an image against the image itself, as all blobs are read again (FLT-025).
//!
//! A difference is damage of the records, not of the blob: nothing is set aside, it is told until it agrees again, and a person decides.

use super::{Janitor, JanitorError};
use crate::dicom::head::Head;
use crate::dicom::scanner::{Limits, Scanner};
use crate::dicom::transfer_syntax::{Encoding, encoding};
use crate::records::BlobId;
use crate::store::{Digest, Place, StoreError};

impl Janitor {
    /// Reads a blob again, and compares its digest and what the catalogue says of it; whether it was set aside as damaged.
    pub(super) async fn read_again(&self, blob: BlobId, digest: Digest, place: Place) -> Result<bool, JanitorError> {
        let records = &self.inner.records;
        let Some(syntax) = records.syntax_of(blob).await? else { return self.look(blob, digest, place).await };
        // To inflate costs more than to read.
        let scanned = encoding(&syntax) != Encoding::DeflatedExplicitLittle;
        let scanner = scanned.then(|| Scanner::new(&syntax, Limits::default()));
        let head = match self.scan(digest, place, scanner).await {
            Ok(head) => head,
            Err(error) if error.is_damage() => return self.look(blob, digest, place).await,
            Err(error) => return Err(error.into()),
        };
        let found = match head {
            Some(head) => records.compare_with(blob, head).await?,
            None => return Ok(false),
        };
        let mut noted = records.unlike().await?;
        noted.retain(|one| one.blob == blob);
        if found == noted {
            return Ok(false);
        }
        for one in &found {
            tracing::error!(
                attributes = one.what,
                uid = %one.uid,
                "the records do not say of an instance what its data set says"
            );
        }
        records.note_unlike(blob, found).await?;
        Ok(false)
    }

    /// Reads a whole blob; its head, if it can be told within the usual limits.
    async fn scan(
        &self,
        digest: Digest,
        place: Place,
        mut scanner: Option<Scanner>,
    ) -> Result<Option<Head>, StoreError> {
        let mut reader = self.inner.store.read(place, digest, None).await?;
        while let Some(bytes) = reader.next().await? {
            scanner = scanner.and_then(|mut scanner| scanner.push(&bytes).ok().map(|()| scanner));
        }
        Ok(scanner.and_then(|scanner| scanner.finish().ok()))
    }

    /// Looks once more at what did not agree: what does, or is not kept any more, is told no longer.
    pub(super) async fn compare_again(&self) -> Result<(), JanitorError> {
        let records = &self.inner.records;
        let mut blobs: Vec<BlobId> = records.unlike().await?.iter().map(|one| one.blob).collect();
        blobs.dedup();
        for blob in blobs {
            match records.blob_at(blob).await? {
                Some((digest, place)) => self.read_again(blob, digest, place).await.map(drop)?,
                None => records.note_unlike(blob, Vec::new()).await?,
            }
        }
        Ok(())
    }
}
