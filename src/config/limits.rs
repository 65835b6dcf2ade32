//! `[timers]`, `[limits]`, `[courier]`, `[store]` and `[retention]`: every number that may be tuned, with its default.

use super::raw::Table;
use super::values::{boolean, duration, number, size};
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// `[timers]`: how long each phase of a conversation may take (DIM-021).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timers {
    /// TCP connect, DIMSE and HTTP.
    pub connect: Duration,
    /// TLS handshake.
    pub tls_handshake: Duration,
    /// ARTIM: for the other side to close after a rejection, release or abort (PS3.8 section 9.1.4).
    pub artim: Duration,
    /// Association negotiation.
    pub negotiation: Duration,
    /// Between two PDUs of one message.
    pub message_idle: Duration,
    /// Between two messages of one association.
    pub association_idle: Duration,
    /// For a DIMSE response, after the last byte of the request.
    pub response: Duration,
    /// For the answer to a release request.
    pub release: Duration,
    /// For the head of an HTTP request, and between two requests of a connection.
    pub http_idle: Duration,
    /// For work in hand when the gateway stops (REL-26).
    pub drain: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            tls_handshake: Duration::from_secs(10),
            artim: Duration::from_secs(30),
            negotiation: Duration::from_secs(30),
            message_idle: MINUTE,
            association_idle: 10 * MINUTE,
            response: 2 * MINUTE,
            release: Duration::from_secs(10),
            http_idle: MINUTE,
            drain: Duration::from_secs(30),
        }
    }
}

pub(super) fn timers(mut table: Table<'_>) -> Timers {
    let d = Timers::default();
    let timers = Timers {
        connect: table.or("connect", d.connect, duration),
        tls_handshake: table.or("tls_handshake", d.tls_handshake, duration),
        artim: table.or("artim", d.artim, duration),
        negotiation: table.or("negotiation", d.negotiation, duration),
        message_idle: table.or("message_idle", d.message_idle, duration),
        association_idle: table.or("association_idle", d.association_idle, duration),
        response: table.or("response", d.response, duration),
        release: table.or("release", d.release, duration),
        http_idle: table.or("http_idle", d.http_idle, duration),
        drain: table.or("drain", d.drain, duration),
    };
    table.finish();
    timers
}

/// `[limits]`: how much is taken from anybody before it is refused (SEC-021).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest data set, in bytes.
    pub instance_bytes: u64,
    /// Longest value of an indexed attribute, in bytes.
    pub value_bytes: u64,
    /// Deepest nesting of sequences.
    pub depth: u32,
    /// Most elements of a data set, nested ones included.
    pub elements: u64,
    /// Largest STOW-RS request, in bytes (WEB-032).
    pub request_bytes: u64,
    /// Most parts of a STOW-RS request. Each is remembered until it is named in the answer, in some 40 bytes, 140 at most.
    pub parts: u32,
    /// Longest header of a part, in bytes.
    pub part_header_bytes: u64,
    /// Largest answer of a peer, in bytes.
    pub answer_bytes: u64,
    /// Instances of one STOW-RS request that may be between arrival and commit, in bytes.
    pub commit_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instance_bytes: 16 * GIB,
            value_bytes: 16 * KIB,
            depth: 64,
            elements: 10_000_000,
            request_bytes: 64 * GIB,
            parts: 20_000,
            part_header_bytes: 16 * KIB,
            answer_bytes: 16 * MIB,
            commit_bytes: 16 * MIB,
        }
    }
}

pub(super) fn limits(mut table: Table<'_>) -> Limits {
    let d = Limits::default();
    let limits = Limits {
        instance_bytes: table.or("instance", d.instance_bytes, size(MIB..=1024 * GIB)),
        value_bytes: table.or("value", d.value_bytes, size(KIB..=MIB)),
        depth: table.or("depth", d.depth, number(4..=1_000)),
        elements: table.or("elements", d.elements, number(1_000..=1_000_000_000)),
        request_bytes: table.or("request", d.request_bytes, size(MIB..=16_384 * GIB)),
        parts: table.or("parts", d.parts, number(1..=1_000_000)),
        part_header_bytes: table.or("part_header", d.part_header_bytes, size(KIB..=MIB)),
        answer_bytes: table.or("answer", d.answer_bytes, size(64 * KIB..=GIB)),
        commit_bytes: table.or("commit", d.commit_bytes, size(MIB..=GIB)),
    };
    table.finish();
    limits
}

