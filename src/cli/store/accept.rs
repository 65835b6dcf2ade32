//! `weybridge store accept`: a person says that the records in place are the right ones for these blobs, or were meant to be begun.

use crate::cli::{Ended, Failure, client, render};
use crate::config::Config;
use crate::edge::admin::By;
use crate::store::Store;
use std::process::ExitCode;

pub(super) async fn run(config: &Config) -> Ended {
    if let Some(mut gateway) = client::Gateway::connect(&config.site.data_dir).await {
        let asked = By { who: crate::cli::who(), reason: String::new() };
        let answer = gateway.post("/store/accept", &serde_json::to_value(&asked).map_err(Failure::some)?).await?;
        if answer["doubted"] == true {
            return Err(Failure::usage("the gateway is running; stop it first"));
        }
        render::line(match answer["meant"] == true {
            true => "these records were meant to be begun; `weybridge status` tells of it no more",
            false => "nobody doubts the records in place",
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    client::owner_only(&config.site.data_dir)?;
    let _lock = client::lock(&config.site.data_dir)?;
    let doubted = Store::accept(config.site.data_dir.join("blobs")).map_err(Failure::some)?;
    render::line(match doubted {
        true => "the records in place are taken for the right ones; what they do not name stays on the disk",
        false => "nobody doubts the records in place",
    })?;
    Ok(ExitCode::SUCCESS)
}
