//! Tables: each fault and its code, each sum and its status.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::dicom::attributes::STUDY_INSTANCE_UID;

fn stored() -> Part {
    Part::Stored(Stored {
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.7").unwrap(),
        study: StudyUid::parse("1.1").unwrap(),
        series: SeriesUid::parse("1.1.1").unwrap(),
        instance: InstanceUid::parse("1.1.1.1").unwrap(),
        fresh: true,
    })
}

fn failed(refusal: Refusal) -> Part {
    let sop_instance = InstanceUid::parse("1.1.1.2").ok();
    Part::Failed(Named { sop_class: None, sop_instance }, Fault::Refused(refusal))
}

#[test]
fn each_fault_has_its_reason() {
    let malformed = Refusal::Malformed { why: String::new(), tag: None };
    let rows = [
        (Fault::Refused(Refusal::NoRoom), 0xA700),
        (Fault::Refused(Refusal::Stopping), 0xA700),
        (Fault::Refused(Refusal::TooLarge { limit: 1 }), 0xA700),
        (Fault::Refused(Refusal::Poisoned(String::new())), 0x0110),
        (Fault::Refused(malformed), 0xC000),
        (Fault::Refused(Refusal::OtherClass), 0xA900),
        (Fault::Refused(Refusal::OtherInstance), 0xA901),
        (Fault::Refused(Refusal::OtherStudy), 0xA901),
        (Fault::Refused(Refusal::MissingIdentity { tag: STUDY_INSTANCE_UID }), 0xA902),
        (Fault::Differs, 0xC010),
        (Fault::OtherService, 0x0122),
        (Fault::Unusable("x"), 0xC000),
        (Fault::CutOff, 0x0110),
        (Fault::Lost, 0x0110),
    ];
    let page = include_str!("../../../../docs/conformance.md");
    for (fault, code) in rows {
        assert_eq!(fault.reason(), code, "{fault:?}");
        assert!(page.contains(&format!("| {code:04X} |")), "{code:04X} stands in the conformance statement");
    }
}

#[test]
fn the_status_sums_up_what_became_of_the_parts() {
    let module = |status: u16| Sum::Module(StatusCode::from_u16(status).unwrap());
    let malformed = || Refusal::Malformed { why: String::new(), tag: None };
    let sum = |parts: Vec<Part>| {
        let mut whole = Parts::new("x");
        parts.into_iter().for_each(|part| whole.take(part));
        whole.sum(None)
    };
    assert_eq!(sum(vec![stored(), stored()]), module(200));
    assert_eq!(sum(vec![stored(), failed(malformed())]), module(202));
    assert_eq!(sum(vec![stored(), failed(Refusal::NoRoom)]), module(202));
    assert_eq!(sum(vec![failed(malformed()), failed(Refusal::OtherStudy)]), module(409));
    assert_eq!(sum(vec![failed(Refusal::TooLarge { limit: 1 }), failed(malformed())]), module(409));
    assert_eq!(sum(vec![failed(malformed()), failed(Refusal::NoRoom)]), Sum::TurnedAway);
    for passing in [Refusal::NoRoom, Refusal::Exhausted, Refusal::Stopping, Refusal::Poisoned(String::new())] {
        assert_eq!(sum(vec![failed(passing)]), Sum::TurnedAway);
    }
    for (parts, status) in [(vec![failed(Refusal::TooLarge { limit: 1 })], 413), (vec![], 400)] {
        assert!(matches!(sum(parts), Sum::Problem(found, _) if found == status));
    }
}

#[test]
fn a_connection_that_ends_is_no_fault_of_the_instances() {
    let io = |kind| axum::Error::new(std::io::Error::new(kind, "by script"));
    for kind in [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe] {
        assert!(matches!(Cut::of(&io(kind)), Cut::Ended), "{kind:?}");
    }
    for kind in [ErrorKind::InvalidInput, ErrorKind::InvalidData] {
        assert!(matches!(Cut::of(&io(kind)), Cut::Broken), "{kind:?}");
    }
}

#[test]
fn a_body_that_was_cut_is_answered_by_its_fault_unless_something_was_stored() {
    let rows = [
        (Cut::Stalled, 408),
        (Cut::Ended, 408),
        (Cut::Broken, 400),
        (Cut::TooLarge { limit: 1 }, 413),
        (Cut::TooMany { limit: 1 }, 413),
        (Cut::Multipart(MultipartError::Truncated), 400),
    ];
    for (cut, status) in rows {
        let mut parts = Parts::new("x");
        parts.take(Part::Failed(Named::default(), Fault::CutOff));
        assert!(matches!(parts.sum(Some(&cut)), Sum::Problem(found, _) if found == status), "{cut:?}");
        parts.take(stored());
        assert_eq!(parts.sum(Some(&cut)), Sum::Module(StatusCode::ACCEPTED), "{cut:?}");
    }
}
