//! Wrong callers and broken objects: the right refusal, nothing stored, nobody else disturbed.

use crate::support::certs::Authority;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::multipart::{body, content_type};
use crate::support::pacs::{Association, Refused, Status};
use crate::support::two_sites::{B_IDENTITY, Stage, TwoSites};
use crate::support::web;
use std::io::Write;
use std::path::PathBuf;

fn open(site: &Gateway) -> Association {
    Association::open(site.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap()
}

/// A Part 10 file around a made-up data set.
fn file(names: &Names, data_set: &[u8]) -> Vec<u8> {
    part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, data_set)
}

fn holds_nothing_of(site: &Gateway, names: &Names) {
    let held = site.cli(&["study", &names.study, "--json"]).stdout;
    assert!(!held.contains(&names.instance), "it was stored: {held}");
}

/// Writes a request body where curl finds it.
fn saved(stage: &Stage, bytes: &[u8]) -> PathBuf {
    let path = stage.path().join("body");
    std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    path
}

#[test]
fn an_unknown_caller_and_an_unknown_title_are_rejected() {
    let sites = TwoSites::start(None);
    let port = sites.a.config.dicom_port;
    let ask = |calling, called| match Association::open(port, calling, called, SECONDARY_CAPTURE, EXPLICIT_LE) {
        Ok(_) => panic!("{calling} to {called} was let in"),
        Err(refused) => refused,
    };
    let refused = ask("STRANGER", "WB_A");
    assert!(matches!(refused, Refused::Rejected(1, 1, 3)), "calling AE title not recognised, not {refused:?}");
    let refused = ask("SENDER", "NOBODY");
    assert!(matches!(refused, Refused::Rejected(1, 1, 7)), "called AE title not recognised, not {refused:?}");
}

#[test]
fn a_truncated_object_is_refused_and_its_neighbour_is_not_disturbed() {
    let sites = TwoSites::start(None);
    let (good, short, cut) = (names(301, 1, 1), names(301, 2, 2), names(301, 3, 3));
    let mut neighbour = open(&sites.a);
    neighbour.begin(SECONDARY_CAPTURE, &good.instance).unwrap();
    let bytes = data_set(&good, 200_000, 1);
    neighbour.data(&bytes[..100_000], false).unwrap();

    // Ended as if it were whole, in the middle of its pixels.
    let mut association = open(&sites.a);
    let whole = data_set(&short, 200_000, 2);
    let status = association.store(SECONDARY_CAPTURE, &short.instance, &whole[..150_000]).unwrap();
    assert_eq!(status.0 & 0xF000, 0xC000, "cannot understand, not {status:04x?}");
    // The association lives on.
    let next = names(301, 4, 4);
    let status = association.store(SECONDARY_CAPTURE, &next.instance, &data_set(&next, 1000, 4)).unwrap();
    assert_eq!(status, Status::SUCCESS);
    association.release();

    // The connection is lost in the middle of one.
    let mut association = open(&sites.a);
    association.begin(SECONDARY_CAPTURE, &cut.instance).unwrap();
    association.data(&data_set(&cut, 200_000, 3)[..150_000], false).unwrap();
    drop(association);

    // Bytes that are no PDU.
    let mut association = open(&sites.a);
    association.raw(&[0xFF; 64]).unwrap();
    association.answer().expect_err("garbage ends an association");

    neighbour.data(&bytes[100_000..], true).unwrap();
    assert_eq!(neighbour.answer().unwrap(), Status::SUCCESS, "the neighbour went on all the while");
    holds_nothing_of(&sites.a, &short);
    holds_nothing_of(&sites.a, &cut);
    assert_eq!(sites.a.study(&good.study).len(), 1);
    sites.a.verify_ledger(true);
}

#[test]
fn a_command_that_names_another_object_is_refused() {
    let sites = TwoSites::start(None);
    let (claimed, real) = (names(302, 1, 1), names(302, 1, 2));
    let mut association = open(&sites.a);
    let status = association.store(SECONDARY_CAPTURE, &claimed.instance, &data_set(&real, 1000, 1)).unwrap();
    assert_eq!(status.0 & 0xFF00, 0xA900, "data set does not match, not {status:04x?}");
    let status = association.store(SECONDARY_CAPTURE, "1.2.not/a/uid", &data_set(&real, 1000, 1)).unwrap();
    assert_eq!(status.0, 0x0117, "invalid object instance");
    holds_nothing_of(&sites.a, &claimed);
    holds_nothing_of(&sites.a, &real);
}

