//! `weybridge store verify`: every blob is read at once, and a running gateway sets aside what is damaged (REL-07).

use super::pace::Pace;
use crate::cli::{Ended, Failure, client, render};
use crate::config::Config;
use crate::edge::admin::Examine;
use crate::records::{BlobId, Records};
use crate::store::{BlobReader, StoreError, StoreReader};
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// As fast as the disk allows, also beside a running gateway, where it otherwise goes at half speed
    #[arg(long)]
    full: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Blobs asked for at a time.
const PAGE: usize = 1000;

/// What reading every blob came to.
#[derive(Default)]
pub(in crate::cli) struct Verified {
    pub(in crate::cli) blobs: u64,
    pub(in crate::cli) bytes: u64,
    pub(in crate::cli) problems: Vec<String>,
    damaged: Vec<i64>,
}

/// Reads every live blob of a store, wherever its files are, and compares its digest; works beside a running gateway. What is not found
/// where it was a moment ago is looked for once more: it may have been moved or purged meanwhile.
pub(in crate::cli) async fn verify_files(
    records: &Records,
    blobs: &StoreReader,
    pace: &mut Pace,
) -> Result<Verified, Failure> {
    let total = records.blob_counts().await.map_err(Failure::some)?.live_bytes;
    // Shown on a terminal only.
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} to go");
    let bar = ProgressBar::new(total).with_style(style.map_err(Failure::some)?);
    let mut verified = Verified::default();
    let mut after = BlobId(0);
    loop {
        let page = records.live_blobs(after, PAGE).await.map_err(Failure::some)?;
        let Some((last, ..)) = page.last() else { break };
        after = *last;
        for (blob, digest, place) in page {
            pace.look(&bar).await;
            verified.blobs += 1;
            verified.bytes += place.length;
            bar.inc(place.length);
            let Err(first) = read_all(blobs.read(place, digest).await, pace).await else { continue };
            let error = match records.blob_at(blob).await.map_err(Failure::some)? {
                None => continue,
                Some((_, now)) if now == place => first,
                Some((_, now)) => match read_all(blobs.read(now, digest).await, pace).await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
            };
            verified.problems.push(format!("blob {digest}: {error}"));
            verified.damaged.push(blob.0);
        }
    }
    bar.finish_and_clear();
    Ok(verified)
}

async fn read_all(reader: Result<BlobReader, StoreError>, pace: &mut Pace) -> Result<(), StoreError> {
    let mut reader = reader?;
    while reader.next().await?.is_some() {
        pace.rest(&mut reader).await?;
    }
    Ok(())
}

/// Asks the gateway to look for itself and to set aside what it finds damaged; how many that were, if one runs.
async fn tell(config: &Config, damaged: &[i64]) -> Result<Option<u64>, Failure> {
    let Some(mut gateway) = client::Gateway::connect(&config.site.data_dir).await else { return Ok(None) };
    let mut set_aside = 0;
    for page in damaged.chunks(100) {
        let body = serde_json::to_value(Examine { blobs: page.to_vec() }).map_err(Failure::some)?;
        set_aside += gateway.post("/store/examine", &body).await?["set_aside"].as_u64().unwrap_or(0);
    }
    Ok(Some(set_aside))
}

/// What is set aside and reads whole now: by its numbers.
async fn whole_again(config: &Config, records: &Records, pace: &mut Pace) -> Result<Vec<i64>, Failure> {
    let blobs = super::blobs(config)?;
    let (mut whole, mut after) = (Vec::new(), BlobId(0));
    loop {
        let page = records.corrupt_blobs(after, PAGE).await.map_err(Failure::some)?;
        let Some((last, ..)) = page.last() else { return Ok(whole) };
        after = *last;
        for (blob, digest, place) in page {
            pace.look(&ProgressBar::hidden()).await;
            if read_all(blobs.read(place, digest).await, pace).await.is_ok() {
                whole.push(blob.0);
            }
        }
    }
}

/// What was found damaged before stays so until the same bytes arrive again, or are read whole.
pub(in crate::cli) fn set_aside_before(blobs: u64) -> String {
    format!(
        "{blobs} blobs are set aside as damaged: see `weybridge store list --damaged`; they heal when the same instances arrive again"
    )
}

pub(super) async fn verify(config: &Config, records: &Records, Options { full, json }: Options) -> Ended {
    let mut pace = if full { Pace::full() } else { Pace::beside(&config.site.data_dir, json) };
    let verified = verify_files(records, &super::blobs(config)?, &mut pace).await?;
    let whole = whole_again(config, records, &mut pace).await?;
    let count = verified.problems.len();
    let suspects = [&verified.damaged[..], &whole[..]].concat();
    let set_aside = if suspects.is_empty() { None } else { tell(config, &suspects).await? };
    let still = if whole.is_empty() { Vec::new() } else { whole_again(config, records, &mut pace).await? };
    let healed = whole.iter().filter(|blob| !still.contains(blob)).count();
    let aside = records.unhealed().await.map_err(Failure::some)?;
    if json {
        let mut answer = serde_json::json!({
            "blobs": verified.blobs, "bytes": verified.bytes, "problems": verified.problems, "healed": healed,
            "unhealed": aside, "rested_ms": u64::try_from(pace.rested().as_millis()).unwrap_or(u64::MAX),
        });
        if let Some(set_aside) = set_aside {
            answer["set_aside"] = set_aside.into();
        }
        render::json(&answer)?;
    } else {
        verified.problems.iter().try_for_each(render::line)?;
        render::line(format!("{} blobs read, {}, {count} damaged", verified.blobs, render::bytes(verified.bytes)))?;
        if healed > 0 {
            render::line(format!(
                "{healed} that were set aside read whole again and are used again; look at the disk"
            ))?;
        }
        if healed < whole.len() {
            let left = whole.len() - healed;
            render::line(format!(
                "{left} that are set aside read whole; start the gateway and verify again to use them"
            ))?;
        }
    }
    let told = match set_aside {
        Some(_) => "they are set aside, and heal when the same instances arrive again",
        None => "start the gateway, which sets them aside when it meets them",
    };
    match count {
        0 if aside > 0 => Err(Failure::integrity(set_aside_before(aside))),
        0 => Ok(ExitCode::SUCCESS),
        count => Err(Failure::integrity(format!("{count} blobs are damaged or missing; nothing was deleted; {told}"))),
    }
}
