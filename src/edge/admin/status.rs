//! What `weybridge status` shows, as one object.

use super::{AdminFace, WorklistStatus, storage};
use crate::edge::mllp::Counts;
use crate::ledger::breaker::Reach;
use crate::ledger::transfer::State;
use crate::records::{
    AllUnlike, BlobCounts, DestinationView, RecordsError, ScrubPass, Summary, Unsupported, Verified, Warned, hex,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::SystemTime;

/// The state of a site.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// The site's name.
    pub site: String,
    /// Whether the gateway runs, and answers.
    pub running: bool,
    /// The process that holds the data directory, if the gateway does not answer.
    #[serde(default)]
    pub held_by: Option<u32>,
    /// The program's version.
    pub version: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Instances kept.
    pub instances: u64,
    /// Instances that no route chose.
    pub unrouted: u64,
    /// Exceptions that wait for a person.
    pub exceptions: u64,
    /// Bytes that blobs take on disk.
    pub stored_bytes: u64,
    /// Bytes free on the disk of the data directory, if it could be asked.
    pub free_bytes: Option<u64>,
    /// Bytes that new work must leave free, while the gateway runs (REL-06).
    #[serde(default)]
    pub reserve_bytes: Option<u64>,
    /// Nothing new is taken for want of room on the disk; deliveries go on.
    #[serde(default)]
    pub refusing: bool,
    /// The reading of all blobs that is under way or was the last (REL-07).
    #[serde(default)]
    pub scrub: Option<ScrubStatus>,
    /// The last verification of the records by the gateway itself; none before the first (LED-006).
    #[serde(default)]
    pub verified: Option<VerifiedStatus>,
    /// Instances of which the records say something else than their data sets, and of which attributes (FLT-025).
    #[serde(default)]
    pub unlike: Vec<String>,
    /// More of them were found than are named.
    #[serde(default)]
    pub unlike_more: bool,
    /// The disk is full, so that not even what came of deliveries can be recorded (FLT-022).
    #[serde(default)]
    pub records_full: bool,
    /// What else of keeping things fails just now, for people.
    #[serde(default)]
    pub storage: Vec<String>,
    /// Set when nothing can be taken any more: why.
    pub poisoned: Option<String>,
    /// Callers and requests that were turned away since the gateway started (LED-011).
    #[serde(default)]
    pub refused: u64,
    /// The last of them: when (UTC), what was asked for, who asked, and why not.
    #[serde(default)]
    pub last_refusal: Option<String>,
    /// Entries in the ledger.
    pub ledger_entries: u64,
    /// The latest value of the ledger's chain; keep it elsewhere, and a cut tail shows.
    pub ledger_chain: String,
    /// Every destination, with its queue.
    pub destinations: Vec<DestinationStatus>,
    /// Every worklist that is asked, while the gateway runs.
    #[serde(default)]
    pub worklists: Vec<WorklistStatus>,
    /// The listener of order systems, if there is one and the gateway runs.
    #[serde(default)]
    pub hl7: Option<Hl7Status>,
    /// Things to know about certificates and configuration.
    pub warnings: Vec<String>,
}

/// What was heard by HL7 since the start.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hl7Status {
    /// Where messages are taken.
    pub listen: String,
    /// Messages that were taken.
    pub messages: u64,
    /// When the last of them was, UTC.
    pub last_message: Option<String>,
    /// Messages that were not taken, and callers who were turned away.
    pub refused: u64,
    /// The last of them: when (UTC), who, and why.
    pub last_refusal: Option<String>,
}

impl Hl7Status {
    fn of(listen: SocketAddr, counts: Counts) -> Self {
        Self {
            listen: listen.to_string(),
            messages: counts.taken,
            last_message: counts.last.map(utc),
            refused: counts.refused,
            last_refusal: counts.last_refusal.map(|(at, why)| format!("{} {why}", utc(at))),
        }
    }
}

/// One reading of all blobs.
#[derive(Debug, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// When it began, UTC.
    pub began: String,
    /// When it ended, UTC.
    pub ended: Option<String>,
    /// Blobs read.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Blobs that were found damaged and set aside.
    pub damaged: u64,
}

impl ScrubStatus {
    /// A pass as it is shown.
    pub fn of(pass: &ScrubPass) -> Self {
        let ScrubPass { began, ended, blobs, bytes, damaged, .. } = *pass;
        Self { began: utc(began), ended: ended.map(utc), blobs, bytes, damaged }
    }
}

