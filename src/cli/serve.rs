//! `weybridge serve`: open, serve, reload on SIGHUP, drain.

use super::{ConfigPlace, Ended, Failure, client};
use crate::app::{App, InUse, Running};
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

pub(super) async fn run(place: &ConfigPlace) -> Ended {
    keep_private();
    let config = client::load(place)?;
    let deadline = config.timers.drain;
    let mut running = App::open(config).await.map_err(unopened)?.serve().await.map_err(unopened)?;
    announce(&running);
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::some)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::some)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::some)?;
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

/// What this process writes holds patients: files are its own user's alone, whatever it was started with, and a crash leaves no
/// image of its memory (SEC-020).
fn keep_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // The second is for systems that hand such images to a program, which the limit does not stop.
    let set = setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = set {
        tracing::warn!(%error, "a crash of this process may leave an image of its memory");
    }
}

/// Two gateways on one directory are a mistake of configuration; starting again does not help.
fn unopened(error: anyhow::Error) -> Failure {
    if error.is::<InUse>() { Failure::usage(error) } else { Failure::some(chain(&error)) }
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
mod tests {
    use super::*;

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
