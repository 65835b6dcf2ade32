//! The registry's truth tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::certs::{DevAuthority, Validity};
use crate::dicom::on_behalf::OnBehalf;
use std::net::IpAddr;

fn title(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

fn node(ae_title: &str, from: &[&str], identity: Option<&str>) -> Node {
    Node {
        ae_title: title(ae_title),
        name: None,
        address: None,
        from_addresses: from.iter().map(|n| n.parse().unwrap()).collect(),
        identity: identity.map(Into::into),
        user: None,
        may: May { store: true, ..May::default() },
        verify: Verify::Accepted,
        issuer: None,
        patient_ids: PatientIds::Local,
        purpose: None,
        charset: "ISO_IR 100".into(),
        move_to: Vec::new(),
        foreign: Foreign::Prefix,
        silent: Silent::Marker,
        mark_imported: false,
        general_class: false,
        origin_in_description: false,
        contributing_equipment: false,
        conflict_is_failure: false,
        volatile: Vec::new(),
        storage: StorageClasses::default(),
        max_associations: 1,
        max_parallel: 1,
        archive: None,
    }
}

/// "Moves": the second title of ours is there for the archive that moves to it, and for nobody else.
#[test]
fn an_archive_alone_may_call_the_title_that_it_moves_to() {
    let archive = Archive {
        retrieve_ae: title("RTV"),
        query_timeout: std::time::Duration::from_secs(1),
        fetch_timeout: std::time::Duration::from_secs(1),
    };
    let nodes = [node("CT1", &["10.0.0.0/8"], None), node("PACS", &["10.0.0.0/8"], None)];
    let [ct, pacs] = nodes;
    let registry = Registry::new([title("WB")], vec![ct, Node { archive: Some(archive), ..pacs }], Vec::new());
    let address: IpAddr = "10.1.1.1".parse().unwrap();
    for (calling, called, want) in [
        ("PACS", "RTV", true),
        ("PACS", "WB", true),
        ("CT1", "WB", true),
        ("CT1", "RTV", false),
        ("PACS", "OTHER", false),
    ] {
        let got = registry.node_for(&title(calling), &title(called), address, None);
        assert_eq!(
            got.map(|node| node.moves_to(&title(called))).ok(),
            want.then_some(called == "RTV"),
            "{calling} to {called}"
        );
    }
}

fn peer(name: &str, identity: &str) -> Peer {
    Peer {
        name: name.into(),
        url: format!("https://{identity}/dicom-web"),
        identity: identity.into(),
        may: May::default(),
        verify: Verify::Present,
        issuer: None,
        client: None,
        volatile: Vec::new(),
        max_parallel: 1,
        priors: true,
        query_timeout: None,
    }
}

/// Certificates as the TLS layer hands them over: leaf, DER.
fn leaf(names: &[&str]) -> Vec<u8> {
    let keys = DevAuthority::create().unwrap().site("x", names, Validity::days(1)).unwrap();
    let identity = Identity::from_pem(keys.certificate.as_bytes(), keys.key.as_bytes()).unwrap();
    identity.chain()[0].to_vec()
}

#[test]
fn a_caller_is_bound_to_certificate_address_and_titles() {
    let nodes = vec![
        node("PLAIN", &["10.1.0.0/16", "10.9.9.9/32"], None),
        node("SECURE", &[], Some("pacs.example")),
        node("BOTH", &["10.1.0.0/16"], Some("pacs.example")),
        node("NOWHERE", &[], None),
    ];
    let registry = Registry::new([title("WEYBRIDGE"), title("TO_SURREY")], nodes, Vec::new());
    let (own, other) = (leaf(&["pacs.example"]), leaf(&["other.example"]));
    type Row<'a> = (&'a str, &'a str, &'a str, Option<&'a [u8]>, Result<&'a str, Refused>);
    let rows: &[Row<'_>] = &[
        ("PLAIN", "WEYBRIDGE", "10.1.2.3", None, Ok("PLAIN")),
        ("PLAIN", "TO_SURREY", "10.9.9.9", None, Ok("PLAIN")),
        ("PLAIN", "WEYBRIDGE", "::ffff:10.1.2.3", None, Ok("PLAIN")),
        ("PLAIN", "WEYBRIDGE", "10.9.9.8", None, Err(Refused::WrongAddress)),
        ("PLAIN", "WEYBRIDGE", "::1", None, Err(Refused::WrongAddress)),
        ("PLAIN", "OTHER", "10.1.2.3", None, Err(Refused::UnknownCalled)),
        ("PLAIN", "weybridge", "10.1.2.3", None, Err(Refused::UnknownCalled)),
        ("PLAIN", "PLAIN", "10.1.2.3", None, Err(Refused::UnknownCalled)),
        ("plain", "WEYBRIDGE", "10.1.2.3", None, Err(Refused::UnknownCalling)),
        ("PLAIN", "WEYBRIDGE", "10.1.2.3", Some(&own), Err(Refused::NoIdentity)),
        ("SECURE", "WEYBRIDGE", "192.0.2.1", Some(&own), Ok("SECURE")),
        ("SECURE", "WEYBRIDGE", "192.0.2.1", Some(&other), Err(Refused::WrongCertificate("other.example".into()))),
        ("SECURE", "WEYBRIDGE", "192.0.2.1", Some(b"rubbish"), Err(Refused::BadCertificate)),
        ("SECURE", "WEYBRIDGE", "192.0.2.1", None, Err(Refused::PlainCall)),
        ("BOTH", "WEYBRIDGE", "10.1.2.3", Some(&own), Ok("BOTH")),
        ("BOTH", "WEYBRIDGE", "192.0.2.1", Some(&own), Err(Refused::WrongAddress)),
        ("BOTH", "WEYBRIDGE", "10.1.2.3", None, Err(Refused::PlainCall)),
        ("NOWHERE", "WEYBRIDGE", "10.1.2.3", None, Err(Refused::WrongAddress)),
    ];
    for (calling, called, address, certificate, want) in rows {
        let address: IpAddr = address.parse().unwrap();
        let got = registry.node_for(&title(calling), &title(called), address, *certificate);
        let got = got.map(|node| node.ae_title.as_str());
        assert_eq!(got, want.as_ref().copied().map_err(Clone::clone), "{calling} {called} {address}");
    }
}

