//! The README's first command: the main job on one machine, ending with proof.

use crate::support::process::{Process, finish};
use crate::support::tools::{demo_study, tool};
use crate::support::wait::{seconds, until};
use std::process::Command;

#[test]
fn the_demo_ends_with_its_proof() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weybridge"));
    command.arg("demo").current_dir(folder.path());
    let said = finish(&mut command, seconds(90)).ok("weybridge demo");
    assert!(said.contains("verified"), "the demo names what was verified:\n{said}");
    assert!(!said.contains('\u{1b}'), "nothing is coloured when not on a terminal");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing where it was started");
}

/// What a kept demo prints is typed by people: each line must work as it stands.
#[test]
fn the_commands_that_a_kept_demo_prints_work() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = folder.path().join("said");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weybridge"));
    command.args(["demo", "--keep", "--dir"]).arg(folder.path().join("sites"));
    let demo = Process::spawn("the demo", &mut command, &log);
    let printed = until(seconds(90), "the demo prints how to go on", || {
        let printed: Vec<String> =
            demo.log().lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect();
        printed.iter().any(|line| line.contains("storescu")).then_some(printed)
    });
    let status = printed.iter().find_map(|line| line.strip_prefix("weybridge ")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weybridge"));
    let told = finish(command.args(status.split_whitespace()), seconds(30)).ok("the status of site A");
    assert!(!told.contains("can read"), "the demo keeps its keys to itself:\n{told}");
    assert!(told.contains("1 exception waits"), "the conflict that the demo makes:\n{told}");
    let send = printed.iter().find_map(|line| line.strip_prefix("storescu ")).unwrap();
    let (send, _) = send.split_once("FILE").unwrap();
    let mut command = Command::new(tool("storescu"));
    command.args(send.split_whitespace()).arg(&demo_study("ct")[0]);
    finish(&mut command, seconds(30)).ok("storescu as printed");
}
