//! `weybridge transfers`: list, show, and decide about transfers.

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::dicom::uid::StudyUid;
use crate::edge::admin::Request;
use crate::ledger::transfer::{State, TransferId};
use crate::peers::{Destination, Priority};
use crate::records::{Records, TransferFilter, TransferSums, TransferView};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// Lines read at a time.
pub(super) const PAGE: usize = 1000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Per study and destination: how many instances stand where
    List {
        /// Only this study
        #[arg(long, value_name = "UID")]
        study: Option<String>,
        /// Only this destination
        #[arg(long, value_name = "DEST")]
        to: Option<String>,
        /// Only where some transfer is in this state; what the table counts as pending is pending, leased or deferred
        #[arg(long)]
        state: Option<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// One transfer in full
    Show {
        /// Its number, as `weybridge study` prints it
        id: i64,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Try again now what failed, waits, or is parked
    Retry(Chosen),
    /// Stop trying until released
    Hold(Chosen),
    /// Let what was held go on
    Release(Chosen),
    /// Never send; for good
    Cancel(Chosen),
    /// Send before everything else, and alert while it waits
    Expedite(Chosen),
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["ids", "study", "to"])))]
pub(super) struct Chosen {
    /// Transfers by number
    #[arg(value_name = "ID", conflicts_with_all = ["study", "to"])]
    ids: Vec<i64>,
    /// All of this study
    #[arg(long, value_name = "UID")]
    study: Option<String>,
    /// All to this destination; with --study, those of the study to it
    #[arg(long, value_name = "DEST")]
    to: Option<String>,
    /// Of these only those in this state, for example `dead`; what the table counts as pending is pending, leased or deferred
    #[arg(long, conflicts_with = "ids")]
    state: Option<String>,
    /// Why; kept in the ledger
    #[arg(long, default_value = "")]
    reason: String,
}

pub(super) async fn run(place: &ConfigPlace, verb: Verb) -> Ended {
    match verb {
        Verb::List { study, to, state, json } => list(place, study, to, state, json).await,
        Verb::Show { id, json } => show(place, id, json).await,
        Verb::Retry(chosen) => decide(place, "retry", chosen, false).await,
        Verb::Hold(chosen) => decide(place, "hold", chosen, true).await,
        Verb::Release(chosen) => decide(place, "release", chosen, false).await,
        Verb::Cancel(chosen) => decide(place, "cancel", chosen, true).await,
        Verb::Expedite(chosen) => decide(place, "expedite", chosen, false).await,
    }
}

async fn list(
    place: &ConfigPlace,
    study: Option<String>,
    to: Option<String>,
    state: Option<String>,
    json: bool,
) -> Ended {
    let site = client::site(place)?;
    let study = study.as_deref().map(StudyUid::parse).transpose().map_err(Failure::usage)?;
    let state = match state {
        Some(word) => Some(State::parse(&word).ok_or_else(|| {
            let known = State::ALL.map(State::word).join(", ");
            Failure::usage(format!("{word} is not a state of a transfer; known: {known}"))
        })?),
        None => None,
    };
    let filter = TransferFilter { study, destination: to.map(Destination), limit: PAGE, ..TransferFilter::default() };
    let records = client::records_of(&site)?;
    if json {
        return list_json(&records, filter, state).await;
    }
    let mut lines = every_line(&records, filter).await?;
    lines.retain(|line| is_chosen(line, state));
    let header = [
        "STUDY",
        "TO",
        "INSTANCES",
        "PENDING",
        "UNKNOWN",
        "ACCEPTED",
        "VERIFIED",
        "PARKED",
        "HELD",
        "DEAD",
        "CANCELLED",
        "OLDEST",
        "PRIORITY",
        "NEXT TRY",
    ];
    let rows = lines.iter().map(|line| {
        let counts = [
            line.instances,
            line.pending,
            line.unknown,
            line.accepted,
            line.verified,
            line.parked,
            line.held,
            line.dead,
            line.cancelled,
        ];
        let mut row = vec![line.study_instance_uid.to_string(), line.destination.to_string()];
        row.extend(counts.iter().map(u64::to_string));
        row.push(
            line.oldest_age_seconds.map_or_else(|| "-".into(), |seconds| render::span(Duration::from_secs(seconds))),
        );
        row.push(line.priority.map_or_else(|| "-".into(), |priority| priority.word().to_owned()));
        let next = line.next_attempt.map_or_else(|| "-".into(), render::local);
        row.push(if line.paused && line.priority.is_some() { "paused".into() } else { next });
        row
    });
    render::table(&header, rows.collect())?;
    Ok(ExitCode::SUCCESS)
}

