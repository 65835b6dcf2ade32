//! The stage itself, tried without a gateway: each stand-in does what the stories believe of it.

use crate::support::corpus::{self, Fate};
use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, data_set_digest, digest, names, part10};
use crate::support::load::{Load, Work, send_all};
use crate::support::multipart::{body, boundary_of, complete_parts, content_type};
use crate::support::orthanc::Orthanc;
use crate::support::power::LoopDisk;
use crate::support::proxy::Proxy;
use crate::support::python;
use crate::support::scripted_peer::{ScriptedPeer, Step};
use crate::support::store_answer;
use crate::support::two_sites::{A_IDENTITY, B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use crate::support::web;
use serde_json::json;
use std::fs::{self, File};
use std::io::Write;

fn file(names: &Names, seed: u64) -> Vec<u8> {
    part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(names, 4096, seed))
}

#[test]
fn the_plain_sender_is_understood_by_dcmtk() {
    let stage = Stage::new();
    let scp = StoreScp::start(&stage.path().join("out"), "OUT");
    let done = send_all(1, 0..5, scp.port, "OUT");
    assert_eq!(done.len(), 5);
    until(seconds(10), "the files are there", || (scp.files().len() == 5).then_some(()));
    let sent = data_set(&names(1, 0, 0), 4096, 1 << 40);
    let digests: Vec<String> = scp.files().iter().map(|path| data_set_digest(path)).collect();
    assert!(digests.contains(&digest(&sent)), "bit for bit");

    let work = Work { story: 2, senders: 3, pixel_bytes: 1000, per_study: 5 };
    let load = Load::start(work, scp.port, "OUT");
    until(seconds(20), "the load is acknowledged", || (load.acknowledged() >= 20).then_some(()));
    assert!(load.stop().len() >= 20);
}

#[test]
fn multipart_bodies_are_read_as_they_are_written() {
    let parts = [b"one\r\n--not a boundary".to_vec(), Vec::new(), vec![0; 1000]];
    let boundary = boundary_of(&content_type()).unwrap();
    assert_eq!(complete_parts(&body(&parts, true), &boundary), parts);
    assert_eq!(complete_parts(&body(&parts, false), &boundary), parts[..2], "the last is not known to be complete");
}

#[test]
fn the_scripted_peer_keeps_to_its_script() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let caller = stage.authority.issue(A_IDENTITY);
    let (one, two) = (names(3, 1, 1), names(3, 1, 2));
    let path = stage.path().join("body");
    fs::write(&path, body(&[file(&one, 1), file(&two, 2)], true)).unwrap();
    let store = || web::store(&caller, &format!("{}/studies", peer.url()), &content_type(), &path, &[]);
    peer.then([Step::Refuse(503, Some(7)), Step::FailFirst(0xA700), Step::StoreAndDrop, Step::Reset, Step::SayNothing]);

    assert_eq!(store().status, 503);
    assert_eq!(peer.held(), 0);
    let answer = store();
    let items = store_answer::read(&answer.body);
    assert_eq!((answer.status, items.len()), (200, 2));
    let failed = items.iter().find(|item| item.reason == Some(0xA700)).unwrap();
    assert_eq!(failed.instance, one.instance);
    assert_eq!(peer.held(), 1);
    let (dropped, reset) = (store(), store());
    assert_eq!((dropped.status, reset.status), (0, 0), "{dropped:?} {reset:?}");
    let answer = store();
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let answer = store();
    assert!(store_answer::read(&answer.body).iter().all(|item| item.reason.is_none()), "{answer:?}");
    assert_eq!(peer.arrivals()[&one.instance], 3);
    assert_eq!(peer.arrivals()[&two.instance], 4);

    let ask = |rest: &str| web::request(Some(&caller), &caller.trust, &format!("{}/{rest}", peer.url()), &[]);
    let found = ask(&format!("studies/{}/instances?SOPInstanceUID={},2.25.1&limit=5", one.study, one.instance));
    assert!(found.status == 200 && found.body.contains(&one.instance) && !found.body.contains(&two.instance));
    assert_eq!(ask("instances?SOPInstanceUID=2.25.1").status, 204);
    let nobody = web::request(None, &caller.trust, &format!("{}/instances", peer.url()), &[]);
    assert_eq!(nobody.status, 0, "no certificate, no answer");
}

