//! Keeping house through the front door: what is purged and what never is, a full disk, the scrub, what no route chose.

use crate::bits;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, part10, read_part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::load::send_all;
use crate::support::pacs::{Association, Refused, Status};
use crate::support::power::LoopDisk;
use crate::support::two_sites::{Stage, TwoSites};
use crate::support::wait::{seconds, until};
use crate::support::{ledger, multipart, web};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const EAGER: &str = "[retention]\nkeep_at_least = \"1ms\"\nkeep_at_most = \"1ms\"\nevery = \"10ms\"";
const BYTES: u32 = 8 << 10;

fn push(site: &Gateway, names: &Names, bytes: u32) -> Result<Status, String> {
    let port = site.config.dicom_port;
    let opened = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE);
    let mut association = opened.map_err(|refused| format!("{refused:?}"))?;
    let status = association.store(SECONDARY_CAPTURE, &names.instance, &data_set(names, bytes, 1));
    association.release();
    status.map_err(|error| error.to_string())
}

fn stored(site: &Gateway, names: &Names) {
    assert_eq!(push(site, names, BYTES).unwrap(), Status::SUCCESS);
}

fn store_status(site: &Gateway, field: &str) -> u64 {
    site.ask(&["store", "status", "--json"])[0][field].as_u64().unwrap()
}

/// Has a gateway free and move nothing for so long, as a backup does, or go on: by its admin socket.
fn pause(site: &Gateway, seconds: u64) {
    let mut socket = UnixStream::connect(site.data_dir().join("admin.sock")).unwrap();
    let body = serde_json::json!({ "seconds": seconds, "by": "a backup" }).to_string();
    let head =
        "POST /store/pause HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n";
    write!(socket, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// LED-030, INV-06: what is verified everywhere goes when its time has passed; its records stay and tell.
#[test]
fn what_is_done_is_purged_and_its_story_stays() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.config.url()).with(EAGER));
    let all: Vec<Names> = (1..=3).map(|number| names(700, 1, number)).collect();
    all.iter().for_each(|names| stored(&a, names));
    a.all_become("b", "verified", 3, seconds(60));
    until(seconds(60), "the bytes are gone", || (store_status(&a, "blobs") == 0).then_some(()));
    let study = &all[0].study;
    assert!(a.study(study).iter().all(|instance| instance["state"] == "purged"));
    let story = a.cli(&["why", &all[0].instance]).ok("why");
    assert!(story.contains("its bytes were removed here: the time for which they are kept had passed"), "{story}");
    let listed = a.ask(&["store", "list", "--purged", "--json"]);
    assert_eq!((listed.len(), listed[0]["purged"].as_u64()), (1, Some(3)), "{listed:?}");
    let out = stage.path().join("out");
    assert_eq!(a.cli(&["store", "export", study, out.to_str().unwrap()]).code, Some(1), "there is nothing to export");
    // The same again is a success, kept anew, sent to nobody who has it, and purged again.
    stored(&a, &all[0]);
    until(seconds(60), "and gone again", || (store_status(&a, "blobs") == 0).then_some(()));
    a.all_become("b", "verified", 3, seconds(60));
    a.verify_ledger(true);
    assert_eq!(b.study(study).len(), 3);
    b.verify_ledger(true);
}

/// Purge never meets an arrival: the same instances again and again, a purge every 10 ms, and kills in between.
#[test]
fn purges_arrivals_and_kills_lose_nothing() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.config.url()).with(EAGER));
    let (story, numbers) = (710, 0..40);
    let mut kills = 0;
    for round in 1..=4 {
        for _ in 0..5 {
            let acknowledged = send_all(story, numbers.clone(), a.config.dicom_port, "WB_A");
            assert_eq!(acknowledged.len(), 40, "each is acknowledged, whatever is purged meanwhile");
        }
        a.all_become("b", "verified", 40, seconds(120));
        if round < 4 {
            a.kill();
            kills += 1;
            a.up();
        }
    }
    let purges = ledger::export(&a).iter().filter(|entry| entry["kind"] == "condemned").count();
    assert!(purges >= 20, "{purges} purges: they did not meet");
    a.verify_ledger(true);
    // From now on nothing is purged, and everything arrives once more.
    a.stop();
    a.config = stage.site_a(&b.config.url()).with("[retention]\npurge = false");
    a.write_config();
    a.up();
    let acknowledged = send_all(story, numbers, a.config.dicom_port, "WB_A");
    assert_eq!(store_status(&a, "blobs"), acknowledged.len() as u64);
    a.verify_ledger(true);
    assert_eq!(a.cli(&["store", "verify"]).code, Some(0));
    println!("summary: {purges} purges, {kills} kills; {} acknowledged, none lost", acknowledged.len());
    note_fired(kills);
}

