//! `weybridge why`: the whole story of a study or an instance, in order, in plain words.

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::dicom::uid::InstanceUid;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Study Instance UID or SOP Instance UID
    uid: String,
    /// One JSON object an event
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(place: &ConfigPlace, options: &Options) -> Ended {
    let config = client::load(place)?;
    let uid = InstanceUid::parse(&options.uid).map_err(Failure::usage)?;
    let story = client::records(&config)?.why(uid.as_str()).await.map_err(Failure::some)?;
    if story.is_empty() {
        return Err(Failure::some(format!("this site has never seen {uid}, neither as a study nor as an instance")));
    }
    for event in &story {
        if options.json {
            render::json(&json!({"at": event.at.map(render::utc), "event": event.kind, "text": event.text}))?;
        } else {
            let at = event.at.map_or_else(|| "now".to_owned(), render::local);
            render::line(format!("{at}  {}", event.text))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
