//! The README's first command: the main job on one machine, ending with proof.

use crate::support::process::finish;
use crate::support::wait::seconds;
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
