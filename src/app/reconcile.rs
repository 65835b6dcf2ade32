//! What the ledger says of a peer against what the peer shows, by command and every night.

use super::lanes;
use crate::config::Config;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dicomweb::client::{PeerClient, QueryFailure};
use crate::ledger::transfer::{State, TransferId};
use crate::peers::Destination;
use crate::records::{Records, RecordsError, TransferFilter};
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

/// So many transfers are held at once, about.
const AT_ONCE: usize = 20_000;

/// What counts as done, the less certain first: what is verified meanwhile is met again, and nothing is missed.
const DONE: &[State] = &[State::Accepted, State::Verified];

/// An instance that counts as done at a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The transfer that was done.
    pub transfer: TransferId,
    /// What was sent.
    pub sop_instance_uid: InstanceUid,
}

/// What has come to count as done at a peer since a time, however long it was owed before: some of it at a time, however much it is.
pub struct DoneThere<'a> {
    records: &'a Records,
    peer: &'a str,
    since: SystemTime,
    most: usize,
    /// The states that are still to be read, the first after this transfer.
    left: &'static [State],
    after: TransferId,
}

impl<'a> DoneThere<'a> {
    /// Of which nothing was read yet.
    pub fn new(records: &'a Records, peer: &'a str, since: SystemTime) -> Self {
        Self { records, peer, since, most: AT_ONCE, left: DONE, after: TransferId(0) }
    }

    /// Some more, by study; empty if there is no more. A study that is large, or was sent over a long time, may come again with the rest of it.
    pub async fn some_more(&mut self) -> Result<BTreeMap<StudyUid, Vec<Done>>, RecordsError> {
        let (mut studies, mut held) = (BTreeMap::<StudyUid, Vec<Done>>::new(), 0);
        while let Some((state, rest)) = self.left.split_first()
            && held < self.most
        {
            let (destination, done_since) = (Some(Destination(self.peer.to_owned())), Some(self.since));
            let filter = TransferFilter { destination, done_since, limit: self.most, ..TransferFilter::default() };
            let page = self.records.transfers(filter, Some(*state), self.after, SystemTime::now()).await?;
            let Some(last) = page.last() else {
                (self.left, self.after) = (rest, TransferId(0));
                continue;
            };
            self.after = last.transfer;
            // Who has the note that rejects an instance shows it as little as we do (WEB-105).
            for view in page.into_iter().filter(|view| !view.is_rejected) {
                let done = Done { transfer: view.transfer, sop_instance_uid: view.sop_instance_uid };
                studies.entry(view.study_instance_uid).or_default().push(done);
                held += 1;
            }
        }
        Ok(studies)
    }
}

/// What of a study the peer does not show, though it counts as done there.
pub async fn missing<'a>(
    client: &PeerClient,
    study: &StudyUid,
    done: &'a [Done],
) -> Result<Vec<&'a Done>, QueryFailure> {
    let wanted: Vec<InstanceUid> = done.iter().map(|one| one.sop_instance_uid.clone()).collect();
    let shown = client.present(study, &wanted).await?;
    Ok(done.iter().filter(|one| !shown.found.contains(&one.sop_instance_uid)).collect())
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
    let mut left = DoneThere::new(records, peer, since);
    loop {
        let studies = left.some_more().await?;
        if studies.is_empty() {
            return Ok(compared);
        }
        for (study, done) in studies {
            if in_a_row >= FAILURES {
                compared.silent += 1;
                continue;
            }
            match missing(client, &study, &done).await {
                Ok(missing) => {
                    (compared.asked, compared.missing) =
                        (compared.asked + done.len(), compared.missing + missing.len());
                    in_a_row = 0;
                }
                Err(why) => {
                    (compared.silent, in_a_row) = (compared.silent + 1, in_a_row + 1);
                    compared.why.get_or_insert(why);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::records::Arrival;
    use crate::records::tests::support::{Site, accepted, noon, push, study, to, to_accepting, verified};

    /// However much was done, little of it is held at once, and all of it is met once.
    #[tokio::test]
    async fn what_is_done_is_read_a_part_at_a_time() {
        let site = Site::new();
        for n in 1..=7 {
            let mut arrival = push(n);
            arrival.head.study = study(n % 2);
            let (chosen, outcome) = match n {
                3 | 6 => (to_accepting("surrey"), accepted()),
                _ => (to("surrey"), verified()),
            };
            site.stored(Arrival { chosen: vec![chosen], ..arrival }).await;
            assert_eq!(site.send("surrey", outcome, noon()).await, 1);
        }
        for most in [1, 2, 100] {
            let mut left = DoneThere { most, ..DoneThere::new(&site.records, "surrey", noon()) };
            let mut met = Vec::new();
            loop {
                let studies = left.some_more().await.unwrap();
                if studies.is_empty() {
                    break;
                }
                assert!(studies.values().map(Vec::len).sum::<usize>() < 2 * most, "{most}");
                met.extend(
                    studies.into_iter().flat_map(|(study, all)| all.into_iter().map(move |one| (study.clone(), one))),
                );
            }
            let mut met: Vec<_> =
                met.into_iter().map(|(study, one)| (one.sop_instance_uid.to_string(), study)).collect();
            met.sort();
            let want: Vec<_> = (1..=7).map(|n| (format!("1.2.3.{n}"), study(n % 2))).collect();
            assert_eq!(met, want, "{most}");
            assert!(left.some_more().await.unwrap().is_empty());
        }
        let mut nobody = DoneThere::new(&site.records, "kent", noon());
        assert!(nobody.some_more().await.unwrap().is_empty());
    }
}
