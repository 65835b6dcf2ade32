//! Parts of a search: its identifier read, its keys matched against what is held, its answers written.

use crate::{Part, Run};
use std::collections::BTreeMap;
use std::hint::black_box;
use weybridge::dicom::attributes::{
    ACCESSION_NUMBER, Level, PATIENT_BIRTH_DATE, PATIENT_ID, PATIENT_NAME, PATIENT_SEX, QUERY_RETRIEVE_LEVEL,
    STUDY_DATE, STUDY_DESCRIPTION, STUDY_ID, STUDY_INSTANCE_UID, STUDY_TIME,
};
use weybridge::dicom::charset::Charset;
use weybridge::dicom::query::identifier::{self, Identifier, vr_of};
use weybridge::dicom::query::{Match, fits};
use weybridge::dicom::tag::Tag;

const STUDIES: usize = 1000;

type Values = BTreeMap<Tag, String>;

pub(crate) const PARTS: &[Part] = &[
    Part {
        name: "query-match",
        unit: "study",
        units: STUDIES,
        times: 10,
        input: "1,000 studies: a name with a wildcard within, a range of days, a Patient ID for any",
        make: matched,
    },
    Part {
        name: "query-read",
        unit: "identifier",
        units: 1,
        times: 500,
        input: "a C-FIND identifier of 12 keys",
        make: || {
            let bytes = identifier::write(&study(7), &Charset::default(), true);
            Box::new(move || drop(black_box(Identifier::read(black_box(&bytes), true).unwrap())))
        },
    },
    Part {
        name: "query-answer",
        unit: "answer",
        units: 1,
        times: 500,
        input: "a study of 12 attributes as a C-FIND identifier",
        make: || {
            let (values, asker) = (study(7), Charset::default());
            Box::new(move || drop(black_box(identifier::write(black_box(&values), &asker, true))))
        },
    },
];

fn study(number: usize) -> Values {
    BTreeMap::from([
        (STUDY_DATE, format!("{}{:02}{:02}", 2010 + number % 15, 1 + number % 12, 1 + number % 28)),
        (STUDY_TIME, "101500".to_owned()),
        (ACCESSION_NUMBER, format!("A{number:07}")),
        (QUERY_RETRIEVE_LEVEL, "STUDY".to_owned()),
        (STUDY_DESCRIPTION, "CT thorax".to_owned()),
        (PATIENT_NAME, format!("Novak^N{number:07}")),
        (PATIENT_ID, format!("X{number:07}")),
        (PATIENT_BIRTH_DATE, "19700101".to_owned()),
        (PATIENT_SEX, "O".to_owned()),
        (STUDY_INSTANCE_UID, format!("1.2.826.0.1.3680043.10.1409.71.1{number:07}")),
        (STUDY_ID, "1".to_owned()),
        (Tag::new(0x0020, 0x1208), "1".to_owned()),
    ])
}

fn matched() -> Run {
    let studies: Vec<Values> = (0..STUDIES).map(study).collect();
    let key = |tag, value: &str| Match { path: vec![tag], vr: vr_of(tag), values: vec![value.to_owned()] };
    let keys = [key(PATIENT_NAME, "Novak*N00002*"), key(STUDY_DATE, "20120101-20181231"), key(PATIENT_ID, "*")];
    Box::new(move || {
        let held = |values: &Values| fits(black_box(&keys), Level::Study, true, |tag| values.get(&tag).map(|v| &**v));
        let found = studies.iter().filter(|values| held(values)).count();
        assert!((1..STUDIES).contains(&black_box(found)));
    })
}
