//! The sabotages of tests/sabotages.tsv still fit the tree: `.ci/long sabotage` could apply each of them.

use crate::requirements::{has_test, places};
use crate::support::tools::root;
use crate::tidy::report;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const TABLE: &str = "tests/sabotages.tsv";
const HEAD: &str = "name\tfor\tfile\ttext\treplacement\ttest";

#[test]
fn each_sabotage_fits_the_tree() {
    let table = fs::read_to_string(root().join(TABLE)).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some(HEAD));
    let (mut names, mut faults) = (BTreeSet::new(), Vec::new());
    let mut changed: BTreeMap<&str, String> = BTreeMap::new();
    for (at, line) in lines.enumerate().map(|(at, line)| (at + 2, line)) {
        let cells: Vec<&str> = line.split('\t').collect();
        let &[name, _, file, text, replacement, test] = &cells[..] else {
            faults.push(format!("{TABLE}:{at}: a row has six cells"));
            continue;
        };
        if !names.insert(name) || text == replacement {
            faults.push(format!("{TABLE}:{at}: {name} is there twice, or changes nothing"));
        }
        let count = fs::read_to_string(root().join(file)).map_or(0, |source| source.matches(text).count());
        if count != 1 {
            faults.push(format!("{TABLE}:{at}: {name}: its text stands {count} times in {file}"));
        }
        // As `sabotage.py` does, one after the other: what an earlier row has changed is not found any more.
        let source = changed.entry(file).or_insert_with(|| fs::read_to_string(root().join(file)).unwrap_or_default());
        if count == 1 && !source.contains(text) {
            faults.push(format!("{TABLE}:{at}: {name}: a row above changes its text in {file}"));
        }
        *source = source.replace(text, replacement);
        let (places, test) = places(test).unwrap_or_default();
        let mut sources = places.iter().filter_map(|place| fs::read_to_string(root().join(place)).ok());
        if !sources.any(|source| has_test(&source, test)) {
            faults.push(format!("{TABLE}:{at}: {name}: there is no test {test}"));
        }
    }
    report(&faults);
    assert!(names.len() >= 40, "only {} sabotages", names.len());
}

#[test]
fn each_planted_fault_fits_the_tree() {
    let table = fs::read_to_string(root().join("fuzz/planted.tsv")).unwrap();
    let mut faults = Vec::new();
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let count = fs::read_to_string(root().join(cells[1])).map_or(0, |source| source.matches(cells[2]).count());
        if count != 1 {
            faults.push(format!("fuzz/planted.tsv: {}: its text stands {count} times in {}", cells[0], cells[1]));
        }
    }
    report(&faults);
}
