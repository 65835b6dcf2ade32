//! The answers to questions: sums of transfers, instances and their transfers, destinations, exceptions, the whole at a glance.

use super::arrival::{ExceptionId, InstanceId, SourceFacts};
use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::ledger::breaker::Reach;
use crate::ledger::judgement::Verdict;
use crate::ledger::merkle::Hash;
use crate::ledger::transfer::{Cause, State, TransferId};
use crate::peers::{Destination, Origin, Priority, Verify};
use crate::store::Digest;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Where the next page of a list starts; meaningless outside the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub(super) i64, pub(super) i64);

/// Which sums to list.
#[derive(Debug, Clone, Default)]
pub struct TransferFilter {
    /// Only of this study.
    pub study: Option<StudyUid>,
    /// Only to this destination.
    pub destination: Option<Destination>,
    /// Only where something is not done.
    pub open_only: bool,
    /// Single transfers only: those that were done at this time or later, however long they were owed before.
    pub done_since: Option<SystemTime>,
    /// The most rows of one answer; 0 means 1,000, which is also the most.
    pub limit: usize,
    /// Continue after an earlier answer.
    pub after: Option<Cursor>,
}

/// The transfers of one study to one destination, counted (INV-10): the eight counts always add up to `instances`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferSums {
    /// Study Instance UID.
    pub study_instance_uid: StudyUid,
    /// Where to.
    pub destination: Destination,
    /// All transfers of the study to the destination.
    pub instances: u64,
    /// To be tried, being tried, or waiting for their time.
    pub pending: u64,
    /// Ambiguous, being checked.
    pub unknown: u64,
    /// Named in the destination's answer.
    pub accepted: u64,
    /// With the evidence that policy asks for.
    pub verified: u64,
    /// Waiting for an unusable destination.
    pub parked: u64,
    /// Waiting for a person.
    pub held: u64,
    /// Given up.
    pub dead: u64,
    /// Cancelled by a person.
    pub cancelled: u64,
    /// How long the oldest that is not done has been owed, in seconds; `None` when all are done.
    pub oldest_age_seconds: Option<u64>,
    /// When the next is tried or asked about; `None` when nothing is to come, or a person paused the destination.
    pub next_attempt: Option<SystemTime>,
    /// The highest priority of those that are not done; `None` when all are done.
    pub priority: Option<Priority>,
    /// Whether a person paused the destination.
    pub paused: bool,
    /// Those that go on by themselves: neither done, nor a person's to decide, nor waiting for a destination that is parked as a whole.
    pub moving: u64,
    /// Those that are not done.
    pub open: u64,
}

/// One transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferView {
    /// Its number.
    pub transfer: TransferId,
    /// Of which instance.
    pub sop_instance_uid: InstanceUid,
    /// Which version of it.
    pub version: u32,
    /// Whether a rejection note hides it, here and so at who has the note.
    pub is_rejected: bool,
    /// Of which study.
    pub study_instance_uid: StudyUid,
    /// Where to.
    pub destination: Destination,
    /// Why.
    pub cause: Cause,
    /// The route that chose it, if one did.
    pub route: Option<String>,
    /// Whether it counts for commitment.
    pub mandatory: bool,
    /// What must be seen before it is done.
    pub verify: Verify,
    /// Where it stands.
    pub state: State,
    /// How often it was sent.
    pub attempts: u32,
    /// The word of its last outcome.
    pub last_outcome: Option<String>,
    /// What was said last, in plain words.
    pub last_words: Option<String>,
    /// What lets it count as done, in plain words.
    pub evidence: Option<String>,
    /// Since when it is owed.
    pub created: SystemTime,
    /// When it is tried or asked about next; `None` when nothing is to come without a person.
    pub next_attempt: Option<SystemTime>,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether a person paused its destination.
    pub paused: bool,
}

