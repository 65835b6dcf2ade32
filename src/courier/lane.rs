//! One destination: leases what is due, has it carried or checked, and settles what came of it.
//!
//! When to leave a destination alone, and when to probe it, the records decide at each lease; it is kept there, so a
//! restart changes nothing of it (REL-20, REL-22). How much is on its way at once, the [`Window`] decides.

use super::LaneSpec;
use super::carrier::{Carrier, Report};
use super::gate::{self, Gate, Passed};
use super::gathering::Gathering;
use super::window::Window;
use crate::clock::Clock;
use crate::ledger::breaker::{Asking, Showing};
use crate::ledger::outcome::Outcome;
use crate::ledger::transfer::{State, TransferId};
use crate::peers::Destination;
use crate::records::{
    AttemptId, AttemptSummary, Batch, BatchKind, LeaseLimits, Leased, Records, RecordsError, Settled,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
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
    /// Most requests or associations at once; the start is slow.
    pub parallel: usize,
    /// Largest batch (WEB-071). Whether several of one study may go together, the carrier says.
    pub batch: LeaseLimits,
    /// How many transfers one check asks for.
    pub check_instances: usize,
    /// How long a lane with nothing to do waits before it looks again by itself; a kick comes sooner.
    pub idle: Duration,
}

/// What came of a batch: what it showed of the destination, if anything.
type Ended = Result<(Id, Option<Showing>), JoinError>;

/// What a lane keeps of a batch on its way.
struct OnTheWay {
    attempt: AttemptId,
    kind: BatchKind,
}

pub(super) struct Lane<C> {
    records: Records,
    clock: Clock,
    /// None for a lane that sends nothing.
    gate: Option<Gate>,
    destination: Destination,
    carrier: Arc<C>,
    options: LaneOptions,
    in_flight: Arc<AtomicUsize>,
    window: Window,
    /// The batches on their way, each in a task of its own, and the attempts that they are.
    batches: JoinSet<Option<Showing>>,
    attempts: HashMap<Id, OnTheWay>,
    sends: Gathering,
    checks: Gathering,
    /// No batch has ended since nothing more was found to be leased.
    looked: bool,
}

impl<C: Carrier> Lane<C> {
    pub(super) fn new(
        records: Records,
        clock: Clock,
        gate: Option<Gate>,
        (destination, carrier, options): LaneSpec<C>,
        in_flight: Arc<AtomicUsize>,
    ) -> Self {
        let window = Window::new(options.parallel);
        let (batches, attempts) = (JoinSet::new(), HashMap::new());
        let (sends, checks) = Default::default();
        let looked = false;
        Self {
            records,
            clock,
            gate,
            destination,
            carrier,
            options,
            in_flight,
            window,
            batches,
            attempts,
            sends,
            checks,
            looked,
        }
    }

