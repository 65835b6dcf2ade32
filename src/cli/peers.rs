//! `weybridge peers`: other sites, and which of name, connection, TLS, permission or service fails (UIX-06).

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::app;
use crate::config::Config;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dicomweb::client::{QueryFailure, Stage};
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
    }
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
