//! Parts that read and change data sets as they stream past: scanner, transcoder, survey and rewriter.

use crate::inputs::{FEW_BYTES, PIECE_BYTES, SLICE_BYTES, ct, enhanced, mr, uid};
use crate::{Part, Run};
use std::hint::black_box;
use std::time::{Duration, SystemTime};
use weybridge::courier::foreign::{Case, Decision, Policy, Source, Stamp, decide};
use weybridge::dicom::patient::Judgement;
use weybridge::dicom::rewrite::{Rewriter, Survey};
use weybridge::dicom::scanner::{Limits, Scanner};
use weybridge::dicom::transcode::Transcoder;
use weybridge::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};

/// Frames of the enhanced instance.
pub(crate) const FRAMES: usize = 1000;

pub(crate) const PARTS: &[Part] = &[
    Part {
        name: "scan-ct",
        unit: "object",
        units: 1,
        times: 500,
        input: "a CT slice of 525 kB, 55 elements, by 128 KiB",
        make: || scan(ct(SLICE_BYTES)),
    },
    Part {
        name: "scan-enhanced",
        unit: "frame",
        units: FRAMES,
        times: 10,
        input: "1,000 frames with a position each, sequences with delimiters, by 128 KiB",
        make: || scan(enhanced(FRAMES)),
    },
    Part {
        name: "transcode-mr",
        unit: "object",
        units: 1,
        times: 500,
        input: "an MR slice with 1 KiB of pixels, Implicit to Explicit VR",
        make: transcode,
    },
    Part {
        name: "survey-ct",
        unit: "object",
        units: 1,
        times: 500,
        input: "a CT slice with 1 KiB of pixels; what a node with prefixed patients gets is decided",
        make: survey,
    },
    Part {
        name: "rewrite-ct",
        unit: "object",
        units: 1,
        times: 500,
        input: "the same slice, with these changes",
        make: rewrite,
    },
];

fn scan(data_set: Vec<u8>) -> Run {
    let syntax = uid(EXPLICIT_VR_LE);
    Box::new(move || {
        let mut scanner = Scanner::new(&syntax, Limits::default());
        data_set.chunks(PIECE_BYTES).for_each(|piece| scanner.push(black_box(piece)).unwrap());
        black_box(scanner.finish().unwrap());
    })
}

fn transcode() -> Run {
    let (syntax, data_set) = (uid(IMPLICIT_VR_LE), mr(FEW_BYTES));
    Box::new(move || {
        let (mut transcoder, mut out) = (Transcoder::new(&syntax).unwrap(), Vec::new());
        transcoder.push(black_box(&data_set), &mut out).unwrap();
        transcoder.finish(&mut out).unwrap();
        black_box(out);
    })
}

/// What is changed in a slice that another site has sent, on its way to a node that is given prefixed numbers.
fn decided(data_set: &[u8]) -> Decision {
    let mut survey = Survey::new(&uid(EXPLICIT_VR_LE), "WEYBRIDGE").unwrap();
    survey.push(black_box(data_set)).unwrap();
    let found = survey.finish().unwrap();
    let stamp = Stamp { site: "WEYBRIDGE", received: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) };
    let case = Case { found: &found, judged: Judgement::NotKnown, released: &[] };
    let policy = Policy { mark_imported: true, name_equipment: true, ..Policy::default() };
    decide(policy, Source { name: "surrey", issuer: None }, stamp, case)
}

fn survey() -> Run {
    let data_set = ct(FEW_BYTES);
    Box::new(move || drop(black_box(decided(&data_set))))
}

fn rewrite() -> Run {
    let (syntax, data_set) = (uid(EXPLICIT_VR_LE), ct(FEW_BYTES));
    let Decision::Edit { edits, .. } = decided(&data_set) else { panic!("nothing is changed") };
    Box::new(move || {
        let (mut rewriter, mut out) = (Rewriter::new(&syntax, edits.clone()).unwrap(), Vec::new());
        rewriter.push(black_box(&data_set), &mut out).unwrap();
        rewriter.finish(&mut out).unwrap();
        black_box(out);
    })
}
