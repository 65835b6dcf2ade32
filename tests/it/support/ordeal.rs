//! A gateway that is given a small day's work while its calls to the kernel fail or it is killed, and what must hold afterwards.

use super::calls::{Call, Log, Plan, READ, SYNC};
use super::config::SiteConfig;
use super::damage::Damage;
use super::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, digest, names};
use super::gateway::Gateway;
use super::ledger;
use super::load::Sent;
use super::pacs::{Association, Status};
use super::scripted_peer::ScriptedPeer;
use super::two_sites::{A_IDENTITY, B_IDENTITY, Stage};
use super::wait::{seconds, until};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What is called once everything was done, so that nothing more is to come.
const PATIENCE: Duration = seconds(30);
/// Small segments and small buffers: a little work takes every path.
const SMALL: &str = "[store]\nsegment = \"1 MiB\"\nsmall_object = \"256 KiB\"\nchunk = \"64 KiB\"\nbuffers = \"4 MiB\"\n\
                     [courier]\nretry_first = \"100ms\"\nretry_longest = \"300ms\"";
const EAGER: &str = "[retention]\nkeep_at_least = \"1ms\"\nkeep_at_most = \"1ms\"\nevery = \"100ms\"";

/// The day's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// Small and large instances arrive and go to B.
    Arrivals,
    /// They are purged afterwards, and the segment that a few others live in is emptied.
    Housekeeping,
    /// One large instance arrives and goes to B.
    Outward,
}

struct Item {
    names: Names,
    bytes: Vec<u8>,
    called: &'static str,
}

/// What became of the gateway while it was tried.
#[derive(Debug)]
pub struct Suffered {
    /// The call that was met; none if there were not so many.
    pub fired: Option<Call>,
    pub calls: Vec<Call>,
    /// It took nothing more until it was started again.
    pub poisoned: bool,
    /// It ended before it was ready.
    pub never_ready: bool,
    /// Instances that it did not take.
    pub refused: usize,
}

pub struct Ordeal {
    b: ScriptedPeer,
    // Before the folder with its log.
    a: Gateway,
    day: Day,
    items: Vec<Item>,
    sent: Sent,
    stage: Stage,
}

impl Ordeal {
    pub fn new(day: Day) -> Self {
        let stage = Stage::new();
        let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
        let config = SiteConfig::new("a", stage.authority.issue(A_IDENTITY))
            .node("SENDER", None)
            .peer("b", &b.url(), B_IDENTITY, "present")
            .route("to b", "b", "called = [\"TO_B\"]")
            .with(SMALL);
        let config = if day == Day::Housekeeping { config.with(EAGER) } else { config };
        let a = Gateway::prepare(&stage.path().join("a"), config);
        Self { stage, b, a, day, items: items(day), sent: Sent::new() }
    }

    /// A whole day under a plan. The gateway has ended afterwards, one way or the other.
    pub fn suffer(&mut self, plan: &Plan) -> Suffered {
        let log = Log::at(self.stage.path().join("calls"));
        self.a.launch_through(plan.wrapper(&self.a.data_dir(), &log));
        let kills = plan.effect == "KILL";
        let (mut poisoned, mut never_ready, mut refused) = (false, false, 0);
        if self.is_ready() {
            refused = self.send_rest();
            poisoned = self.is_settled() == Some(true) || self.heeds_a_failed_sync(plan, &log);
        } else {
            assert!(plan.effect != "NONE", "it does not start\n{}", self.a.log());
            never_ready = true;
        }
        match self.a.ended() {
            Some(status) => {
                assert!(kills || (never_ready && !status.success()), "it ended ({status}) after it was ready");
            }
            // What an end in good order does must not undo what a failed sync means.
            None if plan.calls == SYNC => {
                let status = self.a.process().terminate(seconds(40));
                assert!(status.success(), "it drains and ends with 0, not {status}");
                assert!(self.a.ended().is_some());
            }
            None => self.a.kill(),
        }
        assert!(!self.a.log().contains("panicked"), "a part of it panicked");
        // Who never became ready has taken nothing, and what was there before is looked at afterwards.
        let again = log.synced_again().filter(|_| !never_ready);
        assert!(again.is_none(), "a failed sync was tried again: {again:?}");
        Suffered { fired: log.fired(), calls: log.calls(), poisoned, never_ready, refused }
    }

