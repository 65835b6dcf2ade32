//! Flipped bits: of each byte of a blob, of an exported ledger, of the file of the records; found before they are sent or believed.

use crate::support::certs::Identity;
use crate::support::corpus;
use crate::support::damage::{Damage, rounds, seed};
use crate::support::files::{EXPLICIT_LE, Names, Noise, SECONDARY_CAPTURE, data_set, digest, names};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::load::{Sent, send_all};
use crate::support::pacs::{Association, Status};
use crate::support::proxy::Proxy;
use crate::support::python;
use crate::support::scripted_peer::ScriptedPeer;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use crate::support::wire::Wire;
use memchr::memmem;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Whether every byte is to be tried.
fn all() -> bool {
    std::env::var("WEYBRIDGE_BITS").is_ok()
}

/// The file of the store that holds these bytes, and where.
pub fn find(blobs: &Path, bytes: &[u8]) -> (PathBuf, usize) {
    let paths = std::fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().path());
    let found = paths.filter_map(|path| Some((memmem::find(&std::fs::read(&path).unwrap(), bytes)?, path))).next();
    let (at, path) = found.unwrap_or_else(|| panic!("the blob is nowhere below {}", blobs.display()));
    (path, at)
}

/// Flips a bit of the byte that lies `at` bytes behind the beginning of these bytes, wherever the store keeps them.
/// Says where that is.
pub fn flip(blobs: &Path, bytes: &[u8], at: usize) -> (PathBuf, u64) {
    let (path, begin) = find(blobs, bytes);
    let place = (begin + at) as u64;
    flip_at(&path, place);
    (path, place)
}

/// Flips a bit of the byte at a place; twice, and it is as it was.
pub fn flip_at(path: &Path, place: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 4], place).unwrap();
    file.sync_all().unwrap();
}

/// REL-07, FLT-024: one copy of a small instance for each of its bytes, that byte flipped: none is sent, each is set aside and
/// told, the bytes stay where they are, and what is sound is sent.
#[test]
fn any_flipped_byte_of_a_blob_is_found_and_never_sent() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let between = Proxy::to(b.port);
    between.refuse(true);
    let url = format!("https://127.0.0.1:{}/dicom-web", between.port);
    let quick = "[courier]\nretry_first = \"50ms\"\nretry_longest = \"100ms\"\nbatch_instances = 20";
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&url).with(quick));
    let instance = |n: u64| (names(880, n / 100, n), data_set(&names(880, n / 100, n), 64, n));
    let length = instance(100).1.len() as u64;
    let step = if all() { 1 } else { length / 20 };
    let spoilt: Vec<u64> = (0..length).step_by(usize::try_from(step).unwrap()).collect();
    let sound = 20;
    let port = a.config.dicom_port;
    let mut association = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let count = spoilt.len() as u64;
    for n in 0..count + sound {
        let (names, bytes) = instance(n);
        let status = association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap();
        assert_eq!(status, Status::SUCCESS);
    }
    association.release();
    a.stop();
    let blobs = a.data_dir().join("blobs");
    for (n, at) in (0..).zip(&spoilt) {
        let (path, begin) = find(&blobs, &instance(n).1);
        let place = begin as u64 + (at % instance(n).1.len() as u64);
        let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << (n % 8)], place).unwrap();
    }
    let content = |path: PathBuf| std::fs::read(path).unwrap();
    let (path, _) = find(&blobs, &instance(count).1);
    let before = content(path.clone());
    a.up();
    between.refuse(false);
    until(seconds(240), "what is sound is verified, what is not is set aside", || {
        let status = a.ask(&["status", "--json"]).remove(0);
        (a.transfers("b", "verified").1 == sound && status["exceptions"] == count).then_some(())
    });
    let came: BTreeSet<String> = b.arrivals().into_keys().collect();
    let expected: BTreeSet<String> = (count..count + sound).map(|n| instance(n).0.instance).collect();
    assert_eq!(came, expected, "nothing spoilt is sent, everything sound is");
    let corrupt = |names: &Names| a.study(&names.study).iter().filter(|row| row["state"] == "corrupt").count() as u64;
    let studies: BTreeSet<u64> = (0..count).map(|n| n / 100).collect();
    assert_eq!(studies.iter().map(|study| corrupt(&names(880, *study, 0))).sum::<u64>(), count, "each is set aside");
    a.kill();
    let after = content(path);
    assert!(before[..after.len()] == after[..], "damaged bytes stay where they are");
    println!("summary: {count} of {length} bytes of a blob flipped; {count} found, none sent, none deleted");
    note_fired(count as usize);
}

