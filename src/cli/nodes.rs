//! `weybridge nodes`: local DICOM nodes, whether they answer C-ECHO, and what they take.

mod storage;

use super::peers::{pause, rights};
use super::{ConfigPlace, Ended, Failure, client, render, status};
use crate::app;
use crate::config::Config;
use crate::dicom::sop_class::VERIFICATION;
use crate::dicom::transfer_syntax::IMPLICIT_VR_LE;
use crate::dicomweb::tls::{self, TlsReason};
use crate::dimse::timers::Phase;
use crate::dimse::{self, Lost, Offer, ScuError, Status, Target};
use crate::edge::admin::{Poll, WorklistStatus};
use crate::peers::Node;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Every node of the configuration
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Call a node, ask it for C-ECHO, and see which storage classes it takes, without sending anything
    Test {
        /// Its AE title
        ae_title: String,
        /// One JSON object a step
        #[arg(long)]
        json: bool,
    },
    /// Ask a node's worklist now ([[worklist]]), and tell what came
    Poll {
        /// Its AE title
        ae_title: String,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Send nothing more to a node until it is resumed; give-up clocks stand still
    Pause {
        /// Its AE title
        ae_title: String,
        /// Why; kept in the ledger
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Go on sending to a node that was paused
    Resume {
        /// Its AE title
        ae_title: String,
        /// Why; kept in the ledger
        #[arg(long, default_value = "")]
        reason: String,
    },
}

pub(super) async fn run(place: &ConfigPlace, verb: Verb) -> Ended {
    let config = client::load(place)?;
    match verb {
        Verb::List { json } => list(&config, json),
        Verb::Test { ae_title, json } => test(&config, client::node(&config, &ae_title)?, json).await,
        Verb::Poll { ae_title, json } => poll(&config, client::node(&config, &ae_title)?, json).await,
        Verb::Pause { ae_title, reason } => {
            pause(&config, client::node(&config, &ae_title)?.ae_title.as_str(), true, &reason).await
        }
        Verb::Resume { ae_title, reason } => {
            pause(&config, client::node(&config, &ae_title)?.ae_title.as_str(), false, &reason).await
        }
    }
}

fn list(config: &Config, json: bool) -> Ended {
    let mut rows = Vec::new();
    for node in &config.nodes {
        let from: Vec<String> = node.from_addresses.iter().map(ToString::to_string).collect();
        let may = rights(&node.may);
        if json {
            let value = json!({"ae_title": node.ae_title.as_str(), "address": node.address, "from_addresses": from,
                "identity": node.identity, "may": may});
            render::json(&value)?;
        } else {
            let address = node.address.clone().unwrap_or_else(|| "-".into());
            rows.push(vec![node.ae_title.to_string(), address, from.join(" "), may.join(" ")]);
        }
    }
    if !json {
        render::table(&["AE TITLE", "ADDRESS", "CALLS FROM", "MAY"], rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn test(config: &Config, node: &Node, json: bool) -> Ended {
    let Some(address) = &node.address else {
        return Err(Failure::usage(format!("{} has no address: it only calls", node.ae_title)));
    };
    let target = app::node_target(config, node, address).map_err(Failure::usage)?;
    let offer = Offer { abstract_syntax: VERIFICATION.into(), transfer_syntaxes: vec![IMPLICIT_VR_LE.into()] };
    let over_tls = node.identity.is_some();
    let failed = match echo(&target, &offer).await {
        Ok(status) if status == Status::SUCCESS => None,
        Ok(status) => Some((ECHO, Failure::some(format!("{} answered C-ECHO with {status}", node.ae_title)))),
        Err((step @ TLS..=PERMISSION, error)) => Some((step, Failure::forbidden(told(step, &error, over_tls)))),
        Err((step, error)) => Some((step, Failure::unreachable(told(step, &error, over_tls)))),
    };
    // Who is given nothing need not take anything.
    let asked = failed.is_none() && node.may.receive;
    let storage = if asked { Some(storage::propose(&target, node).await) } else { None };
    let unfit = |why: String| Some((STORAGE, Failure::unreachable(why)));
    let failed = match &storage {
        Some(Ok(storage)) => storage.flaw().and_then(|why| unfit(format!("{} {why}", node.ae_title))),
        Some(Err(error)) => unfit(told(STORAGE, error, over_tls)),
        None => failed,
    };
    for (number, step) in STEPS.iter().enumerate() {
        let result = match &failed {
            Some((at, failure)) if *at == number => failure.message().to_owned(),
            Some((at, _)) if *at < number => "not tried".into(),
            _ if !over_tls && matches!(number, TLS | IDENTITY) => "none (plain)".into(),
            _ if number == STORAGE && !asked => "none (it is given nothing)".into(),
            _ => "ok".into(),
        };
        let mut line = json!({"step": step, "result": result});
        if let (STORAGE, Some(Ok(storage))) = (number, &storage) {
            storage.add_to(&mut line);
        }
        match json {
            true => render::json(&line)?,
            false => render::line(format!("{step:<11} {result}"))?,
        }
    }
    if let (None, Some(Ok(storage)), false) = (&failed, &storage, json) {
        let lists = storage.lists();
        for (word, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
            render::line(format!("{word:<11} {names}"))?;
        }
    }
    failed.map_or(Ok(ExitCode::SUCCESS), |(_, failure)| Err(failure))
}

/// Has the gateway ask a worklist; exit code 1 where it has entries that cannot be used, 3 where it does not answer in full.
async fn poll(config: &Config, node: &Node, json: bool) -> Ended {
    let title = node.ae_title.as_str();
    if !config.worklists.iter().any(|polling| polling.node == node.ae_title) {
        return Err(Failure::usage(format!(
            "{title} is not asked for a worklist; add [[worklist]] with node = \"{title}\""
        )));
    }
    let asked = serde_json::to_value(Poll { node: title.to_owned() }).map_err(Failure::some)?;
    let answer = client::Gateway::required(config).await?.post("/worklists/poll", &asked).await?;
    let found: WorklistStatus = serde_json::from_value(answer).map_err(Failure::some)?;
    let alarms = status::worklist_alarms(&found);
    let failed = found.trouble.is_some();
    match json {
        true => render::json(&found)?,
        false => {
            status::worklists(&[found])?;
            alarms.iter().try_for_each(|line| render::line(format!("! {line}")))?;
        }
    }
    match (failed, alarms.is_empty()) {
        (true, _) => Err(Failure::unreachable(format!("{title} did not answer in full"))),
        (false, true) => Ok(ExitCode::SUCCESS),
        (false, false) => Err(Failure::some(format!("not all that {title} lists was used"))),
    }
}

/// The steps on the way to a node, in the order in which they can fail (UIX-06).
const STEPS: [&str; 8] = ["name", "connection", "TLS", "identity", "permission", "association", "echo", "storage"];
const TLS: usize = 2;
const IDENTITY: usize = 3;
const PERMISSION: usize = 4;
const ASSOCIATION: usize = 5;
const ECHO: usize = 6;
const STORAGE: usize = 7;

/// Calls a node and asks it for C-ECHO; at which step that failed.
async fn echo(target: &Target, offer: &Offer) -> Result<Status, (usize, ScuError)> {
    let step = |error| (step(&error), error);
    let mut association = dimse::connect(target, std::slice::from_ref(offer)).await.map_err(step)?;
    let answered = association.echo().await.map_err(|error| (ECHO, error));
    // It has answered, or does not take the question; how it ends the association changes nothing of that.
    let _ = association.release().await;
    answered
}

/// Where an association failed that did not come about.
fn step(error: &ScuError) -> usize {
    match error {
        ScuError::Dns { .. } => 0,
        ScuError::Connect { .. } | ScuError::Lost(Lost::Timeout(Phase::Connect)) => 1,
        ScuError::Tls { error, .. } => match error.as_ref().map(tls::reason) {
            Some(TlsReason::WrongName) => IDENTITY,
            Some(TlsReason::OursRefused) => PERMISSION,
            _ => TLS,
        },
        ScuError::Lost(Lost::Timeout(Phase::TlsHandshake)) => TLS,
        ScuError::IdentityIgnored => PERMISSION,
        ScuError::Rejected { by, reason, .. } if is_refusal(*by, *reason) => PERMISSION,
        _ => ASSOCIATION,
    }
}

/// What failed, in words.
fn told(step: usize, error: &ScuError, over_tls: bool) -> String {
    match error {
        ScuError::Tls { address, error: Some(error), .. } => {
            format!("TLS with {address} failed: {}", crate::tls::words(error))
        }
        // With TLS 1.3 a server looks at our certificate when the handshake is over for us; some say nothing then.
        ScuError::Lost(Lost::Closed | Lost::Io(_)) if over_tls && step == ASSOCIATION => {
            format!("{error}, right after the TLS handshake; perhaps the node refuses our certificate")
        }
        _ => error.to_string(),
    }
}

/// Whether a rejection is about who calls or is called; others are about the protocol, or about how much there is to do just now
/// (PS3.8 section 9.3.4).
fn is_refusal(by: u8, reason: u8) -> bool {
    // By its user all but an application context that it does not know, by its provider only without a reason.
    matches!((by, reason), (1, 1 | 3..) | (2, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UIX-06: whom a rejection concerns.
    #[test]
    fn a_rejection_is_a_refusal_unless_it_is_about_protocol_or_load() {
        let rows = [
            (1, 1, 1, PERMISSION),
            (1, 1, 2, ASSOCIATION),
            (1, 1, 3, PERMISSION),
            (1, 1, 7, PERMISSION),
            (2, 1, 1, PERMISSION),
            (1, 2, 1, PERMISSION),
            (1, 2, 2, ASSOCIATION),
            (2, 3, 1, ASSOCIATION),
            (2, 3, 2, ASSOCIATION),
        ];
        for (result, by, reason, want) in rows {
            let error = ScuError::Rejected { result, by, reason };
            assert_eq!(step(&error), want, "{error}");
        }
    }
}
