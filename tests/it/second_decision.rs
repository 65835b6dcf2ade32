//! Whether a destination may have an instance is decided again when it is sent (INV-15): the configuration changes between arrival
//! and sending, by SIGHUP and over a restart.

use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names};
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::load::send_all;
use crate::support::pacs::{Association, Status};
use crate::support::scripted_peer::{ScriptedPeer, Step};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};

const COURIER: &str =
    "[courier]\nbatch_instances = 5\nretry_first = \"100ms\"\nretry_longest = \"1s\"\noutage_probe = \"1s\"";

const ROUTE: &str = "[[route]]\nname = \"all to b\"";

/// Site A, which owes its peer `b` ten instances while `b` is paused, with these further lines.
fn owing(stage: &Stage, b: &ScriptedPeer, story: u64, more: &str) -> Gateway {
    let a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.url()).with(COURIER).with(more));
    a.cli(&["peers", "pause", "b", "--reason", "the story begins"]).ok("pause");
    send_all(story, 0..10, a.config.dicom_port, "WB_A");
    assert_eq!(a.transfers("b", "pending"), (10, 10));
    a
}

/// Puts this in the place of that in the configuration of a site that runs, and has it read again.
fn change(site: &mut Gateway, from: &str, to: &str) {
    let toml = std::fs::read_to_string(site.config_file()).unwrap();
    assert_eq!(toml.matches(from).count(), 1, "{from}");
    std::fs::write(site.config_file(), toml.replace(from, to)).unwrap();
    site.reload();
}

fn configured(site: &Gateway) -> usize {
    ledger::export(site).iter().filter(|entry| entry["kind"] == "configured").count()
}

#[test]
fn what_no_route_sends_there_any_more_waits_for_a_person() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let mut a = owing(&stage, &b, 730, "");
    assert_eq!(configured(&a), 1);
    // Only CT goes to b from now on, and these are none.
    change(&mut a, ROUTE, &format!("{ROUTE}\nwhen = {{ modality = [\"CT\"] }}"));
    assert_eq!(configured(&a), 2, "the change is in the ledger");
    a.cli(&["peers", "resume", "b"]).ok("resume");
    a.all_become("b", "held", 10, seconds(30));
    assert_eq!(b.seen().0, 0, "nothing was sent");
    let held = names(730, 0, 3);
    let story = a.cli(&["why", &held.instance]).ok("why");
    assert!(story.contains("no route sends it to b any more") && story.contains("\"all to b\""), "{story}");
    assert_eq!(a.ask(&["exceptions", "list", "--json"]).len(), 10, "each waits for a person");

    // A person decides: they go, and are not asked about again.
    a.cli(&["transfers", "release", "--study", &held.study, "--reason", "agreed by telephone"]).ok("release");
    a.all_become("b", "verified", 10, seconds(60));
    assert!(b.arrivals().len() == 10 && b.arrivals().values().all(|times| *times == 1));
    a.verify_ledger(true);
}

#[test]
fn what_a_route_still_sends_there_goes_whatever_else_has_changed() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let mut a = owing(&stage, &b, 731, "");
    // Another name, another condition, the same destination.
    change(
        &mut a,
        ROUTE,
        "[[route]]\nname = \"others to b\"\nfrom = [\"SENDER\"]\nwhen = { modality = [\"OT\"], patient_name = [\"Specimen*\"] }",
    );
    a.cli(&["peers", "resume", "b"]).ok("resume");
    a.all_become("b", "verified", 10, seconds(60));
    a.verify_ledger(true);
}

#[test]
fn a_change_that_is_made_while_the_gateway_is_down_counts_too() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let mut a = owing(&stage, &b, 732, "");
    a.kill();
    let toml = std::fs::read_to_string(a.config_file()).unwrap();
    std::fs::write(a.config_file(), toml.replace(ROUTE, &format!("{ROUTE}\nfrom = [\"DCMTK\"]"))).unwrap();
    a.up();
    a.cli(&["peers", "resume", "b"]).ok("resume");
    a.all_become("b", "held", 10, seconds(30));
    // A restart alone changes nothing: what arrives now is not doubted.
    a.stop();
    a.up();
    assert_eq!((b.seen().0, configured(&a)), (0, 2));
    a.verify_ledger(true);
}

#[test]
fn what_is_on_its_way_ends_and_the_rest_of_the_study_is_decided_anew() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    b.then([Step::StoreWhenTold]);
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.url()).with(COURIER));
    send_all(733, 0..20, a.config.dicom_port, "WB_A");
    until(seconds(30), "a batch is there and not answered", || (b.held() > 0).then_some(()));
    let on_its_way = b.held() as u64;
    change(&mut a, ROUTE, &format!("{ROUTE}\nfrom = [\"DCMTK\"]"));
    b.speak();
    until(seconds(60), "the rest is held", || (a.transfers("b", "held").1 == 20 - on_its_way).then_some(()));
    until(seconds(60), "the batch is verified", || (a.transfers("b", "verified").1 == on_its_way).then_some(()));
    assert_eq!(b.arrivals().len() as u64, on_its_way);
    a.verify_ledger(true);
}

/// A node that may no longer receive, and is named by no route: what it is owed is parked where everybody sees it, never sent, and
/// goes by itself once it may again.
#[test]
fn a_node_that_may_no_longer_receive_gets_nothing_until_it_may_again() {
    let stage = Stage::new();
    let mut node = StoreScp::start(&stage.path().join("out"), "OUT");
    node.stop();
    let entry = format!("[[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{}\"", node.port);
    let route = "[[route]]\nname = \"to the node\"\nto = [\"OUT\"]";
    let config = stage.site_a("https://127.0.0.1:9/dicom-web").with(COURIER);
    let config = config.with(&format!("{entry}\nmay = [\"receive\"]\n{route}"));
    let mut a = Gateway::start(&stage.path().join("a"), config);
    let names = names(734, 1, 1);
    let mut association =
        Association::open(a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let status = association.store(SECONDARY_CAPTURE, &names.instance, &data_set(&names, 4096, 1)).unwrap();
    assert_eq!(status, Status::SUCCESS);
    association.release();
    until(seconds(30), "the node is tried in vain", || (ledger::failures(&a, "OUT") > 0).then_some(()));

    let good = std::fs::read_to_string(a.config_file()).unwrap();
    let without = good.replace(&format!("{entry}\nmay = [\"receive\"]\n{route}"), "");
    assert_ne!(good, without);
    std::fs::write(a.config_file(), without).unwrap();
    a.reload();
    let node = StoreScp::start_on(node.port, &stage.path().join("out2"), "OUT");
    a.all_become("OUT", "parked", 1, seconds(30));
    let status = a.cli(&["status"]).ok("status");
    assert!(status.contains("the configuration has no [[peer]] OUT"), "{status}");
    assert!(node.files().is_empty(), "nothing was sent");

    std::fs::write(a.config_file(), good).unwrap();
    a.reload();
    a.all_become("OUT", "accepted", 1, seconds(60));
    assert_eq!(node.files().len(), 1);
    a.verify_ledger(true);
}
