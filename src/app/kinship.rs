//! Whether the records and the blobs that a start finds belong together.

use crate::records::{Records, Recovered};
use crate::store::{Noted, Standing, Store};
use anyhow::Context;
use std::path::Path;
use std::time::SystemTime;

/// What a person is told until the records are accepted.
pub(super) const DOUBTED: &str = "the records do not go with the blobs: an older records.db is in place, or another's, or its log was \
    damaged, so that instances may be missing from it. Nothing was removed that it does not name. Stop the gateway, then put the \
    newest records.db back, or begin new records with `weybridge store rebuild`; if these are the right ones, say so with `weybridge store accept`";

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
