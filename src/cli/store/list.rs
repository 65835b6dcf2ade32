//! `weybridge store list`: studies with what is kept of them, such as those that no route sent anywhere.

use crate::cli::{Ended, Failure, render};
use crate::records::{KeptStudy, Records, StudyState};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// Only studies with instances that no route chose a destination for
    #[arg(long, conflicts_with_all = ["purged", "damaged"])]
    unrouted: bool,
    /// Only studies with instances whose bytes were purged
    #[arg(long, conflicts_with = "damaged")]
    purged: bool,
    /// Only studies with instances whose bytes are damaged or missing
    #[arg(long)]
    damaged: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Options {
    fn only(&self) -> Option<StudyState> {
        let rows = [
            (self.unrouted, StudyState::Unrouted),
            (self.purged, StudyState::Purged),
            (self.damaged, StudyState::Damaged),
        ];
        rows.into_iter().find(|(wanted, _)| *wanted).map(|(_, state)| state)
    }
}

pub(super) async fn run(records: &Records, options: &Options) -> Ended {
    let (mut after, mut rows) = (0, Vec::new());
    loop {
        let page = records.kept_studies(options.only(), after, 0).await.map_err(Failure::some)?;
        let Some(last) = page.last() else { break };
        after = last.number;
        match options.json {
            true => page.iter().try_for_each(|study| render::json(&as_json(study)))?,
            false => rows.extend(page.iter().map(as_row)),
        }
    }
    if !options.json {
        let header = ["STUDY", "INSTANCES", "KEPT", "BYTES", "PURGED", "DAMAGED", "UNROUTED", "RECEIVED"];
        render::table(&header, rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn as_row(study: &KeptStudy) -> Vec<String> {
    vec![
        study.study_instance_uid.to_string(),
        study.instances.to_string(),
        study.kept.to_string(),
        render::bytes(study.kept_bytes),
        study.purged.to_string(),
        study.damaged.to_string(),
        study.unrouted.to_string(),
        render::local(study.last_received),
    ]
}

fn as_json(study: &KeptStudy) -> serde_json::Value {
    serde_json::json!({
        "study_instance_uid": study.study_instance_uid.as_str(),
        "instances": study.instances,
        "kept": study.kept,
        "kept_bytes": study.kept_bytes,
        "purged": study.purged,
        "damaged": study.damaged,
        "unrouted": study.unrouted,
        "first_received": render::utc(study.first_received),
        "last_received": render::utc(study.last_received),
    })
}
