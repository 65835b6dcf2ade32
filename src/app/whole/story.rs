//! One history: what happens when, and the lives of the gateway in which it happens.

use super::Told;
use super::beside::{Beside, here};
use super::plan::{Coming, End, Event, FAR, FROM, HOUR, MINUTE, is_by_hand, plan};
use super::{bytes, contents, life, private};
use crate::clock::Clock;
use crate::courier::simulation::chance::Chance;
use crate::courier::simulation::destination::{Weather, World};
use crate::courier::simulation::judge;
use crate::courier::simulation::story::Acknowledged;
use crate::dicom::ae_title::AeTitle;
use crate::intake::{Claimed, Intake, Receipt, Refusal, Source};
use crate::ledger::transfer::TransferId;
use crate::peers::{Destination, Origin, Priority, Verify};
use crate::records::tests::model::micros;
use crate::records::tests::support::{self as arrivals, Disk, drain, seed_chance};
use crate::records::{Records, RecordsOptions, Requested, Selection, SourceFacts, Verb};
use crate::store::simulated::{self, Death};
use life::Life;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a life leaves to the next one: the records as they were committed, the blobs as they lie on the disk.
struct Left {
    records: Disk,
    blobs: TempDir,
}

/// What is left of a process that is about to die, as far as it is there.
#[derive(Default)]
struct Estate {
    records: Option<Disk>,
    blobs: Option<TempDir>,
}

/// The history, as far as it is told.
pub(super) struct Story {
    chance: Chance,
    plan: VecDeque<(Duration, Event)>,
    world: Arc<Mutex<World>>,
    beside: Arc<Mutex<Beside>>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    options: RecordsOptions,
    estate: Arc<Mutex<Estate>>,
    died: Arc<Notify>,
    /// How the next death comes, and what follows it.
    end: Option<End>,
    /// Until when it has been told, by a clock that never jumps.
    lived: Duration,
    jumped: Arc<AtomicI64>,
    arrived: u32,
    deaths: usize,
    cuts: usize,
    /// The node takes nothing as it is stored.
    implicit: bool,
}

/// Files of these tests lie in memory where that is possible: they try no disk.
fn directory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