/// `[courier]`: how deliveries are batched, repeated and given up (REL-20, WEB-071, WEB-072).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Courier {
    /// Most instances of a batch.
    pub batch_instances: usize,
    /// Most bytes of a batch, unless one instance alone has more.
    pub batch_bytes: u64,
    /// Most instances that one verification asks for.
    pub check_instances: usize,
    /// Upper bound of the first wait after a failure.
    pub retry_first: Duration,
    /// Upper bound of every later wait, which doubles until then.
    pub retry_longest: Duration,
    /// After so long without success a destination counts as down.
    pub outage_after: Duration,
    /// How often a destination that is down is tried.
    pub outage_probe: Duration,
    /// After so long of its own failures a transfer is given up; time in which the destination was down does not count.
    pub give_up_after: Duration,
    /// So often in a row a destination may refuse an instance, for reasons that might pass, before it is given up.
    pub refusals: u32,
    /// How often what counts as done is compared with what each peer shows.
    pub reconcile_every: Duration,
    /// A duplicate of what was done longer ago makes us ask the destination again.
    pub resend_after: Duration,
    /// Slowest progress of a request, in bytes a second; below it for `progress_time` the request is cut off.
    pub progress_bytes: u64,
    /// See `progress_bytes`.
    pub progress_time: Duration,
    /// An association to a node stays open so long after a batch, for the next one of the same study.
    pub linger: Duration,
}

impl Default for Courier {
    fn default() -> Self {
        Self {
            batch_instances: 200,
            batch_bytes: 64 * MIB,
            check_instances: 200,
            retry_first: Duration::from_secs(5),
            retry_longest: 15 * MINUTE,
            outage_after: HOUR,
            outage_probe: 5 * MINUTE,
            give_up_after: 5 * DAY,
            refusals: 12,
            reconcile_every: DAY,
            resend_after: DAY,
            progress_bytes: 16 * KIB,
            progress_time: MINUTE,
            linger: Duration::from_secs(2),
        }
    }
}

pub(super) fn courier(mut table: Table<'_>) -> Courier {
    let d = Courier::default();
    let courier = Courier {
        batch_instances: table.or("batch_instances", d.batch_instances, number(1..=10_000)),
        batch_bytes: table.or("batch", d.batch_bytes, size(64 * KIB..=64 * GIB)),
        check_instances: table.or("check_instances", d.check_instances, number(1..=10_000)),
        retry_first: table.or("retry_first", d.retry_first, duration),
        retry_longest: table.or("retry_longest", d.retry_longest, duration),
        outage_after: table.or("outage_after", d.outage_after, duration),
        outage_probe: table.or("outage_probe", d.outage_probe, duration),
        give_up_after: table.or("give_up_after", d.give_up_after, duration),
        refusals: table.or("refusals", d.refusals, number(1..=10_000)),
        reconcile_every: table.or("reconcile_every", d.reconcile_every, duration),
        resend_after: table.or("resend_after", d.resend_after, duration),
        progress_bytes: table.or("progress", d.progress_bytes, size(1..=GIB)),
        progress_time: table.or("progress_time", d.progress_time, duration),
        linger: table.or("linger", d.linger, duration),
    };
    if courier.retry_longest < courier.retry_first {
        let message = "`retry_longest` in [courier] is shorter than `retry_first`";
        table.mistakes().wrong(table.span(), message, "it bounds every wait, the first too");
    }
    table.finish();
    courier
}

/// `[store]`: how blobs are kept on disk and how much memory that may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Below so much free disk nothing new is taken (REL-06); `None` leaves it to the store, which knows the disk's size.
    pub reserve_bytes: Option<u64>,
    /// Size of a segment.
    pub segment_bytes: u64,
    /// Blobs up to this size share segments; larger ones take a file of their own.
    pub small_object_bytes: u64,
    /// Memory for all buffers together (REL-25).
    pub buffer_bytes: u64,
    /// Size of one buffer.
    pub chunk_bytes: u64,
    /// Write past the page cache where the file system can.
    pub direct: bool,
    /// Every blob is read and compared with its digest so often (REL-07).
    pub scrub_every: Duration,
    /// Most bytes a second that reading and moving them takes.
    pub scrub_bytes: u64,
    /// The records are verified so often (LED-006).
    pub verify_every: Duration,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            reserve_bytes: None,
            segment_bytes: 256 * MIB,
            small_object_bytes: MIB,
            buffer_bytes: 32 * MIB,
            chunk_bytes: 256 * KIB,
            direct: true,
            scrub_every: 30 * DAY,
            scrub_bytes: 16 * MIB,
            verify_every: DAY,
        }
    }
}

