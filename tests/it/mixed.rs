//! The mixed load: everything that hospitals send, and one hostile instance in a hundred, by 16 associations at once.
//! Every good one is verified at B with its bytes, every hostile one is answered rightly, and none of them is stored.
//!
//! `WEYBRIDGE_MIXED` sets how many instances; `.ci/long mixed` takes 24,000.

use crate::support::corpus::{self, CorpusFile, Fate};
use crate::support::files::{EXPLICIT_LE, Noise, SECONDARY_CAPTURE, data_set, digest, names, read_part10};
use crate::support::fired::note_fired;
use crate::support::pacs::{Association, Status};
use crate::support::two_sites::TwoSites;
use crate::support::wait::seconds;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use weybridge::dicom::transcode::Transcoder;
use weybridge::dicom::uid::TransferSyntaxUid;

const SENDERS: usize = 16;
/// Copies of one file that go into one study.
const PER_STUDY: usize = 100;
/// Larger files are sent once and not copied.
const LARGEST_COPIED: usize = 256 * 1024;
/// One in so many is hostile.
const HOSTILE_EVERY: usize = 100;
const LIMIT: u64 = 100_000_000;

/// A file as it is sent: class, syntax, data set, and where its UIDs stand in it.
struct Original {
    class: String,
    syntax: String,
    instance: String,
    study: String,
    data: Vec<u8>,
    /// Where the values of SOP Instance UID and Study Instance UID begin; none if it is only sent as it is.
    places: Option<[(usize, usize); 2]>,
}

/// What one association sends: copies of one file, by number.
struct Task<'a> {
    /// Its place in the list, which is part of its copies' UIDs.
    file: usize,
    original: &'a Original,
    numbers: Vec<usize>,
}

#[test]
fn all_that_is_good_arrives_and_all_that_is_hostile_is_refused() {
    let count: usize = std::env::var("WEYBRIDGE_MIXED").map_or(800, |text| text.parse().unwrap());
    let hostile = count / HOSTILE_EVERY;
    let good = count - hostile;
    let originals = originals();
    let mut sites = TwoSites::start(None);
    let port = sites.a.config.dicom_port;
    let tasks = tasks(&originals, good);

    let start = Instant::now();
    let (next, next_hostile) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let worker = || {
        let mut sent = Vec::new();
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            sent.extend(push(port, task));
            // The hostile ones come in between, from the same sender.
            let due = hostile * next.load(Ordering::Relaxed).min(tasks.len()) / tasks.len();
            while next_hostile.load(Ordering::Relaxed) < due {
                attack(port, next_hostile.fetch_add(1, Ordering::Relaxed));
            }
        }
        sent
    };
    let sent: Vec<Sent> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SENDERS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let taken = start.elapsed();
    let attacks = next_hostile.into_inner();
    assert_eq!((sent.len(), attacks >= hostile), (good, true));
    sites.a.all_become("b", "verified", good as u64, seconds(240 + count as u64 / 20));
    let arrived = start.elapsed();

    let bytes = compare(&sites, &sent);
    nothing_hostile_is_held(&sites, attacks);
    sites.a.verify_ledger(false);
    sites.b.verify_ledger(true);
    let (a, b) = (sites.a.peak_memory(), sites.b.peak_memory());
    let rate = |time: std::time::Duration| good as f64 / time.as_secs_f64();
    println!(
        "summary: {good} good of {} files in {} syntaxes and {} classes, {} MB, and {attacks} hostile by {SENDERS} \
         associations; all good ones verified at B, byte for byte; no hostile one stored; taken at {:.0}/s, verified at \
         {:.0}/s; peak resident memory {} MB at A and {} MB at B",
        originals.len(),
        originals.iter().map(|o| &o.syntax).collect::<BTreeSet<_>>().len(),
        originals.iter().map(|o| &o.class).collect::<BTreeSet<_>>().len(),
        bytes / 1_000_000,
        rate(taken),
        rate(arrived),
        a / 1_000_000,
        b / 1_000_000,
    );
    assert!(a <= LIMIT && b <= LIMIT, "memory grew with the load");
    note_fired(attacks);
}

/// The files of the corpus that are to arrive, and generated ones; those of an odd length padded as on the wire.
fn originals() -> Vec<Original> {
    let files = corpus::files().into_iter().filter(|file| file.fate == Fate::First);
    let mut originals: Vec<Original> = files.map(|file| original(&file)).collect();
    for (at, size) in [0, 2, 4096, 100_000].into_iter().enumerate() {
        let names = names(810, at as u64, 0);
        let data = data_set(&names, size, at as u64);
        let (class, syntax) = (SECONDARY_CAPTURE.to_owned(), EXPLICIT_LE.to_owned());
        let places = places(&data, &syntax, &names.instance, &names.study);
        originals.push(Original { class, syntax, instance: names.instance, study: names.study, data, places });
    }
    originals
}

