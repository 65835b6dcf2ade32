//! Nodes that are asked by C-FIND what they show of what was sent to them (`verify = "present"`; FLT-042, FLT-043).

use crate::support::config::SiteConfig;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::odd_node::OddNode;
use crate::support::pacs::{Association, Status};
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};

/// A site that has sent something to a node, which wrote down what it saw.
struct Shown {
    node: OddNode,
    site: Gateway,
    _stage: Stage,
}

fn names(at: u64) -> Names {
    crate::support::files::names(80, 1, at)
}

const TIMERS: &str = "[timers]\nresponse = \"5s\"\n[courier]\nretry_first = \"1s\"\nretry_longest = \"2s\"\n";

/// Sends `count` instances of one study to a node with these options.
fn sent(options: &[&str], count: u64) -> Shown {
    let stage = Stage::new();
    let node = OddNode::start(stage.path(), options);
    let table = format!(
        "[[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{}\"\nmay = [\"receive\"]\nverify = \"present\"\n{TIMERS}",
        node.port
    );
    let config = SiteConfig::new("a", stage.identity_of_a())
        .node("SENDER", None)
        .route("all to the node", "OUT", "from = [\"SENDER\"]")
        .with(&table);
    let site = Gateway::start(&stage.path().join("a"), config);
    let mut sender =
        Association::open(site.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    for at in 1..=count {
        let status = sender.store(SECONDARY_CAPTURE, &names(at).instance, &data_set(&names(at), 4096, at)).unwrap();
        assert_eq!(status, Status::SUCCESS);
    }
    sender.release();
    Shown { node, site, _stage: stage }
}

fn finds(node: &OddNode) -> usize {
    node.seen("find").len()
}

#[test]
fn what_a_node_shows_by_list_or_by_one_or_among_everything_is_verified() {
    for find in ["lists", "first", "one", "everything"] {
        let Shown { node, site, _stage } = sent(&["--find", find], 3);
        site.all_become("OUT", "verified", 3, seconds(60));
        let story = site.cli(&["why", &names(1).instance]).ok("why");
        assert!(story.contains("done when it shows it"), "{story}");
        assert!(story.contains("shown by C-FIND"), "{find}: {story}");
        assert_eq!(node.seen("store").len(), 3, "{find}: each once");
        site.verify_ledger(true);
        note_fired(finds(&node));
    }
}

/// INV-04: what was asked for is not lowered in silence.
#[test]
fn a_node_that_takes_no_queries_leaves_it_accepted() {
    let Shown { node, site, _stage } = sent(&[], 2);
    site.all_become("OUT", "accepted", 2, seconds(60));
    let study = names(1).study;
    let told = || site.cli(&["why", &study]).ok("why").contains("it takes no queries").then_some(());
    until(seconds(60), "why says that it cannot be asked", told);
    assert_eq!(node.seen("store").len(), 2, "and is sent nothing twice");
    site.verify_ledger(true);
    note_fired(1);
}

/// FLT-042, FLT-043: it has it, and never said so; or it was gone before it had it.
#[test]
fn what_was_not_answered_is_asked_for_before_it_is_sent_again() {
    for (options, stores) in [(["--slow-first", "20"], 1), (["--abort-after", "1"], 1)] {
        let Shown { node, site, _stage } = sent(&[&options[..], &["--find", "lists"]].concat(), 1);
        site.all_become("OUT", "verified", 1, seconds(60));
        let story = site.cli(&["why", &names(1).instance]).ok("why");
        assert!(story.contains("unknown (sent, but not answered"), "{options:?}: {story}");
        let absent = options[0] == "--abort-after";
        assert_eq!(story.contains("asked by C-FIND: not there"), absent, "{options:?}: {story}");
        assert!(finds(&node) >= 1, "{options:?}");
        let associations = node.seen("association").len();
        assert!(absent || associations == 2, "{options:?}: one to send, one to ask: {associations}");
        assert!(node.seen("store").len() <= stores, "{options:?}");
        site.verify_ledger(true);
        note_fired(1);
    }
}