/// FLT-024: a flipped byte of a label leaves its blob without a name: a rebuild of lost records says so, finds the others, and
/// changes nothing.
#[test]
fn any_flipped_byte_of_a_label_is_told() {
    let stage = Stage::new();
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let port = a.config.dicom_port;
    let instance = |n: u64| (names(883, 0, n), data_set(&names(883, 0, n), 5000, n));
    let mut association = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    for n in 0..3 {
        let (names, bytes) = instance(n);
        assert_eq!(association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap(), Status::SUCCESS);
    }
    association.release();
    a.stop();
    let data = a.data_dir();
    let rebuild = || {
        let names = ["records.db", "records.db-wal", "records.db-shm"];
        names.iter().for_each(|name| drop(std::fs::remove_file(data.join(name))));
        let rebuilt = a.cli(&["store", "rebuild", "--json"]);
        let told: serde_json::Value = serde_json::from_str(rebuilt.stdout.trim()).unwrap();
        (rebuilt.code, told["instances"].as_u64().unwrap(), told["unlabelled"].as_array().unwrap().len())
    };
    let bytes = instance(1).1;
    let (path, begin) = find(&data.join("blobs"), &bytes);
    let label = begin + (bytes.len() + 256).next_multiple_of(4096) - 256;
    let mut flips = 0;
    for at in (0..256).step_by(if all() { 1 } else { 23 }) {
        flip_at(&path, (label + at) as u64);
        assert_eq!(rebuild(), (Some(5), 2, 1), "byte {at} of the label");
        flip_at(&path, (label + at) as u64);
        flips += 1;
    }
    assert_eq!(rebuild(), (Some(0), 3, 0), "as it was");
    println!("summary: {flips} of 256 bytes of a label flipped; all told, nothing changed");
}

/// LED-006: a flipped byte of an exported ledger is found by who has the head.
#[test]
fn any_flipped_byte_of_an_export_is_found() {
    let stage = Stage::new();
    let a = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    send_all(881, 0..2, a.config.dicom_port, "WB_A");
    let export = stage.path().join("export.ndjson");
    a.cli(&["ledger", "export", export.to_str().unwrap()]).ok("export");
    // The gateway goes on writing; the head is that of the export.
    let entries = std::fs::read_to_string(&export).unwrap().lines().count();
    let judged = python::run("../../judge", [&export], seconds(60)).ok("the judge");
    let root = judged.lines().find_map(|line| line.strip_prefix("tree  ")).unwrap().to_owned();
    let every = if all() { 1 } else { 37 };
    let arguments = [export.to_str().unwrap(), &format!("{entries}:{root}"), &every.to_string()];
    let told = python::run("flip_export", arguments, seconds(900)).ok("flips");
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["missed"], serde_json::json!([]), "{told}");
    assert!(told["found"].as_u64().unwrap() > 20, "{told}");
    println!("summary: {} of {} bytes of an export flipped; all found", told["found"], told["bytes"]);
}

/// What of an answer to a query stands in entries of the ledger, too, or follows from them: UIDs, SOP class, counts, where it is to be had.
const IN_ENTRIES: [&str; 8] =
    ["0020000D", "0020000E", "00080018", "00080016", "00201206", "00201208", "00201209", "00081190"];

