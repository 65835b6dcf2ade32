//! Waiting for a condition with a deadline; no story sleeps for a fixed time.

use std::time::{Duration, Instant};

/// Looks again and again until `look` finds something, and fails the test with `what` when `limit` has passed.
pub fn until<T>(limit: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_or_tell(limit, look, || what.to_owned())
}

/// The same, where what is to be told of a wait in vain is found out only then.
pub fn until_or_tell<T>(limit: Duration, mut look: impl FnMut() -> Option<T>, tell: impl FnOnce() -> String) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        if Instant::now() >= end {
            panic!("waited {} s in vain: {}", limit.as_secs(), tell());
        }
        std::thread::sleep(Duration::from_millis(40));
    }
}

pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
