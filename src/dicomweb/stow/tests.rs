//! Tests of the Store Instances Response Module.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::dicom::fired::note_fired;

fn uid(text: &str) -> InstanceUid {
    InstanceUid::parse(text).unwrap()
}

fn full() -> StoreResponse {
    let ct = SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").ok();
    StoreResponse {
        retrieve_url: Some("https://b/studies/1".into()),
        referenced: vec![
            Referenced {
                sop_class: ct.clone(),
                sop_instance: uid("1.2.3"),
                retrieve_url: Some("https://b/studies/1/series/2/instances/3".into()),
                warning_reason: None,
            },
            Referenced {
                sop_class: None,
                sop_instance: uid("1.2.4"),
                retrieve_url: None,
                warning_reason: Some(reason::COERCED),
            },
        ],
        failed: vec![Failed { sop_class: ct, sop_instance: uid("1.2.5"), failure_reason: reason::DIFFERENT_CONTENT }],
        other_failures: vec![reason::CANNOT_UNDERSTAND],
    }
}

#[test]
fn the_module_is_written_and_read_back() {
    let json = full().to_json();
    assert_eq!(StoreResponse::from_json(&json), Ok(full()));
    assert_eq!(
        String::from_utf8(json).unwrap(),
        concat!(
            r#"{"00081190":{"vr":"UR","Value":["https://b/studies/1"]},"#,
            r#""00081198":{"vr":"SQ","Value":[{"00081150":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00081155":{"vr":"UI","Value":["1.2.5"]},"00081197":{"vr":"US","Value":[49168]}}]},"#,
            r#""00081199":{"vr":"SQ","Value":[{"00081150":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00081155":{"vr":"UI","Value":["1.2.3"]},"00081190":{"vr":"UR","Value":["https://b/studies/1/series/2/instances/3"]}},{"00081155":{"vr":"UI","Value":["1.2.4"]},"00081196":{"vr":"US","Value":[45056]}}]},"#,
            r#""0008119A":{"vr":"SQ","Value":[{"00081197":{"vr":"US","Value":[49152]}}]}}"#,
        )
    );
    assert_eq!(StoreResponse::default().to_json(), b"{}");
}

#[test]
fn the_xml_form_says_the_same() {
    let xml = r#"<NativeDicomModel><DicomAttribute tag="00081198" vr="SQ" keyword="FailedSOPSequence"><Item number="1">
        <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.5</Value></DicomAttribute>
        <DicomAttribute tag="00081197" vr="US"><Value number="1">43264</Value></DicomAttribute></Item></DicomAttribute>
        <DicomAttribute tag="00081199" vr="SQ"><Item number="1">
        <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.3</Value></DicomAttribute></Item></DicomAttribute></NativeDicomModel>"#;
    let module = StoreResponse::from_xml(xml.as_bytes()).unwrap();
    assert_eq!(module.failed, [Failed { sop_class: None, sop_instance: uid("1.2.5"), failure_reason: 0xA900 }]);
    assert_eq!(module.referenced.iter().map(|r| r.sop_instance.as_str()).collect::<Vec<_>>(), ["1.2.3"]);
}

#[test]
fn odd_items_never_become_successes() {
    let module = StoreResponse::from_json(
        br#"[{"00081199":{"vr":"SQ","Value":[{},{"00081155":{"vr":"UI","Value":["../x"]}},{"00081155":{"vr":"UI"}},null]},
             "00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.5"]}},{"00081197":{"vr":"US","Value":[70000]}}]}},
            {"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3 "]},"00081196":{"vr":"US","Value":["45056"]}}]}}]"#,
    )
    .unwrap();
    assert_eq!(module.referenced.len(), 1);
    assert_eq!(
        (module.referenced[0].sop_instance.as_str(), module.referenced[0].warning_reason),
        ("1.2.3", Some(45056))
    );
    assert_eq!(module.failed[0].failure_reason, reason::PROCESSING_FAILURE);
    assert_eq!(module.other_failures, [reason::PROCESSING_FAILURE]);
}

#[test]
fn a_body_is_read_by_its_content_type() {
    let json: &[u8] = br#"{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3"]}}]}}"#;
    let xml: &[u8] = b"<NativeDicomModel/>";
    type Row<'a> = (Option<&'a str>, &'a [u8], Result<Option<usize>, &'a str>);
    let rows: &[Row<'_>] = &[
        (Some("application/dicom+json"), json, Ok(Some(1))),
        (Some("application/json; charset=utf-8"), json, Ok(Some(1))),
        (None, json, Ok(Some(1))),
        (Some("application/dicom+xml"), xml, Ok(Some(0))),
        (Some("text/xml"), xml, Ok(Some(0))),
        (None, xml, Ok(Some(0))),
        (Some("application/dicom+json"), b"", Ok(None)),
        (None, b" \r\n", Ok(None)),
        (Some("text/html"), json, Err("text/html")),
        (Some("nonsense"), json, Err("media type")),
        (Some("application/dicom+json"), &json[..40], Err("ends too early")),
        (Some("application/dicom+json"), b"<html>", Err("not DICOM JSON")),
        (Some("application/dicom+xml"), b"<html/>", Err("Native DICOM Model")),
    ];
    for (content_type, body, want) in rows {
        let got = StoreResponse::from_body(*content_type, body);
        match (got, want) {
            (Ok(module), Ok(count)) => assert_eq!(module.map(|m| m.referenced.len()), *count, "{content_type:?}"),
            (Err(error), Err(part)) => {
                assert!(error.contains(part), "{error}");
                note_fired(1);
            }
            (got, want) => panic!("{content_type:?}: {got:?}, wanted {want:?}"),
        }
    }
}
