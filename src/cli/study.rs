//! `weybridge study`: every instance of a study, and where each of its transfers stands (UIX-02).

use super::transfers::{transfer_json, transfer_text};
use super::{ConfigPlace, Ended, Failure, client, render};
use crate::dicom::uid::StudyUid;
use crate::records::InstanceReport;
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Study Instance UID
    uid: String,
    /// One JSON object an instance
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(place: &ConfigPlace, options: &Options) -> Ended {
    let config = client::load(place)?;
    let uid = StudyUid::parse(&options.uid).map_err(Failure::usage)?;
    let instances = client::records(&config)?.study(&uid).await.map_err(Failure::some)?;
    if instances.is_empty() {
        return Err(Failure::some(format!("this site holds nothing of study {uid}")));
    }
    for instance in &instances {
        if options.json {
            render::json(&as_json(instance))?;
        } else {
            show(instance)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(instance: &InstanceReport) -> Value {
    json!({
        "sop_instance_uid": instance.sop_instance.as_str(),
        "sop_class_uid": instance.sop_class.as_str(),
        "series_instance_uid": instance.series.as_str(),
        "transfer_syntax_uid": instance.transfer_syntax.as_str(),
        "sha256": instance.sha256.to_string(),
        "bytes": instance.bytes,
        "state": instance.state,
        "source": instance.source,
        "transfers": instance.transfers.iter().map(transfer_json).collect::<Vec<_>>(),
    })
}

fn show(instance: &InstanceReport) -> Result<(), Failure> {
    render::line(format!("{}  {}, {}, from {}", instance.sop_instance, instance.state, render::bytes(instance.bytes), instance.source))?;
    for transfer in &instance.transfers {
        let seen = transfer.evidence.as_ref().or(transfer.last_outcome.as_ref());
        let seen = seen.map(|text| format!(" ({text})")).unwrap_or_default();
        render::line(format!("    {}{seen}", transfer_text(transfer)))?;
    }
    Ok(())
}
