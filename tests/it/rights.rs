//! Who may do what: every combination of a peer's rights against every resource and method, and what a site's own files let others
//! see.

use crate::support::certs::Identity;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::load::send_all;
use crate::support::multipart::{body, content_type};
use crate::support::two_sites::Stage;
use crate::support::wire::{Reply, Wire};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const NOWHERE: &str = "https://127.0.0.1:9/dicom-web";

/// What a request needs, one of which is enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Needs {
    /// Being a peer.
    Nothing,
    Store,
    Query,
    Retrieve,
    /// To verify by name what one sent needs no more than having sent it.
    StoreOrQuery,
    /// Nobody may: the resource does not answer this method.
    NoSuchMethod,
}

/// Each right, and the bit of it in the number of a peer.
const RIGHTS: [(&str, u32); 3] = [("store", 1), ("query", 2), ("retrieve", 4)];

fn allows(needs: Needs, rights: u32) -> bool {
    match needs {
        Needs::Nothing => true,
        Needs::Store => rights & 1 != 0,
        Needs::Query => rights & 2 != 0,
        Needs::Retrieve => rights & 4 != 0,
        Needs::StoreOrQuery => rights & 3 != 0,
        Needs::NoSuchMethod => false,
    }
}

fn identity_of(rights: u32) -> String {
    format!("p{rights}.weybridge.test")
}

/// A site with a peer for each combination of rights.
fn site(stage: &Stage) -> Gateway {
    let mut config = stage.site_a(NOWHERE);
    for rights in 0..8 {
        let may: Vec<&str> = RIGHTS.iter().filter(|(_, bit)| rights & bit != 0).map(|(name, _)| *name).collect();
        let identity = identity_of(rights);
        config = config.with(&format!(
            "[[peer]]\nname = \"p{rights}\"\nurl = \"{NOWHERE}\"\nidentity = \"{identity}\"\nmay = {may:?}\n"
        ));
    }
    Gateway::start(&stage.path().join("site"), config)
}

/// Method, path, and what it needs.
fn requests() -> Vec<(&'static str, String, Needs)> {
    let held = names(700, 1, 1);
    let (study, series, instance) = (&held.study, &held.series, &held.instance);
    let below = format!("studies/{study}/series/{series}");
    let rows = [
        ("OPTIONS", String::new(), Needs::Nothing),
        ("POST", "studies".into(), Needs::Store),
        ("POST", format!("studies/{study}"), Needs::Store),
        ("GET", "studies?PatientID=T0000001".into(), Needs::Query),
        ("GET", "series?PatientID=T0000001".into(), Needs::Query),
        ("GET", format!("studies/{study}/series"), Needs::Query),
        ("GET", format!("studies/{study}/instances"), Needs::Query),
        ("GET", format!("{below}/instances"), Needs::Query),
        ("GET", format!("studies/{study}/instances?SOPInstanceUID={instance}"), Needs::StoreOrQuery),
        ("GET", format!("{below}/instances?SOPInstanceUID={instance}"), Needs::StoreOrQuery),
        ("GET", format!("instances?SOPInstanceUID={instance}"), Needs::StoreOrQuery),
        ("GET", format!("studies/{study}"), Needs::Retrieve),
        ("GET", below.clone(), Needs::Retrieve),
        ("GET", format!("{below}/instances/{instance}"), Needs::Retrieve),
        // Whether it exists or not makes no difference to who may not ask.
        ("GET", "studies/1.2.3".into(), Needs::Retrieve),
    ];
    let mut rows = rows.to_vec();
    for method in ["PUT", "DELETE", "PATCH"] {
        for path in ["studies".to_owned(), format!("studies/{study}"), format!("{below}/instances/{instance}")] {
            rows.push((method, path, Needs::NoSuchMethod));
        }
    }
    rows.push(("POST", format!("{below}/instances/{instance}"), Needs::NoSuchMethod));
    rows.push(("POST", "instances".into(), Needs::NoSuchMethod));
    rows
}

fn ask(wire: &mut Wire, method: &str, path: &str) -> Reply {
    let line = format!("{method} /dicom-web/{path}");
    if method == "POST" {
        let held = names(700, 1, 1);
        let part = part10(SECONDARY_CAPTURE, &held.instance, EXPLICIT_LE, &data_set(&held, 4096, 1));
        let kind = format!("Content-Type: {}", content_type());
        wire.request(&line, &[&kind], &body(&[part], true)).unwrap();
    } else {
        wire.head(&line, &["Accept: */*"]).unwrap();
    }
    wire.answer().unwrap_or_else(|| panic!("no answer to {line}"))
}

