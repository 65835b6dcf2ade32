//! `weybridge priors find`: what other sites hold of a patient, a line a study, and what each site said.

use crate::cli::{Ended, Failure, client, render};
use crate::config::Config;
use crate::edge::admin::Search;
use serde_json::Value;
use std::process::ExitCode;

/// Shows what other sites hold. It ends with failure if any of them did not answer: what is listed may not be all.
pub(super) async fn find(config: &Config, search: &Search, as_json: bool) -> Ended {
    let mut gateway = client::Gateway::required(config).await?;
    let answer = gateway.post("/priors/find", &serde_json::to_value(search).map_err(Failure::some)?).await?;
    let rows = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let (studies, sites) = (rows("studies"), rows("sites"));
    if as_json {
        studies.iter().chain(&sites).try_for_each(render::json)?;
    } else {
        show(&studies, &sites)?;
    }
    let missing: Vec<String> = sites
        .iter()
        .filter(|site| !["answered", "nothing"].contains(&text(site, "how").as_str()))
        .map(|site| format!("{} ({})", text(site, "site"), text(site, "how")))
        .collect();
    match missing.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Failure::some(format!("there may be more at {}", missing.join(", ")))),
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn show(studies: &[Value], sites: &[Value]) -> Result<(), Failure> {
    let cells = studies.iter().map(|study| {
        let list = study["modalities"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let modalities = list.collect::<Vec<_>>().join("\\");
        let size = format!("{}/{}", study["instances_here"], study["instances"]);
        let words = ["site", "state", "study_date"].map(|name| text(study, name));
        let [site, state, date] = words;
        vec![site, state, size, date, modalities, text(study, "description"), text(study, "study_instance_uid")]
    });
    render::table(&["SITE", "STATE", "HERE", "DATE", "MODALITY", "DESCRIPTION", "STUDY"], cells.collect())?;
    for site in sites {
        let why = text(site, "why");
        let why = if why.is_empty() { why } else { format!(": {why}") };
        render::line(format!("{} {}{why}", text(site, "site"), text(site, "how")))?;
    }
    Ok(())
}
