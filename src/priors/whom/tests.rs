//! Truth tables of who is asked for whom, and whose answer counts.

use super::*;
use crate::dicom::ae_title::AeTitle;
use crate::peers::{May, Silent, StorageClasses, Verify};

const NHS: &str = "9434765919";

fn node(patient_ids: PatientIds, foreign: Foreign) -> Node {
    Node {
        ae_title: AeTitle::parse("PACS").unwrap(),
        name: None,
        address: None,
        from_addresses: Vec::new(),
        identity: None,
        user: None,
        may: May::default(),
        verify: Verify::Accepted,
        issuer: None,
        purpose: None,
        patient_ids,
        charset: "ISO_IR 100".into(),
        move_to: Vec::new(),
        foreign,
        silent: Silent::Marker,
        mark_imported: false,
        origin_in_description: false,
        contributing_equipment: false,
        general_class: false,
        archive: None,
        conflict_is_failure: false,
        volatile: Vec::new(),
        storage: StorageClasses::default(),
        max_associations: 1,
        max_parallel: 1,
    }
}

fn said(id: &str, issuer: &str) -> Said {
    Said { id: id.into(), issuer: issuer.into(), ..Said::default() }
}

/// IDY-040, IDY-042: a number is an NHS number by its issuer or its node, never by its looks.
#[test]
fn a_number_is_an_nhs_number_only_where_somebody_says_so() {
    let (local, nhs) = (PatientIds::Local, PatientIds::Nhs);
    type Row<'a> = (PatientIds, Foreign, &'a str, Option<&'a str>, Option<(&'a str, &'a str, bool)>);
    let rows: &[Row<'_>] = &[
        (local, Foreign::Prefix, NHS, None, Some((NHS, "OWN", false))),
        (nhs, Foreign::Prefix, NHS, None, Some((NHS, "OWN", true))),
        (nhs, Foreign::Prefix, "943 476 5919", None, Some(("943 476 5919", "OWN", true))),
        (nhs, Foreign::Prefix, "9434765918", None, Some(("9434765918", "OWN", false))),
        (nhs, Foreign::Prefix, NHS, Some("RXX"), Some((NHS, "RXX", false))),
        (local, Foreign::Prefix, NHS, Some("NHS"), Some((NHS, "NHS", true))),
        (local, Foreign::Prefix, NHS, Some(" "), Some((NHS, "OWN", false))),
        (local, Foreign::Prefix, "RXX:4711", None, Some(("4711", "RXX", false))),
        (local, Foreign::Prefix, "NHS:9434765919", None, Some((NHS, "NHS", true))),
        (local, Foreign::AsIs, "RXX:4711", None, Some(("RXX:4711", "OWN", false))),
        (local, Foreign::Prefix, "", None, None),
        (local, Foreign::Prefix, "47*", None, None),
        (local, Foreign::Prefix, "47?1", None, None),
        (local, Foreign::Prefix, "1\\2", None, None),
        (local, Foreign::Prefix, ":4711", None, None),
    ];
    for (ids, foreign, id, issuer, want) in rows {
        let got = named(&node(*ids, *foreign), "OWN", id, *issuer);
        let got = got.as_ref().map(|patient| (patient.id.as_str(), patient.issuer.as_str(), patient.nhs.is_some()));
        assert_eq!(got, *want, "{ids:?} {foreign:?} {id:?} {issuer:?}");
    }
}

/// "Whom to ask for priors": by NHS number everybody, by a number its issuer, else nobody.
#[test]
fn who_did_not_issue_a_number_is_not_asked_for_it() {
    let nhs = patient(NHS, "OWN", true).unwrap();
    let local = patient("4711", "OWN", false).unwrap();
    let theirs = patient("4711", "ZZ002", false).unwrap();
    let number = NhsNumber::parse(NHS).unwrap();
    let rows = [
        (&nhs, "b", Some("ZZ002"), true, Ok(vec![NHS.to_owned()])),
        (&nhs, "b", None, false, Ok(number.forms().to_vec())),
        (&local, "b", Some("ZZ002"), true, Err(NotAsked::NoNumber)),
        (&local, "b", None, true, Err(NotAsked::NoNumber)),
        (&theirs, "b", Some("ZZ002"), true, Ok(vec!["4711".to_owned()])),
        (&theirs, "c", Some("ZZ003"), true, Err(NotAsked::NoNumber)),
        (&theirs, "ZZ002", None, true, Ok(vec!["4711".to_owned()])),
    ];
    for (asked, site, issuer, ours, want) in rows {
        assert_eq!(asked.ask(site, issuer, ours), want, "{site} {issuer:?}");
    }
    let linked = local.linked(number, "19600229");
    assert_eq!(linked.ask("b", Some("ZZ002"), true), Ok(vec![NHS.to_owned()]));
}

