//! Faults of the gateway's system calls: the k-th of some kind fails, is cut short, or is the last (python/calls.py).

use super::tools::{python, root};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Calls that make a name or open a file.
pub const OPEN: &str = "openat";
pub const WRITE: &str = "write,pwrite64,pwritev,writev";
pub const SYNC: &str = "fsync,fdatasync";
pub const NAME: &str = "rename,renameat,renameat2,unlink,unlinkat,mkdir";
pub const SIZE: &str = "ftruncate,fallocate";
pub const READ: &str = "read,pread64,preadv";
pub const ACCEPT: &str = "accept4";
/// Everything that changes a file, and what is said to others and heard from them.
pub const STEPS: &str = "openat,write,pwrite64,pwritev,writev,fsync,fdatasync,rename,unlink,unlinkat,mkdir,ftruncate,\
                         fallocate,accept4,connect,sendto,recvfrom";

/// Which call is met, and by what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name of an error, `SHORT`, `KILL`, `NONE`, or for all of them from the n-th on `SKIP`, or `FULL` until [`Log::make_room`].
    pub effect: &'static str,
    /// Which of those calls, from 1.
    pub nth: usize,
    /// Names of calls, with commas; or a chain of such, see python/calls.py.
    pub calls: String,
    /// What must stand in the path below the data directory; `socket` for sockets, whose ports stand behind it (python/calls.py);
    /// nothing for all. Or a chain of as many.
    pub part: String,
}

impl Plan {
    /// Nothing is met; what is called is written down.
    pub fn watch() -> Self {
        Self::any("NONE", 0)
    }

    /// Nothing is met; what is called of this kind is written down.
    pub fn watch_for(calls: &str) -> Self {
        Self { effect: "NONE", nth: 0, calls: calls.to_owned(), part: String::new() }
    }

    /// The n-th of all steps.
    pub fn any(effect: &'static str, nth: usize) -> Self {
        Self { effect, nth, calls: STEPS.to_owned(), part: String::new() }
    }

    /// No call of this kind is carried out, and each is told as a success.
    pub fn leave_out(calls: &str, part: &str) -> Self {
        Self { effect: "SKIP", nth: 1, calls: calls.to_owned(), part: part.to_owned() }
    }

    /// The program that starts the gateway under this plan: calls on files below `folder` count, and are noted in `log`.
    pub fn wrapper(&self, folder: &Path, log: &Log) -> Command {
        let mut command = Command::new(python());
        command.arg("-B").arg(root().join("tests/it/python/calls.py")).arg(&log.0).arg(folder);
        command.args([self.effect, &self.nth.to_string(), &self.calls, &self.part, "--"]);
        command
    }
}

/// Where the calls of one run are noted.
pub struct Log(PathBuf);

/// A call that was noted.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    pub path: String,
    pub fired: bool,
}

impl Call {
    /// Whether its name is in a list with commas.
    pub fn is_of(&self, calls: &str) -> bool {
        calls.split(',').any(|name| name == self.name)
    }
}

impl Log {
    pub fn at(path: PathBuf) -> Self {
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    /// What was noted so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ');
            let (name, path) = (words.next()?.to_owned(), words.next()?.to_owned());
            Some(Call { name, path, fired: words.next() == Some("fired") })
        };
        text.lines().filter_map(line).collect()
    }

    /// From now on there is room on a disk that is `FULL`.
    pub fn make_room(&self) {
        let mut name = self.0.clone().into_os_string();
        name.push(".room");
        std::fs::write(name, "").unwrap();
    }

    /// How many calls were met.
    pub fn times_fired(&self) -> usize {
        self.calls().iter().filter(|call| call.fired).count()
    }

    /// The call that was met, if it came to that.
    pub fn fired(&self) -> Option<Call> {
        self.calls().into_iter().find(|call| call.fired)
    }

    /// A sync that failed may have lost what it was to keep: the same file is not synced again as if nothing had been (REL-04).
    /// The directory of the records is: SQLite does not heed what becomes of its own sync of it, and the gateway syncs it once more
    /// before it is ready.
    pub fn synced_again(&self) -> Option<Call> {
        let calls = self.calls();
        let at = calls.iter().position(|call| call.fired && call.is_of(SYNC) && call.path != ".")?;
        let again = |call: &&Call| call.is_of(SYNC) && call.path == calls[at].path;
        calls[at + 1..].iter().find(again).cloned()
    }
}
