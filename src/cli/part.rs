//! A file that a command writes: it bears its own name only once all of it is on the disk.

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Put behind the name of a file that is not whole yet.
const ENDING: &str = ".part";

/// A file on its way, beside its place. Dropped before [`Part::end`], nothing of it stays; what a crash leaves bears another name (REL-05).
pub(super) struct Part {
    file: File,
    part: PathBuf,
    path: PathBuf,
    named: bool,
}

impl Part {
    /// Begins a file. Errors: one of its name is there, or it cannot be written beside its place.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        Self::begin_with(path, ENDING)
    }

    /// The same for one of many, which another run may write at the same time: beside its place it bears this run's name too.
    pub(super) fn begin_for(path: &Path, run: &str) -> io::Result<Self> {
        Self::begin_with(path, &format!(".{run}{ENDING}"))
    }

    fn begin_with(path: &Path, ending: &str) -> io::Result<Self> {
        still_free(path)?;
        let mut part = path.as_os_str().to_owned();
        part.push(ending);
        let part = PathBuf::from(part);
        let file = File::create_new(&part).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                let why = "is there: another command is writing it, or one was interrupted; remove it if none is";
                io::Error::new(ErrorKind::AlreadyExists, format!("{} {why}", part.display()))
            }
            _ => error,
        })?;
        Ok(Self { file, part, path: path.to_owned(), named: false })
    }

    /// All of it was written: it is on the disk under its name when this returns. Nothing that got the name meanwhile is replaced.
    pub(super) fn end(self) -> io::Result<()> {
        let path = self.path.clone();
        self.end_among_many()?;
        match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            Some(dir) => sync_names(dir),
            None => sync_names(Path::new(".")),
        }
    }

    /// The same, but that it has its name is on the disk only after [`sync_names`], once for all of them.
    pub(super) fn end_among_many(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        rename_new(&self.part, &self.path)?;
        self.named = true;
        Ok(())
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed bears a name that says what it is.
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// The names in a directory are on the disk when this returns.
pub(super) fn sync_names(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A name that no other run of a command has: process numbers alone repeat, in containers more than elsewhere.
pub(super) fn own_name(now: SystemTime) -> String {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", std::process::id(), since.as_nanos())
}

/// Gives a file a name that nothing bears: what got it a moment ago is not replaced.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(taken()),
        // The file system cannot do both at once, as over a network: to look just before is the best there is.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            still_free(to)?;
            fs::rename(from, to)
        }
        Err(error) => Err(error.into()),
    }
}

fn taken() -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, "there is such a file already")
}

/// Refuses a name that something bears, be it a link to nowhere.
fn still_free(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(taken()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let found = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = found.collect();
        names.sort();
        names
    }

    /// REL-05: who finds the name finds all of it.
    #[test]
    fn a_file_bears_its_name_only_once_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let mut part = Part::begin(&path).unwrap();
        part.write_all(b"half").unwrap();
        assert_eq!(names(dir.path()), ["ledger.jsonl.part"]);
        drop(part);
        assert_eq!(names(dir.path()), Vec::<String>::new(), "what failed leaves nothing");
        let mut part = Part::begin(&path).unwrap();
        part.write_all(b"whole").unwrap();
        part.end().unwrap();
        assert_eq!(names(dir.path()), ["ledger.jsonl"]);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn nothing_that_is_there_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let mut part = Part::begin(&path).unwrap();
        part.write_all(b"ours").unwrap();
        let second = Part::begin(&path).err().unwrap().to_string();
        assert!(second.contains("ledger.jsonl.part is there: another command"), "{second}");
        fs::write(&path, "theirs").unwrap();
        assert_eq!(part.end().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(Part::begin(&path).err().unwrap().kind(), ErrorKind::AlreadyExists);
        assert_eq!(
            (names(dir.path()), fs::read(&path).unwrap()),
            (vec!["ledger.jsonl".to_owned()], b"theirs".to_vec())
        );
    }

    /// What gets the name between the last look and the renaming is kept, be it a file, a folder or a link to nowhere.
    #[test]
    fn what_got_the_name_a_moment_ago_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (part, path) = (dir.path().join("new"), dir.path().join("1.2.3.dcm"));
        fs::write(&part, "ours").unwrap();
        let rows: [fn(&Path) -> io::Result<()>; 3] = [
            |path| fs::write(path, "theirs"),
            |path| fs::create_dir(path),
            |path| std::os::unix::fs::symlink("nowhere", path),
        ];
        for theirs in rows {
            theirs(&path).unwrap();
            let there = fs::symlink_metadata(&path).unwrap().file_type();
            assert_eq!(rename_new(&part, &path).unwrap_err().kind(), ErrorKind::AlreadyExists, "{there:?}");
            assert_eq!(fs::symlink_metadata(&path).unwrap().file_type(), there);
            assert_eq!(fs::read(&part).unwrap(), b"ours");
            let removed = if there.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
            removed.unwrap();
        }
        rename_new(&part, &path).unwrap();
        assert_eq!((names(dir.path()), fs::read(&path).unwrap()), (vec!["1.2.3.dcm".to_owned()], b"ours".to_vec()));
    }

    /// Two runs that write the same files do not write into each other's: one has the name, and the other leaves nothing.
    #[test]
    fn two_runs_do_not_share_a_file_that_is_not_whole_yet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.2.3.dcm");
        let (mut one, mut other) = (Part::begin_for(&path, "1-1").unwrap(), Part::begin_for(&path, "2-2").unwrap());
        assert_eq!(names(dir.path()), ["1.2.3.dcm.1-1.part", "1.2.3.dcm.2-2.part"]);
        one.write_all(b"one").unwrap();
        other.write_all(b"other").unwrap();
        other.end_among_many().unwrap();
        assert_eq!(one.end_among_many().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!((names(dir.path()), fs::read(&path).unwrap()), (vec!["1.2.3.dcm".to_owned()], b"other".to_vec()));
    }
}
