//! `weybridge nodes`: local DICOM nodes, and whether they answer C-ECHO.

use super::peers::{pause, rights};
use super::{ConfigPlace, Ended, Failure, client, render};
use crate::app;
use crate::config::Config;
use crate::dicom::sop_class::VERIFICATION;
use crate::dicom::transfer_syntax::IMPLICIT_VR_LE;
use crate::dimse::{self, Offer, ScuError, Status};
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
    /// Call a node and ask it for C-ECHO
    Test {
        /// Its AE title
        ae_title: String,
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
        Verb::Test { ae_title } => test(&config, known(&config, &ae_title)?).await,
        Verb::Pause { ae_title, reason } => {
            pause(&config, known(&config, &ae_title)?.ae_title.as_str(), true, &reason).await
        }
        Verb::Resume { ae_title, reason } => {
            pause(&config, known(&config, &ae_title)?.ae_title.as_str(), false, &reason).await
        }
    }
}

fn known<'a>(config: &'a Config, ae_title: &str) -> Result<&'a Node, Failure> {
    let found = config.nodes.iter().find(|node| node.ae_title.as_str() == ae_title);
    found.ok_or_else(|| Failure::usage(format!("{ae_title} is no node of this configuration")))
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

async fn test(config: &Config, node: &Node) -> Ended {
    let Some(address) = &node.address else {
        return Err(Failure::usage(format!("{} has no address: it only calls", node.ae_title)));
    };
    let target = app::node_target(config, node, address).map_err(Failure::usage)?;
    let offer = Offer { abstract_syntax: VERIFICATION.into(), transfer_syntaxes: vec![IMPLICIT_VR_LE.into()] };
    let mut association = dimse::connect(&target, &[offer]).await.map_err(|error| refused(&error))?;
    let status = association.echo().await.map_err(|error| refused(&error))?;
    // It has answered; how it ends the association changes nothing of that.
    let _ = association.release().await;
    if status != Status::SUCCESS {
        return Err(Failure::some(format!("{} answered C-ECHO with {status}", node.ae_title)));
    }
    render::line(format!("{} at {address} answers C-ECHO to {}", node.ae_title, config.dicom.ae_title))?;
    Ok(ExitCode::SUCCESS)
}

fn refused(error: &ScuError) -> Failure {
    match error {
        ScuError::Rejected { .. } | ScuError::Tls { .. } => Failure::forbidden(error),
        _ => Failure::unreachable(error),
    }
}
