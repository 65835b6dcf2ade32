//! WADO-RS as peers' programs ask: byte for byte what was stored, re-encoded where it must be, in parts, and never whole if damaged.

use crate::support::certs::Identity;
use crate::support::dcmtk::storescu;
use crate::support::files::{
    EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, digest, head, names, part10, read_part10,
};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::multipart::{body, boundary_of, complete_parts, content_type};
use crate::support::python;
use crate::support::tools::demo_study;
use crate::support::two_sites::{A_IDENTITY, B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use crate::support::wire::{Reply, Wire};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Instant;

const ALL: &str = "Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*";
const ONE: &str = "Accept: application/dicom; transfer-syntax=*";

/// A site that lets peer `b` do everything, and peer `a` only store.
pub struct Site {
    pub gateway: Gateway,
    pub b: Identity,
    a: Identity,
    stage: Stage,
}

impl Site {
    pub fn start(more: &str) -> Self {
        let stage = Stage::new();
        let only_store = format!(
            "[[peer]]\nname = \"a\"\nurl = \"https://127.0.0.1:9/dicom-web\"\nidentity = \"{A_IDENTITY}\"\nmay = [\"store\"]"
        );
        let config = stage.site_a("https://127.0.0.1:9/dicom-web").with(&only_store).with(more);
        let gateway = Gateway::start(&stage.path().join("site"), config);
        let (b, a) = (stage.authority.issue(B_IDENTITY), stage.authority.issue(A_IDENTITY));
        Self { gateway, b, a, stage }
    }

    /// Where a story may write.
    pub fn folder(&self) -> &Path {
        self.stage.path()
    }

    fn wire(&self) -> Wire {
        Wire::open(&self.b, self.gateway.config.web_port)
    }

    pub fn store(&self, parts: &[Vec<u8>]) {
        let mut wire = self.wire();
        let kind = format!("Content-Type: {}", content_type());
        wire.request("POST /dicom-web/studies", &[&kind], &body(parts, true)).unwrap();
        let reply = wire.answer().expect("an answer");
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    /// The answer; `None` if it breaks off.
    fn try_get(&self, resource: &str, headers: &[&str]) -> Option<Reply> {
        let mut wire = self.wire();
        wire.head(&format!("GET /dicom-web/{resource}"), headers).unwrap();
        wire.answer()
    }

    pub fn get(&self, resource: &str, headers: &[&str]) -> Reply {
        self.try_get(resource, headers).expect("an answer")
    }
}

fn file(names: &Names, pixel_bytes: u32, seed: u64) -> Vec<u8> {
    part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(names, pixel_bytes, seed))
}

fn of_instance(names: &Names) -> String {
    format!("studies/{}/series/{}/instances/{}", names.study, names.series, names.instance)
}

/// The digests of the data sets in a multipart answer.
fn digests(reply: &Reply) -> BTreeSet<String> {
    let boundary = boundary_of(reply.header("content-type").unwrap()).unwrap();
    let parts = complete_parts(&reply.body, &boundary).into_iter();
    parts.map(|part| digest(&part[read_part10(part).expect("a Part 10 file").data_set_at..])).collect()
}

/// The digests that the heads of the parts tell, as the parts come.
fn told(reply: &Reply) -> Vec<[u8; 32]> {
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let values =
        text.lines().filter_map(|line| line.strip_prefix("Weybridge-Data-Set-Digest: sha-256=:")?.strip_suffix(':'));
    values.map(|value| BASE64.decode(value).unwrap().try_into().unwrap()).collect()
}

/// WEB-104: each part that leaves as it is stored tells the digest of its data set, one that is made anew tells none.
#[test]
fn each_part_that_leaves_as_stored_tells_the_digest_of_its_data_set() {
    let site = Site::start("");
    storescu(site.gateway.config.dicom_port, "WB_A", &["-R", "-xi"], &demo_study("mr")).ok("storescu, implicit");
    let all: Vec<Names> = (1..=3).map(|number| names(437, 1, number)).collect();
    site.store(&all.iter().map(|names| file(names, 5000, 1)).collect::<Vec<_>>());
    let reply = site.get(&format!("studies/{}", all[0].study), &[ALL]);
    let boundary = boundary_of(reply.header("content-type").unwrap()).unwrap();
    let ours: Vec<[u8; 32]> = complete_parts(&reply.body, &boundary)
        .into_iter()
        .map(|part| Sha256::digest(&part[read_part10(part).expect("a Part 10 file").data_set_at..]).into())
        .collect();
    assert_eq!((told(&reply), ours.len()), (ours, 3));
    let implicit = read_part10(&fs::read(&demo_study("mr")[0]).unwrap()).unwrap().instance;
    let studies = site.gateway.ask(&["transfers", "list", "--json"]);
    let studies = studies.iter().map(|line| line["study_instance_uid"].as_str().unwrap().to_owned());
    let holds = |study: &String| site.gateway.study(study).iter().any(|row| row["sop_instance_uid"] == *implicit);
    let study = studies.into_iter().find(holds).expect("the study that came implicit");
    let native = site.get(&format!("studies/{study}"), &[ALL]);
    assert_eq!((native.status, digests(&native).len(), told(&native)), (200, demo_study("mr").len(), Vec::new()));
}

#[test]
fn what_is_retrieved_is_byte_for_byte_what_was_stored() {
    let site = Site::start("");
    let all: Vec<Names> = (1..=5).map(|number| names(430, 1, number)).collect();
    site.store(&all.iter().map(|names| file(names, 50_000, 1)).collect::<Vec<_>>());
    let kept: BTreeSet<String> =
        site.gateway.study(&all[0].study).iter().map(|row| row["sha256"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kept.len(), 5);
    let study = format!("studies/{}", all[0].study);
    for (resource, count) in
        [(study.clone(), 5), (format!("{study}/series/{}", all[0].series), 5), (of_instance(&all[2]), 1)]
    {
        for accept in [ALL, "Accept: */*", "X: no Accept at all", "Accept: multipart/related; type=application/dicom"] {
            let reply = site.get(&resource, &[accept]);
            assert_eq!(reply.status, 200, "{resource}: {reply:?}");
            let came = digests(&reply);
            assert!(came.len() == count && came.is_subset(&kept), "{resource} with {accept}");
            let text = String::from_utf8_lossy(&reply.body);
            let one = format!("Content-Location: https://gateway.test/dicom-web/{}", of_instance(&all[2]));
            assert!(text.contains(&one) && text.contains("; transfer-syntax=1.2.840.10008.1.2.1\r\n"));
        }
    }
    let single = site.get(&of_instance(&all[0]), &[ONE]);
    let meta = read_part10(&single.body).expect("a Part 10 file");
    assert_eq!((single.status, meta.instance, meta.syntax.as_str()), (200, all[0].instance.clone(), EXPLICIT_LE));
    assert!(kept.contains(&digest(&single.body[meta.data_set_at..])));
    let by_query = site.get(
        &format!("{study}?accept=multipart/related;%20type=%22application/dicom%22;transfer-syntax=*"),
        &["Accept: text/x"],
    );
    assert_eq!((by_query.status, digests(&by_query)), (200, kept), "the query parameter counts more than the header");
}

#[test]
fn what_is_not_given_is_told_apart() {
    let site = Site::start("");
    let names = names(431, 1, 1);
    site.store(&[file(&names, 1000, 1)]);
    let study = format!("studies/{}", names.study);
    let rows = [
        ("studies/1.2.3".to_owned(), ALL, 404),
        (format!("{study}/series/1.2.3"), ALL, 404),
        (format!("{study}/series/{}/instances/1.2.3", names.series), ALL, 404),
        (format!("studies/1.2.3/series/{}/instances/{}", names.series, names.instance), ALL, 404),
        (study.clone(), "Accept: application/dicom", 406),
        (study.clone(), "Accept: application/dicom+json", 406),
        (study.clone(), "Accept: image/jpeg", 406),
        (
            study.clone(),
            "Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.4.50",
            406,
        ),
        // Never by web, whoever asks for it.
        (of_instance(&names), "Accept: application/dicom; transfer-syntax=1.2.840.10008.1.2", 406),
        (study.clone(), "Accept: application/dicom, image/jpeg", 400),
        (format!("{study}/series/..%2f"), ALL, 400),
        (format!("{study}/metadata"), ALL, 406),
        ("studies/1.2.3/metadata".to_owned(), "Accept: */*", 404),
        (format!("{}/bulkdata/00100010", of_instance(&names)), "Accept: image/png", 406),
        (format!("{}/bulkdata/00404000", of_instance(&names)), "Accept: */*", 404),
        (format!("{}/bulkdata/1/2/3", of_instance(&names)), "Accept: */*", 404),
        (format!("{}/bulkdata/..%2f7FE00010", of_instance(&names)), "Accept: */*", 404),
    ];
    for (resource, accept, status) in rows {
        let reply = site.get(&resource, &[accept]);
        assert_eq!(reply.status, status, "{resource} with {accept}: {reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{resource}");
    }
    // Who may not retrieve does not learn what there is.
    for resource in [study, "studies/1.2.3".to_owned()] {
        let mut wire = Wire::open(&site.a, site.gateway.config.web_port);
        wire.head(&format!("GET /dicom-web/{resource}"), &[ALL]).unwrap();
        let reply = wire.answer().expect("an answer");
        assert_eq!(reply.status, 403, "{reply:?}");
        assert!(reply.text().contains("does not let yours retrieve"), "{reply:?}");
    }
    let ledger = site.gateway.cli(&["ledger", "export"]).stdout;
    assert_eq!(ledger.matches("what\\\":\\\"retrieve\\\"").count(), 1, "once a caller and minute: {ledger}");
}

#[test]
fn one_that_was_cut_off_is_resumed_by_its_tag() {
    let site = Site::start("");
    let names = names(432, 1, 1);
    site.store(&[file(&names, 1_000_000, 1)]);
    let resource = of_instance(&names);
    let whole = site.get(&resource, &[ONE]);
    let tag = whole.header("etag").unwrap().to_owned();
    assert_eq!((whole.status, whole.header("accept-ranges")), (200, Some("bytes")), "{:?}", whole.header("etag"));
    assert_eq!((whole.header("cache-control"), whole.header("vary")), (Some("private, no-cache"), Some("Accept")));
    let (total, cut) = (whole.body.len(), whole.body.len() * 6 / 10);
    // Cut at 60 %.
    let mut wire = site.wire();
    wire.head(&format!("GET /dicom-web/{resource}"), &[ONE]).unwrap();
    let begun = wire.beginning(cut).expect("60 % of the body");
    drop(wire);
    let rest = site.get(&resource, &[ONE, &format!("Range: bytes={cut}-"), &format!("If-Range: {tag}")]);
    assert_eq!(rest.status, 206);
    assert_eq!(rest.header("content-range"), Some(format!("bytes {cut}-{}/{total}", total - 1).as_str()));
    assert!([begun, rest.body].concat() == whole.body, "both together are the whole");
    let middle = site.get(&resource, &[ONE, "Range: bytes=1000-300000"]);
    assert!(middle.status == 206 && middle.body == whole.body[1000..=300_000]);
    let end = site.get(&resource, &[ONE, "Range: bytes=-100"]);
    assert!(end.status == 206 && end.body == whole.body[total - 100..]);
    let other = site.get(&resource, &[ONE, &format!("Range: bytes={cut}-"), "If-Range: \"another\""]);
    assert!(other.status == 200 && other.body == whole.body, "what was begun is something else");
    let only = |tag: &str| site.get(&resource, &[ONE, "Range: bytes=0-99", &format!("If-Match: {tag}")]).status;
    assert_eq!((only(&tag), only("*"), only("\"another\"")), (206, 206, 412), "nothing of something else");
    let mut wire = site.wire();
    wire.head(&format!("HEAD /dicom-web/{resource}"), &[ONE, "Range: bytes=0-99"]).unwrap();
    assert_eq!(wire.status(), Some(200), "RFC 9110 section 14.2: a range is of GET alone");
    let beyond = site.get(&resource, &[ONE, &format!("Range: bytes={total}-")]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some(format!("bytes */{total}").as_str())));
    let mut wire = site.wire();
    wire.head(&format!("GET /dicom-web/{resource}"), &[ONE, &format!("If-None-Match: {tag}")]).unwrap();
    assert_eq!(wire.answer().expect("an answer").status, 304);
}

#[test]
fn what_came_implicit_leaves_explicit_and_what_is_compressed_leaves_as_it_is() {
    let site = Site::start("");
    let (mr, us) = (demo_study("mr"), demo_study("us"));
    let port = site.gateway.config.dicom_port;
    storescu(port, "WB_A", &["-R", "-xi"], &mr).ok("storescu, implicit");
    storescu(port, "WB_A", &["-R", "-xy"], &us).ok("storescu, JPEG");
    let url = site.gateway.config.url();
    let arguments: Vec<OsString> =
        [url.into(), site.b.certificate.clone().into(), site.b.key.clone().into(), site.b.trust.clone().into()]
            .into_iter()
            .chain(mr.iter().map(Into::into))
            .collect();
    for line in python::lines("wado", &arguments) {
        assert_eq!(line["differ"].as_array().unwrap().len(), 0, "{line}");
        assert_eq!(line["syntaxes"], serde_json::json!([EXPLICIT_LE]), "{line}");
        let one = line["what"] == "instance";
        assert_eq!(line["instances"], if one { 1 } else { mr.len() }, "{line}");
    }
    let studies = site.gateway.ask(&["transfers", "list", "--json"]);
    let mut compressed = 0;
    for study in studies.iter().map(|line| line["study_instance_uid"].as_str().unwrap()) {
        let rows = site.gateway.study(study);
        if rows
            .iter()
            .all(|row| row["transfer_syntax_uid"] == EXPLICIT_LE || row["transfer_syntax_uid"] == "1.2.840.10008.1.2")
        {
            continue;
        }
        compressed += rows.len();
        let kept: BTreeSet<String> = rows.iter().map(|row| row["sha256"].as_str().unwrap().to_owned()).collect();
        assert_eq!(digests(&site.get(&format!("studies/{study}"), &[ALL])), kept);
        let native = site.get(&format!("studies/{study}"), &["Accept: */*"]);
        let boundary = boundary_of(native.header("content-type").unwrap()).unwrap();
        let parts = complete_parts(&native.body, &boundary);
        let syntaxes: Vec<String> = parts.iter().map(|part| read_part10(part).unwrap().syntax).collect();
        assert_eq!((native.status, syntaxes), (200, vec![EXPLICIT_LE.to_owned(); rows.len()]));
    }
    assert_eq!(compressed, us.len());
}

/// Changes one byte of what lies below a folder, in the file that holds `inside`.
fn damage(folder: &Path, inside: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return damage(&path, inside);
        }
        let mut bytes = fs::read(&path).unwrap();
        let Some(at) = memchr::memmem::find(&bytes, inside) else { return false };
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        true
    })
}

