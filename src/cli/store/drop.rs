//! `weybridge store drop`: a named person removes bytes, with a reason that the ledger keeps.

use crate::cli::{Ended, Failure, client, render};
use crate::config::Config;
use crate::edge::admin::Drop;
use crate::ledger::generation::Stays;
use serde_json::Value;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// Study Instance UID or SOP Instance UID
    uid: String,
    /// Why; kept in the ledger
    #[arg(long)]
    reason: String,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, options: Options) -> Ended {
    if options.reason.trim().is_empty() {
        return Err(Failure::usage("say why: weybridge store drop UID --reason \"…\"; it is kept in the ledger"));
    }
    let mut gateway = client::Gateway::required(config).await?;
    let asked = Drop { uid: options.uid, who: crate::cli::who(), reason: options.reason };
    let answer = gateway.post("/store/drop", &serde_json::to_value(&asked).map_err(Failure::some)?).await?;
    let dropped = answer["instances"].as_u64().unwrap_or(0);
    if options.json {
        render::json(&answer)?;
    } else {
        let bytes = render::bytes(answer["bytes"].as_u64().unwrap_or(0));
        render::line(format!("the bytes of {dropped} instances were dropped, {bytes}; their records stay"))?;
        for (why, count) in answer["kept"].as_object().into_iter().flatten() {
            render::line(format!("{count} kept: {why}"))?;
        }
    }
    ended(&answer)
}

/// What was to go and stays has failed (UIX-04); not so what is not here any more, which cannot be told from what is held.
fn ended(answer: &Value) -> Ended {
    let gone = Stays::NotStored.to_string();
    let kept = answer["kept"].as_object().into_iter().flatten().filter(|(why, _)| **why != gone);
    let kept: u64 = kept.filter_map(|(_, count)| count.as_u64()).sum();
    match (answer["instances"].as_u64().unwrap_or(0), kept) {
        (0, _) => Err(Failure::some(
            "nothing was dropped: what is kept of it is owed or held, or its bytes are gone already; see `weybridge study`",
        )),
        (_, 0) => Ok(ExitCode::SUCCESS),
        (_, kept) => Err(Failure::some(format!(
            "{kept} instances were not dropped, and stay as they are; see `weybridge study`"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_to_go_and_stays_has_failed() {
        let (owed, gone) = (Stays::Owed.to_string(), Stays::NotStored.to_string());
        let rows = [
            (json!({"instances": 3, "kept": {}}), None),
            (json!({"instances": 3, "kept": {(gone.as_str()): 2}}), None),
            (
                json!({"instances": 3, "kept": {(gone.as_str()): 2, (owed.as_str()): 7}}),
                Some("7 instances were not dropped"),
            ),
            (json!({"instances": 0, "kept": {(gone.as_str()): 2}}), Some("nothing was dropped")),
            (json!({"instances": 0, "kept": {(owed.as_str()): 2}}), Some("nothing was dropped")),
        ];
        for (answer, want) in rows {
            match (ended(&answer), want) {
                (Ok(_), None) => {}
                (Err(failure), Some(want)) => {
                    assert!(failure.code == 1 && failure.message().contains(want), "{answer}: {failure:?}");
                }
                (ended, _) => assert_eq!(ended.is_ok(), want.is_none(), "{answer}"),
            }
        }
    }
}
