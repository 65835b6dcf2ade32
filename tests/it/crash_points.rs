//! Killed at named points of the way in, the way out, of purge and compaction; and in a migration, a backup, a restore, a rebuild.

use crate::support::calls::{Call, Log, NAME, Plan, SIZE, WRITE};
use crate::support::damage::{Damage, rounds, seed};
use crate::support::files::{EXPLICIT_LE, Noise, SECONDARY_CAPTURE, data_set, digest, names};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::load::Sent;
use crate::support::ordeal::Ordeal;
use crate::support::pacs::{Association, Status};
use crate::support::points::{Found, POINTS};
use crate::support::proxy::Proxy;
use crate::support::scripted_peer::ScriptedPeer;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::seconds;
use crate::support::{ledger, python};
use std::path::{Path, PathBuf};
use std::process::Command;

/// FLT-001 to FLT-012, FLT-014: nothing acknowledged is missing afterwards, nothing is sent twice without need, and at each point is found
/// what its row says.
#[test]
fn a_kill_at_each_named_point_loses_nothing() {
    for point in POINTS {
        let mut ordeal = Ordeal::new(point.day);
        ordeal.b().refuse_queries((point.found == Found::Accepted).then_some(503));
        let suffered = ordeal.suffer(&point.plan(ordeal.ports()));
        assert!(suffered.fired.is_some(), "{}: it never comes to that\n{:?}", point.fault, suffered.calls);
        println!("{}: {} acknowledged before", point.fault, ordeal.acknowledged());
        ordeal.b().refuse_queries(None);
        point.when_killed(&mut ordeal);
        ordeal.recover(&suffered);
        point.afterwards(&ordeal);
    }
    println!("summary: {} kills at as many named points; none lost, none sent twice", POINTS.len());
    note_fired(POINTS.len());
}

/// A site with a few instances, some verified at B, some owed to it still.
struct Filled {
    stage: Stage,
    a: Gateway,
    b: ScriptedPeer,
    between: Proxy,
    sent: Sent,
}

impl Filled {
    fn new() -> Self {
        let stage = Stage::new();
        let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
        let between = Proxy::to(b.port);
        let url = format!("https://127.0.0.1:{}/dicom-web", between.port);
        let config = stage.site_a(&url).with("[courier]\nretry_first = \"100ms\"\nretry_longest = \"300ms\"");
        let mut filled =
            Self { a: Gateway::start(&stage.path().join("a"), config), stage, b, between, sent: Sent::new() };
        filled.push(0..6);
        filled.a.all_become("b", "verified", 6, seconds(60));
        filled.between.refuse(true);
        filled.between.cut_now();
        filled.push(6..10);
        filled
    }

    fn push(&mut self, numbers: std::ops::Range<u64>) {
        let port = self.a.config.dicom_port;
        let mut association = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
        for number in numbers {
            let names = names(860, 1, number);
            let bytes = data_set(&names, if number % 5 == 0 { 1200 << 10 } else { 4 << 10 }, number);
            let status = association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap();
            assert_eq!(status, Status::SUCCESS);
            self.sent.insert((names.study, names.instance), digest(&bytes));
        }
        association.release();
    }

    /// All is there, and all comes to B, once.
    fn check(&mut self) {
        let damage = Damage::of(&self.a, &self.sent);
        assert!(damage.none(), "{damage:?}");
        self.between.refuse(false);
        self.a.all_become("b", "verified", 10, seconds(60));
        let (twice, _) = ledger::needless(self.b.arrivals(), &ledger::absences(&self.a, |name| name == "b"));
        assert!(twice.is_empty(), "sent so often without need: {twice:?}");
        self.a.verify_ledger(true);
    }

    fn copied(&self, from: &Path, to: &Path) {
        let _ = std::fs::remove_dir_all(to);
        let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(copied.success());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.stage.path().join(name)
    }
}

/// So many of the numbers from 1 to `most`, drawn by a seed; all of them in a long run, or each so-manieth.
fn drawn(most: usize, usual: usize) -> Vec<usize> {
    assert!(most > 0, "nothing is called at all");
    let every = rounds("WEYBRIDGE_CALLS_EVERY", 0) as usize;
    if every > 0 {
        return (1..=most).step_by(every).collect();
    }
    let mut noise = Noise::new(seed());
    (0..usual).map(|_| 1 + noise.below(most as u64) as usize).collect()
}

fn killed_at(nth: usize) -> Plan {
    Plan::any("KILL", nth)
}

