//! `weybridge priors prefetch`, and what `priors list` tells of what is pulled ahead.

use crate::cli::{Ended, Failure, client, render};
use crate::config::Config;
use crate::edge::admin::PrefetchAsked;
use crate::records::PrefetchRow;
use serde_json::json;
use std::process::ExitCode;

/// Has priors pulled ahead; the work is the gateway's, and goes on without us.
pub(super) async fn prefetch(config: &Config, asked: &PrefetchAsked, as_json: bool) -> Ended {
    let mut gateway = client::Gateway::required(config).await?;
    let answer = gateway.post("/prefetch", &serde_json::to_value(asked).map_err(Failure::some)?).await?;
    if as_json {
        render::json(&answer)?;
    } else {
        let rules = answer["rules"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
        let rules = rules.collect::<Vec<_>>().join(", ");
        render::line(match answer["prefetch"].as_i64() {
            Some(id) => format!("prefetch {id} begins, by {rules}; weybridge priors list tells how it goes"),
            None => "it was asked for already; weybridge priors list tells how it goes".into(),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The prefetches, one JSON object a line.
pub(super) fn tell(rows: &[PrefetchRow]) -> Result<(), Failure> {
    rows.iter().try_for_each(|row| {
        render::json(&json!({
            "prefetch": row.id,
            "cause": row.what.cause.kind(),
            "of": row.what.cause.name(),
            "who": row.what.who,
            "modalities": row.what.modalities,
            "at": render::utc(row.at),
            "tries": row.tries,
            "next": row.due.map(render::utc),
            "how": row.how,
        }))
    })
}

/// The prefetches as a table.
pub(super) fn show(rows: &[PrefetchRow]) -> Result<(), Failure> {
    let cells = rows.iter().map(|row| {
        let cause = format!("{} {}", row.what.cause.kind(), row.what.cause.name());
        let next = row.due.map_or_else(|| "-".into(), render::local);
        vec![row.id.to_string(), cause, row.what.who.clone(), render::local(row.at), next, row.how.clone()]
    });
    render::table(&["PREFETCH", "BECAUSE OF", "FOR", "SINCE", "NEXT", "HOW IT STANDS"], cells.collect())
}
