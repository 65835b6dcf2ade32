//! `weybridge store accept`: a person says that the records in place are the right ones for these blobs, or were meant to be begun.

use crate::cli::{Ended, Failure, client, render};
use crate::config::Config;
use crate::edge::admin::By;
use crate::records::{Records, RecordsOptions};
use crate::store::Store;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

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
    if super::blobs(config).is_ok_and(|blobs| blobs.is_doubted()) {
        enter(&config.site.data_dir).await?;
    }
    let doubted = Store::accept(config.site.data_dir.join("blobs")).map_err(Failure::some)?;
    render::line(match doubted {
        true => "the records in place are taken for the right ones; what they do not name stays on the disk",
        false => "nobody doubts the records in place",
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Enters who says so, in the records that they accept (UIX-09), before the doubt ends: a crash in between enters it again. Where there are no
/// records there is no ledger, and none is begun for this.
async fn enter(data_dir: &Path) -> Result<(), Failure> {
    if !std::fs::metadata(data_dir.join("records.db")).is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let (records, _) = Records::open(data_dir, RecordsOptions::default()).map_err(Failure::some)?;
    let entered = records.were_accepted(&crate::cli::who(), SystemTime::now()).await;
    records.close().await;
    entered.map_err(Failure::some)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ledger::entry::{Entry, Fact, Kind};
    use crate::store::{Standing, StoreOptions};

    /// UIX-09: who accepts records while no gateway runs is named in the ledger too, once.
    #[tokio::test]
    async fn who_accepts_records_is_named_in_the_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "[site]\nname = \"a\"\ndata_dir = \"{}\"\n[dicom]\nlisten = \"127.0.0.1:11112\"\n[[node]]\nae_title = \"PACS\"\n\
             from_addresses = [\"127.0.0.1\"]\nmay = [\"store\"]\n",
            dir.path().display()
        );
        let config = Config::parse(&text, Path::new("weybridge.toml"), SystemTime::UNIX_EPOCH).unwrap();
        let options = StoreOptions { reserve_bytes: Some(0), ..StoreOptions::at(dir.path().join("blobs")) };
        drop(Store::open_for(options, (Standing::Foreign, None), []).unwrap());
        let doubted = || crate::cli::store::blobs(&config).unwrap().is_doubted();
        assert!(doubted());
        run(&config).await.unwrap();
        assert!(!doubted() && !dir.path().join("records.db").exists(), "no records are begun for it");
        let options = StoreOptions { reserve_bytes: Some(0), ..StoreOptions::at(dir.path().join("blobs")) };
        drop(Store::open_for(options, (Standing::Foreign, None), []).unwrap());
        Records::open(dir.path(), RecordsOptions::default()).unwrap().0.close().await;
        for _ in 0..2 {
            run(&config).await.unwrap();
            assert!(!doubted());
        }
        let records = Records::open_read_only(dir.path()).unwrap();
        let lines = records.ledger_page(0).await.unwrap();
        let acts: Vec<Entry> = lines.iter().map(|line| Entry::parse(&line.bytes).unwrap()).collect();
        let acts: Vec<&Entry> = acts.iter().filter(|entry| entry.kind == Kind::Act).collect();
        let text = |name: &str| acts[0].facts.get(name).and_then(Fact::text);
        assert_eq!((acts.len(), text("verb"), text("who")), (1, Some("accepted"), Some(crate::cli::who().as_str())));
    }
}
