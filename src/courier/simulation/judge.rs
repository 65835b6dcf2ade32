//! What must hold of a story, whatever happened in it.

use super::destination::World;
use super::story::Acknowledged;
use crate::ledger::transfer::{Cause, State, TransferId};
use crate::peers::Verify;
use crate::records::{ExceptionId, ExceptionView, InstanceView, Records, TransferView};
use std::collections::BTreeSet;
use std::sync::Mutex;

/// At any moment the ledger is sound.
pub(crate) fn at_any_time(records: &Records, world: &Mutex<World>) {
    let report = records.verify_inline();
    if !report.is_sound() {
        world.lock().unwrap().wrong.push(format!("the ledger is not sound: {:?}", report.problems));
    }
}

/// When all has settled: nothing acknowledged is lost, nothing is verified that the destination does not have, every transfer has
/// its end, and who gave up had a reason (INV-01, INV-02, INV-04, REL-10, REL-21, REL-34). How many transfers there are.
pub(crate) async fn in_the_end(
    records: &Records,
    world: &Mutex<World>,
    acknowledged: &[Acknowledged],
    settled: bool,
) -> usize {
    at_any_time(records, world);
    let now = world.lock().unwrap().now;
    let exceptions = records.exceptions(true, ExceptionId(0), 0).await.unwrap();
    let mut wrong = Vec::new();
    // What was recorded and not acknowledged, because the process died, is owed all the same.
    let all = records.transfers(Default::default(), None, TransferId(0), now).await.unwrap();
    let told = acknowledged.iter().map(|told| told.instance.clone());
    let names: BTreeSet<_> = told.chain(all.iter().map(|transfer| transfer.sop_instance_uid.clone())).collect();
    for name in names {
        let versions = records.instance(&name, now).await.unwrap();
        for told in acknowledged.iter().filter(|told| told.instance == name) {
            wrong.extend(lost(told, &versions));
        }
        for version in &versions {
            for transfer in &version.transfers {
                let world = world.lock().unwrap();
                if let Some(why) = ended(transfer, version, &exceptions, &world) {
                    wrong.push(format!("{} to {} is {}: {why}", name, transfer.destination, transfer.state));
                }
            }
        }
    }
    if !settled {
        wrong.push("something goes on for ever".to_owned());
    }
    world.lock().unwrap().wrong.extend(wrong);
    all.len()
}

fn lost(told: &Acknowledged, versions: &[InstanceView]) -> Option<String> {
    let Some(version) = versions.iter().find(|version| version.sha256 == told.digest) else {
        return Some(format!("{} was acknowledged and is lost", told.instance));
    };
    let missing = told.chosen.iter().find(|name| {
        let by_route = |transfer: &&TransferView| transfer.cause == Cause::Route && transfer.destination.0 == **name;
        version.transfers.iter().filter(by_route).count() != 1
    });
    missing.map(|name| format!("{} is not owed once to {name}", told.instance))
}

/// What is wrong with the end of a transfer.
fn ended(
    transfer: &TransferView,
    version: &InstanceView,
    exceptions: &[ExceptionView],
    world: &World,
) -> Option<&'static str> {
    let far = &world.far[&transfer.destination.0];
    let has = far.held.get(&version.sop_instance_uid).is_some_and(|(digest, _)| *digest == version.sha256);
    let of_it = |kind: &str| {
        exceptions.iter().any(|exception| {
            let about = exception.transfer.is_none_or(|about| about == transfer.transfer);
            let same = exception.sop_instance_uid == version.sop_instance_uid && exception.version == version.version;
            about && same && exception.kind == kind
        })
    };
    match transfer.state {
        State::Verified | State::Accepted if !has => Some("the destination does not have it"),
        State::Verified | State::Accepted if transfer.evidence.is_none() => Some("there is no evidence"),
        State::Accepted if transfer.verify != Verify::Accepted => Some("policy asks for more"),
        State::Verified | State::Accepted | State::Cancelled => None,
        State::Dead if !of_it("dead") => Some("nobody is told"),
        State::Dead if !far.grounds.contains(&version.sop_instance_uid) => Some("it has done nothing to be given up"),
        State::Dead => None,
        State::Held if ["conflict", "corrupt", "held", "poison"].into_iter().any(of_it) => None,
        State::Held => Some("nobody is told"),
        _ => Some("it has no end"),
    }
}