    /// Started again without any fault: all that was acknowledged is there and whole, all of it comes to B, once.
    pub fn recover(&mut self, suffered: &Suffered) {
        self.a.up();
        let mut damage = Damage::of(&self.a, &self.sent);
        let aside = std::mem::take(&mut damage.aside);
        assert!(damage.none(), "{damage:?}");
        self.exceptions(suffered);
        // Where a failed read explains it, nothing counts as sent any more.
        assert!(aside.is_empty() || self.sent.is_empty(), "set aside without a failed read: {aside:?}");
        let refused = self.send_rest();
        assert_eq!(refused, 0, "it is sound, and takes everything");
        let routed: Vec<&Item> = self.items.iter().filter(|item| item.called == "TO_B").collect();
        self.a.all_become("b", "verified", routed.len() as u64, seconds(60));
        for item in routed {
            let held = self.b.digest_of(&item.names.instance);
            assert_eq!(held, Some(digest(&item.bytes)), "{} at B", item.names.instance);
        }
        let (twice, _) = ledger::needless(self.b.arrivals(), &ledger::absences(&self.a, |name| name == "b"));
        assert!(twice.is_empty(), "sent so often without need: {twice:?}");
        let damage = Damage::of(&self.a, &self.sent);
        assert!(damage.none(), "{damage:?}");
        self.a.kill();
        assert!(!self.a.log().contains("panicked"), "a part of it panicked");
    }

    pub fn acknowledged(&self) -> usize {
        self.sent.len()
    }

    /// Started again, and nobody sends anything: so many come to B all the same.
    pub fn delivers_by_itself(&mut self, count: u64) {
        self.a.up();
        self.a.all_become("b", "verified", count, seconds(60));
        self.a.kill();
    }

    /// The ports at which the gateway takes associations, and B requests.
    pub fn ports(&self) -> (u16, u16) {
        (self.a.config.dicom_port, self.b.port)
    }

    pub fn b(&self) -> &ScriptedPeer {
        &self.b
    }

    /// The ledger; also while no gateway runs.
    pub fn entries(&self) -> Vec<serde_json::Value> {
        ledger::export(&self.a)
    }

    /// REL-04, FLT-023: whether a sync was met that failed; the gateway must say then that it has stopped, if not at once. SQLite does
    /// not heed the directory of the records, so that nothing is asked of that: the gateway syncs it once more itself.
    fn heeds_a_failed_sync(&self, plan: &Plan, log: &Log) -> bool {
        let Some(met) = log.fired().filter(|met| plan.calls == SYNC && met.path != ".") else { return false };
        let what = format!("it says that it has stopped after a failed sync of {}", met.path);
        let stopped = || self.status()["poisoned"].is_string().then_some(());
        until(seconds(30), &what, stopped);
        true
    }

    fn status(&self) -> serde_json::Value {
        let status = self.a.cli(&["status", "--json"]);
        serde_json::from_str(&status.stdout).unwrap_or_default()
    }

    /// A blob that could not be read counts as damaged, and heals when it comes again; nothing else waits for a person.
    fn exceptions(&mut self, suffered: &Suffered) {
        let status = self.a.ask(&["status", "--json"]).remove(0);
        if status["exceptions"] == 0 {
            return;
        }
        let met = suffered.fired.as_ref().unwrap_or_else(|| panic!("an exception without a fault: {status}"));
        let unreadable = met.path.starts_with("blobs/") && (met.is_of(READ) || met.name == "openat");
        assert!(unreadable, "an exception that a failed {} of {} does not explain: {status}", met.name, met.path);
        self.sent.clear();
    }

