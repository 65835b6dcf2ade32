//! One destination: what is due, in which order, and when to leave it alone.

use super::carrier::{Carrier, Pause, Report};
use crate::ledger::backoff::Backoff;
use crate::peers::Destination;
use crate::records::{AttemptSummary, Batch, LeaseLimits, Records, RecordsError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;

/// The settings of one lane.
#[derive(Debug, Clone)]
pub struct LaneOptions {
    /// Requests or associations at once.
    pub parallel: usize,
    /// Largest batch (WEB-071).
    pub batch: LeaseLimits,
    /// How many transfers one check asks for.
    pub check_instances: usize,
    /// How the tries of a failing destination are spaced (REL-20).
    pub backoff: Backoff,
    /// After so long a failure counts as an outage.
    pub outage_after: Duration,
    /// During an outage the destination is tried at least this often.
    pub outage_probe: Duration,
    /// How long a lane with nothing to do waits before it looks again by itself; a kick comes sooner.
    pub idle: Duration,
}

/// What a lane knows of its destination right now; lost at a restart without harm.
#[derive(Debug, Default)]
pub struct LaneState {
    failures: u32,
    paused_until: Option<Instant>,
    down_since: Option<SystemTime>,
    last_success: Option<SystemTime>,
    trouble: Option<Pause>,
    probing: bool,
    in_flight: usize,
}

/// A lane as `weybridge status` shows it.
#[derive(Debug, Clone)]
pub struct LaneView {
    /// The destination.
    pub destination: Destination,
    /// Whether the last contact succeeded, or none was needed yet.
    pub up: bool,
    /// Since when it has failed.
    pub down_since: Option<SystemTime>,
    /// What is wrong, in plain words.
    pub trouble: Option<String>,
    /// Whether it cannot be used until something is put right.
    pub parked: bool,
    /// When it was last used with success since this process started.
    pub last_success: Option<SystemTime>,
    /// Seconds until the next try.
    pub paused_seconds: u64,
    /// Transfers that are being carried now.
    pub in_flight: usize,
}

impl LaneState {
    pub(super) fn view(&self, destination: &Destination) -> LaneView {
        let left = self.paused_until.map(|until| until.saturating_duration_since(Instant::now()));
        LaneView {
            destination: destination.clone(),
            up: self.trouble.is_none(),
            down_since: self.down_since,
            trouble: self.trouble.as_ref().map(|pause| pause.why.clone()),
            parked: self.trouble.as_ref().is_some_and(|pause| pause.parked),
            last_success: self.last_success,
            paused_seconds: left.unwrap_or_default().as_secs(),
            in_flight: self.in_flight,
        }
    }

    pub(super) fn resume(&mut self) {
        self.paused_until = None;
    }

    /// How long the lane must still wait; after the wait one worker alone probes (REL-20).
    fn gate(&mut self, now: Instant) -> Gate {
        match self.paused_until {
            Some(until) if until > now => Gate::Wait(until - now),
            _ if self.failures > 0 && self.probing => Gate::Wait(Duration::from_millis(200)),
            _ => {
                self.probing = self.failures > 0;
                Gate::Open { probe: self.failures > 0 }
            }
        }
    }

    fn succeeded(&mut self, now: SystemTime) {
        *self = Self { last_success: Some(now), in_flight: self.in_flight, ..Self::default() };
    }

    /// The next try comes after what the other side asked for, else after a back-off; it is always bounded (REL-20).
    fn failed(&mut self, pause: Pause, now: SystemTime, options: &LaneOptions) {
        let down_since = *self.down_since.get_or_insert(now);
        let seed = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let outage = now.duration_since(down_since).is_ok_and(|down| down >= options.outage_after);
        let longest = if outage || pause.parked { options.outage_probe } else { options.backoff.cap };
        let wait = pause.after.unwrap_or_else(|| options.backoff.delay(self.failures, seed).min(longest));
        self.failures = self.failures.saturating_add(1);
        self.paused_until = Some(Instant::now() + wait);
        self.trouble = Some(pause);
        self.probing = false;
    }
}

enum Gate {
    Open { probe: bool },
    Wait(Duration),
}

pub(super) struct Lane<C> {
    records: Records,
    destination: Destination,
    carrier: Arc<C>,
    options: LaneOptions,
    state: Arc<Mutex<LaneState>>,
}

impl<C: Carrier> Lane<C> {
    pub(super) fn new(
        records: Records,
        destination: Destination,
        carrier: Arc<C>,
        options: LaneOptions,
        state: Arc<Mutex<LaneState>>,
    ) -> Self {
        Self { records, destination, carrier, options, state }
    }

    /// Works until `stop`; the batch in hand is finished first.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut kicked = self.records.changed(&self.destination);
        while !stop.is_cancelled() {
            // The kick is armed before we look, so that none is missed between looking and waiting.
            kicked.mark_unchanged();
            let wait = match self.turn().await {
                Ok(Turn::Worked) => continue,
                Ok(Turn::Wait(wait)) => wait,
                Err(error) => {
                    tracing::error!(destination = %self.destination, error = %error, "the lane cannot read its work");
                    Duration::from_secs(5)
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                changed = kicked.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn turn(&self) -> Result<Turn, RecordsError> {
        let probe = match self.lock().gate(Instant::now()) {
            Gate::Wait(wait) => return Ok(Turn::Wait(wait)),
            Gate::Open { probe } => probe,
        };
        let worked = self.work(probe).await;
        if !matches!(worked, Ok(true)) {
            self.lock().probing = false;
        }
        if worked? { Ok(Turn::Worked) } else { Ok(Turn::Wait(self.until_due().await?)) }
    }

    /// Carries or checks one batch; `false` if nothing was due.
    async fn work(&self, probe: bool) -> Result<bool, RecordsError> {
        let now = SystemTime::now();
        if let Some(batch) = self.records.lease_checks(&self.destination, self.options.check_instances, now).await? {
            let report = self.in_flight(&batch, self.carrier.check(&batch)).await;
            self.settle(&batch, report).await?;
            return Ok(true);
        }
        let limits = if probe { LeaseLimits { instances: 1, ..self.options.batch } } else { self.options.batch };
        if let Some(batch) = self.records.lease(&self.destination, limits, now).await? {
            let report = self.in_flight(&batch, self.carrier.carry(&batch)).await;
            self.settle(&batch, report).await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn in_flight(&self, batch: &Batch, work: impl Future<Output = Report>) -> Report {
        self.lock().in_flight += batch.items.len();
        let report = work.await;
        self.lock().in_flight -= batch.items.len();
        report
    }

    async fn settle(&self, batch: &Batch, report: Report) -> Result<(), RecordsError> {
        let now = SystemTime::now();
        match &report.pause {
            Some(pause) => {
                tracing::warn!(destination = %self.destination, study = %batch.study, why = %pause.why, parked = pause.parked, "destination paused");
                self.lock().failed(pause.clone(), now, &self.options);
            }
            None => self.lock().succeeded(now),
        }
        let summary = AttemptSummary { detail: report.detail };
        self.records.settle(batch.attempt, report.outcomes, summary, now).await
    }

    async fn until_due(&self) -> Result<Duration, RecordsError> {
        let due = self.records.next_due(&self.destination).await?;
        let wait = due.map_or(self.options.idle, |at| at.duration_since(SystemTime::now()).unwrap_or_default());
        Ok(wait.clamp(Duration::from_millis(20), self.options.idle))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Turn {
    Worked,
    Wait(Duration),
}
