//! `weybridge rejections`: which rejection notes came, what each hides, and undoing one (WEB-105).

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::dicom::rejection::Reason;
use crate::dicom::uid::InstanceUid;
use crate::edge::admin::Undo;
use crate::records::{NamedInstance, RejectionView};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Notes read at a time.
const PAGE: usize = 1000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Every rejection note, the latest first: who sent it, why, how much it hides
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// One note, and each instance that it names
    Show {
        /// The note's SOP Instance UID, as `list` prints it
        note: String,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show again what a note hides, and send it where the note had stopped it
    Undo {
        /// The note's SOP Instance UID, as `list` prints it
        note: String,
        /// Who decides; kept in the ledger
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Why; kept beside the ledger, which holds its hash
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

pub(super) async fn run(place: &ConfigPlace, verb: Verb) -> Ended {
    match verb {
        Verb::List { json } => list(place, json).await,
        Verb::Show { note, json } => show(place, &note, json).await,
        Verb::Undo { note, by, reason } => undo(place, note, by, reason).await,
    }
}

async fn list(place: &ConfigPlace, json: bool) -> Ended {
    let config = client::load(place)?;
    let records = client::records(&config)?;
    let mut found: Vec<RejectionView> = Vec::new();
    loop {
        let page = records.rejections(found.len() as u64, PAGE).await.map_err(Failure::some)?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        if is_last {
            break;
        }
    }
    if json {
        found.iter().try_for_each(|one| render::json(&as_json(one)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = found.iter().map(|one| {
        vec![
            one.note.to_string(),
            one.source.name().to_owned(),
            one.decided.map_or_else(|| "-".into(), render::local),
            format!("{} of {}", one.hides, one.named),
            standing(one),
            one.reason.map_or("-", Reason::meaning).to_owned(),
        ]
    });
    render::table(&["NOTE", "FROM", "READ", "HIDES", "STANDING", "WHY"], rows.collect())?;
    Ok(ExitCode::SUCCESS)
}

async fn show(place: &ConfigPlace, note: &str, json: bool) -> Ended {
    let config = client::load(place)?;
    let records = client::records(&config)?;
    let note = InstanceUid::parse(note).map_err(Failure::usage)?;
    let versions = records.rejection(&note).await.map_err(Failure::some)?;
    let Some(one) = versions.first() else {
        return Err(Failure::absent(format!(
            "{note} is no rejection note that came here; see `weybridge rejections list`"
        )));
    };
    let mut named: Vec<NamedInstance> = Vec::new();
    loop {
        let after = named.last().map(|last| last.instance.to_string()).unwrap_or_default();
        let page = records.named_by(&note, after).await.map_err(Failure::some)?;
        if page.is_empty() {
            break;
        }
        named.extend(page);
    }
    if json {
        let mut value = as_json(one);
        value["instances"] = named.iter().map(named_json).collect();
        render::json(&value)?;
        return Ok(ExitCode::SUCCESS);
    }
    let standing = render::plain(&standing(one));
    render::line(format!("{note}  {standing}, from {}", one.source.name()))?;
    if let Some(reason) = one.reason {
        render::line(format!("    {}, {}", reason.code(), reason.meaning()))?;
    }
    for instance in &named {
        let state = match (instance.is_known, instance.is_hidden) {
            (false, _) => "never here",
            (true, true) => "hidden",
            (true, false) => "shown",
        };
        render::line(format!("    {}  {state}", instance.instance))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn undo(place: &ConfigPlace, note: String, who: String, reason: String) -> Ended {
    if who.trim().is_empty() || reason.trim().is_empty() {
        return Err(Failure::usage("say who decides (--by) and why (--reason)"));
    }
    let config = client::load(place)?;
    let mut gateway = client::Gateway::required(&config).await?;
    let body = serde_json::to_value(Undo { note: note.clone(), who, reason }).map_err(Failure::some)?;
    gateway.post("/rejections/undo", &body).await?;
    render::line(format!("{note}: undone; what it alone hid is shown again"))?;
    Ok(ExitCode::SUCCESS)
}

/// Where a note stands, in plain words.
fn standing(one: &RejectionView) -> String {
    match (&one.words, &one.lifted_by) {
        _ if one.is_rejected => "rejected by a later note".into(),
        (_, Some(who)) => format!("undone by {who} ({})", one.lifted_words.as_deref().unwrap_or_default()),
        (Some(why), _) => format!("{}: {why}", one.standing.word()),
        _ => one.standing.word().into(),
    }
}

fn named_json(one: &NamedInstance) -> Value {
    json!({
        "sop_instance_uid": one.instance.as_str(),
        "study_instance_uid": one.study.as_str(),
        "known": one.is_known,
        "hidden": one.is_hidden,
    })
}

fn as_json(one: &RejectionView) -> Value {
    json!({
        "sop_instance_uid": one.note.as_str(),
        "study_instance_uid": one.study.as_str(),
        "source": one.source.name(),
        "standing": one.standing.word(),
        "rejected_itself": one.is_rejected,
        "reason": one.reason.map(Reason::code),
        "meaning": one.reason.map(Reason::meaning),
        "named": one.named,
        "hides": one.hides,
        "read": one.decided.map(render::utc),
        "words": one.words,
        "undone_by": one.lifted_by,
        "undone_why": one.lifted_words,
    })
}
