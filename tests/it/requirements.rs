//! docs/requirements.md against the tree: the tests it names exist, the ids that the code cites stand in it, and none twice.

use crate::support::tools::root;
use crate::tidy::{Source, report, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const PAGE: &str = "docs/requirements.md";
const COLUMNS: usize = 4;
const FAMILIES: [&str; 9] = ["DIM", "WEB", "IDY", "REL", "INV", "FLT", "LED", "UIX", "SEC"];
/// What stands where no test is named.
const NO_TEST: [&str; 2] = ["none yet", "not built"];

/// A rule of the page.
struct Rule {
    /// Its line, from 1.
    line: usize,
    id: String,
    /// The last cell as it stands.
    tests: String,
}

/// The rules of the page, and the rows that are none though they look like it.
fn rules(page: &str) -> (Vec<Rule>, Vec<String>) {
    let (mut rules, mut faults) = (Vec::new(), Vec::new());
    for (at, text) in page.lines().enumerate().map(|(at, text)| (at + 1, text)) {
        let cells: Vec<&str> = match text.strip_prefix('|').and_then(|row| row.strip_suffix('|')) {
            Some(row) => row.split('|').map(str::trim).collect(),
            None => continue,
        };
        if ids(cells[0]) != [cells[0]] {
            let heading = cells[0] == "id" || cells[0].starts_with("---");
            if cells.len() == COLUMNS && !heading {
                faults.push(format!("{PAGE}:{at}: `{}` is no id", cells[0]));
            }
            continue;
        }
        if cells.len() != COLUMNS || cells.iter().any(|cell| cell.is_empty()) {
            faults.push(format!("{PAGE}:{at}: a rule has {COLUMNS} cells, and none is empty"));
            continue;
        }
        rules.push(Rule { line: at, id: cells[0].to_owned(), tests: cells[COLUMNS - 1].to_owned() });
    }
    (rules, faults)
}

fn page() -> Vec<Rule> {
    let text = fs::read_to_string(root().join(PAGE)).unwrap();
    let (rules, faults) = rules(&text);
    report(&faults);
    assert!(rules.len() > 200, "only {} rules were found in {PAGE}", rules.len());
    rules
}

/// The ids in a text: a family, a hyphen, two or three digits.
fn ids(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('-') {
        let family = FAMILIES.iter().find(|family| text[..at].ends_with(**family));
        let digits = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let Some(start) = family.map(|family| at - family.len()).filter(|_| (2..=3).contains(&digits)) else {
            continue;
        };
        if !text[..start].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            found.push(&text[start..at + 1 + digits]);
        }
    }
    found
}

/// The paths in a cell of tests; `Err` says how the cell is written wrongly.
fn paths(cell: &str) -> Result<Vec<&str>, String> {
    if NO_TEST.contains(&cell) {
        return Ok(Vec::new());
    }
    let named = cell.strip_suffix(" (in part)").unwrap_or(cell).split(", ");
    let bare = named.map(|path| {
        let inner = path.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
        inner.filter(|inner| !inner.contains('`')).ok_or_else(|| format!("`{path}` is no path of a test"))
    });
    bare.collect()
}

/// The files in which a test may stand by its path, and its name.
pub fn places(path: &str) -> Option<(Vec<String>, &str)> {
    let (modules, name) = path.rsplit_once("::")?;
    let (folder, modules) = match modules.strip_prefix("it::") {
        Some(modules) => ("tests/it", modules),
        None => ("src", modules),
    };
    let file = |modules: &str| format!("{folder}/{}.rs", modules.replace("::", "/"));
    let beside = modules.strip_suffix("::tests").map(file);
    Some(([Some(file(modules)), beside].into_iter().flatten().collect(), name))
}

/// Whether a text holds a test of this name: a function right below the attribute that makes it one.
pub fn has_test(text: &str, name: &str) -> bool {
    let mut marked = false;
    for line in text.lines().map(str::trim_start) {
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if marked && function.is_some_and(|rest| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('('))) {
            return true;
        }
        let attribute = ["#[test]", "#[tokio::test]", "#[tokio::test("].iter().any(|start| line.starts_with(*start));
        marked = attribute || marked && line.starts_with("#[");
    }
    false
}

/// Every file of the code by its path.
fn tree() -> BTreeMap<String, String> {
    sources(&["src", "tests"], &["rs"]).into_iter().map(|Source { path, text }| (path, text)).collect()
}

/// The text of a function, from its name to the brace that ends it.
fn function<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = text.find(&format!("fn {name}(")).or_else(|| text.find(&format!("fn {name}<")))?;
    let line = &text[text[..at].rfind('\n').map_or(0, |before| before + 1)..];
    let indent = &line[..line.len() - line.trim_start().len()];
    let end = text[at..].find(&format!("\n{indent}}}"))?;
    Some(&text[at..at + end])
}

