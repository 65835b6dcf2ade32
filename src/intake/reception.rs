//! One instance on its way in: streamed to the store, hashed and scanned in passing.

use super::{Claimed, Inner, Refusal};
use crate::dicom::head::Head;
use crate::dicom::scanner::{ScanError, Scanner};
use crate::store::{Digest, Receiving, Spooled};

/// An instance whose bytes are still coming.
pub struct Reception {
    receiving: Receiving,
    scanner: Scanner,
    claimed: Claimed,
    received_bytes: u64,
    limit_bytes: u64,
}

impl Reception {
    pub(super) async fn open(inner: &Inner, claimed: Claimed) -> Result<Self, Refusal> {
        Ok(Self {
            receiving: inner.store.receive().await?,
            scanner: Scanner::new(&claimed.transfer_syntax, inner.options.scanner),
            claimed,
            received_bytes: 0,
            limit_bytes: inner.options.instance_bytes,
        })
    }

    /// Takes the next bytes of the data set. After an error nothing more may be written.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.received_bytes += bytes.len() as u64;
        if self.received_bytes > self.limit_bytes {
            return Err(Refusal::TooLarge { limit: self.limit_bytes });
        }
        self.scanner.push(bytes).map_err(malformed)?;
        self.receiving.write(bytes).await.map_err(Refusal::from)
    }

    /// The data set is complete: checks that it is whole and what was claimed (decision table rows 8 to 11).
    pub async fn finish(self) -> Result<Arrived, Refusal> {
        let head = self.scanner.finish().map_err(malformed)?;
        if self.claimed.sop_class.as_ref().is_some_and(|class| *class != head.sop_class) {
            return Err(Refusal::OtherClass);
        }
        if self.claimed.sop_instance.as_ref().is_some_and(|instance| *instance != head.sop_instance) {
            return Err(Refusal::OtherInstance);
        }
        if self.claimed.study.as_ref().is_some_and(|study| *study != head.study) {
            return Err(Refusal::OtherStudy);
        }
        let spooled = self.receiving.finish(&head.transfer_syntax).await?;
        Ok(Arrived { head, spooled })
    }
}

/// An instance that has wholly arrived and is what was claimed; not yet durable.
pub struct Arrived {
    pub(super) head: Head,
    pub(super) spooled: Spooled,
}

impl Arrived {
    /// What the scanner read of it.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The length of the data set in bytes.
    pub fn length(&self) -> u64 {
        self.spooled.length()
    }

    /// The SHA-256 of the data set.
    pub fn digest(&self) -> Digest {
        self.spooled.digest()
    }
}

fn malformed(error: ScanError) -> Refusal {
    match error {
        ScanError::Missing { tag } => Refusal::MissingIdentity { tag },
        other => Refusal::Malformed { why: other.to_string(), tag: other.tag() },
    }
}
