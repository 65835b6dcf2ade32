//! `weybridge store`: what the blobs take, whether they are whole, and how to get them out.

mod accept;
mod drop;
mod list;
mod pace;
mod purge;
mod rebuild;
mod verify;

pub(super) use pace::Pace;
pub(super) use verify::{Verified, set_aside_before, verify_files};

use super::part::{Part, own_name, sync_names};
use super::study::every_instance;
use super::{ConfigPlace, Ended, Failure, client, render};
use crate::config::Config;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::part10::{self, FileMeta, Titles};
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::edge::admin::ScrubStatus;
use crate::records::{InstanceView, Records};
use crate::store::{BlobReader, StoreReader};
use std::collections::HashSet;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// How many blobs there are, what they take, and when all were last read
    #[command(alias = "stats")]
    Status {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Read every blob and compare its digest; exit code 5 if one is damaged
    Verify(verify::Options),
    /// Studies, with how many of their instances are kept here
    List(list::Options),
    /// Purge now what retention says is due; also what a person wants to see before
    Purge(purge::Options),
    /// Begin new records from the blobs alone, when records.db is lost and there is no backup
    Rebuild(rebuild::Options),
    /// Say that the records in place are the right ones, after a start has doubted them (the gateway stopped), or that this site was meant to begin anew
    Accept,
    /// Remove the bytes of a study or an instance; its records stay
    Drop(drop::Options),
    /// Write a study or an instance as DICOM files
    Export {
        /// Study Instance UID or SOP Instance UID
        uid: String,
        /// The folder to write to; made if it does not exist
        dir: PathBuf,
    },
}

pub(super) async fn run(place: &ConfigPlace, verb: Verb) -> Ended {
    let opened = || {
        let config = client::load(place)?;
        let records = client::records(&config)?;
        Ok::<_, Failure>((config, records))
    };
    match verb {
        Verb::List(options) => list::run(&client::records_of(&client::site(place)?)?, &options).await,
        Verb::Accept => accept::run(&client::load(place)?).await,
        Verb::Drop(options) => drop::run(&client::load(place)?, options).await,
        Verb::Rebuild(options) => rebuild::run(&client::load(place)?, &options).await,
        Verb::Status { json } => {
            let (config, records) = opened()?;
            status(&config, &records, json).await
        }
        Verb::Verify(options) => {
            let (config, records) = opened()?;
            verify::verify(&config, &records, options).await
        }
        Verb::Purge(options) => {
            let (config, records) = opened()?;
            purge::run(&config, &records, &options).await
        }
        Verb::Export { uid, dir } => {
            let (config, records) = opened()?;
            export(&config, &records, &uid, &dir).await
        }
    }
}

