//! The router's truth tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::dicom::attributes::by_name;
use crate::dicom::head::Attributes;
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};

fn title(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

fn head(values: &[(&str, &str)]) -> Head {
    let values = values.iter().map(|(name, value)| (by_name(name).unwrap().tag, value.as_bytes().into())).collect();
    Head {
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
        sop_instance: InstanceUid::parse("2.25.1").unwrap(),
        study: StudyUid::parse("2.25.2").unwrap(),
        series: SeriesUid::parse("2.25.3").unwrap(),
        transfer_syntax: TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap(),
        attributes: Attributes { values, ..Attributes::default() },
    }
}

fn ct() -> Head {
    head(&[("modality", "CT"), ("study_description", "CHEST "), ("image_type", "DERIVED\\PRIMARY\\AXIAL ")])
}

fn rule(name: &str, called: &[&str], from: &[&str], when: &[(&str, &[&str])], to: &[&str]) -> Route {
    let condition = |(name, patterns): &(&str, &[&str])| Condition {
        attribute: by_name(name).unwrap(),
        any_of: patterns.iter().map(|p| Pattern::new(*p)).collect(),
    };
    let target = |name: &&str| Target { destination: Destination((*name).into()), verify: Verify::Present };
    Route {
        name: name.into(),
        called: called.iter().map(|t| title(t)).collect(),
        from: from.iter().map(|f| (*f).into()).collect(),
        when: when.iter().map(condition).collect(),
        to: to.iter().map(target).collect(),
        mandatory: false,
        priority: Priority::Routine,
    }
}

#[test]
fn each_condition_must_hold() {
    let node = Origin::Node(title("CT1"));
    let surrey = Origin::Peer("surrey".into());
    let operator = Origin::Operator("root".into());
    let (pulled, fetched) = (Origin::Pulled("surrey".into()), Origin::Archive(title("CT1")));
    let (ours, special) = (title("WEYBRIDGE"), title("TO_SURREY"));
    let plain = rule("r", &[], &[], &[], &["X"]);
    let called = rule("r", &["TO_SURREY"], &[], &[], &["X"]);
    let from_node = rule("r", &[], &["CT1", "PACS"], &[], &["X"]);
    let from_other = rule("r", &[], &["PACS"], &[], &["X"]);
    let from_peer = rule("r", &[], &["surrey"], &[], &["X"]);
    let called_from_peer = rule("r", &["TO_SURREY"], &["surrey"], &[], &["X"]);
    let modality = rule("r", &[], &[], &[("modality", &["MR", "C?"])], &["X"]);
    let modality_lower = rule("r", &[], &[], &[("modality", &["ct"])], &["X"]);
    let two = rule("r", &[], &[], &[("modality", &["CT"]), ("study_description", &["*HEAD*"])], &["X"]);
    let multiple = rule("r", &[], &[], &[("image_type", &["AXIAL"])], &["X"]);
    let absent = rule("r", &[], &[], &[("station_name", &["*"])], &["X"]);
    let wants_absent = rule("r", &[], &[], &[("station_name", &[""])], &["X"]);
    let back = rule("r", &[], &["surrey"], &[], &["surrey"]);
    let rows: &[(&str, &Route, &Origin, Option<&AeTitle>, bool)] = &[
        ("no condition, a node", &plain, &node, Some(&ours), true),
        ("no condition, a node that called another title of ours", &plain, &node, Some(&special), true),
        ("no condition, a peer", &plain, &surrey, None, false),
        ("no condition, an operator", &plain, &operator, None, false),
        ("pulled, whatever the route says", &from_peer, &pulled, None, false),
        ("fetched from an archive", &plain, &fetched, Some(&ours), false),
        ("fetched from an archive that the route names", &from_node, &fetched, Some(&ours), false),
        ("called", &called, &node, Some(&special), true),
        ("not called", &called, &node, Some(&ours), false),
        ("from", &from_node, &node, Some(&ours), true),
        ("from another node", &from_other, &node, Some(&ours), false),
        ("from a peer", &from_peer, &surrey, None, true),
        ("from a peer, but a node sends", &from_peer, &node, Some(&ours), false),
        ("a peer calls no title", &called_from_peer, &surrey, None, false),
        ("one of the patterns", &modality, &node, Some(&ours), true),
        ("case matters", &modality_lower, &node, Some(&ours), false),
        ("all conditions", &two, &node, Some(&ours), false),
        ("any of several values", &multiple, &node, Some(&ours), true),
        ("an absent attribute matches no wildcard", &absent, &node, Some(&ours), false),
        ("an absent attribute matches the empty pattern", &wants_absent, &node, Some(&ours), true),
        ("never back", &back, &surrey, None, false),
    ];
    for (name, rule, origin, called, want) in rows {
        let routes = std::slice::from_ref(*rule);
        assert_eq!(!route(routes, &ct(), origin, *called).is_empty(), *want, "{name}");
        let explained = explain(routes, &ct(), origin, *called);
        assert_eq!(!explained[0].to.is_empty(), *want, "explain agrees: {name}");
    }
}

#[test]
fn a_destination_is_chosen_once_by_the_first_route_and_mandatory_if_any_says_so() {
    let mut routes = vec![
        rule("first", &[], &[], &[], &["surrey", "PACS"]),
        rule("not matching", &[], &["MR1"], &[], &["kent"]),
        rule("second", &[], &[], &[], &["surrey", "kent"]),
    ];
    routes[2].mandatory = true;
    let chosen = route(&routes, &ct(), &Origin::Node(title("CT1")), Some(&title("WEYBRIDGE")));
    let got: Vec<_> = chosen.iter().map(|c| (c.destination.0.as_str(), c.route.as_str(), c.mandatory)).collect();
    assert_eq!(got, [("surrey", "first", true), ("PACS", "first", false), ("kent", "second", true)]);
    assert!(chosen.iter().all(|c| c.verify == Verify::Present));
}

#[test]
fn explanations_are_plain_and_hold_no_patient() {
    let routes = [
        rule("everything", &[], &[], &[], &["surrey", "CT1"]),
        rule("called", &["TO_KENT"], &[], &[], &["kent"]),
        rule("from", &[], &["MR1", "PACS"], &[], &["kent"]),
        rule("modality", &[], &[], &[("modality", &["MR", "US"])], &["kent"]),
        rule("name", &[], &[], &[("patient_name", &["SMITH*"])], &["kent"]),
        rule("text", &[], &[], &[("study_description", &["*HEAD*"])], &["kent"]),
        rule("station", &[], &[], &[("station_name", &["A"])], &["kent"]),
    ];
    let mut head = ct();
    head.attributes.values.insert(by_name("patient_name").unwrap().tag, b"SECRET^NAME".as_slice().into());
    let why: Vec<String> = explain(&routes, &head, &Origin::Node(title("CT1")), Some(&title("TO_SURREY")))
        .into_iter()
        .map(|explained| explained.why)
        .collect();
    let want = [
        "chosen: any node may send, and CT1 is one; but nothing goes back to CT1",
        "TO_SURREY was called, not TO_KENT",
        "it comes from CT1, not from MR1 or PACS",
        "modality is CT, not MR or US",
        "patient_name does not match SMITH*",
        "study_description does not match *HEAD*",
        "station_name is absent",
    ];
    assert_eq!(why, want);
    let peer = explain(&routes[..1], &head, &Origin::Peer("surrey".into()), None);
    assert_eq!(peer[0].why, "passing on what surrey pushed needs from = [\"surrey\"]");
}
