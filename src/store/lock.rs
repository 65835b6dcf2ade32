//! The lock of a data directory: taken by whoever changes its files, and who has it (FLT-072).

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The file that is locked.
const FILE: &str = "lock";

/// Takes it; it is held as long as the file is. Errors: another process has it, or the file cannot be opened or locked.
pub fn take_lock(data_dir: &Path) -> Result<File, TryLockError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(data_dir.join(FILE));
    let file = file.map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// The process that holds the lock of a data directory, as the system lists it: a gateway that runs and cannot be reached.
pub fn lock_holder(data_dir: &Path) -> Option<u32> {
    let lock = std::fs::metadata(data_dir.join(FILE)).ok()?;
    let (major, minor) = (rustix::fs::major(lock.dev()), rustix::fs::minor(lock.dev()));
    holder_of(&std::fs::read_to_string("/proc/locks").ok()?, &format!("{major:02x}:{minor:02x}:{}", lock.ino()))
}

/// The process that holds a lock on a file, by the lines of `/proc/locks`: `1: FLOCK ADVISORY WRITE 711 08:01:4711 0 EOF`.
fn holder_of(locks: &str, file: &str) -> Option<u32> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut lines = locks.lines().map(words);
    let mine = lines
        .find(|words| words.get(1).is_some_and(|kind| kind == "FLOCK") && words.get(5).is_some_and(|at| at == file))?;
    mine[4].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock_is_read_from_the_list_of_the_system() {
        let locks = "1: POSIX  ADVISORY  READ 600 08:01:4711 128 128\n2: -> FLOCK ADVISORY WRITE 3 08:01:4711 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 711 08:01:4711 0 EOF\n4: FLOCK  ADVISORY  WRITE 712 fd:10:9 0 EOF\n5: FLOCK\n";
        let rows = [("08:01:4711", Some(711)), ("fd:10:9", Some(712)), ("08:01:471", None)];
        for (file, want) in rows {
            assert_eq!(holder_of(locks, file), want, "{file}");
        }
        assert_eq!(lock_holder(Path::new("/nowhere")), None);
    }
}
