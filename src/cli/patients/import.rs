//! `weybridge patients import`: a CSV file, checked whole before anything of it is kept.

use super::{Import, table};
use crate::cli::{ConfigPlace, Ended, Failure, client, render};
use crate::edge::admin::{Learn, Line};
use crate::records::MOST_STATEMENTS;
use serde_json::json;
use std::process::ExitCode;

/// Largest file, in bytes.
const LARGEST_FILE: u64 = 256 << 20;
/// Bad lines that are told one by one.
const MOST_TOLD: usize = 100;

pub(super) async fn run(place: &ConfigPlace, options: Import) -> Ended {
    let config = client::load(place)?;
    let table = read(&options)?;
    for (line, why) in table.bad.iter().take(MOST_TOLD) {
        eprint(&format!("{}:{line}: {why}", options.file.display()));
    }
    if table.bad.len() > MOST_TOLD {
        eprint(&format!("and {} bad lines more", table.bad.len() - MOST_TOLD));
    }
    if !table.bad.is_empty() && !options.skip_bad {
        let good = table.statements.len();
        return Err(Failure::usage(format!(
            "nothing was imported: {} lines are bad, {good} are good; correct them, or import the good ones with --skip-bad",
            table.bad.len()
        )));
    }
    let mut gateway = client::Gateway::required(&config).await?;
    let (mut new, mut known, mut beyond) = (0, 0, 0);
    for page in table.statements.chunks(MOST_STATEMENTS) {
        let lines = page.iter().map(|(who, said)| Line {
            issuer: who.issuer.clone(),
            id: who.id.clone(),
            number: said.number.digits(),
            birth_date: said.birth_date.clone(),
        });
        let learn = Learn { lines: lines.collect(), source: options.source.clone(), who: crate::cli::who() };
        let answer = gateway.post("/patients/learn", &serde_json::to_value(&learn).map_err(Failure::some)?).await?;
        let count = |name: &str| answer[name].as_u64().unwrap_or(0);
        new += count("new");
        known += count("known");
        beyond += count("beyond");
    }
    let bad = table.bad.len();
    if options.json {
        render::json(&json!({"new": new, "known": known, "beyond": beyond, "bad": bad}))?;
    } else {
        render::line(format!(
            "{new} statements are new, {known} were known, {beyond} beyond what is kept of one number, {bad} lines were bad"
        ))?;
    }
    if bad > 0 { Err(Failure::some(format!("{bad} lines were not imported"))) } else { Ok(ExitCode::SUCCESS) }
}

fn read(options: &Import) -> Result<table::Table, Failure> {
    let wrong = |why: String| Failure::usage(format!("cannot read {}: {why}", options.file.display()));
    let size = std::fs::metadata(&options.file).map_err(|error| wrong(error.to_string()))?.len();
    if size > LARGEST_FILE {
        return Err(wrong(format!("it has {size} bytes; at most {LARGEST_FILE} are read")));
    }
    let text = std::fs::read_to_string(&options.file).map_err(|error| wrong(error.to_string()))?;
    table::read(&text, options.issuer.as_deref()).map_err(|why| wrong(why.to_owned()))
}

fn eprint(line: &str) {
    use std::io::Write as _;
    // What cannot be told there is told by the exit code.
    let _ = writeln!(anstream::stderr(), "{line}");
}
