//! config/weybridge.toml names every key, and the defaults that it shows are those of the code.

use super::*;
use std::collections::BTreeSet;

const REFERENCE: &str = "config/weybridge.toml";

/// A line that sets a key or opens a table, commented or not.
struct Line<'a> {
    commented: bool,
    setting: &'a str,
    /// The sentence right above it.
    about: &'a str,
}

fn lines(text: &str) -> Vec<Line<'_>> {
    let about = |above: &'_ str| above.starts_with("# ");
    let all: Vec<&str> = text.lines().collect();
    let mut lines = Vec::new();
    for (index, line) in all.iter().enumerate() {
        let setting = line.strip_prefix('#').unwrap_or(line);
        if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') {
            let above = index.checked_sub(1).map_or("", |above| all[above]);
            let about = if about(above) { above } else { "" };
            lines.push(Line { commented: line.starts_with('#'), setting, about });
        }
    }
    lines
}

/// The reference with every default in force that it shows.
fn with_defaults(text: &str) -> (String, usize) {
    let mut count = 0;
    let mut out = String::new();
    for line in lines(text) {
        let shown = ["Default: ", "Not built yet"].iter().all(|word| !line.about.contains(word));
        if !line.commented || shown {
            count += usize::from(line.commented);
            out.push_str(line.setting);
            out.push('\n');
        }
    }
    (out, count)
}

#[test]
fn the_reference_shows_the_defaults() {
    let directory = with_keys("site");
    let reference = fs::read_to_string(REFERENCE).unwrap();
    let (spelled_out, count) = with_defaults(&reference);
    assert!(count > 50, "only {count} defaults are shown");
    let as_shipped = load(directory.path(), &reference).unwrap_or_else(|e| panic!("{e}"));
    let spelled_out = load(directory.path(), &spelled_out).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(format!("{as_shipped:#?}"), format!("{spelled_out:#?}"));
    assert_eq!(as_shipped.timers, Timers::default());
    assert_eq!(as_shipped.limits, Limits::default());
    assert_eq!(as_shipped.courier, Courier::default());
    assert_eq!(as_shipped.store, StoreSettings::default());
    assert_eq!(as_shipped.retention, Retention::default());
    assert_eq!(as_shipped.priors, Priors::default());
}

#[test]
fn the_reference_names_every_key_and_no_other() {
    let reference = fs::read_to_string(REFERENCE).unwrap();
    let mut table = String::new();
    let mut named = BTreeSet::new();
    let mut described = BTreeSet::new();
    for line in lines(&reference) {
        let key = match line.setting.trim_matches(['[', ']']) {
            name if line.setting.starts_with('[') => {
                table = name.to_owned();
                table.clone()
            }
            setting => format!("{table}.{}", setting.split(" =").next().unwrap()),
        };
        if !line.about.is_empty() {
            described.insert(key.clone());
        }
        named.insert(key);
    }
    let (_, known) = parse(&reference, Path::new(REFERENCE), SystemTime::now());
    assert_eq!(named, known);
    let bare: Vec<_> = named.difference(&described).filter(|key| key.contains('.')).collect();
    assert!(bare.is_empty(), "no sentence stands above {bare:?}");
}

#[test]
fn what_is_not_built_is_refused() {
    let directory = with_keys("site");
    let reference = fs::read_to_string(REFERENCE).unwrap();
    let mut tried = 0;
    for line in lines(&reference).iter().filter(|line| line.about.contains("Not built yet")) {
        let text = reference.replace(&format!("#{}", line.setting), line.setting);
        let errors = load(directory.path(), &text).expect_err(line.setting);
        assert!(errors.to_string().contains("is not built yet"), "{}: {errors}", line.setting);
        tried += 1;
    }
    assert_eq!(tried, 2);
    let later =
        [("#verify = \"accepted\"", "verify = \"commitment\""), ("#verify = \"present\"", "verify = \"receipt\"")];
    for (from, to) in later {
        assert!(reference.contains(from), "{from}");
        let errors = load(directory.path(), &reference.replace(from, to)).expect_err(to);
        assert!(errors.to_string().contains("not built yet"), "{to}: {errors}");
    }
}
