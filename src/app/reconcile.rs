//! What the ledger says of a peer against what the peer shows, by command and every night.

use super::lanes;
use crate::config::Config;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dicomweb::client::{PeerClient, QueryFailure};
use crate::ledger::transfer::{State, TransferId};
use crate::peers::Destination;
use crate::records::{Records, RecordsError, TransferFilter, TransferView};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// The nightly comparison looks back so long: less than a Weybridge peer keeps at least.
const LOOK_BACK: Duration = Duration::from_secs(2 * 86_400);

/// The first comparison comes so long after a start at the latest, so that one who is restarted daily compares too.
const FIRST: Duration = Duration::from_secs(3600);

/// So many studies in a row of which a peer does not say what it shows end a nightly comparison.
const FAILURES: usize = 5;

/// What has come to count as done at a peer since a time, however long it was owed before, by study.
pub async fn done(
    records: &Records,
    peer: &str,
    since: SystemTime,
) -> Result<BTreeMap<StudyUid, Vec<TransferView>>, RecordsError> {
    let mut studies: BTreeMap<StudyUid, Vec<TransferView>> = BTreeMap::new();
    for state in [State::Verified, State::Accepted] {
        let mut after = TransferId(0);
        loop {
            let destination = Some(Destination(peer.to_owned()));
            let filter = TransferFilter { destination, done_since: Some(since), ..TransferFilter::default() };
            let page = records.transfers(filter, Some(state), after, SystemTime::now()).await?;
            let Some(last) = page.last() else { break };
            after = last.transfer;
            // Who has the note that rejects an instance shows it as little as we do (WEB-105).
            for view in page.into_iter().filter(|view| !view.is_rejected) {
                studies.entry(view.study_instance_uid.clone()).or_default().push(view);
            }
        }
    }
    Ok(studies)
}

/// What of a study the peer does not show, though it counts as done there.
pub async fn missing<'a>(
    client: &PeerClient,
    study: &StudyUid,
    done: &'a [TransferView],
) -> Result<Vec<&'a TransferView>, QueryFailure> {
    let wanted: Vec<InstanceUid> = done.iter().map(|view| view.sop_instance_uid.clone()).collect();
    let shown = client.present(study, &wanted).await?;
    Ok(done.iter().filter(|view| !shown.found.contains(&view.sop_instance_uid)).collect())
}

/// Compares with every peer, again and again, until `stop`; what is missing is told in the log, and a person decides.
pub(super) async fn nightly(
    path: PathBuf,
    records: Records,
    every: Duration,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut wait = every.min(FIRST);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
        wait = every;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = every_peer(&path, &records) => {}
        }
    }
}

/// The configuration is read anew: peers and certificates may have changed since the start.
async fn every_peer(path: &std::path::Path, records: &Records) {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(errors) => {
            let error = errors.without_source();
            return tracing::warn!(error = %error, "no comparison with the peers: the configuration is wrong");
        }
    };
    for peer in &config.peers {
        let name = peer.name.as_str();
        match lanes::peer_client(&config, peer) {
            Ok(client) => match one_peer(records, &client, name).await {
                Ok(compared) => compared.tell(name),
                Err(error) => tracing::error!(peer = name, error = %error, "the peer could not be compared with"),
            },
            Err(error) => tracing::warn!(peer = name, error = %error, "the peer could not be compared with"),
        }
    }
}

/// What a comparison with one peer came to.
#[derive(Default)]
struct Compared {
    /// Instances that it was asked for.
    asked: usize,
    /// Those that it does not show.
    missing: usize,
    /// Studies of which it did not say what it shows.
    silent: usize,
    /// Why not, of the first.
    why: Option<QueryFailure>,
}

impl Compared {
    fn tell(&self, peer: &str) {
        let Self { asked, missing, silent, why } = self;
        if *missing > 0 {
            tracing::error!(
                peer,
                asked,
                missing,
                "the peer does not show what it was sent; see `weybridge reconcile`, which can owe it again"
            );
        }
        match why {
            Some(why) => tracing::warn!(peer, studies = silent, why = %why, "the peer could not be compared with"),
            None if *missing == 0 => tracing::info!(peer, asked, "the peer shows everything that it was sent lately"),
            None => {}
        }
    }
}

/// Asks a peer for each study. One that fails does not hide what is missing of the others; after some in a row the rest is left
/// for the next time.
async fn one_peer(records: &Records, client: &PeerClient, peer: &str) -> Result<Compared, RecordsError> {
    let since = SystemTime::now().checked_sub(LOOK_BACK).unwrap_or(SystemTime::UNIX_EPOCH);
    let (mut compared, mut in_a_row) = (Compared::default(), 0);
    for (study, done) in done(records, peer, since).await? {
        if in_a_row >= FAILURES {
            compared.silent += 1;
            continue;
        }
        match missing(client, &study, &done).await {
            Ok(missing) => {
                (compared.asked, compared.missing) = (compared.asked + done.len(), compared.missing + missing.len());
                in_a_row = 0;
            }
            Err(why) => {
                (compared.silent, in_a_row) = (compared.silent + 1, in_a_row + 1);
                compared.why.get_or_insert(why);
            }
        }
    }
    Ok(compared)
}
