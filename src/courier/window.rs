//! Slow start: how many batches may be on their way to a destination at once (REL-22). Pure.

use crate::ledger::breaker::Showing;

/// After so many failures in a row it is an outage, and the start is slow again.
const OUTAGE: u32 = 2;

/// One at first; one more after each batch that was answered, up to the most; half after one that was turned away or lost;
/// one again after an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    most: usize,
    size: usize,
    failures: u32,
}

impl Window {
    /// The window of a destination that was not tried yet; `most` at once in the end.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), size: 1, failures: 0 }
    }

    /// So many may be on their way.
    pub(super) fn size(self) -> usize {
        self.size
    }

    /// The window after a batch showed something of the destination; nothing if all failures were our own.
    pub(super) fn after(self, showing: Option<Showing>) -> Self {
        match showing {
            None => self,
            Some(Showing::Answered) => Self { size: self.most.min(self.size + 1), failures: 0, ..self },
            Some(Showing::Silent { .. } | Showing::Doubtful) => {
                let failures = self.failures.saturating_add(1);
                let size = if failures < OUTAGE { (self.size / 2).max(1) } else { 1 };
                Self { size, failures, ..self }
            }
            Some(Showing::Refused) => Self { size: 1, failures: OUTAGE, ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Option<Showing> = Some(Showing::Answered);
    const BUSY: Option<Showing> = Some(Showing::Silent { after: None, progress: false });
    const LOST: Option<Showing> = Some(Showing::Doubtful);
    const REFUSED: Option<Showing> = Some(Showing::Refused);

    #[test]
    fn it_grows_by_success_halves_when_turned_away_and_starts_again_after_an_outage() {
        let rows = [
            (8, vec![], 1),
            (8, vec![WELL], 2),
            (8, vec![WELL; 5], 6),
            (8, vec![WELL; 50], 8),
            (8, [vec![WELL; 7], vec![BUSY]].concat(), 4),
            (8, [vec![WELL; 7], vec![LOST]].concat(), 4),
            (8, [vec![WELL; 7], vec![BUSY, WELL]].concat(), 5),
            (8, [vec![WELL; 7], vec![BUSY, WELL, BUSY]].concat(), 2),
            (8, [vec![WELL; 7], vec![BUSY, LOST]].concat(), 1),
            (8, [vec![WELL; 7], vec![BUSY, BUSY, WELL]].concat(), 2),
            (8, [vec![WELL; 7], vec![REFUSED]].concat(), 1),
            (8, [vec![WELL; 7], vec![None]].concat(), 8),
            (1, vec![WELL; 5], 1),
            (0, vec![WELL; 5], 1),
            (3, vec![BUSY; 100], 1),
        ];
        for (most, history, size) in rows {
            let window = history.iter().fold(Window::new(most), |window, showing| window.after(*showing));
            assert_eq!(window.size(), size, "of {most} after {history:?}");
        }
    }
}