    fn is_ready(&mut self) -> bool {
        until(seconds(60), "the gateway is ready or has ended", || {
            if self.a.process().ended().is_some() {
                return Some(false);
            }
            let port = self.a.config.dicom_port;
            (self.a.log().contains("ready") && TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(true)
        })
    }

    /// Sends what is not acknowledged yet, each once; how many were not taken.
    fn send_rest(&mut self) -> usize {
        let mut refused = 0;
        let mut open: Option<(&str, Association)> = None;
        for item in &self.items {
            let key = (item.names.study.clone(), item.names.instance.clone());
            if self.sent.contains_key(&key) {
                continue;
            }
            if open.as_ref().is_none_or(|(called, _)| *called != item.called) {
                let port = self.a.config.dicom_port;
                let opened = Association::open(port, "SENDER", item.called, SECONDARY_CAPTURE, EXPLICIT_LE);
                open = opened.ok().map(|association| (item.called, association));
            }
            let answer = open.as_mut().map(|(_, to)| to.store(SECONDARY_CAPTURE, &item.names.instance, &item.bytes));
            match answer {
                Some(Ok(Status::SUCCESS)) => drop(self.sent.insert(key, digest(&item.bytes))),
                Some(Ok(status)) => {
                    assert_eq!(status.0 & 0xFF00, 0xA700, "{status:04x?}: whose fault it is must be clear");
                    refused += 1;
                }
                Some(Err(_)) | None => {
                    open = None;
                    refused += 1;
                }
            }
        }
        refused
    }

    /// Waits until nothing more is to come: whether it is because the gateway has stopped taking anything; `None` if it ended.
    fn is_settled(&mut self) -> Option<bool> {
        let end = Instant::now() + PATIENCE;
        let owed =
            self.sent.keys().filter(|key| self.items.iter().any(|i| i.names.instance == key.1 && i.called == "TO_B"));
        let owed = owed.count() as u64;
        let kept = self.sent.len() as u64 - owed;
        while Instant::now() < end {
            if self.a.process().ended().is_some() {
                return None;
            }
            let status = self.status();
            if status["poisoned"].is_string() {
                return Some(true);
            }
            let open = |name: &str| status["destinations"][0][name].as_u64().unwrap_or(u64::from(owed > 0));
            let busy: u64 = ["pending", "unknown", "accepted", "parked", "held"].map(open).iter().sum();
            let purged = self.day != Day::Housekeeping || self.is_tidy(kept);
            if busy == 0 && purged {
                return Some(false);
            }
            // Each look costs more than the gateway's own work.
            std::thread::sleep(Duration::from_millis(40));
        }
        Some(false)
    }

    /// Whether what can be purged is gone, and what stays lies in the one segment that is being written.
    fn is_tidy(&self, kept: u64) -> bool {
        let status = self.a.cli(&["store", "status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        let blobs = |state: &str| status[state].as_u64().unwrap_or(u64::MAX / 2);
        let files = std::fs::read_dir(self.a.data_dir().join("blobs")).into_iter().flatten().flatten();
        let segments = files.filter(|file| file.file_name().to_string_lossy().ends_with(".seg")).count();
        blobs("blobs") + blobs("condemned") <= kept && segments <= 1
    }
}

/// As little as takes every path: studies of several, files of their own, a segment that fills up and is emptied.
fn items(day: Day) -> Vec<Item> {
    let item = |called, study, number, pixels| {
        let names = names(850, study, number);
        let bytes = data_set(&names, pixels, number);
        Item { names, bytes, called }
    };
    match day {
        Day::Arrivals => {
            let small = (0..3).map(|n| item("TO_B", n / 2, n, 4 << 10));
            small.chain([item("TO_B", 1, 20, 300 << 10)]).collect()
        }
        Day::Outward => vec![item("TO_B", 5, 0, 2 << 20)],
        Day::Housekeeping => {
            // What no route chose stays, and most of its segment goes.
            let kept = [item("WB_A", 3, 0, 4 << 10)].into_iter();
            let routed = (10..16).map(|n| item("TO_B", 4, n, 240 << 10));
            kept.chain(routed).chain([item("TO_B", 4, 40, 300 << 10)]).collect()
        }
    }
}
