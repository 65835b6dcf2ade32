//! Room on the disk: new work is refused below a reserve that lets the records and what is in flight finish (REL-06).

use super::{StoreError, TurnedAway};
use rustix::fs::{StatVfs, statvfs};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long an answer of the file system is believed.
const FRESH: Duration = Duration::from_millis(100);

/// What there is no room for is told in the log at most so often.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// The reserve that is kept on a large disk if nobody chose another.
const USUAL_RESERVE: u64 = 2 << 30;

/// The part of a small disk that is kept instead: a twentieth.
const SMALL_DISK_PART: u64 = 20;

/// What is known of the room below the store's directory.
pub(super) struct Space {
    dir: PathBuf,
    reserve: u64,
    state: Mutex<State>,
}

/// How full the disk may become, and whether it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) reserve: u64,
    pub(super) size: u64,
    pub(super) refusing: bool,
}

#[derive(Default)]
struct State {
    asked: Option<Instant>,
    /// Bytes free when last asked, less what was taken since.
    free: u64,
    /// Refusing since the low mark was passed, until the high mark is.
    refusing: bool,
    /// What there was no room for last.
    turned_away: Option<TurnedAway>,
    /// When that was told in the log last.
    told: Option<Instant>,
}

impl State {
    /// Notes that so much was refused, and tells it: who sent it may be refused for ever, although new work is taken.
    fn turn_away(&mut self, wanted: u64, reserve: u64, until: Option<u64>) {
        if wanted == 0 {
            return;
        }
        let free = self.free;
        let last = TurnedAway { at: SystemTime::now(), wanted, free, until };
        self.turned_away = Some(last);
        if self.told.is_some_and(|told| told.elapsed() < TOLD_AGAIN) {
            return;
        }
        self.told = Some(Instant::now());
        match until {
            Some(until) => {
                tracing::warn!(
                    wanted,
                    free,
                    until,
                    "something was refused for want of room: there is none until more is free"
                );
            }
            None if last.despite_room(reserve) => tracing::warn!(
                wanted,
                free,
                "something was refused for want of room: the file system had none, though it says so much is free"
            ),
            None => tracing::warn!(
                wanted,
                free,
                reserve,
                "something was refused for want of room: it would leave less than the reserve"
            ),
        }
    }
}

/// The reserve for a file system of `size` bytes if nobody chose one. On a small disk the usual one would leave nothing.
fn usual_reserve(size: u64) -> u64 {
    USUAL_RESERVE.min(size / SMALL_DISK_PART)
}

impl Space {
    /// As [`Self::new`]; without a `reserve`, one that fits the size of the file system.
    pub(super) fn open(dir: PathBuf, reserve: Option<u64>) -> Result<Self, StoreError> {
        let reserve = match reserve {
            Some(chosen) => chosen,
            None => {
                let disk = ask(&dir)?;
                usual_reserve(disk.f_blocks.saturating_mul(disk.f_frsize))
            }
        };
        Ok(Self::new(dir, reserve))
    }

    /// `reserve` is the low mark in bytes; the high mark is a quarter more.
    pub(super) fn new(dir: PathBuf, reserve: u64) -> Self {
        Self { dir, reserve, state: Mutex::default() }
    }

    /// Whether `wanted` bytes more leave the reserve untouched. After a refusal it takes a quarter more than the
    /// reserve to accept again, so that the answer does not flutter.
    pub(super) fn room(&self, wanted: u64) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut state)?;
        let high = self.reserve.saturating_add(self.reserve / 4);
        let mark = if state.refusing { high } else { self.reserve };
        let enough = state.free >= mark.saturating_add(wanted);
        if enough {
            state.refusing = false;
            return Ok(());
        }
        // One object too large for the room left says nothing about the next, smaller one.
        state.refusing |= state.free < self.reserve;
        let until = state.refusing.then(|| high.saturating_add(wanted));
        state.turn_away(wanted, self.reserve, until);
        Err(StoreError::Full { free: state.free, reserve: self.reserve })
    }

    /// Whether `wanted` bytes more for what was let in before leave the reserve untouched. Refusing it says nothing about new work: one
    /// object too large for the room left is no reason to refuse the next, smaller one.
    pub(super) fn spares(&self, wanted: u64) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut state)?;
        match state.free >= self.reserve.saturating_add(wanted) {
            true => Ok(()),
            false => {
                state.turn_away(wanted, self.reserve, None);
                Err(StoreError::Full { free: state.free, reserve: self.reserve })
            }
        }
    }

    /// As [`Self::spares`], where less will do: that there is not so much is no refusal, and is not told.
    pub(super) fn has(&self, wanted: u64) -> Result<bool, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut state)?;
        Ok(state.free >= self.reserve.saturating_add(wanted))
    }

    /// What there was no room for last, if anything.
    pub(super) fn turned_away(&self) -> Option<TurnedAway> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).turned_away
    }

    /// Whether the file system can name one more file. One that does not count them has as many as it likes.
    pub(super) fn has_inodes(&self) -> bool {
        ask(&self.dir).map_or(true, |disk| disk.f_files == 0 || disk.f_favail > 0)
    }

    /// Bytes free on the file system.
    pub(super) fn free(&self) -> Result<u64, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut state)?;
        Ok(state.free)
    }

    /// The low mark in bytes, the size of the file system, and whether new work is refused just now.
    pub(super) fn marks(&self) -> Marks {
        let size = ask(&self.dir).map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
        // Asking, rather than looking, also ends a refusal that nobody has met since there is room again.
        let refusing = matches!(self.room(0), Err(StoreError::Full { .. }));
        Marks { reserve: self.reserve, size, refusing }
    }

    /// Pretends for an hour that so much is free.
    #[cfg(test)]
    pub(super) fn pretend(&self, free: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.asked, state.free) = (Some(Instant::now() + Duration::from_secs(3600)), free);
    }

    /// Counts bytes taken since the file system was last asked.
    pub(super) fn took(&self, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.free = state.free.saturating_sub(bytes);
    }

    /// The disk refused so many bytes for want of room: refuse new work until the high mark is passed. What it refuses although it says that
    /// there is room, as under a quota, is told as well; none at all is no refusal.
    pub(super) fn is_full(&self, wanted: u64) -> StoreError {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refusing = true;
        state.asked = None;
        // If it cannot be asked now, it is asked before anything else is let in.
        let _ = self.refresh(&mut state);
        let enough = self.reserve.saturating_add(self.reserve / 4).saturating_add(wanted);
        let until = (state.free < enough).then_some(enough);
        state.turn_away(wanted, self.reserve, until);
        StoreError::Full { free: state.free, reserve: self.reserve }
    }

    fn refresh(&self, state: &mut State) -> Result<(), StoreError> {
        if state.asked.is_some_and(|asked| asked.elapsed() < FRESH) {
            return Ok(());
        }
        let found = ask(&self.dir)?;
        state.free = found.f_bavail.saturating_mul(found.f_frsize);
        state.asked = Some(Instant::now());
        Ok(())
    }
}

