//! `weybridge reconcile`: what the ledger says of a peer against what the peer shows.

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::app;
use crate::config::Config;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dicomweb::client::PeerClient;
use crate::edge::admin::Request;
use crate::ledger::transfer::{State, TransferId};
use crate::peers::Destination;
use crate::records::{Records, TransferFilter, TransferView};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The peer, by its name
    peer: String,
    /// Only what was owed within so many days; a Weybridge peer keeps everything for three at least, and shows only what it keeps
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

/// What a peer was asked for and did not show.
#[derive(Default)]
struct Gaps {
    asked: usize,
    missing: Vec<TransferId>,
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
    for (study, done) in done(&records, &options).await? {
        compare(&asked_of, &study, &done, &options, &mut gaps).await?;
    }
    if !options.json {
        render::line(format!("{} asked for, {} missing at {}", gaps.asked, gaps.missing.len(), options.peer))?;
    }
    match (gaps.missing.is_empty(), options.reopen) {
        (true, _) => Ok(ExitCode::SUCCESS),
        (false, true) => reopen(&config, &options, &gaps.missing).await,
        (false, false) => Err(Failure::some(format!(
            "{} does not show {} instances that it was sent; `--reopen --reason` owes them again",
            options.peer,
            gaps.missing.len()
        ))),
    }
}

/// What counts as done at the peer, by study.
async fn done(records: &Records, options: &Options) -> Result<BTreeMap<StudyUid, Vec<TransferView>>, Failure> {
    let now = SystemTime::now();
    let since = now.checked_sub(Duration::from_secs(options.since.saturating_mul(86_400)));
    let mut studies: BTreeMap<StudyUid, Vec<TransferView>> = BTreeMap::new();
    for state in [State::Verified, State::Accepted] {
        let mut after = TransferId(0);
        loop {
            let destination = Some(Destination(options.peer.clone()));
            let filter = TransferFilter { destination, ..TransferFilter::default() };
            let page = records.transfers(filter, Some(state), after, now).await.map_err(Failure::some)?;
            let Some(last) = page.last() else { break };
            after = last.transfer;
            for view in page.into_iter().filter(|view| since.is_none_or(|since| view.created >= since)) {
                studies.entry(view.study_instance_uid.clone()).or_default().push(view);
            }
        }
    }
    Ok(studies)
}

async fn compare(
    client: &PeerClient,
    study: &StudyUid,
    done: &[TransferView],
    options: &Options,
    gaps: &mut Gaps,
) -> Result<(), Failure> {
    let wanted: Vec<InstanceUid> = done.iter().map(|view| view.sop_instance_uid.clone()).collect();
    let shown = client.present(study, &wanted).await;
    let shown = shown.map_err(|error| Failure::unreachable(format!("{} cannot be asked: {error}", options.peer)))?;
    let missing: Vec<&TransferView> =
        done.iter().filter(|view| !shown.found.contains(&view.sop_instance_uid)).collect();
    gaps.asked += wanted.len();
    gaps.missing.extend(missing.iter().map(|view| view.transfer));
    let uids: Vec<&str> = missing.iter().map(|view| view.sop_instance_uid.as_str()).collect();
    if options.json {
        render::json(&json!({
            "study_instance_uid": study.as_str(),
            "destination": options.peer,
            "asked": wanted.len(),
            "missing": uids,
        }))?;
    } else {
        uids.iter().try_for_each(|uid| render::line(format!("missing: {uid} of study {study}")))?;
    }
    Ok(())
}

async fn reopen(config: &Config, options: &Options, missing: &[TransferId]) -> Ended {
    let mut gateway = client::Gateway::required(config).await?;
    let (mut reopened, mut skipped) = (0, 0);
    for page in missing.chunks(1000) {
        let request = Request {
            ids: page.iter().map(|transfer| transfer.0).collect(),
            study: None,
            destination: None,
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