#[test]
fn a_damaged_instance_never_comes_whole() {
    let site = Site::start("");
    let (good, bad, worse) = (names(434, 1, 1), names(434, 1, 2), names(434, 1, 3));
    let bytes = |names: &Names, seed| data_set(names, 3_000_000, seed);
    site.store(&[file(&good, 3_000_000, 1), file(&bad, 3_000_000, 2), file(&worse, 3_000_000, 3)]);
    for (names, seed) in [(&bad, 2), (&worse, 3)] {
        let inside = &bytes(names, seed)[1_000_000..1_000_064];
        assert!(damage(&site.gateway.data_dir().join("blobs"), inside), "its bytes were found on the disk");
    }
    let study = format!("studies/{}", good.study);
    assert!(site.try_get(&study, &[ALL]).is_none(), "the body breaks off");
    // It broke off at the one that was committed first; the other is looked at now.
    for damaged in [&bad, &worse] {
        let middle = site.get(&of_instance(damaged), &[ONE, "Range: bytes=0-99"]);
        let side = middle.json()["side"].as_str().map(str::to_owned);
        assert_eq!((middle.status, side.as_deref()), (500, Some("this site")), "not even an undamaged part");
    }
    // Both are known now.
    let rest = site.get(&study, &[ALL]);
    assert_eq!((rest.status, digests(&rest)), (206, BTreeSet::from([digest(&bytes(&good, 1))])));
    assert!(
        rest.header("warning").is_some_and(|text| text.contains("2 instances are not given")),
        "{:?}",
        rest.header("warning")
    );
    assert_eq!(site.get(&of_instance(&bad), &[ONE]).status, 500);
}