/// REL-06, FLT-020: another process fills the disk; new work is refused, old work goes on, and all goes on by itself.
#[test]
fn a_disk_filled_by_another_refuses_new_work_and_delivers_the_old() {
    let stage = Stage::new();
    let disk = LoopDisk::new(stage.path(), 400);
    let mut b = Gateway::prepare(&stage.path().join("b"), stage.site_b());
    let config = stage.site_a(&b.config.url());
    let quick = "[retention]\nevery = \"200ms\"\n[courier]\nretry_first = \"500ms\"\nretry_longest = \"1s\"";
    let mut config = config.with("[store]\nreserve = \"80 MiB\"\nsegment = \"16 MiB\"").with(quick);
    config.data_dir = disk.mount.join("data").to_str().unwrap().to_owned();
    let a = Gateway::start(&stage.path().join("a"), config);
    let before: Vec<Names> = (1..=5).map(|number| names(720, 1, number)).collect();
    before.iter().for_each(|names| stored(&a, names));
    let filler = disk.mount.join("filler");
    let status = || a.ask(&["status", "--json"]).remove(0);
    let free = status()["free_bytes"].as_u64().unwrap();
    fill(&filler, free - (60 << 20));
    until(seconds(30), "the gateway says that it refuses", || (status()["refusing"] == true).then_some(()));
    let told = a.cli(&["status"]).ok("status");
    assert!(told.contains("THE DISK IS DOWN TO ITS RESERVE"), "{told}");
    let new = names(720, 2, 1);
    match Association::open(a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE) {
        Ok(mut association) => {
            let status = association.store(SECONDARY_CAPTURE, &new.instance, &data_set(&new, BYTES, 1)).unwrap();
            assert_eq!(status.0 & 0xFF00, 0xA700, "{status:04x?}");
        }
        Err(refused) => assert!(matches!(refused, Refused::Rejected(2, 3, 1)), "{refused:?}"),
    }
    note_fired(1);
    let path = stage.path().join("body");
    let file = part10(SECONDARY_CAPTURE, &new.instance, EXPLICIT_LE, &data_set(&new, BYTES, 1));
    std::fs::write(&path, multipart::body(&[file], true)).unwrap();
    let peer = stage.authority.issue(crate::support::two_sites::B_IDENTITY);
    let url = format!("{}/studies", a.config.url());
    let answer = web::store(&peer, &url, &multipart::content_type(), &path, &[]);
    assert_eq!(answer.status, 503, "{answer:?}");
    note_fired(1);
    // What was taken before goes out, and is entered.
    b.up();
    a.all_become("b", "verified", 5, seconds(120));
    a.verify_ledger(true);
    std::fs::remove_file(&filler).unwrap();
    until(seconds(30), "new work is taken again", || (push(&a, &new, BYTES) == Ok(Status::SUCCESS)).then_some(()));
    a.all_become("b", "verified", 6, seconds(60));
    until(seconds(30), "and that is told", || a.log().contains("there is room again").then_some(()));
    assert!(a.log().contains("the disk is down to its reserve"));
}

