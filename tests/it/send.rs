//! `weybridge send` of what is held: by study, accession number and patient, to a peer and to a real archive's storescp, and never
//! one person's study for another's (IDY-046, UIX-04); and what is urgent first (REL-23).

use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::gateway::Gateway;
use crate::support::pacs::{Association, Status};
use crate::support::scripted_peer::{ScriptedPeer, Seen, Step};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};

/// Puts an Accession Number into a made-up data set, before Modality.
fn with_accession(data_set: &[u8], number: &[u8; 4]) -> Vec<u8> {
    let at = memchr::memmem::find(data_set, &[0x08, 0, 0x60, 0, b'C', b'S']).unwrap();
    let element = [&[0x08, 0, 0x50, 0, b'S', b'H', 4, 0], &number[..]].concat();
    [&data_set[..at], &element, &data_set[at..]].concat()
}

/// A study of `count` instances from a node, with an accession number; its UID.
fn push(site: &Gateway, node: &str, study: u64, count: u64, accession: &[u8; 4]) -> String {
    let mut association =
        Association::open(site.config.dicom_port, node, "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    for number in 1..=count {
        let names = names(310, study, number);
        let bytes = with_accession(&data_set(&names, 4096, study << 16 | number), accession);
        assert_eq!(association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap(), Status::SUCCESS);
    }
    association.release();
    names(310, study, 1).study
}

