//! A file that a command writes: it bears its own name only once all of it is on the disk.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

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
        still_free(path)?;
        let mut part = path.as_os_str().to_owned();
        part.push(ENDING);
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
    pub(super) fn end(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        still_free(&self.path)?;
        fs::rename(&self.part, &self.path)?;
        self.named = true;
        match self.path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            Some(dir) => sync_names(dir),
            None => sync_names(Path::new(".")),
        }
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

/// Refuses a name that something bears, be it a link to nowhere.
fn still_free(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(io::Error::new(ErrorKind::AlreadyExists, "there is such a file already")),
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
}
