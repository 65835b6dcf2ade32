//! `weybridge backup` and `weybridge restore`: records and blobs of one moment together, and back.

use super::part::{own_name, sync_names};
use super::store::{Pace, verify_files};
use super::{ConfigPlace, Ended, Failure, client, render};
use crate::app::Unfinished;
use crate::config::Config;
use crate::ledger::transfer::State;
use crate::records::{DestinationView, LedgerHead, Records, RecordsOptions, hex};
use crate::store::StoreReader;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// The file that says that a backup is whole; it is written last.
const LABEL: &str = "backup.json";
/// The name of the records in a backup, as in a data directory.
const RECORDS: &str = "records.db";
const BLOBS: &str = "blobs";
/// What a gateway or a restore that did not begin leaves; nothing is lost with it.
const LOCK: &str = "lock";
/// Where the records of an older program's backup are brought up to date before they are restored.
const OLDER: &str = "older-records";
/// The directory that a new file system begins with.
const LOST_AND_FOUND: &str = "lost+found";
/// Most names that are told of what is in the way.
const NAMED: usize = 5;

/// So long nothing is freed or moved, unless it is asked for again.
const PAUSE: Duration = Duration::from_secs(120);
/// So often it is.
const AGAIN: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// A folder that does not exist yet, or is empty
    dir: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// The folder of a backup
    dir: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn backup(place: &ConfigPlace, options: Backup) -> Ended {
    let config = client::load(place)?;
    let records = client::records(&config)?;
    empty_folder(&options.dir)?;
    // Blobs that are there now stay there, where they are, until the copy is made.
    let pause = Pause::begin(&config).await?;
    let label = tokio::select! {
        label = copy_out(&config, &records, &options.dir) => label?,
        failed = pause.hold() => return Err(failed),
    };
    pause.end().await;
    match options.json {
        true => render::json(&label)?,
        false => render::line(format!(
            "{} blobs, {}, and {} ledger entries are in {}; each blob was read back",
            label["blobs"],
            render::bytes(label["bytes"].as_u64().unwrap_or(0)),
            label["ledger_entries"],
            options.dir.display()
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn copy_out(config: &Config, records: &Records, dir: &Path) -> Result<Value, Failure> {
    records.snapshot(dir.join(RECORDS)).await.map_err(Failure::some)?;
    let copy = Records::open_read_only(dir).map_err(Failure::some)?;
    let blobs = dir.join(BLOBS);
    empty_folder(&blobs)?;
    let places = copy.all_places().await.map_err(Failure::some)?;
    let ours = StoreReader::open(config.site.data_dir.join(BLOBS)).map_err(Failure::some)?;
    ours.copy_files(&places, blobs.clone()).await.map_err(Failure::some)?;
    let stored = StoreReader::open(blobs).map_err(Failure::some)?;
    let verified = verify_files(&copy, &stored, &mut Pace::full()).await?;
    if let Some(problem) = verified.problems.first() {
        let count = verified.problems.len();
        return Err(Failure::integrity(format!(
            "{count} blobs are not whole, so this is no backup: {problem}. `weybridge store verify` names each, and has a running gateway \
             set them aside; then make the backup again, in a new folder"
        )));
    }
    let head = copy.ledger_head().await.map_err(Failure::some)?;
    let label = json!({
        "weybridge_backup": 1,
        "site": config.site.name,
        "at": render::utc(SystemTime::now()),
        "ledger_entries": head.size,
        "ledger_chain": hex(&head.chain),
        "blobs": verified.blobs,
        "bytes": verified.bytes,
    });
    write_label(dir, &label).map_err(|error| Failure::some(format!("cannot write to {}: {error}", dir.display())))?;
    Ok(label)
}

fn write_label(dir: &Path, label: &Value) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(LABEL))?;
    file.write_all(label.to_string().as_bytes())?;
    file.sync_all()?;
    sync_names(dir)
}

/// Makes a folder for its owner only; one that is there must be empty.
fn empty_folder(dir: &Path) -> Result<(), Failure> {
    match made(dir)?.is_empty() {
        true => Ok(()),
        false => Err(Failure::usage(format!("{} is not empty; name a new folder", dir.display()))),
    }
}

/// The same for a data directory, where the configuration says which it is; it may hold what a new file system begins with, and a lock.
fn empty_data_dir(dir: &Path) -> Result<(), Failure> {
    let mut found = made(dir)?;
    found.retain(|name| name != LOCK && (name != LOST_AND_FOUND || !holds_nothing(&dir.join(name))));
    if found.is_empty() {
        return Ok(());
    }
    found.sort();
    let mut names: Vec<_> = found.iter().take(NAMED).map(|name| name.to_string_lossy()).collect();
    if found.len() > NAMED {
        names.push("and more".into());
    }
    Err(Failure::usage(format!(
        "{} is not empty: it holds {}. Restore fills an empty data directory only: move this away first",
        dir.display(),
        names.join(", ")
    )))
}

/// Makes a folder for its owner only, or finds it; the names in it.
fn made(dir: &Path) -> Result<Vec<OsString>, Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| Failure::usage(format!("cannot make {}: {error}", dir.display())))?;
    let unread = |error: io::Error| Failure::usage(format!("cannot read {}: {error}", dir.display()));
    let found = std::fs::read_dir(dir).map_err(unread)?;
    found.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>().map_err(unread)
}

