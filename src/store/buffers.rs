//! The byte budget: every buffer of the store is lent from here, page-aligned, and goes back by itself.

use std::io::IoSlice;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of every write: O_DIRECT asks for memory, offset and length to be multiples of it.
pub(super) const PAGE: usize = 4096;

/// [`PAGE`] for file offsets.
pub(super) const PAGE_BYTES: u64 = PAGE as u64;

/// What a buffer costs beyond its capacity: a spare page for a label, and a page to align the start in.
const OVERHEAD: usize = 2 * PAGE;

/// Where the first page starts in some memory.
pub(super) fn page_start(memory: &[u8]) -> usize {
    let start = memory.as_ptr().align_offset(PAGE);
    // For bytes, the offset is always found; a start of zero would only make O_DIRECT refuse the call.
    if start < PAGE { start } else { 0 }
}

/// How large a buffer is asked for. A stream starts small, so that many slow or idle ones cost little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// 16 KiB: the first buffer of a stream, and the whole of most small objects.
    First,
    /// 64 KiB: the second buffer of a stream, and what readers get when memory is short.
    Second,
    /// A chunk as configured, 256 KiB by default.
    Chunk,
    /// Four chunks less 64 KiB: for large objects while there is plenty. Larger writes are nearly twice as fast, but one of
    /// more pages than a virtual disk takes in one request (254) costs two.
    Large,
}

impl Size {
    fn index(self) -> usize {
        match self {
            Self::First => 0,
            Self::Second => 1,
            Self::Chunk => 2,
            Self::Large => 3,
        }
    }
}

/// A number of bytes that all buffers lent at one time never exceed.
///
/// Permits are bytes. [`Budget::take`] waits in order of arrival and is called only by who holds no buffer yet, and
/// [`Budget::grow`] never waits: so whoever holds a buffer can always go on with it, and nobody waits for itself.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    permits: Arc<Semaphore>,
    shelf: Arc<Shelf>,
}

impl Budget {
    /// A budget of `limit` bytes, raised to what two chunks need if it is less; at most 4 GiB.
    pub(super) fn new(limit: usize, chunk: usize) -> Self {
        let chunk = chunk.next_multiple_of(PAGE).clamp(64 << 10, 16 << 20);
        let limit = limit.clamp(4 * (chunk + OVERHEAD), u32::MAX as usize);
        let capacities = [16 << 10, 64 << 10, chunk, 4 * chunk - (64 << 10)];
        let shelf = Shelf { capacities, limit, stock: Mutex::new(Stock::default()) };
        Self { permits: Arc::new(Semaphore::new(limit)), shelf: Arc::new(shelf) }
    }

    /// The smallest size that holds `bytes`, or a chunk if none does.
    pub(super) fn size_for(&self, bytes: u64) -> Size {
        let fits = |size: &Size| self.shelf.capacities[size.index()] as u64 >= bytes;
        [Size::First, Size::Second].into_iter().find(fits).unwrap_or(Size::Chunk)
    }

    /// The most bytes that a buffer holds.
    pub(super) fn largest(&self) -> u64 {
        self.shelf.capacities[Size::Large.index()] as u64
    }

    /// A buffer, if one is to be had at once. It is not taken from those that wait already.
    pub(super) fn take_now(&self, size: Size) -> Option<Buffer> {
        let permit = Arc::clone(&self.permits).try_acquire_many_owned(self.shelf.cost(size)).ok()?;
        Some(self.shelf.lend(size, permit))
    }

    /// Waits for a buffer. Only for callers that hold none.
    pub(super) async fn take(&self, size: Size) -> Buffer {
        let cost = self.shelf.cost(size);
        // The semaphore is never closed, so the wait ends with a permit; the loop spares an `unwrap`.
        loop {
            if let Ok(permit) = Arc::clone(&self.permits).acquire_many_owned(cost).await {
                return self.shelf.lend(size, permit);
            }
        }
    }

    /// One more buffer for a caller that holds some already, if an eighth of the budget stays free for those that hold
    /// none, and for a large one half of it. Never waits.
    pub(super) fn grow(&self, size: Size) -> Option<Buffer> {
        let cost = self.shelf.cost(size);
        let spared = self.shelf.limit / if size == Size::Large { 2 } else { 8 };
        if self.free() < cost as usize + spared {
            return None;
        }
        let permit = Arc::clone(&self.permits).try_acquire_many_owned(cost).ok()?;
        Some(self.shelf.lend(size, permit))
    }

    /// Bytes not lent at the moment.
    pub(super) fn free(&self) -> usize {
        self.permits.available_permits()
    }

    /// Bytes lent at the moment.
    pub(super) fn lent(&self) -> usize {
        self.shelf.limit.saturating_sub(self.free())
    }

    /// Whether less than half is free.
    pub(super) fn is_short(&self) -> bool {
        self.free() < self.shelf.limit / 2
    }
}

/// Memory that was lent before and is kept for the next. Together with what is lent it stays within the limit.
#[derive(Debug)]
struct Shelf {
    capacities: [usize; 4],
    limit: usize,
    stock: Mutex<Stock>,
}

#[derive(Debug, Default)]
struct Stock {
    idle: [Vec<Box<[u8]>>; 4],
    /// Bytes that exist, lent or idle.
    held: usize,
}

impl Shelf {
    /// Bytes of memory of a buffer. Capacities are at most 16 MiB, so it fits.
    fn cost(&self, size: Size) -> u32 {
        u32::try_from(self.capacities[size.index()] + OVERHEAD).unwrap_or(u32::MAX)
    }