fn original(file: &CorpusFile) -> Original {
    let bytes = std::fs::read(&file.path).unwrap();
    let start = read_part10(&bytes).map_or(0, |meta| meta.data_set_at);
    let mut data = bytes[start..].to_vec();
    data.resize(data.len().next_multiple_of(2), 0);
    assert_eq!(digest(&data), file.sha256, "{}", file.name);
    let places = (data.len() <= LARGEST_COPIED).then(|| places(&data, &file.syntax, &file.instance, &file.study));
    Original {
        class: file.sop_class.clone(),
        syntax: file.syntax.clone(),
        instance: file.instance.clone(),
        study: file.study.clone(),
        data,
        places: places.flatten(),
    }
}

/// Where the two UIDs stand, if they stand there once and are long enough to be replaced by others.
fn places(data: &[u8], syntax: &str, instance: &str, study: &str) -> Option<[(usize, usize); 2]> {
    let place = |tag: [u16; 2], uid: &str| {
        let big = syntax == "1.2.840.10008.1.2.2";
        let length = u16::try_from(uid.len().next_multiple_of(2)).ok()?;
        let short = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let tag = [short(tag[0]), short(tag[1])].concat();
        let explicit = [&tag[..], b"UI", &short(length), uid.as_bytes()].concat();
        let implicit = [&tag[..], &u32::from(length).to_le_bytes(), uid.as_bytes()].concat();
        let mut found = [explicit, implicit].into_iter().filter_map(|wanted| {
            let mut hits = memchr::memmem::find_iter(data, &wanted);
            hits.next().filter(|_| hits.next().is_none())
        });
        found.next().map(|at| (at + 8, uid.len())).filter(|_| uid.len() >= 20)
    };
    Some([place([0x0008, 0x0018], instance)?, place([0x0020, 0x000D], study)?])
}

/// A UID of this length that no other file and number has.
fn uid(kind: char, file: usize, number: usize, length: usize) -> String {
    let number = format!("{file:04}{number:06}");
    format!("2.25.{kind}{number:0>width$}", width = length - 6)
}

/// Every file once, then copies in turn until there are enough; a study's copies stay together.
fn tasks(originals: &[Original], good: usize) -> Vec<Task<'_>> {
    let mut numbers: Vec<Vec<usize>> = originals.iter().map(|_| vec![0]).collect();
    numbers.truncate(good);
    let copied: Vec<usize> = (0..numbers.len()).filter(|at| originals[*at].places.is_some()).collect();
    for extra in 0..good.saturating_sub(originals.len()) {
        numbers[copied[extra % copied.len()]].push(1 + extra / copied.len());
    }
    let of = |(at, numbers): (usize, Vec<usize>)| {
        let groups: Vec<Vec<usize>> = numbers.chunks(25).map(<[usize]>::to_vec).collect();
        groups.into_iter().map(move |numbers| Task { file: at, original: &originals[at], numbers })
    };
    let mut tasks: Vec<Task<'_>> = numbers.into_iter().enumerate().flat_map(of).collect();
    // Shuffled by a fixed seed: classes and syntaxes mix.
    let mut noise = Noise::new(8);
    for at in (1..tasks.len()).rev() {
        tasks.swap(at, noise.below(at as u64 + 1) as usize);
    }
    tasks
}

/// What was acknowledged, with what B must have of it.
struct Sent {
    study: String,
    instance: String,
    digest: String,
    bytes: usize,
}

fn push(port: u16, task: &Task<'_>) -> Vec<Sent> {
    let Original { class, syntax, data, instance, study, places } = task.original;
    let mut association = Association::open(port, "SENDER", "WB_A", class, syntax).unwrap();
    let mut data = data.clone();
    let mut sent = Vec::with_capacity(task.numbers.len());
    for number in &task.numbers {
        let (mut instance, mut study) = (instance.clone(), study.clone());
        if let Some([(at_instance, length), (at_study, study_length)]) = places.filter(|_| *number > 0) {
            instance = uid('1', task.file, *number, length);
            study = uid('2', task.file, number / PER_STUDY, study_length);
            data[at_instance..at_instance + length].copy_from_slice(instance.as_bytes());
            data[at_study..at_study + study_length].copy_from_slice(study.as_bytes());
        }
        let status = association.store(class, &instance, &data).unwrap();
        assert_eq!(status, Status::SUCCESS, "{instance} in {syntax}");
        sent.push(Sent { study, instance, digest: digest_at_b(syntax, &data), bytes: data.len() });
    }
    association.release();
    sent
}

/// The web takes neither implicit nor big-endian data sets, so B has them as A re-encodes them (WEB-001). That this is
/// right is shown by pydicom in store_and_forward.rs.
fn digest_at_b(syntax: &str, data: &[u8]) -> String {
    let Some(mut transcoder) = Transcoder::new(&TransferSyntaxUid::parse(syntax).unwrap()) else { return digest(data) };
    let mut out = Vec::new();
    transcoder.push(data, &mut out).unwrap();
    transcoder.finish(&mut out).unwrap();
    digest(&out)
}