#[test]
fn a_large_instance_leaves_in_constant_memory() {
    let mut site = Site::start("");
    let names = names(435, 1, 1);
    let pixels = 300_000_000_u32;
    let top = head(&names, pixels);
    let mut wire = site.wire();
    let whole = part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &top);
    let length = format!("Content-Length: {}", whole.len() + pixels as usize);
    wire.head("POST /dicom-web/studies", &["Content-Type: application/dicom", &length]).unwrap();
    wire.send(&whole).unwrap();
    let piece: Vec<u8> = (0..1_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    (0..300).for_each(|_| wire.send(&piece).unwrap());
    assert_eq!(wire.answer().expect("an answer").status, 200);
    let kept = site.gateway.study(&names.study)[0]["sha256"].as_str().unwrap().to_owned();
    let came = site.get(&of_instance(&names), &[ONE]);
    let meta = read_part10(&came.body).expect("a Part 10 file");
    assert_eq!(digest(&came.body[meta.data_set_at..]), kept);
    let peak = site.gateway.peak_memory();
    println!("summary: 300 MB in and out, peak resident memory {} MB", peak / 1_000_000);
    assert!(peak < 100_000_000, "the gateway held {peak} bytes");
    drop(site.stage);
}

#[test]
fn slow_readers_hold_up_nobody_else() {
    let c = "[[peer]]\nname = \"c\"\nurl = \"https://127.0.0.1:9/dicom-web\"\nidentity = \"c.weybridge.test\"\nmay = [\"retrieve\"]";
    let mut site = Site::start(c);
    let names = names(436, 1, 1);
    let bytes = data_set(&names, 40_000_000, 1);
    site.store(&[part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &bytes)]);
    let line = format!("GET /dicom-web/{}", of_instance(&names));
    // As many as one peer may have, and none of them reads.
    let slow: Vec<Wire> = (0..8)
        .map(|_| {
            let mut wire = site.wire();
            wire.head(&line, &[ONE]).unwrap();
            assert_eq!(wire.status(), Some(200), "it has its place");
            wire
        })
        .collect();
    let refused = until(seconds(60), "the ninth is turned away", || {
        let reply = site.get(&of_instance(&names), &[ONE]);
        (reply.status == 503).then_some(reply)
    });
    assert_eq!((refused.header("retry-after"), refused.json()["temporary"].as_bool()), (Some("5"), Some(true)));
    // Another peer is served, and so is this one in everything else.
    let other = site.stage.authority.issue("c.weybridge.test");
    for _ in 0..3 {
        let mut wire = Wire::open(&other, site.gateway.config.web_port);
        wire.head(&line, &[ONE]).unwrap();
        let reply = wire.answer().expect("an answer");
        let meta = read_part10(&reply.body).expect("a Part 10 file");
        assert_eq!((reply.status, digest(&reply.body[meta.data_set_at..])), (200, digest(&bytes)));
    }
    site.store(&[file(&self::names(436, 2, 1), 100_000, 1)]);
    let stats = &site.gateway.ask(&["store", "stats", "--json"])[0];
    println!("summary: store while eight do not read: {stats}");
    note_fired(slow.len());
    drop(slow);
    until(seconds(60), "their places are free again", || {
        (site.get(&of_instance(&names), &[ONE]).status == 200).then_some(())
    });
    let peak = site.gateway.peak_memory();
    assert!(peak < 100_000_000, "the gateway held {peak} bytes");
}