    /// Finds or makes the memory that a permit stands for, and gives up idle memory of other sizes for it if need be.
    fn lend(self: &Arc<Self>, size: Size, permit: OwnedSemaphorePermit) -> Buffer {
        let bytes = self.capacities[size.index()] + OVERHEAD;
        let kept = {
            let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = stock.idle[size.index()].pop();
            if kept.is_none() {
                for other in 0..stock.idle.len() {
                    while stock.held + bytes > self.limit
                        && let Some(dropped) = stock.idle[other].pop()
                    {
                        stock.held -= dropped.len();
                    }
                }
                stock.held += bytes;
            }
            kept
        };
        let memory = kept.unwrap_or_else(|| vec![0; bytes].into_boxed_slice());
        let start = page_start(&memory);
        Buffer { memory, start, size, filled: 0, shelf: Arc::clone(self), _permit: permit }
    }
}

/// A lent run of memory: starts on a page, holds up to its capacity, and one page more for a label.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Box<[u8]>,
    start: usize,
    size: Size,
    filled: usize,
    shelf: Arc<Shelf>,
    _permit: OwnedSemaphorePermit,
}

impl Buffer {
    /// Bytes of data that it can hold; a multiple of [`PAGE`].
    pub(super) fn capacity(&self) -> usize {
        self.shelf.capacities[self.size.index()]
    }

    /// The size it was asked for.
    pub(super) fn size(&self) -> Size {
        self.size
    }

    /// Whether no byte of data fits any more.
    pub(super) fn is_full(&self) -> bool {
        self.filled >= self.capacity()
    }

    /// Copies as many bytes as fit and says how many.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.capacity().saturating_sub(self.filled));
        let from = self.start + self.filled;
        self.memory[from..from + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        count
    }

    /// Forgets what it holds.
    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// The first `count` bytes of its room, to be read into; they count as filled. Less if it holds less.
    pub(super) fn room(&mut self, count: usize) -> &mut [u8] {
        self.filled = count.min(self.capacity());
        &mut self.memory[self.start..self.start + self.filled]
    }

    /// Fills up with zeros so that the label ends the last page, and adds the label: in the last page of the data if
    /// it fits there, else in one more. What an earlier owner left in the memory never reaches the disk.
    pub(super) fn close_with(&mut self, label: &[u8]) {
        let end = (self.filled + label.len()).next_multiple_of(PAGE);
        let label_at = self.start + end - label.len();
        self.memory[self.start + self.filled..label_at].fill(0);
        self.memory[label_at..self.start + end].copy_from_slice(label);
        self.filled = end;
    }

    /// As [`Self::room`], but to the end of the last page, for O_DIRECT; only `count` bytes of it count as filled.
    pub(super) fn whole_pages(&mut self, count: usize) -> &mut [u8] {
        self.filled = count.min(self.capacity());
        &mut self.memory[self.start..self.start + self.filled.next_multiple_of(PAGE)]
    }

    /// What it holds.
    pub(super) fn filled(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.shelf.stock.lock().unwrap_or_else(PoisonError::into_inner).idle[self.size.index()].push(memory);
    }
}

/// The filled parts of some buffers, as one gathered write takes them.
pub(super) fn slices<'a>(buffers: impl IntoIterator<Item = &'a Buffer>) -> Vec<IoSlice<'a>> {
    buffers.into_iter().map(|buffer| IoSlice::new(buffer.filled())).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn buffers_are_aligned_and_come_back() {
        let budget = Budget::new(2 << 20, 256 << 10);
        let all = budget.free();
        for (size, capacity) in
            [(Size::First, 16 << 10), (Size::Second, 64 << 10), (Size::Chunk, 256 << 10), (Size::Large, 960 << 10)]
        {
            let mut buffer = budget.take(size).await;
            assert_eq!((buffer.capacity(), buffer.size()), (capacity, size));
            assert_eq!(buffer.push(&vec![7; capacity + 5]), capacity);
            assert!(buffer.is_full());
            assert_eq!(buffer.filled().as_ptr().align_offset(PAGE), 0);
            assert_eq!(budget.lent(), capacity + OVERHEAD);
        }
        assert_eq!((budget.free(), budget.lent()), (all, 0));
    }

    #[tokio::test]
    async fn growth_leaves_room_for_those_that_hold_nothing() {
        let budget = Budget::new(2 << 20, 256 << 10);
        let mut held = vec![];
        while let Some(buffer) = budget.grow(Size::Chunk) {
            held.push(buffer);
        }
        assert!(!held.is_empty() && budget.free() >= (2 << 20) / 8);
        held.push(budget.take(Size::First).await);
        // Memory that exists never exceeds the limit, also when sizes change.
        drop(held);
        let small: Vec<_> = std::iter::from_fn(|| budget.grow(Size::First)).collect();
        assert!(small.len() > 50);
        assert!(budget.shelf.stock.lock().unwrap().held <= 2 << 20);
    }

    #[tokio::test]
    async fn labels_end_a_page_and_old_bytes_are_wiped() {
        let budget = Budget::new(2 << 20, 256 << 10);
        for (data, pages) in [(0, 1), (1, 1), (PAGE - 8, 1), (PAGE - 7, 2), (PAGE, 2), (16 << 10, 5)] {
            let mut buffer = budget.take(Size::First).await;
            buffer.room(16 << 10).fill(0xEE);
            buffer.clear();
            assert_eq!(buffer.push(&vec![1; data]), data);
            buffer.close_with(b"LABEL!!!");
            assert_eq!(buffer.filled().len(), pages * PAGE, "{data}");
            assert!(buffer.filled().ends_with(b"LABEL!!!"));
            assert!(buffer.filled()[data..pages * PAGE - 8].iter().all(|b| *b == 0), "{data}");
        }
    }
}
