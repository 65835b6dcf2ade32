//! A backup while the gateway runs, a restore, and what the ledger says of a peer against what the peer shows.

use crate::bits;
use crate::support::damage::Damage;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::load::{Load, Work};
use crate::support::pacs::{Association, Status};
use crate::support::python;
use crate::support::scripted_peer::ScriptedPeer;
use crate::support::two_sites::{B_IDENTITY, Stage, TwoSites};
use crate::support::wait::{seconds, until};
use crate::verdicts::{COURIER, sent};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

const BYTES: u32 = 8 << 10;

fn push(site: &Gateway, names: &Names) {
    push_bytes(site, names, BYTES);
}

fn push_bytes(site: &Gateway, names: &Names, length: u32) {
    let port = site.config.dicom_port;
    let mut association = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let bytes = data_set(names, length, 1);
    assert_eq!(association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap(), Status::SUCCESS);
    association.release();
}

/// What lies in the files of the blobs.
fn lying(blobs: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let files = std::fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.file_name() != "identity");
    files.map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap())).collect()
}

/// REL-05: a backup that an older program made is restored by this one, and stays as it is. The last step of the layout is taken back.
#[test]
fn a_backup_of_an_older_layout_is_restored() {
    let stage = Stage::new();
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    (1..=3).for_each(|number| push(&a, &names(803, 1, number)));
    let backup = stage.path().join("backup");
    a.ask(&["backup", backup.to_str().unwrap(), "--json"]);
    a.stop();
    std::fs::remove_dir_all(a.data_dir()).unwrap();
    let records = backup.join("records.db");
    let last = ["DROP TABLE also_said", "PRAGMA user_version = 22", "PRAGMA journal_mode = DELETE"];
    last.iter().for_each(|sql| drop(python::lines("on_records", [records.to_str().unwrap(), sql])));
    let before = std::fs::read(&records).unwrap();
    let restored = a.ask(&["restore", backup.to_str().unwrap(), "--json"]).remove(0);
    assert_eq!((&restored["blobs"], &restored["to_be_asked"]), (&3.into(), &3.into()), "{restored}");
    assert!(std::fs::read(&records).unwrap() == before, "the backup is as it was");
    let left: Vec<_> = std::fs::read_dir(a.data_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("older")), "{left:?}");
    a.up();
    assert_eq!(a.study(&names(803, 1, 1).study).len(), 3);
    a.verify_ledger(true);
}

/// What was verified stays verified, what was open at the time of the backup is asked about first: nothing is sent twice.
#[test]
fn a_restored_site_neither_loses_nor_sends_again() {
    let stage = Stage::new();
    let mut b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.config.url()));
    let early: Vec<Names> = (1..=3).map(|number| names(800, 1, number)).collect();
    early.iter().for_each(|names| push(&a, names));
    a.all_become("b", "verified", 3, seconds(60));
    b.stop();
    let late: Vec<Names> = (4..=5).map(|number| names(800, 1, number)).collect();
    late.iter().for_each(|names| push(&a, names));
    let held = names(801, 1, 1);
    push(&a, &held);
    a.cli(&["transfers", "hold", "--study", &held.study, "--reason", "to be looked at"]).ok("hold");
    let backup = stage.path().join("backup");
    let backup = backup.to_str().unwrap();
    let made = a.ask(&["backup", backup, "--json"]).remove(0);
    assert_eq!(made["blobs"], 6, "{made}");
    assert_eq!(a.cli(&["backup", backup]).code, Some(2), "a backup is never written over");
    // What was open then is sent afterwards, what was held is released, and something arrives: the backup does not know.
    b.up();
    let release = ["transfers", "release", "--study", &held.study];
    a.cli(&release).ok("release");
    let since = names(802, 1, 1);
    push(&a, &since);
    a.all_become("b", "verified", 7, seconds(120));
    a.kill();
    assert_eq!(a.cli(&["restore", backup]).code, Some(2), "nothing is restored over a data directory");
    std::fs::remove_dir_all(a.data_dir()).unwrap();
    let restored = a.ask(&["restore", backup, "--json"]).remove(0);
    assert_eq!((&restored["blobs"], &restored["to_be_asked"]), (&6.into(), &2.into()), "{restored}");
    a.up();
    // The same acts again: what was held is released, and the sender repeats what came after the backup.
    a.cli(&release).ok("release");
    push(&a, &since);
    a.all_become("b", "verified", 7, seconds(120));
    a.verify_ledger(true);
    b.verify_ledger(true);
    let arrivals = ledger::arrivals(&b);
    assert_eq!(arrivals.len(), 7);
    assert!(arrivals.values().all(|times| *times == 1), "each was sent once: {arrivals:?}");
    assert_eq!(a.ask(&["store", "status", "--json"])[0]["doubted"], false, "the copies belong together");
    let story = a.cli(&["why", &late[0].instance]).ok("why");
    assert!(story.contains("restored from the backup of"), "{story}");
    // And it goes on: what arrives anew is kept beside what was restored.
    push(&a, &names(800, 1, 6));
    a.all_become("b", "verified", 8, seconds(60));
    a.verify_ledger(true);
}