/// What was refused, by what was asked for, in the ledger.
fn entered(site: &Gateway) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in ledger::export(site).iter().filter(|entry| entry["kind"] == "refused") {
        *counts.entry(entry["facts"]["what"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// SEC-022: each combination of rights may do what it says and nothing else, over mutual TLS, and refusals are entered once.
#[test]
fn each_combination_of_rights_may_do_exactly_what_it_says() {
    let stage = Stage::new();
    let site = site(&stage);
    let port = site.config.web_port;
    let held = names(700, 1, 1);
    let storing: Identity = stage.authority.issue(&identity_of(1));
    assert_eq!(ask(&mut Wire::open(&storing, port), "POST", "studies").status, 200);
    let counted = || site.ask(&["status", "--json"])[0]["refused"].as_u64().unwrap();
    let (began, before, mut refused) = (Instant::now(), counted(), 0);
    for rights in 0..8 {
        let identity = stage.authority.issue(&identity_of(rights));
        for (method, path, needs) in requests() {
            let reply = ask(&mut Wire::open(&identity, port), method, &path);
            let want: &[u16] = match (allows(needs, rights), needs) {
                (_, Needs::NoSuchMethod) => &[405],
                (true, _) if path == "studies/1.2.3" => &[404],
                (true, _) => &[200],
                (false, _) => &[403],
            };
            let who = format!("rights {rights}: {method} {path}");
            assert!(want.contains(&reply.status), "{who}: {reply:?}");
            refused += u64::from(reply.status == 403);
            let said = String::from_utf8_lossy(&reply.body);
            let learns = said.contains("Specimen") || said.contains("T0000001");
            assert!(!learns || allows(needs, rights) && rights & 6 != 0, "{who} tells of a patient: {said}");
            if reply.status == 403 {
                let known = [&held.study, &held.series, &held.instance].iter().any(|uid| said.contains(uid.as_str()));
                assert!(!known && said.contains("this site does not let yours"), "{who}: {said}");
            }
        }
    }
    // Once for each peer and each right that it lacks, however often it asked; once more if a minute passed meanwhile.
    let minutes = usize::try_from(began.elapsed().as_secs() / 60).unwrap() + 1;
    let entered = entered(&site);
    for what in ["query", "retrieve", "store"] {
        let count = entered[what];
        assert!((4..=4 * minutes).contains(&count), "{what}: {count} entries in {minutes} minutes");
    }
    assert_eq!(counted() - before, refused, "each one is counted");
    site.verify_ledger(true);
}

/// A certificate of our authority that is no peer's opens nothing, whatever it asks for (SEC-022).
#[test]
fn a_stranger_with_a_good_certificate_may_do_nothing() {
    let stage = Stage::new();
    let site = site(&stage);
    let stranger = stage.authority.issue("stranger.weybridge.test");
    for (method, path, _) in requests() {
        let reply = ask(&mut Wire::open(&stranger, site.config.web_port), method, &path);
        assert_eq!(reply.status, 403, "{method} {path}: {reply:?}");
    }
    assert_eq!(site.ask(&["status", "--json"])[0]["instances"], 0);
    assert!(entered(&site)["peer"] >= 1);
}

/// The permissions of everything below a folder, itself included.
fn permissions(folder: &Path, found: &mut Vec<(String, u32)>) {
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    found.push((folder.display().to_string(), mode(folder)));
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => permissions(&path, found),
            false => found.push((path.display().to_string(), mode(&path))),
        }
    }
}

/// SEC-020: even where the gateway is started with the loosest of settings, its files are its own user's alone, and a crash would
/// leave no image of its memory.
#[test]
fn what_the_gateway_writes_is_for_its_own_user_only() {
    let stage = Stage::new();
    let loose = stage.path().join("loose");
    let program = env!("CARGO_BIN_EXE_weybridge");
    fs::write(&loose, format!("#!/bin/sh\numask 000\nulimit -c unlimited\nexec {program} \"$@\"\n")).unwrap();
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o755)).unwrap();
    let mut site = Gateway::prepare(&stage.path().join("a"), stage.site_a(NOWHERE)).with_binary(&loose);
    site.up();
    send_all(701, 0..3, site.config.dicom_port, "WB_A");
    // One that has a file of its own.
    let big = names(701, 9, 9);
    let part = part10(SECONDARY_CAPTURE, &big.instance, EXPLICIT_LE, &data_set(&big, 3_000_000, 1));
    let identity = stage.authority.issue(crate::support::two_sites::B_IDENTITY);
    let kind = format!("Content-Type: {}", content_type());
    let mut wire = Wire::open(&identity, site.config.web_port);
    wire.request("POST /dicom-web/studies", &[&kind], &body(&[part], true)).unwrap();
    assert_eq!(wire.answer().expect("an answer").status, 200);
    let mut found = Vec::new();
    permissions(&site.data_dir(), &mut found);
    assert!(found.len() > 6, "{found:?}");
    let open: Vec<_> = found.iter().filter(|(_, mode)| mode & 0o077 != 0).collect();
    assert!(open.is_empty(), "others may see {open:?}");
    let limits = fs::read_to_string(format!("/proc/{}/limits", site.process().id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().rev().nth(1), Some("0"), "{core}");
    site.stop();
}