/// IDY-046: two patients with one number at two sites are never taken for one.
#[test]
fn an_answer_means_the_patient_only_by_number_and_issuer() {
    let nhs = patient(NHS, "OWN", true).unwrap();
    let theirs = patient("4711", "ZZ002", false).unwrap();
    let rows = [
        (&nhs, said(NHS, "NHS"), None, Meant::Yes),
        (&nhs, said("943 476 5919", "2.16.840.1.113883.2.1.4.1"), None, Meant::Yes),
        (&nhs, said(NHS, ""), Some("NHS"), Meant::Yes),
        // The site's own numbers, one of which looks like an NHS number.
        (&nhs, said(NHS, ""), Some("ZZ002"), Meant::Namesake),
        (&nhs, said(NHS, "ZZ002"), Some("NHS"), Meant::Namesake),
        (&nhs, said(NHS, ""), None, Meant::Untold),
        (&nhs, said("6000000006", "NHS"), None, Meant::No),
        (&nhs, said("", "NHS"), Some("NHS"), Meant::No),
        (&nhs, Said { others: vec![(NHS.into(), "NHS".into())], ..said("77", "ZZ002") }, None, Meant::Yes),
        (&nhs, Said { others: vec![(NHS.into(), "ZZ009".into())], ..said("77", "ZZ002") }, None, Meant::Namesake),
        (&theirs, said("4711", "ZZ002"), None, Meant::Yes),
        (&theirs, said("4711", ""), Some("ZZ002"), Meant::Yes),
        (&theirs, said("4711", "ZZ003"), Some("ZZ002"), Meant::Namesake),
        (&theirs, said("4711", ""), None, Meant::Namesake),
        (&theirs, said("4712", "ZZ002"), None, Meant::No),
    ];
    for (asked, answer, issuer, want) in rows {
        assert_eq!(asked.is_meant(&answer, "b", issuer), want, "{:?} {:?} {issuer:?}", answer.id, answer.issuer);
    }
    let word = Said { word: "NHS".into(), ..said(NHS, "") };
    assert_eq!(
        nhs.is_meant(&word, "b", Some("ZZ002")),
        Meant::Yes,
        "the site knows better than what is configured here"
    );
    let by_name = patient("4711", "b", false).unwrap();
    assert_eq!(by_name.is_meant(&Said { word: "ZZ009".into(), ..said("4711", "") }, "b", None), Meant::Yes);
    assert_eq!(by_name.is_meant(&said("4711", ""), "b", None), Meant::Yes);
    // The birth date that is known with the number must not contradict.
    let linked = |date: &str| patient("1", "OWN", false).unwrap().linked(NhsNumber::parse(NHS).unwrap(), date);
    let rows = [
        ("19600229", "19600229", Meant::Yes),
        ("19600229", "", Meant::Yes),
        ("19600229", " ", Meant::Yes),
        ("19600229", "19600228", Meant::No),
        // As before the third edition of the standard, at either side (PS3.5 section 6.2).
        ("19600229", "1960.02.29", Meant::Yes),
        ("1960.02.29", "19600229", Meant::Yes),
        ("1960.02.29", "1960.02.28", Meant::No),
        ("19600229", "unknown", Meant::No),
    ];
    for (known, birth_date, want) in rows {
        let answer = Said { birth_date: birth_date.into(), ..said(NHS, "NHS") };
        assert_eq!(linked(known).is_meant(&answer, "b", None), want, "{known} {birth_date}");
    }
    let linked = linked("19600229");
    assert!(!format!("{linked:?} {:?}", said(NHS, "")).contains("943"));
}