/// Compares what B holds with what was sent, study by study; the bytes of it all.
fn compare(sites: &TwoSites, sent: &[Sent]) -> usize {
    let mut studies: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for one in sent {
        let known = studies.entry(&one.study).or_default().insert(&one.instance, &one.digest);
        assert_eq!(known, None, "{} was sent twice", one.instance);
    }
    for (study, wanted) in studies {
        let held = sites.b.study(study);
        let held: BTreeMap<&str, &str> =
            held.iter().map(|i| (i["sop_instance_uid"].as_str().unwrap(), i["sha256"].as_str().unwrap())).collect();
        assert_eq!(held, wanted, "study {study} at B");
    }
    sent.iter().map(|one| one.bytes).sum()
}

/// What a hostile instance must come to.
enum End {
    /// A status that masked gives this, and the association lives on.
    Status(u16, u16),
    /// An abort, or a closed connection.
    Gone,
}

/// One hostile instance, of the kind that its number chooses, in a study of its own.
fn attack(port: u16, number: usize) {
    let names = names(811, number as u64, 1);
    let mut association = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let (class, sound) = (SECONDARY_CAPTURE, data_set(&names, 20_000, number as u64));
    let pixels = sound.len() - 20_000;
    let (what, instance, data, raw, end): (_, &str, Vec<u8>, Vec<u8>, _) = match number % 10 {
        0 => ("cut short", &names.instance, sound[..10_000].to_vec(), vec![], End::Status(0xF000, 0xC000)),
        1 => ("a lying length", &names.instance, lying(&sound, pixels), vec![], End::Status(0xF000, 0xC000)),
        2 => ("another UID", "2.25.7", sound.clone(), vec![], End::Status(0xFF00, 0xA900)),
        3 => ("no UID", "../../etc/passwd", sound.clone(), vec![], End::Status(0xFFFF, 0x0117)),
        4 => ("too deep", &names.instance, nested(&sound[..pixels - 12]), vec![], End::Status(0xF000, 0xC000)),
        5 => ("garbage in place of data", &names.instance, vec![0xFF; 5000], vec![], End::Status(0xF000, 0xC000)),
        6 => ("garbage PDUs", &names.instance, vec![], vec![0xFF; 64], End::Gone),
        7 => ("a second request", &names.instance, vec![], [&[1, 0, 0, 0, 0, 68][..], &[0; 68]].concat(), End::Gone),
        8 => ("a PDV beyond its PDU", &names.instance, vec![], vec![4, 0, 0, 0, 0, 8, 0, 0, 0, 200, 1, 0], End::Gone),
        _ => (
            "a PDU of 4 GiB",
            &names.instance,
            vec![],
            vec![4, 0, 255, 255, 255, 255, 255, 255, 255, 251, 1, 0],
            End::Gone,
        ),
    };
    match end {
        End::Status(mask, want) => {
            let status = association.store(class, instance, &data).unwrap();
            assert_eq!(status.0 & mask, want, "{what}: {status:04x?}");
            association.release();
        }
        End::Gone => {
            association.begin(class, instance).unwrap();
            association.data(&sound[..1000], false).unwrap();
            // It may have been cut off before all was written.
            let _ = association.raw(&raw);
            association.answer().expect_err(what);
        }
    }
}

/// Pixel Data that says to be longer than it is.
fn lying(sound: &[u8], pixels: usize) -> Vec<u8> {
    let mut data = sound.to_vec();
    data[pixels - 4..pixels].copy_from_slice(&30_000_u32.to_le_bytes());
    data
}

/// A hundred thousand sequences within one another.
fn nested(head: &[u8]) -> Vec<u8> {
    let level = [0x40, 0, 0x30, 0xA7, b'S', b'Q', 0, 0, 255, 255, 255, 255, 0xFE, 0xFF, 0, 0xE0, 255, 255, 255, 255];
    [head, &level.repeat(100_000)].concat()
}

fn nothing_hostile_is_held(sites: &TwoSites, attacks: usize) {
    let hostile: BTreeSet<String> = (0..attacks).map(|number| names(811, number as u64, 1).study).collect();
    for site in [&sites.a, &sites.b] {
        let lines = site.ask(&["transfers", "list", "--json"]);
        let studies = lines.iter().filter_map(|line| line["study_instance_uid"].as_str());
        assert_eq!(studies.filter(|study| hostile.contains(*study)).count(), 0);
    }
    // Also not without an owner: what was refused is not known at all.
    for study in hostile.iter().take(20) {
        let held = sites.a.cli(&["study", study, "--json"]).stdout;
        assert!(!held.contains("sop_instance_uid"), "{held}");
    }
}
