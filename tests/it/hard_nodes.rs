//! Out to nodes that are hard to please: that take nothing of odd length, refuse before all is sent, answer for another instance or with a
//! status that ends nothing, and do not let go of an association.

use crate::support::bare_node::{BareNode, Manner, Release, When};
use crate::support::config::SiteConfig;
use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, read_part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::pacs::{Association, Status};
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use std::collections::BTreeMap;
use std::io::Write;

const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

fn site(stage: &Stage, port: u16) -> Gateway {
    site_with(stage, port, "")
}

/// The same with further lines of `[courier]`, and of what follows it.
fn site_with(stage: &Stage, port: u16, lines: &str) -> Gateway {
    let config = SiteConfig::new("a", stage.identity_of_a())
        .node("SENDER", None)
        .node("OUT", Some(port))
        .route("all to the node", "OUT", "from = [\"SENDER\"]")
        .with(&format!("[courier]\nretry_first = \"100ms\"\nretry_longest = \"200ms\"\nrefusals = 2\n{lines}"));
    Gateway::start(&stage.path().join("a"), config)
}

fn push(site: &Gateway, names: &Names, syntax: &str, data: &[u8]) {
    let port = site.config.dicom_port;
    let mut association = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, syntax).unwrap();
    assert_eq!(association.store(SECONDARY_CAPTURE, &names.instance, data).unwrap(), Status::SUCCESS);
    association.release();
}

/// Deflated, of odd length, without the padding that PS3.5 section A.5 asks for.
fn deflated(names: &Names, seed: u64) -> Vec<u8> {
    let deflate = |seed| {
        let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(&data_set(names, 2048, seed)).unwrap();
        out.finish().unwrap()
    };
    (seed..).map(deflate).find(|bytes| bytes.len() % 2 == 1).unwrap()
}

/// With a name of 13 characters that nothing makes even, and with the padding that it should have.
fn uneven(names: &Names) -> (Vec<u8>, Vec<u8>) {
    let even = data_set(names, 2048, 3);
    let at = memchr::memmem::find(&even, b"\x0e\x00Specimen^Test ").unwrap();
    let odd = [&even[..at], b"\x0d\x00Specimen^Test", &even[at + 16..]].concat();
    assert_eq!(odd.len() % 2, 1);
    (odd, even)
}

/// DIM-055: fragments are even; DCMTK ends an association in which one is not.
#[test]
fn what_has_an_odd_length_leaves_in_an_even_one() {
    let stage = Stage::new();
    let node = StoreScp::start(&stage.path().join("out"), "OUT");
    let site = site(&stage, node.port);
    let all: Vec<Names> = (1..=2).map(|at| names(411, 1, at)).collect();
    let stream = deflated(&all[0], 1);
    push(&site, &all[0], DEFLATED, &stream);
    let (odd, even) = uneven(&all[1]);
    push(&site, &all[1], EXPLICIT_LE, &odd);
    site.all_become("OUT", "accepted", 2, seconds(30));
    let came: BTreeMap<String, Vec<u8>> = node
        .files()
        .iter()
        .map(|path| {
            let bytes = std::fs::read(path).unwrap();
            let meta = read_part10(&bytes).unwrap();
            (meta.instance, bytes[meta.data_set_at..].to_vec())
        })
        .collect();
    assert_eq!(came[&all[0].instance], [&stream[..], &[0]].concat(), "one NUL after the stream");
    // A native data set goes in one of the native syntaxes that the node takes.
    assert_eq!(came[&all[1].instance], even, "each value is padded");
    site.verify_ledger(true);
}

/// FLT-066, PS3.7 section 9.3.1.3: what a node says before our data ends is its answer, whatever it does then.
#[test]
fn an_early_refusal_is_the_answer_whatever_the_node_does_then() {
    for when in [When::Early, When::EarlyAndCloses, When::EarlyAndAborts, When::EarlyAndStopsReading] {
        let stage = Stage::new();
        let bad = names(412, 1, 1);
        let uid = bad.instance.clone();
        let node = BareNode::start(move |_, instance, _| match instance == uid {
            true => Manner { status: 0xA900, when, ..Manner::default() },
            false => Manner::default(),
        });
        let site = site(&stage, node.port);
        let good = names(412, 1, 2);
        site.cli(&["nodes", "pause", "OUT", "--reason", "both are to go together"]).ok("pause");
        push(&site, &bad, EXPLICIT_LE, &data_set(&bad, 24 << 20, 1));
        push(&site, &good, EXPLICIT_LE, &data_set(&good, 2048, 2));
        site.cli(&["nodes", "resume", "OUT"]).ok("resume");
        until(seconds(60), "one is given up, and the other is there", || {
            (site.transfers("OUT", "dead").1 == 1 && site.transfers("OUT", "accepted").1 == 1).then_some(())
        });
        let story = site.cli(&["why", &bad.instance]).ok("why");
        assert!(story.contains("A900"), "{when:?}: {story}");
        let got = node.got(&bad.instance);
        assert_eq!(got.len(), 1, "{when:?}: {got:?}");
        assert!(got[0].bytes < 24 << 20, "the rest is not sent, {when:?}: {got:?}");
        note_fired(1);
        assert_eq!(node.got(&good.instance).len(), 1, "{when:?}");
        site.verify_ledger(false);
    }
}

