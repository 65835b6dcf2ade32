//! The policy as tables; together with the rewriter, on whole data sets.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::dicom::attributes::{OTHER_PATIENT_IDS, REFERENCED_REQUESTS, REQUEST_ATTRIBUTES, SPECIFIC_CHARACTER_SET};
use crate::dicom::charset::Charset;
use crate::dicom::rewrite::{PreviousId, Rewriter, Survey};
use crate::dicom::sample::{EXPLICIT, encode, instance, value};
use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
use crate::dicom::uid::TransferSyntaxUid;
use crate::dicom::vr::Vr;
use std::time::{Duration, UNIX_EPOCH};

const SURREY: Source<'static> = Source { name: "surrey", issuer: Some("ZZ002") };
const NAMED: Source<'static> = Source { name: "surrey", issuer: None };

fn stamp() -> Stamp<'static> {
    Stamp { site: "Hampshire", received: UNIX_EPOCH + Duration::from_secs(1_709_210_096) }
}

/// A patient of whom nothing is known here.
const ASKED: Reason = Reason::Asked(Judgement::NoNumber);

fn case(found: &Found) -> Case<'_> {
    Case { found, judged: Judgement::NoNumber, released: &[] }
}

/// A policy without anything that is off by default.
fn of(mode: Foreign) -> Policy {
    Policy { mode, ..Policy::default() }
}

fn found(charset: &str, values: &[(Tag, &[u8])]) -> Found {
    let mut attributes = Attributes { charset: Charset::declared(charset.as_bytes()), ..Attributes::default() };
    attributes.values.extend(values.iter().map(|(tag, value)| (*tag, Box::from(*value))));
    attributes.values.insert(SPECIFIC_CHARACTER_SET, charset.as_bytes().into());
    Found { attributes, ..Found::default() }
}

/// Patient ID and Issuer of Patient ID, the latter absent if none.
fn patient<'a>(id: &'a [u8], issuer: Option<&'a [u8]>) -> Vec<(Tag, &'a [u8])> {
    [(PATIENT_ID, id)].into_iter().chain(issuer.map(|issuer| (ISSUER_OF_PATIENT_ID, issuer))).collect()
}

/// Source, Patient ID, its issuer in the object, and the new value of what the mode changes.
type Row<'a> = (Source<'a>, &'a [u8], Option<&'a [u8]>, Result<Option<&'a [u8]>, Reason>);
/// Character set, Patient ID, its issuer in the object, and the new Patient ID.
type Text<'a> = (&'a str, &'a [u8], &'a [u8], Result<&'a [u8], Reason>);

/// The new value of an attribute, if it changes, or why nothing goes.
fn changed(decision: &Decision, tag: Tag) -> Result<Option<Vec<u8>>, Reason> {
    match decision {
        Decision::AsIs => Ok(None),
        Decision::Hold(reason) => Err(*reason),
        Decision::Edit { edits, .. } => Ok(edits.values.get(&tag).map(|value| value.to_vec())),
    }
}

#[test]
fn a_number_gets_its_issuer_before_it() {
    let long = [b'7'; 61];
    let rows: &[Row<'_>] = &[
        (SURREY, b"4711", None, Ok(Some(b"ZZ002:4711"))),
        (NAMED, b"4711", None, Ok(Some(b"surrey:4711"))),
        (SURREY, b"4711", Some(b"RTX "), Ok(Some(b"RTX:4711"))),
        (SURREY, b" 4711\0", Some(b" "), Ok(Some(b"ZZ002:4711"))),
        // A number that looks prefixed is not, unless our record says so.
        (SURREY, b"ZZ002:4711", None, Ok(Some(b"ZZ002:ZZ002:4711"))),
        (SURREY, b"A:4711", None, Ok(Some(b"ZZ002:A:4711"))),
        (SURREY, b"M\xFCller", Some(b"Z\xFCrich"), Ok(Some(b"Z\xFCrich:M\xFCller"))),
        // No number stays none.
        (SURREY, b"", None, Ok(None)),
        (SURREY, b"  ", Some(b"RTX"), Ok(None)),
        (SURREY, &long[..58], None, Ok(Some(&[b"ZZ002:", &long[..58]].concat()))),
        (SURREY, &long[..59], None, Err(Reason::TooLong { characters: 65 })),
        (SURREY, b"1\\2", None, Err(Reason::UnusableId)),
        (SURREY, b"1\n2", None, Err(Reason::UnusableId)),
        (SURREY, b"4711", Some(b"A:B"), Err(Reason::UnusableIssuer)),
        (SURREY, b"4711", Some(b"A\\B"), Err(Reason::UnusableIssuer)),
        (Source { name: "surrey", issuer: Some("Z\u{fc}rich") }, b"4711", None, Err(Reason::UnusableIssuer)),
        (Source { name: "surrey", issuer: Some(" ") }, b"4711", None, Ok(Some(b"surrey:4711"))),
    ];
    for (source, id, issuer, want) in rows {
        let found = found("ISO_IR 100", &patient(id, *issuer));
        let decision = decide(of(Foreign::Prefix), *source, stamp(), case(&found));
        assert_eq!(changed(&decision, PATIENT_ID), want.map(|value| value.map(<[u8]>::to_vec)), "{id:?} {issuer:?}");
    }
}