/// SEC-020: the same of what commands write, by whatever user mask: exported images and entries, backups, what is restored and rebuilt.
#[test]
fn what_commands_write_is_for_their_user_only() {
    let stage = Stage::new();
    let mut site = Gateway::start(&stage.path().join("a"), stage.site_a(NOWHERE));
    send_all(702, 0..3, site.config.dicom_port, "WB_A");
    let names = names(702, 0, 0);
    let written = stage.path().join("written");
    fs::create_dir(&written).unwrap();
    let at = |name: &str| written.join(name).to_str().unwrap().to_owned();
    let loosely = |site: &Gateway, arguments: &[&str]| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask 000; exec \"$0\" \"$@\""]);
        site.cli_through(shell, arguments).ok(arguments[0]);
    };
    loosely(&site, &["store", "export", &names.study, &at("images")]);
    loosely(&site, &["ledger", "export", &at("ledger.jsonl")]);
    loosely(&site, &["backup", &at("backup")]);
    site.stop();
    fs::remove_dir_all(site.data_dir()).unwrap();
    loosely(&site, &["restore", &at("backup")]);
    let mut found = Vec::new();
    permissions(&site.data_dir(), &mut found);
    for name in ["records.db", "records.db-wal", "records.db-shm"] {
        let _ = fs::remove_file(site.data_dir().join(name));
    }
    loosely(&site, &["store", "rebuild"]);
    permissions(&site.data_dir(), &mut found);
    permissions(&written, &mut found);
    assert!(found.len() > 15, "{found:?}");
    found.retain(|(path, _)| Path::new(path) != written);
    let open: Vec<_> = found.iter().filter(|(_, mode)| mode & 0o077 != 0).collect();
    assert!(open.is_empty(), "others may see {open:?}");
}

/// UIX-04: who may not open the records is told so, and what to do, and not that there are none.
#[test]
fn another_user_is_told_that_the_records_are_not_theirs() {
    // Only root can be somebody else.
    if !rustix::process::getuid().is_root() {
        println!("not tried: this is not root");
        return;
    }
    let stage = Stage::new();
    let mut site = Gateway::start(&stage.path().join("a"), stage.site_a(NOWHERE));
    let may_read = Command::new("chmod").args(["-R", "a+rX"]).arg(stage.path()).status().unwrap();
    let private = Command::new("chmod").args(["-R", "go-rwx"]).arg(site.data_dir()).status().unwrap();
    assert!(may_read.success() && private.success());
    let as_nobody = |site: &Gateway, arguments: &[&str]| {
        let mut other = Command::new("setpriv");
        other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        let said = site.cli_through(other, arguments);
        assert!(said.code == Some(4) && said.stderr.contains("sudo -u"), "{arguments:?}: {said:?}");
        assert!(!said.stderr.contains("no such file"), "{said:?}");
    };
    let answered: [&[&str]; 8] = [
        &["status"],
        &["transfers", "list"],
        &["exceptions", "list"],
        &["store", "list"],
        &["ledger", "verify", "--blobs"],
        &["why", "1.2.3"],
        &["study", "1.2.3"],
        &["send", "/etc/hostname", "--to", "b"],
    ];
    for arguments in answered {
        as_nobody(&site, arguments);
    }
    site.stop();
    as_nobody(&site, &["status"]);
    as_nobody(&site, &["serve"]);
    as_nobody(&site, &["store", "accept"]);
    as_nobody(&site, &["store", "rebuild"]);
}

