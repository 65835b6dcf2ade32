//! One life of the gateway: how it starts on what an earlier one left, as the real one does, and what it consists of.

use super::beside::Beside;
use super::contents;
use super::plan::{FAR, HOUR, MINUTE};
use crate::app::kinship;
use crate::clock::Clock;
use crate::courier::simulation::destination::{Network, World};
use crate::courier::simulation::sending::{self, Sending};
use crate::courier::{Courier, LaneOptions, LaneSpec};
use crate::dicom::ae_title::AeTitle;
use crate::intake::{Intake, IntakeOptions};
use crate::janitor::{Janitor, JanitorOptions};
use crate::judge::Judge;
use crate::ledger::backoff::Backoff;
use crate::ledger::breaker::Probing;
use crate::ledger::step::Patience;
use crate::peers::{Destination, Priority};
use crate::records::{LeaseLimits, Records, RecordsOptions, Recovered};
use crate::router::{Route, Routes, Target};
use crate::store::{Digest, Place, Standing, Store, StoreOptions, simulated};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// So long bytes are kept at most after all is done.
pub(super) const KEEP: Duration = Duration::from_secs(2 * 3600);
/// Between two rounds of the janitor.
pub(super) const EVERY: Duration = Duration::from_secs(1200);
pub(super) const SCRUB: Duration = Duration::from_secs(3 * 3600);

/// A gateway that runs.
pub(super) struct Life {
    pub(super) records: Records,
    pub(super) store: Store,
    pub(super) intake: Intake,
    _courier: Courier,
}

/// Waits are exact, as in the model: no jitter. A destination that is out for a second is left alone for a while.
pub(super) fn records_options(hold_after: u32) -> RecordsOptions {
    let none = Backoff { first: Duration::ZERO, cap: Duration::ZERO };
    let (steady_after, steady) = (Duration::from_secs(1), 5 * MINUTE);
    RecordsOptions {
        patience: Patience { backoff: none, give_up: HOUR, longest_wait: HOUR, late_looks: 2, refusals: 2 },
        probing: Probing { backoff: none, steady_after, steady, ..Probing::default() },
        isolate_after: 2,
        hold_after,
        ..RecordsOptions::default()
    }
}

fn store_options(dir: &Path) -> StoreOptions {
    StoreOptions {
        reserve_bytes: Some(0),
        segment_bytes: 0,
        small_object_bytes: 32 << 10,
        buffer_budget_bytes: 4 << 20,
        chunk_bytes: 64 << 10,
        direct: false,
        ..StoreOptions::at(dir)
    }
}

/// Routes that choose any of the destinations, by the title that is called.
pub(super) fn routes() -> Routes {
    let route = |mask: usize| Route {
        name: format!("to {mask}"),
        called: vec![title(mask)],
        from: Vec::new(),
        when: Vec::new(),
        to: FAR
            .into_iter()
            .enumerate()
            .filter(|(at, _)| mask & (1 << at) != 0)
            .map(|(_, (name, verify, _))| Target { destination: Destination(name.into()), verify })
            .collect(),
        mandatory: true,
        priority: Priority::Routine,
    };
    Routes::new((0..8).map(route).collect())
}

pub(super) fn title(mask: usize) -> AeTitle {
    AeTitle::parse(&format!("TO{mask}")).unwrap()
}

/// Opens the blobs beside records that are open, as [`crate::app::App::open`] does; no blob that a row names may be missing.
pub(super) async fn open(dir: &Path, records: &Records, epoch: i64) -> Result<(Store, Vec<Place>), String> {
    let live = records.all_places().await.unwrap();
    let standing = kinship::standing(dir, records, &Recovered { epoch, ..Recovered::default() }).await.unwrap();
    let opened = Store::open_for(store_options(dir), standing, live).map_err(|error| error.to_string());
    match opened? {
        (_, freed) if standing.0 == Standing::Foreign || freed.doubted => {
            Err(format!("the records are doubted: {freed:?}"))
        }
        (_, freed) if freed.missing + freed.damaged > 0 => Err(format!("blobs are lost: {freed:?}")),
        (store, freed) => Ok((store, freed.lost)),
    }
}

/// Starts all that works by itself. With `implicit`, the node takes nothing but Implicit VR Little Endian.
pub(super) fn start(
    (records, store, lost): (Records, Store, Vec<Place>),
    (wall, real): (Clock, Clock),
    last_known: Option<SystemTime>,
    (world, beside): (&Arc<Mutex<World>>, &Arc<Mutex<Beside>>),
    implicit: bool,
) -> Life {
    let routes = watch::channel(Arc::new(routes())).1;
    let options = IntakeOptions { instance_bytes: 1 << 20, scanner: Default::default(), resend_after: DAY };
    let intake = Intake::with_clock(wall.clone(), (store.clone(), records.clone()), routes.clone(), options);
    let judge = Judge::new(records.clone(), store.clone(), watch::Sender::default().subscribe(), DAY);
    let options = JanitorOptions {
        purge: true,
        keep_at_least: KEEP / 2,
        keep_at_most: KEEP,
        keep_copies: DAY,
        room_bytes: Some(0),
        every: EVERY,
        scrub_every: SCRUB,
        scrub_bytes: 1 << 40,
        // Each story ends with a verification of its own.
        verify_every: None,
        last_known,
    };
    let janitor = Janitor::with_clock(wall.clone(), records.clone(), store.clone(), judge, options);
    tokio::spawn(janitor.run(lost, CancellationToken::new()));
    let look: Arc<dyn Fn(&str) + Send + Sync> = {
        let (records, beside, wall) = (records.clone(), Arc::clone(beside), wall.clone());
        Arc::new(move |what| {
            if !simulated::is_dead() {
                beside.lock().unwrap().compare(&records, wall.now(), what);
            }
        })
    };
    let lane = |(name, verify, together): (&str, _, bool)| -> LaneSpec<Sending> {
        let options = LaneOptions {
            parallel: 3,
            batch: LeaseLimits { instances: 4, bytes: 1 << 30, together: false },
            check_instances: 6,
            // So long that work of which a lane is not told is never found.
            idle: 1000 * HOUR,
        };
        let now = Box::new({
            let real = real.clone();
            move || real.now()
        });
        let network = Network { name: name.to_owned(), world: Arc::clone(world), now, together };
        let re_encoded = implicit.then_some(contents::implicit as fn(&Digest) -> Option<Digest>);
        let sending = Sending::new(network, (store.clone(), records.clone()), (verify, re_encoded), Arc::clone(&look));
        (Destination(name.to_owned()), Arc::new(sending), options)
    };
    let courier = sending::courier(&records, wall, routes, FAR.into_iter().map(lane).collect());
    Life { records, store, intake, _courier: courier }
}