/// Whether it is a directory without anything in it, or one that only root may look into, as of a new file system.
fn holds_nothing(path: &Path) -> bool {
    match std::fs::read_dir(path) {
        Ok(mut inside) => inside.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied && path.is_dir(),
    }
}

/// A running gateway that frees and moves nothing for now; or none that runs.
struct Pause<'a> {
    config: &'a Config,
    /// Which backup this is: another that is made at the same time has a pause of its own.
    by: String,
    running: bool,
}

impl<'a> Pause<'a> {
    async fn begin(config: &'a Config) -> Result<Self, Failure> {
        let by = own_name(SystemTime::now());
        let running = ask_to_pause(config, &by, PAUSE).await?;
        Ok(Self { config, by, running })
    }

    /// Asks again and again; returns only if the gateway refuses or has gone.
    async fn hold(&self) -> Failure {
        loop {
            tokio::time::sleep(AGAIN).await;
            match ask_to_pause(self.config, &self.by, PAUSE).await {
                Ok(running) if running == self.running => {}
                Ok(_) => return Failure::some("the gateway was started or stopped meanwhile; make the backup again"),
                Err(failure) => return failure,
            }
        }
    }

    async fn end(self) {
        if self.running && ask_to_pause(self.config, &self.by, Duration::ZERO).await.is_err() {
            tracing::warn!("the gateway could not be told to go on; it does so by itself in two minutes");
        }
    }
}

/// Whether a gateway runs and has paused.
async fn ask_to_pause(config: &Config, by: &str, pause: Duration) -> Result<bool, Failure> {
    let Some(mut gateway) = client::Gateway::connect(&config.site.data_dir).await else { return Ok(false) };
    gateway.post("/store/pause", &json!({"seconds": pause.as_secs(), "by": by})).await?;
    Ok(true)
}