/// INV-08: a peer that refuses to be asked what it holds gets what comes after a restore all the same: better twice than never.
#[test]
fn who_refuses_to_be_asked_gets_what_comes_after_a_restore() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    peer.refuse_queries(Some(403));
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
    let [early, since] = [1, 2].map(|number| names(850, 1, number));
    push(&a, &early);
    a.all_become("b", "accepted", 1, seconds(60));
    let backup = stage.path().join("backup");
    let backup = backup.to_str().unwrap();
    a.cli(&["backup", backup]).ok("backup");
    push(&a, &since);
    a.all_become("b", "accepted", 2, seconds(60));
    a.kill();
    std::fs::remove_dir_all(a.data_dir()).unwrap();
    a.cli(&["restore", backup]).ok("restore");
    a.up();
    push(&a, &since);
    a.all_become("b", "accepted", 2, seconds(60));
    let story = a.cli(&["why", &since.instance]).ok("why");
    assert!(story.contains("not sent yet as far as is known here"), "{story}");
    let log = peer.log();
    assert_eq!([&early, &since].map(|names| sent(&log, &names.instance)), [1, 2], "{log:?}");
    a.verify_ledger(true);
}

/// Made beside a steady load and an eager purge, a backup is whole all the same.
#[test]
fn a_backup_beside_arrivals_and_purges_is_whole() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let eager = "[retention]\nkeep_at_least = \"1ms\"\nkeep_at_most = \"1ms\"\nevery = \"10ms\"";
    let a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.config.url()).with(eager));
    let work = Work { story: 810, senders: 2, pixel_bytes: 30_000, per_study: 50 };
    let load = Load::start(work, a.config.dicom_port, "WB_A");
    until(seconds(60), "the senders are at work", || (load.acknowledged() > 20).then_some(()));
    let backup = stage.path().join("backup");
    let made = a.ask(&["backup", backup.to_str().unwrap(), "--json"]).remove(0);
    load.stop();
    let mut copy = Gateway::prepare(&stage.path().join("copy"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let restored = copy.ask(&["restore", backup.to_str().unwrap(), "--json"]).remove(0);
    copy.up();
    // What was acknowledged before may be purged by now; what the backup says that it holds is here.
    let here = copy.ask(&["store", "status", "--json"]).remove(0);
    assert_eq!((&restored["blobs"], &here["blobs"]), (&made["blobs"], &made["blobs"]));
    copy.verify_ledger(true);
    until(seconds(60), "the pause ends and the purge goes on", || {
        let status = a.ask(&["store", "status", "--json"]);
        (status[0]["blobs"] == 0).then_some(())
    });
    a.verify_ledger(true);
}

/// Made beside a steady load, with nothing purged: what was acknowledged before is in it, byte for byte. The site that is restored from it
/// asks B about what was open then, and sends nothing again that B has.
#[test]
fn a_backup_beside_arrivals_has_what_was_acknowledged_before_and_is_not_sent_again() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.config.url()));
    let work = Work { story: 811, senders: 2, pixel_bytes: 30_000, per_study: 50 };
    let load = Load::start(work, a.config.dicom_port, "WB_A");
    until(seconds(60), "the senders are at work", || (load.acknowledged() > 50).then_some(()));
    let before = load.so_far();
    let backup = stage.path().join("backup");
    let made = a.ask(&["backup", backup.to_str().unwrap(), "--json"]).remove(0)["blobs"].as_u64().unwrap();
    let all = load.stop();
    a.all_become("b", "verified", all.len() as u64, seconds(120));
    let had = ledger::arrivals(&b);
    assert!(had.len() == all.len() && had.values().all(|times| *times == 1), "{had:?}");
    a.kill();
    let mut copy = Gateway::prepare(&stage.path().join("copy"), stage.site_a(&b.config.url()));
    let restored = copy.ask(&["restore", backup.to_str().unwrap(), "--json"]).remove(0);
    assert_eq!(restored["blobs"], made, "{restored}");
    assert!(made >= before.len() as u64 && made <= all.len() as u64, "{made} of {} to {}", before.len(), all.len());
    copy.up();
    let damage = Damage::of(&copy, &before);
    assert!(damage.none() && damage.acknowledged == before.len(), "{damage:?}");
    copy.all_become("b", "verified", made, seconds(120));
    assert_eq!(ledger::arrivals(&b), had, "B got nothing again");
    println!(
        "summary: {} acknowledged before, {made} in the copy, of {}; {}",
        before.len(),
        all.len(),
        damage.summary()
    );
    copy.verify_ledger(true);
    b.verify_ledger(true);
}

