//! A changed configuration takes effect at SIGHUP; a wrong one changes nothing; nobody is cut off.

use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names};
use crate::support::gateway::Gateway;
use crate::support::pacs::{Association, Status};
use crate::support::process::finish;
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
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