#[test]
fn the_proxy_cuts_answers_and_counts_them() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let proxy = Proxy::to(peer.port);
    let caller = stage.authority.issue(A_IDENTITY);
    let names = names(4, 1, 1);
    let path = stage.path().join("body");
    let whole = part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(&names, 300_000, 1));
    fs::write(&path, body(&[whole], true)).unwrap();
    let url = format!("https://127.0.0.1:{}/dicom-web/studies", proxy.port);
    let store = || web::store(&caller, &url, &content_type(), &path, &[]).status;
    proxy.cut_answers(1, 100_000);
    assert_eq!(store(), 0);
    until(seconds(5), "the request got through", || (peer.held() == 1).then_some(()));
    assert_eq!((store(), proxy.fired()), (200, 1));
    proxy.refuse(true);
    assert_eq!(store(), 0);
}

#[test]
fn orthanc_stands_behind_tls() {
    let stage = Stage::new();
    let identity = stage.authority.issue(B_IDENTITY);
    let orthanc = Orthanc::start(&stage.path().join("orthanc"), &identity, "https://127.0.0.1:1/dicom-web");
    let caller = stage.authority.issue(A_IDENTITY);
    let names = names(5, 1, 1);
    let path = stage.path().join("body");
    fs::write(&path, body(&[file(&names, 1)], true)).unwrap();
    let answer = web::store(&caller, &format!("{}/studies", orthanc.url()), &content_type(), &path, &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(orthanc.instances(), 1);
    let url = format!("{}/instances?SOPInstanceUID={}", orthanc.url(), names.instance);
    assert!(web::request(Some(&caller), &caller.trust, &url, &[]).body.contains(&names.instance));
    assert_eq!(web::request(None, &caller.trust, &url, &[]).status, 400, "nginx asks for a certificate");
}

#[test]
fn a_power_cut_loses_what_was_not_synced_and_nothing_else() {
    let stage = Stage::new();
    let disk = LoopDisk::new(stage.path(), 64);
    let mut synced = File::create(disk.mount.join("synced")).unwrap();
    synced.write_all(&[1; 100_000]).unwrap();
    synced.sync_all().unwrap();
    File::open(&disk.mount).unwrap().sync_all().unwrap();
    fs::write(disk.mount.join("hoped"), [2; 100_000]).unwrap();
    disk.cut();
    assert!(fs::write(disk.mount.join("later"), "x").is_err(), "the disk is dead");
    drop(synced);
    disk.restore();
    assert_eq!(fs::read(disk.mount.join("synced")).unwrap(), [1; 100_000]);
    assert!(fs::read(disk.mount.join("hoped")).map_or(true, |bytes| bytes != [2; 100_000]), "it was never synced");
}

#[test]
fn pynetdicom_sends_the_corpus_as_it_lies_and_the_comparison_agrees() {
    let stage = Stage::new();
    let scp = StoreScp::start(&stage.path().join("out"), "OUT");
    let first: Vec<_> = corpus::files().into_iter().filter(|file| file.fate == Fate::First).collect();
    assert!(first.len() > 150, "the corpus is there");
    let list = stage.path().join("list");
    let rows = first.iter().map(|file| {
        let row = json!({
            "path": file.path, "sop_class": file.sop_class, "sop_instance": file.instance, "syntax": file.syntax,
        });
        row.to_string()
    });
    fs::write(&list, rows.collect::<Vec<_>>().join("\n")).unwrap();
    let answers = python::lines("send", [&scp.port.to_string(), "OUT", list.to_str().unwrap()]);
    let refused: Vec<_> = answers.iter().filter(|answer| answer["status"] != 0).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let received = scp.files();
    assert_eq!(received.len(), first.len());
    let digests: Vec<String> = received.iter().map(|path| data_set_digest(path)).collect();
    for file in &first {
        assert!(digests.contains(&file.sha256), "{} arrived altered", file.name);
    }
}

#[test]
fn the_comparison_sees_one_changed_pixel_and_one_changed_element() {
    let stage = Stage::new();
    let names = names(6, 1, 1);
    let path = |name: &str| stage.path().join(name);
    fs::write(path("sent"), file(&names, 1)).unwrap();
    fs::write(path("pixel"), file(&names, 2)).unwrap();
    let mut element = file(&names, 1);
    let at = element.windows(8).position(|bytes| bytes == b"T0000001").unwrap();
    element[at + 7] = b'2';
    fs::write(path("element"), element).unwrap();
    let pairs = ["sent", "pixel", "element"].map(|name| json!({ "sent": path("sent"), "received": path(name) }));
    fs::write(path("pairs"), pairs.map(|pair| pair.to_string()).join("\n")).unwrap();
    let said = python::lines("compare", [path("pairs")]);
    let verdicts: Vec<_> = said.iter().map(|line| (&line["bytes"], &line["elements"], &line["pixels"])).collect();
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(verdicts, [(&yes, &yes, &yes), (&no, &yes, &no), (&no, &no, &yes)]);
    assert_eq!(said[2]["differences"], json!(["(0010,0020)"]));
}
