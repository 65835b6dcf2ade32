//! The destinations of a simulation: each keeps the truth of what it was given, whatever it answers.

use super::chance::Chance;
use super::verdicts;
use crate::courier::carrier::{Carrier, Report};
use crate::courier::verdict::{self, Absent, Item, Then, Verdict};
use crate::dicom::uid::InstanceUid;
use crate::ledger::breaker::Asking;
use crate::ledger::outcome::{Outcome, Refusal};
use crate::ledger::transfer::TransferId;
use crate::peers::Verify;
use crate::records::tests::support as arrivals;
use crate::records::{Batch, Leased};
use crate::store::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// What a destination is like for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// It does what it should, as real ones do: mostly.
    Clear,
    /// Anything may happen to a request.
    Stormy,
    /// It asks us to wait.
    Busy,
    /// It cannot be reached.
    Down,
    /// It takes requests and never answers.
    Mute,
    /// It does not let us store.
    Forbidden,
    /// Nothing goes wrong any more.
    Calm,
}

/// One destination.
pub(crate) struct Far {
    pub(crate) verify: Verify,
    pub(crate) weather: Weather,
    /// What it has, and from when it shows it.
    pub(crate) held: BTreeMap<InstanceUid, (Digest, SystemTime)>,
    /// What it said that it does not have, and was not given since.
    said_absent: BTreeSet<InstanceUid>,
    /// What it gave a reason to give up, or to wait for.
    pub(crate) grounds: BTreeSet<InstanceUid>,
    /// Since when a rule of ours withholds everything from it.
    pub(crate) withheld: Option<SystemTime>,
    /// One instance that it always refuses with this reason, while it takes others, until nothing goes wrong any more.
    dislikes: Option<(InstanceUid, u16)>,
}

/// All that lies beyond the process, and survives it.
pub(crate) struct World {
    chance: Chance,
    pub(crate) now: SystemTime,
    pub(crate) far: BTreeMap<String, Far>,
    pub(crate) trace: Vec<String>,
    pub(crate) wrong: Vec<String>,
    pub(crate) faults: usize,
    /// Requests of which something was kept though they were refused as a whole.
    pub(crate) doubted: usize,
    /// How often each content was re-encoded.
    re_encoded: BTreeMap<Digest, usize>,
    /// Whom to wake after so many more notes.
    wake: Option<(u32, Arc<Notify>)>,
}

impl World {
    pub(crate) fn new(chance: Chance) -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let (far, trace, wrong) = (BTreeMap::new(), Vec::new(), Vec::new());
        let re_encoded = BTreeMap::new();
        Self { chance, now, far, trace, wrong, faults: 0, doubted: 0, re_encoded, wake: None }
    }

    pub(crate) fn add(&mut self, name: &str, verify: Verify) {
        let (held, said_absent, grounds) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let one = |chance: &mut Chance| (arrivals::uid(1 + chance.below(6) as u32), chance.pick(&[0xA700, 0x0124]));
        let dislikes = self.chance.percent(40).then(|| one(&mut self.chance));
        let weather = Weather::Clear;
        self.far.insert(name.into(), Far { verify, weather, held, said_absent, grounds, withheld: None, dislikes });
    }

    /// A content was re-encoded on its way out.
    pub(crate) fn re_encoded(&mut self, content: Digest) {
        *self.re_encoded.entry(content).or_default() += 1;
    }

    /// How many times one was that had been before.
    pub(crate) fn again(&self) -> usize {
        self.re_encoded.values().map(|times| times - 1).sum()
    }

    /// Adds to the story.
    pub(crate) fn note(&mut self, now: SystemTime, line: &str) {
        self.now = now;
        let at = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        self.trace.push(format!("{at} {line}"));
        match &mut self.wake {
            Some((0, wake)) => wake.notify_one(),
            Some((left, _)) => *left -= 1,
            None => {}
        }
    }

    /// Wakes whoever waits for it after so many more notes.
    pub(crate) fn wake_after(&mut self, notes: u32) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        self.wake = Some((notes, Arc::clone(&wake)));
        wake
    }

    /// Something is about to be sent: nothing is, once a rule withholds it (INV-15). What is put in force at this very moment may come too late.
    fn begins(&mut self, name: &str) {
        let now = self.now;
        if self.far(name).withheld.is_some_and(|since| since < now) {
            self.wrong.push(format!("{name} is sent what is withheld from it"));
        }
    }

    fn far(&mut self, name: &str) -> &mut Far {
        self.far.get_mut(name).unwrap()
    }

    /// The bytes of an instance reach a destination whole, and it keeps them or not.
    fn arrives(&mut self, name: &str, item: &Leased, kept: bool) {
        let late = if self.chance.percent(15) { self.chance.time(Duration::from_secs(120)) } else { Duration::ZERO };
        let calm = self.far(name).weather == Weather::Calm;
        let shown_from = self.now + if calm { Duration::ZERO } else { late };
        let uid = item.sop_instance.clone();
        let far = self.far(name);
        let asked = far.said_absent.remove(&uid);
        let mut wrong = None;
        match far.held.get(&uid) {
            Some((digest, _)) if *digest != item.digest => wrong = Some("got other content under the UID"),
            Some(_) if !asked => wrong = Some("was sent again what it has, without being asked first"),
            Some(_) => {}
            None if kept => {
                far.held.insert(uid.clone(), (item.digest, shown_from));
            }
            None => {}
        }
        self.wrong.extend(wrong.map(|why| format!("{name} {why}: {uid}")));
    }
}