/// DIM-056, PS3.7 section 9.1.1.2: who says that another instance was stored, or all of it before it had all, has not said that ours was.
#[test]
fn a_success_for_another_instance_or_before_the_end_is_none() {
    let manner = |class: &str, instance: &str| Manner {
        class: Some(class.to_owned()),
        instance: Some(instance.to_owned()),
        ..Manner::default()
    };
    let mine = names(413, 1, 1);
    let rows = [
        ("another instance", manner(SECONDARY_CAPTURE, "1.2.3"), false),
        ("another class", manner("1.2.3", &mine.instance), false),
        ("another instance, with a warning", Manner { status: 0xB000, ..manner(SECONDARY_CAPTURE, "1.2.3") }, false),
        ("before the end", Manner { when: When::Early, ..Manner::default() }, false),
        ("both named", manner(SECONDARY_CAPTURE, &mine.instance), true),
        ("padded by spaces", manner(SECONDARY_CAPTURE, &format!("{} ", mine.instance)), true),
        ("both empty", manner("", ""), true),
        ("none named", Manner::default(), true),
    ];
    for (name, first, counts) in rows {
        let stage = Stage::new();
        let asked = std::sync::atomic::AtomicBool::new(false);
        let node = BareNode::start(move |_, _, _| match asked.swap(true, std::sync::atomic::Ordering::SeqCst) {
            false => first.clone(),
            true => Manner::default(),
        });
        let site = site(&stage, node.port);
        push(&site, &mine, EXPLICIT_LE, &data_set(&mine, 24 << 20, 1));
        site.all_become("OUT", "accepted", 1, seconds(60));
        let story = site.cli(&["why", &mine.instance]).ok("why");
        assert_eq!(story.contains("unknown"), !counts, "{name}: {story}");
        assert_eq!(node.got(&mine.instance).len(), if counts { 1 } else { 2 }, "{name}");
        site.verify_ledger(false);
    }
}

/// DIM-057: a node that accepts a syntax and breaks off over every object in it gets the object natively, once it has done so twice.
#[test]
fn what_came_to_nothing_twice_compressed_goes_natively() {
    let stage = Stage::new();
    let node = BareNode::start(|_, _, syntax| match syntax {
        DEFLATED => Manner { when: When::AbortsAtTheEnd, ..Manner::default() },
        _ => Manner::default(),
    });
    let site = site(&stage, node.port);
    let mine = names(414, 1, 1);
    push(&site, &mine, DEFLATED, &deflated(&mine, 1));
    site.all_become("OUT", "accepted", 1, seconds(60));
    let syntaxes: Vec<String> = node.got(&mine.instance).into_iter().map(|got| got.syntax).collect();
    assert_eq!(syntaxes, [DEFLATED, DEFLATED, EXPLICIT_LE]);
    site.verify_ledger(false);
}

/// DIM-054: pending is no answer to C-STORE. What such a node says further is not taken for its answer to the next instance.
#[test]
fn a_pending_status_is_a_refusal_and_costs_the_next_instance_nothing() {
    for status in [0xFF00, 0xFF01] {
        let stage = Stage::new();
        let (bad, good) = (names(415, 1, 1), names(415, 1, 2));
        let uid = bad.instance.clone();
        let node = BareNode::start(move |_, instance, _| match instance == uid {
            true => Manner { status, then: Some(0), ..Manner::default() },
            false => Manner::default(),
        });
        let site = site(&stage, node.port);
        site.cli(&["nodes", "pause", "OUT", "--reason", "both are to go together"]).ok("pause");
        for mine in [&bad, &good] {
            push(&site, mine, EXPLICIT_LE, &data_set(mine, 2048, 1));
        }
        site.cli(&["nodes", "resume", "OUT"]).ok("resume");
        until(seconds(60), "one is given up, and the other is there", || {
            (site.transfers("OUT", "dead").1 == 1 && site.transfers("OUT", "accepted").1 == 1).then_some(())
        });
        let story = |names: &Names| site.cli(&["why", &names.instance]).ok("why");
        assert!(story(&bad).contains(&format!("{status:04X}: not an answer to C-STORE")), "{}", story(&bad));
        assert!(!story(&good).contains("unknown") && !story(&good).contains("deferred"), "{}", story(&good));
        assert_eq!((node.got(&bad.instance).len(), node.got(&good.instance).len()), (2, 1), "{status:04X}");
        site.verify_ledger(false);
    }
}

