//! `weybridge send`: hands DICOM files to the gateway for one destination, or sends what the gateway holds.

mod held;

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::config::Config;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

/// Most files that one call takes; more is a job for a PACS.
const FILES: usize = 1_000_000;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["paths", "study", "accession", "patient"])))]
pub(super) struct Options {
    /// DICOM files, or folders of them
    #[arg(value_name = "PATH")]
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
    if !client::is_destination(&config, &options.to) {
        return Err(Failure::usage(format!(
            "{} is neither a peer nor a node of this configuration; see `weybridge peers list` and `weybridge nodes list`",
            options.to
        )));
    }
    if options.paths.is_empty() {
        return held::run(&config, &options).await;
    }
    let files = files(&options.paths)?;
    if files.is_empty() {
        return Err(nothing_below(&options.paths));
    }
    let mut gateway = client::Gateway::required(&config).await?;
    let bar = progress(files.len() as u64);
    let mut sum = Sum::default();
    let request = format!("weybridge send by {}", super::who());
    for file in &files {
        let outcome = send_one(&mut gateway, &config, file, &options, &request).await;
        bar.inc(1);
        bar.suspend(|| tell(file, &outcome, options.json))?;
        sum.count(&outcome);
        if let Err(failure) = outcome
            && matches!(failure.code, 2 | 3)
        {
            // The gateway has gone, or takes no file for this destination.
            return Err(failure);
        }
    }
    bar.finish_and_clear();
    if !options.json {
        render::line(format!("to {}: {sum}", options.to))?;
        render::line("follow them with `weybridge transfers list`")?;
    }
    match sum.held + sum.not_sent + sum.refused {
        0 => Ok(ExitCode::SUCCESS),
        left => Err(Failure::some(format!("{left} of {} files do not go to {} now", files.len(), options.to))),
    }
}

/// What came of the files.
#[derive(Default)]
struct Sum {
    queued: u64,
    under_way: u64,
    there: u64,
    held: u64,
    not_sent: u64,
    refused: u64,
}

impl Sum {
    fn count(&mut self, outcome: &Result<Value, Failure>) {
        let counter = match outcome.as_ref().map(|told| told["sent"].as_str().unwrap_or_default()) {
            Ok("queued") => &mut self.queued,
            Ok("under_way") => &mut self.under_way,
            Ok("there") => &mut self.there,
            Ok("held") => &mut self.held,
            Ok(_) => &mut self.not_sent,
            Err(_) => &mut self.refused,
        };
        *counter += 1;
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queued, under_way, there, held, not_sent, refused } = self;
        write!(
            f,
            "{queued} queued, {under_way} on their way already, {there} there already, {held} wait for a person, \
             {not_sent} not sent, {refused} refused"
        )
    }
}

/// Says what came of a file: to programs of each, to people of what does not go now. A name that is not UTF-8 is shown as well as can be.
fn tell(file: &Path, outcome: &Result<Value, Failure>, as_json: bool) -> Result<(), Failure> {
    let name = file.to_string_lossy();
    let shown = render::plain(&name);
    match outcome {
        Ok(told) if as_json => {
            let mut told = told.clone();
            told["file"] = name.into();
            render::json(&told)
        }
        Err(failure) if as_json => render::json(&json!({"file": name, "sent": "refused", "error": failure.message})),
        Ok(told) => match (told["sent"].as_str(), told["why"].as_str()) {
            (Some("held"), Some(why)) => render::line(format!("{shown}: waits for a person: {why}")),
            (_, Some(why)) => render::line(format!("{shown}: not sent: {why}")),
            (_, None) => Ok(()),
        },
        Err(failure) => render::line(format!("{shown}: {}", failure.message)),
    }
}

/// Hands one file to the gateway. One that fails while it is read is refused by itself: its request is cut off, and the next goes over a
/// new connection.
async fn send_one(
    gateway: &mut client::Gateway,
    config: &Config,
    file: &Path,
    options: &Options,
    request: &str,
) -> Result<Value, Failure> {
    let unread = |error: &io::Error| Failure::some(format!("cannot read it: {error}"));
    let opened = File::open(file).map_err(|error| unread(&error))?;
    let broken: Arc<OnceLock<io::Error>> = Arc::default();
    let aside = Arc::clone(&broken);
    let frames = stream::unfold(Some(opened), move |state: Option<File>| {
        let aside = Arc::clone(&aside);
        async move {
            let mut file = state?;
            let mut buffer = vec![0u8; 256 << 10];
            match file.read(&mut buffer) {
                Ok(0) => None,
                Ok(read) => {
                    buffer.truncate(read);
                    Some((Ok(Frame::data(Bytes::from(buffer))), Some(file)))
                }
                Err(error) => {
                    let cut = io::Error::from(error.kind());
                    let _ = aside.set(error);
                    Some((Err(cut), None))
                }
            }
        }
    });
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let path = format!("/instances?to={}&request={}&urgent={}", encode(&options.to), encode(request), options.urgent);
    let answer = gateway.upload(&path, BodyExt::boxed(StreamBody::new(frames))).await;
    let Some(error) = broken.get() else { return answer };
    *gateway = client::Gateway::required(config).await?;
    Err(unread(error))
}

/// Why nothing is sent where the paths hold no file.
fn nothing_below(paths: &[PathBuf]) -> Failure {
    let named: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    Failure::some(format!(
        "no files below {}: hidden files and DICOMDIR are left out; name DICOM files, or a folder of them",
        named.join(", ")
    ))
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