    /// Works until `stop`; the batches in hand are finished first.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut kicked = self.records.changed(&self.destination);
        while !stop.is_cancelled() {
            // The kick is armed before we look, so that none is missed between looking and waiting.
            kicked.mark_unchanged();
            let wait = self.fill(&stop).await;
            let room = self.has_room();
            // While we gather, news of what arrives would wake us for nothing.
            let listens = room && !self.is_gathering();
            // In this order: what has ended makes room before more is begun.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = self.batches.join_next_with_id() => self.ended(ended).await,
                changed = kicked.changed(), if listens => if changed.is_err() { break },
                () = tokio::time::sleep(wait), if room => {}
            }
        }
        while let Some(ended) = self.batches.join_next_with_id().await {
            self.ended(ended).await;
        }
    }

    fn has_room(&self) -> bool {
        self.batches.len() < self.window.size()
    }

    /// Whether nothing is to be leased, whatever arrives, before some time has passed or a batch has ended.
    fn is_gathering(&self) -> bool {
        self.looked && self.sends.waits(Instant::now()).is_some()
    }

    /// Starts batches while there is room and something is due; says how long until something may be.
    async fn fill(&mut self, stop: &CancellationToken) -> Duration {
        if let Some(left) = self.sends.waits(Instant::now()).filter(|_| self.looked) {
            return left;
        }
        while self.has_room() && !stop.is_cancelled() && !self.gate.as_ref().is_some_and(Gate::is_shut) {
            match self.lease().await {
                Ok(Some(batch)) => self.begin(batch),
                Ok(None) => {
                    self.looked = true;
                    break;
                }
                Err(error) => return self.trouble(&error),
            }
        }
        let now = Instant::now();
        if let Some(left) = self.sends.waits(now).into_iter().chain(self.checks.waits(now)).min() {
            // A batch that ends makes us look sooner, and then for both kinds.
            return left;
        }
        let together = self.carrier.together();
        let due = self.records.next_due(&self.destination, together, self.clock.now()).await;
        let wait = match due {
            Ok(due) => due.map_or(self.options.idle, |at| at.duration_since(self.clock.now()).unwrap_or_default()),
            Err(error) => return self.trouble(&error),
        };
        wait.clamp(BREATH, self.options.idle)
    }

    fn trouble(&self, error: &RecordsError) -> Duration {
        tracing::error!(destination = %self.destination, error = %error, "the lane cannot read its work");
        TROUBLE
    }

    /// The next batch: what is to be asked about comes before what is to be sent.
    async fn lease(&mut self) -> Result<Option<Batch>, RecordsError> {
        let now = self.clock.now();
        if self.checks.waits(Instant::now()).is_none() {
            match self.records.lease_checks(&self.destination, self.options.check_instances, now).await? {
                None => self.checks.is_drained(),
                found => return Ok(found),
            }
        }
        if self.sends.waits(Instant::now()).is_some() {
            return Ok(None);
        }
        let limits = LeaseLimits { together: self.carrier.together(), ..self.options.batch };
        let found = self.records.lease(&self.destination, limits, now).await?;
        if found.is_none() {
            self.sends.is_drained();
        }
        Ok(found)
    }

    fn gathering(&mut self, kind: BatchKind) -> &mut Gathering {
        match kind {
            BatchKind::Send => &mut self.sends,
            BatchKind::Check => &mut self.checks,
        }
    }

    fn begin(&mut self, batch: Batch) {
        let on_the_way = OnTheWay { attempt: batch.attempt, kind: batch.kind };
        let gathering = self.gathering(batch.kind);
        gathering.begins(Instant::now());
        if batch.last {
            gathering.is_drained();
        }
        let hand = Hand::new(&self.in_flight, batch.items.len());
        let (records, clock) = (self.records.clone(), self.clock.clone());
        let (gate, carrier) = (self.gate.clone(), Arc::clone(&self.carrier));
        let task = self.batches.spawn(async move {
            let report = match batch.kind {
                BatchKind::Send => send(gate.as_ref(), &*carrier, &batch).await,
                BatchKind::Check => carrier.check(&batch).await,
            };
            drop(hand);
            match settle(&records, &clock, &batch, report).await {
                Ok(settled) => settled.showing,
                Err(error) => {
                    tracing::error!(destination = %batch.destination, attempt = batch.attempt.0, error = %error, "what came of an attempt was not recorded");
                    None
                }
            }
        });
        self.attempts.insert(task.id(), on_the_way);
    }

    /// Notes what a batch showed. One that died is ended as a restart would end it: asked about before it is sent again, and
    /// set apart when that happens again and again (REL-24).
    async fn ended(&mut self, ended: Ended) {
        let (id, showing) = match &ended {
            Ok((id, showing)) => (*id, *showing),
            Err(died) => (died.id(), None),
        };
        self.window = self.window.after(showing);
        self.looked = false;
        let Some(OnTheWay { attempt, kind }) = self.attempts.remove(&id) else { return };
        self.gathering(kind).ends();
        let Err(died) = ended else { return };
        if died.is_panic() {
            tracing::error!(destination = %self.destination, attempt = attempt.0, "a batch broke off by a fault of this program; please report it");
            if let Err(error) = self.records.interrupted(attempt, self.clock.now()).await {
                tracing::error!(attempt = attempt.0, error = %error, "that cannot be recorded; the next start does");
            }
        }
    }
}

/// Sends what may still go there (INV-15).
async fn send<C: Carrier>(gate: Option<&Gate>, carrier: &C, batch: &Batch) -> Report {
    let Some(gate) = gate else { return carry(carrier, batch).await };
    let Passed { batch, stays } = gate.pass(batch).await;
    let mut report = gate::report(stays);
    if let Some(batch) = batch {
        let sent = carry(carrier, &batch).await;
        report.outcomes.extend(sent.outcomes);
        (report.detail, report.damaged, report.unusable) = (sent.detail, sent.damaged, sent.unusable);
        (report.asking, report.warnings) = (sent.asking, sent.warnings);
    }
    report
}

