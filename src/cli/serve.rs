//! `weybridge serve`: open, serve, reload on SIGHUP, drain.

use super::{ConfigPlace, Ended, Failure, client};
use crate::app::{App, Running};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

pub(super) async fn run(place: &ConfigPlace) -> Ended {
    let config = client::load(place)?;
    let deadline = config.timers.drain;
    let mut running = App::open(config).await.map_err(Failure::some)?.serve().await.map_err(Failure::some)?;
    announce(&running);
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::some)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::some)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::some)?;
    let unexpected = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hangup.recv() => running.reload(),
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

fn announce(running: &Running) {
    for (face, address) in running.addresses() {
        tracing::info!(face, %address, "listening");
    }
    tracing::info!("ready");
}
