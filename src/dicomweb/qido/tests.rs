//! Tests of the query parser.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::dicom::attributes::{SOP_INSTANCE_UID, STUDY_DATE, STUDY_INSTANCE_UID};
use crate::dicom::vr::Vr;
use proptest::prelude::*;

fn parsed(query: &str) -> Query {
    parse(query, Limits::default()).unwrap_or_else(|error| panic!("{query}: {error}"))
}

#[test]
fn attributes_are_named_by_keyword_or_tag() {
    let rows: &[(&str, &[u32], Vr, &[&str])] = &[
        ("SOPInstanceUID=1.2.3", &[0x0008_0018], Vr::UI, &["1.2.3"]),
        ("00080018=1.2.3,1.2.4", &[0x0008_0018], Vr::UI, &["1.2.3", "1.2.4"]),
        ("SOPInstanceUID=1.2.3%2C1.2.4%5C1.2.5", &[0x0008_0018], Vr::UI, &["1.2.3", "1.2.4", "1.2.5"]),
        ("SOPInstanceUID=", &[0x0008_0018], Vr::UI, &[]),
        ("SOPInstanceUID=*", &[0x0008_0018], Vr::UI, &[]),
        ("SOPInstanceUID=%2A", &[0x0008_0018], Vr::UI, &[]),
        ("SOPInstanceUID", &[0x0008_0018], Vr::UI, &[]),
        ("StudyDate=20260101-20261231", &[0x0008_0020], Vr::DA, &["20260101-20261231"]),
        ("PatientName=D%C3%B6e%5e*", &[0x0010_0010], Vr::PN, &["Döe^*"]),
        ("00101002.00100020=11235813", &[0x0010_1002, 0x0010_0020], Vr::LO, &["11235813"]),
        ("RequestAttributesSequence.ScheduledProcedureStepID=a+b", &[0x0040_0275, 0x0040_0009], Vr::SH, &["a b"]),
        ("PatientName=van+der+Berg%2B*", &[0x0010_0010], Vr::PN, &["van der Berg+*"]),
        ("AcquisitionDateTime=20260101120000+0100", &[0x0008_002A], Vr::DT, &["20260101120000+0100"]),
        ("ModalitiesInStudy=CT,MR", &[0x0008_0061], Vr::CS, &["CT\\MR"]),
        ("Modality=CT%5CMR%2CPT", &[0x0008_0060], Vr::CS, &["CT\\MR\\PT"]),
        ("00291010=x", &[0x0029_1010], Vr::UN, &["x"]),
    ];
    for (text, path, vr, values) in rows {
        let query = parsed(text);
        assert_eq!(query.matches.len(), 1, "{text}");
        let matched = &query.matches[0];
        assert_eq!(matched.path, path.iter().map(|&tag| Tag(tag)).collect::<Vec<_>>(), "{text}");
        assert_eq!(
            (matched.vr, matched.values.iter().map(String::as_str).collect::<Vec<_>>()),
            (*vr, values.to_vec()),
            "{text}"
        );
    }
    let query = parsed("StudyInstanceUID=1.2&unheard=x&&includefield=alsoUnheard");
    assert!(query.matching(STUDY_INSTANCE_UID).is_some() && query.matching(SOP_INSTANCE_UID).is_none());
    assert_eq!(query.ignored, ["unheard", "alsoUnheard"]);
    assert_eq!(
        query.unsupported("u"),
        ["299 u: These parameters are not known, or not matched here, and have not been used: unheard, alsoUnheard."]
    );
    let strange = parsed("M%C3%BCller=1&a%22b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1").unsupported("u").remove(0);
    assert!(
        strange.is_ascii() && strange.contains(": M?ller, a??b, c, ") && strange.ends_with("h and others."),
        "{strange}"
    );
    assert_eq!(parsed("a%0Ab=1").ignored, ["a\\nb"]);
    assert_eq!(parsed(&"x".repeat(5000)).ignored, ["x".repeat(64)]);
}

/// WEB-091: a key that is not matched finds more than was meant, and is named as it was given; one that asks for nothing is not.
#[test]
fn keys_that_are_not_matched_are_named() {
    let mut query = parsed(
        "PatientID=1&PatientComments=x&00400275.00400009=7&SeriesDescription=*&Rows=&SOPClassUID=&unheard=1&unheard=2",
    );
    query.pass_over(|key| key.path == [Tag(0x0010_0020)]);
    assert_eq!(query.ignored, ["unheard", "PatientComments", "00400275.00400009"]);
    query.pass_over(|_| false);
    assert_eq!(query.ignored, ["unheard", "PatientComments", "00400275.00400009", "PatientID"]);
}

