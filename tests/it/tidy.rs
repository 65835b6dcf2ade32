//! The house rules as tests: who may use whom, what is pure, where SQL stands, how long things are, what links to what.

use crate::support::tools::root;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which module may name which; a new arrow is a line here, and is reviewed as architecture (docs/ARCHITECTURE.md).
const MAY_USE: &[(&str, &str)] = &[
    // vocabulary
    ("dicom", ""),
    ("clock", ""),
    // protocol: neither knows the other, nor anything of ours
    ("dimse", "dicom"),
    ("dicomweb", "dicom"),
    ("hl7", "dicom"),
    // state
    ("tls", ""),
    ("certs", ""),
    ("store", "dicom"),
    ("peers", "dicom tls"),
    ("ledger", "dicom peers store"),
    ("records", "dicom ledger peers store"),
    // engine
    ("router", "dicom peers"),
    ("intake", "clock dicom ledger peers records router store"),
    ("courier", "clock dicom dicomweb dimse ledger peers records router store"),
    ("priors", "dicom dicomweb dimse intake ledger peers records store"),
    ("judge", "dicom ledger peers records store"),
    ("rejections", "dicom records store"),
    ("janitor", "clock dicom judge ledger records store"),
    // edge
    ("edge", "courier dicom dicomweb dimse hl7 intake janitor ledger peers priors records router store tls"),
    // shell
    ("config", "certs courier dicom dicomweb dimse edge intake ledger peers priors records router store tls"),
    ("cli", "app certs config dicom dicomweb dimse edge judge ledger peers priors records router store tls"),
    ("app", "*"),
    ("main", "*"),
    ("lib", "*"),
];

/// No clock, no file, no network, no waiting: values in, values out.
const PURE: &[&str] = &[
    "ledger",
    "router",
    "courier/verdict",
    "courier/foreign",
    "judge/compare",
    "priors/merge",
    "priors/whom",
    "priors/marker",
    "priors/worklist/entry",
    "hl7",
];
const IMPURE: &[&str] =
    &["async ", ".await", "std::fs", "std::net", "tokio", "SystemTime::now", "Instant::now", "rusqlite"];

const SQL: &[&str] = &["rusqlite", "SELECT ", "INSERT INTO", "INSERT OR", "DELETE FROM", "CREATE TABLE", "PRAGMA "];
const SQL_HOME: &str = "records/sqlite";

const BANNED_NAMES: &[&str] = &["mod", "util", "utils", "helper", "helpers", "common", "manager", "misc", "types"];
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

pub struct Source {
    /// Path below the project's root.
    pub path: String,
    pub text: String,
}

impl Source {
    /// For a file below src: its path there without `.rs`, for example `records/sqlite/writer`.
    fn module(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.strip_suffix(".rs")
    }

    /// The lines that are built into the product, numbered from 1, unit tests left out.
    fn product_lines(&self) -> Vec<(usize, &str)> {
        let tests_only = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        let mut lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line)).peekable();
        let mut kept = Vec::new();
        while let Some((at, line)) = lines.next().filter(|_| !tests_only) {
            if line.trim_start() != "#[cfg(test)]" {
                kept.push((at, line));
                continue;
            }
            // A module of tests in its own file is one line; one written out stands last and ends the file.
            let item = lines.find(|(_, next)| !next.trim_start().starts_with("#[")).map_or("", |(_, item)| item);
            if item.trim_start().starts_with("mod ") && item.ends_with('{') {
                break;
            }
        }
        kept
    }

    /// The same without comments.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.product_lines().into_iter().map(|(at, line)| (at, line.split("//").next().unwrap_or_default()))
    }
}

fn is_below(module: &str, place: &str) -> bool {
    module == place || module.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

/// All files below these folders with one of these endings.
pub fn sources(folders: &[&str], endings: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut paths);
    }
    paths.sort();
    let wanted = paths.into_iter().filter(|p| p.extension().is_some_and(|e| endings.iter().any(|x| e == *x)));
    wanted
        .map(|path| Source {
            path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
            text: fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        })
        .collect()
}