/// One verification of the records.
#[derive(Debug, Serialize, Deserialize)]
pub struct VerifiedStatus {
    /// When it ended, UTC.
    pub ended: String,
    /// So many seconds ago.
    pub age_seconds: u64,
    /// Entries that were walked.
    pub entries: u64,
    /// Whether nothing was wrong.
    pub sound: bool,
    /// How much was wrong.
    pub problems: u64,
    /// The first entry that is wrong, if one is.
    pub first_bad: Option<u64>,
    /// The first of what was wrong.
    pub first: Option<String>,
    /// When the last ended that found nothing wrong, UTC.
    pub last_sound: Option<String>,
}

impl VerifiedStatus {
    /// A verification as it is shown.
    pub fn of(verified: &Verified) -> Self {
        let sound = verified.is_sound();
        let Verified { ended, entries, problems, first_bad, first, sound: last_sound, .. } = verified.clone();
        let age_seconds = SystemTime::now().duration_since(ended).unwrap_or_default().as_secs();
        let (ended, last_sound) = (utc(ended), last_sound.map(utc));
        Self { ended, age_seconds, entries, sound, problems, first_bad, first, last_sound }
    }
}

/// One destination of a site.
#[derive(Debug, Serialize, Deserialize)]
pub struct DestinationStatus {
    /// Its name.
    pub destination: String,
    /// `up`, `down`, `parked`, or `idle` when it was not needed yet.
    pub contact: String,
    /// Since when it is down, UTC.
    pub down_since: Option<String>,
    /// What is wrong.
    pub trouble: Option<String>,
    /// Seconds until the next try, while it is down.
    pub next_try_seconds: Option<u64>,
    /// Transfers that are being carried now.
    pub in_flight: u64,
    /// Transfers that are not done, by the states of `transfers list`.
    pub pending: u64,
    /// Ambiguous, being checked.
    pub unknown: u64,
    /// Named in the destination's answer, not seen there yet.
    pub accepted: u64,
    /// Destination unusable.
    pub parked: u64,
    /// A person must decide.
    pub held: u64,
    /// Given up.
    pub dead: u64,
    /// How long the oldest urgent transfer has waited.
    #[serde(default)]
    pub urgent_waiting_seconds: Option<u64>,
    /// Who paused it, since when and why; nothing is sent there until somebody resumes it.
    #[serde(default)]
    pub paused: Option<String>,
    /// SOP classes that it does not take, since when, and what it said; their transfers are parked, and one is tried now and then.
    #[serde(default)]
    pub unsupported: Vec<String>,
    /// Instances that it had already and that count as done, although it gave nothing back that could be compared with ours.
    #[serde(default)]
    pub uncompared: u64,
    /// Since when it does not let itself be asked what it holds, and what it said; it is sent to all the same.
    #[serde(default)]
    pub unasked: Option<String>,
    /// What it warned of when it stored: of how many instances, since when, and which was the last. Until it is resumed.
    #[serde(default)]
    pub warned: Vec<String>,
    /// Age of the oldest transfer that is not done; age, not depth, is the alarm.
    pub oldest_age_seconds: Option<u64>,
}

impl Status {
    /// The state of a running gateway.
    pub(super) async fn of(face: &AdminFace) -> Result<Self, RecordsError> {
        let (summary, counts) = (face.records.summary().await?, face.records.blob_counts().await?);
        let usage = face.store.usage();
        let mut status = Self::of_files(&face.site, summary, counts);
        status.running = true;
        status.uptime_seconds = face.started.elapsed().unwrap_or_default().as_secs();
        status.free_bytes = Some(usage.free_bytes);
        status.reserve_bytes = Some(usage.reserve_bytes);
        status.refusing = usage.refusing;
        status.records_full = face.records.is_full();
        let (began, now) = (face.records.began().await?, SystemTime::now());
        let trouble = face.store.trouble();
        status.storage = storage::lines(&trouble, status.records_full, usage.reserve_bytes, began, now);
        status.scrub = face.records.scrub_pass().await?.as_ref().map(ScrubStatus::of);
        let verified = face.records.verified().await?;
        if face.janitor.is_unverified(verified.as_ref()) {
            status.storage.push(storage::unverified(verified.as_ref().map(|verified| verified.ended)));
        }
        status.verified = verified.as_ref().map(VerifiedStatus::of);
        status = status.telling_unlike(&face.records.unlike().await?);
        status.poisoned = face.store.poisoned().or_else(|| face.records.poisoned());
        let refusals = face.records.refusals();
        status.refused = refusals.count;
        status.last_refusal = refusals.last.map(|(at, what, detail)| format!("{} {what}: {detail}", utc(at)));
        status.worklists = face.worklists.standing().into_iter().map(WorklistStatus::of).collect();
        status.hl7 = face.hearing.as_ref().map(|(listen, hearing)| Hl7Status::of(*listen, hearing.so_far()));
        status.warnings = face.warnings.borrow().to_vec();
        for (destination, in_flight) in face.courier.in_flight() {
            match status.destinations.iter_mut().find(|one| one.destination == destination.0) {
                Some(one) => one.in_flight = in_flight as u64,
                None => status.destinations.push(DestinationStatus::unused(&destination.0)),
            }
        }
        status.destinations.sort_by(|a, b| a.destination.cmp(&b.destination));
        Ok(status)
    }

