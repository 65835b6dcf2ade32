//! `weybridge peers`: other sites, and which of name, connection, TLS, permission or service fails (UIX-06).

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::app;
use crate::config::Config;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dicomweb::client::{QueryFailure, Stage};
use crate::edge::admin::Pause;
use crate::peers::{May, Peer, Verify};
use serde_json::json;
use std::process::ExitCode;

/// A UID under which nothing is stored anywhere.
const NOBODY: &str = "2.25.0";

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
        Verb::List { json } => list(&config, json),
        Verb::Test { name, json } => {
            let found = config.peers.iter().find(|peer| peer.name == name);
            let peer = found.ok_or_else(|| Failure::usage(format!("{name} is no peer of this configuration")))?;
            test(&config, peer, json).await
        }
        Verb::Pause { name, reason } => pause(&config, &known(&config, name)?, true, &reason).await,
        Verb::Resume { name, reason } => pause(&config, &known(&config, name)?, false, &reason).await,
    }
}

fn known(config: &Config, name: String) -> Result<String, Failure> {
    match config.peers.iter().any(|peer| peer.name == name) {
        true => Ok(name),
        false => Err(Failure::usage(format!("{name} is no peer of this configuration"))),
    }
}

/// Pauses a destination, or resumes it; the ledger keeps who and why.
pub(super) async fn pause(config: &Config, destination: &str, paused: bool, reason: &str) -> Ended {
    let verb = if paused { "pause" } else { "resume" };
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
        _ => render::line(format!("{verb}: {destination} is so already"))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(config: &Config, json: bool) -> Ended {
    let mut rows = Vec::new();
    for peer in &config.peers {
        let verify = if peer.verify == Verify::Present { "present" } else { "accepted" };
        let may = rights(&peer.may);
        if json {
            let value =
                json!({"name": peer.name, "url": peer.url, "identity": peer.identity, "may": may, "verify": verify});
            render::json(&value)?;
        } else {
            rows.push(vec![peer.name.clone(), peer.url.clone(), peer.identity.clone(), may.join(" "), verify.into()]);
        }
    }
    if !json {
        render::table(&["NAME", "URL", "IDENTITY", "MAY", "VERIFY"], rows)?;
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

/// The steps on the way to a peer, in the order in which they can fail.
const STEPS: [&str; 5] = ["name", "connection", "TLS", "permission", "query"];

async fn test(config: &Config, peer: &Peer, json: bool) -> Ended {
    let client = app::peer_client(config, peer).map_err(Failure::usage)?;
    let study = StudyUid::parse(NOBODY).map_err(Failure::some)?;
    let instance = InstanceUid::parse(NOBODY).map_err(Failure::some)?;
    let failed = client.present(&study, &[instance]).await.err().map(|failure| (step(&failure), failure));
    for (number, name) in STEPS.iter().enumerate() {
        let result = match &failed {
            Some((at, failure)) if *at == number => failure.to_string(),
            Some((at, _)) if *at < number => "not tried".into(),
            _ => "ok".into(),
        };
        match json {
            true => render::json(&json!({"step": name, "result": result}))?,
            false => render::line(format!("{name:<11} {result}"))?,
        }
    }
    match failed {
        None => Ok(ExitCode::SUCCESS),
        Some((2 | 3, _)) => Err(Failure::forbidden(format!("{} does not let us in; nothing was sent", peer.name))),
        Some(_) => Err(Failure::unreachable(format!("{} cannot be used; nothing was sent", peer.name))),
    }
}

/// At which of [`STEPS`] a query failed.
fn step(failure: &QueryFailure) -> usize {
    match failure {
        QueryFailure::NotAnswered(failure) => match failure.stage {
            Stage::Dns => 0,
            Stage::Connect => 1,
            Stage::Tls(_) => 2,
            _ => 4,
        },
        QueryFailure::Refused { status: 401 | 403 | 407, .. } => 3,
        QueryFailure::Refused { .. } | QueryFailure::Unreadable(_) => 4,
    }
}
