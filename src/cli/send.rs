//! `weybridge send`: hands DICOM files to the gateway for one destination, or sends what the gateway holds.

mod held;

use super::{ConfigPlace, Ended, Failure, client, render};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Most files that one call takes; more is a job for a PACS.
const FILES: usize = 1_000_000;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// DICOM files, or folders of them
    #[arg(value_name = "PATH", required_unless_present_any = ["study", "accession", "patient"])]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    held: held::Options,
    /// The peer or node that they go to
    #[arg(long, value_name = "DEST")]
    to: String,
    /// Somebody waits for it: it goes before everything else, and alerts while it waits
    #[arg(long)]
    urgent: bool,
    /// One JSON object a file, or a study
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(place: &ConfigPlace, options: Options) -> Ended {
    let config = client::load(place)?;
    let known = config.peers.iter().any(|peer| peer.name == options.to)
        || config.nodes.iter().any(|node| node.ae_title.as_str() == options.to);
    if !known {
        return Err(Failure::usage(format!("{} is neither a peer nor a node of this configuration", options.to)));
    }
    if options.paths.is_empty() {
        return held::run(&config, &options).await;
    }
    let files = files(&options.paths)?;
    let mut gateway = client::Gateway::required(&config).await?;
    let bar = progress(files.len() as u64);
    let (mut stored, mut failed) = (0u64, 0u64);
    let request = format!("weybridge send by {}", super::who());
    for file in &files {
        let outcome = send_one(&mut gateway, file, &options, &request).await;
        bar.inc(1);
        match (&outcome, options.json) {
            (Ok(value), true) => bar.suspend(|| render::json(value))?,
            (Ok(_), false) => {}
            (Err(failure), true) => {
                let value = serde_json::json!({"file": file, "error": failure.message});
                bar.suspend(|| render::json(&value))?;
            }
            (Err(failure), false) => {
                bar.suspend(|| render::line(format!("{}: {}", file.display(), failure.message)))?
            }
        }
        match outcome {
            Ok(_) => stored += 1,
            Err(failure) if failure.code == 3 => return Err(failure),
            Err(_) => failed += 1,
        }
    }
    bar.finish_and_clear();
    if !options.json {
        render::line(format!("{stored} instances kept and queued for {}, {failed} refused", options.to))?;
        render::line("follow them with `weybridge transfers list`")?;
    }
    if failed > 0 { Err(Failure::some(format!("{failed} files were refused"))) } else { Ok(ExitCode::SUCCESS) }
}

async fn send_one(
    gateway: &mut client::Gateway,
    file: &Path,
    options: &Options,
    request: &str,
) -> Result<serde_json::Value, Failure> {
    let opened = File::open(file).map_err(|error| Failure::some(format!("cannot read it: {error}")))?;
    let frames = stream::unfold(Some(opened), |state| async move {
        let mut file = state?;
        let mut buffer = vec![0u8; 256 << 10];
        match file.read(&mut buffer) {
            Ok(0) => None,
            Ok(read) => {
                buffer.truncate(read);
                Some((Ok(Frame::data(Bytes::from(buffer))), Some(file)))
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let path = format!("/instances?to={}&request={}&urgent={}", encode(&options.to), encode(request), options.urgent);
    gateway.upload(&path, BodyExt::boxed(StreamBody::new(frames))).await
}

/// Every file below the paths, in order; a folder's hidden files and DICOMDIR are left out.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut waiting: Vec<PathBuf> = paths.iter().rev().cloned().collect();
    while let Some(path) = waiting.pop() {
        let unreadable = |error| Failure::usage(format!("{}: {error}", path.display()));
        if std::fs::metadata(&path).map_err(unreadable)?.is_dir() {
            let mut inside: Vec<PathBuf> = std::fs::read_dir(&path)
                .map_err(unreadable)?
                .filter_map(Result::ok)
                .map(|entry| entry.path())
                .collect();
            inside.retain(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                !name.starts_with('.') && name != "DICOMDIR"
            });
            inside.sort();
            waiting.extend(inside.into_iter().rev());
        } else {
            found.push(path);
        }
        if found.len() > FILES {
            return Err(Failure::usage(format!("more than {FILES} files")));
        }
    }
    Ok(found)
}

fn progress(total: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta} left");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