    /// With what the records say otherwise than the images.
    #[must_use]
    pub fn telling_unlike(self, unlike: &AllUnlike) -> Self {
        let named = unlike.noted.iter().map(|one| format!("{}: {}", one.uid, one.what));
        Self { unlike: named.collect(), unlike_more: unlike.more, ..self }
    }

    /// The state of a site whose gateway does not run, as its files tell.
    pub fn of_files(site: &str, summary: Summary, blobs: BlobCounts) -> Self {
        Self {
            site: site.to_owned(),
            running: false,
            held_by: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: 0,
            instances: summary.instances,
            unrouted: summary.unrouted,
            exceptions: summary.exceptions.values().sum(),
            stored_bytes: blobs.live_bytes,
            free_bytes: None,
            reserve_bytes: None,
            refusing: false,
            records_full: false,
            storage: Vec::new(),
            scrub: None,
            verified: None,
            unlike: Vec::new(),
            unlike_more: false,
            poisoned: None,
            refused: 0,
            last_refusal: None,
            ledger_entries: summary.head.size,
            ledger_chain: hex(&summary.head.chain),
            destinations: summary.destinations.into_iter().map(DestinationStatus::of).collect(),
            worklists: Vec::new(),
            hl7: None,
            warnings: Vec::new(),
        }
    }
}

impl DestinationStatus {
    fn of(view: DestinationView) -> Self {
        let now = SystemTime::now();
        let count = |state: State| view.open.get(state.word()).copied().unwrap_or_default();
        let tried = view.since.is_some();
        Self {
            contact: if view.reach == Reach::Up && !tried { "idle".into() } else { view.reach.word().into() },
            down_since: view.since.filter(|_| view.reach != Reach::Up).map(utc),
            trouble: view.words.filter(|_| view.reach != Reach::Up),
            next_try_seconds: view.not_before.map(|at| at.duration_since(now).unwrap_or_default().as_secs()),
            in_flight: 0,
            pending: count(State::Pending) + count(State::Leased) + count(State::Deferred),
            unknown: count(State::Unknown),
            accepted: count(State::Accepted),
            parked: count(State::Parked),
            held: count(State::Held),
            dead: count(State::Dead),
            urgent_waiting_seconds: view.urgent.map(|at| now.duration_since(at).unwrap_or_default().as_secs()),
            paused: view.paused.map(|paused| {
                let why = paused.why.map(|why| format!(": {why}")).unwrap_or_default();
                format!("by {} since {}{why}", paused.who, utc(paused.since))
            }),
            unsupported: view.unsupported.into_iter().map(unsupported).collect(),
            uncompared: view.uncompared,
            unasked: view.unasked.map(|unasked| {
                let why = unasked.why.map(|why| format!(": {why}")).unwrap_or_default();
                format!("since {}{why}", utc(unasked.since))
            }),
            warned: view.warned.into_iter().map(warned).collect(),
            oldest_age_seconds: view.oldest.map(|at| now.duration_since(at).unwrap_or_default().as_secs()),
            destination: view.destination.0,
        }
    }

    /// A destination for which nothing was ever owed.
    fn unused(name: &str) -> Self {
        Self {
            destination: name.to_owned(),
            contact: "idle".into(),
            down_since: None,
            trouble: None,
            next_try_seconds: None,
            in_flight: 0,
            pending: 0,
            unknown: 0,
            accepted: 0,
            parked: 0,
            held: 0,
            dead: 0,
            urgent_waiting_seconds: None,
            paused: None,
            unsupported: Vec::new(),
            uncompared: 0,
            unasked: None,
            warned: Vec::new(),
            oldest_age_seconds: None,
        }
    }
}

fn unsupported(one: Unsupported) -> String {
    let why = one.why.map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} since {}{why}", one.sop_class, utc(one.since))
}

fn warned(one: Warned) -> String {
    let Warned { code, since, count, instance, study } = one;
    let what = match code {
        0xB000 => "values changed",
        0xB006 => "elements DISCARDED",
        0xB007 => "contents that do not match their SOP class",
        _ => "a warning",
    };
    let many = if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") };
    format!("{many} with {what} ({code:04X}) since {}, the last {instance} of study {study}", utc(since))
}

pub(super) fn utc(at: SystemTime) -> String {
    Timestamp::try_from(at).map_or_else(|_| "?".into(), |at| at.to_string())
}