/// One version of an instance with its transfers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceView {
    /// Its number; lists are in this order.
    pub instance: InstanceId,
    /// SOP Instance UID.
    pub sop_instance_uid: InstanceUid,
    /// 1 for the first of its UID.
    pub version: u32,
    /// SOP Class UID.
    pub sop_class_uid: SopClassUid,
    /// Study Instance UID.
    pub study_instance_uid: StudyUid,
    /// Series Instance UID.
    pub series_instance_uid: SeriesUid,
    /// The syntax in which the bytes are encoded.
    pub transfer_syntax_uid: TransferSyntaxUid,
    /// The SHA-256 of the data set.
    pub sha256: Digest,
    /// The length of the data set.
    pub bytes: u64,
    /// `stored`, `held`, `purged` or `corrupt`.
    pub state: String,
    /// The rejection note that hides it, if one does.
    pub rejected_by: Option<InstanceUid>,
    /// Whether no route chose it.
    pub unrouted: bool,
    /// Who sent it first.
    pub source: Origin,
    /// The source in detail.
    pub source_facts: SourceFacts,
    /// When it was received first.
    pub received: SystemTime,
    /// How often it arrived.
    pub arrivals: u64,
    /// The version that stands in front of it, because it says the same or is its revision; only what has none is shown to others.
    pub behind: Option<InstanceId>,
    /// Whether a conflict holds it: it waits for a person, or was rejected.
    pub in_conflict: bool,
    /// What is owed of it.
    pub transfers: Vec<TransferView>,
}

/// Instances that one question may name: as many as a list of QIDO-RS may hold.
pub const MOST_NAMED: usize = 1024;

/// What to find for an answer to a query: instances that are stored, not the held versions.
#[derive(Debug, Clone, Default)]
pub struct FindInstances {
    /// Only of this study.
    pub study: Option<StudyUid>,
    /// Only of this series.
    pub series: Option<SeriesUid>,
    /// Only these; empty means all. At most [`MOST_NAMED`].
    pub instances: Vec<InstanceUid>,
    /// Only those after this one. Pages go on so: what goes away between two of them moves nothing that is still here.
    pub after: InstanceId,
    /// At most so many; 0 means 1,000, which is also the most.
    pub limit: usize,
}

/// Decoded values of indexed attributes by tag, several values joined by backslashes. `Debug` prints no values (SEC-010).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Texts(pub BTreeMap<Tag, String>);

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Texts({} present)", self.0.len())
    }
}

/// One instance that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundInstance {
    /// Its number; they rise in the order of arrival.
    pub id: InstanceId,
    /// Study Instance UID.
    pub study: StudyUid,
    /// Series Instance UID.
    pub series: SeriesUid,
    /// SOP Instance UID.
    pub instance: InstanceUid,
    /// SOP Class UID.
    pub sop_class: SopClassUid,
    /// The syntax in which the bytes are encoded.
    pub transfer_syntax: TransferSyntaxUid,
    /// The length of the data set in bytes.
    pub length: u64,
    /// Attributes of the patient, study, series and instance.
    pub attributes: Texts,
    /// How it first came to us.
    pub origin: Origin,
}

/// How a destination stands, and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationView {
    /// Its name.
    pub destination: Destination,
    /// Whether it can be reached.
    pub reach: Reach,
    /// Since when.
    pub since: Option<SystemTime>,
    /// Failures in a row.
    pub failures: u32,
    /// Nothing is tried before this time.
    pub not_before: Option<SystemTime>,
    /// What it said last, or what is wrong with it, while it is not up.
    pub words: Option<String>,
    /// Transfers that are not done, by state; states with none are left out.
    pub open: BTreeMap<&'static str, u64>,
    /// Since when the oldest transfer that is not done is owed.
    pub oldest: Option<SystemTime>,
    /// Since when the oldest urgent transfer waits that is neither done, held nor given up; also what is parked for its class (REL-20).
    pub urgent: Option<SystemTime>,
    /// Who paused it, if somebody did.
    pub paused: Option<Paused>,
    /// SOP classes that it does not take.
    pub unsupported: Vec<Unsupported>,
    /// Transfers that count as done although what it had already under their UIDs could not be compared, as long as our bytes are here.
    pub uncompared: u64,
    /// How it refuses to be asked what it holds, if it does. It may be sent to all the same.
    pub unasked: Option<Unasked>,
    /// What it warned of when it stored, by code; a person who resumes it has seen it.
    pub warned: Vec<Warned>,
}

