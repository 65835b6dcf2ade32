//! `weybridge study`: every instance of a study, and where each of its transfers stands (UIX-02).

use super::transfers::{PAGE, transfer_json, transfer_text};
use super::{ConfigPlace, Ended, Failure, client, render};
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::records::{InstanceId, InstanceView, Records};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::SystemTime;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Study Instance UID
    uid: String,
    /// One JSON object an instance
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(place: &ConfigPlace, options: &Options) -> Ended {
    let site = client::site(place)?;
    let uid = StudyUid::parse(&options.uid).map_err(Failure::usage)?;
    let instances = every_instance(&client::records_of(&site)?, &uid).await?;
    if instances.is_empty() {
        return Err(Failure::absent(format!("this site holds nothing of study {uid}")));
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

/// Reads all instances of a study, page by page.
pub(super) async fn every_instance(records: &Records, study: &StudyUid) -> Result<Vec<InstanceView>, Failure> {
    let mut all: Vec<InstanceView> = Vec::new();
    loop {
        let after = all.last().map_or(InstanceId(0), |last| last.instance);
        let page = records.study(study, after, PAGE, SystemTime::now()).await.map_err(Failure::some)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn as_json(instance: &InstanceView) -> Value {
    json!({
        "sop_instance_uid": instance.sop_instance_uid.as_str(),
        "sop_class_uid": instance.sop_class_uid.as_str(),
        "series_instance_uid": instance.series_instance_uid.as_str(),
        "transfer_syntax_uid": instance.transfer_syntax_uid.as_str(),
        "sha256": instance.sha256.to_string(),
        "bytes": instance.bytes,
        "state": instance.state,
        "rejected_by": instance.rejected_by.as_ref().map(InstanceUid::as_str),
        "source": instance.source.name(),
        "asserted_issuer": instance.source_facts.issuer,
        "received": render::utc(instance.received),
        "version": instance.version,
        "arrivals": instance.arrivals,
        "transfers": instance.transfers.iter().map(transfer_json).collect::<Vec<_>>(),
    })
}

fn show(instance: &InstanceView) -> Result<(), Failure> {
    render::line(format!(
        "{}  {}{}, {}, from {}",
        instance.sop_instance_uid,
        instance.state,
        if instance.rejected_by.is_some() { ", rejected and hidden" } else { "" },
        render::bytes(instance.bytes),
        instance.source.name()
    ))?;
    for transfer in &instance.transfers {
        let seen = transfer.evidence.as_ref().or(transfer.last_words.as_ref());
        let seen = seen.map(|text| format!(" ({text})")).unwrap_or_default();
        render::line(render::plain(&format!("    {}{seen}", transfer_text(transfer))))?;
    }
    Ok(())
}