/// FLT-014: killed while the records are brought from the first layout to the newest: the next start does it all again.
#[test]
fn a_kill_in_a_migration_leaves_the_old_or_the_new() {
    let mut filled = Filled::new();
    filled.a.stop();
    let (data, old) = (filled.a.data_dir(), filled.path("old"));
    python::run("older_records", [data.join("records.db").to_str().unwrap(), "1"], seconds(30)).ok("an older layout");
    filled.copied(&data, &old);
    // The migration ends before the store takes its numbers.
    let most = log_of_start(&mut filled, &old).len();
    let (mut fired, mut points) = (0, drawn(most, 4));
    points.sort_unstable();
    for nth in points {
        filled.copied(&old, &data);
        let log = Log::at(filled.path("calls"));
        filled.a.launch_through(killed_at(nth).wrapper(&data, &log));
        ended(&mut filled.a);
        fired += usize::from(log.fired().is_some());
        filled.a.up();
        let damage = Damage::of(&filled.a, &filled.sent);
        assert!(damage.none(), "killed at call {nth}: {damage:?}");
        filled.a.kill();
    }
    filled.copied(&old, &data);
    filled.a.up();
    filled.check();
    println!("summary: {fired} kills in the {most} calls of a start that migrates; none lost, none torn");
    note_fired(fired);
}

/// The calls of a start from the old layout up to where the store takes its numbers.
fn log_of_start(filled: &mut Filled, old: &Path) -> Vec<Call> {
    let data = filled.a.data_dir();
    filled.copied(old, &data);
    let log = Log::at(filled.path("calls"));
    filled.a.launch_through(Plan::watch().wrapper(&data, &log));
    let taken = || log.calls().iter().any(|call| call.name == "rename" && call.path.contains("identity"));
    crate::support::wait::until(seconds(60), "the store is open", || taken().then_some(()));
    filled.a.kill();
    let mut calls = log.calls();
    calls.truncate(calls.iter().position(|call| call.name == "rename").unwrap());
    calls
}

fn ended(a: &mut Gateway) {
    crate::support::wait::until(seconds(60), "it was killed", || a.ended());
}

/// A backup that is broken off is none, and says so; the gateway goes on. One that says it is whole is.
#[test]
fn a_kill_in_a_backup_or_a_restore_leaves_nothing_half() {
    let mut filled = Filled::new();
    let (backup, spare) = (filled.path("backup"), filled.path("whole"));
    let told = backup.to_str().unwrap().to_owned();
    let log = Log::at(filled.path("calls"));
    let wrapper = Plan::watch().wrapper(filled.stage.path(), &log);
    filled.a.cli_through(wrapper, &["backup", &told]).ok("backup");
    filled.copied(&backup, &spare);
    let most = log.calls().len();
    let (mut backups, mut restores, mut refused) = (0, 0, 0);
    for nth in drawn(most, 3) {
        std::fs::remove_dir_all(&backup).unwrap();
        let log = Log::at(filled.path("calls"));
        let killed = filled.a.cli_through(killed_at(nth).wrapper(filled.stage.path(), &log), &["backup", &told]);
        std::fs::create_dir_all(&backup).unwrap();
        backups += usize::from(log.fired().is_some());
        assert!(killed.code.is_none() || log.fired().is_none(), "{killed:?}");
        assert!(
            backup.join("backup.json").exists() <= (nth + 8 > most),
            "call {nth} of {most}: it says that it is whole"
        );
    }
    filled.a.kill();
    let data = filled.a.data_dir();
    let watched = {
        std::fs::remove_dir_all(&data).unwrap();
        let log = Log::at(filled.path("calls"));
        let wrapper = Plan::watch().wrapper(filled.stage.path(), &log);
        filled.a.cli_through(wrapper, &["restore", spare.to_str().unwrap()]).ok("restore");
        log.calls()
    };
    let mut points = drawn(watched.len(), 4);
    points.extend(Mark::framing(&watched));
    for nth in points {
        let _ = std::fs::remove_dir_all(&data);
        let log = Log::at(filled.path("calls"));
        filled.a.cli_through(killed_at(nth).wrapper(filled.stage.path(), &log), &["restore", spare.to_str().unwrap()]);
        restores += usize::from(log.fired().is_some());
        let mark = Mark::of(&log.calls());
        assert_eq!(starts(&mut filled.a), mark != Mark::Stands, "killed at call {nth}: {mark:?}");
        if mark == Mark::Stands {
            refused += 1;
            continue;
        }
        let damage = Damage::of(&filled.a, &filled.sent);
        let empty = nothing(&filled.a);
        assert!(if mark == Mark::None { empty } else { damage.none() }, "killed at call {nth}: {mark:?}, {damage:?}");
        filled.a.kill();
    }
    let _ = std::fs::remove_dir_all(&data);
    filled.a.cli(&["restore", spare.to_str().unwrap()]).ok("restore");
    filled.a.up();
    filled.check();
    assert!(backups > 0 && restores > 0 && refused > 0);
    println!(
        "summary: {backups} kills in a backup, {restores} in a restore, after {refused} of which no gateway started"
    );
    note_fired(backups + restores);
}