/// What becomes of one request to store.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It never got there.
    Unreachable,
    /// We cannot show who we are, or they cannot.
    Unusable,
    /// So many instances got there whole, then nothing more was heard for a while.
    Lost(usize, Duration),
    /// The worker dies after so many instances got there.
    Broken(usize),
    /// Refused as a whole.
    Status(u16, Option<Duration>),
    /// All got there and so many were kept, and what stands before it says that it is busy.
    Busy(usize),
    /// Answered instance by instance.
    Answered,
}

/// What becomes of one instance of an answered request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Stored,
    Failed(u16),
    /// Kept, or not, and not spoken of.
    Unnamed(bool),
    /// Said to be stored, and not kept.
    Lie,
}

impl World {
    fn fate(&mut self, name: &str, size: usize) -> Fate {
        let weather = self.far(name).weather;
        let chance = &mut self.chance;
        let some = chance.below(size as u64 + 1) as usize;
        let fate = match weather {
            Weather::Calm => Fate::Answered,
            Weather::Clear if chance.percent(92) => Fate::Answered,
            Weather::Down => Fate::Unreachable,
            Weather::Mute => Fate::Lost(some, Duration::from_secs(60)),
            Weather::Busy => {
                let asked = chance.percent(70).then(|| chance.time(Duration::from_secs(7200)));
                Fate::Status(chance.pick(&[503, 429, 507]), asked)
            }
            Weather::Forbidden if chance.percent(30) => Fate::Unusable,
            Weather::Forbidden => Fate::Status(chance.pick(&[401, 403, 404]), None),
            Weather::Clear | Weather::Stormy => match chance.below(9) {
                0 => Fate::Unreachable,
                1 | 2 => Fate::Lost(size, chance.time(Duration::from_secs(60))),
                3 => Fate::Lost(some, chance.time(Duration::from_secs(300))),
                4 => Fate::Broken(some),
                5 => Fate::Status(chance.pick(&[500, 502, 408, 503, 409, 400, 413, 415, 501]), None),
                _ => Fate::Answered,
            },
        };
        // Who is asked for no time may have kept any of it.
        let fate = if matches!(fate, Fate::Status(503, None)) { Fate::Busy(some) } else { fate };
        self.faults += usize::from(!matches!(fate, Fate::Answered));
        self.doubted += usize::from(matches!(fate, Fate::Busy(1..)));
        fate
    }

    fn part(&mut self, name: &str) -> Part {
        let far = &self.far[name];
        let (weather, asks) = (far.weather, far.verify == Verify::Present);
        let odd = match weather {
            Weather::Calm => 0,
            Weather::Stormy => 40,
            _ => 4,
        };
        let chance = &mut self.chance;
        if !chance.percent(odd) {
            return Part::Stored;
        }
        self.faults += 1;
        match chance.below(8) {
            0 | 1 => Part::Failed(0xA700),
            2 => Part::Failed(chance.pick(&[0x0122, 0xC122, 0x0111, 0x0110, 0x0124])),
            3 | 4 => Part::Unnamed(true),
            5 => Part::Unnamed(false),
            _ if asks => Part::Lie,
            _ => Part::Stored,
        }
    }

    /// What becomes of each of these at a destination that answers.
    pub(crate) fn parts(&mut self, name: &str, items: &[&Leased]) -> Vec<Part> {
        let mut parts = Vec::new();
        for item in items {
            let far = &self.far[name];
            let disliked = far.dislikes.clone().filter(|(uid, _)| *uid == item.sop_instance);
            let part = match disliked.filter(|_| far.weather != Weather::Calm) {
                Some((_, reason)) => Part::Failed(reason),
                None => self.part(name),
            };
            self.arrives(name, item, matches!(part, Part::Stored | Part::Unnamed(true)));
            if let Part::Failed(_) = part {
                self.refuses(name, item);
            }
            parts.push(part);
        }
        parts
    }

