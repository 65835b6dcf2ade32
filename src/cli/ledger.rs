//! `weybridge ledger`: prove it, and export it for others to prove.

use super::{ConfigPlace, Ended, Failure, client, render, store};
use crate::records::hex;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
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
    let config = client::load(place)?;
    let records = client::records(&config)?;
    let report = records.verify_ledger(Arc::default()).await.map_err(Failure::some)?;
    let damaged = if blobs { store::verify_blobs(&config, &records).await? } else { store::Verified::default() };
    let (chain, root) = (hex(&report.head.chain), hex(&report.head.root));
    let mut problems = report.problems.clone();
    problems.extend(damaged.problems);
    if blobs {
        let aside = records.unhealed().await.map_err(Failure::some)?;
        problems.extend((aside > 0).then(|| store::set_aside_before(aside)));
    }
    if json {
        render::json(&serde_json::json!({
            "entries": report.head.size,
            "transfers": report.transfers,
            "instances": report.instances,
            "chain": chain,
            "root": root,
            "first_bad": report.first_bad,
            "blobs_read": damaged.blobs,
            "bytes_read": damaged.bytes,
            "problems": problems,
        }))?;
    } else if problems.is_empty() {
        render::line(format!(
            "{} entries, {} instances, {} transfers: chain, tree and states agree",
            report.head.size, report.instances, report.transfers
        ))?;
        render::line(format!("chain {chain}\ntree  {root}"))?;
        if blobs {
            render::line(format!(
                "{} blobs read, {}: every digest agrees",
                damaged.blobs,
                render::bytes(damaged.bytes)
            ))?;
        }
    } else {
        problems.iter().try_for_each(render::line)?;
    }
    match problems.len() as u64 + report.more {
        0 => Ok(ExitCode::SUCCESS),
        count => {
            Err(Failure::integrity(format!("{count} problems: keep the data directory as it is and ask for help")))
        }
    }
}

async fn export(place: &ConfigPlace, file: Option<PathBuf>) -> Ended {
    let config = client::load(place)?;
    let records = client::records(&config)?;
    let out: Box<dyn Write + Send> = match &file {
        Some(path) => {
            Box::new(File::create_new(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?)
        }
        None => Box::new(std::io::stdout()),
    };
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let failed = |error: std::io::Error| Failure::some(format!("cannot write the export: {error}"));
    let mut entries = 0;
    loop {
        let page = records.ledger_page(entries).await.map_err(Failure::some)?;
        let Some(last) = page.last() else { break };
        entries = last.position;
        page.iter().try_for_each(|line| writeln!(out, "{}", line.to_json())).map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    if let Some(path) = file {
        render::line(format!("{entries} entries written to {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
