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
        bar.suspend(|| match (&outcome, options.json) {
            (Ok(value), true) => render::json(value),
            (Ok(_), false) => Ok(()),
            (Err(failure), true) => render::json(&serde_json::json!({"file": file, "error": failure.message})),
            (Err(failure), false) => render::line(format!("{}: {}", file.display(), failure.message)),
        })?;
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

/// Every file below the paths, in order; a folder's hidden files and DICOMDIR are left out, and what is no file; a
/// folder counts once, by whatever links. What a folder holds and nobody can open is in the list: it is refused by itself, and the others go.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let (mut found, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
    let mut waiting: Vec<(PathBuf, bool)> = paths.iter().rev().map(|path| (path.clone(), true)).collect();
    while let Some((path, named)) = waiting.pop() {
        let unreadable = |error| Failure::usage(format!("{}: {error}", path.display()));
        match std::fs::metadata(&path) {
            Err(error) if named => return Err(unreadable(error)),
            Ok(kind) if kind.is_dir() && !seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) => {}
            Ok(kind) if kind.is_dir() => match std::fs::read_dir(&path) {
                Ok(inside) => waiting.extend(listed(inside).into_iter().rev().map(|path| (path, false))),
                Err(error) if named => return Err(unreadable(error)),
                Err(_) => found.push(path),
            },
            Ok(kind) if !named && !kind.is_file() => {}
            Ok(_) | Err(_) => found.push(path),
        }
        if found.len() > FILES {
            return Err(Failure::usage(format!("more than {FILES} files")));
        }
    }
    Ok(found)
}

/// What a folder holds, in order.
fn listed(inside: std::fs::ReadDir) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = inside.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && name != "DICOMDIR"
    });
    paths.sort();
    paths
}

fn progress(total: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta} left");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// UIX: one file that cannot be opened keeps the others of its folder from nobody.
    #[test]
    fn what_a_folder_holds_is_listed_whatever_can_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        for name in ["b", ".hidden", "DICOMDIR", "sub/a"] {
            std::fs::write(at(name), "").unwrap();
        }
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        std::os::unix::fs::symlink("..", at("sub/up")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let found = files(&[folder.path().to_owned()]).unwrap();
        assert_eq!(found, [at("b"), at("dangling"), at("sub/a")]);
        assert!(files(&[at("dangling")]).is_err(), "what was named must be there");
    }
}