#[test]
fn a_peer_is_who_its_certificate_says() {
    let peers = vec![peer("surrey", "gateway.surrey.example"), peer("kent", "192.0.2.7")];
    let registry = Registry::new([], Vec::new(), peers);
    let rows: &[(Vec<u8>, Result<&str, Refused>)] = &[
        (leaf(&["gateway.surrey.example"]), Ok("surrey")),
        (leaf(&["www.surrey.example", "GATEWAY.surrey.example"]), Ok("surrey")),
        (leaf(&["192.0.2.7"]), Ok("kent")),
        (leaf(&["*.surrey.example"]), Err(Refused::UnknownPeer("*.surrey.example".into()))),
        (leaf(&[]), Err(Refused::UnknownPeer("no name at all (subject alternative names count, nothing else)".into()))),
        (leaf(&["gateway.surrey.example", "192.0.2.7"]), Err(Refused::SeveralPeers)),
        (b"rubbish".to_vec(), Err(Refused::BadCertificate)),
    ];
    for (row, (certificate, want)) in rows.iter().enumerate() {
        let got = registry.peer_for(certificate).map(|peer| peer.name.as_str());
        assert_eq!(got, want.as_ref().copied().map_err(Clone::clone), "row {row}");
    }
}

#[test]
fn a_destination_is_found_by_name() {
    let registry = Registry::new([], vec![node("PACS", &[], None)], vec![peer("surrey", "s.example")]);
    assert!(matches!(registry.destination(&Destination("PACS".into())), Some(Party::Node(_))));
    assert!(matches!(registry.destination(&Destination("surrey".into())), Some(Party::Peer(_))));
    for unknown in ["pacs", "SURREY", "", "a name far too long for an AE title"] {
        assert!(registry.destination(&Destination(unknown.into())).is_none(), "{unknown}");
    }
}

/// IDY-040: by its entry, else the site's own for a node and an operator, and a peer's name for a peer.
#[test]
fn a_number_without_an_issuer_has_that_of_its_senders_entry() {
    let issued = |issuer: &str, node: Node| Node { issuer: Some(issuer.into()), ..node };
    let nhs = Node { patient_ids: PatientIds::Nhs, ..node("SPINE", &[], None) };
    let nodes = vec![node("PACS", &[], None), issued("LAB", node("LIS", &[], None)), nhs];
    let peers = vec![peer("surrey", "s.example"), Peer { issuer: Some("RTX".into()), ..peer("kent", "k.example") }];
    let registry = Registry::new([], nodes, peers).issued_by("ZZ001");
    let rows = [
        (Origin::Node(title("PACS")), "ZZ001"),
        (Origin::Node(title("LIS")), "LAB"),
        (Origin::Node(title("SPINE")), "NHS"),
        (Origin::Node(title("GONE")), "ZZ001"),
        (Origin::Peer("surrey".into()), "surrey"),
        (Origin::Peer("kent".into()), "RTX"),
        (Origin::Peer("gone".into()), "gone"),
        (Origin::Operator("by hand".into()), "ZZ001"),
    ];
    for (origin, want) in rows {
        assert_eq!(registry.issuer(&origin), want, "{origin:?}");
    }
}

/// SEC-023: who asks for whom and why: the node's own purpose, else the site's; a person may say another.
#[test]
fn another_site_is_told_for_whom_and_why() {
    let screening = Node { purpose: Some("screening".into()), ..node("MAMMO", &[], None) };
    let registry = Registry::new([], vec![node("CT1", &[], None), screening], vec![]).asking_as("Royal", "direct-care");
    let told = |behalf: OnBehalf| [behalf.site, behalf.caller, behalf.purpose].join(", ");
    let of = |name: &str| told(registry.behalf_of_node(&title(name)));
    assert_eq!(of("CT1"), "Royal, node CT1, direct-care");
    assert_eq!(of("MAMMO"), "Royal, node MAMMO, screening");
    assert_eq!(told(registry.behalf_of_user("jo", None)), "Royal, user jo, direct-care");
    assert_eq!(told(registry.behalf_of_user("jo", Some("audit"))), "Royal, user jo, audit");
}

/// SEC-022: an answer to somebody who is taken out meanwhile shows no more than before.
#[test]
fn who_is_in_the_configuration_no_more_is_withheld_what_other_sites_are() {
    let rule = |name: &str, to: &[&str]| Withhold {
        name: name.into(),
        from: Vec::new(),
        to: to.iter().map(|name| Destination((*name).into())).collect(),
        when: Vec::new(),
        patients: None,
    };
    let rules = vec![rule("all peers", &[]), rule("one", &["gone"])];
    let registry = Registry::new([title("WB")], vec![node("PACS", &["127.0.0.0/8"], None)], vec![peer("kent", "kent")])
        .withholding(rules);
    for (party, another_site, names) in
        [("PACS", false, vec![]), ("kent", true, vec!["all peers"]), ("gone", true, vec!["all peers", "one"])]
    {
        assert_eq!(registry.is_another_site(party), another_site, "{party}");
        let withheld = registry.withheld_from(party);
        assert_eq!(withheld.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), names, "{party}");
    }
}
