//! What of the store's work fails just now although the store is sound: files that cannot be made, and what there was no room for (REL-06).

use super::Store;
use std::time::SystemTime;

/// The last thing that was refused for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnedAway {
    /// When that was.
    pub at: SystemTime,
    /// The bytes that were wanted.
    pub wanted: u64,
    /// The bytes that were free.
    pub free: u64,
    /// So many must be free before anything of that size is taken, where nothing is taken just now, however small; `None` if it alone was
    /// too large.
    pub until: Option<u64>,
}

impl TurnedAway {
    /// Whether the file system itself had no room although it says that there is, above this reserve: under a quota, or on a volume that
    /// is given its blocks as they are written.
    pub fn despite_room(&self, reserve: u64) -> bool {
        self.until.is_none() && self.free >= reserve.saturating_add(self.wanted)
    }
}

/// What fails just now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trouble {
    /// When the last file could not be made, and where and why, if none was made since.
    pub unmade: Option<(SystemTime, String)>,
    /// What there was no room for last.
    pub turned_away: Option<TurnedAway>,
}

impl Store {
    /// What fails just now although the store is sound.
    pub fn trouble(&self) -> Trouble {
        let disk = &self.core.disk;
        Trouble { unmade: disk.unmade(), turned_away: disk.space.turned_away() }
    }
}
