//! The receive buffer of one association: small while it is idle, large while a data set streams.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// The buffer that every association holds.
pub(in crate::dimse) const SMALL_BYTES: usize = 8 * 1024;

/// Received bytes between `start` and `end`; what is consumed stays readable until the next read.
#[derive(Debug)]
pub(super) struct Inbox {
    small: Box<[u8]>,
    large: Option<Large>,
    start: usize,
    end: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { small: vec![0; SMALL_BYTES].into(), large: None, start: 0, end: 0 }
    }
}

impl Inbox {
    fn buffer(&self) -> &[u8] {
        self.large.as_ref().map_or(&self.small, |large| &large.bytes)
    }

    fn buffer_mut(&mut self) -> &mut [u8] {
        match &mut self.large {
            Some(large) => &mut large.bytes,
            None => &mut self.small,
        }
    }

    /// What was received and not consumed.
    pub(super) fn filled(&self) -> &[u8] {
        self.at(self.start..self.end)
    }

    /// Where [`Self::filled`] begins, for [`Self::at`].
    pub(super) fn origin(&self) -> usize {
        self.start
    }

    pub(super) fn at(&self, range: Range<usize>) -> &[u8] {
        self.buffer().get(range).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// Room to read into, never empty unless the buffer is full of unconsumed bytes. Moves the rest to the front: a few
    /// header bytes at most, for fragments are consumed as they come.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let (start, end) = (self.start, self.end);
        let buffer = self.buffer_mut();
        buffer.copy_within(start..end, 0);
        (self.start, self.end) = (0, end - start);
        let end = self.end;
        self.buffer_mut().get_mut(end..).unwrap_or_default()
    }

    /// So many bytes were read into [`Self::space`].
    pub(super) fn advance(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.buffer().len());
    }

    /// Takes a large buffer, if there is one and none is held.
    pub(super) fn enlarge(&mut self, buffers: &Buffers) {
        if self.large.is_some() {
            return;
        }
        if let Some(mut large) = buffers.take() {
            let rest = self.end - self.start;
            if let (Some(to), Some(from)) = (large.bytes.get_mut(..rest), self.small.get(self.start..self.end)) {
                to.copy_from_slice(from);
                (self.start, self.end) = (0, rest);
                self.large = Some(large);
            }
        }
    }

    /// Gives the large buffer back, unless more is unconsumed than the small one holds.
    pub(super) fn shrink(&mut self) {
        let rest = self.end - self.start;
        if rest > self.small.len() {
            return;
        }
        if let Some(large) = self.large.take()
            && let (Some(to), Some(from)) = (self.small.get_mut(..rest), large.bytes.get(self.start..self.end))
        {
            to.copy_from_slice(from);
            (self.start, self.end) = (0, rest);
        }
    }
}

/// The large buffers that all associations of one server share: so many at most, made when first wanted.
#[derive(Debug, Clone)]
pub(in crate::dimse) struct Buffers(Arc<Shelf>);

#[derive(Debug)]
struct Shelf {
    bytes: usize,
    state: Mutex<Stock>,
}

#[derive(Debug)]
struct Stock {
    idle: Vec<Box<[u8]>>,
    /// Buffers that may still be made.
    unmade: usize,
}

/// A large buffer on loan; dropping it gives it back.
#[derive(Debug)]
struct Large {
    bytes: Box<[u8]>,
    shelf: Arc<Shelf>,
}

/// Idle buffers that are kept for the next data set; the others are freed.
const KEPT: usize = 4;

impl Buffers {
    /// At most `count` buffers of `bytes` each; fewer than [`SMALL_BYTES`] are no gain and count as none.
    pub(in crate::dimse) fn new(count: usize, bytes: usize) -> Self {
        let unmade = if bytes > SMALL_BYTES { count } else { 0 };
        Self(Arc::new(Shelf { bytes, state: Mutex::new(Stock { idle: Vec::new(), unmade }) }))
    }

    /// None is left: an association then streams through its small buffer.
    fn take(&self) -> Option<Large> {
        let shelf = self.0.clone();
        let mut stock = shelf.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match stock.idle.pop() {
            Some(bytes) => bytes,
            None if stock.unmade > 0 => {
                stock.unmade -= 1;
                vec![0; shelf.bytes].into()
            }
            None => return None,
        };
        drop(stock);
        Some(Large { bytes, shelf })
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        let mut stock = self.shelf.state.lock().unwrap_or_else(PoisonError::into_inner);
        if stock.idle.len() < KEPT {
            stock.idle.push(std::mem::take(&mut self.bytes));
        } else {
            stock.unmade += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn feed(inbox: &mut Inbox, bytes: &[u8]) {
        inbox.space()[..bytes.len()].copy_from_slice(bytes);
        inbox.advance(bytes.len());
    }

    #[test]
    fn bytes_survive_growing_and_shrinking() {
        let buffers = Buffers::new(1, 64 * 1024);
        let mut inbox = Inbox::default();
        feed(&mut inbox, b"abcdef");
        inbox.consume(2);
        inbox.enlarge(&buffers);
        assert_eq!(inbox.filled(), b"cdef");
        assert_eq!(inbox.space().len(), 64 * 1024 - 4);
        feed(&mut inbox, &[7; 20_000]);
        inbox.shrink();
        assert!(inbox.large.is_some(), "20,004 bytes do not fit the small buffer");
        inbox.consume(20_000);
        inbox.shrink();
        assert_eq!((inbox.filled(), inbox.large.is_none()), (&[7; 4][..], true));
    }

    #[test]
    fn there_are_no_more_large_buffers_than_allowed() {
        let buffers = Buffers::new(2, 64 * 1024);
        let (one, two) = (buffers.take().unwrap(), buffers.take().unwrap());
        assert!(buffers.take().is_none());
        drop(one);
        let three = buffers.take().unwrap();
        assert!(buffers.take().is_none());
        drop((two, three));
        assert!(buffers.take().is_some());
        assert!(Buffers::new(9, 100).take().is_none());
    }
}