#[test]
fn text_of_any_character_set_is_joined_or_held_but_never_garbled() {
    let name = "\u{c5}".repeat(59);
    let rows: &[Text<'_>] = &[
        ("ISO_IR 192", "\u{e9}1".as_bytes(), b"\xC3\xA9A", Ok("\u{e9}A:\u{e9}1".as_bytes())),
        // Characters count, not bytes.
        ("ISO_IR 192", name.as_bytes(), b"ABCD", Ok(&[b"ABCD:", name.as_bytes()].concat())),
        ("ISO_IR 192", name.as_bytes(), b"ABCDE", Err(Reason::TooLong { characters: 65 })),
        ("ISO_IR 192", b"1", b"\xC3", Err(Reason::UnusableIssuer)),
        ("ISO_IR 192", b"\xA9", b"A", Err(Reason::UnusableId)),
        ("GB18030", b"\xB0\xA1", b"\xB0\xA2", Ok(b"\xB0\xA2:\xB0\xA1")),
        ("GB18030", b"1", b"\x81", Err(Reason::UnusableIssuer)),
        ("\\ISO 2022 IR 87", b"1", b"A", Ok(b"A:1")),
        // An issuer that does not go back to ASCII would swallow the number.
        ("\\ISO 2022 IR 87", b"4711", b"\x1b$B;3ED", Err(Reason::UnusableIssuer)),
        ("\\ISO 2022 IR 87", b"1", b"\x1b$B;3ED\x1b(B", Ok(b"\x1b$B;3ED\x1b(B:1")),
    ];
    for (charset, id, issuer, want) in rows {
        let found = found(charset, &patient(id, Some(issuer)));
        let decision = decide(of(Foreign::Prefix), NAMED, stamp(), case(&found));
        let want = want.map(|value| Some(value.to_vec()));
        assert_eq!(changed(&decision, PATIENT_ID), want, "{charset} {id:?} {issuer:?}");
    }
}

#[test]
fn accession_numbers_are_emptied_but_not_made() {
    for (number, want) in [(Some(&b"A1"[..]), Some(vec![])), (Some(b"  "), None), (None, None)] {
        for id in [&b"4711"[..], b""] {
            let mut values = patient(id, None);
            values.extend(number.map(|number| (ACCESSION_NUMBER, number)));
            let decision = decide(of(Foreign::Prefix), SURREY, stamp(), case(&found("", &values)));
            assert_eq!(changed(&decision, ACCESSION_NUMBER), Ok(want.clone()));
            let beside = match &decision {
                Decision::Edit { edits, .. } => edits.beside.clone(),
                _ => BTreeSet::new(),
            };
            assert_eq!(beside.contains(&ISSUER_OF_PATIENT_ID), !id.is_empty(), "recorded where the number changes");
            assert_eq!(decision == Decision::AsIs, id.is_empty() && want.is_none());
        }
    }
}

