//! `weybridge serve`: open, serve, reload on SIGHUP, drain.

use super::{ConfigPlace, Ended, Failure, client};
use crate::app::{App, InUse, Running};
use crate::config::Config;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::io;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

pub(super) async fn run(place: &ConfigPlace) -> Ended {
    leave_no_image();
    let config = load(place)?;
    let (deadline, data_dir) = (config.timers.drain, config.site.data_dir.clone());
    // Heard from here on: one that comes while the gateway starts would end it, and is obeyed once it serves.
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::some)?;
    let app = App::open(config).await.map_err(|error| unopened(&error, &data_dir))?;
    let mut running = app.serve().await.map_err(|error| Failure::some(chain(&error)))?;
    announce(&running);
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::some)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::some)?;
    let unexpected = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hangup.recv() => running.reload().await,
            why = running.failed() => break Some(why),
        }
    };
    tracing::info!("stopping; what is in hand is finished first");
    running.drain(deadline).await;
    match unexpected {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => Err(Failure::some(format!("a part of the gateway ended unexpectedly: {why}"))),
    }
}

/// Reads and validates the configuration. Standard error is the log here, so that mistakes are told without the lines of the file.
fn load(place: &ConfigPlace) -> Result<Config, Failure> {
    Config::load(&place.path()).map_err(|errors| {
        Failure::usage(format!("{}\n`weybridge check` shows each with its line", errors.without_source()))
    })
}

/// The memory of this process holds patients: a crash leaves no image of it (SEC-020).
fn leave_no_image() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // The second is for systems that hand such images to a program, which the limit does not stop.
    let set = setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = set {
        tracing::warn!(%error, "a crash of this process may leave an image of its memory");
    }
}

/// Two gateways on one directory are a mistake of configuration, and starting again does not help; nor does it where the directory is
/// another user's.
fn unopened(error: &anyhow::Error, data_dir: &Path) -> Failure {
    let denied = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    if error.is::<InUse>() {
        Failure::usage(error)
    } else if error.chain().any(denied) {
        let dir = data_dir.display();
        Failure::forbidden(format!("{}: you may not serve {dir}; {}", chain(error), client::AS_ITS_USER))
    } else {
        Failure::some(chain(error))
    }
}

/// An error and its causes in one line; a cause that its error already spells out is not repeated.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.ends_with(&cause) {
            let colon = if text.is_empty() { "" } else { ": " };
            text.push_str(colon);
            text.push_str(&cause);
        }
    }
    text
}

fn announce(running: &Running) {
    for (face, address) in running.addresses() {
        tracing::info!(face, %address, "listening");
    }
    tracing::info!("ready");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Standard error is the journal, and a line of the file may name a patient.
    #[test]
    fn a_wrong_configuration_is_told_without_its_lines() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("weybridge.toml");
        std::fs::write(&file, "[nonsense] # for SECRET^NAME\n").unwrap();
        let failure = load(&ConfigPlace(Some(file.clone()))).unwrap_err();
        let place = format!("{}:1:", file.display());
        assert!(failure.message().contains(&place) && !failure.message().contains("SECRET"), "{failure:?}");
        assert_eq!(failure.code, 2);
    }

    #[test]
    fn what_an_error_spells_out_is_said_once() {
        let inner = || anyhow::anyhow!("no space left");
        let outer = anyhow::anyhow!("/data/identity: no space left");
        let rows = [
            (inner(), "no space left"),
            (inner().context("cannot open the blobs"), "cannot open the blobs: no space left"),
            (
                inner().context("/data/identity: no space left").context("cannot open"),
                "cannot open: /data/identity: no space left",
            ),
            (outer, "/data/identity: no space left"),
        ];
        for (error, want) in rows {
            assert_eq!(chain(&error), want);
        }
    }
}