/// IDY-040: what is held of another site is another's if that is said; of an NHS number of which nothing is said, and of what came from our own
/// nodes, it is not known.
#[test]
fn a_copy_is_anothers_only_if_that_is_said() {
    let registry = Registry::new([], Vec::new(), Vec::new());
    let (nhs, local) = (patient(NHS, "OWN", true).unwrap(), patient("4711", "OWN", false).unwrap());
    let (peer, node) = (Origin::Pulled("b".into()), Origin::Node(AeTitle::parse("PACS").unwrap()));
    let rows = [
        (&nhs, &peer, NHS, "NHS", false),
        (&nhs, &peer, NHS, "", false),
        (&nhs, &peer, NHS, "ZZ002", true),
        (&nhs, &peer, "6000000006", "", true),
        (&local, &peer, "4711", "OWN", false),
        (&local, &peer, "4711", "", true),
        (&local, &peer, "4711", "ZZ002", true),
        (&local, &node, "4711", "ZZ002", false),
    ];
    for (asked, origin, id, issuer, want) in rows {
        let held = BTreeMap::from([(PATIENT_ID, id.to_owned()), (ISSUER_OF_PATIENT_ID, issuer.to_owned())]);
        assert_eq!(asked.is_anothers(&registry, origin, &held), want, "{origin:?} {id} {issuer}");
    }
}

/// IDY-040: a copy means whom its site's row means only if it says so itself.
#[test]
fn a_copy_is_of_the_patient_whose_number_it_bears() {
    let held = |id: &str, issuer: &str| {
        let values = [(PATIENT_ID, id), (ISSUER_OF_PATIENT_ID, issuer)];
        values.into_iter().map(|(tag, text)| (tag, text.to_owned())).collect::<BTreeMap<_, _>>()
    };
    let rows = [
        (("4711", ""), ("4711", ""), true),
        (("4711 ", ""), ("4711", "RAA"), true),
        (("9434765919", ""), ("943 476 5919", "NHS"), true),
        (("4711", "RAA"), ("4711", "RBB"), false),
        (("9434765919", "NHS"), ("9434765919", "2.16.840.1.113883.2.1.4.1"), true),
        (("4712", ""), ("4711", ""), false),
        (("", ""), ("4711", ""), false),
        (("", ""), ("", ""), false),
        (("4711", ""), ("", ""), false),
    ];
    for (copy, site, want) in rows {
        let [copy_of, row_of] = [copy, site].map(|(id, issuer)| held(id, issuer));
        assert_eq!(is_filed_alike(&copy_of, &row_of), want, "{copy:?} {site:?}");
        // Only a number of the same site, against another one, says that it was filed otherwise.
        let refiled = |from: Option<&str>| is_refiled((&copy_of, from), (&row_of, "b"));
        let said = !copy.0.is_empty() && !site.0.is_empty();
        assert_eq!([Some("b"), Some("c"), None].map(refiled), [said && !want, false, false], "{copy:?} {site:?}");
    }
}

/// IDY-040: who issued a number is what the site says, where its entry here names another; else what the object says.
#[test]
fn a_row_is_filed_under_a_number_and_its_issuer() {
    let said = |issuer: &str, word: &str| Said {
        id: "4711".into(),
        issuer: issuer.into(),
        word: word.into(),
        ..Said::default()
    };
    let rows = [
        (said("", ""), Some("RAA"), ""),
        (said("", "RAA"), Some("RAA"), ""),
        (said("", "RBB"), Some("RAA"), "RBB"),
        (said("RBB", ""), Some("RAA"), "RBB"),
        (said("RAA", "RBB"), Some("RAA"), "RAA"),
        (said("RBB", ""), None, "RBB"),
        (said("", "RBB"), None, ""),
    ];
    for (said, entry, want) in rows {
        let filed = filed(&said, entry);
        assert_eq!(
            (filed[&PATIENT_ID].as_str(), filed[&ISSUER_OF_PATIENT_ID].as_str()),
            ("4711", want),
            "{entry:?} {}",
            said.word
        );
    }
}