/// PS3.18 section 8.3.3.1: the media types that are accepted may stand in the query.
#[test]
fn accept_is_no_attribute() {
    let query = parsed("accept=application/json&PatientID=1&accept=*/*");
    assert!(query.ignored.is_empty() && query.matches.len() == 1, "{query:?}");
    // So may the character set, which is always the same (section 8.3.3.2).
    assert!(parsed("charset=utf-8&charset=UTF-8").ignored.is_empty());
    assert_eq!(parsed("charset=iso-8859-1").ignored, ["charset"]);
}

#[test]
fn paging_fields_and_switches() {
    let query = parsed(
        "limit=25&offset=50&fuzzymatching=true&emptyvaluematching=false&includefield=StudyDate,0020000D&includefield=00080018",
    );
    assert_eq!((query.limit, query.offset, query.fuzzy, query.empty_values), (Some(25), 50, true, false));
    assert_eq!(
        query.include,
        Include::Fields(vec![vec![STUDY_DATE], vec![STUDY_INSTANCE_UID], vec![SOP_INSTANCE_UID]])
    );
    // OHIF encodes the commas between them.
    for list in
        ["StudyDate%2C0020000D%2c00080018", "StudyDate,+0020000D,%20+00080018", "StudyDate%2C+0020000D,00080018+"]
    {
        assert_eq!(parsed(&format!("includefield={list}")).include, query.include, "{list}");
    }
    // All are all, also where others are named beside.
    for all in ["all", "all,StudyDate", "StudyDate&includefield=all", "all&includefield=StudyDate", "all,all"] {
        assert_eq!(parsed(&format!("includefield={all}")).include, Include::All, "{all}");
    }
    assert_eq!(parsed("").include, Include::Fields(vec![]));
    assert_eq!(
        query.unsupported("https://a/dicom-web"),
        [
            "299 https://a/dicom-web: The fuzzymatching parameter is not supported. Only literal matching has been performed."
        ]
    );
    assert_eq!(
        parsed("emptyvaluematching=true&multiplevaluematching=true").unsupported("s"),
        [
            "299 s: The emptyvaluematching parameter is not supported. Empty Value Matching has not been performed.",
            "299 s: The multiplevaluematching parameter is not supported. Multiple Value Matching has not been performed.",
        ]
    );
    assert_eq!(more_results("s", 7), "299 s: There are 7 additional results that can be requested");
}

#[test]
fn wrong_queries_are_refused_with_a_reason() {
    let limits = Limits { bytes: 200, parameters: 4, values: 3 };
    let long = "x".repeat(201);
    let rows = [
        (long.as_str(), "the query string is longer than 200 bytes"),
        ("a&b&c&d&e", "the query string has more than 4 parameters"),
        ("SOPInstanceUID=1,2,3,4", "SOPInstanceUID lists more than 3 values"),
        ("includefield=StudyDate,StudyTime,StudyID,Modality", "includefield lists more than 3 values"),
        ("PatientID=%zz", "the query string is not percent-encoded UTF-8"),
        ("PatientID=%2", "the query string is not percent-encoded UTF-8"),
        ("PatientID=%ff", "the query string is not percent-encoded UTF-8"),
        ("PatientID=%00", "the query string is not percent-encoded UTF-8"),
        ("PatientID=1&PatientID=2", "PatientID is given twice"),
        ("PatientID=1&00100020=2", "00100020 is given twice"),
        ("limit=1&limit=2", "limit is given twice"),
        ("limit=-1", "the value of limit is not a whole number that is not negative"),
        ("limit=+1", "the value of limit is not a whole number that is not negative"),
        ("offset=99999999999999999999", "the value of offset is not a whole number that is not negative"),
        ("fuzzymatching=yes", "the value of fuzzymatching is not true or false"),
        ("StudyInstanceUID=1.2.*", "the value of StudyInstanceUID is not a UID or a list of UIDs"),
        ("SOPInstanceUID=1.2,../etc", "the value of SOPInstanceUID is not a UID or a list of UIDs"),
    ];
    for (query, want) in rows {
        assert_eq!(parse(query, limits).map_err(|error| error.to_string()), Err(want.to_owned()), "{query}");
    }
}

proptest! {
    #[test]
    fn no_query_makes_the_parser_panic(query in "[ -~é&=%,.]{0,60}") {
        let _ = parse(&query, Limits::default());
    }
}
