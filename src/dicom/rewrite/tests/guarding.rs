//! What is read of a data set must stand where it belongs, or nobody may decide upon it.

use super::*;
use crate::dicom::attributes::{OTHER_PATIENT_IDS, REQUEST_ATTRIBUTES};

fn guarded(from: &str, input: &[&[u8]]) -> Result<Found, RewriteError> {
    let mut survey = Survey::new(&ts(from), "Hampshire")?.guarding();
    for piece in input {
        survey.push(piece)?;
    }
    survey.finish()
}

/// IDY-040, IDY-046; PS3.5 section 7.1: another site's number that stands after the end of the head is not overlooked.
#[test]
fn what_is_read_and_stands_too_late_is_refused() {
    let of = |tag: Tag| match tag {
        OTHER_PATIENT_IDS | REQUEST_ATTRIBUTES => sequence(tag.0, Vr::SQ, true, vec![vec![]]),
        _ => value(tag.0, Vr::LO, b"4711"),
    };
    let late = [PATIENT_ID, ACCESSION_NUMBER, ISSUER_OF_PATIENT_ID, SPECIFIC_CHARACTER_SET, INSTANCE_ORIGIN_STATUS];
    for (from, form) in NATIVE {
        let reversed: Vec<Node> = instance().into_iter().rev().collect();
        let reversed = encode(&reversed, form);
        assert_eq!(survey(from, &[&reversed]).unwrap().0, Found::default(), "a head alone says nothing");
        for piece in [1, reversed.len()] {
            let pieces: Vec<&[u8]> = reversed.chunks(piece).collect();
            assert_eq!(guarded(from, &pieces), Err(RewriteError::Disordered { tag: PATIENT_ID }));
        }
        for tag in late.into_iter().chain([OTHER_PATIENT_IDS, REQUEST_ATTRIBUTES]) {
            let nodes = [&instance()[10..], &[of(tag)]].concat();
            assert_eq!(guarded(from, &[&encode(&nodes, form)]), Err(RewriteError::Disordered { tag }));
        }
        // What is not read may stand anywhere, and so may what is read within a sequence.
        let inner = sequence(0x0008_1140, Vr::SQ, false, vec![vec![of(PATIENT_ID)]]);
        let nodes = [&instance()[..], &[inner, value(0x0008_0060, Vr::CS, b"CT")]].concat();
        let input = encode(&nodes, form);
        assert_eq!(guarded(from, &[&input]), survey(from, &[&input]).map(|found| found.0));
        assert!(guarded(from, &[&input[..input.len() - 1]]).is_err(), "cut short");
    }
}
