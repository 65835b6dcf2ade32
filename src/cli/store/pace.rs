//! How fast the blobs of a site are read by hand: at half speed beside a running gateway, else as fast as the disk allows.

use crate::cli::client::Gateway;
use crate::store::{BlobReader, StoreError, lock_holder};
use indicatif::ProgressBar;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// Beside a gateway it rests so many times as long as it reads: once as long leaves half the disk's time, and half of the core that
/// computes the digests.
const RESTS: u32 = 1;

/// So long it reads at a stretch, and until the chunk then in hand is there: within a long blob as over many short ones. Timers count
/// milliseconds, so that shorter rests would come out too long.
const STRETCH: Duration = Duration::from_millis(10);

/// Whether a gateway runs is asked so often: one may be started or stopped while all is read.
const ASKED: Duration = Duration::from_secs(10);

/// What a person is told.
const TOLD: &str = "a gateway runs here: all is read at half speed, so that its work goes on; `--full` reads as fast as the disk allows";

/// The pace at which blobs are read one after the other.
pub(in crate::cli) struct Pace {
    /// The data directory of the gateway beside which it may be; `None` if it never rests.
    beside: Option<PathBuf>,
    asked: Option<Instant>,
    runs: bool,
    told: bool,
    /// The end of the last rest.
    since: Instant,
    rested: Duration,
}

impl Pace {
    /// As fast as the disk allows.
    pub(in crate::cli) fn full() -> Self {
        Self { beside: None, asked: None, runs: false, told: true, since: Instant::now(), rested: Duration::ZERO }
    }

    /// At half speed while a gateway runs on this data directory, and at full speed else. A person is told on standard error, once,
    /// unless it is to be `silent`.
    pub(in crate::cli) fn beside(data_dir: &Path, silent: bool) -> Self {
        Self { beside: Some(data_dir.to_owned()), told: silent, ..Self::full() }
    }

    /// How long it has rested.
    pub(super) fn rested(&self) -> Duration {
        self.rested
    }

    /// Looks whether a gateway runs, unless it has just looked; before each blob.
    pub(super) async fn look(&mut self, bar: &ProgressBar) {
        let Some(data_dir) = &self.beside else { return };
        if self.asked.is_some_and(|asked| asked.elapsed() < ASKED) {
            return;
        }
        // One that only starts has no socket yet.
        let runs = Gateway::connect(data_dir).await.is_some() || lock_holder(data_dir).is_some();
        self.asked = Some(Instant::now());
        if runs && !self.runs {
            self.since = Instant::now();
        }
        self.runs = runs;
        if runs && !self.told {
            self.told = true;
            // Nobody may be there to read it.
            bar.suspend(|| drop(writeln!(io::stderr(), "{TOLD}")));
        }
    }

    /// Rests if it has read for long enough; after each chunk, whose bytes have been let go. Errors: those of [`BlobReader::hold`].
    pub(super) async fn rest(&mut self, reader: &mut BlobReader) -> Result<(), StoreError> {
        if self.is_due() {
            // What is read ahead would be read in the rest.
            reader.hold().await?;
            self.sleep().await;
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        self.runs && self.since.elapsed() >= STRETCH
    }

    async fn sleep(&mut self) {
        let began = Instant::now();
        tokio::time::sleep(began.duration_since(self.since) * RESTS).await;
        self.since = Instant::now();
        self.rested += self.since.duration_since(began);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Beside a gateway it rests as long as it reads, whether it reads many short blobs or one that is long.
    #[tokio::test(start_paused = true)]
    async fn beside_a_gateway_it_rests_as_long_as_it_reads() {
        // Whether a gateway runs; milliseconds that a chunk takes; chunks; rests, which may each be a millisecond longer.
        let rows =
            [(true, 1, 1000, 100), (true, 3, 1000, 250), (true, 40, 25, 25), (true, 1, 9, 0), (false, 40, 25, 0)];
        for (runs, each, chunks, rests) in rows {
            let mut pace = Pace { runs, ..Pace::full() };
            let began = Instant::now();
            for _ in 0..chunks {
                tokio::time::advance(Duration::from_millis(each)).await;
                if pace.is_due() {
                    pace.sleep().await;
                }
            }
            let read = Duration::from_millis(each * chunks);
            let (least, most) =
                if rests > 0 { (read, read + Duration::from_millis(rests)) } else { Default::default() };
            assert!((least..=most).contains(&pace.rested()), "{runs}, {chunks} of {each} ms: {:?}", pace.rested());
            assert_eq!(began.elapsed(), read + pace.rested());
        }
    }

    /// A gateway that is started meanwhile is seen before long, and so is its end.
    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_is_started_meanwhile_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (mut pace, bar) = (Pace::beside(dir.path(), true), ProgressBar::hidden());
        pace.look(&bar).await;
        assert!(!pace.runs);
        let gateway = std::os::unix::net::UnixListener::bind(dir.path().join(crate::edge::admin::SOCKET)).unwrap();
        pace.look(&bar).await;
        assert!(!pace.runs, "it has just looked");
        tokio::time::advance(ASKED).await;
        pace.look(&bar).await;
        assert!(pace.runs && !pace.is_due(), "what was read before counts for nothing");
        let mut full = Pace::full();
        full.look(&bar).await;
        assert!(!full.runs, "nobody asks");
        drop(gateway);
        tokio::time::advance(ASKED).await;
        pace.look(&bar).await;
        assert!(!pace.runs);
    }
}
