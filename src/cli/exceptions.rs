//! `weybridge exceptions`: what waits for a person.

use super::{ConfigPlace, Ended, Failure, client, render};
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
}

pub(super) async fn run(place: &ConfigPlace, verb: Verb) -> Ended {
    let Verb::List { all, json } = verb;
    let config = client::load(place)?;
    let records = client::records(&config)?;
    let mut found: Vec<ExceptionView> = Vec::new();
    loop {
        let after = found.last().map_or(ExceptionId(0), |last| last.exception);
        let page = records.exceptions(!all, after, PAGE).await.map_err(Failure::some)?;
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    if json {
        found.iter().try_for_each(|one| render::json(&as_json(one)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = found.iter().map(|one| {
        vec![
            one.exception.to_string(),
            one.kind.clone(),
            one.sop_instance_uid.to_string(),
            one.destination.as_ref().map_or_else(|| "-".into(), ToString::to_string),
            render::local(one.opened),
            one.words.clone().unwrap_or_default(),
        ]
    });
    render::table(&["NR", "KIND", "INSTANCE", "TO", "SINCE", "WHY"], rows.collect())?;
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
    })
}
