//! Lanes against scripted carriers: slow start, one batch of a study at a time, a destination that never answers, and a batch
//! that dies (REL-22, REL-24).

use super::*;
use crate::courier::Courier;
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::transfer::State;
use crate::records::RecordsOptions;
use crate::records::tests::support::{self as arrivals, Site};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};
use tokio::sync::Semaphore;

/// A carrier that takes everything, as many at once as it is let.
struct Script {
    together: bool,
    /// What is let through; without a permit a batch waits for ever.
    gate: Semaphore,
    /// Turns everything away.
    busy: AtomicBool,
    /// A batch with this instance kills its worker.
    poison: Option<String>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    now: usize,
    most: usize,
    of_study: BTreeMap<String, usize>,
    most_of_study: usize,
    batches: Vec<Vec<String>>,
}

impl Script {
    fn new(together: bool, permits: usize) -> Self {
        let (gate, busy) = (Semaphore::new(permits), AtomicBool::new(false));
        Self { together, gate, busy, poison: None, seen: Mutex::default() }
    }

    fn open() -> Self {
        Self::new(false, 1_000_000)
    }

    fn enter(&self, batch: &Batch) {
        let mut seen = self.seen.lock().unwrap();
        seen.now += 1;
        seen.most = seen.most.max(seen.now);
        let of_study = seen.of_study.entry(batch.study.to_string()).or_default();
        *of_study += 1;
        seen.most_of_study = seen.most_of_study.max(seen.of_study[batch.study.as_str()]);
        seen.batches.push(batch.items.iter().map(|item| item.sop_instance.to_string()).collect());
    }

    fn leave(&self, batch: &Batch) {
        let mut seen = self.seen.lock().unwrap();
        seen.now -= 1;
        *seen.of_study.get_mut(batch.study.as_str()).unwrap() -= 1;
    }
}

impl Carrier for Script {
    async fn carry(&self, batch: &Batch) -> Report {
        self.enter(batch);
        let poisoned = batch.items.iter().any(|item| Some(item.sop_instance.as_str()) == self.poison.as_deref());
        if poisoned {
            self.leave(batch);
            panic!("by script");
        }
        self.gate.acquire().await.unwrap().forget();
        self.leave(batch);
        let outcome = match self.busy.load(Ordering::SeqCst) {
            true => Outcome::Deferred {
                why: "busy".into(),
                charge: Charge::Destination,
                after: Some(Duration::from_millis(1)),
            },
            false => Outcome::Verified { evidence: "by script".into() },
        };
        let outcomes = batch.items.iter().map(|item| (item.transfer, outcome.clone())).collect();
        Report { outcomes, ..Report::default() }
    }

    async fn check(&self, batch: &Batch) -> Report {
        let absent = Outcome::Absent { why: "by script".into() };
        Report {
            outcomes: batch.items.iter().map(|item| (item.transfer, absent.clone())).collect(),
            ..Report::default()
        }
    }

    fn together(&self) -> bool {
        self.together
    }
}

/// No route is in force, so that none of these transfers is doubted.
fn no_routes() -> tokio::sync::watch::Receiver<Arc<crate::router::Routes>> {
    tokio::sync::watch::channel(Arc::new(crate::router::Routes::new(Vec::new()))).1
}

fn options(parallel: usize, instances: usize) -> LaneOptions {
    LaneOptions {
        parallel,
        batch: LeaseLimits { instances, bytes: 1 << 30, together: false },
        check_instances: 100,
        idle: Duration::from_millis(200),
    }
}

fn lane(name: &str, script: &Arc<Script>, options: LaneOptions) -> LaneSpec<Script> {
    (Destination(name.into()), Arc::clone(script), options)
}

/// Instance `n` of one of these studies, owed to these.
async fn arrive(site: &Site, n: u32, study: u32, to: &[&str]) {
    let mut arrival = arrivals::push(n);
    arrival.head.study = arrivals::study(study);
    arrival.chosen = to.iter().map(|name| arrivals::to(name)).collect();
    arrival.received_at = SystemTime::now();
    site.stored(arrival).await;
}

/// Waits for a condition; the test's own limit ends it if it never comes.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    while !holds().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn verified(site: &Site, numbers: std::ops::RangeInclusive<u32>) -> usize {
    let mut count = 0;
    for n in numbers {
        count += site.states(n).await.iter().filter(|state| **state == State::Verified).count();
    }
    count
}