/// IDY-040, IDY-046: whatever else carries a number by which the node may know somebody of its own goes with the prefix, and stays where
/// the node asks for it; what is not there is not made. Issuers stay.
#[test]
fn no_other_number_of_the_other_site_stays_beside_a_prefix() {
    let numbers = [OTHER_PATIENT_NUMBERS, MEDICAL_RECORD_LOCATOR, ADMISSION_ID, SERVICE_EPISODE_ID];
    for id in [&b"4711"[..], b""] {
        for number in numbers {
            let mut values = patient(id, Some(b"RTX"));
            values.push((number, b"0815\\9"));
            let held = found("", &values);
            let prefix = decide(of(Foreign::Prefix), SURREY, stamp(), case(&held));
            assert_eq!(changed(&prefix, number), Ok(Some(Vec::new())), "{number}");
            assert_eq!(changed(&prefix, ISSUER_OF_PATIENT_ID), Ok(None));
            let absent = numbers.into_iter().filter(|other| *other != number);
            absent.for_each(|other| assert_eq!(changed(&prefix, other), Ok(None)));
            for mode in [Foreign::Issuer, Foreign::AsIs] {
                assert_eq!(decide(of(mode), SURREY, stamp(), case(&held)), Decision::AsIs, "{mode:?} {number}");
            }
        }
        let sequences = BTreeSet::from([OTHER_PATIENT_IDS, REQUEST_ATTRIBUTES, REFERENCED_REQUESTS]);
        let held = Found { filled: sequences, ..found("", &patient(id, Some(b"RTX"))) };
        let Decision::Edit { edits, transform } = decide(of(Foreign::Prefix), SURREY, stamp(), case(&held)) else {
            panic!("it goes as it is")
        };
        let accession = Cleared::Text(ACCESSION_NUMBER);
        let want =
            [(OTHER_PATIENT_IDS, Cleared::All), (REQUEST_ATTRIBUTES, accession), (REFERENCED_REQUESTS, accession)];
        assert_eq!((edits.cleared, &*transform), (want.into(), "foreign-prefix/3"));
    }
}

#[test]
fn an_issuer_is_filled_where_there_is_none() {
    let odd = Source { name: "surrey", issuer: Some("Z\u{fc}rich") };
    let rows: &[Row<'_>] = &[
        (SURREY, b"4711", None, Ok(Some(b"ZZ002"))),
        (SURREY, b"4711", Some(b" "), Ok(Some(b"ZZ002"))),
        (SURREY, b"4711", Some(b"RTX "), Ok(None)),
        (NAMED, b"4711", Some(b"RTX "), Ok(None)),
        (NAMED, b"4711", None, Err(Reason::NoIssuer)),
        (odd, b"4711", None, Err(Reason::UnusableIssuer)),
        (NAMED, b"", None, Ok(None)),
    ];
    for (source, id, issuer, want) in rows {
        let mut values = patient(id, *issuer);
        values.push((ACCESSION_NUMBER, b"A1"));
        let decision = decide(of(Foreign::Issuer), *source, stamp(), case(&found("", &values)));
        assert_eq!(changed(&decision, ISSUER_OF_PATIENT_ID), want.map(|value| value.map(<[u8]>::to_vec)));
        assert!(matches!(changed(&decision, PATIENT_ID), Ok(None) | Err(_)));
        assert!(matches!(changed(&decision, ACCESSION_NUMBER), Ok(None) | Err(_)));
    }
}

#[test]
fn the_node_decides() {
    let found = found("", &patient(b"4711", None));
    let transform = |mode| match decide(of(mode), SURREY, stamp(), case(&found)) {
        Decision::Edit { transform, edits } => {
            let coerced = edits.values.get(&INSTANCE_COERCION_DATE_TIME);
            assert_eq!(coerced.map(|value| &**value), Some(&b"20240229123456.000000+0000"[..]));
            assert_eq!((&*edits.system, &*edits.source, edits.at), ("Hampshire", "surrey", stamp().received));
            Some(transform)
        }
        _ => None,
    };
    assert_eq!(transform(Foreign::Prefix), Some("foreign-prefix/3".to_owned()));
    assert_eq!(transform(Foreign::Issuer), Some("foreign-issuer/2".to_owned()));
    assert_eq!(decide(of(Foreign::AsIs), SURREY, stamp(), case(&found)), Decision::AsIs);
    assert_eq!(decide(of(Foreign::Hold), SURREY, stamp(), case(&found)), Decision::Hold(ASKED));
}

