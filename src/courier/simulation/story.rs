//! One story: what is to happen when, and the lives of the process in which it happens.

use super::Told;
use super::chance::Chance;
use super::destination::{Network, Weather, World};
use super::judge;
use crate::clock::Clock;
use crate::courier::{Courier, LaneOptions, LaneSpec};
use crate::dicom::uid::InstanceUid;
use crate::ledger::breaker::Probing;
use crate::ledger::step::Patience;
use crate::ledger::transfer::TransferId;
use crate::peers::{Chosen, Destination, Priority, Registry, Verify, Withhold};
use crate::records::tests::support::{self as arrivals, Disk, seed_chance};
use crate::records::{
    Arrival, BlobRef, InstanceId, LeaseLimits, Order, PurgeRule, Purging, Records, RecordsOptions, Recovered,
    Selection, Verb,
};
use crate::router::Routes;
use crate::store::Digest;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The destinations, what they must show, and whether they take several batches of a study at once.
const FAR: [(&str, Verify, bool); 3] =
    [("surrey", Verify::Present, false), ("kent", Verify::Present, true), ("ARCHIVE", Verify::Accepted, false)];

/// What happens.
#[derive(Debug, Clone)]
enum Event {
    /// These arrive at once.
    Arrive(Vec<Coming>),
    Weather(&'static str, Weather),
    /// A person does this to a transfer.
    Act(Verb, i64),
    Pause(&'static str, bool),
    /// A rule withholds everything from a destination from now on, or none does any more.
    Withhold(&'static str, bool),
    /// A person orders a study to be sent.
    Order(u32, &'static str, bool),
    /// The bytes of an instance are found damaged.
    Damage(i64),
    /// What has been done for an hour is purged.
    Purge,
    /// The wall clock jumps.
    Jump(i64),
    /// The process dies after so many more notes of the story and so many steps of its tasks, and is down for a while.
    Die {
        notes: u32,
        steps: u32,
        down: Duration,
    },
    /// Faults end, and people let everything go on.
    Calm,
}

/// An instance that arrives.
#[derive(Debug, Clone)]
struct Coming {
    n: u32,
    study: u32,
    content: u32,
    chosen: u64,
    urgent: bool,
}

/// What was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) instance: InstanceUid,
    pub(crate) digest: Digest,
    pub(crate) chosen: Vec<String>,
}

/// The story, as far as it is told.
pub(super) struct Story {
    plan: VecDeque<(Duration, Event)>,
    world: Arc<Mutex<World>>,
    /// The rules of the site as they are in force.
    rules: watch::Sender<Arc<Registry>>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    /// Until when it has been told, by a clock that never jumps.
    lived: Duration,
    jumped: Arc<AtomicI64>,
    deaths: usize,
    transfers: usize,
    /// Entries that something was withheld.
    withheld: usize,
    files: u64,
}

fn beginning() -> SystemTime {
    arrivals::noon()
}

impl Story {
    pub(super) fn new(chance: &mut Chance, world: Arc<Mutex<World>>, withholds: bool) -> Self {
        for (name, verify, _) in FAR {
            world.lock().unwrap().add(name, verify);
        }
        let in_force = rules(&world.lock().unwrap());
        Self {
            plan: plan(chance, withholds),
            rules: watch::channel(Arc::new(in_force)).0,
            world,
            acknowledged: Arc::default(),
            lived: Duration::ZERO,
            jumped: Arc::default(),
            deaths: 0,
            transfers: 0,
            withheld: 0,
            files: 0,
        }
    }

    /// Tells it to its end.
    pub(super) fn tell(mut self, seed: u64) -> Told {
        seed_chance(seed);
        let mut disk = Some(Disk::new());
        while let Some(left) = disk {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let runtime = runtime.unwrap();
            disk = runtime.block_on(self.live(left));
            // Whatever still ran has died with it.
            drop(runtime);
        }
        let mut world = self.world.lock().unwrap();
        Told {
            trace: std::mem::take(&mut world.trace),
            wrong: std::mem::take(&mut world.wrong),
            transfers: self.transfers,
            deaths: self.deaths,
            faults: world.faults,
            doubted: world.doubted,
            withheld: self.withheld,
            lasted: self.lived,
        }
    }

    /// One life of the process; what it left, or nothing if the story is over.
    async fn live(&mut self, disk: Disk) -> Option<Disk> {
        let (began, lived, jumped) = (Instant::now(), self.lived, Arc::clone(&self.jumped));
        let real = move || beginning() + lived + began.elapsed();
        let wall = move || moved(real(), jumped.load(Ordering::Relaxed));
        let (records, recovered) = Records::inline(disk, options(), wall());
        records.govern(self.rules.subscribe());
        // What was withheld last is entered by the clock of the machine.
        let recovered = Recovered { last_known: None, ..recovered };
        self.note(real(), &format!("starts: {recovered:?}"));
        let clock = Clock::of(wall.clone());
        // No change of the configuration: what routes chose goes.
        let routes = watch::channel(Arc::new(Routes::new(Vec::new()))).1;
        let courier = Courier::idle(&records, clock, routes, &CancellationToken::new());
        courier.replace(lanes(&self.world, real));
        while let Some((at, event)) = self.plan.pop_front() {
            tokio::time::sleep_until(began + at.saturating_sub(lived)).await;
            self.note(real(), &format!("{event:?}"));
            match event {
                Event::Die { notes, steps, down } => {
                    self.until_notes(notes).await;
                    for _ in 0..steps {
                        tokio::task::yield_now().await;
                    }
                    judge::at_any_time(&records, &self.world);
                    self.lived = lived + began.elapsed() + down;
                    self.deaths += 1;
                    return Some(records.die());
                }
                Event::Calm => self.calm(&records, wall()).await,
                other => self.happen(&records, other, wall()).await,
            }
        }
        let settled = self.settle(&records, wall).await;
        self.lived = lived + began.elapsed();
        self.note(real(), if settled { "all is settled" } else { "not all is settled" });
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        let entries = records.ledger_page(0).await.unwrap();
        self.withheld = entries.iter().filter(|entry| entry.kind == "withheld").count();
        self.transfers = judge::in_the_end(&records, &self.world, &acknowledged, settled).await;
        None
    }

    fn note(&self, now: SystemTime, line: &str) {
        self.world.lock().unwrap().note(now, line);
    }

    /// Waits until the world has seen so much more, at most ten minutes.
    async fn until_notes(&self, notes: u32) {
        let enough = self.world.lock().unwrap().wake_after(notes);
        // Nothing may be going on.
        let _ = tokio::time::timeout(10 * MINUTE, enough.notified()).await;
    }

    async fn happen(&mut self, records: &Records, event: Event, now: SystemTime) {
        match event {
            Event::Arrive(coming) => coming.into_iter().for_each(|one| self.arrive(records, &one, now)),
            Event::Weather(name, weather) => self.world.lock().unwrap().far.get_mut(name).unwrap().weather = weather,
            Event::Act(verb, transfer) => {
                let selection = Selection::Transfers(vec![TransferId(transfer)]);
                records.act(verb, selection, "jo", "by chance", now).await.unwrap();
            }
            Event::Pause(name, paused) => {
                records.pause(&Destination(name.into()), paused, "jo", "by chance", now).await.unwrap();
            }
            Event::Withhold(name, withheld) => self.withhold(name, withheld),
            Event::Order(study, name, again) => {
                records.order(order(study, name, again, now)).await.unwrap();
            }
            // There may be no such instance.
            Event::Damage(instance) => drop(records.corrupt_here(InstanceId(instance), "bits", now).await),
            Event::Purge => {
                let before = now.checked_sub(HOUR).unwrap();
                let (found, _) = records.purgeable(before, None, 0).await.unwrap();
                let instances = found.iter().map(|candidate| candidate.instance).collect();
                let gone = records.condemn(instances, Purging::by_rule(PurgeRule::Age, before), now).await.unwrap();
                records.freed(gone.blobs.into_iter().map(|(blob, _)| blob).collect()).await.unwrap();
            }
            Event::Jump(seconds) => drop(self.jumped.fetch_add(seconds, Ordering::Relaxed)),
            Event::Die { .. } | Event::Calm => {}
        }
    }

    fn withhold(&self, name: &str, withheld: bool) {
        let mut world = self.world.lock().unwrap();
        let now = world.now;
        let far = world.far.get_mut(name).unwrap();
        far.withheld = if withheld { far.withheld.or(Some(now)) } else { None };
        self.rules.send_replace(Arc::new(rules(&world)));
    }

    /// An arrival in a task of its own. It is acknowledged when its commit has returned, and not before.
    fn arrive(&mut self, records: &Records, coming: &Coming, now: SystemTime) {
        self.files += 1;
        let mut arrival = arrivals::push(coming.n);
        let names: Vec<&str> = FAR.iter().map(|(name, ..)| *name).collect();
        let chosen = |(at, name): (usize, &&str)| (coming.chosen & (1 << at) != 0).then(|| chosen(name, coming.urgent));
        arrival.chosen = names.iter().enumerate().filter_map(chosen).collect();
        arrival.head.study = arrivals::study(coming.study);
        arrival.digest = arrivals::digest(coming.content);
        arrival.blob = BlobRef::New(arrivals::new_place(self.files));
        arrival.received_at = now;
        arrival.origin = arrivals::node("CT1");
        let (records, acknowledged, world) = (records.clone(), self.acknowledged.clone(), self.world.clone());
        tokio::spawn(async move {
            let told = told(&arrival);
            if let Ok(recorded) = records.record(arrival).await {
                let mut world = world.lock().unwrap();
                let now = world.now;
                world.note(now, &format!("{} acknowledged: {:?}", told.instance, recorded.kept));
                acknowledged.lock().unwrap().push(told);
            }
        });
    }

    /// Waits until nothing goes on by itself any more; whether that came within ten days. Once an hour somebody looks in.
    async fn settle(&self, records: &Records, now: impl Fn() -> SystemTime) -> bool {
        for _ in 0..240 {
            self.resume(records, now()).await;
            if records.destinations_with_work().await.unwrap().is_empty() {
                return true;
            }
            tokio::time::sleep(HOUR).await;
        }
        false
    }

    /// Somebody lets all go on that waits for a destination to be put right.
    async fn resume(&self, records: &Records, now: SystemTime) {
        for (name, ..) in FAR {
            records.pause(&Destination(name.into()), false, "jo", "", now).await.unwrap();
        }
    }

    /// No faults any more; what people held and paused goes on.
    async fn calm(&self, records: &Records, now: SystemTime) {
        self.resume(records, now).await;
        for (name, ..) in FAR {
            self.withhold(name, false);
            self.world.lock().unwrap().far.get_mut(name).unwrap().weather = Weather::Calm;
            let held = Selection::Matching { study: None, destination: Some(Destination(name.into())), state: None };
            records.act(Verb::Release, held, "jo", "", now).await.unwrap();
        }
    }
}

fn told(arrival: &Arrival) -> Acknowledged {
    let chosen = arrival.chosen.iter().map(|chosen| chosen.destination.0.clone()).collect();
    Acknowledged { instance: arrival.head.sop_instance.clone(), digest: arrival.digest, chosen }
}

fn moved(at: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { at - by } else { at + by }
}

/// The rules of the site: nothing goes to those from which all is withheld.
fn rules(world: &World) -> Registry {
    let rule = |name: &String| Withhold {
        name: format!("not to {name}"),
        from: Vec::new(),
        to: vec![Destination(name.clone())],
        when: Vec::new(),
        patients: None,
    };
    let withheld = world.far.iter().filter(|(_, far)| far.withheld.is_some());
    let rules = withheld.map(|(name, _)| rule(name)).collect();
    Registry::new(std::iter::empty(), Vec::new(), Vec::new()).withholding(rules)
}

fn options() -> RecordsOptions {
    let patience = Patience { give_up: 3 * HOUR, ..Patience::default() };
    // Fewer probes of a long outage than by default, for the sake of speed.
    let probing = Probing { steady: 20 * MINUTE, ..Probing::default() };
    RecordsOptions { patience, probing, isolate_after: 2, hold_after: 4, ..RecordsOptions::default() }
}

fn lanes(
    world: &Arc<Mutex<World>>,
    now: impl Fn() -> SystemTime + Clone + Send + Sync + 'static,
) -> Vec<LaneSpec<Network>> {
    let lane = |(name, _, together): (&str, Verify, bool)| {
        let options = LaneOptions {
            parallel: 3,
            batch: LeaseLimits { instances: 4, bytes: 1 << 20, together: false },
            check_instances: 6,
            // So long that work of which a lane is not told is never found.
            idle: 1000 * HOUR,
        };
        let (name, world, now) = (name.to_owned(), Arc::clone(world), Box::new(now.clone()));
        (Destination(name.clone()), Arc::new(Network { name, world, now, together }), options)
    };
    FAR.into_iter().map(lane).collect()
}

fn chosen(name: &str, urgent: bool) -> Chosen {
    let verify = FAR.iter().find(|far| far.0 == name).unwrap().1;
    let priority = if urgent { Priority::Urgent } else { Priority::Routine };
    Chosen { verify, priority, ..arrivals::to(name) }
}

fn order(study: u32, name: &str, again: bool, now: SystemTime) -> Order {
    let Chosen { destination, verify, priority, .. } = chosen(name, false);
    let (study, from, reason) = (arrivals::study(study), None, String::new());
    let (who, resend_after) = ("jo".to_owned(), 24 * HOUR);
    Order { study, from, destination, verify, priority, who, reason, again, resend_after, now }
}

/// Everything that is to happen, in order.
fn plan(chance: &mut Chance, withholds: bool) -> VecDeque<(Duration, Event)> {
    let span = chance.pick(&[20 * MINUTE, 4 * HOUR, 30 * HOUR]);
    let mut events: Vec<(Duration, Event)> = Vec::new();
    let instances = 4 + chance.below(10) as u32;
    for _ in 0..3 + chance.below(6) {
        let many = 1 + chance.below(4);
        events.push((chance.time(span), Event::Arrive((0..many).map(|_| coming(chance, instances)).collect())));
    }
    for (name, ..) in FAR {
        match chance.below(5) {
            // Out for the whole story.
            0 => events.push((Duration::ZERO, Event::Weather(name, Weather::Down))),
            1 => {}
            changes => {
                let weathers =
                    [Weather::Clear, Weather::Stormy, Weather::Busy, Weather::Down, Weather::Mute, Weather::Forbidden];
                for _ in 0..changes * 2 {
                    events.push((chance.time(span), Event::Weather(name, chance.pick(&weathers))));
                }
            }
        }
    }
    for _ in 0..chance.below(4) {
        let (notes, steps) = (chance.below(12) as u32, chance.below(14) as u32);
        let longest = if chance.percent(50) { MINUTE } else { 8 * HOUR };
        let down = chance.time(longest);
        events.push((chance.time(span), Event::Die { notes, steps, down }));
    }
    for _ in 0..chance.below(6) {
        events.push((chance.time(span), of_a_person(chance)));
    }
    if chance.percent(20) {
        let seconds = chance.below(6 * 86_400) as i64 - 3 * 86_400;
        events.push((chance.time(span), Event::Jump(seconds)));
    }
    let changes = if withholds { 1 + chance.below(6) } else { 0 };
    for _ in 0..changes {
        let (name, ..) = chance.pick(&FAR);
        events.push((chance.time(span), Event::Withhold(name, chance.percent(60))));
    }
    events.push((span, Event::Calm));
    events.sort_by_key(|(at, _)| *at);
    events.into()
}

fn coming(chance: &mut Chance, instances: u32) -> Coming {
    let n = 1 + chance.below(u64::from(instances)) as u32;
    let content = if chance.percent(4) { 1000 + n } else { n };
    let chosen = if chance.percent(60) { 7 } else { chance.below(8) };
    Coming { n, study: 1 + n % 3, content, chosen, urgent: chance.percent(10) }
}

fn of_a_person(chance: &mut Chance) -> Event {
    let (name, _, _) = chance.pick(&FAR);
    match chance.below(10) {
        0 => Event::Pause(name, true),
        1 => Event::Pause(name, false),
        2 => Event::Order(1 + chance.below(3) as u32, name, chance.percent(50)),
        3 => Event::Damage(1 + chance.below(10) as i64),
        4 => Event::Purge,
        _ => Event::Act(chance.pick(&Verb::ALL), 1 + chance.below(30) as i64),
    }
}
