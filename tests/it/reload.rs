//! A changed configuration takes effect at SIGHUP; a wrong one changes nothing; nobody is cut off, and nobody keeps a right that was
//! taken away.

use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::multipart::{body, content_type};
use crate::support::pacs::{Association, Status};
use crate::support::process::finish;
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use crate::support::wire::{Reply, Wire};
use std::process::Command;

fn hang_up(site: &mut Gateway) {
    let id = site.process().id().to_string();
    finish(Command::new("kill").args(["-HUP", &id]), seconds(5)).ok("kill -HUP");
}

fn logged(site: &Gateway, words: &str, times: usize) {
    until(seconds(20), words, || (site.log().matches(words).count() >= times).then_some(()));
}

#[test]
fn a_new_node_is_let_in_and_an_open_association_goes_on() {
    let stage = Stage::new();
    let mut site = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let port = site.config.dicom_port;
    let open = |calling: &str| Association::open(port, calling, "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE);
    let mut early = open("SENDER").unwrap();
    assert!(open("LATER").is_err(), "not configured yet");

    let good = site.config.toml();
    let more = "\n[[node]]\nae_title = \"LATER\"\nfrom_addresses = [\"127.0.0.1\"]\nmay = [\"store\"]\n";
    std::fs::write(site.config_file(), format!("{good}\n[nonsense]\n{more}")).unwrap();
    hang_up(&mut site);
    logged(&site, "the old one stays in force", 1);
    assert!(open("LATER").is_err(), "a wrong file changes nothing");
    note_fired(1);

    std::fs::write(site.config_file(), format!("{good}{more}")).unwrap();
    hang_up(&mut site);
    logged(&site, "is in force", 1);
    let mut later = open("LATER").unwrap();
    for (number, association) in [(1, &mut early), (2, &mut later)] {
        let names = names(90, 1, number);
        let bytes = data_set(&names, 4096, number);
        assert_eq!(association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap(), Status::SUCCESS);
    }
    early.release();
    later.release();
}

/// FLT-088: what waits for a restart is named at each reload until it is put back; the log shows no line of a wrong file.
#[test]
fn what_waits_for_a_restart_is_named_until_it_is_put_back() {
    const WAITS: &str = "takes effect at the next start";
    let stage = Stage::new();
    let mut site = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let good = site.config.toml();
    let changed = format!("{good}\n[priors]\npatience = \"77s\"\n");
    let warns =
        |site: &Gateway, words: &str| site.ask(&["status", "--json"])[0]["warnings"].to_string().contains(words);
    for (text, times) in [(&changed, 1), (&changed, 2), (&good, 2)] {
        std::fs::write(site.config_file(), text).unwrap();
        site.reload();
        assert_eq!(site.log().matches(WAITS).count(), times, "{}", site.log());
        let waits = *text == changed;
        let told = || (warns(&site, "waits for a restart: priors.patience") == waits).then_some(());
        until(seconds(20), "status tells of it until then", told);
    }
    std::fs::write(site.config_file(), format!("{good}\n[nonsense] # for SECRET^NAME\n")).unwrap();
    hang_up(&mut site);
    logged(&site, "the old one stays in force", 1);
    assert!(site.log().contains("nonsense") && !site.log().contains("SECRET"), "{}", site.log());
    until(seconds(20), "status tells of it", || warns(&site, "configuration file was not taken at").then_some(()));
    std::fs::write(site.config_file(), &good).unwrap();
    site.reload();
    until(seconds(20), "it is taken again", || (!warns(&site, "was not taken")).then_some(()));
}

#[test]
fn a_peer_that_moved_is_found_at_its_new_address() {
    let stage = Stage::new();
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let names = names(91, 1, 1);
    let mut association =
        Association::open(a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let status = association.store(SECONDARY_CAPTURE, &names.instance, &data_set(&names, 4096, 1)).unwrap();
    assert_eq!(status, Status::SUCCESS);
    association.release();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let moved = a.config.toml().replace("https://127.0.0.1:9/dicom-web", &b.config.url());
    std::fs::write(a.config_file(), moved).unwrap();
    hang_up(&mut a);
    logged(&a, "is in force", 1);
    until(seconds(30), "a retry is taken", || {
        (a.cli(&["transfers", "retry", "--to", "b"]).code == Some(0) || a.transfers("b", "verified") == (1, 1))
            .then_some(())
    });
    a.all_become("b", "verified", 1, seconds(60));
}

/// A peer whose certificate carries `NAME.weybridge.test`.
fn peer(name: &str, identity: &str, may: &str) -> String {
    format!(
        "\n[[peer]]\nname = \"{name}\"\nurl = \"https://127.0.0.1:9/dicom-web\"\n\
         identity = \"{identity}.weybridge.test\"\nmay = [{may}]\n"
    )
}

fn request_body(of: &Names) -> Vec<u8> {
    body(&[part10(SECONDARY_CAPTURE, &of.instance, EXPLICIT_LE, &data_set(of, 4096, 1))], true)
}

fn store(wire: &mut Wire, of: &Names) -> Reply {
    let kind = format!("Content-Type: {}", content_type());
    wire.request("POST /dicom-web/studies", &[&kind], &request_body(of)).unwrap();
    wire.answer().expect("an answer")
}

fn get(wire: &mut Wire, path: &str) -> Reply {
    wire.head(&format!("GET /dicom-web/{path}"), &["Accept: */*"]).unwrap();
    wire.answer().expect("an answer")
}

/// SEC-022: a peer that is taken out of the configuration, or loses a right, or is withheld something, has no more of it on the
/// connections that it keeps open. What is under way ends well, and others are not cut off.
#[test]
fn a_right_taken_away_ends_on_connections_that_stay_open() {
    const ALL: &str = "\"store\", \"query\", \"retrieve\"";
    let stage = Stage::new();
    let mut site = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let good = site.config.toml();
    let before = ["thief", "less", "renamed", "good"].map(|name| peer(name, name, ALL)).concat();
    std::fs::write(site.config_file(), format!("{good}{before}")).unwrap();
    site.reload();
    let port = site.config.web_port;
    let open = |name: &str| Wire::open(&stage.authority.issue(&format!("{name}.weybridge.test")), port);
    let held = names(92, 1, 1);
    let study = format!("studies/{}", held.study);
    // Each has asked for something already, and keeps its connection.
    let mut kept: Vec<Wire> = ["thief", "thief", "less", "renamed", "good"].map(open).into_iter().collect();
    for wire in &mut kept {
        assert_eq!(store(wire, &held).status, 200);
        let reply = get(wire, &study);
        assert_eq!((reply.status, reply.header("connection")), (200, None), "{reply:?}");
    }
    // Somebody is let on with a body, and has not sent it.
    let late = names(92, 1, 2);
    let mut under_way = open("thief");
    let (whole, kind) = (request_body(&late), format!("Content-Type: {}", content_type()));
    let length = format!("Content-Length: {}", whole.len());
    under_way.head("POST /dicom-web/studies", &[&kind, &length, "Expect: 100-continue"]).unwrap();
    assert_eq!(under_way.answer().expect("an answer").status, 100);

    let rule = "\n[[withhold]]\nname = \"not for them\"\nto = [\"another\"]\nwhen = { modality = [\"OT\"] }\n";
    let after = [
        peer("less", "less", "\"store\", \"query\""),
        peer("another", "renamed", ALL),
        peer("good", "good", ALL),
        rule.to_owned(),
    ];
    std::fs::write(site.config_file(), format!("{good}{}", after.concat())).unwrap();
    site.reload();
    let [thief, storing_thief, less, renamed, undisturbed] = &mut kept[..] else { panic!("five connections") };
    for reply in [get(thief, &study), store(storing_thief, &names(92, 1, 3))] {
        assert_eq!((reply.status, reply.header("connection")), (403, Some("close")), "{reply:?}");
        assert!(!reply.text().contains(held.study.as_str()), "{reply:?}");
    }
    assert!(thief.ends() && storing_thief.ends(), "and that was all");
    assert_eq!(get(less, &study).status, 403, "it may not retrieve any more");
    assert_eq!(get(renamed, &study).status, 404, "withheld from what it is called now");
    let reply = get(undisturbed, &study);
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")), "and shows who it is anew");
    under_way.send(&whole).unwrap();
    assert_eq!(under_way.answer().expect("an answer").status, 200, "what was under way ended");
    let mut anew = open("good");
    for _ in 0..2 {
        let reply = get(&mut anew, &study);
        assert_eq!((reply.status, reply.header("connection")), (200, None), "{reply:?}");
    }
    assert_eq!(store(&mut open("less"), &names(92, 1, 4)).status, 200, "what it still may");
    assert_eq!(site.holds(&held.study), 3, "nothing of the thief's but what was under way");
    let entries = ledger::export(&site);
    assert!(entries.iter().any(|entry| entry["kind"] == "refused" && entry["facts"]["what"] == "peer"));
    site.verify_ledger(true);
}

/// The same for a node with an association that it keeps open (DIM-020): 0124, while another stores on.
#[test]
fn a_node_taken_away_stores_no_more_over_its_open_association() {
    const BYTES: u32 = 24 << 20;
    let stage = Stage::new();
    let more = |title: &str, from: &str, may: &str| {
        format!("\n[[node]]\nae_title = \"{title}\"\nfrom_addresses = [\"{from}\"]\nmay = [{may}]\n")
    };
    let before = ["GONE", "MOVED", "LESS"].map(|title| more(title, "127.0.0.1", "\"store\"")).concat();
    let config = stage.site_a("https://127.0.0.1:9/dicom-web");
    let good = config.toml();
    let mut site = Gateway::start(&stage.path().join("a"), config.with(&before));
    let port = site.config.dicom_port;
    let open = |calling: &str| Association::open(port, calling, "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let store = |association: &mut Association, number: u64| {
        let names = names(93, 1, number);
        association.store(SECONDARY_CAPTURE, &names.instance, &data_set(&names, 4096, number)).unwrap()
    };
    let titles = ["GONE", "MOVED", "LESS", "SENDER"];
    let mut kept: Vec<Association> = titles.map(open).into_iter().collect();
    for (number, association) in (1..).zip(&mut kept) {
        assert_eq!(store(association, number), Status::SUCCESS);
    }
    // More than the sockets between hold, so that the gateway has begun with it.
    let large = names(93, 1, 9);
    let bytes = data_set(&large, BYTES, 9);
    let mut under_way = open("GONE");
    under_way.begin(SECONDARY_CAPTURE, &large.instance).unwrap();
    let (first, rest) = bytes.split_at(bytes.len() * 3 / 4);
    under_way.data(first, false).unwrap();

    let after = [more("MOVED", "10.9.9.9", "\"store\""), more("LESS", "127.0.0.1", "\"find\"")].concat();
    std::fs::write(site.config_file(), format!("{good}{after}")).unwrap();
    site.reload();
    let said: Vec<Status> = (11..).zip(&mut kept).map(|(number, association)| store(association, number)).collect();
    assert_eq!(said, [Status(0x0124), Status(0x0124), Status(0x0124), Status::SUCCESS], "{titles:?}");
    under_way.data(rest, true).unwrap();
    assert_eq!(under_way.answer().unwrap(), Status::SUCCESS, "what was under way ended");
    assert_eq!(store(&mut under_way, 15), Status(0x0124), "and the next did not begin");
    kept.into_iter().chain([under_way]).for_each(Association::release);
    assert_eq!(site.holds(&large.study), 4 + 2);
    site.verify_ledger(true);
}
