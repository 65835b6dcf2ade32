//! The start of a blob that is written at the end of the segment before the rest has come, in the hope that it will stay there.

use super::Segment;
use crate::store::Core;
use crate::store::buffers::Buffer;
use std::sync::Arc;

/// Full buffers of a stream, from its first byte on.
pub(in crate::store) struct Start {
    /// The stream's number since the start.
    pub(in crate::store) stream: u64,
    pub(in crate::store) buffers: Vec<Arc<Buffer>>,
}

/// What was written ahead. It reserves nothing: whoever comes first takes the place, and the stream still has its buffers.
/// What it leaves behind is as the rest of a write that a crash cut short: pages without a label, behind the last blob.
pub(super) struct Ahead {
    stream: u64,
    /// The segment, and where in it.
    file: u64,
    offset: u64,
    buffers: usize,
    bytes: u64,
}

impl Ahead {
    /// Writes what is new of a start. `None` if it cannot be of use: it did not fit, or the write failed, which whoever writes
    /// next is told (REL-04).
    pub(super) fn write(core: &Core, segment: &Segment, before: Option<Self>, start: &Start) -> Option<Self> {
        let before = before.filter(|ahead| ahead.holds(start.stream, segment));
        let mut ahead = before.unwrap_or(Self {
            stream: start.stream,
            file: segment.number,
            offset: segment.used,
            buffers: 0,
            bytes: 0,
        });
        let fresh = start.buffers.get(ahead.buffers..)?;
        let bytes: u64 = fresh.iter().map(|buffer| buffer.filled().len() as u64).sum();
        if !segment.fits(ahead.bytes + bytes) {
            return None;
        }
        core.disk.check().ok()?;
        segment.write(core, fresh.iter().map(AsRef::as_ref), ahead.offset + ahead.bytes).ok()?;
        ahead.buffers = start.buffers.len();
        ahead.bytes += bytes;
        Some(ahead)
    }

    /// Whether this is of that stream, and a blob placed now would lie where it was written.
    fn holds(&self, stream: u64, segment: &Segment) -> bool {
        self.stream == stream && self.file == segment.number && self.offset == segment.used
    }

    /// How many buffers, and bytes, of a blob of that stream are written already, if it is placed now.
    pub(super) fn of(&self, stream: u64, segment: &Segment) -> (usize, u64) {
        if self.holds(stream, segment) { (self.buffers, self.bytes) } else { (0, 0) }
    }
}