#[test]
fn a_caller_without_the_right_certificate_gets_nowhere() {
    let sites = TwoSites::start(None);
    let (stage, url) = (&sites.stage, format!("{}/studies", sites.a.config.url()));
    let names = names(303, 1, 1);
    let path = saved(stage, &body(&[file(&names, &data_set(&names, 1000, 1))], true));
    let trust = stage.authority.trust();

    let none = web::request(None, &trust, &url, &["--data-binary", "x"]);
    assert_eq!(none.status, 0, "no certificate: the handshake fails, not {none:?}");
    let stranger = Authority::new(&stage.path().join("stranger"), "stranger").issue(B_IDENTITY);
    let mut stranger = stranger;
    stranger.trust.clone_from(&trust);
    let answer = web::store(&stranger, &url, &content_type(), &path, &[]);
    assert_eq!(answer.status, 0, "signed by a stranger: the handshake fails, not {answer:?}");
    let expired = stage.authority.issue_expired(B_IDENTITY);
    let answer = web::store(&expired, &url, &content_type(), &path, &[]);
    assert_eq!(answer.status, 0, "expired: the handshake fails, not {answer:?}");
    let nobody = stage.authority.issue("nobody.weybridge.test");
    let answer = web::store(&nobody, &url, &content_type(), &path, &[]);
    assert_eq!(answer.status, 403, "a name that is no peer of ours: {answer:?}");
    holds_nothing_of(&sites.a, &names);

    let peer = stage.authority.issue(B_IDENTITY);
    let answer = web::store(&peer, &url, &content_type(), &path, &[]);
    assert_eq!(answer.status, 200, "the peer itself gets through: {answer:?}");
}

#[test]
fn half_a_multipart_body_stores_nothing() {
    let sites = TwoSites::start(None);
    let (stage, url) = (&sites.stage, format!("{}/studies", sites.a.config.url()));
    let peer = stage.authority.issue(B_IDENTITY);
    let names = names(304, 1, 1);
    let bytes = file(&names, &data_set(&names, 100_000, 1));

    let open_ended = body(std::slice::from_ref(&bytes), false);
    let halves = [&open_ended[..], &open_ended[..open_ended.len() / 2]];
    for half in halves {
        let answer = web::store(&peer, &url, &content_type(), &saved(stage, half), &[]);
        assert_eq!(answer.status, 400, "{answer:?}");
        holds_nothing_of(&sites.a, &names);
        note_fired(1);
    }
    let chunked = ["--header", "Transfer-Encoding: chunked"];
    let answer = web::store(&peer, &url, &content_type(), &saved(stage, &open_ended), &chunked);
    assert_eq!(answer.status, 400, "{answer:?}");
    note_fired(1);
    // A sized body that ends before its size.
    let longer = format!("Content-Length: {}", open_ended.len() + 100);
    let answer =
        web::store(&peer, &url, &content_type(), &saved(stage, &open_ended), &["--header", &longer, "--max-time", "3"]);
    assert!(matches!(answer.status, 0 | 400 | 408), "{answer:?}");
    holds_nothing_of(&sites.a, &names);
    note_fired(1);

    let wrong = web::store(&peer, &url, "text/plain", &saved(stage, b"hello"), &[]);
    assert_eq!(wrong.status, 415, "{wrong:?}");
    let answer = web::store(&peer, &url, &content_type(), &saved(stage, &body(&[bytes], true)), &[]);
    assert_eq!(answer.status, 200, "and the whole of it is stored: {answer:?}");
    assert_eq!(sites.a.study(&names.study).len(), 1);
}

#[test]
fn one_garbage_part_does_not_spoil_the_others() {
    let sites = TwoSites::start(None);
    let (stage, url) = (&sites.stage, format!("{}/studies", sites.a.config.url()));
    let peer = stage.authority.issue(B_IDENTITY);
    let good: Vec<Names> = (1..=5).map(|number| names(305, 1, number)).collect();
    let mut parts: Vec<Vec<u8>> = good.iter().map(|names| file(names, &data_set(names, 1000, 1))).collect();
    parts.insert(2, b"this is no DICOM file".to_vec());
    let answer = web::store(&peer, &url, &content_type(), &saved(stage, &body(&parts, true)), &[]);
    assert_eq!(answer.status, 202, "some stored, one not: {answer:?}");
    assert_eq!(sites.a.study(&good[0].study).len(), 5);
    sites.a.verify_ledger(true);
}

#[test]
fn a_disk_below_its_reserve_takes_nothing() {
    let stage = Stage::new();
    let config = stage.site_a("https://127.0.0.1:1/dicom-web").with("[store]\nreserve = \"900 TiB\"");
    let a = Gateway::start(&stage.path().join("a"), config);
    let names = names(306, 1, 1);
    let bytes = data_set(&names, 1000, 1);
    match Association::open(a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE) {
        Ok(mut association) => {
            let status = association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap();
            assert_eq!(status.0 & 0xFF00, 0xA700, "out of resources, not {status:04x?}");
        }
        Err(refused) => assert!(matches!(refused, Refused::Rejected(2, 3, 1)), "congestion, not {refused:?}"),
    }
    note_fired(1);
    let path = saved(&stage, &body(&[file(&names, &bytes)], true));
    let peer = stage.authority.issue(B_IDENTITY);
    let answer = web::store(&peer, &format!("{}/studies", a.config.url()), &content_type(), &path, &[]);
    assert_eq!(answer.status, 503, "{answer:?}");
    holds_nothing_of(&a, &names);
    note_fired(1);
}