/// What a person has released goes: prefixed where it can be, as it is where it cannot, and each reason is asked about once.
#[test]
fn what_a_person_released_goes() {
    let released = |reasons: &[Reason]| reasons.iter().map(Reason::to_string).collect::<Vec<_>>();
    type Row<'a> = (Foreign, &'a [u8], &'a [Reason], Result<Option<&'a [u8]>, Reason>);
    let rows: &[Row<'_>] = &[
        (Foreign::Hold, b"4711", &[], Err(ASKED)),
        (Foreign::Hold, b"4711", &[Reason::UnusableId], Err(ASKED)),
        (Foreign::Hold, b"4711", &[ASKED], Ok(Some(b"ZZ002:4711"))),
        (Foreign::Hold, b"1\\2", &[ASKED], Err(Reason::UnusableId)),
        (Foreign::Hold, b"1\\2", &[ASKED, Reason::UnusableId], Ok(None)),
        (Foreign::Prefix, b"1\\2", &[], Err(Reason::UnusableId)),
        (Foreign::Prefix, b"1\\2", &[Reason::UnusableId], Ok(None)),
    ];
    for (mode, id, reasons, want) in rows {
        let found = found("", &patient(id, None));
        let decision = decide(of(*mode), SURREY, stamp(), Case { released: &released(reasons), ..case(&found) });
        assert_eq!(changed(&decision, PATIENT_ID), want.map(|value| value.map(<[u8]>::to_vec)), "{mode:?} {reasons:?}");
    }
}

/// IDY-032, IDY-033: both are off unless asked for; the mark is a change by itself, the equipment is named only for a change.
#[test]
fn marks_are_made_only_where_they_are_asked_for() {
    let plain = of(Foreign::Prefix);
    let marking = Policy { mark_imported: true, ..plain };
    let both = Policy { name_equipment: true, ..marking };
    let naming = Policy { name_equipment: true, ..of(Foreign::AsIs) };
    let rows: &[(Policy, &[u8], Option<&str>)] = &[
        (plain, b"LOCAL ", Some("foreign-prefix/3")),
        (marking, b"LOCAL ", Some("foreign-prefix/3+imported/1")),
        (marking, b"IMPORTED", Some("foreign-prefix/3")),
        (both, b"", Some("foreign-prefix/3+imported/1+equipment/1")),
        (Policy { mode: Foreign::AsIs, ..both }, b"IMPORTED", None),
        (Policy { mode: Foreign::AsIs, ..both }, b"LOCAL ", Some("imported/1+equipment/1")),
        (naming, b"LOCAL ", None),
    ];
    for (policy, status, want) in rows {
        let values = [(PATIENT_ID, &b"4711"[..]), (INSTANCE_ORIGIN_STATUS, status)];
        let decision = decide(*policy, SURREY, stamp(), case(&found("", &values)));
        let transform = match &decision {
            Decision::Edit { edits, transform } => {
                assert_eq!(edits.items.contains_key(&CONTRIBUTING_EQUIPMENT), policy.name_equipment);
                let marks = transform.contains("imported");
                assert_eq!(edits.known.get(&INSTANCE_ORIGIN_STATUS).is_some_and(|known| &**known == *status), marks);
                Some(transform.as_str())
            }
            _ => None,
        };
        assert_eq!(transform, *want, "{policy:?} {status:?}");
    }
}

#[test]
fn reasons_hold_nothing_of_a_patient() {
    let held = decide(of(Foreign::Prefix), SURREY, stamp(), case(&found("", &patient(b"47\\11", None))));
    let Decision::Hold(reason) = held else { panic!("{held:?}") };
    assert!(!format!("{reason} {reason:?}").contains("47"));
}

#[test]
fn our_own_record_is_what_stops_a_second_prefix() {
    let before = |id: &[u8]| Some(PreviousId(id.into()));
    for (record, again) in
        [(before(b"4711 "), false), (before(b"471"), true), (before(b"ZZ002:4711"), true), (None, true)]
    {
        let found = Found { before: record, ..found("", &patient(b"ZZ002:4711", None)) };
        let decision = decide(of(Foreign::Prefix), SURREY, stamp(), case(&found));
        assert_eq!(changed(&decision, PATIENT_ID).unwrap().is_some(), again);
    }
}

