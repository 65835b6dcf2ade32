//! What is shipped holds nothing of the suites that try it: no hook, no switch, no simulation, so that trying costs ingest nothing.

use crate::support::tools::root;
use memchr::memmem;
use std::path::{Path, PathBuf};

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The program names the files of its code where it may panic. Files of tests and simulations are not among them, nor are the
/// switches of long runs.
#[test]
fn the_program_holds_nothing_of_the_fault_suites() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_weybridge")).unwrap();
    let holds = |text: &str| memmem::find(&program, text.as_bytes()).is_some();
    let of_a_suite = |name: &str| {
        let parts =
            ["/tests/", "/tests.rs", "/simulation", "/sqlite/inline", "/store/simulated", "/app/whole", "/sample"];
        parts.iter().any(|part| name.contains(part))
    };
    let all = files(&root().join("src"));
    let names = all.iter().map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap());
    let (suites, shipped): (Vec<&str>, Vec<&str>) =
        names.filter(|name| name.ends_with(".rs")).partition(|name| of_a_suite(name));
    let found: Vec<&&str> = shipped.iter().filter(|name| holds(name)).collect();
    assert!(found.len() > 50, "what is shipped is found: {found:?}");
    assert!(suites.len() > 30, "{suites:?}");
    for name in suites.into_iter().chain(["WEYBRIDGE_SEED", "WEYBRIDGE_HISTORIES", "WEYBRIDGE_WHOLE"]) {
        assert!(!holds(name), "{name} is in the program");
    }
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("\n[features]"), "no fault is a feature");
}