/// Whether a test says how often its fault fired: itself, or by a function of its file that it calls.
fn tells_of_its_fault(text: &str, name: &str) -> bool {
    let tells = |body: &str| body.contains("note_fired(");
    let Some(body) = function(text, name) else { return false };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let called = body.match_indices('(').filter_map(|(at, _)| body[..at].rsplit(|c: char| !word(c)).next());
    tells(body) || called.filter(|called| !called.is_empty()).any(|called| function(text, called).is_some_and(tells))
}

/// `.ci/long faults` takes a test that says nothing for one whose fault did not fire; that is seen here at once.
#[test]
fn each_test_of_a_fault_says_how_often_it_fired() {
    let (tree, mut silent, mut count) = (tree(), BTreeSet::new(), 0);
    for Rule { line, id, tests } in page().into_iter().filter(|rule| rule.id.starts_with("FLT")) {
        for path in paths(&tests).unwrap_or_default() {
            let tells = places(path).is_some_and(|(files, name)| {
                files.iter().filter_map(|file| tree.get(file)).any(|text| tells_of_its_fault(text, name))
            });
            count += 1;
            if !tells {
                silent.insert(format!("{PAGE}:{line}: {id}: {path} does not call `note_fired`"));
            }
        }
    }
    assert!(count > 100, "only {count} tests of faults were found");
    report(&silent.into_iter().collect::<Vec<_>>());
}

#[test]
fn each_test_that_is_named_exists() {
    let tree = tree();
    let mut faults = Vec::new();
    for Rule { line, id, tests } in page() {
        let named = match paths(&tests) {
            Ok(named) => named,
            Err(why) => {
                faults.push(format!("{PAGE}:{line}: {id}: {why}"));
                continue;
            }
        };
        for path in named {
            let stands = places(path).is_some_and(|(files, name)| {
                files.iter().filter_map(|file| tree.get(file)).any(|text| has_test(text, name))
            });
            if !stands {
                faults.push(format!("{PAGE}:{line}: {id}: there is no test {path}"));
            }
        }
    }
    report(&faults);
}

#[test]
fn each_id_that_is_cited_stands_in_the_page() {
    let known: BTreeSet<String> = page().into_iter().map(|rule| rule.id).collect();
    let mut faults = Vec::new();
    for source in sources(&["src", "tests", "config"], &["rs", "py", "toml"]) {
        for (at, line) in source.text.lines().enumerate() {
            let unknown = ids(line).into_iter().filter(|id| !known.contains(*id));
            faults.extend(unknown.map(|id| format!("{}:{}: {id} does not stand in {PAGE}", source.path, at + 1)));
        }
    }
    report(&faults);
}

#[test]
fn no_id_stands_twice() {
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    for Rule { line, id, .. } in page() {
        if let Some(before) = first.get(&id) {
            faults.push(format!("{PAGE}:{line}: {id} stands in line {before} already"));
        }
        first.entry(id).or_insert(line);
    }
    report(&faults);
}

#[test]
fn the_checks_see_what_they_look_for() {
    // Ids that stand nowhere are spelt apart, or this file would be found to cite them.
    assert_eq!(ids("(DIM-021, WEB-040…) REL-01/INV-13"), ["DIM-021", "WEB-040", "REL-01", "INV-13"]);
    let none = [concat!("XDIM", "-021"), concat!("DIM", "-1"), concat!("DIM", "-1234"), "DIM-", "UTF-8", "é-01"];
    assert!(none.iter().all(|text| ids(text).is_empty()));

    let table =
        "| id | clause | rule | test |\n|---|---|---|---|\n| DIM-001 | a | b | none yet |\n| DIM-002 | a | b |\n";
    let (found, faults) = rules(table);
    assert_eq!((found.len(), found[0].line, faults.len()), (1, 3, 1));
    assert_eq!(rules(concat!("| DIM", "-1 | a | b | none yet |")).1.len(), 1, "a misspelt id is not passed over");

    assert_eq!(paths("not built"), Ok(vec![]));
    assert_eq!(paths("`a::b`, `it::c::d` (in part)"), Ok(vec!["a::b", "it::c::d"]));
    assert!(["", "`", "a::b", "`a::b` `c::d`", "none", "`a` (mostly)"].iter().all(|cell| paths(cell).is_err()));

    let (files, name) = places("a::b::tests::holds").unwrap();
    assert_eq!((files, name), (vec!["src/a/b/tests.rs".to_owned(), "src/a/b.rs".to_owned()], "holds"));
    assert_eq!(places("it::outage::x").unwrap().0, ["tests/it/outage.rs"]);
    let text = "#[tokio::test(flavor = \"x\")]\n    #[cfg(unix)]\nasync fn one() {}\nfn two() {}\n#[test]\nfn three_more() {}\n";
    let held = ["one", "two", "three", "three_more"].map(|name| has_test(text, name));
    assert_eq!(held, [true, false, false, true]);

    let text = "fn one() {\n    two(3);\n}\n\nfn two(n: u32) {\n    note_fired(1);\n}\n\nfn three() {\n    four();\n}\n\n    async fn four() {\n        if x {\n        }\n    }\n";
    let told = ["one", "two", "three", "four", "five"].map(|name| tells_of_its_fault(text, name));
    assert_eq!(told, [true, true, false, false, false]);
}