pub(super) async fn restore(place: &ConfigPlace, options: Restore) -> Ended {
    let config = client::load(place)?;
    let label = read_label(&options.dir)?;
    ours(&label, &config.site.name)?;
    let data_dir = &config.site.data_dir;
    client::owner_only(data_dir)?;
    empty_data_dir(data_dir)?;
    let _lock = client::lock(data_dir)?;
    // A gateway that was quicker has left something.
    empty_data_dir(data_dir)?;
    let Kept { records: backup, passing: _passing } = Kept::open(&options.dir, data_dir)?;
    goes_with(&label, &backup.ledger_head().await.map_err(Failure::some)?)?;
    let places = backup.all_places().await.map_err(Failure::some)?;
    let failed = |error: std::io::Error| Failure::some(format!("cannot write to {}: {error}", data_dir.display()));
    let mark = Unfinished::begin(data_dir, "restore").map_err(failed)?;
    let blobs = data_dir.join(BLOBS);
    empty_folder(&blobs)?;
    let stored = StoreReader::open(options.dir.join(BLOBS)).map_err(Failure::some)?;
    stored.copy_files(&places, blobs.clone()).await.map_err(Failure::some)?;
    let stored = StoreReader::open(blobs).map_err(Failure::some)?;
    let verified = verify_files(&backup, &stored, &mut Pace::full()).await?;
    if let Some(problem) = verified.problems.first() {
        return Err(Failure::integrity(format!("the backup is damaged: {problem}")));
    }
    backup.snapshot(data_dir.join(RECORDS)).await.map_err(Failure::some)?;
    let doubted = doubt(data_dir, label["at"].as_str().unwrap_or("an unknown time")).await?;
    mark.end().map_err(failed)?;
    match options.json {
        true => render::json(&json!({"blobs": verified.blobs, "bytes": verified.bytes, "to_be_asked": doubted}))?,
        false => {
            render::line(format!("{} blobs, {}, are restored", verified.blobs, render::bytes(verified.bytes)))?;
            render::line(format!(
                "{doubted} transfers may have been made since the backup: each is asked about first"
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The records of a backup, which stays as it is: those of an older program are brought up to this one's layout in a copy.
struct Kept {
    records: Records,
    passing: Option<Passing>,
}

impl Kept {
    fn open(dir: &Path, data_dir: &Path) -> Result<Self, Failure> {
        let why = match Records::open_read_only(dir) {
            Ok(records) => return Ok(Self { records, passing: None }),
            Err(why) => why,
        };
        if !Records::are_older(dir).unwrap_or(false) {
            return Err(Failure::some(why));
        }
        let passing = Passing(data_dir.join(OLDER));
        empty_folder(&passing.0)?;
        let failed = |error: io::Error| Failure::some(format!("cannot write to {}: {error}", data_dir.display()));
        std::fs::copy(dir.join(RECORDS), passing.0.join(RECORDS)).map_err(failed)?;
        Records::bring_up(&passing.0).map_err(Failure::some)?;
        Ok(Self { records: Records::open_read_only(&passing.0).map_err(Failure::some)?, passing: Some(passing) })
    }
}

/// A folder that goes when it is dropped.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        // What cannot be removed is a copy, under a name that says so.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read_label(dir: &Path) -> Result<Value, Failure> {
    let path = dir.join(LABEL);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::usage(format!("{} is no whole backup: {error}", dir.display())))?;
    let label: Value = serde_json::from_str(&text).map_err(Failure::usage)?;
    match label["weybridge_backup"].as_u64() {
        Some(1) => Ok(label),
        _ => Err(Failure::usage(format!("{} is not the label of a backup that this version reads", path.display()))),
    }
}

/// Refuses another site's backup: what that one owes would go out in this one's name.
fn ours(label: &Value, site: &str) -> Result<(), Failure> {
    match label["site"].as_str() {
        Some(other) if other != site => Err(Failure::usage(format!(
            "this is a backup of the site {}, and the configuration is of {site}: name the other configuration, or give `name` in [site] \
             the name that the site had",
            render::plain(other)
        ))),
        _ => Ok(()),
    }
}

/// Refuses records that are not those of the label: something was put into the folder since, so that it is of no one moment.
fn goes_with(label: &Value, head: &LedgerHead) -> Result<(), Failure> {
    if label["ledger_entries"] == head.size && label["ledger_chain"] == hex(&head.chain) {
        return Ok(());
    }
    Err(Failure::integrity(format!(
        "the backup is damaged: its label is of {} ledger entries with the chain {}, and its records hold {} with the chain {}. \
         Nothing was restored",
        label["ledger_entries"],
        label["ledger_chain"].as_str().map_or_else(|| "-".to_owned(), render::plain),
        head.size,
        hex(&head.chain)
    )))
}

/// What was open at the time of the backup may have been sent since: nothing of it is sent again unasked. Gives how many
/// transfers are to be asked about.
async fn doubt(data_dir: &Path, at: &str) -> Result<u64, Failure> {
    let (records, _) = Records::open(data_dir, RecordsOptions::default()).map_err(Failure::some)?;
    let reason = format!("restored from the backup of {at}");
    records.doubt(&super::who(), &reason, SystemTime::now()).await.map_err(Failure::some)?;
    let summary = records.summary().await.map_err(Failure::some)?;
    let unknown = |one: &DestinationView| one.open.get(State::Unknown.word()).copied().unwrap_or_default();
    let doubted = summary.destinations.iter().map(unknown).sum();
    records.close().await;
    Ok(doubted)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_new_file_system_begins_with_is_no_data() {
        let mount = tempfile::tempdir().unwrap();
        let at = |name: &str| mount.path().join(name);
        std::fs::create_dir(at(LOST_AND_FOUND)).unwrap();
        std::fs::write(at(LOCK), "").unwrap();
        assert!(empty_data_dir(mount.path()).is_ok());
        assert!(empty_folder(mount.path()).is_err(), "a backup gets a folder of its own");
        for name in ["lost+found/#17", "weybridge.toml"] {
            std::fs::write(at(name), "").unwrap();
        }
        let refused = empty_data_dir(mount.path()).unwrap_err();
        assert!(refused.code == 2 && refused.message.contains("it holds lost+found, weybridge.toml."), "{refused:?}");
    }

    #[test]
    fn two_backups_of_one_moment_are_told_apart() {
        let at = |nanos| own_name(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos));
        assert_ne!(at(1_800_000_000_000_000_001), at(1_800_000_000_000_000_002));
        assert!(own_name(SystemTime::now()).len() <= 100, "the gateway takes no longer one");
    }

    #[test]
    fn a_backup_of_another_site_is_refused() {
        let label = json!({"site": "Hampshire"});
        assert!(ours(&label, "Hampshire").is_ok());
        let refused = ours(&label, "Surrey").unwrap_err();
        assert!(refused.code == 2 && refused.message.contains("of the site Hampshire"), "{refused:?}");
    }

    /// A folder into which other records were put since holds records and blobs of two moments.
    #[test]
    fn records_that_are_not_those_of_the_label_are_refused() {
        let label = |entries: u64, chain: [u8; 32]| json!({"ledger_entries": entries, "ledger_chain": hex(&chain)});
        let head = LedgerHead { size: 9, chain: [1; 32], root: [2; 32] };
        assert!(goes_with(&label(9, [1; 32]), &head).is_ok());
        for other in [label(8, [1; 32]), label(10, [1; 32]), label(9, [2; 32]), json!({})] {
            let refused = goes_with(&other, &head).unwrap_err();
            assert!(refused.code == 5 && refused.message.contains("Nothing was restored"), "{refused:?}");
        }
    }
}
