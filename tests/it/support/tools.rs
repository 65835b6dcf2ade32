//! Finds the outside programs; one that is missing fails the test with a sentence that says what to do.

use std::path::{Path, PathBuf};

/// The project's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program on the path or in the system folders.
pub fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("the test needs the program `{name}`, which is not installed: run .ci/setup"))
}

/// The interpreter of the tests' own Python environment.
pub fn python() -> PathBuf {
    needed(root().join("target/venv/bin/python"))
}

/// The files of the real radiotherapy study.
pub fn radiotherapy_study() -> PathBuf {
    needed(root().join("target/corpus/dicompyler-core"))
}

/// A bundled demo study, its files in order.
pub fn demo_study(name: &str) -> Vec<PathBuf> {
    let folder = root().join("test-data/studies").join(name);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_file()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty: run test-data/make.py", folder.display());
    files
}

fn needed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "the test needs {}, which is missing: run .ci/setup", path.display());
    path
}