    /// A destination says that it does not have an instance, or does not take it: that may be given up, and sent again unasked.
    fn refuses(&mut self, name: &str, item: &Leased) {
        let far = self.far(name);
        far.grounds.insert(item.sop_instance.clone());
        far.said_absent.insert(item.sop_instance.clone());
    }

    fn shown(&self, name: &str, uid: &InstanceUid) -> bool {
        self.far[name].held.get(uid).is_some_and(|(_, from)| *from <= self.now)
    }
}

/// The carrier to one destination.
pub(crate) struct Network {
    pub(crate) name: String,
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) now: Box<dyn Fn() -> SystemTime + Send + Sync>,
    pub(crate) together: bool,
}

impl Network {
    /// Does something in the world, at this moment.
    fn there<T>(&self, what: impl FnOnce(&mut World, &str) -> T) -> T {
        let mut world = self.world.lock().unwrap();
        world.now = (self.now)();
        what(&mut world, &self.name)
    }

    /// Notes what is wrong.
    pub(crate) fn wrong(&self, why: String) {
        self.there(|world, _| world.wrong.push(why));
    }

    async fn travel(&self) {
        let wait = self.there(|world, _| world.chance.time(Duration::from_millis(300)));
        tokio::time::sleep(wait).await;
    }

    fn note(&self, what: &str, items: &[&Leased]) {
        let uids: Vec<&str> = items.iter().map(|item| item.sop_instance.as_str()).collect();
        self.there(|world, name| world.note(world.now, &format!("{name} {what} {}", uids.join(" "))));
    }

    /// One request to store.
    async fn request(&self, items: &[&Leased]) -> Verdict {
        self.travel().await;
        let fate = self.there(|world, name| world.fate(name, items.len()));
        self.note(&format!("{fate:?}"), items);
        let some_arrive = |count: usize| {
            self.there(|world, name| items[..count].iter().for_each(|item| world.arrives(name, item, true)));
        };
        match fate {
            Fate::Unreachable => verdicts::settled(verdicts::unreachable(items)),
            Fate::Unusable => verdicts::settled(verdicts::unusable(items)),
            Fate::Lost(count, wait) => {
                some_arrive(count);
                tokio::time::sleep(wait).await;
                verdicts::settled(verdicts::lost(items))
            }
            Fate::Broken(count) => {
                some_arrive(count);
                // As a panic, but without a word to the terminal.
                std::panic::resume_unwind(Box::new("by chance"))
            }
            Fate::Status(status, after) => {
                if status == 415 || items.len() == 1 && matches!(status, 400 | 413) {
                    self.there(|world, name| items.iter().for_each(|item| world.refuses(name, item)));
                }
                verdict::stow(&verdicts::status(status, after), &pairs(items))
            }
            Fate::Busy(count) => {
                let all = items.iter().enumerate();
                self.there(|world, name| all.for_each(|(at, item)| world.arrives(name, item, at < count)));
                self.travel().await;
                verdict::stow(&verdicts::status(503, None), &pairs(items))
            }
            Fate::Answered => {
                let parts = self.there(|world, name| world.parts(name, items));
                self.note(&format!("{parts:?}"), items);
                self.travel().await;
                verdict::stow(&verdicts::answer(items, &parts), &pairs(items))
            }
        }
    }

    /// Asks for instances: those that are shown, or nothing if no answer comes. A node cannot be asked: it shows nothing, so that
    /// what it did not confirm is sent again, which is harmless there.
    async fn question(&self, items: &[&Leased]) -> Option<BTreeSet<TransferId>> {
        self.travel().await;
        let (weather, verify) = self.there(|world, name| (world.far(name).weather, world.far(name).verify));
        let asks = verify == Verify::Present;
        self.note(&format!("asked in {weather:?}"), items);
        let fails = self.there(|world, _| match weather {
            Weather::Down | Weather::Mute | Weather::Forbidden => true,
            Weather::Stormy | Weather::Busy => world.chance.percent(40),
            _ => false,
        });
        if asks && fails {
            self.there(|world, _| world.faults += 1);
            return None;
        }
        let (shown, missing): (Vec<&&Leased>, Vec<&&Leased>) =
            items.iter().partition(|item| asks && self.there(|world, name| world.shown(name, &item.sop_instance)));
        missing.iter().for_each(|item| self.there(|world, name| world.refuses(name, item)));
        Some(shown.into_iter().map(|item| item.transfer).collect())
    }

