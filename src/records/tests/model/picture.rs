//! What can be seen of the records, and of the model, in the same words.

use super::reference::{self, Model, Time};
use super::{UIDS, micros};
use crate::ledger::breaker::Reach;
use crate::ledger::transfer::State;
use crate::records::tests::paging::pages_fit;
use crate::records::tests::support::uid;
use crate::records::*;
use crate::store::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// What can be seen of the records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// By number: UID, version, state, arrivals, whether unrouted, digest.
    pub(crate) versions: BTreeMap<usize, (u32, u32, String, u64, bool, Digest)>,
    /// By number: version, destination, state, times sent, whether there is evidence.
    pub(crate) transfers: BTreeMap<usize, (usize, String, State, u32, bool)>,
    /// Kind, UID, version, transfer.
    pub(crate) exceptions: BTreeSet<(String, u32, u32, Option<usize>)>,
    /// Reach, failures, when it may be tried, whether paused, whether there is a class that it does not take.
    pub(crate) far: BTreeMap<String, (Reach, u32, Option<Time>, bool, bool)>,
    /// Live and damaged generations, and those that are to be freed.
    blobs: (u64, u64, u64),
}

pub(crate) async fn picture(records: &Records, now: SystemTime) -> Picture {
    let mut picture = Picture::default();
    let mut numbers = BTreeMap::new();
    for n in 1..=UIDS {
        for v in records.instance(&uid(n), now).await.unwrap() {
            let id = v.instance.0 as usize - 1;
            numbers.insert(uid(n), n);
            for t in v.transfers {
                let told = (id, t.destination.0, t.state, t.attempts, t.evidence.is_some());
                picture.transfers.insert(t.transfer.0 as usize - 1, told);
            }
            picture.versions.insert(id, (n, v.version, v.state, v.arrivals, v.unrouted, v.sha256));
        }
    }
    for e in records.exceptions(true, ExceptionId(0), 0).await.unwrap() {
        let transfer = e.transfer.map(|transfer| transfer.0 as usize - 1);
        picture.exceptions.insert((e.kind, numbers[&e.sop_instance_uid], e.version, transfer));
    }
    for d in records.destinations().await.unwrap() {
        let far = (d.reach, d.failures, d.not_before.map(micros), d.paused.is_some(), !d.unsupported.is_empty());
        picture.far.insert(d.destination.0, far);
    }
    let counts = records.blob_counts().await.unwrap();
    picture.blobs = (counts.live, counts.corrupt, counts.condemned);
    // Whatever was counted before what has just happened.
    pages_fit(records).await;
    picture
}

pub(crate) fn picture_of(model: &Model, digest: impl Fn(u32) -> Digest) -> Picture {
    let version = |v: &reference::Version| (v.uid, v.number, v.state.into(), v.arrivals, v.unrouted, digest(v.content));
    let transfer = |t: &reference::Transfer| (t.version, t.to.clone(), t.state, t.attempts, t.evidence);
    let exception = |(kind, about, transfer): &reference::Exception| {
        let v = &model.versions[*about];
        ((*kind).to_owned(), v.uid, v.number, *transfer)
    };
    let far = |(name, far): (&String, &reference::Far)| {
        (name.clone(), (far.reach, far.failures, far.not_before, far.paused, far.choosy.is_some()))
    };
    let blobs = |wanted| model.blobs.iter().filter(|(_, bytes)| *bytes == wanted).count() as u64;
    Picture {
        versions: model.versions.iter().map(version).enumerate().collect(),
        transfers: model.transfers.iter().map(transfer).enumerate().collect(),
        exceptions: model.exceptions.iter().map(exception).collect(),
        far: model.far.iter().map(far).collect(),
        blobs: (blobs(reference::Bytes::Live), blobs(reference::Bytes::Corrupt), blobs(reference::Bytes::Condemned)),
    }
}

/// Every state and kind of exception that a picture shows.
pub(super) fn words(picture: Picture) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    seen.extend(picture.transfers.values().map(|transfer| transfer.2.word().to_owned()));
    seen.extend(picture.versions.values().map(|version| format!("instance {}", version.2)));
    seen.extend(picture.exceptions.into_iter().map(|exception| format!("exception {}", exception.0)));
    seen.extend(picture.far.values().map(|far| format!("destination {}", far.0.word())));
    seen
}

/// What random histories are to come to, and did not.
pub(super) fn never_seen(seen: &BTreeSet<String>) -> Vec<String> {
    let states = State::ALL.map(|state| state.word().to_owned());
    let versions = ["stored", "held", "purged", "corrupt"].map(|state| format!("instance {state}"));
    let kinds = ["conflict", "corrupt", "dead", "held", "poison"].map(|kind| format!("exception {kind}"));
    states.into_iter().chain(versions).chain(kinds).filter(|word| !seen.contains(word)).collect()
}