fn ask(dir: &Path) -> Result<StatVfs, StoreError> {
    statvfs(dir).map_err(|errno| StoreError::Io { path: dir.to_owned(), source: errno.into() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The marks, without a real disk that fills up.
    #[test]
    fn marks_have_hysteresis() {
        let space = Space::new("/".into(), 1000);
        let rows = [
            (2000, 1000, true),
            (1999, 1000, false),
            (1999, 999, true),
            (999, 0, false),
            (1000, 0, false),
            (1249, 0, false),
            (1250, 0, true),
            (1000, 0, true),
        ];
        for (free, wanted, want) in rows {
            space.pretend(free);
            assert_eq!(space.room(wanted).is_ok(), want, "{free} free, {wanted} wanted");
        }
    }

    /// What is refused above the reserve is no secret; a question without bytes is no refusal.
    #[test]
    fn what_there_was_no_room_for_is_kept() {
        let space = Space::new("/".into(), 1000);
        let last = || space.turned_away().map(|last| (last.wanted, last.free));
        space.pretend(1500);
        let rows = [(0, true, None), (400, true, None), (501, false, Some((501, 1500))), (10, true, Some((501, 1500)))];
        for (wanted, want, told) in rows {
            assert_eq!((space.room(wanted).is_ok(), last()), (want, told), "{wanted}");
        }
        assert!(space.spares(600).is_err());
        assert_eq!(last(), Some((600, 1500)));
        space.pretend(900);
        assert!(space.room(0).is_err() && last() == Some((600, 1500)));
        let until = || space.turned_away().and_then(|last| last.until);
        assert_eq!(until(), None, "less would have been taken");
        space.pretend(1100);
        assert!(space.room(50).is_err() && last() == Some((50, 1100)));
        assert_eq!(until(), Some(1300), "nothing is taken");
        space.pretend(1300);
        assert!(space.room(50).is_ok());
        assert!(space.has_inodes() && Space::new("/nowhere/at/all".into(), 0).has_inodes());
    }

    /// REL-06: what the file system itself has no room for is told with its bytes, also where it says that there is room.
    #[test]
    fn what_the_file_system_refuses_is_told_though_it_says_there_is_room() {
        const WANTED: u64 = 4096;
        let high = u64::MAX / 2 + u64::MAX / 2 / 4;
        for (reserve, until) in [(0, None), (u64::MAX / 2, Some(high + WANTED))] {
            let space = Space::new("/".into(), reserve);
            assert!(matches!(space.is_full(0), StoreError::Full { .. }) && space.turned_away().is_none());
            assert!(matches!(space.is_full(WANTED), StoreError::Full { .. }));
            let last = space.turned_away().unwrap();
            assert_eq!((last.wanted, last.until, last.despite_room(reserve)), (WANTED, until, until.is_none()));
            assert!(last.free > 0);
            // New work is let in again as soon as there is room by the file system's word.
            assert_eq!(space.room(0).is_ok(), until.is_none());
        }
    }

    #[test]
    fn a_small_disk_keeps_a_twentieth() {
        let rows = [
            (0, 0),
            (1 << 30, (1 << 30) / 20),
            (40 << 30, 2 << 30),
            ((40 << 30) - 20, (2 << 30) - 1),
            (1 << 40, 2 << 30),
            (u64::MAX, 2 << 30),
        ];
        for (size, want) in rows {
            assert_eq!(usual_reserve(size), want, "of {size}");
        }
        let disk = statvfs("/").unwrap();
        let fitting = usual_reserve(disk.f_blocks * disk.f_frsize);
        assert_eq!(Space::open("/".into(), None).unwrap().reserve, fitting, "the size of the disk is asked for");
        for chosen in [0, 2 << 30, u64::MAX] {
            assert_eq!(Space::open("/".into(), Some(chosen)).unwrap().reserve, chosen, "what was chosen stays");
        }
    }

    #[test]
    fn the_file_system_is_asked() {
        let space = Space::new("/".into(), 0);
        assert!(space.free().unwrap() > 0);
        assert!(space.room(0).is_ok());
        assert!(matches!(space.room(u64::MAX), Err(StoreError::Full { .. })));
        assert!(matches!(Space::new("/nowhere/at/all".into(), 0).room(0), Err(StoreError::Io { .. })));
    }
}
