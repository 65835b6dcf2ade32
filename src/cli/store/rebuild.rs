//! `weybridge store rebuild`: new records from the blobs alone, when the records are lost and there is no backup.

use crate::app::{self, Unfinished};
use crate::cli::{Ended, Failure, client, render};
use crate::config::Config;
use crate::dicom::scanner::Scanner;
use crate::dicom::uid::TransferSyntaxUid;
use crate::peers::Origin;
use crate::records::{Arrival, BlobRef, Kept, Records, RecordsOptions, SourceFacts};
use crate::store::{Digest, Place, Store, StoreReader, file_name};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Default)]
struct Rebuilt {
    /// The name of the store was lost, and read from the labels.
    name_regained: bool,
    instances: u64,
    held: u64,
    copies: u64,
    /// Blobs that are damaged or that cannot be understood.
    unreadable: Vec<String>,
    /// Files with data that no label covers.
    unlabelled: Vec<String>,
}

pub(super) async fn run(config: &Config, options: &Options) -> Ended {
    let data_dir = &config.site.data_dir;
    if client::Gateway::connect(data_dir).await.is_some() {
        return Err(Failure::usage("the gateway is running; stop it first"));
    }
    client::owner_only(data_dir)?;
    let _lock = client::lock(data_dir)?;
    let dir = data_dir.join("blobs");
    // Where there is no such directory, the reader says so below.
    let regained = dir.is_dir() && Store::regain_name(&dir).map_err(Failure::some)?;
    if regained && !options.json {
        render::line("the name of this store was lost, and was read from the labels of its blobs")?;
    }
    if regained && data_dir.join("records.db").exists() {
        match options.json {
            true => render::json(&serde_json::json!({"name_regained": true}))?,
            false => render::line(
                "the records in place are kept. Nothing is removed until you say that they are the right ones: `weybridge store accept`",
            )?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    if records_are_in(data_dir).map_err(Failure::some)? {
        return Err(Failure::usage(format!(
            "there are records in {}; move records.db and what begins with that name away first, and keep it: this begins a new ledger",
            data_dir.display()
        )));
    }
    let blobs = super::blobs(config)?;
    let files = blobs.files().await.map_err(Failure::some)?;
    if files.is_empty() {
        return Err(Failure::some(format!("there are no blobs in {}", data_dir.display())));
    }
    let failed = |error: std::io::Error| Failure::some(format!("cannot write to {}: {error}", data_dir.display()));
    let mark = Unfinished::begin(data_dir, "store rebuild").map_err(failed)?;
    // What gets no row is to stay: no start may take it for what a crash left.
    Store::set_apart(&dir).map_err(Failure::some)?;
    let (records, _) = Records::open(data_dir, RecordsOptions::default()).map_err(Failure::some)?;
    let mut rebuilt = Rebuilt { name_regained: regained, ..Rebuilt::default() };
    for (number, shared) in files {
        let (labelled, bare) = blobs.labelled(number, shared).await.map_err(Failure::some)?;
        if bare > 0 {
            rebuilt.unlabelled.push(format!("file {}: {bare} bytes that no label covers", file_name(number, shared)));
        }
        for (place, digest, syntax) in labelled {
            match arrival(config, &blobs, (place, digest, &syntax)).await {
                Ok(arrival) => match records.record(arrival).await.map_err(Failure::some)?.kept {
                    Kept::Stored { .. } => rebuilt.instances += 1,
                    Kept::Differs { .. } => rebuilt.held += 1,
                    Kept::Same { .. } | Kept::BlobGone | Kept::Rerouted => rebuilt.copies += 1,
                },
                Err(why) => rebuilt.unreadable.push(format!("blob {digest}: {why}")),
            }
        }
    }
    // Who has which of them already is not known: nothing is sent again unasked.
    let why = "made anew from the blobs";
    records.doubt(&crate::cli::who(), why, SystemTime::now()).await.map_err(Failure::some)?;
    // That they are begun anew is what was asked for: no start need tell of it.
    records.beginning_was_meant(&crate::cli::who(), why, SystemTime::now()).await.map_err(Failure::some)?;
    records.close().await;
    mark.end().map_err(failed)?;
    tell(&rebuilt, options.json)
}

/// The blob as if it arrived now, by the hand of whoever rebuilds. No route is asked: a person decides what goes where.
async fn arrival(
    config: &Config,
    blobs: &StoreReader,
    (place, digest, syntax): (Place, Digest, &TransferSyntaxUid),
) -> Result<Arrival, String> {
    let mut scanner = Scanner::new(syntax, app::scanner_limits(config));
    let mut reader = blobs.read(place, digest).await.map_err(|error| error.to_string())?;
    while let Some(bytes) = reader.next().await.map_err(|error| error.to_string())? {
        scanner.push(&bytes).map_err(|error| error.to_string())?;
    }
    let head = scanner.finish().map_err(|error| error.to_string())?;
    Ok(Arrival {
        origin: Origin::Operator("store rebuild".into()),
        source: SourceFacts::default(),
        head,
        digest,
        length: place.length,
        blob: BlobRef::New(place),
        chosen: Vec::new(),
        routes: None,
        requested: None,
        received_at: SystemTime::now(),
        resend_after: Duration::MAX,
    })
}

fn tell(rebuilt: &Rebuilt, json: bool) -> Ended {
    let Rebuilt { name_regained, instances, held, copies, unreadable, unlabelled } = rebuilt;
    if json {
        render::json(&serde_json::json!({
            "instances": instances, "held": held, "copies": copies, "unreadable": unreadable, "unlabelled": unlabelled,
            "name_regained": name_regained,
        }))?;
    } else {
        unreadable.iter().chain(unlabelled).try_for_each(render::line)?;
        render::line(format!(
            "{instances} instances are in the new records, {held} more are held because of another with the same UID; \
             {copies} were there twice. None is owed to anybody: see `weybridge store list --unrouted`, then `send`"
        ))?;
    }
    if unreadable.is_empty() && unlabelled.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let (blobs, files) = (unreadable.len(), unlabelled.len());
    Err(Failure::integrity(format!(
        "{blobs} blobs are damaged or cannot be read, and {files} files hold data that no label covers: a blob whose label is \
         damaged, or what was arriving when the gateway ended. They are not in the new records, and are left as they are"
    )))
}

/// Whether there are records, or a log or another file of such.
fn records_are_in(data_dir: &Path) -> std::io::Result<bool> {
    if !data_dir.is_dir() {
        return Ok(false);
    }
    let names = std::fs::read_dir(data_dir)?.map(|entry| entry.map(|entry| entry.file_name()));
    let ours = |name: std::ffi::OsString| name.as_encoded_bytes().starts_with(b"records.db");
    names.map(|name| name.map(ours)).try_fold(false, |any, one| Ok(any || one?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::store::accept;

    /// FLT-072: a gateway that is starting has no socket yet, and has the files already.
    #[tokio::test]
    async fn nothing_is_changed_beside_a_gateway_that_is_starting() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "[site]\nname = \"a\"\ndata_dir = \"{}\"\n[dicom]\nlisten = \"127.0.0.1:11112\"\n[[node]]\nae_title = \"PACS\"\n\
             from_addresses = [\"127.0.0.1\"]\nmay = [\"store\"]\n",
            dir.path().display()
        );
        let config = Config::parse(&text, Path::new("weybridge.toml"), SystemTime::UNIX_EPOCH).unwrap();
        let _starting = client::lock(dir.path()).unwrap();
        let refused = [run(&config, &Options { json: true }).await, accept::run(&config).await];
        for refused in refused.map(Result::unwrap_err) {
            assert!(refused.code == 2 && refused.message().contains("stop it first"), "{refused:?}");
        }
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }
}
