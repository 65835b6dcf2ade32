//! Many wires between two sites at a time: A knows B by several names, each behind a proxy that does one thing at one byte.

use super::config::SiteConfig;
use super::gateway::Gateway;
use super::load::send_one;
use super::one_fault::{Fault, OneFault};
use super::two_sites::{A_IDENTITY, B_IDENTITY, Stage};
use super::wait::seconds;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// What each instance has to carry, so that requests are short.
pub const PIXELS: u32 = 600;

/// What A owes by its latest word: what is not verified yet at the end of each wire.
struct Look {
    began: Instant,
    open: Vec<u64>,
}

pub struct ManyWires {
    pub a: Gateway,
    pub b: Gateway,
    story: u64,
    wires: Vec<OneFault>,
    look: Mutex<Look>,
    news: Condvar,
    _stage: Stage,
}

impl ManyWires {
    /// Both sites, and so many wires between them; what A is sent under the title of a wire goes over that wire.
    pub fn start(story: u64, count: usize, settings: &str) -> Self {
        let stage = Stage::new();
        let names: Vec<String> = (0..count).map(|wire| format!("b{wire}.test")).collect();
        let mut at_b = stage.site_b();
        at_b.identity = stage.authority.issue_also(B_IDENTITY, &names);
        let b = Gateway::start(&stage.path().join("b"), at_b);
        let wires: Vec<OneFault> = names.iter().map(|_| OneFault::to(b.config.web_port)).collect();
        let mut at_a = SiteConfig::new("a", stage.authority.issue(A_IDENTITY)).node("SENDER", None);
        for (wire, identity) in names.iter().enumerate() {
            let (peer, url) = (peer(wire), format!("https://127.0.0.1:{}/dicom-web", wires[wire].port));
            let called = format!("called = [\"{}\"]", title(wire));
            at_a = at_a.peer(&peer, &url, identity, "present").route(&format!("to {peer}"), &peer, &called);
        }
        let a = Gateway::start(&stage.path().join("a"), at_a.with(settings));
        let look = Mutex::new(Look { began: Instant::now(), open: vec![0; count] });
        Self { a, b, story, wires, look, news: Condvar::new(), _stage: stage }
    }

    pub fn count(&self) -> usize {
        self.wires.len()
    }

    /// The most that a connection has carried up, and down.
    pub fn most(&self) -> (u64, u64) {
        let most = self.wires.iter().map(OneFault::most);
        most.fold((0, 0), |sum, one| (sum.0.max(one.0), sum.1.max(one.1)))
    }

    /// Sends one instance over a wire that meets this, and waits until it is verified; whether the fault fired.
    pub fn carry(&self, wire: usize, number: u64, fault: Option<Fault>) -> bool {
        let between = &self.wires[wire];
        let before = between.fired();
        between.meet(fault);
        send_one(self.story, number, PIXELS, self.a.config.dicom_port, &title(wire));
        let sent = Instant::now();
        let mut look = self.look.lock().unwrap();
        // A look that began earlier may not know of it.
        while look.began < sent || look.open[wire] > 0 {
            assert!(sent.elapsed() < seconds(60), "instance {number} is not verified over wire {wire} after {fault:?}");
            look = self.news.wait_timeout(look, seconds(1)).unwrap().0;
        }
        between.fired() > before
    }

    /// Does all that, each wire in a thread of its own, while somebody keeps asking A what is open.
    pub fn each(&self, work: impl Fn(usize) + Sync) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| self.keep_looking(&over));
            let work = &work;
            let workers: Vec<_> = (0..self.count()).map(|wire| scope.spawn(move || work(wire))).collect();
            let done: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            over.store(true, Ordering::SeqCst);
            asking.join().unwrap();
            assert!(done.iter().all(Result::is_ok), "a wire did not come to its end");
        });
    }

    fn keep_looking(&self, over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) {
            let began = Instant::now();
            let status = self.a.ask(&["status", "--json"]).remove(0);
            let rows = status["destinations"].as_array().unwrap();
            let open = |wire: usize| {
                let row = rows.iter().find(|row| row["destination"] == peer(wire).as_str());
                let counts = ["pending", "unknown", "accepted", "parked", "held", "dead"];
                row.map_or(0, |row| counts.iter().map(|name| row[name].as_u64().unwrap()).sum())
            };
            *self.look.lock().unwrap() = Look { began, open: (0..self.count()).map(open).collect() };
            self.news.notify_all();
            // Asking costs the machine more than waiting.
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn peer(wire: usize) -> String {
    format!("b{wire}")
}

fn title(wire: usize) -> String {
    format!("TO_B{wire}")
}