impl Story {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut world = World::new(chance.fork());
        FAR.into_iter().for_each(|(name, verify, _)| world.add(name, verify));
        let options = life::records_options(1 + chance.below(4) as u32);
        Self {
            plan: plan(&mut chance),
            chance,
            world: Arc::new(Mutex::new(world)),
            beside: Arc::new(Mutex::new(Beside::new(options.clone()))),
            acknowledged: Arc::default(),
            options,
            estate: Arc::default(),
            died: Arc::default(),
            end: None,
            lived: Duration::ZERO,
            jumped: Arc::default(),
            arrived: 0,
            deaths: 0,
            cuts: 0,
            // Of the seeds that departed once, none: what they tell stays as it was.
            implicit: seed & 4 != 0,
        }
    }

    /// Tells it to its end.
    pub(super) fn tell(mut self, seed: u64) -> Told {
        seed_chance(seed);
        let _listening = private::listen();
        drain();
        let mut left = Some(Left { records: Disk::new(), blobs: directory() });
        while let Some(Left { records, blobs }) = left {
            simulated::begin();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let runtime = runtime.unwrap();
            let over = runtime.block_on(self.live(records, &blobs));
            // Whatever still ran has died with it.
            drop(runtime);
            left = if over || self.is_wrong() { None } else { Some(self.inherit()) };
        }
        simulated::end();
        let (mut world, mut beside) = (self.world.lock().unwrap(), self.beside.lock().unwrap());
        let mut wrong = std::mem::take(&mut beside.wrong);
        wrong.append(&mut world.wrong);
        wrong.extend(private::heard());
        Told {
            trace: std::mem::take(&mut world.trace),
            wrong,
            commits: beside.commits,
            deaths: self.deaths,
            cuts: self.cuts,
            moved: beside.moved,
            faults: world.faults,
            again: world.again(),
            seen: std::mem::take(&mut beside.seen),
        }
    }

    fn is_wrong(&self) -> bool {
        !self.beside.lock().unwrap().wrong.is_empty() || !self.world.lock().unwrap().wrong.is_empty()
    }

    fn inherit(&mut self) -> Left {
        let mut estate = self.estate.lock().unwrap();
        Left { records: estate.records.take().unwrap(), blobs: estate.blobs.take().unwrap() }
    }

    /// How the process ends, to be done at that moment.
    fn death(&mut self, end: End, records: &Records) -> Death {
        self.end = Some(end);
        let mut chance = self.chance.fork();
        let next = directory();
        let to = next.path().to_owned();
        let (records, estate, died) = (records.clone(), Arc::clone(&self.estate), Arc::clone(&self.died));
        let then = Box::new(move || {
            *estate.lock().unwrap() = Estate { records: Some(records.die()), blobs: Some(next) };
            died.notify_one();
        });
        let cut = end.cut.map(|lost| Box::new(move || chance.percent(lost)) as Box<dyn FnMut() -> bool>);
        Death { to, cut, then }
    }

    /// One life of the gateway, which ends by its death, or with the history: which of the two.
    async fn live(&mut self, disk: Disk, blobs: &TempDir) -> bool {
        let (began, lived, jumped) = (Instant::now(), self.lived, Arc::clone(&self.jumped));
        self.died = Arc::default();
        let real = move || arrivals::noon() + lived + began.elapsed();
        let wall = move || moved(real(), jumped.load(Ordering::Relaxed));
        let (records, recovered) = Records::inline(disk, self.options.clone(), wall());
        self.note(real(), &format!("starts: {recovered:?}"));
        self.beside.lock().unwrap().restart(wall());
        if let Some(again) = self.end.take().and_then(|end| end.again) {
            let end = End { cut: Some(100), down: MINUTE, again: None };
            let death = self.death(end, &records);
            simulated::die_after(again, death);
        }
        let opened = life::open(blobs.path(), &records, recovered.epoch).await;
        if !simulated::is_dead() {
            let (store, lost) = match opened {
                Ok(opened) => opened,
                Err(why) => {
                    self.beside.lock().unwrap().wrong.push(why);
                    return true;
                }
            };
            records.routes_in_force(life::routes().version(), wall()).await.unwrap();
            self.look(&records, &store, wall(), "after a start");
            private::check(&mut self.beside.lock().unwrap(), &records, store.dir(), "after a start");
            bytes::unnamed(&self.beside, &store, "after a start").await;
            let clocks = (Clock::of(wall.clone()), Clock::of(real));
            let parts = (records.clone(), store, lost);
            let life = life::start(parts, clocks, recovered.last_known, (&self.world, &self.beside), self.implicit);
            if self.events(&life, began, &wall, &real).await {
                self.end(&life, &wall).await;
                return true;
            }
        }
        self.buried(real());
        self.lived = lived + began.elapsed() + self.end.map_or(Duration::ZERO, |end| end.down);
        false
    }

    /// The process has died.
    fn buried(&mut self, now: SystemTime) {
        let cut = self.end.is_some_and(|end| end.cut.is_some());
        self.note(now, if cut { "the power fails" } else { "the process dies" });
        self.deaths += 1;
        self.cuts += usize::from(cut);
        self.beside.lock().unwrap().follow();
    }

    /// Lets things happen until the process dies or nothing more is to happen: whether that.
    async fn events(
        &mut self,
        life: &Life,
        began: Instant,
        wall: &impl Fn() -> SystemTime,
        real: &impl Fn() -> SystemTime,
    ) -> bool {
        let lived = self.lived;
        while let Some((at, event)) = self.plan.front().cloned() {
            tokio::select! {
                biased;
                () = self.died.notified() => return false,
                () = tokio::time::sleep_until(began + at.saturating_sub(lived)) => {}
            }
            self.plan.pop_front();
            self.note(real(), &format!("{event:?}"));
            self.happen(life, event, wall()).await;
            if life.store.poisoned().is_some() && !simulated::is_dead() {
                // Somebody starts it anew.
                let cut = self.chance.percent(50).then_some(50);
                self.die_now(life, End { cut, down: MINUTE, again: None });
            }
            if simulated::is_dead() {
                self.died.notified().await;
                return false;
            }
            self.look(&life.records, &life.store, wall(), "after an event");
            if self.is_wrong() {
                return true;
            }
        }
        true
    }

    fn die_now(&mut self, life: &Life, end: End) {
        // Another death that waits does not come any more.
        drop(simulated::live_on());
        judge::at_any_time(&life.records, &self.world);
        let death = self.death(end, &life.records);
        simulated::die(life.store.dir(), death);
    }

    fn note(&self, now: SystemTime, line: &str) {
        self.world.lock().unwrap().note(now, line);
    }

    fn look(&self, records: &Records, store: &crate::store::Store, now: SystemTime, what: &str) {
        let mut beside = self.beside.lock().unwrap();
        beside.compare(records, now, what);
        bytes::check(&mut beside, records, store.dir(), what);
    }

    async fn happen(&mut self, life: &Life, event: Event, now: SystemTime) {
        let records = &life.records;
        match event {
            Event::Arrive(coming) => coming.into_iter().for_each(|one| self.arrive(&life.intake, one)),
            Event::Weather(name, weather) => self.world.lock().unwrap().far.get_mut(name).unwrap().weather = weather,
            Event::Act(verb, transfer) => {
                let selection = Selection::Transfers(vec![TransferId(transfer)]);
                here(records.act(verb, selection, "jo", "by chance", now)).unwrap();
            }
            Event::Pause(name, paused) => {
                here(records.pause(&Destination(name.into()), paused, "jo", "by chance", now)).unwrap();
            }
            Event::Damage(pick) => {
                let mut beside = self.beside.lock().unwrap();
                beside.follow();
                if let Some(blob) = bytes::damage(&mut beside, records, life.store.dir(), pick) {
                    beside.seen.insert("damage".into());
                    self.note(now, &format!("a byte of generation {blob}"));
                }
            }
            Event::Fail { sync, calls, errno } => life.store.fail_after(sync, calls, errno),
            Event::Jump(seconds) => drop(self.jumped.fetch_add(seconds, Ordering::Relaxed)),
            Event::Die(end, notes, steps) => {
                let enough = self.world.lock().unwrap().wake_after(notes);
                // Nothing may be going on.
                let _ = tokio::time::timeout(10 * MINUTE, enough.notified()).await;
                for _ in 0..steps {
                    tokio::task::yield_now().await;
                }
                if !simulated::is_dead() {
                    self.die_now(life, end);
                }
            }
            Event::Call(end, calls) => {
                let death = self.death(end, records);
                simulated::die_after(calls, death);
            }
            Event::Calm => self.calm(life, now),
        }
    }

    /// An arrival in a task of its own.
    fn arrive(&mut self, intake: &Intake, coming: Coming) {
        self.arrived += 1;
        let (number, intake) = (self.arrived, intake.clone());
        let (world, beside, acknowledged) = (self.world.clone(), self.beside.clone(), self.acknowledged.clone());
        tokio::spawn(async move {
            let taken = send(&intake, number, &coming).await;
            if simulated::is_dead() {
                // Nobody is told anything.
                return;
            }
            beside.lock().unwrap().told(number, taken.is_ok());
            let word = match &taken {
                Ok(receipt) => format!("{:?}", receipt.kept),
                Err(Refusal::Poisoned(_)) => "refused: the store has stopped".to_owned(),
                Err(other) => format!("refused: {other}"),
            };
            let mut world = world.lock().unwrap();
            let now = world.now;
            world.note(now, &format!("arrival {number} of {coming:?}: {word}"));
            if let Ok(receipt) = taken {
                let digest = contents::digest(contents::number(coming.uid, coming.variant));
                let owed = coming.from < 2 && coming.chosen & 1 != 0;
                let chosen = owed.then(|| FAR[0].0.to_owned()).into_iter().collect();
                acknowledged.lock().unwrap().push(Acknowledged { instance: receipt.sop_instance, digest, chosen });
            }
        });
    }

    /// No faults any more; what people held and paused goes on.
    fn calm(&self, life: &Life, now: SystemTime) {
        drop(simulated::live_on());
        life.store.fail_after(false, 0, 0);
        life.store.fail_after(true, 0, 0);
        for (name, ..) in FAR {
            let to = Destination(name.into());
            here(life.records.pause(&to, false, "jo", "", now)).unwrap();
            self.world.lock().unwrap().far.get_mut(name).unwrap().weather = Weather::Calm;
            let held = Selection::Matching { study: None, destination: Some(to), state: None };
            here(life.records.act(Verb::Release, held, "jo", "", now)).unwrap();
        }
    }

    /// Waits until nothing goes on by itself any more, and house has been kept for a while. Then all must be as it should.
    async fn end(&self, life: &Life, wall: &impl Fn() -> SystemTime) {
        let records = &life.records;
        let mut settled = false;
        for _ in 0..240 {
            if self.is_wrong() {
                return;
            }
            for (name, ..) in FAR {
                here(records.pause(&Destination(name.into()), false, "jo", "", wall())).unwrap();
            }
            settled = here(records.destinations_with_work()).unwrap().is_empty();
            if settled {
                break;
            }
            tokio::time::sleep(HOUR).await;
        }
        tokio::time::sleep(life::KEEP + life::SCRUB + 2 * life::EVERY).await;
        self.look(records, &life.store, wall(), "in the end");
        private::check(&mut self.beside.lock().unwrap(), records, life.store.dir(), "in the end");
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        judge::in_the_end(records, &self.world, &acknowledged, settled).await;
        bytes::unnamed(&self.beside, &life.store, "in the end").await;
        // By a clock that has jumped, bytes may grow old more slowly.
        let told = self.jumped.load(Ordering::Relaxed) == 0;
        let before = told.then(|| micros(wall() - life::KEEP - 2 * life::EVERY));
        bytes::nothing_left(&mut self.beside.lock().unwrap(), before);
    }
}

