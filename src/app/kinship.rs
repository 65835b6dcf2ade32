//! Whether the records and the blobs that a start finds belong together.

use crate::records::{Records, Recovered};
use crate::store::{Noted, Standing, Store};
use anyhow::{Context, anyhow};
use std::path::Path;
use std::time::SystemTime;

/// What a person is told until the records are accepted.
pub(super) const DOUBTED: &str = "the records do not go with the blobs: an older records.db is in place, or another's, or its log was \
    damaged, so that instances may be missing from it. Nothing was removed that it does not name. Stop the gateway, then put the \
    newest records.db back, or begin new records with `weybridge store rebuild`; if these are the right ones, say so with `weybridge store accept`";

/// What is said of a directory that was never begun beside records that have named blobs, also where all of those were purged since: what
/// were kept there would be out of sight as soon as the disk of the blobs is back in its place.
const ELSEWHERE: &str = "the records have named blobs, but the directory of the blobs has no file `identity`: is its disk mounted? mount \
    it, restore the blobs, or begin with new records";

/// Who has destinations asked, as the ledger names it.
const WHO: &str = "the gateway, at its start";
/// Why.
const OLDER: &str = "the records in place are older than the blobs, or another's: it may have been sent since";

/// Why, if their log was damaged.
const CUT: &str = "the log of the records was damaged, and what came last is missing: it may have been sent since";

/// How the records stand to the blobs in `dir`, and the moment at which they are. Records whose log was damaged lack what they held, and
/// count as older ones. What older records still owe may have been sent since they were copied: each destination is asked first (INV-08).
/// That is committed when this returns, before the blobs note these records as theirs, so that a crash in between does it again.
pub(super) async fn standing(
    dir: &Path,
    records: &Records,
    found: &Recovered,
) -> anyhow::Result<(Standing, Option<Noted>)> {
    let standing = match Store::noted(dir).context("cannot open the blobs")? {
        None if !Store::is_named(dir)? && records.ever_named_a_blob().await? => return Err(anyhow!(ELSEWHERE)),
        _ if found.log_damaged => Standing::Foreign,
        Some(noted) if records.held(noted.entries, noted.chain).await? => Standing::Proven,
        Some(_) => Standing::Foreign,
        None if found.epoch == 1 => Standing::New,
        None => Standing::Unknown,
    };
    if standing == Standing::Foreign {
        let reason = if found.log_damaged { CUT } else { OLDER };
        let transfers =
            records.doubt(WHO, reason, SystemTime::now()).await.context("cannot put in doubt what is owed")?;
        tracing::warn!(
            transfers,
            "what older records owe may have been sent since they were copied; each destination is asked first"
        );
    }
    let head = records.ledger_head().await?;
    Ok((standing, Some(Noted { entries: head.size, chain: head.chain })))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::records::tests::support::{Site, by_age, noon, push, verified};
    use crate::store::StoreOptions;

    /// FLT-027: a disk of blobs that is not mounted is no empty store, also where nothing is kept on it just now.
    #[tokio::test]
    async fn an_empty_mount_point_beside_records_that_have_named_blobs_is_refused() {
        let (site, dir) = (Site::new(), tempfile::tempdir().unwrap());
        let blobs = dir.path();
        let at_start = |epoch, log_damaged| Recovered { epoch, log_damaged, ..Recovered::default() };
        // The second start of a site whose first one died before the blobs had their name.
        for (epoch, want) in [(1, Standing::New), (2, Standing::Unknown)] {
            assert_eq!(standing(blobs, &site.records, &at_start(epoch, false)).await.unwrap().0, want);
        }
        let instance = site.stored(push(1)).await;
        site.send("surrey", verified(), noon()).await;
        let purged = site.condemn(instance, by_age()).await;
        site.records.freed(purged.blobs.iter().map(|(blob, _)| *blob).collect()).await.unwrap();
        assert!(!purged.blobs.is_empty() && site.records.all_places().await.unwrap().is_empty());
        for log_damaged in [false, true] {
            let refused = standing(blobs, &site.records, &at_start(3, log_damaged)).await.unwrap_err();
            assert!(refused.to_string().contains("is its disk mounted?"), "{refused}");
        }
        assert!(std::fs::read_dir(blobs).unwrap().next().is_none(), "and nothing is made there");
        drop(Store::open(StoreOptions::at(blobs), []).unwrap());
        assert_eq!(standing(blobs, &site.records, &at_start(4, false)).await.unwrap().0, Standing::Unknown);
    }
}
