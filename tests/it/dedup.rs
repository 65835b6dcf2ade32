//! The same instance again and again: one blob, one transfer, one arrival; never a second send.

use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, digest, names};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::pacs::{Association, Status};
use crate::support::two_sites::TwoSites;
use crate::support::wait::{seconds, until};
use std::collections::BTreeSet;
use std::sync::Barrier;

const SENDERS: usize = 64;

fn store(site: &Gateway, names: &Names, bytes: &[u8]) -> Status {
    let port = site.config.dicom_port;
    let mut association = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let status = association.store(SECONDARY_CAPTURE, &names.instance, bytes).unwrap();
    association.release();
    status
}

#[test]
fn sixty_four_senders_of_one_instance_make_one_transfer() {
    let sites = TwoSites::start(None);
    let names = names(64, 1, 1);
    let bytes = data_set(&names, 512 << 10, 64);
    let together = Barrier::new(SENDERS);
    let (a, port) = (&sites.a, sites.a.config.dicom_port);
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                let mut association =
                    Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
                together.wait();
                let status = association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap();
                assert_eq!(status, Status::SUCCESS);
                association.release();
            });
        }
    });
    a.all_become("b", "verified", 1, seconds(60));
    assert_eq!(a.study(&names.study).len(), 1, "one instance");
    assert_eq!(ledger::arrivals(a)[&names.instance], SENDERS, "each arrival is in the ledger");
    note_fired(ledger::arrivals(a)[&names.instance]);
    assert_eq!(ledger::arrivals(&sites.b)[&names.instance], 1, "and one reached B");
    assert_eq!(store(a, &names, &bytes), Status::SUCCESS);
    assert_eq!(a.transfers("b", "verified"), (1, 1), "what is done is not owed again");
    a.verify_ledger(true);
    sites.b.verify_ledger(true);
    assert_eq!(ledger::arrivals(&sites.b)[&names.instance], 1, "nor sent again");
}

/// FLT-031: all are told success, and all contents are kept; the one that was committed first goes to B, the others wait for a person.
#[test]
fn of_sixty_four_contents_of_one_uid_the_first_goes_and_the_others_are_held() {
    let sites = TwoSites::start(None);
    let names = names(67, 1, 1);
    let contents: Vec<Vec<u8>> = (0..SENDERS as u64).map(|n| data_set(&names, 16 << 10, 6700 + n)).collect();
    let together = Barrier::new(SENDERS);
    let (a, port) = (&sites.a, sites.a.config.dicom_port);
    std::thread::scope(|scope| {
        for bytes in &contents {
            scope.spawn(|| {
                let mut association =
                    Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
                together.wait();
                let status = association.store(SECONDARY_CAPTURE, &names.instance, bytes).unwrap();
                assert_eq!(status, Status::SUCCESS);
                association.release();
            });
        }
    });
    let others = SENDERS as u64 - 1;
    until(seconds(60), "the first is verified", || (a.transfers("b", "verified").1 == 1).then_some(()));
    assert_eq!(a.transfers("b", "held"), (others + 1, others));
    let versions = a.study(&names.study);
    let kept: BTreeSet<String> =
        versions.iter().map(|version| version["sha256"].as_str().unwrap().to_owned()).collect();
    let sent: BTreeSet<String> = contents.iter().map(|bytes| digest(bytes)).collect();
    assert_eq!(kept, sent, "each content is kept");
    let conflicts = a.ask(&["exceptions", "list", "--json"]);
    assert_eq!(conflicts.iter().filter(|one| one["kind"] == "conflict").count() as u64, others, "{conflicts:?}");
    note_fired(others as usize);
    // B has the one that was first, and had no other.
    let first = ledger::export(a).into_iter().find(|entry| entry["kind"] == "received").unwrap();
    let first = first["facts"]["instance"].as_i64().unwrap();
    let made = ledger::export(a).into_iter().flat_map(|entry| entry["facts"]["versions"].as_array().cloned());
    let first = made.flatten().find(|version| version["id"] == first).unwrap()["sha256"].clone();
    assert_eq!(sites.b.study(&names.study)[0]["sha256"], first);
    assert_eq!(ledger::arrivals(&sites.b)[&names.instance], 1);
    a.verify_ledger(true);
    sites.b.verify_ledger(true);
}

#[test]
fn equal_pixels_under_two_uids_are_two_instances() {
    let sites = TwoSites::start(None);
    for number in [1, 2] {
        let names = names(65, 1, number);
        assert_eq!(store(&sites.a, &names, &data_set(&names, 64 << 10, 1)), Status::SUCCESS);
    }
    sites.a.all_become("b", "verified", 2, seconds(60));
    assert_eq!(sites.b.study(&names(65, 1, 1).study).len(), 2);
}

#[test]
fn other_content_under_a_uid_is_held_and_overwrites_nothing() {
    let sites = TwoSites::start(None);
    let names = names(66, 1, 1);
    assert_eq!(store(&sites.a, &names, &data_set(&names, 64 << 10, 1)), Status::SUCCESS);
    sites.a.all_become("b", "verified", 1, seconds(60));
    let before = sites.b.study(&names.study)[0]["sha256"].clone();
    assert_eq!(store(&sites.a, &names, &data_set(&names, 64 << 10, 2)), Status::SUCCESS, "kept, and the node told so");
    assert_eq!(sites.a.transfers("b", "held").1, 1, "the other version waits for a person");
    assert_eq!(sites.a.transfers("b", "verified").1, 1, "the first stays as it was");
    assert_eq!(sites.b.study(&names.study)[0]["sha256"], before, "B has the first version");
    sites.a.verify_ledger(true);
}
