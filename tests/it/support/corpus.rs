//! Real files of other people: pydicom's, pydicom-data's and a radiotherapy study, with what each must come to.

use super::python;
use super::tools::{radiotherapy_study, root};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What becomes of a file that is sent (tests/it/corpus.tsv).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The one file sent for its SOP Instance UID: stored, forwarded, verified.
    First,
    /// The same data set in the same syntax as the first: Success, nothing new is stored or owed.
    Same,
    /// Other content under the same UID: kept, held, never forwarded on its own.
    Differs,
    /// Other bytes under the same UID that say the same: kept, held until the judge has looked, then covered by the first.
    Equal,
    /// Answered with a failure; nothing is stored.
    Refused,
}

/// One file with its facts and its fate.
#[derive(Debug, Clone)]
pub struct CorpusFile {
    pub name: String,
    pub path: PathBuf,
    pub sop_class: String,
    pub instance: String,
    pub study: String,
    pub syntax: String,
    pub sha256: String,
    pub fate: Fate,
    /// DCMTK's senders manage it, not only those that send bytes as they are.
    pub dcmtk: bool,
}

/// Every file of the corpus, in the table's order. The table and what is installed must name the same files.
pub fn files() -> Vec<CorpusFile> {
    let facts: BTreeMap<String, Value> = python::lines("corpus", [radiotherapy_study()])
        .into_iter()
        .map(|line| (line["name"].as_str().unwrap().to_owned(), line))
        .collect();
    let table = std::fs::read_to_string(root().join("tests/it/corpus.tsv")).unwrap();
    let rows: Vec<Vec<&str>> =
        table.lines().filter(|l| !l.starts_with('#')).map(|line| line.split('\t').collect()).collect();
    let named: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let strange: Vec<&String> = facts.keys().filter(|name| !named.contains(&name.as_str())).collect();
    assert!(strange.is_empty(), "tests/it/corpus.tsv does not say what becomes of {strange:?}");
    rows.iter()
        .map(|row| file(row, facts.get(row[0]).unwrap_or_else(|| panic!("{} is not installed", row[0]))))
        .collect()
}

fn file(row: &[&str], facts: &Value) -> CorpusFile {
    let word = |key: &str| facts[key].as_str().unwrap_or_default().to_owned();
    CorpusFile {
        name: row[0].to_owned(),
        path: PathBuf::from(word("path")),
        sop_class: word("sop_class"),
        instance: word("sop_instance"),
        study: word("study"),
        syntax: word("syntax"),
        sha256: word("sha256"),
        fate: match row[1] {
            "first" => Fate::First,
            "same" => Fate::Same,
            "differs" => Fate::Differs,
            "equal" => Fate::Equal,
            "refused" => Fate::Refused,
            other => panic!("{}: unknown fate {other}", row[0]),
        },
        dcmtk: row[2] == "dcmtk",
    }
}
