//! Gathering: just after a batch began that left nothing over, what arrives is kept back for a moment, to go together. Pure.

use std::time::Duration;
use tokio::time::Instant;

/// What arrives is kept back at most so long for the batches on their way. Far less than a person notices, and longer than a
/// request takes within a town, so that on a long line requests still overlap.
const LINGER: Duration = Duration::from_millis(50);

/// So long after a batch began, at least, the next one begins, even if the first was answered sooner.
const PACE: Duration = Duration::from_millis(20);

/// Whether the next batch of one kind may begin. The first instance of a study goes at once; a lease for every single one of
/// the others would cost more commits on both sides than their bytes do. It holds nothing back that was waiting before: a
/// queue that was not emptied by the last lease is worked off by as many batches at once as the window lets.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    on_the_way: usize,
    /// The last lease left nothing.
    drained: bool,
    begun: Option<Instant>,
}

impl Gathering {
    /// How long a lease is to wait yet, unless a batch ends before; none: lease now.
    pub(super) fn waits(&self, now: Instant) -> Option<Duration> {
        let begun = self.begun.filter(|_| self.drained)?;
        let longest = if self.on_the_way > 0 { LINGER } else { PACE };
        longest.checked_sub(now.saturating_duration_since(begun)).filter(|left| !left.is_zero())
    }

    /// A batch was leased and begins.
    pub(super) fn begins(&mut self, now: Instant) {
        self.on_the_way += 1;
        self.drained = false;
        self.begun = Some(now);
    }

    /// A lease found nothing.
    pub(super) fn is_drained(&mut self) {
        self.drained = true;
    }

    /// A batch ended.
    pub(super) fn ends(&mut self) {
        self.on_the_way = self.on_the_way.saturating_sub(1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_after_an_emptied_queue_waits_and_longest_for_batches_on_their_way() {
        #[derive(Clone, Copy)]
        enum Step {
            Begins,
            Drained,
            Ends,
        }
        use Step::{Begins, Drained, Ends};
        let rows: [(&[Step], u64, bool); 10] = [
            (&[], 0, false),
            (&[Drained], 0, false),
            (&[Begins], 0, false),
            (&[Begins, Drained], 0, true),
            (&[Begins, Drained], 49, true),
            (&[Begins, Drained], 50, false),
            (&[Begins, Drained, Ends], 19, true),
            (&[Begins, Drained, Ends], 20, false),
            (&[Begins, Begins, Drained, Ends], 1, true),
            (&[Begins, Drained, Begins], 1, false),
        ];
        for (at, (steps, after, waits)) in rows.into_iter().enumerate() {
            let (start, mut gathering) = (Instant::now(), Gathering::default());
            for step in steps {
                match step {
                    Begins => gathering.begins(start),
                    Drained => gathering.is_drained(),
                    Ends => gathering.ends(),
                }
            }
            let left = gathering.waits(start + Duration::from_millis(after));
            assert_eq!(left.is_some(), waits, "row {at}");
            assert!(left.is_none_or(|left| left <= LINGER), "row {at}");
        }
    }
}
