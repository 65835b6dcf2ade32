//! The time by which bytes grow old: the wall clock's, but not that of a clock that has jumped ahead (FLT-070).

use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// So far ahead of the last that is known of an earlier run the wall clock may be at a start.
const AHEAD: Duration = Duration::from_secs(86_400);
/// So many times as fast as time passes a clock that is ahead is followed: a day an hour, so that nothing much grows old before
/// somebody has set it right.
const FOLLOWS: u32 = 24;

/// So much more than passed may the wall clock show between two looks before that counts as a jump.
const JUMP: Duration = Duration::from_secs(3600);

/// A jump ahead of the wall clock.
#[derive(Debug, Clone, Copy)]
struct Jump {
    /// The time as it was without the jump, when that was found.
    from: SystemTime,
    found: Instant,
    /// So long after the jump it was found: by a restart.
    late: Duration,
}

impl Jump {
    /// So much time has passed since.
    fn since(self, at: Instant) -> Duration {
        self.late + at.saturating_duration_since(self.found)
    }

    /// The time as it would be now without the jump.
    fn without(self, at: Instant) -> SystemTime {
        self.from + at.saturating_duration_since(self.found)
    }
}

/// How far the wall clock is believed.
#[derive(Debug)]
pub(super) struct Trusted {
    /// The latest time that is believed, and when that was found; none before the first look if nothing is known.
    latest: Option<SystemTime>,
    found: Instant,
    /// What the wall clock showed at the last look, or the last time that an earlier run has entered.
    wall: Option<SystemTime>,
    jumped: Option<Jump>,
    /// A jump that is not noted yet: the time as it was without it, and what the wall clock showed.
    unnoted: Option<(SystemTime, SystemTime)>,
    /// So long what came before a jump grows old by the time that passes, and not by the jump: the clock may have been behind before.
    keep: Duration,
    /// Nobody has looked yet.
    first: bool,
    warned: bool,
}

impl Trusted {
    /// `known` is the last time that an earlier run has entered; `keep` the time for which everything is kept at least.
    pub(super) fn new(known: Option<SystemTime>, keep: Duration, at: Instant) -> Self {
        let latest = known.map(|known| known + AHEAD);
        let (jumped, unnoted) = (None, None);
        Self { latest, found: at, wall: known, jumped, unnoted, keep, first: true, warned: false }
    }

    /// Takes up a jump that an earlier run has noted, if the wall clock was not set back since: what came after it bears its time.
    pub(super) fn recall(&mut self, (from, then): (SystemTime, SystemTime), wall: SystemTime, at: Instant) {
        // The clock may have jumped once more meanwhile: that is no time for which anything was kept.
        let wall = self.latest.map_or(wall, |latest| wall.min(latest));
        if let Ok(late) = wall.duration_since(then)
            && late < self.keep
        {
            self.jumped = Some(Jump { from: from + late, found: at, late });
        }
    }

    /// A jump that is to be noted.
    pub(super) fn unnoted(&self) -> Option<(SystemTime, SystemTime)> {
        self.unnoted
    }

    /// That jump is noted.
    pub(super) fn noted(&mut self, jump: (SystemTime, SystemTime)) {
        self.unnoted = self.unnoted.filter(|unnoted| *unnoted != jump);
    }

