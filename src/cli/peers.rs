//! `weybridge peers`: other sites, and which of the steps to them fails, and what they can do (UIX-06).

mod probe;
mod reach;

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::app;
use crate::config::Config;
use crate::edge::admin::Pause;
use crate::peers::{May, Peer};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Every peer of the configuration
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Reach a peer as a delivery would, without sending anything, and say what fails
    Test {
        /// Its name
        name: String,
        /// One JSON object a step
        #[arg(long)]
        json: bool,
    },
    /// Find out what a peer can do, and have the gateway keep it
    Probe {
        /// Its name
        name: String,
        /// Store a made-up instance there twice, look for it and read it back; the peer keeps it until somebody deletes it, and its routes
        /// may send it on
        #[arg(long)]
        store: bool,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Send nothing more to a peer until it is resumed; give-up clocks stand still
    Pause {
        /// Its name
        name: String,
        /// Why; kept in the ledger
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Go on sending to a peer that was paused
    Resume {
        /// Its name
        name: String,
        /// Why; kept in the ledger
        #[arg(long, default_value = "")]
        reason: String,
    },
}

pub(super) async fn run(place: &ConfigPlace, verb: Verb) -> Ended {
    let config = client::load(place)?;
    match verb {
        Verb::List { json } => list(&config, json).await,
        Verb::Test { name, json } => test(&config, client::peer(&config, &name)?, json).await,
        Verb::Probe { name, store, json } => probe(&config, client::peer(&config, &name)?, store, json).await,
        Verb::Pause { name, reason } => pause(&config, &client::peer(&config, &name)?.name, true, &reason).await,
        Verb::Resume { name, reason } => pause(&config, &client::peer(&config, &name)?.name, false, &reason).await,
    }
}

/// Pauses a destination, or resumes it; the ledger keeps who and why.
pub(super) async fn pause(config: &Config, destination: &str, paused: bool, reason: &str) -> Ended {
    if paused && reason.trim().is_empty() {
        return Err(Failure::usage("say why: --reason \"…\"; it is kept in the ledger"));
    }
    let mut gateway = client::Gateway::required(config).await?;
    let (destination, reason) = (destination.to_owned(), reason.to_owned());
    let asked = Pause { destination: destination.clone(), paused, who: super::who(), reason };
    let answer = gateway.post("/destinations/pause", &serde_json::to_value(&asked).map_err(Failure::some)?).await?;
    match answer["changed"].as_bool() {
        Some(true) if paused => {
            render::line(format!("{destination} is paused: what is in hand ends, nothing more is sent until `resume`"))?
        }
        Some(true) => render::line(format!("{destination} is resumed"))?,
        _ if paused => render::line(format!("{destination} is paused already"))?,
        _ => render::line(format!("{destination} is not paused"))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(config: &Config, json: bool) -> Ended {
    let mut rows = Vec::new();
    // Before the first start there are none.
    let records = client::records(config).ok();
    for peer in &config.peers {
        let verify = peer.verify.word();
        let may = rights(&peer.may);
        if json {
            let profile = match &records {
                Some(records) => records.profile(&peer.name).await.map_err(Failure::some)?,
                None => None,
            };
            let profile = profile.and_then(|(_, text)| serde_json::from_str::<Value>(&text).ok());
            let value = json!({"name": peer.name, "url": peer.url, "identity": peer.identity, "may": may, "verify": verify,
                "priors": peer.priors, "profile": profile});
            render::json(&value)?;
        } else {
            let asked = if peer.priors { "asked" } else { "not asked" }.to_owned();
            rows.push(vec![
                peer.name.clone(),
                peer.url.clone(),
                peer.identity.clone(),
                may.join(" "),
                verify.into(),
                asked,
            ]);
        }
    }
    if !json {
        render::table(&["NAME", "URL", "IDENTITY", "MAY", "VERIFY", "FOR PRIORS"], rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a party may do, in the words of the configuration.
pub(super) fn rights(may: &May) -> Vec<&'static str> {
    let all = [
        ("store", may.store),
        ("find", may.find),
        ("move", may.r#move),
        ("receive", may.receive),
        ("query", may.query),
        ("retrieve", may.retrieve),
        ("commit", may.commit),
    ];
    all.into_iter().filter(|(_, allowed)| *allowed).map(|(word, _)| word).collect()
}

async fn test(config: &Config, peer: &Peer, json: bool) -> Ended {
    let client = app::peer_client(config, peer).map_err(Failure::usage)?;
    let way = reach::walk(&client).await?;
    for (number, step) in reach::STEPS.iter().enumerate() {
        let result = way.told(number);
        match json {
            true => render::json(&json!({"step": step, "result": result}))?,
            false => render::line(format!("{step:<11} {result}"))?,
        }
    }
    way.failure(&peer.name).map_or(Ok(ExitCode::SUCCESS), Err)
}

async fn probe(config: &Config, peer: &Peer, store: bool, json: bool) -> Ended {
    let client = app::peer_client(config, peer).map_err(Failure::usage)?;
    probe::run(config, peer, &client, store, json).await?;
    Ok(ExitCode::SUCCESS)
}
