//! How near the process is to its limit of open files (FLT-026).

use rustix::process::{Resource, getrlimit};
use std::os::fd::{AsRawFd, RawFd};

/// Whether so few descriptors are left after this one that new work must be turned away: they are for the files and connections
/// of the work in hand. The system always gives the lowest number that is free, so that the number tells how many are taken.
pub fn crowded(newest: &impl AsRawFd) -> bool {
    getrlimit(Resource::Nofile).current.is_some_and(|limit| leaves_too_few(newest.as_raw_fd(), limit))
}

/// An eighth of the limit is kept back, but no fewer than 16 and no more than 128.
fn leaves_too_few(newest: RawFd, limit: u64) -> bool {
    let reserve = (limit / 8).clamp(16, 128);
    u64::try_from(newest).is_ok_and(|taken| taken.saturating_add(reserve) >= limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::fired::note_fired;

    #[test]
    fn the_last_descriptors_are_kept_for_the_work_in_hand() {
        let rows = [
            (10, 1024, false),
            (895, 1024, false),
            (896, 1024, true),
            (1023, 1024, true),
            (47, 64, false),
            (48, 64, true),
            (1_048_447, 1_048_576, false),
            (1_048_448, 1_048_576, true),
            (3, 8, true),
        ];
        for (newest, limit, want) in rows {
            assert_eq!(leaves_too_few(newest, limit), want, "{newest} of {limit}");
        }
        note_fired(rows.iter().filter(|row| row.2).count());
    }
}