/// What QIDO-RS shows of a study at all levels, by a gateway that is started for it and killed: what stands in entries, too, and what
/// does not. An error that it tells is `Err`.
fn queried(a: &mut Gateway, who: &Identity, study: &str) -> Result<[Vec<Value>; 2], String> {
    a.launch();
    let (port, mut ended) = (a.config.web_port, None);
    until(seconds(30), "the gateway listens, or ends", || {
        ended = a.ended();
        (ended.is_some() || TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(())
    });
    if let Some(ended) = ended {
        return Err(format!("it does not start: {ended}"));
    }
    let ask = |resource: String| {
        let mut wire = Wire::open(who, port);
        wire.head(&format!("GET /dicom-web/{resource}includefield=all"), &[]).unwrap();
        match wire.answer().expect("an answer") {
            reply if reply.status == 200 => Ok(reply.json().as_array().unwrap().clone()),
            reply if reply.status == 204 => Ok(Vec::new()),
            reply => Err(format!("{resource}: {}", reply.status)),
        }
    };
    let levels = [
        "studies?StudyInstanceUID=STUDY&",
        "studies/STUDY/series?",
        "studies/STUDY/instances?",
        "studies?PatientID=T0000001&",
    ];
    let sets: Result<Vec<Vec<Value>>, String> = levels.iter().map(|level| ask(level.replace("STUDY", study))).collect();
    a.kill();
    let of = |known: bool| {
        let sets = sets.iter().flatten().flatten().cloned().map(|mut set| {
            set.as_object_mut().unwrap().retain(|tag, _| IN_ENTRIES.contains(&tag.as_str()) == known);
            set
        });
        sets.collect::<Vec<Value>>()
    };
    let both = [of(true), of(false)];
    sets.map(|_| both)
}

/// Puts records in place as a stopped gateway leaves them, and what the blobs noted of them.
fn put(a: &Gateway, records: &[u8], noted: &[u8]) {
    let data = a.data_dir();
    ["records.db-wal", "records.db-shm"].iter().for_each(|name| drop(std::fs::remove_file(data.join(name))));
    std::fs::write(data.join("records.db"), records).unwrap();
    std::fs::write(data.join("blobs/identity"), noted).unwrap();
}

/// FLT-025: a flipped byte of the records either is found by `ledger verify`, or changes nothing that is shown or exported, but for what
/// is shown of patient, study and series and stands in no entry.
#[test]
fn a_flipped_byte_of_the_records_is_found_or_changes_nothing() {
    let stage = Stage::new();
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    send_all(882, 0..4, a.config.dicom_port, "WB_A");
    a.stop();
    let who = stage.authority.issue(B_IDENTITY);
    let [sound, noted] = ["records.db", "blobs/identity"].map(|name| std::fs::read(a.data_dir().join(name)).unwrap());
    let study = names(882, 0, 0).study;
    let shown = |a: &Gateway| {
        let told = |arguments: &[&str]| {
            let answer = a.cli(arguments);
            (answer.code, without_ages(&answer.stdout))
        };
        (told(&["ledger", "export"]), told(&["study", &study, "--json"]), told(&["transfers", "list", "--json"]))
    };
    let before = shown(&a);
    let [known, described] = queried(&mut a, &who, &study).unwrap();
    assert_eq!(known.len(), 1 + 1 + 4 + 1, "{known:?}");
    let mut noise = Noise::new(seed());
    let tries = if all() { 1500 } else { rounds("WEYBRIDGE_FLIPS", 25) };
    let (mut found, mut harmless, mut undescribed, mut silent) = (0, 0, 0, Vec::new());
    // Most of a young file is empty: three in four are of something that says something, the rest of anything.
    let told: Vec<usize> = (0..sound.len()).filter(|at| sound[*at] != 0).collect();
    // The modality of the series first: a query sees it, and nothing else does. Names, numbers and dates have an index that disagrees.
    let modality = memmem::find(&sound, b"\"OT\"").unwrap() + 1;
    for number in 0..tries {
        let any = noise.below(sound.len() as u64) as usize;
        let (at, bit) = match number {
            0 => (modality, 0),
            _ if number % 4 == 0 => (any, noise.below(8)),
            _ => (told[noise.below(told.len() as u64) as usize], noise.below(8)),
        };
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << bit;
        put(&a, &bytes, &noted);
        let verified = a.cli(&["ledger", "verify"]);
        assert!(!verified.stderr.contains("panicked"), "byte {at}: {verified:?}");
        if verified.code != Some(0) {
            found += 1;
            continue;
        }
        let now = shown(&a);
        match queried(&mut a, &who, &study) {
            Err(_) => found += 1,
            Ok([is, of]) if now == before && is == known => match of == described {
                true => harmless += 1,
                false => undescribed += 1,
            },
            Ok(sets) => {
                println!("byte {at}: {now:?} {sets:?}\nbefore {before:?} {known:?}");
                silent.push(at);
            }
        }
    }
    put(&a, &sound, &noted);
    a.up();
    a.verify_ledger(true);
    println!(
        "summary: {tries} bytes of the records flipped; {found} found, {harmless} changed nothing, {undescribed} changed what no entry \
         holds of patient, study or series, {} silent",
        silent.len()
    );
    assert!(silent.is_empty(), "neither found nor harmless: {silent:?} of {}", sound.len());
    assert!(found > 0 && undescribed > 0 && harmless + undescribed + found == tries);
    note_fired(found as usize);
}

/// LED-006, FLT-025: a byte that changes in the records of a running gateway, so that a transfer would never be sent, is told by the gateway
/// itself, changes nothing, and stays told until the records are found sound again.
#[test]
fn a_flipped_lane_is_told_by_the_gateway_itself() {
    let stage = Stage::new();
    let config = stage
        .site_a("https://127.0.0.1:9/dicom-web")
        .with("[store]\nverify_every = \"1s\"\n[retention]\npurge = false");
    let a = Gateway::start(&stage.path().join("a"), config);
    a.cli(&["peers", "pause", "b", "--reason", "a test"]).ok("pause");
    send_all(884, 0..3, a.config.dicom_port, "WB_A");
    let verified = || a.ask(&["status", "--json"])[0]["verified"].clone();
    let entries = || a.ask(&["status", "--json"])[0]["ledger_entries"].as_u64();
    let becomes = |sound: bool| {
        let what = if sound { "the records are sound" } else { "the records are not sound" };
        let found = || Some(verified()).filter(|now| now["sound"] == sound && now["entries"].as_u64() == entries());
        crate::support::wait::until(seconds(60), what, found)
    };
    becomes(true);
    let told = a.cli(&["status"]).ok("status");
    assert!(told.contains("records verified ") && told.contains(" ago: sound"), "{told}");
    let path = a.data_dir().join("records.db");
    let path = path.to_str().unwrap();
    let run = |sql: &str| python::lines("on_records", [path, sql]);
    let lane = run("SELECT lane FROM transfers WHERE id = 2")[0][0].as_i64().unwrap();
    run("UPDATE transfers SET lane = NULL WHERE id = 2");
    let found = becomes(false);
    note_fired(1);
    assert_eq!(found["problems"], 1, "{found}");
    assert!(found["first"].as_str().unwrap().starts_with("transfer 2: "), "{found}");
    assert!(found["last_sound"].is_string(), "{found}");
    let told = a.cli(&["status"]).ok("status");
    assert!(told.contains(" ago: NOT SOUND") && told.contains("! THE RECORDS ARE NOT SOUND: 1 problem"), "{told}");
    let log = a.log();
    let line = log.lines().find(|line| line.contains("do not agree with the ledger")).unwrap();
    assert!(line.contains("transfer 2") && line.contains("waits where nobody looks for it"), "{line}");
    assert!(a.cli(&["ledger", "verify"]).code == Some(5), "by hand too");
    assert!(run("SELECT lane FROM transfers WHERE id = 2")[0][0].is_null(), "nothing was changed");
    run(&format!("UPDATE transfers SET lane = {lane} WHERE id = 2"));
    becomes(true);
    assert!(!a.cli(&["status"]).ok("status").contains("NOT SOUND"));
    a.verify_ledger(true);
}

/// FLT-025, REL-07: as the blobs are read again, what the records say of patients, studies, series and images is compared with them. Of all our
/// files nothing differs; a change at each level is told, sets nothing aside, and is told no longer once it is put right.
#[test]
fn a_changed_byte_of_the_catalogue_is_told_as_the_blobs_are_read() {
    let stage = Stage::new();
    let eager = "[store]\nscrub_every = \"1s\"\nscrub_rate = \"1 GiB\"\n[retention]\npurge = false";
    let a = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web").with(eager));
    a.cli(&["peers", "pause", "b", "--reason", "a test"]).ok("pause");
    let paths: Vec<String> = corpus::files().iter().map(|file| file.path.to_str().unwrap().to_owned()).collect();
    let arguments: Vec<&str> = ["send", "--to", "b"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    // Some of them are there to be refused.
    assert_eq!(a.cli(&arguments).code, Some(1));
    send_all(885, 0..2, a.config.dicom_port, "WB_A");
    let status = || a.ask(&["status", "--json"]).remove(0);
    let blobs = a.ask(&["store", "status", "--json"])[0]["blobs"].as_u64().unwrap();
    assert!(blobs > 50, "{blobs} blobs");
    let until = |what: &str, done: &dyn Fn(&serde_json::Value) -> bool| {
        crate::support::wait::until(seconds(120), what, || Some(status()).filter(|now| done(now)))
    };
    let now = until("all blobs were read", &|now| now["scrub"]["blobs"] == blobs && !now["scrub"]["ended"].is_null());
    assert_eq!(now["unlike"], serde_json::json!([]), "of {blobs} blobs none is described wrongly");
    let names = names(885, 0, 0);
    let path = a.data_dir().join("records.db");
    let run = |sql: &str| python::lines("on_records", [path.to_str().unwrap(), sql]);
    let of_study = format!("WHERE uid = '{}'", names.study);
    let of_instance = format!("WHERE sop_uid = '{}'", names.instance);
    let of_series = format!("WHERE id = (SELECT series FROM instances {of_instance})");
    let rows = [
        ("studies", "patient_id", "patient_id || 'X'", &of_study, "PatientID"),
        ("studies", "attributes", r#"replace(attributes, '"00100010":"', '"00100010":"X')"#, &of_study, "PatientName"),
        ("studies", "attributes", r#"replace(attributes, '"00100010"', '"00100050"')"#, &of_study, "(0010,0050)"),
        ("series", "attributes", r#"replace(attributes, '"00080060":"', '"00080060":"X')"#, &of_series, "Modality"),
        ("instances", "attributes", "substr(attributes, 2)", &of_instance, "what is kept of it"),
    ];
    for (table, column, to, of, want) in &rows {
        let was = run(&format!("SELECT {column} FROM {table} {of}"))[0][0].as_str().unwrap().to_owned();
        run(&format!("UPDATE {table} SET {column} = {to} {of}"));
        let told = until("it is told", &|now| now["unlike"] != serde_json::json!([]));
        assert_eq!(told["unlike"], serde_json::json!([format!("{}: {want}", names.instance)]), "{table}.{column}");
        assert!(a.cli(&["status"]).ok("status").contains("! THE RECORDS DO NOT SAY WHAT 1 STORED IMAGES SAY"));
        note_fired(1);
        run(&format!("UPDATE {table} SET {column} = '{was}' {of}"));
        until("it is told no longer", &|now| now["unlike"] == serde_json::json!([]));
    }
    assert_eq!(a.ask(&["store", "status", "--json"])[0]["corrupt"], 0, "nothing is set aside");
    a.verify_ledger(true);
}

/// Without what differs from one moment to the next.
fn without_ages(text: &str) -> String {
    fn prune(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.retain(|name, _| !name.contains("age") && !name.contains("next"));
                fields.values_mut().for_each(prune);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(prune),
            _ => {}
        }
    }
    let line = |line: &str| {
        let Ok(mut value) = serde_json::from_str(line) else { return line.to_owned() };
        prune(&mut value);
        value.to_string()
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Everything in a directory, as it lies there.
fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let place = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy_all(&entry.path(), &place),
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), &place).unwrap()),
            _ => {}
        }
    }
}

