//! How urgent a transfer is (REL-23).

/// Which work goes first. The order of the variants is the order of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Priority {
    /// A person waits for it: STAT work, and what an operator marks so. It alerts when it waits.
    Urgent,
    /// Fetched for somebody who is about to read.
    Prior,
    /// What routes choose, unless they say otherwise.
    #[default]
    Routine,
    /// Old studies that are copied when there is time.
    Backfill,
}

impl Priority {
    /// Every priority, the first served first.
    pub const ALL: [Self; 4] = [Self::Urgent, Self::Prior, Self::Routine, Self::Backfill];

    /// The word that records, entries, configuration and the command line use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Prior => "prior",
            Self::Routine => "routine",
            Self::Backfill => "backfill",
        }
    }

    /// The priority that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.word() == word)
    }

    /// Its place in the order of service, from 0.
    pub fn rank(self) -> i64 {
        self as i64
    }

    /// The priority of a place in the order of service.
    pub fn of_rank(rank: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.rank() == rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_ranks_are_read_back_in_the_order_of_service() {
        for (rank, priority) in Priority::ALL.into_iter().enumerate() {
            assert_eq!(priority.rank(), rank as i64);
            assert_eq!(Priority::of_rank(rank as i64), Some(priority));
            assert_eq!(Priority::parse(priority.word()), Some(priority));
        }
        assert_eq!((Priority::of_rank(4), Priority::parse("stat")), (None, None));
        assert!(Priority::Urgent < Priority::Prior && Priority::Routine < Priority::Backfill);
    }
}
