//! `weybridge store`: what the blobs take, whether they are whole, and how to get them out.

use super::study::every_instance;
use super::{ConfigPlace, Ended, Failure, client, render};
use crate::config::Config;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::part10::{self, FileMeta, Titles};
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::records::{BlobId, InstanceView, Records};
use crate::store::{BlobReader, StoreReader};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// Blobs asked for at a time.
const PAGE: usize = 1000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// How many blobs there are and what they take
    Stats {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Read every blob and compare its digest; exit code 5 if one is damaged
    Verify {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write a study or an instance as DICOM files
    Export {
        /// Study Instance UID or SOP Instance UID
        uid: String,
        /// The folder to write to; made if it does not exist
        dir: PathBuf,
    },
}

pub(super) async fn run(place: &ConfigPlace, verb: Verb) -> Ended {
    let config = client::load(place)?;
    let records = client::records(&config)?;
    match verb {
        Verb::Stats { json } => stats(&records, json).await,
        Verb::Verify { json } => verify(&config, &records, json).await,
        Verb::Export { uid, dir } => export(&config, &records, &uid, &dir).await,
    }
}

async fn stats(records: &Records, json: bool) -> Ended {
    let (counts, summary) = (records.blob_counts().await, records.summary().await);
    let (counts, summary) = (counts.map_err(Failure::some)?, summary.map_err(Failure::some)?);
    if json {
        render::json(&serde_json::json!({
            "blobs": counts.live,
            "bytes": counts.live_bytes,
            "condemned": counts.condemned,
            "instances": summary.instances,
        }))?;
    } else {
        render::line(format!(
            "{} blobs, {}, for {} instances",
            counts.live,
            render::bytes(counts.live_bytes),
            summary.instances
        ))?;
        if counts.condemned > 0 {
            render::line(format!("{} blobs are condemned and about to be freed", counts.condemned))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What reading every blob came to.
#[derive(Default)]
pub(super) struct Verified {
    pub(super) blobs: u64,
    pub(super) bytes: u64,
    pub(super) problems: Vec<String>,
}

/// Reads every live blob and compares its digest; works beside a running gateway.
pub(super) async fn verify_blobs(config: &Config, records: &Records) -> Result<Verified, Failure> {
    let blobs = blobs(config)?;
    let mut verified = Verified::default();
    let mut after = BlobId(0);
    loop {
        let page = records.live_blobs(after, PAGE).await.map_err(Failure::some)?;
        let Some((last, ..)) = page.last() else { return Ok(verified) };
        after = *last;
        for (_, digest, place) in page {
            verified.blobs += 1;
            verified.bytes += place.length;
            if let Err(error) = read_all(blobs.read(place, digest).await).await {
                verified.problems.push(format!("blob {digest}: {error}"));
            }
        }
    }
}

fn blobs(config: &Config) -> Result<StoreReader, Failure> {
    StoreReader::open(config.site.data_dir.join("blobs")).map_err(Failure::unreachable)
}

async fn read_all(reader: Result<BlobReader, crate::store::StoreError>) -> Result<(), crate::store::StoreError> {
    let mut reader = reader?;
    while reader.next().await?.is_some() {}
    Ok(())
}

async fn verify(config: &Config, records: &Records, json: bool) -> Ended {
    let verified = verify_blobs(config, records).await?;
    if json {
        render::json(
            &serde_json::json!({"blobs": verified.blobs, "bytes": verified.bytes, "problems": verified.problems}),
        )?;
    } else {
        verified.problems.iter().try_for_each(render::line)?;
        render::line(format!(
            "{} blobs read, {}, {} damaged",
            verified.blobs,
            render::bytes(verified.bytes),
            verified.problems.len()
        ))?;
    }
    match verified.problems.len() {
        0 => Ok(ExitCode::SUCCESS),
        count => Err(Failure::integrity(format!("{count} blobs are damaged or missing; nothing was deleted"))),
    }
}

async fn export(config: &Config, records: &Records, uid: &str, dir: &Path) -> Ended {
    let instance = InstanceUid::parse(uid).map_err(Failure::usage)?;
    let mut instances = records.instance(&instance, SystemTime::now()).await.map_err(Failure::some)?;
    if instances.is_empty() {
        instances = every_instance(records, &StudyUid::parse(uid).map_err(Failure::usage)?).await?;
    }
    if instances.is_empty() {
        return Err(Failure::some(format!("this site holds nothing of {uid}")));
    }
    std::fs::create_dir_all(dir).map_err(|error| Failure::usage(format!("cannot make {}: {error}", dir.display())))?;
    let mut failed = 0;
    for instance in &instances {
        let path = dir.join(file_name(instance));
        if let Err(failure) = write(config, records, instance, &path).await {
            failed += 1;
            render::line(format!("{}: {}", path.display(), failure.message))?;
        }
    }
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

async fn write(config: &Config, records: &Records, instance: &InstanceView, path: &Path) -> Result<(), Failure> {
    let blob = records.blob_of(&instance.sha256).await.map_err(Failure::some)?;
    let (_, place) = blob.ok_or_else(|| Failure::some("its bytes are no longer kept here"))?;
    let mut reader = blobs(config)?.read(place, instance.sha256).await.map_err(Failure::some)?;
    let file = File::create_new(path).map_err(Failure::some)?;
    let mut out = BufWriter::new(file);
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