/// The list for programs, a page at a time: of a million studies none is kept.
async fn list_json(records: &Records, mut filter: TransferFilter, state: Option<State>) -> Ended {
    loop {
        let (page, next) = records.transfers_list(filter.clone(), SystemTime::now()).await.map_err(Failure::some)?;
        let mut chosen = page.iter().filter(|line| is_chosen(line, state));
        chosen.try_for_each(|line| render::json(&as_json(line)))?;
        match next {
            Some(next) => filter.after = Some(next),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// Whether a line has some transfer in the state that is asked for.
fn is_chosen(line: &TransferSums, state: Option<State>) -> bool {
    state.is_none_or(|state| count(line, state) > 0)
}

/// Reads the whole list, page by page.
pub(super) async fn every_line(records: &Records, mut filter: TransferFilter) -> Result<Vec<TransferSums>, Failure> {
    let mut lines = Vec::new();
    loop {
        let (page, next) = records.transfers_list(filter.clone(), SystemTime::now()).await.map_err(Failure::some)?;
        lines.extend(page);
        match next {
            Some(next) => filter.after = Some(next),
            None => return Ok(lines),
        }
    }
}

/// How many of a line are in a state; several states share a field.
fn count(line: &TransferSums, state: State) -> u64 {
    match state {
        State::Pending | State::Leased | State::Deferred => line.pending,
        State::Unknown => line.unknown,
        State::Accepted => line.accepted,
        State::Verified => line.verified,
        State::Parked => line.parked,
        State::Held => line.held,
        State::Dead => line.dead,
        State::Cancelled => line.cancelled,
    }
}

fn as_json(line: &TransferSums) -> Value {
    json!({
        "study_instance_uid": line.study_instance_uid.as_str(),
        "destination": line.destination.0,
        "instances": line.instances,
        "pending": line.pending,
        "unknown": line.unknown,
        "accepted": line.accepted,
        "verified": line.verified,
        "parked": line.parked,
        "held": line.held,
        "dead": line.dead,
        "cancelled": line.cancelled,
        "oldest_age_seconds": line.oldest_age_seconds,
        "next_attempt": line.next_attempt.map(render::utc),
        "priority": line.priority.map(Priority::word),
        "paused": line.paused,
    })
}

async fn show(place: &ConfigPlace, id: i64, json: bool) -> Ended {
    let site = client::site(place)?;
    let found =
        client::records_of(&site)?.transfer_show(TransferId(id), SystemTime::now()).await.map_err(Failure::some)?;
    let report = found.ok_or_else(|| {
        Failure::absent(format!("there is no transfer {id}; `weybridge study UID` tells the numbers"))
    })?;
    if json {
        let mut value = transfer_json(&report);
        value["sop_instance_uid"] = report.sop_instance_uid.as_str().into();
        value["study_instance_uid"] = report.study_instance_uid.as_str().into();
        value["version"] = report.version.into();
        render::json(&value)?;
    } else {
        render::line(transfer_text(&report))?;
        render::line(format!("    instance: {}, version {}", report.sop_instance_uid, report.version))?;
        render::line(format!("    study: {}", report.study_instance_uid))?;
        if let Some(outcome) = &report.last_outcome {
            let words = report.last_words.as_deref().unwrap_or("");
            render::line(format!("    last: {}", render::plain(&format!("{outcome}, {words}"))))?;
        }
        if let Some(evidence) = &report.evidence {
            render::line(format!("    evidence: {}", render::plain(evidence)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A transfer in one line.
pub(super) fn transfer_text(report: &TransferView) -> String {
    let next = match report.next_attempt {
        Some(at) => format!(", next try {}", render::local(at)),
        None if report.paused && !report.state.is_done(report.verify) => ", paused".to_owned(),
        None => String::new(),
    };
    let urgency =
        if report.priority == Priority::Routine { String::new() } else { format!(", {}", report.priority.word()) };
    format!(
        "transfer {} to {}: {}{urgency}, {} attempts{next}",
        report.transfer.0, report.destination, report.state, report.attempts
    )
}

/// A transfer as programs get it.
pub(super) fn transfer_json(report: &TransferView) -> Value {
    json!({
        "id": report.transfer.0,
        "destination": report.destination.0,
        "state": report.state.word(),
        "attempts": report.attempts,
        "last_outcome": report.last_outcome,
        "last_words": report.last_words,
        "evidence": report.evidence,
        "next_attempt": report.next_attempt.map(render::utc),
        "priority": report.priority.word(),
        "paused": report.paused,
    })
}

async fn decide(place: &ConfigPlace, verb: &str, chosen: Chosen, needs_reason: bool) -> Ended {
    if needs_reason && chosen.reason.trim().is_empty() {
        return Err(Failure::usage(format!(
            "say why: weybridge transfers {verb} … --reason \"…\"; it is kept in the ledger"
        )));
    }
    let config = client::load(place)?;
    let mut gateway = client::Gateway::required(&config).await?;
    let (to, named) = (chosen.to.clone(), !chosen.ids.is_empty());
    let request = Request {
        ids: chosen.ids,
        study: chosen.study,
        destination: chosen.to,
        state: chosen.state,
        who: super::who(),
        reason: chosen.reason,
    };
    let body = serde_json::to_value(&request).map_err(Failure::some)?;
    let answer = gateway.post(&format!("/transfers/{verb}"), &body).await?;
    let changed = answer["changed"].as_u64().unwrap_or(0);
    // One that is not configured any more may be owed something still.
    if let Some(to) = to.filter(|to| changed == 0 && !client::is_destination(&config, to)) {
        return Err(Failure::usage(format!(
            "no such destination: {to} is neither a peer nor a node, and nothing is owed to it"
        )));
    }
    render::line(format!("{verb}: {changed} transfers"))?;
    let skipped = answer["skipped"].as_u64().unwrap_or(0);
    for left in answer["why"].as_array().into_iter().flatten() {
        let why = left[1].as_str().unwrap_or("it was left as it is");
        render::line(format!("    transfer {} was left as it is: {why}", left[0]))?;
    }
    match (changed, skipped) {
        (0, 0) => Err(Failure::absent(
            "there is no such transfer, or none in a state that allows it; see `weybridge transfers list`",
        )),
        (_, 1..) if named || needs_reason => Err(Failure::some(format!(
            "{skipped} of the chosen transfers were left as they are; what is being tried now goes on if that fails: say it again then"
        ))),
        (0, _) => Err(Failure::some("none of the chosen transfers is in a state that allows it")),
        _ => Ok(ExitCode::SUCCESS),
    }
}
