//! `weybridge exceptions`: what waits for a person, what differs, and the decision.

mod show;

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::edge::admin::Decision;
use crate::records::{ExceptionId, ExceptionView};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Exceptions read at a time.
const PAGE: usize = 1000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// What waits for a person: conflicts, held and dead transfers, damaged copies
    List {
        /// Those that are closed, too
        #[arg(long)]
        all: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// One exception; of a conflict, the attributes that differ, side by side. Shows patient data
    Show {
        /// Its number, as `list` prints it
        id: i64,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Decide about one: accept or reject a conflict, retry, release or cancel a transfer, or say that damage was seen
    Resolve(Resolve),
}

#[derive(Debug, clap::Args)]
pub(super) struct Resolve {
    /// Its number, as `list` prints it
    id: i64,
    /// accept: send it as the revision of what was here; reject: keep it and send it nowhere; retry, release or cancel: its transfer;
    /// seen: its bytes are damaged, and nobody can send it again
    #[arg(long = "as", value_parser = ["accept", "reject", "retry", "release", "cancel", "seen"])]
    decision: String,
    /// Who decides; kept in the ledger
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why; kept beside the ledger, which holds its hash
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(place: &ConfigPlace, verb: Verb) -> Ended {
    match verb {
        Verb::List { all, json } => list(place, all, json).await,
        Verb::Show { id, json } => show::run(place, ExceptionId(id), json).await,
        Verb::Resolve(options) => resolve(place, options).await,
    }
}

async fn list(place: &ConfigPlace, all: bool, json: bool) -> Ended {
    let records = client::records_of(&client::site(place)?)?;
    let (mut found, mut after): (Vec<ExceptionView>, _) = (Vec::new(), ExceptionId(0));
    loop {
        let page = records.exceptions(!all, after, PAGE).await.map_err(Failure::some)?;
        let Some(last) = page.last() else { break };
        after = last.exception;
        // Of a million, only a table needs all at once.
        match json {
            true => page.iter().try_for_each(|one| render::json(&as_json(one)))?,
            false => found.extend(page),
        }
    }
    if json {
        return Ok(ExitCode::SUCCESS);
    }
    let rows = found.iter().map(|one| {
        let mut row = vec![
            one.exception.to_string(),
            one.kind.clone(),
            one.sop_instance_uid.to_string(),
            one.destination.as_ref().map_or_else(|| "-".into(), ToString::to_string),
            render::local(one.opened),
        ];
        row.extend(all.then(|| ended(one).unwrap_or_else(|| "-".into())));
        row.push(one.words.clone().unwrap_or_default());
        row
    });
    let header: &[&str] = match all {
        true => &["NR", "KIND", "INSTANCE", "TO", "SINCE", "ENDED", "WHY"],
        false => &["NR", "KIND", "INSTANCE", "TO", "SINCE", "WHY"],
    };
    render::table(header, rows.collect())?;
    Ok(ExitCode::SUCCESS)
}

/// When it ended, and by which decision; none while it waits.
fn ended(one: &ExceptionView) -> Option<String> {
    let by = one.ended_by.as_ref().map(|by| by.verb.as_str());
    let how = one.decision.as_deref().or(by).unwrap_or("by itself");
    Some(format!("{} {how}", render::local(one.closed?)))
}

async fn resolve(place: &ConfigPlace, options: Resolve) -> Ended {
    let Resolve { id, decision, by, reason, json } = options;
    if by.trim().is_empty() || reason.trim().is_empty() {
        return Err(Failure::usage("say who decides (--by) and why (--reason)"));
    }
    let config = client::load(place)?;
    let mut gateway = client::Gateway::required(&config).await?;
    let asked = Decision { exception: id, decision: decision.clone(), who: by, reason };
    let body = serde_json::to_value(&asked).map_err(Failure::some)?;
    let answer = gateway.post("/exceptions/resolve", &body).await?;
    let changed = answer["changed"].as_u64().unwrap_or(0);
    if json {
        render::json(&json!({"exception": id, "decision": decision, "transfers": changed}))?;
    } else {
        render::line(format!("exception {id}: {decision}; {changed} transfers moved"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(one: &ExceptionView) -> Value {
    json!({
        "exception": one.exception.0,
        "kind": one.kind,
        "sop_instance_uid": one.sop_instance_uid.as_str(),
        "study_instance_uid": one.study_instance_uid.as_str(),
        "version": one.version,
        "transfer": one.transfer.map(|transfer| transfer.0),
        "destination": one.destination.as_ref().map(|destination| destination.0.as_str()),
        "opened": render::utc(one.opened),
        "closed": one.closed.map(render::utc),
        "words": one.words,
        "verdict": one.verdict.map(|verdict| verdict.word()),
        "against_version": one.against,
        "decision": one.decision,
        "ended_as": one.ended_by.as_ref().map(|by| by.verb.as_str()),
        "ended_by": one.ended_by.as_ref().map(|by| by.who.as_str()),
        "reason": one.ended_by.as_ref().and_then(|by| by.reason.as_deref()),
    })
}
