//! How long to wait before the next try: exponential with full jitter (REL-20). Pure.

use std::time::Duration;

/// The shape of the back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The most that the first wait can be.
    pub first: Duration,
    /// The most that any wait can be.
    pub cap: Duration,
}

impl Default for Backoff {
    /// 5 s, doubled each time, at most 15 min (REL-20).
    fn default() -> Self {
        Self { first: Duration::from_secs(5), cap: Duration::from_secs(15 * 60) }
    }
}

impl Backoff {
    /// The longest that the wait after so many earlier failures can be: `first` × 2^`failures`, at most `cap`.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX);
        self.first.checked_mul(factor).unwrap_or(self.cap).min(self.cap)
    }

    /// The wait after so many earlier failures: anything from nothing to [`Self::ceiling`], chosen by `seed` (full jitter).
    pub fn delay(&self, failures: u32, seed: u64) -> Duration {
        let ceiling = u64::try_from(self.ceiling(failures).as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(mix(seed) % (ceiling + 1))
    }
}

/// Spreads the bits of a seed, so that seeds that differ by one give waits that have nothing to do with each other (SplitMix64).
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_up_to_the_cap() {
        let backoff = Backoff::default();
        let rows =
            [(0, 5), (1, 10), (2, 20), (3, 40), (6, 320), (7, 640), (8, 900), (9, 900), (31, 900), (u32::MAX, 900)];
        for (failures, seconds) in rows {
            assert_eq!(backoff.ceiling(failures), Duration::from_secs(seconds), "after {failures}");
        }
    }

    #[test]
    fn delays_fill_the_range_and_stay_inside_it() {
        let backoff = Backoff::default();
        for failures in [0, 3, 20] {
            let ceiling = backoff.ceiling(failures);
            let delays: Vec<_> = (0..1000).map(|seed| backoff.delay(failures, seed)).collect();
            assert!(delays.iter().all(|delay| *delay <= ceiling));
            assert!(
                delays.iter().any(|delay| *delay < ceiling / 10)
                    && delays.iter().any(|delay| *delay > ceiling * 9 / 10)
            );
            let mean = delays.iter().sum::<Duration>() / 1000;
            assert!(mean > ceiling * 4 / 10 && mean < ceiling * 6 / 10, "{mean:?} of {ceiling:?}");
        }
        assert_eq!(backoff.delay(4, 7), backoff.delay(4, 7));
    }

    #[test]
    fn a_back_off_of_nothing_waits_for_nothing() {
        let none = Backoff { first: Duration::ZERO, cap: Duration::ZERO };
        assert_eq!(none.delay(5, 99), Duration::ZERO);
    }
}
