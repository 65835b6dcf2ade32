//! `weybridge ledger`: prove it, and export it for others to prove.

use super::part::Part;
use super::{ConfigPlace, Ended, Failure, client, render, store};
use crate::records::{Records, Report, hex};
use crate::store::{Noted, Store, StoreReader};
use serde_json::{Value, json};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Recompute chain, tree and states from the entries and compare; exit code 5 if anything disagrees
    Verify {
        /// Read every stored blob too and compare its digest
        #[arg(long)]
        blobs: bool,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write every entry, one JSON object a line, in the order of their positions
    Export {
        /// Where to [default: standard output]
        file: Option<PathBuf>,
    },
}

pub(super) async fn run(place: &ConfigPlace, verb: Verb) -> Ended {
    match verb {
        Verb::Verify { blobs, json } => verify(place, blobs, json).await,
        Verb::Export { file } => export(place, file).await,
    }
}

async fn verify(place: &ConfigPlace, blobs: bool, json: bool) -> Ended {
    let site = client::site(place)?;
    let folder = site.data_dir.join("blobs");
    // Read first: what the blobs note has been committed before. Who may not read them may not read the records either, which say so.
    let noted = Store::noted(&folder);
    let records = client::records_of(&site)?;
    let noted = noted.map_err(Failure::some)?;
    let report = records.verify_ledger(Arc::default()).await.map_err(Failure::some)?;
    let mut read = match blobs {
        true => {
            let blobs = StoreReader::open(folder).map_err(Failure::unreachable)?;
            store::verify_files(&records, &blobs, &mut store::Pace::beside(&site.data_dir, json)).await?
        }
        false => store::Verified::default(),
    };
    let mut problems = report.problems.clone();
    problems.extend(cut_off(noted, &records).await?);
    problems.append(&mut read.problems);
    if blobs {
        let aside = records.unhealed().await.map_err(Failure::some)?;
        problems.extend((aside > 0).then(|| store::set_aside_before(aside)));
    }
    if json {
        render::json(&as_json(&report, &read, &problems))?;
    } else if problems.is_empty() {
        render::line(format!(
            "{} entries, {} instances, {} transfers: chain, tree and states agree",
            report.head.size, report.instances, report.transfers
        ))?;
        render::line(format!("chain {}\ntree  {}", hex(&report.head.chain), hex(&report.head.root)))?;
        if blobs {
            render::line(format!("{} blobs read, {}: every digest agrees", read.blobs, render::bytes(read.bytes)))?;
        }
    } else {
        problems.iter().try_for_each(render::line)?;
        if report.more > 0 {
            render::line(format!("and {} more of the ledger", report.more))?;
        }
    }
    match problems.len() as u64 + report.more {
        0 => Ok(ExitCode::SUCCESS),
        count => {
            Err(Failure::integrity(format!("{count} problems: keep the data directory as it is and ask for help")))
        }
    }
}

/// That entries are missing at the end, and all that counts them with them: the blobs have noted more, or others (LED-007). They note
/// where the records are about once a minute and when the gateway stops.
async fn cut_off(noted: Option<Noted>, records: &Records) -> Result<Option<String>, Failure> {
    let Some(noted) = noted else { return Ok(None) };
    let held = records.held(noted.entries, noted.chain).await.map_err(Failure::some)?;
    Ok((!held).then(|| {
        format!(
            "the blobs have noted {} entries with the chain {}, which these records do not hold: an older records.db is in place, \
             another's, or one whose end was taken away",
            noted.entries,
            hex(&noted.chain)
        )
    }))
}

/// What was found, with what the blobs told; `more` tells how much is wrong beside `problems`.
fn as_json(report: &Report, read: &store::Verified, problems: &[String]) -> Value {
    json!({
        "entries": report.head.size,
        "transfers": report.transfers,
        "instances": report.instances,
        "chain": hex(&report.head.chain),
        "root": hex(&report.head.root),
        "first_bad": report.first_bad,
        "blobs_read": read.blobs,
        "bytes_read": read.bytes,
        "problems": problems,
        "more": report.more,
    })
}

async fn export(place: &ConfigPlace, file: Option<PathBuf>) -> Ended {
    let records = client::records_of(&client::site(place)?)?;
    let Some(path) = file else {
        let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout());
        write_entries(&records, &mut out).await?;
        out.flush().map_err(unwritten)?;
        return Ok(ExitCode::SUCCESS);
    };
    let entries = export_to(&records, &path).await?;
    render::line(format!("{entries} entries written to {}", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that has its name only once all of it is on the disk: half a ledger would look whole (LED-006). Gives how many entries.
async fn export_to(records: &Records, path: &Path) -> Result<u64, Failure> {
    let part = Part::begin(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let mut out = BufWriter::with_capacity(1 << 16, part);
    let entries = write_entries(records, &mut out).await?;
    let part = out.into_inner().map_err(|error| unwritten(error.into_error()))?;
    part.end().map_err(unwritten)?;
    Ok(entries)
}

/// Gives how many entries were written.
async fn write_entries(records: &Records, out: &mut impl Write) -> Result<u64, Failure> {
    let mut entries = 0;
    loop {
        let page = records.ledger_page(entries).await.map_err(Failure::some)?;
        let Some(last) = page.last() else { return Ok(entries) };
        entries = last.position;
        page.iter().try_for_each(|line| writeln!(out, "{}", line.to_json())).map_err(unwritten)?;
    }
}

fn unwritten(error: std::io::Error) -> Failure {
    Failure::some(format!("cannot write the export: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::records::{LedgerHead, RecordsOptions};

    /// LED-006: an export that was broken off is no export, and one that is there is not written over.
    #[tokio::test]
    async fn an_export_is_whole_before_it_has_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (records, _) = Records::open(&dir.path().join("data"), RecordsOptions::default()).unwrap();
        let path = dir.path().join("ledger.jsonl");
        std::fs::create_dir(dir.path().join("ledger.jsonl.part")).unwrap();
        let refused = export_to(&records, &path).await.unwrap_err();
        assert!(refused.code == 2 && !path.exists(), "it is written under another name first: {refused:?}");
        std::fs::remove_dir(dir.path().join("ledger.jsonl.part")).unwrap();
        let entries = export_to(&records, &path).await.unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(entries > 0 && written.lines().count() as u64 == entries && written.ends_with('\n'), "{written}");
        let refused = export_to(&records, &path).await.unwrap_err();
        assert!(refused.code == 2 && refused.message.contains("already"), "{refused:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
        assert!(!dir.path().join("ledger.jsonl.part").exists());
    }

    /// UIX-05, LED-006: a program that reads the answer sees as much as a person does.
    #[test]
    fn what_is_found_beside_the_problems_that_are_named_is_counted_in_json_too() {
        let head = LedgerHead { size: 9, chain: [1; 32], root: [2; 32] };
        let problems: Vec<String> = (0..20).map(|n| format!("transfer {n}: wrong")).collect();
        let report = Report {
            head,
            transfers: 3,
            instances: 2,
            exceptions: 0,
            first_bad: Some(4),
            problems: problems.clone(),
            more: 7,
            unread: Vec::new(),
        };
        let told = as_json(&report, &store::Verified::default(), &problems);
        assert_eq!((&told["more"], &told["first_bad"], &told["entries"]), (&7.into(), &4.into(), &9.into()), "{told}");
        assert_eq!(told["problems"].as_array().map(Vec::len), Some(20), "{told}");
        let told = as_json(&Report { more: 0, ..report }, &store::Verified::default(), &problems);
        assert_eq!(told["more"], 0, "it is there where nothing more is wrong, too: {told}");
    }
}