/// What a destination warns of when it stores: it keeps something else than it was sent, or says so (WEB-044).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warned {
    /// A Warning Reason (0008,1196), or a status of C-STORE.
    pub code: u16,
    /// Since when.
    pub since: SystemTime,
    /// Of how many instances, counted each time.
    pub count: u64,
    /// The last one.
    pub instance: InstanceUid,
    /// Its study.
    pub study: StudyUid,
}

/// A destination that does not let itself be asked what it holds, so that what it took stays accepted and is not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unasked {
    /// Since when.
    pub since: SystemTime,
    /// How often in a row it did not.
    pub failures: u32,
    /// It is not asked before this time.
    pub not_before: Option<SystemTime>,
    /// What it said.
    pub why: Option<String>,
}

/// A SOP class that a destination does not take: its transfers are parked there until a person resumes the destination (WEB-063).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The class.
    pub sop_class: SopClassUid,
    /// Since when.
    pub since: SystemTime,
    /// What the destination said.
    pub why: Option<String>,
}

/// A destination that a person paused: nothing is sent there and nothing is asked until it is resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// Since when.
    pub since: SystemTime,
    /// By whom.
    pub who: String,
    /// Why.
    pub why: Option<String>,
}

/// The whole at a glance (UIX-01).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Versions of instances ever recorded.
    pub instances: u64,
    /// Instances that no route chose.
    pub unrouted: u64,
    /// Transfers ever owed.
    pub transfers: u64,
    /// Exceptions that wait for a person, by kind.
    pub exceptions: BTreeMap<String, u64>,
    /// Those of them that are conflicts at which the judge has not looked yet: it may find that they are none.
    pub unjudged: u64,
    /// Each destination that was ever owed anything.
    pub destinations: Vec<DestinationView>,
    /// The head of the ledger.
    pub head: LedgerHead,
    /// Why nothing is accepted any more, if so (REL-04).
    pub poisoned: Option<String>,
}

/// The head of the ledger: what fixes every entry up to its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerHead {
    /// The number of entries.
    pub size: u64,
    /// The root of the RFC 6962 tree over them.
    pub root: Hash,
    /// The hash chain over them.
    pub chain: Hash,
}

/// Something that waits for a person, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionView {
    /// Its number.
    pub exception: ExceptionId,
    /// `conflict`, `dead`, `poison` or `corrupt`.
    pub kind: String,
    /// Of which instance.
    pub sop_instance_uid: InstanceUid,
    /// Of which study.
    pub study_instance_uid: StudyUid,
    /// Which version of the instance.
    pub version: u32,
    /// The transfer, if it is about one.
    pub transfer: Option<TransferId>,
    /// Its destination.
    pub destination: Option<Destination>,
    /// When it was opened.
    pub opened: SystemTime,
    /// When it was closed; `None` while it waits.
    pub closed: Option<SystemTime>,
    /// Why, in plain words.
    pub words: Option<String>,
    /// What the judge found of a conflict; none until it has looked.
    pub verdict: Option<Verdict>,
    /// The version of the instance that it was compared with.
    pub against: Option<u32>,
    /// `accepted` or `rejected`, if a person decided about a conflict.
    pub decision: Option<String>,
    /// The person who ended it; none while it waits, or if it ended by itself.
    pub ended_by: Option<EndedBy>,
}

/// A person who ended an exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedBy {
    /// What they decided: `accept`, `reject`, `retry`, `release`, `cancel` or `seen`.
    pub verb: String,
    /// Who, by the name that they gave.
    pub who: String,
    /// Why, if they said.
    pub reason: Option<String>,
}

/// Counts of blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlobCounts {
    /// Live blobs.
    pub live: u64,
    /// Bytes of live blobs.
    pub live_bytes: u64,
    /// Blobs whose deletion is recorded but not finished.
    pub condemned: u64,
    /// Blobs that are damaged or missing and are set aside.
    pub corrupt: u64,
}