/// SEC-023: who searched and retrieved, which study, and how much it was given stands in the ledger, once a minute, without the
/// patient.
#[test]
fn what_another_site_asks_for_is_in_the_ledger_without_the_patient() {
    let stage = Stage::new();
    let site = site(&stage);
    let port = site.config.web_port;
    let held = names(700, 1, 1);
    let everything = stage.authority.issue(&identity_of(7));
    assert_eq!(ask(&mut Wire::open(&everything, port), "POST", "studies").status, 200);
    for _ in 0..5 {
        for path in [format!("studies/{}", held.study), "studies?PatientID=T0000001&PatientName=Specimen*".into()] {
            assert_eq!(ask(&mut Wire::open(&everything, port), "GET", &path).status, 200, "{path}");
        }
    }
    // To verify what one sent is no search.
    let storing = stage.authority.issue(&identity_of(1));
    let by_name = format!("instances?SOPInstanceUID={}", held.instance);
    assert_eq!(ask(&mut Wire::open(&storing, port), "GET", &by_name).status, 200);
    let entries = ledger::export(&site);
    let asked: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "asked").map(|entry| &entry["facts"]).collect();
    let of = |what: &str| asked.iter().filter(|facts| facts["what"] == what).collect::<Vec<_>>();
    assert!((2..=4).contains(&asked.len()), "once a minute each: {asked:?}");
    assert!(asked.iter().all(|facts| facts["peer"] == "p7" && facts["given"] == 1), "{asked:?}");
    assert!(of("retrieve")[0]["study"] == held.study.as_str() && of("query")[0].get("study").is_none(), "{asked:?}");
    let (told, searched) = (format!("{asked:?}"), of("query")[0]);
    assert_eq!(searched["studies"], serde_json::json!([held.study]), "which studies it was told of");
    assert!(!told.contains("Specimen") && !told.contains("T0000001"), "{told}");
    site.verify_ledger(true);
}

/// SEC-022, SEC-023: for whom another site asks, and why, is kept as it says, with each caller's own entry, and shown with the study;
/// a peer that says nothing is answered all the same.
#[test]
fn for_whom_another_site_asks_is_kept_and_shown() {
    let stage = Stage::new();
    let site = site(&stage);
    let port = site.config.web_port;
    let held = names(700, 1, 1);
    let everything = stage.authority.issue(&identity_of(7));
    assert_eq!(ask(&mut Wire::open(&everything, port), "POST", "studies").status, 200);
    for caller in ["node%20CT1", "user J%C3%BCrgen", ""] {
        let line = format!("GET /dicom-web/studies/{}", held.study);
        let mut headers = vec!["Accept: multipart/related; type=\"application/dicom\"".to_owned()];
        if !caller.is_empty() {
            headers.push("Weybridge-Site: Surrey".into());
            headers.push(format!("Weybridge-Caller: {caller}"));
            headers.push("Weybridge-Purpose: direct-care".into());
        }
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let mut wire = Wire::open(&everything, port);
        wire.head(&line, &headers).unwrap();
        assert_eq!(wire.answer().unwrap().status, 200, "{caller}");
    }
    let entries = ledger::export(&site);
    let asked: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "asked").map(|entry| &entry["facts"]).collect();
    let callers: Vec<_> = asked.iter().map(|facts| facts["caller"].as_str().unwrap_or("-")).collect();
    assert_eq!(callers, ["node CT1", "user Jürgen", "-"]);
    assert!(asked[..2].iter().all(|facts| facts["site"] == "Surrey" && facts["purpose"] == "direct-care"), "{asked:?}");
    let story = site.cli(&["why", &held.study]).ok("why");
    assert!(
        story.contains("peer p7 retrieved it (1 instances), for user Jürgen of Surrey, purpose direct-care"),
        "{story}"
    );
    assert!(story.contains("peer p7 retrieved it (1 instances); for whom it did not say"), "{story}");
    site.verify_ledger(true);
}