#[test]
fn what_is_held_is_sent_by_study_and_number_and_never_for_another_person() {
    let out = tempfile::tempdir().unwrap();
    let node = StoreScp::start(out.path(), "OUT");
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let other =
        "[[node]]\nae_title = \"OTHER\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\"]\nissuer = \"ZZ777\"";
    // Nothing is routed: the only route wants a modality that never comes.
    let config = stage.site_b().peer("b", &b.url(), B_IDENTITY, "present");
    let mut config = config.node("SENDER", None).node("OUT", Some(node.port)).with(other);
    config.name = "a".into();
    config.ae_title = "WB_A".into();
    let a = Gateway::start(&stage.path().join("a"), config);
    // Two trusts gave one number to two people, and one accession number to two studies.
    let ours = push(&a, "SENDER", 1, 5, b"A100");
    let theirs = push(&a, "OTHER", 2, 3, b"A100");
    let alone = push(&a, "SENDER", 3, 2, b"A200");
    let send = |arguments: &[&str]| a.cli(&[&["send"], arguments].concat());

    let rows: [(&[&str], i32, &str); 9] = [
        (&["--to", "OUT"], 2, "required"),
        (&["--study", &ours, "--to", "NOBODY"], 2, "neither"),
        (&["--study", &ours, "--to", "OTHER"], 2, "OTHER may not receive"),
        (&["--study", "x", "--to", "OUT"], 2, "UID"),
        (&["--study", "2.25.1", "--to", "OUT"], 1, "holds nothing"),
        (&["--study", &ours, "--from", "OTHER", "--to", "OUT"], 1, "holds nothing of it that came from OTHER"),
        (&["--study", &ours, "--from", "NOBODY", "--to", "OUT"], 2, "neither a node nor a peer"),
        (&["--accession", "A100", "--to", "OUT"], 1, "more than one patient"),
        (&["--patient", "T0000001", "--to", "OUT"], 1, "more than one patient"),
    ];
    for (arguments, code, words) in rows {
        let said = send(arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {}{}", said.stdout, said.stderr);
        assert!(said.stderr.contains(words), "{arguments:?}: {}", said.stderr);
    }
    let listed = send(&["--accession", "A100", "--to", "OUT"]).stdout;
    assert!(listed.contains(&ours) && listed.contains(&theirs) && listed.contains("ZZ777"), "{listed}");
    assert_eq!(a.transfers("OUT", "pending").0, 0, "nothing was sent for a doubtful number");
    assert_eq!(send(&["--accession", "A200", "--to", "OUT", "--dry-run"]).code, Some(0));
    assert_eq!(a.transfers("OUT", "pending").0, 0, "a dry run sends nothing");

    let said = send(&["--accession", "A100", "--issuer", "ZZ777", "--to", "OUT", "--wait", "--urgent"]).ok("send");
    assert!(said.contains("3 instances queued"), "{said}");
    assert_eq!((node.files().len(), a.transfers("OUT", "accepted")), (3, (3, 3)));
    let said = send(&["--study", &theirs, "--to", "OUT"]).ok("send again");
    assert!(said.contains("0 instances queued") && said.contains("3 there already"), "{said}");
    send(&["--study", &alone, "--to", "b", "--reason", "asked for by phone", "--wait"]).ok("send to b");
    assert_eq!(b.held(), 2);
    let story = a.cli(&["why", &alone]).ok("why");
    assert!(story.contains("weybridge send by") && story.contains("done when it shows it"), "{story}");
    // The patient's number, with who issued it: the other's study alone, although both have the number.
    let said = send(&["--patient", "T0000001", "--issuer", "ZZ777", "--to", "b", "--wait"]).ok("send of a patient");
    assert!(said.contains("3 instances queued") && said.contains(&theirs) && !said.contains(&ours), "{said}");
    let at_b = b.arrivals();
    assert!(at_b.len() == 5 && (1..=3).all(|n| at_b.contains_key(&names(310, 2, n).instance)), "{at_b:?}");
    let said = send(&["--study", &ours, "--from", "SENDER", "--to", "b", "--json"]).ok("send");
    let value: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!((value["ordered"]["owed"].as_u64(), value["instances"].as_u64()), (Some(5), Some(5)));
    a.all_become("b", "verified", 10, seconds(60));
    send(&["--study", &alone, "--to", "b", "--again", "--wait"]).ok("send once more");
    assert!(b.arrivals().values().all(|times| *times == 1), "b was asked, and nothing was sent twice");
    assert_eq!(a.cli(&["status", "--json"]).code, Some(0));
    a.verify_ledger(false);
}

/// REL-23: ten studies wait for a peer that is slow to answer; what is sent `--urgent` then goes before nearly all of them, four turns
/// in five, and they arrive too.
#[test]
fn urgent_overtakes_a_backlog_at_a_peer_that_is_slow() {
    const BATCHES: usize = 20;
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    b.then([Step::StoreWhenTold]);
    let mut config = stage.site_b().peer("b", &b.url(), B_IDENTITY, "present").node("SENDER", None).node("OTHER", None);
    config = config.route("a backlog", "b", "from = [\"SENDER\"]").with("[courier]\nbatch_instances = 5");
    (config.name, config.ae_title) = ("a".into(), "WB_A".into());
    let a = Gateway::start(&stage.path().join("a"), config);
    for study in 11..=20 {
        push(&a, "SENDER", study, 10, b"B100");
    }
    until(seconds(30), "the peer has a batch and is silent", || (b.held() > 0).then_some(()));
    let wanted = push(&a, "OTHER", 21, 20, b"W100");
    let said = a.cli(&["send", "--study", &wanted, "--to", "b", "--urgent"]).ok("send");
    assert!(said.contains("20 instances queued"), "{said}");
    let before = b.log().len();
    b.speak();
    a.all_become("b", "verified", 120, seconds(60));
    let urgent = |uid: &String| (1..=20).any(|number| names(310, 21, number).instance == *uid);
    let log = b.log().split_off(before);
    let sent: Vec<bool> = log
        .iter()
        .filter_map(|seen| match seen {
            Seen::Sent { instances, .. } => Some(instances.iter().all(|(uid, _)| urgent(uid))),
            _ => None,
        })
        .collect();
    let last = sent.iter().rposition(|urgent| *urgent).unwrap();
    let (urgent, overtaken) = (sent.iter().filter(|urgent| **urgent).count(), last + 1);
    println!("summary: {urgent} urgent requests were among the first {overtaken} of {}", sent.len());
    assert!(sent.len() >= BATCHES && urgent >= 4, "{sent:?}");
    // A study goes one request at a time, so that each urgent one has one of the backlog beside it; one turn in five is the oldest's.
    assert!(overtaken <= 2 * urgent + 2, "{sent:?}");
    assert!(b.arrivals().len() == 120 && b.arrivals().values().all(|times| *times == 1), "all arrived, once");
    a.verify_ledger(false);
}

/// DIM-050, UIX-04: a destination that cannot be used as it is configured is no reason to wait for ever.
#[test]
fn waiting_ends_when_all_that_is_left_is_for_a_destination_that_is_parked() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    b.always(Some(Step::Refuse(401, None)));
    let mut config = stage.site_b().peer("b", &b.url(), B_IDENTITY, "present").node("SENDER", None);
    (config.name, config.ae_title) = ("a".into(), "WB_A".into());
    let a = Gateway::start(&stage.path().join("a"), config);
    let study = push(&a, "SENDER", 31, 3, b"A300");
    let said = a.cli(&["send", "--study", &study, "--to", "b", "--wait"]);
    assert_eq!(said.code, Some(1), "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains("3 transfers to b need a person"), "{}", said.stderr);
    assert!(said.stderr.contains("b is parked") && said.stderr.contains("HTTP 401"), "{}", said.stderr);
    let said = a.cli(&["send", "--study", &study, "--to", "b", "--wait", "--json"]);
    assert!(said.code == Some(1) && said.stdout.contains("\"failed\":3"), "{}{}", said.stdout, said.stderr);
}

/// UIX-04: a file that fails while it is read is refused by itself; that there is no file, or that who is named may not receive, is told.
#[test]
fn why_files_do_not_go_is_told_and_the_others_go() {
    let stage = Stage::new();
    let a = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let at = |name: &str| stage.path().join(name).to_str().unwrap().to_owned();
    let (file, nothing) = (at("one.dcm"), at("nothing"));
    let names = names(312, 1, 1);
    let bytes = part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(&names, 4096, 1));
    std::fs::write(&file, bytes).unwrap();
    std::fs::create_dir(&nothing).unwrap();

    let said = a.cli(&["send", &nothing, "--to", "b"]);
    assert!(said.code == Some(1) && said.stderr.contains("no files below"), "{said:?}");
    let said = a.cli(&["send", &file, "--to", "SENDER"]);
    assert!(said.code == Some(2) && said.stderr.contains("SENDER may not receive; add"), "{said:?}");
    // This opens, and has nothing at its first byte that could be read.
    let said = a.cli(&["send", "/proc/self/mem", &file, "--to", "b"]);
    assert!(said.code == Some(1) && said.stdout.contains("/proc/self/mem: cannot read it: "), "{said:?}");
    assert!(said.stdout.contains("to b: 1 queued") && said.stdout.contains("0 not sent, 1 refused"), "{said:?}");
}

/// UIX-04: what somebody cancelled before is no failure of what is sent now.
#[test]
fn waiting_does_not_count_what_was_cancelled_before() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let mut config = stage.site_b().peer("b", &b.url(), B_IDENTITY, "present").node("SENDER", None);
    (config.name, config.ae_title) = ("a".into(), "WB_A".into());
    let a = Gateway::start(&stage.path().join("a"), config);
    let study = push(&a, "SENDER", 41, 2, b"A400");
    a.cli(&["peers", "pause", "b", "--reason", "later"]).ok("pause");
    a.cli(&["send", "--study", &study, "--to", "b"]).ok("send");
    a.cli(&["transfers", "cancel", "--study", &study, "--reason", "not now"]).ok("cancel");
    a.cli(&["peers", "resume", "b"]).ok("resume");
    let said = a.cli(&["send", "--study", &study, "--to", "b", "--wait", "--json"]).ok("send after all");
    assert!(said.contains("\"failed\":0"), "{said}");
    assert_eq!(b.held(), 2);
}