/// A peer that lost what it had shown is found out, and gets it again when a named person says so.
#[test]
fn what_a_peer_lost_is_found_and_owed_again() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let often = "[courier]\nreconcile_every = \"1s\"";
    let a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.config.url()).with(often));
    let mut sites = TwoSites { a, b, stage };
    let all: Vec<Names> = (1..=3).map(|number| names(820, 1, number)).collect();
    all.iter().for_each(|names| push(&sites.a, names));
    sites.a.all_become("b", "verified", 3, seconds(60));
    let whole = sites.a.ask(&["reconcile", "b", "--json"]);
    assert_eq!((whole.len(), &whole[0]["asked"], &whole[0]["missing"]), (1, &3.into(), &serde_json::json!([])));
    until(seconds(30), "the gateway compares by itself", || {
        sites.a.log().contains("the peer shows everything that it was sent lately").then_some(())
    });
    // B begins again with nothing.
    sites.b.stop();
    std::fs::remove_dir_all(sites.b.data_dir()).unwrap();
    sites.b.up();
    until(seconds(30), "the gateway finds out by itself", || {
        sites.a.log().contains("the peer does not show what it was sent").then_some(())
    });
    let gaps = sites.a.cli(&["reconcile", "b"]);
    assert_eq!(gaps.code, Some(1), "{gaps:?}");
    assert!(gaps.stdout.contains("3 asked for, 3 missing at b"), "{gaps:?}");
    assert_eq!(sites.a.cli(&["reconcile", "b", "--reopen"]).code, Some(2), "a reason is needed");
    sites.a.cli(&["reconcile", "b", "--reopen", "--reason", "B lost its disk"]).ok("reopen");
    sites.a.all_become("b", "verified", 3, seconds(120));
    until(seconds(60), "B has all of it", || (sites.b.study(&all[0].study).len() == 3).then_some(()));
    sites.a.cli(&["reconcile", "b"]).ok("reconcile");
    let story = sites.a.cli(&["why", &all[2].instance]).ok("why");
    assert!(story.contains("reopen") && story.contains("B lost its disk"), "{story}");
    sites.a.verify_ledger(true);
}

