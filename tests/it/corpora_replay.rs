//! The fuzz corpora on the normal build: each input goes through the body of its target, so that what a fuzzer once
//! reached stays right.

#[path = "../../fuzz/targets/targets.rs"]
mod targets;

use crate::support::fired::note_fired;
use crate::support::tools::root;
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

/// All corpora together; they are part of every clone.
const MOST_BYTES: u64 = 1 << 20;

fn inputs(target: &str) -> Vec<PathBuf> {
    let folder = root().join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn each_input_of_the_corpora_passes_its_target() {
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, target) in targets::TARGETS {
        let inputs = inputs(name);
        assert!(inputs.len() >= 3, "{name} has only {} inputs", inputs.len());
        for path in inputs {
            let bytes = fs::read(&path).unwrap();
            // The panic has said why; this says where.
            if catch_unwind(|| target(&bytes)).is_err() {
                failed.push(path);
            } else {
                passed += 1;
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    note_fired(passed);
}

#[test]
fn the_corpora_are_small_and_each_has_a_target() {
    let known: BTreeSet<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    let folders = fs::read_dir(root().join("fuzz/corpus")).unwrap();
    let names: BTreeSet<String> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
    let bytes: u64 = known.iter().flat_map(|name| inputs(name)).map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes <= MOST_BYTES, "the corpora have {bytes} bytes");
}