/// FLT-022, REL-06: the file system is full to its last block, and the records cannot grow, while there is room in a segment for
/// the bytes: nothing of that is acknowledged, nothing is broken, and all goes on by itself when there is room.
#[test]
fn records_that_cannot_grow_on_a_full_disk_acknowledge_nothing_and_go_on() {
    let stage = Stage::new();
    let disk = LoopDisk::new(stage.path(), 64);
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let quick = "[retention]\nevery = \"200ms\"\n[courier]\nretry_first = \"500ms\"\nretry_longest = \"1s\"";
    let config = stage.site_a(&b.config.url()).with(quick);
    let mut config = config.with("[store]\nreserve = \"0 B\"\nsegment = \"16 MiB\"\nsmall_object = \"1 MiB\"");
    config.data_dir = disk.mount.join("data").to_str().unwrap().to_owned();
    let mut a = Gateway::start(&stage.path().join("a"), config);
    let one = |number: u64| names(721, number, number);
    (0..3).for_each(|number| stored(&a, &one(number)));
    a.all_become("b", "verified", 3, seconds(60));
    let fillers = fill_up(&disk.mount);
    let free = || a.ask(&["status", "--json"])[0]["free_bytes"].as_u64().unwrap();
    let by_records = std::cell::Cell::new(0);
    let is_taken = |number: u64| {
        let room = free() > u64::from(2 * BYTES);
        match push(&a, &one(number), BYTES) {
            Ok(Status::SUCCESS) => return true,
            Ok(status) => assert_eq!(status.0 & 0xFF00, 0xA700, "{status:04x?}"),
            Err(_) => return false,
        }
        // Room enough for the bytes: it is the records that had none.
        by_records.set(by_records.get() + u32::from(room));
        false
    };
    // A log that was just emptied has room of its own for a while.
    let more = (3..500).map_while(|number| (by_records.get() < 10).then(|| (number, is_taken(number))));
    let tried: Vec<(u64, bool)> = more.collect();
    let taken: Vec<u64> = tried.iter().filter(|tried| tried.1).map(|tried| tried.0).collect();
    assert!(by_records.get() > 0, "the records could grow: {tried:?}");
    assert!(!a.log().contains("panicked") && a.ask(&["status", "--json"])[0]["poisoned"].is_null());
    fillers.iter().for_each(|filler| std::fs::remove_file(filler).unwrap());
    until(seconds(60), "new work is taken again", || {
        (push(&a, &one(1000), BYTES) == Ok(Status::SUCCESS)).then_some(())
    });
    let there = |a: &Gateway| {
        let held = |number: u64| a.holds(&one(number).study) == 1;
        assert!((0..3).chain(taken.iter().copied()).chain([1000]).all(held), "what was acknowledged is there");
        tried.iter().filter(|tried| !tried.1).all(|tried| !held(tried.0))
    };
    assert!(there(&a), "what was refused is not");
    a.all_become("b", "verified", 4 + taken.len() as u64, seconds(120));
    a.verify_ledger(true);
    a.kill();
    a.up();
    assert!(there(&a), "nor after a restart");
    a.verify_ledger(true);
    println!("{} of {} taken on the full disk, {} refused by the records", taken.len(), tried.len(), by_records.get());
    note_fired(by_records.get() as usize);
}

/// Takes what a disk has left but 40 KiB, which is less than a commit needs, as another program would; where.
fn fill_up(mount: &Path) -> Vec<PathBuf> {
    let mut fillers = Vec::new();
    for size in [1 << 20, 4 << 10] {
        let path = mount.join(format!("filler-{size}"));
        let mut file = std::fs::File::create(&path).unwrap();
        fillers.push(path);
        let piece = vec![0xA5; size];
        while file.write_all(&piece).and_then(|()| file.sync_data()).is_ok() {}
    }
    let largest = std::fs::File::options().write(true).open(&fillers[0]).unwrap();
    largest.set_len(largest.metadata().unwrap().len() / 4096 * 4096 - (40 << 10)).unwrap();
    largest.sync_all().unwrap();
    fillers
}

/// Takes so many bytes of the disk, as another program would.
fn fill(path: &Path, bytes: u64) {
    let length = bytes.to_string();
    let made = std::process::Command::new("fallocate").args(["-l", &length]).arg(path).status().unwrap();
    assert!(made.success());
}

/// REL-07: a flipped bit is found by the scrub or at once by `store verify`, set aside, alerted, and healed by the same bytes.
#[test]
fn damage_is_found_without_being_sent_and_heals() {
    let stage = Stage::new();
    let scrubbing = "[store]\nscrub_every = \"1s\"";
    let site = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web").with(scrubbing));
    let (one, two) = (names(730, 1, 1), names(730, 1, 2));
    stored(&site, &one);
    stored(&site, &two);
    flip(&site.data_dir().join("blobs"), &data_set(&one, BYTES, 1));
    let exceptions = || site.ask(&["status", "--json"])[0]["exceptions"].as_u64().unwrap();
    until(seconds(60), "the scrub finds it", || (exceptions() == 1).then_some(()));
    let state = |names: &Names| {
        let study = site.study(&names.study);
        study.iter().find(|i| i["sop_instance_uid"] == names.instance).unwrap()["state"].clone()
    };
    assert_eq!((state(&one), state(&two)), ("corrupt".into(), "stored".into()));
    assert_eq!(site.ask(&["store", "list", "--damaged", "--json"])[0]["damaged"], 1);
    stored(&site, &one);
    assert_eq!((exceptions(), state(&one)), (0, "stored".into()), "healed");
    assert_eq!(site.cli(&["store", "verify"]).code, Some(0));
    site.verify_ledger(true);
}

