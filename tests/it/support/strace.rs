//! What a program asks of the kernel, seen by strace: every call that was traced, when it was entered and when it returned.

use super::process::Process;
use super::tools::tool;
use super::wait::{seconds, until};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Calls that open and change files, make them durable, and say something to others.
const TRACED: &str = "openat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,fallocate,fsync,fdatasync,sendto,sendmsg";

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    /// The file that it was on, or `TCP:[OURS->THEIRS]`.
    pub path: String,
    /// All that it was given, as strace writes it.
    pub given: String,
    /// What it returned: a count, a descriptor, or -1. `None` also where strace does not know.
    pub result: Option<i64>,
    /// The line at which it was entered, and that at which it returned, if it has. What waited for its return can only stand in a later
    /// line, for a thread goes on when strace has written down that its call returned.
    pub entered: usize,
    pub returned: Option<usize>,
}

impl Call {
    /// Whether its name is in a list with commas.
    pub fn is_of(&self, names: &str) -> bool {
        names.split(',').any(|name| name == self.name)
    }

    /// Takes what is written behind the arguments.
    fn returns(&mut self, tail: &str, at: usize) {
        let result = tail.rsplit_once("= ").map_or("", |(_, result)| result);
        let number = result.find(|letter: char| !letter.is_ascii_digit() && letter != '-').unwrap_or(result.len());
        self.result = result[..number].parse().ok();
        self.returned = Some(at);
        if let Some(path) = in_brackets(&result[number..]) {
            path.clone_into(&mut self.path);
        }
    }
}

/// A running strace; dropping it lets the program go on untraced.
pub struct Strace {
    process: Process,
    calls: PathBuf,
}

impl Strace {
    /// Attaches to all threads of a program. Whatever it is asked to do after that is traced.
    pub fn attach(to: u32, folder: &Path) -> Self {
        let (calls, told) = (folder.join("strace.calls"), folder.join("strace.told"));
        let _ = std::fs::remove_file(&told);
        let mut command = Command::new(tool("strace"));
        // No byte of what is written: it may be of a patient.
        command.args(["-f", "-yy", "-s", "0", "-e", "signal=none", "-e", &format!("trace={TRACED}"), "-o"]);
        let mut process = Process::spawn("strace", command.arg(&calls).args(["-p", &to.to_string()]), &told);
        until(seconds(30), "strace has attached to the gateway", || {
            assert!(process.ended().is_none(), "strace may not trace here: {}", process.log());
            process.log().contains(&format!("Process {to} attached")).then_some(())
        });
        Self { process, calls }
    }

    /// Lets the program go and tells what it has called, in the order in which the calls were entered.
    pub fn finish(mut self) -> Vec<Call> {
        self.process.terminate(seconds(30));
        read(&std::fs::read_to_string(&self.calls).unwrap())
    }
}

/// Reads what `strace -f -o` wrote. A call within which another thread did something stands in two lines, `<unfinished ...>` and
/// `resumed`; one in which strace let go has no end.
pub fn read(text: &str) -> Vec<Call> {
    let (mut calls, mut unfinished) = (Vec::<Call>::new(), BTreeMap::new());
    for (at, line) in text.lines().enumerate() {
        let (thread, rest) = line.split_once(' ').unwrap_or_default();
        let rest = rest.trim_start();
        if let Some((_, tail)) = rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            if let Some(begun) = unfinished.remove(thread) {
                let call: &mut Call = &mut calls[begun];
                call.returns(tail, at);
            }
            continue;
        }
        // What remains are signals and ends of threads.
        let named = rest.split_once('(').filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let Some((name, given)) = named else { continue };
        let path = if name == "openat" { given.split('"').nth(1) } else { in_brackets(given) };
        let [name, path, given] = [name, path.unwrap_or_default(), given].map(str::to_owned);
        calls.push(Call { name, path, given, result: None, entered: at, returned: None });
        if rest.ends_with("<unfinished ...>") {
            unfinished.insert(thread, calls.len() - 1);
        } else if !rest.ends_with("<detached ...>") {
            calls.last_mut().unwrap().returns(rest, at);
        }
    }
    calls
}

/// What strace tells of a descriptor, `5<path>`. The arrow within a connection ends nothing.
fn in_brackets(text: &str) -> Option<&str> {
    let inner = &text[text.find('<')? + 1..];
    let end = inner.match_indices('>').map(|(at, _)| at).find(|at| !inner[..*at].ends_with('-'))?;
    Some(&inner[..end])
}

#[test]
fn each_form_of_a_line_is_read() {
    let text = "\
7     openat(AT_FDCWD</a>, \"b.obj\", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC|O_DIRECT, 0666) = 9</a/b.obj>
7     pwritev(9</a/b.obj>, [{iov_base=\"\"..., iov_len=8192}], 1, 0) = 8192
12345 write(6<anon_inode:[eventfd]>, \"\"..., 8 <unfinished ...>
7     fdatasync(9</a/b.obj> <unfinished ...>
12345 <... write resumed>)              = 8
8     fsync(4</a>)                      = -1 EIO (Input/output error)
7     <... fdatasync resumed>)          = 0
8     +++ exited with 0 +++
7     <... epoll_wait resumed>)         = 1
9     openat(AT_FDCWD</a>, \"c\", O_RDONLY) = -1 ENOENT (No such file or directory)
9     fsync(4</a>)                      = ? ERESTARTSYS (To be restarted)
9     sendto(8<TCP:[127.0.0.1:104->127.0.0.1:4242]>, \"\"..., 78, MSG_NOSIGNAL, NULL, 0 <detached ...>
";
    let connection = "TCP:[127.0.0.1:104->127.0.0.1:4242]";
    let expected = [
        ("openat", "/a/b.obj", Some(9), 0, Some(0)),
        ("pwritev", "/a/b.obj", Some(8192), 1, Some(1)),
        ("write", "anon_inode:[eventfd]", Some(8), 2, Some(4)),
        ("fdatasync", "/a/b.obj", Some(0), 3, Some(6)),
        ("fsync", "/a", Some(-1), 5, Some(5)),
        ("openat", "c", Some(-1), 9, Some(9)),
        ("fsync", "/a", None, 10, Some(10)),
        ("sendto", connection, None, 11, None),
    ];
    let calls = read(text);
    let told =
        calls.iter().map(|call| (call.name.as_str(), call.path.as_str(), call.result, call.entered, call.returned));
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert!(calls[0].given.contains("O_CREAT") && calls[0].is_of("fsync,openat") && !calls[0].is_of("fsync"));
}
