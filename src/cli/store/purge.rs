//! `weybridge store purge`: retention at once, or only what it would do.

use crate::cli::{Ended, Failure, client, render};
use crate::config::Config;
use crate::edge::admin::By;
use crate::records::{Cursor, Records};
use serde_json::Value;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// Say what would go, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Why; kept in the ledger with the name of who asked
    #[arg(long, default_value = "", conflicts_with = "dry_run")]
    reason: String,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, records: &Records, options: &Options) -> Ended {
    if options.dry_run {
        return dry_run(config, records, options.json).await;
    }
    let mut gateway = client::Gateway::required(config).await?;
    let asked = By { who: crate::cli::who(), reason: options.reason.clone() };
    let answer = gateway.post("/store/purge", &serde_json::to_value(&asked).map_err(Failure::some)?).await?;
    if options.json {
        render::json(&answer)?;
    } else {
        let number = |name: &str| answer[name].as_u64().unwrap_or(0);
        let (by_age, for_room, bytes) = (number("by_age"), number("for_room"), render::bytes(number("bytes")));
        render::line(format!("{by_age} instances purged by age, {for_room} for room; {bytes} freed"))?;
    }
    ended(&answer)
}

/// A backup that began meanwhile keeps the rest here (UIX-04). One that was being made already has the gateway refuse.
fn ended(answer: &Value) -> Ended {
    match answer["paused"] == true {
        false => Ok(ExitCode::SUCCESS),
        true => Err(Failure::some(
            "a backup began meanwhile, and the rest that is due is not purged until it is done; ask again then",
        )),
    }
}

/// Instances and their bytes.
#[derive(Default)]
struct Sum {
    instances: u64,
    bytes: u64,
}

/// What was done before a time.
async fn due(records: &Records, before: SystemTime) -> Result<Sum, Failure> {
    let (mut after, mut sum): (Option<Cursor>, Sum) = Default::default();
    loop {
        let (page, next) = records.purgeable(before, after, 0).await.map_err(Failure::some)?;
        sum.instances += page.len() as u64;
        sum.bytes += page.iter().map(|candidate| candidate.bytes).sum::<u64>();
        after = next;
        if after.is_none() {
            return Ok(sum);
        }
    }
}

/// The times before which something must have been done to go by age, and for room: by the clock that the gateway believes, if it runs.
async fn befores(config: &Config) -> Result<[SystemTime; 2], Failure> {
    let retention = &config.retention;
    if let Some(mut gateway) = client::Gateway::connect(&config.site.data_dir).await {
        let answer = gateway.get("/store/due").await?;
        let at = |name: &str| SystemTime::UNIX_EPOCH + Duration::from_micros(answer[name].as_u64().unwrap_or_default());
        return Ok([at("by_age"), at("for_room")]);
    }
    let now = SystemTime::now();
    let before = |kept| now.checked_sub(kept).unwrap_or(SystemTime::UNIX_EPOCH);
    Ok([before(retention.keep_at_most), before(retention.keep_at_least)])
}

async fn dry_run(config: &Config, records: &Records, json: bool) -> Ended {
    let retention = &config.retention;
    let [before_by_age, before_for_room] = befores(config).await?;
    let (by_age, for_room) = (due(records, before_by_age).await?, due(records, before_for_room).await?);
    if json {
        let sum = |sum: &Sum| serde_json::json!({"instances": sum.instances, "bytes": sum.bytes});
        render::json(&serde_json::json!({"by_age": sum(&by_age), "for_room_at_most": sum(&for_room)}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let tell = |sum: &Sum| format!("{} instances, {}", sum.instances, render::bytes(sum.bytes));
    let (most, least) = (render::span(retention.keep_at_most), render::span(retention.keep_at_least));
    render::line(format!("by age, done for longer than {most}: {}", tell(&by_age)))?;
    render::line(format!("when the disk is short of room, done for longer than {least}: at most {}", tell(&for_room)))?;
    if !retention.purge {
        render::line("nothing is purged by itself: purge = false in [retention]")?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_backup_keeps_from_being_purged_has_failed() {
        assert!(ended(&json!({"by_age": 0, "for_room": 0, "bytes": 0, "paused": false})).is_ok());
        assert!(ended(&json!({"by_age": 0, "for_room": 0, "bytes": 0})).is_ok(), "an older gateway says nothing of it");
        let refused = ended(&json!({"by_age": 500, "for_room": 0, "bytes": 1, "paused": true})).unwrap_err();
        assert!(refused.code == 1 && refused.message().contains("until it is done"), "{refused:?}");
    }
}