/// What one send makes of a data set.
fn send(policy: Policy, input: &[u8]) -> Option<Vec<u8>> {
    let ts = TransferSyntaxUid::parse(EXPLICIT_VR_LE).unwrap();
    let mut survey = Survey::new(&ts, stamp().site).unwrap();
    survey.push(input).unwrap();
    match decide(policy, SURREY, stamp(), case(&survey.finish().unwrap())) {
        Decision::Edit { edits, .. } => {
            let (mut rewriter, mut out) = (Rewriter::new(&ts, edits).unwrap(), Vec::new());
            rewriter.push(input, &mut out).unwrap();
            rewriter.finish(&mut out).unwrap();
            Some(out)
        }
        _ => None,
    }
}

#[test]
fn a_data_set_is_changed_once_and_always_alike() {
    let mut nodes = instance();
    nodes.insert(4, value(0x0008_0050, Vr::SH, b"A1"));
    nodes.sort_by_key(|node| match node {
        crate::dicom::sample::Node::Value { tag, .. } | crate::dicom::sample::Node::Sequence { tag, .. } => tag.0,
        crate::dicom::sample::Node::Fragments { .. } => u32::MAX,
    });
    let input = encode(&nodes, EXPLICIT);
    for mode in [Foreign::Prefix, Foreign::Issuer] {
        for policy in [of(mode), Policy { mark_imported: true, name_equipment: true, ..of(mode) }] {
            let sent = send(policy, &input).unwrap();
            assert_eq!(send(policy, &input).unwrap(), sent, "a resend equals the first send");
            assert_eq!(send(policy, &sent), None, "what comes back is not changed again");
        }
    }
    assert_eq!(send(of(Foreign::AsIs), &input), None);
    assert_eq!(send(Policy { name_equipment: true, ..of(Foreign::AsIs) }, &input), None, "nothing to be named for");
    assert!(send(Policy { mark_imported: true, ..of(Foreign::AsIs) }, &input).is_some());
}

/// IDY-044: who is surely ours waits for nobody, and keeps its number only where numbers are NHS numbers. Who is not waits, and a
/// release counts for what was known when it was given.
#[test]
fn only_who_is_surely_ours_passes_a_node_that_holds() {
    use crate::dicom::patient::Differing;
    let differs = Judgement::Differs(Differing { birth_date: true, ..Differing::default() });
    let found = found("", &patient(b"4000000004", Some(b"NHS")));
    let hold = |nhs_numbers| Policy { nhs_numbers, ..of(Foreign::Hold) };
    for judged in [differs, Judgement::NotKnown, Judgement::NoNumber] {
        let asked = Reason::Asked(judged);
        let held = |released: &[String]| decide(hold(true), SURREY, stamp(), Case { judged, released, ..case(&found) });
        assert_eq!(held(&[]), Decision::Hold(asked));
        assert_eq!(held(&[Reason::Asked(Judgement::Same).to_string()]), Decision::Hold(asked), "another question");
        assert_eq!(changed(&held(&[asked.to_string()]), PATIENT_ID), Ok(Some(b"NHS:4000000004".to_vec())));
    }
    let same = Case { judged: Judgement::Same, ..case(&found) };
    assert_eq!(decide(hold(true), SURREY, stamp(), same), Decision::AsIs);
    let prefixed = changed(&decide(hold(false), SURREY, stamp(), same), PATIENT_ID);
    assert_eq!(prefixed, Ok(Some(b"NHS:4000000004".to_vec())));
}

/// A number is an NHS number only if the object or its sender says so (IDY-040, IDY-043).
#[test]
fn a_number_is_an_nhs_number_only_by_its_issuer() {
    let sends_nhs = Source { name: "surrey", issuer: Some("NHS") };
    type Row<'a> = (Source<'a>, &'a [u8], Option<&'a [u8]>, bool);
    let rows: &[Row<'_>] = &[
        (NAMED, b"400 000 0004", Some(b"NHS "), true),
        (SURREY, b"4000000004", Some(b"2.16.840.1.113883.2.1.4.1"), true),
        (sends_nhs, b"4000000004", None, true),
        (sends_nhs, b"4000000004", Some(b"RTX"), false),
        (SURREY, b"4000000004", None, false),
        (NAMED, b"4000000004", None, false),
        (sends_nhs, b"4000000005", None, false),
        (sends_nhs, b"4711", None, false),
    ];
    for (source, id, issuer, want) in rows {
        let found = found("", &patient(id, *issuer));
        assert_eq!(super::patient(*source, &found).number.is_some(), *want, "{id:?} {issuer:?}");
    }
}