fn rust() -> Vec<Source> {
    sources(&["src", "tests", "benches", "fuzz"], &["rs"])
        .into_iter()
        .filter(|s| !s.path.contains("/target/"))
        .collect()
}

pub fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The names that follow `crate::` in a line, also inside braces.
fn names_used(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &line[at + "crate::".len()..];
        let list = rest.strip_prefix('{').map_or_else(|| vec![rest], |inner| top_level_items(inner));
        found.extend(
            list.iter()
                .map(|item| item.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()),
        );
    }
    found
}

/// Splits `a::{b, c}, d}` at the commas outside inner braces.
fn top_level_items(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&text[start..at]);
                return items;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items
}

/// Joins the lines of a `use` that rustfmt broke, so that its braces stand on one line.
fn joined_uses(source: &Source) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (at, line) in source.code_lines() {
        if open {
            let last = joined.last_mut().unwrap();
            last.1.push_str(line.trim());
        } else {
            joined.push((at, line.to_owned()));
        }
        let starts = line.trim_start().starts_with("use ") || line.trim_start().starts_with("pub use ");
        open = (open || starts) && !line.contains(';');
    }
    joined
}

#[test]
fn imports_run_downwards() {
    let rules: BTreeMap<&str, &str> = MAY_USE.iter().copied().collect();
    let mut faults = Vec::new();
    for source in sources(&["src"], &["rs"]) {
        let top = source.module().unwrap().split('/').next().unwrap().to_owned();
        let Some(allowed) = rules.get(top.as_str()) else {
            faults.push(format!("{}: module `{top}` has no line in MAY_USE", source.path));
            continue;
        };
        for (at, line) in joined_uses(&source) {
            for used in names_used(&line) {
                let known = rules.contains_key(used.as_str());
                let permitted = *allowed == "*" || used == top || allowed.split(' ').any(|name| name == used);
                if known && !permitted {
                    faults.push(format!("{}:{at}: `{top}` may not use `{used}`", source.path));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn pure_code_stays_pure() {
    let mut faults = Vec::new();
    for source in sources(&["src"], &["rs"]) {
        let module = source.module().unwrap();
        if PURE.iter().any(|place| is_below(module, place)) {
            for (at, line) in source.code_lines() {
                let found = IMPURE.iter().filter(|word| line.contains(**word));
                faults.extend(found.map(|word| format!("{}:{at}: this file is pure, but says `{word}`", source.path)));
            }
        }
    }
    report(&faults);
}

#[test]
fn sql_stands_in_one_place() {
    let mut faults = Vec::new();
    for source in sources(&["src"], &["rs"]) {
        if !is_below(source.module().unwrap(), SQL_HOME) {
            for (at, line) in source.code_lines() {
                let found = SQL.iter().filter(|word| line.contains(**word));
                faults.extend(found.map(|word| format!("{}:{at}: `{word}` belongs below src/{SQL_HOME}", source.path)));
            }
        }
    }
    report(&faults);
}

#[test]
fn each_file_opens_with_a_sentence() {
    let mut faults = Vec::new();
    for source in rust() {
        let head = source.text.lines().take_while(|line| line.starts_with("//!") && line.len() > 4);
        let sentence = head.map(|line| line[3..].trim()).collect::<Vec<_>>().join(" ");
        if !sentence.contains('.') && !sentence.ends_with(['?', '!']) {
            faults.push(format!("{}: open with a `//!` sentence that says what the file holds", source.path));
        }
    }
    report(&faults);
}

#[test]
fn files_and_functions_stay_short() {
    let mut faults = Vec::new();
    for source in rust() {
        let lines: Vec<&str> = source.text.lines().collect();
        if lines.len() > FILE_LINES {
            faults.push(format!("{}: {} lines, the limit is {FILE_LINES}", source.path, lines.len()));
        }
        for (at, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if !is_function(line.trim_start()) {
                continue;
            }
            // rustfmt closes a function by a brace that stands where the function starts.
            let length = lines[at..].iter().position(|end| {
                end.len() == indent + 1 && end.ends_with('}')
                    || end.ends_with(';') && end.trim_start().starts_with("fn ")
            });
            if length.is_some_and(|length| length >= FUNCTION_LINES) {
                faults.push(format!("{}:{}: longer than {FUNCTION_LINES} lines", source.path, at + 1));
            }
        }
    }
    report(&faults);
}

fn is_function(line: &str) -> bool {
    let mut words = line.split(' ').skip_while(|word| word.starts_with("pub") || ["const", "async"].contains(word));
    words.next() == Some("fn") && line.ends_with(['{', '(', '>'])
}

#[test]
fn names_say_what_a_file_holds() {
    let named = |source: &Source| {
        let stem = Path::new(&source.path).file_stem().unwrap().to_str().unwrap().to_owned();
        BANNED_NAMES.contains(&stem.as_str()).then(|| format!("{}: `{stem}` says nothing", source.path))
    };
    report(&rust().iter().filter_map(named).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later() {
    // Spelt apart, or this file would find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let mut faults = Vec::new();
    for source in
        sources(&["src", "tests", "benches", "docs", "config", "test-data", ".ci"], &["rs", "py", "md", "toml"])
    {
        for (at, line) in source.text.lines().enumerate() {
            let found = words.iter().filter(|word| line.contains(**word));
            faults.extend(found.map(|word| format!("{}:{}: {word}", source.path, at + 1)));
        }
    }
    report(&faults);
}

#[test]
fn links_lead_somewhere() {
    let mut pages = sources(&["docs", "test-data", "benches", "config"], &["md"]);
    let front = ["README.md", "CHANGELOG.md"].map(|name| (name, fs::read_to_string(root().join(name))));
    pages.extend(front.into_iter().filter_map(|(name, text)| Some(Source { path: name.to_owned(), text: text.ok()? })));
    let mut faults = Vec::new();
    for page in &pages {
        let folder = root().join(&page.path).parent().unwrap().to_owned();
        for (at, line) in page.text.lines().enumerate() {
            for target in links(line) {
                let file = target.split('#').next().unwrap_or_default();
                let outside = target.contains("://") || target.starts_with("mailto:") || file.is_empty();
                if !outside && !folder.join(file).exists() {
                    faults.push(format!("{}:{}: no such file: {target}", page.path, at + 1));
                }
            }
        }
    }
    report(&faults);
}

/// The targets of Markdown links in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

#[test]
fn the_rules_see_what_they_forbid() {
    let text = "use a;\n#[cfg(test)]\nmod tests;\nuse b;\n#[cfg(test)]\nmod more {\n    use c;\n}\n".to_owned();
    let source = Source { path: "src/a.rs".to_owned(), text };
    assert_eq!(source.product_lines(), [(1, "use a;"), (4, "use b;")]);
    assert_eq!(names_used("use crate::{dicom::{uid, tag}, store::Digest};"), ["dicom", "store"]);
    assert_eq!(names_used("let x = crate::ledger::State::Dead; // fine"), ["ledger"]);
    assert_eq!(names_used("mycrate::dicom"), Vec::<String>::new());
    assert!(is_function("pub(crate) async fn serve(") && is_function("fn a() {") && !is_function("let fn_a = 1;"));
    assert_eq!(links("see [a](docs/a.md#b) and [c](d.md \"t\")").collect::<Vec<_>>(), ["docs/a.md#b", "d.md"]);
    assert!(is_below("records/sqlite/writer", SQL_HOME) && !is_below("records/sqlite_like", SQL_HOME));
}

/// The fuzzer is built with its lock as it is, so that must know each of our dependencies.
#[test]
fn the_lock_of_the_fuzzer_knows_each_dependency() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let (manifest, lock) = (read("Cargo.toml"), read("fuzz/Cargo.lock"));
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let names: Vec<&str> = dependencies
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(|line| line.split(['=', '.', ' ']).next().unwrap())
        .collect();
    assert!(names.len() > 20, "{names:?}");
    let (_, ours) = lock.split_once("name = \"weybridge\"\n").unwrap();
    let (ours, _) = ours.split_once("\n]").unwrap();
    let missing: Vec<&&str> = names.iter().filter(|name| !ours.contains(&format!(" \"{name}"))).collect();
    assert!(missing.is_empty(), "run `cargo update -w --manifest-path fuzz/Cargo.toml`: {missing:?}");
}
