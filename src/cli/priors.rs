//! `weybridge priors`: studies of other sites, found, pulled, listed and dropped by hand.

mod find;
mod prefetch;

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::config::Config;
use crate::edge::admin::{CopiesDrop, PrefetchAsked, PullOrder, Search};
use crate::records::PullRow;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::process::ExitCode;

/// Why nothing is told of other sites where none is asked: that is no answer of theirs.
const NOBODY_ASKED: &str = "no other site is asked for priors: say `priors = true` in its [[peer]], as it is by default where the \
    peer may \"query\"";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Ask every other site what it holds of a patient, or whether it holds a study
    #[command(group(clap::ArgGroup::new("which").required(true).args(["patient", "nhs", "study"])))]
    Find {
        /// Patient ID of this site, or of --issuer
        #[arg(long, value_name = "ID")]
        patient: Option<String>,
        /// Who issued the Patient ID
        #[arg(long, requires = "patient")]
        issuer: Option<String>,
        /// NHS number
        #[arg(long, value_name = "NUMBER")]
        nhs: Option<String>,
        /// Study Instance UID
        #[arg(long, value_name = "UID")]
        study: Option<String>,
        /// What for; the other sites keep it with your name [default: the site's purpose]
        #[arg(long)]
        purpose: Option<String>,
        /// One JSON object a line: the studies, then the sites
        #[arg(long)]
        json: bool,
    },
    /// Pull a study of other sites into this one; what is here already is not asked for again
    Pull {
        /// Study Instance UID
        uid: String,
        /// From this peer alone
        #[arg(long, value_name = "PEER")]
        from: Option<String>,
        /// What for; the other site keeps it with your name [default: the site's purpose]
        #[arg(long)]
        purpose: Option<String>,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Have a patient's priors pulled before anybody asks for them, by the rules of [[prefetch]]
    #[command(group(clap::ArgGroup::new("which").required(true).args(["patient", "nhs"])))]
    Prefetch {
        /// Patient ID of this site, or of --issuer
        #[arg(long, value_name = "ID")]
        patient: Option<String>,
        /// Who issued the Patient ID
        #[arg(long, requires = "patient")]
        issuer: Option<String>,
        /// NHS number
        #[arg(long, value_name = "NUMBER")]
        nhs: Option<String>,
        /// Birth date as YYYYMMDD, if it is known
        #[arg(long, value_name = "DATE")]
        birth_date: Option<String>,
        /// Modality of the examination that they are wanted for; may be given several times
        #[arg(long)]
        modality: Vec<String>,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// What was pulled from whom, when the site last told what it has, and how long copies stay; and what is pulled ahead
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Drop the copies of a study now; the site that it came from keeps it
    Drop {
        /// Study Instance UID
        uid: String,
        /// Why; kept in the ledger
        #[arg(long)]
        reason: String,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(place: &ConfigPlace, verb: Verb) -> Ended {
    let config = client::load(place)?;
    match verb {
        Verb::Find { patient, issuer, nhs, study, purpose, json } => {
            let search = Search { patient, issuer, nhs, study, who: super::who(), purpose };
            find::find(&config, &search, json).await
        }
        Verb::Pull { uid, from, purpose, json } => {
            let order = PullOrder { study: uid, from, who: super::who(), purpose };
            pull(&config, &order, json).await
        }
        Verb::Prefetch { patient, issuer, nhs, birth_date, modality, json } => {
            let asked = PrefetchAsked { patient, issuer, nhs, birth_date, modality, who: super::who(), id: None };
            prefetch::prefetch(&config, &asked, json).await
        }
        Verb::List { json } => list(&config, json).await,
        Verb::Drop { uid, reason, json } => {
            drop_copies(&config, &CopiesDrop { study: uid, who: super::who(), reason }, json).await
        }
    }
}

async fn pull(config: &Config, order: &PullOrder, as_json: bool) -> Ended {
    let mut gateway = client::Gateway::required(config).await?;
    let bar = bar();
    let asked = serde_json::to_value(order).map_err(Failure::some)?;
    let last = gateway
        .follow("/priors/pull", &asked, |line| {
            let number = |name: &str| line[name].as_u64().unwrap_or_default();
            bar.set_length(number("awaited") + number("came") + number("failed"));
            bar.set_position(number("came") + number("failed"));
        })
        .await?;
    bar.finish_and_clear();
    if as_json {
        render::json(&last)?;
    } else {
        tell(&last)?;
    }
    let text =
        |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let silent = text(&last["not_answering"]);
    match last["how"].as_str().unwrap_or("broken off") {
        "done" => Ok(ExitCode::SUCCESS),
        "nowhere" if config.peers.iter().all(|peer| !peer.priors) => {
            Err(Failure::absent(format!("neither this site nor an archive behind it has such a study; {NOBODY_ASKED}")))
        }
        "nowhere" => Err(Failure::absent("neither this site nor any that was asked has such a study")),
        "silent" => {
            Err(Failure::unreachable(format!("{silent} does not answer; whether it has the study is not known")))
        }
        "in part" if silent.is_empty() => Err(Failure::some("some did not come; pull again for the rest")),
        "in part" => Err(Failure::some(format!("{silent} does not answer and may have more; pull again for the rest"))),
        other => Err(Failure::unreachable(format!("the pull ended early: {other}"))),
    }
}

fn tell(last: &Value) -> Result<(), Failure> {
    render::line(format!("{} came, {} failed, {} are kept here", last["came"], last["failed"], last["kept"]))?;
    for lost in last["instances"].as_array().into_iter().flatten() {
        let text = |name: &str| lost[name].as_str().unwrap_or_default().to_owned();
        render::line(format!("{}: {}", text("sop_instance_uid"), text("why")))?;
    }
    Ok(())
}

/// Shown on a terminal only.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta} left");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

async fn list(config: &Config, as_json: bool) -> Ended {
    let records = client::records(config)?;
    let rows = records.pulls(None).await.map_err(Failure::some)?;
    let ahead = records.prefetches().await.map_err(Failure::some)?;
    let until = |row: &PullRow| row.used + config.priors.keep;
    if as_json {
        for row in &rows {
            render::json(&json!({
                "study_instance_uid": row.study.as_str(),
                "peer": row.peer,
                "began": render::utc(row.began),
                "ended": row.ended.map(render::utc),
                "how": row.how,
                "listed": row.listed,
                "came": row.came,
                "missing": row.missing,
                "checked": row.checked.map(render::utc),
                "kept": row.kept,
                "kept_bytes": row.kept_bytes,
                "kept_until": render::utc(until(row)),
            }))?;
        }
        prefetch::tell(&ahead)?;
        return Ok(ExitCode::SUCCESS);
    }
    let cells = rows.iter().map(|row| {
        let how = row.how.clone().unwrap_or_else(|| "under way".into());
        let counted = format!("{}/{}", row.listed.saturating_sub(row.missing), row.listed);
        let (kept, stays) = (format!("{}, {}", row.kept, render::bytes(row.kept_bytes)), render::local(until(row)));
        let stays = if row.kept == 0 { "-".into() } else { stays };
        let checked = row.checked.map_or_else(|| "never".into(), render::local);
        vec![row.study.to_string(), row.peer.clone(), how, counted, kept, stays, checked]
    });
    render::table(&["STUDY", "PEER", "PULL", "HERE", "COPIES", "UNTIL", "CHECKED"], cells.collect())?;
    if !ahead.is_empty() {
        prefetch::show(&ahead)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn drop_copies(config: &Config, asked: &CopiesDrop, as_json: bool) -> Ended {
    if asked.reason.trim().is_empty() {
        return Err(Failure::usage("say why: weybridge priors drop UID --reason \"…\"; it is kept in the ledger"));
    }
    let mut gateway = client::Gateway::required(config).await?;
    let answer = gateway.post("/priors/drop", &serde_json::to_value(asked).map_err(Failure::some)?).await?;
    let dropped = answer["instances"].as_u64().unwrap_or(0);
    if as_json {
        render::json(&answer)?;
    } else {
        let bytes = render::bytes(answer["bytes"].as_u64().unwrap_or(0));
        render::line(format!("{dropped} copies were dropped, {bytes}; their records stay"))?;
        for (why, count) in answer["kept"].as_object().into_iter().flatten() {
            render::line(format!("{count} kept: {why}"))?;
        }
    }
    match dropped {
        0 => Err(Failure::some("nothing was dropped: no copy of that study is kept here, or it is being pulled")),
        _ => Ok(ExitCode::SUCCESS),
    }
}