#[test]
fn what_was_deleted_is_told_apart_from_what_never_was() {
    let site = Site::start("");
    let (gone, here) = (names(437, 1, 1), names(437, 2, 1));
    site.store(&[file(&gone, 1000, 1), file(&here, 1000, 1)]);
    assert_eq!(site.get(&of_instance(&gone), &[ONE]).status, 200);
    site.gateway.cli(&["store", "drop", &gone.study, "--reason", "a phantom"]).ok("drop");
    for resource in [of_instance(&gone), format!("studies/{}", gone.study)] {
        let reply = site.get(&resource, &[ALL]);
        assert_eq!((reply.status, reply.json()["side"].as_str()), (410, Some("the caller")), "{reply:?}");
    }
    assert_eq!(site.get(&of_instance(&here), &[ONE]).status, 200);
    assert_eq!(site.get(&format!("studies?StudyInstanceUID={}", gone.study), &[]).status, 204, "nor is it found");
}

/// REL-07, REL-25: an instance whose frames are asked for by many at once for the first time is read and compared once for all of them.
#[test]
fn a_long_instance_is_compared_once_for_all_who_ask_for_its_frames() {
    const LENGTH: u32 = 24 << 20;
    let mut site = Site::start("");
    let names = names(439, 1, 1);
    site.store(&[file(&names, LENGTH, 1)]);
    let before = site.gateway.process().bytes_read();
    let frame = format!("{}/frames/1", of_instance(&names));
    let headers = ["Accept: application/octet-stream", "Range: bytes=0-9"];
    let mut wires: Vec<Wire> = (0..8).map(|_| site.wire()).collect();
    for wire in &mut wires {
        wire.head(&format!("GET /dicom-web/{frame}"), &headers).unwrap();
    }
    assert!(wires.iter_mut().all(|wire| wire.answer().is_some_and(|reply| reply.status == 206)));
    // Until it has read no more for a while.
    let (mut last, mut since) = (0, Instant::now());
    let read = until(seconds(240), "it is compared", || {
        let read = site.gateway.process().bytes_read() - before;
        if read > last + 65_536 {
            (last, since) = (read, Instant::now());
        }
        (read >= u64::from(LENGTH) && since.elapsed() > seconds(2)).then_some(read)
    });
    println!("{} MB were read of {} MB", read >> 20, LENGTH >> 20);
    assert!(read < 3 * u64::from(LENGTH), "{read} bytes");
}
