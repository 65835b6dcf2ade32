//! Runs the committed Python programs beside this folder in the tests' own environment.

use super::process::{Finished, finish};
use super::tools::{python, root};
use super::wait::seconds;
use serde_json::Value;
use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

/// Runs `tests/it/python/NAME.py`.
pub fn run<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>, limit: Duration) -> Finished {
    let script = root().join("tests/it/python").join(format!("{name}.py"));
    finish(Command::new(python()).arg("-B").arg(script).args(arguments), limit)
}

/// Runs one that must succeed and prints one JSON value a line.
pub fn lines<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Vec<Value> {
    let answer = run(name, arguments, seconds(280)).ok(&format!("python/{name}.py"));
    answer.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{name} ({e}): {line}"))).collect()
}