#[tokio::test]
async fn the_start_is_slow_and_a_study_goes_one_batch_at_a_time() {
    let site = Site::new();
    for n in 1..=60 {
        arrive(&site, n, n % 6, &["kent"]).await;
    }
    let script = Arc::new(Script::new(false, 0));
    let stop = CancellationToken::new();
    let courier = Courier::start(&site.records, no_routes(), vec![lane("kent", &script, options(4, 2))], &stop);
    let now = |script: &Script| script.seen.lock().unwrap().now;
    until(async || now(&script) == 1).await;
    for (done, width) in [(1, 2), (2, 3), (3, 4), (4, 4)] {
        // Each batch that is answered lets one more go, until there are four.
        script.gate.add_permits(1);
        until(async || script.seen.lock().unwrap().batches.len() == done + width).await;
        assert_eq!(now(&script), width, "after {done}");
    }
    script.busy.store(true, Ordering::SeqCst);
    script.gate.add_permits(4);
    until(async || now(&script) == 1).await;
    script.busy.store(false, Ordering::SeqCst);
    script.gate.add_permits(1000);
    until(async || verified(&site, 1..=60).await == 60).await;
    let most = || {
        let seen = script.seen.lock().unwrap();
        (seen.most, seen.most_of_study)
    };
    assert_eq!(most(), (4, 1));
    stop.cancel();
    courier.ended().await;
    site.verify().await;
}

#[tokio::test]
async fn another_weybridge_gets_several_batches_of_a_study_at_once() {
    let site = Site::new();
    for n in 1..=20 {
        arrive(&site, n, 1, &["kent"]).await;
    }
    let script = Arc::new(Script::new(true, 3));
    let stop = CancellationToken::new();
    let courier = Courier::start(&site.records, no_routes(), vec![lane("kent", &script, options(4, 2))], &stop);
    until(async || script.seen.lock().unwrap().now == 4).await;
    assert_eq!(script.seen.lock().unwrap().most_of_study, 4);
    script.gate.add_permits(1000);
    until(async || verified(&site, 1..=20).await == 20).await;
    stop.cancel();
    courier.ended().await;
}

#[tokio::test]
async fn a_batch_that_dies_is_asked_about_and_set_apart_and_the_rest_flows() {
    let site = Site::with(RecordsOptions { isolate_after: 2, hold_after: 4, ..RecordsOptions::default() });
    for n in 1..=9 {
        arrive(&site, n, 1, &["kent"]).await;
    }
    let poison = Some(arrivals::uid(5).to_string());
    let script = Arc::new(Script { poison, ..Script::open() });
    let stop = CancellationToken::new();
    let courier = Courier::start(&site.records, no_routes(), vec![lane("kent", &script, options(2, 100))], &stop);
    until(async || site.states(5).await == [State::Held] && verified(&site, 1..=9).await == 8).await;
    assert!(courier.in_flight().iter().all(|(_, count)| *count == 0));
    let alone = vec![arrivals::uid(5).to_string()];
    let batches = script.seen.lock().unwrap().batches.clone();
    assert!(batches.iter().filter(|batch| **batch == alone).count() >= 2, "it goes alone: {batches:?}");
    let exceptions = site.records.exceptions(true, crate::records::ExceptionId(0), 0).await.unwrap();
    assert_eq!((exceptions.len(), exceptions[0].kind.as_str()), (1, "poison"));
    stop.cancel();
    courier.ended().await;
    site.verify().await;
}