pub(super) fn store(mut table: Table<'_>) -> StoreSettings {
    let d = StoreSettings::default();
    let store = StoreSettings {
        reserve_bytes: table.optional("reserve", size(0..=1_048_576 * GIB)).map(|at| at.value),
        segment_bytes: table.or("segment", d.segment_bytes, size(MIB..=64 * GIB)),
        small_object_bytes: table.or("small_object", d.small_object_bytes, size(0..=GIB)),
        buffer_bytes: table.or("buffers", d.buffer_bytes, size(4 * MIB..=16 * GIB)),
        chunk_bytes: table.or("chunk", d.chunk_bytes, size(16 * KIB..=16 * MIB)),
        direct: table.or("direct", d.direct, boolean),
        scrub_every: table.or("scrub_every", d.scrub_every, duration),
        scrub_bytes: table.or("scrub_rate", d.scrub_bytes, size(64 * KIB..=16 * GIB)),
        verify_every: table.or("verify_every", d.verify_every, duration),
    };
    let sums = [
        (
            !store.chunk_bytes.is_multiple_of(4_096),
            "`chunk` in [store] is no multiple of 4 KiB",
            "buffers are written whole",
        ),
        (
            !store.segment_bytes.is_multiple_of(4_096),
            "`segment` in [store] is no multiple of 4 KiB",
            "blobs start at such places",
        ),
        (
            store.buffer_bytes < 8 * store.chunk_bytes,
            "`buffers` in [store] hold fewer than 8 chunks",
            "give more memory",
        ),
        (
            store.small_object_bytes > store.segment_bytes / 4,
            "`small_object` in [store] is above a quarter of `segment`",
            "make segments larger",
        ),
        (
            store.small_object_bytes > store.buffer_bytes / 4,
            "`small_object` in [store] is above a quarter of `buffers`",
            "small objects wait in memory until they are synced",
        ),
    ];
    for (_, message, hint) in sums.into_iter().filter(|(wrong, _, _)| *wrong) {
        table.mistakes().wrong(table.span(), message, hint);
    }
    table.finish();
    store
}

/// `[retention]`: how long bytes are kept after everything that was owed of them is done (LED-030).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Whether bytes are purged at all. Records never are.
    pub purge: bool,
    /// Never sooner than this after the last arrival and the last transfer's end, however short of room the disk is.
    pub keep_at_least: Duration,
    /// No longer than this, however much room there is.
    pub keep_at_most: Duration,
    /// Below so much free disk, but never less than twice the reserve, what was kept for `keep_at_least` goes, the oldest first; `None` for
    /// a tenth of the disk, 0 for never.
    pub room_bytes: Option<u64>,
    /// How often it is looked at.
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { purge: true, keep_at_least: 3 * DAY, keep_at_most: 30 * DAY, room_bytes: None, every: MINUTE }
    }
}

/// `reserve` is that of `[store]`, if it is written.
pub(super) fn retention(mut table: Table<'_>, reserve: Option<u64>) -> Retention {
    let d = Retention::default();
    let room = table.optional("room", size(0..=1_048_576 * GIB));
    let retention = Retention {
        purge: table.or("purge", d.purge, boolean),
        keep_at_least: table.or("keep_at_least", d.keep_at_least, duration),
        keep_at_most: table.or("keep_at_most", d.keep_at_most, duration),
        room_bytes: room.as_ref().map(|at| at.value),
        every: table.or("every", d.every, duration),
    };
    if retention.keep_at_least > retention.keep_at_most {
        let message = "`keep_at_least` in [retention] is longer than `keep_at_most`";
        table.mistakes().wrong(table.span(), message, "what must be kept cannot be purged before");
    }
    if let Some(room) = room.filter(|room| room.value > 0 && reserve.is_some_and(|reserve| room.value < reserve)) {
        let message = "`room` in [retention] is less than `reserve` in [store]";
        let hint = "nothing new would be taken before anything is purged; give `room` at least twice the reserve";
        table.mistakes().wrong(Some(room.span), message, hint);
    }
    table.finish();
    retention
}