/// With the records lost and no backup, the blobs alone say what is here; nothing is sent to anybody unasked.
#[test]
fn lost_records_are_begun_anew_from_the_blobs() {
    let stage = Stage::new();
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let all: Vec<Names> = (1..=3).map(|number| names(830, 1, number)).collect();
    all.iter().for_each(|names| push(&a, names));
    let large = names(830, 2, 1);
    let mut association =
        Association::open(a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let bytes = data_set(&large, 3 << 20, 7);
    assert_eq!(association.store(SECONDARY_CAPTURE, &large.instance, &bytes).unwrap(), Status::SUCCESS);
    association.release();
    let before: Vec<_> = a.study(&all[0].study).iter().map(|instance| instance["sha256"].clone()).collect();
    a.kill();
    assert_eq!(a.cli(&["store", "rebuild"]).code, Some(2), "records that are there are not replaced");
    for name in ["records.db", "records.db-wal", "records.db-shm"] {
        let _ = std::fs::remove_file(a.data_dir().join(name));
    }
    let rebuilt = a.ask(&["store", "rebuild", "--json"]).remove(0);
    assert_eq!((&rebuilt["instances"], &rebuilt["held"]), (&4.into(), &0.into()), "{rebuilt}");
    a.up();
    let after: Vec<_> = a.study(&all[0].study).iter().map(|instance| instance["sha256"].clone()).collect();
    assert_eq!(after, before);
    assert_eq!(a.study(&large.study).len(), 1);
    assert_eq!(a.ask(&["store", "list", "--unrouted", "--json"]).len(), 2, "a person decides");
    assert_eq!(a.transfers("b", "pending"), (0, 0));
    a.verify_ledger(true);
    push(&a, &all[0]);
    assert_eq!(a.transfers("b", "unknown"), (1, 1), "what arrives goes its way again, after a question");
}

/// What `store rebuild` cannot put into the new records it names, and no later start takes away: a large object with a flipped
/// bit, a small one with a flipped bit, one whose label has a flipped bit.
#[test]
fn what_a_rebuild_cannot_read_is_told_and_stays() {
    let stage = Stage::new();
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let port = a.config.dicom_port;
    let mut association = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let mut all = Vec::new();
    for (number, length) in [(1, 3 << 20), (2, 3 << 20), (3, 8 << 10), (4, 8 << 10), (5, 8 << 10), (6, 8 << 10)] {
        let names = names(840, 1, number);
        let bytes = data_set(&names, length, number);
        assert_eq!(association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap(), Status::SUCCESS);
        all.push(bytes);
    }
    association.release();
    a.stop();
    let blobs = a.data_dir().join("blobs");
    bits::flip(&blobs, &all[1], all[1].len() / 2);
    bits::flip(&blobs, &all[3], all[3].len() - 1);
    // The label ends the page in which the bytes end, or the next one.
    let label = (all[5].len() + 256).next_multiple_of(4096) - 100;
    bits::flip(&blobs, &all[5], label);
    let lose_records = |a: &Gateway| {
        let names = ["records.db", "records.db-wal", "records.db-shm"];
        names.iter().for_each(|name| drop(std::fs::remove_file(a.data_dir().join(name))));
    };
    let before = lying(&blobs);
    lose_records(&a);
    let rebuilt = a.cli(&["store", "rebuild", "--json"]);
    let told: serde_json::Value = serde_json::from_str(rebuilt.stdout.trim()).unwrap();
    assert_eq!((rebuilt.code, &told["instances"]), (Some(5), &3.into()), "{rebuilt:?}");
    let found = ["unreadable", "unlabelled"].map(|kind| told[kind].as_array().unwrap().len());
    assert_eq!(found, [2, 1]);
    note_fired(found.iter().sum());
    for _ in 0..2 {
        a.up();
        assert_eq!(a.study(&names(840, 1, 1).study).len(), 3);
        assert_eq!(doubted(&a), (false, None), "these are the records of these blobs now");
        a.stop();
        // A start may make a file of its own; what was there is there.
        let mut now = lying(&blobs);
        now.retain(|name, _| before.contains_key(name));
        assert!(now == before, "{:?} of {:?}", now.keys(), before.keys());
    }
}

/// Puts the records in one directory in place of those in another; of a directory that has none, none.
fn put_records(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["records.db", "records.db-wal", "records.db-shm"] {
        let _ = std::fs::remove_file(to.join(name));
        let _ = std::fs::copy(from.join(name), to.join(name));
    }
}

/// Whether the gateway says that the records do not go with the blobs, and how many files they do not name then.
fn doubted(a: &Gateway) -> (bool, Option<u64>) {
    let status = a.ask(&["store", "status", "--json"]).remove(0);
    let warned = a.ask(&["status", "--json"])[0]["warnings"].to_string().contains("do not go with the blobs");
    assert_eq!(status["doubted"], warned, "{status}");
    (warned, status["files_without_a_row"].as_u64())
}

/// INV-08: what older records owe was sent since they were copied, for all that they know: each destination is asked first, and nothing is
/// sent twice, neither under the older records nor when the newest are put back.
#[test]
fn what_older_records_owe_is_asked_about_first() {
    let stage = Stage::new();
    let mut b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.config.url()));
    let data = a.data_dir();
    b.stop();
    let all: Vec<Names> = (1..=3).map(|number| names(860, 1, number)).collect();
    all.iter().for_each(|names| push(&a, names));
    put_records(&data, &stage.path().join("old"));
    b.up();
    a.all_become("b", "verified", 3, seconds(120));
    a.stop();
    let newest = stage.path().join("newest");
    put_records(&data, &newest);
    put_records(&stage.path().join("old"), &data);
    a.up();
    assert!(doubted(&a).0);
    a.all_become("b", "verified", 3, seconds(120));
    let story = a.cli(&["why", &all[0].instance]).ok("why");
    assert!(story.contains("older than the blobs"), "{story}");
    // Owed under the older records, and asked about once only: a start that finds the same records does not do it again.
    push(&a, &names(860, 1, 4));
    a.all_become("b", "verified", 4, seconds(120));
    a.stop();
    a.up();
    let told = a.log().matches("may have been sent since they were").count();
    assert_eq!(told, 1, "once, for two starts: {}", a.log());
    a.verify_ledger(false);
    a.stop();
    put_records(&newest, &data);
    a.up();
    a.all_become("b", "verified", 3, seconds(120));
    a.verify_ledger(false);
    let arrivals = ledger::arrivals(&b);
    assert_eq!(arrivals.len(), 4);
    assert!(arrivals.values().all(|times| *times == 1), "each was sent once: {arrivals:?}");
}

