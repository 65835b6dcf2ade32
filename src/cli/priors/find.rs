//! `weybridge priors find`: what other sites hold of a patient, a line a study, and what each site said.

use super::NOBODY_ASKED;
use crate::cli::{Ended, Failure, client, render};
use crate::config::Config;
use crate::edge::admin::Search;
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;

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
    unknown(&sites).map_or(Ok(ExitCode::SUCCESS), |why| Err(Failure::some(why)))
}

/// Why there may be more than is shown; `None` if every site has answered in full. Nobody's silence is an answer, nor is that nobody was asked.
fn unknown(sites: &[Value]) -> Option<String> {
    if sites.is_empty() {
        return Some(NOBODY_ASKED.to_owned());
    }
    let missing: Vec<String> = sites
        .iter()
        .filter(|site| !["answered", "nothing"].contains(&text(site, "how").as_str()))
        .map(|site| format!("{} ({})", text(site, "site"), text(site, "how")))
        .collect();
    (!missing.is_empty()).then(|| format!("there may be more at {}", missing.join(", ")))
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn show(studies: &[Value], sites: &[Value]) -> Result<(), Failure> {
    let cells = studies.iter().map(|study| {
        let list = study["modalities"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let modalities = list.collect::<Vec<_>>().join("\\");
        let here = format!("{}/{}", study["instances_here"], study["instances"]);
        let bytes = study["bytes_here"].as_u64().filter(|bytes| *bytes > 0).map_or_else(|| "-".into(), render::bytes);
        let words = ["site", "state", "study_date"].map(|name| text(study, name));
        let [site, state, date] = words;
        vec![site, state, here, bytes, date, modalities, text(study, "description"), text(study, "study_instance_uid")]
    });
    let header = ["SITE", "STATE", "HERE", "BYTES HERE", "DATE", "MODALITY", "DESCRIPTION", "STUDY"];
    render::table(&header, cells.collect())?;
    sites.iter().try_for_each(|site| render::line(said(site)))
}

/// What a site said, and how old what it said last is.
fn said(site: &Value) -> String {
    let why = text(site, "why");
    let why = if why.is_empty() { why } else { format!(": {why}") };
    let age = match (text(site, "how").as_str(), site["age_seconds"].as_u64()) {
        ("not answering" | "not asked", Some(age)) => {
            format!("; it last showed a study {} ago", render::span(Duration::from_secs(age)))
        }
        ("not answering" | "not asked", None) => "; it has never shown a study".to_owned(),
        (_, Some(0)) => ", just now".to_owned(),
        (_, Some(age)) => format!(", {} ago", render::span(Duration::from_secs(age))),
        (_, None) => String::new(),
    };
    format!("{} {}{why}{age}", text(site, "site"), text(site, "how"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// UIX-12: that no site was asked is no answer.
    #[test]
    fn that_nobody_was_asked_does_not_pass_for_nothing_there() {
        let site = |name: &str, how: &str| json!({ "site": name, "how": how });
        let rows = [
            (vec![], Some(NOBODY_ASKED)),
            (vec![site("b", "nothing"), site("c", "answered")], None),
            (vec![site("b", "not asked"), site("c", "answered")], Some("there may be more at b (not asked)")),
        ];
        for (sites, want) in rows {
            assert_eq!(unknown(&sites).as_deref(), want);
        }
    }

    /// UIX-12: how old it is what a site said last is told of each; of one that is silent too, and if it never said anything.
    #[test]
    fn how_old_the_answer_of_each_site_is_is_told() {
        for (how, why, age, want) in [
            ("answered", "", json!(0), "b answered, just now"),
            ("nothing", "", json!(3), "b nothing, 3 s ago"),
            ("not answering", "late", json!(7200), "b not answering: late; it last showed a study 2 h ago"),
            ("not asked", "no number", json!(null), "b not asked: no number; it has never shown a study"),
        ] {
            assert_eq!(said(&json!({ "site": "b", "how": how, "why": why, "age_seconds": age })), want);
        }
    }
}
