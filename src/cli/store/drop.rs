//! `weybridge store drop`: a named person removes bytes, with a reason that the ledger keeps.

use crate::cli::{Ended, Failure, client, render};
use crate::config::Config;
use crate::edge::admin::Drop;
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
    match dropped {
        0 => Err(Failure::some(
            "nothing was dropped: what is kept of it is owed or held, or its bytes are gone already; see `weybridge study`",
        )),
        _ => Ok(ExitCode::SUCCESS),
    }
}
