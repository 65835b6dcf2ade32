//! Whose turn it is at a destination: what is urgent first, and nothing for ever last (REL-23). Pure.

/// How the study of the next batch is chosen among those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Of the highest priority that waits; there the studies take turns, and one that had none yet comes first, the newest
    /// before the older.
    Highest,
    /// What has waited longest, whatever its priority: the backlog's turn, which keeps anything from starving.
    Oldest,
    /// What had its turn longest ago, and had none yet before that: a probe does not meet the same study each time (REL-24).
    Longest,
}

/// One turn in so many is the backlog's.
pub const CYCLE: u64 = 5;

/// The kind of a destination's turn, numbered from 0: four for what matters most, one for what has waited longest; unless it is a
/// probe.
pub fn turn(number: u64, probe: bool) -> Turn {
    match number % CYCLE {
        _ if probe => Turn::Longest,
        last if last == CYCLE - 1 => Turn::Oldest,
        _ => Turn::Highest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_turns_in_five_go_to_the_highest_priority_and_one_to_the_oldest() {
        let kinds: Vec<Turn> = (0..10).map(|number| turn(number, false)).collect();
        let cycle = [Turn::Highest, Turn::Highest, Turn::Highest, Turn::Highest, Turn::Oldest];
        assert_eq!(kinds, [cycle, cycle].concat());
        assert_eq!((0..1000).filter(|number| turn(*number, false) == Turn::Oldest).count(), 200);
        assert_eq!(turn(u64::MAX, false), Turn::Highest, "a counter that wraps changes nothing");
        assert!((0..10).all(|number| turn(number, true) == Turn::Longest));
    }
}