/// Instances of one study by their number, as they are sent and as they are held.
fn push_some(a: &Gateway, numbers: std::ops::Range<u64>) -> Sent {
    let port = a.config.dicom_port;
    let mut association = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let mut sent = Sent::new();
    for number in numbers {
        let names = names(884, 0, number);
        let bytes = data_set(&names, 5000, number);
        assert_eq!(association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap(), Status::SUCCESS);
        sent.insert((names.study, names.instance), digest(&bytes));
    }
    association.release();
    sent
}

/// FLT-025: SQLite takes the log that a killed gateway left as far as its sums agree, and drops the rest without a word. What is shown then
/// is whole (the log is not copied back here, see `records::sqlite::tests::log`); the records are doubted, which is told, and no bytes go: also
/// if the blobs have not noted yet what is dropped.
#[test]
fn a_flipped_byte_of_the_log_is_told() {
    let stage = Stage::new();
    let often = "[retention]\nevery = \"1s\"";
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web").with(often));
    let data = a.data_dir();
    let [log, noted] = ["records.db-wal", "blobs/identity"].map(|name| data.join(name));
    let length = || std::fs::metadata(&log).unwrap().len();
    let mut sent = push_some(&a, 0..2);
    let (early, before) = (length(), std::fs::read(&noted).unwrap());
    // An entry that stands behind all that is flipped early, and is noted.
    sent.extend(push_some(&a, 2..3));
    until(seconds(90), "the blobs note the records", || (std::fs::read(&noted).unwrap() != before).then_some(()));
    let after = length();
    let late = push_some(&a, 3..6);
    a.kill();
    sent.extend(late.clone());
    assert!(early > 32 << 10 && length() > after, "{early}, {after}, {}", length());
    let mut noise = Noise::new(seed());
    let tries = if all() { 20 } else { rounds("WEYBRIDGE_FLIPS", 3) };
    let (mut early_lost, mut late_lost) = (0, 0);
    for number in 0..2 * tries {
        a.config.data_dir = format!("data-{number}");
        a.write_config();
        copy_all(&data, &a.data_dir());
        let is_early = number % 2 == 0;
        // Behind the head of the log, in what was there before the note; or in what came after it.
        let (from, to) = if is_early { (32, early) } else { (after, length()) };
        let at = from + noise.below(to - from);
        flip_at(&a.data_dir().join("records.db-wal"), at);
        a.up();
        let damage = Damage::of(&a, &sent);
        let doubted = &a.ask(&["store", "status", "--json"])[0]["doubted"];
        assert!(damage.torn.is_empty() && damage.aside.is_empty() && damage.problems.is_empty(), "{at}: {damage:?}");
        assert_eq!(*doubted, true, "byte {at} of {early}, {after}, {}: {damage:?}", length());
        let kept = std::fs::read(a.data_dir().join("records.db-wal.damaged")).unwrap();
        assert_eq!(kept.len() as u64, length(), "the log is kept as it was found");
        let numbers = 0..sent.len() as u64;
        let bytes = numbers.map(|number| data_set(&names(884, 0, number), 5000, number));
        bytes.for_each(|bytes| drop(find(&a.data_dir().join("blobs"), &bytes)));
        if is_early {
            early_lost += damage.lost.len();
        } else {
            assert!(damage.lost.iter().all(|lost| late.contains_key(lost)), "{at}: {damage:?}");
            late_lost += damage.lost.len();
        }
        a.kill();
        std::fs::remove_dir_all(a.data_dir()).unwrap();
    }
    let lost = early_lost + late_lost;
    println!("summary: {} bytes of the log flipped; all told; {lost} instances dropped with them", 2 * tries);
    assert!(early_lost > 0 && late_lost > 0, "{early_lost}, {late_lost}");
    note_fired(lost);
}
