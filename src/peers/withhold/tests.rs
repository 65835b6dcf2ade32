//! The truth tables of `[[withhold]]`.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::dicom::attributes::by_name;
use crate::dicom::pattern::Pattern;

fn rule(from: &[&str], to: &[&str], when: &[(&str, &str)], patients: Option<&str>) -> Withhold {
    let condition = |(name, pattern): &(&str, &str)| Condition {
        attribute: by_name(name).unwrap(),
        any_of: vec![Pattern::new(*pattern)],
    };
    Withhold {
        name: "r".into(),
        from: from.iter().map(|name| (*name).into()).collect(),
        to: to.iter().map(|name| Destination((*name).into())).collect(),
        when: when.iter().map(condition).collect(),
        patients: patients.map(|list| Arc::new(PatientList::parse(list).unwrap())),
    }
}

fn texts(values: &[(&str, &str)]) -> BTreeMap<Tag, String> {
    values.iter().map(|(name, value)| (by_name(name).unwrap().tag, (*value).to_owned())).collect()
}

/// "Sharing limits": who is concerned, and which studies.
#[test]
fn a_rule_holds_only_if_all_that_it_says_does() {
    let facts = StudyFacts {
        texts: texts(&[("study_description", "STAFF HEALTH"), ("patient_id", "R7")]),
        origins: BTreeSet::from(["PACS".to_owned(), "kent".to_owned()]),
        ids: vec![LocalId::new("Royal", "R7").unwrap()],
        numbers: vec![NhsNumber::parse("4000000004").unwrap()],
    };
    let rows = [
        ("everything", rule(&[], &[], &[], None), true),
        ("an attribute", rule(&[], &[], &[("study_description", "*STAFF*")], None), true),
        ("another value", rule(&[], &[], &[("study_description", "*CHEST*")], None), false),
        ("both attributes", rule(&[], &[], &[("study_description", "*STAFF*"), ("patient_id", "X")], None), false),
        ("where it came from", rule(&["kent"], &[], &[], None), true),
        ("from elsewhere", rule(&["surrey"], &[], &[], None), false),
        ("a patient by NHS number", rule(&[], &[], &[], Some("# objected\n400 000 0004\n")), true),
        ("a patient by issuer and number", rule(&[], &[], &[], Some("Royal, R7 # jo")), true),
        ("the same number of another issuer", rule(&[], &[], &[], Some("Kent,R7")), false),
        ("an empty list", rule(&[], &[], &[], Some("\n# nobody\n")), false),
        ("a series is looked at later", rule(&[], &[], &[("modality", "SR")], None), true),
    ];
    for (name, rule, want) in rows {
        assert_eq!(rule.holds(&facts), want, "{name}");
    }
    let of_series = rule(&[], &[], &[("modality", "SR"), ("study_description", "*STAFF*")], None);
    assert!(of_series.is_of_series() && !rule(&[], &[], &[("patient_id", "R7")], None).is_of_series());
    let held = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    assert!(
        of_series.leaves(&held(&["CT", "MR"])) && !of_series.leaves(&held(&["CT", "SR"])) && !of_series.leaves(&[])
    );
    assert!(of_series.holds_for(&texts(&[("modality", "SR")])) && !of_series.holds_for(&texts(&[("modality", "CT")])));
}

#[test]
fn without_names_every_peer_is_meant_and_no_node() {
    let rows = [
        (rule(&[], &[], &[], None), "surrey", true, true),
        (rule(&[], &[], &[], None), "PACS", false, false),
        (rule(&[], &["surrey"], &[], None), "surrey", true, true),
        (rule(&[], &["surrey"], &[], None), "kent", true, false),
        (rule(&[], &["PACS"], &[], None), "PACS", false, true),
    ];
    for (rule, party, is_peer, want) in rows {
        assert_eq!(rule.concerns(party, is_peer), want, "{party} {:?}", rule.to);
    }
}

#[test]
fn lists_are_read_whole_or_not_at_all_and_say_nothing_of_a_patient() {
    let rows = [
        ("4000000005", 1),
        ("4000000004\nR7", 2),
        ("\n\nRoyal,", 3),
        (",R7", 1),
        ("4000000004\nNHS,4000000005", 2),
        ("NHS,R7", 1),
        ("# quoted\n\"Royal\",\"R7\"", 2),
        ("\"4000000004\"", 1),
    ];
    for (text, line) in rows {
        assert_eq!(PatientList::parse(text).unwrap_err().0, line, "{text}");
    }
    let list = PatientList::parse("4000000004\nRoyal,R7\n").unwrap();
    assert_eq!(format!("{list:?}"), "PatientList(2 patients)");
    let (line, why) = PatientList::parse("Royal,\"R7\"").unwrap_err();
    assert!(line == 1 && why.contains("leave quotes out"), "{why}");
}

/// SEC-022: a line with further columns meant a patient who does not exist, and the one who objected was shown.
#[test]
fn a_line_with_further_columns_is_a_mistake_and_not_nobody() {
    let rows = [
        ("4000000004\nRoyal,R7,objected", 2, "other columns"),
        ("R^J,Royal,R7", 1, "other columns"),
        ("NHS,4000000004,2024", 1, "other columns"),
        ("Royal,R7,", 1, "other columns"),
        ("4000000004,2024-05-01", 1, "where the issuer belongs"),
        ("400 000 0004 ,NHS", 1, "where the issuer belongs"),
    ];
    for (text, line, part) in rows {
        let (told, why) = PatientList::parse(text).unwrap_err();
        assert!(told == line && why.contains(part), "{text}: {told} {why}");
    }
    // What stands behind a `#` may have any number of commas.
    let plain = PatientList::parse("4000000004\nRoyal,R7").unwrap();
    assert!(PatientList::parse("4000000004 # J, 2024\nRoyal,R7 # a, b, c").unwrap() == plain);
}

/// A list as a spreadsheet writes it, and an NHS number with its issuer, mean the same patients as the plain form does.
#[test]
fn a_patient_is_meant_however_the_line_is_written() {
    let plain = PatientList::parse("4000000004\nRoyal,R7").unwrap();
    let rows = [
        "\u{feff}4000000004\r\nRoyal,R7\r\n",
        "\u{feff}Royal,R7\n4000000004\n",
        "NHS,4000000004\nRoyal, R7",
        "nhs, 400 000 0004 # the \"old\" one\nRoyal,R7",
        "2.16.840.1.113883.2.1.4.1,400-000-0004\nRoyal,R7",
    ];
    for text in rows {
        assert!(PatientList::parse(text).unwrap() == plain, "{text}");
    }
    for (text, want) in [("", true), ("\u{feff}\n# nobody\n\n", true), ("Royal,R7", false), ("4000000004", false)] {
        assert_eq!(PatientList::parse(text).unwrap().is_empty(), want, "{text}");
    }
}
