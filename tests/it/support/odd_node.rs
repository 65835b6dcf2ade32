//! A node played by pynetdicom that refuses, slows down and aborts as it is told, and writes down what it sees.

use super::config::free_port;
use super::process::Process;
use super::tools::{python, root};
use super::wait::{seconds, until};
use serde_json::Value;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct OddNode {
    pub port: u16,
    log: PathBuf,
    _process: Process,
}

impl OddNode {
    /// Starts `tests/it/python/node.py`, which writes its log below `folder`.
    pub fn start(folder: &Path, options: &[&str]) -> Self {
        Self::start_on(free_port(), folder, options)
    }

    pub fn start_on(port: u16, folder: &Path, options: &[&str]) -> Self {
        let log = folder.join(format!("node-{port}.jsonl"));
        let mut command = Command::new(python());
        command.arg("-B").arg(root().join("tests/it/python/node.py")).arg(port.to_string()).arg(&log).args(options);
        let process = Process::spawn("node.py", &mut command, &log.with_extension("log"));
        until(seconds(60), "the node listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, log, _process: process }
    }

    /// What it saw of one kind: `association`, `store` or `end`.
    pub fn seen(&self, kind: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["kind"] == kind).collect()
    }
}