#[test]
fn store_verify_has_the_gateway_set_damage_aside() {
    let stage = Stage::new();
    let site = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let one = names(731, 1, 1);
    stored(&site, &one);
    until(seconds(60), "the first scrub has passed", || {
        let status = site.ask(&["store", "status", "--json"]);
        status[0]["scrub"]["ended"].is_string().then_some(())
    });
    flip(&site.data_dir().join("blobs"), &data_set(&one, BYTES, 1));
    let verified = site.cli(&["store", "verify", "--json"]);
    assert_eq!(verified.code, Some(5), "{verified:?}");
    assert!(verified.stdout.contains("\"set_aside\":1"), "{verified:?}");
    assert_eq!(site.study(&one.study)[0]["state"], "corrupt");
    for arguments in [&["store", "verify"][..], &["ledger", "verify", "--blobs"]] {
        let verified = site.cli(arguments);
        assert!(
            verified.code == Some(5) && (verified.stdout + &verified.stderr).contains("1 blobs are set aside"),
            "{arguments:?}"
        );
    }
}

/// REL-07: beside a running gateway `store verify` rests as long as it reads, and says so; not if a person wants it at once, and not with
/// the gateway stopped.
#[test]
fn store_verify_rests_beside_a_running_gateway() {
    let stage = Stage::new();
    let mut site = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    // No machine reads it, and computes its digest, within the 10 ms after which the first rest is due.
    assert_eq!(push(&site, &names(732, 1, 1), 64 << 20).unwrap(), Status::SUCCESS);
    let verified = |site: &Gateway, option: &[&str]| {
        let told = &site.ask(&[&["store", "verify", "--json"], option].concat())[0];
        assert!(told["blobs"] == 1 && told["bytes"].as_u64() > Some(64 << 20), "{told}");
        let said = site.cli(&[&["store", "verify"], option].concat());
        assert!(said.code == Some(0) && said.stdout.contains("1 blobs read"), "{said:?}");
        let is_told = said.stderr.contains("at half speed") && said.stderr.contains("--full");
        (told["rested_ms"].as_u64().unwrap() > 0, is_told)
    };
    assert_eq!(verified(&site, &[]), (true, true));
    assert_eq!(verified(&site, &["--full"]), (false, false));
    site.stop();
    assert_eq!(verified(&site, &[]), (false, false));
}

fn flip(folder: &Path, bytes: &[u8]) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        if let Some(at) = content.windows(64).position(|window| window == &bytes[..64]) {
            let at = at + bytes.len() / 2;
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[content[at] ^ 1], at as u64).unwrap();
            file.sync_all().unwrap();
            return;
        }
    }
    panic!("the blob is nowhere below {}", folder.display());
}

