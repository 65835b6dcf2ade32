//! A mark in a data directory that is being filled: no gateway starts on half of a restore or of a rebuild.

use anyhow::{Context, anyhow};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const NAME: &str = "unfinished";

/// The mark of work that fills a data directory. Dropped before [`Unfinished::end`], it stays.
pub struct Unfinished {
    dir: PathBuf,
}

impl Unfinished {
    /// Marks the directory with the name of the command. Durable when it returns: whatever is written later, the mark is there.
    pub fn begin(dir: &Path, command: &str) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(dir.join(NAME))?;
        file.write_all(command.as_bytes())?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// All that was to be written is durable: a gateway may start.
    pub fn end(self) -> io::Result<()> {
        fs::remove_file(self.dir.join(NAME))?;
        File::open(&self.dir)?.sync_all()
    }
}

/// Refuses a directory that bears the mark. To a gateway, half of the records would be all of them: it would send again what was
/// sent, and free the blobs that they do not name (FLT-014).
pub(super) fn refuse(dir: &Path) -> anyhow::Result<()> {
    let path = dir.join(NAME);
    match fs::read_to_string(&path) {
        Ok(command) => Err(anyhow!(
            "`weybridge {command}` into {} was not finished, so that part of it is missing; {}",
            dir.display(),
            match command.as_str() {
                "restore" => "empty the directory and restore again",
                _ => "move records.db and what begins with that name away, and run it again",
            }
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