async fn status(config: &Config, records: &Records, json: bool) -> Ended {
    let (counts, summary) = (records.blob_counts().await, records.summary().await);
    let (counts, summary) = (counts.map_err(Failure::some)?, summary.map_err(Failure::some)?);
    let scrub = records.scrub_pass().await.map_err(Failure::some)?;
    let unnamed = unnamed(config, records).await?;
    if json {
        render::json(&serde_json::json!({
            "blobs": counts.live,
            "bytes": counts.live_bytes,
            "condemned": counts.condemned,
            "corrupt": counts.corrupt,
            "instances": summary.instances,
            "unrouted": summary.unrouted,
            "doubted": unnamed.is_some(),
            "files_without_a_row": unnamed,
            "scrub": scrub.as_ref().map(ScrubStatus::of),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let size = render::bytes(counts.live_bytes);
    render::line(format!("{} blobs, {size}, for {} instances", counts.live, summary.instances))?;
    if counts.condemned > 0 {
        render::line(format!("{} blobs are condemned and about to be freed", counts.condemned))?;
    }
    if counts.corrupt > 0 {
        render::line(format!("{} blobs are damaged or missing and are set aside", counts.corrupt))?;
    }
    if let Some(files) = unnamed {
        render::line(format!(
            "an older records.db is in place, or another's, or its log was damaged: {files} files hold nothing that it names, and \
             others may hold more than it names. Put the newest back, or see `store rebuild` and `store accept`"
        ))?;
    }
    if let Some(scrub) = scrub {
        let (state, at) = scrub.ended.map_or(("began", scrub.began), |ended| ("ended", ended));
        let read = format!("{} blobs, {}, {} damaged", scrub.blobs, render::bytes(scrub.bytes), scrub.damaged);
        render::line(format!("the last reading of all {state} {}: {read}", render::local(at)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How many files the records do not name at all, if a start has found that these are not the records of these blobs.
async fn unnamed(config: &Config, records: &Records) -> Result<Option<usize>, Failure> {
    let Ok(blobs) = blobs(config) else { return Ok(None) };
    if !blobs.is_doubted() {
        return Ok(None);
    }
    let places = records.all_places().await.map_err(Failure::some)?;
    let named: HashSet<u64> = places.iter().map(|place| place.file).collect();
    let files = blobs.files().await.map_err(Failure::some)?;
    Ok(Some(files.iter().filter(|(number, _)| !named.contains(number)).count()))
}

fn blobs(config: &Config) -> Result<StoreReader, Failure> {
    StoreReader::open(config.site.data_dir.join("blobs")).map_err(Failure::unreachable)
}

async fn export(config: &Config, records: &Records, uid: &str, dir: &Path) -> Ended {
    let instance = InstanceUid::parse(uid).map_err(Failure::usage)?;
    let mut instances = records.instance(&instance, SystemTime::now()).await.map_err(Failure::some)?;
    if instances.is_empty() {
        instances = every_instance(records, &StudyUid::parse(uid).map_err(Failure::usage)?).await?;
    }
    if instances.is_empty() {
        return Err(Failure::absent(format!("this site holds nothing of {uid}")));
    }
    std::fs::create_dir_all(dir).map_err(|error| Failure::usage(format!("cannot make {}: {error}", dir.display())))?;
    let (mut failed, run) = (0, own_name(SystemTime::now()));
    for instance in &instances {
        let path = dir.join(file_name(instance));
        if let Err(failure) = write(config, records, instance, (&path, &run)).await {
            failed += 1;
            render::line(format!("{}: {}", render::plain(&path.to_string_lossy()), failure.message))?;
        }
    }
    sync_names(dir).map_err(Failure::some)?;
    render::line(format!("{} files written to {}", instances.len() - failed, dir.display()))?;
    if failed > 0 { Err(Failure::some(format!("{failed} could not be written"))) } else { Ok(ExitCode::SUCCESS) }
}

/// Named by its UID, which holds digits and dots only; a further version of the same UID says which one it is.
fn file_name(instance: &InstanceView) -> String {
    match instance.version {
        0 | 1 => format!("{}.dcm", instance.sop_instance_uid),
        version => format!("{}.version-{version}.dcm", instance.sop_instance_uid),
    }
}

async fn write(
    config: &Config,
    records: &Records,
    instance: &InstanceView,
    (path, run): (&Path, &str),
) -> Result<(), Failure> {
    let blob = records.blob_of(&instance.sha256).await.map_err(Failure::some)?;
    let (_, place) = blob.ok_or_else(|| Failure::some("its bytes are no longer kept here"))?;
    let mut reader = blobs(config)?.read(place, instance.sha256).await.map_err(Failure::some)?;
    // Under another name until all of it is there: a damaged blob leaves nothing that looks whole (REL-07).
    let mut part = Part::begin_for(path, run).map_err(Failure::some)?;
    write_whole(config, instance, &mut reader, &mut part).await?;
    part.end_among_many().map_err(Failure::some)
}

/// Writes the whole file.
async fn write_whole(
    config: &Config,
    instance: &InstanceView,
    reader: &mut BlobReader,
    part: &mut Part,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(part);
    let meta = FileMeta {
        sop_class: instance.sop_class_uid.clone(),
        sop_instance: instance.sop_instance_uid.clone(),
        transfer_syntax: instance.transfer_syntax_uid.clone(),
    };
    let title = |text: &Option<String>| text.as_ref().and_then(|text| AeTitle::parse(text).ok());
    let titles = Titles {
        source: Some(config.dicom.ae_title.clone()),
        sending: title(&instance.source_facts.calling),
        receiving: title(&instance.source_facts.called),
    };
    let prefix = part10::prefix_with(&meta, &titles);
    out.write_all(&prefix).map_err(Failure::some)?;
    while let Some(bytes) = reader.next().await.map_err(Failure::some)? {
        out.write_all(&bytes).map_err(Failure::some)?;
    }
    out.flush().map_err(Failure::some)
}
