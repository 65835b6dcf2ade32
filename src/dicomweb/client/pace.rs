//! The progress watchdog's arithmetic (WEB-072). Pure: the clock is given.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Tells when less than the least amount moved within the last window.
pub(super) struct Pace {
    window: Duration,
    least: u64,
    marks: VecDeque<(Instant, u64)>,
}

impl Pace {
    /// `rate` is in bytes a second.
    pub(super) fn new(window: Duration, rate: u64, now: Instant) -> Self {
        let least = u64::try_from(u128::from(rate) * window.as_millis() / 1000).unwrap_or(u64::MAX);
        Self { window, least, marks: VecDeque::from([(now, 0)]) }
    }

    /// How often [`Self::too_slow`] should be asked; at most thirty marks are kept.
    pub(super) fn tick(&self) -> Duration {
        (self.window / 30).max(Duration::from_millis(5))
    }

    /// Notes the total so far; true if a whole window has passed with too little progress.
    pub(super) fn too_slow(&mut self, now: Instant, total: u64) -> bool {
        // The newest mark that is at least a window old is what the progress is measured from.
        while self.marks.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= self.window) {
            self.marks.pop_front();
        }
        let slow = self.marks.front().is_some_and(|(at, then)| {
            now.duration_since(*at) >= self.window && total.saturating_sub(*then) < self.least
        });
        if self.marks.back().is_none_or(|(at, _)| now.duration_since(*at) >= self.tick() / 2) {
            self.marks.push_back((now, total));
        }
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks once a second with the bytes that moved in that second; when it first was too slow.
    fn first_slow(moved: impl Fn(u64) -> u64) -> Option<u64> {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(60), 16 << 10, start);
        let mut total = 0;
        (1..=600).find(|&second| {
            total += moved(second);
            let slow = pace.too_slow(start + Duration::from_secs(second), total);
            assert!(pace.marks.len() <= 64);
            slow
        })
    }

    #[test]
    fn the_last_minute_decides() {
        assert_eq!(first_slow(|_| 0), Some(60));
        assert_eq!(first_slow(|_| 1), Some(60));
        assert_eq!(first_slow(|_| (16 << 10) - 1), Some(60));
        assert_eq!(first_slow(|_| 16 << 10), None);
        assert_eq!(first_slow(|second| if second % 50 == 0 { 1 << 20 } else { 0 }), None);
        // A fast beginning does not pay for a later stall.
        assert_eq!(first_slow(|second| if second <= 100 { 100 << 20 } else { 0 }), Some(160));
    }
}
