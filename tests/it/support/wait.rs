//! Waiting for a condition with a deadline; no story sleeps for a fixed time.

use std::time::{Duration, Instant};

/// Looks again and again until `look` finds something, and fails the test with `what` when `limit` has passed.
pub fn until<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {} s in vain: {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(40));
    }
}

pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