/// A rebuild that is broken off is refused by the next start, and a further one finds all; where it had not begun, a gateway starts
/// with new records and takes no blob for garbage.
#[test]
fn a_kill_in_a_rebuild_leaves_no_half() {
    let mut filled = Filled::new();
    filled.a.stop();
    let (data, lost) = (filled.a.data_dir(), filled.path("lost"));
    // As the refusal says: all that begins with that name; a kill as they are made leaves `records.db-journal` too.
    let lose = || {
        let ours =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("records.db"));
        let paths = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(ours).for_each(|path| std::fs::remove_file(path).unwrap());
    };
    lose();
    filled.copied(&data, &lost);
    let rebuild = |filled: &Filled, plan: &Plan| {
        let log = Log::at(filled.path("calls"));
        let ended = filled.a.cli_through(plan.wrapper(filled.stage.path(), &log), &["store", "rebuild"]);
        (ended, log)
    };
    let (ended, log) = rebuild(&filled, &Plan::watch());
    ended.ok("rebuild");
    let watched = log.calls();
    let most = watched.len();
    let mut points = drawn(most, 4);
    points.push(1);
    points.extend(Mark::framing(&watched));
    let (mut fired, mut refused, mut unbegun) = (0, 0, 0);
    for nth in points {
        filled.copied(&lost, &data);
        let (_, log) = rebuild(&filled, &killed_at(nth));
        fired += usize::from(log.fired().is_some());
        let mark = Mark::of(&log.calls());
        assert_eq!(starts(&mut filled.a), mark != Mark::Stands, "killed at call {nth} of {most}: {mark:?}");
        if mark == Mark::Stands {
            refused += 1;
        } else {
            let damage = Damage::of(&filled.a, &filled.sent);
            let empty = nothing(&filled.a);
            unbegun += usize::from(empty);
            let sound = if mark == Mark::None { empty } else { damage.none() };
            assert!(sound, "killed at call {nth} of {most}: {mark:?}, {damage:?}");
            filled.a.kill();
        }
        lose();
        filled.a.cli(&["store", "rebuild"]).ok("once more");
        filled.a.up();
        let damage = Damage::of(&filled.a, &filled.sent);
        assert!(damage.none(), "killed at call {nth} of {most}, and rebuilt: {damage:?}");
        filled.a.kill();
    }
    assert!(fired > 0 && refused > 0 && unbegun > 0, "{fired} fired, {refused} refused, {unbegun} not begun");
    println!("summary: {fired} kills in a rebuild of {most} calls; {refused} refused, {unbegun} not begun; none lost");
    note_fired(fired);
}

/// The mark of a restore or a rebuild that is not finished, as the calls say that were made.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    None,
    Stands,
    Gone,
}

impl Mark {
    fn is(call: &Call) -> bool {
        call.path.ends_with("/unfinished") && !call.fired
    }

    /// The call that was met was not made.
    fn of(calls: &[Call]) -> Self {
        let was = |name: &str| calls.iter().any(|call| Self::is(call) && call.name == name);
        match (was("openat"), was("unlink")) {
            (false, _) => Self::None,
            (true, false) => Self::Stands,
            (true, true) => Self::Gone,
        }
    }

    /// In a run to the end nothing is changed in the data directory before the mark stands there, nor after it went. Gives
    /// the calls around both: a kill there comes just before, and just after.
    fn framing(calls: &[Call]) -> [usize; 4] {
        let kinds = [WRITE, SIZE, NAME].map(|kind| kind.split(',').collect::<Vec<_>>()).concat();
        let changes =
            calls.iter().filter(|call| call.path.starts_with("a/data/") && kinds.contains(&call.name.as_str()));
        let changes: Vec<&Call> = changes.collect();
        assert!(Self::is(changes[0]) && changes[0].is_of(WRITE), "it begins with the mark: {changes:?}");
        let last = changes[changes.len() - 1];
        assert!(Self::is(last) && last.name == "unlink", "it ends with the mark: {changes:?}");
        // From 1, as the calls are counted.
        let made = 1 + calls.iter().position(Self::is).unwrap();
        let gone = 1 + calls.iter().rposition(Self::is).unwrap();
        [made, made + 1, gone, gone + 1]
    }
}

/// Whether the site is a new one, as before a restore has begun.
fn nothing(a: &Gateway) -> bool {
    a.ask(&["status", "--json"])[0]["instances"] == 0
}

/// Starts the gateway; `false` if it ends because a restore was not finished.
fn starts(a: &mut Gateway) -> bool {
    let before = a.log().matches("ready").count();
    a.launch();
    crate::support::wait::until(seconds(30), "it starts or refuses", || match a.process().ended() {
        Some(status) => {
            assert!(!status.success() && a.log().contains("was not finished"), "{}", a.log());
            Some(())
        }
        None => (a.log().matches("ready").count() > before && a.cli(&["status"]).code == Some(0)).then_some(()),
    });
    a.ended().is_none()
}