/// DIM-013, PS3.8 section 9.1.5: how a node takes our release changes nothing of what it has stored, nor of what goes to it next. ARTIM, of a
/// second here, does not supervise it.
#[test]
fn a_node_that_releases_late_or_never_costs_nothing() {
    let rows = [
        (Release::AtOnce, "close"),
        (Release::After(seconds(2)), "close"),
        (Release::Never, "abort"),
        (Release::Collides, "close"),
        (Release::Closes, "closing"),
    ];
    for (story, (release, end)) in (416..).zip(rows) {
        let stage = Stage::new();
        let node = BareNode::start_releasing(release, |_, _, _| Manner::default());
        let lines = "linger = \"100ms\"\n[timers]\nartim = \"1s\"\nrelease = \"3s\"";
        let site = site_with(&stage, node.port, lines);
        for study in 1..=2 {
            let mine = names(story, study, 1);
            push(&site, &mine, EXPLICIT_LE, &data_set(&mine, 2048, study));
            site.all_become("OUT", "accepted", study, seconds(30));
            until(seconds(30), "the association is over", || (node.ends().len() as u64 == study).then_some(()));
            assert_eq!(node.ends().last(), Some(&end), "{release:?}");
            let told = site.cli(&["why", &mine.instance]).ok("why");
            assert!(!told.contains("unknown") && !told.contains("deferred"), "{release:?}: {told}");
            assert_eq!(node.got(&mine.instance).len(), 1, "{release:?}");
        }
        site.verify_ledger(false);
    }
}

/// PS3.8 section 9.2: a node that lets go of the association after each instance gets the next over another, at once.
#[test]
fn a_node_that_releases_after_each_instance_gets_them_all_without_a_doubt() {
    let stage = Stage::new();
    let node = BareNode::start(|_, _, _| Manner { when: When::AtTheEndAndReleases, ..Manner::default() });
    let site = site(&stage, node.port);
    let all: Vec<Names> = (1..=5).map(|at| names(421, 1, at)).collect();
    site.cli(&["nodes", "pause", "OUT", "--reason", "they are to go together"]).ok("pause");
    all.iter().for_each(|mine| push(&site, mine, EXPLICIT_LE, &data_set(mine, 2048, 1)));
    site.cli(&["nodes", "resume", "OUT"]).ok("resume");
    site.all_become("OUT", "accepted", 5, seconds(30));
    for mine in &all {
        let told = site.cli(&["why", &mine.instance]).ok("why");
        assert!(!told.contains("unknown") && !told.contains("deferred"), "{told}");
        assert_eq!(node.got(&mine.instance).len(), 1);
    }
    site.verify_ledger(false);
}

/// REL-21, REL-24: what a node breaks off within each time goes behind the others of its study, and is charged with it once they are there.
#[test]
fn what_a_node_breaks_off_within_each_time_keeps_nothing_from_it() {
    let stage = Stage::new();
    let bad = names(422, 1, 1);
    let uid = bad.instance.clone();
    let node = BareNode::start(move |_, instance, _| match instance == uid {
        true => Manner { when: When::AbortsEarly, ..Manner::default() },
        false => Manner::default(),
    });
    let site = site(&stage, node.port);
    site.cli(&["nodes", "pause", "OUT", "--reason", "they are to go together"]).ok("pause");
    push(&site, &bad, EXPLICIT_LE, &data_set(&bad, 24 << 20, 1));
    for at in 2..=3 {
        let good = names(422, 1, at);
        push(&site, &good, EXPLICIT_LE, &data_set(&good, 2048, at));
    }
    site.cli(&["nodes", "resume", "OUT"]).ok("resume");
    until(seconds(60), "the others are there", || (site.transfers("OUT", "accepted").1 == 2).then_some(()));
    until(seconds(60), "the one is blamed", || {
        site.cli(&["why", &bad.instance]).ok("why").contains("breaks off within it each time").then_some(())
    });
    let later = names(422, 1, 4);
    push(&site, &later, EXPLICIT_LE, &data_set(&later, 2048, 4));
    until(seconds(60), "so is what comes later", || (site.transfers("OUT", "accepted").1 == 3).then_some(()));
    site.verify_ledger(false);
}
