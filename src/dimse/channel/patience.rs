//! How long one wait on the peer may last, and what counts as progress.

use crate::dimse::timers::{Phase, Timers};
use std::time::Duration;

/// A running timer. Only time spent waiting for the peer counts, so that our own slowness never cuts it off.
#[derive(Debug)]
pub(in crate::dimse) struct Patience {
    left: Duration,
    phase: Phase,
    progress: Option<Progress>,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    window: Duration,
    least: u64,
    moved: u64,
    /// The phase that the first byte begins.
    begins: Option<Phase>,
}

impl Patience {
    /// So much time, whatever moves.
    pub(in crate::dimse) fn until(left: Duration, phase: Phase) -> Self {
        Self { left, phase, progress: None }
    }

    /// At least `least_progress` bytes in each `message_idle` (FLT-040).
    pub(in crate::dimse) fn moving(timers: &Timers, phase: Phase) -> Self {
        let progress = Progress { window: timers.message_idle, least: timers.least_progress, moved: 0, begins: None };
        Self { left: timers.message_idle, phase, progress: Some(progress) }
    }

    /// `association_idle` until the first byte, then as [`Self::moving`].
    pub(in crate::dimse) fn idle(timers: &Timers) -> Self {
        let mut patience = Self::moving(timers, Phase::Idle);
        patience.left = timers.association_idle;
        if let Some(progress) = &mut patience.progress {
            progress.begins = Some(Phase::Receiving);
        }
        patience
    }

    pub(in crate::dimse) fn left(&self) -> Duration {
        self.left
    }

    pub(in crate::dimse) fn phase(&self) -> Phase {
        self.phase
    }

    /// The first byte is there: what was idle becomes a message.
    pub(in crate::dimse) fn begin(&mut self) {
        if let Some(progress) = &mut self.progress
            && let Some(phase) = progress.begins.take()
        {
            self.phase = phase;
            self.left = progress.window;
        }
    }

    /// Some bytes moved after a wait.
    pub(super) fn spend(&mut self, waited: Duration, bytes: u64) {
        if self.progress.is_some_and(|progress| progress.begins.is_some()) {
            return self.begin();
        }
        let Some(progress) = &mut self.progress else {
            self.left = self.left.saturating_sub(waited);
            return;
        };
        progress.moved += bytes;
        if progress.moved >= progress.least {
            progress.moved = 0;
            self.left = progress.window;
        } else {
            self.left = self.left.saturating_sub(waited);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::fired::note_fired;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_trickle_does_not_renew_the_window_but_progress_does() {
        let timers = Timers::default();
        let mut patience = Patience::moving(&timers, Phase::Receiving);
        for _ in 0..59 {
            patience.spend(SECOND, 1);
        }
        assert_eq!(patience.left(), SECOND);
        note_fired(1);
        patience.spend(SECOND / 2, timers.least_progress);
        assert_eq!(patience.left(), timers.message_idle);
    }

    #[test]
    fn the_first_byte_ends_the_idle_time() {
        let timers = Timers::default();
        let mut patience = Patience::idle(&timers);
        assert_eq!((patience.left(), patience.phase()), (timers.association_idle, Phase::Idle));
        patience.spend(200 * SECOND, 1);
        assert_eq!((patience.left(), patience.phase()), (timers.message_idle, Phase::Receiving));
        patience.spend(20 * SECOND, 1);
        assert_eq!(patience.left(), 40 * SECOND);
    }

    #[test]
    fn a_plain_deadline_is_not_moved_by_anything() {
        let mut patience = Patience::until(10 * SECOND, Phase::Request);
        patience.spend(4 * SECOND, 1 << 40);
        assert_eq!(patience.left(), 6 * SECOND);
    }
}