    /// Asks for what was refused as if it was there already, as the real carrier does; what is to go once more by itself.
    async fn ask<'a>(&self, items: Vec<&'a Leased>, absent: Absent) -> (Report, Vec<&'a Leased>) {
        let Some(shown) = self.question(&items).await else {
            return (verdicts::unasked(verdicts::claimed(&items)), Vec::new());
        };
        let (mut report, mut alone) = (Report { detail: "asked".into(), ..Report::default() }, Vec::new());
        for item in items {
            let outcome = match (shown.contains(&item.transfer), absent) {
                (true, _) => verdicts::seen(true),
                (_, Absent::Alone) => {
                    alone.push(item);
                    continue;
                }
                (_, Absent::Dead) => Outcome::Dead { why: "refused, and not there".into() },
                (_, Absent::Later) => {
                    Outcome::Refused { why: "not there".into(), after: None, refusal: Refusal::Instance }
                }
            };
            report.outcomes.push((item.transfer, outcome));
        }
        (report, alone)
    }

    /// Asks which came of what was refused as a whole, as the real carrier does; without an answer nobody knows.
    async fn doubted(&self, items: &[&Leased], may_ask: bool) -> Report {
        let shown = if may_ask { self.question(items).await } else { None };
        match shown {
            Some(shown) => verdicts::doubted(items, |transfer| shown.contains(&transfer)),
            None if may_ask => verdicts::unasked(verdicts::lost(items)),
            None => verdicts::lost(items),
        }
    }

    /// What was named as stored is asked for at once, as the real carrier does.
    async fn look(&self, batch: &Batch, report: &mut Report) {
        self.travel().await;
        if self.there(|world, name| world.far(name).weather != Weather::Calm && world.chance.percent(40)) {
            report.asking = Some(Asking::Not { why: "no answer to a question".into(), after: None });
            return;
        }
        report.asking = Some(Asking::Answered);
        for (id, outcome) in &mut report.outcomes {
            let Outcome::Accepted { evidence } = &*outcome else { continue };
            let item = batch.items.iter().find(|item| item.transfer == *id).unwrap();
            if self.there(|world, name| world.shown(name, &item.sop_instance)) {
                *outcome = Outcome::Verified { evidence: format!("{evidence}; shown") };
            }
        }
    }
}

fn pairs(items: &[&Leased]) -> Vec<Item> {
    let judged = |item: &&Leased| Item {
        transfer: item.transfer,
        instance: item.sop_instance.clone(),
        sop_class: item.sop_class.clone(),
        compressed: None,
        familiar: false,
    };
    items.iter().map(judged).collect()
}

impl Carrier for Network {
    async fn carry(&self, batch: &Batch) -> Report {
        self.there(|world, name| world.begins(name));
        let mut report = Report::default();
        let mut waiting: Vec<Vec<&Leased>> = vec![batch.items.iter().collect()];
        while let Some(items) = waiting.pop() {
            let Verdict { report: part, then } = self.request(&items).await;
            let stop = part.unusable;
            report.outcomes.extend(part.outcomes);
            report.detail = part.detail;
            match then {
                Then::Nothing => {}
                Then::Ask { of, absent, .. } => {
                    let of = items.into_iter().filter(|item| of.contains(&item.transfer)).collect();
                    let may_ask = batch.may_ask && !report.refuses_questions();
                    let (asked, alone) = match may_ask {
                        true => self.ask(of, absent).await,
                        false => (verdicts::claimed(&of), Vec::new()),
                    };
                    report.asking = Asking::and(report.asking.take(), asked.asking);
                    report.outcomes.extend(asked.outcomes);
                    waiting.extend(alone.into_iter().map(|item| vec![item]));
                }
                Then::Doubt { .. } => {
                    let may_ask = batch.may_ask && !report.refuses_questions();
                    let doubted = self.doubted(&items, may_ask).await;
                    report.asking = Asking::and(report.asking.take(), doubted.asking);
                    report.outcomes.extend(doubted.outcomes);
                }
                Then::Halve | Then::ByClass | Then::BySyntax | Then::Natively { .. } => {
                    let (first, second) = items.split_at(items.len() / 2);
                    waiting.extend([second.to_vec(), first.to_vec()]);
                }
            }
            if stop {
                let left: Vec<&Leased> = waiting.drain(..).flatten().collect();
                report.outcomes.extend(verdicts::unreachable(&left).outcomes);
            }
        }
        let asks = self.there(|world, name| world.far(name).verify) == Verify::Present;
        if asks && batch.may_ask && !report.refuses_questions() {
            self.look(batch, &mut report).await;
        }
        report
    }

    async fn check(&self, batch: &Batch) -> Report {
        let items: Vec<&Leased> = batch.items.iter().collect();
        match self.question(&items).await {
            None => verdicts::unasked(verdicts::lost(&items)),
            Some(shown) => {
                let outcomes = items.iter().map(|item| (item.transfer, verdicts::seen(shown.contains(&item.transfer))));
                Report { outcomes: outcomes.collect(), asking: Some(Asking::Answered), ..Report::default() }
            }
        }
    }

    fn together(&self) -> bool {
        self.together
    }
}
