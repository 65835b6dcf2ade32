//! `weybridge reconcile`: what the ledger says of a peer against what the peer shows.

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::app;
use crate::config::Config;
use crate::dicom::uid::StudyUid;
use crate::dicomweb::client::PeerClient;
use crate::edge::admin::Request;
use crate::ledger::transfer::TransferId;
use crate::records::TransferView;
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The peer, by its name
    peer: String,
    /// Only what was done there within so many days; a Weybridge peer keeps everything for three at least, and shows only what it keeps
    #[arg(long, value_name = "DAYS", default_value_t = 2)]
    since: u64,
    /// Owe again what is missing there; needs a reason
    #[arg(long, requires = "reason")]
    reopen: bool,
    /// Why; kept in the ledger
    #[arg(long)]
    reason: Option<String>,
    /// One JSON object a study
    #[arg(long)]
    json: bool,
}

/// After so many studies a peer that has not answered once is asked no more.
const MOST_SILENT: usize = 5;

/// What a peer was asked for and did not show.
#[derive(Default)]
struct Gaps {
    asked: usize,
    missing: Vec<TransferId>,
    /// Studies of which the peer did not say what it shows, and why not, of the first.
    silent: Option<(usize, String)>,
}

pub(super) async fn run(place: &ConfigPlace, options: Options) -> Ended {
    let config = client::load(place)?;
    let peer = config.peers.iter().find(|peer| peer.name == options.peer);
    let peer = peer.ok_or_else(|| Failure::usage(format!("{} is no peer of this site", options.peer)))?;
    if options.reopen && options.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
        return Err(Failure::usage(
            "say why: weybridge reconcile PEER --reopen --reason \"…\"; it is kept in the ledger",
        ));
    }
    let records = client::records(&config)?;
    let asked_of = app::peer_client(&config, peer).map_err(Failure::usage)?;
    let mut gaps = Gaps::default();
    let since = Duration::from_secs(options.since.saturating_mul(86_400));
    let since = SystemTime::now().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH);
    for (study, done) in app::reconcile::done(&records, &options.peer, since).await.map_err(Failure::some)? {
        if gaps.asked == 0 && gaps.silent.as_ref().is_some_and(|(studies, _)| *studies >= MOST_SILENT) {
            break;
        }
        compare(&asked_of, &study, &done, &options, &mut gaps).await?;
    }
    if !options.json {
        render::line(format!("{} asked for, {} missing at {}", gaps.asked, gaps.missing.len(), options.peer))?;
    }
    let reopened = match options.reopen && !gaps.missing.is_empty() {
        true => Some(reopen(&config, &options, &gaps.missing).await?),
        false => None,
    };
    if let Some((studies, why)) = &gaps.silent {
        let missing = gaps.missing.len();
        let peer = &options.peer;
        return Err(Failure::unreachable(format!(
            "{peer} cannot be asked of {studies} studies: {why}; of the others {missing} instances are missing there"
        )));
    }
    match (gaps.missing.is_empty(), reopened) {
        (true, _) => Ok(ExitCode::SUCCESS),
        (false, Some(ended)) => Ok(ended),
        (false, None) => Err(Failure::some(format!(
            "{} does not show {} instances that it was sent; `--reopen --reason` owes them again",
            options.peer,
            gaps.missing.len()
        ))),
    }
}

async fn compare(
    client: &PeerClient,
    study: &StudyUid,
    done: &[TransferView],
    options: &Options,
    gaps: &mut Gaps,
) -> Result<(), Failure> {
    let missing = match app::reconcile::missing(client, study, done).await {
        Ok(missing) => missing,
        Err(why) => {
            let silent = gaps.silent.get_or_insert((0, why.to_string()));
            silent.0 += 1;
            return Ok(());
        }
    };
    gaps.asked += done.len();
    gaps.missing.extend(missing.iter().map(|view| view.transfer));
    let uids: Vec<&str> = missing.iter().map(|view| view.sop_instance_uid.as_str()).collect();
    if options.json {
        render::json(&json!({
            "study_instance_uid": study.as_str(),
            "destination": options.peer,
            "asked": done.len(),
            "missing": uids,
        }))
    } else {
        uids.iter().try_for_each(|uid| render::line(format!("missing: {uid} of study {study}")))
    }
}

async fn reopen(config: &Config, options: &Options, missing: &[TransferId]) -> Ended {
    let mut gateway = client::Gateway::required(config).await?;
    let (mut reopened, mut skipped) = (0, 0);
    for page in missing.chunks(1000) {
        let request = Request {
            ids: page.iter().map(|transfer| transfer.0).collect(),
            study: None,
            destination: None,
            state: None,
            who: super::who(),
            reason: options.reason.clone().unwrap_or_default(),
        };
        let body = serde_json::to_value(&request).map_err(Failure::some)?;
        let answer = gateway.post("/transfers/reopen", &body).await?;
        reopened += answer["changed"].as_u64().unwrap_or(0);
        skipped += answer["skipped"].as_u64().unwrap_or(0);
    }
    if !options.json {
        render::line(format!(
            "{reopened} are owed again: {} is asked once more, and sent what it lacks",
            options.peer
        ))?;
    }
    match skipped {
        0 => Ok(ExitCode::SUCCESS),
        count => Err(Failure::some(format!(
            "{count} cannot be sent again: their bytes are no longer kept here, or they are not done any more"
        ))),
    }
}
