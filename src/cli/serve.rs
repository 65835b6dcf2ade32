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
    let mut running = App::open(config).await.map_err(unopened)?.serve().await.map_err(Failure::some)?;
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
    if error.is::<InUse>() { Failure::usage(error) } else { Failure::some(format!("{error:#}")) }
}

fn announce(running: &Running) {
    for (face, address) in running.addresses() {
        tracing::info!(face, %address, "listening");
    }
    tracing::info!("ready");
}
