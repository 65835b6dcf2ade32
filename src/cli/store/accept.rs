//! `weybridge store accept`: a person says that the records in place are the right ones for these blobs.

use crate::cli::{Ended, Failure, client, render};
use crate::config::Config;
use crate::store::Store;
use std::process::ExitCode;

pub(super) async fn run(config: &Config) -> Ended {
    if client::Gateway::connect(&config.site.data_dir).await.is_some() {
        return Err(Failure::usage("the gateway is running; stop it first"));
    }
    let doubted = Store::accept(config.site.data_dir.join("blobs")).map_err(Failure::some)?;
    render::line(match doubted {
        true => "the records in place are taken for the right ones; what they do not name stays on the disk",
        false => "nobody doubts the records in place",
    })?;
    Ok(ExitCode::SUCCESS)
}