/// The longest that 99 of 100 instances took from arrival to done at the healthy destination, with these lanes beside it.
async fn slowest_of_the_healthy(beside: &[(&str, Arc<Script>)]) -> Duration {
    const COUNT: u32 = 300;
    let site = Site::new();
    let healthy = Arc::new(Script::open());
    let stop = CancellationToken::new();
    let mut lanes = vec![lane("healthy", &healthy, options(4, 10))];
    lanes.extend(beside.iter().map(|(name, script)| lane(name, script, options(4, 10))));
    let courier = Courier::start(&site.records, no_routes(), lanes, &stop);
    let to: Vec<&str> = std::iter::once("healthy").chain(beside.iter().map(|(name, _)| *name)).collect();
    let mut waits = Vec::new();
    for n in 1..=COUNT {
        let began = Instant::now();
        arrive(&site, n, n / 10, &to).await;
        let healthy =
            async || site.transfers(n).await.iter().any(|t| t.destination.0 == "healthy" && t.state == State::Verified);
        while !healthy().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        waits.push(began.elapsed());
    }
    stop.cancel();
    for (_, script) in beside {
        script.gate.add_permits(10_000);
    }
    courier.ended().await;
    waits.sort();
    waits[waits.len() * 99 / 100 - 1]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_and_a_slow_destination_delay_no_healthy_one() {
    let alone = slowest_of_the_healthy(&[]).await;
    let dead = ("dead", Arc::new(Script::new(false, 0)));
    let busy = ("busy", Arc::new(Script::open()));
    busy.1.busy.store(true, Ordering::SeqCst);
    let crowded = slowest_of_the_healthy(&[dead, busy]).await;
    // Three transfers an instance instead of one are three times the commits; no wait of a lane for another is in it.
    assert!(crowded < alone * 4 + Duration::from_millis(250), "{crowded:?} against {alone:?}");
}

#[tokio::test]
async fn what_comes_while_a_batch_is_on_its_way_is_gathered_for_a_moment() {
    let site = Site::new();
    let script = Arc::new(Script::new(true, 3));
    let stop = CancellationToken::new();
    let courier = Courier::start(&site.records, no_routes(), vec![lane("kent", &script, options(4, 100))], &stop);
    let begun = async |count: usize| script.seen.lock().unwrap().batches.len() == count;
    // Three batches that were answered let four go at once.
    for n in 1..=3 {
        arrive(&site, n, 1, &["kent"]).await;
        until(async || verified(&site, 1..=n).await == n as usize).await;
    }
    // The fourth batch begins after this moment, and does not end before it is let through.
    let before = Instant::now();
    arrive(&site, 4, 1, &["kent"]).await;
    until(async || begun(4).await).await;
    for n in 5..=8 {
        arrive(&site, n, 1, &["kent"]).await;
    }
    let arrived = before.elapsed();
    until(async || begun(5).await).await;
    let gathered = script.seen.lock().unwrap().batches[4].len();
    assert!(gathered == 4 || arrived >= Duration::from_millis(50), "{gathered} of 4 that came within {arrived:?}");
    script.gate.add_permits(1000);
    until(async || verified(&site, 1..=8).await == 8).await;
    stop.cancel();
    courier.ended().await;
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_one_by_one_is_not_sent_one_by_one() {
    let site = Site::new();
    let script = Arc::new(Script::new(true, 1_000_000));
    let stop = CancellationToken::new();
    let courier = Courier::start(&site.records, no_routes(), vec![lane("kent", &script, options(8, 1000))], &stop);
    let began = Instant::now();
    for n in 1..=300 {
        arrive(&site, n, 1, &["kent"]).await;
    }
    until(async || verified(&site, 1..=300).await == 300).await;
    let (batches, took) = (script.seen.lock().unwrap().batches.len(), began.elapsed());
    // A batch that took all that was due is not followed at once by one of what came while it was leased.
    assert!(batches as u128 <= took.as_millis() / 20 + 2, "{batches} batches within {took:?}");
    stop.cancel();
    courier.ended().await;
    site.verify().await;
}

#[tokio::test]
async fn while_routes_are_replaced_nothing_is_leased() {
    let site = Site::new();
    let (old, new) = (Arc::new(Script::open()), Arc::new(Script::open()));
    let stop = CancellationToken::new();
    let courier = Courier::start(&site.records, no_routes(), vec![lane("kent", &old, options(4, 100))], &stop);
    courier.pause();
    // Each of so many commits kicks the lane, which would have leased the first long before the last.
    for n in 1..=30 {
        arrive(&site, n, 1, &["kent"]).await;
    }
    courier.replace(vec![lane("kent", &new, options(4, 100))]);
    until(async || verified(&site, 1..=30).await == 30).await;
    assert_eq!(old.seen.lock().unwrap().batches.len(), 0, "leased while the routes were replaced");
    courier.pause();
    arrive(&site, 31, 1, &["kent"]).await;
    courier.go_on();
    until(async || verified(&site, 31..=31).await == 1).await;
    stop.cancel();
    courier.ended().await;
}