/// Carries a batch without what the destination is known not to take (WEB-063).
async fn carry<C: Carrier>(carrier: &C, batch: &Batch) -> Report {
    let refused = |item: &&Leased| batch.unsupported.contains(item.sop_class.as_str());
    if !batch.items.iter().any(|item| refused(&item)) {
        return carrier.carry(batch).await;
    }
    let left: Vec<Leased> = batch.items.iter().filter(|item| !refused(item)).cloned().collect();
    let mut report = match left.is_empty() {
        true => Report { detail: "nothing was sent".into(), ..Report::default() },
        false => carrier.carry(&Batch { items: left, ..batch.clone() }).await,
    };
    report.outcomes.extend(batch.items.iter().filter(refused).map(|item| {
        let why =
            format!("not sent: the destination does not take SOP class {}; one is tried now and then", item.sop_class);
        (item.transfer, Outcome::Unsupported { why, said: false })
    }));
    report
}

/// Transfers in hand, counted as long as this lives.
struct Hand {
    in_flight: Arc<AtomicUsize>,
    count: usize,
}

impl Hand {
    fn new(in_flight: &Arc<AtomicUsize>, count: usize) -> Self {
        in_flight.fetch_add(count, Ordering::Relaxed);
        Self { in_flight: Arc::clone(in_flight), count }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(self.count, Ordering::Relaxed);
    }
}

async fn settle(records: &Records, clock: &Clock, batch: &Batch, report: Report) -> Result<Settled, RecordsError> {
    // The detail may hold words of the destination, which may name a patient: they are kept beside the entries, not in the log (INV-22).
    tracing::debug!(destination = %batch.destination, study = %batch.study, attempt = batch.attempt.0, "attempt ended");
    if report.unusable {
        tracing::warn!(destination = %batch.destination, study = %batch.study, "the destination cannot be used just now; `weybridge status` says why");
    }
    if let Some(Asking::Not { .. }) = &report.asking {
        tracing::warn!(destination = %batch.destination, "the destination cannot be asked what it holds; it is sent to all the same, and what it took is not verified meanwhile; `weybridge status` says why; if it answers but refuses queries, have it let us query, or set its `verify` to \"accepted\"");
    }
    if let Some((_, code)) = report.warnings.first() {
        let (count, code) = (report.warnings.len(), format!("{code:04X}"));
        tracing::warn!(destination = %batch.destination, study = %batch.study, count, code, "the destination stored with a warning; see `weybridge why`");
    }
    for (instance, place, why) in &report.damaged {
        tracing::error!(instance = instance.0, why = %why, "a stored instance is damaged and is set aside");
        // What came of the batch is recorded all the same: the damage is found again when the blob is read again.
        if let Err(error) = records.corrupt(*instance, *place, why, clock.now()).await {
            tracing::error!(instance = instance.0, error = %error, "the damage could not be recorded");
        }
    }
    commit(records, clock, batch, report).await
}

/// Tells in the log what of a batch waits for a person from now on: once a batch, with the first reason.
fn tell(batch: &Batch, outcomes: &[(TransferId, Outcome)], settled: &Settled) {
    for (state, what) in [(State::Dead, "given up"), (State::Held, "held for a person to decide")] {
        let those: Vec<TransferId> =
            settled.applied.iter().filter(|(_, to)| *to == state).map(|(transfer, _)| *transfer).collect();
        let first = those.first().and_then(|id| outcomes.iter().find(|(transfer, _)| transfer == id));
        if let Some((_, outcome)) = first {
            // What others say of an instance may name its patient (SEC-010); why it is held, this program says.
            let why = if let Outcome::Held { why } = outcome { why.as_str() } else { outcome.word() };
            let (destination, study, count) = (&batch.destination, &batch.study, those.len());
            tracing::warn!(%destination, %study, count, why, "instances were {what}; see `weybridge exceptions list`");
        }
    }
    for class in &settled.refused_classes {
        tracing::warn!(destination = %batch.destination, class, "the destination does not take a SOP class: its instances are parked there, and one is tried now and then; see `weybridge status`");
    }
}

/// What came of a batch must reach the records, else its transfers stay in hand until the next start: a full disk, say,
/// is waited out. What the records refuse again and again for another reason is left to the next start.
async fn commit(records: &Records, clock: &Clock, batch: &Batch, report: Report) -> Result<Settled, RecordsError> {
    let summary = AttemptSummary { detail: report.detail, asking: report.asking, warnings: report.warnings };
    let mut refused = 0;
    loop {
        let (outcomes, summary) = (report.outcomes.clone(), summary.clone());
        match records.settle(batch.attempt, outcomes, summary, clock.now()).await {
            Err(error @ (RecordsError::Full | RecordsError::Database(_))) if refused < REFUSALS => {
                refused += u32::from(error != RecordsError::Full);
                tracing::error!(attempt = batch.attempt.0, error = %error, "what came of an attempt cannot be recorded yet");
                tokio::time::sleep(TROUBLE).await;
            }
            Ok(settled) => {
                tell(batch, &report.outcomes, &settled);
                return Ok(settled);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
