//! What `weybridge status` shows, as one object.

use super::AdminFace;
use crate::courier::LaneView;
use crate::records::{DestinationSummary, RecordsError, Summary};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// The state of a site.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// The site's name.
    pub site: String,
    /// Whether the gateway runs.
    pub running: bool,
    /// The program's version.
    pub version: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Instances kept.
    pub instances: u64,
    /// Studies kept.
    pub studies: u64,
    /// Instances that no route chose.
    pub unrouted: u64,
    /// Exceptions that wait for a person.
    pub exceptions: u64,
    /// Bytes that blobs take on disk.
    pub stored_bytes: u64,
    /// Bytes free on the disk of the data directory, if it could be asked.
    pub free_bytes: Option<u64>,
    /// Set when nothing can be taken any more: why.
    pub poisoned: Option<String>,
    /// Entries in the ledger.
    pub ledger_entries: u64,
    /// Every destination, with its queue.
    pub destinations: Vec<DestinationStatus>,
    /// Things to know about certificates and configuration.
    pub warnings: Vec<String>,
}

/// One destination of a site.
#[derive(Debug, Serialize, Deserialize)]
pub struct DestinationStatus {
    /// Its name.
    pub destination: String,
    /// `up`, `down`, `parked`, or `idle` when it was not needed yet; `unknown` when the gateway does not run.
    pub contact: String,
    /// Since when it is down, UTC.
    pub down_since: Option<String>,
    /// What is wrong.
    pub trouble: Option<String>,
    /// Seconds until the next try, while it is down.
    pub next_try_seconds: Option<u64>,
    /// Transfers that are being carried now.
    pub in_flight: u64,
    /// Transfers by the states of `transfers list`.
    pub pending: u64,
    /// Ambiguous, being checked.
    pub unknown: u64,
    /// Named in the destination's answer.
    pub accepted: u64,
    /// Evidence as policy asks.
    pub verified: u64,
    /// Destination unusable.
    pub parked: u64,
    /// A person must decide.
    pub held: u64,
    /// Given up.
    pub dead: u64,
    /// Cancelled by a person.
    pub cancelled: u64,
    /// Age of the oldest transfer that is not done; age, not depth, is the alarm.
    pub oldest_age_seconds: Option<u64>,
}

impl Status {
    /// The state of a running gateway.
    pub(super) async fn of(face: &AdminFace) -> Result<Self, RecordsError> {
        let summary = face.records.summary().await?;
        let mut status = Self::of_files(&face.site, summary);
        status.running = true;
        status.uptime_seconds = face.started.elapsed().unwrap_or_default().as_secs();
        status.free_bytes = face.store.usage().free_bytes;
        status.poisoned = face.store.poisoned().or_else(|| face.records.poisoned());
        status.warnings = face.warnings.as_ref().clone();
        for lane in face.courier.view() {
            status.lane(&lane);
        }
        Ok(status)
    }

    /// The state of a site whose gateway does not run, as its files tell.
    pub fn of_files(site: &str, summary: Summary) -> Self {
        Self {
            site: site.to_owned(),
            running: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: 0,
            instances: summary.instances,
            studies: summary.studies,
            unrouted: summary.unrouted,
            exceptions: summary.exceptions,
            stored_bytes: summary.stored_bytes,
            free_bytes: None,
            poisoned: None,
            ledger_entries: summary.ledger_entries,
            destinations: summary.destinations.into_iter().map(DestinationStatus::of).collect(),
            warnings: Vec::new(),
        }
    }

    fn lane(&mut self, lane: &LaneView) {
        let name = &lane.destination.0;
        let found = self.destinations.iter().position(|one| one.destination == *name);
        let index = found.unwrap_or_else(|| {
            self.destinations.push(DestinationStatus::of(DestinationSummary::empty(lane.destination.clone())));
            self.destinations.len() - 1
        });
        let one = &mut self.destinations[index];
        one.contact = match (lane.up, lane.parked, lane.last_success.is_some()) {
            (false, true, _) => "parked",
            (false, false, _) => "down",
            (true, _, true) => "up",
            (true, _, false) => "idle",
        }
        .to_owned();
        one.down_since = lane.down_since.map(utc);
        one.trouble = lane.trouble.clone();
        one.next_try_seconds = (!lane.up).then_some(lane.paused_seconds);
        one.in_flight = lane.in_flight as u64;
    }
}

impl DestinationStatus {
    fn of(summary: DestinationSummary) -> Self {
        let counts = summary.counts;
        Self {
            destination: summary.destination.0,
            contact: "unknown".into(),
            down_since: None,
            trouble: None,
            next_try_seconds: None,
            in_flight: 0,
            pending: counts.pending,
            unknown: counts.unknown,
            accepted: counts.accepted,
            verified: counts.verified,
            parked: counts.parked,
            held: counts.held,
            dead: counts.dead,
            cancelled: counts.cancelled,
            oldest_age_seconds: summary.oldest_age_seconds,
        }
    }
}

fn utc(at: SystemTime) -> String {
    Timestamp::try_from(at).map_or_else(|_| "?".into(), |at| at.to_string())
}