/// Sends one instance in, piece by piece, as a face of the gateway does.
async fn send(intake: &Intake, number: u32, coming: &Coming) -> Result<Receipt, Refusal> {
    let uid = |text: &str| crate::dicom::uid::TransferSyntaxUid::parse(text).unwrap();
    let bytes = contents::bytes(contents::number(coming.uid, coming.variant));
    let claimed = Claimed {
        sop_class: None,
        sop_instance: Some(arrivals::uid(coming.uid)),
        study: None,
        transfer_syntax: uid("1.2.840.10008.1.2.1"),
    };
    let mut reception = intake.receive(claimed, Some(bytes.len() as u64)).await?;
    let end = coming.short.map_or(bytes.len(), |_| bytes.len() - 1 - coming.pieces.min(bytes.len() - 1));
    for piece in bytes[..end].chunks(coming.pieces) {
        reception.write(piece).await?;
        tokio::task::yield_now().await;
    }
    if coming.short == Some(true) {
        return Err(Refusal::Stopping);
    }
    let arrived = reception.finish().await?;
    intake.commit(Arc::new(source(number, coming)), arrived).await
}

fn source(number: u32, coming: &Coming) -> Source {
    let (kind, name) = FROM[coming.from];
    let requested = Requested {
        destination: Destination("surrey".into()),
        request: "by hand".into(),
        verify: Verify::Present,
        priority: Priority::Routine,
    };
    let facts = SourceFacts { address: Some(IpAddr::V4(Ipv4Addr::from(number))), ..SourceFacts::default() };
    Source {
        origin: match kind {
            "node" => Origin::Node(AeTitle::parse(name).unwrap()),
            "peer" => Origin::Peer(name.into()),
            _ => Origin::Operator(name.into()),
        },
        called: Some(life::title(coming.chosen)),
        facts,
        requested: (kind == "operator" && is_by_hand(coming.uid)).then_some(requested),
    }
}

fn moved(at: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { at - by } else { at + by }
}
