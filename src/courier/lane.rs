//! One destination: leases what is due, has it carried or checked, and settles what came of it.
//!
//! When to leave a destination alone, and when to probe it, the records decide at each lease; it is kept there, so a
//! restart changes nothing of it (REL-20, REL-22).

use super::carrier::{Carrier, Report};
use crate::peers::Destination;
use crate::records::{AttemptSummary, Batch, LeaseLimits, Records, RecordsError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// A lane that finds the records unreadable waits so long before it looks again.
const TROUBLE: Duration = Duration::from_secs(5);

/// So often the outcome of an attempt is offered to records that refuse it although they are not full.
const REFUSALS: u32 = 10;

/// A due time that has just come is waited for at least so long, so that a lane never spins.
const BREATH: Duration = Duration::from_millis(20);

/// The settings of one lane.
#[derive(Debug, Clone)]
pub struct LaneOptions {
    /// Requests or associations at once.
    pub parallel: usize,
    /// Largest batch (WEB-071).
    pub batch: LeaseLimits,
    /// How many transfers one check asks for.
    pub check_instances: usize,
    /// How long a lane with nothing to do waits before it looks again by itself; a kick comes sooner.
    pub idle: Duration,
}

pub(super) struct Lane<C> {
    records: Records,
    destination: Destination,
    carrier: Arc<C>,
    options: LaneOptions,
    in_flight: Arc<AtomicUsize>,
}

impl<C: Carrier> Lane<C> {
    pub(super) fn new(
        records: Records,
        destination: Destination,
        carrier: Arc<C>,
        options: LaneOptions,
        in_flight: Arc<AtomicUsize>,
    ) -> Self {
        Self { records, destination, carrier, options, in_flight }
    }

    /// Works until `stop`; the batch in hand is finished first.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut kicked = self.records.changed(&self.destination);
        while !stop.is_cancelled() {
            // The kick is armed before we look, so that none is missed between looking and waiting.
            kicked.mark_unchanged();
            let wait = match self.turn().await {
                Ok(None) => continue,
                Ok(Some(wait)) => wait,
                Err(error) => {
                    tracing::error!(destination = %self.destination, error = %error, "the lane cannot read its work");
                    TROUBLE
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                changed = kicked.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Carries or checks one batch; if nothing is due, says how long until something may be.
    async fn turn(&self) -> Result<Option<Duration>, RecordsError> {
        let now = SystemTime::now();
        if let Some(batch) = self.records.lease_checks(&self.destination, self.options.check_instances, now).await? {
            let report = self.in_hand(&batch, self.carrier.check(&batch)).await;
            self.settle(&batch, report).await?;
            return Ok(None);
        }
        if let Some(batch) = self.records.lease(&self.destination, self.options.batch, now).await? {
            let report = self.in_hand(&batch, self.carrier.carry(&batch)).await;
            self.settle(&batch, report).await?;
            return Ok(None);
        }
        let due = self.records.next_due(&self.destination, SystemTime::now()).await?;
        let wait = due.map_or(self.options.idle, |at| at.duration_since(SystemTime::now()).unwrap_or_default());
        Ok(Some(wait.clamp(BREATH, self.options.idle)))
    }

    async fn in_hand(&self, batch: &Batch, work: impl Future<Output = Report>) -> Report {
        self.in_flight.fetch_add(batch.items.len(), Ordering::Relaxed);
        let report = work.await;
        self.in_flight.fetch_sub(batch.items.len(), Ordering::Relaxed);
        report
    }

    async fn settle(&self, batch: &Batch, report: Report) -> Result<(), RecordsError> {
        tracing::debug!(destination = %self.destination, study = %batch.study, attempt = batch.attempt.0, detail = %report.detail, "attempt ended");
        if report.unusable {
            tracing::warn!(destination = %self.destination, study = %batch.study, why = %report.detail, "the destination cannot be used just now");
        }
        for (instance, why) in &report.damaged {
            tracing::error!(instance = instance.0, why = %why, "a stored instance is damaged and is set aside");
            self.records.corrupt(*instance, why, SystemTime::now()).await?;
        }
        self.commit(batch, report).await
    }

    /// What came of a batch must reach the records, else its transfers stay in hand until the next start: a full disk, say,
    /// is waited out. What the records refuse again and again for another reason is left to the next start.
    async fn commit(&self, batch: &Batch, report: Report) -> Result<(), RecordsError> {
        let summary = AttemptSummary { detail: report.detail };
        let mut refused = 0;
        loop {
            let (outcomes, summary) = (report.outcomes.clone(), summary.clone());
            match self.records.settle(batch.attempt, outcomes, summary, SystemTime::now()).await {
                Err(error @ (RecordsError::Full | RecordsError::Database(_))) if refused < REFUSALS => {
                    refused += u32::from(error != RecordsError::Full);
                    tracing::error!(attempt = batch.attempt.0, error = %error, "what came of an attempt cannot be recorded yet");
                    tokio::time::sleep(TROUBLE).await;
                }
                settled => return settled.map(|_| ()),
            }
        }
    }
}
