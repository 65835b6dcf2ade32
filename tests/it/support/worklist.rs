//! Worklists: DCMTK's `wlmscpfs`, and one by pynetdicom that lists what it is given and misbehaves as it is told.

use super::certs::Identity;
use super::config::free_port;
use super::process::{Process, finish};
use super::tools::{python, root, tool};
use super::wait::{seconds, until};
use serde_json::Value;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A day of the calendar of this machine, as DA, so many days from today.
pub fn day(ahead: i64) -> String {
    use jiff::ToSpan;
    jiff::Zoned::now().date().saturating_add(ahead.days()).strftime("%Y%m%d").to_string()
}

/// A worklist that the title `RIS` has, of files in a folder.
pub struct Wlmscpfs {
    pub port: u16,
    folder: PathBuf,
    process: Process,
}

/// An entry of a worklist.
pub struct Scheduled<'a> {
    pub accession: &'a str,
    pub procedure: &'a str,
    pub patient: &'a str,
    pub issuer: &'a str,
    pub modality: &'a str,
    pub day: &'a str,
    pub status: &'a str,
}

impl Wlmscpfs {
    pub fn start(folder: &Path) -> Self {
        let port = free_port();
        fs::create_dir_all(folder.join("RIS")).unwrap();
        fs::write(folder.join("RIS/lockfile"), "").unwrap();
        let mut command = Command::new(tool("wlmscpfs"));
        command.args(["-v", "--single-process", "-dfp"]).arg(folder).arg(port.to_string());
        let process = Process::spawn("wlmscpfs", &mut command, &folder.with_extension("log"));
        until(seconds(10), "wlmscpfs listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, folder: folder.to_owned(), process }
    }

    /// Puts an entry into the worklist; it stands there as a whole or not at all.
    pub fn put(&self, entry: &Scheduled<'_>) {
        let Scheduled { accession, procedure, patient, issuer, modality, day, status } = entry;
        let step = format!(
            "(fffe,e000) -\n(0008,0060) CS {modality}\n(0040,0001) AE SCANNER\n(0040,0002) DA {day}\n(0040,0003) TM 0900\n\
             (0040,0006) PN A^B\n(0040,0007) LO step\n(0040,0009) SH S1\n(0040,0010) SH S\n(0040,0020) CS {status}\n(fffe,e00d) -\n"
        );
        let text = format!(
            "(0008,0050) SH {accession}\n(0010,0010) PN SECRET^NAME\n(0010,0020) LO {patient}\n(0010,0021) LO {issuer}\n\
             (0010,0030) DA 19700101\n(0010,0040) CS F\n(0020,000d) UI 2.25.7{}\n(0032,1060) LO Chest\n(0040,0100) SQ\n{step}\
             (fffe,e0dd) -\n(0040,1001) SH {procedure}\n(0040,1003) SH MEDIUM\n",
            accession.trim_start_matches(|c: char| !c.is_ascii_digit())
        );
        let (dump, made) = (self.folder.join("entry.dump"), self.folder.join("entry.dcm"));
        fs::write(&dump, text).unwrap();
        let done = finish(Command::new(tool("dump2dcm")).arg(&dump).arg(&made), seconds(30));
        assert!(made.is_file(), "{done:?}");
        fs::rename(made, self.folder.join(format!("RIS/{accession}-{procedure}.wl"))).unwrap();
    }

    /// Everything printed so far.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// A worklist that misbehaves; see `python/worklist.py`.
pub struct OddWorklist {
    pub port: u16,
    behaviour: PathBuf,
    log: PathBuf,
    _process: Process,
}

impl OddWorklist {
    pub fn start(folder: &Path, behaviour: &Value) -> Self {
        Self::start_with(folder, behaviour, None)
    }

    /// The same over TLS, for whom the authority of this identity vouches for.
    pub fn start_tls(folder: &Path, behaviour: &Value, identity: &Identity) -> Self {
        Self::start_with(folder, behaviour, Some(identity))
    }

    fn start_with(folder: &Path, behaviour: &Value, identity: Option<&Identity>) -> Self {
        let port = free_port();
        let (file, log) = (folder.join("behaviour.json"), folder.join("worklist.jsonl"));
        fs::write(&file, behaviour.to_string()).unwrap();
        let mut command = Command::new(python());
        command.arg("-B").arg(root().join("tests/it/python/worklist.py")).arg(port.to_string()).arg(&file).arg(&log);
        if let Some(Identity { certificate, key, trust }) = identity {
            command.args([certificate, key, trust]);
        }
        let process = Process::spawn("worklist.py", &mut command, &log.with_extension("log"));
        until(seconds(60), "the worklist listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, behaviour: file, log, _process: process }
    }

    /// From now on it behaves so.
    pub fn behave(&self, behaviour: &Value) {
        let new = self.behaviour.with_extension("new");
        fs::write(&new, behaviour.to_string()).unwrap();
        fs::rename(new, &self.behaviour).unwrap();
    }

    /// What it saw of one kind.
    pub fn seen(&self, kind: &str) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["kind"] == kind).collect()
    }
}