/// "No destination": what no route chose is kept, told, listed, and dropped only by a person who says why.
#[test]
fn what_no_route_chose_waits_for_a_person() {
    let stage = Stage::new();
    let config = stage.site_a("https://127.0.0.1:9/dicom-web").with(EAGER);
    let toml = config.toml().replace("to = [\"b\"]\n", "to = [\"b\"]\nwhen = { modality = [\"CT\"] }\n");
    let mut site = Gateway::prepare(&stage.path().join("a"), config);
    std::fs::write(site.config_file(), toml).unwrap();
    site.launch();
    let one = names(740, 1, 1);
    until(seconds(30), "it is taken", || (push(&site, &one, BYTES) == Ok(Status::SUCCESS)).then_some(()));
    until(seconds(30), "the log tells", || {
        site.log().contains("no route chose a destination that may have them").then_some(())
    });
    let told = site.cli(&["status"]).ok("status");
    assert!(told.contains("1 instances have no destination"), "{told}");
    let listed = site.ask(&["store", "list", "--unrouted", "--json"]);
    assert_eq!((listed.len(), &listed[0]["study_instance_uid"]), (1, &one.study.clone().into()));
    assert_eq!(site.ask(&["store", "purge", "--json"])[0]["by_age"], 0, "never by age");
    assert_eq!(site.ask(&["store", "purge", "--dry-run", "--json"])[0]["by_age"]["instances"], 0);
    pause(&site, 60);
    for asked in [
        &["store", "purge"][..],
        &["store", "purge", "--json"],
        &["store", "drop", &one.study, "--reason", "a phantom"],
    ] {
        let refused = site.cli(asked);
        assert!(refused.code == Some(1) && refused.stderr.contains("a backup is being made"), "{refused:?}");
        assert_eq!(refused.stdout, "", "nothing is said to be purged");
    }
    pause(&site, 0);
    assert_eq!(site.cli(&["store", "drop", &one.study]).code, Some(2), "a reason is needed");
    site.cli(&["store", "drop", &one.study, "--reason", "a phantom"]).ok("drop");
    assert_eq!(site.study(&one.study)[0]["state"], "purged");
    assert_eq!(site.ask(&["store", "list", "--unrouted", "--json"]).len(), 0);
    let story = site.cli(&["why", &one.instance]).ok("why");
    assert!(story.contains("dropped them (a phantom)"), "{story}");
    assert_eq!(site.cli(&["store", "drop", &one.study, "--reason", "again"]).code, Some(1), "there is nothing left");
    site.verify_ledger(true);
}

/// INV-06: what is owed cannot be dropped either, and says why.
#[test]
fn what_is_owed_cannot_be_dropped() {
    let sites = TwoSites::start(None);
    drop(sites.b);
    let one = names(741, 1, 1);
    stored(&sites.a, &one);
    let said = sites.a.cli(&["store", "drop", &one.study, "--reason", "room"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stdout.contains("a transfer of it is not done"), "{said:?}");
    let out = sites.stage.path().join("out");
    sites.a.cli(&["store", "export", &one.study, out.to_str().unwrap()]).ok("export");
    let file = std::fs::read(out.join(format!("{}.dcm", one.instance))).unwrap();
    let whole = read_part10(&file).unwrap();
    assert_eq!(file[whole.data_set_at..], data_set(&one, BYTES, 1));
}

/// REL-07: what was set aside and reads whole again, since the fault lay on the way from the disk, is used again as soon as a
/// person has everything read; what was held for it is sent.
#[test]
fn what_reads_whole_again_is_used_again() {
    let stage = Stage::new();
    let mut b = Gateway::prepare(&stage.path().join("b"), stage.site_b());
    let a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.config.url()));
    let (small, large) = (names(790, 1, 1), names(790, 1, 2));
    let mut flipped = Vec::new();
    for (names, length) in [(&small, BYTES), (&large, 3 << 20)] {
        assert_eq!(push(&a, names, length).unwrap(), Status::SUCCESS);
        flipped.push(bits::flip(&a.data_dir().join("blobs"), &data_set(names, length, 1), 2000));
    }
    let verify = || {
        let verified = a.cli(&["store", "verify", "--json"]);
        let told: serde_json::Value = serde_json::from_str(verified.stdout.trim()).unwrap();
        (verified.code, told["set_aside"].clone(), told["healed"].clone())
    };
    let corrupt = || a.study(&small.study).iter().filter(|row| row["state"] == "corrupt").count();
    assert_eq!(verify(), (Some(5), 2.into(), 0.into()));
    assert_eq!(corrupt(), 2);
    assert_eq!(verify(), (Some(5), serde_json::Value::Null, 0.into()), "what is set aside and damaged stays aside");
    bits::flip_at(&flipped[0].0, flipped[0].1);
    assert_eq!(verify(), (Some(5), 0.into(), 1.into()));
    assert_eq!((corrupt(), store_status(&a, "corrupt")), (1, 1));
    bits::flip_at(&flipped[1].0, flipped[1].1);
    assert_eq!(verify(), (Some(0), 0.into(), 1.into()));
    b.up();
    a.all_become("b", "verified", 2, seconds(120));
    assert_eq!(a.ask(&["status", "--json"])[0]["exceptions"], 0);
    a.verify_ledger(true);
}
