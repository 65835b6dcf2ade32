//! The scrub: every blob is read again and compared with its digest, slowly, and from where it stopped (REL-07).

use super::{Janitor, JanitorError};
use crate::records::{BlobId, ScrubPass};
use std::time::Duration;
use tokio::time::Instant;

/// Blobs of one page.
const PAGE: usize = 64;

/// The place is noted after so many bytes, or at the end of a page that took this long.
const NOTE_BYTES: u64 = 64 << 20;

/// The wait after a failure, and the longest wait for the next pass.
const REST: Duration = Duration::from_secs(60);

impl Janitor {
    /// Passes without end.
    pub(super) async fn scrub(&self) {
        loop {
            let wait = match self.scrub_next().await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::error!(error = %error, "reading the blobs again was interrupted; it goes on from there");
                    REST
                }
            };
            tokio::time::sleep(wait.min(REST)).await;
        }
    }

    /// Goes on with the pass under way, or begins one if it is time; how long to wait for the next.
    pub(super) async fn scrub_next(&self) -> Result<Duration, JanitorError> {
        let (records, every) = (&self.inner.records, self.inner.options.scrub_every);
        let last = records.scrub_pass().await?;
        let now = self.inner.clock.now();
        let pass = match last {
            Some(pass) if pass.ended.is_none() => pass,
            // A clock that was set back does not keep a pass away for longer than the usual time.
            Some(pass) => match now.duration_since(pass.began) {
                Ok(passed) if passed < every => return Ok(every - passed),
                _ => ScrubPass::begin(now),
            },
            None => ScrubPass::begin(now),
        };
        self.scrub_pass(pass).await?;
        Ok(Duration::ZERO)
    }

    async fn scrub_pass(&self, mut pass: ScrubPass) -> Result<(), JanitorError> {
        let records = &self.inner.records;
        let mut unnoted = 0;
        loop {
            let page = records.live_blobs(pass.after, PAGE).await?;
            if page.is_empty() {
                self.look_again().await?;
                pass.ended = Some(self.inner.clock.now());
                records.note_scrub(pass).await?;
                tracing::info!(
                    blobs = pass.blobs,
                    bytes = pass.bytes,
                    damaged = pass.damaged,
                    "every blob was read again"
                );
                return Ok(());
            }
            for (blob, digest, place) in page {
                let began = Instant::now();
                pass.damaged += u64::from(self.read_again(blob, digest, place).await?);
                pass.after = blob;
                pass.blobs += 1;
                pass.bytes += place.length;
                unnoted += place.length;
                self.rest(began, place.length).await;
            }
            if unnoted >= NOTE_BYTES {
                records.note_scrub(pass).await?;
                unnoted = 0;
            }
        }
    }

    /// Looks once more at what is set aside: what reads whole is used again.
    async fn look_again(&self) -> Result<(), JanitorError> {
        let mut after = BlobId(0);
        loop {
            let page = self.inner.records.corrupt_blobs(after, PAGE).await?;
            let Some((last, ..)) = page.last() else { return Ok(()) };
            after = *last;
            for (blob, digest, place) in page {
                let began = Instant::now();
                self.examine(blob, digest, place).await?;
                self.rest(began, place.length).await;
            }
        }
    }
}