/// An older records.db in place of the newest, or none at all: what it does not name was acknowledged, and stays through every
/// start, until the newest is back or new records are begun from the blobs. A crash is no reason for doubt.
#[test]
fn older_records_take_nothing_away() {
    let stage = Stage::new();
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let data = a.data_dir();
    let small = |number| names(850, 1, number);
    push(&a, &small(1));
    a.kill();
    a.up();
    assert_eq!(doubted(&a), (false, None), "after a crash");
    push(&a, &small(2));
    // Copied within the last run, as a snapshot of the file system is.
    put_records(&data, &stage.path().join("old"));
    push(&a, &small(3));
    push_bytes(&a, &small(4), 3 << 20);
    a.stop();
    let newest = stage.path().join("newest");
    put_records(&data, &newest);
    let before = lying(&data.join("blobs"));
    let untouched = |when: &str| {
        let mut now = lying(&data.join("blobs"));
        now.retain(|name, _| before.contains_key(name));
        assert!(now == before, "{when}: {:?} of {:?}", now.keys(), before.keys());
    };
    put_records(&stage.path().join("old"), &data);
    // LED-007: these agree with themselves, but the blobs have noted more.
    let cut = a.cli(&["ledger", "verify"]);
    assert!(cut.code == Some(5) && cut.stdout.contains("the blobs have noted"), "{cut:?}");
    a.up();
    assert_eq!(doubted(&a), (true, Some(1)), "the large object has no row");
    assert!(a.log().contains("an older records.db is in place"), "{}", a.log());
    untouched("older records");
    push(&a, &small(5));
    a.stop();
    a.up();
    assert_eq!(doubted(&a), (true, Some(1)), "until a person says otherwise");
    untouched("older records again");
    a.kill();
    // And no records at all.
    put_records(&stage.path().join("nothing"), &data);
    a.up();
    assert!(doubted(&a).0);
    untouched("new records");
    a.stop();
    // The newest are put back: nothing of theirs is missing.
    put_records(&newest, &data);
    a.up();
    untouched("the newest records");
    assert_eq!(a.study(&small(1).study).len(), 4);
    assert!(a.cli(&["store", "verify"]).code == Some(0));
    assert_eq!(a.cli(&["store", "accept"]).code, Some(2), "not beside a running gateway");
    a.stop();
    a.cli(&["store", "accept"]).ok("accept");
    a.up();
    assert_eq!(doubted(&a), (false, None));
    untouched("accepted records");
    a.verify_ledger(true);
    let mut acts = ledger::export(&a).into_iter().filter(|entry| entry["facts"]["verb"] == "accepted");
    assert!(acts.any(|act| act["facts"]["who"].is_string()), "who accepted them is named");
    a.stop();
    // What came while older records were in place is in the blobs.
    put_records(&stage.path().join("nothing"), &data);
    let rebuilt = a.ask(&["store", "rebuild", "--json"]).remove(0);
    assert_eq!(rebuilt["instances"], 5, "{rebuilt}");
    a.up();
    assert_eq!(doubted(&a), (false, None));
    untouched("rebuilt records");
}