    /// What the wall clock says, or the latest time that is believed if it is beyond that.
    pub(super) fn now(&mut self, wall: SystemTime, at: Instant) -> SystemTime {
        let passed = at.saturating_duration_since(self.found);
        self.found = at;
        // A site may have been off for a while before its first look.
        let slack = if std::mem::take(&mut self.first) { AHEAD } else { JUMP };
        if let Some(expected) = self.wall.replace(wall).map(|last| last + passed)
            && wall > expected + slack
        {
            let went_on = self.jumped.map(|jump| jump.without(at));
            let from = went_on.unwrap_or(expected).min(expected);
            self.jumped = Some(Jump { from, found: at, late: Duration::ZERO });
            self.unnoted = Some((from, wall));
        }
        let latest = self.latest.unwrap_or(wall);
        let latest = latest.max(wall.min(latest + passed * FOLLOWS));
        self.latest = Some(latest);
        let is_ahead = wall.duration_since(latest).is_ok_and(|ahead| ahead > AHEAD);
        if is_ahead && !self.warned {
            tracing::warn!(
                "the clock is far ahead of what the ledger says; bytes grow old more slowly until it is believed: is it right?"
            );
        }
        self.warned = is_ahead;
        let believed = wall.min(latest);
        match self.jumped.filter(|jump| jump.since(at) < self.keep) {
            Some(jump) => believed.min(jump.without(at)),
            None => believed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::fired::note_fired;

    const HOUR: Duration = Duration::from_secs(3600);
    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    fn at(days: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400) + AHEAD * days
    }

    /// FLT-070: what an earlier run entered after a jump bears its time, so that the clock does not seem to jump any more.
    #[test]
    fn a_jump_outlasts_a_restart() {
        let (began, keep) = (Instant::now(), 72 * HOUR);
        let mut before = Trusted::new(None, keep, began);
        before.now(at(0), began);
        assert_eq!(before.unnoted(), None);
        assert_eq!(before.now(at(400), began + HOUR), at(0) + HOUR);
        let noted = (at(0) + HOUR, at(400));
        assert_eq!([before.unnoted(), before.unnoted()], [Some(noted); 2], "until it is noted");
        before.noted(noted);
        assert_eq!(before.unnoted(), None);
        let again = |hours: u32| {
            let mut after = Trusted::new(Some(at(400) + 9 * HOUR), keep, began);
            after.recall(noted, at(400) + 10 * HOUR, began);
            after.now(at(400) + 10 * HOUR + HOUR * hours, began + HOUR * hours)
        };
        assert_eq!([again(0), again(61)], [at(0) + 11 * HOUR, at(0) + 72 * HOUR]);
        note_fired(1);
        assert_eq!(again(62), at(403), "all has been kept as long as it must be");
        let mut twice = Trusted::new(Some(at(400) + HOUR), keep, began);
        twice.recall(noted, at(800), began);
        let (early, late) = (twice.now(at(800), began), twice.now(at(800) + HOUR, began + HOUR));
        assert!(early < at(3) && late < at(3), "it jumped again while nobody ran: {early:?} {late:?}");
        note_fired(1);
        let mut right = Trusted::new(Some(at(400)), keep, began);
        right.recall(noted, at(1), began);
        assert_eq!(right.now(at(1), began), at(1), "it was set right");
    }

    /// FLT-070: no mass expiry, neither by a clock that goes wrong nor by one that is set right.
    #[test]
    fn a_clock_that_jumps_ahead_is_not_believed_at_once() {
        let began = Instant::now();
        let keep = 72 * HOUR;
        let mut fresh = Trusted::new(None, keep, began);
        assert_eq!(fresh.now(at(3), began), at(3), "nothing is known that speaks against it");
        assert_eq!(fresh.now(at(3) + HOUR, began + HOUR), at(3) + HOUR);
        assert_eq!(fresh.now(at(3) + YEAR, began + 2 * HOUR), at(3) + 2 * HOUR, "a jump while it runs");
        note_fired(1);
        assert_eq!(fresh.now(at(3) + 3 * HOUR, began + 3 * HOUR), at(3) + 3 * HOUR, "it is set right");
        note_fired(1);
        let mut later = Trusted::new(Some(at(0)), keep, began);
        assert_eq!(later.now(at(0) + YEAR, began), at(0), "a start with a wrong clock");
        note_fired(1);
        assert_eq!(later.now(at(0) + YEAR + HOUR, began + HOUR), at(0) + HOUR);
        let mut off = Trusted::new(Some(at(0)), keep, began);
        let evening = (0..=10).map(|n| off.now(at(7) + HOUR * n, began + HOUR * n)).last();
        assert_eq!(evening, Some(at(0) + HOUR * 10), "a week switched off");
        let then = (11..=72).map(|n| off.now(at(7) + HOUR * n, began + HOUR * n)).last();
        assert_eq!(then, Some(at(7) + HOUR * 72), "it catches up once all has been kept as long as it must be");
        let mut short = Trusted::new(Some(at(0)), keep, began);
        assert_eq!(short.now(at(0) + 20 * HOUR, began), at(0) + 20 * HOUR, "a night switched off");
        let mut back = Trusted::new(Some(at(400)), keep, began);
        assert_eq!(back.now(at(35), began), at(35), "set back");
        note_fired(1);
        assert_eq!(back.now(at(400), began + HOUR), at(35) + HOUR, "and forth again: what came meanwhile is young");
        note_fired(1);
        assert_eq!(back.now(at(400) + 2 * HOUR, began + 3 * HOUR), at(35) + 3 * HOUR);
        assert_eq!(back.now(at(403) + HOUR, began + 74 * HOUR), at(403) + HOUR);
    }
}
