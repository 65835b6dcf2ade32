//! `weybridge why`: the whole story of a study or an instance, in order, in plain words.

pub(super) mod words;

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::config::Config;
use crate::dicom::uid::{InstanceUid, StudyUid};
use serde_json::json;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Study Instance UID or SOP Instance UID
    uid: String,
    /// One JSON object an event
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(place: &ConfigPlace, options: &Options) -> Ended {
    let site = client::site(place)?;
    let instance = InstanceUid::parse(&options.uid).map_err(Failure::usage)?;
    let study = StudyUid::parse(&options.uid).map_err(Failure::usage)?;
    let (records, now) = (client::records_of(&site)?, SystemTime::now());
    let mut story = records.why_instance(&instance, now).await.map_err(Failure::some)?;
    if story.is_empty() {
        story = records.why_study(&study, now).await.map_err(Failure::some)?;
    }
    if story.is_empty() {
        return Err(Failure::absent(format!(
            "this site has never seen {instance}, neither as a study nor as an instance"
        )));
    }
    // By the rules as the file has them now.
    match Config::load(&place.path()) {
        Ok(config) => {
            story.extend(records.why_withheld(instance.as_str(), config.withhold, now).await.map_err(Failure::some)?);
        }
        // Whoever does not read standard error has the rest of the story all the same.
        Err(_) => drop(writeln!(io::stderr(), "so which of its rules withhold this now is not told")),
    }
    for event in &story {
        let text = words::tell(event);
        if options.json {
            render::json(&json!({
                "at": render::utc(event.at),
                "until": event.until.map(render::utc),
                "instances": event.instances,
                "version": event.version,
                "event": words::kind(event),
                "text": text,
            }))?;
        } else {
            render::line(format!("{}  {}", render::local(event.at), render::plain(&text)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
